//! `ovs-vswitchd` driven by stock tools: a database server, `ovs-vsctl`, `ovs-ofctl`, `ovs-appctl`, in a folder of their own.
//!
//! A machine without these tools skips the tests, and says so.

mod common;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use common::world::{World, in_folder, wait_until};

const DUMMY: &[&str] = &["--enable-dummy"];

fn udp(source: u8, destination: u8) -> String {
    format!(
        "in_port(1),eth(src=02:00:00:00:00:{source:02x},dst=02:00:00:00:00:{destination:02x}),eth_type(0x0800),\
         ipv4(src=10.0.0.{source},dst=10.0.0.{destination},proto=17,tos=0,ttl=64,frag=no),udp(src=1,dst=2)"
    )
}

#[test]
fn two_bridges_patches_vlans_and_flows() {
    let Some(world) = World::new(DUMMY) else { return };
    let dummy = "datapath_type=dummy fail_mode=secure";
    world.vsctl(&format!("add-br br0 -- set bridge br0 {dummy} -- add-br br1 -- set bridge br1 {dummy}"));
    for (bridge, port, rest) in [
        ("br0", "p1", "-- set port p1 tag=5 -- set interface p1 type=dummy ofport_request=1"),
        ("br0", "p2", "-- set port p2 tag=6 -- set interface p2 type=dummy ofport_request=2"),
        ("br0", "to1", "-- set interface to1 type=patch options:peer=to0 ofport_request=9"),
        ("br1", "to0", "-- set interface to0 type=patch options:peer=to1 ofport_request=9"),
        ("br1", "p3", "-- set interface p3 type=dummy ofport_request=3"),
        ("br1", "p4", "-- set port p4 tag=5 -- set interface p4 type=dummy ofport_request=4"),
    ] {
        world.vsctl(&format!("add-port {bridge} {port} {rest}"));
    }
    world.ok("ovs-ofctl", &["add-flow", "br0", "actions=normal"]);
    world.ok("ovs-ofctl", &["add-flow", "br1", "actions=normal"]);
    world.appctl(&["netdev-dummy/receive", "p1", &udp(1, 2)]);
    // The packet of VLAN 5 leaves the other bridge with a tag by the trunk, without one by the access port. What the
    // daemon writes is in the database a while after it was due.
    let sent = |port: &str| {
        world.appctl(&["time/warp", "6000"]);
        let (packets, bytes) = ("tx_packets", "tx_bytes");
        [packets, bytes]
            .map(|c| world.vsctl(&format!("--if-exists get interface {port} statistics:{c}")).trim().to_owned())
    };
    wait_until("the trunk has sent it", || sent("p3") == ["1", "110"]);
    assert_eq!(sent("p4"), ["1", "106"]);
    assert_eq!(sent("p2"), ["0", "0"]);
    let learnt = world.appctl(&["fdb/show", "br1"]);
    assert!(learnt.contains("    9     5  02:00:00:00:00:01"), "{learnt}");
    // A flow that drops is obeyed at once.
    world.ok("ovs-ofctl", &["add-flow", "br1", "priority=65535,udp,actions=drop"]);
    world.appctl(&["netdev-dummy/receive", "p1", &udp(1, 2)]);
    assert_eq!(sent("p3")[0], "1");
    assert!(world.ok("ovs-ofctl", &["dump-flows", "br1"]).contains("udp actions=drop"));
    let trace = world.appctl(&["ofproto/trace", "br1", "in_port=3,udp"]);
    assert!(trace.contains("Datapath actions: drop"), "{trace}");
    assert_eq!(world.of_interface("p1", "ofport"), "1");
    assert_eq!(world.of_interface("br0", "ofport"), "65534");
    assert_eq!(world.appctl(&["ofproto/list"]), "br0\nbr1\n");
    world.vsctl("del-br br0");
    assert_eq!(world.appctl(&["ofproto/list"]), "br1\n");
}

#[test]
fn what_cannot_be_is_said_in_its_column_and_the_rest_goes_on() {
    let Some(world) = World::new(DUMMY) else { return };
    world.vsctl("add-br br0 -- set bridge br0 datapath_type=dummy");
    // Who adds a port that cannot be is told so.
    let complains =
        |output: &Output| String::from_utf8_lossy(&output.stderr).contains("Error detected while setting up");
    let words = "-t 10 add-port br0 gone -- set interface gone type=tape";
    let output = world.run("ovs-vsctl", &words.split(' ').collect::<Vec<_>>());
    assert!(complains(&output), "{output:?}");
    assert_eq!(world.of_interface("gone", "error"), "\"could not open network device gone (gone: unknown type tape)\"");
    assert_eq!(world.of_interface("gone", "ofport"), "-1");
    world.vsctl("add-port br0 p1 -- set interface p1 type=dummy");
    let _ = world.run("ovs-vsctl", &["-t", "10", "set", "interface", "p1", "options:colour=red"]);
    assert!(world.of_interface("p1", "error").contains("option colour of a dummy device is not available"));
    world.vsctl("clear interface p1 options");
    assert_eq!(world.of_interface("p1", "error"), "[]");
    world.vsctl("set bridge br0 stp_enable=true");
    assert!(world.vsctl("get bridge br0 status").contains("not available: stp_enable"));
    // Without an exporter, nothing is sampled for one.
    world.vsctl(
        "-- --id=@b get bridge br0 -- --id=@i create ipfix targets=\"127.0.0.1:4739\" \
         -- create Flow_Sample_Collector_Set id=1 bridge=@b ipfix=@i",
    );
    assert!(world.vsctl("get bridge br0 status").contains("ipfix of a Flow_Sample_Collector_Set"));
    world.ok("ovs-ofctl", &["add-flow", "br0", "actions=sample(probability=65535,collector_set_id=1),LOCAL"]);
    let traced = world.appctl(&["ofproto/trace", "br0", "in_port=p1"]);
    assert!(traced.contains("nobody collects") && traced.contains("Datapath actions: 100"), "{traced}");
    let output =
        world.run("ovs-vsctl", &["-t", "10", "add-br", "odd", "--", "set", "bridge", "odd", "datapath_type=odd"]);
    assert!(complains(&output), "{output:?}");
    assert!(world.vsctl("get bridge odd status").contains("unknown datapath type odd"));
    assert_eq!(world.appctl(&["ofproto/list"]), "br0\n");
}

#[test]
fn controllers_connect_both_ways_and_learn_what_is_missed() {
    let Some(world) = World::new(DUMMY) else { return };
    world.vsctl("add-br br0 -- set bridge br0 datapath_type=dummy fail_mode=secure");
    world.vsctl("add-port br0 p1 -- set interface p1 type=dummy ofport_request=1");
    let passive = world.folder.join("br0.extra");
    world.vsctl(&format!("set-controller br0 punix:{} unix:nowhere", passive.display()));
    wait_until("the daemon listens for a controller", || passive.exists());
    let monitor = world.folder.join("monitor.log");
    let mut listener = in_folder(
        Command::new("ovs-ofctl").args(["monitor", &format!("unix:{}", passive.display()), "65534"]),
        &world.folder,
    )
    .stdout(std::fs::File::create(&monitor).unwrap())
    .stderr(std::fs::File::create(&monitor).unwrap())
    .spawn()
    .unwrap();
    world.ok("ovs-ofctl", &["add-flow", "br0", "actions=controller"]);
    wait_until("the controller hears of a packet", || {
        world.appctl(&["netdev-dummy/receive", "p1", &udp(1, 2)]);
        std::fs::read_to_string(&monitor).unwrap().contains("in_port=1 (via action)")
    });
    let _ = listener.kill();
    let _ = listener.wait();
    let status = world.vsctl("--columns=target,is_connected,status list controller");
    assert!(status.contains("is_connected        : false"), "{status}");
}

#[test]
fn bad_actions_of_a_controller_are_logged_with_their_bytes() {
    let Some(world) = World::new(DUMMY) else { return };
    world.vsctl("add-br br0 -- set bridge br0 datapath_type=dummy");
    // OpenFlow 1.0: a hello, a flow that sends to port 1 and by an action that is longer than the message, a packet that
    // has an action of no kind, and an echo.
    let mut flow = [&[1, 14, 0, 88, 0, 0, 0, 2][..], &[0xff; 4], &[0; 60]].concat();
    flow.extend([0, 0, 0, 8, 0, 1, 0, 0, 0, 0, 0, 16, 0, 2, 0, 0]);
    let mut packet = vec![1, 13, 0, 24, 0, 0, 0, 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 8];
    packet.extend([0x77, 0x77, 0, 8, 0, 0, 0, 0]);
    let mut stream = UnixStream::connect(world.folder.join("br0.mgmt")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(50))).unwrap();
    for message in [&[1, 0, 0, 8, 0, 0, 0, 1][..], &flow, &packet, &[1, 2, 0, 8, 0, 0, 0, 4]] {
        stream.write_all(message).unwrap();
    }
    let mut heard = Vec::new();
    while !heard.windows(8).any(|w| w == [1, 3, 0, 8, 0, 0, 0, 4]) {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).unwrap();
        assert!(count > 0, "closed: {heard:?}");
        heard.extend_from_slice(&chunk[..count]);
    }
    let log = world.log();
    for line in [
        "|ofp_actions|WARN|OpenFlow action OFPAT_OUTPUT length 16 exceeds action buffer length 8\n",
        "|ofp_actions|WARN|bad action at offset 8 (OFPBAC_BAD_LEN):\n\
         00000000  00 00 00 08 00 01 00 00-00 00 00 10 00 02 00 00\n",
        "|ofp_actions|WARN|bad action at offset 0 (OFPBAC_BAD_TYPE):\n00000000  77 77 00 08 00 00 00 00-\n",
    ] {
        assert!(log.contains(line), "{line}{log}");
    }
}

#[test]
fn the_daemon_behaves() {
    let Some(mut world) = World::new(&["--enable-dummy", "-vvconn"]) else { return };
    world.vsctl("add-br br0 -- set bridge br0 datapath_type=dummy");
    assert!(world.appctl(&["version"]).starts_with("ovs-vswitchd (Open vSwitch) "));
    assert!(world.appctl(&["list-commands"]).contains("  netdev-dummy/receive    name [--qid queue_id] packet|flow"));
    world.appctl(&["vlog/set", "bridge:file:dbg"]);
    assert!(world.appctl(&["vlog/list"]).contains("bridge             OFF       INFO        DBG"));
    assert!(!world.run("ovs-appctl", &["vlog/set", "nonesuch"]).status.success());
    // A log that was moved away is begun anew.
    std::fs::rename(world.folder.join("ovs-vswitchd.log"), world.folder.join("old.log")).unwrap();
    world.appctl(&["vlog/reopen"]);
    assert!(world.log().contains("|vlog|INFO|opened log file"));
    // Time stands still when told so.
    world.ok("ovs-ofctl", &["add-flow", "br0", "idle_timeout=10,actions=drop"]);
    world.appctl(&["time/stop"]);
    world.appctl(&["time/warp", "5000", "1000"]);
    assert!(world.ok("ovs-ofctl", &["dump-flows", "br0"]).contains("idle_timeout=10"));
    world.appctl(&["time/warp", "6000", "1000"]);
    assert!(!world.ok("ovs-ofctl", &["dump-flows", "br0"]).contains("idle_timeout=10"));
    // A second daemon does not take the pid file, and leaves the first alone.
    let mut second = Command::new(env!("CARGO_BIN_EXE_ovs-vswitchd"));
    let refused =
        in_folder(second.args(["--enable-dummy", "--pidfile", "-vconsole:off"]), &world.folder).output().unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("already running as pid"));
    world.appctl(&["exit"]);
    assert!(world.ended());
    assert!(!world.folder.join("ovs-vswitchd.pid").exists());
}

#[test]
fn it_detaches_when_it_serves() {
    let Some(mut world) = World::new(DUMMY) else { return };
    world.appctl(&["exit"]);
    assert!(world.ended());
    let mut command = Command::new(env!("CARGO_BIN_EXE_ovs-vswitchd"));
    command.args(["--enable-dummy", "--detach", "--no-chdir", "--pidfile", "--log-file", "-vconsole:off"]);
    // The caller's output is closed when the daemon serves: this does not wait for the daemon's end.
    let output = in_folder(&mut command, &world.folder).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    world.vsctl("add-br br0 -- set bridge br0 datapath_type=dummy");
    let pid = std::fs::read_to_string(world.folder.join("ovs-vswitchd.pid")).unwrap();
    let name = std::fs::read_to_string(format!("/proc/{}/comm", pid.trim())).unwrap();
    assert_eq!(name.trim(), "ovs-vswitchd", "who looks for it by name finds it");
    world.appctl(&["exit"]);
    // Where nobody reaps it, its name stays, but no command line.
    let command_line = format!("/proc/{}/cmdline", pid.trim());
    wait_until("the daemon ends", || {
        std::fs::read(&command_line).is_ok_and(|line| line.is_empty()) || !Path::new(&command_line).exists()
    });
    // One that cannot serve says so before it leaves.
    let mut command = Command::new(env!("CARGO_BIN_EXE_ovs-vswitchd"));
    command.args(["--detach", "--pidfile=/nonexistent-folder/x.pid", "-vconsole:off"]);
    let output = in_folder(&mut command, &world.folder).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("create failed"));
}

#[test]
fn a_file_is_enough() {
    let folder = std::env::temp_dir().join(format!("vsw-file-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("switch.toml");
    std::fs::write(&file, "[[bridge]]\nname = 'br0'\ndatapath_type = 'dummy'\n[[bridge.port]]\nname = 'p1'\ninterface = [{ name = 'p1', type = 'dummy' }]\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ovs-vswitchd"));
    command.args(["--enable-dummy", "-vconsole:off", "--unixctl=ctl"]).arg(format!("--config={}", file.display()));
    let mut daemon = in_folder(&mut command, &folder).spawn().unwrap();
    wait_until("the bridge has its socket", || folder.join("br0.mgmt").exists());
    let socket = folder.join("ctl");
    let start = Instant::now();
    let mut client =
        ovs_db::unixctl::Client::connect(&socket, Duration::from_secs(10), move || start.elapsed()).unwrap();
    let shown = client.call("dpif/show", &[]).unwrap().unwrap();
    assert_eq!(
        shown.as_str().unwrap(),
        "dummy@ovs-dummy: hit:0 missed:0\n  br0:\n    br0 65534/100: (dummy-internal)\n    p1 1/1: (dummy)\n"
    );
    client.call("exit", &[]).unwrap().unwrap();
    assert!(daemon.wait().unwrap().success());
    std::fs::remove_dir_all(folder).unwrap();
}

/// A bridge whose packets from `p1` go to `p2`.
fn bridge_of_two_ports(world: &World) {
    world.vsctl("add-br br0 -- set bridge br0 datapath_type=dummy fail_mode=secure");
    for (port, number) in [("p1", 1), ("p2", 2)] {
        world.vsctl(&format!("add-port br0 {port} -- set interface {port} type=dummy ofport_request={number}"));
    }
    world.ok("ovs-ofctl", &["add-flow", "br0", "in_port=1,udp,actions=output:2"]);
    // However long the commands take, no megaflow grows old, and no limit of theirs is set by the work that they make.
    world.appctl(&["time/stop"]);
}

#[test]
fn commands_about_megaflows() {
    let Some(world) = World::new(DUMMY) else { return };
    bridge_of_two_ports(&world);
    world.appctl(&["vlog/set", "dpif:file:dbg"]);
    world.appctl(&["netdev-dummy/receive", "p1", &udp(1, 2)]);
    let shown = world.appctl(&["upcall/show"]);
    assert!(shown.starts_with("dummy@ovs-dummy:\n  flows         : (current 1)"), "{shown}");
    assert!(shown.contains("ufid enabled : true") && shown.ends_with("(keys 1)\n"), "{shown}");
    assert!(world.appctl(&["upcall/memory"]).starts_with("br0: megaflows:1 bytes:"));
    assert_eq!(world.appctl(&["upcall/set-flow-limit", "77"]), "set flow_limit to 77\n");
    assert!(world.appctl(&["upcall/show"]).contains("(limit 77)"));
    assert!(!world.run("ovs-appctl", &["upcall/set-flow-limit", "many"]).status.success());
    // One megaflow is told what it came from.
    let dumped = world.appctl(&["dpctl/dump-flows", "-m"]);
    let ufid = dumped.split("ufid:").nth(1).and_then(|rest| rest.split([',', ' ']).next()).unwrap();
    let told = world.appctl(&["ofproto/detrace", &format!("ufid:{ufid}")]);
    assert!(told.contains("udp") && told.contains("actions=output:2"), "{told}");
    let unknown = world.appctl(&["ofproto/detrace", "ufid:00000000-0000-0000-0000-000000000001"]);
    assert_eq!(unknown, "UFID was not found for dummy@ovs-dummy\n");
    for bad in [&["ofproto/detrace", "ufid:xyz"][..], &["ofproto/detrace", ufid, "pmd=x"]] {
        assert!(!world.run("ovs-appctl", bad).status.success(), "{bad:?}");
    }
    // Without megaflows the whole packet is matched; dumps that are read whole are in the log.
    assert_eq!(world.appctl(&["upcall/disable-megaflows"]).trim_end(), "megaflows disabled");
    assert_eq!(world.appctl(&["dpctl/dump-flows"]), "");
    world.appctl(&["netdev-dummy/receive", "p1", &udp(1, 2)]);
    assert!(world.appctl(&["dpctl/dump-flows"]).contains("udp(src=1,dst=2)"));
    assert_eq!(world.appctl(&["upcall/enable-megaflows"]).trim_end(), "megaflows enabled");
    let disabled = world.appctl(&["upcall/disable-ufid"]);
    assert_eq!(disabled.trim_end(), "Datapath dumping tersely using UFID disabled");
    assert!(world.appctl(&["upcall/show"]).contains("ufid enabled : false"));
    world.appctl(&["netdev-dummy/receive", "p1", &udp(1, 2)]);
    world.appctl(&["revalidator/wait"]);
    let log = world.log();
    assert!(log.contains("dummy@ovs-dummy: miss upcall:\nrecirc_id(0),dp_hash(0),"), "{log}");
    assert!(log.contains("dummy@ovs-dummy: flow_dump ufid:"), "{log}");
    world.ok("ovs-ofctl", &["add-flow", "br0", "in_port=1,udp,actions=in_port"]);
    world.appctl(&["revalidator/wait"]);
    assert!(world.log().contains("dummy@ovs-dummy: put[modify] ufid:"), "{}", world.log());
    assert!(world.appctl(&["upcall/enable-ufid"]).contains("UFID enabled"));
}

#[test]
fn megaflows_stay_while_the_revalidator_pauses() {
    let Some(world) = World::new(DUMMY) else { return };
    bridge_of_two_ports(&world);
    world.appctl(&["netdev-dummy/receive", "p1", &udp(1, 2)]);
    world.appctl(&["revalidator/pause"]);
    world.ok("ovs-ofctl", &["add-flow", "br0", "in_port=1,udp,actions=in_port"]);
    assert!(world.appctl(&["dpctl/dump-flows"]).contains("actions:2\n"));
    world.appctl(&["revalidator/resume"]);
    assert!(world.appctl(&["dpctl/dump-flows"]).contains("actions:1\n"));
}

#[test]
fn packets_are_traced_in_all_ways() {
    let Some(world) = World::new(DUMMY) else { return };
    bridge_of_two_ports(&world);
    let last = |text: String| text.lines().last().unwrap_or_default().to_string();
    let flow = udp(1, 2);
    let named = flow.replace("in_port(1)", "in_port(p1)");
    assert_eq!(last(world.appctl(&["ofproto/trace", &named])), "Datapath actions: 2");
    assert_eq!(last(world.appctl(&["ofproto/trace", "--names", "ovs-dummy", &flow])), "Datapath actions: p2");
    let packet_out = ["ofproto/trace-packet-out", "br0", "in_port=1,udp", "mod_vlan_vid:123,resubmit(,0)"];
    assert_eq!(last(world.appctl(&packet_out)), "Datapath actions: push_vlan(vid=123,pcp=0),2");
    let complaint = |words: &[&str]| {
        let output = world.run("ovs-appctl", words);
        assert!(!output.status.success(), "{words:?}");
        String::from_utf8_lossy(&output.stderr)
            .replace("ovs-appctl: ovs-vswitchd: server returned an error", "")
            .trim()
            .to_string()
    };
    assert_eq!(complaint(&["ofproto/trace", "br0", &flow]), "Cannot find the datapath");
    assert_eq!(complaint(&["ofproto/trace", "ovs-dummy", "in_port=1"]), "ovs-dummy: unknown bridge");
    assert_eq!(complaint(&["ofproto/trace", "in_port(42)"]), "no OpenFlow port for datapath port 42");
    assert_eq!(complaint(&["ofproto/trace", "recirc_id(0x42)"]), "no recirculation data for recirc_id 0x42");
    assert_eq!(complaint(&["ofproto/trace", "ovs-dummy", &flow, "odd"]), "Trailing garbage in packet data");
    // Packets that really come.
    assert!(complaint(&["ofproto/trace-live-show", "br0"]).contains("nothing is traced"));
    assert!(world.appctl(&["ofproto/trace-live", "br0", "udp", "1"]).starts_with("waiting for 1 packets"));
    world.appctl(&["netdev-dummy/receive", "p1", &flow]);
    let seen = world.appctl(&["ofproto/trace-live-show", "br0"]);
    assert!(seen.contains("bridge(\"br0\")") && seen.contains("output:2"), "{seen}");
    world.appctl(&["ofproto/trace-live-stop", "br0"]);
    assert!(complaint(&["ofproto/trace-live", "nowhere", "udp"]).contains("Unknown bridge"));
    assert!(complaint(&["ofproto/trace-live", "br0", "udp", "some"]).contains("Invalid number"));
}

#[test]
fn datapaths_can_be_taken_for_less_than_they_are() {
    let Some(world) = World::new(DUMMY) else { return };
    bridge_of_two_ports(&world);
    world.ok("ovs-ofctl", &["add-flow", "br0", "in_port=1,udp,actions=clone(ct(commit),output:2),in_port"]);
    let traced = || world.appctl(&["ofproto/trace", "br0", "in_port=1,udp"]);
    assert!(traced().contains("clone(ct(commit),2),1"), "{}", traced());
    world.appctl(&["dpif/set-dp-features", "br0", "clone", "false"]);
    assert!(traced().contains("sample(sample=100.0%,actions(ct(commit),2)),1"), "{}", traced());
    assert!(world.appctl(&["dpif/show-dp-features", "br0"]).contains("Clone action: No"));
    world.appctl(&["dpif/set-dp-features", "br0", "clone", "true"]);
    assert!(traced().contains("clone(ct(commit),2),1"));
    for bad in [["clone", "maybe"], ["odd", "true"], ["psample", "true"], ["sample_nesting", "99"]] {
        let words = [&["dpif/set-dp-features", "br0"][..], &bad].concat();
        assert!(!world.run("ovs-appctl", &words).status.success(), "{bad:?}");
    }
}

#[test]
fn a_daemon_that_dies_is_started_again() {
    let Some(mut world) = World::new(DUMMY) else { return };
    world.appctl(&["exit"]);
    assert!(world.ended());
    let mut command = Command::new(env!("CARGO_BIN_EXE_ovs-vswitchd"));
    command.args(["--enable-dummy", "--detach", "--monitor", "--pidfile", "--log-file", "-vconsole:off"]);
    assert!(in_folder(&mut command, &world.folder).output().unwrap().status.success());
    let pid = || std::fs::read_to_string(world.folder.join("ovs-vswitchd.pid")).unwrap_or_default().trim().to_string();
    let first = pid();
    assert!(Command::new("kill").args(["-ABRT", &first]).status().unwrap().success());
    wait_until("another takes its place", || pid() != first && !pid().is_empty());
    let log = world.log();
    assert!(log.contains("|daemon_unix|ERR|1 crashes: pid ") && log.contains(&first), "{log}");
    world.vsctl("add-br br0 -- set bridge br0 datapath_type=dummy");
    world.appctl(&["exit"]);
}

#[test]
fn connections_live_as_long_as_the_database_says_of_their_zone() {
    let Some(world) = World::new(DUMMY) else { return };
    world.vsctl("add-br br0 -- set bridge br0 datapath_type=dummy fail_mode=secure");
    for (port, number) in [("p1", 1), ("p2", 2)] {
        world.vsctl(&format!("add-port br0 {port} -- set interface {port} type=dummy ofport_request={number}"));
    }
    world.ok("ovs-ofctl", &["add-flow", "br0", "udp,tp_dst=5,actions=ct(commit,zone=5),2"]);
    world.ok("ovs-ofctl", &["add-flow", "br0", "udp,tp_dst=6,actions=ct(commit,zone=6),2"]);
    world.vsctl(
        "-- --id=@tp create CT_Timeout_Policy timeouts:udp_first=3 timeouts:tcp_unack=9 \
         -- --id=@zone create CT_Zone timeout_policy=@tp -- --id=@dp create Datapath datapath_version=0 ct_zones:5=@zone \
         -- set open_vswitch . datapaths:dummy=@dp",
    );
    let said = world.vsctl("get open_vswitch . statistics");
    assert!(said.contains("the timeout policy of zone 5: not available: tcp_unack"), "{said}");
    world.appctl(&["time/stop"]);
    let open = |source: u16| {
        for zone in [5, 6] {
            let packet = format!(
                "in_port(1),eth(src=50:54:00:00:00:09,dst=50:54:00:00:00:0a),eth_type(0x0800),ipv4(src=10.0.0.1,\
                 dst=10.0.0.2,proto=17,tos=0,ttl=64,frag=no),udp(src={source},dst={zone})"
            );
            world.appctl(&["netdev-dummy/receive", "p1", &packet]);
        }
    };
    // Source ports of the connections that there are, by zone, after so many seconds.
    let after = |seconds: u32| {
        world.appctl(&["time/warp", &format!("{}", seconds * 1000), "500"]);
        let dump = world.appctl(&["dpctl/dump-conntrack"]);
        let of = |zone: &str| dump.lines().filter(|l| l.ends_with(zone)).count();
        (of("zone=5"), of("zone=6"))
    };
    open(1);
    assert_eq!(after(1), (1, 1));
    let flows = world.appctl(&["dpctl/dump-flows"]);
    assert!(flows.contains("ct(commit,zone=5,timeout=") && !flows.contains("zone=6,timeout"), "{flows}");
    assert_eq!(after(4), (0, 1));
    // Another policy counts for connections that begin now, and none is none.
    world.vsctl("set CT_Timeout_Policy . timeouts:udp_first=30 -- remove CT_Timeout_Policy . timeouts tcp_unack");
    open(2);
    assert_eq!(after(10), (1, 2));
    assert_eq!(after(30), (0, 2));
    world.vsctl("clear CT_Zone . timeout_policy");
    open(3);
    assert!(!world.appctl(&["dpctl/dump-flows"]).contains("timeout="));
    assert_eq!(after(40).0, 1);
}

#[test]
fn another_user_keeps_what_ports_take_and_nothing_else() {
    let Some(mut world) = World::new(DUMMY) else { return };
    world.appctl(&["exit"]);
    assert!(world.ended());
    if Command::new("id").arg("-u").output().unwrap().stdout != b"0\n" {
        eprintln!("skipped: only root can become another user");
        return;
    }
    let mode = |mode, path: &Path| assert!(Command::new("chmod").arg(mode).arg(path).status().unwrap().success());
    mode("777", &world.folder);
    mode("777", &world.folder.join("db.sock"));
    std::fs::remove_file(world.folder.join("ovs-vswitchd.log")).unwrap();
    world.start_daemon(&["--enable-dummy", "--user", "nobody:nogroup"]);
    let pid = std::fs::read_to_string(world.folder.join("ovs-vswitchd.pid")).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap();
    let of = |key: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(key)).unwrap();
        line.split_whitespace().map(String::from).collect::<Vec<_>>()
    };
    assert_eq!((of("Uid:"), of("Gid:"), of("Groups:")), (vec!["65534".into(); 4], vec!["65534".into(); 4], vec![]));
    let (network, none) = (0x3800, 0);
    for (set, bits) in [("CapEff:", network), ("CapPrm:", network), ("CapInh:", none), ("CapAmb:", none)] {
        assert_eq!(of(set), [format!("{bits:016x}")], "{set}");
    }
    world.vsctl("add-br br0 -- set bridge br0 datapath_type=dummy");
    world.appctl(&["exit"]);
    assert!(world.ended());
}

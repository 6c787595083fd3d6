//! Bridges over the kernel's datapath, in a kernel of their own: the daemon of this crate, and a stock one that does the
//! same, between two hosts in network namespaces.
//!
//! ```text
//!   namespace a              ovs-system               namespace b
//!   qa 10.1.1.1 ──────────── pa  (br0)  pb ──────────── qb 10.1.1.2
//! ```
//!
//! Skipped, with the reason printed, where there is no kernel for tests, or no stock database and tools.

#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ovs_dpif::netdev::{Netdev, PacketSocket};
use ovs_packet::{Match, Packet, compose};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Enough for anything that is to happen.
const LONG: Duration = Duration::from_secs(40);

/// Enough to believe that something does not happen.
const SHORT: Duration = Duration::from_millis(3000);

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
const STOCK: &str = "/usr/sbin/ovs-vswitchd";
const OURS: &str = env!("CARGO_BIN_EXE_ovs-vswitchd");

#[test]
fn in_a_kernel() {
    ovs_test_kernel::run_ignored_tests();
}

/// Runs a program to its end: whether it was content, and what it wrote.
fn run(program: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[track_caller]
fn must(program: &str, arguments: &str) -> String {
    let words: Vec<&str> = arguments.split_whitespace().collect();
    let (done, text) = run(program, &words);
    assert!(done, "{program} {arguments}: {text}");
    text
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LONG, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A database and a daemon, with a bridge and two hosts on it.
struct Machine {
    folder: PathBuf,
    program: &'static str,
    database: Child,
    daemon: Child,
}

impl Machine {
    fn start(program: &'static str) -> Machine {
        // The database wants files without a name, which are in /tmp wherever else there is room.
        static ROOM: Once = Once::new();
        ROOM.call_once(|| drop(must("mount", "-t tmpfs tmpfs /tmp")));
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let folder = PathBuf::from(format!("/run/m{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir_all(&folder).unwrap();
        let database = folder.join("conf.db");
        must("ovsdb-tool", &format!("create {} {SCHEMA}", database.display()));
        let remote = format!("--remote=punix:{}", folder.join("db.sock").display());
        let database = Command::new("ovsdb-server")
            .arg(&database)
            .args([&remote, "--no-chdir", "-vconsole:off"])
            .arg(format!("--unixctl={}", folder.join("db.ctl").display()))
            .spawn()
            .unwrap();
        until("the database", || folder.join("db.sock").exists());
        let daemon = Machine::daemon(program, &folder);
        let machine = Machine { folder, program, database, daemon };
        machine.vsctl("init");
        machine.vsctl("add-br br0 -- set bridge br0 fail-mode=secure");
        for (host, address) in [("a", "10.1.1.1/24"), ("b", "10.1.1.2/24")] {
            must("ip", &format!("netns add {host}"));
            must("ip", &format!("link add p{host} type veth peer name q{host} netns {host}"));
            must("ip", &format!("link set p{host} up"));
            for command in
                [format!("addr add {address} dev q{host}"), format!("link set q{host} up"), "link set lo up".into()]
            {
                must("ip", &format!("-n {host} {command}"));
            }
            machine.vsctl(&format!("add-port br0 p{host}"));
        }
        machine
    }

    fn daemon(program: &str, folder: &std::path::Path) -> Child {
        let control = folder.join("daemon.ctl");
        let _ = fs::remove_file(&control);
        let daemon = Command::new(program)
            .arg(format!("unix:{}", folder.join("db.sock").display()))
            .args(["--no-chdir", "-vconsole:off", "-vsyslog:off"])
            .arg(format!("--unixctl={}", control.display()))
            .env("OVS_RUNDIR", folder)
            .spawn()
            .unwrap();
        until("the daemon", || control.exists());
        daemon
    }

    #[track_caller]
    fn vsctl(&self, arguments: &str) -> String {
        must(
            "ovs-vsctl",
            &format!("--db=unix:{} --retry --timeout=40 {arguments}", self.folder.join("db.sock").display()),
        )
    }

    #[track_caller]
    fn appctl(&self, arguments: &str) -> String {
        must("ovs-appctl", &format!("-t {} {arguments}", self.folder.join("daemon.ctl").display()))
    }

    /// Has the bridge these flows and no others.
    #[track_caller]
    fn flows(&self, flows: &[&str]) {
        let file = self.folder.join("flows");
        fs::write(&file, flows.join("\n")).unwrap();
        let bridge = self.folder.join("br0.mgmt");
        must("ovs-ofctl", &format!("-O OpenFlow13 replace-flows unix:{} {}", bridge.display(), file.display()));
        if self.program == STOCK {
            // Its megaflows do as before for up to half a second.
            thread::sleep(Duration::from_secs(1));
        }
    }

    fn stop(mut self) {
        self.appctl("exit --cleanup");
        self.daemon.wait().unwrap();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for child in [&mut self.daemon, &mut self.database] {
            let _ = child.kill();
            let _ = child.wait();
        }
        for host in ["a", "b"] {
            run("ip", &["netns", "del", host]);
            run("ip", &["link", "del", &format!("p{host}")]);
        }
    }
}

/// Has a thread in a namespace do something.
fn within<T: Send>(host: &str, f: impl FnOnce() -> T + Send) -> T {
    let namespace = File::open(format!("/run/netns/{host}")).unwrap();
    let enter = || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        f()
    };
    thread::scope(|scope| scope.spawn(enter).join().unwrap())
}

/// Whether an answer comes; the question may wait for an address to be found.
fn pings(from: &str, to: &str) -> bool {
    run("ip", &["netns", "exec", from, "ping", "-q", "-c", "1", "-i", "0.2", "-w", "4", to]).0
}

/// Whether so many bytes go over TCP.
fn tcp(from: &str, to: &str, address: &str, bytes: usize) -> bool {
    let address: SocketAddr = format!("{address}:5001").parse().unwrap();
    let listener = within(to, || TcpListener::bind(address).unwrap());
    let server = thread::spawn(move || {
        listener.set_nonblocking(true).unwrap();
        let begun = Instant::now();
        while begun.elapsed() < LONG {
            if let Ok((mut stream, _)) = listener.accept() {
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(LONG)).unwrap();
                let mut all = Vec::new();
                let _ = stream.read_to_end(&mut all);
                return all.len();
            }
            thread::sleep(Duration::from_millis(10));
        }
        0
    });
    let sent = within(from, || {
        let mut stream = TcpStream::connect_timeout(&address, SHORT).ok()?;
        stream.write_all(&vec![7; bytes]).ok()
    });
    sent.is_some() && server.join().unwrap() == bytes
}

/// What is found out with a daemon, by name.
fn scenarios(machine: &Machine) -> Vec<(&'static str, bool)> {
    let mut found = Vec::new();
    let mut note = |what, is_so| {
        println!("  {what}: {is_so}");
        found.push((what, is_so));
    };
    note("nothing passes without flows", pings("a", "10.1.1.2"));
    machine.flows(&["actions=NORMAL"]);
    note("ping", pings("a", "10.1.1.2"));
    note(
        "large packets",
        run("ip", &["netns", "exec", "a", "ping", "-q", "-c", "1", "-s", "9000", "-w", "2", "10.1.1.2"]).0,
    );
    note("TCP", tcp("a", "b", "10.1.1.2", 3_000_000));

    machine.vsctl("set port pa tag=10 -- set port pb tag=10");
    note("ping within a VLAN", pings("a", "10.1.1.2"));
    machine.vsctl("set port pb tag=20");
    note("ping between VLANs", pings("a", "10.1.1.2"));
    machine.vsctl("remove port pa tag 10 -- set port pb tag=30");
    // Not every kernel has devices for tags.
    if run("ip", &"-n a link add link qa name qa.30 type vlan id 30".split(' ').collect::<Vec<_>>()).0 {
        must("ip", "-n a addr flush dev qa");
        must("ip", "-n a addr add 10.1.1.1/24 dev qa.30");
        must("ip", "-n a link set qa.30 up");
        note("ping from a trunk", pings("a", "10.1.1.2"));
        must("ip", "-n a link del qa.30");
        must("ip", "-n a addr add 10.1.1.1/24 dev qa");
    }
    machine.vsctl("remove port pb tag 30");

    machine.flows(&[
        "priority=10,arp,actions=NORMAL",
        "priority=10,ip,ct_state=-trk,actions=ct(table=1)",
        "table=1,priority=10,ip,in_port=pa,ct_state=+trk+new,actions=ct(commit),pb",
        "table=1,priority=10,ip,ct_state=+trk+est,actions=NORMAL",
    ]);
    note("connections from inside", tcp("a", "b", "10.1.1.2", 100_000));
    note("connections from outside", tcp("b", "a", "10.1.1.1", 100));
    machine.flows(&[
        "priority=10,arp,actions=NORMAL",
        // The kernel cannot write ARP: this is done in userspace, packet by packet.
        "priority=20,arp,arp_op=1,arp_tpa=10.1.1.77,actions=set_field:10.1.1.2->arp_tpa,pb",
        "priority=20,arp,arp_op=2,in_port=pb,actions=set_field:10.1.1.77->arp_spa,pa",
        "priority=10,icmp,nw_dst=10.1.1.77,actions=mod_nw_dst:10.1.1.2,pb",
        "priority=10,icmp,in_port=pb,actions=mod_nw_src:10.1.1.77,pa",
    ]);
    note("ping with an address that is rewritten", pings("a", "10.1.1.77"));
    machine.flows(&["actions=NORMAL"]);
    found
}

#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn what_a_stock_daemon_carries_is_carried() {
    if !is_possible() {
        return;
    }
    println!("ours:");
    let machine = Machine::start(OURS);
    let names = fs::read_dir(format!("/proc/{}/task", machine.daemon.id())).unwrap();
    let names = names.map(|task| fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default());
    let handlers = names.filter(|name| name.starts_with("handler")).count();
    assert_eq!(handlers, thread::available_parallelism().unwrap().get(), "a thread for each CPU takes upcalls");
    let ours = scenarios(&machine);
    machine.stop();
    let expected = ["nothing passes without flows", "ping between VLANs", "connections from outside"];
    for (what, is_so) in &ours {
        assert_eq!(*is_so, !expected.contains(what), "{what}");
    }
    wait_for_clock();
    println!("stock:");
    let machine = Machine::start(STOCK);
    let theirs = scenarios(&machine);
    machine.stop();
    // On a kernel without zones of connections a stock daemon tracks none at all.
    for (what, is_so) in theirs {
        assert!(!is_so || ours.contains(&(what, true)), "{what}");
    }
}

/// What is found out about tunnels to an end that is the machine's own stack, by kind: whether a ping comes through, and TCP.
///
/// ```text
///   namespace a          ovs-system                         namespace far
///   qa 10.1.1.1 ──────── pa  (br0)  tun ···· pu 172.31.1.1 ──────── qu 172.31.1.2 ···· far0 10.1.1.100
/// ```
fn tunnels(machine: &Machine) -> Vec<(&'static str, bool)> {
    let mut found = Vec::new();
    must("ip", "netns add far");
    must("ip", "link add pu type veth peer name qu netns far");
    must("ip", "addr add 172.31.1.1/24 dev pu");
    must("ip", "link set pu up");
    must("ip", "-n far addr add 172.31.1.2/24 dev qu");
    must("ip", "-n far link set qu up");
    machine.flows(&["actions=NORMAL"]);
    for (kind, options, far) in [
        ("vxlan", "options:key=5", "vxlan id 5 remote 172.31.1.1 dstport 4789"),
        ("geneve", "options:key=7", "geneve id 7 remote 172.31.1.1 dstport 6081"),
        ("gre", "options:key=9", "gretap local 172.31.1.2 remote 172.31.1.1 key 9"),
        ("gre", "options:packet_type=legacy_l3", "gre local 172.31.1.2 remote 172.31.1.1"),
    ] {
        // Without Ethernet inside, there is no address to ask for: what leaves has none, what comes is given one.
        let l3 = options.contains("legacy_l3");
        // Not every kernel has every kind.
        if !run("ip", &format!("-n far link add far0 type {far}").split(' ').collect::<Vec<_>>()).0 {
            println!("  {kind}: not in this kernel");
            continue;
        }
        must("ip", "-n far addr add 10.1.1.100/24 dev far0");
        // One that others know already.
        let address = if l3 { "" } else { "address 02:00:00:00:00:64 " };
        must("ip", &format!("-n far link set far0 {address}mtu 1400 up"));
        machine.vsctl(&format!(
            "add-port br0 tun -- set interface tun type={kind} ofport_request=9 options:remote_ip=172.31.1.2 {options}"
        ));
        let kind = if l3 { "gre without Ethernet" } else { kind };
        if l3 {
            must("ip", "-n a neigh replace 10.1.1.100 lladdr 02:00:00:00:00:64 dev qa");
            let mac = must("ip", "netns exec a cat /sys/class/net/qa/address");
            machine.flows(&[
                "priority=10,ip,nw_dst=10.1.1.100,actions=9",
                &format!("priority=10,in_port=9,actions=set_field:{}->eth_dst,1", mac.trim()),
                "priority=0,actions=NORMAL",
            ]);
        }
        let answers = pings("a", "10.1.1.100");
        let carries = answers && tcp("a", "far", "10.1.1.100", 300_000);
        println!("  {kind}: ping {answers}, TCP {carries}");
        found.push((kind, answers && carries));
        if l3 {
            machine.flows(&["actions=NORMAL"]);
            must("ip", "-n a neigh del 10.1.1.100 dev qa");
        }
        machine.vsctl("del-port br0 tun");
        must("ip", "-n far link del far0");
    }
    must("ip", "netns del far");
    run("ip", &["link", "del", "pu"]);
    found
}

#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn tunnels_lead_to_the_kernels_own() {
    if !is_possible() {
        return;
    }
    println!("ours:");
    let machine = Machine::start(OURS);
    // The port that tunnels share is there as long as one of them is.
    let is_there = |name: &str| must("ip", "-o link").contains(&format!(" {name}: "));
    machine.vsctl("add-port br0 v1 -- set interface v1 type=vxlan options:remote_ip=172.31.1.3");
    machine.vsctl("add-port br0 v2 -- set interface v2 type=vxlan options:remote_ip=172.31.1.4 options:key=flow");
    assert!(is_there("vxlan_sys_4789"));
    let shown = machine.appctl("dpif/show");
    assert!(shown.contains("(vxlan: remote_ip=172.31.1.3)"), "{shown}");
    machine.vsctl("del-port br0 v1");
    assert!(is_there("vxlan_sys_4789"));
    machine.vsctl("set interface v2 options:dst_port=4790");
    assert!(!is_there("vxlan_sys_4789") && is_there("vxlan_sys_4790"));
    machine.vsctl("del-port br0 v2");
    assert!(!is_there("vxlan_sys_4790"));
    let ours = tunnels(&machine);
    machine.stop();
    assert!(ours.contains(&("vxlan", true)), "{ours:?}");
    assert!(ours.iter().all(|(_, is_so)| *is_so), "{ours:?}");
    println!("stock:");
    wait_for_clock();
    let machine = Machine::start(STOCK);
    let theirs = tunnels(&machine);
    machine.stop();
    for (what, is_so) in theirs {
        assert!(!is_so || ours.contains(&(what, true)), "{what}");
    }
}

/// A stock daemon that finds the clock under 10 s has no threads for upcalls.
fn wait_for_clock() {
    let uptime = || fs::read_to_string("/proc/uptime").unwrap().split('.').next().unwrap().parse::<u64>().unwrap();
    while uptime() < 11 {
        thread::sleep(Duration::from_millis(100));
    }
}

/// Whether the test can run here, where it is called.
fn is_possible() -> bool {
    if ovs_test_kernel::inside().is_none() {
        return false;
    }
    let needed = ["/usr/sbin/ovsdb-server", "/usr/bin/ovs-vsctl", STOCK, SCHEMA];
    let missing = needed.into_iter().find(|path| !PathBuf::from(path).exists());
    missing.inspect(|path| println!("skipped: there is no {path}")).is_none()
}

/// A dump without what passes with time: counters, and when they were counted.
fn timeless(dump: &str) -> Vec<String> {
    let of = |line: &str| {
        let (key, rest) = line.split_once(", packets:")?;
        let (_, actions) = rest.split_once(", actions:")?;
        // A kernel without zones does not tell that a zone is not matched.
        let key = key.replace("ct_zone(0/0),", "");
        // Newer tools tell who forwards.
        Some(format!("{key}, actions:{actions}").replace(", dp:ovs", ""))
    };
    // Of IPv6 newer kernels tell extension headers, which stock tools show as an attribute that they do not know; and a drop
    // with its reason, which they take for another action.
    let is_known = |line: &&str| !line.contains("eth_type(0x86dd)");
    let mut lines: Vec<String> = dump.lines().filter(is_known).filter_map(of).collect();
    lines.sort();
    lines
}

#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn dumps_are_those_of_stock_tools() {
    if !is_possible() {
        return;
    }
    let machine = Machine::start(OURS);
    machine.flows(&[
        "priority=10,arp,actions=NORMAL",
        "priority=10,icmp,ct_state=-trk,actions=ct(table=1)",
        "table=1,priority=10,icmp,in_port=pa,ct_state=+trk+new,actions=ct(commit,exec(load:0x5->NXM_NX_CT_MARK[])),pb",
        "table=1,priority=10,icmp,ct_state=+trk+est,actions=mod_nw_tos:32,push_vlan:0x8100,set_field:4101->vlan_vid,pop_vlan,NORMAL",
    ]);
    assert!(pings("a", "10.1.1.2"));
    for options in ["", "-m", "--names", "-m --names"] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        // A megaflow may end between the two.
        for _ in 0..5 {
            ours = timeless(&machine.appctl(&format!("dpctl/dump-flows {options} system@ovs-system")));
            theirs = timeless(&must("ovs-dpctl", &format!("dump-flows {options} system@ovs-system")));
            if ours == theirs && ours.len() > 2 {
                break;
            }
        }
        assert!(ours.len() > 2, "{ours:#?}");
        assert_eq!(ours, theirs, "dump-flows {options}");
    }
    machine.stop();
}

#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn what_differs_by_its_ports_from_a_flow_is_left_to_the_kernel() {
    if !is_possible() {
        return;
    }
    let machine = Machine::start(OURS);
    machine.flows(&["priority=10,tcp,tp_dst=5002,actions=drop", "priority=0,actions=NORMAL"]);
    assert!(pings("a", "10.1.1.2"));
    assert!(tcp("a", "b", "10.1.1.2", 1_000_000));
    let dump = machine.appctl("dpctl/dump-flows system@ovs-system");
    let count = |line: &str| line.split_once("packets:")?.1.split(',').next()?.parse::<u64>().ok();
    let counts: Vec<u64> = dump.lines().filter(|l| l.contains("tcp(")).filter_map(count).collect();
    assert!(counts.len() >= 2 && counts.iter().all(|n| *n > 0), "both ways in the kernel: {dump}");
    assert!(dump.lines().filter(|l| l.contains("tcp(")).all(|l| l.contains("proto=6,")), "{dump}");
    machine.stop();
}

/// Of an access list, a megaflow has a few bits of this field and a few of that: the kernel takes all of them.
#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn the_kernel_takes_what_an_access_list_leads_to() {
    if !is_possible() {
        return;
    }
    let machine = Machine::start(OURS);
    let rules = [
        "tcp,nw_src=10.1.1.0/28,tp_dst=443",
        "tcp,nw_dst=10.1.2.0/24,tp_dst=0x1000/0xf000",
        "tcp,nw_src=10.1.1.77,nw_dst=10.1.0.0/17,tp_src=999,tcp_flags=+syn-ack",
        "udp,nw_dst=10.1.3.0/26,tp_dst=53",
        "udp,nw_src=10.9.0.0/16,nw_tos=32",
        "ip,nw_src=10.1.1.64/27,nw_ttl=1",
        "icmp,nw_dst=10.1.4.4,icmp_type=8,icmp_code=0",
        "sctp,nw_src=10.64.0.0/10,tp_dst=5000",
        "tcp6,ipv6_src=2001:db8::/32,tp_dst=80",
        "udp6,ipv6_dst=2001:db8:1::/48,ipv6_label=0x12345",
        "icmp6,ipv6_dst=fe80::/10,icmp_type=135,nd_target=fe80::9",
        "icmp6,icmp_type=136,nd_tll=02:00:00:00:00:77",
        "arp,arp_op=1,arp_tpa=10.1.1.128/25",
        "arp,arp_spa=10.2.0.0/16,arp_sha=02:00:00:00:00:88",
        "dl_vlan=100,tcp,nw_dst=10.1.1.0/24",
        "dl_vlan=7,dl_vlan_pcp=3",
        "dl_src=02:00:00:00:aa:00/ff:ff:ff:ff:ff:00,ip",
        "dl_dst=01:80:c2:00:00:00/ff:ff:ff:00:00:00",
        "mpls,mpls_label=77,mpls_bos=1",
        "ip,nw_frag=later,nw_dst=10.1.7.0/24",
    ];
    let flows: Vec<String> =
        rules.iter().zip(1..).map(|(rule, n)| format!("priority={n},{rule},actions=drop")).collect();
    machine.flows(&flows.iter().map(String::as_str).collect::<Vec<_>>());
    let packets: Vec<Packet> = [
        "tcp,nw_src=10.1.1.5,nw_dst=10.1.2.9,tp_src=1000,tp_dst=442",
        "tcp,nw_src=10.1.1.77,nw_dst=10.1.3.3,tp_src=998,tp_dst=4097,tcp_flags=syn",
        "udp,nw_src=10.8.0.1,nw_dst=10.1.3.60,tp_src=1,tp_dst=52",
        "udp,nw_src=10.9.0.1,nw_dst=10.1.3.1,nw_tos=16,nw_ttl=2,tp_src=1,tp_dst=53",
        "icmp,nw_src=10.1.1.65,nw_dst=10.1.4.4,nw_ttl=64,icmp_type=0,icmp_code=0",
        "sctp,nw_src=10.65.1.1,nw_dst=10.1.1.1,tp_src=7,tp_dst=5001",
        "tcp6,ipv6_src=2001:db9::1,ipv6_dst=2001:db8:1::2,tp_src=1,tp_dst=81",
        "udp6,ipv6_src=2001:db8::1,ipv6_dst=2001:db8:1::2,ipv6_label=0x12344,tp_src=1,tp_dst=80",
        "icmp6,ipv6_src=fe80::1,ipv6_dst=ff02::1:ff00:9,icmp_type=135,icmp_code=0,nd_target=fe80::8",
        "icmp6,ipv6_src=fe80::1,ipv6_dst=fe80::2,icmp_type=136,icmp_code=0,nd_target=fe80::8,nd_tll=02:00:00:00:00:76",
        "arp,arp_op=1,arp_spa=10.3.0.1,arp_tpa=10.1.1.127,arp_sha=02:00:00:00:00:87",
        "arp,arp_op=2,arp_spa=10.2.0.1,arp_tpa=10.1.1.130,arp_sha=02:00:00:00:00:89",
        "dl_vlan=101,tcp,nw_src=10.1.1.5,nw_dst=10.1.1.9,tp_src=1,tp_dst=2",
        "dl_vlan=7,dl_vlan_pcp=2,udp,nw_src=10.7.7.7,nw_dst=10.7.7.8,tp_src=1,tp_dst=2",
        "ip,nw_src=10.5.5.5,nw_dst=10.5.5.6,nw_proto=47",
    ]
    .into_iter()
    .map(|packet| {
        let packet: Match = format!("dl_src=02:00:00:00:ab:01,dl_dst=02:00:00:00:00:02,{packet}").parse().unwrap();
        compose::compose(packet.key(), &[7; 40])
    })
    .collect();
    within("a", || {
        let mut socket = PacketSocket::open("qa").unwrap();
        for packet in (0..3).flat_map(|_| &packets) {
            socket.send(&mut [packet.clone()].into_iter().collect()).unwrap();
            thread::sleep(Duration::from_millis(20));
        }
    });
    // The first of each comes up; the kernel knows what to do with the others.
    let hits = || {
        let dump = must("ovs-dpctl", "dump-flows");
        let count = |line: &str| line.split_once("packets:")?.1.split(',').next()?.parse::<usize>().ok();
        (dump.lines().filter_map(count).sum::<usize>(), dump)
    };
    let begun = Instant::now();
    while begun.elapsed() < SHORT && hits().0 < 2 * packets.len() {
        thread::sleep(Duration::from_millis(100));
    }
    let (hits, dump) = hits();
    println!("{hits} packets of {} were the kernel's:\n{dump}", 3 * packets.len());
    assert!(hits >= 2 * packets.len());
    machine.stop();
}

#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn a_datapath_outlives_the_daemon_and_is_taken_over() {
    if !is_possible() {
        return;
    }
    let mut machine = Machine::start(OURS);
    machine.flows(&["actions=NORMAL"]);
    assert!(pings("a", "10.1.1.2"));
    let ports = must("ovs-dpctl", "show");
    machine.appctl("exit");
    machine.daemon.wait().unwrap();
    assert!(pings("a", "10.1.1.2"), "megaflows go on without the daemon");
    let port_lines = |text: &str| text.lines().filter(|l| l.contains("port ")).map(String::from).collect::<Vec<_>>();
    assert_eq!(port_lines(&must("ovs-dpctl", "show")), port_lines(&ports));

    // A port that nobody asks for any more is found by the next daemon.
    machine.vsctl("--no-wait del-port pb");
    machine.daemon = Machine::daemon(machine.program, &machine.folder);
    until("the port is gone", || !must("ovs-dpctl", "show").contains(": pb"));
    machine.vsctl("add-port br0 pb");
    machine.flows(&["actions=NORMAL"]);
    assert!(pings("a", "10.1.1.2"), "taken over");

    // An internal port that is moved to another namespace stays what it is.
    machine.vsctl("add-port br0 i1 -- set interface i1 type=internal");
    let number = machine.vsctl("get interface i1 ofport");
    must("ip", "link set i1 netns a");
    must("ip", "-n a addr add 10.1.2.1/24 dev i1");
    must("ip", "-n a link set i1 up");
    must("ip", "-n b addr add 10.1.2.2/24 dev qb");
    until("a way to the port that was moved", || pings("b", "10.1.2.1"));
    machine.vsctl("set bridge br0 other-config:hwaddr=02:00:00:00:00:77");
    assert_eq!(machine.vsctl("get interface i1 ofport"), number);
    assert!(pings("b", "10.1.2.1"));
    machine.vsctl("del-port br0 i1");
    until("the port is removed", || !must("ovs-dpctl", "show").contains(": i1"));
    must("ip", "-n b addr del 10.1.2.2/24 dev qb");

    // An interface that goes, and comes back.
    must("ip", "link del pa");
    let error = || machine.vsctl("get interface pa error");
    until("the error is told", || error().contains("No such device"));
    must("ip", "link add pa type veth peer name qa netns a");
    must("ip", "link set pa up");
    must("ip", "-n a addr add 10.1.1.1/24 dev qa");
    must("ip", "-n a link set qa up");
    until("the error is gone", || error().trim() == "[]");
    assert!(pings("a", "10.1.1.2"), "come back");
    machine.stop();
    assert_eq!(must("ovs-dpctl", "dump-dps"), "");
}

/// What is found out with ports of the type `tap`.
fn taps(machine: &Machine) -> Vec<(&'static str, bool)> {
    let mut found = Vec::new();
    let mut note = |what, is_so| {
        println!("  {what}: {is_so}");
        found.push((what, is_so));
    };
    let is_tap = |name: &str| run("ip", &["-d", "link", "show", name]).1.contains("tun type tap");
    let is_port = |name: &str| must("ovs-dpctl", "show").contains(&format!(": {name}\n"));
    machine.vsctl("add-port br0 t1 -- set interface t1 type=tap");
    let of = |name: &str, column: &str| machine.vsctl(&format!("get interface {name} {column}")).trim().to_string();
    note("is numbered", of("t1", "ofport").parse::<u16>().is_ok_and(|n| n > 0));
    note("has no error", of("t1", "error") == "[]");
    note("is made", is_tap("t1"));
    note("is a port", is_port("t1"));
    must("ip", "tuntap add t2 mode tap");
    must("ip", "link set t2 address 02:00:00:00:00:72 up");
    machine.vsctl("add-port br0 t2 -- set interface t2 type=tap");
    note("that was there is taken", is_port("t2") && of("t2", "mac_in_use") == "\"02:00:00:00:00:72\"");
    machine.vsctl("set interface t1 mtu_request=1400");
    note("has the MTU that is asked for", must("ip", "link show t1").contains("mtu 1400"));
    machine.flows(&["actions=NORMAL"]);
    note("beside others they do no harm", pings("a", "10.1.1.2"));
    machine.vsctl("del-port br0 t1");
    note("goes with its port", !is_port("t1") && !run("ip", &["link", "show", "t1"]).0);
    machine.vsctl("del-port br0 t2");
    note("that was there goes too", !is_port("t2") && !run("ip", &["link", "show", "t2"]).0);
    found
}

#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn devices_of_the_stacks_own_are_ports() {
    if !is_possible() {
        return;
    }
    if !run("ip", &["tuntap", "add", "t0", "mode", "tap"]).0 {
        return println!("skipped: this kernel has no TAP devices");
    }
    must("ip", "link del t0");
    println!("ours:");
    let mut machine = Machine::start(OURS);
    let ours = taps(&machine);
    // One outlives the daemon, and is its port again.
    machine.vsctl("add-port br0 t1 -- set interface t1 type=tap");
    let number = || (machine.vsctl("get interface t1 ofport"), must("ovs-dpctl", "show"));
    let before = number();
    machine.appctl("exit");
    machine.daemon.wait().unwrap();
    assert!(must("ovs-dpctl", "show").contains(": t1\n"));
    machine.daemon = Machine::daemon(machine.program, &machine.folder);
    let lines = |text: &str| text.lines().filter(|l| l.contains("port ")).map(String::from).collect::<Vec<_>>();
    let after = (machine.vsctl("get interface t1 ofport"), must("ovs-dpctl", "show"));
    assert_eq!((&after.0, lines(&after.1)), (&before.0, lines(&before.1)));
    machine.vsctl("set interface t1 options:colour=red");
    let error = || machine.vsctl("get interface t1 error");
    until("the option is refused", || error().contains("option colour of a device of type tap is not available"));
    machine.stop();
    assert!(!run("ip", &["link", "show", "t1"]).0, "it goes at the end");
    wait_for_clock();
    println!("stock:");
    let machine = Machine::start(STOCK);
    let theirs = taps(&machine);
    machine.stop();
    assert!(ours.iter().all(|(_, is_so)| *is_so), "{ours:?}");
    for (what, is_so) in theirs {
        assert!(!is_so || ours.contains(&(what, true)), "{what}");
    }
}

/// How many of five packets with one tag are read as UDP, how many not, and of five with two, by limit of tags.
fn tags(machine: &Machine) -> Vec<(&'static str, [u64; 4])> {
    let one: Match = "udp,dl_src=02:00:00:00:00:99,dl_vlan=10,nw_src=10.1.1.1,nw_dst=10.1.1.9".parse().unwrap();
    let one = compose::compose(one.key(), &[7; 40]);
    let mut two = one.data().to_vec();
    two.splice(12..12, [0x81, 0x00, 0x00, 11]);
    let packets = [one, Packet::from_slice(&two)];
    let rules = [
        "priority=20,dl_vlan=10,udp",
        "priority=10,dl_vlan=10",
        "priority=20,dl_vlan=11,udp",
        "priority=10,dl_vlan=11",
    ];
    let flows: Vec<String> = rules.iter().zip(1..).map(|(rule, n)| format!("cookie={n},{rule},actions=drop")).collect();
    let flows: Vec<&str> = flows.iter().map(String::as_str).collect();
    let count = || {
        let bridge = machine.folder.join("br0.mgmt");
        let dump = must("ovs-ofctl", &format!("-O OpenFlow13 dump-flows unix:{}", bridge.display()));
        std::array::from_fn(|i| {
            let line = dump.lines().find(|l| l.contains(&format!("cookie={:#x},", i + 1))).unwrap();
            line.split_once("n_packets=").unwrap().1.split(',').next().unwrap().parse().unwrap()
        })
    };
    let with_limit = |limit: &'static str| {
        machine.vsctl(match limit {
            "" => "remove open_vswitch . other_config vlan-limit",
            "0" => "set open_vswitch . other_config:vlan-limit=0",
            "1" => "set open_vswitch . other_config:vlan-limit=1",
            _ => "set open_vswitch . other_config:vlan-limit=2",
        });
        machine.flows(&[]);
        // A stock daemon's megaflows do as under the limit before.
        must("ovs-dpctl", "del-flows");
        machine.flows(&flows);
        within("a", || {
            let mut socket = PacketSocket::open("qa").unwrap();
            for packet in [&packets[0], &packets[1]].repeat(5) {
                socket.send(&mut [packet.clone()].into_iter().collect()).unwrap();
                thread::sleep(Duration::from_millis(20));
            }
        });
        let begun = Instant::now();
        while begun.elapsed() < LONG && count().iter().sum::<u64>() < 10 {
            thread::sleep(Duration::from_millis(100));
        }
        let megaflows = must("ovs-dpctl", "dump-flows");
        let tagged = megaflows.lines().filter(|l| l.contains("vid=1")).count();
        let counts = count();
        println!("  vlan-limit {limit:?}: {counts:?}");
        assert!(tagged == 2 || machine.program == STOCK, "one for each kind: {megaflows}");
        (limit, counts)
    };
    ["", "0", "1", "2"].map(with_limit).to_vec()
}

#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn as_many_tags_are_read_as_are_asked_for() {
    if !is_possible() {
        return;
    }
    println!("ours:");
    let machine = Machine::start(OURS);
    let ours = tags(&machine);
    machine.stop();
    wait_for_clock();
    println!("stock:");
    let machine = Machine::start(STOCK);
    let theirs = tags(&machine);
    machine.stop();
    assert_eq!(ours, theirs);
    assert_eq!(ours, [("", [5, 0, 0, 5]), ("0", [5, 0, 5, 0]), ("1", [5, 0, 0, 5]), ("2", [5, 0, 5, 0])]);
}

/// How many tens of seconds connections of zone 5 live on, of ICMP, UDP and TCP, by what the zone's policy says.
fn timeouts(machine: &Machine) -> Vec<(&'static str, [u64; 3])> {
    machine.flows(&[
        "priority=10,arp,actions=NORMAL",
        "priority=10,ip,ct_state=-trk,actions=ct(commit,zone=5,table=1)",
        "table=1,actions=NORMAL",
    ]);
    machine.vsctl(
        "-- --id=@zone create CT_Zone external_ids:x=y -- --id=@dp create Datapath datapath_version=0 ct_zones:5=@zone \
         -- set open_vswitch . datapaths:system=@dp",
    );
    let with = |policy: &'static str| {
        match policy {
            "" => machine.vsctl("clear CT_Zone . timeout_policy"),
            policy => {
                let policy: Vec<String> = policy.split(' ').map(|timeout| format!("timeouts:{timeout}")).collect();
                let policy = format!("--id=@tp create CT_Timeout_Policy {}", policy.join(" "));
                machine.vsctl(&format!("-- {policy} -- set CT_Zone . timeout_policy=@tp"))
            }
        };
        machine.appctl("dpctl/flush-conntrack");
        // Each is looked at as soon as its last packet has passed: seconds count.
        let of = |protocol: &str| {
            let dump = machine.appctl("dpctl/dump-conntrack -s");
            let line = dump.lines().find(|l| l.starts_with(protocol) && l.contains("zone=5"))?;
            let seconds: u64 = line.split_once("timeout=")?.1.split(',').next()?.parse().ok()?;
            Some(seconds.next_multiple_of(10))
        };
        let left = |protocol: &str| {
            until("it is tracked", || of(protocol).is_some());
            of(protocol).unwrap()
        };
        assert!(pings("a", "10.1.1.2"));
        let icmp = left("icmp");
        assert!(tcp("a", "b", "10.1.1.2", 1000));
        let tcp = left("tcp");
        let sent = within("a", || {
            let socket = UdpSocket::bind("10.1.1.1:7000").unwrap();
            socket.send_to(b"one", "10.1.1.2:7001")
        });
        assert_eq!(sent.unwrap(), 3);
        let left = [icmp, left("udp"), tcp];
        println!("  {policy:?}: {left:?}");
        (policy, left)
    };
    // What a policy does not name is the kernel's own, and a policy that is changed is another.
    let policies =
        ["", "icmp_first=80 udp_single=110 tcp_time_wait=220 tcp_last_ack=330", "icmp_first=770 tcp_unack=90", ""];
    policies.map(with).to_vec()
}

#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn connections_live_as_long_as_their_zone_says() {
    if !is_possible() {
        return;
    }
    println!("ours:");
    let machine = Machine::start(OURS);
    if machine.appctl("dpif/show-dp-features br0").contains("CT zone: No") {
        println!("skipped: this kernel has no zones");
        return machine.stop();
    }
    let ours = timeouts(&machine);
    let told = || machine.vsctl("get open_vswitch . statistics");
    assert_eq!(told().trim(), "{}");
    // Of UDP the kernel tells no first datagram from others.
    machine.vsctl("-- --id=@tp create CT_Timeout_Policy timeouts:udp_first=5 -- set CT_Zone . timeout_policy=@tp");
    assert!(told().contains("the timeout policy of zone 5: not available: udp_first"), "{}", told());
    machine.stop();
    assert_eq!(
        ours.iter().map(|(_, left)| *left).collect::<Vec<_>>(),
        [[30, 30, 120], [80, 110, 220], [770, 30, 120], [30, 30, 120]]
    );
    wait_for_clock();
    println!("stock:");
    let machine = Machine::start(STOCK);
    let theirs = timeouts(&machine);
    machine.stop();
    assert_eq!(ours, theirs);
}

//! `ovs-vswitchd` with real ports: a stock database server and stock tools, three hosts, two bridges joined by a patch.
//!
//! ```text
//!   h1 10.1.0.1 ─── p1 ┐                            ┌ p3 ─── 10.1.0.3 h3
//!                      br0 ─ to1 ══════════ to0 ─ br1
//!   h2 10.1.0.2 ─── p2 ┘ │
//!                        └ br0 10.1.0.100: the switch's own host
//! ```
//!
//! Each host is a network namespace; so is the switch's. Skipped, with the reason printed, where the process may not make
//! namespaces or a tool is not installed.

#![cfg(target_os = "linux")]

mod common;

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};

use common::hosts::{answers, ip_command, namespace, plug, reaches, transfer};
use common::world::{World, spawn, wait_until};
use ovs_ofproto::session::edge::{Driver, Listener, StreamOptions};
use ovs_ofproto::session::{ListenOn, SessionOptions};
use ovs_packet::EthAddr;
use ovs_switch::demo::links::Links;
use ovs_switch::demo::netns::Namespace;

/// The switch's own host, on the bridge's port.
const OWN: u8 = 100;

struct Lan {
    world: World,
    hosts: [Namespace; 3],
}

fn ip(host: u8) -> Ipv4Addr {
    [10, 1, 0, host].into()
}

impl Lan {
    /// Hosts and namespaces without any bridge.
    fn empty() -> Option<Lan> {
        let (switch, hosts) = (namespace()?, [namespace()?, namespace()?, namespace()?]);
        for (n, host) in (1..).zip(&hosts) {
            plug(host, &switch, &format!("p{n}"), ip(n));
        }
        Some(Lan { world: World::within(Some(switch), &[])?, hosts })
    }

    /// The network that is drawn above.
    fn new() -> Option<Lan> {
        let lan = Lan::empty()?;
        lan.world.vsctl(
            "add-br br0 -- set bridge br0 datapath_type=netdev -- add-br br1 -- set bridge br1 datapath_type=netdev \
             -- add-port br0 p1 -- add-port br0 p2 -- add-port br1 p3 \
             -- add-port br0 to1 -- set interface to1 type=patch options:peer=to0 \
             -- add-port br1 to0 -- set interface to0 type=patch options:peer=to1",
        );
        let links = lan.links();
        links.add_ip("br0", ip(OWN).into(), 24).unwrap();
        links.set_up("br0").unwrap();
        Some(lan)
    }

    fn switch(&self) -> &Namespace {
        self.world.namespace.as_ref().unwrap()
    }

    fn links(&self) -> Links {
        Links::open(self.switch()).unwrap()
    }

    /// Everybody reaches everybody.
    fn is_whole(&self) {
        let [h1, h2, h3] = &self.hosts;
        for (from, to) in [(h1, 2), (h1, 3), (h2, 3), (h1, OWN), (h3, OWN), (self.switch(), 1), (self.switch(), 3)] {
            reaches(from, ip(to));
        }
    }

    /// A number among the statistics of an interface.
    fn statistic(&self, interface: &str, key: &str) -> u64 {
        let text = self.world.vsctl(&format!("--if-exists get interface {interface} statistics:{key}"));
        text.trim().parse().unwrap_or(0)
    }
}

#[test]
fn hosts_reach_each_other_and_the_bridges_own_port() {
    let Some(lan) = Lan::new() else { return };
    let [h1, h2, h3] = &lan.hosts;
    lan.is_whole();
    transfer(h1, h3, ip(3));
    transfer(h3, h2, ip(2));
    transfer(h1, lan.switch(), ip(OWN));
    transfer(lan.switch(), h3, ip(3));
    for (interface, kind) in [("br0", "internal"), ("br1", "internal"), ("p1", "\"\""), ("to1", "patch")] {
        assert_eq!(lan.world.of_interface(interface, "type"), kind);
        assert_eq!(lan.world.of_interface(interface, "error"), "[]", "{interface}");
    }
    assert_eq!(lan.world.of_interface("br0", "ofport"), "65534");
    let known = lan.links().get("br0").unwrap();
    wait_until("what the host did is written back", || {
        lan.world.of_interface("br0", "admin_state link_state ifindex mac_in_use")
            == format!("up\nup\n{}\n\"{}\"", known.index, known.address.unwrap())
    });
    // It is the bridge's own port that answers for its address, and no other interface of that host.
    let mut neighbours = Command::new("ip");
    neighbours.args(["neigh", "show", "10.1.0.100"]).stdout(std::process::Stdio::piped());
    let shown = spawn(Some(h1), &mut neighbours).wait_with_output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains(&known.address.unwrap().to_string()), "{shown}");
    // Segments went as they were made, far longer than a frame.
    wait_until("statistics are written", || lan.statistic("p1", "rx_packets") > 100);
    let mean = lan.statistic("p1", "rx_bytes") / lan.statistic("p1", "rx_packets");
    assert!(mean > 1514, "{mean} bytes a packet");
}

#[test]
fn access_ports_and_trunks() {
    let Some(lan) = Lan::new() else { return };
    let [h1, h2, h3] = &lan.hosts;
    if !ip_command(h2, "link add link eth0 name v7 type vlan id 7") {
        return eprintln!("skipped: no VLAN devices");
    }
    assert!(ip_command(h2, "addr add 10.7.0.2/24 dev v7") && ip_command(h2, "link set v7 up"));
    for (host, address) in [(h1, "10.7.0.1"), (h3, "10.7.0.3")] {
        Links::open(host).unwrap().add_ip("eth0", address.parse().unwrap(), 24).unwrap();
    }
    lan.world.vsctl("set port p1 tag=7 -- set port p2 trunks=7 -- set port p3 tag=7");
    let two = "10.7.0.2".parse().unwrap();
    reaches(h1, two);
    reaches(h3, two);
    reaches(h1, "10.7.0.3".parse().unwrap());
    transfer(h1, h2, two);
    transfer(h2, h3, "10.7.0.3".parse().unwrap());
    // Another VLAN is another network, and so is none.
    lan.world.vsctl("set port p3 tag=8");
    assert!(!answers(h1, "10.7.0.3".parse().unwrap(), Duration::from_millis(500)));
    assert!(!answers(h1, ip(OWN), Duration::from_millis(500)));
    // The bridge's own port may be in a VLAN too.
    lan.world.vsctl("set port br0 tag=7");
    lan.links().add_ip("br0", "10.7.0.100".parse().unwrap(), 24).unwrap();
    reaches(h1, "10.7.0.100".parse().unwrap());
    reaches(h2, "10.7.0.100".parse().unwrap());
}

#[test]
fn controllers_by_the_bridges_own_port() {
    let Some(lan) = Lan::new() else { return };
    let [h1, _, h3] = &lan.hosts;
    reaches(h1, ip(OWN));
    // One that connects to the bridge.
    lan.world.vsctl(&format!("set-controller br1 ptcp:6634:{}", ip(OWN)));
    let ask = || {
        let mut command = Command::new("ovs-ofctl");
        command.args(["--timeout=5", "show", &format!("tcp:{}:6634", ip(OWN))]).stdout(std::process::Stdio::piped());
        spawn(Some(h3), &mut command).wait_with_output().unwrap()
    };
    wait_until("the bridge answers a controller", || ask().status.success());
    let shown = String::from_utf8_lossy(&ask().stdout).into_owned();
    assert!(shown.contains("(p3): addr:") && shown.contains("LOCAL(br1): addr:"), "{shown}");
    // One that the bridge connects to. The way to it is a flow that was there before it.
    lan.world.vsctl("set-fail-mode br0 secure");
    lan.world.ok("ovs-ofctl", &["add-flow", "br0", "actions=NORMAL"]);
    reaches(h1, ip(OWN));
    let place: ListenOn = format!("ptcp:6653:{}", ip(1)).parse().unwrap();
    let listener = h1.run(|| Listener::bind(&place, &StreamOptions::default())).unwrap().unwrap();
    lan.world.vsctl(&format!("set-controller br0 tcp:{}:6653", ip(1)));
    lan.world.ok("ovs-ofctl", &["add-flow", "br0", "actions=NORMAL"]);
    let (start, mut connection) = (Instant::now(), None::<Driver>);
    let now = || ovs_packet::Instant::ZERO + start.elapsed();
    // Its probes are answered for as long as anything is waited for.
    let mut is_connected = || {
        // The bridge waits a second for a hello at first, and longer each time.
        if connection.as_ref().is_none_or(|driver| !driver.session().is_alive()) {
            let stream = listener.accept().unwrap();
            connection = stream.map(|s| Driver::passive(s, SessionOptions::default(), now()));
        }
        let Some(driver) = &mut connection else { return false };
        driver.run(now());
        while driver.poll_event(now()).is_some() {}
        driver.run(now());
        driver.session().is_connected()
    };
    wait_until("the bridge connects to its controller", &mut is_connected);
    wait_until("the database says so", || {
        is_connected() && lan.world.vsctl("--columns=is_connected list controller").contains("true")
    });
    let peer = connection.as_ref().and_then(|driver| driver.stream()?.peer_address()).unwrap();
    assert_eq!(peer.ip(), ip(OWN));
}

#[test]
fn a_restart_keeps_the_hosts_address() {
    let Some(mut lan) = Lan::new() else { return };
    lan.is_whole();
    let before = lan.links().get("br0").unwrap();
    // A crash, then an end as by a service manager.
    lan.world.daemon.kill().unwrap();
    lan.world.daemon.wait().unwrap();
    let orphan = lan.links().get("br0").unwrap();
    assert!(orphan.up && !orphan.carrier, "{orphan:?}");
    lan.world.start_daemon(&[]);
    lan.is_whole();
    lan.world.appctl(&["exit"]);
    assert!(lan.world.ended());
    assert!(!answers(&lan.hosts[0], ip(2), Duration::from_millis(300)));
    lan.world.start_daemon(&[]);
    lan.is_whole();
    let after = lan.links().get("br0").unwrap();
    assert_eq!((after.index, after.address), (before.index, before.address));
    // Only then nothing is left.
    lan.world.appctl(&["exit", "--cleanup"]);
    assert!(lan.world.ended());
    for name in ["br0", "br1"] {
        assert_eq!(lan.links().get(name).unwrap_err().to_string(), format!("there is no link {name}"));
    }
}

#[test]
fn interfaces_vanish_and_return() {
    let Some(lan) = Lan::new() else { return };
    let [h1, h2, _] = &lan.hosts;
    lan.is_whole();
    Links::open(h2).unwrap().delete("eth0").unwrap();
    wait_until("the missing interface is told", || lan.world.of_interface("p2", "error").contains("no interface p2"));
    assert_eq!(lan.world.of_interface("p2", "ofport"), "-1");
    reaches(h1, ip(3));
    plug(h2, lan.switch(), "p2", ip(2));
    reaches(h1, ip(2));
    wait_until("the error is gone", || lan.world.of_interface("p2", "error") == "[]");
    // One that is another of the same name by the time that somebody looks.
    Links::open(h2).unwrap().delete("eth0").unwrap();
    plug(h2, lan.switch(), "p2", ip(2));
    reaches(h1, ip(2));
    // The bridge's own port is made again; what addresses it had went with it.
    lan.links().delete("br0").unwrap();
    wait_until("the bridge's own port is back", || lan.links().get("br0").is_ok());
    lan.links().add_ip("br0", ip(OWN).into(), 24).unwrap();
    lan.links().set_up("br0").unwrap();
    reaches(h1, ip(OWN));
    // One that was configured before it was there.
    lan.world.vsctl("--no-wait add-port br1 late");
    wait_until("it is missed", || lan.world.of_interface("late", "error").contains("no interface late"));
    lan.links().add_bridge("late").unwrap();
    wait_until("it is found", || lan.world.of_interface("late", "error") == "[]");
}

#[test]
fn what_rows_ask_of_interfaces() {
    let Some(lan) = Lan::new() else { return };
    let world = &lan.world;
    // Further ports of the host's own.
    world.vsctl(
        "add-port br0 int0 -- set interface int0 type=internal mac=\"02:00:00:00:07:01\" mtu_request=1400 \
         -- add-port br0 tap0 -- set interface tap0 type=tap",
    );
    let link = |name: &str| lan.links().get(name).unwrap();
    assert_eq!((link("int0").address, link("int0").mtu), (Some(EthAddr([2, 0, 0, 0, 7, 1])), 1400));
    assert_eq!(world.of_interface("int0", "mac_in_use mtu admin_state error"), "\"02:00:00:00:07:01\"\n1400\ndown\n[]");
    assert!(!link("int0").up && !link("tap0").up);
    world.vsctl("set bridge br0 other_config:hwaddr=02:00:00:00:07:02");
    assert_eq!(link("br0").address, Some(EthAddr([2, 0, 0, 0, 7, 2])));
    world.vsctl("set interface int0 mac=\"02:00:00:00:07:03\" mtu_request=1300 -- set interface p1 mtu_request=1450");
    assert_eq!((link("int0").address, link("int0").mtu), (Some(EthAddr([2, 0, 0, 0, 7, 3])), 1300));
    // The bridge's own port has the least MTU of its neighbours.
    assert_eq!((link("p1").mtu, link("br0").mtu, link("br1").mtu), (1450, 1450, 1500));
    lan.links().set_mtu("p1", 1440).unwrap();
    wait_until("the bridge follows", || link("br0").mtu == 1440);
    wait_until("the database follows", || world.of_interface("br0", "mtu") == "1440");
    // What cannot be is told, and the port stays.
    world.vsctl("--no-wait set interface tap0 mtu_request=65535");
    wait_until("the refusal is told", || world.of_interface("tap0", "error").contains("its MTU cannot be 65535"));
    assert!(world.of_interface("tap0", "ofport").parse::<u32>().is_ok());
    // A controller brings ports up and takes them down.
    world.ok("ovs-ofctl", &["mod-port", "br0", "int0", "up"]);
    wait_until("the port is up", || link("int0").up);
    world.ok("ovs-ofctl", &["mod-port", "br0", "int0", "down"]);
    wait_until("the port is down", || !link("int0").up);
    // Removed from the bridge, they are removed; names that are others' are refused.
    world.vsctl("del-port tap0 -- del-port int0");
    wait_until("the ports are gone", || lan.links().get("tap0").is_err() && lan.links().get("int0").is_err());
    lan.links().add_bridge("taken").unwrap();
    world.vsctl("--no-wait add-port br0 taken -- set interface taken type=internal");
    wait_until("the refusal is told", || world.of_interface("taken", "error").contains("it is there already"));
    world.vsctl("del-br br1");
    wait_until("the bridge's own port is gone", || lan.links().get("br1").is_err());
    assert!(lan.links().get("p3").is_ok());
}

#[test]
fn ports_go_to_workers_and_come_back() {
    let Some(lan) = Lan::new() else { return };
    let [h1, h2, h3] = &lan.hosts;
    lan.is_whole();
    let queues = || lan.world.appctl(&["dpif-netdev/pmd-rxq-show"]);
    assert!(!queues().contains("port:"), "{}", queues());
    lan.world.vsctl("set Open_vSwitch . other_config:pmd-cpu-mask=0x1");
    for port in ["p1", "p2", "p3", "br0", "br1"] {
        assert!(queues().contains(&format!("port: {port} ")), "{}", queues());
    }
    lan.is_whole();
    transfer(h1, h3, ip(3));
    transfer(lan.switch(), h2, ip(2));
    // A worker has the port whose interface goes.
    Links::open(h2).unwrap().delete("eth0").unwrap();
    wait_until("the missing interface is told", || lan.world.of_interface("p2", "error").contains("no interface p2"));
    plug(h2, lan.switch(), "p2", ip(2));
    reaches(h1, ip(2));
    lan.world.vsctl("remove Open_vSwitch . other_config pmd-cpu-mask");
    assert!(!queues().contains("port:"), "{}", queues());
    lan.is_whole();
    transfer(h1, h3, ip(3));
}

//! `ovs-vswitchd` makes the outer headers of a tunnel, and Linux takes them off at the other end.
//!
//! ```text
//!   h1 10.1.0.1 ─── p1 ─ int ─ vx ═════ VXLAN 7 ═════ vx0 10.1.0.2 h2
//!                        out 192.0.2.1 ─ up ─── eth0 192.0.2.2
//! ```
//!
//! Each host is a network namespace; so is the switch's. Skipped, with the reason printed, where the process may not make
//! namespaces, a tool is not installed, or the kernel has no VXLAN.

#![cfg(target_os = "linux")]

mod common;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use common::network::LONG;
use common::world::{World, spawn, wait_until};
use ovs_packet::EthAddr;
use ovs_switch::demo::links::Links;
use ovs_switch::demo::netns::Namespace;
use ovs_switch::demo::traffic;

const H1: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const H2: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
const NEAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

struct Path {
    world: World,
    h1: Namespace,
    h2: Namespace,
}

/// Gives a host an interface whose other end is in the switch's namespace.
fn plug(host: &Namespace, switch: &Namespace, peer: &str, address: Ipv4Addr) {
    let links = Links::open(host).unwrap();
    links.add_veth("eth0", switch, peer).unwrap();
    links.set_address("eth0", EthAddr([2, 0, 0, 0, 0, address.octets()[3]])).unwrap();
    links.add_ip("eth0", address.into(), 24).unwrap();
    links.set_up("eth0").unwrap();
}

/// Runs `ip` in a namespace.
fn ip_command(namespace: &Namespace, line: &str) -> bool {
    let mut command = Command::new("ip");
    spawn(Some(namespace), command.args(line.split(' '))).wait().unwrap().success()
}

fn reaches(from: &Namespace, to: Ipv4Addr) {
    let answers = || from.run(|| traffic::ping(to, 1, Duration::ZERO, Duration::from_secs(1))).unwrap();
    wait_until(&format!("{to} answers"), || answers().is_ok_and(|report| report.received == 1));
}

/// A transfer of TCP, whose segments are as long as the stacks make them.
fn transfer(from: &Namespace, to: &Namespace, address: Ipv4Addr) {
    let bytes = if cfg!(debug_assertions) { 8 << 20 } else { 1 << 30 };
    let address = SocketAddr::new(address.into(), 8080);
    let report = traffic::tcp_transfer(to, from, address, bytes, LONG, &AtomicBool::new(false)).unwrap();
    eprintln!("to {address}: {:.2} Gbit/s", report.bits_per_second() / 1e9);
    assert_eq!((report.bytes, report.intact), (bytes, true));
}

impl Path {
    fn new() -> Option<Path> {
        let namespace = || Namespace::new().inspect_err(|e| eprintln!("skipped: {e}")).ok();
        let (switch, h1, h2) = (namespace()?, namespace()?, namespace()?);
        plug(&h1, &switch, "p1", H1);
        plug(&h2, &switch, "up", FAR);
        if !ip_command(&h2, &format!("link add vx0 type vxlan id 7 dstport 4789 local {FAR} remote {NEAR}")) {
            eprintln!("skipped: the kernel makes no VXLAN devices");
            return None;
        }
        let links = Links::open(&h2).unwrap();
        links.add_ip("vx0", H2.into(), 24).unwrap();
        links.set_up("vx0").unwrap();
        // Room for the outer header.
        Links::open(&h1).unwrap().set_mtu("eth0", 1450).unwrap();
        let world = World::within(Some(switch), &[])?;
        world.vsctl(&format!(
            "add-br out -- set bridge out datapath_type=netdev -- add-port out up \
             -- add-br int -- set bridge int datapath_type=netdev -- add-port int p1 \
             -- add-port int vx -- set interface vx type=vxlan options:remote_ip={FAR} options:key=7"
        ));
        let links = Links::open(world.namespace.as_ref().unwrap()).unwrap();
        links.add_ip("out", NEAR.into(), 24).unwrap();
        links.set_up("out").unwrap();
        Some(Path { world, h1, h2 })
    }

    fn vxlan(&self, options: &str) {
        self.world.vsctl(&format!("set interface vx {options}"));
    }
}

#[test]
fn linux_is_the_other_end_of_a_vxlan_tunnel() {
    let Some(path) = Path::new() else { return };
    reaches(&path.h1, H2);
    reaches(&path.h2, H1);
    // What stacks leave to cards, the inner checksum and the cutting, is left at the tunnel too.
    transfer(&path.h1, &path.h2, H2);
    transfer(&path.h2, &path.h1, H1);
    assert_eq!(path.world.of_interface("vx", "error"), "[]");
    // With an outer checksum, which Linux checks.
    path.vxlan("options:csum=true");
    reaches(&path.h1, H2);
    transfer(&path.h1, &path.h2, H2);
    // The route came from the kernel, and the neighbour was asked for.
    let routes = path.world.appctl(&["ovs/route/lookup", &FAR.to_string()]);
    assert!(routes.contains("dev out"), "{routes}");
    let neighbours = path.world.appctl(&["tnl/neigh/show"]);
    assert!(neighbours.contains(&FAR.to_string()) && neighbours.contains("02:00:00:00:00:02"), "{neighbours}");
    // Another key is another network.
    path.vxlan("options:key=8");
    let ping = || path.h1.run(|| traffic::ping(H2, 1, Duration::ZERO, Duration::from_millis(500))).unwrap();
    wait_until("the key counts", || ping().is_ok_and(|report| report.received == 0));
}

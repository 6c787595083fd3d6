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

use std::net::Ipv4Addr;
use std::time::Duration;

use common::hosts::{answers, ip_command, namespace, plug, reaches, transfer};
use common::world::{World, wait_until};
use ovs_switch::demo::links::Links;
use ovs_switch::demo::netns::Namespace;

const H1: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const H2: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
const NEAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

struct Path {
    world: World,
    h1: Namespace,
    h2: Namespace,
}

impl Path {
    fn new() -> Option<Path> {
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
    wait_until("the key counts", || !answers(&path.h1, H2, Duration::from_millis(500)));
}

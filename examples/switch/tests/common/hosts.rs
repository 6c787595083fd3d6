//! Hosts that are network namespaces, plugged into a switch's, and what they say to each other.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ovs_packet::EthAddr;
use ovs_switch::demo::links::Links;
use ovs_switch::demo::netns::Namespace;
use ovs_switch::demo::traffic;

use super::network::LONG;
use super::world::{spawn, wait_until};

/// A host without interfaces, unless the process may not make any.
pub(crate) fn namespace() -> Option<Namespace> {
    Namespace::new().inspect_err(|e| eprintln!("skipped: {e}")).ok()
}

/// Gives a host an interface, `eth0`, whose other end is in the switch's namespace.
pub(crate) fn plug(host: &Namespace, switch: &Namespace, peer: &str, address: Ipv4Addr) {
    let links = Links::open(host).unwrap();
    links.add_veth("eth0", switch, peer).unwrap();
    links.set_address("eth0", EthAddr([2, 0, 0, 0, 0, address.octets()[3]])).unwrap();
    links.add_ip("eth0", address.into(), 24).unwrap();
    links.set_up("eth0").unwrap();
}

/// Runs `ip` in a namespace.
pub(crate) fn ip_command(namespace: &Namespace, line: &str) -> bool {
    let mut command = Command::new("ip");
    spawn(Some(namespace), command.args(line.split(' '))).wait().unwrap().success()
}

/// Whether `to` answers.
pub(crate) fn answers(from: &Namespace, to: Ipv4Addr, patience: Duration) -> bool {
    from.run(|| traffic::ping(to, 1, Duration::ZERO, patience)).unwrap().is_ok_and(|report| report.received == 1)
}

/// Waits until `to` answers: the first packet may be the one that a bridge is not ready for.
pub(crate) fn reaches(from: &Namespace, to: Ipv4Addr) {
    wait_until(&format!("{to} answers"), || answers(from, to, Duration::from_secs(1)));
}

/// A transfer of TCP, whose segments are as long as the stacks make them.
pub(crate) fn transfer(from: &Namespace, to: &Namespace, address: Ipv4Addr) {
    let bytes = if cfg!(debug_assertions) { 8 << 20 } else { 1 << 30 };
    let address = SocketAddr::new(address.into(), 8080);
    let report = traffic::tcp_transfer(to, from, address, bytes, LONG, &AtomicBool::new(false)).unwrap();
    eprintln!("to {address}: {:.2} Gbit/s", report.bits_per_second() / 1e9);
    assert_eq!((report.bytes, report.intact), (bytes, true));
}

//! Two hosts and a switch's namespace between them, and frames that are told apart from the kernel's own.
//!
//! ```text
//!   left namespace            switch namespace             right namespace
//!   eth0 10.1.0.1 ─────────── p1             p2 ─────────── eth0 10.1.0.2
//! ```

use std::time::{Duration, Instant};

use super::hosts::namespace;
use super::world::wait_until;
use ovs_dpif::netdev::Netdev;
use ovs_packet::{EthAddr, Packet, PacketBatch};
use ovs_switch::demo::links::Links;
use ovs_switch::demo::netns::Namespace;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Enough for anything here; nothing is asserted about time.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// The hosts and what is between them.
pub(crate) struct Network {
    pub(crate) left: Namespace,
    pub(crate) switch: Namespace,
    pub(crate) right: Namespace,
}

impl Network {
    pub(crate) fn new() -> Option<Network> {
        let network = Network { left: namespace()?, switch: namespace()?, right: namespace()? };
        let of_switch = network.links(&network.switch);
        for (host, port, n) in [(&network.left, "p1", 1), (&network.right, "p2", 2)] {
            let links = network.links(host);
            links.add_veth("eth0", &network.switch, port).unwrap();
            links.set_address("eth0", EthAddr([2, 0, 0, 0, 0, n])).unwrap();
            links.add_ip("eth0", [10, 1, 0, n].into(), 24).unwrap();
            links.add_ip("eth0", [0xfd00, 0, 0, 0, 0, 0, 0, u16::from(n)].into(), 64).unwrap();
            links.set_up("eth0").unwrap();
            of_switch.set_up(port).unwrap();
        }
        // The end that was up before the other has its carrier by the kernel's own work later, and drops what is sent
        // until then. A kernel that is asked for the carrier does that work first.
        let ends =
            [(&network.left, "eth0"), (&network.right, "eth0"), (&network.switch, "p1"), (&network.switch, "p2")];
        for (namespace, name) in ends {
            wait_until("the link has a carrier", || network.links(namespace).get(name).unwrap().carrier);
        }
        Some(network)
    }

    pub(crate) fn links(&self, of: &Namespace) -> Links {
        Links::open(of).unwrap()
    }
}

/// Waits for one of the ports to have something, but not for long.
pub(crate) fn wait_readable(ports: &[&dyn Netdev]) {
    let fds = ports.iter().map(|p| p.fd().unwrap()).collect::<Vec<_>>();
    let mut fds = fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect::<Vec<_>>();
    let _ = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 20_000_000 }));
}

/// The source of the frames made here: the kernel's own (IPv6 makes some on each new link) are told apart by it.
pub(crate) const OURS: [u8; 6] = [2, 0, 0, 0, 0, 0x99];

/// A frame of `len` bytes from [`OURS`] to nobody in particular.
pub(crate) fn frame(len: usize, ethertype_on: &[u8]) -> Packet {
    let mut data = [&[2, 0, 0, 0, 0, 0x77][..], &OURS, ethertype_on].concat();
    let from = data.len();
    data.extend((from..len).map(|n| n as u8));
    Packet::from_slice(&data)
}

/// Waits for `n` of our frames.
pub(crate) fn receive_ours(port: &mut dyn Netdev, n: usize) -> Vec<Packet> {
    let end = Instant::now() + LONG;
    let mut ours = Vec::new();
    while ours.len() < n && Instant::now() < end {
        let mut batch = PacketBatch::new();
        if port.receive(&mut batch).unwrap() == 0 {
            wait_readable(&[port]);
        }
        ours.extend(batch.into_iter().filter(|p| p.data()[6..12] == OURS));
    }
    assert_eq!(ours.len(), n);
    ours
}

pub(crate) fn batch(packets: impl IntoIterator<Item = Packet>) -> PacketBatch {
    packets.into_iter().collect()
}

/// An Ethertype that no stack knows.
pub(crate) const EXPERIMENTAL: [u8; 2] = [0x88, 0xb5];

//! The world of these tests: switches with ports whose other ends the test holds, on a clock that the test moves.
//!
//! [`World`] is one switch on a datapath, [`Network`] several that share one. Nothing happens in them by itself: a packet
//! that is pushed waits until it is served, and what a switch does in its own time waits for `run`. Whenever packets were
//! served, the datapath's accounts of them balance.

mod network;
mod switch;

use ovs_dpif::netdev::{MemPort, MemPortPeer};
use ovs_dpif::{Dpif, PortNo, PortSpec, Upcall};
use ovs_ofproto::codec::GroupMod;
use ovs_ofproto::text::{GroupCommand, Parser};
use ovs_ofproto::{FlowMod, FlowModCommand};
use ovs_packet::{FlowKey, Instant, Match, Packet, compose, extract};

pub(crate) use network::Network;
pub(crate) use switch::World;

/// A change of flows, by its words.
pub(crate) fn flow(text: &str, command: FlowModCommand) -> FlowMod {
    Parser::default().flow_mod(text, command).unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// A change of groups, by its words.
pub(crate) fn group(text: &str, command: GroupCommand) -> GroupMod {
    Parser::default().group_mod(text, command).unwrap_or_else(|e| panic!("{text}: {e}")).value
}

/// A packet that a match in words is about.
pub(crate) fn packet(words: &str) -> Packet {
    let m: Match = words.parse().unwrap_or_else(|e| panic!("{words}: {e}"));
    compose::compose(m.key(), b"payload")
}

/// What is read of a packet.
pub(crate) fn key(packet: &Packet) -> FlowKey {
    let mut key = FlowKey::ZERO;
    assert_eq!(extract::extract(&mut packet.clone(), &mut key).malformed, None);
    key
}

/// Adds a device to a datapath: its number there, and its other end.
fn plug(dp: &mut dyn Dpif, name: &str, wanted: Option<PortNo>) -> (PortNo, MemPortPeer) {
    let (port, end) = MemPort::new(name, 256);
    (dp.port_add(PortSpec::Device(Box::new(port)), wanted).unwrap(), end)
}

/// Forwards all that the ports have received, and has what comes up decided on. Whether there was any.
fn serve(dp: &mut dyn Dpif, now: Instant, mut decide: impl FnMut(&mut dyn Dpif, Upcall)) -> bool {
    let (mut upcalls, mut any) = (Vec::new(), false);
    while dp.poll(now, &mut upcalls) > 0 {
        any = true;
        upcalls.drain(..).for_each(|upcall| decide(dp, upcall));
    }
    assert!(dp.ledger().balanced() && dp.ledger().in_flight == 0, "{}", dp.ledger());
    any
}

/// The packets that came out, with the numbers from 1 of the ends that they came out of.
fn received(ends: &[MemPortPeer]) -> Vec<(u32, Packet)> {
    let ends = ends.iter().zip(1..);
    ends.flat_map(|(end, n)| std::iter::from_fn(move || end.pop()).map(move |packet| (n, packet))).collect()
}

//! Candidates for a reply tuple.
//!
//! The address is chosen by a hash of the client's address, and of the server's unless the range is persistent. The
//! port is the packet's own if that is in range; then ports follow from a hashed or random beginning in a stride that is
//! odd and prime to the range, so that neighbours in time are not neighbours in number, and no port comes twice.
//!
//! # Bound
//!
//! No more than [`TRIES`] candidates are offered, so that a connection is refused after so many lookups whatever the
//! range. A range of fewer candidates is searched whole: it is found exhausted exactly when it is. Of a larger range,
//! several addresses are tried, and a share `p` of it is taken; candidates are spread evenly, so that a connection is
//! refused though there was room with a chance of `p` to the power of 64: one in 800 at nine tenths, one in thirty at
//! 95 in 100.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ovs_packet::extract::{IP_PROTO_SCTP, IP_PROTO_TCP, IP_PROTO_UDP};

use super::Nat;
use crate::siphash::SipHash13;
use crate::tuple::{Transport, Tuple};

/// How many candidates there are at most.
pub(crate) const TRIES: u32 = 64;

/// The candidates for the reply tuple of a connection, best first.
pub(crate) struct Candidates {
    original: Tuple,
    reply: Tuple,
    source: bool,
    ports: Option<(u16, u16)>,
    own_first: bool,
    random: u64,
    /// First address, how many there are, and which of them comes next.
    addresses: Option<Addresses>,
    /// What is still to come of this address, last first.
    stages: [Option<Stage>; 2],
    /// How many candidates there may still be, of this address and at all.
    left_here: u32,
    left: u32,
}

/// Addresses to go through.
#[derive(Clone, Copy, Debug)]
struct Addresses {
    v6: bool,
    first: u128,
    /// One less than their number.
    span: u128,
    at: u128,
    offered: u32,
}

impl Addresses {
    /// The addresses of a range, from a hashed one on; `None` if they are not of the tuple's family.
    fn new(original: &Tuple, first: IpAddr, last: IpAddr, hash: u64) -> Option<Addresses> {
        let (first, last, v6) = match (original.src, first, last) {
            (IpAddr::V4(_), IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits().into(), b.to_bits().into(), false),
            (IpAddr::V6(_), IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), true),
            _ => return None,
        };
        let (first, last): (u128, u128) = (first.min(last), first.max(last));
        let span = last - first;
        let at = span.checked_add(1).map_or(u128::from(hash), |len| u128::from(hash) % len);
        Some(Addresses { v6, first, span, at, offered: 0 })
    }

    /// How many there are, as far as it matters.
    fn len(&self) -> u32 {
        self.span.saturating_add(1).min(TRIES.into()) as u32
    }

    fn next(&mut self) -> Option<IpAddr> {
        if self.offered == self.len() {
            return None;
        }
        let bits = self.first + self.at;
        self.at = if self.at == self.span { 0 } else { self.at + 1 };
        self.offered += 1;
        Some(if self.v6 { Ipv6Addr::from_bits(bits).into() } else { Ipv4Addr::from_bits(bits as u32).into() })
    }
}

/// Ports to go through, of one end.
#[derive(Clone, Copy, Debug)]
struct Stage {
    /// Whether it is the source port of the original direction that changes.
    source: bool,
    first: u16,
    /// How many ports there are, and have been offered.
    len: u32,
    offered: u32,
    /// Where in the range to begin, and how far to go on.
    start: u32,
    stride: u32,
}

impl Stage {
    fn new(source: bool, (first, last): (u16, u16), random: u64) -> Stage {
        let (first, last) = (first.min(last), first.max(last));
        let len = u32::from(last - first) + 1;
        let start = (random % u64::from(len)) as u32;
        // Prime to `len`: the ports come round only after all were offered.
        let mut stride = ((random >> 32) % u64::from(len)) as u32 | 1;
        while gcd(stride, len) != 1 {
            stride += 2;
        }
        Stage { source, first, len, offered: 0, start, stride }
    }

    const fn fixed(source: bool, port: u16) -> Stage {
        Stage { source, first: port, len: 1, offered: 0, start: 0, stride: 1 }
    }

    fn next(&mut self) -> Option<u16> {
        if self.offered == self.len {
            return None;
        }
        let at = (u64::from(self.start) + u64::from(self.offered) * u64::from(self.stride)) % u64::from(self.len);
        self.offered += 1;
        Some(self.first + at as u16)
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Candidates {
    /// The candidates for a connection whose first packet has `original`. `random` is fresh, `secret` the tracker's.
    ///
    /// `None` for a range of another family than the packet's.
    pub(crate) fn new(original: &Tuple, nat: &Nat, secret: SipHash13, random: u64) -> Option<Candidates> {
        let (source, range) = match nat {
            Nat::Existing => return None,
            Nat::Source(range) => (true, range),
            Nat::Destination(range) => (false, range),
        };
        let hash = |with_peer: bool| hash(original, with_peer, secret);
        let addresses = match range.addresses {
            None => None,
            Some((first, last)) if first == last && first.is_unspecified() => None,
            Some((first, last)) => Some(Addresses::new(original, first, last, hash(!range.persistent))?),
        };
        let mut candidates = Candidates {
            original: *original,
            reply: original.reversed(),
            source,
            ports: range.ports,
            own_first: !range.random,
            random: if range.random { random } else { hash(true) ^ own_port_bits(original) },
            addresses,
            stages: [None; 2],
            left_here: 0,
            left: TRIES,
        };
        if candidates.addresses.is_none() {
            candidates.plan();
        }
        Some(candidates)
    }

    /// Which ports are offered for the address.
    fn plan(&mut self) {
        let Candidates { source, ports, random, .. } = *self;
        self.stages = match (self.original.proto, self.original.transport) {
            (IP_PROTO_TCP | IP_PROTO_UDP | IP_PROTO_SCTP, Transport::Ports { src, .. }) if source => {
                let all = ports.unwrap_or_else(|| class(src));
                let own = (self.own_first && within(all, src)).then(|| Stage::fixed(true, src));
                [Some(Stage::new(true, all, random)), own]
            }
            (IP_PROTO_TCP | IP_PROTO_UDP | IP_PROTO_SCTP, Transport::Ports { src, dst }) => {
                // When no destination port is free, another source port makes the tuple unique.
                let wanted = ports.map_or(Stage::fixed(false, dst), |all| Stage::new(false, all, random));
                if let Transport::Ports { src, .. } = &mut self.reply.transport {
                    *src = wanted.first;
                }
                [Some(Stage::new(true, class(src), random)), Some(wanted)]
            }
            // Both directions have the one identifier: only a source changes it, within its range.
            (_, Transport::Icmp { id, .. }) => {
                let all = ports.filter(|_| source).unwrap_or((0, u16::MAX));
                [Some(Stage::new(true, all, random)), within(all, id).then(|| Stage::fixed(true, id))]
            }
            // Nothing but addresses: one candidate for each.
            _ => [None, Some(Stage::fixed(true, 0))],
        };
        let all: u32 = self.stages.iter().flatten().map(|s| s.len).sum();
        let addresses = self.addresses.as_ref().map_or(1, Addresses::len);
        self.left_here = if all.saturating_mul(addresses) <= TRIES { all } else { TRIES / addresses.min(8) };
    }

    /// Whether the range has so few candidates that all of them come up.
    pub(crate) fn is_whole(&self) -> bool {
        let addresses = u64::from(self.addresses.as_ref().map_or(1, Addresses::len));
        let ports = match self.original.transport {
            Transport::Ports { .. } if !has_ports(self.original.proto) => 1,
            _ => self.ports.map_or(u64::MAX, |(first, last)| u64::from(first.abs_diff(last)) + 1),
        };
        // Destination ports that are taken are tried with other sources, of which there are many; of few candidates,
        // the packet's own port comes up twice.
        (self.source || !has_ports(self.original.proto)) && ports.saturating_mul(addresses) < TRIES.into()
    }

    fn next_port(&mut self) -> Option<Tuple> {
        self.left_here = self.left_here.checked_sub(1)?;
        loop {
            let place = self.stages.iter_mut().rev().find(|s| s.is_some())?;
            let stage = place.as_mut()?;
            let source = stage.source;
            let Some(port) = stage.next() else {
                *place = None;
                continue;
            };
            let mut reply = self.reply;
            match &mut reply.transport {
                Transport::Ports { src, dst } => *if source { dst } else { src } = port,
                Transport::Icmp { id, .. } => *id = port,
            }
            return Some(reply);
        }
    }
}

impl Iterator for Candidates {
    type Item = Tuple;

    fn next(&mut self) -> Option<Tuple> {
        self.left = self.left.checked_sub(1)?;
        loop {
            if let Some(tuple) = self.next_port() {
                return Some(tuple);
            }
            let address = self.addresses.as_mut()?.next()?;
            *if self.source { &mut self.reply.dst } else { &mut self.reply.src } = address;
            self.plan();
        }
    }
}

const fn within((first, last): (u16, u16), port: u16) -> bool {
    first <= port && port <= last
}

/// Ports that a server may take for as well chosen as this one.
const fn class(port: u16) -> (u16, u16) {
    match port {
        0..512 => (1, 511),
        512..1024 => (600, 1023),
        _ => (1024, u16::MAX),
    }
}

const fn has_ports(proto: u8) -> bool {
    matches!(proto, IP_PROTO_TCP | IP_PROTO_UDP | IP_PROTO_SCTP)
}

fn own_port_bits(tuple: &Tuple) -> u64 {
    match tuple.transport {
        Transport::Ports { src, .. } => u64::from(src) * 0x9e37_79b9,
        Transport::Icmp { id, .. } => u64::from(id) * 0x9e37_79b9,
    }
}

fn hash(original: &Tuple, with_peer: bool, secret: SipHash13) -> u64 {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    let (src, dst) = (bits(original.src), if with_peer { bits(original.dst) } else { 0 });
    secret.hash(&[(src >> 64) as u64, src as u64, (dst >> 64) as u64, dst as u64, u64::from(original.proto)])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::super::NatRange;
    use super::*;

    fn tuple(proto: u8, src_port: u16) -> Tuple {
        Tuple {
            src: [10, 0, 0, 1].into(),
            dst: [10, 0, 0, 2].into(),
            proto,
            transport: Transport::Ports { src: src_port, dst: 80 },
        }
    }

    fn candidates(original: &Tuple, nat: &Nat) -> Vec<Tuple> {
        Candidates::new(original, nat, SipHash13::new(1, 2), 0x1234_5678_9abc_def0).into_iter().flatten().collect()
    }

    fn dst_ports(tuples: &[Tuple]) -> Vec<u16> {
        let port = |t: &Tuple| match t.transport {
            Transport::Ports { dst, .. } => dst,
            Transport::Icmp { id, .. } => id,
        };
        tuples.iter().map(port).collect()
    }

    #[test]
    fn the_own_port_comes_first_if_it_is_in_range() {
        let nat = |range| Nat::Source(range);
        let all = candidates(&tuple(6, 3000), &nat(NatRange::address([1, 1, 1, 1])));
        assert_eq!((all.len(), dst_ports(&all)[0]), (TRIES as usize, 3000));
        assert!(all.iter().all(|t| t.dst == IpAddr::from([1, 1, 1, 1]) && t.src == IpAddr::from([10, 0, 0, 2])));
        assert!(dst_ports(&all).iter().all(|p| *p >= 1024));
        let all = candidates(&tuple(6, 3000), &nat(NatRange::address([1, 1, 1, 1]).with_ports(5, 7)));
        assert_eq!(BTreeSet::from_iter(dst_ports(&all)), BTreeSet::from([5, 6, 7]));
        assert_eq!(dst_ports(&candidates(&tuple(17, 100), &nat(NatRange::own())))[0], 100);
        assert!(dst_ports(&candidates(&tuple(17, 100), &nat(NatRange::own()))).iter().all(|p| (1..512).contains(p)));
    }

    #[test]
    fn a_protocol_without_ports_has_one_candidate() {
        let gre = Tuple { transport: Transport::Ports { src: 0, dst: 0 }, ..tuple(47, 0) };
        assert_eq!(candidates(&gre, &Nat::Source(NatRange::address([1, 1, 1, 1]).with_ports(5, 7))).len(), 1);
    }

    #[test]
    fn further_addresses_are_tried() {
        let range = NatRange::addresses([1, 1, 1, 1], [1, 1, 1, 4]);
        let all = candidates(&tuple(6, 3000), &Nat::Source(range));
        assert_eq!(all.len(), TRIES as usize);
        assert_eq!(BTreeSet::from_iter(all.iter().map(|t| t.dst)).len(), 4);
        let all = candidates(&tuple(6, 3000), &Nat::Source(range.with_ports(7, 8)));
        assert_eq!(BTreeSet::from_iter(all.iter()).len(), 8);
        let gre = Tuple { transport: Transport::Ports { src: 0, dst: 0 }, ..tuple(47, 0) };
        assert_eq!(candidates(&gre, &Nat::Source(range)).len(), 4);
    }

    #[test]
    fn a_range_of_the_other_family_has_none() {
        assert!(candidates(&tuple(6, 1), &Nat::Source(NatRange::address(Ipv6Addr::LOCALHOST))).is_empty());
    }

    #[test]
    fn a_persistent_range_gives_a_client_one_address() {
        let addresses = |range: NatRange| {
            let of = |dst: u8| candidates(&Tuple { dst: [9, 9, 9, dst].into(), ..tuple(6, 5) }, &Nat::Source(range));
            BTreeSet::from_iter((0..50).map(|dst| of(dst)[0].dst)).len()
        };
        let range = NatRange::addresses([1, 1, 1, 0], [1, 1, 1, 255]);
        assert_eq!(addresses(range.persistent()), 1);
        assert!(addresses(range) > 30);
    }

    #[test]
    fn a_destination_falls_back_on_the_source_port() {
        let all =
            candidates(&tuple(6, 3000), &Nat::Destination(NatRange::address([7, 7, 7, 7]).with_ports(8080, 8080)));
        assert_eq!(all[0].to_string(), "src=7.7.7.7,dst=10.0.0.1,sport=8080,dport=3000");
        assert!(all[1..].iter().all(|t| matches!(t.transport, Transport::Ports { src: 8080, dst: 1024.. })));
    }

    proptest! {
        #[test]
        fn small_ranges_are_searched_whole(first: u16, len in 0u16..64, own: u16, random: u64) {
            let last = first.saturating_add(len);
            let nat = Nat::Source(NatRange::own().with_ports(first, last));
            let all = Candidates::new(&tuple(6, own), &nat, SipHash13::new(1, 2), random).unwrap();
            let ports = BTreeSet::from_iter(dst_ports(&all.collect::<Vec<_>>()));
            // One try may go to the port that was offered first.
            prop_assert!(ports.len() as u32 >= (u32::from(last - first) + 1).min(TRIES - 1));
            prop_assert!(ports.iter().all(|p| (first..=last).contains(p)));
        }
    }
}

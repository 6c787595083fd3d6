//! The key of a connection: its tuple in an order that both directions agree on, packed in five words.
//!
//! Both ends are sorted by address, then port, and the connection remembers which of them began. So one table entry
//! serves both directions; a second is not needed until addresses are translated.
//!
//! An ICMP query has no ports, but an identifier that both ends use. Its key says which end asks: two hosts may ping
//! each other with the same identifier, and those are two connections.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ovs_packet::packet::OriginalTuple;

use crate::icmp::Query;
use crate::siphash::SipHash13;
use crate::tuple::{Transport, Tuple};

/// See the [module](self).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    low: [u64; 2],
    high: [u64; 2],
    /// From the top: port of the low end, port of the high end, zone (16 bits each), protocol, kind (8 bits each).
    rest: u64,
}

/// In the kind: the addresses are of IPv6.
const V6: u8 = 1;
/// In the kind: the low end asks, the high end answers.
const LOW_ASKS: u8 = 2;
/// In the kind, from this bit on: the [`Query`], or 0.
const QUERY_SHIFT: u32 = 2;

impl Key {
    /// The key of the connection that has packets of this `tuple`, and whether they come from its low end.
    ///
    /// `None` for a tuple that no tracked packet has: of two families, or with an ICMP type that is no query.
    pub(crate) fn new(zone: u16, tuple: &Tuple) -> Option<(Key, bool)> {
        let (src, dst, v6) = match (tuple.src, tuple.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => (u128::from(src.to_bits()), u128::from(dst.to_bits()), false),
            (IpAddr::V6(src), IpAddr::V6(dst)) => (src.to_bits(), dst.to_bits(), true),
            _ => return None,
        };
        let (sport, dport, query) = match tuple.transport {
            Transport::Ports { src, dst } => (src, dst, None),
            Transport::Icmp { id, kind, code: 0 } => (id, id, Some(Query::of(v6, kind)?)),
            Transport::Icmp { .. } => return None,
        };
        let from_low = match query {
            // From a host to itself: only the type tells query and answer apart.
            Some((_, asks)) if src == dst => asks,
            _ => (src, sport) <= (dst, dport),
        };
        let ((low, low_port), (high, high_port)) =
            if from_low { ((src, sport), (dst, dport)) } else { ((dst, dport), (src, sport)) };
        let mut kind = if v6 { V6 } else { 0 };
        if let Some((query, asks)) = query {
            kind |= (query as u8) << QUERY_SHIFT | if asks == from_low { LOW_ASKS } else { 0 };
        }
        let rest = u64::from(low_port) << 48
            | u64::from(high_port) << 32
            | u64::from(zone) << 16
            | u64::from(tuple.proto) << 8
            | u64::from(kind);
        Some((Key { low: halves(low), high: halves(high), rest }, from_low))
    }

    /// The tuple of packets that come from the low end, or the high one.
    pub(crate) fn tuple(&self, from_low: bool) -> Tuple {
        let kind = self.rest as u8;
        let (low_port, high_port) = ((self.rest >> 48) as u16, (self.rest >> 32) as u16);
        let (src, dst) = if from_low { (self.low, self.high) } else { (self.high, self.low) };
        let (sport, dport) = if from_low { (low_port, high_port) } else { (high_port, low_port) };
        let v6 = kind & V6 != 0;
        let address = |[top, bottom]: [u64; 2]| match v6 {
            true => IpAddr::V6(Ipv6Addr::from_bits(u128::from(top) << 64 | u128::from(bottom))),
            false => IpAddr::V4(Ipv4Addr::from_bits(bottom as u32)),
        };
        let transport = match Query::from_bits(kind >> QUERY_SHIFT) {
            Some(query) => {
                let kind = query.kind(v6, (kind & LOW_ASKS != 0) == from_low);
                Transport::Icmp { id: sport, kind, code: 0 }
            }
            None => Transport::Ports { src: sport, dst: dport },
        };
        Tuple { src: address(src), dst: address(dst), proto: (self.rest >> 8) as u8, transport }
    }

    /// Writes the tuple of packets that come from the low end, or the high one, as metadata carry it.
    ///
    /// It is written where it stays: moved as soon as it is written, in pieces of other sizes, it keeps the processor
    /// waiting for longer than all else that a packet of an established connection needs.
    #[inline]
    pub(crate) fn original(&self, from_low: bool, to: &mut Option<OriginalTuple>) {
        let (src, dst) = if from_low { (self.low, self.high) } else { (self.high, self.low) };
        let (low_port, high_port) = ((self.rest >> 48) as u16, (self.rest >> 32) as u16);
        let (mut tp_src, mut tp_dst) = if from_low { (low_port, high_port) } else { (high_port, low_port) };
        let (kind, proto) = (self.rest as u8, self.proto());
        if kind >> QUERY_SHIFT != 0 {
            let asks = (kind & LOW_ASKS != 0) == from_low;
            let query = Query::from_bits(kind >> QUERY_SHIFT);
            (tp_src, tp_dst) = (query.map_or(0, |q| q.kind(kind & V6 != 0, asks)).into(), 0);
        }
        if kind & V6 != 0 {
            let address = |[top, bottom]: [u64; 2]| Ipv6Addr::from_bits(u128::from(top) << 64 | u128::from(bottom));
            *to = Some(OriginalTuple::V6 { src: address(src), dst: address(dst), proto, tp_src, tp_dst });
        } else {
            let address = |[_, bottom]: [u64; 2]| Ipv4Addr::from_bits(bottom as u32);
            *to = Some(OriginalTuple::V4 { src: address(src), dst: address(dst), proto, tp_src, tp_dst });
        }
    }

    /// The key of a packet that is no ICMP, from its addresses and ports, and whether it comes from the low end.
    #[inline(always)]
    pub(crate) fn of_v4(zone: u16, proto: u8, (src, sport): (u32, u16), (dst, dport): (u32, u16)) -> (Key, bool) {
        let (from, to) = (u64::from(src) << 16 | u64::from(sport), u64::from(dst) << 16 | u64::from(dport));
        let (low, high) = (from.min(to), from.max(to));
        let rest = low << 48 | (high & 0xffff) << 32 | u64::from(zone) << 16 | u64::from(proto) << 8;
        (Key { low: [0, low >> 16], high: [0, high >> 16], rest }, from <= to)
    }

    /// Likewise, for IPv6.
    #[inline(always)]
    pub(crate) fn of_v6(zone: u16, proto: u8, from: (u128, u16), to: (u128, u16)) -> (Key, bool) {
        let from_low = from <= to;
        let (low, high) = if from_low { (from, to) } else { (to, from) };
        let rest = u64::from(low.1) << 48
            | u64::from(high.1) << 32
            | u64::from(zone) << 16
            | u64::from(proto) << 8
            | u64::from(V6);
        (Key { low: halves(low.0), high: halves(high.0), rest }, from_low)
    }

    /// The protocol.
    pub(crate) const fn proto(&self) -> u8 {
        (self.rest >> 8) as u8
    }

    /// The zone.
    pub(crate) const fn zone(&self) -> u16 {
        (self.rest >> 16) as u16
    }

    /// The hash of the key. IPv4 keys take two words of the five.
    #[inline(always)]
    pub(crate) fn hash(&self, hash: SipHash13) -> u64 {
        let ([l0, l1], [h0, h1]) = (self.low, self.high);
        if self.rest as u8 & V6 != 0 {
            hash.hash(&[l0, l1, h0, h1, self.rest])
        } else {
            hash.hash(&[l1 << 32 | h1, self.rest])
        }
    }
}

const fn halves(v: u128) -> [u64; 2] {
    [(v >> 64) as u64, v as u64]
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any tuple that a tracked packet can have, often between few addresses and ports.
    pub(crate) fn tuples() -> impl Strategy<Value = Tuple> {
        let number = || prop_oneof![0u16..3, any::<u16>()];
        let address = || prop_oneof![(0u128..3), any::<u128>()];
        let query = prop::sample::select(&[Query::Echo, Query::Timestamp, Query::Information][..]);
        (
            address(),
            address(),
            any::<bool>(),
            prop::sample::select(&[1u8, 6, 17][..]),
            proptest::option::of((query, any::<bool>())),
            number(),
            number(),
        )
            .prop_map(|(a, b, v6, proto, query, x, y)| {
                let address = |a: u128| match v6 {
                    true => IpAddr::V6(Ipv6Addr::from_bits(a)),
                    false => IpAddr::V4(Ipv4Addr::from_bits(a as u32)),
                };
                let transport = match query {
                    Some((q, asks)) => {
                        let q = if v6 { Query::Echo } else { q };
                        Transport::Icmp { id: x, kind: q.kind(v6, asks), code: 0 }
                    }
                    None => Transport::Ports { src: x, dst: y },
                };
                Tuple { src: address(a), dst: address(b), proto, transport }
            })
    }

    proptest! {
        #[test]
        fn both_directions_have_one_key(tuple in tuples(), zone: u16) {
            let (key, from_low) = Key::new(zone, &tuple).unwrap();
            let (back, back_from_low) = Key::new(zone, &tuple.reversed()).unwrap();
            prop_assert_eq!(key, back);
            prop_assert_eq!(key.zone(), zone);
            prop_assert_eq!(key.tuple(from_low), tuple);
            prop_assert_eq!(key.tuple(!from_low), tuple.reversed());
            let mut original = None;
            key.original(from_low, &mut original);
            prop_assert_eq!(original, tuple.original());
            if let (IpAddr::V4(src), IpAddr::V4(dst), Transport::Ports { src: sport, dst: dport }) =
                (tuple.src, tuple.dst, tuple.transport)
            {
                let direct = Key::of_v4(zone, tuple.proto, (src.to_bits(), sport), (dst.to_bits(), dport));
                prop_assert_eq!(direct, (key, from_low));
            }
            if let (IpAddr::V6(src), IpAddr::V6(dst), Transport::Ports { src: sport, dst: dport }) =
                (tuple.src, tuple.dst, tuple.transport)
            {
                let direct = Key::of_v6(zone, tuple.proto, (src.to_bits(), sport), (dst.to_bits(), dport));
                prop_assert_eq!(direct, (key, from_low));
            }
            // Directions differ, save where the packets do not.
            prop_assert_eq!(from_low == back_from_low, tuple == tuple.reversed());
        }

        #[test]
        fn tuples_of_one_key_are_the_same_or_opposite(a in tuples(), b in tuples()) {
            let same = Key::new(1, &a).unwrap().0 == Key::new(1, &b).unwrap().0;
            prop_assert_eq!(same, a == b || a == b.reversed());
        }
    }

    #[test]
    fn what_no_tracked_packet_has_is_no_key() {
        let tuple = Tuple {
            src: [1, 1, 1, 1].into(),
            dst: [2, 2, 2, 2].into(),
            proto: 1,
            transport: Transport::Icmp { id: 1, kind: 8, code: 0 },
        };
        assert!(Key::new(0, &tuple).is_some());
        assert_eq!(Key::new(0, &Tuple { dst: Ipv6Addr::LOCALHOST.into(), ..tuple }), None);
        assert_eq!(Key::new(0, &Tuple { transport: Transport::Icmp { id: 1, kind: 3, code: 0 }, ..tuple }), None);
        assert_eq!(Key::new(0, &Tuple { transport: Transport::Icmp { id: 1, kind: 8, code: 1 }, ..tuple }), None);
    }
}

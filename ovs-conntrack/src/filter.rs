//! Which connections are meant: by any part of their tuples, zone, mark or label.

use core::net::IpAddr;

use crate::info::ConnectionInfo;
use crate::tuple::{Transport, Tuple};

/// Parts that a connection must have; what is `None` may be anything.
///
/// ```
/// use ovs_conntrack::{Filter, TupleFilter};
///
/// // What 10.0.0.1 opened to any web server, in zone 5.
/// let original = TupleFilter { src: Some([10, 0, 0, 1].into()), proto: Some(6), dst_port: Some(80), ..Default::default() };
/// let filter = Filter { original, ..Filter::zone(5) };
/// assert_eq!(filter.zone, Some(5));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Filter {
    /// Zone.
    pub zone: Option<u16>,
    /// Value and mask of the mark.
    pub mark: Option<(u32, u32)>,
    /// Value and mask of the label.
    pub label: Option<(u128, u128)>,
    /// Parts of the original tuple.
    pub original: TupleFilter,
    /// Parts of the reply tuple.
    pub reply: TupleFilter,
}

/// Parts of a tuple; what is `None` may be anything.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TupleFilter {
    /// Source address.
    pub src: Option<IpAddr>,
    /// Destination address.
    pub dst: Option<IpAddr>,
    /// IP protocol.
    pub proto: Option<u8>,
    /// Source port; a tuple of ICMP has none.
    pub src_port: Option<u16>,
    /// Destination port; a tuple of ICMP has none.
    pub dst_port: Option<u16>,
    /// ICMP identifier.
    pub icmp_id: Option<u16>,
    /// ICMP type.
    pub icmp_type: Option<u8>,
    /// ICMP code.
    pub icmp_code: Option<u8>,
}

impl Filter {
    /// All connections of a zone.
    pub fn zone(zone: u16) -> Filter {
        Filter { zone: Some(zone), ..Filter::default() }
    }

    /// Whether the connection has all the parts.
    pub fn matches(&self, connection: &ConnectionInfo) -> bool {
        self.zone.is_none_or(|zone| zone == connection.zone)
            && self.mark.is_none_or(|(value, mask)| (connection.mark ^ value) & mask == 0)
            && self.label.is_none_or(|(value, mask)| (connection.label ^ value) & mask == 0)
            && self.original.matches(&connection.original)
            && self.reply.matches(&connection.reply)
    }

    /// The zone, or all zones, if nothing else is asked.
    pub(crate) fn only_zone(&self) -> Option<Option<u16>> {
        (*self == Filter { zone: self.zone, ..Filter::default() }).then_some(self.zone)
    }
}

impl TupleFilter {
    /// Whether the tuple has all the parts.
    pub fn matches(&self, tuple: &Tuple) -> bool {
        fn is<T: PartialEq>(wanted: Option<T>, has: Option<T>) -> bool {
            wanted.is_none() || wanted == has
        }
        let (ports, icmp) = match tuple.transport {
            Transport::Ports { src, dst } => (Some((src, dst)), None),
            Transport::Icmp { id, kind, code } => (None, Some((id, kind, code))),
        };
        is(self.src, Some(tuple.src))
            && is(self.dst, Some(tuple.dst))
            && is(self.proto, Some(tuple.proto))
            && is(self.src_port, ports.map(|p| p.0))
            && is(self.dst_port, ports.map(|p| p.1))
            && is(self.icmp_id, icmp.map(|i| i.0))
            && is(self.icmp_type, icmp.map(|i| i.1))
            && is(self.icmp_code, icmp.map(|i| i.2))
    }
}

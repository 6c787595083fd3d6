//! Tuples: what tells one connection from another, as one direction's packets say it.

use core::fmt;
use core::net::IpAddr;

use ovs_packet::extract::{IP_PROTO_ICMP, IP_PROTO_ICMPV6, IP_PROTO_IGMP, IP_PROTO_SCTP, IP_PROTO_TCP, IP_PROTO_UDP};
use ovs_packet::packet::OriginalTuple;

use crate::icmp::Query;

/// Addresses, protocol and what the protocol adds, in the direction of a packet.
///
/// ```
/// use ovs_conntrack::{Transport, Tuple};
///
/// let query = Tuple {
///     src: [10, 0, 0, 1].into(),
///     dst: [10, 0, 0, 2].into(),
///     proto: 17,
///     transport: Transport::Ports { src: 4321, dst: 53 },
/// };
/// assert_eq!(query.to_string(), "src=10.0.0.1,dst=10.0.0.2,sport=4321,dport=53");
/// assert_eq!(query.reversed().to_string(), "src=10.0.0.2,dst=10.0.0.1,sport=53,dport=4321");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tuple {
    /// Source address.
    pub src: IpAddr,
    /// Destination address, of the same family.
    pub dst: IpAddr,
    /// IP protocol.
    pub proto: u8,
    /// What the protocol adds.
    pub transport: Transport,
}

/// What a protocol adds to the addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Transport {
    /// Ports of TCP, UDP or SCTP; both zero for a protocol that has none.
    Ports {
        /// Source port.
        src: u16,
        /// Destination port.
        dst: u16,
    },
    /// An ICMP query or the answer to one.
    Icmp {
        /// Identifier, the same in query and answer.
        id: u16,
        /// Type.
        kind: u8,
        /// Code: 0 in every message that is tracked.
        code: u8,
    },
}

impl Transport {
    /// Source and destination port, or what stands for them: what a translation of either end changes.
    pub(crate) const fn ends(&self) -> (u16, u16) {
        match *self {
            Transport::Ports { src, dst } => (src, dst),
            // An identifier is of who asks: of the source of requests, for IPv4 and IPv6, the destination of answers.
            Transport::Icmp { id, kind: 8 | 13 | 15 | 128, .. } => (id, 0),
            Transport::Icmp { id, .. } => (0, id),
        }
    }
}

impl Tuple {
    /// The tuple of the packets that go the other way.
    #[must_use]
    pub fn reversed(&self) -> Tuple {
        let transport = match self.transport {
            Transport::Ports { src, dst } => Transport::Ports { src: dst, dst: src },
            Transport::Icmp { id, kind, code } => {
                let kind =
                    Query::of(self.src.is_ipv6(), kind).map_or(kind, |(q, asks)| q.kind(self.src.is_ipv6(), !asks));
                Transport::Icmp { id, kind, code }
            }
        };
        Tuple { src: self.dst, dst: self.src, proto: self.proto, transport }
    }

    /// The tuple as packet metadata carry it; `None` if the addresses are not of one family.
    pub fn original(&self) -> Option<OriginalTuple> {
        let (tp_src, tp_dst) = match self.transport {
            Transport::Ports { src, dst } => (src, dst),
            Transport::Icmp { kind, code, .. } => (kind.into(), code.into()),
        };
        let proto = self.proto;
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => Some(OriginalTuple::V4 { src, dst, proto, tp_src, tp_dst }),
            (IpAddr::V6(src), IpAddr::V6(dst)) => Some(OriginalTuple::V6 { src, dst, proto, tp_src, tp_dst }),
            _ => None,
        }
    }
}

/// As in the parentheses of `ovs-appctl dpctl/dump-conntrack`; the protocol is not part of it.
impl fmt::Display for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "src={},dst={},", self.src, self.dst)?;
        match self.transport {
            Transport::Ports { src, dst } => write!(f, "sport={src},dport={dst}"),
            Transport::Icmp { id, kind, code } => write!(f, "id={id},type={kind},code={code}"),
        }
    }
}

/// An IP protocol by the name that upstream's dumps use, or by number.
pub(crate) struct ProtocolName(pub(crate) u8);

impl fmt::Display for ProtocolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            IP_PROTO_ICMP => "icmp",
            IP_PROTO_IGMP => "igmp",
            IP_PROTO_TCP => "tcp",
            IP_PROTO_UDP => "udp",
            33 => "dccp",
            IP_PROTO_ICMPV6 => "icmpv6",
            IP_PROTO_SCTP => "sctp",
            136 => "udplite",
            other => return write!(f, "{other}"),
        })
    }
}

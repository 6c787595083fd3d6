//! Keys in words.

use std::fmt;

use ovs_packet::extract::{
    ETH_TYPE_ARP, ETH_TYPE_IPV4, ETH_TYPE_IPV6, ETH_TYPE_MPLS, ETH_TYPE_MPLS_MCAST, ETH_TYPE_RARP, ETH_TYPE_VLAN,
    IP_PROTO_ICMP, IP_PROTO_ICMPV6, IP_PROTO_SCTP, IP_PROTO_TCP, IP_PROTO_UDP, NO_ETHERTYPE,
};
use ovs_packet::field::KeyAttr as A;
use ovs_packet::key::{FRAG_LATER, VLAN_PRESENT};
use ovs_packet::{FlowKey, FlowMask};

use super::PortNames;
use super::attr::{self, Attr, Member, VLANS};
use super::value;

/// A key with the bits of it that are written.
pub(super) struct KeyText<'p> {
    pub(super) key: FlowKey,
    pub(super) mask: FlowMask,
    pub(super) ports: &'p dyn PortNames,
}

/// What comes before the Ethertype.
const FRONT: [A; 11] = [
    A::RecircId,
    A::DpHash,
    A::Priority,
    A::InPort,
    A::SkbMark,
    A::CtState,
    A::CtZone,
    A::CtMark,
    A::CtLabels,
    A::CtOrigTupleIpv4,
    A::CtOrigTupleIpv6,
];

impl KeyText<'_> {
    fn members(&self, members: &[Member]) -> Vec<String> {
        let matched = members.iter().map(|m| (m, m.place.get(&self.mask.bits))).filter(|(_, mask)| *mask != 0);
        matched
            .map(|(m, mask)| {
                let value = value::write(m, m.place.get(&self.key), mask, self.ports);
                if m.name.is_empty() { value } else { format!("{}={value}", m.name) }
            })
            .collect()
    }

    fn push(&self, out: &mut Vec<String>, row: &Attr) -> bool {
        let members = self.members(row.members);
        if !members.is_empty() {
            out.push(format!("{}({})", row.name, members.join(",")));
        }
        !members.is_empty()
    }

    fn add(&self, out: &mut Vec<String>, attr: A) -> bool {
        attr::row(attr).is_some_and(|row| self.push(out, row))
    }

    /// One attribute alone, as `set` actions write it.
    pub(super) fn of_attr(&self, attr: A) -> String {
        let (name, members) = match attr {
            A::Vlan => ("vlan", self.vlan(false)),
            attr => match attr::row(attr) {
                Some(row) => (row.name, self.members(row.members)),
                None => return format!("{attr:?}"),
            },
        };
        format!("{name}({})", members.join(","))
    }

    fn vlan(&self, inner: bool) -> Vec<String> {
        let [outer_tag, inner_tag] = VLANS;
        let mut out = self.members(if inner { inner_tag } else { outer_tag });
        // The bit that says that there is a tag goes without saying.
        out.retain(|m| m != "cfi=1");
        out
    }

    fn attributes(&self) -> Vec<String> {
        let mut out = Vec::new();
        let v6 = self.key.eth_type.get() == ETH_TYPE_IPV6;
        for attr in FRONT {
            if !matches!((attr, v6), (A::CtOrigTupleIpv4, true) | (A::CtOrigTupleIpv6, false)) {
                self.add(&mut out, attr);
            }
        }
        let typed = self.add(&mut out, A::PacketType);
        if self.key.packet_type == 0 {
            // Without a packet type, the attribute is what tells an Ethernet frame from a bare IP packet.
            if !self.add(&mut out, A::Ethernet) && !typed {
                out.push("eth()".into());
            }
            self.tagged(&mut out, false);
        } else {
            self.network(&mut out);
        }
        out
    }

    /// What is behind the addresses. A tag holds what is behind it.
    fn tagged(&self, out: &mut Vec<String>, inner: bool) {
        let (tci, mask, tpid) = match inner {
            false => (self.key.vlan_tci, self.mask.bits.vlan_tci, self.key.vlan_tpid),
            true => (self.key.inner_vlan_tci, self.mask.bits.inner_vlan_tci, self.key.inner_vlan_tpid),
        };
        if tci.get() & mask.get() & VLAN_PRESENT == 0 {
            return self.network(out);
        }
        let tpid = if tpid == 0 { ETH_TYPE_VLAN } else { tpid.get() };
        let mut held = Vec::new();
        if inner {
            self.network(&mut held)
        } else {
            self.tagged(&mut held, true)
        }
        out.push(format!("eth_type({tpid:#06x})"));
        out.push(format!("vlan({})", self.vlan(inner).join(",")));
        out.push(format!("encap({})", held.join(",")));
    }

    fn network(&self, out: &mut Vec<String>) {
        let eth_type = self.key.eth_type.get();
        if eth_type <= NO_ETHERTYPE && self.mask.bits.eth_type != 0 {
            // No Ethertype: the absence is matched.
            return out.push("eth_type(0/0xffff)".into());
        }
        self.add(out, A::EtherType);
        match eth_type {
            ETH_TYPE_IPV4 => self.add(out, A::Ipv4),
            ETH_TYPE_IPV6 => self.add(out, A::Ipv6),
            ETH_TYPE_ARP | ETH_TYPE_RARP => self.add(out, A::Arp),
            ETH_TYPE_MPLS | ETH_TYPE_MPLS_MCAST => self.add(out, A::Mpls),
            _ => false,
        };
        if !matches!(eth_type, ETH_TYPE_IPV4 | ETH_TYPE_IPV6) || self.key.nw_frag & FRAG_LATER != 0 {
            return;
        }
        let transport: &[A] = match self.key.nw_proto {
            IP_PROTO_TCP => &[A::Tcp, A::TcpFlags],
            IP_PROTO_UDP => &[A::Udp],
            IP_PROTO_SCTP => &[A::Sctp],
            IP_PROTO_ICMP if eth_type == ETH_TYPE_IPV4 => &[A::Icmp],
            IP_PROTO_ICMPV6 if eth_type == ETH_TYPE_IPV6 => &[A::Icmpv6, A::Nd],
            _ => &[],
        };
        for attr in transport {
            self.add(out, *attr);
        }
    }
}

impl fmt::Display for KeyText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.attributes().join(","))
    }
}

//! Keys in words.

use std::fmt;

use ovs_packet::extract::{
    ETH_TYPE_ARP, ETH_TYPE_IPV4, ETH_TYPE_IPV6, ETH_TYPE_MPLS, ETH_TYPE_MPLS_MCAST, ETH_TYPE_NSH, ETH_TYPE_RARP,
    ETH_TYPE_VLAN, IP_PROTO_ICMP, IP_PROTO_ICMPV6, IP_PROTO_SCTP, IP_PROTO_TCP, IP_PROTO_UDP, NO_ETHERTYPE,
};
use ovs_packet::field::{FieldId, KeyAttr as A};
use ovs_packet::key::{FRAG_LATER, VLAN_PRESENT};
use ovs_packet::{FlowKey, FlowMask};

use super::PortNames;
use super::attr::{self, MPLS, Member, VLANS};
use super::{tunnel, value};

/// A key with the bits of it that are written.
pub(super) struct KeyText<'p> {
    pub(super) key: FlowKey,
    pub(super) mask: FlowMask,
    pub(super) ports: &'p dyn PortNames,
    /// Whether what is not matched is written too, with a mask of zero.
    pub(super) all: bool,
    /// Whether it is a packet's, which has no masks.
    pub(super) packet: bool,
    /// Whether masks are as wide as the kernel's attributes are.
    pub(super) kernel: bool,
}

/// The bottom-of-stack bit of a label stack entry.
const BOTTOM: u32 = 0x100;

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
    pub(super) fn members(&self, members: &[Member]) -> Vec<String> {
        // What is in a tag is told where it is not zero, matched or not.
        let told = |m: &Member| matches!(m.place, attr::Place::Vlan { .. }) && m.place.get(&self.key) != 0;
        let masks = members.iter().map(|m| (m, m.place.get(&self.mask.bits)));
        masks
            .filter(|(m, mask)| *mask != 0 || self.all || told(m))
            .map(|(m, mask)| {
                let value = m.place.get(&self.key);
                let value = match m.place {
                    attr::Place::Field(FieldId::CtState) if self.all => {
                        format!("{}/{}", value::hex(value), value::hex(mask))
                    }
                    attr::Place::Field(FieldId::CtState) if !self.packet => value::ct_state(value, mask),
                    attr::Place::Vlan { .. } if mask == 0 => format!("{value}/0x0"),
                    // The kernel matches eight bits of a number that has sixteen.
                    attr::Place::Field(FieldId::ArpOp) if self.kernel => {
                        format!("{value}/{}", value::hex(mask))
                    }
                    _ => value::write(m, value, mask, self.ports),
                };
                if m.name.is_empty() { value } else { format!("{}={value}", m.name) }
            })
            .collect()
    }

    fn add(&self, out: &mut Vec<String>, attr: A) -> bool {
        attr::row(attr).is_some_and(|row| group(out, row.name, &self.members(row.members)))
    }

    /// The label stack entries, down to the bottom of the stack. If any is masked, every member has its mask.
    fn mpls(&self) -> Vec<String> {
        let bottom = self.key.mpls_lse.iter().position(|lse| lse.get() & BOTTOM != 0);
        let entries = MPLS.iter().take(bottom.map_or(MPLS.len(), |i| i + 1));
        let masks: Vec<u32> = self.mask.bits.mpls_lse.iter().map(|lse| lse.get()).collect();
        if masks.iter().all(|m| *m == 0) {
            return Vec::new();
        }
        let whole = masks.iter().take(entries.len()).all(|m| *m == u32::MAX);
        let written = |m: &Member| {
            let (value, mask) = (m.place.get(&self.key), m.place.get(&self.mask.bits));
            match (whole, m.name) {
                (true, name) => format!("{name}={value}"),
                (false, name @ ("tc" | "bos")) => format!("{name}={value}/{mask:x}"),
                (false, name) => format!("{name}={value}/{mask:#x}"),
            }
        };
        entries.flatten().map(written).collect()
    }

    /// One attribute alone, as `set` actions write it.
    pub(super) fn of_attr(&self, attr: A) -> String {
        let (name, members) = match attr {
            A::Vlan => ("vlan", self.vlan(false)),
            A::Mpls => ("mpls", self.mpls()),
            A::Tunnel => ("tunnel", tunnel::write(self)),
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
        let mask = &self.mask.bits;
        // Where the tuple's addresses are matched they say of which kind it is, whatever the packet is.
        let v6 = match (mask.ct_ipv6_src != 0 || mask.ct_ipv6_dst != 0, mask.ct_nw_src != 0 || mask.ct_nw_dst != 0) {
            (false, false) => self.key.eth_type.get() == ETH_TYPE_IPV6,
            (v6, _) => v6,
        };
        let tuple = !self.all || self.key.ct_nw_proto != 0;
        for attr in FRONT {
            if tuple && matches!((attr, v6), (A::CtOrigTupleIpv4, false) | (A::CtOrigTupleIpv6, true))
                || !matches!(attr, A::CtOrigTupleIpv4 | A::CtOrigTupleIpv6)
            {
                self.add(&mut out, attr);
            }
            if attr == A::Priority && (!self.all || self.key.tun_dst != 0 || self.key.tun_ipv6_dst != 0) {
                // Of tunnels only what is matched is worth a word.
                let matched = KeyText { all: false, key: self.key, mask: self.mask, ..*self };
                group(&mut out, "tunnel", &tunnel::write(&matched));
            }
        }
        let typed = self.mask.bits.packet_type != 0 && self.add(&mut out, A::PacketType);
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
            ETH_TYPE_MPLS | ETH_TYPE_MPLS_MCAST => group(out, "mpls", &self.mpls()),
            ETH_TYPE_NSH => self.add(out, A::Nsh),
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
            IP_PROTO_ICMPV6 if eth_type == ETH_TYPE_IPV6 && self.all && !is_nd(&self.key) => &[A::Icmpv6],
            IP_PROTO_ICMPV6 if eth_type == ETH_TYPE_IPV6 && self.kernel => &[A::Icmpv6, A::Nd],
            IP_PROTO_ICMPV6 if eth_type == ETH_TYPE_IPV6 => &[A::Icmpv6, A::Nd, A::NdExtensions],
            _ => &[],
        };
        for attr in transport {
            self.add(out, *attr);
        }
    }
}

/// Whether a packet of ICMPv6 is of neighbour discovery.
fn is_nd(key: &FlowKey) -> bool {
    matches!((key.tp_src.get(), key.tp_dst.get()), (135 | 136, 0))
}

/// Writes an attribute that has members; whether it had.
fn group(out: &mut Vec<String>, name: &str, members: &[String]) -> bool {
    if !members.is_empty() {
        out.push(format!("{name}({})", members.join(",")));
    }
    !members.is_empty()
}

impl fmt::Display for KeyText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.attributes().join(","))
    }
}

//! Packets.

use std::fmt::{self, Write};

use ovs_packet::field::{FieldId, Prereq};
use ovs_packet::key::MPLS_DEPTH;
use ovs_packet::text::TableText;
use ovs_packet::{FlowKey, Match, Packet, extract};

use super::Printer;
use crate::codec::{Continuation, NO_BUFFER, PacketIn, PacketOut};
use crate::dump::plain_dump;
use crate::text::print::{ActionList, Dotted, HexBytes, InNames};

/// In an MPLS label stack entry: the bottom of the stack (RFC 3032, section 2.1).
const MPLS_BOS: u32 = 0x100;

impl Printer<'_> {
    pub(super) fn packet_in(&mut self, packet: &PacketIn) -> fmt::Result {
        let out = &mut self.out;
        if packet.table != 0 {
            write!(out, " table_id={}", TableText(packet.table, self.names))?;
        }
        if packet.cookie != u64::MAX {
            write!(out, " cookie={:#x}", packet.cookie)?;
        }
        write!(out, " total_len={} {}", packet.total_len, packet.metadata.with_names(self.names))?;
        match packet.reason.word() {
            Some(word) => write!(out, " (via {word})")?,
            None => write!(out, " (via {})", packet.reason.0)?,
        }
        write!(out, " data_len={}", packet.data.len())?;
        let (total, len) = (u64::from(packet.total_len), packet.data.len() as u64);
        match packet.buffer_id {
            NO_BUFFER => {
                out.push_str(" (unbuffered)");
                out.push_str(if total == len { "" } else { " (***total_len != data_len***)" });
            }
            id => {
                write!(out, " buffer={id:#010x}")?;
                out.push_str(if total >= len { "" } else { " (***total_len < data_len***)" });
            }
        }
        out.push('\n');
        if !packet.userdata.is_empty() {
            writeln!(out, " userdata={}", Dotted(&packet.userdata))?;
        }
        if let Some(continuation) = &packet.continuation {
            match Continuation::decode(continuation, self.header.version) {
                Ok(left) => self.continuation(&left)?,
                // What another switch put there is its own.
                Err(_) => writeln!(self.out, " continuation={}", Dotted(continuation))?,
            }
        }
        self.packet(&packet.data, type_of(&packet.metadata))
    }

    fn continuation(&mut self, left: &Continuation) -> fmt::Result {
        let out = &mut self.out;
        if left.bridge != 0 {
            let digits = format!("{:032x}", left.bridge);
            let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
            let parts = [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)];
            writeln!(out, " continuation.bridge={}", parts.join("-"))?;
        }
        if !left.stack.is_empty() {
            out.push_str(" continuation.stack=(top)");
            for value in &left.stack {
                let zero = value.iter().all(|b| *b == 0);
                out.push(' ');
                if zero { out.push('0') } else { write!(out, "{}", HexBytes(value))? }
            }
            out.push_str(" (bottom)\n");
        }
        if left.mirrors != 0 {
            writeln!(out, " continuation.mirrors={:#x}", left.mirrors)?;
        }
        if left.tracked {
            out.push_str(" continuation.conntracked=true\n");
        }
        let groups = left.remaining.iter().map(|r| {
            let comma = if r.actions.is_empty() { "" } else { "," };
            let list = if r.actions.is_empty() { String::new() } else { ActionList(&r.actions).to_string() };
            format!("unroll_xlate(table={}, cookie={}){comma}{list}", r.table, r.cookie)
        });
        let groups: Vec<String> = groups.collect();
        if !groups.is_empty() {
            writeln!(out, " continuation.actions={}", groups.join(","))?;
        }
        if !left.action_set.is_empty() {
            writeln!(out, " continuation.action_set={}", ActionList(&left.action_set))?;
        }
        if left.datapath_port != 0 {
            writeln!(out, " continuation.odp_port={}", left.datapath_port)?;
        }
        Ok(())
    }

    pub(super) fn packet_out(&mut self, packet: &PacketOut) -> fmt::Result {
        let mut m = packet.metadata.as_deref().cloned().unwrap_or(Match::ANY);
        m.set(FieldId::InPortOxm, packet.in_port.0.into());
        write!(
            self.out,
            " {} actions={}",
            m.with_names(self.names),
            InNames(&ActionList(&packet.actions), self.names)
        )?;
        match packet.buffer_id {
            NO_BUFFER => {
                write!(self.out, " data_len={}", packet.data.len())?;
                if self.verbosity > 0 && !packet.data.is_empty() {
                    self.out.push('\n');
                }
                if packet.data.is_empty() { Ok(()) } else { self.packet(&packet.data, type_of(&m)) }
            }
            id => write!(self.out, " buffer={id:#010x}"),
        }
    }

    /// What the headers of a packet of some type say, on a line, and its bytes.
    pub(super) fn packet(&mut self, data: &[u8], packet_type: u32) -> fmt::Result {
        if self.verbosity > 0 {
            let mut key = FlowKey::ZERO;
            let mut packet = Packet::from_slice(data);
            packet.meta.packet_type = packet_type;
            extract::extract(&mut packet, &mut key);
            write!(self.out, "{}", packet_match(&key))?;
            checksums(&mut self.out, &key, data)?;
            self.out.push('\n');
        }
        if self.verbosity > 2 { plain_dump(&mut self.out, data) } else { Ok(()) }
    }
}

/// What type a packet is of that this is said of: Ethernet if nothing is.
fn type_of(metadata: &Match) -> u32 {
    metadata.get(FieldId::PacketType).0 as u32
}

/// Of TCP, UDP, SCTP and ICMP, what the checksum in the packet is.
pub(super) fn checksums(out: &mut String, key: &FlowKey, data: &[u8]) -> fmt::Result {
    let (name, at) = match (key.eth_type.get(), key.nw_proto) {
        (0x0800 | 0x86dd, 6) => ("tcp", 16usize),
        (0x0800 | 0x86dd, 17) => ("udp", 6),
        (0x0800, 1) => ("icmp", 2),
        (0x86dd, 58) => ("icmp6", 2),
        (0x0800 | 0x86dd, 132) => ("sctp", 8),
        _ => return Ok(()),
    };
    let mut packet = Packet::from_slice(data);
    packet.meta.packet_type = key.packet_type.get();
    let mut again = FlowKey::ZERO;
    extract::extract(&mut packet, &mut again);
    let bytes = packet.l4().get(at..).unwrap_or_default();
    match (name, bytes) {
        ("sctp", [a, b, c, d, ..]) => write!(out, " sctp_csum:{:x}", u32::from_be_bytes([*a, *b, *c, *d])),
        (name, [a, b, ..]) => write!(out, " {name}_csum:{:x}", u16::from_be_bytes([*a, *b])),
        _ => Ok(()),
    }
}

/// The match of all that a packet's headers say, zero or not, as far as it has them: what a packet with this key is
/// printed as.
///
/// ```
/// use ovs_ofproto::text::packet_match;
/// use ovs_packet::FlowKey;
///
/// let key = FlowKey { eth_type: 0x0806.into(), nw_proto: 1, ..FlowKey::ZERO };
/// let text = packet_match(&key).to_string();
/// assert!(text.starts_with("arp,vlan_tci=0x0000,") && text.ends_with("arp_tha=00:00:00:00:00:00"));
/// ```
pub fn packet_match(key: &FlowKey) -> Match {
    use FieldId::{
        ArpOp, ArpSha, ArpSpa, ArpTha, ArpTpa, EthDst, EthSrc, EthType, IcmpCode, IcmpType, Icmpv6Code, Icmpv6Type,
        IpFrag, Ipv6Dst, Ipv6Label, Ipv6Src, MplsBos, MplsLabel, MplsTc, MplsTtl, NdOptionsType, NdReserved, NdSll,
        NdTarget, NdTll, NwDst, NwEcn, NwProto, NwSrc, NwTos, NwTtl, SctpDst, SctpSrc, TcpDst, TcpFlags, TcpSrc,
        UdpDst, UdpSrc, VlanTci,
    };
    let mut m = Match::exact_non_zero(*key);
    let headers = [
        VlanTci, EthSrc, EthDst, EthType, MplsLabel, MplsTc, MplsBos, MplsTtl, NwSrc, NwDst, Ipv6Src, Ipv6Dst,
        Ipv6Label, NwTos, NwEcn, NwTtl, IpFrag, NwProto, ArpOp, ArpSpa, ArpTpa, ArpSha, ArpTha, TcpSrc, TcpDst,
        TcpFlags, UdpSrc, UdpDst, SctpSrc, SctpDst, IcmpType, IcmpCode, Icmpv6Type, Icmpv6Code, NdTarget, NdSll, NdTll,
    ];
    for field in headers.into_iter().filter(|f| f.info().prereq.holds(key)) {
        m.set(field, field.info().get(key));
    }
    if Prereq::Nd.holds(key) {
        // Both addresses, of which the packet has one, and not what it was found by.
        [NdSll, NdTll].into_iter().for_each(|f| m.set(f, f.info().get(key)));
        [NdReserved, NdOptionsType].into_iter().for_each(|f| m.set_masked(f, 0, 0));
    }
    if Prereq::Mpls.holds(key) {
        // The entries below the outermost one, down to the bottom of the stack.
        let mut mask = m.mask();
        let is_bottom = |lse: u32| lse & MPLS_BOS != 0;
        let depth = key.mpls_lse.iter().position(|lse| is_bottom(lse.get())).map_or(MPLS_DEPTH, |i| i + 1);
        mask.bits.mpls_lse.iter_mut().take(depth).for_each(|m| m.set(u32::MAX));
        m = Match::new(*key, mask);
    }
    if Prereq::Vlan.holds(key) {
        // Whether there is a second tag.
        let mut mask = m.mask();
        mask.bits.inner_vlan_tci = u16::MAX.into();
        m = Match::new(*key, mask);
    }
    if key.packet_type != 0 {
        // Its type says what its Ethertype would.
        m.set_masked(EthType, 0, 0);
    }
    m
}

//! Whole messages in words, as `ovs-ofctl ofp-print` writes them.

use std::fmt;

use ovs_packet::field::FieldId;
use ovs_packet::{FlowKey, Match, Packet, extract};

use super::print::{ActionList, Flags, Prioritised};
use crate::codec::{Header, Message, NO_BUFFER, PacketIn, PacketInReason, PacketOut};
use crate::flow_mod::{FlowMod, FlowModCommand};

/// `message`, which `header` came with, in words: a line, or several, each with its end.
///
/// ```
/// use ovs_ofproto::codec::Message;
/// use ovs_ofproto::text::message;
///
/// let (header, barrier) = Message::decode(&[4, 20, 0, 8, 0, 0, 0, 7])?;
/// assert_eq!(message(&header, &barrier).to_string(), "OFPT_BARRIER_REQUEST (OF1.3) (xid=0x7):\n");
/// # Ok::<(), ovs_ofproto::codec::DecodeError>(())
/// ```
pub fn message<'a>(header: &'a Header, message: &'a Message) -> impl fmt::Display + 'a {
    Printed { header, message }
}

struct Printed<'a> {
    header: &'a Header,
    message: &'a Message,
}

impl fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.message {
            Message::Hello(_) => "OFPT_HELLO",
            Message::Error(_) => "OFPT_ERROR",
            Message::EchoRequest(_) => "OFPT_ECHO_REQUEST",
            Message::EchoReply(_) => "OFPT_ECHO_REPLY",
            Message::Experimenter(_) => "OFPT_EXPERIMENTER",
            Message::FeaturesRequest => "OFPT_FEATURES_REQUEST",
            Message::FeaturesReply(_) => "OFPT_FEATURES_REPLY",
            Message::PacketIn(_) => "OFPT_PACKET_IN",
            Message::PacketOut(_) => "OFPT_PACKET_OUT",
            Message::FlowMod(_) => "OFPT_FLOW_MOD",
            Message::FlowStatsRequest(_) => "OFPST_FLOW request",
            Message::FlowStatsReply(_) => "OFPST_FLOW reply",
            Message::BarrierRequest => "OFPT_BARRIER_REQUEST",
            Message::BarrierReply => "OFPT_BARRIER_REPLY",
        };
        write!(f, "{name} ({}) (xid={:#x}):", self.header.version, self.header.xid)?;
        match self.message {
            Message::Hello(hello) => {
                let versions = hello.versions(self.header.version);
                let versions: Vec<String> = versions.iter().map(|v| format!("{:#04x}", v.0)).collect();
                writeln!(f, "\n version bitmap: {}", versions.join(", "))
            }
            Message::Error(e) => {
                writeln!(f, " {}", e.error)?;
                match Message::decode(&e.data) {
                    _ if e.data.is_empty() => writeln!(f, "OpenFlow message is empty"),
                    Ok((header, request)) => write!(f, "{}", message(&header, &request)),
                    Err(error) => {
                        writeln!(f, "***decode error: {}***", error.error)?;
                        hex_dump(f, &e.data)
                    }
                }
            }
            Message::EchoRequest(data) | Message::EchoReply(data) => {
                writeln!(f, " {} bytes of payload", data.len())?;
                hex_dump(f, data)
            }
            Message::Experimenter(e) => {
                writeln!(f, " experimenter={:#010x} type={:#x}", e.experimenter, e.kind)?;
                hex_dump(f, &e.data)
            }
            Message::FeaturesRequest | Message::BarrierRequest | Message::BarrierReply => writeln!(f),
            Message::FeaturesReply(features) => {
                writeln!(f, " dpid:{:016x}", features.datapath_id)?;
                write!(f, "n_tables:{}, n_buffers:{}", features.tables, features.buffers)?;
                if features.auxiliary != 0 {
                    write!(f, ", auxiliary_id:{}", features.auxiliary)?;
                }
                let names: Vec<&str> = features.capabilities.iter_names().map(|(name, _)| name).collect();
                writeln!(f, "\ncapabilities: {}", if names.is_empty() { "0".to_string() } else { names.join(" ") })
            }
            Message::PacketIn(packet) => packet_in(f, packet),
            Message::PacketOut(packet) => packet_out(f, packet),
            Message::FlowMod(flow) => flow_mod(f, flow),
            Message::FlowStatsRequest(request) => writeln!(f, "{request}"),
            Message::FlowStatsReply(reply) => {
                writeln!(f, "{}", if reply.more { " flags=[more]" } else { "" })?;
                reply.flows.iter().try_for_each(|flow| writeln!(f, "{flow}"))
            }
        }
    }
}

fn flow_mod(f: &mut fmt::Formatter<'_>, flow: &FlowMod) -> fmt::Result {
    let command = match flow.command {
        FlowModCommand::Add => "ADD",
        FlowModCommand::Modify => "MOD",
        FlowModCommand::ModifyStrict => "MOD_STRICT",
        FlowModCommand::Delete => "DEL",
        FlowModCommand::DeleteStrict => "DEL_STRICT",
    };
    write!(f, " {command} ")?;
    if flow.table != 0 {
        write!(f, "table:{} ", flow.table)?;
    }
    let matching = Prioritised(flow.priority, &flow.matching).to_string();
    if !matching.is_empty() {
        write!(f, "{matching} ")?;
    }
    let adds = flow.command == FlowModCommand::Add;
    // A cookie of all ones means, as upstream has it, that there is none.
    if adds && flow.cookie != 0 && flow.cookie != u64::MAX {
        write!(f, "cookie:{:#x} ", flow.cookie)?;
    }
    if flow.cookie_mask != 0 {
        write!(f, "cookie:{:#x}/{:#x} ", flow.cookie, flow.cookie_mask)?;
    }
    for (name, value) in [("idle", flow.idle_timeout), ("hard", flow.hard_timeout), ("importance", flow.importance)] {
        if value != 0 {
            write!(f, "{name}:{value} ")?;
        }
    }
    if flow.out_port != ovs_packet::OfPort::ANY {
        write!(f, "out_port:{} ", flow.out_port)?;
    }
    writeln!(f, "{}actions={}", Flags(flow.flags), flow.instructions)
}

fn packet_in(f: &mut fmt::Formatter<'_>, packet: &PacketIn) -> fmt::Result {
    if packet.table != 0 {
        write!(f, " table_id={}", packet.table)?;
    }
    if packet.cookie != u64::MAX {
        write!(f, " cookie={:#x}", packet.cookie)?;
    }
    write!(f, " total_len={} {}", packet.total_len, packet.metadata)?;
    match packet.reason {
        PacketInReason::NO_MATCH => f.write_str(" (via no_match)")?,
        PacketInReason::ACTION => f.write_str(" (via action)")?,
        PacketInReason::INVALID_TTL => f.write_str(" (via invalid_ttl)")?,
        PacketInReason(other) => write!(f, " (via {other})")?,
    }
    write!(f, " data_len={}", packet.data.len())?;
    match packet.buffer_id {
        NO_BUFFER => f.write_str(" (unbuffered)")?,
        id => write!(f, " buffer={id:#010x}")?,
    }
    writeln!(f)?;
    headers(f, &packet.data)
}

fn packet_out(f: &mut fmt::Formatter<'_>, packet: &PacketOut) -> fmt::Result {
    write!(f, " in_port={} actions={}", packet.in_port, ActionList(&packet.actions))?;
    match packet.buffer_id {
        NO_BUFFER => {
            writeln!(f, " data_len={}", packet.data.len())?;
            headers(f, &packet.data)
        }
        id => writeln!(f, " buffer={id:#010x}"),
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
        IpFrag, Ipv6Dst, Ipv6Label, Ipv6Src, MplsBos, MplsLabel, MplsTc, MplsTtl, NdSll, NdTarget, NdTll, NwDst, NwEcn,
        NwProto, NwSrc, NwTos, NwTtl, SctpDst, SctpSrc, TcpDst, TcpFlags, TcpSrc, UdpDst, UdpSrc, VlanTci,
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
    m
}

/// What the headers of a packet say, on a line.
fn headers(f: &mut fmt::Formatter<'_>, data: &[u8]) -> fmt::Result {
    if data.is_empty() {
        return Ok(());
    }
    let mut key = FlowKey::ZERO;
    extract::extract(&mut Packet::from_slice(data), &mut key);
    writeln!(f, "{}", packet_match(&key))
}

/// Sixteen bytes a line, in hexadecimal and as characters.
fn hex_dump(f: &mut fmt::Formatter<'_>, data: &[u8]) -> fmt::Result {
    for (line, bytes) in data.chunks(16).enumerate() {
        write!(f, "{:08x} ", line * 16)?;
        for i in 0..16 {
            f.write_str(if i == 8 && bytes.len() >= 8 { "-" } else { " " })?;
            match bytes.get(i) {
                Some(b) => write!(f, "{b:02x}")?,
                None => f.write_str("  ")?,
            }
        }
        let printable = |b: &u8| if b.is_ascii_graphic() || *b == b' ' { char::from(*b) } else { '.' };
        let text: String = bytes.iter().map(printable).collect();
        writeln!(f, " |{text:<16}|")?;
    }
    Ok(())
}

//! Reads packets for a switch: `in_port=1 packet=HEX actions=ACTIONS`, and lines of bundles that have them.

use ovs_packet::OfPort;
use ovs_packet::field::FieldId;
use ovs_packet::text::Term;

use super::error::{ParseFlowError, Parsed, invalid};
use super::flow::{Parser, Read, forms_of_match, split_actions};
use super::lexer::items;
use super::number::{hex_bytes, port_of};
use super::protocol::Protocols;
use crate::codec::{GroupMod, NO_BUFFER, PacketOut};
use crate::flow_mod::FlowMod;

/// A packet shorter than an Ethernet header is none.
const MIN_PACKET: usize = 14;

/// What a line of a bundle's file says.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BundleLine {
    /// A change of flows.
    Flow(Box<FlowMod>),
    /// A change of groups.
    Group(Box<GroupMod>),
    /// A packet to send.
    PacketOut(Box<PacketOut>),
}

impl Parser<'_> {
    /// Reads what `packet-out` takes.
    ///
    /// ```
    /// use ovs_ofproto::text::Parser;
    ///
    /// let text = "in_port=1 packet=ffffffffffff00000000000108060001 actions=output:2";
    /// let packet = Parser::default().packet_out(text)?.value;
    /// assert_eq!((packet.in_port.0, packet.data.len(), packet.actions.len()), (1, 16, 1));
    /// # Ok::<(), ovs_ofproto::text::ParseFlowError>(())
    /// ```
    ///
    /// # Errors
    /// What is wrong, with its place.
    pub fn packet_out(&self, text: &str) -> Parsed<Read<PacketOut>> {
        let (head, actions) = split_actions(text);
        let mut out = PacketOut {
            buffer_id: NO_BUFFER,
            in_port: OfPort::CONTROLLER,
            metadata: None,
            actions: Vec::new(),
            data: Vec::new(),
        };
        let (mut metadata, mut packet_type) = (Vec::new(), None);
        for item in items(head) {
            let (value, value_at) = (item.arg, item.arg_at);
            if value.is_empty() {
                return invalid(item.at, format!("field {} missing value", item.name));
            }
            match item.name {
                "in_port" => {
                    out.in_port =
                        port_of(value, value_at, self.ports, |t| format!("{t} is not a valid OpenFlow port"))?;
                    if out.in_port.is_reserved() && !matches!(out.in_port, OfPort::ANY | OfPort::CONTROLLER) {
                        return invalid(value_at, format!("{value} is not a valid OpenFlow port for PACKET_OUT"));
                    }
                }
                "packet" => {
                    let bad = || ParseFlowError::invalid(value_at, "packet: Trailing garbage in packet data");
                    out.data = hex_bytes(value).ok_or_else(bad)?;
                    if out.data.len() < MIN_PACKET {
                        return invalid(value_at, "packet: Packet data too short for Ethernet");
                    }
                }
                "packet_type" => packet_type = Some((value, value_at)),
                name => {
                    let field = FieldId::by_name(name)
                        .ok_or_else(|| ParseFlowError::invalid(item.at, format!("unknown keyword {name}")))?;
                    if !is_of_pipeline(field) {
                        return invalid(item.at, format!("{name} is not a valid pipeline field for PACKET_OUT"));
                    }
                    metadata.push(Term::new(name, Some(value), item.at));
                }
            }
        }
        let mut protocols = Protocols::ANY;
        if !metadata.is_empty() || packet_type.is_some() {
            let mut m = self.matching(&metadata)?;
            protocols &= forms_of_match(&metadata, &m);
            if let Some((text, at)) = packet_type {
                let bad = || ParseFlowError::invalid(at, format!("packet_type({text}) can't be interpreted"));
                let (ns, kind) = text.split_once(',').ok_or_else(bad)?;
                let number = |t: &str| ovs_packet::text::integer(t.trim()).filter(|n| *n <= 0xffff).ok_or_else(bad);
                m.set(FieldId::PacketType, number(ns)? << 16 | number(kind)?);
            }
            out.metadata = Some(Box::new(m));
        }
        if out.data.is_empty() {
            return invalid(head.len(), "must specify packet");
        }
        if let Some((actions, at)) = actions {
            let (actions, forms) = self.free_actions(actions).map_err(|e| e.moved(at))?;
            out.actions = actions;
            protocols &= forms;
        }
        Ok(Read { value: out, protocols })
    }

    /// Reads a line of a file of `bundle`: `flow`, `group` or `packet-out`, and what the command of that name takes.
    ///
    /// # Errors
    /// What is wrong, with its place.
    pub fn bundle_line(&self, text: &str) -> Parsed<Read<BundleLine>> {
        let start = text.trim_start();
        let word = start.split([',', ' ', '\t', '\r', '\n']).next().unwrap_or_default();
        let rest = start.get(word.len()..).unwrap_or_default();
        let at = text.len().saturating_sub(rest.len());
        let read = match word {
            "flow" => self
                .flow_command(rest)
                .map(|r| Read { value: BundleLine::Flow(Box::new(r.value)), protocols: r.protocols }),
            "group" => self
                .group_command(rest)
                .map(|r| Read { value: BundleLine::Group(Box::new(r.value)), protocols: r.protocols }),
            "packet-out" => self
                .packet_out(rest)
                .map(|r| Read { value: BundleLine::PacketOut(Box::new(r.value)), protocols: r.protocols }),
            word => {
                return invalid(
                    text.len().saturating_sub(start.len()),
                    format!("Unsupported bundle message type: {word}"),
                );
            }
        };
        read.map_err(|e| e.moved(at))
    }
}

/// Whether a field is of the pipeline, not of the packet's headers.
fn is_of_pipeline(field: FieldId) -> bool {
    use FieldId::*;
    let name = field.info().name;
    let is_register = ["reg", "xreg", "xxreg", "tun_", "tunnel_", "ct_"].iter().any(|start| name.starts_with(start));
    is_register || matches!(field, Metadata | InPort | InPortOxm | ActsetOutput | PktMark | SkbPriority | PacketType)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets() {
        let says = |text: &str| Parser::default().packet_out(text).unwrap_err().problem.to_string();
        let packet = "packet=ffffffffffff0000000000010806";
        assert_eq!(says("in_port=1 actions=2"), "must specify packet");
        assert_eq!(says("packet=00"), "packet: Packet data too short for Ethernet");
        assert_eq!(says(&format!("in_port=FLOOD {packet}")), "FLOOD is not a valid OpenFlow port for PACKET_OUT");
        assert_eq!(says(&format!("nw_src=1.2.3.4 {packet}")), "nw_src is not a valid pipeline field for PACKET_OUT");
        assert_eq!(says(&format!("{packet} actions=goto_table:1")), "goto_table instruction not allowed here");
        let read = Parser::default().packet_out(&format!("reg0=5 {packet}")).unwrap();
        assert_eq!(read.protocols, Protocols::TLV);
        assert_eq!(read.value.in_port, OfPort::CONTROLLER);
        assert_eq!(read.value.metadata.unwrap().to_string(), "reg0=0x5");
    }

    #[test]
    fn lines_of_bundles() {
        let line = |text: &str| Parser::default().bundle_line(text).map(|r| r.value);
        let Ok(BundleLine::Flow(flow)) = line("flow delete_strict priority=1") else { panic!() };
        assert_eq!(flow.priority, 1);
        let Ok(BundleLine::Flow(flow)) = line("flow ip,actions=drop") else { panic!() };
        assert_eq!(flow.command, crate::FlowModCommand::Add);
        assert!(matches!(line("group group_id=1,type=all"), Ok(BundleLine::Group(_))));
        assert!(matches!(line("packet-out packet=ffffffffffff0000000000010806"), Ok(BundleLine::PacketOut(_))));
        let error = line("flow add ip,actions=bogus").unwrap_err();
        assert_eq!((error.at, error.problem.to_string()), (20, "unknown action bogus".to_string()));
        assert_eq!(line("meter x").unwrap_err().problem.to_string(), "Unsupported bundle message type: meter");
    }
}

//! What controllers are told without a request.

use ovs_packet::Instant;

use crate::codec::{
    EncodeError, ErrorMessage, FlowRemoved, Header, Kind, Message, OfError, PacketIn, PacketInReason, PortStatus,
    TableStatus, Version,
};
use crate::pipeline::connection::{Connection, ConnectionId, PacketInFormat};
use crate::pipeline::flow_table::{Flow, RemovedReason};
use crate::pipeline::ofproto::Ofproto;
use crate::pipeline::port::Port;
use crate::session::{AsyncConfig, AsyncKind, Class};

/// A packet for controllers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::pipeline) struct Punt {
    /// What is said.
    pub(in crate::pipeline) message: PacketIn,
    /// Why, as connections are asked whether they want it: `OFPR_*`, or one of the two kinds of misses.
    pub(in crate::pipeline) reason: u8,
    /// Which controllers: those with this number.
    pub(in crate::pipeline) controller: u16,
}

impl Punt {
    fn is_miss(&self) -> bool {
        matches!(self.reason, 0 | AsyncConfig::EXPLICIT_MISS | AsyncConfig::IMPLICIT_MISS)
    }
}

impl Ofproto {
    /// Sends a packet to the controllers that want it. How many they are.
    pub(in crate::pipeline) fn punt(&mut self, punt: &Punt, now: Instant) -> usize {
        let port = punt.message.metadata.key().in_port.get();
        let scheduler = usize::from(!punt.is_miss());
        let mut told = 0;
        for (_, c) in self.connections.wanting(AsyncKind::PacketIn, punt.reason) {
            if c.controller_id != punt.controller {
                continue;
            }
            told += 1;
            let message = match encode_packet_in(c, punt) {
                Ok(message) => message,
                Err(e) => {
                    tracing::warn!(error = %e, version = %c.version, "a packet cannot be sent to a controller");
                    continue;
                }
            };
            let message = match c.schedulers.get_mut(scheduler) {
                Some(Some(s)) => s.offer(port, message, now),
                _ => Some(message),
            };
            message.into_iter().for_each(|m| c.out.push(Class::PacketIn, m));
        }
        told
    }

    /// Tells of a flow that ended.
    pub(in crate::pipeline) fn tell_of_removed(&mut self, flow: &Flow, reason: RemovedReason, now: Instant) {
        let mut said = FlowRemoved::default();
        (said.matching, said.cookie, said.reason) = (self.tlv.lift(&flow.matching), flow.cookie, reason as u8);
        (said.idle_timeout, said.hard_timeout) = (flow.idle_timeout, flow.hard_timeout);
        said.priority = u16::try_from(flow.priority).unwrap_or(u16::MAX);
        said.table = Some(flow.table);
        said.duration = now - flow.created;
        (said.packets, said.bytes) = (flow.packets, flow.bytes);
        for (_, c) in self.connections.wanting(AsyncKind::FlowRemoved, reason as u8) {
            let mut said = said.clone();
            if said.reason > RemovedReason::GroupDelete as u8 && c.version < Version::V1_4 {
                said.reason = RemovedReason::Delete as u8;
            }
            let message = Message::from(said);
            let in_nicira = |c: &Connection| message.encode_as(Kind::NxFlowRemoved, c.version, 0);
            let encoded = match c.version {
                Version::V1_0 if c.nxm => in_nicira(c),
                // What the old message cannot say, the extension can.
                Version::V1_0 => message.encode(c.version, 0).or_else(|_| in_nicira(c)),
                version => message.encode(version, 0),
            };
            c.push_encoded(Class::Other, encoded);
        }
    }

    /// Tells of a port: 1 it went, 2 it changed.
    pub(in crate::pipeline) fn tell_of_port(&mut self, reason: u8, port: &Port, source: Option<ConnectionId>) {
        for (id, c) in self.connections.wanting(AsyncKind::PortStatus, reason) {
            // Before OpenFlow 1.5, who changed a port is taken to know.
            if source == Some(id) && c.version < Version::V1_5 {
                continue;
            }
            let status = PortStatus { reason, port: port.desc(c.version) };
            c.push(Class::Other, &status.into(), 0);
        }
    }

    /// Tells of a port that came. As upstream has it, that a port is live is news of its own behind that.
    pub(in crate::pipeline) fn tell_of_new_port(&mut self, port: &Port) {
        for (_, c) in self.connections.wanting(AsyncKind::PortStatus, 0) {
            let status = PortStatus { reason: 0, port: port.desc_without_life(c.version) };
            c.push(Class::Other, &status.into(), 0);
        }
        for (_, c) in self.connections.wanting(AsyncKind::PortStatus, 2) {
            let status = PortStatus { reason: 2, port: port.desc(c.version) };
            if status.port != port.desc_without_life(c.version) {
                c.push(Class::Other, &status.into(), 0);
            }
        }
    }

    /// Tells of tables that have become fuller or emptier than someone wants to know.
    pub(in crate::pipeline) fn tell_of_vacancies(&mut self) {
        for (n, event) in self.tables.take_vacancy_events() {
            let Some(desc) = self.table_desc(n) else { continue };
            for (_, c) in self.connections.wanting(AsyncKind::TableStatus, event as u8) {
                let status = TableStatus { reason: event as u8, desc: desc.clone() };
                c.push(Class::Other, &Message::TableStatus(status), 0);
            }
        }
    }

    /// Does what time asks for: packets whose turn it is, bundles that were left, lines of the log.
    pub(in crate::pipeline) fn run_connections(&mut self, now: Instant) {
        self.connections.set_now(now);
        for (_, c) in self.connections.iter_mut() {
            for scheduler in c.schedulers.iter_mut().flatten() {
                while let Some(message) = scheduler.poll(now) {
                    c.out.push(Class::PacketIn, message);
                }
            }
            while let Some(request) = c.bundles.expire(now) {
                let xid = Header::decode(&request).map_or(0, |h| h.xid);
                c.push(Class::Other, &Message::Error(ErrorMessage::new(OfError::BundleTimeout, &request)), xid);
            }
        }
    }
}

/// What a packet's property takes more than the packet, at most.
const PADDING: u16 = 16;

/// A packet-in in the format that the controller has chosen. A packet that a message has no room for is cut.
fn encode_packet_in(c: &Connection, p: &Punt) -> Result<Vec<u8>, EncodeError> {
    let extended = c.packet_in_format == PacketInFormat::Nicira2;
    let mut said = p.message.clone();
    if p.reason == AsyncConfig::EXPLICIT_MISS && c.version < Version::V1_3 {
        // There are no table-miss flows before OpenFlow 1.3.
        said.reason = PacketInReason::ACTION;
    }
    if !extended {
        // There is no place for these in the other formats.
        said.userdata.clear();
        said.continuation = None;
    }
    match encode_as_chosen(c, said.clone()) {
        // What waits to be resumed must be whole.
        Err(EncodeError::TooLong { .. }) if said.continuation.is_none() => {
            let data = std::mem::take(&mut said.data);
            let room = usize::from(u16::MAX - PADDING).saturating_sub(encode_as_chosen(c, said.clone())?.len());
            said.data = data.into_iter().take(room).collect();
            encode_as_chosen(c, said)
        }
        encoded => encoded,
    }
}

fn encode_as_chosen(c: &Connection, said: PacketIn) -> Result<Vec<u8>, EncodeError> {
    let message = Message::from(said);
    match c.packet_in_format {
        PacketInFormat::Standard => message.encode(c.version, 0),
        PacketInFormat::Nicira => message.encode_as(Kind::NxPacketIn, c.version, 0),
        PacketInFormat::Nicira2 => message.encode_as(Kind::NxPacketIn2, c.version, 0),
    }
}

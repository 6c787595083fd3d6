//! Packets to and from a controller (OpenFlow 1.3, sections 7.3.7 and 7.4.1).

use ovs_packet::{Match, OfPort};

use super::action;
use super::cursor::{Codec, Reader, Writer};
use super::error::{DecodeError, EncodeError, OfError};
use crate::action::Action;

/// Of a buffer id: none, the packet is in the message (OFP_NO_BUFFER).
pub const NO_BUFFER: u32 = 0xffff_ffff;

/// Why a packet is sent to a controller (`OFPR_*`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PacketInReason(pub u8);

impl PacketInReason {
    /// No flow but the table-miss flow matched.
    pub const NO_MATCH: PacketInReason = PacketInReason(0);
    /// A flow sent it.
    pub const ACTION: PacketInReason = PacketInReason(1);
    /// Its TTL is used up.
    pub const INVALID_TTL: PacketInReason = PacketInReason(2);
}

/// A packet for the controller.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PacketIn {
    /// Number that the switch keeps the packet under, or [`NO_BUFFER`].
    pub buffer_id: u32,
    /// Length of the whole packet, of which `data` may be the beginning.
    pub total_len: u16,
    /// Why it is sent.
    pub reason: PacketInReason,
    /// Table of the flow that sent it.
    pub table: u8,
    /// Cookie of that flow; all ones if there is none.
    pub cookie: u64,
    /// What the packet's headers do not say: ingress port, metadata, registers.
    pub metadata: Match,
    /// The packet, or its beginning.
    pub data: Vec<u8>,
}

impl PacketIn {
    /// A whole packet that a flow sends, that came in by `port`.
    pub fn new(port: OfPort, data: Vec<u8>) -> PacketIn {
        let mut metadata = Match::ANY;
        metadata.set(ovs_packet::field::FieldId::InPortOxm, port.0.into());
        PacketIn {
            buffer_id: NO_BUFFER,
            total_len: data.len().try_into().unwrap_or(u16::MAX),
            reason: PacketInReason::ACTION,
            table: 0,
            cookie: u64::MAX,
            metadata,
            data,
        }
    }
}

impl Codec for PacketIn {
    fn encode(&self, w: &mut Writer) -> Result<(), EncodeError> {
        w.u32(self.buffer_id);
        w.u16(self.total_len);
        w.u8(self.reason.0);
        w.u8(self.table);
        w.u64(self.cookie);
        self.metadata.encode(w)?;
        w.zeros(2);
        w.bytes(&self.data);
        Ok(())
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (buffer_id, total_len, reason) = (r.u32()?, r.u16()?, PacketInReason(r.u8()?));
        let (table, cookie, metadata) = (r.u8()?, r.u64()?, Match::decode(r)?);
        r.skip(2)?;
        Ok(PacketIn { buffer_id, total_len, reason, table, cookie, metadata, data: r.remaining().to_vec() })
    }
}

/// A packet from the controller, with what to do with it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PacketOut {
    /// Number that the switch keeps the packet under, or [`NO_BUFFER`].
    pub buffer_id: u32,
    /// The port that it is taken to have come in by, real or [`OfPort::CONTROLLER`].
    pub in_port: OfPort,
    /// What to do.
    pub actions: Vec<Action>,
    /// The packet; empty if it is in a buffer.
    pub data: Vec<u8>,
}

impl PacketOut {
    /// `actions` on a packet that is in the message.
    pub fn new(in_port: OfPort, actions: Vec<Action>, data: Vec<u8>) -> PacketOut {
        PacketOut { buffer_id: NO_BUFFER, in_port, actions, data }
    }
}

impl Codec for PacketOut {
    fn encode(&self, w: &mut Writer) -> Result<(), EncodeError> {
        w.u32(self.buffer_id);
        w.u32(self.in_port.0);
        let mut list = Writer::new();
        action::encode(&self.actions, &mut list, 0)?;
        let list = list.into_bytes();
        w.u16(list.len().try_into().map_err(|_| EncodeError::TooLong { what: "the actions of a packet-out" })?);
        w.zeros(6);
        w.bytes(&list);
        w.bytes(&self.data);
        Ok(())
    }

    /// The ingress port must be a real one, the switch's own, or the controller, as in upstream.
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (buffer_id, at_port, in_port, len) = (r.u32()?, r.clone(), OfPort(r.u32()?), r.u16()?);
        if in_port.is_reserved() && ![OfPort::CONTROLLER, OfPort::ANY].contains(&in_port) {
            return Err(at_port.error(OfError::BadRequestBadPort, "a port that a packet can come in by"));
        }
        r.skip(6)?;
        let actions = action::decode(r.clone().or(OfError::BadRequestBadLength).sub(len.into())?, 0)?;
        r.skip(len.into())?;
        Ok(PacketOut { buffer_id, in_port, actions, data: r.remaining().to_vec() })
    }
}

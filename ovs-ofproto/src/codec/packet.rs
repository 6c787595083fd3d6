//! Packets to and from a controller, in all versions and formats.

use ovs_packet::field::FieldId;
use ovs_packet::{Match, OfPort};
use zerocopy::byteorder::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::cursor::{Reader, Writer};
use super::error::{DecodeError, EncodeError, OfError};
use super::header::{Header, Version};
use super::io::{Property, port_at, read_port};
use super::kind::{Kind, MessageKind};
use super::oxm::Reading;
use super::{action, matching, oxm};
use crate::action::Action;
#[cfg(feature = "serde")]
use crate::json::form::*;

/// Of a buffer id: none, the packet is in the message (OFP_NO_BUFFER).
pub const NO_BUFFER: u32 = 0xffff_ffff;

/// Why a packet is sent to a controller (`OFPR_*`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PacketInReason(#[cfg_attr(feature = "serde", serde(with = "As::<Named<Reason>>"))] pub u8);

impl PacketInReason {
    /// No flow but the table-miss flow matched.
    pub const NO_MATCH: PacketInReason = PacketInReason(0);
    /// A flow sent it.
    pub const ACTION: PacketInReason = PacketInReason(1);
    /// Its TTL is used up.
    pub const INVALID_TTL: PacketInReason = PacketInReason(2);
    /// The action set sent it.
    pub const ACTION_SET: PacketInReason = PacketInReason(3);
    /// A group sent it.
    pub const GROUP: PacketInReason = PacketInReason(4);
    /// A packet-out sent it.
    pub const PACKET_OUT: PacketInReason = PacketInReason(5);

    const WORDS: [&str; 6] = ["no_match", "action", "invalid_ttl", "action_set", "group", "packet_out"];

    /// The word in upstream's language.
    pub fn word(self) -> Option<&'static str> {
        Self::WORDS.get(usize::from(self.0)).copied()
    }

    /// The reason with this word.
    pub fn by_word(word: &str) -> Option<PacketInReason> {
        let at = Self::WORDS.iter().position(|w| *w == word)?;
        u8::try_from(at).ok().map(PacketInReason)
    }

    /// The reason as a version has it that does not tell all of them apart.
    fn in_version(self, version: Version) -> u8 {
        match self.0 {
            3..=5 if version < Version::V1_4 => 1,
            other => other,
        }
    }
}

/// A packet for the controller.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct PacketIn {
    /// Number that the switch keeps the packet under, or [`NO_BUFFER`].
    #[cfg_attr(feature = "serde", serde(with = "As::<Named<BufferId>>"))]
    pub buffer_id: u32,
    /// Length of the whole packet, of which `data` may be the beginning.
    pub total_len: u32,
    /// Why it is sent.
    pub reason: PacketInReason,
    /// Table of the flow that sent it; 0 if it is not told.
    #[cfg_attr(feature = "serde", serde(rename = "table_id"))]
    pub table: u8,
    /// Cookie of that flow; all ones if there is none.
    #[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))]
    pub cookie: u64,
    /// What the packet's headers do not say: ingress port, metadata, registers.
    pub metadata: Match,
    /// The packet, or its beginning.
    #[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))]
    pub data: Vec<u8>,
    /// What the flow had the packet-in repeat.
    #[cfg_attr(feature = "serde", serde(with = "As::<Hex>", default))]
    pub userdata: Vec<u8>,
    /// How to go on with the packet: properties that the switch alone understands, and gets back to resume it. None if
    /// the packet is not waiting.
    #[cfg_attr(feature = "serde", serde(with = "As::<Option<Hex>>", default))]
    pub continuation: Option<Vec<u8>>,
}

impl PacketIn {
    /// A whole packet that a flow sends, that came in by `port`.
    pub fn new(port: OfPort, data: Vec<u8>) -> PacketIn {
        let mut metadata = Match::ANY;
        metadata.set(FieldId::InPortOxm, port.0.into());
        PacketIn {
            buffer_id: NO_BUFFER,
            total_len: data.len().try_into().unwrap_or(u32::MAX),
            reason: PacketInReason::ACTION,
            table: 0,
            cookie: u64::MAX,
            metadata,
            data,
            userdata: Vec::new(),
            continuation: None,
        }
    }
}

/// Of a packet-in as properties.
mod property {
    pub(super) const PACKET: u64 = 0;
    pub(super) const FULL_LEN: u64 = 1;
    pub(super) const BUFFER_ID: u64 = 2;
    pub(super) const TABLE_ID: u64 = 3;
    pub(super) const COOKIE: u64 = 4;
    pub(super) const REASON: u64 = 5;
    pub(super) const METADATA: u64 = 6;
    pub(super) const USERDATA: u64 = 7;
    pub(super) const CONTINUATION: u64 = 8;
}

impl PacketIn {
    fn in_port(&self) -> OfPort {
        OfPort(self.metadata.key().in_port.get())
    }

    pub(super) fn write(&self, w: &mut Writer, version: Version, kind: Kind) -> Result<(), EncodeError> {
        let total = || u16::try_from(self.total_len).map_err(|_| EncodeError::TooLong { what: "a packet" });
        if !matches!(kind, Kind::NxPacketIn2 | Kind::NxResume)
            && (!self.userdata.is_empty() || self.continuation.is_some())
        {
            return Err(EncodeError::NotInVersion {
                version: version.0,
                what: "userdata in a packet-in of this format",
            });
        }
        let reason = self.reason.in_version(version);
        match kind {
            Kind::PacketIn10 => {
                w.u32(self.buffer_id);
                w.u16(total()?);
                let port = self.in_port();
                w.u16(port.to_16().ok_or(EncodeError::Port(port.0))?);
                w.u8(reason);
                w.zeros(1);
            }
            Kind::PacketIn11 => {
                w.u32(self.buffer_id);
                w.u32(self.in_port().0);
                w.u32(self.in_port().0);
                w.u16(total()?);
                w.u8(reason);
                w.u8(self.table);
            }
            Kind::NxPacketIn2 | Kind::NxResume => return self.write_properties(w, version),
            _ => {
                w.u32(self.buffer_id);
                w.u16(total()?);
                w.u8(reason);
                w.u8(self.table);
                if kind != Kind::PacketIn12 {
                    w.u64(self.cookie);
                }
                if kind == Kind::NxPacketIn {
                    let at = w.len();
                    w.zeros(8);
                    let len = oxm::write_nxm(&self.metadata, w, None)?;
                    w.patch_u16(at, len);
                } else {
                    oxm::write_match(&self.metadata, w, version.0)?;
                }
                w.zeros(2);
            }
        }
        w.bytes(&self.data);
        Ok(())
    }

    fn write_properties(&self, w: &mut Writer, version: Version) -> Result<(), EncodeError> {
        w.property_bytes(property::PACKET, &self.data)?;
        if usize::try_from(self.total_len) != Ok(self.data.len()) {
            w.property_u32(property::FULL_LEN, self.total_len)?;
        }
        if self.buffer_id != NO_BUFFER {
            w.property_u32(property::BUFFER_ID, self.buffer_id)?;
        }
        w.property_bytes(property::TABLE_ID, &[self.table])?;
        if self.cookie != u64::MAX {
            w.property_u64(property::COOKIE, self.cookie)?;
        }
        w.property_bytes(property::REASON, &[self.reason.in_version(version)])?;
        w.property(property::METADATA, |w| oxm::write_fields(&self.metadata, w, version.0, None))?;
        if !self.userdata.is_empty() {
            w.property_bytes(property::USERDATA, &self.userdata)?;
        }
        match &self.continuation {
            Some(continuation) => w.property(property::CONTINUATION, |w| {
                w.zeros(4);
                w.bytes(continuation);
                Ok(())
            }),
            None => Ok(()),
        }
    }
}

/// A packet-in that is still in its bytes: nothing is allocated to read it.
///
/// ```
/// use ovs_ofproto::codec::{Message, PacketIn, PacketInView, Version};
/// use ovs_packet::OfPort;
///
/// let packet = PacketIn::new(OfPort(3), vec![1, 2, 3]);
/// let bytes = Message::from(packet.clone()).encode(Version::V1_5, 1)?;
/// let view = PacketInView::new(&bytes)?;
/// assert_eq!(view.data, [1, 2, 3]);
/// assert_eq!(view.to_owned(), packet);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
#[expect(missing_docs, reason = "as those of PacketIn")]
pub struct PacketInView<'a> {
    pub buffer_id: u32,
    pub total_len: u32,
    pub reason: PacketInReason,
    pub table: u8,
    pub cookie: u64,
    pub metadata: Match,
    pub data: &'a [u8],
    pub userdata: &'a [u8],
    pub continuation: Option<&'a [u8]>,
}

/// What a packet-in of OpenFlow 1.0 begins with (section 5.4.1).
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Head10 {
    buffer_id: U32,
    total_len: U16,
    in_port: U16,
    reason: u8,
    _padding: u8,
}

/// The same of OpenFlow 1.1 (section 5.4.1).
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Head11 {
    buffer_id: U32,
    in_port: U32,
    _in_phy_port: U32,
    total_len: U16,
    reason: u8,
    table: u8,
}

/// The same from OpenFlow 1.2 on, and of Nicira's first format (OpenFlow 1.5, section 7.4.1). A cookie may stand behind it.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Head12 {
    buffer_id: U32,
    total_len: U16,
    reason: u8,
    table: u8,
}

impl Default for PacketInView<'_> {
    #[inline(always)]
    fn default() -> Self {
        PacketInView {
            buffer_id: NO_BUFFER,
            total_len: 0,
            reason: PacketInReason(0),
            table: 0,
            cookie: u64::MAX,
            metadata: Match::default(),
            data: &[],
            userdata: &[],
            continuation: None,
        }
    }
}

impl<'a> PacketInView<'a> {
    /// Reads a whole message.
    ///
    /// # Errors
    /// What is not understood, or that it is no packet-in.
    #[inline(always)]
    pub fn new(message: &'a [u8]) -> Result<PacketInView<'a>, DecodeError> {
        // It is read where the caller has it: to be moved there, it would wait for its parts.
        let mut view = PacketInView::default();
        view.read_message(message).map(|()| view)
    }

    #[inline(never)]
    fn read_message(&mut self, message: &'a [u8]) -> Result<(), DecodeError> {
        let mut r = Reader::new(message);
        let header = Header::read(&mut r)?;
        let kind = Kind::read(&mut r, header)?;
        kind.check_length(&r)?;
        match kind.of() {
            MessageKind::PacketIn => self.read(&mut r, kind),
            _ => Err(r.error(OfError::BadRequestBadType, "a packet-in")),
        }
    }

    /// The packet-in as a value.
    pub fn to_owned(&self) -> PacketIn {
        PacketIn {
            buffer_id: self.buffer_id,
            total_len: self.total_len,
            reason: self.reason,
            table: self.table,
            cookie: self.cookie,
            metadata: self.metadata.clone(),
            data: self.data.to_vec(),
            userdata: self.userdata.to_vec(),
            continuation: self.continuation.map(<[u8]>::to_vec),
        }
    }

    /// Reads it into one that says nothing yet.
    pub(super) fn read(&mut self, r: &mut Reader<'a>, kind: Kind) -> Result<(), DecodeError> {
        let p = self;
        match kind {
            Kind::NxPacketIn2 | Kind::NxResume => return p.read_properties(r, kind == Kind::NxPacketIn2),
            Kind::PacketIn10 => {
                let head = r.view::<Head10>()?;
                (p.buffer_id, p.total_len) = (head.buffer_id.get(), head.total_len.get().into());
                p.reason = PacketInReason(head.reason);
                p.metadata.set(FieldId::InPortOxm, OfPort::from_16(head.in_port.get()).0.into());
            }
            Kind::PacketIn11 => {
                let (at, head) = (r.place(), r.view::<Head11>()?);
                (p.buffer_id, p.total_len) = (head.buffer_id.get(), head.total_len.get().into());
                (p.reason, p.table) = (PacketInReason(head.reason), head.table);
                p.metadata.set(FieldId::InPortOxm, port_at(head.in_port.get(), at.plus(4))?.0.into());
            }
            _ => {
                let head = r.view::<Head12>()?;
                (p.buffer_id, p.total_len) = (head.buffer_id.get(), head.total_len.get().into());
                (p.reason, p.table) = (PacketInReason(head.reason), head.table);
                if kind != Kind::PacketIn12 {
                    p.cookie = r.u64()?;
                }
                if kind == Kind::NxPacketIn {
                    let len = r.u16()?;
                    r.skip(6)?;
                    oxm::read_nxm(r, len.into(), Reading::LOOSE, &mut p.metadata)?;
                } else {
                    matching::read(r, Reading::LOOSE, &mut p.metadata)?;
                }
                r.skip(2)?;
            }
        }
        p.data = r.remaining();
        Ok(())
    }

    fn read_properties(&mut self, r: &mut Reader<'a>, loose: bool) -> Result<(), DecodeError> {
        let start = r.clone();
        while let Some(p) = Property::next(r)? {
            match p.kind {
                property::PACKET => self.data = p.value,
                property::FULL_LEN => self.total_len = p.u32()?,
                property::BUFFER_ID => self.buffer_id = p.u32()?,
                property::TABLE_ID => self.table = p.u8()?,
                property::COOKIE => self.cookie = p.u64()?,
                property::REASON => self.reason = PacketInReason(p.u8()?),
                property::METADATA => {
                    let fields = p.reader().or(&OfError::BadMatchBadLength);
                    let how = if loose { Reading::LOOSE } else { Reading::STRICT };
                    self.metadata = Match::ANY;
                    oxm::read_fields(fields, how, &mut self.metadata)?;
                }
                property::USERDATA => self.userdata = p.value,
                property::CONTINUATION => self.continuation = Some(p.nested()?.peek()),
                _ if loose => {}
                _ => return Err(p.unknown("NX_PACKET_IN2")),
            }
        }
        let len = u32::try_from(self.data.len()).unwrap_or(u32::MAX);
        if len == 0 || (self.total_len != 0 && self.total_len < len) {
            return Err(start.error(OfError::BadRequestBadLength, "a packet, and its length"));
        }
        self.total_len = self.total_len.max(len);
        Ok(())
    }
}

/// A packet from the controller, with what to do with it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct PacketOut {
    /// Number that the switch keeps the packet under, or [`NO_BUFFER`].
    #[cfg_attr(feature = "serde", serde(with = "As::<Named<BufferId>>"))]
    pub buffer_id: u32,
    /// The port that it is taken to have come in by, real or [`OfPort::CONTROLLER`].
    pub in_port: OfPort,
    /// What else is taken for granted of the packet; OpenFlow 1.5 can say it. The port is not in it.
    pub metadata: Option<Box<Match>>,
    /// What to do.
    pub actions: Vec<Action>,
    /// The packet; empty if it is in a buffer.
    #[cfg_attr(feature = "serde", serde(with = "As::<Hex>", default))]
    pub data: Vec<u8>,
}

impl PacketOut {
    /// `actions` on a packet that is in the message.
    pub fn new(in_port: OfPort, actions: Vec<Action>, data: Vec<u8>) -> PacketOut {
        PacketOut { buffer_id: NO_BUFFER, in_port, metadata: None, actions, data }
    }

    pub(super) fn write(&self, w: &mut Writer, version: Version, kind: Kind) -> Result<(), EncodeError> {
        w.u32(self.buffer_id);
        if kind != Kind::PacketOut15 && self.metadata.is_some() {
            return Err(EncodeError::NotInVersion { version: version.0, what: "metadata of a packet-out" });
        }
        let at;
        match kind {
            Kind::PacketOut10 => {
                w.u16(self.in_port.to_16().ok_or(EncodeError::Port(self.in_port.0))?);
                at = w.len();
                w.zeros(2);
            }
            Kind::PacketOut11 => {
                w.u32(self.in_port.0);
                at = w.len();
                w.zeros(8);
            }
            _ => {
                at = w.len();
                w.zeros(4);
                let mut metadata = self.metadata.as_deref().cloned().unwrap_or(Match::ANY);
                metadata.set(FieldId::InPortOxm, self.in_port.0.into());
                matching::write(&metadata, w, version)?;
            }
        }
        let start = w.len();
        action::encode(&self.actions, w, version, 0)?;
        let len = u16::try_from(w.len().saturating_sub(start));
        w.patch_u16(at, len.map_err(|_| EncodeError::TooLong { what: "a list of actions" })?);
        w.bytes(&self.data);
        Ok(())
    }

    pub(super) fn read(r: &mut Reader<'_>, version: Version, kind: Kind) -> Result<PacketOut, DecodeError> {
        let mut p = PacketOut::new(OfPort::ANY, Vec::new(), Vec::new());
        p.buffer_id = r.u32()?;
        let mut at_port = r.clone();
        let len;
        match kind {
            Kind::PacketOut10 => {
                p.in_port = OfPort::from_16(r.u16()?);
                len = r.u16()?;
            }
            Kind::PacketOut11 => {
                p.in_port = read_port(r)?;
                len = r.u16()?;
                r.skip(6)?;
            }
            _ => {
                len = r.u16()?;
                r.skip(2)?;
                at_port = r.clone();
                let field = FieldId::InPortOxm;
                let mut metadata = Match::ANY;
                matching::read(r, Reading::PIPELINE, &mut metadata)?;
                if !metadata.mask().touches(field) {
                    return Err(at_port.error(OfError::BadRequestBadPort, "the port that the packet came in by"));
                }
                p.in_port = OfPort(metadata.key().in_port.get());
                metadata.set_masked(field, 0, 0);
                p.metadata = Some(Box::new(metadata)).filter(|m| **m != Match::ANY);
            }
        }
        let allowed = [OfPort::LOCAL, OfPort::ANY, OfPort::CONTROLLER];
        if p.in_port.is_reserved() && !allowed.contains(&p.in_port) {
            return Err(at_port.error(OfError::BadRequestBadPort, "a real port, or the controller"));
        }
        let mut all = r.clone().or(&OfError::BadActionBadLength);
        let actions = all.sub(len.into())?;
        p.actions = action::decode(actions, version, 0)?;
        r.skip(len.into())?;
        let data = r.remaining();
        if p.buffer_id == NO_BUFFER {
            p.data = data.to_vec();
        }
        Ok(p)
    }
}

//! Descriptions, queues, roles, unasked messages and bundles.

use ovs_packet::OfPort;

use super::cursor::{Reader, Shape};
use super::error::{DecodeError, OfError};
use super::header::{Header, Version};
use super::io::{Done, Io, Property};
use super::kind::{Kind, MessageKind};
use super::property::{Kept, RawProperty, read_raw};
#[cfg(feature = "serde")]
use crate::json::form::*;

/// What a switch is, in words.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Description {
    /// Who made it.
    #[cfg_attr(feature = "serde", serde(rename = "mfr_desc"))]
    pub manufacturer: String,
    /// Its hardware.
    #[cfg_attr(feature = "serde", serde(rename = "hw_desc"))]
    pub hardware: String,
    /// Its software.
    #[cfg_attr(feature = "serde", serde(rename = "sw_desc"))]
    pub software: String,
    /// Its serial number.
    #[cfg_attr(feature = "serde", serde(rename = "serial_num"))]
    pub serial: String,
    /// What it is for.
    #[cfg_attr(feature = "serde", serde(rename = "dp_desc"))]
    pub datapath: String,
}

impl Description {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        io.text(&mut self.manufacturer, 256)?;
        io.text(&mut self.hardware, 256)?;
        io.text(&mut self.software, 256)?;
        io.text(&mut self.serial, 32)?;
        io.text(&mut self.datapath, 256)
    }
}

/// Asks which queues a port has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct QueueRequest {
    /// The port; [`OfPort::ANY`] is all.
    #[cfg_attr(feature = "serde", serde(rename = "port_no"))]
    pub port: OfPort,
    /// The queue; all ones is all. Before OpenFlow 1.4, always all.
    #[cfg_attr(feature = "serde", serde(rename = "queue_id", with = "As::<Named<QueueId>>"))]
    pub queue: u32,
}

impl Default for QueueRequest {
    fn default() -> Self {
        QueueRequest { port: OfPort::ANY, queue: u32::MAX }
    }
}

impl QueueRequest {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>, kind: Kind) -> Done {
        match kind {
            Kind::QueueGetConfigRequest10 => {
                io.port16(&mut self.port)?;
                io.pad(2)
            }
            Kind::QueueGetConfigRequest11 => {
                io.port32(&mut self.port)?;
                io.pad(4)
            }
            _ => {
                io.port32(&mut self.port)?;
                io.u32(&mut self.queue)
            }
        }
    }
}

/// A queue of a port.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Queue {
    /// The port.
    #[cfg_attr(feature = "serde", serde(rename = "port_no"))]
    pub port: OfPort,
    /// Its number.
    #[cfg_attr(feature = "serde", serde(rename = "queue_id", with = "As::<Named<QueueId>>"))]
    pub queue: u32,
    /// The rate that it has at least, in tenths of a percent.
    pub min_rate: Option<u16>,
    /// The rate that it has at most, in tenths of a percent.
    pub max_rate: Option<u16>,
    /// What else is said of it. Before OpenFlow 1.4, the value of an experimenter's has all that stands behind its type
    /// and length.
    pub properties: Vec<RawProperty>,
}

impl Default for Queue {
    fn default() -> Self {
        Queue { port: OfPort(0), queue: 0, min_rate: None, max_rate: None, properties: Vec::new() }
    }
}

impl Queue {
    /// All queues of a reply, which before OpenFlow 1.4 are of one port.
    pub(super) fn pass_reply(queues: &mut Vec<Queue>, io: &mut Io<'_, '_>, kind: Kind) -> Done {
        if kind == Kind::StatsQueueDescReply14 {
            return io.list(queues, |io, q| {
                let shape = Shape { what: "a queue", length_at: 8, align: 8, count_padding: true };
                io.framed(shape, 16, &OfError::BadRequestBadLength, |io| {
                    io.port32(&mut q.port)?;
                    io.u32(&mut q.queue)?;
                    io.length()?;
                    io.pad(6)?;
                    q.properties(io, false)
                })
            });
        }
        // Queues of several ports answer a request for all ports, whose number the reply repeats.
        let first = queues.first().map_or(OfPort::ANY, |q| q.port);
        let mut port = if queues.iter().all(|q| q.port == first) { first } else { OfPort::ANY };
        if kind == Kind::QueueGetConfigReply10 {
            io.port16(&mut port)?;
            io.pad(6)?;
        } else {
            io.port32(&mut port)?;
            io.pad(4)?;
        }
        let version = io.version;
        io.list(queues, |io, q| {
            let short = version < Version::V1_2;
            let (length_at, min) = if short { (4, 8) } else { (8, 16) };
            let shape = Shape { what: "a queue", length_at, align: 8, count_padding: true };
            io.framed(shape, min, &OfError::BadRequestBadLength, |io| {
                io.u32(&mut q.queue)?;
                if !short {
                    io.u32(&mut q.port.0)?;
                }
                // What was said in front of the queues counts.
                q.port = port;
                io.length()?;
                io.pad(if short { 2 } else { 6 })?;
                q.properties(io, true)
            })
        })
    }

    /// `old`: properties have 16 bytes.
    fn properties(&mut self, io: &mut Io<'_, '_>, old: bool) -> Done {
        let first_experimenter = if old { 0x1_0000 } else { 0xffff };
        let mut all = (self.min_rate, self.max_rate, core::mem::take(&mut self.properties));
        io.either(
            &mut all,
            |r| {
                let mut found = (None, None, Vec::new());
                while let Some(p) = Property::next_with(r, 8, first_experimenter)? {
                    let mut body = p.reader();
                    let mut rate = || {
                        body.skip(if old { 4 } else { 0 })?;
                        body.u16()
                    };
                    match p.kind {
                        1 => found.0 = Some(rate()?),
                        2 => found.1 = Some(rate()?),
                        _ => found.2.push(RawProperty::read(&p)?),
                    }
                }
                Ok(found)
            },
            |(min, max, more), w| {
                for (kind, rate) in [(1, min), (2, max)] {
                    if let Some(rate) = rate {
                        w.property(kind, |w| {
                            w.zeros(if old { 4 } else { 0 });
                            w.u16(*rate);
                            w.zeros(if old { 6 } else { 2 });
                            Ok(())
                        })?;
                    }
                }
                Kept::write_all(more, w)
            },
        )?;
        (self.min_rate, self.max_rate, self.properties) = all;
        Ok(())
    }
}

/// Asks what queues have seen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct QueueStatsRequest {
    /// The port; [`OfPort::ANY`] is all.
    #[cfg_attr(feature = "serde", serde(rename = "port_no"))]
    pub port: OfPort,
    /// The queue; all ones is all.
    #[cfg_attr(feature = "serde", serde(rename = "queue_id", with = "As::<Named<QueueId>>"))]
    pub queue: u32,
}

impl Default for QueueStatsRequest {
    fn default() -> Self {
        QueueStatsRequest { port: OfPort::ANY, queue: u32::MAX }
    }
}

impl QueueStatsRequest {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        // All ports are another number in OpenFlow 1.0 than none, which is what later versions say.
        if io.version == Version::V1_0 {
            let mut port = if self.port == OfPort::ANY { OfPort::ALL } else { self.port };
            io.port16(&mut port)?;
            self.port = if port == OfPort::ALL { OfPort::ANY } else { port };
            io.pad(2)?;
        } else {
            io.port32(&mut self.port)?;
        }
        io.u32(&mut self.queue)
    }
}

/// The statistics of a queue. All ones are not counted.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct QueueStats {
    /// The port.
    #[cfg_attr(feature = "serde", serde(rename = "port_no"))]
    pub port: OfPort,
    /// The queue.
    #[cfg_attr(feature = "serde", serde(rename = "queue_id", with = "As::<Named<QueueId>>"))]
    pub queue: u32,
    /// Bytes, packets and errors sent.
    #[cfg_attr(feature = "serde", serde(rename = "counts", with = "As::<Record<QueueCounters, Counter>>"))]
    pub sent: [u64; 3],
    /// How long it has existed: seconds and nanoseconds; versions before 1.3 do not tell.
    #[cfg_attr(feature = "serde", serde(with = "As::<Option<Seconds>>"))]
    pub duration: Option<(u32, u32)>,
    /// What else is counted, from OpenFlow 1.4 on.
    pub properties: Vec<RawProperty>,
}

impl Default for QueueStats {
    fn default() -> Self {
        QueueStats {
            port: OfPort(0),
            queue: Default::default(),
            sent: Default::default(),
            duration: Default::default(),
            properties: Vec::new(),
        }
    }
}

impl QueueStats {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        if io.version >= Version::V1_4 {
            let shape = Shape { what: "the statistics of a queue", length_at: 0, align: 8, count_padding: true };
            return io.framed(shape, 48, &OfError::BadRequestBadLength, |io| {
                io.length()?;
                io.pad(6)?;
                self.body(io)?;
                kept(&mut self.properties, io)
            });
        }
        self.body(io)
    }

    fn body(&mut self, io: &mut Io<'_, '_>) -> Done {
        let version = io.version;
        io.port(&mut self.port)?;
        if version == Version::V1_0 {
            io.pad(2)?;
        }
        io.u32(&mut self.queue)?;
        self.sent.iter_mut().try_for_each(|n| io.u64(n))?;
        if version >= Version::V1_3 {
            let mut duration = self.duration.unwrap_or_default();
            io.u32(&mut duration.0)?;
            io.u32(&mut duration.1)?;
            self.duration = Some(duration);
        }
        Ok(())
    }
}

/// Properties up to the end.
fn kept(properties: &mut Vec<RawProperty>, io: &mut Io<'_, '_>) -> Done {
    io.either(properties, read_raw, |properties, w| Kept::write_all(properties, w))
}

/// The role of a controller.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Role {
    /// 0 leaves it, 1 is equal, 2 primary, 3 secondary.
    #[cfg_attr(feature = "serde", serde(with = "As::<Named<RoleName>>"))]
    pub role: u32,
    /// Which election this is of.
    #[cfg_attr(feature = "serde", serde(rename = "generation_id"))]
    pub generation: Option<u64>,
}

impl Role {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>, kind: Kind) -> Done {
        let bad = OfError::RoleRequestBadRole;
        if matches!(kind, Kind::NxRoleRequest | Kind::NxRoleReply) {
            let mut role = self.role.saturating_sub(1);
            io.u32(&mut role)?;
            io.check(role <= 2, bad, "a role from 0 to 2")?;
            self.role = role.saturating_add(1);
            return Ok(());
        }
        io.u32(&mut self.role)?;
        io.check(self.role <= 3, bad, "a role from 0 to 3")?;
        io.pad(4)?;
        let asks = kind == Kind::RoleRequest12;
        let mut generation = self.generation.unwrap_or(if asks { 0 } else { u64::MAX });
        io.u64(&mut generation)?;
        let none = if asks { self.role == 0 } else { generation == u64::MAX };
        self.generation = Some(generation).filter(|_| !none);
        Ok(())
    }
}

/// A controller has another role now.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct RoleStatus {
    /// As of [`Role`].
    #[cfg_attr(feature = "serde", serde(with = "As::<Named<RoleName>>"))]
    pub role: u32,
    /// 0 another is primary, 1 the switch was set up so, 2 an experimenter's.
    #[cfg_attr(feature = "serde", serde(with = "As::<Named<RoleReason>>"))]
    pub reason: u8,
    /// Which election this is of.
    #[cfg_attr(feature = "serde", serde(rename = "generation_id"))]
    pub generation: u64,
    /// What else is said of it.
    pub properties: Vec<RawProperty>,
}

impl RoleStatus {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        io.u32(&mut self.role)?;
        io.check(self.role <= 3, OfError::RoleRequestBadRole, "a role from 0 to 3")?;
        io.u8(&mut self.reason)?;
        io.pad(3)?;
        io.u64(&mut self.generation)?;
        kept(&mut self.properties, io)
    }
}

/// Which messages come unasked: of each kind, the reasons for which one comes, a bit each, to a secondary and to another
/// controller.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct AsyncConfig {
    /// Packet-in, port status, flow removed, role status, table status, requests forwarded: primary, then secondary.
    /// None: it is not said.
    #[cfg_attr(feature = "serde", serde(with = "As::<Record<AsyncKinds, Record<AsyncRoles, Option<Bits>>>>"))]
    pub masks: [[Option<u32>; 2]; 6],
    /// What else a switch says that comes unasked.
    pub properties: Vec<RawProperty>,
}

/// The kinds of messages, as upstream calls them.
pub(crate) const KINDS: [&str; 6] =
    ["PACKET_IN", "PORT_STATUS", "FLOW_REMOVED", "ROLE_STATUS", "TABLE_STATUS", "REQUESTFORWARD"];

/// The reasons that there are for each kind of message.
const KNOWN_REASONS: [u32; 6] = [0x3f, 7, 0x3f, 7, 0x18, 3];

/// The same of a version: those of packet-ins that OpenFlow 1.4 tells apart are one before.
fn known_reasons(place: usize, version: Version) -> u32 {
    let all = KNOWN_REASONS.get(place).copied().unwrap_or(0);
    if place == 0 && version < Version::V1_4 { all & 7 } else { all }
}

impl AsyncConfig {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>, kind: Kind) -> Done {
        let version = io.version;
        if !matches!(kind, Kind::GetAsyncReply14 | Kind::SetAsync14 | Kind::NxSetAsyncConfig2) {
            for (place, pair) in self.masks.iter_mut().take(3).enumerate() {
                for mask in pair {
                    let mut bits = mask.unwrap_or(0);
                    io.u32(&mut bits)?;
                    *mask = Some(bits & known_reasons(place, version));
                }
            }
            return Ok(());
        }
        let sets = kind != Kind::GetAsyncReply14;
        let mut all = (self.masks, core::mem::take(&mut self.properties));
        io.either(
            &mut all,
            |r| {
                let (mut masks, mut more) = ([[None; 2]; 6], Vec::new());
                while let Some(p) = Property::next_with(r, 8, 0xfffe)? {
                    // Types come in pairs: of the secondary, then of the primary.
                    let place = usize::try_from(p.kind).unwrap_or(usize::MAX);
                    let pair = masks.get_mut(place / 2).and_then(|pair| pair.get_mut(1usize.wrapping_sub(place % 2)));
                    match pair {
                        Some(mask) => {
                            let bits = p.u32()?;
                            let known = known_reasons(place / 2, version);
                            if bits & !known != 0 {
                                let name = KINDS.get(place / 2).unwrap_or(&"");
                                let what = "bad value";
                                tracing::warn!(target: "ofp_util", "{what} {bits:#x} for {name} (allowed mask {known:#x})");
                            }
                            if sets && bits & !known != 0 {
                                return Err(p.error(OfError::AsyncConfigInvalid, "known reasons"));
                            }
                            *mask = Some(bits);
                        }
                        None if sets => {
                            tracing::warn!(target: "ofp_util", "unknown async config property type {}", p.raw);
                            return Err(p.error(OfError::AsyncConfigUnsupported, "a kind of message"));
                        }
                        None => more.push(RawProperty::read(&p)?),
                    }
                }
                Ok((masks, more))
            },
            |(masks, more), w| {
                for (n, pair) in (0u64..).zip(masks) {
                    for (kind, mask) in [(0, pair[1]), (1, pair[0])] {
                        if let Some(mask) = mask {
                            w.property_u32(n.saturating_mul(2).saturating_add(kind), mask)?;
                        }
                    }
                }
                Kept::write_all(more, w)
            },
        )?;
        (self.masks, self.properties) = all;
        Ok(())
    }
}

/// Begins, closes and ends a bundle.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct BundleControl {
    /// Which bundle.
    #[cfg_attr(feature = "serde", serde(rename = "bundle_id"))]
    pub bundle: u32,
    /// `OFPBCT_*`: 0 open, 2 close, 4 commit, 6 discard, and each one's reply behind it.
    #[cfg_attr(feature = "serde", serde(rename = "type", with = "As::<Named<BundleType>>"))]
    pub kind: u16,
    /// 1 atomic, 2 in order.
    #[cfg_attr(feature = "serde", serde(with = "As::<Flags<BundleFlags>>"))]
    pub flags: u16,
    /// What else is said of it, from OpenFlow 1.4 on.
    pub properties: Vec<RawProperty>,
}

impl BundleControl {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        io.u32(&mut self.bundle)?;
        io.u16(&mut self.kind)?;
        io.u16(&mut self.flags)?;
        kept(&mut self.properties, io)
    }
}

/// Adds a message to a bundle.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct BundleAdd {
    /// Which bundle.
    #[cfg_attr(feature = "serde", serde(rename = "bundle_id"))]
    pub bundle: u32,
    /// 1 atomic, 2 in order.
    #[cfg_attr(feature = "serde", serde(with = "As::<Flags<BundleFlags>>"))]
    pub flags: u16,
    /// The message, whole; version and xid must be those of this one.
    #[cfg_attr(feature = "serde", serde(with = "As::<Nested>"))]
    pub message: Vec<u8>,
    /// What else is said of it. The message is padded to 8 bytes then.
    pub properties: Vec<RawProperty>,
}

/// Reads the message that a bundle is to have, and what is said of it.
fn read_bundled(r: &mut Reader<'_>, version: Version) -> Result<(Vec<u8>, Vec<RawProperty>), DecodeError> {
    let (start, all) = (r.place(), r.peek());
    let bad = |error| start.error(error, "a message that bundles may have");
    let header = Header::decode(all).map_err(|_| bad(OfError::BundleMsgBadLen))?;
    if header.version != version {
        return Err(bad(OfError::BundleBadVersion));
    }
    let len = usize::from(header.length);
    let Some(message) = all.get(..len).filter(|_| len >= Header::LEN) else {
        return Err(bad(OfError::BundleMsgBadLen));
    };
    let kind = Kind::of_bytes(message)?;
    let fits = [MessageKind::PortMod, MessageKind::FlowMod, MessageKind::GroupMod, MessageKind::PacketOut];
    if !fits.contains(&kind.of()) {
        let (name, what) = (kind.name(), "message not allowed inside OFPT14_BUNDLE_ADD_MESSAGE");
        tracing::warn!(target: "ofp_bundle", "{name} {what}");
        return Err(bad(OfError::BundleMsgUnsup));
    }
    let padded = len.checked_next_multiple_of(8).unwrap_or(len);
    r.skip(padded.min(all.len()))?;
    Ok((message.to_vec(), read_raw(r)?))
}

impl BundleAdd {
    /// As [`pass`](Self::pass) reads it: of the messages that are read by passes, the one that there may be a million of.
    pub(super) fn read(r: &mut Reader<'_>, version: Version) -> Result<BundleAdd, DecodeError> {
        let bundle = r.u32()?;
        r.skip(2)?;
        let flags = r.u16()?;
        let (message, properties) = read_bundled(r, version)?;
        Ok(BundleAdd { bundle, flags, message, properties })
    }

    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        io.u32(&mut self.bundle)?;
        io.pad(2)?;
        io.u16(&mut self.flags)?;
        let version = io.version;
        let mut both = (core::mem::take(&mut self.message), core::mem::take(&mut self.properties));
        io.either(
            &mut both,
            |r| read_bundled(r, version),
            |(message, properties), w| {
                w.bytes(message);
                if !properties.is_empty() {
                    let len = message.len();
                    w.zeros(len.checked_next_multiple_of(8).unwrap_or(len).saturating_sub(len));
                }
                Kept::write_all(properties, w)
            },
        )?;
        (self.message, self.properties) = both;
        Ok(())
    }
}

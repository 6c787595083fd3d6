//! Flow monitors: what a controller asks to be told of changes of the flow tables, and what it is told.
//!
//! Nicira's messages serve OpenFlow 1.0 to 1.2, the ONF's 1.3; from 1.4 on there are standard ones, which alone can
//! change a monitor, confine it to a group, and tell flows that were there before. They cancel monitors by a request
//! and tell of pauses in a reply, where the others have messages of their own.

use bitflags::bitflags;
use ovs_packet::{Match, OfPort};

use super::check::settle;
use super::cursor::{Reader, Shape, Writer};
use super::error::{DecodeError, EncodeError, OfError};
use super::flow::OFPG_ANY;
use super::header::Version;
use super::io::read_port;
use super::kind::Kind;
use super::oxm::Reading;
use super::{action, instruction, matching, oxm};
use crate::action::Instructions;
use crate::flow_mod::ALL_TABLES;
#[cfg(feature = "serde")]
use crate::json::form::*;

bitflags! {
    /// What a monitor tells, as OpenFlow 1.4 numbers it (`OFPFMF_*`).
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct MonitorFlags: u16 {
        /// The flows that are there.
        const INITIAL = 1;
        /// Flows that are added.
        const ADD = 2;
        /// Flows that end.
        const REMOVED = 4;
        /// Flows that change.
        const MODIFY = 8;
        /// What the flows do.
        const INSTRUCTIONS = 16;
        /// The controller's own changes: Nicira's and the ONF's `OWN`, with which they are told in full, and
        /// OpenFlow 1.4's `ONLY_OWN`, as which upstream sends it.
        const OWN = 64;
    }
}

impl MonitorFlags {
    /// `OWN` of Nicira and the ONF.
    const OLD_OWN: u16 = 32;

    fn to_old(self) -> u16 {
        let own = if self.contains(MonitorFlags::OWN) { Self::OLD_OWN } else { 0 };
        self.difference(MonitorFlags::OWN).bits() | own
    }

    fn from_old(bits: u16) -> Option<MonitorFlags> {
        let own = if bits & Self::OLD_OWN != 0 { MonitorFlags::OWN } else { MonitorFlags::empty() };
        MonitorFlags::from_bits(bits & !Self::OLD_OWN).filter(|f| !f.contains(MonitorFlags::OWN)).map(|f| f | own)
    }

    fn read(r: &mut Reader<'_>, old: bool) -> Result<MonitorFlags, DecodeError> {
        let start = r.clone();
        let bits = r.u16()?;
        let flags = if old { MonitorFlags::from_old(bits) } else { MonitorFlags::from_bits(bits) };
        flags
            .filter(|f| f.intersects(MonitorFlags::ADD | MonitorFlags::REMOVED | MonitorFlags::MODIFY))
            .ok_or_else(|| start.error(OfError::FlowMonitorBadFlags, "a kind of change, and known flags"))
    }
}

/// What a request does with a monitor (`OFPFMC_*`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum MonitorCommand {
    /// Begins it.
    #[default]
    Add,
    /// Changes it; from OpenFlow 1.4 on.
    Modify,
    /// Ends it; from OpenFlow 1.4 on.
    Delete,
}

/// Asks to be told of changes of flows.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct FlowMonitorRequest {
    /// The controller's number of the monitor.
    #[cfg_attr(feature = "serde", serde(rename = "monitor_id"))]
    pub id: u32,
    /// What to do with it. Of one that ends, the rest says nothing.
    pub command: MonitorCommand,
    /// What it tells.
    #[cfg_attr(feature = "serde", serde(with = "As::<Set>"))]
    pub flags: MonitorFlags,
    /// Only flows that output to this port; [`OfPort::ANY`] is all.
    pub out_port: OfPort,
    /// Only flows that output to this group; 0xffffffff is all.
    #[cfg_attr(feature = "serde", serde(with = "As::<Named<GroupId>>"))]
    pub out_group: u32,
    /// The table, or [`ALL_TABLES`].
    #[cfg_attr(feature = "serde", serde(rename = "table_id"))]
    pub table: u8,
    /// Only flows within this match.
    #[cfg_attr(feature = "serde", serde(rename = "match"))]
    pub matching: Match,
}

impl Default for FlowMonitorRequest {
    fn default() -> Self {
        FlowMonitorRequest {
            id: 0,
            command: MonitorCommand::Add,
            flags: MonitorFlags::all(),
            out_port: OfPort::ANY,
            out_group: OFPG_ANY,
            table: ALL_TABLES,
            matching: Match::ANY,
        }
    }
}

impl FlowMonitorRequest {
    /// A request that ends monitor number `id`.
    pub fn delete(id: u32) -> FlowMonitorRequest {
        FlowMonitorRequest { id, command: MonitorCommand::Delete, ..FlowMonitorRequest::default() }
    }

    pub(super) fn write(&self, w: &mut Writer, version: Version, kind: Kind) -> Result<(), EncodeError> {
        let standard = kind == Kind::StatsFlowMonitorRequest14;
        if !standard && (self.command != MonitorCommand::Add || self.out_group != OFPG_ANY) {
            return Err(EncodeError::NotInVersion { version: version.0, what: "this of a flow monitor" });
        }
        w.u32(self.id);
        match kind {
            Kind::NxStatsFlowMonitorRequest => {
                w.u16(self.flags.to_old());
                w.u16(self.out_port.to_16().ok_or(EncodeError::Port(self.out_port.0))?);
                let at = w.len();
                w.zeros(2);
                w.u8(self.table);
                w.zeros(5);
                let len = oxm::write_nxm(&self.matching, w, None)?;
                w.patch_u16(at, len);
                Ok(())
            }
            Kind::OnfStatsFlowMonitorRequest13 => {
                w.u16(self.flags.to_old());
                let at = w.len();
                w.zeros(2);
                w.u32(self.out_port.0);
                w.u8(self.table);
                w.zeros(3);
                let start = w.len();
                matching::write(&self.matching, w, version)?;
                w.patch_u16(at, length_of_match(w, start));
                Ok(())
            }
            _ => {
                w.u32(self.out_port.0);
                w.u32(self.out_group);
                w.u16(self.flags.bits());
                w.u8(self.table);
                w.u8(match self.command {
                    MonitorCommand::Add => 0,
                    MonitorCommand::Modify => 1,
                    MonitorCommand::Delete => 2,
                });
                matching::write(&self.matching, w, version)
            }
        }
    }

    pub(super) fn read(r: &mut Reader<'_>, kind: Kind) -> Result<FlowMonitorRequest, DecodeError> {
        let mut m = FlowMonitorRequest { id: r.u32()?, ..FlowMonitorRequest::default() };
        let zeros = |r: &mut Reader<'_>, n| {
            let start = r.clone();
            match r.bytes(n)?.iter().all(|b| *b == 0) {
                true => Ok(()),
                false => Err(start.error(OfError::BadRequestMustBeZero, "zeros")),
            }
        };
        match kind {
            Kind::NxStatsFlowMonitorRequest => {
                m.flags = MonitorFlags::read(r, true)?;
                m.out_port = OfPort::from_16(r.u16()?);
                let len = r.u16()?;
                m.table = r.u8()?;
                zeros(r, 5)?;
                oxm::read_nxm(r, len.into(), Reading::STRICT, &mut m.matching)?;
            }
            Kind::OnfStatsFlowMonitorRequest13 => {
                m.flags = MonitorFlags::read(r, true)?;
                r.skip(2)?;
                m.out_port = read_port(r)?;
                m.table = r.u8()?;
                zeros(r, 3)?;
                matching::read(r, Reading::STRICT, &mut m.matching)?;
            }
            _ => {
                let mut tail = r.clone();
                tail.skip(11)?;
                let at_command = tail.clone();
                m.command = match tail.u8()? {
                    0 => MonitorCommand::Add,
                    1 => MonitorCommand::Modify,
                    2 => MonitorCommand::Delete,
                    _ => return Err(at_command.error(OfError::FlowMonitorBadCommand, "a command from 0 to 2")),
                };
                if m.command == MonitorCommand::Delete {
                    *r = tail;
                    // Upstream leaves the match away.
                    if !r.is_empty() {
                        matching::read(r, Reading::STRICT, &mut m.matching)?;
                        m.matching = Match::ANY;
                    }
                    return Ok(m);
                }
                m.out_port = read_port(r)?;
                m.out_group = r.u32()?;
                m.flags = MonitorFlags::read(r, false)?;
                m.table = r.u8()?;
                r.skip(1)?;
                matching::read(r, Reading::STRICT, &mut m.matching)?;
            }
        }
        Ok(m)
    }
}

/// The length in the match that was written at `start`, which its padding is not in.
fn length_of_match(w: &Writer, start: usize) -> u16 {
    let len = w.written().get(start.saturating_add(2)..).and_then(|b| b.first_chunk::<2>());
    len.map_or(0, |b| u16::from_be_bytes(*b))
}

/// What happened to a flow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum FlowEvent {
    /// It was there when the monitor began; before OpenFlow 1.4, it was added.
    Initial,
    /// It was added.
    Added,
    /// It ended, for this reason (`OFPRR_*`).
    Removed(#[cfg_attr(feature = "serde", serde(with = "As::<Named<RemovedReason>>"))] u8),
    /// What it does changed.
    Modified,
}

/// A change of a flow, in full.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct FlowChange {
    /// What happened.
    pub event: FlowEvent,
    /// Its table.
    #[cfg_attr(feature = "serde", serde(rename = "table_id"))]
    pub table: u8,
    /// Its priority.
    pub priority: u16,
    /// Its idle timeout.
    pub idle_timeout: u16,
    /// Its hard timeout.
    pub hard_timeout: u16,
    /// Its cookie.
    #[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))]
    pub cookie: u64,
    /// What it matches.
    #[cfg_attr(feature = "serde", serde(rename = "match"))]
    pub matching: Match,
    /// What it does, if that was asked for.
    pub instructions: Instructions,
}

impl Default for FlowChange {
    fn default() -> Self {
        FlowChange {
            event: FlowEvent::Added,
            table: 0,
            priority: crate::flow_mod::DEFAULT_PRIORITY,
            idle_timeout: 0,
            hard_timeout: 0,
            cookie: 0,
            matching: Match::ANY,
            instructions: Instructions::default(),
        }
    }
}

/// What a monitor tells.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum FlowUpdate {
    /// A flow changed.
    Change(Box<FlowChange>),
    /// The request with this xid, of the controller that is told, was carried out.
    Abbreviated(u32),
    /// From here on changes are not told (OpenFlow 1.4 and later).
    #[default]
    Paused,
    /// They are again.
    Resumed,
}

const UPDATE: Shape = Shape { what: "a change of a flow", length_at: 0, align: 8, count_padding: true };
/// Length of an update before its match.
const FULL: usize = 24;

impl FlowUpdate {
    pub(super) fn write(&self, w: &mut Writer, version: Version, kind: Kind) -> Result<(), EncodeError> {
        let standard = kind == Kind::StatsFlowMonitorReply14;
        let lacks = |what| Err(EncodeError::NotInVersion { version: version.0, what });
        w.prefixed(UPDATE, |w| {
            w.zeros(2);
            match self {
                FlowUpdate::Change(c) => c.write(w, version, kind),
                FlowUpdate::Abbreviated(xid) => {
                    w.u16(if standard { 4 } else { 3 });
                    w.u32(*xid);
                    Ok(())
                }
                FlowUpdate::Paused | FlowUpdate::Resumed if !standard => lacks("a pause of a monitor in a reply"),
                FlowUpdate::Paused | FlowUpdate::Resumed => {
                    w.u16(if *self == FlowUpdate::Paused { 5 } else { 6 });
                    w.zeros(4);
                    Ok(())
                }
            }
        })
    }

    pub(super) fn read(r: &mut Reader<'_>, version: Version, kind: Kind) -> Result<FlowUpdate, DecodeError> {
        let standard = kind == Kind::StatsFlowMonitorReply14;
        let start = r.clone();
        let short = || start.error(OfError::BadRequestBadLength, "the length of an update");
        let len = usize::from(r.clone().u16()?);
        if len < 8 || len > r.len() || !len.is_multiple_of(8) {
            return Err(short());
        }
        let mut r = r.sub(len)?;
        r.skip(2)?;
        // The others lack the first event.
        let event = match r.u16()? {
            event if standard => event,
            event @ 0..=3 => event.saturating_add(1),
            _ => u16::MAX,
        };
        let event = match event {
            4..=6 if len != 8 => return Err(short()),
            4 => return Ok(FlowUpdate::Abbreviated(r.u32()?)),
            5 => return Ok(FlowUpdate::Paused),
            6 => return Ok(FlowUpdate::Resumed),
            0..=3 if len < FULL => return Err(short()),
            0 => FlowEvent::Initial,
            1 => FlowEvent::Added,
            2 => FlowEvent::Removed(0),
            3 => FlowEvent::Modified,
            _ => return Err(start.error(OfError::BadRequestFmBadEvent, "an event that is known")),
        };
        FlowChange::read(&mut r, version, kind, event).map(|c| FlowUpdate::Change(Box::new(c)))
    }
}

impl FlowChange {
    fn write(&self, w: &mut Writer, version: Version, kind: Kind) -> Result<(), EncodeError> {
        let standard = kind == Kind::StatsFlowMonitorReply14;
        let (event, reason) = match self.event {
            FlowEvent::Initial => (0, 0),
            FlowEvent::Added => (1, 0),
            FlowEvent::Removed(reason) => (2u16, reason),
            FlowEvent::Modified => (3, 0),
        };
        if standard {
            w.u16(event);
            w.u8(self.table);
            w.u8(reason);
            w.u16(self.idle_timeout);
            w.u16(self.hard_timeout);
            w.u16(self.priority);
            w.zeros(4);
            w.u64(self.cookie);
            matching::write(&self.matching, w, version)?;
            return instruction::encode(&self.instructions, w, version);
        }
        w.u16(event.saturating_sub(1));
        w.u16(reason.into());
        w.u16(self.priority);
        w.u16(self.idle_timeout);
        w.u16(self.hard_timeout);
        let at = w.len();
        w.zeros(2);
        w.u8(self.table);
        w.zeros(1);
        w.u64(self.cookie);
        if kind == Kind::NxStatsFlowMonitorReply {
            let len = oxm::write_nxm(&self.matching, w, None)?;
            w.patch_u16(at, len);
            let Instructions { meter: None, apply, clear: false, write: None, metadata: None, goto: None } =
                &self.instructions
            else {
                return Err(EncodeError::NotInVersion { version: version.0, what: "instructions in a flow monitor" });
            };
            return action::encode(apply, w, version, 0);
        }
        let start = w.len();
        matching::write(&self.matching, w, version)?;
        w.patch_u16(at, length_of_match(w, start));
        instruction::encode(&self.instructions, w, version)
    }

    fn read(r: &mut Reader<'_>, version: Version, kind: Kind, event: FlowEvent) -> Result<FlowChange, DecodeError> {
        let start = r.clone();
        let mut c = FlowChange { event, ..FlowChange::default() };
        let removed = |reason: u16| match event {
            FlowEvent::Removed(_) => FlowEvent::Removed(reason.try_into().unwrap_or(u8::MAX)),
            event => event,
        };
        if kind == Kind::StatsFlowMonitorReply14 {
            c.table = r.u8()?;
            c.event = removed(r.u8()?.into());
            (c.idle_timeout, c.hard_timeout, c.priority) = (r.u16()?, r.u16()?, r.u16()?);
            r.skip(4)?;
            c.cookie = r.u64()?;
            matching::read(r, Reading::STRICT, &mut c.matching)?;
        } else {
            c.event = removed(r.u16()?);
            (c.priority, c.idle_timeout, c.hard_timeout) = (r.u16()?, r.u16()?, r.u16()?);
            let len = usize::from(r.u16()?);
            c.table = r.u8()?;
            r.skip(1)?;
            c.cookie = r.u64()?;
            if len > r.len() {
                return Err(start.error(OfError::BadRequestBadLength, "a match within the update"));
            }
            if kind == Kind::NxStatsFlowMonitorReply {
                oxm::read_nxm(r, len, Reading::STRICT, &mut c.matching)?;
            } else {
                matching::read(r, Reading::STRICT, &mut c.matching)?;
            }
        }
        c.instructions = match kind {
            Kind::NxStatsFlowMonitorReply => Instructions::apply(action::decode(r.sub(r.len())?, version, 0)?),
            _ => instruction::decode(r, version)?,
        };
        settle(&c.matching, &mut c.instructions);
        Ok(c)
    }
}

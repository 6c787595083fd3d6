//! Flow modifications, what is said of flows that end, and flow statistics, in all versions.

use std::time::Duration;

use ovs_packet::{Match, OfPort};

use super::check::{check_loosely, settle};
use super::cursor::{Reader, Shape, Writer};
use super::error::{DecodeError, EncodeError, OfError};
use super::header::Version;
use super::io::read_port;
use super::kind::Kind;
use super::oxm::Reading;
use super::{instruction, matching, oxm};
use crate::action::Instructions;
use crate::flow_mod::{ALL_TABLES, FlowMod, FlowModCommand, FlowModFlags};

/// Of a group number: none, or in a request every one.
pub(super) const OFPG_ANY: u32 = 0xffff_ffff;

fn command(code: u8) -> Option<FlowModCommand> {
    Some(match code {
        0 => FlowModCommand::Add,
        1 => FlowModCommand::Modify,
        2 => FlowModCommand::ModifyStrict,
        3 => FlowModCommand::Delete,
        4 => FlowModCommand::DeleteStrict,
        _ => return None,
    })
}

fn code(command: FlowModCommand) -> u8 {
    match command {
        FlowModCommand::Add => 0,
        FlowModCommand::Modify => 1,
        FlowModCommand::ModifyStrict => 2,
        FlowModCommand::Delete => 3,
        FlowModCommand::DeleteStrict => 4,
    }
}

fn deletes(command: FlowModCommand) -> bool {
    matches!(command, FlowModCommand::Delete | FlowModCommand::DeleteStrict)
}

/// The flags that a version has.
fn flags_of(version: Version) -> FlowModFlags {
    let old = FlowModFlags::SEND_FLOW_REM | FlowModFlags::CHECK_OVERLAP;
    match version {
        v if v >= Version::V1_3 => FlowModFlags::all(),
        v if v >= Version::V1_2 => old | FlowModFlags::RESET_COUNTS,
        _ => old,
    }
}

fn read_flags(r: &mut Reader<'_>, version: Version) -> Result<FlowModFlags, DecodeError> {
    let at = r.clone();
    FlowModFlags::from_bits(r.u16()?)
        .filter(|f| flags_of(version).contains(*f))
        .ok_or_else(|| at.error(OfError::FlowModBadFlags, "flags of this version"))
}

fn write_flags(flags: FlowModFlags, w: &mut Writer, version: Version) -> Result<(), EncodeError> {
    // Earlier versions reset no counts when a flow is added: what is not asked there is done.
    let sent = flags & flags_of(version);
    match flags.difference(sent).is_empty() {
        true => {
            w.u16(sent.bits());
            Ok(())
        }
        false => Err(EncodeError::NotInVersion { version: version.0, what: "a flag of a flow" }),
    }
}

/// A 16-bit port number as those of OpenFlow 1.0.
fn read_port16(r: &mut Reader<'_>) -> Result<OfPort, DecodeError> {
    Ok(OfPort::from_16(r.u16()?))
}

fn write_port16(port: OfPort, w: &mut Writer) -> Result<(), EncodeError> {
    w.u16(port.to_16().ok_or(EncodeError::Port(port.0))?);
    Ok(())
}

impl FlowMod {
    /// Whether [`FlowMod`] needs Nicira's message in OpenFlow 1.0: its match or its cookies have no place in the other.
    pub(super) fn needs_nxm(&self) -> bool {
        self.cookie_mask != 0 || matching::write_10(&self.matching, &mut Writer::new()).is_err()
    }

    pub(super) fn write(&self, w: &mut Writer, version: Version, kind: Kind) -> Result<(), EncodeError> {
        let adds = self.command == FlowModCommand::Add;
        if self.importance != 0 && (version < Version::V1_4 || !adds) {
            return Err(EncodeError::NotInVersion { version: version.0, what: "the importance of a flow" });
        }
        // The cookie that flows get; all ones leave theirs.
        let new_cookie = if adds { self.cookie } else { self.new_cookie.unwrap_or(u64::MAX) };
        let command = code(self.command);
        let tabled = u16::from(self.table) << 8 | u16::from(command);
        match kind {
            Kind::FlowMod10 => {
                if !adds && self.cookie_mask != 0 {
                    return Err(EncodeError::NotInVersion { version: version.0, what: "flows by their cookie" });
                }
                matching::write_10(&self.matching, w)?;
                w.u64(new_cookie);
                w.u16(tabled);
                w.u16(self.idle_timeout);
                w.u16(self.hard_timeout);
                w.u16(self.priority);
                w.u32(self.buffer_id);
                write_port16(self.out_port, w)?;
                write_flags(self.flags, w, version)?;
            }
            Kind::NxFlowMod => {
                w.u64(new_cookie);
                w.u16(tabled);
                w.u16(self.idle_timeout);
                w.u16(self.hard_timeout);
                w.u16(self.priority);
                w.u32(self.buffer_id);
                write_port16(self.out_port, w)?;
                write_flags(self.flags, w, version)?;
                let at = w.len();
                w.zeros(8);
                let cookie = Some((self.cookie, self.cookie_mask)).filter(|_| !adds);
                let len = oxm::write_nxm(&self.matching, w, cookie)?;
                w.patch_u16(at, len);
            }
            _ => {
                if self.new_cookie.is_some() && !adds && !(version == Version::V1_1 && self.cookie_mask == 0) {
                    return Err(EncodeError::NotInVersion { version: version.0, what: "a change of cookies" });
                }
                let modifies = !adds && !deletes(self.command);
                let by_new = version == Version::V1_1 && modifies && self.cookie_mask == 0;
                w.u64(if by_new { new_cookie } else { self.cookie });
                w.u64(self.cookie_mask);
                w.u8(self.table);
                w.u8(command);
                w.u16(self.idle_timeout);
                w.u16(self.hard_timeout);
                w.u16(self.priority);
                w.u32(self.buffer_id);
                // Only deletions have a port and a group to confine themselves to.
                w.u32(if deletes(self.command) { self.out_port } else { OfPort::ANY }.0);
                w.u32(if deletes(self.command) { self.out_group } else { OFPG_ANY });
                write_flags(self.flags, w, version)?;
                w.u16(self.importance);
                matching::write(&self.matching, w, version)?;
            }
        }
        instruction::encode(&self.instructions, w, version)
    }

    /// The table stands in the upper half of the command in OpenFlow 1.0, where the extension for that is on; a
    /// controller that did not turn it on sends 0 there.
    pub(super) fn read(r: &mut Reader<'_>, version: Version, kind: Kind) -> Result<FlowMod, DecodeError> {
        let bad_command = |at: &Reader<'_>| at.error(OfError::FlowModBadCommand, "a command from 0 to 4");
        let mut fm = FlowMod::default();
        match kind {
            Kind::FlowMod10 | Kind::NxFlowMod => {
                if kind == Kind::FlowMod10 {
                    fm.matching = matching::read_10(r)?;
                }
                let cookie = r.u64()?;
                let at_command = r.clone();
                let tabled = r.u16()?;
                fm.table = (tabled >> 8) as u8;
                fm.command = command((tabled & 0xff) as u8).ok_or_else(|| bad_command(&at_command))?;
                fm.idle_timeout = r.u16()?;
                fm.hard_timeout = r.u16()?;
                fm.priority = r.u16()?;
                fm.buffer_id = r.u32()?;
                fm.out_port = read_port16(r)?;
                let at_flags = r.clone();
                let emergency = r.clone().u16()? & 4 != 0;
                if emergency {
                    let error = match fm.hard_timeout != 0 || fm.idle_timeout != 0 {
                        true => OfError::FlowModBadEmergTimeout,
                        false => OfError::FlowModTableFull,
                    };
                    return Err(at_flags.error(error, "no emergency flow"));
                }
                fm.flags = read_flags(r, version)?;
                let mut by_cookie = None;
                if kind == Kind::NxFlowMod {
                    let at_match = r.clone();
                    let len = r.u16()?;
                    r.skip(6)?;
                    (fm.matching, by_cookie) = oxm::read_nxm(r, len.into(), Reading { loose: false, cookie: true })?;
                    if by_cookie.is_some_and(|(_, mask)| mask != 0) && fm.command == FlowModCommand::Add {
                        return Err(at_match.error(OfError::BadRequestNxmInvalid, "no cookie to match in an addition"));
                    }
                }
                if fm.command == FlowModCommand::Add {
                    fm.cookie = cookie;
                } else {
                    fm.new_cookie = Some(cookie).filter(|c| *c != u64::MAX);
                    (fm.cookie, fm.cookie_mask) = by_cookie.unwrap_or((0, 0));
                }
            }
            _ => {
                fm.cookie = r.u64()?;
                fm.cookie_mask = r.u64()?;
                let at_table = r.clone();
                fm.table = r.u8()?;
                let at_command = r.clone();
                fm.command = command(r.u8()?).ok_or_else(|| bad_command(&at_command))?;
                let (adds, deletes) = (fm.command == FlowModCommand::Add, deletes(fm.command));
                if fm.table == ALL_TABLES && (version == Version::V1_1 || !deletes) {
                    return Err(at_table.error(OfError::FlowModBadTable, "a table below 255"));
                }
                if adds {
                    fm.cookie_mask = 0;
                } else if version == Version::V1_1 && !deletes && fm.cookie_mask == 0 {
                    fm.new_cookie = Some(core::mem::take(&mut fm.cookie));
                }
                fm.idle_timeout = r.u16()?;
                fm.hard_timeout = r.u16()?;
                fm.priority = r.u16()?;
                fm.buffer_id = r.u32()?;
                fm.out_port = Some(read_port(r)?).filter(|_| deletes).unwrap_or(OfPort::ANY);
                fm.out_group = Some(r.u32()?).filter(|_| deletes).unwrap_or(OFPG_ANY);
                fm.flags = read_flags(r, version)?;
                fm.importance = Some(r.u16()?).filter(|_| version >= Version::V1_4 && adds).unwrap_or(0);
                fm.matching = matching::read(r, false)?;
            }
        }
        let at_instructions = r.clone();
        fm.instructions = instruction::decode(r, version)?;
        settle(&fm.matching, &mut fm.instructions);
        if !deletes(fm.command) {
            let what = "instructions that fit the match and the table";
            let fits = check_loosely(&fm.matching, fm.table, &fm.instructions);
            if !fits.map_err(|e| at_instructions.error(e, what))? && version != Version::V1_0 {
                return Err(at_instructions.error(OfError::BadActionMatchInconsistent, what));
            }
        }
        Ok(fm)
    }
}

/// Asks for the statistics of flows (OFPMP_FLOW), or for their sums (OFPMP_AGGREGATE).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FlowStatsRequest {
    /// The table, or [`ALL_TABLES`].
    pub table: u8,
    /// Only flows that output to this port; [`OfPort::ANY`] is all.
    pub out_port: OfPort,
    /// Only flows that output to this group; 0xffffffff is all.
    pub out_group: u32,
    /// Only flows whose cookie agrees in the bits of the mask.
    pub cookie: u64,
    /// The bits of the cookie that must agree.
    pub cookie_mask: u64,
    /// Only flows within this match.
    pub matching: Match,
}

impl Default for FlowStatsRequest {
    fn default() -> Self {
        FlowStatsRequest {
            table: ALL_TABLES,
            out_port: OfPort::ANY,
            out_group: OFPG_ANY,
            cookie: 0,
            cookie_mask: 0,
            matching: Match::ANY,
        }
    }
}

impl FlowStatsRequest {
    pub(super) fn needs_nxm(&self) -> bool {
        self.cookie_mask != 0 || matching::write_10(&self.matching, &mut Writer::new()).is_err()
    }

    pub(super) fn write(&self, w: &mut Writer, version: Version, kind: Kind) -> Result<(), EncodeError> {
        if version == Version::V1_0 && self.out_group != OFPG_ANY {
            return Err(EncodeError::NotInVersion { version: version.0, what: "flows by their group" });
        }
        match kind {
            Kind::StatsFlowRequest10 | Kind::StatsAggregateRequest10 => {
                if self.cookie_mask != 0 {
                    return Err(EncodeError::NotInVersion { version: version.0, what: "flows by their cookie" });
                }
                matching::write_10(&self.matching, w)?;
                w.u8(self.table);
                w.zeros(1);
                write_port16(self.out_port, w)
            }
            Kind::NxStatsFlowRequest | Kind::NxStatsAggregateRequest => {
                write_port16(self.out_port, w)?;
                let at = w.len();
                w.zeros(2);
                w.u8(self.table);
                w.zeros(3);
                let len = oxm::write_nxm(&self.matching, w, Some((self.cookie, self.cookie_mask)))?;
                w.patch_u16(at, len);
                Ok(())
            }
            _ => {
                w.u8(self.table);
                w.zeros(3);
                w.u32(self.out_port.0);
                w.u32(self.out_group);
                w.zeros(4);
                w.u64(self.cookie);
                w.u64(self.cookie_mask);
                matching::write(&self.matching, w, version)
            }
        }
    }

    pub(super) fn read(r: &mut Reader<'_>, kind: Kind) -> Result<Self, DecodeError> {
        let mut request = FlowStatsRequest::default();
        match kind {
            Kind::StatsFlowRequest10 | Kind::StatsAggregateRequest10 => {
                request.matching = matching::read_10(r)?;
                request.table = r.u8()?;
                r.skip(1)?;
                request.out_port = read_port16(r)?;
            }
            Kind::NxStatsFlowRequest | Kind::NxStatsAggregateRequest => {
                request.out_port = read_port16(r)?;
                let len = r.u16()?;
                request.table = r.u8()?;
                r.skip(3)?;
                let how = Reading { loose: false, cookie: true };
                let (m, cookie) = oxm::read_nxm(r, len.into(), how)?;
                request.matching = m;
                (request.cookie, request.cookie_mask) = cookie.unwrap_or((0, 0));
                if !r.is_empty() {
                    return Err(r.error(OfError::BadRequestBadLength, "the end of the request"));
                }
            }
            _ => {
                request.table = r.u8()?;
                r.skip(3)?;
                request.out_port = read_port(r)?;
                request.out_group = r.u32()?;
                r.skip(4)?;
                request.cookie = r.u64()?;
                request.cookie_mask = r.u64()?;
                request.matching = matching::read(r, false)?;
                if kind == Kind::StatsAggregateRequest15 {
                    // Which statistics are asked for: all of them are told.
                    r.remaining();
                }
            }
        }
        Ok(request)
    }
}

/// The sums of the statistics of flows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[non_exhaustive]
pub struct AggregateStats {
    /// Packets; all ones if nobody counts.
    pub packets: u64,
    /// Bytes; all ones if nobody counts.
    pub bytes: u64,
    /// Flows.
    pub flows: u32,
}

impl AggregateStats {
    pub(super) fn write(&self, w: &mut Writer, kind: Kind) -> Result<(), EncodeError> {
        if kind == Kind::StatsAggregateReply15 {
            let oxs = Oxs { packets: self.packets, bytes: self.bytes, flows: self.flows, ..Oxs::default() };
            return oxs.write(w);
        }
        w.u64(self.packets);
        w.u64(self.bytes);
        w.u32(self.flows);
        w.zeros(4);
        Ok(())
    }

    pub(super) fn read(r: &mut Reader<'_>, kind: Kind) -> Result<Self, DecodeError> {
        if kind == Kind::StatsAggregateReply15 {
            let oxs = Oxs::read(r)?;
            return Ok(AggregateStats { packets: oxs.packets, bytes: oxs.bytes, flows: oxs.flows });
        }
        let stats = AggregateStats { packets: r.u64()?, bytes: r.u64()?, flows: r.u32()? };
        r.skip(4)?;
        Ok(stats)
    }
}

/// Statistics as TLVs, as OpenFlow 1.5 has them. All ones are not there.
struct Oxs {
    duration: Option<Duration>,
    idle: Option<u32>,
    packets: u64,
    bytes: u64,
    flows: u32,
}

impl Default for Oxs {
    fn default() -> Self {
        Oxs { duration: None, idle: None, packets: u64::MAX, bytes: u64::MAX, flows: u32::MAX }
    }
}

const OXS_CLASS: u16 = 0x8002;
const OXS: Shape = Shape { what: "statistics", length_at: 2, align: 8, count_padding: false };

fn seconds(d: Duration) -> u32 {
    d.as_secs().try_into().unwrap_or(u32::MAX)
}

impl Oxs {
    fn write(&self, w: &mut Writer) -> Result<(), EncodeError> {
        w.prefixed(OXS, |w| {
            w.zeros(4);
            let mut put = |field: u8, value: u64, bytes: u8| {
                w.u16(OXS_CLASS);
                w.u8(field << 1);
                w.u8(bytes);
                w.uint(value.into(), bytes.into());
            };
            if let Some(d) = self.duration {
                put(0, u64::from(seconds(d)) << 32 | u64::from(d.subsec_nanos()), 8);
            }
            if let Some(idle) = self.idle {
                put(1, u64::from(idle) << 32, 8);
            }
            for (field, value) in [(4, self.packets), (5, self.bytes)] {
                if value != u64::MAX {
                    put(field, value, 8);
                }
            }
            if self.flows != u32::MAX {
                put(3, self.flows.into(), 4);
            }
            Ok(())
        })
    }

    fn read(r: &mut Reader<'_>) -> Result<Oxs, DecodeError> {
        let start = r.clone().or(OfError::BadMatchBadLength);
        let mut all = start.clone();
        let (_, len) = (all.u16()?, usize::from(all.u16()?));
        let short = || start.error(OfError::BadMatchBadLength, "the length of statistics");
        let padded = len.checked_next_multiple_of(8).ok_or_else(short)?;
        if len < 4 || padded > r.len() {
            return Err(short());
        }
        r.skip(padded)?;
        let mut all = all.sub(len.saturating_sub(4))?;
        let mut oxs = Oxs::default();
        while !all.is_empty() {
            let start = all.clone();
            let (class, field, len) = (all.u16()?, all.u8()? >> 1, usize::from(all.u8()?));
            let mut value = all.sub(len)?;
            let known = class == OXS_CLASS && matches!(field, 0 | 1 | 3..=5);
            if known && len != if field == 3 { 4 } else { 8 } {
                return Err(start.error(OfError::BadMatchBadLength, "the length of a statistic"));
            }
            match field {
                _ if !known => {}
                0 => oxs.duration = Some(Duration::new(value.u32()?.into(), value.u32()?.min(999_999_999))),
                1 => oxs.idle = Some(value.u32()?),
                3 => oxs.flows = value.u32()?,
                4 => oxs.packets = value.u64()?,
                _ => oxs.bytes = value.u64()?,
            }
        }
        Ok(oxs)
    }
}

/// A flow and what it has seen: one line of `dump-flows`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct FlowStats {
    /// Its table.
    pub table: u8,
    /// How long it has existed; what is beyond 2^32 seconds is not sent.
    pub duration: Duration,
    /// Its priority.
    pub priority: u16,
    /// Seconds without a packet after which it ends; 0 is never.
    pub idle_timeout: u16,
    /// Seconds after which it ends; 0 is never.
    pub hard_timeout: u16,
    /// How unwilling the switch is to evict it.
    pub importance: u16,
    /// Its flags; versions before 1.3 do not tell.
    pub flags: FlowModFlags,
    /// Seconds since its last packet, if that is told.
    pub idle_age: Option<u32>,
    /// Seconds since it was added or changed, if that is told.
    pub hard_age: Option<u32>,
    /// Its cookie.
    pub cookie: u64,
    /// Packets that met it; all ones if nobody counts.
    pub packets: u64,
    /// Bytes of those packets; all ones if nobody counts.
    pub bytes: u64,
    /// What it matches.
    pub matching: Match,
    /// What it does.
    pub instructions: Instructions,
}

const FLOW: Shape = Shape { what: "the statistics of a flow", length_at: 0, align: 8, count_padding: true };

impl FlowStats {
    pub(super) fn write(&self, w: &mut Writer, version: Version, kind: Kind) -> Result<(), EncodeError> {
        let (secs, nanos) = (seconds(self.duration), self.duration.subsec_nanos());
        w.prefixed(FLOW, |w| {
            w.zeros(2);
            let age = |age: Option<u32>| age.map_or(0, |a| a.saturating_add(1).try_into().unwrap_or(u16::MAX));
            let timeouts =
                |w: &mut Writer| [self.priority, self.idle_timeout, self.hard_timeout].iter().for_each(|v| w.u16(*v));
            let counts = |w: &mut Writer| [self.cookie, self.packets, self.bytes].iter().for_each(|v| w.u64(*v));
            match kind {
                Kind::StatsFlowReply10 => {
                    w.u8(self.table);
                    w.zeros(1);
                    matching::write_10(&self.matching, w)?;
                    w.u32(secs);
                    w.u32(nanos);
                    timeouts(w);
                    w.zeros(6);
                    counts(w);
                }
                Kind::NxStatsFlowReply => {
                    w.u8(self.table);
                    w.zeros(1);
                    w.u32(secs);
                    w.u32(nanos);
                    timeouts(w);
                    let at = w.len();
                    w.zeros(2);
                    w.u16(age(self.idle_age));
                    w.u16(age(self.hard_age));
                    counts(w);
                    let len = oxm::write_nxm(&self.matching, w, None)?;
                    w.patch_u16(at, len);
                }
                Kind::StatsFlowReply15 => {
                    w.zeros(2);
                    w.u8(self.table);
                    w.zeros(1);
                    timeouts(w);
                    write_flags(self.flags, w, version)?;
                    w.u16(self.importance);
                    w.u64(self.cookie);
                    matching::write(&self.matching, w, version)?;
                    let (packets, bytes) = (self.packets, self.bytes);
                    Oxs { duration: Some(self.duration), idle: self.idle_age, packets, bytes, flows: u32::MAX }
                        .write(w)?;
                }
                _ => {
                    w.u8(self.table);
                    w.zeros(1);
                    w.u32(secs);
                    w.u32(nanos);
                    timeouts(w);
                    write_flags(if version >= Version::V1_3 { self.flags } else { FlowModFlags::empty() }, w, version)?;
                    w.u16(if version >= Version::V1_4 { self.importance } else { 0 });
                    w.zeros(2);
                    counts(w);
                    matching::write(&self.matching, w, version)?;
                }
            }
            instruction::encode(&self.instructions, w, version)
        })
    }
}

/// A flow of a reply that is still in its bytes. Nothing is allocated to read it; [`stats`](FlowStatsView::stats) does.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FlowStatsView<'a> {
    /// All of it but what it does, which is empty here.
    pub flow: FlowStats,
    version: Version,
    instructions: Reader<'a>,
}

impl<'a> FlowStatsView<'a> {
    /// Reads what the flow does.
    ///
    /// # Errors
    /// What is wrong with it, with its place.
    pub fn instructions(&self) -> Result<Instructions, DecodeError> {
        let mut found = instruction::decode(&mut self.instructions.clone(), self.version)?;
        settle(&self.flow.matching, &mut found);
        Ok(found)
    }

    /// The flow as a value.
    ///
    /// # Errors
    /// What is wrong with what it does.
    pub fn stats(self) -> Result<FlowStats, DecodeError> {
        let instructions = self.instructions()?;
        Ok(FlowStats { instructions, ..self.flow })
    }

    pub(super) fn read(r: &mut Reader<'a>, version: Version, kind: Kind) -> Result<Self, DecodeError> {
        let start = r.clone();
        let len = usize::from(r.clone().u16()?);
        let min = match kind {
            Kind::StatsFlowReply10 => 88,
            Kind::NxStatsFlowReply | Kind::StatsFlowReply11 | Kind::StatsFlowReply13 => 48,
            _ => 24,
        };
        if len < min {
            return Err(start.error(OfError::BadRequestBadLength, "a length of a flow"));
        }
        let mut r = r.sub(len)?;
        r.skip(2)?;
        let mut f = FlowStats::default();
        let duration = |r: &mut Reader<'_>| Ok(Duration::new(r.u32()?.into(), r.u32()?.min(999_999_999)));
        let timeouts = |f: &mut FlowStats, r: &mut Reader<'_>| {
            (f.priority, f.idle_timeout, f.hard_timeout) = (r.u16()?, r.u16()?, r.u16()?);
            Ok(())
        };
        let counts = |f: &mut FlowStats, r: &mut Reader<'_>| {
            (f.cookie, f.packets, f.bytes) = (r.u64()?, r.u64()?, r.u64()?);
            Ok(())
        };
        match kind {
            Kind::StatsFlowReply10 => {
                f.table = r.u8()?;
                r.skip(1)?;
                f.matching = matching::read_10(&mut r)?;
                f.duration = duration(&mut r)?;
                timeouts(&mut f, &mut r)?;
                r.skip(6)?;
                counts(&mut f, &mut r)?;
            }
            Kind::NxStatsFlowReply => {
                f.table = r.u8()?;
                r.skip(1)?;
                f.duration = duration(&mut r)?;
                timeouts(&mut f, &mut r)?;
                let match_len = usize::from(r.u16()?);
                let age = |n: u16| n.checked_sub(1).map(u32::from);
                (f.idle_age, f.hard_age) = (age(r.u16()?), age(r.u16()?));
                counts(&mut f, &mut r)?;
                if match_len.checked_next_multiple_of(8).is_none_or(|n| n > r.len()) {
                    return Err(start.error(OfError::BadRequestBadLength, "a match within the flow"));
                }
                (f.matching, _) = oxm::read_nxm(&mut r, match_len, Reading::default())?;
            }
            Kind::StatsFlowReply15 => {
                r.skip(2)?;
                f.table = r.u8()?;
                r.skip(1)?;
                timeouts(&mut f, &mut r)?;
                f.flags = read_flags(&mut r, version)?;
                f.importance = r.u16()?;
                f.cookie = r.u64()?;
                f.matching = matching::read(&mut r, false)?;
                let oxs = Oxs::read(&mut r)?;
                (f.packets, f.bytes, f.idle_age) = (oxs.packets, oxs.bytes, oxs.idle);
                f.duration = oxs.duration.unwrap_or_default();
            }
            _ => {
                f.table = r.u8()?;
                r.skip(1)?;
                f.duration = duration(&mut r)?;
                timeouts(&mut f, &mut r)?;
                if kind == Kind::StatsFlowReply13 {
                    f.flags = read_flags(&mut r, version)?;
                } else {
                    r.skip(2)?;
                }
                f.importance = Some(r.u16()?).filter(|_| version >= Version::V1_4).unwrap_or(0);
                r.skip(2)?;
                counts(&mut f, &mut r)?;
                f.matching = matching::read(&mut r, false)?;
            }
        }
        Ok(FlowStatsView { flow: f, version, instructions: r })
    }
}

/// The flows of a reply, one after the other, without reading more than is asked for.
///
/// ```
/// use ovs_ofproto::codec::{FlowStats, FlowStatsReader, FlowStatsReply, Message, Version};
///
/// let pages = FlowStatsReply::pages(Version::V1_3, [FlowStats::default(), FlowStats::default()])?;
/// let bytes = Message::FlowStatsReply(pages[0].clone()).encode(Version::V1_3, 1)?;
/// let flows = FlowStatsReader::new(&bytes)?;
/// assert_eq!(flows.map(|f| f.map(|f| f.flow.packets)).sum::<Result<u64, _>>()?, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FlowStatsReader<'a> {
    r: Reader<'a>,
    version: Version,
    kind: Kind,
}

impl<'a> FlowStatsReader<'a> {
    /// The flows of a whole message.
    ///
    /// # Errors
    /// If it is no reply with flows.
    pub fn new(message: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(message);
        let header = super::header::Header::read(&mut r)?;
        let kind = Kind::read(&mut r, header)?;
        match kind.of() {
            super::kind::MessageKind::FlowStatsReply => Ok(Self::of(r, header.version, kind)),
            _ => Err(r.error(OfError::BadRequestBadType, "a reply with flows")),
        }
    }

    pub(super) fn of(r: Reader<'a>, version: Version, kind: Kind) -> Self {
        FlowStatsReader { r, version, kind }
    }
}

impl<'a> Iterator for FlowStatsReader<'a> {
    type Item = Result<FlowStatsView<'a>, DecodeError>;

    /// The next flow; nothing after an error.
    fn next(&mut self) -> Option<Self::Item> {
        if self.r.is_empty() {
            return None;
        }
        let found = FlowStatsView::read(&mut self.r, self.version, self.kind);
        if found.is_err() {
            self.r.remaining();
        }
        Some(found)
    }
}

/// The statistics of flows, or a part of them.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct FlowStatsReply {
    /// Whether another part follows with the same xid (OFPMPF_REPLY_MORE).
    pub more: bool,
    /// The flows.
    pub flows: Vec<FlowStats>,
}

impl FlowStatsReply {
    /// Whether the flows need Nicira's message in OpenFlow 1.0.
    pub(super) fn needs_nxm(&self) -> bool {
        self.flows.iter().any(|f| {
            f.idle_age.is_some() || f.hard_age.is_some() || matching::write_10(&f.matching, &mut Writer::new()).is_err()
        })
    }

    /// As many replies as `flows` need so that each fits into a message: at least one, and all but the last say that
    /// more follows.
    ///
    /// # Errors
    /// If one of the flows cannot be sent at all.
    pub fn pages(
        version: Version,
        flows: impl IntoIterator<Item = FlowStats>,
    ) -> Result<Vec<FlowStatsReply>, EncodeError> {
        const ROOM: usize = 0xffff - 24;
        let (mut pages, mut used) = (vec![FlowStatsReply::default()], 0usize);
        for flow in flows {
            let mut w = Writer::new();
            let kind = match version {
                Version::V1_0 => Kind::NxStatsFlowReply,
                Version::V1_1 | Version::V1_2 => Kind::StatsFlowReply11,
                Version::V1_5 => Kind::StatsFlowReply15,
                _ => Kind::StatsFlowReply13,
            };
            flow.write(&mut w, version, kind)?;
            // A match of OpenFlow 1.0 may be longer than the same as TLVs, by its own length at most.
            let len = w.len().saturating_add(if version == Version::V1_0 { matching::LEN_10 } else { 0 });
            if len > ROOM {
                return Err(EncodeError::TooLong { what: "the statistics of a flow" });
            }
            used = used.saturating_add(len);
            if used > ROOM {
                if let Some(page) = pages.last_mut() {
                    page.more = true;
                }
                pages.push(FlowStatsReply::default());
                used = len;
            }
            if let Some(page) = pages.last_mut() {
                page.flows.push(flow);
            }
        }
        Ok(pages)
    }
}

/// A flow has ended.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct FlowRemoved {
    /// What it matched.
    pub matching: Match,
    /// Its priority.
    pub priority: u16,
    /// Its cookie.
    pub cookie: u64,
    /// Why it ended (`OFPRR_*`).
    pub reason: u8,
    /// Its table; OpenFlow 1.0 does not tell.
    pub table: Option<u8>,
    /// How long it existed.
    pub duration: Duration,
    /// Its idle timeout.
    pub idle_timeout: u16,
    /// Its hard timeout; versions before 1.2 do not tell.
    pub hard_timeout: u16,
    /// Packets that met it.
    pub packets: u64,
    /// Bytes of those packets.
    pub bytes: u64,
}

impl FlowRemoved {
    pub(super) fn write(&self, w: &mut Writer, version: Version, kind: Kind) -> Result<(), EncodeError> {
        let (secs, nanos) = (seconds(self.duration), self.duration.subsec_nanos());
        let table = self.table.unwrap_or(0);
        match kind {
            Kind::FlowRemoved10 => {
                matching::write_10(&self.matching, w)?;
                w.u64(self.cookie);
                w.u16(self.priority);
                w.u8(self.reason);
                w.zeros(1);
                w.u32(secs);
                w.u32(nanos);
                w.u16(self.idle_timeout);
                w.zeros(2);
                w.u64(self.packets);
                w.u64(self.bytes);
                Ok(())
            }
            Kind::FlowRemoved15 => {
                w.u8(table);
                w.u8(self.reason);
                w.u16(self.priority);
                w.u16(self.idle_timeout);
                w.u16(self.hard_timeout);
                w.u64(self.cookie);
                matching::write(&self.matching, w, version)?;
                let (packets, bytes) = (self.packets, self.bytes);
                Oxs { duration: Some(self.duration), packets, bytes, ..Oxs::default() }.write(w)
            }
            _ => {
                w.u64(self.cookie);
                w.u16(self.priority);
                w.u8(self.reason);
                w.u8(match (kind, self.table) {
                    // Nicira's message has the table less one, so that 0 is none.
                    (Kind::NxFlowRemoved, table) => table.map_or(0, |t| t.saturating_add(1)),
                    _ => table,
                });
                w.u32(secs);
                w.u32(nanos);
                w.u16(self.idle_timeout);
                let at = w.len();
                w.u16(if version >= Version::V1_2 && kind != Kind::NxFlowRemoved { self.hard_timeout } else { 0 });
                w.u64(self.packets);
                w.u64(self.bytes);
                if kind == Kind::NxFlowRemoved {
                    let len = oxm::write_nxm(&self.matching, w, None)?;
                    w.patch_u16(at, len);
                    return Ok(());
                }
                matching::write(&self.matching, w, version)
            }
        }
    }

    pub(super) fn read(r: &mut Reader<'_>, version: Version, kind: Kind) -> Result<Self, DecodeError> {
        let mut f = FlowRemoved::default();
        let duration = |r: &mut Reader<'_>| Ok(Duration::new(r.u32()?.into(), r.u32()?.min(999_999_999)));
        match kind {
            Kind::FlowRemoved15 => {
                f.table = Some(r.u8()?);
                f.reason = r.u8()?;
                (f.priority, f.idle_timeout, f.hard_timeout) = (r.u16()?, r.u16()?, r.u16()?);
                f.cookie = r.u64()?;
                f.matching = matching::read(r, false)?;
                let oxs = Oxs::read(r)?;
                f.duration = oxs.duration.unwrap_or_default();
                (f.packets, f.bytes) = (oxs.packets, oxs.bytes);
            }
            _ => {
                if kind == Kind::FlowRemoved10 {
                    f.matching = matching::read_10(r)?;
                }
                f.cookie = r.u64()?;
                f.priority = r.u16()?;
                f.reason = r.u8()?;
                let table = r.u8()?;
                f.table = match kind {
                    Kind::FlowRemoved10 => None,
                    Kind::NxFlowRemoved => table.checked_sub(1),
                    _ => Some(table),
                };
                f.duration = duration(r)?;
                f.idle_timeout = r.u16()?;
                let hard = r.u16()?;
                (f.packets, f.bytes) = (r.u64()?, r.u64()?);
                match kind {
                    Kind::FlowRemoved10 => {}
                    Kind::NxFlowRemoved => (f.matching, _) = oxm::read_nxm(r, hard.into(), Reading::default())?,
                    _ => {
                        f.hard_timeout = if version >= Version::V1_2 { hard } else { 0 };
                        f.matching = matching::read(r, false)?;
                    }
                }
            }
        }
        Ok(f)
    }
}

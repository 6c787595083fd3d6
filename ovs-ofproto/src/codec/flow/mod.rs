//! Flow modifications, what is said of flows that end, and flow statistics, in all versions.

mod oxs;
mod removed;
mod request;
mod stats;

use ovs_packet::OfPort;
use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::check::{check_asked, settle};
use super::cursor::{Place, Reader, Writer};
use super::error::{DecodeError, EncodeError, OfError};
use super::header::Version;
use super::io::port_at;
use super::kind::Kind;
use super::oxm::Reading;
use super::{instruction, matching, oxm};
use crate::flow_mod::{ALL_TABLES, FlowMod, FlowModCommand, FlowModFlags};

pub use oxs::AggregateStats;
pub use removed::FlowRemoved;
pub use request::FlowStatsRequest;
pub use stats::{FlowStats, FlowStatsReader, FlowStatsReply, FlowStatsView};

/// Of a group number: none, or in a request every one.
pub(in crate::codec) const OFPG_ANY: u32 = 0xffff_ffff;

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

/// The flags that were read at a place.
#[inline]
fn flags_at(bits: u16, at: Place, version: Version) -> Result<FlowModFlags, DecodeError> {
    FlowModFlags::from_bits(bits)
        .filter(|f| flags_of(version).contains(*f))
        .ok_or_else(|| at.error(OfError::FlowModBadFlags, "flags of this version"))
}

fn write_flags(flags: FlowModFlags, w: &mut Writer, version: Version) -> Result<(), EncodeError> {
    w.u16(sent_flags(flags, version)?);
    Ok(())
}

/// Flags as a version has them.
#[inline]
fn sent_flags(flags: FlowModFlags, version: Version) -> Result<u16, EncodeError> {
    // Earlier versions reset no counts when a flow is added: what is not asked there is done.
    let sent = flags & flags_of(version);
    match flags.difference(sent).is_empty() {
        true => Ok(sent.bits()),
        false => Err(EncodeError::NotInVersion { version: version.0, what: "a flag of a flow" }),
    }
}

/// A 16-bit port number as those of OpenFlow 1.0.
fn read_port16(r: &mut Reader<'_>) -> Result<OfPort, DecodeError> {
    Ok(OfPort::from_16(r.u16()?))
}

fn port16(port: OfPort) -> Result<u16, EncodeError> {
    port.to_16().ok_or(EncodeError::Port(port.0))
}

/// A flag of OpenFlow 1.0: a flow for when no controller is there, which later versions do not have.
const EMERGENCY: u16 = 4;

/// What stands behind the match of OpenFlow 1.0, and before that of Nicira (section 5.3.3).
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Head10 {
    cookie: U64,
    /// Zero where the switch chooses.
    table: u8,
    command: u8,
    idle_timeout: U16,
    hard_timeout: U16,
    priority: U16,
    buffer_id: U32,
    out_port: U16,
    flags: U16,
}

/// What stands before the match from OpenFlow 1.1 on (OpenFlow 1.5, section 7.3.4.2).
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Head11 {
    cookie: U64,
    cookie_mask: U64,
    table: u8,
    command: u8,
    idle_timeout: U16,
    hard_timeout: U16,
    priority: U16,
    buffer_id: U32,
    out_port: U32,
    out_group: U32,
    flags: U16,
    /// Padding before OpenFlow 1.4.
    importance: U16,
}

impl FlowMod {
    /// Whether [`FlowMod`] surely needs Nicira's message in OpenFlow 1.0: its match or its cookies have no place in the
    /// other.
    pub(in crate::codec) fn needs_nxm(&self) -> bool {
        self.cookie_mask != 0 || !matching::may_fit_10(&self.matching)
    }

    /// What stands in the same 8 bytes of all forms: table, command, timeouts and priority.
    fn often_said(&self, command: u8) -> u64 {
        let bytes = u64::from(self.table) << 56 | u64::from(command) << 48;
        let timeouts = u64::from(self.idle_timeout) << 32 | u64::from(self.hard_timeout) << 16;
        bytes | timeouts | u64::from(self.priority)
    }

    pub(in crate::codec) fn write(&self, w: &mut Writer, version: Version, kind: Kind) -> Result<(), EncodeError> {
        let adds = self.command == FlowModCommand::Add;
        if self.importance != 0 && (version < Version::V1_4 || kind == Kind::NxFlowMod || !adds) {
            return Err(EncodeError::NotInVersion { version: version.0, what: "the importance of a flow" });
        }
        // The cookie that flows get; all ones leave theirs.
        let new_cookie = if adds { self.cookie } else { self.new_cookie.unwrap_or(u64::MAX) };
        let command = code(self.command);
        if kind == Kind::FlowMod10 {
            if !adds && self.cookie_mask != 0 {
                return Err(EncodeError::NotInVersion { version: version.0, what: "flows by their cookie" });
            }
            matching::write_10(&self.matching, w, matching::Said::All)?;
        }
        if matches!(kind, Kind::FlowMod10 | Kind::NxFlowMod) {
            let (port, flags) = (port16(self.out_port)?, sent_flags(self.flags, version)?);
            let rest = u64::from(self.buffer_id) << 32 | u64::from(port) << 16 | u64::from(flags);
            w.words([new_cookie, self.often_said(command), rest]);
            if kind == Kind::NxFlowMod {
                let at = w.len();
                w.zeros(8);
                let cookie = Some((self.cookie, self.cookie_mask)).filter(|_| !adds);
                let len = oxm::write_nxm(&self.matching, w, cookie)?;
                w.patch_u16(at, len);
            }
        } else {
            if self.new_cookie.is_some() && !adds && !(version == Version::V1_1 && self.cookie_mask == 0) {
                return Err(EncodeError::NotInVersion { version: version.0, what: "a change of cookies" });
            }
            let deletes = deletes(self.command);
            let by_new = version == Version::V1_1 && !adds && !deletes && self.cookie_mask == 0;
            // Only deletions have a port and a group to confine themselves to.
            let (port, group) = if deletes { (self.out_port, self.out_group) } else { (OfPort::ANY, OFPG_ANY) };
            let flags = u64::from(sent_flags(self.flags, version)?);
            w.words([
                if by_new { new_cookie } else { self.cookie },
                self.cookie_mask,
                self.often_said(command),
                u64::from(self.buffer_id) << 32 | u64::from(port.0),
                u64::from(group) << 32 | flags << 16 | u64::from(self.importance),
            ]);
            matching::write(&self.matching, w, version)?;
        }
        instruction::encode(&self.instructions, w, version)
    }

    /// The table stands in the upper half of the command in OpenFlow 1.0, where the extension for that is on; a
    /// controller that did not turn it on sends 0 there.
    pub(in crate::codec) fn read(
        r: &mut Reader<'_>,
        version: Version,
        kind: Kind,
    ) -> Result<Box<FlowMod>, DecodeError> {
        // Written where it stays: it is large.
        let mut fm = Box::write(Box::new_uninit(), FlowMod::default());
        fm.read_into(r, version, kind)?;
        Ok(fm)
    }

    /// Has it be [`NEW`](FlowMod::NEW), with room for as many actions as before.
    pub(in crate::codec) fn clear(&mut self) {
        let mut apply = core::mem::take(&mut self.instructions.apply);
        apply.clear();
        *self = FlowMod::default();
        self.instructions.apply = apply;
    }

    /// Reads it into one that says nothing yet.
    pub(in crate::codec) fn read_into(
        &mut self,
        r: &mut Reader<'_>,
        version: Version,
        kind: Kind,
    ) -> Result<(), DecodeError> {
        let bad_command = |at: Place| at.error(OfError::FlowModBadCommand, "a command from 0 to 4");
        let fm = self;
        if matches!(kind, Kind::FlowMod10 | Kind::NxFlowMod) {
            let mut exact = false;
            if kind == Kind::FlowMod10 {
                exact = matching::is_exact_10(r);
                fm.matching = matching::read_10_telling(r)?;
            }
            let (at, head) = (r.place(), r.view::<Head10>()?);
            fm.table = head.table;
            fm.command = command(head.command).ok_or_else(|| bad_command(at.plus(8)))?;
            (fm.idle_timeout, fm.hard_timeout) = (head.idle_timeout.get(), head.hard_timeout.get());
            // Nothing goes before a flow that leaves nothing open (OpenFlow 1.0, section 3.4).
            fm.priority = if exact { u16::MAX } else { head.priority.get() };
            fm.buffer_id = head.buffer_id.get();
            fm.out_port = OfPort::from_16(head.out_port.get());
            let (at_flags, flags) = (at.plus(22), head.flags.get());
            if flags & EMERGENCY != 0 {
                let error = match fm.hard_timeout != 0 || fm.idle_timeout != 0 {
                    true => OfError::FlowModBadEmergTimeout,
                    false => OfError::FlowModTableFull,
                };
                return Err(at_flags.error(error, "no emergency flow"));
            }
            fm.flags = flags_at(flags, at_flags, version)?;
            let mut by_cookie = None;
            if kind == Kind::NxFlowMod {
                let at_match = r.place();
                let len = r.u16()?;
                r.skip(6)?;
                by_cookie = oxm::read_nxm(r, len.into(), Reading::COOKIE, &mut fm.matching)?;
                if by_cookie.is_some_and(|(_, mask)| mask != 0) && fm.command == FlowModCommand::Add {
                    return Err(at_match.error(OfError::BadRequestNxmInvalid, "no cookie to match in an addition"));
                }
            }
            if fm.command == FlowModCommand::Add {
                fm.cookie = head.cookie.get();
            } else {
                fm.new_cookie = Some(head.cookie.get()).filter(|c| *c != u64::MAX);
                (fm.cookie, fm.cookie_mask) = by_cookie.unwrap_or((0, 0));
            }
        } else {
            let (at, head) = (r.place(), r.view::<Head11>()?);
            (fm.cookie, fm.cookie_mask) = (head.cookie.get(), head.cookie_mask.get());
            fm.table = head.table;
            fm.command = command(head.command).ok_or_else(|| bad_command(at.plus(17)))?;
            let (adds, deletes) = (fm.command == FlowModCommand::Add, deletes(fm.command));
            if fm.table == ALL_TABLES && (version == Version::V1_1 || !deletes) {
                return Err(at.plus(16).error(OfError::FlowModBadTable, "a table below 255"));
            }
            if adds {
                fm.cookie_mask = 0;
            } else if version == Version::V1_1 && !deletes && fm.cookie_mask == 0 {
                fm.new_cookie = Some(core::mem::take(&mut fm.cookie));
            }
            (fm.idle_timeout, fm.hard_timeout) = (head.idle_timeout.get(), head.hard_timeout.get());
            fm.priority = head.priority.get();
            fm.buffer_id = head.buffer_id.get();
            let out_port = port_at(head.out_port.get(), at.plus(28))?;
            if deletes {
                (fm.out_port, fm.out_group) = (out_port, head.out_group.get());
            }
            fm.flags = flags_at(head.flags.get(), at.plus(36), version)?;
            if version >= Version::V1_4 && adds {
                fm.importance = head.importance.get();
            }
            matching::read(r, Reading::STRICT, &mut fm.matching)?;
        }
        let at_instructions = r.place();
        instruction::decode_into(r, version, &mut fm.instructions)?;
        let asked = settle(&fm.matching, &mut fm.instructions);
        if !deletes(fm.command) {
            let what = "instructions that fit the match and the table";
            let fits = check_asked(&fm.matching, fm.table, &fm.instructions, asked);
            if !fits.map_err(|e| at_instructions.error(e, what))? && version != Version::V1_0 {
                return Err(at_instructions.error(OfError::BadActionMatchInconsistent, what));
            }
        }
        Ok(())
    }
}

//! Flow modifications, what is said of flows that end, and flow statistics, in all versions.

mod oxs;
mod removed;
mod request;
mod stats;

use ovs_packet::OfPort;

use super::check::{check_loosely, settle};
use super::cursor::{Place, Reader, Writer};
use super::error::{DecodeError, EncodeError, OfError};
use super::header::Version;
use super::io::read_port;
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

fn read_flags(r: &mut Reader<'_>, version: Version) -> Result<FlowModFlags, DecodeError> {
    let at = r.place();
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
    /// Whether [`FlowMod`] surely needs Nicira's message in OpenFlow 1.0: its match or its cookies have no place in the
    /// other.
    pub(in crate::codec) fn needs_nxm(&self) -> bool {
        self.cookie_mask != 0 || !matching::may_fit_10(&self.matching)
    }

    pub(in crate::codec) fn write(&self, w: &mut Writer, version: Version, kind: Kind) -> Result<(), EncodeError> {
        let adds = self.command == FlowModCommand::Add;
        if self.importance != 0 && (version < Version::V1_4 || kind == Kind::NxFlowMod || !adds) {
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
                matching::write_10(&self.matching, w, matching::Said::All)?;
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
    pub(in crate::codec) fn read(
        r: &mut Reader<'_>,
        version: Version,
        kind: Kind,
    ) -> Result<Box<FlowMod>, DecodeError> {
        let bad_command = |at: Place| at.error(OfError::FlowModBadCommand, "a command from 0 to 4");
        let mut fm = Box::new(FlowMod::NEW);
        match kind {
            Kind::FlowMod10 | Kind::NxFlowMod => {
                let mut exact = false;
                if kind == Kind::FlowMod10 {
                    exact = matching::is_exact_10(r);
                    fm.matching = matching::read_10_telling(r)?;
                }
                let cookie = r.u64()?;
                let at_command = r.place();
                let tabled = r.u16()?;
                fm.table = (tabled >> 8) as u8;
                fm.command = command((tabled & 0xff) as u8).ok_or_else(|| bad_command(at_command))?;
                fm.idle_timeout = r.u16()?;
                fm.hard_timeout = r.u16()?;
                fm.priority = r.u16()?;
                if exact {
                    // Nothing goes before a flow that leaves nothing open (OpenFlow 1.0, section 3.4).
                    fm.priority = u16::MAX;
                }
                fm.buffer_id = r.u32()?;
                fm.out_port = read_port16(r)?;
                let at_flags = r.place();
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
                    let at_match = r.place();
                    let len = r.u16()?;
                    r.skip(6)?;
                    by_cookie = oxm::read_nxm(r, len.into(), Reading::COOKIE, &mut fm.matching)?;
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
                let at_table = r.place();
                fm.table = r.u8()?;
                let at_command = r.place();
                fm.command = command(r.u8()?).ok_or_else(|| bad_command(at_command))?;
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
                matching::read(r, Reading::STRICT, &mut fm.matching)?;
            }
        }
        let at_instructions = r.place();
        instruction::decode_into(r, version, &mut fm.instructions)?;
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

//! Flow modifications and flow statistics (OpenFlow 1.3, sections 7.3.4.1 and 7.3.5.2).

use std::time::Duration;

use ovs_packet::{Match, OfPort};

use super::check::check_flow;
use super::cursor::{Codec, Reader, Shape, Writer};
use super::error::{DecodeError, EncodeError, OfError};
use super::packet::NO_BUFFER;
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

fn deletes(command: FlowModCommand) -> bool {
    matches!(command, FlowModCommand::Delete | FlowModCommand::DeleteStrict)
}

/// The body of OFPT_FLOW_MOD.
impl Codec for FlowMod {
    fn encode(&self, w: &mut Writer) -> Result<(), EncodeError> {
        if self.importance != 0 {
            return Err(EncodeError::NotInVersion { version: 4, what: "the importance of a flow" });
        }
        w.u64(self.cookie);
        w.u64(self.cookie_mask);
        w.u8(self.table);
        w.u8(match self.command {
            FlowModCommand::Add => 0,
            FlowModCommand::Modify => 1,
            FlowModCommand::ModifyStrict => 2,
            FlowModCommand::Delete => 3,
            FlowModCommand::DeleteStrict => 4,
        });
        w.u16(self.idle_timeout);
        w.u16(self.hard_timeout);
        w.u16(self.priority);
        w.u32(NO_BUFFER);
        // Only deletions have a port to confine themselves to.
        w.u32(if deletes(self.command) { self.out_port } else { OfPort::ANY }.0);
        w.u32(OFPG_ANY);
        w.u16(self.flags.bits());
        w.zeros(2);
        self.matching.encode(w)?;
        self.instructions.encode(w)
    }

    /// A flow that is added or changed must not name a buffered packet: this switch buffers none. The group that a
    /// deletion may confine itself to has no place in [`FlowMod`], so that such a deletion is refused.
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (cookie, cookie_mask, table) = (r.u64()?, r.u64()?, r.u8()?);
        let at_command = r.clone();
        let command =
            command(r.u8()?).ok_or_else(|| at_command.error(OfError::FlowModBadCommand, "a command from 0 to 4"))?;
        let (idle_timeout, hard_timeout, priority) = (r.u16()?, r.u16()?, r.u16()?);
        let at_buffer = r.clone();
        if r.u32()? != NO_BUFFER && !deletes(command) {
            return Err(at_buffer.error(OfError::BadRequestBufferUnknown, "no buffered packet"));
        }
        let out_port = Some(OfPort(r.u32()?)).filter(|_| deletes(command)).unwrap_or(OfPort::ANY);
        let at_group = r.clone();
        if r.u32()? != OFPG_ANY && deletes(command) {
            return Err(at_group.error(OfError::FlowModUnknown, "every group: groups are not built yet"));
        }
        let at_flags = r.clone();
        let flags = FlowModFlags::from_bits(r.u16()?)
            .ok_or_else(|| at_flags.error(OfError::FlowModBadFlags, "no flags but the five of OpenFlow 1.3"))?;
        r.skip(2)?;
        let matching = Match::decode(r)?;
        let at_instructions = r.clone();
        let instructions = Instructions::decode(r)?;
        if !deletes(command) {
            check_flow(&matching, table, &instructions)
                .map_err(|e| at_instructions.error(e, "instructions that fit the match and the table"))?;
        }
        Ok(FlowMod {
            command,
            table,
            matching,
            priority,
            cookie,
            cookie_mask,
            idle_timeout,
            hard_timeout,
            importance: 0,
            flags,
            out_port,
            instructions,
        })
    }
}

/// Asks for the statistics of flows (OFPMP_FLOW).
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

impl Codec for FlowStatsRequest {
    fn encode(&self, w: &mut Writer) -> Result<(), EncodeError> {
        w.u8(self.table);
        w.zeros(3);
        w.u32(self.out_port.0);
        w.u32(self.out_group);
        w.zeros(4);
        w.u64(self.cookie);
        w.u64(self.cookie_mask);
        self.matching.encode(w)
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let table = r.u8()?;
        r.skip(3)?;
        let (out_port, out_group) = (OfPort(r.u32()?), r.u32()?);
        r.skip(4)?;
        let (cookie, cookie_mask) = (r.u64()?, r.u64()?);
        Ok(FlowStatsRequest { table, out_port, out_group, cookie, cookie_mask, matching: Match::decode(r)? })
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
    /// Its flags.
    pub flags: FlowModFlags,
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

impl Codec for FlowStats {
    fn encode(&self, w: &mut Writer) -> Result<(), EncodeError> {
        let shape = Shape { what: "the statistics of a flow", length_at: 0, align: 8, count_padding: true };
        w.prefixed(shape, |w| {
            w.zeros(2);
            w.u8(self.table);
            w.zeros(1);
            w.u32(self.duration.as_secs().try_into().unwrap_or(u32::MAX));
            w.u32(self.duration.subsec_nanos());
            w.u16(self.priority);
            w.u16(self.idle_timeout);
            w.u16(self.hard_timeout);
            w.u16(self.flags.bits());
            w.zeros(4);
            w.u64(self.cookie);
            w.u64(self.packets);
            w.u64(self.bytes);
            self.matching.encode(w)?;
            self.instructions.encode(w)
        })
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = r.clone();
        let len = usize::from(r.clone().u16()?);
        if len < 56 {
            return Err(start.error(OfError::BadRequestBadLength, "56 bytes or more for a flow"));
        }
        let mut r = r.sub(len)?;
        r.skip(2)?;
        let table = r.u8()?;
        r.skip(1)?;
        let (secs, at_nanos, nanos) = (r.u32()?, r.clone(), r.u32()?);
        if nanos >= 1_000_000_000 {
            return Err(at_nanos.error(OfError::BadRequestBadLength, "less than a second in nanoseconds"));
        }
        let (priority, idle_timeout, hard_timeout) = (r.u16()?, r.u16()?, r.u16()?);
        let at_flags = r.clone();
        let flags = FlowModFlags::from_bits(r.u16()?)
            .ok_or_else(|| at_flags.error(OfError::FlowModBadFlags, "no flags but the five of OpenFlow 1.3"))?;
        r.skip(4)?;
        Ok(FlowStats {
            table,
            duration: Duration::new(secs.into(), nanos),
            priority,
            idle_timeout,
            hard_timeout,
            flags,
            cookie: r.u64()?,
            packets: r.u64()?,
            bytes: r.u64()?,
            matching: Match::decode(&mut r)?,
            instructions: Instructions::decode(&mut r)?,
        })
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
    /// As many replies as `flows` need so that each fits into a message: at least one, and all but the last say that
    /// more follows.
    ///
    /// # Errors
    /// If one of the flows cannot be sent at all.
    pub fn pages(flows: impl IntoIterator<Item = FlowStats>) -> Result<Vec<FlowStatsReply>, EncodeError> {
        const ROOM: usize = 0xffff - 16;
        let (mut pages, mut used) = (vec![FlowStatsReply::default()], 0usize);
        for flow in flows {
            let mut w = Writer::new();
            flow.encode(&mut w)?;
            if w.len() > ROOM {
                return Err(EncodeError::TooLong { what: "the statistics of a flow" });
            }
            used = used.saturating_add(w.len());
            if used > ROOM {
                if let Some(page) = pages.last_mut() {
                    page.more = true;
                }
                pages.push(FlowStatsReply::default());
                used = w.len();
            }
            if let Some(page) = pages.last_mut() {
                page.flows.push(flow);
            }
        }
        Ok(pages)
    }
}

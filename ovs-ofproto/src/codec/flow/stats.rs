//! The statistics of flows.

use std::time::Duration;

use ovs_packet::Match;
use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::oxs::{Oxs, seconds};
use super::{flags_at, write_flags};
use crate::action::Instructions;
use crate::codec::check::settle;
use crate::codec::cursor::{Reader, Shape, Writer};
use crate::codec::error::{DecodeError, EncodeError, OfError};
use crate::codec::header::{Header, Version};
use crate::codec::kind::{Kind, MessageKind};
use crate::codec::oxm::Reading;
use crate::codec::{instruction, matching, oxm};
use crate::flow_mod::FlowModFlags;
#[cfg(feature = "serde")]
use crate::json::form::*;

/// A flow and what it has seen: one line of `dump-flows`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct FlowStats {
    /// Its table.
    #[cfg_attr(feature = "serde", serde(rename = "table_id"))]
    pub table: u8,
    /// How long it has existed; what is beyond 2^32 seconds is not sent.
    #[cfg_attr(feature = "serde", serde(with = "As::<Seconds>"))]
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
    #[cfg_attr(feature = "serde", serde(with = "As::<Set>"))]
    pub flags: FlowModFlags,
    /// Seconds since its last packet, if that is told.
    pub idle_age: Option<u32>,
    /// Seconds since it was added or changed, if that is told.
    pub hard_age: Option<u32>,
    /// Its cookie.
    #[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))]
    pub cookie: u64,
    /// Packets that met it; all ones if nobody counts.
    #[cfg_attr(feature = "serde", serde(rename = "packet_count", with = "As::<Counter>"))]
    pub packets: u64,
    /// Bytes of those packets; all ones if nobody counts.
    #[cfg_attr(feature = "serde", serde(rename = "byte_count", with = "As::<Counter>"))]
    pub bytes: u64,
    /// What it matches.
    #[cfg_attr(feature = "serde", serde(rename = "match"))]
    pub matching: Match,
    /// What it does.
    pub instructions: Instructions,
}

const FLOW: Shape = Shape { what: "the statistics of a flow", length_at: 0, align: 8, count_padding: true };

/// What a flow begins with in OpenFlow 1.0.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Head10 {
    _len: U16,
    table: u8,
    _pad: u8,
    matching: [u8; matching::LEN_10],
    duration: [U32; 2],
    timeouts: Timeouts,
    _pad2: [u8; 6],
    counts: Counts,
}

/// The same in Nicira's extension of that, of which the match comes behind it.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct HeadNx {
    _len: U16,
    table: u8,
    _pad: u8,
    duration: [U32; 2],
    timeouts: Timeouts,
    match_len: U16,
    /// One more than the ages; 0 for none.
    idle_age: U16,
    hard_age: U16,
    counts: Counts,
}

/// The same from OpenFlow 1.1 on. Flags are padding before 1.3, the importance before 1.4.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Head11 {
    _len: U16,
    table: u8,
    _pad: u8,
    duration: [U32; 2],
    timeouts: Timeouts,
    flags: U16,
    importance: U16,
    _pad2: [u8; 2],
    counts: Counts,
}

/// The same from OpenFlow 1.5 on, where match and statistics come behind it.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Head15 {
    _len: U16,
    _pad: [u8; 2],
    table: u8,
    _pad2: u8,
    timeouts: Timeouts,
    flags: U16,
    importance: U16,
    cookie: U64,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Timeouts {
    priority: U16,
    idle: U16,
    hard: U16,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Counts {
    cookie: U64,
    packets: U64,
    bytes: U64,
}

impl FlowStats {
    fn set_timeouts(&mut self, t: &Timeouts) {
        (self.priority, self.idle_timeout, self.hard_timeout) = (t.priority.get(), t.idle.get(), t.hard.get());
    }

    fn set_counts(&mut self, c: &Counts) {
        (self.cookie, self.packets, self.bytes) = (c.cookie.get(), c.packets.get(), c.bytes.get());
    }

    pub(in crate::codec) fn write(&self, w: &mut Writer, version: Version, kind: Kind) -> Result<(), EncodeError> {
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
                    matching::write_10(&self.matching, w, matching::Said::Nearest)?;
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
                    matching::write_nearest(&self.matching, w, version)?;
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
                    matching::write_nearest(&self.matching, w, version)?;
                }
            }
            instruction::encode(&self.instructions, w, version)
        })
    }
}

/// A flow of a reply of which the match and the instructions are still in their bytes: who asks for neither pays for
/// neither. Nothing is allocated to read it, nor for a usual [match](FlowStatsView::matching).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FlowStatsView<'a> {
    /// All of it but what it matches and what it does, which are empty here.
    pub flow: FlowStats,
    version: Version,
    matching: MatchBytes<'a>,
    instructions: Reader<'a>,
}

/// The least length of a flow in any version.
const LEAST: usize = 24;

/// A match that was not read yet.
#[derive(Clone, Debug)]
enum MatchBytes<'a> {
    /// Of OpenFlow 1.0.
    Ten(Reader<'a>),
    /// Nicira's TLVs, so many bytes of them.
    Nxm(Reader<'a>, usize),
    /// With type and length.
    Typed(Reader<'a>),
}

impl<'a> MatchBytes<'a> {
    /// What begins at `r`, with type and length, which passes over it.
    #[inline(always)]
    fn typed(r: &mut Reader<'a>) -> Result<MatchBytes<'a>, DecodeError> {
        let short = r.set_short(&OfError::BadMatchBadLength);
        let (_, len) = r.type_and_length()?;
        // What stands behind it is left to it: that spares its reader a copy.
        let matching = MatchBytes::Typed(r.clone());
        r.skip(len.checked_next_multiple_of(8).unwrap_or(len))?;
        r.set_short(short);
        Ok(matching)
    }

    /// Reads it into a match that says nothing yet.
    #[inline(always)]
    fn read_into(self, m: &mut Match) -> Result<(), DecodeError> {
        match self {
            MatchBytes::Ten(mut r) => *m = matching::read_10_whole(&mut r)?,
            MatchBytes::Nxm(mut r, len) => {
                oxm::read_nxm(&mut r, len, Reading::STRICT, m)?;
            }
            MatchBytes::Typed(mut r) => matching::read(&mut r, Reading::STRICT, m)?,
        }
        Ok(())
    }
}

impl<'a> FlowStatsView<'a> {
    /// Reads what the flow matches.
    ///
    /// # Errors
    /// What is wrong with it, with its place.
    pub fn matching(&self) -> Result<Match, DecodeError> {
        let mut m = Match::ANY;
        self.matching.clone().read_into(&mut m)?;
        Ok(m)
    }

    /// Reads what the flow does.
    ///
    /// # Errors
    /// What is wrong with it, or with the match that it hangs on, with its place.
    pub fn instructions(&self) -> Result<Instructions, DecodeError> {
        let mut found = instruction::decode(&mut self.instructions.clone(), self.version)?;
        settle(&self.matching()?, &mut found);
        Ok(found)
    }

    /// The flow as a value.
    ///
    /// # Errors
    /// What is wrong with what it matches or does.
    pub fn stats(self) -> Result<FlowStats, DecodeError> {
        let mut stats = FlowStats::default();
        self.read_into(&mut stats)?;
        Ok(stats)
    }

    /// The same, into a place for it.
    fn read_into(self, stats: &mut FlowStats) -> Result<(), DecodeError> {
        let FlowStatsView { flow, version, matching, instructions } = self;
        *stats = flow;
        read_rest(version, matching, instructions, stats)
    }
}

/// Reads what a flow matches and does into statistics that say nothing of that yet.
#[inline(always)]
fn read_rest(
    version: Version,
    matching: MatchBytes<'_>,
    mut instructions: Reader<'_>,
    stats: &mut FlowStats,
) -> Result<(), DecodeError> {
    matching.read_into(&mut stats.matching)?;
    instruction::decode_into(&mut instructions, version, &mut stats.instructions)?;
    settle(&stats.matching, &mut stats.instructions);
    Ok(())
}

/// Reads a flow into statistics that say nothing yet, but for its match and its instructions, which it gives. Inlined, so
/// that what it gives is not copied from where parts of it were just written.
#[inline(always)]
fn read_head<'a>(
    r: &mut Reader<'a>,
    version: Version,
    kind: Kind,
    f: &mut FlowStats,
) -> Result<(MatchBytes<'a>, Reader<'a>), DecodeError> {
    let (start, len) = (r.place(), usize::from(r.clone().u16()?));
    let min = match kind {
        Kind::StatsFlowReply10 => size_of::<Head10>(),
        Kind::NxStatsFlowReply | Kind::StatsFlowReply11 | Kind::StatsFlowReply13 => size_of::<Head11>(),
        _ => LEAST,
    };
    if len < min {
        return Err(start.error(OfError::BadRequestBadLength, "a length of a flow"));
    }
    let mut r = r.sub(len)?;
    let duration = |[secs, nanos]: [U32; 2]| Duration::new(secs.get().into(), nanos.get().min(999_999_999));
    let matching = match kind {
        Kind::StatsFlowReply10 => {
            let head = r.view::<Head10>()?;
            f.table = head.table;
            f.duration = duration(head.duration);
            f.set_timeouts(&head.timeouts);
            f.set_counts(&head.counts);
            MatchBytes::Ten(Reader::new_at(&head.matching, start.plus(4).at()))
        }
        Kind::NxStatsFlowReply => {
            let head = r.view::<HeadNx>()?;
            f.table = head.table;
            f.duration = duration(head.duration);
            f.set_timeouts(&head.timeouts);
            let age = |n: U16| n.get().checked_sub(1).map(u32::from);
            (f.idle_age, f.hard_age) = (age(head.idle_age), age(head.hard_age));
            f.set_counts(&head.counts);
            let match_len = usize::from(head.match_len.get());
            let padded = match_len.checked_next_multiple_of(8).filter(|n| *n <= r.len());
            let padded = padded.ok_or_else(|| start.error(OfError::BadRequestBadLength, "a match within the flow"))?;
            let matching = MatchBytes::Nxm(r.clone(), match_len);
            r.skip(padded)?;
            matching
        }
        Kind::StatsFlowReply15 => {
            let head = r.view::<Head15>()?;
            f.table = head.table;
            f.set_timeouts(&head.timeouts);
            f.flags = flags_at(head.flags.get(), start.plus(12), version)?;
            f.importance = head.importance.get();
            f.cookie = head.cookie.get();
            let matching = MatchBytes::typed(&mut r)?;
            let oxs = Oxs::read(&mut r)?;
            (f.packets, f.bytes, f.idle_age) = (oxs.packets, oxs.bytes, oxs.idle);
            f.duration = oxs.duration.unwrap_or_default();
            matching
        }
        _ => {
            let head = r.view::<Head11>()?;
            f.table = head.table;
            f.duration = duration(head.duration);
            f.set_timeouts(&head.timeouts);
            if kind == Kind::StatsFlowReply13 {
                f.flags = flags_at(head.flags.get(), start.plus(18), version)?;
            }
            if version >= Version::V1_4 {
                f.importance = head.importance.get();
            }
            f.set_counts(&head.counts);
            MatchBytes::typed(&mut r)?
        }
    };
    Ok((matching, r))
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
        let header = Header::read(&mut r)?;
        let kind = Kind::read(&mut r, header)?;
        match kind.of() {
            MessageKind::FlowStatsReply => Ok(Self::of(r, header.version, kind)),
            _ => Err(r.error(OfError::BadRequestBadType, "a reply with flows")),
        }
    }

    pub(in crate::codec) fn of(r: Reader<'a>, version: Version, kind: Kind) -> Self {
        FlowStatsReader { r, version, kind }
    }

    /// Reads the next flow whole into `place`, whose memory is used again; none if there is none. Nothing after an error,
    /// with which what `place` says is of no meaning.
    ///
    /// ```
    /// use ovs_ofproto::codec::{FlowStats, FlowStatsReader, FlowStatsReply, Message, Version};
    ///
    /// let pages = FlowStatsReply::pages(Version::V1_3, [FlowStats::default(), FlowStats::default()])?;
    /// let bytes = Message::FlowStatsReply(pages[0].clone()).encode(Version::V1_3, 1)?;
    /// let (mut flows, mut place, mut packets) = (FlowStatsReader::new(&bytes)?, FlowStats::default(), 0);
    /// while let Some(read) = flows.next_into(&mut place) {
    ///     read?;
    ///     packets += place.packets;
    /// }
    /// assert_eq!(packets, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn next_into(&mut self, place: &mut FlowStats) -> Option<Result<(), DecodeError>> {
        let mut apply = core::mem::take(&mut place.instructions.apply);
        apply.clear();
        *place = FlowStats::default();
        place.instructions.apply = apply;
        self.next_whole(place)
    }

    /// The same, into statistics that say nothing yet.
    pub(in crate::codec) fn next_whole(&mut self, place: &mut FlowStats) -> Option<Result<(), DecodeError>> {
        if self.r.is_empty() {
            return None;
        }
        let head = read_head(&mut self.r, self.version, self.kind, place);
        let read = head.and_then(|(matching, r)| read_rest(self.version, matching, r, place));
        if read.is_err() {
            self.r.remaining();
        }
        Some(read)
    }

    /// How many flows there are, by their lengths: none behind a length that cannot be.
    pub(in crate::codec) fn count_whole(&self) -> usize {
        let (mut rest, mut n) = (self.r.peek(), 0usize);
        while let Some(len) = rest.first_chunk::<2>().map(|len| usize::from(u16::from_be_bytes(*len))) {
            match rest.get(len..) {
                Some(behind) if len >= LEAST => (rest, n) = (behind, n.saturating_add(1)),
                _ => break,
            }
        }
        n
    }
}

impl<'a> Iterator for FlowStatsReader<'a> {
    type Item = Result<FlowStatsView<'a>, DecodeError>;

    /// The next flow; nothing after an error.
    fn next(&mut self) -> Option<Self::Item> {
        if self.r.is_empty() {
            return None;
        }
        let (version, mut flow) = (self.version, FlowStats::default());
        let found = read_head(&mut self.r, version, self.kind, &mut flow)
            .map(|(matching, instructions)| FlowStatsView { flow, version, matching, instructions });
        if found.is_err() {
            self.r.remaining();
        }
        Some(found)
    }
}

/// The statistics of flows, or a part of them.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct FlowStatsReply {
    /// Whether another part follows with the same xid (OFPMPF_REPLY_MORE).
    pub more: bool,
    /// The flows.
    pub flows: Vec<FlowStats>,
}

impl FlowStatsReply {
    /// Whether the flows need Nicira's message in OpenFlow 1.0.
    pub(in crate::codec) fn needs_nxm(&self) -> bool {
        self.flows.iter().any(|f| f.idle_age.is_some() || f.hard_age.is_some() || !matching::fits_10(&f.matching))
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

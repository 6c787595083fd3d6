//! What really happens to packets: `ofproto/trace-live` as a value.
//!
//! A [`Trace`] of a packet in words tells what would become of it. A live trace waits for packets as they come, and tells
//! what was done with each: every pass through the pipeline, with what the datapath was told to do.
//!
//! So that they are seen, packets that may match come up, all of them, while the trace goes on: megaflows that may catch
//! them send them here, and so do those of packets that are looked up again, whose headers may have changed. The answers
//! are those that packets would get otherwise; only the way is longer. A trace ends with the number of packets that was
//! asked for, or after [`LIVE_TRACE_TIME`], so that nobody forgets one.

use std::fmt;
use std::time::Duration;

use ovs_dpif::{Dpif, UpcallKind};
use ovs_packet::field::FieldId;
use ovs_packet::{FlowKey, Instant, Match, OfPort};

use super::ofproto::Ofproto;
use super::trace::{Trace, quoted};
use crate::pipeline::tracked::pipeline_mask;

/// How many packets one live trace may wait for.
pub const MAX_LIVE_PACKETS: usize = 1000;

/// How long a live trace waits.
pub const LIVE_TRACE_TIME: Duration = Duration::from_secs(60);

/// Why a live trace cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LiveTraceError {
    /// It asks for no packet, or for too many.
    #[error("a live trace is of 1 to {MAX_LIVE_PACKETS} packets")]
    Count,
    /// It asks for what only the pipeline knows: packets do not come with that.
    #[error("a live trace cannot ask for registers, metadata and what else is not in packets")]
    NotOfPackets,
    /// There is no such port.
    #[error("there is no port {0}")]
    NoPort(OfPort),
}

/// How a packet came to be looked at.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum LiveCause {
    /// No megaflow was there for it.
    Missed,
    /// Its megaflow was proved before something changed.
    Stale,
    /// Its megaflow has all packets come up, be it for this trace.
    Slow,
}

impl LiveCause {
    fn name(self) -> &'static str {
        match self {
            LiveCause::Missed => "miss",
            LiveCause::Stale => "stale",
            LiveCause::Slow => "slow",
        }
    }

    pub(super) fn of(kind: &UpcallKind) -> LiveCause {
        match kind {
            UpcallKind::Miss => LiveCause::Missed,
            UpcallKind::Stale(_) => LiveCause::Stale,
            _ => LiveCause::Slow,
        }
    }
}

/// A packet that came, and what became of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LivePacket {
    /// When it came.
    pub at: Instant,
    /// How.
    pub came: LiveCause,
    /// How long it was, in bytes.
    pub len: usize,
    /// Its passes through the pipeline, as they were.
    pub trace: Trace,
}

/// A trace of packets as they come.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LiveTrace {
    /// Which packets, with port numbers of OpenFlow.
    pub matching: Match,
    /// How many are still to come.
    pub left: usize,
    /// When it ends.
    pub until: Instant,
    /// Those that came.
    pub seen: Vec<LivePacket>,
    /// Which packets, with port numbers of the datapath.
    below: Match,
}

impl LiveTrace {
    /// Whether it goes on.
    pub fn is_waiting(&self) -> bool {
        self.left > 0
    }

    /// What was seen as JSON (RFC 8259).
    pub fn to_json(&self) -> String {
        let one = |s: &LivePacket| {
            let ms = s.at.since(Instant::ZERO).as_millis();
            format!(r#"{{"time":{ms},"came":"{}","length":{},"passes":{}}}"#, s.came.name(), s.len, s.trace.to_json())
        };
        let packets: Vec<_> = self.seen.iter().map(one).collect();
        let matching = quoted(&self.matching.to_string());
        format!(r#"{{"match":{matching},"left":{},"packets":[{}]}}"#, self.left, packets.join(","))
    }

    /// Whether packets of a megaflow with this key and mask may be of those that are waited for.
    pub(super) fn may_see(&self, key: &FlowKey, mask: &ovs_packet::FlowMask) -> bool {
        let at = |words: &[u64], i: usize| words.get(i).copied().unwrap_or_default();
        let mut wanted = self.below.words();
        let alike = wanted.all(|(i, value, of)| (at(key.words(), i) ^ value) & at(mask.bits.words(), i) & of == 0);
        self.is_waiting() && (key.recirc_id.get() != 0 || alike)
    }
}

impl fmt::Display for LiveTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, s) in (1..).zip(&self.seen) {
            let since = s.at.since(Instant::ZERO);
            writeln!(
                f,
                "Packet {n}: {} bytes, at {}.{:03} s ({})",
                s.len,
                since.as_secs(),
                since.subsec_millis(),
                s.came.name()
            )?;
            writeln!(f, "{}", s.trace)?;
        }
        match self.left {
            0 => writeln!(f, "{} packets seen.", self.seen.len()),
            left => writeln!(f, "{} packets seen, waiting for {left} more.", self.seen.len()),
        }
    }
}

impl Ofproto {
    /// Traces the next packets that match, as they come. What was traced before is forgotten. The packets are in
    /// [`live_trace`](Self::live_trace).
    ///
    /// # Errors
    /// As [`LiveTraceError`] says.
    pub fn trace_live(
        &mut self,
        dp: &mut dyn Dpif,
        matching: &Match,
        packets: usize,
        now: Instant,
    ) -> Result<(), LiveTraceError> {
        if !(1..=MAX_LIVE_PACKETS).contains(&packets) {
            return Err(LiveTraceError::Count);
        }
        let mut below = matching.clone();
        if matching.touches(FieldId::InPortOxm) {
            let number = OfPort(matching.key().in_port.get());
            let port = self.ports.get(number).ok_or(LiveTraceError::NoPort(number))?;
            below.set(FieldId::InPortOxm, port.datapath.0.into());
        }
        let mut packets_alone = matching.mask();
        packets_alone.bits.in_port = 0.into();
        let of_pipeline = packets_alone.bits.words().iter().zip(pipeline_mask().bits.words());
        if of_pipeline.into_iter().any(|(asked, known)| asked & known != 0) {
            return Err(LiveTraceError::NotOfPackets);
        }
        let until = now + LIVE_TRACE_TIME;
        self.live =
            Some(Box::new(LiveTrace { matching: matching.clone(), left: packets, until, seen: Vec::new(), below }));
        self.changed = true;
        self.revalidate(dp, now);
        Ok(())
    }

    /// The live trace that goes on, or that ended last.
    pub fn live_trace(&self) -> Option<&LiveTrace> {
        self.live.as_deref()
    }

    /// Ends the live trace. What it saw stays.
    pub fn end_live_trace(&mut self) {
        if let Some(live) = &mut self.live
            && live.is_waiting()
        {
            live.left = 0;
            // Packets need not come up any more.
            self.changed = true;
        }
    }

    /// Whether a packet is waited for; one that comes back is if it was before.
    pub(super) fn is_traced(&self, key: &FlowKey, again: bool) -> bool {
        let live = self.live.as_ref();
        live.is_some_and(|l| again && key.recirc_id.get() != 0 || l.is_waiting() && l.below.matches(key))
    }

    /// Takes note of what became of a packet; one that comes back is the one that was seen last.
    pub(super) fn note_seen(&mut self, seen: LivePacket, again: bool) {
        let Some(live) = &mut self.live else { return };
        match live.seen.last_mut().filter(|_| again) {
            Some(last) => last.trace.passes.extend(seen.trace.passes),
            None => {
                live.seen.push(seen);
                live.left = live.left.saturating_sub(1);
                self.changed |= live.left == 0;
            }
        }
    }
}

//! Sums of statistics, and statistics as TLVs.

use std::time::Duration;

use crate::codec::cursor::{Place, Reader, Shape, Writer};
use crate::codec::error::{DecodeError, EncodeError, OfError};
use crate::codec::kind::Kind;
#[cfg(feature = "serde")]
use crate::json::form::*;

/// The sums of the statistics of flows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct AggregateStats {
    /// Packets; all ones if nobody counts.
    #[cfg_attr(feature = "serde", serde(rename = "packet_count", with = "As::<Counter>"))]
    pub packets: u64,
    /// Bytes; all ones if nobody counts.
    #[cfg_attr(feature = "serde", serde(rename = "byte_count", with = "As::<Counter>"))]
    pub bytes: u64,
    /// Flows.
    #[cfg_attr(feature = "serde", serde(rename = "flow_count"))]
    pub flows: u32,
}

impl AggregateStats {
    pub(in crate::codec) fn write(&self, w: &mut Writer, kind: Kind) -> Result<(), EncodeError> {
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

    pub(in crate::codec) fn read(r: &mut Reader<'_>, kind: Kind) -> Result<Self, DecodeError> {
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
pub(super) struct Oxs {
    pub(super) duration: Option<Duration>,
    pub(super) idle: Option<u32>,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) flows: u32,
}

impl Default for Oxs {
    fn default() -> Self {
        Oxs { duration: None, idle: None, packets: u64::MAX, bytes: u64::MAX, flows: u32::MAX }
    }
}

pub(super) const OXS_CLASS: u16 = 0x8002;

/// A statistic by its class and number.
const fn number(field: u8) -> u32 {
    (OXS_CLASS as u32) << 7 | field as u32
}

const DURATION: u32 = number(0);
const IDLE: u32 = number(1);
const FLOWS: u32 = number(3);
const PACKETS: u32 = number(4);
const BYTES: u32 = number(5);

pub(super) const OXS: Shape = Shape { what: "statistics", length_at: 2, align: 8, count_padding: false };

pub(super) fn seconds(d: Duration) -> u32 {
    d.as_secs().try_into().unwrap_or(u32::MAX)
}

impl Oxs {
    pub(super) fn write(&self, w: &mut Writer) -> Result<(), EncodeError> {
        w.prefixed(OXS, |w| {
            w.zeros(4);
            let mut put = |number: u32, value: u64, bytes: u8| {
                w.u32(number << 9 | u32::from(bytes));
                w.uint(value.into(), bytes.into());
            };
            if let Some(d) = self.duration {
                put(DURATION, u64::from(seconds(d)) << 32 | u64::from(d.subsec_nanos()), 8);
            }
            if let Some(idle) = self.idle {
                put(IDLE, u64::from(idle) << 32, 8);
            }
            for (number, value) in [(PACKETS, self.packets), (BYTES, self.bytes)] {
                if value != u64::MAX {
                    put(number, value, 8);
                }
            }
            if self.flows != u32::MAX {
                put(FLOWS, self.flows.into(), 4);
            }
            Ok(())
        })
    }

    #[inline(always)]
    pub(super) fn read(r: &mut Reader<'_>) -> Result<Oxs, DecodeError> {
        // The reader stays with who asks: one that is handed on by its place is copied where its parts were just written.
        let (oxs, len) = Oxs::begin(r.peek(), r.place())?;
        r.skip(len)?;
        Ok(oxs)
    }

    /// The statistics that some bytes begin with, at a place, and how many bytes they are.
    #[inline(never)]
    fn begin(bytes: &[u8], start: Place) -> Result<(Oxs, usize), DecodeError> {
        let short = || start.error(OfError::BadMatchBadLength, "the length of statistics");
        let [_, _, high, low] = *bytes.first_chunk::<4>().ok_or_else(short)?;
        let len = usize::from(u16::from_be_bytes([high, low]));
        let (all, padded) = (bytes.get(4..len).ok_or_else(short)?, len.wrapping_add(7) & !7);
        if padded > bytes.len() {
            return Err(short());
        }
        let (mut oxs, mut left) = (Oxs::default(), all);
        while !left.is_empty() {
            let error = |what| {
                let before = all.len().saturating_sub(left.len());
                start.plus(before.saturating_add(4)).error(OfError::BadMatchBadLength, what)
            };
            let cut = || error("more bytes were announced");
            let (head, behind) = left.split_first_chunk().ok_or_else(cut)?;
            let head = u32::from_be_bytes(*head);
            let (value, behind) = behind.split_at_checked((head & 0xff) as usize).ok_or_else(cut)?;
            let halves = || value.first_chunk().map(|value| halves_of(*value));
            let wide = || value.first_chunk().map(|value| u64::from_be_bytes(*value));
            match (head >> 9, value.len()) {
                (DURATION, 8) => {
                    let duration = |(high, low): (u32, u32)| Duration::new(high.into(), low.min(999_999_999));
                    oxs.duration = halves().map(duration);
                }
                (IDLE, 8) => oxs.idle = halves().map(|(high, _)| high),
                (FLOWS, 4) => oxs.flows = value.first_chunk().map_or(0, |value| u32::from_be_bytes(*value)),
                (PACKETS, 8) => oxs.packets = wide().unwrap_or(0),
                (BYTES, 8) => oxs.bytes = wide().unwrap_or(0),
                (DURATION | IDLE | FLOWS | PACKETS | BYTES, _) => return Err(error("the length of a statistic")),
                _ => {}
            }
            left = behind;
        }
        Ok((oxs, padded))
    }
}

#[inline(always)]
fn halves_of(value: [u8; 8]) -> (u32, u32) {
    let value = u64::from_be_bytes(value);
    ((value >> 32) as u32, (value & 0xffff_ffff) as u32)
}

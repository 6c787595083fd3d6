//! Sums of statistics, and statistics as TLVs.

use std::time::Duration;

use crate::codec::cursor::{Reader, Shape, Writer};
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
pub(super) const OXS: Shape = Shape { what: "statistics", length_at: 2, align: 8, count_padding: false };

pub(super) fn seconds(d: Duration) -> u32 {
    d.as_secs().try_into().unwrap_or(u32::MAX)
}

impl Oxs {
    pub(super) fn write(&self, w: &mut Writer) -> Result<(), EncodeError> {
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

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Oxs, DecodeError> {
        let start = r.clone().or(&OfError::BadMatchBadLength);
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
            let start = all.place();
            let head = all.u32()?;
            let (class, field, len) = ((head >> 16) as u16, (head >> 9 & 0x7f) as u8, (head & 0xff) as usize);
            let (known, wide) = (class == OXS_CLASS && matches!(field, 0 | 1 | 3..=5), field != 3);
            let value = match len {
                8 if known && wide => all.u64()?,
                4 if known && !wide => all.u32()?.into(),
                _ => {
                    all.skip(len)?;
                    match known {
                        true => return Err(start.error(OfError::BadMatchBadLength, "the length of a statistic")),
                        false => continue,
                    }
                }
            };
            let (high, low) = ((value >> 32) as u32, (value & 0xffff_ffff) as u32);
            match field {
                0 => oxs.duration = Some(Duration::new(high.into(), low.min(999_999_999))),
                1 => oxs.idle = Some(high),
                3 => oxs.flows = low,
                4 => oxs.packets = value,
                _ => oxs.bytes = value,
            }
        }
        Ok(oxs)
    }
}

//! Meters (OpenFlow 1.3 and later).

use super::cursor::Shape;
use super::error::OfError;
use super::io::{Done, Io};
#[cfg(feature = "serde")]
use crate::json::form::*;

/// A band of a meter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
pub struct Band {
    /// 1 drops, 2 lowers the class.
    #[cfg_attr(feature = "serde", serde(rename = "type", with = "As::<Named<BandType>>"))]
    pub kind: u16,
    /// Kilobits or packets per second above which it does.
    pub rate: u32,
    /// How many may come at once.
    #[cfg_attr(feature = "serde", serde(rename = "burst_size"))]
    pub burst: u32,
    /// By how much the class is lowered.
    #[cfg_attr(feature = "serde", serde(rename = "prec_level"))]
    pub precedence: u8,
}

const BAND: Shape = Shape { what: "a band of a meter", length_at: 2, align: 8, count_padding: true };

impl Band {
    fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        io.framed(BAND, 16, &OfError::BadRequestBadLength, |io| {
            let fits = !io.reads() || io.left() == 16;
            io.check(fits, OfError::BadRequestBadLength, "16 bytes for a band")?;
            io.u16(&mut self.kind)?;
            io.length()?;
            io.check(matches!(self.kind, 1 | 2), OfError::MeterModBadBand, "a band that drops or remarks")?;
            io.u32(&mut self.rate)?;
            io.u32(&mut self.burst)?;
            io.u8(&mut self.precedence)?;
            if self.kind == 1 {
                self.precedence = 0;
            }
            io.pad(3)
        })
    }
}

/// A meter as it is set up.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct MeterConfig {
    /// Its number.
    #[cfg_attr(feature = "serde", serde(rename = "meter_id", with = "As::<Named<MeterId>>"))]
    pub meter: u32,
    /// `OFPMF_*`.
    #[cfg_attr(feature = "serde", serde(with = "As::<Flags<MeterFlags>>"))]
    pub flags: u16,
    /// Its bands.
    pub bands: Vec<Band>,
}

const METER: Shape = Shape { what: "a meter", length_at: 0, align: 8, count_padding: true };

impl MeterConfig {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        io.framed(METER, 8, &OfError::BadRequestBadLength, |io| {
            io.length()?;
            io.u16(&mut self.flags)?;
            io.u32(&mut self.meter)?;
            io.list(&mut self.bands, |io, band| band.pass(io))
        })
    }
}

/// Changes a meter.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct MeterMod {
    /// 0 adds, 1 modifies, 2 deletes.
    #[cfg_attr(feature = "serde", serde(with = "As::<Named<MeterCommand>>"))]
    pub command: u16,
    /// The meter; bands and flags of a deletion say nothing.
    #[cfg_attr(feature = "serde", serde(rename = "meter"))]
    pub config: MeterConfig,
}

impl MeterMod {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        io.u16(&mut self.command)?;
        io.check(self.command <= 2, OfError::MeterModBadCommand, "a command from 0 to 2")?;
        io.u16(&mut self.config.flags)?;
        io.u32(&mut self.config.meter)?;
        if self.command == 2 {
            self.config.flags = 0;
            let mut passed = Vec::new();
            return if io.reads() { io.rest(&mut passed) } else { Ok(()) };
        }
        let both = self.config.flags & 3 == 3;
        io.check(!both, OfError::MeterModBadFlags, "one unit of rates")?;
        io.list(&mut self.config.bands, |io, band| band.pass(io))
    }
}

/// The statistics of a meter.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct MeterStats {
    /// Its number.
    #[cfg_attr(feature = "serde", serde(rename = "meter_id", with = "As::<Named<MeterId>>"))]
    pub meter: u32,
    /// Flows that use it.
    #[cfg_attr(feature = "serde", serde(rename = "flow_count"))]
    pub flows: u32,
    /// Packets and bytes that came to it.
    #[cfg_attr(feature = "serde", serde(with = "As::<Record<PacketsAndBytes, Counter>>"))]
    pub input: (u64, u64),
    /// How long it has existed: seconds and nanoseconds.
    #[cfg_attr(feature = "serde", serde(with = "As::<Seconds>"))]
    pub duration: (u32, u32),
    /// Of each band, packets and bytes.
    #[cfg_attr(feature = "serde", serde(with = "As::<Vec<Record<PacketsAndBytes, Counter>>>"))]
    pub bands: Vec<(u64, u64)>,
}

const METER_STATS: Shape = Shape { what: "the statistics of a meter", length_at: 4, align: 8, count_padding: true };

impl MeterStats {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        io.framed(METER_STATS, 40, &OfError::BadRequestBadLength, |io| {
            io.u32(&mut self.meter)?;
            io.length()?;
            io.pad(6)?;
            io.u32(&mut self.flows)?;
            io.u64(&mut self.input.0)?;
            io.u64(&mut self.input.1)?;
            io.u32(&mut self.duration.0)?;
            io.u32(&mut self.duration.1)?;
            io.list(&mut self.bands, |io, band| {
                io.u64(&mut band.0)?;
                io.u64(&mut band.1)
            })
        })
    }
}

/// Which meters there can be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct MeterFeatures {
    /// How many.
    pub max_meters: u32,
    /// Kinds of bands, a bit each.
    #[cfg_attr(feature = "serde", serde(with = "As::<Flags<BandTypes>>"))]
    pub band_types: u32,
    /// `OFPMF_*`.
    #[cfg_attr(feature = "serde", serde(with = "As::<Flags<MeterFlags>>"))]
    pub capabilities: u32,
    /// How many bands a meter may have.
    pub max_bands: u8,
    /// How many colors.
    pub max_color: u8,
}

impl MeterFeatures {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        io.u32(&mut self.max_meters)?;
        io.u32(&mut self.band_types)?;
        io.u32(&mut self.capabilities)?;
        io.u8(&mut self.max_bands)?;
        io.u8(&mut self.max_color)?;
        io.pad(2)
    }
}

//! Meters: the family `ovs_meter`.

use super::common::OvsHeader;
use super::flow::FlowStats;
use crate::attr::Nest;
use crate::attr::typed::{Bytes, ListOf, NestList, Prefix, U32, U64, attributes};
use crate::error::{DecodeError, EncodeError};
use crate::message::{Flags, Message};

attributes! {
    /// An attribute of a message about a meter: see [`Meter`].
    pub enum MeterAttr = "ovs_meter_attr", "OVS_METER_ATTR_" {
        /// See [`Meter::id`].
        ID = 1 => Id(u32 as U32),
        /// See [`Meter::kbps`].
        KBPS = 2 => Kbps,
        /// See [`Meter::stats`].
        STATS = 3 => Stats(FlowStats as Prefix<FlowStats>),
        /// See [`Meter::bands`].
        BANDS = 4 => Bands(NestList<'a, BandAttr<'a>> as ListOf<BandAttr<'static>>),
        /// See [`Meter::used`].
        USED = 5 => Used(u64 as U64),
        /// See [`Meter::clear`].
        CLEAR = 6 => Clear,
        /// See [`Meter::max_meters`].
        MAX_METERS = 7 => MaxMeters(u32 as U32),
        /// See [`Meter::max_bands`].
        MAX_BANDS = 8 => MaxBands(u32 as U32),
        /// Bytes that mean nothing.
        PAD = 9 => Pad(&'a [u8] as Bytes),
    }
}

attributes! {
    /// An attribute of a band: see [`Band`].
    pub enum BandAttr = "ovs_band_attr", "OVS_BAND_ATTR_" {
        /// See [`Band::ty`].
        TYPE = 1 => Type(u32 as U32),
        /// See [`Band::rate`].
        RATE = 2 => Rate(u32 as U32),
        /// See [`Band::burst`].
        BURST = 3 => Burst(u32 as U32),
        /// See [`Band::stats`].
        STATS = 4 => Stats(FlowStats as Prefix<FlowStats>),
    }
}

/// What is asked of meters, or answered (`OVS_METER_CMD_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum MeterCommand {
    /// Say what the datapath can do.
    Features = 1,
    /// Make a meter, or change it.
    Set = 2,
    /// Delete a meter.
    Delete = 3,
    /// Say what a meter counted.
    Get = 4,
}

/// A band of a meter: what happens above a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Band {
    /// What happens: [`Band::DROP`] is the only thing that there is.
    pub ty: u32,
    /// The rate, in the meter's unit.
    pub rate: u32,
    /// How much may go at once, in the meter's unit.
    pub burst: u32,
    /// Packets above the rate.
    pub stats: Option<FlowStats>,
}

impl Band {
    /// Packets above the rate are dropped.
    pub const DROP: u32 = 1;
    /// More bands are not read of one message: no datapath has so many.
    pub const MAX: usize = 1024;
}

/// A meter, what a request says of one, or what the datapath can do with meters.
///
/// ```
/// use ovs_netlink::{Flags, Messages, ovs::{Band, Meter, MeterCommand}};
///
/// let band = Band { ty: Band::DROP, rate: 1000, burst: 100, stats: None };
/// let meter = Meter { dp_ifindex: 5, id: Some(1), kbps: true, bands: vec![band], ..Meter::default() };
/// let mut bytes = Vec::new();
/// meter.encode(&mut bytes, 34, MeterCommand::Set, Flags::REQUEST | Flags::ACK)?;
/// assert_eq!(Meter::decode(&Messages::new(&bytes).next().unwrap()?)?, meter);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meter {
    /// The interface index of the datapath's local port.
    pub dp_ifindex: u32,
    /// The number of the meter.
    pub id: Option<u32>,
    /// The unit: kilobits and not packets, each a second.
    pub kbps: bool,
    /// The bands; of what the datapath can do, one of each type.
    pub bands: Vec<Band>,
    /// Packets.
    pub stats: Option<FlowStats>,
    /// When the last packet came: milliseconds of the kernel's monotonic clock.
    pub used: Option<u64>,
    /// In a SET request: forget what was counted.
    pub clear: bool,
    /// How many meters the datapath can have.
    pub max_meters: Option<u32>,
    /// How many bands a meter can have.
    pub max_bands: Option<u32>,
}

impl Meter {
    /// The name of the family (`OVS_METER_FAMILY`), and of its multicast group.
    pub const FAMILY: &'static str = "ovs_meter";
    /// The version of the family (`OVS_METER_VERSION`).
    pub const VERSION: u8 = 1;

    /// Appends a message about this meter to `buffer`. `family` is the number that the controller gave for
    /// [`Meter::FAMILY`].
    ///
    /// # Errors
    /// [`EncodeError::AttributeTooLong`] for bands that do not fit.
    pub fn encode(
        &self,
        buffer: &mut Vec<u8>,
        family: u16,
        command: MeterCommand,
        flags: Flags,
    ) -> Result<(), EncodeError> {
        let Meter { dp_ifindex, id, kbps, bands, stats, used, clear, max_meters, max_bands } = self;
        let header = OvsHeader { dp_ifindex: *dp_ifindex };
        header.message(buffer, family, command as u8, Meter::VERSION, flags, |writer| {
            let attributes = [
                id.map(MeterAttr::Id),
                kbps.then_some(MeterAttr::Kbps),
                clear.then_some(MeterAttr::Clear),
                stats.map(MeterAttr::Stats),
                used.map(MeterAttr::Used),
                max_meters.map(MeterAttr::MaxMeters),
                max_bands.map(MeterAttr::MaxBands),
            ];
            attributes.into_iter().flatten().try_for_each(|attribute| writer.put(attribute).map(drop))?;
            // A SET request without this is refused, also when there is no band.
            if bands.is_empty() && command != MeterCommand::Set {
                return Ok(());
            }
            writer
                .nest(MeterAttr::BANDS, |list| {
                    bands.iter().try_for_each(|band| list.nest(0, |inner| band.encode(inner)).map(drop))
                })
                .map(drop)
        })
    }

    /// Reads a message of the family.
    ///
    /// # Errors
    /// [`DecodeError`] with the offset of the attribute that is wrong.
    pub fn decode(message: &Message<'_>) -> Result<Meter, DecodeError> {
        let OvsHeader { dp_ifindex } = OvsHeader::decode(message)?;
        let mut meter = Meter { dp_ifindex, ..Meter::default() };
        for attribute in Nest::of(message, OvsHeader::ATTRIBUTES)? {
            match attribute? {
                MeterAttr::Id(id) => meter.id = Some(id),
                MeterAttr::Kbps => meter.kbps = true,
                MeterAttr::Stats(stats) => meter.stats = Some(stats),
                MeterAttr::Bands(bands) => {
                    let bands = bands.iter().take(Band::MAX).map(|band| Band::decode(band?));
                    meter.bands = bands.collect::<Result<_, _>>()?;
                }
                MeterAttr::Used(used) => meter.used = Some(used),
                MeterAttr::Clear => meter.clear = true,
                MeterAttr::MaxMeters(max) => meter.max_meters = Some(max),
                MeterAttr::MaxBands(max) => meter.max_bands = Some(max),
                MeterAttr::Pad(_) | MeterAttr::Other(_) => {}
            }
        }
        Ok(meter)
    }
}

impl Band {
    fn encode(&self, writer: &mut crate::Writer<'_>) -> Result<(), EncodeError> {
        let Band { ty, rate, burst, stats } = *self;
        writer.put(BandAttr::Type(ty))?.put(BandAttr::Rate(rate))?.put(BandAttr::Burst(burst))?;
        stats.map_or(Ok(()), |stats| writer.put(BandAttr::Stats(stats)).map(drop))
    }

    fn decode(attributes: Nest<'_, BandAttr<'_>>) -> Result<Band, DecodeError> {
        let mut band = Band::default();
        for attribute in attributes {
            match attribute? {
                BandAttr::Type(ty) => band.ty = ty,
                BandAttr::Rate(rate) => band.rate = rate,
                BandAttr::Burst(burst) => band.burst = burst,
                BandAttr::Stats(stats) => band.stats = Some(stats),
                BandAttr::Other(_) => {}
            }
        }
        Ok(band)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Messages;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn decode_inverts_encode(
            (id, kbps, used, clear, max_meters, max_bands) in any::<(Option<u32>, bool, Option<u64>, bool, Option<u32>, Option<u32>)>(),
            bands in prop::collection::vec(any::<(u32, u32, u32, Option<(u64, u64)>)>(), 0..4),
        ) {
            let stats = |(packets, bytes)| FlowStats { packets, bytes };
            let bands: Vec<_> = bands.into_iter()
                .map(|(ty, rate, burst, counted)| Band { ty, rate, burst, stats: counted.map(stats) }).collect();
            let stats = bands.first().and_then(|band| band.stats);
            let meter = Meter { dp_ifindex: 1, id, kbps, bands, stats, used, clear, max_meters, max_bands };
            for command in [MeterCommand::Set, MeterCommand::Get] {
                let mut bytes = Vec::new();
                meter.encode(&mut bytes, 34, command, Flags::REQUEST).unwrap();
                prop_assert_eq!(Meter::decode(&Messages::new(&bytes).next().unwrap().unwrap()), Ok(meter.clone()));
            }
        }
    }
}

//! The meters of OpenFlow (OpenFlow 1.5, sections 5.11 and 7.3.4.4), and which of the datapath's meters are theirs.
//!
//! A datapath numbers its meters as it likes, from zero; OpenFlow from one, with two that have a meaning: one for what
//! goes to controllers, and one for the slow path. A meter of OpenFlow takes the lowest number of the datapath's that is
//! free. Rates are the datapath's to apply, and the counters are the datapath's.

use std::collections::{BTreeMap, BTreeSet};

use ovs_dpif::meter::{Band, Config, Unit};
use ovs_dpif::{Dpif, DpifError, meter};
use ovs_packet::Instant;

use crate::codec::{self, MeterConfig, MeterFeatures, MeterMod, MeterStats, OfError};

/// The highest number of a meter without a meaning of its own.
pub const MAX_METER: u32 = 0xffff_0000;

/// The meter of what the slow path handles.
pub const SLOW_PATH_METER: u32 = 0xffff_fffd;

/// The meter of packets that go to controllers.
pub const CONTROLLER_METER: u32 = 0xffff_fffe;

/// Of a meter number: all meters.
pub const ALL_METERS: u32 = 0xffff_ffff;

const FLAG_PACKETS: u16 = 1 << 1;
const FLAG_BURST: u16 = 1 << 2;
const BAND_DROPS: u16 = 1;

#[derive(Clone, Debug)]
struct Meter {
    config: MeterConfig,
    datapath: u32,
    created: Instant,
}

/// The meters of a switch.
#[derive(Clone, Default, Debug)]
pub struct MeterTable {
    meters: BTreeMap<u32, Meter>,
    /// Numbers below `next` that are free again.
    free: BTreeSet<u32>,
    next: u32,
}

impl MeterTable {
    // Queries.

    /// The datapath's number of a meter, for actions.
    pub fn datapath_id(&self, meter: u32) -> Option<u32> {
        self.meters.get(&meter).map(|m| m.datapath)
    }

    /// Whether there is such a meter.
    pub fn contains(&self, meter: u32) -> bool {
        self.meters.contains_key(&meter)
    }

    /// How many meters there are.
    pub fn len(&self) -> usize {
        self.meters.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.meters.is_empty()
    }

    /// The numbers of the meters, of one or with [`ALL_METERS`] of all.
    pub fn chosen(&self, meter: u32) -> Vec<u32> {
        match meter {
            ALL_METERS => self.meters.keys().copied().collect(),
            one => self.contains(one).then_some(one).into_iter().collect(),
        }
    }

    /// How a meter is set up.
    pub fn config(&self, meter: u32) -> Option<&MeterConfig> {
        self.meters.get(&meter).map(|m| &m.config)
    }

    /// What came to a meter; how many flows use it is counted by who has them.
    pub(super) fn stats(&self, dp: &dyn Dpif, meter: u32, flows: usize, now: Instant) -> Option<MeterStats> {
        let m = self.meters.get(&meter)?;
        // A datapath that has lost it has counted nothing.
        let counted = dp.meter_stats(m.datapath).unwrap_or_default();
        let age = now - m.created;
        let bands = m
            .config
            .bands
            .iter()
            .enumerate()
            .map(|(i, _)| counted.bands.get(i).map_or((0, 0), |c| (c.packets, c.bytes)))
            .collect();
        Some(MeterStats {
            meter,
            flows: u32::try_from(flows).unwrap_or(u32::MAX),
            input: (counted.input.packets, counted.input.bytes),
            duration: (u32::try_from(age.as_secs()).unwrap_or(u32::MAX), age.subsec_nanos()),
            bands,
        })
    }

    /// What meters there can be in a datapath.
    pub(super) fn features(dp: &dyn Dpif) -> MeterFeatures {
        let limits = dp.features();
        let mut f = MeterFeatures::default();
        if limits.meters > 0 {
            f.max_meters = limits.meters;
            f.band_types = 1 << BAND_DROPS;
            // Kilobits, packets, bursts, statistics.
            f.capabilities = 0b1111;
            f.max_bands = limits.meter_bands;
        }
        f
    }

    // Changes.

    /// Carries a modification out. Returns the meters that are gone: flows that use them go with them.
    pub(super) fn modify(&mut self, dp: &mut dyn Dpif, mm: &MeterMod, now: Instant) -> Result<Vec<u32>, OfError> {
        let meter = mm.config.meter;
        if mm.command == 2 {
            let gone = self.chosen(meter);
            gone.iter().for_each(|m| self.delete(dp, *m));
            return Ok(gone);
        }
        let limits = dp.features();
        let is_number = (1..=MAX_METER).contains(&meter) || matches!(meter, SLOW_PATH_METER | CONTROLLER_METER);
        if limits.meters == 0 || !is_number {
            return Err(OfError::MeterModInvalidMeter);
        }
        if mm.config.bands.len() > usize::from(limits.meter_bands) {
            return Err(OfError::MeterModOutOfBands);
        }
        if mm.config.bands.iter().any(|b| b.kind != BAND_DROPS) {
            return Err(OfError::MeterModBadBand);
        }
        let config = datapath_config(&mm.config);
        match (mm.command, self.meters.get_mut(&meter)) {
            (0, Some(_)) => Err(OfError::MeterModMeterExists),
            (0, None) => {
                let id = self.free.first().copied().unwrap_or(self.next);
                if id >= limits.meters {
                    return Err(OfError::MeterModOutOfMeters);
                }
                dp.meter_set(id, &config).map_err(refused)?;
                if !self.free.remove(&id) {
                    self.next += 1;
                }
                self.meters.insert(meter, Meter { config: mm.config.clone(), datapath: id, created: now });
                Ok(Vec::new())
            }
            (1, Some(known)) => {
                dp.meter_set(known.datapath, &config).map_err(refused)?;
                known.config = mm.config.clone();
                Ok(Vec::new())
            }
            (1, None) => Err(OfError::MeterModUnknownMeter),
            _ => Err(OfError::MeterModBadCommand),
        }
    }

    fn delete(&mut self, dp: &mut dyn Dpif, meter: u32) {
        let Some(m) = self.meters.remove(&meter) else { return };
        if let Err(e) = dp.meter_del(m.datapath) {
            tracing::warn!(meter, error = %e, "the datapath has lost a meter");
        }
        self.free.insert(m.datapath);
    }
}

fn datapath_config(config: &MeterConfig) -> Config {
    let unit = if config.flags & FLAG_PACKETS != 0 { Unit::Packets } else { Unit::Kilobits };
    let band = |b: &codec::Band| match config.flags & FLAG_BURST != 0 && b.burst != 0 {
        true => Band::new(b.rate).with_burst(b.burst),
        false => Band::new(b.rate),
    };
    Config::new(unit, config.bands.iter().map(band).collect())
}

fn refused(e: DpifError) -> OfError {
    match e {
        DpifError::Meter(meter::MeterError::NoRate) => OfError::MeterModBadRate,
        DpifError::Meter(meter::MeterError::TooManyBands) => OfError::MeterModOutOfBands,
        _ => OfError::MeterModOutOfMeters,
    }
}

#[cfg(test)]
mod tests {
    use ovs_dpif::userspace::Datapath;

    use super::*;

    fn meter_mod(command: u16, meter: u32, bands: &[(u16, u32, u32)]) -> MeterMod {
        let mut mm = MeterMod::default();
        (mm.command, mm.config.meter, mm.config.flags) = (command, meter, FLAG_PACKETS | FLAG_BURST);
        mm.config.bands = bands
            .iter()
            .map(|(kind, rate, burst)| codec::Band { kind: *kind, rate: *rate, burst: *burst, precedence: 0 })
            .collect();
        mm
    }

    #[test]
    fn numbers_of_the_datapath_are_used_again() {
        let (mut t, mut dp) = (MeterTable::default(), Datapath::new());
        let drop = [(1, 5, 5)];
        for meter in [1, 7, CONTROLLER_METER] {
            t.modify(&mut dp, &meter_mod(0, meter, &drop), Instant::ZERO).unwrap();
        }
        assert_eq!([1, 7, CONTROLLER_METER].map(|m| t.datapath_id(m)), [Some(0), Some(1), Some(2)]);
        assert_eq!(t.modify(&mut dp, &meter_mod(2, 7, &[]), Instant::ZERO), Ok(vec![7]));
        assert!(dp.meter_stats(1).is_err());
        t.modify(&mut dp, &meter_mod(0, 9, &drop), Instant::ZERO).unwrap();
        assert_eq!((t.datapath_id(9), t.datapath_id(7)), (Some(1), None));
        assert_eq!(t.stats(&dp, 9, 3, Instant::from_millis(1500)).unwrap().duration, (1, 500_000_000));
        assert_eq!(t.modify(&mut dp, &meter_mod(2, ALL_METERS, &[]), Instant::ZERO), Ok(vec![1, 9, CONTROLLER_METER]));
        assert!(t.is_empty());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        use OfError::*;
        let (mut t, mut dp) = (MeterTable::default(), Datapath::new());
        let mut try_it = |mm: MeterMod| t.modify(&mut dp, &mm, Instant::ZERO).err();
        assert_eq!(try_it(meter_mod(0, 0, &[])), Some(MeterModInvalidMeter));
        assert_eq!(try_it(meter_mod(0, ALL_METERS, &[])), Some(MeterModInvalidMeter));
        assert_eq!(try_it(meter_mod(1, 1, &[])), Some(MeterModUnknownMeter));
        assert_eq!(try_it(meter_mod(0, 1, &[(1, 0, 0)])), Some(MeterModBadRate));
        assert_eq!(try_it(meter_mod(0, 1, &[(2, 5, 0)])), Some(MeterModBadBand));
        assert_eq!(try_it(meter_mod(0, 1, &[(1, 5, 0); 9])), Some(MeterModOutOfBands));
        assert_eq!(try_it(meter_mod(0, 1, &[(1, 5, 0)])), None);
        assert_eq!(try_it(meter_mod(0, 1, &[(1, 5, 0)])), Some(MeterModMeterExists));
        assert_eq!(try_it(meter_mod(2, 99, &[])), None);
    }
}

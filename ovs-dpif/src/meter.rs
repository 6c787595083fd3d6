//! Meters: token buckets that packets pass, and that drop what comes too fast (OpenFlow 1.5, section 5.7).
//!
//! A meter has up to [`MAX_BANDS`] bands, each with a rate and a burst. A band's bucket holds the burst, starts full,
//! and fills at the rate, in steps of a millisecond. A packet takes its size from every band's bucket that has so much;
//! of the bands that do not, the one with the highest rate applies. The one kind of band that a datapath applies is
//! *drop*: a packet to which any band applies is dropped.
//!
//! ```
//! use ovs_dpif::meter::{Band, Config, Meters, Unit};
//! use ovs_packet::Instant;
//!
//! let mut meters = Meters::default();
//! meters.set(7, Config::new(Unit::Packets, vec![Band::new(2)]))?;
//! let pass = |at| [0; 4].map(|_| meters.admit(7, 100, Instant::from_millis(at)));
//! # let mut pass = pass;
//! assert_eq!(pass(0), [true, true, false, false]);
//! assert_eq!(pass(500), [true, false, false, false]);
//! assert_eq!(meters.stats(7).unwrap().bands[0].packets, 5);
//! # Ok::<(), ovs_dpif::meter::MeterError>(())
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ovs_packet::Instant;

/// How many meters there can be.
pub const MAX_METERS: u32 = 1 << 18;

/// How many bands a meter has at most.
pub const MAX_BANDS: usize = 8;

/// What a meter counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Unit {
    /// Kilobits: rates in kilobits a second, bursts in kilobits.
    Kilobits,
    /// Packets: rates in packets a second, bursts in packets.
    Packets,
}

/// A band: packets beyond its rate are dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Band {
    /// Units a second.
    pub rate: u32,
    /// Units that may come at once; by default what comes in a second.
    pub burst: Option<u32>,
}

impl Band {
    /// A band of this rate and the default burst.
    pub const fn new(rate: u32) -> Band {
        Band { rate, burst: None }
    }

    /// The same with another burst.
    #[must_use]
    pub const fn with_burst(self, burst: u32) -> Band {
        Band { burst: Some(burst), ..self }
    }
}

/// What a meter is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Config {
    /// What it counts.
    pub unit: Unit,
    /// Its bands.
    pub bands: Vec<Band>,
}

impl Config {
    /// A meter with these bands.
    pub const fn new(unit: Unit, bands: Vec<Band>) -> Config {
        Config { unit, bands }
    }
}

/// Packets and bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Count {
    const fn add(&mut self, len: usize) {
        self.packets += 1;
        self.bytes += len as u64;
    }
}

/// What came to a meter.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// All of it.
    pub input: Count,
    /// What each band dropped.
    pub bands: Vec<Count>,
    /// When the meter was made or changed; `None` before its first packet, since nobody told the time.
    pub since: Option<Instant>,
}

/// Why there is no such meter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeterError {
    /// The number is too great.
    #[error("meter {0} is beyond the {MAX_METERS} meters of a datapath")]
    NoSuchNumber(u32),
    /// There is no meter of this number.
    #[error("the datapath has no meter {0}")]
    NoSuchMeter(u32),
    /// There are too many bands.
    #[error("a meter has at most {MAX_BANDS} bands")]
    TooManyBands,
    /// Nothing would ever pass, and the bucket never fill.
    #[error("a band needs a rate above zero")]
    NoRate,
}

/// The meters of a datapath. Clones share the meters that there are, as the threads of a datapath do: what comes to one of
/// them counts for all. Meters that are made later belong to the clone that made them, unless they are
/// [shared](Meters::share).
#[derive(Clone, Default, Debug)]
pub struct Meters {
    meters: HashMap<u32, Shared>,
}

/// A meter that several threads may hold, each under a lock of its own.
type Shared = Arc<Mutex<Meter>>;

/// A panic while the lock was held leaves the meter with less in its buckets than it should have: nothing worse.
fn lock(meter: &Shared) -> MutexGuard<'_, Meter> {
    meter.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
struct Meter {
    config: Config,
    /// In thousandths of a packet, or bits.
    buckets: Vec<u64>,
    /// Up to when the buckets are filled.
    filled: Option<Instant>,
    stats: Stats,
}

impl Meters {
    /// Makes meter `id`, or makes it anew with full buckets and counters at zero.
    ///
    /// # Errors
    /// If the number or the bands cannot be.
    pub fn set(&mut self, id: u32, config: Config) -> Result<(), MeterError> {
        if id >= MAX_METERS {
            return Err(MeterError::NoSuchNumber(id));
        }
        if config.bands.len() > MAX_BANDS {
            return Err(MeterError::TooManyBands);
        }
        if config.bands.iter().any(|b| b.rate == 0) {
            return Err(MeterError::NoRate);
        }
        let stats = Stats { bands: vec![Count::default(); config.bands.len()], ..Stats::default() };
        let buckets = config.bands.iter().map(capacity).collect();
        self.meters.insert(id, Arc::new(Mutex::new(Meter { config, buckets, filled: None, stats })));
        Ok(())
    }

    /// Removes meter `id`, and returns what came to it.
    ///
    /// # Errors
    /// If there is none.
    pub fn delete(&mut self, id: u32) -> Result<Stats, MeterError> {
        self.meters.remove(&id).map(|m| lock(&m).stats.clone()).ok_or(MeterError::NoSuchMeter(id))
    }

    /// What came to meter `id`.
    pub fn stats(&self, id: u32) -> Option<Stats> {
        self.meters.get(&id).map(|m| lock(m).stats.clone())
    }

    /// What meter `id` does.
    pub fn config(&self, id: u32) -> Option<Config> {
        self.meters.get(&id).map(|m| lock(m).config.clone())
    }

    /// Has these meters hold meter `id` of others as it is there: the same one, or none.
    pub fn share(&mut self, id: u32, of: &Meters) {
        match of.meters.get(&id) {
            Some(meter) => drop(self.meters.insert(id, meter.clone())),
            None => drop(self.meters.remove(&id)),
        }
    }

    /// Whether a packet of `len` bytes passes meter `id`. A meter that is not there lets everything pass.
    pub fn admit(&self, id: u32, len: usize, now: Instant) -> bool {
        self.meters.get(&id).is_none_or(|meter| lock(meter).admit(len, now))
    }
}

/// What a band's bucket holds, in thousandths of a packet or bits.
fn capacity(band: &Band) -> u64 {
    u64::from(band.burst.unwrap_or(band.rate)) * 1000
}

impl Meter {
    fn admit(&mut self, len: usize, now: Instant) -> bool {
        let filled = *self.filled.get_or_insert(now);
        self.stats.since.get_or_insert(now);
        // Whole milliseconds: what is left of one counts the next time.
        let millis = (now - filled).as_millis() as u64;
        self.filled = Some(filled + std::time::Duration::from_millis(millis));
        self.stats.input.add(len);
        let size = match self.config.unit {
            Unit::Packets => 1000,
            Unit::Kilobits => 8 * len as u64,
        };
        let mut exceeded: Option<(u32, usize)> = None;
        for (i, (band, bucket)) in self.config.bands.iter().zip(&mut self.buckets).enumerate() {
            *bucket = bucket.saturating_add(millis.saturating_mul(band.rate.into())).min(capacity(band));
            match bucket.checked_sub(size) {
                Some(rest) => *bucket = rest,
                None if exceeded.is_none_or(|(rate, _)| band.rate > rate) => exceeded = Some((band.rate, i)),
                None => {}
            }
        }
        if let Some(count) = exceeded.and_then(|(_, i)| self.stats.bands.get_mut(i)) {
            count.add(len);
        }
        exceeded.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_band_of_the_highest_exceeded_rate_applies() {
        let mut m = Meters::default();
        let bands = vec![Band::new(1), Band::new(3), Band::new(2)];
        m.set(0, Config::new(Unit::Packets, bands)).unwrap();
        let passed: Vec<bool> = (0..4).map(|_| m.admit(0, 10, Instant::ZERO)).collect();
        assert_eq!(passed, [true, false, false, false]);
        let dropped: Vec<u64> = m.stats(0).unwrap().bands.iter().map(|b| b.packets).collect();
        assert_eq!(dropped, [1, 1, 1]);
        assert_eq!(m.stats(0).unwrap().input, Count { packets: 4, bytes: 40 });
    }

    #[test]
    fn kilobits_count_bits_and_fractions_of_a_millisecond_are_kept() {
        let mut m = Meters::default();
        m.set(1, Config::new(Unit::Kilobits, vec![Band::new(8).with_burst(1)])).unwrap();
        // 1,000 bits at once, then 8 a millisecond: a byte.
        assert!(m.admit(1, 125, Instant::ZERO) && !m.admit(1, 1, Instant::ZERO));
        let at = |micros: u64| Instant::ZERO + std::time::Duration::from_micros(micros);
        assert!(!m.admit(1, 1, at(900)) && m.admit(1, 1, at(1800)) && m.admit(1, 1, at(2000)));
        assert!(!m.admit(1, 1, at(2999)) && m.admit(1, 1, at(3000)));
        // However long nothing comes, the burst is all there is.
        assert!(m.admit(1, 125, Instant::from_secs(1 << 30)) && !m.admit(1, 1, Instant::from_secs(1 << 30)));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let mut m = Meters::default();
        let set = |m: &mut Meters, id, bands| m.set(id, Config::new(Unit::Packets, bands));
        assert_eq!(set(&mut m, MAX_METERS, vec![]), Err(MeterError::NoSuchNumber(MAX_METERS)));
        assert_eq!(set(&mut m, 0, vec![Band::new(1); 9]), Err(MeterError::TooManyBands));
        assert_eq!(set(&mut m, 0, vec![Band::new(0)]), Err(MeterError::NoRate));
        assert_eq!(m.delete(0), Err(MeterError::NoSuchMeter(0)));
        assert!(m.admit(0, 1, Instant::ZERO));
    }
}

//! Which Ethernet addresses the next hops of tunnels have.
//!
//! An entry belongs to a switch. It is learnt from answers to requests, which the switch itself sends when a packet for
//! a tunnel needs an address that it does not know; until the answer comes, or [`Neighbours::retransmit`] is over, the entry
//! is *incomplete* and no further request is sent. One that no packet uses ends after [`Neighbours::aging`].
//!
//! Answers are traffic, so that there is a bound: when the table is full, the entry goes that would end first.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ovs_packet::{EthAddr, Instant};

/// How long an entry lives that is not used, unless said otherwise.
pub const DEFAULT_AGING: Duration = Duration::from_secs(15 * 60);
/// The longest that can be asked for.
pub const MAX_AGING: Duration = Duration::from_secs(3600);
/// How long an answer is waited for, unless said otherwise.
pub const DEFAULT_RETRANSMIT: Duration = Duration::from_millis(1000);
/// How many entries there can be.
pub const MAX_NEIGHBOURS: usize = 16_384;

/// A next hop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Neighbour {
    /// Its address; none while it has not answered.
    pub address: Option<EthAddr>,
    /// When it ends.
    pub expires: Instant,
}

/// What is known of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Known {
    /// It is there.
    At(EthAddr),
    /// It was asked, and may still answer.
    Asked,
    /// It is to be asked.
    Unknown,
}

/// Why a time cannot be as it is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TimeError {
    /// Entries must live for at least a second and at most an hour.
    #[error("bad aging value")]
    Aging,
    /// Entries must live for as long as answers are waited for.
    #[error("aging value cannot be less than retrans_time")]
    AgingBelowRetransmit,
    /// The same the other way round.
    #[error("retrans_time value cannot be greater than aging")]
    RetransmitAboveAging,
}

/// The table.
#[derive(Clone, Debug)]
pub struct Neighbours {
    all: BTreeMap<(String, IpAddr), Neighbour>,
    aging: Duration,
    retransmit: Duration,
    evicted: u64,
}

impl Default for Neighbours {
    fn default() -> Self {
        Neighbours { all: BTreeMap::new(), aging: DEFAULT_AGING, retransmit: DEFAULT_RETRANSMIT, evicted: 0 }
    }
}

impl Neighbours {
    /// How long an entry lives that is not used.
    pub fn aging(&self) -> Duration {
        self.aging
    }

    /// How long an answer is waited for; not at all if it is zero.
    pub fn retransmit(&self) -> Duration {
        self.retransmit
    }

    /// How many entries went because there were too many.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The entries, by switch and address.
    pub fn iter(&self) -> impl Iterator<Item = (&str, IpAddr, &Neighbour)> {
        self.all.iter().map(|((bridge, address), neighbour)| (bridge.as_str(), *address, neighbour))
    }

    /// What is known of an address.
    pub fn lookup(&self, bridge: &str, address: IpAddr, now: Instant) -> Known {
        match self.get(bridge, address).filter(|n| n.expires > now) {
            Some(Neighbour { address: Some(mac), .. }) => Known::At(*mac),
            Some(Neighbour { address: None, .. }) => Known::Asked,
            None => Known::Unknown,
        }
    }

    fn get(&self, bridge: &str, address: IpAddr) -> Option<&Neighbour> {
        self.all.get(&(bridge.to_string(), address))
    }

    /// When the first of them ends.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.all.values().map(|n| n.expires).min()
    }

    // Changes. Each says whether packets may take another way now.

    /// Takes note of an answer.
    pub fn learn(&mut self, bridge: &str, address: IpAddr, mac: EthAddr, now: Instant) -> bool {
        self.put(bridge, address, Neighbour { address: Some(mac), expires: now + self.aging })
    }

    /// Takes note of a request. False if none is to be sent, for one was.
    pub fn ask(&mut self, bridge: &str, address: IpAddr, now: Instant) -> bool {
        if self.lookup(bridge, address, now) != Known::Unknown {
            return false;
        }
        if !self.retransmit.is_zero() {
            self.put(bridge, address, Neighbour { address: None, expires: now + self.retransmit });
        }
        true
    }

    fn put(&mut self, bridge: &str, address: IpAddr, new: Neighbour) -> bool {
        let key = (bridge.to_string(), address);
        if self.all.len() >= MAX_NEIGHBOURS && !self.all.contains_key(&key) {
            let first = self.all.iter().min_by_key(|(_, n)| n.expires).map(|(key, _)| key.clone());
            if let Some(first) = first {
                self.all.remove(&first);
                self.evicted += 1;
            }
        }
        let before = self.all.insert(key, new);
        before.is_none_or(|before| before.address != new.address)
    }

    /// An entry is used, and lives on. One that is not there is not made.
    pub fn used(&mut self, bridge: &str, address: IpAddr, at: Instant) {
        let expires = at + self.aging;
        if let Some(n) = self.all.get_mut(&(bridge.to_string(), address)).filter(|n| n.address.is_some()) {
            n.expires = n.expires.max(expires);
        }
    }

    /// Ends what is over.
    pub fn expire(&mut self, now: Instant) -> bool {
        let before = self.all.len();
        self.all.retain(|_, n| n.expires > now);
        self.all.len() != before
    }

    /// Forgets the entries of a switch, or all of them.
    pub fn flush(&mut self, bridge: Option<&str>) -> bool {
        let before = self.all.len();
        self.all.retain(|(of, _), _| bridge.is_some_and(|bridge| of != bridge));
        self.all.len() != before
    }

    /// Has entries live for another time than until now; none lives longer for it that is there.
    ///
    /// # Errors
    /// If it is not within its bounds.
    pub fn set_aging(&mut self, aging: Duration, now: Instant) -> Result<(), TimeError> {
        if aging.is_zero() || aging > MAX_AGING {
            return Err(TimeError::Aging);
        }
        if aging < self.retransmit {
            return Err(TimeError::AgingBelowRetransmit);
        }
        self.aging = aging;
        self.all.values_mut().for_each(|n| n.expires = n.expires.min(now + aging));
        Ok(())
    }

    /// Has answers be waited for another time than until now.
    ///
    /// # Errors
    /// If it is longer than entries live.
    pub fn set_retransmit(&mut self, retransmit: Duration, now: Instant) -> Result<(), TimeError> {
        if retransmit > self.aging {
            return Err(TimeError::RetransmitAboveAging);
        }
        self.retransmit = retransmit;
        let asked = self.all.values_mut().filter(|n| n.address.is_none());
        asked.for_each(|n| n.expires = n.expires.min(now + retransmit));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: EthAddr = EthAddr([2, 0, 0, 0, 0, 1]);
    const B: EthAddr = EthAddr([2, 0, 0, 0, 0, 2]);

    fn ip(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_neighbour_is_asked_once_learnt_and_ages() {
        let mut all = Neighbours::default();
        assert_eq!(all.lookup("br0", ip(1), at(0)), Known::Unknown);
        assert!(all.ask("br0", ip(1), at(0)));
        assert!(!all.ask("br0", ip(1), at(0)));
        assert_eq!(all.lookup("br0", ip(1), at(0)), Known::Asked);
        assert_eq!(all.lookup("br1", ip(1), at(0)), Known::Unknown);
        // No answer for a second: it is asked again.
        assert_eq!(all.next_expiry(), Some(at(1)));
        assert!(all.expire(at(1)) && all.ask("br0", ip(1), at(1)));
        assert!(all.learn("br0", ip(1), A, at(1)));
        assert_eq!(all.lookup("br0", ip(1), at(1)), Known::At(A));
        // Hearing the same again changes nothing, another address does.
        assert!(!all.learn("br0", ip(1), A, at(2)));
        assert!(all.learn("br0", ip(1), B, at(2)));
        assert!(!all.expire(at(2 + 899)));
        all.used("br0", ip(1), at(900));
        assert!(!all.expire(at(2 + 900)));
        assert!(all.expire(at(900 + 900)));
        all.used("br0", ip(1), at(1801));
        assert_eq!(all.iter().count(), 0);
    }

    #[test]
    fn times_stay_within_one_another() {
        let mut all = Neighbours::default();
        all.learn("br0", ip(1), A, at(0));
        all.ask("br0", ip(2), at(0));
        assert_eq!(all.set_aging(Duration::ZERO, at(0)), Err(TimeError::Aging));
        assert_eq!(all.set_aging(Duration::from_secs(3601), at(0)), Err(TimeError::Aging));
        assert_eq!(all.set_aging(Duration::from_millis(999), at(0)), Err(TimeError::AgingBelowRetransmit));
        all.set_aging(Duration::from_secs(5), at(0)).unwrap();
        assert_eq!(all.set_retransmit(Duration::from_secs(6), at(0)), Err(TimeError::RetransmitAboveAging));
        assert!(!all.expire(at(0)));
        all.set_retransmit(Duration::ZERO, at(0)).unwrap();
        // What was asked is not waited for any more.
        assert!(all.expire(at(0)));
        assert!(all.ask("br0", ip(2), at(0)) && all.ask("br0", ip(2), at(0)));
        assert!(all.expire(at(5)));
    }

    #[test]
    fn a_flood_of_answers_is_bounded_and_flushed_by_switch() {
        let mut all = Neighbours::default();
        for n in 0..MAX_NEIGHBOURS as u32 + 10 {
            all.learn("br0", IpAddr::V4(n.into()), A, at(n.into()));
        }
        assert_eq!((all.iter().count(), all.evicted()), (MAX_NEIGHBOURS, 10));
        assert_eq!(all.lookup("br0", IpAddr::V4(9.into()), at(0)), Known::Unknown);
        all.learn("br1", ip(1), B, at(1 << 20));
        assert!(all.flush(Some("br0")));
        assert_eq!(all.iter().map(|(bridge, ..)| bridge).collect::<Vec<_>>(), ["br1"]);
        assert!(all.flush(None) && !all.flush(None));
    }
}

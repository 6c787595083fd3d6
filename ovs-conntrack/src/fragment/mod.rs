//! Fragments of IPv4 and IPv6: put together before tracking, cut again after.
//!
//! A later fragment has no ports, so that no connection can be told from it. [`Fragments`] holds fragments until their
//! datagram is there, and gives it whole; when it has been tracked, and perhaps translated, [`Whole::split`] gives
//! fragments again, cut where they were. [`split`] cuts a packet to a size. This module knows no connections, and can
//! be used alone.
//!
//! # Bounds
//!
//! Fragments come from anybody, and need not come all. Datagrams, fragments, bytes and time are bounded
//! ([`FragmentLimits`]); when there is no room, the datagram that began first is given up, so that a flood of lone
//! fragments delays nobody. A fragment that is not the last one is dropped if it is smaller than any link would make
//! it.
//!
//! Fragments that overlap are an attack (RFC 1858, RFC 5722): nothing of their datagram is let through, and what
//! comes of it later is dropped until its time is over. An exact repetition of a fragment is dropped alone.
//!
//! ```
//! use ovs_conntrack::fragment::{self, Fragments, Gathered};
//! use ovs_packet::{Instant, Match, compose};
//!
//! let udp: Match = "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=1,tp_dst=2".parse().unwrap();
//! let datagram = compose::compose(udp.key(), &[7; 4000]);
//! let sent = fragment::split(datagram.clone(), 1500, 0).unwrap();
//!
//! let mut fragments = Fragments::new(Default::default());
//! let mut whole = None;
//! for fragment in sent.clone() {
//!     match fragments.gather(fragment, 0, Instant::ZERO) {
//!         Gathered::Whole(found) => whole = Some(found),
//!         other => assert!(matches!(other, Gathered::Held)),
//!     }
//! }
//! let whole = whole.unwrap();
//! assert_eq!(whole.packet.data(), datagram.data());
//! let again: Vec<_> = whole.split().iter().map(|f| f.data().to_vec()).collect();
//! assert_eq!(again, sent.iter().map(|f| f.data().to_vec()).collect::<Vec<_>>());
//! ```

mod header;
mod split;

pub use split::{SplitError, Whole, split};

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use header::{Datagram, Fragment};
use ovs_packet::{Instant, Packet};

/// How much may be held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FragmentLimits {
    /// Datagrams of which fragments are waited for, those that were given up for overlap included. Default: 1,000.
    pub datagrams: usize,
    /// Fragments. Default: 1,000.
    pub fragments: usize,
    /// Bytes of held packets. Default: 4,000,000.
    pub bytes: usize,
    /// Fragments of one datagram. Default: 200.
    pub per_datagram: usize,
    /// How long a datagram may take from its first fragment on. Default: 15 seconds.
    pub timeout: Duration,
    /// The smallest fragment of IPv4 that is not a last one, in bytes from the network header on. Default: 1,200.
    pub min_size_v4: usize,
    /// Likewise, of IPv6. Default: 1,280.
    pub min_size_v6: usize,
    /// Whether fragments of IPv4 are put together; otherwise they are [`Gathered::Other`]. Default: yes.
    pub ipv4: bool,
    /// Likewise, of IPv6.
    pub ipv6: bool,
}

impl Default for FragmentLimits {
    fn default() -> Self {
        FragmentLimits {
            datagrams: 1000,
            fragments: 1000,
            bytes: 4_000_000,
            per_datagram: 200,
            timeout: Duration::from_secs(15),
            min_size_v4: 1200,
            min_size_v6: 1280,
            ipv4: true,
            ipv6: true,
        }
    }
}

/// What became of a packet.
#[derive(Debug)]
pub enum Gathered {
    /// It is no fragment, or of a family that is not put together.
    Other(Packet),
    /// It is held until others come.
    Held,
    /// It was the last one that was missing.
    Whole(Whole),
    /// It was dropped, and with [`Overlap`](FragmentDrop::Overlap) all that was held of its datagram.
    Dropped(FragmentDrop),
}

macro_rules! drops {
    ($($(#[$doc:meta])+ $name:ident = $text:expr;)+) => {
        /// Why fragments were dropped.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[non_exhaustive]
        pub enum FragmentDrop {
            $($(#[$doc])+ $name,)+
        }

        impl FragmentDrop {
            /// All reasons.
            pub const ALL: &'static [FragmentDrop] = &[$(FragmentDrop::$name),+];
        }

        impl fmt::Display for FragmentDrop {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(FragmentDrop::$name => $text,)+ })
            }
        }
    };
}

drops! {
    /// Headers cut short, no data, or a length that is no multiple of 8 though more follow.
    Malformed = "a fragment that contradicts itself";
    /// Smaller than a fragment that is not the last one may be.
    TooSmall = "a fragment that is too small";
    /// Reaches beyond the longest datagram.
    TooLong = "a fragment beyond the longest datagram";
    /// Overlaps another, or contradicts it about the datagram's end; or is of a datagram in which that happened.
    Overlap = "fragments that overlap";
    /// The same as another.
    Duplicate = "a fragment that was there already";
    /// One more than a datagram may have.
    TooMany = "too many fragments of a datagram";
    /// Given up for want of room.
    Evicted = "no room for fragments";
    /// Others did not come in time.
    Expired = "a datagram that was not complete in time";
}

/// Counters.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct FragmentStats {
    /// Datagrams that are waited for.
    pub datagrams: usize,
    /// Fragments that are held now.
    pub fragments: usize,
    /// Bytes that are held now.
    pub bytes: usize,
    /// Fragments that came, all but those that are not put together: each is held, was dropped, or is of a whole.
    pub received: u64,
    /// Datagrams that became whole.
    pub whole: u64,
    /// Fragments in them.
    pub joined: u64,
    dropped: [u64; FragmentDrop::ALL.len()],
}

impl FragmentStats {
    /// Fragments dropped for this reason.
    pub fn dropped(&self, reason: FragmentDrop) -> u64 {
        self.dropped.get(reason as usize).copied().unwrap_or(0)
    }

    /// Fragments dropped for any reason.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    fn drop(&mut self, reason: FragmentDrop, n: usize) {
        if let Some(count) = self.dropped.get_mut(reason as usize) {
            *count += n as u64;
        }
    }
}

/// What is there of a datagram.
struct Parts {
    /// In order, without overlaps.
    pieces: Vec<(Fragment, Packet)>,
    /// Bytes of the datagram that are there, and all that it has, if that is known.
    there: usize,
    end: Option<usize>,
    /// Fragments overlapped: nothing more is taken.
    spoilt: bool,
    /// Tells it from an earlier one with the same identification.
    serial: u64,
}

/// Fragments that wait for others. See the [module](self).
pub struct Fragments {
    limits: FragmentLimits,
    parts: BTreeMap<Datagram, Parts>,
    /// In the order of their ends, which is that of their beginnings. Those that became whole are skipped.
    queue: VecDeque<(Instant, Datagram, u64)>,
    serial: u64,
    stats: FragmentStats,
}

impl Fragments {
    /// Holds nothing yet.
    pub fn new(limits: FragmentLimits) -> Self {
        let (parts, queue) = (BTreeMap::new(), VecDeque::new());
        Fragments { limits, parts, queue, serial: 0, stats: FragmentStats::default() }
    }

    /// The limits.
    pub fn limits(&self) -> &FragmentLimits {
        &self.limits
    }

    /// Sets the limits. What is held beyond them is given up when the next fragment comes.
    pub fn set_limits(&mut self, limits: FragmentLimits) {
        self.limits = limits;
    }

    /// The counters.
    pub fn stats(&self) -> FragmentStats {
        FragmentStats { datagrams: self.parts.len(), ..self.stats }
    }

    /// Takes a packet whose layers are known. Only fragments of one `group`, such as a zone, are put together.
    pub fn gather(&mut self, packet: Packet, group: u64, now: Instant) -> Gathered {
        let fragment = match Fragment::read(&packet, group) {
            Ok(Some(fragment)) => fragment,
            Ok(None) => return Gathered::Other(packet),
            Err(()) => {
                self.stats.received += 1;
                return self.refuse(FragmentDrop::Malformed);
            }
        };
        let v6 = fragment.next.is_some();
        if !(if v6 { self.limits.ipv6 } else { self.limits.ipv4 }) {
            return Gathered::Other(packet);
        }
        self.stats.received += 1;
        self.expire(now);
        let Fragment { at, more, headers, .. } = &fragment;
        if at.is_empty() || (*more && at.len() % 8 != 0) {
            return self.refuse(FragmentDrop::Malformed);
        }
        // IPv6's length field does not count its first header.
        if headers + at.end - if v6 { 40 } else { 0 } > usize::from(u16::MAX) {
            return self.refuse(FragmentDrop::TooLong);
        }
        if *more && packet.l3().len() < (if v6 { self.limits.min_size_v6 } else { self.limits.min_size_v4 }) {
            return self.refuse(FragmentDrop::TooSmall);
        }
        self.place(fragment, packet, now)
    }

    fn refuse(&mut self, reason: FragmentDrop) -> Gathered {
        self.stats.drop(reason, 1);
        Gathered::Dropped(reason)
    }

    /// Files a fragment that is sound by itself.
    fn place(&mut self, fragment: Fragment, packet: Packet, now: Instant) -> Gathered {
        let (datagram, at, more) = (fragment.datagram, fragment.at.clone(), fragment.more);
        if !self.parts.contains_key(&datagram) {
            self.serial += 1;
            self.queue.push_back((now + self.limits.timeout, datagram, self.serial));
            let parts = Parts { pieces: Vec::new(), there: 0, end: None, spoilt: false, serial: self.serial };
            self.parts.insert(datagram, parts);
        }
        let Some(parts) = self.parts.get_mut(&datagram) else { return self.refuse(FragmentDrop::Evicted) };
        if parts.spoilt {
            return self.refuse(FragmentDrop::Overlap);
        }
        let index = parts.pieces.partition_point(|(other, _)| other.at.start < at.start);
        let before = index.checked_sub(1).and_then(|i| parts.pieces.get(i)).map_or(0, |(other, _)| other.at.end);
        let after = parts.pieces.get(index).map(|(other, _)| other.at.clone());
        if after.as_ref() == Some(&at) {
            return self.refuse(FragmentDrop::Duplicate);
        }
        let overlaps = before > at.start || after.is_some_and(|after| after.start < at.end);
        let beyond = match parts.end {
            Some(end) => at.end > end || (!more && at.end != end),
            None => !more && parts.pieces.last().is_some_and(|(last, _)| last.at.end > at.end),
        };
        if overlaps || beyond {
            let held = parts.pieces.len();
            self.stats.bytes -= parts.pieces.iter().map(|(_, packet)| packet.len()).sum::<usize>();
            self.stats.fragments -= held;
            (parts.pieces, parts.spoilt) = (Vec::new(), true);
            self.stats.drop(FragmentDrop::Overlap, held);
            self.make_room();
            return self.refuse(FragmentDrop::Overlap);
        }
        if parts.pieces.len() >= self.limits.per_datagram {
            return self.refuse(FragmentDrop::TooMany);
        }
        if !more {
            parts.end = Some(at.end);
        }
        parts.there += at.len();
        self.stats.fragments += 1;
        self.stats.bytes += packet.len();
        parts.pieces.insert(index, (fragment, packet));
        if parts.end == Some(parts.there) {
            return self.join(&datagram);
        }
        self.make_room();
        // It may have been the oldest, or too much by itself.
        if self.parts.contains_key(&datagram) { Gathered::Held } else { Gathered::Dropped(FragmentDrop::Evicted) }
    }

    fn join(&mut self, datagram: &Datagram) -> Gathered {
        let Some(parts) = self.parts.remove(datagram) else { return self.refuse(FragmentDrop::Evicted) };
        let n = parts.pieces.len();
        self.stats.fragments -= n;
        self.stats.bytes -= parts.pieces.iter().map(|(_, packet)| packet.len()).sum::<usize>();
        self.make_room();
        match Whole::join(parts.pieces) {
            Some(whole) => {
                self.stats.whole += 1;
                self.stats.joined += n as u64;
                Gathered::Whole(whole)
            }
            // The first fragment's own headers are longer than the others', and there is no room for both.
            None => {
                self.stats.drop(FragmentDrop::TooLong, n);
                Gathered::Dropped(FragmentDrop::TooLong)
            }
        }
    }

    /// Gives up the oldest until all limits are kept; and the queue's memory of what is gone.
    fn make_room(&mut self) {
        let limits = self.limits;
        while self.parts.len() > limits.datagrams
            || self.stats.fragments > limits.fragments
            || self.stats.bytes > limits.bytes
        {
            let Some((_, datagram, serial)) = self.queue.pop_front() else { return };
            self.give_up(&datagram, serial, FragmentDrop::Evicted);
        }
        if self.queue.len() > 2 * self.parts.len() + 64 {
            let parts = &self.parts;
            self.queue.retain(|(_, datagram, serial)| parts.get(datagram).is_some_and(|p| p.serial == *serial));
        }
    }

    /// Gives up datagrams that were not complete in time, and says how many fragments were held of them.
    pub fn expire(&mut self, now: Instant) -> usize {
        let mut dropped = 0;
        while self.queue.front().is_some_and(|(deadline, ..)| *deadline <= now)
            && let Some((_, datagram, serial)) = self.queue.pop_front()
        {
            dropped += self.give_up(&datagram, serial, FragmentDrop::Expired);
        }
        dropped
    }

    fn give_up(&mut self, datagram: &Datagram, serial: u64, reason: FragmentDrop) -> usize {
        if self.parts.get(datagram).is_none_or(|parts| parts.serial != serial) {
            return 0;
        }
        let pieces = self.parts.remove(datagram).map(|parts| parts.pieces).unwrap_or_default();
        self.stats.fragments -= pieces.len();
        self.stats.bytes -= pieces.iter().map(|(_, packet)| packet.len()).sum::<usize>();
        self.stats.drop(reason, pieces.len());
        pieces.len()
    }

    /// When [`expire`](Self::expire) will next have something to give up.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.queue.front().map(|(deadline, ..)| *deadline)
    }

    /// Gives up everything, and says how many fragments were held.
    pub fn flush(&mut self) -> usize {
        let held = self.stats.fragments;
        self.stats.drop(FragmentDrop::Evicted, held);
        (self.stats.fragments, self.stats.bytes) = (0, 0);
        self.parts.clear();
        self.queue.clear();
        held
    }
}

impl fmt::Debug for Fragments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fragments").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

//! What one port's traffic may take from the others.
//!
//! Traffic that nothing matches makes work for the slow path, and megaflows and masks that all lookups bear. Who sends on
//! one port shall not be able to take that from the others:
//!
//! - **Misses.** Of the room in the queue for the slow path a port gets at most as much as is left free. So a single port
//!   gets half of it, two get a third each, and there is always room for another. Besides, each port may have a rate of
//!   misses, as a token bucket.
//! - **Megaflows.** A port may have all that there is room for, until another wants one: then the port with the most gives
//!   one up, as long as it has more than the other, so that ports under pressure end with as many each. Who keeps the
//!   megaflows knows when there is no room, and asks ([`Dpif::flow_make_room`](crate::Dpif::flow_make_room)).
//! - **Quotas.** A port may besides have a quota of megaflows and of their masks. A megaflow beyond it takes the place of one of the same
//!   port: of those looked at next in the order of insertion, the first that no packet has used since it was looked at
//!   last. Of the masks' quota, one whose mask no other has, if there is one near; if not, another, so that there will be.
//!
//! A megaflow is its input port's if it matches it wholly, as all do that a switch makes.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use foldhash::fast::RandomState;
use ovs_packet::Instant;

use super::Limits;
use crate::action::PortNo;
use crate::dpif::Ufid;
use crate::drops::DropReason;

/// How many megaflows are looked at for one to be evicted.
const LOOKS: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Bounds {
    ports: HashMap<u32, Share, RandomState>,
    waiting: usize,
}

/// What a port has.
#[derive(Debug, Default)]
struct Share {
    /// Packets that wait for the slow path.
    waiting: usize,
    /// Misses that may come at once, in nanoseconds of the rate, and when that was so; none before the first.
    credit: Option<(Duration, Instant)>,
    /// Megaflows, by insertion, with the mask of each and how often it had been used when it was looked at last. There
    /// may be some that are gone.
    clock: VecDeque<(Ufid, u64, u64)>,
    flows: usize,
    /// How many megaflows have each mask, by the mask's hash.
    masks: HashMap<u64, usize, RandomState>,
}

impl Bounds {
    /// Counts a packet of a port that is to wait for the slow path in; or tells why it must not.
    pub(super) fn admit(&mut self, port: u32, limits: &Limits, now: Instant, is_miss: bool) -> Result<(), DropReason> {
        let share = self.ports.entry(port).or_default();
        if share.waiting >= limits.upcalls.saturating_sub(self.waiting) {
            return Err(DropReason::UpcallQueueFull);
        }
        if is_miss && !share.pay(limits, now) {
            return Err(DropReason::UpcallRate);
        }
        share.waiting += 1;
        self.waiting += 1;
        Ok(())
    }

    /// Counts a packet out.
    pub(super) fn release(&mut self, port: u32) {
        if let Some(share) = self.ports.get_mut(&port) {
            share.waiting = share.waiting.saturating_sub(1);
        }
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// Counts a megaflow in.
    pub(super) fn add(&mut self, port: u32, ufid: Ufid, mask: u64) {
        let share = self.ports.entry(port).or_default();
        share.flows += 1;
        *share.masks.entry(mask).or_default() += 1;
        share.clock.push_back((ufid, mask, 0));
    }

    /// Counts a megaflow out.
    pub(super) fn remove(&mut self, port: u32, ufid: Ufid, mask: u64) {
        let Some(share) = self.ports.get_mut(&port) else { return };
        share.flows = share.flows.saturating_sub(1);
        if let Some(n) = share.masks.get_mut(&mask) {
            *n -= 1;
            if *n == 0 {
                share.masks.remove(&mask);
            }
        }
        // What is in front goes now, others when they are looked at, or when there are too many of them.
        if share.clock.front().is_some_and(|(front, ..)| *front == ufid) {
            share.clock.pop_front();
        }
    }

    /// Forgets those that are gone, where they are more than those that are there.
    pub(super) fn tidy(&mut self, port: u32, is_there: impl Fn(Ufid) -> bool) {
        if let Some(share) = self.ports.get_mut(&port)
            && share.clock.len() > 2 * share.flows + LOOKS
        {
            share.clock.retain(|(ufid, ..)| is_there(*ufid));
        }
    }

    /// All megaflows are gone.
    pub(super) fn clear_flows(&mut self) {
        for share in self.ports.values_mut() {
            share.flows = 0;
            share.masks.clear();
            share.clock.clear();
        }
    }

    /// The megaflow of a port that must go before one with a mask can be added; `used` tells how often a megaflow was
    /// used, if it is there.
    pub(super) fn victim(
        &mut self,
        port: u32,
        mask: u64,
        limits: &Limits,
        used: impl Fn(Ufid) -> Option<u64>,
    ) -> Option<Ufid> {
        let share = self.ports.get_mut(&port)?;
        let new_mask = !share.masks.contains_key(&mask);
        let for_mask = new_mask && share.masks.len() >= limits.port_masks;
        if share.flows < limits.port_flows && !for_mask {
            return None;
        }
        share.least_used(for_mask, used)
    }

    /// The megaflow of another port that must go for a port to have one more than it has: of the one with the most, if it
    /// has not fewer then than the port. Among `rivals`, or among all.
    pub(super) fn rival(
        &mut self,
        port: u32,
        rivals: Option<&[PortNo]>,
        used: impl Fn(Ufid) -> Option<u64>,
    ) -> Option<Ufid> {
        let flows = |port: &u32| self.ports.get(port).map_or(0, |share| share.flows);
        let counted = |port: &u32| (flows(port), *port);
        let (most, rival) = match rivals {
            Some(rivals) => rivals.iter().map(|PortNo(port)| counted(port)).max()?,
            None => self.ports.keys().map(counted).max()?,
        };
        if most <= flows(&port) + 1 {
            return None;
        }
        self.ports.get_mut(&rival)?.least_used(false, used)
    }
}

impl Share {
    /// The megaflow that goes: of those that are next, the first that was not used since it was looked at last; if a mask
    /// is to be freed by it, one that is the only one of its mask.
    fn least_used(&mut self, for_mask: bool, used: impl Fn(Ufid) -> Option<u64>) -> Option<Ufid> {
        let (mut second, mut any) = (None, None);
        for _ in 0..LOOKS.min(self.clock.len()) {
            let Some((ufid, mask, seen)) = self.clock.pop_front() else { break };
            let Some(now) = used(ufid) else { continue };
            self.clock.push_back((ufid, mask, now));
            let frees_mask = self.masks.get(&mask) == Some(&1);
            if now == seen && (frees_mask || !for_mask) {
                return Some(ufid);
            }
            if frees_mask || !for_mask {
                second = second.or(Some(ufid));
            }
            any = any.or(Some(ufid));
        }
        second.or(any)
    }

    /// Pays for a miss, if the port's rate allows it.
    fn pay(&mut self, limits: &Limits, now: Instant) -> bool {
        let Some(price) = Duration::from_secs(1).checked_div(limits.port_misses_per_second) else { return true };
        let most = price * limits.port_miss_burst.max(1);
        let (credit, at) = self.credit.unwrap_or((most, now));
        let credit = (credit + (now - at)).min(most);
        let left = credit.checked_sub(price);
        self.credit = Some((left.unwrap_or(credit), now.max(at)));
        left.is_some()
    }
}

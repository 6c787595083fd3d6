//! A hierarchical timer wheel over slot numbers, with lazy deadlines.
//!
//! Time is cut into ticks of about a quarter of a second. Level 0 has a list for each of the next 64 ticks, level 1
//! one for each of the next 64 runs of 64 ticks, and so on, up to the end of time. An id is filed at the level of the
//! highest 6-bit digit in which its tick and the present one differ; when the present reaches its list, it is filed
//! again, lower. So an id is handled at most once a level, filing and cancelling cost the same however many there
//! are, and the earliest list is found by a count of trailing zeros.
//!
//! *Lazy*: an id's true deadline may move later without a word to the wheel. When the filed tick comes, whoever pops
//! the id looks at the truth and schedules it again. Only a deadline that moves *earlier* must be told
//! ([`Wheel::hasten`]).
//!
//! # Invariants
//!
//! - A tick is never before the deadline it stands for: what is popped at its filed tick is due, unless postponed.
//! - All ids of level `k` agree with `elapsed` in the digits above `k`, and their digit `k` is not less than its own.
//!   It is equal in level 0, for the present tick, and in the list that is just being handed out, id by id. No list
//!   begins before `elapsed`, and `elapsed` never passes a list that holds anything.

use ovs_packet::Instant;

use crate::chunks::Chunks;

/// A tick is 2^28 ns, 268 ms.
const TICK_BITS: u32 = 28;
const DIGIT_BITS: u32 = 6;
const LISTS: usize = 1 << DIGIT_BITS;
/// A tick number, rounded up, has 37 bits.
const LEVELS: usize = 7;
/// No id: the end of a list.
const NIL: u32 = u32::MAX;

/// Where an id is filed: its neighbours, and from the top the tick it is filed for, level (8 bits), list (7 bits), and
/// whether it is filed at all.
#[derive(Clone, Copy)]
struct Link {
    prev: u32,
    next: u32,
    place: u64,
}

const _: () = assert!(size_of::<Link>() == 16);

const UNFILED: Link = Link { prev: NIL, next: NIL, place: 0 };

impl Link {
    const fn is_filed(self) -> bool {
        self.place & 1 != 0
    }

    const fn tick(self) -> u64 {
        self.place >> 16
    }

    const fn level(self) -> usize {
        (self.place >> 8 & 0xff) as usize
    }

    const fn list(self) -> usize {
        (self.place >> 1 & 0x7f) as usize
    }
}

/// The wheel. Ids are small numbers, used again after they are cancelled or popped.
pub(crate) struct Wheel {
    links: Chunks<Link>,
    heads: [[u32; LISTS]; LEVELS],
    /// Which lists of a level hold any id.
    occupied: [u64; LEVELS],
    /// The present tick: every list before it is empty.
    elapsed: u64,
}

impl Wheel {
    pub(crate) const fn new() -> Self {
        Wheel { links: Chunks::new(), heads: [[NIL; LISTS]; LEVELS], occupied: [0; LEVELS], elapsed: 0 }
    }

    /// Bytes of memory that are held for ids.
    pub(crate) fn memory(&self) -> usize {
        self.links.memory()
    }

    /// The instant at which [`pop`](Self::pop) will next give something.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.earliest().map(|(.., tick)| start_of(tick))
    }

    /// Where `id` is filed, as a number without a meaning: to have read what filing it writes to.
    pub(crate) fn place(&self, id: u32) -> u64 {
        self.links.get(id).map_or(0, |link| link.place)
    }

    /// Files `id`, which must not be filed, to be popped at `deadline` or up to a tick later.
    pub(crate) fn schedule(&mut self, id: u32, deadline: Instant) {
        let tick = tick_after(deadline).max(self.elapsed);
        let differ = tick ^ self.elapsed;
        let level = (u64::BITS - differ.leading_zeros()).saturating_sub(1) / DIGIT_BITS;
        let list = (tick >> (level * DIGIT_BITS)) as usize % LISTS;
        while self.links.len() <= id as usize {
            self.links.push(UNFILED);
        }
        let Some(head) = self.heads.get_mut(level as usize).and_then(|l| l.get_mut(list)) else { return };
        let next = core::mem::replace(head, id);
        if let Some(link) = self.links.get_mut(id) {
            *link = Link { prev: NIL, next, place: tick << 16 | u64::from(level) << 8 | (list as u64) << 1 | 1 };
        }
        if let Some(after) = self.links.get_mut(next) {
            after.prev = id;
        }
        if let Some(occupied) = self.occupied.get_mut(level as usize) {
            *occupied |= 1 << list;
        }
    }

    /// Says that the deadline of `id` is now `deadline`, which may be earlier than what it was filed for.
    pub(crate) fn hasten(&mut self, id: u32, deadline: Instant) {
        if self.links.get(id).is_some_and(|link| link.is_filed() && tick_after(deadline) < link.tick()) {
            self.cancel(id);
            self.schedule(id, deadline);
        }
    }

    /// Takes `id` out, if it is filed.
    pub(crate) fn cancel(&mut self, id: u32) {
        let Some(link) = self.links.get_mut(id).filter(|link| link.is_filed()) else { return };
        let link = core::mem::replace(link, UNFILED);
        let Link { prev, next, .. } = link;
        if let Some(after) = self.links.get_mut(next) {
            after.prev = prev;
        }
        if let Some(before) = self.links.get_mut(prev) {
            before.next = next;
        } else if let Some(head) = self.heads.get_mut(link.level()).and_then(|l| l.get_mut(link.list())) {
            *head = next;
            if next == NIL
                && let Some(occupied) = self.occupied.get_mut(link.level())
            {
                *occupied &= !(1 << link.list());
            }
        }
    }

    /// Takes out an id whose list has come by `now`. Its deadline has come too, unless it was postponed, or its list
    /// is of a higher level: then it is for the caller to schedule it again.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<u32> {
        let present = now.as_nanos() >> TICK_BITS;
        match self.earliest() {
            Some((level, list, tick)) if tick <= present => {
                self.elapsed = tick;
                let id = self.heads.get(level).and_then(|l| l.get(list)).copied()?;
                self.cancel(id);
                Some(id)
            }
            _ => {
                // Every list begins after the present, so that none is passed over.
                self.elapsed = self.elapsed.max(present);
                None
            }
        }
    }

    /// The list that begins first: level, number, and the tick at which it begins.
    ///
    /// All levels are asked: a list of a higher one that is being handed out begins before any of level 0.
    fn earliest(&self) -> Option<(usize, usize, u64)> {
        let first = |(level, occupied): (usize, &u64)| {
            let list = occupied.trailing_zeros();
            let shift = level as u32 * DIGIT_BITS;
            let above = self.elapsed >> (shift + DIGIT_BITS) << (shift + DIGIT_BITS);
            (*occupied != 0).then_some((level, list as usize, above | u64::from(list) << shift))
        };
        self.occupied.iter().enumerate().filter_map(first).min_by_key(|(.., tick)| *tick)
    }
}

/// The instant at which a tick begins. The last one, in which time ends, is never reached.
const fn start_of(tick: u64) -> Instant {
    if tick >> (u64::BITS - TICK_BITS) != 0 { Instant::FAR_FUTURE } else { Instant::from_nanos(tick << TICK_BITS) }
}

/// The first tick that is not before `deadline`.
const fn tick_after(deadline: Instant) -> u64 {
    let nanos = deadline.as_nanos();
    (nanos >> TICK_BITS) + (nanos & ((1 << TICK_BITS) - 1) != 0) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Everything that is due by `now`, each id filed again while its deadline is later.
    fn due(wheel: &mut Wheel, deadlines: &mut BTreeMap<u32, Instant>, now: Instant) -> Vec<u32> {
        let mut popped = Vec::new();
        while let Some(id) = wheel.pop(now) {
            if deadlines[&id] <= now {
                deadlines.remove(&id);
                popped.push(id);
            } else {
                wheel.schedule(id, deadlines[&id]);
            }
        }
        popped.sort_unstable();
        popped
    }

    #[derive(Clone, Debug)]
    enum Step {
        Set(u32, u64),
        Cancel(u32),
        Advance(u64),
    }

    fn span() -> impl Strategy<Value = u64> {
        (0u32..64, any::<u64>()).prop_map(|(shift, v)| v >> shift)
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0u32..20, span()).prop_map(|(id, after)| Step::Set(id, after)),
            1 => (0u32..20).prop_map(Step::Cancel),
            3 => span().prop_map(Step::Advance),
        ];
        proptest::collection::vec(step, 1..80)
    }

    proptest! {
        #[test]
        fn pops_what_is_due_and_nothing_else(steps in steps()) {
            let (mut wheel, mut deadlines, mut now) = (Wheel::new(), BTreeMap::new(), Instant::ZERO);
            for step in steps {
                match step {
                    Step::Set(id, after) => {
                        let deadline = Instant::from_nanos(now.as_nanos().saturating_add(after));
                        match deadlines.insert(id, deadline) {
                            None => wheel.schedule(id, deadline),
                            Some(old) if deadline < old => wheel.hasten(id, deadline),
                            Some(_) => {}
                        }
                    }
                    Step::Cancel(id) => {
                        deadlines.remove(&id);
                        wheel.cancel(id);
                    }
                    Step::Advance(by) => now = Instant::from_nanos(now.as_nanos().saturating_add(by)),
                }
                due(&mut wheel, &mut deadlines, now);
                // What is left is due at most a tick ago, and the wheel knows when to look next.
                let late = |d: &Instant| now.since(*d).as_nanos() >> TICK_BITS != 0;
                prop_assert!(!deadlines.values().any(late));
                prop_assert_eq!(wheel.next().is_some(), !deadlines.is_empty());
                if let Some(first) = deadlines.values().min() {
                    prop_assert!(wheel.next() <= Some(start_of(tick_after(*first))));
                }
            }
        }
    }

    #[test]
    fn an_id_at_the_end_of_time_is_never_due() {
        let mut wheel = Wheel::new();
        wheel.schedule(3, Instant::FAR_FUTURE);
        assert_eq!(wheel.next(), Some(Instant::FAR_FUTURE));
        assert_eq!(wheel.pop(Instant::from_nanos(u64::MAX - 1)), None);
        assert_eq!(wheel.pop(Instant::FAR_FUTURE), None);
    }

    #[test]
    fn a_list_that_is_handed_out_bit_by_bit_is_not_overtaken() {
        let (mut wheel, tick) = (Wheel::new(), |t: u64| Instant::from_nanos(t << TICK_BITS));
        for id in 0..4 {
            wheel.schedule(id, tick(70));
        }
        // One of four is postponed, and filed in a lower level than the others are in still.
        let first = wheel.pop(tick(80)).unwrap();
        wheel.schedule(first, tick(90));
        let mut rest: Vec<u32> = core::iter::from_fn(|| wheel.pop(tick(80))).collect();
        rest.push(first);
        rest.sort_unstable();
        assert_eq!(rest, [0, 1, 2, 3]);
        assert_eq!((wheel.pop(tick(89)), wheel.pop(tick(90))), (None, Some(first)));
    }
}

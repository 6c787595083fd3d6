//! The megaflows that were installed, and what they stand for.
//!
//! A megaflow is kept as little more than the key of the packet that it was made for and its actions. What it shares with
//! others is kept once: what its packets met ([`path`]), and what was looked at of them ([`shape`]). Both tell, too, which
//! megaflows a change concerns, without looking at the others.
//!
//! # Doubt
//!
//! A megaflow that a change concerns is decided anew at once, or it is *in doubt* until that is done, which its first packet
//! asks for ([`UpcallKind::Stale`](ovs_dpif::UpcallKind::Stale)). Changes are numbered. What changed has the number of its
//! last change, a megaflow that of the last one that it is true to: so a change costs no more for many megaflows than for
//! one. Beside that the datapath takes megaflows for stale that nothing concerns, since a change is published for all:
//! those that it is to be told of are *unproved*. Whoever is in doubt is unproved.
//!
//! # Bounds
//!
//! There are at most as many megaflows as the [`FlowLimit`] lets there be, and at most [`STEPS_EACH`] steps of paths for each
//! of these: where paths share less, no megaflow is installed, and packets are decided on one by one.

mod limit;
mod path;
mod places;
mod shape;

use std::collections::HashMap;
use std::mem::size_of;
use std::time::Duration;

use foldhash::fast::RandomState;
use ovs_dpif::{DpAction, DpFlowStats, SlowPath, Ufid};
use ovs_packet::key::{FlowMask, SparseKey};
use ovs_packet::{Instant, Match};

pub use limit::{DEFAULT_MEGAFLOW_LIMIT, FlowLimit, RevalidatorConfig};
pub(super) use path::{Key, Sum};
use path::{Paths, Tally};
use places::Places;
pub(super) use shape::Came;
use shape::Shapes;

use super::translate::{Effect, Translation};

/// How many steps of paths there may be for each megaflow that there may be.
pub(super) const STEPS_EACH: usize = 16;

/// A megaflow that the datapath does not tell of so often is looked for: it may have been put in anew between two looks.
const MAX_MISSED: u8 = 4;

/// A megaflow that is in the datapath.
#[derive(Debug)]
pub(super) struct Megaflow {
    pub(super) ufid: Ufid,
    /// Key of the packet that it was made for: translated again, it tells whether the megaflow is still right.
    pub(super) key: SparseKey,
    pub(super) actions: Box<[DpAction]>,
    pub(super) slow: SlowPath,
    /// The recirculation id that its packets come with.
    recirc: u32,
    path: u32,
    shape: u32,
    /// Its place in its shape.
    place: u32,
    /// The last change that it is true to; 0 if it is in doubt.
    proved: u64,
    /// The counters up to which its effects are credited.
    credited: DpFlowStats,
    installed: Instant,
    /// How often in a row the datapath did not tell of it.
    missed: u8,
}

impl Megaflow {
    /// What went through since the last time, which counts as credited from now on.
    fn news(&mut self, stats: DpFlowStats, now: Instant) -> Sum {
        let packets = stats.packets.saturating_sub(self.credited.packets);
        let bytes = stats.bytes.saturating_sub(self.credited.bytes);
        (self.credited, self.missed) = (stats, 0);
        Sum { packets, bytes, flags: stats.tcp_flags, used: stats.used.unwrap_or(now) }
    }

    /// When it was last of use.
    fn used(&self) -> Instant {
        self.credited.used.unwrap_or(self.installed).max(self.installed)
    }
}

/// All megaflows, in places that are the same in every run.
#[derive(Default, Debug)]
pub(super) struct Megaflows {
    slots: Vec<Option<Megaflow>>,
    free: Vec<u32>,
    by_ufid: HashMap<Ufid, u32, RandomState>,
    paths: Paths,
    shapes: Shapes,
    live: Places,
    unproved: Places,
    /// The number of the last change, and of the last that concerned all.
    change: u64,
    change_of_all: u64,
    /// How often packets come, or actions lead, to a recirculation id.
    recirculated: HashMap<u32, u32, RandomState>,
}

impl Megaflows {
    pub(super) fn len(&self) -> usize {
        self.by_ufid.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_ufid.is_empty()
    }

    /// Whether there is room for another whose path shares nothing, where there may be so many.
    pub(super) fn has_room(&self, limit: usize, steps: usize) -> bool {
        self.len() < limit && self.paths.len() + steps <= limit.saturating_mul(STEPS_EACH)
    }

    pub(super) fn find(&self, ufid: Ufid) -> Option<u32> {
        self.by_ufid.get(&ufid).copied()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Megaflow> {
        self.slots.get(slot as usize)?.as_ref()
    }

    fn get_mut(&mut self, slot: u32) -> Option<&mut Megaflow> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Megaflow)> {
        (0..).zip(&self.slots).filter_map(|(slot, m)| Some((slot, m.as_ref()?)))
    }

    /// Which packets match a megaflow.
    pub(super) fn matching(&self, slot: u32) -> Option<Match> {
        let m = self.get(slot)?;
        let mask = self.shapes.get(m.shape)?.mask.clone();
        Some(Match::new((&m.key).into(), FlowMask::from(&mask)))
    }

    /// What packets of a megaflow do, in order, and in which switch.
    pub(super) fn effects(&self, slot: u32) -> Vec<(usize, Effect)> {
        self.get(slot).map(|m| self.paths.effects(m.path)).unwrap_or_default()
    }

    /// Whether a recirculation id is in use.
    pub(super) fn is_recirculated(&self, id: u32) -> bool {
        self.recirculated.contains_key(&id)
    }

    /// Bytes that all this takes, and how many steps and shapes there are.
    pub(super) fn memory(&self) -> (usize, usize, usize) {
        let each: usize = self
            .slots
            .iter()
            .flatten()
            .map(|m| m.key.words().len() * 8 + m.actions.len() * size_of::<DpAction>())
            .sum();
        let bytes = each
            + self.slots.capacity() * size_of::<Option<Megaflow>>()
            + self.free.capacity() * 4
            + self.by_ufid.capacity() * (size_of::<(Ufid, u32)>() + 1)
            + self.paths.bytes()
            + self.shapes.bytes();
        (bytes, self.paths.len(), self.shapes.len())
    }

    // Coming and going.

    /// Adds a megaflow for packets with this recirculation id. One of the same identity goes.
    pub(super) fn insert(&mut self, ufid: Ufid, key: SparseKey, recirc: u32, t: &mut Translation, now: Instant) {
        // A second packet of the same flow came up before the first one's megaflow was there.
        let known = self.find(ufid).and_then(|slot| self.remove(slot));
        let slot = self.free.pop().unwrap_or(self.slots.len() as u32);
        let path = self.paths.enter(t, slot);
        let (shape, place) = self.shapes.enter(t, slot);
        let megaflow = Megaflow {
            ufid,
            key,
            actions: t.actions.drain(..).collect(),
            slow: t.slow,
            recirc,
            path,
            shape,
            place,
            proved: self.change.max(1),
            credited: known.map_or(DpFlowStats::default(), |m| m.credited),
            installed: now,
            missed: 0,
        };
        self.count(&megaflow, true);
        self.by_ufid.insert(ufid, slot);
        self.live.insert(slot);
        match self.slots.get_mut(slot as usize) {
            Some(to) => *to = Some(megaflow),
            None => self.slots.push(Some(megaflow)),
        }
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Megaflow> {
        let m = self.slots.get_mut(slot as usize)?.take()?;
        self.by_ufid.remove(&m.ufid);
        self.free.push(slot);
        self.live.remove(slot);
        self.unproved.remove(slot);
        self.count(&m, false);
        self.unlink(slot, &m);
        Some(m)
    }

    fn unlink(&mut self, slot: u32, m: &Megaflow) {
        self.paths.leave(m.path, slot);
        self.leave_shape(m);
    }

    fn leave_shape(&mut self, m: &Megaflow) {
        let moved = self.shapes.leave(m.shape, m.place);
        if let Some(other) = moved.and_then(|slot| self.get_mut(slot)) {
            other.place = m.place;
        }
    }

    /// Whether a translation of a megaflow's key is what it stands for.
    pub(super) fn is(&self, slot: u32, t: &Translation) -> bool {
        self.has_actions(slot, t)
            && self
                .get(slot)
                .is_some_and(|m| self.paths.is_path(m.path, t) && self.shapes.is_member(m.shape, m.place, t))
    }

    /// Whether a translation met what a megaflow met, and does what it does. What others do that it did not meet may have
    /// changed since, so that it would look at less now, or at something else.
    pub(super) fn does(&self, slot: u32, t: &Translation) -> bool {
        self.has_actions(slot, t) && self.get(slot).is_some_and(|m| self.paths.is_path(m.path, t))
    }

    /// Whether a translation has the datapath do what it does for a megaflow.
    pub(super) fn has_actions(&self, slot: u32, t: &Translation) -> bool {
        self.get(slot).is_some_and(|m| *m.actions == *t.actions && m.slow == t.slow)
    }

    /// Whether a translation is for the same packets as a megaflow.
    pub(super) fn has_mask(&self, slot: u32, t: &Translation) -> bool {
        let shape = self.get(slot).and_then(|m| self.shapes.get(m.shape));
        shape.is_some_and(|s| s.has_mask(&t.read.mask))
    }

    /// Has a translation be for the packets of a megaflow, where it is for those and more: what is right for all of these is
    /// right for some, and the megaflow need not go.
    pub(super) fn narrow(&self, slot: u32, t: &mut Translation) {
        let Some(shape) = self.get(slot).and_then(|m| self.shapes.get(m.shape)) else { return };
        if shape.is_for_more(&t.read.mask) {
            for (i, bits) in shape.mask.iter() {
                t.read.mask.bits.words_mut().get_mut(i).into_iter().for_each(|word| *word |= bits);
            }
        }
    }

    /// Gives a megaflow another translation of its key.
    pub(super) fn retranslate(&mut self, slot: u32, t: &mut Translation) {
        let Some(mut m) = self.slots.get_mut(slot as usize).and_then(Option::take) else { return };
        self.count(&m, false);
        self.paths.leave(m.path, slot);
        m.path = self.paths.enter(t, slot);
        // What was looked at is the same most often, where only what was met is another.
        if !self.shapes.is_member(m.shape, m.place, t) {
            self.leave_shape(&m);
            (m.shape, m.place) = self.shapes.enter(t, slot);
        }
        m.actions = t.actions.drain(..).collect();
        m.slow = t.slow;
        self.count(&m, true);
        if let Some(to) = self.slots.get_mut(slot as usize) {
            *to = Some(m);
        }
        self.settled(slot);
    }

    fn count(&mut self, m: &Megaflow, comes: bool) {
        let recirculated = &mut self.recirculated;
        let mut one = |id: u32| {
            let n = recirculated.entry(id).or_default();
            *n = if comes { *n + 1 } else { n.saturating_sub(1) };
            if *n == 0 {
                recirculated.remove(&id);
            }
        };
        if m.recirc != 0 {
            one(m.recirc);
        }
        super::translate::recirculations(&m.actions, &mut one);
    }

    // What changes concern.

    /// The megaflows that a change of one of these concerns, or a rule that came, each once and in order; `None` if they
    /// are more than so many.
    pub(super) fn concerned(&mut self, changed: &[Key], came: &[Came], most: usize) -> Option<Vec<u32>> {
        let mut found = Places::default();
        let mut note = |slot| {
            found.insert(slot);
            found.len() <= most
        };
        changed.iter().for_each(|key| self.paths.users(*key, &mut note));
        came.iter().for_each(|rule| self.shapes.overlapping(rule, &mut note));
        (found.len() <= most).then(|| found.iter().collect())
    }

    /// Whether packets of any megaflow met a rule.
    pub(super) fn met(&self, key: Key) -> bool {
        self.paths.has_users(key)
    }

    /// The datapath takes all megaflows for stale from now on.
    pub(super) fn unprove(&mut self) {
        self.unproved = self.live.clone();
    }

    /// What megaflows say that one of these concerns is in doubt.
    pub(super) fn doubt(&mut self, changed: &[Key], came: &[Came]) {
        self.change = self.change.max(1) + 1;
        changed.iter().for_each(|key| self.paths.note(*key, self.change));
        let slots = &mut self.slots;
        for rule in came {
            self.shapes.note(rule, self.change, |slot| {
                if let Some(Some(m)) = slots.get_mut(slot as usize) {
                    m.proved = 0;
                }
            });
        }
    }

    /// What all say is in doubt.
    pub(super) fn doubt_all(&mut self) {
        self.change = self.change.max(1) + 1;
        self.change_of_all = self.change;
    }

    /// A megaflow is true, and the datapath knows.
    pub(super) fn settled(&mut self, slot: u32) {
        let change = self.change.max(1);
        if let Some(m) = self.get_mut(slot) {
            m.proved = change;
        }
        self.unproved.remove(slot);
    }

    pub(super) fn is_doubted(&self, slot: u32) -> bool {
        self.get(slot).is_some_and(|m| {
            let of_shape = self.shapes.get(m.shape).map_or(0, |s| s.changed);
            m.proved == 0 || m.proved < self.change_of_all.max(of_shape) || self.paths.has_changed(m.path, m.proved)
        })
    }

    pub(super) fn is_unproved(&self, slot: u32) -> bool {
        self.unproved.contains(slot)
    }

    /// Whether a megaflow is younger than `grace`, or had so many packets a second since it is there.
    pub(super) fn serves(&self, slot: u32, pps: u32, grace: Duration, now: Instant) -> bool {
        self.get(slot).is_some_and(|m| {
            let age = now - m.installed;
            age < grace || u128::from(m.credited.packets) * 1000 >= u128::from(pps) * age.as_millis()
        })
    }

    /// How many megaflows the datapath takes for stale.
    pub(super) fn unproved(&self) -> usize {
        self.unproved.len()
    }

    /// The next that the datapath takes for stale, going round.
    pub(super) fn next_unproved(&mut self) -> Option<u32> {
        self.unproved.next()
    }

    // Counters.

    /// Begins to take the datapath's counters for all megaflows.
    pub(super) fn read(&mut self, now: Instant) -> Reading<'_> {
        let (tally, told) = (Tally::new(&self.paths), vec![false; self.slots.len()]);
        Reading { slots: &mut self.slots, paths: &self.paths, by_ufid: &self.by_ufid, tally, told, now }
    }

    /// The datapath did not tell of a megaflow: which, if that has been so for long enough to look for it.
    pub(super) fn miss(&mut self, slot: u32) -> Option<Ufid> {
        let m = self.get_mut(slot)?;
        m.missed = m.missed.saturating_add(1);
        (m.missed >= MAX_MISSED).then_some(m.ufid)
    }

    /// Takes the datapath's counters for one megaflow; what went through.
    pub(super) fn read_one(&mut self, slot: u32, stats: DpFlowStats, now: Instant) -> Option<Sum> {
        let news = self.get_mut(slot)?.news(stats, now);
        (news.packets > 0).then_some(news)
    }

    /// Calls `f` with what is to be credited.
    pub(super) fn credit<'m>(&'m self, news: News, f: impl FnMut(&'m (usize, Effect), Sum)) {
        news.0.finish(&self.paths, f);
    }

    /// The megaflows that were of no use for so long.
    pub(super) fn idle(&self, time: Duration, now: Instant) -> Vec<u32> {
        self.iter().filter(|(_, m)| now - m.used() >= time).map(|(slot, _)| slot).collect()
    }

    /// Asserts what must hold between any two calls. For tests: it looks at everything.
    pub(super) fn check(&self) {
        self.paths.check(self.iter().map(|(slot, m)| (slot, m.path)));
        self.shapes.check();
        assert_eq!(self.iter().count(), self.len());
        assert!(self.iter().all(|(slot, m)| self.find(m.ufid) == Some(slot)));
        assert!(self.unproved.iter().all(|slot| self.get(slot).is_some()));
        assert!(self.iter().map(|(slot, _)| slot).eq(self.live.iter()));
        assert!(self.iter().all(|(slot, _)| !self.is_doubted(slot) || self.is_unproved(slot)));
    }
}

/// What went through megaflows, not credited yet.
#[derive(Debug)]
pub(super) struct News(Tally);

/// Counters that are being read.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    slots: &'a mut [Option<Megaflow>],
    paths: &'a Paths,
    by_ufid: &'a HashMap<Ufid, u32, RandomState>,
    tally: Tally,
    /// The slots whose megaflows the datapath told of.
    told: Vec<bool>,
    now: Instant,
}

impl Reading<'_> {
    /// Takes the counters of a megaflow. False if there is none of this identity.
    pub(super) fn take(&mut self, ufid: Ufid, stats: DpFlowStats) -> bool {
        let Some(slot) = self.by_ufid.get(&ufid).map(|slot| *slot as usize) else { return false };
        let Some(m) = self.slots.get_mut(slot).and_then(Option::as_mut) else { return false };
        if let Some(told) = self.told.get_mut(slot) {
            *told = true;
        }
        if m.credited.packets != stats.packets || m.credited.used != stats.used {
            let news = m.news(stats, self.now);
            if news.packets > 0 {
                self.tally.add(self.paths, m.path, news);
            }
        }
        true
    }

    /// The megaflows that the datapath did not tell of, and what went through, to be [credited](Megaflows::credit).
    pub(super) fn finish(self) -> (Vec<u32>, News) {
        let untold = self.slots.iter().zip(&self.told).zip(0..).filter(|((m, told), _)| m.is_some() && !**told);
        (untold.map(|(_, slot)| slot).collect(), News(self.tally))
    }
}

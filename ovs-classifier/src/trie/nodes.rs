//! Forks and buckets of one field: how they are found and changed.

use super::bucket::{Bucket, FEW, Prefix};
use super::count::Holders;
use super::fork::Fork;
use super::head::Heads;
use super::path::Path;
use super::pool::Pool;
use super::way::Slot;
use super::{Answer, Found, Link, Place};
use crate::simd::{Kernels, prefetch};

/// The nodes of a trie whose paths are `P`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nodes<P, C> {
    pub(super) forks: Pool<Fork<P, C>>,
    pub(super) buckets: Pool<Bucket<P, C>>,
    pub(super) root: Link,
    pub(super) heads: Heads<C>,
}

/// A value on its way.
pub(super) struct Walk<P, C> {
    value: P,
    link: Link,
    /// What the head knows.
    short: Found<C>,
    lens: P,
    holders: C,
    bits: u8,
}

impl<P: Path, C: Holders> Walk<P, C> {
    /// Goes on by a fork; whether there may be more.
    #[inline(always)]
    pub(super) fn step(&mut self, nodes: &Nodes<P, C>) -> bool {
        let Some(fork) = nodes.fork(self.link) else { return false };
        let (agreed, len) = (fork.path.common(self.value), fork.len());
        if agreed < len {
            (self.bits, self.link) = (agreed + 1, Link::NONE);
            return false;
        }
        self.lens = self.lens.with_len(len, fork.count.rules() > 0);
        self.holders = self.holders.and(fork.holders);
        self.bits = len + 1;
        self.link = fork.child(self.value);
        true
    }

    /// No fork is left.
    #[inline(always)]
    pub(super) fn answer(self, nodes: &Nodes<P, C>, kernels: impl Kernels) -> Answer<C> {
        let Some(bucket) = nodes.bucket(self.link) else {
            let long = Found { lens: self.lens.lens(), holders: self.holders };
            return Answer { short: self.short, long, bits: self.bits };
        };
        let (which, lens, bits) = self.value.alike(bucket, kernels);
        let holders = self.holders.and(C::union(&bucket.holders, which, kernels));
        let long = Found { lens: self.lens.and_lens(lens).lens(), holders };
        Answer { short: self.short, long, bits }
    }
}

impl<P: Path, C: Holders> Nodes<P, C> {
    pub(super) fn heap_bytes(&self) -> usize {
        self.forks.heap_bytes() + self.buckets.heap_bytes() + self.heads.heap_bytes()
    }

    #[inline(always)]
    pub(super) fn fork(&self, link: Link) -> Option<&Fork<P, C>> {
        self.forks.get(link.fork()?)
    }

    #[inline(always)]
    pub(super) fn bucket(&self, link: Link) -> Option<&Bucket<P, C>> {
        self.buckets.get(link.bucket()?)
    }

    #[inline(always)]
    pub(super) fn expect(&self, value: P) {
        self.heads.slot(value).into_iter().for_each(prefetch);
    }

    #[inline(always)]
    pub(super) fn prefetch(&self, Place(link): Place) {
        if let Some(bucket) = self.bucket(link) {
            prefetch(bucket);
            prefetch(&bucket.holders);
        }
        self.fork(link).into_iter().for_each(prefetch);
    }

    #[inline(always)]
    pub(super) fn walk(&self, value: P) -> Walk<P, C> {
        let Slot { holders, link, lens, bits } = self.heads.slot(value).copied().unwrap_or(Slot::root(self.root));
        if let Some((apart, _)) = self.heads.apart(value) {
            prefetch(apart);
        }
        let short = Found { lens: lens.into(), holders };
        Walk { value, link, short, lens: P::default(), holders: C::default(), bits }
    }

    #[inline(always)]
    pub(super) fn find(&self, value: P, kernels: impl Kernels) -> Answer<C> {
        let mut walk = self.walk(value);
        while walk.step(self) {}
        walk.answer(self, kernels)
    }

    /// Where the search for a prefix begins: where it ends, if the head has more bits than it.
    #[inline(always)]
    pub(super) fn begin(&self, value: P, len: u8) -> Link {
        let slot = self.heads.slot(value);
        if u32::from(len) >= self.heads.bits() {
            return slot.map_or(self.root, |slot| slot.link);
        }
        let fork = self.heads.shorts.get(value, len);
        let bucket = slot.filter(|slot| slot.link.bucket().is_some() && slot.bits <= len);
        if fork == Link::NONE { bucket.map_or(Link::NONE, |slot| slot.link) } else { fork }
    }

    /// Has the search for a prefix go on by the fork that it is at; whether there may be more.
    #[inline(always)]
    pub(super) fn step(&self, value: P, len: u8, at: &mut Link) -> bool {
        let Some(fork) = self.fork(*at) else { return false };
        if fork.len() > len || !fork.is_in(value) {
            *at = Link::NONE;
        } else if fork.len() < len {
            *at = fork.child(value);
            return at.fork().is_some();
        }
        false
    }

    pub(super) fn insert(&mut self, value: P, len: u8, Place(link): Place, column: u32) {
        if len == 0 {
            return;
        }
        let value = value.head(len);
        if let Some(bucket) = link.bucket().and_then(|bucket| self.buckets.get_mut(bucket)) {
            if !bucket.hold(value, len, column) {
                self.split(value, len, column);
            }
        } else if let Some(fork) = link.fork().and_then(|fork| self.forks.get_mut(fork)) {
            if fork.hold(column) {
                self.heads.hold(value, len, column);
            }
        } else {
            self.part(value, len, column);
        }
        self.go_on();
    }

    pub(super) fn remove(&mut self, value: P, len: u8, Place(link): Place) {
        let value = value.head(len);
        if let Some(bucket) = link.bucket().and_then(|bucket| self.buckets.get_mut(bucket)) {
            if bucket.release(value, len).is_some_and(|left| left <= FEW / 2) {
                self.settle(value, len);
            }
        } else if let Some(fork) = link.fork().and_then(|fork| self.forks.get_mut(fork))
            && fork.release()
        {
            self.mend(value, len);
            self.settle(value, len);
        }
        self.go_on();
    }

    /// The last fork on the way to a prefix; that which is this prefix, if there is one.
    fn over(&self, value: P, len: u8) -> Option<Link> {
        let (mut over, mut link) = (None, self.heads.near(value, len).unwrap_or(self.root));
        while let Some(fork) = self.fork(link).filter(|fork| fork.len() <= len && fork.is_in(value)) {
            (over, link) = (Some(link), fork.child(value));
        }
        over
    }

    /// Where a fork leads a value; the root, if it is none.
    fn led(&self, from: Option<Link>, value: P) -> Link {
        from.and_then(|from| self.fork(from)).map_or(self.root, |fork| fork.child(value))
    }

    /// Has a fork lead a value elsewhere, or the root if it is none; and the heads.
    fn lead(&mut self, from: Option<Link>, value: P, to: Link) {
        let fork = from.and_then(Link::fork).and_then(|fork| self.forks.get_mut(fork));
        let (place, len) = match fork {
            Some(fork) => {
                let len = fork.len();
                (&mut fork.children[value.bit(len)], len + 1)
            }
            None => (&mut self.root, 0),
        };
        *place = to;
        self.mend(value, len);
    }

    /// Adds a prefix of one rule where there is no place for it: beside or among others, a new fork has it part from
    /// them.
    #[cold]
    fn part(&mut self, value: P, len: u8, column: u32) {
        let from = self.over(value, len);
        let link = self.led(from, value);
        let to = match self.fork(link).copied() {
            None => self.add_bucket(Bucket::of(Prefix::new(value, len, column))),
            Some(other) => {
                let at = other.agrees(value).min(len);
                let mut fork = Fork::new(value.head(at), at);
                fork.children[other.path.bit(at)] = link;
                if at < len {
                    fork.children[value.bit(at)] = self.add_bucket(Bucket::of(Prefix::new(value, len, column)));
                } else {
                    fork.hold(column);
                }
                self.add_fork(fork)
            }
        };
        self.lead(from, value, to);
    }

    /// Adds a prefix of one rule to a bucket that is full: a fork with two takes its place.
    #[cold]
    fn split(&mut self, value: P, len: u8, column: u32) {
        let from = self.over(value, len);
        let Some(bucket) = self.led(from, value).bucket().and_then(|bucket| self.buckets.remove(bucket)) else {
            return;
        };
        let all = || bucket.prefixes().chain([Prefix::new(value, len, column)]);
        let at = all().fold(len, |at, prefix| at.min(prefix.count.len()).min(prefix.path.common(value)));
        let mut fork = Fork::new(value.head(at), at);
        let mut sides = [Bucket::default(); 2];
        for prefix in all() {
            if prefix.count.len() == at {
                (fork.count, fork.holders) = (prefix.count, prefix.holders);
            } else {
                // Of all of them no more than a bucket has are on one side: another is on the other, or is the fork's.
                sides[prefix.path.bit(at)].push(prefix);
            }
        }
        for (side, child) in sides.into_iter().zip(&mut fork.children) {
            if side.len() > 0 {
                *child = self.add_bucket(side);
            }
        }
        let to = self.add_fork(fork);
        self.lead(from, value, to);
    }

    /// A prefix is gone: takes out what nobody needs on the way to it, from the end on.
    #[cold]
    fn settle(&mut self, value: P, len: u8) {
        let mut from = self.over(value, len);
        let mut to = self.led(from, value);
        let mut changed = false;
        if self.bucket(to).is_some_and(|bucket| bucket.len() == 0) {
            to.bucket().map(|bucket| self.buckets.remove(bucket));
            (to, changed) = (Link::NONE, true);
        }
        while let Some(link) = from {
            let Some(fork) = self.fork(link).copied() else { break };
            let mut children = fork.children;
            if changed {
                children[value.bit(fork.len())] = to;
            }
            let Some(simpler) = self.simpler(&Fork { children, ..fork }) else { break };
            // As long as all forks are there that it comes by.
            from = fork.len().checked_sub(1).and_then(|len| self.over(value, len));
            self.remove_fork(link);
            (to, changed) = (simpler, true);
        }
        if changed {
            self.lead(from, value, to);
        }
    }

    /// What may take a fork's place: its only child, or a bucket of the few prefixes that there are. The children are
    /// removed if they are in that.
    fn simpler(&mut self, fork: &Fork<P, C>) -> Option<Link> {
        let is_held = fork.count.rules() > 0;
        if fork.children.iter().all(|child| child.fork().is_none()) {
            let sizes = fork.children.map(|child| self.bucket(child).map_or(0, Bucket::len));
            if usize::from(is_held) + sizes[0] + sizes[1] <= FEW {
                let mut bucket = Bucket::default();
                if is_held {
                    bucket.push(Prefix { path: fork.path, count: fork.count, holders: fork.holders });
                }
                for child in fork.children.into_iter().filter_map(Link::bucket) {
                    let gone = self.buckets.remove(child);
                    gone.iter().flat_map(Bucket::prefixes).for_each(|prefix| _ = bucket.push(prefix));
                }
                return Some(if bucket.len() > 0 { self.add_bucket(bucket) } else { Link::NONE });
            }
        }
        match fork.children {
            [only, Link::NONE] | [Link::NONE, only] if !is_held => Some(only),
            _ => None,
        }
    }

    // Each of at most 2^32 rules has a bucket of its own at worst: a table whose numbers do not fit a link, of 2^31
    // distinct prefixes, is out of reach of memory.

    fn add_fork(&mut self, fork: Fork<P, C>) -> Link {
        let (path, len) = (fork.path, fork.len());
        let link = Link::to_fork(self.forks.add(fork));
        self.heads.shorts.set(path, len, link);
        link
    }

    fn remove_fork(&mut self, link: Link) {
        if let Some(fork) = link.fork().and_then(|fork| self.forks.remove(fork)) {
            self.heads.shorts.set(fork.path, fork.len(), Link::NONE);
        }
    }

    fn add_bucket(&mut self, bucket: Bucket<P, C>) -> Link {
        Link::to_bucket(self.buckets.add(bucket))
    }
}

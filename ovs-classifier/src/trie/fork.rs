//! Forks: prefixes by which longer ones part, or that rules have among longer ones.

use super::Link;
use super::count::{Count, Holders};
use super::path::Path;
use super::pool::Vacancy;

/// A prefix that others continue by 0, by 1, or both.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fork<P, C> {
    /// The prefix, zero behind its end.
    pub(super) path: P,
    pub(super) children: [Link; 2],
    /// How many rules have exactly this prefix, and its length.
    pub(super) count: Count,
    /// The masks of these rules; none where there is no rule.
    pub(super) holders: C,
}

const _: () = assert!(size_of::<Fork<u32, ()>>() == 16 && size_of::<Fork<u32, super::Folded>>() == 24);

impl<P: Path, C: Holders> Fork<P, C> {
    /// Without rules and children.
    pub(super) fn new(path: P, len: u8) -> Self {
        Self { path, children: [Link::NONE; 2], count: Count::none(len), holders: C::default() }
    }

    #[inline(always)]
    pub(super) fn len(&self) -> u8 {
        self.count.len()
    }

    /// Adds a rule of the mask of a column; whether that changes what a value finds here.
    pub(super) fn hold(&mut self, column: u32) -> bool {
        let holders = self.holders.with(column);
        let is_new = self.count.rules() == 0 || holders != self.holders;
        self.count = self.count.up();
        self.holders = holders;
        is_new
    }

    /// Removes a rule; whether it was the last.
    pub(super) fn release(&mut self) -> bool {
        let rules = self.count.rules();
        self.count = self.count.down();
        let is_last = rules == 1 && self.count.rules() == 0;
        if is_last {
            self.holders = C::default();
        }
        is_last
    }

    /// How many leading bits a value shares with the prefix.
    #[inline(always)]
    pub(super) fn agrees(&self, value: P) -> u8 {
        self.path.common(value).min(self.len())
    }

    /// Whether a value has the prefix.
    #[inline(always)]
    pub(super) fn is_in(&self, value: P) -> bool {
        self.path.common(value) >= self.len()
    }

    /// Where a value is led that has the prefix.
    #[inline(always)]
    pub(super) fn child(&self, value: P) -> Link {
        self.children[value.bit(self.len())]
    }
}

impl<P: Path, C: Holders> Vacancy for Fork<P, C> {
    fn vacant(next: u32) -> Self {
        Self { count: Count::from_number(next), ..Self::default() }
    }

    fn next(&self) -> u32 {
        self.count.number()
    }
}

//! The changes that one copy of a table has had, to be made in the other.
//!
//! Both copies are alike before a change, so each change has a [trail](crate::classifier) of where it went in the first; in
//! the second it goes there without a search, and what it will read is asked for some changes ahead. Patterns are kept as the
//! words that they match, all in one list, so that a log that has been used allocates nothing; where the mask is known, a
//! change needs no more than a key with these values.

use super::kernel::Replay;
use crate::arena::Handle;
use crate::classifier::{Classifier, Coming, Trail};
use crate::field::Field;
use crate::rule::{Clause, NewRule, Version};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

/// How many changes ahead memory is asked for: what these read is on its way at the same time.
const AHEAD: usize = 4;

/// So many changes, and words, a log that is done keeps room for.
const KEPT: usize = 1 << 12;

/// Changes in their order.
pub(super) struct Log<R, const W: usize> {
    changes: Vec<Change<R>>,
    /// Of patterns, one after the other: index, value, mask.
    words: Vec<(u8, u64, u64)>,
    /// Keys that the patterns of the next changes match, while these are made again; before, and where they fix nothing, zero.
    next: Vec<[u64; W]>,
}

struct Change<R> {
    what: What<R>,
    /// The words of the pattern, if the change has a rule come or go.
    words: Range<usize>,
    trail: Trail,
}

/// What is done.
pub(super) enum What<R> {
    Insert(i32, R),
    Add(i32, R, Version, Vec<Clause>),
    SetPayload(Handle, R),
    Remove,
    Hide(Handle, Version),
    Show(Handle),
    Reclaim(Version),
    PrefixFields(Box<[Field]>),
    Clear,
}

impl<R, const W: usize> Default for Log<R, W> {
    fn default() -> Self {
        Self { changes: Vec::new(), words: Vec::new(), next: Vec::new() }
    }
}

impl<R, const W: usize> Log<R, W> {
    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Notes a word of the pattern of a rule that comes or goes: index, value and mask. The change is noted after all words.
    #[inline(always)]
    pub(super) fn push_word(&mut self, word: usize, value: u64, mask: u64) {
        self.words.push((word as u8, value, mask));
    }

    /// Notes a change, which went along a trail if it had a rule come or go.
    pub(super) fn push(&mut self, what: What<R>, trail: Trail) {
        let from = self.changes.last().map_or(0, |change| change.words.end);
        self.changes.push(Change { what, words: from..self.words.len(), trail });
    }
}

/// Only changes that succeeded are noted, so what these return is known.
impl<R: Clone, const W: usize> Replay for Classifier<R, W> {
    type Log = Log<R, W>;

    fn is_empty(log: &Log<R, W>) -> bool {
        log.changes.is_empty()
    }

    fn replay(&mut self, log: &mut Log<R, W>) {
        let Log { changes, words, next } = log;
        if next.is_empty() {
            next.resize(AHEAD, [0; W]);
        }
        let prepare = |table: &Self, change: &mut Change<R>, key: &mut [u64; W]| {
            put(key, words.get(change.words.clone()).unwrap_or_default(), |value| value);
            table.prefetch(&mut change.trail, key, matches!(change.what, What::Insert(..) | What::Add(..)));
        };
        // What the first reads is asked for when it is made.
        if let (Some(first), Some(key)) = (changes.first(), next.first_mut()) {
            put(key, words.get(first.words.clone()).unwrap_or_default(), |value| value);
        }
        changes.iter_mut().zip(&mut *next).skip(1).for_each(|(change, key)| prepare(self, change, key));
        for n in 0..changes.len() {
            let Some(key) = next.get_mut(n % AHEAD) else { break };
            if let Some(change) = changes.get_mut(n) {
                let what = core::mem::replace(&mut change.what, What::Clear);
                let words = words.get(change.words.clone()).unwrap_or_default();
                self.make(what, key, words, &mut change.trail);
                put(key, words, |_| 0);
            }
            if let Some(later) = changes.get_mut(n + AHEAD) {
                prepare(self, later, key);
            }
        }
        changes.clear();
        changes.shrink_to(KEPT);
        words.clear();
        words.shrink_to(KEPT);
    }
}

/// Puts something for the values of words into a key.
fn put<const W: usize>(key: &mut [u64; W], words: &[(u8, u64, u64)], of: impl Fn(u64) -> u64) {
    for (word, value, _) in words {
        if let Some(place) = key.get_mut(usize::from(*word)) {
            *place = of(*value);
        }
    }
}

impl<R: Clone, const W: usize> Classifier<R, W> {
    /// Makes a change, along its trail; of a rule, if it comes or goes, whose pattern has these words and matches the key.
    fn make(&mut self, what: What<R>, key: &[u64; W], words: &[(u8, u64, u64)], trail: &mut Trail) {
        let pattern = || words.iter().map(|(word, value, mask)| (usize::from(*word), *value, *mask)).collect();
        match what {
            What::Insert(priority, payload) if trail.column.is_some() => {
                let rule = Coming { priority, payload, added: Version::FIRST, clauses: Vec::new() };
                self.put_again(key, rule, true, trail);
            }
            What::Insert(priority, payload) => {
                let _ = self.insert_along(&pattern(), priority, payload, trail);
            }
            What::Add(priority, payload, added, clauses) if trail.column.is_some() => {
                self.put_again(key, Coming { priority, payload, added, clauses }, false, trail);
            }
            What::Add(priority, payload, added, clauses) => {
                let rule = NewRule::new(pattern(), priority, payload).from_version(added);
                let _ = self.add_along(rule.with_clauses(clauses), trail);
            }
            What::Remove => self.remove_again(key, trail),
            What::SetPayload(handle, payload) => {
                self.set_payload(handle, payload);
            }
            What::Hide(handle, version) => {
                self.hide(handle, version);
            }
            What::Show(handle) => {
                let _ = self.show(handle);
            }
            What::Reclaim(version) => {
                self.reclaim(version);
            }
            What::PrefixFields(fields) => {
                let _ = self.set_prefix_fields(&fields);
            }
            What::Clear => self.clear(),
        }
    }
}

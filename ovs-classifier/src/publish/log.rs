//! The changes that one copy of a table has had, to be made in the other.
//!
//! Both copies are alike before a change, so each change has a [trail](crate::classifier) of where it went in the first; in
//! the second it goes there without a search, and what it will read is asked for some changes ahead. Patterns are kept as the
//! words that they match, all in one list, so that a log that has been used allocates nothing.

use super::kernel::Replay;
use crate::arena::Handle;
use crate::classifier::{Classifier, Trail};
use crate::field::Field;
use crate::pattern::Pattern;
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
    /// Those of the next changes while they are made again.
    next: Vec<Pattern<W>>,
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
    Remove(Handle),
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

    /// Notes a change of a rule of a pattern, which went along a trail.
    pub(super) fn push_rule(&mut self, what: What<R>, pattern: &Pattern<W>, trail: Trail) {
        let from = self.words.len();
        let value = |word: usize| pattern.key().get(word).copied().unwrap_or(0);
        self.words.extend(pattern.used().map(|(word, mask)| (word as u8, value(word), mask)));
        self.changes.push(Change { what, words: from..self.words.len(), trail });
    }

    /// Notes any other change.
    pub(super) fn push(&mut self, what: What<R>) {
        self.changes.push(Change { what, words: 0..0, trail: Trail::default() });
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
        next.resize(AHEAD, Pattern::any());
        let prefetch = |table: &Self, change: &Change<R>, pattern: &mut Pattern<W>| {
            pattern.set_words(words.get(change.words.clone()).unwrap_or_default());
            table.prefetch(&change.trail, pattern, matches!(change.what, What::Insert(..) | What::Add(..)));
        };
        changes.iter().zip(&mut *next).for_each(|(change, pattern)| prefetch(self, change, pattern));
        for n in 0..changes.len() {
            let Some(pattern) = next.get_mut(n % AHEAD) else { break };
            if let Some(change) = changes.get_mut(n) {
                let what = core::mem::replace(&mut change.what, What::Clear);
                change.trail.rewind();
                self.make(what, pattern, &mut change.trail);
            }
            if let Some(later) = changes.get(n + AHEAD) {
                prefetch(self, later, pattern);
            }
        }
        changes.clear();
        changes.shrink_to(KEPT);
        words.clear();
        words.shrink_to(KEPT);
    }
}

impl<R: Clone, const W: usize> Classifier<R, W> {
    /// Makes a change, along its trail.
    fn make(&mut self, what: What<R>, pattern: &Pattern<W>, trail: &mut Trail) {
        match what {
            What::Insert(priority, payload) => {
                let _ = self.insert_along(pattern, priority, payload, trail);
            }
            What::Add(priority, payload, added, clauses) => {
                let rule = NewRule::new(pattern.clone(), priority, payload).from_version(added);
                let _ = self.add_along(rule.with_clauses(clauses), trail);
            }
            What::SetPayload(handle, payload) => {
                self.set_payload(handle, payload);
            }
            What::Remove(handle) => drop(self.remove_handle_along(handle, trail)),
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

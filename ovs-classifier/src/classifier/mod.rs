//! The classifier with priorities: an OpenFlow table's view of its rules.
//!
//! Rules live in an arena in the order of insertion. Each mask has a subtable, whose rows lead from the hash of the
//! masked words to the rule with those values; rules with the same pattern form a chain of descending priority,
//! of which a row holds the head. Subtables are probed by their highest priority, so that the first rule found
//! ends the search at the first subtable that cannot hold a better one.
//!
//! Which subtables are probed depends on the rules and on the matches found, which depend on the words read; so
//! whoever reads the same words takes the same way, and folding what was read into the wildcards is enough.

mod update;

use crate::arena::{self, Arena};
use crate::hash::WordHash;
use crate::layout::Layout;
use crate::pattern::Pattern;
use crate::probe_order::{ProbeOrder, Rank};
use crate::rows::Rows;
use crate::rule::Rule;
use crate::stages::StageIndex;
use crate::subtables::{Subtable, Subtables};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

/// Finds the rule of highest priority that matches a key, and says which bits of the key decided that.
///
/// `R` is the caller's payload per rule; `W` the number of words of a key.
///
/// # Which rule wins
///
/// The matching rule with the highest priority. OpenFlow leaves open what happens when several matching rules have
/// that priority; here the rule whose mask is probed first wins: the mask that has the highest-priority rule, and
/// among equals the mask that has been in the table longest. In a table with one priority that is the oldest mask.
/// The choice follows from the sequence of updates alone, not from seed or addresses; use
/// [`overlaps`](Self::overlaps) to keep the question from arising.
///
/// # Cost
///
/// A lookup costs one hash and one probe per mask, until the best rule found outranks the masks that remain. An
/// update costs the same for one mask and the search for its place among the masks.
///
/// # Example
///
/// ```
/// use ovs_classifier::{Classifier, Layout, Pattern};
///
/// let mut table = Classifier::new(Layout::<2>::flat());
/// table.insert(&Pattern::any(), 0, "drop");
/// table.insert(&Pattern::new([80, 0], [0xffff, 0]), 10, "web");
///
/// let mut wildcards = [0; 2];
/// let rule = table.lookup_tracked(&[80, 12345], &mut wildcards);
/// assert_eq!(rule.map(|rule| *rule.payload()), Some("web"));
/// assert_eq!(wildcards, [0xffff, 0], "whatever the second word, the answer is the same");
/// ```
#[derive(Clone)]
pub struct Classifier<R, const W: usize> {
    layout: Layout<W>,
    hash: WordHash,
    rules: Arena<Rule<R, W>>,
    subtables: Subtables<State, W>,
    order: ProbeOrder,
    next_sequence: u64,
    next_age: u64,
}

/// What a classifier keeps per subtable.
#[derive(Clone)]
struct State {
    age: u64,
    /// How many rules there are of each priority; no count is zero.
    priorities: BTreeMap<i32, usize>,
    stages: StageIndex,
}

impl State {
    /// The place of the subtable among the others; `None` when it is empty.
    fn rank(&self, subtable: usize) -> Option<Rank> {
        let (&priority, _) = self.priorities.last_key_value()?;
        Some(Rank { priority, age: self.age, subtable })
    }
}

/// How large a [`Classifier`] is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassifierStats {
    /// The number of rules.
    pub rules: usize,
    /// The number of distinct masks.
    pub subtables: usize,
    /// The heap memory in use, in bytes: rules, indexes and masks at the capacity allocated for them, without the
    /// allocator's overhead, the nodes of priority counts, and what payloads point to.
    pub bytes: usize,
}

impl<R, const W: usize> Classifier<R, W> {
    /// An empty classifier with a fixed seed: every run is the same.
    #[must_use]
    pub fn new(layout: Layout<W>) -> Self {
        Self::with_seed(layout, 0)
    }

    /// An empty classifier whose hashes start from `seed`.
    ///
    /// Where others choose the patterns, a secret seed keeps them from choosing patterns that collide. Answers and
    /// orders do not depend on it; tracked bits do only when two stage prefixes collide in all 64 bits.
    #[must_use]
    pub fn with_seed(layout: Layout<W>, seed: u64) -> Self {
        let hash = WordHash::new(seed);
        Self {
            layout,
            hash,
            rules: Arena::new(),
            subtables: Subtables::new(hash),
            order: ProbeOrder::default(),
            next_sequence: 0,
            next_age: 0,
        }
    }

    /// The stages of the key's words.
    #[must_use]
    pub const fn layout(&self) -> &Layout<W> {
        &self.layout
    }

    /// The number of rules.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is no rule.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rules.len() == 0
    }

    /// The rule that applies to a key, or `None` when no rule matches it.
    #[must_use]
    pub fn lookup(&self, key: &[u64; W]) -> Option<&Rule<R, W>> {
        let mut best: Option<&Rule<R, W>> = None;
        for rank in self.order.iter() {
            if best.is_some_and(|best| rank.priority <= best.priority) {
                break;
            }
            let Some(subtable) = self.subtables.get(rank.subtable) else { continue };
            best = better(best, self.probe(&subtable.rows, subtable.mask.hash(self.hash, key), key));
        }
        best
    }

    /// Like [`lookup`](Self::lookup), and adds to `wildcards` every bit of the key that the answer depended on.
    ///
    /// Any key that agrees with this one on the bits set in `wildcards` on return gets the same answer, as long as
    /// the rules stay the same. Bits already set stay set, so that one set of wildcards can follow a packet through
    /// several tables.
    ///
    /// The bits are those of each mask probed: all of them where a pattern of that mask matched or only the last
    /// stage ruled it out, else those up to the [stage](Layout) that ruled it out.
    pub fn lookup_tracked(&self, key: &[u64; W], wildcards: &mut [u64; W]) -> Option<&Rule<R, W>> {
        let mut best: Option<&Rule<R, W>> = None;
        for rank in self.order.iter() {
            if best.is_some_and(|best| rank.priority <= best.priority) {
                break;
            }
            let Some(subtable) = self.subtables.get(rank.subtable) else { continue };
            match subtable.state.stages.hash(&subtable.mask, self.hash, key) {
                Ok(hash) => {
                    subtable.mask.fold_into(subtable.mask.len(), wildcards);
                    best = better(best, self.probe(&subtable.rows, hash, key));
                }
                Err(words_read) => subtable.mask.fold_into(words_read, wildcards),
            }
        }
        best
    }

    /// The rule with exactly this pattern and priority.
    #[must_use]
    pub fn find_exact(&self, pattern: &Pattern<W>, priority: i32) -> Option<&Rule<R, W>> {
        self.rules.get(self.locate(pattern, priority)?)
    }

    /// Whether some rule of exactly this priority matches a key that `pattern` matches too.
    ///
    /// A rule with the same pattern overlaps. This is the question behind OpenFlow's `CHECK_OVERLAP` flag.
    #[must_use]
    pub fn overlaps(&self, pattern: &Pattern<W>, priority: i32) -> bool {
        self.subtables.iter().filter(|subtable| subtable.state.priorities.contains_key(&priority)).any(|subtable| {
            let overlapping =
                |head| self.chain(head).any(|(_, rule)| rule.priority == priority && rule.sparse.overlaps(pattern));
            if subtable.mask.within(pattern.mask()) {
                // The pattern fixes all that these rules look at: one of them can match, if any.
                let hash = subtable.mask.hash(self.hash, pattern.key());
                subtable.rows.find(hash, |head| self.matches(head, pattern.key())).is_some_and(overlapping)
            } else {
                subtable.rows.slots().any(overlapping)
            }
        })
    }

    /// The rules in the order of their insertion.
    ///
    /// A rule that replaced another has its place.
    #[must_use]
    pub fn iter(&self) -> Iter<'_, R, W> {
        Iter { rules: self.rules.iter() }
    }

    /// The rules that fix at least the bits that `criteria` fixes, to the same values, in the order of insertion.
    ///
    /// This is OpenFlow's loose match of flow-mods and statistics requests. Only masks that include the criteria's
    /// mask are visited. The references are collected before the first is returned.
    pub fn iter_matching(&self, criteria: &Pattern<W>) -> impl Iterator<Item = &Rule<R, W>> {
        let mut found = Vec::new();
        for subtable in self.subtables.iter().filter(|subtable| subtable.mask.includes(criteria.mask())) {
            let covered = |head: &usize| self.rules.get(*head).is_some_and(|rule| rule.sparse.overlaps(criteria));
            if subtable.mask.within(criteria.mask()) {
                let hash = subtable.mask.hash(self.hash, criteria.key());
                let head = subtable.rows.find(hash, |head| covered(&head));
                found.extend(head.into_iter().flat_map(|head| self.chain(head)).map(|(_, rule)| rule));
            } else {
                let heads = subtable.rows.slots().filter(covered);
                found.extend(heads.flat_map(|head| self.chain(head)).map(|(_, rule)| rule));
            }
        }
        found.sort_unstable_by_key(|rule| rule.sequence);
        found.into_iter()
    }

    /// How large the classifier is.
    ///
    /// Visits every subtable.
    #[must_use]
    pub fn stats(&self) -> ClassifierStats {
        let per_subtable = |subtable: &Subtable<State, W>| {
            let rules: usize = subtable.state.priorities.values().sum();
            rules * subtable.mask.len() * size_of::<u64>() + subtable.state.stages.heap_bytes()
        };
        let bytes = self.rules.heap_bytes()
            + self.subtables.heap_bytes()
            + self.order.heap_bytes()
            + self.subtables.iter().map(per_subtable).sum::<usize>();
        ClassifierStats { rules: self.len(), subtables: self.subtables.len(), bytes }
    }

    /// The rule of highest priority in these rows with the masked words of `key`, of which `hash` is the hash.
    #[inline]
    fn probe(&self, rows: &Rows, hash: u64, key: &[u64; W]) -> Option<&Rule<R, W>> {
        self.rules.get(rows.find(hash, |head| self.matches(head, key))?)
    }

    /// Whether the rule in a slot matches a key.
    #[inline]
    fn matches(&self, slot: usize, key: &[u64; W]) -> bool {
        self.rules.get(slot).is_some_and(|rule| rule.sparse.matches(key))
    }

    /// The rules with the same pattern as the one in slot `head`, from there down, with their slots.
    fn chain(&self, head: usize) -> impl Iterator<Item = (usize, &Rule<R, W>)> {
        let mut next = Some(head);
        core::iter::from_fn(move || {
            let slot = next?;
            let rule = self.rules.get(slot)?;
            next = rule.below;
            Some((slot, rule))
        })
    }

    /// The slot of the rule with exactly this pattern and priority.
    fn locate(&self, pattern: &Pattern<W>, priority: i32) -> Option<usize> {
        let subtable = self.subtables.get(self.subtables.find(pattern.mask())?)?;
        let hash = subtable.mask.hash(self.hash, pattern.key());
        let head = subtable.rows.find(hash, |head| self.matches(head, pattern.key()))?;
        self.chain(head).find(|(_, rule)| rule.priority == priority).map(|(slot, _)| slot)
    }
}

/// The better of the rule found before and the one found now.
#[inline]
fn better<'a, R, const W: usize>(
    best: Option<&'a Rule<R, W>>,
    found: Option<&'a Rule<R, W>>,
) -> Option<&'a Rule<R, W>> {
    match (best, found) {
        (Some(before), Some(now)) if now.priority <= before.priority => best,
        (_, Some(_)) => found,
        (_, None) => best,
    }
}

/// The rules of a [`Classifier`] in the order of their insertion.
pub struct Iter<'a, R, const W: usize> {
    rules: arena::Iter<'a, Rule<R, W>>,
}

impl<R, const W: usize> Clone for Iter<'_, R, W> {
    fn clone(&self) -> Self {
        Self { rules: self.rules.clone() }
    }
}

impl<'a, R, const W: usize> Iterator for Iter<'a, R, W> {
    type Item = &'a Rule<R, W>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rules.next().map(|(_, rule)| rule)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.rules.size_hint()
    }
}

impl<R, const W: usize> ExactSizeIterator for Iter<'_, R, W> {}

impl<R, const W: usize> core::iter::FusedIterator for Iter<'_, R, W> {}

impl<'a, R, const W: usize> IntoIterator for &'a Classifier<R, W> {
    type Item = &'a Rule<R, W>;
    type IntoIter = Iter<'a, R, W>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<R: fmt::Debug, const W: usize> fmt::Debug for Classifier<R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<R: fmt::Debug, const W: usize> fmt::Debug for Iter<'_, R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

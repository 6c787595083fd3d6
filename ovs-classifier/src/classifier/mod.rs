//! The classifier with priorities: an OpenFlow table's view of its rules.
//!
//! Rules live in an arena in the order of insertion. Each mask has a subtable, whose patterns lead to the rules that
//! have them: a chain of descending priority, of which the pattern's entry holds the head. A lookup
//!
//! 1. asks the [guards](crate::guards) which masks may have a rule for the key;
//! 2. probes those by rank, which is their highest priority, until what is left cannot outrank what was found;
//! 3. resolves [conjunctions](search), where rules with clauses matched;
//! 4. if it is tracked, [proves](proof) that every mask that outranks the answer has nothing better, with as few bits
//!    of the key as it can.
//!
//! Neither the guards nor the proofs change the answer, which is the list's: they are about cost and bits.

mod conjunction;
mod differences;
mod find;
mod lengths;
mod prefixes;
mod priorities;
mod proof;
mod search;
mod trail;
mod update;
mod view;

pub use prefixes::MAX_PREFIX_FIELDS;
pub use search::Probes;
pub use view::View;

use crate::arena::{self, Arena, CAPACITY, Handle};
use crate::guards::{FEW, Guards};
use crate::hash::WordHash;
use crate::layout::Layout;
use crate::pattern::Pattern;
use crate::rule::{Rule, Stored, Version};
use crate::simd::Level;
use crate::stages::StageIndex;
use crate::subtables::{Subtable, Subtables};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use arrayvec::ArrayVec;
use core::fmt;
use differences::Bounds;
use prefixes::{Ports, Prefixes};
use priorities::Priorities;
#[cfg(feature = "std")]
pub(crate) use {trail::Trail, update::Coming};

/// Finds the rule of highest priority that matches a key, and says which bits of the key decided that.
///
/// `R` is the caller's payload per rule; `W` the number of words of a key.
///
/// # Which rule wins
///
/// The matching rule with the highest priority. OpenFlow leaves open what happens when several matching rules have
/// that priority; here the rule wins whose mask ranks first: the mask that has the highest-priority rule, and
/// among equals the mask that has been in the table longest. In a table with one priority that is the oldest mask.
/// The choice follows from the sequence of updates alone, not from seed or addresses; use
/// [`overlaps`](Self::overlaps) to keep the question from arising.
///
/// # Conjunctive matches
///
/// A rule with [clauses](crate::Clause) is a *soft* match: no answer itself. Soft matches count only above the best
/// other (*hard*) match. From the highest priority down: where the soft matches of one priority have all clauses of a
/// conjunction, the key is looked up again, without soft matches, with the conjunction's id in its field; what that
/// finds is the answer. Where they have not, or it finds nothing, each gives way to the rule with the same pattern
/// and the next lower priority. Of several complete conjunctions of one priority, the first that finds a rule wins.
///
/// # Versions
///
/// A lookup sees the rules that are [visible](Version) at its version; without one, all that are not hidden. Hidden
/// rules stay until they are [reclaimed](Self::reclaim), so that who looks up at an earlier version finds them.
///
/// # Cost
///
/// A lookup in a table of a few masks probes them. In others it reads a row for each of at most 24 guards, 64 where
/// someone has made masks explode, and probes the masks that they leave and that may have a better rule: in tables of
/// rules as switches have them a handful, whatever the number of masks. What is expected: a guard lets a mask of `n`
/// rules that has none for the key's value pass in at most a quarter of cases, if the values of the guard's bits are
/// `4n` or more and the rules spread over them; a mask that fixes `f` such fields is probed in vain by one lookup of
/// `4^f`. What is the bound: all masks, where rules are chosen to pass; `CVE-2019-25076`'s 8,192 masks, which are, cost
/// less than 128 probes. [`Probes`] counts. A tracked lookup tells at most 1,024 rules from the key one by one, to report
/// less: in an access list of 3,000 rules and 196 masks that takes 1.2 µs, and without it 0.8.
///
/// An update costs the same whatever the number of masks and rules, but for the depth of tries and memory's latency:
/// guards, tries and larger hash tables grow by and by, and rules stay where they are. What is not is the memory that
/// is given back: a hash table that has moved at once, old guards a guard with each update.
///
/// ```
/// use ovs_classifier::{Classifier, Field, Layout, Pattern, Probes, Version};
///
/// // A thousand masks, in which rules fix half of a field that the layout names.
/// let field = Field::new(0, 32).expect("the first bits of a key");
/// let layout = Layout::<2>::flat().with_fields(&[field]).expect("a field of the key");
/// let mut table = Classifier::new(layout);
/// for n in 0..1000u64 {
///     table.insert(&Pattern::new([n << 48, 0], [0xffff << 48, n + 1]), 0, n)?;
/// }
/// let mut cost = Probes::default();
/// let rule = table.at(Version::LAST).lookup_counted(&[7 << 48, 0], None, &mut cost);
/// assert_eq!(rule.map(|rule| *rule.payload()), Some(7));
/// assert!(cost.probes < 100, "of a thousand masks {} were probed", cost.probes);
/// # Ok::<(), ovs_classifier::InsertError>(())
/// ```
///
/// # Example
///
/// ```
/// use ovs_classifier::{Classifier, Layout, Pattern};
///
/// let mut table = Classifier::new(Layout::<2>::flat());
/// table.insert(&Pattern::any(), 0, "drop")?;
/// table.insert(&Pattern::new([80, 0], [0xffff, 0]), 10, "web")?;
///
/// let mut wildcards = [0; 2];
/// let rule = table.lookup_tracked(&[80, 12345], &mut wildcards);
/// assert_eq!(rule.map(|rule| *rule.payload()), Some("web"));
/// assert_eq!(wildcards, [0xffff, 0], "whatever the second word, the answer is the same");
/// # Ok::<(), ovs_classifier::InsertError>(())
/// ```
#[derive(Clone)]
pub struct Classifier<R, const W: usize> {
    level: Level,
    layout: Layout<W>,
    rule_limit: usize,
    priorities: (i32, i32),
    rules: Arena<Stored<R>>,
    subtables: Subtables<State, W>,
    guards: Guards,
    /// By column, as many at a time as a word has bits: see [`rank`]. 0 where there is no mask.
    ranks: Vec<u64>,
    /// Where masks are few, all of them: ranks and columns, the highest first.
    ranked: ArrayVec<(u64, u32), PLAIN>,
    prefixes: Prefixes,
    bounds: Bounds,
    /// The hidden rules, by the version from which on they are.
    hidden: BTreeMap<Version, Vec<Handle>>,
    /// How many rules have clauses.
    with_clauses: usize,
    next_sequence: u64,
    next_age: u32,
}

/// What a classifier keeps per subtable.
#[derive(Clone)]
struct State {
    /// When the mask came; no two subtables have the same age.
    age: u32,
    priorities: Priorities,
    stages: StageIndex,
    ports: Option<Ports>,
}

/// The place of a mask among the others: the higher, the earlier it is probed. Highest priority first, then oldest.
fn rank(priority: i32, age: u32) -> u64 {
    u64::from(priority.cast_unsigned() ^ 1 << 31) << 32 | u64::from(!age)
}

/// The highest rank that a mask has whose priorities are all at most this.
fn rank_of_priority(priority: i32) -> u64 {
    rank(priority, 0)
}

impl State {
    /// The place of the subtable among the others; 0 when it is empty.
    fn rank(&self) -> u64 {
        self.priorities.highest().map_or(0, |priority| rank(priority, self.age))
    }
}

/// So few masks are probed one after the other by who wants to know no more than the rule: that costs less than guards,
/// which then are not there.
const PLAIN: usize = FEW;

/// How large a [`Classifier`] is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassifierStats {
    /// The number of rules, hidden ones among them.
    pub rules: usize,
    /// Hidden rules that are not reclaimed.
    pub hidden: usize,
    /// The number of distinct masks.
    pub subtables: usize,
    /// The number of guards: rows that a lookup reads before it probes.
    pub guards: usize,
    /// The heap memory in use, in bytes: rules, indexes and masks at the capacity allocated for them, without the
    /// allocator's overhead, the nodes of ordered maps, and what payloads point to.
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
    /// orders do not depend on it; tracked bits may, where values collide in a hash.
    #[must_use]
    pub fn with_seed(layout: Layout<W>, seed: u64) -> Self {
        let hash = WordHash::new(seed);
        Self {
            level: Level::best(),
            guards: Guards::new(&layout, hash, true),
            bounds: Bounds::new(&layout),
            layout,
            rule_limit: CAPACITY,
            priorities: (i32::MIN, i32::MAX),
            rules: Arena::new(),
            subtables: Subtables::new(hash),
            ranks: Vec::new(),
            ranked: ArrayVec::new(),
            prefixes: Prefixes::default(),
            hidden: BTreeMap::new(),
            with_clauses: 0,
            next_sequence: 0,
            next_age: 0,
        }
    }

    /// The classifier with a limit on its rules, hidden ones among them.
    #[must_use]
    pub fn with_rule_limit(self, rules: usize) -> Self {
        Self { rule_limit: rules.min(CAPACITY), ..self }
    }

    /// The classifier with a range of priorities, both ends included, that it takes.
    #[must_use]
    pub fn with_priorities(self, lowest: i32, highest: i32) -> Self {
        Self { priorities: (lowest, highest), ..self }
    }

    /// What is known of the keys.
    #[must_use]
    pub const fn layout(&self) -> &Layout<W> {
        &self.layout
    }

    /// The number of rules, hidden ones among them.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is no rule.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rules.len() == 0
    }

    /// The table as it is at a version.
    #[must_use]
    pub const fn at(&self, version: Version) -> View<'_, R, W> {
        View::new(self, version)
    }

    /// The rule that applies to a key, or `None` when no rule matches it.
    #[must_use]
    pub fn lookup(&self, key: &[u64; W]) -> Option<Rule<'_, R, W>> {
        self.at(Version::LAST).lookup(key)
    }

    /// Like [`lookup`](Self::lookup), and adds to `wildcards` every bit of the key that the answer depended on.
    ///
    /// Any key that agrees with this one on the bits set in `wildcards` on return gets the same answer, as long as
    /// the rules stay the same. Bits already set stay set, so that one set of wildcards can follow a packet through
    /// several tables.
    pub fn lookup_tracked(&self, key: &[u64; W], wildcards: &mut [u64; W]) -> Option<Rule<'_, R, W>> {
        self.at(Version::LAST).lookup_tracked(key, wildcards)
    }

    /// The rule with exactly this pattern and priority that is not hidden.
    #[must_use]
    pub fn find_exact(&self, pattern: &Pattern<W>, priority: i32) -> Option<Rule<'_, R, W>> {
        self.at(Version::LAST).find_exact(pattern, priority)
    }

    /// Whether some rule of exactly this priority that is not hidden matches a key that `pattern` matches too.
    ///
    /// A rule with the same pattern overlaps. This is the question behind OpenFlow's `CHECK_OVERLAP` flag.
    #[must_use]
    pub fn overlaps(&self, pattern: &Pattern<W>, priority: i32) -> bool {
        self.at(Version::LAST).overlaps(pattern, priority)
    }

    /// The rules that are not hidden and fix at least the bits that `criteria` fixes, to the same values, in the
    /// order of insertion.
    ///
    /// This is OpenFlow's loose match of flow-mods and statistics requests. Only masks that include the criteria's
    /// mask are visited. The references are collected before the first is returned.
    pub fn iter_matching(&self, criteria: &Pattern<W>) -> impl Iterator<Item = Rule<'_, R, W>> + use<'_, R, W> {
        self.at(Version::LAST).iter_matching(criteria)
    }

    /// The rule of a handle, unless it is no longer there.
    #[must_use]
    pub fn get(&self, handle: Handle) -> Option<Rule<'_, R, W>> {
        self.rule(self.rules.resolve(handle)?)
    }

    /// The rules, hidden ones among them, in the order of their insertion.
    ///
    /// A rule that replaced another has its place.
    #[must_use]
    pub fn iter(&self) -> Iter<'_, R, W> {
        Iter { table: self, rules: self.rules.iter() }
    }

    /// How large the classifier is.
    ///
    /// Visits every subtable.
    #[must_use]
    pub fn stats(&self) -> ClassifierStats {
        let state = |state: &State| state.stages.heap_bytes() + state.ports.as_ref().map_or(0, Ports::heap_bytes);
        let bytes = self.rules.heap_bytes()
            + self.subtables.heap_bytes()
            + self.guards.heap_bytes()
            + self.prefixes.heap_bytes()
            + self.bounds.heap_bytes()
            + self.ranks.capacity() * size_of::<u64>()
            + self.subtables.iter().map(|subtable| state(&subtable.state)).sum::<usize>();
        ClassifierStats {
            rules: self.len(),
            hidden: self.hidden.values().flatten().filter(|handle| self.rules.resolve(**handle).is_some()).count(),
            subtables: self.subtables.len(),
            guards: self.guards.len(),
            bytes,
        }
    }

    /// The rule in a slot, as the outside sees it.
    #[inline]
    fn rule(&self, slot: u32) -> Option<Rule<'_, R, W>> {
        let stored = self.rules.get(slot)?;
        Some(self.rule_in(slot, stored, self.subtables.get(stored.column.get())?))
    }

    /// The rule in a slot, whose subtable is known.
    #[inline(always)]
    fn rule_in<'a>(&'a self, slot: u32, stored: &'a Stored<R>, subtable: &'a Subtable<State, W>) -> Rule<'a, R, W> {
        Rule { rules: &self.rules, slot, stored, mask: &subtable.mask, entries: &subtable.entries, conjunction: None }
    }

    /// The rules with the same pattern as the one in slot `head`, from there down, with their slots.
    fn chain(&self, head: u32) -> impl Iterator<Item = (u32, &Stored<R>)> {
        let mut next = Some(head);
        core::iter::from_fn(move || {
            let slot = next?;
            let rule = self.rules.get(slot)?;
            next = rule.below();
            Some((slot, rule))
        })
    }
}

/// The rules of a [`Classifier`] in the order of their insertion.
pub struct Iter<'a, R, const W: usize> {
    table: &'a Classifier<R, W>,
    rules: arena::Iter<'a, Stored<R>>,
}

impl<R, const W: usize> Clone for Iter<'_, R, W> {
    fn clone(&self) -> Self {
        Self { table: self.table, rules: self.rules.clone() }
    }
}

impl<'a, R, const W: usize> Iterator for Iter<'a, R, W> {
    type Item = Rule<'a, R, W>;

    fn next(&mut self) -> Option<Self::Item> {
        let (handle, _) = self.rules.next()?;
        self.table.rule(handle.index())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.rules.size_hint()
    }
}

impl<R, const W: usize> ExactSizeIterator for Iter<'_, R, W> {}

impl<R, const W: usize> core::iter::FusedIterator for Iter<'_, R, W> {}

impl<'a, R, const W: usize> IntoIterator for &'a Classifier<R, W> {
    type Item = Rule<'a, R, W>;
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

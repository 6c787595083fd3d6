//! The classifier against a list of rules that is read from one end to the other.

mod common;

use common::{Key, W, all_keys, conjunction, key, layout, low_bits, masks, pattern, pattern_among, priority};
use ovs_classifier::{Classifier, Clause, Handle, InsertError, Layout, NewRule, Pattern, Probes, Rule, Version};
use proptest::prelude::*;
use proptest::sample::Index;

#[derive(Clone, Debug)]
struct Listed {
    pattern: Pattern<W>,
    priority: i32,
    payload: u32,
    added: u64,
    hidden: Option<u64>,
    clauses: Vec<Clause>,
    handle: Handle,
}

impl Listed {
    fn is_visible_at(&self, version: u64) -> bool {
        self.added <= version && self.hidden.is_none_or(|hidden| version < hidden)
    }
}

/// Rules and masks in the order in which they came.
#[derive(Default)]
struct Model {
    rules: Vec<Listed>,
    masks: Vec<Key>,
}

impl Model {
    fn push(&mut self, rule: Listed) {
        if !self.masks.contains(rule.pattern.mask()) {
            self.masks.push(*rule.pattern.mask());
        }
        self.rules.push(rule);
    }

    fn current(&mut self, pattern: &Pattern<W>, priority: i32) -> Option<&mut Listed> {
        self.rules.iter_mut().find(|r| r.pattern == *pattern && r.priority == priority && r.hidden.is_none())
    }

    fn retain(&mut self, keep: impl FnMut(&Listed) -> bool) {
        self.rules.retain(keep);
        self.masks.retain(|mask| self.rules.iter().any(|rule| rule.pattern.mask() == mask));
    }

    /// Masks by their highest priority, then by age: the earlier, the better.
    fn rank(&self, mask: &Key) -> impl Ord + use<> {
        let highest = self.rules.iter().filter(|rule| rule.pattern.mask() == mask).map(|rule| rule.priority).max();
        (std::cmp::Reverse(highest), self.masks.iter().position(|other| other == mask))
    }

    fn matching(&self, version: u64, key: &Key, soft: bool) -> Vec<&Listed> {
        let mut rules: Vec<_> = self
            .rules
            .iter()
            .filter(|r| r.is_visible_at(version) && r.pattern.matches(key) && r.clauses.is_empty() != soft)
            .collect();
        rules.sort_by_key(|rule| self.rank(rule.pattern.mask()));
        rules
    }

    fn hard(&self, version: u64, key: &Key) -> Option<&Listed> {
        let rules = self.matching(version, key, false);
        let highest = rules.iter().map(|rule| rule.priority).max()?;
        rules.into_iter().find(|rule| rule.priority == highest)
    }

    /// From the highest priority down: a hard match, or else a conjunction of which all clauses are there and whose
    /// id leads to a hard match.
    fn lookup(&self, order: ovs_classifier::BitOrder, version: u64, key: &Key) -> Option<u32> {
        let (hard, soft) = (self.hard(version, key), self.matching(version, key, true));
        let mut priorities: Vec<i32> = soft.iter().map(|rule| rule.priority).collect();
        priorities.sort_unstable();
        priorities.dedup();
        for priority in priorities.into_iter().rev() {
            if hard.is_some_and(|hard| hard.priority >= priority) {
                break;
            }
            let mut seen: Vec<Clause> = Vec::new();
            for clause in soft.iter().filter(|rule| rule.priority == priority).flat_map(|rule| &rule.clauses) {
                let complete = |seen: &[Clause]| {
                    (1..=clause.of()).all(|i| seen.contains(&Clause::new(clause.id(), i, clause.of()).unwrap()))
                };
                let before = complete(&seen);
                seen.push(*clause);
                if !before && complete(&seen) {
                    let mut again = *key;
                    conjunction().put(&mut again, order, clause.id().into());
                    if let Some(rule) = self.hard(version, &again) {
                        return Some(rule.payload);
                    }
                }
            }
        }
        hard.map(|rule| rule.payload)
    }
}

#[derive(Clone, Debug)]
enum Op {
    Insert(Pattern<W>, i32),
    Add(Pattern<W>, i32, u64, Vec<Clause>),
    /// The rule for a conjunction's id.
    AddForId(Pattern<W>, i32, u32),
    /// The pattern of a rule that is there, under another priority.
    Again(Index, i32, Vec<Clause>),
    Remove(Index),
    RemoveExact(Pattern<W>, i32),
    Hide(Index, u64),
    Show(Index),
    Reclaim(u64),
    SetPayload(Index),
    PrefixFields(Vec<Index>),
    RetainPriority(i32),
    Clear,
}

fn version() -> impl Strategy<Value = u64> {
    0..5u64
}

fn clauses() -> impl Strategy<Value = Vec<Clause>> {
    let clause = (0..3u32, 1..=3u8, 2..=3u8).prop_map(|(id, i, of)| Clause::new(id, i.min(of), of).unwrap());
    // Of a conjunction of many clauses a rule has the first, the last, or all but one: so they come together at times.
    let many = (3..5u32, 4..=64u8, 1..=64u8, 0..4u8).prop_map(|(id, of, at, part)| {
        let at = at.min(of);
        let of = if id == 4 { 64 } else { of };
        let has = |i: &u8| match part {
            0 => *i <= of / 2,
            1 => *i > of / 2,
            2 => *i != at,
            _ => *i == at,
        };
        (1..=of).filter(has).map(|i| Clause::new(id, i, of).unwrap()).collect()
    });
    prop_oneof![2 => Just(Vec::new()), 3 => prop::collection::vec(clause, 1..4), 2 => many]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    masks().prop_flat_map(|masks| {
        let pattern = pattern_among(masks);
        let op = prop_oneof![
            16 => (pattern.clone(), priority()).prop_map(|(pattern, priority)| Op::Insert(pattern, priority)),
            20 => (pattern.clone(), priority(), version(), clauses()).prop_map(|(p, n, v, c)| Op::Add(p, n, v, c)),
            6 => (pattern.clone(), priority(), 0..5u32).prop_map(|(p, n, id)| Op::AddForId(p, n, id)),
            6 => (any::<Index>(), priority(), clauses()).prop_map(|(i, n, c)| Op::Again(i, n, c)),
            6 => any::<Index>().prop_map(Op::Remove),
            2 => (pattern, priority()).prop_map(|(pattern, priority)| Op::RemoveExact(pattern, priority)),
            5 => (any::<Index>(), version()).prop_map(|(i, v)| Op::Hide(i, v)),
            2 => any::<Index>().prop_map(Op::Show),
            1 => version().prop_map(Op::Reclaim),
            2 => any::<Index>().prop_map(Op::SetPayload),
            3 => prop::collection::vec(any::<Index>(), 0..5).prop_map(Op::PrefixFields),
            1 => priority().prop_map(Op::RetainPriority),
        ];
        prop::collection::vec(prop_oneof![120 => op, 1 => Just(Op::Clear)], 0..120)
    })
}

fn payload(rule: Option<Rule<'_, u32, W>>) -> Option<u32> {
    rule.map(|rule| *rule.payload())
}

/// Applies the operations to both, and compares what they return.
fn run(layout: Layout<W>, seed: u64, ops: &[Op]) -> (Classifier<u32, W>, Model) {
    let mut table = Classifier::with_seed(layout, seed);
    let mut model = Model::default();
    for (op, id) in ops.iter().zip(0u32..) {
        let chosen = |model: &Model, index: &Index| (!model.rules.is_empty()).then(|| index.index(model.rules.len()));
        let add = |table: &mut Classifier<u32, W>, model: &mut Model, rule: (Pattern<W>, i32, u64, Vec<Clause>)| {
            let (pattern, priority, added, clauses) = rule;
            let new = NewRule::new(pattern.clone(), priority, id).from_version(Version(added));
            let clash = model.rules.iter().any(|r| {
                r.pattern == pattern && r.priority == priority && r.hidden.is_none_or(|hidden| hidden > added)
            });
            match table.add(new.with_clauses(clauses.clone())) {
                Ok(handle) => {
                    assert!(!clash);
                    model.push(Listed { pattern, priority, payload: id, added, hidden: None, clauses, handle });
                }
                Err(InsertError::Duplicate(_)) => assert!(clash),
                Err(other) => panic!("{other}"),
            }
        };
        match op {
            Op::Insert(pattern, priority) => {
                let before = model.current(pattern, *priority).map(|r| std::mem::replace(&mut r.payload, id));
                assert_eq!(table.insert(pattern, *priority, id), Ok(before));
                if before.is_none() {
                    let handle = table.find_exact(pattern, *priority).expect("just added").handle();
                    let same = model.rules.iter().filter(|r| r.pattern == *pattern && r.priority == *priority);
                    let added = same.filter_map(|rule| rule.hidden).max().unwrap_or(0);
                    let (pattern, priority) = (pattern.clone(), *priority);
                    model.push(Listed { pattern, priority, payload: id, added, hidden: None, clauses: vec![], handle });
                }
            }
            Op::Add(pattern, priority, added, clauses) => {
                add(&mut table, &mut model, (pattern.clone(), *priority, *added, clauses.clone()));
            }
            Op::AddForId(pattern, priority, id) => {
                let (mut key, mut mask) = (*pattern.key(), *pattern.mask());
                conjunction().put(&mut mask, layout.order(), u128::MAX);
                conjunction().put(&mut key, layout.order(), (*id).into());
                add(&mut table, &mut model, (Pattern::new(key, mask), *priority, 0, vec![]));
            }
            Op::Again(index, priority, clauses) => {
                if let Some(i) = chosen(&model, index) {
                    let pattern = model.rules[i].pattern.clone();
                    add(&mut table, &mut model, (pattern, *priority, 0, clauses.clone()));
                }
            }
            Op::Remove(index) => {
                if let Some(i) = chosen(&model, index) {
                    let rule = model.rules[i].clone();
                    assert_eq!(table.remove_handle(rule.handle), Some(rule.payload));
                    assert_eq!(table.remove_handle(rule.handle), None);
                    model.retain(|other| other.handle != rule.handle);
                }
            }
            Op::RemoveExact(pattern, priority) => {
                let there = model.current(pattern, *priority).map(|r| (r.payload, r.handle));
                assert_eq!(table.remove(pattern, *priority), there.map(|r| r.0));
                model.retain(|other| Some(other.handle) != there.map(|r| r.1));
            }
            Op::Hide(index, version) => {
                if let Some(i) = chosen(&model, index) {
                    let rule = &mut model.rules[i];
                    assert_eq!(table.hide(rule.handle, Version(*version)), rule.hidden.is_none());
                    rule.hidden.get_or_insert(*version);
                }
            }
            Op::Show(index) => {
                if let Some(i) = chosen(&model, index) {
                    let rule = model.rules[i].clone();
                    let clash = model.rules.iter().any(|r| {
                        (&r.pattern, r.priority) == (&rule.pattern, rule.priority)
                            && r.handle != rule.handle
                            && r.hidden.is_none_or(|hidden| Some(hidden) > rule.hidden)
                    });
                    match table.show(rule.handle) {
                        Ok(shown) => {
                            assert_eq!(shown, rule.hidden.is_some());
                            model.rules[i].hidden = None;
                        }
                        Err(error) => {
                            assert!(clash && rule.hidden.is_some(), "{error}");
                        }
                    }
                }
            }
            Op::Reclaim(version) => {
                let gone = |rule: &Listed| rule.hidden.is_some_and(|hidden| hidden <= *version);
                assert_eq!(table.reclaim(Version(*version)), model.rules.iter().filter(|r| gone(r)).count());
                model.retain(|rule| !gone(rule));
            }
            Op::SetPayload(index) => {
                if let Some(i) = chosen(&model, index) {
                    let (pattern, priority) = (model.rules[i].pattern.clone(), model.rules[i].priority);
                    let known = model.current(&pattern, priority).map(|rule| rule.payload = id).is_some();
                    assert_eq!(table.get_mut(&pattern, priority).map(|payload| *payload = id).is_some(), known);
                }
            }
            Op::PrefixFields(fields) => {
                let all = low_bits(layout.order());
                let fields: Vec<_> = fields.iter().map(|index| *index.get(&all)).collect();
                assert_eq!(table.set_prefix_fields(&fields).is_ok(), fields.len() <= 4);
            }
            Op::RetainPriority(priority) => {
                table.retain(|rule| rule.priority() == *priority);
                model.retain(|rule| rule.priority == *priority);
            }
            Op::Clear => {
                table.clear();
                model.retain(|_| false);
            }
        }
        assert_eq!((table.len(), table.is_empty()), (model.rules.len(), model.rules.is_empty()));
    }
    (table, model)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn finds_what_reading_the_list_finds(
        layout in layout(),
        seed: u64,
        ops in ops(),
        probes in prop::collection::vec((pattern(), priority()), 8),
    ) {
        let (table, model) = run(layout, seed, &ops);

        let rules: Vec<_> = table.iter().map(|rule| (rule.pattern(), rule.priority(), *rule.payload())).collect();
        let listed: Vec<_> = model.rules.iter().map(|r| (r.pattern.clone(), r.priority, r.payload)).collect();
        prop_assert_eq!(&rules, &listed);
        prop_assert_eq!(table.iter().len(), model.rules.len());
        prop_assert_eq!(table.stats().subtables, model.masks.len());
        prop_assert_eq!(table.stats().rules, model.rules.len());
        prop_assert_eq!(table.stats().hidden, model.rules.iter().filter(|r| r.hidden.is_some()).count());

        for key in all_keys() {
            for version in [0, 2, 4, u64::MAX - 1] {
                let expected = model.lookup(layout.order(), version, &key);
                let view = table.at(Version(version));
                let (mut wildcards, mut cost) = ([0; W], Probes::default());
                prop_assert_eq!(payload(view.lookup(&key)), expected);
                prop_assert_eq!(payload(view.lookup_counted(&key, Some(&mut wildcards), &mut cost)), expected);
                prop_assert!(cost.probes <= cost.open && cost.open <= cost.searches * model.masks.len() as u64);
            }
        }

        let there = model.rules.iter().map(|rule| (rule.pattern.clone(), rule.priority));
        for (pattern, priority) in probes.into_iter().chain(there).chain([(Pattern::any(), 0)]) {
            for version in [1, u64::MAX - 1] {
                let view = table.at(Version(version));
                let visible = || model.rules.iter().filter(|rule| rule.is_visible_at(version));
                let exact: Vec<_> =
                    visible().filter(|r| r.pattern == pattern && r.priority == priority).map(|r| r.payload).collect();
                match payload(view.find_exact(&pattern, priority)) {
                    Some(found) => prop_assert!(exact.contains(&found)),
                    None => prop_assert!(exact.is_empty()),
                }
                let overlaps = visible().any(|rule| rule.priority == priority && rule.pattern.overlaps(&pattern));
                prop_assert_eq!(view.overlaps(&pattern, priority), overlaps);
                let loose: Vec<_> = visible().filter(|r| pattern.covers(&r.pattern)).map(|r| r.payload).collect();
                let found: Vec<_> = view.iter_matching(&pattern).map(|rule| *rule.payload()).collect();
                prop_assert_eq!(found, loose);
            }
        }
    }

    #[test]
    fn a_key_that_agrees_on_the_tracked_bits_gets_the_same_answer(
        layout in layout(),
        seed: u64,
        ops in ops(),
        keys in prop::collection::vec(key(), 8),
        flips in prop::collection::vec(prop::array::uniform4(any::<u64>()), 8),
    ) {
        let (table, _) = run(layout, seed, &ops);
        for key in keys {
            for version in [Version(2), Version::LAST] {
                let mut wildcards = [0; W];
                let answer = payload(table.at(version).lookup_tracked(&key, &mut wildcards));
                for flip in flips.iter().copied().chain(all_keys()) {
                    let other = std::array::from_fn(|i| key[i] ^ (flip[i] & !wildcards[i]));
                    prop_assert_eq!(payload(table.at(version).lookup(&other)), answer);
                }
            }
        }
    }

    #[test]
    fn tracked_bits_come_from_masks_that_outrank_the_answer(
        layout in layout(),
        seed: u64,
        ops in ops(),
        key in key(),
        before in prop::array::uniform4(any::<u64>()),
    ) {
        let (table, model) = run(layout, seed, &ops);
        let mut fresh = [0; W];
        let winner = table.lookup_tracked(&key, &mut fresh).map(|rule| rule.priority());
        let mut added = before;
        table.lookup_tracked(&key, &mut added);
        let soft = model.rules.iter().any(|rule| !rule.clauses.is_empty());
        let mut outranking = [0; W];
        for rule in table.iter().filter(|rule| soft || winner.is_none_or(|winner| rule.priority() >= winner)) {
            let pattern = rule.pattern();
            outranking.iter_mut().zip(pattern.mask()).for_each(|(all, mask)| *all |= mask);
        }
        for i in 0..W {
            prop_assert_eq!(added[i] & before[i], before[i]);
            prop_assert_eq!(fresh[i] & !outranking[i], 0, "no bit of a mask whose rules are all below the winner");
        }
    }

    #[test]
    fn a_clone_is_a_table_of_its_own(ops in ops(), key in key()) {
        let (table, model) = run(Layout::flat().with_conjunction(conjunction()).unwrap(), 0, &ops);
        let mut copy = table.clone();
        copy.clear();
        copy.insert(&Pattern::any(), 0, 1).unwrap();
        prop_assert_eq!(payload(table.lookup(&key)), model.lookup(table.layout().order(), u64::MAX - 1, &key));
        prop_assert_eq!(payload(copy.lookup(&key)), Some(1));
    }
}

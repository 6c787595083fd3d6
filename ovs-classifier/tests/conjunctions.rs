//! Conjunctive matches, as the manual of the peer's fields tells them; and what tables refuse.

use ovs_classifier::{BitOrder, Classifier, Clause, Field, InsertError, Layout, NewRule, Pattern, PrefixFieldsError};

/// Source; destination; the conjunction's id.
const W: usize = 3;
const ALL: u64 = u64::MAX;
const ID: Field = Field::new(2 * 64 + 32, 32).expect("32 bits of a key");

fn table() -> Classifier<&'static str, W> {
    Classifier::new(Layout::new([0, 1, 0]).unwrap().with_conjunction(ID).unwrap())
}

fn source(n: u64) -> Pattern<W> {
    Pattern::new([n, 0, 0], [ALL, 0, 0])
}

fn destination(n: u64) -> Pattern<W> {
    Pattern::new([0, n, 0], [0, ALL, 0])
}

fn id(n: u32) -> Pattern<W> {
    let (mut key, mut mask) = ([0; W], [0; W]);
    ID.put(&mut key, BitOrder::Number, n.into());
    ID.put(&mut mask, BitOrder::Number, u128::MAX);
    Pattern::new(key, mask)
}

fn clause(id: u32, index: u8, of: u8) -> Vec<Clause> {
    vec![Clause::new(id, index, of).unwrap()]
}

fn add(table: &mut Classifier<&'static str, W>, pattern: Pattern<W>, priority: i32, clauses: Vec<Clause>) {
    table.add(NewRule::new(pattern, priority, "clause").with_clauses(clauses)).unwrap();
}

fn answer(table: &Classifier<&'static str, W>, key: [u64; W]) -> Option<&'static str> {
    table.lookup(&key).map(|rule| *rule.payload())
}

#[test]
fn all_clauses_or_none() {
    let mut table = table();
    (1..=4).for_each(|n| add(&mut table, source(n), 10, clause(1234, 1, 2)));
    (5..=8).for_each(|n| add(&mut table, destination(n), 10, clause(1234, 2, 2)));
    assert_eq!(answer(&table, [1, 5, 0]), None, "no rule for the id yet");
    table.insert(&id(1234), 10, "both").unwrap();
    table.insert(&Pattern::any(), 5, "rest").unwrap();
    for (src, dst) in (0..10).flat_map(|src| (0..10).map(move |dst| (src, dst))) {
        let both = (1..=4).contains(&src) && (5..=8).contains(&dst);
        assert_eq!(answer(&table, [src, dst, 0]), Some(if both { "both" } else { "rest" }), "{src} to {dst}");
        let conjunction = table.lookup(&[src, dst, 0]).unwrap().conjunction();
        assert_eq!(conjunction, both.then_some(1234), "{src} to {dst}");
    }
    // A hard match of the same priority wins, one of a lower does not.
    table.insert(&Pattern::any(), 9, "lower").unwrap();
    assert_eq!(answer(&table, [1, 5, 0]), Some("both"));
    table.insert(&Pattern::any(), 10, "same").unwrap();
    assert_eq!(answer(&table, [1, 5, 0]), Some("same"));
    assert_eq!(table.lookup(&[1, 5, 0]).unwrap().conjunction(), None);
    assert_eq!(table.iter().find_map(|rule| rule.conjunction()), None, "no lookup found these");
}

/// The search with the id finds what the search without it has found.
#[test]
fn a_rule_that_does_not_ask_for_the_id_is_no_conjunctions() {
    let mut table = table();
    add(&mut table, source(1), 10, clause(7, 1, 2));
    add(&mut table, destination(2), 10, clause(7, 2, 2));
    table.insert(&Pattern::any(), 5, "rest").unwrap();
    let found = table.lookup(&[1, 2, 0]).unwrap();
    assert_eq!((*found.payload(), found.conjunction()), ("rest", None));
}

#[test]
fn what_the_clauses_read_is_reported_and_the_id_that_was_set_is_not() {
    let mut table = table();
    add(&mut table, source(1), 10, clause(7, 1, 2));
    add(&mut table, destination(2), 10, clause(7, 2, 2));
    table.insert(&Pattern::any(), 0, "rest").unwrap();
    let mut wildcards = [0; W];
    assert_eq!(table.lookup_tracked(&[1, 2, 0], &mut wildcards).map(|rule| *rule.payload()), Some("rest"));
    assert_eq!(wildcards, [ALL, ALL, 0], "a packet has no id");
}

#[test]
fn sixty_four_clauses() {
    let mut table = Classifier::new(Layout::<65>::flat().with_conjunction(Field::new(64 * 64, 32).unwrap()).unwrap());
    for i in 0..64u8 {
        let mut mask = [0; 65];
        mask[usize::from(i)] = 1;
        let clauses = vec![Clause::new(1, i + 1, 64).unwrap()];
        table.add(NewRule::new(Pattern::new([1; 65], mask), 5, "clause").with_clauses(clauses)).unwrap();
    }
    let (mut key, mut mask) = ([0; 65], [0; 65]);
    (key[64], mask[64]) = (1 << 32, 0xffff_ffff << 32);
    table.insert(&Pattern::new(key, mask), 1, "all").unwrap();
    let mut packet = [1; 65];
    packet[64] = 0;
    assert_eq!(table.lookup(&packet).map(|rule| *rule.payload()), Some("all"));
    packet[63] = 0;
    assert!(table.lookup(&packet).is_none());
}

#[test]
fn a_soft_match_gives_way_to_what_is_below_it() {
    let mut table = table();
    add(&mut table, source(1), 10, clause(7, 1, 2));
    table.insert(&source(1), 4, "below").unwrap();
    table.insert(&Pattern::any(), 3, "rest").unwrap();
    assert_eq!(answer(&table, [1, 2, 0]), Some("below"), "half a conjunction is none");
    // One conjunction in two, each with its own priority, is none either.
    add(&mut table, destination(2), 9, clause(7, 2, 2));
    table.insert(&id(7), 1, "both").unwrap();
    assert_eq!(answer(&table, [1, 2, 0]), Some("below"));
    add(&mut table, destination(2), 10, clause(7, 2, 2));
    assert_eq!(answer(&table, [1, 2, 0]), Some("below"), "the search with the id finds what is best");
    table.insert(&id(7), 5, "both").unwrap();
    assert_eq!(answer(&table, [1, 2, 0]), Some("both"));
}

#[test]
fn a_rule_may_be_part_of_several_and_the_id_is_searched_as_anything_is() {
    let mut table = table();
    add(&mut table, source(1), 10, [clause(1, 1, 2), clause(2, 1, 2)].concat());
    add(&mut table, destination(4), 10, clause(1, 2, 2));
    add(&mut table, destination(5), 10, clause(2, 2, 2));
    let with_source = |n: u32| {
        let (mut key, mut mask) = (*id(n).key(), *id(n).mask());
        (key[0], mask[0]) = (1, ALL);
        Pattern::new(key, mask)
    };
    table.insert(&id(1), 1, "one").unwrap();
    table.insert(&with_source(2), 2, "two from 1").unwrap();
    assert_eq!(answer(&table, [1, 4, 0]), Some("one"));
    assert_eq!(answer(&table, [1, 5, 0]), Some("two from 1"));
    // Where the id finds nothing, the conjunction has not matched.
    table.remove(&with_source(2), 2);
    assert_eq!(answer(&table, [1, 5, 0]), None);
}

#[test]
fn what_a_table_refuses() {
    let mut plain = Classifier::new(Layout::<W>::flat()).with_rule_limit(2).with_priorities(0, 65_535);
    let refused = plain.add(NewRule::new(source(1), 1, "x").with_clauses(clause(1, 1, 2)));
    assert_eq!(refused, Err(InsertError::NoConjunctionField));
    for priority in [-1, 65_536] {
        let expected = InsertError::Priority { priority, lowest: 0, highest: 65_535 };
        assert_eq!(plain.insert(&source(1), priority, "x"), Err(expected));
    }
    let first = plain.add(NewRule::new(source(1), 1, "x")).unwrap();
    assert_eq!(plain.add(NewRule::new(source(1), 1, "y")), Err(InsertError::Duplicate(first)));
    plain.add(NewRule::new(source(2), 1, "x")).unwrap();
    assert_eq!(plain.add(NewRule::new(source(3), 1, "x")), Err(InsertError::Full { limit: 2 }));
    assert_eq!((plain.len(), plain.stats().subtables), (2, 1));

    let outside = Field::new(W as u16 * 64 - 8, 16).unwrap();
    assert_eq!(plain.set_prefix_fields(&[outside]), Err(PrefixFieldsError::OutsideKey(outside)));
    assert_eq!(plain.set_prefix_fields(&[ID; 5]), Err(PrefixFieldsError::TooMany(5)));
}

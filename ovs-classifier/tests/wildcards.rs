//! What a tracked lookup reports, bit by bit.

use ovs_classifier::{Classifier, Layout, Pattern};

const W: usize = 5;
/// Metadata, L2, two words of L3, L4.
const LAYOUT: Layout<W> = Layout::new([0, 1, 2, 2, 3]).expect("stages are 0 to 3");
const ALL: u64 = u64::MAX;

fn tracked<R: Copy>(table: &Classifier<R, W>, key: [u64; W]) -> (Option<R>, [u64; W]) {
    let mut wildcards = [0; W];
    let found = table.lookup_tracked(&key, &mut wildcards).map(|rule| *rule.payload());
    (found, wildcards)
}

#[test]
fn a_rule_ruled_out_by_metadata_does_not_read_the_ports() {
    let mut table = Classifier::new(LAYOUT);
    table.insert(&Pattern::new([1, 0, 0, 0, 80], [ALL, 0, 0, 0, 0xffff]), 10, "web on port 1").unwrap();
    table.insert(&Pattern::any(), 0, "rest").unwrap();
    assert_eq!(tracked(&table, [2, 0, 0, 0, 80]), (Some("rest"), [ALL, 0, 0, 0, 0]));
    assert_eq!(tracked(&table, [1, 0, 0, 0, 81]), (Some("rest"), [ALL, 0, 0, 0, 0xffff]));
    assert_eq!(tracked(&table, [1, 0, 0, 0, 80]), (Some("web on port 1"), [ALL, 0, 0, 0, 0xffff]));
}

#[test]
fn without_stages_the_same_lookup_reads_the_ports() {
    let mut table = Classifier::new(Layout::flat());
    table.insert(&Pattern::new([1, 0, 0, 0, 80], [ALL, 0, 0, 0, 0xffff]), 10, ()).unwrap();
    assert_eq!(tracked(&table, [2, 0, 0, 0, 80]), (None, [ALL, 0, 0, 0, 0xffff]));
}

#[test]
fn every_stage_stops_a_lookup() {
    let mut table = Classifier::new(LAYOUT);
    table.insert(&Pattern::exact([1, 2, 3, 4, 5]), 0, ()).unwrap();
    for (key, expected) in [
        ([0, 2, 3, 4, 5], [ALL, 0, 0, 0, 0]),
        ([1, 0, 3, 4, 5], [ALL, ALL, 0, 0, 0]),
        ([1, 2, 0, 4, 5], [ALL, ALL, ALL, ALL, 0]),
        ([1, 2, 3, 0, 5], [ALL, ALL, ALL, ALL, 0]),
        ([1, 2, 3, 4, 0], [ALL; W]),
    ] {
        assert_eq!(tracked(&table, key), (None, expected), "{key:?}");
    }
}

#[test]
fn stages_follow_the_rules_that_are_left() {
    let mut table = Classifier::new(LAYOUT);
    let [a, b] = [1, 2].map(|port| Pattern::new([port, 0, 0, 0, 80], [ALL, 0, 0, 0, ALL]));
    table.insert(&a, 0, 'a').unwrap();
    table.insert(&b, 0, 'b').unwrap();
    table.insert(&b, 7, 'B').unwrap();
    assert_eq!(tracked(&table, [2, 0, 0, 0, 9]).1, [ALL, 0, 0, 0, ALL]);
    table.remove(&b, 7);
    assert_eq!(tracked(&table, [2, 0, 0, 0, 9]).1, [ALL, 0, 0, 0, ALL], "the other rule with this pattern is there");
    table.remove(&b, 0);
    assert_eq!(tracked(&table, [2, 0, 0, 0, 9]).1, [ALL, 0, 0, 0, 0]);
}

#[test]
fn a_match_hides_the_masks_below_it() {
    let mut table = Classifier::new(LAYOUT);
    let vlan = Pattern::new([0, 5, 0, 0, 0], [0, 0xfff, 0, 0, 0]);
    table.insert(&vlan, 5, "vlan").unwrap();
    table.insert(&Pattern::exact([0; W]), 5, "same priority, younger mask").unwrap();
    table.insert(&Pattern::exact([1; W]), 4, "lower").unwrap();
    assert_eq!(tracked(&table, [9, 5, 9, 9, 9]), (Some("vlan"), [0, 0xfff, 0, 0, 0]));

    // One rule of higher priority brings its mask to the front.
    table.insert(&Pattern::exact([2; W]), 6, "higher").unwrap();
    assert_eq!(tracked(&table, [9, 5, 9, 9, 9]), (Some("vlan"), [ALL, 0xfff, 0, 0, 0]));
    table.remove(&Pattern::exact([2; W]), 6);
    assert_eq!(tracked(&table, [9, 5, 9, 9, 9]), (Some("vlan"), [0, 0xfff, 0, 0, 0]));
}

#[test]
fn no_rules_and_the_rule_for_everything_read_nothing() {
    let mut table = Classifier::new(LAYOUT);
    assert_eq!(tracked(&table, [1; W]), (None, [0; W]));
    table.insert(&Pattern::any(), i32::MIN, 'x').unwrap();
    assert_eq!(tracked(&table, [1; W]), (Some('x'), [0; W]));
    table.remove(&Pattern::any(), i32::MIN);
    assert_eq!(tracked(&table, [1; W]), (None, [0; W]));
    assert_eq!(table.stats().subtables, 0);
}

#[test]
fn keys_of_no_word_and_of_the_most_words() {
    let mut none = Classifier::new(Layout::<0>::flat());
    none.insert(&Pattern::any(), 0, 'x').unwrap();
    assert_eq!(none.lookup(&[]).map(|rule| *rule.payload()), Some('x'));

    let mut most = Classifier::new(Layout::<256>::flat());
    let mut key = [0; 256];
    key[255] = 9;
    most.insert(&Pattern::new(key, key), 0, 'y').unwrap();
    let mut wildcards = [0; 256];
    assert_eq!(most.lookup_tracked(&key, &mut wildcards).map(|rule| *rule.payload()), Some('y'));
    assert_eq!(wildcards, key);
    assert!(most.lookup(&[0; 256]).is_none());
}

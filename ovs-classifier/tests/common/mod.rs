//! Keys small enough to try them all, and patterns over them.
#![allow(dead_code, reason = "every test program uses its own part of this")]

use ovs_classifier::{BitOrder, Field, Layout, Pattern};
use proptest::prelude::*;

/// Four words, so that every stage can have one.
pub(crate) const W: usize = 4;
pub(crate) type Key = [u64; W];

/// Every key whose words are below 4: 256 of them.
pub(crate) fn all_keys() -> impl Iterator<Item = Key> + Clone {
    (0..256u64).map(|n| [n & 3, n >> 2 & 3, n >> 4 & 3, n >> 6])
}

pub(crate) fn key() -> impl Strategy<Value = Key> {
    prop::array::uniform4(prop_oneof![2 => 0..2u64, 1 => 0..4u64])
}

/// Masks of no bit, one bit, all bits that occur, and all bits there are.
pub(crate) fn mask() -> impl Strategy<Value = Key> {
    prop::array::uniform4(prop_oneof![3 => Just(0), 1 => Just(1), 1 => Just(2), 1 => Just(3), 1 => Just(u64::MAX)])
}

pub(crate) fn pattern() -> impl Strategy<Value = Pattern<W>> {
    pattern_with(mask())
}

pub(crate) fn pattern_with(mask: impl Strategy<Value = Key>) -> impl Strategy<Value = Pattern<W>> {
    (key(), mask).prop_map(|(key, mask)| Pattern::new(key, mask))
}

/// Few masks, so that subtables fill; most of a table's patterns take one of them.
pub(crate) fn masks() -> impl Strategy<Value = Vec<Key>> {
    prop_oneof![prop::collection::vec(mask(), 1..5), prop::collection::vec(mask(), 8..24)]
}

/// A pattern of one of these masks, now and then of another.
pub(crate) fn pattern_among(masks: Vec<Key>) -> impl Strategy<Value = Pattern<W>> + Clone {
    pattern_with(prop_oneof![7 => prop::sample::select(masks), 1 => mask()].boxed()).boxed()
}

/// The fields of a layout in which the two low bits of each word are what occurs.
pub(crate) fn low_bits(order: BitOrder) -> Vec<Field> {
    let offset = |word: u16| word * 64 + if order == BitOrder::Number { 62 } else { 6 };
    (0..W as u16).map(|word| Field::new(offset(word), 2).expect("two bits of a word")).collect()
}

/// Where the id of a conjunction stands: of the last word, what is zero in all keys.
pub(crate) fn conjunction() -> Field {
    Field::new(3 * 64 + 16, 32).expect("a run of 32 bits")
}

/// Stages at random, both orders of bits, fields named or not, ports or not.
pub(crate) fn layout() -> impl Strategy<Value = Layout<W>> {
    let order = prop_oneof![Just(BitOrder::Number), Just(BitOrder::Bytes)];
    (prop::array::uniform4(0..4u8), order, any::<bool>(), 0..5u16).prop_map(|(stages, order, named, ports)| {
        let mut layout = Layout::new(stages).expect("stages are 0 to 3").with_order(order);
        if named {
            layout = layout.with_fields(&low_bits(order)).expect("fields of the key");
        }
        if ports < 4 {
            let offset = ports * 64 + if order == BitOrder::Number { 60 } else { 4 };
            layout = layout.with_ports(Field::new(offset, 4).expect("four bits")).expect("a field of the key");
        }
        layout.with_conjunction(conjunction()).expect("32 bits of the key")
    })
}

/// Few priorities, to have ties; and the ends of the range.
pub(crate) fn priority() -> impl Strategy<Value = i32> {
    prop_oneof![0..4i32, 0..4i32, Just(i32::MIN), Just(i32::MAX), Just(-1)]
}

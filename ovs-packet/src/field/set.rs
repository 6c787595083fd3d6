//! Sets of fields, as bits.

use core::fmt;

use super::FieldId;
use super::table::IDS;

const WORDS: usize = IDS.len().div_ceil(64);

/// A set of fields, in the order of the table: as small as four numbers, and copied as such.
///
/// ```
/// use ovs_packet::field::{FieldId, FieldSet};
///
/// let mut set: FieldSet = [FieldId::NwDst, FieldId::NwSrc].into_iter().collect();
/// assert!(set.insert(FieldId::NwProto) && !set.insert(FieldId::NwSrc));
/// assert!(set.contains(FieldId::NwDst) && set.len() == 3);
/// assert!(set.iter().eq([FieldId::NwSrc, FieldId::NwDst, FieldId::NwProto]));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FieldSet([u64; WORDS]);

impl FieldSet {
    /// No field.
    pub const EMPTY: FieldSet = FieldSet([0; WORDS]);

    /// Adds a field; whether it was not there yet.
    pub fn insert(&mut self, field: FieldId) -> bool {
        let is_new = !self.contains(field);
        if let Some(word) = self.0.get_mut(field as usize / 64) {
            *word |= 1 << (field as usize % 64);
        }
        is_new
    }

    /// Whether a field is in the set.
    pub fn contains(&self, field: FieldId) -> bool {
        self.0.get(field as usize / 64).is_some_and(|word| word >> (field as usize % 64) & 1 != 0)
    }

    /// How many fields are in the set.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether no field is in the set.
    pub fn is_empty(&self) -> bool {
        *self == FieldSet::EMPTY
    }

    /// The fields of this set or of `other`.
    #[must_use]
    pub fn union(self, other: FieldSet) -> FieldSet {
        self.each(other, |own, other| own | other)
    }

    /// The fields of this set and of `other`.
    #[must_use]
    pub fn intersection(self, other: FieldSet) -> FieldSet {
        self.each(other, |own, other| own & other)
    }

    /// Whether all fields of this set are in `other`.
    pub fn is_subset(&self, other: &FieldSet) -> bool {
        self.intersection(*other) == *self
    }

    fn each(mut self, other: FieldSet, f: impl Fn(u64, u64) -> u64) -> FieldSet {
        self.0.iter_mut().zip(other.0).for_each(|(own, other)| *own = f(*own, other));
        self
    }

    /// The fields, in the order of the table.
    pub fn iter(&self) -> impl Iterator<Item = FieldId> + Clone + use<> {
        let words = self.0.into_iter().enumerate();
        let numbers = words.flat_map(|(n, mut word)| {
            core::iter::from_fn(move || {
                let bit = word.trailing_zeros() as usize;
                word &= word.wrapping_sub(1);
                (bit < 64).then_some(64 * n + bit)
            })
        });
        numbers.filter_map(|n| IDS.get(n).copied())
    }
}

impl FromIterator<FieldId> for FieldSet {
    fn from_iter<I: IntoIterator<Item = FieldId>>(fields: I) -> FieldSet {
        let mut set = FieldSet::EMPTY;
        set.extend(fields);
        set
    }
}

impl Extend<FieldId> for FieldSet {
    fn extend<I: IntoIterator<Item = FieldId>>(&mut self, fields: I) {
        fields.into_iter().for_each(|field| _ = self.insert(field));
    }
}

impl fmt::Debug for FieldSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn fields() -> impl Strategy<Value = BTreeSet<FieldId>> {
        prop::collection::btree_set(prop::sample::select(IDS.to_vec()), 0..40)
    }

    proptest! {
        #[test]
        fn it_is_as_a_set_of_the_library(a in fields(), b in fields(), field in prop::sample::select(IDS.to_vec())) {
            let set = |fields: &BTreeSet<FieldId>| fields.iter().copied().collect::<FieldSet>();
            let (x, y) = (set(&a), set(&b));
            prop_assert!(x.iter().eq(a.iter().copied()));
            prop_assert_eq!((x.len(), x.is_empty(), x == y), (a.len(), a.is_empty(), a == b));
            prop_assert_eq!((x.contains(field), x.is_subset(&y)), (a.contains(&field), a.is_subset(&b)));
            prop_assert!(x.union(y).iter().eq(a.union(&b).copied()));
            prop_assert!(x.intersection(y).iter().eq(a.intersection(&b).copied()));
            let (mut own, mut theirs) = (x, a);
            prop_assert_eq!(own.insert(field), theirs.insert(field));
            prop_assert!(own.iter().eq(theirs.iter().copied()));
        }
    }
}

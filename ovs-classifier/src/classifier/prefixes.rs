//! Tries that narrow wildcards: of the table's prefix fields, over all masks, and of each mask's ports.
//!
//! A mask that fixes a prefix of a field has the same length of it in all its rules. So if the table has no rule with
//! the key's prefix of that length, nothing of the mask matches, and a few leading bits of the key prove it: those at
//! which the key leaves the trie.
//!
//! Ports differ most between packets and rules, and every mask has its own: there the trie is the mask's, over its
//! bits of the field, whether or not they are a prefix. The bits up to where the key leaves it, as far as they are in
//! the mask, prove that no rule of the mask has these ports.

use super::lengths::Lengths;
use super::{Classifier, State};
use crate::error::PrefixFieldsError;
use crate::field::{BitOrder, Field};
use crate::guards::{MIDDLE, SINGLE};
use crate::layout::Layout;
use crate::simd::Kernels;
use crate::sparse::SparseMask;
use crate::subtables::Subtable;
use crate::trie::{Answer, Folded, Place, Trie};
use alloc::vec::Vec;
use arrayvec::ArrayVec;
use core::hint::select_unpredictable;

/// The most prefix fields that a table has.
pub const MAX_PREFIX_FIELDS: usize = 4;

/// So many masks have the tries tell by length which of them hold a prefix: of fewer, few are left without that.
const MANY: u32 = 64 * MIDDLE as u32;

/// The tries of the table's prefix fields.
#[derive(Clone, Default)]
pub(super) struct Prefixes {
    fields: ArrayVec<Prefixed, MAX_PREFIX_FIELDS>,
    /// By column, the length of the prefix of each field that the mask fixes; 0 where it fixes none, or no prefix.
    lens: Vec<[u8; MAX_PREFIX_FIELDS]>,
}

/// A field of which prefixes are tracked.
#[derive(Clone)]
struct Prefixed {
    field: Field,
    trie: Trie<Folded>,
    /// Which masks fix a prefix of the field.
    lengths: Lengths,
}

/// Where a pattern is in tries: of its mask's ports, if there is one, then of the prefix fields.
pub(super) type Places = ArrayVec<Place, { MAX_PREFIX_FIELDS + 1 }>;

/// The values by which tries know a pattern; zeros, before they are set. They stay where they are: who copied them
/// would wait for what was just written in parts.
#[derive(Default)]
pub(super) struct Values {
    ports: u128,
    fields: [u128; MAX_PREFIX_FIELDS],
}

impl Values {
    /// Sets those of its mask's ports, if there are some.
    #[inline(always)]
    pub(super) fn set_ports<const W: usize>(&mut self, ports: Option<&Ports>, key: &[u64; W], order: BitOrder) {
        self.ports = ports.map_or(0, |ports| ports.value(key, order));
    }
}

/// What the tries say of a key, by field; nothing before they are asked.
pub(super) struct Walks(ArrayVec<Answer<Folded>, MAX_PREFIX_FIELDS>);

impl Walks {
    /// Before the tries are asked.
    #[inline(always)]
    pub(super) const fn new() -> Self {
        Self(ArrayVec::new_const())
    }
}

/// By field, the masks of `64 * N` columns that its trie rules out for a key.
pub(super) type Missing<const N: usize> = ArrayVec<[u64; N], MAX_PREFIX_FIELDS>;

impl Prefixes {
    pub(super) fn heap_bytes(&self) -> usize {
        let fields = self.fields.iter().map(|of| of.trie.heap_bytes() + of.lengths.heap_bytes());
        fields.sum::<usize>() + self.lens.capacity() * MAX_PREFIX_FIELDS
    }

    pub(super) fn add_column<const W: usize>(&mut self, column: u32, mask: &[u64; W], order: BitOrder) {
        let mut lens = [0; MAX_PREFIX_FIELDS];
        for (of, len) in self.fields.iter().zip(&mut lens) {
            *len = of.field.prefix_len(mask, order).unwrap_or(0);
        }
        let column = column as usize;
        if self.lens.len() <= column {
            self.lens.resize(column + 1, [0; MAX_PREFIX_FIELDS]);
        }
        if let Some(place) = self.lens.get_mut(column) {
            *place = lens;
        }
        self.note(column as u32, lens, true);
    }

    /// Notes the lengths that a mask fixes, or no longer does.
    fn note(&mut self, column: u32, lens: [u8; MAX_PREFIX_FIELDS], on: bool) {
        for (of, len) in self.fields.iter_mut().zip(lens) {
            of.lengths.set(column, len, of.field.bits(), on);
            if column >= MANY {
                of.trie.tell_apart();
            }
        }
    }

    /// Takes a mask's column away.
    pub(super) fn remove_column(&mut self, column: u32) {
        let lens = self.lens.get_mut(column as usize).map(core::mem::take).unwrap_or_default();
        self.note(column, lens, false);
    }

    /// Sets the values by which tries know a pattern, of a key that it matches; but for its mask's
    /// [ports](Values::set_ports).
    #[inline(always)]
    pub(super) fn set_values<const W: usize>(&self, values: &mut Values, key: &[u64; W], order: BitOrder) {
        for (of, value) in self.fields.as_slice().iter().zip(&mut values.fields) {
            *value = of.field.aligned(key, order);
        }
    }

    /// The places of a pattern in the tries that it is in: of its mask's ports, if there is one, and of the fields that
    /// the mask fixes prefixes of. Searches of a few tries at once wait for memory together.
    pub(super) fn seek(&self, column: u32, ports: Option<&Ports>, values: &Values, places: &mut Places) {
        let Some(lens) = self.lens.get(column as usize) else { return };
        let fields = || self.fields.iter().zip(&values.fields).zip(lens).filter(|(_, len)| **len > 0);
        places.extend(ports.map(|ports| ports.trie.begin(values.ports, ports.len)));
        places.extend(fields().map(|((of, value), len)| of.trie.begin(*value, *len)));
        let (of_ports, of_fields) = places.split_at_mut(usize::from(ports.is_some()));
        let mut goes_on = true;
        while goes_on {
            let step = |(ports, place): (&Ports, &mut Place)| ports.trie.step(values.ports, ports.len, place);
            goes_on = ports.into_iter().zip(&mut *of_ports).any(step);
            for (((of, value), len), place) in fields().zip(&mut *of_fields) {
                goes_on |= of.trie.step(*value, *len, place);
            }
        }
    }

    /// Adds a pattern of a mask at its places.
    pub(super) fn add(&mut self, column: u32, values: &Values, places: impl Iterator<Item = Place>) {
        self.each(column, values, places, |trie, value, len, place| trie.insert(value, len, place, column));
    }

    /// Removes a pattern that was added.
    pub(super) fn remove(&mut self, column: u32, values: &Values, places: impl Iterator<Item = Place>) {
        self.each(column, values, places, Trie::remove);
    }

    /// Changes the tries of the fields that a mask fixes prefixes of.
    #[inline(always)]
    fn each(
        &mut self,
        column: u32,
        values: &Values,
        mut places: impl Iterator<Item = Place>,
        change: impl Fn(&mut Trie<Folded>, u128, u8, Place),
    ) {
        let Some(lens) = self.lens.get(column as usize) else { return };
        for ((of, value), len) in self.fields.iter_mut().zip(&values.fields).zip(lens) {
            if *len > 0
                && let Some(place) = places.next()
            {
                change(&mut of.trie, *value, *len, place);
            }
        }
    }

    /// Offers the fields of which leading bits of the key prove that a mask has nothing for it, with how many bits
    /// that takes; until one is taken.
    #[inline(always)]
    pub(super) fn offer(&self, column: u32, walks: &Walks, mut takes: impl FnMut(Field, u8) -> bool) {
        // In their place: an iterator of a copy is itself copied, from bytes that it has just stored in other pieces.
        let Some(lens) = self.lens.get(column as usize) else { return };
        for ((of, answer), len) in self.fields.iter().zip(&walks.0).zip(lens) {
            if *len > 0
                && let Some(bits) = answer.rules_out(*len)
                && takes(of.field, bits)
            {
                return;
            }
        }
    }

    /// Whether masks fix prefixes of one field, and of no other.
    #[inline(always)]
    pub(super) fn are_of_one_field(&self) -> bool {
        self.fields.iter().filter(|of| !of.lengths.is_empty()).count() == 1
    }

    /// The field that has the bit at a place in the key, and how many of its leading bits that is, if a mask fixes a
    /// prefix of it.
    pub(super) fn up_to(&self, column: u32, at: u16) -> Option<(Field, u8)> {
        let lens = self.lens.get(column as usize)?;
        let fields = self.fields.iter().zip(lens).filter(|(_, len)| **len > 0);
        fields.map(|(of, _)| of.field).find_map(|field| Some((field, field.bits_to(at)?)))
    }

    /// Asks the tries about a key. Two by two: both walks wait for memory together, and take hardly longer than one.
    #[inline(always)]
    pub(super) fn walk<const W: usize>(
        &self,
        key: &[u64; W],
        order: BitOrder,
        walks: &mut Walks,
        kernels: impl Kernels,
    ) {
        for fields in self.fields.chunks(2) {
            match fields {
                [one, other] if !one.lengths.is_empty() => {
                    let (value, other_value) = (one.field.aligned(key, order), other.field.aligned(key, order));
                    walks.0.extend(one.trie.find_both(value, &other.trie, other_value, kernels));
                }
                fields => walks.0.extend(fields.iter().map(|of| of.trie.find(of.field.aligned(key, order), kernels))),
            }
        }
    }

    /// Of some masks of a range of columns, those that the tries do not rule out; what each rules out is added to
    /// `missing`.
    #[inline(always)]
    pub(super) fn held<const W: usize, const N: usize>(
        &self,
        first: usize,
        (key, order): (&[u64; W], BitOrder),
        walks: &Walks,
        columns: [u64; N],
        missing: &mut Missing<N>,
    ) -> [u64; N] {
        let mut held = columns;
        for (of, answer) in self.fields.iter().zip(&walks.0) {
            let value = || of.field.aligned(key, order);
            let out = if of.lengths.is_empty() { [0; N] } else { of.missing(answer, value, first) };
            held = core::array::from_fn(|i| held[i] & !out[i]);
            let _ = missing.try_push(out);
        }
        held
    }

    /// Drops of a range of columns those that are missing in a trie where the bits that show it are among `wildcards`.
    #[inline(always)]
    pub(super) fn drop_proven<const W: usize, const N: usize>(
        &self,
        columns: &mut [u64; N],
        first: usize,
        order: BitOrder,
        (walks, missing): (&Walks, &Missing<N>),
        wildcards: &[u64; W],
    ) {
        for ((of, answer), missing) in self.fields.iter().zip(&walks.0).zip(missing) {
            if of.lengths.is_empty() {
                continue;
            }
            // What shows that a mask has no rule with the key's prefix is as many bits as it fixes, or `answer.bits` if
            // that is less.
            let known = of.field.leading_in(wildcards, order);
            let most = select_unpredictable(answer.bits <= known, u8::MAX, known);
            let within = of.lengths.at_most::<N>(most, first);
            *columns = core::array::from_fn(|i| columns[i] & !(missing[i] & within[i]));
        }
    }

    /// Asks for what changes of a pattern begin with, whatever its mask.
    #[inline(always)]
    pub(super) fn expect(&self, values: &Values) {
        self.fields.iter().zip(&values.fields).for_each(|(of, value)| of.trie.expect(*value));
    }

    /// Asks for what a change at these places will read, in the tries of the fields that a mask fixes prefixes of.
    #[inline(always)]
    pub(super) fn prefetch(&self, column: u32, places: impl Iterator<Item = Place>) {
        let Some(lens) = self.lens.get(column as usize) else { return };
        let tries = self.fields.iter().zip(lens).filter(|(_, len)| **len > 0);
        tries.zip(places).for_each(|((of, _), place)| of.trie.prefetch(place));
    }

    pub(super) fn clear(&mut self) {
        self.lens.clear();
        self.fields.iter_mut().for_each(|of| *of = Prefixed::new(of.field));
    }
}

impl Prefixed {
    fn new(field: Field) -> Self {
        Self { field, trie: Trie::new(field.bits()), lengths: Lengths::default() }
    }

    /// Of a range of columns, the masks that fix a prefix of the field of which they have no rule for a value. Where
    /// columns are no more than a word, the trie tells them; of more, it tells groups of which none has one, of long
    /// prefixes and of short, or of each length of those: a mask has its prefix among those of its length.
    #[inline(always)]
    fn missing<const N: usize>(&self, answer: &Answer<Folded>, value: impl Fn() -> u128, first: usize) -> [u64; N] {
        let all: [u64; N] = self.lengths.all(first);
        if N == SINGLE {
            return all.map(|all| all & !answer.holders());
        }
        let Answer { short, long, .. } = answer;
        let long = self.lengths.of::<N>(long.lens, first).map(|fixed| fixed & long.holders);
        let short = match (N > MIDDLE).then(|| self.trie.apart(value())).flatten() {
            Some((apart, from)) => {
                let holders = |len| if len < from { short.holders } else { apart.holders(len) };
                self.lengths.of_holders::<N>(short.lens, first, holders)
            }
            None => self.lengths.of::<N>(short.lens, first).map(|fixed| fixed & short.holders),
        };
        core::array::from_fn(|i| all[i] & !(short[i] | long[i]))
    }
}

/// The ports of the patterns of one mask.
#[derive(Clone)]
pub(super) struct Ports {
    field: Field,
    /// The mask's bits of the field, left-aligned.
    mask: u128,
    /// How many bits of the field are before them, which the trie does not have: its head is of bits that differ.
    before: u8,
    /// How many bits there are from the first of them to the last.
    len: u8,
    trie: Trie<()>,
}

impl Ports {
    /// For a mask that fixes bits of the layout's field of ports.
    pub(super) fn new<const W: usize>(layout: &Layout<W>, mask: &SparseMask<W>) -> Option<Self> {
        let (field, mask) = (layout.ports()?, mask.expand());
        let (extent, mask) = (field.extent(&mask, layout.order()), field.aligned(&mask, layout.order()));
        let before = mask.leading_zeros() as u8;
        let len = extent.checked_sub(before)?;
        Some(Self { field, mask, before, len, trie: Trie::new(len) })
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.trie.heap_bytes()
    }

    /// The bits of a key that are the mask's, from the first of them on.
    #[inline(always)]
    fn value<const W: usize>(&self, key: &[u64; W], order: BitOrder) -> u128 {
        (self.field.aligned(key, order) & self.mask) << self.before
    }

    /// Adds the ports of a pattern at their place.
    pub(super) fn add(&mut self, values: &Values, place: Place) {
        self.trie.insert(values.ports, self.len, place, 0);
    }

    /// Removes the ports of a pattern from their place.
    pub(super) fn remove(&mut self, values: &Values, place: Place) {
        self.trie.remove(values.ports, self.len, place);
    }

    /// Asks for what a change of a pattern begins with.
    #[inline(always)]
    pub(super) fn expect(&self, values: &Values) {
        self.trie.expect(values.ports);
    }

    /// Asks for what a change at a place will read.
    #[inline(always)]
    pub(super) fn prefetch(&self, place: Place) {
        self.trie.prefetch(place);
    }

    /// The field and how many of its leading bits, as far as the mask has them, prove that no pattern has the key's
    /// ports; `None` when one has them.
    pub(super) fn proof<const W: usize>(
        &self,
        key: &[u64; W],
        order: BitOrder,
        kernels: impl Kernels,
    ) -> Option<(Field, u8)> {
        let answer = self.trie.find(self.value(key, order), kernels);
        Some((self.field, self.before + answer.rules_out(self.len)?))
    }
}

impl<R, const W: usize> Classifier<R, W> {
    /// The fields whose prefixes the table tracks.
    pub fn prefix_fields(&self) -> impl Iterator<Item = Field> {
        self.prefixes.fields.iter().map(|of| of.field)
    }

    /// Tracks the prefixes of other fields: addresses, as a rule.
    ///
    /// Where rules match on prefixes of a field, tracked lookups then report as few of its leading bits as prove that
    /// no rule has the key's prefix. Answers stay the same. It can be changed at any time; every pattern is visited.
    ///
    /// # Errors
    ///
    /// If there are more than [`MAX_PREFIX_FIELDS`], or one is not within the key: then nothing changes.
    pub fn set_prefix_fields(&mut self, fields: &[Field]) -> Result<(), PrefixFieldsError> {
        if fields.len() > MAX_PREFIX_FIELDS {
            return Err(PrefixFieldsError::TooMany(fields.len()));
        }
        if let Some(outside) = fields.iter().find(|field| !Layout::<W>::contains(**field)) {
            return Err(PrefixFieldsError::OutsideKey(*outside));
        }
        let fields_of_tries = fields.iter().map(|field| Prefixed::new(*field)).collect();
        self.prefixes = Prefixes { fields: fields_of_tries, lens: Vec::new() };
        let order = self.layout.order();
        self.guards.set_tried(fields);
        for (column, subtable) in self.subtables.columns() {
            let subtable: &Subtable<State, W> = subtable;
            self.prefixes.add_column(column, &subtable.mask.expand(), order);
            for values in subtable.patterns() {
                let (key, mut values, mut places) = (subtable.mask.scatter(values), Values::default(), Places::new());
                self.prefixes.set_values(&mut values, &key, order);
                self.prefixes.seek(column, None, &values, &mut places);
                self.prefixes.add(column, &values, places.into_iter());
            }
        }
        Ok(())
    }
}

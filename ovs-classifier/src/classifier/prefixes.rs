//! Tries that narrow wildcards: of the table's prefix fields, over all masks, and of each mask's ports.
//!
//! A mask that fixes a prefix of a field has the same length of it in all its rules. So if the table has no rule with
//! the key's prefix of that length, nothing of the mask matches, and a few leading bits of the key prove it: those at
//! which the key leaves the trie.
//!
//! Ports differ most between packets and rules, and every mask has its own: there the trie is the mask's, over its
//! bits of the field, whether or not they are a prefix. The bits up to where the key leaves it, as far as they are in
//! the mask, prove that no rule of the mask has these ports.

use super::{Classifier, State};
use crate::error::PrefixFieldsError;
use crate::field::{BitOrder, Field};
use crate::guards::{MIDDLE, NARROW, WIDE, is_empty};
use crate::layout::Layout;
use crate::sparse::SparseMask;
use crate::subtables::Subtable;
use crate::trie::{Answer, Link, Trie};
use alloc::vec::Vec;
use arrayvec::ArrayVec;

/// The most prefix fields that a table has.
pub const MAX_PREFIX_FIELDS: usize = 4;

/// The tries of the table's prefix fields.
#[derive(Clone, Default)]
pub(super) struct Prefixes {
    tries: ArrayVec<(Field, Trie), MAX_PREFIX_FIELDS>,
    /// For each trie, which masks fix a prefix of the field.
    lengths: ArrayVec<Lengths, MAX_PREFIX_FIELDS>,
    /// By column, the length of the prefix of each field that the mask fixes; 0 where it fixes none, or no prefix.
    lens: Vec<[u8; MAX_PREFIX_FIELDS]>,
}

/// The masks that fix a prefix of a field, as bits by column.
#[derive(Clone, Default)]
struct Lengths {
    /// By length: those that fix so many bits, and those that fix one or more and at most so many.
    columns: Vec<[Vec<u64>; 2]>,
    /// Bit `n - 1` is set when a mask may fix `n` bits.
    there: u128,
}

impl Lengths {
    fn heap_bytes(&self) -> usize {
        let words: usize = self.columns.iter().flatten().map(Vec::capacity).sum();
        words * size_of::<u64>() + self.columns.capacity() * size_of::<[Vec<u64>; 2]>()
    }

    /// Notes that a mask fixes `len` bits, or no longer does.
    fn set(&mut self, column: u32, len: u8, on: bool) {
        let Some(i) = len.checked_sub(1) else { return };
        let (word, bit) = (column as usize / 64, 1u64 << (column % 64));
        if self.columns.is_empty() {
            self.columns.resize(129, Default::default());
        }
        let put = |words: &mut Vec<u64>| {
            if words.len() <= word {
                words.resize(padded(word + 1), 0);
            }
            if let Some(word) = words.get_mut(word) {
                *word = if on { *word | bit } else { *word & !bit };
            }
        };
        self.columns.iter_mut().skip(usize::from(len)).for_each(|[_, up_to]| put(up_to));
        if let Some([exactly, _]) = self.columns.get_mut(usize::from(len)) {
            put(exactly);
            let is_there = exactly.iter().any(|word| *word != 0);
            self.there = self.there & !(1 << i) | u128::from(is_there) << i;
        }
    }

    /// The masks that fix one to `most` bits, but not one of the lengths `lens`; of a range of `64 * N` columns.
    #[inline(always)]
    fn but<const N: usize>(&self, most: u8, lens: u128, first: usize) -> [u64; N] {
        let Some([_, up_to]) = self.columns.get(usize::from(most)) else { return [0; N] };
        let mut all: [u64; N] = load(up_to, first);
        let mut left = lens & self.there;
        while left != 0 {
            let len = left.trailing_zeros() as usize + 1;
            left &= left - 1;
            if let Some([exactly, _]) = self.columns.get(len) {
                let exactly: [u64; N] = load(exactly, first);
                all.iter_mut().zip(exactly).for_each(|(all, columns)| *all &= !columns);
            }
        }
        all
    }
}

/// So many words that they can be loaded whole, in all widths in which columns are picked.
fn padded(words: usize) -> usize {
    match words {
        0..=NARROW => words,
        words if words <= MIDDLE => MIDDLE,
        words => words.next_multiple_of(WIDE),
    }
}

#[inline(always)]
fn load<const N: usize>(words: &[u64], first: usize) -> [u64; N] {
    let words = words.get(first..).unwrap_or_default();
    words.first_chunk::<N>().copied().unwrap_or_else(|| {
        let mut some = [0; N];
        some.iter_mut().zip(words).for_each(|(some, word)| *some = *word);
        some
    })
}

/// How far a lookup has looked ahead: for each trie the value that it will ask for, and a node.
pub(super) type Ahead = [(u128, Link); MAX_PREFIX_FIELDS];

/// What a lookup found in the tries so far.
pub(super) type Answers = [Option<Answer>; MAX_PREFIX_FIELDS];

impl Prefixes {
    pub(super) fn heap_bytes(&self) -> usize {
        let tries: usize = self.tries.iter().map(|(_, trie)| trie.heap_bytes()).sum();
        let lengths: usize = self.lengths.iter().map(Lengths::heap_bytes).sum();
        tries + lengths + self.lens.capacity() * MAX_PREFIX_FIELDS
    }

    pub(super) fn add_column<const W: usize>(&mut self, column: u32, mask: &[u64; W], order: BitOrder) {
        let mut lens = [0; MAX_PREFIX_FIELDS];
        for ((field, _), len) in self.tries.iter().zip(&mut lens) {
            *len = field.prefix_len(mask, order).unwrap_or(0);
        }
        let column = column as usize;
        if self.lens.len() <= column {
            self.lens.resize(column + 1, [0; MAX_PREFIX_FIELDS]);
        }
        if let Some(place) = self.lens.get_mut(column) {
            *place = lens;
        }
        for (lengths, len) in self.lengths.iter_mut().zip(lens) {
            lengths.set(column as u32, len, true);
        }
    }

    /// Takes a mask's column away.
    pub(super) fn remove_column(&mut self, column: u32) {
        let lens = self.lens.get_mut(column as usize).map(core::mem::take).unwrap_or_default();
        for (lengths, len) in self.lengths.iter_mut().zip(lens) {
            lengths.set(column, len, false);
        }
    }

    /// Adds a pattern of a mask, by a key that it matches.
    pub(super) fn add<const W: usize>(&mut self, column: u32, key: &[u64; W], order: BitOrder) {
        self.each(column, |field, trie, len| trie.insert(field.aligned(key, order), len));
    }

    /// Removes a pattern that was added, by a key that it matches.
    pub(super) fn remove<const W: usize>(&mut self, column: u32, key: &[u64; W], order: BitOrder) {
        self.each(column, |field, trie, len| trie.remove(field.aligned(key, order), len));
    }

    fn each(&mut self, column: u32, mut change: impl FnMut(Field, &mut Trie, u8)) {
        let Some(lens) = self.lens.get(column as usize) else { return };
        for ((field, trie), len) in self.tries.iter_mut().zip(lens) {
            if *len > 0 {
                change(*field, trie, *len);
            }
        }
    }

    /// Offers the fields of which leading bits of the key prove that a mask has nothing for it, with how many bits
    /// that takes; until one is taken.
    #[inline(always)]
    pub(super) fn offer<const W: usize>(
        &self,
        column: u32,
        key: &[u64; W],
        order: BitOrder,
        answers: &mut Answers,
        mut takes: impl FnMut(Field, u8) -> bool,
    ) {
        // In their place: an iterator of a copy is itself copied, from bytes that it has just stored in other pieces.
        let Some(lens) = self.lens.get(column as usize) else { return };
        for ((i, (field, _)), len) in self.tries.iter().enumerate().zip(lens) {
            if *len > 0
                && let Some(bits) = self.answer(i, key, order, answers).rules_out(*len)
                && takes(*field, bits)
            {
                return;
            }
        }
    }

    /// What a trie says of a key. Tries are asked two by two: who needs one mostly needs the other, and both take hardly
    /// longer than one.
    #[inline(always)]
    fn answer<const W: usize>(&self, i: usize, key: &[u64; W], order: BitOrder, answers: &mut Answers) -> Answer {
        if let Some(Some(answer)) = answers.get(i) {
            return *answer;
        }
        let pair = answers.get_mut(i & !1..).and_then(<[_]>::first_chunk_mut::<2>);
        match (pair, self.tries.get(i & !1..).unwrap_or_default()) {
            (Some(pair), [(one, trie), (two, other), ..]) => {
                let both = trie.find_both(one.aligned(key, order), other, two.aligned(key, order));
                *pair = both.map(Some);
                both[i & 1]
            }
            (Some([first, _]), [(field, trie)]) => *first.insert(trie.find(field.aligned(key, order))),
            _ => Answer::default(),
        }
    }

    /// Asks for the memory from which walks through large tries begin.
    #[inline(always)]
    pub(super) fn ahead<const W: usize>(&self, key: &[u64; W], order: BitOrder) -> Ahead {
        let mut ahead = Ahead::default();
        for ((field, trie), (value, _)) in self.tries.iter().zip(&mut ahead) {
            if trie.is_large() {
                *value = field.aligned(key, order);
                trie.ahead(*value);
            }
        }
        ahead
    }

    /// Asks for the next nodes.
    #[inline(always)]
    pub(super) fn further(&self, ahead: &mut Ahead) {
        for ((_, trie), (value, link)) in self.tries.iter().zip(ahead) {
            if trie.is_large() {
                *link = trie.further(*value, *link);
            }
        }
    }

    /// Drops of a range of columns those of which the bits among `wildcards` prove that their masks have nothing for
    /// the key: where no rule has the key's prefix of their length, and what shows that is reported already.
    #[inline(always)]
    pub(super) fn drop_proven<const W: usize, const N: usize>(
        &self,
        columns: &mut [u64; N],
        first: usize,
        key: &[u64; W],
        order: BitOrder,
        answers: &mut Answers,
        wildcards: &[u64; W],
    ) {
        for (i, ((field, _), lengths)) in self.tries.iter().zip(&self.lengths).enumerate() {
            if is_empty(columns) {
                return;
            }
            let known = field.aligned(wildcards, order).leading_ones() as u8;
            if known == 0 {
                continue;
            }
            let answer = self.answer(i, key, order, answers);
            // What shows that no rule has a prefix of some length is that many bits, or `answer.bits` if that is less.
            let most = if answer.bits <= known { 128 } else { known };
            let out: [u64; N] = lengths.but(most, answer.lens, first);
            columns.iter_mut().zip(out).for_each(|(columns, out)| *columns &= !out);
        }
    }

    pub(super) fn clear(&mut self) {
        self.lens.clear();
        self.tries.iter_mut().for_each(|(field, trie)| *trie = Trie::new(field.bits()));
        self.lengths.iter_mut().for_each(|lengths| *lengths = Lengths::default());
    }
}

/// The ports of the patterns of one mask.
#[derive(Clone)]
pub(super) struct Ports {
    field: Field,
    /// The mask's bits of the field, left-aligned, and where the last of them is.
    mask: u128,
    extent: u8,
    trie: Trie,
}

impl Ports {
    /// For a mask that fixes bits of the layout's field of ports.
    pub(super) fn new<const W: usize>(layout: &Layout<W>, mask: &SparseMask<W>) -> Option<Self> {
        let (field, mask) = (layout.ports()?, mask.expand());
        let extent = field.extent(&mask, layout.order());
        (extent > 0).then(|| Self {
            field,
            mask: field.aligned(&mask, layout.order()),
            extent,
            trie: Trie::new(field.bits()),
        })
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.trie.heap_bytes()
    }

    pub(super) fn add<const W: usize>(&mut self, key: &[u64; W], order: BitOrder) {
        self.trie.insert(self.field.aligned(key, order) & self.mask, self.extent);
    }

    pub(super) fn remove<const W: usize>(&mut self, key: &[u64; W], order: BitOrder) {
        self.trie.remove(self.field.aligned(key, order) & self.mask, self.extent);
    }

    /// The field and how many of its leading bits, as far as the mask has them, prove that no pattern has the key's
    /// ports; `None` when one has them.
    pub(super) fn proof<const W: usize>(&self, key: &[u64; W], order: BitOrder) -> Option<(Field, u8)> {
        let answer = self.trie.find(self.field.aligned(key, order) & self.mask);
        Some((self.field, answer.rules_out(self.extent)?))
    }
}

impl<R, const W: usize> Classifier<R, W> {
    /// The fields whose prefixes the table tracks.
    pub fn prefix_fields(&self) -> impl Iterator<Item = Field> {
        self.prefixes.tries.iter().map(|(field, _)| *field)
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
        self.prefixes = Prefixes {
            tries: fields.iter().map(|field| (*field, Trie::new(field.bits()))).collect(),
            lengths: fields.iter().map(|_| Lengths::default()).collect(),
            lens: Vec::new(),
        };
        let order = self.layout.order();
        for (column, subtable) in self.subtables.columns() {
            let subtable: &Subtable<State, W> = subtable;
            self.prefixes.add_column(column, &subtable.mask.expand(), order);
            for values in subtable.patterns() {
                self.prefixes.add(column, &subtable.mask.scatter(values), order);
            }
        }
        Ok(())
    }
}

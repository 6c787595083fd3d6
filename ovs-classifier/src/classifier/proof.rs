//! What proves that no mask holds a better rule, in few bits.
//!
//! A tracked lookup reports the bits on which its answer depends. Those of the rule found are a matter of course. But
//! every mask that outranks it must be shown to hold nothing for the key, and for that there is a choice:
//!
//! - a guard that rules the mask out: its bits;
//! - a prefix trie in which the key's prefix is missing: the bits up to where the key leaves the trie;
//! - the mask's own trie of ports: the same, of the ports;
//! - the stages: the words up to the first at which no rule begins like the key; the whole mask at worst.
//!
//! Each is true on its own, whatever the rest of the key holds, so each may be taken for each mask, and what one takes
//! serves the others: a mask that is ruled out by bits already reported costs nothing more. Few masks are proven one by
//! one, each in the fewest new bits; of many, first those that one guard rules out together.

use super::Classifier;
use super::prefixes::Answers;
use super::search::Probes;
use crate::field::Field;
use crate::guards::Picked;
use crate::simd::Kernels;

/// So many masks are proven one by one.
const ONE_BY_ONE: u32 = 16;

/// Words of columns that are looked at together.
const STEP: usize = 16;

/// The proofs of one lookup.
pub(super) struct Evidence<'a, R, const W: usize> {
    table: &'a Classifier<R, W>,
    key: &'a [u64; W],
    picked: Picked<'a>,
    answers: Answers,
    wildcards: &'a mut [u64; W],
}

/// What proves that a mask has nothing for a key.
#[derive(Clone, Copy)]
enum Proof {
    /// The bits of a guard.
    Guard(usize),
    /// The leading bits of a field.
    Prefix(Field, u8),
    /// The leading bits of a field, as far as they are in the mask.
    Ports(Field, u8),
    /// The first words of the mask.
    Words(usize),
}

impl<'a, R, const W: usize> Evidence<'a, R, W> {
    pub(super) fn new(
        table: &'a Classifier<R, W>,
        key: &'a [u64; W],
        picked: Picked<'a>,
        wildcards: &'a mut [u64; W],
    ) -> Self {
        Self { table, key, picked, answers: Answers::default(), wildcards }
    }

    /// Proves that the masks `missed`, and all above rank `floor` that the guards ruled out, hold no better rule.
    pub(super) fn gather(mut self, missed: &[u32], floor: u64, cost: &mut Probes) {
        for column in missed {
            cost.proofs += u64::from(self.prove(*column));
        }
        if self.table.guards.len() == 0 {
            return;
        }
        for first in (0..self.picked.words()).step_by(STEP) {
            let mut open = [0; STEP];
            self.picked.open_words(first, &mut open);
            let mut left = [0; STEP];
            for (word, (left, open)) in (first..).zip(left.iter_mut().zip(open)) {
                let closed = self.picked.live(word) & !open;
                if closed != 0 {
                    let ranks = self.table.ranks.get(word * 64..).unwrap_or_default();
                    *left = closed & Kernels::above(ranks, floor);
                }
            }
            self.prove_words(first, &mut left, cost);
        }
    }

    /// Proves that the masks in `left`, which the guards rule out, hold nothing.
    fn prove_words(&mut self, first: usize, left: &mut [u64; STEP], cost: &mut Probes) {
        let guards = self.table.guards.len();
        for guard in 0..guards {
            if self.new_bits(guard) == 0 {
                self.let_pass(guard, first, left);
            }
        }
        while count(left) > ONE_BY_ONE {
            // The guard that rules most masks out for each new bit.
            let rate = |guard: usize| {
                let mut passed = *left;
                self.let_pass(guard, first, &mut passed);
                let ruled_out = count(left) - count(&passed);
                (u64::from(ruled_out) << 20) / u64::from(self.new_bits(guard).max(1))
            };
            let best = (0..guards).map(|guard| (rate(guard), guard)).max_by_key(|(rate, _)| *rate);
            match best {
                Some((rate, guard)) if rate > 0 => {
                    cost.proofs += 1;
                    self.report(Proof::Guard(guard), None);
                    self.let_pass(guard, first, left);
                }
                _ => break,
            }
        }
        for (word, left) in (first..).zip(*left) {
            let mut left = left;
            while left != 0 {
                let column = word * 64 + left.trailing_zeros() as usize;
                left &= left - 1;
                cost.proofs += u64::from(self.prove(column as u32));
            }
        }
    }

    /// Keeps of `columns` those that a guard does not rule out.
    fn let_pass(&self, guard: usize, first: usize, columns: &mut [u64; STEP]) {
        for (word, columns) in (first..self.picked.words()).zip(columns) {
            if *columns != 0 {
                *columns &= self.picked.lets_pass(guard, word);
            }
        }
    }

    /// Proves that a mask holds nothing, in as few new bits as it can. Whether there were any.
    fn prove(&mut self, column: u32) -> bool {
        let Some((proof, new)) = self.cheapest(column) else { return false };
        if new > 0 {
            self.report(proof, Some(column));
        }
        new > 0
    }

    /// The proof that takes the fewest new bits, and how many.
    fn cheapest(&mut self, column: u32) -> Option<(Proof, u32)> {
        let (table, key) = (self.table, self.key);
        let order = table.layout.order();
        let subtable = table.subtables.get(column)?;
        let mut best = None;
        let mut offer = |proof: Proof, new: u32| {
            if best.is_none_or(|(_, least)| new < least) {
                best = Some((proof, new));
            }
            new == 0
        };
        for guard in 0..table.guards.len() {
            if self.picked.rules_out(guard, column) && offer(Proof::Guard(guard), self.new_bits(guard)) {
                return best;
            }
        }
        for (field, len) in table.prefixes.proofs(column, key, order, &mut self.answers) {
            let new = field.prefix(len, order).map(|(word, bits)| missing(self.wildcards, word, bits)).sum();
            if offer(Proof::Prefix(field, len), new) {
                return best;
            }
        }
        if let Some((field, len)) = subtable.state.ports.as_ref().and_then(|ports| ports.proof(key, order)) {
            let mask = subtable.mask.expand();
            let bits = field.prefix(len, order).map(|(word, bits)| (word, bits & word_of(&mask, word)));
            let new = bits.map(|(word, bits)| missing(self.wildcards, word, bits)).sum();
            if offer(Proof::Ports(field, len), new) {
                return best;
            }
        }
        let words = subtable.state.stages.words_of_a_miss(&subtable.mask, key);
        offer(Proof::Words(words), subtable.mask.missing_in(words, self.wildcards));
        best
    }

    fn report(&mut self, proof: Proof, column: Option<u32>) {
        let order = self.table.layout.order();
        let subtable = column.and_then(|column| self.table.subtables.get(column));
        let mut add = |word: usize, bits: u64| {
            if let Some(wildcards) = self.wildcards.get_mut(word) {
                *wildcards |= bits;
            }
        };
        match (proof, subtable) {
            (Proof::Guard(guard), _) => {
                let (word, bits) = self.table.guards.bits(guard);
                add(word, bits);
            }
            (Proof::Prefix(field, len), _) => field.prefix(len, order).for_each(|(word, bits)| add(word, bits)),
            (Proof::Ports(field, len), Some(subtable)) => {
                let mask = subtable.mask.expand();
                field.prefix(len, order).for_each(|(word, bits)| add(word, bits & word_of(&mask, word)));
            }
            (Proof::Words(words), Some(subtable)) => subtable.mask.fold_into(words, self.wildcards),
            (Proof::Ports(..) | Proof::Words(_), None) => {}
        }
    }

    /// How many bits of a guard are not reported yet.
    #[inline]
    fn new_bits(&self, guard: usize) -> u32 {
        let (word, bits) = self.table.guards.bits(guard);
        missing(self.wildcards, word, bits)
    }
}

fn count(columns: &[u64; STEP]) -> u32 {
    columns.iter().map(|columns| columns.count_ones()).sum()
}

fn word_of<const W: usize>(words: &[u64; W], word: usize) -> u64 {
    words.get(word).copied().unwrap_or(0)
}

/// How many of the bits in a word are not among the wildcards.
#[inline]
fn missing<const W: usize>(wildcards: &[u64; W], word: usize, bits: u64) -> u32 {
    (bits & !word_of(wildcards, word)).count_ones()
}

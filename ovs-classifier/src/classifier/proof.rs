//! What proves that no mask holds a better rule, in few bits.
//!
//! A tracked lookup reports the bits on which its answer depends. Those of the rule found are a matter of course. But
//! every mask that outranks it must be shown to hold nothing for the key, and for that there is a choice:
//!
//! - a prefix trie in which the key's prefix is missing: the bits up to where the key leaves the trie;
//! - the stages: the words up to the first at which no rule begins like the key; the whole mask at worst;
//! - in the last stage, the mask's own trie of ports: the bits up to where the key's ports leave that;
//! - a guard that rules the mask out: its bits;
//! - of a mask of few rules, what tells each of them from the key (see [`differences`](super::differences)).
//!
//! Each is true on its own, whatever the rest of the key holds, and what is reported for one mask serves the others: a
//! mask that is ruled out by bits already reported costs nothing more.
//!
//! Few bits are not the aim itself. Answers are cached under the bits reported, and the aim is few entries; if
//! neighbouring keys are told apart by now this field, now that, each time the cheapest, the entries overlap and are
//! many. So there is an order, the peer's: stage by stage, and in a stage the tries before the hash. The first proof in
//! that order says how far the key would be read (the *horizon*: all of the mask before it, and itself); what is
//! reported is the proof of fewest new bits within the horizon. So no bit is reported that the peer does not report,
//! and what a key's entry covers, here, is what it covers there, or more. Masks of few rules have no horizon: their
//! rules are told from the key in the order of fields, which comes to so few bits that what they are matters less.
//!
//! Masks come in any order, but those first of which a prefix is the proof: its bits may rule out others, too, of which
//! something else, words mostly, would be reported; and that is many bits.

use super::Classifier;
use super::differences::PATIENCE;
use super::prefixes::{Missing, Walks};
use super::search::Probes;
use crate::field::Field;
use crate::guards::{Asked, KeyRows, MIDDLE, NARROW, Picked, is_empty};
use crate::simd::Kernels;

/// So many masks are put off until others are proven. Where the first word of a key proves all, nothing is won by that.
const MAY_WAIT: u32 = 2;

/// The proofs of one lookup.
pub(super) struct Evidence<'a, R, K, const W: usize, const N: usize> {
    kernels: K,
    pub(super) table: &'a Classifier<R, W>,
    pub(super) key: &'a [u64; W],
    pub(super) rows: &'a mut KeyRows,
    walks: &'a Walks,
    pub(super) wildcards: &'a mut [u64; W],
    /// How many rules may still be told from the key one by one.
    pub(super) patience: usize,
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

impl<'a, R, K: Kernels, const W: usize, const N: usize> Evidence<'a, R, K, W, N> {
    #[inline(always)]
    pub(super) fn new(
        kernels: K,
        table: &'a Classifier<R, W>,
        key: &'a [u64; W],
        rows: &'a mut KeyRows,
        walks: &'a Walks,
        wildcards: &'a mut [u64; W],
    ) -> Self {
        Self { kernels, table, key, rows, walks, wildcards, patience: PATIENCE }
    }

    /// Proves that the masks `missed`, which were probed, hold nothing.
    #[inline(always)]
    pub(super) fn prove_missed(&mut self, missed: &[u32], cost: &mut Probes) {
        for column in missed {
            let first = *column as usize / 64 / N * N;
            let picked = Picked::new(&self.table.guards, self.key, first);
            cost.proofs += u64::from(self.prove(*column, &picked));
        }
    }

    /// Proves that of `64 * N` columns those above a rank hold nothing better, but those that are `open`; `missing` are those
    /// that the tries rule out.
    #[inline(always)]
    pub(super) fn prove_closed(
        &mut self,
        first: usize,
        open: &[u64; N],
        missing: &Missing<N>,
        floor: u64,
        cost: &mut Probes,
    ) {
        let picked = Picked::new(&self.table.guards, self.key, first);
        let live = picked.live();
        let mut left: [u64; N] = core::array::from_fn(|i| live[i] & !open[i]);
        for (word, left) in (first..).zip(&mut left) {
            *left &= self.table.above(self.kernels, word, floor);
        }
        // Prefixes rule out most, and most often all: then no guard is asked.
        self.drop_proven(&mut left, first, missing);
        if is_empty(&left) {
            return;
        }
        let mut asked = Asked::default();
        // A row of many columns is lines: what proves one mask proves most others, too.
        if N <= MIDDLE {
            picked.drop_known(&mut left, self.wildcards, self.rows, &mut asked);
        }
        // The first few that no prefix proves are put off.
        let (mut later, mut may_wait) = ([0; N], MAY_WAIT);
        while !is_empty(&left) {
            let soon: [u64; N] = core::array::from_fn(|i| left[i] & !later[i]);
            let is_late = is_empty(&soon);
            let next = if is_late { &left } else { &soon };
            let word = next.iter().position(|columns| *columns != 0).unwrap_or(0);
            let (column, bit) = (next[word].trailing_zeros(), next[word] & next[word].wrapping_neg());
            let column = (first + word) as u32 * 64 + column;
            let mut is_prefix = false;
            if let Some(any) = self.prove_each(column) {
                left[word] &= !bit;
                if !any {
                    continue;
                }
            } else {
                let proof = self.cheapest(column, &picked, asked).filter(|(_, new)| *new > 0);
                is_prefix = matches!(proof, Some((Proof::Prefix(..), _)));
                if !is_late && may_wait > 0 && proof.is_some() && !is_prefix {
                    (later[word], may_wait) = (later[word] | bit, may_wait - 1);
                    continue;
                }
                left[word] &= !bit;
                let Some((proof, _)) = proof else { continue };
                self.report(proof, column);
            }
            cost.proofs += 1;
            if !is_empty(&left) {
                self.drop_proven(&mut left, first, missing);
            }
            if is_empty(&left) {
                return;
            }
            // Where tries tell more than guards of their fields, bits of these fields are no other guard's.
            if N > NARROW || !is_prefix {
                picked.drop_known(&mut left, self.wildcards, self.rows, &mut asked);
            }
        }
    }

    /// Keeps of some columns those that no prefix rules out whose bits are reported already.
    #[inline(always)]
    fn drop_proven(&mut self, columns: &mut [u64; N], first: usize, missing: &Missing<N>) {
        let (prefixes, order) = (&self.table.prefixes, self.table.layout.order());
        prefixes.drop_proven(columns, first, order, (self.walks, missing), self.wildcards);
    }

    /// Proves that a mask holds nothing, in as few new bits as it can. Whether there were any.
    #[inline(always)]
    fn prove(&mut self, column: u32, picked: &Picked<'_, W, N>) -> bool {
        let proof = self.cheapest(column, picked, Asked::default()).filter(|(_, new)| *new > 0);
        if let Some((proof, _)) = proof {
            self.report(proof, column);
        }
        proof.is_some()
    }

    /// The proof within the horizon that takes the fewest new bits, and how many. Guards that were asked do not rule
    /// the mask out.
    #[inline(always)]
    fn cheapest(&mut self, column: u32, picked: &Picked<'_, W, N>, asked: Asked) -> Option<(Proof, u32)> {
        let (table, key) = (self.table, self.key);
        let (layout, order) = (&table.layout, table.layout.order());
        let subtable = table.subtables.get(column)?;
        let mask = &subtable.mask;
        // The first trie, in the order of stages, in which the key's prefix is missing.
        let mut first: Option<(u8, Field, u8, u32)> = None;
        let (wildcards, mut known) = (&*self.wildcards, None);
        table.prefixes.offer(column, self.walks, |field, len| {
            let new = field.missing_in(len, order, wildcards);
            let stage = layout.stage(usize::from(field.offset()) / 64).unwrap_or(0);
            if new == 0 {
                known = Some((Proof::Prefix(field, len), 0));
            } else if first.is_none_or(|(earliest, _, _, least)| (stage, new) < (earliest, least)) {
                first = Some((stage, field, len, new));
            }
            new == 0
        });
        if known.is_some() {
            return known;
        }
        // Of the stages, those before it may show it earlier.
        let most = first.map_or(mask.len(), |(stage, ..)| mask.words_before(stage));
        let early = subtable.state.stages.words_of_a_miss(mask, key, most);
        // Stages that the horizon has whole, and the proof that ends it.
        let (whole, mut best) = match (early, first) {
            (None, Some((stage, field, len, new))) => (stage, (Proof::Prefix(field, len), new)),
            _ => {
                let words = early.unwrap_or(mask.len());
                let reached = mask.stage_of(words);
                let ports = subtable.state.ports.as_ref().filter(|_| early.is_none());
                match ports.and_then(|ports| ports.proof(key, order, self.kernels)) {
                    Some((field, len)) => {
                        let bits = field.prefix(len, order).map(|(word, bits)| (word, bits & mask.bits_of(word)));
                        let new = bits.map(|(word, bits)| missing(self.wildcards, word, bits)).sum();
                        (reached, (Proof::Ports(field, len), new))
                    }
                    None => (reached + 1, (Proof::Words(words), mask.missing_in(words, self.wildcards))),
                }
            }
        };
        if whole == 0 || best.1 == 0 {
            return Some(best);
        }
        for (guard, (word, bits)) in picked.guards_of(column, whole - 1) {
            let new = missing(self.wildcards, word, bits);
            if (new < best.1) & !asked.has(guard) && picked.rules_out(guard, column, self.rows) {
                best = (Proof::Guard(guard), new);
            }
        }
        Some(best)
    }

    fn report(&mut self, proof: Proof, column: u32) {
        let order = self.table.layout.order();
        let subtable = self.table.subtables.get(column);
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
                field.prefix(len, order).for_each(|(word, bits)| add(word, bits & subtable.mask.bits_of(word)));
            }
            (Proof::Words(words), Some(subtable)) => subtable.mask.fold_into(words, self.wildcards),
            (Proof::Ports(..) | Proof::Words(_), None) => {}
        }
    }
}

#[inline(always)]
fn word_of<const W: usize>(words: &[u64; W], word: usize) -> u64 {
    words.get(word).copied().unwrap_or(0)
}

/// How many of the bits in a word are not among the wildcards.
#[inline(always)]
fn missing<const W: usize>(wildcards: &[u64; W], word: usize, bits: u64) -> u32 {
    (bits & !word_of(wildcards, word)).count_ones()
}

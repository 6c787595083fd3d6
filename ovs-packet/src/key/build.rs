//! A match in the making.
//!
//! What reads a match from a message meets its fields in the message's order. A [`Match`] keeps words in the order of
//! their places, so that each field would have to count the words before its own; here each word is found by its place at
//! once. Words stand in the match as they come, which nearly always is their order, and are put in order at the end if not.

use super::WORDS;
use super::matching::{Match, Word};
use crate::field::{FieldId, PlainTlv, Prereq, PrereqSet};

/// Fields that become a [`Match`], each of them at most once. The match is whole when this is dropped.
///
/// ```
/// use ovs_packet::Match;
/// use ovs_packet::field::FieldId;
/// use ovs_packet::key::MatchBuilder;
///
/// let mut m = Match::ANY;
/// let mut b = MatchBuilder::new(&mut m);
/// assert!(b.add(FieldId::NwProto, 6, 0xff));
/// assert!(b.add(FieldId::EthType, 0x800, 0xffff));
/// assert!(!b.add(FieldId::EthType, 0x86dd, 0xffff));
/// drop(b);
/// assert_eq!(m, "tcp".parse()?);
/// # Ok::<(), ovs_packet::text::ParseMatchError>(())
/// ```
#[derive(Debug)]
pub struct MatchBuilder<'m> {
    /// What is said so far; but its words stand in the order in which they came.
    m: &'m mut Match,
    /// For each place, one more than the index of its word; zero if there is none.
    index: [u8; WORDS],
    /// The greatest place, until a word comes behind one of a greater place.
    last: usize,
    /// Prerequisites that are met. There may be more.
    met: PrereqSet,
    /// Those that are met whatever is said.
    always: PrereqSet,
}

/// Of [`MatchBuilder::last`]: words stand in another order than their places.
const DISORDER: usize = usize::MAX;

impl<'m> MatchBuilder<'m> {
    /// One that says nothing yet, nor does the match.
    #[inline(always)]
    pub fn new(m: &'m mut Match) -> MatchBuilder<'m> {
        m.clear();
        let (met, always) = (PrereqSet::ETHERNET, PrereqSet::EVERY);
        MatchBuilder { m, index: [0; WORDS], last: 0, met, always }
    }

    /// The same, if so; else one to which all prerequisites are met.
    #[must_use]
    #[inline(always)]
    pub fn minding_prereqs(mut self, minding: bool) -> MatchBuilder<'m> {
        if !minding {
            (self.met, self.always) = (PrereqSet::ALL, PrereqSet::ALL);
        }
        self
    }
}

impl MatchBuilder<'_> {
    #[inline(always)]
    fn word(&self, i: usize) -> (u64, u64) {
        let at = self.index.get(i).map_or(0, |at| usize::from(*at)).wrapping_sub(1);
        self.m.as_words().get(at).map_or((0, 0), |word| (word.value, word.mask))
    }

    /// Matches the bits of `field` that `mask` has against `value`, both right-aligned, if nothing of the field is matched
    /// yet; else nothing is changed, and the answer is no.
    #[inline]
    pub fn add(&mut self, field: FieldId, value: u128, mask: u128) -> bool {
        if Prereq::may_hang_on(field) {
            self.met = self.always;
        }
        let info = field.info();
        let (i, [ones, more]) = info.place();
        let (values, masks) = (info.spread(value & mask), info.spread(mask));
        if self.word(i).1 & ones != 0 || more != 0 && self.word(i + 1).1 & more != 0 {
            return false;
        }
        for (i, (value, mask)) in (i..).zip(values.into_iter().zip(masks)).filter(|(_, (_, mask))| *mask != 0) {
            self.add_bits(i, Word { value, mask });
        }
        true
    }

    /// The same of all bits of a field that is in one word, and of a value that it can have.
    #[inline(always)]
    pub fn add_plain(&mut self, tlv: &PlainTlv, value: u64) -> bool {
        let (i, value_in, mask) = tlv.placed(value);
        let added = self.add_bits(i, Word { value: value_in, mask });
        if added && tlv.is_hinge() {
            self.met = self.met_with(tlv.field(), value);
        }
        added
    }

    /// What is known to be met when what prerequisites hang on was said.
    #[inline(never)]
    fn met_with(&self, field: FieldId, value: u64) -> PrereqSet {
        let says = |field: FieldId| {
            let (i, [ones, _]) = field.info().place();
            self.word(i).1 & ones != 0
        };
        match field {
            FieldId::EthType if !says(FieldId::PacketType) => self.met.with_network(value as u16),
            FieldId::NwProto if self.met.contains(Prereq::Ip) && !says(FieldId::IpFrag) => {
                self.met.with_transport(value as u8)
            }
            _ => self.always,
        }
    }

    /// Matches bits of a word of which none is matched yet; some are to be.
    #[inline(always)]
    fn add_bits(&mut self, i: usize, new: Word) -> bool {
        let Some(at) = self.index.get_mut(i) else { return true };
        if let Some(word) = self.m.word_at(usize::from(*at).wrapping_sub(1)) {
            if word.mask & new.mask != 0 {
                return false;
            }
            word.value |= new.value;
            word.mask |= new.mask;
        } else {
            *at = self.m.push_word(i, new) as u8;
            self.last = if i < self.last { DISORDER } else { i };
        }
        true
    }

    /// Whether every packet that meets the match so far has what a field needs: as [`Match::prereqs`] says.
    #[inline(always)]
    pub fn meets(&mut self, prereq: Prereq) -> bool {
        self.met.contains(prereq) || self.is_found_to_meet(prereq)
    }

    #[inline(never)]
    fn is_found_to_meet(&mut self, prereq: Prereq) -> bool {
        self.met = PrereqSet::of_match(|i| self.word(i)).with(self.always);
        self.met.contains(prereq)
    }

    /// Adds what `options` says of tunnel options.
    pub fn add_options(&mut self, options: &Match) {
        for (i, value, mask) in options.words() {
            self.add_bits(i, Word { value, mask });
        }
        self.m.set_option_lens(options.option_lens());
    }
}

impl Drop for MatchBuilder<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.last == DISORDER {
            self.m.put_in_order(&mut self.index);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn words_that_come_in_any_order_are_put_in_theirs() {
        use FieldId::*;
        let fields =
            [InPortOxm, EthSrc, EthType, NwProto, NwSrc, TcpDst, NwTtl, Metadata, Reg0, CtMark, Reg2, TunId, Ipv6Dst];
        for len in 0..=fields.len() {
            let fields = fields.get(..len).unwrap();
            let mut expected = Match::ANY;
            fields.iter().zip(1..).for_each(|(field, n)| expected.set_masked(*field, n, field.info().max_value()));
            // Each way to begin somewhere and to go on in steps that meet all of them.
            for (start, step) in (0..len).flat_map(|start| (1..len).map(move |step| (start, step))) {
                let mut order: Vec<usize> = (0..len).map(|n| (start + n * step) % len).collect();
                order.sort_unstable();
                order.dedup();
                if order.len() != len {
                    continue;
                }
                let mut m = expected.clone();
                let mut b = MatchBuilder::new(&mut m);
                for at in (0..len).map(|n| (start + n * step) % len) {
                    let field = fields.get(at).unwrap();
                    assert!(b.add(*field, at as u128 + 1, field.info().max_value()));
                    assert!(!b.add(*field, at as u128 + 1, field.info().max_value()));
                }
                drop(b);
                assert_eq!(m, expected, "{start} {step}");
                assert_eq!(m.get(EthType), expected.get(EthType));
            }
        }
    }

    #[test]
    fn a_match_that_is_given_up_is_a_match_all_the_same() {
        let mut m = Match::ANY;
        let mut b = MatchBuilder::new(&mut m);
        b.add(FieldId::TcpDst, 80, 0xffff);
        b.add(FieldId::NwProto, 6, 0xff);
        drop(b);
        let mut expected = Match::ANY;
        expected.set_masked(FieldId::NwProto, 6, 0xff);
        expected.set_masked(FieldId::TcpDst, 80, 0xffff);
        assert_eq!(m, expected);
    }
}

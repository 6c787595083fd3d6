//! What nearly every match is, written at once: each bit is one of a plain field's, and there is room for all of them.
//!
//! Its words are visited in the order of their first fields, so that the TLVs come out in the order in which they are
//! written, with nothing but where the last one ends to be remembered. A match that turns out to be another is for others
//! to write from its beginning.

use ovs_packet::Match;
use ovs_packet::key::ByPlace;

use super::order::{Layout, Part};

/// How many bytes there are for the TLVs of a match; a multiple of 8.
pub(super) const ROOM: usize = 160;

/// Bits of a word as the first bytes of what they are on the wire, as that stands in memory.
#[inline(always)]
fn turned(bits: u64, part: &Part) -> [u8; 8] {
    u64::from_be(bits).rotate_left(part.turn.into()).to_be_bytes()
}

/// Writes the TLVs of a match from a place of `room` on, and zeros behind them: where they end. None if the match is
/// another, or has no room.
#[inline(never)]
pub(super) fn write_plain(m: &Match, layout: &Layout, room: &mut [u8; ROOM], start: usize) -> Option<usize> {
    let (mut words, mut ranks) = (ByPlace::empty(m), 0u64);
    words.fill(|word| ranks |= layout.rank(word));
    let there = words.prereqs();
    let (mut at, mut place) = (start, 0);
    while ranks != 0 {
        let word = layout.ranked(ranks)?;
        ranks &= ranks.wrapping_sub(1);
        let (value, mask) = words.word(word);
        let (mut left, mut parts) = (mask, layout.parts(word).iter());
        while left != 0 {
            let part = parts.next()?;
            let bits = part.ones & left;
            if bits == 0 || !there.contains(part.prereq) {
                continue;
            }
            if part.head == 0 || part.place < place {
                return None;
            }
            if bits == part.ones {
                let (head, behind) = room.get_mut(at..)?.first_chunk_mut::<12>()?.split_first_chunk_mut()?;
                *head = part.head.to_ne_bytes();
                *behind.first_chunk_mut()? = turned(value & bits, part);
                at = at.wrapping_add(4).wrapping_add(part.len.into());
            } else if bits == part.ones & mask {
                at = write_masked(room, at, part, (value & bits, bits))?;
            } else {
                // What another field left of it.
                return None;
            }
            place = part.place;
            left ^= bits;
        }
    }
    Some(at)
}

/// Writes the TLV of a part of a field at a place of `room`: where it ends.
#[inline(never)]
fn write_masked(room: &mut [u8; ROOM], at: usize, part: &Part, (value, mask): (u64, u64)) -> Option<usize> {
    let len = usize::from(part.len);
    if !part.maskable {
        return None;
    }
    let (head, behind) = room.get_mut(at..)?.split_first_chunk_mut()?;
    // Which says that there is a mask, and the length of both.
    *head = u32::from_be(part.head).wrapping_add(0x100 | u32::from(part.len)).to_be_bytes();
    *behind.first_chunk_mut()? = turned(value, part);
    *behind.get_mut(len..)?.first_chunk_mut()? = turned(mask, part);
    Some(at.wrapping_add(4).wrapping_add(len).wrapping_add(len))
}

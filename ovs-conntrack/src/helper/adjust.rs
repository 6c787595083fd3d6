//! Sequence numbers behind a text that changed its length.
//!
//! When a helper rewrites a text in the midst of a TCP stream, all that its sender sends later stands elsewhere in the
//! stream that the receiver sees. So for one direction of a connection, sequence numbers are shifted as they pass, and
//! the numbers that come back, acknowledgements plain and selective, are shifted back. The tracker's windows are in the
//! sender's own numbers.

use ovs_packet::packet::L4Checksum;
use ovs_packet::{Packet, checksum};

/// The shift of one direction.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Adjust {
    /// The sender's number at which the last packet begins whose text changed: behind it `after` holds.
    from: u32,
    before: i32,
    after: i32,
}

impl Adjust {
    /// Whether anything is shifted.
    pub(crate) fn is_none(&self) -> bool {
        (self.before, self.after) == (0, 0)
    }

    /// Notes that the packet at the sender's number `seq` grew by `by` bytes. A packet that was rewritten before, and
    /// is sent again, changes nothing.
    pub(crate) fn grow(&mut self, seq: u32, by: i32) {
        if by == 0 || (!self.is_none() && seq.wrapping_sub(self.from) as i32 <= 0) {
            return;
        }
        *self = Adjust { from: seq, before: self.after, after: self.after.wrapping_add(by) };
    }

    /// The receiver's number for the sender's.
    pub(crate) fn forth(&self, seq: u32) -> u32 {
        let behind = seq.wrapping_sub(self.from) as i32 > 0;
        seq.wrapping_add_signed(if behind { self.after } else { self.before })
    }

    /// The sender's number for the receiver's.
    pub(crate) fn back(&self, ack: u32) -> u32 {
        let behind = ack.wrapping_sub(self.from.wrapping_add_signed(self.before)) as i32 > 0;
        ack.wrapping_add_signed(if behind { self.after } else { self.before }.wrapping_neg())
    }
}

/// Shifts the numbers of a packet: its sequence number forth by `own`, those it acknowledges back by `other`.
pub(crate) fn shift(packet: &mut Packet, own: &Adjust, other: &Adjust) {
    if own.is_none() && other.is_none() {
        return;
    }
    let Some(l4) = packet.layers().l4 else { return };
    number(packet, l4 + 4, |seq| own.forth(seq));
    let Some(&[offset, flags]) = packet.data().get(l4 + 12..).and_then(|d| d.first_chunk::<2>()) else { return };
    if flags & 0x10 == 0 || other.is_none() {
        return;
    }
    number(packet, l4 + 8, |ack| other.back(ack));
    // Selective acknowledgements: option 5, pairs of numbers (RFC 2018, section 3).
    let (mut at, end) = (l4 + 20, l4 + usize::from(offset >> 4) * 4);
    while at < end {
        let Some(&kind) = packet.data().get(at) else { return };
        if kind == 0 {
            return;
        }
        if kind == 1 {
            at += 1;
            continue;
        }
        let Some(len) = packet.data().get(at + 1).map(|len| usize::from(*len)).filter(|len| *len >= 2) else { return };
        if kind == 5 && at + len <= end {
            for edge in (at + 2..at + len).step_by(4).filter(|edge| edge + 4 <= at + len) {
                number(packet, edge, |ack| other.back(ack));
            }
        }
        at += len;
    }
}

/// Changes the number at byte `at`, and the checksum with it.
fn number(packet: &mut Packet, at: usize, change: impl Fn(u32) -> u32) {
    let Some(l4) = packet.layers().l4 else { return };
    let Some(field) = packet.data_mut().get_mut(at..).and_then(|d| d.first_chunk_mut::<4>()) else { return };
    let old = *field;
    let new = change(u32::from_be_bytes(old)).to_be_bytes();
    *field = new;
    if matches!(packet.offload.l4, L4Checksum::Partial { .. }) {
        return;
    }
    // A number behind an odd count of options bytes stands across two words of the sum: its bytes change places.
    let odd = (at - l4) % 2 == 1;
    let place = |[a, b, c, d]: [u8; 4]| if odd { [b, a, d, c] } else { [a, b, c, d] };
    if let Some(sum) = packet.data_mut().get_mut(l4 + 16..).and_then(|d| d.first_chunk_mut::<2>()) {
        *sum = checksum::update(u16::from_be_bytes(*sum), &place(old), &place(new)).to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_behind_a_text_that_grew_are_shifted() {
        let mut a = Adjust::default();
        a.grow(1000, 3);
        assert_eq!((a.forth(1000), a.forth(1020), a.back(1000), a.back(1023)), (1000, 1023, 1000, 1020));
        // The same text again is no other text.
        a.grow(1000, 3);
        assert_eq!(a.forth(2000), 2003);
        a.grow(2000, -5);
        assert_eq!((a.forth(2000), a.forth(2020), a.back(2003), a.back(2018)), (2003, 2018, 2000, 2020));
    }

    proptest! {
        #[test]
        fn back_undoes_forth(from: u32, first in -300i32..300, second in -300i32..300, n in 0u32..4000) {
            let mut a = Adjust::default();
            a.grow(from, first);
            a.grow(from.wrapping_add(2000), second);
            // Of numbers outside the texts, whose bytes are not the same ones.
            for seq in [from.wrapping_add(400 + n % 1600), from.wrapping_add(2400 + n)] {
                prop_assert_eq!(a.back(a.forth(seq)), seq);
            }
        }
    }
}

//! TCP: what flags and sequence numbers say of a connection.
//!
//! Each end is followed on its own. An end *speaks*, is *acknowledged*, *finishes* (FIN), and its finish is
//! acknowledged; a reset ends both at once. These are the states, and they choose the timeout.
//!
//! A packet is believed only if it can be of the connection: its data lie where the other end lets them, its
//! acknowledgement is about what the other end sent. The rules are van Rooij's ("Real Stateful TCP Packet Filtering in
//! IP Filter", 2000), as pf and upstream apply them. For each end the tracker keeps the highest sequence number sent
//! ([`Window::sent`]), the highest that the other end permits ([`Window::limit`]), and the widest window that the end
//! ever announced. A packet with data up to `end` is inside if
//!
//! 1. `end` is not beyond the limit,
//! 2. it begins no earlier than one window of the other end before what was sent,
//! 3. it acknowledges neither more than a window (and a segment) less than what the other end sent, nor more beyond;
//! 4. a reset is at the sequence number that was sent, or one beside it (compare RFC 5961, section 3).
//!
//! The tracker is liberal in what opens a connection: it may be picked up in its midst, and then the scale of windows
//! is taken for the largest there is. While either end has not spoken, or one is through, only 1. and 2. are asked, and
//! that within 64 kB and a segment, since numbers are not known well then.
//!
//! # Beside upstream's
//!
//! Random histories, of which most begin with a handshake and one packet in seven has numbers that are off, were shown
//! to this tracker and to Open vSwitch 3.1's (`tests/differential.rs`). States and dumps agree but for these:
//!
//! | packet | upstream | here | why |
//! |---|---|---|---|
//! | a later one of who began, nothing came back yet | `+est` | `+new` | as the kernel has it: one direction is no exchange |
//! | a SYN without ACK of an end whose own SYN was not acknowledged, in an answered connection | `+new` | `+est`, or `+inv` out of the window | it is of the connection, not before it |
//! | after SYNs that crossed or were repeated with other numbers, what follows | judged by the first SYN | judged by each end's last | the ends go by the last, too |
//! | data, after a SYN that offers a scale was answered by one that does not | `+inv` beyond one byte | `+est` within the window | upstream's wide window overflows its 16 bits |
//!
//! # Beside the kernel's
//!
//! Linux 6.1's and 7.3's trackers are shown the same histories by `ovs-dpif/tests/kernel_conntrack.rs`. In orderly ones
//! (a handshake, right numbers, wide windows, then data, FINs and resets as they come) all bits and states agree. In the
//! others, what a packet is called differs first for one of these reasons; upstream's tracker in userspace sides with
//! this one unless the table above says otherwise:
//!
//! | packet | kernel | here |
//! |---|---|---|
//! | a FIN or RST first | `+inv`: only a SYN or ACK opens | `+new` |
//! | before a SYN-ACK, anything but a SYN of who began; a FIN as the answer | `+inv` | followed |
//! | a SYN-ACK of who began; a SYN of who answered | `+inv` | followed if in the window |
//! | a SYN within the connection, or crossing | `+est`, passed without a look | `+new` before an answer, then by the window |
//! | an answer to a SYN that is none | `+est`, passed without a look | opens the window |
//! | a SYN after both have finished, from who answered | `+inv` | `+new`: another connection |
//! | after a reset before any answer | judged as the first: it forgot the connection | `+est`, `+new` for a SYN |
//! | after a reset: a SYN of who answered, a SYN-ACK of who began | `+inv` | `+new`; followed if in the window |
//! | after a reset: a SYN of who began, if the other reset; a SYN-ACK of who answered | `+est`, passed without a look | `+new`; followed if in the window |
//! | after a reset beside the number that was acknowledged | by the state before it: it did not believe it | the connection is reset |
//! | acknowledges what was not seen | `+inv` | let pass within 64 kB and a segment |
//! | begins within the window and ends beyond it | `+est` | `+inv` |
//! | a reset of another number | `+est`, but not believed | `+inv` |
//! | anything else whose numbers are asked | by its own windows until it was established, then never asked: a model in that test foretells it | by these |
//!
//! With [`liberal`](crate::Config::tcp_liberal) the states are followed and the numbers are not asked.

use core::fmt;

use crate::config::TimeoutClass;

/// Flags of the TCP header that matter here.
pub(crate) mod flag {
    pub(crate) const FIN: u16 = 0x01;
    pub(crate) const SYN: u16 = 0x02;
    pub(crate) const RST: u16 = 0x04;
    pub(crate) const PSH: u16 = 0x08;
    pub(crate) const ACK: u16 = 0x10;
    pub(crate) const URG: u16 = 0x20;
}

use flag::{ACK, FIN, PSH, RST, SYN, URG};

/// How far one end of a TCP connection has come, under the names of upstream's dumps. Later states are greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
#[non_exhaustive]
pub enum TcpState {
    /// It has not spoken.
    #[default]
    Closed,
    /// It has spoken, a SYN or, picked up in the midst, anything.
    SynSent,
    /// What it said was acknowledged.
    Established,
    /// It has finished.
    Closing,
    /// Its finish was acknowledged.
    FinWait2,
    /// The connection was reset.
    TimeWait,
}

impl fmt::Display for TcpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TcpState::Closed => "CLOSED",
            TcpState::SynSent => "SYN_SENT",
            TcpState::Established => "ESTABLISHED",
            TcpState::Closing => "CLOSING",
            TcpState::FinWait2 => "FIN_WAIT_2",
            TcpState::TimeWait => "TIME_WAIT",
        })
    }
}

/// Whether no sane sender sets these flags together.
///
/// A SYN neither finishes nor resets; anything else acknowledges or resets; what finishes, pushes or is urgent
/// acknowledges.
pub(crate) fn contradictory(flags: u16) -> bool {
    let has = |f: u16| flags & f != 0;
    (if has(SYN) { has(RST | FIN) } else { !has(ACK | RST) }) || (!has(ACK) && has(FIN | PSH | URG))
}

/// Whether the flags can open a connection: a SYN, or a packet from its midst, but not the answer to a SYN.
pub(crate) const fn opens(flags: u16) -> bool {
    flags & (SYN | ACK) != SYN | ACK
}

/// The largest shift that scales a window (RFC 7323, section 2.3).
const SHIFT_MAX: u8 = 14;

/// How far an acknowledgement may be behind or ahead: an unscaled window and a segment.
const ACK_SLACK: i32 = 0xffff + 1500;

/// What is read of a TCP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Segment {
    pub(crate) flags: u16,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    window: u16,
    /// Bytes of payload.
    len: u32,
    /// Of a SYN: the shift it announces.
    shift: Option<u8>,
}

impl Segment {
    /// Reads the header in `l4`, which ends where the network layer does; `None` if it is cut short.
    pub(crate) fn read(l4: &[u8]) -> Option<Segment> {
        let [_, _, _, _, s0, s1, s2, s3, a0, a1, a2, a3, offset, low, w0, w1, _, _, _, _] = *l4.first_chunk::<20>()?;
        let header = usize::from(offset >> 4) * 4;
        let len = l4.len().checked_sub(header.max(20))? as u32;
        let flags = u16::from(offset & 0x0f) << 8 | u16::from(low);
        let shift = if flags & SYN != 0 { window_shift(l4.get(20..header).unwrap_or(&[])) } else { None };
        let (seq, ack) = (u32::from_be_bytes([s0, s1, s2, s3]), u32::from_be_bytes([a0, a1, a2, a3]));
        Some(Segment { flags, seq, ack, window: u16::from_be_bytes([w0, w1]), len, shift })
    }

    const fn has(&self, flags: u16) -> bool {
        self.flags & flags != 0
    }

    /// The sequence number behind the last thing in the segment that takes one.
    fn end(&self) -> u32 {
        self.seq.wrapping_add(self.len).wrapping_add(self.has(SYN).into()).wrapping_add(self.has(FIN).into())
    }
}

/// The shift of a window scale option (kind 3, RFC 7323, section 2.2), at most [`SHIFT_MAX`].
fn window_shift(mut options: &[u8]) -> Option<u8> {
    loop {
        match *options {
            [] | [0, ..] => return None,
            [1, ref rest @ ..] => options = rest,
            [3, 3, shift, ..] => return Some(shift.min(SHIFT_MAX)),
            [_, len, ..] if len >= 2 => options = options.get(usize::from(len)..)?,
            _ => return None,
        }
    }
}

/// How an end's announced windows are to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scale {
    /// The end offered no scale: windows mean what they say.
    None,
    /// Its SYN was not seen: the largest shift is taken for granted.
    Unknown,
    /// Its SYN offered this shift. It holds if the other end's did too.
    Shift(u8),
}

impl Scale {
    const fn shift(self) -> u8 {
        match self {
            Scale::Shift(shift) => shift,
            _ => 0,
        }
    }
}

/// What one end sent, and what the other permits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Window {
    /// The highest sequence number sent, plus one.
    sent: u32,
    /// The highest that the other end permits, plus one; 1 while nothing is known.
    limit: u32,
    /// The widest window announced, without its scale.
    widest: u16,
    scale: Scale,
}

/// Sequence numbers of a connection: half a cache line, and no pieces of two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(align(32))]
pub(crate) struct Windows {
    original: Window,
    reply: Window,
}

const _: () = assert!(size_of::<Windows>() == 32);

impl Windows {
    /// Any word of them, to have read it.
    pub(crate) const fn first(&self) -> u32 {
        self.original.sent
    }

    /// After the segment that opens a connection.
    pub(crate) fn open(segment: &Segment) -> Windows {
        let syn = segment.has(SYN);
        let scale = match segment.shift {
            Some(shift) => Scale::Shift(shift),
            None if syn => Scale::None,
            None => Scale::Unknown,
        };
        let original = Window {
            sent: segment.seq,
            limit: segment.end().wrapping_add(1),
            // The window of a SYN is never scaled: it is kept as if it were.
            widest: unscaled(segment.window, scale.shift()).max(1),
            scale,
        };
        let unknown = if syn { Scale::None } else { Scale::Unknown };
        Windows { original, reply: Window { sent: 0, limit: 1, widest: 1, scale: unknown } }
    }
}

/// A window that was announced in full, in units of `1 << shift`, rounded up.
fn unscaled(window: u16, shift: u8) -> u16 {
    u32::from(window).div_ceil(1 << shift) as u16
}

/// How far `a` is ahead of `b`, modulo 2^32.
const fn ahead(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

/// What a packet means for a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// The connection goes on.
    GoesOn(TimeoutClass),
    /// A SYN before any answer: sent again, or crossed with the other end's.
    OpensAgain(TimeoutClass),
    /// A SYN when both ends are through: the same ports are used again.
    OpensAnother,
    /// It is out of the window, and not of the connection.
    Outside,
}

/// Both ends of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ends {
    pub(crate) original: TcpState,
    pub(crate) reply: TcpState,
}

impl Ends {
    /// After the packet that opens the connection.
    pub(crate) const OPENING: Ends = Ends { original: TcpState::SynSent, reply: TcpState::Closed };

    /// Follows a segment whose flags are not [`contradictory`]. `answered` is whether an answer was seen before it.
    /// One that is [`Step::Outside`] changes nothing.
    pub(crate) fn step(
        &mut self,
        windows: &mut Windows,
        segment: &Segment,
        reply: bool,
        answered: bool,
        liberal: bool,
    ) -> Step {
        use TcpState::{Closed, Closing, Established, FinWait2, SynSent, TimeWait};
        let flags = segment.flags;
        let (from, to) = if reply { (self.reply, self.original) } else { (self.original, self.reply) };
        if flags & (SYN | ACK) == SYN {
            if from.min(to) >= FinWait2 {
                return Step::OpensAnother;
            }
            if from <= SynSent && !answered {
                let again = Windows::open(segment);
                if reply {
                    (self.reply, windows.reply) = (SynSent, again.original);
                } else {
                    (self.original, windows.original) = (SynSent, again.original);
                }
                return Step::OpensAgain(TimeoutClass::TcpSynSent);
            }
        }
        let ways = if reply {
            (&mut windows.reply, &mut windows.original)
        } else {
            (&mut windows.original, &mut windows.reply)
        };
        if !admit(ways, (from, to), segment, liberal) {
            return Step::Outside;
        }

        let (from, to) =
            if reply { (&mut self.reply, &mut self.original) } else { (&mut self.original, &mut self.reply) };
        if *from == Closed {
            *from = SynSent;
        }
        if flags & FIN != 0 && *from < Closing {
            *from = Closing;
        }
        if flags & ACK != 0 {
            *to = match *to {
                SynSent => Established,
                Closing => FinWait2,
                other => other,
            };
        }
        if flags & RST != 0 {
            (*from, *to) = (TimeWait, TimeWait);
        }
        let (behind, ahead) = ((*from).min(*to), (*from).max(*to));
        Step::GoesOn(if behind >= FinWait2 {
            TimeoutClass::TcpClose
        } else if behind >= Closing {
            TimeoutClass::TcpTimeWait
        } else if behind < Established {
            TimeoutClass::TcpSynRecv
        } else if ahead >= Closing {
            TimeoutClass::TcpFinWait
        } else {
            TimeoutClass::TcpEstablished
        })
    }
}

/// Whether a segment is inside the window, see the [module](self). If so, the windows move along.
fn admit(
    ways: (&mut Window, &mut Window),
    (from_state, to_state): (TcpState, TcpState),
    segment: &Segment,
    liberal: bool,
) -> bool {
    let (mut from, mut to) = (*ways.0, *ways.1);
    let (syn, first) = (segment.has(SYN), from_state < TcpState::SynSent);
    let mut window = segment.window;
    let (mut from_shift, mut to_shift) = match (from.scale, to.scale) {
        (Scale::Shift(from), Scale::Shift(to)) if !syn => (from, to),
        (Scale::Unknown, Scale::Unknown) if !syn => (SHIFT_MAX, SHIFT_MAX),
        _ => (0, 0),
    };
    let end = segment.end();
    let mut known = true;
    if first {
        if syn && let Scale::Shift(offered) = to.scale {
            match segment.shift {
                Some(shift) => {
                    from.scale = Scale::Shift(shift);
                    (from_shift, to_shift) = (shift, offered);
                    window = unscaled(window, shift);
                }
                None => {
                    // One end does not scale: neither does. What the other announced in its SYN was in full.
                    to.widest = u32::from(to.widest).checked_shl(offered.into()).map_or(u16::MAX, saturate);
                    (to.scale, from.scale) = (Scale::None, Scale::None);
                }
            }
        }
        from.sent = segment.seq;
        let room = end.wrapping_add((u32::from(to.widest) << to_shift).max(1));
        if from.limit == 1 || ahead(room, from.limit) >= 0 {
            // Either end's first packet, or a connection that was picked up: what it acknowledges is not known.
            from.limit = room;
            known = false;
        }
        from.widest = from.widest.max(window);
    }

    // Some stacks reset with an acknowledgement of nothing.
    let acknowledges = segment.has(ACK) && !(segment.has(RST) && segment.ack == 0);
    let ack = if acknowledges { segment.ack } else { to.sent };
    // A segment without data is not asked where it stands: keep-alives and pure acknowledgements stand where they like.
    let (seq, end) = if segment.seq == end { (from.sent, from.sent) } else { (segment.seq, end) };
    let skew = if known { ahead(to.sent, ack) } else { 0 };

    let reset_fits = !segment.has(RST) || ahead(segment.seq, from.sent).unsigned_abs() <= 1;
    let inside = ahead(from.limit, end) >= 0
        && ahead(seq, from.sent.wrapping_sub(u32::from(to.widest) << to_shift)) >= 0
        && skew >= -ACK_SLACK
        && skew <= ACK_SLACK << from_shift
        && reset_fits;
    let unsettled = to_state < TcpState::SynSent || to_state >= TcpState::FinWait2 || from_state >= TcpState::FinWait2;
    let near = unsettled
        && ahead(from.limit.wrapping_add(ACK_SLACK as u32), end) >= 0
        && ahead(seq, from.sent.wrapping_sub(ACK_SLACK as u32)) >= 0;
    if !(inside || near || liberal) {
        return false;
    }
    from.widest = from.widest.max(window);
    if ahead(end, from.sent) > 0 {
        from.sent = end;
    }
    let permitted = ack.wrapping_add((u32::from(window) << from_shift).max(1));
    if ahead(permitted, to.limit) >= 0 {
        to.limit = permitted;
    }
    (*ways.0, *ways.1) = (from, to);
    true
}

fn saturate(window: u32) -> u16 {
    u16::try_from(window).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_do_not_go_together() {
        for flags in [0, FIN, PSH, URG, SYN | FIN, SYN | RST, SYN | RST | ACK, SYN | PSH, FIN | RST, FIN | PSH | URG] {
            assert!(contradictory(flags), "{flags:#x}");
        }
        for flags in [SYN, SYN | ACK, ACK, ACK | PSH | URG, FIN | ACK, RST, RST | ACK, SYN | ACK | PSH] {
            assert!(!contradictory(flags), "{flags:#x}");
        }
    }

    #[test]
    fn nothing_opens_a_connection_but_answers() {
        assert!(opens(SYN) && opens(ACK) && opens(FIN | ACK) && opens(RST));
        assert!(!opens(SYN | ACK) && !opens(SYN | ACK | PSH));
    }

    #[test]
    fn window_scale_is_found_among_options() {
        assert_eq!(window_shift(&[2, 4, 5, 0xb4, 1, 3, 3, 7]), Some(7));
        assert_eq!(window_shift(&[3, 3, 200]), Some(14));
        for none in [&[][..], &[0, 3, 3, 7], &[2, 0, 3, 3, 7], &[2, 9, 3, 3, 7], &[3, 2, 3, 3], &[5], &[3, 3]] {
            assert_eq!(window_shift(none), None, "{none:?}");
        }
    }

    /// A connection whose client's numbers begin at 1000 and whose server's at 5000.
    struct Talk {
        ends: Ends,
        windows: Windows,
        answered: bool,
        liberal: bool,
    }

    fn segment(flags: u16, seq: u32, ack: u32, len: u32, window: u16, shift: Option<u8>) -> Segment {
        Segment { flags, seq, ack, window, len, shift }
    }

    impl Talk {
        fn open(client: Option<u8>, server: Option<u8>) -> Talk {
            let syn = segment(SYN, 1000, 0, 0, 10_000, client);
            let mut talk = Talk { ends: Ends::OPENING, windows: Windows::open(&syn), answered: false, liberal: false };
            assert!(talk.passes(true, segment(SYN | ACK, 5000, 1001, 0, 10_000, server)));
            assert!(talk.passes(false, segment(ACK, 1001, 5001, 0, 10_000, None)));
            talk
        }

        fn passes(&mut self, reply: bool, s: Segment) -> bool {
            let before = (self.ends, self.windows);
            let step = self.ends.step(&mut self.windows, &s, reply, self.answered, self.liberal);
            self.answered |= reply;
            assert!(step != Step::Outside || before == (self.ends, self.windows));
            step != Step::Outside
        }
    }

    #[test]
    fn data_lie_within_the_window_that_was_announced() {
        let mut talk = Talk::open(None, None);
        assert!(!talk.passes(false, segment(ACK, 1001, 5001, 10_001, 10_000, None)));
        assert!(talk.passes(false, segment(ACK, 1001, 5001, 10_000, 10_000, None)));
        assert!(!talk.passes(false, segment(ACK, 11_001, 5001, 1, 10_000, None)));
        assert!(talk.passes(true, segment(ACK, 5001, 11_001, 0, 10_000, None)));
        assert!(talk.passes(false, segment(ACK, 11_001, 5001, 10_000, 10_000, None)));
        // Sent again, from as far back as a window.
        assert!(talk.passes(false, segment(ACK, 11_001, 5001, 5, 10_000, None)));
        assert!(!talk.passes(false, segment(ACK, 11_000, 5001, 5, 10_000, None)));
    }

    #[test]
    fn windows_are_scaled_when_both_ends_offer_it() {
        let data = segment(ACK, 1001, 5001, 10_001, 10_000, None);
        let announce = |window| segment(ACK, 5001, 1001, 0, window, None);
        for (client, server, fits) in
            [(Some(3), Some(4), true), (Some(3), None, false), (None, Some(3), false), (None, None, false)]
        {
            let mut talk = Talk::open(client, server);
            // 10,000 times 16 if scaled.
            assert!(talk.passes(true, announce(10_000)));
            assert_eq!(talk.passes(false, data), fits, "{client:?} {server:?}");
        }
    }

    #[test]
    fn acknowledgements_are_of_what_was_sent() {
        let mut talk = Talk::open(None, None);
        assert!(!talk.passes(true, segment(ACK, 5001, 1001 + 67_036, 1, 10_000, None)));
        assert!(talk.passes(true, segment(ACK, 5001, 1001, 1, 10_000, None)));
        assert!(!talk.passes(true, segment(ACK, 5002, 1001u32.wrapping_sub(67_037), 1, 10_000, None)));
    }

    #[test]
    fn a_reset_must_guess_the_number() {
        for (seq, believed) in [(1001, true), (1000, true), (999, true), (1002, false), (998, false), (0, false)] {
            let mut talk = Talk::open(None, None);
            assert_eq!(talk.passes(false, segment(RST, seq, 0, 0, 0, None)), believed, "{seq}");
            assert_eq!(talk.ends.original == TcpState::TimeWait, believed);
        }
    }

    #[test]
    fn a_liberal_tracker_believes_all_numbers() {
        let mut talk = Talk::open(None, None);
        talk.liberal = true;
        assert!(talk.passes(false, segment(ACK, 0x9000_0000, 77, 100, 1, None)));
        assert!(talk.passes(true, segment(RST, 77, 0, 0, 0, None)));
    }

    #[test]
    fn a_connection_picked_up_in_its_midst_is_taken_at_its_word_once() {
        let first = segment(ACK, 70_000, 9_000_000, 100, 500, None);
        let mut talk = Talk { ends: Ends::OPENING, windows: Windows::open(&first), answered: false, liberal: false };
        assert!(talk.passes(true, segment(ACK, 9_000_000, 70_100, 1000, 500, None)));
        assert!(talk.passes(false, segment(ACK, 70_100, 9_001_000, 100, 500, None)));
        // A window of 500 scaled by 14 at most.
        assert!(!talk.passes(false, segment(ACK, 70_200 + (500 << 14), 9_001_000, 100, 500, None)));
    }

    #[test]
    fn numbers_wrap() {
        let syn = segment(SYN, u32::MAX - 1, 0, 0, 1000, None);
        let mut talk = Talk { ends: Ends::OPENING, windows: Windows::open(&syn), answered: false, liberal: false };
        assert!(talk.passes(true, segment(SYN | ACK, u32::MAX, u32::MAX, 0, 1000, None)));
        assert!(talk.passes(false, segment(ACK, u32::MAX, 0, 500, 1000, None)));
        assert!(talk.passes(true, segment(ACK, 0, 499, 500, 1000, None)));
        assert!(!talk.passes(false, segment(ACK, 499, 500, 1001, 1000, None)));
    }
}

//! What TCP's flags say of a connection.
//!
//! Each end is followed on its own, and only as far as timeouts need it. An end *speaks*, is *acknowledged*, *finishes*
//! (FIN), and its finish is acknowledged; a reset ends both at once. The tracker is liberal: a connection may be picked
//! up in its midst, and an end's first packet need not be a SYN. Sequence numbers are not looked at, so a reset is
//! believed whatever its number.

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

/// What a packet means for a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// The connection goes on.
    GoesOn(TimeoutClass),
    /// A SYN before any answer: sent again, or crossed with the other end's.
    OpensAgain(TimeoutClass),
    /// A SYN when both ends are through: the same ports are used again.
    OpensAnother,
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

    /// Follows a packet whose flags are not [`contradictory`]. `answered` is whether an answer was seen before it.
    pub(crate) fn step(&mut self, flags: u16, reply: bool, answered: bool) -> Step {
        use TcpState::{Closed, Closing, Established, FinWait2, SynSent, TimeWait};
        let Ends { original, reply: replying } = self;
        let (from, to) = if reply { (replying, original) } else { (original, replying) };
        if flags & (SYN | ACK) == SYN {
            if (*from).min(*to) >= FinWait2 {
                return Step::OpensAnother;
            }
            if *from <= SynSent && !answered {
                *from = SynSent;
                return Step::OpensAgain(TimeoutClass::TcpSynSent);
            }
        }
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
}

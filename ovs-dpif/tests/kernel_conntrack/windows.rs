//! What Linux makes of a segment's numbers: a model to hold its verdicts against.
//!
//! It follows van Rooij ("Real Stateful TCP Packet Filtering in IP Filter", 2000), as this crate does, and differs in what
//! is asked: a segment has to *begin* before what the receiver permits, and acknowledges nothing that was not seen. What
//! ends or acknowledges too far behind passes and moves no window, as does what ends less than a window beyond. So does
//! what fits no state but may be of a connection that is not in step: a SYN of those is noted, and holds if it is
//! answered. A connection that was picked up in its midst is believed everything, and so is one that was
//! established once: the datapath asks for that, not the tracker.

use super::common::history::Turn;

/// The least that an acknowledgement may be behind.
const ACK_WINDOW: u32 = 66_000;

/// How a segment stands to the windows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fit {
    Inside,
    /// It lies beyond what the receiver permits, or acknowledges what was not seen.
    Beyond,
    /// It is let through, but not followed.
    Passed,
    /// The state has no place for such a segment.
    Misplaced,
}

#[derive(Clone, Copy, Default)]
struct End {
    /// Behind what it sent.
    sent: u32,
    /// Behind what the other end permits.
    limit: u32,
    /// The widest window; 0 while it has not spoken.
    widest: u32,
    /// The scale that its SYN offered.
    offered: Option<u8>,
    shift: u8,
    /// The highest number that it acknowledged.
    acked: Option<u32>,
}

/// The windows of one connection.
#[derive(Clone, Default)]
pub(crate) struct Windows {
    /// Whether the client began.
    client: bool,
    original: End,
    reply: End,
    /// It was picked up, or established: the numbers are not asked.
    liberal: bool,
    /// A SYN of who began that passed without a look.
    noted: Option<End>,
    /// Behind an answer to a SYN that was none: a reset that acknowledges it is believed.
    strange: Option<u32>,
}

/// Whether `a` comes before `b`.
fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

impl End {
    /// One whose first segment this is, a SYN.
    fn open(turn: &Turn) -> End {
        End {
            sent: turn.end,
            limit: turn.end,
            widest: u32::from(turn.window).max(1),
            offered: turn.shift,
            shift: turn.shift.unwrap_or(0),
            acked: None,
        }
    }
}

impl Windows {
    /// After the segment that opened the connection.
    pub(crate) fn open(turn: &Turn) -> Windows {
        let mut original = End::open(turn);
        let liberal = turn.flags != "syn";
        if liberal {
            original.limit = turn.end.wrapping_add(original.widest);
        }
        Windows { client: turn.client, original, reply: End::default(), liberal, noted: None, strange: None }
    }

    /// Whether a segment comes from the end that answers.
    pub(crate) fn is_reply(&self, turn: &Turn) -> bool {
        turn.client != self.client
    }

    /// How a segment fits, which comes in this state of the connection. The windows move along if it does.
    pub(crate) fn judge(&mut self, turn: &Turn, state: &str) -> Fit {
        let reply = self.is_reply(turn);
        let mut state = state;
        let kind = match turn.flags {
            flags if flags.contains("rst") => "rst",
            "syn" | "syn|ack" => turn.flags,
            flags if flags.contains("fin") => "fin",
            _ => "ack",
        };
        match (kind, reply, state) {
            ("syn", false, "SYN_SENT" | "SYN_SENT2") | ("syn", true, "SYN_SENT" | "SYN_SENT2") => {}
            ("syn", false, _) | ("syn", true, "TIME_WAIT") => {
                self.noted = (!reply).then(|| End::open(turn));
                return Fit::Passed;
            }
            ("syn|ack", false, "SYN_RECV" | "SYN_SENT2") | ("syn|ack", true, "SYN_SENT" | "SYN_SENT2") => {}
            ("syn|ack", true, _) => match self.noted.filter(|syn| syn.sent == turn.ack) {
                // In step with both ends again.
                Some(syn) => {
                    (self.original, self.reply, self.liberal, state) = (syn, End::default(), false, "SYN_SENT");
                }
                None => return Fit::Passed,
            },
            ("ack", true, "SYN_SENT" | "SYN_SENT2") => {
                self.strange = Some(turn.end);
                return Fit::Passed;
            }
            ("rst", false, _) if turn.flags.contains("ack") && self.strange == Some(turn.ack) => return Fit::Passed,
            ("syn" | "syn|ack", ..) | ("ack" | "fin", _, "SYN_SENT" | "SYN_SENT2") => return Fit::Misplaced,
            _ => {}
        }
        (self.noted, self.strange) = (None, None);
        self.liberal |= state == "ESTABLISHED";
        let liberal = self.liberal;
        let (own, other) =
            if reply { (&mut self.reply, &mut self.original) } else { (&mut self.original, &mut self.reply) };
        // A reset of what was acknowledged already.
        if kind == "rst" && other.acked.is_some_and(|acked| before(turn.seq, acked)) {
            return Fit::Misplaced;
        }
        let fit = look(own, other, turn, reply, state);
        if liberal { Fit::Inside } else { fit }
    }
}

fn look(own: &mut End, other: &mut End, turn: &Turn, reply: bool, state: &str) -> Fit {
    let (syn, acks) = (turn.flags.contains("syn"), turn.flags.contains("ack"));
    let again = matches!(state, "SYN_SENT" | "SYN_RECV") && before(own.sent, turn.end);
    if syn && (own.widest == 0 || again) {
        *own = End { acked: own.acked, ..End::open(turn) };
        if own.offered.is_none() || other.offered.is_none() {
            own.shift = 0;
            if other.widest > 0 {
                other.shift = 0;
            }
        }
        if !acks && reply {
            return Fit::Inside;
        }
    } else if own.widest == 0 {
        own.sent = turn.end;
        own.widest = (u32::from(turn.window) << own.shift).max(1);
        own.limit = turn.end.wrapping_add(own.widest);
        if other.widest == 0 {
            (other.sent, other.limit) = (turn.ack, turn.ack);
        }
    }
    let ack = if acks && !(turn.flags.contains("rst") && turn.ack == 0) { turn.ack } else { other.sent };
    let slack = own.widest.max(ACK_WINDOW);
    if before(other.sent, ack) {
        return Fit::Beyond;
    }
    let far = other.widest > 0 && before(turn.end, own.sent.wrapping_sub(other.widest));
    let old = before(ack, other.sent.wrapping_sub(slack));
    if before(own.limit, turn.seq) {
        let over = turn.end.wrapping_sub(own.limit).wrapping_add(1);
        if far || old || other.widest == 0 || over > other.widest {
            return Fit::Beyond;
        }
        if !turn.flags.contains("rst") {
            own.sent = turn.end;
        }
        return Fit::Passed;
    }
    if far || old {
        return Fit::Passed;
    }
    let window = u32::from(turn.window) << if syn { 0 } else { own.shift };
    own.widest = own.widest.max(window);
    if before(own.sent, turn.end) {
        own.sent = turn.end;
    }
    if acks && own.acked.is_none_or(|acked| before(acked, ack)) {
        own.acked = Some(ack);
    }
    if other.widest > 0 && before(own.limit, turn.end) {
        other.widest += turn.end.wrapping_sub(own.limit);
    }
    let permitted = ack.wrapping_add(window);
    if !before(permitted, other.limit) {
        other.limit = permitted.wrapping_add(u32::from(window == 0));
    }
    Fit::Inside
}

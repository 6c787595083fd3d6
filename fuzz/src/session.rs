//! Conversations: what a peer and its owner can do to a session, in any order.

use std::time::Duration;

use ovs_ofproto::session::{
    Amount, Class, CloseReason, Frame, Session, SessionAction, SessionEvent, SessionLimits, SessionOptions,
    Transactions,
};
use ovs_packet::Instant;

const LIMITS: Amount = Amount { messages: 20, bytes: 4096 };

fn options() -> SessionOptions {
    let limits =
        SessionLimits { outbound: LIMITS, replies: Amount { messages: 10, bytes: 2048 }, ..SessionLimits::default() };
    SessionOptions { limits, ..SessionOptions::default() }
}

/// The events of a connection on which `stream` comes in pieces, and what is answered.
fn events_of(stream: &[u8], step: usize) -> (Vec<SessionEvent>, Vec<u8>) {
    let (now, mut events, mut answers) = (Instant::ZERO, Vec::new(), Vec::new());
    let mut session = Session::passive(SessionOptions::default(), now);
    session.handle_connected(now);
    for piece in stream.chunks(step) {
        session.handle_input(piece);
        loop {
            let before = events.len();
            events.extend(std::iter::from_fn(|| session.poll_event(now)));
            answers.extend_from_slice(session.transmit());
            session.transmitted(now, usize::MAX);
            if events.len() == before && session.transmit().is_empty() && session.poll_event(now).is_none() {
                break;
            }
        }
    }
    (events, answers)
}

/// However a stream is cut, the same comes of it; whatever is done to a session, its queues are bounded, nothing comes of
/// a connection after its end, and time is only waited for that has not come.
///
/// The input is the size of pieces, a number of calls, these, and the stream.
pub fn openflow_session(data: &[u8]) {
    let [step, calls, rest @ ..] = data else { return };
    let step = usize::from(*step) + 1;
    let (calls, stream) = rest.split_at(usize::from(calls % 64).min(rest.len()));
    assert_eq!(events_of(stream, step), events_of(stream, usize::MAX));
    drive(calls, stream, step);
}

fn drive(calls: &[u8], stream: &[u8], step: usize) {
    let mut now = Instant::ZERO;
    let mut session = Session::active(options(), now);
    let mut transactions = Transactions::default();
    let mut input = stream.chunks(step);
    let (mut is_attempt, mut is_open) = (false, false);
    for call in calls {
        match call % 8 {
            0 if is_attempt => {
                session.handle_connected(now);
                is_attempt = false;
            }
            1 if is_attempt || session.is_connected() => {
                session.handle_closed(now, CloseReason::Peer);
                is_attempt = false;
            }
            2 => session.handle_input(&[4, 0, 0, 8, 0, 0, 0, 1]),
            3 if session.wants_input() => session.handle_input(input.next().unwrap_or_default()),
            4 => now += Duration::from_millis(u64::from(*call) * 40),
            5 => session.transmitted(now, usize::from(*call)),
            6 => {
                let version = session.version().map_or(4, |version| version.0);
                let request = Frame::new(vec![version, 5, 0, 8, 0, 0, 0, 0]).expect("a frame");
                let Some((_, frames)) = transactions.ask(vec![request], None) else { continue };
                for frame in frames {
                    let _ = session.send(&frame, Class::Other);
                }
            }
            7 if *call == 255 => session.close(now, "because"),
            _ => {}
        }
        loop {
            let mut is_quiet = true;
            while let Some(event) = session.poll_event(now) {
                is_quiet = false;
                match event {
                    SessionEvent::Connected { version } => {
                        assert!(!is_open && options().versions.contains(version));
                        is_open = true;
                    }
                    SessionEvent::Message(frame) => {
                        assert!(is_open && frame.bytes().len() >= 8);
                        transactions.handle(frame);
                    }
                    SessionEvent::Closed(reason) => {
                        assert!(!reason.to_string().is_empty());
                        is_open = false;
                        transactions.forget_all();
                    }
                }
            }
            while let Some(action) = session.poll_action(now) {
                is_quiet = false;
                is_attempt = action == SessionAction::Connect;
            }
            if is_quiet {
                break;
            }
        }
        assert_eq!(session.is_connected(), is_open);
        assert!(session.poll_timeout().is_none_or(|due| due > now), "{session:?}");
        // Up to the limit, and beyond it a hello, a probe, and an answer to what the last piece of input was.
        let queued = session.queued();
        assert!(queued.messages <= LIMITS.messages + 3, "{queued:?}");
        assert!(queued.bytes <= LIMITS.bytes + 2 * 65535, "{queued:?}");
        assert!(session.incoming() < 65535 + 65535, "{}", session.incoming());
    }
}

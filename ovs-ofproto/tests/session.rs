//! Two ends of a conversation on a virtual clock, and what a hostile end can do.

use std::time::Duration;

use ovs_ofproto::codec::{Message, MessageType, Version, Versions};
use ovs_ofproto::session::{
    Amount, Class, CloseReason, Echoes, ErrorReply, Frame, Progress, ProtocolError, ReconnectOptions, ReconnectState,
    SendError, Session, SessionAction, SessionEvent, SessionLimits, SessionOptions, Transactions, Xids, parse_versions,
};
use ovs_packet::Instant;
use proptest::prelude::*;

fn secs(secs: u64) -> Instant {
    Instant::from_secs(secs)
}

fn versions(text: &str) -> SessionOptions {
    SessionOptions { versions: parse_versions(text).unwrap(), ..SessionOptions::default() }
}

fn frame(version: u8, kind: u8, xid: u32, body: &[u8]) -> Frame {
    let mut bytes = vec![version, kind];
    bytes.extend(u16::try_from(body.len() + 8).unwrap().to_be_bytes());
    bytes.extend(xid.to_be_bytes());
    bytes.extend(body);
    Frame::new(bytes).unwrap()
}

/// What the network between two ends does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Network {
    Works,
    /// Nobody listens.
    Refuses,
    /// What is sent is lost, and nobody is told.
    Loses,
}

/// A switch that connects to a controller, the network between them, and what their owners saw.
struct Lab {
    now: Instant,
    network: Network,
    switch: Session,
    controller: Session,
    controller_options: SessionOptions,
    /// An owner that does not look takes no message out.
    controller_looks: bool,
    log: Vec<String>,
}

impl Lab {
    fn new(switch: SessionOptions, controller: SessionOptions) -> Lab {
        // Before the first connection there is none to watch over.
        let mut none = Session::passive(controller, secs(0));
        none.handle_closed(secs(0), CloseReason::Peer);
        none.poll_event(secs(0));
        Lab {
            now: secs(0),
            network: Network::Works,
            switch: Session::active(switch, secs(0)),
            controller: none,
            controller_options: controller,
            controller_looks: true,
            log: Vec::new(),
        }
    }

    fn note(&mut self, who: &str, event: &SessionEvent) {
        let what = match event {
            SessionEvent::Connected { version } => format!("speaks {version}"),
            SessionEvent::Message(frame) => format!("gets type {} xid {}", frame.kind().0, frame.xid()),
            SessionEvent::Closed(reason) => reason.to_string(),
        };
        self.log.push(format!("{} s: {who} {what}", self.now.as_millis() / 1000));
    }

    /// Everything that happens now.
    fn settle(&mut self) {
        let mut quiet = 0;
        while quiet < 2 {
            let before = (self.log.len(), self.switch.counters(), self.controller.counters());
            self.carry();
            while let Some(action) = self.switch.poll_action(self.now) {
                match (action, self.network) {
                    (SessionAction::Connect, Network::Works) => {
                        self.controller = Session::passive(self.controller_options, self.now);
                        self.controller.handle_connected(self.now);
                        self.switch.handle_connected(self.now);
                    }
                    (SessionAction::Connect, Network::Refuses) => {
                        self.switch.handle_closed(self.now, CloseReason::Io("connection refused".into()));
                    }
                    (SessionAction::Connect, Network::Loses) => {}
                    (SessionAction::Close, Network::Works) => {
                        self.controller.handle_closed(self.now, CloseReason::Peer)
                    }
                    (SessionAction::Close, _) => {}
                }
            }
            while let Some(action) = self.controller.poll_action(self.now) {
                assert_eq!(action, SessionAction::Close);
                if self.network == Network::Works {
                    self.switch.handle_closed(self.now, CloseReason::Peer);
                }
            }
            while let Some(event) = self.switch.poll_event(self.now) {
                self.note("switch", &event);
            }
            while self.controller_looks {
                let Some(event) = self.controller.poll_event(self.now) else { break };
                self.note("controller", &event);
            }
            let after = (self.log.len(), self.switch.counters(), self.controller.counters());
            quiet = if before == after { quiet + 1 } else { 0 };
        }
    }

    fn carry(&mut self) {
        let carry = |from: &mut Session, to: &mut Session| {
            let is_lost = self.network == Network::Loses;
            if is_lost || to.wants_input() {
                // As much as is read at once.
                let count = from.transmit().len().min(16 << 10);
                if !is_lost {
                    to.handle_input(&from.transmit()[..count]);
                }
                from.transmitted(self.now, count);
            }
        };
        carry(&mut self.switch, &mut self.controller);
        carry(&mut self.controller, &mut self.switch);
    }

    /// Lets time pass from one thing that is due to the next.
    fn run_until(&mut self, end: Instant) {
        self.settle();
        loop {
            let due = self.switch.poll_timeout().into_iter().chain(self.controller.poll_timeout()).min();
            match due.filter(|due| *due <= end && *due > self.now) {
                Some(due) => self.now = due,
                None => break,
            }
            self.settle();
        }
        self.now = end;
        self.settle();
    }

    fn log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }
}

#[test]
fn the_highest_version_in_common_is_spoken() {
    for (switch, controller, spoken) in [
        ("OpenFlow10,OpenFlow13", "OpenFlow10,OpenFlow13,OpenFlow14", "OF1.3"),
        ("OpenFlow10,OpenFlow11,OpenFlow12,OpenFlow13,OpenFlow14,OpenFlow15", "OpenFlow10", "OF1.0"),
        ("OpenFlow10,OpenFlow15", "OpenFlow10,OpenFlow11,OpenFlow12", "OF1.0"),
        ("OpenFlow15", "OpenFlow13,OpenFlow15", "OF1.5"),
    ] {
        let mut lab = Lab::new(versions(switch), versions(controller));
        lab.settle();
        assert_eq!(lab.log(), [format!("0 s: switch speaks {spoken}"), format!("0 s: controller speaks {spoken}")]);
    }
}

#[test]
fn without_a_version_in_common_both_are_told_which_there_are_and_it_is_tried_again() {
    let mut lab = Lab::new(versions("OpenFlow10,OpenFlow11"), versions("OpenFlow13"));
    lab.run_until(secs(2));
    let none = "no version in common: OpenFlow10,OpenFlow11 here, OpenFlow13 there";
    let other = "no version in common: OpenFlow13 here, OpenFlow10,OpenFlow11 there";
    let log = lab.log();
    assert_eq!(log[..2], [format!("0 s: switch {none}"), format!("0 s: controller {other}")]);
    assert_eq!(log[2..4], [format!("1 s: switch {none}"), format!("1 s: controller {other}")]);
    assert_eq!(lab.switch.reconnect().backoff(), Duration::from_secs(2));

    // What the other reads who is told: the error, with the reason as its text.
    let mut session = Session::passive(versions("OpenFlow13"), secs(0));
    session.handle_connected(secs(0));
    session.handle_input(frame(2, 0, 5, &[]).bytes());
    assert!(matches!(session.poll_event(secs(0)), Some(SessionEvent::Closed(CloseReason::Protocol(_)))));
    let error = Frame::new(session.transmit()[16..].to_vec()).unwrap();
    assert_eq!((error.version(), error.xid()), (Version::V1_1, 5));
    assert_eq!(ErrorReply::of(&error).unwrap().to_string(), format!("error type 0, code 0: {other}"));
    assert_eq!(session.poll_action(secs(0)), None); // it is still to be sent
    session.transmitted(secs(0), usize::MAX);
    assert_eq!(session.poll_action(secs(0)), Some(SessionAction::Close));
}

#[test]
fn a_network_that_dies_is_noticed_and_one_that_comes_back_is_used() {
    let mut lab = Lab::new(SessionOptions::default(), SessionOptions::default());
    lab.run_until(secs(100));
    assert_eq!(lab.log(), ["0 s: switch speaks OF1.5", "0 s: controller speaks OF1.5"]);
    let probed = lab.switch.counters().probes + lab.controller.counters().probes;
    assert!((10..=40).contains(&probed), "{probed}"); // silence is probed, answers are not for the owners
    let silent_since = 100;
    lab.network = Network::Loses;
    lab.run_until(secs(silent_since + 11));
    let log = lab.log();
    assert_eq!(log.len(), 2, "{log:?}");
    assert!(log.iter().all(|line| line.ends_with("no response to inactivity probe")), "{log:?}");
    // Attempts that nobody answers take a second, then as long as the pause before them.
    lab.run_until(secs(150));
    assert_eq!(lab.switch.reconnect().backoff(), Duration::from_secs(8));
    lab.network = Network::Refuses;
    lab.run_until(secs(200));
    lab.log();
    lab.network = Network::Works;
    lab.run_until(secs(208));
    let log = lab.log();
    assert!(log.iter().any(|line| line.ends_with("controller speaks OF1.5")), "{log:?}");
    assert_eq!(lab.switch.reconnect().state(), ReconnectState::Active);
}

#[test]
fn refusals_are_answered_with_pauses_that_double() {
    let mut lab = Lab::new(SessionOptions::default(), SessionOptions::default());
    lab.network = Network::Refuses;
    lab.run_until(secs(32));
    let refused = [0, 1, 3, 7, 15, 23, 31].map(|at| format!("{at} s: switch connection refused"));
    assert_eq!(lab.log(), refused);
}

#[test]
fn a_switch_that_was_late_does_not_blame_the_controller() {
    let mut lab = Lab::new(SessionOptions::default(), SessionOptions::default());
    lab.run_until(secs(1));
    lab.log();
    // The switch probes, the controller answers, and the switch does something else for a minute.
    lab.switch.poll_action(secs(7));
    let request = lab.switch.transmit().to_vec();
    assert_eq!(request[1], MessageType::ECHO_REQUEST.0);
    lab.switch.transmitted(secs(7), usize::MAX);
    lab.controller.handle_input(&request);
    assert_eq!(lab.controller.poll_event(secs(7)), None);
    lab.switch.handle_input(lab.controller.transmit());
    lab.controller.transmitted(secs(7), usize::MAX);
    assert_eq!((lab.switch.poll_action(secs(67)), lab.switch.poll_timeout()), (None, None));
    assert_eq!(lab.switch.poll_event(secs(67)), None);
    assert_eq!((lab.switch.poll_action(secs(67)), lab.switch.poll_timeout()), (None, Some(secs(72))));
    assert!(lab.switch.is_connected());
}

#[test]
fn packets_for_a_controller_that_does_not_read_are_dropped_and_counted() {
    let mut lab = Lab::new(SessionOptions::default(), SessionOptions::default());
    lab.settle();
    let packet = frame(6, 10, 0, &[0; 1000]);
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..1000 {
        match lab.switch.send(&packet, Class::PacketIn) {
            Ok(()) => taken += 1,
            Err(SendError::Full(Amount { messages: 100, bytes: 100_800 })) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((taken, refused, lab.switch.counters().refused), (100, 900, 900));
    // Anything else still goes, until the whole is full.
    lab.switch.send(&frame(6, 12, 0, &[]), Class::Other).unwrap();
    let update = frame(6, 19, 0, &[0; 60_000]);
    let updates = std::iter::from_fn(|| lab.switch.send(&update, Class::Monitor).ok()).count();
    assert_eq!(updates, 3);
    lab.settle();
    assert_eq!(lab.log().iter().filter(|line| line.contains("type 10")).count(), 100);
    assert_eq!(lab.switch.queued_of(Class::PacketIn), Amount::default());
    assert_eq!(lab.switch.send(&packet, Class::PacketIn), Ok(()));
}

#[test]
fn a_controller_that_asks_and_does_not_read_is_not_read_from_then_given_up() {
    let mut switch = Session::passive(SessionOptions::default(), secs(0));
    switch.handle_connected(secs(0));
    switch.handle_input(frame(4, 0, 1, &[]).bytes());
    assert!(switch.poll_event(secs(0)).is_some());
    switch.transmitted(secs(0), usize::MAX);
    let echo = frame(4, 2, 9, &[7; 100]);
    let mut asked = 0_u64;
    for now in 0..4 {
        while switch.wants_input() {
            switch.handle_input(echo.bytes());
            asked += 1;
            assert_eq!(switch.poll_event(secs(now)), None);
        }
    }
    assert_eq!((asked, switch.queued_of(Class::Reply).messages), (100, 100));
    assert_eq!(switch.poll_action(secs(5)), None); // it is probed
    assert_eq!(switch.poll_action(secs(9)), None);
    assert_eq!(switch.poll_action(secs(10)), Some(SessionAction::Close));
    let silent = CloseReason::Timeout(ovs_ofproto::session::DisconnectReason::Silent);
    assert_eq!(switch.poll_event(secs(10)), Some(SessionEvent::Closed(silent)));
    assert_eq!((switch.queued(), switch.counters().discarded), (Amount::default(), 101));
}

#[test]
fn what_waits_behind_a_full_queue_is_read_before_the_peer_is_blamed() {
    let mut switch = Session::passive(SessionOptions::default(), secs(0));
    switch.handle_connected(secs(0));
    switch.handle_input(frame(4, 0, 1, &[]).bytes());
    switch.handle_input(&frame(4, 2, 9, &[]).bytes().repeat(300));
    assert!(switch.poll_event(secs(0)).is_some() && switch.poll_event(secs(0)).is_none());
    assert_eq!(switch.queued_of(Class::Reply).messages, 100);
    // A message that is taken postpones the probe; then there is time for the rest of the input.
    switch.transmitted(secs(4), 8 * 10);
    assert_eq!((switch.poll_action(secs(60)), switch.poll_timeout()), (None, None));
    assert_eq!(switch.poll_event(secs(60)), None);
    assert_eq!((switch.queued_of(Class::Reply).messages, switch.poll_timeout()), (100, Some(secs(65))));
    assert_eq!(switch.poll_action(secs(64)), None);
    assert_eq!(switch.counters().probes, 0);
}

#[test]
fn messages_that_are_taken_are_signs_of_life() {
    let mut lab = Lab::new(SessionOptions::default(), SessionOptions::default());
    lab.settle();
    for now in 1..30 {
        lab.switch.send(&frame(6, 12, 0, &[]), Class::Other).unwrap();
        lab.switch.transmitted(secs(now), usize::MAX);
        assert_eq!(lab.switch.poll_timeout(), Some(secs(now + 5)));
    }
    assert_eq!(lab.switch.poll_action(secs(33)), None);
    assert_eq!(lab.switch.counters().probes, 0);
}

#[test]
fn a_peer_that_asks_for_the_most_makes_a_session_hold_little() {
    let mut switch = Session::passive(SessionOptions::default(), secs(0));
    switch.handle_connected(secs(0));
    switch.handle_input(frame(4, 0, 1, &[]).bytes());
    let echo = frame(4, 2, 9, &[7; 65527]);
    let mut pieces = echo.bytes().chunks(16 << 10).cycle();
    while switch.wants_input() {
        switch.handle_input(pieces.next().unwrap());
        while switch.poll_event(secs(0)).is_some() {}
    }
    let held = switch.incoming() + switch.queued().bytes;
    assert!(held <= 210 << 10, "{held}");
}

#[test]
fn an_owner_that_takes_nothing_out_holds_little_and_does_not_blame_the_peer() {
    let mut lab = Lab::new(SessionOptions::default(), SessionOptions::default());
    lab.settle();
    lab.controller_looks = false;
    for _ in 0..500 {
        let _ = lab.switch.send(&frame(6, 12, 0, &[0; 1000]), Class::Other);
    }
    lab.carry();
    for _ in 0..100 {
        lab.carry();
    }
    assert!(lab.controller.incoming() <= (64 << 10) + (16 << 10), "{}", lab.controller.incoming());
    assert!(!lab.controller.wants_input());
    assert_eq!(lab.controller.poll_action(secs(1000)), None);
    lab.controller_looks = true;
    lab.settle();
    assert_eq!(lab.log().iter().filter(|line| line.contains("type 12")).count(), 500);
}

#[test]
fn echoes_of_the_owner_are_the_owners() {
    let mut lab = Lab::new(SessionOptions::default(), SessionOptions::default());
    lab.settle();
    lab.log();
    lab.controller.send(&frame(6, 2, 77, b"ping"), Class::Other).unwrap();
    lab.settle();
    assert_eq!(lab.log(), ["0 s: controller gets type 3 xid 77"]);
}

#[test]
fn echo_requests_are_told_to_those_who_want_them() {
    for (echoes, told, answered) in
        [(Echoes::Answered, false, true), (Echoes::AnsweredAndTold, true, true), (Echoes::Told, true, false)]
    {
        let mut lab = Lab::new(SessionOptions::default(), SessionOptions { echoes, ..SessionOptions::default() });
        lab.settle();
        lab.log();
        lab.switch.send(&frame(6, 2, 77, b"ping"), Class::Other).unwrap();
        lab.settle();
        let lines = [(told, "0 s: controller gets type 2 xid 77"), (answered, "0 s: switch gets type 3 xid 77")];
        let mut said = lab.log();
        said.sort();
        assert_eq!(said, lines.iter().filter(|l| l.0).map(|l| l.1).collect::<Vec<_>>(), "{echoes:?}");
    }
    let mut transactions = Transactions::new(Xids::default());
    let (_, frames) = transactions.ask(vec![frame(6, 7, 0, &[])], None).unwrap();
    let echo = frame(6, 2, frames[0].xid(), &[]);
    assert_eq!(transactions.handle(echo.clone()), Progress::Unsolicited(echo));
}

#[test]
fn last_words_are_heard() {
    for (cut, reason) in [(0, CloseReason::Peer), (5, CloseReason::HalfMessage(5))] {
        let mut lab = Lab::new(SessionOptions::default(), SessionOptions::default());
        lab.settle();
        lab.switch.handle_input(frame(6, 13, 4, &[]).bytes());
        lab.switch.handle_input(&frame(6, 13, 5, &[]).bytes()[..cut]);
        lab.switch.handle_closed(secs(1), CloseReason::Peer);
        assert_eq!(lab.switch.poll_action(secs(1)), None);
        assert_eq!(lab.switch.poll_event(secs(1)), Some(SessionEvent::Message(frame(6, 13, 4, &[]))));
        assert_eq!(lab.switch.send(&frame(6, 10, 0, &[]), Class::Other), Err(SendError::NotConnected));
        assert_eq!(lab.switch.poll_event(secs(1)), Some(SessionEvent::Closed(reason.clone())));
        assert_eq!(lab.switch.last_close(), Some(&reason));
        assert_eq!(lab.switch.poll_timeout(), Some(secs(2)));
    }
}

#[test]
fn an_owner_closes_after_what_it_said_is_sent_or_a_second_is_over() {
    for takes in [true, false] {
        let mut lab = Lab::new(SessionOptions::default(), SessionOptions::default());
        lab.settle();
        lab.switch.send(&frame(6, 12, 0, &[]), Class::Other).unwrap();
        lab.switch.shut_down(secs(1), "no longer wanted");
        assert!(!lab.switch.is_connected() && lab.switch.is_alive());
        assert_eq!((lab.switch.poll_action(secs(1)), lab.switch.poll_timeout()), (None, Some(secs(2))));
        let end = if takes {
            lab.switch.transmitted(secs(1), usize::MAX);
            secs(1)
        } else {
            secs(2)
        };
        assert_eq!(lab.switch.poll_action(end), Some(SessionAction::Close));
        let closed = SessionEvent::Closed(CloseReason::Request("no longer wanted".into()));
        assert_eq!((lab.switch.poll_event(end), lab.switch.poll_event(end)), (Some(closed), None));
        assert_eq!((lab.switch.poll_action(secs(99)), lab.switch.is_alive()), (None, false));
    }
}

#[test]
fn nothing_is_sent_in_the_wrong_version_or_before_the_hellos() {
    let mut session = Session::active(SessionOptions::default(), secs(0));
    assert_eq!(session.send(&frame(4, 5, 1, &[]), Class::Other), Err(SendError::NotConnected));
    session.poll_action(secs(0));
    session.handle_connected(secs(0));
    assert_eq!(session.send(&frame(4, 5, 1, &[]), Class::Other), Err(SendError::NotConnected));
    session.handle_input(frame(4, 0, 1, &[]).bytes());
    session.poll_event(secs(0));
    let wrong = SendError::Version { found: Version::V1_0, agreed: Version::V1_3 };
    assert_eq!(session.send(&frame(1, 5, 1, &[]), Class::Other), Err(wrong));
    assert_eq!(session.send(&frame(1, 1, 1, &[0; 4]), Class::Other), Ok(()));
}

#[test]
fn a_controller_asks_tells_and_is_told_what_came_of_it() {
    let mut lab = Lab::new(SessionOptions::default(), versions("OpenFlow13"));
    lab.settle();
    lab.log();
    lab.controller_looks = false;
    let mut transactions = Transactions::default();
    let features = Frame::new(Message::FeaturesRequest.encode(Version::V1_3, 0).unwrap()).unwrap();
    let (asked, frames) = transactions.ask(vec![features], Some(secs(9))).unwrap();
    let (told, more) =
        transactions.tell(vec![frame(4, 14, 0, &[0; 48]), frame(4, 14, 0, &[0; 48])], Version::V1_3, None);
    for frame in frames.iter().chain(&more) {
        lab.controller.send(frame, Class::Other).unwrap();
    }
    lab.carry();
    // The switch answers the question in two parts, refuses the second change, and says when all is done.
    let mut requests = Vec::new();
    while let Some(SessionEvent::Message(request)) = lab.switch.poll_event(secs(0)) {
        requests.push((request.kind().0, request.xid()));
    }
    assert_eq!(requests.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [5, 14, 14, 20]);
    for answer in [
        frame(4, 19, requests[0].1, &[0, 1, 0, 1, 0, 0, 0, 0]),
        frame(4, 1, requests[2].1, &[0, 5, 0, 1]),
        frame(4, 10, 0, &[]),
        frame(4, 19, requests[0].1, &[0, 1, 0, 0, 0, 0, 0, 0]),
        frame(4, 21, requests[3].1, &[]),
    ] {
        lab.switch.send(&answer, Class::Reply).unwrap();
    }
    lab.carry();
    let mut progress = Vec::new();
    while let Some(SessionEvent::Message(frame)) = lab.controller.poll_event(secs(0)) {
        progress.push(match transactions.handle(frame) {
            Progress::Reply { id, is_last, .. } => {
                format!("{} reply {is_last}", if id == asked { "asked" } else { "?" })
            }
            Progress::Refused { id, request, error, .. } if id == told => {
                format!("told refused {request} {}", error.code)
            }
            Progress::Done { id } if id == told => "told done".into(),
            other => format!("{other:?}").chars().take(11).collect(),
        });
    }
    let expected = ["asked reply false", "told refused 1 1", "Unsolicited", "asked reply true", "told done"];
    assert_eq!(progress, expected);
    assert!(transactions.is_empty());
}

/// What a session makes of bytes, given at once: the reason for its end, and how it answers.
fn end_of(before: &[u8], bytes: &[u8]) -> (Option<CloseReason>, Vec<u8>) {
    let mut session = Session::passive(SessionOptions::default(), secs(0));
    session.handle_connected(secs(0));
    session.handle_input(before);
    while session.poll_event(secs(0)).is_some() {}
    session.transmitted(secs(0), usize::MAX);
    session.handle_input(bytes);
    let mut reason = None;
    while let Some(event) = session.poll_event(secs(0)) {
        match event {
            SessionEvent::Closed(closed) if reason.is_none() => reason = Some(closed),
            SessionEvent::Closed(_) => panic!("closed twice"),
            _ => assert!(reason.is_none(), "an event after the end"),
        }
    }
    assert_eq!(session.wants_input(), reason.is_none());
    (reason, session.transmit().to_vec())
}

#[test]
fn bad_input_ends_the_connection_for_its_reason() {
    let hello = [4, 0, 0, 8, 0, 0, 0, 1];
    let http = b"GET / HTTP/1.1\r\n";
    let protocol = |error| Some(CloseReason::Protocol(error));
    let no_hello =
        |version, kind| protocol(ProtocolError::NoHello { version: Version(version), kind: MessageType(kind) });
    let ours = Versions::up_to(Version::V1_5);

    // Before the hello: nothing is said to one who does not speak OpenFlow.
    assert_eq!(end_of(&[], &[4, 0, 0, 7, 0, 0, 0, 1]), (protocol(ProtocolError::Length { length: 7 }), vec![]));
    assert_eq!(end_of(&[], &[0; 64]), (protocol(ProtocolError::Length { length: 0 }), vec![]));
    // What looks like a length of 21 KiB is waited for; then it is no hello.
    assert_eq!(end_of(&[], http), (None, vec![]));
    assert_eq!(end_of(http, &[b'x'; 21536]).0, no_hello(b'G', b'E'));
    assert_eq!(end_of(&[], &[0xff; 65535]).0, no_hello(0xff, 0xff));
    assert_eq!(end_of(&[], frame(4, 2, 1, &[]).bytes()).0, no_hello(4, 2));
    let refused = ErrorReply { version: Version::V1_0, xid: 0, kind: 0, code: 1, data: b"go away".to_vec() };
    assert_eq!(end_of(&[], refused.to_frame().bytes()).0, protocol(ProtocolError::Refused(refused)));
    for theirs in [0, 1 << 31] {
        let no_version = ProtocolError::NoVersion { ours, theirs: Versions(theirs) };
        let bitmap = [&[0, 1, 0, 8][..], &theirs.to_be_bytes()].concat();
        let (reason, answer) = end_of(&[], frame(9, 0, 1, &bitmap).bytes());
        assert_eq!((reason, answer[1]), (protocol(no_version), MessageType::ERROR.0));
    }

    // After it: an error says why.
    let answers = |numbers: [u8; 4]| move |answer: &[u8]| answer[1] == 1 && answer[8..12] == numbers;
    let (reason, answer) = end_of(&hello, &[4, 5, 0, 3, 0, 0, 0, 1]);
    assert_eq!(reason, protocol(ProtocolError::Length { length: 3 }));
    assert!(answers([0, 1, 0, 6])(&answer), "{answer:?}");
    let (reason, answer) = end_of(&hello, &hello);
    assert_eq!(reason, protocol(ProtocolError::SecondHello));
    assert!(answers([0, 1, 0, 1])(&answer), "{answer:?}");
    // A message of another version is refused as its sender speaks, or as is agreed, and the connection goes on.
    let refused = [1, 1, 0, 20, 0, 0, 0, 3, 0, 1, 0, 0, 1, 5, 0, 8, 0, 0, 0, 3];
    assert_eq!(end_of(&hello, frame(1, 5, 3, &[]).bytes()), (None, refused.to_vec()));
    let refused = [4, 1, 0, 20, 0, 0, 0, 3, 0, 1, 0, 0, 9, 5, 0, 8, 0, 0, 0, 3];
    assert_eq!(end_of(&hello, frame(9, 5, 3, &[]).bytes()), (None, refused.to_vec()));
    // What is the same in every version may have another.
    assert_eq!(end_of(&hello, frame(1, 2, 3, &[5]).bytes()), (None, frame(1, 3, 3, &[5]).into_bytes()));
    assert_eq!(end_of(&hello, frame(1, 1, 3, &[0; 4]).bytes()).0, None);
    // The longest message is one.
    assert_eq!(end_of(&hello, frame(4, 99, 1, &vec![0; 65527]).bytes()).0, None);
}

#[test]
fn a_peer_that_says_no_hello_has_a_second() {
    let mut session = Session::passive(SessionOptions::default(), secs(0));
    session.handle_connected(secs(0));
    session.handle_input(&[4, 0, 0]);
    assert_eq!((session.poll_event(secs(0)), session.poll_action(secs(0))), (None, None));
    assert_eq!(session.poll_timeout(), Some(secs(1)));
    assert_eq!(session.poll_action(secs(1)), Some(SessionAction::Close));
    assert!(!session.is_alive());
}

#[test]
fn a_trickle_of_bytes_is_no_sign_of_life() {
    let mut session = Session::passive(SessionOptions::default(), secs(0));
    session.handle_connected(secs(0));
    session.handle_input(frame(4, 0, 1, &[]).bytes());
    assert!(session.poll_event(secs(0)).is_some());
    session.transmitted(secs(0), usize::MAX);
    let slow = frame(4, 13, 1, &[0; 1000]);
    let mut closed = None;
    for (now, byte) in slow.bytes().iter().enumerate() {
        session.handle_input(&[*byte]);
        assert_eq!(session.poll_event(secs(now as u64)), None);
        if session.poll_action(secs(now as u64)).is_some() {
            closed = Some(now);
            break;
        }
    }
    assert_eq!(closed, Some(10));
}

#[test]
fn no_version_allowed_is_an_end_not_a_hello() {
    let options = SessionOptions { versions: Versions::default(), ..SessionOptions::default() };
    let mut session = Session::active(options, secs(0));
    session.poll_action(secs(0));
    session.handle_connected(secs(0));
    assert!(session.transmit().is_empty());
    assert_eq!(session.poll_action(secs(0)), Some(SessionAction::Close));
    assert!(matches!(session.poll_event(secs(0)), Some(SessionEvent::Closed(CloseReason::Request(_)))));
}

#[test]
fn attempts_that_nobody_looks_at_take_no_memory() {
    let mut session = Session::active(SessionOptions::default(), secs(0));
    for _ in 0..1000 {
        let now = session.poll_timeout().unwrap();
        assert_eq!(session.poll_action(now), Some(SessionAction::Connect));
        session.handle_closed(now, CloseReason::Io("refused".into()));
    }
    let events = std::iter::from_fn(|| session.poll_event(secs(0))).count();
    assert_eq!(events, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However a stream is cut, the same comes of it.
    #[test]
    fn any_cut_gives_the_same_events(
        bodies in prop::collection::vec((any::<bool>(), 0u8..30, prop::collection::vec(any::<u8>(), 0..40)), 0..12),
        cut in 1usize..50,
    ) {
        let mut stream = frame(4, 0, 1, &[]).into_bytes();
        for (right, kind, body) in &bodies {
            stream.extend(frame(if *right { 4 } else { 1 }, *kind, 3, body).bytes());
        }
        let events = |cut: usize| {
            let mut session = Session::passive(SessionOptions::default(), secs(0));
            session.handle_connected(secs(0));
            let (mut events, mut answers) = (Vec::new(), Vec::new());
            for piece in stream.chunks(cut) {
                session.handle_input(piece);
                events.extend(std::iter::from_fn(|| session.poll_event(secs(0))));
                answers.extend_from_slice(session.transmit());
                session.transmitted(secs(0), usize::MAX);
            }
            (events, answers)
        };
        prop_assert_eq!(events(cut), events(usize::MAX));
    }

    /// No input and no order of calls breaks what is promised of queues.
    #[test]
    fn queues_are_bounded(steps in prop::collection::vec((0u8..8, prop::collection::vec(any::<u8>(), 0..200), 0u64..4), 0..80)) {
        let limits = SessionLimits {
            outbound: Amount { messages: 10, bytes: 500 },
            replies: Amount { messages: 5, bytes: 400 },
            ..SessionLimits::default()
        };
        let reconnect = ReconnectOptions::default();
        let options = SessionOptions { limits, reconnect, ..SessionOptions::default() };
        let mut session = Session::active(options, secs(0));
        let mut now = secs(0);
        let mut attempt = false;
        for (step, bytes, wait) in steps {
            now += Duration::from_secs(wait);
            match step {
                0 if attempt => session.handle_connected(now),
                1 => session.handle_input(&bytes),
                2 => session.handle_input(frame(4, 2, 1, &bytes).bytes()),
                3 => session.handle_input(frame(4, 0, 1, &[]).bytes()),
                4 if attempt => session.handle_closed(now, CloseReason::Peer),
                5 => session.transmitted(now, bytes.len()),
                6 => drop(session.send(&frame(4, 5, 1, &bytes), Class::Other)),
                7 => session.close(now, "because"),
                _ => {}
            }
            attempt = match step { 0 | 4 => false, _ => attempt };
            while session.poll_event(now).is_some() {}
            while let Some(action) = session.poll_action(now) {
                attempt = action == SessionAction::Connect;
                while session.poll_event(now).is_some() {}
            }
            // A hello, a probe, an error, and what the last message before the limit was.
            prop_assert!(session.queued().messages <= 10 + 3, "{:?}", session.queued());
            prop_assert!(session.queued().bytes <= 500 + 3 * 300, "{:?}", session.queued());
            prop_assert_eq!(session.transmit().is_empty(), session.queued().messages == 0);
        }
    }
}

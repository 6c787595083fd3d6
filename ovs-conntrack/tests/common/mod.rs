//! Packets in words, and a tracker with a clock.
#![allow(dead_code, reason = "each test program uses its part")]

pub(crate) mod history;

use std::time::Duration;

use ovs_conntrack::{Config, CtRequest, Outcome, Tracker, Tuple};
use ovs_packet::packet::CtState;
use ovs_packet::{FlowKey, Instant, Match, Packet, compose, extract};

/// A packet that has the fields of `text`.
pub(crate) fn packet(text: &str) -> Packet {
    with_payload(text, b"")
}

pub(crate) fn with_payload(text: &str, l7: &[u8]) -> Packet {
    compose::compose(text.parse::<Match>().expect(text).key(), l7)
}

/// TCP between 10.0.0.1:1000, the client, and 10.0.0.2:80.
pub(crate) fn tcp(from_client: bool, flags: &str) -> Packet {
    let ends = match from_client {
        true => "nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=1000,tp_dst=80",
        false => "nw_src=10.0.0.2,nw_dst=10.0.0.1,tp_src=80,tp_dst=1000",
    };
    packet(&format!("tcp,{ends},tcp_flags={flags}"))
}

/// An ICMP query or answer with this identifier.
pub(crate) fn icmp(text: &str, id: u16) -> Packet {
    let mut p = packet(text);
    let at = p.layers().l4.unwrap();
    p.data_mut()[at + 4..at + 6].copy_from_slice(&id.to_be_bytes());
    compose::write_l4_checksum(&mut p);
    p
}

/// An ICMP error that carries `undelivered`, from the network layer on and at most `len` bytes of it.
pub(crate) fn icmp_error(text: &str, undelivered: &Packet, len: usize) -> Packet {
    let inner = undelivered.l3();
    with_payload(text, &inner[..inner.len().min(len)])
}

/// State bits in the words of `ct_state`: `"new"`, `"est rpl"`; `trk` goes without saying.
pub(crate) fn state(words: &str) -> CtState {
    words.split_whitespace().fold(CtState::TRACKED, |bits, word| {
        let i = CtState::NAMES.iter().position(|name| *name == word).expect(word);
        bits | CtState::from_bits_retain(1 << i)
    })
}

/// A tracker and what time it is.
pub(crate) struct Lab {
    pub(crate) tracker: Tracker,
    pub(crate) now: Instant,
}

impl Lab {
    pub(crate) fn new() -> Lab {
        Lab::with(Config::new(0x5eed))
    }

    pub(crate) fn with(config: Config) -> Lab {
        Lab { tracker: Tracker::new(config), now: Instant::from_secs(1000) }
    }

    pub(crate) fn wait(&mut self, secs: u64) {
        self.now += Duration::from_secs(secs);
    }

    /// Extracts and tracks, and checks that metadata and outcome agree.
    pub(crate) fn track(&mut self, packet: &mut Packet, request: &CtRequest) -> Outcome {
        let mut key = FlowKey::ZERO;
        extract::extract(packet, &mut key);
        let outcome = self.tracker.track(packet, &key, request, self.now);
        assert!(packet.meta.ct.state.contains(outcome.state()));
        assert_eq!(packet.meta.ct.zone, request.zone);
        outcome
    }

    /// Asserts the state of a packet that is only looked up.
    #[track_caller]
    pub(crate) fn sees(&mut self, mut packet: Packet, words: &str) -> Packet {
        self.track(&mut packet, &CtRequest::lookup(0));
        assert_eq!(packet.meta.ct.state, state(words));
        packet
    }

    /// Asserts the state of a packet that is committed.
    #[track_caller]
    pub(crate) fn commits(&mut self, mut packet: Packet, words: &str) -> Packet {
        self.track(&mut packet, &CtRequest::commit(0));
        assert_eq!(packet.meta.ct.state, state(words));
        packet
    }

    /// The dump of all zones, a line a connection.
    pub(crate) fn dump(&self) -> Vec<String> {
        self.tracker.dump(None, self.now).map(|c| c.to_string()).collect()
    }

    /// The timeouts of all connections, in seconds.
    pub(crate) fn timeouts(&self) -> Vec<u64> {
        self.tracker.dump(None, self.now).map(|c| c.timeout.as_secs()).collect()
    }

    pub(crate) fn has(&self, zone: u16, tuple: &Tuple) -> bool {
        self.tracker.get(zone, tuple, self.now).is_some()
    }
}

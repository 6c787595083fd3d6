//! Messages that wait to be sent, counted by what they are for.
//!
//! A peer that reads slowly, or not at all, must not make us hold more and more. So each message belongs to a
//! [`Class`], and whoever makes messages of a class asks how many wait: a switch reads no more requests while too many
//! replies wait, drops packets for the controller, and stops telling it of flows.

use std::collections::VecDeque;

use super::frame::Frame;

/// A small enough buffer is kept for the next message, a larger one is given back.
const KEPT: usize = 64 << 10;

/// What a message that waits to be sent is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// An answer to a request of the peer.
    Reply,
    /// A packet for the controller.
    PacketIn,
    /// An update of a flow monitor.
    Monitor,
    /// Anything else: requests, and what a switch says unasked.
    Other,
}

impl Class {
    const COUNT: usize = 4;

    fn index(self) -> usize {
        match self {
            Class::Reply => 0,
            Class::PacketIn => 1,
            Class::Monitor => 2,
            Class::Other => 3,
        }
    }
}

/// A number of messages and of their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Amount {
    /// Messages.
    pub messages: usize,
    /// Their bytes, headers included.
    pub bytes: usize,
}

impl Amount {
    /// Whether this has reached `limit`, in messages or in bytes.
    pub fn reaches(self, limit: Amount) -> bool {
        self.messages >= limit.messages || self.bytes >= limit.bytes
    }

    fn add(&mut self, bytes: usize) {
        self.messages = self.messages.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn remove(&mut self, bytes: usize) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// Messages that wait to be sent, in order. A message counts until its last byte is sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    /// Of these, the first are sent already.
    sent: usize,
    /// The messages that have bytes which are not sent.
    waiting: VecDeque<(Class, usize)>,
    /// Of the first of these, what is sent.
    sent_of_first: usize,
    total: Amount,
    classes: [Amount; Class::COUNT],
}

impl Outgoing {
    pub(super) fn push(&mut self, frame: &Frame, class: Class) {
        let length = frame.bytes().len();
        self.bytes.extend_from_slice(frame.bytes());
        self.waiting.push_back((class, length));
        self.total.add(length);
        if let Some(amount) = self.classes.get_mut(class.index()) {
            amount.add(length);
        }
    }

    pub(super) fn total(&self) -> Amount {
        self.total
    }

    pub(super) fn of(&self, class: Class) -> Amount {
        self.classes.get(class.index()).copied().unwrap_or_default()
    }

    /// The bytes that wait.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    /// Takes note that the first `count` of the bytes are sent, and says how many messages that ended.
    pub(super) fn advance(&mut self, count: usize) -> usize {
        let count = count.min(self.bytes().len());
        self.sent = self.sent.saturating_add(count);
        self.sent_of_first = self.sent_of_first.saturating_add(count);
        let mut ended = 0_usize;
        while let Some(&(class, length)) = self.waiting.front() {
            let Some(rest) = self.sent_of_first.checked_sub(length) else { break };
            self.sent_of_first = rest;
            self.waiting.pop_front();
            self.total.remove(length);
            if let Some(amount) = self.classes.get_mut(class.index()) {
                amount.remove(length);
            }
            ended = ended.saturating_add(1);
        }
        // What is moved is no more than what was sent.
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(KEPT);
            self.waiting.shrink_to(KEPT / 64);
            self.sent = 0;
        } else if self.sent > self.bytes.len() / 2 {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::{MessageType, Version};

    proptest! {
        #[test]
        fn bytes_leave_in_order_and_counts_are_those_of_what_waits(
            steps in prop::collection::vec((0usize..40, 0usize..4, 0usize..80), 1..60),
        ) {
            let classes = [Class::Reply, Class::PacketIn, Class::Monitor, Class::Other];
            let (mut outgoing, mut all, mut left, mut ended) = (Outgoing::default(), Vec::new(), Vec::new(), 0);
            let mut ends: Vec<(usize, usize, Class)> = Vec::new();
            for (at, (size, class, count)) in steps.into_iter().enumerate() {
                let body = vec![at as u8; size];
                let frame = Frame::build(Version::V1_3, MessageType::ECHO_REQUEST, 1, &[&body]);
                outgoing.push(&frame, classes[class]);
                all.extend_from_slice(frame.bytes());
                ends.push((all.len(), size + 8, classes[class]));
                let count = count.min(outgoing.bytes().len());
                left.extend_from_slice(&outgoing.bytes()[..count]);
                ended += outgoing.advance(count);
                let waiting = || ends.iter().filter(|(end, ..)| *end > left.len());
                for class in classes {
                    let of = waiting().filter(|(.., of)| *of == class);
                    let bytes = of.clone().map(|(_, size, _)| size).sum();
                    prop_assert_eq!(outgoing.of(class), Amount { messages: of.count(), bytes });
                }
                prop_assert_eq!(outgoing.total().messages, waiting().count());
                prop_assert_eq!(ended, ends.len() - waiting().count());
            }
            left.extend_from_slice(outgoing.bytes());
            outgoing.advance(usize::MAX);
            prop_assert_eq!(left, all);
            prop_assert_eq!(outgoing.total(), Amount::default());
        }
    }
}

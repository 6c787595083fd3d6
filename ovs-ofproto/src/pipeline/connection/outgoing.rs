//! What waits to be sent to one controller.

use std::collections::VecDeque;

use super::limits;
use crate::session::Class;

/// A message for a controller, whole.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Output {
    /// What it is for: a [`Session`](crate::session::Session) has a queue for each class.
    pub class: Class,
    /// The message.
    pub message: Vec<u8>,
}

/// What was sent to a controller, and what was not.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Traffic {
    /// Messages that were handed over.
    pub sent: u64,
    /// Packets that were dropped because too many waited.
    pub packets_dropped: u64,
    /// Other messages that nobody had asked for, and that were dropped because too many waited.
    pub others_dropped: u64,
}

#[derive(Default, Debug)]
pub(in crate::pipeline) struct Outgoing {
    queue: VecDeque<Output>,
    packet_ins: usize,
    others: usize,
    reply_bytes: usize,
    monitor_bytes: usize,
    traffic: Traffic,
}

impl Outgoing {
    /// Lets a message wait; drops one that nobody asked for where too many wait.
    pub(in crate::pipeline) fn push(&mut self, class: Class, message: Vec<u8>) {
        match class {
            Class::PacketIn if self.packet_ins >= limits::PACKET_INS => return self.traffic.packets_dropped += 1,
            Class::Other if self.others >= limits::ASYNC => return self.traffic.others_dropped += 1,
            Class::PacketIn => self.packet_ins += 1,
            Class::Other => self.others += 1,
            Class::Reply => self.reply_bytes += message.len(),
            Class::Monitor => self.monitor_bytes += message.len(),
        }
        self.queue.push_back(Output { class, message });
    }

    pub(in crate::pipeline) fn pop(&mut self) -> Option<Output> {
        let output = self.queue.pop_front()?;
        let len = output.message.len();
        match output.class {
            Class::PacketIn => self.packet_ins -= 1,
            Class::Other => self.others -= 1,
            Class::Reply => self.reply_bytes -= len,
            Class::Monitor => self.monitor_bytes -= len,
        }
        self.traffic.sent += 1;
        Some(output)
    }

    /// Whether so many answers wait that no more requests should be looked at.
    pub(in crate::pipeline) fn is_full(&self) -> bool {
        self.reply_bytes >= limits::REPLY_BYTES
    }

    pub(in crate::pipeline) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(in crate::pipeline) fn monitor_bytes(&self) -> usize {
        self.monitor_bytes
    }

    pub(in crate::pipeline) fn traffic(&self) -> Traffic {
        self.traffic
    }
}

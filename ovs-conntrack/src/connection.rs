//! A connection: what is kept of it, and what a packet does to it.

use ovs_packet::Instant;

use crate::config::TimeoutClass;
use crate::key::Key;
use crate::read::Content;
use crate::tcp::{self, Ends, Step};

/// How far a connection's protocol has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    Tcp(Ends),
    Icmp,
    Other,
}

/// What a packet means for the connection that it is of.
pub(crate) enum Meaning {
    /// It belongs to it, which from now lives as long as this class does.
    Of(TimeoutClass),
    /// It opens another connection in this one's place.
    Another,
}

/// What every packet of a connection reads: one cache line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    pub(crate) key: Key,
    pub(crate) deadline: Instant,
    pub(crate) mark: u32,
    pub(crate) progress: Progress,
    /// Whether the low end of the key began.
    pub(crate) began_low: bool,
    /// Whether the reply direction has answered.
    pub(crate) answered: bool,
    /// Whether there is a label that is not zero, to be looked for elsewhere.
    pub(crate) labelled: bool,
}

const _: () = assert!(size_of::<Connection>() <= 64);

impl Connection {
    /// The connection that a packet with this content opens, without a deadline yet, and the class that gives it one.
    ///
    /// `None` if such a packet opens none.
    pub(crate) fn open(key: Key, from_low: bool, content: Content) -> Option<(Connection, TimeoutClass)> {
        let (progress, class) = match content {
            Content::Tcp { flags } if tcp::opens(flags) => (Progress::Tcp(Ends::OPENING), TimeoutClass::TcpSynSent),
            Content::Query { asks: true } => (Progress::Icmp, TimeoutClass::IcmpFirst),
            Content::Other => (Progress::Other, TimeoutClass::UdpFirst),
            Content::Tcp { .. } | Content::Query { asks: false } | Content::Error => return None,
        };
        let connection = Connection {
            key,
            deadline: Instant::ZERO,
            mark: 0,
            progress,
            began_low: from_low,
            answered: false,
            labelled: false,
        };
        Some((connection, class))
    }

    /// Follows a packet of the connection.
    pub(crate) fn follow(&mut self, content: Content, reply: bool) -> Meaning {
        let class = match (&mut self.progress, content) {
            (Progress::Tcp(ends), Content::Tcp { flags }) => match ends.step(flags, reply, self.answered) {
                Step::GoesOn(class) => {
                    self.answered |= reply;
                    class
                }
                Step::OpensAgain(class) => class,
                Step::OpensAnother => return Meaning::Another,
            },
            (Progress::Icmp, _) => {
                self.answered |= reply;
                if self.answered { TimeoutClass::IcmpReply } else { TimeoutClass::IcmpFirst }
            }
            (Progress::Other, _) => {
                self.answered |= reply;
                if self.answered { TimeoutClass::UdpMultiple } else { TimeoutClass::UdpSingle }
            }
            // The key holds the protocol, so that a connection of TCP gets packets of TCP.
            (Progress::Tcp(_), _) => TimeoutClass::TcpSynSent,
        };
        Meaning::Of(class)
    }

    /// Whether the connection has outlived its last packet too long.
    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        self.deadline <= now
    }
}

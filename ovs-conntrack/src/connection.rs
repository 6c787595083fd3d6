//! A connection: what is kept of it, and what a packet does to it.

use ovs_packet::Instant;

use crate::config::TimeoutClass;
use crate::key::Key;
use crate::read::Content;
use crate::table::WindowsOf;
use crate::tcp::{self, Ends, Step, Windows};

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
    /// It is outside the connection's window.
    Outside,
}

/// What is true of a connection. Of what is kept elsewhere, the flag says that there is any.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Flags(u8);

impl Flags {
    /// The low end of the key began.
    pub(crate) const BEGAN_LOW: Flags = Flags(16);
    /// The reply direction has answered.
    pub(crate) const ANSWERED: Flags = Flags(32);
    /// A label that is not zero.
    pub(crate) const LABEL: Flags = Flags(1);
    /// A reply tuple that is not the original one reversed.
    pub(crate) const TRANSLATED: Flags = Flags(2);
    /// A helper.
    pub(crate) const HELPER: Flags = Flags(4);
    /// A connection that announced this one.
    pub(crate) const PARENT: Flags = Flags(8);

    /// Any of what is kept elsewhere.
    pub(crate) const ELSEWHERE: Flags = Flags(1 | 2 | 4 | 8);

    pub(crate) const fn has(self, other: Flags) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn set(&mut self, other: Flags, on: bool) {
        self.0 = if on { self.0 | other.0 } else { self.0 & !other.0 };
    }
}

/// What every packet of a connection reads: one cache line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    pub(crate) key: Key,
    pub(crate) deadline: Instant,
    pub(crate) mark: u32,
    /// The zone's generation when the connection was made: in a later one, it was flushed.
    pub(crate) generation: u32,
    /// Where the shard keeps what it knows of the zone.
    pub(crate) zone: u16,
    /// Where the shard keeps the connection's timeouts.
    pub(crate) policy: u16,
    pub(crate) progress: Progress,
    pub(crate) flags: Flags,
}

const _: () = assert!(size_of::<Connection>() <= 64);

impl Connection {
    /// The connection that a packet with this content opens, without a deadline, zone or policy yet, its windows if it
    /// has any, and the class that gives it a deadline.
    ///
    /// `None` if such a packet opens none.
    pub(crate) fn open(
        key: Key,
        from_low: bool,
        content: &Content,
    ) -> Option<(Connection, Option<Windows>, TimeoutClass)> {
        let (progress, windows, class) = match content {
            Content::Tcp(segment) if tcp::opens(segment.flags) => {
                (Progress::Tcp(Ends::OPENING), Some(Windows::open(segment)), TimeoutClass::TcpSynSent)
            }
            Content::Query { asks: true } => (Progress::Icmp, None, TimeoutClass::IcmpFirst),
            Content::Other => (Progress::Other, None, TimeoutClass::UdpFirst),
            Content::Tcp(_) | Content::Query { asks: false } | Content::Error => return None,
        };
        let connection = Connection {
            key,
            deadline: Instant::ZERO,
            mark: 0,
            generation: 0,
            zone: 0,
            policy: 0,
            progress,
            flags: if from_low { Flags::BEGAN_LOW } else { Flags::default() },
        };
        Some((connection, windows, class))
    }

    /// Whether a packet with this content could open a connection.
    pub(crate) const fn can_open(content: &Content) -> bool {
        match content {
            Content::Tcp(segment) => tcp::opens(segment.flags),
            Content::Query { asks } => *asks,
            Content::Other => true,
            Content::Error => false,
        }
    }

    /// Follows a packet of the connection. `windows` are fetched only for TCP.
    #[inline]
    pub(crate) fn follow(&mut self, windows: WindowsOf<'_>, content: &Content, reply: bool, liberal: bool) -> Meaning {
        let answered = self.answered();
        let class = match (&mut self.progress, content) {
            (Progress::Tcp(ends), Content::Tcp(segment)) => {
                let Some(windows) = windows.get() else { return Meaning::Outside };
                match ends.step(windows, segment, reply, answered, liberal) {
                    Step::GoesOn(class) => {
                        self.note(reply);
                        class
                    }
                    Step::OpensAgain(class) => class,
                    Step::OpensAnother => return Meaning::Another,
                    Step::Outside => return Meaning::Outside,
                }
            }
            (Progress::Icmp, _) => {
                self.note(reply);
                if self.answered() { TimeoutClass::IcmpReply } else { TimeoutClass::IcmpFirst }
            }
            (Progress::Other, _) => {
                self.note(reply);
                if self.answered() { TimeoutClass::UdpMultiple } else { TimeoutClass::UdpSingle }
            }
            // The key holds the protocol, so that a connection of TCP gets packets of TCP.
            (Progress::Tcp(_), _) => return Meaning::Outside,
        };
        Meaning::Of(class)
    }

    /// Whether the low end of the key began.
    pub(crate) const fn began_low(&self) -> bool {
        self.flags.has(Flags::BEGAN_LOW)
    }

    /// Whether the reply direction has answered.
    pub(crate) const fn answered(&self) -> bool {
        self.flags.has(Flags::ANSWERED)
    }

    fn note(&mut self, reply: bool) {
        if reply {
            self.flags.set(Flags::ANSWERED, true);
        }
    }

    /// Whether the connection has outlived its last packet too long.
    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        self.deadline <= now
    }
}

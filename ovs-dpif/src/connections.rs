//! What is asked of a datapath's connection tracking: dumps, flushes, limits, timeouts, fragments.
//!
//! [`Connections`] is the management side of the `ct` action, apart from [`Dpif`](crate::Dpif) since not every datapath
//! tracks, and since what tracks in the kernel is not the datapath's own. Every method has a default that says that the
//! datapath has no such thing; [`dump`](Connections::dump) and [`flush`](Connections::flush) are the least to implement.
//!
//! ```
//! use ovs_dpif::connections::Filter;
//! use ovs_dpif::userspace::Datapath;
//! use ovs_dpif::{CtRequest, DpAction, Dpif};
//! use ovs_packet::{Instant, Match, compose};
//!
//! let (mut dp, now) = (Datapath::new(), Instant::from_secs(1));
//! let m: Match = "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=1000,tp_dst=53".parse().unwrap();
//! let packet = compose::compose(m.key(), b"query");
//! dp.inject(packet, &[DpAction::Ct(CtRequest::commit(7))], now, &mut Vec::new());
//!
//! let tracker = dp.conntrack().expect("this one tracks");
//! let mut shown = Vec::new();
//! tracker.dump(Some(7), now, &mut |connection| shown.push(connection.text(false, false).to_string()))?;
//! assert_eq!(
//!     shown,
//!     ["udp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1000,dport=53),\
//!       reply=(src=10.0.0.2,dst=10.0.0.1,sport=53,dport=1000),zone=7"]
//! );
//! assert_eq!(tracker.flush(&Filter::default(), now)?, 1);
//! # Ok::<(), ovs_dpif::DpifError>(())
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use ovs_conntrack::fragment::{FragmentLimits, FragmentStats};
use ovs_conntrack::{ConnectionInfo, ExpectationInfo, ProtocolState, TcpState, Tuple};
pub use ovs_conntrack::{Filter, TupleFilter};
use ovs_packet::Instant;

use crate::dpif::DpifError;

/// A timeout policy: how many seconds connections live on, by what their last packets left them in, which has the names of
/// `CT_Timeout_Policy`.
pub type Seconds = BTreeMap<String, u32>;

pub(crate) const NO_SUCH_TIMEOUT: DpifError = DpifError::Unsupported("a timeout of this name");

/// Packets and bytes of one direction of a connection.
pub type Counters = (u64, u64);

/// A tracked connection, of whichever tracker.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Connection {
    /// Zone.
    pub zone: u16,
    /// Tuple of the packets that go with the first.
    pub original: Tuple,
    /// Tuple of the packets that come back.
    pub reply: Tuple,
    /// Tuple of the connection that announced this one.
    pub parent: Option<Tuple>,
    /// How far the protocol has come, in the words of upstream's dumps: one state, or one for each end.
    pub state: ConnectionState,
    /// Mark.
    pub mark: u32,
    /// Label.
    pub label: u128,
    /// How long it lives on without traffic.
    pub timeout: Duration,
    /// Name of the helper that reads it.
    pub helper: Option<String>,
    /// A number that tells it from an earlier one of the same tuple; 0 where there is none.
    pub id: u32,
    /// `IPS_*` bits of the kernel's tracker.
    pub status: u32,
    /// Packets and bytes both ways, where they are counted.
    pub counters: Option<(Counters, Counters)>,
}

/// How far the protocol of a [`Connection`] has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ConnectionState {
    /// The protocol has no states.
    None,
    /// One state for the connection.
    One(&'static str),
    /// A state for each end: who began, and the other.
    Ends(TcpState, TcpState),
}

impl Connection {
    /// A connection of which no more than this is known.
    pub fn new(zone: u16, original: Tuple, reply: Tuple) -> Connection {
        Connection {
            zone,
            original,
            reply,
            parent: None,
            state: ConnectionState::None,
            mark: 0,
            label: 0,
            timeout: Duration::ZERO,
            helper: None,
            id: 0,
            status: 0,
            counters: None,
        }
    }

    /// Whether `filter` means this connection.
    pub fn is_meant(&self, filter: &Filter) -> bool {
        filter.zone.is_none_or(|zone| zone == self.zone)
            && filter.mark.is_none_or(|(value, mask)| (self.mark ^ value) & mask == 0)
            && filter.label.is_none_or(|(value, mask)| (self.label ^ value) & mask == 0)
            && filter.original.matches(&self.original)
            && filter.reply.matches(&self.reply)
    }

    /// The connection as a line of `dump-conntrack`: with `more` all there is to say of it (`-m`), with `statistics`
    /// its counters and timeout (`-s`).
    pub fn text(&self, more: bool, statistics: bool) -> impl fmt::Display + '_ {
        ConnectionText { of: self, more, statistics }
    }

    /// The one state that stands for both ends, the later one, in the kernel module's terms.
    pub fn state_name(&self) -> Option<String> {
        match self.state {
            ConnectionState::None => None,
            ConnectionState::One(name) => Some(name.to_string()),
            ConnectionState::Ends(original, reply) => Some(match original.max(reply) {
                TcpState::FinWait2 => TcpState::TimeWait.to_string(),
                other => other.to_string(),
            }),
        }
    }
}

impl From<ConnectionInfo> for Connection {
    fn from(info: ConnectionInfo) -> Connection {
        Connection {
            parent: info.parent,
            state: match info.state {
                ProtocolState::Tcp { original, reply } => ConnectionState::Ends(original, reply),
                _ => ConnectionState::None,
            },
            mark: info.mark,
            label: info.label,
            timeout: info.timeout,
            helper: info.helper.map(|helper| helper.name().to_string()),
            ..Connection::new(info.zone, info.original, info.reply)
        }
    }
}

struct ConnectionText<'a> {
    of: &'a Connection,
    more: bool,
    statistics: bool,
}

/// An IP protocol by the name that upstream's dumps use, or by number.
pub fn protocol_name(proto: u8) -> String {
    let name = match proto {
        1 => "icmp",
        2 => "igmp",
        6 => "tcp",
        17 => "udp",
        33 => "dccp",
        58 => "icmpv6",
        132 => "sctp",
        136 => "udplite",
        other => return other.to_string(),
    };
    name.to_string()
}

/// The names of the status bits, from bit 0 on.
const STATUS: [&str; 15] = [
    "EXPECTED",
    "SEEN_REPLY",
    "ASSURED",
    "CONFIRMED",
    "SRC_NAT",
    "DST_NAT",
    "SEQ_ADJUST",
    "SRC_NAT_DONE",
    "DST_NAT_DONE",
    "DYING",
    "FIXED_TIMEOUT",
    "TEMPLATE",
    "UNTRACKED",
    "HELPER",
    "OFFLOAD",
];

impl fmt::Display for ConnectionText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = self.of;
        let counters = |f: &mut fmt::Formatter<'_>, pick: fn((Counters, Counters)) -> Counters| match c.counters {
            Some(both) if self.statistics => {
                let (packets, bytes) = pick(both);
                write!(f, ",packets={packets},bytes={bytes}")
            }
            _ => Ok(()),
        };
        write!(f, "{},orig=({}", protocol_name(c.original.proto), c.original)?;
        counters(f, |(original, _)| original)?;
        write!(f, "),reply=({}", c.reply)?;
        counters(f, |(_, reply)| reply)?;
        f.write_str(")")?;
        if self.more {
            write!(f, ",id={}", c.id)?;
        }
        if c.zone != 0 {
            write!(f, ",zone={}", c.zone)?;
        }
        if self.more {
            let set = STATUS.iter().enumerate().filter(|(bit, _)| c.status >> bit & 1 != 0);
            let names: Vec<_> = set.map(|(_, name)| *name).collect();
            write!(f, ",status={}", if names.is_empty() { "0".to_string() } else { names.join("|") })?;
        }
        if self.statistics {
            write!(f, ",timeout={}", c.timeout.as_secs())?;
        }
        if c.mark != 0 {
            write!(f, ",mark={}", c.mark)?;
        }
        if c.label != 0 {
            write!(f, ",labels={:#x}", c.label)?;
        }
        match (c.state, self.more) {
            (ConnectionState::Ends(original, reply), true) => {
                write!(f, ",protoinfo=(state_orig={original},state_reply={reply})")?;
            }
            _ => {
                if let Some(state) = c.state_name() {
                    write!(f, ",protoinfo=(state={state})")?;
                }
            }
        }
        if let Some(helper) = &c.helper {
            write!(f, ",helper={helper}")?;
        }
        match &c.parent {
            Some(parent) if self.more => write!(f, ",parent=({parent})"),
            _ => Ok(()),
        }
    }
}

/// The limit of a zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ZoneLimit {
    /// The zone.
    pub zone: u16,
    /// How many connections it may have; `None` for as many as there is room for.
    pub limit: Option<u32>,
    /// How many it has.
    pub count: u32,
}

/// The limits of zones.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct ZoneLimits {
    /// Of zones without one of their own; `None` if those have none.
    pub default: Option<u32>,
    /// Of zones.
    pub zones: Vec<ZoneLimit>,
}

/// Connection tracking of a datapath: see the [module](self).
pub trait Connections {
    /// Calls `f` with every connection, or those of a zone, in an order of the tracker's own.
    ///
    /// # Errors
    /// If a tracker outside the process cannot be asked.
    fn dump(&mut self, zone: Option<u16>, now: Instant, f: &mut dyn FnMut(Connection)) -> Result<(), DpifError>;

    /// Forgets the connections that `filter` means, and says how many.
    ///
    /// # Errors
    /// As [`dump`](Connections::dump).
    fn flush(&mut self, filter: &Filter, now: Instant) -> Result<usize, DpifError>;

    /// The connections that helpers expect.
    ///
    /// # Errors
    /// As [`dump`](Connections::dump).
    fn expectations(&mut self, _now: Instant) -> Result<Vec<ExpectationInfo>, DpifError> {
        Err(DpifError::Unsupported("a dump of expectations"))
    }

    /// How many connections there are, and may be.
    ///
    /// # Errors
    /// As [`dump`](Connections::dump).
    fn count(&mut self) -> Result<(u32, u32), DpifError> {
        Err(DpifError::Unsupported("a count of connections"))
    }

    /// Says how many connections there may be.
    ///
    /// # Errors
    /// If it is not for the datapath to say.
    fn set_max(&mut self, _max: u32) -> Result<(), DpifError> {
        Err(DpifError::Unsupported("a limit of all connections"))
    }

    /// How the connections lie in the buckets of a hash table: the bucket of each, and how many buckets there are.
    ///
    /// # Errors
    /// If it is no such table, or one that nobody can look into.
    fn buckets(&mut self) -> Result<(usize, Vec<usize>), DpifError> {
        Err(DpifError::Unsupported("buckets of connections"))
    }

    /// The limits of these zones, or of all zones that have one.
    ///
    /// # Errors
    /// As [`dump`](Connections::dump).
    fn limits(&mut self, _zones: &[u16]) -> Result<ZoneLimits, DpifError> {
        Err(DpifError::Unsupported("limits of zones"))
    }

    /// Limits a zone, or without one all zones that have no limit of their own; without a limit, forgets it.
    /// A limit of 0 is none, which is remembered where the tracker can.
    ///
    /// # Errors
    /// As [`dump`](Connections::dump).
    fn set_limit(&mut self, _zone: Option<u16>, _limit: Option<u32>) -> Result<(), DpifError> {
        Err(DpifError::Unsupported("limits of zones"))
    }

    /// What a timeout policy can have, by the keys of `CT_Timeout_Policy`.
    fn timeouts(&self) -> &'static [&'static str] {
        &[]
    }

    /// Makes timeout policy `id`, or changes it; without one, forgets it. Timeouts that it does not name are the tracker's
    /// own.
    ///
    /// # Errors
    /// If the tracker has no policies, or no [such timeouts](Connections::timeouts), or one of this number is in use.
    fn set_timeouts(&mut self, _id: u32, _policy: Option<&Seconds>) -> Result<(), DpifError> {
        Err(DpifError::Unsupported("timeout policies"))
    }

    /// Whether sequence numbers of TCP are checked.
    ///
    /// # Errors
    /// If it is not for the datapath to say.
    fn checks_tcp(&mut self) -> Result<bool, DpifError> {
        Err(DpifError::Unsupported("checks of TCP sequence numbers"))
    }

    /// Says whether sequence numbers of TCP are checked.
    ///
    /// # Errors
    /// As [`checks_tcp`](Connections::checks_tcp).
    fn set_checks_tcp(&mut self, _on: bool) -> Result<(), DpifError> {
        Err(DpifError::Unsupported("checks of TCP sequence numbers"))
    }

    /// How often connections that have ended give their room back. None is found after its end, whenever that is.
    ///
    /// # Errors
    /// If it is not for the datapath to say.
    fn sweep_interval(&mut self) -> Result<Duration, DpifError> {
        Err(DpifError::Unsupported("the sweep interval"))
    }

    /// Says how often they do.
    ///
    /// # Errors
    /// As [`sweep_interval`](Connections::sweep_interval).
    fn set_sweep_interval(&mut self, _interval: Duration) -> Result<(), DpifError> {
        Err(DpifError::Unsupported("the sweep interval"))
    }

    /// What may be held of fragments, and what was.
    ///
    /// # Errors
    /// If the datapath puts no fragments together, or not by itself.
    fn fragments(&mut self) -> Result<(FragmentLimits, FragmentStats), DpifError> {
        Err(DpifError::Unsupported("fragments"))
    }

    /// Says what may be held of fragments.
    ///
    /// # Errors
    /// As [`fragments`](Connections::fragments).
    fn set_fragment_limits(&mut self, _limits: FragmentLimits) -> Result<(), DpifError> {
        Err(DpifError::Unsupported("fragments"))
    }
}

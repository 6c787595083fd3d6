//! A connection as it is shown.

use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use crate::helper::Helper;
use crate::tcp::TcpState;
use crate::tuple::{ProtocolName, Tuple};

/// What is known of a connection.
///
/// Its text is a line of `ovs-appctl dpctl/dump-conntrack`:
///
/// ```
/// use ovs_conntrack::{Config, CtRequest, ProtocolState, TcpState, Tracker};
/// use ovs_packet::{FlowKey, Instant, Match, compose, extract};
///
/// let syn: Match = "tcp,nw_src=10.1.1.1,nw_dst=10.1.1.2,tp_src=2,tp_dst=3,tcp_flags=syn".parse().unwrap();
/// let mut packet = compose::compose(syn.key(), b"");
/// let mut key = FlowKey::ZERO;
/// extract::extract(&mut packet, &mut key);
/// let mut tracker = Tracker::new(Config::new(1));
/// tracker.track(&mut packet, &key, &CtRequest::commit(5).with_mark(7, !0), Instant::ZERO);
///
/// let info = tracker.dump(None, Instant::ZERO).next().unwrap();
/// assert_eq!(info.state, ProtocolState::Tcp { original: TcpState::SynSent, reply: TcpState::Closed });
/// assert_eq!(
///     info.to_string(),
///     "tcp,orig=(src=10.1.1.1,dst=10.1.1.2,sport=2,dport=3),reply=(src=10.1.1.2,dst=10.1.1.1,sport=3,dport=2),\
///      zone=5,mark=7,protoinfo=(state=SYN_SENT)"
/// );
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// Zone.
    pub zone: u16,
    /// Tuple of the packets that go with the first.
    pub original: Tuple,
    /// Tuple of the packets that come back.
    pub reply: Tuple,
    /// How far the protocol has come.
    pub state: ProtocolState,
    /// Whether anything came back.
    pub answered: bool,
    /// Mark.
    pub mark: u32,
    /// Label.
    pub label: u128,
    /// How long the connection lives on without traffic.
    pub timeout: Duration,
    /// The helper that reads its payload.
    pub helper: Option<Helper>,
    /// The original tuple of the connection that announced this one, if a helper expected it.
    pub parent: Option<Tuple>,
}

/// A connection that a helper expects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ExpectationInfo {
    /// Zone.
    pub zone: u16,
    /// What its first packet will have; the source port, which is not known, is 0.
    pub tuple: Tuple,
    /// Destination address and port behind the translation, the same as the tuple's if there is none.
    pub real: (IpAddr, u16),
    /// Original tuple of the connection that announced it.
    pub parent: Tuple,
    /// How long it is waited for.
    pub timeout: Duration,
}

/// How far the protocol of a connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ProtocolState {
    /// TCP: how far each end has come.
    Tcp {
        /// The end that began.
        original: TcpState,
        /// The other.
        reply: TcpState,
    },
    /// A protocol without states of its own.
    Stateless,
}

impl fmt::Display for ConnectionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},orig=({}),reply=({})", ProtocolName(self.original.proto), self.original, self.reply)?;
        if self.zone != 0 {
            write!(f, ",zone={}", self.zone)?;
        }
        if self.mark != 0 {
            write!(f, ",mark={}", self.mark)?;
        }
        if self.label != 0 {
            write!(f, ",labels={:#x}", self.label)?;
        }
        if let ProtocolState::Tcp { original, reply } = self.state {
            // One state for both ends, the later one, in the kernel module's terms.
            let state = match original.max(reply) {
                TcpState::FinWait2 => TcpState::TimeWait,
                other => other,
            };
            write!(f, ",protoinfo=(state={state})")?;
        }
        if let Some(helper) = self.helper {
            write!(f, ",helper={helper}")?;
        }
        Ok(())
    }
}

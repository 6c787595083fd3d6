//! What tracking a packet came to.

use core::fmt;

use ovs_packet::packet::CtState;

/// What [`Tracker::track`](crate::Tracker::track) found, in more detail than the packet's state bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// `+new`: the packet opens a connection, which was not asked to be stored.
    Unknown,
    /// `+new`: the packet opened a connection, which is stored now.
    Created,
    /// `+new`: the connection was to be stored, but the tracker or the zone is full.
    Refused,
    /// `+new`: the connection was to be stored, but no address and port of the range was free, or a translated
    /// connection has those of the packet.
    Untranslatable,
    /// `+new+rel`: the packet opens a connection that a helper expects; whether it is stored now.
    Expected {
        /// Whether it was asked to be stored, and is.
        created: bool,
    },
    /// `+new`: of a stored connection that was not answered yet.
    Unanswered,
    /// `+est`: of a stored connection that was answered, in the original direction.
    Established,
    /// `+est+rpl`: of a stored connection, in the reply direction.
    Reply,
    /// `+rel`: an ICMP error about a stored connection, sent to who began it if `reply` (`+rpl`).
    Related {
        /// Whether the error goes the way of the connection's replies.
        reply: bool,
    },
    /// `+inv`: nothing that could be tracked.
    Invalid(InvalidReason),
}

impl Outcome {
    /// The state bits that the packet got, [`TRACKED`](CtState::TRACKED) among them.
    ///
    /// It may have got more: [`SRC_NAT`](CtState::SRC_NAT) and [`DST_NAT`](CtState::DST_NAT) when it was translated,
    /// [`RELATED`](CtState::RELATED) when its connection was expected by a helper.
    pub const fn state(self) -> CtState {
        let state = match self {
            Outcome::Unknown | Outcome::Created | Outcome::Refused | Outcome::Untranslatable | Outcome::Unanswered => {
                CtState::NEW
            }
            Outcome::Expected { .. } => CtState::NEW.union(CtState::RELATED),
            Outcome::Established => CtState::ESTABLISHED,
            Outcome::Reply => CtState::ESTABLISHED.union(CtState::REPLY),
            Outcome::Related { reply: false } => CtState::RELATED,
            Outcome::Related { reply: true } => CtState::RELATED.union(CtState::REPLY),
            Outcome::Invalid(_) => CtState::INVALID,
        };
        state.union(CtState::TRACKED)
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])+ $name:ident = $text:expr;)+) => {
        /// Why a packet is `+inv`.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[non_exhaustive]
        pub enum InvalidReason {
            $($(#[$doc])+ $name,)+
        }

        impl InvalidReason {
            /// All reasons.
            pub const ALL: &'static [InvalidReason] = &[$(InvalidReason::$name),+];

            pub(crate) const COUNT: usize = Self::ALL.len();
        }

        impl fmt::Display for InvalidReason {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(InvalidReason::$name => $text,)+
                })
            }
        }
    };
}

reasons! {
    /// Neither IPv4 nor IPv6.
    NotIp = "not an IP packet";
    /// A fragment, the first or a later one: a datagram of which a part cannot be judged is not let through in part.
    Fragment = "a fragment";
    /// A network or transport header is cut short or contradicts itself.
    Malformed = "a header is cut short or contradicts itself";
    /// The IPv4 header's checksum is wrong.
    HeaderChecksum = "the IPv4 header's checksum is wrong";
    /// The transport checksum is wrong.
    Checksum = "a checksum is wrong";
    /// A port is 0.
    PortZero = "a port is 0";
    /// TCP flags that do not go together.
    TcpFlags = "TCP flags that do not go together";
    /// TCP sequence or acknowledgement numbers that are not of the connection.
    TcpWindow = "TCP sequence numbers outside the window";
    /// An ICMP message that is neither query, answer nor error, or a query with a code.
    IcmpType = "an ICMP message that is not tracked";
    /// An ICMP error about a packet that cannot be read, or that its receiver did not send.
    IcmpError = "an ICMP error about a packet that its receiver cannot have sent";
    /// An ICMP error about a connection that is not stored.
    Unrelated = "an ICMP error about no known connection";
    /// Of no stored connection, and nothing that opens one: a SYN-ACK, or an answer to an ICMP query.
    NotOpening = "an answer to nothing";
    /// The packet could not be translated as its connection asks.
    Untranslated = "a packet whose addresses cannot be translated";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_numbered_in_order() {
        assert!(InvalidReason::ALL.iter().enumerate().all(|(i, r)| *r as usize == i));
    }
}

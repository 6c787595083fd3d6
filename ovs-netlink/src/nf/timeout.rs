//! Timeout policies: when connections are forgotten.

use super::header::{NfHeader, message};
use crate::attr::typed::{Be16, Be32, Bytes, Text, U8, attributes};
use crate::attr::{Attributes, Typed};
use crate::error::{DecodeError, DecodeErrorKind, EncodeError};
use crate::message::{Flags, Message};

attributes! {
    /// An attribute of a policy: see [`TimeoutPolicy`].
    pub enum TimeoutAttr = "ctattr_timeout", "CTA_TIMEOUT_" {
        /// See [`TimeoutPolicy::name`].
        NAME = 1 => Name(&'a [u8] as Text),
        /// See [`TimeoutPolicy::ethertype`].
        L3PROTO = 2 => L3Proto(u16 as Be16),
        /// See [`TimeoutPolicy::protocol`].
        L4PROTO = 3 => L4Proto(u8 as U8),
        /// See [`TimeoutPolicy::seconds`]: attributes of a set that the protocol chooses.
        DATA = 4 => Data(&'a [u8] as Bytes),
        /// See [`TimeoutPolicy::users`].
        USE = 5 => Use(u32 as Be32),
    }
}

attributes! {
    /// Seconds, by the state of TCP.
    pub enum TimeoutTcpAttr = "ctattr_timeout_tcp", "CTA_TIMEOUT_TCP_" {
        /// A SYN was sent.
        SYN_SENT = 1 => SynSent(u32 as Be32),
        /// It was answered.
        SYN_RECV = 2 => SynRecv(u32 as Be32),
        /// There is a connection.
        ESTABLISHED = 3 => Established(u32 as Be32),
        /// One side sent a FIN.
        FIN_WAIT = 4 => FinWait(u32 as Be32),
        /// It was acknowledged.
        CLOSE_WAIT = 5 => CloseWait(u32 as Be32),
        /// The other side sent one, too.
        LAST_ACK = 6 => LastAck(u32 as Be32),
        /// All is acknowledged.
        TIME_WAIT = 7 => TimeWait(u32 as Be32),
        /// There was an RST.
        CLOSE = 8 => Close(u32 as Be32),
        /// Both sides sent a SYN.
        SYN_SENT2 = 9 => SynSent2(u32 as Be32),
        /// Packets are sent again and again.
        RETRANS = 10 => Retrans(u32 as Be32),
        /// Packets are not acknowledged.
        UNACK = 11 => Unack(u32 as Be32),
    }
}

attributes! {
    /// Seconds of UDP.
    pub enum TimeoutUdpAttr = "ctattr_timeout_udp", "CTA_TIMEOUT_UDP_" {
        /// There was no reply.
        UNREPLIED = 1 => Unreplied(u32 as Be32),
        /// There was one.
        REPLIED = 2 => Replied(u32 as Be32),
    }
}

attributes! {
    /// Seconds of GRE.
    pub enum TimeoutGreAttr = "ctattr_timeout_gre", "CTA_TIMEOUT_GRE_" {
        /// There was no reply.
        UNREPLIED = 1 => Unreplied(u32 as Be32),
        /// There was one.
        REPLIED = 2 => Replied(u32 as Be32),
    }
}

attributes! {
    /// Seconds, by the state of SCTP.
    pub enum TimeoutSctpAttr = "ctattr_timeout_sctp", "CTA_TIMEOUT_SCTP_" {
        /// Closed.
        CLOSED = 1 => Closed(u32 as Be32),
        /// An INIT was sent.
        COOKIE_WAIT = 2 => CookieWait(u32 as Be32),
        /// A COOKIE ECHO was sent.
        COOKIE_ECHOED = 3 => CookieEchoed(u32 as Be32),
        /// There is a connection.
        ESTABLISHED = 4 => Established(u32 as Be32),
        /// One side shuts it down.
        SHUTDOWN_SENT = 5 => ShutdownSent(u32 as Be32),
        /// The other side does.
        SHUTDOWN_RECD = 6 => ShutdownRecd(u32 as Be32),
        /// That was acknowledged.
        SHUTDOWN_ACK_SENT = 7 => ShutdownAckSent(u32 as Be32),
        /// A HEARTBEAT was sent.
        HEARTBEAT_SENT = 8 => HeartbeatSent(u32 as Be32),
        /// No longer used.
        HEARTBEAT_ACKED = 9 => HeartbeatAcked(u32 as Be32),
    }
}

attributes! {
    /// Seconds of a protocol without states: ICMP, ICMPv6, and all that the tracker does not know.
    pub enum TimeoutSingleAttr = "ctattr_timeout_icmp", "CTA_TIMEOUT_ICMP_" {
        /// The seconds.
        TIMEOUT = 1 => Timeout(u32 as Be32),
    }
}

/// When connections of a protocol are forgotten.
///
/// ```
/// use ovs_netlink::{Flags, Messages, nf::{TimeoutPolicy, TimeoutTcpAttr}};
///
/// let policy = TimeoutPolicy {
///     name: b"ovs_tp_1_tcp4".to_vec(),
///     ethertype: TimeoutPolicy::IPV4,
///     protocol: 6,
///     seconds: vec![(TimeoutTcpAttr::ESTABLISHED, 3600), (TimeoutTcpAttr::SYN_SENT, 30)],
///     users: None,
/// };
/// let mut bytes = Vec::new();
/// policy.encode_set(&mut bytes)?;
/// assert_eq!(TimeoutPolicy::decode(&Messages::new(&bytes).next().unwrap()?)?, policy);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TimeoutPolicy {
    /// The name: 1 to 31 bytes.
    pub name: Vec<u8>,
    /// [`IPV4`](TimeoutPolicy::IPV4) or [`IPV6`](TimeoutPolicy::IPV6).
    pub ethertype: u16,
    /// The protocol.
    pub protocol: u8,
    /// Numbers of the set that the protocol chooses ([`TimeoutTcpAttr`], [`TimeoutUdpAttr`], [`TimeoutGreAttr`],
    /// [`TimeoutSctpAttr`], [`TimeoutSingleAttr`]), each with its seconds; others stay as they are.
    pub seconds: Vec<(u16, u32)>,
    /// How many connections have it: in an answer.
    pub users: Option<u32>,
}

impl TimeoutPolicy {
    /// The longest name.
    pub const MAX_NAME: usize = 31;
    /// Connections over IPv4: the address family, as the kernel has it here.
    pub const IPV4: u16 = 2;
    /// Connections over IPv6.
    pub const IPV6: u16 = 10;
    /// More numbers than any set has.
    const MAX_NUMBERS: usize = 64;

    /// Appends the request to make the policy, or to change one of its name and protocol, to `buffer`.
    ///
    /// # Errors
    /// [`EncodeError::WrongSize`] for a name that is no name.
    pub fn encode_set(&self, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
        let flags = Flags::REQUEST | Flags::ACK | Flags::CREATE | Flags::REPLACE;
        self.encode(buffer, message::TIMEOUT_NEW, flags, true)
    }

    /// Appends the request to forget the policy to `buffer`. The kernel refuses with `EBUSY` while it has users.
    ///
    /// # Errors
    /// [`EncodeError::WrongSize`] for a name that is no name.
    pub fn encode_delete(name: &[u8], buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
        let policy = TimeoutPolicy { name: name.to_vec(), ..TimeoutPolicy::default() };
        policy.encode(buffer, message::TIMEOUT_DELETE, Flags::REQUEST | Flags::ACK, false)
    }

    /// Appends the request to show the policy of this name to `buffer`.
    ///
    /// # Errors
    /// [`EncodeError::WrongSize`] for a name that is no name.
    pub fn encode_get(name: &[u8], buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
        let policy = TimeoutPolicy { name: name.to_vec(), ..TimeoutPolicy::default() };
        policy.encode(buffer, message::TIMEOUT_GET, Flags::REQUEST | Flags::ACK, false)
    }

    /// Appends the request to show all policies to `buffer`.
    ///
    /// # Errors
    /// None in practice: the message is short.
    pub fn encode_dump(buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
        NfHeader::default().message(buffer, message::TIMEOUT_GET, Flags::REQUEST | Flags::DUMP, |_| Ok(()))
    }

    /// Appends the request to show what holds for connections of a protocol without a policy to `buffer`.
    ///
    /// # Errors
    /// None in practice: the message is short.
    pub fn encode_get_default(ethertype: u16, protocol: u8, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
        let flags = Flags::REQUEST | Flags::ACK;
        NfHeader::default().message(buffer, message::TIMEOUT_DEFAULT_GET, flags, |writer| {
            writer.put(TimeoutAttr::L3Proto(ethertype))?.put(TimeoutAttr::L4Proto(protocol)).map(drop)
        })
    }

    fn encode(&self, buffer: &mut Vec<u8>, kind: u16, flags: Flags, whole: bool) -> Result<(), EncodeError> {
        let TimeoutPolicy { name, ethertype, protocol, seconds, users } = self;
        if !(1..=TimeoutPolicy::MAX_NAME).contains(&name.len()) {
            return Err(EncodeError::WrongSize { attribute: TimeoutAttr::NAME, length: name.len() });
        }
        NfHeader::default().message(buffer, kind, flags, |writer| {
            writer.put(TimeoutAttr::Name(name))?;
            if whole {
                writer.put(TimeoutAttr::L3Proto(*ethertype))?.put(TimeoutAttr::L4Proto(*protocol))?;
                writer.nest(TimeoutAttr::DATA, |data| {
                    for (number, seconds) in seconds {
                        data.be32(*number, *seconds);
                    }
                    Ok(())
                })?;
            }
            users.map_or(Ok(()), |users| writer.put(TimeoutAttr::Use(users)).map(drop))
        })
    }

    /// Reads an answer. That for a default has no name.
    ///
    /// # Errors
    /// [`DecodeError`]; [`DecodeErrorKind::Missing`] without a protocol.
    pub fn decode(message: &Message<'_>) -> Result<TimeoutPolicy, DecodeError> {
        NfHeader::decode(message)?;
        let mut policy = TimeoutPolicy::default();
        let mut protocol = None;
        for attribute in message.attributes(NfHeader::SIZE)? {
            let attribute = attribute?;
            match TimeoutAttr::decode(&attribute)? {
                TimeoutAttr::Name(name) => policy.name = name.to_vec(),
                TimeoutAttr::L3Proto(ethertype) => policy.ethertype = ethertype,
                TimeoutAttr::L4Proto(number) => protocol = Some(number),
                TimeoutAttr::Data(_) => {
                    let numbers: Attributes<'_> = attribute.nested()?;
                    let numbers = numbers.take(TimeoutPolicy::MAX_NUMBERS).map(|number| {
                        let number = number?;
                        Ok((number.kind(), number.be32()?))
                    });
                    policy.seconds = numbers.collect::<Result<_, DecodeError>>()?;
                }
                TimeoutAttr::Use(users) => policy.users = Some(users),
                TimeoutAttr::Other(_) => {}
            }
        }
        let missing = DecodeErrorKind::Missing { attribute: TimeoutAttr::L4PROTO };
        policy.protocol = protocol.ok_or_else(|| DecodeError::new(message.offset(), missing))?;
        Ok(policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Messages;
    use proptest::prelude::*;

    #[test]
    fn names_have_1_to_31_bytes() {
        for (length, good) in [(0, false), (1, true), (31, true), (32, false)] {
            let name = vec![b'x'; length];
            assert_eq!(TimeoutPolicy::encode_delete(&name, &mut Vec::new()).is_ok(), good, "{length}");
        }
    }

    proptest! {
        #[test]
        fn decode_inverts_encode(
            name in prop::collection::vec(1u8.., 1..32),
            (ethertype, protocol, users) in any::<(u16, u8, Option<u32>)>(),
            seconds in prop::collection::vec((1u16..20, any::<u32>()), 0..12),
        ) {
            let policy = TimeoutPolicy { name, ethertype, protocol, seconds, users };
            let mut bytes = Vec::new();
            policy.encode_set(&mut bytes).unwrap();
            prop_assert_eq!(TimeoutPolicy::decode(&Messages::new(&bytes).next().unwrap().unwrap()), Ok(policy));
        }
    }
}

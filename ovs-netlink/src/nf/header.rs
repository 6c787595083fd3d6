//! What messages of netfilter have in common.

use crate::attr::Writer;
use crate::error::{DecodeError, EncodeError};
use crate::message::{Flags, Message};

/// The parts of netfilter (`NFNL_SUBSYS_*`): the upper byte of the type of a message.
pub mod subsystem {
    /// Connections.
    pub const CONNTRACK: u8 = 1;
    /// Connections that a helper waits for.
    pub const EXPECT: u8 = 2;
    /// Timeout policies.
    pub const TIMEOUT: u8 = 8;
}

/// Types of messages: the subsystem in the upper byte (`IPCTNL_MSG_*`).
pub mod message {
    use super::{message_type, subsystem};

    /// Make or change a connection; in an answer: a connection.
    pub const CONNECTION_NEW: u16 = message_type(subsystem::CONNTRACK, 0);
    /// Show a connection, or all.
    pub const CONNECTION_GET: u16 = message_type(subsystem::CONNTRACK, 1);
    /// Forget a connection, or all.
    pub const CONNECTION_DELETE: u16 = message_type(subsystem::CONNTRACK, 2);
    /// Show connections, and set their counters to zero.
    pub const CONNECTION_GET_ZERO: u16 = message_type(subsystem::CONNTRACK, 3);
    /// What each CPU counts.
    pub const CPU_STATS: u16 = message_type(subsystem::CONNTRACK, 4);
    /// How full the table is.
    pub const TABLE_STATS: u16 = message_type(subsystem::CONNTRACK, 5);
    /// Make an expectation; in an answer: an expectation.
    pub const EXPECT_NEW: u16 = message_type(subsystem::EXPECT, 0);
    /// Show an expectation, or all.
    pub const EXPECT_GET: u16 = message_type(subsystem::EXPECT, 1);
    /// Forget an expectation, or all.
    pub const EXPECT_DELETE: u16 = message_type(subsystem::EXPECT, 2);
    /// Make or change a timeout policy; in an answer: a policy.
    pub const TIMEOUT_NEW: u16 = message_type(subsystem::TIMEOUT, 0);
    /// Show a timeout policy, or all.
    pub const TIMEOUT_GET: u16 = message_type(subsystem::TIMEOUT, 1);
    /// Forget a timeout policy.
    pub const TIMEOUT_DELETE: u16 = message_type(subsystem::TIMEOUT, 2);
    /// Change what holds for connections without a policy.
    pub const TIMEOUT_DEFAULT_SET: u16 = message_type(subsystem::TIMEOUT, 3);
    /// Show what holds for connections without a policy.
    pub const TIMEOUT_DEFAULT_GET: u16 = message_type(subsystem::TIMEOUT, 4);
}

/// The type of a message: a subsystem, and a number in it.
pub const fn message_type(subsystem: u8, number: u8) -> u16 {
    u16::from_be_bytes([subsystem, number])
}

/// What follows the header of a message (`struct nfgenmsg`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NfHeader {
    /// The address family: 2 for IPv4, 10 for IPv6, 0 for any.
    pub family: u8,
    /// The version of netfilter's messages: 0.
    pub version: u8,
    /// What the subsystem makes of it.
    pub resource: u16,
}

impl NfHeader {
    /// The size of the header.
    pub const SIZE: usize = 4;
    /// IPv4.
    pub const IPV4: u8 = 2;
    /// IPv6.
    pub const IPV6: u8 = 10;

    /// The header at the start of the payload of `message`.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`](crate::DecodeErrorKind::Truncated).
    pub fn decode(message: &Message<'_>) -> Result<NfHeader, DecodeError> {
        let [family, version, r0, r1] = *message.fixed(0)?;
        Ok(NfHeader { family, version, resource: u16::from_be_bytes([r0, r1]) })
    }

    /// The bytes of the header.
    pub fn encode(&self) -> [u8; NfHeader::SIZE] {
        let [r0, r1] = self.resource.to_be_bytes();
        [self.family, self.version, r0, r1]
    }

    /// Appends a message of the type `kind` (see [`message`]) to `buffer`; `content` writes the attributes.
    ///
    /// # Errors
    /// What `content` fails with; `buffer` is then as it was.
    pub fn message(
        &self,
        buffer: &mut Vec<u8>,
        kind: u16,
        flags: Flags,
        content: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        Writer::message(buffer, kind, flags, |writer| {
            writer.raw(&self.encode());
            content(writer)
        })
    }
}

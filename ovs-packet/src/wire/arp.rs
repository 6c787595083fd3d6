//! ARP and RARP over Ethernet and IPv4 (RFC 826, RFC 903).
//!
//! ```text
//!   0  hardware 1: Ethernet      protocol 0x0800: IPv4
//!   4  hardware length 6         protocol length 4        operation
//!   8  sender hardware address (6), sender protocol address (4)
//!  18  target hardware address (6), target protocol address (4)
//! ```
//!
//! ARP of other hardware and other protocols has another layout, and is refused.

use core::fmt;
use core::net::Ipv4Addr;

use zerocopy::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Error, Wire, Writer, code_points, view};
use crate::addr::EthAddr;

/// The Ethertype of ARP.
pub const ETH_TYPE: u16 = 0x0806;
/// The Ethertype of RARP.
pub const ETH_TYPE_RARP: u16 = 0x8035;
/// The length of a message.
pub const LEN: usize = 28;

const NAME: &str = "ARP";

code_points! {
    /// What a message asks or says.
    Op: u16 {
        /// Who has the target protocol address?
        REQUEST = 1, "request";
        /// The sender has the sender protocol address.
        REPLY = 2, "reply";
        /// RARP: which protocol address has the target hardware address?
        RARP_REQUEST = 3, "RARP request";
        /// RARP: the target's protocol address.
        RARP_REPLY = 4, "RARP reply";
    }
}

/// A message in place.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct View {
    hardware: U16,
    protocol: U16,
    hardware_len: u8,
    protocol_len: u8,
    /// What it asks or says; see [`Op`].
    pub op: U16,
    /// Sender hardware address.
    pub sha: EthAddr,
    /// Sender protocol address.
    pub spa: [u8; 4],
    /// Target hardware address.
    pub tha: EthAddr,
    /// Target protocol address.
    pub tpa: [u8; 4],
}

const _: () = assert!(size_of::<View>() == LEN);

view!(sized View, NAME);

impl View {
    fn check(&self) -> Result<(), Error> {
        if self.hardware.get() != 1 {
            Err(Error::value("ARP hardware", 0, self.hardware.get()))
        } else if self.protocol.get() != 0x0800 {
            Err(Error::value("ARP protocol", 2, self.protocol.get()))
        } else if self.hardware_len != 6 {
            Err(Error::length("ARP hardware address", 4, self.hardware_len.into()))
        } else if self.protocol_len != 4 {
            Err(Error::length("ARP protocol address", 5, self.protocol_len.into()))
        } else {
            Ok(())
        }
    }
}

/// A message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Message {
    /// What it asks or says.
    pub op: Op,
    /// Sender hardware address.
    pub sha: EthAddr,
    /// Sender protocol address.
    pub spa: Ipv4Addr,
    /// Target hardware address; zero in a request.
    pub tha: EthAddr,
    /// Target protocol address.
    pub tpa: Ipv4Addr,
}

impl Message {
    /// The question of `sha`, which has the address `spa`, who has the address `tpa`.
    pub const fn request(sha: EthAddr, spa: Ipv4Addr, tpa: Ipv4Addr) -> Message {
        Message { op: Op::REQUEST, sha, spa, tha: EthAddr::ZERO, tpa }
    }

    /// The answer to a request from `address`, which has what it asks for.
    pub const fn reply(&self, address: EthAddr) -> Message {
        Message { op: Op::REPLY, sha: address, spa: self.tpa, tha: self.sha, tpa: self.spa }
    }
}

impl Wire for Message {
    fn parse(bytes: &[u8]) -> Result<Message, Error> {
        let View { op, sha, spa, tha, tpa, .. } = *View::new(bytes)?;
        Ok(Message { op: Op(op.get()), sha, spa: spa.into(), tha, tpa: tpa.into() })
    }

    fn len(&self) -> usize {
        LEN
    }

    fn emit(&self, out: &mut [u8]) -> Result<usize, Error> {
        let Message { op, sha, spa, tha, tpa } = *self;
        let view = View {
            hardware: 1.into(),
            protocol: 0x0800.into(),
            hardware_len: 6,
            protocol_len: 4,
            op: op.0.into(),
            sha,
            spa: spa.octets(),
            tha,
            tpa: tpa.octets(),
        };
        let mut w = Writer::new(NAME, out);
        w.put(view.as_bytes())?;
        Ok(w.position())
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Message { op, sha, spa, tha, tpa } = self;
        match *op {
            Op::REQUEST => write!(f, "ARP who has {tpa}? tell {spa} at {sha}"),
            Op::REPLY => write!(f, "ARP {spa} is at {sha}; to {tpa} at {tha}"),
            _ => write!(f, "ARP {op} from {spa} at {sha} to {tpa} at {tha}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::string::ToString;

    use super::*;
    use crate::wire::tests::{any_bytes, laws, no_prefix, refused};

    proptest! {
        #[test]
        fn messages_come_back(op: u16, hw: [[u8; 6]; 2], ip: [[u8; 4]; 2]) {
            let [spa, tpa] = ip.map(Ipv4Addr::from);
            laws(&Message { op: Op(op), sha: EthAddr(hw[0]), spa, tha: EthAddr(hw[1]), tpa });
        }

        #[test]
        fn any_bytes_end(mut bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            bytes.splice(0..0, [0, 1, 8, 0, 6, 4]);
            any_bytes::<Message>(&bytes);
        }

        /// etherparse agrees on every field.
        #[test]
        fn etherparse_agrees(op in 0u16..5, hw: [[u8; 6]; 2], ip: [[u8; 4]; 2]) {
            let [spa, tpa] = ip.map(Ipv4Addr::from);
            let bytes = laws(&Message { op: Op(op), sha: EthAddr(hw[0]), spa, tha: EthAddr(hw[1]), tpa });
            let other = etherparse::ArpPacketSlice::from_slice(&bytes).unwrap();
            prop_assert_eq!(other.operation().0, op);
            prop_assert_eq!((other.sender_hw_addr(), other.target_hw_addr()), (&hw[0][..], &hw[1][..]));
            prop_assert_eq!((other.sender_protocol_addr(), other.target_protocol_addr()), (&ip[0][..], &ip[1][..]));
        }
    }

    #[test]
    fn a_question_and_its_answer() {
        let question = Message::request(EthAddr::local(1), [10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let bytes = laws(&question);
        assert_eq!(bytes[..10], [0, 1, 8, 0, 6, 4, 0, 1, 2, 0]);
        no_prefix::<Message>(&bytes);
        assert_eq!(question.to_string(), "ARP who has 10.0.0.2? tell 10.0.0.1 at 02:00:00:00:00:01");
        let answer = question.reply(EthAddr::local(2));
        assert_eq!((answer.spa, answer.tpa, answer.tha), (question.tpa, question.spa, question.sha));
    }

    #[test]
    fn other_layouts_are_refused() {
        let good = Message::request(EthAddr::local(1), [10, 0, 0, 1].into(), [10, 0, 0, 2].into()).to_vec().unwrap();
        for (at, what) in
            [(1, "ARP hardware"), (3, "ARP protocol"), (4, "ARP hardware address"), (5, "ARP protocol address")]
        {
            let mut bytes = good.clone();
            bytes[at] ^= 2;
            assert_eq!(refused::<Message>(&bytes).what, what);
        }
    }
}

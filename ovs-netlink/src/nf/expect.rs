//! Expected connections: what a helper waits for.

use super::header::{NfHeader, message};
use super::tuple::{Tuple, TupleAttr};
use crate::attr::typed::{Be16, Be32, Nest, Nested, Text, attributes};
use crate::error::{DecodeError, DecodeErrorKind, EncodeError};
use crate::message::{Flags, Message};

attributes! {
    /// An attribute of an expectation.
    pub enum ExpectAttr = "ctattr_expect", "CTA_EXPECT_" {
        /// The connection whose helper waits.
        MASTER = 1 => Master(Nest<'a, TupleAttr<'a>> as Nested<TupleAttr<'static>>),
        /// What it waits for.
        TUPLE = 2 => Tuple(Nest<'a, TupleAttr<'a>> as Nested<TupleAttr<'static>>),
        /// Which parts of that are meant.
        MASK = 3 => Mask(Nest<'a, TupleAttr<'a>> as Nested<TupleAttr<'static>>),
        /// Seconds until it is forgotten.
        TIMEOUT = 4 => Timeout(u32 as Be32),
        /// A number that tells it from others.
        ID = 5 => Id(u32 as Be32),
        /// The name of the helper.
        HELP_NAME = 6 => HelpName(&'a [u8] as Text),
        /// The zone.
        ZONE = 7 => Zone(u16 as Be16),
        /// Flags (`NF_CT_EXPECT_*`).
        FLAGS = 8 => Flags(u32 as Be32),
        /// The class of the helper's.
        CLASS = 9 => Class(u32 as Be32),
        /// How it is translated.
        NAT = 10 => Nat(Nest<'a, ExpectNatAttr<'a>> as Nested<ExpectNatAttr<'static>>),
        /// The function of the helper's.
        FN = 11 => Fn(&'a [u8] as Text),
    }
}

attributes! {
    /// How an expected connection is translated.
    pub enum ExpectNatAttr = "ctattr_expect_nat", "CTA_EXPECT_NAT_" {
        /// The direction.
        DIR = 1 => Dir(u32 as Be32),
        /// The addresses.
        TUPLE = 2 => Tuple(Nest<'a, TupleAttr<'a>> as Nested<TupleAttr<'static>>),
    }
}

/// An expected connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expectation {
    /// The connection whose helper waits.
    pub master: Option<Tuple>,
    /// What it waits for.
    pub tuple: Tuple,
    /// Which parts of that are meant.
    pub mask: Option<Tuple>,
    /// The zone.
    pub zone: u16,
    /// Seconds until it is forgotten.
    pub timeout: Option<u32>,
    /// A number that tells it from others.
    pub id: Option<u32>,
    /// Flags (`NF_CT_EXPECT_*`).
    pub flags: u32,
    /// The name of the helper.
    pub helper: Option<Vec<u8>>,
}

impl Expectation {
    /// Appends the request for all to `buffer`.
    ///
    /// # Errors
    /// None in practice: the message is short.
    pub fn encode_dump(buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
        NfHeader::default().message(buffer, message::EXPECT_GET, Flags::REQUEST | Flags::DUMP, |_| Ok(()))
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// [`DecodeError`]; [`DecodeErrorKind::Missing`] without a tuple.
    pub fn decode(message: &Message<'_>) -> Result<Expectation, DecodeError> {
        NfHeader::decode(message)?;
        let (mut master, mut tuple, mut mask, mut helper) = (None, None, None, None);
        let (mut zone, mut timeout, mut id, mut flags) = (0, None, None, 0);
        for attribute in Nest::of(message, NfHeader::SIZE)? {
            match attribute? {
                ExpectAttr::Master(nest) => master = Some(Tuple::decode(ExpectAttr::MASTER, nest)?),
                ExpectAttr::Tuple(nest) => tuple = Some(Tuple::decode(ExpectAttr::TUPLE, nest)?),
                ExpectAttr::Mask(nest) => mask = Some(Tuple::decode(ExpectAttr::MASK, nest)?),
                ExpectAttr::Timeout(seconds) => timeout = Some(seconds),
                ExpectAttr::Id(number) => id = Some(number),
                ExpectAttr::HelpName(name) => helper = Some(name.to_vec()),
                ExpectAttr::Zone(number) => zone = number,
                ExpectAttr::Flags(bits) => flags = bits,
                ExpectAttr::Class(_) | ExpectAttr::Nat(_) | ExpectAttr::Fn(_) | ExpectAttr::Other(_) => {}
            }
        }
        let missing = || DecodeError::new(message.offset(), DecodeErrorKind::Missing { attribute: ExpectAttr::TUPLE });
        Ok(Expectation { master, tuple: tuple.ok_or_else(missing)?, mask, zone, timeout, id, flags, helper })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tuple::tests::any_tuple;
    use super::*;
    use crate::message::Messages;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_a_helper_waits_for_is_read(tuple in any_tuple(), master in any_tuple(), zone in any::<u16>()) {
            let mut bytes = Vec::new();
            NfHeader::default().message(&mut bytes, message::EXPECT_NEW, Flags::MULTI, |writer| {
                master.encode(ExpectAttr::MASTER, writer)?;
                tuple.encode(ExpectAttr::TUPLE, writer)?;
                writer.put(ExpectAttr::Zone(zone))?.put(ExpectAttr::HelpName(b"tftp"))?.put(ExpectAttr::Timeout(9))?;
                Ok(())
            }).unwrap();
            let read = Expectation::decode(&Messages::new(&bytes).next().unwrap().unwrap()).unwrap();
            prop_assert_eq!((read.tuple, read.master, read.zone), (tuple, Some(master), zone));
            prop_assert_eq!((read.helper.as_deref(), read.timeout), (Some(&b"tftp"[..]), Some(9)));
        }
    }
}

//! What a set of attributes is made of, as data.
//!
//! Every set that this crate knows has a [`Policy`], made from the same declaration as the type that reads and writes it
//! (see `attr/typed.rs`). It says what the kernel calls each attribute, which number it has and what its payload is, so
//! that a test can hold it against the kernel's own headers and specifications, and [`Policy::check`] can hold a message
//! against it, as the kernel would.

use super::reader::Attributes;
use super::structure::StructLayout;
use crate::error::{DecodeError, DecodeErrorKind};

/// A set of attributes: what may be in a message of a family, or in a nest.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// The kernel's name of the enumeration, as `ovs_key_attr`; empty where the kernel gives none.
    pub name: &'static str,
    /// What the kernel's names of the attributes begin with, as `OVS_KEY_ATTR_`.
    pub prefix: &'static str,
    /// The attributes.
    pub rules: &'static [Rule],
}

/// One attribute of a set.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Its number.
    pub number: u16,
    /// Its name without the prefix of the set, as `IN_PORT`.
    pub name: &'static str,
    /// What its payload is.
    pub ty: Type,
}

/// What the payload of an attribute is. Numbers are in the byte order of the machine, except those called `Be`.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Type {
    /// Nothing: that the attribute is there says it.
    Flag,
    /// 8 bits.
    U8,
    /// 16 bits.
    U16,
    /// 32 bits.
    U32,
    /// 32 bits, signed.
    I32,
    /// 64 bits.
    U64,
    /// 16 bits in network byte order.
    Be16,
    /// 32 bits in network byte order.
    Be32,
    /// 64 bits in network byte order.
    Be64,
    /// A string that ends with NUL.
    Text,
    /// Bytes, between so many and so many.
    Bytes(usize, usize),
    /// A structure.
    Struct(&'static StructLayout),
    /// A structure that newer kernels may make longer.
    Prefix(&'static StructLayout),
    /// Structures, one after the other.
    Structs(&'static StructLayout),
    /// Numbers of 32 bits, one after the other.
    Numbers,
    /// A value of this type and, right after it, a mask of the same.
    Masked(&'static Type),
    /// Attributes of this set.
    Nest(fn() -> &'static Policy),
    /// Nests of attributes of this set, in attributes whose numbers mean nothing.
    Nests(fn() -> &'static Policy),
}

impl Policy {
    /// The rule for the attribute of this number.
    pub fn rule(&self, number: u16) -> Option<&'static Rule> {
        self.rules.iter().find(|rule| rule.number == number)
    }

    /// Whether all attributes are of this set and their payloads are what they should be, those in nests too.
    ///
    /// Reading does not need this: readers check what they read, and skip what they do not know.
    ///
    /// # Errors
    /// The first thing that is wrong; [`DecodeErrorKind::Unknown`] for an attribute that the set does not have.
    ///
    /// ```
    /// use ovs_netlink::{Attributes, DecodeErrorKind, Writer, attr::Typed, ovs::Key};
    ///
    /// let mut buffer = Vec::new();
    /// Writer::new(&mut buffer).put(Key::InPort(1))?.u16(Key::PRIORITY, 2);
    /// let error = Key::policy().check(Attributes::new(&buffer, 0)).unwrap_err();
    /// assert_eq!(error.offset, 12);
    /// assert_eq!(error.kind, DecodeErrorKind::WrongSize { attribute: Key::PRIORITY, expected: 4, found: 2 });
    /// # Ok::<(), ovs_netlink::EncodeError>(())
    /// ```
    pub fn check(&self, attributes: Attributes<'_>) -> Result<(), DecodeError> {
        for attribute in attributes {
            let attribute = attribute?;
            let number = attribute.kind();
            let unknown = || attribute.error(DecodeErrorKind::Unknown { attribute: number });
            let rule = self.rule(number).ok_or_else(unknown)?;
            let found = attribute.payload().len();
            let wrong = |expected| attribute.error(DecodeErrorKind::WrongSize { attribute: number, expected, found });
            match rule.ty {
                Type::Text => attribute.str_bytes().map(drop)?,
                Type::Bytes(min, _) if found < min => return Err(wrong(min)),
                Type::Bytes(_, max) if found > max => return Err(wrong(max)),
                Type::Bytes(..) => {}
                Type::Prefix(layout) if found < layout.size => return Err(wrong(layout.size)),
                Type::Prefix(_) => {}
                Type::Structs(layout) if !found.is_multiple_of(layout.size) => return Err(wrong(layout.size)),
                Type::Structs(_) => {}
                Type::Numbers if !found.is_multiple_of(4) => return Err(wrong(4)),
                Type::Numbers => {}
                Type::Nest(policy) => policy().check(attribute.nested()?)?,
                Type::Nests(policy) => {
                    for inner in attribute.nested()? {
                        policy().check(inner?.nested()?)?;
                    }
                }
                fixed => match fixed.size() {
                    Some(size) if size != found => return Err(wrong(size)),
                    _ => {}
                },
            }
        }
        Ok(())
    }
}

impl Type {
    /// The bytes of the payload, where that is one number.
    pub fn size(&self) -> Option<usize> {
        match self {
            Type::Flag => Some(0),
            Type::U8 => Some(1),
            Type::U16 | Type::Be16 => Some(2),
            Type::U32 | Type::I32 | Type::Be32 => Some(4),
            Type::U64 | Type::Be64 => Some(8),
            Type::Struct(layout) => Some(layout.size),
            Type::Masked(inner) => inner.size().map(|size| size.saturating_mul(2)),
            Type::Bytes(min, max) if min == max => Some(*min),
            Type::Text | Type::Bytes(..) | Type::Prefix(_) | Type::Structs(_) | Type::Numbers => None,
            Type::Nest(_) | Type::Nests(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attr::{Typed, Writer};
    use crate::ovs::{Action, Key, SampleAttr};

    fn check(policy: &Policy, write: impl FnOnce(&mut Writer<'_>)) -> Result<(), DecodeError> {
        let mut buffer = Vec::new();
        write(&mut Writer::new(&mut buffer));
        policy.check(Attributes::new(&buffer, 0))
    }

    #[test]
    fn what_is_wrong_is_found_however_deep() {
        let deep = |probability: &'static [u8]| {
            check(Action::policy(), move |writer| {
                let sample = |sample: &mut Writer<'_>| sample.bytes(SampleAttr::PROBABILITY, probability).map(drop);
                writer.nest(Action::CLONE, |inner| inner.nest(Action::SAMPLE, sample).map(drop)).unwrap();
            })
        };
        assert_eq!(deep(&[0; 4]), Ok(()));
        let kind = DecodeErrorKind::WrongSize { attribute: SampleAttr::PROBABILITY, expected: 4, found: 3 };
        assert_eq!(deep(&[0; 3]), Err(DecodeError::new(12, kind)));
    }

    #[test]
    fn unknown_attributes_and_sizes() {
        let kind = |result: Result<(), DecodeError>| result.unwrap_err().kind;
        let key = |kind: u16, payload: &'static [u8]| {
            check(Key::policy(), move |writer| {
                writer.bytes(kind, payload).unwrap();
            })
        };
        assert_eq!(kind(key(99, &[])), DecodeErrorKind::Unknown { attribute: 99 });
        assert_eq!(key(Key::MPLS, &[0; 12]), Ok(()));
        assert_eq!(
            kind(key(Key::MPLS, &[0; 6])),
            DecodeErrorKind::WrongSize { attribute: Key::MPLS, expected: 4, found: 6 }
        );
        assert!(key(Key::CT_LABELS, &[0; 15]).is_err() && key(Key::CT_LABELS, &[0; 16]).is_ok());
        assert!(
            check(Action::policy(), |writer| {
                writer.flag(Action::POP_VLAN);
            })
            .is_ok()
        );
        assert!(
            check(Action::policy(), |writer| {
                writer.u8(Action::POP_VLAN, 0);
            })
            .is_err()
        );
    }
}

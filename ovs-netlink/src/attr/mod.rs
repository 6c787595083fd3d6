//! Attributes: type, length, payload, padded to 4 bytes (`linux/netlink.h`: `struct nlattr`).
//!
//! - [`Attributes`], [`Attribute`]: reading, borrowed and bounds-checked.
//! - [`Writer`]: writing, in one pass, into a buffer of the caller's.
//! - [`Typed`], [`Nest`]: sets of attributes whose types are known, read one by one as values.
//! - [`Policy`], [`Type`]: what a set is made of, as data: to check messages by, and to compare with the kernel's headers.

mod policy;
mod reader;
pub(crate) mod structure;
pub(crate) mod typed;
mod writer;

pub use policy::{Policy, Rule, Type};
pub use reader::{Attribute, Attributes};
pub use structure::{Part, StructLayout};
pub use typed::{Masked, Nest, NestIter, NestList, Numbers, Structs, Typed};
pub use writer::Writer;

/// The deepest nesting of attributes that is read or written.
///
/// The deepest that the openvswitch families need is the kernel's own limit on nested actions, 16, and what is in the
/// innermost of them.
pub const MAX_NESTING: u8 = 32;

/// Set in the type of an attribute whose payload is attributes (`NLA_F_NESTED`).
pub(crate) const NESTED: u16 = 1 << 15;
/// The bits of the type that are the type (`NLA_TYPE_MASK`): not nested, not `NLA_F_NET_BYTEORDER`.
pub(crate) const TYPE_MASK: u16 = 0x3fff;
/// The size of the header of an attribute.
pub(crate) const HEADER: usize = 4;

/// The bytes that follow `length` bytes up to a multiple of 4.
pub(crate) fn padding(length: usize) -> usize {
    length.wrapping_neg() & 3
}

//! Attributes: type, length, payload, padded to 4 bytes (`linux/netlink.h`: `struct nlattr`).
//!
//! - [`Attributes`], [`Attribute`]: reading, borrowed and bounds-checked.
//! - [`MessageBuilder`]: writing, in one pass.

mod builder;
mod reader;

pub use builder::MessageBuilder;
pub(crate) use builder::push_u64s;
pub use reader::{Attribute, Attributes};

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

//! Structures of the kernel's that are payloads of attributes.
//!
//! A structure is declared once, by [`structures!`]: the type with its fields as plain numbers and bytes, how they lie in
//! memory, and what the kernel calls them. All of them have their fields one after the other without gaps; only at the end
//! there may be padding, as a C compiler makes it, which is written as zeroes and not read.

use byteorder::{ByteOrder, NativeEndian};

/// How a structure lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StructLayout {
    /// The kernel's name of it.
    pub name: &'static str,
    /// Its bytes, padding included.
    pub size: usize,
    /// Its fields, in order, without gaps.
    pub parts: &'static [Part],
}

/// A field of a structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The kernel's name of it.
    pub name: &'static str,
    /// Its bytes.
    pub size: usize,
    /// What its offset must be a multiple of.
    pub align: usize,
    /// Whether it is a number in network byte order.
    pub big_endian: bool,
}

/// The bytes of a structure with these fields.
pub(crate) const fn size_of_parts(parts: &[Part]) -> usize {
    let (mut size, mut align, mut index) = (0_usize, 1_usize, 0_usize);
    while index < parts.len() {
        // In constants only, where a mistake does not compile.
        #[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "evaluated by the compiler")]
        {
            let part = &parts[index];
            assert!(size % part.align == 0, "a gap inside a structure");
            size += part.size;
            align = if part.align > align { part.align } else { align };
            index += 1;
        }
    }
    size.next_multiple_of(align)
}

/// How a field is read and written. Readers are given enough bytes: short ones read as zero.
pub(crate) trait Field {
    type Value;
    const SIZE: usize;
    const ALIGN: usize;
    const BIG_ENDIAN: bool = false;
    fn read(rest: &mut &[u8]) -> Self::Value;
    fn write(value: Self::Value, rest: &mut &mut [u8]);
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    match rest.split_first_chunk() {
        Some((head, tail)) => {
            *rest = tail;
            *head
        }
        None => [0; N],
    }
}

fn give<const N: usize>(bytes: [u8; N], rest: &mut &mut [u8]) {
    if let Some((head, tail)) = std::mem::take(rest).split_first_chunk_mut() {
        *head = bytes;
        *rest = tail;
    }
}

macro_rules! number_field {
    ($(#[$meta:meta] $name:ident($ty:ty) $big:literal: $read:expr, $write:expr;)+) => { $(
        #[$meta]
        pub(crate) struct $name;

        impl Field for $name {
            type Value = $ty;
            const SIZE: usize = size_of::<$ty>();
            const ALIGN: usize = align_of::<$ty>();
            const BIG_ENDIAN: bool = $big;
            fn read(rest: &mut &[u8]) -> $ty {
                $read(&take::<{ size_of::<$ty>() }>(rest))
            }
            fn write(value: $ty, rest: &mut &mut [u8]) {
                give($write(value), rest);
            }
        }
    )+ };
}

number_field! {
    /// 8 bits.
    U8(u8) false: |[byte]: &[u8; 1]| *byte, u8::to_ne_bytes;
    /// 16 bits.
    U16(u16) false: |bytes: &[u8; 2]| NativeEndian::read_u16(bytes), u16::to_ne_bytes;
    /// 32 bits.
    U32(u32) false: |bytes: &[u8; 4]| NativeEndian::read_u32(bytes), u32::to_ne_bytes;
    /// 32 bits, signed.
    I32(i32) false: |bytes: &[u8; 4]| NativeEndian::read_i32(bytes), i32::to_ne_bytes;
    /// 64 bits.
    U64(u64) false: |bytes: &[u8; 8]| NativeEndian::read_u64(bytes), u64::to_ne_bytes;
    /// 16 bits in network byte order.
    Be16(u16) true: |bytes: &[u8; 2]| u16::from_be_bytes(*bytes), u16::to_be_bytes;
    /// 32 bits in network byte order.
    Be32(u32) true: |bytes: &[u8; 4]| u32::from_be_bytes(*bytes), u32::to_be_bytes;
}

/// Bytes in the order in which they are on the wire, at an offset that is a multiple of `ALIGN`.
pub(crate) struct Octets<const N: usize, const ALIGN: usize = 1>;

impl<const N: usize, const ALIGN: usize> Field for Octets<N, ALIGN> {
    type Value = [u8; N];
    const SIZE: usize = N;
    const ALIGN: usize = ALIGN;
    fn read(rest: &mut &[u8]) -> [u8; N] {
        take(rest)
    }
    fn write(value: [u8; N], rest: &mut &mut [u8]) {
        give(value, rest);
    }
}

/// A structure that is a payload.
pub(crate) trait Structure: Copy {
    const LAYOUT: &'static StructLayout;
    /// Reads the fields from at least as many bytes as the structure has.
    fn read(bytes: &[u8]) -> Self;
    /// Appends the structure to `buffer`.
    fn append(&self, writer: &mut crate::Writer<'_>);
    /// Appends an attribute that is the structure.
    fn put(&self, kind: u16, writer: &mut crate::Writer<'_>);
}

/// Declares structures: see the head of this file.
macro_rules! structures {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident = $kernel:literal {
            $( $(#[$field_meta:meta])* $field:ident: $value:ty as $codec:ty = $kernel_field:literal, )+
        }
    )+) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $value, )+
        }

        impl $name {
            const PARTS: &'static [$crate::attr::Part] = &[$( $crate::attr::Part {
                name: $kernel_field,
                size: <$codec as $crate::attr::structure::Field>::SIZE,
                align: <$codec as $crate::attr::structure::Field>::ALIGN,
                big_endian: <$codec as $crate::attr::structure::Field>::BIG_ENDIAN,
            } ),+];
            /// The bytes of the structure, padding included.
            pub const SIZE: usize = $crate::attr::structure::size_of_parts(Self::PARTS);
            /// How the structure lies in memory.
            pub const LAYOUT: &'static $crate::attr::StructLayout =
                &$crate::attr::StructLayout { name: $kernel, size: Self::SIZE, parts: Self::PARTS };

            /// The structure in `bytes`.
            pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
                <Self as $crate::attr::structure::Structure>::read(bytes)
            }

            /// The bytes of the structure.
            pub fn to_bytes(&self) -> [u8; Self::SIZE] {
                let mut bytes = [0; Self::SIZE];
                let mut rest = bytes.as_mut_slice();
                let $name { $( $field ),+ } = *self;
                $( <$codec as $crate::attr::structure::Field>::write($field, &mut rest); )+
                let _ = rest;
                bytes
            }
        }

        impl $crate::attr::structure::Structure for $name {
            const LAYOUT: &'static $crate::attr::StructLayout = Self::LAYOUT;

            fn read(mut bytes: &[u8]) -> Self {
                let rest = &mut bytes;
                $name { $( $field: <$codec as $crate::attr::structure::Field>::read(rest), )+ }
            }

            fn append(&self, writer: &mut $crate::Writer<'_>) {
                writer.raw_exact(&self.to_bytes());
            }

            fn put(&self, kind: u16, writer: &mut $crate::Writer<'_>) {
                writer.fixed(kind, &self.to_bytes());
            }
        }
    )+ };
}

pub(crate) use structures;

#[cfg(test)]
mod tests {
    use crate::ovs::{KeyArp, KeyCtTupleIpv6};

    #[test]
    fn padding_comes_at_the_end_and_is_zero() {
        let arp = KeyArp { sip: [10, 0, 0, 1], tip: [10, 0, 0, 2], op: 0x0102, sha: [1; 6], tha: [2; 6] };
        let bytes = arp.to_bytes();
        assert_eq!(bytes.len(), 24);
        assert_eq!(bytes[..10], [10, 0, 0, 1, 10, 0, 0, 2, 1, 2]);
        assert_eq!(bytes[22..], [0, 0]);
        assert_eq!(KeyArp::from_bytes(&bytes), arp);
        assert_eq!(KeyCtTupleIpv6::SIZE, 40);
    }
}

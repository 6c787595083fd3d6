//! Sets of attributes whose types are known.
//!
//! A set is declared once, by [`attributes!`]: a variant, a number, a name and the type of the payload for each attribute.
//! From that come an enumeration whose values are attributes, the constants with their numbers, reading and writing, and
//! the [`Policy`]. Reading is lazy: a [`Nest`] is bytes until it is walked, and walking it allocates nothing.

use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;

use super::MAX_NESTING;
use super::policy::{Policy, Type};
use super::reader::{Attribute, Attributes};
use super::structure::Structure;
use super::writer::Writer;
use crate::error::{DecodeError, DecodeErrorKind, EncodeError};
use crate::message::Message;

/// An attribute of a set whose types are known: a value that can be read from one and written as one.
///
/// For any value `v` that was read, writing it and reading that gives `v`, also for attributes that the set does not know.
pub trait Typed<'a>: Copy + fmt::Debug {
    /// Reads an attribute. One that the set does not know is no error: it is kept as it is.
    ///
    /// # Errors
    /// [`DecodeErrorKind::WrongSize`] and the like, with the offset of the payload.
    fn decode(attribute: &Attribute<'a>) -> Result<Self, DecodeError>;

    /// Appends the attribute.
    ///
    /// # Errors
    /// [`EncodeError`] for what does not fit.
    fn encode(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError>;

    /// The number of the attribute.
    fn kind(&self) -> u16;

    /// The set.
    fn policy() -> &'static Policy;
}

impl Writer<'_> {
    /// Appends an attribute of a set.
    ///
    /// # Errors
    /// As [`Typed::encode`].
    pub fn put<'a>(&mut self, attribute: impl Typed<'a>) -> Result<&mut Self, EncodeError> {
        attribute.encode(self)?;
        Ok(self)
    }
}

/// Attributes of a set, as bytes: walked when they are wanted, copied as they are.
///
/// ```
/// use ovs_netlink::{Writer, attr::Nest, ovs::Key};
///
/// let mut buffer = Vec::new();
/// Writer::new(&mut buffer).put(Key::InPort(1))?.put(Key::Ethertype(0x0800))?;
/// let keys: Nest<'_, Key<'_>> = Nest::new(&buffer);
/// let read: Vec<Key<'_>> = keys.iter().collect::<Result<_, _>>()?;
/// assert_eq!(read, [Key::InPort(1), Key::Ethertype(0x0800)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Nest<'a, T> {
    payload: &'a [u8],
    offset: usize,
    depth: u8,
    set: PhantomData<fn() -> T>,
}

impl<'a, T: Typed<'a>> Nest<'a, T> {
    /// The attributes in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Nest<'a, T> {
        Nest { payload: bytes, offset: 0, depth: MAX_NESTING, set: PhantomData }
    }

    /// The attributes of a message, from byte `start` of its payload on.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`] when the payload ends before `start`.
    pub fn of(message: &Message<'a>, start: usize) -> Result<Nest<'a, T>, DecodeError> {
        let (payload, offset, depth) = message.attributes(start)?.into_parts();
        Ok(Nest { payload, offset, depth, set: PhantomData })
    }

    /// The bytes.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The offset of the bytes in the datagram that they were read from.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Whether there are no attributes.
    pub fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }

    /// The attributes as values, in order. Ends after the first error.
    pub fn iter(&self) -> NestIter<'a, T> {
        NestIter { attributes: self.attributes(), set: PhantomData }
    }

    /// The attributes as they are, in order.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::with_depth(self.payload, self.offset, self.depth)
    }
}

impl<T> Clone for Nest<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Nest<'_, T> {}

/// Nests are equal whose bytes are, wherever they lie.
impl<T> PartialEq for Nest<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.payload == other.payload
    }
}

impl<T> Eq for Nest<'_, T> {}

impl<'a, T: Typed<'a>> fmt::Debug for Nest<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, T: Typed<'a>> IntoIterator for Nest<'a, T> {
    type Item = Result<T, DecodeError>;
    type IntoIter = NestIter<'a, T>;

    fn into_iter(self) -> NestIter<'a, T> {
        self.iter()
    }
}

/// The walk over a [`Nest`].
#[derive(Debug, Clone)]
pub struct NestIter<'a, T> {
    attributes: Attributes<'a>,
    set: PhantomData<fn() -> T>,
}

impl<'a, T: Typed<'a>> Iterator for NestIter<'a, T> {
    type Item = Result<T, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let result = self.attributes.next()?.and_then(|attribute| T::decode(&attribute));
        if result.is_err() {
            self.attributes.end();
        }
        Some(result)
    }
}

impl<'a, T: Typed<'a>> FusedIterator for NestIter<'a, T> {}

/// A value and which of its bits are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Masked<T> {
    /// The value; the kernel refuses one with bits that the mask has not.
    pub value: T,
    /// The mask: bits that are 1 are meant.
    pub mask: T,
}

/// How the payload of an attribute is read and written.
pub(crate) trait Codec {
    type Value<'a>: Copy;
    const TYPE: Type;
    fn read<'a>(attribute: &Attribute<'a>) -> Result<Self::Value<'a>, DecodeError>;
    fn write(value: &Self::Value<'_>, kind: u16, writer: &mut Writer<'_>) -> Result<(), EncodeError>;
}

macro_rules! simple_codec {
    ($(#[$meta:meta] $name:ident($ty:ty) = $kind:expr, $read:ident, $write:ident;)+) => { $(
        #[$meta]
        pub(crate) struct $name;

        impl Codec for $name {
            type Value<'a> = $ty;
            const TYPE: Type = $kind;
            fn read<'a>(attribute: &Attribute<'a>) -> Result<$ty, DecodeError> {
                attribute.$read()
            }
            fn write(value: &$ty, kind: u16, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
                writer.$write(kind, *value);
                Ok(())
            }
        }
    )+ };
}

simple_codec! {
    /// 8 bits.
    U8(u8) = Type::U8, u8, u8;
    /// 16 bits.
    U16(u16) = Type::U16, u16, u16;
    /// 32 bits.
    U32(u32) = Type::U32, u32, u32;
    /// 32 bits, signed.
    I32(i32) = Type::I32, i32, i32;
    /// 64 bits.
    U64(u64) = Type::U64, u64, u64;
    /// 16 bits in network byte order.
    Be16(u16) = Type::Be16, be16, be16;
    /// 32 bits in network byte order.
    Be32(u32) = Type::Be32, be32, be32;
    /// 64 bits in network byte order.
    Be64(u64) = Type::Be64, be64, be64;
}

/// Nothing.
pub(crate) struct Flag;

impl Codec for Flag {
    type Value<'a> = ();
    const TYPE: Type = Type::Flag;
    fn read<'a>(attribute: &Attribute<'a>) -> Result<(), DecodeError> {
        attribute.array::<0>().map(drop)
    }
    fn write((): &(), kind: u16, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.flag(kind);
        Ok(())
    }
}

/// The bytes of a string that ends with NUL, without that: the kernel does not ask for UTF-8.
pub(crate) struct Text;

impl Codec for Text {
    type Value<'a> = &'a [u8];
    const TYPE: Type = Type::Text;
    fn read<'a>(attribute: &Attribute<'a>) -> Result<&'a [u8], DecodeError> {
        attribute.str_bytes()
    }
    fn write(value: &&[u8], kind: u16, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.text(kind, value).map(drop)
    }
}

/// Bytes, at least `MIN` and at most `MAX`.
pub(crate) struct Bytes<const MIN: usize = 0, const MAX: usize = { u16::MAX as usize }>;

impl<const MIN: usize, const MAX: usize> Codec for Bytes<MIN, MAX> {
    type Value<'a> = &'a [u8];
    const TYPE: Type = Type::Bytes(MIN, MAX);
    fn read<'a>(attribute: &Attribute<'a>) -> Result<&'a [u8], DecodeError> {
        let payload = attribute.payload();
        let wrong = |expected| {
            let (attribute_kind, found) = (attribute.kind(), payload.len());
            attribute.error(DecodeErrorKind::WrongSize { attribute: attribute_kind, expected, found })
        };
        match payload.len() {
            short if short < MIN => Err(wrong(MIN)),
            long if long > MAX => Err(wrong(MAX)),
            _ => Ok(payload),
        }
    }
    fn write(value: &&[u8], kind: u16, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        if !(MIN..=MAX).contains(&value.len()) {
            return Err(EncodeError::WrongSize { attribute: kind, length: value.len() });
        }
        writer.bytes(kind, value).map(drop)
    }
}

/// `N` bytes.
pub(crate) struct Array<const N: usize>;

impl<const N: usize> Codec for Array<N> {
    type Value<'a> = [u8; N];
    const TYPE: Type = Type::Bytes(N, N);
    fn read<'a>(attribute: &Attribute<'a>) -> Result<[u8; N], DecodeError> {
        attribute.array()
    }
    fn write(value: &[u8; N], kind: u16, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.fixed(kind, value);
        Ok(())
    }
}

fn wrong_size(attribute: &Attribute<'_>, expected: usize) -> DecodeError {
    let found = attribute.payload().len();
    attribute.error(DecodeErrorKind::WrongSize { attribute: attribute.kind(), expected, found })
}

/// A structure.
pub(crate) struct Struct<S>(PhantomData<S>);

impl<S: Structure> Codec for Struct<S> {
    type Value<'a> = S;
    const TYPE: Type = Type::Struct(S::LAYOUT);
    fn read<'a>(attribute: &Attribute<'a>) -> Result<S, DecodeError> {
        if attribute.payload().len() != S::LAYOUT.size {
            return Err(wrong_size(attribute, S::LAYOUT.size));
        }
        Ok(S::read(attribute.payload()))
    }
    fn write(value: &S, kind: u16, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        value.put(kind, writer);
        Ok(())
    }
}

/// A structure that newer kernels may make longer.
pub(crate) struct Prefix<S>(PhantomData<S>);

impl<S: Structure> Codec for Prefix<S> {
    type Value<'a> = S;
    const TYPE: Type = Type::Prefix(S::LAYOUT);
    fn read<'a>(attribute: &Attribute<'a>) -> Result<S, DecodeError> {
        if attribute.payload().len() < S::LAYOUT.size {
            return Err(wrong_size(attribute, S::LAYOUT.size));
        }
        Ok(S::read(attribute.payload()))
    }
    fn write(value: &S, kind: u16, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        value.put(kind, writer);
        Ok(())
    }
}

/// Structures, one after the other: an iterator, which is also what is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Structs<'a, S> {
    bytes: &'a [u8],
    structure: PhantomData<fn() -> S>,
}

impl<'a, S> Structs<'a, S> {
    /// The bytes.
    pub fn payload(&self) -> &'a [u8] {
        self.bytes
    }
}

#[allow(private_bounds, reason = "what can be in there is what this crate declares")]
impl<'a, S: Structure> Structs<'a, S> {
    /// The structures, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = S> + use<'a, S> {
        self.bytes.chunks_exact(S::LAYOUT.size).map(S::read)
    }
}

impl<S: Structure + fmt::Debug> fmt::Debug for Structs<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Structures, one after the other.
pub(crate) struct List<S>(PhantomData<S>);

impl<S: Structure> Codec for List<S> {
    type Value<'a> = Structs<'a, S>;
    const TYPE: Type = Type::Structs(S::LAYOUT);
    fn read<'a>(attribute: &Attribute<'a>) -> Result<Structs<'a, S>, DecodeError> {
        if !attribute.payload().len().is_multiple_of(S::LAYOUT.size) {
            return Err(wrong_size(attribute, S::LAYOUT.size));
        }
        Ok(Structs { bytes: attribute.payload(), structure: PhantomData })
    }
    fn write(value: &Structs<'_, S>, kind: u16, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.bytes(kind, value.bytes).map(drop)
    }
}

impl Writer<'_> {
    /// Appends structures, one after the other, as one attribute.
    ///
    /// # Errors
    /// [`EncodeError::AttributeTooLong`].
    #[allow(private_bounds, reason = "what can be in there is what this crate declares")]
    pub fn structs<S: Structure>(
        &mut self,
        kind: u16,
        structures: impl IntoIterator<Item = S>,
    ) -> Result<&mut Self, EncodeError> {
        self.attribute(kind, |writer| {
            structures.into_iter().for_each(|structure| structure.append(writer));
            Ok(())
        })
    }
}

/// Numbers of 32 bits, one after the other, as bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Numbers<'a> {
    bytes: &'a [u8],
}

impl<'a> Numbers<'a> {
    /// The numbers, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = u32> + use<'a> {
        self.bytes.as_chunks::<4>().0.iter().map(|bytes| u32::from_ne_bytes(*bytes))
    }
}

impl fmt::Debug for Numbers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Numbers of 32 bits, one after the other.
pub(crate) struct U32s;

impl Codec for U32s {
    type Value<'a> = Numbers<'a>;
    const TYPE: Type = Type::Numbers;
    fn read<'a>(attribute: &Attribute<'a>) -> Result<Numbers<'a>, DecodeError> {
        match attribute.payload().as_chunks::<4>() {
            (_, []) => Ok(Numbers { bytes: attribute.payload() }),
            _ => Err(wrong_size(attribute, 4)),
        }
    }
    fn write(value: &Numbers<'_>, kind: u16, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.bytes(kind, value.bytes).map(drop)
    }
}

/// A value and its mask, both as `C` has it.
pub(crate) struct Twice<C>(PhantomData<C>);

impl<S: Structure + 'static> Codec for Twice<Struct<S>> {
    type Value<'a> = Masked<S>;
    const TYPE: Type = Type::Masked(&Struct::<S>::TYPE);
    fn read<'a>(attribute: &Attribute<'a>) -> Result<Masked<S>, DecodeError> {
        let size = S::LAYOUT.size;
        match attribute.payload().split_at_checked(size) {
            Some((value, mask)) if mask.len() == size => Ok(Masked { value: S::read(value), mask: S::read(mask) }),
            _ => Err(wrong_size(attribute, size.saturating_mul(2))),
        }
    }
    fn write(value: &Masked<S>, kind: u16, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer
            .attribute(kind, |writer| {
                value.value.append(writer);
                value.mask.append(writer);
                Ok(())
            })
            .map(drop)
    }
}

macro_rules! masked_numbers {
    ($($codec:ident($ty:ty, $size:literal, $from:ident, $to:ident))+) => { $(
        impl Codec for Twice<$codec> {
            type Value<'a> = Masked<$ty>;
            const TYPE: Type = Type::Masked(&$codec::TYPE);
            fn read<'a>(attribute: &Attribute<'a>) -> Result<Masked<$ty>, DecodeError> {
                match attribute.payload().as_chunks::<$size>() {
                    ([value, mask], []) => Ok(Masked { value: <$ty>::$from(*value), mask: <$ty>::$from(*mask) }),
                    _ => Err(wrong_size(attribute, $size * 2)),
                }
            }
            fn write(value: &Masked<$ty>, kind: u16, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
                let mut bytes = [0; $size * 2];
                if let Some((head, tail)) = bytes.split_first_chunk_mut::<$size>() {
                    *head = value.value.$to();
                    tail.copy_from_slice(&value.mask.$to());
                }
                writer.fixed(kind, &bytes);
                Ok(())
            }
        }
    )+ };
}

masked_numbers! {
    U16(u16, 2, from_ne_bytes, to_ne_bytes)
    U32(u32, 4, from_ne_bytes, to_ne_bytes)
    Be16(u16, 2, from_be_bytes, to_be_bytes)
    Be32(u32, 4, from_be_bytes, to_be_bytes)
}

impl<const N: usize> Codec for Twice<Array<N>> {
    type Value<'a> = Masked<[u8; N]>;
    const TYPE: Type = Type::Masked(&Array::<N>::TYPE);
    fn read<'a>(attribute: &Attribute<'a>) -> Result<Masked<[u8; N]>, DecodeError> {
        match attribute.payload().as_chunks::<N>() {
            ([value, mask], []) => Ok(Masked { value: *value, mask: *mask }),
            _ => Err(wrong_size(attribute, N.saturating_mul(2))),
        }
    }
    fn write(value: &Masked<[u8; N]>, kind: u16, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.bytes(kind, [value.value, value.mask].as_flattened()).map(drop)
    }
}

/// Names a set without a lifetime: a set with `'static` stands for the same with any.
pub(crate) trait Family {
    type At<'a>: Typed<'a>;
}

fn policy_of<F: Family>() -> &'static Policy {
    <F::At<'static> as Typed<'static>>::policy()
}

/// Attributes of a set.
pub(crate) struct Nested<F>(PhantomData<F>);

impl<F: Family> Codec for Nested<F> {
    type Value<'a> = Nest<'a, F::At<'a>>;
    const TYPE: Type = Type::Nest(policy_of::<F>);
    fn read<'a>(attribute: &Attribute<'a>) -> Result<Self::Value<'a>, DecodeError> {
        let (payload, offset, depth) = attribute.nested()?.into_parts();
        Ok(Nest { payload, offset, depth, set: PhantomData })
    }
    fn write(value: &Self::Value<'_>, kind: u16, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer
            .nest(kind, |inner| {
                inner.raw_exact(value.payload);
                Ok(())
            })
            .map(drop)
    }
}

/// Nests, one after the other, in attributes whose numbers mean nothing.
#[derive(Clone, Copy)]
pub struct NestList<'a, T> {
    list: Nest<'a, T>,
}

impl<'a, T: Typed<'a>> NestList<'a, T> {
    /// The nests, in order. Ends after the first error.
    pub fn iter(&self) -> impl Iterator<Item = Result<Nest<'a, T>, DecodeError>> + use<'a, T> {
        self.list.attributes().map(|attribute| {
            let (payload, offset, depth) = attribute?.nested()?.into_parts();
            Ok(Nest { payload, offset, depth, set: PhantomData })
        })
    }
}

impl<T> PartialEq for NestList<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list
    }
}

impl<T> Eq for NestList<'_, T> {}

impl<'a, T: Typed<'a>> fmt::Debug for NestList<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Nests of attributes of a set, one after the other.
pub(crate) struct ListOf<F>(PhantomData<F>);

impl<F: Family> Codec for ListOf<F> {
    type Value<'a> = NestList<'a, F::At<'a>>;
    const TYPE: Type = Type::Nests(policy_of::<F>);
    fn read<'a>(attribute: &Attribute<'a>) -> Result<Self::Value<'a>, DecodeError> {
        Nested::<F>::read(attribute).map(|list| NestList { list })
    }
    fn write(value: &Self::Value<'_>, kind: u16, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        Nested::<F>::write(&value.list, kind, writer)
    }
}

/// Gives a value back: names the variant's codec in a place where a macro must name something of the variant.
pub(crate) fn keep<C: Codec>(value: C::Value<'_>) -> C::Value<'_> {
    value
}

macro_rules! codec_or_flag {
    () => {
        $crate::attr::typed::Flag
    };
    ($codec:ty) => {
        $codec
    };
}

macro_rules! binding {
    ($name:ident $codec:ty) => {
        $name
    };
}

macro_rules! value_or_unit {
    () => {
        &()
    };
    ($name:ident $codec:ty) => {
        $name
    };
}

/// Declares a set: see the head of this file.
macro_rules! attributes {
    (
        $(#[$meta:meta])*
        pub enum $name:ident = $kernel:literal, $prefix:literal {
            $( $(#[$variant_meta:meta])* $CONST:ident = $number:literal => $variant:ident
               $( ( $value:ty as $codec:ty ) )?, )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $name<'a> {
            $( $(#[$variant_meta])* $variant $( ($value) )?, )+
            /// An attribute that this crate does not know.
            Other($crate::Attribute<'a>),
        }

        impl $name<'_> {
            $(
                #[doc = concat!("The number of [`", stringify!($name), "::", stringify!($variant), "`].")]
                pub const $CONST: u16 = $number;
            )+
        }

        impl<'a> $crate::attr::Typed<'a> for $name<'a> {
            #[allow(clippy::let_unit_value, reason = "a flag has the value of an empty tuple")]
            fn decode(attribute: &$crate::Attribute<'a>) -> Result<Self, $crate::DecodeError> {
                Ok(match attribute.kind() {
                    $( $number => {
                        let value =
                            <$crate::attr::typed::codec_or_flag!($($codec)?) as $crate::attr::typed::Codec>::read(attribute)?;
                        let _ = value;
                        $name::$variant $( ($crate::attr::typed::keep::<$codec>(value)) )?
                    } )+
                    _ => $name::Other(*attribute),
                })
            }

            fn encode(&self, writer: &mut $crate::Writer<'_>) -> Result<(), $crate::EncodeError> {
                match self {
                    $( $name::$variant $( ($crate::attr::typed::binding!(value $codec)) )? =>
                        <$crate::attr::typed::codec_or_flag!($($codec)?) as $crate::attr::typed::Codec>::write(
                            $crate::attr::typed::value_or_unit!($(value $codec)?), $number, writer,
                        ), )+
                    $name::Other(attribute) => writer.copy(attribute).map(drop),
                }
            }

            fn kind(&self) -> u16 {
                match self {
                    $( $name::$variant $( ($crate::attr::typed::binding!(_value $codec)) )? => $number, )+
                    $name::Other(attribute) => attribute.kind(),
                }
            }

            fn policy() -> &'static $crate::attr::Policy {
                static POLICY: $crate::attr::Policy = $crate::attr::Policy {
                    name: $kernel,
                    prefix: $prefix,
                    rules: &[$( $crate::attr::Rule {
                        number: $number,
                        name: stringify!($CONST),
                        ty: <$crate::attr::typed::codec_or_flag!($($codec)?) as $crate::attr::typed::Codec>::TYPE,
                    } ),+],
                };
                &POLICY
            }
        }

        impl $crate::attr::typed::Family for $name<'static> {
            type At<'a> = $name<'a>;
        }
    };
}

pub(crate) use {attributes, binding, codec_or_flag, value_or_unit};

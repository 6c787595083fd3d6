//! Forms: how a member stands in JSON where its type alone does not tell.
//!
//! A member is annotated with `As::<Form>`; forms are made of forms, as types are of types: `Option<Seconds>` is the
//! form of an optional pair of seconds and nanoseconds. [`Hex`] is for bytes and for numbers of many bits, [`Named`] for
//! one number of a table of names, [`Flags`] for the bits of one, [`Bits`] for bits without names, [`Record`] for what
//! stands side by side.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use ovs_packet::field::{FieldId, Value};
use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) use super::names::*;
use super::{Document, VersionName};
use crate::action::{Observation, Subfield};
use crate::codec::{Kind, Message, MessageKind, Versions};

/// How a `T` is written and read.
pub(crate) trait Form<T> {
    fn write<S: Serializer>(value: &T, s: S) -> Result<S::Ok, S::Error>;
    fn read<'de, D: Deserializer<'de>>(d: D) -> Result<T, D::Error>;
}

/// The functions that an annotation names.
pub(crate) struct As<F>(PhantomData<F>);

impl<F> As<F> {
    pub(crate) fn serialize<T, S: Serializer>(value: &T, s: S) -> Result<S::Ok, S::Error>
    where
        F: Form<T>,
    {
        F::write(value, s)
    }

    pub(crate) fn deserialize<'de, T, D: Deserializer<'de>>(d: D) -> Result<T, D::Error>
    where
        F: Form<T>,
    {
        F::read(d)
    }
}

/// A value that is written in a form.
struct In<'a, T, F>(&'a T, PhantomData<F>);

impl<T, F: Form<T>> Serialize for In<'_, T, F> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        F::write(self.0, s)
    }
}

/// A value that was read from a form.
struct Got<T, F>(T, PhantomData<F>);

impl<'de, T, F: Form<T>> Deserialize<'de> for Got<T, F> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        F::read(d).map(|value| Got(value, PhantomData))
    }
}

/// As the type has it.
pub(crate) struct Own;

impl<T: Serialize + for<'de> Deserialize<'de>> Form<T> for Own {
    fn write<S: Serializer>(value: &T, s: S) -> Result<S::Ok, S::Error> {
        value.serialize(s)
    }

    fn read<'de, D: Deserializer<'de>>(d: D) -> Result<T, D::Error> {
        T::deserialize(d)
    }
}

impl<T, F: Form<T>> Form<Option<T>> for Option<F> {
    fn write<S: Serializer>(value: &Option<T>, s: S) -> Result<S::Ok, S::Error> {
        value.as_ref().map(|v| In::<T, F>(v, PhantomData)).serialize(s)
    }

    fn read<'de, D: Deserializer<'de>>(d: D) -> Result<Option<T>, D::Error> {
        Ok(Option::<Got<T, F>>::deserialize(d)?.map(|v| v.0))
    }
}

impl<T, F: Form<T>> Form<Vec<T>> for Vec<F> {
    fn write<S: Serializer>(value: &Vec<T>, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(value.iter().map(|v| In::<T, F>(v, PhantomData)))
    }

    fn read<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<T>, D::Error> {
        Ok(Vec::<Got<T, F>>::deserialize(d)?.into_iter().map(|v| v.0).collect())
    }
}

/// Digits in hexadecimal: two a byte for bytes; with `0x` for a number, which may be read from a number too.
pub(crate) struct Hex;

impl Form<Vec<u8>> for Hex {
    fn write<S: Serializer>(value: &Vec<u8>, s: S) -> Result<S::Ok, S::Error> {
        struct Digits<'a>(&'a [u8]);

        impl fmt::Display for Digits<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }

        s.collect_str(&Digits(value))
    }

    fn read<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(d)?;
        bytes_of(&text).ok_or_else(|| D::Error::custom("expected an even number of hexadecimal digits"))
    }
}

pub(crate) fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    rest.is_empty().then(|| bytes.collect()).flatten()
}

macro_rules! hex_numbers {
    ($($number:ty)+) => {
        $(impl Form<$number> for Hex {
            fn write<S: Serializer>(value: &$number, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(&format_args!("{value:#x}"))
            }

            fn read<'de, D: Deserializer<'de>>(d: D) -> Result<$number, D::Error> {
                let number = Number::deserialize(d)?.value();
                let number = number.and_then(|n| <$number>::try_from(n).ok());
                number.ok_or_else(|| D::Error::custom(concat!("expected a number that fits ", stringify!($number))))
            }
        })+
    };
}

hex_numbers! { u16 u32 u64 u128 }

/// A number, or one in words.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(u64),
    Text(String),
}

impl Number {
    fn value(&self) -> Option<u128> {
        match self {
            Number::Number(n) => Some(u128::from(*n)),
            Number::Text(text) => ovs_packet::text::number(text),
        }
    }
}

/// One of a table of names; a number that has none stays a number.
pub(crate) struct Named<N>(PhantomData<N>);

impl<T: Copy + Into<u32> + TryFrom<u32>, N: Table> Form<T> for Named<N> {
    fn write<S: Serializer>(value: &T, s: S) -> Result<S::Ok, S::Error> {
        let number: u32 = (*value).into();
        match N::NAMES.iter().find(|(n, _)| *n == number) {
            Some((_, name)) => s.serialize_str(name),
            None => s.serialize_u32(number),
        }
    }

    fn read<'de, D: Deserializer<'de>>(d: D) -> Result<T, D::Error> {
        let said = Number::deserialize(d)?;
        let named = match &said {
            Number::Text(text) => N::NAMES.iter().find(|(_, name)| name == text).map(|(n, _)| *n),
            Number::Number(_) => None,
        };
        let number = named.or_else(|| said.value().and_then(|n| u32::try_from(n).ok()));
        number.and_then(|n| T::try_from(n).ok()).ok_or_else(|| D::Error::custom(Expected::<N>(PhantomData)))
    }
}

/// What a table would have taken.
struct Expected<N>(PhantomData<N>);

impl<N: Table> fmt::Display for Expected<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a number that fits, or one of")?;
        N::NAMES.iter().enumerate().try_for_each(|(n, (_, name))| write!(f, "{} {name}", if n == 0 { "" } else { "," }))
    }
}

/// The bits of a table of names in a list; those that have none stand last, as a number in hexadecimal.
pub(crate) struct Flags<N>(PhantomData<N>);

impl<T: Copy + Into<u32> + TryFrom<u32>, N: Table> Form<T> for Flags<N> {
    fn write<S: Serializer>(value: &T, s: S) -> Result<S::Ok, S::Error> {
        let bits: u32 = (*value).into();
        let set = N::NAMES.iter().filter(|(bit, _)| bits & bit != 0);
        let left = N::NAMES.iter().fold(bits, |left, (bit, _)| left & !bit);
        let rest = (left != 0).then(|| format!("{left:#x}"));
        s.collect_seq(set.map(|(_, name)| *name).chain(rest.as_deref()))
    }

    fn read<'de, D: Deserializer<'de>>(d: D) -> Result<T, D::Error> {
        let bit = |name: &String| match N::NAMES.iter().find(|(_, n)| n == name) {
            Some((bit, _)) => Some(*bit),
            None => ovs_packet::text::number(name).and_then(|n| u32::try_from(n).ok()),
        };
        let names = Vec::<String>::deserialize(d)?;
        let bits = names.iter().try_fold(0, |all, name| Some(all | bit(name)?));
        bits.and_then(|b| T::try_from(b).ok()).ok_or_else(|| D::Error::custom(Expected::<N>(PhantomData)))
    }
}

/// The names of a set of flags that knows them, in a list.
pub(crate) struct Set;

impl<T: bitflags::Flags<Bits: Into<u64> + TryFrom<u64>>> Form<T> for Set {
    fn write<S: Serializer>(value: &T, s: S) -> Result<S::Ok, S::Error> {
        let mut left: u64 = value.bits().into();
        let mut names = Vec::new();
        for flag in T::FLAGS.iter().filter(|f| f.is_named()) {
            let bits: u64 = flag.value().bits().into();
            if left & bits == bits && bits != 0 {
                names.push(flag.name().to_ascii_lowercase());
                left &= !bits;
            }
        }
        if left != 0 {
            names.push(format!("{left:#x}"));
        }
        names.serialize(s)
    }

    fn read<'de, D: Deserializer<'de>>(d: D) -> Result<T, D::Error> {
        let mut bits = 0u64;
        for name in Vec::<String>::deserialize(d)? {
            let known = T::FLAGS.iter().find(|f| f.is_named() && f.name().eq_ignore_ascii_case(&name));
            let bit = match known {
                Some(flag) => Some(flag.value().bits().into()),
                None => ovs_packet::text::number(&name).and_then(|n| u64::try_from(n).ok()),
            };
            bits |= bit.ok_or_else(|| D::Error::custom(format_args!("{name} is no flag")))?;
        }
        let flags = T::Bits::try_from(bits).ok().and_then(T::from_bits);
        flags.ok_or_else(|| D::Error::custom(format_args!("{bits:#x} has flags that are not known")))
    }
}

/// The numbers of the bits that are set, in a list, ascending.
pub(crate) struct Bits;

impl Form<u32> for Bits {
    fn write<S: Serializer>(value: &u32, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq((0..32u32).filter(|bit| value & 1u32.checked_shl(*bit).unwrap_or(0) != 0))
    }

    fn read<'de, D: Deserializer<'de>>(d: D) -> Result<u32, D::Error> {
        let bits = Vec::<u32>::deserialize(d)?;
        let all = bits.iter().try_fold(0, |all, bit| Some(all | 1u32.checked_shl(*bit)?));
        all.ok_or_else(|| D::Error::custom("expected numbers of bits below 32"))
    }
}

/// Several of one type side by side, under the names of a table, which stand there in order. One of a form that is
/// null is as good as absent.
pub(crate) struct Record<N, F = Own>(PhantomData<(N, F)>);

impl<N: Table, F> Record<N, F> {
    fn write_all<'a, T: 'a, S: Serializer>(parts: impl Iterator<Item = &'a T>, s: S) -> Result<S::Ok, S::Error>
    where
        F: Form<T>,
    {
        let mut map = s.serialize_map(Some(N::NAMES.len()))?;
        for ((_, name), part) in N::NAMES.iter().zip(parts) {
            map.serialize_entry(name, &In::<T, F>(part, PhantomData))?;
        }
        map.end()
    }

    fn read_all<'de, T, D: Deserializer<'de>, const COUNT: usize>(d: D) -> Result<[T; COUNT], D::Error>
    where
        F: Form<T>,
    {
        let mut parts = BTreeMap::<String, Got<T, F>>::deserialize(d)?;
        let mut found = Vec::with_capacity(COUNT);
        for (_, name) in N::NAMES {
            let part = parts.remove(*name).ok_or_else(|| D::Error::missing_field(name))?;
            found.push(part.0);
        }
        match parts.into_keys().next() {
            Some(name) => Err(D::Error::custom(format_args!("{name} is not known here"))),
            None => <[T; COUNT]>::try_from(found).map_err(|_| D::Error::custom("another number of parts")),
        }
    }
}

impl<T, N: Table, F: Form<T>, const COUNT: usize> Form<[T; COUNT]> for Record<N, F> {
    fn write<S: Serializer>(value: &[T; COUNT], s: S) -> Result<S::Ok, S::Error> {
        Self::write_all(value.iter(), s)
    }

    fn read<'de, D: Deserializer<'de>>(d: D) -> Result<[T; COUNT], D::Error> {
        Self::read_all(d)
    }
}

impl<T, N: Table, F: Form<T>> Form<(T, T)> for Record<N, F> {
    fn write<S: Serializer>((a, b): &(T, T), s: S) -> Result<S::Ok, S::Error> {
        Self::write_all([a, b].into_iter(), s)
    }

    fn read<'de, D: Deserializer<'de>>(d: D) -> Result<(T, T), D::Error> {
        Self::read_all::<T, D, 2>(d).map(|[a, b]| (a, b))
    }
}

impl<T, N: Table, F: Form<T>> Form<(T, T, T)> for Record<N, F> {
    fn write<S: Serializer>((a, b, c): &(T, T, T), s: S) -> Result<S::Ok, S::Error> {
        Self::write_all([a, b, c].into_iter(), s)
    }

    fn read<'de, D: Deserializer<'de>>(d: D) -> Result<(T, T, T), D::Error> {
        Self::read_all::<T, D, 3>(d).map(|[a, b, c]| (a, b, c))
    }
}

/// A counter; null for one that is not kept, which is all ones.
pub(crate) struct Counter;

impl Form<u64> for Counter {
    fn write<S: Serializer>(value: &u64, s: S) -> Result<S::Ok, S::Error> {
        Some(*value).filter(|v| *v != u64::MAX).serialize(s)
    }

    fn read<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
        Ok(Option::deserialize(d)?.unwrap_or(u64::MAX))
    }
}

/// Seconds and nanoseconds.
pub(crate) struct Seconds;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts<T> {
    sec: T,
    nsec: u32,
}

impl Form<(u32, u32)> for Seconds {
    fn write<S: Serializer>(&(sec, nsec): &(u32, u32), s: S) -> Result<S::Ok, S::Error> {
        Parts { sec, nsec }.serialize(s)
    }

    fn read<'de, D: Deserializer<'de>>(d: D) -> Result<(u32, u32), D::Error> {
        Parts::deserialize(d).map(|p| (p.sec, p.nsec))
    }
}

impl Form<Duration> for Seconds {
    fn write<S: Serializer>(value: &Duration, s: S) -> Result<S::Ok, S::Error> {
        Parts { sec: value.as_secs(), nsec: value.subsec_nanos() }.serialize(s)
    }

    fn read<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        let Parts { sec, nsec } = Parts::<u64>::deserialize(d)?;
        match nsec < 1_000_000_000 {
            true => Ok(Duration::new(sec, nsec)),
            false => Err(D::Error::custom("expected less than a second in nsec")),
        }
    }
}

/// A number, or the bits that have it.
pub(crate) struct NumberOrBits;

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Observed {
    Number(u32),
    Bits(Subfield),
}

impl Form<Observation> for NumberOrBits {
    fn write<S: Serializer>(value: &Observation, s: S) -> Result<S::Ok, S::Error> {
        match *value {
            Ok(number) => Observed::Number(number),
            Err(bits) => Observed::Bits(bits),
        }
        .serialize(s)
    }

    fn read<'de, D: Deserializer<'de>>(d: D) -> Result<Observation, D::Error> {
        Ok(match Observed::deserialize(d)? {
            Observed::Number(number) => Ok(number),
            Observed::Bits(bits) => Err(bits),
        })
    }
}

/// A message within a message: as [`Document`] has it where that says all of its bytes and it has none within itself,
/// else in hexadecimal.
pub(crate) struct Nested;

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Within {
    Document(Box<Document>),
    Digits(#[serde(with = "As::<Hex>")] Vec<u8>),
}

impl Form<Vec<u8>> for Nested {
    fn write<S: Serializer>(value: &Vec<u8>, s: S) -> Result<S::Ok, S::Error> {
        let nests = |d: &Document| matches!(d.message, Message::BundleAdd(_) | Message::RequestForward(_));
        let kind = Kind::of_bytes(value).map(Kind::of);
        let flat = !matches!(kind, Ok(MessageKind::BundleAddMessage | MessageKind::RequestForward));
        let document = flat.then(|| Document::of_bytes(value).ok()).flatten();
        match document.filter(|d| !nests(d) && d.encode().as_ref() == Ok(value)) {
            Some(document) => document.serialize(s),
            None => Hex::write(value, s),
        }
    }

    fn read<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        match Within::deserialize(d)? {
            Within::Document(document) => document.encode().map_err(D::Error::custom),
            Within::Digits(bytes) => Ok(bytes),
        }
    }
}

/// A set of one field: the field's name with its value, as in a match.
pub(crate) struct OneField;

impl OneField {
    pub(crate) fn serialize<S: Serializer>(
        field: &FieldId,
        value: &u128,
        mask: &u128,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        Value { field: *field, value: *value, mask: *mask }.serialize(s)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<(FieldId, u128, u128), D::Error> {
        Value::deserialize(d).map(|v| (v.field, v.value, v.mask))
    }
}

/// Fields with the bits of them that count.
pub(crate) struct Masks;

impl Form<Vec<(FieldId, u128)>> for Masks {
    fn write<S: Serializer>(value: &Vec<(FieldId, u128)>, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(value.iter().map(|(field, mask)| (field, In::<u128, Hex>(mask, PhantomData))))
    }

    fn read<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<(FieldId, u128)>, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Vec<(FieldId, u128)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("fields with masks")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some((field, mask)) = map.next_entry::<FieldId, Got<u128, Hex>>()? {
                    pairs.push((field, mask.0));
                }
                Ok(pairs)
            }
        }

        d.deserialize_map(Pairs)
    }
}

/// Value and mask of an action that has no other arguments.
pub(crate) struct Pair;

impl Pair {
    pub(crate) fn serialize<S: Serializer>(value: &u64, mask: &u64, s: S) -> Result<S::Ok, S::Error> {
        Record::<ValueAndMask, Hex>::write(&(*value, *mask), s)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<(u64, u64), D::Error> {
        Record::<ValueAndMask, Hex>::read(d)
    }
}

/// Versions by name, as [`Document`] has its own, in a list.
pub(crate) struct VersionList;

impl Form<Versions> for VersionList {
    fn write<S: Serializer>(value: &Versions, s: S) -> Result<S::Ok, S::Error> {
        let named = value.iter().map(VersionName);
        s.collect_seq(named)
    }

    fn read<'de, D: Deserializer<'de>>(d: D) -> Result<Versions, D::Error> {
        Ok(Vec::<VersionName>::deserialize(d)?.into_iter().map(|v| v.0).collect())
    }
}

/// What tells the connections of ICMP apart.
pub(crate) struct Icmp;

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct IcmpParts {
    id: u16,
    #[serde(rename = "type")]
    kind: u8,
    code: u8,
}

impl Form<(u16, u8, u8)> for Icmp {
    fn write<S: Serializer>(&(id, kind, code): &(u16, u8, u8), s: S) -> Result<S::Ok, S::Error> {
        IcmpParts { id, kind, code }.serialize(s)
    }

    fn read<'de, D: Deserializer<'de>>(d: D) -> Result<(u16, u8, u8), D::Error> {
        IcmpParts::deserialize(d).map(|p| (p.id, p.kind, p.code))
    }
}

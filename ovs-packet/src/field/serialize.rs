//! Fields, their values and tunnel options as `serde` has them.
//!
//! | | form |
//! |---|---|
//! | [`FieldId`] | its name |
//! | [`FieldSet`] | the names in a list |
//! | [`Value`] | an object of one member, which the field names: the value, or `{"value": .., "mask": ..}` |
//! | a value, or a mask | a number where the field is decimal; names in a list where it is flags; the number or the name of a port; else the words that [`Value`] is written with |
//! | [`TunOption`] | `true` for one that is there, `false` for one that is not; `"0x.."` with two digits a byte, or value and mask of these |
//!
//! What is read may also be what the language of matches has: `"10.0.0.0/8"`, `"+trk-new"`, `"0x800"` for any number.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::text::{TCP_FLAGS, TUNNEL_FLAGS};
use super::{FieldId, FieldSet, Format, TunOption, Value};
use crate::packet::CtState;
use crate::port::OfPort;
use crate::text::number;

impl Serialize for FieldId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.info().name)
    }
}

impl<'de> Deserialize<'de> for FieldId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<FieldId, D::Error> {
        let name = String::deserialize(d)?;
        field_by_name(&name)
    }
}

impl Serialize for FieldSet {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for FieldSet {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<FieldSet, D::Error> {
        Vec::<FieldId>::deserialize(d).map(|fields| fields.into_iter().collect())
    }
}

pub(crate) fn field_by_name<E: Error>(name: &str) -> Result<FieldId, E> {
    let field = FieldId::by_name(name).or_else(|| FieldId::by_wire_name(name));
    field.ok_or_else(|| E::custom(format_args!("{name} is no field")))
}

/// The names of the bits of fields that are flags.
fn flag_names(format: Format) -> Option<&'static [&'static str]> {
    match format {
        Format::TcpFlags => Some(&TCP_FLAGS),
        Format::CtState => Some(&CtState::NAMES),
        Format::TunnelFlags => Some(&TUNNEL_FLAGS),
        _ => None,
    }
}

/// All bits of a field, or the mask of them.
struct Plain(FieldId, u128);

impl Serialize for Plain {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let Plain(field, value) = *self;
        let info = field.info();
        if let Some(names) = flag_names(info.format) {
            let mut list = s.serialize_seq(None)?;
            let set = |bit: usize| value.checked_shr(bit as u32).unwrap_or(0) & 1 != 0;
            names
                .iter()
                .enumerate()
                .filter(|(bit, _)| set(*bit))
                .try_for_each(|(_, name)| list.serialize_element(name))?;
            let named = 1u128.checked_shl(names.len() as u32).map_or(u128::MAX, |above| above - 1);
            if value & !named != 0 {
                list.serialize_element(&format_args!("{:#x}", value & !named))?;
            }
            return list.end();
        }
        match info.format {
            Format::Port => OfPort(value as u32).serialize(s),
            Format::Port16 => OfPort::from_16(value as u16).serialize(s),
            Format::Decimal | Format::Fragment => s.serialize_u64(value as u64),
            Format::Hexadecimal => s.collect_str(&format_args!("{value:#x}")),
            _ => s.collect_str(&Value { field, value, mask: info.max_value() }),
        }
    }
}

/// What stands for a field: its value alone, or with its mask.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Said {
    Number(u64),
    There(bool),
    Text(String),
    Names(Vec<String>),
    Masked(Masked),
}

/// A value and its mask.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Masked {
    value: Part,
    mask: Part,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Part {
    Number(u64),
    Text(String),
    Names(Vec<String>),
}

impl Part {
    fn read<E: Error>(&self, field: FieldId) -> Result<u128, E> {
        let info = field.info();
        let wrong = |what: &dyn fmt::Display| E::custom(format_args!("{}: {what} is no value", info.name));
        let value = match self {
            Part::Number(n) => Some(u128::from(*n)),
            Part::Names(names) => {
                let known = flag_names(info.format).unwrap_or(&[]);
                let bit = |name: &String| match known.iter().position(|k| k == name) {
                    Some(bit) => 1u128.checked_shl(bit as u32),
                    None => number(name),
                };
                names.iter().try_fold(0, |all, name| Some(all | bit(name)?))
            }
            Part::Text(text) => number(text)
                .or_else(|| Value::parse(field, text).ok().filter(|v| v.mask == info.max_value()).map(|v| v.value)),
        };
        let value = value.ok_or_else(|| match self {
            Part::Text(text) => wrong(text),
            _ => wrong(&"a list of other names"),
        })?;
        // A reserved port of 32 bits is another number in 16.
        let short = u32::try_from(value).ok().and_then(|n| OfPort(n).to_16()).map(u128::from);
        match short.filter(|_| info.format == Format::Port16).unwrap_or(value) {
            value if value & !info.max_value() != 0 => Err(wrong(&format_args!("{value:#x}"))),
            value => Ok(value),
        }
    }
}

impl Said {
    /// The value of a field with its mask.
    pub(crate) fn read<E: Error>(self, field: FieldId) -> Result<Value, E> {
        let all = field.info().max_value();
        let exact = |part: Part| Ok(Value { field, value: part.read(field)?, mask: all });
        match self {
            Said::Number(n) => exact(Part::Number(n)),
            Said::Names(names) => exact(Part::Names(names)),
            Said::There(_) => Err(E::custom(format_args!("{} is more than there or not", field.info().name))),
            Said::Text(text) => match number(&text) {
                Some(_) => exact(Part::Text(text)),
                None => Value::parse(field, &text).map_err(E::custom),
            },
            Said::Masked(m) => {
                let mask = m.mask.read(field)?;
                Ok(Value { field, value: m.value.read::<E>(field)? & mask, mask })
            }
        }
    }

    /// The tunnel option that it is.
    pub(crate) fn option<E: Error>(self) -> Result<TunOption, E> {
        let option = match self {
            Said::There(true) => Some(TunOption::PRESENT),
            Said::There(false) => Some(TunOption::ABSENT),
            Said::Text(text) => bytes_of(&text).and_then(|bytes| TunOption::exact(&bytes)),
            Said::Masked(Masked { value: Part::Text(value), mask: Part::Text(mask) }) => {
                bytes_of(&value).zip(bytes_of(&mask)).and_then(|(value, mask)| TunOption::masked(&value, &mask))
            }
            _ => None,
        };
        option.ok_or_else(|| E::custom("a tunnel option is true, false, or at most 124 bytes in hexadecimal"))
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(1))?;
        map.serialize_entry(self.field.info().name, &ValueOnly(*self))?;
        map.end()
    }
}

/// A value without the name of its field.
pub(crate) struct ValueOnly(pub(crate) Value);

impl Serialize for ValueOnly {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let Value { field, value, mask } = self.0;
        if field.info().format == Format::Fragment {
            let text = self.0.to_string();
            if Value::parse(field, &text).is_ok_and(|v| v == self.0) {
                return s.serialize_str(&text);
            }
        }
        if mask == field.info().max_value() {
            return Plain(field, value).serialize(s);
        }
        let mut map = s.serialize_map(Some(2))?;
        map.serialize_entry("value", &Plain(field, value))?;
        map.serialize_entry("mask", &Plain(field, mask))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Value, D::Error> {
        struct OfOne;

        impl<'de> Visitor<'de> for OfOne {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with the name of a field and its value")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                let (name, said) =
                    map.next_entry::<String, Said>()?.ok_or_else(|| A::Error::custom("a field is missing"))?;
                let value = said.read(field_by_name(&name)?)?;
                match map.next_key::<String>()? {
                    None => Ok(value),
                    Some(name) => Err(A::Error::custom(format_args!("{name} is one field too many"))),
                }
            }
        }

        d.deserialize_map(OfOne)
    }
}

impl Serialize for TunOption {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if !self.is_present() || !self.is_exact() && self.mask().is_empty() {
            return s.serialize_bool(self.is_present());
        }
        if self.is_exact() {
            return HexBytes(self.value()).serialize(s);
        }
        let mut map = s.serialize_map(Some(2))?;
        map.serialize_entry("value", &HexBytes(self.value()))?;
        map.serialize_entry("mask", &HexBytes(self.mask()))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for TunOption {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<TunOption, D::Error> {
        Said::deserialize(d)?.option()
    }
}

/// Bytes as `0x` and two digits each.
struct HexBytes<'a>(&'a [u8]);

impl Serialize for HexBytes<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl fmt::Display for HexBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.strip_prefix("0x")?.as_bytes().as_chunks::<2>();
    let digit = |c: u8| char::from(c).to_digit(16).map(|d| d as u8);
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    rest.is_empty().then(|| bytes.collect()).flatten()
}

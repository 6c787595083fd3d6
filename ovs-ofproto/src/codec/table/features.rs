//! What tables can do (OpenFlow 1.3, section 7.3.5.5).
//!
//! Each ability is a property of its own, said once for flows and perhaps once more for the flow that meets what no
//! other does; what is not said of that one is as for the others. Fields go by their headers, actions and instructions
//! by their numbers. Numbers and fields that are not known do no harm in a reply and are passed over there, and
//! properties of other types are kept; a request must have none, for a switch would have to have them.

use std::collections::BTreeSet;

use ovs_packet::field::FieldSet;

use super::super::cursor::{Reader, Shape, Writer};
use super::super::error::{DecodeError, EncodeError, OfError};
use super::super::header::Version;
use super::super::io::{Done, Io, Property};
use super::super::oxm;
use super::super::property::{Kept, RawProperty};
#[cfg(feature = "serde")]
use crate::json::form::*;

/// What a list of actions can have.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct ActionAbilities {
    /// The actions, bit `n` for number `n` of the version (`OFPAT_*`).
    #[cfg_attr(feature = "serde", serde(with = "As::<Bits>"))]
    pub actions: u32,
    /// The fields that can be set.
    pub set_fields: FieldSet,
}

/// What flows can do.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct InstructionAbilities {
    /// The instructions, bit `n` for number `n` (`OFPIT_*`).
    #[cfg_attr(feature = "serde", serde(with = "As::<Bits>"))]
    pub instructions: u32,
    /// The tables to go on with.
    #[cfg_attr(feature = "serde", serde(rename = "next_tables"))]
    pub next: BTreeSet<u8>,
    /// Actions that can be written to the action set.
    #[cfg_attr(feature = "serde", serde(rename = "write_actions"))]
    pub write: ActionAbilities,
    /// Actions that can be applied.
    #[cfg_attr(feature = "serde", serde(rename = "apply_actions"))]
    pub apply: ActionAbilities,
}

/// What a table can do.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct TableAbilities {
    /// What its flows can do.
    pub flows: InstructionAbilities,
    /// What the flow can do that packets meet which meet no other.
    pub miss: InstructionAbilities,
    /// Fields that can be matched.
    #[cfg_attr(feature = "serde", serde(rename = "match"))]
    pub matching: FieldSet,
    /// Those of them that can have a mask.
    pub masks: FieldSet,
    /// Those of them that need not be matched.
    pub wildcards: FieldSet,
    /// What else a switch says of it, such as its experimenters' abilities, or fields that can be copied (OpenFlow 1.5).
    pub properties: Vec<RawProperty>,
}

/// A table and what it can do.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct TableFeatures {
    /// Its number.
    #[cfg_attr(feature = "serde", serde(rename = "table_id"))]
    pub table: u8,
    /// Of a request from OpenFlow 1.5 on: 0 replaces all tables, 1 changes this one, 2 enables it, 3 disables it.
    #[cfg_attr(feature = "serde", serde(with = "As::<Named<TableFeaturesCommand>>"))]
    pub command: u8,
    /// Its name.
    pub name: String,
    /// Bits of the metadata that can be matched.
    #[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))]
    pub metadata_match: u64,
    /// Bits of the metadata that can be written.
    #[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))]
    pub metadata_write: u64,
    /// Whether it can evict flows; versions before 1.4 do not tell.
    pub eviction: Option<bool>,
    /// Whether it can tell of vacancies; versions before 1.4 do not.
    pub vacancy_events: Option<bool>,
    /// How many flows it can have.
    pub max_entries: u32,
    /// What its flows can do. From OpenFlow 1.5 on, a request need not say it.
    pub abilities: Option<Box<TableAbilities>>,
}

/// Numbers of the properties; that of the flow for all else is one higher.
mod property {
    pub(super) const INSTRUCTIONS: u16 = 0;
    pub(super) const NEXT_TABLES: u16 = 2;
    pub(super) const WRITE_ACTIONS: u16 = 4;
    pub(super) const APPLY_ACTIONS: u16 = 6;
    pub(super) const MATCH: u16 = 8;
    pub(super) const WILDCARDS: u16 = 10;
    pub(super) const WRITE_SETFIELD: u16 = 12;
    pub(super) const APPLY_SETFIELD: u16 = 14;
    /// Experimenters' properties begin here.
    pub(super) const EXPERIMENTER: u32 = 0xfffe;
    /// Each of them must be there.
    pub(super) const REQUIRED: [u16; 8] =
        [INSTRUCTIONS, NEXT_TABLES, WRITE_ACTIONS, APPLY_ACTIONS, MATCH, WILDCARDS, WRITE_SETFIELD, APPLY_SETFIELD];
}

/// Bits of the instructions that there are, experimenters' left out.
const INSTRUCTIONS: u32 = 0x7e;
const EVICTION: u32 = 4;
const VACANCY_EVENTS: u32 = 8;
const TABLE: Shape = Shape { what: "the features of a table", length_at: 0, align: 8, count_padding: true };

impl TableFeatures {
    /// `loose`: pass over what is not known.
    pub(in super::super) fn pass(&mut self, io: &mut Io<'_, '_>, loose: bool) -> Done {
        let version = io.version;
        io.framed(TABLE, 64, &OfError::BadPropertyBadLength, |io| {
            io.length()?;
            io.u8(&mut self.table)?;
            io.check(self.table != 0xff, OfError::TableFeaturesBadTable, "a table below 255")?;
            if version >= Version::V1_5 {
                io.u8(&mut self.command)?;
                io.check(self.command <= 3, OfError::TableFeaturesBadCommand, "a command from 0 to 3")?;
            } else {
                io.pad(1)?;
            }
            io.pad(4)?;
            io.text(&mut self.name, 32)?;
            io.u64(&mut self.metadata_match)?;
            io.u64(&mut self.metadata_write)?;
            let bit = |is: Option<bool>, bit| if is == Some(true) { bit } else { 0 };
            let mut bits = bit(self.eviction, EVICTION) | bit(self.vacancy_events, VACANCY_EVENTS);
            io.u32(&mut bits)?;
            if version >= Version::V1_4 {
                self.eviction = Some(bits & EVICTION != 0);
                self.vacancy_events = Some(bits & VACANCY_EVENTS != 0);
            }
            io.u32(&mut self.max_entries)?;
            io.either(
                &mut self.abilities,
                |r| read_all(r, version, loose),
                |abilities, w| match abilities {
                    Some(abilities) => abilities.write(w, version),
                    None if version >= Version::V1_5 => Ok(()),
                    None => Err(EncodeError::Inconsistent { what: "a table of which nothing is said" }),
                },
            )
        })
    }
}

fn read_all(r: &mut Reader<'_>, version: Version, loose: bool) -> Result<Option<Box<TableAbilities>>, DecodeError> {
    let start = r.clone();
    if r.is_empty() && version >= Version::V1_5 {
        return Ok(None);
    }
    let (mut found, mut seen) = (Box::<TableAbilities>::default(), 0u32);
    while let Some(p) = Property::next_with(r, 8, property::EXPERIMENTER)? {
        if p.kind >= 16 {
            if loose {
                found.properties.push(RawProperty::read(&p)?);
                continue;
            }
            return Err(p.unknown("table features"));
        }
        let bit = 1u32.checked_shl(p.raw.into()).unwrap_or(0);
        if seen & bit != 0 {
            return Err(p.error(OfError::TableFeaturesBadFeatures, "a property that was not there yet"));
        }
        seen |= bit;
        let both = found.as_mut();
        let own = if p.raw & 1 == 0 { &mut both.flows } else { &mut both.miss };
        match p.raw & !1 {
            property::INSTRUCTIONS => own.instructions = read_instructions(&p, loose)?,
            property::NEXT_TABLES if p.value.contains(&0xff) => {
                return Err(p.error(OfError::BadPropertyBadValue, "tables below 255"));
            }
            property::NEXT_TABLES => own.next = p.value.iter().copied().collect(),
            property::WRITE_ACTIONS => own.write.actions = read_numbers(&p)?,
            property::APPLY_ACTIONS => own.apply.actions = read_numbers(&p)?,
            property::WRITE_SETFIELD => own.write.set_fields = read_fields(&p, loose, None)?,
            property::APPLY_SETFIELD => own.apply.set_fields = read_fields(&p, loose, None)?,
            property::MATCH if p.raw & 1 == 0 => {
                both.matching = read_fields(&p, loose, Some(&mut both.masks))?;
            }
            property::WILDCARDS if p.raw & 1 == 0 => both.wildcards = read_fields(&p, loose, None)?,
            _ if loose => {}
            _ => return Err(p.unknown("table features")),
        }
    }
    let has = |n: u16| seen & 1u32.checked_shl(n.into()).unwrap_or(0) != 0;
    if !property::REQUIRED.into_iter().all(has) {
        return Err(start.error(OfError::TableFeaturesBadFeatures, "all of the properties"));
    }
    let (flows, miss) = (&found.flows, &mut found.miss);
    let inherits = |n: u16| !has(n | 1);
    if inherits(property::INSTRUCTIONS) {
        miss.instructions = flows.instructions;
    }
    if inherits(property::NEXT_TABLES) {
        miss.next.clone_from(&flows.next);
    }
    for (n, to, from) in [
        (property::WRITE_ACTIONS, &mut miss.write.actions, flows.write.actions),
        (property::APPLY_ACTIONS, &mut miss.apply.actions, flows.apply.actions),
    ] {
        if inherits(n) {
            *to = from;
        }
    }
    for (n, to, from) in [
        (property::WRITE_SETFIELD, &mut miss.write.set_fields, flows.write.set_fields),
        (property::APPLY_SETFIELD, &mut miss.apply.set_fields, flows.apply.set_fields),
    ] {
        if inherits(n) {
            *to = from;
        }
    }
    found.settle();
    Ok(Some(found))
}

/// Numbers below 32 in properties without padding, as bits; others are passed over.
fn read_numbers(p: &Property<'_>) -> Result<u32, DecodeError> {
    let (mut r, mut bits) = (p.reader(), 0);
    while let Some(id) = Property::next_with(&mut r, 1, 0x1_0000)? {
        bits |= 1u32.checked_shl(id.raw.into()).unwrap_or(0);
    }
    Ok(bits)
}

fn read_instructions(p: &Property<'_>, loose: bool) -> Result<u32, DecodeError> {
    let (mut r, mut bits) = (p.reader(), 0);
    while let Some(id) = Property::next_with(&mut r, 1, 0x1_0000)? {
        let bit = 1u32.checked_shl(id.raw.into()).unwrap_or(0) & INSTRUCTIONS;
        if bit == 0 && !loose {
            return Err(id.error(OfError::BadInstructionUnknown, "an instruction that is known"));
        }
        bits |= bit;
    }
    Ok(bits)
}

/// Fields by their headers; those that announce a mask go to `masks`, and may not be there without it.
fn read_fields(p: &Property<'_>, loose: bool, mut masks: Option<&mut FieldSet>) -> Result<FieldSet, DecodeError> {
    let (mut r, mut found) = (p.reader().or(&OfError::BadMatchBadLength), FieldSet::EMPTY);
    while !r.is_empty() {
        let start = r.place();
        let (id, masked, _) = oxm::read_id(&mut r)?;
        let field = match oxm::known(id, start) {
            Ok(field) => field,
            Err(e) if e.error == OfError::BadMatchBadField && loose => continue,
            Err(e) => return Err(e),
        };
        match (masked, &mut masks) {
            (false, _) => found.insert(field),
            (true, Some(masks)) => masks.insert(field),
            (true, None) => return Err(start.error(OfError::BadMatchBadMask, "a field without a mask")),
        };
    }
    Ok(found)
}

impl TableAbilities {
    /// What can have a mask can be matched and left out; what cannot be matched is not left out either.
    pub(super) fn settle(&mut self) {
        self.matching = self.matching.union(self.masks);
        self.wildcards = self.wildcards.union(self.masks).intersection(self.matching);
    }

    fn write(&self, w: &mut Writer, version: Version) -> Result<(), EncodeError> {
        self.flows.write(w, version, 0)?;
        self.miss.write(w, version, 1)?;
        write_fields(w, version, property::MATCH, &self.matching, &self.masks)?;
        write_fields(w, version, property::WILDCARDS, &self.wildcards, &FieldSet::EMPTY)?;
        Kept::write_all(&self.properties, w)
    }
}

impl InstructionAbilities {
    /// `miss`: 1 for the flow for all else.
    fn write(&self, w: &mut Writer, version: Version, miss: u16) -> Result<(), EncodeError> {
        write_numbers(w, property::INSTRUCTIONS | miss, self.instructions)?;
        let next: Vec<u8> = self.next.iter().copied().collect();
        w.property_bytes((property::NEXT_TABLES | miss).into(), &next)?;
        let none = FieldSet::EMPTY;
        write_numbers(w, property::WRITE_ACTIONS | miss, self.write.actions)?;
        write_fields(w, version, property::WRITE_SETFIELD | miss, &self.write.set_fields, &none)?;
        write_numbers(w, property::APPLY_ACTIONS | miss, self.apply.actions)?;
        write_fields(w, version, property::APPLY_SETFIELD | miss, &self.apply.set_fields, &none)
    }
}

fn write_numbers(w: &mut Writer, kind: u16, bits: u32) -> Result<(), EncodeError> {
    w.property(kind.into(), |w| {
        for n in (0..32u16).filter(|n| bits & 1u32.checked_shl((*n).into()).unwrap_or(0) != 0) {
            w.u16(n);
            w.u16(4);
        }
        Ok(())
    })
}

fn write_fields(
    w: &mut Writer,
    version: Version,
    kind: u16,
    fields: &FieldSet,
    masks: &FieldSet,
) -> Result<(), EncodeError> {
    w.property(kind.into(), |w| {
        fields.iter().try_for_each(|f| oxm::write_header_as(w, version.0, f, masks.contains(f)))
    })
}

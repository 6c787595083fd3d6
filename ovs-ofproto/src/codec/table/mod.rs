//! Tables: statistics, setup, and what they can do.

mod features;
mod old;

use super::cursor::Shape;
use super::error::OfError;
use super::header::Version;
use super::io::{Done, Io, Property};
use super::property::{Kept, RawProperty};
#[cfg(feature = "serde")]
use crate::json::form::*;

pub use features::{ActionAbilities, InstructionAbilities, TableAbilities, TableFeatures};

/// What becomes of packets that meet no flow of a table (`OFPTC_TABLE_MISS_*`): OpenFlow 1.1 and 1.2 have it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum TableMiss {
    /// They go to the controllers.
    Controller,
    /// They go on with the next table.
    Continue,
    /// They are dropped.
    Drop,
}

impl TableMiss {
    /// The miss that a configuration of OpenFlow 1.1 or 1.2 has.
    pub fn from_config(config: u32) -> TableMiss {
        match config & 3 {
            1 => TableMiss::Continue,
            2 => TableMiss::Drop,
            _ => TableMiss::Controller,
        }
    }

    /// The word in upstream's language.
    pub fn word(self) -> &'static str {
        match self {
            TableMiss::Controller => "controller",
            TableMiss::Continue => "continue",
            TableMiss::Drop => "drop",
        }
    }
}

/// The statistics of a table.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct TableStats {
    /// Its number.
    #[cfg_attr(feature = "serde", serde(rename = "table_id"))]
    pub table: u8,
    /// Flows in it.
    #[cfg_attr(feature = "serde", serde(rename = "active_count"))]
    pub active: u32,
    /// Packets looked up.
    #[cfg_attr(feature = "serde", serde(rename = "lookup_count", with = "As::<Counter>"))]
    pub lookups: u64,
    /// Packets that met a flow.
    #[cfg_attr(feature = "serde", serde(rename = "matched_count", with = "As::<Counter>"))]
    pub matched: u64,
    /// What becomes of the others; OpenFlow 1.1 and 1.2 tell.
    pub miss: Option<TableMiss>,
    /// What it can do, as far as versions before 1.3 tell here; later [`TableFeatures`] come on their own.
    pub features: Option<Box<TableFeatures>>,
}

impl TableStats {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        if io.version < Version::V1_3 {
            return self.pass_old(io);
        }
        io.u8(&mut self.table)?;
        io.pad(3)?;
        self.counts(io)
    }

    fn counts(&mut self, io: &mut Io<'_, '_>) -> Done {
        io.u32(&mut self.active)?;
        io.u64(&mut self.lookups)?;
        io.u64(&mut self.matched)
    }
}

/// How a table is set up.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct TableDesc {
    /// Its number.
    #[cfg_attr(feature = "serde", serde(rename = "table_id"))]
    pub table: u8,
    /// `OFPTC_*`, as the version has them.
    #[cfg_attr(feature = "serde", serde(with = "As::<Flags<TableConfig>>"))]
    pub config: u32,
    /// By what flows are evicted (`OFPTMPEF_*`).
    #[cfg_attr(feature = "serde", serde(with = "As::<Option<Flags<Eviction>>>"))]
    pub eviction: Option<u32>,
    /// Of events of vacancy, percent below and above which they are told, and what is vacant now.
    #[cfg_attr(feature = "serde", serde(with = "As::<Option<Record<Vacancy>>>"))]
    pub vacancy: Option<(u8, u8, u8)>,
    /// What else is said of it, from OpenFlow 1.4 on. A switch that a change asks for what it does not do must
    /// [refuse](super::Message::not_understood) all of it.
    pub properties: Vec<RawProperty>,
}

const TABLE_DESC: Shape = Shape { what: "a table", length_at: 0, align: 8, count_padding: true };

impl TableDesc {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        io.framed(TABLE_DESC, 8, &OfError::BadRequestBadLength, |io| {
            io.length()?;
            io.u8(&mut self.table)?;
            io.pad(1)?;
            io.u32(&mut self.config)?;
            self.properties(io, true)
        })
    }

    /// `loose`: whatever numbers a switch tells.
    fn properties(&mut self, io: &mut Io<'_, '_>, loose: bool) -> Done {
        let mut all = (self.eviction, self.vacancy, core::mem::take(&mut self.properties));
        io.either(
            &mut all,
            |r| {
                let mut found = (None, None, Vec::new());
                while let Some(p) = Property::next(r)? {
                    match p.kind {
                        2 => found.0 = Some(p.u32()?),
                        3 => {
                            let mut body = p.sized(4)?;
                            let (down, up, now) = (body.u8()?, body.u8()?, body.u8()?);
                            if !loose && (down > up || up > 100 || now != 0) {
                                return Err(p.error(OfError::BadPropertyBadValue, "percent, the lower ones first"));
                            }
                            found.1 = Some((down, up, now));
                        }
                        _ => found.2.push(RawProperty::read(&p)?),
                    }
                }
                Ok(found)
            },
            |(eviction, vacancy, more), w| {
                if let Some(flags) = eviction {
                    w.property_u32(2, *flags)?;
                }
                if let Some((down, up, now)) = vacancy {
                    w.property_bytes(3, &[*down, *up, *now, 0])?;
                }
                Kept::write_all(more, w)
            },
        )?;
        (self.eviction, self.vacancy, self.properties) = all;
        Ok(())
    }
}

/// Changes a table.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct TableMod {
    /// What it shall be.
    #[cfg_attr(feature = "serde", serde(rename = "table"))]
    pub desc: TableDesc,
}

impl TableMod {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        io.u8(&mut self.desc.table)?;
        io.pad(3)?;
        io.u32(&mut self.desc.config)?;
        if io.version >= Version::V1_4 { self.desc.properties(io, false) } else { Ok(()) }
    }
}

/// The vacancy of a table crossed a threshold.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct TableStatus {
    /// 3 less is vacant than the lower one, 4 more than the upper one.
    #[cfg_attr(feature = "serde", serde(with = "As::<Named<TableReason>>"))]
    pub reason: u8,
    /// The table, as it is set up.
    #[cfg_attr(feature = "serde", serde(rename = "table"))]
    pub desc: TableDesc,
}

impl Default for TableStatus {
    fn default() -> Self {
        TableStatus { reason: 3, desc: TableDesc::default() }
    }
}

impl TableStatus {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        io.u8(&mut self.reason)?;
        io.check(matches!(self.reason, 3 | 4), OfError::BadPropertyBadValue, "vacancy that went down or up")?;
        io.pad(7)?;
        self.desc.pass(io)
    }
}

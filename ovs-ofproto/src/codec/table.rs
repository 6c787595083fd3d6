//! Tables: statistics, setup.

use super::cursor::Shape;
use super::error::OfError;
use super::header::Version;
use super::io::{Done, Io, Property};

/// The statistics of a table. What a version does not tell is zero.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[non_exhaustive]
pub struct TableStats {
    /// Its number.
    pub table: u8,
    /// Its name; versions before 1.3 tell.
    pub name: String,
    /// Flows in it.
    pub active: u32,
    /// Packets looked up.
    pub lookups: u64,
    /// Packets that met a flow.
    pub matched: u64,
    /// How many flows it can have; versions before 1.3 tell.
    pub max_entries: u32,
    /// What else versions before 1.3 tell of what it can do, as it stands there: fields that can be wildcarded or
    /// matched, actions, instructions.
    pub abilities: Vec<u8>,
}

impl TableStats {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        let version = io.version;
        io.u8(&mut self.table)?;
        if version >= Version::V1_3 {
            io.pad(3)?;
            io.u32(&mut self.active)?;
            io.u64(&mut self.lookups)?;
            return io.u64(&mut self.matched);
        }
        io.pad(if version == Version::V1_0 { 3 } else { 7 })?;
        io.text(&mut self.name, 32)?;
        let n = match version {
            Version::V1_0 => 4,
            Version::V1_1 => 24,
            _ => 64,
        };
        io.either(
            &mut self.abilities,
            |r| Ok(r.bytes(n)?.to_vec()),
            |v, w| {
                w.bytes(v.get(..n).unwrap_or(v));
                w.zeros(n.saturating_sub(v.len()));
                Ok(())
            },
        )?;
        io.u32(&mut self.max_entries)?;
        io.u32(&mut self.active)?;
        io.u64(&mut self.lookups)?;
        io.u64(&mut self.matched)
    }
}

/// How a table is set up.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[non_exhaustive]
pub struct TableDesc {
    /// Its number.
    pub table: u8,
    /// `OFPTC_*`, as the version has them.
    pub config: u32,
    /// By what flows are evicted (`OFPTMPEF_*`).
    pub eviction: Option<u32>,
    /// Of events of vacancy, percent below and above which they are told, and what is vacant now.
    pub vacancy: Option<(u8, u8, u8)>,
}

const TABLE_DESC: Shape = Shape { what: "a table", length_at: 0, align: 8, count_padding: true };

impl TableDesc {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        io.framed(TABLE_DESC, 8, OfError::BadRequestBadLength, |io| {
            io.length()?;
            io.u8(&mut self.table)?;
            io.pad(1)?;
            io.u32(&mut self.config)?;
            self.properties(io)
        })
    }

    fn properties(&mut self, io: &mut Io<'_, '_>) -> Done {
        let mut both = (self.eviction, self.vacancy);
        io.either(
            &mut both,
            |r| {
                let mut found = (None, None);
                while let Some(p) = Property::next(r)? {
                    match p.kind {
                        2 => found.0 = Some(p.u32()?),
                        3 => {
                            let mut body = p.reader();
                            found.1 = Some((body.u8()?, body.u8()?, body.u8()?));
                        }
                        0xffff => return Err(p.unknown()),
                        _ => {}
                    }
                }
                Ok(found)
            },
            |(eviction, vacancy), w| {
                if let Some(flags) = eviction {
                    w.property_u32(2, *flags)?;
                }
                match vacancy {
                    Some((down, up, now)) => w.property_bytes(3, &[*down, *up, *now, 0]),
                    None => Ok(()),
                }
            },
        )?;
        (self.eviction, self.vacancy) = both;
        Ok(())
    }
}

/// Changes a table.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[non_exhaustive]
pub struct TableMod {
    /// What it shall be.
    pub desc: TableDesc,
}

impl TableMod {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        io.u8(&mut self.desc.table)?;
        io.pad(3)?;
        io.u32(&mut self.desc.config)?;
        if io.version >= Version::V1_4 { self.desc.properties(io) } else { Ok(()) }
    }
}

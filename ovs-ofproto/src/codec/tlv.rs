//! The table of tunnel options (NXT_TLV_TABLE_*): which option of Geneve a field `tun_metadata` stands for.

use ovs_packet::field::{TLV_FIELDS, TUN_OPTION_MAX, TlvMapping};

use super::cursor::{Reader, Writer};
use super::error::{DecodeError, EncodeError, OfError};
use super::io::{Done, Io};
#[cfg(feature = "serde")]
use crate::json::form::*;

/// Changes the table of tunnel options, all of it or nothing.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct TlvTableMod {
    /// 0 adds, 1 deletes by the numbers of the fields, 2 deletes all.
    #[cfg_attr(feature = "serde", serde(with = "As::<Named<TlvCommand>>"))]
    pub command: u16,
    /// The options.
    pub mappings: Vec<TlvMapping>,
}

/// The table of tunnel options.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct TlvTableReply {
    /// How many bytes all options together may have.
    pub max_option_space: u32,
    /// How many fields there are.
    pub max_fields: u16,
    /// The options.
    pub mappings: Vec<TlvMapping>,
}

impl TlvTableMod {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        io.u16(&mut self.command)?;
        io.check(self.command <= 2, OfError::TlvTableModBadCommand, "a command from 0 to 2")?;
        io.pad(6)?;
        io.either(&mut self.mappings, |r| read(r, TLV_FIELDS), write)
    }
}

impl TlvTableReply {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        io.u32(&mut self.max_option_space)?;
        io.u16(&mut self.max_fields)?;
        io.pad(10)?;
        let fields = self.max_fields.into();
        io.either(&mut self.mappings, |r| read(r, fields), write)
    }
}

fn read(r: &mut Reader<'_>, fields: usize) -> Result<Vec<TlvMapping>, DecodeError> {
    let mut mappings = Vec::new();
    while !r.is_empty() {
        let start = r.clone();
        let mapping = TlvMapping { class: r.u16()?, kind: r.u8()?, len: r.u8()?, index: r.u16()? };
        r.skip(2)?;
        if !mapping.len.is_multiple_of(4) || usize::from(mapping.len) > TUN_OPTION_MAX {
            return Err(start.error(OfError::TlvTableModBadOptLen, "a multiple of 4 up to 124 bytes"));
        }
        if usize::from(mapping.index) >= fields {
            return Err(start.error(OfError::TlvTableModBadFieldIdx, "the number of a field that there is"));
        }
        mappings.push(mapping);
    }
    Ok(mappings)
}

#[expect(clippy::unnecessary_wraps, reason = "as all that writes one half of a pass")]
fn write(mappings: &Vec<TlvMapping>, w: &mut Writer) -> Result<(), EncodeError> {
    for m in mappings {
        w.u16(m.class);
        w.u8(m.kind);
        w.u8(m.len);
        w.u16(m.index);
        w.zeros(2);
    }
    Ok(())
}

//! The table that says which tunnel options the flow tables see, under which field, and where in the key.
//!
//! The places are slots of four bytes, as many as an option is long and not necessarily side by side, so that the table
//! is full only when the bytes are used up.
//!
//! Option bytes come from the network: everything that reads them goes through [`RawOptions`], which ends at the first
//! option that runs over the end.

use core::fmt;

use arrayvec::ArrayVec;

use super::{TUN_OPTION_MAX, TunOption};
use crate::key::{FlowKey, FlowMask, Match, TUN_METADATA_BYTES};

/// How many options a table can map.
pub const TLV_FIELDS: usize = 64;

/// In the type of an option: who does not know it must drop the packet.
const CRITICAL: u8 = 0x80;

/// The most bytes of options that a Geneve header can have.
const RAW_MAX: usize = 252;

/// An option and the field that stands for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct TlvMapping {
    /// Class of the option.
    pub class: u16,
    /// Type of the option.
    #[cfg_attr(feature = "serde", serde(rename = "type"))]
    pub kind: u8,
    /// Length of its value in bytes, a multiple of 4 up to 124.
    pub len: u8,
    /// Number of the field, below [`TLV_FIELDS`].
    pub index: u16,
}

/// Why a table was not changed. Each error is one of OpenFlow's (NXTTMFC, Nicira extensions).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum TlvTableError {
    /// The length is none that an option can have (BAD_OPT_LEN).
    BadLength {
        /// The length.
        len: u8,
    },
    /// There is no such field (BAD_FIELD_IDX).
    BadIndex {
        /// The number of the field.
        index: u16,
    },
    /// The field stands for an option already (ALREADY_MAPPED).
    AlreadyMapped {
        /// The number of the field.
        index: u16,
    },
    /// The option has a field already (DUP_ENTRY).
    DuplicateOption {
        /// Class of the option.
        class: u16,
        /// Type of the option.
        kind: u8,
    },
    /// There is no room for the value (TABLE_FULL).
    Full,
    /// Flows still name the field (INVALID_TLV_DEL).
    InUse {
        /// The number of the field.
        index: u16,
    },
}

impl fmt::Display for TlvTableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlvTableError::BadLength { len } => write!(f, "{len} is no length of an option: expected 0, 4, ... 124"),
            TlvTableError::BadIndex { index } => write!(f, "there is no field tun_metadata{index}"),
            TlvTableError::AlreadyMapped { index } => write!(f, "tun_metadata{index} stands for an option already"),
            TlvTableError::DuplicateOption { class, kind } => {
                write!(f, "the option of class {class:#06x} and type {kind:#04x} has a field already")
            }
            TlvTableError::Full => write!(f, "the options of the table have more than {TUN_METADATA_BYTES} bytes"),
            TlvTableError::InUse { index } => write!(f, "flows still name tun_metadata{index}"),
        }
    }
}

impl core::error::Error for TlvTableError {}

/// Why options of a packet could not be read, or those of a match not be placed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum TunOptionError {
    /// An option runs over the end.
    Truncated {
        /// Byte offset of the option.
        at: usize,
    },
    /// The option has not the length that the table says.
    WrongLength {
        /// Byte offset of the option.
        at: usize,
    },
    /// The option is critical and has no field.
    UnknownCritical {
        /// Class of the option.
        class: u16,
        /// Type of the option.
        kind: u8,
    },
    /// The options are more than a header can carry.
    TooMany,
    /// The field stands for no option.
    Unmapped {
        /// The number of the field.
        index: usize,
    },
    /// The match gives the field a longer value than the option has.
    TooLong {
        /// The number of the field.
        index: usize,
    },
}

impl fmt::Display for TunOptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TunOptionError::Truncated { at } => write!(f, "the tunnel option at byte {at} runs over the end"),
            TunOptionError::WrongLength { at } => {
                write!(f, "the tunnel option at byte {at} has another length than its field")
            }
            TunOptionError::UnknownCritical { class, kind } => {
                write!(f, "unknown critical tunnel option of class {class:#06x} and type {kind:#04x}")
            }
            TunOptionError::TooMany => write!(f, "tunnel options of more than {RAW_MAX} bytes"),
            TunOptionError::Unmapped { index } => write!(f, "tun_metadata{index} stands for no tunnel option"),
            TunOptionError::TooLong { index } => {
                write!(f, "the value of tun_metadata{index} is longer than the option")
            }
        }
    }
}

impl core::error::Error for TunOptionError {}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry {
    mapping: TlvMapping,
    /// The slots that hold the value, its first bytes in the lowest.
    slots: u64,
}

/// The table of tunnel options: which fields stand for which options, and where in a key their values are.
///
/// A controller maps options, by class, type and length, to the fields `tun_metadata0` to `tun_metadata63`
/// (NXT_TLV_TABLE_MOD of Nicira's extensions): [`add`](Self::add), [`delete`](Self::delete), [`clear`](Self::clear).
///
/// The bytes of [`FlowKey::tun_metadata`] have two meanings. In a key of a *datapath* they are the options as on the
/// wire, one behind the other, and [`FlowKey::tun_present`] is their length. In a key of the *pipeline* they are values
/// at the table's places, and `tun_present` says which fields are there. [`unpack`](Self::unpack) and
/// [`pack`](Self::pack) lead from one to the other and back, for keys and, with `_mask`, for masks.
///
/// A [`Match`] read from text or from a message knows of no table: it keeps its options one behind the other with
/// their lengths. [`place`](Self::place) makes it one that a pipeline's keys can be held against, [`lift`](Self::lift)
/// makes of that one to be written again.
///
/// ```
/// use ovs_packet::field::{TlvMapping, TlvTable};
///
/// let mut table = TlvTable::default();
/// table.add(&[TlvMapping { class: 0x0102, kind: 3, len: 8, index: 0 }]).unwrap();
/// assert_eq!(table.mappings().next().unwrap().len, 8);
/// assert!(table.add(&[TlvMapping { class: 9, kind: 9, len: 6, index: 1 }]).is_err());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct TlvTable {
    entries: [Option<Entry>; TLV_FIELDS],
}

impl Default for TlvTable {
    fn default() -> Self {
        TlvTable { entries: [None; TLV_FIELDS] }
    }
}

impl fmt::Debug for TlvTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.mappings()).finish()
    }
}

impl TlvTable {
    /// The mappings, by the numbers of their fields.
    pub fn mappings(&self) -> impl Iterator<Item = TlvMapping> {
        self.entries.iter().flatten().map(|e| e.mapping)
    }

    /// The mapping of field number `index`.
    pub fn mapping(&self, index: usize) -> Option<TlvMapping> {
        self.entry(index).map(|e| e.mapping)
    }

    /// How many bytes of values are mapped, of [`TUN_METADATA_BYTES`].
    pub fn used_bytes(&self) -> usize {
        self.used_slots().count_ones() as usize * 4
    }

    fn entry(&self, index: usize) -> Option<&Entry> {
        self.entries.get(index)?.as_ref()
    }

    fn by_option(&self, class: u16, kind: u8) -> Option<&Entry> {
        self.entries.iter().flatten().find(|e| (e.mapping.class, e.mapping.kind) == (class, kind))
    }

    fn used_slots(&self) -> u64 {
        self.entries.iter().flatten().fold(0, |used, e| used | e.slots)
    }

    // Changing the table: NXT_TLV_TABLE_MOD.

    /// Adds mappings, all or none.
    ///
    /// # Errors
    /// The first thing that is wrong: a length or a field number of any of them, then what the table has already.
    pub fn add(&mut self, mappings: &[TlvMapping]) -> Result<(), TlvTableError> {
        for m in mappings {
            if !m.len.is_multiple_of(4) || usize::from(m.len) > TUN_OPTION_MAX {
                return Err(TlvTableError::BadLength { len: m.len });
            }
            in_range(m.index)?;
        }
        let mut new = self.clone();
        for m in mappings {
            new.add_one(*m)?;
        }
        *self = new;
        Ok(())
    }

    fn add_one(&mut self, mapping: TlvMapping) -> Result<(), TlvTableError> {
        let TlvMapping { class, kind, len, index } = mapping;
        if self.entry(index.into()).is_some() {
            return Err(TlvTableError::AlreadyMapped { index });
        }
        if self.by_option(class, kind).is_some() {
            return Err(TlvTableError::DuplicateOption { class, kind });
        }
        let (mut free, mut slots) = (!self.used_slots(), 0);
        for _ in 0..len / 4 {
            if free == 0 {
                return Err(TlvTableError::Full);
            }
            slots |= free & free.wrapping_neg();
            free &= free - 1;
        }
        if let Some(entry) = self.entries.get_mut(usize::from(index)) {
            *entry = Some(Entry { mapping, slots });
        }
        Ok(())
    }

    /// Removes the mappings of these fields, all or none; a field without one is passed over. Bit `i` of `in_use` says
    /// that flows name field `i`.
    ///
    /// # Errors
    /// If a field does not exist or is in use.
    pub fn delete(&mut self, indexes: &[u16], in_use: u64) -> Result<(), TlvTableError> {
        for index in indexes {
            in_range(*index)?;
            if self.entry((*index).into()).is_some() && in_use >> index & 1 != 0 {
                return Err(TlvTableError::InUse { index: *index });
            }
        }
        for index in indexes {
            if let Some(entry) = self.entries.get_mut(usize::from(*index)) {
                *entry = None;
            }
        }
        Ok(())
    }

    /// Removes all mappings, if no flow names any of their fields.
    ///
    /// # Errors
    /// If one is in use.
    pub fn clear(&mut self, in_use: u64) -> Result<(), TlvTableError> {
        let used = self.mappings().find(|m| in_use >> m.index & 1 != 0);
        match used {
            Some(m) => Err(TlvTableError::InUse { index: m.index }),
            None => {
                *self = TlvTable::default();
                Ok(())
            }
        }
    }

    // Fields of a pipeline's key.

    /// The value of field number `index` in a pipeline's key: zeros if the packet has not got it, none if it stands
    /// for no option.
    pub fn get(&self, key: &FlowKey, index: usize) -> Option<ArrayVec<u8, TUN_OPTION_MAX>> {
        let entry = self.entry(index)?;
        let present = key.tun_present.get() >> index & 1 != 0;
        Some(if present { gather(key, entry.slots) } else { zeros(entry) })
    }

    /// Gives field number `index` of a pipeline's key the bits of an option, which the packet has from then on. Bits
    /// outside the mask stay, and are zero if the packet did not have it. [`TunOption::ABSENT`] takes it away.
    ///
    /// # Errors
    /// If the field stands for no option, or one that is shorter.
    pub fn set(&self, key: &mut FlowKey, index: usize, option: &TunOption) -> Result<(), TunOptionError> {
        let (entry, option) = self.fit(index, option)?;
        let mut value = self.get(key, index).unwrap_or_default();
        value.iter_mut().zip(option.value()).zip(option.mask()).for_each(|((to, v), m)| *to = *to & !m | v);
        let bit = 1 << index;
        if option.is_present() {
            key.tun_present = (key.tun_present.get() | bit).into();
            scatter(key, entry.slots, &value);
        } else {
            key.tun_present = (key.tun_present.get() & !bit).into();
            scatter(key, entry.slots, &zeros(entry));
        }
        Ok(())
    }

    /// Adds all bits of field number `index` to a pipeline's mask, and whether the packet has it.
    pub fn add_to_mask(&self, mask: &mut FlowMask, index: usize) {
        if let Some(entry) = self.entry(index) {
            mask.bits.tun_present = (mask.bits.tun_present.get() | 1 << index).into();
            scatter(&mut mask.bits, entry.slots, &[0xff; TUN_OPTION_MAX]);
        }
    }

    fn fit(&self, index: usize, option: &TunOption) -> Result<(&Entry, TunOption), TunOptionError> {
        let entry = self.entry(index).ok_or(TunOptionError::Unmapped { index })?;
        let len = entry.mapping.len.into();
        let option = option.resized(len).or_else(|| option.shortened(len)).ok_or(TunOptionError::TooLong { index })?;
        Ok((entry, option))
    }

    // Matches.

    /// A match as it was written, with its options where this table has them, to hold a pipeline's keys against.
    ///
    /// # Errors
    /// If it names a field that stands for no option, or with a number that takes more bytes than the option has.
    pub fn place(&self, m: &Match) -> Result<Match, TunOptionError> {
        let (mut key, mut mask) = (m.key(), m.mask());
        (key.tun_metadata, mask.bits.tun_metadata) = ([0; TUN_METADATA_BYTES], [0; TUN_METADATA_BYTES]);
        for (index, option) in m.tun_options() {
            let (entry, option) = self.fit(index, &option)?;
            scatter(&mut key, entry.slots, option.value());
            scatter(&mut mask.bits, entry.slots, option.mask());
        }
        Ok(Match::new(key, mask))
    }

    /// The reverse of [`place`](TlvTable::place): a match of a pipeline as it can be written.
    pub fn lift(&self, m: &Match) -> Match {
        let mut written = m.without_tun_options();
        if written == *m {
            return written;
        }
        let (key, mask) = (m.key(), m.mask());
        for index in (0..TLV_FIELDS).filter(|i| mask.bits.tun_present.get() >> i & 1 != 0) {
            let present = key.tun_present.get() >> index & 1 != 0;
            let option = self.entry(index).filter(|_| present).and_then(|entry| {
                let (value, mask) = (gather(&key, entry.slots), gather(&mask.bits, entry.slots));
                match mask.iter().all(|m| *m == 0xff) {
                    true => TunOption::exact(&value).filter(|_| !value.is_empty()),
                    false => TunOption::masked(&value, &mask).filter(|_| mask.iter().any(|m| *m != 0)),
                }
            });
            let plain = if present { TunOption::PRESENT } else { TunOption::ABSENT };
            // All values together have no more bytes than the places they come from.
            let _ = written.set_tun_option(index, &option.unwrap_or(plain));
        }
        written
    }

    // Options as on the wire.

    /// The options of a datapath's key as fields of a pipeline's.
    ///
    /// # Errors
    /// If an option cannot be read, or is unknown and critical.
    pub fn unpack(&self, raw: &FlowKey) -> Result<FlowKey, TunOptionError> {
        self.unpack_as(raw, raw)
    }

    /// The mask of a datapath's key as that of a pipeline's. The key tells where in the mask the options are.
    ///
    /// # Errors
    /// As [`unpack`](TlvTable::unpack).
    pub fn unpack_mask(&self, raw: &FlowKey, mask: &FlowMask) -> Result<FlowMask, TunOptionError> {
        self.unpack_as(raw, &mask.bits).map(|bits| FlowMask { bits })
    }

    /// `values` with its option bytes, which stand as those of `raw` do, at the places of their fields.
    fn unpack_as(&self, raw: &FlowKey, values: &FlowKey) -> Result<FlowKey, TunOptionError> {
        let mut key = FlowKey { tun_present: 0.into(), tun_metadata: [0; TUN_METADATA_BYTES], ..*values };
        for option in RawOptions::of(raw) {
            let option = option?;
            let Some(entry) = self.by_option(option.class, option.kind) else {
                if option.kind & CRITICAL != 0 {
                    return Err(TunOptionError::UnknownCritical { class: option.class, kind: option.kind });
                }
                continue;
            };
            if option.len != usize::from(entry.mapping.len) {
                return Err(TunOptionError::WrongLength { at: option.at });
            }
            let from = option.at + 4;
            scatter(&mut key, entry.slots, values.tun_metadata.get(from..from + option.len).unwrap_or(&[]));
            key.tun_present = (key.tun_present.get() | 1 << entry.mapping.index).into();
        }
        Ok(key)
    }

    /// The option fields of a pipeline's key as a datapath's: the options in the order of their fields.
    ///
    /// # Errors
    /// If they are more than a header can carry.
    pub fn pack(&self, key: &FlowKey) -> Result<FlowKey, TunOptionError> {
        let mut bytes = ArrayVec::<u8, TUN_METADATA_BYTES>::new();
        for (index, entry) in self.entries.iter().enumerate() {
            let Some(Entry { mapping, slots }) = entry.as_ref().filter(|_| key.tun_present.get() >> index & 1 != 0)
            else {
                continue;
            };
            let [c0, c1] = mapping.class.to_be_bytes();
            let full = |_| TunOptionError::TooMany;
            bytes.try_extend_from_slice(&[c0, c1, mapping.kind, mapping.len / 4]).map_err(full)?;
            bytes.try_extend_from_slice(&gather(key, *slots)).map_err(full)?;
        }
        if bytes.len() > RAW_MAX {
            return Err(TunOptionError::TooMany);
        }
        let mut raw =
            FlowKey { tun_present: (bytes.len() as u64).into(), tun_metadata: [0; TUN_METADATA_BYTES], ..*key };
        raw.tun_metadata.iter_mut().zip(&bytes).for_each(|(to, b)| *to = *b);
        Ok(raw)
    }

    /// Whether a pipeline's key has an option that who does not know it must not pass over.
    pub fn has_critical(&self, key: &FlowKey) -> bool {
        self.mappings().any(|m| m.kind & CRITICAL != 0 && key.tun_present.get() >> m.index & 1 != 0)
    }

    /// The mask of a pipeline's key as that of a datapath's, for a packet with the key `raw`: which options there are
    /// and how long counts whole, of the values what the mask has of their fields, of others nothing.
    ///
    /// # Errors
    /// If the options of `raw` cannot be read.
    pub fn pack_mask(&self, raw: &FlowKey, mask: &FlowMask) -> Result<FlowMask, TunOptionError> {
        let mut bits = FlowKey { tun_present: u64::MAX.into(), tun_metadata: [0; TUN_METADATA_BYTES], ..mask.bits };
        for option in RawOptions::of(raw) {
            let option = option?;
            let value =
                self.by_option(option.class, option.kind).map(|e| gather(&mask.bits, e.slots)).unwrap_or_default();
            let to = bits.tun_metadata.get_mut(option.at..).unwrap_or(&mut []);
            // The three reserved bits above the length are no part of the key.
            to.iter_mut().zip([0xff, 0xff, 0xff, 0x1f].iter().chain(&value)).for_each(|(to, m)| *to = *m);
        }
        Ok(FlowMask { bits })
    }
}

fn in_range(index: u16) -> Result<(), TlvTableError> {
    if usize::from(index) < TLV_FIELDS { Ok(()) } else { Err(TlvTableError::BadIndex { index }) }
}

fn zeros(entry: &Entry) -> ArrayVec<u8, TUN_OPTION_MAX> {
    core::iter::repeat_n(0, entry.mapping.len.into()).collect()
}

fn each_slot(slots: u64) -> impl Iterator<Item = usize> {
    (0..64).filter(move |i| slots >> i & 1 != 0)
}

fn gather(key: &FlowKey, slots: u64) -> ArrayVec<u8, TUN_OPTION_MAX> {
    let bytes = key.tun_metadata.as_chunks::<4>().0;
    each_slot(slots).filter_map(|i| bytes.get(i)).flatten().copied().collect()
}

fn scatter(key: &mut FlowKey, slots: u64, value: &[u8]) {
    let bytes = key.tun_metadata.as_chunks_mut::<4>().0;
    for (i, part) in each_slot(slots).zip(value.as_chunks::<4>().0) {
        if let Some(to) = bytes.get_mut(i) {
            *to = *part;
        }
    }
}

/// Where an option is in the bytes of a datapath's key.
struct RawOption {
    at: usize,
    class: u16,
    kind: u8,
    len: usize,
}

/// The options of a datapath's key. Ends behind an error.
struct RawOptions<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> RawOptions<'a> {
    fn of(raw: &'a FlowKey) -> RawOptions<'a> {
        let len = usize::try_from(raw.tun_present.get()).unwrap_or(TUN_METADATA_BYTES).min(TUN_METADATA_BYTES);
        RawOptions { bytes: raw.tun_metadata.get(..len).unwrap_or(&[]), at: 0 }
    }
}

impl Iterator for RawOptions<'_> {
    type Item = Result<RawOption, TunOptionError>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        let rest = self.bytes.get(at..).filter(|r| !r.is_empty())?;
        let option = rest.first_chunk::<4>().map(|&[c0, c1, kind, units]| RawOption {
            at,
            class: u16::from_be_bytes([c0, c1]),
            kind,
            len: usize::from(units & 0x1f) * 4,
        });
        match option.filter(|o| rest.len() >= 4 + o.len) {
            Some(option) => {
                self.at += 4 + option.len;
                Some(Ok(option))
            }
            None => {
                self.at = self.bytes.len();
                Some(Err(TunOptionError::Truncated { at }))
            }
        }
    }
}

#[cfg(test)]
mod tests;

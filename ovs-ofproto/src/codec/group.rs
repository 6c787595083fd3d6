//! Groups, in all versions; OpenFlow 1.0 has them by Nicira's extension, laid out as in 1.5.

use ovs_packet::OfPort;
use ovs_packet::field::FieldId;

use super::cursor::{Reader, Shape, Writer};
use super::error::{DecodeError, EncodeError, OfError};
use super::header::Version;
use super::io::{Done, Io, Property, experimenter};
use super::kind::Kind;
use super::{action, oxm};
use crate::action::Action;
#[cfg(feature = "serde")]
use crate::json::form::*;

/// Of a bucket: no group to watch.
const NO_GROUP: u32 = 0xffff_ffff;
/// How a selection is made, as Netronome's property says it.
const SELECTION: u64 = experimenter(0x154d, 1);
/// The same under a number that was given in error once.
const OLD_SELECTION: u64 = experimenter(0x1540, 1);

/// What a group may do.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Bucket {
    /// Its number; versions before 1.5 have none.
    #[cfg_attr(feature = "serde", serde(rename = "bucket_id", with = "As::<Named<BucketId>>"))]
    pub id: u32,
    /// How likely it is selected.
    pub weight: u16,
    /// The port that must be up; [`OfPort::ANY`] is none.
    pub watch_port: OfPort,
    /// The group that must be alive; all ones is none.
    #[cfg_attr(feature = "serde", serde(with = "As::<Named<GroupId>>"))]
    pub watch_group: u32,
    /// What it does.
    pub actions: Vec<Action>,
}

impl Default for Bucket {
    fn default() -> Self {
        Bucket { id: 0, weight: 0, watch_port: OfPort::ANY, watch_group: NO_GROUP, actions: Vec::new() }
    }
}

const BUCKET: Shape = Shape { what: "a bucket", length_at: 0, align: 8, count_padding: true };

fn new_form(version: Version) -> bool {
    version == Version::V1_0 || version == Version::V1_5
}

impl Bucket {
    fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        let version = io.version;
        if new_form(version) {
            return io.framed(BUCKET, 8, &OfError::GroupModBadBucket, |io| {
                io.either(self, |r| Bucket::read_15(r, version), |b, w| b.write_15(w, version))
            });
        }
        io.framed(BUCKET, 16, &OfError::GroupModBadBucket, |io| {
            io.length()?;
            io.u16(&mut self.weight)?;
            io.port32(&mut self.watch_port)?;
            io.u32(&mut self.watch_group)?;
            io.pad(4)?;
            io.either(
                &mut self.actions,
                |r| action::decode(r.sub(r.len())?, version, 0),
                |actions, w| action::encode(actions, w, version, 0),
            )
        })
    }

    fn read_15(r: &mut Reader<'_>, version: Version) -> Result<Bucket, DecodeError> {
        let start = r.clone();
        let mut b = Bucket { weight: 1, ..Bucket::default() };
        r.skip(2)?;
        let len = usize::from(r.u16()?);
        b.id = r.u32()?;
        if b.id > 0xffff_ff00 {
            return Err(start.error(OfError::GroupModBadBucket, "the number of a bucket"));
        }
        if len > r.len() {
            return Err(start.error(OfError::BadActionBadLength, "actions within the bucket"));
        }
        b.actions = action::decode(r.sub(len)?, version, 0)?;
        b.weight = 0;
        while let Some(p) = Property::next(r)? {
            match p.kind {
                0 => b.weight = p.u16()?,
                1 => b.watch_port = super::io::read_port(&mut p.reader())?,
                2 => b.watch_group = p.u32()?,
                _ => return Err(p.unknown("group bucket")),
            }
        }
        Ok(b)
    }

    fn write_15(&self, w: &mut Writer, version: Version) -> Result<(), EncodeError> {
        w.zeros(2);
        let at = w.len();
        w.zeros(2);
        w.u32(self.id);
        let start = w.len();
        action::encode(&self.actions, w, version, 0)?;
        let len = u16::try_from(w.len().saturating_sub(start));
        w.patch_u16(at, len.map_err(|_| EncodeError::TooLong { what: "a list of actions" })?);
        if self.weight != 0 {
            w.property_u16(0, self.weight)?;
        }
        if self.watch_port != OfPort::ANY {
            w.property_u32(1, self.watch_port.0)?;
        }
        if self.watch_group != NO_GROUP {
            w.property_u32(2, self.watch_group)?;
        }
        Ok(())
    }
}

/// The bytes of a method's name, with a zero at the end at least.
const METHOD: usize = 16;

/// How a group of kind "select" selects.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Selection {
    /// `hash` or `dp_hash`.
    pub method: String,
    /// The method's own.
    pub param: u64,
    /// The fields that are hashed, with the bits that count.
    #[cfg_attr(feature = "serde", serde(with = "As::<Masks>"))]
    pub fields: Vec<(FieldId, u128)>,
}

impl Selection {
    fn read(p: &Property<'_>) -> Result<Selection, DecodeError> {
        let mut r = p.nested()?;
        let name = r.bytes(METHOD)?;
        let Some(end) = name.iter().position(|b| *b == 0) else {
            return Err(p.error(OfError::BadPropertyBadValue, "a name that ends"));
        };
        let method = std::str::from_utf8(name.get(..end).unwrap_or_default());
        let method = method.map_err(|_| p.error(OfError::BadPropertyBadValue, "a name in UTF-8"))?.to_string();
        let mut s = Selection { method, param: r.u64()?, fields: Vec::new() };
        let mut r = r.or(&OfError::BadMatchBadLength);
        while !r.is_empty() {
            let e = oxm::read_entry(&mut r)?;
            s.fields.push((e.field, if e.masked { e.mask } else { e.value }));
        }
        // Their order says nothing.
        s.fields.sort_by_key(|(field, _)| *field);
        Ok(s)
    }

    fn write(&self, w: &mut Writer, version: Version) -> Result<(), EncodeError> {
        w.property(SELECTION, |w| {
            w.zeros(4);
            let zeros = METHOD.checked_sub(self.method.len()).filter(|zeros| *zeros > 0);
            w.bytes(self.method.as_bytes());
            w.zeros(zeros.ok_or(EncodeError::TooLong { what: "the name of a way to select" })?);
            w.u64(self.param);
            self.fields
                .iter()
                .try_for_each(|(field, mask)| oxm::write_entry(w, version.0, *field, *mask, field.info().max_value()))
        })
    }

    fn read_all(r: &mut Reader<'_>) -> Result<Option<Selection>, DecodeError> {
        let mut found = None;
        while let Some(p) = Property::next(r)? {
            match p.kind {
                SELECTION | OLD_SELECTION => found = Some(Selection::read(&p)?),
                _ => return Err(p.unknown("group")),
            }
        }
        Ok(found)
    }
}

/// Buckets that have their length in front, and properties behind.
fn lists(
    buckets: &mut Vec<Bucket>,
    selection: &mut Option<Selection>,
    io: &mut Io<'_, '_>,
    mut after_length: impl FnMut(&mut Io<'_, '_>) -> Done,
) -> Done {
    let version = io.version;
    let mut w = Writer::new();
    if !io.reads() {
        let mut inner = Io::writing(version, &mut w);
        inner.list(buckets, |io, b| b.pass(io))?;
    }
    let bytes = w.into_bytes();
    let mut len = u16::try_from(bytes.len()).map_err(|_| EncodeError::TooLong { what: "a list of buckets" })?;
    io.u16(&mut len)?;
    after_length(io)?;
    io.check(!io.reads() || usize::from(len) <= io.left(), OfError::BadRequestBadLength, "buckets within the message")?;
    if io.reads() {
        io.sub(len.into(), |io| io.list(buckets, |io, b| b.pass(io)))?;
    } else {
        let mut bytes = bytes;
        io.rest(&mut bytes)?;
    }
    io.either(selection, Selection::read_all, |s, w| s.as_ref().map_or(Ok(()), |s| s.write(w, version)))
}

/// A group.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct GroupDesc {
    /// Its number.
    #[cfg_attr(feature = "serde", serde(rename = "group_id", with = "As::<Named<GroupId>>"))]
    pub group: u32,
    /// 0 all of the buckets, 1 one that is selected, 2 the one that there is, 3 the first that is alive.
    #[cfg_attr(feature = "serde", serde(rename = "type", with = "As::<Named<GroupType>>"))]
    pub kind: u8,
    /// What it may do.
    pub buckets: Vec<Bucket>,
    /// How one is selected.
    pub selection: Option<Selection>,
}

const GROUP: Shape = Shape { what: "a group", length_at: 0, align: 8, count_padding: true };

impl GroupDesc {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        let version = io.version;
        io.framed(GROUP, 8, &OfError::BadRequestBadLength, |io| {
            io.length()?;
            io.u8(&mut self.kind)?;
            io.pad(1)?;
            io.u32(&mut self.group)?;
            if new_form(version) {
                return lists(&mut self.buckets, &mut self.selection, io, |io| io.pad(6));
            }
            io.list(&mut self.buckets, |io, b| b.pass(io))
        })
    }
}

/// Changes groups.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct GroupMod {
    /// 0 adds, 1 modifies, 2 deletes, 3 inserts buckets, 5 removes buckets, 0x8000 adds or modifies.
    #[cfg_attr(feature = "serde", serde(with = "As::<Named<GroupCommand>>"))]
    pub command: u16,
    /// The group.
    #[cfg_attr(feature = "serde", serde(rename = "group"))]
    pub desc: GroupDesc,
    /// The bucket to insert behind or to remove; above 0xffffff00 first, last or all.
    #[cfg_attr(feature = "serde", serde(rename = "command_bucket_id", with = "As::<Named<BucketId>>"))]
    pub bucket: u32,
}

impl GroupMod {
    /// Of [`GroupMod::bucket`]: all.
    pub const ALL_BUCKETS: u32 = 0xffff_ffff;
}

impl Default for GroupMod {
    fn default() -> Self {
        GroupMod { command: 0, desc: GroupDesc::default(), bucket: GroupMod::ALL_BUCKETS }
    }
}

impl GroupMod {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>, kind: Kind) -> Done {
        io.u16(&mut self.command)?;
        io.u8(&mut self.desc.kind)?;
        io.pad(1)?;
        io.u32(&mut self.desc.group)?;
        if kind == Kind::GroupMod11 {
            io.list(&mut self.desc.buckets, |io, b| b.pass(io))?;
            let empty = self.command != 2 || self.desc.buckets.is_empty() || io.version < Version::V1_3;
            io.check(empty, OfError::GroupModInvalidGroup, "no buckets in a deletion")?;
        } else {
            let bucket = &mut self.bucket;
            lists(&mut self.desc.buckets, &mut self.desc.selection, io, |io| {
                io.pad(2)?;
                io.u32(bucket)
            })?;
            let command = self.command;
            let chosen = match command {
                3 => *bucket != GroupMod::ALL_BUCKETS,
                5 => true,
                _ => *bucket == GroupMod::ALL_BUCKETS,
            };
            io.check(chosen || command > 5, OfError::GroupModBadBucket, "a bucket that the command has")?;
        }
        self.check(io)
    }

    fn check(&self, io: &Io<'_, '_>) -> Done {
        let inserts = self.command == 3;
        io.check(self.desc.kind <= 3, OfError::GroupModBadType, "a type from 0 to 3")?;
        let one = self.desc.kind != 2 || self.command == 2 || self.desc.buckets.len() == 1;
        io.check(one, OfError::GroupModInvalidGroup, "one bucket")?;
        io.check(matches!(self.command, 0..=3 | 5 | 0x8000), OfError::GroupModBadCommand, "a known command")?;
        let none = self.command != 5 || self.desc.buckets.is_empty();
        io.check(none, OfError::GroupModBadBucket, "no buckets in a removal")?;
        for b in &self.desc.buckets {
            let weighs = b.weight != 0 && self.desc.kind != 1 && !inserts;
            io.check(!weighs, OfError::GroupModInvalidGroup, "weights in groups that select")?;
            let watches = b.watch_port != OfPort::ANY || b.watch_group != NO_GROUP;
            match self.desc.kind {
                0 | 2 => io.check(!watches, OfError::GroupModWatchUnsupported, "nothing to watch")?,
                3 => io.check(watches, OfError::GroupModInvalidGroup, "something to watch")?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// The statistics of a group. All ones are not counted.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct GroupStats {
    /// Its number.
    #[cfg_attr(feature = "serde", serde(rename = "group_id"))]
    pub group: u32,
    /// How many flows and groups name it.
    #[cfg_attr(feature = "serde", serde(rename = "ref_count"))]
    pub references: u32,
    /// Packets and bytes.
    #[cfg_attr(feature = "serde", serde(with = "As::<Record<PacketsAndBytes, Counter>>"))]
    pub counts: (u64, u64),
    /// How long it has existed: seconds and nanoseconds; versions 1.1 and 1.2 do not tell.
    #[cfg_attr(feature = "serde", serde(with = "As::<Option<Seconds>>"))]
    pub duration: Option<(u32, u32)>,
    /// Of each bucket, packets and bytes.
    #[cfg_attr(feature = "serde", serde(with = "As::<Vec<Record<PacketsAndBytes, Counter>>>"))]
    pub buckets: Vec<(u64, u64)>,
}

impl GroupStats {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        let timed = !matches!(io.version, Version::V1_1 | Version::V1_2);
        io.framed(GROUP, if timed { 40 } else { 32 }, &OfError::BadRequestBadLength, |io| {
            io.length()?;
            io.pad(2)?;
            io.u32(&mut self.group)?;
            io.u32(&mut self.references)?;
            io.pad(4)?;
            io.u64(&mut self.counts.0)?;
            io.u64(&mut self.counts.1)?;
            if timed {
                let mut duration = self.duration.unwrap_or_default();
                io.u32(&mut duration.0)?;
                io.u32(&mut duration.1)?;
                self.duration = Some(duration);
            }
            io.list(&mut self.buckets, |io, b| {
                io.u64(&mut b.0)?;
                io.u64(&mut b.1)
            })
        })
    }
}

/// Which groups there can be: of each kind in turn.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct GroupFeatures {
    /// The kinds, a bit each.
    #[cfg_attr(feature = "serde", serde(with = "As::<Flags<GroupTypes>>"))]
    pub types: u32,
    /// `OFPGFC_*`.
    #[cfg_attr(feature = "serde", serde(with = "As::<Flags<GroupCapabilities>>"))]
    pub capabilities: u32,
    /// How many.
    #[cfg_attr(feature = "serde", serde(with = "As::<Record<GroupType>>"))]
    pub max_groups: [u32; 4],
    /// The actions that they can have, a bit each, as the version numbers them.
    #[cfg_attr(feature = "serde", serde(with = "As::<Record<GroupType, Bits>>"))]
    pub actions: [u32; 4],
}

impl GroupFeatures {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        io.u32(&mut self.types)?;
        io.u32(&mut self.capabilities)?;
        self.max_groups.iter_mut().try_for_each(|n| io.u32(n))?;
        self.actions.iter_mut().try_for_each(|n| io.u32(n))
    }
}

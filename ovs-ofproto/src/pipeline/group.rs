//! The group table (OpenFlow 1.5, sections 5.10 and 7.3.4.3).
//!
//! A group is a list of buckets of actions with a rule for choosing among them. Flows name groups, and so do buckets of
//! other groups, as long as no chain of them leads back to where it began.
//!
//! # Invariants
//!
//! - The buckets of a group have different numbers.
//! - No group leads to itself through actions of its buckets, or by what its buckets watch.
//! - A change that is refused leaves the table as it was.
//!
//! Changes that belong together are made between [`begin`](GroupTable::begin) and [`commit`](GroupTable::commit) or
//! [`undo`](GroupTable::undo). Until then who asks sees the groups as they were.
//!
//! A group that is changed counts from zero, and is as old as it was.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use ovs_packet::field::FieldId;
use ovs_packet::{Instant, OfPort};

use crate::action::Action;
use crate::codec::{self, GroupDesc, GroupFeatures, GroupMod, GroupStats, OfError, Selection};

/// The highest number of a group.
pub const MAX_GROUP: u32 = 0xffff_ff00;

/// Of a group number: all groups.
pub const ALL_GROUPS: u32 = 0xffff_fffc;

/// Of a group number: none, or in a request any.
pub const ANY_GROUP: u32 = 0xffff_ffff;

/// The highest number of a bucket.
const MAX_BUCKET: u32 = 0xffff_ff00;
/// Of the bucket that a command names: the first, the last, all.
const FIRST_BUCKET: u32 = 0xffff_fffd;
const LAST_BUCKET: u32 = 0xffff_fffe;

/// How a group uses its buckets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum GroupKind {
    /// A copy of the packet for each.
    All = 0,
    /// One, chosen by a hash and the weights.
    Select = 1,
    /// The one that there is.
    Indirect = 2,
    /// The first that is alive.
    FastFailover = 3,
}

impl GroupKind {
    /// All kinds, by their number on the wire.
    pub const ALL: [GroupKind; 4] = [GroupKind::All, GroupKind::Select, GroupKind::Indirect, GroupKind::FastFailover];

    /// The kind with this number.
    pub fn by_number(number: u8) -> Option<GroupKind> {
        GroupKind::ALL.get(usize::from(number)).copied()
    }
}

/// How a group of kind [`Select`](GroupKind::Select) chooses.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum SelectionMethod {
    /// As the switch likes: by a hash that the datapath computes.
    Default,
    /// By a hash that the datapath computes.
    DpHash {
        /// Which hash: 0 of addresses and ports, 1 of the same in either direction alike.
        algorithm: u32,
        /// What the hash begins with.
        basis: u32,
    },
    /// By a hash of these fields, with the bits of each that count; of the addresses if there are none.
    Hash {
        /// The fields.
        fields: Vec<(FieldId, u128)>,
        /// What the hash begins with.
        basis: u64,
    },
}

impl SelectionMethod {
    fn of(selection: Option<&Selection>) -> Result<SelectionMethod, OfError> {
        match selection {
            None => Ok(SelectionMethod::Default),
            Some(s) => match s.method.as_str() {
                "" if s.fields.is_empty() && s.param == 0 => Ok(SelectionMethod::Default),
                "dp_hash" if s.fields.is_empty() => {
                    Ok(SelectionMethod::DpHash { algorithm: (s.param >> 32) as u32, basis: s.param as u32 })
                }
                "hash" => Ok(SelectionMethod::Hash { fields: s.fields.clone(), basis: s.param }),
                _ => Err(OfError::BadPropertyBadValue),
            },
        }
    }
}

/// Packets and bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Counts {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Counts {
    fn add(&mut self, packets: u64, bytes: u64) {
        self.packets = self.packets.saturating_add(packets);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What a group may do.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Bucket {
    /// Its number: unique in the group.
    pub id: u32,
    /// How likely it is selected, compared with the others.
    pub weight: u16,
    /// The port that must be up; [`OfPort::ANY`] is none.
    pub watch_port: OfPort,
    /// The group that must be alive; [`ANY_GROUP`] is none.
    pub watch_group: u32,
    /// What it does: as an action set, in OpenFlow's order.
    pub actions: Vec<Action>,
}

impl Bucket {
    pub(super) fn of(bucket: &codec::Bucket) -> Bucket {
        Bucket {
            id: bucket.id,
            weight: bucket.weight,
            watch_port: bucket.watch_port,
            watch_group: bucket.watch_group,
            actions: bucket.actions.clone(),
        }
    }

    /// Whether something is watched for it.
    pub fn watches(&self) -> bool {
        self.watch_port != OfPort::ANY || self.watch_group != ANY_GROUP
    }

    fn watched_group(&self) -> Option<u32> {
        Some(self.watch_group).filter(|g| *g != ANY_GROUP)
    }

    /// The groups that it leads to.
    fn leads_to(&self) -> impl Iterator<Item = u32> {
        groups_in(&self.actions).into_iter().chain(self.watched_group())
    }

    fn desc(&self) -> codec::Bucket {
        codec::Bucket {
            id: self.id,
            weight: self.weight,
            watch_port: self.watch_port,
            watch_group: self.watch_group,
            actions: self.actions.clone(),
        }
    }
}

/// The groups that actions name, nested ones too.
pub(super) fn groups_in(actions: &[Action]) -> Vec<u32> {
    fn find(actions: &[Action], found: &mut Vec<u32>) {
        for a in actions {
            match a {
                Action::Group(group) => found.push(*group),
                Action::Clone(inner) => find(inner, found),
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    find(actions, &mut found);
    found
}

/// A group as it is set up. Its counters are the table's: [`GroupTable::counts`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Group {
    /// Its number.
    pub id: u32,
    /// How it uses its buckets.
    pub kind: GroupKind,
    /// The buckets, in their order.
    pub buckets: Vec<Bucket>,
    /// How one is selected.
    pub method: SelectionMethod,
    /// When it was added.
    pub created: Instant,
    /// When it was last changed.
    pub modified: Instant,
    /// As it was said, to be repeated.
    selection: Option<Selection>,
    /// Which of all groups that ever were: what was counted for another of the same number is not for this one.
    generation: u64,
}

impl Group {
    /// The groups that it leads to.
    fn leads_to(&self) -> impl Iterator<Item = u32> {
        self.buckets.iter().flat_map(Bucket::leads_to)
    }

    /// Names this group, and not another that may get its number later, for what is [credited](GroupTable::credit).
    pub fn key(&self) -> GroupKey {
        GroupKey { id: self.id, generation: self.generation }
    }

    /// As OpenFlow describes it.
    pub fn desc(&self) -> GroupDesc {
        GroupDesc {
            group: self.id,
            kind: self.kind as u8,
            buckets: self.buckets.iter().map(Bucket::desc).collect(),
            selection: self.selection.clone(),
        }
    }
}

/// A group at one time: after a change it has another key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct GroupKey {
    /// Its number.
    pub id: u32,
    generation: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    /// Shared, so that a translation can hold it while the table changes.
    group: Arc<Group>,
    counts: Counts,
    /// Of each bucket, in their order.
    buckets: Vec<Counts>,
}

/// What a change of groups came to.
#[derive(Debug)]
pub(super) struct GroupChange {
    /// The groups that it was about.
    pub(super) groups: Vec<u32>,
    /// Those that are gone: flows that name them go with them.
    pub(super) deleted: Vec<u32>,
}

/// The groups of a switch.
#[derive(Clone, Debug)]
pub struct GroupTable {
    groups: BTreeMap<u32, Entry>,
    /// While changes are under way: what the groups were that these are about.
    before: Option<BTreeMap<u32, Option<Entry>>>,
    /// Who asks sees what is under way.
    ahead: bool,
    /// Of each kind, how many there may be.
    limits: [u32; 4],
    of_kind: [u32; 4],
    generation: u64,
}

impl Default for GroupTable {
    fn default() -> Self {
        GroupTable {
            groups: BTreeMap::new(),
            before: None,
            ahead: false,
            limits: [MAX_GROUP; 4],
            of_kind: [0; 4],
            generation: 0,
        }
    }
}

impl GroupTable {
    // Queries.

    /// A group.
    pub fn get(&self, id: u32) -> Option<&Arc<Group>> {
        self.entry(id).map(|e| &e.group)
    }

    fn entry(&self, id: u32) -> Option<&Entry> {
        match self.before.as_ref().filter(|_| !self.ahead).and_then(|before| before.get(&id)) {
            Some(before) => before.as_ref(),
            None => self.groups.get(&id),
        }
    }

    /// A group as it is when what is under way is done.
    pub(super) fn latest(&self, id: u32) -> Option<&Arc<Group>> {
        self.groups.get(&id).map(|e| &e.group)
    }

    /// How many groups there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The groups, by number.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Group>> {
        let before = self.before.iter().flatten().map(|(id, _)| *id);
        let ids: BTreeSet<u32> = self.groups.keys().copied().chain(before).collect();
        ids.into_iter().filter_map(|id| self.get(id))
    }

    /// What went through a group, and through each of its buckets, in their order.
    pub fn counts(&self, id: u32) -> Option<(Counts, &[Counts])> {
        self.entry(id).map(|e| (e.counts, e.buckets.as_slice()))
    }

    /// Whether a group can pass packets on: one of its buckets is alive.
    pub fn is_alive(&self, id: u32, port_is_up: &dyn Fn(OfPort) -> bool) -> bool {
        self.one_is_alive(vec![id], port_is_up)
    }

    /// Whether a bucket can be chosen: the port that it watches is up, or the group is alive, or it watches nothing.
    pub fn bucket_is_alive(&self, bucket: &Bucket, port_is_up: &dyn Fn(OfPort) -> bool) -> bool {
        let up = bucket.watch_port != OfPort::ANY && port_is_up(bucket.watch_port);
        up || !bucket.watches() || self.one_is_alive(bucket.watched_group().into_iter().collect(), port_is_up)
    }

    /// Whether one of the groups is alive: whether a bucket that does not wait for a group is, of any group that they
    /// come to wait for.
    fn one_is_alive(&self, mut ahead: Vec<u32>, port_is_up: &dyn Fn(OfPort) -> bool) -> bool {
        let mut seen = HashSet::new();
        while let Some(id) = ahead.pop() {
            let Some(group) = self.get(id).filter(|_| seen.insert(id)) else { continue };
            let up = |b: &Bucket| b.watch_port != OfPort::ANY && port_is_up(b.watch_port);
            if group.buckets.iter().any(|b| !b.watches() || up(b)) {
                return true;
            }
            ahead.extend(group.buckets.iter().filter_map(Bucket::watched_group));
        }
        false
    }

    /// How many groups name `id`.
    pub fn references(&self, id: u32) -> usize {
        self.iter().filter(|g| g.leads_to().any(|other| other == id)).count()
    }

    /// The statistics of a group, as far as the table knows them: the flows that name it are counted by who has them.
    pub(super) fn stats(&self, id: u32, flows: usize, now: Instant) -> Option<GroupStats> {
        let e = self.entry(id)?;
        let age = now - e.group.created;
        Some(GroupStats {
            group: id,
            references: u32::try_from(flows).unwrap_or(u32::MAX),
            counts: (e.counts.packets, e.counts.bytes),
            duration: Some((u32::try_from(age.as_secs()).unwrap_or(u32::MAX), age.subsec_nanos())),
            buckets: e.buckets.iter().map(|c| (c.packets, c.bytes)).collect(),
        })
    }

    /// What groups there can be. `actions` are those that buckets may have, as bits.
    pub(super) fn features(&self, actions: u32) -> GroupFeatures {
        /// Weights in groups that select, liveness of what is watched, and chaining.
        const CAPABILITIES: u32 = 0b111;
        GroupFeatures { types: 0b1111, capabilities: CAPABILITIES, max_groups: self.limits, actions: [actions; 4] }
    }

    // Changes.

    /// Lets there be at most so many groups of a kind. Those that are there stay.
    pub fn set_limit(&mut self, kind: GroupKind, groups: u32) {
        if let Some(limit) = self.limits.get_mut(kind as usize) {
            *limit = groups.min(MAX_GROUP);
        }
    }

    /// Counts packets for a group, if it is there still.
    pub fn credit(&mut self, key: GroupKey, packets: u64, bytes: u64) {
        self.entry_of(key).into_iter().for_each(|e| e.counts.add(packets, bytes));
    }

    /// Counts packets for a bucket of a group, by its place in [`Group::buckets`].
    pub fn credit_bucket(&mut self, key: GroupKey, bucket: usize, packets: u64, bytes: u64) {
        if let Some(counts) = self.entry_of(key).and_then(|e| e.buckets.get_mut(bucket)) {
            counts.add(packets, bytes);
        }
    }

    fn entry_of(&mut self, key: GroupKey) -> Option<&mut Entry> {
        let before = self.before.as_mut().and_then(|before| before.get_mut(&key.id)?.as_mut());
        before.into_iter().chain(self.groups.get_mut(&key.id)).find(|e| e.group.generation == key.generation)
    }

    /// Has who asks see what is under way, or not.
    pub(super) fn look_ahead(&mut self, ahead: bool) {
        self.ahead = ahead;
    }

    /// Has changes from now on belong together.
    pub(super) fn begin(&mut self) {
        self.before = Some(BTreeMap::new());
    }

    /// Makes what is under way true.
    pub(super) fn commit(&mut self) {
        self.before = None;
    }

    /// Takes back what is under way.
    pub(super) fn undo(&mut self) {
        for (id, old) in self.before.take().unwrap_or_default() {
            self.replace(id, old);
        }
    }

    /// Carries a modification out.
    ///
    /// Actions of buckets are not looked at, but for the groups that they lead to.
    pub(super) fn modify(&mut self, gm: &GroupMod, now: Instant) -> Result<GroupChange, OfError> {
        let id = gm.desc.group;
        let known = self.groups.contains_key(&id);
        match gm.command {
            0 if known => Err(OfError::GroupModGroupExists),
            0 => self.put(self.made(&gm.desc, now)?),
            1 if !known => Err(OfError::GroupModUnknownGroup),
            1 | 0x8000 => self.put(self.made(&gm.desc, now)?),
            2 => Ok(self.delete(id)),
            3 | 5 => {
                let old = self.latest(id).ok_or(OfError::GroupModUnknownGroup)?;
                let buckets = match gm.command {
                    3 => inserted(&old.buckets, gm)?,
                    _ => removed(&old.buckets, gm.bucket)?,
                };
                let group = Group { buckets, modified: now, ..Group::clone(old) };
                self.put(group)
            }
            _ => Err(OfError::GroupModBadCommand),
        }
    }

    /// The group of a description, as old as the one that it replaces.
    fn made(&self, desc: &GroupDesc, now: Instant) -> Result<Group, OfError> {
        let kind = GroupKind::by_number(desc.kind).ok_or(OfError::GroupModBadType)?;
        Ok(Group {
            id: desc.group,
            kind,
            buckets: desc.buckets.iter().map(Bucket::of).collect(),
            method: SelectionMethod::of(desc.selection.as_ref())?,
            created: self.latest(desc.group).map_or(now, |old| old.created),
            modified: now,
            selection: desc.selection.clone(),
            generation: 0,
        })
    }

    fn put(&mut self, mut group: Group) -> Result<GroupChange, OfError> {
        if group.id > MAX_GROUP || (group.kind == GroupKind::Indirect && group.buckets.len() != 1) {
            return Err(OfError::GroupModInvalidGroup);
        }
        let mut numbers = HashSet::new();
        for b in &group.buckets {
            if b.id > MAX_BUCKET {
                return Err(OfError::GroupModBadBucket);
            }
            if !numbers.insert(b.id) {
                return Err(OfError::GroupModBucketExists);
            }
        }
        if self.would_loop(&group) {
            return Err(OfError::GroupModLoop);
        }
        let (id, kind) = (group.id, group.kind as usize);
        let old_kind = self.latest(id).map(|old| old.kind as usize);
        let full = self.of_kind.get(kind) >= self.limits.get(kind);
        if old_kind != Some(kind) && full {
            return Err(OfError::GroupModOutOfGroups);
        }
        self.generation += 1;
        group.generation = self.generation;
        let buckets = vec![Counts::default(); group.buckets.len()];
        let entry = Entry { group: Arc::new(group), counts: Counts::default(), buckets };
        self.replace(id, Some(entry));
        Ok(GroupChange { groups: vec![id], deleted: Vec::new() })
    }

    fn delete(&mut self, id: u32) -> GroupChange {
        let ids: Vec<u32> = match id {
            ALL_GROUPS => self.groups.keys().copied().collect(),
            id => self.groups.contains_key(&id).then_some(id).into_iter().collect(),
        };
        ids.iter().for_each(|id| self.replace(*id, None));
        GroupChange { groups: ids.clone(), deleted: ids }
    }

    fn replace(&mut self, id: u32, entry: Option<Entry>) {
        if let Some(n) = entry.as_ref().and_then(|e| self.of_kind.get_mut(e.group.kind as usize)) {
            *n += 1;
        }
        let old = match entry {
            Some(entry) => self.groups.insert(id, entry),
            None => self.groups.remove(&id),
        };
        if let Some(n) = old.as_ref().and_then(|e| self.of_kind.get_mut(e.group.kind as usize)) {
            *n -= 1;
        }
        if let Some(before) = &mut self.before {
            before.entry(id).or_insert(old);
        }
    }

    /// Asserts the invariants. For tests: it looks at everything.
    pub(super) fn check(&self) {
        let mut of_kind = [0; 4];
        for (id, e) in &self.groups {
            assert_eq!((*id, e.group.buckets.len()), (e.group.id, e.buckets.len()));
            let numbers: HashSet<u32> = e.group.buckets.iter().map(|b| b.id).collect();
            assert!(numbers.len() == e.buckets.len() && !self.would_loop(&e.group), "group {id}");
            if let Some(n) = of_kind.get_mut(e.group.kind as usize) {
                *n += 1;
            }
        }
        assert_eq!(of_kind, self.of_kind);
    }

    /// Whether `group` would lead to itself.
    fn would_loop(&self, group: &Group) -> bool {
        let mut ahead: Vec<u32> = group.leads_to().collect();
        let mut seen = HashSet::new();
        while let Some(id) = ahead.pop() {
            if id == group.id {
                return true;
            }
            if seen.insert(id) {
                ahead.extend(self.latest(id).into_iter().flat_map(|g| g.leads_to()));
            }
        }
        false
    }
}

/// The buckets with those of a command among them, behind the one that it names.
fn inserted(old: &[Bucket], gm: &GroupMod) -> Result<Vec<Bucket>, OfError> {
    let at = match gm.bucket {
        FIRST_BUCKET => 0,
        LAST_BUCKET => old.len(),
        id => 1 + place(old, id)?,
    };
    let (before, after) = old.split_at_checked(at).unwrap_or((old, &[]));
    let new = gm.desc.buckets.iter().map(Bucket::of);
    Ok(before.iter().cloned().chain(new).chain(after.iter().cloned()).collect())
}

/// The buckets without the one that a command names.
fn removed(old: &[Bucket], id: u32) -> Result<Vec<Bucket>, OfError> {
    let mut buckets = old.to_vec();
    match id {
        GroupMod::ALL_BUCKETS => buckets.clear(),
        FIRST_BUCKET => drop(buckets.splice(..buckets.len().min(1), [])),
        LAST_BUCKET => drop(buckets.pop()),
        id => drop(buckets.remove(place(old, id)?)),
    }
    Ok(buckets)
}

fn place(buckets: &[Bucket], id: u32) -> Result<usize, OfError> {
    buckets.iter().position(|b| b.id == id).ok_or(OfError::GroupModUnknownBucket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Parser;

    fn modify(
        t: &mut GroupTable,
        command: u16,
        group: u32,
        kind: u8,
        buckets: &[codec::Bucket],
    ) -> Result<GroupChange, OfError> {
        let mut gm = GroupMod::default();
        (gm.command, gm.desc.group, gm.desc.kind) = (command, group, kind);
        gm.desc.buckets = buckets.to_vec();
        t.modify(&gm, Instant::ZERO)
    }

    fn bucket(id: u32, actions: &str) -> codec::Bucket {
        codec::Bucket { id, actions: Parser::default().actions(actions).unwrap(), ..codec::Bucket::default() }
    }

    fn watching(id: u32, port: OfPort, group: u32) -> codec::Bucket {
        codec::Bucket { watch_port: port, watch_group: group, ..bucket(id, "drop") }
    }

    #[test]
    fn commands_and_their_errors() {
        use OfError::*;
        let mut t = GroupTable::default();
        let two = [bucket(0, "output:1"), bucket(1, "output:2")];
        assert_eq!(modify(&mut t, 1, 1, 0, &two).unwrap_err(), GroupModUnknownGroup);
        modify(&mut t, 0, 1, 0, &two).unwrap();
        assert_eq!(modify(&mut t, 0, 1, 0, &two).unwrap_err(), GroupModGroupExists);
        assert_eq!(modify(&mut t, 0, 2, 2, &two).unwrap_err(), GroupModInvalidGroup);
        assert_eq!(modify(&mut t, 0, MAX_GROUP + 1, 0, &two).unwrap_err(), GroupModInvalidGroup);
        assert_eq!(modify(&mut t, 0, 2, 0, &[two[0].clone(), two[0].clone()]).unwrap_err(), GroupModBucketExists);
        assert_eq!(modify(&mut t, 9, 2, 0, &two).unwrap_err(), GroupModBadCommand);
        t.set_limit(GroupKind::All, 1);
        assert_eq!(modify(&mut t, 0, 2, 0, &two).unwrap_err(), GroupModOutOfGroups);
        modify(&mut t, 0x8000, 2, 1, &two).unwrap();
        assert_eq!(modify(&mut t, 1, 2, 0, &two).unwrap_err(), GroupModOutOfGroups);
        modify(&mut t, 0x8000, 1, 1, &two).unwrap();
        assert!(modify(&mut t, 2, 7, 0, &[]).unwrap().deleted.is_empty());
        assert_eq!(modify(&mut t, 2, ALL_GROUPS, 0, &[]).unwrap().deleted, [1, 2]);
        assert!(t.is_empty() && t.of_kind == [0; 4]);
    }

    #[test]
    fn buckets_are_inserted_behind_the_one_named() {
        let mut t = GroupTable::default();
        modify(&mut t, 0, 1, 0, &[bucket(1, "output:1"), bucket(2, "output:2")]).unwrap();
        let mut change = |command, at, ids: &[u32]| {
            let mut gm = GroupMod::default();
            (gm.command, gm.desc.group, gm.bucket) = (command, 1, at);
            gm.desc.buckets = ids.iter().map(|id| bucket(*id, "drop")).collect();
            t.modify(&gm, Instant::ZERO)?;
            Ok(t.get(1).unwrap().buckets.iter().map(|b| b.id).collect::<Vec<_>>())
        };
        assert_eq!(change(3, 1, &[5, 6]), Ok(vec![1, 5, 6, 2]));
        assert_eq!(change(3, FIRST_BUCKET, &[7]), Ok(vec![7, 1, 5, 6, 2]));
        assert_eq!(change(3, LAST_BUCKET, &[8]), Ok(vec![7, 1, 5, 6, 2, 8]));
        assert_eq!(change(3, 99, &[9]), Err(OfError::GroupModUnknownBucket));
        assert_eq!(change(3, 1, &[2]), Err(OfError::GroupModBucketExists));
        assert_eq!(change(5, 5, &[]), Ok(vec![7, 1, 6, 2, 8]));
        assert_eq!(change(5, FIRST_BUCKET, &[]), Ok(vec![1, 6, 2, 8]));
        assert_eq!(change(5, LAST_BUCKET, &[]), Ok(vec![1, 6, 2]));
        assert_eq!(change(5, GroupMod::ALL_BUCKETS, &[]), Ok(vec![]));
        assert_eq!(change(5, FIRST_BUCKET, &[]), Ok(vec![]));
    }

    #[test]
    fn no_group_leads_to_itself() {
        let mut t = GroupTable::default();
        assert_eq!(modify(&mut t, 0, 1, 0, &[bucket(0, "group:1")]).unwrap_err(), OfError::GroupModLoop);
        modify(&mut t, 0, 1, 0, &[bucket(0, "group:2")]).unwrap();
        modify(&mut t, 0, 3, 0, &[bucket(0, "clone(group:1)")]).unwrap();
        assert_eq!(modify(&mut t, 0, 2, 0, &[bucket(0, "group:3")]).unwrap_err(), OfError::GroupModLoop);
        let watches = watching(0, OfPort::ANY, 3);
        assert_eq!(modify(&mut t, 0, 2, 3, &[watches]).unwrap_err(), OfError::GroupModLoop);
        modify(&mut t, 0, 2, 0, &[bucket(0, "output:1")]).unwrap();
        assert_eq!((t.references(1), t.references(3)), (1, 0));
    }

    #[test]
    fn what_is_watched_decides_who_is_alive_however_it_branches() {
        let mut t = GroupTable::default();
        modify(&mut t, 0, 1, 3, &[watching(0, OfPort(7), ANY_GROUP)]).unwrap();
        // Each of many groups waits for the one before it by two ways: there are 2^200 paths.
        for id in 2..200 {
            modify(&mut t, 0, id, 3, &[watching(0, OfPort::ANY, id - 1), watching(1, OfPort::ANY, id - 1)]).unwrap();
        }
        assert!(t.is_alive(199, &|p| p == OfPort(7)));
        assert!(!t.is_alive(199, &|_| false) && !t.is_alive(500, &|_| true));
        let one = t.get(2).unwrap().buckets[0].clone();
        assert!(t.bucket_is_alive(&one, &|p| p == OfPort(7)) && !t.bucket_is_alive(&one, &|_| false));
    }

    #[test]
    fn counts_are_of_one_setup_and_undone_changes_leave_no_trace() {
        let mut t = GroupTable::default();
        modify(&mut t, 0, 1, 0, &[bucket(0, "output:1")]).unwrap();
        let key = t.get(1).unwrap().key();
        t.credit(key, 1, 100);
        t.credit_bucket(key, 0, 1, 100);
        t.credit_bucket(key, 9, 1, 100);
        let before = format!("{t:?}");
        t.begin();
        modify(&mut t, 1, 1, 1, &[bucket(0, "output:2")]).unwrap();
        modify(&mut t, 0, 2, 0, &[]).unwrap();
        assert_eq!(
            (t.len(), t.get(1).unwrap().kind, t.latest(1).unwrap().kind),
            (1, GroupKind::All, GroupKind::Select)
        );
        t.look_ahead(true);
        assert_eq!(
            (t.len(), t.get(1).unwrap().kind, t.counts(1).unwrap().0),
            (2, GroupKind::Select, Counts::default())
        );
        t.look_ahead(false);
        t.credit(key, 2, 50);
        assert_eq!(modify(&mut t, 2, ALL_GROUPS, 0, &[]).unwrap().groups, [1, 2]);
        assert!(t.latest(1).is_none() && t.get(1).is_some() && t.get(2).is_none());
        t.undo();
        t.generation -= 2;
        assert_eq!(format!("{t:?}"), before.replacen("packets: 1, bytes: 100", "packets: 3, bytes: 150", 1));
        t.begin();
        modify(&mut t, 2, 1, 0, &[]).unwrap();
        t.commit();
        assert!(t.is_empty() && t.of_kind == [0; 4]);
        t.credit(key, 1, 1);
        t.check();
    }
}

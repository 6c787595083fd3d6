//! What megaflows have in common: a tree of what their packets met and asked, step by step.
//!
//! Packets that meet the same rules first share the beginning of their paths. So the tree has few nodes where many
//! megaflows differ in what nothing but the mask sees, and a megaflow is the leaf where its path ends: four bytes.
//!
//! - What met a rule, or asked for a group or a station, is below the nodes that say so ([`Paths::users`]): whatever
//!   changes, only they are looked at.
//! - What went through megaflows is summed up at their leaves and then along the branches ([`Tally`]), so that each rule is
//!   credited once, however many megaflows met it.
//!
//! # Invariant
//!
//! A node has children or members; the links between them are whole. A node's place in the list of its key is
//! [`Node::place`].

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::mem::{discriminant, size_of};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use ovs_packet::{EthAddr, Instant};

use crate::pipeline::flow_table::RuleId;
use crate::pipeline::translate::{Dependencies, Effect, Translation};

/// No node, no megaflow.
pub(super) const NONE: u32 = u32::MAX;

/// A step of a path, as a translation has it: what happened, and in which switch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step<'a> {
    Effect(&'a (usize, Effect)),
    Asked(Key),
}

/// What a change is a change of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(in crate::pipeline) enum Key {
    /// A rule that packets met.
    Rule(usize, RuleId),
    /// A group that was asked for, by its number.
    Group(usize, u32),
    /// An address whose port was asked for.
    Station(usize, u16, EthAddr),
    /// Anything.
    Anything,
}

/// A step of a path, kept.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Kept {
    Effect((usize, Effect)),
    Asked(Key),
    Root,
}

impl Step<'_> {
    fn kept(self) -> Kept {
        match self {
            Step::Effect(e) => Kept::Effect(e.clone()),
            Step::Asked(key) => Kept::Asked(key),
        }
    }

    /// What a change of which concerns those who made this step.
    fn key(self) -> Option<Key> {
        match self {
            Step::Effect((bridge, Effect::Rule { rule, .. })) => Some(Key::Rule(*bridge, *rule)),
            Step::Effect(_) => None,
            Step::Asked(key) => Some(key),
        }
    }
}

impl Hash for Step<'_> {
    fn hash<H: Hasher>(&self, h: &mut H) {
        let (bridge, effect) = match self {
            Step::Asked(key) => return key.hash(h),
            Step::Effect(e) => e,
        };
        (bridge, discriminant(effect)).hash(h);
        match effect {
            Effect::Rule { rule, .. } => rule.hash(h),
            Effect::Miss { table } => table.hash(h),
            Effect::Station { vlan, address, port, gratuitous } => (vlan, address, port, gratuitous).hash(h),
            Effect::Learn(l) => (l.flow.table, l.flow.cookie, l.flow.matching.key().words()).hash(h),
            Effect::FinTimeout { rule, idle, hard } => (rule, idle, hard).hash(h),
            Effect::Group { group, bucket } => (group, bucket).hash(h),
            Effect::Bucket { group, bucket } => (group, bucket).hash(h),
            Effect::Sent { port } | Effect::Received { port } => port.hash(h),
            Effect::Grown { by } => by.hash(h),
            Effect::Neighbour { address, mac } => (address, mac).hash(h),
            Effect::NeighbourUsed { address } => address.hash(h),
        }
    }
}

impl Kept {
    fn step(&self) -> Option<Step<'_>> {
        match self {
            Kept::Effect(e) => Some(Step::Effect(e)),
            Kept::Asked(key) => Some(Step::Asked(*key)),
            Kept::Root => None,
        }
    }
}

/// The steps of a translation, in order: what it did, then what it asked.
fn steps<'a>(effects: &'a [(usize, Effect)], asked: &'a Dependencies) -> impl DoubleEndedIterator<Item = Step<'a>> {
    let groups = asked.groups.iter().map(|(b, g)| Key::Group(*b, *g));
    let stations = asked.stations.iter().map(|(b, vlan, a)| Key::Station(*b, *vlan, *a));
    let keys = groups.chain(stations).chain(asked.volatile.then_some(Key::Anything));
    effects.iter().map(Step::Effect).chain(keys.map(Step::Asked))
}

#[derive(Debug)]
struct Node {
    step: Kept,
    parent: u32,
    depth: u32,
    /// Children, and the brothers of a node.
    child: u32,
    next: u32,
    before: u32,
    /// The first of the megaflows whose path ends here.
    member: u32,
    /// Where this is in the list of nodes of its key.
    place: u32,
    /// When what it stands for changed last; 0 for never.
    changed: u64,
}

/// The tree. Node 0 is its root.
#[derive(Debug)]
pub(super) struct Paths {
    nodes: Vec<Node>,
    free: Vec<u32>,
    /// Nodes by parent and step.
    index: HashTable<u32>,
    users: HashMap<Key, Vec<u32>, RandomState>,
    /// The path that was asked for last: the next is often alike.
    recent: Vec<u32>,
    /// The megaflows before and behind each one, among those of its leaf.
    links: Vec<(u32, u32)>,
    hasher: RandomState,
}

impl Default for Paths {
    fn default() -> Self {
        let mut paths = Paths {
            nodes: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            users: HashMap::default(),
            recent: Vec::new(),
            links: Vec::new(),
            hasher: RandomState::default(),
        };
        paths.nodes.push(node(Kept::Root, NONE, 0));
        paths
    }
}

impl Node {
    fn effect(&self) -> Option<&(usize, Effect)> {
        match &self.step {
            Kept::Effect(e) => Some(e),
            _ => None,
        }
    }
}

fn node(step: Kept, parent: u32, depth: u32) -> Node {
    Node { step, parent, depth, child: NONE, next: NONE, before: NONE, member: NONE, place: NONE, changed: 0 }
}

impl Paths {
    /// How many nodes there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// Bytes that the tree takes.
    pub(super) fn bytes(&self) -> usize {
        let users: usize = self.users.values().map(|list| list.capacity() * 4).sum();
        self.nodes.capacity() * size_of::<Node>()
            + self.users.capacity() * (size_of::<(Key, Vec<u32>)>() + 1)
            + (self.index.capacity() + self.free.capacity() + self.recent.capacity()) * 5
            + self.links.capacity() * 8
            + users
    }

    fn at(&self, n: u32) -> Option<&Node> {
        self.nodes.get(n as usize)
    }

    fn edit(&mut self, n: u32, f: impl FnOnce(&mut Node)) {
        if let Some(node) = self.nodes.get_mut(n as usize) {
            f(node);
        }
    }

    #[inline(always)]
    fn is(&self, n: u32, step: Step<'_>) -> bool {
        match (self.at(n).map(|n| &n.step), step) {
            (Some(Kept::Effect(kept)), Step::Effect(effect)) => kept == effect,
            (Some(Kept::Asked(kept)), Step::Asked(key)) => *kept == key,
            _ => false,
        }
    }

    /// The leaf of a translation's path, which is made if it is not there.
    pub(super) fn enter(&mut self, t: &Translation, slot: u32) -> u32 {
        let mut recent = std::mem::take(&mut self.recent);
        let same = steps(&t.effects, &t.dependencies).zip(&recent).take_while(|(step, n)| self.is(**n, *step)).count();
        recent.truncate(same);
        let mut at = recent.last().copied().unwrap_or(0);
        for step in steps(&t.effects, &t.dependencies).skip(same) {
            at = self.below(at, step);
            recent.push(at);
        }
        self.recent = recent;
        self.join(at, slot);
        at
    }

    /// The child of a node by a step.
    fn below(&mut self, parent: u32, step: Step<'_>) -> u32 {
        let hash = self.hash(parent, step);
        let found = self.index.find(hash, |n| self.at(*n).is_some_and(|c| c.parent == parent) && self.is(*n, step));
        if let Some(n) = found {
            return *n;
        }
        let (depth, sibling) = self.at(parent).map_or((0, NONE), |p| (p.depth + 1, p.child));
        let mut new = node(step.kept(), parent, depth);
        new.next = sibling;
        let n = self.free.last().copied().unwrap_or(self.nodes.len() as u32);
        if let Some(key) = step.key() {
            let list = self.users.entry(key).or_default();
            new.place = list.len() as u32;
            list.push(n);
        }
        match self.free.pop() {
            Some(_) => self.edit(n, |place| *place = new),
            None => self.nodes.push(new),
        }
        self.edit(sibling, |s| s.before = n);
        self.edit(parent, |p| p.child = n);
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        self.index.insert_unique(hash, n, |n| nodes.get(*n as usize).map_or(0, |node| hash_of(hasher, node)));
        n
    }

    fn hash(&self, parent: u32, step: Step<'_>) -> u64 {
        self.hasher.hash_one((parent, step))
    }

    fn join(&mut self, leaf: u32, slot: u32) {
        let Some(first) = self.at(leaf).map(|n| n.member) else { return };
        if self.links.len() <= slot as usize {
            self.links.resize(slot as usize + 1, (NONE, NONE));
        }
        if let Some(link) = self.links.get_mut(slot as usize) {
            *link = (NONE, first);
        }
        if let Some((before, _)) = self.links.get_mut(first as usize) {
            *before = slot;
        }
        self.edit(leaf, |n| n.member = slot);
    }

    /// Takes a megaflow out of its leaf; what no megaflow needs any more goes.
    pub(super) fn leave(&mut self, leaf: u32, slot: u32) {
        let Some((before, next)) = self.links.get_mut(slot as usize).map(|l| std::mem::replace(l, (NONE, NONE))) else {
            return;
        };
        match self.links.get_mut(before as usize) {
            Some((_, behind)) => *behind = next,
            None => self.edit(leaf, |n| n.member = next),
        }
        if let Some((to, _)) = self.links.get_mut(next as usize) {
            *to = before;
        }
        let mut at = leaf;
        while at != 0
            && let Some(n) = self.at(at)
            && n.member == NONE
            && n.child == NONE
        {
            at = self.prune(at);
        }
    }

    /// Removes a node that has nothing; returns its parent.
    fn prune(&mut self, n: u32) -> u32 {
        let Some(node) = self.nodes.get_mut(n as usize) else { return 0 };
        let (parent, next, before, place, depth) = (node.parent, node.next, node.before, node.place, node.depth);
        let hash = hash_of(&self.hasher, node);
        let step = std::mem::replace(&mut node.step, Kept::Root);
        if let Ok(entry) = self.index.find_entry(hash, |known| *known == n) {
            entry.remove();
        }
        match self.nodes.get_mut(before as usize) {
            Some(b) => b.next = next,
            None => self.edit(parent, |p| p.child = next),
        }
        self.edit(next, |b| b.before = before);
        if let Some(key) = step.step().and_then(Step::key)
            && let Some(list) = self.users.get_mut(&key)
        {
            list.swap_remove(place as usize);
            let moved = list.get(place as usize).copied();
            if list.is_empty() {
                self.users.remove(&key);
            }
            moved.into_iter().for_each(|m| self.edit(m, |m| m.place = place));
        }
        let depth = (depth as usize).saturating_sub(1);
        if self.recent.get(depth) == Some(&n) {
            self.recent.truncate(depth);
        }
        self.free.push(n);
        parent
    }

    /// The megaflows of a leaf.
    fn members(&self, leaf: u32) -> impl Iterator<Item = u32> {
        let first = self.at(leaf).map_or(NONE, |n| n.member);
        std::iter::successors(Some(first), |slot| self.links.get(*slot as usize).map(|(_, next)| *next))
            .take_while(|slot| *slot != NONE)
    }

    /// Calls `f` with the megaflows that a change of this concerns, while it says true.
    pub(super) fn users(&self, key: Key, f: &mut dyn FnMut(u32) -> bool) {
        let mut open = self.users.get(&key).cloned().unwrap_or_default();
        while let Some(n) = open.pop() {
            if !self.members(n).all(&mut *f) {
                return;
            }
            let first = self.at(n).map_or(NONE, |n| n.child);
            let children = std::iter::successors(Some(first), |c| self.at(*c).map(|c| c.next));
            open.extend(children.take_while(|c| *c != NONE));
        }
    }

    /// Notes that this changed.
    pub(super) fn note(&mut self, key: Key, now: u64) {
        for n in self.users.get(&key).into_iter().flatten() {
            if let Some(node) = self.nodes.get_mut(*n as usize) {
                node.changed = now;
            }
        }
    }

    /// Whether anything along a path changed later than then.
    pub(super) fn has_changed(&self, leaf: u32, then: u64) -> bool {
        self.up(leaf).any(|n| n.changed > then)
    }

    fn up(&self, leaf: u32) -> impl Iterator<Item = &Node> {
        std::iter::successors(self.at(leaf), |n| self.at(n.parent))
    }

    /// Whether a change of this concerns any megaflow.
    pub(super) fn has_users(&self, key: Key) -> bool {
        self.users.contains_key(&key)
    }

    /// Whether a path is a translation's.
    pub(super) fn is_path(&self, leaf: u32, t: &Translation) -> bool {
        let mut at = leaf;
        let all = steps(&t.effects, &t.dependencies).rev().all(|step| {
            let is_it = self.is(at, step);
            at = self.at(at).map_or(0, |n| n.parent);
            is_it
        });
        all && at == 0
    }

    /// What those of a leaf did, in order.
    pub(super) fn effects(&self, leaf: u32) -> Vec<(usize, Effect)> {
        let mut all: Vec<_> = self.up(leaf).filter_map(Node::effect).cloned().collect();
        all.reverse();
        all
    }

    /// Asserts the invariant: `members` tells which megaflows there are, and their leaves.
    pub(super) fn check(&self, members: impl Iterator<Item = (u32, u32)>) {
        let mut at_leaves = 0;
        let free: std::collections::HashSet<u32> = self.free.iter().copied().collect();
        for (n, node) in (0..).zip(&self.nodes).filter(|(n, _)| !free.contains(n)) {
            assert!(n == 0 || node.child != NONE || node.member != NONE);
            at_leaves += self.members(n).count();
            let children: Vec<_> = std::iter::successors(Some(node.child), |c| self.at(*c).map(|c| c.next))
                .take_while(|c| *c != NONE)
                .collect();
            assert!(children.iter().all(|c| self.at(*c).is_some_and(|c| c.parent == n && c.depth == node.depth + 1)));
            if let Some(key) = node.step.step().and_then(Step::key) {
                let place = self.users.get(&key).and_then(|list| list.get(node.place as usize));
                assert_eq!(place, Some(&n));
            }
        }
        assert_eq!(self.index.len() + 1, self.len());
        let mut expected = 0;
        for (slot, leaf) in members {
            let link = self.links.get(slot as usize).copied();
            let is_first = self.at(leaf).is_some_and(|n| n.member == slot);
            assert!(link.is_some_and(|(before, _)| is_first == (before == NONE)));
            expected += 1;
        }
        assert_eq!(at_leaves, expected);
    }
}

fn hash_of(hasher: &RandomState, node: &Node) -> u64 {
    node.step.step().map_or(0, |step| hasher.hash_one((node.parent, step)))
}

/// What went through.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(in crate::pipeline) struct Sum {
    pub(in crate::pipeline) packets: u64,
    pub(in crate::pipeline) bytes: u64,
    pub(in crate::pipeline) flags: u16,
    pub(in crate::pipeline) used: Instant,
}

impl Sum {
    pub(in crate::pipeline) fn add(&mut self, other: Sum) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.flags |= other.flags;
        self.used = self.used.max(other.used);
    }
}

/// Sums up what went through megaflows, by what they did.
#[derive(Debug)]
pub(super) struct Tally {
    sums: Vec<Sum>,
    /// The nodes that have something, by their depth.
    levels: Vec<Vec<u32>>,
}

impl Tally {
    pub(super) fn new(paths: &Paths) -> Tally {
        Tally { sums: vec![Sum::default(); paths.nodes.len()], levels: Vec::new() }
    }

    pub(super) fn add(&mut self, paths: &Paths, n: u32, news: Sum) {
        let (Some(sum), Some(node)) = (self.sums.get_mut(n as usize), paths.at(n)) else { return };
        if sum.packets == 0 {
            let depth = node.depth as usize;
            if self.levels.len() <= depth {
                self.levels.resize(depth + 1, Vec::new());
            }
            self.levels.get_mut(depth).into_iter().for_each(|level| level.push(n));
        }
        sum.add(news);
    }

    /// Calls `f` with everything that was done, and by how much; what was done last comes first.
    pub(super) fn finish<'p>(mut self, paths: &'p Paths, mut f: impl FnMut(&'p (usize, Effect), Sum)) {
        while let Some(level) = self.levels.pop() {
            for n in level {
                let (Some(sum), Some(node)) = (self.sums.get(n as usize).copied(), paths.at(n)) else { continue };
                if let Some(effect) = node.effect() {
                    f(effect, sum);
                }
                if node.parent != NONE {
                    self.add(paths, node.parent, sum);
                }
            }
        }
    }
}

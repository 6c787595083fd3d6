//! Which megaflows a rule that came can concern: by the tables that their packets were looked up in, and by what these
//! lookups saw of them.
//!
//! Megaflows whose packets were looked up in the same tables and read in the same bits are of one *shape*. Of each it
//! keeps the values of these bits. A rule concerns those of a shape that agree with it in the bits that it and the
//! lookups have in common. To find them, they are sorted by these bits once, and kept so while rules ask for the same bits
//! often enough to be worth it.
//!
//! # Invariant
//!
//! A shape has members. The values and the sorted lists of a shape are those of its members, and of no others.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, Hash, Hasher};
use std::mem::size_of;

use foldhash::fast::RandomState;
use ovs_packet::key::{FlowKey, FlowMask, Match, SparseMask};

use crate::pipeline::translate::Translation;

/// Shapes with fewer members are gone through one by one.
const FEW: usize = 64;

/// By how many sets of bits the members of a shape are sorted at most.
const MAX_ORDERS: usize = 4;

/// A rule that came: in which switch, and to which table.
pub(in crate::pipeline) type Came = (usize, u8, Match);

/// Tables, by switch.
type Tables = Vec<(usize, [u64; 4])>;

#[derive(Debug)]
pub(super) struct Shape {
    tables: Tables,
    /// What lookups saw.
    seen: SparseMask,
    /// What packets of a megaflow have in common.
    pub(super) mask: SparseMask,
    hash: u64,
    /// When a rule came last that concerns all of them; 0 for never.
    pub(super) changed: u64,
    /// Megaflows; and of each the words of what was seen, one behind the other.
    members: Vec<u32>,
    values: Vec<u64>,
    orders: Vec<Order>,
}

/// Members of a shape, sorted by some of what was seen.
#[derive(Debug)]
struct Order {
    /// Which bits, by the words of what was seen.
    bits: Vec<u64>,
    /// Hashes of the bits, each with its megaflow; none until they are asked for again.
    sorted: Option<BTreeSet<(u64, u32)>>,
    /// How many came and went since anyone asked.
    unasked: usize,
}

impl Order {
    fn hash(&self, values: &[u64]) -> u64 {
        hash_bits(&self.bits, values)
    }
}

/// A hash of the bits. Those that collide are looked at in vain.
fn hash_bits(bits: &[u64], values: &[u64]) -> u64 {
    bits.iter().zip(values).fold(0x9e37_79b9_7f4a_7c15, |h: u64, (b, v)| {
        let x = (h ^ (b & v)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        x ^ x >> 32
    })
}

/// Whether a mask that is kept is this one.
fn same(sparse: &SparseMask, full: &FlowMask) -> bool {
    let words = full.bits.words();
    sparse.bits().map() == full.bits.non_zero() && sparse.iter().all(|(i, w)| words.get(i) == Some(&w))
}

impl Shape {
    fn is(&self, t: &Translation) -> bool {
        same(&self.seen, &t.read.seen) && self.has_mask(&t.read.mask) && self.tables == t.dependencies.tables
    }

    /// Whether packets of its megaflows have this in common.
    pub(super) fn has_mask(&self, mask: &FlowMask) -> bool {
        same(&self.mask, mask)
    }

    /// Whether a mask is for the packets of its megaflows and more, or for the same.
    pub(super) fn is_for_more(&self, mask: &FlowMask) -> bool {
        let words = mask.bits.words();
        mask.bits.non_zero().bits() & !self.mask.bits().map().bits() == 0
            && self.mask.iter().all(|(i, bits)| words.get(i).is_some_and(|w| w & !bits == 0))
    }

    fn width(&self) -> usize {
        self.seen.bits().words().len()
    }

    fn values_of(&self, place: usize) -> &[u64] {
        let width = self.width();
        self.values.get(place * width..(place + 1) * width).unwrap_or_default()
    }

    fn read<'a>(&'a self, first: &'a FlowKey) -> impl Iterator<Item = u64> + 'a {
        self.seen.iter().map(|(i, m)| first.words().get(i).copied().unwrap_or(0) & m)
    }

    fn has_table(&self, bridge: usize, table: u8) -> bool {
        let set = self.tables.iter().find(|(b, _)| *b == bridge);
        set.and_then(|(_, set)| set.get(usize::from(table / 64))).is_some_and(|w| w >> (table % 64) & 1 != 0)
    }

    /// Whether a rule concerns all members: lookups saw nothing that it asks for.
    fn is_within(&self, rule: &Match) -> bool {
        self.seen.iter().all(|(i, m)| m & rule.word(i).1 == 0)
    }

    /// Calls `f` with the members that share with a rule what it and the lookups have in common, while it says true.
    fn overlapping(&mut self, rule: &Match, f: &mut dyn FnMut(u32) -> bool) -> bool {
        if self.is_within(rule) {
            return self.members.iter().copied().all(f);
        }
        let bits: Vec<u64> = self.seen.iter().map(|(i, m)| m & rule.word(i).1).collect();
        let wanted: Vec<u64> = self.seen.iter().map(|(i, _)| rule.word(i).0).collect();
        if let Some(sorted) = self.sorted_by(&bits) {
            let hash = hash_bits(&bits, &wanted);
            return sorted.range((hash, 0)..=(hash, u32::MAX)).all(|(_, slot)| f(*slot));
        }
        let agree = |values: &[u64]| bits.iter().zip(values).zip(&wanted).all(|((b, v), w)| (v ^ w) & b == 0);
        self.members.iter().enumerate().all(|(place, slot)| !agree(self.values_of(place)) || f(*slot))
    }

    /// The members sorted by these bits, if they are many, and asked for by these not for the first time.
    fn sorted_by(&mut self, bits: &[u64]) -> Option<&BTreeSet<(u64, u32)>> {
        if self.members.len() < FEW {
            return None;
        }
        let Some(at) = self.orders.iter().position(|o| o.bits == bits) else {
            if self.orders.len() >= MAX_ORDERS {
                let least = self.orders.iter().enumerate().max_by_key(|(_, o)| (o.sorted.is_none(), o.unasked));
                let (at, _) = least.filter(|(_, o)| o.sorted.is_none() || o.unasked > FEW)?;
                self.orders.swap_remove(at);
            }
            self.orders.push(Order { bits: bits.to_vec(), sorted: None, unasked: 0 });
            return None;
        };
        if self.orders.get(at).is_some_and(|o| o.sorted.is_none()) {
            let places = self.members.iter().enumerate();
            let sorted = places.map(|(place, slot)| (hash_bits(bits, self.values_of(place)), *slot)).collect();
            self.orders.get_mut(at)?.sorted = Some(sorted);
        }
        let order = self.orders.get_mut(at)?;
        order.unasked = 0;
        order.sorted.as_ref()
    }

    fn add(&mut self, slot: u32, first: &FlowKey) -> u32 {
        let place = self.members.len();
        self.members.push(slot);
        let seen = &self.seen;
        let words = seen.iter().map(|(i, m)| first.words().get(i).copied().unwrap_or(0) & m);
        self.values.extend(words);
        self.sort(place, |sorted, key| sorted.insert(key));
        place as u32
    }

    /// Puts a member into the sorted lists, or takes it out. Lists that nobody asks for go.
    fn sort(&mut self, place: usize, f: impl Fn(&mut BTreeSet<(u64, u32)>, (u64, u32)) -> bool) {
        if self.orders.is_empty() {
            return;
        }
        let Some(slot) = self.members.get(place).copied() else { return };
        let most = self.members.len() + FEW;
        let mut orders = std::mem::take(&mut self.orders);
        for order in &mut orders {
            let key = (order.hash(self.values_of(place)), slot);
            if let Some(sorted) = &mut order.sorted {
                f(sorted, key);
            }
            order.unasked += 1;
        }
        orders.retain(|o| o.unasked <= most);
        self.orders = orders;
    }

    /// Takes a member out; the one that is in its place now.
    fn remove(&mut self, place: usize) -> Option<u32> {
        self.sort(place, |sorted, key| sorted.remove(&key));
        let width = self.width();
        let last = self.members.len().checked_sub(1)?;
        if place < last {
            self.values.copy_within(last * width.., place * width);
        }
        self.values.truncate(last * width);
        self.members.swap_remove(place);
        self.members.get(place).copied()
    }

    fn bytes(&self) -> usize {
        let sparse = |m: &SparseMask| m.bits().words().len() * 8;
        let orders: usize =
            self.orders.iter().map(|o| o.sorted.as_ref().map_or(0, BTreeSet::len) * 24 + o.bits.len() * 8).sum();
        size_of::<Shape>()
            + sparse(&self.seen)
            + sparse(&self.mask)
            + self.tables.len() * size_of::<(usize, [u64; 4])>()
            + self.members.capacity() * 4
            + self.values.capacity() * 8
            + orders
    }
}

/// A translation's shape, to be hashed.
struct ShapeOf<'a>(&'a Translation);

impl Hash for ShapeOf<'_> {
    fn hash<H: Hasher>(&self, h: &mut H) {
        for mask in [&self.0.read.seen, &self.0.read.mask] {
            for (i, word) in mask.bits.words().iter().enumerate().filter(|(_, w)| **w != 0) {
                h.write_u64(*word ^ (i as u64).rotate_right(8));
            }
            h.write_u8(0);
        }
        self.0.dependencies.tables.hash(h);
    }
}

/// All shapes.
#[derive(Default, Debug)]
pub(super) struct Shapes {
    all: Vec<Option<Shape>>,
    free: Vec<u32>,
    by_hash: HashMap<u64, Vec<u32>, RandomState>,
    hasher: RandomState,
    /// The shape that was found last, with both of its masks whole: the next is often the same.
    recent: Option<(u32, Box<[FlowMask; 2]>)>,
}

impl Shapes {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len() - self.free.len()
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        let each: usize = self.all.iter().flatten().map(Shape::bytes).sum();
        each + self.all.capacity() * size_of::<Option<Shape>>() + self.by_hash.capacity() * 40 + self.len() * 8
    }

    pub(super) fn get(&self, n: u32) -> Option<&Shape> {
        self.all.get(n as usize)?.as_ref()
    }

    /// Makes a megaflow a member of its shape; the shape, and its place there.
    pub(super) fn enter(&mut self, t: &Translation, slot: u32) -> (u32, u32) {
        let n = self.find(t);
        let place = self.all.get_mut(n as usize).and_then(Option::as_mut).map_or(0, |s| s.add(slot, &t.read.first));
        (n, place)
    }

    fn find(&mut self, t: &Translation) -> u32 {
        let tables = |n: u32| self.get(n).is_some_and(|s| s.tables == t.dependencies.tables);
        if let Some((n, masks)) = &self.recent
            && masks[0] == t.read.seen
            && masks[1] == t.read.mask
            && tables(*n)
        {
            return *n;
        }
        let n = self.search(t);
        match &mut self.recent {
            Some((recent, masks)) => (*recent, **masks) = (n, [t.read.seen, t.read.mask]),
            none => *none = Some((n, Box::new([t.read.seen, t.read.mask]))),
        }
        n
    }

    fn search(&mut self, t: &Translation) -> u32 {
        let hash = self.hasher.hash_one(ShapeOf(t));
        let known = self.by_hash.get(&hash).into_iter().flatten();
        if let Some(n) = known.copied().find(|n| self.get(*n).is_some_and(|s| s.is(t))) {
            return n;
        }
        let shape = Shape {
            tables: t.dependencies.tables.clone(),
            seen: (&t.read.seen).into(),
            mask: (&t.read.mask).into(),
            hash,
            changed: 0,
            members: Vec::new(),
            values: Vec::new(),
            orders: Vec::new(),
        };
        let n = self.free.pop().unwrap_or(self.all.len() as u32);
        match self.all.get_mut(n as usize) {
            Some(to) => *to = Some(shape),
            None => self.all.push(Some(shape)),
        }
        self.by_hash.entry(hash).or_default().push(n);
        n
    }

    /// Takes the member at a place out of a shape; the one that is there now.
    pub(super) fn leave(&mut self, n: u32, place: u32) -> Option<u32> {
        let shape = self.all.get_mut(n as usize).and_then(Option::as_mut)?;
        let moved = shape.remove(place as usize);
        if shape.members.is_empty() {
            let hash = shape.hash;
            if let Some(list) = self.by_hash.get_mut(&hash) {
                list.retain(|m| *m != n);
                if list.is_empty() {
                    self.by_hash.remove(&hash);
                }
            }
            if let Some(to) = self.all.get_mut(n as usize) {
                *to = None;
            }
            self.free.push(n);
            self.recent.take_if(|(recent, _)| *recent == n);
        }
        moved
    }

    /// Whether a translation says of a packet what the member at a place stands for.
    pub(super) fn is_member(&self, n: u32, place: u32, t: &Translation) -> bool {
        self.get(n).is_some_and(|s| s.is(t) && s.read(&t.read.first).eq(s.values_of(place as usize).iter().copied()))
    }

    /// Calls `f` with the megaflows that a rule concerns which came to a table, while it says true.
    pub(super) fn overlapping(&mut self, (bridge, table, rule): &Came, f: &mut dyn FnMut(u32) -> bool) {
        let mut shapes = self.all.iter_mut().flatten().filter(|s| s.has_table(*bridge, *table));
        shapes.all(|s| s.overlapping(rule, f));
    }

    /// Notes that a rule came; calls `f` with the megaflows that it concerns, where it does not concern all of their
    /// shape.
    pub(super) fn note(&mut self, (bridge, table, rule): &Came, now: u64, mut f: impl FnMut(u32)) {
        for shape in self.all.iter_mut().flatten().filter(|s| s.has_table(*bridge, *table)) {
            if shape.is_within(rule) {
                shape.changed = now;
                continue;
            }
            shape.overlapping(rule, &mut |slot| {
                f(slot);
                true
            });
        }
    }

    /// Asserts the invariant.
    pub(super) fn check(&self) {
        for shape in self.all.iter().flatten() {
            assert!(!shape.members.is_empty());
            assert_eq!(shape.values.len(), shape.members.len() * shape.width());
            for order in &shape.orders {
                let expected: BTreeSet<_> = (0..shape.members.len())
                    .zip(&shape.members)
                    .map(|(place, slot)| (order.hash(shape.values_of(place)), *slot))
                    .collect();
                assert!(order.sorted.as_ref().is_none_or(|sorted| *sorted == expected));
            }
        }
        assert_eq!(self.by_hash.values().map(Vec::len).sum::<usize>(), self.len());
    }
}

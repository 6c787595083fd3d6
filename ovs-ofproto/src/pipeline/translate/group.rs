//! Groups: which buckets a packet goes through (OpenFlow 1.5, section 5.10).

use std::sync::Arc;

use ovs_dpif::{DropReason, HashAlgorithm};
use ovs_packet::OfPort;
use ovs_packet::field::FieldId;
use ovs_packet::hash::HashFields;

use super::actions::is_harmless_to_buckets;
use super::{Effect, Translator, freeze, walk};
use crate::pipeline::group::{Bucket, Group, GroupKind, SelectionMethod};
use crate::pipeline::trace::Kind;

/// How many values of a hash buckets are spread over, at most and at least.
const MAX_SLOTS: usize = 256;
const MIN_SLOTS: usize = 16;

/// Each bucket has about so many values or more, where there is room.
const SLOTS_EACH: usize = 4;

impl Translator<'_> {
    /// Has a packet go through a group. False if there is none: the list of actions ends there.
    pub(super) fn group(&mut self, id: u32, last: bool) -> bool {
        if !self.may_go_on() {
            return true;
        }
        self.dependencies.groups.push((self.at, id));
        let Some(group) = self.bridge.groups.get(id).cloned() else {
            self.warn(|| format!("output to nonexistent group {id}"));
            return false;
        };
        match group.kind {
            GroupKind::All | GroupKind::Indirect => {
                let end = group.buckets.len();
                for (i, bucket) in group.buckets.iter().enumerate() {
                    self.bucket(bucket, last && i + 1 == end);
                }
                // Each of them has the packet.
                self.effect(Effect::Group { group: group.key(), bucket: None });
                (0..end).for_each(|at| self.effect(Effect::Bucket { group: group.key(), bucket: at }));
                return true;
            }
            GroupKind::FastFailover => {
                let chosen = group.buckets.iter().position(|b| b.watches() && self.is_alive(b));
                self.through(&group, chosen, last);
            }
            GroupKind::Select => {
                let chosen = self.select(&group);
                if self.freezing.is_some() {
                    // The group is looked at again when the packet comes back.
                    self.leave(&[crate::Action::Group(id)], None);
                    return true;
                }
                self.through(&group, chosen, last);
            }
        }
        true
    }

    fn through(&mut self, group: &Arc<Group>, chosen: Option<usize>, last: bool) {
        let Some((at, bucket)) = chosen.and_then(|i| Some((i, group.buckets.get(i)?))) else {
            self.detail(|| "no live bucket".to_string());
            self.because(DropReason::NoOutput);
            return;
        };
        let id = bucket.id;
        self.detail(|| format!("using bucket {id}"));
        self.bucket(bucket, last);
        self.effect(Effect::Group { group: group.key(), bucket: Some(at) });
    }

    fn bucket(&mut self, bucket: &Bucket, last: bool) {
        let id = bucket.id;
        self.trace(Kind::Bucket, |_| format!("bucket {id}"));
        let actions = walk::in_order(&bucket.actions);
        (self.depth, self.nested) = (self.depth + 1, self.nested + 1);
        self.descend();
        self.in_copy_unless(last, is_harmless_to_buckets, |t| {
            t.in_group = true;
            t.execute(&actions, last);
            t.freeze_if_asked();
        });
        self.ascend();
        (self.depth, self.nested) = (self.depth - 1, self.nested - 1);
    }

    fn is_alive(&mut self, bucket: &Bucket) -> bool {
        if bucket.watch_group != crate::pipeline::ANY_GROUP {
            self.dependencies.groups.push((self.at, bucket.watch_group));
        }
        let ports = self.bridge.ports;
        self.bridge.groups.bucket_is_alive(bucket, &|p: OfPort| ports.get(p).is_some_and(|p| p.is_up()))
    }

    /// The place of the bucket that a packet goes through.
    fn select(&mut self, group: &Group) -> Option<usize> {
        if self.was_mpls {
            // What is hashed may have come to light just now.
            self.freeze(freeze::Cause::Recirculate);
            return None;
        }
        match &group.method {
            SelectionMethod::Hash { fields, .. } if fields.is_empty() => self.by_default(group),
            SelectionMethod::Hash { fields, basis } => {
                let mut hash = *basis;
                for (field, mask) in fields {
                    if self.tracked.holds(field.info().prereq) {
                        hash = mix(hash, self.tracked.read_bits(*field, *mask));
                    }
                }
                self.heaviest(group, hash)
            }
            SelectionMethod::DpHash { algorithm, basis } => match slots(group) {
                Some(slots) => {
                    let algorithm = if *algorithm == 1 { HashAlgorithm::SymmetricL4 } else { HashAlgorithm::L4 };
                    self.by_datapath(group, &slots, algorithm, *basis)
                }
                None => self.by_default(group),
            },
            SelectionMethod::Default => match slots(group) {
                Some(slots) => self.by_datapath(group, &slots, HashAlgorithm::SymmetricL4, 0),
                None => self.by_default(group),
            },
        }
    }

    fn by_default(&mut self, group: &Group) -> Option<usize> {
        let hash = self.tracked.hash(HashFields::SymmetricL4, 0);
        self.heaviest(group, hash.into())
    }

    /// By a hash that the datapath computes, which it is asked for first.
    fn by_datapath(&mut self, group: &Group, slots: &[usize], algorithm: HashAlgorithm, basis: u32) -> Option<usize> {
        // A hash is never zero, so that whether there is one need not be matched.
        if self.tracked.shown().dp_hash == 0 {
            self.detail(|| "selection method in use: dp_hash, recirculating".to_string());
            self.freeze(freeze::Cause::Hash(algorithm, basis));
            return None;
        }
        let mask = slots.len() - 1;
        let hash = self.tracked.read_bits(FieldId::DpHash, mask as u128) as usize;
        (0..slots.len()).find_map(|i| {
            let chosen = *slots.get((hash + i) & mask)?;
            let bucket = group.buckets.get(chosen)?;
            self.is_alive(bucket).then_some(chosen)
        })
    }

    /// The live bucket for which hash and weight together are greatest.
    fn heaviest(&mut self, group: &Group, hash: u64) -> Option<usize> {
        let alive: Vec<_> = (0..group.buckets.len())
            .filter(|i| group.buckets.get(*i).is_some_and(|b| b.weight > 0 && self.is_alive(b)))
            .collect();
        let score = |i: &usize| {
            let b = group.buckets.get(*i);
            let draw = mix(hash, b.map_or(0, |b| u128::from(b.id))) & 0xffff;
            draw * b.map_or(0, |b| u64::from(b.weight))
        };
        // Of equal ones the first.
        alive.into_iter().rev().max_by_key(score)
    }
}

/// Tells in the log how packets will be spread over the buckets of a group that was added or modified, as upstream does: of
/// one that is modified it first tells how they would be spread over the buckets of the message alone.
pub(in crate::pipeline) fn log_selection(group: &Group, told: &[crate::codec::Bucket], is_new: bool) {
    if group.kind != GroupKind::Select || !tracing::enabled!(target: "ofproto_dpif", tracing::Level::DEBUG) {
        return;
    }
    if is_new {
        return log_spread(group, "Constructing");
    }
    let mut alone = group.clone();
    alone.buckets = told.iter().map(Bucket::of).collect();
    log_spread(&alone, "Constructing");
    log_spread(group, "Modifying");
}

fn log_spread(group: &Group, doing: &str) {
    let say = |text: String| tracing::debug!(name: "unlimited", target: "ofproto_dpif", "{text}");
    say(format!("{doing} select group {}", group.id));
    let algorithm = match &group.method {
        SelectionMethod::Default => {
            say("No selection method specified. Trying dp_hash.".to_string());
            1
        }
        SelectionMethod::DpHash { algorithm, .. } => {
            say("Selection method specified: dp_hash.".to_string());
            if *algorithm > 1 {
                say(format!("Invalid dp_hash algorithm {algorithm}. Defaulting to OVS_HASH_ALG_L4"));
            }
            u32::from(*algorithm == 1)
        }
        SelectionMethod::Hash { fields, .. } => {
            say("Selection method specified: hash.".to_string());
            let names: Vec<_> = fields.iter().map(|(f, _)| f.info().name).collect();
            return match names.is_empty() {
                true => say("No hash fields. Falling back to default hash method.".to_string()),
                false => say(format!("Hash fields: {}", names.join(","))),
            };
        }
    };
    let weights = || group.buckets.iter().map(|b| u64::from(b.weight));
    let total: u64 = weights().sum();
    match weights().filter(|w| *w > 0).min() {
        None if group.buckets.is_empty() => say("  Don't apply dp_hash method without buckets.".to_string()),
        None => say("  Total weight is zero. No active buckets.".to_string()),
        Some(least) => say(format!("  Minimum weight: {least}, total weight: {total}")),
    }
    let Some(slots) = slots(group) else {
        if let Some(wanted) = slots_wanted(group) {
            say(format!("  Too many hash values required: {wanted}"));
        }
        return say("Falling back to default hash method.".to_string());
    };
    say(format!("  Using {} hash values:", slots.len()));
    for (at, bucket) in group.buckets.iter().enumerate() {
        let (id, weight, hits) = (bucket.id, bucket.weight, slots.iter().filter(|s| **s == at).count());
        let target = slots.len() as f64 * f64::from(weight) / total as f64;
        say(format!("  Bucket {id}: weight={weight}, target={target:.2} hits={hits}"));
    }
    say(format!("Use dp_hash with {} hash values using algorithm {algorithm}.", slots.len()));
}

/// A hash and another value as one hash.
pub(super) fn mix(hash: u64, value: u128) -> u64 {
    let mut h = hash ^ 0x9e37_79b9_7f4a_7c15;
    for word in [value as u64, (value >> 64) as u64] {
        let m = u128::from(h ^ word) * 0xa076_1d64_78bd_642f_u128;
        h = (m as u64) ^ ((m >> 64) as u64) ^ h.rotate_left(23);
    }
    h
}

/// How many slots it takes for each bucket to have at least one, a power of two; `None` where no bucket has a weight.
fn slots_wanted(group: &Group) -> Option<u64> {
    let weights = || group.buckets.iter().map(|b| u64::from(b.weight));
    let least = weights().filter(|w| *w > 0).min()?;
    let each = (SLOTS_EACH * group.buckets.len()).clamp(MIN_SLOTS, MAX_SLOTS) as u64;
    weights().sum::<u64>().div_ceil(least).max(each).checked_next_power_of_two()
}

/// The buckets spread over a power of two of slots in proportion to their weights, as parliaments are by the method of
/// Webster. `None` if the most that there can be do not do.
fn slots(group: &Group) -> Option<Vec<usize>> {
    let wanted = usize::try_from(slots_wanted(group)?).ok().filter(|wanted| *wanted <= MAX_SLOTS)?;
    let weights: Vec<u64> = group.buckets.iter().map(|b| b.weight.into()).collect();
    let mut seats = vec![0u64; weights.len()];
    let mut slots = Vec::with_capacity(wanted);
    for _ in 0..wanted {
        // Who has the most weight for each seat, counting half of the next one.
        let better = |a: &usize, b: &usize| {
            let quotient =
                |i: &usize| (weights.get(*i).copied().unwrap_or(0), 2 * seats.get(*i).copied().unwrap_or(0) + 1);
            let ((wa, da), (wb, db)) = (quotient(a), quotient(b));
            (wa * db).cmp(&(wb * da)).then(b.cmp(a))
        };
        let winner = (0..weights.len()).max_by(better)?;
        if let Some(s) = seats.get_mut(winner) {
            *s += 1;
        }
        slots.push(winner);
    }
    Some(slots)
}

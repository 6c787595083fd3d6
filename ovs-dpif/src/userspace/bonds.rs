//! Bonds whose packets the datapath balances (`lb_output`): of each, a table of ports by hash.
//!
//! Whoever owns the bond gives the table and moves buckets from one port to another by what went through each; packets that a
//! megaflow sends to the bond go by it at once, without megaflows that tell their hashes.

use std::collections::HashMap;

use ovs_packet::hash;
use ovs_packet::key::FlowKey;

use crate::action::PortNo;
use crate::dpif::{BOND_BUCKETS, BondStats, DpifError};

struct Bond {
    members: [PortNo; BOND_BUCKETS],
    bytes: [u64; BOND_BUCKETS],
}

/// The bonds of a datapath, as one thread has them.
#[derive(Default)]
pub(super) struct Bonds(HashMap<u32, Bond>);

impl Bonds {
    /// Makes a bond, or gives it other ports; its counters go on.
    pub(super) fn set(&mut self, id: u32, members: &[PortNo; BOND_BUCKETS]) {
        self.0.entry(id).or_insert(Bond { members: *members, bytes: [0; BOND_BUCKETS] }).members = *members;
    }

    pub(super) fn remove(&mut self, id: u32) -> Result<BondStats, DpifError> {
        self.0.remove(&id).map(|bond| BondStats { bytes: bond.bytes }).ok_or(DpifError::NoSuchBond(id))
    }

    pub(super) fn stats(&self, id: u32) -> Result<BondStats, DpifError> {
        self.0.get(&id).map(|bond| BondStats { bytes: bond.bytes }).ok_or(DpifError::NoSuchBond(id))
    }

    /// The bonds, by number, and the port of each hash.
    pub(super) fn list(&self) -> Vec<(u32, [PortNo; BOND_BUCKETS])> {
        let mut all: Vec<_> = self.0.iter().map(|(id, bond)| (*id, bond.members)).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }

    /// The same bonds, with counters at zero.
    pub(super) fn another(&self) -> Bonds {
        Bonds(self.0.iter().map(|(id, b)| (*id, Bond { members: b.members, bytes: [0; BOND_BUCKETS] })).collect())
    }

    /// The port of a bond for a packet of so many bytes; none if there is no such bond.
    pub(super) fn choose(&mut self, id: u32, key: &FlowKey, len: usize) -> Option<PortNo> {
        let bond = self.0.get_mut(&id)?;
        let bucket = (hash::five_tuple(key, 0) >> 32) as usize % BOND_BUCKETS;
        *bond.bytes.get_mut(bucket)? += len as u64;
        bond.members.get(bucket).copied()
    }
}

//! What each table can do (OFPMP_TABLE_FEATURES, OpenFlow 1.5, section 7.3.5.18; before 1.3, in the statistics of tables).
//!
//! All tables can do the same: match and write every field that the version has a number for, and go on in any table
//! behind them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use ovs_packet::field::FieldId;

use super::{Answer, Request, pages};
use crate::codec::{
    ActionAbilities, InstructionAbilities, Message, OfError, Page, TableAbilities, TableFeatures, Version,
};
use crate::pipeline::flow_table::{TABLES, VISIBLE_TABLES};
use crate::pipeline::ofproto::Ofproto;

/// What tables say that they can hold, as upstream's switch does, where they have no smaller limit: there is none that
/// could be told beforehand.
const SAID_LIMIT: usize = 1_000_000;

/// What is done with the tables that a request names (`OFPTFC_*`): they are all that there should be, or some that change.
const REPLACE: u8 = 0;
const MODIFY: u8 = 1;

/// Bits from `first` to `last`.
const fn bits(first: u32, last: u32) -> u32 {
    u32::MAX >> (31 - last + first) << first
}

/// The actions that flows and buckets can have (`OFPAT_*` as bits).
///
/// OpenFlow 1.0 has twelve, all of which there are; later ones are there but copies of TTLs, and from 1.2 on those that
/// set one field each are numbered no more.
pub(super) const fn actions(version: Version) -> u32 {
    match version {
        Version::V1_0 => bits(0, 11),
        Version::V1_1 => bits(0, 10) | bits(13, 24),
        _ => 1 | bits(15, 25),
    }
}

/// What a table can do, but for the tables to go on with: the instruction for that is there.
fn abilities(version: Version) -> TableAbilities {
    let numbered = || FieldId::all().filter(|f| f.info().oxm(version.0).is_some());
    let can = || ActionAbilities {
        actions: actions(version),
        set_fields: numbered().filter(|f| f.info().writable).collect(),
    };
    let (mut flows, mut all) = (InstructionAbilities::default(), TableAbilities::default());
    // All but experimenters'; before OpenFlow 1.3 there are no meters, and from 1.5 on they are actions.
    let meters = matches!(version, Version::V1_3 | Version::V1_4);
    flows.instructions = bits(1, 5) | u32::from(meters) << 6;
    (flows.write, flows.apply) = (can(), can());
    all.miss = flows.clone();
    all.flows = flows;
    all.matching = numbered().collect();
    all.masks = numbered().filter(|f| f.info().maskable).collect();
    all.wildcards = all.matching;
    all
}

impl Ofproto {
    /// What the tables can do, those that controllers see.
    pub(super) fn tables_and_features(&self, version: Version) -> Vec<TableFeatures> {
        let base = abilities(version);
        let of_table = |n: u8| {
            let (table, mut f) = (self.tables.table(n)?, TableFeatures::default());
            f.table = n;
            f.name = table.name().unwrap_or_default().to_string();
            (f.metadata_match, f.metadata_write) = (u64::MAX, u64::MAX);
            (f.eviction, f.vacancy_events) = (Some(version >= Version::V1_4), Some(version >= Version::V1_4));
            f.max_entries = u32::try_from(table.limit().min(SAID_LIMIT)).unwrap_or(u32::MAX);
            let mut can = Box::new(base.clone());
            for one in [&mut can.flows, &mut can.miss] {
                one.next = (n + 1..VISIBLE_TABLES as u8).collect();
                if one.next.is_empty() {
                    one.instructions &= !(1 << 1);
                }
            }
            f.abilities = Some(can);
            Some(f)
        };
        (0..VISIBLE_TABLES as u8).filter_map(of_table).collect()
    }

    /// Gives tables the names that a controller wants, all at once, and tells what they can do. A request may come in
    /// several messages, of which the last is answered.
    pub(super) fn table_features(
        &mut self,
        request: &Request<'_>,
        page: Page<TableFeatures>,
    ) -> Result<Answer, OfError> {
        let Some(c) = self.connections.get_mut(request.from) else { return Ok(Answer::Done) };
        let begun = c.inbox.table_features.take().filter(|(xid, _)| *xid == request.xid);
        let mut asked = begun.map_or_else(BTreeMap::new, |(_, asked)| asked);
        for f in page.items {
            match asked.entry(f.table) {
                _ if usize::from(f.table) >= TABLES => return Err(OfError::TableFeaturesBadTable),
                Entry::Occupied(_) => return Err(OfError::TableFeaturesDupTable),
                Entry::Vacant(place) => drop(place.insert(f)),
            }
        }
        if page.more {
            c.inbox.table_features = Some((request.xid, asked));
            return Ok(Answer::Done);
        }
        if !asked.is_empty() {
            self.change_tables(&asked, request.version)?;
        }
        // They take some 5 kB each.
        let say = |items, more| Message::TableFeaturesReply(Page { more, items });
        Ok(pages(self.tables_and_features(request.version), |_| 8 << 10, say))
    }

    /// Only names can be changed: what else is asked for must be there.
    fn change_tables(&mut self, asked: &BTreeMap<u8, TableFeatures>, version: Version) -> Result<(), OfError> {
        // All of one request say the same, of which the first counts.
        let complete = match asked.values().next().map_or(REPLACE, |f| f.command) {
            REPLACE => asked.len() == VISIBLE_TABLES,
            MODIFY => true,
            // There are no tables that are not in the pipeline.
            _ => false,
        };
        if !complete {
            return Err(OfError::TableFeaturesEperm);
        }
        let there = self.tables_and_features(version);
        for f in asked.values() {
            let old = there.iter().find(|old| old.table == f.table);
            let old = old.filter(|old| is_within(f, old)).ok_or(OfError::TableFeaturesEperm)?;
            let owned = self.tables.table(f.table).is_some_and(|t| t.config.name.is_some());
            if owned && f.name != old.name {
                return Err(OfError::TableFeaturesEperm);
            }
        }
        for f in asked.values() {
            // Before OpenFlow 1.5 a request names all tables, those of the owner's names as well.
            if let Some(t) = self.tables.table_mut(f.table).filter(|t| t.config.name.is_none()) {
                t.said_name = Some(f.name.clone()).filter(|name| !name.is_empty());
            }
        }
        Ok(())
    }
}

/// Whether a table can do what is asked of it.
fn is_within(asked: &TableFeatures, there: &TableFeatures) -> bool {
    fn actions(asked: &ActionAbilities, there: &ActionAbilities) -> bool {
        asked.actions & !there.actions == 0 && asked.set_fields.is_subset(&there.set_fields)
    }
    fn flows(asked: &InstructionAbilities, there: &InstructionAbilities) -> bool {
        asked.instructions & !there.instructions == 0
            && asked.next.is_subset(&there.next)
            && actions(&asked.write, &there.write)
            && actions(&asked.apply, &there.apply)
    }
    let can = match (&asked.abilities, &there.abilities) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(asked), Some(there)) => {
            flows(&asked.flows, &there.flows)
                && flows(&asked.miss, &there.miss)
                && asked.matching.is_subset(&there.matching)
                && asked.masks.is_subset(&there.masks)
                && asked.wildcards.is_subset(&there.wildcards)
        }
    };
    can && asked.max_entries == there.max_entries
        && asked.metadata_match & !there.metadata_match == 0
        && asked.metadata_write & !there.metadata_write == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_as_stock_says_them() {
        let numbers = [Version::V1_0, Version::V1_1, Version::V1_2].map(actions);
        assert_eq!(numbers, [0xfff, 0x01ff_e7ff, 0x03ff_8001]);
    }
}

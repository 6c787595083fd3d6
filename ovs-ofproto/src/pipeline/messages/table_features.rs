//! What each table can do (OFPMP_TABLE_FEATURES, OpenFlow 1.5, section 7.3.5.18; before 1.3, in the statistics of tables).
//!
//! All tables can do the same: match and write every field that the version has a number for, and go on in any table
//! behind them.

use ovs_packet::field::FieldId;

use super::{Answer, pages};
use crate::codec::{
    ActionAbilities, InstructionAbilities, Message, OfError, Page, TableAbilities, TableFeatures, Version,
};
use crate::pipeline::flow_table::{TABLES, VISIBLE_TABLES};
use crate::pipeline::ofproto::Ofproto;

/// What tables say that they can hold, as upstream's switch does, where they have no smaller limit: there is none that
/// could be told beforehand.
const SAID_LIMIT: usize = 1_000_000;

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

/// What a table can do that has others behind it, or has not.
fn abilities(version: Version, next: impl Iterator<Item = u8>) -> TableAbilities {
    let numbered = || FieldId::all().filter(|f| f.info().oxm(version.0).is_some());
    let can = || ActionAbilities {
        actions: actions(version),
        set_fields: numbered().filter(|f| f.info().writable).collect(),
    };
    let (mut flows, mut all) = (InstructionAbilities::default(), TableAbilities::default());
    flows.next = next.collect();
    // All but experimenters'; before OpenFlow 1.3 there are no meters, and from 1.5 on they are actions.
    let meters = matches!(version, Version::V1_3 | Version::V1_4);
    flows.instructions = bits(2, 5) | u32::from(!flows.next.is_empty()) << 1 | u32::from(meters) << 6;
    (flows.write, flows.apply) = (can(), can());
    all.miss = flows.clone();
    all.flows = flows;
    all.matching = numbered().collect();
    all.masks = numbered().filter(|f| f.info().maskable).collect();
    all.wildcards.clone_from(&all.matching);
    all
}

impl Ofproto {
    /// What the tables can do, those that controllers see.
    pub(super) fn tables_and_features(&self, version: Version) -> Vec<TableFeatures> {
        let base = abilities(version, 0..VISIBLE_TABLES as u8);
        let of_table = |n: u8| {
            let (table, mut f) = (self.tables.table(n)?, TableFeatures::default());
            f.table = n;
            f.name = table.config.name.clone().unwrap_or_default();
            (f.metadata_match, f.metadata_write) = (u64::MAX, u64::MAX);
            (f.eviction, f.vacancy_events) = (Some(version >= Version::V1_4), Some(version >= Version::V1_4));
            f.max_entries = u32::try_from(table.limit().min(SAID_LIMIT)).unwrap_or(u32::MAX);
            let mut can = Box::new(base.clone());
            for one in [&mut can.flows, &mut can.miss] {
                one.next = one.next.split_off(&(n + 1));
                if one.next.is_empty() {
                    one.instructions &= !(1 << 1);
                }
            }
            f.abilities = Some(can);
            Some(f)
        };
        (0..VISIBLE_TABLES as u8).filter_map(of_table).collect()
    }

    pub(super) fn table_features(&self, asked: &[TableFeatures], version: Version) -> Result<Answer, OfError> {
        // Tables are set up by the switch's owner.
        if let Some(first) = asked.first() {
            let there = usize::from(first.table) < TABLES;
            return Err(if there { OfError::TableFeaturesEperm } else { OfError::TableFeaturesBadTable });
        }
        // They take some 5 kB each.
        let say = |items, more| Message::TableFeaturesReply(Page { more, items });
        Ok(pages(self.tables_and_features(version), |_| 8 << 10, say))
    }
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

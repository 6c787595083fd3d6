//! How many connections zones may have, as a configuration says.
//!
//! As long as it says anything, nobody else does (`dpctl/ct-set-limits`). What others set before stays where it says nothing.

use std::collections::BTreeMap;

use super::datapath::SharedDatapath;
use crate::config::DatapathConfig;

/// What a configuration said last; without a zone, of those that have no limit of their own.
#[derive(Debug, Default)]
pub(super) struct Limits {
    given: BTreeMap<Option<u16>, u32>,
    /// What of it the datapath refused, and why.
    refused: BTreeMap<Option<u16>, String>,
}

impl Limits {
    /// Whether it said anything.
    pub(super) fn are_given(&self) -> bool {
        !self.given.is_empty()
    }

    /// Takes over what it says now. What is to be done: limits to set, and those to be forgotten, which come first.
    fn renew(&mut self, wanted: BTreeMap<Option<u16>, u32>) -> Vec<(Option<u16>, Option<u32>)> {
        let gone = self.given.keys().filter(|zone| !wanted.contains_key(zone)).map(|zone| (*zone, None));
        let new = wanted.iter().filter(|(zone, limit)| self.given.get(zone) != Some(limit));
        let changes = gone.chain(new.map(|(zone, limit)| (*zone, Some(*limit)))).collect();
        self.given = wanted;
        changes
    }
}

impl SharedDatapath {
    /// Limits zones as a configuration says. What of it is not done.
    pub(super) fn set_limits(&mut self, config: Option<&DatapathConfig>) -> Vec<String> {
        let config = config.cloned().unwrap_or_default();
        for (zone, limit) in self.limits.renew(config.ct_limits) {
            let done = self.dpif_mut().conntrack().map(|tracker| tracker.set_limit(zone, limit));
            let why = match done {
                Some(Ok(())) => None,
                Some(Err(e)) => Some(e.to_string()),
                None => Some("it tracks no connections".to_string()),
            };
            match why {
                Some(why) => drop(self.limits.refused.insert(zone, why)),
                None => drop(self.limits.refused.remove(&zone)),
            }
        }
        let name = self.info().full_name();
        let refused = self.limits.refused.iter().map(|(zone, why)| {
            let zone = zone.map_or("by default".to_string(), |zone| format!("of zone {zone}"));
            format!("{name}: the limit {zone}: {why}")
        });
        refused.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_is_done() {
        let mut limits = Limits::default();
        let wanted = BTreeMap::from([(None, 10), (Some(1), 3)]);
        assert_eq!(limits.renew(wanted.clone()), [(None, Some(10)), (Some(1), Some(3))]);
        assert!(limits.renew(wanted).is_empty() && limits.are_given());
        let changed = limits.renew(BTreeMap::from([(Some(1), 4), (Some(2), 0)]));
        assert_eq!(changed, [(None, None), (Some(1), Some(4)), (Some(2), Some(0))]);
        assert_eq!(limits.renew(BTreeMap::new()), [(Some(1), None), (Some(2), None)]);
        assert!(!limits.are_given());
    }
}

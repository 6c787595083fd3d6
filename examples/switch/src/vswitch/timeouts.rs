//! How long connections live that begin in a zone, as a configuration says: timeout policies of the datapath.
//!
//! Zones that say the same share a policy, and the number of one is not used again, so that no megaflow means another than it
//! did. What a policy does not name is as the datapath's tracker has it. A policy goes when the megaflows that name it have gone; one that the kernel still holds is tried again later.

use std::collections::{BTreeMap, BTreeSet};

use ovs_dpif::connections::Seconds;

use super::datapath::SharedDatapath;
use crate::config::DatapathConfig;

/// The timeout policies of a datapath.
#[derive(Debug, Default)]
pub(super) struct Policies {
    numbers: BTreeMap<Seconds, u32>,
    last: u32,
    /// Those that no zone has any more.
    unused: BTreeSet<u32>,
}

impl Policies {
    /// Takes over what zones are to have now: the policies that are to be made, and what zones have then.
    fn renew(&mut self, wanted: &BTreeMap<u16, Seconds>) -> (BTreeMap<u32, Seconds>, BTreeMap<u16, u32>) {
        let needed: BTreeSet<&Seconds> = wanted.values().collect();
        let gone = self.numbers.extract_if(.., |seconds, _| !needed.contains(seconds));
        self.unused.extend(gone.map(|(_, number)| number));
        let mut made = BTreeMap::new();
        for seconds in needed {
            if !self.numbers.contains_key(seconds) {
                self.last += 1;
                self.numbers.insert(seconds.clone(), self.last);
                made.insert(self.last, seconds.clone());
            }
        }
        let zones = wanted.iter().filter_map(|(zone, seconds)| Some((*zone, *self.numbers.get(seconds)?)));
        (made, zones.collect())
    }

    /// A policy that the datapath does not take is tried again with the next configuration.
    fn forget(&mut self, number: u32) {
        self.numbers.retain(|_, n| *n != number);
    }
}

impl SharedDatapath {
    /// Makes the timeout policies that a configuration names. What zones have then, and what of it is not done: zones whose
    /// policy the datapath refuses have none.
    pub(super) fn set_timeouts(&mut self, config: Option<&DatapathConfig>) -> (BTreeMap<u16, u32>, Vec<String>) {
        let nothing = BTreeMap::new();
        let wanted = config.map_or(&nothing, |c| &c.ct_timeouts);
        let (made, mut zones) = self.policies.renew(wanted);
        let (name, mut not_done) = (self.info().full_name(), Vec::new());
        let mut tell =
            |zone: u16, why: &str| not_done.push(format!("{name}: the timeout policy of zone {zone}: {why}"));
        let known = self.dpif_mut().conntrack().map_or(&[][..], |tracker| tracker.timeouts());
        for (zone, seconds) in wanted {
            let unknown: Vec<&str> = seconds.keys().map(String::as_str).filter(|name| !known.contains(name)).collect();
            if !unknown.is_empty() {
                tell(*zone, &format!("not available: {}", unknown.join(", ")));
            }
        }
        for (number, mut seconds) in made {
            seconds.retain(|name, _| known.contains(&name.as_str()));
            let done = self.dpif_mut().conntrack().map(|tracker| tracker.set_timeouts(number, Some(&seconds)));
            let why = match done {
                Some(Ok(())) => continue,
                Some(Err(e)) => e.to_string(),
                None => "it tracks no connections".to_string(),
            };
            self.policies.forget(number);
            for (zone, _) in zones.extract_if(.., |_, n| *n == number) {
                tell(zone, &why);
            }
        }
        (zones, not_done)
    }

    /// Removes the policies that no zone has any more. To be called when the megaflows say so.
    pub(super) fn forget_timeouts(&mut self) {
        for number in std::mem::take(&mut self.policies.unused) {
            let done = self.dpif_mut().conntrack().map(|tracker| tracker.set_timeouts(number, None));
            if let Some(Err(e)) = done {
                let name = self.info().full_name();
                tracing::debug!(target: "bridge", "{name}: timeout policy {number} stays for now: {e}");
                self.policies.unused.insert(number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ovs_db::{Atom, Constraint};
    use ovs_dpif::Dpif;

    use super::*;

    #[test]
    fn policies_are_shared_and_their_numbers_are_not_used_again() {
        let mut policies = Policies::default();
        let of = |n: u32| Seconds::from([("udp_first".to_string(), n)]);
        let wanted = BTreeMap::from([(1, of(5)), (2, of(6)), (3, of(5))]);
        let (made, zones) = policies.renew(&wanted);
        assert_eq!(made, BTreeMap::from([(1, of(5)), (2, of(6))]));
        assert_eq!(zones, BTreeMap::from([(1, 1), (2, 2), (3, 1)]));
        assert_eq!(policies.renew(&wanted), (BTreeMap::new(), zones), "the same again is nothing new");
        let (made, zones) = policies.renew(&BTreeMap::from([(2, of(6)), (3, of(7))]));
        assert_eq!((made, zones), (BTreeMap::from([(3, of(7))]), BTreeMap::from([(2, 2), (3, 3)])));
        assert_eq!(policies.unused, BTreeSet::from([1]));
        policies.forget(3);
        let (made, _) = policies.renew(&BTreeMap::from([(3, of(7))]));
        assert_eq!(made, BTreeMap::from([(4, of(7))]), "what was refused is tried again");
    }
    #[test]
    fn all_names_are_those_of_the_schema() {
        let schema = ovs_db::vswitch::schema();
        let column = &schema.table("CT_Timeout_Policy").unwrap().columns["timeouts"];
        let Constraint::Enum(names) = column.ty.key().constraint() else { panic!("no enumeration") };
        let mut within = ovs_dpif::userspace::Datapath::new();
        let known = within.conntrack().unwrap().timeouts();
        let is_known = |name: &&Atom| matches!(name, Atom::String(name) if known.contains(&&**name));
        let (of_both, only_linux): (Vec<_>, Vec<_>) = names.iter().partition(is_known);
        assert_eq!(of_both.len(), known.len());
        // States that upstream's userspace tracker does not look at either.
        let names = ["tcp_close_wait", "tcp_last_ack", "tcp_retransmit", "tcp_syn_sent2", "tcp_unack"];
        assert_eq!(only_linux, names.map(|name| Atom::String(name.into())).iter().collect::<Vec<_>>());
    }
}

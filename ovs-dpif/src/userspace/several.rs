//! What a datapath that is one of several does for the others: it is made like them, and takes over their megaflows.

use ovs_classifier::Pattern;
use ovs_packet::key::{FlowMask, WORDS};

use super::tracking::Tracking;
use super::{Datapath, Entry, Limits, Share, tracker_config};
use crate::action::PortNo;
use crate::dpif::{DpStats, Ufid};
use crate::drops::Ledger;

/// A megaflow on its way from one datapath to another, with its counters.
#[derive(Clone)]
pub(super) struct Moving {
    pattern: Pattern<WORDS>,
    entry: Entry,
}

impl Moving {
    pub(super) fn ufid(&self) -> Ufid {
        self.entry.ufid
    }

    /// The port whose packets it is for, if it is for one port's.
    pub(super) fn port(&self) -> Option<PortNo> {
        let mask = FlowMask { bits: ovs_packet::FlowKey::from_words(*self.pattern.mask()) };
        Share::of(&(&self.entry.key).into(), &mask).map(|share| PortNo(share.port))
    }

    /// A copy of it, whose counters begin at zero.
    pub(super) fn anew(&self) -> Moving {
        let mut copy = self.clone();
        copy.entry.tally = Default::default();
        copy
    }
}

/// What a datapath did, for its performance to be shown (`pmd-perf-show`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Work {
    pub(super) received: u64,
    pub(super) stats: DpStats,
    /// Lookups that the cache answered.
    pub(super) cached: u64,
    /// Packets that came in with the mark of a megaflow.
    pub(super) marked: u64,
    pub(super) sent_packets: u64,
    pub(super) sent_batches: u64,
}

impl Datapath {
    /// The first of several, whose connections the others can share.
    pub(super) fn first_of_several(limits: Limits, seed: u64) -> Datapath {
        Datapath::with_tracking(limits, seed, Tracking::shared(tracker_config(limits, seed)))
    }

    /// Another one, without ports and megaflows, that shares connections, fragments and meters with this one, and knows the
    /// same version of the pipeline. `None` if the connections of this one are its own.
    pub(super) fn another(&self, seed: u64) -> Option<Datapath> {
        let mut other = Datapath::with_tracking(self.limits, seed, self.conntrack.another()?).named(self.name.clone());
        other.fragments = self.fragments.clone();
        other.sweeps = self.sweeps.clone();
        other.meters = self.meters.clone();
        other.bonds = self.bonds.another();
        other.tunnels = self.tunnels.another();
        other.version = self.version;
        other.extractor = self.extractor;
        other.vlan_headers = self.vlan_headers;
        Some(other)
    }

    /// How many megaflows there are.
    pub(super) fn flow_count(&self) -> u64 {
        self.table.len() as u64
    }

    /// The megaflows that `wanted` says, by their identities and the ports whose packets they are for, as they are.
    pub(super) fn copy_flows(&self, wanted: impl Fn(Ufid, Option<PortNo>) -> bool) -> Vec<Moving> {
        let all = self.table.iter().map(|(_, flow)| Moving { pattern: flow.pattern(), entry: flow.payload().clone() });
        all.filter(|flow| wanted(flow.ufid(), flow.port())).collect()
    }

    /// Takes out the megaflows that `wanted` says.
    pub(super) fn take_flows(&mut self, wanted: impl Fn(Ufid, Option<PortNo>) -> bool) -> Vec<Moving> {
        let flows = self.copy_flows(wanted);
        for flow in &flows {
            // It is there: it was just read.
            let _ = crate::dpif::Dpif::flow_del(self, flow.entry.ufid);
        }
        flows
    }

    /// Takes megaflows over, or adds their counters to those of the ones that are there. One that there is no room for is
    /// lost; packets that it would match come up.
    pub(super) fn take_over(&mut self, flows: impl IntoIterator<Item = Moving>) {
        for Moving { pattern, entry } in flows {
            if let Some(known) = self.by_ufid.get(&entry.ufid).and_then(|handle| self.table.get_mut(*handle)) {
                known.tally.add(entry.tally);
                continue;
            }
            let mask = FlowMask { bits: ovs_packet::FlowKey::from_words(*pattern.mask()) };
            let (ufid, share) = (entry.ufid, Share::of(&(&entry.key).into(), &mask));
            if let Some(Share { port, mask }) = share {
                self.make_room(port, mask);
            }
            let Ok((handle, _)) = self.table.insert(&pattern, entry) else { continue };
            self.by_ufid.insert(ufid, handle);
            if let Some(Share { port, mask }) = share {
                self.bounds.add(port, ufid, mask);
                self.bounds.tidy(port, |ufid| self.by_ufid.contains_key(&ufid));
            }
        }
    }

    /// Takes over the accounts of one that ends.
    pub(super) fn inherit(&mut self, ledger: &Ledger, stats: DpStats) {
        self.ledger.merge(ledger);
        self.stats.hits += stats.hits;
        self.stats.missed += stats.missed;
        self.stats.lost += stats.lost;
        self.stats.evicted += stats.evicted;
    }

    /// What was done so far.
    pub(super) fn work(&self) -> Work {
        let (sent, table) = (self.ports.sent(), self.table.stats());
        Work {
            received: self.ledger.received,
            stats: DpStats { probes: Some(table.probes), ..self.stats },
            cached: table.cached,
            marked: self.ports.marked(),
            sent_packets: sent.packets,
            sent_batches: sent.batches,
        }
    }
}

//! Patches between bridges: which ends belong together.
//!
//! Two ports are the ends of a patch if each names the other and their bridges share a datapath. An end whose peer is not
//! there, or names another, leads nowhere until that changes.

use std::collections::BTreeMap;

use ovs_ofproto::pipeline::{Bridges, Peer};

use super::bridge::Bridge;

/// Joins the ends of patches of the bridges that share a datapath as they are configured, and takes apart what is no
/// patch any more. Takes effect when the datapath is settled.
pub(super) fn join<'b>(bridges: impl Iterator<Item = &'b Bridge> + Clone, switches: &mut Bridges) {
    let ends = bridges.flat_map(|b| b.ports().map(move |p| (b.place(), p)));
    let ends = ends.filter_map(|(bridge, p)| Some((p.name.as_str(), (Peer { bridge, port: p.number }, p.peer()?))));
    let by_name: BTreeMap<&str, (Peer, &str)> = ends.collect();
    for (name, (end, named)) in &by_name {
        let peer = by_name.get(named).filter(|(_, back)| back == name).map(|(peer, _)| *peer);
        if switches.peer(*end) == peer {
            continue;
        }
        switches.set_peer(*end, peer);
        match peer {
            Some(_) => tracing::debug!(target: "ofproto_dpif", "patch {name}: joined to {named}"),
            None => tracing::debug!(target: "ofproto_dpif", "patch {name}: {named} is not there, or no peer of it"),
        }
    }
}

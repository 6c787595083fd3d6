//! Actions by the tags that packets have when they are executed, so that lists which do the same look the same.

use ovs_packet::FlowKey;
use ovs_packet::key::{VLAN_PRESENT, VLAN_VID_MASK};

use super::args::Args;
use super::reply::{Normalized, Reply};
use super::{DpctlError, usage};
use crate::action::DpAction;
use crate::text::{self, PortNames};

/// Ports named on the command line.
struct Named(Vec<(String, u32)>);

impl PortNames for Named {
    fn name(&self, _: u32) -> Option<String> {
        // Numbers stay numbers, whatever they were called.
        None
    }

    fn number(&self, name: &str) -> Option<u32> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, number)| *number)
    }
}

pub(super) fn normalize(args: &Args<'_, '_>) -> Result<Reply, DpctlError> {
    let [flow, actions, ports @ ..] = args.rest.as_slice() else { return usage("a flow and actions") };
    let port = |word: &&str| {
        let parsed = word.split_once('=').and_then(|(name, number)| Some((name.to_string(), number.parse().ok()?)));
        parsed.ok_or_else(|| DpctlError::Usage(format!("{word}: expected NAME=NUMBER")))
    };
    let names = Named(ports.iter().map(port).collect::<Result<_, _>>()?);
    let (key, mask) = text::parse_key(flow, &names)
        .map_err(|source| DpctlError::Text { what: "odp_flow_key_from_string", source })?;
    let list = text::parse_actions(actions, &names)
        .map_err(|source| DpctlError::Text { what: "odp_actions_from_string", source })?;
    let input = text::masked_key(&key, &mask, &()).to_string();
    let more = args.options.more.then(|| text::actions(&list).to_string());
    // By outer and inner tag.
    let mut groups: Vec<(FlowKey, Vec<DpAction>)> = Vec::new();
    let mut now = key;
    for action in list {
        match action {
            DpAction::PopVlan => {
                (now.vlan_tci, now.vlan_tpid) = (now.inner_vlan_tci, now.inner_vlan_tpid);
                now.inner_vlan_tci.set(0);
                now.inner_vlan_tpid.set(0);
            }
            DpAction::PushVlan { tpid, tci } => {
                (now.inner_vlan_tci, now.inner_vlan_tpid) = (now.vlan_tci, now.vlan_tpid);
                now.vlan_tci.set(tci);
                now.vlan_tpid.set(tpid);
            }
            action => match groups.iter_mut().find(|(key, _)| *key == now) {
                Some((_, actions)) => actions.push(action),
                None => groups.push((now, vec![action])),
            },
        }
    }
    let tags = |key: &FlowKey| {
        [(key.vlan_tci.get(), key.vlan_tpid.get()), (key.inner_vlan_tci.get(), key.inner_vlan_tpid.get())]
    };
    groups.sort_by_key(|(key, _)| tags(key));
    let line = |(key, mut actions): (FlowKey, Vec<DpAction>)| {
        sort_outputs(&mut actions);
        let mut front = String::new();
        for (tci, tpid) in tags(&key).into_iter().take_while(|(tci, _)| *tci & VLAN_PRESENT != 0) {
            let tpid = if matches!(tpid, 0 | 0x8100) { String::new() } else { format!("tpid={tpid:#06x},") };
            front.push_str(&format!("vlan({tpid}vid={},pcp={}): ", tci & VLAN_VID_MASK, tci >> 13));
        }
        if front.is_empty() {
            front.push_str("no vlan: ");
        }
        let [lse, ..] = key.mpls_lse;
        match key.eth_type.get() {
            0x8847 | 0x8848 => {
                let lse = lse.get();
                front.push_str(&format!("mpls(label={},tc={},ttl={}): ", lse >> 12, lse >> 9 & 7, lse & 0xff));
            }
            _ => front.push_str("no mpls: "),
        }
        (front, text::actions(&actions).to_string())
    };
    Ok(Reply::Normalized(Normalized { input, actions: more, groups: groups.into_iter().map(line).collect() }))
}

/// Puts neighbouring outputs in the order of their ports.
fn sort_outputs(actions: &mut [DpAction]) {
    let port = |action: &DpAction| match action {
        DpAction::Output(port) => Some(*port),
        _ => None,
    };
    for run in actions.chunk_by_mut(|a, b| port(a).is_some() && port(b).is_some()) {
        run.sort_by_key(port);
    }
}

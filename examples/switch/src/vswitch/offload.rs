//! Cards that match megaflows: whether they may, and by which drivers (`hw-offload`, `hw-offload-priority`).
//!
//! The order of drivers is read once, with the first configuration, as upstream does; another takes a restart. What an
//! interface says of itself holds from the next configuration on.

use ovs_dpif::HwOffload;
use ovs_dpif::netdev::OFFLOAD_DRIVERS;

use super::bridge::Bridge;
use super::keys;
use crate::config::Settings;

/// The key of the whole, and of an interface.
const PRIORITY: &str = "hw-offload-priority";

/// What is said of cards.
#[derive(Debug, Default)]
pub(super) struct Offload {
    enabled: bool,
    /// The order of drivers as the first configuration gave it.
    priority: Option<String>,
    is_known: bool,
    has_told_change: bool,
}

/// The drivers of which the datapaths of a type have cards, by upstream's table. The devices of others have none that
/// match megaflows.
pub(crate) fn drivers_of(datapath_type: &str) -> &'static [&'static str] {
    if datapath_type == "dummy" { &OFFLOAD_DRIVERS } else { &[] }
}

/// The drivers that a list names, in its order.
fn named(list: &str) -> impl Iterator<Item = &'static str> {
    list.split(',').filter_map(|name| OFFLOAD_DRIVERS.iter().find(|driver| **driver == name).copied())
}

impl Offload {
    /// Whether cards may match megaflows.
    pub(super) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Reads what holds for all.
    pub(super) fn read(&mut self, settings: &Settings) {
        let priority = settings.get(PRIORITY);
        if !self.is_known {
            let names = priority.into_iter().flat_map(|list| list.split(',')).filter(|name| !name.is_empty());
            for name in names.filter(|name| !OFFLOAD_DRIVERS.contains(name)) {
                tracing::warn!(target: "dpif_offload", "hw-offload-priority configuration has an unknown type; {name}");
            }
            (self.is_known, self.priority) = (true, priority.cloned());
        } else if priority.is_some() && *priority_of(priority) != *priority_of(self.priority.as_ref()) {
            if !self.has_told_change {
                tracing::info!(target: "dpif_offload", "hw-offload-priority configuration changed; restart required");
            }
            self.has_told_change = true;
        }
        let enabled = keys::flag(settings, "hw-offload", false);
        if enabled && !self.enabled {
            tracing::info!(target: "dpif_offload", "Flow HW offload is enabled");
        }
        self.enabled = enabled;
    }

    /// The drivers of the datapaths of a type in the order in which they are tried: those that are named first.
    pub(super) fn order(&self, datapath_type: &str) -> Vec<&'static str> {
        let there = drivers_of(datapath_type);
        let mut order: Vec<&'static str> = Vec::new();
        let first = self.priority.iter().flat_map(|list| named(list));
        for driver in first.chain(there.iter().copied()).filter(|driver| there.contains(driver)) {
            if !order.contains(&driver) {
                order.push(driver);
            }
        }
        order
    }

    /// Has the cards of a datapath do so.
    pub(super) fn apply(&self, datapath_type: &str, cards: &mut dyn HwOffload) {
        cards.set_offload_drivers(&self.order(datapath_type));
        cards.set_flow_offload(self.enabled);
    }
}

/// A list as it holds: the usual one where there is none.
fn priority_of(list: Option<&String>) -> std::borrow::Cow<'_, str> {
    list.map_or_else(|| OFFLOAD_DRIVERS.join(",").into(), |list| list.as_str().into())
}

/// Has the interfaces of a bridge have the drivers that they name. `none` ends a list.
pub(super) fn prefer(bridge: &Bridge, cards: &mut dyn HwOffload) {
    for (port, number) in bridge.ports().filter_map(|p| Some((p, p.datapath?))) {
        let list = port.interface().other_config.get(PRIORITY);
        let until_none = |list: &String| {
            let end = list.split(',').position(|name| name == "none").unwrap_or(usize::MAX);
            list.split(',').take(end).flat_map(named).collect()
        };
        cards.prefer_offload_drivers(number, list.map(until_none));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_that_are_named_come_first_and_the_order_stays() {
        let said = |list: &str| Settings::from_iter([(PRIORITY.to_string(), list.to_string())]);
        let order = |list: &str| {
            let mut offload = Offload::default();
            offload.read(&said(list));
            offload.order("dummy")
        };
        assert_eq!(order("dummy_x,dummy"), ["dummy_x", "dummy"]);
        assert_eq!(order("tc,dummy_x,,dummy_x"), ["dummy_x", "dummy"]);
        assert_eq!(order("none"), ["dummy", "dummy_x"]);
        let mut offload = Offload::default();
        offload.read(&Settings::default());
        offload.read(&said("dummy_x"));
        assert_eq!(offload.order("dummy"), ["dummy", "dummy_x"], "another order takes a restart");
        assert!(offload.has_told_change && offload.order("netdev").is_empty());
    }
}

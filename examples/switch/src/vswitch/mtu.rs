//! The MTU of a bridge: the least of its ports that lead out of the machine's own stack.
//!
//! Interfaces of the stack's own (`internal`) follow it, so that no packet is made there that another port would drop for its
//! length. Who asks for an MTU of such an interface by name (`mtu_request`) has it; who sets a smaller one by hand keeps it
//! until the bridge's changes. (ovs-vswitchd.conf.db(5), Interface, `mtu_request`.)

use super::Vswitch;
use super::bridge::{Bridge, BridgePort};

/// The MTU of a bridge that leads nowhere.
const USUAL: usize = 1500;

fn is_own(port: &BridgePort) -> bool {
    matches!(port.kind, "internal" | "tap" | "dummy-internal")
}

impl Vswitch {
    /// Has interfaces of the stack's own follow their bridges.
    pub(super) fn fit_mtus(&mut self) {
        self.mtus.retain(|name, _| self.bridges.contains_key(name));
        for (name, bridge) in &self.bridges {
            let mtu_of = |p: &BridgePort| self.devices.attributes(&p.name).and_then(|known| known.mtu);
            let least = bridge.ports().filter(|p| !is_own(p)).filter_map(mtu_of).min().unwrap_or(USUAL);
            let changed = self.mtus.insert(name.clone(), least) != Some(least);
            let follow = |bridge: &Bridge| -> Vec<String> {
                let follows = |p: &&BridgePort| is_own(p) && p.interface().mtu_request.is_none();
                let is_wrong = |p: &&BridgePort| mtu_of(p).is_some_and(|mtu| mtu > least || changed && mtu != least);
                bridge.ports().filter(follows).filter(is_wrong).map(|p| p.name.clone()).collect()
            };
            for port in follow(bridge) {
                if let Err(e) = self.devices.fit_mtu(&port, least) {
                    tracing::warn!(target: "bridge", "{port}: its MTU cannot be {least}, as its bridge's: {e}");
                }
            }
        }
    }
}

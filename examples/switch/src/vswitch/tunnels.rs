//! Tunnel ports of bridges.
//!
//! What one is stands in the options of its interface ([`TunnelConfig`]); which port of the datapath it shares with others
//! follows from that. When options of several change at once, all that change are first taken away from the pipeline
//! ([`Bridge::withdraw_tunnels`]), so that one may become what another was; one that cannot be what it is to be then leads
//! nowhere, and its error says why.

use std::sync::Arc;

use ovs_ofproto::pipeline::{TunnelConfig, TunnelKind};

use super::bridge::Bridge;
use super::devices::Devices;
use super::shared::Shared;
use crate::config::InterfaceConfig;

/// What a tunnel port is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    kind: TunnelKind,
    config: Option<Arc<TunnelConfig>>,
    /// What its options ask for that is left out.
    problems: Vec<String>,
}

impl Tunnel {
    /// The tunnel port that an interface is to be. What is wrong with its options is told.
    pub(super) fn new(kind: TunnelKind, interface: &InterfaceConfig) -> Result<Tunnel, String> {
        read(kind, interface, true).map(|(config, problems)| Tunnel { kind, config: Some(Arc::new(config)), problems })
    }

    /// Its kind.
    pub fn kind(&self) -> TunnelKind {
        self.kind
    }

    /// What of its options is left out.
    pub(super) fn problem(&self) -> Option<String> {
        (!self.problems.is_empty()).then(|| self.problems.join("; "))
    }

    /// What it is; `None` if it cannot be what its options say, and leads nowhere.
    pub fn config(&self) -> Option<&Arc<TunnelConfig>> {
        self.config.as_ref()
    }
}

/// What the options of an interface make of it.
fn read(kind: TunnelKind, interface: &InterfaceConfig, tells: bool) -> Result<(TunnelConfig, Vec<String>), String> {
    match TunnelConfig::parse(kind, &interface.name, &interface.options) {
        Ok((config, problems)) => {
            for problem in problems.iter().filter(|_| tells) {
                tracing::warn!(target: "netdev_vport", "{problem}");
            }
            Ok((config, problems.iter().map(ToString::to_string).collect()))
        }
        Err(e) => Err(e.to_string()),
    }
}

impl Bridge {
    /// Takes tunnels that are to become others away from the pipeline; says which cannot be what they are to be.
    pub(super) fn withdraw_tunnels<'i>(
        &mut self,
        wanted: impl Iterator<Item = &'i InterfaceConfig>,
        shared: &mut Shared,
        devices: &dyn Devices,
    ) -> Vec<String> {
        let mut impossible = Vec::new();
        for interface in wanted {
            let Some(port) = self.ports.get_mut(&interface.name) else { continue };
            let Some(tunnel) = port.tunnel.as_mut().filter(|_| port.interface.options != interface.options) else {
                continue;
            };
            let Ok((config, _)) = read(tunnel.kind, interface, false) else {
                impossible.push(interface.name.clone());
                continue;
            };
            let Some(old) = tunnel.config.take_if(|old| **old != config) else { continue };
            if let Some(number) = port.datapath.take_if(|_| !shares_vport(&old, &config)) {
                port.leaving = Some(number);
            }
            let changed = port.clone();
            self.publish(&changed, shared, devices);
        }
        impossible
    }

    /// Has the datapath let go of what withdrawn tunnels needed. To be called when the pipeline is settled.
    pub(super) fn leave_vports(&mut self, shared: &mut Shared) {
        for number in self.ports.values_mut().filter_map(|p| p.leaving.take()) {
            shared.datapath.remove_port(number);
        }
    }

    /// Makes a tunnel port what its options say.
    pub(super) fn reconfigure_tunnel(
        &mut self,
        kind: TunnelKind,
        interface: &InterfaceConfig,
        shared: &mut Shared,
        devices: &dyn Devices,
    ) -> Result<(), String> {
        let tunnel = Tunnel::new(kind, interface)?;
        let Some(config) = tunnel.config().cloned() else { return Ok(()) };
        let Some(port) = self.ports.get_mut(&interface.name) else { return Ok(()) };
        if port.tunnel().and_then(Tunnel::config) == Some(&config) {
            port.tunnel = Some(tunnel);
            return Ok(());
        }
        let number = match port.datapath {
            Some(number) => number,
            None => shared.datapath.add_vport(&interface.name, &config)?,
        };
        port.datapath = Some(number);
        shared.check_twin(&interface.name, &config, number)?;
        port.tunnel = Some(tunnel);
        let changed = port.clone();
        self.publish(&changed, shared, devices);
        Ok(())
    }
}

fn shares_vport(one: &TunnelConfig, other: &TunnelConfig) -> bool {
    one.vport() == other.vport() && one.vport_kind() == other.vport_kind()
}

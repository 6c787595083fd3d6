//! The datapath of the machine's kernel.
//!
//! There is one such datapath for a switch, `ovs-system`. One that is there is taken over as it is: its ports stay, its
//! megaflows, which follow from flows that nobody knows any more, go. It outlives the program that made it, unless the
//! program is told to clean up.
//!
//! That ports go by what others do is told by the datapath itself; what becomes of interfaces, by rtnetlink
//! ([`Devices`](super::Devices)).

use ovs_dpif::kernel::{self, Datapath, Options};
use ovs_dpif::{Dpif, DpifError, Features, PortSpec};
use ovs_netlink::{Linux, monotonic};
use ovs_ofproto::pipeline::{PacketMode, TunnelConfig, TunnelKind};
use ovs_packet::Instant;

use crate::config::InterfaceConfig;

/// The kernel, as far as datapaths are concerned.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kernel;

impl Kernel {
    /// Takes over the datapath of this name, or makes it. Whatever other datapaths there are is removed if the switch is
    /// to be `alone`. `now` is the time of the switch.
    ///
    /// # Errors
    /// Why not, in a line.
    pub fn open(self, name: &str, alone: bool, now: Instant) -> Result<Box<dyn Dpif>, String> {
        let said = |e: DpifError| e.to_string();
        let there = kernel::list(&Linux).map_err(said)?;
        for other in there.iter().filter(|other| alone && *other != name) {
            let removed = Datapath::open(&Linux, other, Options::OBSERVE).and_then(Datapath::remove);
            if let Err(e) = removed {
                tracing::warn!(target: "dpif", "couldn't remove old datapath {other}: {e}");
            }
        }
        let options = Options::default().with_clock(now, monotonic());
        let mut datapath = match there.iter().any(|known| known == name) {
            true => Datapath::open(&Linux, name, options),
            false => Datapath::create(&Linux, name, options),
        }
        .map_err(said)?;
        datapath.flow_flush().map_err(said)?;
        Kernel::set_handlers(&mut datapath, name, None);
        Ok(Box::new(datapath))
    }

    /// Has threads take what comes up, as many as are wanted where the kernel leaves that open. Without them the switch's own
    /// loop does.
    pub fn set_handlers(datapath: &mut dyn Dpif, name: &str, wanted: Option<usize>) {
        match datapath.set_handlers(wanted) {
            Ok(count) => tracing::info!(target: "dpif", "system@{name}: {count} handler threads"),
            Err(e) => tracing::warn!(target: "dpif", "system@{name}: {e}"),
        }
    }

    /// Removes the datapath of this name, with its ports.
    ///
    /// # Errors
    /// Why not, in a line.
    pub fn remove(self, name: &str) -> Result<(), String> {
        Datapath::open(&Linux, name, Options::OBSERVE).and_then(Datapath::remove).map_err(|e| e.to_string())
    }

    /// Whether the kernel's datapath can have a tunnel.
    ///
    /// # Errors
    /// If it has no such tunnels, or not with these options.
    pub fn check_tunnel(name: &str, config: &TunnelConfig) -> Result<(), String> {
        let kind = config.kind;
        if matches!(kind, TunnelKind::Gtpu | TunnelKind::Srv6) {
            return Err(format!("{name}: tunnels of type {kind} are not available in the kernel's datapath"));
        }
        // A device of GRE is for packets with Ethernet headers or for others; one of VXLAN-GPE tells each packet's type.
        let is_there = match (kind, config.mode) {
            (TunnelKind::Ip6Gre, mode) => mode == PacketMode::LegacyL2,
            (TunnelKind::Vxlan, PacketMode::Aware) => config.vxlan.gpe,
            (_, mode) => mode != PacketMode::Aware,
        };
        match is_there {
            true => Ok(()),
            false => {
                let mode = if config.mode == PacketMode::Aware { "ptap" } else { "legacy_l3" };
                Err(format!("{name}: packet_type {mode} of type {kind} is not available in the kernel's datapath"))
            }
        }
    }

    /// What a port of the datapath is made of, and the kind by which it is known.
    ///
    /// # Errors
    /// If the kernel has no such ports, or they have no such options.
    pub fn port(kind: &str, interface: &InterfaceConfig) -> Result<(PortSpec, &'static str), String> {
        let name = &interface.name;
        let (spec, kind) = match kind {
            "system" => (PortSpec::Interface(name.clone()), "system"),
            "internal" => (PortSpec::Internal(name.clone()), "internal"),
            _ => return Err(format!("{name}: ports of type {kind} are not available in the kernel's datapath")),
        };
        match interface.options.keys().next() {
            Some(option) => Err(format!("{name}: option {option} of a {kind} device is not available")),
            None => Ok((spec, kind)),
        }
    }
}

/// Tells what was found out about a kernel's datapath, in upstream's words, which people look for in logs.
pub(super) fn tell_features(name: &str, features: &Features) {
    let supports = [
        ("truncate action", features.trunc),
        ("clone action", features.clone),
        ("check_pkt_len action", features.check_pkt_len),
        ("explicit drop action", features.explicit_drop),
        ("ct_clear action", features.ct_clear),
        ("add_mpls action", features.add_mpls),
        ("ct_state", features.ct),
        ("ct_zone", features.ct_zones),
        ("ct_label", features.ct_labels),
        ("timeout policy in conntrack action", features.ct_timeouts),
    ];
    for (what, has) in supports {
        let does = if has { "supports" } else { "does not support" };
        tracing::info!(target: "ofproto_dpif", "system@{name}: Datapath {does} {what}");
    }
    for (what, depth) in [
        ("VLAN header stack length", features.vlan_headers),
        ("MPLS label stack length", features.mpls_depth),
        ("Max sample nesting level", features.sample_nesting),
    ] {
        tracing::info!(target: "ofproto_dpif", "system@{name}: {what} probed as {depth}");
    }
}

#[cfg(test)]
mod tests {
    use ovs_ofproto::pipeline::Remote;

    use super::*;

    #[test]
    fn packets_of_all_types_go_where_a_device_tells_them_apart() {
        let is_there = |kind, mode, gpe| {
            let mut config = TunnelConfig::new(kind, Remote::Flow);
            (config.mode, config.vxlan.gpe) = (mode, gpe);
            Kernel::check_tunnel("t", &config).is_ok()
        };
        use PacketMode::{Aware, LegacyL2, LegacyL3};
        use TunnelKind::{Gre, Ip6Gre, Vxlan};
        let modes = |kind, gpe| [LegacyL2, LegacyL3, Aware].map(|mode| is_there(kind, mode, gpe));
        assert_eq!(modes(Gre, false), [true, true, false]);
        assert_eq!(modes(Ip6Gre, false), [true, false, false]);
        assert_eq!(modes(Vxlan, true), [true, true, true]);
        assert!(!is_there(Vxlan, Aware, false));
    }

    #[test]
    fn ports_are_the_machines_or_made_or_refused() {
        let mut interface = InterfaceConfig::new("p1");
        assert!(matches!(Kernel::port("system", &interface), Ok((PortSpec::Interface(_), "system"))));
        assert!(matches!(Kernel::port("internal", &interface), Ok((PortSpec::Internal(_), "internal"))));
        let refused = Kernel::port("afxdp", &interface).unwrap_err();
        assert_eq!(refused, "p1: ports of type afxdp are not available in the kernel's datapath");
        interface.options.insert("n_rxq".into(), "2".into());
        let refused = Kernel::port("system", &interface).unwrap_err();
        assert_eq!(refused, "p1: option n_rxq of a system device is not available");
    }
}

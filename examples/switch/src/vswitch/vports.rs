//! Ports of a datapath that tunnels share: one for each kind and UDP port, made for the first tunnel that needs it, and gone
//! with the last.

use std::collections::BTreeMap;

use ovs_dpif::{PortNo, TunnelPort};
use ovs_ofproto::pipeline::TunnelConfig;

/// A port that tunnels share.
#[derive(Debug)]
struct Vport {
    number: PortNo,
    kind: TunnelPort,
    users: usize,
}

/// The ports of a datapath that tunnels share, by name.
#[derive(Debug, Default)]
pub(super) struct Vports(BTreeMap<String, Vport>);

impl Vports {
    /// The port for one more tunnel, if there is one; `None` if it is to be made, and [noted](Self::note).
    ///
    /// # Errors
    /// If the one that is there cannot be that of both.
    pub(super) fn join(&mut self, name: &str, config: &TunnelConfig) -> Result<Option<PortNo>, String> {
        self.check(name, config)?;
        let Some(there) = self.0.get_mut(config.vport().as_str()) else { return Ok(None) };
        there.users += 1;
        Ok(Some(there.number))
    }

    /// Whether the port for a tunnel is not, or can be that of this tunnel too.
    ///
    /// # Errors
    /// Why not, in a line.
    pub(super) fn check(&self, name: &str, config: &TunnelConfig) -> Result<(), String> {
        let policy = |kind| matches!(kind, TunnelPort::Vxlan { gbp: true, .. });
        match self.0.get(config.vport().as_str()) {
            Some(there) if policy(there.kind) != policy(config.vport_kind()) => {
                let why = "VXLAN-GBP, and non-VXLAN-GBP tunnels can't be configured on the same dst_port";
                Err(format!("{name}: {why}"))
            }
            _ => Ok(()),
        }
    }

    /// Whether the port for a tunnel, where a device is one for packets with Ethernet headers or one for packets without, can
    /// be that of this tunnel too.
    ///
    /// # Errors
    /// Why not, in a line.
    pub(super) fn check_framing(&self, name: &str, config: &TunnelConfig) -> Result<(), String> {
        let is_bare = |kind| kind == TunnelPort::GreL3;
        match self.0.get(config.vport().as_str()) {
            Some(there) if is_bare(there.kind) != is_bare(config.vport_kind()) => {
                let why = "GRE tunnels of packet_type legacy_l2 and legacy_l3 can't be configured together";
                Err(format!("{name}: {why} in the kernel's datapath"))
            }
            _ => Ok(()),
        }
    }

    /// A port was made, for one tunnel.
    pub(super) fn note(&mut self, config: &TunnelConfig, number: PortNo) {
        self.0.insert(config.vport(), Vport { number, kind: config.vport_kind(), users: 1 });
    }

    /// A tunnel needs a port no more. False if it is none of these, or if others still need it: only otherwise it goes.
    pub(super) fn leave(&mut self, number: PortNo) -> Left {
        let Some((name, there)) = self.0.iter_mut().find(|(_, v)| v.number == number) else { return Left::NotShared };
        there.users -= 1;
        if there.users > 0 {
            return Left::InUse;
        }
        let name = name.clone();
        self.0.remove(&name);
        Left::Unused
    }
}

/// What is left of a port that a tunnel needs no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// It is none that tunnels share.
    NotShared,
    /// Others need it.
    InUse,
    /// Nobody needs it.
    Unused,
}

#[cfg(test)]
mod tests {
    use ovs_ofproto::pipeline::{PacketMode, Remote, TunnelKind};

    use super::*;

    #[test]
    fn a_device_is_for_packets_with_ethernet_or_without() {
        let (mut vports, with) = (Vports::default(), TunnelConfig::new(TunnelKind::Gre, Remote::Flow));
        let mut without = with.clone();
        without.mode = PacketMode::LegacyL3;
        assert_eq!((with.vport_kind(), without.vport_kind()), (TunnelPort::Gre, TunnelPort::GreL3));
        vports.note(&without, PortNo(1));
        assert_eq!(vports.check_framing("a", &without), Ok(()));
        assert!(vports.check_framing("a", &with).unwrap_err().starts_with("a: GRE"));
        // A datapath that looks into each packet has both on one port.
        assert_eq!(vports.join("a", &with), Ok(Some(PortNo(1))));
    }

    #[test]
    fn a_port_is_shared_until_nobody_needs_it() {
        let (mut vports, vxlan) = (Vports::default(), TunnelConfig::new(TunnelKind::Vxlan, Remote::Flow));
        assert_eq!(vports.join("a", &vxlan), Ok(None));
        vports.note(&vxlan, PortNo(4789));
        assert_eq!(vports.join("b", &vxlan), Ok(Some(PortNo(4789))));
        let mut policy = vxlan.clone();
        policy.vxlan.gbp = true;
        assert!(vports.join("c", &policy).unwrap_err().starts_with("c: VXLAN-GBP"));
        policy.dst_port = 9000;
        assert_eq!(vports.join("c", &policy), Ok(None));
        assert_eq!(vports.leave(PortNo(4789)), Left::InUse);
        assert_eq!(vports.leave(PortNo(4789)), Left::Unused);
        assert_eq!(vports.leave(PortNo(4789)), Left::NotShared);
    }
}

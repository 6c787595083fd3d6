//! Ports of a datapath.

use super::DpifError;
use crate::action::PortNo;
use crate::netdev::{Netdev, NetdevStats, Vport};

/// A port to add to a datapath.
#[derive(Debug)]
#[non_exhaustive]
pub enum PortSpec {
    /// A device that the datapath polls itself. Backends that forward outside the process refuse it.
    Device(Box<dyn Netdev>),
    /// A network interface of the machine, which is there. Backends within the process refuse it, and the next: they want
    /// a [`Device`](PortSpec::Device).
    Interface(String),
    /// A network interface that the datapath makes, for the machine to talk through the switch.
    Internal(String),
    /// A tunnel, that keeps no peer of its own: outside the process by a network interface of this name that is made, if
    /// there is none; within it by a port that [stands](crate::netdev::Vport) for it.
    Tunnel {
        /// The port, and the interface.
        name: String,
        /// What kind of tunnel.
        kind: TunnelPort,
    },
}

impl PortSpec {
    /// The device of a port of a datapath within the process.
    pub(crate) fn into_device(self) -> Result<Box<dyn Netdev>, DpifError> {
        match self {
            PortSpec::Device(device) => Ok(device),
            PortSpec::Tunnel { name, kind } => Ok(Box::new(Vport::new(name, kind))),
            PortSpec::Interface(_) | PortSpec::Internal(_) => Err(DpifError::Unsupported("ports of the kernel's")),
        }
    }
}

/// What a tunnel port of a datapath is: it takes outer addresses and key from actions, and tells them in keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum TunnelPort {
    /// VXLAN (RFC 7348).
    Vxlan {
        /// The UDP port.
        port: u16,
        /// With the group policy extension.
        gbp: bool,
        /// With the generic protocol extension; excludes the other.
        gpe: bool,
    },
    /// Geneve (RFC 8926).
    Geneve {
        /// The UDP port.
        port: u16,
    },
    /// GRE over IPv4 (RFC 2784, RFC 2890), with Ethernet frames inside.
    Gre,
    /// The same without Ethernet headers inside.
    GreL3,
    /// The same over IPv6.
    Ip6Gre,
    /// ERSPAN over IPv4.
    Erspan,
    /// ERSPAN over IPv6.
    Ip6Erspan,
    /// IP or MPLS in UDP.
    Bareudp {
        /// The UDP port.
        port: u16,
        /// The Ethertype of what is inside.
        eth_type: u16,
        /// Whether the kin of that Ethertype may be inside too: IPv6 beside IPv4, multicast beside unicast MPLS.
        multiproto: bool,
    },
    /// GTP-U version 1 (3GPP TS 29.281), of userspace datapaths.
    Gtpu {
        /// The UDP port.
        port: u16,
    },
    /// IPv6 with a segment routing header (RFC 8754), of userspace datapaths.
    Srv6,
}

impl TunnelPort {
    /// The kind of tunnel, as the `type` column of the Interface table names it.
    pub const fn kind(self) -> &'static str {
        match self {
            TunnelPort::Vxlan { .. } => "vxlan",
            TunnelPort::Geneve { .. } => "geneve",
            TunnelPort::Gre | TunnelPort::GreL3 => "gre",
            TunnelPort::Ip6Gre => "ip6gre",
            TunnelPort::Erspan => "erspan",
            TunnelPort::Ip6Erspan => "ip6erspan",
            TunnelPort::Bareudp { .. } => "bareudp",
            TunnelPort::Gtpu { .. } => "gtpu",
            TunnelPort::Srv6 => "srv6",
        }
    }
}

/// A change of a datapath's ports that someone else may have made.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PortChange {
    /// A port is there, or is other than it was.
    Changed(PortNo),
    /// A port is gone.
    Removed(PortNo),
    /// Changes were lost: list all ports anew.
    Lost,
}

/// A port of a datapath.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PortInfo {
    /// Number.
    pub port: PortNo,
    /// Name.
    pub name: String,
    /// Kind of device.
    pub kind: &'static str,
    /// Counters.
    pub stats: NetdevStats,
    /// Counters that only this kind of device has, by name ([`Netdev::custom_stats`](crate::netdev::Netdev::custom_stats)).
    pub custom_stats: Vec<(String, u64)>,
}

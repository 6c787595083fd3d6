//! What a tunnel port is.

use std::net::{IpAddr, Ipv6Addr};

use ovs_dpif::TunnelPort;
use ovs_packet::key::FlowKey;

/// A kind of tunnel, as the `type` column of the Interface table names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum TunnelKind {
    /// GRE over IPv4 (RFC 2784, RFC 2890).
    Gre,
    /// The same over IPv6.
    Ip6Gre,
    /// VXLAN (RFC 7348).
    Vxlan,
    /// Geneve (RFC 8926).
    Geneve,
    /// ERSPAN over IPv4.
    Erspan,
    /// ERSPAN over IPv6.
    Ip6Erspan,
    /// GTP-U version 1 (3GPP TS 29.281).
    Gtpu,
    /// IP or MPLS in UDP (RFC 7510).
    Bareudp,
    /// IPv6 with a segment routing header (RFC 8754).
    Srv6,
}

impl TunnelKind {
    /// All kinds.
    pub const ALL: [TunnelKind; 9] = [
        TunnelKind::Gre,
        TunnelKind::Ip6Gre,
        TunnelKind::Vxlan,
        TunnelKind::Geneve,
        TunnelKind::Erspan,
        TunnelKind::Ip6Erspan,
        TunnelKind::Gtpu,
        TunnelKind::Bareudp,
        TunnelKind::Srv6,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            TunnelKind::Gre => "gre",
            TunnelKind::Ip6Gre => "ip6gre",
            TunnelKind::Vxlan => "vxlan",
            TunnelKind::Geneve => "geneve",
            TunnelKind::Erspan => "erspan",
            TunnelKind::Ip6Erspan => "ip6erspan",
            TunnelKind::Gtpu => "gtpu",
            TunnelKind::Bareudp => "bareudp",
            TunnelKind::Srv6 => "srv6",
        }
    }

    /// The kind of this name.
    pub fn of_name(name: &str) -> Option<TunnelKind> {
        TunnelKind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What the names of its vports begin with.
    const fn vport(self) -> &'static str {
        match self {
            TunnelKind::Gre => "gre_sys",
            TunnelKind::Ip6Gre => "ip6gre_sys",
            TunnelKind::Vxlan => "vxlan_sys",
            TunnelKind::Geneve => "genev_sys",
            TunnelKind::Erspan => "erspan_sys",
            TunnelKind::Ip6Erspan => "ip6erspan_sys",
            TunnelKind::Gtpu => "gtpu_sys",
            TunnelKind::Bareudp => "udp_sys",
            TunnelKind::Srv6 => "srv6_sys",
        }
    }

    /// The UDP port that it goes to unless the configuration says otherwise: 0 for none, in the kinds that have one.
    pub(super) const fn usual_port(self) -> Option<u16> {
        match self {
            TunnelKind::Vxlan => Some(4789),
            TunnelKind::Geneve => Some(6081),
            TunnelKind::Gtpu => Some(2152),
            TunnelKind::Bareudp => Some(0),
            _ => None,
        }
    }

    /// Whether it may have a checksum of its own.
    pub(super) const fn has_checksum(self) -> bool {
        self.is_gre() || matches!(self, TunnelKind::Geneve | TunnelKind::Vxlan)
    }

    /// Whether it is GRE and no more.
    pub(super) const fn is_gre(self) -> bool {
        matches!(self, TunnelKind::Gre | TunnelKind::Ip6Gre)
    }

    /// Whether it is ERSPAN.
    pub(super) const fn is_erspan(self) -> bool {
        matches!(self, TunnelKind::Erspan | TunnelKind::Ip6Erspan)
    }
}

/// The far end of a tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Remote {
    /// Any: flows say which, by `tun_dst`.
    Flow,
    /// This one.
    Address(IpAddr),
}

/// The near end of a tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Local {
    /// Any address of the machine; what is sent has whichever the route prefers.
    Any,
    /// Any: flows say which, by `tun_src`.
    Flow,
    /// This address.
    Address(IpAddr),
}

/// The key of a tunnel: VNI, GRE key, TEID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum TunnelKey {
    /// None, which is received as zero.
    #[default]
    None,
    /// Any: flows say which, by `tun_id`.
    Flow,
    /// This one.
    Id(u64),
}

/// A byte of the outer header, or that it is as that of the packet inside.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Inherited {
    /// As inside, where that is IP; else what is usual.
    Inherit,
    /// This.
    Fixed(u8),
}

/// Something that is fixed, or that flows say.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FromFlow<T> {
    /// Flows say it, by the field for it.
    Flow,
    /// This.
    Fixed(T),
}

impl<T: Default> Default for FromFlow<T> {
    fn default() -> Self {
        FromFlow::Fixed(T::default())
    }
}

/// Whether what is sent has a checksum: of GRE, or of UDP over all.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Checksum {
    /// Where the outer header is IPv6, which wants one.
    Usual,
    /// No, or there is none in this kind of tunnel.
    None,
    /// Yes.
    Enabled,
    /// No, not even over IPv6.
    Disabled,
}

/// What a tunnel port carries, and how packets of another kind become that (`packet_type` in ovs-vswitchd.conf.db(5)).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PacketMode {
    /// Ethernet frames; no others are sent.
    LegacyL2,
    /// Packets without an Ethernet header, which is put in front of what is received and taken off what is sent.
    LegacyL3,
    /// Packets of any type, as they are.
    Aware,
}

/// Extensions of VXLAN.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Vxlan {
    /// Group based policy.
    pub gbp: bool,
    /// Generic protocol extension.
    pub gpe: bool,
}

/// What ERSPAN tells of the mirrored packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Erspan {
    /// Version: 1 or 2; 0 if nothing says which.
    pub version: FromFlow<u8>,
    /// Version 1: the index, 20 bits.
    pub index: FromFlow<u32>,
    /// Version 2: whether the packet was sent (1) or received (0).
    pub direction: FromFlow<u8>,
    /// Version 2: the hardware id, 6 bits.
    pub hardware: FromFlow<u8>,
}

/// The outer flow label of segment routing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum FlowLabel {
    /// As inside, where that is IPv6.
    #[default]
    Copy,
    /// Zero.
    Zero,
    /// A hash of what is inside.
    Compute,
}

/// The path of segment routing.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct Srv6 {
    /// The segments, the first one first, at most [`MAX_SEGMENTS`](ovs_dpif::MAX_SEGMENTS); none is the far end alone.
    pub segments: Vec<Ipv6Addr>,
    /// The outer flow label.
    pub label: FlowLabel,
}

/// What bareudp carries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Bareudp {
    /// The Ethertype.
    pub payload: u16,
    /// Its kin too: IPv6 where that is IPv4, multicast where that is MPLS.
    pub multiproto: bool,
}

/// What a tunnel port is.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use ovs_ofproto::pipeline::{TunnelConfig, TunnelKind};
///
/// let options = BTreeMap::from([("remote_ip".to_string(), "192.0.2.1".to_string()), ("key".into(), "flow".into())]);
/// let (tunnel, problems) = TunnelConfig::parse(TunnelKind::Vxlan, "vx0", &options).unwrap();
/// assert!(problems.is_empty());
/// assert_eq!(tunnel.vport(), "vxlan_sys_4789");
/// assert_eq!(tunnel.to_string(), "key=flow, remote_ip=192.0.2.1");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct TunnelConfig {
    /// Kind.
    pub kind: TunnelKind,
    /// The far end.
    pub remote: Remote,
    /// The near end.
    pub local: Local,
    /// The key that is received.
    pub in_key: TunnelKey,
    /// The key that is sent.
    pub out_key: TunnelKey,
    /// The UDP port of the far end; 0 where there is none.
    pub dst_port: u16,
    /// The outer TOS, of which the two lower bits are always inherited.
    pub tos: Inherited,
    /// The outer TTL.
    pub ttl: Inherited,
    /// Whether outer packets over IPv4 stay whole.
    pub dont_fragment: bool,
    /// Checksum.
    pub checksum: Checksum,
    /// Whether packets of GRE are numbered.
    pub sequence: bool,
    /// The mark that packets leave with, in the place of their own.
    pub egress_mark: Option<u32>,
    /// What it carries.
    pub mode: PacketMode,
    /// Of VXLAN.
    pub vxlan: Vxlan,
    /// Of ERSPAN.
    pub erspan: Erspan,
    /// Of SRv6.
    pub srv6: Srv6,
    /// Of bareudp.
    pub bareudp: Bareudp,
}

/// The outer TTL unless the configuration says otherwise.
pub(super) const USUAL_TTL: u8 = 64;

impl TunnelConfig {
    /// A tunnel of a kind to a far end, all else as it usually is.
    pub fn new(kind: TunnelKind, remote: Remote) -> TunnelConfig {
        TunnelConfig {
            kind,
            remote,
            local: Local::Any,
            in_key: TunnelKey::None,
            out_key: TunnelKey::None,
            dst_port: kind.usual_port().unwrap_or(0),
            tos: Inherited::Fixed(0),
            ttl: Inherited::Fixed(USUAL_TTL),
            dont_fragment: true,
            checksum: if kind.has_checksum() && !kind.is_gre() { Checksum::Usual } else { Checksum::None },
            sequence: false,
            egress_mark: None,
            mode: TunnelConfig::usual_mode(kind),
            vxlan: Vxlan::default(),
            erspan: Erspan::default(),
            srv6: Srv6::default(),
            bareudp: Bareudp::default(),
        }
    }

    /// What a kind of tunnel carries unless the configuration says otherwise.
    pub(super) fn usual_mode(kind: TunnelKind) -> PacketMode {
        match kind {
            TunnelKind::Gtpu | TunnelKind::Bareudp | TunnelKind::Srv6 => PacketMode::LegacyL3,
            _ => PacketMode::LegacyL2,
        }
    }

    /// Whether it can carry Ethernet frames, and whether packets without an Ethernet header.
    pub(super) fn layers(&self) -> (bool, bool) {
        match self.kind {
            TunnelKind::Gre => (true, true),
            TunnelKind::Vxlan => (true, self.vxlan.gpe),
            TunnelKind::Gtpu | TunnelKind::Bareudp | TunnelKind::Srv6 => (false, true),
            _ => (true, false),
        }
    }

    /// The name of the datapath's port for it, which all tunnels of its kind and UDP port share.
    pub fn vport(&self) -> String {
        match self.kind.usual_port() {
            Some(_) => format!("{}_{}", self.kind.vport(), self.dst_port),
            None => self.kind.vport().to_string(),
        }
    }

    /// What that port is to be.
    pub fn vport_kind(&self) -> TunnelPort {
        let port = self.dst_port;
        match self.kind {
            TunnelKind::Gre if self.mode == PacketMode::LegacyL3 => TunnelPort::GreL3,
            TunnelKind::Gre => TunnelPort::Gre,
            TunnelKind::Ip6Gre => TunnelPort::Ip6Gre,
            TunnelKind::Vxlan => TunnelPort::Vxlan { port, gbp: self.vxlan.gbp, gpe: self.vxlan.gpe },
            TunnelKind::Geneve => TunnelPort::Geneve { port },
            TunnelKind::Erspan => TunnelPort::Erspan,
            TunnelKind::Ip6Erspan => TunnelPort::Ip6Erspan,
            TunnelKind::Gtpu => TunnelPort::Gtpu { port },
            TunnelKind::Bareudp => {
                let Bareudp { payload, multiproto } = self.bareudp;
                TunnelPort::Bareudp { port, eth_type: payload, multiproto }
            }
            TunnelKind::Srv6 => TunnelPort::Srv6,
        }
    }
}

/// Whether a packet with this key came through a tunnel.
pub(in crate::pipeline) fn is_tunnelled(key: &FlowKey) -> bool {
    key.tun_dst != 0 || key.tun_ipv6_dst != 0
}

//! What a datapath does with a packet.

use arrayvec::ArrayVec;
use bitflags::bitflags;
use ovs_conntrack::CtRequest;
use ovs_packet::field::KeyAttr;
use ovs_packet::key::SparseKey;
use ovs_packet::packet::TunnelFlags;
use ovs_packet::{EthAddr, FlowKey, FlowMask};

use crate::assignment::Assignment;
use crate::drops::DropReason;
use crate::outer::TunnelPush;

/// Number of a port in a datapath. Port 0 is the datapath's own ("local") port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PortNo(pub u32);

impl PortNo {
    /// The local port.
    pub const LOCAL: PortNo = PortNo(0);
}

impl std::fmt::Display for PortNo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A datapath action. A list of them is executed in order; what is left of the packet at its end is gone.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DpAction {
    /// Send a copy out of a port.
    Output(PortNo),
    /// Send a copy out of one of a bond's ports, chosen by the packet's hash.
    LbOutput(u32),
    /// Pass a copy up to userspace, with a note for whoever handles it.
    Userspace(Userspace),
    /// Overwrite the masked bits of the fields of one attribute.
    Set(KeyAttr, Assignment),
    /// Push a VLAN tag.
    PushVlan {
        /// Tag protocol.
        tpid: u16,
        /// Tag control information, with bit 12 set as every tag has it in a key.
        tci: u16,
    },
    /// Take the outermost VLAN tag off.
    PopVlan,
    /// Push an MPLS label stack entry in front of the network layer, or of the outermost entry.
    PushMpls {
        /// Ethertype that the packet gets.
        eth_type: u16,
        /// Label stack entry (RFC 3032).
        lse: u32,
    },
    /// Push an MPLS label stack entry in front of the whole frame, so that the packet begins with the label.
    ///
    /// The kernel's attribute has a flag for a label behind the Ethernet header too: that is [`PushMpls`](Self::PushMpls).
    AddMpls {
        /// Ethertype that the packet gets.
        eth_type: u16,
        /// Label stack entry (RFC 3032).
        lse: u32,
    },
    /// Take the outermost MPLS label stack entry off; the packet gets this Ethertype.
    PopMpls(u16),
    /// Put an Ethernet header in front of a packet that begins at layer 3.
    PushEth {
        /// Source.
        src: EthAddr,
        /// Destination.
        dst: EthAddr,
    },
    /// Take the Ethernet header off, so that the packet begins at layer 3.
    PopEth,
    /// Put the outer header of a native tunnel in front of the packet.
    TunnelPush(Box<TunnelPush>),
    /// Take the outer header of a native tunnel off, and look the packet up again as if it had come in by this port.
    TunnelPop(PortNo),
    /// Put a network service header in front of the packet (RFC 8300).
    PushNsh {
        /// Its flags, TTL, metadata type, next protocol, path and, of metadata type 1, context.
        header: SparseKey,
        /// Its metadata of type 2.
        metadata: Vec<u8>,
    },
    /// Take the network service header off.
    PopNsh,
    /// Pass the packet through connection tracking.
    Ct(CtRequest),
    /// Forget the packet's connection.
    CtClear,
    /// Look the packet up again under this recirculation id.
    Recirc(u32),
    /// Compute the packet's hash, for a lookup after recirculation to match.
    Hash {
        /// Of what.
        algorithm: HashAlgorithm,
        /// Where the hash starts from.
        basis: u32,
    },
    /// Execute actions on a copy of some packets, chosen at random.
    Sample {
        /// How many of 2^32 - 1 packets.
        probability: u32,
        /// The actions.
        actions: Vec<DpAction>,
    },
    /// Execute actions on a copy.
    Clone(Vec<DpAction>),
    /// Go on one way or another by the packet's length.
    CheckPktLen {
        /// Length in bytes, from the Ethernet header on.
        len: u16,
        /// For packets that are longer.
        greater: Vec<DpAction>,
        /// For the others.
        less_equal: Vec<DpAction>,
    },
    /// The next output, or copy for userspace, has at most so many bytes.
    Trunc(u32),
    /// Pass the packet through a meter, which may drop it.
    Meter(u32),
    /// Decrement the TTL. A packet whose TTL is used up goes through these actions instead of the ones behind.
    DecTtl(Vec<DpAction>),
    /// Report a copy to the `psample` facility, which is the kernel's: datapaths within the process refuse it, and samples
    /// for the owner of one are [`Userspace`](DpAction::Userspace) actions.
    Psample {
        /// Group of listeners.
        group: u32,
        /// A note for them, at most 16 bytes.
        cookie: ArrayVec<u8, PSAMPLE_COOKIE_MAX>,
    },
    /// Drop the packet, for this reason.
    Drop(DropReason),
}

// What each action of each megaflow takes, beside what it points to: as much as a request to connection tracking.
const _: () = assert!(size_of::<DpAction>() <= 128);

/// How many bytes the cookie of a [`DpAction::Psample`] has at most.
pub const PSAMPLE_COOKIE_MAX: usize = 16;

/// What a [`DpAction::Hash`] is computed of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum HashAlgorithm {
    /// Addresses, protocol and ports.
    L4,
    /// The same, so that both directions have the same hash.
    SymmetricL4,
}

/// A copy for userspace.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Userspace {
    /// Why.
    pub cookie: Cookie,
    /// Netlink socket that gets it, in datapaths outside the process; 0 leaves the choice to the datapath.
    pub pid: u32,
    /// Whether the upcall tells the actions of the megaflow too.
    pub with_actions: bool,
    /// Tunnel port for which the outer header is wanted.
    pub tunnel_out_port: Option<PortNo>,
}

impl Userspace {
    /// A copy with this note and nothing else.
    pub const fn new(cookie: Cookie) -> Userspace {
        Userspace { cookie, pid: 0, with_actions: false, tunnel_out_port: None }
    }
}

/// All of a tunnel's header, by a mask that shows the parts that it has.
fn tunnel_mask(value: &FlowKey) -> FlowKey {
    let mut mask = FlowKey::ZERO;
    let ones = |word: u128| if word == 0 { 0 } else { u128::MAX };
    let has_key = value.tun_id != 0 || value.tun_flags & TunnelFlags::KEY.bits() != 0;
    mask.tun_id.set(if has_key { u64::MAX } else { 0 });
    mask.tun_src.set(ones(value.tun_src.get().into()) as u32);
    mask.tun_dst.set(ones(value.tun_dst.get().into()) as u32);
    mask.tun_ipv6_src.set(ones(value.tun_ipv6_src.get()));
    mask.tun_ipv6_dst.set(ones(value.tun_ipv6_dst.get()));
    mask.tun_tos = ones(value.tun_tos.into()) as u8;
    mask.tun_ttl = u8::MAX;
    mask.tun_flags = TunnelFlags::all().bits();
    mask.tun_tp_src.set(ones(value.tun_tp_src.get().into()) as u16);
    mask.tun_tp_dst.set(ones(value.tun_tp_dst.get().into()) as u16);
    if value.tun_gbp_id != 0 || value.tun_gbp_flags != 0 {
        mask.tun_gbp_id.set(u16::MAX);
        mask.tun_gbp_flags = u8::MAX;
    }
    if value.tun_gtpu_flags != 0 || value.tun_gtpu_msgtype != 0 {
        (mask.tun_gtpu_flags, mask.tun_gtpu_msgtype) = (u8::MAX, u8::MAX);
    }
    mask.tun_erspan.set(ones(value.tun_erspan.get().into()) as u32);
    let len = usize::try_from(value.tun_present.get()).unwrap_or(usize::MAX);
    mask.tun_metadata.iter_mut().take(len).for_each(|byte| *byte = 0xff);
    mask.tun_present.set(ones(value.tun_present.get().into()) as u64);
    mask
}

impl DpAction {
    /// Gives the packet the outer header that the tunnel members of a datapath's key tell of, in the place of any that it
    /// has.
    pub fn set_tunnel(key: &FlowKey) -> DpAction {
        let mask = FlowMask { bits: tunnel_mask(key) };
        DpAction::Set(KeyAttr::Tunnel, Assignment::new(&key.masked(&mask), &mask))
    }

    /// The action lists within this one.
    pub fn nested(&self) -> impl Iterator<Item = &[DpAction]> {
        let (first, second): (&[DpAction], &[DpAction]) = match self {
            DpAction::Sample { actions, .. } | DpAction::Clone(actions) | DpAction::DecTtl(actions) => (actions, &[]),
            DpAction::CheckPktLen { greater, less_equal, .. } => (greater, less_equal),
            _ => (&[], &[]),
        };
        [first, second].into_iter().filter(|list| !list.is_empty())
    }
}

/// Why a packet was passed up, noted by whoever wrote the action.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Cookie {
    /// For the OpenFlow controllers.
    Controller {
        /// `ofp_packet_in_reason` (OpenFlow 1.5, section 7.4.1).
        reason: u8,
        /// Whether no packet-in is sent, and translation only goes on after a pause.
        dont_send: bool,
        /// Whether the packet-in has what is needed to go on later.
        continuation: bool,
        /// Recirculation id at which the packet was.
        recirc_id: u32,
        /// Cookie of the flow that sent it.
        rule_cookie: u64,
        /// Table of that flow.
        table: u8,
        /// Which controllers.
        controller_id: u16,
        /// How many bytes the controllers want.
        max_len: u16,
    },
    /// The slow path has to handle the packets of this flow one by one.
    SlowPath(SlowPath),
    /// A sample for sFlow.
    SFlow {
        /// VLAN tag that the packet leaves with.
        vlan_tci: u16,
        /// Output in sFlow's encoding.
        output: u32,
    },
    /// A sample for IPFIX, of some flows.
    FlowSample {
        /// How many of 65,535 packets.
        probability: u16,
        /// Set of collectors.
        collector_set_id: u32,
        /// Observation domain.
        obs_domain_id: u32,
        /// Observation point.
        obs_point_id: u32,
        /// Port that the packet leaves by, if that is known.
        output_port: Option<PortNo>,
        /// Where the packet was seen.
        direction: SampleDirection,
    },
    /// A sample for IPFIX, of a bridge.
    Ipfix {
        /// Port that the packet leaves by, if that is known.
        output_port: Option<PortNo>,
    },
    /// Bytes that mean something to someone else.
    UserData(Vec<u8>),
}

/// Where a packet was seen that [`Cookie::FlowSample`] samples.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum SampleDirection {
    /// It is not told.
    #[default]
    Default,
    /// As it came in.
    Ingress,
    /// As it went out.
    Egress,
}

bitflags! {
    /// Why the slow path has to see every packet of a flow.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
    pub struct SlowPath: u32 {
        /// Connectivity fault management.
        const CFM = 0x01;
        /// Bidirectional forwarding detection.
        const BFD = 0x02;
        /// Link aggregation control.
        const LACP = 0x04;
        /// Spanning tree.
        const STP = 0x08;
        /// Link layer discovery.
        const LLDP = 0x10;
        /// The datapath cannot execute the actions.
        const ACTION = 0x20;
        /// The datapath cannot match what has to be matched.
        const MATCH = 0x40;
    }
}

impl SlowPath {
    /// The names in text, from bit 0 on.
    pub const NAMES: [&'static str; 7] = ["cfm", "bfd", "lacp", "stp", "lldp", "action", "match"];
}

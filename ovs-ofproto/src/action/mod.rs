//! Actions and instructions, as values: what OpenFlow 1.0 to 1.5 and the Nicira extensions have, in one list.
//!
//! Versions differ in how they say the same. Where upstream's language tells two ways apart (`strip_vlan` and
//! `pop_vlan`, `load` and `set_field`), so does [`Action`]; [`Action::as_set_field`] and [`Action::is_pop_vlan`] tell
//! what they have in common.

mod parts;

use std::net::Ipv4Addr;

#[cfg(feature = "serde")]
use crate::json::form::*;
use ovs_packet::field::FieldId;
use ovs_packet::{EthAddr, OfPort};

pub use parts::{
    Bundle, BundleAlgorithm, Controller, CtAction, EncapProperty, HashFields, Learn, LearnFlags, LearnSource,
    LearnSpec, LearnTarget, Multipath, MultipathAlgorithm, Nat, NatFlags, NatRange, Observation, Sample,
    SampleDirection, SetTunnelOption, Subfield, SubfieldError,
};

/// What to do with a packet (OpenFlow 1.5, section 7.2.6, and the Nicira extensions).
///
/// A list of no actions drops the packet.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Action {
    /// Send it out of a port, real or reserved.
    Output {
        /// The port.
        port: OfPort,
        /// For [`OfPort::CONTROLLER`], how many bytes of the packet to send; [`Action::WHOLE`] is all of them.
        max_len: u16,
    },
    /// Send it out of the port that a field names.
    #[cfg_attr(feature = "serde", serde(rename = "output_reg"))]
    OutputField {
        /// The field.
        src: Subfield,
        /// As of [`Action::Output`].
        max_len: u16,
        /// Say it with a field header of any length (`output_reg2`).
        wide: bool,
    },
    /// Send its first bytes out of a port.
    #[cfg_attr(feature = "serde", serde(rename = "output_trunc"))]
    OutputTruncated {
        /// The port.
        port: OfPort,
        /// How many bytes, 14 at least.
        max_len: u32,
    },
    /// Send it to controllers, with more than an output can say.
    Controller(Box<Controller>),
    /// Send it out of a port through one of its queues.
    Enqueue {
        /// The port.
        port: OfPort,
        /// The queue.
        queue: u32,
    },
    /// Execute a group.
    Group(u32),
    /// Choose one of several ports that is up.
    Bundle(Box<Bundle>),
    /// Overwrite the bits of `mask` in a field with those of `value`, both right-aligned.
    #[cfg_attr(feature = "serde", serde(with = "OneField"))]
    SetField {
        /// The field.
        field: FieldId,
        /// Zero outside the mask.
        value: u128,
        /// The bits to overwrite.
        mask: u128,
    },
    /// The same, in Nicira's encoding with a mask (`reg_load2`).
    #[cfg_attr(feature = "serde", serde(rename = "reg_load2", with = "OneField"))]
    SetFieldNicira {
        /// The field.
        field: FieldId,
        /// Zero outside the mask.
        value: u128,
        /// The bits to overwrite.
        mask: u128,
    },
    /// Overwrite a tunnel option.
    SetTunnelOption(Box<SetTunnelOption>),
    /// Overwrite at most 64 bits of a field (`load`).
    Load {
        /// Where.
        dst: Subfield,
        /// The bits.
        #[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))]
        value: u64,
    },
    /// Copy bits of a field to another.
    Move {
        /// From where.
        src: Subfield,
        /// To where, as many bits.
        dst: Subfield,
        /// Say it in the ONF's encoding where OpenFlow has none.
        onf: bool,
    },
    /// Push bits of a field onto the stack.
    Push(Subfield),
    /// Pop bits off the stack into a field.
    Pop(Subfield),
    /// Set the VLAN id.
    SetVlanVid {
        /// The id.
        vid: u16,
        /// Push a tag first if there is none, as OpenFlow 1.0 does (`mod_vlan_vid`).
        push: bool,
        /// Whether what the flow matches has a tag here for sure.
        tagged: bool,
    },
    /// Set the VLAN priority.
    SetVlanPcp {
        /// The priority.
        pcp: u8,
        /// As of [`Action::SetVlanVid`].
        push: bool,
        /// As of [`Action::SetVlanVid`].
        tagged: bool,
    },
    /// Take the VLAN tag off, in OpenFlow 1.0's words.
    StripVlan,
    /// Add a VLAN tag with this tag protocol, VLAN id 0 and priority of the tag below.
    PushVlan(#[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))] u16),
    /// Take the outermost VLAN tag off.
    PopVlan,
    /// Set the Ethernet source.
    #[cfg_attr(feature = "serde", serde(rename = "mod_dl_src"))]
    SetEthSrc(EthAddr),
    /// Set the Ethernet destination.
    #[cfg_attr(feature = "serde", serde(rename = "mod_dl_dst"))]
    SetEthDst(EthAddr),
    /// Set the IPv4 source.
    #[cfg_attr(feature = "serde", serde(rename = "mod_nw_src"))]
    SetIpv4Src(Ipv4Addr),
    /// Set the IPv4 destination.
    #[cfg_attr(feature = "serde", serde(rename = "mod_nw_dst"))]
    SetIpv4Dst(Ipv4Addr),
    /// Set the TOS byte without its ECN bits.
    #[cfg_attr(feature = "serde", serde(rename = "mod_nw_tos"))]
    SetIpTos(u8),
    /// Set the ECN bits.
    #[cfg_attr(feature = "serde", serde(rename = "mod_nw_ecn"))]
    SetIpEcn(u8),
    /// Set the TTL.
    #[cfg_attr(feature = "serde", serde(rename = "mod_nw_ttl"))]
    SetIpTtl(u8),
    /// Set the source port of TCP, UDP or SCTP.
    #[cfg_attr(feature = "serde", serde(rename = "mod_tp_src"))]
    SetL4Src {
        /// The port.
        port: u16,
        /// The IP protocol, as far as the match says; 0 if it does not.
        protocol: u8,
    },
    /// Set the destination port of TCP, UDP or SCTP.
    #[cfg_attr(feature = "serde", serde(rename = "mod_tp_dst"))]
    SetL4Dst {
        /// The port.
        port: u16,
        /// The IP protocol, as far as the match says; 0 if it does not.
        protocol: u8,
    },
    /// Take one off the TTL; a packet whose TTL is used up goes to the controllers and no further.
    DecTtl,
    /// The same, but to the controllers with these ids.
    #[cfg_attr(feature = "serde", serde(rename = "dec_ttl_cnt_ids"))]
    DecTtlTo(Vec<u16>),
    /// Set the MPLS label.
    SetMplsLabel(u32),
    /// Set the MPLS traffic class.
    SetMplsTc(u8),
    /// Set the MPLS TTL.
    SetMplsTtl(u8),
    /// Take one off the MPLS TTL.
    DecMplsTtl,
    /// Push an MPLS entry; the argument is the Ethertype, 0x8847 or 0x8848.
    PushMpls(#[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))] u16),
    /// Pop an MPLS entry; the argument is the Ethertype of what is below.
    PopMpls(#[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))] u16),
    /// Take one off the TTL of the Network Service Header.
    DecNshTtl,
    /// Remove a tunnel option.
    DeleteField(FieldId),
    /// Set the tunnel id.
    SetTunnel {
        /// The id.
        #[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))]
        id: u64,
        /// Say it in 64 bits though 32 would do.
        wide: bool,
    },
    /// Choose the queue of outputs that follow.
    SetQueue(u32),
    /// Go back to the queue before.
    PopQueue,
    /// Let the flow end soon after a TCP connection does.
    FinTimeout {
        /// Seconds without a packet; 0 leaves it.
        idle: u16,
        /// Seconds; 0 leaves it.
        hard: u16,
    },
    /// Look the packet up again, as if it had come in by `port` if given, in `table` or else the current one, execute
    /// what is found, and come back.
    Resubmit {
        /// Ingress port for the lookup only.
        port: Option<OfPort>,
        /// Table to look in.
        table: Option<u8>,
        /// Look up with the connection's original tuple.
        original: bool,
    },
    /// The same with a port only, in Nicira's older encoding.
    ResubmitPort(OfPort),
    /// Make a flow of the packet.
    Learn(Box<Learn>),
    /// The flow is a part of a conjunctive match.
    Conjunction {
        /// The match.
        id: u32,
        /// Which of its clauses, from 0.
        clause: u8,
        /// How many clauses, 2 to 64.
        clauses: u8,
    },
    /// Hash the packet into a field.
    Multipath(Box<Multipath>),
    /// Nothing: bytes for the controller's own use.
    Note(#[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))] Vec<u8>),
    /// End the processing.
    Exit,
    /// Sample the packet for a collector.
    Sample(Box<Sample>),
    /// Connection tracking.
    Ct(Box<CtAction>),
    /// Forget what connection tracking said.
    CtClear,
    /// Translate addresses; within [`CtAction::exec`] only, and first there.
    Nat(Box<Nat>),
    /// Execute actions on a copy: what they change does not outlive them.
    Clone(Vec<Action>),
    /// Write into a bit whether the packet is longer than this.
    #[cfg_attr(feature = "serde", serde(rename = "check_pkt_larger"))]
    CheckPacketLarger {
        /// The length in bytes.
        length: u16,
        /// The bit.
        dst: Subfield,
    },
    /// Put a header in front.
    Encap {
        /// The packet's type with it: namespace and type in 16 bits each.
        #[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))]
        packet_type: u32,
        /// Length of the header; 0 leaves it to the switch.
        header_len: u16,
        /// What the header says.
        properties: Vec<EncapProperty>,
    },
    /// Take the outermost header off; the argument is the type of what is below, 0xfffe for what the header says.
    Decap(#[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))] u32),
    /// Apply a meter.
    Meter(u32),
    /// Overwrite bits of the pipeline's metadata: value and mask. An action in OpenFlow 1.0 only.
    #[cfg_attr(feature = "serde", serde(with = "Pair"))]
    WriteMetadata(u64, u64),
    /// For upstream's tests: recirculate the packet.
    DebugRecirc,
    /// For upstream's tests: take the packet off the fast path.
    DebugSlow,
}

// What a list of actions takes up for each.
const _: () = assert!(size_of::<Action>() <= 48);

impl Action {
    /// Of [`Action::Output`]: the whole packet (OFPCML_NO_BUFFER).
    pub const WHOLE: u16 = 0xffff;

    /// Of [`Action::Decap`]: what the header says that is below it.
    pub const NEXT_PROTOCOL: u32 = 0xfffe;

    /// Output of whole packets to `port`.
    pub const fn output(port: OfPort) -> Action {
        Action::Output { port, max_len: Action::WHOLE }
    }

    /// Lookup again in `table`.
    pub const fn resubmit(table: u8) -> Action {
        Action::Resubmit { port: None, table: Some(table), original: false }
    }

    /// The field that an action sets by name.
    pub(crate) fn target(&self) -> Option<FieldId> {
        match self {
            Action::Move { dst, .. } | Action::Load { dst, .. } => Some(dst.field),
            Action::SetTunnelOption(set) => FieldId::tun_metadata(usize::from(set.index)),
            Action::SetField { field, .. } | Action::SetFieldNicira { field, .. } => Some(*field),
            _ => None,
        }
    }

    /// Whether it sets the mark or the label of a connection, which `ct` alone can.
    pub(crate) fn sets_connection(&self) -> bool {
        matches!(self.target(), Some(FieldId::CtMark | FieldId::CtLabel))
    }

    /// Why the action may not stand in a `ct`, or outside of one, in upstream's words.
    pub(crate) fn misplaced(&self, in_ct: bool) -> Option<String> {
        match (in_ct, self.target()) {
            (false, _) if self.sets_connection() => Some("cannot set CT fields outside of ct action".into()),
            (false, _) if matches!(self, Action::Nat(_)) => {
                Some("Cannot have NAT action outside of \"ct\" action".into())
            }
            (true, _) if self.sets_connection() || matches!(self, Action::Nat(_)) => None,
            (true, None) => Some(format!("ct action doesn't support nested action {}", self.name())),
            (true, Some(field)) => {
                Some(format!("ct action doesn't support nested modification of {}", field.info().name))
            }
            (false, _) => None,
        }
    }

    /// The set of one field that the action is, if it is one: field, value and mask.
    pub fn as_set_field(&self) -> Option<(FieldId, u128, u128)> {
        use FieldId::{EthDst, EthSrc, MplsLabel, MplsTc, MplsTtl, NwDst, NwEcn, NwSrc, NwTos, NwTtl, TunId};
        let mac = |a: &EthAddr| a.0.iter().fold(0u128, |v, b| v << 8 | u128::from(*b));
        let (field, value) = match self {
            Action::SetField { field, value, mask } | Action::SetFieldNicira { field, value, mask } => {
                return Some((*field, *value, *mask));
            }
            Action::Load { dst, value } => {
                return Some((dst.field, u128::from(*value) << dst.offset, dst.mask()));
            }
            Action::SetEthSrc(a) => (EthSrc, mac(a)),
            Action::SetEthDst(a) => (EthDst, mac(a)),
            Action::SetIpv4Src(a) => (NwSrc, a.to_bits().into()),
            Action::SetIpv4Dst(a) => (NwDst, a.to_bits().into()),
            Action::SetIpTos(v) => (NwTos, (*v).into()),
            Action::SetIpEcn(v) => (NwEcn, (*v).into()),
            Action::SetIpTtl(v) => (NwTtl, (*v).into()),
            Action::SetMplsLabel(v) => (MplsLabel, (*v).into()),
            Action::SetMplsTc(v) => (MplsTc, (*v).into()),
            Action::SetMplsTtl(v) => (MplsTtl, (*v).into()),
            Action::SetTunnel { id, .. } => (TunId, (*id).into()),
            _ => return None,
        };
        Some((field, value, field.info().max_value()))
    }

    /// Whether the action takes a VLAN tag off.
    pub fn is_pop_vlan(&self) -> bool {
        matches!(self, Action::PopVlan | Action::StripVlan)
    }

    /// The name that upstream's language has for actions of this kind.
    pub fn name(&self) -> &'static str {
        match self {
            Action::Output { .. } => "output",
            Action::OutputField { .. } => "output_reg",
            Action::OutputTruncated { .. } => "output_trunc",
            Action::Controller(_) => "controller",
            Action::Enqueue { .. } => "enqueue",
            Action::Group(_) => "group",
            Action::Bundle(_) => "bundle",
            Action::SetField { .. } | Action::SetFieldNicira { .. } | Action::SetTunnelOption(_) => "set_field",
            Action::Load { .. } => "set_field",
            Action::Move { .. } => "move",
            Action::Push(_) => "push",
            Action::Pop(_) => "pop",
            Action::SetVlanVid { .. } => "set_vlan_vid",
            Action::SetVlanPcp { .. } => "set_vlan_pcp",
            Action::StripVlan | Action::PopVlan => "strip_vlan",
            Action::PushVlan(_) => "push_vlan",
            Action::SetEthSrc(_) => "mod_dl_src",
            Action::SetEthDst(_) => "mod_dl_dst",
            Action::SetIpv4Src(_) => "mod_nw_src",
            Action::SetIpv4Dst(_) => "mod_nw_dst",
            Action::SetIpTos(_) => "mod_nw_tos",
            Action::SetIpEcn(_) => "mod_nw_ecn",
            Action::SetIpTtl(_) => "mod_nw_ttl",
            Action::SetL4Src { .. } => "mod_tp_src",
            Action::SetL4Dst { .. } => "mod_tp_dst",
            Action::DecTtl | Action::DecTtlTo(_) => "dec_ttl",
            Action::SetMplsLabel(_) => "set_mpls_label",
            Action::SetMplsTc(_) => "set_mpls_tc",
            Action::SetMplsTtl(_) => "set_mpls_ttl",
            Action::DecMplsTtl => "dec_mpls_ttl",
            Action::PushMpls(_) => "push_mpls",
            Action::PopMpls(_) => "pop_mpls",
            Action::DecNshTtl => "dec_nsh_ttl",
            Action::DeleteField(_) => "delete_field",
            Action::SetTunnel { .. } => "set_tunnel",
            Action::SetQueue(_) => "set_queue",
            Action::PopQueue => "pop_queue",
            Action::FinTimeout { .. } => "fin_timeout",
            Action::Resubmit { .. } | Action::ResubmitPort(_) => "resubmit",
            Action::Learn(_) => "learn",
            Action::Conjunction { .. } => "conjunction",
            Action::Multipath(_) => "multipath",
            Action::Note(_) => "note",
            Action::Exit => "exit",
            Action::Sample(_) => "sample",
            Action::Ct(_) => "ct",
            Action::CtClear => "ct_clear",
            Action::Nat(_) => "nat",
            Action::Clone(_) => "clone",
            Action::CheckPacketLarger { .. } => "check_pkt_larger",
            Action::Encap { .. } => "encap",
            Action::Decap(_) => "decap",
            Action::Meter(_) => "meter",
            Action::WriteMetadata(..) => "write_metadata",
            Action::DebugRecirc => "debug_recirc",
            Action::DebugSlow => "debug_slow",
        }
    }

    /// Whether an action set may have it (OpenFlow 1.5, section 5.6).
    pub fn is_for_action_sets(&self) -> bool {
        use Action::{
            Ct, CtClear, DecMplsTtl, DecNshTtl, DecTtl, DecTtlTo, Decap, Encap, Group, Load, Move, Output, PopMpls,
            PopVlan, PushMpls, PushVlan, Resubmit, ResubmitPort, SetEthDst, SetEthSrc, SetField, SetFieldNicira,
            SetIpEcn, SetIpTos, SetIpTtl, SetIpv4Dst, SetIpv4Src, SetL4Dst, SetL4Src, SetMplsLabel, SetMplsTc,
            SetMplsTtl, SetQueue, SetTunnel, SetTunnelOption, SetVlanPcp, SetVlanVid, StripVlan,
        };
        matches!(
            self,
            Ct(_)
                | CtClear
                | DecMplsTtl
                | DecNshTtl
                | DecTtl
                | DecTtlTo(_)
                | Decap(_)
                | Encap { .. }
                | Group(_)
                | Load { .. }
                | Move { .. }
                | Output { .. }
                | PopMpls(_)
                | PopVlan
                | PushMpls(_)
                | PushVlan(_)
                | Resubmit { .. }
                | ResubmitPort(_)
                | SetEthDst(_)
                | SetEthSrc(_)
                | SetField { .. }
                | SetFieldNicira { .. }
                | SetIpEcn(_)
                | SetIpTos(_)
                | SetIpTtl(_)
                | SetIpv4Dst(_)
                | SetIpv4Src(_)
                | SetL4Dst { .. }
                | SetL4Src { .. }
                | SetMplsLabel(_)
                | SetMplsTc(_)
                | SetMplsTtl(_)
                | SetQueue(_)
                | SetTunnel { .. }
                | SetTunnelOption(_)
                | SetVlanPcp { .. }
                | SetVlanVid { .. }
                | StripVlan
        )
    }
}

/// What a flow does with the packets that it matches (OpenFlow 1.5, section 7.2.4): at most one instruction of each
/// kind, in this order.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Instructions {
    /// The meter that comes before everything. From OpenFlow 1.5 on it is an action.
    pub meter: Option<u32>,
    /// Executed at once.
    #[cfg_attr(feature = "serde", serde(rename = "apply_actions"))]
    pub apply: Vec<Action>,
    /// The action set is emptied.
    #[cfg_attr(feature = "serde", serde(rename = "clear_actions"))]
    pub clear: bool,
    /// Merged into the action set, which is executed where the pipeline ends.
    #[cfg_attr(feature = "serde", serde(rename = "write_actions"))]
    pub write: Option<Vec<Action>>,
    /// Bits to overwrite in the pipeline's metadata: value and mask.
    #[cfg_attr(feature = "serde", serde(rename = "write_metadata", with = "As::<Option<Record<ValueAndMask, Hex>>>"))]
    pub metadata: Option<(u64, u64)>,
    /// The table to go on with.
    #[cfg_attr(feature = "serde", serde(rename = "goto_table"))]
    pub goto: Option<u8>,
}

impl Instructions {
    /// Nothing: packets are dropped.
    pub const NONE: Instructions =
        Instructions { meter: None, apply: Vec::new(), clear: false, write: None, metadata: None, goto: None };

    /// Actions executed at once and nothing else: all that OpenFlow 1.0 knows.
    pub fn apply(actions: Vec<Action>) -> Instructions {
        Instructions { apply: actions, ..Instructions::default() }
    }

    /// Whether packets are dropped here.
    pub fn is_drop(&self) -> bool {
        *self == Instructions::default()
    }

    /// The actions of the action set.
    pub fn written(&self) -> &[Action] {
        self.write.as_deref().unwrap_or_default()
    }
}

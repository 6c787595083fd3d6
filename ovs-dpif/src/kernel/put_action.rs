//! Actions as the kernel's attributes (`OVS_ACTION_ATTR_*`).
//!
//! Whether the kernel has all of them is asked first ([`unsupported`]), so that writing is one pass which can only fail
//! for want of room.

use ovs_netlink::attr::Masked;
use ovs_netlink::ovs::{
    Action, AddMpls, CheckPktLenAttr, CtAttr, DecTtlAttr, Hash, Key, KeyEthernet, MaskedKey, MaskedNshKey, MplsEntry,
    NatAttr, NshKey, PsampleAttr, PushMpls, PushVlan, SampleAttr, UserspaceAttr,
};
use ovs_netlink::{EncodeError, Writer};
use ovs_packet::FlowKey;
use ovs_packet::field::KeyAttr;

use super::cookie;
use super::key::{Ethernet, Ipv4, Ipv6, NshFront, Ports, nsh_context, reversed};
use super::tunnel;
use crate::action::{DpAction, HashAlgorithm, Userspace};
use crate::assignment::Assignment;
use crate::drops::DropReason;
use crate::text::timeout_name;
use crate::{CtRequest, Nat, NatRange};

/// How deep the kernel lets actions nest, about: its own bound differs by version, and it says no where it must.
pub const MAX_NESTING: usize = 16;

/// What actions are written for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ActionContext {
    /// The socket that `userspace` actions without one of their own name.
    pub upcall_pid: u32,
    /// Ethertype of the packets: timeout policies are of one network protocol.
    pub eth_type: u16,
    /// Transport protocol of the packets: timeout policies are of one.
    pub nw_proto: u8,
}

impl ActionContext {
    /// For a megaflow of this key.
    pub fn of(key: &FlowKey, upcall_pid: u32) -> ActionContext {
        ActionContext { upcall_pid, eth_type: key.eth_type.get(), nw_proto: key.nw_proto }
    }
}

/// Why the kernel cannot be given actions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Unsupported {
    /// It has no such action, or not so.
    Action(&'static str),
    /// They nest too deeply.
    TooDeep,
}

/// What of `actions` the kernel cannot do, as far as it can be told without asking it.
pub fn unsupported(actions: &[DpAction]) -> Option<Unsupported> {
    refused(actions, 0)
}

fn refused(actions: &[DpAction], depth: usize) -> Option<Unsupported> {
    if depth > MAX_NESTING {
        return Some(Unsupported::TooDeep);
    }
    actions.iter().find_map(|action| {
        let what = match action {
            DpAction::LbOutput(_) => Some("lb_output"),
            DpAction::TunnelPush(_) => Some("tnl_push"),
            DpAction::TunnelPop(_) => Some("tnl_pop"),
            DpAction::Set(attr, to) => (!settable(*attr) || set_gtpu(*attr, to)).then_some("set of this field"),
            DpAction::PushNsh { metadata, .. } => (metadata.len() > 244).then_some("push_nsh with so much metadata"),
            _ => None,
        };
        what.map(Unsupported::Action).or_else(|| action.nested().find_map(|list| refused(list, depth + 1)))
    })
}

/// ARP, ICMP and neighbour discovery the kernel can match, but not write.
fn settable(attr: KeyAttr) -> bool {
    use KeyAttr as A;
    matches!(attr, A::Priority | A::SkbMark | A::Ethernet | A::Ipv4 | A::Ipv6 | A::Tcp | A::Udp | A::Sctp)
        || matches!(attr, A::Mpls | A::Nsh | A::Tunnel)
}

fn set_gtpu(attr: KeyAttr, to: &Assignment) -> bool {
    attr == KeyAttr::Tunnel && {
        let mask = to.mask().bits;
        mask.tun_gtpu_flags != 0 || mask.tun_gtpu_msgtype != 0
    }
}

/// Writes actions that [`unsupported`] has nothing against; what it has something against is left out.
///
/// # Errors
/// [`EncodeError`] when they do not fit an attribute.
pub fn put_actions(w: &mut Writer<'_>, actions: &[DpAction], to: &ActionContext) -> Result<(), EncodeError> {
    actions.iter().try_for_each(|action| put(w, action, to))
}

fn put(w: &mut Writer<'_>, action: &DpAction, context: &ActionContext) -> Result<(), EncodeError> {
    let list = |kind: u16, list: &[DpAction], w: &mut Writer<'_>| {
        w.nest(kind, |inner| put_actions(inner, list, context)).map(drop)
    };
    match action {
        DpAction::Output(port) => w.put(Action::Output(port.0)).map(drop),
        DpAction::Userspace(copy) => userspace(w, copy, context),
        // The kernel refuses values that have bits outside their mask.
        DpAction::Set(attr, to) => set(w, *attr, &to.written(), &to.mask().bits),
        DpAction::PushVlan { tpid, tci } => w.put(Action::PushVlan(PushVlan { tpid: *tpid, tci: *tci })).map(drop),
        DpAction::PopVlan => w.put(Action::PopVlan).map(drop),
        DpAction::PushMpls { eth_type, lse } => {
            w.put(Action::PushMpls(PushMpls { lse: *lse, ethertype: *eth_type })).map(drop)
        }
        // Without a flag the label goes in front of all there is: what follows begins at layer 2.
        DpAction::AddMpls { eth_type, lse } => {
            w.put(Action::AddMpls(AddMpls { lse: *lse, ethertype: *eth_type, tun_flags: 0 })).map(drop)
        }
        DpAction::PopMpls(eth_type) => w.put(Action::PopMpls(*eth_type)).map(drop),
        DpAction::PushEth { src, dst } => w.put(Action::PushEth(KeyEthernet { src: src.0, dst: dst.0 })).map(drop),
        DpAction::PopEth => w.put(Action::PopEth).map(drop),
        DpAction::PushNsh { header, metadata } => {
            let key = FlowKey::from(header);
            w.nest(Action::PUSH_NSH, |nsh| {
                nsh.put(NshKey::Base(NshFront::of(&key)))?;
                match key.nsh_mdtype {
                    1 => nsh.put(NshKey::Md1(nsh_context(&key))).map(drop),
                    _ => nsh.put(NshKey::Md2(metadata)).map(drop),
                }
            })
            .map(drop)
        }
        DpAction::PopNsh => w.put(Action::PopNsh).map(drop),
        DpAction::Ct(request) => w.nest(Action::CT, |ct| track(ct, request, context)).map(drop),
        DpAction::CtClear => w.put(Action::CtClear).map(drop),
        DpAction::Recirc(id) => w.put(Action::Recirc(*id)).map(drop),
        DpAction::Hash { algorithm, basis } => {
            let alg = match algorithm {
                HashAlgorithm::L4 => 0,
                HashAlgorithm::SymmetricL4 => 1,
            };
            w.put(Action::Hash(Hash { alg, basis: *basis })).map(drop)
        }
        DpAction::Sample { probability, actions } => w
            .nest(Action::SAMPLE, |sample| {
                sample.put(SampleAttr::Probability(*probability))?;
                list(SampleAttr::ACTIONS, actions, sample)
            })
            .map(drop),
        DpAction::Clone(actions) => list(Action::CLONE, actions, w),
        DpAction::CheckPktLen { len, greater, less_equal } => w
            .nest(Action::CHECK_PKT_LEN, |check| {
                check.put(CheckPktLenAttr::PktLen(*len))?;
                list(CheckPktLenAttr::ACTIONS_IF_GREATER, greater, check)?;
                list(CheckPktLenAttr::ACTIONS_IF_LESS_EQUAL, less_equal, check)
            })
            .map(drop),
        DpAction::Trunc(len) => w.put(Action::Trunc(*len)).map(drop),
        DpAction::Meter(id) => w.put(Action::Meter(*id)).map(drop),
        DpAction::DecTtl(actions) => w.nest(Action::DEC_TTL, |dec| list(DecTtlAttr::ACTION, actions, dec)).map(drop),
        DpAction::Psample { group, cookie } => w
            .nest(Action::PSAMPLE, |sample| {
                sample.put(PsampleAttr::Group(*group))?;
                if cookie.is_empty() { Ok(()) } else { sample.put(PsampleAttr::Cookie(cookie)).map(drop) }
            })
            .map(drop),
        DpAction::Drop(reason) => w.put(Action::Drop(drop_number(*reason))).map(drop),
        // Refused before.
        DpAction::LbOutput(_) | DpAction::TunnelPush(_) | DpAction::TunnelPop(_) => Ok(()),
    }
}

/// The number of a reason in the kernel's `drop` action: 0 is for what a flow asks for.
fn drop_number(reason: DropReason) -> u32 {
    if reason == DropReason::FlowDrop { 0 } else { reason as u32 + 1 }
}

/// The reason of that number; what others mean by theirs nobody knows.
pub(super) fn drop_reason(number: u32) -> DropReason {
    let place = number.checked_sub(1).and_then(|n| usize::try_from(n).ok());
    place.and_then(|n| DropReason::ALL.get(n)).copied().unwrap_or(DropReason::FlowDrop)
}

fn userspace(w: &mut Writer<'_>, copy: &Userspace, context: &ActionContext) -> Result<(), EncodeError> {
    w.nest(Action::USERSPACE, |user| {
        user.put(UserspaceAttr::Pid(if copy.pid == 0 { context.upcall_pid } else { copy.pid }))?;
        cookie::with_bytes(&copy.cookie, |bytes| match bytes {
            [] => Ok(()),
            bytes => user.put(UserspaceAttr::Userdata(bytes)).map(drop),
        })?;
        if let Some(port) = copy.tunnel_out_port {
            user.put(UserspaceAttr::EgressTunPort(port.0))?;
        }
        if copy.with_actions { user.put(UserspaceAttr::Actions).map(drop) } else { Ok(()) }
    })
    .map(drop)
}

fn set(w: &mut Writer<'_>, attr: KeyAttr, value: &FlowKey, mask: &FlowKey) -> Result<(), EncodeError> {
    use KeyAttr as A;
    if attr == A::Tunnel {
        let nested = |set: &mut Writer<'_>| set.nest(Key::TUNNEL, |t| tunnel::put(t, value, value, false)).map(drop);
        return w.nest(Action::SET, nested).map(drop);
    }
    macro_rules! both {
        ($kind:ident, |$key:ident| $of:expr) => {{
            let of = |$key: &FlowKey| $of;
            MaskedKey::$kind(Masked { value: of(value), mask: of(mask) })
        }};
    }
    let masked = match attr {
        A::Priority => both!(Priority, |k| k.skb_priority.get()),
        A::SkbMark => both!(SkbMark, |k| k.pkt_mark.get()),
        A::Ethernet => both!(Ethernet, |k| Ethernet::of(k)),
        A::Ipv4 => both!(Ipv4, |k| ovs_netlink::ovs::KeyIpv4 { frag: 0, ..Ipv4::of(k) }),
        A::Ipv6 => both!(Ipv6, |k| ovs_netlink::ovs::KeyIpv6 { frag: 0, ..Ipv6::of(k) }),
        A::Tcp => both!(Tcp, |k| Ports::of(k)),
        A::Udp => both!(Udp, |k| Ports::of(k)),
        A::Sctp => both!(Sctp, |k| Ports::of(k)),
        A::Mpls => both!(Mpls, |k| MplsEntry { lse: k.mpls_lse.first().map_or(0, |lse| lse.get()) }),
        A::Nsh => {
            let nested = |set: &mut Writer<'_>| {
                set.nest(MaskedKey::NSH, |nsh| {
                    nsh.put(MaskedNshKey::Base(Masked { value: NshFront::of(value), mask: NshFront::of(mask) }))?;
                    let context = Masked { value: nsh_context(value), mask: nsh_context(mask) };
                    if context.mask == Default::default() {
                        return Ok(());
                    }
                    nsh.put(MaskedNshKey::Md1(context)).map(drop)
                })
                .map(drop)
            };
            return w.nest(Action::SET_MASKED, nested).map(drop);
        }
        // Refused before.
        _ => return Ok(()),
    };
    w.nest(Action::SET_MASKED, |set| set.put(masked).map(drop)).map(drop)
}

fn track(w: &mut Writer<'_>, ct: &CtRequest, context: &ActionContext) -> Result<(), EncodeError> {
    if ct.force {
        w.put(CtAttr::ForceCommit)?;
    } else if ct.commit {
        w.put(CtAttr::Commit)?;
    }
    if ct.zone != 0 {
        w.put(CtAttr::Zone(ct.zone))?;
    }
    if let Some((value, mask)) = ct.mark {
        w.put(CtAttr::Mark(Masked { value, mask }))?;
    }
    if let Some((value, mask)) = ct.label {
        w.put(CtAttr::Labels(Masked { value: reversed(value.to_be_bytes()), mask: reversed(mask.to_be_bytes()) }))?;
    }
    if let Some(helper) = ct.helper {
        w.put(CtAttr::Helper(helper.name().as_bytes()))?;
    }
    if let Some(policy) = ct.timeout_policy {
        w.text(CtAttr::TIMEOUT, timeout_name(policy, context.eth_type, context.nw_proto).as_bytes())?;
    }
    match ct.nat {
        None => Ok(()),
        Some(nat) => w.nest(CtAttr::NAT, |inner| translate(inner, nat)).map(drop),
    }
}

fn translate(w: &mut Writer<'_>, nat: Nat) -> Result<(), EncodeError> {
    match nat {
        Nat::Source(_) => drop(w.put(NatAttr::Src)?),
        Nat::Destination(_) => drop(w.put(NatAttr::Dst)?),
        Nat::Existing => return Ok(()),
    }
    let Some(NatRange { addresses, ports, persistent, hash, random, .. }) = nat.range().copied() else { return Ok(()) };
    let mut address = |kind: u16, ip: std::net::IpAddr| match ip {
        std::net::IpAddr::V4(ip) => w.bytes(kind, &ip.octets()).map(drop),
        std::net::IpAddr::V6(ip) => w.bytes(kind, &ip.octets()).map(drop),
    };
    if let Some((first, last)) = addresses {
        address(NatAttr::IP_MIN, first)?;
        if last != first {
            address(NatAttr::IP_MAX, last)?;
        }
    }
    if let Some((first, last)) = ports {
        w.put(NatAttr::ProtoMin(first))?;
        if last != first {
            w.put(NatAttr::ProtoMax(last))?;
        }
    }
    let flags = [(persistent, NatAttr::Persistent), (hash, NatAttr::ProtoHash), (random, NatAttr::ProtoRandom)];
    flags.into_iter().filter(|(set, _)| *set).try_for_each(|(_, flag)| w.put(flag).map(drop))
}

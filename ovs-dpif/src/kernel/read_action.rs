//! Actions from the kernel's attributes.

use ovs_netlink::attr::{Masked, Nest, Typed};
use ovs_netlink::ovs::{
    Action, Actions, CheckPktLenAttr, CtAttr, DecTtlAttr, Key, KeyIpv4, KeyIpv6, MaskedKey, MaskedNshKey, MplsEntry,
    NatAttr, NshKey, PsampleAttr, SampleAttr, UserspaceAttr,
};
use ovs_packet::field::KeyAttr;
use ovs_packet::{EthAddr, FlowKey, FlowMask};

use super::key::{
    Arp, ConvertError, Ethernet, Icmp, Ipv4, Ipv6, Nd, NshFront, Ports, read_nsh_context, reversed, unknown,
};
use super::put_action::drop_reason;
use super::{cookie, tunnel};
use crate::action::{Cookie, DpAction, HashAlgorithm, PortNo, Userspace};
use crate::assignment::Assignment;
use crate::text::timeout_policy;
use crate::{CtRequest, Helper, Nat, NatRange};

/// Reads actions.
///
/// Which events of a connection the kernel tells (`OVS_CT_ATTR_EVENTMASK`) changes nothing for packets and is skipped.
///
/// # Errors
/// [`ConvertError`]: an attribute that is wrong, that nobody knows, or that [`DpAction`] has no room for.
pub fn read_actions(actions: Actions<'_>) -> Result<Vec<DpAction>, ConvertError> {
    actions.into_iter().map(|action| read(action?)).collect()
}

fn read(action: Action<'_>) -> Result<DpAction, ConvertError> {
    Ok(match action {
        Action::Output(port) => DpAction::Output(PortNo(port)),
        Action::Userspace(nest) => DpAction::Userspace(userspace(nest)?),
        Action::Set(nest) => set(nest)?,
        Action::SetMasked(nest) => set_masked(nest)?,
        Action::PushVlan(tag) => DpAction::PushVlan { tpid: tag.tpid, tci: tag.tci },
        Action::PopVlan => DpAction::PopVlan,
        Action::Sample(nest) => {
            let (mut probability, mut actions) = (0, Vec::new());
            for attribute in nest {
                match attribute? {
                    SampleAttr::Probability(value) => probability = value,
                    SampleAttr::Actions(inner) => actions = read_actions(inner)?,
                    odd => return Err(unknown("sample", odd.kind())),
                }
            }
            DpAction::Sample { probability, actions }
        }
        Action::Recirc(id) => DpAction::Recirc(id),
        Action::Hash(hash) => {
            let algorithm = match hash.alg {
                0 => HashAlgorithm::L4,
                1 => HashAlgorithm::SymmetricL4,
                _ => return Err(ConvertError::Meaningless("a hash of this kind")),
            };
            DpAction::Hash { algorithm, basis: hash.basis }
        }
        Action::PushMpls(push) => DpAction::PushMpls { eth_type: push.ethertype, lse: push.lse },
        Action::PopMpls(eth_type) => DpAction::PopMpls(eth_type),
        Action::Ct(nest) => DpAction::Ct(track(nest)?),
        Action::Trunc(len) => DpAction::Trunc(len),
        Action::PushEth(eth) => DpAction::PushEth { src: EthAddr(eth.src), dst: EthAddr(eth.dst) },
        Action::PopEth => DpAction::PopEth,
        Action::CtClear => DpAction::CtClear,
        Action::PushNsh(nest) => {
            let (mut key, mut metadata) = (FlowKey::ZERO, Vec::new());
            for attribute in nest {
                match attribute? {
                    NshKey::Base(base) => NshFront::read(&mut key, base),
                    NshKey::Md1(md1) => read_nsh_context(&mut key, md1),
                    NshKey::Md2(bytes) => metadata = bytes.to_vec(),
                    odd => return Err(unknown("NSH", odd.kind())),
                }
            }
            DpAction::PushNsh { header: (&key).into(), metadata }
        }
        Action::PopNsh => DpAction::PopNsh,
        Action::Meter(id) => DpAction::Meter(id),
        Action::Clone(inner) => DpAction::Clone(read_actions(inner)?),
        Action::CheckPktLen(nest) => {
            let (mut len, mut greater, mut less_equal) = (0, Vec::new(), Vec::new());
            for attribute in nest {
                match attribute? {
                    CheckPktLenAttr::PktLen(value) => len = value,
                    CheckPktLenAttr::ActionsIfGreater(inner) => greater = read_actions(inner)?,
                    CheckPktLenAttr::ActionsIfLessEqual(inner) => less_equal = read_actions(inner)?,
                    odd => return Err(unknown("check_pkt_len", odd.kind())),
                }
            }
            DpAction::CheckPktLen { len, greater, less_equal }
        }
        Action::AddMpls(add) if add.tun_flags == 0 => DpAction::AddMpls { eth_type: add.ethertype, lse: add.lse },
        // In front of the network header: what pushing a label does.
        Action::AddMpls(add) => DpAction::PushMpls { eth_type: add.ethertype, lse: add.lse },
        Action::DecTtl(nest) => {
            let mut actions = Vec::new();
            for attribute in nest {
                match attribute? {
                    DecTtlAttr::Action(inner) => actions = read_actions(inner)?,
                    odd => return Err(unknown("dec_ttl", odd.kind())),
                }
            }
            DpAction::DecTtl(actions)
        }
        Action::Drop(number) => DpAction::Drop(drop_reason(number)),
        Action::Psample(nest) => {
            let (mut group, mut note) = (0, arrayvec::ArrayVec::new());
            for attribute in nest {
                match attribute? {
                    PsampleAttr::Group(value) => group = value,
                    PsampleAttr::Cookie(bytes) => {
                        note = bytes.try_into().map_err(|_| ConvertError::Meaningless("a cookie of that length"))?;
                    }
                    odd => return Err(unknown("psample", odd.kind())),
                }
            }
            DpAction::Psample { group, cookie: note }
        }
        odd => return Err(unknown("action", odd.kind())),
    })
}

fn userspace(nest: Nest<'_, UserspaceAttr<'_>>) -> Result<Userspace, ConvertError> {
    let mut copy = Userspace::new(Cookie::UserData(Vec::new()));
    for attribute in nest {
        match attribute? {
            UserspaceAttr::Pid(pid) => copy.pid = pid,
            UserspaceAttr::Userdata(bytes) => copy.cookie = cookie::read(bytes),
            UserspaceAttr::EgressTunPort(port) => copy.tunnel_out_port = Some(PortNo(port)),
            UserspaceAttr::Actions => copy.with_actions = true,
            odd => return Err(unknown("userspace", odd.kind())),
        }
    }
    Ok(copy)
}

/// A `set` of one attribute.
fn assigned(attr: KeyAttr, value: FlowKey, mask: FlowKey) -> DpAction {
    DpAction::Set(attr, Assignment::new(&value, &FlowMask { bits: mask }))
}

/// All of an attribute is written. The kernel's own fields of a header that cannot be written count as not written.
fn set(nest: Nest<'_, Key<'_>>) -> Result<DpAction, ConvertError> {
    let key = nest.into_iter().next().ok_or(ConvertError::Meaningless("a set of nothing"))??;
    macro_rules! whole {
        ($kind:ident, $value:expr, $ones:expr) => {{
            let (value, ones) = ($value, $ones);
            write(MaskedKey::$kind(Masked { value, mask: ones }))
        }};
    }
    let ones4 = [0xff; 4];
    let ones16 = [0xff; 16];
    let ports = ovs_netlink::ovs::KeyPorts { src: u16::MAX, dst: u16::MAX };
    let icmp = ovs_netlink::ovs::KeyIcmp { ty: 0xff, code: 0xff };
    match key {
        Key::Tunnel(inner) => {
            let mut value = FlowKey::ZERO;
            if !tunnel::read(&mut value, inner)? {
                return Err(ConvertError::Meaningless("a tunnel of this kind"));
            }
            Ok(DpAction::set_tunnel(&value))
        }
        Key::Priority(value) => whole!(Priority, value, u32::MAX),
        Key::SkbMark(value) => whole!(SkbMark, value, u32::MAX),
        Key::Ethernet(value) => {
            whole!(Ethernet, value, ovs_netlink::ovs::KeyEthernet { src: [0xff; 6], dst: [0xff; 6] })
        }
        Key::Ipv4(value) => {
            let mask = KeyIpv4 { src: ones4, dst: ones4, tos: 0xff, ttl: 0xff, ..KeyIpv4::default() };
            whole!(Ipv4, value, mask)
        }
        Key::Ipv6(value) => {
            let (label, tclass, hlimit) = (0xf_ffff, 0xff, 0xff);
            let mask = KeyIpv6 { src: ones16, dst: ones16, label, tclass, hlimit, ..KeyIpv6::default() };
            whole!(Ipv6, value, mask)
        }
        Key::Tcp(value) => whole!(Tcp, value, ports),
        Key::Udp(value) => whole!(Udp, value, ports),
        Key::Sctp(value) => whole!(Sctp, value, ports),
        Key::Icmp(value) => whole!(Icmp, value, icmp),
        Key::Icmpv6(value) => whole!(Icmpv6, value, icmp),
        Key::Arp(value) => {
            let (sha, tha) = ([0xff; 6], [0xff; 6]);
            whole!(Arp, value, ovs_netlink::ovs::KeyArp { sip: ones4, tip: ones4, op: 0xff, sha, tha })
        }
        Key::Nd(value) => {
            let (sll, tll) = ([0xff; 6], [0xff; 6]);
            whole!(Nd, value, ovs_netlink::ovs::KeyNd { target: ones16, sll, tll })
        }
        Key::Mpls(entries) => {
            let value = entries.iter().next().ok_or(ConvertError::Meaningless("a set of no label"))?;
            whole!(Mpls, value, MplsEntry { lse: u32::MAX })
        }
        odd => Err(unknown("set", odd.kind())),
    }
}

fn set_masked(nest: Nest<'_, MaskedKey<'_>>) -> Result<DpAction, ConvertError> {
    write(nest.into_iter().next().ok_or(ConvertError::Meaningless("a set of nothing"))??)
}

fn write(key: MaskedKey<'_>) -> Result<DpAction, ConvertError> {
    let (mut value, mut mask) = (FlowKey::ZERO, FlowKey::ZERO);
    macro_rules! both {
        ($structure:ident, $masked:expr) => {{
            $structure::read(&mut value, $masked.value);
            $structure::read(&mut mask, $masked.mask);
        }};
    }
    let attr = match key {
        MaskedKey::Priority(m) => {
            value.skb_priority.set(m.value);
            mask.skb_priority.set(m.mask);
            KeyAttr::Priority
        }
        MaskedKey::SkbMark(m) => {
            value.pkt_mark.set(m.value);
            mask.pkt_mark.set(m.mask);
            KeyAttr::SkbMark
        }
        MaskedKey::Ethernet(m) => {
            both!(Ethernet, m);
            KeyAttr::Ethernet
        }
        MaskedKey::Ipv4(m) => {
            both!(Ipv4, m);
            (value.nw_frag, mask.nw_frag) = (0, 0);
            KeyAttr::Ipv4
        }
        MaskedKey::Ipv6(m) => {
            both!(Ipv6, m);
            (value.nw_frag, mask.nw_frag) = (0, 0);
            KeyAttr::Ipv6
        }
        MaskedKey::Tcp(m) => {
            both!(Ports, m);
            KeyAttr::Tcp
        }
        MaskedKey::Udp(m) => {
            both!(Ports, m);
            KeyAttr::Udp
        }
        MaskedKey::Sctp(m) => {
            both!(Ports, m);
            KeyAttr::Sctp
        }
        MaskedKey::Icmp(m) => {
            both!(Icmp, m);
            KeyAttr::Icmp
        }
        MaskedKey::Icmpv6(m) => {
            both!(Icmp, m);
            KeyAttr::Icmpv6
        }
        MaskedKey::Arp(m) => {
            both!(Arp, m);
            KeyAttr::Arp
        }
        MaskedKey::Nd(m) => {
            both!(Nd, m);
            KeyAttr::Nd
        }
        MaskedKey::Mpls(m) => {
            if let (Some(value), Some(mask)) = (value.mpls_lse.first_mut(), mask.mpls_lse.first_mut()) {
                value.set(m.value.lse);
                mask.set(m.mask.lse);
            }
            KeyAttr::Mpls
        }
        MaskedKey::Nsh(nest) => {
            for attribute in nest {
                match attribute? {
                    MaskedNshKey::Base(m) => both!(NshFront, m),
                    MaskedNshKey::Md1(m) => {
                        read_nsh_context(&mut value, m.value);
                        read_nsh_context(&mut mask, m.mask);
                    }
                    odd => return Err(unknown("NSH", odd.kind())),
                }
            }
            KeyAttr::Nsh
        }
        MaskedKey::CtZone(_) | MaskedKey::CtMark(_) | MaskedKey::CtLabels(_) => {
            return Err(ConvertError::Meaningless("a set of what connection tracking found"));
        }
        odd => return Err(unknown("set", odd.kind())),
    };
    Ok(assigned(attr, value, mask))
}

fn track(nest: Nest<'_, CtAttr<'_>>) -> Result<CtRequest, ConvertError> {
    let mut ct = CtRequest::default();
    let label = |bytes| u128::from_be_bytes(reversed(bytes));
    for attribute in nest {
        match attribute? {
            CtAttr::Commit => ct.commit = true,
            CtAttr::ForceCommit => (ct.commit, ct.force) = (true, true),
            CtAttr::Zone(zone) => ct.zone = zone,
            CtAttr::Mark(m) => ct.mark = Some((m.value, m.mask)),
            CtAttr::Labels(m) => ct.label = Some((label(m.value), label(m.mask))),
            CtAttr::Helper(name) => {
                let helper = std::str::from_utf8(name).ok().and_then(Helper::from_name);
                ct.helper = Some(helper.ok_or(ConvertError::Meaningless("a helper of this name"))?);
            }
            CtAttr::Timeout(name) => {
                let policy = std::str::from_utf8(name).ok().and_then(timeout_policy);
                ct.timeout_policy = Some(policy.ok_or(ConvertError::Meaningless("a timeout policy of this name"))?);
            }
            CtAttr::Nat(nest) => ct.nat = Some(translation(nest)?),
            CtAttr::Eventmask(_) => {}
            odd => return Err(unknown("ct", odd.kind())),
        }
    }
    Ok(ct)
}

fn translation(nest: Nest<'_, NatAttr<'_>>) -> Result<Nat, ConvertError> {
    let mut range = NatRange::default();
    let (mut source, mut destination) = (false, false);
    let (mut first, mut last, mut low, mut high) = (None, None, None, None);
    let address = |bytes: &[u8]| {
        let v4 = || <[u8; 4]>::try_from(bytes).ok().map(std::net::IpAddr::from);
        let v6 = || <[u8; 16]>::try_from(bytes).ok().map(std::net::IpAddr::from);
        v4().or_else(v6).ok_or(ConvertError::Meaningless("an address of that length"))
    };
    for attribute in nest {
        match attribute? {
            NatAttr::Src => source = true,
            NatAttr::Dst => destination = true,
            NatAttr::IpMin(bytes) => first = Some(address(bytes)?),
            NatAttr::IpMax(bytes) => last = Some(address(bytes)?),
            NatAttr::ProtoMin(port) => low = Some(port),
            NatAttr::ProtoMax(port) => high = Some(port),
            NatAttr::Persistent => range.persistent = true,
            NatAttr::ProtoHash => range.hash = true,
            NatAttr::ProtoRandom => range.random = true,
            odd => return Err(unknown("nat", odd.kind())),
        }
    }
    range.addresses = first.map(|first| (first, last.unwrap_or(first)));
    range.ports = low.map(|low| (low, high.unwrap_or(low)));
    match (source, destination) {
        (true, false) => Ok(Nat::Source(range)),
        (false, true) => Ok(Nat::Destination(range)),
        (false, false) => Ok(Nat::Existing),
        (true, true) => Err(ConvertError::Meaningless("a translation of both ends")),
    }
}

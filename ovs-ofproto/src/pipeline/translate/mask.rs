//! The mask of a megaflow: of what was read, what a datapath knows.

use std::sync::LazyLock;

use ovs_dpif::always_matched;
use ovs_packet::extract::{ETH_TYPE_IPV4, ETH_TYPE_IPV6, IP_PROTO_ICMP, IP_PROTO_ICMPV6, IP_PROTO_IGMP};
use ovs_packet::field::{FieldId, Prereq};
use ovs_packet::key::{FlowKey, FlowMask, VLAN_PRESENT};

use super::{commit, layers};
use crate::pipeline::tunnel::is_tunnelled;

/// What every megaflow matches.
pub(super) static ALWAYS: LazyLock<FlowMask> = LazyLock::new(always_matched);

/// Where a key has options of tunnels.
pub(super) static OPTIONS: LazyLock<FlowMask> = LazyLock::new(|| {
    let mut mask = FlowMask::EMPTY;
    (mask.bits.tun_present, mask.bits.tun_metadata) = (u64::MAX.into(), [u8::MAX; 256]);
    mask
});

/// What a datapath's key has at all.
static OF_DATAPATHS: LazyLock<FlowMask> = LazyLock::new(|| {
    let mut mask = FlowMask::EMPTY;
    FieldId::all().filter(|f| f.info().attr.is_some()).for_each(|f| mask.add(f));
    let m = &mut mask.bits;
    (m.vlan_tpid, m.inner_vlan_tci, m.inner_vlan_tpid) = (u16::MAX.into(), u16::MAX.into(), u16::MAX.into());
    m.mpls_lse = [u32::MAX.into(); 3];
    m.ct_nw_proto = u8::MAX;
    (m.tun_tp_src, m.tun_tp_dst) = (u16::MAX.into(), u16::MAX.into());
    (m.tun_present, m.tun_metadata, m.tun_flags) = (u64::MAX.into(), [u8::MAX; 256], u8::MAX);
    mask
});

/// All that a packet with this key has for a datapath.
pub(in crate::pipeline) fn exact_mask(key: &FlowKey) -> FlowMask {
    let mut mask = FlowMask::EMPTY;
    let known = FieldId::all().filter(|f| f.info().attr.is_some() && f.info().prereq.holds(key));
    let tunnel = commit::tunnel_mask();
    known.filter(|f| f.info().get(&tunnel.bits) == 0 || f.info().get(key) != 0).for_each(|f| mask.add(f));
    to_datapath(&mut mask, key);
    mask
}

/// Leaves of a mask the bits that a datapath knows, in a packet with this key.
pub(super) fn to_datapath(mask: &mut FlowMask, key: &FlowKey) {
    mask.bits.words_mut().iter_mut().zip(OF_DATAPATHS.bits.words()).for_each(|(m, known)| *m &= known);
    let m = &mut mask.bits;
    // Type and code of ICMP are bytes where others have ports: their upper bytes are zero for every such packet.
    if matches!(key.nw_proto, IP_PROTO_ICMP | IP_PROTO_ICMPV6) {
        (m.tp_src, m.tp_dst) = ((m.tp_src.get() & 0xff).into(), (m.tp_dst.get() & 0xff).into());
    }
    // The type of an IGMP message is no field of datapaths.
    if key.nw_proto == IP_PROTO_IGMP && key.eth_type.get() == ETH_TYPE_IPV4 {
        (m.tp_src, m.tp_dst) = (0.into(), 0.into());
    }
    layers::require(m, key);
    // Of fragments, every packet that is none has but that.
    if !matches!(key.eth_type.get(), ETH_TYPE_IPV4 | ETH_TYPE_IPV6) {
        m.nw_frag = 0;
    }
    // What pushed labels were read of is not the packet's.
    if !Prereq::Mpls.holds(key) {
        m.mpls_lse = [0.into(); 3];
    }
    // What came through no tunnel tells of none, as its port says.
    if !is_tunnelled(key) {
        let bits = m.words_mut().iter_mut().zip(commit::tunnel_mask().bits.words());
        bits.for_each(|(m, tunnel)| *m &= !tunnel);
    }
    // An outer header is of one family.
    match key.tun_dst.get() {
        0 => (m.tun_src, m.tun_dst) = (0.into(), 0.into()),
        _ => (m.tun_ipv6_src, m.tun_ipv6_dst) = (0.into(), 0.into()),
    }
    // Of a tag that is not there, nothing is.
    for (tci, tpid, present) in [
        (&mut m.vlan_tci, &mut m.vlan_tpid, key.vlan_tci != 0),
        (&mut m.inner_vlan_tci, &mut m.inner_vlan_tpid, key.inner_vlan_tci != 0),
    ] {
        if *tci == 0 && *tpid == 0 {
            continue;
        }
        *tci = if present { (tci.get() | VLAN_PRESENT).into() } else { VLAN_PRESENT.into() };
        if !present {
            *tpid = 0.into();
        }
    }
}

use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::compose::{compose, write_l4_checksum};
use crate::extract::extract;
use crate::field::FieldId;
use crate::key::Match;
use crate::packet::L4Checksum;

fn key_of(packet: &mut Packet) -> FlowKey {
    let mut key = FlowKey::ZERO;
    assert_eq!(extract(packet, &mut key).malformed, None);
    key
}

/// Values for an edit that do not turn the packet into one of another kind.
const EDITS: &[(&str, KeyAttr, &[FieldId])] = {
    use FieldId::*;
    use KeyAttr as A;
    &[
        ("tcp,nw_src=1.2.3.4,nw_dst=5.6.7.8,nw_ttl=9,tp_src=1,tp_dst=2", A::Ipv4, &[NwSrc, NwDst, NwTos, NwEcn, NwTtl]),
        ("udp,nw_src=1.2.3.4,nw_dst=5.6.7.8,nw_ttl=9,tp_src=1,tp_dst=2", A::Ipv4, &[NwSrc, NwDst, NwTos, NwEcn, NwTtl]),
        ("icmp,nw_src=1.2.3.4,nw_dst=5.6.7.8,nw_ttl=9,icmp_type=8", A::Ipv4, &[NwSrc, NwDst, NwTos, NwTtl]),
        ("tcp6,ipv6_src=::1,ipv6_dst=::2,nw_ttl=9,tp_src=1", A::Ipv6, &[Ipv6Src, Ipv6Dst, Ipv6Label, NwTos, NwTtl]),
        ("udp6,ipv6_src=::1,ipv6_dst=::2,nw_ttl=9,tp_src=1", A::Ipv6, &[Ipv6Src, Ipv6Dst, Ipv6Label, NwTos, NwTtl]),
        ("icmp6,ipv6_src=::1,ipv6_dst=::2,icmp_type=128", A::Ipv6, &[Ipv6Src, Ipv6Dst]),
        ("icmp6,icmp_type=135,icmp_code=0,nd_target=::5,nd_sll=2:0:0:0:0:1", A::Nd, &[NdTarget]),
        ("tcp,tp_src=1,tp_dst=2", A::Tcp, &[TcpSrc, TcpDst]),
        ("udp,tp_src=1,tp_dst=2", A::Udp, &[UdpSrc, UdpDst]),
        ("sctp,tp_src=1,tp_dst=2", A::Sctp, &[SctpSrc, SctpDst]),
        ("icmp,icmp_type=8", A::Icmp, &[IcmpType, IcmpCode]),
        ("arp,arp_op=1", A::Arp, &[ArpSpa, ArpTpa, ArpSha, ArpTha]),
        ("dl_vlan=5,dl_vlan_pcp=1", A::Vlan, &[DlVlan, VlanPcp]),
        ("dl_src=2:0:0:0:0:1", A::Ethernet, &[EthSrc, EthDst]),
        ("mpls,mpls_label=5,mpls_bos=1", A::Mpls, &[MplsLabel, MplsTc, MplsTtl]),
        ("pkt_mark=5", A::SkbMark, &[PktMark]),
    ]
};

fn packet_for(text: &str, l7: &[u8]) -> Packet {
    compose(text.parse::<Match>().unwrap().key(), l7)
}

proptest! {
    #[test]
    fn an_edit_gives_the_packet_of_the_edited_key(
        n in 0..EDITS.len(), values: [u128; 5], masks: [u128; 5], l7 in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let (text, attr, fields) = EDITS[n];
        let mut packet = packet_for(text, &l7);
        let mut expected = key_of(&mut packet);
        let (mut v, mut m) = (FlowKey::ZERO, FlowMask::EMPTY);
        for ((f, value), mask) in fields.iter().zip(values).zip(masks) {
            f.info().put(&mut v, value);
            f.info().put(&mut m.bits, mask);
        }
        expected.assign(&v, &m);
        set(&mut packet, attr, &v, &m).unwrap();
        prop_assert_eq!(key_of(&mut packet), expected);
        // Incremental checksums equal those of the whole.
        let edited: Vec<u8> = packet.data().to_vec();
        write_l4_checksum(&mut packet);
        prop_assert_eq!(packet.data(), &edited[..]);
        if attr == KeyAttr::Ipv4 {
            prop_assert_eq!(checksum::checksum(&edited[14..34]), 0);
        }
    }

    #[test]
    fn a_partial_checksum_stays_right(src: u32, dst: u32, port: u16, udp: bool) {
        let text = if udp { "udp,nw_src=1.2.3.4,tp_src=1" } else { "tcp,nw_src=1.2.3.4,tp_src=1" };
        let whole = {
            let mut p = packet_for(text, b"payload");
            set(&mut p, KeyAttr::Ipv4, &FlowKey { nw_src: src.into(), nw_dst: dst.into(), ..FlowKey::ZERO },
                &FlowMask::of(&[FieldId::NwSrc, FieldId::NwDst])).unwrap();
            let attr = if udp { KeyAttr::Udp } else { KeyAttr::Tcp };
            set(&mut p, attr, &FlowKey { tp_src: port.into(), ..FlowKey::ZERO }, &FlowMask::of(&[FieldId::TcpSrc])).unwrap();
            write_l4_checksum(&mut p);
            p.data().to_vec()
        };
        let mut p = packet_for(text, b"payload");
        crate::segment::make_partial(&mut p);
        set(&mut p, KeyAttr::Ipv4, &FlowKey { nw_src: src.into(), nw_dst: dst.into(), ..FlowKey::ZERO },
            &FlowMask::of(&[FieldId::NwSrc, FieldId::NwDst])).unwrap();
        let attr = if udp { KeyAttr::Udp } else { KeyAttr::Tcp };
        set(&mut p, attr, &FlowKey { tp_src: port.into(), ..FlowKey::ZERO }, &FlowMask::of(&[FieldId::TcpSrc])).unwrap();
        push_vlan(&mut p, 0x8100, 7);
        pop_vlan(&mut p);
        let partial = matches!(p.offload.l4, L4Checksum::Partial { .. });
        prop_assert!(partial);
        crate::segment::finish_checksum(&mut p);
        prop_assert_eq!(p.data(), &whole[..]);
    }

    #[test]
    fn any_bytes_can_be_edited(bytes in prop::collection::vec(any::<u8>(), 0..80), n in 0..EDITS.len()) {
        let mut packet = Packet::from_slice(&bytes);
        extract(&mut packet, &mut FlowKey::ZERO.clone());
        let ones = FlowMask { bits: FlowKey::from_words([u64::MAX; crate::key::WORDS]) };
        let _ = set(&mut packet, EDITS[n].1, &ones.bits, &ones);
        push_vlan(&mut packet, 0x88a8, 1);
        pop_vlan(&mut packet);
        prop_assert_eq!(packet.len(), bytes.len());
    }
}

#[test]
fn tags_are_pushed_and_popped() {
    let mut packet = packet_for("udp,tp_src=1,tp_dst=2,nw_src=1.1.1.1", b"x");
    let before = key_of(&mut packet);
    push_vlan(&mut packet, 0x8100, 0x2005);
    let tagged = key_of(&mut packet);
    assert_eq!((tagged.vlan_tci.get(), tagged.vlan_tpid.get(), tagged.eth_type), (0x3005, 0x8100, before.eth_type));
    push_vlan(&mut packet, 0x88a8, 9);
    let twice = key_of(&mut packet);
    assert_eq!((twice.vlan_vid(), twice.inner_vlan_tci.get()), (Some(9), 0x3005));
    pop_vlan(&mut packet);
    pop_vlan(&mut packet);
    assert_eq!(key_of(&mut packet), before);
    pop_vlan(&mut packet);
    assert_eq!(key_of(&mut packet), before);
}

#[test]
fn arp_of_another_hardware_is_not_set() {
    // Found by fuzzing: the addresses of Ethernet and IPv4 were written over whatever stood in their places.
    let all = FlowMask { bits: FlowKey::from_words([u64::MAX; crate::key::WORDS]) };
    let mut infiniband = packet_for("arp,arp_op=1", b"");
    infiniband.data_mut()[15] = 32;
    for mut packet in [infiniband, packet_for("udp,tp_src=1,tp_dst=2", b"payload")] {
        let before = packet.data().to_vec();
        assert_eq!(set(&mut packet, KeyAttr::Arp, &all.bits, &all), Err(EditError::NoSuchHeader(KeyAttr::Arp)));
        assert_eq!(packet.data(), before);
    }
}

#[test]
fn an_icmp_message_of_zeros_has_its_checksum() {
    // Found by fuzzing: the difference gave 0, and the sum of nothing but zeros is no right one.
    let mut packet = packet_for("icmp,nw_src=1.2.3.4,icmp_type=8", &[0; 24]);
    let zero = FlowMask::of(&[FieldId::IcmpType, FieldId::IcmpCode]);
    set(&mut packet, KeyAttr::Icmp, &FlowKey::ZERO, &zero).unwrap();
    assert_eq!(checksum::checksum(packet.l4()), 0);
    let edited = packet.data().to_vec();
    write_l4_checksum(&mut packet);
    assert_eq!(packet.data(), edited);
}

#[test]
fn what_is_not_there_is_not_set() {
    let mut packet = packet_for("udp,tp_src=1", b"");
    let all = FlowMask { bits: FlowKey::from_words([u64::MAX; crate::key::WORDS]) };
    let before = packet.data().to_vec();
    for attr in [KeyAttr::Tcp, KeyAttr::Ipv6, KeyAttr::Mpls, KeyAttr::Vlan, KeyAttr::Nd, KeyAttr::Icmp] {
        assert_eq!(set(&mut packet, attr, &all.bits, &all), Err(EditError::NoSuchHeader(attr)));
    }
    assert_eq!(set(&mut packet, KeyAttr::InPort, &all.bits, &all), Err(EditError::NotSettable(KeyAttr::InPort)));
    assert_eq!(packet.data(), before);
}

#[test]
fn a_udp_checksum_that_is_not_there_stays_away() {
    let mut packet = packet_for("udp,nw_src=1.1.1.1,tp_src=1", b"x");
    packet.data_mut()[40..42].fill(0);
    set(&mut packet, KeyAttr::Ipv4, &FlowKey { nw_src: 7.into(), ..FlowKey::ZERO }, &FlowMask::of(&[FieldId::NwSrc]))
        .unwrap();
    assert_eq!(packet.data()[40..42], [0, 0]);
}

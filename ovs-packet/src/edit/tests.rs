use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::addr::EthAddr;
use crate::checksum;
use crate::compose::{checksum_offset, compose, compose_with_bad_checksums, write_l4_checksum};
use crate::extract::extract;
use crate::field::FieldId;
use crate::key::Match;
use crate::packet::{L4Checksum, Layers};

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
        ("icmp6,icmp_type=135,icmp_code=0,nd_target=::5,nd_sll=2:0:0:0:0:1", A::Nd, &[NdTarget, NdSll]),
        ("icmp6,icmp_type=136,icmp_code=0,nd_target=::5,nd_tll=2:0:0:0:0:1", A::Nd, &[NdTarget, NdTll]),
        ("sctp6,tp_src=1,ipv6_src=::7", A::Ipv6, &[Ipv6Src, Ipv6Dst]),
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

#[test]
fn a_tag_keeps_all_its_bits_where_it_was_taken_off() {
    let mut packet = packet_for("udp,tp_src=1,tp_dst=2", b"x");
    insert_vlan(&mut packet, 0x8100, 0xb005);
    assert_eq!(packet.data()[12..16], [0x81, 0, 0xb0, 5]);
    // A set of the id leaves the bit that the key has no room for.
    let id = Match::from_words(*Match::ANY.key().words(), *Match::ANY.key().words());
    let mut m = id;
    m.set(FieldId::DlVlan, 7);
    set(&mut packet, KeyAttr::Vlan, &m.key(), &m.mask()).unwrap();
    assert_eq!(packet.data()[14..16], [0xb0, 7]);
    pop_vlan(&mut packet);
    push_vlan(&mut packet, 0x88a8, 0xb005);
    assert_eq!(packet.data()[12..16], [0x88, 0xa8, 0xa0, 5]);
}

#[test]
fn labels_are_pushed_and_popped() {
    let mut packet = packet_for("dl_vlan=5,udp,nw_src=1.1.1.1,nw_tos=0xe0,nw_ttl=9,tp_dst=2", b"x");
    packet.meta.ct.mark = 7;
    let (before, bytes) = (key_of(&mut packet), packet.data().to_vec());
    let lse = pushed_label(&before);
    assert_eq!(lse, 7 << 9 | 0x100 | 9);
    push_mpls(&mut packet, 0x8847, lse).unwrap();
    assert_eq!(packet.meta.ct, Default::default());
    assert_eq!(packet.layers(), Layers { l2_5: Some(18), l3: Some(22), l4: Some(42), l4_proto: 17, l2_pad: 0 });
    let labelled = key_of(&mut packet);
    assert_eq!(
        (labelled.eth_type.get(), labelled.mpls_lse[0].get(), labelled.vlan_tci),
        (0x8847, lse, before.vlan_tci)
    );
    let second = pushed_label(&labelled) & 0xfff | 5 << 12;
    push_mpls(&mut packet, 0x8848, second).unwrap();
    let twice = key_of(&mut packet);
    assert_eq!((twice.eth_type.get(), twice.mpls_lse.map(|l| l.get())), (0x8848, [second, lse, 0]));
    assert_eq!(dec_mpls_ttl(&mut packet), Ok(8));
    assert_eq!(key_of(&mut packet).mpls_lse[0], second - 1);
    pop_mpls(&mut packet, 0x8847).unwrap();
    assert_eq!((packet.layers().l2_5, key_of(&mut packet)), (Some(18), labelled));
    pop_mpls(&mut packet, 0x0800).unwrap();
    assert_eq!((packet.layers().l2_5, packet.layers().l3), (None, Some(18)));
    assert_eq!(packet.data(), bytes);
    assert_eq!(pop_mpls(&mut packet, 0x0800), Err(EditError::NoSuchHeader(KeyAttr::Mpls)));
    assert_eq!(push_mpls(&mut packet, 0x0800, 0), Err(EditError::NotMpls(0x0800)));
    assert_eq!(push_mpls(&mut Packet::from_slice(&bytes), 0x8847, 0), Err(EditError::NoSuchHeader(KeyAttr::EtherType)));
    assert_eq!(packet.data(), bytes);
}

#[test]
fn a_label_without_ethernet_may_carry_ethernet() {
    let mut packet = packet_for("packet_type=(1,0x8847),mpls_label=5,mpls_bos=1", b"inner");
    pop_mpls(&mut packet, 0x6558).unwrap();
    assert_eq!((packet.data(), packet.meta.packet_type, packet.layers()), (&b"inner"[..], 0, Layers::default()));
    let mut packet = packet_for("packet_type=(1,0x800),nw_ttl=3", b"");
    push_mpls(&mut packet, 0x8847, 0x100).unwrap();
    assert_eq!((packet.meta.packet_type, packet.layers().l2_5, packet.layers().l3), (0x1_8847, Some(0), Some(4)));
    pop_mpls(&mut packet, 0x800).unwrap();
    assert_eq!((packet.meta.packet_type, packet.layers().l2_5, packet.layers().l3), (0x1_0800, None, Some(0)));
}

#[test]
fn a_label_goes_in_front_of_the_whole_packet() {
    let mut packet = packet_for("tcp,tp_dst=80", b"x");
    let inner = packet.data().to_vec();
    let lse = 5 << 12 | 0x100 | 64;
    add_mpls(&mut packet, 0x8848, lse).unwrap();
    assert_eq!((packet.data().get(4..), packet.meta.packet_type), (Some(&inner[..]), 0x1_8848));
    assert_eq!(packet.layers(), Layers { l2_5: Some(0), l3: Some(18), l4: Some(38), l4_proto: 6, l2_pad: 0 });
    push_eth(&mut packet, EthAddr([2; 6]), EthAddr([4; 6])).unwrap();
    let key = key_of(&mut packet);
    assert_eq!((key.eth_dst, key.eth_type.get(), key.mpls_lse[0].get()), (EthAddr([2; 6]), 0x8848, lse));
    // And back.
    pop_eth(&mut packet).unwrap();
    pop_mpls(&mut packet, 0x6558).unwrap();
    assert_eq!((packet.data(), packet.meta.packet_type), (&inner[..], 0));
    // A packet without Ethernet gets one label more.
    let mut packet = packet_for("packet_type=(1,0x8847),mpls_label=5,mpls_bos=1", b"inner");
    add_mpls(&mut packet, 0x8847, 9 << 12).unwrap();
    assert_eq!(packet.data().get(..4), Some(&(9u32 << 12).to_be_bytes()[..]));
    assert_eq!(add_mpls(&mut packet, 0x0800, 0), Err(EditError::NotMpls(0x0800)));
}

#[test]
fn ethernet_is_pushed_and_popped() {
    let (dst, src) = (EthAddr([2, 0, 0, 0, 0, 1]), EthAddr([2, 0, 0, 0, 0, 2]));
    let mut packet = packet_for("dl_vlan=5,tcp6,ipv6_src=::1,tp_dst=80", b"x");
    let inner = packet.data()[18..].to_vec();
    pop_eth(&mut packet).unwrap();
    assert_eq!((packet.data(), packet.meta.packet_type), (&inner[..], 0x1_86dd));
    assert_eq!((packet.layers().l3, packet.layers().l4), (Some(0), Some(40)));
    // What needs Ethernet is refused, or does nothing.
    assert_eq!(pop_eth(&mut packet), Err(EditError::WrongPacketType(0x1_86dd)));
    let all = FlowMask { bits: FlowKey::from_words([u64::MAX; crate::key::WORDS]) };
    for attr in [KeyAttr::Ethernet, KeyAttr::Vlan] {
        assert_eq!(set(&mut packet, attr, &all.bits, &all), Err(EditError::NoSuchHeader(attr)));
    }
    push_vlan(&mut packet, 0x8100, 1);
    pop_vlan(&mut packet);
    assert_eq!(packet.data(), inner);
    assert_eq!(dec_ttl(&mut packet), Err(EditError::TtlExpired));
    push_eth(&mut packet, dst, src).unwrap();
    assert_eq!(packet.layers().l3, Some(14));
    let key = key_of(&mut packet);
    assert_eq!((key.eth_dst, key.eth_src, key.eth_type.get(), key.tp_dst.get()), (dst, src, 0x86dd, 80));
    assert_eq!(push_eth(&mut packet, dst, src), Err(EditError::WrongPacketType(0)));
    // An 802.3 frame has no type to go by.
    assert!(pop_eth(&mut packet_for("dl_type=0x05ff", b"x")).is_err());
    let mut labelled = packet_for("mpls,mpls_label=5,mpls_bos=1", b"");
    pop_eth(&mut labelled).unwrap();
    assert_eq!((labelled.meta.packet_type, labelled.layers().l2_5), (0x1_8847, Some(0)));
}

#[test]
fn nsh_is_pushed_set_and_popped() {
    let text = "packet_type=(1,0x894f),nsh_flags=2,nsh_ttl=5,nsh_mdtype=1,nsh_spi=0x123456,nsh_si=9,nsh_c2=7";
    let header = text.parse::<Match>().unwrap().key();
    let inner = packet_for("arp,arp_op=1", b"").data().to_vec();
    let mut packet = Packet::from_slice(&inner);
    push_nsh(&mut packet, &header, &[]).unwrap();
    assert_eq!((packet.meta.packet_type, packet.layers().l3, packet.layers().l4), (0x1_894f, Some(0), None));
    let expected = compose(&FlowKey { nsh_np: 3, ..header }, &inner);
    assert_eq!(packet.data(), expected.data());

    let m: Match = "dl_type=0x894f,nsh_flags=1/1,nsh_spi=0xabcdef,nsh_c2=0xf00/0xf00,nsh_ttl=63".parse().unwrap();
    set(&mut packet, KeyAttr::Nsh, &m.key(), &m.mask()).unwrap();
    assert_eq!(packet.data()[..8], [0x3f, 0xc6, 1, 3, 0xab, 0xcd, 0xef, 9]);
    assert_eq!(packet.data()[12..16], [0, 0, 0x0f, 7]);
    assert_eq!(dec_nsh_ttl(&mut packet), Ok(62));
    assert_eq!(packet.data()[..2], [0x3f, 0x86]);
    pop_nsh(&mut packet).unwrap();
    assert_eq!((packet.data(), packet.meta.packet_type), (&inner[..], 0));

    // NSH in NSH, with metadata of type 2.
    let type2 = FlowKey { nsh_mdtype: 2, nsh_ttl: 1, ..FlowKey::ZERO };
    push_nsh(&mut packet, &type2, &[1, 2, 3, 4]).unwrap();
    push_nsh(&mut packet, &header, &[]).unwrap();
    assert_eq!(
        (packet.data()[3], packet.data()[24..36].to_vec()),
        (4, [0, 0x43, 2, 3, 0, 0, 0, 0, 1, 2, 3, 4].to_vec())
    );
    pop_nsh(&mut packet).unwrap();
    packet.set_layers(Layers { l3: Some(0), ..Layers::default() });
    assert_eq!(dec_nsh_ttl(&mut packet), Err(EditError::TtlExpired));
    for (at, byte, error) in
        [(3, 77, EditError::UnknownNextProtocol(77)), (1, 0x7f, EditError::NoSuchHeader(KeyAttr::Nsh))]
    {
        let mut bad = packet.clone();
        bad.data_mut()[at] = byte;
        assert_eq!(pop_nsh(&mut bad), Err(error));
    }
    assert_eq!(push_nsh(&mut packet, &type2, &[1]), Err(EditError::BadMetadata(1)));
    assert_eq!(push_nsh(&mut packet, &type2, &[0; 248]), Err(EditError::BadMetadata(248)));
    let mut mpls = packet_for("packet_type=(1,0x8847)", b"");
    assert_eq!(push_nsh(&mut mpls, &header, &[]), Err(EditError::WrongPacketType(0x1_8847)));
}

#[test]
fn neighbour_discovery_extensions_are_set() {
    let text = "icmp6,icmp_type=136,icmp_code=0,ipv6_src=::1,nd_target=::5,nd_tll=2:0:0:0:0:1";
    let mut packet = packet_for(text, b"");
    let m: Match = "icmp6,icmp_type=136,icmp_code=0,nd_reserved=0xa0000001,nd_options_type=1".parse().unwrap();
    set(&mut packet, KeyAttr::NdExtensions, &m.key(), &m.mask()).unwrap();
    assert_eq!((&packet.l4()[4..8], packet.l4()[24]), (&[0xa0, 0, 0, 1][..], 1));
    let edited = packet.data().to_vec();
    write_l4_checksum(&mut packet);
    assert_eq!(packet.data(), edited);
    // Without an option there is no type to set, and an echo request is no neighbour discovery.
    let mut bare = packet_for("icmp6,icmp_type=135,icmp_code=0,nd_target=::5", b"");
    assert_eq!(set(&mut bare, KeyAttr::NdExtensions, &m.key(), &m.mask()), Ok(()));
    let mut echo = packet_for("icmp6,icmp_type=128", &[0; 40]);
    for attr in [KeyAttr::Nd, KeyAttr::NdExtensions] {
        assert_eq!(set(&mut echo, attr, &m.key(), &m.mask()), Err(EditError::NoSuchHeader(attr)));
    }
}

#[test]
fn ttls_count_down_to_one() {
    for (text, at) in [("udp,nw_src=1.1.1.1,nw_ttl=2", 22), ("udp6,nw_ttl=2", 21)] {
        let mut packet = packet_for(text, b"x");
        assert_eq!(dec_ttl(&mut packet), Ok(1));
        assert_eq!(packet.data()[at], 1);
        if at == 22 {
            assert_eq!(checksum::checksum(&packet.data()[14..34]), 0);
        }
        let before = packet.data().to_vec();
        assert_eq!(dec_ttl(&mut packet), Err(EditError::TtlExpired));
        assert_eq!(packet.data(), before);
        assert_eq!(dec_mpls_ttl(&mut packet), Err(EditError::NoSuchHeader(KeyAttr::Mpls)));
        assert_eq!(dec_nsh_ttl(&mut packet), Err(EditError::NoSuchHeader(KeyAttr::Nsh)));
    }
    assert_eq!(dec_ttl(&mut packet_for("arp", b"")), Err(EditError::NoSuchHeader(KeyAttr::Ipv4)));
}

/// A destination on the way is not in the transport's checksum; the last one is (RFC 8200, section 8.1).
#[test]
fn a_routing_header_has_the_last_destination() {
    let segment_routing = [17, 4, 4, 1, 1, 0, 0, 0]; // two segments of 16 bytes, one left
    let plain = packet_for("udp6,ipv6_src=::1,ipv6_dst=fe80::9,tp_src=1", b"x");
    let mut bytes = plain.data()[..54].to_vec();
    bytes[20] = 43;
    bytes[19] += 40;
    bytes.extend(segment_routing);
    bytes.extend([&plain.data()[38..54], &[0xaa; 16]].concat());
    bytes.extend(&plain.data()[54..]);
    let mut packet = Packet::from_slice(&bytes);
    // On the way to another place than the last one, which is what the datagram's checksum was computed for.
    packet.data_mut()[38..54].fill(0x77);
    packet.set_layers(Layers { l3: Some(14), l4: Some(94), l4_proto: 17, ..Layers::default() });
    let right = packet.data().to_vec();
    write_l4_checksum(&mut packet);
    assert_eq!(packet.data(), right);
    let dst = FlowKey { ipv6_dst: 0x1234.into(), ..FlowKey::ZERO };
    set(&mut packet, KeyAttr::Ipv6, &dst, &FlowMask::of(&[FieldId::Ipv6Dst])).unwrap();
    assert_eq!(packet.data()[94..], right[94..]);
    // Arrived at the last one, it counts again.
    packet.data_mut()[57] = 0;
    set(&mut packet, KeyAttr::Ipv6, &dst, &FlowMask::of(&[FieldId::Ipv6Dst])).unwrap();
    assert_eq!(packet.data()[94..], right[94..]);
    let other = FlowKey { ipv6_dst: 0x1235.into(), ..FlowKey::ZERO };
    set(&mut packet, KeyAttr::Ipv6, &other, &FlowMask::of(&[FieldId::Ipv6Dst])).unwrap();
    assert_ne!(packet.data()[94..], right[94..]);
}

/// One of the things that can be done to a packet.
fn edit(packet: &mut Packet, (what, value, mask): (usize, u128, u128)) {
    let spread = |bits: u128| {
        let words = [bits as u64, (bits >> 64) as u64, (bits >> 32) as u64];
        FlowKey::from_words(core::array::from_fn(|i| words[i % 3].rotate_left(i as u32)))
    };
    let attrs = [
        KeyAttr::Ethernet,
        KeyAttr::Vlan,
        KeyAttr::Ipv4,
        KeyAttr::Ipv6,
        KeyAttr::Tcp,
        KeyAttr::Udp,
        KeyAttr::Sctp,
        KeyAttr::Icmp,
        KeyAttr::Icmpv6,
        KeyAttr::Arp,
        KeyAttr::Nd,
        KeyAttr::NdExtensions,
        KeyAttr::Mpls,
        KeyAttr::Nsh,
    ];
    match attrs.get(what) {
        Some(attr) => {
            let _ = set(packet, *attr, &spread(value), &FlowMask { bits: spread(mask) });
        }
        None => match what - attrs.len() {
            0 => push_vlan(packet, 0x8100, value as u16),
            1 => pop_vlan(packet),
            2 => drop(push_mpls(packet, 0x8847, value as u32)),
            3 => drop(pop_mpls(packet, 0x0800)),
            4 => drop(dec_ttl(packet)),
            5 => drop(dec_mpls_ttl(packet)),
            6 => drop(pop_eth(packet)),
            7 => drop(push_eth(packet, EthAddr::default(), EthAddr::default())),
            8 => drop(add_mpls(packet, 0x8848, value as u32)),
            _ => {}
        },
    }
}

const EDIT_KINDS: usize = 23;

/// What the checksums of a packet are off by: nothing where they are right, and what it was before if they are updated by
/// differences. Zero and all ones are the same sum.
fn off_by(packet: &Packet, v4: bool) -> (u16, u32) {
    let ip = packet.l3();
    let header = if v4 { checksum::checksum(&ip[..20]) % 0xffff } else { 0 };
    let layers = packet.layers();
    let Some(at) = layers.l4.zip(checksum_offset(layers.l4_proto)).map(|(l4, at)| l4 + at) else { return (header, 0) };
    let mut right = packet.clone();
    write_l4_checksum(&mut right);
    let field = |p: &Packet| p.data()[at..].first_chunk::<4>().map_or(0, |b| u32::from_be_bytes(*b));
    let short = |p: &Packet| u64::from(u16::from_be_bytes(p.data()[at..at + 2].try_into().unwrap()));
    match layers.l4_proto {
        IP_PROTO_SCTP => (header, field(packet) ^ field(&right)),
        _ => (header, ((short(packet) + 0xffff - short(&right)) % 0xffff) as u32),
    }
}

proptest! {
    #[test]
    fn no_sequence_of_edits_mends_or_breaks_a_checksum(
        n in 0..EDITS.len(), edits in prop::collection::vec((0..EDIT_KINDS, any::<u128>(), any::<u128>()), 0..12),
        l7 in prop::collection::vec(any::<u8>(), 0..40), bad: bool,
    ) {
        let key = EDITS[n].0.parse::<Match>().unwrap().key();
        let mut packet = if bad { compose_with_bad_checksums(&key, &l7) } else { compose(&key, &l7) };
        let v4 = key.eth_type == 0x0800;
        let before = off_by(&packet, v4);
        prop_assert!(bad || before == (0, 0));
        for e in edits {
            edit(&mut packet, e);
            // Labels hide where IP is from nobody here: the layers stay known.
            let now = off_by(&packet, v4);
            prop_assert_eq!(now, before, "{:?}", e);
        }
    }

    #[test]
    fn a_partial_checksum_outlasts_any_edits(
        n in 0..EDITS.len(), edits in prop::collection::vec((0..EDIT_KINDS, any::<u128>(), any::<u128>()), 0..12),
    ) {
        let mut packet = packet_for(EDITS[n].0, b"some payload");
        crate::segment::make_partial(&mut packet);
        edits.into_iter().for_each(|e| edit(&mut packet, e));
        let partial = matches!(packet.offload.l4, L4Checksum::Partial { .. });
        crate::segment::finish_checksum(&mut packet);
        prop_assert!(!partial || off_by(&packet, false).1 == 0);
    }
}

/// Security: options of a neighbour discovery message whose length runs over the end, or is zero, with the link-layer
/// address set (upstream e150d4099, 0a1303287: read beyond the packet, endless loop).
#[test]
fn security_nd_option_length_e150d4099() {
    let header = "icmp6,icmp_type=135,icmp_code=0,ipv6_src=fe80::1,ipv6_dst=fe80::2,nd_target=fe80::2";
    for option in
        [&[14, 0xff, 0, 0, 0, 0, 0, 0][..], &[1, 0, 2, 0, 0, 0, 0, 1], &[1, 0xff, 2, 0], &[1], &[1, 1, 0, 0, 0, 0, 0]]
    {
        let mut packet = packet_for(header, b"");
        packet.extend(option);
        let l4 = packet.layers().l4.unwrap();
        assert_eq!(packet.layers(), Layers { l3: Some(14), l4: Some(l4), l4_proto: 58, ..Layers::default() });
        write_l4_checksum(&mut packet);
        let before = packet.data().to_vec();
        let all = FlowMask::of(&[FieldId::NdSll, FieldId::NdTll]);
        let values = FlowKey { arp_sha: EthAddr([0xaa; 6]), arp_tha: EthAddr([0xbb; 6]), ..FlowKey::ZERO };
        assert_eq!(set(&mut packet, KeyAttr::Nd, &values, &all), Ok(()));
        assert_eq!(packet.data(), before, "{option:?}");
    }
}

/// Security: an NSH header that claims to be longer than the packet (upstream 14fae3e09).
#[test]
fn security_nsh_length_14fae3e09() {
    let bytes = [0x00, 0x3f, 0x01, 0x03, 0, 0, 1, 0xff];
    let frame = [&[0x50, 0x54, 0, 0, 0, 0x0a, 0x50, 0x54, 0, 0, 0, 9, 0x89, 0x4f][..], &bytes].concat();
    let mut packet = Packet::from_slice(&frame);
    packet.set_layers(Layers { l3: Some(14), ..Layers::default() });
    let missing = EditError::NoSuchHeader(KeyAttr::Nsh);
    let all = FlowMask { bits: FlowKey::from_words([u64::MAX; crate::key::WORDS]) };
    assert_eq!(set(&mut packet, KeyAttr::Nsh, &all.bits, &all), Err(missing));
    assert_eq!(dec_nsh_ttl(&mut packet), Err(missing));
    // As long as it says, but not as long as its metadata type says: nothing of it is set.
    packet.data_mut()[15] = 0x02;
    let short = packet.data().to_vec();
    assert_eq!(set(&mut packet, KeyAttr::Nsh, &all.bits, &all), Err(missing));
    assert_eq!(packet.data(), short);
    packet.data_mut()[15] = 0x3f;
    let mut headless = Packet::from_slice(&bytes);
    headless.meta.packet_type = 0x1_894f;
    headless.set_layers(Layers { l3: Some(0), ..Layers::default() });
    assert_eq!(pop_nsh(&mut headless), Err(missing));
    assert_eq!((packet.data(), headless.data()), (&frame[..], &bytes[..]));
}

#[test]
fn a_tunnel_is_set_beside_the_packet() {
    let mut packet = packet_for("udp,nw_src=1.1.1.1", b"x");
    let bytes = packet.data().to_vec();
    for (text, expected) in [
        ("tun_id=0x5,tun_dst=10.0.0.1,tun_ttl=64", "tun_id=0x5,tun_dst=10.0.0.1,tun_ttl=64"),
        ("tun_id=0x7/0xf,tun_src=10.0.0.2", "tun_id=0x7,tun_src=10.0.0.2,tun_dst=10.0.0.1,tun_ttl=64"),
        ("tun_ipv6_dst=fc00::1,tun_id=0x9", "tun_id=0x9,tun_ipv6_dst=fc00::1"),
        ("tun_dst=0.0.0.0", ""),
    ] {
        let m: Match = text.parse().unwrap();
        set(&mut packet, KeyAttr::Tunnel, &m.key(), &m.mask()).unwrap();
        let mut key = key_of(&mut packet);
        key.assign(&FlowKey::ZERO, &FlowMask::of(&[FieldId::EthType, FieldId::NwProto, FieldId::NwSrc]));
        assert_eq!(std::format!("{}", Match::exact_non_zero(key)), expected);
    }
    assert_eq!(packet.data(), bytes);
}

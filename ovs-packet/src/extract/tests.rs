use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::compose::compose;
use crate::field::FieldId;
use crate::key::{FRAG_ANY, FRAG_LATER, Match};

fn read(bytes: &[u8]) -> (FlowKey, Extraction, Layers) {
    let mut packet = Packet::from_slice(bytes);
    let mut key = FlowKey::ZERO;
    let extraction = extract(&mut packet, &mut key);
    (key, extraction, packet.layers())
}

fn key(text: &str) -> FlowKey {
    *text.parse::<Match>().unwrap().key()
}

/// One key of every kind of packet.
const KINDS: &[&str] = &[
    "dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,dl_type=0x88cc",
    "dl_src=02:00:00:00:00:01,dl_type=0x05ff",
    "tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=64,nw_tos=184,nw_ecn=1,tp_src=1000,tp_dst=80,tcp_flags=syn|ns",
    "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=64,tp_src=1000,tp_dst=80,vlan_tci=0x3005",
    "icmp,nw_src=10.0.0.1,nw_dst=10.0.0.2,icmp_type=8,icmp_code=1",
    "sctp,nw_src=10.0.0.1,tp_src=5,tp_dst=6",
    "ip,nw_proto=47,nw_src=1.1.1.1",
    "tcp6,ipv6_src=2001:db8::1,ipv6_dst=2001:db8::2,ipv6_label=0xabcde,nw_tos=4,nw_ecn=3,nw_ttl=9,tp_src=1,tp_dst=2,tcp_flags=ack",
    "udp6,ipv6_src=::1,ipv6_dst=::2,tp_dst=53",
    "icmp6,ipv6_src=fe80::1,icmp_type=128,icmp_code=0",
    "icmp6,icmp_type=135,icmp_code=0,nd_target=fe80::2,nd_sll=02:00:00:00:00:03",
    "icmp6,icmp_type=136,icmp_code=0,nd_target=fe80::2,nd_tll=02:00:00:00:00:04",
    "arp,arp_spa=10.0.0.1,arp_tpa=10.0.0.2,arp_op=2,arp_sha=02:00:00:00:00:05,arp_tha=02:00:00:00:00:06",
    "rarp,arp_op=3",
    "mpls,mpls_label=100,mpls_tc=5,mpls_ttl=63,mpls_bos=1",
    "ip,nw_frag=first,nw_proto=17",
];

#[test]
fn composed_packets_read_back() {
    for text in KINDS {
        let mut wanted = key(text);
        if wanted.vlan_tci != 0 {
            wanted.vlan_tpid.set(ETH_TYPE_VLAN);
        }
        let packet = compose(&wanted, b"some payload");
        let (seen, extraction, layers) = read(packet.data());
        assert_eq!((seen, extraction.malformed), (wanted, None), "{text}");
        assert_eq!(layers, packet.layers(), "{text}");
    }
}

#[test]
fn later_fragments_have_no_transport() {
    for text in ["ip,nw_proto=6,nw_src=1.1.1.1", "ipv6,nw_proto=6,ipv6_src=::1"] {
        let wanted = FlowKey { nw_frag: FRAG_ANY | FRAG_LATER, ..key(text) };
        let (seen, _, layers) = read(compose(&wanted, &[0xff; 40]).data());
        assert_eq!((seen, layers.l4), (wanted, None));
    }
}

#[test]
fn two_tags_are_read_and_a_third_is_payload() {
    let inner = compose(&key("udp,tp_src=1,tp_dst=2"), b"");
    let mut bytes = inner.data()[..12].to_vec();
    bytes.extend([0x88, 0xa8, 0x20, 0x05, 0x81, 0x00, 0x00, 0x07]);
    bytes.extend(&inner.data()[12..]);
    let (k, e, _) = read(&bytes);
    assert_eq!((k.vlan_tci.get(), k.vlan_tpid.get()), (0x3005, 0x88a8));
    assert_eq!((k.inner_vlan_tci.get(), k.inner_vlan_tpid.get()), (0x1007, 0x8100));
    assert_eq!((k.tp_dst.get(), e.malformed), (2, None));
    bytes.splice(20..20, [0x81, 0x00, 0x00, 0x09]);
    let (k, _, _) = read(&bytes);
    assert_eq!(k.eth_type.get(), ETH_TYPE_VLAN);
}

#[test]
fn snap_names_an_ethertype() {
    let mut bytes = [0; 12].to_vec();
    bytes.extend([0, 8, 0xaa, 0xaa, 3, 0, 0, 0, 0x88, 0xcc]);
    assert_eq!(read(&bytes).0.eth_type.get(), ETH_TYPE_LLDP);
    bytes[17] = 1;
    assert_eq!(read(&bytes).0.eth_type.get(), NO_ETHERTYPE);
}

#[test]
fn ipv6_extensions_are_stepped_over() {
    let plain = compose(&key("udp6,ipv6_src=::1,tp_src=1,tp_dst=2"), b"x");
    let mut bytes = plain.data().to_vec();
    // Hop-by-hop, then destination options, then authentication, then UDP.
    let headers = [60, 0, 1, 4, 0, 0, 0, 0, 51, 0, 1, 4, 0, 0, 0, 0, 17, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes[20] = 0;
    bytes.splice(54..54, headers);
    let len = u16::from_be_bytes([bytes[18], bytes[19]]) + headers.len() as u16;
    bytes[18..20].copy_from_slice(&len.to_be_bytes());
    let (k, e, layers) = read(&bytes);
    assert_eq!((k.nw_proto, k.tp_dst.get(), e.malformed), (17, 2, None));
    assert_eq!(layers.l4, Some(54 + headers.len()));
    // One that runs past the payload.
    bytes[55] = 200;
    let (k, e, layers) = read(&bytes);
    assert_eq!((k.tp_dst.get(), e.malformed, layers.l4), (0, Some(Malformed::Ipv6Extension), None));
}

/// CVE-2020-35498: more than 255 bytes of padding made a packet look as if it were not IP.
#[test]
fn padding_of_any_size_is_padding() {
    let plain = compose(&key("tcp,nw_src=1.1.1.1,nw_dst=2.2.2.2,tp_src=1"), b"");
    for pad in [0, 1, 6, 255, 256, 1000, 65_000] {
        let mut bytes = plain.data().to_vec();
        bytes.resize(bytes.len() + pad, 0);
        let (k, e, layers) = read(&bytes);
        assert_eq!((k.nw_dst.get(), k.tp_src.get(), e.malformed, layers.l2_pad), (0x0202_0202, 1, None, pad));
    }
}

/// CVE-2016-10377: a header length beyond the total length.
#[test]
fn contradicting_ipv4_lengths_leave_ip_absent() {
    let good = compose(&key("tcp,nw_src=1.1.1.1,tp_src=1"), b"").data().to_vec();
    for (at, value) in [(14, 0x4b), (14, 0x44), (14, 0x65), (16, 0xff), (17, 19)] {
        let mut bytes = good.clone();
        bytes[at] = value;
        let (k, e, layers) = read(&bytes);
        assert_eq!((k.nw_src.get(), k.nw_proto, k.tp_src.get()), (0, 0, 0));
        assert_eq!((k.eth_type.get(), e.malformed, layers.l4), (ETH_TYPE_IPV4, Some(Malformed::Ipv4), None));
    }
}

/// CVE-2016-2074: a label stack without an end.
#[test]
fn a_label_stack_without_end_is_malformed() {
    for labels in [1, 3, 64, 400] {
        let mut bytes = [0; 12].to_vec();
        bytes.extend([0x88, 0x47]);
        bytes.extend([0, 0, 0x10, 0x40].repeat(labels));
        assert_eq!(read(&bytes).1.malformed, Some(Malformed::Mpls));
        *bytes.iter_mut().rev().nth(1).unwrap() |= 1;
        assert_eq!(read(&bytes).1.malformed, None);
    }
}

/// A neighbour discovery option of length zero, and one that runs past the end: upstream walked on.
#[test]
fn nd_options_that_do_not_fit_leave_the_target_absent() {
    let good = compose(&key("icmp6,icmp_type=135,icmp_code=0,nd_target=fe80::2,nd_sll=02:00:00:00:00:03"), b"");
    for (value, at) in [(0, 79), (2, 79)] {
        let mut bytes = good.data().to_vec();
        bytes[at] = value;
        let (k, e, _) = read(&bytes);
        assert_eq!((k.nd_target.get(), e.malformed), (0, Some(Malformed::NeighborDiscovery)));
        assert_eq!(k.tp_src.get(), u16::from(ND_SOLICIT));
    }
}

#[test]
fn tcp_header_length_must_fit() {
    let good = compose(&key("tcp,tp_src=7"), b"").data().to_vec();
    for offset in [0x00, 0x40, 0x60, 0xf0] {
        let mut bytes = good.clone();
        bytes[46] = offset;
        let (k, e, layers) = read(&bytes);
        assert_eq!((k.tp_src.get(), e.malformed, layers.l4), (0, Some(Malformed::Transport), None));
    }
}

proptest! {
    #[test]
    fn any_bytes_give_a_key(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0..KINDS.len(), packet_type: u8) {
        let mut packet = Packet::from_slice(&bytes);
        let mut k = FlowKey::ZERO;
        packet.meta.packet_type = [0, 0x1_0800, 0x1_86dd, 0x1_8847][usize::from(packet_type % 4)];
        let e = extract(&mut packet, &mut k);
        let l = packet.layers();
        for at in [l.l2_5, l.l3, l.l4].into_iter().flatten() {
            prop_assert!(at <= packet.len());
        }
        prop_assert!(l.l2_pad <= packet.len());
        // Blocks that are not announced are zero.
        for (i, block) in k.words().as_chunks::<8>().0.iter().enumerate() {
            prop_assert!(e.blocks.contains(i) || *block == [0; 8]);
        }
        // Damaged packets of every kind too.
        let mut damaged = compose(&key(KINDS[kind]), &bytes).data().to_vec();
        for (i, b) in bytes.iter().enumerate().take(4) {
            let at = usize::from(*b) % damaged.len();
            damaged[at] ^= 1 << (i % 8);
        }
        read(&damaged);
    }

    #[test]
    fn a_key_buffer_forgets(first in 0..KINDS.len(), second in 0..KINDS.len()) {
        let mut buffer = KeyBuffer::default();
        for kind in [first, second] {
            let mut packet = compose(&key(KINDS[kind]), b"x");
            packet.meta.pkt_mark = kind as u32 % 3;
            let mut fresh = FlowKey::ZERO;
            let e = extract(&mut packet.clone(), &mut fresh);
            prop_assert_eq!(buffer.extract(&mut packet), e);
            prop_assert_eq!(*buffer.key(), fresh);
        }
    }

    /// Bytes that the key does not name have no influence on it.
    #[test]
    fn only_what_was_read_matters(kind in 0..KINDS.len(), a in prop::collection::vec(any::<u8>(), 30), b in prop::collection::vec(any::<u8>(), 30)) {
        let k = key(KINDS[kind]);
        prop_assert_eq!(read(compose(&k, &a).data()).0, read(compose(&k, &b).data()).0);
    }

    /// A second parser sees the same addresses and ports.
    #[test]
    fn etherparse_agrees(kind in 0..KINDS.len(), payload in prop::collection::vec(any::<u8>(), 0..60)) {
        let packet = compose(&key(KINDS[kind]), &payload);
        let (k, ..) = read(packet.data());
        let Ok(p) = etherparse::SlicedPacket::from_ethernet(packet.data()) else { return Ok(()) };
        match &p.net {
            Some(etherparse::NetSlice::Ipv4(ip)) => {
                prop_assert_eq!(ip.header().source_addr(), k.ipv4_src());
                prop_assert_eq!(ip.header().destination_addr(), k.ipv4_dst());
            }
            Some(etherparse::NetSlice::Ipv6(ip)) => {
                prop_assert_eq!(ip.header().source_addr(), k.ipv6_src());
                prop_assert_eq!(ip.header().destination_addr(), k.ipv6_dst());
            }
            _ => {}
        }
        match &p.transport {
            Some(etherparse::TransportSlice::Tcp(t)) => prop_assert_eq!((t.source_port(), t.destination_port()), (k.tp_src.get(), k.tp_dst.get())),
            Some(etherparse::TransportSlice::Udp(t)) => prop_assert_eq!((t.source_port(), t.destination_port()), (k.tp_src.get(), k.tp_dst.get())),
            _ => {}
        }
        let vid: Vec<u16> = p.vlan().into_iter().map(|v| match v {
            etherparse::VlanSlice::SingleVlan(s) => s.vlan_identifier().value(),
            etherparse::VlanSlice::DoubleVlan(d) => d.outer.vlan_identifier().value(),
        }).collect();
        prop_assert_eq!(vid.first().copied(), k.vlan_vid());
    }
}

#[test]
fn conntrack_metadata_reach_the_key() {
    let mut packet = compose(&key("tcp,nw_src=1.1.1.1,tp_src=9"), b"");
    packet.meta.ct.state = crate::packet::CtState::TRACKED | crate::packet::CtState::NEW;
    packet.meta.ct.mark = 7;
    packet.meta.ct.original =
        Some(OriginalTuple::V4 { src: [1, 1, 1, 1].into(), dst: [2, 2, 2, 2].into(), proto: 6, tp_src: 9, tp_dst: 10 });
    let mut k = FlowKey::ZERO;
    extract(&mut packet, &mut k);
    assert_eq!((k.ct_state, k.ct_mark.get(), k.ct_nw_src.get(), k.ct_tp_dst.get()), (0x21, 7, 0x0101_0101, 10));
    assert!(FieldId::CtNwSrc.info().prereq.holds(&k));
}

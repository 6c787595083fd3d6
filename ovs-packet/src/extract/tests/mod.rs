mod security;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::addr::EthAddr;
use crate::compose::compose;
use crate::field::FieldId;
use crate::key::{FRAG_ANY, FRAG_LATER, Match};
use crate::packet::{CtState, Layers, OriginalTuple, Tunnel, TunnelAddresses};

fn read(bytes: &[u8]) -> (FlowKey, Extraction, Layers) {
    let mut packet = Packet::from_slice(bytes);
    let mut key = FlowKey::ZERO;
    let extraction = extract(&mut packet, &mut key);
    (key, extraction, packet.layers())
}

fn key(text: &str) -> FlowKey {
    text.parse::<Match>().unwrap().key()
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
    "icmp6,icmp_type=135,icmp_code=0,nd_target=fe80::2",
    "ip,nw_proto=2,nw_src=10.0.0.1,nw_dst=224.0.0.5",
    "arp,arp_spa=10.0.0.1,arp_tpa=10.0.0.2,arp_op=2,arp_sha=02:00:00:00:00:05,arp_tha=02:00:00:00:00:06",
    "rarp,arp_op=3",
    "mpls,mpls_label=100,mpls_tc=5,mpls_ttl=63,mpls_bos=1",
    "ip,nw_frag=first,nw_proto=17",
];

/// The key of a kind, with what text has no words for: IGMP's members, those of neighbour discovery, a tag's type.
fn key_of(kind: usize) -> FlowKey {
    let mut key = key(KINDS[kind]);
    if key.nd_target != 0 {
        key.arp_sha = EthAddr([2, 0, 0, 0, 0, 3]);
        key.tcp_flags.set(1);
        key.igmp_group.set(0x6000_0000);
    }
    if key.nw_proto == IP_PROTO_IGMP && key.eth_type == ETH_TYPE_IPV4 {
        (key.tp_src, key.igmp_group) = (0x16.into(), 0xe000_0005.into());
    }
    if key.vlan_tci != 0 {
        key.vlan_tpid.set(ETH_TYPE_VLAN);
    }
    key
}

#[test]
fn composed_packets_read_back() {
    for (kind, text) in KINDS.iter().enumerate() {
        let wanted = key_of(kind);
        let packet = compose(&wanted, b"some payload");
        let (seen, extraction, layers) = read(packet.data());
        assert_eq!((seen, extraction.malformed), (wanted, None), "{text}");
        assert_eq!(layers, packet.layers(), "{text}");
    }
}

#[test]
fn later_fragments_have_no_transport() {
    for text in ["ip,nw_proto=6,nw_src=1.1.1.1", "ipv6,nw_proto=44,ipv6_src=::1"] {
        let wanted = FlowKey { nw_frag: FRAG_ANY | FRAG_LATER, ..key(text) };
        let (seen, _, layers) = read(compose(&wanted, &[0xff; 40]).data());
        assert_eq!((seen, layers.l4), (wanted, None));
    }
}

/// A fragment header makes a packet a fragment as soon as any of its last 16 bits is set, reserved ones included.
#[test]
fn an_ipv6_fragment_header_of_zeros_makes_no_fragment() {
    let first = compose(&FlowKey { nw_frag: FRAG_ANY, ..key("udp6,ipv6_src=::1,tp_src=1,tp_dst=2") }, b"x");
    for (field, frag, ports) in [(0u16, 0, 1), (1, 1, 1), (2, 1, 1), (6, 1, 1), (8, 3, 0), (9, 3, 0), (0xfff8, 3, 0)] {
        let mut bytes = first.data().to_vec();
        bytes[56..58].copy_from_slice(&field.to_be_bytes());
        let (k, ..) = read(&bytes);
        assert_eq!((k.nw_frag, k.tp_src.get()), (frag, ports), "{field:#x}");
        assert_eq!(k.nw_proto, if frag == 3 { 44 } else { 17 });
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
    for (limit, inner) in [(0, 0x1007), (1, 0), (2, 0x1007), (200, 0x1007)] {
        let mut packet = Packet::from_slice(&bytes);
        Extractor::new().with_vlan_limit(limit).extract(&mut packet, &mut FlowKey::ZERO.clone());
        let mut buffer = KeyBuffer::default();
        Extractor::new().with_vlan_limit(limit).extract_into(&mut packet, &mut buffer);
        assert_eq!((buffer.key().inner_vlan_tci.get(), buffer.key().vlan_tci.get()), (inner, 0x3005));
    }
}

/// A tag that is cut short is none: the packet has the tag's type.
#[test]
fn a_tag_that_is_cut_short_is_no_tag() {
    let mut bytes = vec![0; 12];
    bytes.extend([0x88, 0xa8, 0x20, 0x05, 0x81, 0x00, 0x00, 0x07, 0x08]);
    for (len, types, l3) in [(17, (0x88a8, 0), 14), (18, (0x8100, 0x3005), 18), (21, (0x8100, 0x3005), 18)] {
        let (k, e, layers) = read(&bytes[..len]);
        assert_eq!((k.eth_type.get(), k.vlan_tci.get()), types, "{len}");
        assert_eq!((e.malformed, layers.l3), (Some(Malformed::Vlan), Some(l3)), "{len}");
    }
}

#[test]
fn snap_names_an_ethertype() {
    let mut bytes = [0; 12].to_vec();
    bytes.extend([0, 8, 0xaa, 0xaa, 3, 0, 0, 0, 0x88, 0xcc]);
    assert_eq!(read(&bytes).0.eth_type.get(), ETH_TYPE_LLDP);
    bytes[17] = 1;
    assert_eq!(read(&bytes).0.eth_type.get(), NO_ETHERTYPE);
    // An IPv4 packet behind it is read; a tag is not.
    let ip = compose(&key("udp,nw_src=1.1.1.1,tp_src=3"), b"");
    let mut bytes = ip.data()[..12].to_vec();
    bytes.extend([0, 50, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0]);
    bytes.extend(&ip.data()[14..]);
    let (k, e, layers) = read(&bytes);
    assert_eq!((k.tp_src.get(), e.malformed, layers.l3, layers.l4), (3, None, Some(22), Some(42)));
    bytes[20..22].copy_from_slice(&[0x81, 0]);
    assert_eq!(read(&bytes).0.eth_type.get(), ETH_TYPE_VLAN);
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
    assert_eq!((k.ipv6_src.get(), k.nw_proto, k.nw_ttl), (1, 0, 0));
    // Mobility, host identity and shim6 are protocols of their own.
    for proto in [135, 139, 140, 59, 50] {
        bytes[20] = proto;
        let (k, e, layers) = read(&bytes);
        assert_eq!((k.nw_proto, e.malformed, layers.l4), (proto, None, Some(54)));
    }
}

/// The stack's end decides; what the labels mean, nobody looks at.
#[test]
fn label_stacks_keep_three_entries() {
    for labels in 1..6 {
        let mut bytes = vec![0; 12];
        bytes.extend([0x88, 0x47]);
        (1..=labels).for_each(|i| bytes.extend([0, 0, (i as u8) << 4 | u8::from(i == labels), 64]));
        bytes.extend(&compose(&key("udp,nw_src=1.1.1.1"), b"").data()[14..]);
        let (k, e, layers) = read(&bytes);
        let kept: Vec<u32> = k.mpls_lse.iter().map(|lse| lse.get() >> 12).collect();
        let wanted: Vec<u32> = (1..=3).map(|i| if i <= labels { i } else { 0 }).collect();
        assert_eq!((kept, k.nw_src.get(), e.malformed), (wanted, 0, None));
        assert_eq!((layers.l2_5, layers.l3), (Some(14), Some(14 + 4 * labels as usize)));
    }
}

#[test]
fn packets_may_begin_at_layer_3() {
    let ip = compose(&key("tcp,nw_src=1.1.1.1,tp_src=3"), b"");
    let mut packet = Packet::from_slice(&ip.data()[14..]);
    packet.meta.packet_type = 0x1_0800;
    let mut k = FlowKey::ZERO;
    assert_eq!(extract(&mut packet, &mut k).malformed, None);
    assert_eq!((k.eth_type.get(), k.tp_src.get(), k.packet_type.get()), (0x0800, 3, 0x1_0800));
    assert_eq!((packet.layers().l3, packet.layers().l4), (Some(0), Some(20)));
    let mut packet = Packet::from_slice(&[0, 1, 0x11, 64, 9]);
    packet.meta.packet_type = 0x1_8847;
    assert_eq!(extract(&mut packet, &mut k).malformed, None);
    assert_eq!((k.mpls_lse[0].get(), packet.layers().l2_5, packet.layers().l3), (0x11140, Some(0), Some(4)));
}

#[test]
fn service_headers_are_read() {
    let mut bytes = vec![0; 12];
    // Flags 2, TTL 63, length 6 words; type 1, next Ethernet; path 0x123456, index 255; four words of context.
    bytes.extend([0x89, 0x4f, 0x2f, 0xc6, 1, 3, 0x12, 0x34, 0x56, 0xff]);
    (1..=4u32).for_each(|c| bytes.extend(c.to_be_bytes()));
    let (k, e, layers) = read(&bytes);
    assert_eq!((k.nsh_flags, k.nsh_ttl, k.nsh_mdtype, k.nsh_np, k.nsh_path.get()), (2, 63, 1, 3, 0x1234_56ff));
    assert_eq!((k.nsh_context.map(|c| c.get()), e.malformed, layers.l3), ([1, 2, 3, 4], None, Some(14)));
    // Type 2 keeps its context to itself, and so does one that nobody knows.
    for mdtype in [2, 7] {
        bytes[16] = mdtype;
        let (k, e, _) = read(&bytes);
        assert_eq!((k.nsh_mdtype, k.nsh_context.map(|c| c.get()), e.malformed), (mdtype, [0; 4], None));
    }
    bytes[16] = 1;
    for (at, value) in [(14, 0x6f), (15, 0xc5), (15, 0xc7), (15, 0xff)] {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        let (k, e, _) = read(&bytes);
        assert_eq!((k.nsh_mdtype, k.nsh_path.get(), e.malformed), (0, 0, Some(Malformed::Nsh)), "{at} {value:#x}");
    }
    assert_eq!(read(&bytes[..21]).1.malformed, Some(Malformed::Nsh));
    // Type 1 has four words of context, no more.
    bytes[15] = 0xc7;
    bytes.extend([0; 4]);
    assert_eq!(read(&bytes).1.malformed, Some(Malformed::Nsh));
}

#[test]
fn ipv4_options_are_stepped_over() {
    for words in 5..=15u8 {
        let mut bytes = compose(&key("tcp,nw_src=1.1.1.1,tp_src=3"), b"x").data().to_vec();
        let options = 4 * usize::from(words - 5);
        bytes.splice(34..34, vec![1; options]);
        (bytes[14], bytes[17]) = (0x40 | words, bytes[17] + options as u8);
        let (k, e, layers) = read(&bytes);
        assert_eq!((k.tp_src.get(), e.malformed, layers.l4), (3, None, Some(34 + options)));
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

/// A message of neighbour discovery with these bytes behind its first eight.
fn discovery(kind: u8, behind: &[u8]) -> Vec<u8> {
    let mut bytes = compose(&key("ipv6,nw_proto=99,ipv6_src=::1"), b"").data().to_vec();
    bytes[20] = IP_PROTO_ICMPV6;
    bytes.extend([kind, 0, 0, 0, 0x80, 0, 0, 1]);
    bytes.extend(behind);
    let len = (bytes.len() - 54) as u16;
    bytes[18..20].copy_from_slice(&len.to_be_bytes());
    bytes
}

#[test]
fn neighbour_discovery_tells_which_option_came_first() {
    let (sll, tll, other) = ([1, 1, 2, 0, 0, 0, 0, 1], [2, 1, 2, 0, 0, 0, 0, 2], [14, 1, 9, 9, 9, 9, 9, 9]);
    let cases: [(&[[u8; 8]], u16); 6] = [
        (&[], 0),
        (&[sll], 1),
        (&[tll], 2),
        (&[sll, tll], 1),
        (&[other, tll, sll], 2),
        (&[[1, 1, 0, 0, 0, 0, 0, 0], sll], 1),
    ];
    for (options, first) in cases {
        let mut behind = vec![0xfe; 16];
        behind.extend(options.concat());
        let (k, e, layers) = read(&discovery(ND_ADVERT, &behind));
        let has =
            |option| if options.contains(&option) { EthAddr([2, 0, 0, 0, 0, option[0]]) } else { EthAddr([0; 6]) };
        assert_eq!((k.nd_target.get(), k.arp_sha, k.arp_tha), (u128::from_be_bytes([0xfe; 16]), has(sll), has(tll)));
        assert_eq!((k.tcp_flags.get(), k.igmp_group.get(), e.malformed), (first, 0x8000_0001, None));
        assert_eq!(layers.l4, Some(54));
    }
    // A message too short for a target has its reserved word.
    let (k, e, layers) = read(&discovery(ND_SOLICIT, &[0xfe; 15]));
    assert_eq!((k.nd_target.get(), k.igmp_group.get(), layers.l4), (0, 0x8000_0001, Some(54)));
    assert_eq!((k.tp_src.get(), e.malformed), (135, Some(Malformed::NeighborDiscovery)));
}

#[test]
fn group_addresses_are_read() {
    let (k, e, _) = read(compose(&key_of(KINDS.iter().position(|k| k.contains("nw_proto=2,")).unwrap()), b"").data());
    assert_eq!((k.tp_src.get(), k.igmp_group.get(), e.malformed), (0x16, 0xe000_0005, None));
    // Over IPv6 that number is no IGMP, nor is ICMP's number ICMP; they have no header that is read.
    for proto in [IP_PROTO_IGMP, IP_PROTO_ICMP] {
        let mut bytes = compose(&key("ipv6,ipv6_src=::1,nw_proto=99"), &[7; 8]).data().to_vec();
        bytes[20] = proto;
        let (k, e, layers) = read(&bytes);
        assert_eq!((k.tp_src.get(), k.nw_proto, e.malformed, layers.l4), (0, proto, None, Some(54)));
    }
}

/// What the common packets' own code says of any packet, the code for all packets says too.
fn the_common_code_agrees(packet: &mut Packet) -> bool {
    let (mut fast, mut whole) = (FlowKey::ZERO, FlowKey::ZERO);
    let common = common::extract(packet, &mut fast);
    let layers = packet.layers();
    let (data, meta, _, places) = packet.for_extraction().unwrap();
    let e = Extractor::new().frame(data, meta, &mut whole, places);
    if let Some(blocks) = common {
        assert_eq!((fast, Extraction::good(blocks), layers), (whole, e, packet.layers()));
    }
    common.is_some()
}

#[test]
fn common_packets_are_found_common() {
    let common = ["tcp", "udp", "icmp", "tcp6", "udp6", "icmp6"];
    for (kind, text) in KINDS.iter().enumerate() {
        let mut packet = compose(&key_of(kind), b"x");
        let is = common.iter().any(|c| text.starts_with(&[c, ","].concat())) && key_of(kind).nd_target == 0;
        assert_eq!(the_common_code_agrees(&mut packet), is, "{text}");
        packet.meta.recirc_id = 5;
        assert_eq!(the_common_code_agrees(&mut packet), is, "{text}");
        packet.meta.packet_type = 0x1_0800;
        assert!(!the_common_code_agrees(&mut packet));
    }
}

proptest! {
    #[test]
    fn common_code_and_code_for_all_agree(
        kind in 0..7usize, tags in 0..3usize, payload in prop::collection::vec(any::<u8>(), 0..40),
        damage in prop::collection::vec((0..90usize, any::<u8>()), 0..3), cut in 0..160usize, pad in 0..20usize,
    ) {
        let kinds = [
            "tcp,nw_src=1.1.1.1", "udp,nw_dst=2.2.2.2", "tcp6,ipv6_dst=::9", "udp6,ipv6_src=::7", "icmp,icmp_type=8",
            "icmp6,icmp_type=128", "icmp6,icmp_type=135,icmp_code=0,nd_target=::1",
        ];
        let mut bytes = compose(&key(kinds[kind]), &payload).data().to_vec();
        for tag in 0..tags {
            bytes.splice(12..12, [0x81, 0, 0x20, tag as u8]);
        }
        bytes.resize(bytes.len() + pad, 0);
        for (at, value) in damage {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        bytes.truncate(cut.max(cut / 40 * 1000));
        let mut packet = Packet::from_slice(&bytes);
        packet.meta.in_port = 7;
        the_common_code_agrees(&mut packet);
    }

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
        let mut damaged = compose(&key_of(kind), &bytes).data().to_vec();
        for (i, b) in bytes.iter().enumerate().take(4) {
            let at = usize::from(*b) % damaged.len();
            damaged[at] ^= 1 << (i % 8);
        }
        read(&damaged);
    }

    #[test]
    fn a_key_buffer_forgets(kinds: [(prop::sample::Index, u8); 6], cut in 10..80usize) {
        let mut buffer = KeyBuffer::default();
        for (kind, extras) in kinds {
            let mut packet = compose(&key_of(kind.index(KINDS.len())), b"x");
            if extras & 1 != 0 {
                packet.meta.pkt_mark = 5;
            }
            if extras & 2 != 0 {
                let options = (0..extras).collect();
                let addresses = TunnelAddresses::V4 { src: [1; 4].into(), dst: [2; 4].into() };
                packet.tunnel = Some(Box::new(Tunnel { options, ..Tunnel::new(addresses) }));
            }
            if extras & 4 != 0 {
                packet.meta.ct.state = CtState::TRACKED;
                packet.meta.ct.original = Some(OriginalTuple::V6 { src: 1.into(), dst: 2.into(), proto: 6, tp_src: 1, tp_dst: 2 });
            }
            if extras & 8 != 0 {
                packet.truncate(cut);
            }
            let mut fresh = FlowKey::ZERO;
            let e = extract(&mut packet.clone(), &mut fresh);
            prop_assert_eq!(buffer.extract(&mut packet), e);
            prop_assert_eq!(*buffer.key(), fresh);
            prop_assert_eq!((buffer.blocks(), buffer.extraction()), (e.blocks, e));
            // What is known beside its bytes changes, and changes back.
            let (meta, tunnel) = (packet.meta, packet.tunnel.take());
            packet.meta.recirc_id ^= 7;
            packet.meta.ct.state ^= CtState::ESTABLISHED;
            packet.meta.dp_hash ^= cut as u32;
            let e = extract(&mut packet.clone(), &mut fresh);
            prop_assert_eq!((Extractor::new().extract_again(&mut packet, &mut buffer), *buffer.key()), (e, fresh));
            (packet.meta, packet.tunnel) = (meta, tunnel);
            let e = extract(&mut packet.clone(), &mut fresh);
            prop_assert_eq!((Extractor::new().extract_again(&mut packet, &mut buffer), *buffer.key()), (e, fresh));
        }
    }

    #[test]
    fn a_batch_is_read_as_its_packets_are(kinds in prop::collection::vec(0..KINDS.len(), 0..40), keys in 0..40usize) {
        let mut packets: Vec<Packet> = kinds.iter().map(|kind| compose(&key_of(*kind), b"x")).collect();
        let mut buffers = vec![KeyBuffer::default(); keys];
        Extractor::new().extract_batch(&mut packets, &mut buffers);
        for (packet, buffer) in packets.iter_mut().zip(&buffers) {
            let mut fresh = FlowKey::ZERO;
            prop_assert_eq!(extract(packet, &mut fresh), buffer.extraction());
            prop_assert_eq!(*buffer.key(), fresh);
        }
    }

    /// Bytes that the key does not name have no influence on it.
    #[test]
    fn only_what_was_read_matters(kind in 0..KINDS.len(), a in prop::collection::vec(any::<u8>(), 30), b in prop::collection::vec(any::<u8>(), 30)) {
        let k = key_of(kind);
        prop_assert_eq!(read(compose(&k, &a).data()).0, read(compose(&k, &b).data()).0);
    }

    /// A second parser sees the same addresses and ports.
    #[test]
    fn etherparse_agrees(kind in 0..KINDS.len(), payload in prop::collection::vec(any::<u8>(), 0..60)) {
        let packet = compose(&key_of(kind), &payload);
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
    packet.meta.ct.state = CtState::TRACKED | CtState::NEW;
    packet.meta.ct.mark = 7;
    let tuple =
        OriginalTuple::V4 { src: [1, 1, 1, 1].into(), dst: [2, 2, 2, 2].into(), proto: 6, tp_src: 9, tp_dst: 10 };
    packet.meta.ct.original = Some(tuple);
    let mut k = FlowKey::ZERO;
    extract(&mut packet, &mut k);
    assert_eq!((k.ct_state, k.ct_mark.get(), k.ct_nw_src.get(), k.ct_tp_dst.get()), (0x21, 7, 0x0101_0101, 10));
    assert!(FieldId::CtNwSrc.info().prereq.holds(&k));
    // A later fragment has the ports of the connection, though none of its own.
    let mut later = compose(&FlowKey { nw_frag: FRAG_ANY | FRAG_LATER, ..key("ip,nw_proto=6") }, b"x");
    later.meta.ct = packet.meta.ct;
    extract(&mut later, &mut k);
    assert_eq!((k.tp_src.get(), k.ct_tp_src.get()), (0, 9));
    // A packet that is no longer IPv4, or whose header is not right, has state and mark but no tuple.
    let mut labelled = compose(&key("mpls,mpls_bos=1"), b"x");
    let mut broken = Packet::from_slice(&packet.data()[..30]);
    let mut other = compose(&key("tcp6,tp_src=9"), b"");
    for p in [&mut labelled, &mut broken, &mut other] {
        p.meta.ct = packet.meta.ct;
        extract(p, &mut k);
        assert_eq!(
            (k.ct_state, k.ct_mark.get(), k.ct_nw_proto, k.ct_nw_src.get(), k.ct_tp_src.get()),
            (0x21, 7, 0, 0, 0)
        );
    }
    // What was not tracked has nothing, whatever is left in the metadata.
    packet.meta.ct.state = CtState::empty();
    assert_eq!(extract(&mut packet, &mut k).blocks, BlockSet::CORE);
    assert_eq!((k.ct_mark.get(), k.ct_nw_proto), (0, 0));
}

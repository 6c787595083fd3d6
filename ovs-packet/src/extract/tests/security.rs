//! Packets that broke others, and what they are here.

use std::format;
use std::string::String;

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .as_chunks::<2>()
        .0
        .iter()
        .map(|b| u8::from_str_radix(str::from_utf8(b).unwrap(), 16).unwrap())
        .collect()
}

/// Addresses of most of these frames.
const L2: &str = "50540000000a505400000009";
/// An IPv6 header from fe80::1 to fe80::2 behind its first four bytes, which say payload length and protocol.
const V6: &str = "fe800000000000000000000000000001fe800000000000000000000000000002";

/// CVE-2016-2074: a label stack longer than the key, and without an end.
#[test]
fn cve_2016_2074_a_label_stack_without_end() {
    for labels in [1, 3, 64, 400, 20_000] {
        let mut frame = bytes(&format!("{L2}8847"));
        frame.extend([0, 1, 0, 0x40].repeat(labels));
        let (k, e, layers) = read(&frame);
        assert_eq!((e.malformed, layers.l2_5, layers.l3), (Some(Malformed::Mpls), Some(14), None));
        assert_eq!(k.mpls_lse.map(|lse| lse.get()), [0, 1, 2].map(|i| if i < labels { 0x10040 } else { 0 }));
        *frame.iter_mut().rev().nth(1).unwrap() |= 1;
        let (_, e, layers) = read(&frame);
        let end = 14 + 4 * labels;
        assert_eq!((e.malformed, layers.l3), (None, Some(end).filter(|end| *end < 65535)));
    }
}

/// CVE-2016-10377: a header length beyond the total length.
#[test]
fn cve_2016_10377_header_beyond_the_datagram() {
    let frame = format!("{L2}08004b00002800010000401154b60a0000010a00000201010101010101010101010101010101010101010101");
    let (k, e, layers) = read(&bytes(&frame));
    assert_eq!((k.nw_src.get(), k.nw_proto, k.eth_type.get()), (0, 0, ETH_TYPE_IPV4));
    assert_eq!((e.malformed, layers.l3, layers.l4), (Some(Malformed::Ipv4), Some(14), None));
    let good = compose(&key("tcp,nw_src=1.1.1.1,tp_src=1"), b"").data().to_vec();
    for (at, value) in [(14, 0x4b), (14, 0x44), (14, 0x40), (16, 0xff), (17, 19), (17, 0)] {
        let mut bytes = good.clone();
        bytes[at] = value;
        let (k, e, layers) = read(&bytes);
        assert_eq!((k.nw_src.get(), k.nw_proto, k.tp_src.get()), (0, 0, 0), "{at} {value}");
        assert_eq!((k.eth_type.get(), e.malformed, layers.l4), (ETH_TYPE_IPV4, Some(Malformed::Ipv4), None));
    }
}

/// CVE-2017-9264: transport headers that end before they should.
#[test]
fn cve_2017_9264_transport_cut_short() {
    let tcp = format!("{L2}08004500001800010000400666dd0a0000010a00000204000050");
    let (k, e, layers) = read(&bytes(&tcp));
    assert_eq!((k.nw_proto, k.nw_ttl, k.tp_src.get(), k.tp_dst.get()), (6, 64, 0, 0));
    assert_eq!((e.malformed, layers.l4), (Some(Malformed::Transport), None));
    // UDP's own length is for those who read its payload; its ports are there.
    let udp = format!("{L2}08004500002000010000401166ca0a0000010a00000203e800350400000061626364");
    let (k, e, layers) = read(&bytes(&udp));
    assert_eq!((k.tp_src.get(), k.tp_dst.get(), e.malformed, layers.l4), (1000, 53, None, Some(34)));
    let icmp = format!("{L2}86dd60000000001c3aff{V6}01000000000000006000000000000640000000000000000000000000");
    let (k, e, layers) = read(&bytes(&icmp));
    assert_eq!((k.tp_src.get(), k.tp_dst.get(), e.malformed, layers.l4), (1, 0, None, Some(54)));
}

/// CVE-2020-35498: more than 255 bytes of padding made a packet look as if it were not IP.
#[test]
fn cve_2020_35498_padding_of_any_size_is_padding() {
    let frame = bytes(&format!("{L2}08004500001c00010000401176cc010101010101010203e8003500080000"));
    for pad in [0, 1, 6, 255, 256, 1000, 65_000, 65_535] {
        let mut frame = frame.clone();
        frame.resize(frame.len() + pad, 0);
        let (k, e, layers) = read(&frame);
        assert_eq!((k.nw_dst.get(), k.tp_src.get(), e.malformed), (0x0101_0102, 1000, None));
        assert_eq!((layers.l2_pad, layers.l4), (pad, Some(34)));
    }
    // What no length field could ever have said is no padding.
    let mut frame = frame.clone();
    frame.resize(frame.len() + 65_536, 0);
    let (k, e, layers) = read(&frame);
    assert_eq!((k.nw_dst.get(), e.malformed, layers.l2_pad), (0, Some(Malformed::Ipv4), 0));
}

/// CVE-2023-1668: protocol 0 is a protocol.
#[test]
fn cve_2023_1668_protocol_zero() {
    let (k, e, layers) = read(&bytes(&format!("{L2}08004500001c000100004000f77bc0a80101c0a801140800000000010001")));
    assert_eq!((k.nw_src.get(), k.nw_dst.get(), k.nw_proto), (0xc0a8_0101, 0xc0a8_0114, 0));
    assert_eq!((k.tp_src.get(), e.malformed, layers.l4, layers.l4_proto), (0, None, Some(34), 0));
}

/// CVE-2023-5366: the target is there for rules on it to match.
#[test]
fn cve_2023_5366_advertisement() {
    let behind = "8700000000000000fe8000000000000000000000000000020101505400000009";
    let (k, e, _) = read(&bytes(&format!("{L2}86dd6000000000203aff{V6}{behind}")));
    assert_eq!((k.nd_target.get(), k.arp_sha.0), (0xfe80 << 112 | 2, [0x50, 0x54, 0, 0, 0, 9]));
    assert_eq!((k.tp_src.get(), k.nw_ttl, e.malformed), (135, 255, None));
}

/// Commit 4fe080160 of the reference: a payload length beyond the packet.
#[test]
fn ipv6_payload_beyond_the_packet() {
    let (k, e, layers) = read(&bytes(&format!("{L2}86dd60000000003011ff{V6}03e8003500080000")));
    assert_eq!((k.ipv6_src.get(), k.nw_proto, k.tp_dst.get()), (0, 0, 0));
    assert_eq!((e.malformed, layers.l3, layers.l4, layers.l2_pad), (Some(Malformed::Ipv6), Some(14), None, 0));
}

/// Commit 14fae3e09 of the reference: a service header that says it is longer than the packet.
#[test]
fn nsh_beyond_the_packet() {
    let (k, e, _) = read(&bytes(&format!("{L2}894f003f0103000001ff")));
    assert_eq!((k.nsh_mdtype, k.nsh_path.get(), e.malformed), (0, 0, Some(Malformed::Nsh)));
}

/// Commits e150d4099 and 0a1303287 of the reference: an option that says it is longer than the message, and one of no
/// length at all. What stands before is read; nothing behind.
#[test]
fn nd_options_beyond_the_message() {
    let target = "fe800000000000000000000000000002";
    for bad in ["0eff000000000000", "0e00000000000000", "0103505400000009", "0100505400000009"] {
        let behind = format!("8700000000000000{target}{bad}0101505400000009");
        let (k, e, layers) = read(&bytes(&format!("{L2}86dd6000000000283aff{V6}{behind}")));
        assert_eq!((k.nd_target.get(), k.arp_sha.0, k.tcp_flags.get()), (0xfe80 << 112 | 2, [0; 6], 0));
        assert_eq!((e.malformed, layers.l4), (Some(Malformed::NeighborDiscovery), Some(54)));
    }
    // An address that is given twice: whoever reads the first and whoever reads the last would disagree.
    let twice: String = ["0101505400000009", "0101505400000008"].concat();
    let (k, e, layers) = read(&bytes(&format!("{L2}86dd6000000000283aff{V6}8700000020000000{target}{twice}")));
    assert_eq!((k.nd_target.get(), k.arp_sha.0, k.igmp_group.get()), (0, [0; 6], 0x2000_0000));
    assert_eq!((e.malformed, layers.l4), (Some(Malformed::NeighborDiscovery), Some(54)));
}

/// CVE-2021-3905 and commit c3f4d9fe5 of the reference: fragments, first and later, whole datagrams or not.
#[test]
fn cve_2021_3905_fragments() {
    for (field, frag, l4) in [(0x2000u16, 1, Some(34)), (0x2009, 3, None), (0x1fff, 3, None), (0x8000, 0, Some(34))] {
        let mut frame = bytes(&format!("{L2}0800450005dc000020004011410f0a0000010a000002"));
        frame[20..22].copy_from_slice(&field.to_be_bytes());
        frame.resize(14 + 0x5dc, 7);
        let (k, e, layers) = read(&frame);
        assert_eq!((k.nw_frag, k.tp_src.get(), k.nw_proto), (frag, if l4.is_some() { 0x0707 } else { 0 }, 17));
        assert_eq!((e.malformed, layers.l4), (None, l4));
    }
}

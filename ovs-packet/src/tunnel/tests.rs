use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::compose::compose;
use crate::field::KeyAttr;
use crate::packet::{IpChecksum, L4Checksum, Packet, TunnelAddresses, TunnelFlags};
use crate::wire::tests::hex;
use crate::wire::{Wire, bareudp, erspan, geneve, gre, gtpu, srv6, vxlan};
use crate::{FlowKey, Match, edit, extract, segment};

const V4: &str = "nw_src=192.0.2.1,nw_dst=192.0.2.2,nw_ttl=63,nw_tos=40";
const V6: &str = "ipv6_src=2001:db8::1,ipv6_dst=2001:db8::2,nw_ttl=62,nw_tos=40";

/// Ethernet, IP and, where there is a port, UDP of an outer header.
fn outer(v6: bool, proto: u8, udp: Option<u16>) -> Vec<u8> {
    let text = match (v6, udp) {
        (false, Some(port)) => format!("udp,{V4},tp_dst={port}"),
        (true, Some(port)) => format!("udp6,{V6},tp_dst={port}"),
        (false, None) => format!("ip,{V4},nw_proto={proto}"),
        (true, None) => format!("ipv6,{V6},nw_proto={proto}"),
    };
    let m: Match = text.parse().unwrap();
    let len = 14 + if v6 { 40 } else { 20 } + if udp.is_some() { 8 } else { 0 };
    compose(m.key(), &[]).data()[..len].to_vec()
}

/// Every tunnel there is, with what takes it off again, and what it says.
fn tunnels(v6: bool) -> Vec<(&'static str, Header, Kind, u64)> {
    let mut all = Vec::new();
    let mut add = |name, mut bytes: Vec<u8>, rest: Vec<u8>, finish, kind, id| {
        bytes.extend(rest);
        all.push((name, Header::new(bytes, finish).unwrap(), kind, id));
    };
    let udp = |port| outer(v6, 17, Some(port));
    for checksum in [false, true] {
        let finish = Finish::Udp { checksum, source: None };
        let plain = vxlan::Header { vni: 0xabcdef, ..Default::default() };
        add("vxlan", udp(4789), plain.to_vec().unwrap(), finish, Kind::Vxlan { gbp: false, gpe: false }, 0xabcdef);
        let policy = vxlan::Extension::Policy { id: 513, dont_learn: true, applied: true };
        let header = vxlan::Header { vni: 1, extension: policy }.to_vec().unwrap();
        add("vxlan-gbp", udp(4789), header, finish, Kind::Vxlan { gbp: true, gpe: false }, 1);
        let next = vxlan::Extension::Protocol { next: vxlan::NextProtocol::ETHERNET, oam: false };
        let header = vxlan::Header { vni: 2, extension: next }.to_vec().unwrap();
        add("vxlan-gpe", udp(4790), header, finish, Kind::Vxlan { gbp: false, gpe: true }, 2);
        let data = [1, 2, 3, 4].into_iter().collect();
        let options = vec![geneve::Opt { class: 0x102, kind: 0x80, data }];
        let header = geneve::Header { vni: 3, oam: true, options, ..Default::default() }.to_vec().unwrap();
        add("geneve", udp(6081), header, finish, Kind::Geneve, 3);
        let sum = checksum.then_some(0);
        let header = gre::Header { checksum: sum, key: Some(77), sequence: Some(0), ..Default::default() };
        add("gre", outer(v6, 47, None), header.to_vec().unwrap(), Finish::Gre, Kind::Gre, 77);
    }
    for header in [erspan::Header::type_ii(5, 0xfffff), erspan::Header::type_iii(6, 0x3f, true)] {
        let mut bytes = header.gre(0).to_vec().unwrap();
        bytes.extend(header.to_vec().unwrap());
        let id = header.session.into();
        add("erspan", outer(v6, 47, None), bytes, Finish::Erspan, Kind::Erspan, id);
    }
    let bare = bareudp::Mode { eth_type: 0x8847, multiprotocol: false };
    add("bareudp", udp(6635), vec![], Finish::Udp { checksum: true, source: Some(9) }, Kind::Bareudp(bare), 0);
    if v6 {
        let header = srv6::Header { segments_left: 0, ..srv6::Header::of_path(143, &["2001:db8::2".parse().unwrap()]) };
        add("srv6", outer(true, 43, None), header.to_vec().unwrap(), Finish::Srv6(FlowLabel::Compute), Kind::Srv6, 0);
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_was_pushed_is_popped(
        payload in prop::collection::vec(any::<u8>(), 60..600), source: u16, sequence: u32, timestamp: u32, label: u32,
    ) {
        let varying = Varying { source, sequence, timestamp, label, identification: sequence as u16 };
        for v6 in [false, true] {
            for (name, header, kind, id) in tunnels(v6) {
                let mut packet = Packet::from_slice(&payload);
                packet.meta.in_port = 3;
                push(&mut packet, &header, varying).unwrap();
                prop_assert_eq!(packet.len(), header.bytes().len() + payload.len());
                let mut undone = packet.clone();
                on_the_wire(&mut packet);
                // A second opinion on every length and checksum of the outer header.
                let mut key = FlowKey::ZERO;
                prop_assert_eq!(extract::extract(&mut packet, &mut key).malformed, None, "{}", name);
                let wire = etherparse::PacketHeaders::from_ethernet_slice(packet.data()).unwrap();
                match &wire.net {
                    Some(etherparse::NetHeaders::Ipv4(ip, _)) => {
                        prop_assert_eq!(ip.header_checksum, ip.calc_header_checksum());
                        prop_assert_eq!(usize::from(ip.total_len), packet.len() - 14);
                        prop_assert_eq!(ip.identification, sequence as u16);
                        if let Some(etherparse::TransportHeader::Udp(udp)) = &wire.transport {
                            let sum = udp.calc_checksum_ipv4(ip, wire.payload.slice()).unwrap();
                            prop_assert!(udp.checksum == 0 || udp.checksum == sum, "{}", name);
                        }
                    }
                    Some(etherparse::NetHeaders::Ipv6(ip, _)) => {
                        prop_assert_eq!(usize::from(ip.payload_length), packet.len() - 54);
                        if let Some(etherparse::TransportHeader::Udp(udp)) = &wire.transport {
                            let sum = udp.calc_checksum_ipv6(ip, wire.payload.slice()).unwrap();
                            prop_assert!(udp.checksum == 0 || udp.checksum == sum, "{}", name);
                        }
                    }
                    other => prop_assert!(false, "{:?}", other),
                }
                let covered = header.covers_payload();
                let sent = packet.clone();
                pop(&mut packet, kind).unwrap();
                prop_assert_eq!(packet.data(), &payload[..], "{}", name);
                prop_assert_eq!(packet.meta.in_port, 3);
                let tunnel = packet.tunnel.as_deref().unwrap();
                prop_assert_eq!(tunnel.id, id, "{}", name);
                prop_assert_eq!(tunnel.tos, 40);
                prop_assert_eq!(tunnel.ttl, if v6 { 62 } else { 63 });
                let there = match tunnel.addresses {
                    TunnelAddresses::V4 { dst, .. } => dst.octets() == [192, 0, 2, 2],
                    TunnelAddresses::V6 { dst, .. } => dst.to_string() == "2001:db8::2",
                };
                prop_assert!(there);
                prop_assert_eq!(tunnel.flags.contains(TunnelFlags::CHECKSUM), covered);
                // Nobody sends it, and nothing is computed in between.
                pop(&mut undone, kind).unwrap();
                prop_assert_eq!((undone.data(), undone.tunnel.clone()), (&payload[..], packet.tunnel.clone()), "{}", name);
                prop_assert!(!undone.offload.is_pending());
                // A bit that is wrong behind a header that covers it is found; so is an end that is not there.
                let mut bad = sent.clone();
                if covered {
                    *bad.data_mut().last_mut().unwrap() ^= 4;
                    prop_assert!(pop(&mut bad, kind).is_err(), "{}", name);
                    prop_assert_eq!(bad.len(), sent.len());
                }
                let mut short = sent.clone();
                short.truncate(sent.len() - 1);
                prop_assert!(pop(&mut short, kind).is_err(), "{}", name);
            }
        }
    }

    #[test]
    fn any_bytes_are_popped_or_left_as_they_are(
        which in 0usize..14, v6: bool, cut in 0usize..200, flips in prop::collection::vec((0usize..200, any::<u8>()), 0..6),
    ) {
        let all = tunnels(v6);
        let (_, header, kind, _) = &all[which % all.len()];
        let mut packet = Packet::from_slice(&[0x5a; 100]);
        push(&mut packet, header, Varying::default()).unwrap();
        on_the_wire(&mut packet);
        for (at, with) in flips {
            if let Some(byte) = packet.data_mut().get_mut(at) {
                *byte = with;
            }
        }
        packet.truncate(cut);
        let before = packet.data().to_vec();
        if pop(&mut packet, *kind).is_err() {
            prop_assert_eq!(packet.data(), &before[..]);
            prop_assert!(packet.tunnel.is_none());
        }
    }
}

fn one(v6: bool, name: &str) -> (Header, Kind) {
    let all = tunnels(v6);
    let (_, header, kind, _) = all.into_iter().find(|t| t.0 == name).unwrap();
    (header, kind)
}

fn pushed(v6: bool, name: &str) -> (Packet, Kind) {
    let (header, kind) = one(v6, name);
    let mut packet = Packet::from_slice(&[0x5a; 60]);
    push(&mut packet, &header, Varying::default()).unwrap();
    on_the_wire(&mut packet);
    (packet, kind)
}

/// Sent, and received by somebody who knows nothing of it.
fn on_the_wire(packet: &mut Packet) {
    segment::finish_checksum(packet);
    packet.offload = Default::default();
}

/// The header's checksum made right again.
fn with_checksum(packet: &mut Packet) {
    packet.data_mut()[24..26].fill(0);
    let sum = crate::checksum::checksum(&packet.data()[14..34]);
    packet.data_mut()[24..26].copy_from_slice(&sum.to_be_bytes());
}

#[test]
fn padding_behind_the_outer_packet_stays_padding() {
    let (mut packet, kind) = pushed(false, "vxlan");
    packet.extend(&[0xee; 7]);
    pop(&mut packet, kind).unwrap();
    assert_eq!(packet.data(), [vec![0x5a; 60], vec![0xee; 7]].concat());
}

#[test]
fn fragments_options_and_other_versions_are_refused() {
    for (at, value, what) in [
        (20, 0x20, "tunnel IPv4 fragment"),
        (21, 0x01, "tunnel IPv4 fragment"),
        (14, 0x46, "tunnel IPv4 options"),
        (14, 0x55, "tunnel IP version"),
        (12, 0x81, "tunnel Ethertype"),
        (23, 6, "tunnel protocol"),
        (39, 9, "tunnel UDP"),
        (24, 0xff, "tunnel IPv4 checksum"),
        (42, 0x09, "VXLAN flags"),
    ] {
        let (mut packet, kind) = pushed(false, "vxlan");
        packet.data_mut()[at] = value;
        if at != 24 {
            with_checksum(&mut packet);
        }
        assert_eq!(pop(&mut packet, kind).unwrap_err().what, what);
    }
}

#[test]
fn a_checksum_that_somebody_looked_at_is_believed() {
    use IpChecksum as Ip;
    use L4Checksum as L4;
    for (ip, l4, flip, fits, counts) in [
        (Ip::Unknown, L4::Unknown, 0, true, [1, 0, 1, 0]),
        (Ip::Unknown, L4::Good, 100, true, [1, 0, 0, 0]),
        (Ip::Unknown, L4::Trusted, 100, true, [1, 0, 0, 0]),
        (Ip::Unknown, L4::Bad, 0, false, [1, 0, 0, 1]),
        (Ip::Unknown, L4::Unknown, 100, false, [1, 0, 1, 1]),
        (Ip::Unknown, L4::Unknown, 24, false, [1, 1, 0, 0]),
        (Ip::Bad, L4::Unknown, 0, false, [0, 1, 0, 0]),
        (Ip::Good, L4::Unknown, 24, true, [0, 0, 1, 0]),
    ] {
        let all = tunnels(false);
        let (_, header, kind, _) = all.iter().filter(|t| t.0 == "vxlan").nth(1).unwrap();
        let mut packet = Packet::from_slice(&[0x5a; 60]);
        push(&mut packet, header, Varying::default()).unwrap();
        on_the_wire(&mut packet);
        packet.data_mut()[flip] ^= 1;
        (packet.offload.ip, packet.offload.l4) = (ip, l4);
        let mut seen = Checksums::default();
        assert_eq!(pop_counted(&mut packet, *kind, &mut seen).is_ok(), fits, "{ip:?} {l4:?}");
        assert_eq!([seen.ip_summed, seen.ip_wrong, seen.udp_summed, seen.udp_wrong], counts, "{ip:?} {l4:?}");
    }
}

/// What each tunnel makes of a segment without checksums, at whatever state it is sent.
#[test]
fn work_left_inside_goes_through_a_tunnel() {
    let m: Match = "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=9,tp_src=1,tp_dst=53".parse().unwrap();
    let whole = compose(m.key(), b"a query");
    let mut left = whole.clone();
    segment::make_partial(&mut left);
    left.data_mut()[24..26].fill(0);
    left.offload.ip = IpChecksum::Partial { start: 14 };
    let partial = left.offload;
    for v6 in [false, true] {
        for (name, header, kind, _) in tunnels(v6) {
            let (mut plain, mut packet) = (whole.clone(), left.clone());
            plain.offload = Default::default();
            push(&mut plain, &header, Varying::default()).unwrap();
            push(&mut packet, &header, Varying::default()).unwrap();
            // A checksum of GRE, which no card knows, is over bytes as they leave.
            let is_done_before = header.covers_payload() && name == "gre";
            assert_eq!(packet.offload.inner.is_none(), is_done_before, "{name}");
            assert_eq!(packet.offload.ip.is_pending(), !v6);
            let mut back = packet.clone();
            segment::finish_checksum(&mut plain);
            segment::finish_checksum(&mut packet);
            assert_eq!(packet.data(), plain.data(), "{name}");
            pop(&mut back, kind).unwrap();
            let (expected, state) = if is_done_before { (&whole, Default::default()) } else { (&left, partial) };
            assert_eq!((back.data(), back.offload), (expected.data(), state), "{name}");
        }
    }
}

#[test]
fn what_is_edited_then_is_the_outer_header() {
    let m: Match = "tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=9,tp_src=1,tp_dst=80".parse().unwrap();
    let to: Match = "ip,nw_src=198.51.100.1".parse().unwrap();
    for (name, header, kind, _) in tunnels(false) {
        let mut packet = compose(m.key(), b"inside");
        extract::extract(&mut packet, &mut FlowKey::default());
        let inside = packet.data().to_vec();
        push(&mut packet, &header, Varying::default()).unwrap();
        edit::set(&mut packet, KeyAttr::Ipv4, &to.key(), &to.mask()).unwrap();
        on_the_wire(&mut packet);
        pop(&mut packet, kind).unwrap();
        assert_eq!(packet.data(), inside, "{name}");
        let TunnelAddresses::V4 { src, .. } = packet.tunnel.as_deref().unwrap().addresses else { panic!("{name}") };
        assert_eq!(src.octets(), [198, 51, 100, 1], "{name}");
    }
}

#[test]
fn of_a_tunnel_in_a_tunnel_the_innermost_is_done_first() {
    let (vxlan, kind) = one(false, "vxlan");
    let m: Match = "tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_dst=80".parse().unwrap();
    let whole = compose(m.key(), b"x");
    let mut packet = whole.clone();
    segment::make_partial(&mut packet);
    push(&mut packet, &vxlan, Varying::default()).unwrap();
    push(&mut packet, &vxlan, Varying::default()).unwrap();
    on_the_wire(&mut packet);
    pop(&mut packet, kind).unwrap();
    pop(&mut packet, kind).unwrap();
    assert_eq!(packet.data(), whole.data());
}

#[test]
fn extensions_of_ipv6_are_gone_past_and_fragments_refused() {
    let (packet, kind) = pushed(true, "vxlan");
    for (next, fits) in [(60u8, true), (44, false)] {
        let mut bytes = packet.data().to_vec();
        bytes.splice(54..54, [17, 0, 1, 4, 0, 0, 0, 0]);
        bytes[20] = next;
        let len = (bytes.len() - 54) as u16;
        bytes[18..20].copy_from_slice(&len.to_be_bytes());
        assert_eq!(pop(&mut Packet::from_slice(&bytes), kind).is_ok(), fits);
    }
    let mut endless = packet.data()[..54].to_vec();
    endless[20] = 60;
    endless.extend([60, 0, 1, 4, 0, 0, 0, 0].repeat(20));
    let len = (endless.len() - 54) as u16;
    endless[18..20].copy_from_slice(&len.to_be_bytes());
    assert_eq!(pop(&mut Packet::from_slice(&endless), kind).unwrap_err().what, "tunnel IPv6 extension");
}

#[test]
fn srv6_is_taken_off_at_the_end_of_the_path() {
    let (mut packet, kind) = pushed(true, "srv6");
    packet.data_mut()[57] = 1;
    assert_eq!(pop(&mut packet, kind).unwrap_err().what, "SRv6 segments left");
    let (mut none, _) = pushed(true, "vxlan");
    assert_eq!(pop(&mut none, kind).unwrap_err().what, "SRv6 header");
    // An IP packet inside, whose flow label goes to the outer header.
    let path = ["2001:db8::2".parse().unwrap()];
    let mut bytes = outer(true, 43, None);
    bytes.extend(srv6::Header { segments_left: 0, ..srv6::Header::of_path(41, &path) }.to_vec().unwrap());
    let header = Header::new(bytes, Finish::Srv6(FlowLabel::Copy)).unwrap();
    let inner: Match = format!("udp6,{V6},ipv6_label=0xabcde").parse().unwrap();
    let inner = compose(inner.key(), b"x").data()[14..].to_vec();
    let mut packet = Packet::from_slice(&inner);
    packet.meta.packet_type = 0x1_86dd;
    push(&mut packet, &header, Varying::default()).unwrap();
    assert_eq!(packet.meta.packet_type, 0);
    let mut key = FlowKey::ZERO;
    extract::extract(&mut packet, &mut key);
    assert_eq!((key.ipv6_label.get(), packet.data()[54]), (0xabcde, 41));
    pop(&mut packet, kind).unwrap();
    assert_eq!((packet.data(), packet.meta.packet_type), (&inner[..], 0x1_86dd));
}

#[test]
fn gtpu_carries_ip_and_leaves_other_messages_whole() {
    for (flags, optional) in [(0x30, 0), (0x32, 4)] {
        let mut bytes = outer(false, 17, Some(2152));
        bytes.extend([flags, 255, 0, 0, 0, 0, 0, 9]);
        bytes.extend(vec![0; optional]);
        let header = Header::new(bytes, Finish::Gtpu { checksum: true, source: None }).unwrap();
        assert_eq!(header.counts(), optional != 0);
        let mut inner = vec![0x45; 1];
        inner.extend([7; 40]);
        let mut packet = Packet::from_slice(&inner);
        push(&mut packet, &header, Varying { sequence: 0x1_0203, ..Varying::default() }).unwrap();
        let message = gtpu::Header::parse(&packet.data()[42..]).unwrap();
        assert_eq!(message.sequence, (optional != 0).then_some(0x0203));
        on_the_wire(&mut packet);
        let mut echo = packet.clone();
        pop(&mut packet, Kind::Gtpu).unwrap();
        assert_eq!((packet.data(), packet.meta.packet_type), (&inner[..], 0x1_0800));
        let tunnel = packet.tunnel.as_deref().unwrap();
        assert_eq!((tunnel.id, tunnel.gtpu_msgtype, tunnel.gtpu_flags), (9, 255, flags));
        // An echo request, without a checksum.
        echo.data_mut()[43] = 1;
        echo.data_mut()[40..42].fill(0);
        let whole = echo.data().to_vec();
        pop(&mut echo, Kind::Gtpu).unwrap();
        assert_eq!((echo.data(), echo.meta.packet_type), (&whole[..], 0));
        assert_eq!(echo.tunnel.as_deref().unwrap().gtpu_msgtype, 1);
    }
}

#[test]
fn erspan_of_type_i_has_no_header_of_its_own() {
    let mut bytes = outer(false, 47, None);
    bytes.extend(gre::Header { protocol: erspan::GRE_TYPE_II, ..Default::default() }.to_vec().unwrap());
    let header = Header::new(bytes, Finish::Gre).unwrap();
    let mut packet = Packet::from_slice(&[1; 60]);
    push(&mut packet, &header, Varying::default()).unwrap();
    pop(&mut packet, Kind::Erspan).unwrap();
    assert_eq!((packet.data(), packet.tunnel.as_deref().unwrap().flags), (&[1; 60][..], TunnelFlags::empty()));
}

/// Frames of a real ERSPAN source, of both types: session and what the versions differ in.
#[test]
fn erspan_of_real_senders() {
    let inner = "fe71d883724fbeb6f4e1494a080045000054ba200000400184861e0000011e000002";
    for (gre_and_header, id, erspan) in [
        ("100088be000000011000007b00000003", 0x7b, 1 << 27 | 3),
        ("100022eb000000012000023710abcd0100000078", 0x237, 2 << 27 | 1 << 26 | 7 << 20),
    ] {
        let mut bytes = hex("aa55aa550000001b213cab640800450000000000400040 2f00000101025c01010258");
        bytes.extend(hex(gre_and_header));
        bytes.extend(hex(inner));
        let len = (bytes.len() - 14) as u16;
        bytes[16..18].copy_from_slice(&len.to_be_bytes());
        let mut packet = Packet::from_slice(&bytes);
        with_checksum(&mut packet);
        pop(&mut packet, Kind::Erspan).unwrap();
        assert_eq!(packet.data(), hex(inner));
        let tunnel = packet.tunnel.as_deref().unwrap();
        assert_eq!((tunnel.id, tunnel.erspan), (id, erspan));
        assert_eq!(tunnel.flags, TunnelFlags::KEY | TunnelFlags::DONT_FRAGMENT);
    }
}

#[test]
fn what_is_too_long_for_ip_is_not_pushed() {
    let (header, _) = one(false, "vxlan");
    let mut packet = Packet::from_slice(&vec![0; 65_536 - 35]);
    assert!(push(&mut packet, &header, Varying::default()).is_err());
    packet.truncate(65_535 - 36);
    push(&mut packet, &header, Varying::default()).unwrap();
}

#[test]
fn headers_that_are_none_are_refused() {
    let udp = Finish::Udp { checksum: false, source: None };
    assert!(Header::new(vec![], udp).is_err());
    assert!(Header::new(outer(false, 47, None), udp).is_err());
    assert!(Header::new(outer(false, 47, None), Finish::Gre).is_err());
    assert!(Header::new(outer(true, 43, None), Finish::Srv6(FlowLabel::Zero)).is_err());
    assert!(Header::new(outer(false, 17, Some(2152)), Finish::Gtpu { checksum: false, source: None }).is_err());
    let mut v5 = outer(false, 17, Some(1));
    v5[14] = 0x46;
    assert!(Header::new(v5, udp).is_err());
}

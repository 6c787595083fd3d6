use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::addr::EthAddr;
use crate::extract::extract;
use crate::key::Match;

/// Keys of every protocol class that a packet can be built for and extraction reads back.
fn keys() -> impl Strategy<Value = FlowKey> {
    let classes = [
        "tcp",
        "udp",
        "sctp",
        "icmp",
        "tcp6",
        "udp6",
        "sctp6",
        "icmp6",
        "arp",
        "rarp",
        "ip,nw_proto=47",
        "ipv6,nw_proto=47",
        "icmp6,icmp_type=135,icmp_code=0",
        "icmp6,icmp_type=136,icmp_code=0",
        "mpls",
        "mplsm",
        "dl_type=0x88cc",
        "dl_type=0x05ff",
        "ip,nw_frag=later",
        "dl_type=0x894f,nsh_mdtype=1",
        "dl_type=0x894f,nsh_mdtype=2",
        "ip,nw_proto=2",
        "packet_type=(1,0x800),nw_proto=6",
        "packet_type=(1,0x86dd),nw_proto=17",
        "packet_type=(1,0x8847)",
        "packet_type=(1,0x894f),nsh_mdtype=1",
        "packet_type=(1,0x806)",
        "udp,nw_frag=first",
        "tcp6,nw_frag=first",
    ];
    let l2 = (any::<[u8; 6]>(), any::<[u8; 6]>(), 0..3u8, any::<u16>(), any::<u16>(), any::<bool>());
    let l3 = (any::<u32>(), any::<u32>(), any::<u128>(), any::<u128>(), any::<u8>(), any::<u8>(), 0..0x10_0000u32);
    let l4 = (any::<u16>(), any::<u16>(), 0..0x1000u16, any::<u128>(), any::<[u32; 3]>());
    (prop::sample::select(classes.to_vec()), l2, l3, l4).prop_map(|(class, l2, l3, l4)| {
        let mut key = class.parse::<Match>().unwrap().key();
        // Without Ethernet, there are no addresses and no tags; the Ethertype stands in the packet's type.
        let tags = if key.packet_type == 0 { l2.2 } else { 0 };
        match key.packet_type.get() {
            0 => (key.eth_dst, key.eth_src) = (EthAddr(l2.0), EthAddr(l2.1)),
            kind => key.eth_type = (kind as u16).into(),
        }
        if tags > 0 {
            key.vlan_tci = (l2.3 | VLAN_PRESENT).into();
            key.vlan_tpid = (if l2.5 { 0x88a8 } else { ETH_TYPE_VLAN }).into();
        }
        if tags > 1 {
            key.inner_vlan_tci = (l2.4 | VLAN_PRESENT).into();
            key.inner_vlan_tpid = ETH_TYPE_VLAN.into();
        }
        let eth_type = key.eth_type.get();
        match eth_type {
            ETH_TYPE_IPV4 => (key.nw_src, key.nw_dst) = (l3.0.into(), l3.1.into()),
            ETH_TYPE_IPV6 => {
                (key.ipv6_src, key.ipv6_dst, key.ipv6_label) = (l3.2.into(), l3.3.into(), l3.6.into());
            }
            ETH_TYPE_ARP | ETH_TYPE_RARP => {
                (key.nw_src, key.nw_dst, key.nw_proto) = (l3.0.into(), l3.1.into(), l3.4);
                (key.arp_sha, key.arp_tha) = (EthAddr(l2.1), EthAddr(l2.0));
            }
            ETH_TYPE_MPLS | ETH_TYPE_MPLS_MCAST => {
                // A stack of one to three, what is behind its bottom zero.
                let depth = usize::from(l3.4 % 3);
                for (i, lse) in l4.4.into_iter().enumerate().take(depth + 1) {
                    key.mpls_lse[i] = (lse & !0x100 | u32::from(i == depth) << 8).into();
                }
            }
            ETH_TYPE_NSH => {
                (key.nsh_flags, key.nsh_ttl, key.nsh_np, key.nsh_path) = (l3.4 & 3, l3.5 & 0x3f, l3.4, l3.0.into());
                if key.nsh_mdtype == 1 {
                    key.nsh_context = [l3.0, l3.1, l4.4[0], l4.4[1]].map(Into::into);
                }
            }
            _ => {}
        }
        if matches!(eth_type, ETH_TYPE_IPV4 | ETH_TYPE_IPV6) {
            (key.nw_tos, key.nw_ttl) = (l3.4, l3.5);
            let has_l4 = key.nw_frag & FRAG_LATER == 0;
            match key.nw_proto {
                _ if !has_l4 => {}
                IP_PROTO_TCP | IP_PROTO_UDP | IP_PROTO_SCTP => {
                    (key.tp_src, key.tp_dst) = (l4.0.into(), l4.1.into());
                    if key.nw_proto == IP_PROTO_TCP {
                        key.tcp_flags = l4.2.into();
                    }
                }
                IP_PROTO_ICMPV6 if key.tp_src != 0 => {
                    key.nd_target = l4.3.into();
                    key.igmp_group = l4.4[0].into();
                    // The first option's type is the key's: of two, either.
                    let present = [l4.0 & 1 != 0, l4.0 & 2 != 0];
                    if present[0] {
                        key.arp_sha = EthAddr(l2.1);
                    }
                    if present[1] {
                        key.arp_tha = EthAddr(l2.0);
                    }
                    key.tcp_flags = match present {
                        [true, true] => 1 + (l4.1 & 1),
                        [true, false] => 1,
                        [false, true] => 2,
                        [false, false] => 0,
                    }
                    .into();
                }
                // Not neighbour discovery, whatever the type.
                IP_PROTO_ICMP | IP_PROTO_ICMPV6 => {
                    (key.tp_src, key.tp_dst) = ((l4.0 & 0xff).into(), (l4.1 & 0xff | 1).into())
                }
                IP_PROTO_IGMP if eth_type == ETH_TYPE_IPV4 => {
                    (key.tp_src, key.tp_dst, key.igmp_group) =
                        ((l4.0 & 0xff).into(), (l4.1 & 0xff).into(), l4.4[0].into());
                }
                _ => {}
            }
        }
        key
    })
}

fn key_of(packet: &mut Packet) -> FlowKey {
    let mut key = FlowKey::ZERO;
    assert_eq!(extract(packet, &mut key).malformed, None);
    key
}

proptest! {
    #[test]
    fn a_packet_has_the_key_that_it_was_built_from(key in keys(), l7 in prop::collection::vec(any::<u8>(), 0..40)) {
        let mut packet = compose(&key, &l7);
        let composed = packet.layers();
        prop_assert_eq!(key_of(&mut packet), key);
        let extracted = packet.layers();
        prop_assert_eq!(composed.l3, extracted.l3);
        if extracted.l4.is_some() {
            prop_assert_eq!((composed.l4, composed.l4_proto), (extracted.l4, extracted.l4_proto));
        }
        let arp = matches!(key.eth_type.get(), ETH_TYPE_ARP | ETH_TYPE_RARP);
        let nd = key.nd_target != 0 || !key.arp_sha.is_zero() || !key.arp_tha.is_zero();
        prop_assert!(arp || nd || key.nw_proto == IP_PROTO_ICMPV6 || packet.data().ends_with(&l7));
        if key.eth_type == ETH_TYPE_IPV4 {
            prop_assert_eq!(checksum::checksum(&packet.l3()[..20]), 0);
        }
        // The same bytes, whoever computes the checksum.
        let bytes = packet.data().to_vec();
        write_l4_checksum(&mut packet);
        prop_assert_eq!(packet.data(), &bytes[..]);
    }

    #[test]
    fn a_bad_checksum_is_bad_and_nothing_else_changes(
        key in keys(), l7 in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let (good, mut bad) = (compose(&key, &l7), compose_with_bad_checksum(&key, &l7));
        if key.eth_type == ETH_TYPE_IPV4 {
            prop_assert_ne!(checksum::checksum(&bad.l3()[..20]), 0);
            let ip = good.layers().l3.unwrap() + 10;
            bad.data_mut()[ip..ip + 2].copy_from_slice(&good.data()[ip..ip + 2]);
        }
        prop_assert_eq!(bad.data(), good.data());
    }
}

fn bytes_of(text: &str, l7: &[u8]) -> Vec<u8> {
    compose(text.parse::<Match>().unwrap().key(), l7).data().to_vec()
}

#[test]
fn nsh_in_bytes() {
    let text = "dl_type=0x894f,nsh_flags=1,nsh_ttl=33,nsh_mdtype=1,nsh_np=3,nsh_spi=0x123456,nsh_si=255,nsh_c1=1,nsh_c4=0xfffffffe";
    let bytes = bytes_of(text, b"inner");
    assert_eq!(bytes[12..14], [0x89, 0x4f]);
    assert_eq!(bytes[14..22], [0x18, 0x46, 1, 3, 0x12, 0x34, 0x56, 0xff]);
    assert_eq!(bytes[22..38], [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xfe]);
    assert_eq!(&bytes[38..], b"inner");
    // Metadata type 2 has no context headers; a packet may begin with NSH.
    let bytes = bytes_of("packet_type=(1,0x894f),nsh_mdtype=2,nsh_ttl=1", b"");
    assert_eq!(bytes, [0, 0x42, 2, 0, 0, 0, 0, 0]);
}

#[test]
fn a_packet_may_begin_at_layer_3() {
    let text = "packet_type=(1,0x86dd),nw_proto=17,ipv6_src=::1,ipv6_dst=::2,tp_dst=53";
    let packet = compose(text.parse::<Match>().unwrap().key(), b"x");
    assert_eq!((packet.data()[0] >> 4, packet.len(), packet.meta.packet_type), (6, 49, 0x1_86dd));
    assert_eq!((packet.layers().l3, packet.layers().l4), (Some(0), Some(40)));
    let mpls = compose("packet_type=(1,0x8847),mpls_label=5".parse::<Match>().unwrap().key(), b"");
    assert_eq!((mpls.layers().l2_5, mpls.layers().l3), (Some(0), Some(12)));
}

#[test]
fn igmp_and_neighbour_discovery_in_bytes() {
    let mut key = "ip,nw_proto=2,nw_src=1.1.1.1,nw_dst=224.0.0.1".parse::<Match>().unwrap().key();
    (key.tp_src, key.igmp_group) = (0x16.into(), 0xe001_0203.into());
    let igmp = compose(&key, b"");
    assert_eq!((&igmp.l4()[..2], &igmp.l4()[4..]), (&[0x16, 0][..], &[0xe0, 1, 2, 3][..]));
    assert_eq!(checksum::checksum(igmp.l4()), 0);

    let text =
        "icmp6,icmp_type=136,icmp_code=0,nd_target=fe80::1,nd_tll=2:0:0:0:0:2,nd_reserved=0x60000000,nd_options_type=2";
    let mut key = text.parse::<Match>().unwrap().key();
    key.arp_sha = EthAddr([2, 0, 0, 0, 0, 1]);
    let nd = compose(&key, b"left out");
    assert_eq!(nd.l4()[4..8], [0x60, 0, 0, 0]);
    assert_eq!(nd.l4()[24..], [2, 1, 2, 0, 0, 0, 0, 2, 1, 1, 2, 0, 0, 0, 0, 1]);
    // An option that the key names is there even without an address.
    let named = compose("icmp6,icmp_type=135,icmp_code=0,nd_options_type=1".parse::<Match>().unwrap().key(), b"");
    assert_eq!(named.l4()[24..], [1, 1, 0, 0, 0, 0, 0, 0]);
}

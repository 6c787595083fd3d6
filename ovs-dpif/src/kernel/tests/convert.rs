//! Keys, masks and actions there and back.

use ovs_netlink::attr::{Masked, Nest};
use ovs_netlink::ovs::{Action, Key, KeyIpv4, KeyPorts, MaskedKey, TunnelKey};
use ovs_netlink::{EncodeError, Writer};
use ovs_packet::field::KeyAttr;
use ovs_packet::key::{FlowKey, FlowMask, VLAN_PRESENT};
use ovs_packet::{Match, Packet, compose, extract};
use proptest::prelude::*;

use super::super::*;
use crate::text;
use crate::{Assignment, Cookie, DpAction, PortNo, SampleDirection, SlowPath, Userspace};

fn written(write: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>) -> Vec<u8> {
    let mut buffer = Vec::new();
    write(&mut Writer::new(&mut buffer)).unwrap();
    buffer
}

const CONTEXT: ActionContext = ActionContext { upcall_pid: 7, eth_type: 0x0800, nw_proto: 6 };

fn actions_back(list: &[DpAction]) -> Vec<DpAction> {
    assert_eq!(unsupported(list), None);
    read_actions(Nest::new(&written(|w| put_actions(w, list, &CONTEXT)))).unwrap()
}

/// A packet with what these words ask for.
fn packet(words: &str) -> FlowKey {
    let m: Match = words.parse().unwrap();
    let mut packet: Packet = compose::compose(m.key(), b"payload");
    packet.meta.in_port = m.key().in_port.get();
    let mut key = FlowKey::ZERO;
    extract::extract(&mut packet, &mut key);
    key
}

const PACKETS: [&str; 17] = [
    "tcp,in_port=1,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=1,tp_dst=80,tcp_flags=+syn",
    "udp,in_port=2,nw_src=10.0.0.1,nw_ttl=64,tp_dst=53",
    "sctp,in_port=2,nw_src=10.0.0.1,tp_src=8",
    "icmp,in_port=3,icmp_type=8,icmp_code=0",
    "tcp6,in_port=4,ipv6_src=fe80::1,ipv6_dst=fe80::2,tp_dst=22,ipv6_label=0x12345",
    "icmp6,in_port=4,icmp_type=135,icmp_code=0,nd_target=fe80::9,nd_sll=02:00:00:00:00:09",
    "icmp6,in_port=4,icmp_type=136,icmp_code=1",
    "icmp6,in_port=4,icmp_type=128,icmp_code=0",
    "arp,in_port=5,arp_op=1,arp_spa=1.1.1.1,arp_tha=02:00:00:00:00:01",
    "udp,dl_vlan=5,dl_vlan_pcp=3,nw_src=1.2.3.4,tp_src=4",
    "mpls,mpls_label=100,mpls_tc=3,mpls_bos=1,mpls_ttl=9",
    "dl_type=0x1234",
    "dl_type=0x05ff",
    "ip,nw_frag=first,nw_proto=17",
    "ip,nw_frag=later,nw_proto=17",
    "rarp,in_port=1",
    "dl_type=0x894f,nsh_mdtype=1,nsh_spi=0x123,nsh_si=255,nsh_ttl=63,nsh_np=3,nsh_c1=7",
];

#[test]
fn keys_of_all_kinds_of_packets() {
    for words in PACKETS {
        let mut key = packet(words);
        if key.nw_proto == 58 {
            // Of neighbour discovery's options the kernel knows nothing.
            key.tcp_flags.set(0);
        }
        let bytes = written(|w| put_key(w, &key));
        assert_eq!(read_key(Nest::new(&bytes)), Ok((key, Fitness::Perfect)), "{words}");
    }
}

#[test]
fn a_tag_that_is_not_read_is_any_tag_to_the_kernel() {
    let text = "recirc_id(0),in_port(1),eth(),eth_type(0x88a8),vlan(vid=5),encap(eth_type(0x8100))";
    let (key, mask) = text::parse_key(text, &()).unwrap();
    let (bytes, masked) = (written(|w| put_key(w, &key)), written(|w| put_mask(w, &key, &mask)));
    let ((got, _), (bits, _)) = (read_key(Nest::new(&bytes)).unwrap(), read_mask(Nest::new(&masked)).unwrap());
    assert_eq!((got.vlan_tci.get(), got.inner_vlan_tci.get()), (VLAN_PRESENT | 5, VLAN_PRESENT));
    assert_eq!((got.vlan_tpid.get(), got.inner_vlan_tpid.get()), (0x88a8, 0x8100));
    assert_eq!((bits.bits.inner_vlan_tci.get(), bits.bits.eth_type.get()), (VLAN_PRESENT, 0));
    // What the kernel says of a packet with two tags is within the one and not the other.
    let of = |words: &str| text::parse_key(words, &()).unwrap().0;
    let two = of(
        "in_port(1),eth(),eth_type(0x88a8),vlan(vid=5,pcp=0),encap(eth_type(0x8100),vlan(vid=7,pcp=1),encap(eth_type(0x0800)))",
    );
    let one = of("in_port(1),eth(),eth_type(0x88a8),vlan(vid=5,pcp=0),encap(eth_type(0x0800))");
    assert!(two.agrees(&got, &bits) && !one.agrees(&got, &bits));
    // A third is no tag to the kernel either.
    let third = of(
        "in_port(1),eth(),eth_type(0x88a8),vlan(vid=5,pcp=0),encap(eth_type(0x8100),vlan(vid=7,pcp=1),encap(eth_type(0x8100)))",
    );
    assert_eq!(read_key(Nest::new(&written(|w| put_key(w, &third)))), Ok((third, Fitness::Perfect)));
}

#[test]
fn text_and_netlink_agree_on_what_is_matched() {
    for (text, widened) in [
        (
            "recirc_id(0),in_port(1),eth(src=02:00:00:00:00:01),eth_type(0x0800),ipv4(src=10.0.0.0/255.0.0.0,proto=6,frag=no),tcp(dst=80),tcp_flags(+syn-ack)",
            "",
        ),
        (
            "recirc_id(0x5),in_port(1),skb_mark(0x3/0xff),ct_state(+trk),ct_zone(0x5),ct_mark(0x1/0xf),ct_label(0x10/0xf0),eth(),eth_type(0x86dd),ipv6(dst=fe80::/ffff::,frag=no)",
            "",
        ),
        (
            "recirc_id(0),tunnel(tun_id=0x5,src=1.1.1.1,dst=2.2.2.2,ttl=64,flags(-df+key)),in_port(1),eth(),eth_type(0x0806),arp(sip=1.1.1.1,op=1)",
            "",
        ),
        (
            "recirc_id(0),tunnel(tun_id=0x5/0xff,dst=2.2.2.2,geneve({class=0x1,type=0x2,len=4,0xa/0xff}),flags(+key)),in_port(1),eth(),eth_type(0x1234)",
            "",
        ),
        ("recirc_id(0),in_port(1),eth(),eth_type(0x8100),vlan(vid=5),encap(eth_type(0x0800),ipv4(frag=no))", ""),
        (
            "recirc_id(0),in_port(1),eth(),eth_type(0x88a8),vlan(vid=5,pcp=0),encap(eth_type(0x8100),vlan(vid=6),encap(eth_type(0x0800),ipv4(frag=no)))",
            "",
        ),
        ("recirc_id(0),in_port(1),eth(),eth_type(0x8847),mpls(label=1,tc=0,ttl=0,bos=0,label=2,tc=0,ttl=0,bos=1)", ""),
        ("recirc_id(0),in_port(1),eth(),eth_type(0x0800),ct_tuple4(src=1.1.1.1,proto=17,tp_dst=5),ipv4(frag=no)", ""),
        (
            "recirc_id(0),in_port(1),eth(),eth_type(0x86dd),ipv6(proto=58,frag=no),icmpv6(type=135,code=0),nd(target=::3)",
            "",
        ),
        ("recirc_id(0),in_port(1),eth(),eth_type(0/0xffff)", ""),
    ] {
        let (key, mut mask) = text::parse_key(text, &()).unwrap_or_else(|e| panic!("{text}: {e}"));
        mask |= &{
            let mut always = FlowMask::EMPTY;
            always.bits.packet_type.set(u32::MAX);
            always.bits.vlan_tci.set(VLAN_PRESENT);
            always
        };
        assert_eq!(beyond(&key, &mask), None);
        let bytes = written(|w| put_key(w, &key));
        let (got_key, fit) = read_key(Nest::new(&bytes)).unwrap();
        let bytes = written(|w| put_mask(w, &key, &mask));
        let (got_mask, fit_mask) = read_mask(Nest::new(&bytes)).unwrap();
        assert_eq!((fit, fit_mask), (Fitness::Perfect, Fitness::Perfect), "{text}");
        let show = |key: &FlowKey, mask: &FlowMask| text::masked_key(key, mask, &()).to_string();
        assert_eq!(show(&got_key, &got_mask), show(&key, &mask), "{text} {widened}");
    }
}

#[test]
fn masks_come_out_as_wide_as_the_kernel_matches() {
    let key = packet("ip,nw_frag=no");
    let mut mask = FlowMask::EMPTY;
    mask.bits.nw_frag = 1;
    mask.bits.eth_type.set(0x00ff);
    let (got, _) = read_mask(Nest::new(&written(|w| put_mask(w, &key, &mask)))).unwrap();
    assert_eq!((got.bits.nw_frag, got.bits.eth_type.get(), got.bits.packet_type.get()), (3, 0xffff, u32::MAX));
    assert!(got.covers(&mask));
}

#[test]
fn a_packet_from_no_port_is_matched_as_such() {
    let mut key = packet("ip,nw_frag=no");
    key.in_port.set(u32::MAX);
    let bytes = written(|w| put_key(w, &key));
    assert_eq!(read_key(Nest::new(&bytes)).unwrap().0.in_port, u32::MAX);
    let has_port = Nest::<Key<'_>>::new(&bytes).into_iter().any(|a| matches!(a, Ok(Key::InPort(_))));
    assert!(!has_port, "the kernel has no such port");
    let bytes = written(|w| put_mask(w, &key, &crate::always_matched()));
    assert_eq!(read_mask(Nest::new(&bytes)).unwrap().0.bits.in_port, u32::MAX);
}

#[test]
fn what_the_kernel_cannot_match_is_told() {
    let igmp = packet("ip,nw_proto=2");
    let mut mask = FlowMask::EMPTY;
    mask.bits.igmp_group.set(1);
    assert_eq!(beyond(&igmp, &mask), Some("igmp"));
    assert_eq!(beyond(&packet(PACKETS[5]), &mask), Some("nd_reserved"));
}

#[test]
fn fitness_and_errors() {
    let read = |write: &dyn Fn(&mut Writer<'_>)| {
        let mut buffer = Vec::new();
        write(&mut Writer::new(&mut buffer));
        read_key(Nest::new(&buffer)).map(|(_, fitness)| fitness)
    };
    let ip = KeyIpv4 { proto: 6, ..KeyIpv4::default() };
    let front = |w: &mut Writer<'_>| {
        w.put(Key::Ethernet(Default::default())).unwrap().put(Key::Ethertype(0x0800)).unwrap();
    };
    assert_eq!(read(&|w| front(w)), Ok(Fitness::TooLittle));
    assert_eq!(
        read(&|w| {
            front(w);
            w.put(Key::Ipv4(ip)).unwrap();
        }),
        Ok(Fitness::TooLittle)
    );
    let later = KeyIpv4 { frag: 2, ..ip };
    assert_eq!(
        read(&|w| {
            front(w);
            w.put(Key::Ipv4(later)).unwrap();
        }),
        Ok(Fitness::Perfect)
    );
    let odd = KeyIpv4 { frag: 9, proto: 99, ..ip };
    assert_eq!(
        read(&|w| {
            front(w);
            w.put(Key::Ipv4(odd)).unwrap();
        }),
        Ok(Fitness::TooMuch)
    );
    assert_eq!(
        read(&|w| {
            w.put(Key::CtState(0x100)).unwrap();
        }),
        Ok(Fitness::TooMuch)
    );
    assert_eq!(
        read(&|w| {
            w.u32(99, 1);
        }),
        Err(ConvertError::Unknown { what: "key", attribute: 99 })
    );
    assert!(matches!(
        read(&|w| {
            w.u8(Key::IN_PORT, 1);
        }),
        Err(ConvertError::Decode(_))
    ));
    assert!(
        read(&|w| {
            w.put(Key::Vlan(0x1001)).unwrap();
        })
        .is_err()
    );
    let deep = |w: &mut Writer<'_>| {
        w.put(Key::Vlan(0x1001)).unwrap();
        w.nest(Key::ENCAP, |w| {
            w.put(Key::Vlan(0x1001))?;
            w.nest(Key::ENCAP, |w| w.put(Key::Vlan(0x1001))?.nest(Key::ENCAP, |_| Ok(())).map(drop)).map(drop)
        })
        .unwrap();
    };
    assert_eq!(read(&|w| deep(w)), Ok(Fitness::TooMuch));
    // Actions.
    let mut buffer = Vec::new();
    Writer::new(&mut buffer).u32(200, 1);
    let unknown = ConvertError::Unknown { what: "action", attribute: 200 };
    assert_eq!(read_actions(Nest::new(&buffer)), Err(unknown));
    assert!(unsupported(&[DpAction::LbOutput(1)]).is_some());
    let deep = (0..100).fold(Vec::new(), |inner, _| vec![DpAction::Clone(inner)]);
    assert_eq!(unsupported(&deep), Some(Unsupported::TooDeep));
}

/// Found by the fuzz target `kernel_keys`: bytes that are no whole word of options were kept, and written again.
#[test]
fn options_of_tunnels_are_whole_words() {
    for (len, kept, fits) in [(8, 8, true), (252, 252, true), (9, 8, false), (255, 252, false)] {
        let bytes = written(|w| {
            w.put(Key::InPort(1))?.put(Key::Ethernet(Default::default()))?.put(Key::Ethertype(0x1234))?;
            let options = vec![7; len];
            w.nest(Key::TUNNEL, |w| {
                // The second replaces the first, whichever is longer.
                w.put(TunnelKey::Ipv4Dst([9; 4]))?.put(TunnelKey::GeneveOpts(&[8; 16]))?;
                w.bytes(TunnelKey::GENEVE_OPTS, &options).map(drop)
            })
            .map(drop)
        });
        let (key, fitness) = read_key(Nest::new(&bytes)).unwrap();
        assert_eq!((fitness == Fitness::Perfect, key.tun_present.get()), (fits, kept), "{len}");
        let filled = key.tun_metadata.iter().filter(|byte| **byte == 7).count() as u64;
        assert!(filled == kept && key.tun_metadata.iter().all(|byte| matches!(byte, 0 | 7)), "{len}");
        let again = written(|w| put_key(w, &key));
        assert_eq!(read_key(Nest::new(&again)), Ok((key, Fitness::Perfect)), "{len}");
    }
}

#[test]
fn actions_of_all_kinds() {
    let text = "1,pop_vlan,push_vlan(vid=5,pcp=3),push_mpls(label=5,tc=1,ttl=64,bos=1,eth_type=0x8847),\
                pop_mpls(eth_type=0x800),push_eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),pop_eth,\
                push_nsh(flags=0,ttl=63,mdtype=1,np=3,spi=0x1,si=255,c1=0x1,c2=0x2,c3=0x3,c4=0x4),pop_nsh(),\
                set(eth(src=00:01:02:03:04:05)),set(ipv4(src=1.1.1.1,ttl=9)),set(ipv6(dst=::1,label=0x5)),\
                set(tcp(dst=80)),set(udp(src=1)),set(sctp(src=2)),set(skb_mark(0x1/0xf)),\
                set(nsh(spi=0x123/0x00ffffff)),\
                set(tunnel(tun_id=0x5,src=1.1.1.1,dst=2.2.2.2,tos=0x8,ttl=64,flags(df|csum|key))),\
                set(tunnel(tun_id=0x5,dst=2.2.2.2,ttl=64,geneve({class=0x1,type=0x2,len=4,0xa}),flags(key))),\
                ct(commit,zone=5,mark=0x1/0xff,label=0x2/0xf,helper=ftp,timeout=3,\
                nat(src=10.0.0.1-10.0.0.9:1000-2000,random)),ct_clear,ct(nat),ct(force_commit,nat(dst=::1)),\
                recirc(0x5),hash(l4(0)),hash(sym_l4(7)),\
                sample(sample=50.0%,actions(1,2)),clone(3,4),check_pkt_len(size=100,gt(1),le(drop)),trunc(100),meter(3),\
                dec_ttl(le_1(5)),psample(group=3,cookie=0x102),add_mpls(label=5,tc=1,ttl=64,bos=1,eth_type=0x8847)";
    let list = text::parse_actions(text, &()).unwrap();
    let back = actions_back(&list);
    assert_eq!(text::actions(&back).to_string(), text::actions(&list).to_string());
}

#[test]
fn what_the_kernel_cannot_do_is_told() {
    for (text, what) in [
        ("set(arp(sip=1.1.1.1)),1", "set of this field"),
        ("clone(set(icmp(type=3)),1)", "set of this field"),
        ("set(icmpv6(type=3))", "set of this field"),
        ("set(nd(target=::1))", "set of this field"),
        ("lb_output(1)", "lb_output"),
        ("check_pkt_len(size=100,gt(tnl_pop(1)),le(1))", "tnl_pop"),
    ] {
        let list = text::parse_actions(text, &()).unwrap();
        assert_eq!(unsupported(&list), Some(Unsupported::Action(what)), "{text}");
    }
}

#[test]
fn cookies_go_through_the_kernel() {
    let cookies = [
        Cookie::UserData(vec![1, 2, 3]),
        Cookie::UserData(vec![9; COOKIE_BYTES]),
        Cookie::SlowPath(SlowPath::LACP | SlowPath::BFD),
        Cookie::SFlow { vlan_tci: 0x3005, output: 7 },
        Cookie::FlowSample {
            probability: 5,
            collector_set_id: 1,
            obs_domain_id: 2,
            obs_point_id: 3,
            output_port: Some(PortNo(4)),
            direction: SampleDirection::Egress,
        },
        Cookie::Ipfix { output_port: None },
        Cookie::Controller {
            reason: 1,
            dont_send: true,
            continuation: false,
            recirc_id: 44,
            rule_cookie: 0x1234_5678_9abc_def0,
            table: 17,
            controller_id: 3,
            max_len: 65535,
        },
    ];
    for cookie in cookies {
        let copy = Userspace { pid: 9, with_actions: true, tunnel_out_port: Some(PortNo(4)), ..Userspace::new(cookie) };
        let list = [DpAction::Userspace(copy)];
        assert_eq!(actions_back(&list), list);
    }
    let free = actions_back(&[DpAction::Userspace(Userspace::new(Cookie::UserData(Vec::new())))]);
    assert!(matches!(&free[..], [DpAction::Userspace(copy)] if copy.pid == CONTEXT.upcall_pid));
}

/// What is read is kept as it came; the kernel refuses a value with bits outside its mask, so none is written.
#[test]
fn a_set_with_bits_outside_its_mask() {
    let ports = |src, dst| KeyPorts { src, dst };
    let set = |value| MaskedKey::Udp(Masked { value, mask: ports(0xff00, 0xffff) });
    let bytes = |value| written(|w| w.nest(Action::SET_MASKED, |inner| inner.put(set(value)).map(drop)).map(drop));
    let read = read_actions(Nest::new(&bytes(ports(0x1251, 7)))).unwrap();
    assert_eq!(text::actions(&read).to_string(), "set(udp(src=4689/0xff00,dst=7))");
    assert_eq!(text::parse_actions("set(udp(src=4689/0xff00,dst=7))", &()).unwrap(), read);
    assert_eq!(written(|w| put_actions(w, &read, &CONTEXT)), bytes(ports(0x1200, 7)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn masked_sets_are_read_back(value in any::<[u8; 16]>(), mask in any::<[u8; 16]>(), which in 0usize..8) {
        let fill = |bytes: [u8; 16]| {
            let mut key = FlowKey::ZERO;
            key.eth_src.0.copy_from_slice(&bytes[..6]);
            key.nw_src = bytes[..4].try_into().map(u32::from_be_bytes).unwrap().into();
            key.ipv6_dst = bytes.into();
            key.nw_ttl = bytes[0];
            key.tp_src.set(u16::from(bytes[5]));
            key.pkt_mark.set(u32::from(bytes[3]));
            key.mpls_lse[0].set(u32::from(bytes[7]));
            key
        };
        let attrs = [KeyAttr::Ethernet, KeyAttr::Ipv4, KeyAttr::Ipv6, KeyAttr::Tcp, KeyAttr::Priority, KeyAttr::SkbMark,
                     KeyAttr::Mpls, KeyAttr::Udp];
        let (value, mask) = (fill(value), FlowMask { bits: fill(mask) });
        let list = [DpAction::Set(attrs[which], Assignment::from(&Match::new(value, mask)))];
        let back = actions_back(&list);
        prop_assert_eq!(text::actions(&back).to_string(), text::actions(&list).to_string());
        prop_assert_eq!(actions_back(&[DpAction::Set(attrs[which], Assignment::new(&value, &mask))]), back);
    }

    #[test]
    fn random_attributes_are_read_or_refused(bytes in prop::collection::vec((0u16..36, prop::collection::vec(any::<u8>(), 0..44)), 0..6)) {
        let buffer = written(|w| bytes.iter().try_for_each(|(kind, payload)| w.bytes(*kind, payload).map(drop)));
        if let Ok((key, Fitness::Perfect)) = read_key(Nest::new(&buffer)) {
            let again = written(|w| put_key(w, &key));
            let (back, _) = read_key(Nest::new(&again)).unwrap();
            prop_assert_eq!(written(|w| put_key(w, &back)), again);
        }
        if let Ok(list) = read_actions(Nest::new(&buffer)) && unsupported(&list).is_none() {
            // Once a socket is named, all stays as it is.
            let list = read_actions(Nest::new(&written(|w| put_actions(w, &list, &CONTEXT)))).unwrap();
            let again = written(|w| put_actions(w, &list, &CONTEXT));
            prop_assert_eq!(read_actions(Nest::new(&again)), Ok(list));
        }
        let _ = read_mask(Nest::new(&buffer));
    }
}

//! Both directions: what is written is read back, and what upstream writes is written so.

use ovs_packet::Match;
use ovs_packet::field::KeyAttr;
use proptest::prelude::*;

use super::*;
use crate::action::{PortNo, SlowPath, Userspace};
use crate::{Cookie, CtRequest, DropReason};

/// What upstream's tools write for a match.
#[track_caller]
fn written(m: &str, expected: &str) {
    let m: Match = m.parse().unwrap();
    assert_eq!(key(&m).to_string(), expected);
    let (value, mask) = parse_key(expected, &()).unwrap();
    assert_eq!(masked_key(&value, &mask, &()).to_string(), expected);
}

#[test]
fn keys_as_upstream_writes_them() {
    written(
        "recirc_id=0,in_port=1,packet_type=(0,0),dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,ip,nw_frag=no",
        "recirc_id(0),in_port(1),packet_type(ns=0,id=0),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),\
         eth_type(0x0800),ipv4(frag=no)",
    );
    written(
        "in_port=3,tcp,dl_vlan=5,nw_src=10.0.0.0/8,nw_tos=32,nw_ttl=64,tp_dst=80,tcp_flags=+syn-ack",
        "in_port(3),eth(),eth_type(0x8100),vlan(vid=5),encap(eth_type(0x0800),\
         ipv4(src=10.0.0.0/255.0.0.0,proto=6,tos=0x20/0xfc,ttl=64),tcp(dst=80),tcp_flags(+syn-ack))",
    );
    written(
        "icmp6,ipv6_dst=fe80::/64,icmp_type=135,icmp_code=0,nd_target=fe80::2",
        "eth(),eth_type(0x86dd),ipv6(dst=fe80::/ffff:ffff:ffff:ffff::,proto=58),icmpv6(type=135,code=0),\
         nd(target=fe80::2)",
    );
    written(
        "arp,arp_spa=1.1.1.1,arp_op=1,ct_state=+trk,ct_mark=0x1/0xff",
        "ct_state(+trk),ct_mark(0x1/0xff),eth(),eth_type(0x0806),arp(sip=1.1.1.1,op=1)",
    );
    written("dl_type=0x05ff", "eth(),eth_type(0/0xffff)");
}

#[test]
fn tags_within_tags() {
    let text = "in_port(1),eth(src=02:00:00:00:00:01),eth_type(0x88a8),vlan(vid=10,pcp=3),encap(eth_type(0x8100),\
                vlan(vid=20/0xff0),encap(eth_type(0x0806),arp(op=1)))";
    let (key, mask) = parse_key(text, &()).unwrap();
    assert_eq!((key.vlan_tpid.get(), key.vlan_tci.get(), key.inner_vlan_tci.get()), (0x88a8, 0x700a, 0x1014));
    assert_eq!((key.eth_type.get(), mask.bits.inner_vlan_tci.get()), (0x0806, 0x1ff0));
    assert_eq!(masked_key(&key, &mask, &()).to_string(), text);
}

#[test]
fn every_attribute_is_read_back() {
    for text in [
        "tunnel(tun_id=0x7f10354,src=10.10.10.10,dst=20.20.20.20,ttl=64,flags(csum|key)),in_port(1),eth()",
        "tunnel(tun_id=0x1/0xff,src=10.1.0.0/255.255.0.0,tos=0x8,tp_src=5/0xff,tp_dst=4789,flags(-df+csum+key)),eth()",
        "tunnel(ipv6_src=::1,ipv6_dst=fe80::/ffff::,ttl=64,vxlan(gbp(id=10/0xff,flags=0xb)),flags(oam|df|csum|key)),eth()",
        "tunnel(dst=1.1.1.1,geneve({class=0,type=0,len=4,0xa/0xff}{class=0xffff,type=0x1,len=4,0xffffffff}{class=0x2,len=0})),eth()",
        "tunnel(dst=1.1.1.1,ttl=128,erspan(ver=1,idx=0x7),flags(df|key)),eth()",
        "tunnel(dst=1.1.1.1,ttl=128,erspan(ver=2,dir=1,hwid=0x7/0xf),flags(df|key)),eth()",
        "tunnel(tun_id=0x64,dst=1.1.1.1,gtpu(flags=0x30,msgtype=255)),eth()",
        "skb_priority(0x1234/0xff),skb_mark(0x1234/0xfff0),eth()",
        "ct_state(+new-est-rel-rpl-inv+trk-snat-dnat),ct_zone(0x5/0xff),ct_label(0x1234567890abcdef/0xff00),eth()",
        "eth(),eth_type(0x8847),mpls(label=100,tc=3,ttl=64,bos=1)",
        "eth(),eth_type(0x8847),mpls(label=100,tc=3,ttl=64,bos=0,label=1048575,tc=7,ttl=255,bos=1)",
        "eth(),eth_type(0x8848),mpls(label=100/0xff,tc=7/7,ttl=64/0xf0,bos=1/1)",
        "eth(),eth_type(0x894f),nsh(flags=0,ttl=63,mdtype=1,np=3,spi=0x123,si=255,c1=0x1,c2=0x2,c3=0x0,c4=0x5/0x000000ff)",
        "eth(),eth_type(0x894f),nsh(ttl=0x3f/0x0f,spi=0x100/0x0000ff00)",
        "eth(),eth_type(0x86dd),ipv6(proto=58,frag=no),icmpv6(type=136,code=0),nd(target=::3,sll=00:05:06:07:08:09/ff:ff:ff:00:00:00),nd_ext(nd_reserved=0x0,nd_options_type=2)",
        "eth(),eth_type(0x86dd),ct_tuple6(src=::1,proto=6,tp_dst=80),ipv6(src=::1/::ff)",
    ] {
        let (key, mask) = parse_key(text, &()).unwrap_or_else(|e| panic!("{text}: {e}"));
        let written = masked_key(&key, &mask, &()).to_string();
        let (again, mask_again) = parse_key(&written, &()).unwrap_or_else(|e| panic!("{written}: {e}"));
        assert_eq!((again, mask_again), (key, mask), "{text}\n{written}");
        // But for what stands before its place, the text is the same.
        let mut sorted = [text, &written].map(|t| t.split(',').map(String::from).collect::<Vec<_>>());
        sorted.iter_mut().for_each(|t| t.sort());
        assert_eq!(sorted[0], sorted[1], "{written}");
    }
}

#[test]
fn an_exact_key_has_what_the_packet_has() {
    let (key, _) = parse_key("tunnel(tun_id=0x5,dst=1.1.1.1,ttl=64,geneve({class=0x1,type=0x2,len=4,0x3}),flags(key)),\
                              in_port(3),eth(src=02:00:00:00:00:01),eth_type(0x88a8),vlan(vid=7),encap(eth_type(0x8100),\
                              vlan(vid=8),encap(eth_type(0x8847),mpls(label=5,bos=0,label=6,bos=1)))", &()).unwrap();
    assert_eq!(
        exact_key(&key).to_string(),
        "recirc_id(0),dp_hash(0),skb_priority(0),tunnel(tun_id=0x5,dst=1.1.1.1,ttl=64,\
         geneve({class=0x1,type=0x2,len=4,0x3}),flags(key)),in_port(3),skb_mark(0),ct_state(0),ct_zone(0),ct_mark(0),\
         ct_label(0),packet_type(ns=0,id=0),eth(src=02:00:00:00:00:01,dst=00:00:00:00:00:00),eth_type(0x88a8),\
         vlan(vid=7,pcp=0),encap(eth_type(0x8100),vlan(vid=8,pcp=0),encap(eth_type(0x8847),\
         mpls(label=5,tc=0,ttl=0,bos=0,label=6,tc=0,ttl=0,bos=1)))",
    );
}

#[test]
fn values_outside_the_mask_are_shown() {
    let (key, mask) = parse_key("eth(),eth_type(0x0800),ipv4(src=10.1.2.3/255.0.0.0,tos=0x2d/0x3)", &()).unwrap();
    assert_eq!(
        masked_key(&key, &mask, &()).to_string(),
        "eth(),eth_type(0x0800),ipv4(src=10.1.2.3/255.0.0.0,tos=0x2d/0x3)"
    );
}

#[test]
fn keys_that_are_none() {
    for (text, at) in [
        ("in_port(x)", 8),
        ("in_port(1),in_port(2)", 11),
        ("in_port=1", 0),
        ("eth(src=1)", 8),
        ("eth(foo=1)", 4),
        ("encap(arp())", 0),
        ("eth_type(0x0800),ipv6(hlimit=1)", 0),
        ("eth_type(0x0800),ipv4(ttl=256)", 26),
        ("vlan(),encap(vlan(),encap(vlan()))", 26),
        ("eth_type(0x1234),vlan(vid=1)", 9),
        ("tcp(src=80", 10),
        ("tunnel(flags(df|oops))", 13),
        ("tunnel(geneve({class=0,type=0,len=5}))", 14),
        ("tunnel(geneve({class=0,type=0,len=4,0x100000000}))", 36),
        ("tunnel(vxlan(id=1))", 7),
        ("mpls(label=1,label=2,label=3,label=4)", 29),
        ("ct_label(0x100000000000000000000000000000000)", 9),
    ] {
        assert_eq!(parse_key(text, &()).map(|_| ()).unwrap_err().at, at, "{text}");
    }
}

struct Two;

impl PortNames for Two {
    fn name(&self, number: u32) -> Option<String> {
        (number == 2).then(|| "eth0.1".into())
    }

    fn number(&self, name: &str) -> Option<u32> {
        (name == "eth0.1").then_some(2)
    }
}

#[test]
fn ports_have_names() {
    let (key, mask) = parse_key("in_port(eth0.1)", &Two).unwrap();
    assert_eq!((key.in_port.get(), mask.bits.in_port.get()), (2, u32::MAX));
    assert_eq!(masked_key(&key, &mask, &Two).to_string(), "in_port(eth0.1),eth()");
    let list = parse_actions("eth0.1,3", &Two).unwrap();
    assert_eq!(list, [DpAction::Output(PortNo(2)), DpAction::Output(PortNo(3))]);
    assert_eq!(named_actions(&list, &Two).to_string(), "eth0.1,3");
}

#[test]
fn actions_as_upstream_writes_them() {
    for text in [
        "1,2,3",
        "drop",
        "userspace(pid=6,sFlow(vid=9,pcp=7,output=10),actions)",
        "userspace(pid=6,sFlow(vid=0,pcp=0,output=10),actions,tunnel_out_port=10)",
        "userspace(pid=9,slow_path(0))",
        "userspace(pid=9,slow_path(cfm|lldp),tunnel_out_port=10)",
        "userspace(pid=1234,userdata(0102030f),actions)",
        "userspace(pid=6,flow_sample(probability=12,collector_set_id=1,obs_domain_id=2,obs_point_id=3,output_port=4))",
        "userspace(pid=6,flow_sample(probability=1,collector_set_id=1,obs_domain_id=2,obs_point_id=3,\
         output_port=4294967295,egress),tunnel_out_port=7)",
        "userspace(pid=6,ipfix(output_port=10))",
        "userspace(pid=6,controller(reason=1,dont_send=0,continuation=1,recirc_id=44,rule_cookie=0x55,\
         controller_id=3,max_len=65535))",
        "set(in_port(2))",
        "set(eth(src=00:01:02:03:04:05,dst=10:11:12:00:00:00/ff:ff:ff:00:00:00))",
        "set(eth_type(0x1234))",
        "set(ipv4(src=35.8.2.0/255.255.255.0,dst=172.16.0.20,proto=5,tos=0x80,ttl=128,frag=no))",
        "set(ipv4(tos=0/0x3))",
        "set(tcp(src=256/0xff00,dst=8080))",
        "set(sctp(dst=6633))",
        "set(icmp(type=1,code=2))",
        "set(ipv6(src=::1,dst=::2,label=0,proto=10,tclass=0x70,hlimit=128,frag=no))",
        "set(ipv6(label=0/0xfff,tclass=0x70/0x70))",
        "set(vlan(vid=3,pcp=5))",
        "set(mpls(label=100,tc=3,ttl=64,bos=1))",
        "set(tunnel(tun_id=0xabcdef1234567890,src=1.1.1.1,dst=2.2.2.2,ttl=64,flags(df|csum|key)))",
        "set(tunnel(tun_id=0x1,dst=1.1.1.1,ttl=64,erspan(ver=2,dir=1,hwid=0x1),flags(df|key)))",
        "set(nsh(spi=0x5,si=9)),set(nd_ext(nd_reserved=0x0))",
        "set(vlan(vid=1/0x3)),3",
        "push_vlan(vid=12,pcp=0)",
        "push_vlan(tpid=0x9100,vid=13,pcp=5,cfi=0)",
        "pop_vlan",
        "push_nsh(flags=0,ttl=63,mdtype=1,np=3,spi=0x1234,si=255,c1=0x1,c2=0x0,c3=0x0,c4=0xff)",
        "push_nsh(flags=2,ttl=5,mdtype=2,np=1,spi=0x1,si=2,md2=0x1000a041234567820001408fedcba9876543210),pop_nsh()",
        "push_mpls(label=1048575,tc=7,ttl=64,bos=1,eth_type=0x8847)",
        "add_mpls(label=200,tc=7,ttl=64,bos=1,eth_type=0x8847)",
        "pop_mpls(eth_type=0x800)",
        "push_eth(src=00:01:02:03:04:05,dst=10:11:12:13:14:15),pop_eth",
        "sample(sample=9.7%,actions(1,2,3,push_vlan(vid=1,pcp=2)))",
        "sample(sample=100.0%,actions(drop))",
        "ct,ct_clear,recirc(0x12),recirc(0)",
        "ct(force_commit,zone=5,mark=0x1/0xff,label=0x2/0xf)",
        "ct(nat),ct(commit,nat(src)),ct(force_commit,nat(dst))",
        "ct(commit,helper=ftp,timeout=3,nat(src=10.0.0.240,random))",
        "ct(commit,nat(src=10.0.0.240:32768-65535,random))",
        "ct(commit,nat(dst=10.0.0.128-10.0.0.254,hash))",
        "ct(commit,nat(src=10.0.0.240-10.0.0.254:32768,persistent))",
        "ct(commit,nat(src=fe80::20c:29ff:fe88:1-fe80::20c:29ff:fe88:a18b,random))",
        "ct(commit,nat(src=[fe80::1]-[fe80::ff]:255-4096,random))",
        "ct(commit,nat(src=:1024-2047))",
        "hash(l4(0)),hash(sym_l4(9))",
        "trunc(100),1",
        "meter(3)",
        "clone(clone(push_vlan(vid=12,pcp=0),2),1)",
        "check_pkt_len(size=200,gt(4),le(set(eth(src=00:01:02:03:04:05))))",
        "check_pkt_len(size=200,gt(drop),le(5))",
        "dec_ttl(le_1(userspace(pid=0,slow_path(action)))),1",
        "lb_output(1)",
        "psample(group=12,cookie=0xf1020304050607080910111213141516)",
        "psample(group=12)",
    ] {
        let list = parse_actions(text, &()).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(actions(&list).to_string(), text);
    }
    assert_eq!(actions(&[DpAction::Drop(DropReason::FlowDrop)]).to_string(), "drop");
    let reasons: Vec<_> = DropReason::ALL.iter().map(|reason| DpAction::Drop(*reason)).collect();
    let list = [vec![DpAction::Clone(reasons.clone())], reasons].concat();
    assert_eq!(parse_actions(&reasoned_actions(&list, &()).to_string(), &()).unwrap(), list);
    let odd = parse_actions("1,drop(whim)", &()).unwrap_err();
    assert_eq!(odd.to_string(), "syntax error at character 8: expected the id of a reason to drop");
    let slow = DpAction::Userspace(Userspace::new(Cookie::SlowPath(SlowPath::BFD | SlowPath::MATCH)));
    assert_eq!(actions(&[slow]).to_string(), "userspace(pid=0,slow_path(bfd|match))");
}

#[test]
fn actions_that_are_none() {
    for (text, at) in [
        ("psample()", 0),
        ("psample(group=12,cookie=wrong)", 24),
        ("psample(group=12,cookie=0x0102030405060708091011121314151617)", 24),
        ("psample(group=1,group=2)", 16),
        ("encap_nsh@:{@", 13),
        ("trunc(13)", 0),
        ("push_vlan(vid=4096,pcp=0)", 0),
        ("sample(sample=101%,actions(1))", 14),
        ("pop_vlan(1)", 0),
        ("push_nsh(mdtype=2,md2=0x12345g)", 22),
        ("push_nsh(mdtype=3)", 0),
        ("push_nsh(c5=1)", 9),
        ("4294967296", 0),
        ("userspace(slow_path(0))", 0),
        ("userspace(pid=1,slow_path(nothing))", 26),
        ("hash(l5(1))", 0),
        ("set(tcp(src=1),udp(src=2))", 0),
        ("ct(zone=65536)", 8),
        ("ct(mark=1)", 0),
        ("ct(nat(src))", 0),
        ("ct(commit,nat(random))", 10),
        ("ct(commit,nat(src=10.0.0.2-10.0.0.1))", 18),
        ("ct(commit,nat(src=10.0.0.2-::1))", 18),
        ("ct(commit,nat(src=1.1.1.1:70000))", 18),
        ("ct(commit,helper=sip)", 17),
    ] {
        assert_eq!(parse_actions(text, &()).unwrap_err().at, at, "{text}");
    }
    // Deeper than any stack: an error, at once.
    assert!(parse_actions(&"clone(".repeat(100_000), &()).is_err());
}

fn list(depth: u32) -> impl Strategy<Value = Vec<DpAction>> {
    let leaf = prop_oneof![
        any::<u32>().prop_map(|p| DpAction::Output(PortNo(p))),
        (0u16..8, 0u16..4096)
            .prop_map(|(pcp, vid)| DpAction::PushVlan { tpid: 0x88a8, tci: pcp << 13 | 1 << 12 | vid }),
        any::<(u16, u32)>().prop_map(|(eth_type, lse)| DpAction::PushMpls { eth_type, lse }),
        any::<u32>().prop_map(DpAction::Recirc),
        (14..u32::MAX).prop_map(DpAction::Trunc),
        any::<(u16, u32, u32)>()
            .prop_map(|(zone, mark, mask)| DpAction::Ct(CtRequest::commit(zone).with_mark(mark, mask))),
        prop::collection::vec(any::<u8>(), 0..20)
            .prop_map(|b| DpAction::Userspace(Userspace { pid: 3, ..Userspace::new(Cookie::UserData(b)) })),
        any::<(u8, u8)>().prop_map(|(ttl, tos)| {
            let mut m = Match::default();
            m.set(ovs_packet::field::FieldId::NwTtl, ttl.into());
            m.set(ovs_packet::field::FieldId::IpDscp, (tos >> 2).into());
            DpAction::Set(KeyAttr::Ipv4, (&m).into())
        }),
    ];
    let action = leaf.prop_recursive(depth, 20, 4, |inner| {
        let lists = || prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            lists().prop_map(DpAction::Clone),
            (any::<u16>(), lists(), lists()).prop_map(|(len, greater, less_equal)| DpAction::CheckPktLen {
                len,
                greater,
                less_equal
            }),
        ]
    });
    prop::collection::vec(action, 1..6)
}

proptest! {
    #[test]
    fn actions_are_read_back(list in list(4)) {
        prop_assert_eq!(parse_actions(&actions(&list).to_string(), &()).unwrap(), list);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[a-z0-9_=,(){}/:.|+-]{0,60}") {
        for result in [parse_actions(&text, &()).err(), parse_key(&text, &()).err()] {
            prop_assert!(result.is_none_or(|e| e.at <= text.len()));
        }
    }
}

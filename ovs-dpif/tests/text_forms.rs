//! The forms of datapath text: each is read, and written as it was, or as what it means.

use ovs_dpif::text;
use ovs_packet::{FlowKey, FlowMask};

/// Packets from the Ethernet header on, exact.
const PACKETS: &[&str] = &[
    "eth(src=02:a0:00:00:00:01,dst=02:b0:00:00:00:02)",
    "eth(src=02:a0:00:00:00:01,dst=02:b0:00:00:00:02),eth_type(0x88b5)",
    "eth(src=02:a0:00:00:00:01,dst=02:b0:00:00:00:02),eth_type(0x0800),ipv4(src=192.0.2.7,dst=198.51.100.9,proto=47,tos=0x2e,ttl=63,frag=no)",
    "eth(src=02:a0:00:00:00:01,dst=02:b0:00:00:00:02),eth_type(0x0800),ipv4(src=192.0.2.7,dst=198.51.100.9,proto=47,tos=0x2f,ttl=63,frag=first)",
    "eth(src=02:a0:00:00:00:01,dst=02:b0:00:00:00:02),eth_type(0x0800),ipv4(src=192.0.2.7,dst=198.51.100.9,proto=47,tos=0,ttl=1,frag=later)",
    "eth(src=02:a0:00:00:00:01,dst=02:b0:00:00:00:02),eth_type(0x0800),ipv4(src=192.0.2.7,dst=198.51.100.9,proto=6,tos=0,ttl=63,frag=no),tcp(src=179,dst=49152)",
    "eth(src=02:a0:00:00:00:01,dst=02:b0:00:00:00:02),eth_type(0x0800),ipv4(src=192.0.2.7,dst=198.51.100.9,proto=17,tos=0,ttl=63,frag=no),udp(src=53,dst=5353)",
    "eth(src=02:a0:00:00:00:01,dst=02:b0:00:00:00:02),eth_type(0x0800),ipv4(src=192.0.2.7,dst=198.51.100.9,proto=132,tos=0,ttl=63,frag=no),sctp(src=36412,dst=36413)",
    "eth(src=02:a0:00:00:00:01,dst=02:b0:00:00:00:02),eth_type(0x0800),ipv4(src=192.0.2.7,dst=198.51.100.9,proto=1,tos=0,ttl=63,frag=no),icmp(type=3,code=4)",
    "eth(src=02:a0:00:00:00:01,dst=02:b0:00:00:00:02),eth_type(0x86dd),ipv6(src=2001:db8::7,dst=2001:db8::9,label=0x7a,proto=59,tclass=0xb8,hlimit=255,frag=no)",
    "eth(src=02:a0:00:00:00:01,dst=02:b0:00:00:00:02),eth_type(0x86dd),ipv6(src=2001:db8::7,dst=2001:db8::9,label=0,proto=59,tclass=0xb9,hlimit=255,frag=first)",
    "eth(src=02:a0:00:00:00:01,dst=02:b0:00:00:00:02),eth_type(0x86dd),ipv6(src=2001:db8::7,dst=2001:db8::9,label=0,proto=59,tclass=0,hlimit=255,frag=later)",
    "eth(src=02:a0:00:00:00:01,dst=02:b0:00:00:00:02),eth_type(0x86dd),ipv6(src=2001:db8::7,dst=2001:db8::9,label=0,proto=6,tclass=0,hlimit=64,frag=no),tcp(src=443,dst=50000)",
    "eth(src=02:a0:00:00:00:01,dst=02:b0:00:00:00:02),eth_type(0x86dd),ipv6(src=2001:db8::7,dst=2001:db8::9,label=0,proto=17,tclass=0,hlimit=64,frag=no),udp(src=443,dst=50000)",
    "eth(src=02:a0:00:00:00:01,dst=02:b0:00:00:00:02),eth_type(0x86dd),ipv6(src=2001:db8::7,dst=2001:db8::9,label=0,proto=58,tclass=0,hlimit=64,frag=no),icmpv6(type=128,code=0)",
    "eth(src=02:a0:00:00:00:01,dst=02:b0:00:00:00:02),eth_type(0x86dd),ipv6(src=fe80::7,dst=fe80::9,label=0,proto=58,tclass=0,hlimit=255,frag=no),icmpv6(type=136,code=0),nd(target=fe80::7,sll=02:a0:00:00:00:03,tll=02:a0:00:00:00:04)",
    "eth(src=02:a0:00:00:00:01,dst=02:b0:00:00:00:02),eth_type(0x86dd),ipv6(src=fe80::7,dst=fe80::9,label=0,proto=58,tclass=0,hlimit=255,frag=no),icmpv6(type=136,code=0),nd(target=fe80::7,sll=02:a0:00:00:00:03,tll=02:a0:00:00:00:04),nd_ext(nd_reserved=0x0,nd_options_type=2)",
    "eth(src=02:a0:00:00:00:01,dst=02:b0:00:00:00:02),eth_type(0x0806),arp(sip=192.0.2.7,tip=192.0.2.9,op=2,sha=02:a0:00:00:00:05,tha=02:a0:00:00:00:06)",
    "eth(src=02:a0:00:00:00:01,dst=02:b0:00:00:00:02),eth_type(0x8847),mpls(label=77,tc=2,ttl=62,bos=1)",
    "eth(src=02:a0:00:00:00:01,dst=02:b0:00:00:00:02),eth_type(0x8848),mpls(label=1048575,tc=7,ttl=255,bos=1)",
];

/// The same with masks.
const MASKED: &[&str] = &[
    "in_port(5/0xf),eth(src=02:a0:00:00:00:01/ff:ff:ff:00:00:00,dst=02:b0:00:00:00:02/01:00:00:00:00:00)",
    "in_port(5),eth(src=02:a0:00:00:00:01),eth_type(0x8800/0xff00)",
    "in_port(5),eth(),eth_type(0x0800),ipv4(src=192.0.2.7/255.255.0.255,dst=198.51.100.9/255.255.255.128,proto=6/0xf,tos=0x2e/0xfc,ttl=63/0xc0,frag=no)",
    "in_port(5),eth(),eth_type(0x0800),ipv4(proto=6,frag=no),tcp(src=179/0xf0,dst=49152/0xc000),tcp_flags(+syn-ack)",
    "in_port(5),eth(),eth_type(0x0800),ipv4(proto=17,frag=no),udp(src=53/0x3f,dst=5353/0xff00)",
    "in_port(5),eth(),eth_type(0x0800),ipv4(proto=1,frag=no),icmp(type=3/0xf,code=4)",
    "in_port(5),eth(),eth_type(0x86dd),ipv6(src=2001:db8::7/ffff:ffff::,dst=2001:db8::9/::ff,label=0x7a/0xff,proto=58/0xf0,tclass=0xb8/0xfc,hlimit=255/0xf0,frag=no)",
    "in_port(5),eth(),eth_type(0x86dd),ipv6(proto=58,frag=no),icmpv6(type=135,code=0),nd(target=fe80::7/ffff::)",
    "in_port(5),eth(),eth_type(0x86dd),ipv6(proto=58,frag=no),icmpv6(type=135,code=0),nd(target=fe80::7,sll=02:a0:00:00:00:03/ff:ff:ff:00:00:00)",
    "in_port(5),eth(),eth_type(0x0806),arp(sip=192.0.2.7/255.255.255.0,tip=192.0.2.9/0.0.0.255,op=2/0xf,sha=02:a0:00:00:00:05/ff:00:00:00:00:ff,tha=02:a0:00:00:00:06/00:ff:00:00:00:00)",
    "in_port(5),skb_mark(0x77/0xf0),eth(),eth_type(0x0806),arp(op=1)",
];

/// What may stand in front of the Ethernet header.
const FRONTS: &[&str] = &[
    "recirc_id(0),dp_hash(0),skb_priority(0),in_port(5),skb_mark(0)",
    "recirc_id(0x2a),dp_hash(0x1234/0xff),skb_priority(0x7/0xf),in_port(5),skb_mark(0x9)",
    "recirc_id(0),in_port(5),ct_state(+est+rpl+trk),ct_zone(0x9),ct_mark(0x5/0xff),ct_label(0x1122334455667788990011223344aabb)",
    "in_port(5),ct_state(+trk),ct_zone(0x5/0xff),ct_label(0xf0/0xff00ff),ct_tuple4(src=192.0.2.1,dst=192.0.2.2,proto=6,tp_src=1,tp_dst=2)",
    "in_port(5),ct_state(+trk),ct_tuple6(src=2001:db8::1,dst=2001:db8::2,proto=17,tp_src=1,tp_dst=2)",
    "tunnel(tun_id=0x99,src=203.0.113.1,dst=203.0.113.2,ttl=9,flags(csum|key)),in_port(5)",
    "tunnel(tun_id=0xffffffffffffffff,src=203.0.113.1,dst=203.0.113.2,tos=0x2e,ttl=9,flags(df|key)),in_port(5)",
    "tunnel(tun_id=0x99/0xf,src=203.0.113.1/255.255.0.0,dst=203.0.113.2/0.0.0.255,ttl=9,flags(-df+csum+key)),in_port(5)",
    "tunnel(tun_id=0x99,dst=203.0.113.2,ttl=9,vxlan(gbp(id=7/0xf,flags=0x48)),flags(oam|csum|key)),in_port(5)",
    "tunnel(tun_id=0x99,dst=203.0.113.2,ttl=9,geneve({class=0x102,type=0x80,len=4,0xa/0xf}{class=0xffff,type=0x1,len=8,0x1122334455667788}),flags(key)),in_port(5)",
    "tunnel(tun_id=0x99,dst=203.0.113.2,ttl=9,erspan(ver=1,idx=0x12345),flags(key)),in_port(5)",
    "tunnel(tun_id=0x99,dst=203.0.113.2,ttl=9,erspan(ver=2,dir=1,hwid=0x3/0x7),flags(key)),in_port(5)",
    "tunnel(tun_id=0x99,ipv6_src=2001:db8::1,ipv6_dst=2001:db8::2,ttl=9,tp_dst=6081,flags(csum|key)),in_port(5)",
    "tunnel(tun_id=0x99,dst=203.0.113.2,ttl=9,gtpu(flags=0x30,msgtype=255),flags(key)),in_port(5)",
];

/// Text that is written just as it was read.
const ACTIONS: &[&str] = &[
    "drop",
    "4,5,6",
    "userspace(pid=7,sFlow(vid=11,pcp=3,output=9),actions)",
    "userspace(pid=7,sFlow(vid=11,pcp=3,output=9),actions,tunnel_out_port=8)",
    "userspace(pid=7,slow_path(0))",
    "userspace(pid=7,slow_path(lacp|action),tunnel_out_port=8)",
    "userspace(pid=7,userdata(00ff10),actions)",
    "userspace(pid=7,userdata(00ff10),tunnel_out_port=8)",
    "userspace(pid=7,flow_sample(probability=65535,collector_set_id=1,obs_domain_id=2,obs_point_id=3,output_port=4))",
    "userspace(pid=7,flow_sample(probability=65535,collector_set_id=1,obs_domain_id=2,obs_point_id=3,output_port=4,egress),tunnel_out_port=8)",
    "userspace(pid=7,flow_sample(probability=65535,collector_set_id=1,obs_domain_id=2,obs_point_id=3,output_port=4,ingress))",
    "userspace(pid=7,ipfix(output_port=4),tunnel_out_port=8)",
    "userspace(pid=7,controller(reason=2,dont_send=0,continuation=1,recirc_id=90,rule_cookie=0x99,controller_id=3,max_len=128))",
    "set(in_port(4))",
    "set(eth(src=02:a0:00:00:00:01,dst=02:b0:00:00:00:02))",
    "set(eth(dst=02:b0:00:00:00:00/ff:ff:ff:00:00:00))",
    "set(eth_type(0x88b5))",
    "set(ipv4(src=192.0.2.7,dst=198.51.100.9,proto=5,tos=0x2e,ttl=1,frag=no))",
    "set(ipv4(src=192.0.2.0/255.255.255.0,ttl=1))",
    "set(ipv4(tos=0/0x3))",
    "set(eth(src=02:a0:00:00:00:01,dst=02:b0:00:00:00:02/ff:ff:ff:00:00:00))",
    "set(ipv4(src=192.0.2.7/255.255.255.0,tos=0x83/0x3))",
    "set(ipv6(src=2001:db8::7,label=0/0xfff,tclass=0xb8/0xfc,hlimit=1))",
    "set(tcp(src=1))",
    "set(tcp(src=80/0xff00,dst=8080))",
    "set(udp(src=0/0xff00,dst=2))",
    "set(sctp(dst=3))",
    "set(icmp(type=8,code=0))",
    "set(icmpv6(type=128,code=0))",
    "set(nd(target=fe80::7,sll=02:a0:00:00:00:03))",
    "set(arp(sip=192.0.2.7,op=1))",
    "set(mpls(label=77,tc=2,ttl=62,bos=1))",
    "set(skb_priority(0x6)),set(skb_mark(0x5/0xf))",
    "set(vlan(vid=5,pcp=5,cfi=0))",
    "set(vlan(vid=1/0x3)),3",
    "set(vlan(vid=5/0x1)),3",
    "set(mpls(label=77/0xf,tc=2/0,ttl=62/0xff,bos=1/0))",
    "set(skb_mark(0xff/0xf)),set(nsh(ttl=0x3f/0x0f))",
    "set(tunnel(tun_id=0x99,src=203.0.113.1,dst=203.0.113.2,ttl=9,flags(df|csum|key)))",
    "set(tunnel(tun_id=0x99,dst=203.0.113.2,ttl=9,erspan(ver=1,idx=0x7),flags(df|key)))",
    "set(tunnel(tun_id=0x99,dst=203.0.113.2,ttl=9,erspan(ver=2,dir=0,hwid=0x7),flags(key)))",
    "push_vlan(vid=0,pcp=0),push_vlan(tpid=0x88a8,vid=4095,pcp=7,cfi=0),pop_vlan",
    "push_mpls(label=77,tc=2,ttl=62,bos=1,eth_type=0x8847),pop_mpls(eth_type=0x800)",
    "add_mpls(label=77,tc=2,ttl=62,bos=0,eth_type=0x8848)",
    "push_eth(src=02:a0:00:00:00:01,dst=02:b0:00:00:00:02),pop_eth",
    "sample(sample=12.5%,actions(1,push_vlan(vid=1,pcp=2)))",
    "ct,ct_clear",
    "ct(commit,zone=65535,mark=0x5/0xff,label=0x1,helper=tftp,timeout=3)",
    "ct(force_commit,nat(src=192.0.2.1-192.0.2.9:1024-2047,persistent,hash))",
    "ct(commit,nat(dst=2001:db8::1,random))",
    "ct(commit,nat(src=[2001:db8::1]-[2001:db8::9]:7-9,random))",
    "ct(nat)",
    "trunc(64),1",
    "clone(clone(pop_vlan,2),1)",
    "check_pkt_len(size=1500,gt(drop),le(ct(nat)))",
    "recirc(0x5),hash(l4(7)),hash(sym_l4(0))",
    "meter(9),lb_output(4)",
    "dec_ttl(le_1(userspace(pid=0,slow_path(action))))",
    "psample(group=9)",
    "psample(group=9,cookie=0xf10203)",
    "sample(sample=50.0%,actions(userspace(pid=7,userdata(0102)),psample(group=9)))",
    "tnl_pop(6)",
];

/// Headers for tunnels, likewise, one in a line.
const PUSHES: &str = include_str!("tnl_push.txt");

/// What is read and written otherwise: the name of a timeout policy in the kernel is one of several parts of the policy.
const OTHERWISE: &[(&str, &str)] =
    &[("ct(commit,timeout=ovs_tp_4_udp6)", "ct(commit,timeout=4)"), ("ct()", "ct"), ("pop_nsh", "pop_nsh()")];

fn rewritten(text: &str) -> String {
    let (key, mask): (FlowKey, FlowMask) = text::parse_key(text, &()).unwrap_or_else(|e| panic!("{e}: {text}"));
    text::masked_key(&key, &mask, &()).to_string()
}

fn tagged(packet: &str, tag: &str) -> String {
    let end = packet.find(')').unwrap() + 1;
    let (eth, rest) = packet.split_at(end);
    format!("{eth},eth_type(0x8100),vlan({tag}),encap({})", rest.trim_start_matches(','))
}

#[test]
fn keys() {
    for packet in PACKETS {
        for front in FRONTS {
            let text = format!("{front},{packet}");
            assert_eq!(rewritten(&text), text);
            // Of a packet with a tag its type must be told.
            if packet.contains("eth_type") {
                let text = format!("{front},{}", tagged(packet, "vid=99,pcp=7"));
                assert_eq!(rewritten(&text), text);
            }
        }
    }
    for packet in MASKED {
        for text in [packet.to_string(), format!("skb_priority(0x12/0xff),{packet}")] {
            assert_eq!(rewritten(&text), text);
        }
    }
}

#[test]
fn actions() {
    for text in ACTIONS.iter().copied().chain(PUSHES.lines()) {
        let actions = text::parse_actions(text, &()).unwrap_or_else(|e| panic!("{e}: {text}"));
        assert_eq!(text::actions(&actions).to_string(), text);
    }
    for (text, expected) in OTHERWISE {
        let actions = text::parse_actions(text, &()).unwrap_or_else(|e| panic!("{e}: {text}"));
        assert_eq!(text::actions(&actions).to_string(), *expected);
    }
}

#[test]
fn what_is_no_action() {
    let push = "tnl_push(tnl_port(6),header(size=50,type=4,eth(dst=02:b0:00:00:00:02,src=02:a0:00:00:00:01,\
                dl_type=0x0800),ipv4(src=1.1.1.1,dst=2.2.2.2,proto=17,tos=0,ttl=64,frag=0x0),\
                udp(src=0,dst=4789,csum=0x0),vxlan(flags=0x8000000,vni=0x1)),out_port(1))";
    assert!(text::parse_actions(push, &()).is_ok());
    for (from, to, says) in [
        ("size=50", "size=51", "size=50,type=4, as the header has it"),
        ("type=4", "type=5", "size=50,type=4, as the header has it"),
        ("vni=0x1", "vni=0x1000000", "a vni of 24 bits"),
        ("0x0800", "0x0806", "dl_type of 0x0800 or 0x86dd"),
        ("src=1.1.1.1", "src=1.1.1", "an IPv4 address"),
        ("vxlan(flags=0x8000000,", "vxlan(", "'flags' in 'vxlan'"),
        ("vxlan(", "stt(", "a header of vxlan, geneve, gre, erspan, gtpu or srv6"),
        (",out_port(1)", "", "'out_port' in 'tnl_push'"),
    ] {
        let error = text::parse_actions(&push.replace(from, to), &()).unwrap_err();
        assert!(error.to_string().ends_with(says), "{error} for {to}");
    }
    let srv6 = |left: u8, path: &str| {
        let size = 54 + 8 + 16 * (usize::from(left) + 1);
        let header = format!(
            "size={size},type=112,eth(dst=02:b0:00:00:00:02,src=02:a0:00:00:00:01,dl_type=0x86dd),ipv6(src=::1,dst=::2,\
             label=0,proto=43,tclass=0x0,hlimit=64),srv6(segments_left={left},segs({path}))"
        );
        text::parse_actions(&format!("tnl_push(tnl_port(6),header({header}),out_port(1))"), &())
    };
    assert!(srv6(1, "::8,::9").is_ok());
    assert!(srv6(1, "::8").is_err() && srv6(0, "::8,::9").is_err());
    assert!(srv6(6, "::1,::2,::3,::4,::5,::6,::7").is_err());
    for bad in [
        "tnl_pop",
        "tnl_pop(x)",
        "psample()",
        "psample(cookie=0x1)",
        "psample(group=1,group=1)",
        "psample(group=abc)",
        "psample(group=1,cookie=wrong)",
        "psample(group=1,cookie=0x0102030405060708090a0b0c0d0e0f1011)",
        "ct(commit,timeout=ovs_tp_x_tcp4)",
        "ct(commit,timeout=ovs_tp_1)",
        "encap_nsh@:{@",
    ] {
        assert!(text::parse_actions(bad, &()).is_err(), "{bad}");
    }
}

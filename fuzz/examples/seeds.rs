//! Writes the seeds of all corpora: `cargo run --example seeds [TRIGGERS.json]`. Seeds are named `seed-...`; what a
//! fuzzer found lies beside them and is left alone.
//!
//! The optional file holds inputs of known security bugs of Open vSwitch: an object of names to a kind and hex bytes.

use std::fs;
use std::path::{Path, PathBuf};

use ovs_dpif::kernel;
use ovs_fuzz::TARGETS;
use ovs_netlink::attr::Nest;
use ovs_netlink::nf::{ConnectionFilter, CtAttr, L4, NfHeader, TimeoutPolicy, Tuple};
use ovs_netlink::ovs::{
    Action, Band, Command, CtLimitCommand, CtLimits, Datapath, Flow, Key, KeyEthernet, KeyIpv4, MaskedKey, Meter,
    MeterCommand, NshBase, NshKey, Packet, PacketCommand, PsampleAttr, SampleAttr, TunnelKey, UserspaceAttr, Vport,
    VportType, VxlanExt, ZoneLimit,
};
use ovs_netlink::{EncodeError, Flags, Header, Writer, nf};
use ovs_ofproto::FlowMod;
use ovs_ofproto::codec::{FlowStatsReply, FlowStatsRequest, Hello, Message, PacketIn, PacketOut, Version, Versions};
use ovs_packet::{Match, OfPort, compose, edit, pcap};

type Any = Box<dyn std::error::Error>;

const MATCHES: &[&str] = &[
    "arp,arp_op=1,arp_spa=10.0.0.1,arp_tpa=10.0.0.2",
    "tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=1000,tp_dst=80,tcp_flags=+syn",
    "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_tos=32,nw_ttl=64,tp_src=53,tp_dst=53",
    "icmp,nw_src=10.0.0.1,nw_dst=10.0.0.2,icmp_type=8,icmp_code=0",
    "sctp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=1,tp_dst=2",
    "udp,nw_src=10.0.0.1,nw_frag=later",
    "tcp6,ipv6_src=fe80::1,ipv6_dst=fe80::2,tp_src=1000,tp_dst=80",
    "udp6,ipv6_src=fe80::1,ipv6_dst=fe80::2,ipv6_label=0x5,tp_src=1,tp_dst=2",
    "icmp6,ipv6_src=fe80::1,icmp_type=135,icmp_code=0,nd_target=fe80::2,nd_sll=02:00:00:00:00:01",
    "icmp6,ipv6_src=fe80::1,icmp_type=136,icmp_code=0,nd_target=fe80::2,nd_tll=02:00:00:00:00:02",
    "mpls,mpls_label=5,mpls_tc=1,mpls_bos=1,mpls_ttl=64",
    "dl_vlan=5,dl_vlan_pcp=3,tcp,nw_src=1.2.3.4,nw_dst=5.6.7.8,tp_src=1,tp_dst=2",
    "dl_type=0x88cc",
];

const MATCH_TEXTS: &[&str] = &[
    "tun_metadata0=0x12/0xfff,tun_metadata1,tun_metadata63=0x102030405",
    "tun_id=5,tun_src=1.1.1.1,tun_flags=+oam,tun_gbp_id=4,tun_erspan_ver=1,tun_erspan_idx=4,gtpu_flags=1",
    "dl_type=0x894f,nsh_mdtype=1,nsh_spi=5,nsh_c1=0x4/0xf",
    "packet_type=(1,0x800),nw_src=1.2.3.4,nw_proto=6,tp_dst=80",
    "NXM_NX_REG0[4..7]=5,reg31[0]=1,in_port=\"a,b\"",
    "",
    "in_port=LOCAL,vlan_tci=0x1000/0x1000",
    "tcp,tcp_flags=+syn-ack,tp_dst=0x50/0xfff0,nw_src=10.0.0.0/8",
    "ct_state=+trk-new,ct_zone=5,ct_mark=0x1/0xf,ct_label=0x5",
    "reg0=1,reg7=0x1/0xff,xxreg0=0x1,xreg3=0x0/0x1,metadata=0x1/0xff",
    "ipv6,ipv6_src=2001:db8::/32,ipv6_dst=::1/ffff::ffff,ipv6_label=1",
    "dl_src=00:00:00:00:00:01,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00",
    "pkt_mark=5,dp_hash=5/0xf,recirc_id=1,nw_frag=not_later,ip",
];

/// What the kernel has and the texts for datapaths have not.
const KERNEL_TEXTS: &[&str] = &[
    "set(eth(src=00:01:02:03:04:05)),set(ipv4(src=1.1.1.1,ttl=9)),set(tcp(dst=80)),set(nsh(spi=0x123/0x00ffffff)),1",
    "set(tunnel(tun_id=0x5,dst=2.2.2.2,ttl=64,geneve({class=0x1,type=0x2,len=4,0xa}),flags(key))),2",
    "ct(commit,zone=5,mark=0x1/0xff,label=0x2/0xf,helper=ftp,timeout=3,nat(src=10.0.0.1-10.0.0.9:1000-2000)),recirc(0x5)",
    "check_pkt_len(size=100,gt(1),le(drop)),dec_ttl(le_1(5)),psample(group=3,cookie=0x102),meter(3),hash(l4(0))",
    "userspace(pid=6,sFlow(vid=9,pcp=7,output=10),actions,tunnel_out_port=10),push_mpls(label=5,tc=1,ttl=64,bos=1,eth_type=0x8847)",
    "recirc_id(0),tunnel(tun_id=0x5,src=1.1.1.1,dst=2.2.2.2,ttl=64,flags(-df+key)),in_port(1),eth(),eth_type(0x0806),arp(op=1)",
    "in_port(1),eth(),eth_type(0x88a8),vlan(vid=5,pcp=0),encap(eth_type(0x8100),vlan(vid=6),encap(eth_type(0x8847),mpls(label=1,bos=1)))",
];

const DATAPATH_TEXTS: &[&str] = &[
    "recirc_id(0),in_port(1),packet_type(ns=0,id=0),eth(src=02:00:00:00:00:01),eth_type(0x0800),ipv4(dst=10.0.0.0/255.0.0.0,tos=0/0x3,frag=no)",
    "in_port(3),eth(),eth_type(0x8100),vlan(vid=5/0xff,pcp=1),encap(eth_type(0x86dd),ipv6(src=::1,label=0x1),icmpv6(type=135),nd(target=fe80::2))",
    "ct_state(+trk-new),ct_label(0x1/0xff),ct_tuple4(src=1.1.1.1,proto=6),eth(),eth_type(0x0806),arp(sip=1.1.1.1,op=1)",
    "eth_type(0/0xffff)",
    "1,2,userspace(pid=6,sFlow(vid=9,pcp=7,output=10),actions,tunnel_out_port=10)",
    "userspace(pid=6,controller(reason=1,dont_send=0,continuation=1,recirc_id=4,rule_cookie=0x5,controller_id=3,max_len=65535))",
    "set(ipv4(src=35.8.2.0/255.255.255.0,ttl=128)),push_vlan(vid=1,pcp=0),clone(pop_vlan,3),recirc(0x1)",
    "check_pkt_len(size=200,gt(trunc(100),1),le(drop)),sample(sample=9.7%,actions(meter(1),hash(sym_l4(1))))",
    "ct(force_commit,zone=5,mark=0x1/0xff),add_mpls(label=200,tc=7,ttl=64,bos=1,eth_type=0x8847),psample(group=12,cookie=0xf102)",
    "drop(flow_drop),clone(drop(too_deep)),add_mpls(label=200,tc=7,ttl=64,bos=1,eth_type=0x8847)",
];

/// Headers for tunnels, one in a line.
const PUSHES: &str = include_str!("../../ovs-dpif/tests/tnl_push.txt");

/// What the texts for datapaths say.
fn datapath_texts() -> impl Iterator<Item = &'static str> {
    DATAPATH_TEXTS.iter().copied().chain(PUSHES.lines())
}

const ACTION_TEXTS: &[&str] = &[
    "drop",
    "NORMAL",
    "output:1,output:2,IN_PORT",
    "controller(max_len=64)",
    "resubmit(1,2),resubmit(,3)",
    "set_field:10.0.0.1->ip_dst,set_field:0x5/0xff->reg0",
    "load:5->NXM_NX_REG0[0..7],move:NXM_NX_REG0[0..3]->NXM_NX_REG1[4..7]",
    "mod_vlan_vid:5,mod_dl_src:02:00:00:00:00:01,mod_tp_dst:80,dec_ttl",
    "push_vlan:0x8100,set_field:4100->vlan_vid,pop_vlan",
    "ct(commit,force,zone=5,table=3,exec(set_field:1->ct_mark,set_field:0x1/0xf->ct_label))",
    "clone(set_field:1->reg1,clone(output:2),resubmit(,1)),ct_clear",
    "write_actions(output:2),goto_table:4",
    "clear_actions,write_metadata:0x1/0xf,goto_table:1",
];

const FLOW_HEADS: &[&str] = &[
    "",
    "table=1,priority=10,",
    "cookie=0x5/0xff,out_port=2,",
    "idle_timeout=5,hard_timeout=10,send_flow_rem,check_overlap,reset_counts,",
];

const JSON_TEXTS: &[&str] = &[
    "null",
    r#"{"b":[1.0,2.5e-3,null,true,-0],"a":"\u00e9\n\ud83d\ude00"}"#,
    "[9223372036854775807,-9223372036854775808,9223372036854775808,1e308]",
    r#"[[[[[[[["deep"]]]]]]]]"#,
];

const MESSAGES: &[&str] = &[
    r#"{"method":"echo","params":[],"id":"e"}{"method":"update","params":[null,{}],"id":null}"#,
    r#"{"result":[{"rows":[]}],"error":null,"id":7} {"result":null,"error":"bad","id":7}"#,
    r#"[1,"]"] {"method":5}"#,
];

const SCHEMAS: &[&str] = &[
    r#"{"name":"A","version":"0.0.1","cksum":"1 2","tables":{}}"#,
    r#"{"name":"B","version":"1.2.3","tables":{"T":{"isRoot":true,"maxRows":3,"indexes":[["n"]],"columns":{"n":{"type":"integer","ephemeral":true,"mutable":false},"s":{"type":{"key":{"type":"string","minLength":1,"maxLength":9},"value":{"type":"uuid","refTable":"T","refType":"weak"},"min":0,"max":"unlimited"}},"e":{"type":{"key":{"type":"real","enum":["set",[1.5,2]]},"min":0}}}}}}"#,
];

const TRANSACTIONS: &[&str] = &[
    r#"[{"op":"insert","table":"Root","row":{"n":1,"strong":["named-uuid","l"],"map":["map",[["k",1.5]]]}},{"op":"insert","table":"Leaf","row":{"n":3},"uuid-name":"l"}]"#,
    r#"[{"op":"insert","table":"Root","row":{"n":2,"kind":"a","fixed":"x"}},{"op":"select","table":"Root","where":[["n",">",0]],"columns":["n","kind"]}]"#,
    r#"[{"op":"mutate","table":"Root","where":[],"mutations":[["n","+=",5],["n","%=",3],["map","insert",["map",[["j",2]]]]]}]"#,
    r#"[{"op":"update","table":"Root","where":[["kind","includes","a"]],"row":{"kind":["set",[]],"n":9}},{"op":"comment","comment":"c"}]"#,
    r#"[{"op":"wait","timeout":0,"table":"Root","where":[],"columns":["n"],"until":"==","rows":[{"n":1}]},{"op":"assert","lock":"mine"}]"#,
    r#"[{"op":"delete","table":"Root","where":[["n","==",1]]},{"op":"commit","durable":false},{"op":"abort"}]"#,
    r#"[{"op":"insert","table":"Leaf","row":{"self":["named-uuid","m"],"on":true},"uuid-name":"m"}]"#,
];

struct Corpora {
    root: PathBuf,
}

impl Corpora {
    fn put(&self, target: &str, name: &str, bytes: &[u8]) -> Result<(), Any> {
        if bytes.len() <= 4096 {
            fs::write(self.root.join(target).join(format!("seed-{name}")), bytes)?;
        }
        Ok(())
    }

    /// The same text or frames for several targets, `before` in front: what they read to find their way.
    fn put_all(&self, targets: &[(&str, &[u8])], name: &str, bytes: &[u8]) -> Result<(), Any> {
        targets.iter().try_for_each(|(target, before)| self.put(target, name, &[before, bytes].concat()))
    }
}

const FRAME_TARGETS: &[(&str, &[u8])] = &[
    ("frame_extract", &[]),
    // The limit, then of the first packet its kind, what is rare about it, and how long it is.
    ("frame_sequence", &[2, 0, 0, 255]),
    ("frame_compose", &[]),
    // One edit of no bits: mutations do the rest.
    ("frame_edit", &[0; 40]),
    ("edit_sequence", &[0; 50]),
    ("frame_segment", &[0, 100, 0, 0]),
];

const STREAM_TARGETS: &[(&str, &[u8])] =
    &[("openflow_message", &[]), ("openflow_print", &[]), ("openflow_stream", &[3]), ("openflow_execute", &[])];

fn frames(corpora: &Corpora) -> Result<Vec<Vec<u8>>, Any> {
    let mut all = Vec::new();
    for (i, text) in MATCHES.iter().enumerate() {
        let mut packet = compose::compose(text.parse::<Match>()?.key(), &[0x5a; 24]);
        all.push(packet.data().to_vec());
        if i % 4 == 1 {
            edit::push_vlan(&mut packet, 0x88a8, 7);
            edit::push_vlan(&mut packet, 0x8100, 8);
            all.push(packet.data().to_vec());
        }
    }
    for (i, frame) in all.iter().enumerate() {
        corpora.put_all(FRAME_TARGETS, &format!("frame-{i:02}"), frame)?;
        let mut file = Vec::new();
        pcap::Writer::new(&mut file)?.write(std::time::Duration::from_millis(i as u64), frame)?;
        corpora.put("pcap_file", &format!("{i:02}"), &file)?;
    }
    // Two frames in a row: commit the connection, then look at it.
    for (i, pair) in all.windows(2).enumerate() {
        let mut input = vec![0];
        for frame in pair {
            input.extend([9, 1]);
            input.extend((frame.len() as u16).to_le_bytes());
            input.extend(frame);
            input.extend([0, 1]);
        }
        corpora.put("conntrack_frames", &format!("{i:02}"), &input)?;
    }
    Ok(all)
}

fn texts(corpora: &Corpora) -> Result<Vec<FlowMod>, Any> {
    let mut flows = Vec::new();
    for (i, text) in MATCHES.iter().chain(MATCH_TEXTS).enumerate() {
        corpora.put("match_text", &format!("{i:02}"), text.as_bytes())?;
    }
    for (i, text) in ACTION_TEXTS.iter().enumerate() {
        corpora.put("action_text", &format!("{i:02}"), text.as_bytes())?;
        let matching = MATCHES[i % MATCHES.len()];
        let flow = format!("{}{matching},actions={text}", FLOW_HEADS[i % FLOW_HEADS.len()]);
        corpora.put("flow_text", &format!("{i:02}"), flow.as_bytes())?;
        flows.extend(flow.parse::<FlowMod>());
    }
    for (i, text) in datapath_texts().enumerate() {
        corpora.put("datapath_text", &format!("{i:02}"), text.as_bytes())?;
    }
    Ok(flows)
}

fn messages(corpora: &Corpora, flows: Vec<FlowMod>, frames: &[Vec<u8>]) -> Result<(), Any> {
    let mut messages = vec![
        Message::Hello(Hello::default()),
        Message::EchoRequest(b"are you there".to_vec()),
        Message::FeaturesRequest,
        Message::BarrierRequest,
        Message::from(FlowStatsRequest::default()),
    ];
    let stats = flows.iter().map(|flow| {
        let mut stats = ovs_ofproto::codec::FlowStats::default();
        (stats.table, stats.matching, stats.instructions) =
            (flow.table, flow.matching.clone(), flow.instructions.clone());
        stats
    });
    messages.extend(FlowStatsReply::pages(Version::V1_3, stats)?.into_iter().map(Message::FlowStatsReply));
    let mut input = PacketIn::new(OfPort(1), frames[1].clone());
    input.metadata = "in_port=1,metadata=5,ct_state=+trk".parse()?;
    messages.push(Message::PacketIn(Box::new(input)));
    let actions = flows[0].instructions.apply.clone();
    messages.push(Message::PacketOut(PacketOut::new(OfPort::CONTROLLER, actions, frames[2].clone())));
    messages.extend(flows.into_iter().map(Message::from));
    let mut stream = Vec::new();
    for (i, message) in messages.iter().enumerate() {
        let bytes = message.encode(Version::V1_3, i as u32)?;
        corpora.put_all(STREAM_TARGETS, &format!("{i:02}"), &bytes)?;
        if stream.len() + bytes.len() < 4000 {
            stream.extend(bytes);
        }
    }
    corpora.put_all(STREAM_TARGETS, "stream", &stream)
}

fn attributes(write: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::new();
    write(&mut Writer::new(&mut bytes))?;
    Ok(bytes)
}

fn netlink(corpora: &Corpora) -> Result<(), Any> {
    let key = attributes(|key| {
        key.put(Key::InPort(1))?.put(Key::Ethernet(KeyEthernet { src: [2; 6], dst: [4; 6] }))?;
        key.put(Key::Ethertype(0x8100))?.put(Key::Vlan(0x1005))?;
        key.nest(Key::ENCAP, |inner| inner.put(Key::Ethertype(0x0800))?.put(Key::Ipv4(KeyIpv4::default())).map(drop))?;
        key.put(Key::CtLabels([1; 16]))?.nest(Key::NSH, |nsh| nsh.put(NshKey::Base(NshBase::default())).map(drop))?;
        Ok(())
    })?;
    let masked = attributes(|set| {
        set.put(MaskedKey::SkbMark(Default::default()))?.put(MaskedKey::Ipv6(Default::default())).map(drop)
    })?;
    let tunnel = attributes(|tunnel| {
        tunnel
            .put(TunnelKey::Id(5))?
            .put(TunnelKey::Ipv6Dst([1; 16]))?
            .put(TunnelKey::GeneveOpts(&[0, 1, 2, 1, 9, 9, 9, 9]))?;
        tunnel.nest(TunnelKey::VXLAN_OPTS, |ext| ext.put(VxlanExt::Gbp(3)).map(drop))?.put(TunnelKey::Csum).map(drop)
    })?;
    let actions = attributes(|actions| {
        actions.nest(Action::SAMPLE, |sample| {
            sample.put(SampleAttr::Probability(9))?;
            sample
                .nest(SampleAttr::ACTIONS, |inner| inner.put(Action::Output(1))?.put(Action::PopVlan).map(drop))
                .map(drop)
        })?;
        actions.nest(Action::USERSPACE, |user| {
            user.put(UserspaceAttr::Pid(7))?.put(UserspaceAttr::Userdata(b"u")).map(drop)
        })?;
        actions
            .nest(Action::PSAMPLE, |sample| sample.put(PsampleAttr::Group(1)).map(drop))?
            .put(Action::Recirc(1))
            .map(drop)
    })?;
    let nsh = attributes(|nsh| nsh.put(NshKey::Base(NshBase::default()))?.put(NshKey::Md2(&[1; 8])).map(drop))?;
    let tuple = Tuple {
        src: "10.0.0.1".parse()?,
        dst: "10.0.0.2".parse()?,
        proto: 6,
        l4: L4::Ports { src: 1, dst: 2 },
        zone: None,
    };
    let connection = attributes(|ct| {
        tuple.encode(CtAttr::TUPLE_ORIG, ct)?;
        tuple.encode(CtAttr::TUPLE_REPLY, ct)?;
        ct.put(CtAttr::Zone(7))?.put(CtAttr::Labels(&[1; 16]))?.put(CtAttr::Status(14)).map(drop)
    })?;
    for (which, set) in [&key, &masked, &actions, &tunnel, &nsh, &connection].into_iter().enumerate() {
        corpora.put("netlink_sets", &format!("{which:02}"), &[&[which as u8], set.as_slice()].concat())?;
    }
    corpora.put("kernel_keys", "netlink", &key)?;
    corpora.put("kernel_actions", "netlink", &actions)?;
    for (i, text) in datapath_texts().chain(KERNEL_TEXTS.iter().copied()).enumerate() {
        if let Ok((key, mask)) = ovs_dpif::text::parse_key(text, &()) {
            corpora.put("kernel_keys", &format!("key-{i:02}"), &attributes(|w| kernel::put_key(w, &key))?)?;
            corpora.put("kernel_keys", &format!("mask-{i:02}"), &attributes(|w| kernel::put_mask(w, &key, &mask))?)?;
        } else if let Ok(list) = ovs_dpif::text::parse_actions(text, &()) {
            let context = kernel::ActionContext { upcall_pid: 7, eth_type: 0x0800, nw_proto: 6 };
            let bytes = attributes(|w| kernel::put_actions(w, &list, &context))?;
            corpora.put("kernel_actions", &format!("list-{i:02}"), &bytes)?;
        }
    }

    let mut built = vec![Vec::new(); 9];
    let [vport, datapath, flow, packet, meter, limits, family, echoed, nested] = built.as_mut_slice() else {
        return Err("nine".into());
    };
    let flags = Flags::REQUEST | Flags::ACK;
    Vport { dp_ifindex: 7, name: Some("eth1".parse()?), ty: Some(VportType::NETDEV), ..Vport::default() }.encode(
        vport,
        31,
        Command::New,
        flags,
    )?;
    Datapath { name: Some("dp0".parse()?), ..Datapath::default() }.encode(datapath, 30, Command::New, flags)?;
    let (keys, acts) = (Some(Nest::new(&key)), Some(Nest::new(&actions)));
    Flow { key: keys, mask: keys, actions: acts, ufid: Some(&[1; 16]), ..Flow::default() }.encode(
        flow,
        32,
        Command::New,
        flags,
    )?;
    Packet { key: keys, actions: acts, packet: Some(&[0; 60]), upcall_pid: Some(1), ..Packet::default() }.encode(
        packet,
        33,
        PacketCommand::Execute,
        flags,
    )?;
    Meter { id: Some(1), bands: vec![Band::default()], ..Meter::default() }.encode(
        meter,
        34,
        MeterCommand::Set,
        flags,
    )?;
    CtLimits { dp_ifindex: 1, zones: vec![ZoneLimit::default()] }.encode(limits, 35, CtLimitCommand::Set, flags)?;
    ovs_netlink::Family::request(family, Some("ovs_vport"))?;
    // A refusal with words.
    Writer::message(echoed, 2, Flags::CAPPED | Flags::ACK_ATTRIBUTES, |ack| {
        ack.raw(&(-22_i32).to_ne_bytes()).raw(&[0; 16]).str(1, "why")?.u32(2, 20);
        Ok(())
    })?;
    Writer::message(nested, 16, Flags::REQUEST, |message| {
        message.u8(1, 2).be32(3, 4).nest(5, |inner| inner.nest(6, |b| b.str(7, "deep").map(drop)).map(drop)).map(drop)
    })?;
    for (i, bytes) in built.iter_mut().enumerate() {
        Header::stamp(bytes, 1, 0);
        corpora.put("netlink_message", &format!("{i:02}"), bytes)?;
        let attributes = &bytes[if i == 8 { 16 } else { 24.min(bytes.len()) }..];
        corpora.put("netlink_attributes", &format!("{i:02}"), attributes)?;
    }
    corpora.put("netlink_message", "all", &built.concat())?;

    let mut filters = vec![Vec::new(); 3];
    let [made, policy, dump] = filters.as_mut_slice() else { return Err("three".into()) };
    NfHeader { family: NfHeader::IPV4, ..NfHeader::default() }.message(
        made,
        nf::message::CONNECTION_NEW,
        Flags::MULTI,
        |writer| {
            writer.raw(&connection);
            Ok(())
        },
    )?;
    TimeoutPolicy { name: b"tp".to_vec(), protocol: 6, seconds: vec![(1, 2)], ..TimeoutPolicy::default() }
        .encode_set(policy)?;
    ConnectionFilter { zone: Some(1), mark: Some((1, 2)), family: 2 }.encode_dump(dump)?;
    for (i, bytes) in filters.iter().enumerate() {
        corpora.put("netlink_netfilter", &format!("{i:02}"), bytes)?;
    }

    // RTM_NEWLINK, RTM_NEWADDR, RTM_NEWROUTE, RTM_NEWNEIGH and RTM_NEWRULE with a header of their own and an attribute.
    for (kind, header, attribute) in [
        (16, 16, (3, &b"eth0\0"[..])),
        (20, 8, (2, &[10, 0, 0, 1])),
        (24, 12, (1, &[10, 0, 0, 0])),
        (28, 12, (1, &[10, 0, 0, 1])),
        (32, 12, (6, &[1, 0, 0, 0])),
    ] {
        let mut bytes = Vec::new();
        Writer::message(&mut bytes, kind, Flags::MULTI, |message| {
            let mut fixed = vec![0; header];
            fixed[0] = if kind == 16 { 0 } else { 2 };
            message.raw(&fixed).bytes(attribute.0, attribute.1).map(drop)
        })?;
        corpora.put("netlink_route", &format!("{kind:02}"), &bytes)?;
    }
    Ok(())
}

/// What a server sends to a client that has just connected, for the schema of the database fuzz targets.
fn conversations() -> Vec<String> {
    const SERVER: &str = r#"{"name":"_Server","version":"1.2.0","tables":{"Database":{"columns":{
        "name":{"type":"string"},"model":{"type":"string"},"connected":{"type":"boolean"},"leader":{"type":"boolean"},
        "schema":{"type":{"key":"string","min":0}}}}}}"#;
    let schema = ovs_fuzz::SCHEMA;
    let quoted = ovs_db::json::Json::string(schema).to_text();
    let answer = |id: u32, result: &str| format!(r#"{{"id":{id},"result":{result},"error":null}}"#);
    let refuse = |id: u32| format!(r#"{{"id":{id},"result":null,"error":"unknown method"}}"#);
    let row = r#""00000000-0000-0000-0000-000000000001""#;
    let server = [
        answer(1, SERVER),
        answer(2, "{}"),
        answer(
            3,
            &format!(r#"{{"Database":{{{row}:{{"initial":{{"name":"D","model":"standalone","schema":{quoted}}}}}}}}}"#),
        ),
    ]
    .concat();
    let rows = format!(r#"{{"Leaf":{{{row}:{{"initial":{{"n":1}}}}}}}}"#);
    let since = answer(4, &format!(r#"[false,{row},{rows}]"#));
    let update = format!(
        r#"{{"method":"update3","params":[["monid","D"],{row},{{"Leaf":{{{row}:{{"modify":{{"n":2}}}}}}}}],"id":null}}"#
    );
    let lock =
        [answer(5, r#"{"locked":false}"#), r#"{"method":"locked","params":["lock"],"id":null}"#.to_string()].concat();
    let old = [
        refuse(1),
        answer(2, schema),
        refuse(3),
        refuse(4),
        answer(5, &rows.replace("initial", "new")),
        format!(r#"{{"method":"update","params":[["monid","D"],{{"Leaf":{{{row}:{{"old":{{}}}}}}}}],"id":null}}"#),
    ]
    .concat();
    let echo = r#"{"method":"echo","params":[1],"id":7}"#.to_string();
    vec![server.clone(), [server, since, update, lock, echo].concat(), old]
}

const UPDATES: &[&str] = &[
    r#"L{"Leaf":{"00000000-0000-0000-0000-000000000001":{"initial":{"n":1}}}}"#,
    r#"A{"Leaf":{"00000000-0000-0000-0000-000000000001":{"modify":{"n":2,"on":true}}}}"#,
    "c",
    r#"A{"Root":{"00000000-0000-0000-0000-000000000002":{"insert":{"map":["map",[["a",1],["b",2.5]]]}}}}"#,
    r#"A{"Root":{"00000000-0000-0000-0000-000000000002":{"modify":{"map":["map",[["a",1],["b",3]]],"kind":"a"}}}}"#,
    r#"A{"Leaf":{"00000000-0000-0000-0000-000000000001":{"delete":null}}}"#,
    r#"a{"Leaf":{"00000000-0000-0000-0000-000000000003":{"new":{"n":4}}}}"#,
    r#"l{"Leaf":{"00000000-0000-0000-0000-000000000003":{"new":{"n":5}}}}"#,
    r#"a{"Leaf":{"00000000-0000-0000-0000-000000000003":{"old":{}}}}"#,
];

const COMMANDS: &[&str] = &[
    r#"{"method":"version","params":[],"id":0}{"method":"list-commands","params":[],"id":1}"#,
    r#"{"method":"set-options","params":["--format","json"],"id":0}{"method":"echo","params":["a","b"],"id":1}"#,
    r#"{"method":"fail","params":[],"id":0}{"method":"echo","params":[],"id":1}{"method":"x","params":[5],"id":2} []"#,
];

fn db(corpora: &Corpora) -> Result<(), Any> {
    let numbered = |target: &str, texts: &[&str], before: &str| {
        let mut numbered = texts.iter().enumerate();
        numbered.try_for_each(|(i, text)| corpora.put(target, &format!("{i:02}"), format!("{before}{text}").as_bytes()))
    };
    numbered("json_text", JSON_TEXTS, "")?;
    numbered("ovsdb_schema", SCHEMAS, "")?;
    numbered("ovsdb_stream", MESSAGES, "\x05")?;
    numbered("ovsdb_transact", TRANSACTIONS, "")?;
    let conversations = conversations();
    numbered("ovsdb_client", &conversations.iter().map(String::as_str).collect::<Vec<_>>(), "\x1f")?;
    numbered("ovsdb_updates", UPDATES, "")?;
    numbered("unixctl_server", COMMANDS, "\x05")?;
    corpora.put("ovsdb_updates", "all", UPDATES.join("\n").as_bytes())?;
    corpora.put("ovsdb_transact", "all", TRANSACTIONS.join("\n").as_bytes())
}

/// For bodies that take their input for choices: any bytes are an input.
/// Connections that go well, and that end for one reason each. Of calls, 0 connects, 2 says hello, 3 reads, 5 sends.
fn sessions(corpora: &Corpora) -> Result<(), Any> {
    let hello = Message::Hello(Hello::default()).encode(Version::V1_3, 1)?;
    let with_set = Message::Hello(Hello::new(Versions(0x12))).encode(Version::V1_3, 1)?;
    let echo = Message::EchoRequest(b"there?".to_vec()).encode(Version::V1_3, 2)?;
    let probe = Message::EchoReply(Vec::new()).encode(Version::V1_3, 0)?;
    let other = Message::FeaturesRequest.encode(Version::V1_3, 3)?;
    let refused = [1, 1, 0, 14, 0, 0, 0, 0, 0, 0, 0, 0, b'n', b'o'].to_vec();
    let wrong = [1, 5, 0, 8, 0, 0, 0, 1].to_vec();
    let short = [4, 5, 0, 7, 0, 0, 0, 1].to_vec();
    let calls = [0, 3, 3, 252, 3, 5 + 248, 6, 6, 252, 252, 3, 1, 252, 0, 2, 3, 255];
    for (name, messages) in [
        ("well", vec![&hello, &echo, &probe, &other, &other]),
        ("set", vec![&with_set, &other]),
        ("refused", vec![&refused]),
        ("no-hello", vec![&echo]),
        ("second-hello", vec![&hello, &hello]),
        ("version", vec![&hello, &wrong]),
        ("short", vec![&hello, &short, &other]),
    ] {
        for (step, size) in [("one", 6_u8), ("all", 255)] {
            let stream: Vec<u8> = messages.iter().flat_map(|message| message.iter().copied()).collect();
            let input = [&[size, calls.len() as u8][..], &calls, &stream].concat();
            corpora.put("openflow_session", &format!("{name}-{step}"), &input)?;
        }
    }
    Ok(())
}

fn choices(corpora: &Corpora) -> Result<(), Any> {
    let driven = [
        "classifier",
        "megaflow_table",
        "megaflow_soundness",
        "conntrack",
        "datapath_ledger",
        "frame_edit",
        "edit_sequence",
        "tunnel_options",
        "conntrack_ftp",
        "fragments",
        "openflow_session",
    ];
    for (n, target) in driven.iter().enumerate() {
        let mut random = fastrand::Rng::with_seed(n as u64);
        for i in 0..24 {
            let len = 32 << (i % 6);
            let bytes: Vec<u8> = (0..len).map(|_| random.u8(..)).collect();
            corpora.put(target, &format!("choices-{i:02}"), &bytes)?;
        }
    }
    Ok(())
}

/// Inputs of known bugs, for the targets that read such things.
fn triggers(corpora: &Corpora, file: &Path) -> Result<(), Any> {
    let ovs_db::json::Json::Object(all) = ovs_db::json::parse(&fs::read(file)?)? else {
        return Err("an object".into());
    };
    for (name, trigger) in all {
        let Some([kind, hex]) = trigger.as_array() else { continue };
        // Some are lists of frames.
        let texts: Vec<&str> = match hex {
            ovs_db::json::Json::Array(list) => list.iter().filter_map(|hex| hex.as_str()).collect(),
            hex => hex.as_str().into_iter().collect(),
        };
        for (i, hex) in texts.into_iter().take(2).enumerate() {
            let Some(bytes) = unhex(hex) else { continue };
            let name = format!("{}-{i}", name.replace(['/', ' '], "-"));
            if kind.as_str().is_some_and(|kind| kind.starts_with("of1")) {
                corpora.put_all(STREAM_TARGETS, &name, &bytes)?;
            } else {
                if kind.as_str() == Some("lldp frame") {
                    corpora.put("wire_lldp", &name, &bytes[14..])?;
                }
                corpora.put_all(FRAME_TARGETS, &name, &bytes)?;
                let framed = [&[0, 9, 1], &(bytes.len() as u16).to_le_bytes()[..], &bytes, &[0, 1]].concat();
                corpora.put("conntrack_frames", &name, &framed)?;
            }
        }
    }
    Ok(())
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    Some(digits?.as_chunks::<2>().0.iter().map(|[a, b]| a << 4 | b).collect())
}

fn main() -> Result<(), Any> {
    let corpora = Corpora { root: Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus") };
    for (name, _) in TARGETS {
        fs::create_dir_all(corpora.root.join(name))?;
    }
    let frames = frames(&corpora)?;
    let flows = texts(&corpora)?;
    messages(&corpora, flows, &frames)?;
    sessions(&corpora)?;
    netlink(&corpora)?;
    db(&corpora)?;
    choices(&corpora)?;
    for (name, bytes) in ovs_fuzz::tunnel_seeds() {
        corpora.put("tunnel_pop", name, &bytes)?;
    }
    for (target, name, bytes) in ovs_fuzz::wire_seeds()? {
        corpora.put(target, name, &bytes)?;
    }
    std::env::args().nth(1).map_or(Ok(()), |file| triggers(&corpora, Path::new(&file)))
}

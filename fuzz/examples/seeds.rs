//! Writes the seeds of all corpora: `cargo run --example seeds [TRIGGERS.json]`. Seeds are named `seed-...`; what a
//! fuzzer found lies beside them and is left alone.
//!
//! The optional file holds inputs of known security bugs of Open vSwitch: an object of names to a kind and hex bytes.

use std::fs;
use std::path::{Path, PathBuf};

use ovs_fuzz::TARGETS;
use ovs_netlink::ovs::{Command, Datapath, Vport, VportType};
use ovs_netlink::{Flags, MessageBuilder};
use ovs_ofproto::FlowMod;
use ovs_ofproto::codec::{FlowStatsReply, FlowStatsRequest, Hello, Message, PacketIn, PacketOut, Version};
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
    ("frame_compose", &[]),
    // One edit of no bits: mutations do the rest.
    ("frame_edit", &[0; 40]),
    ("frame_segment", &[0, 100, 0, 0]),
];

const STREAM_TARGETS: &[(&str, &[u8])] =
    &[("openflow_message", &[]), ("openflow_stream", &[3]), ("openflow_execute", &[])];

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
        (stats.table, stats.matching, stats.instructions) = (flow.table, flow.matching, flow.instructions.clone());
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

fn netlink(corpora: &Corpora) -> Result<(), Any> {
    let vport = Vport { dp_ifindex: 7, name: Some("eth1".parse()?), ty: Some(VportType::NETDEV), ..Vport::default() };
    let datapath = Datapath { name: Some("dp0".parse()?), ..Datapath::default() };
    let mut nested = MessageBuilder::new(16, Flags::REQUEST);
    nested.u8(1, 2).be32(3, 4).nest(5, |inner| inner.nest(6, |b| b.str(7, "deep").map(|_| ())).map(|_| ()))?;
    let built = [
        vport.encode(31, Command::New, Flags::REQUEST | Flags::ACK)?.finish(1, 0)?,
        datapath.encode(30, Command::New, Flags::REQUEST)?.finish(2, 0)?,
        ovs_netlink::Family::request("ovs_vport")?.finish(3, 0)?,
        nested.finish(4, 0)?,
    ];
    for (i, bytes) in built.iter().enumerate() {
        corpora.put("netlink_message", &format!("{i:02}"), bytes)?;
        corpora.put(
            "netlink_attributes",
            &format!("{i:02}"),
            &bytes[if i == 3 { 16 } else { 24.min(bytes.len()) }..],
        )?;
    }
    corpora.put("netlink_message", "all", &built.concat())
}

fn db(corpora: &Corpora) -> Result<(), Any> {
    let numbered = |target: &str, texts: &[&str], before: &str| {
        let mut numbered = texts.iter().enumerate();
        numbered.try_for_each(|(i, text)| corpora.put(target, &format!("{i:02}"), format!("{before}{text}").as_bytes()))
    };
    numbered("json_text", JSON_TEXTS, "")?;
    numbered("ovsdb_schema", SCHEMAS, "")?;
    numbered("ovsdb_stream", MESSAGES, "\x05")?;
    numbered("ovsdb_transact", TRANSACTIONS, "")?;
    corpora.put("ovsdb_transact", "all", TRANSACTIONS.join("\n").as_bytes())
}

/// For bodies that take their input for choices: any bytes are an input.
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
    netlink(&corpora)?;
    db(&corpora)?;
    choices(&corpora)?;
    std::env::args().nth(1).map_or(Ok(()), |file| triggers(&corpora, Path::new(&file)))
}

//! Whether scapy's OpenFlow layers find the same fields with the same values.
//!
//! Scapy 2.8 has errors of its own: of a list of actions of OpenFlow 1.0 it takes the first apart, of several flows in a
//! reply likewise, and of the padding behind a set of a field it makes an action of zeros. So there is one of each here.
//! Scapy 2.5, which Debian has, besides raises an exception in its own padding at any reply of flows of OpenFlow 1.3.

use std::io::Write;
use std::process::{Command, Stdio};

use ovs_packet::OfPort;

use crate::FlowMod;
use crate::action::{Action, Instructions};
use crate::codec::{FlowRemoved, FlowStats, FlowStatsReply, Message, PacketIn, PacketOut, Version};
use crate::text::{GroupCommand, MeterCommand, Parser};

/// Reads messages in hexadecimal, one a line, and writes of each a line of `path=value`, a path being names of scapy's
/// fields and places in lists; what scapy could not take apart is `raw`, and
/// `raised` stands for a message at which it fails.
const READER: &str = r#"
import logging, sys
logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.contrib import openflow, openflow3
from scapy.packet import NoPayload, Packet, Padding, Raw

def flat(value, path, out):
    if isinstance(value, list):
        for i, one in enumerate(value):
            flat(one, path + [str(i)], out)
    elif isinstance(value, Packet):
        if isinstance(value, Raw) and not isinstance(value, Padding):
            out.append(".".join(path + ["raw"]) + "=" + bytes(value).hex())
            return
        for field in value.fields_desc:
            flat(value.getfieldval(field.name), path + [field.name], out)
        if not isinstance(value.payload, NoPayload):
            flat(value.payload, path, out)
    else:
        shown = value.hex() if isinstance(value, bytes) else str(int(value)) if hasattr(value, "flagrepr") else str(value)
        out.append(".".join(path) + "=" + shown)

for line in sys.stdin:
    data = bytes.fromhex(line)
    layer = openflow.OpenFlow if data[0] == 1 else openflow3.OpenFlow3
    out = []
    try:
        flat(layer(data), [], out)
    except Exception as e:
        out = ["raised " + repr(e)]
    print(" ".join(out))
"#;

/// What scapy 2.5 says of a reply of flows of OpenFlow 1.3.
const PADDING: &str = "raised AttributeError(\"'NoneType' object has no attribute 'payload'\")";

/// What scapy says of each message; none if there is no scapy.
fn scapy(messages: &[Vec<u8>]) -> Option<Vec<String>> {
    // Debian's package is for Debian's own, and another may stand first on the path.
    let has_scapy = |python: &&str| {
        let probe = Command::new(python).args(["-c", "import scapy.contrib.openflow3"]).stderr(Stdio::null()).status();
        probe.is_ok_and(|status| status.success())
    };
    let mut python = Command::new(["python3", "/usr/bin/python3"].into_iter().find(has_scapy)?)
        .args(["-c", READER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let lines = messages.iter().map(|m| m.iter().map(|b| format!("{b:02x}")).collect::<String>() + "\n");
    python.stdin.take().unwrap().write_all(lines.collect::<String>().as_bytes()).unwrap();
    let out = python.wait_with_output().unwrap();
    Some(String::from_utf8(out.stdout).unwrap().lines().map(str::to_string).collect())
}

/// A message, and what scapy must say of it, in words of its own.
struct Case {
    version: Version,
    message: Message,
    says: String,
}

fn case(version: Version, message: impl Into<Message>, says: impl Into<String>) -> Case {
    Case { version, message: message.into(), says: says.into() }
}

fn cases() -> Vec<Case> {
    let (v10, v13) = (Version::V1_0, Version::V1_3);
    let flow = |text: &str| text.parse::<FlowMod>().unwrap();
    let mut cases = Vec::new();
    for (port, cookie, priority, idle, hard) in [(1u16, 0u64, 0u16, 0u16, 0u16), (65279, u64::MAX, 65535, 1, 65535)] {
        let head = format!("cookie={cookie},priority={priority},idle_timeout={idle},hard_timeout={hard}");
        let tuple = "tcp,nw_src=10.0.0.1,nw_dst=10.1.2.3,tp_src=1234,tp_dst=80";
        let times = format!("cookie={cookie} priority={priority} idle_timeout={idle} hard_timeout={hard}");
        let eth = "dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,dl_vlan=7,dl_vlan_pcp=3";
        for (action, says) in [
            (format!("output:{port}"), format!("actions.0.type=0 actions.0.port={port}")),
            ("mod_dl_src:02:00:00:00:00:09".into(), "actions.0.type=4 actions.0.dl_addr=02:00:00:00:00:09".into()),
            ("mod_nw_dst:1.2.3.4".into(), "actions.0.type=7 actions.0.nw_addr=1.2.3.4".into()),
            ("mod_tp_dst:443".into(), "actions.0.type=10 actions.0.tp_port=443".into()),
            (format!("enqueue:{port}:5"), format!("actions.0.type=11 actions.0.port={port} actions.0.queue_id=5")),
        ] {
            let text = format!("{head},in_port={port},{eth},{tuple},actions={action}");
            let matched = "match.dl_src=02:00:00:00:00:01 match.dl_dst=02:00:00:00:00:02 match.dl_vlan=7 \
                           match.dl_vlan_pcp=3 match.dl_type=2048 match.nw_proto=6 match.nw_src=10.0.0.1 \
                           match.nw_dst=10.1.2.3 match.tp_src=1234 match.tp_dst=80 match.nw_src_mask=0 \
                           match.nw_dst_mask=0";
            let says = format!("type=14 xid=77 {times} cmd=0 match.in_port={port} {matched} {says}");
            cases.push(case(v10, flow(&text), says));
        }
        cases.push(case(
            v13,
            flow(&format!(
                "table=3,{head},in_port={port},{eth},{tuple},actions=meter:9,dec_ttl,group:6,output:{port},\
                 set_field:2.2.2.2->ip_dst,write_metadata:0x5/0xf,goto_table:7"
            )),
            format!(
                "type=14 xid=77 table_id=3 {times} cmd=0 match.type=1 match.oxm_fields.0.in_port={port} \
                 match.oxm_fields.1.eth_src=02:00:00:00:00:01 match.oxm_fields.2.eth_dst=02:00:00:00:00:02 \
                 match.oxm_fields.3.eth_type=2048 match.oxm_fields.4.vlan_vid=4103 match.oxm_fields.5.vlan_pcp=3 \
                 match.oxm_fields.6.ipv4_src=10.0.0.1 match.oxm_fields.7.ipv4_dst=10.1.2.3 match.oxm_fields.8.ip_proto=6 \
                 match.oxm_fields.9.tcp_src=1234 match.oxm_fields.10.tcp_dst=80 instructions.0.type=6 \
                 instructions.0.meter_id=9 instructions.1.type=4 instructions.1.actions.0.type=24 \
                 instructions.1.actions.1.type=22 \
                 instructions.1.actions.1.group_id=6 instructions.1.actions.2.type=0 \
                 instructions.1.actions.2.port={port} instructions.1.actions.3.type=25 \
                 instructions.1.actions.3.field.0.ipv4_dst=2.2.2.2 instructions.2.type=2 instructions.2.metadata=5 \
                 instructions.2.metadata_mask=15 instructions.3.type=1 instructions.3.table_id=7"
            ),
        ));
        let mut stats = FlowStats::default();
        (stats.cookie, stats.priority, stats.idle_timeout, stats.hard_timeout) = (cookie, priority, idle, hard);
        (stats.packets, stats.bytes, stats.table) = (12, 3456, 9);
        stats.duration = std::time::Duration::new(5, 6);
        stats.matching = "ip,nw_dst=10.1.2.3".parse().unwrap();
        stats.instructions = Instructions::apply(vec![Action::output(OfPort(port.into()))]);
        let page = FlowStatsReply::pages(v13, vec![stats]).unwrap().remove(0);
        let one = |fields: &str| {
            let common =
                format!("table_id=9 duration_sec=5 duration_nsec=6 {times} packet_count=12 byte_count=3456 {fields}");
            common.split(' ').map(|field| format!("flow_stats.0.{field} ")).collect::<String>()
        };
        let old = format!("match.dl_type=2048 match.nw_dst=10.1.2.3 actions.0.port={port}");
        cases.push(case(v10, Message::FlowStatsReply(page.clone()), one(&old).trim()));
        let new = format!(
            "match.oxm_fields.0.eth_type=2048 match.oxm_fields.1.ipv4_dst=10.1.2.3 \
             instructions.0.actions.0.port={port}"
        );
        cases.push(case(v13, Message::FlowStatsReply(page), one(&new).trim()));
        let mut removed = FlowRemoved::default();
        (removed.cookie, removed.priority, removed.idle_timeout, removed.hard_timeout) = (cookie, priority, idle, hard);
        (removed.packets, removed.bytes, removed.reason) = (12, 3456, 1);
        removed.matching = "arp,arp_tpa=1.2.3.4".parse().unwrap();
        let idle_only = times.rsplit_once(' ').unwrap().0;
        let counts = "packet_count=12 byte_count=3456 reason=1";
        let matched = "match.dl_type=2054 match.nw_dst=1.2.3.4";
        cases.push(case(v10, removed.clone(), format!("type=11 {idle_only} {counts} {matched}")));
        let matched = "match.oxm_fields.0.eth_type=2054 match.oxm_fields.1.arp_tpa=16909060";
        cases.push(case(v13, removed, format!("type=11 {times} {counts} {matched}")));
        let packet = PacketOut::new(OfPort(port.into()), vec![Action::output(OfPort(2))], Vec::new());
        let says = format!("type=13 in_port={port} actions.0.type=0 actions.0.port=2");
        cases.push(case(v10, packet.clone(), says.clone()));
        cases.push(case(v13, packet, says));
        let packet = PacketIn::new(OfPort(port.into()), Vec::new());
        cases.push(case(v10, packet.clone(), format!("type=10 in_port={port} total_len=0 reason=1")));
        cases.push(case(v13, packet, format!("type=10 match.oxm_fields.0.in_port={port} total_len=0 reason=1")));
    }
    let parser = Parser::default();
    let group = "group_id=7,type=select,bucket=weight:3,watch_port:4,output:4,bucket=weight:5,output:6";
    let group = parser.group_mod(group, GroupCommand::Add).unwrap().value;
    let buckets = "buckets.0.weight=3 buckets.0.watch_port=4 buckets.0.actions.0.port=4 buckets.1.weight=5 \
                   buckets.1.actions.0.port=6";
    cases.push(case(v13, group, format!("type=15 cmd=0 group_type=1 group_id=7 {buckets}")));
    let meter =
        parser.meter_mod("meter=9,kbps,burst,band=type=drop,rate=100,burst_size=200", MeterCommand::Add).unwrap();
    let bands = "bands.0.type=1 bands.0.rate=100 bands.0.burst_size=200";
    cases.push(case(v13, Message::MeterMod(meter), format!("type=29 cmd=0 flags=5 meter_id=9 {bands}")));
    for version in [v10, v13] {
        cases.push(case(version, Message::EchoRequest(Vec::new()), "type=2 len=8 xid=77"));
    }
    cases
}

#[test]
fn scapy_finds_the_same_fields() {
    let cases = cases();
    let bytes: Vec<Vec<u8>> = cases.iter().map(|c| c.message.encode(c.version, 77).unwrap()).collect();
    let Some(read) = scapy(&bytes) else {
        eprintln!("no scapy: nothing was compared");
        return;
    };
    assert_eq!(read.len(), cases.len());
    let mut bad = Vec::new();
    for ((case, bytes), read) in cases.iter().zip(&bytes).zip(&read) {
        let is_flows = matches!(case.message, Message::FlowStatsReply(_));
        if is_flows && case.version == Version::V1_3 && read == PADDING {
            continue;
        }
        let found: Vec<&str> = read.split(' ').collect();
        let missing: Vec<&str> = case.says.split(' ').filter(|field| !found.contains(field)).collect();
        let is_raw = |path: &str, value: &str| path.ends_with("raw") && value.bytes().any(|b| b != b'0');
        let raw = found.iter().any(|field| field.split_once('=').is_some_and(|(path, value)| is_raw(path, value)));
        if !missing.is_empty() || raw {
            bad.push(format!("{}: {:?}\n{bytes:02x?}\nlacks {missing:?}\n{read}", case.version, case.message));
        }
    }
    assert!(bad.is_empty(), "{} of {}\n{}", bad.len(), cases.len(), bad.join("\n\n"));
}

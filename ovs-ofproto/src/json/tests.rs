//! What is written is read as the same, of every kind of message.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::codec::{FlowMonitorRequest, GroupMod, MeterMod, PortMod, TableMod};
use crate::text::{GroupCommand, MeterCommand, Parser};
use crate::{Action, FlowMod, Instructions};

fn value(of: impl Serialize) -> Value {
    serde_json::to_value(of).unwrap()
}

#[test]
fn actions_of_all_kinds_survive() {
    let texts = [
        "output:1,output:LOCAL,controller(max_len=5,id=7,reason=no_match,userdata=01.02,pause,meter_id=3)",
        "output:NXM_NX_REG0[0..15],output(port=2,max_len=100),enqueue:1:2,group:5,in_port,normal,flood,all,table",
        "bundle(eth_src,0,hrw,ofport,members:1,2),bundle_load(symmetric_l4,60,hrw,ofport,NXM_NX_REG0[0..15],members:2,3)",
        "set_field:10.0.0.1->nw_dst,set_field:0x10/0xf0->reg3,set_field:00:00:00:00:00:01->eth_src,load:5->NXM_NX_REG0[4..7]",
        "set_field:0x123->tun_metadata3,set_field:0xff/0x0f->tun_metadata0,move:NXM_NX_REG0[]->NXM_NX_REG1[]",
        "push:NXM_NX_REG0[],pop:NXM_NX_REG1[0..7],push_vlan:0x8100,set_vlan_vid:3,set_vlan_pcp:2,push_vlan:0x88a8,pop_vlan",
        "mod_dl_src:00:00:00:00:00:01,mod_dl_dst:00:00:00:00:00:02,mod_nw_src:1.2.3.4,mod_nw_dst:1.2.3.5,mod_nw_tos:4,mod_nw_ecn:1,mod_nw_ttl:7",
        "mod_tp_src:1,mod_tp_dst:2,dec_ttl,dec_ttl(1,2),delete_field:tun_metadata0",
        "set_tunnel:5,set_tunnel64:6,set_queue:1,pop_queue,fin_timeout(idle_timeout=5,hard_timeout=10)",
        "resubmit(1,2),resubmit(,3),resubmit:4,resubmit(,5,ct),exit,ct_clear,note:01.02.03.00.00.00",
        "learn(table=2,idle_timeout=10,hard_timeout=20,fin_idle_timeout=1,fin_hard_timeout=2,send_flow_rem,delete_learned,limit=9,result_dst=NXM_NX_REG0[1],NXM_OF_VLAN_TCI[0..11],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:5->NXM_NX_REG0[0..7],output:NXM_OF_IN_PORT[])",
        "conjunction(5,1/2)",
        "multipath(eth_src,50,modulo_n,1,0,NXM_NX_REG0[0..3])",
        "sample(probability=5,collector_set_id=1,obs_domain_id=2,obs_point_id=NXM_NX_REG0[],sampling_port=3,egress)",
        "ct(commit,force,zone=NXM_NX_REG0[0..15],table=3,alg=ftp,nat(src=10.0.0.1-10.0.0.9:5-10,random),exec(set_field:5->ct_mark))",
        "ct(commit,nat(dst=10.0.0.1:80,persistent,hash)),ct(zone=5,nat)",
        "clone(output:1,clone(set_queue:2)),check_pkt_larger(100)->NXM_NX_REG0[3]",
        "encap(nsh(md_type=2,tlv(0x1000,10,0x12345678))),encap(ethernet)",
        "decap(),decap(packet_type(ns=0,type=0))",
        "meter:3",
    ];
    for text in texts {
        let flow: FlowMod =
            format!("ct_state=+trk+est,tcp,actions={text}").parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        let actions = flow.instructions;
        let json = value(&actions);
        let read: Instructions = serde_json::from_value(json.clone()).unwrap_or_else(|e| panic!("{text}: {e}: {json}"));
        assert_eq!(read, actions, "{json}");
    }
}

#[test]
fn shapes() {
    let flow: FlowMod = "table=2,cookie=5,tcp,nw_src=10.0.0.0/8,tp_dst=80,actions=push_vlan:0x8100,set_field:4100->vlan_vid,clone(dec_ttl,output:1),write_metadata:1/3,goto_table:4".parse().unwrap();
    let of = value(&flow);
    assert_eq!(of["table_id"], 2);
    assert_eq!(of["cookie"], "0x5");
    assert_eq!(of["command"], "add");
    assert_eq!(
        of["match"],
        json!({"eth_type": "0x800", "nw_proto": 6, "ip_src": {"value": "10.0.0.0", "mask": "255.0.0.0"}, "tcp_dst": 80})
    );
    let output = json!({"output": {"port": 1, "max_len": 65535}});
    assert_eq!(
        of["instructions"],
        json!({
            "meter": null,
            "apply_actions": [{"push_vlan": "0x8100"}, {"set_field": {"vlan_vid": 4100}}, {"clone": ["dec_ttl", output]}],
            "clear_actions": false,
            "write_actions": null,
            "write_metadata": {"value": "0x1", "mask": "0x3"},
            "goto_table": 4,
        })
    );
}

#[test]
fn the_language_in_json() {
    let parser = Parser::default();
    let group = parser.group_mod("group_id=1,type=select,selection_method=hash,fields(ip_dst=255.255.0.0),bucket=weight:5,watch_port:1,actions=output:2", GroupCommand::Add).unwrap().value;
    let json = value(&group);
    assert_eq!(json["group"]["type"], "select");
    assert_eq!(json["group"]["selection"]["fields"], json!({"ip_dst": "0xffff0000"}));
    assert_eq!(serde_json::from_value::<GroupMod>(json).unwrap(), group);

    let meter = parser.meter_mod("meter=controller,kbps,stats,bands=type=drop,rate=5", MeterCommand::Add).unwrap();
    let json = value(&meter);
    assert_eq!(json["meter"]["meter_id"], "controller");
    assert_eq!(json["meter"]["flags"], json!(["kbps", "stats"]));
    assert_eq!(json["meter"]["bands"][0]["type"], "drop");
    assert_eq!(serde_json::from_value::<MeterMod>(json).unwrap(), meter);

    let port: PortMod = serde_json::from_str(r#"{"port_no": "LOCAL", "hw_addr": "00:00:00:00:00:01", "config": ["port_down"], "mask": ["port_down", "0x400"]}"#).unwrap();
    assert_eq!((port.config, port.mask), (1, 0x401));
    let table: TableMod =
        serde_json::from_str(r#"{"table": {"table_id": 3, "config": ["eviction"], "eviction": ["lifetime"]}}"#)
            .unwrap();
    assert_eq!((table.desc.table, table.desc.config, table.desc.eviction), (3, 4, Some(4)));
    let monitor: FlowMonitorRequest =
        serde_json::from_str(r#"{"monitor_id": 1, "flags": ["initial", "add"], "match": {"in_port": 1}}"#).unwrap();
    assert_eq!((monitor.id, monitor.matching.to_string()), (1, "in_port=1".to_string()));
}

#[test]
fn what_is_wrong_is_said() {
    let says = |json: &str| serde_json::from_str::<Document>(json).unwrap_err().to_string();
    for (json, wrong) in [
        (r#"{"version": "OpenFlow13"}"#, "type"),
        (r#"{"version": "OpenFlow19", "type": "barrier_request"}"#, "OpenFlow19 is no version"),
        (r#"{"version": "OpenFlow13", "type": "bogus"}"#, "unknown variant `bogus`"),
        (
            r#"{"version": "OpenFlow10", "kind": "OFPT_GROUP_MOD", "type": "barrier_request"}"#,
            "OFPT_GROUP_MOD is no message",
        ),
        (r#"{"version": "OpenFlow13", "type": "flow_mod", "body": {"bogus": 1}}"#, "unknown field `bogus`"),
        (r#"{"version": "OpenFlow13", "type": "flow_mod", "body": {"cookie": "x"}}"#, "a number that fits u64"),
        (r#"{"version": "OpenFlow13", "type": "echo_request", "body": "0"}"#, "hexadecimal digits"),
        (
            r#"{"version": "OpenFlow13", "type": "meter_mod", "body": {"command": "bogus"}}"#,
            "one of add, modify, delete",
        ),
        (r#"{"version": "OpenFlow13", "type": "role_request", "body": {"role": "boss"}}"#, "nochange, equal"),
    ] {
        assert!(says(json).contains(wrong), "{json}: {}", says(json));
    }
    let none: Document =
        serde_json::from_str(r#"{"version": "OpenFlow10", "type": "group_features_request"}"#).unwrap();
    assert!(none.encode().is_ok(), "Nicira's");
    let deep = format!(r#"{}"dec_ttl"{}"#, r#"{"clone":["#.repeat(40), "]}".repeat(40));
    let action: Action = serde_json::from_str(&deep).unwrap();
    assert!(Action::encode_list(&[action], Version::V1_3).is_err());
    let deeper = format!(r#"{}"dec_ttl"{}"#, r#"{"clone":["#.repeat(10_000), "]}".repeat(10_000));
    assert!(serde_json::from_str::<Action>(&deeper).is_err());
}

#[test]
fn all_errors_by_name_and_by_number() {
    let errors: Vec<OfError> = OfError::named().collect();
    assert_eq!(errors.len(), 198);
    for error in errors {
        let json = value(error);
        assert_eq!(json.as_str(), error.name());
        assert_eq!(serde_json::from_value::<OfError>(json).unwrap(), error);
        let sayable = Version::KNOWN.into_iter().filter_map(|v| Some((v, error.number(v)?)));
        assert!(sayable.clone().count() > 0, "{error}");
        for (version, number) in sayable {
            let read = OfError::from_number(version, number);
            assert_eq!(read.number(version), Some(number), "{error} in {version}");
            let report = Message::Error(crate::codec::ErrorMessage::new(error, &[version.0, 0, 0, 8, 0, 0, 0, 1]));
            let bytes = report.encode(version, 1).unwrap();
            let Ok((_, Message::Error(back))) = Message::decode(&bytes) else { panic!("{error} in {version}") };
            assert_eq!(back.error, read, "{error} in {version}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn every_message_survives(seed: u64) {
        for (kind, version, message) in crate::codec::tests::messages(seed) {
            let bytes = message.encode_as(kind, version, 7).unwrap();
            let document = Document::of_bytes(&bytes).unwrap();
            let json = serde_json::to_string(&document).unwrap();
            let read = serde_json::from_str::<Document>(&json).unwrap_or_else(|e| panic!("{kind:?} {version}: {e}: {json}"));
            prop_assert_eq!(&read, &document, "{}", json);
            prop_assert_eq!(read.encode(), Ok(bytes), "{}", json);
            // What is read of values, in whatever order they are held, is the same.
            let value: Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(serde_json::from_value::<Document>(value).unwrap(), document);
        }
    }
}

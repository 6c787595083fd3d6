//! Commands over the datapath of this process.

use ovs_packet::{Instant, Packet};

use super::*;
use crate::netdev::MemPort;
use crate::userspace::Datapath;
use crate::{DpAction, PortNo, TunnelPort};

struct One {
    dp: Datapath,
    file: &'static str,
}

impl Datapaths for One {
    fn kind(&self) -> &'static str {
        "netdev"
    }

    fn names(&mut self) -> Result<Vec<String>, DpifError> {
        Ok(vec!["netdev@dp0".into()])
    }

    fn open(&mut self, name: &str) -> Result<&mut dyn Dpif, DpifError> {
        if name == "netdev@dp0" { Ok(&mut self.dp) } else { Err(DpifError::NoSuchDatapath(name.into())) }
    }

    fn port(&mut self, _: &str, name: &str, kind: &str, _: &[(&str, &str)]) -> Result<PortSpec, DpifError> {
        match kind {
            "dummy" => Ok(PortSpec::Device(Box::new(MemPort::new(name, 10).0))),
            _ => Err(DpifError::Unsupported("this type")),
        }
    }

    fn now(&self) -> Instant {
        Instant::from_secs(100)
    }

    fn read(&mut self, _: &str) -> std::io::Result<String> {
        Ok(self.file.into())
    }
}

fn one() -> One {
    One { dp: Datapath::new(), file: "" }
}

#[track_caller]
fn says(all: &mut One, words: &str, expected: &str) {
    let words: Vec<&str> = words.split(' ').filter(|word| !word.is_empty()).collect();
    let said = match run(all, &words) {
        Ok(reply) => {
            // Whatever is said can be said as JSON.
            assert!(serde_json::to_string(&reply.json()).is_ok());
            reply.to_string()
        }
        Err(error) => format!("! {error}"),
    };
    assert_eq!(said, expected, "{words:?}");
}

const FLOW: &str = "in_port(1),eth(),eth_type(0x0800),ipv4(src=10.0.0.0/255.0.0.0,frag=no)";

#[test]
fn ports_come_and_go() {
    let mut all = one();
    says(&mut all, "dump-dps", "netdev@dp0\n");
    says(&mut all, "add-if dp0 p1,type=dummy,port_no=7 p2,type=dummy", "");
    says(&mut all, "add-if netdev@dp0 p1,type=dummy", "! adding p1 to netdev@dp0 failed (File exists)");
    says(&mut all, "add-if dp0 p3,type=odd", "! p3: failed to open network device (Operation not supported)");
    says(&mut all, "add-if other p3,type=dummy", "! opening datapath (No such device)");
    let shown =
        "netdev@dp0:\n  lookups: hit:0 missed:0 lost:0\n  flows: 0\n  port 1: p2 (dummy)\n  port 7: p1 (dummy)\n";
    let kind = all.dp.ports().unwrap()[0].kind;
    says(&mut all, "show", &shown.replace("dummy", kind));
    let tunnel = PortSpec::Tunnel { name: "genev_sys_6081".into(), kind: TunnelPort::Geneve { port: 6081 } };
    let number = all.dp.port_add(tunnel, None).unwrap();
    let shown = run(&mut all, &["show"]).unwrap().to_string();
    assert!(shown.contains(&format!("  port {number}: genev_sys_6081 (geneve: packet_type=ptap)\n")), "{shown}");
    all.dp.port_del(number).unwrap();
    says(&mut all, "set-if dp0 p1,type=other", &format!("! p1: can't change type from {kind} to other"));
    says(&mut all, "del-if dp0 7 p9", "! no port named p9");
    assert_eq!(run(&mut all, &["show", "-s"]).unwrap().json()[0]["ports"][0]["statistics"]["rx_packets"], 0);
    says(&mut all, "del-dp dp0", "! opening datapath (Operation not supported)");
}

#[test]
fn flows_are_put_shown_changed_and_removed() {
    let mut all = one();
    says(&mut all, &format!("add-flow {FLOW} 2"), "");
    says(&mut all, &format!("add-flow {FLOW} 3"), "! updating flow table (File exists)");
    let one = |actions: &str| format!("recirc_id(0),{FLOW}, packets:0, bytes:0, used:never, actions:{actions}\n");
    let line = |actions: &str| format!("flow-dump from the main thread:\n{}", one(actions));
    says(&mut all, "dump-flows", &line("2"));
    says(&mut all, &format!("mod-flow dp0 {FLOW} 3"), "");
    says(&mut all, "dump-flows dp0 type=ovs", &line("3"));
    says(&mut all, "dump-flows type=tc", "");
    says(&mut all, "dump-flows type=none", "! Failed to parse type (none) (Invalid argument)");
    says(&mut all, "dump-flows filter=ip,nw_src=10.1.1.1", &line("3"));
    says(&mut all, "dump-flows filter=ip,nw_src=11.1.1.1", "");
    says(&mut all, "dump-flows filter=ip,nw_src(10.1.1.1)", &line("3"));
    says(&mut all, "dump-flows filter=ip,in_port(99)", "");
    says(&mut all, "dump-flows type=offloaded,partially-offloaded", "");
    says(&mut all, "dump-flows type=ovs", &line("3"));
    let ufid = all.dp.flow_dump().unwrap()[0].ufid;
    says(&mut all, &format!("get-flow {ufid}"), &one("3"));
    let more = run(&mut all, &["dump-flows", "-m"]).unwrap().to_string();
    assert!(
        more.starts_with(&format!(
            "flow-dump from the main thread:\n{ufid}, recirc_id(0),dp_hash(0/0),skb_priority(0/0),in_port(1),"
        )),
        "{more}"
    );
    assert!(
        more.contains("ipv4(src=10.0.0.0/255.0.0.0,dst=0.0.0.0/0.0.0.0,proto=0/0,tos=0/0,ttl=0/0,frag=no), pack"),
        "{more}"
    );
    assert!(more.ends_with(", dp:ovs, actions:3\n"), "{more}");
    says(&mut all, "mod-flow in_port(9),eth() 3", "! updating flow table (No such file or directory)");
    says(&mut all, "mod-flow --may-create in_port(9),eth() drop", "");
    says(&mut all, &format!("del-flow -s {FLOW}"), "packets:0, bytes:0, used:never\n");
    says(&mut all, &format!("del-flow {ufid}"), "! deleting flow (No such file or directory)");
    says(
        &mut all,
        "del-flow in_port(77)",
        "! deleting flow (No such file or directory)\nPerhaps you need to specify a UFID?",
    );
    says(&mut all, "del-flows", "");
    says(&mut all, "dump-flows", "");
    let mine = "ufid:00000001-0002-0003-0004-000000000005";
    says(&mut all, &format!("add-flow {mine},in_port(1),eth() 2"), "");
    says(&mut all, &format!("del-flow {mine}"), "");
}

#[test]
fn flows_come_from_files() {
    let mut all = one();
    all.file = "# what follows\nin_port(1),eth() 2\nadd in_port(2),eth() 3\n\nmodify in_port(1),eth() 4\nbroken\n";
    says(&mut all, "add-flows dp0 file", "! Failed parsing line number 6, skipped!");
    assert_eq!(all.dp.flow_dump().unwrap().len(), 2);
    assert!(all.dp.flow_dump().unwrap().iter().any(|flow| flow.actions == [DpAction::Output(PortNo(4))]));
    all.file = "in_port(1),eth()\ndelete in_port(2),eth()";
    says(&mut all, "del-flows file", "");
    assert!(all.dp.flow_dump().unwrap().is_empty());
}

#[test]
fn actions_are_read_and_normalized() {
    let mut all = one();
    says(&mut all, "parse-actions 1,push_vlan(vid=5,pcp=0),2 drop", "1,push_vlan(vid=5,pcp=0),2\ndrop\n");
    says(
        &mut all,
        "parse-actions x",
        "! odp_actions_from_string (syntax error at character 1: expected an action or a port, not 'x')",
    );
    says(
        &mut all,
        "normalize-actions in_port(1),eth(),eth_type(0x8100),vlan(vid=9,pcp=0),encap(eth_type(0x1234)) 3,2,pop_vlan,5,4,push_vlan(vid=11,pcp=0),7",
        "input flow: in_port(1),eth(),eth_type(0x8100),vlan(vid=9,pcp=0),encap(eth_type(0x1234))\n\
         no vlan: no mpls: 4,5\nvlan(vid=9,pcp=0): no mpls: 2,3\nvlan(vid=11,pcp=0): no mpls: 7\n",
    );
}

#[test]
fn connections_are_managed() {
    let mut all = one();
    let m: ovs_packet::Match = "tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=1,tp_dst=80,tcp_flags=+syn".parse().unwrap();
    let packet: Packet = ovs_packet::compose::compose(m.key(), b"");
    let ct = crate::CtRequest::commit(5);
    all.dp.inject(packet, &[DpAction::Ct(ct)], Instant::from_secs(100), &mut Vec::new());
    let line =
        "tcp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1,dport=80),reply=(src=10.0.0.2,dst=10.0.0.1,sport=80,dport=1)";
    says(&mut all, "dump-conntrack", &format!("{line},zone=5,protoinfo=(state=SYN_SENT)\n"));
    says(
        &mut all,
        "dump-conntrack -m -s dp0 zone=5",
        &format!("{line},id=0,zone=5,status=0,timeout=30,protoinfo=(state_orig=SYN_SENT,state_reply=CLOSED)\n"),
    );
    says(&mut all, "dump-conntrack zone=6", "");
    says(&mut all, "ct-get-nconns", "1\n");
    says(
        &mut all,
        "ct-stats-show -m",
        "Connections Stats:\n    Total: 1\n  TCP: 1\n    Conn per TCP states:\n\t  [SYN_SENT]=1\n",
    );
    says(&mut all, "ct-set-maxconns 77", "setting maxconns successful");
    says(&mut all, "ct-get-maxconns", "77\n");
    says(&mut all, "ct-get-tcp-seq-chk", "TCP sequence checking: enabled\n");
    says(&mut all, "ct-disable-tcp-seq-chk", "disabling TCP sequence checking successful");
    says(&mut all, "ct-get-tcp-seq-chk dp0", "TCP sequence checking: disabled\n");
    says(&mut all, "ct-set-limits default=10 zone=5,limit=3 zone=6,limit=4", "");
    says(&mut all, "ct-get-limits zone=5,6", "default limit=10\nzone=5,limit=3,count=1\nzone=6,limit=4,count=0\n");
    says(&mut all, "ct-del-limits zone=5,6", "");
    says(&mut all, "ct-set-limits dp0 zone=5", "! failed to parse zone limit (Invalid argument)");
    says(&mut all, "ct-set-limits", "! 'ct-set-limits' command requires at least 1 arguments");
    says(&mut all, "flush-conntrack ct_nw_src=10.0.0.9", "");
    says(&mut all, "ct-get-nconns", "1\n");
    says(&mut all, "flush-conntrack ct_tp_src=1", "! port is set without protocol");
    says(&mut all, "flush-conntrack zone=5 ct_nw_src=10.0.0.1,ct_nw_proto=6,ct_tp_dst=80", "");
    says(&mut all, "ct-get-nconns", "0\n");
    says(&mut all, "ct-bkts", "Total Buckets: 1\nCurrent Connections: 0\n\n");
    says(&mut all, "ct-get-sweep-interval", "20000\n");
    says(&mut all, "ct-set-sweep-interval 5000", "setting sweep interval successful");
    says(&mut all, "ct-get-sweep-interval dp0", "5000\n");
    says(&mut all, "ct-set-sweep-interval 0", "! invalid sweep value (Invalid argument)");
    says(&mut all, "dump-conntrack-exp", "");
    says(&mut all, "ipf-set-disabled v6", "disabling fragmentation reassembly successful");
    says(&mut all, "ipf-set-min-frag v4 1000", "setting minimum fragment size successful");
    says(
        &mut all,
        "ipf-set-min-frag v4 10",
        "! requested minimum fragment size too small; see documentation (Invalid argument)",
    );
    says(&mut all, "ipf-set-max-nfrags 500", "setting maximum fragments successful");
    let status = run(&mut all, &["ipf-get-status"]).unwrap().to_string();
    for line in ["v6 enabled: 0", "max num frags (v4/v6): 500", "min v4 frag size: 1000"] {
        assert!(status.contains(line), "{status}");
    }
}

#[test]
fn what_a_tunnel_is_not_goes_without_saying() {
    let mut all = one();
    let flow = "tunnel(tun_id=0,src=1.1.1.1,dst=2.2.2.2,tos=0,ttl=64,flags(-key)),in_port(1),eth()";
    says(&mut all, &format!("add-flow {flow} 2"), "");
    let [brief, more] =
        [&["dump-flows"][..], &["dump-flows", "-m"]].map(|words| run(&mut all, words).unwrap().to_string());
    assert!(brief.contains("tunnel(src=1.1.1.1,dst=2.2.2.2,ttl=64),in_port(1)"), "{brief}");
    assert!(more.contains("tunnel(tun_id=0x0,src=1.1.1.1,dst=2.2.2.2,") && more.contains("flags(-key)"), "{more}");
}

#[test]
fn commands_are_refused() {
    let mut all = one();
    says(&mut all, "", "! missing command name; use --help for help");
    says(&mut all, "fly", "! unknown command 'fly'; use --help for help");
    says(&mut all, "add-flow x", "! 'add-flow' command requires at least 2 arguments");
    says(&mut all, "dump-dps x", "! 'dump-dps' command takes at most 0 arguments");
    says(&mut all, "--odd dump-dps", "! unrecognized option '--odd'");
    says(&mut all, "del-flows --read-only", "! del-flows: no read/write commands with --read-only");
    says(&mut all, "offload-stats-show", "HW Offload stats:\n");
    says(&mut all, "cache-set-size dp0 x 1", "! Cache name \"x\" not found on dpif (Invalid argument)");
    assert_eq!(commands().count(), 43);
}

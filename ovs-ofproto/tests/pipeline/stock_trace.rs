//! The same flows in a stock `ovs-vswitchd` and in ours, the same packets traced through both: the same datapath actions,
//! and megaflows that ask for no more. Skipped where the stock programs are not installed.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ovs_dpif::{PortNo, text};
use ovs_ofproto::codec::Version;
use ovs_ofproto::pipeline::{Port, PriorityTags, VlanMode};
use ovs_ofproto::text::GroupCommand;
use ovs_packet::field::FieldId;
use ovs_packet::{Match, OfPort};

use crate::world::{World, group};

/// A stock switch in a folder of its own, which ends with it.
struct Stock {
    dir: PathBuf,
    daemons: Vec<Child>,
}

impl Stock {
    fn start() -> Option<Stock> {
        let schema = PathBuf::from("/usr/share/openvswitch/vswitch.ovsschema");
        let there = |name: &str| Command::new(name).arg("--version").stdout(Stdio::null()).status().is_ok();
        if !schema.exists() || !["ovs-vswitchd", "ovsdb-server", "ovs-ofctl", "ovs-appctl"].into_iter().all(there) {
            return None;
        }
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("ovs-rs-trace-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).ok()?;
        let mut s = Stock { dir, daemons: Vec::new() };
        let db = s.path("conf.db");
        s.run("ovsdb-tool", &["create", &db, schema.to_str()?]);
        let sock = format!("unix:{}", s.path("db.sock"));
        s.daemon("ovsdb-server", &[&format!("--remote=p{sock}"), &format!("--unixctl={}", s.path("db.ctl")), &db]);
        s.wait("db.sock");
        s.run("ovs-vsctl", &[&format!("--db={sock}"), "--retry", "--timeout=50", "--no-wait", "init"]);
        let ctl = format!("--unixctl={}", s.path("sw.ctl"));
        s.daemon("ovs-vswitchd", &[&ctl, "--enable-dummy", "--disable-system", "--disable-system-route", &sock]);
        s.wait("sw.ctl");
        let mut args = vec![format!("--db={sock}"), "--timeout=50".into()];
        let words = "add-br br0 -- set bridge br0 datapath-type=dummy fail-mode=secure \
             protocols=OpenFlow10,OpenFlow11,OpenFlow12,OpenFlow13,OpenFlow14,OpenFlow15";
        args.extend(words.split_whitespace().map(String::from));
        for n in 1..=4 {
            let words = format!("-- add-port br0 p{n} -- set interface p{n} type=dummy ofport_request={n}");
            args.extend(words.split_whitespace().map(String::from));
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        s.run("ovs-vsctl", &args);
        s.wait("br0.mgmt");
        Some(s)
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).to_string_lossy().into_owned()
    }

    fn command(&self, program: &str) -> Command {
        let mut c = Command::new(program);
        for var in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
            c.env(var, &self.dir);
        }
        c
    }

    fn run(&self, program: &str, args: &[&str]) -> String {
        let out = self.command(program).args(args).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{program} {args:?}: {text}{}", String::from_utf8_lossy(&out.stderr));
        text
    }

    fn daemon(&mut self, program: &str, args: &[&str]) {
        let child = self.command(program).args(args).arg("-vconsole:off").stdout(Stdio::null()).spawn().unwrap();
        self.daemons.push(child);
    }

    fn wait(&self, file: &str) {
        let end = std::time::Instant::now() + Duration::from_secs(50);
        while !self.dir.join(file).exists() {
            assert!(std::time::Instant::now() < end, "{file} does not come");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn ofctl(&self, command: &str, arg: &str) {
        self.run("ovs-ofctl", &["-O", "OpenFlow15", command, &format!("unix:{}", self.path("br0.mgmt")), arg]);
    }

    fn set_flows(&self, flows: &[&str]) {
        let file = self.path("flows");
        std::fs::write(&file, flows.join("\n")).unwrap();
        self.run("ovs-ofctl", &["-O", "OpenFlow15", "del-flows", &format!("unix:{}", self.path("br0.mgmt"))]);
        // What one version cannot say, another can.
        let taken = ["OpenFlow15", "OpenFlow13", "OpenFlow10"].into_iter().any(|version| {
            let to = format!("unix:{}", self.path("br0.mgmt"));
            let mut add = self.command("ovs-ofctl");
            add.args(["-O", version, "add-flows", &to, &file]).stderr(Stdio::null());
            add.status().unwrap().success()
        });
        assert!(taken, "{flows:?}");
    }

    /// Megaflow and datapath actions of each pass.
    fn trace(&self, packet: &str) -> Vec<(String, String)> {
        let out = self.run("ovs-appctl", &["-t", &self.path("sw.ctl"), "ofproto/trace", "br0", packet]);
        let of = |word: &'static str| out.lines().filter_map(move |l| l.strip_prefix(word).map(str::to_string));
        of("Megaflow: ").zip(of("Datapath actions: ")).collect()
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        for d in &mut self.daemons {
            let _ = d.kill();
            let _ = d.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn ours(flows: &[&str], groups: &[&str]) -> World {
    let mut world = World::new(4);
    world.plug(OfPort::LOCAL, "br0", Some(PortNo(100)));
    let controller = world.connect(Version::V1_5);
    for words in groups {
        world.say(controller, Version::V1_5, 1, &group(words, GroupCommand::Add).into());
    }
    assert_eq!(world.of.groups().len(), groups.len());
    world.of.disconnect(controller);
    flows.iter().for_each(|flow| world.add(flow));
    world
}

/// Actions with recirculation ids as they are met, and the ports of a flood in order.
fn settled(actions: &str) -> String {
    let mut ids: Vec<String> = Vec::new();
    let mut out = String::new();
    let mut rest = actions;
    while let Some(at) = rest.find("recirc(0x") {
        let (before, from) = rest.split_at(at + "recirc(".len());
        let end = from.find(')').unwrap();
        let id = from[..end].to_string();
        let n = ids.iter().position(|i| *i == id).unwrap_or_else(|| {
            ids.push(id.clone());
            ids.len() - 1
        });
        out += before;
        out += &format!("#{n}");
        rest = &from[end..];
    }
    out += rest;
    // A cookie has the id of a frozen state, which is the switch's own.
    while let Some(at) = out.find("recirc_id=") {
        let end = out[at..].find(',').map_or(out.len(), |e| at + e);
        out.replace_range(at..end, "recirc_id:");
    }
    let ports: Option<Vec<u32>> = out.split(',').map(|p| p.parse().ok()).collect();
    match ports {
        Some(mut ports) => {
            ports.sort_unstable();
            ports.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
        }
        None => out,
    }
}

/// The fields in which a megaflow asks for bits that another does not.
fn beyond(ours: &Match, theirs: &Match) -> Vec<&'static str> {
    // The words of a match do not tell of all that a datapath's key has.
    let hidden = |f: &FieldId| {
        matches!(
            f,
            FieldId::RecircId
                | FieldId::PacketType
                | FieldId::InPort
                | FieldId::InPortOxm
                | FieldId::EthType
                | FieldId::IpFrag
        )
    };
    let more = |f: &FieldId| {
        // Whether there is a tag is known to every datapath flow, and not told.
        let bits = |m: &Match| {
            let mut bits = m.mask().bits;
            bits.vlan_tci = (bits.vlan_tci.get() & !0x1000).into();
            f.info().get(&bits)
        };
        let (a, b) = (bits(ours), bits(theirs));
        a & !b != 0 && f.info().attr.is_some() && f.tun_metadata_index().is_none()
    };
    FieldId::all().filter(|f| !hidden(f) && more(f)).map(|f| f.info().name).collect()
}

struct Case {
    flows: &'static [&'static str],
    groups: &'static [&'static str],
    packets: &'static [&'static str],
}

const UDP: &str = "in_port=1,udp,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=64,udp_src=5,udp_dst=53";
const TCP: &str = "in_port=1,tcp,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=1,nw_tos=32,tcp_src=80,tcp_dst=5000";
const TAGGED: &str = "in_port=2,tcp,dl_vlan=10,dl_vlan_pcp=3,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,nw_src=10.0.0.1,nw_dst=10.0.0.9,nw_ttl=64,tcp_src=80,tcp_dst=5000";
const ARP: &str = "in_port=3,arp,dl_src=02:00:00:00:00:01,dl_dst=ff:ff:ff:ff:ff:ff,arp_spa=10.0.0.1,arp_tpa=10.0.0.2,arp_op=1,arp_sha=02:00:00:00:00:01";
const TCP6: &str = "in_port=1,tcp6,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,ipv6_src=fe80::1,ipv6_dst=fe80::2,nw_ttl=64,tcp_src=80,tcp_dst=5000";
const ICMP: &str = "in_port=4,icmp,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,nw_src=10.1.0.1,nw_dst=10.0.0.2,nw_ttl=64,icmp_type=8,icmp_code=0";
const MPLS: &str =
    "in_port=1,mpls,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,mpls_label=100,mpls_tc=3,mpls_ttl=64,mpls_bos=1";
const ALL: &[&str] = &[UDP, TCP, TAGGED, ARP, TCP6, ICMP, MPLS];

const fn case(flows: &'static [&'static str]) -> Case {
    Case { flows, groups: &[], packets: ALL }
}

const CASES: &[Case] = &[
    case(&["actions=2"]),
    case(&["actions=drop"]),
    case(&["actions=IN_PORT,2"]),
    case(&["actions=ALL"]),
    case(&["actions=FLOOD"]),
    case(&["actions=NORMAL"]),
    case(&["actions=LOCAL"]),
    case(&["udp,tp_dst=53,actions=3", "tcp,tp_src=80,actions=4", "priority=1,actions=2"]),
    case(&["ip,nw_dst=10.0.0.2,actions=mod_nw_dst:1.2.3.4,dec_ttl,2", "priority=1,actions=3"]),
    case(&["ip,actions=mod_nw_tos:64,mod_nw_ecn:1,mod_nw_src:9.9.9.9,2,mod_nw_ttl:7,3"]),
    case(&["ipv6,actions=dec_ttl,set_field:fe80::9->ipv6_dst,set_field:7->ipv6_label,2"]),
    case(&["udp,actions=mod_tp_dst:54,mod_tp_src:7,2", "tcp,actions=mod_tp_dst:54,3", "tcp6,actions=mod_tp_src:54,3"]),
    case(&["actions=mod_dl_src:02:00:00:00:00:99,2,mod_dl_dst:02:00:00:00:00:98,3,4"]),
    case(&["actions=set_field:00:00:00:00:00:05/00:00:00:00:00:ff->eth_src,2"]),
    case(&["actions=push_vlan:0x8100,set_field:4197->vlan_vid,2"]),
    case(&["actions=mod_vlan_vid:7,2,mod_vlan_pcp:5,3"]),
    case(&["vlan_tci=0x1000/0x1000,actions=pop_vlan,3", "priority=1,actions=strip_vlan,2"]),
    case(&["dl_vlan=10,actions=set_field:4107->vlan_vid,1", "priority=1,vlan_tci=0,actions=2"]),
    case(&["actions=push_vlan:0x88a8,set_field:4196->vlan_vid,push_vlan:0x8100,set_field:4197->vlan_vid,2"]),
    case(&["actions=resubmit(,1),2", "table=1,ip,actions=mod_nw_src:1.1.1.1,resubmit(,2),3", "table=2,actions=4"]),
    case(&["actions=resubmit(3,1),2", "table=1,in_port=3,actions=4", "table=1,priority=1,actions=3"]),
    case(&[
        "actions=load:5->NXM_NX_REG0[],resubmit(,1)",
        "table=1,reg0=5,ip,actions=move:NXM_OF_IP_SRC[]->NXM_NX_REG1[],resubmit(,2)",
        "table=2,reg1=0x0a000001,actions=3",
        "table=2,priority=1,actions=4",
    ]),
    case(&[
        "actions=write_metadata:0x7/0xff,goto_table:5",
        "table=5,metadata=7/0xf,actions=write_actions(output:2),goto_table:6",
        "table=6,tcp,actions=clear_actions",
        "table=6,priority=1,actions=3",
    ]),
    case(&["ip,actions=write_actions(set_field:1.2.3.4->ip_dst,output:4,dec_ttl),goto_table:1", "table=1,actions=2"]),
    case(&["actions=push:NXM_OF_ETH_SRC[],push:NXM_OF_ETH_DST[],pop:NXM_OF_ETH_SRC[],pop:NXM_OF_ETH_DST[],IN_PORT"]),
    case(&["actions=clone(mod_dl_dst:02:00:00:00:00:99,2),3"]),
    case(&["ip,actions=clone(ct(commit),2),3"]),
    case(&[
        "ip,actions=ct(table=1,zone=5),2",
        "table=1,ct_state=+trk+new,ip,actions=ct(commit,zone=5,exec(set_field:0x1/0xf->ct_mark)),3",
    ]),
    case(&["ip,actions=ct(commit,nat(src=1.1.1.1-1.1.1.9:1000-2000,random)),2"]),
    case(&["tcp,actions=ct(commit,force,alg=ftp,zone=NXM_NX_REG0[0..15]),3", "priority=1,actions=2"]),
    case(&["ip,actions=ct(table=1,nat)", "table=1,ct_zone=0,ct_state=+trk,ip,actions=ct_clear,4"]),
    case(&["mpls,actions=pop_mpls:0x0800,2"]),
    case(&["mpls,actions=pop_mpls:0x0800,dec_ttl,2"]),
    case(&["mpls,actions=set_field:200->mpls_label,set_field:2->mpls_tc,dec_mpls_ttl,2"]),
    case(&["mpls,actions=push_mpls:0x8847,set_field:7->mpls_label,2"]),
    case(&["ip,actions=push_mpls:0x8847,set_field:7->mpls_label,2"]),
    case(&["ip,actions=push_mpls:0x8847,2", "ipv6,actions=push_mpls:0x8847,3"]),
    case(&["actions=controller"]),
    case(&["actions=controller(max_len=100,reason=invalid_ttl,id=7),2"]),
    case(&["ip,actions=dec_ttl(1,2),2"]),
    case(&["actions=set_queue:3,2,pop_queue,3"]),
    case(&["actions=enqueue:2:5,3"]),
    case(&["actions=output(port=2,max_len=100),3"]),
    case(&["actions=load:3->NXM_NX_REG2[],output:NXM_NX_REG2[]"]),
    case(&["actions=set_field:5->pkt_mark,2"]),
    case(&[
        "arp,actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],load:2->NXM_OF_ARP_OP[],move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],IN_PORT",
    ]),
    case(&["icmp,actions=set_field:0->icmp_type,IN_PORT"]),
    case(&[
        "actions=check_pkt_larger(1000)->NXM_NX_REG0[0],resubmit(,1)",
        "table=1,reg0=1,actions=2",
        "table=1,reg0=0,actions=3",
    ]),
    case(&["ip,actions=note:01.02,exit,2"]),
    case(&[
        "priority=10,ip,conj_id=1,actions=3",
        "priority=10,ip,nw_src=10.0.0.1,actions=conjunction(1,1/2)",
        "priority=10,udp,tp_dst=53,actions=conjunction(1,2/2)",
        "priority=1,actions=2",
    ]),
    case(&["actions=learn(table=1,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[]),2"]),
    case(&["actions=fin_timeout(idle_timeout=1),2"]),
    case(&["actions=debug_recirc,2"]),
    case(&[
        "ip,actions=mod_nw_src:1.1.1.1,debug_recirc,mod_nw_dst:2.2.2.2,resubmit(,1),3",
        "table=1,actions=debug_recirc,4",
    ]),
    case(&["actions=write_actions(output:2),goto_table:1", "table=1,actions=3,exit,4"]),
    case(&["actions=resubmit(,1),4", "table=1,actions=3,exit,2"]),
    case(&["in_port=1,actions=resubmit(,0)", "priority=1,actions=2"]),
    case(&["tcp,tcp_flags=+syn,actions=2", "tcp,actions=3", "priority=1,actions=4"]),
    Case {
        flows: &["actions=group:1"],
        groups: &["group_id=1,type=all,bucket=output:2,bucket=mod_dl_src:02:00:00:00:00:77,output:3"],
        packets: ALL,
    },
    Case {
        flows: &["actions=group:1,4"],
        groups: &["group_id=1,type=indirect,bucket=mod_dl_src:02:00:00:00:00:77,output:3"],
        packets: ALL,
    },
    Case {
        flows: &["actions=group:1"],
        groups: &["group_id=1,type=ff,bucket=watch_port:2,output:2,bucket=watch_port:3,output:3"],
        packets: ALL,
    },
    Case {
        flows: &["actions=group:1"],
        groups: &["group_id=1,type=select,bucket=output:2,bucket=output:2"],
        packets: &[UDP],
    },
    Case {
        flows: &["actions=group:2"],
        groups: &[
            "group_id=1,type=all,bucket=output:2,bucket=output:3",
            "group_id=2,type=all,bucket=group:1,bucket=output:4",
        ],
        packets: ALL,
    },
];

/// Where ours is otherwise, and why.
struct Known {
    flow: &'static str,
    packets: &'static [&'static str],
    why: &'static str,
}

const KNOWN: &[Known] = &[
    Known {
        flow: "actions=mod_vlan_vid:7,2,mod_vlan_pcp:5,3",
        packets: &[TAGGED],
        why: "a tag in words has no tag protocol to stock, which does not take it off",
    },
    Known {
        flow: "mpls,actions=set_field:200->mpls_label,set_field:2->mpls_tc,dec_mpls_ttl,2",
        packets: &[MPLS],
        why: "the whole entry is set, and stock overwrites the bottom-of-stack bit unseen",
    },
    Known { flow: "icmp,actions=set_field:0->icmp_type,IN_PORT", packets: &[ICMP], why: "ours leaves the code alone" },
];

#[test]
fn stock_and_ours_agree() {
    let Some(stock) = Stock::start() else {
        eprintln!("skipped: stock programs are not installed");
        return;
    };
    let (mut agreed, mut known, mut traced, mut wider, mut differences) = (0, 0, 0, 0, Vec::new());
    for case in CASES {
        stock.ofctl("del-groups", "group_id=all");
        case.groups.iter().for_each(|g| stock.ofctl("add-group", g));
        stock.set_flows(case.flows);
        let mut ours = ours(case.flows, case.groups);
        for packet in case.packets {
            let theirs = stock.trace(packet);
            let trace = ours.trace(packet);
            let mine: Vec<_> = trace.passes.iter().map(|p| text::actions(&p.actions).to_string()).collect();
            traced += 1;
            let their_actions: Vec<_> = theirs.iter().map(|(_, a)| settled(a)).collect();
            let my_actions: Vec<_> = mine.iter().map(|a| settled(a)).collect();
            let mut different =
                (their_actions != my_actions).then(|| format!("actions {their_actions:?}, ours {my_actions:?}"));
            for ((megaflow, _), pass) in theirs.iter().zip(&trace.passes) {
                // Stock writes fields that the packet has not.
                let Ok(theirs) = megaflow.parse::<Match>() else { continue };
                let more = beyond(&pass.megaflow, &theirs);
                if !more.is_empty() {
                    different =
                        different.or(Some(format!("megaflow {megaflow}, ours asks for {more:?}: {}", pass.megaflow)));
                } else if !beyond(&theirs, &pass.megaflow).is_empty() {
                    wider += 1;
                }
            }
            if let Some(why) = KNOWN.iter().find(|k| case.flows[0] == k.flow && k.packets.contains(packet)) {
                assert!(different.is_some(), "no longer: {}", why.why);
                known += 1;
                continue;
            }
            match different {
                Some(d) => differences.push(format!("{:?} {:?}\n  {packet}\n  {d}", case.flows, case.groups)),
                None => agreed += 1,
            }
        }
    }
    println!("{agreed} of {traced} agree, {known} differ for known reasons; {wider} of our megaflows are wider");
    assert!(differences.is_empty(), "{} differences of {traced}:\n{}", differences.len(), differences.join("\n"));
}

/// How a port is set up, in stock's words and in ours.
type Setup = (u32, &'static str, fn(&mut Port));

const SETUPS: &[&[Setup]] = &[
    &[
        (1, "tag=10", |p| p.vlan = VlanMode::Access(10)),
        (2, "trunks=10,20", |p| p.vlan = VlanMode::Trunk([10, 20].into_iter().collect())),
        (3, "tag=10 vlan_mode=native-untagged trunks=10,20", |p| {
            p.vlan = VlanMode::NativeUntagged(10, [20].into_iter().collect());
        }),
        (4, "tag=20 vlan_mode=native-tagged trunks=10,20", |p| {
            p.vlan = VlanMode::NativeTagged(20, [10].into_iter().collect());
        }),
    ],
    &[
        (1, "tag=20 other_config:priority-tags=if-nonzero", |p| {
            (p.vlan, p.priority_tags) = (VlanMode::Access(20), PriorityTags::IfNonzero);
        }),
        (2, "tag=10 other_config:priority-tags=always", |p| {
            (p.vlan, p.priority_tags) = (VlanMode::Access(10), PriorityTags::Always);
        }),
        (3, "trunks=0,10,20 protected=true", |p| {
            (p.vlan, p.protected) = (VlanMode::Trunk([0, 10, 20].into_iter().collect()), true);
        }),
        (4, "trunks=10,20 protected=true", |p| {
            (p.vlan, p.protected) = (VlanMode::Trunk([10, 20].into_iter().collect()), true);
        }),
    ],
];

#[test]
fn stock_and_ours_agree_on_vlans() {
    let Some(stock) = Stock::start() else {
        eprintln!("skipped: stock programs are not installed");
        return;
    };
    stock.set_flows(&["actions=NORMAL"]);
    let (mut agreed, mut differences) = (0, Vec::new());
    for setup in SETUPS {
        let mut ours = ours(&["actions=NORMAL"], &[]);
        let mut args = vec![format!("--db=unix:{}", stock.path("db.sock"))];
        for (n, words, change) in *setup {
            ours.set_port(*n, change);
            let clear = format!("-- clear port p{n} tag trunks vlan_mode other_config -- set port p{n} {words}");
            args.extend(clear.split_whitespace().map(String::from));
        }
        stock.run("ovs-vsctl", &args.iter().map(String::as_str).collect::<Vec<_>>());
        for port in 1..=4 {
            for (vid, pcp) in [(None, 0), (Some(10), 0), (Some(20), 3), (Some(0), 5), (Some(30), 0)] {
                let tag = vid.map_or(String::new(), |vid| format!(",dl_vlan={vid},dl_vlan_pcp={pcp}"));
                let came = vid.map_or("none".to_string(), |vid| format!("push_vlan(vid={vid},pcp={pcp})"));
                {
                    let packet = format!("in_port={port},udp,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02{tag}");
                    let theirs: Vec<_> = stock.trace(&packet).into_iter().map(|(_, a)| copies(&a, &came)).collect();
                    let trace = ours.trace(&packet);
                    let mine: Vec<_> =
                        trace.passes.iter().map(|p| copies(&text::actions(&p.actions).to_string(), &came)).collect();
                    match theirs == mine {
                        true => agreed += 1,
                        false => differences.push(format!("{packet}: {theirs:?}, ours {mine:?}")),
                    }
                }
            }
        }
    }
    println!("{agreed} agree");
    assert!(
        differences.is_empty(),
        "{} of {}:\n{}",
        differences.len(),
        differences.len() + agreed,
        differences.join("\n")
    );
}

/// The copies that actions on tags make, in whatever order: ports with the tag that each gets, of a packet that came with
/// one.
fn copies(actions: &str, came: &str) -> Vec<String> {
    let (mut tag, mut out, mut depth) = (came.to_string(), Vec::new(), 0);
    let words = actions.split(|c| {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        c == ',' && depth == 0
    });
    for word in words {
        match word {
            "drop" => {}
            "pop_vlan" => tag = "none".into(),
            push if push.starts_with("push_vlan") => tag = push.to_string(),
            port => out.push(format!("{port}: {tag}")),
        }
    }
    out.sort();
    out
}

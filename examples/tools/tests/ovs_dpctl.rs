//! `ovs-dpctl` of ours and the stock one on the same datapath: the same text.

#![cfg(target_os = "linux")]

use std::path::Path;
use std::process::Command;

const OURS: &str = env!("CARGO_BIN_EXE_ovs-dpctl");
const STOCK: &str = "/usr/bin/ovs-dpctl";

/// What a program says, on both outputs, and whether it was content.
fn say(program: &str, words: &[&str]) -> (String, bool) {
    let output = Command::new(program).args(words).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (text, output.status.success())
}

#[track_caller]
fn ours(words: &[&str]) -> String {
    let (text, content) = say(OURS, words);
    assert!(content, "{words:?}: {text}");
    text
}

#[test]
fn what_needs_no_kernel() {
    let (text, content) = say(OURS, &["parse-actions", "1,pop_vlan,2"]);
    assert_eq!((text.as_str(), content), ("1,pop_vlan,2\n", true));
    let (text, content) = say(OURS, &["--format", "json", "parse-actions", "1"]);
    assert_eq!((text.as_str(), content), ("[\"1\"]\n", true));
    let (text, content) = say(OURS, &["fly"]);
    assert_eq!((text.as_str(), content), ("ovs-dpctl: unknown command 'fly'; use --help for help\n", false));
}

#[test]
fn in_a_kernel() {
    ovs_test_kernel::run_ignored_tests();
}

/// Keys and actions, all as upstream's tools read them.
const FLOWS: &[(&str, &str)] = &[
    (
        "recirc_id(0),in_port(1),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.0/255.255.255.0,proto=6,tos=0,ttl=64,frag=no),tcp(src=1,dst=80),tcp_flags(syn)",
        "2,3",
    ),
    (
        "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(src=10.0.0.2,proto=17,frag=no),udp(src=1/0xff,dst=53)",
        "set(ipv4(src=1.1.1.1,ttl=9)),set(udp(dst=54)),2",
    ),
    (
        "recirc_id(0x5),in_port(2),eth(),eth_type(0x86dd),ipv6(src=fe80::/ffff::,proto=58,frag=no),icmpv6(type=135,code=0),nd(target=fe80::9)",
        "drop",
    ),
    (
        "recirc_id(0),in_port(3),eth(),eth_type(0x0806),arp(sip=1.1.1.1,tip=1.1.1.2,op=1,sha=02:00:00:00:00:01)",
        "push_vlan(vid=5,pcp=3),2,pop_vlan,3",
    ),
    (
        "recirc_id(0),in_port(1),eth(),eth_type(0x8100),vlan(vid=5,pcp=0),encap(eth_type(0x0800),ipv4(src=10.0.0.3,frag=no))",
        "pop_vlan,1",
    ),
    (
        "recirc_id(0),in_port(2),skb_mark(0x5/0xff),ct_state(+est+trk),ct_mark(0x1/0xf),eth(),eth_type(0x0800),ipv4(frag=no)",
        "ct(commit,mark=0x1/0xff,nat(src=10.1.0.1-10.1.0.9:1000-2000)),recirc(7)",
    ),
    ("recirc_id(0),in_port(3),eth(),eth_type(0x8847),mpls(label=100,tc=3,ttl=64,bos=1)", "pop_mpls(eth_type=0x800),2"),
    (
        "recirc_id(0),in_port(1),eth(),eth_type(0x1234)",
        "userspace(pid=7,slow_path(cfm)),userspace(pid=7,userdata(0102)),sample(sample=50.0%,actions(2)),clone(3),trunc(100),2",
    ),
    (
        "recirc_id(0),tunnel(tun_id=0x5,src=1.1.1.1,dst=2.2.2.2,ttl=64,flags(-df-csum+key)),in_port(1),eth(),eth_type(0x1235)",
        "set(tunnel(tun_id=0x6,src=2.2.2.2,dst=1.1.1.1,ttl=64,flags(df|key))),2",
    ),
    (
        "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(src=10.0.0.4,proto=1,frag=no),icmp(type=8,code=0)",
        "check_pkt_len(size=200,gt(2),le(3))",
    ),
    (
        "recirc_id(0),in_port(1),eth(src=02:00:00:00:00:00/ff:ff:00:00:00:00),eth_type(0x0800),ipv4(src=10.0.0.5,frag=later)",
        "hash(l4(0)),recirc(9)",
    ),
    (
        "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(src=10.0.0.6,proto=132,frag=first),sctp(dst=9)",
        "push_mpls(label=5,tc=0,ttl=64,bos=1,eth_type=0x8847),3",
    ),
    (
        "recirc_id(0),in_port(2),eth(dst=01:00:00:00:00:00/01:00:00:00:00:00),eth_type(0x0800),ipv4(src=10.0.0.7,tos=0x2/0x3,frag=no)",
        "set(eth(src=02:00:00:00:00:09,dst=02:00:00:00:00:08)),ct_clear,2",
    ),
];

#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn text_is_that_of_the_stock_tool() {
    if ovs_test_kernel::inside().is_none() {
        return;
    }
    assert_eq!(ours(&["dump-dps"]), "");
    ours(&["add-dp", "dp0"]);
    ours(&["add-if", "dp0", "p1,type=internal", "p2,type=internal,port_no=2", "p3,type=internal"]);
    assert_eq!(ours(&["dump-dps"]), "system@dp0\n");
    let added = say(OURS, &["add-if", "dp0", "vxlan_sys_4789,type=vxlan"]);
    assert!(added.1, "{}", added.0);
    assert!(ours(&["show"]).contains("  port 4: vxlan_sys_4789 (vxlan"), "{}", ours(&["show"]));
    ours(&["del-if", "dp0", "vxlan_sys_4789"]);
    assert!(!Path::new("/sys/class/net/vxlan_sys_4789").exists());
    for (flow, actions) in FLOWS {
        ours(&["add-flow", "dp0", flow, actions]);
    }
    let (refused, content) = say(OURS, &["add-flow", FLOWS[0].0, "drop"]);
    assert_eq!((refused.as_str(), content), ("ovs-dpctl: updating flow table (File exists)\n", false));
    assert_eq!(ours(&["dump-flows"]).lines().count(), FLOWS.len());
    if !Path::new(STOCK).exists() {
        println!("skipped: no stock ovs-dpctl here");
        return;
    }
    // The stock tool of Debian 12 does not know which extension headers an IPv6 packet has, and older kernels have no
    // zones, of which this tool cannot know when it only looks.
    let sorted = |text: String| {
        let text = text.replace("key32(00 00/00 00),", "").replace("ct_zone(0/0),", "");
        let mut lines: Vec<String> = text.lines().filter(|line| !line.contains("|WARN|")).map(String::from).collect();
        lines.sort();
        lines
    };
    let mut different = Vec::new();
    for words in [
        &["dump-flows", "dp0"][..],
        &["--names", "dump-flows", "dp0"],
        &["-m", "dump-flows", "dp0"],
        &["show", "dp0"],
        &["show"],
        &["dump-dps"],
        &["dump-conntrack"],
        &["ct-get-limits"],
        &["cache-get-size"],
    ] {
        let (stock, mine) = (sorted(say(STOCK, words).0), sorted(say(OURS, words).0));
        for line in stock.iter().filter(|line| !mine.contains(line)) {
            different.push(format!("{words:?}\nstock {line}"));
        }
        for line in mine.iter().filter(|line| !stock.contains(line)) {
            different.push(format!("{words:?}\nours  {line}"));
        }
    }
    // And the stock tool's flows in our words.
    ours(&["del-flows", "dp0"]);
    for (flow, actions) in FLOWS {
        let (text, content) = say(STOCK, &["add-flow", "dp0", flow, actions]);
        if !content {
            println!("the stock tool cannot put {flow}: {text}");
        }
    }
    let (stock, mine) = (say(STOCK, &["dump-flows", "dp0"]).0, ours(&["dump-flows", "dp0"]));
    let (stock, mine) = (sorted(stock), sorted(mine));
    different
        .extend(stock.iter().filter(|line| !mine.contains(line)).map(|line| format!("of stock's flows\nstock {line}")));
    different
        .extend(mine.iter().filter(|line| !stock.contains(line)).map(|line| format!("of stock's flows\nours  {line}")));
    let before = ours(&["dump-flows", "dp0"]).lines().count();
    ours(&["del-flow", "dp0", FLOWS[3].0]);
    assert_eq!(ours(&["dump-flows", "dp0"]).lines().count(), before - 1);
    ours(&["del-dp", "dp0"]);
    assert!(different.is_empty(), "{}", different.join("\n"));
}

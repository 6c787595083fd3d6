//! Runs the binary as a user would.

use std::io::Write;
use std::process::{Command, Output, Stdio};

fn run(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ovs-ofctl"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The program may end without reading.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn out(args: &[&str], input: &str) -> String {
    let output = run(args, input);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// The one line of an error, without the program's name.
fn err(args: &[&str], input: &str) -> String {
    let output = run(args, input);
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    text.trim_end().strip_prefix("ovs-ofctl: ").unwrap().to_string()
}

#[test]
fn parse_flow_prints_the_message() {
    assert_eq!(
        out(&["-O", "OpenFlow13", "parse-flow", "table=1,priority=10,tcp,tp_dst=80,actions=2"], ""),
        "usable protocols: OXM,OpenFlow10+table_id,NXM+table_id,OpenFlow11\nchosen protocol: OXM-OpenFlow13\n\
         OFPT_FLOW_MOD (OF1.3) (xid=0x1): ADD table:1 priority=10,tcp,tp_dst=80 actions=output:2\n"
    );
    assert_eq!(
        out(&["-Fnxm", "parse-flow", "reg0=5,actions=drop"], ""),
        "usable protocols: NXM,OXM\nchosen protocol: NXM-table_id\nNXT_FLOW_MOD (xid=0x1): ADD reg0=0x5 actions=drop\n"
    );
}

#[test]
fn parse_flow_prints_json() {
    let text = out(&["-O", "openflow13", "parse-flow", "--format", "json", "ip,actions=drop"], "");
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["body"]["match"], serde_json::json!({"eth_type": "0x800"}));
    assert_eq!(value["body"]["instructions"]["apply_actions"], serde_json::json!([]));
    assert_eq!((&value["type"], &value["kind"]), (&"flow_mod".into(), &"OFPT_FLOW_MOD".into()));
    assert_eq!(value["protocol"], "OXM-OpenFlow13");
}

/// Each line of what is printed, as JSON.
fn json(args: &[&str], input: &str) -> Vec<serde_json::Value> {
    let text = out(&[&["--format", "json", "-voff"], args].concat(), input);
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{args:?}: {e}: {line}"))).collect()
}

#[test]
fn whatever_is_printed_is_json_if_it_shall_be() {
    assert_eq!(json(&["ofp-print", "0414000800000007"], "")[0]["type"], "barrier_request");
    let broken = &json(&["ofp-print", "0499000800000007"], "")[0];
    assert_eq!((&broken["error"], &broken["bytes"]), (&"OFPBRC_BAD_TYPE".into(), &"0499000800000007".into()));
    let list = json(&["parse-actions", "OpenFlow10"], "0003000800000000\n00ff000800000000\n");
    assert_eq!((&list[0]["actions"][0], &list[1]["error"]), (&"strip_vlan".into(), &"OFPBAC_BAD_TYPE".into()));
    assert_eq!(
        json(&["parse-instructions", "OpenFlow13"], "0005000800000000\n")[0]["instructions"]["clear_actions"],
        true
    );
    assert_eq!(json(&["parse-nx-match"], "NXM_OF_IN_PORT(0001)\n\n# x\n")[0]["match"]["in_port"], 1);
    assert_eq!(
        json(&["--strict", "parse-oxm", "OpenFlow12"], "OXM_OF_IP_PROTO(06)\n")[0]["error"],
        "OFPBMC_BAD_PREREQ"
    );
    assert_eq!(json(&["check-vlan", "1abc", "1fff"], "").len(), 5);
    assert_eq!(json(&["print-error", "OFPBRC_BAD_TYPE"], "")[0]["number"]["type"], 1);
    assert_eq!(json(&["encode-hello", "0x12"], "")[0]["body"]["versions"][1], "OpenFlow13");
    assert_eq!(json(&["encode-error-reply", "OFPBRC_BAD_TYPE", "0400000812345678"], "")[0]["xid"], 0x1234_5678);
    assert_eq!(json(&["parse-key-value", "a=b"], "")[0]["items"][0][1], "b");
    assert_eq!(json(&["compose-packet", "eth_type=0x88cc"], "")[0]["match"]["eth_type"], "0x88cc");
    assert_eq!(json(&["list-commands"], "")[0]["name"], "show");
    let group = json(&["-O", "OpenFlow15", "parse-group", "group_id=1,type=select,bucket=output:1"], "");
    assert_eq!(group[0]["body"]["group"]["type"], "select");
    let output = run(&["--format", "json", "parse-flow", "ip"], "");
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"], "must specify an action");
}

#[test]
fn it_differs_from_upstream_where_the_table_says() {
    let wide = run(&["-Fnxm", "parse-flow", "actions=output:NXM_NX_XXREG3"], "");
    assert_eq!(wide.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wide.stderr).contains("a run of more than 64 bits of a field"));
    let oxm = |version: &str, fields: &str| out(&["--strict", "-m", "parse-oxm", version], &format!("{fields}\n"));
    assert!(oxm("OpenFlow15", "NXOXM_ET_ERSPAN_VER(01)").contains("ff ff 18 05-00 00 23 20 01"));
    assert!(oxm("OpenFlow15", "NXOXM_ET_ERSPAN_IDX(01020304)").contains("OFPBMC_BAD_VALUE"));
}

#[test]
fn a_field_of_a_header_that_is_left_open_is_of_ethernet() {
    let wire = out(&["--strict", "parse-oxm", "OpenFlow12"], "OXM_OF_VLAN_VID_W(0000/0000)\n");
    assert_eq!(wire, "OXM_OF_PACKET_TYPE(00000000)\n");
}

#[test]
fn bad_actions_are_logged() {
    let mark = "ffff001800002320 0007 001f 0001d604 000000000000f009";
    let lists = [
        "000000f000000000",
        "00000010fffeffff0000000000000000",
        "ffff00110000232000150001000000000000000000000000",
        // Not logged: there is no more room for lines of this module.
        "00000008ffff0000",
        mark,
        // A zone is set in a connection's settings.
        "ffff003000002320 0023 0001 00000000 0000 FF 000000 0000 ffff001800002320 0007 000f 0001d504 000000000000f009",
    ];
    let output = run(&["-vPATTERN:console:%c|%p|%m", "parse-actions", "OpenFlow10"], &(lists.join("\n") + "\n"));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "ofp_actions|WARN|OpenFlow action OFPAT_OUTPUT length 240 exceeds action buffer length 8\n\
         ofp_actions|WARN|bad action at offset 0 (OFPBAC_BAD_LEN):\n\
         00000000  00 00 00 f0 00 00 00 00-\n\
         ofp_actions|WARN|OpenFlow action OFPAT_OUTPUT length 16 not in valid range [8,8]\n\
         ofp_actions|WARN|bad action at offset 0 (OFPBAC_BAD_LEN):\n\
         00000000  00 00 00 10 ff fe ff ff-00 00 00 00 00 00 00 00\n\
         ofp_actions|WARN|OpenFlow action NXAST_DEC_TTL_CNT_IDS length 17 is not a multiple of 8\n\
         ofp_actions|WARN|cannot set CT fields outside of ct action\n\
         meta_flow|WARN|destination field ct_zone is not writable\n"
    );
}

#[test]
fn what_cannot_be_there_is_left_out_and_told() {
    let output = run(&["-vPATTERN:console:%c|%p|%m", "parse-flow", "nw_src=1.2.3.4,actions=5"], "");
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "ofp_match|INFO|normalization changed ofp_match, details:\n\
         ofp_match|INFO| pre: nw_src=1.2.3.4\nofp_match|INFO|post: \n"
    );
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("OFPT_FLOW_MOD (xid=0x1): ADD actions=output:5\n"));
}

#[test]
fn parse_flows_reads_standard_input() {
    let flows = "# a comment\n\nip actions=1 # another\narp,actions=NORMAL\n";
    let text = out(&["parse-flows", "-"], flows);
    let lines: Vec<&str> = text.lines().skip(2).collect();
    assert_eq!(
        lines,
        ["OFPT_FLOW_MOD (xid=0x1): ADD ip actions=output:1", "OFPT_FLOW_MOD (xid=0x2): ADD arp actions=NORMAL"]
    );
    // The forms are those that can say every line.
    let narrow = out(&["parse-flows", "-"], "ip actions=1\nreg0=1 actions=1\n");
    assert!(narrow.starts_with("usable protocols: NXM,OXM\nchosen protocol: NXM-table_id\nNXT_FLOW_MOD"));
    assert_eq!(err(&["parse-flows", "-"], "ip actions=1\nip actions=bogus\n"), "-:2: unknown action bogus");
}

#[test]
fn the_language_has_more_than_flows() {
    assert_eq!(
        out(&["-O", "OpenFlow15", "parse-group", "group_id=1,type=select,bucket=weight:5,actions=output:1"], ""),
        "usable protocols: any\nchosen version: OpenFlow15\nOFPT_GROUP_MOD (OF1.5) (xid=0x1):\n \
         ADD group_id=1,type=select,bucket=bucket_id:0,weight:5,actions=output:1\n"
    );
    assert_eq!(out(&["parse-key-value", "a:b,c(d,e)", "f"], ""), "a=b, c=d,e\nf\n");
    assert_eq!(
        out(&["parse-nx-match"], "NXM_OF_IN_PORT(0001)\n\n# x\n<any>\n"),
        "NXM_OF_IN_PORT(0001)\n\n# x\n<any>\n"
    );
    assert_eq!(out(&["parse-oxm", "OpenFlow12"], "OXM_OF_ETH_TYPE(0800)\n"), "OXM_OF_ETH_TYPE(0800)\n");
    let vlan = out(&["check-vlan", "1abc", "1fff"], "");
    assert!(vlan.starts_with("dl_vlan=2748 -> 1abc/1fff\nNXM: NXM_OF_VLAN_TCI_W(1abc/1fff) -> 1abc/1fff\n"), "{vlan}");
    let packet =
        out(&["--bare", "compose-packet", "eth_src=50:54:00:00:00:05,ip,nw_src=10.0.0.1,nw_ttl=64,udp,udp_dst=5"], "");
    assert!(packet.starts_with("0000000000005054000000050800"), "{packet}");
}

#[test]
fn ofp_print_prints_messages() {
    assert_eq!(out(&["ofp-print", "0414000800000007"], ""), "OFPT_BARRIER_REQUEST (OF1.3) (xid=0x7):\n");
    assert_eq!(
        out(&["ofp-print", "-"], "04 02 00 0c 00 00 00 0a 01 02 03 04\n"),
        "OFPT_ECHO_REQUEST (OF1.3) (xid=0xa): 4 bytes of payload\n\
         00000000  01 02 03 04                                     |....            |\n"
    );
    assert_eq!(
        out(&["-voff", "ofp-print", "0499000800000007"], ""),
        "***decode error: OFPBRC_BAD_TYPE***\n\
         00000000  04 99 00 08 00 00 00 07-                        |........        |\n"
    );
    assert_eq!(out(&["encode-hello", "0x12"], "").lines().last(), Some(" version bitmap: 0x01, 0x04"));
    assert_eq!(
        out(&["-voff", "parse-actions", "OpenFlow10"], "0003000800000000 # strip\n00ff000800000000\n"),
        "actions=strip_vlan\n\nbad OpenFlow10 actions: OFPBAC_BAD_TYPE\n\n"
    );
    let numbers = out(&["print-error", "OFPBRC_BAD_TYPE"], "");
    assert_eq!(numbers.lines().next(), Some("OpenFlow 1.0: vendor 0, type 1, code 1"));
    assert_eq!(
        out(&["encode-error-reply", "OFPBRC_BAD_TYPE", "0400000812345678"], ""),
        "00000000  04 01 00 14 12 34 56 78-00 01 00 01 04 00 00 08\n00000010  12 34 56 78\n"
    );
}

#[test]
fn parse_pcap_prints_packets() {
    let frame = [&[0xffu8; 6][..], &[0x50, 0x54, 0, 0, 0, 1, 0x88, 0xcc, 1, 2]].concat();
    let mut file = Vec::new();
    ovs_packet::pcap::Writer::new(&mut file).unwrap().write(std::time::Duration::from_secs(1), &frame).unwrap();
    let path = std::env::temp_dir().join(format!("ovs-ofctl-test-{}.pcap", std::process::id()));
    std::fs::write(&path, file).unwrap();
    let text = out(&["parse-pcap", path.to_str().unwrap()], "");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(text, "in_port=ANY,vlan_tci=0x0000,dl_src=50:54:00:00:00:01,dl_dst=ff:ff:ff:ff:ff:ff,dl_type=0x88cc\n");
}

#[test]
fn bad_input_is_one_line_and_status_1() {
    assert_eq!(err(&["parse-flow", "ip"], ""), "must specify an action");
    assert_eq!(err(&["parse-flow", "actions=copy_field(1)"], ""), "unknown action copy_field");
    assert_eq!(err(&["dump-flows", "no-such-bridge"], ""), "no-such-bridge is not a bridge or a socket");
    assert_eq!(err(&["bogus"], ""), "unknown command 'bogus'; use --help for help");
    assert_eq!(err(&["parse-flow"], ""), "'parse-flow' command requires at least 1 arguments");
    assert_eq!(err(&["show", "a", "b"], ""), "'show' command takes at most 1 arguments");
    assert!(err(&["-O", "OpenFlow99", "parse-flow", "actions=drop"], "").contains("OpenFlow99"));
    assert_eq!(err(&["-F", "xyz", "parse-flow", "actions=drop"], ""), "xyz: unknown flow protocol");
    assert!(
        err(&["-F", "oxm", "parse-flow", "actions=drop"], "")
            .starts_with("None of the enabled OpenFlow versions (OpenFlow10)")
    );
    assert!(err(&["parse-flows", "/does/not/exist"], "").starts_with("/does/not/exist: open failed"));
    assert_eq!(err(&[], ""), "missing command name; use --help for help");
    assert_eq!(err(&["--read-only", "del-flows", "br0"], ""), "'del-flows' command does not work in read only mode");
    assert!(err(&["--bogus"], "").contains("--bogus"));
}

#[test]
fn help_has_examples_and_every_command() {
    let help = out(&["--help"], "");
    assert!(help.contains("ovs-ofctl parse-flow 'tcp,tp_dst=80,actions=output:2'"));
    for command in ["add-flow SWITCH FLOW", "monitor SWITCH", "dump-ipfix-flow SWITCH", "ct-flush SWITCH"] {
        assert!(help.contains(command), "{command}");
    }
    assert_eq!(out(&["help"], ""), help);
    let of = out(&["add-meter", "--help"], "");
    assert_eq!(out(&["help", "add-meter"], ""), of);
    assert!(of.contains("Usage: ovs-ofctl [OPTIONS] add-meter SWITCH METER\n"), "{of}");
    assert!(of.contains("\n  ovs-ofctl -O OpenFlow13 add-meter br0 'meter=1,"), "{of}");
    assert_eq!(err(&["help", "bogus"], ""), "unknown command 'bogus'; use --help for help");
    let listed = out(&["list-commands"], "");
    assert!(listed.lines().count() > 75, "{listed}");
}

#[test]
fn switches_and_files_are_compared() {
    let path = |n: u8| std::env::temp_dir().join(format!("ovs-ofctl-test-{}-{n}.txt", std::process::id()));
    std::fs::write(path(1), "priority=5,ip,actions=drop\ntable=1,actions=1\n").unwrap();
    std::fs::write(path(2), "table=1,actions=2\npriority=5,ip,actions=drop\n").unwrap();
    let (one, two) = (path(1), path(2));
    let output = run(&["diff-flows", one.to_str().unwrap(), two.to_str().unwrap()], "");
    let same = run(&["diff-flows", one.to_str().unwrap(), one.to_str().unwrap()], "");
    for n in [1, 2] {
        std::fs::remove_file(path(n)).unwrap();
    }
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "-table=1  actions=output:1\n+table=1  actions=output:2\n");
    assert_eq!((same.status.code(), same.stdout.len()), (Some(0), 0));
}

#[test]
fn time_ends_by_a_signal() {
    use std::os::unix::process::ExitStatusExt;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("tcp:{}", listener.local_addr().unwrap());
    // It connects, and nobody speaks.
    assert_eq!(run(&["-t1", "show", &place], "").status.signal(), Some(14));
}

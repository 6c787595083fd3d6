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
        "usable protocols: OXM-OpenFlow13\nchosen protocol: OXM-OpenFlow13\n\
         OFPT_FLOW_MOD (OF1.3) (xid=0x1): ADD table:1 priority=10,tcp,tp_dst=80 actions=output:2\n"
    );
}

#[test]
fn parse_flow_prints_json() {
    let text = out(&["parse-flow", "--format", "json", "ip,actions=drop"], "");
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["flow"]["match"], "ip");
    assert_eq!(value["flow"]["actions"], "drop");
    assert!(value["bytes"].as_str().unwrap().starts_with("040e"));
}

#[test]
fn parse_flows_reads_standard_input() {
    let flows = "# a comment\n\nip actions=1 # another\narp,actions=NORMAL\n";
    let text = out(&["parse-flows", "-"], flows);
    let lines: Vec<&str> = text.lines().skip(2).collect();
    assert_eq!(
        lines,
        [
            "OFPT_FLOW_MOD (OF1.3) (xid=0x1): ADD ip actions=output:1",
            "OFPT_FLOW_MOD (OF1.3) (xid=0x2): ADD arp actions=NORMAL"
        ]
    );
    assert_eq!(
        err(&["parse-flows", "-"], "ip actions=1\nip actions=bogus\n"),
        "-:2: at offset 11: unknown action \"bogus\""
    );
}

#[test]
fn ofp_print_prints_messages() {
    assert_eq!(out(&["ofp-print", "0414000800000007"], ""), "OFPT_BARRIER_REQUEST (OF1.3) (xid=0x7):\n");
    assert_eq!(
        out(&["ofp-print", "-"], "04 02 00 0c 00 00 00 0a\n01 02 03 04\n"),
        "OFPT_ECHO_REQUEST (OF1.3) (xid=0xa): 4 bytes of payload\n\
         00000000  01 02 03 04                                     |....            |\n"
    );
    assert_eq!(
        out(&["ofp-print", "0499000800000007"], ""),
        "***decode error: OFPBRC_BAD_TYPE***\n\
         00000000  04 99 00 08 00 00 00 07-                        |........        |\n"
    );
    assert_eq!(out(&["encode-hello", "0x12"], "").lines().last(), Some(" version bitmap: 0x01, 0x04"));
    assert_eq!(
        out(&["parse-actions", "OpenFlow10"], "0003000800000000 # strip\n00ff000800000000\n"),
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
    assert_eq!(err(&["parse-flow", "ip"], ""), "at offset 2: expected actions=ACTIONS");
    assert_eq!(err(&["parse-flow", "actions=copy_field(1)"], ""), "at offset 8: action copy_field is not built yet");
    assert_eq!(err(&["dump-flows", "br0"], ""), "dump-flows is not built yet; see --help for what is");
    let unknown = err(&["bogus"], "");
    assert!(unknown.starts_with("unknown command 'bogus'; the commands are parse-flow, parse-flows"), "{unknown}");
    assert!(err(&["-O", "OpenFlow99", "parse-flow", "actions=drop"], "").contains("OpenFlow99"));
    assert!(err(&["-O", "OpenFlow10", "parse-flow", "actions=drop"], "").contains("only OpenFlow13"));
    assert!(err(&["parse-flows", "/does/not/exist"], "").starts_with("/does/not/exist: "));
    assert!(err(&[], "").contains("--help"));
}

#[test]
fn help_has_examples() {
    assert!(out(&["--help"], "").contains("ovs-ofctl parse-flow 'tcp,tp_dst=80,actions=output:2'"));
}

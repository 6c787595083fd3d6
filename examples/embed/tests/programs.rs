//! The programs as users run them: arguments in; output, errors and exit status out.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use ovs_packet::pcap::Writer;
use ovs_packet::{Match, compose};

const LEARNING_SWITCH: &str = env!("CARGO_BIN_EXE_learning-switch");
const FIREWALL: &str = env!("CARGO_BIN_EXE_firewall");
const FLOW_DUMP: &str = env!("CARGO_BIN_EXE_flow-dump");
const CONTROLLER: &str = env!("CARGO_BIN_EXE_controller");

/// What a program writes if all is well.
fn output(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output().unwrap();
    let errors = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.success() && errors.is_empty(), "{args:?}: {}: {errors}", out.status);
    String::from_utf8(out.stdout).unwrap()
}

/// The exit status and the one line of a program that refuses.
fn refusal(program: &str, args: &[&str]) -> (i32, String) {
    let out = Command::new(program).args(args).output().unwrap();
    let errors = String::from_utf8(out.stderr).unwrap();
    assert_eq!(errors.lines().count(), 1, "{args:?}: {errors}");
    (out.status.code().unwrap(), errors.trim_end().to_string())
}

#[test]
fn the_learning_switch_floods_once_and_then_knows() {
    let text = output(LEARNING_SWITCH, &[]);
    let left: Vec<_> = text.lines().filter_map(|l| l.trim().strip_prefix("left by ")).collect();
    assert_eq!(left, ["port 2 and 3", "port 1", "port 2"]);
    assert!(text.contains("02:00:00:00:00:0a behind p1\n    02:00:00:00:00:0b behind p2\n"), "{text}");
    // The third frame is another protocol than the first, to the same address: one megaflow serves both.
    let megaflows: Vec<_> = text.lines().filter(|l| l.contains("recirc_id(0)")).collect();
    assert_eq!(megaflows.len(), 2, "{text}");
    assert!(megaflows[0].contains("packets:1,") && megaflows[0].ends_with("actions:2"), "{text}");
}

#[test]
fn the_learning_switch_takes_frames_of_the_users() {
    let to_itself = "in_port=3,arp,dl_src=02:00:00:00:00:07,dl_dst=02:00:00:00:00:07";
    let text = output(LEARNING_SWITCH, &["in_port=3,arp,dl_src=02:00:00:00:00:07,dl_dst=ff:ff:ff:ff:ff:ff", to_itself]);
    let left: Vec<_> = text.lines().filter_map(|l| l.trim().strip_prefix("left by ")).collect();
    assert_eq!(left, ["port 1 and 2", "port none"]);
    assert!(text.contains("02:00:00:00:00:07 behind p3"), "{text}");
    for (frame, complaint) in [
        ("in_port=1,dl_src=nonsense", "learning-switch: frame \"in_port=1,dl_src=nonsense\": "),
        ("in_port=9,arp", "learning-switch: frame \"in_port=9,arp\": in_port is not one of 1, 2, 3"),
        ("arp", "learning-switch: frame \"arp\": in_port is not one of 1, 2, 3"),
    ] {
        let (status, line) = refusal(LEARNING_SWITCH, &[frame]);
        assert!(status == 1 && line.starts_with(complaint), "{status}: {line}");
    }
}

#[test]
fn the_firewall_says_what_a_verdict_depended_on() {
    let text = output(FIREWALL, &[]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[..4],
        [
            "tcp 203.0.113.9:40000 192.0.2.80:443: deny (deny any 203.0.113.0/24 any any)",
            "    depended on: source 203.0.113.0/24",
            "tcp 198.51.100.7:40000 192.0.2.80:443: allow (allow tcp any 192.0.2.0/24 443)",
            "    depended on: source 198.51.100.0/24, destination 192.0.2.0/24, protocol 6, port 443",
        ]
    );
    // No client's port is ever read.
    assert!(!text.contains("source port"), "{text}");
}

#[test]
fn the_first_rule_of_the_firewall_that_matches_decides() {
    let packet = "udp 10.0.0.1:5000 10.0.0.2:53";
    for (rules, verdict) in [
        ("allow udp any any 53; deny any any any any", "allow"),
        ("deny any any any any\nallow udp any any 53", "deny"),
        ("allow 17 10.0.0.1 10.0.0.2 any", "allow"),
        ("allow udp 10.0.0.0/31 any any; deny udp any any any", "allow"),
        ("", "deny"),
    ] {
        let text = output(FIREWALL, &[rules, packet]);
        assert!(text.starts_with(&format!("{packet}: {verdict} (")), "{rules}: {text}");
    }
    assert!(output(FIREWALL, &["", packet]).ends_with("depended on: nothing\n"));
    assert!(output(FIREWALL, &["allow any any any any", packet]).ends_with("depended on: nothing\n"));
}

#[test]
fn the_firewall_refuses_what_is_no_rule_and_no_packet() {
    for rule in [
        "allow tcp any any",
        "permit tcp any any any",
        "allow tcp 10.0.0.0/33 any any",
        "allow tcp 10.0.0 any any",
        "allow xyz any any any",
        "allow tcp any any 65536",
    ] {
        assert_eq!(refusal(FIREWALL, &[rule]), (1, format!("firewall: no rule: {rule:?}")));
    }
    for packet in ["", "tcp 10.0.0.1 10.0.0.2:80", "tcp 10.0.0.1:1 10.0.0.2:65536", "tcp [::1]:1 10.0.0.2:2"] {
        assert_eq!(refusal(FIREWALL, &["", packet]), (1, format!("firewall: no packet: {packet:?}")));
    }
}

/// A file of a test's own, gone when the test ends.
struct TempFile(PathBuf);

impl TempFile {
    fn new(name: &str, content: &[u8]) -> TempFile {
        let path = std::env::temp_dir().join(format!("ovs-embed-{}-{name}", std::process::id()));
        fs::write(&path, content).unwrap();
        TempFile(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A capture with two flows of three packets, one of which comes too late, and three packets that cannot be read.
fn capture() -> Vec<u8> {
    let udp: Match = "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=5000,tp_dst=53".parse().unwrap();
    let tcp: Match = "tcp6,ipv6_src=fd00::1,ipv6_dst=fd00::2,tp_src=5000,tp_dst=80".parse().unwrap();
    let frame = |m: &Match, payload: &[u8]| compose::compose(m.key(), payload).data().to_vec();
    let cut = frame(&udp, b"")[..30].to_vec();
    let mut file = Vec::new();
    let mut w = Writer::new(&mut file).unwrap();
    for (millis, bytes) in [
        (1000, frame(&udp, b"query")),
        (2500, frame(&udp, b"query again")),
        (1500, frame(&tcp, b"")),
        (2000, cut.clone()),
        (2000, cut),
        (2000, vec![0xff; 9]),
    ] {
        w.write(Duration::from_millis(millis), &bytes).unwrap();
    }
    file
}

#[test]
fn the_flow_dump_counts_flows_and_what_is_malformed() {
    let file = TempFile::new("flows.pcap", &capture());
    assert_eq!(
        output(FLOW_DUMP, &[file.path()]).lines().collect::<Vec<_>>(),
        [
            "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=5000,tp_dst=53 packets=2 bytes=100 first=1.000000 last=2.500000",
            "tcp6,ipv6_src=fd00::1,ipv6_dst=fd00::2,tp_src=5000,tp_dst=80 packets=1 bytes=74 first=1.500000 last=1.500000",
            "malformed: the Ethernet header is cut short: 1",
            "malformed: the IPv4 header does not fit the packet: 2",
        ]
    );
    let empty = TempFile::new("empty.pcap", &capture()[..24]);
    assert_eq!(output(FLOW_DUMP, &[empty.path()]), "");
}

#[test]
fn the_flow_dump_refuses_what_is_no_capture() {
    let no_pcap = TempFile::new("no.pcap", b"GIF89a, which is no capture");
    let pcapng = TempFile::new("ng.pcap", b"\x0a\x0d\x0d\x0a, and what follows in a pcapng file");
    let cut = TempFile::new("cut.pcap", &capture()[..100]);
    for (path, complaint) in [
        ("/nonexistent/x.pcap", "No such file or directory (os error 2)"),
        ("/", "Is a directory (os error 21)"),
        (no_pcap.path(), "not a pcap file: it begins with [47, 49, 46, 38]"),
        (pcapng.path(), "this is a pcapng file; convert it with: editcap -F pcap IN OUT"),
        (cut.path(), "the file ends inside record 2"),
    ] {
        assert_eq!(refusal(FLOW_DUMP, &[path]), (1, format!("flow-dump: {path}: {complaint}")));
    }
    assert_eq!(refusal(FLOW_DUMP, &[]), (2, "usage: flow-dump FILE".into()));
    assert_eq!(refusal(FLOW_DUMP, &["a", "b"]), (2, "usage: flow-dump FILE".into()));
}

/// A switch of few words, in bytes: the controller's program against the protocol itself.
#[test]
fn the_controller_asks_a_switch_who_it_is_and_sees_its_flow_taken() {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::process::Stdio;

    let mut controller = Command::new(CONTROLLER).arg("ptcp:0:127.0.0.1").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(controller.stdout.take().unwrap()).lines().map(Result::unwrap);
    let address = lines.next().unwrap();
    let mut switch = std::net::TcpStream::connect(address.strip_prefix("listening on ").unwrap()).unwrap();
    switch.write_all(&[4, 0, 0, 8, 0, 0, 0, 1]).unwrap();
    let mut kinds = Vec::new();
    while kinds.last() != Some(&20) {
        let mut header = [0; 8];
        switch.read_exact(&mut header).unwrap();
        let mut body = vec![0; usize::from(u16::from_be_bytes([header[2], header[3]])) - 8];
        switch.read_exact(&mut body).unwrap();
        kinds.push(header[1]);
        if let 5 | 20 = header[1] {
            let body: &[u8] = if header[1] == 5 { &[&[0; 6][..], &[0xab, 0xcd], &[0; 16]].concat() } else { &[] };
            let length = 8 + body.len() as u8;
            let answer = [&[4, header[1] + 1, 0, length][..], &header[4..], body].concat();
            switch.write_all(&answer).unwrap();
        }
    }
    assert_eq!(kinds, [0, 5, 14, 20]);
    drop(switch);
    let said: Vec<_> = lines.by_ref().take(4).collect();
    controller.kill().unwrap();
    controller.wait().unwrap();
    let expected = ["speaks OF1.3", "is 000000000000abcd", "forwards", "connection closed by peer"];
    assert_eq!(said, expected.map(|words| format!("switch 1: {words}")));
    assert!(refusal(CONTROLLER, &["tcp:127.0.0.1"]).1.contains("other direction"));
}

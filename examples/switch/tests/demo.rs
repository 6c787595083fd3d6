//! `ovs-vswitchd` as users run it: arguments and signals in; output, files, errors and exit status out.
//!
//! Live tests make private networks of their own. Where that is refused they say so and do nothing.
#![cfg(target_os = "linux")]

mod common;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use common::TempDir;
use ovs_packet::pcap::{Reader, Writer};
use ovs_packet::{Match, compose};
use ovs_switch::demo::links::Links;
use ovs_switch::demo::netns::Namespace;
use ovs_switch::demo::traffic;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const VSWITCHD: &str = env!("CARGO_BIN_EXE_ovs-vswitchd");

/// How long anything may take on a slow machine before the test gives up.
const LONG: Duration = Duration::from_secs(50);

/// An unprivileged user.
const NOBODY: u32 = 65534;

/// A copy of the program that anybody may run, and that no other test runs.
fn program(dir: &TempDir) -> PathBuf {
    let copy = dir.file("ovs-vswitchd");
    // By a process of its own: what another test starts meanwhile has this one's descriptors for a moment, and a program
    // that somebody writes to is not run.
    assert!(Command::new("cp").arg(VSWITCHD).arg(&copy).status().unwrap().success());
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    copy
}

/// A program that is running; killed if the test ends before it.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Running {
        Running(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Reads lines until one begins so.
    fn read_until(&mut self, begin: &str) -> BufReader<std::process::ChildStdout> {
        let mut out = BufReader::new(self.0.stdout.take().unwrap());
        let mut line = String::new();
        while out.read_line(&mut line).unwrap() > 0 {
            if line.starts_with(begin) {
                return out;
            }
            line.clear();
        }
        panic!("the program ended without: {begin}");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + LONG;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the program does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn vswitchd(args: &[&str]) -> Output {
    Command::new(VSWITCHD).args(args).output().unwrap()
}

/// The lines of a program that went well.
fn text(out: Output) -> String {
    let errors = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.success(), "{}: {errors}", out.status);
    assert_eq!(errors, "");
    String::from_utf8(out.stdout).unwrap()
}

fn json(out: Output) -> Value {
    serde_json::from_str(&text(out)).unwrap()
}

/// The one line of a program that refuses.
fn refusal(out: Output) -> String {
    let errors = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(1), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert_eq!(String::from_utf8(out.stdout).unwrap(), "");
    errors.trim_end().to_string()
}

/// A new namespace, or `None` with the reason printed.
fn namespace() -> Option<Namespace> {
    Namespace::new().inspect_err(|e| eprintln!("skipped: {e}")).ok()
}

/// What the steps of the story were, with what came of the pings.
fn steps(report: &Value) -> Vec<(&str, Option<u64>)> {
    let steps = report["steps"].as_array().unwrap();
    steps.iter().map(|s| (s["step"].as_str().unwrap(), s["received"].as_u64())).collect()
}

fn expected_steps() -> Vec<(&'static str, Option<u64>)> {
    [
        ("ping", Some(5)),
        ("learnt", None),
        ("add-flow", None),
        ("ping", Some(0)),
        ("del-flows", None),
        ("ping", Some(3)),
        ("tcp", None),
    ]
    .to_vec()
}

/// Whether the line is as `ovs-dpctl dump-flows` writes it:
/// `recirc_id(N),in_port(N),..., packets:N, bytes:N, used:(never|N.NNNs)[, flags:F], actions:...`.
fn is_megaflow(line: &str) -> bool {
    let number = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let mut parts = line.split(", ");
    let mut next = |prefix: &str| parts.next().and_then(|p| p.strip_prefix(prefix)).map(str::to_string);
    let Some(key) = next("recirc_id(0),in_port(") else { return false };
    let (Some(packets), Some(bytes), Some(used)) = (next("packets:"), next("bytes:"), next("used:")) else {
        return false;
    };
    let used_well = used == "never"
        || used
            .strip_suffix('s')
            .and_then(|u| u.split_once('.'))
            .is_some_and(|(s, ms)| number(s) && number(ms) && ms.len() == 3);
    let rest: Vec<_> = parts.collect();
    let actions = match rest.as_slice() {
        [actions] => actions.strip_prefix("actions:"),
        [flags, actions] if flags.starts_with("flags:") => actions.strip_prefix("actions:"),
        _ => None,
    };
    key.ends_with(')') && number(&packets) && number(&bytes) && used_well && actions.is_some_and(|a| !a.is_empty())
}

#[test]
fn the_shape_of_megaflows_is_checked() {
    assert!(is_megaflow("recirc_id(0),in_port(1),eth_type(0x0806), packets:3, bytes:126, used:0.500s, actions:2"));
    assert!(is_megaflow(
        "recirc_id(0),in_port(1),ipv4(frag=no), packets:3, bytes:126, used:10.500s, flags:S., actions:2,3"
    ));
    assert!(!is_megaflow("recirc_id(0),in_port(1),eth_type(0x0806), packets:3, used:0.500s, actions:2"));
    assert!(!is_megaflow("recirc_id(0),in_port(1),eth_type(0x0806), packets:3, bytes:126, used:soon, actions:2"));
    assert!(!is_megaflow("in_port(1),eth_type(0x0806), packets:3, bytes:126, used:never, actions:2"));
}

fn check_switch(report: &Value) {
    assert_eq!(report["good"], true, "{report:#}");
    let switch = &report["switch"];
    assert_eq!(switch["packets"]["balanced"], true, "{report:#}");
    assert_eq!(switch["drops"]["flow_drop"], 3, "{report:#}");
    assert!(switch["macs"].as_array().unwrap().len() >= 2, "{report:#}");
    let megaflows = switch["megaflows"].as_array().unwrap();
    assert!(!megaflows.is_empty());
    for line in megaflows {
        assert!(is_megaflow(line.as_str().unwrap()), "{line}");
    }
}

// The demo.

#[test]
fn the_demo_over_memory_tells_the_whole_story() {
    let report = json(vswitchd(&["demo", "--memory", "--format", "json"]));
    assert_eq!((report["stage"].as_str(), steps(&report)), (Some("memory"), expected_steps()));
    check_switch(&report);
    assert_eq!(report["switch"]["drops"].as_object().unwrap().len(), 1, "{report:#}");
}

#[test]
fn the_demo_over_memory_is_the_same_every_time() {
    let once = text(vswitchd(&["demo", "--memory"]));
    assert!(once.starts_with("memory: ") && once.ends_with("done; the network it ran in is gone\n"), "{once}");
    assert!(!once.contains('\x1b') && !once.contains("NOT "), "{once}");
    assert!(once.lines().filter(|l| l.starts_with("  recirc_id")).all(|l| is_megaflow(l.trim())), "{once}");
    assert_eq!(once, text(vswitchd(&["demo", "--memory"])));
}

#[test]
fn the_demo_carries_real_traffic() {
    let Some(_) = namespace() else { return };
    let report = json(vswitchd(&["demo", "--format", "json", "--transfer", "32", "--watch", "0"]));
    assert_eq!((report["stage"].as_str(), steps(&report)), (Some("live"), expected_steps()));
    check_switch(&report);
    let tcp = &report["steps"].as_array().unwrap()[6];
    assert_eq!((tcp["bytes"].as_u64(), tcp["intact"].as_bool()), (Some(32 << 20), Some(true)));
}

#[test]
fn the_demo_without_privileges_runs_over_memory_and_says_so() {
    let Some(_) = namespace() else { return };
    let dir = TempDir::new();
    let run = |args: &[&str]| {
        let mut command = Command::new(program(&dir));
        command.args(args).current_dir("/").uid(NOBODY).gid(NOBODY).output().unwrap()
    };
    let told = text(run(&["demo"]));
    let mut lines = told.lines();
    assert!(lines.next().unwrap().starts_with("network namespaces need root or the capability CAP_SYS_ADMIN"));
    assert!(lines.next().unwrap().starts_with("memory: "), "{told}");
    let report = json(run(&["demo", "--format", "json"]));
    assert_eq!(report["stage"], "memory");
    assert!(report["not_live"].as_str().unwrap().contains("CAP_SYS_ADMIN"));
    check_switch(&report);
}

/// Nothing of the demo's is seen in the namespace of this test.
fn assert_no_demo_interfaces() {
    let devices = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    assert!(!devices.contains("demo-"), "{devices}");
}

/// No process runs this program.
fn assert_no_process_of(program: &Path) {
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let exe = fs::read_link(process.path().join("exe"));
        assert!(!exe.is_ok_and(|exe| exe == program), "{} is left", process.path().display());
    }
}

#[test]
fn the_demo_can_be_stopped_at_any_time() {
    let Some(_) = namespace() else { return };
    let dir = TempDir::new();
    let program = program(&dir);
    for (signal, status) in [(Signal::INT, Some(130)), (Signal::TERM, Some(130)), (Signal::KILL, None)] {
        // Most of a minute's worth of traffic.
        let mut demo = Running::start(Command::new(&program).args(["demo", "--transfer", "100000"]));
        let mut out = demo.read_until("   flow taken out");
        std::thread::sleep(Duration::from_millis(700));
        assert_no_demo_interfaces();
        demo.signal(signal);
        assert_eq!(demo.wait().code(), status, "{signal:?}");
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        assert_eq!(rest.contains("interrupted; the network it ran in is gone"), status.is_some(), "{rest}");
        assert!(!rest.contains("DAMAGED"), "{rest}");
        assert_no_demo_interfaces();
        assert_no_process_of(&program);
    }
}

// A capture.

/// Writes frames, given as matches, with their times in milliseconds.
fn write_capture(path: &Path, frames: &[(u64, &str)]) -> Vec<Vec<u8>> {
    let mut w = Writer::new(File::create(path).unwrap()).unwrap();
    let mut bytes = Vec::new();
    for (millis, frame) in frames {
        let m: Match = frame.parse().unwrap();
        let packet = compose::compose(m.key(), b"what is in it");
        w.write(Duration::from_millis(*millis), packet.data()).unwrap();
        bytes.push(packet.data().to_vec());
    }
    bytes
}

fn read_capture(path: &Path) -> Vec<(u64, Vec<u8>)> {
    let records = Reader::new(File::open(path).unwrap()).unwrap();
    records.map(|r| r.map(|r| (r.time.as_millis() as u64, r.data)).unwrap()).collect()
}

const A_TO_B: &str = "udp,dl_src=02:00:00:00:00:0a,dl_dst=02:00:00:00:00:0b,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_dst=53";
const B_TO_A: &str = "udp,dl_src=02:00:00:00:00:0b,dl_dst=02:00:00:00:00:0a,nw_src=10.0.0.2,nw_dst=10.0.0.1,tp_src=53";
const A_TO_ALL: &str = "udp,dl_src=02:00:00:00:00:0a,dl_dst=ff:ff:ff:ff:ff:ff,nw_src=10.0.0.1,tp_dst=67";

fn demo_capture(dir: &TempDir, capture: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(VSWITCHD);
    command.arg("demo").arg("--pcap").arg(capture).arg("--out").arg(dir.path()).args(more).output().unwrap()
}

#[test]
fn a_capture_is_forwarded_byte_for_byte() {
    let dir = TempDir::new();
    let capture = dir.file("trace.pcap");
    let frames = [(1000, A_TO_B), (1250, B_TO_A), (2000, A_TO_B), (2001, A_TO_ALL)];
    let bytes = write_capture(&capture, &frames);
    let report = json(demo_capture(&dir, &capture, &["--ports", "3", "--format", "json"]));
    assert_eq!(dir.names(), ["trace.p1.pcap", "trace.p2.pcap", "trace.p3.pcap", "trace.pcap"]);
    let left = |n: u64| read_capture(&dir.file(&format!("trace.p{n}.pcap")));
    let frame = |n: usize| (frames[n].0, bytes[n].clone());
    assert_eq!(left(1), [frame(1)]);
    assert_eq!(left(2), [frame(0), frame(2), frame(3)]);
    // B was not known yet when A first sent to it.
    assert_eq!(left(3), [frame(0), frame(3)]);
    let counts: Vec<_> = steps_packets(&report);
    assert_eq!(counts, [1, 3, 2]);
    assert_eq!(report["switch"]["packets"]["balanced"], true);
    let told = text(demo_capture(&dir, &capture, &["--ports", "3"]));
    assert!(told.starts_with(&format!("{}: 4 packets\n", capture.display())), "{told}");
}

fn steps_packets(report: &Value) -> Vec<u64> {
    report["steps"].as_array().unwrap().iter().map(|s| s["packets"].as_u64().unwrap()).collect()
}

#[test]
fn time_stamps_that_go_back_stay_as_they_were() {
    let dir = TempDir::new();
    let capture = dir.file("back.pcap");
    let bytes = write_capture(&capture, &[(5000, A_TO_B), (1000, B_TO_A), (0, A_TO_B), (6000, B_TO_A)]);
    text(demo_capture(&dir, &capture, &[]));
    assert_eq!(read_capture(&dir.file("back.p1.pcap")), [(1000, bytes[1].clone()), (6000, bytes[3].clone())]);
    assert_eq!(read_capture(&dir.file("back.p2.pcap")), [(5000, bytes[0].clone()), (0, bytes[2].clone())]);
}

#[test]
fn a_flow_decides_about_a_capture() {
    let dir = TempDir::new();
    let capture = dir.file("trace.pcap");
    let bytes = write_capture(&capture, &[(1000, A_TO_B), (1250, B_TO_A), (2000, A_TO_B)]);
    // By the port's name, and by number.
    for flow in
        ["priority=10,udp,in_port=p1,tp_dst=53,actions=drop", "priority=10,udp,in_port=1,tp_dst=53,actions=drop"]
    {
        let report = json(demo_capture(&dir, &capture, &["--flow", flow, "--format", "json"]));
        assert_eq!(steps_packets(&report), [1, 0], "{flow}");
        assert_eq!(report["switch"]["drops"]["flow_drop"], 2);
        assert_eq!(read_capture(&dir.file("trace.p1.pcap")), [(1250, bytes[1].clone())]);
    }
}

#[test]
fn a_capture_that_cannot_be_read_is_refused_in_a_line() {
    let dir = TempDir::new();
    let whole = dir.file("whole.pcap");
    write_capture(&whole, &[(1000, A_TO_B), (1250, B_TO_A)]);
    let content = fs::read(&whole).unwrap();
    for (name, bytes, complaint) in [
        ("none.pcap", None, "No such file or directory (os error 2)"),
        ("no.pcap", Some(&b"GIF89a, which is no capture"[..]), "not a pcap file: it begins with [47, 49, 46, 38]"),
        ("empty.pcap", Some(b""), "not a pcap file: it begins with [00, 00, 00, 00]"),
        ("cut.pcap", Some(&content[..content.len() - 5]), "the file ends inside record 2"),
        (
            "ng.pcap",
            Some(b"\x0a\x0d\x0d\x0a, as pcapng begins"),
            "this is a pcapng file; convert it with: editcap -F pcap IN OUT",
        ),
    ] {
        let out = TempDir::new();
        let file = dir.file(name);
        bytes.inspect(|b| fs::write(&file, b).unwrap());
        let line = refusal(demo_capture(&out, &file, &[]));
        assert_eq!(line, format!("ovs-vswitchd: {}: {complaint}", file.display()));
        assert_eq!(out.names(), [""; 0], "{name}");
    }
    let out = TempDir::new();
    let line = refusal(demo_capture(&out, dir.path(), &[]));
    assert_eq!(line, format!("ovs-vswitchd: {}: Is a directory (os error 21)", dir.path().display()));

    let line = refusal(demo_capture(&out, &whole, &["--flow", "tcp,actions=nonsense"]));
    assert!(line.starts_with("ovs-vswitchd: flow \"tcp,actions=nonsense\": "), "{line}");
    assert_eq!(out.names(), [""; 0]);

    let nowhere = dir.file("nowhere");
    let args = ["demo", "--pcap", whole.to_str().unwrap(), "--out", nowhere.to_str().unwrap()];
    let complaint =
        format!("ovs-vswitchd: {}/whole.p1.pcap: No such file or directory (os error 2)", nowhere.display());
    assert_eq!(refusal(vswitchd(&args)), complaint);
}

#[test]
fn wrong_usage_is_told_with_status_2() {
    for args in [&["demo", "--flow", "actions=drop"][..], &["run"], &["demo", "--memory", "--pcap", "x"]] {
        let out = vswitchd(args);
        assert_eq!((out.status.code(), out.stdout.is_empty()), (Some(2), true), "{args:?}");
        assert!(String::from_utf8(out.stderr).unwrap().contains("Usage:"), "{args:?}");
    }
}

// Real ports.

const A: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

/// Two hosts, and a namespace with a port for each: `left` and `right`.
struct Net {
    a: Namespace,
    b: Namespace,
    ports: Namespace,
}

impl Net {
    fn new() -> Option<Net> {
        let net = Net { a: namespace()?, b: namespace()?, ports: namespace()? };
        let ports = Links::open(&net.ports).unwrap();
        for (port, host, ip) in [("left", &net.a, A), ("right", &net.b, B)] {
            ports.add_veth(port, host, "eth0").unwrap();
            let inside = Links::open(host).unwrap();
            inside.add_ip("eth0", ip.into(), 24).unwrap();
            inside.set_up("eth0").unwrap();
        }
        Some(net)
    }

    /// A switch between the ports.
    fn run(&self, more: &[&str]) -> Running {
        let mut command = Command::new(VSWITCHD);
        command.args(["run", "--port", "left", "--port", "right", "--format", "text"]).args(more);
        self.ports.run(|| Running::start(&mut command)).unwrap()
    }

    /// What the program answers in the namespace of the ports.
    fn vswitchd(&self, args: &[&str]) -> Output {
        self.ports.run(|| vswitchd(args)).unwrap()
    }

    /// Waits until B answers A: the first question may be lost before the kernel has dealt with carriers.
    fn reaches(&self) {
        let deadline = Instant::now() + LONG;
        while !self.ping(Duration::from_secs(1)) {
            assert!(Instant::now() < deadline, "no answer");
        }
    }

    /// Whether A gets an answer from B.
    fn ping(&self, patience: Duration) -> bool {
        let report = self.a.run(|| traffic::ping(B, 1, Duration::ZERO, patience)).unwrap().unwrap();
        report.received == 1
    }

    fn transfer(&self, port: u16, bytes: u64, patience: Duration) -> bool {
        let never = AtomicBool::new(false);
        traffic::tcp_transfer(&self.b, &self.a, (B, port).into(), bytes, patience, &never).is_ok_and(|r| r.intact)
    }
}

#[test]
fn a_switch_between_interfaces_forwards_and_ends_with_a_table() {
    let Some(net) = Net::new() else { return };
    let mut switch = net.run(&[]);
    let mut out = switch.read_until("switching between left, right; Ctrl-C stops");
    net.reaches();
    assert!(net.transfer(80, 20_000_000, LONG));
    switch.signal(Signal::TERM);
    assert_eq!(switch.wait().code(), Some(0));
    let mut table = String::new();
    out.read_to_string(&mut table).unwrap();
    assert!(table.contains(" left ") && table.contains(" right "), "{table}");
    assert!(table.contains("packets: in ") && !table.contains("NOT BALANCED"), "{table}");
    let megaflows: Vec<_> = table.lines().filter(|l| l.starts_with("  recirc_id")).collect();
    assert!(megaflows.len() >= 2 && megaflows.iter().all(|l| is_megaflow(l.trim())), "{table}");
    // The interfaces were the user's, and still are there.
    let links = Links::open(&net.ports).unwrap();
    assert!(links.get("left").is_ok() && links.get("right").is_ok());
    // Nobody switches any more.
    assert!(!net.ping(Duration::from_millis(200)));
}

#[test]
fn a_flow_names_ports_and_has_its_effect() {
    let Some(net) = Net::new() else { return };
    let drop = "priority=10,tcp,in_port=left,tp_dst=23,actions=drop";
    let mut switch = net.run(&["--flow", drop, "--flow", "priority=9,icmp,in_port=left,actions=output:right"]);
    let mut out = switch.read_until("switching between");
    net.reaches();
    assert!(net.transfer(80, 100_000, LONG));
    assert!(!net.transfer(23, 100_000, Duration::from_millis(500)));
    switch.signal(Signal::INT);
    assert_eq!(switch.wait().code(), Some(0));
    let mut table = String::new();
    out.read_to_string(&mut table).unwrap();
    assert!(table.contains(": flow_drop (a flow drops it)"), "{table}");
}

#[test]
fn an_interface_that_goes_is_told_once_and_the_others_go_on() {
    let Some(net) = Net::new() else { return };
    let links = Links::open(&net.ports).unwrap();
    links.add_veth("third", &net.b, "eth1").unwrap();
    let mut switch = net.run(&["--port", "third"]);
    let mut out = switch.read_until("switching between left, right, third; Ctrl-C stops");
    net.reaches();
    links.delete("third").unwrap();
    // Long enough to complain again, if it does.
    std::thread::sleep(Duration::from_millis(1500));
    net.reaches();
    assert!(net.transfer(80, 1_000_000, LONG));
    switch.signal(Signal::TERM);
    assert_eq!(switch.wait().code(), Some(0));
    let (mut table, mut errors) = (String::new(), String::new());
    out.read_to_string(&mut table).unwrap();
    switch.0.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(!table.contains("NOT BALANCED"), "{table}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains("there is no interface third"), "{errors}");
}

#[test]
fn interfaces_that_cannot_be_ports_are_refused_in_a_line() {
    let Some(net) = Net::new() else { return };
    let links = Links::open(&net.ports).unwrap();
    if let Err(e) = links.add_bridge("bridge") {
        eprintln!("skipped: {e}");
        return;
    }
    links.add_veth("member", &net.a, "eth1").unwrap();
    links.set_bridge("member", Some("bridge")).unwrap();
    for (args, complaint) in [
        (&["run", "--port", "none"][..], "there is no interface none; see: ip link"),
        (&["run", "--port", "left", "--port", "none"], "there is no interface none; see: ip link"),
        (&["run", "--port", "a-name-that-is-too-long"], "there is no interface a-name-that-is-too-long; see: ip link"),
        (
            &["run", "--port", "member"],
            "interface member is in use: it is a port of bridge bridge; to release it: ip link set member nomaster",
        ),
        (&["run", "--port", "lo"], "interface lo is not Ethernet (ARP hardware type 772)"),
        (&["run", "--port", "left", "--port", "left"], "port left is in the datapath already"),
    ] {
        assert_eq!(refusal(net.vswitchd(args)), format!("ovs-vswitchd: {complaint}"));
    }
    for flow in ["tcp,actions=nonsense", "in_port=nowhere,actions=drop", "tcp", ""] {
        let line = refusal(net.vswitchd(&["run", "--port", "left", "--flow", flow]));
        assert!(line.starts_with(&format!("ovs-vswitchd: flow {flow:?}: ")), "{line}");
    }
}

#[test]
fn a_user_without_the_capability_is_told_so() {
    let Some(net) = Net::new() else { return };
    let dir = TempDir::new();
    let program = program(&dir);
    let run =
        || Command::new(&program).args(["run", "--port", "left"]).current_dir("/").uid(NOBODY).gid(NOBODY).output();
    let out = net.ports.run(run).unwrap().unwrap();
    assert_eq!(refusal(out), "ovs-vswitchd: opening left needs the capability CAP_NET_RAW; run as root");
    assert!(!Links::open(&net.ports).unwrap().get("left").unwrap().up, "it was brought up");
}

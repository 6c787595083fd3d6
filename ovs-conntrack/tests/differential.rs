//! Random TCP histories through this tracker and through stock Open vSwitch's, packet by packet.
//!
//! Ignored unless asked for, since it starts daemons: `cargo test -p ovs-conntrack --test differential -- --ignored`.
//! Each packet goes through `ct(commit,table=1)` of a dummy bridge; a flow for each combination of state bits counts it.
//! What may differ is what the table at the head of `tcp.rs` says; anything else is a failure.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::Lab;
use common::history::{History, Random};
use ovs_conntrack::CtRequest;
use ovs_packet::Packet;
use ovs_packet::packet::CtState;

/// Histories.
const HISTORIES: u32 = 150;

/// A stock switch with one dummy port, in a folder of its own.
struct Stock {
    folder: PathBuf,
    counted: BTreeMap<u8, u64>,
}

impl Stock {
    fn start() -> Stock {
        let folder = std::env::temp_dir().join(format!("ovs-conntrack-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut stock = Stock { folder, counted: BTreeMap::new() };
        let path = |name: &str| stock.folder.join(name).display().to_string();
        let (db, sock) = (path("conf.db"), path("db.sock"));
        let pid = |name: &str| format!("--pidfile={}", path(name));
        stock.run("ovsdb-tool", &["create", &db, "/usr/share/openvswitch/vswitch.ovsschema"]);
        stock.run("ovsdb-server", &["--detach", "--no-chdir", &pid("db.pid"), &format!("--remote=punix:{sock}"), &db]);
        let remote = format!("--db=unix:{sock}");
        stock.run("ovs-vsctl", &[&remote, "--no-wait", "init"]);
        let daemon = ["--detach", "--no-chdir", &pid("ovs-vswitchd.pid"), "--enable-dummy", "--disable-system"];
        stock.run("ovs-vswitchd", &[&daemon[..], &[&format!("unix:{sock}")]].concat());
        let bridge = "add-br br0 -- set bridge br0 datapath_type=dummy fail-mode=secure -- add-port br0 p1 -- \
                      set interface p1 type=dummy";
        stock.run("ovs-vsctl", &[&[remote.as_str()][..], &bridge.split(' ').collect::<Vec<_>>()].concat());
        let mut flows = String::from("table=0,tcp,actions=ct(commit,table=1)\n");
        for bits in 0x20..0x40u8 {
            let sign = |i: usize| if bits >> i & 1 != 0 { '+' } else { '-' };
            let state: String = (0..6).map(|i| format!("{}{}", sign(i), CtState::NAMES[i])).collect();
            flows += &format!("table=1,priority={bits},tcp,ct_state={state},actions=drop\n");
        }
        fs::write(stock.folder.join("flows"), flows).unwrap();
        stock.run("ovs-ofctl", &["add-flows", &stock.bridge(), &path("flows")]);
        stock.counted = stock.count();
        stock
    }

    fn run(&self, program: &str, args: &[&str]) -> String {
        let mut command = Command::new(program);
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
            command.env(variable, &self.folder);
        }
        let out = command.args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
        assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    fn bridge(&self) -> String {
        format!("unix:{}", self.folder.join("br0.mgmt").display())
    }

    fn control(&self, words: &[&str]) -> String {
        self.run("ovs-appctl", &[&["-t", "ovs-vswitchd"], words].concat())
    }

    /// Packets by state so far.
    fn count(&self) -> BTreeMap<u8, u64> {
        self.control(&["revalidator/purge"]);
        let number = |line: &str, name: &str| {
            let rest = line.split_once(name)?.1;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok()
        };
        let dump = self.run("ovs-ofctl", &["dump-flows", &self.bridge(), "table=1"]);
        let entry = |line: &str| Some((number(line, "priority=")? as u8, number(line, "n_packets=")?));
        dump.lines().filter_map(entry).collect()
    }

    /// The state of a packet, and the connection's afterwards.
    fn track(&mut self, packet: &Packet) -> (u8, String) {
        let hex: String = packet.data().iter().map(|b| format!("{b:02x}")).collect();
        self.control(&["netdev-dummy/receive", "p1", &hex]);
        for _ in 0..200 {
            let now = self.count();
            let state = now.iter().find(|(state, n)| self.counted[state] != **n).map(|(state, _)| *state);
            self.counted = now;
            if let Some(state) = state {
                return (state, self.control(&["dpctl/dump-conntrack"]));
            }
        }
        panic!("the packet was not counted");
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        for name in ["ovs-vswitchd.pid", "db.pid"] {
            let pid = fs::read_to_string(Path::new(&self.folder).join(name)).unwrap_or_default();
            let _ = Command::new("kill").arg(pid.trim()).status();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The states that dumps show.
fn states(dump: &str) -> Vec<&str> {
    dump.split("state=").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

#[test]
#[ignore = "starts a stock Open vSwitch"]
fn tcp_histories() {
    let mut random = Random::new();
    let mut stock = Stock::start();
    let (mut packets, mut explained) = (0, BTreeMap::<&str, u32>::new());
    for _ in 0..HISTORIES {
        stock.control(&["dpctl/flush-conntrack"]);
        let mut lab = Lab::new();
        let (mut story, mut syns) = (Vec::new(), [0; 2]);
        let history = History::new(&mut random);
        let shifts = history.shifts;
        let scaled = shifts.map(|shift| shift.is_some_and(|shift| shift > 0));
        for turn in history {
            let (mut p, flags) = (turn.packet, turn.flags);
            story.push(turn.words);
            let (theirs, their_dump) = stock.track(&p);
            lab.track(&mut p, &CtRequest::commit(0));
            let (ours, our_dump) = (p.meta.ct.state.bits(), lab.dump().join("\n"));
            packets += 1;
            syns[usize::from(!turn.client)] += u32::from(flags == "syn");
            if (theirs, states(&their_dump)) == (ours, states(&our_dump)) {
                continue;
            }
            let is = |bits: CtState| (bits | CtState::TRACKED).bits();
            let answered = lab.tracker.dump(None, lab.now).any(|c| c.answered);
            let reason = match (theirs, ours) {
                _ if theirs == is(CtState::ESTABLISHED) && ours == is(CtState::NEW) && !answered => "not answered yet",
                _ if flags == "syn" && theirs == is(CtState::NEW) => "a SYN within the connection",
                _ if syns[0] > 1 || syns[1] > 0 => "after SYNs that crossed or were repeated",
                _ if scaled[0] && shifts[1].is_none() => "a scale that one end offers",
                _ => panic!("stock {theirs:#x} {their_dump}ours {ours:#x} {our_dump}\n{story:#?}"),
            };
            *explained.entry(reason).or_default() += 1;
            if reason != "not answered yet" {
                break;
            }
        }
    }
    println!("{packets} packets; explained differences: {explained:?}");
}

//! What the switch's control path costs, in CPU time of the thread, against what upstream's daemon takes for the same
//! (performance.md, rows 8, 8b, 8c and 13: 5.0 us a flow-mod in a bundle, 60 us one with a barrier, 1.0 s for a dump of a
//! million, 1350 bytes a rule). A smaller table for a first look: `cargo bench --bench switch -- 100000`.

use std::fs;
use std::time::Duration;

use ovs_dpif::userspace::Datapath;
use ovs_ofproto::FlowMod;
use ovs_ofproto::codec::{BundleAdd, BundleControl, FlowStatsRequest, Message, Version};
use ovs_ofproto::pipeline::{ConnectionConfig, ConnectionId, Ofproto};
use ovs_packet::Instant;
use ovs_packet::field::FieldId;

const NOW: Instant = Instant::ZERO;

/// CPU time of this thread.
fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(stat.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0))
}

/// Memory of the process, in bytes.
fn memory() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|n| n.parse::<usize>().ok()).unwrap_or(0) * 4096
}

struct Switch {
    of: Ofproto,
    dp: Datapath,
    c: ConnectionId,
}

impl Switch {
    fn new() -> Switch {
        let mut of = Ofproto::new();
        let c = of.connect(&ConnectionConfig::new(Version::V1_4));
        Switch { of, dp: Datapath::new(), c }
    }

    fn send(&mut self, message: &[u8]) {
        self.of.handle_message(&mut self.dp, self.c, message, NOW).expect("room");
    }

    /// Goes on with what takes long; how long the longest part of it took.
    fn go_on(&mut self) -> Duration {
        let mut longest = Duration::ZERO;
        while self.of.is_under_way() {
            let start = cpu();
            self.of.run(&mut self.dp, NOW);
            longest = longest.max(cpu() - start);
        }
        longest
    }

    fn drain(&mut self) -> (usize, usize) {
        let (mut messages, mut bytes) = (0, 0);
        while let Some(output) = self.of.poll_output(&mut self.dp, self.c, NOW) {
            messages += 1;
            bytes += output.message.len();
            assert_ne!(output.message[1], 1, "an error: {:x?}", output.message);
        }
        (messages, bytes)
    }
}

fn flow(n: usize, tables: usize) -> Message {
    let mut fm: FlowMod = "priority=100,tcp,tp_dst=80,actions=output:1".parse().expect("a flow");
    fm.table = (n % tables) as u8;
    fm.matching.set(FieldId::NwDst, n as u128);
    fm.cookie = n as u64;
    Message::from(fm)
}

fn control(kind: u16) -> Vec<u8> {
    let mut b = BundleControl::default();
    (b.bundle, b.kind, b.flags) = (1, kind, 3);
    Message::BundleControl(b).encode(Version::V1_4, 1).expect("a message")
}

fn bundle(n: usize, tables: usize) -> Vec<Vec<u8>> {
    let add = |i| {
        let mut b = BundleAdd::default();
        (b.bundle, b.flags) = (1, 3);
        b.message = flow(i, tables).encode(Version::V1_4, 1).expect("a message");
        Message::BundleAdd(b).encode(Version::V1_4, 1).expect("a message")
    };
    (0..n).map(add).collect()
}

fn report(what: &str, n: usize, took: Duration, peer_ns: f64) {
    let each = took.as_nanos() as f64 / n as f64;
    println!(
        "{what:<44} {:>8.3} s {each:>9.0} ns each, {:>5.1} times as fast as upstream",
        took.as_secs_f64(),
        peer_ns / each
    );
}

fn main() {
    let asked = std::env::args().skip(1).find_map(|a| a.parse().ok());
    let n: usize = asked.unwrap_or(1_000_000);
    for tables in [1, 20] {
        let messages = bundle(n, tables);
        let mut s = Switch::new();
        let before = memory();
        s.send(&control(0));
        let start = cpu();
        messages.iter().for_each(|m| s.send(m));
        let added = cpu() - start;
        s.send(&control(2));
        s.send(&control(4));
        let longest = s.go_on();
        let took = cpu() - start;
        println!("the longest slice of the commit: {} us", longest.as_micros());
        s.drain();
        assert_eq!(s.of.flow_count(), n);
        drop(messages);
        report(&format!("bundle of {n} in {tables} tables: added"), n, added, 5000.0);
        report(&format!("bundle of {n} in {tables} tables: all"), n, took, 5000.0);
        println!("memory: {} bytes a rule (upstream 1350)", memory().saturating_sub(before) / n);

        let request = Message::from(FlowStatsRequest::default()).encode(Version::V1_4, 1).expect("a message");
        let start = cpu();
        s.send(&request);
        let first = cpu() - start;
        let (messages, bytes) = s.drain();
        let took = cpu() - start;
        report(&format!("dump of {n}: {messages} messages, {bytes} bytes"), n, took, 1000.0);
        println!("the request alone: {} us", first.as_micros());

        let single = |i: usize| flow(n + i, tables).encode(Version::V1_4, 1).expect("a message");
        let singles: Vec<_> = (0..10_000).map(single).collect();
        let barrier = Message::BarrierRequest.encode(Version::V1_4, 1).expect("a message");
        let start = cpu();
        for m in &singles {
            s.send(m);
            s.send(&barrier);
            s.drain();
        }
        report("one by one, with a barrier each", singles.len(), cpu() - start, 60_000.0);

        let mut all: FlowMod = "".parse().unwrap_or_default();
        all.command = ovs_ofproto::FlowModCommand::Delete;
        all.table = 0xff;
        let delete = Message::from(all).encode(Version::V1_4, 1).expect("a message");
        let start = cpu();
        s.send(&delete);
        println!("to begin with: {} us", (cpu() - start).as_micros());
        println!("the longest slice of the deletion: {} us", s.go_on().as_micros());
        report("deletion of all", n, cpu() - start, 150.0);
        assert_eq!(s.of.flow_count(), 0);
    }
}

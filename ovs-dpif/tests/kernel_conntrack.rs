//! Random packets through `ct(commit), recirc(1)` of the kernel's datapath and of the one in userspace, packet by packet.
//!
//! What comes up with recirculation id 1 shows what either tracker thinks of the packet. TCP may differ as the table at
//! the head of `ovs-conntrack/src/tcp.rs` says; anything else is a failure.
#![cfg(target_os = "linux")]

#[path = "../../ovs-conntrack/tests/common/mod.rs"]
mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::history::{History, Random, Turn};
use ovs_conntrack::{Filter, TcpState};
use ovs_dpif::connections::ConnectionState;
use ovs_dpif::kernel::{self, Options};
use ovs_dpif::netdev::MemPort;
use ovs_dpif::{CtRequest, DpAction, Dpif, PortSpec, Resolution, userspace};
use ovs_netlink::Linux;
use ovs_packet::packet::CtState;
use ovs_packet::{FlowKey, Instant, Packet};

#[test]
fn in_a_kernel() {
    ovs_test_kernel::run_ignored_tests();
}

/// The kernel's monotonic clock.
fn now() -> Instant {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    Instant::from_millis((seconds * 1000.0) as u64)
}

/// A datapath with one port.
struct Side {
    dp: Box<dyn Dpif>,
    port: u32,
}

impl Side {
    fn pair() -> [Side; 2] {
        // No packets of the machine's own.
        for which in ["default", "all"] {
            let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), "1");
        }
        let theirs = Box::new(kernel::Datapath::create(&Linux, "twin", Options::default()).unwrap());
        let theirs = Side::with(theirs, PortSpec::Internal("twin1".into()));
        let (device, _) = MemPort::new("twin1", 1);
        [theirs, Side::with(Box::new(userspace::Datapath::new()), PortSpec::Device(Box::new(device)))]
    }

    fn with(mut dp: Box<dyn Dpif>, port: PortSpec) -> Side {
        let port = dp.port_add(port, None).unwrap().0;
        Side { dp, port }
    }

    /// The state of the one connection that there is.
    fn state(&mut self) -> Option<ConnectionState> {
        let mut all = Vec::new();
        self.dp.conntrack().unwrap().dump(None, now(), &mut |connection| all.push(connection.state)).unwrap();
        assert!(all.len() < 2, "{all:?}");
        all.pop()
    }

    fn flush(&mut self) {
        self.dp.conntrack().unwrap().flush(&Filter::default(), now()).unwrap();
    }

    /// What the packet is after tracking; nothing if tracking dropped it.
    fn track(&mut self, packet: &Packet, request: &CtRequest) -> Option<Box<FlowKey>> {
        let mut packet = packet.clone();
        packet.meta.in_port = self.port;
        let mut upcalls = Vec::new();
        self.dp.inject(packet, &[DpAction::Ct(*request), DpAction::Recirc(1)], now(), &mut upcalls);
        for _ in 0..10 {
            if let Some(at) = upcalls.iter().position(|upcall| upcall.key.recirc_id.get() == 1) {
                let upcall = upcalls.remove(at);
                let key = upcall.key.clone();
                self.dp.resolve(upcall, Resolution::Consumed, now(), &mut Vec::new());
                return Some(key);
            }
            if self.dp.poll(now(), &mut upcalls) == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        None
    }
}

/// State bits in words.
fn words(key: Option<&FlowKey>) -> String {
    let Some(key) = key else { return "dropped".into() };
    let set = |i: &usize| key.ct_state >> i & 1 != 0;
    (0..8).filter(set).map(|i| CtState::NAMES[i]).filter(|name| *name != "trk").collect::<Vec<_>>().join(" ")
}

/// What a history has shown so far, as far as the kernel believed it.
#[derive(Default)]
struct Seen {
    /// The highest number behind what each end sent, client first.
    end: [Option<u32>; 2],
    /// The highest number that each end permits the other.
    limit: [Option<u32>; 2],
    /// The window in each end's SYN.
    syn: [Option<u16>; 2],
    /// Whether the numbers of some packet were off.
    off: bool,
}

/// The later of two numbers.
fn later(a: Option<u32>, b: u32) -> Option<u32> {
    Some(a.map_or(b, |a| if b.wrapping_sub(a) as i32 > 0 { b } else { a }))
}

/// Whether `a` is beyond `b`.
fn beyond(a: u32, b: Option<u32>) -> bool {
    b.is_some_and(|b| a.wrapping_sub(b) as i32 > 0)
}

impl Seen {
    /// Adds a packet that the kernel believed, sent by an end whose windows have this scale.
    fn add(&mut self, turn: &Turn, scale: u8) {
        let (own, other) = (usize::from(!turn.client), usize::from(turn.client));
        if self.end[own].is_none() {
            // What the other's SYN permits.
            self.limit[other] = self.syn[other].map(|window| turn.end.wrapping_add(u32::from(window).max(1)));
        }
        self.end[own] = later(self.end[own], turn.end);
        let scale = if turn.flags.contains("syn") { 0 } else { scale };
        if turn.flags == "syn" {
            self.syn[own] = Some(turn.window);
        } else if turn.flags.contains("ack") {
            let permitted = turn.ack.wrapping_add(u32::from(turn.window).max(1) << scale);
            self.limit[own] = later(self.limit[own], permitted);
        }
    }
}

/// A packet that the two judge differently.
struct Difference<'a> {
    turn: &'a Turn,
    seen: &'a Seen,
    /// The states of the connection before it; nothing where there was none.
    kernel: Option<&'static str>,
    own: Option<(TcpState, TcpState)>,
    theirs: CtState,
    ours: CtState,
}

impl Difference<'_> {
    /// Why, in the words of the table at the head of `ovs-conntrack/src/tcp.rs`.
    fn reason(&self) -> Option<&'static str> {
        let Difference { turn, seen, kernel, own, theirs, ours } = self;
        let has = |flag| turn.flags.contains(flag);
        let other = usize::from(turn.client);
        let (syn, first) = (turn.flags == "syn", !(*theirs | *ours).contains(CtState::REPLY));
        let reset = *own == Some((TcpState::TimeWait, TcpState::TimeWait));
        let through = own.is_some_and(|(a, b)| a.min(b) >= TcpState::FinWait2);
        Some(match (theirs.contains(CtState::INVALID), ours.contains(CtState::INVALID)) {
            (true, false) if own.is_none() && kernel.is_none() && (has("fin") || has("rst")) => "a FIN or RST first",
            (_, _) if reset => "after a reset",
            (true, false) if first && turn.flags == "syn|ack" => "a SYN-ACK of who began",
            (true, false) if *kernel == Some("SYN_SENT") && !has("syn") && (first || has("fin")) => "before a SYN-ACK",
            (true, false) if syn && !first => "a SYN of who answered",
            (_, false) if syn && through => "a SYN after both have finished",
            (true, false) if has("ack") && beyond(turn.ack, seen.end[other]) => "acknowledges what was not seen",
            (false, true) if beyond(turn.end, seen.limit[other]) && !beyond(turn.seq, seen.limit[other]) => "ends beyond the window",
            (false, true) if *kernel == Some("SYN_SENT") && !first && !syn => "an answer to a SYN that is none",
            (false, _) if syn => "a SYN within the connection",
            (false, true) if has("rst") => "a reset of another number",
            _ if seen.off => "numbers that are off",
            _ => return None,
        })
    }
}

fn state_of(key: Option<&FlowKey>) -> CtState {
    key.map_or(CtState::empty(), |key| CtState::from_bits_retain(key.ct_state))
}

/// Whether the one state of the kernel's connection and those of its ends here are of the same moment.
fn alike(kernel: Option<ConnectionState>, own: Option<ConnectionState>) -> bool {
    use TcpState::{Closed, Established, FinWait2, SynSent, TimeWait};
    let (Some(ConnectionState::One(kernel)), Some(ConnectionState::Ends(a, b))) = (kernel, own) else { return false };
    match (a, b) {
        (SynSent, Closed) => kernel == "SYN_SENT",
        (Established, SynSent) => kernel == "SYN_RECV",
        (Established, Established) => kernel == "ESTABLISHED",
        (TimeWait, TimeWait) => kernel == "CLOSE",
        (FinWait2, FinWait2) => kernel == "TIME_WAIT",
        _ => ["FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT"].contains(&kernel),
    }
}

fn compare([kernel, userspace]: &mut [Side; 2], histories: u32, orderly: bool) {
    let mut random = Random::new();
    let (mut packets, mut whole) = (0, 0);
    let mut explained = BTreeMap::<&str, u32>::new();
    let mut unexplained = Vec::new();
    for _ in 0..histories {
        kernel.flush();
        userspace.flush();
        let history = if orderly { History::orderly(&mut random) } else { History::new(&mut random) };
        let scales = match history.shifts {
            [Some(client), Some(server)] => [client, server],
            _ => [0, 0],
        };
        let (mut story, mut seen, mut same) = (Vec::new(), Seen::default(), true);
        for turn in history {
            let (was, own) = (kernel.state(), userspace.state());
            let theirs = kernel.track(&turn.packet, &CtRequest::commit(0));
            let ours = userspace.track(&turn.packet, &CtRequest::commit(0));
            packets += 1;
            story.push(format!("{} [{was:?} {own:?}] -> {}", turn.words, words(theirs.as_deref())));
            seen.off |= turn.off;
            let (theirs, ours) = (state_of(theirs.as_deref()), state_of(ours.as_deref()));
            if theirs != ours {
                same = false;
                let own = match own { Some(ConnectionState::Ends(a, b)) => Some((a, b)), _ => None };
                let was = match was { Some(ConnectionState::One(name)) => Some(name), _ => None };
                let difference = Difference { turn: &turn, seen: &seen, kernel: was, own, theirs, ours };
                match difference.reason() {
                    Some(reason) => *explained.entry(reason).or_default() += 1,
                    None => unexplained.push(format!("ours {ours:?}: {story:#?}")),
                }
                break;
            }
            if orderly {
                let (theirs, ours) = (kernel.state(), userspace.state());
                assert!(alike(theirs, ours), "{theirs:?} {ours:?} {story:#?}");
            }
            // The kernel lets some by without a look.
            let passed = match was {
                Some(ConnectionState::One("SYN_SENT")) => !turn.flags.contains("syn"),
                Some(_) => turn.flags.contains("syn"),
                None => false,
            };
            // The numbers that they took are off for it from then on.
            seen.off |= passed && turn.flags.contains("syn");
            if !passed && !theirs.contains(CtState::INVALID) {
                seen.add(&turn, scales[usize::from(!turn.client)]);
            }
        }
        whole += u32::from(same);
    }
    println!("{packets} packets; of {histories} histories {whole} are alike; explained differences: {explained:?}");
    unexplained.sort_by_key(|story| story.len());
    unexplained.iter().take(8).for_each(|story| println!("{story}"));
    assert!(unexplained.is_empty(), "{}", unexplained.len());
}

#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn tcp_histories() {
    let Some(_) = ovs_test_kernel::inside() else { return };
    let mut sides = Side::pair();
    compare(&mut sides, 1000, true);
    compare(&mut sides, 1000, false);
}

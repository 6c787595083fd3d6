//! Random packets through `ct(commit), recirc(1)` of the kernel's datapath and of the one in userspace, packet by packet.
//!
//! What comes up with recirculation id 1 shows what either tracker thinks of the packet. TCP may differ as the table at
//! the head of `ovs-conntrack/src/tcp.rs` says; anything else is a failure.
#![cfg(target_os = "linux")]

#[path = "../../ovs-conntrack/tests/common/mod.rs"]
mod common;
#[path = "kernel_conntrack/windows.rs"]
mod windows;

use std::collections::BTreeMap;
use std::time::Duration;

use common::history::{History, Random, Turn};
use ovs_conntrack::{Filter, TcpState};
use ovs_dpif::connections::ConnectionState;
use ovs_dpif::kernel::{self, Options};
use ovs_dpif::netdev::MemPort;
use ovs_dpif::{CtRequest, DpAction, Dpif, Nat, NatRange, PortSpec, Resolution, userspace};
use ovs_netlink::{Linux, monotonic};
use ovs_packet::packet::CtState;
use ovs_packet::{FlowKey, Instant, Packet};
use windows::{Fit, Windows};

#[test]
fn in_a_kernel() {
    ovs_test_kernel::run_ignored_tests();
}

/// The kernel's monotonic clock.
fn now() -> Instant {
    Instant::from_nanos(monotonic().as_nanos() as u64)
}

/// A datapath with one port.
struct Side {
    dp: Box<dyn Dpif>,
    port: u32,
}

impl Side {
    fn pair(name: &str) -> [Side; 2] {
        // No packets of the machine's own.
        for which in ["default", "all"] {
            let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), "1");
        }
        let theirs = Box::new(kernel::Datapath::create(&Linux, name, Options::default()).unwrap());
        let theirs = Side::with(theirs, PortSpec::Internal(format!("{name}1")));
        let (device, _) = MemPort::new("end", 1);
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
    fn track(&mut self, packet: &Packet, request: &CtRequest) -> Option<(Box<FlowKey>, Packet)> {
        let mut packet = packet.clone();
        packet.meta.in_port = self.port;
        let mut upcalls = Vec::new();
        self.dp.inject(packet, &[DpAction::Ct(*request), DpAction::Recirc(1)], now(), &mut upcalls);
        for _ in 0..10 {
            if let Some(at) = upcalls.iter().position(|upcall| upcall.key.recirc_id.get() == 1) {
                let upcall = upcalls.remove(at);
                let tracked = (upcall.key.clone(), upcall.packet.clone());
                self.dp.resolve(upcall, Resolution::Consumed, now(), &mut Vec::new());
                return Some(tracked);
            }
            if self.dp.poll(now(), &mut upcalls) == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        None
    }
}

/// State bits in words.
fn words(state: CtState) -> String {
    let set = |i: &usize| state.bits() >> i & 1 != 0;
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
    /// How the packet fits to the windows that the kernel has, by a model of them, and whether it is an answer there.
    fit: Option<(Fit, bool)>,
    theirs: CtState,
    ours: CtState,
}

impl Difference<'_> {
    /// Why, in the words of the table at the head of `ovs-conntrack/src/tcp.rs`.
    fn reason(&self) -> Option<&'static str> {
        let Difference { turn, seen, kernel, own, fit, theirs, ours } = self;
        let has = |flag| turn.flags.contains(flag);
        let other = usize::from(turn.client);
        let (syn, first) = (turn.flags == "syn", !(*theirs | *ours).contains(CtState::REPLY));
        if *own == Some((TcpState::TimeWait, TcpState::TimeWait))
            && let Some(reason) = self.after_reset()
        {
            return Some(reason);
        }
        // Who is believed by its windows.
        let fits = match fit {
            Some((Fit::Inside | Fit::Passed, _)) => !theirs.contains(CtState::INVALID),
            Some((Fit::Beyond | Fit::Misplaced, _)) => theirs.contains(CtState::INVALID),
            None => false,
        };
        let through = own.is_some_and(|(a, b)| a.min(b) >= TcpState::FinWait2);
        Some(match (theirs.contains(CtState::INVALID), ours.contains(CtState::INVALID)) {
            (true, false) if own.is_none() && kernel.is_none() && (has("fin") || has("rst")) => "a FIN or RST first",
            (true, false) if first && turn.flags == "syn|ack" => "a SYN-ACK of who began",
            (true, false) if *kernel == Some("SYN_SENT") && !has("syn") && (first || has("fin")) => "before a SYN-ACK",
            (true, false) if syn && !first => "a SYN of who answered",
            (_, false) if syn && through => "a SYN after both have finished",
            (true, false) if has("ack") && beyond(turn.ack, seen.end[other]) => "acknowledges what was not seen",
            (false, true) if beyond(turn.end, seen.limit[other]) && !beyond(turn.seq, seen.limit[other]) => {
                "ends beyond the window"
            }
            (false, true) if *kernel == Some("SYN_SENT") && !first && !syn => "an answer to a SYN that is none",
            (false, _) if syn => "a SYN within the connection",
            (false, true) if has("rst") => "a reset of another number",
            (a, b) if a != b && fits => "by its own windows",
            _ => return None,
        })
    }

    /// Likewise, after both ends were reset here.
    fn after_reset(&self) -> Option<&'static str> {
        let Difference { turn, kernel, fit, theirs, .. } = self;
        let invalid = theirs.contains(CtState::INVALID);
        let is_reply = fit.is_some_and(|(_, reply)| reply);
        match (*kernel, turn.flags) {
            (None, flags) => {
                let opens = flags == "syn" || !["syn", "fin", "rst"].iter().any(|flag| flags.contains(flag));
                let as_first = if opens { CtState::NEW } else { CtState::INVALID };
                (*theirs == as_first | CtState::TRACKED).then_some("after a reset before any answer")
            }
            (Some("CLOSE"), "syn") if is_reply => invalid.then_some("a SYN of who answered, after a reset"),
            (Some("CLOSE"), "syn") => theirs.contains(CtState::ESTABLISHED).then_some("a SYN after the other's reset"),
            (Some("CLOSE"), "syn|ack") => (invalid != is_reply).then_some("a SYN-ACK after a reset"),
            (Some("CLOSE"), _) => None,
            (Some(_), _) => Some("after a reset that it did not believe"),
        }
    }
}

/// The state that tracking gave a packet; nothing if it dropped it.
fn state_of(tracked: Option<(Box<FlowKey>, Packet)>) -> CtState {
    tracked.map_or(CtState::empty(), |(key, _)| CtState::from_bits_retain(key.ct_state))
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
    let (mut packets, mut whole, mut judged, mut foreseen) = (0, 0, 0, 0);
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
        let mut windows = None::<Windows>;
        for turn in history {
            let (was, own) = (kernel.state(), userspace.state());
            let theirs = kernel.track(&turn.packet, &CtRequest::commit(0));
            let ours = userspace.track(&turn.packet, &CtRequest::commit(0));
            packets += 1;
            let (theirs, ours) = (state_of(theirs), state_of(ours));
            story.push(format!("{} [{was:?} {own:?}] -> {}", turn.words, words(theirs)));
            let before = match was {
                Some(ConnectionState::One(name)) => Some(name),
                _ => None,
            };
            let fit = before.and_then(|state| {
                let windows = windows.as_mut()?;
                Some((windows.judge(&turn, state), windows.is_reply(&turn)))
            });
            if let Some((fit, _)) = fit {
                judged += 1;
                let valid = !theirs.contains(CtState::INVALID);
                foreseen += u32::from(matches!(fit, Fit::Inside | Fit::Passed) == valid);
            }
            let opens = before.is_none_or(|state| ["TIME_WAIT", "CLOSE"].contains(&state));
            if opens && theirs.contains(CtState::NEW) {
                windows = Some(Windows::open(&turn));
            }
            if theirs != ours {
                same = false;
                let own = match own {
                    Some(ConnectionState::Ends(a, b)) => Some((a, b)),
                    _ => None,
                };
                let difference = Difference { turn: &turn, seen: &seen, kernel: before, own, fit, theirs, ours };
                match difference.reason() {
                    Some(reason) => *explained.entry(reason).or_default() += 1,
                    None => unexplained.push(format!("ours {ours:?}, {fit:?}: {story:#?}")),
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
            if !passed && !theirs.contains(CtState::INVALID) {
                seen.add(&turn, scales[usize::from(!turn.client)]);
            }
        }
        whole += u32::from(same);
    }
    println!("{packets} packets, {judged} within connections, of which the model foresaw {foreseen} verdicts");
    println!("of {histories} histories {whole} are alike; explained differences: {explained:?}");
    unexplained.sort_by_key(|story| story.len());
    unexplained.iter().take(8).for_each(|story| println!("{story}"));
    assert!(unexplained.is_empty(), "{}", unexplained.len());
    assert!(judged - foreseen <= judged / 500, "{foreseen} of {judged}");
}

#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn tcp_histories() {
    let Some(_) = ovs_test_kernel::inside() else { return };
    let mut sides = Side::pair("tcp");
    compare(&mut sides, 150, true);
    compare(&mut sides, 300, false);
}

/// A datagram of some client, or a ping if that may be; `mirrored`: also from their server to one of them.
fn fresh(random: &mut Random, pings: bool, mirrored: bool) -> Packet {
    let (client, server) = match random.below(3) {
        0 if mirrored => (2, 1),
        n => (1 + 2 * n, 2),
    };
    // Clients that are translated must not clash: either tracker would choose what is free.
    let own = if mirrored { 0 } else { 10 * client };
    let ends = format!("nw_src=10.0.0.{client},nw_dst=10.0.0.{server}");
    if !pings || random.below(2) == 0 {
        let ports = random.one_of(&[(1001 + own, 53), (1002 + own, 53), (53 + own, 1001)]);
        return common::with_payload(&format!("udp,{ends},tp_src={},tp_dst={}", ports.0, ports.1), b"a datagram");
    }
    let kind = random.one_of(&[8, 8, 8, 0, 13, 9]);
    common::icmp(&format!("icmp,{ends},icmp_type={kind},icmp_code=0"), (1 + own + random.below(2)) as u16)
}

/// The answer to a packet that left.
fn answer(key: &FlowKey, packet: &Packet) -> Packet {
    let [from, to] = [key.nw_dst, key.nw_src].map(|address| std::net::Ipv4Addr::from_bits(address.get()));
    let ends = format!("nw_src={from},nw_dst={to}");
    if key.nw_proto == 17 {
        return common::with_payload(&format!("udp,{ends},tp_src={},tp_dst={}", key.tp_dst, key.tp_src), b"an answer");
    }
    let id = &packet.l3()[24..26];
    let kind = 8 - key.tp_src.get();
    common::icmp(&format!("icmp,{ends},icmp_type={kind},icmp_code=0"), u16::from_be_bytes([id[0], id[1]]))
}

/// Pings and datagrams, their answers, and errors about them, as they are and translated.
///
/// A turn is a packet of a client, or an answer to a packet that was let through, or an error about one, as it left.
/// Keys and packets behind tracking must be the same, byte for byte.
#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn datagrams_pings_errors_and_translation() {
    let Some(_) = ovs_test_kernel::inside() else { return };
    let mut random = Random::new();
    let [mut kernel, mut userspace] = Side::pair("others");
    let mut states = BTreeMap::<String, u32>::new();
    let (mut marked, mut truncated, mut exhausted) = (0, 0, 0);
    let outside: std::net::IpAddr = [192, 0, 2, 1].into();
    let server: std::net::IpAddr = [10, 0, 0, 7].into();
    let translations = [
        None,
        Some(Nat::Existing),
        Some(Nat::Source(NatRange::address(outside))),
        Some(Nat::Source(NatRange::address(outside).with_ports(7000, 7000))),
        Some(Nat::Destination(NatRange::address(server))),
        Some(Nat::Destination(NatRange::address(server).with_ports(54, 54))),
    ];
    for _ in 0..150 {
        kernel.flush();
        userspace.flush();
        let nat = random.one_of(&translations);
        let request = |nat: Option<Nat>| nat.map_or(CtRequest::commit(0), |nat| CtRequest::commit(0).with_nat(nat));
        let (mut left, mut story) = (Vec::<(Box<FlowKey>, Packet)>::new(), Vec::new());
        for _ in 0..10 {
            let old = (!left.is_empty()).then(|| &left[random.below(left.len() as u32) as usize]);
            let (packet, request) = match (random.below(4), old) {
                (2, Some((key, packet))) => (answer(key, packet), request(nat.map(|_| Nat::Existing))),
                (3, Some((key, packet))) => {
                    let from = random.one_of(&["10.0.0.2", "10.0.0.9"]);
                    let to = std::net::Ipv4Addr::from_bits(key.nw_src.get());
                    // The kernel drops redirects about translated connections.
                    let redirect = if nat.is_none() { (5, 1) } else { (11, 1) };
                    let (kind, code) = random.one_of(&[(3, 1), (3, 3), (3, 4), (11, 0), (12, 0), redirect]);
                    let text = format!("icmp,nw_src={from},nw_dst={to},icmp_type={kind},icmp_code={code}");
                    let error = common::icmp_error(&text, packet, random.one_of(&[1500, 28, 27, 12]) as usize);
                    (error, request(nat.map(|_| Nat::Existing)))
                }
                _ => {
                    // The kernel takes a range of ports for one of identifiers; here they are kept.
                    let pings = nat.and_then(|nat| nat.range()?.ports).is_none();
                    // Nor do connections with mirrored tuples stand side by side here where they are translated.
                    let mirrored = nat.and_then(|nat| nat.range().copied()).is_none();
                    (fresh(&mut random, pings, mirrored), request(nat))
                }
            };
            let theirs = kernel.track(&packet, &request);
            let ours = userspace.track(&packet, &request);
            story.push(format!("{:02x?} {:?}", packet.l3(), request.nat));
            let short = packet.l3()[9] == 1 && (48..56).contains(&packet.l3().len());
            let Some((mut our_key, our_packet)) = ours else { panic!("dropped here: {story:#?}") };
            if short && our_key.ct_state == (CtState::INVALID | CtState::TRACKED).bits() {
                // The kernel is content with the ports in it, but cannot translate it.
                truncated += 1;
                continue;
            }
            let one_port = request.nat.and_then(|nat| nat.range()?.ports).is_some();
            if theirs.is_none() && one_port && our_key.ct_state == (CtState::NEW | CtState::TRACKED).bits() {
                // No port is left: the kernel drops the packet; here it stays as it is, and is not committed.
                exhausted += 1;
                continue;
            }
            let Some((mut their_key, their_packet)) = theirs else {
                panic!("dropped by the kernel, {our_key:?}: {story:#?}")
            };
            our_key.in_port = their_key.in_port;
            // The kernel marks as translated also the end that it left as it is: the packets below are the same.
            let both = (CtState::SRC_NAT | CtState::DST_NAT).bits();
            let more = their_key.ct_state & !our_key.ct_state & both;
            their_key.ct_state &= !more;
            marked += u32::from(more != 0);
            let state = words(CtState::from_bits_retain(their_key.ct_state));
            assert_eq!(state, words(CtState::from_bits_retain(our_key.ct_state)), "kernel, ours: {story:#?}");
            assert_eq!(their_key, our_key, "{story:#?}");
            assert_eq!(their_packet.data(), our_packet.data(), "{story:#?}");
            if their_key.nw_proto != 1 || [0, 8].contains(&their_key.tp_src.get()) {
                left.push((their_key, their_packet));
            }
            *states.entry(state).or_default() += 1;
        }
    }
    println!(
        "packets by state: {states:?}; marked twice by the kernel: {marked}; short errors: {truncated}; no port left: {exhausted}"
    );
}

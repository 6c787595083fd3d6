//! Random packets through `ct(commit), recirc(1)` of the kernel's datapath and of the one in userspace, packet by packet.
//!
//! What comes up with recirculation id 1 shows what either tracker thinks of the packet. TCP may differ as the table at
//! the head of `ovs-conntrack/src/tcp.rs` says; anything else is a failure.
#![cfg(target_os = "linux")]

#[path = "../../ovs-conntrack/tests/common/mod.rs"]
mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::history::{History, Random};
use ovs_conntrack::Filter;
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

#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn tcp_histories() {
    let Some(_) = ovs_test_kernel::inside() else { return };
    let mut random = Random::new();
    let [mut kernel, mut userspace] = Side::pair();
    let (mut packets, mut whole) = (0, 0);
    let mut seen = BTreeMap::<String, (u32, String)>::new();
    for _ in 0..1000 {
        kernel.flush();
        userspace.flush();
        let mut story = Vec::new();
        let mut same = true;
        for turn in History::new(&mut random) {
            let theirs = kernel.track(&turn.packet, &CtRequest::commit(0));
            let ours = userspace.track(&turn.packet, &CtRequest::commit(0));
            packets += 1;
            let (theirs, ours) = (words(theirs.as_deref()), words(ours.as_deref()));
            story.push(format!("{} -> {theirs}", turn.words));
            if theirs != ours {
                let what = format!("{} kernel {theirs} ours {ours}", turn.flags);
                let e = seen.entry(what).or_insert((0, story.join("; ")));
                e.0 += 1;
                if story.join("; ").len() < e.1.len() { e.1 = story.join("; "); }
                same = false;
                break;
            }
        }
        whole += u32::from(same);
    }
    println!("{packets} packets, {whole} same");
    for (k, (n, s)) in seen { println!("{n} {k}\n    {s}"); }
}

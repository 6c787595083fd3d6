//! Against the real module.

use std::time::Duration;

use ovs_netlink::route::Route;
use ovs_netlink::{Linux, monotonic};
use ovs_packet::{Instant, Packet, PacketBatch};

use super::super::*;
use crate::conformance::{LAWS, Subject};
use crate::netdev::{Netdev, PacketSocket};
use crate::{Dpif, DpifError, PortNo, PortSpec, Upcall};

#[test]
fn in_a_kernel() {
    ovs_test_kernel::run_ignored_tests();
}

/// Enough for anything that is to happen.
const LONG: Duration = Duration::from_secs(20);

/// The kernel's monotonic clock.
fn now() -> Instant {
    Instant::from_nanos(monotonic().as_nanos() as u64)
}

/// A datapath whose ports are internal ones, with packet sockets on them.
pub(super) struct KernelSubject {
    pub(super) dp: Option<Datapath>,
    ends: Vec<(PortNo, PacketSocket)>,
}

impl KernelSubject {
    pub(super) fn new(dispatch: Dispatch) -> KernelSubject {
        let options = Options::default().with_dispatch(dispatch);
        // No packets of the machine's own.
        for which in ["default", "all"] {
            let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), "1");
        }
        KernelSubject { dp: Some(Datapath::create(&Linux, "law", options).unwrap()), ends: Vec::new() }
    }

    fn dp(&mut self) -> &mut Datapath {
        self.dp.as_mut().unwrap()
    }
}

impl Drop for KernelSubject {
    fn drop(&mut self) {
        if let Some(dp) = self.dp.take() {
            dp.remove().unwrap();
        }
    }
}

impl Subject for KernelSubject {
    fn dpif(&mut self) -> &mut dyn Dpif {
        self.dp()
    }

    fn add_port(&mut self, name: &str, wanted: Option<PortNo>) -> Result<PortNo, DpifError> {
        let port = self.dp().port_add(PortSpec::Internal(name.into()), wanted)?;
        let mut route = Route::open(&Linux).unwrap();
        let link = route.link(name).unwrap();
        route.set_up(link.index, true).unwrap();
        self.ends.push((port, PacketSocket::open(name)?));
        Ok(port)
    }

    fn send(&mut self, port: PortNo, packet: Packet) {
        let (_, end) = self.ends.iter_mut().find(|(p, _)| *p == port).unwrap();
        let mut batch = PacketBatch::new();
        batch.push(packet);
        let sent = end.send(&mut batch);
        if let Err(error) = sent {
            println!("not sent: {error}");
        }
    }

    fn take(&mut self, port: PortNo) -> Vec<Packet> {
        let mut all = Vec::new();
        // A port that is gone has nothing.
        let Some((_, end)) = self.ends.iter_mut().find(|(p, _)| *p == port) else { return all };
        loop {
            let mut batch = PacketBatch::new();
            match end.receive(&mut batch) {
                Ok(_) if !batch.is_empty() => all.extend(batch),
                _ => return all,
            }
        }
    }

    fn settle(&mut self, passes: Duration) -> Vec<Upcall> {
        std::thread::sleep(passes);
        let (mut upcalls, mut quiet) = (Vec::new(), 0);
        while quiet < 3 {
            match self.dp().poll(now(), &mut upcalls) {
                0 => quiet += 1,
                _ => quiet = 0,
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        upcalls
    }

    fn now(&self) -> Instant {
        now()
    }
}

fn keeps_every_law(dispatch: Dispatch) {
    if ovs_test_kernel::inside().is_none() {
        return;
    }
    let mut broken = Vec::new();
    for (name, law) in LAWS {
        println!("law {name}");
        let mut subject = KernelSubject::new(dispatch);
        if name == &LAWS[0].0 {
            let dp = subject.dp();
            println!("{dp:?} {:?}", dp.features());
        }
        let kept = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| law(&mut subject)));
        if kept.is_err() {
            broken.push(*name);
        }
    }
    assert!(broken.is_empty(), "{broken:?}");
}

#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn the_kernel_keeps_every_law_with_sockets_by_cpu() {
    keeps_every_law(Dispatch::Best);
}

#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn the_kernel_keeps_every_law_with_sockets_by_port() {
    keeps_every_law(Dispatch::PerPort);
}

/// Whether this is a kernel that heeds the socket of a packet that is executed; nothing outside.
fn is_new() -> Option<bool> {
    ovs_test_kernel::inside()?;
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut parts = release.split('.').map(|part| part.trim().parse::<u32>().unwrap_or(0));
    Some((parts.next(), parts.next()) >= (Some(6), Some(17)))
}

/// Moves this thread to one of two CPUs, where there are two.
fn run_on(cpus: &[usize]) {
    let mut set = rustix::thread::CpuSet::new();
    cpus.iter().for_each(|cpu| set.set(cpu % 2));
    let _ = rustix::thread::sched_setaffinity(None, &set);
}

/// The numbers of ten packets in the order in which they leave, recirculated five times over all handlers, which run
/// now on this CPU and now on that.
fn order(keep: bool) -> Vec<u8> {
    let mut subject = KernelSubject::new(Dispatch::Best);
    let ports = ["o1", "o2"].map(|name| subject.add_port(name, None).unwrap());
    run_on(&[0]);
    let m: ovs_packet::Match = "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=1,tp_dst=2".parse().unwrap();
    for number in 0..10 {
        subject.send(ports[0], ovs_packet::compose::compose(m.key(), &[number; 20]));
    }
    let mut handlers = subject.dp().take_handlers();
    let mut waiting: Vec<std::collections::VecDeque<Upcall>> = handlers.iter().map(|_| Default::default()).collect();
    let (mut round, mut idle) = (0, 0);
    while idle < 20 * handlers.len() {
        // The first handler works in every round, the others in every fourth.
        round += 1;
        let which = if round % 4 == 0 { round / 4 % handlers.len() } else { 0 };
        let mut came = Vec::new();
        handlers[which].receive(&mut came).unwrap();
        waiting[which].extend(came);
        idle += 1;
        let Some(mut upcall) = waiting[which].pop_front() else { continue };
        idle = 0;
        let turn = upcall.key.recirc_id.get();
        if !keep {
            upcall.origin = Default::default();
        }
        // And each now on this CPU, now on that.
        run_on(&[usize::from(*upcall.packet.data().last().unwrap()) * 7 / 3 + turn as usize]);
        let action = if turn < 5 { crate::DpAction::Recirc(turn + 1) } else { crate::DpAction::Output(ports[1]) };
        handlers[which].execute(&upcall, &[action]).unwrap();
    }
    run_on(&[0, 1]);
    let (mut left, end) = (Vec::new(), now() + LONG);
    while left.len() < 10 && now() < end {
        left.extend(subject.take(ports[1]));
        std::thread::sleep(Duration::from_millis(2));
    }
    left.iter().map(|packet| *packet.data().last().unwrap()).collect()
}

#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn packets_keep_their_order_where_the_kernel_heeds_their_socket() {
    let Some(new) = is_new() else { return };
    let in_order: Vec<u8> = (0..10).collect();
    let (with, mut without) = (order(true), order(false));
    println!("with {with:?} without {without:?}");
    if new {
        assert_eq!(with, in_order);
        assert_ne!(without, in_order);
    }
    without.sort_unstable();
    assert_eq!(without, in_order, "none is lost");
}

#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn ports_of_all_kinds_and_their_changes() {
    let Some(_) = ovs_test_kernel::inside() else { return };
    let mut route = Route::open(&Linux).unwrap();
    use ovs_netlink::route::{LinkKind, NewLink};
    route.add_link(&NewLink::new("pair1", LinkKind::Veth { peer: "pair2", namespace: None })).unwrap();
    let mut dp = Datapath::create(&Linux, "kinds", Options::default()).unwrap();
    assert_eq!(list(&Linux).unwrap(), ["kinds"]);
    assert!(matches!(Datapath::create(&Linux, "kinds", Options::OBSERVE), Err(DpifError::DatapathExists(_))));
    assert!(matches!(Datapath::open(&Linux, "none", Options::OBSERVE), Err(DpifError::NoSuchDatapath(_))));
    let pair = dp.port_add(PortSpec::Interface("pair1".into()), None).unwrap();
    let again = dp.port_add(PortSpec::Interface("pair1".into()), None);
    assert!(matches!(again, Err(DpifError::PortExists(_))), "{again:?}");
    let odd = dp.port_add(PortSpec::Interface("nothing".into()), None);
    assert!(matches!(odd, Err(DpifError::Device(crate::netdev::NetdevError::NoSuchInterface { .. }))), "{odd:?}");
    let mut kinds = Vec::new();
    for (name, kind, shown) in [
        ("vxlan_sys_4789", crate::TunnelPort::Vxlan { port: 4789, gbp: false, gpe: false }, "vxlan"),
        ("genev_sys_6081", crate::TunnelPort::Geneve { port: 6081 }, "geneve"),
        ("gre_sys", crate::TunnelPort::Gre, "gre"),
        ("erspan_sys", crate::TunnelPort::Erspan, "erspan"),
    ] {
        match dp.port_add(PortSpec::Tunnel { name: name.into(), kind }, None) {
            Ok(port) => kinds.push((port, name, shown)),
            Err(error) => println!("{shown}: {error}"),
        }
    }
    assert!(kinds.len() >= 3, "{kinds:?}");
    let ports = dp.ports().unwrap();
    for (port, name, shown) in &kinds {
        assert!(ports.iter().any(|p| p.port == *port && p.name == *name && p.kind == *shown), "{ports:?}");
    }
    assert!(!dp.port_changes().is_empty());
    // Someone else takes an interface away.
    let pair_index = route.link("pair1").unwrap().index;
    route.delete_link(pair_index).unwrap();
    let (mut changes, end) = (Vec::new(), now() + LONG);
    while !changes.contains(&crate::PortChange::Removed(pair)) {
        assert!(now() < end, "{changes:?}");
        changes.extend(dp.port_changes());
        std::thread::sleep(Duration::from_millis(2));
    }
    dp.port_del(kinds[0].0).unwrap();
    assert!(route.link(kinds[0].1).is_err(), "the interface goes with its port");
    dp.remove().unwrap();
    for (_, name, _) in kinds {
        assert!(route.link(name).is_err(), "{name} goes with the datapath");
    }
    assert_eq!(list(&Linux).unwrap(), [""; 0]);
}

#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn connections_limits_timeouts_and_caches() {
    let Some(new) = is_new() else { return };
    let mut subject = KernelSubject::new(Dispatch::Best);
    let [a, b] = ["t1", "t2"].map(|name| subject.add_port(name, None).unwrap());
    let features = subject.dp().features();
    assert!(features.ct && features.ct_zones == new && features.explicit_drop == new && features.psample == new);
    let zone = if new { 5 } else { 0 };
    let ct = crate::CtRequest::commit(zone).with_mark(7, !0);
    let m: ovs_packet::Match = "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=1,tp_dst=2".parse().unwrap();
    let mut packet = ovs_packet::compose::compose(m.key(), b"hello");
    packet.meta.in_port = a.0;
    let actions = [crate::DpAction::Ct(ct), crate::DpAction::Output(b)];
    if new {
        // The kernel counts what begins while there is a limit.
        subject.dp().conntrack().unwrap().set_limit(Some(5), Some(10)).unwrap();
    }
    subject.dp().inject(packet, &actions, now(), &mut Vec::new());
    let ct = subject.dp().conntrack().unwrap();
    let mut all = Vec::new();
    ct.dump(new.then_some(5), now(), &mut |connection| all.push(connection)).unwrap();
    let text: Vec<String> = all.iter().map(|connection| connection.text(false, false).to_string()).collect();
    let zoned = if new { ",zone=5" } else { "" };
    let line = "udp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1,dport=2),reply=(src=10.0.0.2,dst=10.0.0.1,sport=2,dport=1)";
    assert_eq!(text, [format!("{line}{zoned},mark=7")]);
    assert!(ct.count().unwrap().0 >= 1);
    if new {
        ct.set_limit(None, Some(100)).unwrap();
        let limits = ct.limits(&[5]).unwrap();
        assert_eq!(limits.zones.iter().map(|z| (z.zone, z.limit, z.count)).collect::<Vec<_>>(), [(5, Some(10), 1)]);
        ct.set_limit(Some(5), None).unwrap();
        ct.set_limit(None, None).unwrap();
        assert_eq!(ct.limits(&[]).unwrap().zones, []);
        let all = ct.timeouts().iter().map(|name| (name.to_string(), 7)).collect();
        for policy in [Default::default(), all] {
            ct.set_timeouts(3, Some(&policy)).unwrap();
        }
        let odd = [("udp_first".to_string(), 7)].into();
        assert!(matches!(ct.set_timeouts(3, Some(&odd)), Err(DpifError::Unsupported(_))));
        ct.set_timeouts(3, None).unwrap();
        ct.set_timeouts(3, None).unwrap();
    }
    for (mark, gone) in [(8, 0), (7, 1)] {
        let filter = ovs_conntrack::Filter { mark: Some((mark, !0)), ..Default::default() };
        assert_eq!(ct.flush(&filter, now()).unwrap(), gone);
    }
    let dp = subject.dp();
    if let [(cache, size)] = dp.caches().unwrap()[..] {
        assert_eq!(dp.set_cache(cache, size * 2).unwrap(), size * 2);
        assert_eq!(dp.caches().unwrap(), [(cache, size * 2)]);
    }
    assert!(dp.set_cache("none", 1).is_err());
}

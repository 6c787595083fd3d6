//! Against the real module.

use std::time::Duration;

use ovs_netlink::Linux;
use ovs_netlink::route::Route;
use ovs_packet::{Instant, Packet, PacketBatch};

use super::super::*;
use crate::conformance::{LAWS, Subject};
use crate::netdev::{Netdev, PacketSocket};
use crate::{Dpif, DpifError, PortNo, PortSpec, Upcall};

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

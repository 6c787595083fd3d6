//! The demo's stage where there are no privileges: a lab.

use std::net::Ipv4Addr;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ovs_packet::Instant;

use super::stage::{Ping, Stage, StageError, Transfer};
use crate::lab::{Lab, Link, NodeId};
use crate::switch::{Switch, SwitchConfig};

const A: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// How long a ping's answer may take before the next thing happens.
const PATIENCE: Duration = Duration::from_millis(500);

/// Two lab hosts, with in-memory ports and a virtual clock.
#[derive(Debug)]
pub struct MemoryStage {
    lab: Lab,
    a: NodeId,
    b: NodeId,
    switch: NodeId,
}

impl MemoryStage {
    /// The stage, set up.
    pub fn new() -> MemoryStage {
        let mut lab = Lab::new(1);
        let (a, b) = (lab.host("a", A), lab.host("b", B));
        let switch = lab.switch(SwitchConfig::new("br0"));
        for host in [a, b] {
            let link = lab.link(host, switch, Link::new(Duration::from_micros(50)));
            lab.capture(link, false);
        }
        MemoryStage { lab, a, b, switch }
    }
}

impl Default for MemoryStage {
    fn default() -> Self {
        MemoryStage::new()
    }
}

impl Stage for MemoryStage {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn describe(&self) -> String {
        "two hosts of the lab, in-memory ports, a virtual clock".into()
    }

    fn hosts(&self) -> [(String, String); 2] {
        [
            ("a".into(), self.lab.host_ref(self.a).ip().to_string()),
            ("b".into(), self.lab.host_ref(self.b).ip().to_string()),
        ]
    }

    fn ping(&mut self, count: u16, interval: Duration) -> Result<Ping, StageError> {
        let before = self.lab.pings(self.a).sent;
        self.lab.ping(self.a, B, count.into(), interval);
        self.lab.run_for(interval * u32::from(count) + PATIENCE);
        let report = self.lab.pings(self.a);
        let rtts: Vec<_> = report.round_trips.iter().skip(before).flatten().copied().collect();
        Ok(Ping { sent: (report.sent - before) as u64, received: rtts.len() as u64, rtts })
    }

    fn transfer(&mut self, _bytes: u64, _stop: &AtomicBool) -> Result<Option<Transfer>, StageError> {
        Ok(None)
    }

    fn switch<T: Send + 'static>(
        &mut self,
        f: impl FnOnce(&mut Switch, Instant) -> T + Send + 'static,
    ) -> Result<T, StageError> {
        let now = self.lab.now();
        let answer = f(self.lab.switch_mut(self.switch), now);
        self.lab.run_for(Duration::ZERO);
        Ok(answer)
    }
}

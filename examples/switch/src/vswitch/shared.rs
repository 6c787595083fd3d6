//! A datapath and the switches on it.

use ovs_dpif::{PortNo, Upcall};
use ovs_ofproto::pipeline::native::Underlay;
use ovs_ofproto::pipeline::{Bridges, TunnelConfig};
use ovs_packet::Instant;

use super::datapath::SharedDatapath;

/// A datapath and the switches that share it.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) datapath: SharedDatapath,
    pub(super) switches: Bridges,
}

impl Shared {
    /// A datapath without switches, whose tunnels go through a network.
    pub(super) fn new(datapath: SharedDatapath, underlay: &Underlay) -> Shared {
        let mut switches = Bridges::default();
        switches.set_underlay(underlay);
        Shared { datapath, switches }
    }

    /// Whether no tunnel port says the same of its packets as one of this configuration would.
    ///
    /// # Errors
    /// Which one does, in a line.
    pub(super) fn check_twin(&self, name: &str, config: &TunnelConfig, vport: PortNo) -> Result<(), String> {
        let Some(peer) = self.switches.tunnel_twin(config, vport) else { return Ok(()) };
        let twin = self.switches.get(peer.bridge).and_then(|of| of.port(peer.port)).map(|p| p.name.as_str());
        let (twin, says) = (twin.unwrap_or_default(), config.matched());
        let why = "attempting to add tunnel port with same config as port";
        Err(format!("{name}: {why} '{twin}' ({says}, dp port={vport})"))
    }

    /// Takes what the ports received, at most `rounds` times, and has it decided on. How many packets it took.
    pub(super) fn poll(&mut self, rounds: usize, now: Instant) -> usize {
        let mut taken = 0;
        for _ in 0..rounds {
            let mut upcalls: Vec<Upcall> = Vec::new();
            let received = self.datapath.poll(now, &mut upcalls);
            for upcall in upcalls {
                self.switches.handle_upcall(self.datapath.dpif_mut(), upcall, now);
            }
            taken += received;
            if received == 0 {
                break;
            }
        }
        taken
    }

    pub(super) fn run(&mut self, now: Instant) {
        self.switches.run(self.datapath.dpif_mut(), now);
    }

    /// Makes the datapath do as all switches say.
    pub(super) fn settle(&mut self, now: Instant) {
        self.switches.settle(self.datapath.dpif_mut(), now);
    }

    pub(super) fn synchronise(&mut self, now: Instant) {
        self.switches.synchronise(self.datapath.dpif_mut(), now);
    }
}

//! Switches that share a datapath.

use std::time::Duration;

use ovs_dpif::netdev::MemPortPeer;
use ovs_dpif::userspace::Datapath;
use ovs_ofproto::FlowModCommand::{self, Add};
use ovs_ofproto::pipeline::{Bridges, Ofproto, Port};
use ovs_packet::{Instant, OfPort, Packet};

use super::{flow, plug, received, serve};

/// Switches on one datapath, in places from 0.
pub(crate) struct Network {
    pub(crate) bridges: Bridges,
    pub(crate) dp: Datapath,
    /// The other ends of the ports of all, in the order in which these came.
    pub(crate) ends: Vec<MemPortPeer>,
    pub(crate) now: Instant,
}

impl Network {
    /// So many switches, each with the ports 1 and 2.
    pub(crate) fn new(places: usize) -> Network {
        let (bridges, dp, now) = (Bridges::default(), Datapath::new(), Instant::from_secs(100));
        let mut network = Network { bridges, dp, ends: Vec::new(), now };
        (0..places).for_each(|place| assert_eq!(network.add_bridge(), place));
        network
    }

    /// Adds a switch with the ports 1 and 2; its place.
    pub(crate) fn add_bridge(&mut self) -> usize {
        let mut of = Ofproto::new();
        of.set_name(format!("br{}", self.ends.len() / 2));
        for n in 1..=2 {
            let port = self.device(OfPort(n), &format!("p{}", self.ends.len() + 1));
            of.port_add(port);
        }
        self.bridges.add(of).unwrap()
    }

    /// Adds a device, for a port of a switch.
    pub(crate) fn device(&mut self, port: OfPort, name: &str) -> Port {
        let (number, end) = plug(&mut self.dp, name, None);
        self.ends.push(end);
        Port::new(port, number, name)
    }

    pub(crate) fn change(&mut self, place: usize, command: FlowModCommand, text: &str) {
        let (change, now) = (flow(text, command), self.now);
        self.bridges.change(place, &mut self.dp, now, |of, dp| of.flow_mod(dp, &change, now)).unwrap().unwrap();
    }

    pub(crate) fn add(&mut self, place: usize, text: &str) {
        self.change(place, Add, text);
    }

    /// How many packets the flows of a switch count.
    pub(crate) fn packets(&self, place: usize) -> u64 {
        self.bridges.get(place).unwrap().flows().map(|flow| flow.packets).sum()
    }

    /// Forwards what was pushed. Whether there was any.
    pub(crate) fn serve(&mut self) -> bool {
        let Network { bridges, dp, now, .. } = self;
        serve(dp, *now, |dp, upcall| bridges.handle_upcall(dp, upcall, *now))
    }

    /// Has the switches do what they have to by now.
    pub(crate) fn run(&mut self) {
        loop {
            let is_done = !self.serve();
            self.bridges.run(&mut self.dp, self.now);
            if is_done {
                return;
            }
        }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.run();
    }

    /// What came out since the last time, by the number from 1 of the end.
    pub(crate) fn received(&self) -> Vec<(u32, Packet)> {
        received(&self.ends)
    }

    /// Has a packet come in by an end; what came out.
    pub(crate) fn forward(&mut self, end: u32, packet: Packet) -> Vec<(u32, Packet)> {
        self.ends[end as usize - 1].push(packet);
        self.run();
        self.received()
    }
}

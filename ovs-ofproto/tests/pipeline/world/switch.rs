//! One switch.

use std::time::Duration;

use ovs_dpif::netdev::MemPortPeer;
use ovs_dpif::userspace::Datapath;
use ovs_dpif::{Dpif, PortNo, UpcallKind, text};
use ovs_ofproto::FlowModCommand::{self, Add};
use ovs_ofproto::codec::{Message, Version};
use ovs_ofproto::pipeline::{ConnectionConfig, ConnectionId, FlowModError, Ofproto, Port, Trace, TraceRequest};
use ovs_packet::{Instant, OfPort, Packet};

use super::{flow, packet, plug, received, serve};

/// A switch with the ports 1 and so on, which are called `p1` and so on.
pub(crate) struct World<D = Datapath> {
    pub(crate) of: Ofproto,
    pub(crate) dp: D,
    /// The other ends of the ports, in the order in which these came.
    pub(crate) ends: Vec<MemPortPeer>,
    pub(crate) now: Instant,
    /// Packets that came up.
    pub(crate) upcalls: usize,
    /// Those of them that came up because a change was published.
    pub(crate) stale: usize,
}

impl World {
    pub(crate) fn new(ports: u32) -> World {
        World::over(Datapath::new(), ports)
    }

    /// A switch with flows, in words.
    pub(crate) fn with(ports: u32, flows: &[&str]) -> World {
        let mut world = World::new(ports);
        flows.iter().for_each(|flow| world.add(flow));
        world
    }
}

impl<D: Dpif> World<D> {
    pub(crate) fn over(dp: D, ports: u32) -> World<D> {
        let (of, now) = (Ofproto::new(), Instant::from_secs(100));
        let mut world = World { of, dp, ends: Vec::new(), now, upcalls: 0, stale: 0 };
        (1..=ports).for_each(|n| world.plug(OfPort(n), &format!("p{n}"), None));
        world
    }

    /// Adds a port, in the datapath under the number wanted.
    pub(crate) fn plug(&mut self, port: OfPort, name: &str, wanted: Option<PortNo>) {
        let (number, end) = plug(&mut self.dp, name, wanted);
        self.of.port_add(Port::new(port, number, name));
        self.ends.push(end);
    }

    /// Has a port be otherwise.
    pub(crate) fn set_port(&mut self, port: u32, change: impl FnOnce(&mut Port)) {
        let mut port = self.of.port(OfPort(port)).unwrap().clone();
        change(&mut port);
        self.of.port_add(port);
    }

    // Flows.

    pub(crate) fn change(&mut self, command: FlowModCommand, text: &str) -> Result<(), FlowModError> {
        self.of.flow_mod(&mut self.dp, &flow(text, command), self.now)
    }

    /// Adds a flow, which must not be refused.
    pub(crate) fn add(&mut self, text: &str) {
        self.change(Add, text).unwrap_or_else(|e| panic!("{text}: {e}"));
    }

    /// Each flow with how many packets it counts: `TABLE PRIORITY MATCH INSTRUCTIONS PACKETS`.
    pub(crate) fn flows(&self) -> Vec<String> {
        self.of
            .flows()
            .map(|f| format!("{} {} {} {} {}", f.table, f.priority, f.matching, f.instructions, f.packets))
            .collect()
    }

    // Packets.

    pub(crate) fn push(&self, port: u32, packet: Packet) {
        self.ends[port as usize - 1].push(packet);
    }

    /// Forwards what was pushed. Whether there was any.
    pub(crate) fn serve(&mut self) -> bool {
        let World { of, dp, now, upcalls, stale, .. } = self;
        serve(dp, *now, |dp, upcall| {
            *upcalls += 1;
            *stale += usize::from(matches!(upcall.kind, UpcallKind::Stale(_)));
            of.handle_upcall(dp, upcall, *now);
        })
    }

    /// What came out since the last time, by port.
    pub(crate) fn received(&self) -> Vec<(u32, Packet)> {
        received(&self.ends)
    }

    /// Has a packet come in by a port; what came out.
    pub(crate) fn forward(&mut self, port: u32, packet: Packet) -> Vec<(u32, Packet)> {
        self.push(port, packet);
        self.serve();
        self.received()
    }

    /// The same, and the switch does what it has to then.
    pub(crate) fn send(&mut self, port: u32, packet: Packet) -> Vec<(u32, Packet)> {
        self.push(port, packet);
        self.run();
        self.received()
    }

    /// Sends a packet in words; the ports that it came out of.
    pub(crate) fn ports(&mut self, port: u32, words: &str) -> Vec<u32> {
        self.send(port, packet(words)).into_iter().map(|(port, _)| port).collect()
    }

    /// The actions of all megaflows.
    pub(crate) fn megaflow_actions(&self) -> Vec<String> {
        self.dp.flow_dump().unwrap().iter().map(|flow| text::actions(&flow.actions).to_string()).collect()
    }

    // Traces.

    pub(crate) fn trace(&mut self, words: &str) -> Trace {
        let request = TraceRequest::flow(&words.parse().unwrap_or_else(|e| panic!("{words}: {e}")));
        self.of.trace(&self.dp, &request)
    }

    // Time.

    /// Has the switch do what it has to by now.
    pub(crate) fn run(&mut self) {
        loop {
            let is_done = !self.serve();
            self.of.run(&mut self.dp, self.now);
            if is_done {
                return self.of.check();
            }
        }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.run();
    }

    // Controllers.

    pub(crate) fn connect(&mut self, version: Version) -> ConnectionId {
        self.of.connect(&ConnectionConfig::new(version))
    }

    /// Has a controller send bytes.
    pub(crate) fn tell(&mut self, c: ConnectionId, bytes: &[u8]) {
        self.of.handle_message(&mut self.dp, c, bytes, self.now).unwrap();
    }

    /// Has a controller send a message.
    pub(crate) fn say(&mut self, c: ConnectionId, version: Version, xid: u32, message: &Message) {
        let bytes = message.encode(version, xid).unwrap_or_else(|e| panic!("{message:?}: {e}"));
        self.tell(c, &bytes);
    }

    /// What the switch has sent to a controller since the last time.
    pub(crate) fn outputs(&mut self, c: ConnectionId) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.of.poll_output(&mut self.dp, c, self.now)).map(|output| output.message).collect()
    }

    /// The same as messages, with their numbers.
    pub(crate) fn heard(&mut self, c: ConnectionId) -> Vec<(u32, Message)> {
        let read = |bytes: Vec<u8>| Message::decode(&bytes).map(|(header, message)| (header.xid, message)).unwrap();
        self.outputs(c).into_iter().map(read).collect()
    }
}

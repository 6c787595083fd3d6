//! The lab itself: nodes, links, and the clock that moves from event to event.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use ovs_dpif::netdev::{MemPort, MemPortPeer};
use ovs_packet::{EthAddr, Instant, Packet};

use super::host::{Host, PingReport};
use super::link::{Captured, Link};
use crate::switch::{Switch, SwitchConfig};

/// How many packets a port of a lab's switch queues in each direction.
const QUEUE: usize = 1024;

/// A switch or a host of a lab.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(usize);

/// A link of a lab.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(usize);

/// What a link carried. Frames sent are as many as those delivered, lost, and still under way.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct LinkStats {
    /// Frames that were sent.
    pub sent: u64,
    /// Frames that arrived.
    pub delivered: u64,
    /// Frames that the link lost, or that the receiving port had no room for.
    pub lost: u64,
}

#[derive(Debug)]
enum Node {
    Switch { switch: Box<Switch>, ports: Vec<(MemPortPeer, Option<End>)> },
    Host { name: String, host: Box<Host>, end: Option<End> },
}

/// One end of a link.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct End {
    link: LinkId,
    forward: bool,
}

#[derive(Debug)]
struct Wire {
    link: Link,
    /// Where frames arrive: going forward, going back.
    to: [(NodeId, usize); 2],
    captured: Vec<Captured>,
    capturing: bool,
    stats: LinkStats,
}

/// What happens at some time.
#[derive(Debug)]
enum Event {
    Arrive { node: NodeId, port: usize, link: LinkId, frame: Vec<u8> },
    Wake(NodeId),
    Ping { host: NodeId, to: Ipv4Addr, left: usize, interval: Duration },
}

/// A virtual network. See the [module](super).
#[derive(Debug)]
pub struct Lab {
    now: Instant,
    nodes: Vec<Node>,
    wires: Vec<Wire>,
    /// By time, and then in the order in which they were planned.
    events: BTreeMap<(Instant, u64), Event>,
    planned: u64,
    /// For each node, the earliest time at which it is to be woken.
    wakes: BTreeMap<NodeId, Instant>,
    rng: fastrand::Rng,
}

impl Lab {
    /// An empty lab at time zero. All its randomness comes from `seed`.
    pub fn new(seed: u64) -> Lab {
        Lab {
            now: Instant::ZERO,
            nodes: Vec::new(),
            wires: Vec::new(),
            events: BTreeMap::new(),
            planned: 0,
            wakes: BTreeMap::new(),
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    // Building.

    /// Adds a switch without ports.
    pub fn switch(&mut self, config: SwitchConfig) -> NodeId {
        let seed = self.rng.u64(..);
        let switch = Box::new(Switch::new(&config.seed(seed)));
        self.nodes.push(Node::Switch { switch, ports: Vec::new() });
        NodeId(self.nodes.len() - 1)
    }

    /// Adds a host. Its Ethernet address is made from the number of nodes before it.
    pub fn host(&mut self, name: &str, ip: Ipv4Addr) -> NodeId {
        let address = EthAddr::local(self.nodes.len() as u64 + 1);
        self.nodes.push(Node::Host { name: name.into(), host: Box::new(Host::new(address, ip)), end: None });
        NodeId(self.nodes.len() - 1)
    }

    /// Joins two nodes. A switch gets a port for it, numbered from 1 on; a host has one interface.
    ///
    /// # Panics
    /// If a node is not of this lab, or a host has a link already.
    pub fn link(&mut self, a: NodeId, b: NodeId, link: Link) -> LinkId {
        let id = LinkId(self.wires.len());
        let at_a = self.attach(a, End { link: id, forward: true });
        let at_b = self.attach(b, End { link: id, forward: false });
        self.wires.push(Wire {
            link,
            to: [(b, at_b), (a, at_a)],
            captured: Vec::new(),
            capturing: true,
            stats: LinkStats::default(),
        });
        id
    }

    fn attach(&mut self, node: NodeId, end: End) -> usize {
        match &mut self.nodes[node.0] {
            Node::Switch { switch, ports } => {
                let index = ports.len();
                let (port, peer) = MemPort::new(format!("{}-p{}", switch.name(), index + 1), QUEUE);
                let added = switch.add_port(Box::new(port), Default::default());
                assert!(added.is_ok(), "a lab numbers its ports itself");
                ports.push((peer, Some(end)));
                index
            }
            Node::Host { name, end: at, .. } => {
                assert!(at.replace(end).is_none(), "{name} has a link already");
                0
            }
        }
    }

    // Looking.

    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The name of a node.
    pub fn name(&self, node: NodeId) -> &str {
        match &self.nodes[node.0] {
            Node::Switch { switch, .. } => switch.name(),
            Node::Host { name, .. } => name,
        }
    }

    /// A switch.
    ///
    /// # Panics
    /// If the node is none.
    pub fn switch_ref(&self, node: NodeId) -> &Switch {
        match &self.nodes[node.0] {
            Node::Switch { switch, .. } => switch,
            Node::Host { name, .. } => panic!("{name} is a host"),
        }
    }

    /// A switch, to be changed.
    ///
    /// # Panics
    /// If the node is none.
    pub fn switch_mut(&mut self, node: NodeId) -> &mut Switch {
        match &mut self.nodes[node.0] {
            Node::Switch { switch, .. } => switch,
            Node::Host { name, .. } => panic!("{name} is a host"),
        }
    }

    /// A host.
    ///
    /// # Panics
    /// If the node is none.
    pub fn host_ref(&self, node: NodeId) -> &Host {
        match &self.nodes[node.0] {
            Node::Host { host, .. } => host,
            Node::Switch { switch, .. } => panic!("{} is a switch", switch.name()),
        }
    }

    /// What became of a host's pings.
    ///
    /// # Panics
    /// If the node is no host.
    pub fn pings(&self, host: NodeId) -> &PingReport {
        self.host_ref(host).pings()
    }

    /// The frames that went on a link, in the order in which they were sent.
    pub fn captured(&self, link: LinkId) -> &[Captured] {
        &self.wires[link.0].captured
    }

    /// Switches the capture on a link on or off; it is on at first. Switching it off forgets what was captured.
    pub fn capture(&mut self, link: LinkId, on: bool) {
        let wire = &mut self.wires[link.0];
        wire.capturing = on;
        if !on {
            wire.captured.clear();
        }
    }

    /// What a link carried.
    pub fn link_stats(&self, link: LinkId) -> LinkStats {
        self.wires[link.0].stats
    }

    /// Asserts that every packet that entered a switch is accounted for and none waits, and that every frame that
    /// was put on a link arrived, was lost, or is under way.
    ///
    /// # Panics
    /// If not, with the accounts.
    pub fn assert_balanced(&self) {
        for node in &self.nodes {
            if let Node::Switch { switch, .. } = node {
                let ledger = switch.ledger();
                assert!(ledger.balanced() && ledger.in_flight == 0, "{}: {ledger}", switch.name());
            }
        }
        let mut under_way = vec![0; self.wires.len()];
        for event in self.events.values() {
            if let Event::Arrive { link, .. } = event {
                under_way[link.0] += 1;
            }
        }
        for (wire, under_way) in self.wires.iter().zip(under_way) {
            let s = wire.stats;
            let [(b, _), (a, _)] = wire.to;
            assert_eq!(s.sent, s.delivered + s.lost + under_way, "{} to {}", self.name(a), self.name(b));
        }
    }

    // Doing.

    /// Has a host ping an address `count` times, the first time now.
    pub fn ping(&mut self, host: NodeId, to: Ipv4Addr, count: usize, interval: Duration) {
        if count > 0 {
            self.plan(self.now, Event::Ping { host, to, left: count - 1, interval });
        }
    }

    /// Puts a frame on a link now, as if the node at its first end (or, with `forward` false, its second) had sent it.
    pub fn inject(&mut self, link: LinkId, forward: bool, frame: &[u8]) {
        self.transmit(End { link, forward }, frame);
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        // Whatever was changed from outside takes effect first.
        (0..self.nodes.len()).for_each(|n| self.settle(NodeId(n)));
        while let Some(next) = self.events.first_entry().filter(|e| e.key().0 <= end) {
            let ((at, _), event) = next.remove_entry();
            self.now = self.now.max(at);
            self.happen(event);
        }
        self.now = end;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive { node, port, link, frame } => {
                let packet = Packet::from_slice(&frame);
                let taken = match &mut self.nodes[node.0] {
                    Node::Switch { ports, .. } => ports[port].0.push(packet),
                    Node::Host { host, end, .. } => {
                        let (answers, end) = (host.receive(packet, self.now), *end);
                        self.send_all(end, &answers);
                        true
                    }
                };
                let stats = &mut self.wires[link.0].stats;
                *(if taken { &mut stats.delivered } else { &mut stats.lost }) += 1;
                self.settle(node);
            }
            Event::Wake(node) => {
                if self.wakes.get(&node).is_some_and(|at| *at <= self.now) {
                    self.wakes.remove(&node);
                    self.settle(node);
                }
            }
            Event::Ping { host, to, left, interval } => {
                if let Node::Host { host: h, end, .. } = &mut self.nodes[host.0] {
                    let (packets, end) = (h.ping(to, self.now), *end);
                    self.send_all(end, &packets);
                    self.settle(host);
                }
                if left > 0 {
                    self.plan(self.now + interval, Event::Ping { host, to, left: left - 1, interval });
                }
            }
        }
    }

    /// Lets a node do all that it has to do now, and plans when it has to do something next.
    fn settle(&mut self, node: NodeId) {
        let now = self.now;
        let (out, next) = match &mut self.nodes[node.0] {
            Node::Switch { switch, ports } => {
                while switch.run(now) > 0 || switch.next_deadline().is_some_and(|at| at <= now) {}
                let mut out = Vec::new();
                for (peer, end) in ports.iter() {
                    out.extend(std::iter::from_fn(|| peer.pop()).filter_map(|p| Some(((*end)?, p))));
                }
                (out, switch.next_deadline())
            }
            Node::Host { host, end, .. } => {
                let out = host.run(now);
                (out.into_iter().filter_map(|p| Some(((*end)?, p))).collect(), host.next_deadline())
            }
        };
        out.into_iter().for_each(|(end, packet)| self.transmit(end, packet.data()));
        if let Some(at) = next
            && self.wakes.get(&node).is_none_or(|planned| at < *planned)
        {
            self.wakes.insert(node, at);
            self.plan(at, Event::Wake(node));
        }
    }

    fn send_all(&mut self, end: Option<End>, packets: &[Packet]) {
        if let Some(end) = end {
            packets.iter().for_each(|p| self.transmit(end, p.data()));
        }
    }

    fn transmit(&mut self, end: End, frame: &[u8]) {
        let wire = &mut self.wires[end.link.0];
        let lost = wire.link.loss > 0.0 && self.rng.f64() < wire.link.loss;
        let jitter = u64::try_from(wire.link.jitter.as_nanos()).unwrap_or(u64::MAX);
        let more = if jitter > 0 { Duration::from_nanos(self.rng.u64(..=jitter)) } else { Duration::ZERO };
        wire.stats.sent += 1;
        if wire.capturing {
            wire.captured.push(Captured { time: self.now, forward: end.forward, lost, frame: frame.to_vec() });
        }
        if lost {
            wire.stats.lost += 1;
            return;
        }
        let (node, port) = wire.to[usize::from(!end.forward)];
        let at = self.now + wire.link.delay + more;
        self.plan(at, Event::Arrive { node, port, link: end.link, frame: frame.to_vec() });
    }

    fn plan(&mut self, at: Instant, event: Event) {
        self.planned += 1;
        self.events.insert((at, self.planned), event);
    }
}

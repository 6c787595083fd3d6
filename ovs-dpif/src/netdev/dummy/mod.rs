//! The dummy device: a port that its owner holds by a handle, for tests of whole switches.
//!
//! What upstream's test world asks of its `dummy` devices is here: packets put in by queue, an address and an MTU that can be
//! set, an administrative state that is only shown, IP addresses that answer ARP, captures of both directions, and a tail of
//! what was sent for an owner that links two of them. A link to another process is the owner's to make: here is no socket.
//!
//! A [`DummyPort`] goes into a datapath, its [`DummyControl`] stays with the owner; both may be on different threads.

mod card;
mod emulation;

use std::collections::VecDeque;
use std::fmt;
use std::io::Write;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ovs_packet::extract::{self, ETH_TYPE_ARP};
use ovs_packet::field::FieldId;
use ovs_packet::pcap::Writer;
use ovs_packet::{EthAddr, FlowKey, Instant, Packet, PacketBatch, compose, hash};

use card::{Card, Flows, Verdict};
pub use emulation::{Emulation, Told};

use super::{FlowOffload, Netdev, NetdevError, NetdevStats, Offloads, Polling};

/// Packets that wait in each receive queue, and packets sent that nobody took, at most.
const QUEUE: usize = 500;

/// The kind of those devices that workers poll.
const PMD: &str = "dummy-pmd";

/// Bytes of an Ethernet header, and of a VLAN tag.
const ETH_HEADER: usize = 14;
const VLAN_TAG: usize = 4;

const ARP_REQUEST: u128 = 1;
const ARP_REPLY: u128 = 2;

/// Which of its transmit queues a device puts a packet into.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum Steering {
    /// The one of the thread that sends it.
    #[default]
    Thread,
    /// By the packet's addresses and ports.
    Hash,
}

/// What went through a queue.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct QueueCounts {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl QueueCounts {
    fn note(&mut self, len: usize) {
        self.packets += 1;
        self.bytes += len as u64;
    }
}

/// A capture file. Several captures may be one file.
pub type Capture = Arc<Mutex<Writer<Box<dyn Write + Send>>>>;

struct Shared {
    /// By queue.
    incoming: Vec<VecDeque<Packet>>,
    next_queue: usize,
    numa_node: u32,
    emulation: Emulation,
    card: Flows,
    /// By queue.
    rx_counts: Vec<QueueCounts>,
    tx_counts: Vec<QueueCounts>,
    steering: Steering,
    /// Handles that there have been.
    handles: usize,
    /// What was sent, if somebody wants it.
    outgoing: VecDeque<Packet>,
    linked: bool,
    address: EthAddr,
    mtu: usize,
    up: bool,
    addresses: Vec<(IpAddr, u8)>,
    stats: NetdevStats,
    rx_capture: Option<Capture>,
    tx_capture: Option<Capture>,
    /// The time that captures are stamped with.
    time: Duration,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting: usize = self.incoming.iter().map(VecDeque::len).sum();
        f.debug_struct("Shared").field("waiting", &waiting).field("stats", &self.stats).finish_non_exhaustive()
    }
}

/// A device for tests of whole switches: what it receives and whether it is up is said by its [`DummyControl`], which also
/// hears what it sends.
///
/// ```
/// use ovs_dpif::netdev::{DummyPort, Netdev};
/// use ovs_packet::{EthAddr, Packet, PacketBatch};
///
/// let (mut port, control) = DummyPort::new("p1", "dummy", EthAddr::local(1));
/// assert!(control.receive(Packet::from_slice(&[0; 60]), 0));
/// let mut batch = PacketBatch::new();
/// assert_eq!(port.receive(&mut batch).unwrap(), 1);
/// assert_eq!(control.stats().rx_packets, 1);
/// ```
#[derive(Debug)]
pub struct DummyPort {
    name: String,
    kind: &'static str,
    shared: Arc<Mutex<Shared>>,
    /// It is the datapath's ports that keep it.
    card: Arc<Card>,
    /// Which of the device's handles it is: each sends to a queue of its own, as far as there are enough.
    thread: usize,
}

/// The owner's handle on a [`DummyPort`]. Clones are the same handle.
#[derive(Clone, Debug)]
pub struct DummyControl {
    name: String,
    shared: Arc<Mutex<Shared>>,
}

/// A panic while the lock was held leaves the device as it is: every change to it is whole.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl DummyPort {
    /// A device with one receive queue, an MTU of 1500, administratively up.
    pub fn new(name: impl Into<String>, kind: &'static str, address: EthAddr) -> (DummyPort, DummyControl) {
        let shared = Arc::new(Mutex::new(Shared {
            incoming: vec![VecDeque::new()],
            next_queue: 0,
            numa_node: 0,
            emulation: Emulation::default(),
            card: Flows::default(),
            rx_counts: vec![QueueCounts::default()],
            tx_counts: vec![QueueCounts::default()],
            steering: Steering::Thread,
            handles: 1,
            outgoing: VecDeque::new(),
            linked: false,
            address,
            mtu: 1500,
            up: true,
            addresses: Vec::new(),
            stats: NetdevStats::default(),
            rx_capture: None,
            tx_capture: None,
            time: Duration::ZERO,
        }));
        let control = DummyControl { name: name.into(), shared };
        (control.port(control.name.clone(), kind), control)
    }
}

impl DummyControl {
    /// Puts a packet into a receive queue. False if the queue is full or there is none of this number; the device counts
    /// the packet as dropped then.
    pub fn receive(&self, packet: Packet, queue: usize) -> bool {
        let verdict = lock(&self.shared).card.receive(&self.name, packet);
        let packet = match verdict {
            Verdict::Up(packet) => packet,
            Verdict::Out(packet, ufid, outputs) => {
                // Nobody's lock is held: a card of another device takes its own.
                let ways: Option<Vec<_>> = outputs.iter().map(std::sync::Weak::upgrade).collect();
                let len = packet.len();
                let out = ways.filter(|ways| ways.iter().all(|card| card.forward(packet.clone()).is_ok()));
                let mut shared = lock(&self.shared);
                if out.is_some() {
                    shared.card.forwarded(ufid, len);
                    shared.stats.rx_packets += 1;
                    shared.stats.rx_bytes += len as u64;
                    capture(&shared.rx_capture, shared.time, packet.data());
                    return true;
                }
                shared.card.aborted();
                packet
            }
        };
        lock(&self.shared).enqueue(packet, queue)
    }

    /// Sets the time that a card's megaflows are used at.
    pub fn set_now(&self, now: Instant) {
        lock(&self.shared).card.set_now(now);
    }

    /// Another port of the same device, for a datapath that shares it: what the device receives goes to whoever asks first.
    pub fn port(&self, name: impl Into<String>, kind: &'static str) -> DummyPort {
        let (name, shared) = (name.into(), self.shared.clone());
        let card = Arc::new(Card { name: name.clone(), kind, shared: shared.clone() });
        DummyPort { name, kind, shared, card, thread: 0 }
    }

    /// How many receive queues there are.
    pub fn queues(&self) -> usize {
        lock(&self.shared).incoming.len()
    }

    /// Gives the device this many receive queues, at least one. What waits in queues that go is lost.
    pub fn set_queues(&self, queues: usize) {
        let mut shared = lock(&self.shared);
        shared.incoming.resize_with(queues.max(1), VecDeque::new);
        shared.rx_counts.resize_with(queues.max(1), QueueCounts::default);
    }

    /// Gives the device this many transmit queues, at least one. They differ in their counters.
    pub fn set_tx_queues(&self, queues: usize) {
        lock(&self.shared).tx_counts.resize_with(queues.max(1), QueueCounts::default);
    }

    /// Says which NUMA node the device is on; at first it is node 0.
    pub fn set_numa_node(&self, node: u32) {
        lock(&self.shared).numa_node = node;
    }

    /// Says which queue packets are sent to, of several.
    pub fn set_steering(&self, steering: Steering) {
        lock(&self.shared).steering = steering;
    }

    /// What went through each receive queue and each transmit queue.
    pub fn queue_counts(&self) -> (Vec<QueueCounts>, Vec<QueueCounts>) {
        let shared = lock(&self.shared);
        (shared.rx_counts.clone(), shared.tx_counts.clone())
    }

    /// Has the device play a card that does this.
    pub fn set_emulation(&self, emulation: Emulation) {
        lock(&self.shared).emulation = emulation;
    }

    /// What the device takes over when it sends.
    pub fn offloads(&self) -> Offloads {
        lock(&self.shared).emulation.offloads()
    }

    /// Whether what is sent is kept for [`pop`](Self::pop).
    pub fn set_linked(&self, linked: bool) {
        let mut shared = lock(&self.shared);
        shared.linked = linked;
        shared.outgoing.clear();
    }

    /// The next packet that the device sent, if it is linked.
    pub fn pop(&self) -> Option<Packet> {
        lock(&self.shared).outgoing.pop_front()
    }

    /// The device's address.
    pub fn address(&self) -> EthAddr {
        lock(&self.shared).address
    }

    /// Gives the device another address.
    pub fn set_address(&self, address: EthAddr) {
        lock(&self.shared).address = address;
    }

    /// The device's MTU.
    pub fn mtu(&self) -> usize {
        lock(&self.shared).mtu
    }

    /// Gives the device another MTU.
    pub fn set_mtu(&self, mtu: usize) {
        lock(&self.shared).mtu = mtu;
    }

    /// Whether the device is administratively up.
    pub fn is_up(&self) -> bool {
        lock(&self.shared).up
    }

    /// Sets the administrative state. It is shown and changes nothing else.
    pub fn set_up(&self, up: bool) {
        lock(&self.shared).up = up;
    }

    /// The IP addresses, with the lengths of their prefixes.
    pub fn addresses(&self) -> Vec<(IpAddr, u8)> {
        lock(&self.shared).addresses.clone()
    }

    /// Gives the device an IP address. It answers ARP requests for IPv4 ones.
    pub fn add_address(&self, address: IpAddr, prefix: u8) {
        lock(&self.shared).addresses.push((address, prefix));
    }

    /// Has what is received and what is sent written to capture files from now on, or no more.
    pub fn set_captures(&self, received: Option<Capture>, sent: Option<Capture>) {
        let mut shared = lock(&self.shared);
        shared.rx_capture = received;
        shared.tx_capture = sent;
    }

    /// Sets the time that captures are stamped with, since the Unix epoch.
    pub fn set_time(&self, time: Duration) {
        lock(&self.shared).time = time;
    }

    /// What went through.
    pub fn stats(&self) -> NetdevStats {
        lock(&self.shared).stats
    }
}

impl Shared {
    fn enqueue(&mut self, mut packet: Packet, queue: usize) -> bool {
        capture(&self.rx_capture, self.time, packet.data());
        self.emulation.receive(&mut packet);
        let fits = match self.incoming.get_mut(queue) {
            Some(waiting) if waiting.len() < QUEUE => {
                waiting.push_back(packet);
                true
            }
            _ => false,
        };
        self.stats.rx_dropped += u64::from(!fits);
        fits
    }

    /// Moves what fits from a receive queue to a batch.
    fn dequeue(&mut self, queue: usize, batch: &mut PacketBatch) -> usize {
        let Some(waiting) = self.incoming.get_mut(queue) else { return 0 };
        let taken = waiting.len().min(batch.remaining_capacity());
        for packet in waiting.drain(..taken) {
            self.stats.rx_packets += 1;
            self.stats.rx_bytes += packet.len() as u64;
            self.rx_counts.get_mut(queue).into_iter().for_each(|counts| counts.note(packet.len()));
            batch.push(packet);
        }
        taken
    }

    /// The transmit queue that a packet goes to, which a thread sends.
    fn queue_of(&self, packet: &mut Packet, thread: usize) -> usize {
        let queues = self.tx_counts.len();
        match self.steering {
            Steering::Thread => thread % queues,
            Steering::Hash if queues > 1 => {
                let mut key = FlowKey::ZERO;
                extract::extract(packet, &mut key);
                (hash::five_tuple(&key, 0) >> 32) as usize % queues
            }
            Steering::Hash => 0,
        }
    }

    /// Whether a packet is longer than a frame may be.
    fn is_too_long(&self, packet: &Packet) -> bool {
        let tagged = packet.data().get(12..14) == Some(&[0x81, 0x00]);
        packet.offload.gso.is_none() && packet.len() > self.mtu + ETH_HEADER + if tagged { VLAN_TAG } else { 0 }
    }

    fn sent(&mut self, mut packet: Packet, thread: usize) {
        let queue = self.queue_of(&mut packet, thread);
        self.tx_counts.get_mut(queue).into_iter().for_each(|counts| counts.note(packet.len()));
        self.emulation.send(&mut packet);
        self.stats.tx_packets += 1;
        self.stats.tx_bytes += packet.len() as u64;
        capture(&self.tx_capture, self.time, packet.data());
        if let Some(reply) = self.arp_reply(&packet) {
            self.enqueue(reply, 0);
        }
        if self.linked && self.outgoing.len() < QUEUE {
            self.outgoing.push_back(packet);
        }
    }

    /// The answer to an ARP request for an address of the device's own.
    fn arp_reply(&self, packet: &Packet) -> Option<Packet> {
        if self.addresses.is_empty() || packet.data().get(12..14) != Some(&ETH_TYPE_ARP.to_be_bytes()) {
            return None;
        }
        let mut asked = FlowKey::ZERO;
        extract::extract(&mut packet.clone(), &mut asked);
        let value = |f: FieldId| f.info().get(&asked);
        let is_own = |(ip, _): &(IpAddr, u8)| matches!(ip, IpAddr::V4(v4) if u128::from(u32::from(*v4)) == value(FieldId::ArpTpa));
        if value(FieldId::ArpOp) != ARP_REQUEST || !self.addresses.iter().any(is_own) {
            return None;
        }
        let [a, b, c, d, e, f] = self.address.0;
        let own = u128::from(u64::from_be_bytes([0, 0, a, b, c, d, e, f]));
        let mut key = FlowKey::ZERO;
        for (field, value) in [
            (FieldId::EthType, ETH_TYPE_ARP.into()),
            (FieldId::EthSrc, own),
            (FieldId::EthDst, value(FieldId::EthSrc)),
            (FieldId::ArpOp, ARP_REPLY),
            (FieldId::ArpSha, own),
            (FieldId::ArpTha, value(FieldId::EthSrc)),
            (FieldId::ArpSpa, value(FieldId::ArpTpa)),
            (FieldId::ArpTpa, value(FieldId::ArpSpa)),
        ] {
            field.info().put(&mut key, value);
        }
        Some(compose::compose(&key, &[]))
    }
}

fn capture(to: &Option<Capture>, time: Duration, frame: &[u8]) {
    if let Some(file) = to {
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(e) = file.write(time, frame).and_then(|()| file.flush()) {
            tracing::warn!(error = %e, "a packet was not captured");
        }
    }
}

impl Netdev for DummyPort {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        self.kind
    }

    fn receive(&mut self, batch: &mut PacketBatch) -> Result<usize, NetdevError> {
        let mut shared = lock(&self.shared);
        let (queues, mut taken) = (shared.incoming.len(), 0);
        for _ in 0..queues {
            if batch.is_full() {
                break;
            }
            let queue = shared.next_queue % queues;
            shared.next_queue = queue + 1;
            taken += shared.dequeue(queue, batch);
        }
        Ok(taken)
    }

    fn receive_queue(&mut self, queue: usize, batch: &mut PacketBatch) -> Result<usize, NetdevError> {
        Ok(lock(&self.shared).dequeue(queue, batch))
    }

    fn send(&mut self, batch: &mut PacketBatch) -> Result<(), NetdevError> {
        let mut shared = lock(&self.shared);
        let good = batch.iter().position(|p| p.len() < ETH_HEADER || shared.is_too_long(p)).unwrap_or(batch.len());
        batch.drain(..good).for_each(|packet| shared.sent(packet, self.thread));
        shared.stats.tx_dropped += batch.len() as u64;
        Ok(())
    }

    fn offloads(&self) -> Offloads {
        lock(&self.shared).emulation.offloads()
    }

    fn address(&self) -> Option<EthAddr> {
        Some(lock(&self.shared).address)
    }

    fn mtu(&self) -> usize {
        lock(&self.shared).mtu
    }

    fn stats(&self) -> NetdevStats {
        lock(&self.shared).stats
    }

    /// What was received under two names, then what went through each queue.
    fn custom_stats(&self) -> Vec<(String, u64)> {
        let shared = lock(&self.shared);
        let received = [1, 2].map(|n| (format!("rx_custom_packets_{n}"), shared.stats.rx_packets));
        let of = |way: &'static str, all: &[QueueCounts]| {
            let one = |(n, c): (usize, &QueueCounts)| {
                [(format!("{way}_q{n}_bytes"), c.bytes), (format!("{way}_q{n}_packets"), c.packets)]
            };
            all.iter().enumerate().flat_map(one).collect::<Vec<_>>()
        };
        let queues = [of("rx", &shared.rx_counts), of("tx", &shared.tx_counts)];
        received.into_iter().chain(queues.into_iter().flatten()).collect()
    }

    /// Devices of the kind `dummy-pmd` are for workers.
    fn polling(&self) -> Polling {
        if self.kind == PMD { Polling::Worker } else { Polling::Control }
    }

    fn queues(&self) -> usize {
        lock(&self.shared).incoming.len()
    }

    fn another(&self) -> Option<Box<dyn Netdev>> {
        let thread = {
            let mut shared = lock(&self.shared);
            shared.handles += 1;
            shared.handles - 1
        };
        let (name, shared, card) = (self.name.clone(), self.shared.clone(), self.card.clone());
        Some(Box::new(DummyPort { name, kind: self.kind, shared, card, thread }))
    }

    fn flow_offload(&self) -> Option<Arc<dyn FlowOffload>> {
        Some(self.card.clone())
    }

    fn numa_node(&self) -> Option<u32> {
        Some(lock(&self.shared).numa_node)
    }

    fn shown_options(&self) -> Vec<(&'static str, String)> {
        if self.kind != PMD {
            return Vec::new();
        }
        let shared = lock(&self.shared);
        let rx = ("n_rxq", shared.incoming.len().to_string());
        vec![rx, ("n_txq", shared.tx_counts.len().to_string()), ("numa_id", shared.numa_node.to_string())]
    }
}

#[cfg(test)]
mod tests {
    use ovs_packet::{Match, segment};

    use super::*;

    fn frame(text: &str) -> Packet {
        compose::compose(text.parse::<Match>().unwrap().key(), &[0; 64])
    }

    #[test]
    fn queues_are_bounded_and_served_in_turn() {
        let (mut port, control) = DummyPort::new("p", "dummy", EthAddr::local(1));
        control.set_queues(2);
        assert!((0..QUEUE).all(|_| control.receive(frame("ip"), 0)));
        assert!(!control.receive(frame("ip"), 0) && !control.receive(frame("ip"), 2));
        assert!(control.receive(frame("arp"), 1));
        let mut batch = PacketBatch::new();
        port.receive(&mut batch).unwrap();
        batch.clear();
        port.receive(&mut batch).unwrap();
        assert_eq!(batch.iter().next().unwrap().data()[12..14], [8, 6]);
        assert_eq!(control.stats().rx_dropped, 2);
    }

    #[test]
    fn it_answers_arp_for_its_own_addresses() {
        let (mut port, control) = DummyPort::new("p", "dummy", EthAddr([2, 0, 0, 0, 0, 9]));
        control.add_address("10.0.0.9".parse().unwrap(), 24);
        let mut batch = PacketBatch::new();
        for target in ["10.0.0.8", "10.0.0.9"] {
            let ask = format!(
                "arp,dl_src=02:00:00:00:00:01,dl_dst=ff:ff:ff:ff:ff:ff,arp_op=1,arp_spa=10.0.0.1,arp_tpa={target}"
            );
            batch.push(frame(&ask));
        }
        port.send(&mut batch).unwrap();
        assert_eq!(port.receive(&mut batch).unwrap(), 1);
        let mut key = FlowKey::ZERO;
        extract::extract(batch.iter_mut().next().unwrap(), &mut key);
        let reply = "arp,dl_src=02:00:00:00:00:09,dl_dst=02:00:00:00:00:01,arp_op=2,arp_spa=10.0.0.9,arp_tpa=10.0.0.1,arp_sha=02:00:00:00:00:09,arp_tha=02:00:00:00:00:01";
        assert!(reply.parse::<Match>().unwrap().matches(&key));
    }

    #[test]
    fn what_is_too_long_is_refused_with_what_is_behind_it() {
        let (mut port, control) = DummyPort::new("p", "dummy", EthAddr::local(1));
        control.set_linked(true);
        control.set_mtu(100);
        let mut batch = PacketBatch::new();
        for len in [114, 115, 60] {
            batch.push(Packet::from_slice(&vec![0; len]));
        }
        port.send(&mut batch).unwrap();
        assert_eq!((batch.len(), control.stats().tx_packets, control.stats().tx_dropped), (2, 1, 2));
        assert_eq!(control.pop().unwrap().len(), 114);
    }

    #[test]
    fn what_is_to_be_cut_is_taken_whole_by_a_device_that_cuts() {
        let (mut port, control) = DummyPort::new("p", "dummy", EthAddr::local(1));
        control.set_linked(true);
        assert!(!port.offloads().checksum && !port.offloads().segmentation);
        control.set_emulation(Emulation { segment_size: Some(500), ..Emulation::default() });
        assert!(port.offloads().checksum && port.offloads().segmentation);
        let tcp = "tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2".parse::<Match>().unwrap();
        let whole = compose::compose(tcp.key(), &[7; 2000]);
        for packet in [whole.clone(), compose::compose(tcp.key(), &[7; 500]), frame("udp")] {
            control.receive(packet, 0);
        }
        let mut batch = PacketBatch::new();
        port.receive(&mut batch).unwrap();
        let cuts: Vec<_> = batch.iter().map(|p| p.offload.gso.map(|gso| gso.size)).collect();
        assert_eq!(cuts, [Some(500), None, None]);
        assert_eq!(segment::finish(batch.iter().next().unwrap().clone()).len(), 4);
        port.send(&mut batch).unwrap();
        assert_eq!((batch.len(), control.pop().unwrap().data()), (0, whole.data()));
    }

    #[test]
    fn packets_are_sent_by_queues() {
        let (mut port, control) = DummyPort::new("p", "dummy-pmd", EthAddr::local(1));
        control.set_tx_queues(2);
        let mut other = port.another().unwrap();
        let send = |port: &mut dyn Netdev| {
            for n in 0..32 {
                let mut batch = PacketBatch::new();
                batch.push(frame(&format!("udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src={n}")));
                port.send(&mut batch).unwrap();
            }
            control.queue_counts().1.iter().map(|counts| counts.packets).collect::<Vec<_>>()
        };
        assert_eq!(send(&mut port), [32, 0]);
        assert_eq!(send(other.as_mut()), [32, 32]);
        control.set_steering(Steering::Hash);
        let now = send(&mut port);
        assert!(now[0] > 36 && now[1] > 36 && now[0] + now[1] == 96, "{now:?}");
    }

    #[test]
    fn captures_have_both_directions() {
        #[derive(Clone, Default)]
        struct Sink(Arc<Mutex<Vec<u8>>>);
        impl Write for Sink {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().extend(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (mut port, control) = DummyPort::new("p", "dummy", EthAddr::local(1));
        let sink = Sink::default();
        let file: Capture = Arc::new(Mutex::new(Writer::new(Box::new(sink.clone()) as Box<dyn Write + Send>).unwrap()));
        control.set_captures(Some(file.clone()), Some(file));
        control.receive(Packet::from_slice(&[1; 60]), 0);
        let mut batch = PacketBatch::new();
        batch.push(Packet::from_slice(&[2; 60]));
        port.send(&mut batch).unwrap();
        let bytes = sink.0.lock().unwrap().clone();
        let records: Vec<_> = ovs_packet::pcap::Reader::new(&bytes[..]).unwrap().map(|r| r.unwrap().data).collect();
        assert_eq!(records, [vec![1; 60], vec![2; 60]]);
    }
}

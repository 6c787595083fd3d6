//! A controller that makes OpenFlow switches learn where stations are: what `ovs-testcontroller` says to each of them.
//!
//! [`LearningSwitch`] is one conversation, without socket and clock: messages of a switch go in, messages to it come out.
//! A packet that no flow of the switch matches comes to the controller; it goes to the port behind which its destination was
//! heard, or to all where that is not known, and gets a flow, so that those like it do not come here.
//!
//! What [`LearningConfig`] can change is told in ovs-testcontroller(8).

use std::collections::BTreeMap;
use std::sync::Arc;

use ovs_ofproto::codec::{Message, NO_BUFFER, PacketIn, PacketInReason, PacketOut, PortRequest, SwitchConfig, Version};
use ovs_ofproto::pipeline::{DEFAULT_AGING, DEFAULT_MAC_LIMIT, MacTable};
use ovs_ofproto::{Action, FlowMod, Instructions};
use ovs_packet::extract::extract;
use ovs_packet::field::FieldId;
use ovs_packet::{EthAddr, FlowKey, Instant, Match, OfPort, Packet};

/// What is wildcarded in a flow for switching by Ethernet addresses alone: type, IP addresses, protocol and TOS, ports.
pub const L2_ONLY: u32 = 0x28_20f0;

/// Priority of the flows that are made: above that of the flow for what matches no other.
const PRIORITY: u16 = 1;

/// The least of the ports that are none: they have no queues.
const FIRST_RESERVED: u32 = 0xff00;

/// How a controller behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LearningConfig {
    /// Floods everything and learns nothing.
    pub hub: bool,
    /// Makes flows. Without, every packet passes through the controller.
    pub flows: bool,
    /// Seconds without a packet after which a flow ends; 0 is never.
    pub max_idle: u16,
    /// Has the switch itself send what need not be flooded (OFPP_NORMAL).
    pub normal: bool,
    /// What flows do not match: the wildcards of OpenFlow 1.0 (`OFPFW_*`).
    pub wildcards: u32,
    /// The queue that packets leave by.
    pub queue: Option<u32>,
    /// The queue of packets that came in by the port of this name.
    pub port_queues: BTreeMap<String, u32>,
    /// Flows that each switch gets when it connects.
    pub default_flows: Vec<FlowMod>,
    /// Says nothing to what switches send.
    pub mute: bool,
}

impl Default for LearningConfig {
    /// A learning switch that makes flows for exactly what came, which end after 60 seconds.
    fn default() -> LearningConfig {
        LearningConfig {
            hub: false,
            flows: true,
            max_idle: 60,
            normal: false,
            wildcards: 0,
            queue: None,
            port_queues: BTreeMap::new(),
            default_flows: Vec::new(),
            mute: false,
        }
    }
}

/// A conversation with one switch, as long as its connection lasts.
///
/// ```
/// use ovs_ofproto::codec::{Message, PacketIn, PacketInReason, Version};
/// use ovs_packet::{Instant, Match, OfPort, compose};
/// use ovs_tools::learning::{LearningConfig, LearningSwitch};
///
/// let mut switch = LearningSwitch::new(LearningConfig::default().into(), Version::V1_3);
/// assert!(switch.greeting().contains(&Message::FeaturesRequest));
/// let flow: Match = "udp,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02".parse().unwrap();
/// let mut packet = PacketIn::new(OfPort(7), compose::compose(flow.key(), b"hello").data().to_vec());
/// packet.reason = PacketInReason::NO_MATCH;
/// // Nobody knows where station 2 is: its packet goes everywhere, and station 1 is learnt.
/// let answers = switch.handle(&Message::PacketIn(Box::new(packet)), Instant::ZERO);
/// assert!(matches!(&answers[..], [Message::PacketOut(_)]));
/// ```
#[derive(Debug)]
pub struct LearningSwitch {
    config: Arc<LearningConfig>,
    version: Version,
    macs: MacTable,
    /// The queues of packets that came in by a port, of those whose names are configured.
    queues: BTreeMap<OfPort, u32>,
}

impl LearningSwitch {
    /// A conversation in `version` that has just begun.
    pub fn new(config: Arc<LearningConfig>, version: Version) -> LearningSwitch {
        LearningSwitch {
            config,
            version,
            macs: MacTable::new(DEFAULT_MAC_LIMIT, DEFAULT_AGING),
            queues: BTreeMap::new(),
        }
    }

    /// What is said first: questions about the switch, and flows that it is to have from the beginning.
    pub fn greeting(&self) -> Vec<Message> {
        let mut whole = SwitchConfig::default();
        whole.miss_send_len = u16::MAX;
        let mut greeting = vec![Message::FeaturesRequest, Message::SetConfig(whole)];
        if self.version >= Version::V1_3 {
            greeting.push(Message::PortDescRequest(PortRequest::default()));
            // From this version on a packet without a flow is dropped (OpenFlow 1.3, section 5.4).
            let mut miss = FlowMod::default();
            miss.priority = 0;
            miss.instructions = Instructions::apply(vec![Action::output(OfPort::CONTROLLER)]);
            greeting.push(Message::from(miss));
        }
        greeting.extend(self.config.default_flows.iter().cloned().map(Message::from));
        greeting
    }

    /// Heeds a message of the switch, and says what is to be said to it. What means nothing to a controller like this is
    /// passed over.
    pub fn handle(&mut self, message: &Message, now: Instant) -> Vec<Message> {
        match message {
            Message::FeaturesReply(features) => {
                features.ports.iter().for_each(|port| self.note_port(port.number, &port.name));
            }
            Message::PortDescReply(page) => {
                page.items.iter().for_each(|port| self.note_port(port.number, &port.name));
            }
            Message::PortStatus(status) => {
                const GONE: u8 = 1;
                if status.reason == GONE {
                    self.queues.remove(&status.port.number);
                    self.macs.forget_port(status.port.number);
                } else {
                    self.note_port(status.port.number, &status.port.name);
                }
            }
            Message::PacketIn(packet) if !self.config.mute => return self.packet_in(packet, now),
            _ => {}
        }
        Vec::new()
    }

    fn note_port(&mut self, number: OfPort, name: &str) {
        if let Some(queue) = self.config.port_queues.get(name) {
            self.queues.insert(number, *queue);
        }
    }

    fn packet_in(&mut self, packet: &PacketIn, now: Instant) -> Vec<Message> {
        // What a flow sends to controllers is somebody's own experiment.
        if packet.reason != PacketInReason::NO_MATCH {
            return Vec::new();
        }
        let in_port = OfPort(u32::try_from(FieldId::InPortOxm.info().get(&packet.metadata.key())).unwrap_or(0));
        let mut key = FlowKey::ZERO;
        extract(&mut Packet::from_slice(&packet.data), &mut key);
        let to = self.destination(&key, in_port, now);
        let actions: Vec<Action> = to.map(|port| self.action(in_port, port)).into_iter().collect();
        let is_buffered = packet.buffer_id != NO_BUFFER;
        let mut answer = Vec::new();
        let makes_flow = self.config.flows && (self.config.hub || to != Some(OfPort::FLOOD));
        if makes_flow {
            let mut flow = FlowMod::default();
            flow.matching = matching(&key, in_port, self.config.wildcards);
            flow.priority = PRIORITY;
            flow.idle_timeout = self.config.max_idle;
            flow.buffer_id = packet.buffer_id;
            flow.instructions = Instructions::apply(actions.clone());
            answer.push(Message::from(flow));
        }
        // A packet in a buffer goes with its flow; without one, it is released, even if it goes nowhere.
        let goes = if is_buffered { !makes_flow } else { to.is_some() };
        if goes {
            let data = if is_buffered { Vec::new() } else { packet.data.clone() };
            let mut out = PacketOut::new(in_port, actions, data);
            out.buffer_id = packet.buffer_id;
            answer.push(Message::PacketOut(out));
        }
        answer
    }

    /// Learns where a packet came from, and says where it goes; nowhere if it is not to be forwarded.
    fn destination(&mut self, key: &FlowKey, in_port: OfPort, now: Instant) -> Option<OfPort> {
        let address = |field: FieldId| {
            let [_, _, bytes @ ..] = u64::try_from(field.info().get(key)).unwrap_or(0).to_be_bytes();
            EthAddr(bytes)
        };
        let (source, destination) = (address(FieldId::EthSrc), address(FieldId::EthDst));
        let vlan = u16::try_from(FieldId::DlVlan.info().get(key)).unwrap_or(0);
        if !self.config.hub && !source.is_multicast() {
            self.macs.expire(now);
            self.macs.learn(vlan, source, in_port, now);
        }
        if is_for_bridges(destination) {
            return None;
        }
        let known = if self.config.hub { None } else { self.macs.lookup(vlan, destination) };
        match known {
            None => Some(OfPort::FLOOD),
            // It is where it belongs.
            Some(port) if port == in_port => None,
            Some(_) if self.config.normal && !self.has_queues() => Some(OfPort::NORMAL),
            Some(port) => Some(port),
        }
    }

    fn has_queues(&self) -> bool {
        self.config.queue.is_some() || !self.config.port_queues.is_empty()
    }

    fn action(&self, in_port: OfPort, to: OfPort) -> Action {
        match self.queues.get(&in_port).copied().or(self.config.queue) {
            Some(queue) if to.0 < FIRST_RESERVED => Action::Enqueue { port: to, queue },
            _ => Action::output(to),
        }
    }
}

/// Whether an address is one of those that no bridge forwards (IEEE 802.1Q, table 8-1).
fn is_for_bridges(address: EthAddr) -> bool {
    matches!(address.0, [0x01, 0x80, 0xc2, 0, 0, last] if last <= 0x0f)
}

/// The match of a flow for packets like `key`, but for what is wildcarded.
///
/// The bits are those of OpenFlow 1.0, section 5.2.3; a field counts where the match has what it depends on.
fn matching(key: &FlowKey, in_port: OfPort, wildcards: u32) -> Match {
    use FieldId::*;
    /// The bit of each field, in the order in which they depend on each other.
    const FIELDS: [(u32, &[FieldId]); 7] = [
        (1 << 2, &[EthSrc]),
        (1 << 3, &[EthDst]),
        (1 << 4, &[EthType]),
        (1 << 5, &[NwProto, ArpOp]),
        (1 << 21, &[NwTos]),
        (1 << 6, &[TcpSrc, UdpSrc, SctpSrc, IcmpType, Icmpv6Type]),
        (1 << 7, &[TcpDst, UdpDst, SctpDst, IcmpCode, Icmpv6Code]),
    ];
    const IN_PORT: u32 = 1;
    const VLAN: u32 = 1 << 1;
    const VLAN_PRIORITY: u32 = 1 << 20;
    /// Of each address, how many of its low bits are wildcarded: 6 bits from this one on.
    const ADDRESSES: [(u32, [FieldId; 2]); 2] = [(8, [NwSrc, ArpSpa]), (14, [NwDst, ArpTpa])];

    let mut matching = Match::ANY.with_default_packet_type();
    if wildcards & IN_PORT == 0 {
        matching.set(InPortOxm, in_port.0.into());
    }
    // Where there is a tag, its identifier is behind the bit that says so; no priority can be told of none.
    let tci = VlanTci.info().get(key);
    let mut tci_mask = if wildcards & VLAN == 0 { 0x1fff } else { 0 };
    if wildcards & VLAN_PRIORITY == 0 && tci != 0 {
        tci_mask |= 0xf000;
    }
    if tci_mask != 0 {
        matching.set_masked(VlanTci, tci & tci_mask, tci_mask);
    }
    for (bit, fields) in FIELDS {
        let there = fields.iter().find(|f| f.info().prereq.holds(&matching.key()));
        if let Some(field) = there.filter(|_| wildcards & bit == 0) {
            matching.set(*field, field.info().get(key));
        }
    }
    for (shift, fields) in ADDRESSES {
        let low = wildcards >> shift & 0x3f;
        let mask = u32::MAX.checked_shl(low).unwrap_or(0);
        let there = fields.iter().find(|f| f.info().prereq.holds(&matching.key()));
        if let Some(field) = there.filter(|_| mask != 0) {
            matching.set_masked(*field, field.info().get(key) & u128::from(mask), mask.into());
        }
    }
    matching
}

#[cfg(test)]
mod tests {
    use ovs_packet::compose;

    use super::*;

    fn packet(port: u32, flow: &str) -> Message {
        let flow: Match = flow.parse().unwrap();
        let mut packet = PacketIn::new(OfPort(port), compose::compose(flow.key(), b"data").data().to_vec());
        packet.reason = PacketInReason::NO_MATCH;
        Message::PacketIn(Box::new(packet))
    }

    fn from_to(from: u32, to: u32) -> Message {
        packet(from, &format!("udp,dl_src=02:00:00:00:00:0{from},dl_dst=02:00:00:00:00:0{to},tp_src=5"))
    }

    fn switch(config: LearningConfig) -> LearningSwitch {
        LearningSwitch::new(Arc::new(config), Version::V1_3)
    }

    /// The actions of the flow and of the packet that an answer has.
    fn said(answer: &[Message]) -> (Option<Vec<Action>>, Option<Vec<Action>>) {
        let (mut flow, mut out) = (None, None);
        for message in answer {
            match message {
                Message::FlowMod(f) => flow = Some(f.instructions.clone()),
                Message::PacketOut(p) => out = Some(p.actions.clone()),
                other => panic!("{other:?}"),
            }
        }
        (flow.map(|instructions| instructions.apply), out)
    }

    #[test]
    fn stations_are_learnt() {
        let mut s = switch(LearningConfig::default());
        let flood = vec![Action::output(OfPort::FLOOD)];
        assert_eq!(said(&s.handle(&from_to(1, 2), Instant::ZERO)), (None, Some(flood.clone())));
        let to_1 = vec![Action::output(OfPort(1))];
        assert_eq!(said(&s.handle(&from_to(2, 1), Instant::ZERO)), (Some(to_1.clone()), Some(to_1)));
        // Behind the port that it came from: a flow that drops, and nothing sent.
        let own = packet(1, "udp,dl_src=02:00:00:00:00:07,dl_dst=02:00:00:00:00:01");
        assert_eq!(said(&s.handle(&own, Instant::ZERO)), (Some(vec![]), None));
        let stp = packet(1, "dl_src=02:00:00:00:00:01,dl_dst=01:80:c2:00:00:00,dl_type=0x88cc");
        assert_eq!(said(&s.handle(&stp, Instant::ZERO)), (Some(vec![]), None));
        // After five minutes of silence nothing is known.
        let later = Instant::ZERO + DEFAULT_AGING + DEFAULT_AGING;
        assert_eq!(said(&s.handle(&from_to(2, 1), later)), (None, Some(flood)));
    }

    #[test]
    fn what_can_be_configured() {
        let both = |config: LearningConfig| {
            let mut s = switch(config);
            s.handle(&from_to(1, 2), Instant::ZERO);
            said(&s.handle(&from_to(2, 1), Instant::ZERO))
        };
        let flood = vec![Action::output(OfPort::FLOOD)];
        let base = LearningConfig::default;
        assert_eq!(both(LearningConfig { hub: true, ..base() }), (Some(flood.clone()), Some(flood.clone())));
        assert_eq!(both(LearningConfig { hub: true, flows: false, ..base() }), (None, Some(flood)));
        assert_eq!(both(LearningConfig { flows: false, ..base() }), (None, Some(vec![Action::output(OfPort(1))])));
        let normal = vec![Action::output(OfPort::NORMAL)];
        assert_eq!(both(LearningConfig { normal: true, ..base() }), (Some(normal.clone()), Some(normal)));
        let queue = |queue| vec![Action::Enqueue { port: OfPort(1), queue }];
        let queued = LearningConfig { queue: Some(9), normal: true, ..base() };
        assert_eq!(both(queued), (Some(queue(9)), Some(queue(9))));
        assert_eq!(both(LearningConfig { mute: true, ..base() }), (None, None));
        let mut s = switch(LearningConfig { queue: Some(9), port_queues: [("eth2".into(), 3)].into(), ..base() });
        let mut port = ovs_ofproto::codec::Port::default();
        (port.number, port.name) = (OfPort(2), "eth2".into());
        let ports = ovs_ofproto::codec::Page { more: false, items: vec![port] };
        s.handle(&Message::PortDescReply(ports), Instant::ZERO);
        s.handle(&from_to(1, 2), Instant::ZERO);
        assert_eq!(said(&s.handle(&from_to(2, 1), Instant::ZERO)).1, Some(queue(3)));
        assert_eq!(
            said(&s.handle(&from_to(1, 2), Instant::ZERO)).1.unwrap()[0],
            Action::Enqueue { port: OfPort(2), queue: 9 }
        );
    }

    #[test]
    fn packets_in_buffers_go_with_their_flows() {
        let mut s = switch(LearningConfig::default());
        let buffered = |message: Message| match message {
            Message::PacketIn(mut p) => {
                p.buffer_id = 5;
                Message::PacketIn(p)
            }
            other => other,
        };
        let [Message::PacketOut(out)] = &s.handle(&buffered(from_to(1, 2)), Instant::ZERO)[..] else { panic!() };
        assert_eq!((out.buffer_id, out.data.len()), (5, 0));
        let [Message::FlowMod(flow)] = &s.handle(&buffered(from_to(2, 1)), Instant::ZERO)[..] else { panic!() };
        assert_eq!((flow.buffer_id, flow.idle_timeout), (5, 60));
    }

    #[test]
    fn what_flows_do_for_others_is_left_alone() {
        let mut s = switch(LearningConfig::default());
        let Message::PacketIn(mut p) = from_to(1, 2) else { panic!() };
        p.reason = PacketInReason::ACTION;
        assert_eq!(s.handle(&Message::PacketIn(p), Instant::ZERO), []);
        // Half a packet is one with less in it.
        let Message::PacketIn(mut p) = from_to(1, 2) else { panic!() };
        for len in 0..p.data.len() {
            p.data.truncate(len);
            assert_eq!(s.handle(&Message::PacketIn(p.clone()), Instant::ZERO).len(), 1);
        }
    }

    #[test]
    fn wildcards_are_those_of_openflow_1_0() {
        let of = |flow: &str, wildcards| {
            let Message::PacketIn(p) = packet(3, flow) else { panic!() };
            let mut key = FlowKey::ZERO;
            extract(&mut Packet::from_slice(&p.data), &mut key);
            matching(&key, OfPort(3), wildcards).to_string()
        };
        let tcp = "tcp,dl_vlan=5,dl_vlan_pcp=2,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,nw_src=10.1.2.3,\
                   nw_dst=10.4.5.6,nw_tos=8,tp_src=7,tp_dst=8";
        assert_eq!(
            of(tcp, 0),
            "tcp,in_port=3,dl_vlan=5,dl_vlan_pcp=2,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,nw_src=10.1.2.3,\
             nw_dst=10.4.5.6,nw_tos=8,tp_src=7,tp_dst=8"
        );
        assert_eq!(
            of(tcp, L2_ONLY),
            "in_port=3,dl_vlan=5,dl_vlan_pcp=2,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02"
        );
        // Addresses of what is not known to be IP are none.
        assert_eq!(of(tcp, 0x30_00ff | 8 << 8 | 32 << 14), "");
        assert_eq!(of(tcp, 0x30_00ef | 8 << 8 | 32 << 14), "ip,nw_src=10.1.2.0/24");
        let arp = "arp,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,arp_op=1,arp_spa=10.1.2.3,arp_tpa=10.4.5.6";
        assert_eq!(
            of(arp, 0),
            "arp,in_port=3,vlan_tci=0x0000/0x1fff,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,arp_spa=10.1.2.3,\
             arp_tpa=10.4.5.6,arp_op=1"
        );
    }
}

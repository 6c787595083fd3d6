//! A host that answers ARP and ping, and pings.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use ovs_packet::extract::{ETH_TYPE_ARP, ETH_TYPE_IPV4, IP_PROTO_ICMP, extract};
use ovs_packet::{EthAddr, FlowKey, Instant, Packet, compose};

/// ICMP types of the echo protocol (RFC 792).
const ECHO_REPLY: u16 = 0;
const ECHO_REQUEST: u16 = 8;
/// ARP operations (RFC 826).
const ARP_REQUEST: u8 = 1;
const ARP_REPLY: u8 = 2;

/// How often ARP asks before packets to the address are given up, and how long it waits in between.
const ARP_TRIES: u8 = 3;
const ARP_WAIT: Duration = Duration::from_secs(1);

/// How many packets wait for an address.
const ARP_QUEUE: usize = 64;

const PAYLOAD: &[u8] = b"abcdefghijklmnopqrstuvwabcdefghi";

/// What became of a host's pings.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct PingReport {
    /// Echo requests made, also those that ARP gave up on.
    pub sent: usize,
    /// The time from each request to its reply, if one came.
    pub round_trips: Vec<Option<Duration>>,
    /// Replies that nobody asked for, or that came twice or damaged.
    pub unexpected: usize,
}

impl PingReport {
    /// How many were answered.
    pub fn received(&self) -> usize {
        self.round_trips.iter().flatten().count()
    }
}

/// An address that is being asked for.
#[derive(Clone, Debug)]
struct Asking {
    tries: u8,
    again: Instant,
    waiting: Vec<Packet>,
}

/// A host with one interface: sans-IO, so that it can stand anywhere. Frames and the time come in, frames go out.
#[derive(Clone, Debug)]
pub struct Host {
    address: EthAddr,
    ip: Ipv4Addr,
    neighbors: BTreeMap<Ipv4Addr, EthAddr>,
    asking: BTreeMap<Ipv4Addr, Asking>,
    /// When each echo request was made, by its sequence number.
    requests: Vec<Instant>,
    report: PingReport,
}

impl Host {
    /// A host with these addresses.
    pub fn new(address: EthAddr, ip: Ipv4Addr) -> Host {
        Host {
            address,
            ip,
            neighbors: BTreeMap::new(),
            asking: BTreeMap::new(),
            requests: Vec::new(),
            report: PingReport::default(),
        }
    }

    /// Its Ethernet address.
    pub fn address(&self) -> EthAddr {
        self.address
    }

    /// Its IPv4 address.
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// What became of its pings.
    pub fn pings(&self) -> &PingReport {
        &self.report
    }

    /// Makes an echo request. Returns what is to be sent now: the request, or ARP first.
    pub fn ping(&mut self, to: Ipv4Addr, now: Instant) -> Vec<Packet> {
        let seq = self.requests.len() as u16;
        self.requests.push(now);
        self.report.sent += 1;
        self.report.round_trips.push(None);
        let key = self.ip_key(to, IP_PROTO_ICMP, ECHO_REQUEST);
        self.send_ip(to, echo(&key, [0, 1], seq.to_be_bytes(), PAYLOAD), now)
    }

    /// Handles a frame. Returns what is to be sent in answer.
    pub fn receive(&mut self, mut frame: Packet, now: Instant) -> Vec<Packet> {
        let mut key = FlowKey::ZERO;
        if extract(&mut frame, &mut key).malformed.is_some() || key.eth_src == self.address {
            return Vec::new();
        }
        if key.eth_dst != self.address && !key.eth_dst.is_multicast() {
            return Vec::new();
        }
        match (key.eth_type.get(), key.nw_proto) {
            (ETH_TYPE_ARP, op @ (ARP_REQUEST | ARP_REPLY)) => self.receive_arp(&key, op),
            (ETH_TYPE_IPV4, IP_PROTO_ICMP) if key.ipv4_dst() == self.ip => self.receive_icmp(&frame, &key, now),
            _ => Vec::new(),
        }
    }

    /// Does what is due: asks again for addresses, or gives up.
    pub fn run(&mut self, now: Instant) -> Vec<Packet> {
        let due: Vec<_> = self.asking.iter().filter(|(_, a)| a.again <= now).map(|(ip, _)| *ip).collect();
        let mut out = Vec::new();
        for ip in due {
            match self.asking.get_mut(&ip) {
                Some(asking) if asking.tries < ARP_TRIES => {
                    asking.tries += 1;
                    asking.again = now + ARP_WAIT;
                    out.push(self.arp(ARP_REQUEST, EthAddr::BROADCAST, EthAddr::ZERO, ip));
                }
                _ => drop(self.asking.remove(&ip)),
            }
        }
        out
    }

    /// When [`run`](Self::run) is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.asking.values().map(|a| a.again).min()
    }

    fn ip_key(&self, to: Ipv4Addr, proto: u8, kind: u16) -> FlowKey {
        FlowKey {
            eth_src: self.address,
            eth_type: ETH_TYPE_IPV4.into(),
            nw_src: self.ip.to_bits().into(),
            nw_dst: to.to_bits().into(),
            nw_proto: proto,
            nw_ttl: 64,
            tp_src: kind.into(),
            ..FlowKey::ZERO
        }
    }

    fn send_ip(&mut self, to: Ipv4Addr, mut packet: Packet, now: Instant) -> Vec<Packet> {
        if let Some(address) = self.neighbors.get(&to) {
            set_destination(&mut packet, *address);
            return vec![packet];
        }
        if let Some(asking) = self.asking.get_mut(&to) {
            if asking.waiting.len() < ARP_QUEUE {
                asking.waiting.push(packet);
            }
            return Vec::new();
        }
        self.asking.insert(to, Asking { tries: 1, again: now + ARP_WAIT, waiting: vec![packet] });
        vec![self.arp(ARP_REQUEST, EthAddr::BROADCAST, EthAddr::ZERO, to)]
    }

    fn arp(&self, op: u8, to: EthAddr, target: EthAddr, target_ip: Ipv4Addr) -> Packet {
        let key = FlowKey {
            eth_src: self.address,
            eth_dst: to,
            eth_type: ETH_TYPE_ARP.into(),
            nw_proto: op,
            nw_src: self.ip.to_bits().into(),
            nw_dst: target_ip.to_bits().into(),
            arp_sha: self.address,
            arp_tha: target,
            ..FlowKey::ZERO
        };
        compose::compose(&key, &[])
    }

    fn receive_arp(&mut self, key: &FlowKey, op: u8) -> Vec<Packet> {
        if key.ipv4_dst() != self.ip {
            return Vec::new();
        }
        let sender = key.ipv4_src();
        self.neighbors.insert(sender, key.arp_sha);
        let mut out: Vec<_> = self.asking.remove(&sender).map_or(Vec::new(), |a| a.waiting);
        out.iter_mut().for_each(|p| set_destination(p, key.arp_sha));
        if op == ARP_REQUEST {
            out.push(self.arp(ARP_REPLY, key.arp_sha, key.arp_sha, sender));
        }
        out
    }

    fn receive_icmp(&mut self, frame: &Packet, key: &FlowKey, now: Instant) -> Vec<Packet> {
        let Some(([_, _, _, _, id @ .., s0, s1], payload)) = frame.l4().split_first_chunk::<8>() else {
            return Vec::new();
        };
        match key.tp_src.get() {
            ECHO_REQUEST => {
                let reply = echo(&self.ip_key(key.ipv4_src(), IP_PROTO_ICMP, ECHO_REPLY), *id, [*s0, *s1], payload);
                self.send_ip(key.ipv4_src(), reply, now)
            }
            ECHO_REPLY => {
                let seq = usize::from(u16::from_be_bytes([*s0, *s1]));
                let slot = self.report.round_trips.get_mut(seq).filter(|r| r.is_none());
                match (slot, self.requests.get(seq)) {
                    (Some(slot), Some(sent)) if payload == PAYLOAD => *slot = Some(now - *sent),
                    _ => self.report.unexpected += 1,
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
    }
}

fn set_destination(packet: &mut Packet, address: EthAddr) {
    if let Some(to) = packet.data_mut().first_chunk_mut::<6>() {
        *to = address.0;
    }
}

fn echo(key: &FlowKey, id: [u8; 2], seq: [u8; 2], payload: &[u8]) -> Packet {
    let mut packet = compose::compose(key, payload);
    let at = packet.layers().l4.map_or(0, |l4| l4 + 4);
    if let Some(rest) = packet.data_mut().get_mut(at..at + 4) {
        rest.copy_from_slice(&[id[0], id[1], seq[0], seq[1]]);
    }
    compose::write_l4_checksum(&mut packet);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Host, Host) {
        (
            Host::new(EthAddr::local(1), Ipv4Addr::new(10, 0, 0, 1)),
            Host::new(EthAddr::local(2), Ipv4Addr::new(10, 0, 0, 2)),
        )
    }

    #[test]
    fn arp_then_echo() {
        let (mut a, mut b) = pair();
        let now = Instant::from_secs(1);
        let mut wire = a.ping(b.ip(), now);
        let mut frames = 0;
        while let Some(frame) = wire.pop() {
            frames += 1;
            let from_a = frame.data()[6..12] == a.address().0;
            wire.extend(if from_a { b.receive(frame, now) } else { a.receive(frame, now + Duration::from_millis(3)) });
        }
        assert_eq!((frames, a.pings().round_trips[0]), (4, Some(Duration::from_millis(3))));
    }

    #[test]
    fn arp_gives_up() {
        let (mut a, b) = pair();
        let mut now = Instant::ZERO;
        let mut asked = a.ping(b.ip(), now).len();
        while let Some(at) = a.next_deadline() {
            now = at;
            asked += a.run(now).len();
        }
        assert_eq!((asked, a.pings().received(), now), (3, 0, Instant::from_secs(3)));
    }
}

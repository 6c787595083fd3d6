//! What a card would do and say, as a dummy device plays it: checksums found good or bad on receipt, and work taken over when
//! it sends, or taken over and left undone.

use ovs_packet::extract::{self, ETH_TYPE_IPV4, ETH_TYPE_IPV6, IP_PROTO_TCP};
use ovs_packet::packet::{Gso, GsoKind, IpChecksum, L4Checksum};
use ovs_packet::segment::{self, Takes};
use ovs_packet::{FlowKey, Packet};

use crate::netdev::Offloads;

/// What a device says of a checksum of the packets that it receives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum Told {
    /// Nothing.
    #[default]
    Nothing,
    /// That it is right, whatever it is.
    Good,
    /// That it is wrong, whatever it is.
    Bad,
    /// That it is not written yet: who sends the packet is to compute it.
    Undone,
}

/// Which offloads a dummy device plays.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[non_exhaustive]
pub struct Emulation {
    /// What it says of checksums of IPv4 headers.
    pub rx_ip: Told,
    /// What it says of transport checksums.
    pub rx_transport: Told,
    /// Checksums that it takes over.
    pub takes: Takes,
    /// Which of these it leaves as they are: whoever looks at what it sends sees who did the work.
    pub neglects: Takes,
    /// Bytes of payload in segments, if it does segmentation: TCP packets that it receives with more payload are to be cut by
    /// whoever sends them, and it takes such packets when it is sent to. They are not cut then.
    pub segment_size: Option<u16>,
}

impl Emulation {
    /// What the device takes over when it sends.
    pub(super) fn offloads(&self) -> Offloads {
        let Takes { ip, transport, outer_ip, outer_transport } = self.takes;
        let segmentation = self.segment_size.is_some();
        Offloads {
            ip_checksum: ip,
            checksum: transport || segmentation,
            segmentation,
            inner_checksums: true,
            outer_ip_checksum: outer_ip,
            outer_udp_checksum: outer_transport,
        }
    }

    /// Says of a packet that comes in what a card would.
    pub(super) fn receive(&self, packet: &mut Packet) {
        if *self == Emulation::default() {
            return;
        }
        let mut key = FlowKey::ZERO;
        extract::extract(packet, &mut key);
        packet.offload.ip = match (self.rx_ip, packet.layers().l3) {
            (Told::Good, _) => IpChecksum::Trusted,
            (Told::Bad, _) => IpChecksum::Bad,
            (Told::Undone, Some(l3)) if key.eth_type == ETH_TYPE_IPV4 => IpChecksum::Partial { start: l3 as u32 },
            _ => IpChecksum::Unknown,
        };
        packet.offload.l4 = match self.rx_transport {
            Told::Good => L4Checksum::Trusted,
            Told::Bad => L4Checksum::Bad,
            Told::Nothing | Told::Undone => L4Checksum::Unknown,
        };
        if self.rx_transport == Told::Undone {
            segment::make_partial(packet);
        }
        if let Some(size) = self.segment_size {
            leave_segmentation(packet, &key, size);
        }
    }

    /// Does to a packet that goes out what the device took over.
    pub(super) fn send(&self, packet: &mut Packet) {
        // Cut it is on the wire only.
        packet.offload.gso = None;
        segment::settle(packet, self.neglects);
    }
}

/// Makes a TCP packet with more than `size` bytes of payload one that is to be cut.
fn leave_segmentation(packet: &mut Packet, key: &FlowKey, size: u16) {
    let kind = match (key.eth_type.get(), key.nw_proto) {
        (ETH_TYPE_IPV4, IP_PROTO_TCP) => GsoKind::TcpV4,
        (ETH_TYPE_IPV6, IP_PROTO_TCP) => GsoKind::TcpV6,
        _ => return,
    };
    packet.offload.gso = Some(Gso { kind, size, ecn: false });
    if key.nw_frag != 0 || segment::longest(packet) >= packet.len() {
        packet.offload.gso = None;
    } else {
        segment::make_partial(packet);
    }
}

#[cfg(test)]
mod tests {
    use ovs_packet::{Match, compose};

    use super::*;

    fn tcp(payload: usize) -> Packet {
        let m: Match = "tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_dst=80".parse().unwrap();
        compose::compose(m.key(), &vec![1; payload])
    }

    #[test]
    fn it_says_what_it_is_told_to_say() {
        let undone = (IpChecksum::Partial { start: 14 }, L4Checksum::Partial { start: 34, offset: 16 });
        for (told, (ip, l4)) in [
            (Told::Nothing, (IpChecksum::Unknown, L4Checksum::Unknown)),
            (Told::Good, (IpChecksum::Trusted, L4Checksum::Trusted)),
            (Told::Bad, (IpChecksum::Bad, L4Checksum::Bad)),
            (Told::Undone, undone),
        ] {
            let mut packet = tcp(10);
            Emulation { rx_ip: told, rx_transport: told, segment_size: Some(1000), ..Emulation::default() }
                .receive(&mut packet);
            assert_eq!((packet.offload.ip, packet.offload.l4), (ip, l4));
        }
        // Of a packet without such headers there is nothing to do.
        let mut arp = compose::compose("arp".parse::<Match>().unwrap().key(), &[]);
        Emulation { rx_ip: Told::Undone, rx_transport: Told::Undone, ..Emulation::default() }.receive(&mut arp);
        assert!(!arp.offload.is_pending());
    }

    #[test]
    fn what_is_neglected_is_seen() {
        let right = tcp(10);
        let all = Takes { ip: true, transport: true, ..Takes::default() };
        for (neglects, differs) in [(Takes::default(), false), (all, true)] {
            let mut packet = right.clone();
            packet.offload.ip = IpChecksum::Partial { start: 14 };
            packet.data_mut()[24..26].fill(0);
            let emulation = Emulation { takes: all, neglects, ..Emulation::default() };
            assert!(emulation.offloads().ip_checksum && !emulation.offloads().segmentation);
            emulation.send(&mut packet);
            assert_eq!(packet.data() != right.data(), differs);
        }
    }
}

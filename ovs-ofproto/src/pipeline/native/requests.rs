//! Requests for the addresses of neighbours: of ARP (RFC 826) over IPv4, of neighbour discovery (RFC 4861) over IPv6.

use std::net::{IpAddr, Ipv6Addr};

use ovs_packet::wire::{self, Wire, arp, icmpv6, nd};
use ovs_packet::{EthAddr, OfPort, Packet};

const ETH_TYPE_IPV6: u16 = 0x86dd;
const ICMPV6: u8 = 58;

/// A request that a switch is to send as if it came in by a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::pipeline) struct Request {
    /// The switch, by name and by its place.
    pub(in crate::pipeline) bridge: String,
    pub(in crate::pipeline) at: usize,
    pub(in crate::pipeline) port: OfPort,
    /// Who asks.
    pub(in crate::pipeline) mac: EthAddr,
    pub(in crate::pipeline) source: IpAddr,
    /// Who is asked.
    pub(in crate::pipeline) target: IpAddr,
}

impl Request {
    /// The packet.
    pub(in crate::pipeline) fn packet(&self) -> Option<Packet> {
        let bytes = match (self.source, self.target) {
            (IpAddr::V4(source), IpAddr::V4(target)) => {
                let who_has = arp::Message::request(self.mac, source, target);
                // Without padding, which is for the wire to add.
                let frame = wire::frame(EthAddr::BROADCAST, self.mac, arp::ETH_TYPE, &who_has).ok()?;
                frame.get(..14 + who_has.len())?.to_vec()
            }
            (IpAddr::V6(source), IpAddr::V6(target)) => solicitation(self.mac, source, target)?,
            _ => return None,
        };
        Some(Packet::from_slice(&bytes))
    }
}

/// A neighbour solicitation to the target's solicited-node address (RFC 4861, section 4.3; RFC 4291, section 2.7.1).
fn solicitation(mac: EthAddr, source: Ipv6Addr, target: Ipv6Addr) -> Option<Vec<u8>> {
    let [.., a, b, c] = target.octets();
    let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
    let options = vec![nd::NdOption::SourceLinkLayer(mac)];
    let mut message = nd::Message::NeighborSolicitation { target, options }.to_vec().ok()?;
    icmpv6::fill(&mut message, source, group).ok()?;
    let mut frame = vec![0x33, 0x33, 0xff, a, b, c];
    frame.extend(mac.0);
    frame.extend(ETH_TYPE_IPV6.to_be_bytes());
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(u16::try_from(message.len()).ok()?.to_be_bytes());
    // Hop limit 255 says that it comes from the same link (RFC 4861, section 7.1.1).
    frame.extend([ICMPV6, 255]);
    frame.extend(source.octets());
    frame.extend(group.octets());
    frame.extend(message);
    Some(frame)
}

#[cfg(test)]
mod tests {
    use ovs_packet::{FlowKey, extract};

    use super::*;

    fn request(source: &str, target: &str) -> Request {
        let mac = EthAddr([0xaa, 0x55, 0xaa, 0x55, 0, 0]);
        let (source, target) = (source.parse().unwrap(), target.parse().unwrap());
        Request { bridge: "br0".into(), at: 0, port: OfPort::LOCAL, mac, source, target }
    }

    #[test]
    fn arp_byte_for_byte() {
        let packet = request("1.1.2.88", "1.1.2.92").packet().unwrap();
        let hex: String = packet.data().iter().map(|b| format!("{b:02x}")).collect();
        let expected = "ffffffffffffaa55aa55000008060001080006040001aa55aa550000010102580000000000000101025c";
        assert_eq!(hex, expected);
    }

    #[test]
    fn solicitations_go_to_the_targets_group_with_a_right_checksum() {
        let mut packet = request("2001:cafe::88", "2001:cafe::92").packet().unwrap();
        let mut key = FlowKey::ZERO;
        assert_eq!(extract::extract(&mut packet, &mut key).malformed, None);
        assert_eq!(key.eth_dst.to_string(), "33:33:ff:00:00:92");
        assert_eq!((key.ipv6_dst(), key.nw_ttl), ("ff02::1:ff00:92".parse().unwrap(), 255));
        let target: std::net::Ipv6Addr = "2001:cafe::92".parse().unwrap();
        assert_eq!(key.nd_target.get(), target.to_bits());
        assert!(icmpv6::is_right(packet.l4(), key.ipv6_src(), key.ipv6_dst()));
    }

    #[test]
    fn families_do_not_mix() {
        assert_eq!(request("1.1.1.1", "2001::1").packet().map(|p| p.len()), None);
    }
}

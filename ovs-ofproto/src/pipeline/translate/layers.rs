//! What a mask needs besides: the fields that say which headers its bits are of.
//!
//! A lookup counts as read what told the packet from the flows that it did not match: of a TCP packet to port 81, where
//! a flow is for port 80, a bit of the port and nothing else. That is right for who has both fields of every packet, as
//! here; datapaths, though, write only the headers that a packet has. Linux refuses a mask with bits of a header whose
//! presence it does not tell, so that every packet came up; and for a packet that has no ports the same mask, written
//! without them, would answer for packets that have.
//!
//! So the protocol is exact where there are bits of the transport layer, and the type of ICMPv6 where there are bits of
//! neighbour discovery. The Ethertype is in every mask, as is whether the packet is a fragment.

use ovs_packet::extract::{ETH_TYPE_IPV4, ETH_TYPE_IPV6, IP_PROTO_ICMPV6};
use ovs_packet::key::FlowKey;

/// Adds to the mask of a packet with this key what its bits need.
pub(super) fn require(mask: &mut FlowKey, key: &FlowKey) {
    let is_ipv6 = key.eth_type.get() == ETH_TYPE_IPV6;
    if !is_ipv6 && key.eth_type.get() != ETH_TYPE_IPV4 {
        return;
    }
    let options = is_ipv6 && (mask.arp_sha != FlowKey::ZERO.arp_sha || mask.arp_tha != FlowKey::ZERO.arp_tha);
    let discovery = options || mask.nd_target != 0;
    if discovery && key.nw_proto == IP_PROTO_ICMPV6 {
        mask.tp_src.set(u8::MAX.into());
    }
    if discovery || mask.tp_src != 0 || mask.tp_dst != 0 || mask.tcp_flags != 0 || mask.igmp_group != 0 {
        mask.nw_proto = u8::MAX;
    }
}

#[cfg(test)]
mod tests {
    use ovs_packet::key::FlowMask;
    use ovs_packet::{EthAddr, Match};

    use super::*;

    /// What a mask with bits of these fields has of the protocol and of the type, in a packet like this.
    fn required(fill: impl Fn(&mut FlowKey), packet: &str) -> (u8, u16) {
        let mut mask = FlowMask::EMPTY;
        fill(&mut mask.bits);
        require(&mut mask.bits, &packet.parse::<Match>().unwrap().key());
        (mask.bits.nw_proto, mask.bits.tp_src.get())
    }

    #[test]
    fn ports_need_their_protocol_in_every_packet_over_ip() {
        for packet in ["tcp", "udp6", "icmp", "ip,nw_proto=47", "icmp6"] {
            assert_eq!(required(|m| m.tp_dst.set(0xfff0), packet).0, 0xff, "{packet}");
            assert_eq!(required(|m| m.tp_src.set(1), packet), (0xff, 1), "{packet}");
            assert_eq!(required(|m| m.tcp_flags.set(2), packet).0, 0xff, "{packet}");
            assert_eq!(required(|m| m.nw_ttl = 1, packet).0, 0, "addresses and the like need none: {packet}");
        }
        assert_eq!(required(|m| m.tp_dst.set(1), "arp").0, 0, "there it is the operation");
    }

    #[test]
    fn neighbour_discovery_needs_its_type() {
        let target = |m: &mut FlowKey| m.nd_target.set(1 << 127);
        let address = |m: &mut FlowKey| m.arp_tha = EthAddr::BROADCAST;
        for packet in ["icmp6,icmp_type=135,icmp_code=0", "icmp6,icmp_type=1", "icmp6,icmp_type=136,icmp_code=7"] {
            assert_eq!((required(target, packet), required(address, packet)), ((0xff, 0xff), (0xff, 0xff)), "{packet}");
        }
        assert_eq!(required(target, "tcp6"), (0xff, 0), "ports are not asked for");
        assert_eq!((required(address, "icmp"), required(address, "arp")), ((0, 0), (0, 0)), "those are of ARP");
    }
}

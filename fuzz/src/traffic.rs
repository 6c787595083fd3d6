//! Packets that meet: of few hosts, ports and protocols, so that a short input makes connections and megaflows.

use arbitrary::{Result, Unstructured};
use ovs_packet::{FlowKey, Match, Packet, compose};

const L2: &[&str] = &["", "dl_vlan=5,dl_vlan_pcp=1,", "dl_vlan=6,"];
const FLAGS: &[&str] = &["syn", "syn|ack", "ack", "fin|ack", "rst", "psh|ack"];

/// A packet of the input's choice. `from` is where it comes from: its addresses tell, and nobody else has them.
pub(crate) fn packet(u: &mut Unstructured, from: u8) -> Result<Packet> {
    let to = 1 + (from - 1 + u.int_in_range(1..=2)?) % 3;
    let l2 = *u.choose(L2)?;
    let ends = format!("{l2}dl_src=02:00:00:00:00:0{from},dl_dst=02:00:00:00:00:0{to}");
    let v4 = format!("{ends},nw_src=10.0.0.{from},nw_dst=10.0.0.{to},nw_ttl={}", u.int_in_range(0..=3)?);
    let v6 = format!("{ends},ipv6_src=fe80::{from},ipv6_dst=fe80::{to},nw_ttl=64");
    let ports = if from < to { "tp_src=1000,tp_dst=80" } else { "tp_src=80,tp_dst=1000" };
    let (text, payload) = match u.int_in_range(0..=8)? {
        0 | 1 => (format!("tcp,{v4},{ports},tcp_flags={}", u.choose(FLAGS)?), &b""[..]),
        2 => (format!("udp,{v4},{ports}"), &b"payload"[..]),
        3 => (format!("icmp,{v4},icmp_type={},icmp_code=0", if u.arbitrary()? { 8 } else { 0 }), &[0; 4][..]),
        4 => (format!("arp,{ends},arp_op=1,arp_spa=10.0.0.{from},arp_tpa=10.0.0.{to}"), &b""[..]),
        5 => (format!("tcp6,{v6},{ports},tcp_flags={}", u.choose(FLAGS)?), &b""[..]),
        6 => (format!("udp6,{v6},{ports}"), &b"6"[..]),
        7 => (format!("udp,{v4},nw_frag=later"), &b"fragment"[..]),
        _ => (format!("dl_type=0x1234,{ends}"), &[7; 46][..]),
    };
    let key: Match = text.parse().expect("a match of ours");
    let mut packet = compose::compose(key.key(), payload);
    // Now and then a packet that is not as it should be.
    if u.ratio(1, 8)? {
        let at = u.int_in_range(12..=packet.len() - 1)?;
        packet.data_mut()[at] ^= u.arbitrary::<u8>()?;
        packet.truncate(u.int_in_range(0..=packet.len())?);
    }
    Ok(packet)
}

/// The packet's key.
pub(crate) fn key_of(packet: &mut Packet) -> FlowKey {
    let mut key = FlowKey::ZERO;
    ovs_packet::extract::extract(packet, &mut key);
    key
}

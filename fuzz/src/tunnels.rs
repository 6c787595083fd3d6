//! Outer headers of tunnels, taken off whatever claims to have them.

use ovs_packet::packet::L4Checksum;
use ovs_packet::tunnel::{Finish, Header, Kind, Varying, pop, push};
use ovs_packet::wire::bareudp;
use ovs_packet::{FlowKey, Packet, extract};

/// A packet for a tunnel's end; the first byte says of which kind. What is refused stays as it is. What is popped, and put
/// behind the same header again, comes out the same.
pub fn tunnel_pop(data: &[u8]) {
    let Some((which, data)) = data.split_first() else { return };
    let mpls = bareudp::Mode { eth_type: 0x8847, multiprotocol: which & 0x80 != 0 };
    let kinds = [
        Kind::Vxlan { gbp: true, gpe: true },
        Kind::Vxlan { gbp: false, gpe: false },
        Kind::Geneve,
        Kind::Gre,
        Kind::Erspan,
        Kind::Gtpu,
        Kind::Srv6,
        Kind::Bareudp(mpls),
    ];
    let kind = kinds[usize::from(which % 8)];
    let mut packet = Packet::from_slice(data);
    // Half of them with checksums that somebody found right, so that what is behind them is reached.
    if which & 0x40 != 0 {
        packet.offload.l4 = L4Checksum::Good;
    }
    let Ok(()) = pop(&mut packet, kind) else {
        assert_eq!(packet.data(), data);
        assert!(packet.tunnel.is_none());
        return;
    };
    assert!(data.ends_with(packet.data()));
    let tunnel = packet.tunnel.as_deref().expect("it was popped").clone();
    let mut key = FlowKey::ZERO;
    extract::extract(&mut packet, &mut key);
    // With this header in front it is popped again, to the same; without a checksum, which one of UDP may be.
    let header = &data[..data.len() - packet.len()];
    let udp = Finish::Udp { checksum: false, source: Some(tunnel.tp_src) };
    let finish = match kind {
        Kind::Vxlan { .. } | Kind::Geneve | Kind::Bareudp(_) => udp,
        Kind::Gre => Finish::Gre,
        _ => return,
    };
    let Ok(header) = Header::new(header.to_vec(), finish) else { return };
    let (inner, packet_type) = (packet.data().to_vec(), packet.meta.packet_type);
    packet.offload = Default::default();
    if push(&mut packet, &header, Varying::default()).is_ok() && pop(&mut packet, kind).is_ok() {
        assert_eq!((packet.data(), packet.meta.packet_type), (&inner[..], packet_type));
        assert_eq!(packet.tunnel.as_deref().map(|again| again.id), Some(tunnel.id));
    }
}

/// Seeds: a packet of each kind.
pub fn tunnel_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let ip = |proto: u8, behind: &[u8]| {
        let len = (20 + behind.len()) as u16;
        let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
        bytes.extend(len.to_be_bytes());
        bytes.extend([0, 0, 0x40, 0, 64, proto, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
        let sum = ovs_packet::checksum::checksum(&bytes[14..34]).to_be_bytes();
        bytes[24..26].copy_from_slice(&sum);
        bytes.extend(behind);
        bytes
    };
    let udp = |port: u16, behind: &[u8]| {
        let mut bytes = vec![0x80, 0];
        bytes.extend(port.to_be_bytes());
        bytes.extend((8 + behind.len() as u16).to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(behind);
        ip(17, &bytes)
    };
    let frame = [&[2, 0, 0, 0, 0, 3, 2, 0, 0, 0, 0, 4, 0x88, 0xb5][..], &[7; 20]].concat();
    let with = |header: &[u8]| [header, &frame].concat();
    let packets = [
        ("vxlan-gpe", 0, udp(4789, &with(&[0x0c, 0, 0, 3, 0, 0, 7, 0]))),
        ("vxlan", 1, udp(4789, &with(&[8, 0, 0, 0, 0, 0, 7, 0]))),
        ("geneve", 2, udp(6081, &with(&[2, 0x40, 0x65, 0x58, 0, 0, 7, 0, 1, 2, 0x80, 1, 9, 9, 9, 9]))),
        ("gre", 3, ip(47, &with(&[0x20, 0, 0x65, 0x58, 0, 0, 0, 7]))),
        ("erspan", 4, ip(47, &with(&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 0, 0, 7, 0, 0, 0, 3]))),
        (
            "gtpu",
            5,
            udp(
                2152,
                &[0x30, 255, 0, 20, 0, 0, 0, 7, 0x45, 0, 0, 20, 0, 0, 0, 0, 64, 59, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2],
            ),
        ),
        ("bareudp", 7, udp(6635, &[0, 0, 0x11, 64, 1, 2, 3])),
    ];
    packets.into_iter().map(|(name, which, bytes)| (name, [&[which][..], &bytes].concat())).collect()
}

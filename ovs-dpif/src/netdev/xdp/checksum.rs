//! Frames whose transport checksum their sender left to a card that there is none of.
//!
//! The kernel's stack sums only the pseudo-header when the interface says that it does the rest, and a veth pair says so. What
//! was left undone stands in the frame's metadata, which AF_XDP does not show. But it shows in the frame: the field holds the
//! folded sum of the pseudo-header, which a checksum that was computed is but by chance, one time in 65,536; and of such a
//! frame the whole sum tells which it is.

use ovs_packet::checksum;

const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Where the transport header of a frame begins, and where in it the checksum stands, if that is still to be computed.
pub(super) fn left_undone(frame: &[u8]) -> Option<(usize, usize)> {
    let mut at = 12;
    let mut ethertype = frame.get(at..)?.first_chunk::<2>()?;
    while matches!(ethertype, [0x81, 0x00] | [0x88, 0xa8]) {
        at += 4;
        ethertype = frame.get(at..)?.first_chunk::<2>()?;
    }
    let ip = at + 2;
    let header = frame.get(ip..)?;
    let (proto, addresses, len) = match *ethertype {
        IPV4 => {
            let fixed = header.first_chunk::<20>()?;
            let [first, _, l0, l1, _, _, f0, f1, _, proto, _, _, addresses @ ..] = fixed;
            let fragment = u16::from_be_bytes([*f0, *f1]) & 0x3fff != 0;
            let len = usize::from(first & 0x0f) * 4;
            if first >> 4 != 4 || len < 20 || fragment {
                return None;
            }
            let payload = usize::from(u16::from_be_bytes([*l0, *l1])).checked_sub(len)?;
            (*proto, &addresses[..], (len, payload))
        }
        IPV6 => {
            let fixed = header.first_chunk::<40>()?;
            let [first, _, _, _, l0, l1, proto, _, addresses @ ..] = fixed;
            if first >> 4 != 6 {
                return None;
            }
            (*proto, &addresses[..], (40, usize::from(u16::from_be_bytes([*l0, *l1]))))
        }
        _ => return None,
    };
    let offset = match proto {
        TCP => 16,
        UDP => 6,
        _ => return None,
    };
    let (header_len, payload) = len;
    let segment = header.get(header_len..header_len + payload)?;
    let field = segment.get(offset..)?.first_chunk::<2>()?;
    let pseudo = checksum::sum(addresses, u64::from(proto) + payload as u64);
    let undone = u16::from_be_bytes(*field) == checksum::fold(pseudo)
        && checksum::fold(checksum::sum(segment, pseudo)) != 0xffff;
    undone.then_some((ip + header_len, offset))
}

#[cfg(test)]
mod tests {
    use ovs_packet::packet::L4Checksum;
    use ovs_packet::{FlowKey, Match, Packet, compose, extract, segment};

    use super::*;

    fn packet(text: &str, payload: &[u8]) -> Packet {
        let m: Match = text.parse().unwrap();
        let mut packet = compose::compose(m.key(), payload);
        extract::extract(&mut packet, &mut FlowKey::ZERO.clone());
        packet
    }

    const TEXTS: [&str; 5] = [
        "tcp,nw_src=10.1.0.1,nw_dst=10.1.0.9,tp_dst=80",
        "udp,nw_src=10.1.0.1,nw_dst=10.1.0.9,tp_dst=80",
        "tcp6,ipv6_src=fd00::1,ipv6_dst=fd00::9,tp_dst=80",
        "udp6,ipv6_src=fd00::1,ipv6_dst=fd00::9,tp_dst=80,dl_vlan=7",
        "tcp,nw_src=10.1.0.1,nw_dst=10.1.0.9,tp_dst=80,dl_vlan=7,dl_vlan_pcp=3",
    ];

    #[test]
    fn work_that_was_left_shows_in_the_frame() {
        for text in TEXTS {
            for len in [0, 1, 1000] {
                let done = packet(text, &vec![0x5a; len]);
                assert_eq!(left_undone(done.data()), None, "{text}");
                let mut partial = done.clone();
                segment::make_partial(&mut partial);
                let L4Checksum::Partial { start, offset } = partial.offload.l4 else { panic!("{text}") };
                assert_eq!(left_undone(partial.data()), Some((start, offset)), "{text}");
                // Padding is not part of it.
                partial.extend(&[9; 7]);
                assert_eq!(left_undone(partial.data()), Some((start, offset)), "{text}");
            }
        }
    }

    #[test]
    fn what_is_wrong_otherwise_is_left_alone() {
        for text in TEXTS {
            let good = packet(text, b"payload");
            for cut in 0..good.len() {
                let _ = left_undone(&good.data()[..cut]);
            }
            for bit in 0..good.len() * 8 {
                let mut damaged = good.clone();
                damaged.data_mut()[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(left_undone(damaged.data()), None, "{text}, bit {bit}");
            }
        }
        let fragment = packet("udp,nw_src=10.1.0.1,nw_dst=10.1.0.9,nw_frag=first", b"payload");
        assert_eq!(left_undone(fragment.data()), None);
    }

    /// A checksum that was computed, and is the pseudo-header's sum by chance: the payload is chosen so.
    #[test]
    fn chance_is_told_from_work_left() {
        let text = "udp,nw_src=10.1.0.1,nw_dst=10.1.0.9,tp_dst=80";
        let found = (0..=u16::MAX).find_map(|n| {
            let p = packet(text, &n.to_be_bytes());
            let pseudo = checksum::sum(&p.data()[26..34], u64::from(UDP) + 10);
            (p.data()[40..42] == checksum::fold(pseudo).to_be_bytes()).then_some(p)
        });
        assert_eq!(left_undone(found.unwrap().data()), None);
    }
}

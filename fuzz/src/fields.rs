//! Edits in sequence, and tunnel options between the wire and the fields.

use arbitrary::{Result, Unstructured};
use ovs_packet::edit::{self, EditError};
use ovs_packet::extract::{IP_PROTO_SCTP, IP_PROTO_UDP, extract};
use ovs_packet::field::{KeyAttr, TlvMapping, TlvTable, TunOption};
use ovs_packet::key::WORDS;
use ovs_packet::{EthAddr, FlowKey, FlowMask, Match, Packet, checksum, compose};

const ATTRS: &[KeyAttr] = {
    use KeyAttr::*;
    &[Ethernet, Vlan, Ipv4, Ipv6, Tcp, Udp, Sctp, Icmp, Icmpv6, Arp, Nd, NdExtensions, Mpls, Nsh]
};

fn words(u: &mut Unstructured) -> Result<FlowKey> {
    let seed: [u64; 3] = u.arbitrary()?;
    Ok(FlowKey::from_words(core::array::from_fn::<_, WORDS, _>(|i| seed[i % 3].rotate_left(i as u32))))
}

/// One thing done to a packet.
fn step(u: &mut Unstructured, packet: &mut Packet) -> Result<std::result::Result<(), EditError>> {
    Ok(match u.int_in_range(0..=13u8)? {
        0 => {
            edit::push_vlan(packet, 0x8100, u.arbitrary()?);
            Ok(())
        }
        1 => {
            edit::pop_vlan(packet);
            Ok(())
        }
        2 => edit::push_mpls(packet, 0x8847, u.arbitrary()?),
        3 => edit::pop_mpls(packet, u.arbitrary()?),
        4 => edit::push_eth(packet, EthAddr(u.arbitrary()?), EthAddr(u.arbitrary()?)),
        5 => edit::pop_eth(packet),
        6 => edit::dec_ttl(packet).map(drop),
        7 => edit::dec_mpls_ttl(packet).map(drop),
        8 => edit::dec_nsh_ttl(packet).map(drop),
        9 => {
            let header = words(u)?;
            edit::push_nsh(packet, &header, &[0; 4])
        }
        10 => edit::pop_nsh(packet),
        11 => edit::add_mpls(packet, 0x8847, u.arbitrary()?),
        _ => {
            let (attr, values, bits) = (*u.choose(ATTRS)?, words(u)?, words(u)?);
            edit::set(packet, attr, &values, &FlowMask { bits })
        }
    })
}

/// What the transport's checksum is off by, as its protocol counts; none where there is none.
fn off_by(packet: &Packet) -> Option<u32> {
    let layers = packet.layers();
    let at = layers.l4?
        + match layers.l4_proto {
            6 => 16,
            IP_PROTO_UDP => 6,
            1 | 58 => 2,
            IP_PROTO_SCTP => 8,
            _ => return None,
        };
    let mut right = packet.clone();
    compose::write_l4_checksum(&mut right);
    let field = |p: &Packet| p.data().get(at..).and_then(|d| d.first_chunk::<4>()).map(|b| u32::from_be_bytes(*b));
    let (is, should) = (field(packet)?, field(&right)?);
    match layers.l4_proto {
        IP_PROTO_SCTP => Some(is ^ should),
        // None at all.
        IP_PROTO_UDP if is >> 16 == 0 => None,
        _ => Some(((is >> 16) + 0xffff - (should >> 16)) % 0xffff),
    }
}

/// A frame behind the edits that are done to it: what fails changes nothing, and right checksums stay right, wrong ones
/// wrong by as much.
pub fn edit_sequence(data: &[u8]) {
    let _ = sequence(&mut Unstructured::new(data));
}

fn sequence(u: &mut Unstructured) -> Result<()> {
    // The edits first, of a length each, so that whatever is left is the frame.
    let plan: Vec<[u8; 49]> = (0..u.int_in_range(1..=6)?).map(|_| u.arbitrary()).collect::<Result<_>>()?;
    let mut packet = Packet::from_slice(u.bytes(u.len())?);
    if extract(&mut packet, &mut FlowKey::ZERO.clone()).malformed.is_some() {
        return Ok(());
    }
    for bytes in plan {
        let before = packet.clone();
        let off = off_by(&packet);
        match step(&mut Unstructured::new(&bytes), &mut packet)? {
            Err(e) => {
                assert!(!e.to_string().is_empty());
                assert_eq!(
                    (packet.data(), packet.meta, packet.layers()),
                    (before.data(), before.meta, before.layers()),
                    "{e}"
                );
            }
            Ok(()) => {
                // NSH hides what it carries.
                let (then, now) = (off, off_by(&packet));
                assert!(then.is_none() || now.is_none() || then == now, "{then:?} became {now:?}");
            }
        }
        let present = [packet.layers().l2_5, packet.layers().l3, packet.layers().l4];
        assert!(present.iter().flatten().all(|at| *at <= packet.len()), "{:?} of {}", packet.layers(), packet.len());
    }
    let _ = checksum::checksum(packet.data());
    Ok(())
}

/// A table of options, then options as on the wire: what can be read is written again, and its mask with it.
pub fn tunnel_options(data: &[u8]) {
    let _ = options(&mut Unstructured::new(data));
}

fn options(u: &mut Unstructured) -> Result<()> {
    let mut table = TlvTable::default();
    for _ in 0..u.int_in_range(0..=12)? {
        // Few classes and types, so that the options below hit them.
        let (class, kind) = (u.int_in_range(0..=2)?, u.int_in_range(0..=3u8)? << 6);
        let (len, index) = (u.int_in_range(0..=33u8)? * 4, u.int_in_range(0..=64)?);
        let _ = table.add(&[TlvMapping { class, kind, len, index }]);
        if u.ratio(1, 8)? {
            let _ = table.delete(&[u.arbitrary()?], u.arbitrary()?);
        }
    }
    let total: usize = table.mappings().map(|m| usize::from(m.len)).sum();
    assert_eq!(table.used_bytes(), total);

    // A match in words finds its place and its way back.
    let mut m = Match::ANY;
    for mapping in table.mappings() {
        let value: [u8; 4] = u.arbitrary()?;
        let option = TunOption::exact(&value[..value.len().min(mapping.len.into())]).expect("short");
        m.set_tun_option(mapping.index.into(), &option).expect("no more than the table has");
    }
    let placed = table.place(&m).expect("all are mapped");
    assert_eq!(table.place(&table.lift(&placed)), Ok(placed));

    let mut raw = FlowKey::ZERO;
    let bytes = u.bytes(u.len().min(256))?;
    raw.tun_present = (bytes.len() as u64).into();
    raw.tun_metadata[..bytes.len()].copy_from_slice(bytes);
    let Ok(key) = table.unpack(&raw) else { return Ok(()) };
    let again = table.pack(&key).expect("no more than there was");
    assert_eq!(table.unpack(&again), Ok(key));
    let mut all = FlowMask::EMPTY;
    table.mappings().for_each(|mapping| table.add_to_mask(&mut all, mapping.index.into()));
    let mask = table.pack_mask(&raw, &all).expect("the key was read");
    let fields = table.unpack_mask(&raw, &mask).expect("the key was read");
    assert!(all.covers(&fields));
    // A datapath's key that agrees on the mask has the same fields.
    let mut other = FlowKey::from_words([0x5555_5555_5555_5555; WORDS]);
    other.assign(&raw, &mask);
    let seen = table.unpack(&other).expect("headers are whole in the mask");
    assert!(table.mappings().all(|m| table.get(&seen, m.index.into()) == table.get(&key, m.index.into())));
    Ok(())
}

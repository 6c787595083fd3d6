//! Extraction beyond one frame: packets one after another in one key, with metadata, in batches, with other limits.

use arbitrary::{Result, Unstructured};
use ovs_packet::extract::{Extractor, KeyBuffer, extract};
use ovs_packet::hash::HashFields;
use ovs_packet::packet::{BATCH, CtState, OriginalTuple, Tunnel, TunnelAddresses, TunnelFlags};
use ovs_packet::{FlowKey, FlowMask, Packet, segment};

/// Keys that are used again hold what fresh ones do; padding has no part in a key; a tunnel reads back from the key; a
/// hash depends on what its mask says alone; checking checksums changes no byte.
pub fn frame_sequence(data: &[u8]) {
    let _ = sequence(&mut Unstructured::new(data));
}

fn sequence(u: &mut Unstructured) -> Result<()> {
    let extractor = Extractor::new().with_vlan_limit(u.int_in_range(0..=3)?);
    let mut packets = Vec::new();
    while !u.is_empty() && packets.len() < BATCH {
        packets.push(packet(u)?);
    }
    let mut buffer = KeyBuffer::default();
    let mut buffers = vec![KeyBuffer::default(); packets.len()];
    extractor.extract_batch(&mut packets, &mut buffers);
    let mut last = FlowKey::ZERO;
    for (packet, batched) in packets.iter_mut().zip(&buffers) {
        let mut key = last;
        let extraction = extractor.extract(packet, &mut key);
        assert_eq!((extractor.extract_into(packet, &mut buffer), *buffer.key()), (extraction, key));
        assert_eq!((batched.extraction(), *batched.key()), (extraction, key));
        assert_eq!((extractor.extract_again(packet, &mut buffer), *buffer.key()), (extraction, key));
        for (i, block) in key.words().as_chunks::<8>().0.iter().enumerate() {
            assert!(extraction.blocks.contains(i) || *block == [0; 8], "block {i} is not in {:?}", extraction.blocks);
        }
        let tunnel = packet.tunnel.as_deref().filter(|tunnel| match tunnel.addresses {
            TunnelAddresses::V4 { dst, .. } => !dst.is_unspecified(),
            TunnelAddresses::V6 { dst, .. } => !dst.is_unspecified(),
        });
        if tunnel.is_some() {
            assert_eq!(Tunnel::of_key(&key).as_ref(), tunnel);
        }

        let layers = packet.layers();
        let mut bare = packet.clone();
        bare.truncate(packet.len() - layers.l2_pad);
        let mut of_bare = FlowKey::ZERO;
        assert_eq!(extractor.extract(&mut bare, &mut of_bare), extraction);
        assert_eq!((of_bare, bare.layers().l4, bare.layers().l2_pad), (key, layers.l4, 0));

        for fields in HashFields::ALL {
            let mut mask = FlowMask::EMPTY;
            fields.mask(&key, &mut mask);
            let mut other = last;
            other.assign(&key, &mask);
            assert_eq!(fields.hash(&key, 1), fields.hash(&other, 1), "{fields}");
        }
        let before = packet.data().to_vec();
        segment::verify(packet, &key);
        assert_eq!(packet.data(), before);
        last = key;
    }
    // What was read with the default limit is what the plain function reads.
    if let Some(packet) = packets.first_mut() {
        let (mut a, mut b) = (FlowKey::ZERO, FlowKey::ZERO);
        assert_eq!(extract(packet, &mut a), Extractor::new().extract(packet, &mut b));
        assert_eq!(a, b);
    }
    Ok(())
}

fn packet(u: &mut Unstructured) -> Result<Packet> {
    let (kind, rare): (u8, u8) = u.arbitrary()?;
    let len = usize::from(u.arbitrary::<u8>()?);
    let mut packet = Packet::from_slice(u.bytes(len.min(u.len()))?);
    packet.meta.in_port = kind.into();
    packet.meta.packet_type = [0, 0, 0, 0x1_0800, 0x1_86dd, 0x1_8847, 0x1_894f, u32::from(rare)][usize::from(kind % 8)];
    if rare & 1 != 0 {
        packet.meta.pkt_mark = u.arbitrary()?;
    }
    if rare & 2 != 0 {
        packet.meta.ct.state = CtState::from_bits_retain(u.arbitrary()?);
        packet.meta.ct.label = u.arbitrary()?;
        let (proto, tp_src, tp_dst) = u.arbitrary()?;
        packet.meta.ct.original = Some(if rare & 4 != 0 {
            OriginalTuple::V4 { src: u.arbitrary()?, dst: u.arbitrary()?, proto, tp_src, tp_dst }
        } else {
            OriginalTuple::V6 { src: u.arbitrary()?, dst: u.arbitrary()?, proto, tp_src, tp_dst }
        });
    }
    if rare & 8 != 0 {
        let addresses = if rare & 16 != 0 {
            TunnelAddresses::V4 { src: u.arbitrary()?, dst: u.arbitrary()? }
        } else {
            TunnelAddresses::V6 { src: u.arbitrary()?, dst: u.arbitrary()? }
        };
        let len = usize::from(u.arbitrary::<u8>()?).min(u.len());
        let options = u.bytes(len)?.iter().copied().collect();
        let flags = TunnelFlags::from_bits_retain(u.arbitrary()?);
        packet.tunnel =
            Some(Box::new(Tunnel { id: u.arbitrary()?, flags, ttl: rare, options, ..Tunnel::new(addresses) }));
    }
    Ok(packet)
}

//! Frames: extraction, editing, composing, segmentation, capture files.

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use ovs_packet::extract::{
    ETH_TYPE_MPLS, ETH_TYPE_MPLS_MCAST, ETH_TYPE_VLAN, ETH_TYPE_VLAN_SERVICE, KeyBuffer, extract,
};
use ovs_packet::field::{FieldId, KeyAttr};
use ovs_packet::key::SparseKey;
use ovs_packet::packet::{Gso, GsoKind, Layers};
use ovs_packet::{FlowKey, FlowMask, Match, Packet, checksum, compose, edit, hash, pcap, segment};

/// The key of a packet, with what extraction says of it.
fn read(packet: &mut Packet) -> (FlowKey, ovs_packet::extract::Extraction) {
    let mut key = FlowKey::ZERO;
    let extraction = extract(packet, &mut key);
    (key, extraction)
}

/// Extraction: a buffer that was used before gives what a fresh key does, layers are in the packet and in order, what
/// lies outside the blocks is zero, and a tag that is pushed and popped leaves nothing behind.
pub fn frame_extract(data: &[u8]) {
    let mut packet = Packet::from_slice(data);
    let (key, extraction) = read(&mut packet);
    assert_eq!(packet.data(), data);

    let busy: Match =
        "icmp6,icmp_type=135,icmp_code=0,nd_target=::5,nd_sll=2:0:0:0:0:1,dl_vlan=5,ipv6_src=::1,pkt_mark=7"
            .parse()
            .expect("a match");
    let mut buffer = KeyBuffer::default();
    buffer.extract(&mut compose::compose(busy.key(), b""));
    assert_eq!(buffer.extract(&mut packet), extraction);
    assert_eq!(*buffer.key(), key);

    let Layers { l2_5, l3, l4, l4_proto, l2_pad } = packet.layers();
    let present: Vec<usize> = [l2_5, l3, l4].into_iter().flatten().collect();
    assert!(present.is_sorted() && present.iter().all(|at| *at <= data.len()), "{:?}", packet.layers());
    assert!(l2_pad + l3.unwrap_or(0) <= data.len());
    assert!(l4.is_some() || l4_proto == 0 || extraction.malformed.is_some() || key.nw_frag != 0 || l3.is_some());

    for (i, block) in key.words().as_chunks::<8>().0.iter().enumerate() {
        assert!(extraction.blocks.contains(i) || *block == [0; 8], "block {i} is not in {:?}", extraction.blocks);
    }
    assert_eq!(FlowKey::from(&SparseKey::from(&key)), key);
    assert_eq!(key.hash(extraction.blocks, 1), buffer.key().hash(buffer.blocks(), 1));
    hash::five_tuple(&key, 1);
    assert!(Match::exact_non_zero(key).matches(&key));
    assert!(!ovs_dpif::text::exact_key(&key).to_string().is_empty());

    edit::push_vlan(&mut packet, 0x8100, 0x2005);
    if data.len() >= 14 {
        let (tagged, _) = read(&mut packet);
        assert_eq!((packet.len(), tagged.vlan_tci.get()), (data.len() + 4, 0x3005));
    }
    edit::pop_vlan(&mut packet);
    if data.len() >= 14 {
        assert_eq!(packet.data(), data);
    }
}

/// Composing the key of any whole packet gives a packet that has it. But for label stacks deeper than a key keeps, and
/// for VLAN tags behind an 802.3 length (SNAP), which are none to a key, and would be if they were composed.
pub fn frame_compose(data: &[u8]) {
    let (key, extraction) = read(&mut Packet::from_slice(data));
    let mpls = matches!(key.eth_type.get(), ETH_TYPE_MPLS | ETH_TYPE_MPLS_MCAST);
    let deep = mpls && key.mpls_lse.iter().all(|lse| lse.get() & 0x100 == 0);
    let snap = matches!(key.eth_type.get(), ETH_TYPE_VLAN | ETH_TYPE_VLAN_SERVICE) && key.inner_vlan_tci == 0;
    if extraction.malformed.is_none() && !deep && !snap {
        let mut again = compose::compose(key, b"payload");
        let (read_back, extraction) = read(&mut again);
        assert_eq!(extraction.malformed, None);
        assert_eq!(read_back, key);
    }
}

/// Attributes, with the fields of each that can change without making the packet one of another kind.
const EDITS: &[(KeyAttr, &[FieldId])] = {
    use FieldId::*;
    use KeyAttr as A;
    &[
        (A::Ethernet, &[EthSrc, EthDst]),
        (A::Vlan, &[DlVlan, VlanPcp]),
        (A::Mpls, &[MplsLabel, MplsTc, MplsTtl]),
        (A::Ipv4, &[NwSrc, NwDst, NwTos, NwEcn, NwTtl]),
        (A::Ipv6, &[Ipv6Src, Ipv6Dst, Ipv6Label, NwTos, NwEcn, NwTtl]),
        (A::Tcp, &[TcpSrc, TcpDst]),
        (A::Udp, &[UdpSrc, UdpDst]),
        (A::Sctp, &[SctpSrc, SctpDst]),
        (A::Icmp, &[IcmpType, IcmpCode]),
        (A::Arp, &[ArpSpa, ArpTpa, ArpSha, ArpTha]),
        (A::Nd, &[NdTarget]),
        (A::SkbMark, &[PktMark]),
    ]
};

/// Edits of the input's choice, then its frame: an edit keeps the length, gives the packet of the edited key, keeps
/// right checksums right, and changes nothing where it does not fit.
pub fn frame_edit(data: &[u8]) {
    let _ = edits(&mut Unstructured::new(data));
}

fn edits(u: &mut Unstructured) -> Result<()> {
    let mut plan = Vec::new();
    for _ in 0..u.int_in_range(1..=4)? {
        let (attr, fields) = *u.choose(EDITS)?;
        let (mut values, mut mask) = (FlowKey::ZERO, FlowMask::EMPTY);
        let whole: bool = u.arbitrary()?;
        for field in fields {
            let bits: [u64; 2] = [u.arbitrary()?, u.arbitrary()?];
            field.info().put(&mut values, u128::from(bits[0]).wrapping_mul(0x1_0000_0001_0000_0001));
            field
                .info()
                .put(&mut mask.bits, if whole { u128::MAX } else { u128::from(bits[1]) << 64 | u128::from(bits[1]) });
        }
        plan.push((attr, fields, values, mask));
    }
    let mut packet = Packet::from_slice(u.bytes(u.len())?);
    let (mut key, extraction) = read(&mut packet);
    for (attr, fields, values, mask) in plan {
        let before = packet.clone();
        let had = |packet: &Packet| {
            let mut right = packet.clone();
            compose::write_l4_checksum(&mut right);
            let l3 = packet.layers().l3.and_then(|at| packet.data().get(at..)?.first_chunk::<20>());
            (right.data() == packet.data(), l3.is_some_and(|header| checksum::checksum(header) == 0))
        };
        let (l4_right, ip_right) = had(&packet);
        if edit::set(&mut packet, attr, &values, &mask).is_err() {
            assert_eq!((packet.data(), packet.meta), (before.data(), before.meta));
            continue;
        }
        assert_eq!(packet.len(), before.len());
        // A packet of another protocol is whoever asks for the edit's concern; its length is ours.
        let fits = fields.iter().all(|f| f.info().prereq.holds(&key));
        if !fits || extraction.malformed.is_some() {
            return Ok(());
        }
        key.assign(&values, &mask);
        assert_eq!(read(&mut packet).0, key, "after {attr:?}");
        assert!(!l4_right || had(&packet).0, "a right transport checksum is wrong after {attr:?}");
        assert!(attr != KeyAttr::Ipv4 || !ip_right || had(&packet).1, "a right header checksum is wrong");
    }
    Ok(())
}

/// Segmentation: no byte of the payload is lost or made up, and no segment is longer than was asked for.
pub fn frame_segment(data: &[u8]) {
    let _ = segments(&mut Unstructured::new(data));
}

fn segments(u: &mut Unstructured) -> Result<()> {
    let kind = *u.choose(&[GsoKind::TcpV4, GsoKind::TcpV6, GsoKind::Udp])?;
    let gso = Gso { kind, size: u.int_in_range(0..=1500)?, ecn: u.arbitrary()? };
    let mut packet = Packet::from_slice(u.bytes(u.len())?);
    read(&mut packet);
    segment::make_partial(&mut packet);
    let whole = packet.clone();
    packet.offload.gso = Some(gso);
    let parts = segment::finish(packet);
    if let [alone] = &parts[..] {
        assert_eq!(alone.len(), whole.len());
        return Ok(());
    }
    let header = parts[0].len() - usize::from(gso.size);
    let (sent, asked): (Vec<u8>, _) = (parts.iter().flat_map(|p| &p.data()[header..]).copied().collect(), whole.l4());
    assert!(asked.ends_with(&sent), "{} parts", parts.len());
    assert!(parts.iter().all(|p| p.len() <= header + usize::from(gso.size)));
    Ok(())
}

/// Capture files: what was read is read again from what is written.
pub fn pcap_file(data: &[u8]) {
    let Ok(reader) = pcap::Reader::new(data) else { return };
    let records: Vec<_> = reader.map_while(std::result::Result::ok).collect();
    assert!(records.len() <= data.len() / 16);
    let mut file = Vec::new();
    let mut writer = pcap::Writer::new(&mut file).expect("memory takes it");
    for record in &records {
        // The format has 32 bits of seconds.
        let time = record.time.min(Duration::new(u32::MAX.into(), 999_999_999));
        writer.write(time, &record.data).expect("memory takes it");
    }
    let again: Vec<_> = pcap::Reader::new(&file[..]).expect("ours").map(|r| r.expect("ours").data).collect();
    assert!(again.iter().eq(records.iter().map(|r| &r.data)));
}

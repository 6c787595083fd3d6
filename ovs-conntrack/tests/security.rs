//! Packets that once read past a buffer in another connection tracker, and bytes that nobody thought of.

mod common;

use common::{Lab, icmp, icmp_error, packet, state, tcp, with_payload};
use ovs_conntrack::{CtRequest, InvalidReason, Outcome};
use ovs_packet::{FlowKey, Packet, compose, extract};
use proptest::prelude::*;

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

/// The frame is `+inv+trk` for `reason`, as it is and with its transport checksum, if it has one, put right.
#[track_caller]
fn assert_invalid(hex: &str, reason: InvalidReason) {
    let mut packet = Packet::from_slice(&bytes(hex));
    for round in 0..2 {
        let mut lab = Lab::new();
        let outcome = lab.track(&mut packet, &CtRequest::commit(0));
        assert_eq!(packet.meta.ct.state, state("inv"));
        assert!(lab.tracker.is_empty());
        if round == 1 {
            assert_eq!(outcome, Outcome::Invalid(reason));
        }
        compose::write_l4_checksum(&mut packet);
    }
}

#[test]
fn cve_2017_9264_tcp4() {
    // IPv4 with 4 bytes of TCP.
    assert_invalid(
        "50540000000a50540000000908004500001800010000400666dd0a0000010a00000204000050",
        InvalidReason::Malformed,
    );
}

#[test]
fn cve_2017_9264_udp_len() {
    // A UDP length of 0x400 in a datagram of 12 bytes.
    assert_invalid(
        "50540000000a50540000000908004500002000010000401166ca0a0000010a00000203e800350400000061626364",
        InvalidReason::Malformed,
    );
}

#[test]
fn cve_2017_9264_icmp6_inner() {
    // An ICMPv6 error with 20 bytes of the packet it is about, half a header.
    assert_invalid(
        "50540000000a50540000000986dd60000000001c3afffe800000000000000000000000000001fe800000000000000000000000000002\
         01000000000000006000000000000640000000000000000000000000",
        InvalidReason::IcmpError,
    );
}

/// Packets of every kind, to be damaged.
fn kinds() -> Vec<Packet> {
    let udp6 = packet("udp6,ipv6_src=fe80::1,ipv6_dst=fe80::2,tp_src=5,tp_dst=6");
    vec![
        tcp(true, "syn"),
        tcp(false, "syn|ack"),
        udp6.clone(),
        with_payload("sctp,nw_src=10.0.0.1,tp_src=5,tp_dst=6", b"chunk"),
        icmp("icmp,nw_src=10.0.0.1,nw_dst=10.0.0.2,icmp_type=8,icmp_code=0", 7),
        icmp_error("icmp,nw_src=192.0.2.1,nw_dst=10.0.0.1,icmp_type=3,icmp_code=1", &tcp(true, "syn"), 99),
        icmp_error("icmp6,ipv6_src=fe80::9,ipv6_dst=fe80::1,icmp_type=1,icmp_code=0", &udp6, 99),
        packet("ip,nw_proto=47,nw_src=10.0.0.1"),
        packet("icmp6,ipv6_src=fe80::1,icmp_type=135,icmp_code=0,nd_target=fe80::2"),
    ]
}

fn track_both_ways(lab: &mut Lab, mut packet: Packet) {
    lab.track(&mut packet.clone(), &CtRequest::force_commit(1).with_label(5, 7));
    // With the checksum put right, so that more than checksums is tried.
    compose::write_l4_checksum(&mut packet);
    lab.track(&mut packet, &CtRequest::commit(1));
    let stats = lab.tracker.stats();
    assert_eq!(stats.created, stats.expired + stats.replaced + stats.flushed + stats.connections as u64);
    assert_eq!(lab.dump().len(), stats.connections);
}

proptest! {
    #[test]
    fn any_bytes_are_judged(frame in proptest::collection::vec(any::<u8>(), 0..200)) {
        track_both_ways(&mut Lab::new(), Packet::from_slice(&frame));
    }

    #[test]
    fn damaged_packets_are_judged(
        kind in 0usize..9,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut lab = Lab::with(ovs_conntrack::Config::new(1).with_verify_checksums(false));
        for packet in kinds() {
            track_both_ways(&mut lab, packet);
        }
        let mut packet = kinds().swap_remove(kind);
        for (at, byte) in damage {
            let at = at.index(packet.len());
            packet.data_mut()[at] = byte;
        }
        if let Some(cut) = cut {
            packet.truncate(cut.index(packet.len()));
        }
        track_both_ways(&mut lab, packet);
    }

    /// A caller who mixes keys and packets up gets nonsense, but gets it.
    #[test]
    fn keys_of_other_packets_do_no_harm(a in 0usize..9, b in 0usize..9, cut in any::<prop::sample::Index>()) {
        let (mut packet, mut other) = (kinds().swap_remove(a), kinds().swap_remove(b));
        let mut key = FlowKey::ZERO;
        extract::extract(&mut other, &mut key);
        packet.truncate(cut.index(packet.len() + 1));
        let mut lab = Lab::new();
        lab.tracker.track(&mut packet, &key, &CtRequest::commit(0), lab.now);
    }
}

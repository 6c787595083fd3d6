//! Stories of UDP, SCTP, and protocols without ports.

mod common;

use common::{Lab, packet, with_payload};
use ovs_conntrack::{InvalidReason, Outcome};
use ovs_packet::key::{FRAG_ANY, FRAG_LATER};
use ovs_packet::packet::L4Checksum;
use ovs_packet::{Match, compose};

const THERE: &str = "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=1000,tp_dst=53";
const BACK: &str = "udp,nw_src=10.0.0.2,nw_dst=10.0.0.1,tp_src=53,tp_dst=1000";

#[test]
fn udp_is_new_until_it_is_answered() {
    let mut lab = Lab::new();
    lab.commits(packet(THERE), "new");
    assert_eq!(lab.timeouts(), [60]);
    lab.wait(50);
    lab.sees(packet(THERE), "new");
    assert_eq!(lab.timeouts(), [60]);
    lab.sees(packet(BACK), "est rpl");
    assert_eq!(lab.timeouts(), [30]);
    lab.wait(29);
    lab.sees(packet(THERE), "est");
    lab.wait(29);
    lab.sees(packet(BACK), "est rpl");
    lab.wait(30);
    lab.sees(packet(BACK), "new");
    assert_eq!((lab.tracker.len(), lab.tracker.stats().expired), (0, 1));
}

#[test]
fn udp_is_dumped_as_upstream_does() {
    let mut lab = Lab::new();
    lab.commits(packet(THERE), "new");
    assert_eq!(
        lab.dump(),
        [
            "udp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1000,dport=53),reply=(src=10.0.0.2,dst=10.0.0.1,sport=53,dport=1000)"
        ]
    );
}

#[test]
fn other_ports_are_another_connection() {
    let mut lab = Lab::new();
    lab.commits(packet(THERE), "new");
    lab.sees(packet("udp,nw_src=10.0.0.2,nw_dst=10.0.0.1,tp_src=54,tp_dst=1000"), "new");
    lab.sees(packet("udp,nw_src=10.0.0.2,nw_dst=10.0.0.1,tp_src=1000,tp_dst=53"), "new");
    lab.sees(packet("sctp,nw_src=10.0.0.2,nw_dst=10.0.0.1,tp_src=53,tp_dst=1000"), "new");
}

#[test]
fn a_udp_datagram_without_checksum_is_fine_over_ipv4_only() {
    for (text, state) in [(THERE, "new"), ("udp6,ipv6_src=::1,ipv6_dst=::2,tp_src=1,tp_dst=2", "inv")] {
        let mut p = packet(text);
        let at = p.layers().l4.unwrap();
        p.data_mut()[at + 6..at + 8].fill(0);
        // There was nothing to check, and so nothing is said to have been.
        assert_eq!(Lab::new().sees(p, state).offload.l4, L4Checksum::Unknown);
    }
}

#[test]
fn a_udp_datagram_may_be_shorter_than_its_packet_but_not_longer() {
    for (change, state) in [(-4i16, "new"), (1, "inv"), (-5, "inv")] {
        let mut p = with_payload(THERE, b"1234");
        let at = p.layers().l4.unwrap();
        let len = (12 + change) as u16;
        p.data_mut()[at + 4..at + 6].copy_from_slice(&len.to_be_bytes());
        p.data_mut()[at + 6..at + 8].fill(0);
        Lab::new().sees(p.clone(), state);
        Lab::with(ovs_conntrack::Config::new(1).with_verify_checksums(false)).sees(p, state);
    }
}

#[test]
fn sctp_and_protocols_without_ports() {
    let mut lab = Lab::new();
    lab.commits(packet("sctp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=5,tp_dst=6"), "new");
    lab.sees(packet("sctp,nw_src=10.0.0.2,nw_dst=10.0.0.1,tp_src=6,tp_dst=5"), "est rpl");
    lab.commits(with_payload("ip,nw_proto=47,nw_src=10.0.0.1,nw_dst=10.0.0.2", &[0; 8]), "new");
    lab.sees(with_payload("ip,nw_proto=47,nw_src=10.0.0.2,nw_dst=10.0.0.1", &[0; 8]), "est rpl");
    assert_eq!(
        lab.dump(),
        [
            "sctp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=5,dport=6),reply=(src=10.0.0.2,dst=10.0.0.1,sport=6,dport=5)",
            "47,orig=(src=10.0.0.1,dst=10.0.0.2,sport=0,dport=0),reply=(src=10.0.0.2,dst=10.0.0.1,sport=0,dport=0)",
        ]
    );
}

#[test]
fn a_checksum_is_verified_and_the_packet_left_as_it_was() {
    for text in [
        THERE,
        "tcp,nw_src=10.0.0.1,tp_src=1,tp_dst=2,tcp_flags=syn",
        "sctp,nw_src=10.0.0.1,tp_src=1,tp_dst=2",
        "icmp,nw_src=10.0.0.1,icmp_type=8,icmp_code=0",
        "icmp6,ipv6_src=::1,icmp_type=128,icmp_code=0",
    ] {
        let good = with_payload(text, b"payload");
        let seen = Lab::new().sees(good.clone(), "new");
        assert_eq!((seen.data(), seen.offload.l4), (good.data(), L4Checksum::Good));
        let mut bad = good.clone();
        let last = bad.len() - 1;
        bad.data_mut()[last] ^= 1;
        let bytes = bad.data().to_vec();
        let seen = Lab::new().sees(bad.clone(), "inv");
        assert_eq!((seen.data(), seen.offload.l4), (&bytes[..], L4Checksum::Unknown));
        // With the work left to the card, or the check turned off, nobody looks.
        bad.offload.l4 = L4Checksum::Good;
        Lab::new().sees(bad.clone(), "new");
        bad.offload.l4 = L4Checksum::Unknown;
        let unverified = ovs_conntrack::Config::new(1).with_verify_checksums(false);
        Lab::with(unverified).sees(bad, "new");
    }
    let mut bad = packet(THERE);
    bad.data_mut()[14 + 8] ^= 1;
    Lab::new().sees(bad, "inv");
}

#[test]
fn what_is_not_tracked_is_invalid_for_a_reason() {
    let mut lab = Lab::new();
    let cut = |text: &str, by: usize| {
        let mut p = packet(text);
        p.truncate(p.len() - by);
        p
    };
    let later_fragment = {
        let mut key = "ip,nw_proto=17,nw_src=10.0.0.1".parse::<Match>().unwrap().key();
        key.nw_frag = FRAG_ANY | FRAG_LATER;
        compose::compose(&key, b"12345678")
    };
    for (p, reason) in [
        (packet("arp,arp_spa=10.0.0.1,arp_op=1"), InvalidReason::NotIp),
        (packet("dl_type=0x88cc"), InvalidReason::NotIp),
        (packet("ip,nw_frag=first,nw_proto=17,nw_src=10.0.0.1"), InvalidReason::Fragment),
        (later_fragment, InvalidReason::Fragment),
        (cut(THERE, 1), InvalidReason::Malformed),
        (packet("udp,nw_src=10.0.0.1,tp_dst=5"), InvalidReason::PortZero),
        (packet("tcp,nw_src=10.0.0.1,tp_src=5,tcp_flags=syn"), InvalidReason::PortZero),
        (packet("tcp,nw_src=10.0.0.1,tp_src=5,tp_dst=6,tcp_flags=syn|ack"), InvalidReason::NotOpening),
    ] {
        let before = lab.tracker.stats().invalid(reason);
        let mut p = p;
        assert_eq!(lab.track(&mut p, &ovs_conntrack::CtRequest::commit(0)), Outcome::Invalid(reason), "{p:?}");
        assert_eq!(lab.tracker.stats().invalid(reason), before + 1);
    }
    assert_eq!(lab.tracker.stats().invalid_total(), 8);
    assert!(lab.tracker.is_empty());
}

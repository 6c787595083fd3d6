//! Stories of ICMP queries, and of errors about connections.

mod common;

use common::{Lab, icmp, icmp_error, packet, tcp};
use ovs_conntrack::{CtRequest, InvalidReason, Outcome};
use ovs_packet::packet::OriginalTuple;

const ASK: &str = "icmp,nw_src=10.0.0.1,nw_dst=10.0.0.2,icmp_type=8,icmp_code=0";
const ANSWER: &str = "icmp,nw_src=10.0.0.2,nw_dst=10.0.0.1,icmp_type=0,icmp_code=0";
const ASK6: &str = "icmp6,ipv6_src=fe80::1,ipv6_dst=fe80::2,icmp_type=128,icmp_code=0";
const ANSWER6: &str = "icmp6,ipv6_src=fe80::2,ipv6_dst=fe80::1,icmp_type=129,icmp_code=0";

#[test]
fn a_ping_is_told_from_others_by_its_identifier() {
    for (ask, answer) in [(ASK, ANSWER), (ASK6, ANSWER6)] {
        let mut lab = Lab::new();
        lab.sees(icmp(answer, 7), "inv");
        lab.commits(icmp(ask, 7), "new");
        assert_eq!(lab.timeouts(), [60]);
        lab.commits(icmp(ask, 7), "new");
        lab.sees(icmp(answer, 8), "inv");
        lab.sees(icmp(answer, 7), "est rpl");
        assert_eq!(lab.timeouts(), [30]);
        lab.sees(icmp(ask, 7), "est");
        lab.wait(30);
        lab.sees(icmp(answer, 7), "inv");
    }
}

#[test]
fn a_ping_is_dumped_as_upstream_does() {
    let mut lab = Lab::new();
    let seen = lab.commits(icmp(ASK, 7), "new");
    let Some(OriginalTuple::V4 { proto: 1, tp_src: 8, tp_dst: 0, .. }) = seen.meta.ct.original else { panic!() };
    lab.commits(icmp(ASK6, 9), "new");
    assert_eq!(
        lab.dump(),
        [
            "icmp,orig=(src=10.0.0.1,dst=10.0.0.2,id=7,type=8,code=0),reply=(src=10.0.0.2,dst=10.0.0.1,id=7,type=0,code=0)",
            "icmpv6,orig=(src=fe80::1,dst=fe80::2,id=9,type=128,code=0),reply=(src=fe80::2,dst=fe80::1,id=9,type=129,code=0)",
        ]
    );
}

#[test]
fn two_hosts_ping_each_other_with_one_identifier() {
    let mut lab = Lab::new();
    lab.commits(icmp(ASK, 7), "new");
    let crossing = ASK.replace("10.0.0.1", "x").replace("10.0.0.2", "10.0.0.1").replace('x', "10.0.0.2");
    lab.commits(icmp(&crossing, 7), "new");
    assert_eq!(lab.tracker.len(), 2);
    lab.sees(icmp(ANSWER, 7), "est rpl");
    lab.sees(icmp(&crossing, 7), "new");
}

#[test]
fn timestamps_and_information_are_queries_of_their_own() {
    let mut lab = Lab::new();
    let with = |text: &str, kind: u8| {
        let head = text.split("icmp_type").next().unwrap();
        icmp(&format!("{head}icmp_type={kind},icmp_code=0"), 7)
    };
    for (asks, answers) in [(8, 0), (13, 14), (15, 16)] {
        lab.commits(with(ASK, asks), "new");
        lab.sees(with(ANSWER, answers), "est rpl");
    }
    assert_eq!(lab.tracker.len(), 3);
}

#[test]
fn what_is_neither_query_nor_error_is_invalid() {
    let mut lab = Lab::new();
    for text in [
        "icmp,nw_src=10.0.0.1,icmp_type=9,icmp_code=0",
        "icmp,nw_src=10.0.0.1,icmp_type=8,icmp_code=1",
        "icmp6,ipv6_src=fe80::1,icmp_type=128,icmp_code=1",
        "icmp6,ipv6_src=fe80::1,icmp_type=133,icmp_code=0",
        "icmp6,ipv6_src=fe80::1,icmp_type=135,icmp_code=0,nd_target=fe80::2",
    ] {
        let mut p = packet(text);
        let outcome = lab.track(&mut p, &CtRequest::commit(0));
        assert_eq!(outcome, Outcome::Invalid(InvalidReason::IcmpType), "{text}");
    }
}

#[test]
fn errors_are_related_to_the_connection_they_are_about() {
    let mut lab = Lab::new();
    let request = CtRequest::commit(0).with_mark(9, !0);
    lab.track(&mut tcp(true, "syn"), &request);
    lab.wait(10);
    // Unreachable, source quench, redirect, time exceeded, parameter problem: from a router to the client.
    for kind in [3, 4, 5, 11, 12] {
        let text = format!("icmp,nw_src=192.0.2.1,nw_dst=10.0.0.1,icmp_type={kind},icmp_code=1");
        // With all of the packet, or with the 8 bytes behind its header that there must be.
        for len in [1500, 28] {
            let seen = lab.sees(icmp_error(&text, &tcp(true, "syn"), len), "rel rpl");
            assert_eq!(seen.meta.ct.mark, 9);
            let Some(OriginalTuple::V4 { proto: 6, tp_src: 1000, tp_dst: 80, .. }) = seen.meta.ct.original else {
                panic!()
            };
        }
        let mut short = icmp_error(&text, &tcp(true, "syn"), 27);
        assert_eq!(lab.track(&mut short, &CtRequest::lookup(0)), Outcome::Invalid(InvalidReason::IcmpError));
    }
    // They do not prolong it.
    assert_eq!(lab.timeouts(), [20]);
    // One to the server, about its answer.
    let text = "icmp,nw_src=192.0.2.1,nw_dst=10.0.0.2,icmp_type=3,icmp_code=4";
    lab.sees(icmp_error(text, &tcp(false, "syn|ack"), 28), "rel");
}

#[test]
fn errors_over_ipv6_are_related() {
    let udp = packet("udp6,ipv6_src=fe80::1,ipv6_dst=fe80::2,tp_src=5,tp_dst=6");
    for kind in 1..=4 {
        let mut lab = Lab::new();
        lab.commits(udp.clone(), "new");
        let text = format!("icmp6,ipv6_src=fe80::9,ipv6_dst=fe80::1,icmp_type={kind},icmp_code=0");
        lab.sees(icmp_error(&text, &udp, 1500), "rel rpl");
        lab.sees(icmp_error(&text, &udp, 47), "inv");
        lab.sees(icmp_error(&text, &icmp(ASK6, 3), 1500), "inv");
        lab.commits(icmp(ASK6, 3), "new");
        lab.sees(icmp_error(&text, &icmp(ASK6, 3), 48), "rel rpl");
    }
}

#[test]
fn an_error_about_a_packet_behind_extension_headers() {
    // Hop-by-hop options of 8 bytes, destination options of 16, the first of several fragments; then UDP.
    let mut inner = vec![0x60, 0, 0, 0, 0, 40, 0, 64];
    inner.extend_from_slice(&std::net::Ipv6Addr::LOCALHOST.octets());
    inner.extend_from_slice(&"fe80::2".parse::<std::net::Ipv6Addr>().unwrap().octets());
    inner.extend_from_slice(&[60, 0, 0, 0, 0, 0, 0, 0]);
    inner.extend_from_slice(&[44, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    inner.extend_from_slice(&[17, 0, 0, 1, 0, 0, 0, 7]);
    inner.extend_from_slice(&[0, 5, 0, 6, 0, 8, 0, 0]);
    let error =
        |inner: &[u8]| common::with_payload("icmp6,ipv6_src=fe80::9,ipv6_dst=::1,icmp_type=2,icmp_code=0", inner);
    let mut lab = Lab::new();
    lab.commits(packet("udp6,ipv6_src=::1,ipv6_dst=fe80::2,tp_src=5,tp_dst=6"), "new");
    lab.sees(error(&inner), "rel rpl");
    for len in 0..inner.len() {
        lab.sees(error(&inner[..len]), "inv");
    }
    // A later fragment has no ports.
    inner[40 + 24 + 3] = 9;
    lab.sees(error(&inner), "inv");
}

#[test]
fn an_error_about_a_fragment_over_ipv4() {
    let mut lab = Lab::new();
    lab.commits(tcp(true, "syn"), "new");
    let text = "icmp,nw_src=192.0.2.1,nw_dst=10.0.0.1,icmp_type=11,icmp_code=1";
    for (fragment, state) in [([0x20, 0], "rel rpl"), ([0x20, 1], "inv"), ([0, 1], "inv")] {
        let mut undelivered = tcp(true, "syn");
        undelivered.data_mut()[14 + 6..14 + 8].copy_from_slice(&fragment);
        lab.sees(icmp_error(text, &undelivered, 28), state);
    }
}

#[test]
fn an_error_is_not_believed_by_another_receiver() {
    let mut lab = Lab::new();
    lab.commits(tcp(true, "syn"), "new");
    let text = "icmp,nw_src=192.0.2.1,nw_dst=10.0.0.3,icmp_type=3,icmp_code=1";
    let mut error = icmp_error(text, &tcp(true, "syn"), 28);
    assert_eq!(lab.track(&mut error, &CtRequest::lookup(0)), Outcome::Invalid(InvalidReason::IcmpError));
    // Nor does it open anything, or know of connections in other zones.
    let text = "icmp,nw_src=192.0.2.1,nw_dst=10.0.0.1,icmp_type=3,icmp_code=1";
    let mut error = icmp_error(text, &tcp(true, "syn"), 28);
    assert_eq!(lab.track(&mut error, &CtRequest::force_commit(1)), Outcome::Invalid(InvalidReason::Unrelated));
    assert_eq!(lab.tracker.len(), 1);
}

#[test]
fn force_does_not_let_an_error_end_its_connection() {
    let mut lab = Lab::new();
    lab.commits(tcp(true, "syn"), "new");
    let text = "icmp,nw_src=192.0.2.1,nw_dst=10.0.0.1,icmp_type=3,icmp_code=1";
    let mut error = icmp_error(text, &tcp(true, "syn"), 28);
    assert_eq!(lab.track(&mut error, &CtRequest::force_commit(0)), Outcome::Related { reply: true });
    assert_eq!(lab.tracker.len(), 1);
}

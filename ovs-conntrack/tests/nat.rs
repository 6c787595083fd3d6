//! Address translation: what packets become, and that no two connections share a tuple.

mod common;

use std::collections::BTreeSet;
use std::net::IpAddr;

use common::{Lab, icmp, icmp_error, packet, state, with_payload};
use ovs_conntrack::{Config, CtRequest, InvalidReason, Nat, NatRange, Outcome, Transport, Tuple};
use ovs_packet::packet::{CtState, L4Checksum};
use ovs_packet::{FlowKey, Packet, checksum, extract};
use proptest::prelude::*;

fn snat(range: NatRange) -> CtRequest {
    CtRequest::commit(0).with_nat(Nat::Source(range))
}

fn dnat(range: NatRange) -> CtRequest {
    CtRequest::commit(0).with_nat(Nat::Destination(range))
}

fn existing() -> CtRequest {
    CtRequest::lookup(0).with_nat(Nat::Existing)
}

/// What is read of the packet as it is now.
#[track_caller]
fn key_of(packet: &Packet) -> FlowKey {
    let mut key = FlowKey::ZERO;
    assert_eq!(extract::extract(&mut packet.clone(), &mut key).malformed, None);
    key
}

/// The packet's ends in words, from its bytes; its checksums are right.
#[track_caller]
fn ends(packet: &Packet) -> String {
    assert_sums_are_right(packet);
    let key = key_of(packet);
    let (src, dst): (IpAddr, IpAddr) = match key.eth_type.get() {
        0x86dd => (key.ipv6_src().into(), key.ipv6_dst().into()),
        _ => (key.ipv4_src().into(), key.ipv4_dst().into()),
    };
    format!("{src}:{}>{dst}:{}", key.tp_src, key.tp_dst)
}

#[track_caller]
fn assert_sums_are_right(packet: &Packet) {
    let mut packet = packet.clone();
    extract::extract(&mut packet, &mut FlowKey::default());
    let (l3, l4) = (packet.l3(), packet.l4());
    let v6 = l3[0] >> 4 == 6;
    if !v6 {
        assert_eq!(checksum::checksum(&l3[..20]), 0, "IPv4 header");
    }
    let pseudo = match (v6, packet.layers().l4_proto) {
        (false, 1) => 0,
        (false, proto) => checksum::sum(&l3[12..20], u64::from(proto) + l4.len() as u64),
        (true, proto) => checksum::sum(&l3[8..40], u64::from(proto) + l4.len() as u64),
    };
    assert_eq!(checksum::fold(checksum::sum(l4, pseudo)), 0xffff, "transport");
}

fn udp(src: &str, sport: u16, dst: &str, dport: u16) -> Packet {
    match src.contains(':') {
        true => with_payload(&format!("udp6,ipv6_src={src},ipv6_dst={dst},tp_src={sport},tp_dst={dport}"), b"hello"),
        false => with_payload(&format!("udp,nw_src={src},nw_dst={dst},tp_src={sport},tp_dst={dport}"), b"hello"),
    }
}

#[track_caller]
fn becomes(lab: &mut Lab, mut packet: Packet, request: &CtRequest, words: &str, to: &str) -> Packet {
    lab.track(&mut packet, request);
    assert_eq!(packet.meta.ct.state, state(words));
    assert_eq!(ends(&packet), to);
    packet
}

/// A tracker that knows 10.0.0.1:4000, which speaks to 8.8.8.8:53, and is seen there as 192.0.2.7.
#[track_caller]
fn translated() -> Lab {
    let (mut lab, range) = (Lab::new(), NatRange::address([192, 0, 2, 7]));
    let packet = udp("10.0.0.1", 4000, "8.8.8.8", 53);
    becomes(&mut lab, packet, &snat(range), "new snat", "192.0.2.7:4000>8.8.8.8:53");
    lab
}

#[test]
fn source_translation_both_ways_and_both_families() {
    for (client, server, public) in [("10.0.0.1", "8.8.8.8", "192.0.2.7"), ("fd00::1", "2001:db8::8", "2001:db8:1::7")]
    {
        let mut lab = Lab::new();
        let range = NatRange::address(public.parse::<IpAddr>().unwrap());
        let translated = format!("{public}:4000>{server}:53");
        becomes(&mut lab, udp(client, 4000, server, 53), &snat(range), "new snat", &translated);
        becomes(&mut lab, udp(client, 4000, server, 53), &existing(), "new snat", &translated);
        let back = format!("{server}:53>{client}:4000");
        let seen = becomes(&mut lab, udp(server, 53, public, 4000), &existing(), "est rpl dnat", &back);
        // The original tuple is the client's, in both directions.
        assert_eq!(seen.meta.ct.original.map(|t| format!("{t:?}").contains(public)), Some(false));
        becomes(&mut lab, udp(client, 4000, server, 53), &existing(), "est snat", &translated);
        // Not asked to, it leaves the packet alone.
        becomes(
            &mut lab,
            udp(server, 53, public, 4000),
            &CtRequest::lookup(0),
            "est rpl",
            &format!("{server}:53>{public}:4000"),
        );
        assert_eq!(
            lab.dump(),
            [format!(
                "udp,orig=(src={client},dst={server},sport=4000,dport=53),reply=(src={server},dst={public},sport=53,dport=4000)"
            )]
        );
    }
}

#[test]
fn destination_translation() {
    let mut lab = Lab::new();
    let range = NatRange::address([10, 0, 0, 9]).with_ports(8080, 8080);
    becomes(&mut lab, udp("1.1.1.1", 5000, "2.2.2.2", 80), &dnat(range), "new dnat", "1.1.1.1:5000>10.0.0.9:8080");
    becomes(&mut lab, udp("10.0.0.9", 8080, "1.1.1.1", 5000), &existing(), "est rpl snat", "2.2.2.2:80>1.1.1.1:5000");
    // The same client and port to the server itself: the source port tells them apart.
    let mut direct = udp("1.1.1.1", 5000, "3.3.3.3", 80);
    assert_eq!(lab.track(&mut direct, &dnat(range)), Outcome::Created);
    assert_eq!(direct.meta.ct.state, state("new snat dnat"));
    assert!(ends(&direct).ends_with(">10.0.0.9:8080") && !ends(&direct).starts_with("1.1.1.1:5000>"));
}

#[test]
fn a_packet_that_was_translated_is_known_when_it_comes_by_again() {
    let mut lab = Lab::new();
    let range = NatRange::address([192, 0, 2, 7]);
    let first = becomes(&mut lab, udp("10.0.0.1", 4000, "8.8.8.8", 53), &existing(), "new", "10.0.0.1:4000>8.8.8.8:53");
    let again = becomes(&mut lab, first, &snat(range), "new snat", "192.0.2.7:4000>8.8.8.8:53");
    let again = becomes(&mut lab, again, &snat(range), "new snat", "192.0.2.7:4000>8.8.8.8:53");
    becomes(&mut lab, again, &CtRequest::lookup(0), "new snat", "192.0.2.7:4000>8.8.8.8:53");
    let back = becomes(
        &mut lab,
        udp("8.8.8.8", 53, "192.0.2.7", 4000),
        &existing(),
        "est rpl dnat",
        "8.8.8.8:53>10.0.0.1:4000",
    );
    becomes(&mut lab, back.clone(), &existing(), "est rpl dnat", "8.8.8.8:53>10.0.0.1:4000");
    assert_eq!(lab.tracker.len(), 1);
    // Another zone has its own connections, and its own translation.
    let mut other = back;
    assert_eq!(lab.track(&mut other, &CtRequest::commit(9)), Outcome::Created);
    assert_eq!(other.meta.ct.state, state("new"));
}

#[test]
fn a_stranger_with_a_translated_tuple_is_no_part_of_the_connection() {
    let mut lab = translated();
    let mut stranger = udp("192.0.2.7", 4000, "8.8.8.8", 53);
    assert_eq!(lab.track(&mut stranger.clone(), &CtRequest::lookup(0)), Outcome::Unknown);
    assert_eq!(lab.track(&mut stranger, &CtRequest::commit(0)), Outcome::Untranslatable);
    let mut inside = udp("8.8.8.8", 53, "10.0.0.1", 4000);
    assert_eq!(lab.track(&mut inside, &CtRequest::commit(0)), Outcome::Untranslatable);
    assert_eq!(lab.tracker.stats().clashed, 2);
    // An address that lets it choose another port gives it one of its own.
    let mut stranger = udp("192.0.2.7", 4000, "9.9.9.9", 53);
    assert_eq!(lab.track(&mut stranger, &snat(NatRange::own())), Outcome::Created);
    assert_eq!(ends(&stranger), "192.0.2.7:4000>9.9.9.9:53");
}

/// One client speaks to a server by its own address and by another that is translated to it, from one port: the server's
/// answers would be the same. Whichever comes second is given another port, of the client's, and both are answered.
#[test]
fn a_direct_connection_and_a_translated_one_do_not_share_their_replies() {
    for [client, server, public, other] in
        [["10.0.0.1", "10.9.9.9", "192.0.2.7", "10.0.0.1"], ["fd00::1", "fd00::99", "2001:db8::7", "fd00::1"]]
    {
        for direct_first in [false, true] {
            let mut lab = Lab::new();
            let address: IpAddr = server.parse().unwrap();
            let (to_public, direct) = (dnat(NatRange::address(address)), snat(NatRange::own()));
            let there = format!("{client}:4000>{server}:53");
            let open = |lab: &mut Lab, is_direct: bool, first: bool| {
                let (to, request) = if is_direct { (server, &direct) } else { (public, &to_public) };
                let mut p = udp(client, 4000, to, 53);
                assert_eq!(lab.track(&mut p, request), Outcome::Created, "{is_direct} {first}");
                let found = ends(&p);
                assert_eq!(found == there, first, "{found}");
                assert!(found.ends_with(&format!(">{server}:53")) && found.starts_with(client));
                let key = key_of(&p);
                // It comes by again, translated, and is known.
                let mut again = p;
                assert_eq!(lab.track(&mut again, &existing()), Outcome::Unanswered);
                assert_eq!(ends(&again), found);
                key.tp_src.get()
            };
            let ports = [open(&mut lab, direct_first, true), open(&mut lab, !direct_first, false)];
            assert_eq!((ports[0], ports[1] == 4000, lab.tracker.len()), (4000, false, 2));
            // What the client sends goes on as it began, and each answer comes from where the client sent to.
            for (is_direct, port) in [(direct_first, ports[0]), (!direct_first, ports[1])] {
                let to = if is_direct { server } else { public };
                let mut p = udp(client, 4000, to, 53);
                assert_eq!(lab.track(&mut p, &existing()), Outcome::Unanswered);
                assert_eq!(ends(&p), format!("{client}:{port}>{server}:53"));
                let mut answer = udp(server, 53, client, port);
                assert_eq!(lab.track(&mut answer, &existing()), Outcome::Reply);
                assert_eq!(ends(&answer), format!("{to}:53>{other}:4000"));
                let mut p = udp(client, 4000, to, 53);
                assert_eq!(lab.track(&mut p, &existing()), Outcome::Established);
            }
            let stats = lab.tracker.stats();
            assert_eq!((stats.created, stats.clashed, stats.nat_exhausted), (2, 0, 0));
            // Either can go, and the other stays.
            let dump: Vec<_> = lab.tracker.dump(None, lab.now).collect();
            assert!(lab.tracker.flush_tuple(0, &dump[0].original));
            let left: Vec<_> = lab.tracker.dump(None, lab.now).map(|c| c.to_string()).collect();
            assert_eq!(left, [dump[1].to_string()]);
            assert!(lab.tracker.get(0, &dump[1].reply, lab.now).is_some());
        }
    }
}

#[test]
fn clients_with_one_port_get_different_ones() {
    let mut lab = Lab::new();
    let range = NatRange::address([192, 0, 2, 7]);
    let mut seen = BTreeSet::new();
    for client in 1..100 {
        let mut p = udp(&format!("10.0.0.{client}"), 4000, "8.8.8.8", 53);
        assert_eq!(lab.track(&mut p, &snat(range)), Outcome::Created);
        assert!(seen.insert(ends(&p)));
        // The answer finds its way home.
        becomes(
            &mut lab,
            udp("8.8.8.8", 53, "192.0.2.7", key_of(&p).tp_src.get()),
            &existing(),
            "est rpl dnat",
            &format!("8.8.8.8:53>10.0.0.{client}:4000"),
        );
    }
    assert!(seen.contains("192.0.2.7:4000>8.8.8.8:53"));
}

#[test]
fn an_exhausted_range_is_a_counted_refusal() {
    let mut lab = Lab::new();
    let range = NatRange::address([192, 0, 2, 7]).with_ports(100, 102);
    let client = |n: u8| udp(&format!("10.0.0.{n}"), 4000, "8.8.8.8", 53);
    for n in 1..=3 {
        assert_eq!(lab.track(&mut client(n), &snat(range)), Outcome::Created);
    }
    for n in 4..=9 {
        let mut p = client(n);
        assert_eq!(lab.track(&mut p, &snat(range)), Outcome::Untranslatable);
        assert_eq!(ends(&p), format!("10.0.0.{n}:4000>8.8.8.8:53"));
    }
    assert_eq!((lab.tracker.len(), lab.tracker.stats().nat_exhausted), (3, 6));
    // Another server is another matter, and so is a port that comes free: by flush, by expiry, by a zone's flush.
    assert_eq!(lab.track(&mut udp("10.0.0.9", 4000, "8.8.4.4", 53), &snat(range)), Outcome::Created);
    let first = lab.tracker.dump(None, lab.now).next().unwrap();
    assert!(lab.tracker.flush_tuple(0, &first.reply));
    assert_eq!(lab.track(&mut client(4), &snat(range)), Outcome::Created);
    lab.tracker.flush(Some(0));
    for n in 1..=3 {
        assert_eq!(lab.track(&mut client(n), &snat(range)), Outcome::Created);
    }
    lab.wait(61);
    for n in 4..=6 {
        assert_eq!(lab.track(&mut client(n), &snat(range)), Outcome::Created);
    }
}

#[test]
fn a_range_of_the_other_family_is_a_refusal() {
    let mut lab = Lab::new();
    let mut p = udp("10.0.0.1", 1, "10.0.0.2", 2);
    assert_eq!(lab.track(&mut p, &snat(NatRange::address([0u16, 0, 0, 0, 0, 0, 0, 1]))), Outcome::Untranslatable);
    assert!(lab.tracker.is_empty());
}

#[test]
fn echo_identifiers_are_translated_like_ports() {
    let mut lab = Lab::new();
    let ping = |n: u8| icmp(&format!("icmp,nw_src=10.0.0.{n},nw_dst=8.8.8.8,icmp_type=8,icmp_code=0"), 77);
    let id = |p: &Packet| u16::from_be_bytes([p.l4()[4], p.l4()[5]]);
    let (mut one, mut two) = (ping(1), ping(2));
    lab.track(&mut one, &snat(NatRange::address([192, 0, 2, 7])));
    lab.track(&mut two, &snat(NatRange::address([192, 0, 2, 7])));
    assert_eq!((id(&one), one.meta.ct.state), (77, state("new snat")));
    assert_ne!(id(&two), 77);
    assert_sums_are_right(&two);
    let mut back = icmp("icmp,nw_src=8.8.8.8,nw_dst=192.0.2.7,icmp_type=0,icmp_code=0", id(&two));
    lab.track(&mut back, &existing());
    assert_eq!((id(&back), back.meta.ct.state), (77, state("est rpl dnat")));
    assert!(ends(&back).ends_with(">10.0.0.2:0"), "{}", ends(&back));
}

#[test]
fn errors_are_translated_with_the_packet_inside() {
    for (client, server, public, router, error) in [
        ("10.0.0.1", "8.8.8.8", "192.0.2.7", "5.5.5.5", "icmp,nw_src=5.5.5.5,nw_dst=192.0.2.7,icmp_type=3,icmp_code=1"),
        (
            "fd00::1",
            "2001:db8::8",
            "2001:db8:1::7",
            "2001:db8::5",
            "icmp6,ipv6_src=2001:db8::5,ipv6_dst=2001:db8:1::7,icmp_type=1,icmp_code=0",
        ),
    ] {
        for cut in [usize::MAX, 48] {
            let mut lab = Lab::new();
            let range = NatRange::address(public.parse::<IpAddr>().unwrap()).with_ports(9, 9);
            let translated = becomes(
                &mut lab,
                udp(client, 4000, server, 53),
                &snat(range),
                "new snat",
                &format!("{public}:9>{server}:53"),
            );
            let mut error = icmp_error(error, &translated, cut);
            assert_eq!(lab.track(&mut error, &existing()), Outcome::Related { reply: true });
            assert_eq!(error.meta.ct.state, state("rel rpl dnat"));
            assert_sums_are_right(&error);
            // From the router still, as the kernel has it; about the packet that the client sent.
            let outer = ends(&error);
            let outer: Vec<_> = outer.split('>').map(|end| end.rsplit_once(':').unwrap().0).collect();
            assert_eq!(outer, [router, client]);
            let mut inner = vec![0; 14];
            let v6 = client.contains(':');
            inner[12..].copy_from_slice(if v6 { &[0x86, 0xdd] } else { &[8, 0] });
            inner.extend(&error.l4()[8..]);
            if cut == usize::MAX {
                assert_eq!(ends(&Packet::from_slice(&inner)), format!("{client}:4000>{server}:53"));
            }
        }
    }
}

#[test]
fn a_checksum_that_is_still_to_be_computed_stays_so() {
    let mut lab = Lab::new();
    let mut p = udp("10.0.0.1", 4000, "8.8.8.8", 53);
    let l4 = p.layers().l4.unwrap();
    let pseudo = |src: [u8; 4], p: &Packet| {
        checksum::fold(checksum::pseudo_v4(src.into(), [8, 8, 8, 8].into(), 17, p.l4().len() as u32))
    };
    let sum = pseudo([10, 0, 0, 1], &p);
    p.data_mut()[l4 + 6..l4 + 8].copy_from_slice(&sum.to_be_bytes());
    p.offload.l4 = L4Checksum::Partial { start: l4, offset: 6 };
    lab.track(&mut p, &snat(NatRange::address([192, 0, 2, 7]).with_ports(9, 9)));
    assert_eq!(p.meta.ct.state, state("new snat"));
    assert_eq!(p.data()[l4 + 6..l4 + 8], pseudo([192, 0, 2, 7], &p).to_be_bytes());
}

#[test]
fn tcp_is_translated_through_its_life() {
    let mut lab = Lab::new();
    let there =
        |flags: &str| packet(&format!("tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=1000,tp_dst=80,tcp_flags={flags}"));
    let back =
        |flags: &str| packet(&format!("tcp,nw_src=10.0.0.9,nw_dst=10.0.0.1,tp_src=80,tp_dst=1000,tcp_flags={flags}"));
    let request = dnat(NatRange::address([10, 0, 0, 9]));
    becomes(&mut lab, there("syn"), &request, "new dnat", "10.0.0.1:1000>10.0.0.9:80");
    becomes(&mut lab, back("syn|ack"), &existing(), "est rpl snat", "10.0.0.2:80>10.0.0.1:1000");
    becomes(&mut lab, there("ack"), &existing(), "est dnat", "10.0.0.1:1000>10.0.0.9:80");
    becomes(&mut lab, there("fin|ack"), &existing(), "est dnat", "10.0.0.1:1000>10.0.0.9:80");
    becomes(&mut lab, back("fin|ack"), &existing(), "est rpl snat", "10.0.0.2:80>10.0.0.1:1000");
    becomes(&mut lab, there("ack"), &existing(), "est dnat", "10.0.0.1:1000>10.0.0.9:80");
    // The ports serve again, with another translation.
    let other = dnat(NatRange::address([10, 0, 0, 8]));
    becomes(&mut lab, there("syn"), &other, "new dnat", "10.0.0.1:1000>10.0.0.8:80");
    let mut late = back("ack");
    lab.track(&mut late, &existing());
    assert_eq!(late.meta.ct.state, state("new"));
}

#[test]
fn force_replaces_a_translated_connection() {
    let mut lab = translated();
    let mut back = udp("8.8.8.8", 53, "192.0.2.7", 4000);
    assert_eq!(lab.track(&mut back, &CtRequest::force_commit(0)), Outcome::Created);
    assert_eq!((lab.tracker.len(), lab.tracker.stats().replaced), (1, 1));
    becomes(&mut lab, udp("10.0.0.1", 4000, "8.8.8.8", 53), &existing(), "new", "10.0.0.1:4000>8.8.8.8:53");
}

#[test]
fn flush_and_lookup_take_either_tuple() {
    let mut lab = translated();
    let info = lab.tracker.dump(None, lab.now).next().unwrap();
    for tuple in [info.original, info.original.reversed(), info.reply, info.reply.reversed()] {
        assert_eq!(lab.tracker.get(0, &tuple, lab.now), Some(info));
    }
    assert!(lab.tracker.flush_tuple(0, &info.reply.reversed()));
    let mut again = udp("192.0.2.7", 4000, "8.8.8.8", 53);
    assert_eq!(lab.track(&mut again, &CtRequest::commit(0)), Outcome::Created);
}

#[test]
fn sums_that_are_wrong_are_not_translated_away() {
    let mut lab = Lab::new();
    let mut p = udp("10.0.0.1", 4000, "8.8.8.8", 53);
    let last = p.len() - 1;
    p.data_mut()[last] ^= 1;
    assert_eq!(lab.track(&mut p, &snat(NatRange::address([1, 1, 1, 1]))), Outcome::Invalid(InvalidReason::Checksum));
}

#[derive(Clone, Debug)]
enum Step {
    /// Client, its port, server; and whether the packet opens with a translation.
    There(u8, u16, u8, u8),
    /// An answer to the `n`th translated packet so far.
    Back(usize),
    Flush(usize),
    FlushZone,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0u8..6, 0u16..2, 0u8..2, 0u8..5).prop_map(|(c, p, s, n)| Step::There(c, p, s, n)),
        4 => (0usize..50).prop_map(Step::Back),
        1 => (0usize..10).prop_map(Step::Flush),
        1 => Just(Step::FlushZone),
        2 => prop::sample::select(&[1u64, 30, 61][..]).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// All that can be seen from outside: no two connections ever look the same to anybody, and an answer reaches
    /// exactly who asked.
    #[test]
    fn tuples_are_unique_and_answers_come_home(steps in steps()) {
        let mut lab = Lab::with(Config::new(3).with_verify_checksums(true));
        let mut sent: Vec<Packet> = Vec::new();
        for step in steps {
            match step {
                Step::There(client, port, server, nat) => {
                    let mut p = udp(&format!("10.0.0.{client}"), 4000 + port, &format!("8.8.8.{server}"), 53);
                    let request = match nat {
                        0 => CtRequest::commit(0).with_nat(Nat::Existing),
                        1 => snat(NatRange::address([192, 0, 2, 7]).with_ports(4000, 4003)),
                        2 => snat(NatRange::addresses([10, 0, 0, 0], [10, 0, 0, 2])),
                        3 => dnat(NatRange::address([8, 8, 8, 1])),
                        _ => snat(NatRange::own().random()),
                    };
                    let outcome = lab.track(&mut p, &request);
                    let ends = ends(&p);
                    prop_assert!(!ends.contains(":0>"));
                    if matches!(outcome, Outcome::Created | Outcome::Unanswered | Outcome::Established) {
                        sent.push(p);
                    }
                }
                Step::Back(n) => {
                    let Some(p) = sent.get(n % sent.len().max(1)) else { continue };
                    let key = key_of(p);
                    let mut back = udp(&key.ipv4_dst().to_string(), key.tp_dst.get(), &key.ipv4_src().to_string(), key.tp_src.get());
                    let tuple = |k: &FlowKey| Tuple {
                        src: k.ipv4_dst().into(), dst: k.ipv4_src().into(), proto: 17,
                        transport: Transport::Ports { src: k.tp_dst.get(), dst: k.tp_src.get() },
                    };
                    let owner = lab.tracker.get(0, &tuple(&key), lab.now).filter(|c| c.reply == tuple(&key));
                    let outcome = lab.track(&mut back, &existing());
                    prop_assert_eq!(outcome == Outcome::Reply, owner.is_some());
                    if let Some(owner) = owner {
                        let home = owner.original.reversed();
                        let Transport::Ports { src, dst } = home.transport else { panic!() };
                        prop_assert_eq!(ends(&back), format!("{}:{src}>{}:{dst}", home.src, home.dst));
                        let changed = back.meta.ct.state.intersects(CtState::SRC_NAT | CtState::DST_NAT);
                        prop_assert_eq!(changed, home != owner.reply);
                    }
                }
                Step::Flush(n) => {
                    let tuple = lab.tracker.dump(None, lab.now).nth(n).map(|c| if n % 2 == 0 { c.original } else { c.reply });
                    if let Some(tuple) = tuple {
                        prop_assert!(lab.tracker.flush_tuple(0, &tuple));
                    }
                }
                Step::FlushZone => {
                    lab.tracker.flush(Some(0));
                }
                Step::Wait(secs) => lab.wait(secs),
            }
            let all: Vec<_> = lab.tracker.dump(None, lab.now).collect();
            let mut tuples = BTreeSet::new();
            for c in &all {
                prop_assert!(tuples.insert(c.original) && tuples.insert(c.reply), "{:?}", all);
                prop_assert_eq!(lab.tracker.get(0, &c.original, lab.now), Some(*c));
                prop_assert_eq!(lab.tracker.get(0, &c.reply, lab.now), Some(*c));
            }
            let s = lab.tracker.stats();
            prop_assert_eq!(s.created, s.expired + s.replaced + s.flushed + s.connections as u64);
        }
        lab.wait(1000);
        lab.tracker.expire(lab.now, usize::MAX);
        prop_assert_eq!(lab.tracker.len(), 0);
    }
}

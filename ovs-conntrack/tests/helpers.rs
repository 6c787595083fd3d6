//! Helpers: what FTP and TFTP announce is expected, and rewritten where addresses are translated.

mod common;

use common::{Lab, state};
use ovs_conntrack::{CtRequest, Helper, Nat, NatRange, Outcome};
use ovs_packet::packet::L4Checksum;
use ovs_packet::{FlowKey, Match, Packet, checksum, compose, extract};
use proptest::prelude::*;

/// TCP of one end, with numbers that are counted.
struct End {
    src: String,
    sport: u16,
    dst: String,
    dport: u16,
    seq: u32,
    ack: u32,
}

impl End {
    fn new(src: &str, sport: u16, dst: &str, dport: u16, seq: u32) -> End {
        End { src: src.into(), sport, dst: dst.into(), dport, seq, ack: 0 }
    }

    fn packet(&mut self, flags: &str, payload: &[u8]) -> Packet {
        let (src, dst) = (&self.src, &self.dst);
        let hosts = match src.contains(':') {
            true => format!("tcp6,ipv6_src={src},ipv6_dst={dst}"),
            false => format!("tcp,nw_src={src},nw_dst={dst}"),
        };
        let text = format!("{hosts},tp_src={},tp_dst={},tcp_flags={flags}", self.sport, self.dport);
        let mut p = compose::compose(text.parse::<Match>().expect(&text).key(), payload);
        let l4 = p.layers().l4.unwrap();
        p.data_mut()[l4 + 4..l4 + 8].copy_from_slice(&self.seq.to_be_bytes());
        let ack = if flags.contains("ack") { self.ack } else { 0 };
        p.data_mut()[l4 + 8..l4 + 12].copy_from_slice(&ack.to_be_bytes());
        // A window of all that fits.
        p.data_mut()[l4 + 14..l4 + 16].fill(0xff);
        compose::write_l4_checksum(&mut p);
        self.seq = self.seq.wrapping_add(payload.len() as u32 + u32::from(flags.contains("syn")));
        p
    }
}

#[derive(Debug, PartialEq)]
struct Read {
    ends: String,
    seq: u32,
    ack: u32,
    payload: String,
}

/// What a receiver reads, after it has checked lengths and checksums.
#[track_caller]
fn read(packet: &Packet) -> Read {
    let (mut copy, mut key) = (packet.clone(), FlowKey::ZERO);
    assert_eq!(extract::extract(&mut copy, &mut key).malformed, None);
    let (l3, l4) = (copy.l3(), copy.l4());
    let (src, dst, addresses) = match l3[0] >> 4 {
        4 => {
            assert_eq!(checksum::checksum(&l3[..20]), 0);
            (key.ipv4_src().to_string(), key.ipv4_dst().to_string(), &l3[12..20])
        }
        _ => (key.ipv6_src().to_string(), key.ipv6_dst().to_string(), &l3[8..40]),
    };
    let sum = checksum::sum(addresses, u64::from(key.nw_proto) + l4.len() as u64);
    assert_eq!(checksum::fold(checksum::sum(l4, sum)), 0xffff);
    let word = |at: usize| u32::from_be_bytes(l4[at..at + 4].try_into().unwrap());
    let header = if key.nw_proto == 6 { usize::from(l4[12] >> 4) * 4 } else { 8 };
    Read {
        ends: format!("{src}:{}>{dst}:{}", key.tp_src, key.tp_dst),
        seq: word(4),
        ack: if key.nw_proto == 6 { word(8) } else { 0 },
        payload: String::from_utf8_lossy(&l4[header..]).into_owned(),
    }
}

fn commit(nat: Option<Nat>, helper: Helper) -> CtRequest {
    let request = CtRequest::commit(0).with_helper(helper).with_mark(42, !0).with_label(43, !0);
    nat.map_or(request, |nat| request.with_nat(nat))
}

fn existing() -> CtRequest {
    CtRequest::lookup(0).with_nat(Nat::Existing)
}

/// A control connection between a client and the address it knows the server by, and what the server sees.
struct Session {
    lab: Lab,
    client: End,
    server: End,
}

impl Session {
    fn open(client: &str, server: &str, nat: Option<Nat>) -> Session {
        let mut lab = Lab::new();
        let mut client = End::new(client, 4000, server, 21, 1000);
        let mut syn = client.packet("syn", b"");
        assert_eq!(lab.track(&mut syn, &commit(nat, Helper::Ftp)), Outcome::Created);
        let seen = read(&syn).ends;
        let (from, to) = seen.split_once('>').unwrap();
        let split = |end: &str| end.rsplit_once(':').map(|(a, p)| (a.to_string(), p.parse().unwrap())).unwrap();
        let ((far, far_port), (near, near_port)): ((String, u16), (String, u16)) = (split(from), split(to));
        let mut server = End::new(&near, near_port, &far, far_port, 9000);
        server.ack = client.seq;
        let mut answer = server.packet("syn|ack", b"");
        lab.track(&mut answer, &existing());
        client.ack = server.seq;
        let mut ack = client.packet("ack", b"");
        assert_eq!(lab.track(&mut ack, &existing()), Outcome::Established);
        Session { lab, client, server }
    }

    #[track_caller]
    fn says(&mut self, client: bool, payload: &str) -> Read {
        let end = if client { &mut self.client } else { &mut self.server };
        let mut p = end.packet("psh|ack", payload.as_bytes());
        let outcome = self.lab.track(&mut p, &existing());
        assert!(matches!(outcome, Outcome::Established | Outcome::Reply), "{outcome:?}");
        let read = read(&p);
        let other = if client { &mut self.server } else { &mut self.client };
        other.ack = read.seq.wrapping_add(read.payload.len() as u32);
        read
    }

    /// The first packet of a data connection: what it becomes, if it is expected.
    fn data(&mut self, src: &str, sport: u16, dst: &str, dport: u16) -> Option<String> {
        let mut end = End::new(src, sport, dst, dport, 1);
        let mut p = end.packet("syn", b"");
        let looked = self.lab.track(&mut p.clone(), &existing());
        let outcome = self.lab.track(&mut p, &CtRequest::commit(0).with_nat(Nat::Existing));
        if outcome == Outcome::Created {
            assert_eq!(looked, Outcome::Unknown);
            return None;
        }
        assert_eq!((looked, outcome), (Outcome::Expected { created: false }, Outcome::Expected { created: true }));
        assert!(p.meta.ct.state.contains(state("new rel")));
        assert_eq!((p.meta.ct.mark, p.meta.ct.label), (42, 43));
        Some(read(&p).ends)
    }
}

#[test]
fn without_translation_announcements_are_expected_as_they_are() {
    for (client, server, port, passive) in [
        ("10.0.0.1", "10.0.0.2", "PORT 10,0,0,1,4,1\r\n", "227 ok (10,0,0,2,8,1)\r\n"),
        ("10.0.0.1", "10.0.0.2", "EPRT |1|10.0.0.1|1025|\r\n", "229 ok (|||2049|)\r\n"),
        ("fd00::1", "fd00::2", "EPRT |2|fd00::1|1025|\r\n", "229 ok (|||2049|)\r\n"),
    ] {
        let mut s = Session::open(client, server, None);
        assert_eq!(s.says(true, port).payload, port);
        assert_eq!(s.lab.tracker.expectations(s.lab.now).count(), 1);
        assert_eq!(s.data(server, 20, client, 1026), None);
        assert_eq!(s.data(server, 20, client, 1025), Some(format!("{server}:20>{client}:1025")));
        // Once.
        assert_eq!(s.data(server, 21, client, 1025), None);
        assert_eq!(s.says(false, passive).payload, passive);
        assert_eq!(s.data(client, 5000, server, 2049), Some(format!("{client}:5000>{server}:2049")));
        let info = s.lab.tracker.dump(None, s.lab.now).find(|c| c.parent.is_some()).unwrap();
        assert_eq!((info.mark, info.label), (42, 43));
        assert_eq!(s.lab.tracker.stats().expectations_refused, 0);
    }
}

#[test]
fn packets_of_a_data_connection_stay_related_and_name_the_control_connection() {
    let mut s = Session::open("10.0.0.1", "10.0.0.2", None);
    s.says(true, "PORT 10,0,0,1,4,1\r\n");
    s.data("10.0.0.2", 20, "10.0.0.1", 1025).unwrap();
    let mut back = End::new("10.0.0.1", 1025, "10.0.0.2", 20, 1);
    back.ack = 2;
    let mut p = back.packet("syn|ack", b"");
    s.lab.track(&mut p, &existing());
    assert_eq!(p.meta.ct.state, state("est rel rpl"));
    assert!(format!("{:?}", p.meta.ct.original).contains("tp_src: 4000, tp_dst: 21"));
}

#[test]
fn behind_a_translated_source_the_text_and_the_numbers_follow() {
    for (client, server, public, text, becomes, active) in [
        ("10.0.0.1", "8.8.8.8", "192.168.100.200", "PORT 10,0,0,1,4,1\r\n", "PORT 192,168,100,200,4,1\r\n", true),
        ("192.168.100.200", "8.8.8.8", "1.1.1.1", "PORT 192,168,100,200,4,1\r\n", "PORT 1,1,1,1,4,1\r\n", true),
        ("10.0.0.1", "8.8.8.8", "1.1.1.1", "EPRT |1|10.0.0.1|1025|\r\n", "EPRT |1|1.1.1.1|1025|\r\n", true),
        ("fd00::1", "fd00::2", "2001:db8::5", "EPRT |2|fd00::1|1025|\r\n", "EPRT |2|2001:db8::5|1025|\r\n", true),
        ("10.0.0.1", "8.8.8.8", "1.1.1.1", "227 ok (8,8,8,8,4,1)\r\n", "227 ok (8,8,8,8,4,1)\r\n", false),
        ("10.0.0.1", "8.8.8.8", "1.1.1.1", "229 ok (|||1025|)\r\n", "229 ok (|||1025|)\r\n", false),
    ] {
        let range = NatRange::address(public.parse::<std::net::IpAddr>().unwrap());
        let mut s = Session::open(client, server, Some(Nat::Source(range)));
        let read = s.says(active, text);
        assert_eq!(read.payload, becomes);
        let growth = (becomes.len() as u32).wrapping_sub(text.len() as u32);
        if active {
            assert_eq!(s.data(server, 20, public, 1025), Some(format!("{server}:20>{client}:1025")));
            // The server acknowledges what it saw, the client hears of what it said; what it says next is shifted.
            assert_eq!(s.says(false, "200 ok\r\n").ack, s.client.seq);
            assert_eq!(s.says(true, "LIST\r\n").seq, (s.client.seq - 6).wrapping_add(growth));
            assert_eq!(s.says(false, "150 ok\r\n").ack, s.client.seq);
        } else {
            assert_eq!(s.data(client, 5000, server, 1025), Some(format!("{public}:5000>{server}:1025")));
        }
        assert_eq!(s.lab.tracker.stats().invalid_total(), 0);
    }
}

#[test]
fn behind_a_translated_destination_the_servers_text_follows() {
    for (text, becomes) in
        [("227 ok (10,0,0,9,4,1)\r\n", "227 ok (2,2,2,2,4,1)\r\n"), ("229 ok (|||1025|)\r\n", "229 ok (|||1025|)\r\n")]
    {
        let mut s = Session::open("1.1.1.1", "2.2.2.2", Some(Nat::Destination(NatRange::address([10, 0, 0, 9]))));
        let read = s.says(false, text);
        assert_eq!((read.payload.as_str(), read.ends.as_str()), (becomes, "2.2.2.2:21>1.1.1.1:4000"));
        assert_eq!(s.data("1.1.1.1", 5000, "2.2.2.2", 1025), Some("1.1.1.1:5000>10.0.0.9:1025".into()));
        assert_eq!(s.says(true, "STOR x\r\n").ack, s.server.seq);
    }
    let mut s = Session::open("1.1.1.1", "2.2.2.2", Some(Nat::Destination(NatRange::address([10, 0, 0, 9]))));
    assert_eq!(s.says(true, "PORT 1,1,1,1,4,1\r\n").payload, "PORT 1,1,1,1,4,1\r\n");
    assert_eq!(s.data("10.0.0.9", 20, "1.1.1.1", 1025), Some("2.2.2.2:20>1.1.1.1:1025".into()));
}

#[test]
fn a_text_that_is_sent_again_is_rewritten_to_the_same() {
    let mut s = Session::open("10.0.0.1", "8.8.8.8", Some(Nat::Source(NatRange::address([192, 168, 100, 200]))));
    let text = "PORT 10,0,0,1,4,1\r\n";
    let first = s.says(true, text);
    s.client.seq -= text.len() as u32;
    assert_eq!(s.says(true, text), first);
    assert_eq!(s.says(true, "NOOP\r\n").seq, first.seq + first.payload.len() as u32);
    // A second text adds up.
    let second = s.says(true, "PORT 10,0,0,1,4,2\r\n");
    assert_eq!(second.payload, "PORT 192,168,100,200,4,2\r\n");
    assert_eq!(s.says(true, "NOOP\r\n").seq, second.seq + second.payload.len() as u32);
    assert_eq!(s.says(false, "200 ok\r\n").ack, s.client.seq);
}

#[test]
fn a_port_that_two_clients_announce_is_given_to_each() {
    let mut lab = Lab::new();
    let mut ports = Vec::new();
    for n in 1..=2 {
        let mut client = End::new(&format!("10.0.0.{n}"), 4000 + n, "8.8.8.8", 21, 1000);
        let mut syn = client.packet("syn", b"");
        lab.track(&mut syn, &commit(Some(Nat::Source(NatRange::address([1, 1, 1, 1]))), Helper::Ftp));
        let mut server = End::new("8.8.8.8", 21, "1.1.1.1", 4000 + n, 9000);
        server.ack = client.seq;
        lab.track(&mut server.packet("syn|ack", b""), &existing());
        client.ack = server.seq;
        let mut port = client.packet("psh|ack", format!("PORT 10,0,0,{n},4,1\r\n").as_bytes());
        assert_eq!(lab.track(&mut port, &existing()), Outcome::Established);
        ports.push(read(&port).payload);
    }
    assert_eq!(ports[0], "PORT 1,1,1,1,4,1\r\n");
    assert_ne!(ports[1], ports[0]);
    assert_eq!(lab.tracker.expectations(lab.now).count(), 2);
}

#[test]
fn announcements_of_others_addresses_are_not_followed() {
    let mut s = Session::open("10.0.0.1", "8.8.8.8", Some(Nat::Source(NatRange::address([1, 1, 1, 1]))));
    for text in ["PORT 10,0,0,7,4,1\r\n", "PORT 1,1,1,1,4,1\r\n", "EPRT |2|fd00::1|1025|\r\n"] {
        assert_eq!(s.says(true, text).payload, text);
    }
    assert_eq!(s.says(false, "227 ok (9,9,9,9,4,1)\r\n").payload, "227 ok (9,9,9,9,4,1)\r\n");
    assert_eq!((s.lab.tracker.expectations(s.lab.now).count(), s.lab.tracker.stats().expectations_refused), (0, 4));
    // The client's words from the server are words.
    s.says(false, "PORT 8,8,8,8,4,1\r\n");
    assert_eq!(s.lab.tracker.expectations(s.lab.now).count(), 0);
}

#[test]
fn expectations_end_with_time_their_connection_and_their_number() {
    let mut s = Session::open("10.0.0.1", "10.0.0.2", None);
    s.says(true, "PORT 10,0,0,1,4,1\r\n");
    s.lab.wait(301);
    assert_eq!(s.data("10.0.0.2", 20, "10.0.0.1", 1025), None);
    s.lab.tracker.flush(None);

    let mut s = Session::open("10.0.0.1", "10.0.0.2", None);
    s.says(true, "PORT 10,0,0,1,4,1\r\n");
    let control = s.lab.tracker.dump(None, s.lab.now).next().unwrap();
    s.lab.tracker.flush_tuple(0, &control.original);
    assert_eq!(s.data("10.0.0.2", 20, "10.0.0.1", 1025), None);

    let mut s = Session::open("10.0.0.1", "10.0.0.2", None);
    for port in 1..=1100u16 {
        s.says(true, &format!("PORT 10,0,0,1,{},{}\r\n", port >> 8, port & 255));
    }
    let stats = s.lab.tracker.stats();
    assert_eq!((stats.expectations, stats.expectations_refused), (1000, 100));
    s.lab.tracker.flush(Some(0));
    assert_eq!(s.lab.tracker.stats().expectations, 0);
}

#[test]
fn selective_acknowledgements_are_shifted_back() {
    let mut s = Session::open("10.0.0.1", "8.8.8.8", Some(Nat::Source(NatRange::address([192, 168, 100, 200]))));
    let sent = s.says(true, "PORT 10,0,0,1,4,1\r\n");
    let growth = sent.payload.len() as u32 - 19;
    let mut p = s.server.packet("ack", &[0; 12]);
    let l4 = p.layers().l4.unwrap();
    let (from, to) = (s.client.seq + growth + 10, s.client.seq + growth + 20);
    p.data_mut()[l4 + 12] = 8 << 4;
    let mut options = vec![1, 5, 10];
    options.extend(from.to_be_bytes());
    options.extend(to.to_be_bytes());
    options.push(1);
    p.data_mut()[l4 + 20..l4 + 32].copy_from_slice(&options);
    compose::write_l4_checksum(&mut p);
    assert_eq!(s.lab.track(&mut p, &existing()), Outcome::Reply);
    read(&p);
    let word = |at: usize| u32::from_be_bytes(p.data()[at..at + 4].try_into().unwrap());
    assert_eq!((word(l4 + 23), word(l4 + 27)), (s.client.seq + 10, s.client.seq + 20));
}

#[test]
fn a_text_under_a_checksum_that_is_still_to_be_computed() {
    let mut s = Session::open("10.0.0.1", "8.8.8.8", Some(Nat::Source(NatRange::address([192, 168, 100, 200]))));
    let mut p = s.client.packet("psh|ack", b"PORT 10,0,0,1,4,1\r\n");
    let l4 = p.layers().l4.unwrap();
    let pseudo = checksum::fold(checksum::pseudo_v4([10, 0, 0, 1].into(), [8, 8, 8, 8].into(), 6, p.l4().len() as u32));
    p.data_mut()[l4 + 16..l4 + 18].copy_from_slice(&pseudo.to_be_bytes());
    p.offload.l4 = L4Checksum::Partial { start: l4, offset: 16 };
    s.lab.track(&mut p, &existing());
    // As a card would finish it.
    let p = ovs_packet::segment::finish(p).remove(0);
    assert_eq!(read(&p).payload, "PORT 192,168,100,200,4,1\r\n");
}

#[test]
fn tftp_answers_come_from_another_port() {
    for (nat, wire) in [(None, "10.0.0.1"), (Some(Nat::Source(NatRange::address([1, 1, 1, 1]))), "1.1.1.1")] {
        let mut lab = Lab::new();
        let udp = |text: &str, payload: &[u8]| common::with_payload(text, payload);
        let mut ask = udp("udp,nw_src=10.0.0.1,nw_dst=8.8.8.8,tp_src=4000,tp_dst=69", b"\0\x01file\0octet\0");
        assert_eq!(lab.track(&mut ask, &commit(nat, Helper::Tftp)), Outcome::Created);
        let answer = format!("udp,nw_src=8.8.8.8,nw_dst={wire},tp_src=50000,tp_dst=4000");
        let mut data = udp(&answer, b"\0\x03\0\x01data");
        let outcome = lab.track(&mut data, &CtRequest::commit(0).with_nat(Nat::Existing));
        assert_eq!(outcome, Outcome::Expected { created: true });
        assert_eq!(read(&data).ends, "8.8.8.8:50000>10.0.0.1:4000");
        let mut ack = udp("udp,nw_src=10.0.0.1,nw_dst=8.8.8.8,tp_src=4000,tp_dst=50000", b"\0\x04\0\x01");
        assert_eq!(lab.track(&mut ack, &existing()), Outcome::Reply);
        assert_eq!(read(&ack).ends, format!("{wire}:4000>8.8.8.8:50000"));
        // What is no request announces nothing.
        let mut other = udp("udp,nw_src=10.0.0.1,nw_dst=8.8.8.9,tp_src=4000,tp_dst=69", b"\0\x05");
        lab.track(&mut other, &commit(nat, Helper::Tftp));
        assert_eq!(lab.tracker.expectations(lab.now).count(), 0);
    }
}

#[test]
fn a_helper_of_another_protocol_does_nothing() {
    let mut lab = Lab::new();
    let mut p =
        common::with_payload("udp,nw_src=10.0.0.1,nw_dst=8.8.8.8,tp_src=4000,tp_dst=21", b"PORT 10,0,0,1,4,1\r\n");
    lab.track(&mut p, &commit(None, Helper::Ftp));
    assert_eq!(lab.tracker.dump(None, lab.now).next().unwrap().helper, None);
}

/// CVE-2026-34956: the text is replaced in a packet of any length.
#[test]
fn cve_2026_34956() {
    for len in [255, 256, 260, 261, 262, 300, 511, 512, 1400, 65000] {
        for (text, becomes) in [
            ("PORT 192,168,123,2,113,42\r\n", "PORT 10,0,0,100,113,42\r\n"),
            ("EPRT |1|192.168.123.2|28970|\r\n", "EPRT |1|10.0.0.100|28970|\r\n"),
        ] {
            let mut s =
                Session::open("192.168.123.2", "10.0.0.2", Some(Nat::Source(NatRange::address([10, 0, 0, 100]))));
            let padded = format!("{text:len$}");
            let read = s.says(true, &padded);
            let shorter = padded.len() - (text.len() - becomes.len());
            assert_eq!(read.payload, format!("{becomes:shorter$}"));
            assert_eq!(s.says(true, "NOOP\r\n").seq, read.seq + shorter as u32);
        }
        for text in ["227 ok (10,0,0,9,4,1)\r\n", "229 ok (|||1025|)\r\n"] {
            let mut s = Session::open("1.1.1.1", "2.2.2.2", Some(Nat::Destination(NatRange::address([10, 0, 0, 9]))));
            let padded = format!("{text:len$}");
            assert_eq!(s.says(false, &padded).payload, padded.replace("10,0,0,9", "2,2,2,2"));
        }
    }
}

/// A text that would make the packet longer than IP can say leaves it as it is.
#[test]
fn a_packet_does_not_outgrow_its_length_field() {
    let mut s = Session::open("1.1.1.1", "8.8.8.8", Some(Nat::Source(NatRange::address([192, 168, 100, 200]))));
    let text = format!("{:width$}", "PORT 1,1,1,1,4,1\r\n", width = 65495);
    assert_eq!(s.says(true, &text).payload, text);
    assert_eq!(s.lab.tracker.stats().expectations_refused, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whatever is said, both ends see a stream without gaps, and what they acknowledge is what was said.
    #[test]
    fn streams_stay_whole(lines in proptest::collection::vec((any::<bool>(), 0usize..7, 1u16..3000), 1..30)) {
        let mut s = Session::open("10.0.0.1", "8.8.8.8", Some(Nat::Source(NatRange::address([192, 168, 100, 200]))));
        let mut next = [s.client.seq, s.server.seq];
        for (client, kind, port) in lines {
            let text = match kind {
                0 => format!("PORT 10,0,0,1,{},{}\r\n", port >> 8, port & 255),
                1 => format!("EPRT |1|10.0.0.1|{port}|\r\n"),
                2 => format!("227 x (8,8,8,8,{},{})\r\n", port >> 8, port & 255),
                3 => format!("229 x (|||{port}|)\r\n"),
                4 => "PORT 10,0,0,1,4".to_string(),
                5 => String::new(),
                _ => format!("{:1$}", "x", usize::from(port)),
            };
            let read = s.says(client, &text);
            prop_assert_eq!(read.seq, next[usize::from(!client)]);
            prop_assert_eq!(read.ack, if client { s.server.seq } else { s.client.seq });
            next[usize::from(!client)] += read.payload.len() as u32;
        }
        prop_assert_eq!(s.lab.tracker.stats().invalid_total(), 0);
    }
}

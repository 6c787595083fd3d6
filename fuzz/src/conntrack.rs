//! Connection tracking.

use std::collections::BTreeSet;
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use ovs_conntrack::fragment::{FragmentLimits, Fragments, Gathered};
use ovs_conntrack::{Config, CtRequest, Helper, Nat, NatRange, Outcome, Sighting, Tracker};
use ovs_packet::packet::CtState;
use ovs_packet::{Instant, Match, Packet, checksum, compose, extract};

use crate::traffic;

/// Packets of few hosts and requests of few zones: the metadata say what the outcome does, connections are counted in
/// and out, the limit holds, and what a dump shows is found.
pub fn conntrack(data: &[u8]) {
    let _ = follow(&mut Unstructured::new(data), false);
}

/// The same of frames as they come, two bytes of length before each.
pub fn conntrack_frames(data: &[u8]) {
    let _ = follow(&mut Unstructured::new(data), true);
}

fn follow(u: &mut Unstructured, raw: bool) -> Result<()> {
    const LIMIT: usize = 6;
    let config = Config::new(u.arbitrary::<u8>()?.into()).with_max_connections(LIMIT);
    let mut tracker = Tracker::new(config.with_verify_checksums(!raw));
    let mut now = Instant::from_secs(1000);
    let mut tracked = 0;
    for _ in 0..256 {
        if u.is_empty() {
            break;
        }
        match u.int_in_range(0..=9)? {
            0 => now += Duration::from_secs(u.int_in_range(0..=4000)?),
            1 => {
                tracker.expire(now, u.int_in_range(0..=8)?);
            }
            2 => {
                tracker.flush(if u.arbitrary()? { Some(0) } else { None });
            }
            _ => {
                let from = u.int_in_range(1..=3)?;
                let mut packet = if raw {
                    let len = usize::from(u.arbitrary::<u16>()?).min(u.len());
                    Packet::from_slice(u.bytes(len)?)
                } else {
                    traffic::packet(u, from)?
                };
                let zone = u.int_in_range(0..=1)?;
                let request = match u.int_in_range(0..=7)? {
                    0 => CtRequest::lookup(zone),
                    1 => CtRequest::commit(zone),
                    2 => CtRequest::force_commit(zone),
                    3 => CtRequest::commit(zone).with_mark(u.arbitrary()?, 0xff).with_label(5, 7),
                    4 => CtRequest::lookup(zone).with_nat(Nat::Existing),
                    5 => CtRequest::commit(zone).with_nat(Nat::Source(nat_range(u)?)),
                    6 => CtRequest::force_commit(zone).with_nat(Nat::Destination(nat_range(u)?)),
                    _ => CtRequest::commit(zone).with_helper(*u.choose(&[Helper::Ftp, Helper::Tftp])?),
                };
                let bytes = packet.data().to_vec();
                let key = traffic::key_of(&mut packet);
                let outcome = tracker.track(&mut packet, &key, &request, now);
                let state = packet.meta.ct.state;
                assert!(state.contains(outcome.state()) && packet.meta.ct.zone == zone);
                assert_eq!(packet.len(), bytes.len());
                let translated = state.intersects(CtState::SRC_NAT | CtState::DST_NAT);
                assert!(packet.data() == bytes || request.nat.is_some() && (translated || outcome.state() == state));
                let nothing = matches!(outcome, Outcome::Invalid(_));
                assert_eq!(packet.meta.ct.original.is_none(), nothing);
                assert!(request.commit || request.force || outcome != Outcome::Created);
                tracked += u64::from(nothing);
            }
        }
        let stats = tracker.stats();
        assert!(tracker.len() <= LIMIT);
        assert_eq!(stats.created, tracker.len() as u64 + stats.expired + stats.replaced + stats.flushed, "{stats:?}");
        assert_eq!(stats.invalid_total(), tracked);
        let mut tuples = BTreeSet::new();
        for connection in tracker.dump(None, now) {
            // No two connections look the same to anybody.
            for tuple in [connection.original, connection.reply] {
                let itself = connection.original == connection.reply;
                assert!(tuples.insert((connection.zone, tuple)) || itself, "{connection}");
            }
            let found = tracker.get(connection.zone, &connection.original, now).expect("it was in the dump");
            assert_eq!(found.to_string(), connection.to_string());
            assert!(tracker.get(connection.zone, &connection.reply, now).is_some());
        }
    }
    Ok(())
}

/// Packets that are tracked again and again, as a switch does that recirculates them: with what was noted of each the
/// first time, and without. Whatever happens to their connections between, both say and do the same.
pub fn conntrack_again(data: &[u8]) {
    let _ = again(&mut Unstructured::new(data));
}

fn again(u: &mut Unstructured) -> Result<()> {
    const PACKETS: usize = 6;
    let config = Config::new(u.arbitrary::<u8>()?.into()).with_max_connections(8);
    let [mut sighted, mut afresh] = [(); 2].map(|()| Tracker::new(config));
    let mut packets: Vec<[Packet; 2]> = Vec::new();
    let mut sightings: Vec<Sighting> = Vec::new();
    for _ in 0..PACKETS {
        let from = u.int_in_range(1..=3)?;
        let packet = traffic::packet(u, from)?;
        packets.push([packet.clone(), packet]);
        sightings.push(Sighting::NONE);
    }
    let mut now = Instant::from_secs(1000);
    for _ in 0..128 {
        if u.is_empty() {
            break;
        }
        match u.int_in_range(0..=11)? {
            0 => now += Duration::from_secs(u.int_in_range(0..=100)?),
            1 => {
                let budget = u.int_in_range(0..=8)?;
                assert_eq!(sighted.expire(now, budget), afresh.expire(now, budget));
            }
            2 => {
                let zone = if u.arbitrary()? { Some(0) } else { None };
                assert_eq!(sighted.flush(zone), afresh.flush(zone));
            }
            3 => {
                // Another packet, or the same changed: what was noted is to be forgotten.
                let at = u.int_in_range(0..=PACKETS - 1)?;
                let from = u.int_in_range(1..=3)?;
                let packet = traffic::packet(u, from)?;
                packets[at] = [packet.clone(), packet];
                sightings[at].forget();
            }
            _ => {
                let zone = u.int_in_range(0..=1)?;
                let request = match u.int_in_range(0..=6)? {
                    0 | 1 => CtRequest::lookup(zone),
                    2 => CtRequest::commit(zone),
                    3 => CtRequest::force_commit(zone),
                    4 => CtRequest::commit(zone).with_mark(u.arbitrary()?, 0xff).with_label(5, 7),
                    5 => CtRequest::lookup(zone).with_nat(Nat::Existing),
                    _ => CtRequest::commit(zone).with_nat(Nat::Source(nat_range(u)?)),
                };
                let chosen = u.arbitrary::<u8>()?;
                let is_chosen = |at: usize| chosen >> at & 1 != 0;
                let mut keys: Vec<_> = packets.iter_mut().map(|both| both.each_mut().map(traffic::key_of)).collect();
                let batch = packets.iter_mut().zip(&keys).zip(&mut sightings).enumerate();
                let batch = batch.filter(|(at, _)| is_chosen(*at));
                let with = batch.map(|(_, ((both, key), sighting))| (&mut both[0], &key[0], sighting));
                let with = sighted.track_again(with, &request, now);
                let without = packets.iter_mut().zip(&mut keys).enumerate().filter(|(at, _)| is_chosen(*at));
                let without: Vec<Outcome> =
                    without.map(|(_, (both, key))| afresh.track(&mut both[1], &key[1], &request, now)).collect();
                assert_eq!(with[..], without[..], "{request:?}");
                for (at, ([one, other], sighting)) in packets.iter().zip(&mut sightings).enumerate() {
                    assert_eq!((one.data(), one.meta.ct), (other.data(), other.meta.ct), "packet {at}");
                    if request.nat.is_some() && is_chosen(at) {
                        // It may have been translated.
                        sighting.forget();
                    }
                }
            }
        }
        assert_eq!(sighted.stats(), afresh.stats());
        let dump = |tracker: &Tracker| tracker.dump(None, now).collect::<Vec<_>>();
        assert_eq!(dump(&sighted), dump(&afresh));
    }
    Ok(())
}

/// Addresses of the hosts themselves among others, and few ports.
fn nat_range(u: &mut Unstructured) -> Result<NatRange> {
    let first = u.int_in_range(1..=9)?;
    let mut range = NatRange::addresses([10, 0, 0, first], [10, 0, 0, first + u.int_in_range(0..=2)?]);
    if u.arbitrary()? {
        range = range.with_ports(999, u.int_in_range(999..=1001)?);
    }
    Ok(if u.arbitrary()? { range.random() } else { range })
}

/// What both ends of a translated FTP session say, in packets of any length: each sees a stream without gaps and
/// checksums that are right, and what it acknowledges is what the other said.
pub fn conntrack_ftp(data: &[u8]) {
    let _ = session(&mut Unstructured::new(data));
}

fn session(u: &mut Unstructured) -> Result<()> {
    let now = Instant::from_secs(1000);
    let mut tracker = Tracker::new(Config::new(1).with_max_expectations(8));
    let public = [u.int_in_range(1..=223)?, u.arbitrary()?, u.arbitrary()?, 1];
    let nat = if u.arbitrary()? { Nat::Source(NatRange::address(public)) } else { Nat::Existing };
    let server_sees = if nat == Nat::Existing { [10, 0, 0, 1] } else { public };
    let address = |a: [u8; 4]| std::net::Ipv4Addr::from(a);
    // What each has said, and heard.
    let (mut said, mut heard) = ([1u32, 1], [0u32, 0]);
    let mut say = |client: bool, flags: &str, payload: &[u8], request: CtRequest| {
        let (src, dst, ports) = match client {
            true => (address([10, 0, 0, 1]), address([8, 8, 8, 8]), "tp_src=4000,tp_dst=21"),
            false => (address([8, 8, 8, 8]), address(server_sees), "tp_src=21,tp_dst=4000"),
        };
        let text = format!("tcp,nw_src={src},nw_dst={dst},{ports},tcp_flags={flags}");
        let mut packet = compose::compose(text.parse::<Match>().expect("a match of ours").key(), payload);
        let (own, other) = if client { (0, 1) } else { (1, 0) };
        let l4 = packet.layers().l4.expect("a TCP packet of ours");
        packet.data_mut()[l4 + 4..l4 + 8].copy_from_slice(&said[own].to_be_bytes());
        packet.data_mut()[l4 + 8..l4 + 12].copy_from_slice(&heard[own].to_be_bytes());
        packet.data_mut()[l4 + 14..l4 + 16].fill(0xff);
        compose::write_l4_checksum(&mut packet);
        let key = traffic::key_of(&mut packet);
        let outcome = tracker.track(&mut packet, &key, &request, now);
        assert!(!matches!(outcome, Outcome::Invalid(_)), "{outcome:?}");
        traffic::key_of(&mut packet);
        let (l3, l4) = (packet.l3(), packet.l4());
        assert_eq!(checksum::checksum(&l3[..20]), 0);
        let pseudo = checksum::sum(&l3[12..20], 6 + l4.len() as u64);
        assert_eq!(checksum::fold(checksum::sum(l4, pseudo)), 0xffff);
        let number = |at: usize| u32::from_be_bytes([l4[at], l4[at + 1], l4[at + 2], l4[at + 3]]);
        let syn = u32::from(flags.contains("syn"));
        if heard[other] != 0 {
            assert_eq!(number(4), heard[other]);
        }
        if flags.contains("ack") {
            assert_eq!(number(8), said[other]);
        }
        heard[other] = number(4) + (l4.len() - 20) as u32 + syn;
        said[own] += payload.len() as u32 + syn;
    };
    say(true, "syn", b"", CtRequest::commit(0).with_nat(nat).with_helper(Helper::Ftp));
    let existing = CtRequest::lookup(0).with_nat(Nat::Existing);
    say(false, "syn|ack", b"", existing);
    for _ in 0..64 {
        if u.is_empty() {
            break;
        }
        let client = u.arbitrary()?;
        let port: u16 = u.arbitrary()?;
        let [high, low] = port.to_be_bytes();
        let mut line = match u.int_in_range(0..=6)? {
            0 => format!("PORT 10,0,0,1,{high},{low}\r\n").into_bytes(),
            1 => format!("EPRT |1|10.0.0.1|{port}|\r\n").into_bytes(),
            2 => format!("227 ok (8,8,8,8,{high},{low})\r\n").into_bytes(),
            3 => format!("229 ok (|||{port}|)\r\n").into_bytes(),
            _ => Vec::new(),
        };
        let len = usize::from(u.arbitrary::<u16>()? % 1500).min(u.len());
        line.extend_from_slice(u.bytes(len)?);
        say(client, "psh|ack", &line, existing);
    }
    assert!(tracker.expectations(now).count() <= 8);
    Ok(())
}

/// Fragments of IPv4 and IPv6 from anywhere in their datagrams, and frames as they come: limits hold, every fragment is
/// accounted for, and what becomes whole can be cut again.
pub fn fragments(data: &[u8]) {
    let _ = gather(&mut Unstructured::new(data));
}

fn gather(u: &mut Unstructured) -> Result<()> {
    let mut limits = FragmentLimits::default();
    (limits.datagrams, limits.fragments, limits.bytes) = (4, 12, 20_000);
    (limits.min_size_v4, limits.min_size_v6) = (u.int_in_range(0..=64)?, u.int_in_range(0..=64)?);
    let mut fragments = Fragments::new(limits);
    let mut now = Instant::from_secs(1000);
    for _ in 0..256 {
        if u.is_empty() {
            break;
        }
        let mut packet = match u.int_in_range(0..=5)? {
            0 => {
                now += Duration::from_secs(u.int_in_range(0..=20)?);
                continue;
            }
            1 => {
                let len = usize::from(u.arbitrary::<u8>()?).min(u.len());
                Packet::from_slice(u.bytes(len)?)
            }
            v => piece(u, v < 4)?,
        };
        traffic::key_of(&mut packet);
        if let Gathered::Whole(mut whole) = fragments.gather(packet, u.int_in_range(0..=1)?, now) {
            let (n, joined) = (whole.fragments(), whole.packet.data().to_vec());
            assert_eq!(
                extract::extract(&mut whole.packet, &mut ovs_packet::FlowKey::ZERO.clone()).malformed.is_some(),
                {
                    let mut again = Packet::from_slice(&joined);
                    extract::extract(&mut again, &mut ovs_packet::FlowKey::ZERO.clone()).malformed.is_some()
                }
            );
            let pieces = whole.split();
            assert_eq!(pieces.len(), n);
            // The same come together to the same.
            let mut limits = FragmentLimits::default();
            (limits.min_size_v4, limits.min_size_v6) = (0, 0);
            let mut others = Fragments::new(limits);
            let again = pieces.into_iter().fold(None, |again, p| match others.gather(p, 0, now) {
                Gathered::Whole(whole) => Some(whole.packet.data().to_vec()),
                _ => again,
            });
            assert_eq!(again, Some(joined));
        }
        let stats = fragments.stats();
        assert!(stats.datagrams <= 4 && stats.fragments <= 12 && stats.bytes <= 20_000, "{stats:?}");
        assert_eq!(stats.received, stats.joined + stats.dropped_total() + stats.fragments as u64);
    }
    fragments.flush();
    assert_eq!(fragments.stats().bytes, 0);
    Ok(())
}

/// A fragment of one of few datagrams.
fn piece(u: &mut Unstructured, v4: bool) -> Result<Packet> {
    let (at, more, id) = (u.int_in_range(0..=8u16)?, u.arbitrary::<bool>()?, u.int_in_range(0..=2u8)?);
    // Now and then one that is far away.
    let at = if u.ratio(1, 16)? { 8191 } else { at };
    let payload = vec![u.arbitrary()?; u.int_in_range(0..=9usize)? * if u.ratio(1, 8)? { 7 } else { 8 }];
    let text = match v4 {
        true => "ip,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_proto=17,nw_frag=later",
        false => "ipv6,ipv6_src=fe80::1,ipv6_dst=fe80::2,nw_proto=17,nw_frag=later",
    };
    let mut packet = compose::compose(text.parse::<Match>().expect("a match of ours").key(), &payload);
    let data = packet.data_mut();
    if v4 {
        data[19] = id;
        data[20..22].copy_from_slice(&(at | if more { 0x2000 } else { 0 }).to_be_bytes());
        data[24..26].fill(0);
        let sum = checksum::checksum(&data[14..34]);
        data[24..26].copy_from_slice(&sum.to_be_bytes());
    } else {
        data[56..58].copy_from_slice(&(at << 3 | u16::from(more)).to_be_bytes());
        data[61] = id;
    }
    Ok(packet)
}

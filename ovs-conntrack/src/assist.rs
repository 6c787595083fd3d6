//! The work of helpers on a control connection's packet: announcements are followed, and rewritten if need be.

use core::net::IpAddr;

use ovs_packet::extract::{self, IP_PROTO_TCP, IP_PROTO_UDP};
use ovs_packet::packet::L4Checksum;
use ovs_packet::{FlowKey, Instant, Packet, checksum, compose};

use crate::engine::{Shards, expectation_shard};
use crate::helper::adjust;
use crate::helper::ftp::{Announcement, Speaker};
use crate::helper::{Expectation, Expected, Helper, PATIENCE};
use crate::read::{Content, Seen};
use crate::shard::Help;
use crate::tuple::Transport;

/// How many ports are tried for an announcement.
const TRIES: usize = 16;

/// Opcodes of TFTP that begin a transfer: read and write request (RFC 1350, section 5).
const TFTP_REQUESTS: [[u8; 2]; 2] = [[0, 1], [0, 2]];

/// Reads the payload of a control connection's packet, follows what it announces, and shifts its sequence numbers.
pub(crate) fn help(
    shards: &mut impl Shards,
    packet: &mut Packet,
    seen: &Seen,
    help: &Help,
    (mark, label): (u32, u128),
    now: Instant,
) {
    let home = shards.common().shard_of(help.key.hash(shards.common().hash));
    let base = Base { mark, label, until: now + PATIENCE };
    match (help.helped.helper, &seen.content) {
        (Helper::Ftp, Content::Tcp(segment)) => {
            let (mut adjusts, own) = (help.helped.adjust, usize::from(help.way.reply));
            if let Some(grown) = ftp(shards, packet, help, &base, now, home)
                && let Some(adjust) = adjusts.get_mut(own)
            {
                adjust.grow(segment.seq, grown);
                let adjust = *adjust;
                shards.with(home, |shard, _| {
                    let place = shard.helped_mut(help.way.id).and_then(|h| h.adjust.get_mut(own));
                    place.into_iter().for_each(|place| *place = adjust);
                });
            }
            let [there, back] = adjusts;
            let (own, other) = if help.way.reply { (back, there) } else { (there, back) };
            adjust::shift(packet, &own, &other);
        }
        (Helper::Tftp, Content::Other) if !help.way.reply => tftp(shards, packet, help, &base, now, home),
        _ => {}
    }
}

/// What all expectations of a control connection have in common.
struct Base {
    mark: u32,
    label: u128,
    until: Instant,
}

fn expect(
    shards: &mut impl Shards,
    help: &Help,
    base: &Base,
    expected: Expected,
    real: (IpAddr, IpAddr, u16),
    now: Instant,
) -> bool {
    let Some(shard) = expectation_shard(shards.common(), &expected) else { return false };
    let expectation = Expectation {
        expected,
        real,
        parent: help.original,
        parent_key: help.key,
        mark: base.mark,
        label: base.label,
        until: base.until,
    };
    shards.with(shard, |shard, common| shard.expect(&expectation, now, common))
}

/// The answer to a request comes from another port, to the port that asked.
fn tftp(shards: &mut impl Shards, packet: &Packet, help: &Help, base: &Base, now: Instant, home: usize) {
    let payload = packet.l4().get(8..).unwrap_or(&[]);
    if !payload.first_chunk::<2>().is_some_and(|code| TFTP_REQUESTS.contains(code)) {
        return;
    }
    let (Transport::Ports { dst: port, .. }, Transport::Ports { src: real, .. }) =
        (help.reply.transport, help.original.transport)
    else {
        return;
    };
    let wire = help.reply;
    let expected = Expected { zone: help.key.zone(), proto: IP_PROTO_UDP, src: wire.src, dst: wire.dst, port };
    let real = (help.original.dst, help.original.src, real);
    if !expect(shards, help, base, expected, real, now) {
        shards.with(home, |shard, _| shard.stats.expectations_refused += 1);
    }
}

/// Follows an announcement. How many bytes longer the packet became, if its text changed.
fn ftp(
    shards: &mut impl Shards,
    packet: &mut Packet,
    help: &Help,
    base: &Base,
    now: Instant,
    home: usize,
) -> Option<i32> {
    let header = packet.l4().get(12).map(|b| usize::from(b >> 4) * 4)?;
    let payload = packet.l4().get(header..)?;
    let speaker = if help.way.reply { Speaker::Server } else { Speaker::Client };
    let announced = Announcement::find(payload, speaker)?;
    let rewritten = follow(shards, packet, help, base, &announced, header, now);
    if rewritten.is_none() {
        shards.with(home, |shard, _| shard.stats.expectations_refused += 1);
    }
    rewritten.filter(|grown| *grown != 0)
}

fn follow(
    shards: &mut impl Shards,
    packet: &mut Packet,
    help: &Help,
    base: &Base,
    announced: &Announcement,
    header: usize,
    now: Instant,
) -> Option<i32> {
    let (original, reply) = (&help.original, &help.reply);
    // Data go against whoever announces: `wire` is their tuple as it is seen before translation, `real` behind it.
    let (wire, real) = if help.way.reply { (*original, reply.reversed()) } else { (*reply, original.reversed()) };
    // A speaker announces itself: what is said of a third host would be an attack on it.
    if announced.address.is_some_and(|address| address != real.dst) {
        return None;
    }
    let real_end = (real.src, real.dst, announced.port);
    let expected = |port| Expected { zone: help.key.zone(), proto: IP_PROTO_TCP, src: wire.src, dst: wire.dst, port };
    // Ports are the speaker's own until its address is shared with others.
    let tries = if wire.dst == real.dst { 1 } else { TRIES };
    // They follow from the connection and the port, so that a text that is sent again is rewritten to the same.
    let (secret, of) = (shards.common().hash, help.key.hash(shards.common().hash));
    let port = (0..tries as u64).find_map(|i| {
        let other = 1024 + secret.hash(&[of, announced.port.into(), i]) % (65536 - 1024);
        let port = if i == 0 { announced.port } else { other as u16 };
        expect(shards, help, base, expected(port), real_end, now).then_some(port)
    })?;
    if (wire.dst, port) == (real.dst, announced.port) {
        return Some(0);
    }
    let text = announced.text(wire.dst, port)?;
    splice(packet, header + announced.at.start..header + announced.at.end, text.as_bytes())
}

/// Replaces bytes of the segment by `text`, lengths and checksums with them. How many bytes longer the packet became;
/// `None` if it would become too long.
fn splice(packet: &mut Packet, at: core::ops::Range<usize>, text: &[u8]) -> Option<i32> {
    let layers = packet.layers();
    let (l3, l4) = (layers.l3?, layers.l4?);
    let tail = packet.l4().get(at.end..)?.to_vec();
    let grown = i32::try_from(text.len()).ok()? - i32::try_from(at.len()).ok()?;
    let v6 = packet.data().get(l3)? >> 4 == 6;
    let field = l3 + if v6 { 4 } else { 2 };
    let len = packet.data_mut().get_mut(field..)?.first_chunk_mut::<2>()?;
    let old = *len;
    let new = u16::try_from(i32::from(u16::from_be_bytes(old)) + grown).ok()?;
    *len = new.to_be_bytes();
    if !v6 {
        let sum = packet.data_mut().get_mut(l3 + 10..)?.first_chunk_mut::<2>()?;
        *sum = checksum::update(u16::from_be_bytes(*sum), &old, &new.to_be_bytes()).to_be_bytes();
    }
    packet.truncate(l4 + at.start);
    packet.extend(text);
    packet.extend(&tail);
    let segment = (packet.len() - l4) as u16;
    // The layers know of padding that is gone now.
    let mut key = FlowKey::ZERO;
    extract::extract(packet, &mut key);
    match packet.offload.l4 {
        L4Checksum::Partial { start, offset } => {
            let before = (i32::from(segment) - grown) as u16;
            let sum = packet.data_mut().get_mut(start + offset..)?.first_chunk_mut::<2>()?;
            let folded = u16::from_be_bytes(*sum);
            *sum = checksum::update_sum(folded, &before.to_be_bytes(), &segment.to_be_bytes()).to_be_bytes();
        }
        _ => {
            compose::write_l4_checksum(packet);
            packet.offload.l4 = L4Checksum::Good;
        }
    }
    Some(grown)
}

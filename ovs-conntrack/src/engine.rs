//! What becomes of a packet, step by step, over one shard that is owned or many that are locked.
//!
//! A packet of an established connection that is not translated is dealt with inside one shard at one go. All else
//! visits a shard several times, or several shards, one at a time and never two at once, so that no order of locks has
//! to be kept. What was found may then have changed; each step asks again for what it relies on.
//!
//! A translated connection is stored in three steps: a slot is reserved in the shard of its original tuple; a reply
//! tuple is *claimed* in the shard that it belongs to, by an alias that points to the slot; the slot is filled. Until
//! then the alias leads nowhere, and a packet that comes by it is of no connection. So both tuples of a connection are
//! unique among all tuples of all connections.

use core::hash::{Hash, Hasher};
use core::sync::atomic::Ordering;
use std::hash::DefaultHasher;

use arrayvec::ArrayVec;
use ovs_packet::packet::{BATCH, CtMetadata, CtState};
use ovs_packet::{FlowKey, Instant, Packet};

use crate::assist;
use crate::connection::Connection;
use crate::helper::{Expectation, Expected};
use crate::key::Key;
use crate::nat::choose::Candidates;
use crate::nat::{Nat, NatRange, rewrite};
use crate::outcome::{InvalidReason, Outcome};
use crate::read::{self, Content, Seen};
use crate::request::CtRequest;
use crate::shard::{Claim, Common, Found, Holder, Meeting, Opening, Orphan, Said, Search, Shard, Way, Work};
use crate::sighting::{Sighting, Told};
use crate::table::{Alias, Entry, NIL};
use crate::tuple::{Transport, Tuple};

/// The shards of a tracker.
pub(crate) trait Shards {
    /// What they share.
    fn common(&self) -> &Common;

    /// Does something with one of them, which nobody else has meanwhile.
    fn with<R>(&mut self, shard: usize, f: impl FnOnce(&mut Shard, &Common) -> R) -> R;

    /// Fetches what these packets will need, so that they wait for memory together, and notes where their connections
    /// may be.
    fn fetch<'s>(&mut self, packets: impl Iterator<Item = &'s mut Sighting>);

    /// Removes aliases whose connections are gone, and then gives their slots back.
    fn bury_orphans(&mut self, orphans: Vec<Orphan>) {
        for orphan in orphans {
            let shard = self.common().shard_of(orphan.key.hash(self.common().hash));
            self.with(shard, |shard, common| shard.unclaim(&orphan, common));
            self.with(usize::from(orphan.shard), |shard, _| shard.table.release(orphan.id));
        }
    }
}

/// The hash of a packet's connection, as far as its flow key tells: that of ICMP is of the addresses.
pub(crate) fn hash_of(common: &Common, key: &FlowKey, zone: u16) -> u64 {
    read::key_of(key, zone).hash(common.hash)
}

/// Finds, follows or opens the connection of a packet that was read, writes the packet's metadata, and translates it.
#[inline]
pub(crate) fn track(
    shards: &mut impl Shards,
    packet: &mut Packet,
    sighting: &mut Sighting,
    request: &CtRequest,
    now: Instant,
) -> Outcome {
    let Sighting { reading, number, told, .. } = sighting;
    if let (Some(told), Ok(seen)) = (&*told, &*reading)
        && told.serves(packet, request, now)
        && shards.with(shards.common().shard_of(seen.hash), |shard, _| shard.changes == told.changes)
    {
        return told.outcome;
    }
    *told = None;
    let ct = &mut packet.meta.ct;
    // What was translated in this zone comes by again, perhaps: only then is it found by its translated tuple.
    let translated = ct.zone == request.zone && ct.state.intersects(CtState::SRC_NAT | CtState::DST_NAT);
    ct.zone = request.zone;
    let mut work = None;
    let judged = match reading {
        Ok(seen) => {
            let hints = Hints { translated, number, told };
            decide(shards, seen, hints, request, now, &mut Said { ct, work: &mut work })
        }
        Err(reason) => Err(*reason),
    };
    match (judged, reading) {
        (Ok(outcome), Ok(seen)) => {
            let Some(work) = work else { return outcome };
            match act(shards, packet, seen, &work, now) {
                Ok(()) => outcome,
                Err(reason) => invalid(shards, packet, Some(seen), reason),
            }
        }
        (Err(reason), reading) => invalid(shards, packet, reading.as_ref().ok(), reason),
        (Ok(outcome), Err(_)) => outcome,
    }
}

fn invalid(shards: &mut impl Shards, packet: &mut Packet, seen: Option<&Seen>, reason: InvalidReason) -> Outcome {
    let outcome = Outcome::Invalid(reason);
    packet.meta.ct = CtMetadata { state: outcome.state(), zone: packet.meta.ct.zone, ..CtMetadata::default() };
    let shard = seen.map_or(0, |seen| shards.common().shard_of(seen.hash));
    shards.with(shard, |shard, _| shard.stats.count_invalid(reason));
    outcome
}

/// Reads a packet and [tracks](track) it.
pub(crate) fn track_one(
    shards: &mut impl Shards,
    packet: &mut Packet,
    key: &FlowKey,
    request: &CtRequest,
    now: Instant,
) -> Outcome {
    let mut sighting = Sighting::NONE;
    sighting.read(shards.common(), packet, key, request.zone);
    track(shards, packet, &mut sighting, request, now)
}

/// So few packets find their connections as they are tracked: there is nothing to wait for together. Without lists of
/// them, a packet alone takes 893 instructions in place of 985, one of three 831 in place of 865.
const FEW: usize = 4;

/// Likewise, packets one after another. Memory that they need is fetched for all of them first.
pub(crate) fn track_batch<'a>(
    shards: &mut impl Shards,
    batch: impl IntoIterator<Item = (&'a mut Packet, &'a FlowKey)>,
    request: &CtRequest,
    now: Instant,
) -> ArrayVec<Outcome, BATCH> {
    let batch = batch.into_iter().take(BATCH);
    if batch.size_hint().1.is_some_and(|most| most < FEW) {
        return batch.map(|(packet, key)| track_one(shards, packet, key, request, now)).collect();
    }
    let mut packets: ArrayVec<&mut Packet, BATCH> = ArrayVec::new();
    let mut sightings: ArrayVec<Sighting, BATCH> = ArrayVec::new();
    for (packet, key) in batch {
        sightings.push(Sighting::NONE);
        if let Some(sighting) = sightings.last_mut() {
            sighting.read(shards.common(), packet, key, request.zone);
        }
        packets.push(packet);
    }
    if packets.len() >= FEW {
        shards.fetch(sightings.iter_mut());
    }
    let batch = packets.into_iter().zip(&mut sightings);
    batch.map(|(packet, sighting)| track(shards, packet, sighting, request, now)).collect()
}

/// Likewise, of packets that may have been tracked before.
pub(crate) fn track_again<'a, 's>(
    shards: &mut impl Shards,
    batch: impl IntoIterator<Item = (&'a mut Packet, &'a FlowKey, &'s mut Sighting)>,
    request: &CtRequest,
    now: Instant,
) -> ArrayVec<Outcome, BATCH> {
    let mut packets: ArrayVec<(&mut Packet, &mut Sighting), BATCH> = ArrayVec::new();
    let mut unknown = 0;
    for (packet, key, sighting) in batch.into_iter().take(BATCH) {
        sighting.read(shards.common(), packet, key, request.zone);
        unknown += usize::from(sighting.number == NIL);
        packets.push((packet, sighting));
    }
    if unknown >= FEW {
        shards.fetch(packets.iter_mut().map(|(_, sighting)| &mut **sighting));
    }
    packets.into_iter().map(|(packet, sighting)| track(shards, packet, sighting, request, now)).collect()
}

/// What is known of a packet's connection before it is looked for.
struct Hints<'a> {
    /// The packet was translated in this zone already.
    translated: bool,
    /// The connection may have this number; where it has another, that is noted.
    number: &'a mut u32,
    /// Where it is noted what is said, if that was all.
    told: &'a mut Option<Told>,
}

/// What a shard made of a packet at first sight.
enum First {
    Judged(Outcome),
    Invalid(InvalidReason),
    Alias(Alias),
    /// No connection has the packet's key.
    Absent,
    /// A translated connection has the packet's key, but not in this packet's sense.
    Clash,
}

#[inline]
fn decide(
    shards: &mut impl Shards,
    seen: &Seen,
    Hints { translated, number, told }: Hints<'_>,
    request: &CtRequest,
    now: Instant,
    said: &mut Said<'_>,
) -> Result<Outcome, InvalidReason> {
    let home = shards.common().shard_of(seen.hash);
    let mut orphans = Vec::new();
    let first = shards.with(home, |shard, common| {
        let mut absent = false;
        if *number == NIL {
            match shard.table.find(&seen.key, seen.hash, seen.from_low, translated) {
                Some(Entry::Connection(id)) => *number = id,
                Some(Entry::Alias(_)) => {}
                None => absent = true,
            }
        }
        if *number != NIL
            && let Some(plain) = shard.meet_plainly(*number, seen, request, now, common, said)
        {
            *told = plain.lasts.then_some(Told { outcome: plain.outcome, now, changes: shard.changes });
            return First::Judged(plain.outcome);
        }
        let found = match absent {
            true => Found::Absent,
            false => shard.find(&seen.key, seen.hash, seen.from_low, translated, now),
        };
        let first = glance(shard, seen, found, translated, request, now, common, said);
        if shard.has_orphans() {
            orphans = shard.take_orphans();
        }
        first
    });
    if !orphans.is_empty() {
        shards.bury_orphans(orphans);
    }
    match first {
        First::Judged(outcome) => Ok(outcome),
        First::Invalid(reason) => Err(reason),
        First::Clash => clash(shards, home, seen, request, now, said),
        First::Absent => open(shards, home, seen, request, now, said),
        First::Alias(alias) => by_alias(shards, home, &alias, seen, translated, request, now, said),
    }
}

/// Goes on where an alias leads.
#[expect(clippy::too_many_arguments, reason = "the packet's state on its way through the steps")]
fn by_alias(
    shards: &mut impl Shards,
    home: usize,
    alias: &Alias,
    seen: &Seen,
    translated: bool,
    request: &CtRequest,
    now: Instant,
    said: &mut Said<'_>,
) -> Result<Outcome, InvalidReason> {
    let (found, orphans) = shards.with(usize::from(alias.shard), |shard, common| {
        let Some(way) = shard.follow_alias(alias, seen.from_low, now) else { return (First::Absent, Vec::new()) };
        if way.rewritten && !translated {
            return (First::Clash, Vec::new());
        }
        let found = match shard.meet(way, seen, request, now, common, said) {
            Meeting::Judged(outcome) => First::Judged(outcome),
            Meeting::Invalid(reason) => First::Invalid(reason),
            Meeting::Gone => First::Absent,
        };
        (found, shard.take_orphans())
    });
    shards.bury_orphans(orphans);
    match found {
        First::Judged(outcome) => Ok(outcome),
        First::Invalid(reason) => Err(reason),
        First::Clash => clash(shards, home, seen, request, now, said),
        First::Absent | First::Alias(_) => {
            clear_way(shards, alias, now);
            open(shards, home, seen, request, now, said)
        }
    }
}

/// All that the shard of the packet's key can do alone with what was found there.
#[expect(clippy::too_many_arguments, reason = "the packet's state on its way through the steps")]
fn glance(
    shard: &mut Shard,
    seen: &Seen,
    found: Found,
    translated: bool,
    request: &CtRequest,
    now: Instant,
    common: &Common,
    said: &mut Said<'_>,
) -> First {
    match found {
        Found::There(alias) => return First::Alias(alias),
        Found::Here { id, reply } => {
            // A reply that is found by the original tuple is translated already, if the connection is.
            let rewritten = reply && shard.table.reply(id).is_some();
            if rewritten && !translated {
                return First::Clash;
            }
            match shard.meet(Way { id, reply, rewritten }, seen, request, now, common, said) {
                Meeting::Judged(outcome) => return First::Judged(outcome),
                Meeting::Invalid(reason) => return First::Invalid(reason),
                Meeting::Gone => {}
            }
        }
        Found::Absent => {}
    }
    let plain = request.nat.is_none_or(|nat| nat == Nat::Existing);
    if let Err(reason) = may_open(&seen.content) {
        return First::Invalid(reason);
    }
    if !plain || common.expectations.load(Ordering::Relaxed) > 0 {
        return First::Absent;
    }
    First::Judged(open_plain(shard, seen, None, request, now, common, said))
}

/// What is wrong with a packet that is of no connection, if it opens none.
fn may_open(content: &Content) -> Result<(), InvalidReason> {
    match content {
        _ if Connection::can_open(content) => Ok(()),
        Content::Error => Err(InvalidReason::Unrelated),
        _ => Err(InvalidReason::NotOpening),
    }
}

/// Opens a connection that is not translated, whose key nothing has.
fn open_plain(
    shard: &mut Shard,
    seen: &Seen,
    expectation: Option<&Expectation>,
    request: &CtRequest,
    now: Instant,
    common: &Common,
    said: &mut Said<'_>,
) -> Outcome {
    if !request.commits() {
        return unstored(seen, expectation, Outcome::Unknown, said);
    }
    let opening = Opening { seen, request, now, reply: None, expectation };
    let stored = shard.reserve(request.zone, now, common).and_then(|id| shard.store(id, &opening, common, said));
    stored.unwrap_or_else(|| unstored(seen, expectation, Outcome::Refused, said))
}

/// What is said of a packet whose connection is not stored.
fn unstored(seen: &Seen, expectation: Option<&Expectation>, mut outcome: Outcome, said: &mut Said<'_>) -> Outcome {
    (said.ct.mark, said.ct.label) = (0, 0);
    seen.key.original(seen.from_low, &mut said.ct.original);
    if let Some(expectation) = expectation {
        if outcome == Outcome::Unknown {
            outcome = Outcome::Expected { created: false };
        }
        (said.ct.mark, said.ct.label) = (expectation.mark, expectation.label);
        said.ct.original = expectation.parent.original();
    }
    said.ct.state = outcome.state();
    said.ct.state.set(CtState::RELATED, expectation.is_some());
    outcome
}

/// A packet that would open a connection, were its tuple, reversed, not a translated one's. One that is translated too
/// has replies of its own, and does not clash.
fn clash(
    shards: &mut impl Shards,
    home: usize,
    seen: &Seen,
    request: &CtRequest,
    now: Instant,
    said: &mut Said<'_>,
) -> Result<Outcome, InvalidReason> {
    may_open(&seen.content)?;
    if !request.commits() {
        return Ok(unstored(seen, None, Outcome::Unknown, said));
    }
    if request.nat.is_some_and(|nat| nat.range().is_some()) {
        return open(shards, home, seen, request, now, said);
    }
    shards.with(home, |shard, _| shard.stats.clashed += 1);
    Ok(unstored(seen, None, Outcome::Untranslatable, said))
}

/// What comes of a packet that is of no connection, and may be expected, or translated.
fn open(
    shards: &mut impl Shards,
    home: usize,
    seen: &Seen,
    request: &CtRequest,
    now: Instant,
    said: &mut Said<'_>,
) -> Result<Outcome, InvalidReason> {
    may_open(&seen.content)?;
    let original = seen.key.tuple(seen.from_low);
    let expected = Expected::of(request.zone, &original);
    let expectation = expected.and_then(|expected| look_out(shards, &expected, now));
    let expectation = expectation.as_ref();
    if !request.commits() {
        return Ok(unstored(seen, expectation, Outcome::Unknown, said));
    }
    let (secret, random) = (shards.common().hash, shards.with(home, Shard::random));
    let mut candidates = match (request.nat, expectation) {
        (Some(_), Some(expectation)) if expectation.translates() => {
            // As it was announced; if a stranger has the client's port there, from another.
            let reply = expectation.reply(&original);
            let renumbered = Candidates::new(&original, &Nat::Source(NatRange::own()), secret, random);
            let with_port = move |other: Tuple| Tuple { transport: merge(&reply, &other), ..reply };
            Some(Choice::Expected(renumbered.map(|all| all.map(with_port))))
        }
        (Some(nat), _) => Candidates::new(&original, &nat, secret, random).map(Choice::Asked),
        (None, _) => None,
    };
    let wanted = request.nat.is_some_and(|nat| nat.range().is_some());
    if candidates.is_none() && !(wanted && expectation.is_none()) {
        let (outcome, orphans) = shards.with(home, |shard, common| {
            let outcome = match shard.holder(&seen.key, seen.hash, seen.from_low, now) {
                Holder::Nobody => open_plain(shard, seen, expectation, request, now, common, said),
                // Somebody else was quicker; the next packet of the connection will find it.
                _ => unstored(seen, expectation, Outcome::Unknown, said),
            };
            (outcome, shard.take_orphans())
        });
        shards.bury_orphans(orphans);
        fulfil(shards, expected, expectation, outcome);
        return Ok(outcome);
    }

    // What was searched whole and found taken is taken until a translated connection goes.
    let search =
        Search { of: fingerprint(request, &original), releases: shards.common().releases.load(Ordering::Relaxed) };
    let whole = candidates.as_ref().is_none_or(Choice::is_whole);
    if whole && shards.with(home, |shard, _| shard.is_futile(&search)) {
        shards.with(home, |shard, _| shard.stats.nat_exhausted += 1);
        return Ok(unstored(seen, expectation, Outcome::Untranslatable, said));
    }
    let (reserved, orphans) =
        shards.with(home, |shard, common| (shard.reserve(request.zone, now, common), shard.take_orphans()));
    shards.bury_orphans(orphans);
    let Some(id) = reserved else { return Ok(unstored(seen, expectation, Outcome::Refused, said)) };
    let owner = (home as u16, id);
    let mut chosen = None;
    while let Some(reply) = candidates.as_mut().and_then(Iterator::next) {
        if reply == original.reversed() {
            // Nothing changes: the key of the original tuple does for both, if it is free for both.
            let holder = shards.with(home, |shard, _| shard.holder(&seen.key, seen.hash, seen.from_low, now));
            if !matches!(holder, Holder::Nobody) {
                continue;
            }
            chosen = Some(None);
            break;
        }
        let Some((key, from_low)) = Key::new(request.zone, &reply).filter(|(key, _)| *key != seen.key) else {
            continue;
        };
        let shard = shards.common().shard_of(key.hash(shards.common().hash));
        let claim = |shards: &mut _| {
            Shards::with(shards, shard, |shard, common| shard.claim(key, from_low, owner, now, common))
        };
        let claimed = match claim(shards) {
            Claim::Taken => false,
            Claim::Done => true,
            Claim::Alias(alias) => clear_way(shards, &alias, now) && matches!(claim(shards), Claim::Done),
        };
        if claimed {
            chosen = Some(Some((key, from_low)));
            break;
        }
    }
    let Some(reply) = chosen else {
        shards.with(home, |shard, common| {
            shard.release(id, request.zone, common);
            shard.stats.nat_exhausted += 1;
            if whole {
                shard.remember_futile(search);
            }
        });
        return Ok(unstored(seen, expectation, Outcome::Untranslatable, said));
    };
    let (stored, orphans) = shards.with(home, |shard, common| {
        let free = match shard.holder(&seen.key, seen.hash, seen.from_low, now) {
            Holder::Nobody => true,
            Holder::Opposite => reply.is_some(),
            Holder::Here | Holder::There(_) => false,
        };
        let opening = Opening { seen, request, now, reply, expectation };
        let stored = if free { shard.store(id, &opening, common, said) } else { None };
        if stored.is_none() {
            shard.uncharge(request.zone, common);
        }
        (stored, shard.take_orphans())
    });
    shards.bury_orphans(orphans);
    let Some(outcome) = stored else {
        match reply {
            Some((key, _)) => shards.bury_orphans(vec![Orphan { key, shard: owner.0, id }]),
            None => shards.with(home, |shard, _| shard.table.release(id)),
        }
        return Ok(unstored(seen, expectation, Outcome::Unknown, said));
    };
    fulfil(shards, expected, expectation, outcome);
    Ok(outcome)
}

/// Removes a dead connection that an alias leads to, and the alias. `false` if it is alive. One that is not stored yet
/// keeps its alias.
fn clear_way(shards: &mut impl Shards, alias: &Alias, now: Instant) -> bool {
    let (buried, orphans) =
        shards.with(usize::from(alias.shard), |shard, _| (shard.bury_if_dead(alias.id, now), shard.take_orphans()));
    shards.bury_orphans(orphans);
    buried
}

/// All that the reply tuples of a connection depend on, but for its client, who has any address and port of the range.
fn fingerprint(request: &CtRequest, original: &Tuple) -> u64 {
    let mut hasher = DefaultHasher::new();
    (request.zone, request.nat, original.dst, original.proto).hash(&mut hasher);
    match original.transport {
        Transport::Ports { dst, .. } => dst.hash(&mut hasher),
        Transport::Icmp { kind, .. } => kind.hash(&mut hasher),
    }
    hasher.finish()
}

/// Where reply tuples come from.
enum Choice<A, B> {
    Asked(A),
    Expected(Option<B>),
}

impl<B> Choice<Candidates, B> {
    /// Whether every reply tuple that the request allows comes up.
    fn is_whole(&self) -> bool {
        matches!(self, Choice::Asked(candidates) if candidates.is_whole())
    }
}

impl<A: Iterator<Item = Tuple>, B: Iterator<Item = Tuple>> Iterator for Choice<A, B> {
    type Item = Tuple;

    fn next(&mut self) -> Option<Tuple> {
        match self {
            Choice::Asked(all) => all.next(),
            Choice::Expected(all) => all.as_mut()?.next(),
        }
    }
}

/// The ports of an expected reply, but for the client's, which is another's.
fn merge(reply: &Tuple, other: &Tuple) -> Transport {
    let (server, client) = (reply.transport.ends().0, other.transport.ends().1);
    Transport::Ports { src: server, dst: client }
}

/// What is expected as this, if the connection that announced it is alive.
fn look_out(shards: &mut impl Shards, expected: &Expected, now: Instant) -> Option<Expectation> {
    if shards.common().expectations.load(Ordering::Relaxed) == 0 {
        return None;
    }
    let shard = expectation_shard(shards.common(), expected)?;
    let found = shards.with(shard, |shard, _| shard.expectation(expected, now))?;
    let hash = found.parent_key.hash(shards.common().hash);
    let home = shards.common().shard_of(hash);
    let alive = shards.with(home, |shard, _| {
        let from_low = Key::new(expected.zone, &found.parent).is_none_or(|(_, from_low)| from_low);
        let parent = shard.find(&found.parent_key, hash, from_low, false, now);
        matches!(parent, Found::Here { id, .. } if shard.helped(id).is_some())
    });
    if !alive {
        shards.with(shard, |shard, common| shard.fulfil(expected, common));
    }
    alive.then_some(found)
}

/// An expected connection is stored: it is expected no longer.
fn fulfil(shards: &mut impl Shards, expected: Option<Expected>, expectation: Option<&Expectation>, outcome: Outcome) {
    if let (Some(expected), Some(_), Outcome::Expected { created: true }) = (expected, expectation, outcome)
        && let Some(shard) = expectation_shard(shards.common(), &expected)
    {
        shards.with(shard, |shard, common| shard.fulfil(&expected, common));
    }
}

/// The shard that keeps an expectation.
pub(crate) fn expectation_shard(common: &Common, expected: &Expected) -> Option<usize> {
    let (key, _) = Key::new(expected.zone, &expected.tuple())?;
    Some(common.shard_of(key.hash(common.hash)))
}

/// Does to the packet what was decided: the helper's work, then the translation.
fn act(
    shards: &mut impl Shards,
    packet: &mut Packet,
    seen: &Seen,
    work: &Work,
    now: Instant,
) -> Result<(), InvalidReason> {
    if let Some(help) = &work.help {
        let ct = packet.meta.ct;
        assist::help(shards, packet, seen, help, (ct.mark, ct.label), now);
    }
    let Some(to) = &work.to else { return Ok(()) };
    let done = match seen.content {
        Content::Error => rewrite::error(packet, &seen.key.tuple(seen.from_low), to),
        _ => rewrite::packet(packet, to),
    };
    done.ok_or(InvalidReason::Untranslated)
}

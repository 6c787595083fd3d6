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

use core::sync::atomic::Ordering;

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
use crate::shard::{Claim, Common, Found, Meeting, Opening, Orphan, Shard, Verdict, Way};
use crate::table::Alias;
use crate::tuple::{Transport, Tuple};

/// The shards of a tracker.
pub(crate) trait Shards {
    /// What they share.
    fn common(&self) -> &Common;

    /// Does something with one of them, which nobody else has meanwhile.
    fn with<R>(&mut self, shard: usize, f: impl FnOnce(&mut Shard, &Common) -> R) -> R;

    /// Fetches what packets with these hashes will need, so that they wait for memory together.
    fn fetch(&mut self, hashes: &[u64]);

    /// Removes aliases whose connections are gone, and then gives their slots back.
    fn bury_orphans(&mut self, orphans: Vec<Orphan>) {
        for orphan in orphans {
            let shard = self.common().shard_of(orphan.key.hash(self.common().hash));
            self.with(shard, |shard, _| shard.unclaim(&orphan));
            self.with(usize::from(orphan.shard), |shard, _| shard.table.release(orphan.id));
        }
    }
}

/// Reads a packet; what is to be done with it comes next.
pub(crate) fn read(
    common: &Common,
    packet: &mut Packet,
    key: &FlowKey,
    request: &CtRequest,
) -> Result<Seen, InvalidReason> {
    read::read(packet, key, request.zone, common.config.verify_checksums, common.hash)
}

/// Finds, follows or opens the connection of a packet that was read, writes the packet's metadata, and translates it.
pub(crate) fn track(
    shards: &mut impl Shards,
    packet: &mut Packet,
    seen: Result<Seen, InvalidReason>,
    request: &CtRequest,
    now: Instant,
) -> Outcome {
    let zone = request.zone;
    let was = packet.meta.ct;
    // What was translated in this zone comes by again, perhaps: only then is it found by its translated tuple.
    let translated = was.zone == zone && was.state.intersects(CtState::SRC_NAT | CtState::DST_NAT);
    let judged = seen.and_then(|seen| {
        let mut verdict = decide(shards, &seen, translated, request, now)?;
        act(shards, packet, &seen, &mut verdict, now)?;
        Ok(verdict)
    });
    match judged {
        Ok(verdict) => {
            let mut state = verdict.outcome.state() | verdict.nat;
            state.set(CtState::RELATED, state.contains(CtState::RELATED) || verdict.related);
            let original = verdict.original.original();
            packet.meta.ct = CtMetadata { state, zone, mark: verdict.mark, label: verdict.label, original };
            verdict.outcome
        }
        Err(reason) => {
            let outcome = Outcome::Invalid(reason);
            packet.meta.ct = CtMetadata { state: outcome.state(), zone, ..CtMetadata::default() };
            let shard = seen.map_or(0, |seen| shards.common().shard_of(seen.hash));
            shards.with(shard, |shard, _| shard.stats.count_invalid(reason));
            outcome
        }
    }
}

/// Likewise, of packets one after another. Memory that they need is fetched for all of them first.
pub(crate) fn track_batch<'a>(
    shards: &mut impl Shards,
    batch: impl IntoIterator<Item = (&'a mut Packet, &'a FlowKey)>,
    request: &CtRequest,
    now: Instant,
) -> ArrayVec<Outcome, BATCH> {
    let common = shards.common();
    let mut read: ArrayVec<_, BATCH> = batch
        .into_iter()
        .take(BATCH)
        .map(|(packet, key)| {
            let seen = self::read(common, packet, key, request);
            (packet, seen)
        })
        .collect();
    let hashes: ArrayVec<u64, BATCH> = read.iter().filter_map(|(_, seen)| seen.ok()).map(|seen| seen.hash).collect();
    shards.fetch(&hashes);
    read.drain(..).map(|(packet, seen)| track(shards, packet, seen, request, now)).collect()
}

/// What a shard made of a packet at first sight.
enum First {
    Judged(Verdict),
    Invalid(InvalidReason),
    Alias(Alias),
    /// No connection has the packet's key.
    Absent,
    /// A translated connection has the packet's key, but not in this packet's sense.
    Clash,
}

fn decide(
    shards: &mut impl Shards,
    seen: &Seen,
    translated: bool,
    request: &CtRequest,
    now: Instant,
) -> Result<Verdict, InvalidReason> {
    let home = shards.common().shard_of(seen.hash);
    let (first, orphans) = shards.with(home, |shard, common| {
        let first = glance(shard, seen, translated, request, now, common);
        let orphans = if shard.has_orphans() { shard.take_orphans() } else { Vec::new() };
        (first, orphans)
    });
    if !orphans.is_empty() {
        shards.bury_orphans(orphans);
    }
    let alias = match first {
        First::Judged(verdict) => return Ok(verdict),
        First::Invalid(reason) => return Err(reason),
        First::Clash => return clash(shards, home, seen, request),
        First::Absent => return open(shards, home, seen, request, now),
        First::Alias(alias) => alias,
    };
    let (found, orphans) = shards.with(usize::from(alias.shard), |shard, common| {
        let Some(way) = shard.follow_alias(&alias, seen.from_low, now) else { return (First::Absent, Vec::new()) };
        if way.rewritten && !translated {
            return (First::Clash, Vec::new());
        }
        let found = match shard.meet(way, seen, request, now, common) {
            Meeting::Judged(verdict) => First::Judged(verdict),
            Meeting::Invalid(reason) => First::Invalid(reason),
            Meeting::Gone => First::Absent,
        };
        (found, shard.take_orphans())
    });
    shards.bury_orphans(orphans);
    match found {
        First::Judged(verdict) => Ok(verdict),
        First::Invalid(reason) => Err(reason),
        First::Clash => clash(shards, home, seen, request),
        First::Absent | First::Alias(_) => {
            clear_way(shards, &alias, now);
            open(shards, home, seen, request, now)
        }
    }
}

/// All that the shard of the packet's key can do alone: most of what there is to do.
fn glance(
    shard: &mut Shard,
    seen: &Seen,
    translated: bool,
    request: &CtRequest,
    now: Instant,
    common: &Common,
) -> First {
    match shard.find(&seen.key, seen.hash, seen.from_low, now) {
        Found::There(alias) => return First::Alias(alias),
        Found::Here { id, reply } => {
            // A reply that is found by the original tuple is translated already, if the connection is.
            let rewritten = reply && shard.table.reply(id).is_some();
            if rewritten && !translated {
                return First::Clash;
            }
            match shard.meet(Way { id, reply, rewritten }, seen, request, now, common) {
                Meeting::Judged(verdict) => return First::Judged(verdict),
                Meeting::Invalid(reason) => return First::Invalid(reason),
                Meeting::Gone => {}
            }
        }
        Found::Absent => {}
    }
    let plain = request.nat.is_none_or(|nat| nat == Nat::Existing);
    if !Connection::can_open(&seen.content) {
        return First::Invalid(match seen.content {
            Content::Error => InvalidReason::Unrelated,
            _ => InvalidReason::NotOpening,
        });
    }
    if !plain || common.expectations.load(Ordering::Relaxed) > 0 {
        return First::Absent;
    }
    First::Judged(open_plain(shard, seen, None, request, now, common))
}

/// Opens a connection that is not translated, whose key nothing has.
fn open_plain(
    shard: &mut Shard,
    seen: &Seen,
    expectation: Option<&Expectation>,
    request: &CtRequest,
    now: Instant,
    common: &Common,
) -> Verdict {
    if !request.commits() {
        return unstored(seen, expectation, Outcome::Unknown);
    }
    let opening = Opening { seen, request, now, reply: None, expectation };
    let stored = shard.reserve(request.zone, now, common).and_then(|id| shard.store(id, &opening, common));
    stored.unwrap_or_else(|| unstored(seen, expectation, Outcome::Refused))
}

/// What is said of a packet whose connection is not stored.
fn unstored(seen: &Seen, expectation: Option<&Expectation>, outcome: Outcome) -> Verdict {
    let original = seen.key.tuple(seen.from_low);
    let mut verdict =
        Verdict { outcome, related: false, nat: CtState::empty(), mark: 0, label: 0, original, to: None, help: None };
    if let Some(expectation) = expectation {
        if outcome == Outcome::Unknown {
            verdict.outcome = Outcome::Expected { created: false };
        }
        verdict.related = true;
        (verdict.mark, verdict.label, verdict.original) = (expectation.mark, expectation.label, expectation.parent);
    }
    verdict
}

/// A packet that would open a connection, were its tuple not a translated one's.
fn clash(shards: &mut impl Shards, home: usize, seen: &Seen, request: &CtRequest) -> Result<Verdict, InvalidReason> {
    if !Connection::can_open(&seen.content) {
        return Err(match seen.content {
            Content::Error => InvalidReason::Unrelated,
            _ => InvalidReason::NotOpening,
        });
    }
    if !request.commits() {
        return Ok(unstored(seen, None, Outcome::Unknown));
    }
    shards.with(home, |shard, _| shard.stats.clashed += 1);
    Ok(unstored(seen, None, Outcome::Untranslatable))
}

/// What comes of a packet that is of no connection, and may be expected, or translated.
fn open(
    shards: &mut impl Shards,
    home: usize,
    seen: &Seen,
    request: &CtRequest,
    now: Instant,
) -> Result<Verdict, InvalidReason> {
    if !Connection::can_open(&seen.content) {
        return Err(match seen.content {
            Content::Error => InvalidReason::Unrelated,
            _ => InvalidReason::NotOpening,
        });
    }
    let original = seen.key.tuple(seen.from_low);
    let expected = Expected::of(request.zone, &original);
    let expectation = expected.and_then(|expected| look_out(shards, &expected, now));
    let expectation = expectation.as_ref();
    if !request.commits() {
        return Ok(unstored(seen, expectation, Outcome::Unknown));
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
        let verdict = shards.with(home, |shard, common| {
            match shard.find(&seen.key, seen.hash, seen.from_low, now) {
                Found::Absent => open_plain(shard, seen, expectation, request, now, common),
                // Somebody else was quicker; the next packet of the connection will find it.
                _ => unstored(seen, expectation, Outcome::Unknown),
            }
        });
        fulfil(shards, expected, expectation, &verdict);
        return Ok(verdict);
    }

    let (reserved, orphans) =
        shards.with(home, |shard, common| (shard.reserve(request.zone, now, common), shard.take_orphans()));
    shards.bury_orphans(orphans);
    let Some(id) = reserved else { return Ok(unstored(seen, expectation, Outcome::Refused)) };
    let owner = (home as u16, id);
    let mut chosen = None;
    while let Some(reply) = candidates.as_mut().and_then(Iterator::next) {
        if reply == original.reversed() {
            // Nothing changes: the key of the original tuple, which is free, does for both.
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
        });
        return Ok(unstored(seen, expectation, Outcome::Untranslatable));
    };
    let stored = shards.with(home, |shard, common| {
        let free = matches!(shard.find(&seen.key, seen.hash, seen.from_low, now), Found::Absent);
        let opening = Opening { seen, request, now, reply, expectation };
        let stored = if free { shard.store(id, &opening, common) } else { None };
        if stored.is_none() {
            shard.uncharge(request.zone, common);
        }
        stored
    });
    let Some(verdict) = stored else {
        match reply {
            Some((key, _)) => shards.bury_orphans(vec![Orphan { key, shard: owner.0, id }]),
            None => shards.with(home, |shard, _| shard.table.release(id)),
        }
        return Ok(unstored(seen, expectation, Outcome::Unknown));
    };
    fulfil(shards, expected, expectation, &verdict);
    Ok(verdict)
}

/// Removes a dead connection that an alias leads to, and the alias. `false` if it is alive, or not stored yet.
fn clear_way(shards: &mut impl Shards, alias: &Alias, now: Instant) -> bool {
    let (buried, orphans) =
        shards.with(usize::from(alias.shard), |shard, _| (shard.bury_if_dead(alias.id, now), shard.take_orphans()));
    shards.bury_orphans(orphans);
    buried
}

/// Where reply tuples come from.
enum Choice<A, B> {
    Asked(A),
    Expected(Option<B>),
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
        matches!(shard.find(&found.parent_key, hash, true, now), Found::Here { id, .. } if shard.helped(id).is_some())
    });
    if !alive {
        shards.with(shard, |shard, common| shard.fulfil(expected, common));
    }
    alive.then_some(found)
}

/// An expected connection is stored: it is expected no longer.
fn fulfil(shards: &mut impl Shards, expected: Option<Expected>, expectation: Option<&Expectation>, verdict: &Verdict) {
    if let (Some(expected), Some(_), Outcome::Expected { created: true }) = (expected, expectation, verdict.outcome)
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
    verdict: &mut Verdict,
    now: Instant,
) -> Result<(), InvalidReason> {
    if let Some(help) = &verdict.help {
        assist::help(shards, packet, seen, help, (verdict.mark, verdict.label), now);
    }
    let Some(to) = &verdict.to else { return Ok(()) };
    let done = match seen.content {
        Content::Error => rewrite::error(packet, to),
        _ => rewrite::packet(packet, to),
    };
    done.ok_or(InvalidReason::Untranslated)
}

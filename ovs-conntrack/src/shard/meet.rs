//! What becomes of a packet whose connection is found: it is followed, and the packet's metadata written.

use core::sync::atomic::Ordering;

use ovs_packet::Instant;
use ovs_packet::packet::CtState;

use crate::connection::{Connection, Flags, Meaning};
use crate::helper::Helped;
use crate::outcome::{InvalidReason, Outcome};
use crate::read::{Content, Seen};
use crate::request::CtRequest;
use crate::shard::zones::deadline;
use crate::shard::{Common, Help, Meeting, Plain, Said, Shard, Way, Work};
use crate::tcp::Segment;
use crate::tuple::Tuple;

impl Shard {
    /// Follows a packet of the connection with this number, if that has the packet's key and is alive, and nothing about
    /// either is special: all that most packets need, with one look at the table. Otherwise nothing happens.
    #[inline]
    pub(crate) fn meet_plainly(
        &mut self,
        id: u32,
        seen: &Seen,
        request: &CtRequest,
        now: Instant,
        common: &Common,
        said: &mut Said<'_>,
    ) -> Option<Plain> {
        let (connection, windows) = self.table.get_with_windows(id).filter(|(c, _)| c.key == seen.key)?;
        let reply = seen.from_low != connection.began_low();
        let special = connection.flags.has(Flags::ELSEWHERE)
            || matches!(seen.content, Content::Error)
            || request.force && reply
            || request.label.is_some();
        let flushed = self.zones.get(connection.zone).is_none_or(|z| z.generation != connection.generation);
        if special || flushed || connection.is_expired(now) {
            return None;
        }
        let (liberal, answered) = (common.liberal.load(Ordering::Relaxed), connection.answered());
        let Meaning::Of(class) = connection.follow(windows, &seen.content, reply, liberal) else { return None };
        if let Some((value, mask)) = request.mark.filter(|_| request.commits()) {
            connection.mark = connection.mark & !mask | value & mask;
            self.changes += 1;
        }
        let outcome = match connection.answered() {
            false => Outcome::Unanswered,
            true if reply => Outcome::Reply,
            true => Outcome::Established,
        };
        said.ct.state = outcome.state();
        said.ct.mark = connection.mark;
        said.ct.label = 0;
        connection.key.original(connection.began_low(), &mut said.ct.original);
        let deadline = deadline(&self.policies, connection.policy, class, now);
        let before = core::mem::replace(&mut connection.deadline, deadline);
        let lasts = !matches!(seen.content, Content::Tcp(_)) && deadline > now;
        self.changes += u64::from(answered != connection.answered());
        if deadline < before {
            self.table.hasten(id, deadline);
        }
        Some(Plain { outcome, lasts })
    }

    /// Follows a packet of a connection.
    pub(crate) fn meet(
        &mut self,
        way: Way,
        seen: &Seen,
        request: &CtRequest,
        now: Instant,
        common: &Common,
        said: &mut Said<'_>,
    ) -> Meeting {
        let Way { id, reply, .. } = way;
        let Some((connection, windows)) = self.table.get_with_windows(id) else { return Meeting::Gone };
        let mut helped = None;
        let adjusted;
        let mut content = &seen.content;
        if matches!(content, Content::Error) {
            return Meeting::Judged(self.judge(way, Outcome::Related { reply }, request, None, said));
        }
        if request.force && reply && Connection::can_open(content) {
            self.replace(id);
            return Meeting::Gone;
        }
        if connection.flags.has(Flags::HELPER) {
            helped = self.helped.get(&id).copied();
            if let (Some(helped), Content::Tcp(segment)) = (&helped, content) {
                adjusted = Content::Tcp(own_numbers(segment, helped, way));
                content = &adjusted;
            }
        }
        let (liberal, answered) = (common.liberal.load(Ordering::Relaxed), connection.answered());
        let class = match connection.follow(windows, content, reply, liberal) {
            Meaning::Of(class) => class,
            Meaning::Another => {
                self.replace(id);
                return Meeting::Gone;
            }
            Meaning::Outside => return Meeting::Invalid(InvalidReason::TcpWindow),
        };
        let outcome = match connection.answered() {
            false => Outcome::Unanswered,
            true if reply => Outcome::Reply,
            true => Outcome::Established,
        };
        let deadline = deadline(&self.policies, connection.policy, class, now);
        let before = core::mem::replace(&mut connection.deadline, deadline);
        self.changes += u64::from(answered != connection.answered());
        if deadline < before {
            self.table.hasten(id, deadline);
        }
        Meeting::Judged(self.judge(way, outcome, request, helped, said))
    }

    /// Writes what is to be said of a packet of a connection, whose mark and label are set if the request says so.
    pub(super) fn judge(
        &mut self,
        way: Way,
        outcome: Outcome,
        request: &CtRequest,
        helped: Option<Helped>,
        said: &mut Said<'_>,
    ) -> Outcome {
        if request.commits() {
            self.set_mark_and_label(way.id, request);
        }
        let Some(connection) = self.table.get(way.id) else { return outcome };
        said.ct.state = outcome.state();
        said.ct.mark = connection.mark;
        said.ct.label = 0;
        connection.key.original(connection.began_low(), &mut said.ct.original);
        if connection.flags.has(Flags::ELSEWHERE) {
            self.judge_more(way, request, helped, said);
        }
        outcome
    }

    /// Likewise, what is not in the connection's cache line.
    pub(super) fn judge_more(&mut self, way: Way, request: &CtRequest, helped: Option<Helped>, said: &mut Said<'_>) {
        let Way { id, reply, rewritten } = way;
        let Some(connection) = self.table.get(id) else { return };
        let own = connection.key.tuple(connection.began_low());
        said.ct.label = self.table.label(id);
        if connection.flags.has(Flags::PARENT) {
            said.ct.state |= CtState::RELATED;
            said.ct.original = self.parents.get(&id).and_then(Tuple::original);
        }
        let answer = self.table.reply(id).map(|(key, from_low)| key.tuple(from_low));
        let mut work = Work { to: None, help: None };
        if let Some(answer) = answer {
            let [now, then] = if reply { [answer, own.reversed()] } else { [own, answer.reversed()] };
            if rewritten || request.nat.is_some() {
                said.ct.state |= translation(&now, &then);
            }
            work.to = (!rewritten && request.nat.is_some()).then_some(then);
        }
        // A text that names translated addresses is changed only with them.
        if let Some(helped) = helped.filter(|_| !rewritten && (answer.is_none() || request.nat.is_some())) {
            let reply = answer.unwrap_or_else(|| own.reversed());
            work.help = Some(Help { helped, way, key: connection.key, original: own, reply });
        }
        if work.to.is_some() || work.help.is_some() {
            *said.work = Some(work);
        }
    }

    #[inline]
    pub(super) fn set_mark_and_label(&mut self, id: u32, request: &CtRequest) {
        if let (Some((value, mask)), Some(connection)) = (request.mark, self.table.get_mut(id)) {
            connection.mark = connection.mark & !mask | value & mask;
            self.changes += 1;
        }
        if let Some((value, mask)) = request.label {
            self.changes += 1;
            let label = self.table.label(id) & !mask | value & mask;
            self.table.set_label(id, label);
        }
    }
}

/// A segment in the numbers that each sender gave: those are what the tracker follows.
fn own_numbers(segment: &Segment, helped: &Helped, way: Way) -> Segment {
    let [there, back] = helped.adjust;
    let (own, other) = if way.reply { (back, there) } else { (there, back) };
    let mut segment = *segment;
    if way.rewritten {
        segment.seq = own.back(segment.seq);
    } else {
        segment.ack = other.back(segment.ack);
    }
    segment
}

/// What of a packet differs from one tuple to another.
fn translation(from: &Tuple, to: &Tuple) -> CtState {
    let (from_ports, to_ports) = (from.transport.ends(), to.transport.ends());
    let mut state = CtState::empty();
    state.set(CtState::SRC_NAT, (from.src, from_ports.0) != (to.src, to_ports.0));
    state.set(CtState::DST_NAT, (from.dst, from_ports.1) != (to.dst, to_ports.1));
    state
}

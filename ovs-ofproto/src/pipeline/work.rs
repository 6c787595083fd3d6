//! Changes that take long, in slices.
//!
//! A bundle of a million flow-mods, or a deletion of a million flows, would have everything else wait for a second: other
//! controllers' probes, packets that nobody has decided on, the database. So what a controller asks for is *undertaken*, and
//! goes on by as much as a [slice](Ofproto::set_slice) at a time, the first one at once and the others whenever the switch
//! [runs](Ofproto::run). Nearly all is done with the first.
//!
//! # What can be seen of it
//!
//! Nothing, until it is done: rules wait at a version far ahead, and groups keep their old selves for who asks. Then all of it
//! becomes true at once, and what went is swept out, in slices too. What cannot be carried out to its end is taken back in
//! slices, and nothing has happened.
//!
//! # Who waits
//!
//! Of the connection whose work it is nothing more is looked at, so that what comes behind it, a barrier above all, is
//! answered behind it. Of others, what asks for flows or groups or changes them is held back, and with it what that
//! connection says next; echoes, barriers, packets and bundles that are being filled are not. A flow whose time is up stays
//! until the work is done.
//!
//! What the switch does for itself meanwhile, hidden rules and flows that packets teach, becomes true before what is under
//! way. Where that would have to know how the work ends, because both are about the same flow or the table is full, the work
//! is brought to its end first.

use std::collections::VecDeque;
use std::fmt;

use ovs_dpif::Dpif;
use ovs_packet::{Instant, Packet};

use super::connection::{ATOMIC, Bundle, Bundled, BundledChanges, ConnectionId, Messages, Tally};
use super::flow_table::{Known, Log, Pending, Sweep};
use super::ofproto::{Event, Ofproto};
use super::translate::Learned;
use super::upcall::{DecidedOut, World};
use crate::codec::{GroupMod, Header, Message, OfError, PortMod};
use crate::session::{AsyncKind, Class};

/// How many flows are changed at once, unless somebody says otherwise: a few milliseconds.
pub(super) const DEFAULT_SLICE: usize = 2048;

/// What a message beside changes of flows counts for.
const OTHER: usize = 16;

/// Whose request it is, by its number and as it came, as far as an error repeats it.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) from: ConnectionId,
    pub(super) xid: u32,
    pub(super) bytes: Vec<u8>,
}

/// What is said when all is done.
#[derive(Debug)]
pub(super) enum End {
    Nothing,
    /// This, to who asked, who hears of what fails by the message that failed as well.
    Bundle(Message),
    /// This, to others.
    Forward(AsyncKind, u8, Message),
}

/// What a controller asked for that is being carried out.
pub(super) struct Work {
    asked: Asked,
    end: End,
    begun: Instant,
    /// What its messages say that are left, and how many are done.
    left: BundledChanges,
    done: usize,
    messages: Messages,
    is_atomic: bool,
    /// What is left of the last message.
    pending: VecDeque<Pending>,
    log: Log,
    tally: Tally,
    ports: Vec<PortMod>,
    packets: Vec<DecidedOut>,
    /// How much of the log monitors have been told of.
    told: usize,
    stage: Stage,
}

enum Stage {
    Changes,
    Undo(OfError),
    Sweep(Sweep),
}

impl Work {
    pub(super) fn new(asked: Asked, end: End, now: Instant) -> Work {
        Work {
            asked,
            end,
            begun: now,
            left: BundledChanges::default(),
            done: 0,
            messages: Messages::default(),
            is_atomic: false,
            pending: VecDeque::new(),
            log: Log::default(),
            tally: Tally::default(),
            ports: Vec::new(),
            packets: Vec::new(),
            told: 0,
            stage: Stage::Changes,
        }
    }

    /// Does as the messages of a bundle say.
    pub(super) fn with_bundle(mut self, bundle: Bundle) -> Work {
        self.is_atomic = bundle.flags & ATOMIC != 0;
        (self.left, self.messages) = bundle.into_messages();
        self
    }

    /// Changes groups.
    pub(super) fn with_group(mut self, gm: GroupMod) -> Work {
        self.left.push(Bundled::Group(Box::new(gm)));
        self
    }

    /// Goes on with what was begun.
    pub(super) fn with_pending(mut self, pending: Pending) -> Work {
        self.pending.push_back(pending);
        self
    }

    fn source(&self) -> Option<(ConnectionId, u32)> {
        Some((self.asked.from, self.asked.xid))
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").field("asked", &self.asked).field("done", &self.done).finish_non_exhaustive()
    }
}

impl Ofproto {
    /// Has what takes long go on by so many changes of flows at a time, at least one. What is meant is a few milliseconds:
    /// 2048, unless something is said.
    pub fn set_slice(&mut self, changes: usize) {
        self.slice = changes.max(1);
    }

    /// Whether something that a controller asked for takes long, and goes on with each [`run`](Self::run).
    pub fn is_under_way(&self) -> bool {
        self.under_way
    }

    /// Carries out what a controller asked for: as much as a slice at once, and the rest with the next runs.
    pub(super) fn undertake(&mut self, dp: &mut dyn Dpif, work: Work, now: Instant) {
        self.finish(dp, now);
        self.under_way = true;
        self.tables.go_far();
        self.groups.begin();
        self.connections.get_mut(work.asked.from).into_iter().for_each(|c| c.inbox.is_held = true);
        self.work = Some(Box::new(work));
        let slice = self.slice;
        self.in_world(|mut world| world.advance(dp, slice, now));
    }

    /// Brings what is [under way](Self::is_under_way) to its end, for who cannot wait.
    pub fn finish(&mut self, dp: &mut dyn Dpif, now: Instant) {
        if self.under_way {
            self.in_world(|mut world| world.advance(dp, usize::MAX, now));
        }
    }

    /// Has `f` make and commit changes that become true before what is under way.
    pub(super) fn beside<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        self.tables.set_near(self.under_way);
        let done = f(self);
        self.tables.set_near(false);
        done
    }

    /// Learns a flow that packets made. One that has to do with what is under way waits for that.
    pub(super) fn learn(&mut self, learned: &Learned, used: Instant) {
        if self.under_way && self.tables.meets(learned) {
            return self.learning.push((learned.clone(), used));
        }
        self.beside(|own| {
            let known = Known { groups: &own.groups, meters: &own.meters };
            let mut log = Log::default();
            match own.tables.learn(learned, known, used, &mut log) {
                Ok(()) => own.commit(log, None, used),
                Err(e) => tracing::debug!(error = %e, "a flow is not learnt"),
            }
        });
    }

    /// Takes a bundle's messages up, or goes on with the last one. True if the one that was [read last](BundledChanges::last_read)
    /// is no change of flows, and not taken up yet.
    fn change_some(&mut self, work: &mut Work, effort: &mut usize) -> Result<bool, OfError> {
        let known = Known { groups: &self.groups, meters: &self.meters };
        while *effort > 0 {
            if let Some(pending) = work.pending.front_mut() {
                self.tables.go_on(pending, known, work.begun, &mut work.log, effort)?;
                if pending.len() == 0 {
                    work.pending.pop_front();
                }
                continue;
            }
            let Some(change) = work.left.next() else { return Ok(false) };
            work.done += 1;
            let Bundled::Flow(fm, instructions) = change else {
                *effort = effort.saturating_sub(OTHER);
                return Ok(true);
            };
            self.place_options(&mut fm.matching)?;
            let instructions = instructions.take().unwrap_or_default();
            let pending = self.tables.begin(fm, instructions, known, work.begun, &mut work.log)?;
            work.tally.note(fm.command, work.begun);
            *effort = effort.saturating_sub(1 + self.tables.cost_to_choose(fm));
            if pending.len() > 0 {
                work.pending.push_back(pending);
            }
        }
        Ok(false)
    }

    /// Flows that end because those that learnt them do, and those that packets made meanwhile.
    fn complete(&mut self, work: &mut Work) {
        for (learned, used) in std::mem::take(&mut self.learning) {
            let known = Known { groups: &self.groups, meters: &self.meters };
            if let Err(e) = self.tables.learn(&learned, known, used, &mut work.log) {
                tracing::debug!(error = %e, "a flow is not learnt");
            }
        }
        self.tables.complete(&mut work.log);
    }

    /// Makes what is under way true.
    fn flip(&mut self, mut work: Work, now: Instant) -> Work {
        self.complete(&mut work);
        self.tell_monitors(&work.log, work.told, work.source());
        self.groups.commit();
        work.stage = Stage::Sweep(self.tables.flip(std::mem::take(&mut work.log)));
        self.tell_of_vacancies();
        let from = work.asked.from;
        self.connections.get_mut(from).into_iter().for_each(|c| c.note_flow_mods(&work.tally, now));
        for pm in work.ports.drain(..) {
            // It was checked.
            let _ = self.obey_port_mod(&pm, from);
        }
        work
    }

    pub(super) fn sweep_some(&mut self, sweep: &mut Sweep, effort: &mut usize, now: Instant) -> bool {
        let mut ended = Vec::new();
        let is_done = self.tables.sweep(sweep, effort, false, |flow, reason| ended.push((flow, reason)));
        for (flow, reason) in ended {
            self.tell_of_removed(&flow, reason, now);
            self.event(Event::FlowRemoved(Box::new(flow), reason));
        }
        is_done
    }

    /// What was under way is over.
    fn conclude(&mut self, error: Option<OfError>, work: Work, now: Instant) {
        self.under_way = false;
        self.connections.iter_mut().for_each(|(_, c)| c.inbox.is_held = false);
        self.end_updates();
        let Asked { from, xid, bytes } = work.asked;
        match (error, work.end) {
            (None, End::Nothing) => {}
            (None, End::Bundle(reply)) => self.say(from, Class::Reply, &reply, xid),
            (None, End::Forward(kind, reason, message)) => self.forward_request((from, xid), kind, reason, &message),
            (Some(e), End::Bundle(_)) => {
                let failed = work.messages.get(work.done.saturating_sub(1));
                self.refuse(from, e, failed, Header::decode(failed).map_or(xid, |h| h.xid));
                self.refuse(from, OfError::BundleMsgFailed, &bytes, xid);
            }
            (Some(e), _) => self.refuse(from, e, &bytes, xid),
        }
        // What packets made that had to wait, where what it waited for was taken back.
        for (learned, used) in std::mem::take(&mut self.learning) {
            self.learn(&learned, used);
        }
        // Whose learners went by what packets made meanwhile.
        self.commit(Log::default(), None, now);
        self.trim(now);
    }
}

impl World<'_> {
    /// Goes on with what is under way in the switch at work, by so many changes of flows.
    pub(super) fn advance(&mut self, dp: &mut dyn Dpif, mut effort: usize, now: Instant) {
        let Some(work) = self.own().and_then(|own| own.work.take()) else { return };
        let mut work = *work;
        let over = loop {
            let Some(own) = self.own() else { return };
            match &mut work.stage {
                Stage::Changes => match own.change_some(&mut work, &mut effort) {
                    Ok(true) => {
                        if let Err(e) = self.change_other(&mut work, dp) {
                            work.stage = Stage::Undo(e);
                        }
                    }
                    Ok(false) if effort == 0 => break None,
                    Ok(false) => {
                        own.complete(&mut work);
                        let source = work.source();
                        if !own.tell_some(&work.log, &mut work.told, &mut effort, source) {
                            break None;
                        }
                        // What went through so far belongs to the flows as they are.
                        self.collect(dp, now);
                        let Some(own) = self.own() else { return };
                        work = own.flip(work, now);
                        self.settle(dp, now);
                    }
                    Err(e) => work.stage = Stage::Undo(e),
                },
                Stage::Undo(e) => {
                    own.tables.undo_some(&mut work.log, 0, &mut effort);
                    if work.log.len() > 0 {
                        break None;
                    }
                    own.groups.undo();
                    break Some(Some(*e));
                }
                Stage::Sweep(sweep) => {
                    if !own.sweep_some(sweep, &mut effort, now) {
                        break None;
                    }
                    work.packets.drain(..).for_each(|decided| self.carry_out(dp, decided, now));
                    break Some(None);
                }
            }
        };
        let Some(own) = self.own() else { return };
        match over {
            None => own.work = Some(Box::new(work)),
            Some(error) => {
                own.conclude(error, work, now);
                self.settle(dp, now);
            }
        }
    }

    /// What a bundle asks for beside changes of flows.
    fn change_other(&mut self, work: &mut Work, dp: &mut dyn Dpif) -> Result<(), OfError> {
        let (Some(own), Some(change)) = (self.own(), work.left.last_read()) else { return Ok(()) };
        match change {
            Bundled::Flow(..) => {}
            Bundled::Group(gm) => work.pending.extend(own.group_mod(gm, work.begun, &mut work.log)?),
            // Changes of ports reach beyond the switch, from where they cannot be taken back.
            Bundled::Port(_) if work.is_atomic => return Err(OfError::BundleMsgFailed),
            Bundled::Port(pm) => {
                own.check_port_mod(pm)?;
                work.ports.push(pm.clone());
            }
            // What becomes of it goes by what was done before it, and not by what comes after.
            Bundled::Packet(out) => {
                own.check_packet_out(out)?;
                own.look_ahead(true);
                let (packet, metadata) = (Packet::from_slice(&out.data), out.metadata.as_deref());
                work.packets.extend(self.decide_out(dp, packet, out.in_port, metadata, &out.actions));
                self.own().into_iter().for_each(|own| own.look_ahead(false));
            }
        }
        Ok(())
    }

    /// Ends what is under way where packets made flows that have to do with it.
    pub(super) fn end_what_flows_wait_for(&mut self, dp: &mut dyn Dpif, now: Instant) {
        if self.bridges.iter().all(|b| b.learning.is_empty()) {
            return;
        }
        self.in_turn(|world| {
            if world.own().is_some_and(|own| !own.learning.is_empty()) {
                world.advance(dp, usize::MAX, now);
            }
        });
    }
}

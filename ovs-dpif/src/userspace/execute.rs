//! The general way of actions: what may split a batch, hold packets, copy them or look them up again.
//!
//! Packets are in lists here, one for each branch. The lists are used again, so that a datapath that has seen its traffic
//! allocates nothing for it.

use arrayvec::ArrayVec;
use ovs_conntrack::fragment::Gathered;
use ovs_conntrack::{CtRequest, Sighting};
use ovs_packet::edit::EditError;
use ovs_packet::key::FlowKey;
use ovs_packet::packet::BATCH;
use ovs_packet::{Instant, Packet, PacketBatch, edit, hash, segment};

use super::batch::Flight;
use super::round::{Fate, Note, Round, Turns, Work};
use super::{Datapath, MAX_SPARE};
use crate::action::{DpAction, HashAlgorithm, PortNo};
use crate::dpif::{Upcall, UpcallKind};
use crate::drops::DropReason;

impl Datapath {
    /// Passes packets, and those that they make be looked up again, until none is left.
    pub(super) fn forward(&mut self, batch: &mut PacketBatch, work: &mut Vec<Work>, round: &mut Round) {
        // Keys are those of the last batch that was looked up: of the work that it left, if it alone left any.
        let mut known = true;
        while !work.is_empty() {
            let (mut again, mut passes) = (self.spare.pop().unwrap_or_default(), 0);
            while !work.is_empty() {
                known &= passes == 0;
                passes += 1;
                let mut notes = ArrayVec::<Note, BATCH>::new();
                for Work { packet, note } in work.drain(..work.len().min(BATCH)) {
                    batch.push(packet);
                    notes.push(note);
                }
                notes.iter_mut().filter(|_| !known).for_each(|note| note.key = None);
                self.pass(&mut Flight::noted(batch, &notes), round, &mut again);
                batch.clear();
            }
            known = passes == 1;
            work.append(&mut again);
            self.give_back(again);
        }
    }

    /// Executes actions on one packet, which has taken `turns` already, as a round of its own.
    pub(super) fn execute_alone(
        &mut self,
        packet: Packet,
        turns: Turns,
        actions: &[DpAction],
        now: Instant,
        upcalls: &mut Vec<Upcall>,
    ) {
        let mut round = Round::new(now, 1);
        let (mut list, mut again) = (self.spare.pop().unwrap_or_default(), self.spare.pop().unwrap_or_default());
        list.push(Work::new(packet, 0, turns));
        self.execute(&mut list, actions, &mut round, &mut again);
        if !again.is_empty() {
            let mut batch = self.batch.take().unwrap_or_default();
            self.forward(&mut batch, &mut again, &mut round);
            self.batch = Some(batch);
        }
        self.give_back(list);
        self.give_back(again);
        self.settle(round, upcalls);
    }

    /// Keeps a list to be used again.
    pub(super) fn give_back(&mut self, mut list: Vec<Work>) {
        list.clear();
        if self.spare.len() < MAX_SPARE {
            self.spare.push(list);
        }
    }

    /// Hands a packet to the slow path, if that has room for it.
    pub(super) fn pass_up(&mut self, work: Work, key: Box<FlowKey>, kind: UpcallKind, round: &mut Round) {
        let is_miss = !matches!(kind, UpcallKind::Action(_));
        if let Err(reason) = self.bounds.admit(work.packet.meta.in_port, &self.limits, round.now, is_miss) {
            self.stats.lost += 1;
            round.note(work.slot(), Fate::Dropped(reason));
            return;
        }
        round.note(work.slot(), if is_miss { Fate::Waiting } else { Fate::Consumed });
        round.upcall(work.slot(), Upcall::new(kind, key, work.packet, is_miss, work.note.turns));
    }

    /// Executes `actions` on packets that share them, and takes the packets. Recirculated ones are appended to `again`.
    pub(super) fn execute(
        &mut self,
        group: &mut Vec<Work>,
        actions: &[DpAction],
        round: &mut Round,
        again: &mut Vec<Work>,
    ) {
        if actions.is_empty() {
            group.iter().for_each(|w| round.note(w.slot(), Fate::Dropped(DropReason::FlowDrop)));
        }
        for (action, left) in actions.iter().zip((0..actions.len()).rev()) {
            self.step(group, action, left == 0, round, again);
        }
        group.clear();
    }

    /// Executes the actions of a branch on copies of packets, or on the packets themselves if this is the last action.
    fn branch(
        &mut self,
        group: &mut Vec<Work>,
        mut take: impl FnMut(&Work) -> bool,
        (actions, last): (&[DpAction], bool),
        round: &mut Round,
        again: &mut Vec<Work>,
    ) {
        let mut list = self.spare.pop().unwrap_or_default();
        if last {
            list.extend(group.extract_if(.., |w| take(w)));
        } else {
            list.extend(group.iter().filter(|w| take(w)).cloned());
        }
        self.execute(&mut list, actions, round, again);
        self.give_back(list);
    }

    /// One action. The last one of a list takes the packets themselves, the others copies.
    fn step(&mut self, group: &mut Vec<Work>, action: &DpAction, last: bool, round: &mut Round, again: &mut Vec<Work>) {
        if !last && recirculates(action) {
            group.iter_mut().for_each(|w| w.note.turns.share());
        }
        match action {
            DpAction::Output(port) => {
                each(group, last, |w| self.output(*port, w, round));
                group.iter_mut().for_each(|w| w.note.cut = None);
            }
            DpAction::Trunc(len) => group.iter_mut().for_each(|w| w.note.cut = Some(*len)),
            DpAction::Userspace(copy) => {
                each(group, last, |mut w| {
                    let mut key = Box::new(FlowKey::ZERO);
                    self.extractor.extract(&mut w.packet, &mut key);
                    w.cut();
                    self.pass_up(w, key, UpcallKind::Action(copy.clone()), round);
                });
                group.iter_mut().for_each(|w| w.note.cut = None);
            }
            DpAction::Recirc(id) => {
                let from = again.len();
                if last {
                    again.append(group);
                } else {
                    again.extend(group.iter().cloned());
                }
                let mut at = from;
                while let Some(w) = again.get_mut(at) {
                    w.packet.set_recirc_id(*id);
                    if w.note.turns.take() {
                        at += 1;
                    } else {
                        let w = again.swap_remove(at);
                        round.note(w.slot(), Fate::Dropped(DropReason::RecirculationDepth));
                    }
                }
            }
            DpAction::Clone(actions) => self.branch(group, |_| true, (actions, last), round, again),
            DpAction::Sample { probability, actions } => {
                let mut random = self.random.fork();
                let take = |_: &Work| random.u32(..) < *probability || *probability == u32::MAX;
                self.branch(group, take, (actions, last), round, again);
            }
            DpAction::CheckPktLen { len, greater, less_equal } => {
                let is_long = |w: &Work| segment::longest(&w.packet) > usize::from(*len);
                self.branch(group, is_long, (greater, last), round, again);
                self.branch(group, |w| !is_long(w), (less_equal, last), round, again);
            }
            DpAction::DecTtl(used_up) => {
                // What has no TTL goes on as it is.
                let expires = |w: &mut Work| {
                    w.note.key = None;
                    edit::dec_ttl(&mut w.packet) == Err(EditError::TtlExpired)
                };
                let mut dead = self.spare.pop().unwrap_or_default();
                dead.extend(group.extract_if(.., expires));
                self.execute(&mut dead, used_up, round, again);
                self.give_back(dead);
            }
            DpAction::Meter(id) => group.retain(|w| {
                let passes = self.meters.admit(*id, w.packet.len(), round.now);
                if !passes {
                    round.note(w.slot(), Fate::Dropped(DropReason::MeterExceeded));
                }
                passes
            }),
            DpAction::Hash { algorithm, basis } => {
                let mut key = FlowKey::ZERO;
                for w in group.iter_mut() {
                    self.extractor.extract(&mut w.packet, &mut key);
                    w.packet.meta.dp_hash = hash(&key, *algorithm, *basis);
                }
            }
            DpAction::Drop(reason) => group.iter().for_each(|w| round.note(w.slot(), Fate::Dropped(*reason))),
            DpAction::Ct(request) => self.track(group, request, round),
            DpAction::LbOutput(bond) => {
                each(group, last, |w| self.balance(*bond, w, round));
                group.iter_mut().for_each(|w| w.note.cut = None);
            }
            DpAction::TunnelPush(push) => self.push_tunnel(group, push, round),
            DpAction::TunnelPop(port) if last => self.pop_tunnel(group, *port, round, again),
            DpAction::TunnelPop(port) => {
                let mut copies = self.spare.pop().unwrap_or_default();
                copies.extend(group.iter().cloned());
                self.pop_tunnel(&mut copies, *port, round, again);
                self.give_back(copies);
            }
            // Refused when they are installed.
            DpAction::Psample { .. } => {
                group.iter().for_each(|w| round.note(w.slot(), Fate::Dropped(DropReason::EditFailed)));
            }
            edit => {
                let mut failed = Vec::new();
                group.iter_mut().for_each(|w| w.note.key = None);
                let packets = group.iter_mut().map(|w| &mut w.packet).enumerate();
                self.editor.edit(edit, packets, |place| failed.push(place));
                for place in failed.into_iter().rev() {
                    let slot = group.remove(place).slot();
                    round.note(slot, Fate::Dropped(DropReason::EditFailed));
                }
            }
        }
    }

    /// Connection tracking writes what it finds to the packets' metadata, for the next lookup to see, and translates
    /// them. Fragments are tracked when all of their datagram are there, and go on as fragments.
    fn track(&mut self, group: &mut Vec<Work>, request: &CtRequest, round: &mut Round) {
        let mut done = 0;
        while let Some(left) = group.get_mut(done..).filter(|left| !left.is_empty()) {
            let n = left.len().min(BATCH);
            if self.track_whole(left.iter_mut().take(n), request, round) {
                done += n;
                continue;
            }
            let mut work = self.spare.pop().unwrap_or_default();
            work.extend(group.drain(done..));
            self.track_fragments(work.drain(..), request, round, group);
            self.give_back(work);
            break;
        }
    }

    /// The same of a batch, unless there is a fragment among them.
    fn track_whole<'w>(
        &mut self,
        batch: impl Iterator<Item = &'w mut Work>,
        request: &CtRequest,
        round: &mut Round,
    ) -> bool {
        let mut afresh = [const { Sighting::NONE }; BATCH];
        let mut packets: ArrayVec<_, BATCH> = ArrayVec::new();
        let mut sightings: ArrayVec<Option<&mut Sighting>, BATCH> = self.sightings.iter_mut().map(Some).collect();
        let (mut whole, mut sighted) = (true, self.sighted);
        for ((w, buffer), unseen) in batch.zip(&mut self.changed).zip(&mut afresh) {
            let known = w.note.key.and_then(|at| Some((at, self.keys.get(usize::from(at))?)));
            let mut sighting = None;
            let key = match known {
                Some((at, known)) => {
                    sighting = sightings.get_mut(usize::from(at)).and_then(Option::take);
                    sighting.iter_mut().filter(|_| sighted >> at & 1 == 0).for_each(|sighting| sighting.forget());
                    sighted |= 1 << at;
                    known.key()
                }
                None => {
                    self.extractor.extract_into(&mut w.packet, buffer);
                    buffer.key()
                }
            };
            whole &= key.nw_frag == 0;
            packets.push((&mut w.packet, key, sighting.unwrap_or(unseen), &mut w.note.key));
        }
        if whole {
            self.sighted = sighted;
            let batch = packets.into_iter().map(|(packet, key, sighting, known)| {
                if request.nat.is_some() {
                    *known = None;
                }
                (packet, key, sighting)
            });
            self.headers_summed += self.conntrack.track_again(batch, request, round.now);
        }
        whole
    }

    /// The same of packets of which some are fragments, one by one. What comes of them is appended to `group`.
    fn track_fragments(
        &mut self,
        work: impl Iterator<Item = Work>,
        request: &CtRequest,
        round: &mut Round,
        group: &mut Vec<Work>,
    ) {
        let mut key = FlowKey::ZERO;
        for mut w in work {
            self.extractor.extract(&mut w.packet, &mut key);
            match self.fragments.gather(w.packet, request.zone.into(), round.now) {
                Gathered::Other(mut packet) => {
                    self.headers_summed += self.conntrack.track(&mut packet, &key, request, round.now);
                    w.note.key = None;
                    group.push(Work { packet, ..w });
                }
                Gathered::Held => round.note(w.note.slot(), Fate::Consumed),
                Gathered::Dropped(_) => round.note(w.note.slot(), Fate::Dropped(DropReason::Fragment)),
                Gathered::Whole(mut whole) => {
                    self.extractor.extract(&mut whole.packet, &mut key);
                    self.headers_summed += self.conntrack.track(&mut whole.packet, &key, request, round.now);
                    w.note.turns.split(whole.fragments());
                    let (slot, turns) = (w.note.slot(), w.note.turns);
                    group.extend(whole.split().into_iter().map(|packet| Work::new(packet, slot, turns)));
                }
            }
        }
    }

    /// Sends a packet out of the port of a bond that is for its hash.
    fn balance(&mut self, bond: u32, mut work: Work, round: &mut Round) {
        let mut key = FlowKey::ZERO;
        self.extractor.extract(&mut work.packet, &mut key);
        work.cut();
        match self.bonds.choose(bond, &key, work.packet.len()) {
            Some(port) => self.output(port, work, round),
            None => round.note(work.slot(), Fate::Dropped(DropReason::UnknownBond)),
        }
    }

    fn output(&mut self, port: PortNo, mut work: Work, round: &mut Round) {
        work.cut();
        let slot = work.slot();
        self.ports.transmit(port, work.packet, slot, &mut |slot, result| round.sent(slot, result));
    }
}

/// Calls `f` with each packet of a group: with the packets themselves if this is the `last` that is done to them.
fn each(group: &mut Vec<Work>, last: bool, f: impl FnMut(Work)) {
    if last {
        group.drain(..).for_each(f);
    } else {
        group.iter().cloned().for_each(f);
    }
}

/// A packet's hash for a lookup: never zero, which stands for none.
fn hash(key: &FlowKey, algorithm: HashAlgorithm, basis: u32) -> u32 {
    let hash = match algorithm {
        HashAlgorithm::L4 => hash::five_tuple(key, basis.into()),
        HashAlgorithm::SymmetricL4 => hash::symmetric_l4(key, basis.into()),
    };
    ((hash >> 32) as u32).max(1)
}

fn recirculates(action: &DpAction) -> bool {
    match action {
        DpAction::Recirc(_) | DpAction::TunnelPop(_) => true,
        action => action.nested().flatten().any(recirculates),
    }
}

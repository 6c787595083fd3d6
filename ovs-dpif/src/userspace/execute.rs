//! From packets to megaflows, and from megaflows to what they do.

use ovs_classifier::Handle;
use ovs_conntrack::CtRequest;
use ovs_conntrack::fragment::Gathered;
use ovs_packet::edit::EditError;
use ovs_packet::extract::{KeyBuffer, Malformed};
use ovs_packet::key::{FlowKey, FlowMask, Match};
use ovs_packet::{Instant, Packet, edit, hash};

use super::Datapath;
use super::round::{Fate, Round, Turns, Work};
use crate::action::{DpAction, HashAlgorithm, PortNo};
use crate::dpif::{Upcall, UpcallKind};
use crate::drops::DropReason;

impl Datapath {
    /// Looks packets up and executes what is found, recirculated ones again until none is left.
    pub(super) fn forward(&mut self, work: Vec<Work>, round: &mut Round) {
        let mut next = work;
        while !next.is_empty() {
            let mut again = Vec::new();
            for chunk in chunks(next) {
                for (handle, group) in self.classify(chunk, round) {
                    let actions = self.table.get(handle).map(|flow| flow.payload().actions.clone());
                    self.execute(group, actions.as_deref().unwrap_or_default(), round, &mut again);
                }
            }
            next = again;
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
        let mut again = Vec::new();
        self.execute(vec![Work::new(packet, 0, turns)], actions, &mut round, &mut again);
        self.forward(again, &mut round);
        self.settle(round, upcalls);
    }

    /// Groups at most a batch of packets by megaflow, in the order of each one's first packet. Those without come up.
    fn classify(&mut self, work: Vec<Work>, round: &mut Round) -> Vec<(Handle, Vec<Work>)> {
        let mut groups: Vec<(Handle, Vec<Work>)> = Vec::new();
        let mut keys = std::mem::take(&mut self.keys);
        for (mut w, buffer) in work.into_iter().zip(&mut keys) {
            if buffer.extract(&mut w.packet).malformed == Some(Malformed::Ethernet) {
                round.note(w.slot, Fate::Dropped(DropReason::InvalidPacket));
                continue;
            }
            let key = buffer.key();
            let place = self.front.place(key, buffer.blocks());
            let found = self.front.find(place, key, &self.table).or_else(|| self.table.find(key.words()));
            let Some(handle) = found else {
                self.stats.missed += 1;
                let key = Box::new(*key);
                self.pass_up(w, key, UpcallKind::Miss, round);
                continue;
            };
            self.front.note(place, handle);
            self.stats.hits += 1;
            if let Some(entry) = self.table.get_mut(handle) {
                entry.stats.packets += 1;
                entry.stats.bytes += w.packet.len() as u64;
                entry.stats.used = Some(round.now);
                entry.stats.tcp_flags |= key.tcp_flags.get();
            }
            match groups.iter_mut().find(|(h, _)| *h == handle) {
                Some((_, group)) => group.push(w),
                None => groups.push((handle, vec![w])),
            }
        }
        self.keys = keys;
        groups
    }

    fn pass_up(&mut self, work: Work, key: Box<FlowKey>, kind: UpcallKind, round: &mut Round) {
        let waiting = usize::try_from(self.ledger.in_flight).unwrap_or(usize::MAX).saturating_add(round.upcalls());
        if waiting >= self.limits.upcalls {
            self.stats.lost += 1;
            round.note(work.slot, Fate::Dropped(DropReason::UpcallQueueFull));
            return;
        }
        let held = kind == UpcallKind::Miss;
        round.note(work.slot, if held { Fate::Waiting } else { Fate::Consumed });
        round.upcall(work.slot, Upcall::new(kind, key, work.packet, held, work.turns));
    }

    /// Executes `actions` on packets that share them. Recirculated packets are appended to `again`.
    fn execute(&mut self, mut group: Vec<Work>, actions: &[DpAction], round: &mut Round, again: &mut Vec<Work>) {
        let Some((last, before)) = actions.split_last() else {
            group.iter().for_each(|w| round.note(w.slot, Fate::Dropped(DropReason::FlowDrop)));
            return;
        };
        for action in before {
            self.step(&mut group, action, false, round, again);
        }
        self.step(&mut group, last, true, round, again);
    }

    /// One action. The last one of a list takes the packets themselves, the others copies.
    fn step(&mut self, group: &mut Vec<Work>, action: &DpAction, last: bool, round: &mut Round, again: &mut Vec<Work>) {
        if !last && recirculates(action) {
            group.iter_mut().for_each(|w| w.turns.share());
        }
        let mut take = || if last { std::mem::take(group) } else { group.clone() };
        let leaves = matches!(action, DpAction::Output(_) | DpAction::Userspace(_));
        match action {
            DpAction::Output(port) => take().into_iter().for_each(|w| self.output(*port, w, round)),
            DpAction::Trunc(len) => group.iter_mut().for_each(|w| w.cut = Some(*len)),
            DpAction::Userspace(copy) => {
                for mut w in take() {
                    let mut key = Box::new(FlowKey::ZERO);
                    ovs_packet::extract::extract(&mut w.packet, &mut key);
                    w.cut();
                    self.pass_up(w, key, UpcallKind::Action(copy.clone()), round);
                }
            }
            DpAction::Recirc(id) => {
                for mut w in take() {
                    w.packet.meta.recirc_id = *id;
                    if w.turns.take() {
                        again.push(w);
                    } else {
                        round.note(w.slot, Fate::Dropped(DropReason::RecirculationDepth));
                    }
                }
            }
            DpAction::Clone(actions) => {
                let copies = take();
                self.execute(copies, actions, round, again);
            }
            DpAction::Sample { probability, actions } => {
                let copies =
                    take().into_iter().filter(|_| self.random.u32(..) < *probability || *probability == u32::MAX);
                let copies = copies.collect();
                self.execute(copies, actions, round, again);
            }
            DpAction::CheckPktLen { len, greater, less_equal } => {
                let (long, short) = take().into_iter().partition(|w| w.packet.len() > usize::from(*len));
                self.execute(long, greater, round, again);
                self.execute(short, less_equal, round, again);
            }
            DpAction::DecTtl(used_up) => {
                // What has no TTL goes on as it is.
                let expires = |w: &mut Work| edit::dec_ttl(&mut w.packet) == Err(EditError::TtlExpired);
                let dead = group.extract_if(.., expires).collect();
                self.execute(dead, used_up, round, again);
            }
            DpAction::Meter(id) => group.retain(|w| {
                let passes = self.meters.admit(*id, w.packet.len(), round.now);
                if !passes {
                    round.note(w.slot, Fate::Dropped(DropReason::MeterExceeded));
                }
                passes
            }),
            DpAction::Hash { algorithm, basis } => {
                let mut key = FlowKey::ZERO;
                for w in group.iter_mut() {
                    ovs_packet::extract::extract(&mut w.packet, &mut key);
                    w.packet.meta.dp_hash = hash(&key, *algorithm, *basis);
                }
            }
            DpAction::Drop(reason) => group.iter().for_each(|w| round.note(w.slot, Fate::Dropped(*reason))),
            DpAction::Set(attr, to) => {
                let to = Match::from(to);
                let (values, mask): (&FlowKey, &FlowMask) = (to.key(), to.mask());
                edit_all(group, round, |packet| edit::set(packet, *attr, values, mask));
            }
            DpAction::PushMpls { eth_type, lse } => edit_all(group, round, |p| edit::push_mpls(p, *eth_type, *lse)),
            DpAction::PopMpls(eth_type) => edit_all(group, round, |p| edit::pop_mpls(p, *eth_type)),
            DpAction::PushEth { src, dst } => edit_all(group, round, |p| edit::push_eth(p, *dst, *src)),
            DpAction::PopEth => edit_all(group, round, edit::pop_eth),
            DpAction::PushNsh { header, metadata } => {
                let header = FlowKey::from(header);
                edit_all(group, round, |p| edit::push_nsh(p, &header, metadata));
            }
            DpAction::PopNsh => edit_all(group, round, edit::pop_nsh),
            DpAction::PushVlan { tpid, tci } => {
                group.iter_mut().for_each(|w| edit::push_vlan(&mut w.packet, *tpid, *tci))
            }
            DpAction::PopVlan => group.iter_mut().for_each(|w| edit::pop_vlan(&mut w.packet)),
            DpAction::Ct(request) => self.track(group, request, round),
            DpAction::CtClear => group.iter_mut().for_each(|w| w.packet.meta.ct = Default::default()),
            // Refused when they are installed.
            DpAction::LbOutput(_) | DpAction::Psample { .. } | DpAction::AddMpls { .. } => {
                group.iter().for_each(|w| round.note(w.slot, Fate::Dropped(DropReason::EditFailed)));
            }
        }
        if leaves {
            group.iter_mut().for_each(|w| w.cut = None);
        }
    }

    /// Connection tracking writes what it finds to the packets' metadata, for the next lookup to see, and translates
    /// them. Fragments are tracked when all of their datagram are there, and go on as fragments.
    fn track(&mut self, group: &mut Vec<Work>, request: &CtRequest, round: &mut Round) {
        for mut chunk in chunks(std::mem::take(group)) {
            let mut keys = std::mem::take(&mut self.keys);
            let mut fragments = false;
            for (w, buffer) in chunk.iter_mut().zip(&mut keys) {
                buffer.extract(&mut w.packet);
                fragments |= buffer.key().nw_frag != 0;
            }
            if fragments {
                self.track_fragments(chunk, request, round, group);
            } else {
                let packets = chunk.iter_mut().map(|w| &mut w.packet);
                self.conntrack.track_batch(packets.zip(keys.iter().map(KeyBuffer::key)), request, round.now);
                group.append(&mut chunk);
            }
            self.keys = keys;
        }
    }

    /// The same of packets of which some are fragments, one by one. What comes of them is appended to `group`.
    fn track_fragments(&mut self, work: Vec<Work>, request: &CtRequest, round: &mut Round, group: &mut Vec<Work>) {
        let mut key = FlowKey::ZERO;
        for mut w in work {
            ovs_packet::extract::extract(&mut w.packet, &mut key);
            match self.fragments.gather(w.packet, request.zone.into(), round.now) {
                Gathered::Other(mut packet) => {
                    self.conntrack.track(&mut packet, &key, request, round.now);
                    group.push(Work { packet, ..w });
                }
                Gathered::Held => round.note(w.slot, Fate::Consumed),
                Gathered::Dropped(_) => round.note(w.slot, Fate::Dropped(DropReason::Fragment)),
                Gathered::Whole(mut whole) => {
                    ovs_packet::extract::extract(&mut whole.packet, &mut key);
                    self.conntrack.track(&mut whole.packet, &key, request, round.now);
                    w.turns.split(whole.fragments());
                    let Work { slot, turns, .. } = w;
                    group.extend(whole.split().into_iter().map(|packet| Work::new(packet, slot, turns)));
                }
            }
        }
    }

    fn output(&mut self, port: PortNo, mut work: Work, round: &mut Round) {
        work.cut();
        self.ports.transmit(port, work.packet, work.slot, &mut |slot, result| {
            round.note(slot, result.map_or_else(Fate::Dropped, |()| Fate::Forwarded));
        });
    }
}

/// Changes all packets of a group; those that cannot be changed are dropped.
fn edit_all(group: &mut Vec<Work>, round: &mut Round, mut edit: impl FnMut(&mut Packet) -> Result<(), EditError>) {
    group.retain_mut(|w| {
        let done = edit(&mut w.packet);
        if done.is_err() {
            round.note(w.slot, Fate::Dropped(DropReason::EditFailed));
        }
        done.is_ok()
    });
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
        DpAction::Recirc(_) => true,
        action => action.nested().flatten().any(recirculates),
    }
}

/// Cuts work into batches, since there are keys for one.
fn chunks(mut work: Vec<Work>) -> impl Iterator<Item = Vec<Work>> {
    std::iter::from_fn(move || {
        let rest = work.split_off(work.len().min(ovs_packet::packet::BATCH));
        let chunk = std::mem::replace(&mut work, rest);
        (!chunk.is_empty()).then_some(chunk)
    })
}

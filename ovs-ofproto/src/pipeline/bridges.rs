//! Switches that share a datapath.
//!
//! Each has ports, tables and controllers of its own, and keeps the megaflows of the packets that come in by its ports.
//! Patches lead from one to another ([`Peer`]): a packet that goes through one is looked up in the other's tables, and
//! what it changes there is credited there, by one megaflow for the whole way.
//!
//! # How a change goes
//!
//! What is done to a switch in here goes through [`Bridges::change`]. While it is under way the switch has the others at
//! hand, so that what went through anybody's megaflows is credited before a flow goes, and all megaflows that can have seen
//! a change are true when the message behind it is answered. What takes effect with the next run anyhow, as a
//! configuration of many ports does, goes through [`Bridges::configure`] and is followed once, by [`Bridges::settle`].
//!
//! # Invariants
//!
//! - A place keeps its number as long as its switch is there. When that goes, so does all that others knew of it: patches,
//!   states frozen in it, megaflows that led to it. The place is given to another then.
//! - Recirculation ids of a place are not given out again when another switch takes it, before all others were.

use std::collections::BTreeSet;

use ovs_dpif::{Dpif, PortNo, Resolution, Ufid, Upcall};
use ovs_packet::{FlowKey, Instant};

use super::detrace::Detrace;
use super::hooks::Peer;
use super::native::Underlay;
use super::ofproto::Ofproto;
use super::recirc::{IdPool, RecircIds};
use super::seats::Seats;
use super::trace::Trace;
use super::tracing::TraceRequest;
use super::tunnel::TunnelConfig;
use super::upcall::World;

/// How many switches a datapath can have.
pub const MAX_BRIDGES: usize = 256;

/// Switches that share a datapath. Each keeps the megaflows of the packets that come in by its ports; patches lead from one
/// to another, and one megaflow stands for the whole way. What is done to a switch in here goes through
/// [`change`](Bridges::change), so that all megaflows are true when it returns.
///
/// ```
/// use ovs_dpif::userspace::Datapath;
/// use ovs_ofproto::pipeline::{Bridges, Ofproto, Peer};
/// use ovs_packet::{Instant, OfPort};
///
/// let (mut dp, mut bridges) = (Datapath::new(), Bridges::default());
/// let (a, b) = (bridges.add(Ofproto::new()).unwrap(), bridges.add(Ofproto::new()).unwrap());
/// let (one, other) = (Peer { bridge: a, port: OfPort(9) }, Peer { bridge: b, port: OfPort(9) });
/// bridges.patch(one, other);
/// bridges.run(&mut dp, Instant::ZERO);
/// assert_eq!(bridges.get(a).unwrap().port(OfPort(9)).unwrap().name, "patch-9");
///
/// bridges.remove(b, &mut dp, Instant::ZERO);
/// assert_eq!(bridges.get(a).unwrap().hooks().peer(OfPort(9)), None);
/// assert_eq!(bridges.add(Ofproto::new()), Some(b));
/// ```
#[derive(Default, Debug)]
pub struct Bridges {
    /// In boxes: to be lent, a switch is not moved.
    all: Vec<Box<Ofproto>>,
    /// Places whose switch went. There a switch without anything stands.
    vacant: BTreeSet<usize>,
    /// What stands in the place of a switch that is being changed.
    stand_in: Option<Box<Ofproto>>,
    /// What all of them know of the network that tunnels go through.
    underlay: Underlay,
    /// Where all of them have the ids from under which packets come back from the datapath.
    recirc: IdPool,
}

/// The others, lent to a switch that is being changed, and its place among them.
#[derive(Debug)]
pub(super) struct Family {
    all: Vec<Box<Ofproto>>,
    at: usize,
}

impl Bridges {
    /// Adds a switch that has decided on no packet yet, and says its place: the lowest that is free. `None` if there are
    /// too many.
    pub fn add(&mut self, mut switch: Ofproto) -> Option<usize> {
        if !switch.megaflows.is_empty() {
            return None;
        }
        switch.set_underlay(self.underlay.clone());
        switch.recirc = RecircIds::of(&self.recirc);
        if let Some(place) = self.vacant.pop_first() {
            **self.all.get_mut(place)? = switch;
            return Some(place);
        }
        let place = self.all.len();
        if place >= MAX_BRIDGES {
            return None;
        }
        self.all.push(Box::new(switch));
        Some(place)
    }

    /// What all switches in here know of the network that tunnels go through.
    pub fn underlay(&self) -> &Underlay {
        &self.underlay
    }

    /// Has them share what they know with others. Those that come later do, too.
    pub fn set_underlay(&mut self, underlay: &Underlay) {
        self.underlay = underlay.clone();
        self.all.iter_mut().for_each(|b| b.set_underlay(underlay.clone()));
    }

    /// Removes a switch: its megaflows, after what went through them is credited, and what others had of it. Their megaflows
    /// are true when this returns.
    pub fn remove(&mut self, place: usize, dp: &mut dyn Dpif, now: Instant) -> Option<Ofproto> {
        self.get(place)?;
        self.world(place).purge(dp, now);
        let mut gone = std::mem::replace(&mut **self.all.get_mut(place)?, Ofproto::vacant());
        gone.recirc = Default::default();
        gone.leave_underlay();
        self.vacant.insert(place);
        for b in &mut self.all {
            let led_there = b.hooks.forget_bridge(place);
            let waits_there = b.recirc.forget_bridge(place);
            b.changed |= led_there || waits_there;
        }
        self.settle(dp, now);
        Some(gone)
    }

    /// A switch.
    pub fn get(&self, place: usize) -> Option<&Ofproto> {
        self.all.get(place).filter(|_| !self.vacant.contains(&place)).map(|b| &**b)
    }

    /// The switches with their places.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Ofproto)> {
        self.all.iter().map(|b| &**b).enumerate().filter(|(place, _)| !self.vacant.contains(place))
    }

    /// The port that a packet with this key came by, in the datapath's port numbers: of one that came through a tunnel, the
    /// tunnel port that says most about it, of whichever switch.
    pub fn of_key(&self, key: &FlowKey) -> Option<Peer> {
        ingress(self.all.iter().map(|b| &**b), key)
    }

    /// The tunnel port that says the same of its packets as one by the datapath's port `vport` would: there can be one
    /// that does. What counts is where the tunnel's two ends are, the key, and what types of packets it carries.
    pub fn tunnel_twin(&self, config: &TunnelConfig, vport: PortNo) -> Option<Peer> {
        self.iter().find_map(|(bridge, b)| Some(Peer { bridge, port: b.ports.twin(config, vport)? }))
    }

    /// The switch that goes on with a packet: the one that froze it, or the one that it came in by.
    fn home_of(&self, key: &FlowKey) -> Option<usize> {
        home_of(self.all.iter().map(|b| &**b), key)
    }

    // Patches.

    /// Makes two ports, which are made if they are not there, the ends of a patch. Takes effect with the next
    /// [`run`](Self::run) or [`settle`](Self::settle).
    pub fn patch(&mut self, one: Peer, other: Peer) {
        for (end, peer) in [(one, other), (other, one)] {
            if self.get(end.bridge).is_some_and(|b| b.port(end.port).is_none()) {
                self.configure(end.bridge, |b| {
                    b.port_add(super::Port::patch(end.port, format!("patch-{}", end.port)));
                });
            }
            self.set_peer(end, Some(peer));
        }
    }

    /// Takes a patch apart, of which this is an end: what is sent out of either is dropped. Both ports stay. Takes effect
    /// with the next [`run`](Self::run) or [`settle`](Self::settle).
    pub fn unpatch(&mut self, end: Peer) {
        let peer = self.peer(end);
        self.set_peer(end, None);
        if let Some(peer) = peer.filter(|p| self.peer(*p) == Some(end)) {
            self.set_peer(peer, None);
        }
    }

    /// Where a port leads that is an end of a patch.
    pub fn peer(&self, end: Peer) -> Option<Peer> {
        self.get(end.bridge)?.hooks().peer(end.port)
    }

    /// Has a port lead to another, or nowhere; the other does not lead back by that. Takes effect with the next
    /// [`run`](Self::run) or [`settle`](Self::settle).
    pub fn set_peer(&mut self, end: Peer, peer: Option<Peer>) {
        if self.peer(end) != peer && self.get(end.bridge).is_some() {
            self.configure(end.bridge, |b| b.hooks_changed(|hooks| hooks.set_peer(end.port, peer)));
        }
    }

    // Changes.

    /// Has `f` do something to a switch, such as obey a message. When this returns, the datapath does as all of them say.
    pub fn change<T>(
        &mut self,
        place: usize,
        dp: &mut dyn Dpif,
        now: Instant,
        f: impl FnOnce(&mut Ofproto, &mut dyn Dpif) -> T,
    ) -> Option<T> {
        let done = self.lend(place, |b| f(b, dp))?;
        self.settle(dp, now);
        Some(done)
    }

    /// Has `f` do something to a switch that takes effect with the next [`run`](Self::run) or [`settle`](Self::settle),
    /// such as add one port of many.
    pub fn configure<T>(&mut self, place: usize, f: impl FnOnce(&mut Ofproto) -> T) -> Option<T> {
        self.lend(place, f)
    }

    /// Has `f` work on a switch that has the others at hand.
    fn lend<T>(&mut self, place: usize, f: impl FnOnce(&mut Ofproto) -> T) -> Option<T> {
        self.get(place)?;
        let stand_in = self.stand_in.take().unwrap_or_else(|| Box::new(Ofproto::vacant()));
        let mut own = std::mem::replace(self.all.get_mut(place)?, stand_in);
        own.family = Some(Family { all: std::mem::take(&mut self.all), at: place });
        let done = f(&mut own);
        self.all = own.family.take().map(|family| family.all).unwrap_or_default();
        self.stand_in = self.all.get_mut(place).map(|seat| std::mem::replace(seat, own));
        Some(done)
    }

    /// Makes the datapath do as all switches say, after changes that take effect with the next run.
    pub fn settle(&mut self, dp: &mut dyn Dpif, now: Instant) {
        self.world(0).settle(dp, now);
    }

    /// Reads the datapath's counters, credits what is new, and makes all megaflows true, now.
    pub fn synchronise(&mut self, dp: &mut dyn Dpif, now: Instant) {
        self.run(dp, now);
        self.world(0).collect(dp, now);
        self.settle(dp, now);
        self.world(0).catch_up(dp, usize::MAX, now);
    }

    /// Removes every megaflow of a switch, after what went through it is credited.
    pub fn purge(&mut self, place: usize, dp: &mut dyn Dpif, now: Instant) {
        self.world(place).purge(dp, now);
    }

    // Work.

    /// Decides on a packet that came up, and on those that come up from what is decided.
    pub fn handle_upcall(&mut self, dp: &mut dyn Dpif, upcall: Upcall, now: Instant) {
        match self.home_of(&upcall.key) {
            Some(place) => {
                let mut world = self.world(place);
                world.handle_upcall(dp, upcall, now);
                world.send_requests(dp, now);
            }
            None => {
                let mut again = Vec::new();
                dp.resolve(upcall, Resolution::Drop(ovs_dpif::DropReason::UnknownIngress), now, &mut again);
            }
        }
    }

    /// Does what time or changes ask for, in all switches.
    pub fn run(&mut self, dp: &mut dyn Dpif, now: Instant) {
        self.world(0).run(dp, now);
    }

    /// When [`run`](Self::run) has something to do, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.all.iter().filter_map(|b| b.next_deadline()).chain(self.underlay.next_deadline()).min()
    }

    /// What would become of a packet that comes to a switch.
    pub fn trace(&mut self, place: usize, dp: &dyn Dpif, request: &TraceRequest) -> Trace {
        self.world(place).trace(dp, request)
    }

    /// The same, and what the packet teaches is learnt: see [`Ofproto::trace_and_learn`].
    pub fn trace_and_learn(&mut self, place: usize, dp: &mut dyn Dpif, request: &TraceRequest, now: Instant) -> Trace {
        self.world(place).trace_and_learn(dp, request, now)
    }

    /// What a megaflow of a switch stands for: see [`Ofproto::detrace`].
    pub fn detrace(&mut self, place: usize, dp: &dyn Dpif, ufid: Ufid, now: Instant) -> Option<Detrace> {
        self.world(place).detrace(dp, ufid, now)
    }

    fn world(&mut self, at: usize) -> World<'_> {
        World { bridges: Seats::of(&mut self.all), at }
    }
}

/// The port that a packet with this key came by, among switches of which those that are none have no ports.
fn ingress<'a>(all: impl Iterator<Item = &'a Ofproto>, key: &FlowKey) -> Option<Peer> {
    let ports = all.enumerate().filter_map(|(bridge, b)| Some((bridge, b.ports.rank_of(key)?)));
    let (bridge, (_, port)) = ports.min_by_key(|(_, (rank, _))| *rank)?;
    Some(Peer { bridge, port: port.number })
}

/// The switch that goes on with a packet: the one that froze it, or the one that it came in by.
pub(super) fn home_of<'a>(all: impl Iterator<Item = &'a Ofproto> + Clone, key: &FlowKey) -> Option<usize> {
    let id = key.recirc_id.get();
    let frozen = || all.clone().position(|b| id != 0 && b.recirc.thaw(id).is_some());
    frozen().or_else(|| ingress(all.clone(), key).map(|peer| peer.bridge))
}

impl Ofproto {
    /// A switch that is none, in a place that others know by its number.
    fn vacant() -> Ofproto {
        let mut none = Ofproto::new();
        none.is_vacant = true;
        none
    }

    /// Has `f` work in the switch's world: those that share the datapath while it is one of them and is being changed, and
    /// else the switch alone.
    pub(super) fn in_world<T>(&mut self, f: impl FnOnce(World<'_>) -> T) -> T {
        let Some(Family { mut all, at }) = self.family.take() else {
            return f(World { bridges: Seats::with(self, &mut [], 0), at: 0 });
        };
        let done = f(World { bridges: Seats::with(self, &mut all, at), at });
        self.family = Some(Family { all, at });
        done
    }
}

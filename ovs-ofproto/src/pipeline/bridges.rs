//! Switches that share a datapath.
//!
//! Each has ports, tables and controllers of its own, and keeps the megaflows of the packets that come in by its ports.
//! Patches lead from one to another ([`Peer`]): a packet that goes through one is looked up in the other's tables, and
//! what it changes there is credited there, by one megaflow for the whole way.
//!
//! What is done to a switch in here goes through [`Bridges::change`], so that the megaflows of all of them are true when
//! it returns.

use ovs_dpif::{Dpif, PortNo, Resolution, Ufid, Upcall};
use ovs_packet::{Instant, OfPort};

use super::detrace::Detrace;
use super::hooks::Peer;
use super::ofproto::Ofproto;
use super::recirc::LANES;
use super::trace::Trace;
use super::tracing::TraceRequest;
use super::upcall::World;

/// How many switches a datapath can have.
pub const MAX_BRIDGES: usize = LANES as usize;

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
/// bridges.patch(Peer { bridge: a, port: OfPort(9) }, Peer { bridge: b, port: OfPort(9) });
/// bridges.run(&mut dp, Instant::ZERO);
/// assert_eq!(bridges.get(a).unwrap().port(OfPort(9)).unwrap().name, "patch-9");
/// ```
#[derive(Default, Debug)]
pub struct Bridges {
    all: Vec<Ofproto>,
}

impl Bridges {
    /// Adds a switch that has decided on no packet yet, and says its place. `None` if there are too many.
    pub fn add(&mut self, mut switch: Ofproto) -> Option<usize> {
        let place = self.all.len();
        if place >= MAX_BRIDGES || !switch.megaflows.is_empty() {
            return None;
        }
        switch.recirc.set_lane(place as u32);
        switch.is_placed = true;
        self.all.push(switch);
        Some(place)
    }

    /// A switch.
    pub fn get(&self, place: usize) -> Option<&Ofproto> {
        self.all.get(place)
    }

    /// The switches, in their places.
    pub fn iter(&self) -> impl Iterator<Item = &Ofproto> {
        self.all.iter()
    }

    /// The switch that a port of the datapath is one of.
    pub fn of_datapath(&self, port: PortNo) -> Option<usize> {
        self.all.iter().position(|b| b.ports.of_datapath(port).is_some())
    }

    /// Makes two ports, which are made if they are not there, the ends of a patch.
    pub fn patch(&mut self, one: Peer, other: Peer) {
        for (end, peer) in [(one, other), (other, one)] {
            let Some(b) = self.all.get_mut(end.bridge) else { continue };
            if b.port(end.port).is_none() {
                b.port_add(super::Port::patch(end.port, format!("patch-{}", end.port)));
            }
            b.hooks_changed(|hooks| hooks.set_peer(end.port, Some(peer)));
        }
    }

    /// Has `f` do something to a switch, such as obey a message. When this returns, the datapath does as all of them say.
    pub fn change<T>(
        &mut self,
        place: usize,
        dp: &mut dyn Dpif,
        now: Instant,
        f: impl FnOnce(&mut Ofproto, &mut dyn Dpif) -> T,
    ) -> Option<T> {
        // What went through so far belongs to the flows as they are.
        self.world(0).collect(dp, now);
        let done = f(self.all.get_mut(place)?, dp);
        let held = self.all.get_mut(place).map(|b| std::mem::take(&mut b.held)).unwrap_or_default();
        self.world(place).settle(dp, now);
        for h in held {
            self.world(place).packet_out(dp, h.packet, h.in_port, h.metadata.as_deref(), &h.actions, now);
        }
        Some(done)
    }

    /// Decides on a packet that came up, and on those that come up from what is decided.
    pub fn handle_upcall(&mut self, dp: &mut dyn Dpif, upcall: Upcall, now: Instant) {
        match self.of_datapath(PortNo(upcall.key.in_port.get())) {
            Some(place) => self.world(place).handle_upcall(dp, upcall, now),
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
        self.all.iter().filter_map(Ofproto::next_deadline).min()
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
        World { bridges: &mut self.all, at }
    }
}

/// A packet that a controller sends while the other switches are out of reach.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) packet: ovs_packet::Packet,
    pub(super) in_port: OfPort,
    pub(super) metadata: Option<Box<ovs_packet::Match>>,
    pub(super) actions: Vec<crate::action::Action>,
}

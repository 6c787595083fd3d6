//! Outer headers of tunnels, put in front of packets and taken off.
//!
//! The header of a `tnl_push` is made once for the packets that share it; each gets its lengths, source port and sequence
//! number. Checksums are left undone, the inner and the outer ones, until the port is known that the packet leaves by; what
//! is to be cut is cut before. `tnl_pop` sends packets around again as if they had come by the tunnel's port; one whose outer header is not in order is dropped.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ovs_packet::tunnel::{self, Checksums, Header, Kind, Varying};
use ovs_packet::wire::bareudp;
use ovs_packet::{Instant, hash, segment};

use super::Datapath;
use super::round::{Fate, Round, Work};
use crate::action::PortNo;
use crate::dpif::TunnelPort;
use crate::drops::DropReason;
use crate::outer::TunnelPush;

/// What tunnels have beside the packets. All threads of a datapath share the sequence numbers.
#[derive(Clone, Debug)]
pub(super) struct Tunnels {
    /// The source ports that flows are spread over.
    pub(super) sources: RangeInclusive<u16>,
    sequences: Arc<Mutex<HashMap<PortNo, Arc<AtomicU32>>>>,
    /// What was done about outer checksums here.
    checksums: Checksums,
    /// Packets that were cut here, before they went in or came out.
    pub(super) cut: u64,
}

impl Default for Tunnels {
    fn default() -> Self {
        Tunnels {
            sources: tunnel::DEFAULT_SOURCE_PORTS,
            sequences: Arc::default(),
            checksums: Checksums::default(),
            cut: 0,
        }
    }
}

impl Tunnels {
    /// The next sequence number of a tunnel's port.
    fn sequence(&self, port: PortNo) -> Arc<AtomicU32> {
        let mut all = self.sequences.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(port).or_default().clone()
    }

    /// Those of another thread.
    pub(super) fn another(&self) -> Tunnels {
        Tunnels { checksums: Checksums::default(), cut: 0, ..self.clone() }
    }

    /// What was done about outer checksums, by upstream's names.
    pub(super) fn events(&self) -> [(&'static str, u64); 4] {
        let Checksums { ip_summed, ip_wrong, udp_summed, udp_wrong } = self.checksums;
        [
            ("native_tnl_l3csum_checked", ip_summed),
            ("native_tnl_l3csum_err", ip_wrong),
            ("native_tnl_l4csum_checked", udp_summed),
            ("native_tnl_l4csum_err", udp_wrong),
        ]
    }

    /// Forgets a port's.
    pub(super) fn forget(&self, port: PortNo) {
        self.sequences.lock().unwrap_or_else(PoisonError::into_inner).remove(&port);
    }
}

/// Where packets get what differs between them.
struct Source<'d> {
    header: &'d Header,
    sequence: Option<Arc<AtomicU32>>,
    sources: RangeInclusive<u16>,
    /// In units of 100 microseconds (draft-foschiano-erspan-03, section 4.3).
    timestamp: u32,
}

impl Source<'_> {
    /// For a packet of this flow, which is a segment of one: the how many-th, from zero on.
    fn next(&self, flow: u32, identification: u16) -> Varying {
        let sequence = self.sequence.as_ref().map_or(0, |next| next.fetch_add(1, Ordering::Relaxed));
        let source = tunnel::source_port(flow, self.sources.clone());
        Varying { source, sequence, timestamp: self.timestamp, label: flow, identification }
    }
}

impl Datapath {
    /// Puts an outer header in front of packets. One that cannot have it is dropped.
    pub(super) fn push_tunnel(&mut self, group: &mut Vec<Work>, push: &TunnelPush, round: &mut Round) {
        let Ok(header) = push.header() else {
            group.drain(..).for_each(|w| round.note(w.slot(), Fate::Dropped(DropReason::TunnelPush)));
            return;
        };
        let source = Source {
            header: &header,
            sequence: header.counts().then(|| self.tunnels.sequence(push.tunnel_port)),
            sources: self.tunnels.sources.clone(),
            timestamp: units(round.now),
        };
        let mut wrapped = self.spare.pop().unwrap_or_default();
        for mut w in group.drain(..) {
            let flow = if header.spreads() { self.flow_of(&mut w) } else { 0 };
            w.note.key = None;
            if w.packet.offload.gso.is_none() {
                wrap(w, source.header, source.next(flow, 0), round, &mut wrapped);
                continue;
            }
            self.tunnels.cut += 1;
            let (slot, cut) = (w.slot(), w.note.cut);
            let segments = segment::finish(w.packet);
            let mut turns = w.note.turns;
            turns.split(segments.len());
            for (n, packet) in segments.into_iter().enumerate() {
                let mut part = Work::new(packet, slot, turns);
                part.note.cut = cut;
                wrap(part, source.header, source.next(flow, n as u16), round, &mut wrapped);
            }
        }
        group.append(&mut wrapped);
        self.give_back(wrapped);
    }

    /// Takes the outer header off packets, which come by a tunnel's port then. One that is not in order is dropped.
    pub(super) fn pop_tunnel(&mut self, group: &mut Vec<Work>, port: PortNo, round: &mut Round, again: &mut Vec<Work>) {
        let kind = self.ports.device(port).and_then(|device| device.tunnel()).map(kind);
        for w in group.drain(..) {
            let refused = |slot, round: &mut Round| round.note(slot, Fate::Dropped(DropReason::TunnelPop));
            let Some(kind) = kind else {
                refused(w.slot(), round);
                continue;
            };
            let slot = w.slot();
            let (mut turns, cut) = (w.note.turns, w.note.cut);
            let is_to_be_cut = w.packet.offload.gso.is_some() && !tunnel::cuts_inside(&w.packet);
            self.tunnels.cut += u64::from(is_to_be_cut);
            let parts = if is_to_be_cut { segment::finish(w.packet) } else { Vec::from([w.packet]) };
            turns.split(parts.len());
            for mut packet in parts {
                if let Err(error) = tunnel::pop_counted(&mut packet, kind, &mut self.tunnels.checksums) {
                    tracing::debug!(target: "native_tnl", %port, %error, "a packet is no tunnel's");
                    refused(slot, round);
                    continue;
                }
                packet.meta.in_port = port.0;
                let mut inner = Work::new(packet, slot, turns);
                inner.note.cut = cut;
                if inner.note.turns.take() {
                    again.push(inner);
                } else {
                    round.note(slot, Fate::Dropped(DropReason::RecirculationDepth));
                }
            }
        }
    }

    /// A hash that packets of a flow share.
    fn flow_of(&mut self, w: &mut Work) -> u32 {
        let known = w.note.key.and_then(|place| self.keys.get(usize::from(place)));
        let key = match (known, self.changed.first_mut()) {
            (Some(known), _) => known.key(),
            (None, Some(room)) => {
                self.extractor.extract_into(&mut w.packet, room);
                room.key()
            }
            (None, None) => return 0,
        };
        let is_ip = matches!(key.eth_type.get(), 0x0800 | 0x86dd);
        let hash = if is_ip { hash::five_tuple(key, 0) } else { hash::symmetric_l2(key, 0) };
        (hash >> 32) as u32
    }
}

fn wrap(mut w: Work, header: &Header, varying: Varying, round: &mut Round, wrapped: &mut Vec<Work>) {
    match tunnel::push(&mut w.packet, header, varying) {
        Ok(()) => wrapped.push(w),
        Err(_) => round.note(w.slot(), Fate::Dropped(DropReason::TunnelPush)),
    }
}

fn units(now: Instant) -> u32 {
    (now.since(Instant::ZERO).as_micros() / 100) as u32
}

/// What the end of a port's tunnels takes. Whether packets say what is inside (VXLAN-GPE), they themselves tell.
fn kind(port: TunnelPort) -> Kind {
    match port {
        TunnelPort::Vxlan { gbp, .. } => Kind::Vxlan { gbp, gpe: true },
        TunnelPort::Geneve { .. } => Kind::Geneve,
        TunnelPort::Gre | TunnelPort::GreL3 | TunnelPort::Ip6Gre => Kind::Gre,
        TunnelPort::Erspan | TunnelPort::Ip6Erspan => Kind::Erspan,
        TunnelPort::Bareudp { eth_type, multiproto, .. } => {
            Kind::Bareudp(bareudp::Mode { eth_type, multiprotocol: multiproto })
        }
        TunnelPort::Gtpu { .. } => Kind::Gtpu,
        TunnelPort::Srv6 => Kind::Srv6,
    }
}

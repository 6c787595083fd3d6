//! Packets that come up, and orders to execute actions on packets.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use ovs_netlink::attr::Nest;
use ovs_netlink::ovs::{OvsHeader, Packet as Message, PacketAttr, PacketCommand};
use ovs_netlink::{Connect, EncodeError, Flags, Protocol, Socket, SocketError, UpcallSocket};
use ovs_packet::extract::Extractor;
use ovs_packet::packet::{CtMetadata, CtState, Metadata, OriginalTuple, Tunnel};
use ovs_packet::{FlowKey, Packet};

use super::datapath::{Datapath, failed};
use super::key::{ConvertError, put_key, read_key};
use super::put_action::{ActionContext, put_actions, unsupported};
use super::read_action::read_actions;
use super::{cookie, tunnel};
use crate::action::{Cookie, DpAction, PortNo, Userspace};
use crate::dpif::{DpifError, Origin, Upcall, UpcallKind};
use crate::drops::DropReason;
use crate::userspace::Turns;

/// How many datagrams are taken from a socket at a time, unless it overran.
const BATCH: usize = 64;

/// A socket that upcalls come through, and one that orders go through: what a thread that handles upcalls needs.
#[derive(Debug)]
pub struct Handler {
    upcalls: UpcallSocket,
    orders: Socket,
    dp_ifindex: u32,
    family: u16,
    vlan_limit: VlanLimit,
    request: Vec<u8>,
}

/// How many VLAN tags are read of what comes up, or 0 for all: one number for all who read.
#[derive(Clone, Default, Debug)]
pub(super) struct VlanLimit(Arc<AtomicU8>);

impl VlanLimit {
    pub(super) fn set(&self, limit: u8) {
        self.0.store(limit, Ordering::Relaxed);
    }

    fn get(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }
}

impl AsFd for Handler {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.upcalls.as_fd()
    }
}

impl Handler {
    pub(super) fn open(
        kernel: &dyn Connect,
        dp_ifindex: u32,
        family: u16,
        vlan_limit: VlanLimit,
    ) -> Result<Handler, DpifError> {
        let upcalls = UpcallSocket::open(&kernel, family).map_err(failed("upcall socket"))?;
        let orders = kernel.connect(Protocol::Generic).map_err(failed("netlink"))?;
        Ok(Handler { upcalls, orders, dp_ifindex, family, vlan_limit, request: Vec::new() })
    }

    /// The address of the socket: what the kernel sends upcalls to.
    pub fn socket(&self) -> u32 {
        self.upcalls.port()
    }

    /// Takes what came up, and appends it to `upcalls`. Says how many datagrams could not be read; a socket that overran
    /// is emptied, as the kernel drops all that comes until then.
    ///
    /// # Errors
    /// If the socket fails.
    pub fn receive(&mut self, upcalls: &mut Vec<Upcall>) -> Result<usize, DpifError> {
        let (socket, vlan_limit, mut bad) = (self.upcalls.port(), self.vlan_limit.get(), 0);
        let mut limit = BATCH;
        loop {
            let taken = self.upcalls.drain(limit, |upcall| match read(upcall, socket, vlan_limit) {
                Ok(upcall) => upcalls.push(upcall),
                Err(error) => {
                    tracing::debug!(%error, "an upcall that cannot be read");
                    bad += 1;
                }
            });
            let taken = taken.map_err(failed("upcalls"))?;
            bad += taken.bad;
            if taken.overruns == 0 {
                return Ok(bad);
            }
            tracing::warn!(socket, "the kernel lost upcalls");
            limit = 1 << 16;
        }
    }

    /// Sends orders, one message after the other. Says how many of them were refused.
    pub(super) fn send(&mut self, orders: &mut [u8]) -> Result<u64, SocketError> {
        let results = self.orders.batch(orders, |_, _| Ok(())).inspect_err(|error| tracing::warn!(%error, "orders"))?;
        let refused = results.iter().filter_map(|result| result.as_ref().err());
        Ok(refused.inspect(|error| tracing::debug!(%error, "a packet was not executed")).count() as u64)
    }

    /// Executes actions on a packet that came up, or on another.
    ///
    /// # Errors
    /// If the kernel has no such actions, or refuses.
    pub fn execute(&mut self, upcall: &Upcall, actions: &[DpAction]) -> Result<(), DpifError> {
        if unsupported(actions).is_some() {
            return Err(DpifError::Unsupported("these actions"));
        }
        self.request.clear();
        let order = Order {
            dp_ifindex: self.dp_ifindex,
            packet: &upcall.packet,
            key: &upcall.key,
            actions,
            origin: upcall.origin,
            action_pid: self.upcalls.port(),
        };
        order.encode(&mut self.request, self.family).map_err(|e| failed("execution")(e.into()))?;
        self.orders.transact(&mut self.request, |_| Ok(())).map_err(failed("execution"))
    }
}

/// A packet with what is to be done with it.
struct Order<'a> {
    dp_ifindex: u32,
    packet: &'a Packet,
    key: &'a FlowKey,
    actions: &'a [DpAction],
    origin: Origin,
    action_pid: u32,
}

impl Order<'_> {
    fn encode(&self, buffer: &mut Vec<u8>, family: u16) -> Result<(), EncodeError> {
        let header = OvsHeader { dp_ifindex: self.dp_ifindex };
        let (command, version) = (PacketCommand::Execute as u8, Message::VERSION);
        header.message(buffer, family, command, version, Flags::REQUEST, |w| {
            w.nest(PacketAttr::KEY, |key| put_key(key, self.key))?;
            let context = ActionContext::of(self.key, self.action_pid);
            w.nest(PacketAttr::ACTIONS, |list| put_actions(list, self.actions, &context))?;
            if let Some(mru) = self.origin.mru {
                w.put(PacketAttr::Mru(mru))?;
            }
            if let Some(hash) = self.origin.hash {
                w.put(PacketAttr::Hash(hash))?;
            }
            if self.origin.socket != 0 {
                w.put(PacketAttr::UpcallPid(self.origin.socket))?;
            }
            w.put(PacketAttr::Packet(self.packet.data())).map(drop)
        })
    }
}

fn read(upcall: ovs_netlink::Upcall<'_>, socket: u32, vlan_limit: u8) -> Result<Upcall, ConvertError> {
    let message = upcall.packet;
    let keys = message.key.ok_or(ConvertError::Meaningless("an upcall without a key"))?;
    let bytes = message.packet.ok_or(ConvertError::Meaningless("an upcall without a packet"))?;
    let (key, _) = read_key(keys)?;
    let mut packet = Packet::from_slice(bytes);
    packet.meta = metadata(&key);
    packet.tunnel = Tunnel::of_key(&key).map(Box::new);
    let mut key = Box::new(key.with_vlan_limit(vlan_limit));
    let whole = message.len.is_none_or(|len| len as usize == bytes.len());
    if whole {
        // The packet tells more than the kernel's key: of IGMP, of neighbour discovery, of inner tags.
        Extractor::new().with_vlan_limit(vlan_limit).extract(&mut packet, &mut key);
    }
    let flow_actions = message.actions.map_or(Ok(Vec::new()), read_actions)?;
    let kind = match upcall.command {
        PacketCommand::Miss | PacketCommand::Execute => UpcallKind::Miss,
        PacketCommand::Action => {
            let note = message.userdata.map_or_else(|| Cookie::UserData(Vec::new()), cookie::read);
            UpcallKind::Action(Userspace {
                pid: socket,
                with_actions: message.actions.is_some(),
                tunnel_out_port: None::<PortNo>,
                ..Userspace::new(note)
            })
        }
    };
    let held = kind == UpcallKind::Miss;
    let origin = Origin { socket, mru: message.mru, hash: message.hash };
    let egress_tunnel = message.egress_tunnel.map(egress).transpose()?.flatten();
    Ok(Upcall { flow_actions, egress_tunnel, origin, ..Upcall::new(kind, key, packet, held, Turns::NONE) })
}

fn egress(nest: Nest<'_, ovs_netlink::ovs::TunnelKey<'_>>) -> Result<Option<Box<Tunnel>>, ConvertError> {
    let mut key = FlowKey::ZERO;
    tunnel::read(&mut key, nest)?;
    Ok(Tunnel::of_key(&key).map(Box::new))
}

/// What a key tells of a packet beside its bytes.
fn metadata(key: &FlowKey) -> Metadata {
    let (proto, tp_src, tp_dst) = (key.ct_nw_proto, key.ct_tp_src.get(), key.ct_tp_dst.get());
    let original = if key.ct_ipv6_src != 0 || key.ct_ipv6_dst != 0 {
        let (src, dst) = (key.ct_ipv6_src.get().into(), key.ct_ipv6_dst.get().into());
        Some(OriginalTuple::V6 { src, dst, proto, tp_src, tp_dst })
    } else if proto != 0 {
        let (src, dst) = (key.ct_nw_src.get().into(), key.ct_nw_dst.get().into());
        Some(OriginalTuple::V4 { src, dst, proto, tp_src, tp_dst })
    } else {
        None
    };
    Metadata {
        in_port: key.in_port.get(),
        recirc_id: key.recirc_id.get(),
        dp_hash: key.dp_hash.get(),
        skb_priority: key.skb_priority.get(),
        pkt_mark: key.pkt_mark.get(),
        packet_type: key.packet_type.get(),
        ct: CtMetadata {
            state: CtState::from_bits_retain(key.ct_state),
            zone: key.ct_zone.get(),
            mark: key.ct_mark.get(),
            label: key.ct_label.get(),
            original,
        },
    }
}

impl Datapath {
    /// Takes upcalls, those that threads have read or those of every socket.
    pub(super) fn receive(&mut self, upcalls: &mut Vec<Upcall>) -> usize {
        let (before, mut bad) = (upcalls.len(), 0);
        if let Some(crew) = &mut self.crew {
            crew.take(upcalls);
            let fates = crew.take_fates();
            self.ledger.received += fates.refused;
            self.ledger.drop_all(DropReason::UpcallQueueFull, fates.refused);
            self.lost += fates.refused;
            bad += fates.bad;
            // Whoever ordered it took for granted that the kernel would.
            let failed = fates.failed.min(self.ledger.forwarded);
            self.ledger.forwarded -= failed;
            self.ledger.drop_all(DropReason::EditFailed, failed);
        }
        for handler in &mut self.handlers {
            match handler.receive(upcalls) {
                Ok(unread) => bad += unread as u64,
                Err(error) => tracing::warn!(%error, "upcalls"),
            }
        }
        self.came_alone = upcalls.len() - before <= 1;
        self.ledger.received += bad;
        self.ledger.drop_all(DropReason::InvalidPacket, bad);
        for upcall in upcalls.iter().skip(before) {
            self.ledger.received += 1;
            match upcall.held {
                true => self.ledger.in_flight += 1,
                // The kernel goes on with the packet; what came up is a copy.
                false => self.ledger.consumed += 1,
            }
        }
        upcalls.len() - before
    }

    /// Orders the kernel to execute actions on a packet, and enters its fate.
    pub(super) fn order(&mut self, packet: &Packet, key: &FlowKey, actions: &[DpAction], origin: Origin) {
        match self.execute(packet, key, actions, origin) {
            Ok(()) if actions.is_empty() => self.ledger.drop_one(DropReason::FlowDrop),
            Ok(()) => self.ledger.forwarded += 1,
            Err(error) => {
                tracing::debug!(%error, "a packet was not executed");
                self.ledger.drop_one(DropReason::EditFailed);
            }
        }
    }

    fn execute(&self, packet: &Packet, key: &FlowKey, actions: &[DpAction], origin: Origin) -> Result<(), SocketError> {
        if actions.is_empty() {
            return Ok(());
        }
        let socket = origin.socket;
        let crew = self.crew.as_ref().filter(|crew| crew.has(socket) && !(self.came_alone && crew.is_idle(socket)));
        if unsupported(actions).is_none() {
            let order = self.encode_order(packet, key, actions, origin)?;
            // A thread that has failed leaves it to the owner.
            let left = match crew {
                Some(crew) => crew.order(socket, order),
                None => Err(order),
            };
            return left.or_else(|mut order| self.socket.borrow_mut().transact(&mut order, |_| Ok(())));
        }
        // Behind what came up before it.
        crew.into_iter().for_each(|crew| crew.wait_for(socket));
        self.execute_helped(packet, actions, origin)
    }

    fn encode_order(
        &self,
        packet: &Packet,
        key: &FlowKey,
        actions: &[DpAction],
        origin: Origin,
    ) -> Result<Vec<u8>, EncodeError> {
        let (dp_ifindex, action_pid) = (self.dp_ifindex, self.action_pid());
        let mut request = Vec::new();
        Order { dp_ifindex, packet, key, actions, origin, action_pid }.encode(&mut request, self.families.packet.id)?;
        Ok(request)
    }

    /// Orders the kernel to execute actions that it has, now.
    pub(super) fn send_order(
        &self,
        packet: &Packet,
        key: &FlowKey,
        actions: &[DpAction],
        origin: Origin,
    ) -> Result<(), SocketError> {
        let mut request = self.encode_order(packet, key, actions, origin)?;
        self.socket.borrow_mut().transact(&mut request, |_| Ok(()))
    }
}

//! Packets in the kernel in this process: lookup, actions, upcalls.

use super::state::{FlowState, State};
use crate::attr::{Attribute, Attributes, Nest, Type, Typed, Writer};
use crate::message::Flags;
use crate::ovs::{
    Action, Actions, CheckPktLenAttr, Key, Keys, Packet, PacketCommand, SampleAttr, UserFeatures, UserspaceAttr,
};

/// A packet that left through a port.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Output {
    /// The datapath.
    pub dp_ifindex: u32,
    /// The port.
    pub port: u32,
    /// The packet, as it came.
    pub packet: Vec<u8>,
}

/// How often a packet may be looked up again.
const MAX_RECIRCULATIONS: usize = 64;

/// A packet on its way through a datapath.
struct Walk<'a> {
    dp_ifindex: u32,
    packet: &'a [u8],
    key: Vec<u8>,
    /// The socket for all its upcalls.
    upcall_pid: Option<u32>,
    lookups: usize,
}

impl State {
    pub(super) fn receive(&mut self, dp_ifindex: u32, key: &[u8], packet: &[u8]) -> bool {
        let known = self.datapaths.contains_key(&dp_ifindex);
        if known {
            let mut walk = Walk { dp_ifindex, packet, key: key.to_vec(), upcall_pid: None, lookups: 0 };
            self.look_up(&mut walk);
        }
        known
    }

    pub(super) fn execute(&mut self, order: &Packet<'_>) {
        let mut walk = Walk {
            dp_ifindex: order.dp_ifindex,
            packet: order.packet.unwrap_or_default(),
            key: order.key.map(|key| key.payload().to_vec()).unwrap_or_default(),
            upcall_pid: order.upcall_pid.filter(|pid| *pid != 0),
            lookups: 0,
        };
        if let Some(actions) = order.actions {
            self.act(&mut walk, actions);
        }
    }

    fn look_up(&mut self, walk: &mut Walk<'_>) {
        walk.lookups = walk.lookups.saturating_add(1);
        let Some(datapath) = self.datapaths.get_mut(&walk.dp_ifindex) else { return };
        let length = u64::try_from(walk.packet.len()).unwrap_or(u64::MAX);
        let found = datapath.flows.iter_mut().find(|flow| matches(flow, &walk.key));
        let stats = datapath.datapath.stats.get_or_insert_default();
        match found {
            Some(flow) => {
                stats.hit = stats.hit.saturating_add(1);
                flow.stats.packets = flow.stats.packets.saturating_add(1);
                flow.stats.bytes = flow.stats.bytes.saturating_add(length);
                let actions = flow.actions.clone();
                self.act(walk, Actions::new(&actions));
            }
            None => {
                stats.missed = stats.missed.saturating_add(1);
                self.upcall(walk, PacketCommand::Miss, None, None, None);
            }
        }
    }

    fn act(&mut self, walk: &mut Walk<'_>, actions: Actions<'_>) {
        let own = walk.key.clone();
        for action in actions.iter().map_while(Result::ok) {
            match action {
                Action::Output(port) => {
                    let (dp_ifindex, packet) = (walk.dp_ifindex, walk.packet.to_vec());
                    self.outputs.push(Output { dp_ifindex, port, packet });
                }
                Action::Recirc(id) if walk.lookups < MAX_RECIRCULATIONS => {
                    replace(&mut walk.key, Key::RECIRC_ID, &id.to_ne_bytes());
                    self.look_up(walk);
                }
                Action::Userspace(attributes) => {
                    let (mut pid, mut userdata, mut wants_actions) = (None, None, false);
                    for attribute in attributes.iter().map_while(Result::ok) {
                        match attribute {
                            UserspaceAttr::Pid(number) => pid = Some(number),
                            UserspaceAttr::Userdata(bytes) => userdata = Some(bytes),
                            UserspaceAttr::Actions => wants_actions = true,
                            UserspaceAttr::EgressTunPort(_) | UserspaceAttr::Other(_) => {}
                        }
                    }
                    let shown = wants_actions.then_some(actions);
                    self.upcall(walk, PacketCommand::Action, pid, userdata, shown);
                }
                Action::Set(keys) => {
                    for attribute in keys.attributes().map_while(Result::ok) {
                        replace(&mut walk.key, attribute.kind(), attribute.payload());
                    }
                }
                Action::SetMasked(keys) => {
                    for attribute in keys.attributes().map_while(Result::ok) {
                        let payload = attribute.payload();
                        let (value, mask) = payload.split_at(payload.len() / 2);
                        let old = payload_of(&walk.key, attribute.kind()).unwrap_or_default().to_vec();
                        let old = old.into_iter().chain(std::iter::repeat(0));
                        let new: Vec<u8> = value
                            .iter()
                            .zip(mask)
                            .zip(old)
                            .map(|((value, mask), old)| value & mask | old & !mask)
                            .collect();
                        replace(&mut walk.key, attribute.kind(), &new);
                    }
                }
                Action::Clone(inner) => {
                    self.act(walk, inner);
                    walk.key.clone_from(&own);
                }
                Action::Sample(sample) => {
                    let (mut probability, mut inner) = (0, None);
                    for attribute in sample.iter().map_while(Result::ok) {
                        match attribute {
                            SampleAttr::Probability(number) => probability = number,
                            SampleAttr::Actions(actions) => inner = Some(actions),
                            SampleAttr::Other(_) => {}
                        }
                    }
                    // No dice are thrown: what is taken half of the time or more is taken.
                    if let Some(inner) = inner.filter(|_| probability > u32::MAX / 2) {
                        self.act(walk, inner);
                        walk.key.clone_from(&own);
                    }
                }
                Action::CheckPktLen(check) => {
                    let (mut limit, mut greater, mut less) = (0, None, None);
                    for attribute in check.iter().map_while(Result::ok) {
                        match attribute {
                            CheckPktLenAttr::PktLen(length) => limit = usize::from(length),
                            CheckPktLenAttr::ActionsIfGreater(actions) => greater = Some(actions),
                            CheckPktLenAttr::ActionsIfLessEqual(actions) => less = Some(actions),
                            CheckPktLenAttr::Other(_) => {}
                        }
                    }
                    if let Some(inner) = if walk.packet.len() > limit { greater } else { less } {
                        self.act(walk, inner);
                    }
                }
                Action::Drop(_) => return,
                // What changes the bytes of a packet, or asks a connection tracker or a meter.
                _ => {}
            }
        }
    }

    fn upcall(
        &mut self,
        walk: &Walk<'_>,
        command: PacketCommand,
        pid: Option<u32>,
        userdata: Option<&[u8]>,
        actions: Option<Actions<'_>>,
    ) {
        let Some(datapath) = self.datapaths.get(&walk.dp_ifindex) else { return };
        let features = datapath.datapath.user_features.unwrap_or_default();
        let per_cpu = datapath.datapath.per_cpu_pids.clone().unwrap_or_default();
        let in_port =
            payload_of(&walk.key, Key::IN_PORT).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes);
        let port = in_port.and_then(|number| datapath.ports.get(&number));
        let of_port = port.and_then(|port| port.upcall_pids.as_ref()?.first().copied());
        let dispatched = if features.contains(UserFeatures::DISPATCH_UPCALL_PER_CPU) {
            let cpu = self.cpu().checked_rem(per_cpu.len()).unwrap_or(0);
            per_cpu.get(cpu).copied()
        } else {
            pid.or(of_port)
        };
        let pid = walk.upcall_pid.or(dispatched).unwrap_or(0);
        let message = Packet {
            dp_ifindex: walk.dp_ifindex,
            packet: Some(walk.packet),
            key: Some(Keys::new(&walk.key)),
            userdata,
            actions,
            ..Packet::default()
        };
        let mut datagram = Vec::new();
        let family = self.family_id(Packet::FAMILY);
        let encoded = message.encode(&mut datagram, family, command, Flags::empty());
        let lost = encoded.is_err() || !self.send(pid, &datagram);
        if let Some(datapath) = self.datapaths.get_mut(&walk.dp_ifindex).filter(|_| lost) {
            let stats = datapath.datapath.stats.get_or_insert_default();
            stats.lost = stats.lost.saturating_add(1);
        }
    }
}

/// Whether a flow matches a packet with this key.
fn matches(flow: &FlowState, key: &[u8]) -> bool {
    let mask = flow.mask.as_ref().map(|mask| Attributes::new(mask, 0));
    covers(Attributes::new(&flow.key, 0), mask, key)
}

fn covers(wanted: Attributes<'_>, mask: Option<Attributes<'_>>, found: &[u8]) -> bool {
    match mask {
        // Every bit of every attribute.
        None => wanted.map_while(Result::ok).all(|wanted| equal(&wanted, None, found)),
        Some(mut mask) => mask.all(|mask| {
            let Ok(mask) = mask else { return false };
            let value = wanted.clone().map_while(Result::ok).find(|wanted| wanted.kind() == mask.kind());
            value.is_none_or(|value| equal(&value, Some(&mask), found))
        }),
    }
}

fn equal(wanted: &Attribute<'_>, mask: Option<&Attribute<'_>>, found: &[u8]) -> bool {
    let found = payload_of(found, wanted.kind()).unwrap_or_default();
    let nested = Key::policy().rule(wanted.kind()).is_some_and(|rule| matches!(rule.ty, Type::Nest(_)));
    if nested {
        let Ok(inner) = wanted.nested() else { return false };
        return covers(inner, mask.and_then(|mask| mask.nested().ok()), found);
    }
    let found = found.iter().copied().chain(std::iter::repeat(0));
    let bits = mask.map(|mask| mask.payload()).unwrap_or_default();
    let bits = bits.iter().copied().chain(std::iter::repeat(if mask.is_some() { 0 } else { 0xff }));
    wanted.payload().iter().zip(found).zip(bits).all(|((wanted, found), bits)| (wanted ^ found) & bits == 0)
}

fn payload_of(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    let found = Attributes::new(attributes, 0).map_while(Result::ok).find(|attribute| attribute.kind() == kind);
    found.map(|attribute| attribute.payload())
}

/// Writes an attribute of a key anew, or adds it.
fn replace(key: &mut Vec<u8>, kind: u16, payload: &[u8]) {
    let mut new = Vec::with_capacity(key.len());
    let mut writer = Writer::new(&mut new);
    let kept: Nest<'_, Key<'_>> = Nest::new(key);
    for attribute in kept.attributes().map_while(Result::ok).filter(|attribute| attribute.kind() != kind) {
        let _ = writer.copy(&attribute);
    }
    let _ = writer.bytes(kind, payload);
    *key = new;
}

//! What the switch does with controllers' messages, and what it says to them.
//!
//! # How a message goes
//!
//! [`Ofproto::handle_message`] takes one in for a connection, [`Ofproto::poll_output`] gives out what is to be sent. Of one
//! connection, messages are obeyed in their order, each to its end: a barrier is answered when all before it is done.
//! What takes long, a dump of many flows, is done a message at a time as that is polled for; what comes behind it waits,
//! and [`Ofproto::wants_input`] says no. So a controller that asks and does not read costs little, and nothing stalls the
//! others.
//!
//! # What is where
//!
//! - `modify`: changes of flows, groups, meters, ports and tables, one by one or in bundles;
//! - `report`: what there is and what it has seen; `setup`: how the switch and a connection are set up;
//! - `unasked`: what controllers are told without a request.

mod modify;
mod monitor;
mod report;
mod setup;
mod table_features;
mod unasked;

use std::collections::{BTreeMap, VecDeque};

use ovs_dpif::Dpif;
use ovs_packet::{Instant, Packet};

use super::connection::{
    Connection, ConnectionConfig, ConnectionId, Output, PacketInStats, RateLimit, Scheduler, Traffic, limits,
};
use super::flow_table::RuleId;
use super::ofproto::Ofproto;
use super::work::Asked;
use crate::Action;
use crate::codec::{
    DecodeError, ErrorMessage, FlowStats, FlowStatsWriter, Header, Kind, Message, MessageKind, OfError, TableFeatures,
    Version,
};
use crate::session::{Class, Role};

use modify::COMMIT;
pub(super) use unasked::Punt;

/// As much of a request as there is room for in an error.
const MAX_REPEATED: usize = 0xf000;

/// More messages came than may wait: the connection must be closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("more than {} messages wait", limits::INCOMING)]
pub struct Overrun;

/// A request, and how to answer it.
struct Request<'a> {
    from: ConnectionId,
    version: Version,
    kind: Kind,
    xid: u32,
    bytes: &'a [u8],
}

impl Request<'_> {
    /// The same, for what goes on when the message is gone.
    fn asked(&self) -> Asked {
        Asked { from: self.from, xid: self.xid, bytes: self.bytes.iter().copied().take(MAX_REPEATED).collect() }
    }
}

/// What is said to a request.
enum Answer {
    /// Nothing: it was obeyed.
    Done,
    /// This.
    Say(Vec<Message>),
    /// This, in a message of its own kind.
    As(Kind, Message),
    /// These flows, as they are when it is their turn.
    Flows(Vec<RuleId>),
}

impl From<Message> for Answer {
    fn from(m: Message) -> Answer {
        Answer::Say(vec![m])
    }
}

/// A reply with flows that is being made.
#[derive(Debug)]
pub(super) struct Dump {
    kind: Kind,
    version: Version,
    xid: u32,
    left: std::vec::IntoIter<RuleId>,
}

/// What a connection has that its messages wait for.
#[derive(Default, Debug)]
pub(super) struct Inbox {
    waiting: VecDeque<Vec<u8>>,
    dump: Option<Dump>,
    /// What waits, or what comes, waits for what is under way in the switch.
    pub(super) is_held: bool,
    /// Of a request that has begun, by its xid: at most one of each table.
    table_features: Option<(u32, BTreeMap<u8, TableFeatures>)>,
}

impl Inbox {
    fn is_busy(&self) -> bool {
        self.dump.is_some() || self.is_held || !self.waiting.is_empty()
    }
}

impl Ofproto {
    // Connections.

    /// Takes note of a controller that has said hello.
    pub fn connect(&mut self, config: &ConnectionConfig) -> ConnectionId {
        self.connections.open(config)
    }

    /// Forgets a connection, with all that it had under way. False if there is none of this name.
    pub fn disconnect(&mut self, connection: ConnectionId) -> bool {
        self.connections.close(connection)
    }

    /// The connections.
    pub fn connections(&self) -> impl Iterator<Item = ConnectionId> {
        self.connections.iter().map(|(id, _)| id)
    }

    /// The role of a controller.
    pub fn role(&self, connection: ConnectionId) -> Role {
        self.connections.roles.of(connection)
    }

    /// What was sent to a controller, and what was dropped.
    pub fn traffic(&self, connection: ConnectionId) -> Option<Traffic> {
        self.connections.get(connection).map(|c| c.out.traffic())
    }

    /// What became of packets for a controller that has a limit: those that no flow matched, and others.
    pub fn packet_in_stats(&self, connection: ConnectionId) -> [PacketInStats; 2] {
        let Some(c) = self.connections.get(connection) else { return Default::default() };
        let [misses, others] = &c.schedulers;
        [misses, others].map(|s| s.as_ref().map(Scheduler::stats).unwrap_or_default())
    }

    /// Gives a controller another limit to packets, or none.
    pub fn set_rate_limit(&mut self, connection: ConnectionId, limit: Option<RateLimit>) {
        let Some(c) = self.connections.get_mut(connection) else { return };
        for scheduler in &mut c.schedulers {
            match (limit, scheduler.as_mut()) {
                (Some(limit), Some(s)) => s.set_limit(limit),
                (limit, _) => *scheduler = limit.map(Scheduler::new),
            }
        }
    }

    // Messages.

    /// Whether messages of a connection are looked at now; while not, do not read from it.
    pub fn wants_input(&self, connection: ConnectionId) -> bool {
        self.connections.get(connection).is_some_and(|c| !c.inbox.is_busy() && !c.out.is_full())
    }

    /// Takes one whole message of a controller in. It is obeyed at once if the connection
    /// [wants input](Self::wants_input), else when what is before it has been polled for. A change that takes long is begun at
    /// once and goes on with the next [runs](Self::run).
    ///
    /// # Errors
    /// If the caller has gone on for long though the connection does not want input.
    pub fn handle_message(
        &mut self,
        dp: &mut dyn Dpif,
        connection: ConnectionId,
        message: &[u8],
        now: Instant,
    ) -> Result<(), Overrun> {
        if self.wants_input(connection) {
            self.obey(dp, connection, message, now);
            return Ok(());
        }
        let Some(c) = self.connections.get_mut(connection) else { return Ok(()) };
        if c.inbox.waiting.len() >= limits::INCOMING {
            return Err(Overrun);
        }
        c.inbox.waiting.push_back(message.to_vec());
        Ok(())
    }

    /// The next message for a controller, if there is one.
    pub fn poll_output(&mut self, dp: &mut dyn Dpif, connection: ConnectionId, now: Instant) -> Option<Output> {
        loop {
            let c = self.connections.get_mut(connection)?;
            if let Some(output) = c.out.pop() {
                return Some(output);
            }
            if c.inbox.is_held {
                return None;
            }
            if let Some(dump) = c.inbox.dump.take() {
                self.go_on(connection, dump, now);
            } else if let Some(message) = c.inbox.waiting.pop_front() {
                self.obey(dp, connection, &message, now);
            } else if !self.resume_monitors(connection) {
                return None;
            }
        }
    }

    /// Whether [`poll_output`](Self::poll_output) has something to do.
    pub fn has_output(&self, connection: ConnectionId) -> bool {
        self.connections
            .get(connection)
            .is_some_and(|c| !c.out.is_empty() || c.inbox.is_busy() || c.monitors.is_paused())
    }

    /// Obeys a message and says what there is to say.
    fn obey(&mut self, dp: &mut dyn Dpif, from: ConnectionId, bytes: &[u8], now: Instant) {
        let Some(version) = self.connections.get(from).map(|c| c.version) else { return };
        // What is no message at all, a session would not have let through.
        let Ok(header) = Header::decode(bytes) else { return };
        let read = if header.version == version { Message::decode(bytes) } else { Err(wrong_version()) };
        if self.under_way
            && let Ok((_, message)) = &read
            && !goes_beside(message)
            && let Some(c) = self.connections.get_mut(from)
        {
            c.inbox.is_held = true;
            return c.inbox.waiting.push_front(bytes.to_vec());
        }
        let read = read.map_err(|e| {
            complain(bytes, version, &e);
            e.error
        });
        let answer = read.and_then(|(_, message)| {
            let kind = Kind::of_bytes(bytes).unwrap_or(Kind::Hello);
            let request = Request { from, version, kind, xid: header.xid, bytes };
            self.answer(dp, &request, message, now)
        });
        let xid = header.xid;
        match answer {
            Ok(Answer::Done) => {}
            Ok(Answer::Say(messages)) => messages.iter().for_each(|m| self.say(from, Class::Reply, m, xid)),
            Ok(Answer::As(kind, m)) => {
                if let Some(c) = self.connections.get_mut(from) {
                    c.push_encoded(Class::Reply, m.encode_as(kind, version, xid));
                }
            }
            Ok(Answer::Flows(ids)) => {
                let kind = match Kind::of_bytes(bytes) {
                    Ok(Kind::NxStatsFlowRequest) => Some(Kind::NxStatsFlowReply),
                    _ => Kind::saying(MessageKind::FlowStatsReply, version),
                };
                if let (Some(kind), Some(c)) = (kind, self.connections.get_mut(from)) {
                    c.inbox.dump = Some(Dump { kind, version, xid, left: ids.into_iter() });
                }
            }
            Err(e) => self.refuse(from, e, bytes, xid),
        }
    }

    fn answer(
        &mut self,
        dp: &mut dyn Dpif,
        request: &Request<'_>,
        message: Message,
        now: Instant,
    ) -> Result<Answer, OfError> {
        if changes_the_switch(&message) && !self.role(request.from).may_modify() {
            return Err(OfError::BadRequestIsReplica);
        }
        message.not_understood().map_or(Ok(()), Err)?;
        match message {
            Message::EchoRequest(data) => Ok(Message::EchoReply(data).into()),
            // Answers and errors that come from a controller need none.
            Message::Error(_) | Message::EchoReply(_) => Ok(Answer::Done),
            // What came before on the connection is done: there is nothing to wait for.
            Message::BarrierRequest => Ok(Message::BarrierReply.into()),

            Message::FlowMod(fm) => self.obey_flow_mod(dp, request, fm, now),
            Message::GroupMod(gm) => self.obey_group_mod(dp, request, *gm, now),
            Message::MeterMod(mm) => self.obey_meter_mod(dp, request, mm, now),
            Message::PortMod(pm) => self.obey_port_mod(&pm, request.from).map(|()| Answer::Done),
            Message::TableMod(tm) => self.obey_table_mod(&tm, request.version),
            Message::PacketOut(out) => self.obey_packet_out(dp, &out, now),
            Message::Resume(waiting) => {
                let token = waiting.continuation.as_deref().unwrap_or_default();
                let known = self.resume(dp, Packet::from_slice(&waiting.data), token, now);
                if known { Ok(Answer::Done) } else { Err(OfError::ResumeStale) }
            }
            Message::BundleControl(b) => self.obey_bundle_control(dp, request, b, now),
            Message::BundleAdd(b) => self.obey_bundle_add(request, &b, now),

            Message::FeaturesRequest => Ok(self.features(request.version).into()),
            Message::DescRequest => Ok(Message::DescReply(Box::new(self.description.clone())).into()),
            Message::GetConfigRequest => Ok(self.switch_config(request.from).into()),
            Message::SetConfig(config) => self.set_switch_config(request, config),
            Message::RoleRequest(role) => self.obey_role_request(request, role),
            Message::GetAsyncRequest => Ok(self.async_config(request).into()),
            Message::SetAsync(config) => self.set_async_config(request, &config),
            Message::SetControllerId(id) => self.set_up(request, |c| c.controller_id = id),
            Message::FlowModTableId(on) => self.set_up(request, |c| c.tables_in_flow_mods = on),
            Message::SetPacketInFormat(format) => self.set_packet_in_format(request, format),
            Message::SetFlowFormat(format) => self.set_flow_format(request, format),
            Message::FlowAge => Ok(Answer::Done),

            Message::FlowStatsRequest(r) => self.flow_stats(dp, &r, now),
            Message::AggregateStatsRequest(r) => self.aggregate_stats(dp, request, &r, now),
            Message::TableStatsRequest => Ok(self.table_stats_reply(dp, request.version, now)),
            Message::TableDescRequest => Ok(self.table_descs()),
            Message::PortDescRequest(r) => Ok(self.port_descs(r, request.version)),
            Message::PortStatsRequest(r) => Ok(self.port_stats(dp, r, now)),
            Message::QueueConfigRequest(r) => self.queue_configs(r, request.version),
            Message::QueueStatsRequest(r) => self.queue_stats(r, now),
            Message::GroupStatsRequest(group) => Ok(self.group_stats(dp, group, now)),
            Message::GroupDescRequest(group) => Ok(self.group_descs(group, request.version)),
            Message::GroupFeaturesRequest => {
                let actions = table_features::actions(request.version);
                Ok(Message::GroupFeaturesReply(self.groups.features(actions)).into())
            }
            Message::MeterStatsRequest(meter) => self.meter_stats(dp, meter, now),
            Message::MeterConfigRequest(meter) => self.meter_configs(meter),
            Message::MeterFeaturesRequest => Ok(self.meter_features(dp).into()),

            Message::CtFlushZone(zone) => Ok(self.flush_connections(zone)),
            Message::Experimenter(_) => Err(OfError::BadRequestBadExperimenter),
            Message::TableFeaturesRequest(page) => self.table_features(request, page),
            Message::FlowMonitorRequest(page) => self.obey_monitors(request, page.items),
            Message::FlowMonitorCancel(id) => self.cancel_monitor(request, id),
            Message::CtFlush(what) => Ok(self.flush_some(*what)),
            Message::TlvTableMod(tm) => self.obey_tlv_table_mod(&tm),
            Message::TlvTableRequest => Ok(self.tlv_table()),
            // Nothing is exported: there is nothing to tell.
            Message::IpfixBridgeStatsRequest | Message::IpfixFlowStatsRequest => Err(OfError::StatsNotConfigured),
            _ if request.kind.is_multipart() => Err(OfError::BadRequestBadMultipart),
            // Answers that a controller should not send, a second hello, and what this switch has not.
            _ => Err(OfError::BadRequestBadType),
        }
    }

    /// Makes the next message of a dump.
    fn go_on(&mut self, connection: ConnectionId, mut dump: Dump, now: Instant) {
        let Ok(page) = FlowStatsWriter::new(dump.kind, dump.version, dump.xid) else { return };
        let mut page = page.knowing(&self.tlv);
        let (mut more, mut stats) = (false, FlowStats::default());
        while let Some(id) = dump.left.as_slice().first() {
            // A flow that is gone by now is not told of.
            if self.tables.stats_into(*id, now, &mut stats) {
                if self.tlv.used_bytes() > 0 {
                    stats.matching = self.tlv.lift(&stats.matching);
                }
                match page.push(&stats) {
                    Ok(true) => {}
                    Ok(false) => {
                        more = true;
                        break;
                    }
                    Err(e) => tracing::debug!(error = %e, "a flow is not told of"),
                }
            }
            dump.left.next();
        }
        let Some(c) = self.connections.get_mut(connection) else { return };
        c.push_encoded(Class::Reply, page.finish(more));
        if more {
            c.inbox.dump = Some(dump);
        }
    }

    pub(in crate::pipeline) fn refuse(&mut self, connection: ConnectionId, error: OfError, request: &[u8], xid: u32) {
        // All of the request, or as much of it as there is room for.
        let data = request.iter().copied().take(MAX_REPEATED).collect();
        self.say(connection, Class::Reply, &Message::Error(ErrorMessage { error, data }), xid);
    }

    pub(in crate::pipeline) fn say(&mut self, connection: ConnectionId, class: Class, message: &Message, xid: u32) {
        if let Some(c) = self.connections.get_mut(connection) {
            c.push_encoded(class, message.encode_knowing(&self.tlv, c.version, xid));
        }
    }
}

impl Connection {
    fn push(&mut self, class: Class, message: &Message, xid: u32) {
        self.push_encoded(class, message.encode(self.version, xid));
    }

    fn push_encoded(&mut self, class: Class, encoded: Result<Vec<u8>, crate::codec::EncodeError>) {
        match encoded {
            Ok(bytes) => self.out.push(class, bytes),
            Err(e) => tracing::warn!(error = %e, version = %self.version, "a message cannot be sent"),
        }
    }
}

/// Logs what is wrong with a list of actions, where that is what is wrong with a message.
#[cold]
fn complain(message: &[u8], version: Version, error: &DecodeError) {
    let Some((list, error)) = error.actions(message) else { return };
    for line in Action::complaints(list, version, &error) {
        match line.module {
            "meta_flow" => tracing::warn!(target: "meta_flow", "{}", line.says),
            _ => tracing::warn!(target: "ofp_actions", "{}", line.says),
        }
    }
}

fn wrong_version() -> DecodeError {
    DecodeError::new(OfError::BadRequestBadVersion, 0, "the version of the connection")
}

/// What a secondary controller may not send.
fn changes_the_switch(message: &Message) -> bool {
    matches!(
        message,
        Message::FlowMod(_)
            | Message::GroupMod(_)
            | Message::MeterMod(_)
            | Message::PortMod(_)
            | Message::TableMod(_)
            | Message::PacketOut(_)
            | Message::Resume(_)
            | Message::BundleControl(_)
            | Message::BundleAdd(_)
            | Message::TlvTableMod(_)
            | Message::CtFlush(_)
            | Message::CtFlushZone(_)
    )
}

/// What is done while something else is under way: it neither asks for flows or groups nor changes them.
fn goes_beside(message: &Message) -> bool {
    match message {
        Message::EchoRequest(_)
        | Message::EchoReply(_)
        | Message::Error(_)
        | Message::BarrierRequest
        | Message::FeaturesRequest
        | Message::DescRequest
        | Message::GetConfigRequest
        | Message::GetAsyncRequest
        | Message::SetAsync(_)
        | Message::SetControllerId(_)
        | Message::FlowModTableId(_)
        | Message::SetPacketInFormat(_)
        | Message::SetFlowFormat(_)
        | Message::RoleRequest(_)
        | Message::PacketOut(_)
        | Message::Resume(_)
        | Message::BundleAdd(_)
        | Message::PortDescRequest(_)
        | Message::PortStatsRequest(_)
        | Message::QueueConfigRequest(_)
        | Message::QueueStatsRequest(_) => true,
        // What opens, closes or discards a bundle.
        Message::BundleControl(b) => b.kind != COMMIT,
        _ => false,
    }
}

/// Cuts a list into messages that are not too long: `len` is what an item takes at most.
fn pages<T>(items: Vec<T>, len: impl Fn(&T) -> usize, page: impl Fn(Vec<T>, bool) -> Message) -> Answer {
    const ROOM: usize = 0xf000;
    let (mut said, mut current, mut used) = (Vec::new(), Vec::new(), 0);
    for item in items {
        let n = len(&item);
        if used + n > ROOM && !current.is_empty() {
            said.push(page(std::mem::take(&mut current), true));
            used = 0;
        }
        used += n;
        current.push(item);
    }
    said.push(page(current, false));
    Answer::Say(said)
}

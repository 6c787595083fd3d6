//! Messages: the header, and one of the bodies.

use super::connection::CtFlush;
use super::cursor::{Reader, Shape, Writer};
use super::error::{DecodeError, EncodeError, OfError};
use super::flow::{AggregateStats, FlowRemoved, FlowStatsReader, FlowStatsReply, FlowStatsRequest};
use super::group::{GroupDesc, GroupFeatures, GroupMod, GroupStats};
use super::header::{Header, MessageType, Version};
use super::hello::Hello;
use super::io::{Done, Fault, Io};
use super::ipfix::IpfixStats;
use super::kind::{Kind, MessageKind};
use super::meter::{MeterConfig, MeterFeatures, MeterMod, MeterStats};
use super::monitor::{FlowMonitorRequest, FlowUpdate};
use super::packet::{PacketIn, PacketInView, PacketOut};
use super::port::{Port, PortMod, PortRequest, PortStats, PortStatus};
use super::report::{ErrorMessage, FeaturesReply, SwitchConfig};
use super::switch::{
    AsyncConfig, BundleAdd, BundleControl, Description, Queue, QueueRequest, QueueStats, QueueStatsRequest, Role,
    RoleStatus,
};
use super::table::{TableDesc, TableFeatures, TableMod, TableStats, TableStatus};
use super::tlv::{TlvTableMod, TlvTableReply};
use crate::flow_mod::FlowMod;
#[cfg(feature = "serde")]
use crate::json::form::*;

/// A page of a reply that may come in several messages.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
pub struct Page<T> {
    /// Whether another follows with the same xid (OFPMPF_REPLY_MORE).
    pub more: bool,
    /// What this one has.
    pub items: Vec<T>,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Page { more: false, items: Vec::new() }
    }
}

/// What a message says, without the version and the transaction id that its header has.
///
/// ```
/// use ovs_ofproto::FlowMod;
/// use ovs_ofproto::codec::{Message, Version};
///
/// let flow: FlowMod = "priority=10,tcp,tp_dst=80 actions=output:2".parse()?;
/// let message = Message::from(flow);
/// for version in Version::KNOWN {
///     let bytes = message.encode(version, 1)?;
///     let (header, read) = Message::decode(&bytes)?;
///     assert_eq!((header.version, header.xid), (version, 1));
///     assert_eq!(read, message);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(tag = "type", content = "body", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Message {
    /// The first message each way.
    Hello(Hello),
    /// A request failed.
    Error(ErrorMessage),
    /// Answer with the same bytes.
    EchoRequest(#[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))] Vec<u8>),
    /// The bytes of the request.
    EchoReply(#[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))] Vec<u8>),
    /// An extension's message that is not known here, as it came.
    Experimenter(Experimenter),
    /// A packet for the controller.
    PacketIn(Box<PacketIn>),
    /// A packet from the controller.
    PacketOut(PacketOut),
    /// Go on with a packet that waits.
    Resume(Box<PacketIn>),
    /// A change of the flow tables.
    FlowMod(Box<FlowMod>),
    /// A flow has ended.
    FlowRemoved(Box<FlowRemoved>),
    /// Which flows are there?
    FlowStatsRequest(Box<FlowStatsRequest>),
    /// These flows.
    FlowStatsReply(FlowStatsReply),
    /// What do these flows come to?
    AggregateStatsRequest(Box<FlowStatsRequest>),
    /// To this.
    AggregateStatsReply(AggregateStats),
    /// Who are you?
    FeaturesRequest,
    /// I am.
    FeaturesReply(FeaturesReply),
    /// Answer when all before this is done.
    BarrierRequest,
    /// It is done.
    BarrierReply,
    /// How do you treat packets?
    GetConfigRequest,
    /// So.
    GetConfigReply(SwitchConfig),
    /// Treat packets so.
    SetConfig(SwitchConfig),
    /// A port came, went or changed.
    PortStatus(PortStatus),
    /// Change a port.
    PortMod(PortMod),
    /// Which ports are there?
    PortDescRequest(PortRequest),
    /// These ports.
    PortDescReply(Page<Port>),
    /// What have ports seen?
    PortStatsRequest(PortRequest),
    /// This.
    PortStatsReply(Page<PortStats>),
    /// What are you?
    DescRequest,
    /// This.
    DescReply(Box<Description>),
    /// What have tables seen?
    TableStatsRequest,
    /// This.
    TableStatsReply(Page<TableStats>),
    /// Change a table.
    TableMod(TableMod),
    /// What can tables do? With tables: let them do this (OpenFlow 1.3 and later).
    TableFeaturesRequest(Page<TableFeatures>),
    /// This.
    TableFeaturesReply(Page<TableFeatures>),
    /// The vacancy of a table crossed a threshold.
    TableStatus(TableStatus),
    /// How are tables set up?
    TableDescRequest,
    /// So.
    TableDescReply(Page<TableDesc>),
    /// Change groups.
    GroupMod(Box<GroupMod>),
    /// What have groups seen? Of one, or of 0xfffffffc all.
    GroupStatsRequest(#[cfg_attr(feature = "serde", serde(with = "As::<Named<GroupId>>"))] u32),
    /// This.
    GroupStatsReply(Page<GroupStats>),
    /// Which groups are there?
    GroupDescRequest(#[cfg_attr(feature = "serde", serde(with = "As::<Named<GroupId>>"))] u32),
    /// These.
    GroupDescReply(Page<GroupDesc>),
    /// Which groups can there be?
    GroupFeaturesRequest,
    /// These.
    GroupFeaturesReply(GroupFeatures),
    /// Change a meter.
    MeterMod(MeterMod),
    /// What have meters seen? Of one, or of 0xffffffff all.
    MeterStatsRequest(#[cfg_attr(feature = "serde", serde(with = "As::<Named<MeterId>>"))] u32),
    /// This.
    MeterStatsReply(Page<MeterStats>),
    /// Which meters are there?
    MeterConfigRequest(#[cfg_attr(feature = "serde", serde(with = "As::<Named<MeterId>>"))] u32),
    /// These.
    MeterConfigReply(Page<MeterConfig>),
    /// Which meters can there be?
    MeterFeaturesRequest,
    /// These.
    MeterFeaturesReply(MeterFeatures),
    /// Which queues does a port have?
    QueueConfigRequest(QueueRequest),
    /// These.
    QueueConfigReply(Page<Queue>),
    /// What have queues seen?
    QueueStatsRequest(QueueStatsRequest),
    /// This.
    QueueStatsReply(Page<QueueStats>),
    /// Let me have a role.
    RoleRequest(Role),
    /// You have it.
    RoleReply(Role),
    /// You have another role now.
    RoleStatus(RoleStatus),
    /// What do you tell me unasked?
    GetAsyncRequest,
    /// This.
    GetAsyncReply(AsyncConfig),
    /// Tell me this.
    SetAsync(AsyncConfig),
    /// Another controller's request changed a group or a meter: the request, whole.
    RequestForward(#[cfg_attr(feature = "serde", serde(with = "As::<Nested>"))] Vec<u8>),
    /// Begins and ends a bundle.
    BundleControl(BundleControl),
    /// Adds a message to a bundle.
    BundleAdd(BundleAdd),
    /// Matches are said so: 0 as OpenFlow 1.0 does, 2 as Nicira does.
    SetFlowFormat(#[cfg_attr(feature = "serde", serde(with = "As::<Named<FlowFormat>>"))] u32),
    /// Whether flow modifications name their table.
    FlowModTableId(bool),
    /// Packets come so: 0 as OpenFlow does, 1 or 2 as Nicira does.
    SetPacketInFormat(#[cfg_attr(feature = "serde", serde(with = "As::<Named<PacketInFormat>>"))] u32),
    /// Tell the ages of flows.
    FlowAge,
    /// Which controller this is.
    SetControllerId(u16),
    /// Monitor flows.
    FlowMonitorRequest(Page<FlowMonitorRequest>),
    /// Flows that there are, or that changed.
    FlowMonitorReply(Page<FlowUpdate>),
    /// End a monitor. From OpenFlow 1.4 on it goes out, and is read, as a [`FlowMonitorRequest`].
    FlowMonitorCancel(u32),
    /// Flows are not monitored for a while. From OpenFlow 1.4 on it goes out, and is read, as a [`FlowUpdate`], as does
    /// the next.
    FlowMonitorPaused,
    /// They are again.
    FlowMonitorResumed,
    /// Forget the connections of a zone.
    CtFlushZone(u16),
    /// Forget some connections.
    CtFlush(Box<CtFlush>),
    /// Change the table of tunnel options.
    TlvTableMod(TlvTableMod),
    /// Which tunnel options are there?
    TlvTableRequest,
    /// These.
    TlvTableReply(TlvTableReply),
    /// What has the bridge exported by IPFIX?
    IpfixBridgeStatsRequest,
    /// This.
    IpfixBridgeStatsReply(IpfixStats),
    /// What have flows exported by IPFIX?
    IpfixFlowStatsRequest,
    /// This, by sets of collectors.
    IpfixFlowStatsReply(Page<IpfixStats>),
}

/// A message that an extension defines, with the bytes that it consists of.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
pub struct Experimenter {
    /// Whose extension.
    #[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))]
    pub experimenter: u32,
    /// Its type of message.
    #[cfg_attr(feature = "serde", serde(rename = "exp_type"))]
    pub kind: u32,
    /// The rest.
    #[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))]
    pub data: Vec<u8>,
}

macro_rules! boxed {
    ($($type:ident => $variant:ident $($wrap:path)?;)+) => {
        $(impl From<$type> for Message {
            fn from(value: $type) -> Message {
                Message::$variant($($wrap)?(value))
            }
        })+
    };
}

boxed! {
    FlowMod => FlowMod Box::new;
    PacketIn => PacketIn Box::new;
    PacketOut => PacketOut;
    FlowStatsRequest => FlowStatsRequest Box::new;
    FlowRemoved => FlowRemoved Box::new;
    GroupMod => GroupMod Box::new;
}

/// What of a message is laid out in one pass, for both directions.
fn pass(m: &mut Message, io: &mut Io<'_, '_>, kind: Kind) -> Done {
    match m {
        Message::FeaturesReply(f) => f.pass(io, kind),
        Message::GetConfigReply(c) | Message::SetConfig(c) => c.pass(io),
        Message::PortStatus(p) => p.pass(io),
        Message::PortMod(p) => p.pass(io),
        Message::PortDescRequest(p) if kind == Kind::StatsPortDescRequest15 => p.pass(io),
        Message::PortStatsRequest(p) => p.pass(io),
        Message::PortDescReply(p) => io.list(&mut p.items, |io, p| p.pass(io)),
        Message::PortStatsReply(p) => io.list(&mut p.items, |io, p| p.pass(io)),
        Message::DescReply(d) => d.pass(io),
        Message::TableStatsReply(t) => io.list(&mut t.items, |io, t| t.pass(io)),
        Message::TableMod(t) => t.pass(io),
        Message::TableDescReply(t) => io.list(&mut t.items, |io, t| t.pass(io)),
        Message::TableFeaturesRequest(t) => {
            let loose = io.keeps();
            io.list(&mut t.items, |io, t| t.pass(io, loose))
        }
        Message::TableFeaturesReply(t) => io.list(&mut t.items, |io, t| t.pass(io, true)),
        Message::TableStatus(t) => t.pass(io),
        Message::GroupMod(g) => g.pass(io, kind),
        Message::GroupStatsRequest(n) => {
            io.u32(n)?;
            io.pad(4)
        }
        Message::GroupDescRequest(n) if kind != Kind::StatsGroupDescRequest11 => {
            io.u32(n)?;
            io.pad(4)
        }
        Message::GroupStatsReply(g) => io.list(&mut g.items, |io, g| g.pass(io)),
        Message::GroupDescReply(g) => io.list(&mut g.items, |io, g| g.pass(io)),
        Message::GroupFeaturesReply(g) => g.pass(io),
        Message::MeterMod(m) => m.pass(io),
        Message::MeterStatsRequest(n) | Message::MeterConfigRequest(n) => {
            io.u32(n)?;
            io.pad(4)
        }
        Message::MeterStatsReply(m) => io.list(&mut m.items, |io, m| m.pass(io)),
        Message::MeterConfigReply(m) => io.list(&mut m.items, |io, m| m.pass(io)),
        Message::MeterFeaturesReply(m) => m.pass(io),
        Message::QueueConfigRequest(q) => q.pass(io, kind),
        Message::QueueConfigReply(q) => Queue::pass_reply(&mut q.items, io, kind),
        Message::QueueStatsRequest(q) => q.pass(io),
        Message::QueueStatsReply(q) => io.list(&mut q.items, |io, q| q.pass(io)),
        Message::RoleRequest(r) | Message::RoleReply(r) => r.pass(io, kind),
        Message::RoleStatus(r) => r.pass(io),
        Message::GetAsyncReply(a) | Message::SetAsync(a) => a.pass(io, kind),
        Message::RequestForward(request) => io.either(request, read_forwarded, |request, w| {
            w.bytes(request);
            Ok(())
        }),
        Message::BundleControl(b) => b.pass(io),
        Message::BundleAdd(b) => b.pass(io),
        Message::FlowMonitorCancel(id) if kind == Kind::StatsFlowMonitorRequest14 => {
            let version = io.version;
            io.either(id, |r| r.u32(), |id, w| FlowMonitorRequest::delete(*id).write(w, version, kind))
        }
        Message::FlowMonitorPaused if kind == Kind::StatsFlowMonitorReply14 => {
            write_update(&FlowUpdate::Paused, io, kind)
        }
        Message::FlowMonitorResumed if kind == Kind::StatsFlowMonitorReply14 => {
            write_update(&FlowUpdate::Resumed, io, kind)
        }
        Message::SetFlowFormat(n) | Message::SetPacketInFormat(n) | Message::FlowMonitorCancel(n) => io.u32(n),
        Message::FlowModTableId(on) => {
            let mut byte = u8::from(*on);
            io.u8(&mut byte)?;
            *on = byte != 0;
            io.pad(7)
        }
        Message::SetControllerId(id) => {
            io.zeros(6)?;
            io.u16(id)
        }
        Message::CtFlushZone(zone) => {
            io.zeros(6)?;
            io.u16(zone)
        }
        Message::CtFlush(c) => c.pass(io),
        Message::TlvTableMod(t) => t.pass(io),
        Message::TlvTableReply(t) => t.pass(io),
        Message::IpfixBridgeStatsReply(i) => i.pass(io),
        Message::IpfixFlowStatsReply(i) => io.list(&mut i.items, |io, i| i.pass(io)),
        Message::FlowMonitorRequest(m) => io.list(&mut m.items, |io, m| {
            let version = io.version;
            io.either(m, |r| FlowMonitorRequest::read(r, kind), |m, w| m.write(w, version, kind))
        }),
        Message::FlowMonitorReply(m) => io.list(&mut m.items, |io, u| {
            let version = io.version;
            io.either(u, |r| FlowUpdate::read(r, version, kind), |u, w| u.write(w, version, kind))
        }),
        _ => Ok(()),
    }
}

/// Writes an update that stands for a message of its own in other versions.
fn write_update(update: &FlowUpdate, io: &mut Io<'_, '_>, kind: Kind) -> Done {
    let version = io.version;
    io.either(&mut (), |_| Ok(()), |(), w| update.write(w, version, kind))
}

/// Reads a request within a message that forwards it.
fn read_forwarded(r: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
    let start = r.clone();
    let bad = |error| start.error(error, "a change of a group or of a meter");
    let all = r.remaining();
    let header = Header::decode(all).map_err(|_| bad(OfError::BundleMsgBadLen))?;
    let len = usize::from(header.length);
    let request = all.get(..len).filter(|_| len >= Header::LEN).ok_or_else(|| bad(OfError::BundleMsgBadLen))?;
    match Kind::of_bytes(request)?.of() {
        MessageKind::GroupMod | MessageKind::MeterMod => Message::decode(request).map(|_| request.to_vec()),
        _ => Err(bad(OfError::BundleMsgUnsup)),
    }
}

/// A message within a bundle has the xid of the one that it came in.
fn check_bundled(kind: Kind, header: Header, body: &Reader<'_>) -> Result<(), DecodeError> {
    let inner = body.peek().get(8..).unwrap_or_default();
    let bundled = kind.of() == MessageKind::BundleAddMessage;
    match Header::decode(inner) {
        Ok(h)
            if bundled
                && h.version == header.version
                && h.xid != header.xid
                && (Header::LEN..=inner.len()).contains(&usize::from(h.length)) =>
        {
            Err(body.error(OfError::BundleMsgBadXid, "the xid of the message around it"))
        }
        _ => Ok(()),
    }
}

/// An empty message of a kind that [`pass`] fills.
fn empty(of: MessageKind, more: bool) -> Option<Message> {
    fn page<T>(more: bool) -> Page<T> {
        Page { more, items: Vec::new() }
    }
    Some(match of {
        MessageKind::FeaturesRequest => Message::FeaturesRequest,
        MessageKind::FeaturesReply => Message::FeaturesReply(FeaturesReply::default()),
        MessageKind::BarrierRequest => Message::BarrierRequest,
        MessageKind::BarrierReply => Message::BarrierReply,
        MessageKind::GetConfigRequest => Message::GetConfigRequest,
        MessageKind::GetConfigReply => Message::GetConfigReply(SwitchConfig::default()),
        MessageKind::SetConfig => Message::SetConfig(SwitchConfig::default()),
        MessageKind::PortStatus => Message::PortStatus(PortStatus::default()),
        MessageKind::PortMod => Message::PortMod(PortMod::default()),
        MessageKind::PortDescStatsRequest => Message::PortDescRequest(PortRequest::default()),
        MessageKind::PortDescStatsReply => Message::PortDescReply(page(more)),
        MessageKind::PortStatsRequest => Message::PortStatsRequest(PortRequest::default()),
        MessageKind::PortStatsReply => Message::PortStatsReply(page(more)),
        MessageKind::DescStatsRequest => Message::DescRequest,
        MessageKind::DescStatsReply => Message::DescReply(Box::default()),
        MessageKind::TableStatsRequest => Message::TableStatsRequest,
        MessageKind::TableStatsReply => Message::TableStatsReply(page(more)),
        MessageKind::TableMod => Message::TableMod(TableMod::default()),
        MessageKind::TableDescRequest => Message::TableDescRequest,
        MessageKind::TableDescReply => Message::TableDescReply(page(more)),
        MessageKind::GroupMod => Message::GroupMod(Box::default()),
        MessageKind::GroupStatsRequest => Message::GroupStatsRequest(0xffff_fffc),
        MessageKind::GroupStatsReply => Message::GroupStatsReply(page(more)),
        MessageKind::GroupDescStatsRequest => Message::GroupDescRequest(0xffff_fffc),
        MessageKind::GroupDescStatsReply => Message::GroupDescReply(page(more)),
        MessageKind::GroupFeaturesStatsRequest => Message::GroupFeaturesRequest,
        MessageKind::GroupFeaturesStatsReply => Message::GroupFeaturesReply(GroupFeatures::default()),
        MessageKind::MeterMod => Message::MeterMod(MeterMod::default()),
        MessageKind::MeterStatsRequest => Message::MeterStatsRequest(u32::MAX),
        MessageKind::MeterStatsReply => Message::MeterStatsReply(page(more)),
        MessageKind::MeterConfigStatsRequest => Message::MeterConfigRequest(u32::MAX),
        MessageKind::MeterConfigStatsReply => Message::MeterConfigReply(page(more)),
        MessageKind::MeterFeaturesStatsRequest => Message::MeterFeaturesRequest,
        MessageKind::MeterFeaturesStatsReply => Message::MeterFeaturesReply(MeterFeatures::default()),
        MessageKind::QueueGetConfigRequest => Message::QueueConfigRequest(QueueRequest::default()),
        MessageKind::QueueGetConfigReply => Message::QueueConfigReply(page(more)),
        MessageKind::QueueStatsRequest => Message::QueueStatsRequest(QueueStatsRequest::default()),
        MessageKind::QueueStatsReply => Message::QueueStatsReply(page(more)),
        MessageKind::RoleRequest => Message::RoleRequest(Role::default()),
        MessageKind::RoleReply => Message::RoleReply(Role::default()),
        MessageKind::RoleStatus => Message::RoleStatus(RoleStatus::default()),
        MessageKind::GetAsyncRequest => Message::GetAsyncRequest,
        MessageKind::GetAsyncReply => Message::GetAsyncReply(AsyncConfig::default()),
        MessageKind::SetAsyncConfig => Message::SetAsync(AsyncConfig::default()),
        MessageKind::RequestForward => Message::RequestForward(Vec::new()),
        MessageKind::BundleControl => Message::BundleControl(BundleControl::default()),
        MessageKind::BundleAddMessage => Message::BundleAdd(BundleAdd::default()),
        MessageKind::SetFlowFormat => Message::SetFlowFormat(0),
        MessageKind::FlowModTableId => Message::FlowModTableId(false),
        MessageKind::SetPacketInFormat => Message::SetPacketInFormat(0),
        MessageKind::FlowAge => Message::FlowAge,
        MessageKind::SetControllerId => Message::SetControllerId(0),
        MessageKind::FlowMonitorCancel => Message::FlowMonitorCancel(0),
        MessageKind::FlowMonitorPaused => Message::FlowMonitorPaused,
        MessageKind::FlowMonitorResumed => Message::FlowMonitorResumed,
        MessageKind::CtFlushZone => Message::CtFlushZone(0),
        MessageKind::CtFlush => Message::CtFlush(Box::default()),
        MessageKind::TableFeaturesStatsRequest => Message::TableFeaturesRequest(page(more)),
        MessageKind::TableFeaturesStatsReply => Message::TableFeaturesReply(page(more)),
        MessageKind::TableStatus => Message::TableStatus(TableStatus::default()),
        MessageKind::FlowMonitorStatsRequest => Message::FlowMonitorRequest(page(more)),
        MessageKind::FlowMonitorStatsReply => Message::FlowMonitorReply(page(more)),
        MessageKind::TlvTableMod => Message::TlvTableMod(TlvTableMod::default()),
        MessageKind::TlvTableRequest => Message::TlvTableRequest,
        MessageKind::TlvTableReply => Message::TlvTableReply(TlvTableReply::default()),
        MessageKind::IpfixBridgeStatsRequest => Message::IpfixBridgeStatsRequest,
        MessageKind::IpfixBridgeStatsReply => Message::IpfixBridgeStatsReply(IpfixStats::default()),
        MessageKind::IpfixFlowStatsRequest => Message::IpfixFlowStatsRequest,
        MessageKind::IpfixFlowStatsReply => Message::IpfixFlowStatsReply(page(more)),
        // These have functions of their own.
        MessageKind::Hello
        | MessageKind::Error
        | MessageKind::EchoRequest
        | MessageKind::EchoReply
        | MessageKind::PacketIn
        | MessageKind::Resume
        | MessageKind::PacketOut
        | MessageKind::FlowMod
        | MessageKind::FlowRemoved
        | MessageKind::FlowStatsRequest
        | MessageKind::FlowStatsReply
        | MessageKind::AggregateStatsRequest
        | MessageKind::AggregateStatsReply => return None,
    })
}

impl Message {
    /// Reads a whole message, as a [`Framer`](super::Framer) gives it.
    ///
    /// # Errors
    /// What is not understood, with the error to answer with and the place. [`ErrorMessage::new`] makes the answer,
    /// which takes version and xid from [`Header::decode`].
    pub fn decode(bytes: &[u8]) -> Result<(Header, Message), DecodeError> {
        let (header, message, broken) = Message::decode_part(bytes, false)?;
        match broken {
            Some(e) => Err(e),
            None => Ok((header, message)),
        }
    }

    /// The same. With `keep`, a list that is broken gives what stands before the break, and the error.
    pub(crate) fn decode_part(bytes: &[u8], keep: bool) -> Result<(Header, Message, Option<DecodeError>), DecodeError> {
        let mut r = Reader::new(bytes).or(OfError::BadRequestBadLength);
        let header = Header::read(&mut r)?;
        if usize::from(header.length) != bytes.len() {
            let what = "the number of bytes that there are";
            return Err(DecodeError { error: OfError::BadRequestBadLength, at: 2, what });
        }
        let more = r.peek().get(2..4) == Some(&[0, 1]);
        let mut body = r.clone();
        let kind = match Kind::read(&mut body, header) {
            Ok(kind) => kind,
            Err(e) if header.kind == MessageType::EXPERIMENTER && header.version.minor().is_some() => {
                let unknown =
                    matches!(e.error, OfError::BadRequestBadExperimenter | OfError::BadRequestBadExperimenterType);
                if !unknown {
                    return Err(e);
                }
                let (experimenter, kind) = (r.u32()?, r.u32()?);
                let data = r.remaining().to_vec();
                return Ok((header, Message::Experimenter(Experimenter { experimenter, kind, data }), None));
            }
            Err(e) => return Err(e),
        };
        // Only tables to set up may need several requests.
        let parts = kind.of() == MessageKind::TableFeaturesStatsRequest && more;
        if kind.is_multipart_request() && !parts && r.peek().get(2..4) != Some(&[0, 0]) {
            let what = "a request in one message";
            return Err(DecodeError { error: OfError::BadRequestMultipartOverflow, at: 10, what });
        }
        kind.check_length(&body)?;
        let more = more && kind.is_multipart();
        let (message, broken) = {
            let keep = keep && kind.is_multipart();
            check_bundled(kind, header, &body)?;
            Message::decode_body(header.version, kind, more, &mut body, keep)?
        };
        match body.is_empty() {
            true => Ok((header, message, broken)),
            false => Err(body.error(OfError::BadRequestBadLength, "the end of the message")),
        }
    }

    fn decode_body(
        version: Version,
        kind: Kind,
        more: bool,
        r: &mut Reader<'_>,
        keep: bool,
    ) -> Result<(Message, Option<DecodeError>), DecodeError> {
        let whole = |m| Ok((m, None));
        match kind.of() {
            MessageKind::Hello => whole(Message::Hello(Hello::decode(r)?)),
            MessageKind::Error => whole(Message::Error(ErrorMessage::read(r, version)?)),
            MessageKind::EchoRequest => whole(Message::EchoRequest(r.remaining().to_vec())),
            MessageKind::EchoReply => whole(Message::EchoReply(r.remaining().to_vec())),
            MessageKind::PacketIn => whole(PacketInView::read(r, version, kind)?.to_owned().into()),
            MessageKind::Resume => whole(Message::Resume(Box::new(PacketInView::read(r, version, kind)?.to_owned()))),
            MessageKind::PacketOut => whole(Message::PacketOut(PacketOut::read(r, version, kind)?)),
            MessageKind::FlowMod => whole(Message::FlowMod(FlowMod::read(r, version, kind)?)),
            MessageKind::FlowRemoved => whole(FlowRemoved::read(r, version, kind)?.into()),
            MessageKind::FlowStatsRequest => whole(FlowStatsRequest::read(r, kind)?.into()),
            MessageKind::AggregateStatsRequest => {
                whole(Message::AggregateStatsRequest(Box::new(FlowStatsRequest::read(r, kind)?)))
            }
            MessageKind::AggregateStatsReply => whole(Message::AggregateStatsReply(AggregateStats::read(r, kind)?)),
            MessageKind::FlowStatsReply => {
                let mut reply = FlowStatsReply { more, flows: Vec::new() };
                let mut flows = FlowStatsReader::of(r.sub(r.len())?, version, kind);
                let found = flows.try_for_each(|flow| {
                    reply.flows.push(flow?.stats()?);
                    Ok(())
                });
                match found {
                    Err(e) if keep => Ok((Message::FlowStatsReply(reply), Some(e))),
                    Err(e) => Err(e),
                    Ok(()) => whole(Message::FlowStatsReply(reply)),
                }
            }
            of => {
                let what = "a message that is known in this version";
                let mut m = empty(of, more).ok_or_else(|| r.error(OfError::BadRequestBadType, what))?;
                let mut io = Io::reading(version, r.clone());
                if keep {
                    io = io.keeping();
                }
                match pass(&mut m, &mut io, kind) {
                    Ok(()) => {}
                    Err(Fault::Decode(e)) => return Err(e),
                    Err(Fault::Encode(_)) => return Err(r.error(OfError::BadRequestBadLength, "what can be said")),
                }
                let (left, broken) = (io.left(), io.take_broken());
                r.skip(r.len().saturating_sub(left))?;
                Ok((m, broken))
            }
        }
    }

    /// What the message says, of those that have a place in the table of kinds.
    pub fn says(&self) -> Option<MessageKind> {
        Some(match self {
            Message::Hello(_) => MessageKind::Hello,
            Message::Error(_) => MessageKind::Error,
            Message::EchoRequest(_) => MessageKind::EchoRequest,
            Message::EchoReply(_) => MessageKind::EchoReply,
            Message::Experimenter(_) => return None,
            Message::PacketIn(_) => MessageKind::PacketIn,
            Message::PacketOut(_) => MessageKind::PacketOut,
            Message::Resume(_) => MessageKind::Resume,
            Message::FlowMod(_) => MessageKind::FlowMod,
            Message::FlowRemoved(_) => MessageKind::FlowRemoved,
            Message::FlowStatsRequest(_) => MessageKind::FlowStatsRequest,
            Message::FlowStatsReply(_) => MessageKind::FlowStatsReply,
            Message::AggregateStatsRequest(_) => MessageKind::AggregateStatsRequest,
            Message::AggregateStatsReply(_) => MessageKind::AggregateStatsReply,
            Message::FeaturesRequest => MessageKind::FeaturesRequest,
            Message::FeaturesReply(_) => MessageKind::FeaturesReply,
            Message::BarrierRequest => MessageKind::BarrierRequest,
            Message::BarrierReply => MessageKind::BarrierReply,
            Message::GetConfigRequest => MessageKind::GetConfigRequest,
            Message::GetConfigReply(_) => MessageKind::GetConfigReply,
            Message::SetConfig(_) => MessageKind::SetConfig,
            Message::PortStatus(_) => MessageKind::PortStatus,
            Message::PortMod(_) => MessageKind::PortMod,
            Message::PortDescRequest(_) => MessageKind::PortDescStatsRequest,
            Message::PortDescReply(_) => MessageKind::PortDescStatsReply,
            Message::PortStatsRequest(_) => MessageKind::PortStatsRequest,
            Message::PortStatsReply(_) => MessageKind::PortStatsReply,
            Message::DescRequest => MessageKind::DescStatsRequest,
            Message::DescReply(_) => MessageKind::DescStatsReply,
            Message::TableStatsRequest => MessageKind::TableStatsRequest,
            Message::TableStatsReply(_) => MessageKind::TableStatsReply,
            Message::TableMod(_) => MessageKind::TableMod,
            Message::TableDescRequest => MessageKind::TableDescRequest,
            Message::TableDescReply(_) => MessageKind::TableDescReply,
            Message::GroupMod(_) => MessageKind::GroupMod,
            Message::GroupStatsRequest(_) => MessageKind::GroupStatsRequest,
            Message::GroupStatsReply(_) => MessageKind::GroupStatsReply,
            Message::GroupDescRequest(_) => MessageKind::GroupDescStatsRequest,
            Message::GroupDescReply(_) => MessageKind::GroupDescStatsReply,
            Message::GroupFeaturesRequest => MessageKind::GroupFeaturesStatsRequest,
            Message::GroupFeaturesReply(_) => MessageKind::GroupFeaturesStatsReply,
            Message::MeterMod(_) => MessageKind::MeterMod,
            Message::MeterStatsRequest(_) => MessageKind::MeterStatsRequest,
            Message::MeterStatsReply(_) => MessageKind::MeterStatsReply,
            Message::MeterConfigRequest(_) => MessageKind::MeterConfigStatsRequest,
            Message::MeterConfigReply(_) => MessageKind::MeterConfigStatsReply,
            Message::MeterFeaturesRequest => MessageKind::MeterFeaturesStatsRequest,
            Message::MeterFeaturesReply(_) => MessageKind::MeterFeaturesStatsReply,
            Message::QueueConfigRequest(_) => MessageKind::QueueGetConfigRequest,
            Message::QueueConfigReply(_) => MessageKind::QueueGetConfigReply,
            Message::QueueStatsRequest(_) => MessageKind::QueueStatsRequest,
            Message::QueueStatsReply(_) => MessageKind::QueueStatsReply,
            Message::RoleRequest(_) => MessageKind::RoleRequest,
            Message::RoleReply(_) => MessageKind::RoleReply,
            Message::RoleStatus(_) => MessageKind::RoleStatus,
            Message::GetAsyncRequest => MessageKind::GetAsyncRequest,
            Message::GetAsyncReply(_) => MessageKind::GetAsyncReply,
            Message::SetAsync(_) => MessageKind::SetAsyncConfig,
            Message::RequestForward(_) => MessageKind::RequestForward,
            Message::BundleControl(_) => MessageKind::BundleControl,
            Message::BundleAdd(_) => MessageKind::BundleAddMessage,
            Message::SetFlowFormat(_) => MessageKind::SetFlowFormat,
            Message::FlowModTableId(_) => MessageKind::FlowModTableId,
            Message::SetPacketInFormat(_) => MessageKind::SetPacketInFormat,
            Message::FlowAge => MessageKind::FlowAge,
            Message::SetControllerId(_) => MessageKind::SetControllerId,
            Message::FlowMonitorCancel(_) => MessageKind::FlowMonitorCancel,
            Message::FlowMonitorPaused => MessageKind::FlowMonitorPaused,
            Message::FlowMonitorResumed => MessageKind::FlowMonitorResumed,
            Message::CtFlushZone(_) => MessageKind::CtFlushZone,
            Message::CtFlush(_) => MessageKind::CtFlush,
            Message::TableFeaturesRequest(_) => MessageKind::TableFeaturesStatsRequest,
            Message::TableFeaturesReply(_) => MessageKind::TableFeaturesStatsReply,
            Message::TableStatus(_) => MessageKind::TableStatus,
            Message::FlowMonitorRequest(_) => MessageKind::FlowMonitorStatsRequest,
            Message::FlowMonitorReply(_) => MessageKind::FlowMonitorStatsReply,
            Message::TlvTableMod(_) => MessageKind::TlvTableMod,
            Message::TlvTableRequest => MessageKind::TlvTableRequest,
            Message::TlvTableReply(_) => MessageKind::TlvTableReply,
            Message::IpfixBridgeStatsRequest => MessageKind::IpfixBridgeStatsRequest,
            Message::IpfixBridgeStatsReply(_) => MessageKind::IpfixBridgeStatsReply,
            Message::IpfixFlowStatsRequest => MessageKind::IpfixFlowStatsRequest,
            Message::IpfixFlowStatsReply(_) => MessageKind::IpfixFlowStatsReply,
        })
    }

    /// The kind that the message goes out as in `version`: the standard one where that can say it.
    fn kind_in(&self, of: MessageKind, version: Version) -> Option<Kind> {
        let nxm = |needs: bool, kind: Kind| Some(kind).filter(|_| needs && version == Version::V1_0);
        let special = match self {
            Message::FlowMonitorCancel(_) if version >= Version::V1_4 => Some(Kind::StatsFlowMonitorRequest14),
            Message::FlowMonitorPaused | Message::FlowMonitorResumed if version >= Version::V1_4 => {
                Some(Kind::StatsFlowMonitorReply14)
            }
            Message::FlowMod(fm) => nxm(version == Version::V1_0 && fm.needs_nxm(), Kind::NxFlowMod),
            Message::FlowStatsRequest(r) => nxm(version == Version::V1_0 && r.needs_nxm(), Kind::NxStatsFlowRequest),
            Message::AggregateStatsRequest(r) => {
                nxm(version == Version::V1_0 && r.needs_nxm(), Kind::NxStatsAggregateRequest)
            }
            Message::FlowStatsReply(r) => nxm(version == Version::V1_0 && r.needs_nxm(), Kind::NxStatsFlowReply),
            Message::PacketIn(p) if !p.userdata.is_empty() || p.continuation.is_some() => Some(Kind::NxPacketIn2),
            _ => None,
        };
        special.or_else(|| Kind::saying(of, version))
    }

    /// The message as bytes.
    ///
    /// # Errors
    /// If the version cannot say it, or it is too long.
    pub fn encode(&self, version: Version, xid: u32) -> Result<Vec<u8>, EncodeError> {
        let mut w = Writer::for_message();
        self.write(&mut w, version, xid, None)?;
        Ok(w.into_bytes())
    }

    /// Appends the message to `out`.
    ///
    /// # Errors
    /// Those of [`encode`](Message::encode); `out` is as before then.
    pub fn encode_into(&self, version: Version, xid: u32, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        let mut w = Writer::appending(core::mem::take(out));
        let done = self.write(&mut w, version, xid, None);
        *out = w.into_bytes();
        if done.is_err() {
            out.truncate(start);
        }
        done
    }

    /// The message in one of several kinds that say the same, such as [`Kind::NxPacketIn2`].
    ///
    /// # Errors
    /// Those of [`encode`](Message::encode), or that the kind says something else.
    pub fn encode_as(&self, kind: Kind, version: Version, xid: u32) -> Result<Vec<u8>, EncodeError> {
        if self.says() != Some(kind.of()) {
            return Err(EncodeError::Inconsistent { what: "the kind of another message" });
        }
        let mut w = Writer::new();
        self.write(&mut w, version, xid, Some(kind))?;
        Ok(w.into_bytes())
    }

    fn write(&self, w: &mut Writer, version: Version, xid: u32, kind: Option<Kind>) -> Result<(), EncodeError> {
        let shape = Shape { what: "a message", length_at: 2, align: 1, count_padding: false };
        let start = w.len();
        let Some(of) = self.says() else {
            if let Message::Experimenter(e) = self {
                w.u8(version.0);
                w.u8(MessageType::EXPERIMENTER.0);
                w.u16(0);
                w.u32(xid);
                w.u32(e.experimenter);
                w.u32(e.kind);
                w.bytes(&e.data);
            }
            return w.finish(start, shape);
        };
        let kind = kind.or_else(|| self.kind_in(of, version));
        let kind = kind.ok_or(EncodeError::NotInVersion { version: version.0, what: "this message" })?;
        kind.write(w, version, xid, self.has_more())?;
        self.write_body(w, version, kind)?;
        w.finish(start, shape)
    }

    /// Whether the page of a reply is not the last.
    fn has_more(&self) -> bool {
        match self {
            Message::FlowStatsReply(r) => r.more,
            Message::TableFeaturesRequest(p) | Message::TableFeaturesReply(p) => p.more,
            Message::FlowMonitorRequest(p) => p.more,
            Message::FlowMonitorReply(p) => p.more,
            Message::IpfixFlowStatsReply(p) => p.more,
            Message::PortDescReply(p) => p.more,
            Message::PortStatsReply(p) => p.more,
            Message::TableStatsReply(p) => p.more,
            Message::TableDescReply(p) => p.more,
            Message::GroupStatsReply(p) => p.more,
            Message::GroupDescReply(p) => p.more,
            Message::MeterStatsReply(p) => p.more,
            Message::MeterConfigReply(p) => p.more,
            Message::QueueStatsReply(p) => p.more,
            Message::QueueConfigReply(p) => p.more,
            _ => false,
        }
    }

    fn write_body(&self, w: &mut Writer, version: Version, kind: Kind) -> Result<(), EncodeError> {
        match self {
            Message::Hello(hello) => hello.encode(w),
            Message::Error(e) => e.write(w, version),
            Message::EchoRequest(data) | Message::EchoReply(data) => {
                w.bytes(data);
                Ok(())
            }
            Message::PacketIn(packet) | Message::Resume(packet) => packet.write(w, version, kind),
            Message::PacketOut(packet) => packet.write(w, version, kind),
            Message::FlowMod(flow) => flow.write(w, version, kind),
            Message::FlowRemoved(flow) => flow.write(w, version, kind),
            Message::FlowStatsRequest(r) | Message::AggregateStatsRequest(r) => r.write(w, version, kind),
            Message::AggregateStatsReply(stats) => stats.write(w, kind),
            Message::FlowStatsReply(reply) => reply.flows.iter().try_for_each(|flow| flow.write(w, version, kind)),
            // A pass fills what it passes over, so that it needs its own.
            other => match pass(&mut other.clone(), &mut Io::writing(version, w), kind) {
                Ok(()) => Ok(()),
                Err(Fault::Encode(e)) => Err(e),
                Err(Fault::Decode(e)) => Err(EncodeError::Inconsistent { what: e.what }),
            },
        }
    }
}

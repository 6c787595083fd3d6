//! Messages: what each says, apart from the header.
//!
//! - here: the [`Message`]s; `kinds`: which of the wire's kinds says each;
//! - `read` and `write`: from bytes and to bytes, each kind by functions of its own or by a `pass`;
//! - `pass`: what is laid out in one pass, for both directions.

mod kinds;
mod pass;
mod read;
mod write;

use ovs_packet::field::{EXPERIMENTER_NX, EXPERIMENTER_ONF};

use super::connection::CtFlush;
use super::error::OfError;
use super::flow::{AggregateStats, FlowRemoved, FlowStatsReply, FlowStatsRequest};
use super::group::{GroupDesc, GroupFeatures, GroupMod, GroupStats};
use super::hello::Hello;
use super::ipfix::IpfixStats;
use super::meter::{MeterConfig, MeterFeatures, MeterMod, MeterStats};
use super::monitor::{FlowMonitorRequest, FlowUpdate};
use super::packet::{PacketIn, PacketOut};
use super::port::{Port, PortMod, PortRequest, PortStats, PortStatus};
use super::property::PortModProperty;
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
    PortStatus(Box<PortStatus>),
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
    GetAsyncReply(Box<AsyncConfig>),
    /// Tell me this.
    SetAsync(Box<AsyncConfig>),
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
    IpfixBridgeStatsReply(Box<IpfixStats>),
    /// What have flows exported by IPFIX?
    IpfixFlowStatsRequest,
    /// This, by sets of collectors.
    IpfixFlowStatsReply(Page<IpfixStats>),
}

// Messages are moved often, just after they were written: what is large and rare in them stands in a box.
const _: () = assert!(size_of::<Message>() <= 72);

/// A message that an extension defines, with the bytes that it consists of.
///
/// ```
/// use ovs_ofproto::codec::{Experimenter, Message, Part, Version};
///
/// let of_a_reply = Part { reply: true, more: false };
/// let sent = Experimenter { experimenter: 0xabcdef, kind: 7, data: vec![1, 2, 3, 4], part: Some(of_a_reply) };
/// let bytes = Message::Experimenter(sent.clone()).encode(Version::V1_3, 1)?;
/// assert_eq!(Message::decode(&bytes)?.1, Message::Experimenter(sent));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// Of a multipart request or reply: which.
    pub part: Option<Part>,
}

/// Which of the messages of a multipart exchange one is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
pub struct Part {
    /// A reply, not the request.
    pub reply: bool,
    /// Another follows with the same xid.
    pub more: bool,
}

impl Message {
    /// The error with which a switch must refuse a request for what it does not do: an experimenter's, or one that has
    /// [properties](super::PortMod::properties) which are carried here and not acted on. Such a property is logged.
    pub fn not_understood(&self) -> Option<OfError> {
        match self {
            Message::PortMod(m) => m.properties.first().map(PortModProperty::refused),
            Message::TableMod(m) => m.desc.properties.first().map(|_| OfError::BadRequestBadType),
            Message::Experimenter(e) => Some(match e.experimenter {
                EXPERIMENTER_NX | EXPERIMENTER_ONF => OfError::BadRequestBadExperimenterType,
                _ => OfError::BadRequestBadExperimenter,
            }),
            _ => None,
        }
    }
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
    PortStatus => PortStatus Box::new;
}

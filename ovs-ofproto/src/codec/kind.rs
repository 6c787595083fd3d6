//! The table of message kinds: every message of OpenFlow 1.0 to 1.5 and of the Nicira and ONF extensions, once.
//!
//! A row names a raw message, one layout with its place in the numbering; its abstract type; the versions that have it;
//! its number; how long its body is at least, and what multiples it may be longer by (0: not at all). All else is
//! derived: the names, which kind bytes are, what a header of a kind looks like, which kind says an abstract type in a
//! version.

use std::sync::LazyLock;

use super::cursor::{Reader, Writer};
use super::error::{DecodeError, EncodeError, OfError};
use super::header::{Header, MessageType, Version};
use ovs_packet::field::{EXPERIMENTER_NX, EXPERIMENTER_ONF};

/// Where in the header the number of a kind stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Space {
    /// The type of the message.
    Message,
    /// The type of a multipart request or reply.
    MultipartRequest,
    MultipartReply,
    /// The subtype of an experimenter's message, the experimenter being Nicira.
    Nicira,
    /// The subtype of an experimenter's multipart message.
    NiciraMultipartRequest,
    NiciraMultipartReply,
    /// The same of the Open Networking Foundation.
    Onf,
    OnfMultipartRequest,
    OnfMultipartReply,
}

struct Row {
    kind: Kind,
    of: MessageKind,
    space: Space,
    since: u8,
    until: u8,
    number: u32,
    min: usize,
    multiple: usize,
    name: &'static str,
}

macro_rules! kinds {
    ($($kind:ident = $of:ident: $space:ident, $since:literal..=$until:literal, $number:literal, $min:literal, $multiple:literal, $name:literal;)+) => {
        /// A message of one layout: in different versions, or of different extensions, several say the same.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[non_exhaustive]
        pub enum Kind {
            $(#[doc = concat!("`", $name, "`, version ", stringify!($since), " to ", stringify!($until), " of the wire.")] $kind,)+
        }

        const ROWS: &[Row] = &[$(Row {
            kind: Kind::$kind, of: MessageKind::$of, space: Space::$space, since: $since, until: $until,
            number: $number, min: $min, multiple: $multiple, name: $name,
        },)+];
    };
}

kinds! {
    Hello = Hello: Message, 0..=255, 0, 0, 1, "OFPT_HELLO";
    Error = Error: Message, 0..=255, 1, 4, 1, "OFPT_ERROR";
    EchoRequest = EchoRequest: Message, 0..=255, 2, 0, 1, "OFPT_ECHO_REQUEST";
    EchoReply = EchoReply: Message, 0..=255, 3, 0, 1, "OFPT_ECHO_REPLY";
    FeaturesRequest = FeaturesRequest: Message, 1..=6, 5, 0, 0, "OFPT_FEATURES_REQUEST";
    FeaturesReply10 = FeaturesReply: Message, 1..=1, 6, 24, 48, "OFPT_FEATURES_REPLY";
    FeaturesReply11 = FeaturesReply: Message, 2..=3, 6, 24, 64, "OFPT_FEATURES_REPLY";
    FeaturesReply13 = FeaturesReply: Message, 4..=6, 6, 24, 0, "OFPT_FEATURES_REPLY";
    GetConfigRequest = GetConfigRequest: Message, 1..=6, 7, 0, 0, "OFPT_GET_CONFIG_REQUEST";
    GetConfigReply = GetConfigReply: Message, 1..=6, 8, 4, 0, "OFPT_GET_CONFIG_REPLY";
    SetConfig = SetConfig: Message, 1..=6, 9, 4, 0, "OFPT_SET_CONFIG";
    PacketIn10 = PacketIn: Message, 1..=1, 10, 10, 1, "OFPT_PACKET_IN";
    PacketIn11 = PacketIn: Message, 2..=2, 10, 16, 1, "OFPT_PACKET_IN";
    PacketIn12 = PacketIn: Message, 3..=3, 10, 8, 1, "OFPT_PACKET_IN";
    PacketIn13 = PacketIn: Message, 4..=6, 10, 16, 1, "OFPT_PACKET_IN";
    NxPacketIn = PacketIn: Nicira, 1..=6, 17, 24, 1, "NXT_PACKET_IN";
    NxPacketIn2 = PacketIn: Nicira, 1..=6, 30, 0, 8, "NXT_PACKET_IN2";
    FlowRemoved10 = FlowRemoved: Message, 1..=1, 11, 80, 0, "OFPT_FLOW_REMOVED";
    FlowRemoved11 = FlowRemoved: Message, 2..=5, 11, 40, 8, "OFPT_FLOW_REMOVED";
    FlowRemoved15 = FlowRemoved: Message, 6..=6, 11, 16, 8, "OFPT_FLOW_REMOVED";
    NxFlowRemoved = FlowRemoved: Nicira, 1..=6, 14, 40, 8, "NXT_FLOW_REMOVED";
    PortStatus10 = PortStatus: Message, 1..=1, 12, 56, 0, "OFPT_PORT_STATUS";
    PortStatus11 = PortStatus: Message, 2..=4, 12, 72, 0, "OFPT_PORT_STATUS";
    PortStatus14 = PortStatus: Message, 5..=6, 12, 48, 8, "OFPT_PORT_STATUS";
    PacketOut10 = PacketOut: Message, 1..=1, 13, 8, 1, "OFPT_PACKET_OUT";
    PacketOut11 = PacketOut: Message, 2..=5, 13, 16, 1, "OFPT_PACKET_OUT";
    PacketOut15 = PacketOut: Message, 6..=6, 13, 8, 1, "OFPT_PACKET_OUT";
    FlowMod10 = FlowMod: Message, 1..=1, 14, 64, 8, "OFPT_FLOW_MOD";
    FlowMod11 = FlowMod: Message, 2..=6, 14, 40, 8, "OFPT_FLOW_MOD";
    NxFlowMod = FlowMod: Nicira, 1..=6, 13, 32, 8, "NXT_FLOW_MOD";
    NxGroupMod = GroupMod: Nicira, 1..=1, 31, 16, 8, "NXT_GROUP_MOD";
    GroupMod11 = GroupMod: Message, 2..=5, 15, 8, 8, "OFPT_GROUP_MOD";
    GroupMod15 = GroupMod: Message, 6..=6, 15, 16, 8, "OFPT_GROUP_MOD";
    PortMod10 = PortMod: Message, 1..=1, 15, 24, 0, "OFPT_PORT_MOD";
    PortMod11 = PortMod: Message, 2..=4, 16, 32, 0, "OFPT_PORT_MOD";
    PortMod14 = PortMod: Message, 5..=6, 16, 24, 8, "OFPT_PORT_MOD";
    TableMod11 = TableMod: Message, 2..=4, 17, 8, 0, "OFPT_TABLE_MOD";
    TableMod14 = TableMod: Message, 5..=6, 17, 8, 8, "OFPT_TABLE_MOD";
    BarrierRequest10 = BarrierRequest: Message, 1..=1, 18, 0, 0, "OFPT_BARRIER_REQUEST";
    BarrierRequest11 = BarrierRequest: Message, 2..=6, 20, 0, 0, "OFPT_BARRIER_REQUEST";
    BarrierReply10 = BarrierReply: Message, 1..=1, 19, 0, 0, "OFPT_BARRIER_REPLY";
    BarrierReply11 = BarrierReply: Message, 2..=6, 21, 0, 0, "OFPT_BARRIER_REPLY";
    QueueGetConfigRequest10 = QueueGetConfigRequest: Message, 1..=1, 20, 4, 0, "OFPT_QUEUE_GET_CONFIG_REQUEST";
    QueueGetConfigRequest11 = QueueGetConfigRequest: Message, 2..=4, 22, 8, 0, "OFPT_QUEUE_GET_CONFIG_REQUEST";
    QueueGetConfigReply10 = QueueGetConfigReply: Message, 1..=1, 21, 8, 8, "OFPT_QUEUE_GET_CONFIG_REPLY";
    QueueGetConfigReply11 = QueueGetConfigReply: Message, 2..=4, 23, 8, 8, "OFPT_QUEUE_GET_CONFIG_REPLY";
    RoleRequest12 = RoleRequest: Message, 3..=6, 24, 16, 0, "OFPT_ROLE_REQUEST";
    NxRoleRequest = RoleRequest: Nicira, 1..=6, 10, 4, 0, "NXT_ROLE_REQUEST";
    RoleReply12 = RoleReply: Message, 3..=6, 25, 16, 0, "OFPT_ROLE_REPLY";
    NxRoleReply = RoleReply: Nicira, 1..=6, 11, 4, 0, "NXT_ROLE_REPLY";
    GetAsyncRequest13 = GetAsyncRequest: Message, 4..=4, 26, 0, 0, "OFPT_GET_ASYNC_REQUEST";
    GetAsyncRequest14 = GetAsyncRequest: Message, 5..=6, 26, 0, 0, "OFPT_GET_ASYNC_REQUEST";
    GetAsyncReply13 = GetAsyncReply: Message, 4..=4, 27, 24, 0, "OFPT_GET_ASYNC_REPLY";
    GetAsyncReply14 = GetAsyncReply: Message, 5..=6, 27, 0, 8, "OFPT_GET_ASYNC_REPLY";
    SetAsync13 = SetAsyncConfig: Message, 4..=4, 28, 24, 0, "OFPT_SET_ASYNC";
    NxSetAsyncConfig = SetAsyncConfig: Nicira, 1..=6, 19, 24, 0, "NXT_SET_ASYNC_CONFIG";
    NxSetAsyncConfig2 = SetAsyncConfig: Nicira, 1..=4, 27, 0, 8, "NXT_SET_ASYNC_CONFIG2";
    SetAsync14 = SetAsyncConfig: Message, 5..=6, 28, 0, 8, "OFPT_SET_ASYNC";
    MeterMod13 = MeterMod: Message, 4..=6, 29, 8, 8, "OFPT_METER_MOD";
    OnfRoleStatus13 = RoleStatus: Onf, 4..=4, 1911, 16, 8, "ONFT_ROLE_STATUS";
    RoleStatus14 = RoleStatus: Message, 5..=6, 30, 16, 8, "OFPT_ROLE_STATUS";
    TableStatus14 = TableStatus: Message, 5..=6, 31, 8, 8, "OFPT_TABLE_STATUS";
    NxRequestforward = RequestForward: Nicira, 1..=3, 132, 8, 8, "NXT_REQUESTFORWARD";
    OnfRequestforward13 = RequestForward: Onf, 4..=4, 2350, 8, 8, "ONFT_REQUESTFORWARD";
    Requestforward14 = RequestForward: Message, 5..=6, 32, 8, 8, "OFPT_REQUESTFORWARD";
    BundleControl14 = BundleControl: Message, 5..=6, 33, 8, 8, "OFPT_BUNDLE_CONTROL";
    OnfBundleControl13 = BundleControl: Onf, 4..=4, 2300, 8, 8, "ONFT_BUNDLE_CONTROL";
    BundleAddMessage14 = BundleAddMessage: Message, 5..=6, 34, 8, 1, "OFPT_BUNDLE_ADD_MESSAGE";
    OnfBundleAddMessage13 = BundleAddMessage: Onf, 4..=4, 2301, 8, 1, "ONFT_BUNDLE_ADD_MESSAGE";
    StatsDescRequest = DescStatsRequest: MultipartRequest, 1..=6, 0, 0, 0, "OFPST_DESC request";
    StatsDescReply = DescStatsReply: MultipartReply, 1..=6, 0, 1056, 0, "OFPST_DESC reply";
    StatsFlowRequest10 = FlowStatsRequest: MultipartRequest, 1..=1, 1, 44, 0, "OFPST_FLOW request";
    StatsFlowRequest11 = FlowStatsRequest: MultipartRequest, 2..=6, 1, 32, 8, "OFPST_FLOW request";
    NxStatsFlowRequest = FlowStatsRequest: NiciraMultipartRequest, 1..=1, 0, 8, 8, "NXST_FLOW request";
    StatsFlowReply10 = FlowStatsReply: MultipartReply, 1..=1, 1, 0, 1, "OFPST_FLOW reply";
    StatsFlowReply11 = FlowStatsReply: MultipartReply, 2..=3, 1, 0, 1, "OFPST_FLOW reply";
    StatsFlowReply13 = FlowStatsReply: MultipartReply, 4..=5, 1, 0, 1, "OFPST_FLOW reply";
    StatsFlowReply15 = FlowStatsReply: MultipartReply, 6..=6, 1, 0, 1, "OFPST_FLOW reply";
    NxStatsFlowReply = FlowStatsReply: NiciraMultipartReply, 1..=1, 0, 0, 1, "NXST_FLOW reply";
    StatsAggregateRequest10 = AggregateStatsRequest: MultipartRequest, 1..=1, 2, 44, 0, "OFPST_AGGREGATE request";
    StatsAggregateRequest11 = AggregateStatsRequest: MultipartRequest, 2..=5, 2, 32, 8, "OFPST_AGGREGATE request";
    StatsAggregateRequest15 = AggregateStatsRequest: MultipartRequest, 6..=6, 2, 32, 8, "OFPST_AGGREGATE request";
    NxStatsAggregateRequest = AggregateStatsRequest: NiciraMultipartRequest, 1..=1, 1, 8, 8, "NXST_AGGREGATE request";
    StatsAggregateReply = AggregateStatsReply: MultipartReply, 1..=5, 2, 24, 0, "OFPST_AGGREGATE reply";
    StatsAggregateReply15 = AggregateStatsReply: MultipartReply, 6..=6, 2, 0, 1, "OFPST_AGGREGATE reply";
    NxStatsAggregateReply = AggregateStatsReply: NiciraMultipartReply, 1..=1, 1, 24, 0, "NXST_AGGREGATE reply";
    StatsTableRequest = TableStatsRequest: MultipartRequest, 1..=6, 3, 0, 0, "OFPST_TABLE request";
    StatsTableReply10 = TableStatsReply: MultipartReply, 1..=1, 3, 0, 64, "OFPST_TABLE reply";
    StatsTableReply11 = TableStatsReply: MultipartReply, 2..=2, 3, 0, 88, "OFPST_TABLE reply";
    StatsTableReply12 = TableStatsReply: MultipartReply, 3..=3, 3, 0, 128, "OFPST_TABLE reply";
    StatsTableReply13 = TableStatsReply: MultipartReply, 4..=6, 3, 0, 24, "OFPST_TABLE reply";
    StatsPortRequest10 = PortStatsRequest: MultipartRequest, 1..=1, 4, 8, 0, "OFPST_PORT request";
    StatsPortRequest11 = PortStatsRequest: MultipartRequest, 2..=6, 4, 8, 0, "OFPST_PORT request";
    StatsPortReply10 = PortStatsReply: MultipartReply, 1..=1, 4, 0, 104, "OFPST_PORT reply";
    StatsPortReply11 = PortStatsReply: MultipartReply, 2..=3, 4, 0, 104, "OFPST_PORT reply";
    StatsPortReply13 = PortStatsReply: MultipartReply, 4..=4, 4, 0, 112, "OFPST_PORT reply";
    StatsPortReply14 = PortStatsReply: MultipartReply, 5..=6, 4, 0, 8, "OFPST_PORT reply";
    StatsQueueRequest10 = QueueStatsRequest: MultipartRequest, 1..=1, 5, 8, 0, "OFPST_QUEUE request";
    StatsQueueRequest11 = QueueStatsRequest: MultipartRequest, 2..=6, 5, 8, 0, "OFPST_QUEUE request";
    StatsQueueReply10 = QueueStatsReply: MultipartReply, 1..=1, 5, 0, 32, "OFPST_QUEUE reply";
    StatsQueueReply11 = QueueStatsReply: MultipartReply, 2..=3, 5, 0, 32, "OFPST_QUEUE reply";
    StatsQueueReply13 = QueueStatsReply: MultipartReply, 4..=4, 5, 0, 40, "OFPST_QUEUE reply";
    StatsQueueReply14 = QueueStatsReply: MultipartReply, 5..=6, 5, 0, 8, "OFPST_QUEUE reply";
    NxStatsGroupRequest = GroupStatsRequest: NiciraMultipartRequest, 1..=1, 7, 8, 0, "NXST_GROUP request";
    StatsGroupRequest11 = GroupStatsRequest: MultipartRequest, 2..=6, 6, 8, 0, "OFPST_GROUP request";
    NxStatsGroupReply = GroupStatsReply: NiciraMultipartReply, 1..=1, 7, 0, 8, "NXST_GROUP reply";
    StatsGroupReply11 = GroupStatsReply: MultipartReply, 2..=3, 6, 0, 8, "OFPST_GROUP reply";
    StatsGroupReply13 = GroupStatsReply: MultipartReply, 4..=6, 6, 0, 8, "OFPST_GROUP reply";
    NxStatsGroupDescRequest = GroupDescStatsRequest: NiciraMultipartRequest, 1..=1, 8, 8, 0, "NXST_GROUP_DESC request";
    StatsGroupDescRequest11 = GroupDescStatsRequest: MultipartRequest, 2..=5, 7, 0, 0, "OFPST_GROUP_DESC request";
    StatsGroupDescRequest15 = GroupDescStatsRequest: MultipartRequest, 6..=6, 7, 8, 0, "OFPST_GROUP_DESC request";
    NxStatsGroupDescReply = GroupDescStatsReply: NiciraMultipartReply, 1..=1, 8, 0, 8, "NXST_GROUP_DESC reply";
    StatsGroupDescReply11 = GroupDescStatsReply: MultipartReply, 2..=6, 7, 0, 8, "OFPST_GROUP_DESC reply";
    NxStatsGroupFeaturesRequest = GroupFeaturesStatsRequest: NiciraMultipartRequest, 1..=2, 9, 0, 0, "NXST_GROUP_FEATURES request";
    StatsGroupFeaturesRequest12 = GroupFeaturesStatsRequest: MultipartRequest, 3..=6, 8, 0, 0, "OFPST_GROUP_FEATURES request";
    NxStatsGroupFeaturesReply = GroupFeaturesStatsReply: NiciraMultipartReply, 1..=2, 9, 40, 0, "NXST_GROUP_FEATURES reply";
    StatsGroupFeaturesReply12 = GroupFeaturesStatsReply: MultipartReply, 3..=6, 8, 40, 0, "OFPST_GROUP_FEATURES reply";
    StatsMeterRequest13 = MeterStatsRequest: MultipartRequest, 4..=6, 9, 8, 0, "OFPST_METER request";
    StatsMeterReply13 = MeterStatsReply: MultipartReply, 4..=6, 9, 0, 8, "OFPST_METER reply";
    StatsMeterConfigRequest13 = MeterConfigStatsRequest: MultipartRequest, 4..=6, 10, 8, 0, "OFPST_METER_CONFIG request";
    StatsMeterConfigReply13 = MeterConfigStatsReply: MultipartReply, 4..=6, 10, 0, 8, "OFPST_METER_CONFIG reply";
    StatsMeterFeaturesRequest13 = MeterFeaturesStatsRequest: MultipartRequest, 4..=6, 11, 0, 0, "OFPST_METER_FEATURES request";
    StatsMeterFeaturesReply13 = MeterFeaturesStatsReply: MultipartReply, 4..=6, 11, 16, 0, "OFPST_METER_FEATURES reply";
    StatsTableFeaturesRequest13 = TableFeaturesStatsRequest: MultipartRequest, 4..=6, 12, 0, 8, "OFPST_TABLE_FEATURES request";
    StatsTableFeaturesReply13 = TableFeaturesStatsReply: MultipartReply, 4..=6, 12, 64, 8, "OFPST_TABLE_FEATURES reply";
    StatsTableDescRequest14 = TableDescRequest: MultipartRequest, 5..=6, 14, 0, 0, "OFPST_TABLE_DESC request";
    StatsTableDescReply14 = TableDescReply: MultipartReply, 5..=6, 14, 8, 8, "OFPST_TABLE_DESC reply";
    StatsPortDescRequest10 = PortDescStatsRequest: MultipartRequest, 1..=5, 13, 0, 0, "OFPST_PORT_DESC request";
    StatsPortDescRequest15 = PortDescStatsRequest: MultipartRequest, 6..=6, 13, 8, 0, "OFPST_PORT_DESC request";
    StatsPortDescReply10 = PortDescStatsReply: MultipartReply, 1..=1, 13, 0, 48, "OFPST_PORT_DESC reply";
    StatsPortDescReply11 = PortDescStatsReply: MultipartReply, 2..=4, 13, 0, 64, "OFPST_PORT_DESC reply";
    StatsPortDescReply14 = PortDescStatsReply: MultipartReply, 5..=6, 13, 0, 8, "OFPST_PORT_DESC reply";
    StatsQueueDescRequest14 = QueueGetConfigRequest: MultipartRequest, 5..=6, 15, 8, 0, "OFPST_QUEUE_DESC request";
    StatsQueueDescReply14 = QueueGetConfigReply: MultipartReply, 5..=6, 15, 0, 8, "OFPST_QUEUE_DESC reply";
    StatsFlowMonitorRequest14 = FlowMonitorStatsRequest: MultipartRequest, 5..=6, 16, 0, 8, "OFPST_FLOW_MONITOR request";
    OnfStatsFlowMonitorRequest13 = FlowMonitorStatsRequest: OnfMultipartRequest, 4..=4, 1870, 0, 8, "ONFST_FLOW_MONITOR request";
    NxStatsFlowMonitorRequest = FlowMonitorStatsRequest: NiciraMultipartRequest, 1..=3, 2, 0, 8, "NXST_FLOW_MONITOR request";
    StatsFlowMonitorReply14 = FlowMonitorStatsReply: MultipartReply, 5..=6, 16, 0, 8, "OFPST_FLOW_MONITOR reply";
    OnfStatsFlowMonitorReply13 = FlowMonitorStatsReply: OnfMultipartReply, 4..=4, 1870, 0, 8, "ONFST_FLOW_MONITOR reply";
    NxStatsFlowMonitorReply = FlowMonitorStatsReply: NiciraMultipartReply, 1..=3, 2, 0, 8, "NXST_FLOW_MONITOR reply";
    OnfFlowMonitorCancel13 = FlowMonitorCancel: Onf, 4..=4, 1870, 4, 0, "ONFT_FLOW_MONITOR_CANCEL";
    NxFlowMonitorCancel = FlowMonitorCancel: Nicira, 1..=3, 21, 4, 0, "NXT_FLOW_MONITOR_CANCEL";
    OnfFlowMonitorPaused13 = FlowMonitorPaused: Onf, 4..=4, 1871, 0, 0, "ONFT_FLOW_MONITOR_PAUSED";
    NxFlowMonitorPaused = FlowMonitorPaused: Nicira, 1..=3, 22, 0, 0, "NXT_FLOW_MONITOR_PAUSED";
    OnfFlowMonitorResumed13 = FlowMonitorResumed: Onf, 4..=4, 1872, 0, 0, "ONFT_FLOW_MONITOR_RESUMED";
    NxFlowMonitorResumed = FlowMonitorResumed: Nicira, 1..=3, 23, 0, 0, "NXT_FLOW_MONITOR_RESUMED";
    NxSetFlowFormat = SetFlowFormat: Nicira, 1..=1, 12, 4, 0, "NXT_SET_FLOW_FORMAT";
    NxFlowModTableId = FlowModTableId: Nicira, 1..=6, 15, 8, 0, "NXT_FLOW_MOD_TABLE_ID";
    NxSetPacketInFormat = SetPacketInFormat: Nicira, 1..=6, 16, 4, 0, "NXT_SET_PACKET_IN_FORMAT";
    NxFlowAge = FlowAge: Nicira, 1..=6, 18, 0, 0, "NXT_FLOW_AGE";
    NxSetControllerId = SetControllerId: Nicira, 1..=6, 20, 8, 0, "NXT_SET_CONTROLLER_ID";
    NxTlvTableMod = TlvTableMod: Nicira, 1..=6, 24, 8, 8, "NXT_TLV_TABLE_MOD";
    NxTlvTableRequest = TlvTableRequest: Nicira, 1..=6, 25, 0, 0, "NXT_TLV_TABLE_REQUEST";
    NxTlvTableReply = TlvTableReply: Nicira, 1..=6, 26, 16, 8, "NXT_TLV_TABLE_REPLY";
    NxResume = Resume: Nicira, 1..=6, 28, 0, 8, "NXT_RESUME";
    NxCtFlushZone = CtFlushZone: Nicira, 1..=6, 29, 8, 0, "NXT_CT_FLUSH_ZONE";
    NxCtFlush = CtFlush: Nicira, 1..=6, 32, 8, 8, "NXT_CT_FLUSH";
    NxStatsIpfixBridgeRequest = IpfixBridgeStatsRequest: NiciraMultipartRequest, 1..=6, 3, 0, 0, "NXST_IPFIX_BRIDGE request";
    NxStatsIpfixBridgeReply = IpfixBridgeStatsReply: NiciraMultipartReply, 1..=6, 3, 88, 0, "NXST_IPFIX_BRIDGE reply";
    NxStatsIpfixFlowRequest = IpfixFlowStatsRequest: NiciraMultipartRequest, 1..=6, 4, 0, 0, "NXST_IPFIX_FLOW request";
    NxStatsIpfixFlowReply = IpfixFlowStatsReply: NiciraMultipartReply, 1..=6, 4, 0, 88, "NXST_IPFIX_FLOW reply";
}

/// What a message says, whatever version or extension it is said in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are the specifications'")]
pub enum MessageKind {
    Hello,
    Error,
    EchoRequest,
    EchoReply,
    FeaturesRequest,
    FeaturesReply,
    GetConfigRequest,
    GetConfigReply,
    SetConfig,
    PacketIn,
    FlowRemoved,
    PortStatus,
    PacketOut,
    FlowMod,
    GroupMod,
    PortMod,
    TableMod,
    BarrierRequest,
    BarrierReply,
    QueueGetConfigRequest,
    QueueGetConfigReply,
    RoleRequest,
    RoleReply,
    GetAsyncRequest,
    GetAsyncReply,
    SetAsyncConfig,
    MeterMod,
    RoleStatus,
    TableStatus,
    RequestForward,
    BundleControl,
    BundleAddMessage,
    DescStatsRequest,
    DescStatsReply,
    FlowStatsRequest,
    FlowStatsReply,
    AggregateStatsRequest,
    AggregateStatsReply,
    TableStatsRequest,
    TableStatsReply,
    PortStatsRequest,
    PortStatsReply,
    QueueStatsRequest,
    QueueStatsReply,
    GroupStatsRequest,
    GroupStatsReply,
    GroupDescStatsRequest,
    GroupDescStatsReply,
    GroupFeaturesStatsRequest,
    GroupFeaturesStatsReply,
    MeterStatsRequest,
    MeterStatsReply,
    MeterConfigStatsRequest,
    MeterConfigStatsReply,
    MeterFeaturesStatsRequest,
    MeterFeaturesStatsReply,
    TableFeaturesStatsRequest,
    TableFeaturesStatsReply,
    TableDescRequest,
    TableDescReply,
    PortDescStatsRequest,
    PortDescStatsReply,
    FlowMonitorStatsRequest,
    FlowMonitorStatsReply,
    FlowMonitorCancel,
    FlowMonitorPaused,
    FlowMonitorResumed,
    SetFlowFormat,
    FlowModTableId,
    SetPacketInFormat,
    FlowAge,
    SetControllerId,
    TlvTableMod,
    TlvTableRequest,
    TlvTableReply,
    Resume,
    CtFlushZone,
    CtFlush,
    IpfixBridgeStatsRequest,
    IpfixBridgeStatsReply,
    IpfixFlowStatsRequest,
    IpfixFlowStatsReply,
}

/// Versions with places in the indexes.
const VERSIONS: usize = 7;
/// How many things messages say.
const SAID: usize = MessageKind::IpfixFlowStatsReply as usize + 1;
/// Standard numbers are below this, and Nicira's but for a few.
const NUMBERS: usize = 64;

/// For what is said, and each version, the row that says it: a standard message where there is one, else an extension's.
static SAYING: LazyLock<[[Option<Kind>; VERSIONS]; SAID]> = LazyLock::new(|| {
    let standard = |s| matches!(s, Space::Message | Space::MultipartRequest | Space::MultipartReply);
    let mut index = [[None; VERSIONS]; SAID];
    for wanted in [true, false] {
        for row in ROWS.iter().filter(|row| standard(row.space) == wanted) {
            let kinds = index.get_mut(row.of as usize).into_iter().flatten();
            for (place, _) in kinds.zip(0u8..).filter(|(_, v)| (row.since..=row.until).contains(v)) {
                place.get_or_insert(row.kind);
            }
        }
    }
    index
});

/// Of standard messages and Nicira's: for messages, requests, replies and Nicira's in turn, and each version, the row of a
/// number.
#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
static INDEXED: [[Option<Kind>; NUMBERS]; VERSIONS * 4] = {
    let (mut index, mut r) = ([[None; NUMBERS]; VERSIONS * 4], 0);
    while r < ROWS.len() {
        let (row, mut version) = (&ROWS[r], 0);
        while version < VERSIONS as u8 {
            if let Some(place) = indexed_place(row.space, Version(version))
                && row.since <= version
                && version <= row.until
                && (row.number as usize) < NUMBERS
                && index[place][row.number as usize].is_none()
            {
                index[place][row.number as usize] = Some(row.kind);
            }
            version += 1;
        }
        r += 1;
    }
    index
};

#[inline(always)]
const fn indexed_place(space: Space, version: Version) -> Option<usize> {
    let n = match space {
        Space::Message => 0,
        Space::MultipartRequest => 1,
        Space::MultipartReply => 2,
        Space::Nicira => 3,
        _ => return None,
    };
    let version = version.0 as usize;
    if version < VERSIONS { Some(VERSIONS.wrapping_mul(n).wrapping_add(version)) } else { None }
}

const VENDOR: u8 = 4;
const MULTIPART_VENDOR: u16 = 0xffff;

/// What a header says of the kind of its message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Numbers {
    space: Space,
    number: u32,
}

/// The types of multipart requests and replies in a version.
pub(super) const fn multipart_types(version: Version) -> (u8, u8) {
    if version.0 == 1 { (16, 17) } else { (18, 19) }
}

#[inline]
fn numbers(r: &mut Reader<'_>, header: Header) -> Result<Numbers, DecodeError> {
    let (request, reply) = multipart_types(header.version);
    let extension = |vendor, nicira, onf, r: &Reader<'_>| match vendor {
        EXPERIMENTER_NX => Ok(nicira),
        EXPERIMENTER_ONF if header.version.0 != 1 || onf == Space::Onf => Ok(onf),
        _ => Err(r.error(OfError::BadRequestBadExperimenter, "an experimenter that is known here")),
    };
    let kind = header.kind.0;
    if kind == VENDOR {
        let at = r.clone();
        let (vendor, number) = (r.u32()?, r.u32()?);
        return Ok(Numbers { space: extension(vendor, Space::Nicira, Space::Onf, &at)?, number });
    }
    if (kind != request && kind != reply) || !Version::KNOWN.contains(&header.version) {
        return Ok(Numbers { space: Space::Message, number: kind.into() });
    }
    let (number, _flags) = (r.u16()?, r.u16()?);
    if header.version != Version::V1_0 {
        r.skip(4)?;
    }
    let is_request = kind == request;
    if number != MULTIPART_VENDOR {
        let space = if is_request { Space::MultipartRequest } else { Space::MultipartReply };
        return Ok(Numbers { space, number: number.into() });
    }
    let at = r.clone();
    let vendor = r.u32()?;
    let space = match is_request {
        true => extension(vendor, Space::NiciraMultipartRequest, Space::OnfMultipartRequest, &at)?,
        false => extension(vendor, Space::NiciraMultipartReply, Space::OnfMultipartReply, &at)?,
    };
    let number = r.u32()?;
    if header.version == Version::V1_0 {
        r.skip(4)?;
    }
    Ok(Numbers { space, number })
}

impl Kind {
    #[expect(clippy::indexing_slicing, reason = "there are as many rows as kinds")]
    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// All kinds.
    pub fn all() -> impl Iterator<Item = Kind> {
        ROWS.iter().map(|row| row.kind)
    }

    /// The name, such as `OFPST_FLOW reply`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// What messages of this kind say.
    pub fn of(self) -> MessageKind {
        self.row().of
    }

    /// Whether `version` has this kind.
    pub fn is_in(self, version: Version) -> bool {
        let row = self.row();
        (row.since..=row.until).contains(&version.0)
    }

    /// Whether it is a multipart message, of which there may be several under one xid.
    pub fn is_multipart(self) -> bool {
        !matches!(self.row().space, Space::Message | Space::Nicira | Space::Onf)
    }

    /// Whether it is a multipart request.
    pub fn is_multipart_request(self) -> bool {
        let row = self.row();
        matches!(row.space, Space::MultipartRequest | Space::NiciraMultipartRequest | Space::OnfMultipartRequest)
    }

    /// The kind that says `what` in `version`: a standard message where there is one, else an extension's.
    pub fn saying(what: MessageKind, version: Version) -> Option<Kind> {
        match SAYING.get(what as usize)?.get(usize::from(version.0)) {
            Some(kind) => *kind,
            None => ROWS.iter().find(|row| row.of == what && row.kind.is_in(version)).map(|row| row.kind),
        }
    }

    /// The kind of a message by the beginning of its bytes.
    ///
    /// # Errors
    /// OFPBRC_BAD_LEN if they do not reach to the end of the header, OFPBRC_BAD_VENDOR, OFPBRC_BAD_TYPE,
    /// OFPBRC_BAD_STAT or OFPBRC_BAD_SUBTYPE for what no row has.
    pub fn of_bytes(message: &[u8]) -> Result<Kind, DecodeError> {
        let mut r = Reader::new(message);
        let header = Header::read(&mut r)?;
        Kind::read(&mut r, header)
    }

    /// Reads the rest of a header.
    pub(super) fn read(r: &mut Reader<'_>, header: Header) -> Result<Kind, DecodeError> {
        let found = numbers(r, header)?;
        let kind = Kind::numbered(found, header);
        kind.ok_or_else(|| {
            let (error, at) = match found.space {
                Space::Message => (OfError::BadRequestBadType, 1),
                Space::MultipartRequest | Space::MultipartReply => (OfError::BadRequestBadMultipart, 8),
                _ => (OfError::BadRequestBadExperimenterType, 12),
            };
            let (version, kind) = (header.version.0, header.kind.0);
            let which = match found.space {
                Space::Message => String::new(),
                Space::MultipartRequest | Space::MultipartReply => format!(", stat {}", found.number),
                _ => format!(", subtype {}", found.number),
            };
            tracing::warn!(target: "ofp_msgs", "unknown OpenFlow message (version {version}, type {kind}{which})");
            DecodeError::new(error, at, "a message that is known in this version")
        })
    }

    /// The kind if the message is a flow-mod: told by the type alone, but for Nicira's.
    #[inline(always)]
    pub(super) fn read_flow_mod(r: &mut Reader<'_>, header: Header) -> Option<Kind> {
        let found = match header.kind.0 {
            VENDOR if r.u32().ok()? == EXPERIMENTER_NX => Numbers { space: Space::Nicira, number: r.u32().ok()? },
            VENDOR => return None,
            number => Numbers { space: Space::Message, number: number.into() },
        };
        Kind::numbered(found, header).filter(|kind| kind.of() == MessageKind::FlowMod)
    }

    #[inline]
    fn numbered(found: Numbers, header: Header) -> Option<Kind> {
        let numbers = indexed_place(found.space, header.version).and_then(|place| INDEXED.get(place));
        match numbers.and_then(|numbers| numbers.get(found.number as usize)) {
            Some(kind) => *kind,
            None => {
                let is = |row: &&Row| row.space == found.space && row.number == found.number;
                ROWS.iter().filter(is).map(|row| row.kind).find(|kind| kind.is_in(header.version))
            }
        }
    }

    /// Whether a whole message of this kind can be as long as it is.
    ///
    /// # Errors
    /// OFPBRC_BAD_LEN if not.
    pub fn fits(self, message: &[u8]) -> Result<(), DecodeError> {
        let mut r = Reader::new(message);
        let header = Header::read(&mut r)?;
        Kind::read(&mut r, header)?;
        self.check_length(&r)
    }

    /// Checks how long a body is.
    #[inline(always)]
    pub(super) fn check_length(self, body: &Reader<'_>) -> Result<(), DecodeError> {
        let (row, len) = (self.row(), body.len());
        let fits = match len.checked_sub(row.min) {
            Some(0) => true,
            Some(more) => match row.multiple {
                0 => false,
                // Of these most are, and they take no division.
                1 => true,
                8 => more.is_multiple_of(8),
                n => more.is_multiple_of(n),
            },
            None => false,
        };
        if fits { Ok(()) } else { Err(self.bad_length(body)) }
    }

    #[cold]
    fn bad_length(self, body: &Reader<'_>) -> DecodeError {
        let (row, len) = (self.row(), body.len());
        let (len, min) = (body.at().saturating_add(len), body.at().saturating_add(row.min));
        let expected = match row.multiple {
            0 => format!("expected length {min}"),
            1 => format!("expected length at least {min} bytes"),
            n => format!("must be exactly {min} bytes or longer by an integer multiple of {n} bytes"),
        };
        tracing::warn!(target: "ofp_msgs", "received {} with incorrect length {len} ({expected})", row.name);
        let what = "a length that the message can have";
        DecodeError::new(OfError::BadRequestBadLength, 2, what)
    }

    /// Writes a header whose length is to be patched.
    ///
    /// # Errors
    /// If the version has no such message.
    pub(super) fn write(self, w: &mut Writer, version: Version, xid: u32, more: bool) -> Result<(), EncodeError> {
        let row = self.row();
        if !self.is_in(version) {
            return Err(EncodeError::NotInVersion { version: version.0, what: row.name });
        }
        let head = |kind: MessageType| u64::from(version.0) << 56 | u64::from(kind.0) << 48 | u64::from(xid);
        if row.space == Space::Message {
            w.u64(head(MessageType(row.number.try_into().unwrap_or(0))));
            return Ok(());
        }
        let (request, reply) = multipart_types(version);
        let (kind, multipart, vendor) = match row.space {
            Space::Message => (MessageType(row.number.try_into().unwrap_or(0)), false, None),
            Space::Nicira => (MessageType(VENDOR), false, Some(EXPERIMENTER_NX)),
            Space::Onf => (MessageType(VENDOR), false, Some(EXPERIMENTER_ONF)),
            Space::MultipartRequest => (MessageType(request), true, None),
            Space::MultipartReply => (MessageType(reply), true, None),
            Space::NiciraMultipartRequest => (MessageType(request), true, Some(EXPERIMENTER_NX)),
            Space::NiciraMultipartReply => (MessageType(reply), true, Some(EXPERIMENTER_NX)),
            Space::OnfMultipartRequest => (MessageType(request), true, Some(EXPERIMENTER_ONF)),
            Space::OnfMultipartReply => (MessageType(reply), true, Some(EXPERIMENTER_ONF)),
        };
        w.u64(head(kind));
        if multipart {
            w.u16(if vendor.is_some() { MULTIPART_VENDOR } else { row.number.try_into().unwrap_or(0) });
            w.u16(more.into());
            w.zeros(if version == Version::V1_0 { 0 } else { 4 });
        }
        if let Some(vendor) = vendor {
            w.u32(vendor);
            w.u32(row.number);
            w.zeros(if multipart && version == Version::V1_0 { 4 } else { 0 });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_is_read_as_it_is_written() {
        assert_eq!(ROWS.len(), 161);
        for (n, row) in ROWS.iter().enumerate() {
            assert_eq!(row.kind as usize, n);
            for version in Version::KNOWN.into_iter().filter(|v| row.kind.is_in(*v)) {
                let mut w = Writer::new();
                row.kind.write(&mut w, version, 7, false).unwrap();
                assert_eq!(Kind::of_bytes(&w.into_bytes()), Ok(row.kind), "{}", row.name);
            }
        }
    }

    #[test]
    fn what_can_be_said_is_counted() {
        let said: BTreeSet<MessageKind> = ROWS.iter().map(|row| row.of).collect();
        assert_eq!(said.len(), 82);
        assert_eq!(Kind::saying(MessageKind::FlowMod, Version::V1_0), Some(Kind::FlowMod10));
        assert_eq!(Kind::saying(MessageKind::GroupMod, Version::V1_0), Some(Kind::NxGroupMod));
        assert_eq!(Kind::saying(MessageKind::MeterMod, Version::V1_0), None);
    }

    #[test]
    fn what_is_not_known_is_told_apart() {
        let error = |bytes: &[u8]| Kind::of_bytes(bytes).unwrap_err().error;
        assert_eq!(error(&[4, 99, 0, 8, 0, 0, 0, 0]), OfError::BadRequestBadType);
        assert_eq!(error(&[4, 18, 0, 16, 0, 0, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0]), OfError::BadRequestBadMultipart);
        assert_eq!(error(&[4, 4, 0, 16, 0, 0, 0, 0, 0, 0, 0x12, 0x34, 0, 0, 0, 1]), OfError::BadRequestBadExperimenter);
        assert_eq!(
            error(&[4, 4, 0, 16, 0, 0, 0, 0, 0, 0, 0x23, 0x20, 0, 0, 9, 1]),
            OfError::BadRequestBadExperimenterType
        );
        assert_eq!(error(&[4, 4, 0, 8, 0, 0, 0, 0]), OfError::BadRequestBadLength);
    }
}

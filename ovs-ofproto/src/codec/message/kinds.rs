//! Which kind of the wire says a message, and the empty message of a kind.

use super::{Message, Page};
use crate::codec::group::GroupFeatures;
use crate::codec::header::Version;
use crate::codec::kind::{Kind, MessageKind};
use crate::codec::meter::{MeterFeatures, MeterMod};
use crate::codec::port::{PortMod, PortRequest};
use crate::codec::report::{FeaturesReply, SwitchConfig};
use crate::codec::switch::{BundleAdd, BundleControl, QueueRequest, QueueStatsRequest, Role, RoleStatus};
use crate::codec::table::{TableMod, TableStatus};
use crate::codec::tlv::{TlvTableMod, TlvTableReply};

/// An empty message of a kind that [`pass`](super::pass) fills.
pub(super) fn empty(of: MessageKind, more: bool) -> Option<Message> {
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
        MessageKind::PortStatus => Message::PortStatus(Box::default()),
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
        MessageKind::GetAsyncReply => Message::GetAsyncReply(Box::default()),
        MessageKind::SetAsyncConfig => Message::SetAsync(Box::default()),
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
        MessageKind::IpfixBridgeStatsReply => Message::IpfixBridgeStatsReply(Box::default()),
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

    /// Nicira's kind that may say what a kind of OpenFlow 1.0 has no place for: whether that has, is seen as it is
    /// written.
    pub(super) fn larger(kind: Kind) -> Option<Kind> {
        Some(match kind {
            Kind::FlowMod10 => Kind::NxFlowMod,
            Kind::StatsFlowRequest10 => Kind::NxStatsFlowRequest,
            Kind::StatsAggregateRequest10 => Kind::NxStatsAggregateRequest,
            _ => return None,
        })
    }

    /// The kind that the message goes out as in `version`: the standard one where that may be able to say it, else a
    /// [larger](Message::larger) one.
    pub(super) fn kind_in(&self, of: MessageKind, version: Version) -> Option<Kind> {
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
}

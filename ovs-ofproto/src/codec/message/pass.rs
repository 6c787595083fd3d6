//! What of a message is laid out in one pass, for both directions.

use super::Message;
use super::read::read_forwarded;
use crate::codec::io::{Done, Io};
use crate::codec::kind::Kind;
use crate::codec::monitor::{FlowMonitorRequest, FlowUpdate};
use crate::codec::switch::Queue;

/// What of a message is laid out in one pass, for both directions.
pub(super) fn pass(m: &mut Message, io: &mut Io<'_, '_>, kind: Kind) -> Done {
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

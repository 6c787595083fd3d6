//! Changes that controllers ask for: of flows, groups, meters, ports and tables, one by one or in bundles.

use ovs_dpif::Dpif;
use ovs_packet::{Instant, Match, OfPort, Packet};

use super::{Answer, Request, complain};
use crate::codec::{
    BundleAdd, BundleControl, GroupMod, Kind, Message, MeterMod, NO_BUFFER, OfError, PacketOut, PortMod, TableMod,
    Version, check_options,
};
use crate::flow_mod::{ALL_TABLES, FlowMod, FlowModCommand, FlowModFlags};
use crate::pipeline::connection::{Bundled, ConnectionId};
use crate::pipeline::flow_table::{FlowModError, FlowTables, Known, Log, Pending, TableMiss, VISIBLE_TABLES};
use crate::pipeline::meter::MAX_METER;
use crate::pipeline::ofproto::Ofproto;
use crate::pipeline::port::PortConfig;
use crate::pipeline::translate::log_selection;
use crate::pipeline::work::{End, Work};
use crate::session::{AsyncKind, Class};

/// `OFPBCT_COMMIT_REQUEST`.
pub(super) const COMMIT: u16 = 4;

/// `OFPTC_*` of OpenFlow 1.4.
const EVICTION: u32 = 1 << 2;
const VACANCY_EVENTS: u32 = 1 << 3;

impl Ofproto {
    // One by one.

    pub(super) fn obey_flow_mod(
        &mut self,
        dp: &mut dyn Dpif,
        request: &Request<'_>,
        mut fm: Box<FlowMod>,
        now: Instant,
    ) -> Result<Answer, OfError> {
        self.settle(request, request.kind, &mut fm)?;
        self.place_options(&mut fm.matching)?;
        let instructions = self.tables.shared(&fm.instructions);
        let known = Known { groups: &self.groups, meters: &self.meters };
        let (mut log, mut effort) = (Log::default(), usize::MAX);
        let begun = self.tables.begin(&fm, instructions, known, now, &mut log);
        let done = match begun {
            Ok(pending) if pending.len() > self.slice => {
                self.undertake(dp, Work::new(request.asked(), End::Nothing, now).with_pending(pending), now);
                self.note_flow_mod(request.from, fm.command, now);
                return Ok(Answer::Done);
            }
            Ok(mut pending) => self.tables.go_on(&mut pending, known, now, &mut log, &mut effort),
            Err(e) => Err(e),
        };
        if let Err(e) = done {
            self.tables.undo(&mut log, 0);
            return Err(e.into());
        }
        // What went through so far belongs to the flows as they are, where these go or change.
        self.credit_before(dp, &log, now);
        self.commit(log, Some((request.from, request.xid)), now);
        self.revalidate(dp, now);
        self.note_flow_mod(request.from, fm.command, now);
        Ok(Answer::Done)
    }

    fn note_flow_mod(&mut self, from: ConnectionId, command: FlowModCommand, now: Instant) {
        self.connections.get_mut(from).into_iter().for_each(|c| c.note_flow_mod(command, now));
    }

    /// Whether a flow-mod's table is a part of its command, which has no such numbers: its version has it so, and the
    /// extension for tables is off.
    fn lacks_table(&self, from: ConnectionId, kind: Kind) -> bool {
        matches!(kind, Kind::FlowMod10 | Kind::NxFlowMod)
            && !self.connections.get(from).is_some_and(|c| c.tables_in_flow_mods)
    }

    /// Reads a flow-mod of a kind as its version and its connection mean it.
    fn settle(&self, request: &Request<'_>, kind: Kind, fm: &mut FlowMod) -> Result<(), OfError> {
        check_options(&fm.instructions, &self.tlv)?;
        if self.lacks_table(request.from, kind) {
            if !matches!(fm.table, 0 | ALL_TABLES) {
                return Err(OfError::FlowModBadCommand);
            }
            fm.table = ALL_TABLES;
        }
        fm.keep_cookie = request.version == Version::V1_1 && kind != Kind::NxFlowMod;
        if request.version <= Version::V1_1 && fm.command == FlowModCommand::Add {
            fm.flags |= FlowModFlags::RESET_COUNTS;
        }
        Ok(())
    }

    /// Puts the tunnel options of a match where the switch's table of them has them.
    pub(in crate::pipeline) fn place_options(&self, m: &mut Match) -> Result<(), OfError> {
        if m.has_tun_options() {
            *m = self.tlv.place(m).map_err(|_| OfError::FlowModNxInvalidTlvField)?;
        }
        Ok(())
    }

    pub(super) fn obey_group_mod(
        &mut self,
        dp: &mut dyn Dpif,
        request: &Request<'_>,
        mut gm: GroupMod,
        now: Instant,
    ) -> Result<Answer, OfError> {
        number_buckets(request.kind, &mut gm);
        let said = End::Forward(AsyncKind::RequestForward, 0, Message::GroupMod(Box::new(gm.clone())));
        self.undertake(dp, Work::new(request.asked(), said, now).with_group(gm), now);
        Ok(Answer::Done)
    }

    /// Changes groups; what is left to do is to remove the flows that name those which are gone.
    pub(in crate::pipeline) fn group_mod(
        &mut self,
        gm: &GroupMod,
        now: Instant,
        log: &mut Log,
    ) -> Result<Vec<Pending>, OfError> {
        let known = Known { groups: &self.groups, meters: &self.meters };
        for b in &gm.desc.buckets {
            // What a bucket leads to may come later, but for itself.
            match known.check_actions(&b.actions) {
                Err(FlowModError::NoGroup(_)) | Ok(()) => {}
                Err(e) => return Err(e.into()),
            }
        }
        let is_new = self.groups.latest(gm.desc.group).is_none();
        let change = self.groups.modify(gm, now)?;
        if let Some(group) = self.groups.latest(gm.desc.group) {
            log_selection(group, &gm.desc.buckets, is_new);
        }
        change.groups.iter().for_each(|id| log.group(*id));
        Ok(change.deleted.iter().map(|id| self.tables.users_of_group(*id)).filter(|p| p.len() > 0).collect())
    }

    pub(super) fn obey_meter_mod(
        &mut self,
        dp: &mut dyn Dpif,
        request: &Request<'_>,
        mm: MeterMod,
        now: Instant,
    ) -> Result<Answer, OfError> {
        let gone = self.meters.modify(dp, &mm, now)?;
        // Packets for controllers, or for the slow path, go through a meter once it is there.
        self.changed |= !gone.is_empty() || mm.config.meter > MAX_METER;
        let said = Message::MeterMod(mm);
        let users: Vec<_> =
            gone.iter().map(|meter| self.tables.users_of_meter(*meter)).filter(|p| p.len() > 0).collect();
        if users.is_empty() {
            self.revalidate(dp, now);
            self.forward_request((request.from, request.xid), AsyncKind::RequestForward, 1, &said);
        } else {
            let work = Work::new(request.asked(), End::Forward(AsyncKind::RequestForward, 1, said), now);
            self.undertake(dp, users.into_iter().fold(work, Work::with_pending), now);
        }
        Ok(Answer::Done)
    }

    pub(in crate::pipeline) fn obey_port_mod(&mut self, pm: &PortMod, from: ConnectionId) -> Result<(), OfError> {
        self.check_port_mod(pm)?;
        let version = self.connections.get(from).map_or(Version::V1_0, |c| c.version);
        let Some(port) = self.ports.get_mut(pm.number) else { return Err(OfError::PortModBadPort) };
        let mask = PortConfig::from_bits_truncate(pm.mask) & PortConfig::of_version(version);
        let before = port.clone();
        port.config = port.config & !mask | PortConfig::from_bits_truncate(pm.config) & mask;
        if pm.advertise != 0 {
            port.link.advertised = pm.advertise;
        }
        if *port != before {
            let port = port.clone();
            self.changed = true;
            self.port_config_changed(&port);
            self.tell_of_port(2, &port, Some(from));
        }
        Ok(())
    }

    pub(in crate::pipeline) fn check_port_mod(&self, pm: &PortMod) -> Result<(), OfError> {
        let port = self.ports.get(pm.number).ok_or(OfError::PortModBadPort)?;
        if port.hw_addr == pm.hw_addr { Ok(()) } else { Err(OfError::PortModBadHwAddr) }
    }

    pub(super) fn obey_table_mod(&mut self, tm: &TableMod, version: Version) -> Result<Answer, OfError> {
        let (table, config) = (tm.desc.table, tm.desc.config);
        let miss = match (version, config & 3) {
            (Version::V1_1 | Version::V1_2, 0) => Some(TableMiss::Controller),
            (Version::V1_1 | Version::V1_2, 1) => Some(TableMiss::Continue),
            (Version::V1_1 | Version::V1_2, 2) => Some(TableMiss::Drop),
            (Version::V1_1 | Version::V1_2, _) => return Err(OfError::TableModBadConfig),
            _ => None,
        };
        if let Some((down, up, _)) = tm.desc.vacancy.filter(|(down, up, now)| *now != 0 || down > up || *up > 100) {
            tracing::debug!(down, up, "limits of vacancy that cannot be");
            return Err(OfError::BadPropertyBadValue);
        }
        let tables = match usize::from(table) {
            _ if table == ALL_TABLES => 0..=(VISIBLE_TABLES - 1) as u8,
            t if t < VISIBLE_TABLES => table..=table,
            _ => return Err(OfError::TableModBadTable),
        };
        for n in tables {
            let Some(t) = self.tables.table_mut(n) else { continue };
            if let Some(miss) = miss {
                self.changed |= t.miss != miss;
                t.miss = miss;
            }
            if version < Version::V1_4 {
                continue;
            }
            let evicts = config & EVICTION != 0;
            if t.evicts != evicts {
                t.evicts = evicts;
                self.tables.reset_eviction(n);
            }
            let asked = tm.desc.vacancy.filter(|_| config & VACANCY_EVENTS != 0);
            self.tables.watch(n, asked.map(|(down, up, _)| (down, up)));
        }
        Ok(Answer::Done)
    }

    pub(super) fn obey_packet_out(
        &mut self,
        dp: &mut dyn Dpif,
        out: &PacketOut,
        now: Instant,
    ) -> Result<Answer, OfError> {
        self.check_packet_out(out)?;
        let packet = Packet::from_slice(&out.data);
        if let Some(decided) = self.decide_packet_out(dp, packet, out.in_port, out.metadata.as_deref(), &out.actions) {
            self.carry_packet_out(dp, decided, now);
        }
        Ok(Answer::Done)
    }

    pub(in crate::pipeline) fn check_packet_out(&self, out: &PacketOut) -> Result<(), OfError> {
        check_source(out)?;
        let known = Known { groups: &self.groups, meters: &self.meters };
        Ok(known.check_actions(&out.actions)?)
    }

    // Bundles.

    pub(super) fn obey_bundle_add(
        &mut self,
        request: &Request<'_>,
        b: &BundleAdd,
        now: Instant,
    ) -> Result<Answer, OfError> {
        let (_, message) = Message::decode(&b.message).map_err(|e| {
            complain(&b.message, request.version, &e);
            e.error
        })?;
        message.not_understood().map_or(Ok(()), Err)?;
        let kind = Kind::of_bytes(&b.message).map_err(|e| e.error)?;
        let change = match message {
            Message::FlowMod(mut fm) => {
                self.settle(request, kind, &mut fm)?;
                if fm.matching.has_tun_options() {
                    self.place_options(&mut fm.matching.clone())?;
                }
                // What never will be is said at once; what depends on what is there, when the bundle is carried out.
                FlowTables::check_table(&fm)?;
                let instructions = self.tables.shared(&std::mem::take(&mut fm.instructions));
                Bundled::Flow(*fm, Some(instructions))
            }
            // The groups that it needs may come in the bundle, too.
            Message::PacketOut(out) => {
                check_source(&out)?;
                Bundled::Packet(out)
            }
            Message::GroupMod(mut gm) => {
                number_buckets(kind, &mut gm);
                Bundled::Group(gm)
            }
            Message::PortMod(pm) => Bundled::Port(pm),
            _ => return Err(OfError::BundleMsgUnsup),
        };
        let c = self.connections.get_mut(request.from).ok_or(OfError::BundleUnknown)?;
        c.bundles.add((b.bundle, b.flags), &b.message, change, request.bytes, now)?;
        Ok(Answer::Done)
    }

    pub(super) fn obey_bundle_control(
        &mut self,
        dp: &mut dyn Dpif,
        request: &Request<'_>,
        b: BundleControl,
        now: Instant,
    ) -> Result<Answer, OfError> {
        let bundles = &mut self.connections.get_mut(request.from).ok_or(OfError::BundleUnknown)?.bundles;
        let mut reply = BundleControl::default();
        (reply.bundle, reply.kind) = (b.bundle, b.kind.wrapping_add(1));
        let reply = Message::BundleControl(reply);
        match b.kind {
            0 => bundles.open(b.bundle, b.flags, request.bytes, now)?,
            2 => bundles.close(b.bundle, b.flags, now)?,
            COMMIT => {
                let bundle = bundles.take(b.bundle).ok_or(OfError::BundleBadId)?;
                if bundle.flags != b.flags {
                    return Err(OfError::BundleBadFlags);
                }
                let work = Work::new(request.asked(), End::Bundle(reply), now).with_bundle(bundle);
                self.undertake(dp, work, now);
                return Ok(Answer::Done);
            }
            6 => drop(bundles.take(b.bundle).ok_or(OfError::BundleBadId)?),
            _ => return Err(OfError::BundleBadType),
        }
        Ok(reply.into())
    }

    /// Tells others of a request that changed groups or meters, in the words of their own versions.
    pub(in crate::pipeline) fn forward_request(
        &mut self,
        (from, xid): (ConnectionId, u32),
        kind: AsyncKind,
        reason: u8,
        message: &Message,
    ) {
        for (id, c) in self.connections.wanting(kind, reason) {
            if id == from {
                continue;
            }
            match message.encode(c.version, xid) {
                Ok(bytes) => c.push(Class::Other, &Message::RequestForward(bytes), 0),
                Err(e) => tracing::debug!(error = %e, "a request is not forwarded"),
            }
        }
    }
}

/// Whether there is a packet, from where one can come.
fn check_source(out: &PacketOut) -> Result<(), OfError> {
    if out.buffer_id != NO_BUFFER {
        return Err(OfError::BadRequestBufferUnknown);
    }
    if out.in_port > OfPort::MAX && !out.in_port.is_reserved() {
        return Err(OfError::BadRequestBadPort);
    }
    Ok(())
}

/// Buckets have no numbers before OpenFlow 1.5: there they are counted.
fn number_buckets(kind: Kind, gm: &mut GroupMod) {
    if kind == Kind::GroupMod11 {
        gm.desc.buckets.iter_mut().zip(0..).for_each(|(b, n)| b.id = n);
    }
}

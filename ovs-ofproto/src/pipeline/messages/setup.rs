//! How the switch and a connection are set up.

use super::{Answer, Request};
use ovs_packet::field::{TLV_FIELDS, TlvTableError};
use ovs_packet::key::TUN_METADATA_BYTES;

use crate::codec::{
    self, Capabilities, CtFlush, FeaturesReply, Message, OfError, RoleStatus, SwitchConfig, TlvTableMod, TlvTableReply,
    Version,
};
use crate::pipeline::Event;
use crate::pipeline::connection::{Connection, ConnectionId, ConnectionKind, DEFAULT_MISS_SEND_LEN, PacketInFormat};
use crate::pipeline::flow_table::VISIBLE_TABLES;
use crate::pipeline::messages::table_features;
use crate::pipeline::ofproto::{Fragments, Ofproto};
use crate::session::{AsyncConfig, AsyncKind, Class, Role, RoleRequest};

/// Of the flags of the switch's configuration: how fragments are treated, and whether used-up TTLs go to controllers.
const FRAGMENTS: u16 = 3;
const INVALID_TTL: u16 = 4;

/// A role given up to another primary (`OFPCRR_MASTER_REQUEST`).
const ANOTHER_IS_PRIMARY: u8 = 0;

/// Whether the version has a flag for packets with a used-up TTL.
fn has_invalid_ttl(version: Version) -> bool {
    version <= Version::V1_2
}

impl Ofproto {
    pub(super) fn features(&self, version: Version) -> Message {
        let (datapath_id, tables) = (self.datapath_id(), VISIBLE_TABLES as u8);
        let mut f = FeaturesReply { datapath_id, tables, ..FeaturesReply::default() };
        let since = |v: Version, c| if version >= v { c } else { Capabilities::empty() };
        let until = |v: Version, c| if version <= v { c } else { Capabilities::empty() };
        f.capabilities = Capabilities::FLOW_STATS
            | Capabilities::TABLE_STATS
            | Capabilities::PORT_STATS
            | Capabilities::QUEUE_STATS
            | until(Version::V1_1, Capabilities::ARP_MATCH_IP)
            | since(Version::V1_1, Capabilities::GROUP_STATS)
            | since(Version::V1_4, Capabilities::BUNDLES);
        if version == Version::V1_0 {
            f.reserved = table_features::actions(version);
        }
        if version < Version::V1_3 {
            f.ports = self.ports.iter().map(|p| p.desc(version)).collect();
            // What does not fit is asked for otherwise.
            let (len, room) = (if version == Version::V1_0 { 48 } else { 64 }, 0xffff - 32);
            f.ports.truncate(room / len);
        }
        Message::FeaturesReply(f)
    }

    /// Changes what a connection is like.
    pub(super) fn set_up(&mut self, request: &Request<'_>, f: impl FnOnce(&mut Connection)) -> Result<Answer, OfError> {
        if let Some(c) = self.connections.get_mut(request.from) {
            f(c);
        }
        Ok(Answer::Done)
    }

    pub(super) fn switch_config(&self, from: ConnectionId) -> Message {
        let mut config = SwitchConfig { flags: self.fragments as u16, miss_send_len: 0 };
        if let Some(c) = self.connections.get(from) {
            config.miss_send_len = c.miss_send_len;
            if c.invalid_ttl && has_invalid_ttl(c.version) {
                config.flags |= INVALID_TTL;
            }
        }
        Message::GetConfigReply(config)
    }

    pub(super) fn set_switch_config(&mut self, request: &Request<'_>, config: SwitchConfig) -> Result<Answer, OfError> {
        let allowed = FRAGMENTS | if has_invalid_ttl(request.version) { INVALID_TTL } else { 0 };
        if config.flags & !allowed != 0 {
            return Err(OfError::SwitchConfigBadFlags);
        }
        if self.role(request.from).may_modify() {
            match Fragments::by_number(config.flags & FRAGMENTS) {
                Some(fragments) => {
                    self.changed |= self.fragments != fragments;
                    self.fragments = fragments;
                    self.changed = true;
                }
                None => tracing::info!("a controller wants fragments put together, which this switch does not do"),
            }
        }
        self.set_up(request, |c| {
            c.miss_send_len = config.miss_send_len;
            if has_invalid_ttl(c.version) {
                c.invalid_ttl = config.flags & INVALID_TTL != 0;
                c.async_config.set_invalid_ttl(c.invalid_ttl);
            }
        })
    }

    pub(super) fn obey_role_request(&mut self, request: &Request<'_>, role: codec::Role) -> Result<Answer, OfError> {
        let asked = RoleRequest { role: Role::from_code(role.role), generation_id: role.generation };
        let reply = self.connections.roles.request(request.from, asked).map_err(|_| OfError::RoleRequestStale)?;
        if let Some(demoted) = reply.demoted {
            self.tell_of_role(demoted, ANOTHER_IS_PRIMARY);
        }
        let mut said = codec::Role::default();
        (said.role, said.generation) = (reply.role.code(), reply.generation_id);
        // Who asks in the words of the extension is answered so.
        match request.kind {
            codec::Kind::NxRoleRequest => Ok(Answer::As(codec::Kind::NxRoleReply, Message::RoleReply(said))),
            _ => Ok(Message::RoleReply(said).into()),
        }
    }

    fn tell_of_role(&mut self, to: ConnectionId, reason: u8) {
        let (role, generation) = (self.role(to), self.connections.roles.generation_id());
        // Whoever loses a role is told, whatever it wants to be told unasked: upstream asks nobody either.
        if let Some(c) = self.connections.get_mut(to).filter(|c| c.version >= Version::V1_3) {
            let mut status = RoleStatus::default();
            (status.role, status.reason, status.generation) = (role.code(), reason, generation.unwrap_or(u64::MAX));
            c.push(Class::Other, &Message::RoleStatus(status), 0);
        }
    }

    pub(super) fn async_config(&self, request: &Request) -> Message {
        let mut said = codec::AsyncConfig::default();
        if let Some(c) = self.connections.get(request.from) {
            for (pair, kind) in said.masks.iter_mut().zip(AsyncKind::ALL) {
                *pair = [Role::Primary, Role::Secondary].map(|role| Some(c.async_config.reasons(role, kind)));
            }
        }
        Message::GetAsyncReply(Box::new(said))
    }

    pub(super) fn set_async_config(
        &mut self,
        request: &Request<'_>,
        said: &codec::AsyncConfig,
    ) -> Result<Answer, OfError> {
        // In OpenFlow 1.3 and Nicira's message, all kinds that it can say are set; what else there is goes.
        let all = matches!(request.kind, codec::Kind::SetAsync13 | codec::Kind::NxSetAsyncConfig);
        self.set_up(request, |c| {
            if all {
                c.async_config = AsyncConfig::default();
            }
            for (pair, kind) in said.masks.iter().zip(AsyncKind::ALL) {
                for (mask, role) in pair.iter().zip([Role::Primary, Role::Secondary]) {
                    if let Some(mask) = mask {
                        c.async_config.set(c.version, role, kind, *mask);
                    }
                }
            }
            if c.kind == ConnectionKind::Service && c.miss_send_len == 0 {
                c.miss_send_len = DEFAULT_MISS_SEND_LEN;
            }
        })
    }

    pub(super) fn set_packet_in_format(&mut self, request: &Request<'_>, format: u32) -> Result<Answer, OfError> {
        let format = PacketInFormat::by_number(format).ok_or(OfError::BadRequestPermission)?;
        self.set_up(request, |c| c.packet_in_format = format)
    }

    pub(super) fn set_flow_format(&mut self, request: &Request<'_>, format: u32) -> Result<Answer, OfError> {
        match format {
            0 | 2 => self.set_up(request, |c| c.nxm = format == 2),
            _ => Err(OfError::BadRequestPermission),
        }
    }

    /// Connections are the datapath's: its owner forgets them.
    pub(super) fn flush_connections(&mut self, zone: u16) -> Answer {
        self.flush_some(CtFlush { zone: Some(zone), ..CtFlush::default() })
    }

    pub(super) fn flush_some(&mut self, what: CtFlush) -> Answer {
        self.event(Event::FlushConnections(Box::new(what)));
        Answer::Done
    }

    // Tunnel options.

    pub(super) fn tlv_table(&self) -> Answer {
        let said = TlvTableReply {
            max_option_space: TUN_METADATA_BYTES as u32,
            max_fields: TLV_FIELDS as u16,
            mappings: self.tlv.mappings().collect(),
        };
        Message::TlvTableReply(said).into()
    }

    pub(super) fn obey_tlv_table_mod(&mut self, tm: &TlvTableMod) -> Result<Answer, OfError> {
        let indexes: Vec<u16> = tm.mappings.iter().map(|m| m.index).collect();
        // A mapping that flows match by, or whose option their actions name, cannot go.
        let in_use = if tm.command == 0 { 0 } else { self.tables.options_in_use(&self.tlv) };
        let done = match tm.command {
            0 => self.tlv.add(&tm.mappings),
            1 => self.tlv.delete(&indexes, in_use),
            _ => self.tlv.clear(in_use),
        };
        self.changed = true;
        done.map(|()| Answer::Done).map_err(|e| match e {
            TlvTableError::BadLength { .. } => OfError::TlvTableModBadOptLen,
            TlvTableError::BadIndex { .. } => OfError::TlvTableModBadFieldIdx,
            TlvTableError::AlreadyMapped { .. } => OfError::TlvTableModAlreadyMapped,
            TlvTableError::DuplicateOption { .. } => OfError::TlvTableModDupEntry,
            TlvTableError::InUse { .. } => OfError::TlvTableModInvalidTlvDel,
            _ => OfError::TlvTableModTableFull,
        })
    }
}

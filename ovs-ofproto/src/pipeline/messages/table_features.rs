//! What each table can do, property by property (OFPMP_TABLE_FEATURES, OpenFlow 1.5, section 7.3.5.18).
//!
//! All tables can do the same: match and write every field that the version has a number for, and go on in any table
//! behind them.

use ovs_packet::field::{CLASS_EXPERIMENTER, FieldId, OxmId};

use super::{Answer, Request, abilities};
use crate::codec::{Kind, Message, OfError, Opaque, Version, Writer};
use crate::pipeline::flow_table::VISIBLE_TABLES;
use crate::pipeline::ofproto::Ofproto;

/// `OFPTFPT_*` of flows; those of the table-miss flow follow each, where there are any.
mod property {
    pub(super) const INSTRUCTIONS: u16 = 0;
    pub(super) const NEXT_TABLES: u16 = 2;
    pub(super) const WRITE_ACTIONS: u16 = 4;
    pub(super) const APPLY_ACTIONS: u16 = 6;
    pub(super) const MATCH: u16 = 8;
    pub(super) const WILDCARDS: u16 = 10;
    pub(super) const WRITE_SETFIELD: u16 = 12;
    pub(super) const APPLY_SETFIELD: u16 = 14;
}

/// Room for tables in a message.
const ROOM: usize = 0xffff - 32;

impl Ofproto {
    pub(super) fn table_features(&self, request: &Request<'_>, body: &[u8]) -> Result<Answer, OfError> {
        // Tables are set up by the switch's owner.
        if !body.is_empty() {
            return Err(OfError::TableFeaturesEperm);
        }
        let (mut said, mut page) = (Vec::new(), Vec::new());
        let say = |body, more| Message::Opaque(Opaque { kind: Kind::StatsTableFeaturesReply13, more, body });
        for n in 0..VISIBLE_TABLES as u8 {
            let table = self.of_table(n, request.version);
            if page.len() + table.len() > ROOM {
                said.push(say(std::mem::take(&mut page), true));
            }
            page.extend(table);
        }
        said.push(say(page, false));
        Ok(Answer::Say(said))
    }

    fn of_table(&self, n: u8, version: Version) -> Vec<u8> {
        let Some(table) = self.tables.table(n) else { return Vec::new() };
        let mut w = Writer::new();
        w.zeros(2);
        w.u8(n);
        w.zeros(5);
        let name: Vec<u8> = table.config.name.iter().flat_map(|n| n.bytes()).take(31).collect();
        w.bytes(&name);
        w.zeros(32 - name.len());
        // Metadata that can be matched and written.
        w.u64(u64::MAX);
        w.u64(u64::MAX);
        // Eviction and events of vacancy.
        w.u32(if version >= Version::V1_4 { 0b1100 } else { 0 });
        w.u32(u32::try_from(table.limit().min(super::report::SAID_LIMIT)).unwrap_or(u32::MAX));
        let last = usize::from(n) + 1 >= VISIBLE_TABLES;
        let ids = |w: &mut Writer, bits: u32| {
            (0..32u16).filter(|b| bits >> b & 1 != 0).for_each(|b| {
                w.u16(b);
                w.u16(4);
            });
        };
        for miss in 0..2 {
            // From the last table there is nowhere to go on; a meter is an instruction to OpenFlow 1.4.
            let instructions = 0b111_1110 & !(u32::from(last) << 1) & !(u32::from(version >= Version::V1_5) << 6);
            put(&mut w, property::INSTRUCTIONS + miss, |w| ids(w, instructions));
            put(&mut w, property::NEXT_TABLES + miss, |w| (n + 1..VISIBLE_TABLES as u8).for_each(|t| w.u8(t)));
            for (actions, fields) in [
                (property::WRITE_ACTIONS, property::WRITE_SETFIELD),
                (property::APPLY_ACTIONS, property::APPLY_SETFIELD),
            ] {
                put(&mut w, actions + miss, |w| ids(w, abilities::actions(version)));
                put(&mut w, fields + miss, |w| fields_of(w, version, |f| f.info().writable, false));
            }
        }
        put(&mut w, property::MATCH, |w| fields_of(w, version, |_| true, true));
        put(&mut w, property::WILDCARDS, |w| fields_of(w, version, |_| true, false));
        let len = u16::try_from(w.len()).unwrap_or(u16::MAX);
        w.patch_u16(0, len);
        w.into_bytes()
    }
}

/// Writes a property: its type and length, and what fills it up.
fn put(w: &mut Writer, kind: u16, body: impl FnOnce(&mut Writer)) {
    let start = w.len();
    w.u16(kind);
    w.zeros(2);
    body(w);
    let len = w.len() - start;
    w.patch_u16(start + 2, u16::try_from(len).unwrap_or(u16::MAX));
    w.zeros(len.next_multiple_of(8) - len);
}

/// The fields that have a number, as headers without values.
fn fields_of(w: &mut Writer, version: Version, wanted: impl Fn(FieldId) -> bool, with_masks: bool) {
    let mut seen: Vec<OxmId> = Vec::new();
    for field in FieldId::all().filter(|f| wanted(*f)) {
        let info = field.info();
        let Some(id) = info.oxm(version.0).filter(|id| !seen.contains(id)) else { continue };
        seen.push(id);
        let masked = with_masks && info.maskable;
        let experimenter = id.class == CLASS_EXPERIMENTER;
        let len =
            info.wire_bytes.saturating_mul(if masked { 2 } else { 1 }).saturating_add(if experimenter { 4 } else { 0 });
        w.u16(id.class);
        w.u8((id.field & 0x7f) << 1 | u8::from(masked));
        w.u8(len);
        if experimenter {
            w.u32(id.experimenter);
        }
    }
}

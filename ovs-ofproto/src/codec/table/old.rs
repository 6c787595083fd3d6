//! The statistics of tables before OpenFlow 1.3, which tell what the tables can do as well.
//!
//! Fields are bits there: OpenFlow 1.0's wildcards, 1.1's fields, and 1.2's numbers of fields.

use ovs_packet::field::{CLASS_OPENFLOW_BASIC, FieldId, FieldSet, OxmId};

use super::features::{InstructionAbilities, TableAbilities, TableFeatures};
use super::{TableMiss, TableStats};
use crate::codec::header::Version;
use crate::codec::io::{Done, Io};

/// Bits of OpenFlow 1.0's wildcards. An address has six of them.
const WILDCARDS_10: [(u32, FieldId); 12] = [
    (1, FieldId::InPort),
    (1 << 1, FieldId::VlanVid),
    (1 << 2, FieldId::EthSrc),
    (1 << 3, FieldId::EthDst),
    (1 << 4, FieldId::EthType),
    (1 << 5, FieldId::NwProto),
    (1 << 6, FieldId::TcpSrc),
    (1 << 7, FieldId::TcpDst),
    (0x3f << 8, FieldId::NwSrc),
    (0x3f << 14, FieldId::NwDst),
    (1 << 20, FieldId::VlanPcp),
    (1 << 21, FieldId::NwTos),
];

/// Bits of OpenFlow 1.1's fields (`OFPFMF_*`).
const FIELDS_11: [(u32, FieldId); 15] = [
    (1, FieldId::InPort),
    (1 << 1, FieldId::VlanVid),
    (1 << 2, FieldId::VlanPcp),
    (1 << 3, FieldId::EthType),
    (1 << 4, FieldId::NwTos),
    (1 << 5, FieldId::NwProto),
    (1 << 6, FieldId::TcpSrc),
    (1 << 7, FieldId::TcpDst),
    (1 << 8, FieldId::MplsLabel),
    (1 << 9, FieldId::MplsTc),
    (1 << 11, FieldId::EthSrc),
    (1 << 12, FieldId::EthDst),
    (1 << 13, FieldId::NwSrc),
    (1 << 14, FieldId::NwDst),
    (1 << 15, FieldId::Metadata),
];

fn to_bits(fields: &FieldSet, table: &[(u32, FieldId)]) -> u32 {
    table.iter().filter(|(_, f)| fields.contains(*f)).fold(0, |bits, (bit, _)| bits | bit)
}

fn from_bits(bits: u32, table: &[(u32, FieldId)]) -> FieldSet {
    table.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, f)| *f).collect()
}

/// The field that a bit of OpenFlow 1.2 stands for.
fn field_12(number: u8) -> Option<FieldId> {
    let id = OxmId { class: CLASS_OPENFLOW_BASIC, field: number, experimenter: 0 };
    FieldId::by_oxm(id).filter(|f| f.info().code_points().any(|p| p.id == id && p.since <= Version::V1_2.0))
}

fn bits_12(io: &mut Io<'_, '_>, fields: &mut FieldSet) -> Done {
    let known = || (0..64u8).filter_map(|n| Some((1u64.checked_shl(n.into())?, field_12(n)?)));
    let mut bits = known().filter(|(_, f)| fields.contains(*f)).fold(0, |bits, (bit, _)| bits | bit);
    io.u64(&mut bits)?;
    *fields = known().filter(|(bit, _)| bits & bit != 0).map(|(_, f)| f).collect();
    Ok(())
}

impl TableStats {
    pub(super) fn pass_old(&mut self, io: &mut Io<'_, '_>) -> Done {
        let version = io.version;
        let mut features = self.features.take().unwrap_or_default();
        let mut abilities = features.abilities.take().unwrap_or_default();
        io.u8(&mut self.table)?;
        features.table = self.table;
        io.pad(if version == Version::V1_0 { 3 } else { 7 })?;
        io.text(&mut features.name, 32)?;
        match version {
            Version::V1_0 => abilities.pass_10(io)?,
            Version::V1_1 => abilities.pass_11(io)?,
            _ => abilities.pass_12(io, &mut features)?,
        }
        if version != Version::V1_0 {
            let mut config = match self.miss {
                Some(TableMiss::Continue) => 1,
                Some(TableMiss::Drop) => 2,
                _ => 0,
            };
            io.u32(&mut config)?;
            self.miss = Some(TableMiss::from_config(config));
        }
        io.u32(&mut features.max_entries)?;
        features.abilities = Some(abilities);
        self.features = Some(features);
        self.counts(io)
    }
}

impl TableAbilities {
    fn pass_10(&mut self, io: &mut Io<'_, '_>) -> Done {
        let mut bits = to_bits(&self.wildcards, &WILDCARDS_10);
        io.u32(&mut bits)?;
        self.wildcards = from_bits(bits, &WILDCARDS_10);
        self.matching = self.wildcards;
        Ok(())
    }

    fn pass_11(&mut self, io: &mut Io<'_, '_>) -> Done {
        let (mut wildcards, mut matching) = (to_bits(&self.wildcards, &FIELDS_11), to_bits(&self.matching, &FIELDS_11));
        io.u32(&mut wildcards)?;
        io.u32(&mut matching)?;
        self.wildcards = from_bits(wildcards, &FIELDS_11);
        self.matching = from_bits(wildcards | matching, &FIELDS_11);
        io.u32(&mut self.flows.instructions)?;
        io.u32(&mut self.flows.write.actions)?;
        io.u32(&mut self.flows.apply.actions)?;
        self.same_for_all()
    }

    fn pass_12(&mut self, io: &mut Io<'_, '_>, features: &mut TableFeatures) -> Done {
        bits_12(io, &mut self.matching)?;
        bits_12(io, &mut self.wildcards)?;
        self.matching = self.matching.union(self.wildcards);
        let InstructionAbilities { instructions, write, apply, .. } = &mut self.flows;
        io.u32(&mut write.actions)?;
        io.u32(&mut apply.actions)?;
        bits_12(io, &mut write.set_fields)?;
        bits_12(io, &mut apply.set_fields)?;
        io.u64(&mut features.metadata_match)?;
        io.u64(&mut features.metadata_write)?;
        io.u32(instructions)?;
        self.same_for_all()
    }

    /// These versions tell nothing apart of the flow for what meets no other.
    fn same_for_all(&mut self) -> Done {
        self.miss.clone_from(&self.flows);
        Ok(())
    }
}

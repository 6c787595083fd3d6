//! Which forms of OpenFlow can say something: versions, and in OpenFlow 1.0 the extensions that matches need.
//!
//! OpenFlow 1.0 comes in four forms, by two extensions of Nicira that a controller turns on: matches as TLVs (NXM), and
//! changes of flows that name their table (`table_id`). What stands in a text narrows the forms that can carry it; of
//! those that are left, the first is chosen.

use std::fmt;
use std::str::FromStr;

use bitflags::bitflags;
use ovs_packet::Match;
use ovs_packet::field::FieldId;

use crate::codec::{EncodeError, Kind, Message, Version, Versions};
use crate::flow_mod::{ALL_TABLES, FlowMod, FlowModCommand};

bitflags! {
    /// A set of forms of OpenFlow, the plainest first.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Protocols: u16 {
        /// OpenFlow 1.0 as it is specified.
        const OF10 = 1;
        /// OpenFlow 1.0, where changes of flows name their table.
        const OF10_TID = 1 << 1;
        /// OpenFlow 1.0 with matches as TLVs.
        const NXM = 1 << 2;
        /// OpenFlow 1.0 with matches as TLVs, where changes of flows name their table.
        const NXM_TID = 1 << 3;
        /// OpenFlow 1.1.
        const OF11 = 1 << 4;
        /// OpenFlow 1.2.
        const OF12 = 1 << 5;
        /// OpenFlow 1.3.
        const OF13 = 1 << 6;
        /// OpenFlow 1.4.
        const OF14 = 1 << 7;
        /// OpenFlow 1.5.
        const OF15 = 1 << 8;
    }
}

impl Protocols {
    /// Every form.
    pub const ANY: Protocols = Protocols::all();
    /// Those of OpenFlow 1.0 with the matches of OpenFlow 1.0.
    pub const OF10_STANDARD: Protocols = Protocols::OF10.union(Protocols::OF10_TID);
    /// Those of OpenFlow 1.0 with matches as TLVs.
    pub const NXM_ANY: Protocols = Protocols::NXM.union(Protocols::NXM_TID);
    /// Those of OpenFlow 1.0.
    pub const OF10_ANY: Protocols = Protocols::OF10_STANDARD.union(Protocols::NXM_ANY);
    /// OpenFlow 1.5.
    pub const OF15_UP: Protocols = Protocols::OF15;
    /// OpenFlow 1.4 and later.
    pub const OF14_UP: Protocols = Protocols::OF14.union(Protocols::OF15_UP);
    /// OpenFlow 1.3 and later.
    pub const OF13_UP: Protocols = Protocols::OF13.union(Protocols::OF14_UP);
    /// OpenFlow 1.2 and later, whose matches are TLVs (OXM).
    pub const OXM: Protocols = Protocols::OF12.union(Protocols::OF13_UP);
    /// OpenFlow 1.1 and later.
    pub const OF11_UP: Protocols = Protocols::OF11.union(Protocols::OXM);
    /// Those with matches as TLVs.
    pub const TLV: Protocols = Protocols::NXM_ANY.union(Protocols::OXM);
    /// Those with matches as TLVs, and OpenFlow 1.1.
    pub const NXM_OF11_UP: Protocols = Protocols::NXM_ANY.union(Protocols::OF11_UP);
    /// Those in which a change of flows names its table.
    pub const TABLED: Protocols = Protocols::OF10_TID.union(Protocols::NXM_TID).union(Protocols::OF11_UP);

    /// The forms of some versions.
    pub fn of_versions(versions: Versions) -> Protocols {
        Protocols::ANY.iter().filter(|p| p.version().is_some_and(|v| versions.contains(v))).collect()
    }

    /// The versions that the forms are of.
    pub fn versions(self) -> Versions {
        self.iter().filter_map(Protocols::version).collect()
    }

    /// The version of a single form.
    pub fn version(self) -> Option<Version> {
        Some(match self {
            p if Protocols::OF10_ANY.contains(p) && !p.is_empty() => Version::V1_0,
            Protocols::OF11 => Version::V1_1,
            Protocols::OF12 => Version::V1_2,
            Protocols::OF13 => Version::V1_3,
            Protocols::OF14 => Version::V1_4,
            Protocols::OF15 => Version::V1_5,
            _ => return None,
        })
    }

    /// The first of the forms: the plainest that there is.
    pub fn first(self) -> Option<Protocols> {
        self.iter().next()
    }

    /// The same form with tables named or not.
    pub fn with_table_id(self, on: bool) -> Protocols {
        let swap = |p: Protocols, from: Protocols, to: Protocols| if p == from { to } else { p };
        match on {
            true => swap(swap(self, Protocols::OF10, Protocols::OF10_TID), Protocols::NXM, Protocols::NXM_TID),
            false => swap(swap(self, Protocols::OF10_TID, Protocols::OF10), Protocols::NXM_TID, Protocols::NXM),
        }
    }

    /// Whether flows are changed by Nicira's message in this form.
    pub fn is_nxm(self) -> bool {
        Protocols::NXM_ANY.intersects(self)
    }

    /// The forms that can match these bits of a field.
    ///
    /// ```
    /// use ovs_ofproto::text::Protocols;
    /// use ovs_packet::field::FieldId;
    ///
    /// assert_eq!(Protocols::of_field(FieldId::NwSrc, 0xffff_ff00).to_string(), "any");
    /// assert_eq!(Protocols::of_field(FieldId::NwSrc, 0xff00_ff00).to_string(), "NXM,OXM,OpenFlow11");
    /// assert_eq!(Protocols::of_field(FieldId::SkbPriority, u128::MAX), Protocols::empty());
    /// ```
    pub fn of_field(field: FieldId, mask: u128) -> Protocols {
        use FieldId::*;
        let info = field.info();
        let whole = mask & info.max_value() == info.max_value();
        let has_tlv = info.code_points().next().is_some() || matches!(field, DlVlan | DlVlanPcp | NwTos);
        let tlv = if has_tlv { Protocols::TLV } else { Protocols::empty() };
        match field {
            EthSrc | EthDst if !whole => tlv | Protocols::OF11,
            NwSrc | NwDst | ArpSpa | ArpTpa => match is_prefix(mask) {
                true => Protocols::ANY,
                false => tlv | Protocols::OF11,
            },
            Metadata => tlv | Protocols::OF11,
            EthSrc | EthDst | InPort | EthType | VlanTci | DlVlan | VlanVid | DlVlanPcp | VlanPcp | NwProto | NwTos
            | IpDscp | ArpOp | TcpSrc | TcpDst | UdpSrc | UdpDst | IcmpType | IcmpCode
                if whole =>
            {
                Protocols::ANY
            }
            InPortOxm | MplsLabel | MplsTc | NwEcn | SctpSrc | SctpDst if whole => tlv | Protocols::OF11,
            _ => tlv,
        }
    }

    /// The forms that can say a match whose fields can be said: those of OpenFlow 1.0 and 1.1 know nothing of what is
    /// within IPv6.
    pub(super) fn of_ipv6(m: &Match) -> Protocols {
        let within = [FieldId::NwProto, FieldId::NwTos, FieldId::NwEcn, FieldId::TcpSrc, FieldId::TcpDst];
        match m.get(FieldId::EthType).0 == 0x86dd && within.iter().any(|f| m.touches(*f)) {
            true => Protocols::TLV,
            false => Protocols::ANY,
        }
    }

    /// A change of flows as a message in this form, which must be a single one.
    ///
    /// A table that is not named is the first where it must be named; a flow that a modification may add has cookie 0 if
    /// none is given; from OpenFlow 1.2 on, cookies are not changed.
    ///
    /// # Errors
    /// If the form cannot say it.
    pub fn encode_flow_mod(self, mut flow: FlowMod, xid: u32) -> Result<Vec<u8>, EncodeError> {
        let version = self.version().ok_or(EncodeError::Inconsistent { what: "a single form of OpenFlow" })?;
        let (adds, deletes) = (
            flow.command == FlowModCommand::Add,
            matches!(flow.command, FlowModCommand::Delete | FlowModCommand::DeleteStrict),
        );
        match version {
            Version::V1_0 if !self.intersects(Protocols::TABLED) => flow.table = 0,
            Version::V1_0 => {}
            Version::V1_1 if flow.table == ALL_TABLES => flow.table = 0,
            _ if flow.table == ALL_TABLES && !deletes => flow.table = 0,
            _ => {}
        }
        if !adds && !deletes && flow.cookie_mask == 0 && version <= Version::V1_1 {
            flow.new_cookie.get_or_insert(0);
        } else if version >= Version::V1_1 {
            flow.new_cookie = None;
        } else if deletes {
            flow.new_cookie.get_or_insert(0);
        }
        if version < Version::V1_4 || !adds {
            flow.importance = 0;
        }
        match version {
            Version::V1_0 if self.is_nxm() => Message::from(flow).encode_as(Kind::NxFlowMod, version, xid),
            Version::V1_0 => Message::from(flow).encode_as(Kind::FlowMod10, version, xid),
            _ => Message::from(flow).encode(version, xid),
        }
    }
}

/// Whether the mask of an IPv4 address is one of its first bits.
fn is_prefix(mask: u128) -> bool {
    let mask = (mask & 0xffff_ffff) as u32;
    mask.leading_ones().saturating_add(mask.trailing_zeros()) >= 32
}

const NAMES: [(&str, Protocols); 9] = [
    ("OpenFlow10-table_id", Protocols::OF10),
    ("OpenFlow10+table_id", Protocols::OF10_TID),
    ("NXM-table_id", Protocols::NXM),
    ("NXM+table_id", Protocols::NXM_TID),
    ("OpenFlow11", Protocols::OF11),
    ("OXM-OpenFlow12", Protocols::OF12),
    ("OXM-OpenFlow13", Protocols::OF13),
    ("OXM-OpenFlow14", Protocols::OF14),
    ("OXM-OpenFlow15", Protocols::OF15),
];

const GROUPS: [(&str, Protocols); 4] = [
    ("any", Protocols::ANY),
    ("OpenFlow10", Protocols::OF10_STANDARD),
    ("NXM", Protocols::NXM_ANY),
    ("OXM", Protocols::OXM),
];

/// Written as upstream writes them: whole groups by one name; `none` for none.
impl fmt::Display for Protocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = *self;
        let mut separator = "";
        if left.is_empty() {
            return f.write_str("none");
        }
        for (name, protocols) in GROUPS.iter().chain(&NAMES) {
            if left.contains(*protocols) {
                write!(f, "{separator}{name}")?;
                left.remove(*protocols);
                separator = ",";
            }
        }
        Ok(())
    }
}

/// No form of OpenFlow is called so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownProtocol(pub String);

impl fmt::Display for UnknownProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: unknown flow protocol", self.0)
    }
}

impl std::error::Error for UnknownProtocol {}

/// Reads names with commas between them, in any case, as `-F` takes them.
impl FromStr for Protocols {
    type Err = UnknownProtocol;

    fn from_str(s: &str) -> Result<Protocols, UnknownProtocol> {
        let mut found = Protocols::empty();
        for name in s.split(',').filter(|name| !name.is_empty()) {
            let known = GROUPS.iter().chain(&NAMES).find(|(known, _)| known.eq_ignore_ascii_case(name));
            found |= known.ok_or_else(|| UnknownProtocol(name.to_string()))?.1;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_both_ways() {
        for text in
            ["any", "NXM,OXM", "OpenFlow10,NXM", "NXM,OXM,OpenFlow11", "OXM,NXM+table_id", "OpenFlow10-table_id"]
        {
            let read: Protocols = text.parse().unwrap();
            assert_eq!(read.to_string(), text);
        }
        assert_eq!(Protocols::empty().to_string(), "none");
        assert_eq!("nxm".parse(), Ok(Protocols::NXM_ANY));
        assert_eq!("OXM,xyz".parse::<Protocols>(), Err(UnknownProtocol("xyz".to_string())));
    }

    #[test]
    fn forms_have_versions() {
        for p in Protocols::ANY.iter() {
            let version = p.version().unwrap();
            assert!(Protocols::of_versions([version].into_iter().collect()).contains(p));
        }
        assert_eq!(Protocols::OXM.version(), None);
        assert_eq!(Protocols::NXM.with_table_id(true), Protocols::NXM_TID);
        assert_eq!(Protocols::NXM_TID.with_table_id(false), Protocols::NXM);
        assert_eq!(Protocols::OF13.with_table_id(false), Protocols::OF13);
    }

    #[test]
    fn a_table_is_named_only_where_there_is_place_for_it() {
        let delete = |p: Protocols| {
            let flow = FlowMod { command: FlowModCommand::Delete, table: ALL_TABLES, ..FlowMod::default() };
            p.encode_flow_mod(flow, 1).unwrap()
        };
        // ofp10_flow_mod: the command stands behind header, match and cookie.
        assert_eq!(delete(Protocols::OF10)[56..58], [0, 3]);
        assert_eq!(delete(Protocols::OF10_TID)[56..58], [0xff, 3]);
        assert_eq!(delete(Protocols::OF11)[24..26], [0, 3]);
        assert_eq!(delete(Protocols::OF13)[24..26], [0xff, 3]);
    }
}

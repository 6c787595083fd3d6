//! The table of match fields: every field that a flow can match or an action can set, declared once.
//!
//! The file `table.rs` holds one row a field; all else (the key's accessors by field, text, OXM and NXM headers,
//! prerequisites, the datapath's attribute) is derived from the row. A field is a run of bits at a fixed place of the
//! [`FlowKey`](crate::FlowKey), so that reading, writing, masking and hashing need to know nothing about it.
//!
//! The options of tunnels are fields too, 64 of them, but of no fixed place and of up to 124 bytes: a [`TlvTable`] says
//! where they are, and [`TunOption`] holds their values. [`Field::get`] and [`Field::put`] do not reach them.
//!
//! ```
//! use ovs_packet::field::{FieldId, Prereq};
//! use ovs_packet::FlowKey;
//!
//! let dscp = FieldId::by_name("ip_dscp").unwrap();
//! let mut key = FlowKey::ZERO;
//! dscp.info().put(&mut key, 46);
//! assert_eq!((key.nw_tos, dscp.info().get(&key)), (46 << 2, 46));
//! assert_eq!(dscp.info().prereq, Prereq::Ip);
//! ```

mod index;
mod option;
mod oxm;
mod plain;
mod prereq;
mod row;
#[cfg(feature = "serde")]
pub(crate) mod serialize;
mod set;
mod subfield;
mod table;
mod text;
mod tlv;

pub use option::{TUN_OPTION_MAX, TunOption};
pub use oxm::{
    CLASS_ERICSSON, CLASS_EXPERIMENTER, CLASS_NXM_0, CLASS_NXM_1, CLASS_OPENFLOW_BASIC, CLASS_PACKET_REGS, CodePoint,
    EXPERIMENTER_NSH, EXPERIMENTER_NX, EXPERIMENTER_ONF, OxmId,
};
pub use plain::PlainTlv;
pub use prereq::{Prereq, PrereqSet};
pub(crate) use prereq::{dl_type, dl_type_in};
pub use row::Field;
pub use set::FieldSet;
pub use subfield::{ParseSubfieldError, Subfield};
pub use table::FieldId;
pub(crate) use text::ipv4;
pub use text::{ParseValueError, Value};
pub use tlv::{TLV_FIELDS, TlvMapping, TlvTable, TlvTableError, TunOptionError};

/// How a field's value is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Format {
    /// Decimal; the mask, if any, hexadecimal.
    Decimal,
    /// Hexadecimal with a prefix `0x`.
    Hexadecimal,
    /// `xx:xx:xx:xx:xx:xx`.
    Ethernet,
    /// Dotted quad, the mask as a prefix length where it is one.
    Ipv4,
    /// RFC 5952, the mask as a prefix length where it is one.
    Ipv6,
    /// A port number of OpenFlow 1.1 and later, or a reserved port's name.
    Port,
    /// A port number in the 16 bits of OpenFlow 1.0, or a reserved port's name.
    Port16,
    /// `no`, `yes`, `first`, `later`, `not_later`.
    Fragment,
    /// Names with `|` between them, or `+name-name` with a mask.
    TcpFlags,
    /// As [`Format::TcpFlags`], of connection states.
    CtState,
    /// As [`Format::TcpFlags`], of tunnel flags.
    TunnelFlags,
    /// `(namespace,type)`.
    PacketType,
}

/// The datapath's key attribute that carries a field, with the number that the kernel module knows it by
/// (`OVS_KEY_ATTR_*` of `linux/openvswitch.h`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u16)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are the attributes'")]
pub enum KeyAttr {
    Priority = 2,
    InPort = 3,
    Ethernet = 4,
    Vlan = 5,
    EtherType = 6,
    Ipv4 = 7,
    Ipv6 = 8,
    Tcp = 9,
    Udp = 10,
    Icmp = 11,
    Icmpv6 = 12,
    Arp = 13,
    Nd = 14,
    SkbMark = 15,
    Tunnel = 16,
    Sctp = 17,
    TcpFlags = 18,
    DpHash = 19,
    RecircId = 20,
    Mpls = 21,
    CtState = 22,
    CtZone = 23,
    CtMark = 24,
    CtLabels = 25,
    CtOrigTupleIpv4 = 26,
    CtOrigTupleIpv6 = 27,
    Nsh = 28,
    PacketType = 29,
    NdExtensions = 30,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{FlowKey, WORDS};

    #[test]
    fn put_then_get_gives_the_value_and_touches_nothing_else() {
        for id in FieldId::all() {
            let f = id.info();
            let mut ones = FlowKey::from_words([u64::MAX; WORDS]);
            f.put(&mut ones, 0);
            assert_eq!(f.get(&ones), 0, "{}", f.name);
            let cleared: u32 = ones.words().iter().map(|w| w.count_zeros()).sum();
            // The ingress port in 16 bits is all of the port, in other words.
            let bits = if id == FieldId::InPort { 32 } else { f.max_value().count_ones() };
            assert_eq!(cleared, bits, "{}", f.name);

            let mut key = FlowKey::ZERO;
            f.put(&mut key, u128::MAX);
            assert_eq!(f.get(&key), f.max_value(), "{}", f.name);
            let pattern = 0x1234_5678_9abc_def0_0fed_cba9_8765_4321 & f.max_value();
            f.put(&mut key, pattern);
            assert_eq!(f.get(&key), pattern, "{}", f.name);
        }
    }

    #[test]
    fn names_and_numbers_are_unique() {
        for a in FieldId::all() {
            assert_eq!(FieldId::by_name(a.info().name), Some(a));
            assert!(a.info().alias.is_none_or(|alias| FieldId::by_name(alias) == Some(a)));
            for point in a.info().code_points() {
                assert_eq!(FieldId::by_oxm(point.id), Some(a), "{point:?}");
                assert_eq!(FieldId::by_wire_name(point.name), Some(a), "{point:?}");
            }
        }
        assert_eq!(FieldId::by_name(""), None);
        assert_eq!(FieldId::by_name("reg32"), None);
        let known: usize =
            (0..=127)
                .flat_map(|field| {
                    [CLASS_NXM_0, CLASS_NXM_1, CLASS_ERICSSON, CLASS_OPENFLOW_BASIC, CLASS_PACKET_REGS]
                        .map(|class| OxmId { class, field, experimenter: 0 })
                })
                .filter(|id| FieldId::by_oxm(*id).is_some())
                .count();
        let plain = |p: &CodePoint| p.id.class != CLASS_EXPERIMENTER;
        assert_eq!(known, FieldId::all().flat_map(|f| f.info().code_points()).filter(plain).count());
    }

    #[test]
    fn the_table_is_whole() {
        assert_eq!(table::DEFINITIONS.len(), 94);
        assert_eq!(FieldId::all().len(), 211);
        for f in FieldId::all() {
            let (info, n) = (f.info(), f as usize);
            assert_eq!(FieldId::all().nth(n), Some(f));
            assert!(!info.name.is_empty() && info.bits <= u16::from(info.wire_bytes) * 8, "{}", info.name);
            // What cannot be matched under a mask cannot be set under one; what cannot be matched cannot be set.
            assert!(!info.writable || info.code_points().next().is_some() || info.name.starts_with("dl_vlan"));
        }
    }

    #[test]
    fn families_follow_their_numbers() {
        for n in 0..64 {
            let f = FieldId::tun_metadata(n).unwrap();
            assert_eq!((f.tun_metadata_index(), f.info().name), (Some(n), &*alloc::format!("tun_metadata{n}")));
            assert_eq!(f.info().oxm(4).unwrap().field, 40 + n as u8);
        }
        assert_eq!((FieldId::tun_metadata(64), FieldId::Metadata.tun_metadata_index()), (None, None));
        let mut key = FlowKey::ZERO;
        for n in 0..32 {
            let f = FieldId::reg(n).unwrap();
            f.info().put(&mut key, n as u128);
            assert_eq!(key.regs[n].get(), n as u32);
            assert_eq!(f.info().name, alloc::format!("reg{n}"));
        }
        assert_eq!(FieldId::Xreg15.info().get(&key), 30 << 32 | 31);
        assert_eq!(FieldId::Xxreg7.info().get(&key), 28 << 96 | 29 << 64 | 30 << 32 | 31);
        assert_eq!(FieldId::NshC4.info().alias, Some("nshc4"));
        let mut by_attr = 0;
        for attr in FieldId::all().filter_map(|f| f.info().attr) {
            let of: alloc::vec::Vec<_> = FieldId::all().filter(|f| f.info().attr == Some(attr)).collect();
            assert!(FieldId::of_attr(attr).eq(of.iter().copied()), "{attr:?}");
            by_attr += 1;
        }
        assert!(by_attr > 100);
        assert_eq!((FieldId::reg(32), FieldId::Reg31.info().oxm(0).unwrap().field), (None, 32));
    }

    #[test]
    fn each_version_has_its_preferred_number() {
        let class = |f: FieldId, version| f.info().oxm(version).map(|id| id.class);
        for version in 0..=6 {
            let basic = if version >= 3 { CLASS_OPENFLOW_BASIC } else { CLASS_NXM_0 };
            assert_eq!(class(FieldId::EthSrc, version), Some(basic));
            // Of two extensions, Nicira's first format.
            assert_eq!(class(FieldId::DpHash, version), Some(CLASS_NXM_1));
            // There is but one number, whatever the version.
            assert_eq!(class(FieldId::PacketType, version), Some(CLASS_OPENFLOW_BASIC));
            assert_eq!(class(FieldId::Reg31, version), Some(CLASS_EXPERIMENTER));
            let flags = [CLASS_NXM_1, CLASS_EXPERIMENTER, CLASS_OPENFLOW_BASIC];
            assert_eq!(
                class(FieldId::TcpFlags, version),
                Some(
                    flags[match version {
                        0..=3 => 0,
                        4 | 5 => 1,
                        _ => 2,
                    }]
                )
            );
            assert_eq!(class(FieldId::TunTtl, version), None);
        }
    }

    #[test]
    fn the_ingress_port_has_two_numberings() {
        let mut key = FlowKey::ZERO;
        for (narrow, wide) in [(5, 5), (0xfeff, 0xfeff), (0xfffe, 0xffff_fffe)] {
            FieldId::InPort.info().put(&mut key, narrow);
            assert_eq!(FieldId::InPortOxm.info().get(&key), wide);
            assert_eq!(FieldId::InPort.info().get(&key), narrow);
        }
        let mut mask = crate::key::FlowMask::EMPTY;
        mask.add(FieldId::InPort);
        assert!(mask.is_exact(FieldId::InPort) && mask.is_exact(FieldId::InPortOxm));
    }
}

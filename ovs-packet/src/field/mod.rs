//! The table of match fields: every field that a flow can match or an action can set, declared once.
//!
//! The file `table.rs` holds one row a field; all else (the key's accessors by field, text, OXM and NXM headers,
//! prerequisites, the datapath's attribute) is derived from the row. A field is a run of bits at a fixed place of the
//! [`FlowKey`], so that reading, writing, masking and hashing need to know nothing about it.
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

mod prereq;
mod table;
mod text;

pub use prereq::Prereq;
pub use table::FieldId;
pub use text::{ParseValueError, Value};

use zerocopy::IntoBytes;

use crate::key::FlowKey;

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
    /// A port number or reserved port name.
    Port,
    /// `no`, `yes`, `first`, `later`, `not_later`.
    Fragment,
    /// Names with `|` between them, or `+name-name` with a mask.
    TcpFlags,
    /// As [`Format::TcpFlags`], of connection states.
    CtState,
    /// `(namespace,type)`.
    PacketType,
}

/// A match field's number on the wire: class and field of an OXM TLV header (OpenFlow 1.5, section 7.2.3.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct OxmId {
    /// `oxm_class`.
    pub class: u16,
    /// `oxm_field`, 7 bits.
    pub field: u8,
    /// The experimenter, where the class is [`CLASS_EXPERIMENTER`].
    pub experimenter: u32,
}

/// Class of the fields of the first Nicira table, which repeat those of OpenFlow 1.0.
pub const CLASS_NXM_0: u16 = 0x0000;
/// Class of the Nicira extensions.
pub const CLASS_NXM_1: u16 = 0x0001;
/// Class of the fields that OpenFlow defines.
pub const CLASS_OPENFLOW_BASIC: u16 = 0x8000;
/// Class of the packet registers.
pub const CLASS_PACKET_REGS: u16 = 0x8001;
/// Class of experimenter fields, whose header is followed by an experimenter number.
pub const CLASS_EXPERIMENTER: u16 = 0xffff;
/// Experimenter number of the Open Networking Foundation.
pub const EXPERIMENTER_ONF: u32 = 0x4f4e_4600;
/// Experimenter number of Nicira.
pub const EXPERIMENTER_NX: u32 = 0x0000_2320;

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
    PacketType = 29,
}

/// A row of the table. See the [module](self).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Field {
    /// The name in text.
    pub name: &'static str,
    /// Another name that is read, and written by older formats.
    pub alias: Option<&'static str>,
    /// Width in bits of the value.
    pub bits: u8,
    /// Width in bytes of the value on the wire.
    pub wire_bytes: u8,
    /// Whether a match may have an arbitrary mask; without it, all bits or none.
    pub maskable: bool,
    /// Whether actions may set it.
    pub writable: bool,
    /// What else must be matched for this field to exist.
    pub prereq: Prereq,
    /// How values are written.
    pub format: Format,
    /// Number in the Nicira match format.
    pub nxm: Option<OxmId>,
    /// Number in the OXM match format, with the first OpenFlow wire version that has it.
    pub oxm: Option<(OxmId, u8)>,
    /// The datapath key attribute; none for what only the OpenFlow pipeline knows.
    pub attr: Option<KeyAttr>,
    offset: u16,
    storage: u8,
    shift: u8,
    in_storage: u128,
}

impl Field {
    /// The field's value in `key`, right-aligned.
    pub fn get(&self, key: &FlowKey) -> u128 {
        let at = usize::from(self.offset);
        let stored = key.as_bytes().get(at..at + usize::from(self.storage)).unwrap_or(&[]);
        let word = stored.iter().fold(0, |v, b| v << 8 | u128::from(*b));
        (word & self.in_storage) >> self.shift
    }

    /// Writes the field's value into `key`; bits of `value` above the field's width are dropped.
    pub fn put(&self, key: &mut FlowKey, value: u128) {
        let at = usize::from(self.offset);
        let keep = !self.in_storage;
        let bits = (value << self.shift) & self.in_storage;
        let stored = key.as_mut_bytes().get_mut(at..at + usize::from(self.storage)).unwrap_or(&mut []);
        for (i, b) in stored.iter_mut().rev().enumerate() {
            *b = (*b & (keep >> (8 * i)) as u8) | (bits >> (8 * i)) as u8;
        }
    }

    /// The greatest value that the field holds: all its bits.
    pub const fn max_value(&self) -> u128 {
        self.in_storage >> self.shift
    }

    // The builder of the table's rows.

    const fn at(offset: usize, storage: usize) -> Field {
        let all = if storage == 16 { u128::MAX } else { (1 << (8 * storage)) - 1 };
        Field {
            name: "",
            alias: None,
            bits: storage as u8 * 8,
            wire_bytes: storage as u8,
            maskable: false,
            writable: false,
            prereq: Prereq::None,
            format: Format::Decimal,
            nxm: None,
            oxm: None,
            attr: None,
            offset: offset as u16,
            storage: storage as u8,
            shift: 0,
            in_storage: all,
        }
    }

    const fn name(mut self, name: &'static str) -> Field {
        self.name = name;
        self
    }

    const fn alias(mut self, alias: &'static str) -> Field {
        self.alias = Some(alias);
        self
    }

    /// `bits` bits, `shift` of them below in the storage.
    const fn part(mut self, shift: u8, bits: u8) -> Field {
        self.shift = shift;
        self.bits = bits;
        self.in_storage = ((1 << bits) - 1) << shift;
        self
    }

    /// The bits of the storage that belong to the field, without a shift.
    const fn within(mut self, in_storage: u128) -> Field {
        self.in_storage = in_storage;
        self
    }

    const fn wire(mut self, bytes: u8) -> Field {
        self.wire_bytes = bytes;
        self
    }

    const fn mask(mut self) -> Field {
        self.maskable = true;
        self
    }

    const fn rw(mut self) -> Field {
        self.writable = true;
        self
    }

    const fn needs(mut self, prereq: Prereq) -> Field {
        self.prereq = prereq;
        self
    }

    const fn fmt(mut self, format: Format) -> Field {
        self.format = format;
        self
    }

    const fn nxm0(self, field: u8) -> Field {
        self.nxm_in(CLASS_NXM_0, field)
    }

    const fn nxm1(self, field: u8) -> Field {
        self.nxm_in(CLASS_NXM_1, field)
    }

    const fn nxm_in(mut self, class: u16, field: u8) -> Field {
        self.nxm = Some(OxmId { class, field, experimenter: 0 });
        self
    }

    /// A basic OXM field since OpenFlow 1.2.
    const fn oxm(self, field: u8) -> Field {
        self.oxm_since(field, 3)
    }

    const fn oxm_since(mut self, field: u8, version: u8) -> Field {
        self.oxm = Some((OxmId { class: CLASS_OPENFLOW_BASIC, field, experimenter: 0 }, version));
        self
    }

    const fn oxm_in(mut self, class: u16, field: u8, experimenter: u32, version: u8) -> Field {
        self.oxm = Some((OxmId { class, field, experimenter }, version));
        self
    }

    const fn attr(mut self, attr: KeyAttr) -> Field {
        self.attr = Some(attr);
        self
    }
}

impl FieldId {
    /// The field called `name`, by its name or its alias.
    pub fn by_name(name: &str) -> Option<FieldId> {
        FieldId::all().find(|f| f.info().name == name || f.info().alias == Some(name))
    }

    /// The field with this number in OXM or NXM.
    pub fn by_oxm(id: OxmId) -> Option<FieldId> {
        FieldId::all().find(|f| f.info().nxm == Some(id) || f.info().oxm.is_some_and(|(o, _)| o == id))
    }

    /// The first field whose row comes under the datapath attribute `attr`, and all after it.
    pub fn of_attr(attr: KeyAttr) -> impl Iterator<Item = FieldId> {
        FieldId::all().filter(move |f| f.info().attr == Some(attr))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::WORDS;

    #[test]
    fn put_then_get_gives_the_value_and_touches_nothing_else() {
        for id in FieldId::all() {
            let f = id.info();
            let mut ones = FlowKey::from_words([u64::MAX; WORDS]);
            f.put(&mut ones, 0);
            assert_eq!(f.get(&ones), 0, "{}", f.name);
            let cleared: u32 = ones.words().iter().map(|w| w.count_zeros()).sum();
            assert_eq!(cleared, f.max_value().count_ones(), "{}", f.name);

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
            for id in a.info().nxm.iter().copied().chain(a.info().oxm.map(|o| o.0)) {
                assert_eq!(FieldId::by_oxm(id), Some(a), "{}", a.info().name);
            }
        }
    }
}

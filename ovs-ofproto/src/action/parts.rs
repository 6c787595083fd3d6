//! What larger actions consist of.

use std::net::IpAddr;

use bitflags::bitflags;
use ovs_packet::OfPort;
use ovs_packet::field::FieldId;

use super::Action;
#[cfg(feature = "serde")]
use crate::json::form::*;

/// A run of bits of a field.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Subfield {
    /// The field.
    pub field: FieldId,
    /// The lowest bit.
    pub offset: u16,
    /// How many bits.
    pub bits: u16,
}

/// Why bits are no part of a field.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum SubfieldError {
    /// There are no bits, or some beyond the field's end.
    OutOfRange,
    /// The field cannot be written.
    ReadOnly,
}

impl Subfield {
    /// All of a field.
    pub fn whole(field: FieldId) -> Subfield {
        Subfield { field, offset: 0, bits: field.info().bits }
    }

    /// Whether it is all of the field.
    pub fn is_whole(self) -> bool {
        self == Subfield::whole(self.field)
    }

    /// The bits as a mask of the field; of a field of at most 128 bits.
    pub fn mask(self) -> u128 {
        self.ones().checked_shl(self.offset.into()).unwrap_or(0)
    }

    /// The bits as a mask of a value.
    pub fn ones(self) -> u128 {
        u128::MAX.checked_shr(128u32.saturating_sub(self.bits.into())).unwrap_or(0)
    }

    /// Whether the bits are in the field.
    ///
    /// # Errors
    /// If they are not, or there are none.
    pub fn check_source(self) -> Result<(), SubfieldError> {
        let end = u32::from(self.offset) + u32::from(self.bits);
        if self.bits == 0 || end > self.field.info().bits.into() { Err(SubfieldError::OutOfRange) } else { Ok(()) }
    }

    /// Whether the bits can be written.
    ///
    /// # Errors
    /// If they are not in the field, or it cannot be written.
    pub fn check_target(self) -> Result<(), SubfieldError> {
        self.check_source()?;
        if self.field.info().writable { Ok(()) } else { Err(SubfieldError::ReadOnly) }
    }
}

/// Parameters of [`Action::SetTunnelOption`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct SetTunnelOption {
    /// Which of the 64 fields `tun_metadata`.
    pub index: u8,
    /// The value, at most 124 bytes; zero outside the mask.
    #[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))]
    pub value: Vec<u8>,
    /// The bits to overwrite, as long as the value.
    #[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))]
    pub mask: Vec<u8>,
    /// In Nicira's encoding.
    pub nicira: bool,
}

/// Parameters of [`Action::Controller`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Controller {
    /// How many bytes of the packet to send; [`Action::WHOLE`] is all of them.
    pub max_len: u16,
    /// Which controllers.
    #[cfg_attr(feature = "serde", serde(rename = "controller_id"))]
    pub id: u16,
    /// Why (`OFPR_*`).
    #[cfg_attr(feature = "serde", serde(with = "As::<Named<Reason>>"))]
    pub reason: u8,
    /// Bytes that the packet-in repeats.
    #[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))]
    pub userdata: Vec<u8>,
    /// Wait until the controller resumes the packet.
    pub pause: bool,
    /// A meter instead of the one of controllers.
    #[cfg_attr(feature = "serde", serde(rename = "meter_id"))]
    pub meter: Option<u32>,
    /// Say it with properties though the older encoding would do.
    pub extended: bool,
}

impl Default for Controller {
    fn default() -> Self {
        Controller {
            max_len: Action::WHOLE,
            id: 0,
            reason: 1,
            userdata: Vec::new(),
            pause: false,
            meter: None,
            extended: false,
        }
    }
}

macro_rules! words {
    ($(#[$doc:meta])+ $name:ident { $($(#[$vdoc:meta])+ $variant:ident = $number:literal, $word:literal;)+ }) => {
        $(#[$doc])+
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$vdoc])+ $variant = $number,)+
        }

        impl $name {
            const ALL: &[($name, &str)] = &[$(($name::$variant, $word),)+];

            /// The word in upstream's language.
            pub fn word(self) -> &'static str {
                Self::ALL.iter().find(|(v, _)| *v == self).map_or("", |(_, word)| word)
            }

            /// The value with this word, in whatever case.
            pub fn by_word(word: &str) -> Option<$name> {
                Self::ALL.iter().find(|(_, w)| w.eq_ignore_ascii_case(word)).map(|(v, _)| *v)
            }

            /// The number on the wire.
            pub fn number(self) -> u16 {
                self as u16
            }

            /// The value with this number.
            pub fn by_number(number: u16) -> Option<$name> {
                Self::ALL.iter().find(|(v, _)| v.number() == number).map(|(v, _)| *v)
            }
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.word())
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<$name, D::Error> {
                let word = String::deserialize(d)?;
                $name::by_word(&word).ok_or_else(|| serde::de::Error::unknown_variant(&word, &[$($word),+]))
            }
        }
    };
}

words! {
    /// What of a packet is hashed.
    HashFields {
        /// The Ethernet source.
        EthSrc = 0, "eth_src";
        /// Ethernet, VLAN, IP and ports, the same in both directions.
        SymmetricL4 = 1, "symmetric_l4";
        /// IP and TCP or SCTP ports, the same in both directions.
        SymmetricL3L4 = 2, "symmetric_l3l4";
        /// The same with UDP ports.
        SymmetricL3L4Udp = 3, "symmetric_l3l4+udp";
        /// The IP source.
        NwSrc = 4, "nw_src";
        /// The IP destination.
        NwDst = 5, "nw_dst";
        /// IP, the same in both directions.
        SymmetricL3 = 6, "symmetric_l3";
    }
}

words! {
    /// How a bundle's member is chosen.
    BundleAlgorithm {
        /// The first that is up.
        ActiveBackup = 0, "active_backup";
        /// The one with the highest hash.
        HighestRandomWeight = 1, "hrw";
    }
}

words! {
    /// How a link is chosen by a hash.
    MultipathAlgorithm {
        /// The remainder.
        ModuloN = 0, "modulo_n";
        /// The range that it is in.
        HashThreshold = 1, "hash_threshold";
        /// The link with the highest hash.
        HighestRandomWeight = 2, "hrw";
        /// Hashed until it is a link.
        IterHash = 3, "iter_hash";
    }
}

/// Parameters of [`Action::Bundle`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Bundle {
    /// What is hashed.
    pub fields: HashFields,
    /// What the hash begins with.
    pub basis: u16,
    /// How the member is chosen.
    pub algorithm: BundleAlgorithm,
    /// Write the member there instead of sending the packet out of it.
    pub dst: Option<Subfield>,
    /// The ports to choose from.
    pub members: Vec<OfPort>,
}

/// Parameters of [`Action::Multipath`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Multipath {
    /// What is hashed.
    pub fields: HashFields,
    /// What the hash begins with.
    pub basis: u16,
    /// How the link is chosen.
    pub algorithm: MultipathAlgorithm,
    /// The number of links less one.
    pub max_link: u16,
    /// The algorithm's own.
    pub arg: u32,
    /// Where the link is written.
    pub dst: Subfield,
}

bitflags! {
    /// Flags of [`Learn`]. Bits without a name are refused.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
    pub struct LearnFlags: u16 {
        /// Tell the controllers when the flow ends.
        const SEND_FLOW_REM = 1;
        /// The flow ends with the one that learnt it.
        const DELETE_LEARNED = 2;
        /// Write whether it could be learnt.
        const WRITE_RESULT = 4;
    }
}

/// Parameters of [`Action::Learn`]: the flow to make.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Learn {
    /// Seconds without a packet after which it ends; 0 is never.
    pub idle_timeout: u16,
    /// Seconds after which it ends; 0 is never.
    pub hard_timeout: u16,
    /// Its priority.
    pub priority: u16,
    /// Its cookie.
    #[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))]
    pub cookie: u64,
    /// Flags.
    #[cfg_attr(feature = "serde", serde(with = "As::<Set>"))]
    pub flags: LearnFlags,
    /// Its table.
    #[cfg_attr(feature = "serde", serde(rename = "table_id"))]
    pub table: u8,
    /// Its idle timeout once a TCP connection ends; 0 leaves it.
    pub fin_idle_timeout: u16,
    /// Its hard timeout once a TCP connection ends; 0 leaves it.
    pub fin_hard_timeout: u16,
    /// How many flows may be learnt; 0 is no limit.
    pub limit: u32,
    /// The bit to write the result to, with [`LearnFlags::WRITE_RESULT`].
    pub result: Option<Subfield>,
    /// Its match and actions.
    pub specs: Vec<LearnSpec>,
    /// Say it with a limit though the older encoding would do.
    pub extended: bool,
}

impl Default for Learn {
    fn default() -> Self {
        Learn {
            idle_timeout: 0,
            hard_timeout: 0,
            priority: 0x8000,
            cookie: 0,
            flags: LearnFlags::empty(),
            table: 1,
            fin_idle_timeout: 0,
            fin_hard_timeout: 0,
            limit: 0,
            result: None,
            specs: Vec::new(),
            extended: false,
        }
    }
}

/// A term of a learnt flow.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct LearnSpec {
    /// How many bits.
    #[cfg_attr(feature = "serde", serde(rename = "n_bits"))]
    pub bits: u16,
    /// Where they come from.
    pub source: LearnSource,
    /// What they become.
    pub target: LearnTarget,
}

/// Where bits of a learnt flow come from.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum LearnSource {
    /// The packet.
    Field(Subfield),
    /// These: big-endian, right-aligned, as many bytes as the bits need.
    Immediate(#[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))] Vec<u8>),
}

/// What bits of a learnt flow become.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum LearnTarget {
    /// A part of the match.
    Match(Subfield),
    /// A `load` action.
    Load(Subfield),
    /// The port of an output action.
    Output,
}

/// Which way a sampled packet goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum SampleDirection {
    /// It is not said.
    #[default]
    Default,
    /// In.
    Ingress,
    /// Out.
    Egress,
}

/// A number, or where it stands.
pub type Observation = Result<u32, Subfield>;

/// Parameters of [`Action::Sample`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Sample {
    /// Of 65535 packets, how many; not 0.
    pub probability: u16,
    /// Which collectors.
    #[cfg_attr(feature = "serde", serde(rename = "collector_set_id"))]
    pub collector_set: u32,
    /// Observation domain id, or the field that has it.
    #[cfg_attr(feature = "serde", serde(rename = "obs_domain_id", with = "As::<NumberOrBits>"))]
    pub domain: Observation,
    /// Observation point id, or the field that has it.
    #[cfg_attr(feature = "serde", serde(rename = "obs_point_id", with = "As::<NumberOrBits>"))]
    pub point: Observation,
    /// The port that the sampled packet goes out of; [`OfPort::ANY`] for none.
    #[cfg_attr(feature = "serde", serde(rename = "sampling_port"))]
    pub port: OfPort,
    /// Which way it goes.
    pub direction: SampleDirection,
    /// The encoding, 1 to 4; an older one than it needs is not used.
    pub encoding: u8,
}

impl Default for Sample {
    fn default() -> Self {
        Sample {
            probability: 0,
            collector_set: 0,
            domain: Ok(0),
            point: Ok(0),
            port: OfPort::ANY,
            direction: SampleDirection::Default,
            encoding: 1,
        }
    }
}

/// Parameters of [`Action::Ct`].
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct CtAction {
    /// Store the connection.
    pub commit: bool,
    /// With `commit`: make this packet's direction the original one.
    pub force: bool,
    /// The zone, if `zone_src` does not say it.
    pub zone: u16,
    /// Sixteen bits that are the zone.
    pub zone_src: Option<Subfield>,
    /// Continue in this table with a copy of the packet that carries the connection's state.
    pub table: Option<u8>,
    /// Port number of the application whose gateway to use: 21 for FTP, 69 for TFTP; 0 for none.
    pub alg: u16,
    /// [`Action::Nat`], if any, first; then, with `commit`, sets of [`FieldId::CtMark`] and [`FieldId::CtLabel`].
    pub exec: Vec<Action>,
}

bitflags! {
    /// Flags of [`Nat`].
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
    pub struct NatFlags: u16 {
        /// Translate the source.
        const SRC = 1;
        /// Translate the destination.
        const DST = 2;
        /// The same translation for all connections of an address.
        const PERSISTENT = 4;
        /// Choose the port by a hash.
        const HASH = 8;
        /// Choose the port at random.
        const RANDOM = 16;
    }
}

/// Addresses and ports to choose from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct NatRange {
    /// The lowest address.
    pub min: IpAddr,
    /// The highest, if a range was given.
    pub max: Option<IpAddr>,
    /// The lowest port; 0 for none.
    pub port_min: u16,
    /// The highest port; 0 if no range was given.
    pub port_max: u16,
}

/// Parameters of [`Action::Nat`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
pub struct Nat {
    /// What to translate, and how. None: as the connection has it.
    #[cfg_attr(feature = "serde", serde(with = "As::<Set>"))]
    pub flags: NatFlags,
    /// To what.
    pub range: Option<NatRange>,
}

/// A property of [`Action::Encap`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum EncapProperty {
    /// The metadata type of a Network Service Header.
    NshMdType(u8),
    /// A TLV of a Network Service Header.
    NshTlv {
        /// Class.
        class: u16,
        /// Type.
        #[cfg_attr(feature = "serde", serde(rename = "type"))]
        kind: u8,
        /// Value.
        #[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))]
        value: Vec<u8>,
    },
}

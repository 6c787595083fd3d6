//! Errors, features and configuration: what a switch says of a request, and of itself.

use bitflags::bitflags;

use super::cursor::{Reader, Writer};
use super::error::{DecodeError, EncodeError, ErrorNumber, OfError};
use super::header::Version;
use super::io::{Done, Io};
use super::kind::Kind;
use super::port::Port;
#[cfg(feature = "serde")]
use crate::json::form::*;

/// OFPT_ERROR.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct ErrorMessage {
    /// What went wrong.
    pub error: OfError,
    /// The beginning of the request, at least 64 bytes of it if it has as many; text for a failed hello.
    #[cfg_attr(feature = "serde", serde(with = "As::<Hex>", default))]
    pub data: Vec<u8>,
}

/// Of an error's type: an experimenter's, from OpenFlow 1.2 on.
const EXPERIMENTER: u16 = 0xffff;
/// Of an error's type and code: an extension's, in OpenFlow 1.0 and 1.1.
const NXET_VENDOR: u16 = 0xb0c2;

/// A version as people say it.
fn dotted(version: Version) -> String {
    version.to_string().trim_start_matches("OF").to_string()
}

impl ErrorMessage {
    /// How much of a request an error repeats.
    pub const REPEATED: usize = 64;

    /// The answer to a bad request.
    pub fn new(error: OfError, request: &[u8]) -> ErrorMessage {
        ErrorMessage { error, data: request.iter().copied().take(Self::REPEATED).collect() }
    }

    pub(super) fn write(&self, w: &mut Writer, version: Version) -> Result<(), EncodeError> {
        // Errors of a connection without a version are said in the words of OpenFlow 1.0.
        let known = if Version::KNOWN.contains(&version) { version } else { Version::V1_0 };
        let number = self.error.number(known);
        // An error that the version has no number for is said as that one.
        if number.is_none() {
            tracing::error!(target: "ofp_errors", "cannot encode {} for OpenFlow {}", self.error, dotted(known));
        }
        let number = number.or_else(|| OfError::BadRequestUnencodableError.number(known));
        let number = number.ok_or(EncodeError::NotInVersion { version: version.0, what: "this error" })?;
        match number.experimenter {
            0 => {
                w.u16(number.kind);
                w.u16(number.code);
            }
            vendor if known < Version::V1_2 => {
                w.u16(NXET_VENDOR);
                w.u16(0);
                w.u32(vendor);
                w.u16(number.kind);
                w.u16(number.code);
            }
            vendor => {
                w.u16(EXPERIMENTER);
                w.u16(number.kind);
                w.u32(vendor);
            }
        }
        w.bytes(&self.data);
        Ok(())
    }

    pub(super) fn read(r: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
        let (kind, code) = (r.u16()?, r.u16()?);
        let number = match (kind, code) {
            (NXET_VENDOR, 0) if version < Version::V1_2 => {
                let experimenter = r.u32()?;
                ErrorNumber { experimenter, kind: r.u16()?, code: r.u16()? }
            }
            (EXPERIMENTER, kind) if version >= Version::V1_2 => ErrorNumber { experimenter: r.u32()?, kind, code: 0 },
            _ => ErrorNumber { experimenter: 0, kind, code },
        };
        Ok(ErrorMessage { error: OfError::from_number(version, number), data: r.remaining().to_vec() })
    }
}

bitflags! {
    /// What a switch can do (`OFPC_*`). Bits without a name are kept.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
    pub struct Capabilities: u32 {
        /// Statistics of flows.
        const FLOW_STATS = 1;
        /// Statistics of tables.
        const TABLE_STATS = 2;
        /// Statistics of ports.
        const PORT_STATS = 4;
        /// Statistics of groups.
        const GROUP_STATS = 8;
        /// It reassembles IP fragments.
        const IP_REASM = 32;
        /// Statistics of queues.
        const QUEUE_STATS = 64;
        /// It matches addresses in ARP packets.
        const ARP_MATCH_IP = 128;
        /// It blocks looping ports.
        const PORT_BLOCKED = 256;
        /// It has bundles.
        const BUNDLES = 512;
        /// It has flow monitors.
        const FLOW_MONITORING = 1024;
        /// It speaks the Spanning Tree Protocol, in OpenFlow 1.0; on the wire the bit of the statistics of groups.
        const STP = 1 << 31;
        const _ = !0;
    }
}

/// What a switch says of itself.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct FeaturesReply {
    /// Number of the switch: 16 bits of the implementer's choice, then a MAC address.
    #[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))]
    pub datapath_id: u64,
    /// How many packets it keeps for the controller.
    #[cfg_attr(feature = "serde", serde(rename = "n_buffers"))]
    pub buffers: u32,
    /// How many tables it has.
    #[cfg_attr(feature = "serde", serde(rename = "n_tables"))]
    pub tables: u8,
    /// Which auxiliary connection this is; 0 is the main one.
    #[cfg_attr(feature = "serde", serde(rename = "auxiliary_id"))]
    pub auxiliary: u8,
    /// What it can do.
    #[cfg_attr(feature = "serde", serde(with = "As::<Set>"))]
    pub capabilities: Capabilities,
    /// Of OpenFlow 1.0, the actions that it has, a bit each; later reserved, as they came.
    #[cfg_attr(feature = "serde", serde(with = "As::<Bits>"))]
    pub reserved: u32,
    /// Its ports, as far as they fit; from OpenFlow 1.3 on, they are asked for.
    pub ports: Vec<Port>,
}

const STP_10: u32 = 8;

impl FeaturesReply {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>, kind: Kind) -> Done {
        io.u64(&mut self.datapath_id)?;
        io.u32(&mut self.buffers)?;
        io.u8(&mut self.tables)?;
        io.u8(&mut self.auxiliary)?;
        io.pad(2)?;
        let mut bits = self.capabilities.bits();
        if kind == Kind::FeaturesReply10 && !io.reads() {
            bits = bits & !(Capabilities::STP.bits() | STP_10)
                | if self.capabilities.contains(Capabilities::STP) { STP_10 } else { 0 };
        }
        io.u32(&mut bits)?;
        if kind == Kind::FeaturesReply10 && io.reads() && bits & STP_10 != 0 {
            bits = bits & !STP_10 | Capabilities::STP.bits();
        }
        self.capabilities = Capabilities::from_bits_retain(bits);
        io.u32(&mut self.reserved)?;
        if kind == Kind::FeaturesReply13 {
            return Ok(());
        }
        self.auxiliary = 0;
        io.list(&mut self.ports, |io, port| port.pass(io))
    }
}

/// How a switch treats packets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct SwitchConfig {
    /// Fragments (`OFPC_FRAG_*`), and in bit 2 whether packets whose TTL is used up go to the controllers.
    #[cfg_attr(feature = "serde", serde(with = "As::<Flags<ConfigFlags>>"))]
    pub flags: u16,
    /// How many bytes of a packet without a flow go to the controllers.
    pub miss_send_len: u16,
}

impl SwitchConfig {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        io.u16(&mut self.flags)?;
        io.u16(&mut self.miss_send_len)
    }
}

//! Errors and features: what a switch says of a request, and of itself (OpenFlow 1.3, sections 7.3.1 and 7.4.4).

use bitflags::bitflags;

use super::cursor::{Codec, Reader, Writer};
use super::error::{DecodeError, EncodeError, OfError};

/// OFPT_ERROR.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ErrorMessage {
    /// What went wrong, in the numbering of OpenFlow 1.3.
    pub error: OfError,
    /// The beginning of the request, at least 64 bytes of it if it has as many; text for a failed hello.
    pub data: Vec<u8>,
}

impl ErrorMessage {
    /// How much of a request an error repeats.
    pub const REPEATED: usize = 64;

    /// The answer to a bad request.
    pub fn new(error: OfError, request: &[u8]) -> ErrorMessage {
        ErrorMessage { error, data: request.iter().copied().take(Self::REPEATED).collect() }
    }
}

impl Codec for ErrorMessage {
    fn encode(&self, w: &mut Writer) -> Result<(), EncodeError> {
        let (kind, code) = self.error.code_point();
        w.u16(kind);
        w.u16(code);
        w.bytes(&self.data);
        Ok(())
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(ErrorMessage { error: OfError::from_code_point(r.u16()?, r.u16()?), data: r.remaining().to_vec() })
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
        /// It blocks looping ports.
        const PORT_BLOCKED = 256;
        const _ = !0;
    }
}

/// What a switch says of itself.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct FeaturesReply {
    /// Number of the switch: 16 bits of the implementer's choice, then a MAC address.
    pub datapath_id: u64,
    /// How many packets it keeps for the controller.
    pub buffers: u32,
    /// How many tables it has.
    pub tables: u8,
    /// Which auxiliary connection this is; 0 is the main one.
    pub auxiliary: u8,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Reserved bits, as they came.
    pub reserved: u32,
}

impl Codec for FeaturesReply {
    fn encode(&self, w: &mut Writer) -> Result<(), EncodeError> {
        w.u64(self.datapath_id);
        w.u32(self.buffers);
        w.u8(self.tables);
        w.u8(self.auxiliary);
        w.zeros(2);
        w.u32(self.capabilities.bits());
        w.u32(self.reserved);
        Ok(())
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (datapath_id, buffers, tables, auxiliary) = (r.u64()?, r.u32()?, r.u8()?, r.u8()?);
        r.skip(2)?;
        let (capabilities, reserved) = (Capabilities::from_bits_retain(r.u32()?), r.u32()?);
        Ok(FeaturesReply { datapath_id, buffers, tables, auxiliary, capabilities, reserved })
    }
}

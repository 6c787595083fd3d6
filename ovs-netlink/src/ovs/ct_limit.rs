//! How many connections a zone may have: the family `ovs_ct_limit`.

use super::common::OvsHeader;
use crate::attr::Nest;
use crate::attr::structure::{I32 as FieldI32, U32 as FieldU32, structures};
use crate::attr::typed::{List, Structs, attributes};
use crate::error::{DecodeError, EncodeError};
use crate::message::{Flags, Message};

attributes! {
    /// An attribute of a message about limits: see [`CtLimits`].
    pub enum CtLimitAttr = "ovs_ct_limit_attr", "OVS_CT_LIMIT_ATTR_" {
        /// See [`CtLimits::zones`].
        ZONE_LIMIT = 1 => ZoneLimit(Structs<'a, ZoneLimit> as List<ZoneLimit>),
    }
}

structures! {
    /// The limit of a zone.
    pub struct ZoneLimit = "ovs_zone_limit" {
        /// The zone, or [`ZoneLimit::DEFAULT`].
        zone: i32 as FieldI32 = "zone_id",
        /// How many connections it may have; 0 for as many as there are.
        limit: u32 as FieldU32 = "limit",
        /// How many it has: in an answer.
        count: u32 as FieldU32 = "count",
    }
}

impl ZoneLimit {
    /// All zones that have no limit of their own (`OVS_ZONE_LIMIT_DEFAULT_ZONE`).
    pub const DEFAULT: i32 = -1;
}

/// What is asked of limits, or answered (`OVS_CT_LIMIT_CMD_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum CtLimitCommand {
    /// Set limits.
    Set = 1,
    /// Forget limits.
    Delete = 2,
    /// Say limits and counts: of the zones given, or of all that have a limit.
    Get = 3,
}

/// Limits of zones.
///
/// ```
/// use ovs_netlink::{Flags, Messages, ovs::{CtLimitCommand, CtLimits, ZoneLimit}};
///
/// let limit = ZoneLimit { zone: 7, limit: 1000, count: 0 };
/// let limits = CtLimits { dp_ifindex: 5, zones: vec![ZoneLimit { zone: ZoneLimit::DEFAULT, ..limit }, limit] };
/// let mut bytes = Vec::new();
/// limits.encode(&mut bytes, 35, CtLimitCommand::Set, Flags::REQUEST | Flags::ACK)?;
/// assert_eq!(CtLimits::decode(&Messages::new(&bytes).next().unwrap()?)?, limits);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CtLimits {
    /// The interface index of the datapath's local port. Limits are of the network namespace, whichever datapath it is.
    pub dp_ifindex: u32,
    /// The limits.
    pub zones: Vec<ZoneLimit>,
}

impl CtLimits {
    /// The name of the family (`OVS_CT_LIMIT_FAMILY`), and of its multicast group.
    pub const FAMILY: &'static str = "ovs_ct_limit";
    /// The version of the family (`OVS_CT_LIMIT_VERSION`).
    pub const VERSION: u8 = 1;

    /// Appends a message about these limits to `buffer`. `family` is the number that the controller gave for
    /// [`CtLimits::FAMILY`].
    ///
    /// # Errors
    /// [`EncodeError::AttributeTooLong`] for more than 5,460 zones.
    pub fn encode(
        &self,
        buffer: &mut Vec<u8>,
        family: u16,
        command: CtLimitCommand,
        flags: Flags,
    ) -> Result<(), EncodeError> {
        let CtLimits { dp_ifindex, zones } = self;
        let header = OvsHeader { dp_ifindex: *dp_ifindex };
        header.message(buffer, family, command as u8, CtLimits::VERSION, flags, |writer| {
            if zones.is_empty() {
                return Ok(());
            }
            writer.structs(CtLimitAttr::ZONE_LIMIT, zones.iter().copied()).map(drop)
        })
    }

    /// Reads a message of the family.
    ///
    /// # Errors
    /// [`DecodeError`] with the offset of the attribute that is wrong.
    pub fn decode(message: &Message<'_>) -> Result<CtLimits, DecodeError> {
        let OvsHeader { dp_ifindex } = OvsHeader::decode(message)?;
        let mut limits = CtLimits { dp_ifindex, zones: Vec::new() };
        for attribute in Nest::of(message, OvsHeader::ATTRIBUTES)? {
            if let CtLimitAttr::ZoneLimit(zones) = attribute? {
                limits.zones.extend(zones.iter());
            }
        }
        Ok(limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::DecodeErrorKind;
    use crate::message::Messages;

    #[test]
    fn limits_are_structures_without_headers() {
        let limit = |zone| ZoneLimit { zone, limit: 3, count: 1 };
        let limits = CtLimits { dp_ifindex: 2, zones: vec![limit(-1), limit(9)] };
        let mut bytes = Vec::new();
        limits.encode(&mut bytes, 35, CtLimitCommand::Get, Flags::REQUEST).unwrap();
        assert_eq!(bytes.len(), 24 + 4 + 24);
        assert_eq!(bytes[28..32], [0xff; 4]);
        let decode = |bytes: &[u8]| CtLimits::decode(&Messages::new(bytes).next().unwrap().unwrap());
        assert_eq!(decode(&bytes), Ok(limits));
        let cut = |writer: &mut crate::Writer<'_>| writer.bytes(CtLimitAttr::ZONE_LIMIT, &[0; 13]).map(drop);
        bytes.clear();
        OvsHeader::default().message(&mut bytes, 35, 3, 1, Flags::empty(), cut).unwrap();
        let kind = DecodeErrorKind::WrongSize { attribute: CtLimitAttr::ZONE_LIMIT, expected: 12, found: 13 };
        assert_eq!(decode(&bytes).unwrap_err().kind, kind);
    }
}

//! What can be wrong with a message: in OpenFlow's numbers, and with the place.

use std::fmt;

macro_rules! errors {
    ($($variant:ident = $kind:literal, $code:literal, $name:literal;)+) => {
        /// An error of OpenFlow 1.3 (section 7.4.4 of that specification), with the code points that it has on the
        /// wire.
        ///
        /// ```
        /// use ovs_ofproto::codec::OfError;
        ///
        /// assert_eq!(OfError::BadRequestBadType.code_point(), (1, 1));
        /// assert_eq!(OfError::from_code_point(1, 1), OfError::BadRequestBadType);
        /// assert_eq!(OfError::BadRequestBadType.to_string(), "OFPBRC_BAD_TYPE");
        /// assert_eq!(OfError::from_code_point(1, 999).code_point(), (1, 999));
        /// ```
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum OfError {
            $(
                #[doc = concat!("`", $name, "`.")]
                $variant,
            )+
            /// An error that has no name here. [`OfError::from_code_point`] makes it only of such.
            Other {
                /// `OFPET_*`.
                kind: u16,
                /// The code within the type.
                code: u16,
            },
        }

        impl OfError {
            /// All errors with a name.
            pub const NAMED: &'static [OfError] = &[$(OfError::$variant,)+];

            /// Type and code on the wire.
            pub const fn code_point(self) -> (u16, u16) {
                match self {
                    $(OfError::$variant => ($kind, $code),)+
                    OfError::Other { kind, code } => (kind, code),
                }
            }

            /// The error with this type and code.
            pub const fn from_code_point(kind: u16, code: u16) -> OfError {
                match (kind, code) {
                    $(($kind, $code) => OfError::$variant,)+
                    (kind, code) => OfError::Other { kind, code },
                }
            }

            /// The name that the specification gives it.
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(OfError::$variant => Some($name),)+
                    OfError::Other { .. } => None,
                }
            }
        }
    };
}

errors! {
    HelloIncompatible = 0, 0, "OFPHFC_INCOMPATIBLE";
    HelloPermission = 0, 1, "OFPHFC_EPERM";
    BadRequestBadVersion = 1, 0, "OFPBRC_BAD_VERSION";
    BadRequestBadType = 1, 1, "OFPBRC_BAD_TYPE";
    BadRequestBadMultipart = 1, 2, "OFPBRC_BAD_STAT";
    BadRequestBadExperimenter = 1, 3, "OFPBRC_BAD_VENDOR";
    BadRequestBadExperimenterType = 1, 4, "OFPBRC_BAD_SUBTYPE";
    BadRequestPermission = 1, 5, "OFPBRC_EPERM";
    BadRequestBadLength = 1, 6, "OFPBRC_BAD_LEN";
    BadRequestBufferEmpty = 1, 7, "OFPBRC_BUFFER_EMPTY";
    BadRequestBufferUnknown = 1, 8, "OFPBRC_BUFFER_UNKNOWN";
    BadRequestBadTable = 1, 9, "OFPBRC_BAD_TABLE_ID";
    BadRequestIsReplica = 1, 10, "OFPBRC_IS_SECONDARY";
    BadRequestBadPort = 1, 11, "OFPBRC_BAD_PORT";
    BadRequestBadPacket = 1, 12, "OFPBRC_BAD_PACKET";
    BadRequestMultipartOverflow = 1, 13, "OFPBRC_MULTIPART_BUFFER_OVERFLOW";
    BadActionBadType = 2, 0, "OFPBAC_BAD_TYPE";
    BadActionBadLength = 2, 1, "OFPBAC_BAD_LEN";
    BadActionBadExperimenter = 2, 2, "OFPBAC_BAD_VENDOR";
    BadActionBadExperimenterType = 2, 3, "OFPBAC_BAD_VENDOR_TYPE";
    BadActionBadPort = 2, 4, "OFPBAC_BAD_OUT_PORT";
    BadActionBadArgument = 2, 5, "OFPBAC_BAD_ARGUMENT";
    BadActionPermission = 2, 6, "OFPBAC_EPERM";
    BadActionTooMany = 2, 7, "OFPBAC_TOO_MANY";
    BadActionBadQueue = 2, 8, "OFPBAC_BAD_QUEUE";
    BadActionBadGroup = 2, 9, "OFPBAC_BAD_OUT_GROUP";
    BadActionMatchInconsistent = 2, 10, "OFPBAC_MATCH_INCONSISTENT";
    BadActionUnsupportedOrder = 2, 11, "OFPBAC_UNSUPPORTED_ORDER";
    BadActionBadTag = 2, 12, "OFPBAC_BAD_TAG";
    BadActionBadSetType = 2, 13, "OFPBAC_BAD_SET_TYPE";
    BadActionBadSetLength = 2, 14, "OFPBAC_BAD_SET_LEN";
    BadActionBadSetArgument = 2, 15, "OFPBAC_BAD_SET_ARGUMENT";
    BadInstructionUnknown = 3, 0, "OFPBIC_UNKNOWN_INST";
    BadInstructionUnsupported = 3, 1, "OFPBIC_UNSUP_INST";
    BadInstructionBadTable = 3, 2, "OFPBIC_BAD_TABLE_ID";
    BadInstructionMetadata = 3, 3, "OFPBIC_UNSUP_METADATA";
    BadInstructionMetadataMask = 3, 4, "OFPBIC_UNSUP_METADATA_MASK";
    BadInstructionBadExperimenter = 3, 5, "OFPBIC_BAD_EXPERIMENTER";
    BadInstructionBadExperimenterType = 3, 6, "OFPBIC_BAD_EXP_TYPE";
    BadInstructionBadLength = 3, 7, "OFPBIC_BAD_LEN";
    BadInstructionPermission = 3, 8, "OFPBIC_EPERM";
    BadInstructionDuplicate = 3, 9, "OFPBIC_DUP_INST";
    BadMatchBadType = 4, 0, "OFPBMC_BAD_TYPE";
    BadMatchBadLength = 4, 1, "OFPBMC_BAD_LEN";
    BadMatchBadTag = 4, 2, "OFPBMC_BAD_TAG";
    BadMatchBadEthMask = 4, 3, "OFPBMC_BAD_DL_ADDR_MASK";
    BadMatchBadIpMask = 4, 4, "OFPBMC_BAD_NW_ADDR_MASK";
    BadMatchBadWildcards = 4, 5, "OFPBMC_BAD_WILDCARDS";
    BadMatchBadField = 4, 6, "OFPBMC_BAD_FIELD";
    BadMatchBadValue = 4, 7, "OFPBMC_BAD_VALUE";
    BadMatchBadMask = 4, 8, "OFPBMC_BAD_MASK";
    BadMatchPrerequisite = 4, 9, "OFPBMC_BAD_PREREQ";
    BadMatchDuplicate = 4, 10, "OFPBMC_DUP_FIELD";
    BadMatchPermission = 4, 11, "OFPBMC_EPERM";
    FlowModUnknown = 5, 0, "OFPFMFC_UNKNOWN";
    FlowModTableFull = 5, 1, "OFPFMFC_TABLE_FULL";
    FlowModBadTable = 5, 2, "OFPFMFC_BAD_TABLE_ID";
    FlowModOverlap = 5, 3, "OFPFMFC_OVERLAP";
    FlowModPermission = 5, 4, "OFPFMFC_EPERM";
    FlowModBadTimeout = 5, 5, "OFPFMFC_BAD_TIMEOUT";
    FlowModBadCommand = 5, 6, "OFPFMFC_BAD_COMMAND";
    FlowModBadFlags = 5, 7, "OFPFMFC_BAD_FLAGS";
}

impl fmt::Display for OfError {
    /// The name in upstream's words, which for the older errors are those of OpenFlow 1.0.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "type {}, code {}", self.code_point().0, self.code_point().1),
        }
    }
}

/// Why bytes are no message: the error to answer with, what was being read, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{error} at byte {at}: {what}")]
#[non_exhaustive]
pub struct DecodeError {
    /// What an OFPT_ERROR would say.
    pub error: OfError,
    /// Byte offset from the beginning of the message.
    pub at: usize,
    /// What was expected there.
    pub what: &'static str,
}

/// Why a value has no bytes.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The message, or a structure in it, is longer than its 16-bit length can say.
    #[error("{what} is longer than 65535 bytes")]
    TooLong {
        /// The structure.
        what: &'static str,
    },
    /// This version of OpenFlow cannot say it.
    #[error("OpenFlow wire version {version:#04x} cannot express {what}")]
    NotInVersion {
        /// Wire version.
        version: u8,
        /// What it cannot say.
        what: &'static str,
    },
    /// No field of this version covers bits that are matched.
    #[error("the match has bits that no OXM field expresses, of field {field}")]
    Match {
        /// The first field of the table that has such bits.
        field: &'static str,
    },
    /// Actions are nested deeper than [`MAX_NESTING`](super::MAX_NESTING).
    #[error("actions are nested more than {} deep", super::MAX_NESTING)]
    TooDeep,
    /// The value contradicts itself, so that the receiver would refuse it.
    #[error("not sent because it would be refused: {what}")]
    Inconsistent {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A port number does not fit the 16 bits that an action has for it.
    #[error("port {0} does not fit in 16 bits")]
    Port(u32),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_one_to_one() {
        for e in OfError::NAMED {
            let (kind, code) = e.code_point();
            assert_eq!(OfError::from_code_point(kind, code), *e);
            assert!(OfError::NAMED.iter().filter(|o| o.name() == e.name()).count() == 1);
        }
        for kind in 0..20 {
            for code in 0..40 {
                assert_eq!(OfError::from_code_point(kind, code).code_point(), (kind, code));
            }
        }
    }
}

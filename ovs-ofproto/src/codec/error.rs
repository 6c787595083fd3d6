//! What can be wrong with a message: in OpenFlow's numbers, and with the place.
//!
//! A row of the table names an error and says, for runs of versions, by whose numbering and under which type and code
//! it goes there. Numbering 0 is OpenFlow's own. Two errors may share a number in a version that does not tell them
//! apart; the first is the one that is read.

use std::fmt;

use ovs_packet::field::{EXPERIMENTER_NX as NX, EXPERIMENTER_ONF as ONF};

use super::header::Version;
#[cfg(feature = "serde")]
use crate::json::form::*;

/// An error's place in the numbering of one version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct ErrorNumber {
    /// 0, or the experimenter.
    #[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))]
    pub experimenter: u32,
    /// The type (`OFPET_*`).
    #[cfg_attr(feature = "serde", serde(rename = "type"))]
    pub kind: u16,
    /// The code within the type; 0 for an experimenter's from OpenFlow 1.2 on, which have none.
    pub code: u16,
}

/// (experimenter, first version, last version, type, code)
type Run = (u32, u8, u8, u16, u16);

macro_rules! errors {
    ($($variant:ident = $name:literal, [$($run:expr),+];)+) => {
        /// An error that a switch answers with.
        ///
        /// ```
        /// use ovs_ofproto::codec::{OfError, Version};
        ///
        /// let number = OfError::BadRequestBadType.number(Version::V1_3).unwrap();
        /// assert_eq!((number.experimenter, number.kind, number.code), (0, 1, 1));
        /// assert_eq!(OfError::from_number(Version::V1_3, number), OfError::BadRequestBadType);
        /// assert_eq!(OfError::BadRequestBadType.to_string(), "OFPBRC_BAD_TYPE");
        /// ```
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum OfError {
            $(
                #[doc = concat!("`", $name, "`.")]
                $variant,
            )+
            /// An error that has no name here. [`OfError::from_number`] makes it only of such.
            Other(ErrorNumber),
        }

        const ROWS: &[(OfError, &str, &[Run])] = &[$((OfError::$variant, $name, &[$($run),+]),)+];

        impl OfError {
            fn row(self) -> Option<&'static (OfError, &'static str, &'static [Run])> {
                match self {
                    OfError::Other(_) => None,
                    named => ROWS.iter().find(|(error, ..)| *error == named),
                }
            }
        }
    };
}

errors! {
    HelloIncompatible = "OFPHFC_INCOMPATIBLE", [(0, 1, 6, 0, 0)];
    HelloPermission = "OFPHFC_EPERM", [(0, 1, 6, 0, 1)];
    BadRequestBadVersion = "OFPBRC_BAD_VERSION", [(0, 1, 6, 1, 0)];
    BadRequestBadType = "OFPBRC_BAD_TYPE", [(0, 1, 6, 1, 1)];
    BadRequestBadMultipart = "OFPBRC_BAD_STAT", [(0, 1, 6, 1, 2)];
    BadRequestBadExperimenter = "OFPBRC_BAD_VENDOR", [(0, 1, 6, 1, 3)];
    BadRequestBadExperimenterType = "OFPBRC_BAD_SUBTYPE", [(0, 1, 6, 1, 4)];
    BadRequestPermission = "OFPBRC_EPERM", [(0, 1, 6, 1, 5)];
    BadRequestBadLength = "OFPBRC_BAD_LEN", [(0, 1, 6, 1, 6)];
    BadRequestBufferEmpty = "OFPBRC_BUFFER_EMPTY", [(0, 1, 6, 1, 7)];
    BadRequestBufferUnknown = "OFPBRC_BUFFER_UNKNOWN", [(0, 1, 6, 1, 8)];
    BadRequestBadTable = "OFPBRC_BAD_TABLE_ID", [(NX, 1, 1, 1, 512), (0, 2, 6, 1, 9)];
    BadRequestIsReplica = "OFPBRC_IS_SECONDARY", [(0, 1, 2, 1, 5), (0, 3, 6, 1, 10)];
    BadRequestBadPort = "OFPBRC_BAD_PORT", [(NX, 1, 2, 1, 514), (0, 3, 6, 1, 11)];
    BadRequestBadPacket = "OFPBRC_BAD_PACKET", [(0, 3, 6, 1, 12)];
    BadRequestMultipartOverflow = "OFPBRC_MULTIPART_BUFFER_OVERFLOW", [(0, 4, 6, 1, 13)];
    BadRequestMultipartRequestTimeout = "OFPBRC_MULTIPART_REQUEST_TIMEOUT", [(ONF, 4, 4, 2640, 0), (0, 5, 6, 1, 14)];
    BadRequestMultipartReplyTimeout = "OFPBRC_MULTIPART_REPLY_TIMEOUT", [(ONF, 4, 4, 2641, 0), (0, 5, 6, 1, 15)];
    BadRequestMultipartBadSched = "OFPBRC_MULTIPART_BAD_SCHED", [(0, 6, 6, 1, 16)];
    BadRequestPipelineFieldsOnly = "OFPBRC_PIPELINE_FIELDS_ONLY", [(0, 6, 6, 1, 17)];
    BadRequestUnknown = "OFPBRC_UNKNOWN", [(0, 6, 6, 1, 18)];
    BadRequestNxmInvalid = "NXBRC_NXM_INVALID", [(NX, 1, 2, 1, 256), (NX, 3, 6, 2, 0)];
    BadRequestNxmBadType = "NXBRC_NXM_BAD_TYPE", [(NX, 1, 2, 1, 257), (NX, 3, 6, 3, 0)];
    BadRequestMustBeZero = "NXBRC_MUST_BE_ZERO", [(NX, 1, 2, 1, 515), (NX, 3, 6, 4, 0)];
    BadRequestBadReason = "NXBRC_BAD_REASON", [(NX, 1, 2, 1, 516), (NX, 3, 6, 5, 0)];
    BadRequestFmBadEvent = "NXBRC_FM_BAD_EVENT", [(NX, 1, 2, 1, 520), (NX, 3, 6, 9, 0)];
    BadRequestUnencodableError = "NXBRC_UNENCODABLE_ERROR", [(NX, 1, 2, 1, 521), (NX, 3, 6, 10, 0)];
    BadActionBadType = "OFPBAC_BAD_TYPE", [(0, 1, 6, 2, 0)];
    BadActionBadLength = "OFPBAC_BAD_LEN", [(0, 1, 6, 2, 1)];
    BadActionBadExperimenter = "OFPBAC_BAD_VENDOR", [(0, 1, 6, 2, 2)];
    BadActionBadExperimenterType = "OFPBAC_BAD_VENDOR_TYPE", [(0, 1, 6, 2, 3)];
    BadActionBadPort = "OFPBAC_BAD_OUT_PORT", [(0, 1, 6, 2, 4)];
    BadActionBadArgument = "OFPBAC_BAD_ARGUMENT", [(0, 1, 6, 2, 5)];
    BadActionPermission = "OFPBAC_EPERM", [(0, 1, 6, 2, 6)];
    BadActionTooMany = "OFPBAC_TOO_MANY", [(0, 1, 6, 2, 7)];
    BadActionBadQueue = "OFPBAC_BAD_QUEUE", [(0, 1, 6, 2, 8)];
    BadActionBadGroup = "OFPBAC_BAD_OUT_GROUP", [(NX, 1, 1, 2, 9), (0, 2, 6, 2, 9)];
    BadActionMatchInconsistent = "OFPBAC_MATCH_INCONSISTENT", [(NX, 1, 1, 1, 522), (0, 2, 6, 2, 10)];
    BadActionUnsupportedOrder = "OFPBAC_UNSUPPORTED_ORDER", [(0, 2, 6, 2, 11)];
    BadActionBadTag = "OFPBAC_BAD_TAG", [(0, 2, 6, 2, 12)];
    BadActionBadSetType = "OFPBAC_BAD_SET_TYPE", [(NX, 1, 2, 1, 523), (0, 3, 6, 2, 13)];
    BadActionBadSetLength = "OFPBAC_BAD_SET_LEN", [(NX, 1, 2, 1, 524), (0, 3, 6, 2, 14)];
    BadActionBadSetArgument = "OFPBAC_BAD_SET_ARGUMENT", [(NX, 1, 2, 1, 525), (0, 3, 6, 2, 15)];
    BadActionBadSetMask = "OFPBAC_BAD_SET_MASK", [(ONF, 4, 5, 4250, 0), (0, 6, 6, 2, 16)];
    BadActionBadMeter = "OFPBAC_BAD_METER", [(0, 6, 6, 2, 17)];
    BadActionMustBeZero = "NXBAC_MUST_BE_ZERO", [(NX, 1, 2, 2, 256), (NX, 3, 6, 11, 0)];
    BadActionBadConjunction = "NXBAC_BAD_CONJUNCTION", [(NX, 1, 2, 2, 526), (NX, 3, 6, 15, 0)];
    BadActionBadHeaderType = "NXBAC_BAD_HEADER_TYPE", [(NX, 4, 6, 39, 0)];
    BadActionUnknownEdProp = "NXBAC_UNKNOWN_ED_PROP", [(NX, 4, 6, 40, 0)];
    BadActionBadEdProp = "NXBAC_BAD_ED_PROP", [(NX, 4, 6, 41, 0)];
    BadActionCtDatapathSupport = "NXBAC_CT_DATAPATH_SUPPORT", [(NX, 1, 2, 1, 265), (NX, 3, 6, 42, 0)];
    BadInstructionUnknown = "OFPBIC_UNKNOWN_INST", [(0, 2, 6, 3, 0)];
    BadInstructionUnsupported = "OFPBIC_UNSUP_INST", [(NX, 1, 1, 2, 257), (0, 2, 6, 3, 1)];
    BadInstructionBadTable = "OFPBIC_BAD_TABLE_ID", [(0, 2, 6, 3, 2)];
    BadInstructionMetadata = "OFPBIC_UNSUP_METADATA", [(0, 2, 6, 3, 3)];
    BadInstructionMetadataMask = "OFPBIC_UNSUP_METADATA_MASK", [(0, 2, 6, 3, 4)];
    BadInstructionBadExperimenter = "OFPBIC_BAD_EXPERIMENTER", [(0, 2, 6, 3, 5)];
    BadInstructionBadExperimenterType = "OFPBIC_BAD_EXP_TYPE", [(0, 2, 2, 3, 5), (0, 3, 6, 3, 6)];
    BadInstructionBadLength = "OFPBIC_BAD_LEN", [(0, 3, 6, 3, 7)];
    BadInstructionPermission = "OFPBIC_EPERM", [(0, 3, 6, 3, 8)];
    BadInstructionDuplicate = "OFPBIC_DUP_INST", [(NX, 2, 2, 3, 256), (ONF, 3, 4, 2600, 0), (0, 5, 6, 3, 9)];
    BadMatchBadType = "OFPBMC_BAD_TYPE", [(0, 2, 6, 4, 0)];
    BadMatchBadLength = "OFPBMC_BAD_LEN", [(0, 2, 6, 4, 1)];
    BadMatchBadTag = "OFPBMC_BAD_TAG", [(0, 2, 6, 4, 2)];
    BadMatchBadEthMask = "OFPBMC_BAD_DL_ADDR_MASK", [(0, 2, 6, 4, 3)];
    BadMatchBadIpMask = "OFPBMC_BAD_NW_ADDR_MASK", [(0, 2, 6, 4, 4)];
    BadMatchBadWildcards = "OFPBMC_BAD_WILDCARDS", [(NX, 1, 1, 1, 262), (0, 2, 6, 4, 5)];
    BadMatchBadField = "OFPBMC_BAD_FIELD", [(NX, 1, 1, 0, 263), (0, 2, 6, 4, 6)];
    BadMatchBadValue = "OFPBMC_BAD_VALUE", [(NX, 1, 1, 1, 258), (0, 2, 6, 4, 7)];
    BadMatchBadMask = "OFPBMC_BAD_MASK", [(NX, 1, 2, 1, 259), (0, 3, 6, 4, 8)];
    BadMatchPrerequisite = "OFPBMC_BAD_PREREQ", [(NX, 1, 2, 1, 260), (0, 3, 6, 4, 9)];
    BadMatchDuplicate = "OFPBMC_DUP_FIELD", [(NX, 1, 2, 1, 261), (0, 3, 6, 4, 10)];
    BadMatchPermission = "OFPBMC_EPERM", [(0, 3, 6, 4, 11)];
    BadMatchCtDatapathSupport = "NXBMC_CT_DATAPATH_SUPPORT", [(NX, 1, 2, 1, 264), (NX, 3, 6, 43, 0)];
    FlowModUnknown = "OFPFMFC_UNKNOWN", [(0, 2, 6, 5, 0)];
    FlowModTableFull = "OFPFMFC_TABLE_FULL", [(0, 1, 1, 3, 0), (0, 2, 6, 5, 1)];
    FlowModBadTable = "OFPFMFC_BAD_TABLE_ID", [(0, 2, 6, 5, 2)];
    FlowModOverlap = "OFPFMFC_OVERLAP", [(0, 1, 1, 3, 1), (0, 2, 6, 5, 3)];
    FlowModPermission = "OFPFMFC_EPERM", [(0, 1, 1, 3, 2), (0, 2, 6, 5, 4)];
    FlowModBadTimeout = "OFPFMFC_BAD_TIMEOUT", [(0, 2, 6, 5, 5)];
    FlowModBadEmergTimeout = "OFPFMFC_BAD_EMERG_TIMEOUT", [(0, 1, 1, 3, 3)];
    FlowModBadCommand = "OFPFMFC_BAD_COMMAND", [(0, 1, 1, 3, 4), (0, 2, 6, 5, 6)];
    FlowModBadFlags = "OFPFMFC_BAD_FLAGS", [(NX, 1, 1, 3, 258), (NX, 2, 2, 5, 258), (0, 3, 6, 5, 7)];
    FlowModCantSync = "OFPFMFC_CANT_SYNC", [(0, 5, 6, 5, 8)];
    FlowModBadPriority = "OFPFMFC_BAD_PRIORITY", [(ONF, 4, 4, 2360, 0), (0, 5, 6, 5, 9)];
    FlowModIsSync = "OFPFMFC_IS_SYNC", [(0, 5, 6, 5, 10)];
    FlowModUnsupported = "OFPFMFC_UNSUPPORTED", [(0, 1, 1, 3, 5)];
    FlowModNxHardware = "NXFMFC_HARDWARE", [(NX, 1, 2, 5, 256), (NX, 3, 6, 12, 0)];
    FlowModNxBadTableId = "NXFMFC_BAD_TABLE_ID", [(NX, 1, 2, 5, 257), (NX, 3, 6, 13, 0)];
    FlowModNxInvalidTlvField = "NXFMFC_INVALID_TLV_FIELD", [(NX, 1, 2, 1, 536), (NX, 3, 6, 37, 0)];
    GroupModGroupExists = "OFPGMFC_GROUP_EXISTS", [(NX, 1, 1, 6, 0), (0, 2, 6, 6, 0)];
    GroupModInvalidGroup = "OFPGMFC_INVALID_GROUP", [(NX, 1, 1, 6, 1), (0, 2, 6, 6, 1)];
    GroupModWeightUnsupported = "OFPGMFC_WEIGHT_UNSUPPORTED", [(NX, 1, 1, 6, 2), (0, 2, 6, 6, 2)];
    GroupModOutOfGroups = "OFPGMFC_OUT_OF_GROUPS", [(NX, 1, 1, 6, 3), (0, 2, 6, 6, 3)];
    GroupModOutOfBuckets = "OFPGMFC_OUT_OF_BUCKETS", [(NX, 1, 1, 6, 4), (0, 2, 6, 6, 4)];
    GroupModChainingUnsupported = "OFPGMFC_CHAINING_UNSUPPORTED", [(NX, 1, 1, 6, 5), (0, 2, 6, 6, 5)];
    GroupModWatchUnsupported = "OFPGMFC_WATCH_UNSUPPORTED", [(NX, 1, 1, 6, 6), (0, 2, 6, 6, 6)];
    GroupModLoop = "OFPGMFC_LOOP", [(NX, 1, 1, 6, 7), (0, 2, 6, 6, 7)];
    GroupModUnknownGroup = "OFPGMFC_UNKNOWN_GROUP", [(NX, 1, 1, 6, 8), (0, 2, 6, 6, 8)];
    GroupModChainedGroup = "OFPGMFC_CHAINED_GROUP", [(NX, 1, 1, 6, 9), (0, 3, 6, 6, 9)];
    GroupModBadType = "OFPGMFC_BAD_TYPE", [(NX, 1, 1, 6, 10), (0, 3, 6, 6, 10)];
    GroupModBadCommand = "OFPGMFC_BAD_COMMAND", [(NX, 1, 1, 6, 11), (0, 3, 6, 6, 11)];
    GroupModBadBucket = "OFPGMFC_BAD_BUCKET", [(NX, 1, 1, 6, 12), (0, 3, 6, 6, 12)];
    GroupModBadWatch = "OFPGMFC_BAD_WATCH", [(NX, 1, 1, 6, 13), (0, 3, 6, 6, 13)];
    GroupModEperm = "OFPGMFC_EPERM", [(NX, 1, 1, 6, 14), (0, 3, 6, 6, 14)];
    GroupModUnknownBucket = "OFPGMFC_UNKNOWN_BUCKET", [(NX, 1, 1, 6, 15), (0, 6, 6, 6, 15)];
    GroupModBucketExists = "OFPGMFC_BUCKET_EXISTS", [(NX, 1, 1, 6, 16), (0, 6, 6, 6, 16)];
    PortModBadPort = "OFPPMFC_BAD_PORT", [(0, 1, 1, 4, 0), (0, 2, 6, 7, 0)];
    PortModBadHwAddr = "OFPPMFC_BAD_HW_ADDR", [(0, 1, 1, 4, 1), (0, 2, 6, 7, 1)];
    PortModBadConfig = "OFPPMFC_BAD_CONFIG", [(0, 2, 6, 7, 2)];
    PortModBadAdvertise = "OFPPMFC_BAD_ADVERTISE", [(0, 2, 6, 7, 3)];
    PortModEperm = "OFPPMFC_EPERM", [(0, 3, 6, 7, 4)];
    TableModBadTable = "OFPTMFC_BAD_TABLE", [(0, 2, 6, 8, 0)];
    TableModBadConfig = "OFPTMFC_BAD_CONFIG", [(0, 2, 6, 8, 1)];
    TableModEperm = "OFPTMFC_EPERM", [(0, 3, 6, 8, 2)];
    QueueOpBadPort = "OFPQOFC_BAD_PORT", [(0, 1, 1, 5, 0), (0, 2, 6, 9, 0)];
    QueueOpBadQueue = "OFPQOFC_BAD_QUEUE", [(0, 1, 1, 5, 1), (0, 2, 6, 9, 1)];
    QueueOpEperm = "OFPQOFC_EPERM", [(0, 1, 1, 5, 2), (0, 2, 6, 9, 2)];
    QueueOpQueueError = "NXQOFC_QUEUE_ERROR", [(NX, 5, 6, 23, 0)];
    SwitchConfigBadFlags = "OFPSCFC_BAD_FLAGS", [(0, 2, 6, 10, 0)];
    SwitchConfigBadLen = "OFPSCFC_BAD_LEN", [(0, 2, 6, 10, 1)];
    SwitchConfigEperm = "OFPSCFC_EPERM", [(0, 3, 6, 10, 2)];
    RoleRequestStale = "OFPRRFC_STALE", [(0, 3, 6, 11, 0)];
    RoleRequestUnsup = "OFPRRFC_UNSUP", [(0, 3, 6, 11, 1)];
    RoleRequestBadRole = "OFPRRFC_BAD_ROLE", [(NX, 1, 2, 1, 513), (0, 3, 6, 11, 2)];
    RoleRequestIdUnsup = "OFPRRFC_ID_UNSUP", [(0, 6, 6, 11, 3)];
    RoleRequestIdInUse = "OFPRRFC_ID_IN_USE", [(0, 6, 6, 11, 4)];
    MeterModUnknown = "OFPMMFC_UNKNOWN", [(0, 4, 6, 12, 0)];
    MeterModMeterExists = "OFPMMFC_METER_EXISTS", [(0, 4, 6, 12, 1)];
    MeterModInvalidMeter = "OFPMMFC_INVALID_METER", [(0, 4, 6, 12, 2)];
    MeterModUnknownMeter = "OFPMMFC_UNKNOWN_METER", [(0, 4, 6, 12, 3)];
    MeterModBadCommand = "OFPMMFC_BAD_COMMAND", [(0, 4, 6, 12, 4)];
    MeterModBadFlags = "OFPMMFC_BAD_FLAGS", [(0, 4, 6, 12, 5)];
    MeterModBadRate = "OFPMMFC_BAD_RATE", [(0, 4, 6, 12, 6)];
    MeterModBadBurst = "OFPMMFC_BAD_BURST", [(0, 4, 6, 12, 7)];
    MeterModBadBand = "OFPMMFC_BAD_BAND", [(0, 4, 6, 12, 8)];
    MeterModBadBandValue = "OFPMMFC_BAD_BAND_VALUE", [(0, 4, 6, 12, 9)];
    MeterModOutOfMeters = "OFPMMFC_OUT_OF_METERS", [(0, 4, 6, 12, 10)];
    MeterModOutOfBands = "OFPMMFC_OUT_OF_BANDS", [(0, 4, 6, 12, 11)];
    TableFeaturesBadTable = "OFPTFFC_BAD_TABLE", [(0, 4, 6, 13, 0)];
    TableFeaturesBadMetadata = "OFPTFFC_BAD_METADATA", [(0, 4, 6, 13, 1)];
    TableFeaturesEperm = "OFPTFFC_EPERM", [(0, 4, 6, 13, 5)];
    TableFeaturesBadCapa = "OFPTFFC_BAD_CAPA", [(0, 6, 6, 13, 6)];
    TableFeaturesBadMaxEnt = "OFPTFFC_BAD_MAX_ENT", [(0, 6, 6, 13, 7)];
    TableFeaturesBadFeatures = "OFPTFFC_BAD_FEATURES", [(0, 6, 6, 13, 8)];
    TableFeaturesBadCommand = "OFPTFFC_BAD_COMMAND", [(0, 6, 6, 13, 9)];
    TableFeaturesTooMany = "OFPTFFC_TOO_MANY", [(0, 6, 6, 13, 10)];
    TableFeaturesDupTable = "NXTFFC_DUP_TABLE", [(NX, 4, 6, 44, 0)];
    BadPropertyBadType = "OFPBPC_BAD_TYPE", [(NX, 1, 2, 13, 2), (NX, 3, 3, 25, 0), (0, 4, 4, 13, 2), (0, 5, 6, 14, 0)];
    BadPropertyBadLength = "OFPBPC_BAD_LEN", [(NX, 1, 2, 13, 3), (NX, 3, 3, 26, 0), (0, 4, 4, 13, 3), (0, 5, 6, 14, 1)];
    BadPropertyBadValue = "OFPBPC_BAD_VALUE", [(NX, 1, 2, 13, 4), (NX, 3, 3, 27, 0), (0, 4, 4, 13, 4), (0, 5, 6, 14, 2)];
    BadPropertyTooMany = "OFPBPC_TOO_MANY", [(NX, 1, 2, 14, 3), (NX, 3, 3, 28, 0), (ONF, 4, 4, 4443, 0), (0, 5, 6, 14, 3)];
    BadPropertyDupType = "OFPBPC_DUP_TYPE", [(NX, 1, 2, 14, 4), (NX, 3, 3, 29, 0), (ONF, 4, 4, 4444, 0), (0, 5, 6, 14, 4)];
    BadPropertyBadExperimenter = "OFPBPC_BAD_EXPERIMENTER", [(NX, 1, 2, 14, 5), (NX, 3, 3, 30, 0), (ONF, 4, 4, 4445, 0), (0, 5, 6, 14, 5)];
    BadPropertyBadExperimenterType = "OFPBPC_BAD_EXP_TYPE", [(NX, 1, 2, 14, 6), (NX, 3, 3, 31, 0), (ONF, 4, 4, 4446, 0), (0, 5, 6, 14, 6)];
    BadPropertyBadExpValue = "OFPBPC_BAD_EXP_VALUE", [(NX, 1, 2, 14, 7), (NX, 3, 3, 32, 0), (ONF, 4, 4, 4447, 0), (0, 5, 6, 14, 7)];
    BadPropertyEperm = "OFPBPC_EPERM", [(NX, 1, 2, 14, 8), (NX, 3, 3, 33, 0), (ONF, 4, 4, 4448, 0), (0, 5, 6, 14, 8)];
    AsyncConfigInvalid = "OFPACFC_INVALID", [(ONF, 4, 4, 2370, 0), (0, 5, 6, 15, 0)];
    AsyncConfigUnsupported = "OFPACFC_UNSUPPORTED", [(ONF, 4, 4, 2371, 0), (0, 5, 6, 15, 1)];
    AsyncConfigEperm = "OFPACFC_EPERM", [(ONF, 4, 4, 2372, 0), (0, 5, 6, 15, 2)];
    BundleUnknown = "OFPBFC_UNKNOWN", [(ONF, 4, 4, 2300, 0), (0, 5, 6, 17, 0)];
    BundleEperm = "OFPBFC_EPERM", [(ONF, 4, 4, 2301, 0), (0, 5, 6, 17, 1)];
    BundleBadId = "OFPBFC_BAD_ID", [(ONF, 4, 4, 2302, 0), (0, 5, 6, 17, 2)];
    BundleBundleExist = "OFPBFC_BUNDLE_EXIST", [(ONF, 4, 4, 2303, 0), (0, 5, 6, 17, 3)];
    BundleBundleClosed = "OFPBFC_BUNDLE_CLOSED", [(ONF, 4, 4, 2304, 0), (0, 5, 6, 17, 4)];
    BundleOutOfBundles = "OFPBFC_OUT_OF_BUNDLES", [(ONF, 4, 4, 2305, 0), (0, 5, 6, 17, 5)];
    BundleBadType = "OFPBFC_BAD_TYPE", [(ONF, 4, 4, 2306, 0), (0, 5, 6, 17, 6)];
    BundleBadFlags = "OFPBFC_BAD_FLAGS", [(ONF, 4, 4, 2307, 0), (0, 5, 6, 17, 7)];
    BundleMsgBadLen = "OFPBFC_MSG_BAD_LEN", [(ONF, 4, 4, 2308, 0), (0, 5, 6, 17, 8)];
    BundleMsgBadXid = "OFPBFC_MSG_BAD_XID", [(ONF, 4, 4, 2309, 0), (0, 5, 6, 17, 9)];
    BundleMsgUnsup = "OFPBFC_MSG_UNSUP", [(ONF, 4, 4, 2310, 0), (0, 5, 6, 17, 10)];
    BundleMsgConflict = "OFPBFC_MSG_CONFLICT", [(ONF, 4, 4, 2311, 0), (0, 5, 6, 17, 11)];
    BundleMsgTooMany = "OFPBFC_MSG_TOO_MANY", [(ONF, 4, 4, 2312, 0), (0, 5, 6, 17, 12)];
    BundleMsgFailed = "OFPBFC_MSG_FAILED", [(ONF, 4, 4, 2313, 0), (0, 5, 6, 17, 13)];
    BundleTimeout = "OFPBFC_TIMEOUT", [(ONF, 4, 4, 2314, 0), (0, 5, 6, 17, 14)];
    BundleBundleInProgress = "OFPBFC_BUNDLE_IN_PROGRESS", [(ONF, 4, 4, 2315, 0), (0, 5, 6, 17, 15)];
    BundleSchedNotSupported = "OFPBFC_SCHED_NOT_SUPPORTED", [(0, 6, 6, 17, 16)];
    BundleSchedFuture = "OFPBFC_SCHED_FUTURE", [(0, 6, 6, 17, 17)];
    BundleSchedPast = "OFPBFC_SCHED_PAST", [(0, 6, 6, 17, 18)];
    BundleBadVersion = "OFPBFC_BAD_VERSION", [(NX, 5, 6, 22, 0)];
    FlowMonitorUnknown = "OFPMOFC_UNKNOWN", [(0, 5, 6, 16, 0)];
    FlowMonitorMonitorExists = "OFPMOFC_MONITOR_EXISTS", [(NX, 1, 2, 1, 517), (NX, 3, 4, 6, 0), (0, 5, 6, 16, 1)];
    FlowMonitorInvalidMonitor = "OFPMOFC_INVALID_MONITOR", [(0, 5, 6, 16, 2)];
    FlowMonitorUnknownMonitor = "OFPMOFC_UNKNOWN_MONITOR", [(NX, 1, 2, 1, 519), (NX, 3, 4, 8, 0), (0, 5, 6, 16, 3)];
    FlowMonitorBadCommand = "OFPMOFC_BAD_COMMAND", [(0, 5, 6, 16, 4)];
    FlowMonitorBadFlags = "OFPMOFC_BAD_FLAGS", [(NX, 1, 2, 1, 518), (NX, 3, 4, 7, 0), (0, 5, 6, 16, 5)];
    FlowMonitorBadTableId = "OFPMOFC_BAD_TABLE_ID", [(0, 5, 6, 16, 6)];
    FlowMonitorBadOut = "OFPMOFC_BAD_OUT", [(0, 5, 6, 16, 7)];
    TlvTableModBadCommand = "NXTTMFC_BAD_COMMAND", [(NX, 1, 2, 1, 527), (NX, 3, 6, 16, 0)];
    TlvTableModBadOptLen = "NXTTMFC_BAD_OPT_LEN", [(NX, 1, 2, 1, 528), (NX, 3, 6, 17, 0)];
    TlvTableModBadFieldIdx = "NXTTMFC_BAD_FIELD_IDX", [(NX, 1, 2, 1, 529), (NX, 3, 6, 18, 0)];
    TlvTableModTableFull = "NXTTMFC_TABLE_FULL", [(NX, 1, 2, 1, 530), (NX, 3, 6, 19, 0)];
    TlvTableModAlreadyMapped = "NXTTMFC_ALREADY_MAPPED", [(NX, 1, 2, 1, 531), (NX, 3, 6, 20, 0)];
    TlvTableModDupEntry = "NXTTMFC_DUP_ENTRY", [(NX, 1, 2, 1, 532), (NX, 3, 6, 21, 0)];
    TlvTableModInvalidTlvDel = "NXTTMFC_INVALID_TLV_DEL", [(NX, 1, 2, 1, 537), (NX, 3, 6, 38, 0)];
    ResumeNotSupported = "NXR_NOT_SUPPORTED", [(NX, 1, 2, 1, 533), (NX, 3, 6, 34, 0)];
    ResumeStale = "NXR_STALE", [(NX, 1, 2, 1, 534), (NX, 3, 6, 35, 0)];
    StatsNotConfigured = "NXST_NOT_CONFIGURED", [(NX, 1, 2, 1, 535), (NX, 3, 6, 36, 0)];
}

impl OfError {
    /// All errors with a name.
    pub fn named() -> impl Iterator<Item = OfError> {
        ROWS.iter().map(|(error, ..)| *error)
    }

    /// The error called `name`, such as `OFPBRC_BAD_TYPE`.
    pub fn by_name(name: &str) -> Option<OfError> {
        ROWS.iter().find(|(_, n, _)| *n == name).map(|(error, ..)| *error)
    }

    /// The name that upstream gives it, which for the older errors is that of OpenFlow 1.0.
    pub fn name(self) -> Option<&'static str> {
        self.row().map(|(_, name, _)| *name)
    }

    /// Its place in the numbering of `version`, if that can say it.
    pub fn number(self, version: Version) -> Option<ErrorNumber> {
        if let OfError::Other(number) = self {
            return Some(number);
        }
        let (_, _, runs) = self.row()?;
        let run = runs.iter().find(|(_, since, until, ..)| (*since..=*until).contains(&version.0));
        run.map(|(experimenter, _, _, kind, code)| ErrorNumber {
            experimenter: *experimenter,
            kind: *kind,
            code: *code,
        })
    }

    /// The error that has this place in the numbering of `version`.
    pub fn from_number(version: Version, number: ErrorNumber) -> OfError {
        let found = ROWS.iter().find(|(error, ..)| error.number(version) == Some(number));
        found.map_or(OfError::Other(number), |(error, ..)| *error)
    }
}

impl fmt::Display for OfError {
    /// The name in upstream's words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OfError::Other(ErrorNumber { experimenter: 0, kind, code }) => write!(f, "type {kind}, code {code}"),
            OfError::Other(n) => write!(f, "experimenter {:#x}, type {}, code {}", n.experimenter, n.kind, n.code),
            named => f.write_str(named.name().unwrap_or_default()),
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
    /// Where in the message the list of actions is that it was met in, and how long: none, if it is of no length.
    pub(super) list: (u16, u16),
}

impl DecodeError {
    /// An error that was not met in a list of actions.
    pub(crate) const fn new(error: OfError, at: usize, what: &'static str) -> DecodeError {
        DecodeError { error, at, what, list: (0, 0) }
    }

    /// The same, met in the list of `len` bytes that begins `start` bytes behind the message's first.
    #[cold]
    pub(super) fn in_list(self, start: usize, len: usize) -> DecodeError {
        let list = u16::try_from(start).ok().zip(u16::try_from(len).ok());
        DecodeError { list: list.unwrap_or_default(), ..self }
    }

    /// The list of actions of `message` that the error was met in, with the error as reading the list alone gives it; nothing
    /// for what is wrong elsewhere.
    ///
    /// ```
    /// use ovs_ofproto::Action;
    /// use ovs_ofproto::codec::{Message, Version};
    ///
    /// let mut message = Message::from("actions=output:1".parse::<ovs_ofproto::FlowMod>()?).encode(Version::V1_0, 1)?;
    /// let end = message.len();
    /// message[end - 5] = 16;
    /// let error = Message::decode(&message).unwrap_err();
    /// let (list, within) = error.actions(&message).unwrap();
    /// assert_eq!((list.len(), within.at), (8, 0));
    /// assert_eq!(Action::decode_list(list, Version::V1_0), Err(within));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn actions<'m>(&self, message: &'m [u8]) -> Option<(&'m [u8], DecodeError)> {
        let (start, len) = (usize::from(self.list.0), self.list.1);
        let list = message.get(start..)?.get(..len.into()).filter(|list| !list.is_empty())?;
        Some((list, DecodeError { at: self.at.checked_sub(start)?, list: (0, len), ..*self }))
    }
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
    fn names_and_numbers_lead_to_each_other() {
        assert_eq!(ROWS.len(), 198);
        for error in OfError::named() {
            assert_eq!(OfError::by_name(error.name().unwrap()), Some(error));
            for version in Version::KNOWN {
                let Some(number) = error.number(version) else { continue };
                let read = OfError::from_number(version, number);
                // Errors that later versions tell apart.
                let shared = [
                    (OfError::BadInstructionBadExperimenterType, OfError::BadInstructionBadExperimenter),
                    (OfError::BadRequestIsReplica, OfError::BadRequestPermission),
                ];
                assert!(read == error || shared.contains(&(error, read)), "{error} in {version} is {read}");
            }
        }
        let other = ErrorNumber { experimenter: 0, kind: 1, code: 999 };
        assert_eq!(OfError::from_number(Version::V1_3, other).number(Version::V1_0), Some(other));
    }
}

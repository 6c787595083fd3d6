//! OpenFlow on the wire: bytes to messages and back, without a socket, a thread or a clock.
//!
//! # How to use it
//!
//! A [`Framer`] cuts a byte stream into messages, [`Message::decode`] reads one, [`Message::encode`] writes one:
//!
//! ```
//! use ovs_ofproto::codec::{Framer, Message, Version};
//!
//! let bytes = Message::EchoRequest(b"are you there".to_vec()).encode(Version::V1_3, 7)?;
//! let mut framer = Framer::new();
//! framer.push(&bytes[..5]);
//! assert!(framer.next().is_none());
//! framer.push(&bytes[5..]);
//! let frame = framer.next().unwrap()?;
//! let (header, message) = Message::decode(&frame)?;
//! assert_eq!(header.xid, 7);
//! assert_eq!(message, Message::EchoRequest(b"are you there".to_vec()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is where
//!
//! - `header`: [`Version`], [`MessageType`], [`Header`]; `frame`: [`Framer`]; `kind`: the table of [message kinds](Kind);
//! - `error`: the table of [errors](OfError), the numbers that go into an OFPT_ERROR, and [`DecodeError`], which adds the
//!   place; `action`: the table of the encodings of actions, and their bodies;
//! - `message`: [`Message`], the same for all versions; the bodies of hot messages have a function each way (`flow`,
//!   `packet`, `monitor`), the others one for both (`hello`, `report`, `port`, `table`, `group`, `meter`, `switch`, `tlv`,
//!   `connection`, `ipfix`, by `io`); `property`: what structures may have beside; `continuation`: what a switch may say of a packet that waits;
//! - `oxm`: fields and matches as TLVs, by the [table of fields](ovs_packet::field); `matching`: the matches of
//!   OpenFlow 1.0 and 1.1, and which form a version has; `instruction`; `check`: whether what a flow does fits what it
//!   matches ([`check_flow`]);
//! - `cursor`: the one reader, the one writer and the one way to write a structure that begins with its length.
//!
//! # What is spoken
//!
//! OpenFlow 1.0 to 1.5 with the extensions of Nicira and the ONF: all 161 kinds of messages that upstream knows, each a
//! typed value. A [`Message`] says the same in every version: which message it is there, and in which numbers, the tables
//! tell; what a version cannot say is refused by [`Message::encode`]. Tunnel options in matches and actions are kept
//! with the lengths that they have on the wire; whether a switch's table of options has them, it must ask
//! [`TlvTable::place`](ovs_packet::field::TlvTable::place).
//!
//! What there is of OpenFlow beyond upstream is not spoken: auxiliary connections, controller status, flow statistics
//! triggers and the light flow statistics of OpenFlow 1.5 (its OFPMP_FLOW_STATS), scheduled bundles, synchronised tables.
//! Optical and pipeline properties of ports are typed; experimenters' properties of ports, tables, queues, roles, bundles
//! and what comes unasked, and types that nobody knows, survive as their bytes, as do experimenters' messages and
//! multipart messages. [`Message::not_understood`] is what a switch answers that a change asks for one of them. Within
//! flows, groups and meters there are none: an action, an instruction, a field or a band of another experimenter is
//! refused. A message that nests another ([`BundleAdd`], forwarded requests) keeps its bytes.
//!
//! What is wrong is refused with the error that OpenFlow has for it, never skipped: a switch that half understands a
//! flow must not install it. Only packet-ins are read loosely, as fields that are not known do no harm there.
//!
//! # Invariants
//!
//! No input panics or recurses deeper than [`MAX_NESTING`] actions. What is decoded is at most a small multiple of
//! the input's 64 KiB. [`PacketInView`] and [`FlowStatsReader`] allocate nothing. `decode(encode(v)) == v` for what has
//! one encoding in the version; several say the same in some: the port sets of OpenFlow 1.0 are sets of a field later.

#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::arithmetic_side_effects
    )
)]

pub(crate) mod action;
pub(crate) mod check;
mod connection;
mod continuation;
mod cursor;
mod error;
mod flow;
mod flow_writer;
mod forms;
mod frame;
mod group;
mod header;
mod hello;
mod instruction;
mod io;
mod ipfix;
mod kind;
mod matching;
mod message;
mod meter;
mod monitor;
mod options;
mod oxm;
mod packet;
mod port;
mod property;
mod report;
mod switch;
mod table;
#[cfg(test)]
pub(crate) mod tests;
mod tlv;

pub use action::{Complaint, MAX_NESTING};
pub use check::check_flow;
pub use connection::{CtFlush, CtTuple};
pub use continuation::{Continuation, Remaining};
pub use cursor::{Reader, Writer};
pub use error::{DecodeError, EncodeError, ErrorNumber, OfError};
pub use flow::{
    AggregateStats, FlowRemoved, FlowStats, FlowStatsReader, FlowStatsReply, FlowStatsRequest, FlowStatsView,
};
pub use flow_writer::FlowStatsWriter;
pub use forms::{MatchAndCookie, MatchForm, check_flow_in, decode_match, encode_match, encode_nearest_match};
pub use frame::{FrameError, Framer};
pub use group::{Bucket, GroupDesc, GroupFeatures, GroupMod, GroupStats, Selection};
pub use header::{Header, MessageType, Version};
pub use hello::{Hello, Versions, negotiate};
pub use ipfix::IpfixStats;
pub use kind::{Kind, MessageKind};
pub use message::{Experimenter, Message, Page, Part};
pub use meter::{Band, MeterConfig, MeterFeatures, MeterMod, MeterStats};
pub use monitor::{FlowChange, FlowEvent, FlowMonitorRequest, FlowUpdate, MonitorCommand, MonitorFlags};
pub use options::check_options;
#[cfg(feature = "pipeline")]
pub(crate) use options::options_named;
pub use packet::{NO_BUFFER, PacketIn, PacketInReason, PacketInView, PacketOut};
pub use port::{CustomCounter, Port, PortMod, PortRequest, PortStats, PortStatus};
pub use property::{
    FieldHeader, OpticalPort, OpticalPortMod, OpticalPortStats, PortModProperty, PortProperty, PortStatsProperty,
    RawProperty,
};
pub use report::{Capabilities, ErrorMessage, FeaturesReply, SwitchConfig};
pub use switch::{
    AsyncConfig, BundleAdd, BundleControl, Description, Queue, QueueRequest, QueueStats, QueueStatsRequest, Role,
    RoleStatus,
};
pub use table::{
    ActionAbilities, InstructionAbilities, TableAbilities, TableDesc, TableFeatures, TableMiss, TableMod, TableStats,
    TableStatus,
};
pub use tlv::{TlvTableMod, TlvTableReply};

use crate::action::{Action, Instructions};

impl Action {
    /// Reads a list of actions as it stands in a message of `version`.
    ///
    /// # Errors
    /// What is no action there, with its place.
    ///
    /// ```
    /// use ovs_ofproto::Action;
    /// use ovs_ofproto::codec::Version;
    ///
    /// let actions = [Action::PushVlan(0x8100), Action::DecTtl];
    /// let bytes = Action::encode_list(&actions, Version::V1_3)?;
    /// assert_eq!(Action::decode_list(&bytes, Version::V1_3)?, actions);
    /// assert!(Action::encode_list(&actions, Version::V1_0).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn decode_list(bytes: &[u8], version: Version) -> Result<Vec<Action>, DecodeError> {
        let actions = action::decode(Reader::new(bytes), version, 0)?;
        // An action in the flows of OpenFlow 1.0 alone, where it stands for the instruction.
        let (error, what) = (OfError::BadInstructionUnsupported, "no instruction");
        match actions.iter().any(|a| matches!(a, Action::WriteMetadata(..))) {
            true => Err(DecodeError::new(error, 0, what)),
            false => Ok(actions),
        }
    }

    /// What upstream's log says of a list that [`decode_list`](Action::decode_list) refused: a line that names the action, if
    /// there is one, and the bytes of all, if one could not be read.
    ///
    /// ```
    /// use ovs_ofproto::Action;
    /// use ovs_ofproto::codec::Version;
    ///
    /// let bytes = [0, 0, 0, 16, 0, 1, 0, 0];
    /// let error = Action::decode_list(&bytes, Version::V1_0).unwrap_err();
    /// let lines = Action::complaints(&bytes, Version::V1_0, &error);
    /// assert_eq!(lines[0].says, "OpenFlow action OFPAT_OUTPUT length 16 exceeds action buffer length 8");
    /// assert_eq!(lines[1].says, "bad action at offset 0 (OFPBAC_BAD_LEN):\n00000000  00 00 00 10 00 01 00 00-");
    /// ```
    pub fn complaints(bytes: &[u8], version: Version, error: &DecodeError) -> Vec<Complaint> {
        Complaint::all(bytes, version, error)
    }

    /// Writes a list of actions as it stands in a message of `version`.
    ///
    /// # Errors
    /// If the version cannot say it.
    pub fn encode_list(actions: &[Action], version: Version) -> Result<Vec<u8>, EncodeError> {
        let mut w = Writer::new();
        action::encode(actions, &mut w, version, 0)?;
        Ok(w.into_bytes())
    }
}

impl Instructions {
    /// Reads instructions as they stand in a message of `version`; in OpenFlow 1.0, actions.
    ///
    /// # Errors
    /// What is no instruction there, with its place.
    pub fn decode(bytes: &[u8], version: Version) -> Result<Instructions, DecodeError> {
        instruction::decode(&mut Reader::new(bytes), version)
    }

    /// Writes instructions as they stand in a message of `version`.
    ///
    /// # Errors
    /// If the version cannot say them.
    pub fn encode(&self, version: Version) -> Result<Vec<u8>, EncodeError> {
        let mut w = Writer::new();
        instruction::encode(self, &mut w, version)?;
        Ok(w.into_bytes())
    }
}

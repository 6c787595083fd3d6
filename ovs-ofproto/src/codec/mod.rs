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
//! - `header`: [`Version`], [`MessageType`], [`Header`]; `frame`: [`Framer`];
//! - `message`: [`Message`], which dispatches to `hello`, `packet` (packet-in and packet-out), `flow` (flow-mod and flow
//!   statistics) and `report` (error and features);
//! - `oxm`: matches and single fields as OXM TLVs, driven by the [table of fields](ovs_packet::field);
//! - `action`, `nicira`, `instruction`: what flows do; `check`: whether that fits what they match ([`check_flow`]);
//! - `cursor`: the one reader, the one writer and the one way to write a structure that begins with its length;
//! - `error`: [`OfError`], the numbers that go into an OFPT_ERROR, and [`DecodeError`], which adds the place.
//!
//! # What is spoken
//!
//! Hello, error and echo in every version; everything else in OpenFlow 1.3 (wire version 0x04) with the Nicira
//! extensions that [`Action`](crate::Action) has values for. Whatever else arrives is refused with the error that
//! OpenFlow has for it, never skipped: a switch that half understands a flow must not install it.
//!
//! # Invariants
//!
//! No input panics or recurses deeper than [`MAX_NESTING`] actions. What is decoded is at most a small multiple of
//! the input's 64 KiB. `decode(encode(v)) == v` for what can be encoded, and `encode(decode(b)) == b` for canonical
//! bytes: zero padding, fields in the order of the encoder, no empty instruction, the standard action where there are
//! two encodings.

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
mod cursor;
mod error;
mod flow;
mod frame;
mod group;
mod header;
mod hello;
mod instruction;
mod io;
mod kind;
mod matching;
mod message;
mod meter;
mod oxm;
mod packet;
mod port;
mod report;
mod switch;
mod table;

pub use action::MAX_NESTING;
pub use check::check_flow;
pub use cursor::{Reader, Writer};
pub use error::{DecodeError, EncodeError, ErrorNumber, OfError};
pub use flow::{
    AggregateStats, FlowRemoved, FlowStats, FlowStatsReader, FlowStatsReply, FlowStatsRequest, FlowStatsView,
};
pub use frame::{FrameError, Framer};
pub use group::{Bucket, GroupDesc, GroupFeatures, GroupMod, GroupStats, Selection};
pub use header::{Header, MessageType, Version};
pub use hello::{Hello, Versions, negotiate};
pub use kind::{Kind, MessageKind};
pub use message::{Experimenter, Message, Opaque, Page};
pub use meter::{Band, MeterConfig, MeterFeatures, MeterMod, MeterStats};
pub use packet::{NO_BUFFER, PacketIn, PacketInReason, PacketInView, PacketOut};
pub use port::{Port, PortMod, PortRequest, PortStats, PortStatus};
pub use report::{Capabilities, ErrorMessage, FeaturesReply, SwitchConfig};
pub use switch::{
    AsyncConfig, BundleAdd, BundleControl, Description, Queue, QueueRequest, QueueStats, QueueStatsRequest, Role,
    RoleStatus,
};
pub use table::{TableDesc, TableMod, TableStats};

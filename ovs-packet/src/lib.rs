//! Packets, flow keys, the table of match fields, parsing, editing and composing.
//!
//! The lowest room of the house: every other crate stands on it, and it knows none of them. A program that only wants
//! to know what is in a packet needs nothing else:
//!
//! ```
//! use ovs_packet::{FlowKey, Packet, extract};
//!
//! // A UDP datagram from 10.0.0.1:5000 to 10.0.0.2:53.
//! let key = FlowKey {
//!     eth_type: 0x0800.into(),
//!     nw_src: 0x0a000001.into(),
//!     nw_dst: 0x0a000002.into(),
//!     nw_proto: 17,
//!     nw_ttl: 64,
//!     tp_src: 5000.into(),
//!     tp_dst: 53.into(),
//!     ..FlowKey::ZERO
//! };
//! let mut packet = ovs_packet::compose::compose(&key, b"query");
//! let mut seen = FlowKey::ZERO;
//! let extraction = extract::extract(&mut packet, &mut seen);
//! assert_eq!(extraction.malformed, None);
//! assert_eq!(seen, key);
//! assert_eq!(&packet.data()[packet.layers().l4.unwrap() + 8..], b"query");
//! ```
//!
//! # What is where
//!
//! - [`packet`]: the owned buffer with headroom and the pool it comes from, its layer offsets, metadata, tunnel and
//!   offload state;
//! - [`key`]: the flow key, its mask, both in sparse form, and matches;
//! - [`field`]: the table of fields, values in words, tunnel options and the table that places them; [`text`]: matches in
//!   words;
//! - [`extract`]: packet to key; [`compose`]: key to packet; [`edit`]: change a packet in place, put headers in front of
//!   it and take them off;
//! - [`checksum`], [`segment`] (checksums written and checked in software, and segmentation), [`hash`], [`pcap`];
//! - [`wire`]: the messages of control protocols and the headers of tunnels, as views and as values; [`tunnel`]: whole
//!   outer headers put in front of packets and taken off;
//! - [`Instant`], [`EthAddr`], [`OfPort`]: the small values that all crates share.
//!
//! # Rules
//!
//! Any bytes of any length are a packet: what cannot be read is absent from the key, and [`extract::Extraction`] says
//! why. Nothing here panics on input, reads a clock, or holds a lock. No code here is `unsafe`. What a thread keeps
//! beside its packets is its pool of free buffers ([`packet::PoolStats`]), within bounds.

#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod checksum;
pub mod compose;
pub mod edit;
pub mod extract;
pub mod field;
pub mod hash;
pub mod key;
pub mod packet;
#[cfg(feature = "std")]
pub mod pcap;
pub mod segment;
pub mod text;
pub mod tunnel;
pub mod wire;

mod addr;
mod port;
mod time;

pub use addr::{EthAddr, ParseEthAddrError};
pub use key::{FlowKey, FlowMask, Match};
pub use packet::{Packet, PacketBatch};
pub use port::{OfPort, ParseOfPortError};
pub use time::Instant;

//! Flows, actions and messages in words: the language of `ovs-ofctl`, both ways.
//!
//! ```
//! use ovs_ofproto::{Action, FlowMod};
//! use ovs_packet::OfPort;
//!
//! let flow: FlowMod = "table=1, priority=10, tcp, tp_dst=80, actions=output:2".parse()?;
//! assert_eq!((flow.table, flow.priority), (1, 10));
//! assert_eq!(flow.instructions.apply, [Action::output(OfPort(2))]);
//! assert_eq!(flow.to_string(), "table=1,priority=10,tcp,tp_dst=80 actions=output:2");
//!
//! let error = "table=1,actions=output:2,bogus".parse::<FlowMod>().unwrap_err();
//! assert_eq!((error.at, error.to_string().as_str()), (25, "at offset 25: unknown action bogus"));
//! # Ok::<(), ovs_ofproto::text::ParseFlowError>(())
//! ```
//!
//! # What is where
//!
//! - `flow`: [`Parser::flow`], the keys of a flow around its [match](ovs_packet::text); `action`: [`Parser::actions`] and
//!   [`Parser::instructions`]; `group`, `meter`, `packet_out`, `table`, `monitor`, `connection`, `tlv`: what else the
//!   commands take; `fields`: TLVs by name;
//! - `protocol`: [`Protocols`], the forms of OpenFlow that can say what was read;
//! - `lexer`: what cuts lists into items; `subfield`: names such as `NXM_NX_REG0[0..7]`; `number`;
//! - `error`: [`ParseFlowError`], the place of what is wrong, and what it is, in upstream's words;
//! - `print`: `Display` of actions, instructions, flow modifications and flow statistics, and the same with names
//!   ([`InNames`]);
//! - `message`: [`message()`], what `ofp-print` says of a whole message, and [`packet_match`] of a packet.
//!
//! # Rules
//!
//! What is printed is read as the same value. Where a word means one action or another by what the flow matches
//! (`mod_tp_dst`, `mod_vlan_vid`), the match must say which, but in OpenFlow 1.0. No text recurses deeper than
//! [`MAX_NESTING`](crate::codec::MAX_NESTING) lists, and none takes more than time linear in its length for each of them.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod action;
mod connection;
mod error;
mod fields;
mod flow;
mod group;
mod lexer;
mod message;
mod meter;
mod monitor;
mod number;
mod packet_out;
mod print;
mod protocol;
mod subfield;
mod table;
mod tlv;

pub use connection::{TrackedText, connections};
pub use error::{ParseFlowError, Problem};
pub use fields::{fields_of, fields_text};
pub use flow::{Parser, Read};
pub use group::GroupCommand;
pub use lexer::key_values;
pub use message::{group, message, ofp_print, ofp_print_in_names, packet_match};
pub use meter::MeterCommand;
pub use ovs_packet::text::{NoNames, PortNames, TableText};
pub use packet_out::BundleLine;
#[cfg(feature = "pipeline")]
pub(crate) use print::Prioritised;
pub use print::{ActionList, InNames};
pub use protocol::{Protocols, UnknownProtocol};
pub use table::TableSetting;
pub use tlv::tlv_mappings;

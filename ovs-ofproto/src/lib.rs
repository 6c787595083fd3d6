//! OpenFlow on the wire and in words, and an OpenFlow switch as a value.
//!
//! A controller author takes the first two alone (`default-features = false, features = ["session"]`), a switch the third:
//!
//! - [`Action`], [`Instructions`], [`FlowMod`] are what OpenFlow talks about, as values; [`codec`] is the wire form of
//!   it, sans-IO; [`text`] the language of `ovs-ofctl`, both ways;
//! - `json` (feature `serde`) is the same values in JSON, both ways;
//! - `session` (a feature) is the conversation between switches and controllers, sans-IO too, with `session::edge` (feature
//!   `session-edge`) for sockets and feature `tls` for TLS;
//! - `pipeline` (a feature, on by default) is the switch: `Ofproto` has flow tables, translates packets into megaflows,
//!   learns addresses, keeps megaflows true, and obeys messages.
//!
//! A flow goes from words to bytes to a switch:
//!
//! ```
//! use ovs_ofproto::FlowMod;
//! use ovs_ofproto::codec::{Message, Version};
//!
//! let flow: FlowMod = "priority=10,udp,tp_dst=53,actions=output:2".parse()?;
//! let bytes = Message::from(flow).encode(Version::V1_3, 1)?;
//! # #[cfg(feature = "pipeline")] {
//! use ovs_dpif::userspace::Datapath;
//! use ovs_ofproto::pipeline::{ConnectionConfig, Ofproto};
//! use ovs_packet::Instant;
//!
//! let (mut datapath, mut switch) = (Datapath::new(), Ofproto::new());
//! let controller = switch.connect(&ConnectionConfig::new(Version::V1_3));
//! switch.handle_message(&mut datapath, controller, &bytes, Instant::ZERO)?;
//! assert!(switch.poll_output(&mut datapath, controller, Instant::ZERO).is_none()); // no error
//! assert_eq!(switch.flows().next().unwrap().priority, 10);
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Rules
//!
//! The codec knows no session and no pipeline; outside `session::edge` there is no socket, and nowhere a thread or a
//! clock. What a peer sends is answered with a typed error that has a place in OpenFlow's numbering; nothing panics on
//! it, recurses without bound, or is dropped silently. What OpenFlow or upstream's language has and this crate has not is
//! refused by name.
//!
//! # What there is of OpenFlow
//!
//! The codec speaks OpenFlow 1.0 to 1.5 with the extensions of Nicira and the ONF; [`codec`] tells what is left. The
//! language has all actions. The pipeline obeys all six versions.

#![forbid(unsafe_code)]

pub mod codec;
#[cfg(feature = "serde")]
pub mod json;
#[cfg(feature = "pipeline")]
pub mod pipeline;
#[cfg(feature = "session")]
pub mod session;
pub mod text;

mod action;
mod dump;
mod flow_mod;

pub use action::{
    Action, Bundle, BundleAlgorithm, Controller, CtAction, EncapProperty, HashFields, Instructions, Learn, LearnFlags,
    LearnSource, LearnSpec, LearnTarget, Multipath, MultipathAlgorithm, Nat, NatFlags, NatRange, Observation, Sample,
    SampleDirection, SetTunnelOption, Subfield, SubfieldError,
};
pub use flow_mod::{ALL_TABLES, DEFAULT_PRIORITY, FlowMod, FlowModCommand, FlowModFlags};

//! OpenFlow on the wire and in words, and an OpenFlow switch as a value.

#![forbid(unsafe_code)]

pub mod codec;
pub mod text;

mod action;
mod flow_mod;
#[cfg(feature = "pipeline")]
pub mod pipeline;

pub use action::{Action, CtAction, Instructions};
pub use flow_mod::{ALL_TABLES, DEFAULT_PRIORITY, FlowMod, FlowModCommand, FlowModFlags};

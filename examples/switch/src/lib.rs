//! A switch to embed, a lab of switches on a virtual clock, and `ovs-vswitchd`.
//!
//! - [`Switch`] is a switch as a value: ports, flows and the time come in, packets go out of the ports.
//! - [`LiveSwitch`] runs one on a thread, against the real clock and real ports.
//! - [`lab`] runs many on a virtual clock, with links and hosts, for tests that need no privileges.
//! - [`demo`] is what `ovs-vswitchd demo` shows: a private network with real traffic in it.
//!
//! - [`Vswitch`] is a whole switch of several bridges, as a [`config::Config`] says: from a database, a TOML file, or Rust.
//! - [`server`] is `ovs-vswitchd` around it: database, OpenFlow connections ([`openflow`]), commands, clock; [`daemon`] and
//!   [`vlog`] are what every daemon has.
//!
//! The binary `ovs-vswitchd` is a thin layer over these; `ovs-vswitchd --help` tells what it does.

pub mod config;
pub mod coverage;
pub mod daemon;
pub mod demo;
pub mod lab;
pub mod openflow;
pub mod server;
pub mod vlog;
pub mod vswitch;

mod commands;
mod live;
mod switch;

pub use live::LiveSwitch;
pub use switch::{FailMode, Switch, SwitchConfig, SwitchError};
pub use vswitch::Vswitch;

/// The README's programs are compiled and run as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

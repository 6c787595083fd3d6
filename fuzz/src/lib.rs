//! The bodies of the fuzz targets: plain functions that assert laws, so that the stable toolchain runs them too.
//!
//! - `cargo +nightly fuzz run NAME` (crate cargo-fuzz) searches for inputs that break one.
//! - `cargo test` runs every body over its corpus and over mutations of it; see `tests/corpora.rs`.
//! - `cargo run --example seeds` writes the corpora's seeds anew.
//!
//! An input that breaks a law stays in the corpus of its target, and as a test with a name in the crate that was wrong.

#![forbid(unsafe_code)]

mod conntrack;
mod db;
mod fields;
mod frame;
mod netlink;
mod openflow;
mod switch;
mod tables;
mod traffic;

pub use conntrack::{conntrack, conntrack_frames};
pub use db::{json_text, ovsdb_schema, ovsdb_stream, ovsdb_transact};
pub use fields::{edit_sequence, tunnel_options};
pub use frame::{frame_compose, frame_edit, frame_extract, frame_segment, pcap_file};
pub use netlink::{netlink_attributes, netlink_message};
pub use openflow::{action_text, flow_text, match_text, openflow_message, openflow_stream};
pub use switch::{datapath_ledger, megaflow_soundness, openflow_execute};
pub use tables::{classifier, megaflow_table};

/// A body.
pub type Body = fn(&[u8]);

macro_rules! targets {
    ($($name:ident)+) => {
        /// Every target: its name, which is that of its binary and of its corpus, and its body.
        pub const TARGETS: &[(&str, Body)] = &[$((stringify!($name), $name)),+];
    };
}

targets! {
    frame_extract frame_compose frame_edit frame_segment pcap_file
    edit_sequence tunnel_options
    match_text flow_text action_text openflow_message openflow_stream openflow_execute
    classifier megaflow_table megaflow_soundness
    conntrack conntrack_frames datapath_ledger
    netlink_message netlink_attributes
    json_text ovsdb_schema ovsdb_stream ovsdb_transact
}

//! The bodies of the fuzz targets: plain functions that assert laws, so that the stable toolchain runs them too.
//!
//! - `cargo +nightly fuzz run NAME` (crate cargo-fuzz) searches for inputs that break one.
//! - `cargo test` runs every body over its corpus and over mutations of it; see `tests/corpora.rs`.
//! - `cargo run --example seeds` writes the corpora's seeds anew.
//!
//! An input that breaks a law stays in the corpus of its target, and as a test with a name in the crate that was wrong.

#![forbid(unsafe_code)]

mod conntrack;
mod controllers;
mod db;
mod db_client;
mod extraction;
mod fields;
mod frame;
mod kernel;
mod language;
mod netlink;
mod openflow;
mod session;
mod switch;
mod tables;
mod traffic;
mod tunnels;
mod wire;

pub use conntrack::{conntrack, conntrack_again, conntrack_frames, conntrack_ftp, fragments};
pub use controllers::openflow_switch;
pub use db::{SCHEMA, json_text, ovsdb_schema, ovsdb_stream, ovsdb_transact};
pub use db_client::{ovsdb_client, ovsdb_updates, unixctl_server};
pub use extraction::frame_sequence;
pub use fields::{edit_sequence, tunnel_options};
pub use frame::{frame_compose, frame_edit, frame_extract, frame_segment, pcap_file};
pub use kernel::{kernel_actions, kernel_keys};
pub use language::{openflow_json, openflow_language};
pub use netlink::{netlink_attributes, netlink_message, netlink_netfilter, netlink_route, netlink_sets};
pub use openflow::{action_text, flow_text, match_text, openflow_message, openflow_print, openflow_stream};
pub use session::openflow_session;
pub use switch::{datapath_ledger, datapath_text, megaflow_soundness, openflow_execute};
pub use tables::{classifier, megaflow_table};
pub use tunnels::{tunnel_pop, tunnel_seeds};
pub use wire::{
    Seed, wire_bfd, wire_cfm, wire_lacp, wire_lldp, wire_membership, wire_neighbour, wire_seeds, wire_stp, wire_tunnel,
};

/// A body.
pub type Body = fn(&[u8]);

macro_rules! targets {
    ($($name:ident)+) => {
        /// Every target: its name, which is that of its binary and of its corpus, and its body.
        pub const TARGETS: &[(&str, Body)] = &[$((stringify!($name), $name)),+];
    };
}

targets! {
    frame_extract frame_sequence frame_compose frame_edit frame_segment pcap_file
    wire_lldp wire_lacp wire_stp wire_cfm wire_bfd wire_membership wire_neighbour wire_tunnel
    edit_sequence tunnel_options tunnel_pop
    match_text flow_text action_text openflow_message openflow_print openflow_stream openflow_execute
    openflow_json openflow_language
    openflow_switch
    openflow_session
    classifier megaflow_table megaflow_soundness
    conntrack conntrack_again conntrack_frames datapath_ledger datapath_text
    conntrack_ftp fragments
    netlink_message netlink_attributes
    netlink_sets netlink_netfilter netlink_route
    kernel_keys kernel_actions
    json_text ovsdb_schema ovsdb_stream ovsdb_transact
    ovsdb_client ovsdb_updates unixctl_server
}

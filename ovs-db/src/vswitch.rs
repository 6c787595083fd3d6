//! The database that a switch is configured by: `Open_vSwitch`, schema version 8.8.0, as typed columns.
//!
//! A type stands for each table, and has a constant for each of its columns; all of it is generated from
//! `schema/vswitch.ovsschema` by [`codegen`](crate::codegen). What the tables and columns mean is documented in
//! ovs-vswitchd.conf.db(5).
//!
//! ```
//! use ovs_db::vswitch::{Bridge, Interface};
//!
//! assert_eq!(Bridge::PORTS.name(), "ports");
//! assert_eq!(ovs_db::vswitch::schema().version().to_string(), "8.8.0");
//! # let _ = Interface::OFPORT;
//! ```

include!(concat!(env!("OUT_DIR"), "/vswitch.rs"));

//! The families of the openvswitch kernel module (`linux/openvswitch.h`), as far as they are about datapaths and ports.
//!
//! - [`Command`], [`OvsHeader`], [`IfName`]: what the families share.
//! - [`Datapath`]: the family `ovs_datapath`.
//! - [`Vport`]: the family `ovs_vport`.
//!
//! A value is what a message says: each attribute is an [`Option`], absent in a request means "as it is" or "choose". For
//! any value `decode(encode(v)) == v`. Attributes that a newer kernel sends and this crate does not know are skipped, as
//! netlink wants it.

mod common;
mod datapath;
mod vport;

pub use common::{Command, IfName, NameError, OvsHeader};
pub use datapath::{Datapath, DatapathStats, MegaflowStats, UserFeatures};
pub use vport::{UpcallStats, Vport, VportStats, VportType};

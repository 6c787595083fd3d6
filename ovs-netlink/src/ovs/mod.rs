//! The families of the openvswitch kernel module (`linux/openvswitch.h`).
//!
//! - [`Command`], [`OvsHeader`], [`IfName`]: what the families share.
//! - [`Datapath`], [`Vport`], [`Flow`], [`Packet`], [`Meter`], [`CtLimits`]: a value for the messages of each family.
//! - [`Key`], [`MaskedKey`], [`TunnelKey`], [`NshKey`]: what flows match and actions write.
//! - [`Action`] and the sets inside its attributes: what flows do.
//!
//! A value is what a message says: each attribute is an [`Option`], absent in a request means "as it is" or "choose". For
//! any value `decode(encode(v)) == v`. Attributes that a newer kernel sends and this crate does not know are skipped in
//! messages, as netlink wants it, and kept as `Other` in keys and actions, where they mean something.

mod action;
mod common;
mod ct_limit;
mod datapath;
mod flow;
mod key;
mod meter;
mod nsh;
mod packet;
mod tunnel;
mod vport;

pub use action::{
    Action, Actions, AddMpls, CheckPktLenAttr, CtAttr, DecTtlAttr, Hash, NatAttr, PsampleAttr, PushMpls, PushVlan,
    SampleAttr, UserspaceAttr,
};
pub use common::{Command, IfName, NameError, OvsHeader};
pub use ct_limit::{CtLimitAttr, CtLimitCommand, CtLimits, ZoneLimit};
pub use datapath::{Datapath, DatapathAttr, DatapathStats, MegaflowStats, UserFeatures};
pub use flow::{Flow, FlowAttr, FlowStats, UfidFlags};
pub use key::{
    CtState, FRAGMENTS, Key, KeyArp, KeyCtTupleIpv4, KeyCtTupleIpv6, KeyEthernet, KeyIcmp, KeyIpv4, KeyIpv6,
    KeyIpv6Exthdrs, KeyNd, KeyPorts, Keys, MaskedKey, MplsEntry,
};
pub use meter::{Band, BandAttr, Meter, MeterAttr, MeterCommand};
pub use nsh::{MaskedNshKey, NshBase, NshKey, NshMd1};
pub use packet::{PACKET_HASH_L4, PACKET_HASH_SW, Packet, PacketAttr, PacketCommand};
pub use tunnel::{ErspanMetadata, GeneveOption, TunnelKey, TunnelOption, VxlanExt, VxlanExtFlag, geneve_options};
pub use vport::{UpcallAttr, UpcallStats, Vport, VportAttr, VportStats, VportType};

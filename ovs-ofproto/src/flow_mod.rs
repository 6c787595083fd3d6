//! Changes of flow tables, as values.

use bitflags::bitflags;
use ovs_packet::{Match, OfPort};

use crate::action::Instructions;
#[cfg(feature = "serde")]
use crate::json::form::*;

/// Of [`FlowMod::table`]: every table, for a deletion; the switch's choice, for an addition.
pub const ALL_TABLES: u8 = 0xff;

/// The priority of a flow for which none is given.
pub const DEFAULT_PRIORITY: u16 = 0x8000;

/// What to do with the flows that a [`FlowMod`] names (OpenFlow 1.5, section 7.3.4.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum FlowModCommand {
    /// Add a flow; one with the same match and priority is replaced.
    #[default]
    Add,
    /// Change the instructions of all flows within the match.
    Modify,
    /// Change those of the flow with this very match and priority.
    ModifyStrict,
    /// Delete all flows within the match.
    Delete,
    /// Delete the flow with this very match and priority.
    DeleteStrict,
}

bitflags! {
    /// Flags of a flow.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
    pub struct FlowModFlags: u16 {
        /// Tell the controllers when the flow ends.
        const SEND_FLOW_REM = 1;
        /// Refuse to add a flow that overlaps another of the same priority.
        const CHECK_OVERLAP = 2;
        /// Set the flow's counters to zero when it is changed.
        const RESET_COUNTS = 4;
        /// The controller does not care for packet counts.
        const NO_PKT_COUNTS = 8;
        /// The controller does not care for byte counts.
        const NO_BYT_COUNTS = 16;
    }
}

/// A change of the flow tables.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct FlowMod {
    /// What to do.
    pub command: FlowModCommand,
    /// Where: a table, or [`ALL_TABLES`].
    #[cfg_attr(feature = "serde", serde(rename = "table_id"))]
    pub table: u8,
    /// Which packets.
    #[cfg_attr(feature = "serde", serde(rename = "match"))]
    pub matching: Match,
    /// The higher, the earlier.
    pub priority: u16,
    /// The controller's own mark on the flow.
    #[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))]
    pub cookie: u64,
    /// For changes and deletions: only flows whose cookie agrees in these bits.
    #[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))]
    pub cookie_mask: u64,
    /// For changes, where the version can say it: the mark that the flows get. Of an addition, the cookie is that.
    #[cfg_attr(feature = "serde", serde(with = "As::<Option<Hex>>"))]
    pub new_cookie: Option<u64>,
    /// For changes: [`new_cookie`](Self::new_cookie) is only for a flow that is added because there was none to change,
    /// as OpenFlow 1.1 has it.
    pub keep_cookie: bool,
    /// Seconds without a packet after which the flow ends; 0 is never.
    pub idle_timeout: u16,
    /// Seconds after which the flow ends; 0 is never.
    pub hard_timeout: u16,
    /// How unwilling the switch should be to evict the flow.
    pub importance: u16,
    /// Flags.
    #[cfg_attr(feature = "serde", serde(with = "As::<Set>"))]
    pub flags: FlowModFlags,
    /// For deletions: only flows that output to this port; [`OfPort::ANY`] is all.
    pub out_port: OfPort,
    /// For deletions: only flows that output to this group; 0xffffffff is all.
    #[cfg_attr(feature = "serde", serde(with = "As::<Named<GroupId>>"))]
    pub out_group: u32,
    /// A packet that the switch keeps, to be handled by the new flow; 0xffffffff is none.
    #[cfg_attr(feature = "serde", serde(with = "As::<Named<BufferId>>"))]
    pub buffer_id: u32,
    /// What the flow does.
    pub instructions: Instructions,
}

impl FlowMod {
    /// The addition to table 0 of a flow that every packet meets and that does nothing.
    pub const NEW: FlowMod = FlowMod {
        command: FlowModCommand::Add,
        table: 0,
        matching: Match::ANY,
        priority: DEFAULT_PRIORITY,
        cookie: 0,
        cookie_mask: 0,
        new_cookie: None,
        keep_cookie: false,
        idle_timeout: 0,
        hard_timeout: 0,
        importance: 0,
        flags: FlowModFlags::empty(),
        out_port: OfPort::ANY,
        out_group: 0xffff_ffff,
        buffer_id: 0xffff_ffff,
        instructions: Instructions::NONE,
    };
}

impl Default for FlowMod {
    /// As [`NEW`](FlowMod::NEW); written where it is to be, without a copy of the room that its match has for words.
    #[inline(always)]
    fn default() -> Self {
        FlowMod { matching: Match::default(), ..FlowMod::NEW }
    }
}

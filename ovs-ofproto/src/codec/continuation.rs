//! Where a packet waits: what a switch tells with a packet-in that it paused, to go on when it gets it back.
//!
//! No specification says what a continuation is, for it is the switch's own: a controller hands back what it got, bit by
//! bit ([`PacketIn::continuation`](super::PacketIn::continuation)). This is upstream's form, in properties from 0x8000 on.

use super::action;
use super::cursor::{Reader, Writer};
use super::error::{DecodeError, EncodeError, OfError};
use super::header::Version;
use super::io::Property;
use crate::action::Action;

/// Actions that are left to do, as a flow of some table began them.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct Remaining {
    /// The table.
    pub table: u8,
    /// The cookie of the flow.
    pub cookie: u64,
    /// The actions.
    pub actions: Vec<Action>,
}

/// What is left to do with a packet, and what the pipeline knew beside the packet's metadata.
///
/// ```
/// use ovs_ofproto::Action;
/// use ovs_ofproto::codec::{Continuation, Version};
///
/// let mut left = Continuation::default();
/// left.action_set = vec![Action::DecTtl];
/// left.stack = vec![vec![5]];
/// let bytes = left.encode(Version::V1_3)?;
/// assert_eq!(Continuation::decode(&bytes, Version::V1_3)?, left);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[non_exhaustive]
pub struct Continuation {
    /// The bridge, by its UUID; 0 is none.
    pub bridge: u128,
    /// The stack of values that actions push and pop, from the top, each of up to 128 bytes.
    pub stack: Vec<Vec<u8>>,
    /// The mirrors that have the packet, a bit each.
    pub mirrors: u32,
    /// Whether connection tracking has seen the packet.
    pub tracked: bool,
    /// What is left to do, in order.
    pub remaining: Vec<Remaining>,
    /// The action set.
    pub action_set: Vec<Action>,
    /// The datapath's number of the port that the packet came in by; 0 is none.
    pub datapath_port: u32,
}

mod property {
    pub(super) const BRIDGE: u64 = 0x8000;
    pub(super) const STACK: u64 = 0x8001;
    pub(super) const MIRRORS: u64 = 0x8002;
    pub(super) const CONNTRACKED: u64 = 0x8003;
    pub(super) const TABLE_ID: u64 = 0x8004;
    pub(super) const COOKIE: u64 = 0x8005;
    pub(super) const ACTIONS: u64 = 0x8006;
    pub(super) const ACTION_SET: u64 = 0x8007;
    pub(super) const ODP_PORT: u64 = 0x8008;
}

/// A UUID goes as four numbers in the byte order of upstream's hosts, which is little-endian on all that it supports
/// well: each of them the other way round.
fn swapped(uuid: u128) -> u128 {
    [96u32, 64, 32, 0].into_iter().fold(0, |all, at| {
        let word = (uuid.checked_shr(at).unwrap_or(0) & u128::from(u32::MAX)) as u32;
        all << 32 | u128::from(word.swap_bytes())
    })
}

/// Values on the stack are no longer.
const VALUE_MAX: usize = 128;

impl Continuation {
    /// Reads the value of [`PacketIn::continuation`](super::PacketIn::continuation).
    ///
    /// # Errors
    /// OFPBPC_* for what is no such property, errors of actions; the place is counted from the first byte.
    pub fn decode(bytes: &[u8], version: Version) -> Result<Continuation, DecodeError> {
        let (mut r, mut found, mut at) = (Reader::new(bytes), Continuation::default(), (0, 0));
        while let Some(p) = Property::next(&mut r)? {
            let actions = || action::decode(p.nested()?, version, 0);
            match p.kind {
                property::BRIDGE => found.bridge = swapped(p.sized(16)?.uint(16)?),
                property::STACK if p.value.len() > VALUE_MAX => {
                    return Err(p.error(OfError::BadPropertyBadLength, "a value of at most 128 bytes"));
                }
                property::STACK => found.stack.push(p.value.to_vec()),
                property::MIRRORS => found.mirrors = p.u32()?,
                property::CONNTRACKED => found.tracked = true,
                property::TABLE_ID => at.0 = p.u8()?,
                property::COOKIE => at.1 = p.u64()?,
                property::ACTIONS => {
                    found.remaining.push(Remaining { table: at.0, cookie: at.1, actions: actions()? });
                }
                property::ACTION_SET => found.action_set = actions()?,
                property::ODP_PORT => found.datapath_port = p.u32()?,
                _ => return Err(p.unknown("continuation")),
            }
        }
        Ok(found)
    }

    /// Writes it.
    ///
    /// # Errors
    /// If the version cannot say an action, or a value is too long.
    pub fn encode(&self, version: Version) -> Result<Vec<u8>, EncodeError> {
        let mut w = Writer::new();
        let actions = |w: &mut Writer, kind, actions: &[Action]| {
            w.property(kind, |w| {
                w.zeros(4);
                action::encode(actions, w, version, 0)
            })
        };
        if self.bridge != 0 {
            w.property_bytes(property::BRIDGE, &swapped(self.bridge).to_be_bytes())?;
        }
        for value in &self.stack {
            if value.len() > VALUE_MAX {
                return Err(EncodeError::TooLong { what: "a value on the stack" });
            }
            w.property_bytes(property::STACK, value)?;
        }
        if self.mirrors != 0 {
            w.property_u32(property::MIRRORS, self.mirrors)?;
        }
        if self.tracked {
            w.property_bytes(property::CONNTRACKED, &[])?;
        }
        let mut said = (0, 0);
        for left in &self.remaining {
            if left.table != said.0 {
                w.property_bytes(property::TABLE_ID, &[left.table])?;
            }
            if left.cookie != said.1 {
                w.property_u64(property::COOKIE, left.cookie)?;
            }
            said = (left.table, left.cookie);
            actions(&mut w, property::ACTIONS, &left.actions)?;
        }
        if !self.action_set.is_empty() {
            actions(&mut w, property::ACTION_SET, &self.action_set)?;
        }
        if self.datapath_port != 0 {
            w.property_u32(property::ODP_PORT, self.datapath_port)?;
        }
        Ok(w.into_bytes())
    }
}

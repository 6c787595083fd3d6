//! Actions and instructions, as values.

use ovs_packet::OfPort;
use ovs_packet::field::FieldId;

/// What to do with a packet (OpenFlow 1.5, section 7.2.6, and the Nicira extensions).
///
/// A list of no actions drops the packet.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Action {
    /// Send it out of a port, real or reserved.
    Output {
        /// The port.
        port: OfPort,
        /// For [`OfPort::CONTROLLER`], how many bytes of the packet to send; [`Action::WHOLE`] is all of them.
        max_len: u16,
    },
    /// Overwrite the bits of `mask` in a field with those of `value`, both right-aligned.
    SetField {
        /// The field.
        field: FieldId,
        /// Zero outside the mask.
        value: u128,
        /// The bits to overwrite.
        mask: u128,
    },
    /// Add a VLAN tag with this tag protocol, VLAN id 0 and priority of the tag below.
    PushVlan(u16),
    /// Take the outermost VLAN tag off.
    PopVlan,
    /// Take one off the TTL; a packet whose TTL is used up goes to the controllers and no further.
    DecTtl,
    /// Look the packet up again, as if it had come in by `port` if given, in `table` or else the current one, execute
    /// what is found, and come back.
    Resubmit {
        /// Ingress port for the lookup only.
        port: Option<OfPort>,
        /// Table to look in.
        table: Option<u8>,
    },
    /// Connection tracking.
    Ct(CtAction),
    /// Forget what connection tracking said.
    CtClear,
    /// Execute actions on a copy: what they change does not outlive them.
    Clone(Vec<Action>),
}

impl Action {
    /// Of [`Action::Output`]: the whole packet (OFPCML_NO_BUFFER).
    pub const WHOLE: u16 = 0xffff;

    /// Output of whole packets to `port`.
    pub const fn output(port: OfPort) -> Action {
        Action::Output { port, max_len: Action::WHOLE }
    }
}

/// Parameters of [`Action::Ct`].
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[non_exhaustive]
pub struct CtAction {
    /// Store the connection.
    pub commit: bool,
    /// With `commit`: make this packet's direction the original one.
    pub force: bool,
    /// The zone.
    pub zone: u16,
    /// Continue in this table with a copy of the packet that carries the connection's state.
    pub table: Option<u8>,
    /// With `commit`: settings of [`FieldId::CtMark`] and [`FieldId::CtLabel`], nothing else.
    pub exec: Vec<Action>,
}

/// What a flow does with the packets that it matches (OpenFlow 1.5, section 7.2.4): at most one instruction of each
/// kind, in this order.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[non_exhaustive]
pub struct Instructions {
    /// Executed at once.
    pub apply: Vec<Action>,
    /// The action set is emptied.
    pub clear: bool,
    /// Merged into the action set, which is executed where the pipeline ends.
    pub write: Vec<Action>,
    /// Bits to overwrite in the pipeline's metadata: value and mask.
    pub metadata: Option<(u64, u64)>,
    /// The table to go on with.
    pub goto: Option<u8>,
}

impl Instructions {
    /// Actions executed at once and nothing else: all that OpenFlow 1.0 knows.
    pub fn apply(actions: Vec<Action>) -> Instructions {
        Instructions { apply: actions, ..Instructions::default() }
    }

    /// Whether packets are dropped here.
    pub fn is_drop(&self) -> bool {
        *self == Instructions::default()
    }
}

//! What a controller is told unasked (OpenFlow 1.5, "Asynchronous Configuration"; upstream's design notes,
//! "Asynchronous Messages").
//!
//! For each kind of message there are two sets of reasons, one for a controller that is primary or equal, one for a
//! secondary. Reasons are bits by their number on the wire. A packet that no flow matched is a reason that OpenFlow splits
//! by where the default comes from, and which has one number on the wire: see [`AsyncConfig::EXPLICIT_MISS`].

use super::role::Role;
use crate::codec::Version;

/// A kind of message that a switch sends unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AsyncKind {
    /// OFPT_PACKET_IN; reasons are `OFPR_*`.
    PacketIn,
    /// OFPT_PORT_STATUS; reasons are `OFPPR_*`.
    PortStatus,
    /// OFPT_FLOW_REMOVED; reasons are `OFPRR_*`.
    FlowRemoved,
    /// OFPT_ROLE_STATUS; reasons are `OFPCRR_*`.
    RoleStatus,
    /// OFPT_TABLE_STATUS; reasons are `OFPTR_*`.
    TableStatus,
    /// OFPT_REQUESTFORWARD; reasons are `OFPRFR_*`.
    RequestForward,
}

impl AsyncKind {
    /// All kinds.
    pub const ALL: [AsyncKind; 6] = [
        AsyncKind::PacketIn,
        AsyncKind::PortStatus,
        AsyncKind::FlowRemoved,
        AsyncKind::RoleStatus,
        AsyncKind::TableStatus,
        AsyncKind::RequestForward,
    ];

    fn index(self) -> usize {
        match self {
            AsyncKind::PacketIn => 0,
            AsyncKind::PortStatus => 1,
            AsyncKind::FlowRemoved => 2,
            AsyncKind::RoleStatus => 3,
            AsyncKind::TableStatus => 4,
            AsyncKind::RequestForward => 5,
        }
    }
}

const NO_MATCH: u32 = 1 << 0;
const ACTION: u32 = 1 << 1;
const INVALID_TTL: u32 = 1 << 2;
/// The reasons that OpenFlow 1.4 took out of `ACTION`: action set, group, packet-out.
const ACTION_SINCE_1_4: u32 = 0b111 << 3;
/// The reasons of packets that have a number on the wire.
const PACKET_IN_ON_WIRE: u32 = NO_MATCH | ACTION | INVALID_TTL | ACTION_SINCE_1_4;

/// Which messages a controller gets unasked, by kind, reason and its role.
///
/// ```
/// use ovs_ofproto::codec::Version;
/// use ovs_ofproto::session::{AsyncConfig, AsyncKind, Role};
///
/// let config = AsyncConfig::of_version(Version::V1_3);
/// let port_added = 0;
/// assert!(config.wants(Role::Secondary, AsyncKind::PortStatus, port_added));
/// assert!(!config.wants(Role::Secondary, AsyncKind::PacketIn, 1));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct AsyncConfig {
    primary: [u32; 6],
    secondary: [u32; 6],
}

impl AsyncConfig {
    /// The reason of a packet that matched the flow for those which match no other, of priority 0.
    pub const EXPLICIT_MISS: u8 = 6;
    /// The reason of a packet that matched no flow at all, which OpenFlow 1.0 to 1.2 sends to the controller.
    pub const IMPLICIT_MISS: u8 = 7;

    /// What a controller gets that speaks `version` and has not said what it wants.
    pub fn of_version(version: Version) -> AsyncConfig {
        let mut packet_in = (PACKET_IN_ON_WIRE & !INVALID_TTL) | 1 << Self::EXPLICIT_MISS;
        if version <= Version::V1_2 {
            packet_in |= 1 << Self::IMPLICIT_MISS;
        }
        // Idle, hard, delete; group delete since 1.3; meter delete and eviction since 1.4.
        let flow_removed = match version {
            version if version >= Version::V1_4 => 0b11_1111,
            Version::V1_3 => 0b1111,
            _ => 0b111,
        };
        let port_status = 0b111;
        AsyncConfig {
            primary: [packet_in, port_status, flow_removed, 0, 0, 0],
            secondary: [0, port_status, 0, 0, 0, 0],
        }
    }

    /// The reasons for which messages of a kind are sent to a controller of this role, as bits on the wire.
    pub fn reasons(&self, role: Role, kind: AsyncKind) -> u32 {
        let reasons = self.all_reasons(role, kind);
        if kind == AsyncKind::PacketIn { reasons & PACKET_IN_ON_WIRE } else { reasons }
    }

    fn all_reasons(&self, role: Role, kind: AsyncKind) -> u32 {
        let masks = if role == Role::Secondary { &self.secondary } else { &self.primary };
        masks.get(kind.index()).copied().unwrap_or_default()
    }

    /// Whether a message of this kind, for this reason, is sent to a controller of this role. The reason of a packet that no
    /// flow matched is [`AsyncConfig::EXPLICIT_MISS`] or [`AsyncConfig::IMPLICIT_MISS`].
    pub fn wants(&self, role: Role, kind: AsyncKind, reason: u8) -> bool {
        1_u32.checked_shl(reason.into()).is_some_and(|bit| self.all_reasons(role, kind) & bit != 0)
    }

    /// Sets the reasons for messages of a kind to bits on the wire, as a controller of `version` says them, either for a
    /// secondary or for the other two roles.
    pub fn set(&mut self, version: Version, role: Role, kind: AsyncKind, reasons: u32) {
        let mut reasons = reasons;
        if kind == AsyncKind::PacketIn {
            reasons &= PACKET_IN_ON_WIRE;
            if reasons & NO_MATCH != 0 {
                reasons |= 1 << Self::EXPLICIT_MISS;
                if version <= Version::V1_2 {
                    reasons |= 1 << Self::IMPLICIT_MISS;
                }
            }
            if version < Version::V1_4 && reasons & ACTION != 0 {
                reasons |= ACTION_SINCE_1_4;
            }
        }
        let masks = if role == Role::Secondary { &mut self.secondary } else { &mut self.primary };
        if let Some(mask) = masks.get_mut(kind.index()) {
            *mask = reasons;
        }
    }

    /// Whether packets with a TTL that is not valid are sent to a primary or equal controller: OpenFlow 1.0 to 1.2 has a
    /// configuration flag for that alone, `OFPC_INVALID_TTL_TO_CONTROLLER`.
    pub fn set_invalid_ttl(&mut self, is_wanted: bool) {
        let [packet_in, ..] = &mut self.primary;
        *packet_in = if is_wanted { *packet_in | INVALID_TTL } else { *packet_in & !INVALID_TTL };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_follow_the_version() {
        for (version, implicit, removed) in
            [(Version::V1_0, true, 7), (Version::V1_2, true, 7), (Version::V1_3, false, 15), (Version::V1_5, false, 63)]
        {
            let config = AsyncConfig::of_version(version);
            assert_eq!(config.wants(Role::Equal, AsyncKind::PacketIn, AsyncConfig::IMPLICIT_MISS), implicit);
            assert!(config.wants(Role::Primary, AsyncKind::PacketIn, AsyncConfig::EXPLICIT_MISS));
            assert_eq!(config.reasons(Role::Equal, AsyncKind::PacketIn), 0b11_1011);
            assert_eq!(config.reasons(Role::Equal, AsyncKind::FlowRemoved), removed);
            assert_eq!(config.reasons(Role::Secondary, AsyncKind::FlowRemoved), 0);
            assert_eq!(config.reasons(Role::Secondary, AsyncKind::PortStatus), 7);
        }
    }

    #[test]
    fn what_is_said_is_what_is_read_and_older_versions_mean_more() {
        let mut config = AsyncConfig::default();
        for kind in AsyncKind::ALL {
            config.set(Version::V1_4, Role::Primary, kind, 0b10);
            assert_eq!((config.reasons(Role::Equal, kind), config.reasons(Role::Secondary, kind)), (0b10, 0));
        }
        assert!(!config.wants(Role::Equal, AsyncKind::PacketIn, 4));
        config.set(Version::V1_3, Role::Secondary, AsyncKind::PacketIn, 0b11);
        assert!(config.wants(Role::Secondary, AsyncKind::PacketIn, 4));
        assert!(config.wants(Role::Secondary, AsyncKind::PacketIn, AsyncConfig::EXPLICIT_MISS));
        assert!(!config.wants(Role::Secondary, AsyncKind::PacketIn, AsyncConfig::IMPLICIT_MISS));
        config.set(Version::V1_0, Role::Equal, AsyncKind::PacketIn, u32::MAX);
        assert_eq!(config.reasons(Role::Equal, AsyncKind::PacketIn), 0b11_1111);
        config.set_invalid_ttl(false);
        assert_eq!(config.reasons(Role::Equal, AsyncKind::PacketIn), 0b11_1011);
        assert!(!config.wants(Role::Equal, AsyncKind::PacketIn, 200));
    }
}

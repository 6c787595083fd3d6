//! Roles of controllers, as a switch holds them (OpenFlow 1.5, section 6.3.7 and "Role Request Message").
//!
//! Several controllers may be connected to a switch. All are equal at first. One may become the primary, which makes the
//! one that was a secondary; a secondary may look but not change anything. Who may become what is between the controllers:
//! they agree on a generation id that grows with every change, and the switch only refuses requests with an older one,
//! which come from a controller that does not know of the change.

use std::collections::BTreeMap;

/// What a controller may do. The specification also says master for primary and slave for secondary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Role {
    /// Everything, as others may.
    #[default]
    Equal,
    /// Everything; there is no other primary.
    Primary,
    /// It may ask, but change nothing, and is told of changes of ports only, if it did not ask for more.
    Secondary,
}

impl Role {
    /// The number that the role has on the wire, `OFPCR_ROLE_*`.
    pub const fn code(self) -> u32 {
        match self {
            Role::Equal => 1,
            Role::Primary => 2,
            Role::Secondary => 3,
        }
    }

    /// The role with this number.
    pub const fn from_code(code: u32) -> Option<Role> {
        match code {
            1 => Some(Role::Equal),
            2 => Some(Role::Primary),
            3 => Some(Role::Secondary),
            _ => None,
        }
    }

    /// Whether it may change the switch and send packets. Requests of one that may not are refused with
    /// OFPBRC_IS_SLAVE.
    pub const fn may_modify(self) -> bool {
        !matches!(self, Role::Secondary)
    }
}

/// A controller asks for a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RoleRequest {
    /// The role; nothing: it only asks what it has (`OFPCR_ROLE_NOCHANGE`).
    pub role: Option<Role>,
    /// The generation id. The extension of OpenFlow 1.0 has none.
    pub generation_id: Option<u64>,
}

/// What a controller is told that asked for a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleReply<K> {
    /// The role that it has.
    pub role: Role,
    /// The generation id, if one was ever said; on the wire it is 0xffff_ffff_ffff_ffff without.
    pub generation_id: Option<u64>,
    /// The controller that was primary and is secondary now; it is told by OFPT_ROLE_STATUS.
    pub demoted: Option<K>,
}

/// Why a controller does not get a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoleError {
    /// Its generation id is older than one that was said before: OFPRRFC_STALE.
    #[error("generation id {said} is older than {current}")]
    Stale {
        /// What it says.
        said: u64,
        /// What was said before.
        current: u64,
    },
}

/// The roles of all controllers of a switch, which `K` tells apart, and the generation id.
///
/// ```
/// use ovs_ofproto::session::{Role, RoleRequest, Roles};
///
/// let mut roles = Roles::default();
/// let primary = |generation_id| RoleRequest { role: Some(Role::Primary), generation_id: Some(generation_id) };
/// roles.request('a', primary(7))?;
/// assert_eq!(roles.request('b', primary(8))?.demoted, Some('a'));
/// assert_eq!(roles.of('a'), Role::Secondary);
/// assert!(roles.request('a', primary(7)).is_err()); // it has not heard
/// # Ok::<(), ovs_ofproto::session::RoleError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles<K> {
    /// Those that are not equal.
    roles: BTreeMap<K, Role>,
    generation_id: Option<u64>,
}

impl<K> Default for Roles<K> {
    fn default() -> Roles<K> {
        Roles { roles: BTreeMap::new(), generation_id: None }
    }
}

impl<K: Ord + Copy> Roles<K> {
    /// The role of a controller.
    pub fn of(&self, controller: K) -> Role {
        self.roles.get(&controller).copied().unwrap_or_default()
    }

    /// The primary, if there is one.
    pub fn primary(&self) -> Option<K> {
        self.roles.iter().find(|(_, role)| **role == Role::Primary).map(|(controller, _)| *controller)
    }

    /// The newest generation id that was said.
    pub fn generation_id(&self) -> Option<u64> {
        self.generation_id
    }

    /// Gives a controller the role that it asks for. The generation id counts where one asks to be primary or secondary; it
    /// is newer than another if it is ahead of it by less than half of all numbers, so that it may wrap around.
    ///
    /// # Errors
    /// [`RoleError`]; everything is as before then.
    pub fn request(&mut self, controller: K, request: RoleRequest) -> Result<RoleReply<K>, RoleError> {
        let mut demoted = None;
        if let Some(role) = request.role {
            if let (Role::Primary | Role::Secondary, Some(said)) = (role, request.generation_id) {
                if let Some(current) = self.generation_id.filter(|current| said.wrapping_sub(*current) > u64::MAX / 2) {
                    return Err(RoleError::Stale { said, current });
                }
                self.generation_id = Some(said);
            }
            if role == Role::Primary {
                demoted = self.primary().filter(|primary| *primary != controller);
            }
            if let Some(primary) = demoted {
                self.roles.insert(primary, Role::Secondary);
            }
            if role == Role::Equal {
                self.roles.remove(&controller);
            } else {
                self.roles.insert(controller, role);
            }
        }
        Ok(RoleReply { role: self.of(controller), generation_id: self.generation_id, demoted })
    }

    /// Takes note that a controller is gone. The generation id stays.
    pub fn disconnected(&mut self, controller: K) {
        self.roles.remove(&controller);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(role: Role, generation_id: u64) -> RoleRequest {
        RoleRequest { role: Some(role), generation_id: Some(generation_id) }
    }

    #[test]
    fn a_question_changes_nothing() {
        let mut roles = Roles::default();
        let ask = RoleRequest { role: None, generation_id: Some(1 << 40) };
        assert_eq!(roles.request(1, ask), Ok(RoleReply { role: Role::Equal, generation_id: None, demoted: None }));
        roles.request(1, request(Role::Secondary, 3)).unwrap();
        let told = roles.request(1, ask).unwrap();
        assert_eq!((told.role, told.generation_id), (Role::Secondary, Some(3)));
    }

    #[test]
    fn generation_ids_wrap_around() {
        let mut roles = Roles::default();
        roles.request(1, request(Role::Primary, u64::MAX)).unwrap();
        roles.request(2, request(Role::Primary, 0)).unwrap();
        let stale = RoleError::Stale { said: u64::MAX, current: 0 };
        assert_eq!(roles.request(1, request(Role::Secondary, u64::MAX)), Err(stale));
        roles.request(1, request(Role::Secondary, u64::MAX / 2)).unwrap();
        let stale = roles.request(1, request(Role::Primary, 0)).unwrap_err();
        assert_eq!(stale.to_string(), "generation id 0 is older than 9223372036854775807");
        // To be equal takes no id.
        roles.request(1, request(Role::Equal, 5)).unwrap();
        assert_eq!((roles.of(1), roles.generation_id()), (Role::Equal, Some(u64::MAX / 2)));
    }

    #[test]
    fn a_primary_that_asks_again_demotes_nobody_and_one_that_goes_leaves_its_id() {
        let mut roles = Roles::default();
        roles.request(1, request(Role::Primary, 5)).unwrap();
        assert_eq!(roles.request(1, request(Role::Primary, 5)).unwrap().demoted, None);
        assert_eq!(roles.of(1), Role::Primary);
        roles.disconnected(1);
        assert_eq!((roles.primary(), roles.generation_id(), roles.of(1)), (None, Some(5), Role::Equal));
    }

    #[test]
    fn numbers_and_rights() {
        for code in 0..6 {
            assert_eq!(Role::from_code(code).map(Role::code), (1..=3).contains(&code).then_some(code));
        }
        assert_eq!([Role::Equal, Role::Primary, Role::Secondary].map(Role::may_modify), [true, true, false]);
    }

    proptest! {
        #[test]
        fn there_is_at_most_one_primary(steps in prop::collection::vec((0u8..4, 0u32..5, any::<Option<u8>>()), 0..40)) {
            let mut roles = Roles::default();
            for (controller, code, id) in steps {
                let request = RoleRequest { role: Role::from_code(code), generation_id: id.map(u64::from) };
                let before = roles.clone();
                match roles.request(controller, request) {
                    Ok(reply) => {
                        prop_assert_eq!(reply.role, request.role.unwrap_or(before.of(controller)));
                        prop_assert!(roles.generation_id() >= before.generation_id());
                    }
                    Err(_) => prop_assert_eq!(&roles, &before),
                }
                prop_assert!(roles.roles.values().filter(|role| **role == Role::Primary).count() <= 1);
            }
        }
    }
}

//! What is asked for a packet: the arguments of a `ct` action.

use crate::helper::Helper;
use crate::nat::Nat;

/// What [`Tracker::track`](crate::Tracker::track) is to do with a packet.
///
/// ```
/// use ovs_conntrack::{CtRequest, Helper, Nat, NatRange};
///
/// // ct(zone=5,nat), and ct(commit,zone=5,exec(set_field:0x1/0xf->ct_mark),nat(src=192.0.2.1),alg=ftp).
/// let look = CtRequest::lookup(5).with_nat(Nat::Existing);
/// let commit = CtRequest::commit(5)
///     .with_mark(0x1, 0xf)
///     .with_nat(Nat::Source(NatRange::address([192, 0, 2, 1])))
///     .with_helper(Helper::Ftp);
/// assert!(commit.commit && !look.commit);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct CtRequest {
    /// Zone: connections of different zones know nothing of one another.
    pub zone: u16,
    /// Whether a connection that the packet opens is stored.
    pub commit: bool,
    /// Whether, besides, a connection that runs against the packet is replaced by one that the packet opens. Implies
    /// `commit`. A packet that cannot open a connection, such as a SYN-ACK, replaces none.
    pub force: bool,
    /// Value and mask for the connection's mark; for a request that commits.
    pub mark: Option<(u32, u32)>,
    /// Value and mask for the connection's label; for a request that commits.
    pub label: Option<(u128, u128)>,
    /// Whether addresses are translated, and to what, if the request commits a new connection. A packet of a
    /// connection that is translated is left as it is unless this is given.
    pub nat: Option<Nat>,
    /// Who reads the connection's payload for connections to expect; for a request that commits a new connection.
    pub helper: Option<Helper>,
    /// The timeout policy of a new connection, as [`set_timeout_policy`](crate::Tracker::set_timeout_policy) knows it;
    /// otherwise that of its zone.
    pub timeout_policy: Option<u32>,
}

impl CtRequest {
    /// Find the packet's connection, store nothing.
    pub fn lookup(zone: u16) -> Self {
        CtRequest { zone, ..CtRequest::default() }
    }

    /// Find the packet's connection, or store the one that it opens.
    pub fn commit(zone: u16) -> Self {
        CtRequest { zone, commit: true, ..CtRequest::default() }
    }

    /// Find the packet's connection if the packet runs with it; store the one that it opens otherwise.
    pub fn force_commit(zone: u16) -> Self {
        CtRequest { zone, commit: true, force: true, ..CtRequest::default() }
    }

    /// This, and set the bits of `mask` in the connection's mark to those of `value`.
    #[must_use]
    pub fn with_mark(self, value: u32, mask: u32) -> Self {
        CtRequest { mark: Some((value, mask)), ..self }
    }

    /// This, and set the bits of `mask` in the connection's label to those of `value`.
    #[must_use]
    pub fn with_label(self, value: u128, mask: u128) -> Self {
        CtRequest { label: Some((value, mask)), ..self }
    }

    /// This, and translate addresses.
    #[must_use]
    pub fn with_nat(self, nat: Nat) -> Self {
        CtRequest { nat: Some(nat), ..self }
    }

    /// This, with a helper for a new connection.
    #[must_use]
    pub fn with_helper(self, helper: Helper) -> Self {
        CtRequest { helper: Some(helper), ..self }
    }

    /// This, with a timeout policy for a new connection.
    #[must_use]
    pub fn with_timeout_policy(self, policy: u32) -> Self {
        CtRequest { timeout_policy: Some(policy), ..self }
    }

    pub(crate) const fn commits(&self) -> bool {
        self.commit || self.force
    }
}

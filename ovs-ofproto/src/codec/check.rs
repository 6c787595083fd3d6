//! Whether the actions of a flow make sense for the packets that it matches.
//!
//! An action may change what the ones behind it meet: a pushed tag is there for a set of its priority, a popped one is
//! not. The rules are those of the table of fields, read against a match that follows the actions.

use ovs_packet::Match;
use ovs_packet::field::{FieldId, Prereq};
use ovs_packet::key::VLAN_PRESENT;

use super::error::OfError;
use crate::action::{Action, Instructions};
use crate::flow_mod::ALL_TABLES;

/// Checks the instructions of a flow that matches `matching` in `table`.
///
/// # Errors
/// [`OfError::BadActionMatchInconsistent`] if an action needs what the match does not say that the packets have;
/// [`OfError::BadActionBadTag`] if it pushes a third VLAN tag; [`OfError::BadActionBadType`] if the action set has a
/// clone, which it cannot; [`OfError::BadInstructionBadTable`] if the flow goes on with its own table or one before it.
///
/// ```
/// use ovs_ofproto::codec::{OfError, check_flow};
/// use ovs_ofproto::{Action, Instructions};
///
/// let actions = Instructions::apply(vec![Action::DecTtl]);
/// assert_eq!(check_flow(&"ip".parse()?, 0, &actions), Ok(()));
/// assert_eq!(check_flow(&"arp".parse()?, 0, &actions), Err(OfError::BadActionMatchInconsistent));
/// # Ok::<(), ovs_packet::text::ParseMatchError>(())
/// ```
pub fn check_flow(matching: &Match, table: u8, instructions: &Instructions) -> Result<(), OfError> {
    if instructions.goto.is_some_and(|next| next <= table && table != ALL_TABLES) {
        return Err(OfError::BadInstructionBadTable);
    }
    if are_plain(instructions) {
        return Ok(());
    }
    let mut known = Known::of(matching);
    known.follow(&instructions.apply)?;
    if instructions.written().iter().any(|a| !a.is_for_action_sets()) {
        return Err(OfError::BadActionBadType);
    }
    known.clone().follow(instructions.written())
}

/// Whether all actions suit any packet and leave it as it is, so that nothing has to be known of the match: most flows are
/// so, and a match is large.
fn are_plain(instructions: &Instructions) -> bool {
    let plain =
        |a: &Action| matches!(a, Action::Output { .. } | Action::Group(_) | Action::Resubmit { original: false, .. });
    instructions.apply.iter().chain(instructions.written()).all(plain)
}

/// Writes into the actions of a flow what they must know of its match to be sent in any version.
pub(super) fn settle(matching: &Match, instructions: &mut Instructions) {
    if are_plain(instructions) {
        return;
    }
    let mut known = Known::of(matching);
    known.settle(&mut instructions.apply);
    if let Some(write) = &mut instructions.write {
        known.settle(write);
    }
}

/// How many VLAN tags a packet can have, as far as this switch looks.
const MAX_TAGS: u8 = 2;

/// What is known of packets between two actions.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    /// What they match.
    pub(crate) m: Match,
    /// How many VLAN tags they have at least.
    tags: u8,
}

impl Known {
    /// What is known of packets that a flow matches.
    pub(crate) fn of(matching: &Match) -> Known {
        Known { m: *matching, tags: Prereq::Vlan.implied_by(matching).into() }
    }

    /// Checks actions one after the other. Nesting is bounded where lists are made: by the decoder and the parser.
    pub(crate) fn follow(&mut self, actions: &[Action]) -> Result<(), OfError> {
        actions.iter().try_for_each(|a| self.follow_one(a))
    }

    fn needs(&self, prereq: Prereq) -> Result<(), OfError> {
        // What the match leaves open is taken for zero, as upstream takes it.
        if prereq.holds(self.m.key()) { Ok(()) } else { Err(OfError::BadActionMatchInconsistent) }
    }

    /// The protocol above IP, if it is TCP, UDP or SCTP.
    fn protocol(&self) -> u8 {
        [(Prereq::Tcp, 6), (Prereq::Udp, 17), (Prereq::Sctp, 132)]
            .into_iter()
            .find_map(|(prereq, protocol)| prereq.implied_by(&self.m).then_some(protocol))
            .unwrap_or(0)
    }

    /// Writes into actions what the match says of them.
    fn settle(&mut self, actions: &mut [Action]) {
        for a in actions {
            match a {
                Action::SetVlanVid { tagged, .. } | Action::SetVlanPcp { tagged, .. } => *tagged = self.tags > 0,
                Action::SetL4Src { protocol, .. } | Action::SetL4Dst { protocol, .. } => *protocol = self.protocol(),
                Action::Clone(inner) => self.clone().settle(inner),
                _ => {}
            }
            // What does not fit is said elsewhere.
            let _ = self.follow_one(a);
        }
    }

    /// From here on there are `tags` tags.
    fn set_tags(&mut self, tags: u8) {
        let present = u128::from(VLAN_PRESENT);
        self.tags = tags;
        self.m.set_masked(FieldId::VlanTci, if tags > 0 { present } else { 0 }, present);
    }

    fn follow_one(&mut self, action: &Action) -> Result<(), OfError> {
        match action {
            Action::SetField { field, value, mask } | Action::SetFieldNicira { field, value, mask } => {
                self.needs(field.info().prereq)?;
                match field {
                    FieldId::VlanVid => self.needs(Prereq::Vlan),
                    FieldId::VlanTci if mask & u128::from(VLAN_PRESENT) != 0 => {
                        let present = value & u128::from(VLAN_PRESENT) != 0;
                        self.set_tags(if present { self.tags.max(1) } else { self.tags.saturating_sub(1) });
                        Ok(())
                    }
                    _ => Ok(()),
                }
            }
            Action::PushVlan(_) if self.tags >= MAX_TAGS => Err(OfError::BadActionBadTag),
            Action::PushVlan(_) => {
                self.set_tags(self.tags.saturating_add(1));
                Ok(())
            }
            Action::StripVlan => {
                self.set_tags(self.tags.saturating_sub(1));
                Ok(())
            }
            Action::SetVlanVid { push, .. } | Action::SetVlanPcp { push, .. } => {
                if !push {
                    self.needs(Prereq::Vlan)?;
                }
                self.set_tags(self.tags.max(1));
                Ok(())
            }
            Action::PopVlan => {
                self.needs(Prereq::Vlan)?;
                self.set_tags(self.tags.saturating_sub(1));
                Ok(())
            }
            Action::Ct(ct) => {
                self.needs(Prereq::Ip)?;
                // The application's protocol must be known to be there.
                match ct.alg {
                    21 => self.needs(Prereq::Tcp),
                    69 => self.needs(Prereq::Udp),
                    _ => Ok(()),
                }
            }
            Action::DecTtl | Action::DecTtlTo(_) | Action::SetIpTos(_) | Action::SetIpEcn(_) | Action::SetIpTtl(_) => {
                self.needs(Prereq::Ip)
            }
            Action::SetIpv4Src(_) | Action::SetIpv4Dst(_) => self.needs(Prereq::Ipv4),
            Action::SetL4Src { .. } | Action::SetL4Dst { .. } if self.protocol() == 0 => {
                Err(OfError::BadActionMatchInconsistent)
            }
            Action::SetMplsLabel(_) | Action::SetMplsTc(_) | Action::SetMplsTtl(_) | Action::DecMplsTtl => {
                self.needs(Prereq::Mpls)
            }
            Action::PushMpls(eth_type) => {
                self.m.set(FieldId::EthType, (*eth_type).into());
                Ok(())
            }
            Action::PopMpls(eth_type) => {
                self.needs(Prereq::Mpls)?;
                self.m.set(FieldId::EthType, (*eth_type).into());
                Ok(())
            }
            Action::Load { dst, .. } => self.needs(dst.field.info().prereq),
            Action::Move { src, dst, .. } => {
                self.needs(src.field.info().prereq)?;
                self.needs(dst.field.info().prereq)
            }
            Action::Resubmit { original: true, .. } => self.needs(Prereq::Ct),
            Action::OutputField { src, .. } | Action::Push(src) => self.needs(src.field.info().prereq),
            Action::Pop(dst) => self.needs(dst.field.info().prereq),
            Action::Clone(actions) => self.clone().follow(actions),
            // From here on nothing is known of the packet.
            Action::Encap { .. } | Action::Decap(_) => {
                self.m = Match::ANY;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Parser;

    fn check(matching: &str, actions: &str) -> Result<(), OfError> {
        let actions = Parser::default().actions(actions).unwrap();
        check_flow(&matching.parse().unwrap(), 0, &Instructions::apply(actions))
    }

    #[test]
    fn tags_are_counted() {
        use OfError::*;
        assert_eq!(check("", "pop_vlan"), Err(BadActionMatchInconsistent));
        assert_eq!(check("dl_vlan=5", "pop_vlan,pop_vlan"), Err(BadActionMatchInconsistent));
        assert_eq!(check("dl_vlan=5", "push_vlan:0x8100,pop_vlan,pop_vlan"), Ok(()));
        assert_eq!(check("", "push_vlan:0x8100,push_vlan:0x8100"), Ok(()));
        assert_eq!(check("dl_vlan=5", "push_vlan:0x8100,push_vlan:0x8100"), Err(BadActionBadTag));
        assert_eq!(check("", "clone(push_vlan:0x8100),set_field:1->vlan_pcp"), Err(BadActionMatchInconsistent));
    }

    #[test]
    fn fields_must_be_there() {
        assert_eq!(check("tcp", "set_field:5->tcp_dst"), Ok(()));
        assert_eq!(check("udp", "set_field:5->tcp_dst"), Err(OfError::BadActionMatchInconsistent));
        assert_eq!(check("arp", "ct(commit)"), Err(OfError::BadActionMatchInconsistent));
        let write = Instructions { write: Some(vec![Action::Clone(vec![])]), ..Instructions::default() };
        assert_eq!(check_flow(&Match::ANY, 0, &write), Err(OfError::BadActionBadType));
    }
}

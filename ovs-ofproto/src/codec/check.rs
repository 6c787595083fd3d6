//! Whether the actions of a flow make sense for the packets that it matches.
//!
//! An action may change what the ones behind it meet: a pushed tag is there for a set of its priority, a popped one is
//! not. The rules are those of the table of fields, read against a match that follows the actions.

use ovs_packet::Match;
use ovs_packet::field::{FieldId, Prereq};
use ovs_packet::key::{VLAN_PCP_MASK, VLAN_PRESENT};

use super::error::OfError;
use crate::action::{Action, Instructions};
use crate::flow_mod::ALL_TABLES;

/// Checks the instructions of a flow that matches `matching` in `table`.
///
/// # Errors
/// [`OfError::BadActionMatchInconsistent`] if an action needs what the match does not say that the packets have;
/// [`OfError::BadInstructionBadTable`] if the flow goes on with its own table or one before it.
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
    let mut m = *matching;
    check_actions(&mut m, &instructions.apply)?;
    check_actions(&mut m.clone(), &instructions.write)?;
    match instructions.goto {
        Some(next) if next <= table && table != ALL_TABLES => Err(OfError::BadInstructionBadTable),
        _ => Ok(()),
    }
}

/// Checks a list of actions on packets of `m`, and makes `m` what they are behind it.
pub(crate) fn check_actions(m: &mut Match, actions: &[Action]) -> Result<(), OfError> {
    // Nesting is bounded where lists are made: by the decoder and the parser.
    actions.iter().try_for_each(|a| check_action(m, a))
}

fn check_action(m: &mut Match, action: &Action) -> Result<(), OfError> {
    let needs = |m: &Match, prereq: Prereq| match prereq.implied_by(m) {
        true => Ok(()),
        false => Err(OfError::BadActionMatchInconsistent),
    };
    match action {
        Action::Output { .. } | Action::Resubmit { .. } | Action::CtClear => Ok(()),
        Action::SetField { field, value, mask } => {
            needs(m, field.info().prereq)?;
            match field {
                FieldId::VlanVid => needs(m, Prereq::Vlan),
                FieldId::VlanTci => {
                    let (value, mask) = (*value as u16 & VLAN_PRESENT, *mask as u16 & VLAN_PRESENT);
                    let (tci, known) = (m.key().vlan_tci.get(), m.mask().bits.vlan_tci.get());
                    let tci = tci & !mask | value;
                    m.set_masked(FieldId::VlanTci, tci.into(), (known | mask).into());
                    Ok(())
                }
                _ => Ok(()),
            }
        }
        Action::PushVlan(_) => {
            let present = u128::from(VLAN_PRESENT);
            m.set_masked(FieldId::VlanTci, present, present);
            Ok(())
        }
        Action::PopVlan => {
            needs(m, Prereq::Vlan)?;
            // What was below the tag is not known, but a second tag is not expected.
            m.set_masked(FieldId::VlanTci, 0, (VLAN_PRESENT | VLAN_PCP_MASK).into());
            Ok(())
        }
        Action::DecTtl | Action::Ct(_) => needs(m, Prereq::Ip),
        Action::Clone(actions) => check_actions(&mut m.clone(), actions),
    }
}

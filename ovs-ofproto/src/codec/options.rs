//! Whether the tunnel options that actions name are in a switch's table of options, and are as long as actions take them
//! to be.

use ovs_packet::field::{FieldId, TlvTable};

use super::error::OfError;
use crate::action::{Action, Instructions, LearnSource, LearnTarget, Subfield};

/// Checks the tunnel options that instructions name against `table`.
///
/// # Errors
/// [`OfError::FlowModNxInvalidTlvField`] if an option is not in the table, [`OfError::BadActionBadSetLength`] if bits of it
/// are named, or set, that it has not.
///
/// ```
/// use ovs_ofproto::FlowMod;
/// use ovs_ofproto::codec::{OfError, check_options};
/// use ovs_packet::field::{TlvMapping, TlvTable};
///
/// let mut table = TlvTable::default();
/// table.add(&[TlvMapping { class: 0xffff, kind: 0, len: 4, index: 0 }])?;
/// let check = |actions: &str| {
///     let flow: FlowMod = format!("actions={actions}").parse().unwrap();
///     check_options(&flow.instructions, &table)
/// };
/// assert_eq!(check("move:tun_metadata0[0..31]->reg0[]"), Ok(()));
/// assert_eq!(check("clone(push:tun_metadata1[0..31])"), Err(OfError::FlowModNxInvalidTlvField));
/// assert_eq!(check("output:tun_metadata0[32..63]"), Err(OfError::BadActionBadSetLength));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check_options(instructions: &Instructions, table: &TlvTable) -> Result<(), OfError> {
    each(instructions, &mut |field, bits| has_bits(field, bits, table))
}

/// Which fields for tunnel options instructions name, a bit each.
#[cfg(feature = "pipeline")]
pub(crate) fn options_named(instructions: &Instructions) -> u64 {
    let mut named = 0;
    let mut note = |field: FieldId, _| {
        named |= field.tun_metadata_index().map_or(0, |index| 1 << (index & 63));
        Ok(())
    };
    // Nothing is refused.
    let _ = each(instructions, &mut note);
    named
}

/// Is given each field that may be a tunnel option, and how many of its first bits are named.
type Visit<'a> = &'a mut dyn FnMut(FieldId, u16) -> Result<(), OfError>;

fn each(instructions: &Instructions, visit: Visit<'_>) -> Result<(), OfError> {
    all(&instructions.apply, visit)?;
    all(instructions.written(), visit)
}

/// Nesting is bounded where lists are made: by the decoder and the parser.
fn all(actions: &[Action], visit: Visit<'_>) -> Result<(), OfError> {
    actions.iter().try_for_each(|action| one(action, visit))
}

fn one(action: &Action, visit: Visit<'_>) -> Result<(), OfError> {
    let mut part = |s: &Subfield| visit(s.field, s.offset.saturating_add(s.bits));
    match action {
        Action::OutputField { src, .. } | Action::Push(src) => part(src),
        Action::Pop(dst) | Action::Load { dst, .. } | Action::CheckPacketLarger { dst, .. } => part(dst),
        Action::Move { src, dst, .. } => part(src).and_then(|()| part(dst)),
        Action::SetTunnelOption(set) => {
            let field = FieldId::tun_metadata(usize::from(set.index)).ok_or(OfError::FlowModNxInvalidTlvField)?;
            visit(field, u16::try_from(set.value.len()).unwrap_or(u16::MAX).saturating_mul(8))
        }
        // A flow that was learnt sets options so.
        Action::SetField { field, .. } | Action::SetFieldNicira { field, .. } => visit(*field, 0),
        Action::DeleteField(field) => visit(*field, 0),
        Action::Multipath(m) => part(&m.dst),
        Action::Bundle(b) => b.dst.as_ref().map_or(Ok(()), part),
        Action::Learn(learn) => learn.specs.iter().try_for_each(|spec| {
            if let LearnSource::Field(src) = &spec.source {
                part(src)?;
            }
            match &spec.target {
                LearnTarget::Match(dst) | LearnTarget::Load(dst) => part(dst),
                LearnTarget::Output => Ok(()),
            }
        }),
        Action::Ct(ct) => {
            ct.zone_src.as_ref().map_or(Ok(()), part)?;
            all(&ct.exec, visit)
        }
        Action::Clone(actions) => all(actions, visit),
        _ => Ok(()),
    }
}

/// Whether a field has its first `bits` bits, which all but tunnel options have.
fn has_bits(field: FieldId, bits: u16, table: &TlvTable) -> Result<(), OfError> {
    let Some(index) = field.tun_metadata_index() else { return Ok(()) };
    match table.mapping(index) {
        None => Err(OfError::FlowModNxInvalidTlvField),
        Some(mapping) if bits > u16::from(mapping.len).saturating_mul(8) => Err(OfError::BadActionBadSetLength),
        Some(_) => Ok(()),
    }
}

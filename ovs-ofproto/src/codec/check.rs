//! Whether the actions of a flow make sense for the packets that it matches.
//!
//! An action may change what the ones behind it meet: a pushed tag is there for a set of its priority, a popped one is
//! not. The rules are those of the table of fields, read against a match that follows the actions.

use std::borrow::Cow;

use ovs_packet::Match;
use ovs_packet::field::{FieldId, Prereq};
use ovs_packet::key::VLAN_PRESENT;

use super::error::OfError;
use crate::action::{Action, Instructions, Learn, LearnSource, LearnTarget};
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
    match check_loosely(matching, table, instructions)? {
        true => Ok(()),
        false => Err(OfError::BadActionMatchInconsistent),
    }
}

/// As [`check_flow`], but whether all actions fit the match is said apart: OpenFlow 1.0 takes actions of its own that do
/// not, and passes over them where packets are not of the kind.
pub(crate) fn check_loosely(matching: &Match, table: u8, instructions: &Instructions) -> Result<bool, OfError> {
    check_asked(matching, table, instructions, Asked::by(instructions))
}

/// The same of instructions that ask for this.
#[inline(always)]
pub(super) fn check_asked(
    matching: &Match,
    table: u8,
    instructions: &Instructions,
    asked: Asked,
) -> Result<bool, OfError> {
    let fits = if asked.has(Asked::CONTEXT) || instructions.write.is_some() {
        check_followed(matching, instructions, asked)?
    } else {
        !asked.has(Asked::IP) || Prereq::Ip.holds_for(matching)
    };
    match instructions.goto {
        Some(next) if next <= table && table != ALL_TABLES => Err(OfError::BadInstructionBadTable),
        _ => Ok(fits),
    }
}

/// Whether all actions fit, where they must be followed.
#[inline(never)]
fn check_followed(matching: &Match, instructions: &Instructions, asked: Asked) -> Result<bool, OfError> {
    let (apply, written) = (instructions.apply.as_slice(), instructions.written());
    let mut known = asked.has(Asked::CONTEXT).then(|| Known::of(matching));
    let fits = match &mut known {
        None => asked.applied & Asked::IP == 0 || Prereq::Ip.holds_for(matching),
        Some(known) => {
            known.follow(apply)?;
            known.fits
        }
    };
    // The action set is for packets of whatever kind they are then.
    if written.iter().any(|a| !a.is_for_action_sets()) {
        return Err(OfError::BadActionBadType);
    }
    if let Some(known) = &mut known {
        known.follow(written)?;
    }
    Ok(fits)
}

/// What actions ask of packets; most nothing, and what is known of the packets need not be followed for them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    applied: u8,
    written: u8,
}

impl Asked {
    /// Of an action: it asks for IP alone, as nearly every router's does.
    const IP: u8 = 1;
    /// Of an action: it asks for something else, or tells something to those behind it.
    const CONTEXT: u8 = 2;

    #[inline(always)]
    pub(super) fn by(instructions: &Instructions) -> Asked {
        let by = |actions: &[Action]| actions.iter().fold(0, |all, action| all | Asked::by_one(action));
        Asked { applied: by(&instructions.apply), written: instructions.write.as_deref().map_or(0, by) }
    }

    #[inline(always)]
    fn by_one(action: &Action) -> u8 {
        match action {
            Action::DecTtl => Asked::IP,
            action if has_context(action) => Asked::CONTEXT,
            _ => 0,
        }
    }

    #[inline(always)]
    fn has(self, what: u8) -> bool {
        (self.applied | self.written) & what != 0
    }
}

/// Writes into the actions of a flow what they must know of its match to be sent in any version. Gives what they ask.
#[inline]
pub(super) fn settle(matching: &Match, instructions: &mut Instructions) -> Asked {
    let asked = Asked::by(instructions);
    // What is unsettled has a context.
    if asked.has(Asked::CONTEXT) {
        settle_some(matching, instructions);
    }
    asked
}

#[inline(never)]
fn settle_some(matching: &Match, instructions: &mut Instructions) {
    let needs = |actions: &[Action]| actions.iter().any(is_unsettled);
    if !needs(&instructions.apply) && !needs(instructions.written()) {
        return;
    }
    let mut known = Known::of(matching);
    known.settle(&mut instructions.apply);
    if let Some(write) = &mut instructions.write {
        known.settle(write);
    }
}

/// Whether an action asks anything of the packets that it meets, or tells anything to those behind it.
#[inline(always)]
fn has_context(action: &Action) -> bool {
    let tag = |field| matches!(field, FieldId::VlanTci | FieldId::VlanVid | FieldId::VlanPcp);
    let free = |field: FieldId| field.info().prereq == Prereq::None && !tag(field);
    match action {
        Action::Output { .. }
        | Action::Controller(_)
        | Action::Group(_)
        | Action::SetQueue(_)
        | Action::SetTunnel { .. }
        | Action::ResubmitPort(_)
        | Action::Resubmit { original: false, .. }
        | Action::Note(_)
        | Action::Conjunction { .. } => false,
        Action::Load { dst, .. } => !free(dst.field),
        Action::Move { src, dst, .. } => !(free(src.field) && free(dst.field)),
        Action::SetField { field, .. } | Action::SetFieldNicira { field, .. } => !free(*field),
        _ => true,
    }
}

/// Whether what an action means hangs on the match.
fn is_unsettled(action: &Action) -> bool {
    matches!(
        action,
        Action::SetVlanVid { .. }
            | Action::SetVlanPcp { .. }
            | Action::SetL4Src { .. }
            | Action::SetL4Dst { .. }
            | Action::Clone(_)
    )
}

/// The upper half of a packet type, and there: the lower half is an Ethertype (OpenFlow 1.5, section 7.2.3.11).
const NAMESPACE: u128 = 0xffff_0000;
const ETHERTYPE_NAMESPACE: u128 = 0x1_0000;
/// The type of a packet of which nothing is known: no field of a header is there.
const UNKNOWN_TYPE: u128 = 0xffff_ffff;

/// How many VLAN tags a packet can have, as far as this switch looks.
const MAX_TAGS: u8 = 2;

/// What is known of packets between two actions.
#[derive(Clone)]
pub(crate) struct Known<'m> {
    /// What they match; most actions leave it as it is.
    m: Cow<'m, Match>,
    /// How many VLAN tags they have at least.
    tags: u8,
    /// Whether all actions so far find what they are for; those that do not are the ones that OpenFlow 1.0 has too.
    pub(crate) fits: bool,
}

/// A field that packets need not have, by what is known of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Misfit {
    /// It is read or matched.
    Source(FieldId),
    /// It is written.
    Target(FieldId),
}

impl<'m> Known<'m> {
    /// What is known of packets that a flow matches.
    pub(crate) fn of(matching: &'m Match) -> Known<'m> {
        let tagged = matching.get(FieldId::VlanTci).0 & u128::from(VLAN_PRESENT) != 0;
        Known { m: Cow::Borrowed(matching), tags: tagged.into(), fits: true }
    }

    /// What is known of any packet.
    pub(crate) fn nothing() -> Known<'m> {
        Known { m: Cow::Owned(Match::ANY), tags: 0, fits: true }
    }

    /// Checks actions one after the other. Nesting is bounded where lists are made: by the decoder and the parser.
    pub(crate) fn follow(&mut self, actions: &[Action]) -> Result<(), OfError> {
        actions.iter().try_for_each(|a| self.follow_one(a))
    }

    /// Whether packets have what a field needs. What the match leaves open is taken for zero, as upstream takes it.
    pub(crate) fn has(&self, prereq: Prereq) -> bool {
        prereq.holds_for(&self.m)
    }

    fn needs(&self, prereq: Prereq) -> Result<(), OfError> {
        if self.has(prereq) { Ok(()) } else { Err(OfError::BadActionMatchInconsistent) }
    }

    /// As `needs`, of an action that does nothing where it does not fit.
    fn would_need(&mut self, prereq: Prereq) -> Result<(), OfError> {
        self.fits &= self.has(prereq);
        Ok(())
    }

    /// The field that keeps a flow from being learned: what is learned from must be there, and what the new flow matches
    /// and changes must be there by what it matches before.
    pub(crate) fn misfit_of(&self, learn: &Learn) -> Option<Misfit> {
        let mut learned = Known::nothing();
        for spec in &learn.specs {
            if let LearnSource::Field(src) = spec.source
                && !self.has(src.field.info().prereq)
            {
                return Some(Misfit::Source(src.field));
            }
            match &spec.target {
                LearnTarget::Match(dst) => {
                    if !learned.has(dst.field.info().prereq) {
                        return Some(Misfit::Source(dst.field));
                    }
                    if let LearnSource::Immediate(bytes) = &spec.source {
                        let value = bytes.iter().fold(0u128, |v, b| v << 8 | u128::from(*b));
                        let value = value.checked_shl(dst.offset.into()).unwrap_or(0);
                        learned.m.to_mut().set_masked(dst.field, value & dst.mask(), dst.mask());
                    }
                }
                LearnTarget::Load(dst) if !learned.has(dst.field.info().prereq) => {
                    return Some(Misfit::Target(dst.field));
                }
                LearnTarget::Load(_) | LearnTarget::Output => {}
            }
        }
        None
    }

    /// The protocol above IP, if it is TCP, UDP or SCTP.
    fn protocol(&self) -> u8 {
        [(Prereq::Tcp, 6), (Prereq::Udp, 17), (Prereq::Sctp, 132)]
            .into_iter()
            .find_map(|(prereq, protocol)| self.has(prereq).then_some(protocol))
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

    /// A packet without Ethernet has its Ethertype in its packet type.
    fn set_ethertype_of_packet(&mut self) {
        let (kind, _) = self.m.get(FieldId::PacketType);
        if kind & NAMESPACE == ETHERTYPE_NAMESPACE {
            self.m.to_mut().set(FieldId::EthType, kind & !NAMESPACE);
        }
    }

    /// From here on there are `tags` tags.
    fn set_tags(&mut self, tags: u8) {
        let present = u128::from(VLAN_PRESENT);
        self.tags = tags;
        self.m.to_mut().set_masked(FieldId::VlanTci, if tags > 0 { present } else { 0 }, present);
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
                self.would_need(Prereq::Vlan)?;
                self.set_tags(self.tags.saturating_sub(1));
                Ok(())
            }
            Action::SetVlanVid { push, .. } | Action::SetVlanPcp { push, .. } => {
                if !push {
                    self.would_need(Prereq::Vlan)?;
                }
                self.set_tags(self.tags.max(1));
                Ok(())
            }
            Action::PopVlan => {
                self.would_need(Prereq::Vlan)?;
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
                self.would_need(Prereq::Ip)
            }
            Action::SetIpv4Src(_) | Action::SetIpv4Dst(_) => self.would_need(Prereq::Ipv4),
            Action::SetL4Src { .. } | Action::SetL4Dst { .. } => {
                self.fits &= self.protocol() != 0;
                Ok(())
            }
            Action::SetMplsLabel(_) | Action::SetMplsTc(_) | Action::SetMplsTtl(_) | Action::DecMplsTtl => {
                self.would_need(Prereq::Mpls)
            }
            Action::FinTimeout { .. } => self.would_need(Prereq::Tcp),
            Action::DecNshTtl => self.would_need(Prereq::Nsh),
            Action::Learn(learn) => match self.misfit_of(learn) {
                None => Ok(()),
                Some(_) => Err(OfError::BadActionMatchInconsistent),
            },
            Action::Multipath(m) => self.needs(m.dst.field.info().prereq),
            Action::Bundle(b) => b.dst.map_or(Ok(()), |dst| self.needs(dst.field.info().prereq)),
            Action::PushMpls(eth_type) => {
                self.m.to_mut().set(FieldId::EthType, (*eth_type).into());
                Ok(())
            }
            Action::PopMpls(eth_type) => {
                self.would_need(Prereq::Mpls)?;
                self.m.to_mut().set(FieldId::EthType, (*eth_type).into());
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
            Action::Clone(actions) => {
                let mut inner = self.clone();
                let followed = inner.follow(actions);
                self.fits &= inner.fits;
                followed
            }
            Action::Encap { packet_type, .. } => {
                let inside = self.m.get(FieldId::EthType);
                let mut outer = Match::ANY;
                outer.set(FieldId::PacketType, (*packet_type).into());
                if *packet_type == 0 {
                    // What is behind the Ethernet header is what was there before.
                    outer.set_masked(FieldId::EthType, inside.0, inside.1);
                }
                self.m = Cow::Owned(outer);
                self.set_ethertype_of_packet();
                Ok(())
            }
            Action::Decap(_) if self.has(Prereq::Ethernet) => {
                let inside = self.m.get(FieldId::EthType).0;
                self.m.to_mut().set(FieldId::PacketType, ETHERTYPE_NAMESPACE | inside);
                Ok(())
            }
            // From here on nothing is known of the packet.
            Action::Decap(_) => {
                let mut unknown = Match::ANY;
                unknown.set(FieldId::PacketType, UNKNOWN_TYPE);
                self.m = Cow::Owned(unknown);
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
        let pop = Instructions::apply(vec![Action::PopVlan]);
        assert_eq!(check_loosely(&Match::ANY, 0, &pop), Ok(false));
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
        assert_eq!(check("tcp,ip_frag=later", "set_field:5->tcp_dst"), Err(OfError::BadActionMatchInconsistent));
        let labels = "encap(mpls),set_field:1->mpls_label,encap(mpls),set_field:2->mpls_label,encap(ethernet),\
                      set_field:0:0:0:0:0:2->eth_dst";
        assert_eq!(check("", labels), Ok(()));
        assert_eq!(check("", "encap(mpls),set_field:0:0:0:0:0:2->eth_dst"), Err(OfError::BadActionMatchInconsistent));
        assert_eq!(check("tcp", "decap,dec_ttl"), Ok(()));
        assert_eq!(check("tcp", "decap,decap,dec_ttl"), Err(OfError::BadActionMatchInconsistent));
        let learn = "learn(eth_type=0x800,NXM_OF_IP_SRC[]=NXM_OF_IP_DST[])";
        assert_eq!((check("ip", learn), check("arp", learn)), (Ok(()), Err(OfError::BadActionMatchInconsistent)));
        let learn = "learn(NXM_OF_IP_SRC[]=NXM_OF_IP_DST[])";
        assert_eq!(check("ip", learn), Err(OfError::BadActionMatchInconsistent));
        let write = Instructions { write: Some(vec![Action::Clone(vec![])]), ..Instructions::default() };
        assert_eq!(check_flow(&Match::ANY, 0, &write), Err(OfError::BadActionBadType));
    }
}

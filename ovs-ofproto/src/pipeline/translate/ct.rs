//! Connection tracking.

use ovs_dpif::{CtRequest, DpAction, DropReason, Helper, Nat, NatRange};
use ovs_packet::field::{FieldId, Prereq};

use super::Translator;
use crate::action::{self, Action, CtAction, NatFlags};

impl Translator<'_> {
    pub(super) fn ct(&mut self, ct: &CtAction, _last: bool) {
        if !self.tracked.holds(Prereq::Ip) {
            return;
        }
        let zone = ct.zone_src.map_or(ct.zone, |src| self.value_of(src) as u16);
        // What comes before is done before the packet is tracked.
        self.commit();
        let mut request = match ct {
            CtAction { commit: true, force: true, .. } => CtRequest::force_commit(zone),
            CtAction { commit: true, .. } => CtRequest::commit(zone),
            _ => CtRequest::lookup(zone),
        };
        // Marks and labels are those of the connection: what is written is not the packet's.
        let (mut mark, mut label) = ((0u32, 0u32), (0u128, 0u128));
        for a in &ct.exec {
            if let Action::Nat(nat) = a {
                request.nat = Some(nat_of(nat));
                continue;
            }
            let (field, value, mask) = match a {
                Action::Move { src, dst, .. } => {
                    let value = self.value_of(*src);
                    (dst.field, (value & dst.ones()) << dst.offset, dst.mask())
                }
                a => match a.as_set_field() {
                    Some(set) => set,
                    None => continue,
                },
            };
            match field {
                FieldId::CtMark => mark = ((mark.0 & !(mask as u32)) | value as u32, mark.1 | mask as u32),
                FieldId::CtLabel => label = ((label.0 & !mask) | value, label.1 | mask),
                _ => {}
            }
        }
        if ct.commit {
            request.mark = (mark.1 != 0).then_some(mark);
            request.label = (label.1 != 0).then_some(label);
            request.helper = match ct.alg {
                21 => Some(Helper::Ftp),
                69 => Some(Helper::Tftp),
                _ => None,
            };
            let policy = self.bridge.hooks.timeouts().get(&zone).copied();
            request.timeout_policy = policy.filter(|_| self.view.features.ct_timeouts);
            if request.timeout_policy.is_some() {
                // The kernel has a policy for each protocol.
                self.tracked.read(FieldId::NwProto);
            }
        }
        self.out.push(DpAction::Ct(request));
        if let Some(table) = ct.table {
            self.conntracked = true;
            self.fork(table);
        }
        self.detail(|| "Sets the packet to an untracked state, and clears all the conntrack fields.".to_string());
        self.forget_connection();
        self.conntracked = false;
        if ct.table.is_none() && !ct.commit {
            self.because(DropReason::NoOutput);
        }
    }

    pub(super) fn ct_clear(&mut self) {
        if !self.conntracked {
            // There is nothing to clear.
            return;
        }
        self.forget_connection();
        self.conntracked = false;
        if self.view.features.ct_clear {
            self.out.push(DpAction::CtClear);
        }
    }

    /// Whether the packet has the original tuple of a connection.
    pub(super) fn holds_original_tuple(&mut self) -> bool {
        self.tracked.holds(Prereq::Ip) && self.tracked.holds(Prereq::Ct)
    }
}

fn nat_of(nat: &action::Nat) -> Nat {
    let range = nat.range.map_or(NatRange::own(), |r| {
        let mut range = NatRange::addresses(r.min, r.max.unwrap_or(r.min));
        range.ports = (r.port_min != 0).then_some((r.port_min, r.port_max.max(r.port_min)));
        range
    });
    let mut range = range;
    range.random = nat.flags.contains(NatFlags::RANDOM);
    range.hash = nat.flags.contains(NatFlags::HASH);
    range.persistent = nat.flags.contains(NatFlags::PERSISTENT);
    match () {
        () if nat.flags.contains(NatFlags::SRC) => Nat::Source(range),
        () if nat.flags.contains(NatFlags::DST) => Nat::Destination(range),
        () => Nat::Existing,
    }
}

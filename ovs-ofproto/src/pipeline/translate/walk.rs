//! The walk through tables, instructions and the action set (OpenFlow 1.5, sections 5.1 to 5.6).

use ovs_dpif::DropReason;
use ovs_packet::OfPort;
use ovs_packet::field::FieldId;
use ovs_packet::key::{FRAG_ANY, FRAG_LATER};

use super::{Effect, Translator};
use crate::action::{Action, Instructions};
use crate::codec::PacketInReason;
use crate::pipeline::flow_table::{RuleId, TableMiss, VISIBLE_TABLES};
use crate::pipeline::ofproto::Fragments;
use crate::pipeline::port::PortConfig;
use crate::pipeline::trace::Kind;
use crate::pipeline::{MAX_LOOKUP_DEPTH, MAX_RESUBMIT_DEPTH, MAX_RESUBMITS};
use crate::session::AsyncConfig;
use crate::text::{NoNames, PortNames, Prioritised};

/// A lookup that is all that is left to do of a flow. It is said in a word which that is: handed on in pieces, it is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Onward {
    /// The last of its actions; with whether nothing comes after it.
    Resubmit {
        last: bool,
    },
    Goto {
        last: bool,
    },
}

/// Where and how a packet is looked up.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Lookup {
    pub(super) table: u8,
    /// As if it had come in by this port.
    pub(super) port: Option<OfPort>,
    /// With the original tuple of its connection in the place of its own.
    pub(super) original: bool,
    /// By a resubmit, for which a table says nothing of what misses, and which may be nested for ever.
    pub(super) resubmit: bool,
}

impl Translator<'_> {
    /// Whether there is room for another lookup; gives up if there is none.
    pub(super) fn may_go_on(&mut self) -> bool {
        if self.depth >= MAX_RESUBMIT_DEPTH || self.nested >= MAX_LOOKUP_DEPTH {
            self.give_up(DropReason::TooDeep, || format!("over max translation depth {MAX_RESUBMIT_DEPTH}"));
        } else if self.resubmits >= MAX_RESUBMITS {
            self.give_up(DropReason::TooManyResubmits, || format!("over {MAX_RESUBMITS} resubmit actions"));
        } else if self.written.bytes(&self.out) > super::MAX_BYTES {
            // What there is so far is executed, packet by packet.
            self.complain(|| "resubmits yielded over 64 kB of actions".to_string());
            self.exit = true;
        } else if self.stack.len() >= super::MAX_STACK {
            self.give_up(DropReason::StackTooDeep, || "resubmits yielded over 64 kB of stack".to_string());
        }
        self.failed.is_none() && !self.exit
    }

    /// Looks the packet up in a table and executes what is found. `last` says that nothing comes after.
    ///
    /// A lookup that a flow ends with is not nested in it: what is under way is no deeper for a longer way, though it counts
    /// as if it were.
    pub(super) fn lookup_and_execute(&mut self, lookup: Lookup, last: bool) {
        let (table, cookie, rule) = (self.table, self.rule_cookie, self.rule);
        // A flow that a bucket leads to is no bucket's.
        let (in_group, depth, nested) = (std::mem::take(&mut self.in_group), self.depth, self.nested);
        let (mut next, mut levels) = (Some((lookup, last)), 0);
        while let Some((lookup, last)) = next
            && self.may_go_on()
        {
            next = self.visit(lookup, last);
            levels += usize::from(next.is_some());
        }
        (0..levels).for_each(|_| self.ascend());
        (self.table, self.rule_cookie, self.rule) = (table, cookie, rule);
        (self.in_group, self.depth, self.nested) = (in_group, depth, nested);
    }

    /// Looks the packet up in a table and executes what is found, up to the lookup that it ends with, if it does: that, and
    /// whether nothing comes after it.
    #[inline(always)]
    fn visit(&mut self, lookup: Lookup, last: bool) -> Option<(Lookup, bool)> {
        self.nested += 1;
        // What only goes forward comes to an end by itself.
        let deepens = lookup.resubmit && lookup.table <= self.table;
        self.table = lookup.table;
        if self.bridge.fragments == Fragments::Drop && self.tracked.read(FieldId::IpFrag) != 0 {
            let table = lookup.table;
            self.trace(Kind::Table, |_| {
                format!("{table:2}. Packets are IP fragments and the fragment handling mode is \"drop\".")
            });
            self.because(DropReason::Fragment);
            return None;
        }
        self.depth += usize::from(deepens);
        self.resubmits += 1;
        match self.find(lookup) {
            Some(id) => self.follow(id, last),
            None => {
                self.miss(lookup.resubmit);
                None
            }
        }
    }

    fn find(&mut self, lookup: Lookup) -> Option<RuleId> {
        let classifier = self.bridge.tables.view(lookup.table)?;
        self.dependencies.note_table(self.at, lookup.table);
        let is_first = || self.tracked.shown().nw_frag & (FRAG_ANY | FRAG_LATER) == FRAG_ANY;
        let found = match lookup.original {
            true => self.tracked.lookup_original(classifier),
            false if self.bridge.fragments == Fragments::Normal && is_first() => {
                // Tables know no ports of fragments, and all fragments are known as such.
                self.tracked.read(FieldId::IpFrag);
                self.tracked.lookup_without_ports(classifier, lookup.port.map(|p| p.0))
            }
            false => self.tracked.lookup_from(classifier, lookup.port.map(|p| p.0)),
        };
        let id = found.map(|r| *r.payload());
        self.effect(match id {
            Some(rule) => Effect::Rule { rule, table: lookup.table },
            None => Effect::Miss { table: lookup.table },
        });
        id
    }

    /// Nothing matched.
    fn miss(&mut self, resubmit: bool) {
        let table = self.table;
        let miss = if resubmit { TableMiss::Drop } else { self.bridge.tables.miss(table) };
        let port = self.bridge.ports.get(self.in_port);
        let quiet = port.is_some_and(|p| p.config.contains(PortConfig::NO_PACKET_IN));
        let reason = match miss {
            // Behind the last table there is none to go on with.
            TableMiss::Default | TableMiss::Continue if self.bridge.tells_misses => Some(AsyncConfig::IMPLICIT_MISS),
            TableMiss::Controller => Some(PacketInReason::NO_MATCH.0),
            _ => None,
        };
        match (miss, reason) {
            (TableMiss::Continue, _) if usize::from(table) + 1 < VISIBLE_TABLES => {
                let next = Lookup { table: table + 1, ..Lookup::default() };
                return self.lookup_and_execute(next, true);
            }
            (_, Some(reason)) if !quiet => {
                self.trace(Kind::Table, |_| format!("{table:2}. No match, and a \"packet-in\" is called for."));
                // A miss is a rule's doing that nobody made: it has no cookie.
                let outer = std::mem::replace(&mut self.rule_cookie, 0);
                self.packet_in(PacketInReason(reason), crate::action::Action::WHOLE, 0, &[], None);
                self.rule_cookie = outer;
                return;
            }
            _ => {}
        }
        self.trace(Kind::Table, |_| format!("{table:2}. No match."));
        self.descend();
        self.trace(Kind::Action, |_| "drop".to_string());
        self.ascend();
        self.because(DropReason::TableMiss);
    }

    /// Executes what a flow says, up to the lookup that it ends with, below which the trace stays then.
    #[inline(always)]
    fn follow(&mut self, id: RuleId, last: bool) -> Option<(Lookup, bool)> {
        let rule = self.bridge.tables.get(id)?;
        (self.rule, self.rule_cookie) = (Some(id), rule.cookie);
        self.first_cookie.get_or_insert(rule.cookie);
        if self.tracer.is_some() {
            self.trace_rule(id);
        }
        self.descend();
        if rule.instructions.is_drop() {
            self.because(DropReason::FlowDrop);
            self.trace(Kind::Action, |_| "drop".to_string());
        }
        let Some(onward) = self.instructions(&rule.instructions, last) else {
            self.ascend();
            return None;
        };
        self.next_lookup(&rule.instructions, onward)
    }

    /// Where instructions lead in the end.
    #[inline(always)]
    pub(super) fn next_lookup(&mut self, i: &Instructions, onward: Onward) -> Option<(Lookup, bool)> {
        match onward {
            Onward::Resubmit { last } => Some((self.lookup_of(i.apply.last()?)?, last)),
            Onward::Goto { last } => Some((Lookup { table: i.goto?, ..Lookup::default() }, last)),
        }
    }

    /// Where an action has the packet looked up.
    #[inline(always)]
    pub(super) fn lookup_of(&mut self, action: &Action) -> Option<Lookup> {
        match action {
            Action::Resubmit { port, table, original } => {
                let table = table.unwrap_or(self.table);
                let original = *original && self.holds_original_tuple();
                Some(Lookup { table, port: *port, original, resubmit: true })
            }
            Action::ResubmitPort(port) => {
                Some(Lookup { table: self.table, port: Some(*port), original: false, resubmit: true })
            }
            _ => None,
        }
    }

    /// Writes down which flow was found, and by way of what. Apart, so that it takes no room while lookups nest.
    #[cold]
    #[inline(never)]
    fn trace_rule(&mut self, id: RuleId) {
        let (table, tables) = (self.table, self.bridge.tables);
        let Some(rule) = tables.get(id) else { return };
        let matching = tables.matching(id).unwrap_or_default();
        let names: &dyn PortNames = if self.named { self.bridge.ports } else { &NoNames };
        let m = self.bridge.tlv.lift(&matching).with_names(names).to_string();
        let cookie = if rule.cookie == 0 { String::new() } else { format!(", cookie {:#x}", rule.cookie) };
        let comma = if m.is_empty() { "" } else { ", " };
        let priority = rule.priority;
        self.trace(Kind::Table, |_| format!("{table:2}. {m}{comma}priority {priority}{cookie}"));
        self.descend();
        let parts = self.tracked.conjunction_of(&matching, tables.view(table));
        for (priority, part) in parts {
            self.trace(Kind::Detail, |t| {
                format!("conj. {}", t.worded(&Prioritised(priority, &t.bridge.tlv.lift(&part))))
            });
        }
        self.ascend();
    }

    /// Executes the instructions of a flow, in their order, up to the lookup that they end with, if they do.
    pub(super) fn instructions(&mut self, i: &Instructions, last: bool) -> Option<Onward> {
        if let Some(meter) = i.meter {
            self.trace(Kind::Action, |_| format!("meter:{meter}"));
            self.meter(meter);
        }
        let rest = i.clear || i.write.is_some() || i.metadata.is_some() || i.goto.is_some();
        if !i.apply.is_empty() {
            let only = last && i.goto.is_none() && i.write.is_none() && self.action_set.is_empty();
            match self.execute_up_to_lookup(&i.apply, only) {
                None => {}
                Some(last) if !rest => return Some(Onward::Resubmit { last }),
                Some(last) => {
                    let next = self.next_lookup(i, Onward::Resubmit { last });
                    next.into_iter().for_each(|(lookup, last)| self.lookup_and_execute(lookup, last));
                }
            }
        }
        if self.freezing.is_some() && rest {
            let rest = Instructions { meter: None, apply: Vec::new(), ..i.clone() };
            self.leave(&[], Some(rest));
        }
        if self.exit || self.failed.is_some() {
            return None;
        }
        if i.clear {
            self.trace(Kind::Action, |_| "clear_actions".to_string());
            self.action_set.clear();
            self.tracked.restore(FieldId::ActsetOutput, OfPort::UNSET.0.into());
        }
        if let Some(written) = &i.write {
            self.trace(Kind::Action, |t| format!("write_actions({})", t.worded(&crate::text::ActionList(written))));
            self.write_to_set(written);
        }
        if let Some((value, mask)) = i.metadata {
            self.trace(Kind::Action, |_| match mask {
                u64::MAX => format!("write_metadata:{value:#x}"),
                mask => format!("write_metadata:{value:#x}/{mask:#x}"),
            });
            self.tracked.write(FieldId::Metadata, value.into(), mask.into());
        }
        let table = i.goto?;
        if self.was_mpls {
            // What is below the labels is looked up when it is known.
            self.freeze(super::freeze::Cause::Recirculate);
            self.leave(&[], Some(Instructions { goto: Some(table), ..Instructions::default() }));
            return None;
        }
        self.trace(Kind::Action, |_| format!("goto_table:{table}"));
        Some(Onward::Goto { last })
    }

    // The action set.

    /// Merges actions into the action set.
    pub(super) fn write_to_set(&mut self, actions: &[Action]) {
        self.action_set.extend_from_slice(actions);
        let output = in_order(&self.action_set);
        let port = output.iter().find_map(|a| match a {
            Action::Output { port, .. } => Some(*port),
            Action::Group(_) => Some(OfPort::UNSET),
            _ => None,
        });
        self.tracked.restore(FieldId::ActsetOutput, port.unwrap_or(OfPort::UNSET).0.into());
    }

    /// What comes when no table is left: the action set, and what was left for later.
    pub(super) fn end_of_pipeline(&mut self) {
        if self.failed.is_none() && self.freezing.is_none() && !self.action_set.is_empty() {
            self.in_action_set = true;
            let outer = self.rule_cookie;
            self.rule_cookie = self.first_cookie.unwrap_or(outer);
            let ordered = in_order(&self.action_set);
            self.trace(Kind::Table, |_| "--. Executing action set:".to_string());
            self.descend();
            self.action_set.clear();
            self.execute(&ordered, true);
            self.ascend();
            self.in_action_set = false;
            self.rule_cookie = outer;
        }
        self.freeze_if_asked();
    }

    /// The reason that a packet-in gives for an output to the controllers.
    pub(super) fn output_reason(&self) -> PacketInReason {
        match () {
            () if self.in_packet_out => PacketInReason::PACKET_OUT,
            () if self.in_group => PacketInReason::GROUP,
            () if self.in_action_set => PacketInReason::ACTION_SET,
            () => PacketInReason::ACTION,
        }
    }
}

/// The actions of a set in the order in which they are executed (OpenFlow 1.5, section 5.6, with what Nicira adds): of
/// each kind the one that was written last, sets of fields in the order in which they were written, and one that sends
/// the packet somewhere, without which there is nothing to do.
pub(super) fn in_order(set: &[Action]) -> Vec<Action> {
    let last = |is: fn(&Action) -> bool| set.iter().rev().find(|a| is(a)).cloned();
    const KINDS: [fn(&Action) -> bool; 9] = [
        Action::is_pop_vlan,
        |a| matches!(a, Action::PopMpls(_)),
        |a| matches!(a, Action::Decap(_)),
        |a| matches!(a, Action::Encap { .. }),
        |a| matches!(a, Action::PushMpls(_)),
        |a| matches!(a, Action::PushVlan(_)),
        |a| matches!(a, Action::DecTtl | Action::DecTtlTo(_)),
        |a| matches!(a, Action::DecMplsTtl),
        |a| matches!(a, Action::DecNshTtl),
    ];
    const ENDS: [fn(&Action) -> bool; 5] = [
        |a| matches!(a, Action::Group(_)),
        |a| matches!(a, Action::Output { .. }),
        |a| matches!(a, Action::Resubmit { .. } | Action::ResubmitPort(_)),
        |a| matches!(a, Action::CtClear),
        |a| matches!(a, Action::Ct(_)),
    ];
    let Some(end) = ENDS.into_iter().find_map(last) else { return Vec::new() };
    let mut ordered: Vec<_> = KINDS.into_iter().filter_map(last).collect();
    let sets = |a: &&Action| {
        a.as_set_field().is_some()
            || matches!(
                a,
                Action::Move { .. }
                    | Action::SetTunnelOption(_)
                    | Action::SetVlanVid { .. }
                    | Action::SetVlanPcp { .. }
                    | Action::SetL4Src { .. }
                    | Action::SetL4Dst { .. }
                    | Action::SetQueue(_)
            )
    };
    ordered.extend(set.iter().filter(sets).cloned());
    ordered.push(end);
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{ActionList, Parser};

    #[test]
    fn action_sets_have_an_order() {
        for (written, executed) in [
            ("output:1,pop_vlan,output:2", "pop_vlan,output:2"),
            ("group:1,output:2", "group:1"),
            ("set_field:1->reg0,set_field:2->reg0,output:3", "set_field:0x1->reg0,set_field:0x2->reg0,output:3"),
            ("set_field:1->reg0", "drop"),
            (
                "output:1,dec_ttl,push_vlan:0x8100,push_mpls:0x8847",
                "push_mpls:0x8847,push_vlan:0x8100,dec_ttl,output:1",
            ),
        ] {
            let set = Parser::default().actions(written).unwrap();
            assert_eq!(ActionList(&in_order(&set)).to_string(), executed);
        }
    }
}

//! The walk through tables and actions.

use ovs_dpif::{Cookie, CtRequest, DpAction, DropReason, Userspace};
use ovs_packet::OfPort;
use ovs_packet::field::{FieldId, Prereq};
use ovs_packet::key::{REGISTERS, VLAN_PCP_MASK, VLAN_PRESENT};

use super::{Effect, Frozen, Translator};
use crate::action::{Action, CtAction};
use crate::codec::PacketInReason;
use crate::pipeline::{MAX_RESUBMIT_DEPTH, MAX_RESUBMITS};

impl Translator<'_> {
    /// Looks the packet up in a table, as if it had come in by `port` if one is given, and executes what is found.
    pub(super) fn lookup_and_execute(&mut self, table: u8, port: Option<OfPort>) {
        if self.depth >= MAX_RESUBMIT_DEPTH || self.resubmits >= MAX_RESUBMITS {
            self.failed = true;
        }
        if self.failed {
            return;
        }
        self.depth += 1;
        self.resubmits += 1;
        let outer = (self.table, self.rule_cookie);
        self.table = table;
        self.walk(port);
        (self.table, self.rule_cookie) = outer;
        self.depth -= 1;
    }

    /// Follows goto instructions from the current table on.
    fn walk(&mut self, port: Option<OfPort>) {
        loop {
            let tables = self.view.tables;
            let found = tables.classifier(self.table).and_then(|c| self.tracked.lookup_from(c, port.map(|p| p.0)));
            let rule = found.map(|r| *r.payload());
            self.effects.push(Effect::Table { table: self.table, matched: rule.is_some() });
            let Some((id, flow)) = rule.and_then(|id| Some((id, tables.get(id)?))) else {
                self.reason = self.reason.or(Some(DropReason::TableMiss));
                return;
            };
            self.effects.push(Effect::Rule(id));
            self.rule_cookie = flow.cookie;
            let instructions = &flow.instructions;
            if instructions.is_drop() {
                self.reason = self.reason.or(Some(DropReason::FlowDrop));
            }
            self.execute(&instructions.apply);
            if instructions.clear {
                self.action_set.clear();
            }
            instructions.written().iter().for_each(|a| self.write_to_set(a));
            if let Some((value, mask)) = instructions.metadata {
                self.tracked.write(FieldId::Metadata, value.into(), mask.into());
            }
            match instructions.goto {
                Some(next) if !self.failed => self.table = next,
                _ => return,
            }
        }
    }

    /// The action set has at most one action of a kind, a set of fields apart, which keeps one for each field, and
    /// executes them in a fixed order (OpenFlow 1.5, section 5.6).
    fn write_to_set(&mut self, action: &Action) {
        let place = |a: &Action| match a {
            a if a.is_pop_vlan() => 0,
            Action::PushVlan(_) => 1,
            Action::DecTtl => 2,
            Action::CtClear | Action::Ct(_) => 4,
            Action::Clone(_) | Action::Resubmit { .. } | Action::ResubmitPort(_) => 5,
            Action::Output { .. } => 6,
            _ => 3,
        };
        let field = |a: &Action| a.as_set_field().map(|(field, ..)| field);
        let same = |a: &Action| match (field(a), field(action)) {
            (Some(a), Some(b)) => a == b,
            _ if place(a) == 3 => std::mem::discriminant(a) == std::mem::discriminant(action),
            _ => place(a) == place(action),
        };
        self.action_set.retain(|a| !same(a));
        let at = self.action_set.partition_point(|a| place(a) <= place(action));
        self.action_set.insert(at, action.clone());
    }

    pub(super) fn execute(&mut self, actions: &[Action]) {
        for action in actions {
            if self.failed {
                return;
            }
            match action {
                Action::Output { port, max_len } => self.output(*port, *max_len),
                Action::PushVlan(tpid) => self.push_vlan(*tpid),
                Action::SetVlanVid { vid, push, .. } => self.set_tag(FieldId::VlanVid, *vid | VLAN_PRESENT, *push),
                Action::SetVlanPcp { pcp, push, .. } => self.set_tag(FieldId::VlanPcp, (*pcp).into(), *push),
                Action::SetL4Src { port, .. } => {
                    self.set_port([FieldId::TcpSrc, FieldId::UdpSrc, FieldId::SctpSrc], *port);
                }
                Action::SetL4Dst { port, .. } => {
                    self.set_port([FieldId::TcpDst, FieldId::UdpDst, FieldId::SctpDst], *port);
                }
                Action::DecTtl => {
                    if self.dec_ttl() {
                        return;
                    }
                }
                Action::Resubmit { port, table, .. } => self.lookup_and_execute(table.unwrap_or(self.table), *port),
                Action::ResubmitPort(port) => self.lookup_and_execute(self.table, Some(*port)),
                Action::Ct(ct) => self.ct(ct),
                Action::CtClear => self.ct_clear(),
                Action::Clone(inner) => self.clone_of(inner),
                a if a.is_pop_vlan() => self.pop_vlan(),
                a => {
                    // A note says nothing; what is not built is refused where flows are added.
                    if let Some((field, value, mask)) = a.as_set_field() {
                        self.set_field(field, value, mask);
                    }
                }
            }
        }
    }

    /// Sets a part of the tag, which is pushed first if there is none and `push`.
    fn set_tag(&mut self, field: FieldId, value: u16, push: bool) {
        let tagged = self.tracked.holds(Prereq::Vlan);
        if !tagged && push {
            self.push_vlan(0x8100);
        }
        if tagged || push {
            self.tracked.write(field, value.into(), u128::MAX);
        }
    }

    /// Sets the port of the protocol that the packet has.
    fn set_port(&mut self, fields: [FieldId; 3], port: u16) {
        for field in fields {
            self.set_field(field, port.into(), field.info().max_value());
        }
    }

    fn set_field(&mut self, field: FieldId, value: u128, mask: u128) {
        if !self.tracked.holds(field.info().prereq) {
            return;
        }
        self.tracked.write(field, value, mask);
        if matches!(field, FieldId::InPort | FieldId::InPortOxm) {
            self.in_port = OfPort(self.tracked.read(FieldId::InPortOxm) as u32);
        }
        // A VLAN id or priority makes a tag where there was none (OpenFlow 1.0's set actions).
        if field == FieldId::DlVlan {
            self.tracked.write(FieldId::VlanTci, VLAN_PRESENT.into(), VLAN_PRESENT.into());
        }
    }

    /// The new tag has the priority and VLAN of the one below it.
    fn push_vlan(&mut self, tpid: u16) {
        let below = self.tracked.read(FieldId::VlanTci) as u16;
        self.tracked.push_tag(tpid, (below & (VLAN_PCP_MASK | 0x0fff)) | VLAN_PRESENT);
    }

    fn pop_vlan(&mut self) {
        self.tracked.pop_tag();
    }

    /// True if the packet goes no further.
    fn dec_ttl(&mut self) -> bool {
        if !self.tracked.holds(Prereq::Ip) {
            return false;
        }
        let ttl = self.tracked.read(FieldId::NwTtl);
        if ttl <= 1 {
            self.packet_in(PacketInReason::INVALID_TTL, Action::WHOLE);
            self.reason = Some(DropReason::TtlExpired);
            return true;
        }
        self.tracked.write(FieldId::NwTtl, ttl - 1, u128::MAX);
        false
    }

    /// What the copy changes does not outlive it; what it reads stays read.
    fn clone_of(&mut self, actions: &[Action]) {
        let saved = (self.tracked.save(), self.base, self.in_port);
        let outer = std::mem::take(&mut self.out);
        self.execute(actions);
        let inner = std::mem::replace(&mut self.out, outer);
        if !inner.is_empty() {
            self.out.push(DpAction::Clone(inner));
        }
        self.tracked.go_back(&saved.0);
        (self.base, self.in_port) = (saved.1, saved.2);
    }

    fn ct(&mut self, ct: &CtAction) {
        if !self.tracked.holds(Prereq::Ip) {
            return;
        }
        self.commit();
        let exec = |field: FieldId| {
            ct.exec.iter().rev().find_map(|a| match a.as_set_field() {
                Some((f, value, mask)) if f == field => Some((value, mask)),
                _ => None,
            })
        };
        let mut request = match ct {
            CtAction { commit: true, force: true, .. } => CtRequest::force_commit(ct.zone),
            CtAction { commit: true, .. } => CtRequest::commit(ct.zone),
            _ => CtRequest::lookup(ct.zone),
        };
        if ct.commit {
            request.mark = exec(FieldId::CtMark).map(|(v, m)| (v as u32, m as u32));
            request.label = exec(FieldId::CtLabel);
        }
        self.out.push(DpAction::Ct(request));
        if let Some(table) = ct.table {
            match self.freeze(table) {
                Some(id) => self.out.push(DpAction::Recirc(id)),
                None => self.reason = Some(DropReason::UnknownRecirculation),
            }
        }
    }

    fn ct_clear(&mut self) {
        let tracked = self.tracked.read(FieldId::CtState) != 0;
        if tracked {
            self.out.push(DpAction::CtClear);
            use FieldId::{CtLabel, CtMark, CtState, CtZone};
            for field in [CtState, CtZone, CtMark, CtLabel] {
                self.tracked.write(field, 0, u128::MAX);
                field.info().put(&mut self.base, 0);
            }
        }
    }

    fn freeze(&mut self, table: u8) -> Option<u32> {
        let mut registers = [0; REGISTERS];
        let fields = (0..REGISTERS).filter_map(FieldId::reg);
        for (register, field) in registers.iter_mut().zip(fields) {
            *register = self.tracked.read(field) as u32;
        }
        let metadata = self.tracked.read(FieldId::Metadata) as u64;
        self.view.recirc.freeze(Frozen { table, in_port: self.in_port, metadata, registers })
    }

    fn output(&mut self, port: OfPort, max_len: u16) {
        match port {
            OfPort::IN_PORT => self.send(self.in_port),
            OfPort::NORMAL => self.normal(),
            OfPort::FLOOD => self.flood(false),
            OfPort::ALL => self.flood(true),
            OfPort::CONTROLLER => self.packet_in(PacketInReason::ACTION, max_len),
            OfPort::TABLE => self.lookup_and_execute(0, None),
            OfPort::ANY => {}
            // A packet goes back where it came from only if it is told so by name.
            port if port == self.in_port => self.reason = self.reason.or(Some(DropReason::NoOutput)),
            port => self.send(port),
        }
    }

    fn flood(&mut self, all: bool) {
        let others = self.view.ports.iter().filter(|p| p.number != self.in_port && (all || p.flood));
        let numbers: Vec<_> = others.map(|p| p.number).collect();
        numbers.into_iter().for_each(|port| self.send(port));
    }

    /// Sends the packet as it is now.
    pub(super) fn send(&mut self, port: OfPort) {
        match self.view.ports.get(port).map(|p| p.datapath) {
            Some(datapath) => {
                self.commit();
                self.out.push(DpAction::Output(datapath));
            }
            None => self.reason = self.reason.or(Some(DropReason::UnknownPort)),
        }
    }

    fn packet_in(&mut self, reason: PacketInReason, max_len: u16) {
        self.commit();
        self.out.push(DpAction::Userspace(Userspace::new(Cookie::Controller {
            reason: reason.0,
            dont_send: false,
            continuation: false,
            recirc_id: self.base.recirc_id.get(),
            rule_cookie: self.rule_cookie,
            table: self.table,
            controller_id: 0,
            max_len,
        })));
    }
}

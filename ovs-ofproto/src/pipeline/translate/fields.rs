//! Actions that change fields, and the stack.

use ovs_dpif::DropReason;
use ovs_packet::OfPort;
use ovs_packet::field::{FieldId, Prereq, TUN_OPTION_MAX, TunOption};
use ovs_packet::key::VLAN_PRESENT;

use super::Translator;
use super::actions::Next;
use crate::action::{Action, Subfield};
use crate::codec::PacketInReason;
use crate::pipeline::tracked::Tag;

impl Translator<'_> {
    /// Sets bits of a field, if the packet has it.
    pub(super) fn set_field(&mut self, field: FieldId, value: u128, mask: u128) {
        if !self.tracked.holds(field.info().prereq) {
            self.detail(|| format!("the packet has no {}", field.info().name));
            return;
        }
        if is_network(field) {
            // Whether there is something to set: see `commit.rs`.
            self.tracked.read_bits(FieldId::NwProto, 0xff);
        }
        self.put_field(field, value, mask);
    }

    fn put_field(&mut self, field: FieldId, value: u128, mask: u128) {
        match field {
            FieldId::VlanTci if mask & u128::from(VLAN_PRESENT) != 0 => self.set_tci(value as u16, mask as u16),
            // A VLAN id or priority makes a tag where there was none (OpenFlow 1.0's set actions).
            FieldId::DlVlan | FieldId::DlVlanPcp => self.set_tag(field, value as u16, true),
            FieldId::VlanVid => self.set_tag(FieldId::DlVlan, value as u16 & 0xfff, true),
            field => self.tracked.write(field, value, mask),
        }
        if matches!(field, FieldId::InPort | FieldId::InPortOxm) {
            self.in_port = OfPort(self.tracked.read(FieldId::InPortOxm) as u32);
        }
    }

    /// Sets bits of a tag with the bit that says whether there is one.
    fn set_tci(&mut self, tci: u16, mask: u16) {
        let [outer, inner] = self.tracked.all_tags();
        let new = (outer.tci & !mask) | (tci & mask);
        let present = new & VLAN_PRESENT != 0;
        match (outer.tci & VLAN_PRESENT != 0, present) {
            (_, false) => self.tracked.set_tags([inner, Tag::default()]),
            (true, true) => self.tracked.set_tags([Tag { tci: new, ..outer }, inner]),
            (false, true) => self.tracked.set_tags([Tag { tpid: 0x8100, tci: new }, inner]),
        }
    }

    /// Sets a part of the tag, which is made first if there is none and `push`.
    pub(super) fn set_tag(&mut self, field: FieldId, value: u16, push: bool) {
        let tagged = self.tracked.read_bits(FieldId::VlanTci, VLAN_PRESENT.into()) != 0;
        if !tagged && push {
            self.push_vlan(0x8100);
        }
        if tagged || push {
            self.tracked.write(field, value.into(), field.info().max_value());
        }
    }

    /// The new tag is of VLAN 0 and without priority.
    pub(super) fn push_vlan(&mut self, tpid: u16) {
        self.tracked.push_tag(Tag { tpid, tci: VLAN_PRESENT });
    }

    /// Sets the port of the protocol that the packet has.
    pub(super) fn set_port(&mut self, fields: [FieldId; 3], port: u16) {
        for field in fields {
            if self.tracked.holds(field.info().prereq) {
                self.tracked.write(field, port.into(), field.info().max_value());
            }
        }
    }

    pub(super) fn dec_ttl(&mut self, controllers: &[u16]) -> Next {
        if !self.tracked.holds(Prereq::Ip) {
            return Next::GoOn;
        }
        self.tracked.read(FieldId::NwProto);
        self.decrement(FieldId::NwTtl, controllers)
    }

    pub(super) fn dec_mpls_ttl(&mut self) -> Next {
        if !self.tracked.holds(Prereq::Mpls) {
            return Next::GoOn;
        }
        self.decrement(FieldId::MplsTtl, &[0])
    }

    pub(super) fn dec_nsh_ttl(&mut self) -> Next {
        if !self.tracked.holds(Prereq::Nsh) {
            return Next::GoOn;
        }
        self.decrement(FieldId::NshTtl, &[0])
    }

    /// Takes one off a TTL. One that is used up is the controllers' affair, and what is left of the list not executed.
    fn decrement(&mut self, field: FieldId, controllers: &[u16]) -> Next {
        let ttl = self.tracked.read(field);
        let least = if field == FieldId::NshTtl { 1 } else { 2 };
        if ttl >= least {
            self.tracked.write(field, ttl - 1, field.info().max_value());
            return Next::GoOn;
        }
        for id in controllers {
            self.packet_in(PacketInReason::INVALID_TTL, Action::WHOLE, *id, &[], None);
        }
        self.because(DropReason::TtlExpired);
        Next::Return
    }

    // Parts of fields.

    /// The bits of a part of a field; of a tunnel option, those that fit.
    pub(super) fn value_of(&mut self, src: Subfield) -> u128 {
        match src.field.tun_metadata_index() {
            Some(index) => {
                let value = self.tracked.read_option(self.bridge.tlv, index).unwrap_or_default();
                bits_of(&value, src.offset.into()) & src.ones()
            }
            None => self.tracked.read_bits(src.field, src.mask()) >> src.offset & src.ones(),
        }
    }

    /// Writes bits into a part of a field, if the packet has it. In a header of the network layer that goes for every
    /// protocol, and the protocol is not asked for.
    pub(super) fn store(&mut self, dst: Subfield, value: u128) {
        let value = value & dst.ones();
        match dst.field.tun_metadata_index() {
            Some(index) => {
                let Some(old) = self.tracked.read_option(self.bridge.tlv, index) else { return };
                let len = old.len();
                let (mut bytes, mut mask) = (vec![0; len], vec![0; len]);
                put_bits(&mut bytes, dst.offset.into(), value);
                put_bits(&mut mask, dst.offset.into(), dst.ones());
                self.set_option(index as u8, &bytes, &mask);
            }
            None if self.tracked.holds(dst.field.info().prereq) => {
                self.moved_to_network |= is_network(dst.field);
                self.put_field(dst.field, value << dst.offset, dst.mask());
            }
            None => self.detail(|| format!("the packet has no {}", dst.field.info().name)),
        }
    }

    pub(super) fn copy(&mut self, src: Subfield, dst: Subfield) {
        if self.tracked.holds(src.field.info().prereq) && self.tracked.holds(dst.field.info().prereq) {
            let value = self.value_of(src);
            self.store(dst, value);
        }
    }

    // The stack.

    pub(super) fn push(&mut self, src: Subfield) {
        if self.stack.len() >= super::MAX_STACK {
            self.give_up(DropReason::StackTooDeep, || "resubmits yielded over 64 kB of stack".to_string());
            return;
        }
        let value = self.value_of(src);
        self.stack.push((value, src.bits));
    }

    pub(super) fn pop(&mut self, dst: Subfield) {
        match self.stack.pop() {
            Some((value, _)) => self.store(dst, value),
            None => self.complain(|| "stack underflow".to_string()),
        }
    }

    // Tunnels.

    pub(super) fn set_option(&mut self, index: u8, value: &[u8], mask: &[u8]) {
        let whole = mask.iter().all(|m| *m == 0xff);
        let option = if whole { TunOption::exact(value) } else { TunOption::masked(value, mask) };
        let written = option.is_some_and(|o| self.tracked.write_option(self.bridge.tlv, index.into(), &o));
        if !written {
            self.detail(|| format!("tun_metadata{index} stands for no option"));
        }
    }

    pub(super) fn delete_field(&mut self, field: FieldId) {
        match field.tun_metadata_index() {
            Some(index) => drop(self.tracked.write_option(self.bridge.tlv, index, &TunOption::ABSENT)),
            None => self.detail(|| format!("{} cannot be deleted", field.info().name)),
        }
    }

    // Queues.

    /// The packet's priority is its queue's.
    pub(super) fn set_queue(&mut self, queue: u32) {
        self.tracked.write(FieldId::SkbPriority, queue.into(), u32::MAX.into());
    }
}

/// Whether a field is of the network layer's header.
fn is_network(field: FieldId) -> bool {
    use FieldId::{ArpOp, ArpSha, ArpSpa, ArpTha, ArpTpa};
    use FieldId::{IpDscp, Ipv6Dst, Ipv6Label, Ipv6Src, NwDst, NwEcn, NwSrc, NwTos, NwTtl};
    matches!(
        field,
        NwSrc
            | NwDst
            | Ipv6Src
            | Ipv6Dst
            | Ipv6Label
            | NwTos
            | IpDscp
            | NwEcn
            | NwTtl
            | ArpOp
            | ArpSha
            | ArpTha
            | ArpSpa
            | ArpTpa
    )
}

/// The bits of a big-endian number from bit `offset` on, as many as fit.
fn bits_of(bytes: &[u8], offset: usize) -> u128 {
    let bit = |i: usize| {
        let at = bytes.len().checked_sub(1 + i / 8)?;
        bytes.get(at).map(|b| u128::from(b >> (i % 8) & 1))
    };
    (0..128).filter_map(|i| bit(offset + i).map(|b| b << i)).sum()
}

/// Puts bits into a big-endian number, from bit `offset` on.
fn put_bits(bytes: &mut [u8], offset: usize, value: u128) {
    let len = bytes.len();
    for i in (0..128.min(8 * TUN_OPTION_MAX)).filter(|i| value >> i & 1 != 0) {
        if let Some(b) = len.checked_sub(1 + (offset + i) / 8).and_then(|at| bytes.get_mut(at)) {
            *b |= 1 << ((offset + i) % 8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_of_long_numbers() {
        let mut bytes = [0; 20];
        put_bits(&mut bytes, 12, 0xabc);
        assert_eq!(bytes[16..], [0, 0xab, 0xc0, 0]);
        assert_eq!(bits_of(&bytes, 12), 0xabc);
        assert_eq!(bits_of(&bytes, 16), 0xab);
    }
}

//! The NORMAL action: what a learning switch with VLANs does (IEEE 802.1Q-2014, clause 8).

use ovs_dpif::DropReason;
use ovs_packet::field::FieldId;
use ovs_packet::key::{VLAN_PRESENT, VLAN_VID_MASK};
use ovs_packet::{EthAddr, OfPort};

use super::{Effect, Translator};

impl Translator<'_> {
    pub(super) fn normal(&mut self) {
        let Some(ingress) = self.view.ports.get(self.in_port) else {
            self.reason = Some(DropReason::UnknownIngress);
            return;
        };
        let tci = self.tracked.read(FieldId::VlanVid) as u16;
        let tag = (tci & VLAN_PRESENT != 0).then_some(tci & VLAN_VID_MASK);
        let Some(vlan) = ingress.vlan.ingress(tag) else {
            self.reason = Some(DropReason::VlanFiltered);
            return;
        };
        let destination = self.address(FieldId::EthDst);
        if destination.is_reserved() {
            self.reason = Some(DropReason::ReservedAddress);
            return;
        }
        let source = self.address(FieldId::EthSrc);
        if !source.is_multicast() {
            self.effects.push(Effect::Learn { vlan, address: source, port: self.in_port });
        }
        let known = (!destination.is_multicast()).then(|| {
            self.stations.push((vlan, destination));
            self.view.macs.lookup(vlan, destination)
        });
        match known.flatten() {
            Some(port) if port == self.in_port => self.reason = Some(DropReason::NoOutput),
            Some(port) => self.send_in_vlan(port, vlan),
            None => {
                let others = self.view.ports.iter().filter(|p| p.number != self.in_port && p.flood);
                let numbers: Vec<_> = others.map(|p| p.number).collect();
                numbers.into_iter().for_each(|port| self.send_in_vlan(port, vlan));
            }
        }
    }

    fn address(&mut self, field: FieldId) -> EthAddr {
        let [.., a, b, c, d, e, f] = self.tracked.read(field).to_be_bytes();
        EthAddr([a, b, c, d, e, f])
    }

    /// Sends the packet with the tag that the port wants, and leaves it as it was.
    fn send_in_vlan(&mut self, port: OfPort, vlan: u16) {
        let Some(tag) = self.view.ports.get(port).and_then(|p| p.vlan.egress(vlan)) else { return };
        let saved = self.tracked.save();
        let present = self.tracked.read(FieldId::VlanTci) as u16 & VLAN_PRESENT != 0;
        match tag {
            Some(vid) if present => self.tracked.write(FieldId::DlVlan, vid.into(), u128::MAX),
            Some(vid) => self.tracked.push_tag(0, vid | VLAN_PRESENT),
            None if present => self.tracked.pop_tag(),
            None => {}
        }
        self.send(port);
        self.tracked.go_back(&saved);
    }
}

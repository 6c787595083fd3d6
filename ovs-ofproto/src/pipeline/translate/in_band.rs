//! What in-band control asks of every packet: that an answer of DHCP reaches the switch itself.

use ovs_dpif::DpAction;
use ovs_packet::OfPort;
use ovs_packet::extract::{ETH_TYPE_IPV4, IP_PROTO_UDP};
use ovs_packet::field::FieldId;

use super::Translator;
use crate::pipeline::ofproto::{DHCP_CLIENT, DHCP_SERVER};

impl Translator<'_> {
    /// Sends an answer of DHCP to the local port, if flows did not. It is told by what it was when it came in.
    pub(super) fn serve_in_band(&mut self) {
        if !self.view.own.is_in_band || self.failed.is_some() || self.freezing.is_some() {
            return;
        }
        let first = *self.first();
        let mut came = super::Tracked::new(first);
        // One after the other: what is no IP has no ports to look at.
        let is_answer = came.is(FieldId::EthType, ETH_TYPE_IPV4.into())
            && came.is(FieldId::NwProto, IP_PROTO_UDP.into())
            && came.is(FieldId::UdpSrc, DHCP_SERVER.into())
            && came.is(FieldId::UdpDst, DHCP_CLIENT.into());
        self.tracked.note(came.mask());
        let Some(local) = self.bridge.ports.get(OfPort::LOCAL).map(|p| p.datapath).filter(|_| is_answer) else {
            return;
        };
        if self.in_port != OfPort::LOCAL && !outputs_to(&self.out, &DpAction::Output(local)) {
            self.detail(|| "outputting DHCP packet to local port for in-band control".to_string());
            self.send(OfPort::LOCAL, true);
        }
    }
}

fn outputs_to(actions: &[DpAction], output: &DpAction) -> bool {
    actions.iter().any(|a| a == output || a.nested().any(|inner| outputs_to(inner, output)))
}

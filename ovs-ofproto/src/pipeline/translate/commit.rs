//! From changed fields to datapath actions.

use ovs_dpif::DpAction;
use ovs_packet::extract::ETH_TYPE_VLAN;
use ovs_packet::field::{FieldId, KeyAttr};

use super::Translator;
use crate::pipeline::tracked::tags_of;

/// The attributes that can have changed, in the order in which they are set.
const ATTRS: [KeyAttr; 12] = [
    KeyAttr::Ethernet,
    KeyAttr::Mpls,
    KeyAttr::Ipv4,
    KeyAttr::Ipv6,
    KeyAttr::Arp,
    KeyAttr::Nd,
    KeyAttr::Tcp,
    KeyAttr::Udp,
    KeyAttr::Sctp,
    KeyAttr::Icmp,
    KeyAttr::Icmpv6,
    KeyAttr::SkbMark,
];

impl Translator<'_> {
    /// Writes the datapath actions that make the packet what its key says now.
    pub(super) fn commit(&mut self) {
        self.commit_tags();
        for attr in ATTRS {
            // Fields of several attributes share bits of the key: those that the packet has are the ones meant.
            let present = |f: &FieldId| f.info().prereq.holds(&self.base);
            let fields = fields_of(attr).filter(present);
            if let Some(m) = self.tracked.changes(&self.base, fields) {
                self.tracked.committed(&mut self.base, &m);
                self.out.push(DpAction::Set(attr, (&m).into()));
            }
        }
    }

    fn commit_tags(&mut self) {
        let new = self.tracked.tags();
        let old = tags_of(&self.base);
        let common = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
        (common..old.len()).for_each(|_| self.out.push(DpAction::PopVlan));
        for (tpid, tci) in new.iter().rev().skip(common) {
            let tpid = if *tpid == 0 { ETH_TYPE_VLAN } else { *tpid };
            self.out.push(DpAction::PushVlan { tpid, tci: *tci });
        }
        self.tracked.copy_tags(&mut self.base);
    }
}

/// The fields that one attribute sets. IPv4 and IPv6 share the rows of what both have.
fn fields_of(attr: KeyAttr) -> impl Iterator<Item = FieldId> {
    use FieldId::{NwEcn, NwTos, NwTtl};
    let shared = matches!(attr, KeyAttr::Ipv6).then_some([NwTos, NwEcn, NwTtl]).into_iter().flatten();
    let own = FieldId::of_attr(attr).filter(|f| f.info().writable && *f != FieldId::IpDscp);
    own.chain(shared)
}

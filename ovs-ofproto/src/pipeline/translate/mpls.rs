//! MPLS label stacks (RFC 3032, and OpenFlow 1.5, section 7.2.6.5).
//!
//! A key has the outermost three entries. What is below a stack is not in it: where that is asked for after the stack
//! was taken off, the packet goes round through the datapath.

use ovs_dpif::DropReason;
use ovs_packet::extract::{ETH_TYPE_IPV6, ETH_TYPE_MPLS, ETH_TYPE_MPLS_MCAST};
use ovs_packet::field::{FieldId, Prereq};
use ovs_packet::key::{FlowKey, MPLS_DEPTH};

use super::Translator;
use crate::action::Action;
use crate::pipeline::tracked::MPLS_BOS;

impl Translator<'_> {
    pub(super) fn set_mpls(&mut self, action: &Action) {
        if let Some((field, value, mask)) = action.as_set_field()
            && self.tracked.holds(Prereq::Mpls)
        {
            self.tracked.write(field, value, mask);
        }
    }

    pub(super) fn push_mpls(&mut self, eth_type: u16) {
        let n = self.tracked.count_labels();
        if n >= MPLS_DEPTH {
            self.fail(DropReason::TooManyLabels, || format!("the packet has {MPLS_DEPTH} MPLS labels already"));
            return;
        }
        if n == 0 {
            self.commit();
        }
        let is_ip = self.tracked.holds(Prereq::Ip);
        self.put_label(n, eth_type, is_ip);
    }

    /// Puts a label in front of `n` others: the same as the outermost, or else an explicit null label, with the class and
    /// TTL of the IP packet below if it `has_class`.
    pub(super) fn put_label(&mut self, n: usize, eth_type: u16, has_class: bool) {
        let old = self.tracked.labels(0..n);
        let top = match old.first() {
            Some(lse) if n > 0 => lse & !MPLS_BOS,
            _ => {
                let (mut class, mut ttl) = (0, 64);
                if has_class {
                    class = self.tracked.read(FieldId::IpDscp) as u32;
                    ttl = match self.tracked.read(FieldId::NwTtl) as u32 {
                        0 => 64,
                        ttl => ttl,
                    };
                }
                // An explicit null label of the network layer below (RFC 3032, section 2.1).
                let label: u32 = if self.tracked.read(FieldId::EthType) == ETH_TYPE_IPV6.into() { 2 } else { 0 };
                label << 12 | (class & 7) << 9 | MPLS_BOS | ttl
            }
        };
        self.tracked.rewrite(|k| {
            if n == 0 {
                clear_network(k);
            }
            k.mpls_lse = [top.into(), old[0].into(), old[1].into()];
            if n == 0 {
                k.mpls_lse = [top.into(), 0.into(), 0.into()];
            }
            k.eth_type = eth_type.into();
        });
    }

    pub(super) fn pop_mpls(&mut self, eth_type: u16) {
        let n = self.tracked.count_labels();
        if n == 0 {
            return;
        }
        // Whether the bottom is among them was read when they were counted.
        let deepest = self.tracked.shown().mpls_lse[MPLS_DEPTH - 1].get();
        if n == MPLS_DEPTH && deepest & MPLS_BOS == 0 {
            self.fail(DropReason::TooManyLabels, || format!("the packet has more than {MPLS_DEPTH} MPLS labels"));
            return;
        }
        // The outermost entry does not matter; the others come to be where it was.
        let labels = self.tracked.labels(1..n);
        self.tracked.rewrite(|k| {
            k.mpls_lse = [labels[1].into(), labels[2].into(), 0.into()];
            for lse in k.mpls_lse.iter_mut().skip(n - 1) {
                lse.set(0);
            }
            k.eth_type = eth_type.into();
        });
        self.was_mpls |= !matches!(eth_type, ETH_TYPE_MPLS | ETH_TYPE_MPLS_MCAST);
    }
}

/// Clears what comes after the link layer: a label stack hides it.
pub(super) fn clear_network(k: &mut FlowKey) {
    (k.nw_src, k.nw_dst, k.nw_proto, k.nw_tos, k.nw_ttl, k.nw_frag) = (0.into(), 0.into(), 0, 0, 0, 0);
    (k.ipv6_label, k.ipv6_src, k.ipv6_dst) = (0.into(), 0.into(), 0.into());
    (k.tp_src, k.tp_dst, k.tcp_flags, k.igmp_group) = (0.into(), 0.into(), 0.into(), 0.into());
    (k.nd_target, k.arp_sha, k.arp_tha) = (0.into(), ovs_packet::EthAddr::ZERO, ovs_packet::EthAddr::ZERO);
    (k.nsh_flags, k.nsh_ttl, k.nsh_mdtype, k.nsh_np) = (0, 0, 0, 0);
    (k.nsh_path, k.nsh_context, k.dp_hash) = (0.into(), [0.into(); 4], 0.into());
}

//! From changed fields to datapath actions.
//!
//! What the pipeline changed is compared with the packet as the datapath has it, and set where that differs: in bits
//! that were written, which all count as read. The order is fixed: headers put in front or taken off, the last MPLS
//! labels where none stay, Ethernet, the network and transport layers, MPLS, VLAN tags, priority, mark.
//!
//! A packet whose protocol, or operation in ARP, is 0 is taken to have no network layer, as upstream does: actions that set
//! a field find nothing to set in it. Such actions read the protocol. Those that move bits into a field do not, so that
//! what they do is for every protocol.

use std::sync::LazyLock;

use ovs_dpif::{DpAction, SlowPath};
use ovs_packet::extract::{ETH_TYPE_MPLS, ETH_TYPE_MPLS_MCAST, ETH_TYPE_VLAN};
use ovs_packet::field::{FieldId, KeyAttr};
use ovs_packet::key::{FlowKey, FlowMask, MPLS_DEPTH, Match, VLAN_PRESENT};

use super::Translator;
use crate::pipeline::tracked::{MPLS_BOS, Tag, pipeline_mask, put_tags, tags_of};

/// An attribute with the fields that it sets.
struct Row {
    attr: KeyAttr,
    fields: Vec<FieldId>,
}

/// The attributes that can have changed, in the order in which they are set.
static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    const ATTRS: [KeyAttr; 12] = [
        KeyAttr::Ethernet,
        KeyAttr::Ipv4,
        KeyAttr::Ipv6,
        KeyAttr::Arp,
        KeyAttr::Icmp,
        KeyAttr::Icmpv6,
        KeyAttr::Nd,
        KeyAttr::NdExtensions,
        KeyAttr::Nsh,
        KeyAttr::Tcp,
        KeyAttr::Udp,
        KeyAttr::Sctp,
    ];
    ATTRS.into_iter().map(|attr| Row { attr, fields: fields_of(attr).collect() }).collect()
});

/// The fields that one attribute sets. IPv4 and IPv6 share the rows of what both have.
fn fields_of(attr: KeyAttr) -> impl Iterator<Item = FieldId> {
    use FieldId::{NwEcn, NwTos, NwTtl};
    let shared = matches!(attr, KeyAttr::Ipv6).then_some([NwTos, NwEcn, NwTtl]).into_iter().flatten();
    let own = FieldId::of_attr(attr).filter(|f| f.info().writable && *f != FieldId::IpDscp);
    own.chain(shared)
}

/// The members of a key that tell of a tunnel.
pub(super) fn tunnel_mask() -> &'static FlowMask {
    static MASK: LazyLock<FlowMask> = LazyLock::new(|| {
        let mut mask = FlowMask::EMPTY;
        FieldId::of_attr(KeyAttr::Tunnel).for_each(|f| mask.add(f));
        let m = &mut mask.bits;
        (m.tun_flags, m.tun_tp_src, m.tun_tp_dst) = (u8::MAX, u16::MAX.into(), u16::MAX.into());
        (m.tun_present, m.tun_metadata) = (u64::MAX.into(), [u8::MAX; 256]);
        mask
    });
    &MASK
}

/// What commits do not compare: what only the pipeline knows, and what says where the packet came from.
static NOT_COMPARED: LazyLock<FlowMask> = LazyLock::new(|| {
    let mut mask = *pipeline_mask();
    mask |= tunnel_mask();
    use FieldId::{ActsetOutput, ConjId, CtLabel, CtMark, CtState, CtZone, InPortOxm, RecircId};
    mask |= &FlowMask::of(&[ActsetOutput, ConjId, CtLabel, CtMark, CtState, CtZone, InPortOxm, RecircId]);
    mask
});

impl Translator<'_> {
    /// Writes the datapath actions that make the packet what its key says now.
    pub(super) fn commit(&mut self) {
        if self.pending == super::encap::Pending::None && !self.tracked.differs(&self.base, &NOT_COMPARED) {
            return;
        }
        self.commit_headers();
        let key = *self.tracked.shown();
        // What is below labels can be set when they are off.
        if !labels_of(&self.base).is_empty() && labels_of(&key).is_empty() {
            self.commit_labels(false);
        }
        for row in ROWS.iter() {
            // Fields of several attributes share bits of the key: those that the packet has are the ones meant.
            if row.fields.first().is_some_and(|f| !present(*f, &key)) {
                continue;
            }
            let fields: &[FieldId] = &row.fields;
            if row.attr == KeyAttr::Nd {
                // Of solicitations and advertisements, each has one address of its own.
                let own: Vec<_> = fields.iter().copied().filter(|f| present(*f, &key)).collect();
                self.commit_fields(row.attr, &own);
            } else {
                self.commit_fields(row.attr, fields);
            }
        }
        self.commit_labels(false);
        self.commit_tags();
        self.commit_fields(KeyAttr::Priority, &[FieldId::SkbPriority]);
        self.commit_fields(KeyAttr::SkbMark, &[FieldId::PktMark]);
    }

    fn commit_fields(&mut self, attr: KeyAttr, fields: &[FieldId]) {
        if let Some(m) = self.tracked.changes(&self.base, fields) {
            let is_network = matches!(attr, KeyAttr::Ipv4 | KeyAttr::Ipv6 | KeyAttr::Arp);
            // A mark of congestion on the way through a tunnel is brought in whatever the protocol is.
            let mark = self.mark_brought_in.filter(|mark| *mark == FieldId::NwEcn.info().get(&m.key()) as u8);
            let is_mark = mark.is_some() && m.mask() == FlowMask::of(&[FieldId::NwEcn]);
            let is_for_all = is_mark || self.moved_to_network;
            if is_network && !is_for_all && self.tracked.read_bits(FieldId::NwProto, 0xff) == 0 {
                return;
            }
            use KeyAttr::{Arp, Icmp, Icmpv6, Nd, NdExtensions};
            let is_message = matches!(attr, Arp | Icmp | Icmpv6 | Nd | NdExtensions);
            if is_message && !self.view.features.set_messages {
                self.slow |= SlowPath::ACTION;
            }
            self.tracked.committed(&mut self.base, &m);
            self.out.push(DpAction::Set(attr, (&m).into()));
        }
    }

    // Labels.

    pub(super) fn commit_labels(&mut self, whole_packet: bool) {
        let key = *self.tracked.shown();
        let new = labels_of(&key);
        if new == labels_of(&self.base) && key.packet_type == self.base.packet_type {
            return;
        }
        let known = labels_of(&self.base).len();
        loop {
            let old = labels_of(&self.base);
            let common = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
            if old.len() == common {
                break;
            }
            if old.len() == common + 1 && new.len() > common {
                // The outermost one becomes another.
                let Some(lse) = new.len().checked_sub(old.len()).and_then(|i| new.get(i)) else { break };
                // Entries are set as a whole.
                self.tracked.labels(0..known);
                self.base.mpls_lse[0] = (*lse).into();
                let mut mask = FlowMask::EMPTY;
                mask.bits.mpls_lse[0] = u32::MAX.into();
                self.out.push(DpAction::Set(KeyAttr::Mpls, (&Match::new(self.base, mask)).into()));
                continue;
            }
            let is_mpls = matches!(key.eth_type.get(), ETH_TYPE_MPLS | ETH_TYPE_MPLS_MCAST);
            let eth_type = if !is_mpls && old.len() > 1 { ETH_TYPE_MPLS } else { key.eth_type.get() };
            self.out.push(DpAction::PopMpls(eth_type));
            let [_, b, c] = self.base.mpls_lse;
            self.base.mpls_lse = [b, c, 0.into()];
            self.base.eth_type = eth_type.into();
        }
        let old = labels_of(&self.base).len();
        for lse in new.iter().rev().skip(old) {
            let (eth_type, lse) = (key.eth_type.get(), *lse);
            self.tracked.labels(0..known);
            self.out.push(match whole_packet {
                true => DpAction::AddMpls { eth_type, lse },
                false => DpAction::PushMpls { eth_type, lse },
            });
            let [a, b, _] = self.base.mpls_lse;
            self.base.mpls_lse = [lse.into(), a, b];
            self.base.eth_type = eth_type.into();
        }
        if whole_packet || key.packet_type != self.base.packet_type {
            self.base.packet_type = key.packet_type;
        }
    }

    // Tags.

    fn commit_tags(&mut self) {
        let (new, old) = (self.tracked.tags(), tags_of(&self.base));
        if new == old {
            return;
        }
        let is_tag = |t: &&Tag| t.tci & VLAN_PRESENT != 0;
        let (new_n, old_n) = (new.iter().filter(is_tag).count(), old.iter().filter(is_tag).count());
        let inner = |tags: &[Tag; 2], n: usize| tags.iter().take(n).rev().copied().collect::<Vec<_>>();
        let (new_tags, old_tags) = (inner(&new, new_n), inner(&old, old_n));
        let common = old_tags.iter().zip(&new_tags).take_while(|(a, b)| a == b).count();
        if common < new_n {
            // What is pushed may come from what is popped.
            self.tracked.read_tags(old_n);
        }
        (common..old_n).for_each(|_| self.out.push(DpAction::PopVlan));
        for tag in new_tags.iter().skip(common) {
            let tpid = if tag.tpid == 0 { ETH_TYPE_VLAN } else { tag.tpid };
            self.out.push(DpAction::PushVlan { tpid, tci: tag.tci });
        }
        put_tags(&mut self.base, new);
    }
}

fn present(field: FieldId, key: &FlowKey) -> bool {
    field.info().prereq.holds(key)
}

/// The label stack entries of a key, outermost first, as far as it has them.
fn labels_of(key: &FlowKey) -> Vec<u32> {
    let bottom = key.mpls_lse.iter().position(|l| l.get() & MPLS_BOS != 0).map_or(MPLS_DEPTH, |i| i + 1);
    let labels = key.mpls_lse.iter().take(bottom).map(|l| l.get());
    match key.mpls_lse.iter().all(|l| *l == 0) {
        true => Vec::new(),
        false => labels.collect(),
    }
}

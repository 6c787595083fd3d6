//! A flow key whose reader is watched.
//!
//! A megaflow is sound if its mask has every bit that the decision on it depended on. Here that holds by
//! construction: the pipeline gets at the key only through [`Tracked`], and whatever reads a bit through it adds the
//! bit to the mask. There is no other way to look.

use ovs_classifier::{Classifier, Rule};
use ovs_packet::field::{FieldId, Prereq};
use ovs_packet::key::{FlowKey, FlowMask, Match, VLAN_PRESENT, WORDS};

/// A key with the mask of all that was read of it.
#[derive(Clone, Debug)]
pub(super) struct Tracked {
    key: FlowKey,
    mask: FlowMask,
}

/// The values of a key at one time, to go back to: what was read since stays read.
#[derive(Clone, Debug)]
pub(super) struct Saved(FlowKey);

impl Tracked {
    /// Watches `key`; nothing was read yet.
    pub(super) fn new(key: FlowKey) -> Tracked {
        Tracked { key, mask: FlowMask::EMPTY }
    }

    /// What was read so far.
    pub(super) fn mask(&self) -> &FlowMask {
        &self.mask
    }

    /// A field's value. All its bits count as read.
    pub(super) fn read(&mut self, field: FieldId) -> u128 {
        self.mask.add(field);
        field.info().get(&self.key)
    }

    /// Whether the packet has the fields that need `prereq`. What it takes to tell counts as read.
    pub(super) fn holds(&mut self, prereq: Prereq) -> bool {
        prereq.reads().iter().for_each(|f| self.mask.add(*f));
        prereq.holds(&self.key)
    }

    /// Overwrites bits of a field. They count as read: whether that changes the packet depends on them.
    pub(super) fn write(&mut self, field: FieldId, value: u128, mask: u128) {
        let info = field.info();
        let (old, known) = (info.get(&self.key), info.get(&self.mask.bits));
        info.put(&mut self.mask.bits, known | mask);
        info.put(&mut self.key, (old & !mask) | (value & mask));
    }

    /// Overwrites bits that no packet has, such as registers that the pipeline restores.
    pub(super) fn restore(&mut self, field: FieldId, value: u128) {
        field.info().put(&mut self.key, value);
    }

    /// Finds the rule of the highest priority. What the answer depended on counts as read.
    pub(super) fn lookup<'t, R>(&mut self, table: &'t Classifier<R, WORDS>) -> Option<Rule<'t, R, WORDS>> {
        table.lookup_tracked(self.key.words(), self.mask.bits.words_mut())
    }

    /// As [`lookup`](Self::lookup), as if the packet had come in by another port.
    pub(super) fn lookup_from<'t, R>(
        &mut self,
        table: &'t Classifier<R, WORDS>,
        in_port: Option<u32>,
    ) -> Option<Rule<'t, R, WORDS>> {
        let Some(port) = in_port else { return self.lookup(table) };
        let was = std::mem::replace(&mut self.key.in_port, port.into());
        let found = self.lookup(table);
        self.key.in_port = was;
        found
    }

    /// What of `fields` differs from `base`, among the bits that were read: bits that were not read were not written
    /// either. Gives the values to set, with the mask to set them under.
    pub(super) fn changes(&self, base: &FlowKey, fields: impl Iterator<Item = FieldId>) -> Option<Match> {
        let mut mask = FlowMask::EMPTY;
        for f in fields {
            let info = f.info();
            let known = info.get(&self.mask.bits);
            if (info.get(&self.key) ^ info.get(base)) & known != 0 {
                let set = info.get(&mask.bits) | known;
                info.put(&mut mask.bits, set);
            }
        }
        (!mask.is_empty()).then(|| Match::new(self.key, mask))
    }

    /// Takes the changed bits of `m` over into `base`: the packet has them now.
    pub(super) fn committed(&self, base: &mut FlowKey, m: &Match) {
        base.assign(&self.key, m.mask());
    }

    /// Puts a VLAN tag in front of the others. Of more than two, the innermost is lost from sight.
    pub(super) fn push_tag(&mut self, tpid: u16, tci: u16) {
        self.read_tags();
        (self.key.inner_vlan_tpid, self.key.inner_vlan_tci) = (self.key.vlan_tpid, self.key.vlan_tci);
        (self.key.vlan_tpid, self.key.vlan_tci) = (tpid.into(), tci.into());
    }

    /// Takes the outermost VLAN tag off.
    pub(super) fn pop_tag(&mut self) {
        self.read_tags();
        (self.key.vlan_tpid, self.key.vlan_tci) = (self.key.inner_vlan_tpid, self.key.inner_vlan_tci);
        (self.key.inner_vlan_tpid, self.key.inner_vlan_tci) = (0.into(), 0.into());
    }

    /// The VLAN tags, outermost first, as tag protocol and tag control information.
    pub(super) fn tags(&self) -> Vec<(u16, u16)> {
        tags_of(&self.key)
    }

    /// Gives `base` the tags of this key.
    pub(super) fn copy_tags(&self, base: &mut FlowKey) {
        (base.vlan_tpid, base.vlan_tci) = (self.key.vlan_tpid, self.key.vlan_tci);
        (base.inner_vlan_tpid, base.inner_vlan_tci) = (self.key.inner_vlan_tpid, self.key.inner_vlan_tci);
    }

    /// The whole tag stack decides what a push or a pop does.
    fn read_tags(&mut self) {
        let m = &mut self.mask.bits;
        (m.vlan_tci, m.vlan_tpid) = (u16::MAX.into(), u16::MAX.into());
        (m.inner_vlan_tci, m.inner_vlan_tpid) = (u16::MAX.into(), u16::MAX.into());
    }

    /// The values, to go back to.
    pub(super) fn save(&self) -> Saved {
        Saved(self.key)
    }

    /// Goes back to saved values.
    pub(super) fn go_back(&mut self, saved: &Saved) {
        self.key = saved.0;
    }
}

/// The VLAN tags of a key, outermost first.
pub(super) fn tags_of(key: &FlowKey) -> Vec<(u16, u16)> {
    let tags = [(key.vlan_tpid, key.vlan_tci), (key.inner_vlan_tpid, key.inner_vlan_tci)];
    tags.iter().filter(|(_, tci)| tci.get() & VLAN_PRESENT != 0).map(|(tpid, tci)| (tpid.get(), tci.get())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_masked() {
        let mut t = Tracked::new(FlowKey { eth_type: 0x0800.into(), nw_proto: 6, ..FlowKey::ZERO });
        assert!(t.holds(Prereq::Tcp));
        assert!(t.mask().is_exact(FieldId::NwProto) && !t.mask().touches(FieldId::NwSrc));
        t.write(FieldId::NwSrc, 0x0a00_0000, 0xff00_0000);
        assert_eq!(t.mask().bits.nw_src, 0xff00_0000);
        let saved = t.save();
        assert_eq!(t.read(FieldId::NwSrc), 0x0a00_0000);
        t.write(FieldId::NwSrc, 0, u128::MAX);
        t.go_back(&saved);
        assert_eq!(t.read(FieldId::NwSrc), 0x0a00_0000);
    }

    #[test]
    fn only_written_bits_are_changes() {
        let base = FlowKey { nw_src: 0x0102_0304.into(), ..FlowKey::ZERO };
        let mut t = Tracked::new(base);
        t.write(FieldId::NwSrc, 0x0900_0000, 0xff00_0000);
        let m = t.changes(&base, [FieldId::NwSrc, FieldId::NwDst].into_iter()).unwrap();
        assert_eq!((m.key().nw_src.get(), m.mask().bits.nw_src.get()), (0x0900_0000, 0xff00_0000));
        let mut base = base;
        t.committed(&mut base, &m);
        assert_eq!(base.nw_src, 0x0902_0304);
        assert!(t.changes(&base, [FieldId::NwSrc].into_iter()).is_none());
    }
}

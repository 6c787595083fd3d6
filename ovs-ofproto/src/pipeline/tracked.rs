//! A flow key whose reader is watched.
//!
//! A megaflow is sound if its mask has every bit that the decision on it depended on. Here that holds by
//! construction: the pipeline gets at the key only through [`Tracked`], and whatever reads a bit through it adds the
//! bit to the mask. There is no other way to look.
//!
//! Bits that were overwritten are noted as well: of those, what the pipeline read later says nothing of the packet as it
//! came, which is what [`Tracked::seen_into`] tells.

use std::ops::Range;
use std::sync::LazyLock;

use ovs_classifier::{Rule, View};
use ovs_packet::field::{FieldId, Prereq, TlvTable, TunOption};
use ovs_packet::hash::HashFields;
use ovs_packet::key::{FlowKey, FlowMask, MPLS_DEPTH, Match, REGISTERS, VLAN_PRESENT, VLAN_VID_MASK, WORDS};

use super::verify;

/// In an MPLS label stack entry: the bottom of the stack (RFC 3032, section 2.1).
pub(super) const MPLS_BOS: u32 = 0x100;

/// A key with the mask of all that was read of it.
#[derive(Clone, Debug)]
pub(super) struct Tracked {
    key: FlowKey,
    mask: FlowMask,
    /// The bits that no longer are as they were at first.
    written: FlowMask,
    /// Whether a lookup found what it did by way of a conjunction.
    conjoined: bool,
    /// Whether lookups are held against a search from end to end.
    verifies: bool,
}

/// The values of a key at one time, to go back to: what was read since stays read.
#[derive(Clone, Debug)]
pub(super) struct Saved(Box<FlowKey>);

/// A VLAN tag: protocol and control information, with the present bit.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Tag {
    pub(super) tpid: u16,
    pub(super) tci: u16,
}

impl Tracked {
    /// Watches `key`; nothing was read yet.
    pub(super) fn new(key: FlowKey) -> Tracked {
        Tracked { key, mask: FlowMask::EMPTY, written: FlowMask::EMPTY, conjoined: false, verifies: false }
    }

    /// Has lookups be held against a search from end to end.
    pub(super) fn verify(&mut self, verifies: bool) {
        self.verifies = verifies;
    }

    /// What was read so far.
    pub(super) fn mask(&self) -> &FlowMask {
        &self.mask
    }

    /// Writes what was read of the key as it was at first: whoever has the same bits was looked up alike, however the
    /// pipeline changed the rest.
    pub(super) fn seen_into(&self, seen: &mut FlowMask) {
        let read = self.mask.bits.words().iter().zip(self.written.bits.words());
        for (s, (m, w)) in seen.bits.words_mut().iter_mut().zip(read) {
            *s = m & !w;
        }
    }

    /// The values for whoever shows them and decides nothing by them.
    pub(super) fn shown(&self) -> &FlowKey {
        &self.key
    }

    /// A field's value. All its bits count as read.
    pub(super) fn read(&mut self, field: FieldId) -> u128 {
        self.mask.add(field);
        field.info().get(&self.key)
    }

    /// The bits of `mask` in a field. Only they count as read.
    pub(super) fn read_bits(&mut self, field: FieldId, mask: u128) -> u128 {
        let info = field.info();
        let known = info.get(&self.mask.bits);
        info.put(&mut self.mask.bits, known | mask);
        info.get(&self.key) & mask
    }

    /// Whether a field has this value. Where it has not, one bit in which it differs counts as read: it says as much.
    pub(super) fn is(&mut self, field: FieldId, value: u128) -> bool {
        let differs = field.info().get(&self.key) ^ value;
        match differs.checked_ilog2() {
            Some(bit) => drop(self.read_bits(field, 1 << bit)),
            None => self.mask.add(field),
        }
        differs == 0
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
        let written = info.get(&self.written.bits);
        info.put(&mut self.mask.bits, known | mask);
        info.put(&mut self.written.bits, written | mask);
        info.put(&mut self.key, (old & !mask) | (value & mask));
    }

    /// Overwrites bits that no packet has, such as registers that the pipeline restores.
    pub(super) fn restore(&mut self, field: FieldId, value: u128) {
        field.info().put(&mut self.key, value);
        self.written.add(field);
    }

    /// Overwrites the bits of `mask` by those of `values`, none of which count as read: they are no packet's.
    pub(super) fn restore_all(&mut self, values: &FlowKey, mask: &FlowMask) {
        self.key.assign(values, mask);
        self.written |= mask;
    }

    /// Replaces the whole key, of another packet or by another header in front of this one.
    pub(super) fn rewrite(&mut self, change: impl FnOnce(&mut FlowKey)) {
        let old = self.key;
        change(&mut self.key);
        for ((w, a), b) in self.written.bits.words_mut().iter_mut().zip(old.words()).zip(self.key.words()) {
            *w |= a ^ b;
        }
    }

    /// Adds the bits of `mask` to what was read.
    pub(super) fn note(&mut self, mask: &FlowMask) {
        self.mask |= mask;
    }

    /// Adds those bits of `mask` to what was read that were overwritten at some time.
    pub(super) fn note_written(&mut self, mask: &FlowMask) {
        let written = self.written.bits.words().iter().zip(mask.bits.words());
        self.mask.bits.words_mut().iter_mut().zip(written).for_each(|(m, (w, bits))| *m |= w & bits);
    }

    /// What the pipeline has written to a field, if it has, and else zero; what the packet came with counts for nothing.
    pub(super) fn read_written(&mut self, field: FieldId) -> u128 {
        let written = field.info().get(&self.written.bits);
        self.read_bits(field, written)
    }

    // Lookups.

    /// Finds the rule of the highest priority. What the answer depended on counts as read.
    pub(super) fn lookup<'t, R>(&mut self, table: View<'t, R, WORDS>) -> Option<Rule<'t, R, WORDS>> {
        let found = table.lookup_tracked(self.key.words(), self.mask.bits.words_mut());
        self.conjoined |= found.is_some_and(|rule| rule.conjunction().is_some());
        if self.verifies {
            verify::lookup(table, &self.key, found.as_ref());
        }
        found
    }

    /// Whether a lookup found what it did by way of a conjunction, the rules of which are not met by themselves.
    pub(super) fn is_conjoined(&self) -> bool {
        self.conjoined
    }

    /// As [`lookup`](Self::lookup), as if the packet had come in by another port.
    pub(super) fn lookup_from<'t, R>(
        &mut self,
        table: View<'t, R, WORDS>,
        in_port: Option<u32>,
    ) -> Option<Rule<'t, R, WORDS>> {
        let Some(port) = in_port else { return self.lookup(table) };
        self.written.add(FieldId::InPortOxm);
        let was = std::mem::replace(&mut self.key.in_port, port.into());
        let found = self.lookup(table);
        self.key.in_port = was;
        found
    }

    /// As [`lookup`](Self::lookup), with the original tuple of the packet's connection in the place of its own.
    pub(super) fn lookup_original<'t, R>(&mut self, table: View<'t, R, WORDS>) -> Option<Rule<'t, R, WORDS>> {
        swap_tuples(&mut self.key);
        swap_tuples(&mut self.mask.bits);
        let found = self.lookup(table);
        swap_tuples(&mut self.key);
        swap_tuples(&mut self.mask.bits);
        found
    }

    /// As [`lookup_from`](Self::lookup_from), as if the packet had no ports: those that it has do not matter.
    pub(super) fn lookup_without_ports<'t, R>(
        &mut self,
        table: View<'t, R, WORDS>,
        in_port: Option<u32>,
    ) -> Option<Rule<'t, R, WORDS>> {
        let (ports, known) = ((self.key.tp_src, self.key.tp_dst), (self.mask.bits.tp_src, self.mask.bits.tp_dst));
        (self.key.tp_src, self.key.tp_dst) = (0.into(), 0.into());
        self.written.add(FieldId::TcpSrc);
        self.written.add(FieldId::TcpDst);
        let found = self.lookup_from(table, in_port);
        (self.key.tp_src, self.key.tp_dst) = ports;
        (self.mask.bits.tp_src, self.mask.bits.tp_dst) = known;
        found
    }

    /// For a trace: the flows that made a conjunction complete, if the rule found matches one's id.
    pub(super) fn conjunction_of<R>(&self, found: &Match, table: Option<View<'_, R, WORDS>>) -> Vec<(u16, Match)> {
        let id = found.key().conj_id.get();
        let Some(table) = table.filter(|_| found.mask().touches(FieldId::ConjId)) else { return Vec::new() };
        let parts = table.iter().filter(|r| r.clauses().iter().any(|c| c.id() == id) && r.matches(self.key.words()));
        let pattern = |r: &Rule<'_, R, WORDS>| r.words().collect::<Match>();
        parts.map(|r| (u16::try_from(r.priority()).unwrap_or(u16::MAX), pattern(&r))).collect()
    }

    /// A hash of the packet.
    pub(super) fn hash(&mut self, fields: HashFields, basis: u64) -> u32 {
        fields.mask(&self.key, &mut self.mask);
        (fields.hash(&self.key, basis) >> 32) as u32
    }

    // Committing.

    /// What of `fields` differs from `base`, among the bits that were read: bits that were not read were not written
    /// either. Gives the values to set, with the mask to set them under.
    pub(super) fn changes(&self, base: &FlowKey, fields: &[FieldId]) -> Option<Match> {
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

    /// Whether any bit outside `ignored` differs from `base`.
    pub(super) fn differs(&self, base: &FlowKey, ignored: &FlowMask) -> bool {
        let words = self.key.words().iter().zip(base.words()).zip(ignored.bits.words());
        words.fold(0, |d, ((a, b), i)| d | ((a ^ b) & !i)) != 0
    }

    /// Takes the changed bits of `m` over into `base`: the packet has them now.
    pub(super) fn committed(&self, base: &mut FlowKey, m: &Match) {
        base.assign(&self.key, &m.mask());
    }

    // VLAN tags.

    /// Puts a VLAN tag in front of the others. Of more than two, the innermost is lost from sight.
    pub(super) fn push_tag(&mut self, tag: Tag) {
        let [outer, _] = self.all_tags();
        self.set_tags([tag, outer]);
    }

    /// Takes the outermost VLAN tag off. What it says does not matter, but whoever reads the tag in its place then reads
    /// the inner one.
    pub(super) fn pop_tag(&mut self) {
        if self.read_bits(FieldId::VlanTci, VLAN_PRESENT.into()) == 0 {
            return;
        }
        let [_, inner] = tags_of(&self.key);
        let m = &mut self.mask.bits;
        m.inner_vlan_tci.set(m.inner_vlan_tci.get() | VLAN_PRESENT);
        if inner.tci & VLAN_PRESENT != 0 {
            (m.inner_vlan_tpid, m.inner_vlan_tci) = (u16::MAX.into(), u16::MAX.into());
        }
        self.set_tags([inner, Tag::default()]);
    }

    /// Both places for VLAN tags, outermost first. Those that hold tags count as read, of the others that they do not.
    pub(super) fn all_tags(&mut self) -> [Tag; 2] {
        let tags = tags_of(&self.key);
        let m = &mut self.mask.bits;
        let mut places = [(&mut m.vlan_tpid, &mut m.vlan_tci), (&mut m.inner_vlan_tpid, &mut m.inner_vlan_tci)];
        for ((tpid, tci), tag) in places.iter_mut().zip(tags) {
            if tag.tci & VLAN_PRESENT == 0 {
                tci.set(tci.get() | VLAN_PRESENT);
                break;
            }
            tpid.set(u16::MAX);
            tci.set(u16::MAX);
        }
        tags
    }

    /// All of the first `n` tags counts as read.
    pub(super) fn read_tags(&mut self, n: usize) {
        let m = &mut self.mask.bits;
        if n > 0 {
            (m.vlan_tpid, m.vlan_tci) = (u16::MAX.into(), u16::MAX.into());
        }
        if n > 1 {
            (m.inner_vlan_tpid, m.inner_vlan_tci) = (u16::MAX.into(), u16::MAX.into());
        }
    }

    /// The VLAN of the second tag; 0 if there is none.
    pub(super) fn inner_vid(&mut self) -> u16 {
        let read = VLAN_PRESENT | VLAN_VID_MASK;
        let m = &mut self.mask.bits.inner_vlan_tci;
        m.set(m.get() | read);
        match self.key.inner_vlan_tci.get() & read {
            tci if tci & VLAN_PRESENT != 0 => tci & VLAN_VID_MASK,
            _ => 0,
        }
    }

    /// Gives the packet these tags, which do not count as read.
    pub(super) fn set_tags(&mut self, tags: [Tag; 2]) {
        self.rewrite(|k| put_tags(k, tags));
    }

    /// The VLAN tags for whoever compares them with those that the packet has: those that were written were read.
    pub(super) fn tags(&self) -> [Tag; 2] {
        tags_of(&self.key)
    }

    // MPLS.

    /// How many label stack entries are known, and whether the bottom is among them.
    pub(super) fn count_labels(&mut self) -> usize {
        if !self.holds(Prereq::Mpls) {
            return 0;
        }
        for i in 0..MPLS_DEPTH {
            if let Some(m) = self.mask.bits.mpls_lse.get_mut(i) {
                m.set(m.get() | MPLS_BOS);
            }
            if self.key.mpls_lse.get(i).is_some_and(|l| l.get() & MPLS_BOS != 0) {
                return i + 1;
            }
        }
        MPLS_DEPTH
    }

    /// The label stack entries, of which those in `read` count as read.
    pub(super) fn labels(&mut self, read: Range<usize>) -> [u32; MPLS_DEPTH] {
        self.mask.bits.mpls_lse.iter_mut().skip(read.start).take(read.len()).for_each(|m| m.set(u32::MAX));
        self.key.mpls_lse.map(|l| l.get())
    }

    // Tunnel options.

    /// Overwrites bits of a tunnel option, or takes it away. False if the table has none of that number. It does not count
    /// as read: what is sent through a tunnel is not compared with what came through one.
    pub(super) fn write_option(&mut self, tlv: &TlvTable, index: usize, option: &TunOption) -> bool {
        tlv.add_to_mask(&mut self.written, index);
        tlv.set(&mut self.key, index, option).is_ok()
    }

    /// The value of a tunnel option.
    pub(super) fn read_option(&mut self, tlv: &TlvTable, index: usize) -> Option<Vec<u8>> {
        tlv.add_to_mask(&mut self.mask, index);
        tlv.get(&self.key, index).map(|v| v.to_vec())
    }

    /// Has the values of all tunnel options count as read that the packet has now and came with: which those are is for
    /// the caller to see to.
    pub(super) fn read_options(&mut self, tlv: &TlvTable, first: &FlowKey) {
        let present = self.key.tun_present.get() & first.tun_present.get();
        (0..64).filter(|i| present >> i & 1 != 0).for_each(|i| tlv.add_to_mask(&mut self.mask, i));
    }

    // Going back.

    /// The values, to go back to.
    pub(super) fn save(&self) -> Saved {
        Saved(Box::new(self.key))
    }

    /// Goes back to saved values.
    pub(super) fn go_back(&mut self, saved: &Saved) {
        self.key = *saved.0;
    }
}

/// What of a key belongs to the pipeline and not to packets: registers, metadata.
pub(super) fn pipeline_mask() -> &'static FlowMask {
    static MASK: LazyLock<FlowMask> = LazyLock::new(|| {
        let mut mask = FlowMask::EMPTY;
        mask.bits.regs = [u32::MAX.into(); REGISTERS];
        mask.bits.metadata = u64::MAX.into();
        mask
    });
    &MASK
}

/// Exchanges the packet's tuple with the original one of its connection.
fn swap_tuples(k: &mut FlowKey) {
    std::mem::swap(&mut k.nw_proto, &mut k.ct_nw_proto);
    std::mem::swap(&mut k.nw_src, &mut k.ct_nw_src);
    std::mem::swap(&mut k.nw_dst, &mut k.ct_nw_dst);
    std::mem::swap(&mut k.ipv6_src, &mut k.ct_ipv6_src);
    std::mem::swap(&mut k.ipv6_dst, &mut k.ct_ipv6_dst);
    std::mem::swap(&mut k.tp_src, &mut k.ct_tp_src);
    std::mem::swap(&mut k.tp_dst, &mut k.ct_tp_dst);
}

/// Both places for VLAN tags of a key, outermost first.
pub(super) fn tags_of(key: &FlowKey) -> [Tag; 2] {
    let tag = |tpid: u16, tci: u16| if tci & VLAN_PRESENT != 0 { Tag { tpid, tci } } else { Tag::default() };
    [tag(key.vlan_tpid.get(), key.vlan_tci.get()), tag(key.inner_vlan_tpid.get(), key.inner_vlan_tci.get())]
}

/// Gives a key these VLAN tags.
pub(super) fn put_tags(key: &mut FlowKey, [outer, inner]: [Tag; 2]) {
    (key.vlan_tpid, key.vlan_tci) = (outer.tpid.into(), outer.tci.into());
    (key.inner_vlan_tpid, key.inner_vlan_tci) = (inner.tpid.into(), inner.tci.into());
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
    fn one_bit_tells_what_is_not() {
        let mut t = Tracked::new(FlowKey { tp_src: 0x0043.into(), ..FlowKey::ZERO });
        assert!(!t.is(FieldId::UdpSrc, 0x0844));
        assert_eq!(t.mask().bits.tp_src, 0x0800);
        assert!(t.is(FieldId::UdpSrc, 0x43) && t.mask().is_exact(FieldId::UdpSrc));
    }

    #[test]
    fn only_written_bits_are_changes() {
        let base = FlowKey { nw_src: 0x0102_0304.into(), ..FlowKey::ZERO };
        let mut t = Tracked::new(base);
        t.write(FieldId::NwSrc, 0x0900_0000, 0xff00_0000);
        let m = t.changes(&base, &[FieldId::NwSrc, FieldId::NwDst]).unwrap();
        assert_eq!((m.key().nw_src.get(), m.mask().bits.nw_src.get()), (0x0900_0000, 0xff00_0000));
        let mut base = base;
        t.committed(&mut base, &m);
        assert_eq!(base.nw_src, 0x0902_0304);
        assert!(t.changes(&base, &[FieldId::NwSrc]).is_none());
    }

    #[test]
    fn what_was_written_says_nothing_of_the_packet_as_it_came() {
        let first = FlowKey { nw_src: 0x0102_0304.into(), ..FlowKey::ZERO };
        let mut t = Tracked::new(first);
        t.write(FieldId::NwSrc, 0x0900_0000, 0xff00_0000);
        t.read(FieldId::NwSrc);
        let mut seen = FlowMask::EMPTY;
        t.seen_into(&mut seen);
        assert_eq!(seen.bits.nw_src.get(), 0x00ff_ffff);
    }

    #[test]
    fn a_tag_that_is_not_there_is_read_as_such() {
        let one = FlowKey { vlan_tci: (VLAN_PRESENT | 5).into(), vlan_tpid: 0x8100.into(), ..FlowKey::ZERO };
        let mut t = Tracked::new(one);
        t.push_tag(Tag { tpid: 0x88a8, tci: VLAN_PRESENT | 7 });
        assert_eq!(t.tags(), [Tag { tpid: 0x88a8, tci: 0x1007 }, Tag { tpid: 0x8100, tci: 0x1005 }]);
        assert_eq!((t.mask().bits.vlan_tci.get(), t.mask().bits.inner_vlan_tci.get()), (0xffff, VLAN_PRESENT));
        t.pop_tag();
        t.pop_tag();
        t.pop_tag();
        assert_eq!(t.tags(), [Tag::default(); 2]);
    }
}

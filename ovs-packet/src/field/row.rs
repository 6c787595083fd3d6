//! What a row says of a field, and the words that the table is written in.

use super::{CodePoint, FieldId, Format, KeyAttr, OxmId, Prereq};
use crate::key::{FlowKey, WORDS};

/// A row of the table. See the [module](super).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Field {
    /// The name in text.
    pub name: &'static str,
    /// Another name that is read, and written by older formats.
    pub alias: Option<&'static str>,
    /// Width in bits of the value, as text and actions that name bits see it. A value may have fewer bits that can be
    /// other than zero, or a flag above them: see [`max_value`](Field::max_value).
    pub bits: u16,
    /// Width in bytes of the value on the wire; for tunnel options the greatest.
    pub wire_bytes: u8,
    /// Whether a match may have an arbitrary mask; without it, all bits or none.
    pub maskable: bool,
    /// Whether actions may set it.
    pub writable: bool,
    /// What else must be matched for this field to exist.
    pub prereq: Prereq,
    /// How values are written.
    pub format: Format,
    /// The datapath key attribute; none for what only the OpenFlow pipeline knows.
    pub attr: Option<KeyAttr>,
    points: [Option<CodePoint>; 3],
    /// The word of the key that the field begins in; it ends there, or in the next.
    word: u8,
    /// Bits of the two words, as one big-endian number, below the field. A field of which none is in the second word has
    /// 64 or more.
    shift: u8,
    /// The bits of the field in the two words, as those stand in memory.
    ones: [u64; 2],
    /// Those of them that its value is read from: of a port in 16 bits, the lower half.
    read: [u64; 2],
    max: u128,
    /// A view of 32 bits with reserved port numbers in 16.
    port16: bool,
}

impl Field {
    /// The field's value in `key`, right-aligned. A tunnel option is nowhere without its table: 0.
    #[inline]
    pub fn get(&self, key: &FlowKey) -> u128 {
        self.read(|i| key.word(i))
    }

    /// The word that the field is in, if it is in one only.
    #[inline(always)]
    pub(crate) fn single_word(&self) -> Option<usize> {
        if self.shift >= 64 { Some(self.word.into()) } else { None }
    }

    /// The word that the field is in and the bits of it below the field, if a value of at most 8 bytes goes there as it
    /// is.
    pub(super) const fn plain_place(&self) -> Option<(u8, u8)> {
        let whole = matches!(self.wire_bytes, 1 | 2 | 4 | 6 | 8) && self.max != 0 && self.max <= u64::MAX as u128;
        if self.shift >= 64 && whole && !self.port16 { Some((self.word, self.shift & 63)) } else { None }
    }

    /// The field's bits of the first of its words, right-aligned: all of it, where it is in one only.
    #[inline(always)]
    pub(crate) fn part(&self, word: u64) -> u64 {
        u64::from_be(word) >> (self.shift & 63) & self.max as u64
    }

    /// The field's value in a key of which `word` gives the words.
    #[inline(always)]
    pub(crate) fn read(&self, word: impl Fn(usize) -> u64) -> u128 {
        let at = usize::from(self.word);
        let first = word(at);
        if self.single_word().is_some() {
            return self.part(first).into();
        }
        (u128::from(u64::from_be(first)) << 64 | u128::from(u64::from_be(word(at + 1)))) >> self.shift & self.max
    }

    /// Which word of a key the field begins in, and its bits there and in the next, as those stand in memory.
    #[inline(always)]
    pub(crate) fn place(&self) -> (usize, [u64; 2]) {
        (self.word.into(), self.ones)
    }

    /// Whether any bit of the field is in a mask of which `word` gives the words.
    #[inline(always)]
    pub(crate) fn any_in(&self, word: impl Fn(usize) -> u64) -> bool {
        let (at, [first, second]) = (usize::from(self.word), self.read);
        word(at) & first != 0 || second != 0 && word(at + 1) & second != 0
    }

    /// Whether all bits of the field are.
    #[inline(always)]
    pub(crate) fn all_in(&self, word: impl Fn(usize) -> u64) -> bool {
        let (at, [first, second]) = (usize::from(self.word), self.read);
        !word(at) & first == 0 && (second == 0 || !word(at + 1) & second == 0)
    }

    /// The bits of `value` in the two words of the field's [`place`](Field::place); those above its width are dropped.
    #[inline(always)]
    pub(crate) fn spread(&self, value: u128) -> [u64; 2] {
        if self.single_word().is_some() {
            let value = value as u64 & self.max as u64;
            let reserved = if self.port16 && value >= 0xff00 { 0xffff_0000 } else { 0 };
            return [((value | reserved) << (self.shift & 63)).to_be(), 0];
        }
        let value = (value & self.max) << (self.shift & 63);
        [((value >> 64) as u64).to_be(), (value as u64).to_be()]
    }

    /// Writes the field's value into `key`; bits of `value` above the field's width are dropped.
    ///
    /// A tunnel option has no place without its table, and is not written.
    #[inline]
    pub fn put(&self, key: &mut FlowKey, value: u128) {
        let (first, ones) = self.place();
        let words = key.words_mut().iter_mut().skip(first);
        for ((word, ones), value) in words.zip(ones).zip(self.spread(value)) {
            *word = *word & !ones | value;
        }
    }

    /// The greatest value that the field holds: all its bits. A mask of these is exact.
    pub const fn max_value(&self) -> u128 {
        self.max
    }

    /// The field's numbers and names on the wire, each preferred to those before it where the version has it.
    pub fn code_points(&self) -> impl Iterator<Item = CodePoint> {
        self.points.iter().flatten().copied()
    }

    pub(super) const fn points(&self) -> &[Option<CodePoint>; 3] {
        &self.points
    }

    /// The number that the field is written with in an OpenFlow version, as that is on the wire: the last of its
    /// [`code_points`](Field::code_points) that the version has, or else the first. Version 0 asks for Nicira's format.
    ///
    /// ```
    /// use ovs_packet::field::{CLASS_EXPERIMENTER, CLASS_NXM_1, CLASS_OPENFLOW_BASIC, FieldId};
    ///
    /// let flags = FieldId::TcpFlags.info();
    /// assert_eq!(flags.oxm(0).unwrap().class, CLASS_NXM_1);
    /// assert_eq!(flags.oxm(4).unwrap().class, CLASS_EXPERIMENTER);
    /// assert_eq!(flags.oxm(6).unwrap().class, CLASS_OPENFLOW_BASIC);
    /// ```
    pub fn oxm(&self, version: u8) -> Option<OxmId> {
        let fits = self.code_points().filter(|p| p.since <= version).last();
        fits.or(self.code_points().next()).map(|p| p.id)
    }
}

impl FieldId {
    /// Whether `value`, right-aligned, is one that the field can have: within its width, and of those that are defined.
    pub fn accepts(self, value: u128) -> bool {
        match self {
            FieldId::NshMdtype => matches!(value, 1 | 2),
            _ => value & !self.info().max == 0,
        }
    }
}

/// A row as it is written: a field, or a family of fields that differ by a number.
#[derive(Clone, Copy)]
pub(super) struct Row {
    field: Field,
    /// Where the bytes of the key begin that hold it, and how many they are.
    offset: usize,
    storage: u8,
    /// Bits of these below the field.
    above: u8,
    names: &'static [&'static str],
    aliases: &'static [&'static str],
    wires: &'static [&'static str],
}

impl Row {
    /// A field that fills `storage` bytes of the key from `offset` on.
    pub(super) const fn at(offset: usize, storage: usize) -> Row {
        let field = Field {
            name: "",
            alias: None,
            bits: storage as u16 * 8,
            wire_bytes: storage as u8,
            maskable: false,
            writable: false,
            prereq: Prereq::None,
            format: Format::Decimal,
            attr: None,
            points: [None; 3],
            word: 0,
            shift: 0,
            ones: [0; 2],
            read: [0; 2],
            max: u128::MAX >> (128 - 8 * storage),
            port16: false,
        };
        Row { field, offset, storage: storage as u8, above: 0, names: &[], aliases: &[], wires: &[] }
    }

    /// A field without a fixed place.
    pub(super) const fn tunnel_option() -> Row {
        let mut row = Row::at(0, 1);
        row.storage = 0;
        row.field.max = 0;
        row.bits(124 * 8).wire_bytes(124)
    }

    /// Number `n` of the family; a single field is number 0.
    #[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
    pub(super) const fn member(&self, n: usize) -> Field {
        let mut field = self.field;
        let offset = self.offset + n * self.storage as usize;
        let mut end = offset % 8 + self.storage as usize;
        if self.storage == 0 {
            // No field: all shifts are the same to it.
            end = 8;
        }
        assert!(end <= 16 && offset / 8 + 1 < WORDS);
        (field.word, field.shift) = ((offset / 8) as u8, 128 - 8 * end as u8 + self.above);
        // The port in 16 bits is all of the port, in other words.
        let ones = (if field.port16 { u32::MAX as u128 } else { field.max }) << field.shift;
        field.ones = [((ones >> 64) as u64).to_be(), (ones as u64).to_be()];
        let read = field.max << field.shift;
        field.read = [((read >> 64) as u64).to_be(), (read as u64).to_be()];
        assert!(!field.port16 || field.shift >= 64);
        if !self.names.is_empty() {
            field.name = self.names[n];
        }
        if !self.aliases.is_empty() {
            field.alias = Some(self.aliases[n]);
        }
        if let (Some(first), false) = (field.points[0], self.wires.is_empty()) {
            field.points[0] = Some(CodePoint::new(self.wires[n], first.id.field + n as u8, first.since));
        }
        field
    }

    pub(super) const fn name(mut self, name: &'static str) -> Row {
        self.field.name = name;
        self
    }

    pub(super) const fn names(mut self, names: &'static [&'static str]) -> Row {
        self.names = names;
        self
    }

    pub(super) const fn alias(mut self, alias: &'static str) -> Row {
        self.field.alias = Some(alias);
        self
    }

    pub(super) const fn aliases(mut self, aliases: &'static [&'static str]) -> Row {
        self.aliases = aliases;
        self
    }

    /// `bits` bits, `above` of them the lowest of the storage.
    pub(super) const fn part(mut self, above: u8, bits: u8) -> Row {
        self.above = above;
        self.field.bits = bits as u16;
        self.field.max = (1 << bits) - 1;
        self
    }

    /// The bits of the storage that belong to the field, without a shift.
    pub(super) const fn within(mut self, bits: u128) -> Row {
        self.field.max = bits;
        self
    }

    /// Sixteen of 32 bits, with the reserved ports of OpenFlow 1.0 for those of OpenFlow 1.1.
    pub(super) const fn port16(mut self) -> Row {
        self.field.port16 = true;
        self.part(0, 16).wire_bytes(2)
    }

    pub(super) const fn bits(mut self, bits: u16) -> Row {
        self.field.bits = bits;
        self
    }

    pub(super) const fn wire_bytes(mut self, bytes: u8) -> Row {
        self.field.wire_bytes = bytes;
        self
    }

    pub(super) const fn mask(mut self) -> Row {
        self.field.maskable = true;
        self
    }

    pub(super) const fn rw(mut self) -> Row {
        self.field.writable = true;
        self
    }

    pub(super) const fn needs(mut self, prereq: Prereq) -> Row {
        self.field.prereq = prereq;
        self
    }

    pub(super) const fn fmt(mut self, format: Format) -> Row {
        self.field.format = format;
        self
    }

    pub(super) const fn attr(mut self, attr: KeyAttr) -> Row {
        self.field.attr = Some(attr);
        self
    }

    /// A number in the format whose name begins `name`.
    pub(super) const fn wire(self, name: &'static str, field: u8) -> Row {
        self.wire_since(name, field, 0)
    }

    /// A number that an OpenFlow version brought. Later ones stand behind earlier ones, preferred ones behind others.
    #[expect(clippy::panic, clippy::indexing_slicing, reason = "evaluated when compiled")]
    pub(super) const fn wire_since(mut self, name: &'static str, field: u8, since: u8) -> Row {
        let mut i = 0;
        while let Some(before) = self.field.points[i] {
            if before.since > since {
                panic!("versions out of order");
            }
            i += 1;
        }
        self.field.points[i] = Some(CodePoint::new(name, field, since));
        self
    }

    /// The names of a family's numbers, of which `first` is the first.
    pub(super) const fn wires(self, names: &'static [&'static str], first: u8) -> Row {
        self.wires_since(names, first, 0)
    }

    #[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
    pub(super) const fn wires_since(mut self, names: &'static [&'static str], first: u8, since: u8) -> Row {
        self.wires = names;
        self.wire_since(names[0], first, since)
    }
}

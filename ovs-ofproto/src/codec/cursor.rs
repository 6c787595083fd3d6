//! Reading and writing: one cursor each way, and one way to write a structure that begins with its length.

use ovs_packet::field::{FieldId, TLV_FIELDS, TlvTable};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::error::{DecodeError, EncodeError, OfError};

/// A place in a message, to say later what was wrong there.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Place(usize);

impl Place {
    /// The place so many bytes behind this one.
    pub(super) fn plus(self, bytes: usize) -> Place {
        Place(self.0.saturating_add(bytes))
    }

    /// Byte offset in the message.
    pub(super) fn at(self) -> usize {
        self.0
    }

    /// An error there.
    pub(super) fn error(self, error: OfError, what: &'static str) -> DecodeError {
        DecodeError::new(error, self.0, what)
    }
}

/// Reads big-endian numbers and runs of bytes, knows its place in the message, and never reads past its end.
///
/// What runs short is an error of the reader's own kind: that of the structure that it was made for.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// Grows by what `rest` loses, so that it does not wrap.
    at: usize,
    short: &'static OfError,
}

impl<'a> Reader<'a> {
    /// Reads `message` from its first byte.
    pub fn new(message: &'a [u8]) -> Reader<'a> {
        Reader { rest: message, at: 0, short: &OfError::BadRequestBadLength }
    }

    /// Reads bytes that stand `at` bytes behind the message's first.
    pub(super) fn new_at(bytes: &'a [u8], at: usize) -> Reader<'a> {
        Reader { rest: bytes, at, short: &OfError::BadRequestBadLength }
    }

    /// The same place, with `short` as the error of what runs short.
    #[must_use]
    #[inline(always)]
    pub fn or(mut self, short: &'static OfError) -> Reader<'a> {
        self.short = short;
        self
    }

    /// From here on, `short` is the error of what runs short; gives what it was.
    #[inline(always)]
    pub(super) fn set_short(&mut self, short: &'static OfError) -> &'static OfError {
        core::mem::replace(&mut self.short, short)
    }

    /// Byte offset in the message.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The place of the next byte.
    #[inline(always)]
    pub(super) fn place(&self) -> Place {
        Place(self.at)
    }

    /// How many bytes are left.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.rest.len()
    }

    /// Whether none is left.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The bytes that are left, without reading them.
    #[inline(always)]
    pub fn peek(&self) -> &'a [u8] {
        self.rest
    }

    /// What runs short here.
    #[cold]
    #[inline(never)]
    fn too_short(&self) -> DecodeError {
        self.error(*self.short, "more bytes were announced")
    }

    /// An error at this place.
    pub fn error(&self, error: OfError, what: &'static str) -> DecodeError {
        DecodeError::new(error, self.at, what)
    }

    /// Reads `n` bytes.
    ///
    /// # Errors
    /// If there are fewer.
    #[inline(always)]
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let (read, rest) = self.rest.split_at_checked(n).ok_or_else(|| self.too_short())?;
        self.rest = rest;
        self.at = self.at.wrapping_add(n);
        Ok(read)
    }

    /// Reads all that is left.
    pub fn remaining(&mut self) -> &'a [u8] {
        let all = core::mem::take(&mut self.rest);
        self.at = self.at.wrapping_add(all.len());
        all
    }

    /// Passes over `n` bytes of padding, whatever they hold.
    ///
    /// # Errors
    /// If there are fewer.
    #[inline(always)]
    pub fn skip(&mut self, n: usize) -> Result<(), DecodeError> {
        self.bytes(n).map(|_| ())
    }

    /// A reader of the next `n` bytes, which this one passes over.
    ///
    /// # Errors
    /// If there are fewer.
    #[inline(always)]
    pub fn sub(&mut self, n: usize) -> Result<Reader<'a>, DecodeError> {
        let at = self.at;
        Ok(Reader { rest: self.bytes(n)?, at, short: self.short })
    }

    /// A big-endian number of `n` bytes, at most 16.
    ///
    /// # Errors
    /// If there are fewer.
    #[inline(always)]
    pub fn uint(&mut self, n: usize) -> Result<u128, DecodeError> {
        Ok(match n {
            1 => self.u8()?.into(),
            2 => self.u16()?.into(),
            4 => self.u32()?.into(),
            8 => self.u64()?.into(),
            16 => u128::from_be_bytes(self.array()?),
            n => self.bytes(n)?.iter().fold(0, |v, b| v << 8 | u128::from(*b)),
        })
    }

    /// A structure of fixed size.
    ///
    /// # Errors
    /// If there are fewer bytes.
    #[inline(always)]
    pub(super) fn view<T: FromBytes + KnownLayout + Immutable + Unaligned>(&mut self) -> Result<&'a T, DecodeError> {
        let (view, rest) = T::ref_from_prefix(self.rest).map_err(|_| self.too_short())?;
        self.rest = rest;
        self.at = self.at.wrapping_add(size_of::<T>());
        Ok(view)
    }

    /// Type and length of the structure that begins here, which are not passed over.
    ///
    /// # Errors
    /// If there are fewer bytes.
    #[inline(always)]
    pub(super) fn type_and_length(&self) -> Result<(u16, usize), DecodeError> {
        let [a, b, c, d] = *self.rest.first_chunk().ok_or_else(|| self.too_short())?;
        Ok((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]).into()))
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (read, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.too_short())?;
        self.rest = rest;
        self.at = self.at.wrapping_add(N);
        Ok(*read)
    }

    /// A byte.
    ///
    /// # Errors
    /// If there is none.
    #[inline(always)]
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    /// Two bytes.
    ///
    /// # Errors
    /// If there are fewer.
    #[inline(always)]
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// Four bytes.
    ///
    /// # Errors
    /// If there are fewer.
    #[inline(always)]
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// If there are fewer.
    #[inline(always)]
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array()?))
    }
}

/// Appends big-endian numbers and runs of bytes.
#[derive(Clone, Default, Debug)]
pub struct Writer {
    out: Vec<u8>,
    /// The lengths of tunnel options, by the numbers of their fields, if they are known.
    option_lens: Option<Box<[u8; TLV_FIELDS]>>,
}

impl Writer {
    /// An empty one.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// An empty one with room for a small message.
    pub(super) fn for_message() -> Writer {
        Writer::appending(Vec::with_capacity(256))
    }

    /// One that appends to what is there.
    pub fn appending(out: Vec<u8>) -> Writer {
        Writer { out, option_lens: None }
    }

    /// The same, where `table` says how long tunnel options are: it stands in the headers of their fields.
    #[must_use]
    pub(super) fn knowing(mut self, table: &TlvTable) -> Writer {
        let mut lens: Option<Box<[u8; TLV_FIELDS]>> = None;
        for mapping in table.mappings() {
            let place = lens.get_or_insert_with(|| Box::new([0; TLV_FIELDS])).get_mut(usize::from(mapping.index));
            place.into_iter().for_each(|len| *len = mapping.len);
        }
        self.option_lens = lens;
        self
    }

    /// Whether the lengths of any tunnel options are known.
    #[inline(always)]
    pub(super) fn knows_options(&self) -> bool {
        self.option_lens.is_some()
    }

    /// How long a field is on the wire; of a tunnel option that is not known, the most that there may be.
    pub(super) fn wire_bytes(&self, field: FieldId) -> u8 {
        let known = |lens: &[u8; TLV_FIELDS]| lens.get(field.tun_metadata_index()?).copied().filter(|len| *len != 0);
        self.option_lens.as_deref().and_then(known).unwrap_or(field.info().wire_bytes)
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Takes back what was written behind the first `len` bytes.
    pub(super) fn truncate(&mut self, len: usize) {
        self.out.truncate(len);
    }

    /// What was written so far.
    pub(super) fn written(&self) -> &[u8] {
        &self.out
    }

    /// How many bytes were written.
    #[inline]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing was written.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Appends bytes.
    #[inline(always)]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Appends the first `len` of some bytes: quicker than as many as are not known when this is compiled.
    #[inline(always)]
    pub(super) fn first_bytes<const N: usize>(&mut self, bytes: [u8; N], len: usize) {
        let end = self.len().wrapping_add(len);
        self.out.extend_from_slice(&bytes);
        self.out.truncate(end);
    }

    /// Appends the first of `N` zeros, as many as `write` gives when it has written there; none if that gives up.
    #[inline(always)]
    pub(super) fn fill<const N: usize>(&mut self, write: impl FnOnce(&mut [u8; N]) -> Option<usize>) -> Option<usize> {
        let start = self.len();
        self.out.extend_from_slice(&[0; N]);
        let room = self.out.get_mut(start..).and_then(|room| room.first_chunk_mut());
        let len = room.and_then(write);
        self.out.truncate(start.wrapping_add(len.unwrap_or(0)));
        len
    }

    /// Appends numbers of eight bytes.
    #[inline(always)]
    pub(super) fn words<const N: usize>(&mut self, words: [u64; N]) {
        self.bytes(words.map(u64::to_be_bytes).as_flattened());
    }

    /// Appends the first `len` bytes of some numbers.
    #[inline(always)]
    pub(super) fn first_words<const N: usize>(&mut self, words: [u64; N], len: usize) {
        let end = self.len().wrapping_add(len);
        self.words(words);
        self.out.truncate(end);
    }

    /// Appends `n` zero bytes.
    #[inline(always)]
    pub fn zeros(&mut self, n: usize) {
        match n {
            0..=8 => self.first_bytes([0; 8], n),
            _ => self.out.resize(self.len().saturating_add(n), 0),
        }
    }

    /// Appends the low `n` bytes of a number, `n` at most 16.
    #[inline]
    pub fn uint(&mut self, v: u128, n: usize) {
        match n {
            1 => return self.u8((v & 0xff) as u8),
            2 => return self.u16((v & 0xffff) as u16),
            4 => return self.u32((v & 0xffff_ffff) as u32),
            8 => return self.u64((v & u128::from(u64::MAX)) as u64),
            _ => {}
        }
        let all = v.to_be_bytes();
        self.bytes(all.get(all.len().saturating_sub(n)..).unwrap_or(&all));
    }

    /// Appends a byte.
    #[inline(always)]
    pub fn u8(&mut self, v: u8) {
        self.out.push(v);
    }

    /// Appends two bytes.
    #[inline(always)]
    pub fn u16(&mut self, v: u16) {
        self.bytes(&v.to_be_bytes());
    }

    /// Appends four bytes.
    #[inline(always)]
    pub fn u32(&mut self, v: u32) {
        self.bytes(&v.to_be_bytes());
    }

    /// Appends eight bytes.
    #[inline(always)]
    pub fn u64(&mut self, v: u64) {
        self.bytes(&v.to_be_bytes());
    }

    /// Overwrites two bytes at `at` with a number that was not known when they were written.
    pub fn patch_u16(&mut self, at: usize, v: u16) {
        let place = self.out.get_mut(at..).and_then(|o| o.first_chunk_mut::<2>());
        if let Some(place) = place {
            *place = v.to_be_bytes();
        }
    }

    /// Writes what `body` writes, then its length, in bytes before padding, into the two bytes that stand `length_at`
    /// bytes after the beginning; then pads to a multiple of `align`, which the length counts if `count_padding`.
    ///
    /// # Errors
    /// Those of `body`, or that the length does not fit.
    #[inline(always)]
    pub(super) fn prefixed(
        &mut self,
        shape: Shape,
        body: impl FnOnce(&mut Writer) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let start = self.len();
        body(self)?;
        self.finish(start, shape)
    }

    /// Patches the length of the structure that begins at `start` and ends here, and pads it.
    ///
    /// # Errors
    /// That the length does not fit.
    #[inline(always)]
    pub(super) fn finish(&mut self, start: usize, shape: Shape) -> Result<(), EncodeError> {
        let len = self.len().saturating_sub(start);
        // All alignments are powers of two.
        let padded = len.saturating_add(len.wrapping_neg() & shape.align.saturating_sub(1));
        if padded != len {
            self.zeros(padded.saturating_sub(len));
        }
        let counted = if shape.count_padding { padded } else { len };
        let counted = u16::try_from(counted).map_err(|_| EncodeError::TooLong { what: shape.what })?;
        self.patch_u16(start.saturating_add(shape.length_at), counted);
        Ok(())
    }
}

/// How a structure that begins with its length is laid out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Its name, for errors.
    pub(super) what: &'static str,
    /// Where the length stands.
    pub(super) length_at: usize,
    /// It is padded with zeros to a multiple of this.
    pub(super) align: usize,
    /// Whether the length counts the padding.
    pub(super) count_padding: bool,
}

impl Shape {
    /// Type and length, padded to a multiple of 8 that the length counts: actions and instructions.
    pub(super) const fn tlv(what: &'static str) -> Shape {
        Shape { what, length_at: 2, align: 8, count_padding: true }
    }
}

/// The structures in what is left of `r`, each of which begins with a type and its length, at least `min` and a
/// multiple of 8 of them: the next one's type and a reader of all of it that stands behind type and length.
#[inline(always)]
pub(super) fn next_tlv<'a>(r: &mut Reader<'a>, min: usize) -> Result<Option<(u16, Reader<'a>)>, DecodeError> {
    if r.is_empty() {
        return Ok(None);
    }
    let (kind, len) = r.type_and_length()?;
    if len < min || !len.is_multiple_of(8) {
        return Err(r.error(*r.short, "a length that is a multiple of 8, not this one"));
    }
    let mut body = r.sub(len)?;
    body.skip(4)?;
    Ok(Some((kind, body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_patched_and_padded() {
        let mut w = Writer::new();
        w.u8(9);
        w.prefixed(Shape::tlv("x"), |w| {
            w.u16(7);
            w.u16(0xffff);
            w.u8(1);
            Ok(())
        })
        .unwrap();
        assert_eq!(w.into_bytes(), [9, 0, 7, 0, 8, 1, 0, 0, 0]);
    }

    #[test]
    fn too_long_is_an_error() {
        let mut w = Writer::new();
        let e = w.prefixed(Shape::tlv("x"), |w| {
            w.zeros(65530);
            Ok(())
        });
        assert_eq!(e, Err(EncodeError::TooLong { what: "x" }));
    }

    #[test]
    fn reading_stops_at_the_end_and_tells_where() {
        let mut r = Reader::new(&[1, 2, 3]).or(&OfError::BadActionBadLength);
        assert_eq!(r.u16(), Ok(0x0102));
        let e = r.u16().unwrap_err();
        assert_eq!((e.error, e.at), (OfError::BadActionBadLength, 2));
        assert_eq!(r.u8(), Ok(3));
    }
}

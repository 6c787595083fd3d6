//! Reading attributes.
//!
//! [`Attributes`] walks the bytes that it was given and nothing else: a length that leads outside is an error with its
//! offset, and the walk ends there. Every step takes at least a header, so a walk over `n` bytes has at most `n / 4` steps.

use std::iter::FusedIterator;

use byteorder::{BigEndian, ByteOrder, NativeEndian};

use super::{HEADER, MAX_NESTING, NESTED, TYPE_MASK, padding};
use crate::error::{DecodeError, DecodeErrorKind};

/// Attributes, one after the other. An iterator that ends after its first error.
///
/// ```
/// use ovs_netlink::{Attributes, Writer};
///
/// let mut buffer = Vec::new();
/// Writer::new(&mut buffer).u32(1, 7).nest(2, |inner| inner.str(3, "eth0").map(drop))?;
///
/// let attributes: Vec<_> = Attributes::new(&buffer, 0).collect::<Result<_, _>>()?;
/// assert_eq!(attributes[0].u32()?, 7);
/// let inner = attributes[1].nested()?.next().unwrap()?;
/// assert_eq!((inner.kind(), inner.str()?), (3, "eth0"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    rest: &'a [u8],
    offset: usize,
    depth: u8,
}

impl<'a> Attributes<'a> {
    /// The attributes in `bytes`, which begin at `offset` of the buffer that errors are to speak of.
    pub fn new(bytes: &'a [u8], offset: usize) -> Attributes<'a> {
        Attributes { rest: bytes, offset, depth: MAX_NESTING }
    }

    /// The same, for attributes that lie in others: they may nest `depth` deeper.
    pub(crate) fn with_depth(bytes: &'a [u8], offset: usize, depth: u8) -> Attributes<'a> {
        Attributes { rest: bytes, offset, depth }
    }

    /// What [`Attributes::with_depth`] takes.
    pub(crate) fn into_parts(self) -> (&'a [u8], usize, u8) {
        (self.rest, self.offset, self.depth)
    }

    /// Ends the walk.
    pub(crate) fn end(&mut self) {
        self.rest = &[];
    }

    #[inline]
    fn read(&mut self) -> Result<Attribute<'a>, DecodeError> {
        let error = |kind| Err(DecodeError::new(self.offset, kind));
        let available = self.rest.len();
        let Some(&[l0, l1, k0, k1]) = self.rest.first_chunk() else {
            return error(DecodeErrorKind::Truncated { needed: HEADER, available });
        };
        let length = usize::from(NativeEndian::read_u16(&[l0, l1]));
        let raw_kind = NativeEndian::read_u16(&[k0, k1]);
        if length < HEADER {
            return error(DecodeErrorKind::ShortLength { length, header: HEADER });
        }
        let Some(payload) = self.rest.get(HEADER..length) else {
            return error(DecodeErrorKind::Truncated { needed: length, available });
        };
        // The last attribute may come without its padding.
        let step = length.saturating_add(padding(length)).min(available);
        let attribute = Attribute { raw_kind, payload, offset: self.offset.saturating_add(HEADER), depth: self.depth };
        self.rest = self.rest.get(step..).unwrap_or_default();
        self.offset = self.offset.saturating_add(step);
        Ok(attribute)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let result = self.read();
        if result.is_err() {
            self.end();
        }
        Some(result)
    }
}

impl FusedIterator for Attributes<'_> {}

/// One attribute. The getters check the size of the payload and fail with its offset.
///
/// Numbers are in the byte order of the machine unless the name of the getter says `be`.
///
/// Attributes are equal whose types and payloads are, wherever they lie.
#[derive(Debug, Clone, Copy)]
pub struct Attribute<'a> {
    raw_kind: u16,
    payload: &'a [u8],
    offset: usize,
    depth: u8,
}

impl PartialEq for Attribute<'_> {
    fn eq(&self, other: &Attribute<'_>) -> bool {
        (self.raw_kind, self.payload) == (other.raw_kind, other.payload)
    }
}

impl Eq for Attribute<'_> {}

impl<'a> Attribute<'a> {
    /// The type with the flags in its upper two bits.
    pub(crate) fn raw_kind(&self) -> u16 {
        self.raw_kind
    }

    /// The type, without the flags in its upper two bits.
    #[inline]
    pub fn kind(&self) -> u16 {
        self.raw_kind & TYPE_MASK
    }

    /// Whether the sender says that the payload is attributes. The kernel's older families do not say it.
    pub fn is_marked_nested(&self) -> bool {
        self.raw_kind & NESTED != 0
    }

    /// The payload, without padding.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The offset of the payload.
    pub fn offset(&self) -> usize {
        self.offset
    }

    pub(crate) fn error(&self, kind: DecodeErrorKind) -> DecodeError {
        DecodeError::new(self.offset, kind)
    }

    fn wrong_size(&self, expected: usize) -> DecodeError {
        self.error(DecodeErrorKind::WrongSize { attribute: self.kind(), expected, found: self.payload.len() })
    }

    /// The payload as an array of bytes.
    ///
    /// # Errors
    /// [`DecodeErrorKind::WrongSize`], as for the numbers below.
    #[inline]
    pub fn array<const N: usize>(&self) -> Result<[u8; N], DecodeError> {
        self.payload.try_into().map_err(|_| self.wrong_size(N))
    }

    /// The first `N` bytes of the payload: a structure that later kernels may make longer.
    ///
    /// # Errors
    /// [`DecodeErrorKind::WrongSize`] when there are fewer.
    pub fn prefix<const N: usize>(&self) -> Result<[u8; N], DecodeError> {
        self.payload.first_chunk().copied().ok_or_else(|| self.wrong_size(N))
    }

    /// The payload as `u8`.
    ///
    /// # Errors
    /// [`DecodeErrorKind::WrongSize`].
    pub fn u8(&self) -> Result<u8, DecodeError> {
        self.array().map(|[byte]| byte)
    }

    /// The payload as `u16`.
    ///
    /// # Errors
    /// [`DecodeErrorKind::WrongSize`].
    pub fn u16(&self) -> Result<u16, DecodeError> {
        self.array::<2>().map(|bytes| NativeEndian::read_u16(&bytes))
    }

    /// The payload as `u32`.
    ///
    /// # Errors
    /// [`DecodeErrorKind::WrongSize`].
    pub fn u32(&self) -> Result<u32, DecodeError> {
        self.array::<4>().map(|bytes| NativeEndian::read_u32(&bytes))
    }

    /// The payload as `i32`.
    ///
    /// # Errors
    /// [`DecodeErrorKind::WrongSize`].
    pub fn i32(&self) -> Result<i32, DecodeError> {
        self.array::<4>().map(|bytes| NativeEndian::read_i32(&bytes))
    }

    /// The payload as `u64`.
    ///
    /// # Errors
    /// [`DecodeErrorKind::WrongSize`].
    pub fn u64(&self) -> Result<u64, DecodeError> {
        self.array::<8>().map(|bytes| NativeEndian::read_u64(&bytes))
    }

    /// The payload as `u16` in network byte order.
    ///
    /// # Errors
    /// [`DecodeErrorKind::WrongSize`].
    pub fn be16(&self) -> Result<u16, DecodeError> {
        self.array::<2>().map(|bytes| BigEndian::read_u16(&bytes))
    }

    /// The payload as `u32` in network byte order.
    ///
    /// # Errors
    /// [`DecodeErrorKind::WrongSize`].
    pub fn be32(&self) -> Result<u32, DecodeError> {
        self.array::<4>().map(|bytes| BigEndian::read_u32(&bytes))
    }

    /// The payload as `u64` in network byte order.
    ///
    /// # Errors
    /// [`DecodeErrorKind::WrongSize`].
    pub fn be64(&self) -> Result<u64, DecodeError> {
        self.array::<8>().map(|bytes| BigEndian::read_u64(&bytes))
    }

    /// The payload as numbers, one after the other.
    ///
    /// # Errors
    /// [`DecodeErrorKind::WrongSize`] when the size is not a multiple of 4.
    pub fn u32s(&self) -> Result<Vec<u32>, DecodeError> {
        let (numbers, rest) = self.payload.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(self.wrong_size(4));
        }
        Ok(numbers.iter().map(|bytes| NativeEndian::read_u32(bytes)).collect())
    }

    /// The bytes of a string before its NUL.
    ///
    /// # Errors
    /// [`DecodeErrorKind::NotAString`] unless there is exactly one NUL, at the end.
    pub fn str_bytes(&self) -> Result<&'a [u8], DecodeError> {
        match self.payload.split_last() {
            Some((0, text)) if !text.contains(&0) => Ok(text),
            _ => Err(self.error(DecodeErrorKind::NotAString { attribute: self.kind() })),
        }
    }

    /// A string that ends with NUL.
    ///
    /// # Errors
    /// [`DecodeErrorKind::NotAString`], [`DecodeErrorKind::NotUtf8`].
    pub fn str(&self) -> Result<&'a str, DecodeError> {
        let bytes = self.str_bytes()?;
        std::str::from_utf8(bytes).map_err(|_| self.error(DecodeErrorKind::NotUtf8 { attribute: self.kind() }))
    }

    /// The attributes in the payload, whether it is marked as nested or not.
    ///
    /// # Errors
    /// [`DecodeErrorKind::TooDeep`], so that a reader may recurse.
    pub fn nested(&self) -> Result<Attributes<'a>, DecodeError> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Attributes { rest: self.payload, offset: self.offset, depth }),
            None => Err(self.error(DecodeErrorKind::TooDeep { attribute: self.kind() })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(length: u16, kind: u16) -> Vec<u8> {
        [length.to_ne_bytes(), kind.to_ne_bytes()].concat()
    }

    fn kinds(bytes: &[u8]) -> Vec<Result<u16, DecodeError>> {
        Attributes::new(bytes, 100).map(|result| result.map(|attribute| attribute.kind())).collect()
    }

    #[test]
    fn bad_lengths_end_the_walk_with_the_offset() {
        let good = [header(5, 1), vec![9, 0, 0, 0]].concat();
        assert_eq!(kinds(&good), [Ok(1)]);
        // The last padding may be missing; bytes after it may not.
        assert_eq!(kinds(&good[..5]), [Ok(1)]);
        let after = |bytes: &[u8]| kinds(&[good.as_slice(), bytes].concat())[1..].to_vec();
        let error = |kind| vec![Err(DecodeError::new(108, kind))];
        assert_eq!(after(&[0]), error(DecodeErrorKind::Truncated { needed: 4, available: 1 }));
        assert_eq!(after(&header(0, 2)), error(DecodeErrorKind::ShortLength { length: 0, header: 4 }));
        assert_eq!(after(&header(3, 2)), error(DecodeErrorKind::ShortLength { length: 3, header: 4 }));
        assert_eq!(after(&header(9, 2)), error(DecodeErrorKind::Truncated { needed: 9, available: 4 }));
    }

    #[test]
    fn getters_check_the_size() {
        let bytes = [header(7, 1), vec![1, 2, 3, 0]].concat();
        let attribute = Attributes::new(&bytes, 0).next().unwrap().unwrap();
        let wrong = |expected| DecodeError::new(4, DecodeErrorKind::WrongSize { attribute: 1, expected, found: 3 });
        assert_eq!(attribute.u8(), Err(wrong(1)));
        assert_eq!(attribute.u16(), Err(wrong(2)));
        assert_eq!(attribute.u32(), Err(wrong(4)));
        assert_eq!(attribute.u64(), Err(wrong(8)));
        assert_eq!(attribute.u32s(), Err(wrong(4)));
        assert_eq!(attribute.prefix::<3>(), Ok([1, 2, 3]));
        assert_eq!(attribute.prefix::<4>(), Err(wrong(4)));
    }

    #[test]
    fn strings_end_with_their_only_nul() {
        let string = |payload: &[u8]| {
            let bytes = [header(4 + payload.len() as u16, 1), payload.to_vec()].concat();
            let attribute = Attributes::new(&bytes, 0).next().unwrap().unwrap();
            attribute.str().map(str::to_owned).map_err(|error| error.kind)
        };
        assert_eq!(string(b"br0\0"), Ok("br0".to_owned()));
        assert_eq!(string(b"\0"), Ok(String::new()));
        for bad in [&b""[..], b"br0", b"br\0\0"] {
            assert_eq!(string(bad), Err(DecodeErrorKind::NotAString { attribute: 1 }));
        }
        assert_eq!(string(b"\xff\0"), Err(DecodeErrorKind::NotUtf8 { attribute: 1 }));
    }

    #[test]
    fn nesting_is_bounded() {
        let mut bytes = vec![];
        for _ in 0..100 {
            bytes = [header(4 + bytes.len() as u16, NESTED | 5), bytes].concat();
        }
        fn depth(attributes: Attributes<'_>) -> Result<usize, DecodeError> {
            attributes.map(|attribute| Ok(1 + depth(attribute?.nested()?)?)).sum()
        }
        let error = depth(Attributes::new(&bytes, 0)).unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::TooDeep { attribute: 5 });
        assert_eq!(error.offset, 4 * (usize::from(MAX_NESTING) + 1));
    }

    proptest! {
        #[test]
        fn random_bytes_end_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
            let mut steps = 0;
            for attribute in Attributes::new(&bytes, 0) {
                steps += 1;
                let Ok(attribute) = attribute else { break };
                prop_assert!(attribute.offset() + attribute.payload().len() <= bytes.len());
                let _ = (attribute.u32(), attribute.str(), attribute.u32s(), attribute.nested().map(Iterator::count));
            }
            prop_assert!(steps <= bytes.len() / 4 + 1);
        }
    }
}

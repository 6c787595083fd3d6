//! Values of tunnel options: up to 124 bytes, too wide for the integers that serve all other fields.
//!
//! A tunnel option (a Geneve TLV, RFC 8926 section 3.5) is a field of whatever width the table of options
//! ([`TlvTable`](super::TlvTable)) gives it. Where there is no table, as in a tool that only writes matches, the
//! width is that of the value as it was written, without leading zeros.

use core::fmt;

use super::{FieldId, ParseValueError};
use crate::text::integer;

/// The greatest length in bytes of an option's value: what the five bits of Geneve's length can say.
pub const TUN_OPTION_MAX: usize = 124;

/// What a match says of a tunnel option, or a value for one.
///
/// ```
/// use ovs_packet::field::TunOption;
///
/// let o = TunOption::parse("0x1234/0xff00").unwrap();
/// assert_eq!((o.value(), o.mask()), (&[0x12, 0][..], &[0xff, 0][..]));
/// assert_eq!(o.to_string(), "0x1200/0xff00");
/// assert_eq!(TunOption::exact(&[1, 2, 3]).unwrap().to_string(), "0x10203");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TunOption {
    present: bool,
    exact: bool,
    len: u8,
    // Zero from `len` on, and outside the mask.
    value: [u8; TUN_OPTION_MAX],
    mask: [u8; TUN_OPTION_MAX],
}

impl TunOption {
    /// The packet has the option, with any value.
    pub const PRESENT: TunOption =
        TunOption { present: true, exact: false, len: 0, value: [0; TUN_OPTION_MAX], mask: [0; TUN_OPTION_MAX] };
    /// The packet does not have the option.
    pub const ABSENT: TunOption = TunOption { present: false, ..TunOption::PRESENT };

    /// The packet has the option with exactly these bytes, and zeros in front of them if it is longer; none if they are
    /// too many.
    pub fn exact(value: &[u8]) -> Option<TunOption> {
        let masked = TunOption::masked(value, [0xff; TUN_OPTION_MAX].get(..value.len())?)?;
        Some(TunOption { exact: true, ..masked })
    }

    /// The packet has the option with these bytes under a mask as long, and anything in front of them; none if they are
    /// too many, or not as many.
    pub fn masked(value: &[u8], mask: &[u8]) -> Option<TunOption> {
        if value.len() != mask.len() {
            return None;
        }
        let mut o = TunOption { len: u8::try_from(value.len()).ok()?, ..TunOption::PRESENT };
        o.mask.get_mut(..mask.len())?.copy_from_slice(mask);
        o.value.iter_mut().zip(value).zip(mask).for_each(|((to, v), m)| *to = v & m);
        Some(o)
    }

    /// Whether the option must be there; false if it must not.
    pub fn is_present(&self) -> bool {
        self.present
    }

    /// The value's bytes, zero outside the mask.
    pub fn value(&self) -> &[u8] {
        self.value.get(..usize::from(self.len)).unwrap_or(&[])
    }

    /// The mask's bytes, as many as the value's.
    pub fn mask(&self) -> &[u8] {
        self.mask.get(..usize::from(self.len)).unwrap_or(&[])
    }

    /// Whether all bits of the option count, however long it is. A mask of all ones is not the same: it says nothing
    /// of the bytes in front of it.
    pub fn is_exact(&self) -> bool {
        self.exact
    }

    /// The same number in `len` bytes; none if it needs more. What is put in front of an exact value must be zero;
    /// in front of a masked one it may be anything.
    ///
    /// ```
    /// use ovs_packet::field::TunOption;
    ///
    /// let o = TunOption::exact(&[7]).unwrap().resized(4).unwrap();
    /// assert_eq!((o.value(), o.is_exact()), (&[0, 0, 0, 7][..], true));
    /// assert_eq!(o.resized(1), None);
    /// ```
    pub fn resized(&self, len: usize) -> Option<TunOption> {
        let front = len.checked_sub(usize::from(self.len)).filter(|_| len <= TUN_OPTION_MAX)?;
        let mut o = TunOption { len: len as u8, present: self.present, exact: self.exact, ..TunOption::PRESENT };
        o.value.get_mut(front..len)?.copy_from_slice(self.value());
        o.mask.get_mut(..front)?.fill(if self.is_exact() { 0xff } else { 0 });
        o.mask.get_mut(front..len)?.copy_from_slice(self.mask());
        Some(o)
    }

    /// The same number in fewer bytes; `None` if it has bits in those that go.
    pub(crate) fn shortened(&self, len: usize) -> Option<TunOption> {
        let front = usize::from(self.len).checked_sub(len)?;
        let (gone, value) = self.value().split_at_checked(front)?;
        let mask = self.mask().get(front..)?;
        if gone.iter().any(|b| *b != 0) {
            return None;
        }
        let mut o = TunOption { len: len as u8, present: self.present, exact: self.exact, ..TunOption::PRESENT };
        o.value.get_mut(..len)?.copy_from_slice(value);
        o.mask.get_mut(..len)?.copy_from_slice(mask);
        Some(o)
    }

    /// Reads `VALUE` or `VALUE/MASK`, numbers without sign. The length is that of the mask without leading
    /// zeros, or of the value and at least one byte.
    ///
    /// # Errors
    /// If the text is no such thing, or a number does not fit 124 bytes. The error names the first option field.
    pub fn parse(text: &str) -> Result<TunOption, ParseValueError> {
        let wrong = |expected| ParseValueError { field: FieldId::TunMetadata0, text: text.into(), expected };
        let (value, mask) = match text.split_once('/') {
            Some((value, mask)) => (value, Some(mask)),
            None => (text, None),
        };
        let number = |s| bytes_of(s).ok_or_else(|| wrong("a number of at most 124 bytes, perhaps with a mask"));
        let value = number(value)?;
        let mask = mask.map(number).transpose()?;
        let significant = |b: &[u8]| b.len() - b.iter().take_while(|b| **b == 0).count();
        let len = mask.map_or(significant(&value).max(1), |m| significant(&m));
        let tail =
            |b: &[u8; TUN_OPTION_MAX]| b.last_chunk::<TUN_OPTION_MAX>().map(|b| b.split_at(b.len() - len).1.to_vec());
        let (value, mask) = (tail(&value).unwrap_or_default(), mask.map(|m| tail(&m).unwrap_or_default()));
        let option = match mask {
            Some(mask) => TunOption::masked(&value, &mask),
            None => TunOption::exact(&value),
        };
        option.ok_or_else(|| wrong("a number of at most 124 bytes"))
    }
}

/// A number, right-aligned: hexadecimal of any length that fits, or decimal or octal of up to 128 bits.
fn bytes_of(text: &str) -> Option<[u8; TUN_OPTION_MAX]> {
    let mut bytes = [0; TUN_OPTION_MAX];
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => {
            let mut nibbles = digits.trim_start_matches('0').chars().rev();
            if digits.is_empty() {
                return None;
            }
            for byte in bytes.iter_mut().rev() {
                let mut nibble = || nibbles.next().map_or(Some(0), |c| c.to_digit(16));
                *byte = nibble()? as u8 | (nibble()? as u8) << 4;
            }
            nibbles.next().is_none().then_some(bytes)
        }
        None => {
            *bytes.last_chunk_mut::<16>()? = integer(text)?.to_be_bytes();
            Some(bytes)
        }
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    let mut digits = bytes.iter().skip_while(|b| **b == 0);
    match digits.next() {
        None => f.write_str("0"),
        Some(first) => {
            write!(f, "{first:#x}")?;
            digits.try_for_each(|b| write!(f, "{b:02x}"))
        }
    }
}

/// `NP` for an option that must be absent; nothing for one that must be there with any value.
impl fmt::Display for TunOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.present {
            return f.write_str("NP");
        }
        if !self.exact && self.mask().iter().all(|m| *m == 0) {
            return Ok(());
        }
        write_hex(f, self.value())?;
        if self.is_exact() {
            return Ok(());
        }
        f.write_str("/")?;
        write_hex(f, self.mask())
    }
}

impl fmt::Debug for TunOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TunOption({} bytes: {self})", self.len)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_are_those_of_the_numbers() {
        for (text, len, again) in [
            ("0x0012", 1, "0x12"),
            ("0", 1, "0"),
            ("0/0", 0, ""),
            ("0x12/0xfff", 2, "0x12/0xfff"),
            ("0/0xff00", 2, "0/0xff00"),
            ("010", 1, "0x8"),
            ("258", 2, "0x102"),
            ("0x1ff/0xff", 1, "0xff/0xff"),
            // Found by fuzzing: all ones were written as no mask, and read as bytes of another length.
            ("0x12/0xffff", 2, "0x12/0xffff"),
        ] {
            let o = TunOption::parse(text).unwrap();
            assert_eq!((o.value().len(), &*o.to_string()), (len, again), "{text}");
        }
        let widest = format!("0x{}", "f".repeat(248));
        assert_eq!(TunOption::parse(&widest).unwrap().value(), [0xff; 124]);
        for bad in ["", "0x", "NP", "1/", "/1", "-1", "09", "0xg", &format!("0x1{}", "0".repeat(248)), "1/2/3"] {
            assert!(TunOption::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_does_not_fit_is_none() {
        assert_eq!(TunOption::exact(&[0; 125]), None);
        assert_eq!(TunOption::masked(&[1, 2], &[1]), None);
        assert_eq!(TunOption::PRESENT.resized(125), None);
        assert_eq!(TunOption::PRESENT.resized(4).map(|o| o.mask().to_vec()), Some([0; 4].to_vec()));
        assert_eq!(TunOption::ABSENT.to_string(), "NP");
    }

    proptest! {
        #[test]
        fn a_number_survives_its_words(bytes in prop::collection::vec(any::<(u8, u8)>(), 1..=124)) {
            let (value, mask): (alloc::vec::Vec<u8>, alloc::vec::Vec<u8>) = bytes.into_iter().unzip();
            for o in [TunOption::exact(&value).unwrap(), TunOption::masked(&value, &mask).unwrap()] {
                prop_assume!(o.mask()[0] != 0);
                let read = TunOption::parse(&o.to_string()).unwrap();
                prop_assert_eq!(read.resized(value.len()), Some(o));
            }
        }
    }
}

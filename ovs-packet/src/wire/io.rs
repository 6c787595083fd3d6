//! What the protocol files share: cursors that count where they are, and the declarations of views and code points.
//!
//! A cursor is made with the name of what is read or written; its errors carry that name, or the name of the part when
//! one is given, and the place.

use super::{Error, Wire};

/// Reads from the front of bytes.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Reader { what, rest: bytes, at: 0 }
    }

    /// The same, for bytes that begin at `at` in what errors count from.
    pub(super) fn at(what: &'static str, bytes: &'a [u8], at: usize) -> Self {
        Reader { what, rest: bytes, at }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        self.at += self.rest.len();
        core::mem::take(&mut self.rest)
    }

    pub(super) fn take(&mut self, n: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or(Error::truncated(self.what, self.at))?;
        (self.rest, self.at) = (rest, self.at + n);
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Error::truncated(self.what, self.at))?;
        (self.rest, self.at) = (rest, self.at + N);
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Error> {
        self.array::<1>().map(|[b]| b)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_be_bytes)
    }
}

/// Reads parts until no bytes are left, until `read` says that there is no more, or to the first error.
pub(super) fn parts<'a, T>(
    mut rest: Reader<'a>,
    read: fn(&mut Reader<'a>) -> Result<Option<T>, Error>,
) -> impl Iterator<Item = Result<T, Error>> {
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let part = read(&mut rest).transpose();
        if !matches!(part, Some(Ok(_))) {
            rest.rest();
        }
        part
    })
}

/// Writes to the front of a buffer.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    what: &'static str,
    out: &'a mut [u8],
    at: usize,
}

impl<'a> Writer<'a> {
    pub(super) fn new(what: &'static str, out: &'a mut [u8]) -> Self {
        Writer { what, out, at: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let short = Error::truncated(self.what, self.at);
        self.out.get_mut(self.at..).and_then(|out| out.get_mut(..bytes.len())).ok_or(short)?.copy_from_slice(bytes);
        self.at += bytes.len();
        Ok(())
    }

    pub(super) fn zeros(&mut self, n: usize) -> Result<(), Error> {
        let short = Error::truncated(self.what, self.at);
        self.out.get_mut(self.at..).and_then(|out| out.get_mut(..n)).ok_or(short)?.fill(0);
        self.at += n;
        Ok(())
    }

    pub(super) fn u8(&mut self, v: u8) -> Result<(), Error> {
        self.put(&[v])
    }

    pub(super) fn u16(&mut self, v: u16) -> Result<(), Error> {
        self.put(&v.to_be_bytes())
    }

    pub(super) fn u32(&mut self, v: u32) -> Result<(), Error> {
        self.put(&v.to_be_bytes())
    }

    pub(super) fn wire(&mut self, value: &impl Wire) -> Result<(), Error> {
        let out = self.out.get_mut(self.at..).unwrap_or_default();
        self.at += value.emit(out).map_err(|e| e.shifted(self.at))?;
        Ok(())
    }

    /// A length or a count of `what`, in a field that holds at most `max`.
    pub(super) fn fits<T: TryFrom<usize>>(&self, what: &'static str, n: usize, max: usize) -> Result<T, Error> {
        let too_long = Error::length(what, self.at, n);
        if n > max { Err(too_long) } else { T::try_from(n).map_err(|_| too_long) }
    }

    /// A value of `what`, in a field of `bits` bits.
    pub(super) fn bits<T: Copy + Into<u32>>(&self, what: &'static str, v: T, bits: u32) -> Result<T, Error> {
        if v.into() >> bits == 0 { Ok(v) } else { Err(Error::value(what, self.at, v)) }
    }

    /// What was written.
    pub(super) fn written(self) -> &'a mut [u8] {
        self.out.get_mut(..self.at).unwrap_or_default()
    }
}

/// The constructors of a view: its type has a method `check`, which may look at everything. A `sized` view is of the
/// bytes that it has members for, another one of all bytes.
macro_rules! view {
    ($view:ident, $what:expr) => {
        crate::wire::view!(@ $view, $what, ref_from_bytes, mut_from_bytes, |view| view);
    };
    (sized $view:ident, $what:expr) => {
        crate::wire::view!(@ $view, $what, ref_from_prefix, mut_from_prefix, |(view, _)| view);
    };
    (@ $view:ident, $what:expr, $ref:ident, $mut:ident, $first:expr) => {
        impl $view {
            /// Views what bytes begin with, if it is one, and if what the lengths in it say is there.
            pub fn new(bytes: &[u8]) -> Result<&$view, crate::wire::Error> {
                let short = crate::wire::Error::truncated($what, bytes.len());
                let view: &$view = <$view>::$ref(bytes).map($first).map_err(|_| short)?;
                view.check()?;
                Ok(view)
            }

            /// Like [`new`](Self::new), to be written to.
            pub fn new_mut(bytes: &mut [u8]) -> Result<&mut $view, crate::wire::Error> {
                $view::new(bytes)?;
                let short = crate::wire::Error::truncated($what, bytes.len());
                <$view>::$mut(bytes).map($first).map_err(|_| short)
            }
        }
    };
}

/// A number on the wire of which some values have names; any other value is shown as the number.
macro_rules! code_points {
    ($(#[$doc:meta])* $name:ident: $ty:ty { $($(#[$why:meta])* $konst:ident = $value:literal, $text:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $ty);

        impl $name {
            $($(#[$why])* pub const $konst: $name = $name($value);)+
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.0 {
                    $($value => f.pad($text),)+
                    other => write!(f, "{other}"),
                }
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Display::fmt(self, f)
            }
        }
    };
}

pub(super) use {code_points, view};

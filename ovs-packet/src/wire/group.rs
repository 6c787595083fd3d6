//! What IGMPv3 and MLDv2 share: group records, what version 3 (or 2) added to queries, and times as floating point.
//!
//! The two protocols differ in the width of addresses, `N` bytes.
//!
//! ```text
//!  group record                                      behind the group of a query
//!   0  kind, length of auxiliary data in 32-bit words   0  reserved (4 bits), S, robustness (3)
//!   2  number of sources                                1  querier's interval
//!   4  group (N)                                        2  number of sources
//!      sources (N each), auxiliary data                 4  sources (N each)
//! ```

use core::fmt;

use zerocopy::FromBytes;

use super::{Error, Reader, Vec, Writer, code_points};

code_points! {
    /// What a group record says of the sources of a group (RFC 3376, 4.2.12; RFC 3810, 5.2.12).
    RecordKind: u8 {
        /// The listener takes these sources only.
        IS_INCLUDE = 1, "is include";
        /// The listener takes all but these sources.
        IS_EXCLUDE = 2, "is exclude";
        /// It takes these only, from now on; no source at all is to leave the group.
        TO_INCLUDE = 3, "to include";
        /// It takes all but these, from now on.
        TO_EXCLUDE = 4, "to exclude";
        /// It takes these too.
        ALLOW = 5, "allow";
        /// It no longer takes these.
        BLOCK = 6, "block";
    }
}

/// A group record in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordView<'a, const N: usize> {
    /// What it says.
    pub kind: RecordKind,
    /// The group.
    pub group: &'a [u8; N],
    /// Sources.
    pub sources: &'a [[u8; N]],
    /// What no version has defined.
    pub auxiliary: &'a [u8],
}

/// A group record; `A` is the type of addresses.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Record<A> {
    /// What it says.
    pub kind: RecordKind,
    /// The group.
    pub group: A,
    /// Sources.
    pub sources: Vec<A>,
    /// What no version has defined: whole 32-bit words, at most 255.
    pub auxiliary: Vec<u8>,
}

impl<A: Copy> Record<A> {
    /// Whether it says that the listener leaves the group: it takes no sources, now or from now on.
    pub fn leaves(&self) -> bool {
        self.sources.is_empty() && matches!(self.kind, RecordKind::IS_INCLUDE | RecordKind::TO_INCLUDE)
    }

    pub(super) fn new<const N: usize>(view: RecordView<'_, N>) -> Record<A>
    where
        A: From<[u8; N]>,
    {
        Record {
            kind: view.kind,
            group: A::from(*view.group),
            sources: view.sources.iter().map(|source| A::from(*source)).collect(),
            auxiliary: view.auxiliary.to_vec(),
        }
    }

    pub(super) fn len<const N: usize>(&self) -> usize {
        4 + N * (1 + self.sources.len()) + self.auxiliary.len()
    }

    pub(super) fn emit<const N: usize>(&self, w: &mut Writer<'_>, bytes: fn(&A) -> [u8; N]) -> Result<(), Error> {
        let Record { kind, group, sources, auxiliary } = self;
        if !auxiliary.len().is_multiple_of(4) {
            return Err(Error::length("group record auxiliary data", w.position(), auxiliary.len()));
        }
        w.u8(kind.0)?;
        w.u8(w.fits("group record auxiliary data", auxiliary.len() / 4, 255)?)?;
        w.u16(w.fits("group record sources", sources.len(), u16::MAX.into())?)?;
        w.put(&bytes(group))?;
        sources.iter().try_for_each(|source| w.put(&bytes(source)))?;
        w.put(auxiliary)
    }
}

/// Reads group records until there are as many as were announced, or to the first error.
#[derive(Clone, Debug)]
pub(super) struct Records<'a, const N: usize> {
    pub(super) rest: Reader<'a>,
    pub(super) left: u16,
}

impl<'a, const N: usize> Records<'a, N> {
    fn read(&mut self) -> Result<RecordView<'a, N>, Error> {
        let at = self.rest.position();
        let [kind, words] = self.rest.array()?;
        let sources = usize::from(self.rest.u16()?);
        let group = <[u8; N]>::ref_from_bytes(self.rest.take(N)?).map_err(|_| Error::truncated("group record", at))?;
        let sources = sources_of(&mut self.rest, sources, at + 2)?;
        let auxiliary = self.rest.take(4 * usize::from(words))?;
        Ok(RecordView { kind: RecordKind(kind), group, sources, auxiliary })
    }
}

impl<'a, const N: usize> Iterator for Records<'a, N> {
    type Item = Result<RecordView<'a, N>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let record = self.read();
        if record.is_err() {
            self.left = 0;
        }
        Some(record)
    }
}

/// So many sources, of which the number stands at `at`.
fn sources_of<'a, const N: usize>(r: &mut Reader<'a>, count: usize, at: usize) -> Result<&'a [[u8; N]], Error> {
    let bad = Error::length("group sources", at, count);
    let bytes = r.take(count.saturating_mul(N)).map_err(|_| bad)?;
    <[[u8; N]]>::ref_from_bytes(bytes).map_err(|_| bad)
}

/// What a query of IGMPv3 or MLDv2 has behind its group, in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueryView<'a, const N: usize> {
    /// S: routers do not restart their timers for it.
    pub suppress: bool,
    /// The querier's robustness, from 0 to 7; 0 is greater than 7.
    pub robustness: u8,
    /// The querier's interval, as [`seconds`] reads it.
    pub interval: u8,
    /// The sources that are asked for; none to ask for all.
    pub sources: &'a [[u8; N]],
}

impl<'a, const N: usize> QueryView<'a, N> {
    pub(super) fn read(mut r: Reader<'a>) -> Result<Self, Error> {
        let at = r.position();
        let [flags, interval] = r.array()?;
        let sources = usize::from(r.u16()?);
        let sources = sources_of(&mut r, sources, at + 2)?;
        Ok(QueryView { suppress: flags & 8 != 0, robustness: flags & 7, interval, sources })
    }
}

/// What a query of IGMPv3 or MLDv2 has behind its group; `A` is the type of addresses.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Query<A> {
    /// S: routers do not restart their timers for it.
    pub suppress: bool,
    /// The querier's robustness, from 0 to 7; 0 is greater than 7.
    pub robustness: u8,
    /// The querier's interval, as [`seconds`] reads it.
    pub interval: u8,
    /// The sources that are asked for; none to ask for all.
    pub sources: Vec<A>,
}

impl<A> Default for Query<A> {
    /// A query for all sources, of a robustness of 2 and an interval of 125 seconds (RFC 3376, 8.1 and 8.2).
    fn default() -> Query<A> {
        Query { suppress: false, robustness: 2, interval: 125, sources: Vec::new() }
    }
}

impl<A: Copy> Query<A> {
    pub(super) fn new<const N: usize>(view: QueryView<'_, N>) -> Query<A>
    where
        A: From<[u8; N]>,
    {
        let QueryView { suppress, robustness, interval, sources } = view;
        Query { suppress, robustness, interval, sources: sources.iter().map(|source| A::from(*source)).collect() }
    }

    pub(super) fn len<const N: usize>(&self) -> usize {
        4 + N * self.sources.len()
    }

    pub(super) fn emit<const N: usize>(&self, w: &mut Writer<'_>, bytes: fn(&A) -> [u8; N]) -> Result<(), Error> {
        let Query { suppress, robustness, interval, sources } = self;
        w.u8(u8::from(*suppress) << 3 | w.bits("group query robustness", *robustness, 3)?)?;
        w.u8(*interval)?;
        w.u16(w.fits("group query sources", sources.len(), u16::MAX.into())?)?;
        sources.iter().try_for_each(|source| w.put(&bytes(source)))
    }
}

/// The number that an 8-bit code stands for: itself below 128, else four bits of mantissa and three of exponent
/// (RFC 3376, 4.1.1 and 4.1.7). Tenths of a second in the response time of IGMPv3, seconds in a querier's interval.
///
/// ```
/// use ovs_packet::wire::group::seconds;
///
/// assert_eq!((seconds(125), seconds(0x80), seconds(0xff)), (125, 128, 31744));
/// ```
pub const fn seconds(code: u8) -> u16 {
    let code = code as u16;
    if code < 0x80 { code } else { (code & 0xf | 0x10) << ((code >> 4 & 7) + 3) }
}

/// The milliseconds that a 16-bit code of MLDv2's response time stands for (RFC 3810, 5.1.3).
///
/// ```
/// use ovs_packet::wire::group::milliseconds;
///
/// assert_eq!((milliseconds(10_000), milliseconds(0x8000), milliseconds(0xffff)), (10_000, 32_768, 8_387_584));
/// ```
pub const fn milliseconds(code: u16) -> u32 {
    let code = code as u32;
    if code < 0x8000 { code } else { (code & 0xfff | 0x1000) << ((code >> 12 & 7) + 3) }
}

fn list<A: fmt::Display>(f: &mut fmt::Formatter<'_>, sources: &[A]) -> fmt::Result {
    sources.iter().enumerate().try_for_each(|(i, a)| write!(f, "{}{a}", if i == 0 { " sources " } else { "," }))
}

impl<A: fmt::Display> fmt::Display for Record<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.group, self.kind)?;
        list(f, &self.sources)
    }
}

impl<A: fmt::Display> fmt::Display for Query<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Query { suppress, robustness, interval, sources } = self;
        write!(f, "robustness {robustness} interval {}s", seconds(*interval))?;
        f.write_str(if *suppress { " suppress" } else { "" })?;
        list(f, sources)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in super::super) fn record<A, const N: usize>() -> impl Strategy<Value = Record<A>>
    where
        A: Copy + fmt::Debug + From<[u8; N]>,
        [u8; N]: Arbitrary,
    {
        let sources = prop::collection::vec(any::<[u8; N]>(), 0..4);
        (any::<u8>(), any::<[u8; N]>(), sources, prop::collection::vec(any::<[u8; 4]>(), 0..3)).prop_map(
            |(kind, group, sources, auxiliary)| Record {
                kind: RecordKind(kind),
                group: A::from(group),
                sources: sources.into_iter().map(A::from).collect(),
                auxiliary: auxiliary.concat(),
            },
        )
    }

    pub(in super::super) fn query<A, const N: usize>() -> impl Strategy<Value = Query<A>>
    where
        A: Copy + fmt::Debug + From<[u8; N]>,
        [u8; N]: Arbitrary,
    {
        (any::<(bool, u8)>(), 0u8..8, prop::collection::vec(any::<[u8; N]>(), 0..5)).prop_map(
            |((suppress, interval), robustness, sources)| Query {
                suppress,
                robustness,
                interval,
                sources: sources.into_iter().map(A::from).collect(),
            },
        )
    }

    #[test]
    fn only_a_record_of_no_sources_leaves() {
        let record =
            |kind, sources: &[u8]| Record { kind, group: 1u8, sources: sources.to_vec(), auxiliary: Vec::new() };
        assert!(record(RecordKind::IS_INCLUDE, &[]).leaves() && record(RecordKind::TO_INCLUDE, &[]).leaves());
        assert!(!record(RecordKind::TO_INCLUDE, &[1]).leaves() && !record(RecordKind::TO_EXCLUDE, &[]).leaves());
        assert!(!record(RecordKind::BLOCK, &[]).leaves());
    }
}

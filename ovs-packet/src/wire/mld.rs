//! Multicast listener discovery versions 1 and 2: which IPv6 multicast groups hosts listen to (RFC 2710, RFC 3810).
//!
//! ```text
//!   0  type, code 0, checksum                                   queries, and reports of version 1
//!   4  time to respond, in ms       6  reserved
//!   8  group                       24  query of version 2: see [`group`](super::group)
//!
//!   0  type 143, code 0, checksum                               report of version 2
//!   4  reserved (2)                 6  number of records        8  records
//! ```
//!
//! A query is of version 1 when it has 24 bytes, of version 2 when it has 28 or more (RFC 3810, 8.1). A message fills
//! its bytes, the payload of the IPv6 packet. Of the checksum see [`icmpv6`](super::icmpv6): it is neither looked at
//! nor written here.

use core::fmt;
use core::net::Ipv6Addr;

use zerocopy::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::group::{self, QueryView, RecordView, Records};
use super::{Error, Reader, Vec, Wire, Writer, code_points, view};

const NAME: &str = "MLD";
const HEAD: usize = 8;
const LEN: usize = 24;

code_points! {
    /// The type of a message.
    Kind: u8 {
        /// Who listens?
        QUERY = 130, "query";
        /// Version 1: a host listens to the group.
        REPORT_V1 = 131, "report v1";
        /// Version 1: a host leaves the group.
        DONE = 132, "done";
        /// Version 2: what a host listens to has changed, or is as it was.
        REPORT_V2 = 143, "report v2";
    }
}

/// A group record of version 2.
pub type Record = group::Record<Ipv6Addr>;
/// What a query of version 2 has behind its group.
pub type QueryV2 = group::Query<Ipv6Addr>;

/// A message in place.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct View {
    kind: u8,
    code: u8,
    /// The checksum.
    pub checksum: U16,
    /// In queries: the time to respond, in milliseconds; in version 2 as [`group::milliseconds`] reads it.
    pub max_response: U16,
    count: U16,
    rest: [u8],
}

view!(View, NAME);

impl View {
    fn check(&self) -> Result<(), Error> {
        let len = HEAD + self.rest.len();
        match self.kind() {
            Kind::QUERY | Kind::REPORT_V1 | Kind::DONE if len < LEN => Err(Error::truncated(NAME, len)),
            Kind::QUERY => self.read_query().transpose().map(drop),
            Kind::REPORT_V1 | Kind::DONE => Ok(()),
            Kind::REPORT_V2 => self.read_records().try_for_each(|record| record.map(drop)),
            other => Err(Error::value("MLD type", 0, other.0)),
        }
    }

    fn read_query(&self) -> Option<Result<QueryView<'_, 16>, Error>> {
        let behind = self.rest.get(LEN - HEAD..).filter(|behind| self.kind() == Kind::QUERY && !behind.is_empty())?;
        Some(QueryView::read(Reader::at("MLD query", behind, LEN)))
    }

    fn read_records(&self) -> Records<'_, 16> {
        let left = if self.kind() == Kind::REPORT_V2 { self.count.get() } else { 0 };
        Records { rest: Reader::at("MLD group record", &self.rest, HEAD), left }
    }

    /// The type.
    pub fn kind(&self) -> Kind {
        Kind(self.kind)
    }

    /// The group, which is unspecified in a query for all groups and in a report of version 2.
    pub fn group(&self) -> Ipv6Addr {
        let group = self.rest.first_chunk().filter(|_| self.kind() != Kind::REPORT_V2);
        group.map_or(Ipv6Addr::UNSPECIFIED, |group: &[u8; 16]| Ipv6Addr::from(*group))
    }

    /// Changes the group of anything but a report of version 2. The checksum is then wrong.
    pub fn set_group(&mut self, group: Ipv6Addr) {
        if self.kind() != Kind::REPORT_V2
            && let Some(to) = self.rest.first_chunk_mut()
        {
            *to = group.octets();
        }
    }

    /// What a query of version 2 has behind its group.
    pub fn query_v2(&self) -> Option<QueryView<'_, 16>> {
        self.read_query().and_then(Result::ok)
    }

    /// The records of a report of version 2; of other messages, none.
    pub fn records(&self) -> impl Iterator<Item = RecordView<'_, 16>> {
        self.read_records().map_while(Result::ok)
    }
}

/// A message.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Message {
    /// A query of version 1.
    Query {
        /// The time to respond, in milliseconds.
        max_response: u16,
        /// The group, or unspecified for all.
        group: Ipv6Addr,
    },
    /// A query of version 2.
    QueryV2 {
        /// The time to respond, as [`group::milliseconds`] reads it.
        max_response: u16,
        /// The group, or unspecified for all.
        group: Ipv6Addr,
        /// What is behind it.
        query: QueryV2,
    },
    /// A report of version 1.
    ReportV1(Ipv6Addr),
    /// A host leaves a group.
    Done(Ipv6Addr),
    /// A report of version 2.
    ReportV2(Vec<Record>),
}

impl Wire for Message {
    fn parse(bytes: &[u8]) -> Result<Message, Error> {
        let view = View::new(bytes)?;
        let (group, max_response) = (view.group(), view.max_response.get());
        Ok(match (view.kind(), view.query_v2()) {
            (Kind::QUERY, Some(query)) => Message::QueryV2 { max_response, group, query: QueryV2::new(query) },
            (Kind::QUERY, None) => Message::Query { max_response, group },
            (Kind::REPORT_V1, _) => Message::ReportV1(group),
            (Kind::DONE, _) => Message::Done(group),
            _ => Message::ReportV2(view.records().map(Record::new).collect()),
        })
    }

    fn len(&self) -> usize {
        match self {
            Message::QueryV2 { query, .. } => LEN + query.len::<16>(),
            Message::ReportV2(records) => HEAD + records.iter().map(Record::len::<16>).sum::<usize>(),
            _ => LEN,
        }
    }

    fn emit(&self, out: &mut [u8]) -> Result<usize, Error> {
        let mut w = Writer::new(NAME, out);
        let mut plain = |kind: Kind, max_response: u16, group: &Ipv6Addr| {
            w.put(&[kind.0, 0, 0, 0])?;
            w.u16(max_response)?;
            w.u16(0)?;
            w.put(&group.octets())
        };
        match self {
            Message::Query { max_response, group } => plain(Kind::QUERY, *max_response, group)?,
            Message::ReportV1(group) => plain(Kind::REPORT_V1, 0, group)?,
            Message::Done(group) => plain(Kind::DONE, 0, group)?,
            Message::QueryV2 { max_response, group, query } => {
                plain(Kind::QUERY, *max_response, group)?;
                query.emit(&mut w, Ipv6Addr::octets)?;
            }
            Message::ReportV2(records) => {
                w.put(&[Kind::REPORT_V2.0, 0, 0, 0, 0, 0])?;
                w.u16(w.fits("MLD records", records.len(), u16::MAX.into())?)?;
                records.iter().try_for_each(|record| record.emit(&mut w, Ipv6Addr::octets))?;
            }
        }
        Ok(w.position())
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Query { max_response, group } => write!(f, "MLDv1 query {group} within {max_response}ms"),
            Message::QueryV2 { max_response, group, query } => {
                write!(f, "MLDv2 query {group} within {}ms {query}", group::milliseconds(*max_response))
            }
            Message::ReportV1(group) => write!(f, "MLDv1 report {group}"),
            Message::Done(group) => write!(f, "MLDv1 done {group}"),
            Message::ReportV2(records) => {
                f.write_str("MLDv2 report")?;
                records.iter().enumerate().try_for_each(|(i, r)| write!(f, "{} {r}", if i == 0 { "" } else { ";" }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::string::ToString;
    use std::vec;

    use super::group::RecordKind;
    use super::*;
    use crate::wire::Fault;
    use crate::wire::tests::{any_bytes, changed, hex, laws, no_prefix, refused};

    fn message() -> impl Strategy<Value = Message> {
        let records = prop::collection::vec(group::tests::record::<Ipv6Addr, 16>(), 0..4);
        (any::<([u8; 16], u16)>(), group::tests::query(), records, 0..5).prop_map(
            |((group, max_response), query, records, kind)| {
                let group = group.into();
                match kind {
                    0 => Message::Query { max_response, group },
                    1 => Message::QueryV2 { max_response, group, query },
                    2 => Message::ReportV1(group),
                    3 => Message::Done(group),
                    _ => Message::ReportV2(records),
                }
            },
        )
    }

    proptest! {
        #[test]
        fn messages_come_back(message in message()) {
            laws(&message);
        }

        #[test]
        fn any_bytes_end(message in message(), at: prop::sample::Index, to: u8, cut in 0usize..8) {
            let bytes = changed(&message, &[], at, to);
            any_bytes::<Message>(&bytes[..bytes.len() - cut]);
        }
    }

    #[test]
    fn layout_is_that_of_the_rfc() {
        let group: Ipv6Addr = "ff02::db8:1".parse().unwrap();
        let done = Message::Done(group);
        assert_eq!(laws(&done), hex("84000000 00000000 ff02000000000000000000000db80001"));
        no_prefix::<Message>(&laws(&done));
        let source: Ipv6Addr = "fe80::1".parse().unwrap();
        let record = Record { kind: RecordKind::BLOCK, group, sources: vec![source], auxiliary: vec![] };
        let report = Message::ReportV2(vec![record]);
        let bytes = laws(&report);
        let expected = "8f000000 00000001 06000001 ff02000000000000000000000db80001 fe800000000000000000000000000001";
        assert_eq!(bytes, hex(expected));
        no_prefix::<Message>(&bytes);
        assert_eq!(report.to_string(), "MLDv2 report ff02::db8:1 block sources fe80::1");
        let query = QueryV2 { suppress: false, robustness: 2, interval: 125, sources: vec![] };
        let query = Message::QueryV2 { max_response: 10_000, group: Ipv6Addr::UNSPECIFIED, query };
        assert_eq!(laws(&query)[24..], hex("02 7d 0000"));
        assert_eq!(query.to_string(), "MLDv2 query :: within 10000ms robustness 2 interval 125s");
    }

    #[test]
    fn counts_stay_within_the_message() {
        let query = |behind: &str| hex(&["82000000 27100000 00000000000000000000000000000000", behind].concat());
        assert_eq!(refused::<Message>(&query("02")), Error::truncated("MLD query", 24));
        assert_eq!(refused::<Message>(&query("027d0001")), Error::length("group sources", 26, 1));
        let report = |records: &str| hex(&["8f000000 00000001", records].concat());
        assert_eq!(refused::<Message>(&report("")), Error::truncated("MLD group record", 8));
        let record = |head: &str| report(&[head, "ff02000000000000000000000db80001"].concat());
        assert_eq!(refused::<Message>(&record("0600ffff")), Error::length("group sources", 10, 65535));
        assert_eq!(refused::<Message>(&record("06010000")).fault, Fault::Truncated);
        assert_eq!(refused::<Message>(&hex("80000000 00000000")), Error::value("MLD type", 0, 128u8));
    }

    #[test]
    fn a_group_is_patched_in_place() {
        let mut bytes = Message::ReportV1(Ipv6Addr::LOCALHOST).to_vec().unwrap();
        View::new_mut(&mut bytes).unwrap().set_group("ff02::5".parse().unwrap());
        assert_eq!(Message::parse(&bytes), Ok(Message::ReportV1("ff02::5".parse().unwrap())));
    }
}

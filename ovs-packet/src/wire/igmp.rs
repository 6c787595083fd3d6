//! IGMP versions 1 to 3: which IPv4 multicast groups hosts listen to (RFC 1112, RFC 2236, RFC 3376).
//!
//! ```text
//!   0  type                 1  time to respond, in 1/10 s       2  checksum of all of it
//!   4  group                8  query of version 3: see [`group`](super::group)
//!
//!   0  type 0x22, reserved, checksum                            report of version 3
//!   4  reserved (2)         6  number of records                8  records
//! ```
//!
//! A query is of version 1 if its time is zero and of version 2 if not, when it has 8 bytes; of version 3 when it has
//! 12 or more (RFC 3376, 7.1). A message fills its bytes, the payload of the IPv4 packet: the checksum is over all of
//! them, also over those that no field is in.

use core::fmt;
use core::net::Ipv4Addr;

use zerocopy::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::group::{self, QueryView, RecordView, Records};
use super::{Error, Fault, Reader, Vec, Wire, Writer, code_points, view};
use crate::checksum::checksum;

const NAME: &str = "IGMP";
const LEN: usize = 8;

code_points! {
    /// The type of a message.
    Kind: u8 {
        /// Who listens?
        QUERY = 0x11, "query";
        /// Version 1: a host listens to the group.
        REPORT_V1 = 0x12, "report v1";
        /// Version 2: a host listens to the group.
        REPORT_V2 = 0x16, "report v2";
        /// Version 2: a host leaves the group.
        LEAVE = 0x17, "leave";
        /// Version 3: what a host listens to has changed, or is as it was.
        REPORT_V3 = 0x22, "report v3";
    }
}

/// A group record of version 3.
pub type Record = group::Record<Ipv4Addr>;
/// What a query of version 3 has behind its group.
pub type QueryV3 = group::Query<Ipv4Addr>;

/// A message in place.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct View {
    kind: u8,
    /// In queries: the time to respond, in tenths of a second; in version 3 as [`group::seconds`] reads it.
    pub max_response: u8,
    checksum: U16,
    group: [u8; 4],
    rest: [u8],
}

view!(View, NAME);

impl View {
    fn check(&self) -> Result<(), Error> {
        if checksum(self.as_bytes()) != 0 {
            return Err(Error::new("IGMP checksum", 2, Fault::Checksum(self.checksum.get())));
        }
        match self.kind() {
            Kind::QUERY => self.read_query().transpose().map(drop),
            Kind::REPORT_V3 => self.read_records().try_for_each(|record| record.map(drop)),
            Kind::REPORT_V1 | Kind::REPORT_V2 | Kind::LEAVE => Ok(()),
            other => Err(Error::value("IGMP type", 0, other.0)),
        }
    }

    fn read_query(&self) -> Option<Result<QueryView<'_, 4>, Error>> {
        let of_version_3 = self.kind() == Kind::QUERY && !self.rest.is_empty();
        of_version_3.then(|| QueryView::read(Reader::at("IGMP query", &self.rest, LEN)))
    }

    fn read_records(&self) -> Records<'_, 4> {
        let [_, _, high, low] = self.group;
        let left = if self.kind() == Kind::REPORT_V3 { u16::from_be_bytes([high, low]) } else { 0 };
        Records { rest: Reader::at("IGMP group record", &self.rest, LEN), left }
    }

    /// The type.
    pub fn kind(&self) -> Kind {
        Kind(self.kind)
    }

    /// The group, which is unspecified in a query for all groups and in a report of version 3.
    pub fn group(&self) -> Ipv4Addr {
        if self.kind() == Kind::REPORT_V3 { Ipv4Addr::UNSPECIFIED } else { self.group.into() }
    }

    /// Changes the group of anything but a report of version 3; [`fill_checksum`](Self::fill_checksum) afterwards.
    pub fn set_group(&mut self, group: Ipv4Addr) {
        if self.kind() != Kind::REPORT_V3 {
            self.group = group.octets();
        }
    }

    /// What a query of version 3 has behind its group.
    pub fn query_v3(&self) -> Option<QueryView<'_, 4>> {
        self.read_query().and_then(Result::ok)
    }

    /// The records of a report of version 3; of other messages, none.
    pub fn records(&self) -> impl Iterator<Item = RecordView<'_, 4>> {
        self.read_records().map_while(Result::ok)
    }

    /// Makes the checksum right.
    pub fn fill_checksum(&mut self) {
        self.checksum.set(0);
        let sum = checksum(self.as_bytes());
        self.checksum.set(sum);
    }
}

/// A message.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Message {
    /// A query of version 1 or 2.
    Query {
        /// The time to respond, in tenths of a second; 0 in version 1.
        max_response: u8,
        /// The group, or unspecified for all.
        group: Ipv4Addr,
    },
    /// A query of version 3.
    QueryV3 {
        /// The time to respond, in tenths of a second as [`group::seconds`] reads it.
        max_response: u8,
        /// The group, or unspecified for all.
        group: Ipv4Addr,
        /// What is behind it.
        query: QueryV3,
    },
    /// A report of version 1.
    ReportV1(Ipv4Addr),
    /// A report of version 2.
    ReportV2(Ipv4Addr),
    /// A host leaves a group.
    Leave(Ipv4Addr),
    /// A report of version 3.
    ReportV3(Vec<Record>),
}

impl Wire for Message {
    fn parse(bytes: &[u8]) -> Result<Message, Error> {
        let view = View::new(bytes)?;
        let (group, max_response) = (view.group(), view.max_response);
        Ok(match (view.kind(), view.query_v3()) {
            (Kind::QUERY, Some(query)) => Message::QueryV3 { max_response, group, query: QueryV3::new(query) },
            (Kind::QUERY, None) => Message::Query { max_response, group },
            (Kind::REPORT_V1, _) => Message::ReportV1(group),
            (Kind::REPORT_V2, _) => Message::ReportV2(group),
            (Kind::LEAVE, _) => Message::Leave(group),
            _ => Message::ReportV3(view.records().map(Record::new).collect()),
        })
    }

    fn len(&self) -> usize {
        LEN + match self {
            Message::QueryV3 { query, .. } => query.len::<4>(),
            Message::ReportV3(records) => records.iter().map(Record::len::<4>).sum(),
            _ => 0,
        }
    }

    fn emit(&self, out: &mut [u8]) -> Result<usize, Error> {
        let mut w = Writer::new(NAME, out);
        let (kind, max_response, group) = match self {
            Message::Query { max_response, group } | Message::QueryV3 { max_response, group, .. } => {
                (Kind::QUERY, *max_response, *group)
            }
            Message::ReportV1(group) => (Kind::REPORT_V1, 0, *group),
            Message::ReportV2(group) => (Kind::REPORT_V2, 0, *group),
            Message::Leave(group) => (Kind::LEAVE, 0, *group),
            Message::ReportV3(records) => {
                (Kind::REPORT_V3, 0, Ipv4Addr::from_bits(w.fits("IGMP records", records.len(), u16::MAX.into())?))
            }
        };
        w.put(&[kind.0, max_response, 0, 0])?;
        w.put(&group.octets())?;
        match self {
            Message::QueryV3 { query, .. } => query.emit(&mut w, Ipv4Addr::octets)?,
            Message::ReportV3(records) => {
                records.iter().try_for_each(|record| record.emit(&mut w, Ipv4Addr::octets))?;
            }
            _ => {}
        }
        let bytes = w.written();
        let view = View::mut_from_bytes(bytes).map_err(|_| Error::truncated(NAME, 0))?;
        view.fill_checksum();
        Ok(LEN + view.rest.len())
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = |max: u16| (max / 10, max % 10);
        match self {
            Message::Query { max_response: 0, group } => write!(f, "IGMPv1 query {group}"),
            Message::Query { max_response, group } => {
                let (s, t) = tenths((*max_response).into());
                write!(f, "IGMPv2 query {group} within {s}.{t}s")
            }
            Message::QueryV3 { max_response, group, query } => {
                let (s, t) = tenths(group::seconds(*max_response));
                write!(f, "IGMPv3 query {group} within {s}.{t}s {query}")
            }
            Message::ReportV1(group) => write!(f, "IGMPv1 report {group}"),
            Message::ReportV2(group) => write!(f, "IGMPv2 report {group}"),
            Message::Leave(group) => write!(f, "IGMPv2 leave {group}"),
            Message::ReportV3(records) => {
                f.write_str("IGMPv3 report")?;
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
    use crate::wire::tests::{any_bytes, changed, hex, laws, no_prefix, refused};

    fn message() -> impl Strategy<Value = Message> {
        let records = prop::collection::vec(group::tests::record::<Ipv4Addr, 4>(), 0..4);
        (any::<([u8; 4], u8)>(), group::tests::query(), records, 0..6).prop_map(
            |((group, max_response), query, records, kind)| {
                let group = group.into();
                match kind {
                    0 => Message::Query { max_response, group },
                    1 => Message::QueryV3 { max_response, group, query },
                    2 => Message::ReportV1(group),
                    3 => Message::ReportV2(group),
                    4 => Message::Leave(group),
                    _ => Message::ReportV3(records),
                }
            },
        )
    }

    proptest! {
        #[test]
        fn messages_come_back(message in message()) {
            let bytes = laws(&message);
            prop_assert_eq!(checksum(&bytes), 0);
        }

        #[test]
        fn any_bytes_end(message in message(), at: prop::sample::Index, to: u8, cut in 0usize..4) {
            let mut bytes = changed(&message, &[], at, to);
            bytes.truncate(bytes.len() - cut);
            if let Ok(view) = View::mut_from_bytes(&mut bytes) {
                view.fill_checksum();
            }
            any_bytes::<Message>(&bytes);
        }

        /// etherparse agrees on what kind of message it is, and on its parts.
        #[test]
        fn etherparse_agrees(message in message()) {
            use etherparse::IgmpType as T;
            let bytes = message.to_vec().unwrap();
            let (other, _) = etherparse::IgmpHeader::from_slice(&bytes).unwrap();
            prop_assert_eq!(other.checksum, u16::from_be_bytes([bytes[2], bytes[3]]));
            match (&message, &other.igmp_type) {
                (Message::Query { group, .. }, T::MembershipQuery(q)) => prop_assert_eq!(q.group_address.octets, group.octets()),
                (Message::QueryV3 { group, query, .. }, T::MembershipQueryWithSources(q)) => {
                    prop_assert_eq!((q.group_address.octets, q.s_flag()), (group.octets(), query.suppress));
                    prop_assert_eq!((q.qrv().value(), usize::from(q.num_of_sources)), (query.robustness, query.sources.len()));
                }
                (Message::ReportV1(g), T::MembershipReportV1(q)) => prop_assert_eq!(q.group_address.octets, g.octets()),
                (Message::ReportV2(g), T::MembershipReportV2(q)) => prop_assert_eq!(q.group_address.octets, g.octets()),
                (Message::Leave(g), T::LeaveGroup(q)) => prop_assert_eq!(q.group_address.octets, g.octets()),
                (Message::ReportV3(records), T::MembershipReportV3(q)) => {
                    prop_assert_eq!(usize::from(q.num_of_records), records.len());
                }
                (ours, theirs) => prop_assert!(false, "{:?} is {:?}", ours, theirs),
            }
        }
    }

    #[test]
    fn layout_is_that_of_the_rfc() {
        let group = Ipv4Addr::new(224, 1, 2, 3);
        assert_eq!(laws(&Message::ReportV2(group)), hex("1600 07fb e0010203"));
        let report = Message::ReportV3(vec![
            Record { kind: RecordKind::TO_EXCLUDE, group, sources: vec![], auxiliary: vec![] },
            Record { kind: RecordKind::ALLOW, group, sources: vec![[10, 0, 0, 1].into()], auxiliary: vec![1, 2, 3, 4] },
        ]);
        let bytes = laws(&report);
        assert_eq!(bytes[..2], [0x22, 0]);
        assert_eq!(bytes[4..], hex("0000 0002  04 00 0000 e0010203  05 01 0001 e0010203 0a000001 01020304"));
        assert_eq!(report.to_string(), "IGMPv3 report 224.1.2.3 to exclude; 224.1.2.3 allow sources 10.0.0.1");
        no_prefix::<Message>(&bytes);
        let query = QueryV3 { suppress: true, robustness: 2, interval: 125, sources: vec![[10, 0, 0, 1].into()] };
        let query = Message::QueryV3 { max_response: 100, group, query };
        assert_eq!(laws(&query)[8..], hex("0a 7d 0001 0a000001"));
        assert_eq!(
            query.to_string(),
            "IGMPv3 query 224.1.2.3 within 10.0s robustness 2 interval 125s suppress sources 10.0.0.1"
        );
    }

    fn summed(text: &str) -> Vec<u8> {
        let mut bytes = hex(text);
        View::mut_from_bytes(&mut bytes).unwrap().fill_checksum();
        bytes
    }

    #[test]
    fn counts_stay_within_the_message() {
        assert_eq!(
            refused::<Message>(&summed("2200 0000 0000 0002 0400 0000 e0010203")),
            Error::truncated("IGMP group record", 16)
        );
        assert_eq!(
            refused::<Message>(&summed("2200 0000 0000 0001 0400 0100 e0010203")),
            Error::length("group sources", 10, 256)
        );
        assert_eq!(refused::<Message>(&summed("2200 0000 0000 0001 04ff 0000 e0010203")).fault, Fault::Truncated);
        assert_eq!(
            refused::<Message>(&summed("1164 0000 e0010203 02 7d ffff 0a000001")),
            Error::length("group sources", 10, 65535)
        );
        assert_eq!(refused::<Message>(&summed("1164 0000 e0010203 02")), Error::truncated("IGMP query", 8));
        assert_eq!(refused::<Message>(&summed("2300 0000 e0010203")), Error::value("IGMP type", 0, 0x23u8));
        // Behind the records anything may stand, if it is in the checksum.
        assert_eq!(Message::parse(&summed("2200 0000 0000 0000 ff")), Ok(Message::ReportV3(vec![])));
    }

    #[test]
    fn a_wrong_checksum_is_refused() {
        let mut bytes = Message::Leave([224, 1, 1, 1].into()).to_vec().unwrap();
        bytes[7] ^= 1;
        assert!(matches!(refused::<Message>(&bytes), Error { at: 2, fault: Fault::Checksum(_), .. }));
    }

    #[test]
    fn what_cannot_be_sent_is_not_emitted() {
        let record = |auxiliary| Record { kind: RecordKind::ALLOW, group: [1; 4].into(), sources: vec![], auxiliary };
        assert!(Message::ReportV3(vec![record(vec![0; 3])]).to_vec().is_err());
        assert!(Message::ReportV3(vec![record(vec![0; 1024])]).to_vec().is_err());
        let query = QueryV3 { robustness: 8, ..QueryV3::default() };
        assert!(Message::QueryV3 { max_response: 0, group: [1; 4].into(), query }.to_vec().is_err());
    }

    #[test]
    fn a_group_is_patched_in_place() {
        let mut bytes = Message::ReportV1([224, 1, 1, 1].into()).to_vec().unwrap();
        let view = View::new_mut(&mut bytes).unwrap();
        view.set_group([224, 9, 9, 9].into());
        view.fill_checksum();
        assert_eq!(Message::parse(&bytes), Ok(Message::ReportV1([224, 9, 9, 9].into())));
    }
}

use proptest::prelude::*;
use proptest::sample::select;

use super::fields::write_others;
use super::order::{Layout, ORDER};
use super::*;
use crate::codec::cursor::{Reader, Writer};
use crate::codec::error::{DecodeError, EncodeError, OfError};
use crate::codec::matching;
use ovs_packet::Match;

fn bytes(text: &str) -> Vec<u8> {
    let mut w = Writer::new();
    write_match(&text.parse::<Match>().unwrap(), &mut w, 4).unwrap();
    w.into_bytes()
}

fn read(bytes: &[u8]) -> Result<Match, DecodeError> {
    let mut m = Match::ANY;
    matching::read(&mut Reader::new(bytes), Reading::STRICT, &mut m).map(|()| m)
}

fn fields(bytes: &[u8]) -> Result<Match, OfError> {
    let mut m = Match::ANY;
    read_fields(Reader::new(bytes).or(&OfError::BadMatchBadLength), Reading::STRICT, &mut m)
        .map(|_| m)
        .map_err(|e| e.error)
}

#[test]
fn layout_of_a_match() {
    assert_eq!(
        bytes("tcp,in_port=1"),
        [0, 1, 0, 23, 0x80, 0, 0, 4, 0, 0, 0, 1, 0x80, 0, 10, 2, 8, 0, 0x80, 0, 20, 1, 6, 0]
    );
    assert_eq!(bytes(""), [0, 1, 0, 4, 0, 0, 0, 0]);
}

#[test]
fn vlan_in_all_its_forms() {
    for (text, oxm) in [
        ("vlan_vid=0", &[0x80u8, 0, 12, 2, 0, 0][..]),
        ("vlan_tci=0", &[0x80, 0, 12, 2, 0, 0]),
        ("dl_vlan=5", &[0x80, 0, 12, 2, 0x10, 5]),
        ("vlan_tci=0x1000/0x1000", &[0x80, 0, 13, 4, 0x10, 0, 0x10, 0]),
        ("dl_vlan_pcp=3", &[0x80, 0, 13, 4, 0x10, 0, 0x10, 0, 0x80, 0, 14, 1, 3]),
        ("vlan_tci=0x2000/0x2000", &[0, 0, 9, 4, 0x20, 0, 0x20, 0]),
    ] {
        let m: Match = text.parse().unwrap();
        let mut w = Writer::new();
        write_fields(&m, &mut w, 4, None).unwrap();
        assert_eq!(w.into_bytes(), oxm, "{text}");
        let read = fields(oxm).unwrap();
        assert!(read == m || text == "vlan_tci=0", "{text}: {read}");
    }
}

#[test]
fn a_field_of_a_header_is_of_ethernet_though_all_of_it_is_open() {
    let vid = [0x80, 0, 13, 4, 0, 0, 0, 0];
    let open = fields(&vid).unwrap();
    assert_eq!(open, "eth".parse().unwrap());
    let mut w = Writer::new();
    write_fields(&open, &mut w, 6, None).unwrap();
    assert_eq!(w.into_bytes(), [0x80, 0, 88, 4, 0, 0, 0, 0]);
    // What it says of headers besides, and what it says of the packet's type, goes for that.
    let ip = [0x80, 0, 10, 2, 8, 0];
    assert_eq!(fields(&[&vid[..], &ip].concat()), Ok("ip".parse().unwrap()));
    assert_eq!(fields(&[&[0x80, 0, 88, 4, 0, 0, 0, 0], &vid[..]].concat()), Ok("eth".parse().unwrap()));
    // Metadata has no headers.
    assert_eq!(fields(&[0, 1, 1, 8, 0, 0, 0, 0, 0, 0, 0, 0]), Ok(Match::ANY));
}

#[test]
fn every_error_of_a_match() {
    use OfError::*;
    assert_eq!(read(&[0, 9, 0, 4, 0, 0, 0, 0]).unwrap_err().error, BadMatchBadType);
    assert_eq!(read(&[0, 1, 0, 3, 0, 0, 0, 0]).unwrap_err().error, BadMatchBadLength);
    assert_eq!(read(&[0, 1, 0, 4, 0, 0, 0]).unwrap_err().error, BadMatchBadLength);
    assert_eq!(fields(&[0x80, 0, 10, 2, 8]), Err(BadMatchBadLength));
    assert_eq!(fields(&[0x80, 0, 10, 3, 8, 0, 0]), Err(BadMatchBadLength));
    assert_eq!(fields(&[0x80, 0, 0xfe, 1, 0]), Err(BadMatchBadField));
    assert_eq!(fields(&[0x12, 0, 0, 1, 0]), Err(BadMatchBadField));
    assert_eq!(fields(&[0xff, 0xff, 84, 3, 0, 0, 0]), Err(BadMatchBadLength));
    assert_eq!(fields(&[0x80, 0, 11, 4, 8, 0, 0xff, 0]), Err(BadMatchBadMask));
    assert_eq!(fields(&[0x80, 0, 5, 16, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1]), Err(BadMatchBadWildcards));
    assert_eq!(fields(&[0x80, 0, 12, 2, 0x20, 0]), Err(BadMatchBadValue));
    assert_eq!(fields(&[0x80, 0, 20, 1, 6]), Err(BadMatchPrerequisite));
    assert_eq!(fields(&[0x80, 0, 10, 2, 8, 0, 0x80, 0, 10, 2, 8, 0]), Err(BadMatchDuplicate));
    // The same bits under another number are the same field.
    assert_eq!(fields(&[0x80, 0, 10, 2, 8, 0, 0, 0, 6, 2, 8, 0]), Err(BadMatchDuplicate));
}

#[test]
fn the_ingress_port_of_openflow_1_0_is_read() {
    assert_eq!(fields(&[0, 0, 0, 2, 0xff, 0xfe]), Ok("in_port=LOCAL".parse().unwrap()));
}

#[test]
fn tunnel_options_have_their_own_lengths() {
    let m: Match = "tun_id=5,tun_metadata0=0x1234,tun_metadata63=0x5/0xf,reg0=1".parse().unwrap();
    let mut w = Writer::new();
    write_fields(&m, &mut w, NXM, None).unwrap();
    let bytes = w.into_bytes();
    assert_eq!(fields(&bytes), Ok(m));
    assert!(bytes.windows(6).any(|b| b == [0, 1, 40 << 1, 2, 0x12, 0x34]), "{bytes:x?}");
    assert_eq!(fields(&[0, 1, 80, 2, 1, 2, 0, 1, 80, 2, 1, 2]), Err(OfError::BadMatchDuplicate));
    assert_eq!(fields(&[0, 1, 80, 0]), Err(OfError::BadMatchBadLength));
    assert_eq!(fields(&[0, 1, 81, 2, 1, 0]), Err(OfError::BadMatchBadWildcards));
    assert_eq!(fields(&[0, 1, 81, 0]), Ok("tun_metadata0".parse().unwrap()));
    assert_eq!(fields(&[0, 1, 81, 1, 0]), Err(OfError::BadMatchBadLength));
    assert_eq!(fields(&[0, 1, 81, 3, 0, 0, 0]), Err(OfError::BadMatchBadLength));
}

#[test]
fn bits_that_no_field_has_are_refused() {
    let mut m = Match::ANY;
    m.set(FieldId::SkbPriority, 1);
    assert_eq!(write_fields(&m, &mut Writer::new(), 4, None), Err(EncodeError::Match { field: "skb_priority" }));
    let mut m = Match::ANY;
    m.set(FieldId::NwSrc, 1);
    assert!(write_fields(&m, &mut Writer::new(), 4, None).is_err());
}

#[test]
fn every_field_with_a_number_is_in_the_order_or_a_view_of_others() {
    let views = |f: &FieldId| {
        let name = f.info().name;
        name.starts_with("xreg")
            || name.starts_with("xxreg")
            || matches!(f, FieldId::NwTos | FieldId::InPort)
            || f.tun_metadata_index().is_some()
    };
    for f in FieldId::all().filter(|f| has_number(*f) && !views(f)) {
        assert!(ORDER.contains(&f), "{}", f.info().name);
    }
}

#[test]
fn matches_for_which_there_is_no_room_are_written_as_all_are() {
    for n in 1..=16 {
        let registers = || FieldId::all().filter(|f| (FieldId::Reg0..=FieldId::Reg15).contains(f)).take(n);
        let mut m = Match::ANY;
        registers().for_each(|f| m.set_masked(f, 0x1234_5678, 0xffff));
        let (mut w, mut others) = (Writer::new(), Writer::new());
        write_fields(&m, &mut w, 4, None).unwrap();
        write_others(&m, &mut others, 4, Layout::of(4).unwrap()).unwrap();
        assert_eq!((w.len(), w.into_bytes()), (12 * n, others.into_bytes()));
    }
}

proptest! {
    #[test]
    fn matches_of_plain_fields_are_written_as_all_are(
        base in select(&["", "tcp", "udp6", "arp", "icmp6,icmp_type=135", "tcp,nw_src=10.1.2.0/24,tp_dst=80"][..]),
        more in prop::collection::vec((select(ORDER), any::<u128>(), select(&[u128::MAX, 0xff, 0xf0f0, 1][..])), 0..4),
        version in 0..VERSIONS as u8,
    ) {
        let mut m: Match = base.parse().unwrap();
        more.into_iter().for_each(|(field, value, mask)| m.set_masked(field, value, mask));
        let (mut w, mut others) = (Writer::new(), Writer::new());
        let done = write_fields(&m, &mut w, version, None);
        prop_assert_eq!(&done, &write_others(&m, &mut others, version, Layout::of(version).unwrap()), "{}", m);
        let mut whole = Writer::new();
        prop_assert_eq!(&done, &write_match(&m, &mut whole, version), "{}", m);
        if done.is_ok() {
            let (fields, len) = (w.into_bytes(), others.len() as u16 + 4);
            prop_assert_eq!(&fields, &others.into_bytes(), "{}", m);
            let padding = vec![0; (len as usize).next_multiple_of(8) - len as usize];
            prop_assert_eq!(whole.into_bytes(), [&[0, 1], &len.to_be_bytes()[..], &fields, &padding].concat(), "{}", m);
        }
    }
}

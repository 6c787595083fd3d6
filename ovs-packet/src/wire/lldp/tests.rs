use core::net::{IpAddr, Ipv4Addr};
use std::string::ToString;
use std::vec;

use proptest::prelude::*;

use super::aa::{Assignment, Assignments, Element, ElementKind};
use super::*;
use crate::wire::tests::{any_bytes, changed, hex, laws, no_prefix, refused};

fn bytes(len: core::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), len)
}

fn management() -> impl Strategy<Value = ManagementAddress> {
    (any::<u8>(), bytes(0..32), any::<u8>(), any::<u32>(), bytes(0..129)).prop_map(
        |(family, a, kind, interface, oid)| ManagementAddress {
            family,
            address: a.into_iter().collect(),
            interface_kind: InterfaceKind(kind),
            interface,
            object_id: oid.into_iter().collect(),
        },
    )
}

fn element() -> impl Strategy<Value = Element> {
    (any::<([u8; 32], bool, [u8; 6], u16)>(), 0u8..64, 0u8..4, 0u16..4096, 0u8..8, 0u16..8192).prop_map(
        |((digest, vlan_tagging, system, connection_more), kind, provisioning, management_vlan, connection, id)| {
            Element {
                digest,
                kind: ElementKind(kind),
                vlan_tagging,
                provisioning,
                management_vlan,
                system: EthAddr(system),
                connection,
                connection_id: id,
                connection_more,
            }
        },
    )
}

fn assignments() -> impl Strategy<Value = Assignments> {
    let one = (0u8..16, 0u16..4096, 0u32..1 << 24).prop_map(|(status, vlan, isid)| Assignment { status, vlan, isid });
    (any::<[u8; 32]>(), prop::collection::vec(one, 0..96)).prop_map(|(digest, list)| Assignments { digest, list })
}

fn pdu() -> impl Strategy<Value = Pdu> {
    let ids = (any::<(u8, u8, u16)>(), bytes(1..256), bytes(1..20));
    let texts = [bytes(0..512), bytes(0..20), bytes(0..20)];
    let lists = (
        prop::collection::vec(management(), 0..3),
        prop::option::of(element()),
        prop::collection::vec(assignments(), 0..3),
        prop::collection::vec((any::<[u8; 3]>(), 0u8..11, bytes(0..508)), 0..3),
        prop::collection::vec((9u8..127, bytes(0..512)), 0..3),
    );
    (ids, texts, any::<Option<(u16, u16)>>(), lists).prop_map(|(ids, texts, capabilities, lists)| {
        let ((ck, pk, ttl), chassis_id, port_id) = ids;
        let [port_description, system_name, system_description] = texts;
        let flags = Capabilities::from_bits_retain;
        Pdu {
            chassis_id_kind: ChassisIdKind(ck),
            chassis_id,
            port_id_kind: PortIdKind(pk),
            port_id,
            ttl,
            port_description,
            system_name,
            system_description,
            capabilities: capabilities.map(|(can, does)| (flags(can), flags(does))),
            management: lists.0,
            element: lists.1,
            assignments: lists.2,
            organizations: lists.3.into_iter().map(|(oui, kind, info)| Organization { oui, kind, info }).collect(),
            others: lists.4,
        }
    })
}

fn minimal() -> Pdu {
    Pdu {
        chassis_id_kind: ChassisIdKind::MAC_ADDRESS,
        chassis_id: EthAddr::local(9).0.to_vec(),
        port_id_kind: PortIdKind::INTERFACE_NAME,
        port_id: b"p1".to_vec(),
        ttl: 120,
        ..Pdu::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn messages_come_back(pdu in pdu()) {
        let bytes = pdu.to_vec().unwrap();
        prop_assert_eq!(Pdu::parse(&bytes), Ok(pdu.clone()));
        prop_assert_eq!(bytes.len(), pdu.len());
        prop_assert_eq!(pdu.emit(&mut vec![0; bytes.len() - 1]).map_err(|e| e.fault), Err(Fault::Truncated));
    }

    #[test]
    fn any_bytes_end(pdu in pdu(), at: prop::sample::Index, to: u8) {
        let bytes = changed(&pdu, &[], at, to);
        match Pdu::parse(&bytes) {
            Ok(read) => prop_assert_eq!(Pdu::parse(&read.to_vec().unwrap()), Ok(read)),
            Err(e) => prop_assert!(e.at as usize <= bytes.len()),
        }
    }
}

#[test]
fn layout_is_that_of_the_standard() {
    let pdu = Pdu {
        system_name: b"br0".to_vec(),
        capabilities: Some((Capabilities::BRIDGE | Capabilities::ROUTER, Capabilities::BRIDGE)),
        management: vec![ManagementAddress::new(IpAddr::from([192, 0, 2, 1]), Some(5))],
        ..minimal()
    };
    let bytes = laws(&pdu);
    let expected = "0207 04 020000000009  0403 05 7031  0602 0078  0a03 627230  0e04 0014 0004
                    100c 05 01 c0000201 02 00000005 00  0000";
    assert_eq!(bytes, hex(expected));
    no_prefix::<Pdu>(&bytes);
    assert_eq!(
        pdu.to_string(),
        "LLDP chassis mac 02:00:00:00:00:09 port interface \"p1\" for 120s system \"br0\" \
         can BRIDGE | ROUTER, does BRIDGE; managed at 192.0.2.1 interface ifindex 5"
    );
}

#[test]
fn auto_attach_has_the_layout_that_open_vswitch_has() {
    let element = Element {
        vlan_tagging: true,
        provisioning: 2,
        management_vlan: 0x123,
        connection: 5,
        connection_id: 0x1abc,
        connection_more: 0xdead,
        ..Element::new(ElementKind::VIRTUAL_SWITCH, EthAddr::local(1))
    };
    let assignments =
        Assignments { digest: [7; 32], list: vec![Assignment { status: 2, vlan: 0x0ff, isid: 0x010203 }] };
    let pdu = Pdu { element: Some(element), assignments: vec![assignments], ..minimal() };
    let bytes = laws(&pdu);
    let at = minimal().len() - 2;
    assert_eq!(bytes[at..at + 6], [0xfe, 50, 0, 4, 0x0d, 11]);
    // 14 in 6 bits, 1 10 000 in 6, 0x123 in 12: 001110 110000 000100100011.
    assert_eq!(bytes[at + 38..at + 52], [0x3b, 0x01, 0x23, 0, 2, 0, 0, 0, 0, 1, 0xba, 0xbc, 0xde, 0xad]);
    assert_eq!(bytes[at + 52..at + 58], [0xfe, 41, 0, 4, 0x0d, 12]);
    assert_eq!(bytes[at + 90..], [0x20, 0xff, 1, 2, 3, 0, 0]);
}

/// Behind the three first TLVs, in hexadecimal, and the error, counted from its own beginning.
fn behind(tlvs: &str) -> Error {
    let mut bytes = minimal().to_vec().unwrap();
    bytes.truncate(bytes.len() - 2);
    let before = bytes.len() as u32;
    bytes.extend(hex(tlvs));
    let e = refused::<Pdu>(&bytes);
    Error { at: e.at - before, ..e }
}

#[test]
fn the_first_three_are_there_once_and_the_end_is_there() {
    let missing = |what, at| Error::new(what, at, Fault::Missing);
    assert_eq!(refused::<Pdu>(&hex("0403 05 7031")), missing("LLDP chassis id", 0));
    assert_eq!(refused::<Pdu>(&hex("0202 0701 0602 0078")), missing("LLDP port id", 4));
    assert_eq!(refused::<Pdu>(&hex("0202 0701 0402 0701 0000")), missing("LLDP time to live", 8));
    assert_eq!(refused::<Pdu>(&[]), missing("LLDP chassis id", 0));
    assert_eq!(behind("0602 0078 0000"), Error::new("LLDP time to live", 0, Fault::Repeated));
    assert_eq!(behind("0a00 0202 0701"), Error::new("LLDP chassis id", 2, Fault::Repeated));
    assert_eq!(behind("0402 0701"), Error::new("LLDP port id", 0, Fault::Repeated));
    assert_eq!(behind("0a00"), missing("LLDP end", 2));
    assert_eq!(behind("0001 00"), Error::length("LLDP TLV", 0, 1));
    assert_eq!(behind("0a05 6262"), Error::length("LLDP TLV", 0, 5));
    assert_eq!(behind("00"), Error::truncated("LLDP", 0));
}

#[test]
fn short_values_are_refused() {
    assert_eq!(refused::<Pdu>(&hex("0201 07 0402 0701 0602 0078 0000")), Error::truncated("LLDP chassis id", 3));
    assert_eq!(refused::<Pdu>(&hex("0202 0701 0402 0701 0601 00 0000")), Error::truncated("LLDP time to live", 10));
    assert_eq!(behind("0e03 000000 0000"), Error::truncated("LLDP capabilities", 4));
    assert_eq!(behind("fe03 00040d 0000"), Error::truncated("LLDP organization", 5));
    // An interface's number cut short, and an object id longer than the rest.
    assert_eq!(behind("100a 05 01 c0000201 02 000000 0000"), Error::truncated("LLDP management address", 9));
    assert_eq!(behind("100d 05 01 c0000201 02 00000005 02 00 0000"), Error::length("LLDP management object id", 13, 2));
}

#[test]
fn a_missing_object_id_and_longer_values_are_taken() {
    let read = Pdu::parse(&hex("0202 0701 0402 0701 0603 0078ff 100b 05 01 c0000201 02 00000005 0000")).unwrap();
    assert_eq!(read.ttl, 120);
    assert_eq!(read.management[0].ip(), Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))));
    assert_eq!(ManagementAddress { address: [1; 5].into_iter().collect(), ..read.management[0].clone() }.ip(), None);
}

#[test]
fn what_cannot_be_sent_is_not_emitted() {
    let long = vec![0; 512];
    for bad in [
        Pdu { chassis_id: vec![], ..minimal() },
        Pdu { port_id: long.clone(), ..minimal() },
        Pdu { system_name: long.clone(), ..minimal() },
        Pdu { others: vec![(127, vec![])], ..minimal() },
        Pdu { others: vec![(5, vec![])], ..minimal() },
        Pdu { organizations: vec![Organization { oui: aa::OUI, kind: 11, info: vec![0; 46] }], ..minimal() },
        Pdu {
            element: Some(Element { provisioning: 4, ..Element::new(ElementKind::SERVER, EthAddr::ZERO) }),
            ..minimal()
        },
        Pdu {
            assignments: vec![Assignments {
                digest: [0; 32],
                list: vec![Assignment { isid: 1 << 24, ..Assignment::default() }],
            }],
            ..minimal()
        },
        Pdu { assignments: vec![Assignments { digest: [0; 32], list: vec![Assignment::default(); 96] }], ..minimal() },
    ] {
        assert!(bad.to_vec().is_err(), "{bad}");
    }
}

#[test]
fn a_message_is_taken_back_in_place() {
    let mut bytes = minimal().to_vec().unwrap();
    View::new_mut(&mut bytes).unwrap().set_ttl(0);
    assert_eq!(Pdu::parse(&bytes), Ok(Pdu { ttl: 0, ..minimal() }));
}

/// The frames of `security-triggers.json`, behind their Ethernet header.
mod security {
    use super::*;

    #[test]
    fn cve_2015_8011_management_address_longer_than_its_buffer() {
        let mut frame = hex("0207 04 505400000009 0403 057031 0602 0078 1042 3b 01");
        frame.extend(vec![0xaa; 58]);
        frame.extend(hex("02 00000001 00 0000"));
        assert_eq!(refused::<Pdu>(&frame), Error::length("LLDP management address", 20, 59));
    }

    #[test]
    fn e582a8ffa_management_address_of_length_zero() {
        let e = refused::<Pdu>(&hex("0207 04 505400000009 0403 057031 0602 0078 1001 00 0000"));
        assert_eq!(e, Error::length("LLDP management address", 20, 0));
    }

    #[test]
    fn cve_2020_27827_repeated_names_are_kept_once() {
        let mut frame = minimal().to_vec().unwrap();
        frame.truncate(frame.len() - 2);
        for i in 0..20 {
            frame.extend(hex("0a38"));
            frame.extend(vec![b'a' + i; 56]);
        }
        frame.extend([0, 0]);
        let pdu = Pdu::parse(&frame).unwrap();
        assert_eq!(pdu, Pdu { system_name: vec![b't'; 56], ..minimal() });
    }

    #[test]
    fn cve_2022_4337_assignments_shorter_than_their_digest() {
        let e = refused::<Pdu>(&hex("0207 04 505400000009 0403 057031 0602 0078 fe05 00040d 0c 01 0000"));
        assert_eq!(e, Error::truncated("LLDP AA assignments", 25));
        assert_eq!(behind(&["fe27 00040d 0c", &"00".repeat(35), "0000"].concat()).fault, Fault::Length(3));
    }

    #[test]
    fn cve_2022_4338_element_cut_short() {
        let e = refused::<Pdu>(&hex("0207 04 505400000009 0403 057031 0602 0078 fe0c 00040d 0b 0000000000000000 0000"));
        assert_eq!(e, Error::truncated("LLDP AA element", 24));
        for length in 4..50 {
            let tlv = ["fe", &std::format!("{length:02x}"), "00040d 0b", &"00".repeat(length - 4), "0000"].concat();
            assert_eq!(behind(&tlv).what, "LLDP AA element");
        }
    }

    #[test]
    fn a_message_of_one_tlv_repeated_without_end_ends() {
        any_bytes::<Pdu>(&[0x02; 4096]);
        any_bytes::<Pdu>(&[0xfe; 4096]);
    }
}

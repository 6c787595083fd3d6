//! What Open vSwitch 3.1 sent, recorded from a running ovs-vswitchd with dummy ports: `wire` reads in it what had been
//! configured, and emits the same bytes again.

use std::fmt::Debug;

use ovs_packet::EthAddr;
use ovs_packet::wire::lldp::aa;
use ovs_packet::wire::{Wire, bfd, cfm, erspan, geneve, gre, gtpu, lacp, lldp, stp, vxlan};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|d| d as u8).collect();
    digits.chunks(2).map(|d| d[0] << 4 | d[1]).collect()
}

/// The value that `bytes` begin with, which is `expected` and emits what it was read from.
fn agrees<V: Wire + PartialEq + Debug>(bytes: &[u8], expected: V) {
    assert_eq!(V::parse(bytes).as_ref(), Ok(&expected));
    assert_eq!(expected.to_vec().as_deref(), Ok(&bytes[..expected.len()]));
}

fn address(text: &str) -> EthAddr {
    text.parse().unwrap()
}

/// `cfm_mpid=3`; and `cfm_mpid=77 cfm_interval=500 cfm_extended=true`.
#[test]
fn ccm() {
    let maid = ["04036f767302036f7673", &"00".repeat(38)].concat();
    let plain = hex(&["0001 8446 0000008c 0003", &maid, &"00".repeat(17)].concat());
    agrees(&plain, cfm::Ccm { rdi: true, sequence: 0x8c, mpid: 3, ..cfm::Ccm::default() });
    let extended = hex(&["0001 8046 00000117 a5a6", &maid, "01f4 000000000000004d 00", &"00".repeat(6)].concat());
    agrees(
        &extended,
        cfm::Ccm {
            rdi: true,
            interval: cfm::Interval::OTHER,
            sequence: 0x117,
            mpid: 0xa5a6,
            extended: cfm::Extended { interval_ms: 500, mpid: 77, opdown: false },
            ..cfm::Ccm::default()
        },
    );
}

/// `bfd:enable=true bfd:min_tx=200`, not yet heard from.
#[test]
fn bfd_down() {
    let bytes = hex("20400318 eff58874 00000000 000f4240 000f4240 00000000");
    agrees(&bytes, bfd::Control { my_discriminator: 0xeff58874, ..bfd::Control::default() });
}

/// `lldp:enable=true`, mappings of VLAN 5 to service 65540 and of VLAN 100 to service 7.
#[test]
fn lldp_with_auto_attach() {
    let digest = "00".repeat(32);
    let bytes = hex(&[
        "0207 04 aa55aa550010 0403 05 7033 0602 0078 0c11 6f70656e7673776974636820332e312e30 0e04 0004 0004",
        "fe32 00040d 0b",
        &digest,
        "38000000 aa55aa550010 00000000 fe2e 00040d 0c",
        &digest,
        "0005 010004 0064 000007 0000",
    ]
    .concat());
    let me = address("aa:55:aa:55:00:10");
    let list = [(5, 65540), (100, 7)].map(|(vlan, isid)| aa::Assignment { status: 0, vlan, isid });
    agrees(
        &bytes,
        lldp::Pdu {
            chassis_id_kind: lldp::ChassisIdKind::MAC_ADDRESS,
            chassis_id: me.0.to_vec(),
            port_id_kind: lldp::PortIdKind::INTERFACE_NAME,
            port_id: b"p3".to_vec(),
            ttl: 120,
            system_description: b"openvswitch 3.1.0".to_vec(),
            capabilities: Some((lldp::Capabilities::BRIDGE, lldp::Capabilities::BRIDGE)),
            element: Some(aa::Element::new(aa::ElementKind::VIRTUAL_SWITCH, me)),
            assignments: vec![aa::Assignments { digest: [0; 32], list: list.to_vec() }],
            ..lldp::Pdu::default()
        },
    );
}

/// `lacp=active other_config:lacp-time=fast`, without a partner.
#[test]
fn lacp_active_and_fast() {
    let head =
        "0101 0114 fffe e67a20624a43 0004 ffff 0004 77 000000 0214 0000000000000000000000000000 02 000000 0310 0000";
    let bytes = hex(&[head, &"00".repeat(64)].concat());
    assert_eq!(bytes.len(), lacp::LEN);
    use lacp::State as S;
    let state = S::ACTIVITY | S::TIMEOUT | S::AGGREGATION | S::COLLECTING | S::DISTRIBUTING | S::DEFAULTED;
    let actor = lacp::Info {
        system_priority: 0xfffe,
        system: address("e6:7a:20:62:4a:43"),
        key: 4,
        port_priority: 0xffff,
        port: 4,
        state,
    };
    let partner = lacp::Info { state: S::TIMEOUT, ..lacp::Info::default() };
    agrees(&bytes, lacp::Message::Lacp(lacp::Pdu { actor, partner, collector_max_delay: 0 }));
}

/// `rstp_enable=true` and `stp_enable=true`, each the root.
#[test]
fn bpdus() {
    let config = |address| stp::Config {
        root: stp::BridgeId::new(0x8000, address),
        bridge: stp::BridgeId::new(0x8000, address),
        port: 0x8001,
        max_age: stp::Ticks::from_secs(20),
        hello_time: stp::Ticks::from_secs(2),
        forward_delay: stp::Ticks::from_secs(15),
        ..stp::Config::default()
    };
    let rapid = hex("0000 02 02 3e 8000 06c2d7bcb54d 00000000 8000 06c2d7bcb54d 8001 0000 1400 0200 0f00 00");
    let flags = (stp::Flags::PROPOSAL | stp::Flags::LEARNING | stp::Flags::FORWARDING).with_role(stp::Role::Designated);
    agrees(&rapid, stp::Bpdu::Rapid(stp::Config { flags, ..config(address("06:c2:d7:bc:b5:4d")) }));
    let plain = hex("0000 00 00 00 8000 8e9255393044 00000000 8000 8e9255393044 8001 0000 1400 0200 0f00");
    agrees(&plain, stp::Bpdu::Config(config(address("8e:92:55:39:30:44"))));
}

const FRAME: &str = "50540000000a 505400000009 0800 4500001c00010000401176cc0101010101010102 03e8003500080000";

/// Behind UDP: VXLAN of key 123, and with the extension GPE of key 8.
#[test]
fn vxlan_of_both_kinds() {
    agrees(&hex(&["08000000 00007b00", FRAME].concat()), vxlan::Header { vni: 123, extension: vxlan::Extension::None });
    let extension = vxlan::Extension::Protocol { next: vxlan::NextProtocol::ETHERNET, oam: false };
    agrees(&hex(&["0c000003 00000800", FRAME].concat()), vxlan::Header { vni: 8, extension });
}

/// Behind UDP: Geneve with two mapped options that a flow had set.
#[test]
fn geneve_with_options() {
    let bytes = hex(&["0540 6558 004321 00 ffff 80 01 01020304 0102 03 02 1122334455667788", FRAME].concat());
    let option = |class, kind, data: &str| geneve::Opt { class, kind, data: hex(data).into_iter().collect() };
    let options = vec![option(0xffff, 0x80, "01020304"), option(0x0102, 3, "1122334455667788")];
    agrees(&bytes, geneve::Header { vni: 0x4321, options, ..geneve::Header::default() });
    assert!(geneve::View::new(&bytes).unwrap().critical());
    assert_eq!(geneve::View::new(&bytes).unwrap().payload(), hex(FRAME));
}

/// Behind IPv4: GRE with `csum=true seq=true`, whose checksum is right.
#[test]
fn gre_with_everything() {
    let bytes = hex(&["b000 6558 3bfe 0000 000001c8 00000000", FRAME].concat());
    let header = gre::Header { checksum: Some(0x3bfe), key: Some(456), sequence: Some(0), ..gre::Header::default() };
    agrees(&bytes, header);
    assert_eq!(gre::verify(&bytes).map(gre::View::payload), Ok(&hex(FRAME)[..]));
    let mut again = bytes.clone();
    gre::View::new_mut(&mut again).unwrap().fill_checksum();
    assert_eq!(again, bytes);
}

/// Behind IPv4: ERSPAN of version 1, index 3; and of version 2, leaving by device 7.
#[test]
fn erspan_of_both_versions() {
    for (bytes, header) in [
        ("1000 88be 00000000 1000 0005 00000003", erspan::Header::type_ii(5, 3)),
        ("1000 22eb 00000001 2000 0006 244cbec2 0000 0078", erspan::Header::type_iii(6, 7, true)),
    ] {
        let bytes = hex(&[bytes, FRAME].concat());
        let announced = gre::Header::parse(&bytes).unwrap();
        assert!(matches!(erspan::Type::of(&announced), Ok(erspan::Type::II | erspan::Type::III)));
        agrees(&bytes, header.gre(announced.sequence.unwrap()));
        let mut bytes = bytes[announced.len()..].to_vec();
        // When it was mirrored is not ours to foretell.
        erspan::View::new_mut(&mut bytes).unwrap().set_timestamp(0);
        agrees(&bytes, header);
        assert_eq!(erspan::View::new(&bytes).unwrap().payload(), hex(FRAME));
    }
}

/// Behind UDP: GTP-U in tunnel 7.
#[test]
fn gtpu_user_packet() {
    let packet = &FRAME[31..];
    let bytes = hex(&["30 ff 001c 00000007", packet].concat());
    agrees(&bytes, gtpu::Header::user(7, 28));
    assert_eq!(gtpu::View::new(&bytes).unwrap().payload(), Ok(&hex(packet)[..]));
}

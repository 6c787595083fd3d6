//! A second opinion on what `wire` emits: Wireshark's command line tool reads a capture of one frame of each kind and
//! has to find in it what was put there.
//!
//! It passes, and says so, where there is no tshark (Debian: `apt-get install tshark`).

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::time::Duration;

use ovs_packet::wire::{
    self, Wire, arp, bfd, cfm, erspan, geneve, gre, gtpu, icmpv6, igmp, lacp, lldp, mld, nd, nsh, srv6, stp, vxlan,
};
use ovs_packet::{EthAddr, checksum, pcap};

const SRC: EthAddr = EthAddr([2, 0, 0, 0, 0, 1]);
const DST: EthAddr = EthAddr([2, 0, 0, 0, 0, 2]);
const SRC4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const DST4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const SRC6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const DST6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

/// A frame, and the fields that tshark has to show of it.
type Case = (Vec<u8>, Vec<(&'static str, &'static str)>);

fn ethernet(eth_type: u16, payload: &[u8]) -> Vec<u8> {
    [&DST.0[..], &SRC.0, &eth_type.to_be_bytes(), payload].concat()
}

fn ipv4(proto: u8, payload: &[u8]) -> Vec<u8> {
    let len = (20 + payload.len()) as u16;
    let mut header =
        [&[0x45, 0][..], &len.to_be_bytes(), &[0, 1, 0, 0, 255, proto, 0, 0], &SRC4.octets(), &DST4.octets()].concat();
    let sum = checksum::checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    ethernet(0x0800, &[&header, payload].concat())
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let len = (8 + payload.len()) as u16;
    ipv4(17, &[&50_000u16.to_be_bytes()[..], &port.to_be_bytes(), &len.to_be_bytes(), &[0, 0], payload].concat())
}

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u16).to_be_bytes();
    ethernet(0x86dd, &[&[0x60, 0, 0, 0][..], &len, &[next, 255], &SRC6.octets(), &DST6.octets(), payload].concat())
}

fn icmp6(message: &impl Wire) -> Vec<u8> {
    let mut bytes = message.to_vec().unwrap();
    icmpv6::fill(&mut bytes, SRC6, DST6).unwrap();
    ipv6(icmpv6::PROTOCOL, &bytes)
}

/// What tunnels carry.
fn inner() -> Vec<u8> {
    arp::Message::request(SRC, SRC4, DST4).to_vec().map(|arp| ethernet(arp::ETH_TYPE, &arp)).unwrap()
}

fn behind(header: &impl Wire, payload: &[u8]) -> Vec<u8> {
    [header.to_vec().unwrap(), payload.to_vec()].concat()
}

fn control() -> Vec<Case> {
    let info = lacp::Info {
        system_priority: 0x8000,
        system: SRC,
        key: 7,
        port_priority: 255,
        port: 3,
        state: lacp::State::ACTIVITY | lacp::State::AGGREGATION,
    };
    let pdu = lacp::Pdu { actor: info, partner: lacp::Info { key: 9, ..info }, collector_max_delay: 11 };
    let marker = lacp::Marker { port: 5, system: SRC, transaction: 77, kind: lacp::MarkerKind::Information };
    let config = stp::Config {
        flags: (stp::Flags::FORWARDING | stp::Flags::LEARNING).with_role(stp::Role::Designated),
        root: stp::BridgeId::new(0x8000, SRC),
        root_path_cost: 20_000,
        bridge: stp::BridgeId::new(0x9000, DST),
        port: 0x8003,
        message_age: stp::Ticks::from_secs(1),
        max_age: stp::Ticks::from_secs(20),
        hello_time: stp::Ticks::from_secs(2),
        forward_delay: stp::Ticks::from_secs(15),
    };
    let ccm = cfm::Ccm {
        level: 3,
        rdi: true,
        sequence: 99,
        mpid: 42,
        tlvs: vec![cfm::Tlv { kind: cfm::TlvKind::PORT_STATUS, value: vec![2] }],
        ..cfm::Ccm::default()
    };
    let session = bfd::Control {
        state: bfd::State::Up,
        flags: bfd::Flags::POLL,
        diagnostic: bfd::Diagnostic::PATH_DOWN,
        my_discriminator: 0x01020304,
        your_discriminator: 5,
        auth: Some(bfd::Auth { kind: bfd::AuthKind::PASSWORD, key_id: 1, data: b"secret".to_vec() }),
        ..bfd::Control::default()
    };
    let station = lldp::Pdu {
        chassis_id_kind: lldp::ChassisIdKind::MAC_ADDRESS,
        chassis_id: SRC.0.to_vec(),
        port_id_kind: lldp::PortIdKind::INTERFACE_NAME,
        port_id: b"eth0".to_vec(),
        ttl: 120,
        port_description: b"uplink".to_vec(),
        system_name: b"br0".to_vec(),
        system_description: b"a switch".to_vec(),
        capabilities: Some((lldp::Capabilities::BRIDGE | lldp::Capabilities::ROUTER, lldp::Capabilities::BRIDGE)),
        management: vec![
            lldp::ManagementAddress::new(SRC4.into(), Some(6)),
            lldp::ManagementAddress::new(SRC6.into(), None),
        ],
        element: Some(lldp::aa::Element::new(lldp::aa::ElementKind::VIRTUAL_SWITCH, SRC)),
        ..lldp::Pdu::default()
    };
    vec![
        (
            wire::frame(lacp::DESTINATION, SRC, lacp::ETH_TYPE, &pdu).unwrap(),
            vec![
                ("lacp.actor.sys_priority", "32768"),
                ("lacp.actor.sysid", "02:00:00:00:00:01"),
                ("lacp.actor.key", "7"),
                ("lacp.actor.port_priority", "255"),
                ("lacp.actor.port", "3"),
                ("lacp.actor.state", "0x05"),
                ("lacp.partner.key", "9"),
                ("lacp.collector.max_delay", "11"),
                ("lacp.tlv_length", "0x14,0x14,0x10,0x00"),
            ],
        ),
        (
            wire::frame(lacp::DESTINATION, SRC, lacp::ETH_TYPE, &marker).unwrap(),
            vec![
                ("marker.requesterPort", "5"),
                ("marker.requesterSystem", "02:00:00:00:00:01"),
                ("marker.requesterTransId", "77"),
            ],
        ),
        (
            stp::Bpdu::Rapid(config).frame(SRC).unwrap(),
            vec![
                ("stp.version", "2"),
                ("stp.flags.port_role", "3"),
                ("stp.flags.learning", "1"),
                ("stp.flags.forwarding", "1"),
                ("stp.flags.proposal", "0"),
                ("stp.root.prio", "32768"),
                ("stp.root.hw", "02:00:00:00:00:01"),
                ("stp.root.cost", "20000"),
                ("stp.bridge.prio", "36864"),
                ("stp.bridge.hw", "02:00:00:00:00:02"),
                ("stp.port", "0x8003"),
                ("stp.msg_age", "1"),
                ("stp.max_age", "20"),
                ("stp.hello", "2"),
                ("stp.forward", "15"),
                ("stp.version_1_length", "0"),
            ],
        ),
        (
            stp::Bpdu::Config(stp::Config { flags: stp::Flags::TOPOLOGY_CHANGE_ACK, ..config }).frame(SRC).unwrap(),
            vec![
                ("stp.version", "0"),
                ("stp.type", "0x00"),
                ("stp.flags.tcack", "1"),
                ("stp.flags.tc", "0"),
                ("stp.root.cost", "20000"),
            ],
        ),
        (stp::Bpdu::TopologyChange.frame(SRC).unwrap(), vec![("stp.type", "0x80"), ("stp.version", "0")]),
        (
            wire::frame(cfm::DESTINATION, SRC, cfm::ETH_TYPE, &ccm).unwrap(),
            vec![
                ("cfm.md.level", "3"),
                ("cfm.opcode", "1"),
                ("cfm.flags.rdi", "1"),
                ("cfm.flags.interval", "4"),
                ("cfm.first.tlv.offset", "70"),
                ("cfm.ccm.seq.num", "99"),
                ("cfm.ccm.ma.ep.id", "42"),
                ("cfm.maid.md.name.string", "ovs"),
                ("cfm.maid.ma.name.string", "ovs"),
                ("cfm.tlv.port.status.value", "2"),
            ],
        ),
        (
            udp(bfd::UDP_PORT, &session.to_vec().unwrap()),
            vec![
                ("bfd.version", "1"),
                ("bfd.sta", "0x03"),
                ("bfd.diag", "0x05"),
                ("bfd.flags.p", "1"),
                ("bfd.flags.f", "0"),
                ("bfd.flags.a", "1"),
                ("bfd.detect_time_multiplier", "3"),
                ("bfd.message_length", "33"),
                ("bfd.my_discriminator", "0x01020304"),
                ("bfd.your_discriminator", "0x00000005"),
                ("bfd.desired_min_tx_interval", "1000000"),
                ("bfd.auth.password", "secret"),
            ],
        ),
        (
            wire::frame(lldp::DESTINATION, SRC, lldp::ETH_TYPE, &station).unwrap(),
            vec![
                ("lldp.chassis.id.mac", "02:00:00:00:00:01"),
                ("lldp.port.subtype", "5"),
                ("lldp.port.id", "eth0"),
                ("lldp.time_to_live", "120"),
                ("lldp.port.desc", "uplink"),
                ("lldp.tlv.system.name", "br0"),
                ("lldp.tlv.system.desc", "a switch"),
                ("lldp.tlv.system_cap", "0x0014"),
                ("lldp.tlv.enable_system_cap", "0x0004"),
                ("lldp.mgn.addr.ip4", "10.0.0.1"),
                ("lldp.mgn.addr.ip6", "fe80::1"),
                ("lldp.mgn.interface.number", "6,0"),
                ("lldp.tlv.type", "1,2,3,4,5,6,7,8,8,127,0"),
            ],
        ),
        (
            inner(),
            vec![
                ("arp.opcode", "1"),
                ("arp.src.hw_mac", "02:00:00:00:00:01"),
                ("arp.src.proto_ipv4", "10.0.0.1"),
                ("arp.dst.proto_ipv4", "10.0.0.2"),
            ],
        ),
    ]
}

fn membership() -> Vec<Case> {
    let group4 = Ipv4Addr::new(225, 1, 2, 3);
    let group6: Ipv6Addr = "ff05::5".parse().unwrap();
    let kind = wire::group::RecordKind::TO_EXCLUDE;
    let report4 = igmp::Message::ReportV3(vec![
        igmp::Record { kind, group: group4, sources: vec![SRC4, DST4], auxiliary: vec![1, 2, 3, 4] },
        igmp::Record { kind: wire::group::RecordKind::BLOCK, group: group4, sources: vec![], auxiliary: vec![] },
    ]);
    let query4 = igmp::QueryV3 { suppress: true, sources: vec![SRC4], ..igmp::QueryV3::default() };
    let query6 = mld::QueryV2 { suppress: true, sources: vec![SRC6], ..mld::QueryV2::default() };
    let report6 =
        mld::Message::ReportV2(vec![mld::Record { kind, group: group6, sources: vec![SRC6], auxiliary: vec![] }]);
    let right = ("igmp.checksum.status", "1");
    let right6 = ("icmpv6.checksum.status", "1");
    vec![
        (
            ipv4(2, &igmp::Message::Query { max_response: 100, group: group4 }.to_vec().unwrap()),
            vec![
                ("igmp.version", "2"),
                ("igmp.type", "0x11"),
                ("igmp.max_resp", "100"),
                ("igmp.maddr", "225.1.2.3"),
                right,
            ],
        ),
        (
            ipv4(2, &igmp::Message::ReportV1(group4).to_vec().unwrap()),
            vec![("igmp.type", "0x12"), ("igmp.maddr", "225.1.2.3"), right],
        ),
        (ipv4(2, &igmp::Message::Leave(group4).to_vec().unwrap()), vec![("igmp.type", "0x17"), right]),
        (
            ipv4(2, &igmp::Message::QueryV3 { max_response: 50, group: group4, query: query4 }.to_vec().unwrap()),
            vec![
                ("igmp.version", "3"),
                ("igmp.s", "1"),
                ("igmp.qrv", "2"),
                ("igmp.qqic", "125"),
                ("igmp.num_src", "1"),
                ("igmp.saddr", "10.0.0.1"),
                right,
            ],
        ),
        (
            ipv4(2, &report4.to_vec().unwrap()),
            vec![
                ("igmp.num_grp_recs", "2"),
                ("igmp.record_type", "4,6"),
                ("igmp.num_src", "2,0"),
                ("igmp.saddr", "10.0.0.1,10.0.0.2"),
                ("igmp.aux_data_len", "1,0"),
                ("igmp.maddr", "225.1.2.3,225.1.2.3"),
                right,
            ],
        ),
        (
            icmp6(&mld::Message::Done(group6)),
            vec![("icmpv6.type", "132"), ("icmpv6.mld.multicast_address", "ff05::5"), right6],
        ),
        (
            icmp6(&mld::Message::QueryV2 { max_response: 1000, group: group6, query: query6 }),
            vec![
                ("icmpv6.mld.maximum_response_code", "1000"),
                ("icmpv6.mld.flag.s", "1"),
                ("icmpv6.mld.flag.qrv", "2"),
                ("icmpv6.mld.qqi", "125"),
                ("icmpv6.mld.source_address", "fe80::1"),
                right6,
            ],
        ),
        (
            icmp6(&report6),
            vec![
                ("icmpv6.mldr.nb_mcast_records", "1"),
                ("icmpv6.mldr.mar.record_type", "4"),
                ("icmpv6.mldr.mar.multicast_address", "ff05::5"),
                ("icmpv6.mldr.mar.source_address", "fe80::1"),
                right6,
            ],
        ),
    ]
}

fn neighbours() -> Vec<Case> {
    let source = nd::NdOption::SourceLinkLayer(SRC);
    let advertisement = nd::Message::RouterAdvertisement {
        hop_limit: 64,
        flags: nd::RouterFlags::MANAGED,
        lifetime: 1800,
        reachable: 30_000,
        retransmit: 1000,
        options: vec![
            source.clone(),
            nd::NdOption::Mtu(1400),
            nd::NdOption::Prefix {
                length: 64,
                flags: nd::PrefixFlags::AUTONOMOUS,
                valid: 7200,
                preferred: 3600,
                prefix: "2001:db8::".parse().unwrap(),
            },
        ],
    };
    let flags = nd::NeighborFlags::ROUTER | nd::NeighborFlags::OVERRIDE;
    let answer =
        nd::Message::NeighborAdvertisement { flags, target: DST6, options: vec![nd::NdOption::TargetLinkLayer(DST)] };
    let redirected = vec![nd::NdOption::Redirected([&ipv6(59, &[])[14..]].concat())];
    let right = ("icmpv6.checksum.status", "1");
    vec![
        (
            icmp6(&nd::Message::NeighborSolicitation { target: DST6, options: vec![source] }),
            vec![("icmpv6.nd.ns.target_address", "fe80::2"), ("icmpv6.opt.linkaddr", "02:00:00:00:00:01"), right],
        ),
        (
            icmp6(&answer),
            vec![
                ("icmpv6.nd.na.target_address", "fe80::2"),
                ("icmpv6.nd.na.flag.r", "1"),
                ("icmpv6.nd.na.flag.s", "0"),
                ("icmpv6.nd.na.flag.o", "1"),
                ("icmpv6.opt.target_linkaddr", "02:00:00:00:00:02"),
                right,
            ],
        ),
        (
            icmp6(&advertisement),
            vec![
                ("icmpv6.nd.ra.cur_hop_limit", "64"),
                ("icmpv6.nd.ra.flag.m", "1"),
                ("icmpv6.nd.ra.flag.o", "0"),
                ("icmpv6.nd.ra.router_lifetime", "1800"),
                ("icmpv6.nd.ra.reachable_time", "30000"),
                ("icmpv6.nd.ra.retrans_timer", "1000"),
                ("icmpv6.opt.type", "1,5,3"),
                ("icmpv6.opt.mtu", "1400"),
                ("icmpv6.opt.prefix", "2001:db8::"),
                ("icmpv6.opt.prefix.flag.l", "0"),
                ("icmpv6.opt.prefix.flag.a", "1"),
                ("icmpv6.opt.prefix.valid_lifetime", "7200"),
                right,
            ],
        ),
        (
            icmp6(&nd::Message::Redirect { target: DST6, destination: SRC6, options: redirected }),
            vec![
                ("icmpv6.type", "137"),
                ("icmpv6.nd.rd.target_address", "fe80::2"),
                ("icmpv6.rd.na.destination_address", "fe80::1"),
                ("icmpv6.opt.type", "4"),
            ],
        ),
        (icmp6(&nd::Message::RouterSolicitation { options: vec![] }), vec![("icmpv6.type", "133"), right]),
    ]
}

fn tunnels() -> Vec<Case> {
    let option = |kind, data: &[u8]| geneve::Opt { class: 0x0102, kind, data: data.iter().copied().collect() };
    let network = geneve::Header {
        vni: 0x0a0b0c,
        oam: true,
        options: vec![option(0x83, &[1, 2, 3, 4]), option(5, &[])],
        ..geneve::Header::default()
    };
    let policy = vxlan::Extension::Policy { id: 300, dont_learn: true, applied: false };
    let next = vxlan::Extension::Protocol { next: vxlan::NextProtocol::ETHERNET, oam: false };
    let gre = gre::Header { checksum: Some(0), key: Some(0x01020304), sequence: Some(9), ..gre::Header::default() };
    let mut gre = behind(&gre, &inner());
    gre::View::new_mut(&mut gre).unwrap().fill_checksum();
    let ii = erspan::Header { vlan: 100, class: 3, truncated: true, ..erspan::Header::type_ii(500, 0xabcde) };
    let iii = erspan::Header::type_iii(700, 33, true);
    let inner_ip = [&ipv4(6, &[])[14..]].concat();
    let session = gtpu::Extension { kind: gtpu::ExtensionType::PDU_SESSION, content: vec![0x10, 9] };
    let user = gtpu::Header { sequence: Some(0x0506), extensions: vec![session], ..gtpu::Header::user(0x01020304, 20) };
    let path = [DST6, "fc00::1".parse().unwrap()];
    let pad = srv6::Tlv { kind: srv6::TlvKind::PADN, value: vec![0; 6] };
    let route = srv6::Header { tag: 0x55, tlvs: vec![pad], ..srv6::Header::of_path(srv6::NEXT_IPV4, &path) };
    let context = nsh::Context { class: 0x0102, kind: 3, data: vec![7; 5] };
    let chain = nsh::Header { metadata: nsh::Metadata::Fixed([1, 2, 3, 4]), ..nsh::Header::of_path(0x010203) };
    let variable = nsh::Header { ttl: 7, metadata: nsh::Metadata::Variable(vec![context]), ..chain.clone() };
    // The frame inside was found, at its right place.
    let found = ("arp.opcode", "1");
    vec![
        (
            udp(geneve::UDP_PORT, &behind(&network, &inner())),
            vec![
                ("geneve.vni", "0x0a0b0c"),
                ("geneve.flags.oam", "1"),
                ("geneve.flags.critical", "1"),
                ("geneve.proto_type", "0x6558"),
                ("geneve.option.class", "0x0102,0x0102"),
                ("geneve.option.type", "0x83,0x05"),
                ("geneve.option.length", "12,8,4"),
                found,
            ],
        ),
        (
            udp(vxlan::UDP_PORT, &behind(&vxlan::Header { vni: 99, extension: vxlan::Extension::None }, &inner())),
            vec![("vxlan.vni", "99"), ("vxlan.flag_i", "1"), ("vxlan.flag_g", "0"), found],
        ),
        (
            udp(vxlan::UDP_PORT, &behind(&vxlan::Header { vni: 99, extension: policy }, &inner())),
            vec![("vxlan.flag_g", "1"), ("vxlan.flag_d", "1"), ("vxlan.flag_a", "0"), ("vxlan.gbp", "300"), found],
        ),
        (
            udp(vxlan::UDP_PORT_GPE, &behind(&vxlan::Header { vni: 99, extension: next }, &inner())),
            vec![("vxlan.vni", "99"), ("vxlan.p_bit", "1"), ("vxlan.o_bit", "0"), ("vxlan.next_proto", "3"), found],
        ),
        (
            ipv4(gre::PROTOCOL, &gre),
            vec![
                ("gre.proto", "0x6558"),
                ("gre.checksum.status", "1"),
                ("gre.key", "0x01020304"),
                ("gre.sequence_number", "9"),
                found,
            ],
        ),
        (
            ipv4(gre::PROTOCOL, &behind(&ii.gre(4), &behind(&ii, &inner()))),
            vec![
                ("erspan.version", "1"),
                ("erspan.vlan", "100"),
                ("erspan.cos", "3"),
                ("erspan.truncated", "1"),
                ("erspan.spanid", "500"),
                ("erspan.index", "703710"),
                found,
            ],
        ),
        (
            ipv4(gre::PROTOCOL, &behind(&iii.gre(4), &behind(&iii, &inner()))),
            vec![
                ("erspan.version", "2"),
                ("erspan.spanid", "700"),
                ("erspan.hw", "33"),
                ("erspan.direction", "1"),
                ("erspan.o", "0"),
            ],
        ),
        (
            udp(gtpu::UDP_PORT, &behind(&user, &inner_ip)),
            vec![
                ("gtp.message", "0xff"),
                ("gtp.teid", "0x01020304"),
                ("gtp.length", "28"),
                ("gtp.flags.e", "1"),
                ("gtp.flags.s", "1"),
                ("gtp.flags.pn", "0"),
                ("gtp.ext_hdr.pdu_ses_con.qos_flow_id", "9"),
            ],
        ),
        (
            ipv6(srv6::PROTOCOL, &behind(&route, &inner_ip)),
            vec![
                ("ipv6.routing.type", "4"),
                ("ipv6.routing.segleft", "1"),
                ("ipv6.routing.srh.last_entry", "1"),
                ("ipv6.routing.srh.tag", "0055"),
                ("ipv6.routing.srh.addr", "fc00::1,fe80::2"),
            ],
        ),
        (
            ethernet(nsh::ETH_TYPE, &behind(&chain, &inner())),
            vec![
                ("nsh.ttl", "0x003f"),
                ("nsh.length", "6"),
                ("nsh.mdtype", "1"),
                ("nsh.nextproto", "3"),
                ("nsh.spi", "66051"),
                ("nsh.si", "255"),
                found,
            ],
        ),
        (
            ethernet(nsh::ETH_TYPE, &behind(&variable, &inner())),
            vec![
                ("nsh.ttl", "0x0007"),
                ("nsh.mdtype", "2"),
                ("nsh.metadataclass", "258"),
                ("nsh.metadatatype", "3"),
                ("nsh.metadatalen", "0x05"),
                found,
            ],
        ),
    ]
}

#[test]
fn tshark_reads_what_was_written() {
    let cases = [control(), membership(), neighbours(), tunnels()].concat();
    let fields: BTreeSet<&str> = cases.iter().flat_map(|(_, fields)| fields.iter().map(|(name, _)| *name)).collect();
    let file = std::env::temp_dir().join(format!("ovs-packet-wire-{}.pcap", std::process::id()));
    let mut writer = pcap::Writer::new(std::fs::File::create(&file).unwrap()).unwrap();
    for (i, (frame, _)) in cases.iter().enumerate() {
        writer.write(Duration::from_millis(i as u64), frame).unwrap();
    }
    drop(writer);

    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields", "-E", "occurrence=a", "-E", "separator=/t", "-r"]).arg(&file);
    command.args(["-e", "_ws.malformed"]);
    command.args(fields.iter().flat_map(|field| ["-e", field]));
    let output = command.output();
    let _ = std::fs::remove_file(&file);
    let output = match output {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            println!("skipped: no tshark here");
            return;
        }
        output => output.unwrap(),
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<&str> = text.lines().collect();
    assert_eq!(rows.len(), cases.len(), "{text}");
    let mut differences = String::new();
    for (i, ((_, expected), row)) in cases.iter().zip(rows).enumerate() {
        let mut columns = row.split('\t');
        if columns.next() != Some("") {
            differences += &format!("frame {i} is malformed\n");
        }
        let shown: Vec<(&str, &str)> = fields.iter().copied().zip(columns).collect();
        for (name, value) in expected {
            let found = shown.iter().find(|(n, _)| n == name).map(|(_, v)| *v).unwrap_or_default();
            if found != *value {
                differences += &format!("frame {i}: {name} is {found:?} and should be {value:?}\n");
            }
        }
    }
    assert!(differences.is_empty(), "\n{differences}");
}

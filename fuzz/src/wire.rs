//! Messages of control protocols and headers of tunnels, as views and as values.
//!
//! All bodies hold one law: what parses is emitted, what is emitted parses to the same, and emitting again gives the
//! same bytes. A view of the input that was patched is a view still.

use std::fmt::{Debug, Display};

use ovs_packet::wire::{
    self, Wire, arp, bareudp, bfd, cfm, erspan, geneve, gre, gtpu, icmpv6, igmp, lacp, lldp, mld, nd, nsh, srv6, stp,
    vxlan,
};
use ovs_packet::{EthAddr, checksum};

/// Parses, and if that goes well, emits and parses again.
fn law<V: Wire + PartialEq + Debug + Display>(data: &[u8]) -> Option<V> {
    let value = match V::parse(data) {
        Ok(value) => value,
        Err(e) => {
            assert!(e.at as usize <= data.len() && !e.to_string().is_empty(), "{e} in {} bytes", data.len());
            return None;
        }
    };
    let bytes = value.to_vec().unwrap_or_else(|e| panic!("{value:?}: {e}"));
    assert_eq!(bytes.len(), value.len());
    // What may be left out, a length or an end, is a byte for each part at most.
    assert!(bytes.len() <= 2 * data.len() + 1, "{} bytes of {}", bytes.len(), data.len());
    let again = V::parse(&bytes).unwrap_or_else(|e| panic!("{value:?}: {e}"));
    assert_eq!(again, value);
    assert_eq!(again.to_vec().as_ref(), Ok(&bytes));
    assert!(!value.to_string().is_empty());
    Some(value)
}

/// LLDP: every TLV that a view gives is within the message, and nothing but the time changes when it is patched.
pub fn wire_lldp(data: &[u8]) {
    let Some(pdu) = law::<lldp::Pdu>(data) else { return };
    let mut bytes = data.to_vec();
    let view = lldp::View::new_mut(&mut bytes).expect("it parsed");
    assert!(view.tlvs().count() <= data.len() / 2);
    view.set_ttl(!pdu.ttl);
    assert_eq!(lldp::Pdu::parse(&bytes), Ok(lldp::Pdu { ttl: !pdu.ttl, ..pdu }));
}

/// LACP and markers: either is 110 bytes.
pub fn wire_lacp(data: &[u8]) {
    if law::<lacp::Message>(data).is_some() {
        assert!(data.len() >= lacp::LEN);
    }
    if let Ok(view) = lacp::View::new_mut(&mut data.to_vec()) {
        view.actor.set_state(!view.partner.state());
    }
}

/// BPDUs, also behind LLC.
pub fn wire_stp(data: &[u8]) {
    let bpdu = law::<stp::Bpdu>(data);
    assert_eq!(stp::Bpdu::parse_llc(&[&stp::LLC, data].concat()).ok(), bpdu);
    let mut bytes = data.to_vec();
    if let Ok(view) = stp::View::new_mut(&mut bytes) {
        if let Some(config) = view.config_mut() {
            config.set_flags(stp::Flags::all());
            config.message_age.set(u16::MAX);
        }
        assert_eq!(stp::Bpdu::parse(&bytes).is_ok(), bpdu.is_some());
    }
}

/// Continuity check messages.
pub fn wire_cfm(data: &[u8]) {
    let Some(ccm) = law::<cfm::Ccm>(data) else { return };
    let mut bytes = data.to_vec();
    let view = cfm::View::new_mut(&mut bytes).expect("it parsed");
    view.set_rdi(!ccm.rdi);
    assert_eq!(cfm::Ccm::parse(&bytes), Ok(cfm::Ccm { rdi: !ccm.rdi, ..ccm }));
}

/// BFD control packets.
pub fn wire_bfd(data: &[u8]) {
    let Some(packet) = law::<bfd::Control>(data) else { return };
    assert!(packet.detect_mult != 0 && packet.my_discriminator != 0);
    let mut bytes = data.to_vec();
    let flags = packet.flags.symmetric_difference(bfd::Flags::POLL | bfd::Flags::FINAL);
    bfd::View::new_mut(&mut bytes).expect("it parsed").set_flags(flags);
    assert_eq!(bfd::Control::parse(&bytes), Ok(bfd::Control { flags, ..packet }));
}

/// IGMP, its checksum made right first, and MLD.
pub fn wire_membership(data: &[u8]) {
    let mut bytes = data.to_vec();
    if let Some([_, _, high, low, ..]) = bytes.first_chunk_mut::<4>() {
        (*high, *low) = (0, 0);
    }
    let sum = checksum::checksum(&bytes);
    if let Some(at) = bytes.get_mut(2..4) {
        at.copy_from_slice(&sum.to_be_bytes());
    }
    law::<igmp::Message>(&bytes);
    law::<igmp::Message>(data);
    law::<mld::Message>(data);
    if let Ok(view) = igmp::View::new_mut(&mut bytes) {
        view.set_group([225, 0, 0, 1].into());
        view.fill_checksum();
        igmp::View::new(&bytes).expect("it was one");
    }
}

/// ARP and neighbour discovery.
pub fn wire_neighbour(data: &[u8]) {
    law::<arp::Message>(data);
    law::<nd::Message>(data);
    let mut bytes = data.to_vec();
    if let Ok(view) = nd::View::new_mut(&mut bytes) {
        for kind in [nd::OptionKind::SOURCE_LINK_LAYER, nd::OptionKind::TARGET_LINK_LAYER, nd::OptionKind::MTU] {
            if let Some(address) = view.link_layer_mut(kind) {
                *address = EthAddr::BROADCAST;
            }
        }
        view.set_target([5; 16].into());
        let (src, dst) = ([1; 16].into(), [2; 16].into());
        icmpv6::fill(&mut bytes, src, dst).expect("it has a header");
        assert!(icmpv6::is_right(&bytes, src, dst) && nd::View::new(&bytes).is_ok());
    }
}

/// Headers of tunnels; the first byte says which. The payload is what is behind the header.
pub fn wire_tunnel(data: &[u8]) {
    let Some((which, data)) = data.split_first() else { return };
    let mut bytes = data.to_vec();
    match which % 8 {
        0 => {
            let Some(header) = law::<geneve::Header>(data) else { return };
            let view = geneve::View::new_mut(&mut bytes).expect("it parsed");
            view.set_vni(!header.vni);
            assert_eq!((view.header_len(), view.payload()), (header.len(), &data[header.len()..]));
        }
        1 => {
            let Some(header) = law::<vxlan::Header>(data) else { return };
            let view = vxlan::View::new_mut(&mut bytes).expect("it parsed");
            view.set_extension(view.extension());
            assert_eq!(vxlan::Header::parse(&bytes), Ok(header));
        }
        2 => {
            let Some(header) = law::<gre::Header>(data) else { return };
            let view = gre::View::new_mut(&mut bytes).expect("it parsed");
            view.fill_checksum();
            assert!(view.checksum_is_right());
            assert_eq!(gre::verify(&bytes).map(gre::View::payload), Ok(&data[header.len()..]));
            let _ = erspan::Type::of(&header);
        }
        3 => {
            let Some(header) = law::<erspan::Header>(data) else { return };
            let view = erspan::View::new_mut(&mut bytes).expect("it parsed");
            view.set_timestamp(7);
            assert_eq!((view.header_len(), view.payload()), (header.len(), &data[header.len()..]));
        }
        4 => {
            let Some(header) = law::<gtpu::Header>(data) else { return };
            let view = gtpu::View::new_mut(&mut bytes).expect("it parsed");
            if let Ok(payload) = view.payload() {
                assert_eq!(payload.len(), usize::from(header.payload_len));
            }
            let _ = view.set_payload_len(header.payload_len / 2);
            gtpu::View::new(&bytes).expect("it was one");
        }
        5 => {
            let Some(header) = law::<srv6::Header>(data) else { return };
            let view = srv6::View::new_mut(&mut bytes).expect("it parsed");
            assert_eq!((view.header_len(), view.payload()), (header.len(), &data[header.len()..]));
            let visited = std::iter::from_fn(|| view.advance()).count();
            assert_eq!((visited, view.segments_left()), (usize::from(header.segments_left), 0));
        }
        6 => {
            let Some(header) = law::<nsh::Header>(data) else { return };
            let view = nsh::View::new_mut(&mut bytes).expect("it parsed");
            view.set_ttl(header.ttl.wrapping_sub(1));
            view.set_path(!header.path);
            assert_eq!((view.header_len(), view.payload()), (header.len(), &data[header.len()..]));
            nsh::View::new(&bytes).expect("it was one");
        }
        _ => {
            for multiprotocol in [false, true] {
                let mode = bareudp::Mode { eth_type: 0x0800, multiprotocol };
                let found = mode.eth_type(data, [10, 0, 0, 1].into());
                assert!(found.is_err() || found.is_ok_and(|eth_type| mode.carries(eth_type)));
            }
        }
    }
}

/// An input: target, name, bytes.
pub type Seed = (&'static str, &'static str, Vec<u8>);

/// Inputs for these targets, one of each kind of message and more of those with lists.
pub fn wire_seeds() -> Result<Vec<Seed>, wire::Error> {
    let (a, b) = (EthAddr::local(1), EthAddr::local(2));
    let (v4, v6) = ([10, 0, 0, 1].into(), [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1].into());
    let station = lldp::Pdu {
        chassis_id_kind: lldp::ChassisIdKind::MAC_ADDRESS,
        chassis_id: a.0.to_vec(),
        port_id_kind: lldp::PortIdKind::INTERFACE_NAME,
        port_id: b"p1".to_vec(),
        ttl: 120,
        ..lldp::Pdu::default()
    };
    let assignment = lldp::aa::Assignment { status: 1, vlan: 5, isid: 0x010203 };
    let all = lldp::Pdu {
        system_name: b"br0".to_vec(),
        capabilities: Some((lldp::Capabilities::BRIDGE, lldp::Capabilities::BRIDGE)),
        management: vec![lldp::ManagementAddress::new(std::net::IpAddr::V4(v4), Some(3))],
        element: Some(lldp::aa::Element::new(lldp::aa::ElementKind::VIRTUAL_SWITCH, a)),
        assignments: vec![lldp::aa::Assignments { digest: [0; 32], list: vec![assignment; 3] }],
        organizations: vec![lldp::Organization { oui: [0, 0x80, 0xc2], kind: 1, info: vec![0, 5] }],
        others: vec![(9, vec![1])],
        ..station.clone()
    };
    let info = lacp::Info { system: a, key: 1, port: 2, ..lacp::Info::default() };
    let config = stp::Config { root: stp::BridgeId::new(0x8000, a), ..stp::Config::default() };
    let tlv = cfm::Tlv { kind: cfm::TlvKind::PORT_STATUS, value: vec![2] };
    let auth = bfd::Auth { kind: bfd::AuthKind::PASSWORD, key_id: 1, data: b"secret".to_vec() };
    let kind = wire::group::RecordKind::ALLOW;
    let record4 = igmp::Record { kind, group: v4, sources: vec![v4], auxiliary: vec![0; 4] };
    let record6 = mld::Record { kind, group: v6, sources: vec![v6], auxiliary: vec![] };
    let query4 = igmp::QueryV3 { sources: vec![v4], ..igmp::QueryV3::default() };
    let query6 = mld::QueryV2 { sources: vec![v6], ..mld::QueryV2::default() };
    let prefix = nd::NdOption::Prefix { length: 64, flags: nd::PrefixFlags::all(), valid: 1, preferred: 1, prefix: v6 };
    let advertisement = nd::Message::RouterAdvertisement {
        hop_limit: 64,
        flags: nd::RouterFlags::MANAGED,
        lifetime: 9,
        reachable: 0,
        retransmit: 0,
        options: vec![prefix, nd::NdOption::Mtu(1500), nd::NdOption::SourceLinkLayer(a)],
    };
    let redirect =
        nd::Message::Redirect { target: v6, destination: v6, options: vec![nd::NdOption::Redirected(vec![6; 8])] };
    let option = geneve::Opt { class: 1, kind: 0x82, data: [1, 2, 3, 4].into_iter().collect() };
    let options = vec![option.clone(), option];
    let extension = gtpu::Extension { kind: gtpu::ExtensionType::PDU_SESSION, content: vec![0x10, 9] };
    let user = gtpu::Header { sequence: Some(1), extensions: vec![extension], ..gtpu::Header::user(5, 4) };
    let pad = srv6::Tlv { kind: srv6::TlvKind::PADN, value: vec![0; 6] };
    let context = nsh::Context { class: 1, kind: 2, data: vec![3; 5] };
    let policy = vxlan::Extension::Policy { id: 5, dont_learn: true, applied: true };
    let protocol = vxlan::Extension::Protocol { next: vxlan::NextProtocol::NSH, oam: false };

    let mut tunnels = vec![
        (0, "geneve", geneve::Header { vni: 5, options, ..geneve::Header::default() }.to_vec()?),
        (1, "vxlan", vxlan::Header { vni: 5, extension: vxlan::Extension::None }.to_vec()?),
        (1, "vxlan-gbp", vxlan::Header { vni: 5, extension: policy }.to_vec()?),
        (1, "vxlan-gpe", vxlan::Header { vni: 5, extension: protocol }.to_vec()?),
        (
            2,
            "gre",
            gre::Header { checksum: Some(1), key: Some(2), sequence: Some(3), ..gre::Header::default() }.to_vec()?,
        ),
        (2, "gre-erspan", erspan::Header::type_ii(1, 2).gre(3).to_vec()?),
        (3, "erspan-ii", erspan::Header::type_ii(1, 2).to_vec()?),
        (3, "erspan-iii", erspan::Header::type_iii(1, 2, true).to_vec()?),
        (4, "gtpu", user.to_vec()?),
        (5, "srv6", srv6::Header { tlvs: vec![pad], ..srv6::Header::of_path(41, &[v6, v6]) }.to_vec()?),
        (6, "nsh-1", nsh::Header::of_path(5).to_vec()?),
        (
            6,
            "nsh-2",
            nsh::Header { metadata: nsh::Metadata::Variable(vec![context]), ..nsh::Header::of_path(5) }.to_vec()?,
        ),
        (7, "bareudp", vec![0x45]),
    ];
    for (which, _, bytes) in &mut tunnels {
        bytes.insert(0, *which);
        bytes.extend(b"payload");
    }
    let mut seeds = vec![
        ("wire_lldp", "least", station.to_vec()?),
        ("wire_lldp", "all", all.to_vec()?),
        ("wire_lacp", "pdu", lacp::Pdu { actor: info, partner: info, collector_max_delay: 1 }.to_vec()?),
        (
            "wire_lacp",
            "marker",
            lacp::Marker { port: 1, system: a, transaction: 2, ..lacp::Marker::default() }.to_vec()?,
        ),
        ("wire_stp", "config", stp::Bpdu::Config(config).to_vec()?),
        ("wire_stp", "tcn", stp::Bpdu::TopologyChange.to_vec()?),
        ("wire_stp", "rapid", stp::Bpdu::Rapid(config).to_vec()?),
        ("wire_cfm", "plain", cfm::Ccm::default().to_vec()?),
        ("wire_cfm", "tlvs", cfm::Ccm { tlvs: vec![tlv.clone(), tlv], ..cfm::Ccm::default() }.to_vec()?),
        ("wire_bfd", "plain", bfd::Control::default().to_vec()?),
        ("wire_bfd", "auth", bfd::Control { auth: Some(auth), ..bfd::Control::default() }.to_vec()?),
        ("wire_membership", "igmp-query", igmp::Message::Query { max_response: 9, group: v4 }.to_vec()?),
        (
            "wire_membership",
            "igmp-query-3",
            igmp::Message::QueryV3 { max_response: 9, group: v4, query: query4 }.to_vec()?,
        ),
        ("wire_membership", "igmp-leave", igmp::Message::Leave(v4).to_vec()?),
        ("wire_membership", "igmp-report-3", igmp::Message::ReportV3(vec![record4.clone(), record4]).to_vec()?),
        (
            "wire_membership",
            "mld-query-2",
            mld::Message::QueryV2 { max_response: 9, group: v6, query: query6 }.to_vec()?,
        ),
        ("wire_membership", "mld-done", mld::Message::Done(v6).to_vec()?),
        ("wire_membership", "mld-report-2", mld::Message::ReportV2(vec![record6.clone(), record6]).to_vec()?),
        ("wire_neighbour", "arp", arp::Message::request(a, v4, v4).reply(b).to_vec()?),
        ("wire_neighbour", "router", advertisement.to_vec()?),
        ("wire_neighbour", "redirect", redirect.to_vec()?),
    ];
    seeds.extend(tunnels.into_iter().map(|(_, name, bytes)| ("wire_tunnel", name, bytes)));
    Ok(seeds)
}

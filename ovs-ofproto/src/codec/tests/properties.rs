//! Properties that are carried: what each is on the wire, that it survives, and that a switch is told to refuse it.

use ovs_packet::OfPort;

use crate::codec::*;

/// A message whose one structure ends with a property: its bytes.
fn bytes_with(message: &Message, version: Version, property: &[u8]) -> Vec<u8> {
    let bytes = message.encode(version, 7).unwrap();
    assert!(bytes.ends_with(property), "{property:02x?} is not the end of {bytes:02x?}");
    assert_eq!(Message::decode(&bytes).unwrap().1, *message);
    bytes
}

fn words(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_be_bytes()).collect()
}

#[test]
fn the_properties_of_a_port_are_typed() {
    let with = |property| {
        let port = Port { number: OfPort(3), properties: vec![property], ..Port::default() };
        Message::PortDescReply(Page { more: false, items: vec![port] })
    };
    let optical = OpticalPort {
        supported: 9,
        tx_min_freq_lmda: 1,
        tx_max_freq_lmda: 2,
        tx_grid_freq_lmda: 3,
        rx_min_freq_lmda: 4,
        rx_max_freq_lmda: 5,
        rx_grid_freq_lmda: 6,
        tx_pwr_min: 7,
        tx_pwr_max: 8,
    };
    let wire = words(&[1 << 16 | 40, 0, 9, 1, 2, 3, 4, 5, 6, 7 << 16 | 8]);
    bytes_with(&with(PortProperty::Optical(optical)), Version::V1_4, &wire);
    let metadata = FieldHeader { class: 0x8000, field: 2, masked: true, length: 16, experimenter: None };
    let other = FieldHeader { class: 0xffff, field: 5, masked: false, length: 8, experimenter: Some(0xabcd) };
    let wire = words(&[2 << 16 | 16, 0x8000_0510, 0xffff_0a08, 0xabcd]);
    bytes_with(&with(PortProperty::PipelineInput(vec![metadata, other])), Version::V1_5, &wire);
    let wire = words(&[3 << 16 | 8, 0x8000_0510]);
    bytes_with(&with(PortProperty::PipelineOutput(vec![metadata])), Version::V1_5, &wire);
    let wire = words(&[4 << 16 | 12, 1, 2, 0]);
    bytes_with(&with(PortProperty::Recirculate(vec![OfPort(1), OfPort(2)])), Version::V1_5, &wire);
    let other = RawProperty::experimenter(0xabcd, 4, vec![1, 2, 3]);
    let wire = words(&[0xffff << 16 | 15, 0xabcd, 4, 0x0102_0300]);
    bytes_with(&with(PortProperty::Other(other)), Version::V1_5, &wire);
}

#[test]
fn a_change_of_an_optical_port_is_carried_and_refused_by_who_has_none() {
    let optical = OpticalPortMod { configure: 4, freq_lmda: 1, fl_offset: 2, grid_span: 3, tx_pwr: 5 };
    let properties = vec![PortModProperty::Optical(optical)];
    let message = Message::PortMod(PortMod { advertise: 1, properties, ..PortMod::default() });
    bytes_with(&message, Version::V1_4, &words(&[1 << 16 | 24, 4, 1, 2, 3, 5]));
    assert_eq!(message.not_understood(), Some(OfError::BadPropertyBadType));
    let other = PortModProperty::Other(RawProperty::experimenter(1, 2, vec![]));
    let message = Message::PortMod(PortMod { properties: vec![other], ..PortMod::default() });
    bytes_with(&message, Version::V1_5, &words(&[0xffff << 16 | 12, 1, 2, 0]));
    assert_eq!(message.not_understood(), Some(OfError::BadPropertyBadExperimenterType));
    assert_eq!(Message::PortMod(PortMod::default()).not_understood(), None);
}

#[test]
fn what_optical_ports_send_is_typed() {
    let optical = OpticalPortStats { flags: 3, tx_freq_lmda: 1, tx_pwr: 2, temperature: 9, ..Default::default() };
    let stats = PortStats {
        duration: Some((1, 2)),
        properties: vec![PortStatsProperty::Optical(optical)],
        ..PortStats::default()
    };
    let message = Message::PortStatsReply(Page { more: false, items: vec![stats] });
    let wire = words(&[1 << 16 | 44, 0, 3, 1, 0, 0, 0, 0, 0, 2 << 16, 9, 0]);
    bytes_with(&message, Version::V1_4, &wire);
}

#[test]
fn a_property_of_a_wrong_length_is_an_error() {
    let port = Port { properties: vec![PortProperty::Optical(OpticalPort::default())], ..Port::default() };
    let bytes = Message::PortDescReply(Page { more: false, items: vec![port] }).encode(Version::V1_4, 7).unwrap();
    let at = bytes.len() - 40;
    for len in [0, 3, 4, 36, 39, 41, 48] {
        let mut broken = bytes.clone();
        broken[at + 3] = len;
        assert_eq!(Message::decode(&broken).unwrap_err().error, OfError::BadPropertyBadLength, "{len}");
    }
}

#[test]
fn experimenters_survive_everywhere() {
    let raw = vec![RawProperty::experimenter(0xabcd, 7, vec![1, 2, 3, 4, 5])];
    let desc = TableDesc { eviction: Some(1), properties: raw.clone(), ..TableDesc::default() };
    let queue = |properties| Queue { max_rate: Some(5), properties, ..Queue::default() };
    let mut miss = raw.clone();
    miss[0].kind = 0xfffe;
    let abilities = TableAbilities { properties: [miss, raw.clone()].concat(), ..TableAbilities::default() };
    let features = TableFeatures {
        eviction: Some(false),
        vacancy_events: Some(false),
        abilities: Some(Box::new(abilities)),
        ..TableFeatures::default()
    };
    let page = |items| Page { more: false, items };
    let old =
        RawProperty { kind: 0xffff, experimenter: None, value: [&[0; 4][..], &[1; 4], &[0; 4], &[9; 8]].concat() };
    let part = |reply| Some(Part { reply, more: reply });
    let stats = |reply| Experimenter { experimenter: 0xabcd, kind: 9, data: vec![1; 8], part: part(reply) };
    for version in [Version::V1_4, Version::V1_5] {
        for message in [
            Message::TableDescReply(Page { more: false, items: vec![desc.clone()] }),
            Message::TableMod(TableMod { desc: desc.clone() }),
            Message::TableStatus(TableStatus { desc: desc.clone(), ..TableStatus::default() }),
            Message::QueueConfigReply(page(vec![queue(raw.clone())])),
            Message::RoleStatus(RoleStatus { properties: raw.clone(), ..RoleStatus::default() }),
            Message::BundleControl(BundleControl { properties: raw.clone(), ..BundleControl::default() }),
            Message::GetAsyncReply(AsyncConfig { properties: raw.clone(), ..AsyncConfig::default() }.into()),
            Message::TableFeaturesReply(Page { more: false, items: vec![features.clone()] }),
        ] {
            let bytes = message.encode(version, 7).unwrap();
            let read = Message::decode(&bytes).unwrap_or_else(|e| panic!("{version} {message:?}: {e}")).1;
            assert_eq!(read, message);
            assert_eq!(read.encode(version, 7).unwrap(), bytes);
        }
    }
    let mut bundled = BundleAdd { properties: raw, ..BundleAdd::default() };
    for data in 0..8 {
        // A message of any length is padded in front of properties.
        let port_mod = Message::PortMod(PortMod::default()).encode(Version::V1_4, 7).unwrap();
        let out =
            Message::PacketOut(PacketOut::new(OfPort(1), vec![], vec![1; data])).encode(Version::V1_4, 7).unwrap();
        for message in [port_mod, out] {
            bundled.message = message;
            let bytes = Message::BundleAdd(bundled.clone()).encode(Version::V1_4, 7).unwrap();
            assert_eq!(Message::decode(&bytes).unwrap().1, Message::BundleAdd(bundled.clone()));
        }
    }
    let message = Message::QueueConfigReply(page(vec![queue(vec![old])]));
    let bytes = message.encode(Version::V1_3, 7).unwrap();
    assert_eq!(Message::decode(&bytes).unwrap().1, message);
    for version in Version::KNOWN {
        for reply in [false, true] {
            // OpenFlow 1.0 has no type there.
            let kind = if version == Version::V1_0 { 0 } else { 9 };
            let message = Message::Experimenter(Experimenter { kind, ..stats(reply) });
            let bytes = message.encode(version, 7).unwrap();
            assert_eq!(Message::decode(&bytes).unwrap().1, message, "{version}");
            assert_eq!(message.not_understood(), Some(OfError::BadRequestBadExperimenter));
        }
    }
}

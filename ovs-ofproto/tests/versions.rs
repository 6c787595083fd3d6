//! What is said in one version of OpenFlow is read as it was meant, in every version that can say it.

use ovs_ofproto::codec::{
    Bucket, FlowStats, FlowStatsReader, FlowStatsReply, GroupMod, Kind, Message, PacketIn, PacketInView, PacketOut,
    Page, Port, PortStats, Version,
};
use ovs_ofproto::text::{Parser, ofp_print};
use ovs_ofproto::{Action, FlowMod, Instructions};
use ovs_packet::OfPort;

fn round(message: &Message, version: Version) {
    let bytes = message.encode(version, 7).unwrap_or_else(|e| panic!("{version}: {e}: {message:?}"));
    let (header, read) = Message::decode(&bytes).unwrap_or_else(|e| panic!("{version}: {e}: {message:?}"));
    assert_eq!((header.version, header.xid), (version, 7));
    assert_eq!(&read, message, "{version}");
    assert!(!ofp_print(&bytes, 5).contains("***"), "{}", ofp_print(&bytes, 5));
}

#[test]
fn flows_in_every_version() {
    for text in [
        "actions=drop",
        "priority=10,tcp,nw_src=10.0.0.0/8,tp_dst=80,actions=output:2",
        "in_port=1,dl_vlan=5,actions=CONTROLLER:128",
        "table=3,arp,arp_spa=10.0.0.1,actions=resubmit(,4)",
        "idle_timeout=5,hard_timeout=6,send_flow_rem,dl_src=00:00:00:00:00:01,actions=LOCAL",
    ] {
        let flow: FlowMod = text.parse().unwrap();
        for version in Version::KNOWN {
            round(&flow.clone().into(), version);
        }
    }
    let flow: FlowMod = "reg0=5,tun_id=7,actions=load:0x5->NXM_NX_REG1[]".parse().unwrap();
    for version in [Version::V1_0, Version::V1_2, Version::V1_3, Version::V1_4] {
        round(&flow.clone().into(), version);
    }
    let bytes = Message::from(flow.clone()).encode(Version::V1_0, 1).unwrap();
    assert_eq!(Kind::of_bytes(&bytes), Ok(Kind::NxFlowMod));
    assert!(Message::from(flow).encode(Version::V1_1, 1).is_err());
}

#[test]
fn statistics_in_every_version_are_read_lazily() {
    let mut flow = FlowStats::default();
    flow.matching = "tcp,tp_dst=80".parse().unwrap();
    flow.instructions = Instructions::apply(vec![Action::output(OfPort(1))]);
    (flow.packets, flow.bytes) = (5, 500);
    for version in Version::KNOWN {
        let page = FlowStatsReply::pages(version, vec![flow.clone(); 3]).unwrap().remove(0);
        let message = Message::FlowStatsReply(page);
        round(&message, version);
        let bytes = message.encode(version, 1).unwrap();
        let views: Vec<_> = FlowStatsReader::new(&bytes).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(views.iter().map(|v| v.flow.packets).sum::<u64>(), 15);
        assert_eq!(views[0].clone().stats().as_ref(), Ok(&flow));
    }
}

#[test]
fn packets_in_every_version_and_format() {
    let mut packet = PacketIn::new(OfPort(3), vec![0; 64]);
    for version in Version::KNOWN {
        for kind in [Kind::NxPacketIn, Kind::NxPacketIn2] {
            let bytes = Message::from(packet.clone()).encode_as(kind, version, 1).unwrap();
            assert_eq!(PacketInView::new(&bytes).unwrap().to_owned(), packet, "{version}");
        }
        round(&packet.clone().into(), version);
        round(&PacketOut::new(OfPort::CONTROLLER, vec![Action::output(OfPort(1))], vec![1, 2, 3]).into(), version);
    }
    (packet.userdata, packet.continuation) = (vec![1, 2, 3], Some(vec![0, 1, 0, 8, 0, 0, 0, 9]));
    round(&packet.clone().into(), Version::V1_3);
    round(&Message::Resume(Box::new(packet)), Version::V1_3);
}

#[test]
fn groups_and_ports_in_every_version() {
    let mut group = GroupMod::default();
    let mut bucket = Bucket::default();
    bucket.actions = vec![Action::output(OfPort(1))];
    group.desc.buckets = vec![bucket];
    let mut port = Port::default();
    (port.number, port.name) = (OfPort(1), "eth0".into());
    for version in Version::KNOWN {
        round(&group.clone().into(), version);
        let page = Page { more: false, items: vec![port.clone(); 2] };
        round(&Message::PortDescReply(page), version);
        let mut one = PortStats::default();
        one.duration = Some((1, 2)).filter(|_| version >= Version::V1_3);
        let stats = Page { more: true, items: vec![one; 2] };
        round(&Message::PortStatsReply(stats), version);
    }
}

#[test]
fn what_a_version_lacks_is_refused_there() {
    let parse = |text: &str| Parser::default().actions(text).unwrap();
    assert!(Action::encode_list(&parse("push_vlan:0x8100"), Version::V1_0).is_err());
    assert!(Action::encode_list(&parse("meter:1"), Version::V1_3).is_err());
    assert!(Action::encode_list(&parse("encap(nsh)"), Version::V1_2).is_err());
    assert!(Message::MeterFeaturesRequest.encode(Version::V1_2, 1).is_err());
    assert!(Message::GetAsyncRequest.encode(Version::V1_0, 1).is_err());
}

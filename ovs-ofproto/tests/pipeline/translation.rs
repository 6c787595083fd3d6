//! What actions do, and what follows from it: learnt flows, groups, paused packets, patches, snooping, revalidation.

use std::sync::Arc;
use std::time::Duration;

use ovs_dpif::{Dpif, DropReason, PortNo, text};
use ovs_ofproto::FlowModCommand::{Add, Delete, DeleteStrict};
use ovs_ofproto::codec::{Selection, Version};
use ovs_ofproto::pipeline::{
    ConnectionId, Egress, Event, L2Config, PacketKey, Peer, Port, PriorityTags, SnoopingConfig, TraceRequest, VlanMode,
    Way,
};
use ovs_ofproto::text::{GroupCommand, Parser};
use ovs_packet::field::FieldId;
use ovs_packet::key::FlowKey;
use ovs_packet::{Match, OfPort, Packet, compose};
use proptest::prelude::*;

use super::packets::matches;
use crate::world::{Network, World, group, key, packet};

fn with(flows: &[&str]) -> World {
    World::with(4, flows)
}

impl World {
    /// Adds a group or gives it other buckets.
    fn set_group(&mut self, c: ConnectionId, words: &str) {
        self.say(c, Version::V1_5, 1, &group(words, GroupCommand::AddOrModify).into());
    }

    fn seconds(&mut self, seconds: u64) {
        (0..seconds).for_each(|_| self.pass(Duration::from_secs(1)));
    }

    /// Sends a packet in words; what came out, by port.
    fn keys(&mut self, port: u32, words: &str) -> Vec<(u32, FlowKey)> {
        self.send(port, packet(words)).into_iter().map(|(n, p)| (n, key(&p))).collect()
    }
}

fn udp(src: u32, dst: u32, sport: u32) -> String {
    format!(
        "udp,dl_src=02:00:00:00:00:{src:02x},dl_dst=02:00:00:00:00:{dst:02x},nw_src=10.0.0.{src},nw_dst=10.0.0.{dst},nw_ttl=64,tp_src={sport},tp_dst=53"
    )
}

#[test]
fn flows_are_learnt_and_end() {
    let mut l = with(&[
        "table=0,actions=learn(table=1,idle_timeout=5,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[]),resubmit(,1)",
        "table=1,priority=0,actions=4",
    ]);
    assert_eq!(l.ports(1, &udp(1, 2, 5)), [4]);
    assert_eq!(l.ports(2, &udp(2, 1, 5)), [1]);
    // The megaflow of the first packet has changed though no controller did anything.
    assert_eq!(l.ports(1, &udp(1, 2, 5)), [2]);
    assert_eq!(l.of.flow_count(), 4);
    // Packets of a megaflow keep what they learn from ageing, and what learns nothing ends.
    for _ in 0..10 {
        l.seconds(1);
        assert_eq!(l.ports(1, &udp(1, 2, 5)), [2]);
    }
    l.seconds(20);
    assert_eq!((l.of.flow_count(), l.ports(1, &udp(1, 2, 5))), (2, vec![4]));
}

#[test]
fn learning_has_a_limit_and_tells() {
    let mut l = with(&[
        "table=0,in_port=1,actions=learn(table=1,cookie=7,limit=2,result_dst=NXM_NX_REG0[0],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[]),resubmit(,2)",
        "table=2,reg0=1,actions=2",
        "table=2,reg0=0,actions=3",
    ]);
    let out: Vec<_> = (1..=3).map(|n| l.ports(1, &udp(n, 9, 5))).collect();
    assert_eq!(out, [[2], [2], [3]]);
    // When one goes, there is room again.
    l.change(Delete, "table=1,dl_dst=02:00:00:00:00:01").unwrap();
    assert_eq!(l.ports(1, &udp(3, 9, 5)), [2]);
}

#[test]
fn groups_choose() {
    let mut l = with(&[]);
    let c = l.connect(Version::V1_5);
    l.set_group(c, "group_id=1,type=ff,bucket=watch_port:2,output:2,bucket=watch_port:3,output:3");
    l.set_group(c, "group_id=2,type=all,bucket=mod_dl_src:02:00:00:00:00:77,output:1,bucket=output:3,bucket=group:1");
    l.add("in_port=1,actions=group:1");
    l.add("in_port=2,actions=group:2,4");
    assert_eq!(l.ports(1, &udp(1, 2, 5)), [2]);
    // A port that goes down is noticed, and what was decided by it decided anew.
    l.set_port(2, |port| port.link_up = false);
    l.run();
    assert_eq!(l.ports(1, &udp(1, 2, 5)), [3]);
    // What a bucket changes is not seen behind it.
    let out = l.keys(2, &udp(1, 2, 5));
    let source = |k: &FlowKey| k.eth_src.0[5];
    assert_eq!(out.iter().map(|(p, k)| (*p, source(k))).collect::<Vec<_>>(), [(1, 0x77), (3, 1), (3, 1), (4, 1)]);
    l.seconds(1);
    let (group, buckets) = l.of.groups().counts(1).unwrap();
    assert_eq!((group.packets, buckets[0].packets, buckets[1].packets), (3, 1, 2));
}

#[test]
fn a_selection_is_spread_and_stays() {
    let mut l = with(&[]);
    let c = l.connect(Version::V1_5);
    l.set_group(c, "group_id=1,type=select,bucket=output:2,bucket=output:3,bucket=output:4");
    l.add("actions=group:1");
    let mut used = [0; 5];
    for sport in 0..60 {
        // The hash that is the same in both directions leaves the ports of UDP out.
        let tcp = udp(1, 2, sport).replace("udp", "tcp");
        let first = l.ports(1, &tcp);
        assert_eq!(first, l.ports(1, &tcp));
        used[first[0] as usize] += 1;
    }
    assert!(used[2..].iter().all(|n| *n > 5), "{used:?}");
    // One megaflow to hash, and at most one for each of 16 values of the hash.
    assert!(
        l.megaflow_actions().len() <= 17 && l.megaflow_actions().contains(&"hash(sym_l4(0)),recirc(0x1)".to_string())
    );
}

#[test]
fn a_selection_goes_by_what_its_method_says() {
    let mut l = with(&[]);
    let c = l.connect(Version::V1_5);
    let by = |l: &mut World, method: &str, param, fields: &[(FieldId, u128)]| {
        let words = "group_id=1,type=select,bucket=watch_port:2,output:2,bucket=watch_port:3,output:3,bucket=watch_port:4,output:4";
        let (mut change, mut s) = (group(words, GroupCommand::AddOrModify), Selection::default());
        (s.method, s.param, s.fields) = (method.to_string(), param, fields.to_vec());
        change.desc.selection = Some(s);
        l.say(c, Version::V1_5, 1, &change.into());
        assert_eq!(l.heard(c), [], "{method}");
        l.of.purge(&mut l.dp, l.now);
    };
    by(&mut l, "", 0, &[]);
    l.add("actions=group:1");
    // Where packets from so many sources go.
    let spread = |l: &mut World| (0..40).map(|n| l.ports(1, &udp(1 + n, 2, 5))[0]).collect::<Vec<_>>();
    by(&mut l, "hash", 0, &[(FieldId::NwSrc, u128::from(u32::MAX))]);
    let first = spread(&mut l);
    assert!((2..=4).all(|port| first.iter().filter(|p| **p == port).count() > 3), "{first:?}");
    let megaflows = l.megaflow_actions().len();
    assert_eq!(megaflows, 40, "one for each source");
    // What is not hashed neither matters nor is looked at.
    for n in 0..40 {
        assert_eq!(l.ports(1, &udp(1 + n, 9, 1000 + n)), [first[n as usize]]);
    }
    assert_eq!(l.megaflow_actions().len(), megaflows);
    // Another start gives another spread.
    by(&mut l, "hash", 7, &[(FieldId::NwSrc, u128::from(u32::MAX))]);
    assert_ne!(spread(&mut l), first);
    // Of some bits, packets that agree in them go the same way.
    by(&mut l, "hash", 0, &[(FieldId::NwSrc, 1)]);
    let halves = spread(&mut l);
    assert!(halves.iter().enumerate().all(|(n, port)| *port == halves[n % 2]), "{halves:?}");
    assert_eq!(l.megaflow_actions().len(), 2);
    // Of a field that the packet has not, nothing is said.
    by(&mut l, "hash", 0, &[(FieldId::Ipv6Src, u128::MAX)]);
    assert!(spread(&mut l).windows(2).all(|pair| pair[0] == pair[1]));
    // The datapath computes a hash of this kind, which begins with this.
    for (param, said) in [(5, "hash(l4(5))"), (1 << 32 | 9, "hash(sym_l4(9))")] {
        by(&mut l, "dp_hash", param, &[]);
        let spread = spread(&mut l);
        assert!((2..=4).all(|port| spread.contains(&port)), "{said}: {spread:?}");
        assert!(l.megaflow_actions().iter().any(|m| m.starts_with(said)), "{said}: {:?}", l.megaflow_actions());
    }
    // A bucket that is dead gives what it had to others, and others keep what they have.
    by(&mut l, "hash", 0, &[(FieldId::NwSrc, u128::from(u32::MAX))]);
    l.set_port(3, |port| port.link_up = false);
    let rest = spread(&mut l);
    assert!(!rest.contains(&3) && first.iter().zip(&rest).all(|(before, now)| *before == 3 || before == now));
}

#[test]
fn a_paused_packet_goes_on() {
    let mut l = with(&[
        "table=0,ip,actions=load:5->NXM_NX_REG0[],mod_nw_tos:32,resubmit(,1),3",
        "table=1,actions=push:NXM_NX_REG0[],controller(pause,userdata=01.02),pop:NXM_NX_REG1[],resubmit(,2)",
        "table=2,reg1=5,actions=2",
    ]);
    assert_eq!(l.ports(1, &udp(1, 2, 5)), [0_u32; 0]);
    let Some(Event::PacketIn(p)) = l.of.poll_event() else { panic!("no packet-in") };
    assert_eq!((p.userdata.clone(), p.metadata.key().regs[0].get()), (vec![1, 2], 5));
    let packet = Packet::from_slice(&p.data);
    assert!(l.of.resume(&mut l.dp, packet.clone(), &p.continuation.unwrap(), l.now));
    let ends: Vec<_> = l.received().iter().map(|(n, p)| (*n, key(p).nw_tos)).collect();
    assert_eq!(ends, [(2, 32), (3, 32)]);
    assert!(!l.of.resume(&mut l.dp, packet.clone(), &[1], l.now) && !l.of.resume(&mut l.dp, packet, &[9; 4], l.now));
}

#[test]
fn patches_lead_to_other_switches() {
    let mut n = Network::new(2);
    n.bridges.patch(Peer { bridge: 0, port: OfPort(9) }, Peer { bridge: 1, port: OfPort(9) });
    n.add(0, "in_port=1,ip,actions=load:1->NXM_NX_REG0[],mod_nw_tos:32,9,2");
    n.add(1, "reg0=1,priority=9,actions=drop");
    n.add(1, "in_port=9,ip,actions=mod_nw_ttl:7,1");
    let go = |n: &mut Network| {
        n.forward(1, packet(&udp(1, 2, 5))).iter().map(|(end, p)| (*end, key(p).nw_ttl)).collect::<Vec<_>>()
    };
    assert_eq!(go(&mut n), [(2, 64), (3, 7)]);
    assert_eq!(go(&mut n), [(2, 64), (3, 7)]);
    assert_eq!(n.dp.stats().unwrap().flows, 1);
    n.pass(Duration::from_secs(1));
    let packets = |n: &Network, at: usize| n.bridges.get(at).unwrap().flows().map(|f| f.packets).max();
    assert_eq!((packets(&n, 0), packets(&n, 1)), (Some(2), Some(2)));
    // A change behind the patch is noticed in front of it.
    n.change(1, Delete, "in_port=9");
    assert_eq!(go(&mut n), [(2, 64)]);
    let mut request = TraceRequest::flow(&udp(1, 2, 5).parse().unwrap());
    request.key.in_port = 1.into();
    let trace = n.bridges.trace(0, &n.dp, &request).to_string();
    assert!(trace.contains("bridge(\"br1\")\n") && trace.contains("No match."), "{trace}");
}

#[test]
fn group_addresses_are_snooped() {
    let mut l = with(&["actions=NORMAL"]);
    l.of.set_snooping(Some(SnoopingConfig::default()));
    let data = "udp,dl_src=02:00:00:00:00:01,dl_dst=01:00:5e:01:01:01,nw_src=10.0.0.1,nw_dst=239.1.1.1,nw_ttl=4,tp_src=1,tp_dst=2";
    let flood = |l: &mut World| l.ports(1, data);
    assert_eq!(flood(&mut l), [2, 3, 4]);
    let igmp = |kind: u8, group: [u8; 4], src: u8| {
        let words = format!(
            "ip,nw_proto=2,dl_src=02:00:00:00:00:{src:02x},dl_dst=01:00:5e:01:01:01,nw_src=10.0.0.{src},nw_dst=239.1.1.1,nw_ttl=1"
        );
        let head = compose::compose(words.parse::<Match>().unwrap().key(), b"").data()[..34].to_vec();
        let mut message = vec![kind, 0, 0, 0];
        message.extend(group);
        let sum = ovs_packet::checksum::checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut bytes = head;
        bytes[16..18].copy_from_slice(&28u16.to_be_bytes());
        bytes[24..26].fill(0);
        let sum = ovs_packet::checksum::checksum(&bytes[14..34]);
        bytes[24..26].copy_from_slice(&sum.to_be_bytes());
        bytes.extend(message);
        Packet::from_slice(&bytes)
    };
    let to = |l: &mut World, port, p| l.send(port, p).into_iter().map(|(n, _)| n).collect::<Vec<_>>();
    // A report goes nowhere while no router is known; a query goes everywhere, and tells where one is.
    assert_eq!(to(&mut l, 3, igmp(0x16, [239, 1, 1, 1], 3)), [0_u32; 0]);
    assert_eq!(to(&mut l, 4, igmp(0x11, [0; 4], 4)), [1, 2, 3]);
    assert_eq!(to(&mut l, 2, igmp(0x16, [239, 1, 1, 1], 2)), [4]);
    assert_eq!(flood(&mut l), [2, 3, 4]);
    assert_eq!(to(&mut l, 2, igmp(0x17, [239, 1, 1, 1], 2)), [4]);
    assert_eq!(flood(&mut l), [3, 4]);
    assert_eq!(l.of.snooping().unwrap().iter(l.now).count(), 2);
    l.seconds(301);
    assert_eq!((l.of.snooping().unwrap().iter(l.now).count(), flood(&mut l)), (0, vec![2, 3, 4]));
}

#[test]
fn vlans_of_ports() {
    let mut l = with(&["actions=NORMAL"]);
    let set = |l: &mut World, n: u32, change: &dyn Fn(&mut Port)| {
        l.set_port(n, change);
        l.run();
    };
    let trunk = || VlanMode::Trunk([10, 20].into_iter().collect());
    set(&mut l, 1, &|p| p.vlan = VlanMode::Access(10));
    set(&mut l, 2, &|p| p.vlan = trunk());
    set(&mut l, 3, &|p| p.vlan = VlanMode::NativeUntagged(10, [20].into_iter().collect()));
    set(&mut l, 4, &|p| p.vlan = VlanMode::tunnel(20));
    let tags = |out: Vec<(u32, FlowKey)>| {
        let tag =
            |(n, k): (u32, FlowKey)| (n, k.vlan_vid(), (k.inner_vlan_tci != 0).then(|| k.inner_vlan_tci.get() & 0xfff));
        out.into_iter().map(tag).collect::<Vec<_>>()
    };
    let base = udp(1, 2, 5);
    assert_eq!(tags(l.keys(1, &base)), [(2, Some(10), None), (3, None, None)]);
    assert_eq!(tags(l.keys(2, &format!("{base},dl_vlan=10"))), [(1, None, None), (3, None, None)]);
    assert_eq!(tags(l.keys(2, &format!("{base},dl_vlan=20"))), [(3, Some(20), None), (4, None, None)]);
    assert_eq!(tags(l.keys(4, &format!("{base},dl_vlan=7"))), [(2, Some(20), Some(7)), (3, Some(20), Some(7))]);
    assert_eq!(tags(l.keys(1, &format!("{base},dl_vlan=10"))), []);
    assert_eq!(l.dp.ledger().drops(DropReason::VlanFiltered), 1);
    // Priorities of packets in no VLAN.
    set(&mut l, 1, &|p| p.priority_tags = PriorityTags::IfNonzero);
    let out = l.keys(2, &format!("{base},dl_vlan=10,dl_vlan_pcp=5"));
    assert_eq!(out.iter().map(|(n, k)| (*n, k.vlan_tci.get())).collect::<Vec<_>>(), [(1, 0xb000), (3, 0)]);
    set(&mut l, 1, &|p| p.priority_tags = PriorityTags::Always);
    let out = l.keys(2, &format!("{base},dl_vlan=10,dl_vlan_pcp=0"));
    assert_eq!(out.iter().map(|(n, k)| (*n, k.vlan_tci.get())).collect::<Vec<_>>(), [(1, 0x1000), (3, 0)]);
    set(&mut l, 1, &|p| p.priority_tags = PriorityTags::IfNonzero);
    // Protected ports keep apart; VLANs that are flooded learn nothing.
    set(&mut l, 1, &|p| p.protected = true);
    set(&mut l, 3, &|p| p.protected = true);
    assert_eq!(tags(l.keys(1, &base)), [(2, Some(10), None)]);
    let mut l2 = L2Config::default();
    l2.flood_vlans = [10].into_iter().collect();
    l.of.set_l2(l2);
    l.run();
    l.of.flush_macs();
    l.keys(1, &base);
    assert!(l.of.macs().is_empty());
}

#[test]
fn a_station_that_moves_is_found_at_once() {
    let mut l = with(&["actions=NORMAL"]);
    l.keys(2, &udp(2, 1, 5));
    assert_eq!(l.ports(1, &udp(1, 2, 5)), [2]);
    l.keys(3, &udp(2, 1, 5));
    assert_eq!(l.ports(1, &udp(1, 2, 5)), [3]);
    // What comes by another port soon after a gratuitous ARP is a move all the same: no bond can have brought it back.
    let arp = "arp,dl_src=02:00:00:00:00:02,dl_dst=ff:ff:ff:ff:ff:ff,arp_spa=10.0.0.2,arp_tpa=10.0.0.2,arp_op=1,arp_sha=02:00:00:00:00:02";
    l.keys(4, arp);
    assert_eq!(l.ports(1, &udp(1, 2, 5)), [4]);
    l.keys(3, &udp(2, 1, 6));
    l.seconds(1);
    assert_eq!(l.ports(1, &udp(1, 2, 5)), [3]);
    l.of.macs_mut().add_static(0, ovs_packet::EthAddr::local(2), OfPort(2));
    l.keys(4, &udp(2, 1, 7));
    assert_eq!(l.ports(1, &udp(1, 2, 5)), [2]);
}

#[test]
fn a_change_is_looked_into_only_where_it_can_matter() {
    let mut l = with(&["table=0,actions=resubmit(,1)", "table=1,priority=0,actions=4"]);
    for n in 1..=100 {
        l.add(&format!("table=1,ip,nw_dst=10.0.0.{n},actions=2"));
    }
    for n in 1..=100 {
        l.ports(1, &udp(200, n, 5));
    }
    let flows = l.dp.stats().unwrap().flows;
    assert!(flows >= 90, "{flows}");
    let before = l.of.revalidated();
    let looked = |l: &World| l.of.revalidated() - before;
    l.add("table=1,priority=40000,ip,nw_dst=10.0.0.7,actions=3");
    assert_eq!((looked(&l), l.ports(1, &udp(200, 7, 5))), (1, vec![3]));
    // One that goes, and one in a table that nobody asks.
    l.change(DeleteStrict, "table=1,priority=40000,ip,nw_dst=10.0.0.7").unwrap();
    assert_eq!((looked(&l), l.ports(1, &udp(200, 7, 5))), (2, vec![2]));
    l.add("table=9,actions=drop");
    assert_eq!(looked(&l), 2);
    // A flow for everything concerns everything that it stands in front of.
    l.add("table=1,priority=50000,actions=drop");
    assert!(looked(&l) >= flows && l.ports(1, &udp(200, 9, 5)).is_empty());
}

#[test]
fn conjunctions_are_explained_and_followed() {
    let mut l = with(&[
        "conj_id=1,ip,actions=2",
        "ip,nw_src=10.0.0.1,actions=conjunction(1,1/2)",
        "udp,tp_dst=53,actions=conjunction(1,2/2)",
        "priority=1,actions=3",
    ]);
    let mut request = TraceRequest::flow(&udp(1, 2, 5).parse().unwrap());
    request.key.in_port = 1.into();
    let trace = l.of.trace(&l.dp, &request);
    let text = trace.to_string();
    for part in ["     -> conj. ip,nw_src=10.0.0.1\n", "     -> conj. udp,tp_dst=53\n"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(trace.to_json().contains(r#""kind":"table""#));
    assert_eq!(l.ports(1, &udp(1, 2, 5)), [2]);
    // A clause that goes takes the conjunction along.
    l.change(DeleteStrict, "udp,tp_dst=53").unwrap();
    assert_eq!(l.ports(1, &udp(1, 2, 5)), [3]);
}

#[test]
fn a_traced_packet_teaches_only_who_wants_it() {
    let mut l = with(&["actions=learn(table=1,limit=1,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[]),2"]);
    let mut request = TraceRequest::flow(&udp(1, 2, 5).parse().unwrap());
    request.key.in_port = 1.into();
    let learnt = |l: &World| l.of.flows().filter(|f| f.table == 1).count();
    let pass = &l.of.trace(&l.dp, &request).passes[0];
    // No flow asked for a tag: that there is none goes without saying.
    assert!(!pass.megaflow.mask().touches(FieldId::VlanTci), "{}", pass.megaflow);
    assert_eq!(learnt(&l), 0);
    l.of.trace_and_learn(&mut l.dp, &request, l.now);
    assert_eq!((learnt(&l), l.of.flows().map(|f| f.packets).max()), (1, Some(0)));
    // A flow without cookie counts for the limit as others do.
    request.key.eth_src = "02:00:00:00:00:77".parse().unwrap();
    let text = l.of.trace_and_learn(&mut l.dp, &request, l.now).to_string();
    assert!(text.contains("learn limit reached") && learnt(&l) == 1, "{text}");
}

/// Sends packets of one TOS by one port and all others by another, marked.
#[derive(Debug)]
struct Fork;

impl Egress for Fork {
    fn send(&self, packet: &mut PacketKey<'_>) -> Way {
        if packet.read(FieldId::NwTos) == 0 {
            return Way::Port(PortNo(3));
        }
        packet.write(FieldId::PktMark, 7, u128::MAX);
        Way::Port(PortNo(4))
    }
}

#[test]
fn hooks_decide_and_megaflows_know_by_what() {
    let mut l = with(&["actions=3,2"]);
    l.of.hooks_changed(|h| h.set_egress(OfPort(3), Some(Arc::new(Fork))));
    let mut request = TraceRequest::flow(&format!("in_port=1,{}", udp(1, 2, 1)).parse().unwrap());
    request.key.nw_tos = 32;
    let pass = &l.of.trace(&l.dp, &request).passes[0];
    assert_eq!(text::actions(&pass.actions).to_string(), "set(skb_mark(0x7)),4,set(skb_mark(0)),2");
    assert!(pass.megaflow.mask().is_exact(FieldId::NwTos));
    request.key.nw_tos = 0;
    let pass = &l.of.trace(&l.dp, &request).passes[0];
    assert_eq!(text::actions(&pass.actions).to_string(), "3,2");
}

#[test]
fn a_flow_ends_soon_after_its_connection() {
    let mut l = with(&["tcp,idle_timeout=60,actions=fin_timeout(idle_timeout=2),2"]);
    let tcp = "tcp,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,nw_src=1.1.1.1,nw_dst=2.2.2.2,tp_src=1,tp_dst=2";
    l.keys(1, &format!("{tcp},tcp_flags=ack"));
    l.seconds(10);
    assert_eq!(l.of.flow_count(), 1);
    l.keys(1, &format!("{tcp},tcp_flags=fin|ack"));
    l.seconds(5);
    assert_eq!(l.of.flow_count(), 0);
}

#[test]
fn what_overflows_is_dropped_for_its_reason() {
    let pushes = "push:NXM_NX_REG0[],".repeat(200);
    let mut l = with(&[&format!("table=0,actions={pushes}resubmit(,1)")]);
    for t in 1..30 {
        l.add(&format!("table={t},actions={pushes}resubmit(,{})", t + 1));
    }
    assert_eq!(l.ports(1, &udp(1, 2, 5)), [0_u32; 0]);
    assert_eq!(l.dp.ledger().drops(DropReason::StackTooDeep), 1);
    let mut l = with(&["mpls,actions=push_mpls:0x8847,push_mpls:0x8847,push_mpls:0x8847,2"]);
    let mpls = "mpls,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,mpls_label=1,mpls_bos=1,mpls_ttl=9";
    assert_eq!(l.ports(1, mpls), [0_u32; 0]);
    assert_eq!(l.dp.ledger().drops(DropReason::TooManyLabels), 1);
}

/// A pipeline as long as there are tables is followed to its end; what never ends, or grows without bound, is not.
#[test]
fn long_ways_end() {
    let mut l = with(&["table=253,actions=2"]);
    for t in 0..253 {
        l.add(&format!("table={t},actions=resubmit(,{})", t + 1));
    }
    assert_eq!(l.ports(1, &udp(1, 2, 5)), [2]);
    l.add("table=253,actions=resubmit(,0)");
    assert_eq!(l.ports(1, &udp(1, 2, 5)), [0_u32; 0]);
    assert_eq!(l.dp.ledger().drops(DropReason::TooDeep), 1);
    // Each test of a length makes two ways of one.
    let doubling = "check_pkt_larger(100)->NXM_NX_REG0[0],".repeat(40);
    let mut l = with(&[&format!("actions={doubling}2")]);
    assert_eq!(l.ports(1, &udp(1, 2, 5)), [0_u32; 0]);
    assert_eq!(l.dp.ledger().drops(DropReason::ActionsTooLong), 1);
}

#[test]
fn what_is_below_labels_is_found_by_going_round() {
    let mut l =
        with(&["mpls,actions=pop_mpls:0x0800,dec_ttl,2", "ip,actions=push_mpls:0x8847,set_field:9->mpls_label,1"]);
    let out = l.send(2, packet(&udp(1, 2, 5)));
    let labelled = out[0].1.clone();
    assert_eq!((out[0].0, key(&labelled).mpls_lse[0].get() >> 12), (1, 9));
    let out = l.send(1, labelled);
    let k = key(&out[0].1);
    assert_eq!((out[0].0, k.eth_type.get(), k.nw_ttl, k.tp_dst.get()), (2, 0x0800, 63, 53));
}

// The oracle of tables and counters: every packet is counted by just those flows that a search through lists finds.

/// Follows a packet through flows, the lookup being a search for the highest priority, and counts whom it meets.
fn follow(flows: &[ovs_ofproto::FlowMod], table: u8, key: &mut FlowKey, met: &mut Vec<u64>, depth: usize) {
    let found = flows.iter().filter(|f| f.table == table && f.matching.matches(key)).max_by_key(|f| f.priority);
    let Some(f) = found.filter(|_| depth < 60) else { return };
    met.push(f.cookie);
    for a in &f.instructions.apply {
        match a {
            ovs_ofproto::Action::Resubmit { table: Some(t), .. } => follow(flows, *t, key, met, depth + 1),
            a => {
                if let Some((field, value, mask)) = a.as_set_field() {
                    let old = field.info().get(key);
                    field.info().put(key, old & !mask | value & mask);
                }
            }
        }
    }
    if let Some(t) = f.instructions.goto {
        follow(flows, t, key, met, depth + 1);
    }
}

fn some_flows() -> impl Strategy<Value = Vec<String>> {
    let matches = prop_oneof![
        8 => matches(),
        1 => (0u8..4).prop_map(|n| format!("dl_dst=02:00:00:00:00:0{n},")),
        1 => (0u8..3).prop_map(|n| format!("reg0={n}/0x3,")),
    ];
    let actions = prop_oneof![
        Just("drop".to_string()),
        Just("2".to_string()),
        (1u8..4).prop_map(|t| format!("resubmit(,{t}),3")),
        (0u8..4, 1u8..4).prop_map(|(n, t)| format!("load:{n}->NXM_NX_REG0[],resubmit(,{t}),2")),
        (0u8..4, 1u8..4).prop_map(|(n, t)| format!("mod_dl_dst:02:00:00:00:00:0{n},resubmit(,{t}),2")),
        Just("2,goto_table:4".to_string()),
    ];
    prop::collection::vec((0u8..4, matches, actions), 1..25).prop_map(|flows| {
        let flow = |(i, (table, m, actions)): (usize, (u8, String, String))| {
            format!("cookie={},table={table},priority={},{m}actions={actions}", i + 1, 10 + 7 * i % 1000)
        };
        flows.into_iter().enumerate().map(flow).collect()
    })
}

proptest! {
    #[test]
    fn flows_count_what_a_search_through_lists_finds(
        flows in some_flows(),
        packets in prop::collection::vec((0u8..4, 0u8..4, 0u8..4, 0u16..4, 0u16..4, any::<bool>()), 1..12),
    ) {
        // Flows that lead back to an earlier table may go on for ever.
        let forward = |f: &&String| {
            let fm = Parser::default().flow_mod(f, Add);
            fm.is_ok_and(|fm| fm.instructions.apply.iter().all(|a| match a {
                ovs_ofproto::Action::Resubmit { table: Some(t), .. } => *t > fm.table,
                _ => true,
            }))
        };
        let flows: Vec<&str> = flows.iter().filter(forward).map(String::as_str).collect();
        let list: Vec<_> = flows.iter().map(|f| Parser::default().flow_mod(f, Add).unwrap()).collect();
        let mut l = with(&flows);
        let mut expected = std::collections::BTreeMap::<u64, u64>::new();
        for (s, d, m, sp, dp, tcp) in packets {
            let kind = if tcp { "tcp" } else { "udp" };
            let words = format!("{kind},dl_src=02:00:00:00:00:09,dl_dst=02:00:00:00:00:0{m},nw_src=10.0.{s}.1,nw_dst=10.{d}.0.1,nw_ttl=9,tp_src={sp},tp_dst={dp}");
            l.keys(1, &words);
            let mut key = words.parse::<Match>().unwrap().key();
            key.in_port = 1.into();
            let mut met = Vec::new();
            follow(&list, 0, &mut key, &mut met, 0);
            met.into_iter().for_each(|c| *expected.entry(c).or_default() += 1);
        }
        l.seconds(1);
        for f in l.of.flows() {
            prop_assert_eq!(f.packets, expected.get(&f.cookie).copied().unwrap_or(0), "{:?}", flows);
        }
    }
}

#[test]
fn labels_come_off_before_what_is_below_is_set_back() {
    let mut lab = with(&["in_port=1,actions=clone(dec_ttl,push_mpls:0x8847,output:2),output:3"]);
    let out = lab.keys(1, "udp,nw_ttl=64");
    let seen: Vec<_> = out.iter().map(|(n, k)| (*n, k.eth_type.get(), k.nw_ttl, k.mpls_lse[0].get() & 0xff)).collect();
    assert_eq!(seen, [(2, 0x8847, 0, 63), (3, 0x0800, 64, 0)]);
    let actions = lab.megaflow_actions().join(" ");
    assert!(actions.contains(",2,pop_mpls(eth_type=0x800),set(ipv4(ttl=64)),3"), "{actions}");
}

#[test]
fn a_table_behind_labels_sees_what_was_below_them() {
    let mut lab = with(&[
        "mpls,mpls_bos=1,actions=pop_mpls:0x0800,goto_table:1",
        "table=1,udp,tp_dst=53,actions=output:2",
        "table=1,priority=0,actions=output:3",
        "priority=0,in_port=4,actions=push_mpls:0x8847,output:1",
    ]);
    let mut framed = lab.send(4, packet("udp,tp_dst=53"));
    let (1, labelled) = framed.remove(0) else { panic!() };
    assert_eq!(lab.send(1, labelled).iter().map(|(n, _)| *n).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_whole_packet_behind_labels_lends_them_nothing() {
    let mut lab = with(&["in_port=1,actions=encap(mpls),encap(ethernet),output:2"]);
    let out = lab.send(1, packet("udp,nw_ttl=9"));
    let [(2, packet)] = &out[..] else { panic!("{out:?}") };
    // Ethernet, a label with TTL 64, and the packet with its own Ethernet header.
    assert_eq!((&packet.data()[12..18], &packet.data()[30..32]), (&[0x88, 0x47, 0, 0, 1, 64][..], &[0x08, 0x00][..]));
}

#[test]
fn a_port_in_another_vlan_forgets_what_was_behind_it() {
    let mut lab = with(&["actions=NORMAL"]);
    lab.ports(1, "udp,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02");
    assert_eq!(lab.of.macs().iter(lab.now).count(), 1);
    let mut port = Port::new(OfPort(1), PortNo(1), "p1".to_string());
    lab.of.port_add(port.clone());
    assert_eq!(lab.of.macs().iter(lab.now).count(), 1);
    port.vlan = VlanMode::Access(7);
    lab.of.port_add(port);
    assert_eq!(lab.of.macs().iter(lab.now).count(), 0);
}

#[test]
fn a_label_is_taken_off_whatever_is_said_to_be_below() {
    let mut l = with(&["mpls,actions=decap,decap(packet_type(ns=1,type=0x800)),encap(ethernet),2"]);
    l.send(1, packet("mpls,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,mpls_label=2,mpls_bos=1"));
    let megaflows = l.megaflow_actions();
    assert!(megaflows.iter().any(|m| m == "pop_eth,pop_mpls(eth_type=0x800),recirc(0x1)"), "{megaflows:?}");
}

#[test]
fn a_wide_field_names_the_ports_that_a_narrow_one_does() {
    // 65528 is the port that a packet came in by.
    let mut l = with(&["in_port=1,actions=load:3->reg0[],output:reg0[]", "actions=load:65528->reg0[],output:reg0[]"]);
    assert_eq!((l.ports(1, &udp(1, 2, 5)), l.ports(2, &udp(2, 1, 5))), (vec![3], vec![2]));
}

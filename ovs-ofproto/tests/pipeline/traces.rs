//! Traces: what becomes of a packet in words, where the datapath can do less, and what of it is learnt.

use ovs_dpif::{DpAction, Dpif, Features, SlowPath};
use ovs_ofproto::codec::Version;
use ovs_ofproto::pipeline::{Collector, TraceRequest};
use ovs_packet::{Instant, Match, OfPort, compose};

use crate::world::{World, packet};

fn with(flows: &[&str]) -> World {
    World::with(4, flows)
}

fn request(packet: &str) -> TraceRequest {
    TraceRequest::flow(&packet.parse().unwrap_or_else(|e| panic!("{packet}: {e}")))
}

impl World {
    /// The datapath actions of each pass.
    fn passes(&mut self, packet: &str) -> Vec<String> {
        let trace = self.trace(packet);
        trace.passes.iter().map(|pass| ovs_dpif::text::actions(&pass.actions).to_string()).collect()
    }

    fn assume(&mut self, change: impl FnOnce(&mut Features)) {
        let mut features = self.dp.features();
        change(&mut features);
        self.of.assume_features(features);
    }

    /// Sets how fragments are treated (`OFPT_SET_CONFIG`).
    fn set_fragments(&mut self, mode: u8) {
        let c = self.connect(Version::V1_3);
        self.tell(c, &[4, 9, 0, 12, 0, 0, 0, 1, 0, mode, 0xff, 0xff]);
        assert!(self.of.disconnect(c));
    }
}

#[test]
fn ports_have_names_where_they_are_wanted() {
    let mut b = with(&["in_port=1,ip,actions=output:2"]);
    let mut request = request("in_port=1,icmp,icmp_type=8");
    assert!(b.of.trace(&b.dp, &request).to_string().contains(" 0. ip,in_port=1, priority 32768\n    output:2\n"));
    request.names = true;
    let names = std::collections::BTreeMap::from([("p1".to_string(), OfPort(1))]);
    let text = b.of.trace(&b.dp, &request).named(&names, &()).to_string();
    assert!(text.contains(" 0. ip,in_port=p1, priority 32768\n    output:p2\n"), "{text}");
    assert!(text.starts_with("Flow: icmp,in_port=p1,"), "{text}");
}

#[test]
fn types_of_icmp_have_masks_in_megaflows() {
    let mut b = with(&["icmp,icmp_type=8,actions=output:2"]);
    let text = b.trace("in_port=1,icmp,icmp_type=8").to_string();
    assert!(text.contains("Megaflow: recirc_id=0,eth,icmp,in_port=1,nw_frag=no,icmp_type=0x8/0xff\n"), "{text}");
    assert!(text.starts_with("Flow: icmp,in_port=1,") && text.contains(",icmp_type=8,icmp_code=0\n"), "{text}");
}

#[test]
fn translated_addresses_are_followed() {
    for (family, own, to, port) in [
        ("udp", "nw_src=1.1.1.1", "10.0.0.1-10.0.0.42:1000-1042", "nw_src=10.0.0.1,tp_src=1000"),
        ("udp6", "ipv6_src=1::1", "[10::1]-[10::42]:1000-1042", "ipv6_src=10::1,tp_src=1000"),
    ] {
        let mut b = with(&[
            &format!("ct_state=-trk,{family},actions=ct(commit,nat(src={to}),table=1)"),
            &format!("table=1,{family},{port},actions=output:3"),
        ]);
        let actions = b.passes(&format!("in_port=1,{family},{own},tp_src=100,tp_dst=200"));
        assert_eq!(actions.last().unwrap(), "3", "{actions:?}");
    }
}

#[test]
fn what_a_trace_tries_out_leaves_ids_alone() {
    let mut b = with(&["in_port=1,ip,actions=ct(table=1)", "table=1,actions=output:2"]);
    let first = b.passes("in_port=1,ip");
    let second = b.passes("in_port=1,ip");
    assert_eq!((first[0].as_str(), second[0].as_str()), ("ct,recirc(0x1)", "ct,recirc(0x2)"));
    // Whoever asks about what was printed is answered.
    assert!(b.of.is_recirculated(1) && b.of.is_recirculated(2));
}

#[test]
fn what_is_dropped_has_a_reason_where_the_datapath_takes_one() {
    let mut b = with(&["in_port=1,actions=drop"]);
    let actions = |b: &mut World| b.trace("in_port=1").passes[0].actions.clone();
    assert!(matches!(actions(&mut b)[..], [DpAction::Drop(_)]));
    b.assume(|f| f.explicit_drop = false);
    assert_eq!(actions(&mut b), []);
    assert!(b.trace("in_port=1").to_string().ends_with("Datapath actions: drop\n"));
}

#[test]
fn a_copy_after_which_nothing_comes_is_none() {
    let mut b = with(&[
        "in_port=1,ip,actions=resubmit(,1),pop:NXM_NX_REG0[]",
        "table=1,ip,actions=clone(ct(commit),output:2)",
        "in_port=2,ip,actions=clone(ct(commit),output:1),output:3",
    ]);
    assert_eq!(b.passes("in_port=1,ip"), ["ct(commit),2"]);
    assert_eq!(b.passes("in_port=2,ip"), ["clone(ct(commit),1),3"]);
    b.assume(|f| f.clone = false);
    assert_eq!(b.passes("in_port=2,ip"), ["sample(sample=100.0%,actions(ct(commit),1)),3"]);
    b.assume(|f| (f.clone, f.sample_nesting) = (false, 3));
    assert_eq!(b.passes("in_port=2,ip"), ["3"]);
    assert!(b.trace("in_port=2,ip").to_string().contains(">>>> Failed to compose clone action <<<<"));
}

#[test]
fn what_leaves_the_packet_alone_needs_no_copy() {
    let mut b = with(&[
        "in_port=1,ip,actions=clone(check_pkt_larger(200)->NXM_NX_REG0[0],resubmit(,1)),output:3",
        "table=1,priority=2,reg0=1/1,ip,actions=set_field:192.168.1.1->ip_dst,output:2",
        "table=1,priority=1,ip,actions=output:4",
        "in_port=2,ip,actions=clone(check_pkt_larger(200)->NXM_NX_REG0[0],resubmit(,2)),output:3",
        "table=2,priority=2,reg0=1/1,ip,actions=ct(commit),output:2",
        "table=2,priority=1,ip,actions=output:4",
    ]);
    let icmp = |port| format!("in_port={port},icmp,nw_dst=10.10.10.1");
    assert_eq!(b.passes(&icmp(1)), ["check_pkt_len(size=200,gt(set(ipv4(dst=192.168.1.1)),2),le(4)),3"]);
    assert_eq!(b.passes(&icmp(2)), ["clone(check_pkt_len(size=200,gt(ct(commit)),le(4))),3"]);
}

#[test]
fn queues_mark_packets() {
    let mut b = with(&["actions=output:2,enqueue:2:1,enqueue:2:7,enqueue:3:1,output:2"]);
    b.set_port(2, |port| port.dscp = [(1, 10)].into());
    assert_eq!(
        b.passes("in_port=1,icmp,nw_tos=0xfc"),
        ["2,set(ipv4(tos=0x28/0xfc)),set(skb_priority(0x1)),2,set(ipv4(tos=0xfc/0xfc)),set(skb_priority(0x7)),2,\
             set(skb_priority(0x1)),3,set(skb_priority(0)),2"]
    );
    // What is no IP has nothing to be marked.
    let other = b.trace("in_port=1,dl_type=0x1234");
    let actions = ovs_dpif::text::actions(&other.passes[0].actions).to_string();
    assert_eq!(
        actions,
        "2,set(skb_priority(0x1)),2,set(skb_priority(0x7)),2,set(skb_priority(0x1)),3,set(skb_priority(0)),2"
    );
    // Queues are told apart by priority: packets of others are none of this megaflow.
    assert!(other.passes[0].megaflow.mask().touches(ovs_packet::field::FieldId::SkbPriority));
}

#[test]
fn what_is_moved_into_a_header_is_for_every_protocol() {
    let mut b = with(&[
        "in_port=1,ip,actions=move:NXM_NX_REG1[]->NXM_OF_IP_SRC[],output:2",
        "in_port=2,ip,actions=set_field:1.1.1.1->ip_src,output:3",
    ]);
    for proto in [0, 17] {
        let trace = b.trace(&format!("in_port=1,ip,nw_src=10.0.0.1,nw_proto={proto}"));
        assert_eq!(ovs_dpif::text::actions(&trace.passes[0].actions).to_string(), "set(ipv4(src=0.0.0.0)),2");
        assert!(!trace.passes[0].megaflow.mask().touches(ovs_packet::field::FieldId::NwProto));
    }
    // What is set is set where there is a protocol, and nowhere else.
    let set = |b: &mut World, proto: u8| b.passes(&format!("in_port=2,ip,nw_src=10.0.0.1,nw_proto={proto}"));
    assert_eq!((set(&mut b, 0), set(&mut b, 17)), (vec!["3".to_string()], vec!["set(ipv4(src=1.1.1.1)),3".into()]));
}

#[test]
fn samples_are_taken_where_somebody_collects_them() {
    let mut b = with(&[
        "in_port=1,actions=sample(probability=32767,collector_set_id=1,obs_domain_id=100,obs_point_id=200),output:2",
        "in_port=2,actions=sample(probability=65535,collector_set_id=1,obs_domain_id=100,obs_point_id=200)",
    ]);
    let traced = |b: &mut World| [1, 2].map(|port| b.passes(&format!("in_port={port}")).concat());
    assert_eq!(traced(&mut b), ["2", "drop"]);
    let mut local = Collector { exports: false, local_group: Some(42) };
    b.of.hooks_changed(|h| h.set_collectors([(1, local)].into()));
    // The datapath knows no such listeners.
    assert_eq!(traced(&mut b), ["2", "drop"]);
    b.assume(|f| f.psample = true);
    let to_group = "psample(group=42,cookie=0x64000000c8)";
    assert_eq!(traced(&mut b), [format!("sample(sample=50.0%,actions({to_group})),2"), to_group.into()]);
    local.exports = true;
    b.of.hooks_changed(|h| {
        h.set_collectors([(1, local)].into());
        h.drops_sampled = true;
    });
    let [_, both] = traced(&mut b);
    assert!(both.starts_with(&format!("{to_group},userspace(pid=0,flow_sample(")) && both.ends_with(",drop"), "{both}");
}

#[test]
fn who_nests_too_deep_is_told_what_led_there() {
    let mut b = with(&[
        "priority=0,actions=check_pkt_larger(200)->NXM_NX_REG0[0],resubmit(,1)",
        "table=1,reg0=1/1,ip,actions=clone(resubmit(,0))",
        "table=1,priority=1,ip,actions=clone(resubmit(,0))",
    ]);
    let text = b.trace("in_port=1,icmp").to_string();
    assert!(text.contains("Megaflow: recirc_id=0,eth,ip,reg0=0/0x1,in_port=1,nw_frag=no\n"), "{text}");
}

#[test]
fn packets_come_up_for_what_the_datapath_lacks() {
    let mut b = with(&[
        "in_port=1,icmp6,icmp_type=135,actions=set_field:fe80::3->nd_target,output:2",
        "in_port=2,arp,actions=set_field:2->arp_op,output:1",
        "in_port=3,actions=encap(mpls),encap(ethernet),output:1",
        "in_port=4,actions=check_pkt_larger(100)->NXM_NX_REG0[0],resubmit(,1)",
        "table=1,reg0=1/1,actions=output:1",
        "table=1,priority=1,actions=output:2",
    ]);
    let solicitation = "in_port=1,icmp6,icmp_type=135,icmp_code=0,nd_target=fe80::1";
    let packets = [solicitation, "in_port=2,arp,arp_op=1", "in_port=3,ip", "in_port=4,ip"];
    let slow = |b: &mut World, packet: &str| b.trace(packet).passes[0].slow;
    assert!(packets.iter().all(|p| slow(&mut b, p).is_empty()));
    b.of.set_slow_messages(true);
    b.assume(|f| (f.add_mpls, f.check_pkt_len) = (false, false));
    for packet in packets {
        assert_eq!(slow(&mut b, packet), SlowPath::ACTION, "{packet}");
    }
    // A packet that is there has a length.
    let m: Match = "in_port=4,udp".parse().unwrap();
    for (len, port) in [(10, "2"), (200, "1")] {
        let request = TraceRequest::packet(compose::compose(m.key(), &vec![0; len]), OfPort(4));
        let trace = b.of.trace(&b.dp, &request);
        assert_eq!(ovs_dpif::text::actions(&trace.passes[0].actions).to_string(), port);
    }
    assert_eq!(b.ends.len(), 4);
}

#[test]
fn first_fragments_have_ports_only_where_they_are_asked_for() {
    let mut b = with(&[
        "priority=9,tcp,nw_frag=first,tp_dst=80,actions=output:1",
        "priority=5,tcp,nw_frag=first,actions=output:2",
        "priority=5,tcp,nw_frag=no,actions=output:3",
    ]);
    let (first, whole) = ("in_port=4,tcp,nw_frag=first,tp_dst=80", "in_port=4,tcp,nw_frag=no,tp_dst=80");
    // OFPC_FRAG_NORMAL, OFPC_FRAG_NX_MATCH, OFPC_FRAG_DROP.
    for (mode, port) in [(0, "2"), (3, "1"), (1, "drop")] {
        b.set_fragments(mode);
        let actions = b.passes(first);
        assert!(actions[0].starts_with(port), "{mode}: {actions:?}");
        assert_eq!(b.passes(whole), ["3"]);
    }
    b.set_fragments(0);
    // The ports were not looked at.
    assert!(!b.trace(first).to_string().contains("Megaflow: recirc_id=0,eth,tcp,in_port=4,nw_frag=first,tp_dst"));
}

#[test]
fn what_a_packet_teaches_is_told() {
    let mut b = with(&["actions=NORMAL"]);
    let packet = packet("udp,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02");
    let request = TraceRequest::packet(packet, OfPort(1));
    let line = "-> learned that 02:00:00:00:00:01 is on port p1 in VLAN 0";
    let text = |b: &mut World| b.of.trace_and_learn(&mut b.dp, &request, Instant::ZERO).to_string();
    assert!(text(&mut b).contains(line));
    assert!(!text(&mut b).contains(line));
    // Words teach nothing.
    assert!(!b.trace("in_port=2,udp,dl_src=02:00:00:00:00:07").to_string().contains("learned that"));
}

#[test]
fn behind_the_last_table_there_is_none_to_go_on_with() {
    let mut b = with(&[]);
    let c = b.connect(Version::V1_1);
    // OFPT_TABLE_MOD of OpenFlow 1.1: all tables, OFPTC_TABLE_MISS_CONTINUE.
    let message = [2, 17, 0, 16, 0, 0, 0, 1, 0xff, 0, 0, 0, 0, 0, 0, 1];
    b.tell(c, &message);
    let text = b.trace("in_port=1").to_string();
    assert!(text.contains("253. No match, and a \"packet-in\" is called for."), "{text}");
}

//! The NORMAL action, clause by clause: which ports a packet leaves by, with which tags, and what of it is learnt.

use ovs_dpif::text;
use ovs_ofproto::pipeline::{L2Config, PriorityTags, Snooping, SnoopingConfig, TraceRequest, VlanMode, VlanSet};
use ovs_packet::{EthAddr, Instant, Match, OfPort};

use crate::world::World;

fn normal() -> World {
    World::with(4, &["actions=NORMAL"])
}

impl World {
    /// What the datapath does with a packet; nothing is learnt.
    fn does(&mut self, packet: &str) -> String {
        text::actions(&self.trace(packet).passes[0].actions).to_string()
    }

    fn does_with(&mut self, request: &TraceRequest) -> String {
        text::actions(&self.of.trace(&self.dp, request).passes[0].actions).to_string()
    }

    /// The same; what the packet teaches is learnt.
    fn learns(&mut self, packet: &str, now: Instant) {
        let request = TraceRequest::flow(&packet.parse().unwrap_or_else(|e| panic!("{packet}: {e}")));
        self.of.trace_and_learn(&mut self.dp, &request, now);
    }
}

fn udp(port: u32, src: u8, dst: u8) -> String {
    format!("in_port={port},udp,dl_src=02:00:00:00:00:{src:02x},dl_dst=02:00:00:00:00:{dst:02x}")
}

#[test]
fn protected_ports_hear_nothing_of_each_other() {
    let mut b = normal();
    b.set_port(1, |p| p.protected = true);
    b.set_port(2, |p| p.protected = true);
    assert_eq!((b.does(&udp(1, 1, 9)), b.does(&udp(3, 1, 9))), ("3,4".into(), "1,2,4".into()));
    // Not even what is for a station behind one.
    let now = Instant::from_secs(1);
    b.learns(&udp(2, 2, 9), now);
    b.learns(&udp(3, 3, 9), now);
    let to_2 = [1, 3].map(|port| b.does(&udp(port, 9, 2)));
    assert_eq!((to_2, b.does(&udp(1, 9, 3))), (["drop".into(), "2".into()], "3".into()));
}

#[test]
fn reserved_addresses_stay_on_the_link() {
    let mut b = normal();
    let bpdu = |last: u8| format!("in_port=1,dl_src=02:00:00:00:00:01,dl_dst=01:80:c2:00:00:{last:02x},dl_type=0x1234");
    assert_eq!([0x00, 0x0f, 0x10].map(|a| b.does(&bpdu(a))), ["drop", "drop", "2,3,4"]);
    let mut l2 = L2Config::default();
    l2.forward_bpdu = true;
    b.of.set_l2(l2);
    assert_eq!([0x00, 0x0f, 0x10].map(|a| b.does(&bpdu(a))), ["2,3,4"; 3]);
}

#[test]
fn a_station_that_moved_is_followed_at_once() {
    let mut b = normal();
    let garp = |port: u32| {
        format!(
            "in_port={port},arp,dl_src=02:00:00:00:00:02,dl_dst=ff:ff:ff:ff:ff:ff,arp_op=1,arp_spa=10.0.0.2,arp_tpa=10.0.0.2"
        )
    };
    let at = Instant::from_secs;
    b.learns(&garp(2), at(10));
    assert_eq!(b.does(&udp(1, 1, 2)), "2");
    // The hold after a gratuitous ARP is against echoes that bonds bring back, and there is none.
    b.learns(&udp(3, 2, 9), at(11));
    assert_eq!(b.does(&udp(1, 1, 2)), "3");
    b.learns(&garp(4), at(12));
    assert_eq!(b.does(&udp(1, 1, 2)), "4");
}

#[test]
fn nobody_is_behind_a_group_address_or_in_a_flooded_vlan() {
    let mut b = normal();
    b.learns("in_port=2,udp,dl_src=03:00:00:00:00:02,dl_dst=02:00:00:00:00:09", Instant::from_secs(1));
    assert!(b.of.macs().is_empty());
    let mut l2 = L2Config::default();
    l2.flood_vlans = [7].into_iter().collect();
    b.of.set_l2(l2);
    b.learns(&format!("{},dl_vlan=7", udp(2, 2, 9)), Instant::from_secs(2));
    b.learns(&format!("{},dl_vlan=8", udp(2, 2, 9)), Instant::from_secs(2));
    let known: Vec<_> = b.of.macs().iter(Instant::from_secs(2)).map(|e| (e.vlan, e.address, e.port)).collect();
    assert_eq!(known, [(8, EthAddr::local(2), OfPort(2))]);
}

#[test]
fn customers_vlans_pass_tunnels_as_they_are_told() {
    let mut b = normal();
    let tunnel = |customers: &[u16], tpid: u16| {
        let mut mode = VlanMode::tunnel(20);
        if let VlanMode::Dot1qTunnel { customers: set, tpid: of, .. } = &mut mode {
            *set = if customers.is_empty() { VlanSet::ALL } else { customers.iter().copied().collect() };
            *of = tpid;
        }
        mode
    };
    b.set_port(1, |p| p.vlan = tunnel(&[10], 0x88a8));
    b.set_port(2, |p| p.vlan = tunnel(&[], 0x8100));
    b.set_port(3, |p| p.vlan = VlanMode::Trunk([20].into_iter().collect()));
    b.set_port(4, |p| p.vlan = VlanMode::Access(20));
    let tagged = |port, vid: u16| format!("{},dl_vlan={vid},dl_vlan_pcp=0", udp(port, 1, 9));
    // In the provider's VLAN a customer's tag goes within the provider's, and comes out again.
    assert_eq!(b.does(&tagged(1, 10)), "2,push_vlan(tpid=0x88a8,vid=20,pcp=0),3");
    // This customer's other VLANs, and untagged packets, do not pass.
    assert_eq!((b.does(&tagged(1, 11)), b.does(&udp(1, 1, 9))), ("drop".into(), "drop".into()));
    // An access port of the provider's VLAN has no customers' tags; untagged packets it has.
    assert_eq!(b.does(&tagged(2, 11)), "push_vlan(vid=20,pcp=0),3");
    assert_eq!(b.does(&udp(2, 1, 9)), "push_vlan(vid=20,pcp=0),3,pop_vlan,4");
    assert_eq!(b.does(&tagged(2, 10)), "1,push_vlan(vid=20,pcp=0),3");
}

#[test]
fn priorities_are_told_in_tags_where_they_are_wanted() {
    let mut b = normal();
    let mut of = |tags: PriorityTags, packet: &str| {
        b.set_port(1, |p| (p.vlan, p.priority_tags) = (VlanMode::Access(10), tags));
        b.set_port(2, |p| p.vlan = VlanMode::Trunk([10].into_iter().collect()));
        b.set_port(3, |p| p.vlan = VlanMode::Access(99));
        b.set_port(4, |p| p.vlan = VlanMode::Access(99));
        b.does(packet)
    };
    let tagged = |pcp: u8| format!("{},dl_vlan=10,dl_vlan_pcp={pcp}", udp(2, 1, 9));
    use PriorityTags::{Always, IfNonzero, Never};
    assert_eq!([Never, IfNonzero].map(|tags| of(tags, &tagged(0))), ["pop_vlan,1"; 2]);
    assert_eq!(of(Never, &tagged(5)), "pop_vlan,1");
    assert_eq!([IfNonzero, Always].map(|tags| of(tags, &tagged(5))), ["pop_vlan,push_vlan(vid=0,pcp=5),1"; 2]);
}

#[test]
fn reports_go_to_routers_and_to_ports_that_want_them_all() {
    let mut b = normal();
    b.of.set_snooping(Some(SnoopingConfig::default()));
    let report =
        "in_port=1,ip,dl_src=02:00:00:00:00:01,dl_dst=01:00:5e:01:01:01,nw_src=10.0.0.1,nw_dst=239.1.1.1,nw_proto=2";
    let m: Match = report.parse().unwrap();
    let mut report = TraceRequest::flow(&m);
    // A report of version 2.
    report.key.tp_src = 0x16.into();
    // Hosts are not to keep silent because another has reported.
    assert_eq!(b.does_with(&report), "drop");
    b.set_port(3, |p| p.flood_reports = true);
    b.set_port(2, |p| p.flood_reports = true);
    // In the order in which they were told to, and once.
    assert_eq!(b.does_with(&report), "3,2");
    b.set_port(3, |p| p.flood_reports = true);
    assert_eq!(b.does_with(&report), "3,2");
    b.set_port(3, |p| p.flood_reports = false);
    b.set_port(3, |p| p.flood_reports = true);
    assert_eq!(b.does_with(&report), "2,3");
    b.set_port(1, |p| p.flood_reports = true);
    let trace = b.of.trace(&b.dp, &report).to_string();
    assert!(trace.contains("     -> mcast port is input port, dropping the Report\n"), "{trace}");
}

#[test]
fn groups_of_the_link_are_for_everyone() {
    let mut b = normal();
    let mut config = SnoopingConfig::default();
    config.flood_unregistered = false;
    b.of.set_snooping(Some(config));
    assert!(b.of.snooping().is_some_and(|s: &Snooping| !s.config().flood_unregistered));
    let v4 = |dst: &str| format!("in_port=1,udp,dl_src=02:00:00:00:00:01,dl_dst=01:00:5e:00:00:05,nw_dst={dst}");
    assert_eq!([v4("224.0.0.5"), v4("239.0.0.5")].map(|p| b.does(&p)), ["2,3,4", "drop"]);
    let v6 = |dst: &str| format!("in_port=1,udp6,dl_src=02:00:00:00:00:01,dl_dst=33:33:00:00:00:01,ipv6_dst={dst}");
    // Of IPv6's only that of all nodes, of which nobody reports.
    assert_eq!([v6("ff02::1"), v6("ff02::2"), v6("ff05::1")].map(|p| b.does(&p)), ["2,3,4", "drop", "drop"]);
    // A port that wants all groups has those, too.
    b.set_port(4, |p| p.flood_groups = true);
    assert_eq!([v4("239.0.0.5"), v6("ff02::2")].map(|p| b.does(&p)), ["4"; 2]);
}

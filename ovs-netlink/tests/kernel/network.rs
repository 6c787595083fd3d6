//! Connections, and the network around a datapath.

use ovs_netlink::attr::Masked;
use ovs_netlink::nf::{ConnectionFilter, L4, TimeoutPolicy, TimeoutTcpAttr, Tuple};
use ovs_netlink::ovs::{Action, Command, CtAttr, Vport, VportType};
use ovs_netlink::route::{Address, LinkChange, LinkKind, Neighbour, NewLink, Qdisc, Route, RouteEntry, Rule};
use ovs_netlink::{Conntrack, Linux};

use crate::{Kernel, MAC, attributes, is_new, name};

#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn connections_are_made_listed_and_forgotten() {
    let Some(new) = is_new() else { return };
    let mut kernel = Kernel::open();
    let dp_ifindex = kernel.make("dp5", &[0]);
    let port = kernel.internal(dp_ifindex, "ct1");
    let mut tracker = Conntrack::open(&Linux).unwrap();
    tracker.flush(&ConnectionFilter::default()).unwrap();
    let mut commit = |src: u16, zone: u16, mark: u32| {
        let actions = attributes(|actions| {
            actions.nest(Action::CT, |ct| {
                ct.put(CtAttr::Commit)?;
                if new {
                    ct.put(CtAttr::Zone(zone))?;
                }
                ct.put(CtAttr::Mark(Masked { value: mark, mask: u32::MAX })).map(drop)
            })?;
            Ok(())
        });
        kernel.execute(dp_ifindex, port, src, &actions);
    };
    (0..10).for_each(|number| commit(1000 + number, if number < 6 { 1 } else { 2 }, number.into()));
    let all = tracker.connections(&ConnectionFilter::default(), 1000).unwrap();
    assert_eq!(all.len(), 10, "{all:?}");
    let one = all.iter().find(|connection| connection.mark == 3).unwrap();
    assert_eq!(one.orig.l4, L4::Ports { src: 1003, dst: 9 });
    assert_eq!(one.reply.l4, L4::Ports { src: 9, dst: 1003 });
    assert!(one.id.is_some() && one.timeout.is_some_and(|seconds| seconds > 0));
    assert_eq!(tracker.table().unwrap().entries, 10);
    assert!(!tracker.cpu_stats().unwrap().is_empty());
    assert_eq!(tracker.expectations().unwrap(), []);
    // By tuple, by mark, by zone, and the rest.
    let zone = if new { 1 } else { 0 };
    tracker.delete(&Tuple { zone: None, ..one.orig }, zone).unwrap();
    assert_eq!(tracker.delete(&Tuple { zone: None, ..one.orig }, zone).unwrap_err().errno(), Some(2));
    let marked = ConnectionFilter { mark: Some((4, u32::MAX)), ..ConnectionFilter::default() };
    assert_eq!(tracker.flush(&marked).unwrap(), 1);
    let left = if new {
        let zone = ConnectionFilter { zone: Some(2), ..ConnectionFilter::default() };
        assert_eq!(tracker.flush(&zone).unwrap(), 4);
        assert!(tracker.connections(&ConnectionFilter::default(), 1000).unwrap().iter().all(|left| left.zone == 1));
        4
    } else {
        8
    };
    assert_eq!(tracker.flush(&ConnectionFilter::default()).unwrap(), left);
    assert_eq!(tracker.connections(&ConnectionFilter::default(), 1000).unwrap(), []);

    let policy = TimeoutPolicy {
        name: b"ovs_tp_0_tcp4".to_vec(),
        ethertype: TimeoutPolicy::IPV4,
        protocol: 6,
        seconds: vec![(TimeoutTcpAttr::ESTABLISHED, 99), (TimeoutTcpAttr::SYN_SENT, 11)],
        users: None,
    };
    match tracker.set_timeout_policy(&policy) {
        Err(error) if !new => println!("no timeout policies here: {error}"),
        result => {
            result.unwrap();
            let got = tracker.timeout_policy(&policy.name).unwrap();
            assert_eq!((got.ethertype, got.protocol, got.users), (TimeoutPolicy::IPV4, 6, Some(1)));
            assert!(policy.seconds.iter().all(|pair| got.seconds.contains(pair)), "{got:?}");
            assert_eq!(tracker.timeout_policies().unwrap().len(), 1);
            let defaults = tracker.default_timeouts(TimeoutPolicy::IPV4, 6).unwrap();
            assert!(defaults.seconds.iter().any(|(number, _)| *number == TimeoutTcpAttr::ESTABLISHED), "{defaults:?}");
            tracker.delete_timeout_policy(&policy.name).unwrap();
            assert_eq!(tracker.timeout_policy(&policy.name).unwrap_err().errno(), Some(2));
        }
    }
    kernel.delete("dp5");
}

#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn devices_of_all_kinds_and_ways_to_them() {
    let Some(new) = is_new() else { return };
    let mut route = Route::open(&Linux).unwrap();
    let mut kernel = Kernel::open();
    let dp_ifindex = kernel.make("dp7", &[0]);
    let tunnels = [
        ("vxlan_t", LinkKind::Vxlan { port: 4789, gbp: false, gpe: false }, "vxlan", true),
        ("vxlan_g", LinkKind::Vxlan { port: 4790, gbp: true, gpe: false }, "vxlan", true),
        ("vxlan_p", LinkKind::Vxlan { port: 4791, gbp: false, gpe: true }, "vxlan", true),
        ("geneve_t", LinkKind::Geneve { port: 6081 }, "geneve", true),
        ("gre_t", LinkKind::GreTap, "gretap", true),
        ("gre_l3", LinkKind::Gre, "gre", true),
        ("gre6_t", LinkKind::Ip6GreTap, "ip6gretap", true),
        ("erspan_t", LinkKind::Erspan, "erspan", true),
        ("erspan6_t", LinkKind::Ip6Erspan, "ip6erspan", true),
        ("bareudp_t", LinkKind::Bareudp { port: 6635, ethertype: 0x8847, multiproto: true }, "bareudp", new),
        ("gtp_t", LinkKind::Gtp, "gtp", new),
    ];
    for (device, kind, text, needed) in tunnels {
        match route.add_link(&NewLink {
            mtu: Some(65000).filter(|_| text == "vxlan"),
            up: true,
            ..NewLink::new(device, kind)
        }) {
            Err(error) if !needed => println!("{device}: {error}"),
            result => {
                result.unwrap_or_else(|error| panic!("{device}: {error}"));
                let link = route.link(device).unwrap();
                assert_eq!((link.kind.as_str(), link.up), (text, true), "{device}");
                // A datapath takes it as a port.
                let port = Vport {
                    dp_ifindex,
                    name: name(device),
                    ty: Some(VportType::NETDEV),
                    upcall_pids: Some(vec![0]),
                    ..Vport::default()
                };
                if text != "gtp" {
                    kernel.vport(Command::New, &port).unwrap_or_else(|error| panic!("{device}: {error}"));
                }
                route.delete_link(link.index).unwrap();
            }
        }
    }
    kernel.delete("dp7");

    // A pair with addresses, routes, rules, neighbours and queues.
    let pair = NewLink { address: Some(MAC[0]), ..NewLink::new("va", LinkKind::Veth { peer: "vb", namespace: None }) };
    route.add_link(&pair).unwrap();
    assert_eq!(route.add_link(&pair).unwrap_err().errno(), Some(17));
    let (a, b) = (route.link("va").unwrap(), route.link("vb").unwrap());
    assert_eq!((a.address, a.kind.as_str(), a.up, a.link), (Some(MAC[0]), "veth", false, Some(b.index)));
    route.set_up(a.index, true).unwrap();
    route.set_up(b.index, true).unwrap();
    route
        .change_link(a.index, LinkChange { mtu: Some(1400), name: Some("va1"), ..LinkChange::default() })
        .unwrap_or_else(|error| {
            // Older kernels do not rename what is up.
            println!("{error}");
            route.change_link(a.index, LinkChange { mtu: Some(1400), ..LinkChange::default() }).unwrap();
        });
    let changed = route.link_by_index(a.index).unwrap();
    assert!(changed.carrier && changed.mtu == 1400, "{changed:?}");
    assert!(route.links().unwrap().contains(&changed));
    let address = Address { index: a.index, ip: "10.5.0.1".parse().unwrap(), prefix: 24 };
    let v6 = Address { index: a.index, ip: "fd00::1".parse().unwrap(), prefix: 64 };
    for address in [address, v6] {
        route.add_address(address).unwrap();
        assert!(route.addresses().unwrap().contains(&address));
    }
    let way = RouteEntry {
        destination: "10.6.0.0".parse().unwrap(),
        prefix: 16,
        table: 254,
        gateway: Some("10.5.0.2".parse().unwrap()),
        index: Some(a.index),
        source: Some("10.5.0.1".parse().unwrap()),
        priority: 5,
        mark: None,
        local: false,
        protocol: 4,
    };
    route.set_route(&way).unwrap();
    let routes = route.routes().unwrap();
    assert!(routes.contains(&way), "{routes:?}");
    assert!(routes.iter().any(|route| route.local && route.destination == address.ip && route.table == 255));
    route.delete_route(&way).unwrap();
    assert_eq!(route.delete_route(&way).unwrap_err().errno(), Some(3));
    let rules = route.rules().unwrap();
    assert!(rules.iter().any(|rule| rule.table == Some(254) && rule.priority == 32766 && !rule.more), "{rules:?}");
    let rule = Rule {
        v6: false,
        priority: 100,
        table: Some(1000),
        source: Some(("10.7.0.0".parse().unwrap(), 16)),
        destination: None,
        inverted: true,
        input: Some("vb".to_owned()),
        output: None,
        mark: Some((1, 0xff)),
        more: false,
    };
    match route.add_rule(&rule) {
        Err(error) if !new => println!("no rules here: {error}"),
        result => {
            result.unwrap();
            assert!(route.rules().unwrap().contains(&rule), "{:?}", route.rules());
            route.delete_rule(&rule).unwrap();
        }
    }
    let told = Neighbour {
        index: a.index,
        ip: "10.5.0.2".parse().unwrap(),
        address: Some(MAC[1]),
        valid: true,
        permanent: true,
    };
    route.set_neighbour(&told).unwrap();
    assert!(route.neighbours().unwrap().contains(&told));
    route.delete_neighbour(&told).unwrap();
    let qdisc = Qdisc { index: a.index, kind: "ingress".to_owned(), handle: 0xffff_0000, parent: Qdisc::INGRESS };
    route.add_qdisc(&qdisc).unwrap();
    assert!(route.qdiscs().unwrap().contains(&qdisc), "{:?}", route.qdiscs());
    route.delete_qdisc(&qdisc).unwrap();
    route.delete_address(v6).unwrap();
    route.delete_link(a.index).unwrap();
    assert_eq!(route.link("vb").unwrap_err().errno(), Some(19));
}

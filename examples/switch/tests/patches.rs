//! Patches between bridges as they are configured: joined when both ends name each other, in whatever order they come.

use ovs_packet::{Instant, Match, compose};
use ovs_switch::config::{BridgeConfig, Config, PortConfig};
use ovs_switch::vswitch::{DatapathTypes, Dummies, Vswitch};

struct Lab {
    switch: Vswitch,
    dummies: Dummies,
}

fn dummy(name: &str) -> PortConfig {
    PortConfig::new(name).kind("dummy")
}

fn patch(name: &str, peer: &str) -> PortConfig {
    PortConfig::new(name).kind("patch").option("peer", peer)
}

fn config(bridges: &[(&str, &[PortConfig])]) -> Config {
    let mut config = Config::default();
    for (name, ports) in bridges {
        config.bridges.push(ports.iter().cloned().fold(BridgeConfig::new(*name), BridgeConfig::port));
    }
    config
}

impl Lab {
    fn new() -> Lab {
        let dummies = Dummies::default();
        Lab { switch: Vswitch::new(DatapathTypes::dummy(), Box::new(dummies.clone()), 7), dummies }
    }

    fn apply(&mut self, bridges: &[(&str, &[PortConfig])]) {
        self.switch.apply(&config(bridges), Instant::ZERO);
    }

    /// Whether a frame that comes in by one device leaves by another.
    fn passes(&mut self, from: &str, to: &str) -> bool {
        let sent = |lab: &Lab| lab.dummies.get(to).unwrap().stats().tx_packets;
        let before = sent(self);
        let frame: Match = "udp,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02".parse().unwrap();
        self.dummies.get(from).unwrap().receive(compose::compose(frame.key(), b"hello"), 0);
        while self.switch.run(Instant::ZERO) > 0 {}
        sent(self) > before
    }

    fn megaflows(&self) -> u64 {
        self.switch.datapaths().map(|d| d.stats().unwrap().flows).sum()
    }
}

#[test]
fn ends_join_when_both_are_there_and_name_each_other() {
    let mut l = Lab::new();
    let p2 = [dummy("p2"), patch("b", "a")];
    l.apply(&[("br0", &[dummy("p1"), patch("a", "b")]), ("br1", &[dummy("p2")])]);
    assert!(!l.passes("p1", "p2"));
    l.apply(&[("br0", &[dummy("p1"), patch("a", "b")]), ("br1", &p2)]);
    assert!(l.passes("p1", "p2"));
    // One megaflow for the whole way, and no port of the datapath for the ends.
    assert_eq!(l.megaflows(), 1);
    let ports = l.switch.datapaths().next().unwrap().ports().unwrap();
    assert!(!ports.iter().any(|p| p.name == "a" || p.name == "b"));
    assert!(l.switch.bridge("br0").unwrap().port("a").unwrap().datapath.is_none());
    // A peer that is none: it names another, or is no patch.
    l.apply(&[("br0", &[dummy("p1"), patch("a", "c")]), ("br1", &p2)]);
    assert!(!l.passes("p1", "p2"));
    l.apply(&[("br0", &[dummy("p1"), patch("a", "p2")]), ("br1", &[dummy("p2")])]);
    assert!(!l.passes("p1", "p2"));
    l.apply(&[("br0", &[dummy("p1"), patch("a", "b")]), ("br1", &p2)]);
    assert!(l.passes("p1", "p2") && l.passes("p2", "p1"));
    assert_eq!(l.switch.interface_error("a"), None);
}

#[test]
fn bridges_with_patches_go_and_come() {
    let mut l = Lab::new();
    let br0 = [dummy("p1"), patch("a", "b")];
    let br1 = [dummy("p2"), patch("b", "a")];
    l.apply(&[("br0", &br0), ("br1", &br1)]);
    assert!(l.passes("p1", "p2"));
    l.apply(&[("br0", &br0)]);
    assert!(l.dummies.get("p2").is_none());
    l.apply(&[("br0", &br0), ("br2", &[dummy("p3")])]);
    assert_eq!(l.switch.bridge("br2").unwrap().place(), 1);
    assert!(!l.passes("p1", "p3"));
    l.apply(&[("br0", &br0), ("br2", &[dummy("p3"), patch("b", "a")])]);
    assert!(l.passes("p1", "p3"));
    // The end moves to another bridge.
    l.apply(&[("br0", &br0), ("br1", &br1), ("br2", &[dummy("p3")])]);
    assert!(l.passes("p1", "p2") && !l.passes("p1", "p3"));
}

#[test]
fn what_passes_a_patch_is_counted_by_translation() {
    let mut l = Lab::new();
    l.apply(&[("br0", &[dummy("p1"), patch("a", "b")]), ("br1", &[dummy("p2"), patch("b", "a")])]);
    for _ in 0..3 {
        assert!(l.passes("p1", "p2"));
    }
    l.switch.revalidate(Instant::from_secs(1));
    let stats: Vec<_> = l.switch.patch_stats().map(|(name, s)| (name, s.rx_packets, s.tx_packets)).collect();
    assert_eq!(stats, [("a", 0, 3), ("b", 3, 0)]);
}

#[test]
fn a_patch_needs_a_peer_that_is_not_itself() {
    let mut l = Lab::new();
    l.apply(&[("br0", &[patch("a", "a"), PortConfig::new("b").kind("patch"), patch("c", "d").option("x", "y")])]);
    for (name, why) in [
        ("a", "could not open network device a (a: patch peer must not be self)"),
        ("b", "could not open network device b (b: patch type requires valid 'peer' argument)"),
        ("c", "could not open network device c (c: patch has no option x)"),
    ] {
        assert_eq!(l.switch.interface_error(name), Some(why));
        assert!(l.switch.bridge("br0").unwrap().port(name).is_none());
    }
}

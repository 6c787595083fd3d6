//! Tunnel ports as they are configured: over ports of the datapath that they share, refused where there can be none, and
//! changed all at once.

use ovs_dpif::{Dpif, text};
use ovs_ofproto::pipeline::{Ofproto, TraceRequest};
use ovs_packet::{FlowKey, Instant, Match, OfPort, compose};
use ovs_switch::config::{BridgeConfig, Config, PortConfig};
use ovs_switch::vswitch::{DatapathTypes, Dummies, Vswitch};

fn tunnel(name: &str, kind: &str, options: &str) -> PortConfig {
    let pairs = options.split_whitespace().filter_map(|o| o.split_once('='));
    pairs.fold(PortConfig::new(name).kind(kind), |port, (key, value)| port.option(key, value))
}

struct Lab {
    switch: Vswitch,
}

impl Lab {
    fn new() -> Lab {
        Lab { switch: Vswitch::new(DatapathTypes::dummy(), Box::new(Dummies::default()), 7) }
    }

    fn apply(&mut self, ports: &[PortConfig]) {
        let mut config = Config::default();
        let bridge = BridgeConfig::new("br0").port(PortConfig::new("p1").kind("dummy"));
        config.bridges.push(ports.iter().cloned().fold(bridge, BridgeConfig::port));
        self.switch.apply(&config, Instant::ZERO);
    }

    /// The datapath's ports that are for tunnels.
    fn vports(&self) -> Vec<(String, u32)> {
        let ports = self.switch.datapaths().next().unwrap().ports().unwrap();
        ports.into_iter().filter(|p| p.name.contains("_sys")).map(|p| (p.name, p.port.0)).collect()
    }

    /// The port that a packet comes by.
    fn ingress(&self, vport: u32, tunnel: &str) -> Option<String> {
        let m: Match = tunnel.parse().unwrap();
        let key = FlowKey { in_port: vport.into(), ..m.key() };
        let kind = self.switch.bridge("br0")?.datapath_type();
        let (bridge, number) = self.switch.ingress(kind, &key)?;
        Some(bridge.ports().find(|p| p.number == number)?.name.clone())
    }

    fn error(&self, name: &str) -> Option<&str> {
        self.switch.interface_error(name)
    }
}

#[test]
fn tunnels_share_a_port_of_the_datapath() {
    let mut l = Lab::new();
    let vx = |name, remote| tunnel(name, "vxlan", &format!("remote_ip={remote}"));
    l.apply(&[vx("v1", "1.1.1.1"), vx("v2", "2.2.2.2"), tunnel("g1", "gre", "remote_ip=1.1.1.1")]);
    assert_eq!(l.vports(), [("gre_sys".to_string(), 2), ("vxlan_sys_4789".to_string(), 4789)]);
    assert_eq!(l.ingress(4789, "tun_src=2.2.2.2,tun_dst=9.9.9.9").as_deref(), Some("v2"));
    assert_eq!(l.ingress(2, "tun_src=1.1.1.1,tun_dst=9.9.9.9").as_deref(), Some("g1"));
    assert_eq!(l.ingress(2, "tun_src=2.2.2.2,tun_dst=9.9.9.9"), None);
    l.apply(&[vx("v2", "2.2.2.2")]);
    assert_eq!(l.vports(), [("vxlan_sys_4789".to_string(), 4789)]);
    l.apply(&[tunnel("v2", "vxlan", "remote_ip=2.2.2.2 dst_port=5000")]);
    assert_eq!(l.vports(), [("vxlan_sys_5000".to_string(), 5000)]);
    assert_eq!(l.ingress(5000, "tun_src=2.2.2.2,tun_dst=9.9.9.9").as_deref(), Some("v2"));
    l.apply(&[]);
    assert_eq!(l.vports(), []);
}

#[test]
fn tunnels_can_exchange_what_they_are() {
    let mut l = Lab::new();
    let gre = |name, remote| tunnel(name, "gre", &format!("remote_ip={remote}"));
    l.apply(&[gre("a", "1.1.1.1"), gre("b", "2.2.2.2")]);
    let numbers = |l: &Lab| ["a", "b"].map(|name| l.switch.bridge("br0").unwrap().port(name).unwrap().number);
    let before = numbers(&l);
    l.apply(&[gre("a", "2.2.2.2"), gre("b", "1.1.1.1")]);
    assert_eq!((l.error("a"), l.error("b")), (None, None));
    assert_eq!(l.ingress(2, "tun_src=1.1.1.1,tun_dst=9.9.9.9").as_deref(), Some("b"));
    assert_eq!(l.ingress(2, "tun_src=2.2.2.2,tun_dst=9.9.9.9").as_deref(), Some("a"));
    assert_eq!(numbers(&l), before);
    // What cannot be leads nowhere, and comes back.
    l.apply(&[gre("a", "2.2.2.2"), gre("b", "2.2.2.2")]);
    assert!(
        l.error("b").unwrap().contains("same config as port 'a' (::->2.2.2.2, key=0, legacy_l2"),
        "{:?}",
        l.error("b")
    );
    assert_eq!(l.ingress(2, "tun_src=1.1.1.1,tun_dst=9.9.9.9"), None);
    l.apply(&[gre("a", "2.2.2.2"), gre("b", "1.1.1.1")]);
    assert_eq!(l.error("b"), None);
    assert_eq!(l.ingress(2, "tun_src=1.1.1.1,tun_dst=9.9.9.9").as_deref(), Some("b"));
}

#[test]
fn what_can_be_no_tunnel_is_told() {
    let mut l = Lab::new();
    l.apply(&[
        tunnel("a", "gre", ""),
        tunnel("b", "vxlan", "remote_ip=flow"),
        tunnel("c", "vxlan", "remote_ip=flow exts=gbp key=1"),
        tunnel("d", "vxlan", "remote_ip=flow dst_port=9000 exts=gbp"),
        tunnel("e", "vxlan", "remote_ip=flow"),
        tunnel("f", "stt", "remote_ip=flow"),
    ]);
    assert_eq!(l.error("a"), Some("a: gre type requires valid 'remote_ip' argument"));
    assert_eq!(l.error("c"), Some("c: VXLAN-GBP, and non-VXLAN-GBP tunnels can't be configured on the same dst_port"),);
    assert_eq!(l.error("e"), Some("could not add network device e to ofproto (File exists)"));
    assert!(l.error("f").unwrap().contains("unknown type stt"));
    assert_eq!((l.error("b"), l.error("d")), (None, None));
    let names: Vec<String> = l.vports().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["vxlan_sys_4789", "vxlan_sys_9000"]);
    // One whose options become such that it can be none goes.
    l.apply(&[tunnel("b", "vxlan", "")]);
    assert!(l.error("b").is_some() && l.switch.bridge("br0").unwrap().port("b").is_none());
    assert_eq!(l.vports(), []);
}

#[test]
fn packets_come_out_of_tunnels_and_go_into_them() {
    let mut l = Lab::new();
    l.apply(&[tunnel("v1", "vxlan", "remote_ip=1.1.1.1 key=5")]);
    // What is seen is what a datapath is told that has tunnels of its own: there are no routes here to have others by.
    let own = |of: &mut Ofproto, dp: &mut dyn Dpif| {
        let mut features = dp.features();
        features.native_tunnels = false;
        of.assume_features(features);
    };
    l.switch.with_ofproto("br0", Instant::ZERO, own).unwrap();
    let inner = "udp,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02";
    let came: Match = format!("in_port=2,tun_id=5,tun_src=1.1.1.1,tun_dst=2.2.2.2,{inner}").parse().unwrap();
    let packet = compose::compose(came.key(), b"hello");
    let mut request = TraceRequest::flow(&came);
    request.packet = Some(packet);
    let trace = l.switch.trace("br0", &request, true, Instant::ZERO).unwrap();
    assert_eq!(text::actions(&trace.passes[0].actions).to_string(), "100,1");
    // Its sender was learnt behind the tunnel.
    let back: Match = "in_port=1,udp,dl_src=02:00:00:00:00:02,dl_dst=02:00:00:00:00:01".parse().unwrap();
    assert_eq!(l.switch.bridge("br0").unwrap().port("v1").unwrap().number, OfPort(2));
    let trace = l.switch.trace("br0", &TraceRequest::flow(&back), false, Instant::ZERO).unwrap();
    let does = text::actions(&trace.passes[0].actions).to_string();
    assert_eq!(does, "set(tunnel(tun_id=0x5,dst=1.1.1.1,ttl=64,tp_dst=4789,flags(df|key))),4789");
}

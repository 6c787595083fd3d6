//! A switch that is reached through itself: its controllers' packets pass whatever its flows say.
#![cfg(feature = "pipeline")]

use std::net::Ipv4Addr;

use ovs_dpif::netdev::{MemPort, MemPortPeer};
use ovs_dpif::userspace::Datapath;
use ovs_dpif::{Dpif, PortSpec};
use ovs_ofproto::FlowModCommand::Add;
use ovs_ofproto::pipeline::{InBandConfig, InBandRemote, Ofproto, Port};
use ovs_ofproto::text::Parser;
use ovs_packet::{EthAddr, Instant, Match, OfPort, compose};

const LOCAL: usize = 0;

/// A switch with its own port, and ports 1 and 2; a controller has it drop everything.
struct Lab {
    of: Ofproto,
    dp: Datapath,
    ends: Vec<MemPortPeer>,
}

impl Lab {
    fn new() -> Lab {
        let (mut of, mut dp, mut ends) = (Ofproto::new(), Datapath::new(), Vec::new());
        for (name, number) in [("br0", OfPort::LOCAL), ("p1", OfPort(1)), ("p2", OfPort(2))] {
            let (port, end) = MemPort::new(name, 100);
            let datapath = dp.port_add(PortSpec::Device(Box::new(port)), None).unwrap();
            of.port_add(Port::new(number, datapath, name.to_string()));
            ends.push(end);
        }
        let drop = Parser::default().flow_mod("priority=65535,actions=drop", Add).unwrap();
        of.flow_mod(&mut dp, &drop, Instant::ZERO).unwrap();
        Lab { of, dp, ends }
    }

    /// Sends a packet into a port; which ports it came out of.
    fn send(&mut self, from: usize, packet: &str) -> Vec<usize> {
        let m: Match = packet.parse().unwrap();
        self.ends[from].push(compose::compose(m.key(), b"x"));
        let mut upcalls = Vec::new();
        while self.dp.poll(Instant::ZERO, &mut upcalls) > 0 {
            upcalls.drain(..).for_each(|u| self.of.handle_upcall(&mut self.dp, u, Instant::ZERO));
        }
        self.of.run(&mut self.dp, Instant::ZERO);
        self.of.verify(&self.dp, 0x1234_5678_9abc_def0_0f1e_2d3c_4b5a_6978);
        (0..3).filter(|n| std::iter::from_fn(|| self.ends[*n].pop()).count() > 0).collect()
    }

    fn reach(&mut self, remotes: &[InBandRemote]) {
        let mut config = InBandConfig::default();
        (config.local, config.remotes) = (Some(EthAddr([2, 0, 0, 0, 0, 9])), remotes.to_vec());
        self.of.set_in_band(config, Instant::ZERO);
        self.of.run(&mut self.dp, Instant::ZERO);
    }
}

const FROM: &str = "dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02";
const REMOTE: InBandRemote = InBandRemote { address: Ipv4Addr::new(192, 0, 2, 1), port: 6653, next_hop: None };

#[test]
fn what_belongs_to_controllers_passes_and_nothing_else() {
    let mut lab = Lab::new();
    let to_controller = format!("tcp,{FROM},nw_src=10.0.0.1,nw_dst=192.0.2.1,tp_src=5,tp_dst=6653,nw_ttl=9");
    assert_eq!(lab.send(1, &to_controller), [0usize; 0]);
    lab.reach(&[REMOTE]);
    for (from, packet, to) in [
        (1, to_controller.clone(), vec![LOCAL, 2]),
        (1, to_controller.replace("6653", "6654"), vec![]),
        (1, to_controller.replace("192.0.2.1", "192.0.2.2"), vec![]),
        (2, format!("tcp,{FROM},nw_src=192.0.2.1,nw_dst=10.0.0.7,tp_src=6653,tp_dst=5,nw_ttl=9"), vec![LOCAL, 1]),
        (1, format!("arp,{FROM},arp_op=1,arp_spa=192.0.2.1,arp_tpa=10.0.0.1"), vec![LOCAL, 2]),
        (1, format!("arp,{FROM},arp_op=2,arp_spa=192.0.2.1,arp_tpa=10.0.0.1"), vec![]),
        (1, format!("arp,{FROM},arp_op=2,arp_spa=10.0.0.1,arp_tpa=192.0.2.1"), vec![LOCAL, 2]),
        (LOCAL, "arp,dl_src=02:00:00:00:00:09,dl_dst=ff:ff:ff:ff:ff:ff,arp_op=1".into(), vec![1, 2]),
        (1, "arp,dl_src=02:00:00:00:00:04,dl_dst=02:00:00:00:00:09,arp_op=2".into(), vec![LOCAL]),
        (1, "arp,dl_src=02:00:00:00:00:04,dl_dst=02:00:00:00:00:08,arp_op=2".into(), vec![]),
    ] {
        let came = lab.send(from, &packet);
        assert!(to.iter().all(|n| came.contains(n)) && (came.len() == to.len() || to.len() > 1), "{packet}: {came:?}");
    }
    lab.reach(&[]);
    assert_eq!(lab.send(1, &to_controller), [0usize; 0]);
}

#[test]
fn answers_of_dhcp_reach_the_switch_whatever_flows_say() {
    let answer = format!("udp,{FROM},nw_src=10.0.0.1,nw_dst=255.255.255.255,tp_src=67,tp_dst=68,nw_ttl=9");
    let mut lab = Lab::new();
    assert_eq!(lab.send(1, &answer), [0usize; 0]);
    lab.reach(&[REMOTE]);
    assert_eq!(lab.send(1, &answer), [LOCAL]);
    for other in [answer.replace("tp_src=67", "tp_src=69"), answer.replace("udp", "tcp"), answer.replace("=68", "=67")]
    {
        assert_eq!(lab.send(1, &other), [0usize; 0], "{other}");
    }
    // Once is enough.
    let all = Parser::default().flow_mod("priority=65535,actions=LOCAL,2", Add).unwrap();
    lab.of.flow_mod(&mut lab.dp, &all, Instant::ZERO).unwrap();
    assert_eq!(lab.send(1, &answer), [LOCAL, 2]);
}

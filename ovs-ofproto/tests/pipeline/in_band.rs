//! A switch that is reached through itself: its controllers' packets pass whatever its flows say.

use std::net::Ipv4Addr;

use ovs_ofproto::FlowModCommand::Add;
use ovs_ofproto::pipeline::{InBandConfig, InBandRemote};
use ovs_packet::{EthAddr, Instant, OfPort};

use crate::world::{World, packet as compose};

/// The end of the switch's own port, which comes behind ports 1 and 2.
const LOCAL: u32 = 3;

/// A switch with its own port, and ports 1 and 2; a controller has it drop everything.
fn deaf() -> World {
    let mut world = World::new(2);
    world.now = Instant::ZERO;
    world.plug(OfPort::LOCAL, "br0", None);
    world.add("priority=65535,actions=drop");
    world
}

impl World {
    /// Sends a packet into a port; which ports it came out of.
    fn pass_in_band(&mut self, from: u32, packet: &str) -> Vec<u32> {
        let out = self.send(from, compose(packet));
        self.of.verify(&self.dp, 0x1234_5678_9abc_def0_0f1e_2d3c_4b5a_6978);
        out.into_iter().map(|(port, _)| port).collect()
    }

    fn reach(&mut self, remotes: &[InBandRemote]) {
        let mut config = InBandConfig::default();
        (config.local, config.remotes) = (Some(EthAddr([2, 0, 0, 0, 0, 9])), remotes.to_vec());
        self.of.set_in_band(config, self.now);
        self.run();
    }
}

const FROM: &str = "dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02";
const REMOTE: InBandRemote = InBandRemote { address: Ipv4Addr::new(192, 0, 2, 1), port: 6653, next_hop: None };

#[test]
fn what_belongs_to_controllers_passes_and_nothing_else() {
    let mut world = deaf();
    let to_controller = format!("tcp,{FROM},nw_src=10.0.0.1,nw_dst=192.0.2.1,tp_src=5,tp_dst=6653,nw_ttl=9");
    assert_eq!(world.pass_in_band(1, &to_controller), [0_u32; 0]);
    world.reach(&[REMOTE]);
    for (from, packet, to) in [
        (1, to_controller.clone(), vec![2, LOCAL]),
        (1, to_controller.replace("6653", "6654"), vec![]),
        (1, to_controller.replace("192.0.2.1", "192.0.2.2"), vec![]),
        (2, format!("tcp,{FROM},nw_src=192.0.2.1,nw_dst=10.0.0.7,tp_src=6653,tp_dst=5,nw_ttl=9"), vec![1, LOCAL]),
        (1, format!("arp,{FROM},arp_op=1,arp_spa=192.0.2.1,arp_tpa=10.0.0.1"), vec![2, LOCAL]),
        (1, format!("arp,{FROM},arp_op=2,arp_spa=192.0.2.1,arp_tpa=10.0.0.1"), vec![]),
        (1, format!("arp,{FROM},arp_op=2,arp_spa=10.0.0.1,arp_tpa=192.0.2.1"), vec![2, LOCAL]),
        (LOCAL, "arp,dl_src=02:00:00:00:00:09,dl_dst=ff:ff:ff:ff:ff:ff,arp_op=1".into(), vec![1, 2]),
        (1, "arp,dl_src=02:00:00:00:00:04,dl_dst=02:00:00:00:00:09,arp_op=2".into(), vec![LOCAL]),
        (1, "arp,dl_src=02:00:00:00:00:04,dl_dst=02:00:00:00:00:08,arp_op=2".into(), vec![]),
    ] {
        let came = world.pass_in_band(from, &packet);
        assert!(to.iter().all(|n| came.contains(n)) && (came.len() == to.len() || to.len() > 1), "{packet}: {came:?}");
    }
    world.reach(&[]);
    assert_eq!(world.pass_in_band(1, &to_controller), [0_u32; 0]);
}

#[test]
fn answers_of_dhcp_reach_the_switch_whatever_flows_say() {
    let answer = format!("udp,{FROM},nw_src=10.0.0.1,nw_dst=255.255.255.255,tp_src=67,tp_dst=68,nw_ttl=9");
    let mut world = deaf();
    assert_eq!(world.pass_in_band(1, &answer), [0_u32; 0]);
    world.reach(&[REMOTE]);
    assert_eq!(world.pass_in_band(1, &answer), [LOCAL]);
    for other in [answer.replace("tp_src=67", "tp_src=69"), answer.replace("udp", "tcp"), answer.replace("=68", "=67")]
    {
        assert_eq!(world.pass_in_band(1, &other), [0_u32; 0], "{other}");
    }
    // Once is enough.
    world.change(Add, "priority=65535,actions=LOCAL,2").unwrap();
    assert_eq!(world.pass_in_band(1, &answer), [2, LOCAL]);
}

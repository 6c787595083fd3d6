//! What becomes of a megaflow whose key is decided anew with other bits read: one that stays right stays.
#![cfg(feature = "pipeline")]

use ovs_dpif::netdev::{MemPort, MemPortPeer};
use ovs_dpif::userspace::Datapath;
use ovs_dpif::{DpAction, Dpif, PortNo, PortSpec};
use ovs_ofproto::FlowModCommand::{self, Add, Delete};
use ovs_ofproto::pipeline::{Ofproto, Port};
use ovs_ofproto::text::Parser;
use ovs_packet::{Instant, Match, OfPort, compose};

struct Lab {
    of: Ofproto,
    dp: Datapath,
    ends: Vec<MemPortPeer>,
    now: Instant,
}

impl Lab {
    fn new() -> Lab {
        let (mut of, mut dp, mut ends) = (Ofproto::new(), Datapath::new(), Vec::new());
        for n in 1..=2u32 {
            let (port, end) = MemPort::new(format!("p{n}"), 256);
            let number = dp.port_add(PortSpec::Device(Box::new(port)), None).unwrap();
            of.port_add(Port::new(OfPort(n), number, format!("p{n}")));
            ends.push(end);
        }
        let now = Instant::from_secs(100);
        of.run(&mut dp, now);
        Lab { of, dp, ends, now }
    }

    fn change(&mut self, command: FlowModCommand, flow: &str) {
        let change = Parser::default().flow_mod(flow, command).unwrap_or_else(|e| panic!("{flow}: {e}"));
        self.of.flow_mod(&mut self.dp, &change, self.now).unwrap();
        self.of.run(&mut self.dp, self.now);
    }

    /// Sends a packet into port 1; how many came out of port 2, and how many came up.
    fn send(&mut self) -> (usize, usize) {
        let m: Match = "tcp,dl_src=02:00:00:00:00:01,nw_src=10.0.0.1,nw_dst=10.0.0.2".parse().unwrap();
        self.ends[0].push(compose::compose(m.key(), b"x"));
        let (mut upcalls, mut up) = (Vec::new(), 0);
        while self.dp.poll(self.now, &mut upcalls) > 0 {
            for upcall in upcalls.drain(..) {
                up += 1;
                self.of.handle_upcall(&mut self.dp, upcall, self.now);
            }
        }
        (std::iter::from_fn(|| self.ends[1].pop()).count(), up)
    }
}

#[test]
fn a_megaflow_that_is_for_fewer_packets_than_it_could_be_stays_with_its_counters() {
    let mut lab = Lab::new();
    lab.change(Add, "priority=2,in_port=1,tcp,nw_src=10.0.0.0/8,actions=output:2");
    assert_eq!((lab.send(), lab.send()), ((1, 1), (1, 0)));
    let before = lab.dp.flow_dump().unwrap();
    // Now nothing is read of the packet but where it came from.
    lab.change(Delete, "");
    lab.change(Add, "priority=1,in_port=1,actions=drop");
    assert_eq!(lab.send().0, 0);
    let after = lab.dp.flow_dump().unwrap();
    assert_eq!((after.len(), after[0].ufid, &after[0].mask), (1, before[0].ufid, &before[0].mask));
    assert_eq!(after[0].actions.iter().filter(|action| **action == DpAction::Output(PortNo(2))).count(), 0);
    assert!(after[0].stats.packets >= 1, "it is the same one");
    // And more than it tells.
    lab.change(Add, "priority=3,in_port=1,tcp,nw_dst=10.0.0.2,actions=output:2");
    assert_eq!(lab.send().0, 1);
    assert_ne!(lab.dp.flow_dump().unwrap()[0].mask, before[0].mask);
}

#[test]
fn what_somebody_took_out_of_the_datapath_is_not_put_there_by_a_change() {
    let mut lab = Lab::new();
    lab.change(Add, "priority=2,in_port=1,actions=output:2");
    assert_eq!(lab.send(), (1, 1));
    lab.dp.flow_flush().unwrap();
    lab.change(Add, "priority=3,in_port=1,tcp,actions=drop");
    assert_eq!(lab.dp.flow_dump().unwrap().len(), 0);
    assert_eq!(lab.send(), (0, 1));
}

//! What becomes of a megaflow whose key is decided anew with other bits read: one that stays right stays.

use ovs_dpif::{DpAction, Dpif, PortNo};
use ovs_ofproto::FlowModCommand::{self, Add, Delete};

use crate::world::{World, packet};

impl World {
    /// Changes flows, and has megaflows follow.
    fn change_and_run(&mut self, command: FlowModCommand, flow: &str) {
        self.change(command, flow).unwrap();
        self.run();
    }

    /// Sends a packet into port 1; how many came out of port 2, and how many came up.
    fn send_one(&mut self) -> (usize, usize) {
        let before = self.upcalls;
        let out = self.forward(1, packet("tcp,dl_src=02:00:00:00:00:01,nw_src=10.0.0.1,nw_dst=10.0.0.2"));
        (out.iter().filter(|(port, _)| *port == 2).count(), self.upcalls - before)
    }
}

#[test]
fn a_megaflow_that_is_for_fewer_packets_than_it_could_be_stays_with_its_counters() {
    let mut world = World::new(2);
    world.change_and_run(Add, "priority=2,in_port=1,tcp,nw_src=10.0.0.0/8,actions=output:2");
    assert_eq!((world.send_one(), world.send_one()), ((1, 1), (1, 0)));
    let before = world.dp.flow_dump().unwrap();
    // Now nothing is read of the packet but where it came from.
    world.change_and_run(Delete, "");
    world.change_and_run(Add, "priority=1,in_port=1,actions=drop");
    assert_eq!(world.send_one().0, 0);
    let after = world.dp.flow_dump().unwrap();
    assert_eq!((after.len(), after[0].ufid, &after[0].mask), (1, before[0].ufid, &before[0].mask));
    assert_eq!(after[0].actions.iter().filter(|action| **action == DpAction::Output(PortNo(2))).count(), 0);
    assert!(after[0].stats.packets >= 1, "it is the same one");
    // And more than it tells.
    world.change_and_run(Add, "priority=3,in_port=1,tcp,nw_dst=10.0.0.2,actions=output:2");
    assert_eq!(world.send_one().0, 1);
    assert_ne!(world.dp.flow_dump().unwrap()[0].mask, before[0].mask);
}

#[test]
fn what_somebody_took_out_of_the_datapath_is_not_put_there_by_a_change() {
    let mut world = World::new(2);
    world.change_and_run(Add, "priority=2,in_port=1,actions=output:2");
    assert_eq!(world.send_one(), (1, 1));
    world.dp.flow_flush().unwrap();
    world.change_and_run(Add, "priority=3,in_port=1,tcp,actions=drop");
    assert_eq!(world.dp.flow_dump().unwrap().len(), 0);
    assert_eq!(world.send_one(), (0, 1));
}

//! Packets keep their order: through four handlers that work in turns of their own, recirculated five times.

use ovs_netlink::fake::FakeKernel;
use ovs_packet::{Match, Packet, compose};

use super::super::*;
use crate::dpif::{Origin, Upcall};
use crate::{DpAction, Dpif, PortNo, PortSpec};

const PACKETS: usize = 10;
const TURNS: u32 = 5;
const HANDLERS: usize = 4;

/// What is done with a packet that came up: on to its next turn, or out.
fn decide(upcall: &Upcall, out: PortNo) -> [DpAction; 1] {
    let turn = upcall.key.recirc_id.get();
    [if turn < TURNS { DpAction::Recirc(turn + 1) } else { DpAction::Output(out) }]
}

/// The numbers of the packets in the order in which they leave.
fn run(keep: bool) -> Vec<u8> {
    let kernel = FakeKernel::new();
    let mut dp = Datapath::create(&kernel, "br0", Options::default().with_handlers(HANDLERS)).unwrap();
    assert!(dp.is_per_cpu());
    let ports = ["a", "b"].map(|name| dp.port_add(PortSpec::Internal(name.into()), None).unwrap());
    let mut handlers = dp.take_handlers();
    assert_eq!(handlers.len(), HANDLERS);
    let m: Match = "udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=1,tp_dst=2".parse().unwrap();
    let mut key = m.key();
    key.in_port.set(ports[0].0);
    let mut bytes = Vec::new();
    put_key(&mut ovs_netlink::Writer::new(&mut bytes), &key).unwrap();
    // The flow's packets come on one CPU; what handlers send back is executed wherever they run.
    kernel.set_cpus(&[0]);
    for number in 0..PACKETS {
        let packet: Packet = compose::compose(&key, &[number as u8]);
        assert!(kernel.receive(dp.ifindex(), &bytes, packet.data()));
    }
    kernel.set_cpus(&[3, 1, 2, 0]);
    let mut order: Vec<usize> = (0..HANDLERS).collect();
    let mut idle = 0;
    let mut waiting: Vec<Vec<Upcall>> = (0..HANDLERS).map(|_| Vec::new()).collect();
    while idle < 2 * HANDLERS {
        order.rotate_left(1);
        let which = order[0];
        let handler = &mut handlers[which];
        handler.receive(&mut waiting[which]).unwrap();
        idle += 1;
        // One packet a turn: handlers are not equally fast.
        if !waiting[which].is_empty() {
            idle = 0;
            let mut upcall = waiting[which].remove(0);
            if !keep {
                upcall.origin = Origin::default();
            }
            let actions = decide(&upcall, ports[1]);
            handler.execute(&upcall, &actions).unwrap();
        }
    }
    kernel.take_outputs().iter().map(|output| *output.packet.last().unwrap()).collect()
}

#[test]
fn ten_packets_recirculated_five_times_over_four_handlers_leave_in_order() {
    let in_order: Vec<u8> = (0..PACKETS as u8).collect();
    assert_eq!(run(true), in_order);
    let mut without = run(false);
    assert_ne!(without, in_order, "without the socket's address they overtake one another");
    without.sort_unstable();
    assert_eq!(without, in_order, "but none is lost");
}

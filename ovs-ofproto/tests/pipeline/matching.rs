//! What a flow is of where its words alone do not say it: the packet's type, which is implied, and tunnel options, which a
//! table names.

use ovs_dpif::text;
use ovs_ofproto::FlowModCommand::{self, Add, Delete, DeleteStrict};
use ovs_ofproto::codec::{Message, OfError, TlvTableMod, Version};
use ovs_ofproto::pipeline::{ConnectionId, TraceRequest};
use ovs_packet::field::TlvMapping;
use ovs_packet::{FlowKey, OfPort};

use super::world::{World, flow};

const V: Version = Version::V1_3;

/// A switch and who controls it.
struct Bench {
    world: World,
    controller: ConnectionId,
}

impl Bench {
    fn new() -> Bench {
        let mut world = World::new(3);
        let controller = world.connect(V);
        Bench { world, controller }
    }

    /// What is wrong with a message.
    fn ask(&mut self, message: impl Into<Message>) -> Option<OfError> {
        self.world.say(self.controller, V, 1, &message.into());
        let heard = self.world.heard(self.controller);
        heard.into_iter().find_map(|(_, m)| if let Message::Error(e) = m { Some(e.error) } else { None })
    }

    fn flow(&mut self, command: FlowModCommand, text: &str) -> Option<OfError> {
        self.ask(flow(text, command))
    }

    fn count(&self) -> usize {
        self.world.of.flow_count()
    }

    /// The datapath actions of the last pass of a packet.
    fn actions(&mut self, packet: &str) -> String {
        let trace = self.world.trace(packet);
        text::actions(&trace.passes.last().unwrap().actions).to_string()
    }
}

#[test]
fn flows_of_headers_are_of_packets_that_begin_with_ethernet() {
    let mut b = Bench::new();
    for flow in ["priority=9,ip,actions=1", "packet_type=(1,0x800),actions=encap(ethernet),2", "priority=0,actions=3"] {
        assert_eq!(b.flow(Add, flow), None);
    }
    let bare = "push_eth(src=00:00:00:00:00:00,dst=00:00:00:00:00:00),2";
    assert_eq!([b.actions("in_port=3,ip"), b.actions("in_port=3,packet_type=(1,0x800)")], ["1", bare]);
    // A flow of no header is of all packets.
    assert_eq!([b.actions("in_port=1,arp"), b.actions("in_port=1,packet_type=(1,0x806)")], ["3", "drop"]);
    assert_eq!(b.flow(Add, "table=0,priority=1,in_port=1,actions=drop"), None);
    assert_eq!([b.actions("in_port=1,arp"), b.actions("in_port=1,packet_type=(1,0x86dd)")], ["drop", "drop"]);
    // It is the same flow however it is said: by its owner, by a controller, with the type or without.
    b.world.add("priority=9,ip,actions=2");
    assert_eq!(b.count(), 4);
    assert_eq!(b.flow(DeleteStrict, "priority=9,ip,packet_type=(0,0)"), None);
    assert_eq!((b.count(), b.actions("in_port=2,ip")), (3, "3".to_string()));
    assert_eq!(b.flow(Delete, "ip"), None);
    assert_eq!(b.count(), 3, "that of another type is another");
}

#[test]
fn a_packet_that_comes_back_is_traced_from_where_it_was_left() {
    let mut b = Bench::new();
    assert_eq!(b.flow(Add, "packet_type=(1,0x894f),actions=decap(),goto_table:1"), None);
    assert_eq!(b.flow(Add, "table=1,packet_type=(1,0x894f),nsh_spi=5,actions=encap(ethernet),2"), None);
    assert_eq!(b.actions("in_port=1,packet_type=(1,0x894f),nsh_np=4"), "pop_nsh(),recirc(0x1)");
    let inner = "recirc_id=1,packet_type=(1,0x894f),nsh_spi=5";
    let sent = "push_eth(src=00:00:00:00:00:00,dst=00:00:00:00:00:00),2";
    // By a port that the datapath has, and by one that it has not, as the end of a patch.
    assert_eq!([b.actions(&format!("{inner},in_port=1")), b.actions(&format!("{inner},in_port=77"))], [sent, sent]);
}

#[test]
fn a_mapping_that_flows_need_stays() {
    let mut b = Bench::new();
    let mapping = |index| TlvMapping { class: 0x102, kind: index as u8, len: 4, index };
    let modify = |command, index: &[u16]| {
        let mut table = TlvTableMod::default();
        (table.command, table.mappings) = (command, index.iter().copied().map(mapping).collect());
        Message::TlvTableMod(table)
    };
    const ADD: u16 = 0;
    const DELETE: u16 = 1;
    const CLEAR: u16 = 2;
    assert_eq!(b.ask(modify(ADD, &[0, 1, 2, 3, 4, 5])), None);
    for flow in [
        "in_port=1,actions=multipath(eth_src,50,modulo_n,1,0,tun_metadata0[0..31])",
        "in_port=2,actions=push:tun_metadata1[0..31],clone(move:tun_metadata2[0..31]->reg0[])",
        "in_port=3,tun_metadata3=7,actions=set_field:1->tun_metadata4",
    ] {
        assert_eq!(b.flow(Add, flow), None);
    }
    let in_use = Some(OfError::TlvTableModInvalidTlvDel);
    assert!((0..5).all(|index| b.ask(modify(DELETE, &[index])) == in_use));
    assert_eq!([b.ask(modify(CLEAR, &[])), b.ask(modify(DELETE, &[5]))], [in_use, None]);
    // It may go with the last action that names it.
    assert_eq!(b.flow(Add, "in_port=1,actions=2"), None);
    assert_eq!([b.ask(modify(DELETE, &[0])), b.ask(modify(DELETE, &[2]))], [None, in_use]);
    assert_eq!(b.flow(Delete, "in_port=2"), None);
    assert_eq!(b.ask(modify(DELETE, &[1, 2])), None);
    // So it is with flows that were learnt, which outlive the flow that taught them.
    let teacher = "in_port=2,actions=learn(table=1,reg1=5,load:reg1[]->tun_metadata5[0..31])";
    assert_eq!([b.ask(modify(ADD, &[5])), b.flow(Add, teacher)], [None, None]);
    let packet = TraceRequest::packet(ovs_packet::compose::compose(&FlowKey::ZERO, &[0; 60]), OfPort(2));
    b.world.of.trace_and_learn(&mut b.world.dp, &packet, b.world.now);
    assert_eq!([b.flow(Delete, "table=0"), b.ask(modify(DELETE, &[5]))], [None, in_use]);
    assert_eq!([b.flow(Delete, ""), b.ask(modify(CLEAR, &[]))], [None, None]);
}

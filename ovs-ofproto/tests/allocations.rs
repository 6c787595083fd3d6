//! What reads a packet-in, what walks over the flows of a reply, and what reads into a place again, allocates nothing.

#![expect(unsafe_code, reason = "an allocator that counts is one that counts and calls another")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[cfg(feature = "pipeline")]
use ovs_dpif::{Dpif, PortNo, PortSpec, netdev::MemPort, userspace::Datapath};
use ovs_ofproto::codec::{FlowStats, FlowStatsReader, FlowStatsReply, Kind, Message, PacketIn, PacketInView, Version};
use ovs_ofproto::{Action, FlowMod, Instructions};
#[cfg(feature = "pipeline")]
use ovs_ofproto::{
    FlowModCommand,
    pipeline::{Ofproto, Port},
    text::Parser,
};
use ovs_packet::OfPort;
#[cfg(feature = "pipeline")]
use ovs_packet::{Instant, Match, compose};

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: all is done by the system's allocator; a thread's count is a cell without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|c| c.set(c.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(p, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `work` allocates.
fn allocations<T>(mut work: impl FnMut() -> T) -> usize {
    // What is made once, the tables of numbers, is made here.
    let _ = work();
    let before = COUNT.with(Cell::get);
    let _ = std::hint::black_box(work());
    COUNT.with(Cell::get) - before
}

#[test]
fn reading_a_packet_in_allocates_nothing() {
    let packet = PacketIn::new(OfPort(3), vec![0; 128]);
    for version in Version::KNOWN {
        for kind in [Kind::NxPacketIn, Kind::NxPacketIn2] {
            let bytes = Message::from(packet.clone()).encode_as(kind, version, 1).unwrap();
            assert_eq!(allocations(|| PacketInView::new(&bytes).unwrap().data.len()), 0, "{kind:?} {version}");
        }
        let bytes = Message::from(packet.clone()).encode(version, 1).unwrap();
        assert_eq!(allocations(|| PacketInView::new(&bytes).unwrap().data.len()), 0, "{version}");
    }
    // The measure measures.
    assert_eq!(allocations(|| Box::new(5)), 1);
}

/// What a megaflow is kept as, here and in the datapath, is made: its key twice and its actions twice. Translation has room of
/// its own that it uses again, by however many tables.
#[cfg(feature = "pipeline")]
#[test]
fn deciding_on_a_packet_allocates_what_is_kept() {
    for tables in [1, 25] {
        let (mut of, mut dp) = (Ofproto::new(), Datapath::new());
        let (port, end) = MemPort::new("p1", 256);
        for (n, port) in [(1, port), (2, MemPort::new("p2", 1).0)] {
            let number = dp.port_add(PortSpec::Device(Box::new(port)), Some(PortNo(n))).unwrap();
            of.port_add(Port::new(OfPort(n), number, format!("p{n}")));
        }
        let now = Instant::from_secs(1);
        for t in 0..tables {
            let what = if t + 1 == tables {
                "move:NXM_OF_IP_DST[]->NXM_NX_REG0[],output:2".to_string()
            } else {
                format!("resubmit(,{})", t + 1)
            };
            let flow = format!("table={t},ip,actions={what}");
            let fm = Parser::default().flow_mod(&flow, FlowModCommand::Add).unwrap();
            of.flow_mod(&mut dp, &fm, now).unwrap();
        }
        let (m, mut upcalls, mut fewest) = ("udp".parse::<Match>().unwrap(), Vec::new(), usize::MAX);
        for n in 0..64u32 {
            let mut key = m.key();
            key.nw_dst = (0x0b00_0000 + n).into();
            end.push(compose::compose(&key, b"x"));
            while dp.poll(now, &mut upcalls) > 0 {}
            let before = COUNT.with(Cell::get);
            upcalls.drain(..).for_each(|upcall| of.handle_upcall(&mut dp, upcall, now));
            // Now and then a table of them grows.
            fewest = fewest.min(COUNT.with(Cell::get) - before);
        }
        assert_eq!(fewest, 4, "{tables} tables");
    }
}

#[test]
fn walking_over_flows_allocates_nothing() {
    let mut flow = FlowStats::default();
    flow.matching = "tcp,nw_src=10.0.0.0/8,tp_dst=80".parse().unwrap();
    flow.instructions = Instructions::apply(vec![Action::output(OfPort(1))]);
    for version in Version::KNOWN {
        let page = FlowStatsReply::pages(version, vec![flow.clone(); 100]).unwrap().remove(0);
        let bytes = Message::FlowStatsReply(page).encode(version, 1).unwrap();
        let walk = || FlowStatsReader::new(&bytes).unwrap().map(|f| f.unwrap().flow.packets).sum::<u64>();
        assert_eq!(allocations(walk), 0, "{version}");
        let matched =
            || FlowStatsReader::new(&bytes).unwrap().filter(|f| f.as_ref().unwrap().matching().is_ok()).count();
        assert_eq!((matched(), allocations(matched)), (100, 0), "{version}");
        // The first flow's actions get the memory that all others are read into.
        let mut place = FlowStats::default();
        let read = || {
            let mut flows = FlowStatsReader::new(&bytes).unwrap();
            std::iter::from_fn(|| flows.next_into(&mut place).map(Result::unwrap)).count()
        };
        assert_eq!(allocations(read), 0, "{version}");
    }
}

#[test]
fn flow_mods_that_are_read_into_one_place_allocate_nothing() {
    let flow: FlowMod = "tcp,nw_src=10.0.0.0/8,tp_dst=80,actions=dec_ttl,output:1".parse().unwrap();
    for version in Version::KNOWN {
        let bytes = Message::from(flow.clone()).encode(version, 1).unwrap();
        let mut place = flow.clone();
        assert_eq!(allocations(|| place.decode_into(&bytes).unwrap()), 0, "{version}");
        assert_eq!(place, flow);
    }
}

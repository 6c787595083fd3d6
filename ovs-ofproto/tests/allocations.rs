//! What reads a packet-in, and what walks over the flows of a reply, allocates nothing.

#![expect(unsafe_code, reason = "an allocator that counts is one that counts and calls another")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use ovs_ofproto::codec::{FlowStats, FlowStatsReader, FlowStatsReply, Kind, Message, PacketIn, PacketInView, Version};
use ovs_ofproto::{Action, Instructions};
use ovs_packet::OfPort;

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
fn allocations<T>(work: impl Fn() -> T) -> usize {
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
    }
}

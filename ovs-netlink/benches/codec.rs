//! Writing and reading a flow_put with 12 attributes of a key and of its mask, and 4 actions: messages a second, and
//! allocations a message. There is no peer's figure; the limit is that nothing is allocated.

#[path = "../../ovs-packet/benches/common/mod.rs"]
mod common;
#[path = "common/flow_put.rs"]
mod flow_put;
#[path = "common/sys.rs"]
mod sys;

use criterion::{Criterion, criterion_group, criterion_main};

#[global_allocator]
static ALLOCATOR: sys::Counting = sys::Counting;

/// Messages in a buffer.
const MESSAGES: u32 = 64;

fn codec(c: &mut Criterion) {
    let write = |buffer: &mut Vec<u8>| {
        buffer.clear();
        (0..MESSAGES).for_each(|number| flow_put::encode(buffer, number).expect("it fits"));
    };
    let mut buffer = Vec::with_capacity(1 << 20);
    write(&mut buffer);
    let messages = buffer.clone();
    println!(
        "flow_put: {} bytes, {} attributes of key and mask, {} actions",
        messages.len() / MESSAGES as usize,
        2 * flow_put::KEYS,
        flow_put::ACTIONS
    );
    let read = || flow_put::decode(std::hint::black_box(&messages)).expect("what was written");
    measure(c, "flow_put/encode", || write(&mut buffer));
    measure(c, "flow_put/decode", || {
        read();
    });
}

fn measure(c: &mut Criterion, name: &str, mut work: impl FnMut()) {
    let before = sys::allocations();
    work();
    println!("{name}: {} allocations in {MESSAGES} messages", sys::allocations() - before);
    common::measure(c, name, MESSAGES as usize, None, work);
}

criterion_group!(name = benches; config = common::criterion(); targets = codec);
criterion_main!(benches);

//! What the pool spares: packets are received, 32 at a time, and dropped when the next ones are there.

mod common;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ovs_packet::packet::{BATCH, HEADROOM, SMALL};
use ovs_packet::{Packet, PacketBatch};

fn pool(c: &mut Criterion) {
    let large = vec![0x5a; 65_000];
    for (name, len, frame) in [("small", SMALL, &large[..60]), ("large", large.len(), &large[..])] {
        let mut batch = PacketBatch::new();
        let without = common::measure(c, &format!("pool/{name}_from_allocator"), BATCH, None, || {
            batch.clear();
            for _ in 0..BATCH {
                let mut buffer = vec![0; HEADROOM + len];
                buffer[HEADROOM..HEADROOM + frame.len()].copy_from_slice(black_box(frame));
                let mut packet = Packet::from_buffer(buffer, HEADROOM);
                packet.truncate(frame.len());
                batch.push(packet);
            }
        });
        let mut batch = PacketBatch::new();
        let with = common::measure(c, &format!("pool/{name}_from_pool"), BATCH, None, || {
            batch.clear();
            for _ in 0..BATCH {
                let mut packet = Packet::with_room(len);
                packet.data_mut()[..frame.len()].copy_from_slice(black_box(frame));
                packet.truncate(frame.len());
                batch.push(packet);
            }
        });
        if with.is_finite() {
            println!("pool/{name}: {:.2} of the time that the allocator takes", with / without);
        }
    }
}

criterion_group! { name = benches; config = common::criterion(); targets = pool }
criterion_main!(benches);

//! Checksums: of whole packets, and by the difference.

mod common;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ovs_packet::checksum;

fn sums(c: &mut Criterion) {
    let data: Vec<u8> = (0..9000u32).map(|i| (i * 31) as u8).collect();
    for len in [20, 64, 1500, 9000] {
        common::measure(c, &format!("checksum/internet_{len}"), 1, None, || {
            black_box(checksum::checksum(black_box(&data[..len])));
        });
    }
    common::measure(c, "checksum/update_4", 1, None, || {
        black_box(checksum::update(black_box(0x1234), black_box(&[1, 2, 3, 4]), black_box(&[5, 6, 7, 8])));
    });
    for len in [64, 1500] {
        common::measure(c, &format!("checksum/crc32c_{len}"), 1, None, || {
            black_box(checksum::crc32c(black_box(&data[..len])));
        });
    }
}

criterion_group! { name = benches; config = common::criterion(); targets = sums }
criterion_main!(benches);

//! Checksums: of headers and whole packets, and by the difference; in bytes a nanosecond, beside what memory gives.

mod common;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ovs_packet::checksum;

/// Prints what `ns` for `len` bytes is in GB/s.
fn rate(name: &str, len: usize, ns: f64) {
    if ns.is_finite() {
        println!("{name}: {:.1} GB/s", len as f64 / ns);
    }
}

fn sums(c: &mut Criterion) {
    let big: Vec<u8> = (0..64u32 << 20).map(|i| ((i * 31) >> 3) as u8).collect();
    // What reading alone costs: the same bytes, added up with nothing done to them.
    for len in [64 << 10, big.len()] {
        let name = format!("checksum/memory_{len}");
        let ns = common::measure(c, &name, 1, None, || {
            let words = black_box(&big[..len]).as_chunks::<8>().0;
            black_box(words.iter().fold(0u64, |sum, word| sum.wrapping_add(u64::from_ne_bytes(*word))));
        });
        rate(&name, len, ns);
    }
    for len in [20, 40, 64, 576, 1500, 9000, 64 << 10, big.len()] {
        let name = format!("checksum/internet_{len}");
        let ns = common::measure(c, &name, 1, None, || {
            black_box(checksum::checksum(black_box(&big[..len])));
        });
        rate(&name, len, ns);
    }
    for len in [64, 1500, 64 << 10, big.len()] {
        let name = format!("checksum/crc32c_{len}");
        let ns = common::measure(c, &name, 1, None, || {
            black_box(checksum::crc32c(black_box(&big[..len])));
        });
        rate(&name, len, ns);
    }
    let (old, new) = ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16], [9; 16]);
    common::measure(c, "checksum/update_16_bits", 1, None, || {
        black_box(checksum::update(black_box(0x1234), &black_box([1, 2]), &black_box([5, 6])));
    });
    common::measure(c, "checksum/update_32_bits", 1, None, || {
        black_box(checksum::update(black_box(0x1234), &black_box([1, 2, 3, 4]), &black_box([5, 6, 7, 8])));
    });
    common::measure(c, "checksum/update_48_bits", 1, None, || {
        black_box(checksum::update(black_box(0x1234), &black_box([1; 6]), &black_box([5; 6])));
    });
    common::measure(c, "checksum/update_128_bits", 1, None, || {
        black_box(checksum::update(black_box(0x1234), &black_box(old), &black_box(new)));
    });
}

criterion_group! { name = benches; config = common::criterion(); targets = sums }
criterion_main!(benches);

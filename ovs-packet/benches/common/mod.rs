//! A figure beside the peer's: what all benches of the house print.
//!
//! The peer is Open vSwitch 4.0.90's userspace datapath at -O2 -march=native on two cores of a Zen 5 guest at 3.72 to
//! 3.79 GHz, nanoseconds of CPU for each item. The figures are data, measured once: a ratio with them says something
//! where the calibration line agrees, no more.
#![allow(dead_code, reason = "each bench uses its part")]

use std::cell::Cell;
use std::hint::black_box;
use std::sync::Once;
use std::time::{Duration, Instant};

use criterion::Criterion;

/// Few and short samples: the least of their parts counts, since neighbours only ever add.
pub(crate) fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .without_plots()
}

/// How long a part of a sample takes: much less than a neighbour's turn on the processor, much more than to look at the
/// clock.
const PART: Duration = Duration::from_micros(20);

/// Runs `body`, which handles `items` items, and prints what one costs at best beside `peer`, the peer's nanoseconds.
/// Returns that cost; infinity where the run only checks that the bench works.
pub(crate) fn measure(c: &mut Criterion, name: &str, items: usize, peer: Option<f64>, mut body: impl FnMut()) -> f64 {
    calibrate();
    let best = Cell::new(f64::INFINITY);
    let mut part = 1;
    c.bench_function(name, |b| {
        b.iter_custom(|runs| {
            let began = Instant::now();
            let mut left = runs;
            while left > 0 {
                let n = part.min(left);
                let began = Instant::now();
                (0..n).for_each(|_| body());
                let took = began.elapsed();
                if took < PART {
                    part = n.saturating_mul(2).max(part);
                } else {
                    best.set(best.get().min(took.as_secs_f64() * 1e9 / (n as f64 * items as f64)));
                }
                left -= n;
            }
            began.elapsed()
        });
    });
    let ns = best.get();
    // A run that only checks that the bench works measures nothing.
    if ns.is_finite() {
        match peer {
            Some(peer) => println!("{name}: {ns:.1} ns each at best; peer {peer} ns: {:.2}x", peer / ns),
            None => println!("{name}: {ns:.1} ns each at best"),
        }
    }
    ns
}

/// Whether this is among what the command line asks for: what is not needs no preparation.
/// A number is some option's.
pub(crate) fn is_asked_for(name: &str) -> bool {
    let is_number = |word: &str| word.parse::<f64>().is_ok();
    let mut words = std::env::args().skip(1).filter(|word| !word.starts_with('-') && !is_number(word)).peekable();
    words.peek().is_none() || words.any(|word| name.contains(&word))
}

/// Prints the clock that a chain of dependent additions shows, once.
fn calibrate() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Each run is as short as a part of a sample, and there are many.
        const STEPS: u64 = 50_000;
        let (a, b) = (black_box(0x9e37_79b9u64), black_box(0x85eb_ca6bu64));
        let best = (0..500).map(|_| {
            let began = Instant::now();
            // An addition and an exclusive or, each a cycle; no closed form.
            black_box((0..STEPS).fold(black_box(1), |x: u64, _| x.wrapping_add(a) ^ b));
            began.elapsed()
        });
        let seconds = best.min().unwrap_or_default().as_secs_f64();
        println!(
            "calibration: dependent additions at {:.2} GHz; peer 3.72-3.79 GHz",
            2.0 * STEPS as f64 / seconds / 1e9
        );
    });
}

/// Numbers that look random, the same in every run (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

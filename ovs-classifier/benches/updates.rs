//! What updates cost besides their mean: the longest insertion, and what a reader notes of a writer beside it.
//!
//! - *The longest insertion*: a table is filled some times with the same rules, each insertion is timed by the time of its
//!   thread on its processor, and of the times that one took the least counts: other work on the machine takes turns at
//!   different insertions. So what is left is what the insertion itself does, and the longest is a table's that grows.
//! - *Readers*: batches of 32 lookups in what a [`Writer`] publishes, alone and beside it, by the time of the reader's thread
//!   on its processor: what the load of the machine takes is not in it, and what a shared cache line or a page fault costs
//!   is.

#[path = "../../ovs-packet/benches/common/mod.rs"]
mod common;
#[path = "../../ovs-netlink/benches/common/sys.rs"]
mod sys;
mod workload;

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::Random;
use criterion::{Criterion, criterion_group, criterion_main};
use ovs_classifier::{Pattern, Writer};
use rustix::time::{ClockId, clock_gettime};
use workload::{Rules, masks, table, values};

/// What the workload counts with.
#[global_allocator]
static ALLOCATOR: sys::Counting = sys::Counting;

/// How long an insertion may take at most, in microseconds: no packet's turn is longer.
const LONGEST: f64 = 1000.0;

/// Whether this run measures, or only checks that the bench works.
fn measures() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

fn insertions(_: &mut Criterion) {
    let is_large = std::env::var_os("CLASSIFIER_BENCH_LARGE").is_some();
    for (n_masks, n_rules) in [(1, 600_000), (100, 100_000), (100, 600_000), (1000, 600_000), (1000, 1_000_000)] {
        let (rounds, n_rules) = match measures() {
            true if n_rules == 1_000_000 && !is_large => continue,
            true => (5, n_rules),
            false => (1, 2_000),
        };
        let mut random = Random(1);
        let masks = masks(&mut random, n_masks);
        let rules: Vec<_> = (0..n_rules).map(|_| (random.next(), random.below(n_masks as u64) as usize)).collect();
        let mut least = vec![u64::MAX; rules.len()];
        for _ in 0..rounds {
            let mut table = table();
            for ((n, mask), least) in rules.iter().zip(&mut least) {
                let pattern = Pattern::new(values(*n), masks[*mask].0);
                let began = thread_time();
                let _ = black_box(table.insert(&pattern, masks[*mask].1, *n));
                *least = (*least).min(thread_time() - began);
            }
        }
        let mut micros: Vec<f64> = least.iter().map(|time| *time as f64 / 1e3).collect();
        let mean = micros.iter().sum::<f64>() / micros.len() as f64;
        micros.sort_by(f64::total_cmp);
        let at = |part: f64| micros[((micros.len() - 1) as f64 * part) as usize];
        let verdict = if at(1.0) <= LONGEST { "reached" } else { "NOT reached" };
        println!(
            "updates/{} rules of {n_masks} masks: an insertion takes {mean:.2} us in the mean, {:.1} at p99.9, {:.0} at \
             most; limit {LONGEST} {verdict}",
            rules.len(),
            at(0.999),
            at(1.0),
        );
    }
}

/// The time that this thread has had.
fn thread_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Row 5: how long a batch of 32 lookups takes a reader at the 99.9th percentile, alone and beside a writer that
/// publishes each change; the least of some rounds.
fn readers(_: &mut Criterion) {
    let (rounds, batches) = if measures() { (12, 10_000) } else { (1, 100) };
    let Rules { table, rules, masks, keys, .. } = Rules::new(100, 10_000);
    let mut writer = Writer::new(table);
    let reader = writer.reader();
    let percentiles = || {
        let mut took: Vec<u64> = (0..batches)
            .map(|n| {
                let began = thread_time();
                let snapshot = reader.load();
                for key in keys.iter().cycle().skip(n % 128 * 32).take(32) {
                    black_box(snapshot.lookup(key));
                }
                thread_time() - began
            })
            .collect();
        took.sort_unstable();
        (took[took.len() / 2], took[took.len() * 999 / 1000])
    };
    let (stop, writes, changes) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU64::new(0));
    let (mut alone, mut beside) = ((u64::MAX, u64::MAX), (u64::MAX, u64::MAX));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random(5);
            while !stop.load(Ordering::Relaxed) {
                if !writes.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                }
                let (key, mask) = rules[random.below(rules.len() as u64) as usize];
                let (pattern, priority) = (Pattern::new(key, masks[mask].0), masks[mask].1);
                let Some(mut edit) = writer.try_edit() else { continue };
                let payload = edit.remove(&pattern, priority).expect("a rule of the table");
                edit.insert(&pattern, priority, payload).expect("no limit");
                edit.publish();
                changes.fetch_add(1, Ordering::Relaxed);
            }
        });
        for _ in 0..rounds {
            for (writing, best) in [(false, &mut alone), (true, &mut beside)] {
                writes.store(writing, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
                let (middle, late) = percentiles();
                *best = (best.0.min(middle), best.1.min(late));
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let ratio = beside.1 as f64 / alone.1 as f64;
    println!(
        "updates/readers: 32 lookups take {} ns of the thread's time in the middle and {} ns at p99.9; beside {} published \
         changes {} and {} ns, {ratio:.2}x at p99.9, limit 2x {}; the table copied {} times",
        alone.0,
        alone.1,
        changes.into_inner(),
        beside.0,
        beside.1,
        if ratio <= 2.0 { "reached" } else { "NOT reached" },
        writer.copies(),
    );
}

criterion_group! { name = benches; config = common::criterion(); targets = insertions, readers }
criterion_main!(benches);

//! One of the four queues that the kernel and this process share: who owns which entry, and when.
//!
//! A ring has two counters that only grow, and wrap at 2^32: one side writes entries and then moves `producer` past them, the
//! other reads them and then moves `consumer` past them. `producer - consumer` entries are the reader's, all others the
//! writer's. Each side keeps its own counter, and looks at the other's only when it has run out, so that the cache line of
//! the counter changes hands once a batch.
//!
//! # Order
//! The writer stores its counter with `Release` after the entries; the reader loads it with `Acquire` before it reads them;
//! and the same the other way round for entries that are given back. This is the kernel's side too
//! (`net/xdp/xsk_queue.h`).

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The kernel asks to be woken before it looks at the ring (`XDP_RING_NEED_WAKEUP`).
const NEED_WAKEUP: u32 = 1;

/// Memory that both sides see.
pub(super) trait Shared {
    /// Entries written so far.
    fn producer(&self) -> &AtomicU32;
    /// Entries read so far.
    fn consumer(&self) -> &AtomicU32;
    /// What the kernel wants.
    fn flags(&self) -> &AtomicU32;
    /// Words of all entries, a power of two of them.
    fn words(&self) -> &[AtomicU64];
}

/// The writing end of a ring whose entries have `N` words.
#[derive(Debug)]
pub(super) struct Producer<M, const N: usize> {
    memory: M,
    /// Where the next entry goes.
    next: u32,
    /// What was last seen of the other's counter.
    read: u32,
}

/// The reading end of a ring whose entries have `N` words.
#[derive(Debug)]
pub(super) struct Consumer<M, const N: usize> {
    memory: M,
    /// Where the next entry comes from.
    next: u32,
    /// What was last seen of the other's counter.
    written: u32,
}

/// The words of entry `n`; none if the ring has no entries.
fn entry<M: Shared, const N: usize>(memory: &M, n: u32) -> &[AtomicU64] {
    let words = memory.words();
    let mask = (words.len() / N).wrapping_sub(1);
    let from = (n as usize & mask) * N;
    words.get(from..from + N).unwrap_or(&[])
}

fn size<M: Shared, const N: usize>(memory: &M) -> u32 {
    (memory.words().len() / N) as u32
}

impl<M: Shared, const N: usize> Producer<M, N> {
    /// The end of a ring that was just made: both counters are zero.
    pub(super) fn new(memory: M) -> Self {
        Producer { memory, next: 0, read: 0 }
    }

    /// Writes an entry, which the other side does not see yet; `false` if there is no room.
    pub(super) fn push(&mut self, words: [u64; N]) -> bool {
        let size = size::<M, N>(&self.memory);
        if self.next.wrapping_sub(self.read) >= size {
            self.read = self.memory.consumer().load(Ordering::Acquire);
            if self.next.wrapping_sub(self.read) >= size {
                return false;
            }
        }
        for (place, word) in entry::<M, N>(&self.memory, self.next).iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
        self.next = self.next.wrapping_add(1);
        true
    }

    /// Shows the other side all that was written.
    pub(super) fn publish(&mut self) {
        self.memory.producer().store(self.next, Ordering::Release);
    }

    /// Whether the kernel is to be woken, since entries wait.
    pub(super) fn wants_wakeup(&self) -> bool {
        self.memory.flags().load(Ordering::Relaxed) & NEED_WAKEUP != 0
    }

    /// Entries that the other side has not read.
    pub(super) fn waiting(&self) -> u32 {
        self.next.wrapping_sub(self.memory.consumer().load(Ordering::Relaxed))
    }
}

impl<M: Shared, const N: usize> Consumer<M, N> {
    /// The end of a ring that was just made: both counters are zero.
    pub(super) fn new(memory: M) -> Self {
        Consumer { memory, next: 0, written: 0 }
    }

    /// Reads an entry, which the other side does not get back yet.
    pub(super) fn pop(&mut self) -> Option<[u64; N]> {
        if self.next == self.written {
            self.written = self.memory.producer().load(Ordering::Acquire);
            if self.next == self.written {
                return None;
            }
        }
        let mut words = [0; N];
        for (word, place) in words.iter_mut().zip(entry::<M, N>(&self.memory, self.next)) {
            *word = place.load(Ordering::Relaxed);
        }
        self.next = self.next.wrapping_add(1);
        Some(words)
    }

    /// Gives back all that was read.
    pub(super) fn release(&mut self) {
        self.memory.consumer().store(self.next, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A ring in the memory of this process, its counters near the end of their range.
    #[derive(Debug)]
    struct Memory {
        producer: AtomicU32,
        consumer: AtomicU32,
        flags: AtomicU32,
        words: Vec<AtomicU64>,
    }

    impl Shared for Arc<Memory> {
        fn producer(&self) -> &AtomicU32 {
            &self.producer
        }

        fn consumer(&self) -> &AtomicU32 {
            &self.consumer
        }

        fn flags(&self) -> &AtomicU32 {
            &self.flags
        }

        fn words(&self) -> &[AtomicU64] {
            &self.words
        }
    }

    type Ends = (Producer<Arc<Memory>, 2>, Consumer<Arc<Memory>, 2>);

    fn ring(size: usize, begin: u32) -> Ends {
        let memory = Arc::new(Memory {
            producer: begin.into(),
            consumer: begin.into(),
            flags: 0.into(),
            words: (0..size * 2).map(|_| AtomicU64::new(0)).collect(),
        });
        let (mut p, mut c) = (Producer::new(memory.clone()), Consumer::new(memory));
        (p.next, p.read, c.next, c.written) = (begin, begin, begin, begin);
        (p, c)
    }

    /// Every sequence of steps up to a length, over every beginning that matters: what is read is what was written, in
    /// order, and no more is written than there is room for, counted by what was given back.
    #[test]
    fn all_short_histories() {
        const STEPS: u32 = 8;
        for begin in [0, u32::MAX, u32::MAX - 2] {
            for history in 0..4u32.pow(STEPS) {
                let (mut p, mut c) = ring(2, begin);
                let (mut pushed, mut published, mut popped, mut released) = (0u64, 0, 0u64, 0);
                for step in 0..STEPS {
                    match history >> (2 * step) & 3 {
                        0 => {
                            let room = pushed - released < 2;
                            assert_eq!(p.push([pushed, !pushed]), room);
                            pushed += u64::from(room);
                        }
                        1 => {
                            p.publish();
                            published = pushed;
                        }
                        2 => {
                            let expected = (popped < published).then_some([popped, !popped]);
                            assert_eq!(c.pop(), expected);
                            popped += u64::from(expected.is_some());
                        }
                        _ => {
                            c.release();
                            released = popped;
                        }
                    }
                    assert_eq!(u64::from(p.waiting()), pushed - released);
                }
            }
        }
    }

    #[test]
    fn two_threads_pass_everything_on_in_order() {
        let (mut p, mut c) = ring(8, u32::MAX - 1000);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut n = 0;
                while n < 20_000 {
                    if p.push([n, n * 3]) {
                        n += 1;
                    } else {
                        std::thread::yield_now();
                    }
                    p.publish();
                }
            });
            let mut n = 0;
            while n < 20_000 {
                match c.pop() {
                    Some(words) => {
                        assert_eq!(words, [n, n * 3]);
                        n += 1;
                    }
                    None => std::thread::yield_now(),
                }
                c.release();
            }
        });
    }

    #[test]
    fn a_ring_of_no_memory_holds_nothing() {
        let (mut p, mut c) = ring(0, 0);
        assert!(!p.push([1, 2]));
        assert_eq!(c.pop(), None);
    }
}

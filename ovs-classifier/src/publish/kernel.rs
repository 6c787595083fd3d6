//! Two copies of a value, one that readers see and one that the writer changes.
//!
//! Publication exchanges them. The copy that readers saw is then behind by the changes that were published; before
//! the writer changes it, it must be the writer's alone, and it is brought up by doing those changes again. Nothing is
//! copied, whatever the size of the value, and a change costs twice what it does.
//!
//! # Invariants
//!
//! 1. `spare` with the changes in `behind` done is the published value; with those in `pending` done, too, it is what
//!    the writer sees. At most one of the two lists has anything in it.
//! 2. A value is changed only through `Arc::get_mut`, so only when no reader has it: the compiler will have it so.
//! 3. There are two copies, and one for each published value that a reader still holds when the writer will not wait.
//!
//! # Readers
//!
//! A reader takes the published pointer and counts itself as its user (`arc_swap`: wait-free, on a line of its own),
//! and leaves when it drops it. It never waits. It delays the writer only while it holds a value that was replaced.

use arc_swap::{ArcSwap, Guard};
use std::sync::Arc;

/// A value that can be brought up to another copy of itself.
pub(super) trait Replay: Clone {
    /// Changes in their order; none at first.
    type Log: Default;

    fn is_empty(log: &Self::Log) -> bool;

    /// Does changes again, and leaves the log empty; must do to an equal value what they did.
    fn replay(&mut self, log: &mut Self::Log);
}

pub(super) struct Kernel<T: Replay> {
    published: Arc<ArcSwap<T>>,
    spare: Arc<T>,
    /// What has been published, and not been done to `spare`.
    behind: T::Log,
    /// What has been done to `spare`, and not been published.
    pending: T::Log,
    copies: u64,
}

impl<T: Replay> Kernel<T> {
    pub(super) fn new(value: T) -> Self {
        let (behind, pending) = (T::Log::default(), T::Log::default());
        let published = Arc::new(ArcSwap::from_pointee(value.clone()));
        Self { published, spare: Arc::new(value), behind, pending, copies: 0 }
    }

    /// Where readers find the published value.
    pub(super) fn published(&self) -> &Arc<ArcSwap<T>> {
        &self.published
    }

    pub(super) fn load(&self) -> Guard<Arc<T>> {
        self.published.load()
    }

    /// The value that the writer sees; behind the published one until the next edit begins.
    pub(super) fn spare(&self) -> &T {
        &self.spare
    }

    /// How often the value was copied because a reader held the spare.
    pub(super) fn copies(&self) -> u64 {
        self.copies
    }

    /// The changes that wait for their publication.
    pub(super) fn pending(&self) -> &T::Log {
        &self.pending
    }

    /// Whether the spare is the writer's alone.
    pub(super) fn is_ready(&mut self) -> bool {
        Arc::get_mut(&mut self.spare).is_some()
    }

    /// The value to change, and where to note changes. If a reader holds the spare, it keeps it, and the writer makes
    /// itself another.
    pub(super) fn edit(&mut self) -> (&mut T, &mut T::Log) {
        let before = Arc::as_ptr(&self.spare);
        let value = Arc::make_mut(&mut self.spare);
        self.copies += u64::from(!core::ptr::eq(before, value));
        if !T::is_empty(&self.behind) {
            value.replay(&mut self.behind);
        }
        (value, &mut self.pending)
    }

    /// Shows readers what the writer sees.
    pub(super) fn publish(&mut self) {
        if !T::is_empty(&self.pending) {
            // By the first invariant nothing is behind: `pending` is filled after an edit, which empties the other.
            self.spare = self.published.swap(Arc::clone(&self.spare));
            core::mem::swap(&mut self.behind, &mut self.pending);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kernel, Replay};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::vec::Vec;

    /// How many pairs there are, and how many there have been.
    #[derive(Default)]
    struct Counts {
        alive: AtomicUsize,
        made: AtomicUsize,
    }

    /// Two numbers that are equal in every published value, and in none between the two steps of a change.
    struct Pair(u32, u32, Arc<Counts>);

    impl Pair {
        fn new(counts: &Arc<Counts>) -> Pair {
            counts.alive.fetch_add(1, Ordering::Relaxed);
            counts.made.fetch_add(1, Ordering::Relaxed);
            Pair(0, 0, Arc::clone(counts))
        }
    }

    impl Clone for Pair {
        fn clone(&self) -> Self {
            let mut pair = Pair::new(&self.2);
            (pair.0, pair.1) = (self.0, self.1);
            pair
        }
    }

    impl Drop for Pair {
        fn drop(&mut self) {
            self.2.alive.fetch_sub(1, Ordering::Relaxed);
        }
    }

    impl Pair {
        /// Adds to the first or to the second.
        fn add(&mut self, second: bool) {
            *if second { &mut self.1 } else { &mut self.0 } += 1;
        }
    }

    impl Replay for Pair {
        type Log = Vec<bool>;

        fn is_empty(log: &Vec<bool>) -> bool {
            log.is_empty()
        }

        fn replay(&mut self, log: &mut Vec<bool>) {
            log.drain(..).for_each(|second| self.add(second));
        }
    }

    fn change(kernel: &mut Kernel<Pair>, second: bool) {
        let (pair, pending) = kernel.edit();
        pair.add(second);
        pending.push(second);
    }

    /// Every order of the steps of a writer (change the one, change the other, publish; over and over) and of two
    /// readers (load, drop; over and over), with the code itself in one thread: the steps are atomic there as they
    /// are here, a load by `arc_swap`, a change by exclusion.
    #[test]
    fn no_reader_sees_half_a_change_in_any_order_of_steps() {
        const STEPS: u32 = 10;
        let mut orders = 0;
        for order in 0..3u32.pow(STEPS) {
            let counts = Arc::new(Counts::default());
            let mut kernel = Kernel::new(Pair::new(&counts));
            let mut readers = [None, None];
            let (mut at, mut published) = (0, 0);
            let mut rest = order;
            for _ in 0..STEPS {
                let actor = (rest % 3) as usize;
                rest /= 3;
                if let Some(reader) = readers.get_mut(actor) {
                    *reader = match reader.take() {
                        None => {
                            let guard = kernel.published().load_full();
                            assert_eq!((guard.0, guard.1), (published, published), "the last that was published");
                            Some((guard, published))
                        }
                        Some((guard, seen)) => {
                            assert_eq!((guard.0, guard.1), (seen, seen), "what is held stays as it was");
                            None
                        }
                    };
                } else {
                    match at % 3 {
                        0 => change(&mut kernel, false),
                        1 => change(&mut kernel, true),
                        _ => {
                            kernel.publish();
                            published += 1;
                        }
                    }
                    at += 1;
                }
                let held = readers.iter().flatten().count();
                assert!(counts.alive.load(Ordering::Relaxed) <= 2 + held, "no more copies than are held");
            }
            drop(readers);
            let before = kernel.copies();
            assert!(kernel.is_ready(), "nobody holds the spare");
            change(&mut kernel, false);
            assert_eq!(kernel.copies(), before);
            assert_eq!(counts.alive.load(Ordering::Relaxed), 2);
            assert_eq!(counts.made.load(Ordering::Relaxed) as u64, 2 + before, "each copy is told");
            orders += 1;
        }
        assert_eq!(orders, 59_049);
    }

    #[test]
    fn threads_see_whole_changes_in_their_order() {
        let rounds = if cfg!(miri) { 20 } else { 5_000 };
        let mut kernel = Kernel::new(Pair::new(&Arc::default()));
        let done = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (published, done) = (Arc::clone(kernel.published()), Arc::clone(&done));
                std::thread::spawn(move || {
                    let mut last = 0;
                    loop {
                        let is_done = done.load(Ordering::Acquire);
                        let pair = published.load();
                        assert_eq!(pair.0, pair.1);
                        assert!(pair.0 >= last);
                        last = pair.0;
                        if is_done {
                            return last;
                        }
                    }
                })
            })
            .collect();
        for _ in 0..rounds {
            change(&mut kernel, false);
            change(&mut kernel, true);
            kernel.publish();
        }
        done.store(true, Ordering::Release);
        for reader in readers {
            assert_eq!(reader.join().expect("no assertion failed"), rounds);
        }
    }
}

//! The memory of packets, and the pool that it comes from and goes back to.
//!
//! Every thread has a pool of its own: buffers in two sizes, for frames as they are on the wire and for what offloads
//! make of them. A buffer that is dropped goes to the pool of the thread that drops it, wherever in the program that is;
//! a thread that receives takes its buffers there. So nobody has to carry packets back to where they came from, there is
//! no lock, and a switch that forwards takes no memory from the allocator. A pool keeps a bounded number of buffers, as
//! do threads that only ever drop; what does not fit goes back to the allocator.
//!
//! Buffers of other sizes, made for one packet that is copied, are none of the pool's. Without the feature `std` there is
//! no pool, since there are no threads to have one.

use alloc::boxed::Box;
use alloc::vec;

use super::HEADROOM;
use super::body::Body;

/// Bytes of a frame that a small buffer holds behind its headroom: more than an Ethernet frame has on the wire.
pub const SMALL: usize = 2048;

/// Bytes that a large buffer holds: an IP datagram of 64 KiB, with its link headers.
pub const LARGE: usize = (1 << 16) + 64;

/// How many free small buffers a thread keeps: 2.2 MB.
pub const MAX_FREE_SMALL: usize = 1024;

/// How many free large buffers a thread keeps: 4.2 MB.
pub const MAX_FREE_LARGE: usize = 64;

/// At least `len` bytes of any contents: a pool's, where one is large enough.
pub(super) fn pooled(len: usize) -> Box<Body> {
    let class = if len <= HEADROOM + SMALL {
        HEADROOM + SMALL
    } else if len <= HEADROOM + LARGE {
        HEADROOM + LARGE
    } else {
        return fresh(len);
    };
    thread::take(class).unwrap_or_else(|| fresh(class))
}

/// At least `len` bytes of any contents: a pool's only if it has some to spare, so that many packets that stay take no
/// more memory than they need.
pub(super) fn small(len: usize) -> Box<Body> {
    let spare = if len <= HEADROOM + SMALL { thread::take(HEADROOM + SMALL) } else { None };
    spare.unwrap_or_else(|| fresh(len))
}

fn fresh(len: usize) -> Box<Body> {
    Box::new(Body::of(vec![0; len]))
}

/// Takes back the memory of a packet that is dropped.
#[inline]
pub(super) fn give(mut body: Box<Body>) {
    if matches!(body.buffer.len(), len if len == HEADROOM + SMALL || len == HEADROOM + LARGE) {
        body.forget();
        thread::give(body);
    }
}

/// What the calling thread's pool has, and what it was asked for so far.
///
/// ```
/// use ovs_packet::Packet;
/// use ovs_packet::packet::PoolStats;
///
/// drop(Packet::with_room(1500));
/// let before = PoolStats::of_this_thread();
/// drop(Packet::with_room(1500));
/// let after = PoolStats::of_this_thread();
/// assert_eq!((after.reused - before.reused, after.allocated - before.allocated), (1, 0));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct PoolStats {
    /// Free buffers of [`SMALL`] bytes.
    pub free_small: usize,
    /// Free buffers of [`LARGE`] bytes.
    pub free_large: usize,
    /// How often a buffer was asked for and there was one.
    pub reused: u64,
    /// How often a buffer was asked for and there was none.
    pub allocated: u64,
}

impl PoolStats {
    /// The pool of the calling thread.
    pub fn of_this_thread() -> PoolStats {
        thread::stats()
    }
}

#[cfg(feature = "std")]
mod thread {
    use alloc::boxed::Box;
    use alloc::vec::Vec;
    use core::cell::RefCell;

    use super::{Body, HEADROOM, MAX_FREE_LARGE, MAX_FREE_SMALL, PoolStats, SMALL};

    struct Pool {
        #[expect(clippy::vec_box, reason = "a packet takes the box, not what is in it")]
        small: Vec<Box<Body>>,
        #[expect(clippy::vec_box, reason = "likewise")]
        large: Vec<Box<Body>>,
        reused: u64,
        allocated: u64,
    }

    std::thread_local! {
        static POOL: RefCell<Pool> =
            const { RefCell::new(Pool { small: Vec::new(), large: Vec::new(), reused: 0, allocated: 0 }) };
    }

    /// Does `f` with the thread's pool; nothing while the thread ends, when the pool is gone.
    fn with<R>(f: impl FnOnce(&mut Pool) -> R) -> Option<R> {
        POOL.try_with(|pool| pool.try_borrow_mut().ok().map(|mut pool| f(&mut pool))).ok().flatten()
    }

    pub(super) fn take(class: usize) -> Option<Box<Body>> {
        with(|pool| {
            let free = if class == HEADROOM + SMALL { &mut pool.small } else { &mut pool.large };
            let taken = free.pop();
            match taken {
                Some(_) => pool.reused += 1,
                None => pool.allocated += 1,
            }
            taken
        })
        .flatten()
    }

    pub(super) fn give(body: Box<Body>) {
        with(|pool| {
            let (free, most) = match body.buffer.len() == HEADROOM + SMALL {
                true => (&mut pool.small, MAX_FREE_SMALL),
                false => (&mut pool.large, MAX_FREE_LARGE),
            };
            if free.len() < most {
                free.push(body);
            }
        });
    }

    pub(super) fn stats() -> PoolStats {
        let stats = |pool: &mut Pool| PoolStats {
            free_small: pool.small.len(),
            free_large: pool.large.len(),
            reused: pool.reused,
            allocated: pool.allocated,
        };
        with(stats).unwrap_or_default()
    }
}

#[cfg(not(feature = "std"))]
mod thread {
    use alloc::boxed::Box;

    use super::Body;

    pub(super) fn take(_class: usize) -> Option<Box<Body>> {
        None
    }

    pub(super) fn give(body: Box<Body>) {
        drop(body);
    }

    pub(super) fn stats() -> super::PoolStats {
        super::PoolStats::default()
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use std::thread;
    use std::vec::Vec;

    use super::{HEADROOM, MAX_FREE_LARGE, MAX_FREE_SMALL, PoolStats, SMALL};
    use crate::Packet;

    fn free() -> (usize, usize) {
        let stats = PoolStats::of_this_thread();
        (stats.free_small, stats.free_large)
    }

    /// Runs on a thread of its own: the pool of the thread that runs tests has seen other tests.
    fn alone(f: impl FnOnce() + Send + 'static) {
        thread::spawn(f).join().unwrap();
    }

    #[test]
    fn buffers_come_back_wherever_they_are_dropped() {
        alone(|| {
            let packets: Vec<Packet> = (0..5).map(|_| Packet::with_room(100)).collect();
            assert_eq!(free(), (0, 0));
            drop(packets);
            assert_eq!(free(), (5, 0));
            // One that another thread drops is that thread's.
            let lent = Packet::with_room(1);
            thread::spawn(|| {
                drop(lent);
                assert_eq!(free(), (1, 0));
            })
            .join()
            .unwrap();
            assert_eq!(free(), (4, 0));
            // A copy, and a packet made of bytes, take what is there.
            let a = Packet::from_slice(&[7; 60]);
            let b = a.clone();
            assert_eq!((free(), a.data(), b.data()), ((2, 0), &[7; 60][..], &[7; 60][..]));
            // What another buffer takes the place of is free again.
            let mut big = Packet::with_room(2000);
            big.extend(&[9; 3000]);
            assert_eq!((free(), big.len()), ((2, 0), 5000));
            drop((a, b, big));
            assert_eq!(free(), (4, 1));
        });
    }

    #[test]
    fn a_pool_keeps_no_more_than_its_bounds() {
        alone(|| {
            drop((0..MAX_FREE_SMALL + 10).map(|_| Packet::with_room(1)).collect::<Vec<_>>());
            drop((0..MAX_FREE_LARGE + 10).map(|_| Packet::with_room(SMALL + 1)).collect::<Vec<_>>());
            assert_eq!(free(), (MAX_FREE_SMALL, MAX_FREE_LARGE));
            let stats = PoolStats::of_this_thread();
            assert_eq!((stats.reused, stats.allocated as usize), (0, MAX_FREE_SMALL + MAX_FREE_LARGE + 20));
        });
    }

    #[test]
    fn packets_that_stay_take_what_they_need() {
        alone(|| {
            let packet = Packet::from_slice(&[1; 60]);
            assert_eq!(packet.buffer.len(), HEADROOM + 60);
            drop(packet);
            assert_eq!(free(), (0, 0));
        });
    }

    /// What a packet does not have, it never shows, whoever had the buffer before.
    #[test]
    fn bytes_of_earlier_packets_are_never_seen() {
        alone(|| {
            let mut old = Packet::with_room(SMALL);
            old.data_mut().fill(0xee);
            old.push_front(HEADROOM).fill(0xee);
            drop(old);
            let mut new = Packet::from_slice(&[1, 2]);
            assert_eq!(free(), (0, 0));
            new.push_front(3);
            new.extend(&[4]);
            assert_eq!(new.data(), [0, 0, 0, 1, 2, 4]);
            new.truncate(4);
            new.extend(&[5]);
            assert_eq!(new.data(), [0, 0, 0, 1, 5]);
            assert_eq!(new.clone().data(), new.data());
        });
    }
}

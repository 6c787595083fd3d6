//! How threads wake one that waits for descriptors.
//!
//! Whoever leaves something for it rings. A byte in a socket makes the descriptor readable, and there is at
//! most one: only who finds that nobody has rung since the last answer writes it. Three steps are each one change of one
//! number ([`Rung`]), so that of a ring and an answer at the same time one comes first:
//!
//! - If the ring does, what was left is seen, for whoever answers looks after that.
//! - If the answer does, the ring finds that nobody has rung, and writes.
//!
//! A byte is taken out only when it is known to be there, and before the answer: so none is left over that would have it turn without end, and none is taken that somebody relies on.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The end that is waited at.
#[derive(Debug)]
pub(crate) struct Door {
    hears: UnixStream,
    bell: Bell,
}

/// What others ring. Rung twice before it is answered, it rings once.
#[derive(Clone, Debug)]
pub(crate) struct Bell {
    rung: Arc<Rung>,
    pull: Arc<UnixStream>,
}

/// Whether somebody has rung since the last answer, and whether the byte that tells so is in the socket.
#[derive(Debug, Default)]
struct Rung(AtomicU8);

const WANTED: u8 = 1;
const WRITTEN: u8 = 2;

impl Rung {
    /// Rings. Whether it is for the caller to write the byte, and to [say](Self::written) so.
    fn ring(&self) -> bool {
        self.0.fetch_or(WANTED, Ordering::AcqRel) == 0
    }

    fn written(&self) {
        self.0.fetch_or(WRITTEN, Ordering::AcqRel);
    }

    /// Whether there is a byte to take out. Without one there is nothing to answer, or it is about to come.
    fn is_written(&self) -> bool {
        self.0.load(Ordering::Acquire) & WRITTEN != 0
    }

    /// Answers, with the byte taken out.
    fn answer(&self) {
        self.0.swap(0, Ordering::AcqRel);
    }
}

impl Door {
    pub(crate) fn new() -> std::io::Result<Door> {
        let (hears, pull) = UnixStream::pair()?;
        hears.set_nonblocking(true)?;
        pull.set_nonblocking(true)?;
        Ok(Door { hears, bell: Bell { rung: Arc::default(), pull: Arc::new(pull) } })
    }

    pub(crate) fn bell(&self) -> Bell {
        self.bell.clone()
    }

    /// To be called before what was left at the door is looked at: what comes later rings again.
    pub(crate) fn answer(&mut self) {
        if self.bell.rung.is_written() {
            let _ = self.hears.read(&mut [0]);
            self.bell.rung.answer();
        }
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.hears.as_fd()
    }
}

impl Bell {
    pub(crate) fn ring(&self) {
        if self.rung.ring() {
            let _ = (&*self.pull).write(&[0]);
            self.rung.written();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rings_once_until_it_is_answered() {
        let mut door = Door::new().unwrap();
        let bell = door.bell();
        let waiting = |door: &Door| {
            let mut bytes = [0; 16];
            // What is looked at stays.
            let seen = rustix::net::recv(&door.hears, &mut bytes[..], rustix::net::RecvFlags::PEEK);
            seen.map_or(0, |(n, _)| n)
        };
        door.answer();
        (0..3).for_each(|_| bell.ring());
        assert_eq!(waiting(&door), 1);
        door.answer();
        assert_eq!(waiting(&door), 0);
        bell.ring();
        assert_eq!(waiting(&door), 1);
    }

    /// A worker: leaves a thing, rings, and if it is to it, writes and says so; so often.
    #[derive(Clone)]
    struct Ringer {
        step: u8,
        left: u8,
    }

    /// All there is to a history.
    #[derive(Clone)]
    struct World {
        rung: u8,
        bytes: u8,
        /// Things that were left and not seen.
        things: u8,
        ringers: Vec<Ringer>,
        /// What whoever answers is about to do: nothing, to take the byte, to answer, to look.
        step: u8,
    }

    impl World {
        /// Does something with the number as the code above does it.
        fn rung<T>(&mut self, f: impl FnOnce(&Rung) -> T) -> T {
            let rung = Rung(AtomicU8::new(self.rung));
            let told = f(&rung);
            self.rung = rung.0.into_inner();
            told
        }

        fn step_of_ringer(&mut self, i: usize) {
            let step = self.ringers[i].step;
            self.ringers[i].step = match step {
                0 => {
                    self.things += 1;
                    1
                }
                1 if self.rung(Rung::ring) => 2,
                2 => {
                    self.bytes += 1;
                    3
                }
                _ => {
                    if step == 3 {
                        self.rung(Rung::written);
                    }
                    self.ringers[i].left -= 1;
                    0
                }
            };
        }

        fn step_of_owner(&mut self) {
            let step = self.step;
            self.step = match step {
                0 if self.rung(Rung::is_written) => 1,
                1 => {
                    assert_eq!(self.bytes, 1, "it is there");
                    self.bytes -= 1;
                    2
                }
                2 => {
                    self.rung(Rung::answer);
                    3
                }
                3 => {
                    self.things = 0;
                    0
                }
                // Nothing to answer: it looks all the same.
                _ => 3,
            };
        }

        /// Tries every order of the steps that are left. The owner waits where nothing is readable, and else turns.
        fn explore(self, seen: &mut std::collections::HashSet<Vec<u8>>) {
            let ringers = self.ringers.iter().flat_map(|r| [r.step, r.left]);
            let state = [self.rung, self.bytes, self.things, self.step].into_iter().chain(ringers).collect();
            if !seen.insert(state) {
                return;
            }
            assert!(self.bytes <= 1);
            let busy: Vec<usize> = (0..self.ringers.len()).filter(|i| self.ringers[*i].left > 0).collect();
            if busy.is_empty() && self.step == 0 && self.bytes == 0 {
                assert_eq!(self.things, 0, "the owner sleeps, and nobody will wake it");
                assert_eq!(self.rung, 0, "the next ring writes");
            }
            if busy.is_empty() && self.bytes > 0 {
                assert_eq!(self.rung, WANTED | WRITTEN, "what is readable can be taken out");
            }
            for i in busy {
                let mut next = self.clone();
                next.step_of_ringer(i);
                next.explore(seen);
            }
            // One that was woken, or is on its way, or turns for another reason.
            let mut next = self;
            next.step_of_owner();
            next.explore(seen);
        }
    }

    /// However rings and answers fall together: nothing that was left is forgotten, and no byte is left over.
    #[test]
    fn all_orders_of_rings_and_answers() {
        for rings in [vec![3], vec![2, 2], vec![1, 1, 1]] {
            let ringers = rings.into_iter().map(|left| Ringer { step: 0, left }).collect();
            let mut seen = Default::default();
            World { rung: 0, bytes: 0, things: 0, ringers, step: 0 }.explore(&mut seen);
            assert!(seen.len() > 100, "{}", seen.len());
        }
    }
}

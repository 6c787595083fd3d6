//! Threads that take upcalls, one for each socket that the kernel sends them to.
//!
//! - **Parallel** is what is done packet by packet: taking datagrams from the kernel, reading keys and packets out of them,
//!   and having actions executed on packets, many in one system call.
//! - **Not parallel** is the decision: the owner of the datapath takes what was read by [`Dpif::poll`](crate::Dpif::poll),
//!   and installs megaflows itself.
//!
//! Between the threads and the owner is a [queue](super::waiting) that is fair among ports: the threads always empty their
//! sockets, so that a flood by one port does not have the kernel drop the packets of others.
//!
//! **Order**: an order goes to the thread whose socket the packet came through, which executes its orders as they came. What
//! cannot be ordered of the kernel in one message the owner does itself, when that thread is done; and so the order for a
//! packet that came alone, if the thread has none before it, which spares waking it.
//!
//! **End**: a thread whose owner has let go of it reads what its socket still has, and ends.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SendError, SyncSender, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::upcalls::Handler;
use super::waiting::Waiting;
use crate::dpif::Upcall;
use crate::userspace::workers::bell::{Bell, Door};

/// How many upcalls may wait for the owner; as many as in a datapath within the process.
const ROOM: usize = 4096;

/// How many orders may wait for a thread before the owner waits for it.
const ORDERS: usize = 1024;

/// How many upcalls the owner takes at a time.
const BATCH: usize = 64;

/// How long a thread whose socket fails waits before it tries again.
const RETRY: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// What a thread is asked for.
enum Errand {
    /// To have the kernel do what is in this message.
    Order(Vec<u8>),
    /// To say when all that was asked for before is done.
    Tell(SyncSender<()>),
}

/// What the threads and the owner share.
#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Orders that the kernel refused.
    failed: AtomicU64,
    /// Datagrams that could not be read.
    bad: AtomicU64,
}

impl Shared {
    /// A panic while the lock was held leaves a queue that is whole.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread, as its owner knows it.
#[derive(Debug)]
struct Member {
    socket: u32,
    /// Orders that are not executed yet.
    pending: Arc<AtomicU64>,
    /// `None` once it is to end.
    errands: Option<SyncSender<Errand>>,
    bell: Bell,
    thread: Option<JoinHandle<()>>,
}

impl Member {
    /// Has the thread do something.
    ///
    /// # Errors
    /// The errand, if there is no thread any more.
    fn ask(&self, errand: Errand) -> Result<(), Errand> {
        let Some(errands) = &self.errands else { return Err(errand) };
        errands.send(errand).map_err(|SendError(errand)| errand)?;
        self.bell.ring();
        Ok(())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.errands = None;
        self.bell.ring();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(socket = self.socket, "a handler thread had failed");
        }
    }
}

/// The threads of a datapath.
#[derive(Debug)]
pub(super) struct Crew {
    members: Vec<Member>,
    shared: Arc<Shared>,
    door: Door,
}

/// What became of upcalls since it was asked last.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fates {
    /// There was no room for them.
    pub(super) refused: u64,
    /// The kernel refused to execute what was ordered.
    pub(super) failed: u64,
    /// They could not be read.
    pub(super) bad: u64,
}

impl AsFd for Crew {
    /// Readable when upcalls wait.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.door.as_fd()
    }
}

impl Crew {
    /// A crew of nobody.
    ///
    /// # Errors
    /// If the system has no descriptors left.
    pub(super) fn new() -> std::io::Result<Crew> {
        let shared = Shared { waiting: Mutex::new(Waiting::new(ROOM)), failed: 0.into(), bad: 0.into() };
        Ok(Crew { members: Vec::new(), shared: Arc::new(shared), door: Door::new()? })
    }

    /// How many threads there are.
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// The sockets that the threads take upcalls from.
    pub(super) fn sockets(&self) -> impl Iterator<Item = u32> {
        self.members.iter().map(|member| member.socket)
    }

    /// Starts a thread.
    ///
    /// # Errors
    /// If the system has no room for one; the handler is gone then.
    pub(super) fn hire(&mut self, handler: Handler) -> std::io::Result<()> {
        let (door, socket, number) = (Door::new()?, handler.socket(), self.members.len());
        let bell = door.bell();
        let (errands, inbox) = mpsc::sync_channel(ORDERS);
        let (pending, shared) = (Arc::<AtomicU64>::default(), self.shared.clone());
        let thread = Thread { handler, inbox, pending: pending.clone(), door, shared, owner: self.door.bell() };
        let thread = std::thread::Builder::new().name(format!("handler{number}")).spawn(move || thread.run())?;
        self.members.push(Member { socket, pending, errands: Some(errands), bell, thread: Some(thread) });
        Ok(())
    }

    /// Ends threads until there are so many. What their sockets have is read before.
    pub(super) fn dismiss(&mut self, left: usize) {
        self.members.truncate(left);
    }

    /// Takes upcalls that wait, not more than the owner can decide on before it looks elsewhere.
    pub(super) fn take(&mut self, upcalls: &mut Vec<Upcall>) {
        self.door.answer();
        let mut waiting = self.shared.waiting();
        upcalls.extend(std::iter::from_fn(|| waiting.pop()).take(BATCH));
    }

    /// What became of upcalls.
    pub(super) fn take_fates(&mut self) -> Fates {
        Fates {
            refused: self.shared.waiting().take_refused(),
            failed: self.shared.failed.swap(0, Ordering::Relaxed),
            bad: self.shared.bad.swap(0, Ordering::Relaxed),
        }
    }

    /// How many upcalls wait, and how many were refused since that was asked.
    #[cfg(test)]
    pub(super) fn seen(&self) -> (usize, u64) {
        self.shared.waiting().seen()
    }

    fn of(&self, socket: u32) -> Option<&Member> {
        self.members.iter().find(|member| member.socket == socket)
    }

    /// Whether a thread takes upcalls from a socket.
    pub(super) fn has(&self, socket: u32) -> bool {
        self.of(socket).is_some()
    }

    /// Whether the thread of a socket has executed all its orders.
    pub(super) fn is_idle(&self, socket: u32) -> bool {
        self.of(socket).is_none_or(|member| member.pending.load(Ordering::Acquire) == 0)
    }

    /// Has the thread of a socket send an order to the kernel.
    ///
    /// # Errors
    /// The order, if there is no such thread.
    pub(super) fn order(&self, socket: u32, message: Vec<u8>) -> Result<(), Vec<u8>> {
        let Some(member) = self.of(socket) else { return Err(message) };
        member.pending.fetch_add(1, Ordering::Relaxed);
        member.ask(Errand::Order(message)).map_err(|errand| match errand {
            Errand::Order(message) => message,
            Errand::Tell(_) => Vec::new(),
        })
    }

    /// Waits until the thread of a socket has done what it was asked for.
    pub(super) fn wait_for(&self, socket: u32) {
        let (tell, told) = mpsc::sync_channel(1);
        if self.of(socket).is_some_and(|member| member.ask(Errand::Tell(tell)).is_ok()) {
            // A thread that has failed tells nothing.
            let _ = told.recv();
        }
    }
}

/// A thread, as it knows itself.
struct Thread {
    handler: Handler,
    inbox: Receiver<Errand>,
    pending: Arc<AtomicU64>,
    door: Door,
    shared: Arc<Shared>,
    /// Wakes the owner.
    owner: Bell,
}

impl Thread {
    fn run(mut self) {
        let mut upcalls = Vec::new();
        loop {
            self.door.answer();
            let is_wanted = self.oblige();
            let received = self.handler.receive(&mut upcalls);
            let failed = received.is_err();
            match received {
                Ok(bad) => drop(self.shared.bad.fetch_add(bad as u64, Ordering::Relaxed)),
                Err(error) => tracing::warn!(%error, socket = self.handler.socket(), "upcalls"),
            }
            if !upcalls.is_empty() {
                let mut waiting = self.shared.waiting();
                upcalls.drain(..).for_each(|upcall| waiting.push(upcall));
                drop(waiting);
                self.owner.ring();
            } else if is_wanted {
                self.rest(failed);
            } else {
                return;
            }
        }
    }

    /// Does what was asked for; false if nobody will ask any more.
    fn oblige(&mut self) -> bool {
        let (mut messages, mut tells) = (Vec::new(), Vec::new());
        let mut count = 0_u64;
        let is_wanted = loop {
            match self.inbox.try_recv() {
                // A message ends where the next can begin.
                Ok(Errand::Order(message)) => {
                    messages.extend_from_slice(&message);
                    messages.resize(messages.len().next_multiple_of(4), 0);
                    count += 1;
                }
                Ok(Errand::Tell(tell)) => tells.push(tell),
                Err(TryRecvError::Empty) => break true,
                Err(TryRecvError::Disconnected) => break false,
            }
        };
        if count > 0 {
            let failed = self.handler.send(&mut messages).unwrap_or(count);
            self.shared.failed.fetch_add(failed, Ordering::Relaxed);
            self.pending.fetch_sub(count, Ordering::Release);
        }
        // Who waits for an answer may have gone.
        for tell in tells {
            let _ = tell.send(());
        }
        is_wanted
    }

    /// Waits until there is something to do.
    fn rest(&self, socket_fails: bool) {
        let (socket, door) = (self.handler.as_fd(), self.door.as_fd());
        let (of_socket, of_door) = (PollFd::new(&socket, PollFlags::IN), PollFd::new(&door, PollFlags::IN));
        // A call that fails is made again in the next turn.
        let _ = match socket_fails {
            true => poll(&mut [of_door], Some(&RETRY)),
            false => poll(&mut [of_socket, of_door], None),
        };
    }
}

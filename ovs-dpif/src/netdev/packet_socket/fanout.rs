//! A port on an interface of the kernel with several receive queues: packet sockets among which the kernel fans frames out.
//!
//! Each queue is a [`PacketSocket`] of its own. Which one a frame goes to depends on its addresses and ports alone
//! (`PACKET_FANOUT_HASH`, packet(7)), so that packets of a connection stay in order, one way at least. Every handle on the port
//! sends by a socket of its own, as far as there are enough; a queue that one thread polls is locked for nobody else, and a
//! lock without contention is what a batch costs.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ovs_packet::{EthAddr, PacketBatch};
use rustix::event::epoll;

use super::super::interface::system;
use super::super::{Netdev, NetdevError, NetdevStats, Offloads, Polling};
use super::{PacketSocket, sys};

/// The most queues of a port.
pub const MAX_QUEUES: usize = 64;

/// The queues of a port, which its handles share.
#[derive(Debug)]
struct Shared {
    name: String,
    mtu: usize,
    address: Option<EthAddr>,
    queues: Vec<Mutex<PacketSocket>>,
    /// Readable when any of them is.
    poll: OwnedFd,
}

/// A port on an interface of the Linux kernel with several receive queues.
///
/// ```no_run
/// use ovs_dpif::netdev::{Netdev, PacketSockets};
///
/// let port = PacketSockets::open("eth1", 4)?;
/// assert_eq!(port.queues(), 4);
/// // For another thread.
/// let other = port.another();
/// # Ok::<(), ovs_dpif::netdev::NetdevError>(())
/// ```
#[derive(Debug)]
pub struct PacketSockets {
    shared: Arc<Shared>,
    /// The queue that this handle sends by, and the one that is received from next.
    own: usize,
    next: usize,
}

impl PacketSockets {
    /// Opens an interface with so many queues, at least one and at most [`MAX_QUEUES`].
    ///
    /// # Errors
    /// As [`PacketSocket::open`], or if the kernel does not fan out.
    pub fn open(name: &str, queues: usize) -> Result<PacketSockets, NetdevError> {
        let failed = |e| system(name, "fanning frames out to queues", e);
        let first = PacketSocket::open(name)?;
        let (mtu, address) = (first.mtu, first.address);
        let group = sys::found_fanout(first.socket.as_fd()).map_err(failed)?;
        let mut all = vec![first];
        for _ in 1..queues.clamp(1, MAX_QUEUES) {
            let socket = PacketSocket::open(name)?;
            sys::join_fanout(socket.socket.as_fd(), group).map_err(failed)?;
            all.push(socket);
        }
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| failed(e.into()))?;
        for socket in &all {
            let data = epoll::EventData::new_u64(socket.socket.as_raw_fd() as u64);
            epoll::add(&poll, &socket.socket, data, epoll::EventFlags::IN).map_err(|e| failed(e.into()))?;
        }
        let queues = all.into_iter().map(Mutex::new).collect();
        let shared = Arc::new(Shared { name: name.to_owned(), mtu, address, queues, poll });
        Ok(PacketSockets { shared, own: 0, next: 0 })
    }

    /// A panic while the lock was held leaves a socket as it is: every change to it is whole.
    fn queue(&self, queue: usize) -> Option<MutexGuard<'_, PacketSocket>> {
        self.shared.queues.get(queue).map(|queue| queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Netdev for PacketSockets {
    fn name(&self) -> &str {
        &self.shared.name
    }

    fn kind(&self) -> &'static str {
        "system"
    }

    fn receive(&mut self, batch: &mut PacketBatch) -> Result<usize, NetdevError> {
        let (queues, mut received) = (self.queues(), 0);
        for _ in 0..queues {
            if batch.is_full() {
                break;
            }
            let queue = self.next % queues;
            self.next = queue + 1;
            received += self.receive_queue(queue, batch)?;
        }
        Ok(received)
    }

    fn receive_queue(&mut self, queue: usize, batch: &mut PacketBatch) -> Result<usize, NetdevError> {
        self.queue(queue).map_or(Ok(0), |mut socket| socket.receive(batch))
    }

    fn send(&mut self, batch: &mut PacketBatch) -> Result<(), NetdevError> {
        self.queue(self.own % self.queues()).map_or(Ok(()), |mut socket| socket.send(batch))
    }

    fn offloads(&self) -> Offloads {
        Offloads::ALL
    }

    fn address(&self) -> Option<EthAddr> {
        self.shared.address
    }

    fn mtu(&self) -> usize {
        self.shared.mtu
    }

    fn stats(&self) -> NetdevStats {
        let all = (0..self.queues()).filter_map(|queue| Some(self.queue(queue)?.stats()));
        all.fold(NetdevStats::default(), |sum, one| NetdevStats {
            rx_packets: sum.rx_packets + one.rx_packets,
            rx_bytes: sum.rx_bytes + one.rx_bytes,
            rx_dropped: sum.rx_dropped + one.rx_dropped,
            tx_packets: sum.tx_packets + one.tx_packets,
            tx_bytes: sum.tx_bytes + one.tx_bytes,
            tx_dropped: sum.tx_dropped + one.tx_dropped,
            rx_errors: sum.rx_errors + one.rx_errors,
            tx_errors: sum.tx_errors + one.tx_errors,
        })
    }

    fn polling(&self) -> Polling {
        Polling::Either
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.shared.poll.as_fd())
    }

    fn queues(&self) -> usize {
        self.shared.queues.len()
    }

    fn another(&self) -> Option<Box<dyn Netdev>> {
        // As many handles as are there: each new one has a queue of its own to send by.
        let own = Arc::strong_count(&self.shared);
        Some(Box::new(PacketSockets { shared: self.shared.clone(), own, next: own }))
    }

    fn shown_options(&self) -> Vec<(&'static str, String)> {
        vec![("n_rxq", self.queues().to_string())]
    }
}

//! A port on an interface of the Linux kernel, by a packet socket.
//!
//! Each frame passes with a header that says which work is still to be done on it ([`Offload`](ovs_packet::packet)):
//! a stack in the same machine hands over TCP packets of up to 64 KiB with their checksums undone, and they go to the
//! next stack in the machine just so. Nobody has to turn the interfaces' offloads off, and whoever sends to a port
//! that cannot do this work finishes it in software first ([`ovs_packet::segment`]).
//!
//! # What it does to the interface
//! Opening takes it into promiscuous mode, until the socket is closed, and brings it up if it was down, as a bridge's
//! ports are; it stays up. It does not take it away from the kernel's own stack: an interface with an IP address goes
//! on answering for that address too. Give a port none.
//!
//! # How frames come in
//! By a ring of 8 MiB that is shared with the kernel (TPACKET_V2): a frame that fits a slot is copied out of it without a
//! system call; one that does not (segments to be cut, an MTU beyond 1900) comes by `recvmmsg`. Against `recvmmsg` for
//! all, veth to veth in one run: 1.80 times less CPU time of the switch for a frame of 60 bytes (567 for 1006 ns, the copy
//! into the ring being the sender's; and 0.83 for 0.62 million forwarded in a second), the same for TCP (153 for 161 ns a
//! kilobyte). Blocks of frames (TPACKET_V3) are handed over when they are full or a timer of at least a millisecond says
//! so: every answer to a lone packet would wait that long. Making the ring takes a grace period of the kernel, here 16 ms.
//!
//! # What gets lost, and where that is counted
//! - `rx_dropped`: frames for which the ring or the socket's queue had no room; frames whose offload header is not understood (a
//!   kind of segmentation that a datapath has no word for) or does not fit the frame; frames over 64 KiB (BIG TCP).
//! - `tx_dropped`: packets that the kernel refuses each for itself: longer than the MTU and not to be segmented, no
//!   Ethernet header, offsets beyond the end. They do not hold up those behind them. And packets that wait in the batch
//!   because the interface's queue is full, each time they are offered.
//!
//! # Where it belongs
//! A socket stays in the network namespace that it was opened in, whichever thread uses it.

mod fanout;
#[allow(unsafe_code, reason = "recvmmsg, sendmmsg and the packet level's options have no safe wrapper")]
mod sys;

pub use fanout::{MAX_QUEUES, PacketSockets};

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use ovs_netlink::Linux;
use ovs_netlink::route::Route;
use ovs_packet::packet::BATCH;
use ovs_packet::{EthAddr, Packet, PacketBatch, edit};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};

use super::interface::{broken, settle, system, usable};
use super::{Netdev, NetdevError, NetdevStats, Offloads, Polling, vnet};

/// Bytes of an Ethernet header.
const ETH_HEADER: usize = 14;

/// Bytes that the kernel may queue each way. A TCP packet of 64 KiB counts for more than its size.
const QUEUE: usize = 8 << 20;

/// Frames that are looked at for one batch.
const ROUNDS: usize = 4 * BATCH;

/// A port on an interface of the Linux kernel: a card, one end of a veth pair, a tap device.
///
/// ```no_run
/// use ovs_dpif::netdev::{Netdev, PacketSocket};
/// use ovs_packet::PacketBatch;
///
/// let mut port = PacketSocket::open("eth1")?;
/// let mut batch = PacketBatch::new();
/// port.receive(&mut batch)?;
/// for packet in &batch {
///     println!("{packet:?}");
/// }
/// # Ok::<(), ovs_dpif::netdev::NetdevError>(())
/// ```
#[derive(Debug)]
pub struct PacketSocket {
    name: String,
    index: u32,
    mtu: usize,
    address: Option<EthAddr>,
    socket: OwnedFd,
    ring: sys::Ring,
    /// Where frames land that are too long for the ring.
    slots: sys::Slots,
    stats: NetdevStats,
    /// Frames that the kernel had no room for: asking it resets its own count.
    kernel_drops: AtomicU64,
    /// The interface was seen to be removed: the kernel says so only once.
    gone: bool,
}

impl PacketSocket {
    /// Opens the interface `name` of the calling thread's network namespace.
    ///
    /// Its MTU and address are as they are now. Needs `CAP_NET_RAW`, and `CAP_NET_ADMIN` if the interface is down.
    ///
    /// # Errors
    /// If there is no such interface, it is not Ethernet, it is a port of something else (a bridge, a bond, a datapath
    /// of the kernel), the process lacks the capabilities, or the system refuses something else.
    pub fn open(name: &str) -> Result<PacketSocket, NetdevError> {
        let failed = |what| move |e: io::Error| system(name, what, e);
        let mut links = Route::open(&Linux).map_err(|e| system(name, "opening an rtnetlink socket", e.into()))?;
        let link = usable(&mut links, name)?;
        let socket =
            socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)
                .map_err(|e| match e {
                    rustix::io::Errno::PERM | rustix::io::Errno::ACCESS => {
                        NetdevError::NotPermitted { name: name.to_owned(), capability: "CAP_NET_RAW" }
                    }
                    e => system(name, "opening a packet socket", e.into()),
                })?;
        let fd = socket.as_fd();
        for (option, what) in [
            (libc::PACKET_VNET_HDR, "asking for offload headers"),
            (libc::PACKET_AUXDATA, "asking for VLAN tags"),
            (libc::PACKET_IGNORE_OUTGOING, "leaving out what this machine sends (Linux 4.20 and later)"),
        ] {
            sys::set_option(fd, option, 1).map_err(failed(what))?;
        }
        sockopt::set_socket_recv_buffer_size_force(fd, QUEUE)
            .or_else(|_| sockopt::set_socket_recv_buffer_size(fd, QUEUE))
            .and_then(|()| {
                sockopt::set_socket_send_buffer_size_force(fd, QUEUE)
                    .or_else(|_| sockopt::set_socket_send_buffer_size(fd, QUEUE))
            })
            .map_err(|e| system(name, "enlarging the socket's queues", e.into()))?;
        let ring = sys::Ring::new(fd).map_err(failed("making a ring of received frames"))?;
        if !link.up {
            links.set_up(link.index, true).map_err(|e| system(name, "bringing it up (ip link set up)", e.into()))?;
        }
        sys::set_promiscuous(fd, link.index).map_err(failed("entering promiscuous mode"))?;
        // Only now: a socket of no protocol hears nothing, so that no frame of another interface gets in.
        sys::bind(fd, link.index).map_err(failed("binding the packet socket"))?;
        Ok(PacketSocket {
            name: name.to_owned(),
            index: link.index,
            mtu: link.mtu as usize,
            address: link.address.map(EthAddr),
            socket,
            ring,
            slots: sys::Slots::new(),
            stats: NetdevStats::default(),
            kernel_drops: AtomicU64::new(0),
            gone: false,
        })
    }

    /// Receives a frame that waits in the socket's queue.
    fn receive_queued(&mut self, batch: &mut PacketBatch) -> Result<(), NetdevError> {
        let PacketSocket { slots, socket, stats, .. } = self;
        loop {
            let Err(error) = slots.receive(socket.as_fd(), 1, |frame| stats.take(frame, batch)) else { return Ok(()) };
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                // The kernel has no header for the frame (SCTP to be segmented, for one), and threw it away.
                Some(libc::EAGAIN | libc::EINVAL) => {
                    stats.rx_dropped += 1;
                    return Ok(());
                }
                _ => return Err(self.broken("receiving", error)),
            }
        }
    }

    fn no_such_interface(&self) -> NetdevError {
        NetdevError::NoSuchInterface { name: self.name.clone() }
    }

    fn broken(&mut self, what: &'static str, error: io::Error) -> NetdevError {
        let error = broken(&self.name, self.index, self.socket.as_fd(), what, error);
        self.gone = matches!(error, NetdevError::NoSuchInterface { .. });
        error
    }
}

/// The packet that a frame is, with its tag back in its place; `None` if it makes no sense.
fn packet_of(frame: sys::Frame<'_>) -> Option<Packet> {
    let len = frame.len.filter(|len| *len >= ETH_HEADER)?;
    let offload = vnet::read(&frame.vnet, len)?;
    let mut packet = frame.head;
    packet.truncate(len);
    packet.extend(frame.spill);
    packet.offload = offload;
    if let Some(vlan) = frame.vlan {
        // Not `push_vlan`: that is the action, which has no drop-eligible bit. This tag is as it was.
        edit::insert_vlan(&mut packet, vlan.tpid, vlan.tci);
    }
    Some(packet)
}

impl NetdevStats {
    /// Counts a frame, and puts its packet into a batch with room.
    fn take(&mut self, frame: sys::Frame<'_>, batch: &mut PacketBatch) {
        match packet_of(frame) {
            Some(packet) => {
                self.rx_packets += 1;
                self.rx_bytes += packet.len() as u64;
                batch.push(packet);
            }
            None => self.rx_dropped += 1,
        }
    }
}

impl Netdev for PacketSocket {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "system"
    }

    fn receive(&mut self, batch: &mut PacketBatch) -> Result<usize, NetdevError> {
        if self.gone {
            return Err(self.no_such_interface());
        }
        let before = batch.len();
        // Goes on while all that came was dropped, so that "none" means that none is left; within bounds.
        for _ in 0..ROUNDS {
            if batch.is_full() {
                break;
            }
            let PacketSocket { ring, stats, .. } = self;
            match ring.take(|frame| stats.take(frame, batch)) {
                sys::Taken::Frame => {}
                sys::Taken::Queued => self.receive_queued(batch)?,
                sys::Taken::Nothing if batch.len() > before => break,
                sys::Taken::Nothing => match sockopt::socket_error(&self.socket) {
                    Ok(Err(error)) => return Err(self.broken("receiving", error.into())),
                    _ => break,
                },
            }
        }
        Ok(batch.len() - before)
    }

    fn send(&mut self, batch: &mut PacketBatch) -> Result<(), NetdevError> {
        if self.gone {
            return Err(self.no_such_interface());
        }
        let mut headers = [None; BATCH];
        for (header, packet) in headers.iter_mut().zip(batch.iter_mut()) {
            *header = if packet.len() < ETH_HEADER { None } else { vnet::write(packet) };
        }
        // So many packets, from the front, were sent or refused.
        let mut done = 0;
        let outcome = loop {
            let (headers, packets) = (headers.get(done..).unwrap_or(&[]), batch.get(done..).unwrap_or(&[]));
            let mut frames = [([0; vnet::LEN], &[][..]); BATCH];
            let mut n = 0;
            for ((frame, header), packet) in frames.iter_mut().zip(headers).zip(packets) {
                let Some(header) = header else { break };
                *frame = (*header, packet.data());
                n += 1;
            }
            if packets.is_empty() {
                break Ok(());
            }
            if n == 0 {
                self.stats.tx_dropped += 1;
                done += 1;
                continue;
            }
            match sys::send(self.socket.as_fd(), frames.get(..n).unwrap_or(&[])) {
                Ok(sent) => {
                    for packet in packets.iter().take(sent) {
                        self.stats.tx_packets += 1;
                        self.stats.tx_bytes += packet.len() as u64;
                    }
                    done += sent;
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => {}
                    Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => break Ok(()),
                    // EPERM: a packet filter on the way out.
                    Some(libc::EMSGSIZE | libc::EINVAL | libc::EPERM) => {
                        self.stats.tx_dropped += 1;
                        done += 1;
                    }
                    _ => break Err(error),
                },
            }
        };
        let outcome = settle(&mut self.stats, batch, done, outcome);
        outcome.map_err(|error| self.broken("sending", error))
    }

    fn offloads(&self) -> Offloads {
        Offloads::ALL
    }

    fn address(&self) -> Option<EthAddr> {
        self.address
    }

    fn mtu(&self) -> usize {
        self.mtu
    }

    fn stats(&self) -> NetdevStats {
        // The count survives the interface, and is not worth an error.
        let drops = sys::take_drops(self.socket.as_fd()).unwrap_or(0);
        let drops = drops + self.kernel_drops.fetch_add(drops, Ordering::Relaxed);
        NetdevStats { rx_dropped: self.stats.rx_dropped + drops, ..self.stats }
    }

    fn polling(&self) -> Polling {
        Polling::Either
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }
}

#[cfg(test)]
mod tests {
    use ovs_packet::packet::L4Checksum;

    use super::*;

    fn frame(len: Option<usize>, vlan: Option<sys::Vlan>) -> sys::Frame<'static> {
        let head = Packet::from_slice(&(0..100).collect::<Vec<u8>>());
        let mut vnet = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        vnet[6..8].copy_from_slice(&34u16.to_ne_bytes());
        vnet[8..].copy_from_slice(&16u16.to_ne_bytes());
        sys::Frame { vnet, len, vlan, head, spill: &[] }
    }

    #[test]
    fn a_tag_goes_back_between_addresses_and_type() {
        let p = packet_of(frame(Some(60), Some(sys::Vlan { tpid: 0x88a8, tci: 0x7007 }))).unwrap();
        assert_eq!(p.len(), 64);
        assert_eq!(p.data()[..20], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0x88, 0xa8, 0x70, 7, 12, 13, 14, 15]);
        assert_eq!(p.offload.l4, L4Checksum::Partial { start: 38, offset: 16 });
    }

    #[test]
    fn frames_that_make_no_sense_are_no_packets() {
        assert!(packet_of(frame(Some(60), None)).is_some());
        for len in [None, Some(0), Some(13), Some(51)] {
            assert!(packet_of(frame(len, None)).is_none(), "{len:?}");
        }
    }
}

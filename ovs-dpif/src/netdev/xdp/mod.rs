//! A port on an interface of the Linux kernel, by AF_XDP sockets.
//!
//! A program of a few instructions, put before the interface, hands each frame to a socket of this process before the kernel's
//! stack makes anything of it. Frames travel in memory that both sides see; a system call is needed to wake the kernel, and
//! only when it asks to be woken.
//!
//! # Modes
//! Best first; [`XdpMode::BestEffort`] takes the first that the interface can do, and [`XdpSocket::fallbacks`] says why not the
//! ones before:
//! - *native with zero-copy*: the card writes into the shared memory itself;
//! - *native*: the driver runs the program, and the kernel copies (veth);
//! - *generic*: the stack runs it, after it has allocated what AF_XDP would save. Any interface can.
//!
//! # What it does to the interface
//! Opening takes every frame of every queue from the kernel's stack, for as long as the port is open: nothing answers for the
//! interface's own addresses any more. It brings the interface up if it was down. One program may be before an interface; a
//! second one is refused.
//!
//! # Work that is left on frames
//! AF_XDP knows nothing of it. A stack behind a veth pair leaves checksums undone, which shows in the frame (see `checksum`),
//! and such packets are marked so, as a packet socket would mark them: no `ethtool` is needed. Segments of 64 KiB do not occur
//! in native mode, in which the kernel has the other end of the pair cut them. What is sent must be finished: the datapath does
//! it, since [`offloads`](Netdev::offloads) says so.
//!
//! # What gets lost, and where that is counted
//! - `rx_dropped`: frames for which there was no room, or which do not fit a frame of the shared memory.
//! - `tx_dropped`: packets longer than the MTU allows, or without Ethernet header; and packets that wait in the batch because
//!   all frames are on their way, each time they are offered.
//!
//! # Queues
//! An interface's queues have a socket each, with memory of its own. [`receive`](Netdev::receive) takes from each in turn; what
//! is sent goes out by the first.

mod checksum;
mod program;
mod ring;
#[allow(unsafe_code, reason = "memory that the kernel shares, and bpf(2), have no safe wrapper")]
mod sys;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use ovs_netlink::Linux;
use ovs_netlink::route::Route;
use ovs_packet::packet::L4Checksum;
use ovs_packet::{EthAddr, Packet, PacketBatch};
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, XDP_PGOFF_RX_RING, XDP_PGOFF_TX_RING, XDP_UMEM_PGOFF_COMPLETION_RING,
    XDP_UMEM_PGOFF_FILL_RING, XdpOptionsFlags, XdpUmemReg, XdpUmemRegFlags,
};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with, sockopt,
};

use self::program::Program;
use self::ring::{Consumer, Producer};
use self::sys::{Frames, Ring};
use super::interface::{broken, system, usable};
use super::{Netdev, NetdevError, NetdevStats, Offloads, Polling};

/// Frames that may wait in each direction of a queue; a power of two.
const RING: u32 = 2048;

/// Bytes that the kernel keeps free before a received frame (`XDP_PACKET_HEADROOM`).
const HEADROOM: usize = 256;

/// Bytes of an Ethernet header, and of two VLAN tags.
const ETH_HEADER: usize = 14;
const TAGS: usize = 8;

/// Sizes that a frame of the shared memory may have.
const SMALL_FRAME: usize = 2048;
const LARGE_FRAME: usize = 4096;

/// How often, and after what pause, a socket asks for a queue that another one has.
const BIND_TRIES: u32 = 40;
const BIND_PAUSE: Duration = Duration::from_millis(5);

/// `XDP_FLAGS_SKB_MODE`, `XDP_FLAGS_DRV_MODE`.
const GENERIC: u32 = 1 << 1;
const NATIVE: u32 = 1 << 2;

/// How frames get from the interface to the process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[non_exhaustive]
pub enum XdpMode {
    /// The best that the interface can do.
    #[default]
    BestEffort,
    /// The driver runs the program, and the card uses the shared memory.
    NativeZeroCopy,
    /// The driver runs the program.
    Native,
    /// The kernel's stack runs the program.
    Generic,
}

impl XdpMode {
    /// The mode's name, as the option `xdp-mode` of the Interface table has it.
    pub const fn name(self) -> &'static str {
        match self {
            XdpMode::BestEffort => "best-effort",
            XdpMode::NativeZeroCopy => "native-with-zerocopy",
            XdpMode::Native => "native",
            XdpMode::Generic => "generic",
        }
    }

    /// The mode of this name.
    ///
    /// ```
    /// use ovs_dpif::netdev::XdpMode;
    ///
    /// assert_eq!(XdpMode::by_name("native"), Some(XdpMode::Native));
    /// ```
    pub fn by_name(name: &str) -> Option<XdpMode> {
        [XdpMode::BestEffort, XdpMode::NativeZeroCopy, XdpMode::Native, XdpMode::Generic]
            .into_iter()
            .find(|mode| mode.name() == name)
    }

    fn flags(self) -> (u32, SocketAddrXdpFlags) {
        match self {
            XdpMode::NativeZeroCopy => (NATIVE, SocketAddrXdpFlags::XDP_ZEROCOPY),
            XdpMode::Native => (NATIVE, SocketAddrXdpFlags::XDP_COPY),
            XdpMode::Generic | XdpMode::BestEffort => (GENERIC, SocketAddrXdpFlags::XDP_COPY),
        }
    }
}

/// How a port is to be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct XdpConfig {
    /// How frames get from the interface to the process.
    pub mode: XdpMode,
    /// Whether the kernel may sleep until it is woken, rather than look at the rings all the time.
    pub need_wakeup: bool,
}

impl Default for XdpConfig {
    fn default() -> Self {
        XdpConfig { mode: XdpMode::BestEffort, need_wakeup: true }
    }
}

impl XdpConfig {
    /// With this mode.
    pub fn with_mode(self, mode: XdpMode) -> XdpConfig {
        XdpConfig { mode, ..self }
    }

    /// With or without the need to wake the kernel.
    pub fn with_need_wakeup(self, need_wakeup: bool) -> XdpConfig {
        XdpConfig { need_wakeup, ..self }
    }
}

/// A port on an interface of the Linux kernel: a card, or one end of a veth pair, whose frames the kernel's stack never sees.
///
/// ```no_run
/// use ovs_dpif::netdev::{Netdev, XdpConfig, XdpSocket};
/// use ovs_packet::PacketBatch;
///
/// let mut port = XdpSocket::open("eth1", XdpConfig::default())?;
/// println!("{} by {}", port.name(), port.mode().name());
/// let mut batch = PacketBatch::new();
/// port.receive(&mut batch)?;
/// # Ok::<(), ovs_dpif::netdev::NetdevError>(())
/// ```
#[derive(Debug)]
pub struct XdpSocket {
    name: String,
    index: u32,
    mtu: usize,
    address: Option<EthAddr>,
    mode: XdpMode,
    fallbacks: Vec<String>,
    /// Whether who sends here may have left checksums undone.
    virtual_link: bool,
    queues: Vec<Queue>,
    /// The queue that is looked at first.
    turn: usize,
    poll: OwnedFd,
    stats: NetdevStats,
    gone: bool,
    /// The program leaves the interface when this is closed.
    _link: OwnedFd,
    _program: Program,
}

/// One queue's socket.
#[derive(Debug)]
struct Queue {
    socket: OwnedFd,
    frames: Frames,
    frame_size: usize,
    /// Received frames, as address and length.
    rx: Consumer<Ring, 2>,
    /// Frames for the kernel to receive into.
    fill: Producer<Ring, 1>,
    tx: Producer<Ring, 2>,
    /// Frames that were sent.
    completed: Consumer<Ring, 1>,
    /// Frames to send from.
    free: Vec<u64>,
}

impl XdpSocket {
    /// Opens the interface `name` of the calling thread's network namespace.
    ///
    /// Its MTU and address are as they are now. Needs `CAP_NET_RAW`, `CAP_NET_ADMIN` and `CAP_BPF`, and Linux 5.11.
    ///
    /// # Errors
    /// If there is no such interface, it is not Ethernet, it is a port of something else, it has a program already, the process
    /// lacks the capabilities, the mode is not one of the interface's, or the MTU is larger than a frame.
    pub fn open(name: &str, config: XdpConfig) -> Result<XdpSocket, NetdevError> {
        let mut links = Route::open(&Linux).map_err(|e| system(name, "opening an rtnetlink socket", e.into()))?;
        let link = usable(&mut links, name)?;
        let longest = link.mtu as usize + ETH_HEADER + TAGS;
        let frame_size = [SMALL_FRAME, LARGE_FRAME].into_iter().find(|size| longest + HEADROOM <= *size);
        let Some(frame_size) = frame_size else {
            let most = LARGE_FRAME - HEADROOM - ETH_HEADER - TAGS;
            let e = io::Error::other(format!("AF_XDP needs an MTU of at most {most}, and it is {}", link.mtu));
            return Err(system(name, "opening AF_XDP sockets", e));
        };
        if !link.up {
            links.set_up(link.index, true).map_err(|e| system(name, "bringing it up (ip link set up)", e.into()))?;
        }
        let wanted = match config.mode {
            XdpMode::BestEffort => &[XdpMode::NativeZeroCopy, XdpMode::Native, XdpMode::Generic][..],
            ref mode => std::slice::from_ref(mode),
        };
        let mut fallbacks = Vec::new();
        let (last, before) = wanted.split_last().unwrap_or((&XdpMode::Generic, &[]));
        let open =
            |mode| Opening { name, index: link.index, queues: link.rx_queues.max(1), frame_size, mode, config }.open();
        let best = before.iter().find_map(|mode| match open(*mode) {
            Ok(opened) => Some((*mode, opened)),
            Err(e) => {
                fallbacks.push(format!("{}: {e}", mode.name()));
                None
            }
        });
        let (mode, opened) = match best {
            Some(best) => best,
            None => (*last, open(*last)?),
        };
        let poll = wait_for(&opened.queues).map_err(|e| system(name, "making an epoll descriptor", e.into()))?;
        Ok(XdpSocket {
            name: name.to_owned(),
            index: link.index,
            mtu: link.mtu as usize,
            address: link.address.map(EthAddr),
            mode,
            fallbacks,
            virtual_link: link.kind == "veth",
            queues: opened.queues,
            turn: 0,
            poll,
            stats: NetdevStats::default(),
            gone: false,
            _link: opened.link,
            _program: opened.program,
        })
    }

    /// The mode that was chosen.
    pub fn mode(&self) -> XdpMode {
        self.mode
    }

    /// Why better modes were not chosen, one line each.
    pub fn fallbacks(&self) -> &[String] {
        &self.fallbacks
    }

    /// How many queues the interface has.
    pub fn queues(&self) -> usize {
        self.queues.len()
    }

    fn no_such_interface(&self) -> NetdevError {
        NetdevError::NoSuchInterface { name: self.name.clone() }
    }

    fn broken(&mut self, what: &'static str, error: Errno) -> NetdevError {
        let fd = self.queues.first().map_or(self.poll.as_fd(), |q| q.socket.as_fd());
        let error = broken(&self.name, self.index, fd, what, error.into());
        self.gone = matches!(error, NetdevError::NoSuchInterface { .. });
        error
    }
}

/// An attempt to open an interface in one mode.
struct Opening<'a> {
    name: &'a str,
    index: u32,
    queues: u32,
    frame_size: usize,
    mode: XdpMode,
    config: XdpConfig,
}

struct Opened {
    queues: Vec<Queue>,
    program: Program,
    link: OwnedFd,
}

impl Opening<'_> {
    fn open(&self) -> Result<Opened, NetdevError> {
        let failed = |what| move |e: io::Error| system(self.name, what, e);
        let program = Program::load(self.queues)
            .map_err(failed("loading the XDP program (needs the capabilities CAP_BPF and CAP_NET_ADMIN)"))?;
        let (attach, bind) = self.mode.flags();
        let link = program.attach(self.index, attach).map_err(|e| match e.raw_os_error() {
            Some(libc::EBUSY | libc::EEXIST) => NetdevError::Busy {
                name: self.name.to_owned(),
                by: format!("it has an XDP program; to remove it: ip link set {} xdp off", self.name),
            },
            _ => system(self.name, "attaching the XDP program", e),
        })?;
        let mut queues = Vec::new();
        for number in 0..self.queues {
            let queue = match self.queue(number, bind) {
                // The interface could have so many, but has not.
                Err(Errno::INVAL) if number > 0 => break,
                Err(e) => return Err(system(self.name, "opening an AF_XDP socket", e.into())),
                Ok(queue) => queue,
            };
            program.set_socket(number, queue.socket.as_fd()).map_err(failed("filling the XDP map"))?;
            queues.push(queue);
        }
        Ok(Opened { queues, program, link })
    }

    fn queue(&self, number: u32, flags: SocketAddrXdpFlags) -> Result<Queue, Errno> {
        let size = self.frame_size;
        let socket = socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        let fd = socket.as_fd();
        let odd = |e: io::Error| Errno::from_io_error(&e).unwrap_or(Errno::IO);
        // Half of the frames receive, half send.
        let len = 2 * RING as usize * size;
        let frames = Frames::new(len).map_err(odd)?;
        sockopt::set_xdp_umem_reg(
            fd,
            XdpUmemReg {
                addr: frames.address(),
                len: len as u64,
                chunk_size: size as u32,
                headroom: 0,
                flags: XdpUmemRegFlags::empty(),
                tx_metadata_len: 0,
            },
        )?;
        sockopt::set_xdp_umem_fill_ring_size(fd, RING)?;
        sockopt::set_xdp_umem_completion_ring_size(fd, RING)?;
        sockopt::set_xdp_rx_ring_size(fd, RING)?;
        sockopt::set_xdp_tx_ring_size(fd, RING)?;
        let offsets = sockopt::xdp_mmap_offsets(fd)?;
        let words = RING as usize;
        let rx = Ring::map(fd, XDP_PGOFF_RX_RING, &offsets.rx, 2 * words).map_err(odd)?;
        let tx = Ring::map(fd, XDP_PGOFF_TX_RING, &offsets.tx, 2 * words).map_err(odd)?;
        let fill = Ring::map(fd, XDP_UMEM_PGOFF_FILL_RING, &offsets.fr, words).map_err(odd)?;
        let completed = Ring::map(fd, XDP_UMEM_PGOFF_COMPLETION_RING, &offsets.cr, words).map_err(odd)?;
        let mut fill = Producer::new(fill);
        let frame = |n: u32| u64::from(n) * size as u64;
        for n in 0..RING {
            fill.push([frame(n)]);
        }
        fill.publish();
        let wakeup = match self.config.need_wakeup {
            true => SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP,
            false => SocketAddrXdpFlags::empty(),
        };
        let address = SocketAddrXdp::new(flags | wakeup, self.index, number);
        // The kernel takes a queue back from a socket a moment after that was closed.
        let mut left = BIND_TRIES;
        while let Err(e) = bind(fd, &address) {
            if e != Errno::BUSY || left == 0 {
                return Err(e);
            }
            left -= 1;
            std::thread::sleep(BIND_PAUSE);
        }
        if self.mode == XdpMode::NativeZeroCopy
            && !sockopt::xdp_options(fd)?.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY)
        {
            return Err(Errno::OPNOTSUPP);
        }
        Ok(Queue {
            socket,
            frames,
            frame_size: size,
            rx: Consumer::new(rx),
            fill,
            tx: Producer::new(tx),
            completed: Consumer::new(completed),
            free: (RING..2 * RING).map(frame).collect(),
        })
    }
}

/// A descriptor that becomes readable when any of the sockets does.
fn wait_for(queues: &[Queue]) -> Result<OwnedFd, Errno> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (n, queue) in queues.iter().enumerate() {
        epoll::add(&poll, &queue.socket, epoll::EventData::new_u64(n as u64), epoll::EventFlags::IN)?;
    }
    Ok(poll)
}

impl Queue {
    /// Appends the packets that have come in, as far as there is room, and says how many bytes they have.
    fn receive(&mut self, batch: &mut PacketBatch, virtual_link: bool) -> Result<u64, Errno> {
        let mut bytes = 0;
        let mut any = false;
        while batch.remaining_capacity() > 0
            && let Some([address, options]) = self.rx.pop()
        {
            any = true;
            let (offset, len) = (address as usize, length(options));
            let mut packet = Packet::with_room(len);
            let whole = self.frames.read(offset, packet.data_mut());
            // The frame begins where its chunk does, but for the headroom.
            self.fill.push([address - address % self.frame_size as u64]);
            if !whole {
                continue;
            }
            if virtual_link && let Some((start, offset)) = checksum::left_undone(packet.data()) {
                packet.offload.l4 = L4Checksum::Partial { start, offset };
            }
            bytes += len as u64;
            // There is room, as was asked.
            let _ = batch.try_push(packet);
        }
        if any {
            self.rx.release();
            self.fill.publish();
        }
        if self.fill.wants_wakeup() {
            ignore_busy(recv(&self.socket, &mut [0; 0][..], RecvFlags::DONTWAIT).map(|_| ()))?;
        }
        Ok(bytes)
    }

    /// Queues a frame; `false` if there is no room.
    fn push(&mut self, data: &[u8]) -> bool {
        if self.free.is_empty() {
            self.reclaim();
        }
        let Some(address) = self.free.pop() else { return false };
        let queued = self.frames.write(address as usize, data) && self.tx.push([address, descriptor(data.len())]);
        if !queued {
            self.free.push(address);
        }
        queued
    }

    /// Takes back the frames that were sent.
    fn reclaim(&mut self) {
        while let Some([address]) = self.completed.pop() {
            self.free.push(address - address % self.frame_size as u64);
        }
        self.completed.release();
    }

    /// Has the kernel send what was queued.
    fn kick(&mut self) -> Result<(), Errno> {
        self.tx.publish();
        if self.tx.waiting() > 0 && self.tx.wants_wakeup() {
            ignore_busy(send(&self.socket, &[], SendFlags::DONTWAIT).map(|_| ()))?;
        }
        Ok(())
    }
}

/// The second word of an entry: length, then options.
fn descriptor(len: usize) -> u64 {
    let [l0, l1, l2, l3] = (len as u32).to_ne_bytes();
    u64::from_ne_bytes([l0, l1, l2, l3, 0, 0, 0, 0])
}

/// The length that the second word of an entry has.
fn length(word: u64) -> usize {
    let [l0, l1, l2, l3, ..] = word.to_ne_bytes();
    u32::from_ne_bytes([l0, l1, l2, l3]) as usize
}

/// That the kernel has not got through everything yet is nothing wrong.
fn ignore_busy(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::AGAIN | Errno::BUSY | Errno::NOBUFS | Errno::INTR) => Ok(()),
        other => other,
    }
}

impl Netdev for XdpSocket {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "afxdp"
    }

    fn receive(&mut self, batch: &mut PacketBatch) -> Result<usize, NetdevError> {
        if self.gone {
            return Err(self.no_such_interface());
        }
        let before = batch.len();
        let count = self.queues.len();
        let mut outcome = Ok(());
        for n in 0..count {
            let Some(queue) = self.queues.get_mut((self.turn + n) % count) else { continue };
            // What was queued and not sent goes on whenever somebody looks in.
            let received = queue.kick().and_then(|()| queue.receive(batch, self.virtual_link));
            match received {
                Ok(bytes) => self.stats.rx_bytes += bytes,
                Err(e) => outcome = Err(e),
            }
        }
        self.turn = (self.turn + 1) % count.max(1);
        let received = batch.len() - before;
        self.stats.rx_packets += received as u64;
        outcome.map_err(|e| self.broken("receiving", e))?;
        Ok(received)
    }

    fn send(&mut self, batch: &mut PacketBatch) -> Result<(), NetdevError> {
        if self.gone {
            return Err(self.no_such_interface());
        }
        let longest = self.mtu + ETH_HEADER + TAGS;
        let Some(queue) = self.queues.first_mut() else { return Ok(()) };
        let mut done = 0;
        for packet in batch.iter() {
            let len = packet.len();
            if !(ETH_HEADER..=longest).contains(&len) {
                self.stats.tx_dropped += 1;
            } else if queue.push(packet.data()) {
                self.stats.tx_packets += 1;
                self.stats.tx_bytes += len as u64;
            } else {
                break;
            }
            done += 1;
        }
        batch.drain(..done);
        self.stats.tx_dropped += batch.len() as u64;
        let kicked = queue.kick();
        queue.reclaim();
        kicked.map_err(|e| self.broken("sending", e))
    }

    fn offloads(&self) -> Offloads {
        Offloads::NONE
    }

    fn address(&self) -> Option<EthAddr> {
        self.address
    }

    fn mtu(&self) -> usize {
        self.mtu
    }

    fn stats(&self) -> NetdevStats {
        // The count survives the interface, and is not worth an error.
        let lost = self
            .queues
            .iter()
            .filter_map(|q| sockopt::xdp_statistics(&q.socket).ok())
            .map(|s| s.rx_dropped + s.rx_ring_full.unwrap_or(0) + s.rx_fill_ring_empty_descs.unwrap_or(0));
        NetdevStats { rx_dropped: self.stats.rx_dropped + lost.sum::<u64>(), ..self.stats }
    }

    fn polling(&self) -> Polling {
        Polling::Either
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.poll.as_fd())
    }
}

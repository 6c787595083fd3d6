//! A port that is an interface of this machine's own stack: a TAP device (`/dev/net/tun`).
//!
//! What the stack sends on the interface, the port receives; what is sent on the port, the stack receives. So a host has
//! an address on a bridge: on the port of the bridge's own name, or on others of type `internal`.
//!
//! Each frame passes with a header that says which work is still to be done on it, as with packet sockets: TCP packets of
//! up to 64 KiB with their checksums undone go from this stack to the next one in the machine just so.
//!
//! # What it does to the interface
//! It makes it, if it is not there. The interface is down then: whoever gives it an address brings it up. It goes when the
//! port is closed, unless it was made [persistent](TapHandle::set_persistent): then it stays, without a carrier, with its
//! addresses and routes, until it is opened again. That is how a host keeps its address while a switch starts anew.
//!
//! # What gets lost, and where that is counted
//! - `rx_dropped`: frames whose header is not understood or does not fit the frame.
//! - `tx_dropped`: packets that the kernel refuses each for itself: the interface is down, no Ethernet header, offsets
//!   beyond the end. They do not hold up those behind them. And packets that wait in the batch for want of memory.
//!
//! # Where it belongs
//! A port stays at its interface, even if that is moved to another network namespace.

#[allow(unsafe_code, reason = "the ioctl calls of TAP devices have no safe wrapper")]
mod sys;

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use ovs_netlink::Linux;
use ovs_netlink::route::Route;
use ovs_packet::packet::SMALL;
use ovs_packet::{EthAddr, Packet, PacketBatch};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::interface::{is_name, settle, system};
use super::{Netdev, NetdevError, NetdevStats, Offloads, Polling, vnet};

/// Bytes of an Ethernet header.
const ETH_HEADER: usize = 14;

/// Bytes beyond those of a packet with little room: an IP datagram of 64 KiB with its link headers.
const SPILL: usize = 1 << 16;

/// Where TAP devices are made.
const DEVICE: &str = "/dev/net/tun";

/// Work that this end takes over, and what is said of UDP too by kernels that know it (Linux 6.2 and later).
const TCP: u32 = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
const UDP: u32 = libc::TUN_F_USO4 | libc::TUN_F_USO6;

/// What a TAP device is called in a switch's configuration: there is no other difference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TapKind {
    /// A port of type `tap`.
    Tap,
    /// A port of type `internal`: the one of the bridge's own name among them.
    Internal,
}

/// A port that is an interface of this machine's own stack.
///
/// ```no_run
/// use ovs_dpif::netdev::{Netdev, Tap, TapKind};
/// use ovs_packet::PacketBatch;
///
/// // ip address add 10.0.0.1/24 dev br0; ip link set br0 up
/// let mut port = Tap::open("br0", TapKind::Internal)?;
/// let mut batch = PacketBatch::new();
/// port.receive(&mut batch)?;
/// for packet in &batch {
///     println!("the host sends {packet:?}");
/// }
/// # Ok::<(), ovs_dpif::netdev::NetdevError>(())
/// ```
#[derive(Debug)]
pub struct Tap {
    name: String,
    kind: TapKind,
    index: u32,
    mtu: usize,
    address: Option<EthAddr>,
    fd: Arc<OwnedFd>,
    /// Where a frame lands: the bytes behind the first ones.
    spill: Vec<u8>,
    stats: NetdevStats,
    /// The interface was seen to be removed.
    gone: bool,
}

/// A hold on a [`Tap`]'s interface for somebody other than the port's owner. The interface is open as long as either is.
#[derive(Clone, Debug)]
pub struct TapHandle {
    name: String,
    index: u32,
    fd: Arc<OwnedFd>,
}

impl TapHandle {
    /// The interface's number.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Says whether the interface stays when nobody has it open: with its addresses and routes, until it is opened again.
    ///
    /// # Errors
    /// If the interface was removed.
    pub fn set_persistent(&self, persistent: bool) -> Result<(), NetdevError> {
        let failed = |e| system(&self.name, "setting whether it stays", e);
        sys::set_persistent((*self.fd).as_fd(), persistent).map_err(failed)
    }
}

impl Tap {
    /// Opens the interface `name` in the calling thread's network namespace; makes it if it is not there.
    ///
    /// Its MTU and address are as they are now. Needs `CAP_NET_ADMIN`, unless the interface is there and belongs to the
    /// process's user.
    ///
    /// # Errors
    /// If the name is that of something else or no name at all, another program has the interface open, the process lacks
    /// the capability, the kernel has no TAP devices, or the system refuses something else.
    pub fn open(name: &str, kind: TapKind) -> Result<Tap, NetdevError> {
        if !is_name(name) {
            return Err(system(name, "making a TAP device", io::Error::other("no interface can have this name")));
        }
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::open(DEVICE, flags, Mode::empty()).map_err(|e| match e {
            Errno::PERM | Errno::ACCESS => not_permitted(name),
            Errno::NOENT | Errno::NODEV | Errno::NXIO => {
                let why = format!("{}; to have TAP devices: modprobe tun", io::Error::from(e));
                system(name, "opening /dev/net/tun", io::Error::other(why))
            }
            e => system(name, "opening /dev/net/tun", e.into()),
        })?;
        let mut links = Route::open(&Linux).map_err(|e| system(name, "opening an rtnetlink socket", e.into()))?;
        sys::attach(fd.as_fd(), name).map_err(|e| refused(&mut links, name, e))?;
        let failed = |what| move |e| system(name, what, e);
        sys::set_header_len(fd.as_fd(), vnet::LEN).map_err(failed("setting the length of its headers"))?;
        sys::set_offloads(fd.as_fd(), TCP | UDP)
            .or_else(|_| sys::set_offloads(fd.as_fd(), TCP))
            .map_err(failed("taking over checksums and segmentation"))?;
        let link = links.link(name).map_err(|e| system(name, "looking it up", e.into()))?;
        Ok(Tap {
            name: name.to_owned(),
            kind,
            index: link.index,
            mtu: link.mtu as usize,
            address: link.address.map(EthAddr),
            fd: Arc::new(fd),
            spill: vec![0; SPILL],
            stats: NetdevStats::default(),
            gone: false,
        })
    }

    /// A hold on the interface.
    pub fn handle(&self) -> TapHandle {
        TapHandle { name: self.name.clone(), index: self.index, fd: self.fd.clone() }
    }

    /// What an error means that is not of one frame.
    fn broken(&mut self, what: &'static str, error: Errno) -> NetdevError {
        // The kernel takes the descriptor's device away when that is removed.
        self.gone = error == Errno::BADFD;
        if self.gone { self.no_such_interface() } else { system(&self.name, what, error.into()) }
    }

    fn no_such_interface(&self) -> NetdevError {
        NetdevError::NoSuchInterface { name: self.name.clone() }
    }
}

fn not_permitted(name: &str) -> NetdevError {
    NetdevError::NotPermitted { name: name.to_owned(), capability: "CAP_NET_ADMIN" }
}

/// Why the kernel does not give an interface.
fn refused(links: &mut Route, name: &str, error: io::Error) -> NetdevError {
    let busy = |by: &str| NetdevError::Busy { name: name.to_owned(), by: by.to_owned() };
    match error.raw_os_error() {
        Some(libc::EPERM) => not_permitted(name),
        Some(libc::EBUSY) => busy("another program has the TAP device open"),
        Some(libc::EINVAL) if links.link(name).is_ok() => busy("it is there already, and no TAP device of a switch"),
        _ => system(name, "making a TAP device", error),
    }
}

/// The packet that `len` bytes are which were read to a header, `head` and `spill`; `None` if they make no sense.
fn packet_of(len: usize, header: &vnet::Header, mut head: Packet, spill: &[u8]) -> Option<Packet> {
    let len = len.checked_sub(vnet::LEN).filter(|len| *len >= ETH_HEADER)?;
    head.offload = vnet::read(header, len)?;
    match len.checked_sub(head.len()) {
        Some(spilt) => head.extend(spill.get(..spilt)?),
        None => head.truncate(len),
    }
    Some(head)
}

impl Netdev for Tap {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        match self.kind {
            TapKind::Tap => "tap",
            TapKind::Internal => "internal",
        }
    }

    fn receive(&mut self, batch: &mut PacketBatch) -> Result<usize, NetdevError> {
        if self.gone {
            return Err(self.no_such_interface());
        }
        let before = batch.len();
        // Each round takes a frame from the kernel's queue, which has an end; a stack that fills it as fast is bounded by
        // the batch, or by this.
        for _ in 0..ROUNDS {
            if batch.is_full() {
                break;
            }
            let (mut header, mut packet) = ([0; vnet::LEN], Packet::with_room(SMALL));
            let mut parts =
                [IoSliceMut::new(&mut header), IoSliceMut::new(packet.data_mut()), IoSliceMut::new(&mut self.spill)];
            match rustix::io::readv(&*self.fd, &mut parts) {
                Ok(len) => match packet_of(len, &header, packet, &self.spill) {
                    Some(packet) => {
                        self.stats.rx_packets += 1;
                        self.stats.rx_bytes += packet.len() as u64;
                        batch.push(packet);
                    }
                    None => self.stats.rx_dropped += 1,
                },
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                // The kernel has no header for the frame, and threw it away.
                Err(Errno::INVAL) => self.stats.rx_dropped += 1,
                Err(error) => return Err(self.broken("receiving", error)),
            }
        }
        Ok(batch.len() - before)
    }

    fn send(&mut self, batch: &mut PacketBatch) -> Result<(), NetdevError> {
        if self.gone {
            return Err(self.no_such_interface());
        }
        // So many packets, from the front, were sent or refused.
        let (mut done, mut outcome) = (0, Ok(()));
        for packet in batch.iter_mut() {
            let header = if packet.len() < ETH_HEADER { None } else { vnet::write(packet) };
            let written = loop {
                let Some(header) = &header else { break Err(Errno::INVAL) };
                match rustix::io::writev(&*self.fd, &[IoSlice::new(header), IoSlice::new(packet.data())]) {
                    Err(Errno::INTR) => {}
                    written => break written,
                }
            };
            match written {
                Ok(_) => {
                    self.stats.tx_packets += 1;
                    self.stats.tx_bytes += packet.len() as u64;
                }
                // EIO: the interface is down. The others: of this frame.
                Err(Errno::IO | Errno::INVAL | Errno::MSGSIZE | Errno::FBIG) => self.stats.tx_dropped += 1,
                Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => break,
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
            done += 1;
        }
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
        self.stats
    }

    fn polling(&self) -> Polling {
        Polling::Either
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        // One that is gone would be readable always.
        (!self.gone).then(|| (*self.fd).as_fd())
    }
}

/// Frames that are looked at for one batch.
const ROUNDS: usize = 256;

#[cfg(test)]
mod tests {
    use ovs_packet::packet::{Gso, GsoKind, L4Checksum};

    use super::*;

    #[test]
    fn frames_are_put_together_from_what_was_read() {
        let spill: Vec<u8> = (0..SPILL).map(|i| i as u8).collect();
        let head = || Packet::from_slice(&[7; 100]);
        let plain = [0; vnet::LEN];
        let of = |len| packet_of(len + vnet::LEN, &plain, head(), &spill);
        assert_eq!(of(60).unwrap().data(), [7; 60]);
        assert_eq!(of(100).unwrap().data(), [7; 100]);
        let long = of(5000).unwrap();
        assert_eq!((long.len(), &long.data()[..100], &long.data()[100..]), (5000, &[7; 100][..], &spill[..4900]));
        // Nothing, no Ethernet header, more than there is memory for.
        for len in [0, 13, 100 + SPILL + 1] {
            assert!(of(len).is_none(), "{len}");
        }
        assert!(packet_of(9, &plain, head(), &spill).is_none());
        let mut header = [1, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        header[4..6].copy_from_slice(&1400u16.to_ne_bytes());
        header[6..8].copy_from_slice(&34u16.to_ne_bytes());
        header[8..].copy_from_slice(&16u16.to_ne_bytes());
        let large = packet_of(3000 + vnet::LEN, &header, head(), &spill).unwrap();
        assert_eq!(large.offload.gso, Some(Gso { kind: GsoKind::TcpV4, size: 1400, ecn: false }));
        assert_eq!(large.offload.l4, L4Checksum::Partial { start: 34, offset: 16 });
        // A checksum behind the frame's end.
        assert!(packet_of(40 + vnet::LEN, &header, head(), &spill).is_none());
    }

    #[test]
    fn names_that_no_interface_can_have() {
        for name in ["", "a/b", "tap%d", "sixteen-bytes-ab", "a b", ".."] {
            let error = Tap::open(name, TapKind::Tap).unwrap_err().to_string();
            assert!(error.ends_with("no interface can have this name"), "{error}");
        }
    }
}

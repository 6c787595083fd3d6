//! The system calls of a packet socket that no library wraps safely: each is here.
//!
//! What the module gives out is safe: descriptors are borrowed for the call, memory that the kernel writes to is
//! borrowed mutably for the call, and only bytes that the kernel says it wrote are spoken of afterwards.

use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::{fmt, io, mem, ptr};

use ovs_packet::Packet;
use ovs_packet::packet::{BATCH, SMALL};

mod ring;

pub(super) use ring::{Ring, Taken};

use super::super::vnet;

/// Bytes beyond those that a frame may have: an IP datagram of 64 KiB with its link headers.
const SPILL: usize = 1 << 16;

/// Memory for one batch of frames.
///
/// Each frame's first [`SMALL`] bytes land in a packet that the thread's pool gave. The spill areas are one allocation of
/// 2 MiB, of which the kernel gives real memory only to the pages that large frames reach.
pub(super) struct Slots {
    slots: Vec<Slot>,
    spill: Vec<u8>,
}

struct Slot {
    vnet: vnet::Header,
    packet: Packet,
    /// The frame's length, `None` if it was longer than the slot.
    len: Option<usize>,
    aux: Option<libc::tpacket_auxdata>,
}

/// A frame that was received.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    /// The header before it.
    pub(super) vnet: vnet::Header,
    /// Its length. `None`: the frame was longer than any may be.
    pub(super) len: Option<usize>,
    /// The tag that the kernel took out of it.
    pub(super) vlan: Option<Vlan>,
    /// Its first bytes, if there are so many: what stands behind the frame's end is nothing of it.
    pub(super) head: Packet,
    /// The bytes that did not fit there.
    pub(super) spill: &'a [u8],
}

/// A VLAN tag beside the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Vlan {
    pub(super) tpid: u16,
    pub(super) tci: u16,
}

/// The one control message that the socket asks for, laid out as the kernel writes it: `CMSG_DATA` is the header's
/// size rounded up to the alignment of `size_t`, and the header's own alignment is that.
#[repr(C)]
#[derive(Clone, Copy)]
struct Control {
    header: libc::cmsghdr,
    aux: libc::tpacket_auxdata,
}

impl Slots {
    pub(super) fn new() -> Slots {
        let slot = || Slot { vnet: [0; vnet::LEN], packet: fresh(), len: None, aux: None };
        Slots { slots: (0..BATCH).map(|_| slot()).collect(), spill: vec![0; BATCH * SPILL] }
    }

    /// Receives up to `room` frames, without waiting. Hands each to `take`, in order, and says how many there were.
    ///
    /// # Errors
    /// `WouldBlock` if there is none, and whatever else `recvmmsg(2)` says.
    pub(super) fn receive(
        &mut self,
        fd: BorrowedFd<'_>,
        room: usize,
        mut take: impl FnMut(Frame<'_>),
    ) -> io::Result<usize> {
        let n = self.fill(fd, room)?;
        for (slot, spill) in self.slots.iter_mut().zip(self.spill.chunks_exact(SPILL)).take(n) {
            let spilt = slot.len.unwrap_or(0).saturating_sub(SMALL);
            take(Frame {
                vnet: slot.vnet,
                len: slot.len,
                vlan: slot.aux.and_then(|aux| Vlan::of(aux.tp_status, aux.tp_vlan_tci, aux.tp_vlan_tpid)),
                head: mem::replace(&mut slot.packet, fresh()),
                spill: spill.get(..spilt).unwrap_or(&[]),
            });
        }
        Ok(n)
    }

    fn fill(&mut self, fd: BorrowedFd<'_>, room: usize) -> io::Result<usize> {
        // SAFETY:
        // 1. `iovec`, `cmsghdr`, `tpacket_auxdata` and `mmsghdr` are C structures of integers and pointers that need
        //    not be valid until used: all bits zero is a value of each.
        let (mut iovecs, mut controls, mut messages) = unsafe {
            (
                mem::zeroed::<[[libc::iovec; 3]; BATCH]>(),
                mem::zeroed::<[Control; BATCH]>(),
                mem::zeroed::<[libc::mmsghdr; BATCH]>(),
            )
        };
        let places = self.slots.iter_mut().zip(self.spill.chunks_exact_mut(SPILL));
        let kernel = iovecs.iter_mut().zip(&mut controls).zip(&mut messages);
        let mut count = 0;
        for ((slot, spill), ((iovec, control), message)) in places.zip(kernel).take(room) {
            *iovec = [part(&mut slot.vnet), part(slot.packet.data_mut()), part(spill)];
            message.msg_hdr.msg_iov = iovec.as_mut_ptr();
            message.msg_hdr.msg_iovlen = iovec.len() as _;
            message.msg_hdr.msg_control = ptr::from_mut(control).cast();
            message.msg_hdr.msg_controllen = mem::size_of::<Control>() as _;
            count += 1;
        }
        // SAFETY:
        // 1. `messages` holds `count <= BATCH` headers that were filled in above.
        // 2. Each points to three parts and one control buffer, which point into `self`, `iovecs` and `controls`:
        //    all are borrowed mutably or owned here until the call is over, and their lengths are their own.
        // 3. The parts of different messages do not overlap: each is a slot's own, or a chunk of its own.
        // 4. The kernel may write any bytes: the memory is plain bytes and plain integers.
        let n = unsafe {
            libc::recvmmsg(fd.as_raw_fd(), messages.as_mut_ptr(), count, 0, ptr::null_mut::<libc::timespec>())
        };
        let n = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
        for ((slot, message), control) in self.slots.iter_mut().zip(&messages).zip(&controls).take(n) {
            let whole = message.msg_hdr.msg_flags & libc::MSG_TRUNC == 0;
            slot.len = (message.msg_len as usize).checked_sub(vnet::LEN).filter(|_| whole);
            // What the kernel left alone is zero, which is no such message.
            let header = &control.header;
            let is_aux = header.cmsg_level == libc::SOL_PACKET && header.cmsg_type == libc::PACKET_AUXDATA;
            slot.aux = is_aux.then_some(control.aux);
        }
        Ok(n)
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").finish_non_exhaustive()
    }
}

impl Vlan {
    /// The tag that is told beside a frame: whether there is one, and whether its type is told, are bits of `status`.
    fn of(status: u32, tci: u16, tpid: u16) -> Option<Vlan> {
        let typed = status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
        let tagged = status & libc::TP_STATUS_VLAN_VALID != 0;
        tagged.then_some(Vlan { tpid: if typed { tpid } else { 0x8100 }, tci })
    }
}

impl Frame<'static> {
    /// What came where no frame can be made of it.
    fn odd() -> Frame<'static> {
        Frame { vnet: [0; vnet::LEN], len: None, vlan: None, head: Packet::default(), spill: &[] }
    }
}

fn fresh() -> Packet {
    Packet::with_room(SMALL)
}

fn part(bytes: &mut [u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() }
}

/// Sends frames, each behind its header, without waiting, and says how many went: at least one, or it is an error.
///
/// # Errors
/// What `sendmmsg(2)` says of the first frame.
pub(super) fn send(fd: BorrowedFd<'_>, frames: &[(vnet::Header, &[u8])]) -> io::Result<usize> {
    // SAFETY:
    // 1. `iovec` and `mmsghdr` are C structures of integers and pointers: all bits zero is a value of each.
    let (mut iovecs, mut messages) =
        unsafe { (mem::zeroed::<[[libc::iovec; 2]; BATCH]>(), mem::zeroed::<[libc::mmsghdr; BATCH]>()) };
    let mut count = 0;
    for (((header, frame), iovec), message) in frames.iter().zip(&mut iovecs).zip(&mut messages) {
        *iovec = [constant(header), constant(frame)];
        message.msg_hdr.msg_iov = iovec.as_mut_ptr();
        message.msg_hdr.msg_iovlen = iovec.len() as _;
        count += 1;
    }
    // SAFETY:
    // 1. `messages` holds `count <= BATCH` headers that were filled in above; name and control are absent (null, 0).
    // 2. Each points to two parts, which point to memory that `frames` borrows for the length of the call.
    // 3. The kernel only reads through the parts; it writes `msg_len` into `messages`, which is borrowed mutably.
    let n = unsafe { libc::sendmmsg(fd.as_raw_fd(), messages.as_mut_ptr(), count, 0) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

fn constant(bytes: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

/// Binds the socket to the interface of this index, for frames of every Ethertype.
pub(super) fn bind(fd: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as _,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: index as c_int,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let len = mem::size_of_val(&address) as libc::socklen_t;
    // SAFETY:
    // 1. `address` is a whole `sockaddr_ll` of `len` bytes, and the kernel only reads it during the call.
    let rc = unsafe { libc::bind(fd.as_raw_fd(), ptr::from_ref(&address).cast(), len) };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets an integer option of the packet level.
pub(super) fn set_option(fd: BorrowedFd<'_>, option: c_int, value: c_int) -> io::Result<()> {
    set(fd, option, &value)
}

/// Makes the socket the first of a group among which frames are fanned out by their hash, and returns the group.
pub(super) fn found_fanout(fd: BorrowedFd<'_>) -> io::Result<u16> {
    set(fd, libc::PACKET_FANOUT, &(((libc::PACKET_FANOUT_HASH | libc::PACKET_FANOUT_FLAG_UNIQUEID) << 16) as c_int))?;
    let mut group: c_int = 0;
    let mut len = mem::size_of::<c_int>() as libc::socklen_t;
    // SAFETY:
    // 1. `group` is `len` bytes that the kernel writes at most, an integer for this option, and that outlive the call.
    // 2. `len` is a socklen_t that it reads and writes.
    let rc = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_FANOUT,
            ptr::from_mut(&mut group).cast::<c_void>(),
            &mut len,
        )
    };
    if rc == 0 { Ok(group as u16) } else { Err(io::Error::last_os_error()) }
}

/// Makes the socket another of such a group.
pub(super) fn join_fanout(fd: BorrowedFd<'_>, group: u16) -> io::Result<()> {
    set(fd, libc::PACKET_FANOUT, &((libc::PACKET_FANOUT_HASH << 16) as c_int | c_int::from(group)))
}

/// Takes the interface into promiscuous mode for as long as the socket is open.
pub(super) fn set_promiscuous(fd: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    let membership = libc::packet_mreq {
        mr_ifindex: index as c_int,
        mr_type: libc::PACKET_MR_PROMISC as _,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set(fd, libc::PACKET_ADD_MEMBERSHIP, &membership)
}

fn set<T: Copy>(fd: BorrowedFd<'_>, option: c_int, value: &T) -> io::Result<()> {
    let len = mem::size_of::<T>() as libc::socklen_t;
    // SAFETY:
    // 1. `value` is `len` bytes that the kernel only reads during the call. All types it is called with (an integer,
    //    `packet_mreq`, `tpacket_req`) are free of padding and of pointers.
    let rc = unsafe {
        libc::setsockopt(fd.as_raw_fd(), libc::SOL_PACKET, option, ptr::from_ref(value).cast::<c_void>(), len)
    };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Frames that the kernel lost for want of room since it was last asked.
pub(super) fn take_drops(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut stats = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut len = mem::size_of_val(&stats) as libc::socklen_t;
    // SAFETY:
    // 1. `stats` is `len` bytes of integers that the kernel may write during the call; it writes no more than `len`.
    let rc = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            ptr::from_mut(&mut stats).cast::<c_void>(),
            &mut len,
        )
    };
    if rc == 0 { Ok(u64::from(stats.tp_drops)) } else { Err(io::Error::last_os_error()) }
}

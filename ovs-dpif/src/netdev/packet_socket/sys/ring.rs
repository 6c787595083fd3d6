//! The ring of received frames that a packet socket shares with the kernel (packet(7), `PACKET_RX_RING`).
//!
//! It has slots of one size, each with a header whose first word says whose the slot is. The kernel fills those that are its
//! own, in order, and hands them over; this side copies what is in them and hands them back. There is no other call: a
//! frame that is there is seen at once. A frame that does not fit its slot waits in the socket's queue besides.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{fmt, io, mem, ptr};

use ovs_packet::Packet;
use ovs_packet::packet::SMALL;
use rustix::mm::{MapFlags, ProtFlags, mmap};

use super::super::super::mapping::Mapping;
use super::super::super::vnet;
use super::{Frame, Vlan, set};

/// Bytes of a slot: a frame of an MTU of 1500 with its headers, and no less than half as much again.
const SLOT: usize = 2048;

/// Slots: 4 ms of small frames at a million in a second.
const SLOTS: usize = 4096;

/// Bytes that the kernel allocates at once.
const BLOCK: usize = 32 << 10;

/// The memory of the ring, and where it goes on.
pub(in super::super) struct Ring {
    mapping: Mapping,
    next: usize,
}

/// What the next slot had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Taken {
    /// Nothing: it is the kernel's.
    Nothing,
    /// A frame.
    Frame,
    /// The beginning of a frame that waits in the socket's queue.
    Queued,
}

impl Ring {
    /// Gives the socket a ring, which it must not have yet. It is to have no frames either.
    pub(in super::super) fn new(fd: BorrowedFd<'_>) -> io::Result<Ring> {
        set(fd, libc::PACKET_VERSION, &(libc::tpacket_versions::TPACKET_V2 as libc::c_int))?;
        // Any number but zero has frames that do not fit wait in the queue.
        set(fd, libc::PACKET_COPY_THRESH, &1_i32)?;
        let request = libc::tpacket_req {
            tp_block_size: BLOCK as _,
            tp_block_nr: (SLOTS * SLOT / BLOCK) as _,
            tp_frame_size: SLOT as _,
            tp_frame_nr: SLOTS as _,
        };
        set(fd, libc::PACKET_RX_RING, &request)?;
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::POPULATE);
        // SAFETY:
        // 1. The kernel chooses the address: nothing that exists is touched.
        let at = unsafe { mmap(ptr::null_mut(), SLOTS * SLOT, protection, flags, fd, 0)? };
        Ok(Ring { mapping: Mapping::of(at, SLOTS * SLOT)?, next: 0 })
    }

    /// Takes what is in the next slot, if the kernel has handed that over, and gives it to `each` if that is a frame.
    pub(in super::super) fn take(&mut self, each: impl FnOnce(Frame<'_>)) -> Taken {
        let start = self.next * SLOT;
        let Some(status) = self.mapping.place::<AtomicU32>(start, 1) else { return Taken::Nothing };
        // SAFETY:
        // 1. The place is within the mapping and aligned; all access to it, the kernel's too, is atomic.
        let status = unsafe { status.as_ref() };
        let said = status.load(Ordering::Acquire);
        if said & libc::TP_STATUS_USER == 0 {
            return Taken::Nothing;
        }
        let is_queued = said & libc::TP_STATUS_COPY != 0;
        if !is_queued {
            each(self.copy(start, said).unwrap_or_else(Frame::odd));
        }
        status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.next = (self.next + 1) % SLOTS;
        if is_queued { Taken::Queued } else { Taken::Frame }
    }

    /// Copies the frame of a slot that is this side's; `None` if its header makes no sense or the frame was cut.
    fn copy(&self, start: usize, status: u32) -> Option<Frame<'static>> {
        let header = self.mapping.place::<libc::tpacket2_hdr>(start, 1)?;
        // SAFETY:
        // 1. The place is within the mapping and aligned; the slot is this side's, so that the kernel does not write to it:
        //    `status` was loaded with Acquire, and the kernel stores it behind everything else.
        // 2. The structure is plain integers.
        let header = unsafe { header.read() };
        let (mac, len) = (usize::from(header.tp_mac), header.tp_snaplen as usize);
        let is_whole = header.tp_len == header.tp_snaplen && mac + len <= SLOT && len <= SMALL;
        let before = mac.checked_sub(vnet::LEN).filter(|at| is_whole && *at >= mem::size_of::<libc::tpacket2_hdr>())?;
        let mut vnet = [0; vnet::LEN];
        self.read(start + before, &mut vnet)?;
        let mut head = Packet::with_room(len);
        self.read(start + mac, head.data_mut())?;
        let vlan = Vlan::of(status, header.tp_vlan_tci, header.tp_vlan_tpid);
        Some(Frame { vnet, len: Some(len), vlan, head, spill: &[] })
    }

    fn read(&self, offset: usize, to: &mut [u8]) -> Option<()> {
        let from = self.mapping.place::<u8>(offset, to.len())?;
        // SAFETY:
        // 1. `from` is followed by `to.len()` bytes of the mapping, which are plain bytes and of a slot that is this side's.
        // 2. `to` is a borrow of other memory: nothing hands out a slice of the mapping.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), to.as_mut_ptr(), to.len()) };
        Some(())
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("next", &self.next).finish_non_exhaustive()
    }
}

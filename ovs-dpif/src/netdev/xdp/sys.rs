//! Memory shared with the kernel, and the four calls of `bpf(2)` that put a program before an interface: every `unsafe` block
//! of AF_XDP is here.
//!
//! What the module gives out is safe. Counters and entries of rings are atomics. Bytes of frames are copied in and out: whether
//! a frame is this process' own is a matter of the rings' protocol, and if that went wrong the bytes would make no sense, but
//! no reference to them exists that could be wrong.

use std::ffi::c_long;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::{fmt, io, mem, ptr};

use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous};
use rustix::net::xdp::XdpRingOffset;

use super::super::mapping::Mapping;
use super::ring::Shared;

/// The memory of a socket's frames.
pub(super) struct Frames {
    mapping: Mapping,
}

impl Frames {
    /// `len` bytes of zero, in large pages where the kernel has some.
    pub(super) fn new(len: usize) -> io::Result<Frames> {
        // SAFETY:
        // 1. The kernel chooses the address: nothing that exists is touched.
        let at =
            unsafe { mmap_anonymous(ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)? };
        Ok(Frames { mapping: Mapping::of(at, len)? })
    }

    /// Where the memory is, for the kernel.
    pub(super) fn address(&self) -> u64 {
        self.mapping.start().expose_provenance() as u64
    }

    /// Copies from `offset` on; `false` if that is not all within the memory.
    pub(super) fn read(&self, offset: usize, to: &mut [u8]) -> bool {
        let Some(from) = self.mapping.place::<u8>(offset, to.len()) else { return false };
        // SAFETY:
        // 1. `from` is followed by `to.len()` bytes of the mapping, which were zeroed by the kernel and are plain bytes.
        // 2. `to` is a borrow of other memory: nothing hands out a slice of the mapping.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), to.as_mut_ptr(), to.len()) };
        true
    }

    /// Copies to `offset` on; `false` if that is not all within the memory.
    pub(super) fn write(&mut self, offset: usize, from: &[u8]) -> bool {
        let Some(to) = self.mapping.place::<u8>(offset, from.len()) else { return false };
        // SAFETY:
        // 1. `to` is followed by `from.len()` bytes of the mapping, which may be written.
        // 2. `from` is a borrow of other memory: nothing hands out a slice of the mapping.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), to.as_ptr(), from.len()) };
        true
    }
}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames").field("len", &self.mapping.len()).finish()
    }
}

/// The memory of a ring.
pub(super) struct Ring {
    _mapping: Mapping,
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    words: NonNull<AtomicU64>,
    len: usize,
}

// SAFETY:
// 1. The pointers point into the mapping, which the value owns, and to atomics only.
unsafe impl Send for Ring {}

impl Ring {
    /// Maps the ring of `words` words that the socket has at this page offset.
    pub(super) fn map(fd: BorrowedFd<'_>, page: u64, offsets: &XdpRingOffset, words: usize) -> io::Result<Ring> {
        let odd = || io::Error::other("the kernel describes a ring that does not fit its memory");
        let place = |offset: u64| usize::try_from(offset).map_err(|_| odd());
        let desc = place(offsets.desc)?;
        let len = words.checked_mul(mem::size_of::<u64>()).and_then(|size| size.checked_add(desc)).ok_or_else(odd)?;
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY:
        // 1. The kernel chooses the address: nothing that exists is touched.
        let at = unsafe { mmap(ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, flags, fd, page)? };
        let mapping = Mapping::of(at, len)?;
        let flags = offsets.flags.ok_or_else(|| io::Error::other("rings without flags (Linux before 5.4)"))?;
        Ok(Ring {
            producer: mapping.place(place(offsets.producer)?, 1).ok_or_else(odd)?,
            consumer: mapping.place(place(offsets.consumer)?, 1).ok_or_else(odd)?,
            flags: mapping.place(place(flags)?, 1).ok_or_else(odd)?,
            words: mapping.place(desc, words).ok_or_else(odd)?,
            len: words,
            _mapping: mapping,
        })
    }
}

impl Shared for Ring {
    fn producer(&self) -> &AtomicU32 {
        // SAFETY:
        // 1. The place was checked to be inside the mapping and aligned; the mapping lives as long as `self`.
        // 2. The kernel reads and writes it as one word. Any 32 bits are a value.
        unsafe { self.producer.as_ref() }
    }

    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as for `producer`.
        unsafe { self.consumer.as_ref() }
    }

    fn flags(&self) -> &AtomicU32 {
        // SAFETY: as for `producer`.
        unsafe { self.flags.as_ref() }
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY:
        // 1. `len` words from there on were checked to be inside the mapping and aligned; it lives as long as `self`.
        // 2. Any 64 bits are a value, and words that the kernel writes at the same time are atomics here.
        unsafe { NonNull::slice_from_raw_parts(self.words, self.len).as_ref() }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("words", &self.len).finish()
    }
}

// From linux/bpf.h.
const BPF_MAP_CREATE: c_long = 0;
const BPF_MAP_UPDATE_ELEM: c_long = 2;
const BPF_PROG_LOAD: c_long = 5;
const BPF_LINK_CREATE: c_long = 28;
const BPF_MAP_TYPE_XSKMAP: u32 = 17;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;

/// The arguments of `BPF_PROG_LOAD`, as far as they are used.
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// The arguments of `BPF_MAP_UPDATE_ELEM`.
#[repr(C)]
struct MapUpdate {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Calls `bpf(2)` with arguments that are plain integers, some of them addresses.
///
/// # Safety
/// Addresses in `arguments` must be of memory that the command may read (it writes nowhere) during the call.
unsafe fn bpf<T>(command: c_long, arguments: &T) -> io::Result<c_long> {
    let size = mem::size_of::<T>() as c_long;
    // SAFETY:
    // 1. `arguments` is `size` bytes, which the kernel reads; the commands used here write nothing back.
    // 2. Addresses in them are as the caller promises.
    let rc = unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_ref(arguments), size) };
    if rc >= 0 { Ok(rc) } else { Err(io::Error::last_os_error()) }
}

fn owned(fd: c_long) -> OwnedFd {
    // SAFETY:
    // 1. The number is of a descriptor that the kernel just made for this process, and nothing else knows of.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

/// Makes a map from queues to sockets.
pub(super) fn make_map(queues: u32) -> io::Result<OwnedFd> {
    // map_type, key_size, value_size, max_entries.
    let arguments = [BPF_MAP_TYPE_XSKMAP, 4, 4, queues];
    // SAFETY:
    // 1. There is no address among the arguments.
    unsafe { bpf(BPF_MAP_CREATE, &arguments) }.map(owned)
}

/// Has the map lead from a queue to a socket.
pub(super) fn set_socket(map: BorrowedFd<'_>, queue: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
    let value = socket.as_raw_fd();
    let address = |p: *const u32| p.expose_provenance() as u64;
    let arguments = MapUpdate {
        map_fd: map.as_raw_fd() as u32,
        padding: 0,
        key: address(&queue),
        value: address(ptr::from_ref(&value).cast()),
        flags: 0,
    };
    // SAFETY:
    // 1. `key` and `value` are addresses of 4 bytes each, as the map was made for, which live until the call is over.
    unsafe { bpf(BPF_MAP_UPDATE_ELEM, &arguments) }.map(|_| ())
}

/// Loads a program of XDP.
pub(super) fn load_program(instructions: &[u64]) -> io::Result<OwnedFd> {
    let license = c"Apache-2.0";
    let mut prog_name = [0; 16];
    for (to, from) in prog_name.iter_mut().zip(b"ovs_rs_redirect") {
        *to = *from;
    }
    let arguments = ProgLoad {
        prog_type: BPF_PROG_TYPE_XDP,
        insn_cnt: instructions.len() as u32,
        insns: instructions.as_ptr().expose_provenance() as u64,
        license: license.as_ptr().expose_provenance() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name,
        prog_ifindex: 0,
        expected_attach_type: BPF_XDP,
    };
    // SAFETY:
    // 1. `insns` is the address of `insn_cnt` instructions of 8 bytes, `license` of a text that ends in zero; both live until
    //    the call is over. No log is asked for, so that nothing is written.
    unsafe { bpf(BPF_PROG_LOAD, &arguments) }.map(owned)
}

/// Puts a program before an interface, for as long as the descriptor that comes back is open.
pub(super) fn attach(program: BorrowedFd<'_>, interface: u32, flags: u32) -> io::Result<OwnedFd> {
    // prog_fd, target_ifindex, attach_type, flags.
    let arguments = [program.as_raw_fd() as u32, interface, BPF_XDP, flags];
    // SAFETY:
    // 1. There is no address among the arguments.
    unsafe { bpf(BPF_LINK_CREATE, &arguments) }.map(owned)
}

//! The `ioctl` calls of `/dev/net/tun`, which no library wraps (`linux/if_tun.h`).
//!
//! What the module gives out is safe: the descriptor is borrowed for the call, and the kernel reads and writes only values
//! that live as long.

use std::ffi::{c_int, c_uint};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::{io, mem};

/// Makes the descriptor an end of the TAP device `name`, which is made if it is not there. Frames have a header before them.
///
/// The name must be one that a device can have, of at most 15 bytes: what does not fit is cut off.
pub(super) fn attach(fd: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    // SAFETY:
    // 1. `ifreq` is a C structure of integers and of a union of such: all bits zero is a value of it.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    // The last byte stays zero: the name ends there at the latest.
    for (to, byte) in request.ifr_name.iter_mut().zip(name.bytes()).take(libc::IFNAMSIZ - 1) {
        *to = byte as _;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as _;
    // SAFETY:
    // 1. TUNSETIFF takes a pointer to a whole `ifreq`, which the kernel reads and writes during the call only.
    // 2. It writes integers and bytes, of which every value is one.
    let rc = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF, &mut request) };
    outcome(rc)
}

/// Sets the length of the header before each frame.
pub(super) fn set_header_len(fd: BorrowedFd<'_>, len: usize) -> io::Result<()> {
    let len = c_int::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY:
    // 1. TUNSETVNETHDRSZ takes a pointer to an `int`, which the kernel only reads, during the call.
    outcome(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETVNETHDRSZ, &len) })
}

/// Says which work the reader takes over: the kernel leaves it undone on frames to be read.
pub(super) fn set_offloads(fd: BorrowedFd<'_>, offloads: c_uint) -> io::Result<()> {
    // SAFETY:
    // 1. TUNSETOFFLOAD takes an integer and no pointer.
    outcome(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(offloads)) })
}

/// Says whether the device stays when nobody has it open.
pub(super) fn set_persistent(fd: BorrowedFd<'_>, persistent: bool) -> io::Result<()> {
    // SAFETY:
    // 1. TUNSETPERSIST takes an integer and no pointer.
    outcome(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETPERSIST, libc::c_ulong::from(persistent)) })
}

fn outcome(rc: c_int) -> io::Result<()> {
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

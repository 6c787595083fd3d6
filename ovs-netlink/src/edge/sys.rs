//! System calls that rustix does not offer, or not everywhere: netlink's socket options, and the kernel's clock, which
//! rustix cannot read where the kernel's vDSO lacks `getcpu`, as that of User-Mode Linux does.

#![allow(unsafe_code, reason = "neither has a safe wrapper in rustix that works on all kernels")]

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use rustix::io::Errno;

/// The kernel's monotonic clock, by which it tells when flows were used.
pub fn monotonic() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: 1. The pointer is to `now`, which outlives the call. 2. The clock is there on every Linux, so that the kernel
    // writes the whole of it; if it did not, `now` would be what it was.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    Duration::new(now.tv_sec.try_into().unwrap_or(0), now.tv_nsec.try_into().unwrap_or(0))
}

/// Options of a netlink socket.
#[derive(Debug, Clone, Copy)]
pub(super) enum NetlinkOption {
    /// Acknowledgements carry attributes that explain them (`NETLINK_EXT_ACK`).
    ExtendedAck,
    /// Acknowledgements do not echo the whole request (`NETLINK_CAP_ACK`).
    CapAck,
    /// Join the multicast group of this number (`NETLINK_ADD_MEMBERSHIP`).
    Join,
    /// Leave the multicast group of this number (`NETLINK_DROP_MEMBERSHIP`).
    Leave,
}

/// Switches an option on.
pub(super) fn enable(fd: BorrowedFd<'_>, option: NetlinkOption) -> Result<(), Errno> {
    set(fd, option, 1)
}

/// Sets an option.
pub(super) fn set(fd: BorrowedFd<'_>, option: NetlinkOption, value: u32) -> Result<(), Errno> {
    let name = match option {
        NetlinkOption::ExtendedAck => libc::NETLINK_EXT_ACK,
        NetlinkOption::CapAck => libc::NETLINK_CAP_ACK,
        NetlinkOption::Join => libc::NETLINK_ADD_MEMBERSHIP,
        NetlinkOption::Leave => libc::NETLINK_DROP_MEMBERSHIP,
    };
    let size = size_of_val(&value) as libc::socklen_t;
    // SAFETY: 1. `fd` is open for as long as it is borrowed. 2. The pointer is to `value`, which outlives the call, and
    // `size` is its size. 3. The kernel only reads from it.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_NETLINK, name, (&raw const value).cast(), size) };
    if result == 0 {
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    Err(Errno::from_io_error(&error).unwrap_or(Errno::INVAL))
}

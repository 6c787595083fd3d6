//! Pages that a socket shares with the kernel.

use std::ptr::NonNull;
use std::{io, mem};

use rustix::mm::munmap;

/// A mapping of pages, which goes with the value.
pub(super) struct Mapping {
    at: NonNull<u8>,
    len: usize,
}

// SAFETY:
// 1. The mapping is owned by the value, and belongs to no thread: any may read, write and unmap it.
unsafe impl Send for Mapping {}

impl Mapping {
    /// The mapping of `len` bytes that `mmap` gave at this address, and nobody else has.
    pub(super) fn of(at: *mut std::ffi::c_void, len: usize) -> io::Result<Mapping> {
        let at = NonNull::new(at.cast()).ok_or_else(|| io::Error::other("a mapping at address zero"))?;
        Ok(Mapping { at, len })
    }

    /// Where it begins.
    #[cfg(feature = "af-xdp")]
    pub(super) fn start(&self) -> *mut u8 {
        self.at.as_ptr()
    }

    /// Its bytes.
    #[cfg(feature = "af-xdp")]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The place of `count` values of `T` at this offset, if they lie inside and are aligned.
    pub(super) fn place<T>(&self, offset: usize, count: usize) -> Option<NonNull<T>> {
        let end = count.checked_mul(mem::size_of::<T>()).and_then(|size| size.checked_add(offset))?;
        let inside = end <= self.len && offset.is_multiple_of(mem::align_of::<T>());
        // SAFETY:
        // 1. `offset <= end <= self.len`: the result is within the mapping, or one past its end.
        inside.then(|| unsafe { self.at.add(offset) }.cast())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY:
        // 1. The range is one that `mmap` gave, whole, and was not unmapped before.
        // 2. What was borrowed of it was borrowed of `self`, and is gone.
        let _ = unsafe { munmap(self.at.as_ptr().cast(), self.len) };
    }
}

//! How threads wake one that waits for descriptors.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The end that is waited at.
#[derive(Debug)]
pub(crate) struct Door {
    hears: UnixStream,
    bell: Bell,
}

/// What others ring. Rung twice before it is answered, it rings once.
#[derive(Clone, Debug)]
pub(crate) struct Bell {
    rung: Arc<AtomicBool>,
    pull: Arc<UnixStream>,
}

impl Door {
    pub(crate) fn new() -> std::io::Result<Door> {
        let (hears, pull) = UnixStream::pair()?;
        hears.set_nonblocking(true)?;
        pull.set_nonblocking(true)?;
        Ok(Door { hears, bell: Bell { rung: Arc::default(), pull: Arc::new(pull) } })
    }

    pub(crate) fn bell(&self) -> Bell {
        self.bell.clone()
    }

    /// To be called before what was left at the door is looked at: what comes later rings again.
    pub(crate) fn answer(&mut self) {
        if self.bell.rung.swap(false, Ordering::AcqRel) {
            // One byte for each ring at most.
            let _ = self.hears.read(&mut [0; 16]);
        }
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.hears.as_fd()
    }
}

impl Bell {
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // A pipe that is full rings already.
            let _ = (&*self.pull).write(&[0]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rings_once_until_it_is_answered() {
        let mut door = Door::new().unwrap();
        let bell = door.bell();
        (0..3).for_each(|_| bell.ring());
        let waiting = |door: &Door| (&door.hears).read(&mut [0; 16]).unwrap_or(0);
        assert_eq!(waiting(&door), 1);
        bell.ring();
        assert_eq!(waiting(&door), 0);
        door.answer();
        bell.ring();
        assert_eq!(waiting(&door), 1);
    }
}

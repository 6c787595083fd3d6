//! The end of all waiting, as `-t` sets it.

use std::thread;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

/// After this many seconds, ends the program by the signal ALRM, as upstream's tools end.
pub(crate) fn start(seconds: Option<u32>) {
    let Some(seconds) = seconds else { return };
    thread::spawn(move || {
        thread::sleep(Duration::from_secs(seconds.into()));
        // Nobody else sends it, and nobody handles it.
        let _ = kill_process(getpid(), Signal::ALARM);
    });
}

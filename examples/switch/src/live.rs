//! A switch against the real clock, on a thread of its own.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{Builder, JoinHandle};
use std::time;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use ovs_packet::Instant;

use crate::switch::Switch;

/// Token of the waker; ports have those of their descriptors.
const WAKE: Token = Token(usize::MAX);

/// How many rounds the switch forwards before commands are looked at.
const ROUNDS: usize = 64;

type Command = Box<dyn FnOnce(&mut Switch, Instant) + Send>;

/// A [`Switch`] on a thread of its own, which waits for its ports and its deadlines.
///
/// Whoever holds this talks to the switch by [`call`](LiveSwitch::call). Dropping it stops the thread.
///
/// ```
/// use ovs_switch::{LiveSwitch, Switch, SwitchConfig};
///
/// let live = LiveSwitch::start(Switch::new(&SwitchConfig::new("br0")))?;
/// live.call(|switch, now| switch.add_flow("actions=drop", now))?.unwrap();
/// let switch = live.stop().unwrap();
/// assert_eq!(switch.flows().count(), 2);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct LiveSwitch {
    commands: Option<Sender<Command>>,
    waker: Waker,
    thread: Option<JoinHandle<Switch>>,
}

impl LiveSwitch {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system gives no thread, or nothing to wait with.
    pub fn start(switch: Switch) -> io::Result<LiveSwitch> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let (commands, inbox) = channel();
        let mut driver = Driver { switch, poll, inbox, registered: BTreeSet::new(), epoch: time::Instant::now() };
        let thread = Builder::new().name("switch".into()).spawn(move || {
            driver.run();
            driver.switch
        })?;
        Ok(LiveSwitch { commands: Some(commands), waker, thread: Some(thread) })
    }

    /// Has the switch's thread do something, and waits for the answer. The time is the switch's own.
    ///
    /// # Errors
    /// If the thread has ended, which it does only if something in it panicked.
    pub fn call<T: Send + 'static>(&self, f: impl FnOnce(&mut Switch, Instant) -> T + Send + 'static) -> io::Result<T> {
        let gone = || io::Error::other("the switch's thread has ended");
        let (answer, result) = channel();
        let command: Command = Box::new(move |switch, now| {
            // Whoever asked may have gone meanwhile.
            let _ = answer.send(f(switch, now));
        });
        self.commands.as_ref().and_then(|c| c.send(command).ok()).ok_or_else(gone)?;
        self.waker.wake()?;
        result.recv().map_err(|_| gone())
    }

    /// Stops the thread and gives the switch back; `None` if the thread panicked.
    pub fn stop(mut self) -> Option<Switch> {
        self.join()
    }

    fn join(&mut self) -> Option<Switch> {
        self.commands = None;
        // If the thread cannot be woken it is not there.
        let _ = self.waker.wake();
        self.thread.take()?.join().ok()
    }
}

impl Drop for LiveSwitch {
    fn drop(&mut self) {
        self.join();
    }
}

/// What runs on the thread.
struct Driver {
    switch: Switch,
    poll: Poll,
    inbox: Receiver<Command>,
    registered: BTreeSet<RawFd>,
    epoch: time::Instant,
}

impl Driver {
    fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn run(&mut self) {
        let mut events = Events::with_capacity(256);
        // What woke the thread is forgotten by then: it must not wait once more when it is to stop.
        while self.obey() {
            self.register();
            let busy = (0..ROUNDS).all(|_| {
                let now = self.now();
                self.switch.run(now) > 0
            });
            let now = self.now();
            let due = self.switch.next_deadline().map(|at| at - now);
            let wait = if busy { Some(time::Duration::ZERO) } else { due };
            match self.poll.poll(&mut events, wait) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    tracing::error!(error = %e, "cannot wait for ports");
                    return;
                }
            }
        }
    }

    /// Carries out the commands that there are. False if nobody can give any more.
    fn obey(&mut self) -> bool {
        loop {
            match self.inbox.try_recv() {
                Ok(command) => {
                    let now = self.now();
                    command(&mut self.switch, now);
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Waits for the ports that there are now. Those that went closed their descriptors, which ends the waiting.
    fn register(&mut self) {
        let fds: BTreeSet<RawFd> = self.switch.fds().iter().map(AsRawFd::as_raw_fd).collect();
        for fd in fds.difference(&self.registered) {
            let token = Token(usize::try_from(*fd).unwrap_or(0));
            if let Err(e) = self.poll.registry().register(&mut SourceFd(fd), token, Interest::READABLE) {
                tracing::warn!(fd, error = %e, "a port cannot be waited for");
            }
        }
        self.registered = fds;
    }
}

#[cfg(test)]
mod tests {
    use ovs_dpif::netdev::MemPort;

    use super::*;
    use crate::SwitchConfig;

    #[test]
    fn commands_are_obeyed_in_order_until_it_is_stopped() {
        let live = LiveSwitch::start(Switch::new(&SwitchConfig::new("br0"))).unwrap();
        let (port, _end) = MemPort::new("p1", 10);
        let number = live.call(|s, _| s.add_port(Box::new(port), Default::default()).unwrap()).unwrap();
        let (first, second) = (live.call(|_, now| now).unwrap(), live.call(|_, now| now).unwrap());
        assert!(first <= second);
        live.call(move |s, now| s.remove_port(number, now).unwrap()).unwrap();
        assert!(live.stop().unwrap().ports().is_empty());
    }

    /// The wake-up to stop may be taken together with an earlier one: the thread once waited for ever then.
    #[test]
    fn stopping_right_after_a_call_ends() {
        for _ in 0..2000 {
            let live = LiveSwitch::start(Switch::new(&SwitchConfig::new("br0"))).unwrap();
            live.call(|_, _| ()).unwrap();
            assert!(live.stop().is_some());
        }
    }

    #[test]
    fn a_panic_on_the_thread_is_told() {
        let live = LiveSwitch::start(Switch::new(&SwitchConfig::new("br0"))).unwrap();
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let answer = live.call(|_, _| panic!("on purpose"));
        std::panic::set_hook(hook);
        assert!(answer.is_err());
        assert!(live.stop().is_none());
    }
}

//! A switch against the real clock, on a thread of its own.

use std::io;
use std::os::fd::AsRawFd;
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
/// The thread sleeps until a port's descriptor becomes readable, a deadline comes, or it is called. Ports within the
/// process ([`MemPort`](ovs_dpif::netdev::MemPort)) have no descriptor: after putting packets into one, say so with
/// [`wake`](LiveSwitch::wake).
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
        let mut driver = Driver { switch, poll, inbox, epoch: time::Instant::now() };
        let thread = Builder::new().name("switch".into()).spawn(move || {
            driver.register();
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

    /// Has the switch look at its ports, and does not wait for it.
    ///
    /// This is how ports without a descriptor are driven: the thread does not know that packets were put into them.
    /// Once is enough for any number of packets, and wakes that come before the thread got round to it are one.
    ///
    /// ```
    /// use ovs_dpif::netdev::MemPort;
    /// use ovs_packet::Packet;
    /// use ovs_switch::{LiveSwitch, Switch, SwitchConfig};
    ///
    /// let mut switch = Switch::new(&SwitchConfig::new("br0"));
    /// let (a, end_a) = MemPort::new("a", 10);
    /// let (b, end_b) = MemPort::new("b", 10);
    /// switch.add_port(Box::new(a), Default::default()).unwrap();
    /// switch.add_port(Box::new(b), Default::default()).unwrap();
    /// let live = LiveSwitch::start(switch)?;
    ///
    /// end_a.push(Packet::from_slice(&[0xff; 60]));
    /// live.wake()?;
    /// while end_b.pop().is_none() {
    ///     std::thread::yield_now();
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the system refuses. A thread that has ended is not noticed; see [`call`](LiveSwitch::call).
    pub fn wake(&self) -> io::Result<()> {
        self.waker.wake()
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
    epoch: time::Instant,
}

impl Driver {
    fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn run(&mut self) {
        let mut events = Events::with_capacity(256);
        loop {
            match self.obey() {
                Obeyed::Nothing => {}
                // A command may have changed the ports.
                Obeyed::Commands => self.register(),
                Obeyed::Stop => return,
            }
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

    fn obey(&mut self) -> Obeyed {
        let mut obeyed = Obeyed::Nothing;
        loop {
            match self.inbox.try_recv() {
                Ok(command) => {
                    let now = self.now();
                    command(&mut self.switch, now);
                    obeyed = Obeyed::Commands;
                }
                Err(TryRecvError::Empty) => return obeyed,
                Err(TryRecvError::Disconnected) => return Obeyed::Stop,
            }
        }
    }

    /// Waits for the ports that there are now. A port that went closed its descriptor, which ended the waiting; its
    /// number may be that of a new port, so that only the system knows which ones are waited for already.
    fn register(&mut self) {
        for fd in self.switch.fds() {
            let fd = fd.as_raw_fd();
            let token = Token(usize::try_from(fd).unwrap_or(0));
            match self.poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => tracing::warn!(fd, error = %e, "a port cannot be waited for"),
            }
        }
    }
}

/// What was found in the inbox.
enum Obeyed {
    Nothing,
    Commands,
    /// Whoever could send commands is gone.
    Stop,
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, BorrowedFd};
    use std::os::unix::net::UnixDatagram;

    use ovs_dpif::netdev::{MemPort, MemPortPeer, Netdev, NetdevError};
    use ovs_packet::{Packet, PacketBatch};

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
        assert!(live.stop().unwrap().ports().unwrap().is_empty());
    }

    #[test]
    fn it_stops_when_it_is_asleep() {
        for _ in 0..3 {
            let live = LiveSwitch::start(Switch::new(&SwitchConfig::new("br0"))).unwrap();
            live.call(|_, _| ()).unwrap();
            // Nothing is due: it waits for good. If it should still be awake, that is good for this test too.
            std::thread::sleep(time::Duration::from_millis(50));
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

    /// A port with a descriptor, that needs no privileges.
    #[derive(Debug)]
    struct Pipe {
        name: &'static str,
        socket: UnixDatagram,
    }

    impl Pipe {
        fn pair(name: &'static str) -> (Pipe, UnixDatagram) {
            let (socket, end) = UnixDatagram::pair().unwrap();
            socket.set_nonblocking(true).unwrap();
            (Pipe { name, socket }, end)
        }
    }

    impl Netdev for Pipe {
        fn name(&self) -> &str {
            self.name
        }

        fn kind(&self) -> &'static str {
            "pipe"
        }

        fn receive(&mut self, batch: &mut PacketBatch) -> Result<usize, NetdevError> {
            let mut buffer = [0; 100];
            let Ok(len) = self.socket.recv(&mut buffer) else { return Ok(0) };
            batch.push(Packet::from_slice(&buffer[..len]));
            Ok(1)
        }

        fn send(&mut self, batch: &mut PacketBatch) -> Result<(), NetdevError> {
            batch.clear();
            Ok(())
        }

        fn fd(&self) -> Option<BorrowedFd<'_>> {
            Some(self.socket.as_fd())
        }
    }

    /// Waits for a packet, for as long as no machine is slow.
    fn wait_for(end: &MemPortPeer) -> Option<Packet> {
        let deadline = time::Instant::now() + time::Duration::from_secs(20);
        while time::Instant::now() < deadline {
            if let Some(packet) = end.pop() {
                return Some(packet);
            }
            std::thread::sleep(time::Duration::from_millis(1));
        }
        None
    }

    #[test]
    fn a_wake_has_it_look_at_ports_without_descriptors() {
        let mut switch = Switch::new(&SwitchConfig::new("br0"));
        let (a, end_a) = MemPort::new("a", 10);
        let (b, end_b) = MemPort::new("b", 10);
        switch.add_port(Box::new(a), Default::default()).unwrap();
        switch.add_port(Box::new(b), Default::default()).unwrap();
        let live = LiveSwitch::start(switch).unwrap();
        // Each way and again: a thread that has fallen asleep must be found as one that has not.
        for round in 0..20u8 {
            for (from, to) in [(&end_a, &end_b), (&end_b, &end_a)] {
                from.push(Packet::from_slice(&[round | 0x80; 60]));
                live.wake().unwrap();
                assert_eq!(wait_for(to).unwrap().data(), [round | 0x80; 60]);
            }
        }
        // What was put in before somebody calls is forwarded at the latest with the call's wake.
        end_a.push(Packet::from_slice(&[0xff; 60]));
        live.call(|_, _| ()).unwrap();
        assert!(wait_for(&end_b).is_some());
        assert!(live.stop().unwrap().ledger().balanced());
    }

    #[test]
    fn ports_with_descriptors_wake_it_themselves_even_if_a_number_comes_again() {
        let mut switch = Switch::new(&SwitchConfig::new("br0"));
        let (out, end_out) = MemPort::new("out", 10);
        switch.add_port(Box::new(out), Default::default()).unwrap();
        let (pipe, mut end) = Pipe::pair("pipe");
        let mut number = switch.add_port(Box::new(pipe), Default::default()).unwrap();
        let live = LiveSwitch::start(switch).unwrap();
        for round in 0..10u8 {
            end.send(&[round | 0x80; 60]).unwrap();
            assert_eq!(wait_for(&end_out).expect("the port was not waited for").data(), [round | 0x80; 60]);
            // The old port's descriptor is closed, and a new one opened: the system gives the lowest number free.
            (number, end) = live
                .call(move |switch, now| {
                    switch.remove_port(number, now).unwrap();
                    let (pipe, end) = Pipe::pair("pipe");
                    (switch.add_port(Box::new(pipe), Default::default()).unwrap(), end)
                })
                .unwrap();
        }
    }
}

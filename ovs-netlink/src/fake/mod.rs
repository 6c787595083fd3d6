//! A kernel in this process, for tests.
//!
//! # What
//!
//! [`FakeKernel`] speaks the controller and the families of the openvswitch module over pairs of sockets: datapaths, ports,
//! flows, packets, meters and limits, with acknowledgements, echoes, dumps and notifications as the kernel has them. It
//! keeps what it is told, looks packets up in its flows and executes the actions that lead packets somewhere. It is no
//! datapath: it changes the key of a packet, never its bytes, and tracks no connections.
//!
//! # Why
//!
//! For what a real kernel does not show on demand: see [`Fault`]. And for tests that need no kernel.
//!
//! # Threads
//!
//! Each socket has a thread of the kernel's that answers its requests; all share one state behind a lock, so requests take
//! effect one after the other, in some order. A thread ends when its socket is closed. Upcalls go out under the lock: their
//! order is that of what caused them.
//!
//! ```
//! use ovs_netlink::{Connect, Families, Flags, Protocol, fake::FakeKernel, ovs::{Command, Datapath}};
//!
//! let kernel = FakeKernel::new();
//! let mut socket = kernel.connect(Protocol::Generic)?;
//! let families = Families::resolve(&mut socket)?;
//! let wanted = Datapath { name: Some("br0".parse()?), upcall_pid: Some(0), ..Datapath::default() };
//! let mut request = Vec::new();
//! wanted.encode(&mut request, families.datapath.id, Command::New, Flags::ECHO)?;
//! let made = socket.transact_one(&mut request, Datapath::decode)?;
//! assert_eq!(made.name, wanted.name);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod execute;
mod requests;
mod state;

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::edge::{Connect, Peer, Protocol, Socket, SocketError};
use crate::message::Messages;
pub use execute::Output;
use state::State;

/// Something that goes wrong. Each happens once, to the next request or answer that it can happen to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A dump says that what it shows changed meanwhile.
    InterruptedDump,
    /// A dump ends in the middle of a message.
    CutDump,
    /// So many datagrams with answers or upcalls are lost, and the socket learns it.
    Overrun(usize),
    /// The answers to the requests of the next system call that has several come in the opposite order.
    Reorder,
    /// All answers to the requests of the next system call that has several come twice.
    Duplicate,
    /// An answer has an attribute that nobody knows.
    UnknownAttribute,
    /// An answer belongs to no request that was sent.
    WrongSequence,
    /// A request is refused with this error number.
    Refuse(i32),
    /// A request gets no answer, only its acknowledgement.
    NoAnswer,
}

/// A kernel in this process: see the head of this module. Clones are the same kernel.
#[derive(Debug, Clone, Default)]
pub struct FakeKernel {
    state: Arc<Mutex<State>>,
}

impl FakeKernel {
    /// A kernel with the module loaded and no datapath.
    pub fn new() -> FakeKernel {
        FakeKernel::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is to go wrong.
    pub fn inject(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// What was to go wrong, and has not yet.
    pub fn faults(&self) -> Vec<Fault> {
        self.state().faults.clone()
    }

    /// Unloads the module: its families vanish, and all that they had.
    pub fn unload(&self) {
        self.state().unload();
    }

    /// Loads the module: its families are there, under other numbers than before.
    pub fn load(&self) {
        self.state().load();
    }

    /// Of which CPU the next upcalls are, in turn, again and again; 0 at first.
    pub fn set_cpus(&self, cpus: &[usize]) {
        self.state().set_cpus(cpus);
    }

    /// A packet comes in through a port of the datapath with this interface index: it is looked up, and a flow or an
    /// upcall takes it. `key` is what the datapath reads of it, as attributes.
    ///
    /// Says whether there is such a datapath.
    pub fn receive(&self, dp_ifindex: u32, key: &[u8], packet: &[u8]) -> bool {
        self.state().receive(dp_ifindex, key, packet)
    }

    /// What left through ports since the last time.
    pub fn take_outputs(&self) -> Vec<Output> {
        std::mem::take(&mut self.state().outputs)
    }
}

impl Connect for FakeKernel {
    fn connect(&self, protocol: Protocol) -> Result<Socket, SocketError> {
        let failed = |call| move |error: rustix::io::Errno| SocketError::System { call, error: error.into() };
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(failed("socketpair"))?;
        let ours = Arc::new(ours);
        let port = self.state().add_socket(Arc::clone(&ours));
        let kernel = self.clone();
        let serve = move || kernel.serve(protocol, port, &ours);
        let spawned = std::thread::Builder::new().name("fake kernel".to_owned()).spawn(serve);
        spawned.map_err(|error| SocketError::System { call: "clone", error })?;
        Socket::over(theirs, port, Peer::Pair)
    }
}

impl FakeKernel {
    /// Answers the requests of one socket until it is closed.
    fn serve(&self, protocol: Protocol, port: u32, ours: &OwnedFd) {
        let mut buffer = vec![0; Socket::BUFFER];
        loop {
            let received =
                rustix::io::retry_on_intr(|| rustix::net::recv(ours, buffer.as_mut_slice(), RecvFlags::empty()));
            let Some(datagram) = received.ok().and_then(|(kept, _)| buffer.get(..kept)) else { break };
            if datagram.is_empty() {
                break;
            }
            let mut state = self.state();
            let requests: Vec<_> = Messages::new(datagram).map_while(Result::ok).collect();
            let mut answers: Vec<Vec<u8>> = Vec::new();
            for request in &requests {
                answers.extend(state.answer(protocol, port, request));
            }
            if requests.len() > 1 && state.happens(|fault| fault == Fault::Reorder) {
                answers.reverse();
            }
            if requests.len() > 1 && state.happens(|fault| fault == Fault::Duplicate) {
                answers = answers.iter().flat_map(|answer| [answer.clone(), answer.clone()]).collect();
            }
            for answer in answers {
                state.send(port, &answer);
            }
        }
        self.state().remove_socket(port);
    }
}

/// Sends a datagram; an empty one says that others were lost. A socket that is full is one whose datagram is lost.
fn send(fd: &OwnedFd, datagram: &[u8]) -> bool {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    rustix::io::retry_on_intr(|| rustix::net::send(fd, datagram, flags)).is_ok()
}

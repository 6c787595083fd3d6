//! A socket of netlink: datagrams in and out, options, notifications.
//!
//! What the kernel cannot deliver because the receive buffer of a socket is full is lost, and the next receive says so
//! (`ENOBUFS`). Nothing here swallows that: receives that wait for an answer find out what became of it (see
//! `exchange.rs`), and those that do not count it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{
    Timeout, set_socket_recv_buffer_size, set_socket_recv_buffer_size_force, set_socket_timeout,
};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::sys::{self, NetlinkOption};
use crate::attr::Writer;
use crate::error::{DecodeError, EncodeError};
use crate::message::{Flags, Message, Messages, kind};
use crate::reply::ReplyError;

/// Why an exchange with the kernel failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// A system call failed; after the time-out of [`Socket::TIMEOUT`] with
    /// [`WouldBlock`](std::io::ErrorKind::WouldBlock).
    #[error("{call}: {error}")]
    System {
        /// The call.
        call: &'static str,
        /// The error.
        error: std::io::Error,
    },
    /// The request cannot be built.
    #[error("bad request: {0}")]
    Encode(#[from] EncodeError),
    /// What is to be sent is not one message, or not messages.
    #[error("the request is not a message")]
    NotAMessage,
    /// The kernel refused, its answer is not one, or it was lost.
    #[error(transparent)]
    Reply(#[from] ReplyError),
    /// A datagram is longer than [`Socket::BUFFER`].
    #[error("a datagram of {0} bytes does not fit the buffer")]
    DatagramTooLong(usize),
    /// A dump has more parts than were allowed.
    #[error("the dump has more than {0} parts")]
    TooManyParts(usize),
    /// A request has several answers, or none, where one was expected.
    #[error("{0} answers where one was expected")]
    NotOneAnswer(usize),
    /// An answer about links, routes and the like cannot be read: why, in words.
    #[error("unreadable answer: {0}")]
    Unreadable(String),
    /// Too many messages arrived that belong to no request of ours.
    #[error("messages that belong to no request keep arriving")]
    Foreign,
}

impl SocketError {
    /// The error number that the kernel answered, or that a system call failed with.
    pub fn errno(&self) -> Option<i32> {
        match self {
            SocketError::System { error, .. } => error.raw_os_error(),
            SocketError::Reply(ReplyError::Refused(ack)) => Some(ack.errno),
            _ => None,
        }
    }
}

/// As an error of the system's, with its number where there is one.
impl From<SocketError> for std::io::Error {
    fn from(error: SocketError) -> std::io::Error {
        match error.errno() {
            Some(errno) => std::io::Error::from_raw_os_error(errno),
            None => std::io::Error::other(error),
        }
    }
}

pub(super) fn system(call: &'static str) -> impl Fn(Errno) -> SocketError {
    move |errno| SocketError::System { call, error: errno.into() }
}

impl From<DecodeError> for SocketError {
    fn from(error: DecodeError) -> SocketError {
        ReplyError::from(error).into()
    }
}

/// Which part of the kernel a socket talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// Generic netlink: the families of [`ovs`](crate::ovs) and others.
    Generic,
    /// Netfilter: [`nf`](crate::nf).
    Netfilter,
    /// Links, addresses, routes and so on.
    Route,
}

/// Where sockets come from: the kernel ([`Linux`]), or something that plays one.
pub trait Connect {
    /// A socket.
    ///
    /// # Errors
    /// [`SocketError::System`].
    fn connect(&self, protocol: Protocol) -> Result<Socket, SocketError>;
}

impl<C: Connect + ?Sized> Connect for &C {
    fn connect(&self, protocol: Protocol) -> Result<Socket, SocketError> {
        (**self).connect(protocol)
    }
}

/// The kernel that runs this program, in the network namespace of the thread that asks for a socket.
#[derive(Debug, Clone, Copy, Default)]
pub struct Linux;

impl Connect for Linux {
    fn connect(&self, protocol: Protocol) -> Result<Socket, SocketError> {
        Socket::open(protocol)
    }
}

/// What was at the other end when a socket was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// The kernel: datagrams of others are dropped, and the kernel says by an error when it lost some.
    Kernel,
    /// Another thread, over a pair of sockets: an empty datagram says that some were lost.
    #[cfg_attr(not(feature = "fake-kernel"), allow(dead_code, reason = "there is no other end without the feature"))]
    Pair,
}

impl Peer {
    /// The attribute of a message that means nothing else which says: join this group.
    pub(crate) const JOIN: u16 = 1;
    /// The one that says: leave it.
    const LEAVE: u16 = 2;
}

/// What [`Socket::drain`] took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drained {
    /// Messages given to the caller.
    pub messages: usize,
    /// How often the kernel said that it had lost messages before the next one.
    pub overruns: usize,
    /// Datagrams that were dropped because they are not messages, or too long.
    pub bad: usize,
}

/// A socket of netlink.
///
/// Memory is bounded: one buffer of [`Socket::BUFFER`] bytes, what the kernel holds for the socket
/// ([`Socket::set_receive_buffer`]), and what the caller's functions keep. Time is bounded: a receive that waits for
/// [`Socket::TIMEOUT`] fails. Datagrams that do not come from the kernel are dropped.
///
/// ```no_run
/// use ovs_netlink::{Flags, Protocol, Socket, ovs::{Command, Datapath}};
///
/// let mut socket = Socket::open(Protocol::Generic)?;
/// let family = socket.resolve_family(Datapath::FAMILY)?;
/// let mut request = Vec::new();
/// Datapath::default().encode(&mut request, family.id, Command::Get, Flags::REQUEST)?;
/// for datapath in socket.dump(&mut request, 1000, Datapath::decode)? {
///     println!("{:?}", datapath.name);
/// }
/// # Ok::<(), ovs_netlink::SocketError>(())
/// ```
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    port: u32,
    peer: Peer,
    pub(super) sequence: u32,
    buffer: Vec<u8>,
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What a receive brought.
pub(super) enum Received {
    /// A datagram of so many bytes, at the start of the buffer.
    Datagram(usize),
    /// Datagrams were lost before the next.
    Overrun,
    /// A datagram of somebody who is not the kernel.
    Stranger,
    /// A datagram of so many bytes, more than the buffer.
    TooLong(usize),
    /// Nothing is there.
    Nothing,
}

impl Socket {
    /// The longest datagram that is received. The kernel makes dumps of at most 32 KiB, and larger ones only for a
    /// single object that needs it.
    pub const BUFFER: usize = 256 << 10;
    /// How long a receive waits.
    pub const TIMEOUT: Duration = Duration::from_secs(10);
    /// What the kernel is asked to hold for a socket, unless the program says otherwise: the acknowledgements of a batch.
    pub const RECEIVE_BUFFER: usize = 1 << 20;

    /// Opens a socket, with extended acknowledgements where the kernel has them.
    ///
    /// # Errors
    /// [`SocketError::System`].
    pub fn open(protocol: Protocol) -> Result<Socket, SocketError> {
        use rustix::net::netlink::{GENERIC, NETFILTER};
        let number = match protocol {
            Protocol::Generic => Some(GENERIC),
            Protocol::Netfilter => Some(NETFILTER),
            // Its number is 0, which is what none means.
            Protocol::Route => None,
        };
        let flags = SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, number)
            .map_err(system("socket"))?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, 0)).map_err(system("bind"))?;
        let address = rustix::net::getsockname(&fd).and_then(SocketAddrNetlink::try_from);
        let port = address.map_err(system("getsockname"))?.pid();
        for option in [NetlinkOption::ExtendedAck, NetlinkOption::CapAck] {
            // A kernel before 4.12 explains less; that is no reason not to talk to it.
            match sys::enable(fd.as_fd(), option) {
                Ok(()) | Err(Errno::NOPROTOOPT) => {}
                Err(errno) => return Err(system("setsockopt")(errno)),
            }
        }
        let socket = Socket::over(fd, port, Peer::Kernel)?;
        socket.set_receive_buffer(Socket::RECEIVE_BUFFER)?;
        Ok(socket)
    }

    pub(crate) fn over(fd: OwnedFd, port: u32, peer: Peer) -> Result<Socket, SocketError> {
        set_socket_timeout(&fd, Timeout::Recv, Some(Socket::TIMEOUT)).map_err(system("setsockopt"))?;
        Ok(Socket { fd, port, peer, sequence: 0, buffer: vec![0; Socket::BUFFER] })
    }

    /// The port that the kernel gave the socket: what upcalls are addressed to.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Asks the kernel to hold this many bytes for the socket before it loses messages: as many as asked for a program
    /// that may (`CAP_NET_ADMIN`), at most `net.core.rmem_max` for others.
    ///
    /// # Errors
    /// [`SocketError::System`].
    pub fn set_receive_buffer(&self, bytes: usize) -> Result<(), SocketError> {
        match set_socket_recv_buffer_size_force(&self.fd, bytes) {
            Err(Errno::PERM) => set_socket_recv_buffer_size(&self.fd, bytes).map_err(system("setsockopt")),
            result => result.map_err(system("setsockopt")),
        }
    }

    /// Joins a multicast group: its messages arrive from now on.
    ///
    /// # Errors
    /// [`SocketError::System`].
    pub fn join(&self, group: u32) -> Result<(), SocketError> {
        match self.peer {
            Peer::Kernel => sys::set(self.fd.as_fd(), NetlinkOption::Join, group).map_err(system("setsockopt")),
            Peer::Pair => self.tell_membership(Peer::JOIN, group),
        }
    }

    /// Leaves a multicast group.
    ///
    /// # Errors
    /// [`SocketError::System`].
    pub fn leave(&self, group: u32) -> Result<(), SocketError> {
        match self.peer {
            Peer::Kernel => sys::set(self.fd.as_fd(), NetlinkOption::Leave, group).map_err(system("setsockopt")),
            Peer::Pair => self.tell_membership(Peer::LEAVE, group),
        }
    }

    /// Tells a peer that is not the kernel which notifications are wanted: it has no socket options.
    fn tell_membership(&self, what: u16, group: u32) -> Result<(), SocketError> {
        let mut message = Vec::new();
        Writer::message(&mut message, kind::NOOP, Flags::empty(), |writer| {
            writer.u32(what, group);
            Ok(())
        })?;
        self.send(&message)
    }

    /// Takes messages that belong to no request, upcalls and notifications, without waiting: until there are no more, or
    /// there were `max` datagrams.
    ///
    /// # Errors
    /// [`SocketError::System`]. What was lost or bad is no error: it is counted.
    pub fn drain(&mut self, max: usize, mut each: impl FnMut(Message<'_>)) -> Result<Drained, SocketError> {
        let mut drained = Drained::default();
        for _ in 0..max {
            match self.receive(RecvFlags::DONTWAIT)? {
                Received::Datagram(length) => {
                    for message in Messages::new(self.datagram(length)) {
                        match message {
                            Ok(message) => {
                                drained.messages = drained.messages.saturating_add(1);
                                each(message);
                            }
                            Err(_) => drained.bad = drained.bad.saturating_add(1),
                        }
                    }
                }
                Received::Overrun => drained.overruns = drained.overruns.saturating_add(1),
                Received::TooLong(_) => drained.bad = drained.bad.saturating_add(1),
                Received::Stranger => {}
                Received::Nothing => break,
            }
        }
        Ok(drained)
    }

    /// The datagram of `length` bytes that was received last.
    pub(super) fn datagram(&self, length: usize) -> &[u8] {
        self.buffer.get(..length).unwrap_or_default()
    }

    pub(super) fn send(&self, bytes: &[u8]) -> Result<(), SocketError> {
        let kernel = SocketAddrNetlink::new(0, 0);
        let sent = rustix::io::retry_on_intr(|| match self.peer {
            Peer::Kernel => rustix::net::sendto(&self.fd, bytes, SendFlags::NOSIGNAL, &kernel),
            Peer::Pair => rustix::net::send(&self.fd, bytes, SendFlags::NOSIGNAL),
        });
        sent.map(drop).map_err(system("sendto"))
    }

    pub(super) fn receive(&mut self, flags: RecvFlags) -> Result<Received, SocketError> {
        let (fd, buffer) = (&self.fd, &mut self.buffer);
        let received =
            rustix::io::retry_on_intr(|| rustix::net::recvfrom(fd, buffer.as_mut_slice(), flags | RecvFlags::TRUNC));
        let (kept, length, sender) = match received {
            Ok(received) => received,
            Err(Errno::NOBUFS) => return Ok(Received::Overrun),
            Err(Errno::AGAIN) if flags.contains(RecvFlags::DONTWAIT) => return Ok(Received::Nothing),
            Err(errno) => return Err(system("recvfrom")(errno)),
        };
        let from_kernel = match self.peer {
            Peer::Kernel => {
                sender.and_then(|any| SocketAddrNetlink::try_from(any).ok()).is_some_and(|from| from.pid() == 0)
            }
            Peer::Pair if length == 0 => return Ok(Received::Overrun),
            Peer::Pair => true,
        };
        Ok(match from_kernel {
            false => Received::Stranger,
            true if length > kept => Received::TooLong(length),
            true => Received::Datagram(kept),
        })
    }
}

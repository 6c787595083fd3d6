//! A socket of the generic netlink.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::netlink::{GENERIC, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::sys::{self, NetlinkOption};
use crate::attr::MessageBuilder;
use crate::error::{DecodeError, EncodeError};
use crate::generic::Family;
use crate::message::{Flags, Message, Messages};
use crate::reply::{Exchange, ReplyError, Step};

/// Why an exchange with the kernel failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// A system call failed; after the time-out of [`GenericSocket::TIMEOUT`] with
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
    /// The kernel refused, or its answer is not one.
    #[error(transparent)]
    Reply(#[from] ReplyError),
    /// A datagram is longer than [`GenericSocket::BUFFER`].
    #[error("a datagram of {0} bytes does not fit the buffer")]
    DatagramTooLong(usize),
    /// A dump has more parts than were allowed.
    #[error("the dump has more than {0} parts")]
    TooManyParts(usize),
    /// A request has several answers, or none, where one was expected.
    #[error("{0} answers where one was expected")]
    NotOneAnswer(usize),
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

fn system(call: &'static str) -> impl Fn(rustix::io::Errno) -> SocketError {
    move |errno| SocketError::System { call, error: errno.into() }
}

/// A blocking socket of the generic netlink: one exchange at a time.
///
/// Memory is bounded by one buffer of [`GenericSocket::BUFFER`] bytes and by what the caller's function keeps. Time is
/// bounded: the kernel answers at once, and a receive that waits for [`GenericSocket::TIMEOUT`] fails. Datagrams that do
/// not come from the kernel are dropped.
///
/// ```no_run
/// use ovs_netlink::{Flags, GenericSocket, ovs::{Command, Datapath}};
///
/// let mut socket = GenericSocket::open()?;
/// let family = socket.resolve_family(Datapath::FAMILY)?;
/// let request = Datapath::default().encode(family.id, Command::Get, Flags::REQUEST)?;
/// for datapath in socket.dump(request, 1000, Datapath::decode)? {
///     println!("{:?}", datapath.name);
/// }
/// # Ok::<(), ovs_netlink::SocketError>(())
/// ```
#[derive(Debug)]
pub struct GenericSocket {
    fd: OwnedFd,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

impl AsFd for GenericSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl GenericSocket {
    /// The longest datagram that is received. The kernel makes dumps of at most 32 KiB, and larger ones only for a
    /// single object that needs it.
    pub const BUFFER: usize = 256 << 10;
    /// How long a receive waits.
    pub const TIMEOUT: Duration = Duration::from_secs(10);
    /// How often a dump that a change interrupted is begun anew.
    pub const RETRIES: usize = 8;
    /// How many messages that belong to no request are skipped in one exchange.
    const MAX_FOREIGN: usize = 10_000;

    /// Opens a socket, with extended acknowledgements where the kernel has them.
    ///
    /// # Errors
    /// [`SocketError::System`].
    pub fn open() -> Result<GenericSocket, SocketError> {
        let flags = SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(GENERIC))
            .map_err(system("socket"))?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, 0)).map_err(system("bind"))?;
        let address = rustix::net::getsockname(&fd).and_then(SocketAddrNetlink::try_from);
        let port = address.map_err(system("getsockname"))?.pid();
        set_socket_timeout(&fd, Timeout::Recv, Some(GenericSocket::TIMEOUT)).map_err(system("setsockopt"))?;
        for option in [NetlinkOption::ExtendedAck, NetlinkOption::CapAck] {
            // A kernel before 4.12 explains less; that is no reason not to talk to it.
            match sys::enable(fd.as_fd(), option) {
                Ok(()) | Err(rustix::io::Errno::NOPROTOOPT) => {}
                Err(errno) => return Err(system("setsockopt")(errno)),
            }
        }
        Ok(GenericSocket { fd, port, sequence: 0, buffer: vec![0; GenericSocket::BUFFER] })
    }

    /// The port that the kernel gave the socket: what upcalls are addressed to.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Asks the controller for the family called `name`.
    ///
    /// # Errors
    /// [`SocketError`]; a refusal with `ENOENT` means that no such family is registered.
    pub fn resolve_family(&mut self, name: &str) -> Result<Family, SocketError> {
        self.transact_one(Family::request(name)?, Family::decode)
    }

    /// Sends a request and calls `part` with each message of the answer, until the acknowledgement.
    ///
    /// # Errors
    /// [`SocketError`]. When `part` fails, the rest of the answer is received and skipped, so that the socket stays
    /// usable.
    pub fn transact(
        &mut self,
        request: MessageBuilder,
        part: impl FnMut(&Message<'_>) -> Result<(), DecodeError>,
    ) -> Result<(), SocketError> {
        self.exchange(request, Flags::REQUEST | Flags::ACK, part)
    }

    /// Sends a request whose answer is one message, and decodes that.
    ///
    /// # Errors
    /// As [`GenericSocket::transact`], and [`SocketError::NotOneAnswer`].
    pub fn transact_one<T>(
        &mut self,
        request: MessageBuilder,
        decode: impl Fn(&Message<'_>) -> Result<T, DecodeError>,
    ) -> Result<T, SocketError> {
        let (mut last, mut count) = (None, 0_usize);
        self.transact(request, |message| {
            last = Some(decode(message)?);
            count = count.saturating_add(1);
            Ok(())
        })?;
        last.filter(|_| count == 1).ok_or(SocketError::NotOneAnswer(count))
    }

    /// Dumps objects, at most `max` of them. A dump that a change interrupted is begun anew.
    ///
    /// # Errors
    /// [`SocketError`]; [`ReplyError::Interrupted`] when [`GenericSocket::RETRIES`] were not enough.
    pub fn dump<T>(
        &mut self,
        request: MessageBuilder,
        max: usize,
        decode: impl Fn(&Message<'_>) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, SocketError> {
        let mut attempt = 0_usize;
        loop {
            let (mut objects, mut too_many) = (Vec::new(), false);
            let result = self.dump_each(request.clone(), |message| {
                let object = decode(message)?;
                too_many = objects.len() >= max;
                if !too_many {
                    objects.push(object);
                }
                Ok(())
            });
            attempt = attempt.saturating_add(1);
            match result {
                Err(SocketError::Reply(ReplyError::Interrupted)) if attempt <= GenericSocket::RETRIES => {}
                Err(error) => return Err(error),
                Ok(()) if too_many => return Err(SocketError::TooManyParts(max)),
                Ok(()) => return Ok(objects),
            }
        }
    }

    /// Dumps objects and calls `part` with each message, without keeping any.
    ///
    /// # Errors
    /// [`SocketError`]; [`ReplyError::Interrupted`] at the end, when what the dump shows changed meanwhile.
    pub fn dump_each(
        &mut self,
        request: MessageBuilder,
        part: impl FnMut(&Message<'_>) -> Result<(), DecodeError>,
    ) -> Result<(), SocketError> {
        self.exchange(request, Flags::REQUEST | Flags::DUMP, part)
    }

    fn exchange(
        &mut self,
        mut request: MessageBuilder,
        flags: Flags,
        mut part: impl FnMut(&Message<'_>) -> Result<(), DecodeError>,
    ) -> Result<(), SocketError> {
        request.add_flags(flags);
        // 0 is what notifications carry.
        self.sequence = self.sequence.checked_add(1).unwrap_or(1);
        let bytes = request.finish(self.sequence, self.port)?;
        let kernel = SocketAddrNetlink::new(0, 0);
        rustix::io::retry_on_intr(|| rustix::net::sendto(&self.fd, &bytes, SendFlags::empty(), &kernel))
            .map_err(system("sendto"))?;
        let mut exchange = Exchange::new(self.sequence);
        let mut foreign = 0_usize;
        let mut bad: Option<DecodeError> = None;
        loop {
            let Some(datagram) = self.receive()? else {
                foreign = foreign.saturating_add(1);
                if foreign > GenericSocket::MAX_FOREIGN {
                    return Err(SocketError::Foreign);
                }
                continue;
            };
            for message in Messages::new(datagram) {
                match exchange.step(message.map_err(ReplyError::from)?)? {
                    Step::Foreign => foreign = foreign.saturating_add(1),
                    Step::Part(message) if bad.is_none() => bad = part(&message).err(),
                    Step::Part(_) => {}
                    Step::Done => return bad.map_or(Ok(()), |error| Err(ReplyError::from(error).into())),
                }
            }
            if foreign > GenericSocket::MAX_FOREIGN {
                return Err(SocketError::Foreign);
            }
        }
    }

    /// The next datagram; nothing when it does not come from the kernel.
    fn receive(&mut self) -> Result<Option<&[u8]>, SocketError> {
        let (fd, buffer) = (&self.fd, &mut self.buffer);
        let (kept, length, sender) =
            rustix::io::retry_on_intr(|| rustix::net::recvfrom(fd, buffer.as_mut_slice(), RecvFlags::TRUNC))
                .map_err(system("recvfrom"))?;
        let from_kernel =
            sender.and_then(|any| SocketAddrNetlink::try_from(any).ok()).is_some_and(|from| from.pid() == 0);
        if !from_kernel {
            return Ok(None);
        }
        if length > kept {
            return Err(SocketError::DatagramTooLong(length));
        }
        Ok(self.buffer.get(..kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generic::CONTROLLER;

    /// Opens a socket, or says that this machine has none and nothing can be tested.
    fn open() -> Option<GenericSocket> {
        GenericSocket::open().inspect_err(|error| eprintln!("no netlink here, nothing tested: {error}")).ok()
    }

    #[test]
    fn the_controller_knows_itself() {
        let Some(mut socket) = open() else { return };
        let family = socket.resolve_family("nlctrl").unwrap();
        assert_eq!((family.id, family.name.as_str()), (CONTROLLER, "nlctrl"));
        assert!(family.group("notify").is_some());
        assert_ne!(socket.port(), 0);
    }

    #[test]
    fn a_family_that_is_not_there_is_refused_and_the_socket_stays_usable() {
        let Some(mut socket) = open() else { return };
        let error = socket.resolve_family("no_such_family").unwrap_err();
        assert_eq!(error.errno(), Some(libc::ENOENT));
        assert!(socket.resolve_family("nlctrl").is_ok());
    }

    #[test]
    fn extended_acks_arrive() {
        let Some(mut socket) = open() else { return };
        // GETFAMILY with a name that is longer than the policy allows.
        let request = Family::request(&"x".repeat(100)).unwrap();
        let error = socket.transact(request, |_| Ok(())).unwrap_err();
        let SocketError::Reply(ReplyError::Refused(ack)) = error else { panic!("{error}") };
        assert_eq!(ack.extended.offset, Some(20), "{ack}");
    }

    #[test]
    fn dumps_are_bounded_and_a_bad_part_does_not_spoil_the_next_exchange() {
        let Some(mut socket) = open() else { return };
        let request = || {
            let mut builder = MessageBuilder::new(CONTROLLER, Flags::REQUEST);
            builder.raw(&[3, 1, 0, 0]);
            builder
        };
        let families = socket.dump(request(), 1000, Family::decode).unwrap();
        assert!(families.iter().any(|family| family.name == "nlctrl"));
        if families.len() > 1 {
            assert!(matches!(socket.dump(request(), 1, Family::decode), Err(SocketError::TooManyParts(1))));
        }
        let wrong = DecodeError { offset: 1, kind: crate::DecodeErrorKind::Missing { attribute: 1 } };
        let result = socket.dump_each(request(), |_| Err(wrong));
        assert!(matches!(result, Err(SocketError::Reply(ReplyError::Decode(error))) if error == wrong));
        assert_eq!(socket.dump(request(), 1000, Family::decode).unwrap().len(), families.len());
    }
}

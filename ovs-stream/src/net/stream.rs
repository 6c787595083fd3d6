//! Connections that do not block.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, SocketAddrV6, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt};

#[cfg(feature = "tls")]
use super::tls::{Tls, TlsConfig};
use crate::Endpoint;
use crate::endpoint::split_device;

/// The longest name of a Unix domain socket that the system takes.
const MAX_UNIX_NAME: usize = 107;

/// The DSCP that connections have unless it is said otherwise: network control, class selector 6.
pub const DEFAULT_DSCP: u8 = 48;

/// How connections are made.
#[derive(Debug, Clone)]
pub struct StreamOptions {
    /// The DSCP of what is sent over IP, 0 to 63; greater ones are taken for 63.
    pub dscp: u8,
    /// Keys and certificates; without them, `ssl` and `pssl` are refused.
    #[cfg(feature = "tls")]
    pub tls: Option<TlsConfig>,
}

impl Default for StreamOptions {
    /// [`DEFAULT_DSCP`], and no keys.
    fn default() -> StreamOptions {
        StreamOptions {
            dscp: DEFAULT_DSCP,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl StreamOptions {
    /// The same with this DSCP.
    #[must_use]
    pub fn with_dscp(mut self, dscp: u8) -> StreamOptions {
        self.dscp = dscp;
        self
    }
}

/// A connection that does not block. What is not possible now is [`WouldBlock`](io::ErrorKind::WouldBlock).
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    is_connecting: bool,
    #[cfg(feature = "tls")]
    tls: Option<Box<Tls>>,
}

#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Begins a connection. A host name is looked up first, and that may block.
    ///
    /// # Errors
    /// What the system says; [`Unsupported`](io::ErrorKind::Unsupported) for TLS that is not built or not configured.
    pub fn connect<const PORT: u16>(endpoint: &Endpoint<PORT>, options: &StreamOptions) -> io::Result<Stream> {
        match endpoint {
            Endpoint::Tcp { host, port } => Stream::connect_tcp(host, *port, options.dscp),
            Endpoint::Ssl { host, port } => Stream::connect_ssl(host, *port, options),
            Endpoint::Unix(path) => {
                let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, nonblocking(), None)?;
                let (address, _folder) = unix_address(path)?;
                // A full queue of a listener is no attempt under way: for these sockets nothing would end it.
                connect(&fd, &address)?;
                Ok(Stream::plain(Socket::Unix(fd.into()), false))
            }
        }
    }

    fn connect_tcp(host: &str, port: u16, dscp: u8) -> io::Result<Stream> {
        let address = look_up(host, port)?;
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let fd = socket_with(family, SocketType::STREAM, nonblocking(), None)?;
        set_dscp(&fd, family, dscp)?;
        let is_connecting = match connect(&fd, &address) {
            Ok(()) => false,
            Err(Errno::INPROGRESS) => true,
            Err(error) => return Err(error.into()),
        };
        sockopt::set_tcp_nodelay(&fd, true)?;
        Ok(Stream::plain(Socket::Tcp(fd.into()), is_connecting))
    }

    #[cfg(feature = "tls")]
    fn connect_ssl(host: &str, port: u16, options: &StreamOptions) -> io::Result<Stream> {
        let tls = options.tls.as_ref().ok_or_else(no_tls)?;
        let stream = Stream::connect_tcp(host, port, options.dscp)?;
        Ok(stream.with_tls(tls.client(host)?))
    }

    #[cfg(not(feature = "tls"))]
    fn connect_ssl(_: &str, _: u16, _: &StreamOptions) -> io::Result<Stream> {
        Err(no_tls())
    }

    pub(super) fn plain(socket: Socket, is_connecting: bool) -> Stream {
        Stream {
            socket,
            is_connecting,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    #[cfg(feature = "tls")]
    pub(super) fn with_tls(self, tls: Tls) -> Stream {
        Stream { tls: Some(Box::new(tls)), ..self }
    }

    /// Whether the other end may be gone without anything to tell of it: see [`Endpoint::needs_probes`].
    pub fn needs_probes(&self) -> bool {
        matches!(self.socket, Socket::Tcp(_))
    }

    /// Who is at the other end, as far as it has an address.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(socket) => socket.peer_addr().ok(),
            Socket::Unix(_) => None,
        }
    }

    /// Sees whether the connection is there, and with TLS whether both ends have shown who they are.
    ///
    /// # Errors
    /// Why there will be none.
    pub fn finish_connecting(&mut self) -> io::Result<bool> {
        if self.is_connecting {
            let mut fds = [PollFd::new(&self.socket, PollFlags::OUT)];
            if poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? == 0 {
                return Ok(false);
            }
            sockopt::socket_error(&self.socket)??;
            self.is_connecting = false;
        }
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            return tls.finish_connecting(&mut self.socket);
        }
        Ok(true)
    }

    /// Whether a read that does not fill its buffer has taken all there is, so that the descriptor tells of what comes
    /// after. With TLS it gives one record at a time.
    pub fn gives_all(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_none();
        #[cfg(not(feature = "tls"))]
        true
    }

    /// What to wait for, by one who wants to read or not and has something to write or not.
    pub fn interest(&self, wanted: Interest) -> Interest {
        if self.is_connecting {
            return Interest { read: false, write: true };
        }
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return tls.interest(wanted);
        }
        wanted
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            return tls.read(&mut self.socket, buffer);
        }
        self.socket.read(buffer)
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            return tls.write(&mut self.socket, buffer);
        }
        self.socket.write(buffer)
    }

    /// Sends what TLS holds back.
    fn flush(&mut self) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            return tls.flush(&mut self.socket);
        }
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Tcp(socket) => socket.as_fd(),
            Socket::Unix(socket) => socket.as_fd(),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.read(buffer),
            Socket::Unix(socket) => socket.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.write(buffer),
            Socket::Unix(socket) => socket.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interest {
    /// Input, or the end of it.
    pub read: bool,
    /// Room for output, or the end of an attempt to connect.
    pub write: bool,
}

/// Which descriptors a [wait](wait_for) found to be ready, for those who would ask the system in vain otherwise.
#[derive(Debug, Clone, Default)]
pub struct Ready(Option<Vec<RawFd>>);

impl Ready {
    /// Nothing is known of any: whoever asks is to try.
    pub fn unknown() -> Ready {
        Ready(None)
    }

    /// None is: nobody is to try.
    pub fn none() -> Ready {
        Ready(Some(Vec::new()))
    }

    /// Whether nothing is known of any.
    pub fn is_unknown(&self) -> bool {
        self.0.is_none()
    }

    /// Whether there may be something to do with a descriptor. It says so of the number: of one that was closed and opened
    /// anew since the wait it may be wrong, until the next.
    pub fn has(&self, descriptor: impl AsFd) -> bool {
        self.0.as_ref().is_none_or(|ready| ready.contains(&descriptor.as_fd().as_raw_fd()))
    }
}

/// Who waits usually waits for no more descriptors than this.
const USUAL: usize = 32;

/// Waits until one of the descriptors can be read from, or where `write` says so written to, or the time is over.
///
/// # Errors
/// What the system says; an interruption by a signal is none.
pub fn wait<'a>(
    descriptors: impl IntoIterator<Item = (BorrowedFd<'a>, Interest)>,
    timeout: Option<Duration>,
) -> io::Result<()> {
    wait_for(descriptors, timeout).map(drop)
}

/// As [`wait`], and says for which of them there was something.
///
/// # Errors
/// As for [`wait`].
pub fn wait_for<'a>(
    descriptors: impl IntoIterator<Item = (BorrowedFd<'a>, Interest)>,
    timeout: Option<Duration>,
) -> io::Result<Ready> {
    let flags = |interest: Interest| {
        let read = if interest.read { PollFlags::IN } else { PollFlags::empty() };
        if interest.write { read | PollFlags::OUT } else { read }
    };
    // A descriptor that nothing is wanted of is left out: that it was closed would be told again and again.
    let mut fds: Vec<PollFd<'a>> = Vec::with_capacity(USUAL);
    descriptors
        .into_iter()
        .filter(|(_, interest)| interest.read || interest.write)
        .for_each(|(fd, interest)| fds.push(PollFd::from_borrowed_fd(fd, flags(interest))));
    let timeout = timeout.map(|timeout| Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {
            let came = fds.iter().filter(|fd| !fd.revents().is_empty());
            Ok(Ready(Some(came.map(|fd| fd.as_fd().as_raw_fd()).collect())))
        }
        Err(error) => Err(error.into()),
    }
}

/// What an error of the system is in words, without its number: as Open vSwitch's columns and logs have it.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match (error.raw_os_error(), text.rfind(" (os error ")) {
        (Some(_), Some(at)) => text.get(..at).unwrap_or(&text).to_owned(),
        _ => text,
    }
}

pub(super) fn nonblocking() -> SocketFlags {
    SocketFlags::NONBLOCK | SocketFlags::CLOEXEC
}

pub(super) fn no_tls() -> io::Error {
    let text = if cfg!(feature = "tls") {
        "TLS needs a private key and a certificate"
    } else {
        "TLS is not built (feature tls)"
    };
    io::Error::new(io::ErrorKind::Unsupported, text)
}

pub(super) fn set_dscp(fd: &OwnedFd, family: AddressFamily, dscp: u8) -> io::Result<()> {
    // Explicit congestion notification has the other two bits.
    let byte = dscp.min(63) << 2;
    if family == AddressFamily::INET {
        sockopt::set_ip_tos(fd, byte)?;
    } else {
        sockopt::set_ipv6_tclass(fd, byte.into())?;
    }
    Ok(())
}

fn look_up(host: &str, port: u16) -> io::Result<SocketAddr> {
    if let Some((address, device)) = split_device(host) {
        return with_scope(address.into(), device, port);
    }
    match host.parse::<IpAddr>() {
        Ok(address) => Ok(SocketAddr::new(address, port)),
        Err(_) => (host, port).to_socket_addrs()?.next().ok_or_else(|| io::Error::other(format!("{host}: no address"))),
    }
}

/// An address with the number of its device, which has a name or is a number already.
pub(super) fn with_scope(address: IpAddr, device: Option<&str>, port: u16) -> io::Result<SocketAddr> {
    match (address, device) {
        (IpAddr::V6(address), Some(device)) => {
            let index = match device.parse() {
                Ok(index) => index,
                Err(_) => {
                    let is_name = !device.contains('/') && device != "." && device != "..";
                    let file = format!("/sys/class/net/{device}/ifindex");
                    let index = if is_name { std::fs::read_to_string(file).ok() } else { None };
                    index.and_then(|index| index.trim().parse().ok()).ok_or_else(|| {
                        io::Error::new(io::ErrorKind::NotFound, format!("{device}: no such network device"))
                    })?
                }
            };
            Ok(SocketAddrV6::new(address, port, 0, index).into())
        }
        (address, _) => Ok(SocketAddr::new(address, port)),
    }
}

/// The address of a Unix domain socket, and the folder that must stay open until it was used: a name that is longer than
/// the system takes is reached through its folder.
pub(super) fn unix_address(path: &Path) -> io::Result<(SocketAddrUnix, Option<OwnedFd>)> {
    if path.as_os_str().len() <= MAX_UNIX_NAME {
        return Ok((SocketAddrUnix::new(path)?, None));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let folder = File::open(folder)?;
    let short = format!("/proc/self/fd/{}/", folder.as_raw_fd());
    let short = [short.as_bytes(), name.as_bytes()].concat();
    Ok((SocketAddrUnix::new(short.as_slice())?, Some(folder.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_with_the_time() {
        wait([], Some(Duration::from_millis(1))).unwrap();
        // One that is gone wakes only who wants to know.
        let (one, other) = UnixStream::pair().unwrap();
        drop(other);
        let waited = |interest, timeout| {
            let began = std::time::Instant::now();
            wait([(one.as_fd(), interest)], Some(timeout)).unwrap();
            began.elapsed() >= timeout
        };
        assert!(waited(Interest::default(), Duration::from_millis(20)));
        assert!(!waited(Interest { read: true, write: false }, Duration::from_secs(20)));
    }

    #[test]
    fn reasons_have_no_numbers() {
        assert_eq!(reason(&Errno::CONNREFUSED.into()), "Connection refused");
        assert_eq!(reason(&io::Error::other("odd (os error 5)")), "odd (os error 5)");
    }

    #[test]
    fn a_wait_says_who_is_ready() {
        let ((one, other), (idle, _open)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        let reads = Interest { read: true, write: false };
        let found = || wait_for([(one.as_fd(), reads), (idle.as_fd(), reads)], Some(Duration::ZERO)).unwrap();
        assert!(!found().has(&one));
        (&other).write_all(b"x").unwrap();
        assert!(found().has(&one) && !found().has(&idle));
        assert!(Ready::unknown().has(&idle) && !Ready::none().has(&one));
    }
}

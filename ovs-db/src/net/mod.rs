//! Sockets that do not block: the edge of the protocols of this crate (feature `net`).
//!
//! A [`Stream`] is a connection to a [`Remote`] or from a [`Listener`]; both say [`WouldBlock`](io::ErrorKind::WouldBlock)
//! where there is nothing to do, and have a file descriptor to wait for with whatever loop the program has; [`wait`] is
//! for programs that have none.
//!
//! A Unix domain socket may have a longer name than the 107 bytes that the system takes: it is then reached through its
//! folder.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, fchmod};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with, sockopt,
};

use crate::rpc::{ListenOn, Remote};

#[cfg(feature = "tls")]
mod tls;

#[cfg(feature = "tls")]
pub use tls::{TlsCredentials, TlsError};

/// The longest name of a Unix domain socket that the system takes.
const MAX_UNIX_NAME: usize = 107;

/// Connections that may wait to be accepted.
const LISTEN_BACKLOG: i32 = 64;

/// A connection that does not block.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    connecting: bool,
    #[cfg(feature = "tls")]
    tls: Option<Box<tls::Session>>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Begins a connection. A host name is looked up first, and that may block.
    ///
    /// # Errors
    /// What the system says; [`Unsupported`](io::ErrorKind::Unsupported) for [`Remote::Ssl`], which needs credentials:
    /// `Stream::connect_tls`, with the feature `tls`.
    pub fn connect(remote: &Remote) -> io::Result<Stream> {
        match remote {
            Remote::Ssl { .. } => Err(io::Error::new(io::ErrorKind::Unsupported, "no TLS credentials are given")),
            _ => Stream::open(remote),
        }
    }

    /// As [`Stream::connect`], with credentials for TLS where the remote wants it.
    ///
    /// # Errors
    /// What the system says, or that the host name is none that TLS knows.
    #[cfg(feature = "tls")]
    pub fn connect_tls(remote: &Remote, credentials: &TlsCredentials) -> io::Result<Stream> {
        let mut stream = Stream::open(remote)?;
        if let Remote::Ssl { host, .. } = remote {
            stream.tls = Some(Box::new(tls::Session::new(credentials, host)?));
        }
        Ok(stream)
    }

    fn open(remote: &Remote) -> io::Result<Stream> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (fd, connected) = match remote {
            Remote::Tcp { host, port } | Remote::Ssl { host, port } => {
                let address = look_up(host, *port)?;
                let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
                let fd = socket_with(family, SocketType::STREAM, flags, None)?;
                let connected = connect(&fd, &address);
                (fd, connected)
            }
            Remote::Unix(path) => {
                let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
                let (address, _folder) = unix_address(path)?;
                let connected = connect(&fd, &address);
                (fd, connected)
            }
        };
        let connecting = match connected {
            Ok(()) => false,
            Err(Errno::INPROGRESS) => true,
            Err(error) => return Err(error.into()),
        };
        let socket = match remote {
            Remote::Tcp { .. } | Remote::Ssl { .. } => {
                sockopt::set_tcp_nodelay(&fd, true)?;
                Socket::Tcp(fd.into())
            }
            Remote::Unix(_) => Socket::Unix(fd.into()),
        };
        Ok(Stream::new(socket, connecting))
    }

    fn new(socket: Socket, connecting: bool) -> Stream {
        Stream {
            socket,
            connecting,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Whether bytes wait in the stream itself, to be sent by [`flush`](Write::flush) when the descriptor is writable.
    pub fn wants_write(&self) -> bool {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return tls.wants_write();
        }
        false
    }

    /// Whether the connection is not there yet. It is when the descriptor becomes writable.
    pub fn is_connecting(&self) -> bool {
        self.connecting
    }

    /// Sees whether the connection is there.
    ///
    /// # Errors
    /// Why there will be none.
    pub fn finish_connecting(&mut self) -> io::Result<bool> {
        if self.connecting {
            let mut fds = [PollFd::new(&self.socket, PollFlags::OUT)];
            if poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? == 0 {
                return Ok(false);
            }
            sockopt::socket_error(&self.socket)??;
            self.connecting = false;
        }
        Ok(true)
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

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
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

    fn flush(&mut self) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            return tls.flush(&mut self.socket);
        }
        Ok(())
    }
}

/// A place where connections are accepted. The file of a Unix domain socket goes with it.
#[derive(Debug)]
pub struct Listener {
    socket: ListeningSocket,
}

#[derive(Debug)]
enum ListeningSocket {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Listens. A file that is left of an earlier socket of the name is removed; user and group may use the new one.
    ///
    /// # Errors
    /// What the system says.
    pub fn bind(place: &ListenOn) -> io::Result<Listener> {
        let socket = match place {
            ListenOn::Tcp { address, port } => {
                let listener = TcpListener::bind((*address, *port))?;
                listener.set_nonblocking(true)?;
                ListeningSocket::Tcp(listener)
            }
            ListenOn::Unix(path) => {
                use std::os::unix::fs::FileTypeExt;
                if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
                    fs::remove_file(path)?;
                }
                let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
                let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
                // The file gets the mode of the socket: nobody else can connect in between.
                fchmod(&fd, Mode::RWXU | Mode::RWXG)?;
                let (address, _folder) = unix_address(path)?;
                bind(&fd, &address)?;
                listen(&fd, LISTEN_BACKLOG)?;
                ListeningSocket::Unix(fd.into(), path.clone())
            }
        };
        Ok(Listener { socket })
    }

    /// Accepts a connection, if one waits.
    ///
    /// # Errors
    /// What the system says.
    pub fn accept(&self) -> io::Result<Option<Stream>> {
        let accepted = match &self.socket {
            ListeningSocket::Tcp(listener) => listener.accept().and_then(|(socket, _)| {
                socket.set_nonblocking(true)?;
                socket.set_nodelay(true)?;
                Ok(Socket::Tcp(socket))
            }),
            ListeningSocket::Unix(listener, _) => listener.accept().and_then(|(socket, _)| {
                socket.set_nonblocking(true)?;
                Ok(Socket::Unix(socket))
            }),
        };
        match accepted {
            Ok(socket) => Ok(Some(Stream::new(socket, false))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The address, with the port that the system chose; nothing for a Unix domain socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            ListeningSocket::Tcp(listener) => listener.local_addr().ok(),
            ListeningSocket::Unix(..) => None,
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            ListeningSocket::Tcp(listener) => listener.as_fd(),
            ListeningSocket::Unix(listener, _) => listener.as_fd(),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let ListeningSocket::Unix(_, path) = &self.socket {
            // It may be gone already.
            let _ = fs::remove_file(path);
        }
    }
}

/// Waits until one of the descriptors can be read from, or where `write` says so written to, or the time is over.
///
/// # Errors
/// What the system says; an interruption by a signal is none.
pub fn wait<'a>(
    descriptors: impl IntoIterator<Item = (BorrowedFd<'a>, Interest)>,
    timeout: Option<Duration>,
) -> io::Result<()> {
    let flags = |interest: Interest| {
        let read = if interest.read { PollFlags::IN } else { PollFlags::empty() };
        if interest.write { read | PollFlags::OUT } else { read }
    };
    // The system tells of a connection that is gone even where nothing is asked: who is not interested is left out.
    let wanted = descriptors.into_iter().filter(|(_, interest)| *interest != Interest::default());
    let mut fds: Vec<PollFd<'a>> = wanted.map(|(fd, interest)| PollFd::from_borrowed_fd(fd, flags(interest))).collect();
    // Rounded up to what the system counts in, so that a deadline is over when the wait for it is.
    let timeout = timeout.map(|timeout| Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
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

fn look_up(host: &str, port: u16) -> io::Result<SocketAddr> {
    match host.parse::<IpAddr>() {
        Ok(address) => Ok(SocketAddr::new(address, port)),
        Err(_) => (host, port).to_socket_addrs()?.next().ok_or_else(|| io::Error::other(format!("{host}: no address"))),
    }
}

/// The address of a Unix domain socket, and the folder that must stay open until it was used.
fn unix_address(path: &Path) -> io::Result<(SocketAddrUnix, Option<OwnedFd>)> {
    if path.as_os_str().len() <= MAX_UNIX_NAME {
        return Ok((SocketAddrUnix::new(path)?, None));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let folder = File::open(folder)?;
    let short = format!("/proc/self/fd/{}/", folder.as_raw_fd());
    let short = [short.as_bytes(), name.as_bytes()].concat();
    Ok((SocketAddrUnix::new(Path::new(OsStr::from_bytes(&short)))?, Some(folder.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(place: &ListenOn, remote: impl FnOnce(&Listener) -> Remote) {
        let listener = Listener::bind(place).unwrap();
        assert!(listener.accept().unwrap().is_none());
        let mut client = Stream::connect(&remote(&listener)).unwrap();
        while !client.finish_connecting().unwrap() {
            wait([(client.as_fd(), Interest { read: false, write: true })], None).unwrap();
        }
        wait([(listener.as_fd(), Interest { read: true, write: false })], None).unwrap();
        let mut server = listener.accept().unwrap().unwrap();
        assert_eq!(server.read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        client.write_all(b"hello").unwrap();
        wait([(server.as_fd(), Interest { read: true, write: false })], None).unwrap();
        let mut buffer = [0; 8];
        assert_eq!(server.read(&mut buffer).unwrap(), 5);
        drop(client);
        wait([(server.as_fd(), Interest { read: true, write: false })], None).unwrap();
        assert_eq!(server.read(&mut buffer).unwrap(), 0);
    }

    #[test]
    fn tcp() {
        exchange(&"ptcp:0:127.0.0.1".parse().unwrap(), |listener| {
            format!("tcp:127.0.0.1:{}", listener.address().unwrap().port()).parse().unwrap()
        });
    }

    #[test]
    fn unix_with_a_short_and_a_long_name_and_one_that_is_left_over() {
        let folder = std::env::temp_dir().join(format!("ovs-db-net-{}", std::process::id()));
        let long = folder.join("x".repeat(120));
        fs::create_dir_all(&long).unwrap();
        for path in [folder.join("short"), long.join("socket")] {
            drop(UnixListener::bind(folder.join("left")).and_then(|_| fs::rename(folder.join("left"), &path)));
            exchange(&ListenOn::Unix(path.clone()), |_| Remote::Unix(path.clone()));
            assert!(!path.exists());
        }
        fs::write(folder.join("file"), "not a socket").unwrap();
        assert!(Listener::bind(&ListenOn::Unix(folder.join("file"))).is_err());
        assert!(Stream::connect(&Remote::Unix(folder.join("none"))).is_err());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn without_credentials_there_is_no_tls() {
        let error = Stream::connect(&"ssl:127.0.0.1:1".parse().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    }

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
}

//! Places where connections are accepted.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use rustix::fs::{Mode, fchmod};
use rustix::net::{AddressFamily, SocketType, bind, listen, socket_with, sockopt};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

use super::stream::{Socket, Stream, StreamOptions, no_tls, nonblocking, set_dscp, unix_address, with_scope};
#[cfg(feature = "tls")]
use super::tls::TlsConfig;
use crate::ListenOn;

/// Connections that may wait to be accepted.
const LISTEN_BACKLOG: i32 = 64;

/// A place where connections are accepted. The file of a Unix domain socket that was made here goes with it.
#[derive(Debug)]
pub struct Listener {
    socket: ListeningSocket,
    file: Option<PathBuf>,
    #[cfg(feature = "tls")]
    tls: Option<TlsConfig>,
}

#[derive(Debug)]
enum ListeningSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Listens. A file that is left of an earlier socket of the name is removed; user and group may use the new one. Of a
    /// descriptor that the program was started with a copy is used, which the system may forbid.
    ///
    /// # Errors
    /// What the system says; [`InvalidInput`](io::ErrorKind::InvalidInput) for a descriptor that is no listening stream
    /// socket, [`Unsupported`](io::ErrorKind::Unsupported) for TLS that is not built or not configured.
    pub fn bind<const PORT: u16>(place: &ListenOn<PORT>, options: &StreamOptions) -> io::Result<Listener> {
        match place {
            ListenOn::Tcp { address, device, port } => {
                Listener::bind_tcp(*address, device.as_deref(), *port, options.dscp)
            }
            #[cfg(feature = "tls")]
            ListenOn::Ssl { address, device, port } => {
                let tls = options.tls.clone().ok_or_else(no_tls)?;
                let mut listener = Listener::bind_tcp(*address, device.as_deref(), *port, options.dscp)?;
                listener.tls = Some(tls);
                Ok(listener)
            }
            #[cfg(not(feature = "tls"))]
            ListenOn::Ssl { .. } => Err(no_tls()),
            ListenOn::Unix(path) => {
                if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
                    fs::remove_file(path)?;
                }
                let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, nonblocking(), None)?;
                // The file gets the mode of the socket: nobody else can connect in between.
                fchmod(&fd, Mode::RWXU | Mode::RWXG)?;
                let (address, _folder) = unix_address(path)?;
                bind(&fd, &address)?;
                listen(&fd, LISTEN_BACKLOG)?;
                Ok(Listener::plain(ListeningSocket::Unix(fd.into()), Some(path.clone())))
            }
            ListenOn::Fd(number) => {
                let process = pidfd_open(getpid(), PidfdFlags::empty())?;
                Listener::from_fd(pidfd_getfd(process, *number, PidfdGetfdFlags::empty())?)
            }
        }
    }

    /// Accepts connections on a socket that listens already, of TCP or of the Unix domain.
    ///
    /// # Errors
    /// As for [`Listener::bind`].
    pub fn from_fd(fd: OwnedFd) -> io::Result<Listener> {
        let is_listening = sockopt::socket_type(&fd)? == SocketType::STREAM && sockopt::socket_acceptconn(&fd)?;
        let socket = match sockopt::socket_domain(&fd)? {
            AddressFamily::INET | AddressFamily::INET6 if is_listening => {
                let socket = TcpListener::from(fd);
                socket.set_nonblocking(true)?;
                ListeningSocket::Tcp(socket)
            }
            AddressFamily::UNIX if is_listening => {
                let socket = UnixListener::from(fd);
                socket.set_nonblocking(true)?;
                ListeningSocket::Unix(socket)
            }
            _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a listening stream socket")),
        };
        Ok(Listener::plain(socket, None))
    }

    fn bind_tcp(address: IpAddr, device: Option<&str>, port: u16, dscp: u8) -> io::Result<Listener> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let fd = socket_with(family, SocketType::STREAM, nonblocking(), None)?;
        sockopt::set_socket_reuseaddr(&fd, true)?;
        // What is accepted inherits it.
        set_dscp(&fd, family, dscp)?;
        bind(&fd, &with_scope(address, device, port)?)?;
        listen(&fd, LISTEN_BACKLOG)?;
        Ok(Listener::plain(ListeningSocket::Tcp(fd.into()), None))
    }

    fn plain(socket: ListeningSocket, file: Option<PathBuf>) -> Listener {
        Listener {
            socket,
            file,
            #[cfg(feature = "tls")]
            tls: None,
        }
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
            ListeningSocket::Unix(listener) => listener.accept().and_then(|(socket, _)| {
                socket.set_nonblocking(true)?;
                Ok(Socket::Unix(socket))
            }),
        };
        match accepted {
            Ok(socket) => self.dress(Stream::plain(socket, false)).map(Some),
            // Who was about to connect has gone.
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn dress(&self, stream: Stream) -> io::Result<Stream> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return Ok(stream.with_tls(tls.server()?));
        }
        Ok(stream)
    }

    /// The address, with the port that the system chose; nothing for a Unix domain socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            ListeningSocket::Tcp(listener) => listener.local_addr().ok(),
            ListeningSocket::Unix(_) => None,
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            ListeningSocket::Tcp(listener) => listener.as_fd(),
            ListeningSocket::Unix(listener) => listener.as_fd(),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = &self.file {
            // It may be gone already.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::time::Duration;

    use super::super::{Interest, wait};
    use super::*;

    /// What is read after a wait that was in vain says so.
    const PATIENCE: Option<Duration> = Some(Duration::from_secs(30));

    type Endpoint = crate::Endpoint<1>;
    type ListenOn = crate::ListenOn<1>;

    fn exchange(place: &ListenOn, remote: impl FnOnce(&Listener) -> Endpoint) {
        let listener = Listener::bind(place, &StreamOptions::default()).unwrap();
        assert!(listener.accept().unwrap().is_none());
        let mut client = Stream::connect(&remote(&listener), &StreamOptions::default()).unwrap();
        while !client.finish_connecting().unwrap() {
            wait([(client.as_fd(), Interest { read: false, write: true })], PATIENCE).unwrap();
        }
        wait([(listener.as_fd(), Interest { read: true, write: false })], PATIENCE).unwrap();
        let mut server = listener.accept().unwrap().unwrap();
        assert_eq!(server.read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        client.write_all(b"hello").unwrap();
        wait([(server.as_fd(), Interest { read: true, write: false })], PATIENCE).unwrap();
        let mut buffer = [0; 8];
        assert_eq!(server.read(&mut buffer).unwrap(), 5);
        drop(client);
        wait([(server.as_fd(), Interest { read: true, write: false })], PATIENCE).unwrap();
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
        let folder = std::env::temp_dir().join(format!("ovs-stream-{}", std::process::id()));
        let long = folder.join("x".repeat(120));
        fs::create_dir_all(&long).unwrap();
        for path in [folder.join("short"), long.join("socket")] {
            drop(UnixListener::bind(folder.join("left")).and_then(|_| fs::rename(folder.join("left"), &path)));
            exchange(&ListenOn::Unix(path.clone()), |_| Endpoint::Unix(path.clone()));
            assert!(!path.exists());
        }
        fs::write(folder.join("file"), "not a socket").unwrap();
        assert!(Listener::bind(&ListenOn::Unix(folder.join("file")), &StreamOptions::default()).is_err());
        assert!(Stream::connect(&Endpoint::Unix(folder.join("none")), &StreamOptions::default()).is_err());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn without_credentials_there_is_no_tls() {
        let error =
            Stream::connect(&"ssl:127.0.0.1:1".parse::<Endpoint>().unwrap(), &StreamOptions::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    }
}

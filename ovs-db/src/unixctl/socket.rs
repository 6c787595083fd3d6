//! The edge of a unixctl server: its socket, and the connections to it.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use super::server::{ConnectionId, Server};
use crate::net::{self, Interest, Listener, Stream};
use crate::rpc::ListenOn;

/// Bytes read at once, and from one connection in one call of [`ControlSocket::run`].
const CHUNK: usize = 64 << 10;

/// Connections accepted in one call of [`ControlSocket::run`].
const MAX_ACCEPTED: usize = 10;

/// Runs a [`Server`] over a Unix domain socket.
///
/// ```no_run
/// use std::path::Path;
/// use ovs_db::net;
/// use ovs_db::unixctl::{ControlSocket, Reply, Server};
///
/// let mut server = Server::new("zood 1.0");
/// server.register("exit", "", 0, 0);
/// let mut socket = ControlSocket::bind(Path::new("/run/openvswitch/zood.5.ctl"))?;
/// loop {
///     socket.run(&mut server)?;
///     while let Some(invocation) = server.poll() {
///         server.reply(invocation.key, Reply::Text(format!("{} is done", invocation.command)));
///     }
///     socket.run(&mut server)?;
///     net::wait(socket.interest(&server), None)?;
/// }
/// # #[allow(unreachable_code)] Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct ControlSocket {
    listener: Listener,
    path: PathBuf,
    connections: BTreeMap<ConnectionId, Stream>,
    buffer: Vec<u8>,
}

impl ControlSocket {
    /// Listens on a socket of this name, which is removed in the end.
    ///
    /// # Errors
    /// What the system says.
    pub fn bind(path: &Path) -> io::Result<ControlSocket> {
        let listener = Listener::bind(&ListenOn::Unix(path.into()), &net::plain())?;
        Ok(ControlSocket { listener, path: path.into(), connections: BTreeMap::new(), buffer: vec![0; CHUNK] })
    }

    /// The name of the socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Does all that can be done without waiting: accepts, reads, sends, closes.
    ///
    /// # Errors
    /// Why no connection can be accepted, as the system says; what there is goes on.
    pub fn run(&mut self, server: &mut Server) -> io::Result<()> {
        let accepted = self.accept(server);
        self.connections.retain(|id, stream| {
            let open = transfer(server, *id, stream, &mut self.buffer).unwrap_or(false) && !server.is_over(*id);
            if !open {
                server.close(*id);
            }
            open
        });
        accepted
    }

    fn accept(&mut self, server: &mut Server) -> io::Result<()> {
        for _ in 0..MAX_ACCEPTED {
            if !server.has_room() && !self.connections.keys().any(|id| server.wants_input(*id)) {
                break;
            }
            let Some(stream) = self.listener.accept()? else { break };
            if !server.has_room()
                && let Some(idle) = server.evict_idle()
            {
                self.connections.remove(&idle);
            }
            self.connections.insert(server.open(), stream);
        }
        Ok(())
    }

    /// The descriptors to wait for, and what for. They may be others after each [`ControlSocket::run`].
    pub fn interest<'a>(&'a self, server: &'a Server) -> impl Iterator<Item = (BorrowedFd<'a>, Interest)> {
        let room = server.has_room() || self.connections.keys().any(|id| server.wants_input(*id));
        let accept = (self.listener.as_fd(), Interest { read: room, write: false });
        std::iter::once(accept).chain(self.connections.iter().map(|(id, stream)| {
            let (read, write) = (server.wants_input(*id), !server.transmit(*id).is_empty());
            (stream.as_fd(), Interest { read, write })
        }))
    }
}

/// Reads and sends on one connection; false when the client closed it.
fn transfer(server: &mut Server, id: ConnectionId, stream: &mut Stream, buffer: &mut [u8]) -> io::Result<bool> {
    let is_transient =
        |error: &io::Error| matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
    if server.wants_input(id) {
        match stream.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => server.handle_input(id, buffer.get(..count).unwrap_or_default()),
            Err(error) if is_transient(&error) => {}
            Err(error) => return Err(error),
        }
    }
    while !server.transmit(id).is_empty() {
        match stream.write(server.transmit(id)) {
            Ok(count) => server.transmitted(id, count),
            Err(error) if is_transient(&error) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

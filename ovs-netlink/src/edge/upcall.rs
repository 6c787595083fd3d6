//! Packets from the datapath.
//!
//! A datapath addresses an upcall by the port of a socket. Which one it takes depends on how it was made: with
//! [`DISPATCH_UPCALL_PER_CPU`](crate::ovs::UserFeatures::DISPATCH_UPCALL_PER_CPU) the one of the CPU, of those in
//! [`Datapath::per_cpu_pids`](crate::ovs::Datapath::per_cpu_pids); else one of those of the port, in
//! [`Vport::upcall_pids`](crate::ovs::Vport::upcall_pids), by a hash of the packet. Either way a program has a number of
//! these sockets, and lets a thread wait for each.

use std::os::fd::{AsFd, BorrowedFd};

use super::socket::{Connect, Drained, Protocol, Socket, SocketError};
use crate::ovs::{Packet, PacketCommand};

/// An upcall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upcall<'a> {
    /// Whether the packet matched no flow, or an action sent it.
    pub command: PacketCommand,
    /// The packet, and what the datapath knows of it.
    pub packet: Packet<'a>,
}

/// A socket for upcalls: it sends nothing and never waits. Wait for its descriptor to be readable.
#[derive(Debug)]
pub struct UpcallSocket {
    socket: Socket,
    family: u16,
}

impl AsFd for UpcallSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl UpcallSocket {
    /// What the kernel is asked to hold: upcalls that come while the program is busy.
    pub const RECEIVE_BUFFER: usize = 4 << 20;

    /// Opens a socket. `family` is the number that the controller gave for [`Packet::FAMILY`].
    ///
    /// # Errors
    /// [`SocketError::System`].
    pub fn open(kernel: &impl Connect, family: u16) -> Result<UpcallSocket, SocketError> {
        let socket = kernel.connect(Protocol::Generic)?;
        socket.set_receive_buffer(UpcallSocket::RECEIVE_BUFFER)?;
        Ok(UpcallSocket { socket, family })
    }

    /// Opens one socket for each of `count` CPUs or handlers.
    ///
    /// # Errors
    /// [`SocketError::System`].
    pub fn open_many(kernel: &impl Connect, family: u16, count: usize) -> Result<Vec<UpcallSocket>, SocketError> {
        (0..count).map(|_| UpcallSocket::open(kernel, family)).collect()
    }

    /// The port: what the datapath is told to address upcalls to.
    pub fn port(&self) -> u32 {
        self.socket.port()
    }

    /// Takes what is there, at most `max` datagrams, and calls `each` with every upcall; its packet is good until it
    /// returns. Nothing is allocated.
    ///
    /// # Errors
    /// [`SocketError::System`]. What was lost is no error: it is counted in [`Drained::overruns`]; what is not an upcall
    /// is in [`Drained::bad`].
    pub fn drain(&mut self, max: usize, mut each: impl FnMut(Upcall<'_>)) -> Result<Drained, SocketError> {
        let (family, mut bad) = (self.family, 0_usize);
        let drained = self.socket.drain(max, |message| {
            let read = || Some((Packet::command(&message).ok()??, Packet::decode(&message).ok()?));
            match (message.header.kind == family).then(read).flatten() {
                Some((command @ (PacketCommand::Miss | PacketCommand::Action), packet)) => {
                    each(Upcall { command, packet });
                }
                _ => bad = bad.saturating_add(1),
            }
        })?;
        Ok(Drained { messages: drained.messages.saturating_sub(bad), bad: drained.bad.saturating_add(bad), ..drained })
    }
}

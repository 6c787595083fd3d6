//! Network devices: where packets come from and go to.
//!
//! [`Netdev`] is what a datapath needs of a port, and what others implement to attach ports of their own. Here are
//! [`MemPort`], a pair of queues within a process; [`DummyPort`], what tests of whole switches have for ports; [`PatchPort`],
//! an end of a cable between two; [`Vport`], which stands for a kind of tunnel; and on Linux (feature `packet-socket`) [`PacketSocket`], an interface of the kernel that
//! the stack goes on seeing, (feature `af-xdp`) [`XdpSocket`], one that it does not, and (feature `tap`) [`Tap`], an interface
//! through which the stack itself is a port's other end.

mod dummy;
#[cfg(all(any(feature = "packet-socket", feature = "af-xdp", feature = "tap"), target_os = "linux"))]
mod interface;
#[cfg(all(any(feature = "packet-socket", feature = "af-xdp"), target_os = "linux"))]
#[allow(unsafe_code, reason = "memory that the kernel shares has no safe wrapper")]
mod mapping;
mod mem;
#[cfg(all(feature = "packet-socket", target_os = "linux"))]
mod packet_socket;
mod patch;
#[cfg(all(feature = "tap", target_os = "linux"))]
mod tap;
#[cfg(all(any(feature = "packet-socket", feature = "tap"), target_os = "linux"))]
mod vnet;
mod vport;
#[cfg(all(feature = "af-xdp", target_os = "linux"))]
mod xdp;

pub use dummy::{Capture, DummyControl, DummyPort};
pub use mem::{MemPort, MemPortPeer};
#[cfg(all(feature = "packet-socket", target_os = "linux"))]
pub use packet_socket::PacketSocket;
pub use patch::{PatchPort, PatchSocket};
#[cfg(all(feature = "tap", target_os = "linux"))]
pub use tap::{Tap, TapHandle, TapKind};
pub use vport::Vport;
#[cfg(all(feature = "af-xdp", target_os = "linux"))]
pub use xdp::{XdpConfig, XdpMode, XdpSocket};

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;

use ovs_packet::{EthAddr, PacketBatch};

use crate::dpif::TunnelPort;

/// What a port can take over from software when it sends.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Offloads {
    /// Packets with a partial transport checksum.
    pub checksum: bool,
    /// Packets that are to be segmented.
    pub segmentation: bool,
}

impl Offloads {
    /// Nothing: packets must be as they go on the wire.
    pub const NONE: Offloads = Offloads { checksum: false, segmentation: false };
    /// Both: the other end takes packets with their work undone.
    pub const ALL: Offloads = Offloads { checksum: true, segmentation: true };
}

/// Which thread of a datapath that has several polls a device.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum Polling {
    /// The one that polls the datapath.
    #[default]
    Control,
    /// A worker, which is started for it if there is none.
    Worker,
    /// A worker where the owner of the datapath asks for workers, and else the one that polls the datapath.
    Either,
}

/// What went through a port, from the datapath's side.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct NetdevStats {
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets that the device lost before they were received, or that could not be received.
    pub rx_dropped: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets that the device would not take.
    pub tx_dropped: u64,
    /// Bad packets received.
    pub rx_errors: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
}

/// Why a device cannot be opened or used. Displays as one line that says what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetdevError {
    /// There is no interface of this name.
    #[error("there is no interface {name}; see: ip link")]
    NoSuchInterface {
        /// The interface.
        name: String,
    },
    /// The process may not open the device.
    #[error("opening {name} needs the capability {capability}; run as root")]
    NotPermitted {
        /// The interface.
        name: String,
        /// The capability that it lacks (capabilities(7)).
        capability: &'static str,
    },
    /// Something else uses the interface.
    #[error("interface {name} is in use: {by}")]
    Busy {
        /// The interface.
        name: String,
        /// By whom, and what to do about it.
        by: String,
    },
    /// The interface is not an Ethernet device.
    #[error("interface {name} is not Ethernet (ARP hardware type {hardware})")]
    NotEthernet {
        /// The interface.
        name: String,
        /// Its `ARPHRD_*` number.
        hardware: u16,
    },
    /// The system refused something else.
    #[error("{name}: {what}: {source}")]
    System {
        /// The interface.
        name: String,
        /// What was tried.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

/// A network device.
///
/// # For implementers
/// Nothing may block: `receive` returns what is there, `send` takes what fits. A device is owned by one thread at a
/// time. Packets that are received carry their offload state; packets that are sent have no work left that
/// [`offloads`](Netdev::offloads) does not name.
pub trait Netdev: Send + fmt::Debug {
    /// The device's name, as users know it.
    fn name(&self) -> &str;

    /// The kind of device, as the `type` column of the Interface table has it: `system`, `internal`, `dummy`.
    fn kind(&self) -> &'static str;

    /// Appends the packets that have come in, as many as the batch has room for, and says how many.
    ///
    /// # Errors
    /// If the device is gone or broken. Packets appended before the error stay.
    fn receive(&mut self, batch: &mut PacketBatch) -> Result<usize, NetdevError>;

    /// Sends packets from the front of `batch` and takes them out; what the device would not take stays.
    ///
    /// # Errors
    /// If the device is gone or broken. The packets stay in the batch.
    fn send(&mut self, batch: &mut PacketBatch) -> Result<(), NetdevError>;

    /// What the device takes over when it sends.
    fn offloads(&self) -> Offloads;

    /// The device's own address, if it has one.
    fn address(&self) -> Option<EthAddr>;

    /// The largest payload of a frame, in bytes.
    fn mtu(&self) -> usize;

    /// What went through so far.
    fn stats(&self) -> NetdevStats;

    /// A descriptor that becomes readable when there is something to receive. Devices within the process have none:
    /// their owner knows when it put something in.
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Which thread is to poll the device.
    fn polling(&self) -> Polling {
        Polling::Control
    }

    /// How many receive queues can be polled apart from one another, by different threads if the device has
    /// [another handle](Netdev::another). At least one.
    fn queues(&self) -> usize {
        1
    }

    /// As [`receive`](Netdev::receive), from one queue. There is nothing in a queue that is not there.
    ///
    /// # Errors
    /// As [`receive`](Netdev::receive).
    fn receive_queue(&mut self, queue: usize, batch: &mut PacketBatch) -> Result<usize, NetdevError> {
        if queue == 0 { self.receive(batch) } else { Ok(0) }
    }

    /// Another handle on the device, for another thread to receive from other queues and to send; `None` if one thread
    /// only can have the device. Handles share counters and configuration.
    fn another(&self) -> Option<Box<dyn Netdev>> {
        None
    }

    /// The NUMA node that the device is on, if that is known.
    fn numa_node(&self) -> Option<u32> {
        None
    }

    /// The kind of tunnel that the port stands for, if it is no device: it has no traffic of its own.
    fn tunnel(&self) -> Option<TunnelPort> {
        None
    }

    /// The options that the device tells back, as they are in effect (`dpctl/show`).
    fn shown_options(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

//! Network devices: where packets come from and go to.
//!
//! [`Netdev`] is what a datapath needs of a port, and what others implement to attach ports of their own. Here are
//! [`MemPort`], a pair of queues within a process; [`DummyPort`], what tests of whole switches have for ports, which plays
//! the cards that one may meet; [`PatchPort`], an end of a cable between two; [`Vport`], which stands for a kind of tunnel.
//! On Linux there are also
//!
//! - [`PacketSocket`] and, with several receive queues, [`PacketSockets`] (feature `packet-socket`): an interface of the
//!   kernel that the stack goes on seeing;
//! - [`XdpSocket`] (feature `af-xdp`): one that it does not;
//! - [`Tap`] (feature `tap`): an interface through which the stack itself is a port's other end.
//!
//! # What cards do
//! A packet carries the work that is left on it ([`Offload`](ovs_packet::packet::Offload)). A port says by
//! [`Netdev::offloads`] what it takes over when it sends; the datapath does the rest in software at the port, so that a
//! packet goes from a port that leaves work to one that takes it without being summed or cut in between. A port whose card
//! matches megaflows itself tells of it by [`Netdev::flow_offload`].

mod dummy;
mod flow_offload;
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

pub use dummy::{Capture, DummyControl, DummyPort, Emulation, QueueCounts, Steering, Told};
pub use flow_offload::{CardCounts, FlowOffload, Level, OFFLOAD_DRIVERS, OffloadPut, Offloaded};
pub use mem::{MemPort, MemPortPeer};
#[cfg(all(feature = "packet-socket", target_os = "linux"))]
pub use packet_socket::{MAX_QUEUES, PacketSocket, PacketSockets};
pub use patch::{PatchPort, PatchSocket};
#[cfg(all(feature = "tap", target_os = "linux"))]
pub use tap::{Tap, TapHandle, TapKind};
pub use vport::Vport;
#[cfg(all(feature = "af-xdp", target_os = "linux"))]
pub use xdp::{XdpConfig, XdpMode, XdpSocket};

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use ovs_packet::segment::Takes;
use ovs_packet::{EthAddr, Packet, PacketBatch};

use crate::dpif::TunnelPort;

/// What a port can take over from software when it sends.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Offloads {
    /// Packets whose IPv4 header has no checksum yet.
    pub ip_checksum: bool,
    /// Packets with a partial transport checksum.
    pub checksum: bool,
    /// Packets that are to be segmented.
    pub segmentation: bool,
    /// Whether what is said of checksums holds of what a tunnel carries; if not, all are computed before.
    pub inner_checksums: bool,
    /// Packets in a tunnel whose outer IPv4 header has no checksum yet, if the inner packet is undone too.
    pub outer_ip_checksum: bool,
    /// Packets in a tunnel whose outer UDP header has no checksum yet, likewise.
    pub outer_udp_checksum: bool,
}

impl Offloads {
    /// Nothing: packets must be as they go on the wire.
    pub const NONE: Offloads = Offloads {
        ip_checksum: false,
        checksum: false,
        segmentation: false,
        inner_checksums: false,
        outer_ip_checksum: false,
        outer_udp_checksum: false,
    };
    /// Transport checksums and segmentation: the other end takes packets with their work undone, as Linux does.
    pub const ALL: Offloads = Offloads { checksum: true, segmentation: true, ..Offloads::NONE };

    /// What of a packet's checksums a port takes over.
    pub fn takes(&self, packet: &Packet) -> Takes {
        if packet.offload.inner.is_none() {
            return Takes { ip: self.ip_checksum, transport: self.checksum, ..Takes::default() };
        }
        if !self.inner_checksums {
            return Takes::default();
        }
        Takes {
            ip: self.ip_checksum,
            transport: self.checksum,
            outer_ip: self.outer_ip_checksum,
            outer_transport: self.outer_udp_checksum,
        }
    }
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
///
/// ```
/// use ovs_dpif::netdev::{Netdev, NetdevError};
/// use ovs_dpif::userspace::Datapath;
/// use ovs_dpif::{DpAction, Dpif, PortSpec};
/// use ovs_packet::{Instant, Packet, PacketBatch};
///
/// /// Gives back what is sent to it.
/// #[derive(Debug, Default)]
/// struct Mirror(Vec<Packet>);
///
/// impl Netdev for Mirror {
///     fn name(&self) -> &str {
///         "mirror"
///     }
///
///     fn kind(&self) -> &'static str {
///         "mirror"
///     }
///
///     fn receive(&mut self, batch: &mut PacketBatch) -> Result<usize, NetdevError> {
///         let before = batch.len();
///         batch.extend(self.0.drain(..self.0.len().min(batch.remaining_capacity())));
///         Ok(batch.len() - before)
///     }
///
///     fn send(&mut self, batch: &mut PacketBatch) -> Result<(), NetdevError> {
///         self.0.extend(batch.drain(..));
///         Ok(())
///     }
/// }
///
/// let mut dp = Datapath::new();
/// let port = dp.port_add(PortSpec::Device(Box::new(Mirror::default())), None)?;
/// let mut upcalls = Vec::new();
/// dp.inject(Packet::from_slice(&[0; 60]), &[DpAction::Output(port)], Instant::ZERO, &mut upcalls);
/// // It comes in by the same port.
/// assert_eq!(dp.poll(Instant::ZERO, &mut upcalls), 1);
/// assert_eq!(upcalls[0].packet.meta.in_port, port.0);
/// # Ok::<(), ovs_dpif::DpifError>(())
/// ```
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

    /// What the device takes over when it sends: by default nothing, so that packets come to it finished.
    fn offloads(&self) -> Offloads {
        Offloads::NONE
    }

    /// The device's own address, if it has one.
    fn address(&self) -> Option<EthAddr> {
        None
    }

    /// The largest payload of a frame, in bytes: by default Ethernet's.
    fn mtu(&self) -> usize {
        1500
    }

    /// What went through so far, as far as the device counts it: by default, it does not.
    fn stats(&self) -> NetdevStats {
        NetdevStats::default()
    }

    /// Counters that only this kind of device has, by name, as the column `statistics` of the Interface table and
    /// OpenFlow's statistics of ports have them: by default none.
    fn custom_stats(&self) -> Vec<(String, u64)> {
        Vec::new()
    }

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

    /// The device's card, if that matches megaflows.
    fn flow_offload(&self) -> Option<Arc<dyn FlowOffload>> {
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

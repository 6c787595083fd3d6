//! Ports of datapaths: the family `ovs_vport`.

use std::fmt;

use super::common::{Command, IfName, Name, OvsHeader};
use super::tunnel::TunnelOption;
use crate::attr::Nest;
use crate::attr::structure::{U64 as FieldU64, structures};
use crate::attr::typed::{Bytes, I32, Nested, Numbers, Prefix, U32, U32s, U64, attributes};
use crate::error::{DecodeError, EncodeError};
use crate::message::{Flags, Message};

attributes! {
    /// An attribute of a message about a port: see [`Vport`].
    pub enum VportAttr = "ovs_vport_attr", "OVS_VPORT_ATTR_" {
        /// See [`Vport::port_no`].
        PORT_NO = 1 => PortNo(u32 as U32),
        /// See [`Vport::ty`].
        TYPE = 2 => Type(u32 as U32),
        /// See [`Vport::name`].
        NAME = 3 => Name(IfName as Name),
        /// See [`Vport::options`].
        OPTIONS = 4 => Options(Nest<'a, TunnelOption<'a>> as Nested<TunnelOption<'static>>),
        /// See [`Vport::upcall_pids`].
        UPCALL_PID = 5 => UpcallPid(Numbers<'a> as U32s),
        /// See [`Vport::stats`].
        STATS = 6 => Stats(VportStats as Prefix<VportStats>),
        /// Bytes that mean nothing.
        PAD = 7 => Pad(&'a [u8] as Bytes),
        /// See [`Vport::ifindex`].
        IFINDEX = 8 => Ifindex(u32 as U32),
        /// See [`Vport::netnsid`].
        NETNSID = 9 => Netnsid(i32 as I32),
        /// See [`Vport::upcall_stats`].
        UPCALL_STATS = 10 => UpcallStats(Nest<'a, UpcallAttr<'a>> as Nested<UpcallAttr<'static>>),
    }
}

attributes! {
    /// A counter of upcalls.
    pub enum UpcallAttr = "ovs_vport_upcall_attr", "OVS_VPORT_UPCALL_ATTR_" {
        /// See [`UpcallStats::success`].
        SUCCESS = 0 => Success(u64 as U64),
        /// See [`UpcallStats::fail`].
        FAIL = 1 => Fail(u64 as U64),
    }
}

/// What a port is (`OVS_VPORT_TYPE_*`). Other numbers than the ones named here are kept as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VportType(pub u32);

impl VportType {
    /// A network device.
    pub const NETDEV: VportType = VportType(1);
    /// A network device that the datapath itself makes.
    pub const INTERNAL: VportType = VportType(2);
    /// A GRE tunnel. Newer kernels want a network device instead.
    pub const GRE: VportType = VportType(3);
    /// A VXLAN tunnel. Newer kernels want a network device instead.
    pub const VXLAN: VportType = VportType(4);
    /// A Geneve tunnel. Newer kernels want a network device instead.
    pub const GENEVE: VportType = VportType(5);
}

impl fmt::Display for VportType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            VportType::NETDEV => f.write_str("netdev"),
            VportType::INTERNAL => f.write_str("internal"),
            VportType::GRE => f.write_str("gre"),
            VportType::VXLAN => f.write_str("vxlan"),
            VportType::GENEVE => f.write_str("geneve"),
            VportType(other) => write!(f, "type {other}"),
        }
    }
}

structures! {
    /// Packets of a port.
    pub struct VportStats = "ovs_vport_stats" {
        /// Packets received.
        rx_packets: u64 as FieldU64 = "rx_packets",
        /// Packets sent.
        tx_packets: u64 as FieldU64 = "tx_packets",
        /// Bytes received.
        rx_bytes: u64 as FieldU64 = "rx_bytes",
        /// Bytes sent.
        tx_bytes: u64 as FieldU64 = "tx_bytes",
        /// Bad packets received.
        rx_errors: u64 as FieldU64 = "rx_errors",
        /// Packets that could not be sent.
        tx_errors: u64 as FieldU64 = "tx_errors",
        /// Packets received and dropped.
        rx_dropped: u64 as FieldU64 = "rx_dropped",
        /// Packets dropped instead of sent.
        tx_dropped: u64 as FieldU64 = "tx_dropped",
    }
}

/// Upcalls of a port (`enum ovs_vport_upcall_attr`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UpcallStats {
    /// Upcalls that reached a socket.
    pub success: u64,
    /// Upcalls that did not.
    pub fail: u64,
}

/// A port, or what a request says of one.
///
/// ```
/// use ovs_netlink::{Flags, Messages, ovs::{Command, Vport, VportType}};
///
/// let vport = Vport {
///     dp_ifindex: 4,
///     name: Some("vport1".parse()?),
///     ty: Some(VportType::INTERNAL),
///     upcall_pids: Some(vec![0]),
///     ..Vport::default()
/// };
/// let mut bytes = Vec::new();
/// vport.encode(&mut bytes, 31, Command::New, Flags::REQUEST | Flags::ACK)?;
/// assert_eq!(Vport::decode(&Messages::new(&bytes).next().unwrap()?)?, vport);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vport {
    /// The interface index of the datapath's local port; 0 in a request that finds the port by name.
    pub dp_ifindex: u32,
    /// The number of the port in the datapath; 0 is the local port. Chosen by the kernel when absent in a NEW request.
    pub port_no: Option<u32>,
    /// What the port is.
    pub ty: Option<VportType>,
    /// The name of the port.
    pub name: Option<IfName>,
    /// The attributes that a tunnel port has, as they are on the wire.
    pub options: Option<Vec<u8>>,
    /// The sockets for upcalls; `[0]` for none. Required to make a port. The kernel refuses more than it has CPUs.
    pub upcall_pids: Option<Vec<u32>>,
    /// Packets.
    pub stats: Option<VportStats>,
    /// The interface index of the port's network device.
    pub ifindex: Option<u32>,
    /// The network namespace of the port's network device, when that is another one than the datapath's.
    pub netnsid: Option<i32>,
    /// Upcalls.
    pub upcall_stats: Option<UpcallStats>,
}

impl Vport {
    /// The name of the family (`OVS_VPORT_FAMILY`).
    pub const FAMILY: &'static str = "ovs_vport";
    /// The version of the family (`OVS_VPORT_VERSION`).
    pub const VERSION: u8 = 1;

    /// Appends a message about this port to `buffer`. `family` is the number that the controller gave for
    /// [`Vport::FAMILY`].
    ///
    /// Without [`Flags::ECHO`] the kernel only acknowledges a request that changes something; with it, it answers with
    /// what it made, changed or deleted.
    ///
    /// # Errors
    /// [`EncodeError::AttributeTooLong`] for options or lists of sockets that do not fit.
    pub fn encode(&self, buffer: &mut Vec<u8>, family: u16, command: Command, flags: Flags) -> Result<(), EncodeError> {
        let Vport { dp_ifindex, port_no, ty, name, options, upcall_pids, stats, ifindex, netnsid, upcall_stats } = self;
        let header = OvsHeader { dp_ifindex: *dp_ifindex };
        header.message(buffer, family, command as u8, Vport::VERSION, flags, |writer| {
            let attributes = [
                port_no.map(VportAttr::PortNo),
                ty.map(|ty| VportAttr::Type(ty.0)),
                ifindex.map(VportAttr::Ifindex),
                name.map(VportAttr::Name),
                options.as_deref().map(|options| VportAttr::Options(Nest::new(options))),
                stats.map(VportAttr::Stats),
                netnsid.map(VportAttr::Netnsid),
            ];
            attributes.into_iter().flatten().try_for_each(|attribute| writer.put(attribute).map(drop))?;
            if let Some(pids) = upcall_pids {
                writer.u32s(VportAttr::UPCALL_PID, pids)?;
            }
            if let Some(UpcallStats { success, fail }) = *upcall_stats {
                writer.nest(VportAttr::UPCALL_STATS, |inner| {
                    inner.put(UpcallAttr::Success(success))?.put(UpcallAttr::Fail(fail)).map(drop)
                })?;
            }
            Ok(())
        })
    }

    /// Reads a message of the family.
    ///
    /// # Errors
    /// [`DecodeError`] with the offset of the attribute that is wrong.
    pub fn decode(message: &Message<'_>) -> Result<Vport, DecodeError> {
        let OvsHeader { dp_ifindex } = OvsHeader::decode(message)?;
        let mut vport = Vport { dp_ifindex, ..Vport::default() };
        for attribute in Nest::of(message, OvsHeader::ATTRIBUTES)? {
            match attribute? {
                VportAttr::PortNo(number) => vport.port_no = Some(number),
                VportAttr::Type(ty) => vport.ty = Some(VportType(ty)),
                VportAttr::Name(name) => vport.name = Some(name),
                VportAttr::Options(options) => vport.options = Some(options.payload().to_vec()),
                VportAttr::UpcallPid(pids) => vport.upcall_pids = Some(pids.iter().collect()),
                VportAttr::Stats(stats) => vport.stats = Some(stats),
                VportAttr::Ifindex(ifindex) => vport.ifindex = Some(ifindex),
                VportAttr::Netnsid(netnsid) => vport.netnsid = Some(netnsid),
                VportAttr::UpcallStats(stats) => vport.upcall_stats = Some(UpcallStats::decode(stats)?),
                VportAttr::Pad(_) | VportAttr::Other(_) => {}
            }
        }
        Ok(vport)
    }
}

impl UpcallStats {
    fn decode(attributes: Nest<'_, UpcallAttr<'_>>) -> Result<UpcallStats, DecodeError> {
        let mut stats = UpcallStats::default();
        for attribute in attributes {
            match attribute? {
                UpcallAttr::Success(count) => stats.success = count,
                UpcallAttr::Fail(count) => stats.fail = count,
                UpcallAttr::Other(_) => {}
            }
        }
        Ok(stats)
    }
}

#[cfg(test)]
mod tests {
    use super::super::common::tests::any_name;
    use super::*;
    use crate::attr::Writer;
    use crate::error::DecodeErrorKind;
    use crate::message::Messages;
    use proptest::option::of;
    use proptest::prelude::*;

    fn any_vport() -> impl Strategy<Value = Vport> {
        let stats = any::<[u64; 8]>().prop_map(|numbers| {
            let [rx_packets, tx_packets, rx_bytes, tx_bytes, rx_errors, tx_errors, rx_dropped, tx_dropped] = numbers;
            VportStats { rx_packets, tx_packets, rx_bytes, tx_bytes, rx_errors, tx_errors, rx_dropped, tx_dropped }
        });
        let upcalls = any::<(u64, u64)>().prop_map(|(success, fail)| UpcallStats { success, fail });
        let numbers = any::<(u32, Option<u32>, Option<u32>, Option<u32>, Option<i32>)>();
        let options = of(prop::collection::vec(any::<u8>(), 0..20));
        let pids = of(prop::collection::vec(any::<u32>(), 0..5));
        (numbers, of(any_name()), options, pids, of(stats), of(upcalls)).prop_map(
            |((dp_ifindex, port_no, ty, ifindex, netnsid), name, options, upcall_pids, stats, upcall_stats)| {
                let ty = ty.map(VportType);
                Vport { dp_ifindex, port_no, ty, name, options, upcall_pids, stats, ifindex, netnsid, upcall_stats }
            },
        )
    }

    fn decode(bytes: &[u8]) -> Result<Vport, DecodeError> {
        Vport::decode(&Messages::new(bytes).next().unwrap().unwrap())
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn bytes_of_a_request() {
        let vport = Vport { dp_ifindex: 5, port_no: Some(1), upcall_pids: Some(vec![7, 8]), ..Vport::default() };
        let mut bytes = Vec::new();
        vport.encode(&mut bytes, 0x1f, Command::Set, Flags::REQUEST).unwrap();
        #[rustfmt::skip]
        let expected = [
            4, 1, 0, 0, // command, version
            5, 0, 0, 0, // dp_ifindex
            8, 0, 1, 0, 1, 0, 0, 0,
            12, 0, 5, 0, 7, 0, 0, 0, 8, 0, 0, 0,
        ];
        assert_eq!(bytes[16..], expected);
    }

    #[test]
    fn an_error_inside_a_nest_points_into_it() {
        let mut bytes = Vec::new();
        let stats = |inner: &mut Writer<'_>| inner.u64(UpcallAttr::SUCCESS, 1).bytes(UpcallAttr::FAIL, &[1]).map(drop);
        let content = |writer: &mut Writer<'_>| writer.nest(VportAttr::UPCALL_STATS, stats).map(drop);
        OvsHeader::default().message(&mut bytes, 31, Command::New as u8, 1, Flags::empty(), content).unwrap();
        let error = decode(&bytes).unwrap_err();
        let kind = DecodeErrorKind::WrongSize { attribute: UpcallAttr::FAIL, expected: 8, found: 1 };
        assert_eq!(error, DecodeError::new(24 + 4 + 12 + 4, kind));
    }

    proptest! {
        #[test]
        fn decode_inverts_encode(vport in any_vport()) {
            let mut bytes = Vec::new();
            vport.encode(&mut bytes, 31, Command::New, Flags::REQUEST).unwrap();
            prop_assert_eq!(decode(&bytes), Ok(vport));
        }

        #[test]
        fn random_messages_never_panic(payload in prop::collection::vec(any::<u8>(), 0..96)) {
            let mut bytes = Vec::new();
            Writer::message(&mut bytes, 31, Flags::empty(), |writer| {
                writer.raw(&payload);
                Ok(())
            }).unwrap();
            let _ = decode(&bytes);
        }
    }
}

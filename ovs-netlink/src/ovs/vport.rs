//! Ports of datapaths: the family `ovs_vport`.

use std::fmt;

use super::common::{Command, IfName, OvsHeader, u64_at};
use crate::attr::{Attribute, MessageBuilder, push_u64s};
use crate::error::{DecodeError, EncodeError};
use crate::message::{Flags, Message};

const PORT_NO: u16 = 1;
const TYPE: u16 = 2;
const NAME: u16 = 3;
const OPTIONS: u16 = 4;
const UPCALL_PID: u16 = 5;
const STATS: u16 = 6;
const IFINDEX: u16 = 8;
const NETNSID: u16 = 9;
const UPCALL_STATS: u16 = 10;
const UPCALL_SUCCESS: u16 = 0;
const UPCALL_FAIL: u16 = 1;

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

/// Packets of a port (`struct ovs_vport_stats`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VportStats {
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Bad packets received.
    pub rx_errors: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
    /// Packets received and dropped.
    pub rx_dropped: u64,
    /// Packets dropped instead of sent.
    pub tx_dropped: u64,
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
/// let bytes = vport.encode(31, Command::New, Flags::REQUEST | Flags::ACK)?.finish(1, 0)?;
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
    /// The sockets for upcalls; `[0]` for none. Required to make a port.
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

    /// A message about this port. `family` is the number that the controller gave for [`Vport::FAMILY`].
    ///
    /// Without [`Flags::ECHO`] the kernel only acknowledges a request that changes something; with it, it answers with
    /// what it made, changed or deleted.
    ///
    /// # Errors
    /// [`EncodeError::AttributeTooLong`] for options or lists of sockets that do not fit.
    pub fn encode(&self, family: u16, command: Command, flags: Flags) -> Result<MessageBuilder, EncodeError> {
        let Vport { dp_ifindex, port_no, ty, name, options, upcall_pids, stats, ifindex, netnsid, upcall_stats } = self;
        let mut builder = OvsHeader { dp_ifindex: *dp_ifindex }.begin(family, command, Vport::VERSION, flags);
        for (kind, number) in [(PORT_NO, *port_no), (TYPE, ty.map(|ty| ty.0)), (IFINDEX, *ifindex)] {
            if let Some(number) = number {
                builder.u32(kind, number);
            }
        }
        if let Some(name) = name {
            name.write(&mut builder, NAME)?;
        }
        if let Some(options) = options {
            builder.nest(OPTIONS, |inner| {
                inner.raw_exact(options);
                Ok(())
            })?;
        }
        if let Some(pids) = upcall_pids {
            builder.u32s(UPCALL_PID, pids)?;
        }
        if let Some(stats) = stats {
            let mut bytes = Vec::new();
            push_u64s(&mut bytes, &stats.numbers());
            builder.bytes(STATS, &bytes)?;
        }
        if let Some(netnsid) = netnsid {
            builder.i32(NETNSID, *netnsid);
        }
        if let Some(UpcallStats { success, fail }) = upcall_stats {
            builder.nest(UPCALL_STATS, |inner| {
                inner.u64(UPCALL_SUCCESS, *success).u64(UPCALL_FAIL, *fail);
                Ok(())
            })?;
        }
        Ok(builder)
    }

    /// Reads a message of the family.
    ///
    /// # Errors
    /// [`DecodeError`] with the offset of the attribute that is wrong.
    pub fn decode(message: &Message<'_>) -> Result<Vport, DecodeError> {
        let OvsHeader { dp_ifindex } = OvsHeader::decode(message)?;
        let mut vport = Vport { dp_ifindex, ..Vport::default() };
        for attribute in message.attributes(OvsHeader::ATTRIBUTES)? {
            let attribute = attribute?;
            match attribute.kind() {
                PORT_NO => vport.port_no = Some(attribute.u32()?),
                TYPE => vport.ty = Some(VportType(attribute.u32()?)),
                NAME => vport.name = Some(IfName::decode(&attribute)?),
                OPTIONS => vport.options = Some(attribute.payload().to_vec()),
                UPCALL_PID => vport.upcall_pids = Some(attribute.u32s()?),
                STATS => vport.stats = Some(VportStats::decode(&attribute)?),
                IFINDEX => vport.ifindex = Some(attribute.u32()?),
                NETNSID => vport.netnsid = Some(attribute.i32()?),
                UPCALL_STATS => vport.upcall_stats = Some(UpcallStats::decode(&attribute)?),
                _ => {}
            }
        }
        Ok(vport)
    }
}

impl VportStats {
    fn numbers(&self) -> [u64; 8] {
        let VportStats { rx_packets, tx_packets, rx_bytes, tx_bytes, rx_errors, tx_errors, rx_dropped, tx_dropped } =
            *self;
        [rx_packets, tx_packets, rx_bytes, tx_bytes, rx_errors, tx_errors, rx_dropped, tx_dropped]
    }

    fn decode(attribute: &Attribute<'_>) -> Result<VportStats, DecodeError> {
        let bytes = attribute.prefix::<64>()?;
        let [rx_packets, tx_packets, rx_bytes, tx_bytes, rx_errors, tx_errors, rx_dropped, tx_dropped] =
            [0, 1, 2, 3, 4, 5, 6, 7].map(|index| u64_at(&bytes, index));
        Ok(VportStats { rx_packets, tx_packets, rx_bytes, tx_bytes, rx_errors, tx_errors, rx_dropped, tx_dropped })
    }
}

impl UpcallStats {
    fn decode(attribute: &Attribute<'_>) -> Result<UpcallStats, DecodeError> {
        let mut stats = UpcallStats::default();
        for attribute in attribute.nested()? {
            let attribute = attribute?;
            match attribute.kind() {
                UPCALL_SUCCESS => stats.success = attribute.u64()?,
                UPCALL_FAIL => stats.fail = attribute.u64()?,
                _ => {}
            }
        }
        Ok(stats)
    }
}

#[cfg(test)]
mod tests {
    use super::super::common::tests::any_name;
    use super::*;
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
        let bytes = vport.encode(0x1f, Command::Set, Flags::REQUEST).unwrap().finish(1, 0).unwrap();
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
        let mut builder = OvsHeader::default().begin(31, Command::New, 1, Flags::empty());
        builder.nest(UPCALL_STATS, |inner| inner.u64(UPCALL_SUCCESS, 1).bytes(UPCALL_FAIL, &[1]).map(drop)).unwrap();
        let error = decode(&builder.finish(1, 0).unwrap()).unwrap_err();
        let kind = DecodeErrorKind::WrongSize { attribute: UPCALL_FAIL, expected: 8, found: 1 };
        assert_eq!(error, DecodeError::new(24 + 4 + 12 + 4, kind));
    }

    proptest! {
        #[test]
        fn decode_inverts_encode(vport in any_vport()) {
            let bytes = vport.encode(31, Command::New, Flags::REQUEST).unwrap().finish(1, 0).unwrap();
            prop_assert_eq!(decode(&bytes), Ok(vport));
        }

        #[test]
        fn random_messages_never_panic(payload in prop::collection::vec(any::<u8>(), 0..96)) {
            let bytes = MessageBuilder::new(31, Flags::empty()).raw(&payload).clone().finish(1, 0).unwrap();
            let _ = decode(&bytes);
        }
    }
}

//! Datapaths: the family `ovs_datapath`.

use byteorder::{ByteOrder, NativeEndian};

use super::common::{Command, IfName, OvsHeader, u64_at};
use crate::attr::{Attribute, MessageBuilder, push_u64s};
use crate::error::{DecodeError, EncodeError};
use crate::message::{Flags, Message};

const NAME: u16 = 1;
const UPCALL_PID: u16 = 2;
const STATS: u16 = 3;
const MEGAFLOW_STATS: u16 = 4;
const USER_FEATURES: u16 = 5;
const MASKS_CACHE_SIZE: u16 = 7;
const PER_CPU_PIDS: u16 = 8;
const IFINDEX: u16 = 9;

bitflags::bitflags! {
    /// What the program that made the datapath can cope with (`OVS_DP_F_*`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct UserFeatures: u32 {
        /// The last attribute of a message may lack its padding.
        const UNALIGNED = 1;
        /// A port may have several upcall sockets.
        const VPORT_PIDS = 2;
        /// Recirculation identifiers may be shared with tc.
        const TC_RECIRC_SHARING = 4;
        /// Upcalls go to the socket of the CPU that they arise on.
        const DISPATCH_UPCALL_PER_CPU = 8;
        /// Other bits are kept as they are.
        const _ = !0;
    }
}

/// Packets and flows of a datapath (`struct ovs_dp_stats`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DatapathStats {
    /// Packets that matched a flow.
    pub hit: u64,
    /// Packets that matched none.
    pub missed: u64,
    /// Packets that matched none and did not reach a socket.
    pub lost: u64,
    /// Flows.
    pub flows: u64,
}

/// Masks of a datapath (`struct ovs_dp_megaflow_stats`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MegaflowStats {
    /// Masks tried in all lookups together.
    pub mask_hit: u64,
    /// Masks.
    pub masks: u32,
    /// Lookups that the mask cache answered.
    pub cache_hit: u64,
}

/// A datapath, or what a request says of one.
///
/// ```
/// use ovs_netlink::{Flags, Messages, ovs::{Command, Datapath, UserFeatures}};
///
/// let datapath = Datapath {
///     name: Some("br0".parse()?),
///     upcall_pid: Some(0),
///     user_features: Some(UserFeatures::UNALIGNED | UserFeatures::VPORT_PIDS),
///     ..Datapath::default()
/// };
/// let bytes = datapath.encode(30, Command::New, Flags::REQUEST | Flags::ACK)?.finish(1, 0)?;
/// assert_eq!(Datapath::decode(&Messages::new(&bytes).next().unwrap()?)?, datapath);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Datapath {
    /// The interface index of the local port, which stands for the datapath; 0 in a request that names it.
    pub dp_ifindex: u32,
    /// The name of the local port.
    pub name: Option<IfName>,
    /// The socket for upcalls of the local port; 0 for none. Only to make a datapath, and required for that.
    pub upcall_pid: Option<u32>,
    /// Packets and flows.
    pub stats: Option<DatapathStats>,
    /// Masks.
    pub megaflow_stats: Option<MegaflowStats>,
    /// What the program can cope with.
    pub user_features: Option<UserFeatures>,
    /// The number of entries of the mask cache; a power of two, or 0 for none.
    pub masks_cache_size: Option<u32>,
    /// The sockets for upcalls, by CPU.
    pub per_cpu_pids: Option<Vec<u32>>,
    /// The interface index that the local port is to have. Only to make a datapath.
    pub ifindex: Option<u32>,
}

impl Datapath {
    /// The name of the family (`OVS_DATAPATH_FAMILY`).
    pub const FAMILY: &'static str = "ovs_datapath";
    /// The version of the family (`OVS_DATAPATH_VERSION`).
    pub const VERSION: u8 = 2;

    /// A message about this datapath. `family` is the number that the controller gave for [`Datapath::FAMILY`].
    ///
    /// Without [`Flags::ECHO`] the kernel only acknowledges a request that changes something; with it, it answers with
    /// what it made, changed or deleted.
    ///
    /// # Errors
    /// [`EncodeError::AttributeTooLong`] for more than 16,382 [`per_cpu_pids`](Datapath::per_cpu_pids).
    pub fn encode(&self, family: u16, command: Command, flags: Flags) -> Result<MessageBuilder, EncodeError> {
        let Datapath {
            dp_ifindex,
            name,
            upcall_pid,
            stats,
            megaflow_stats,
            user_features,
            masks_cache_size,
            per_cpu_pids,
            ifindex,
        } = self;
        let mut builder = OvsHeader { dp_ifindex: *dp_ifindex }.begin(family, command, Datapath::VERSION, flags);
        if let Some(name) = name {
            name.write(&mut builder, NAME)?;
        }
        let numbers = [
            (UPCALL_PID, *upcall_pid),
            (USER_FEATURES, user_features.map(|features| features.bits())),
            (MASKS_CACHE_SIZE, *masks_cache_size),
            (IFINDEX, *ifindex),
        ];
        for (kind, number) in numbers {
            if let Some(number) = number {
                builder.u32(kind, number);
            }
        }
        if let Some(DatapathStats { hit, missed, lost, flows }) = stats {
            let mut bytes = Vec::new();
            push_u64s(&mut bytes, &[*hit, *missed, *lost, *flows]);
            builder.bytes(STATS, &bytes)?;
        }
        if let Some(MegaflowStats { mask_hit, masks, cache_hit }) = megaflow_stats {
            let mut bytes = Vec::new();
            push_u64s(&mut bytes, &[*mask_hit]);
            bytes.extend_from_slice(&masks.to_ne_bytes());
            bytes.extend_from_slice(&[0; 4]);
            push_u64s(&mut bytes, &[*cache_hit, 0]);
            builder.bytes(MEGAFLOW_STATS, &bytes)?;
        }
        if let Some(pids) = per_cpu_pids {
            builder.u32s(PER_CPU_PIDS, pids)?;
        }
        Ok(builder)
    }

    /// Reads a message of the family.
    ///
    /// # Errors
    /// [`DecodeError`] with the offset of the attribute that is wrong.
    pub fn decode(message: &Message<'_>) -> Result<Datapath, DecodeError> {
        let OvsHeader { dp_ifindex } = OvsHeader::decode(message)?;
        let mut datapath = Datapath { dp_ifindex, ..Datapath::default() };
        for attribute in message.attributes(OvsHeader::ATTRIBUTES)? {
            let attribute = attribute?;
            match attribute.kind() {
                NAME => datapath.name = Some(IfName::decode(&attribute)?),
                UPCALL_PID => datapath.upcall_pid = Some(attribute.u32()?),
                STATS => datapath.stats = Some(DatapathStats::decode(&attribute)?),
                MEGAFLOW_STATS => datapath.megaflow_stats = Some(MegaflowStats::decode(&attribute)?),
                USER_FEATURES => datapath.user_features = Some(UserFeatures::from_bits_retain(attribute.u32()?)),
                MASKS_CACHE_SIZE => datapath.masks_cache_size = Some(attribute.u32()?),
                PER_CPU_PIDS => datapath.per_cpu_pids = Some(attribute.u32s()?),
                IFINDEX => datapath.ifindex = Some(attribute.u32()?),
                _ => {}
            }
        }
        Ok(datapath)
    }
}

impl DatapathStats {
    fn decode(attribute: &Attribute<'_>) -> Result<DatapathStats, DecodeError> {
        let bytes = attribute.prefix::<32>()?;
        let [hit, missed, lost, flows] = [0, 1, 2, 3].map(|index| u64_at(&bytes, index));
        Ok(DatapathStats { hit, missed, lost, flows })
    }
}

impl MegaflowStats {
    fn decode(attribute: &Attribute<'_>) -> Result<MegaflowStats, DecodeError> {
        let bytes = attribute.prefix::<32>()?;
        let [_, _, _, _, _, _, _, _, m0, m1, m2, m3, ..] = bytes;
        let masks = NativeEndian::read_u32(&[m0, m1, m2, m3]);
        Ok(MegaflowStats { mask_hit: u64_at(&bytes, 0), masks, cache_hit: u64_at(&bytes, 2) })
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

    fn any_datapath() -> impl Strategy<Value = Datapath> {
        let stats = any::<(u64, u64, u64, u64)>().prop_map(|(hit, missed, lost, flows)| DatapathStats {
            hit,
            missed,
            lost,
            flows,
        });
        let megaflow_stats = any::<(u64, u32, u64)>().prop_map(|(mask_hit, masks, cache_hit)| MegaflowStats {
            mask_hit,
            masks,
            cache_hit,
        });
        let numbers = any::<(u32, Option<u32>, Option<u32>, Option<u32>, Option<u32>)>();
        let pids = of(prop::collection::vec(any::<u32>(), 0..5));
        (numbers, of(any_name()), of(stats), of(megaflow_stats), pids).prop_map(
            |(
                (dp_ifindex, upcall_pid, features, masks_cache_size, ifindex),
                name,
                stats,
                megaflow_stats,
                per_cpu_pids,
            )| {
                let user_features = features.map(UserFeatures::from_bits_retain);
                Datapath {
                    dp_ifindex,
                    name,
                    upcall_pid,
                    stats,
                    megaflow_stats,
                    user_features,
                    masks_cache_size,
                    per_cpu_pids,
                    ifindex,
                }
            },
        )
    }

    fn decode(bytes: &[u8]) -> Result<Datapath, DecodeError> {
        Datapath::decode(&Messages::new(bytes).next().unwrap().unwrap())
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn bytes_of_a_request() {
        let name = Some("br0".parse().unwrap());
        let datapath = Datapath { dp_ifindex: 5, name, upcall_pid: Some(0), ..Datapath::default() };
        let bytes = datapath.encode(0x1e, Command::New, Flags::REQUEST).unwrap().finish(1, 0).unwrap();
        #[rustfmt::skip]
        let expected = [
            40, 0, 0, 0, 0x1e, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0,
            1, 2, 0, 0, // command, version
            5, 0, 0, 0, // dp_ifindex
            8, 0, 1, 0, b'b', b'r', b'0', 0,
            8, 0, 2, 0, 0, 0, 0, 0,
        ];
        assert_eq!(bytes, expected);
    }

    #[test]
    fn errors_point_at_the_attribute() {
        let header = OvsHeader { dp_ifindex: 1 };
        let message = |kind, payload: &[u8]| {
            let mut builder = header.begin(30, Command::Get, 2, Flags::empty());
            builder.bytes(kind, payload).unwrap();
            decode(&builder.finish(1, 0).unwrap())
        };
        let wrong = |attribute, expected, found| DecodeErrorKind::WrongSize { attribute, expected, found };
        assert_eq!(message(STATS, &[0; 31]).unwrap_err(), DecodeError::new(28, wrong(STATS, 32, 31)));
        assert_eq!(message(PER_CPU_PIDS, &[0; 6]).unwrap_err().kind, wrong(PER_CPU_PIDS, 4, 6));
        assert_eq!(
            message(NAME, b"0123456789abcdef\0").unwrap_err().kind,
            DecodeErrorKind::NotAName { attribute: NAME }
        );
        // A structure that grew, and an attribute that is new, are no errors.
        assert_eq!(message(STATS, &[0; 40]).unwrap().stats, Some(DatapathStats::default()));
        assert_eq!(message(99, &[1]), Ok(Datapath { dp_ifindex: 1, ..Datapath::default() }));
    }

    proptest! {
        #[test]
        fn decode_inverts_encode(datapath in any_datapath()) {
            let bytes = datapath.encode(30, Command::New, Flags::REQUEST).unwrap().finish(1, 0).unwrap();
            prop_assert_eq!(decode(&bytes), Ok(datapath));
        }

        #[test]
        fn random_messages_never_panic(payload in prop::collection::vec(any::<u8>(), 0..96)) {
            let bytes = MessageBuilder::new(30, Flags::empty()).raw(&payload).clone().finish(1, 0).unwrap();
            let _ = decode(&bytes);
        }
    }
}

//! Datapaths: the family `ovs_datapath`.

use super::common::{Command, IfName, Name, OvsHeader};
use crate::attr::Nest;
use crate::attr::structure::{U32 as FieldU32, U64 as FieldU64, structures};
use crate::attr::typed::{Bytes, Numbers, Prefix, U32, U32s, attributes};
use crate::error::{DecodeError, EncodeError};
use crate::message::{Flags, Message};

attributes! {
    /// An attribute of a message about a datapath: see [`Datapath`].
    pub enum DatapathAttr = "ovs_datapath_attr", "OVS_DP_ATTR_" {
        /// See [`Datapath::name`].
        NAME = 1 => Name(IfName as Name),
        /// See [`Datapath::upcall_pid`].
        UPCALL_PID = 2 => UpcallPid(u32 as U32),
        /// See [`Datapath::stats`].
        STATS = 3 => Stats(DatapathStats as Prefix<DatapathStats>),
        /// See [`Datapath::megaflow_stats`].
        MEGAFLOW_STATS = 4 => MegaflowStats(MegaflowStats as Prefix<MegaflowStats>),
        /// See [`Datapath::user_features`].
        USER_FEATURES = 5 => UserFeatures(u32 as U32),
        /// Bytes that mean nothing.
        PAD = 6 => Pad(&'a [u8] as Bytes),
        /// See [`Datapath::masks_cache_size`].
        MASKS_CACHE_SIZE = 7 => MasksCacheSize(u32 as U32),
        /// See [`Datapath::per_cpu_pids`].
        PER_CPU_PIDS = 8 => PerCpuPids(Numbers<'a> as U32s),
        /// See [`Datapath::ifindex`].
        IFINDEX = 9 => Ifindex(u32 as U32),
    }
}

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

structures! {
    /// Packets and flows of a datapath.
    pub struct DatapathStats = "ovs_dp_stats" {
        /// Packets that matched a flow.
        hit: u64 as FieldU64 = "n_hit",
        /// Packets that matched none.
        missed: u64 as FieldU64 = "n_missed",
        /// Packets that matched none and did not reach a socket.
        lost: u64 as FieldU64 = "n_lost",
        /// Flows.
        flows: u64 as FieldU64 = "n_flows",
    }

    /// Masks of a datapath.
    pub struct MegaflowStats = "ovs_dp_megaflow_stats" {
        /// Masks tried in all lookups together.
        mask_hit: u64 as FieldU64 = "n_mask_hit",
        /// Masks.
        masks: u32 as FieldU32 = "n_masks",
        /// Nothing yet.
        pad0: u32 as FieldU32 = "pad0",
        /// Lookups that the mask cache answered.
        cache_hit: u64 as FieldU64 = "n_cache_hit",
        /// Nothing yet.
        pad1: u64 as FieldU64 = "pad1",
    }
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
/// let mut bytes = Vec::new();
/// datapath.encode(&mut bytes, 30, Command::New, Flags::REQUEST | Flags::ACK)?;
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

    /// Appends a message about this datapath to `buffer`. `family` is the number that the controller gave for
    /// [`Datapath::FAMILY`].
    ///
    /// Without [`Flags::ECHO`] the kernel only acknowledges a request that changes something; with it, it answers with
    /// what it made, changed or deleted.
    ///
    /// # Errors
    /// [`EncodeError::AttributeTooLong`] for more than 16,382 [`per_cpu_pids`](Datapath::per_cpu_pids).
    pub fn encode(&self, buffer: &mut Vec<u8>, family: u16, command: Command, flags: Flags) -> Result<(), EncodeError> {
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
        let header = OvsHeader { dp_ifindex: *dp_ifindex };
        header.message(buffer, family, command as u8, Datapath::VERSION, flags, |writer| {
            let attributes = [
                name.map(DatapathAttr::Name),
                upcall_pid.map(DatapathAttr::UpcallPid),
                user_features.map(|features| DatapathAttr::UserFeatures(features.bits())),
                masks_cache_size.map(DatapathAttr::MasksCacheSize),
                ifindex.map(DatapathAttr::Ifindex),
                stats.map(DatapathAttr::Stats),
                megaflow_stats.map(DatapathAttr::MegaflowStats),
            ];
            attributes.into_iter().flatten().try_for_each(|attribute| writer.put(attribute).map(drop))?;
            match per_cpu_pids {
                Some(pids) => writer.u32s(DatapathAttr::PER_CPU_PIDS, pids).map(drop),
                None => Ok(()),
            }
        })
    }

    /// Reads a message of the family.
    ///
    /// # Errors
    /// [`DecodeError`] with the offset of the attribute that is wrong.
    pub fn decode(message: &Message<'_>) -> Result<Datapath, DecodeError> {
        let OvsHeader { dp_ifindex } = OvsHeader::decode(message)?;
        let mut datapath = Datapath { dp_ifindex, ..Datapath::default() };
        for attribute in Nest::of(message, OvsHeader::ATTRIBUTES)? {
            match attribute? {
                DatapathAttr::Name(name) => datapath.name = Some(name),
                DatapathAttr::UpcallPid(pid) => datapath.upcall_pid = Some(pid),
                DatapathAttr::Stats(stats) => datapath.stats = Some(stats),
                DatapathAttr::MegaflowStats(stats) => datapath.megaflow_stats = Some(stats),
                DatapathAttr::UserFeatures(bits) => {
                    datapath.user_features = Some(UserFeatures::from_bits_retain(bits));
                }
                DatapathAttr::MasksCacheSize(size) => datapath.masks_cache_size = Some(size),
                DatapathAttr::PerCpuPids(pids) => datapath.per_cpu_pids = Some(pids.iter().collect()),
                DatapathAttr::Ifindex(ifindex) => datapath.ifindex = Some(ifindex),
                DatapathAttr::Pad(_) | DatapathAttr::Other(_) => {}
            }
        }
        Ok(datapath)
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
            ..MegaflowStats::default()
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
        let mut bytes = Vec::new();
        datapath.encode(&mut bytes, 0x1e, Command::New, Flags::REQUEST).unwrap();
        #[rustfmt::skip]
        let expected = [
            40, 0, 0, 0, 0x1e, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0,
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
            let mut bytes = Vec::new();
            let content = |writer: &mut Writer<'_>| writer.bytes(kind, payload).map(drop);
            header.message(&mut bytes, 30, Command::Get as u8, 2, Flags::empty(), content).unwrap();
            decode(&bytes)
        };
        let wrong = |attribute, expected, found| DecodeErrorKind::WrongSize { attribute, expected, found };
        assert_eq!(
            message(DatapathAttr::STATS, &[0; 31]).unwrap_err(),
            DecodeError::new(28, wrong(DatapathAttr::STATS, 32, 31))
        );
        assert_eq!(
            message(DatapathAttr::PER_CPU_PIDS, &[0; 6]).unwrap_err().kind,
            wrong(DatapathAttr::PER_CPU_PIDS, 4, 6)
        );
        assert_eq!(
            message(DatapathAttr::NAME, b"0123456789abcdef\0").unwrap_err().kind,
            DecodeErrorKind::NotAName { attribute: DatapathAttr::NAME }
        );
        // A structure that grew, and an attribute that is new, are no errors.
        assert_eq!(message(DatapathAttr::STATS, &[0; 40]).unwrap().stats, Some(DatapathStats::default()));
        assert_eq!(message(99, &[1]), Ok(Datapath { dp_ifindex: 1, ..Datapath::default() }));
    }

    proptest! {
        #[test]
        fn decode_inverts_encode(datapath in any_datapath()) {
            let mut bytes = Vec::new();
            datapath.encode(&mut bytes, 30, Command::New, Flags::REQUEST).unwrap();
            prop_assert_eq!(decode(&bytes), Ok(datapath));
        }

        #[test]
        fn random_messages_never_panic(payload in prop::collection::vec(any::<u8>(), 0..96)) {
            let mut bytes = Vec::new();
            Writer::message(&mut bytes, 30, Flags::empty(), |writer| {
                writer.raw(&payload);
                Ok(())
            }).unwrap();
            let _ = decode(&bytes);
        }
    }
}

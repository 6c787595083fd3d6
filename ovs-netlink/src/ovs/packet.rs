//! Packets between the datapath and a program: the family `ovs_packet`.

use super::action::{Action, Actions};
use super::common::OvsHeader;
use super::key::{Key, Keys};
use super::tunnel::TunnelKey;
use crate::attr::Nest;
use crate::attr::typed::{Bytes, Nested, U16, U32, U64, attributes};
use crate::error::{DecodeError, EncodeError};
use crate::generic::GenericHeader;
use crate::message::{Flags, Message};

attributes! {
    /// An attribute of a message about a packet: see [`Packet`].
    pub enum PacketAttr = "ovs_packet_attr", "OVS_PACKET_ATTR_" {
        /// See [`Packet::packet`].
        PACKET = 1 => Packet(&'a [u8] as Bytes),
        /// See [`Packet::key`].
        KEY = 2 => Key(Keys<'a> as Nested<Key<'static>>),
        /// See [`Packet::actions`].
        ACTIONS = 3 => Actions(Actions<'a> as Nested<Action<'static>>),
        /// See [`Packet::userdata`].
        USERDATA = 4 => Userdata(&'a [u8] as Bytes),
        /// See [`Packet::egress_tunnel`].
        EGRESS_TUN_KEY = 5 => EgressTunKey(Nest<'a, TunnelKey<'a>> as Nested<TunnelKey<'static>>),
        /// A number that is not used.
        UNUSED1 = 6 => Unused1(&'a [u8] as Bytes),
        /// A number that is not used.
        UNUSED2 = 7 => Unused2(&'a [u8] as Bytes),
        /// See [`Packet::probe`].
        PROBE = 8 => Probe,
        /// See [`Packet::mru`].
        MRU = 9 => Mru(u16 as U16),
        /// See [`Packet::len`].
        LEN = 10 => Len(u32 as U32),
        /// See [`Packet::hash`].
        HASH = 11 => Hash(u64 as U64),
        /// See [`Packet::upcall_pid`].
        UPCALL_PID = 12 => UpcallPid(u32 as U32),
    }
}

/// What a message about a packet is (`OVS_PACKET_CMD_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum PacketCommand {
    /// From the kernel: the packet matched no flow.
    #[default]
    Miss = 1,
    /// From the kernel: an action sent the packet to a program.
    Action = 2,
    /// To the kernel: do something with the packet.
    Execute = 3,
}

impl PacketCommand {
    /// The command of this number.
    pub fn from_number(number: u8) -> Option<PacketCommand> {
        let all = [PacketCommand::Miss, PacketCommand::Action, PacketCommand::Execute];
        all.into_iter().find(|command| *command as u8 == number)
    }
}

/// Of [`Packet::hash`]: the hash was computed in software.
pub const PACKET_HASH_SW: u64 = 1 << 32;
/// Of [`Packet::hash`]: the hash is over addresses and ports.
pub const PACKET_HASH_L4: u64 = 1 << 33;

/// A packet, with what the datapath knows of it: an upcall, or an order to do something with it. Nothing is copied.
///
/// ```
/// use ovs_netlink::{Flags, Messages, Writer, attr::Nest, ovs::{Action, Key, Packet, PacketCommand}};
///
/// let (mut key, mut actions) = (Vec::new(), Vec::new());
/// Writer::new(&mut key).put(Key::InPort(1))?;
/// Writer::new(&mut actions).put(Action::Output(2))?;
/// let frame = [0; 60];
/// let packet = Packet {
///     dp_ifindex: 5,
///     packet: Some(&frame),
///     key: Some(Nest::new(&key)),
///     actions: Some(Nest::new(&actions)),
///     upcall_pid: Some(4711),
///     ..Packet::default()
/// };
/// let mut bytes = Vec::new();
/// packet.encode(&mut bytes, 33, PacketCommand::Execute, Flags::REQUEST)?;
/// assert_eq!(Packet::decode(&Messages::new(&bytes).next().unwrap()?)?, packet);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Packet<'a> {
    /// The interface index of the datapath's local port.
    pub dp_ifindex: u32,
    /// The packet, from its Ethernet header on; cut off when an action said so.
    pub packet: Option<&'a [u8]>,
    /// What the datapath read of the packet.
    pub key: Option<Keys<'a>>,
    /// To the kernel: what to do. From it: what the flow does, where the action asked for that.
    pub actions: Option<Actions<'a>>,
    /// The bytes that the action has for the program.
    pub userdata: Option<&'a [u8]>,
    /// The tunnel header that the packet would get at the port that the action names.
    pub egress_tunnel: Option<Nest<'a, TunnelKey<'a>>>,
    /// The request only tries what the kernel can do: it is not to complain in its log.
    pub probe: bool,
    /// The longest fragment that the packet was made of, when it was.
    pub mru: Option<u16>,
    /// The bytes that the packet had before it was cut off.
    pub len: Option<u32>,
    /// The kernel's hash of the packet in the lower 32 bits, and what it is over: [`PACKET_HASH_SW`], [`PACKET_HASH_L4`].
    pub hash: Option<u64>,
    /// The socket for upcalls that the order causes, before any other that is set: the one that the packet itself came
    /// through, so that packets of a connection stay in order. Kernels before 6.17 ignore it.
    pub upcall_pid: Option<u32>,
}

impl<'a> Packet<'a> {
    /// The name of the family (`OVS_PACKET_FAMILY`).
    pub const FAMILY: &'static str = "ovs_packet";
    /// The version of the family (`OVS_PACKET_VERSION`).
    pub const VERSION: u8 = 1;

    /// What the message is; nothing for a number that is not known.
    ///
    /// # Errors
    /// [`DecodeError`] when the message is too short to say.
    pub fn command(message: &Message<'_>) -> Result<Option<PacketCommand>, DecodeError> {
        GenericHeader::decode(message).map(|header| PacketCommand::from_number(header.command))
    }

    /// Appends a message about this packet to `buffer`. `family` is the number that the controller gave for
    /// [`Packet::FAMILY`].
    ///
    /// # Errors
    /// [`EncodeError::AttributeTooLong`] for a packet, key or actions that do not fit.
    pub fn encode(
        &self,
        buffer: &mut Vec<u8>,
        family: u16,
        command: PacketCommand,
        flags: Flags,
    ) -> Result<(), EncodeError> {
        let Packet { dp_ifindex, packet, key, actions, userdata, egress_tunnel, probe, mru, len, hash, upcall_pid } =
            *self;
        OvsHeader { dp_ifindex }.message(buffer, family, command as u8, Packet::VERSION, flags, |writer| {
            let attributes = [
                key.map(PacketAttr::Key),
                actions.map(PacketAttr::Actions),
                userdata.map(PacketAttr::Userdata),
                egress_tunnel.map(PacketAttr::EgressTunKey),
                probe.then_some(PacketAttr::Probe),
                mru.map(PacketAttr::Mru),
                len.map(PacketAttr::Len),
                hash.map(PacketAttr::Hash),
                upcall_pid.map(PacketAttr::UpcallPid),
                packet.map(PacketAttr::Packet),
            ];
            attributes.into_iter().flatten().try_for_each(|attribute| writer.put(attribute).map(drop))
        })
    }

    /// Reads a message of the family.
    ///
    /// # Errors
    /// [`DecodeError`] with the offset of the attribute that is wrong. What is in key and actions is not looked at.
    pub fn decode(message: &Message<'a>) -> Result<Packet<'a>, DecodeError> {
        let OvsHeader { dp_ifindex } = OvsHeader::decode(message)?;
        let mut packet = Packet { dp_ifindex, ..Packet::default() };
        for attribute in Nest::of(message, OvsHeader::ATTRIBUTES)? {
            match attribute? {
                PacketAttr::Packet(bytes) => packet.packet = Some(bytes),
                PacketAttr::Key(key) => packet.key = Some(key),
                PacketAttr::Actions(actions) => packet.actions = Some(actions),
                PacketAttr::Userdata(bytes) => packet.userdata = Some(bytes),
                PacketAttr::EgressTunKey(key) => packet.egress_tunnel = Some(key),
                PacketAttr::Probe => packet.probe = true,
                PacketAttr::Mru(mru) => packet.mru = Some(mru),
                PacketAttr::Len(len) => packet.len = Some(len),
                PacketAttr::Hash(hash) => packet.hash = Some(hash),
                PacketAttr::UpcallPid(pid) => packet.upcall_pid = Some(pid),
                PacketAttr::Unused1(_) | PacketAttr::Unused2(_) | PacketAttr::Other(_) => {}
            }
        }
        Ok(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Messages;
    use proptest::option::of;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn decode_inverts_encode(
            (mru, len, hash, upcall_pid, probe) in any::<(Option<u16>, Option<u32>, Option<u64>, Option<u32>, bool)>(),
            bytes in of(prop::collection::vec(any::<u8>(), 0..64)),
            userdata in of(prop::collection::vec(any::<u8>(), 0..16)),
            nest in of(any::<u32>()),
            command in prop::sample::select(vec![PacketCommand::Miss, PacketCommand::Action, PacketCommand::Execute]),
        ) {
            let mut attributes = Vec::new();
            crate::Writer::new(&mut attributes).u32(7, nest.unwrap_or(0));
            let packet = Packet {
                dp_ifindex: 3, probe, mru, len, hash, upcall_pid,
                packet: bytes.as_deref(),
                userdata: userdata.as_deref(),
                key: nest.map(|_| Nest::new(&attributes)),
                actions: nest.map(|_| Nest::new(&attributes)),
                egress_tunnel: nest.map(|_| Nest::new(&attributes)),
            };
            let mut buffer = Vec::new();
            packet.encode(&mut buffer, 33, command, Flags::REQUEST).unwrap();
            let message = Messages::new(&buffer).next().unwrap().unwrap();
            prop_assert_eq!(Packet::command(&message), Ok(Some(command)));
            prop_assert_eq!(Packet::decode(&message), Ok(packet));
        }
    }
}

//! Flows: the family `ovs_flow`.

use super::action::Actions;
use super::common::{Command, OvsHeader};
use super::key::{Key, Keys};
use crate::attr::Nest;
use crate::attr::structure::{U64 as FieldU64, structures};
use crate::attr::typed::{Bytes, Nested, Prefix, U8, U32, U64, attributes};
use crate::error::{DecodeError, EncodeError};
use crate::message::{Flags, Message};
use crate::ovs::Action;

attributes! {
    /// An attribute of a message about a flow: see [`Flow`].
    pub enum FlowAttr = "ovs_flow_attr", "OVS_FLOW_ATTR_" {
        /// See [`Flow::key`].
        KEY = 1 => Key(Keys<'a> as Nested<Key<'static>>),
        /// See [`Flow::actions`].
        ACTIONS = 2 => Actions(Actions<'a> as Nested<Action<'static>>),
        /// See [`Flow::stats`].
        STATS = 3 => Stats(FlowStats as Prefix<FlowStats>),
        /// See [`Flow::tcp_flags`].
        TCP_FLAGS = 4 => TcpFlags(u8 as U8),
        /// See [`Flow::used`].
        USED = 5 => Used(u64 as U64),
        /// See [`Flow::clear`].
        CLEAR = 6 => Clear,
        /// See [`Flow::mask`].
        MASK = 7 => Mask(Keys<'a> as Nested<Key<'static>>),
        /// See [`Flow::probe`].
        PROBE = 8 => Probe,
        /// See [`Flow::ufid`].
        UFID = 9 => Ufid(&'a [u8] as Bytes<1, 16>),
        /// See [`Flow::ufid_flags`].
        UFID_FLAGS = 10 => UfidFlags(u32 as U32),
        /// Bytes that mean nothing.
        PAD = 11 => Pad(&'a [u8] as Bytes),
    }
}

structures! {
    /// Packets of a flow, a meter or a band.
    pub struct FlowStats = "ovs_flow_stats" {
        /// Packets.
        packets: u64 as FieldU64 = "n_packets",
        /// Bytes.
        bytes: u64 as FieldU64 = "n_bytes",
    }
}

bitflags::bitflags! {
    /// What an answer about a flow with an identifier leaves out (`OVS_UFID_F_*`). All three make a dump terse.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct UfidFlags: u32 {
        /// The key.
        const OMIT_KEY = 1;
        /// The mask.
        const OMIT_MASK = 2;
        /// The actions.
        const OMIT_ACTIONS = 4;
        /// Other bits are kept as they are.
        const _ = !0;
    }
}

/// A flow, or what a request says of one. Key, mask and actions are attributes that nobody has walked yet; a value is made
/// of a message, and a message of it, without allocating.
///
/// ```
/// use ovs_netlink::{Flags, Messages, Writer, attr::Nest, ovs::{Action, Command, Flow, Key}};
///
/// let (mut key, mut actions) = (Vec::new(), Vec::new());
/// Writer::new(&mut key).put(Key::InPort(1))?.put(Key::Ethertype(0x86dd))?;
/// Writer::new(&mut actions).put(Action::Output(2))?;
/// let flow = Flow {
///     dp_ifindex: 5,
///     key: Some(Nest::new(&key)),
///     actions: Some(Nest::new(&actions)),
///     ufid: Some(&[7; 16]),
///     ..Flow::default()
/// };
/// let mut bytes = Vec::new();
/// flow.encode(&mut bytes, 32, Command::New, Flags::REQUEST | Flags::ACK | Flags::CREATE)?;
/// assert_eq!(Flow::decode(&Messages::new(&bytes).next().unwrap()?)?, flow);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flow<'a> {
    /// The interface index of the datapath's local port.
    pub dp_ifindex: u32,
    /// What the flow matches.
    pub key: Option<Keys<'a>>,
    /// Which bits of the key it matches; all of them when there is no mask.
    pub mask: Option<Keys<'a>>,
    /// What is done with packets; an empty list drops them.
    pub actions: Option<Actions<'a>>,
    /// Packets, when there were some.
    pub stats: Option<FlowStats>,
    /// The TCP flags of all packets together.
    pub tcp_flags: Option<u8>,
    /// When the last packet came: milliseconds of the kernel's monotonic clock.
    pub used: Option<u64>,
    /// In a SET request: forget what was counted.
    pub clear: bool,
    /// The request only tries what the kernel can do: it is not to complain in its log.
    pub probe: bool,
    /// The identifier: 1 to 16 bytes.
    pub ufid: Option<&'a [u8]>,
    /// What the answer leaves out.
    pub ufid_flags: Option<UfidFlags>,
}

impl<'a> Flow<'a> {
    /// The name of the family (`OVS_FLOW_FAMILY`), and of its multicast group.
    pub const FAMILY: &'static str = "ovs_flow";
    /// The version of the family (`OVS_FLOW_VERSION`).
    pub const VERSION: u8 = 1;

    /// Appends a message about this flow to `buffer`. `family` is the number that the controller gave for
    /// [`Flow::FAMILY`].
    ///
    /// To write key, mask and actions in place instead, see [`OvsHeader::message`].
    ///
    /// # Errors
    /// [`EncodeError::AttributeTooLong`] for a key, a mask or actions that do not fit, [`EncodeError::WrongSize`] for an
    /// identifier of none or more than 16 bytes.
    pub fn encode(&self, buffer: &mut Vec<u8>, family: u16, command: Command, flags: Flags) -> Result<(), EncodeError> {
        let Flow { dp_ifindex, key, mask, actions, stats, tcp_flags, used, clear, probe, ufid, ufid_flags } = *self;
        OvsHeader { dp_ifindex }.message(buffer, family, command as u8, Flow::VERSION, flags, |writer| {
            let attributes = [
                ufid.map(FlowAttr::Ufid),
                ufid_flags.map(|flags| FlowAttr::UfidFlags(flags.bits())),
                probe.then_some(FlowAttr::Probe),
                clear.then_some(FlowAttr::Clear),
                stats.map(FlowAttr::Stats),
                tcp_flags.map(FlowAttr::TcpFlags),
                used.map(FlowAttr::Used),
                key.map(FlowAttr::Key),
                mask.map(FlowAttr::Mask),
                actions.map(FlowAttr::Actions),
            ];
            attributes.into_iter().flatten().try_for_each(|attribute| writer.put(attribute).map(drop))
        })
    }

    /// Reads a message of the family.
    ///
    /// # Errors
    /// [`DecodeError`] with the offset of the attribute that is wrong. What is in key, mask and actions is not looked at.
    pub fn decode(message: &Message<'a>) -> Result<Flow<'a>, DecodeError> {
        let OvsHeader { dp_ifindex } = OvsHeader::decode(message)?;
        let mut flow = Flow { dp_ifindex, ..Flow::default() };
        for attribute in Nest::of(message, OvsHeader::ATTRIBUTES)? {
            match attribute? {
                FlowAttr::Key(key) => flow.key = Some(key),
                FlowAttr::Actions(actions) => flow.actions = Some(actions),
                FlowAttr::Stats(stats) => flow.stats = Some(stats),
                FlowAttr::TcpFlags(flags) => flow.tcp_flags = Some(flags),
                FlowAttr::Used(used) => flow.used = Some(used),
                FlowAttr::Clear => flow.clear = true,
                FlowAttr::Mask(mask) => flow.mask = Some(mask),
                FlowAttr::Probe => flow.probe = true,
                FlowAttr::Ufid(ufid) => flow.ufid = Some(ufid),
                FlowAttr::UfidFlags(bits) => flow.ufid_flags = Some(UfidFlags::from_bits_retain(bits)),
                FlowAttr::Pad(_) | FlowAttr::Other(_) => {}
            }
        }
        Ok(flow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attr::Writer;
    use crate::error::DecodeErrorKind;
    use crate::message::Messages;
    use proptest::option::of;
    use proptest::prelude::*;

    fn attributes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec((0u16..40, prop::collection::vec(any::<u8>(), 0..20)), 0..5).prop_map(|list| {
            let mut bytes = Vec::new();
            let mut writer = Writer::new(&mut bytes);
            for (kind, payload) in &list {
                writer.bytes(*kind, payload).unwrap();
            }
            bytes
        })
    }

    #[test]
    fn an_identifier_has_1_to_16_bytes() {
        for (length, good) in [(0, false), (1, true), (16, true), (17, false)] {
            let ufid = vec![1; length];
            let mut bytes = Vec::new();
            let flow = Flow { ufid: Some(&ufid), ..Flow::default() };
            assert_eq!(flow.encode(&mut bytes, 32, Command::Get, Flags::empty()).is_ok(), good);
            let content = |writer: &mut Writer<'_>| writer.bytes(FlowAttr::UFID, &ufid).map(drop);
            bytes.clear();
            OvsHeader::default().message(&mut bytes, 32, 1, 1, Flags::empty(), content).unwrap();
            let decoded = Flow::decode(&Messages::new(&bytes).next().unwrap().unwrap());
            let expected = if length == 0 { 1 } else { 16 };
            let wrong = DecodeErrorKind::WrongSize { attribute: FlowAttr::UFID, expected, found: length };
            assert_eq!(decoded.map(|_| ()).map_err(|error| error.kind), if good { Ok(()) } else { Err(wrong) });
        }
    }

    proptest! {
        #[test]
        fn decode_inverts_encode(
            (key, mask, actions) in (of(attributes()), of(attributes()), of(attributes())),
            (packets, bytes, used) in any::<(u64, u64, Option<u64>)>(),
            (dp_ifindex, tcp_flags, ufid_flags) in any::<(u32, Option<u8>, Option<u32>)>(),
            (clear, probe) in any::<(bool, bool)>(),
            ufid in of(prop::collection::vec(any::<u8>(), 1..17)),
        ) {
            let flow = Flow {
                dp_ifindex, tcp_flags, clear, probe, used,
                key: key.as_deref().map(Nest::new),
                mask: mask.as_deref().map(Nest::new),
                actions: actions.as_deref().map(Nest::new),
                stats: used.map(|_| FlowStats { packets, bytes }),
                ufid: ufid.as_deref(),
                ufid_flags: ufid_flags.map(UfidFlags::from_bits_retain),
            };
            let mut buffer = Vec::new();
            flow.encode(&mut buffer, 32, Command::New, Flags::REQUEST).unwrap();
            prop_assert_eq!(Flow::decode(&Messages::new(&buffer).next().unwrap().unwrap()), Ok(flow));
        }
    }
}

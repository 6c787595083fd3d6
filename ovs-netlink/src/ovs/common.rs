//! What the families of the openvswitch module share.

use std::fmt;

use byteorder::{ByteOrder, NativeEndian};

use crate::attr::typed::Codec;
use crate::attr::{Attribute, Type, Writer};
use crate::error::{DecodeError, DecodeErrorKind, EncodeError};
use crate::generic::GenericHeader;
use crate::message::{Flags, Message};

/// What a message asks for, or says has happened (`OVS_DP_CMD_*`, `OVS_VPORT_CMD_*`, `OVS_FLOW_CMD_*`: the same numbers).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Command {
    /// Make; in an answer: made, or this is how it is.
    New = 1,
    /// Delete.
    Delete = 2,
    /// Show one, or with [`Flags::DUMP`] all.
    Get = 3,
    /// Change.
    Set = 4,
}

impl Command {
    /// The command of this number.
    pub fn from_number(number: u8) -> Option<Command> {
        [Command::New, Command::Delete, Command::Get, Command::Set].into_iter().find(|command| *command as u8 == number)
    }
}

/// The header that the families of the module share (`struct ovs_header`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OvsHeader {
    /// The interface index of the datapath's local port; 0 when the message names the datapath in another way.
    pub dp_ifindex: u32,
}

impl OvsHeader {
    /// The size of the header.
    pub const SIZE: usize = 4;

    /// Where the attributes of a message begin in its payload.
    pub(crate) const ATTRIBUTES: usize = GenericHeader::SIZE + OvsHeader::SIZE;

    /// The header of `message`, after the generic one.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`].
    pub fn decode(message: &Message<'_>) -> Result<OvsHeader, DecodeError> {
        GenericHeader::decode(message)?;
        Ok(OvsHeader { dp_ifindex: NativeEndian::read_u32(message.fixed::<4>(GenericHeader::SIZE)?) })
    }

    /// The bytes of the header.
    pub fn encode(&self) -> [u8; OvsHeader::SIZE] {
        self.dp_ifindex.to_ne_bytes()
    }

    /// Appends a message with the three headers to `buffer`; `content` writes the attributes, in one pass.
    ///
    /// ```
    /// use ovs_netlink::{Flags, Messages, ovs::{Action, Command, Flow, FlowAttr, Key, OvsHeader}};
    ///
    /// let mut buffer = Vec::new();
    /// let header = OvsHeader { dp_ifindex: 5 };
    /// header.message(&mut buffer, 32, Command::New as u8, Flow::VERSION, Flags::REQUEST, |flow| {
    ///     flow.nest(FlowAttr::KEY, |key| key.put(Key::InPort(1))?.put(Key::Ethertype(0x0806)).map(drop))?;
    ///     flow.nest(FlowAttr::ACTIONS, |actions| actions.put(Action::Output(2)).map(drop)).map(drop)
    /// })?;
    /// let flow = Flow::decode(&Messages::new(&buffer).next().unwrap()?)?;
    /// assert_eq!(flow.actions.unwrap().iter().next(), Some(Ok(Action::Output(2))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// What `content` fails with; `buffer` is then as it was.
    pub fn message(
        &self,
        buffer: &mut Vec<u8>,
        family: u16,
        command: u8,
        version: u8,
        flags: Flags,
        content: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        Writer::message(buffer, family, flags, |message| {
            message.raw(&GenericHeader { command, version }.encode()).raw(&self.encode());
            content(message)
        })
    }
}

/// The name of a network device: 1 to 15 bytes (`IFNAMSIZ` with its NUL), usually text, none of them NUL.
///
/// Linux does not ask names to be UTF-8, so a name is bytes here; otherwise one oddly named port would make a dump of all
/// ports fail.
///
/// ```
/// use ovs_netlink::ovs::IfName;
///
/// let name: IfName = "br0".parse()?;
/// assert_eq!(name.to_string(), "br0");
/// assert!("much-too-long-a-name".parse::<IfName>().is_err());
/// # Ok::<(), ovs_netlink::ovs::NameError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfName {
    /// Padded with NULs, of which there is at least one.
    bytes: [u8; 16],
}

/// Bytes that cannot be the name of a network device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name of a network device has 1 to 15 bytes, none of them NUL")]
pub struct NameError;

impl IfName {
    /// The name `name`.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn new(name: &[u8]) -> Result<IfName, NameError> {
        let mut bytes = [0; 16];
        match bytes.get_mut(..name.len()) {
            Some(place) if !name.is_empty() && name.len() < 16 && !name.contains(&0) => place.copy_from_slice(name),
            _ => return Err(NameError),
        }
        Ok(IfName { bytes })
    }

    /// The bytes of the name.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

/// A name as the payload of an attribute.
pub(crate) struct Name;

impl Codec for Name {
    type Value<'a> = IfName;
    const TYPE: Type = Type::Text;

    fn read<'a>(attribute: &Attribute<'a>) -> Result<IfName, DecodeError> {
        let error = |NameError| attribute.error(DecodeErrorKind::NotAName { attribute: attribute.kind() });
        IfName::new(attribute.str_bytes()?).map_err(error)
    }

    fn write(value: &IfName, kind: u16, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.text(kind, value.as_bytes()).map(drop)
    }
}

impl std::str::FromStr for IfName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<IfName, NameError> {
        IfName::new(name.as_bytes())
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(self.as_bytes()).fmt(f)
    }
}

impl fmt::Debug for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(self.as_bytes()), f)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn any_name() -> impl Strategy<Value = IfName> {
        prop::collection::vec(1u8.., 1..16).prop_map(|bytes| IfName::new(&bytes).unwrap())
    }

    #[test]
    fn names_have_1_to_15_bytes() {
        for bad in [&b""[..], b"0123456789abcdef", b"a\0b"] {
            assert_eq!(IfName::new(bad), Err(NameError));
        }
        assert_eq!(IfName::new(b"0123456789abcde").unwrap().as_bytes().len(), 15);
        assert_eq!(format!("{:?}", IfName::new(b"br\xff").unwrap()), "\"br\u{fffd}\"");
    }
}

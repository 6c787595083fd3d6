//! Generic netlink: the header that all its families share (`linux/genetlink.h`: `struct genlmsghdr`), and the controller
//! family, which knows the others by name.

use crate::attr::{Attribute, Attributes, Writer};
use crate::error::{DecodeError, DecodeErrorKind, EncodeError};
use crate::message::{Flags, Message};

/// The header of a generic netlink message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenericHeader {
    /// What the message asks or says, in the terms of the family.
    pub command: u8,
    /// The version of the family that the sender speaks.
    pub version: u8,
}

impl GenericHeader {
    /// The size of the header.
    pub const SIZE: usize = 4;

    /// The header at the start of the payload of `message`.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Truncated`].
    pub fn decode(message: &Message<'_>) -> Result<GenericHeader, DecodeError> {
        let [command, version, _, _] = *message.fixed(0)?;
        Ok(GenericHeader { command, version })
    }

    /// The bytes of the header.
    pub fn encode(&self) -> [u8; GenericHeader::SIZE] {
        [self.command, self.version, 0, 0]
    }
}

/// The number of the controller family itself (`GENL_ID_CTRL`).
pub const CONTROLLER: u16 = 16;

const CMD_NEW_FAMILY: u8 = 1;
const CMD_GET_FAMILY: u8 = 3;
const ATTR_ID: u16 = 1;
const ATTR_NAME: u16 = 2;
const ATTR_VERSION: u16 = 3;
const ATTR_HEADER_SIZE: u16 = 4;
const ATTR_MAX_ATTRIBUTE: u16 = 5;
const ATTR_GROUPS: u16 = 7;
const GROUP_NAME: u16 = 1;
const GROUP_ID: u16 = 2;

/// A multicast group of a family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MulticastGroup {
    /// The name.
    pub name: String,
    /// The number to join.
    pub id: u32,
}

/// A generic netlink family, as the controller describes it.
///
/// ```
/// use ovs_netlink::{Family, Flags, Messages};
///
/// let family = Family { id: 30, name: "ovs_datapath".into(), version: 2, header_size: 4, max_attribute: 9, groups: vec![] };
/// let mut bytes = Vec::new();
/// family.encode(&mut bytes, Flags::empty())?;
/// assert_eq!(Family::decode(&Messages::new(&bytes).next().unwrap()?)?, family);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// The type of the messages of the family, until the kernel module is loaded anew.
    pub id: u16,
    /// The name.
    pub name: String,
    /// The version.
    pub version: u32,
    /// The bytes of the family's own header, after the generic one.
    pub header_size: u32,
    /// The highest type of attribute that the family knows.
    pub max_attribute: u32,
    /// The multicast groups.
    pub groups: Vec<MulticastGroup>,
}

impl Family {
    /// Appends the request for the family called `name` to `buffer`; for all families when there is no name.
    ///
    /// # Errors
    /// [`EncodeError`] for a name that no family can have.
    pub fn request(buffer: &mut Vec<u8>, name: Option<&str>) -> Result<(), EncodeError> {
        Writer::message(buffer, CONTROLLER, Flags::REQUEST | Flags::ACK, |writer| {
            writer.raw(&GenericHeader { command: CMD_GET_FAMILY, version: 1 }.encode());
            name.map_or(Ok(()), |name| writer.str(ATTR_NAME, name).map(drop))
        })
    }

    /// The name in a request that [`Family::request`] wrote; nothing in one for all families.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn requested<'a>(message: &Message<'a>) -> Result<Option<&'a str>, DecodeError> {
        let named = message.attributes(GenericHeader::SIZE)?.find(|attribute| match attribute {
            Ok(attribute) => attribute.kind() == ATTR_NAME,
            Err(_) => true,
        });
        named.map(|attribute| attribute?.str()).transpose()
    }

    /// Appends the answer that describes this family to `buffer`.
    ///
    /// # Errors
    /// [`EncodeError`] for names and lists that do not fit.
    pub fn encode(&self, buffer: &mut Vec<u8>, flags: Flags) -> Result<(), EncodeError> {
        Writer::message(buffer, CONTROLLER, flags, |writer| self.write(writer))
    }

    fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.raw(&GenericHeader { command: CMD_NEW_FAMILY, version: 2 }.encode());
        writer.str(ATTR_NAME, &self.name)?.u16(ATTR_ID, self.id).u32(ATTR_VERSION, self.version);
        writer.u32(ATTR_HEADER_SIZE, self.header_size).u32(ATTR_MAX_ATTRIBUTE, self.max_attribute);
        if !self.groups.is_empty() {
            writer.nest(ATTR_GROUPS, |groups| {
                (1..).zip(&self.groups).try_for_each(|(number, group)| {
                    let write =
                        |one: &mut Writer<'_>| one.u32(GROUP_ID, group.id).str(GROUP_NAME, &group.name).map(drop);
                    groups.nest(number, write).map(drop)
                })
            })?;
        }
        Ok(())
    }

    /// Reads the answer to [`Family::request`]. Attributes that are not of interest here are skipped.
    ///
    /// # Errors
    /// [`DecodeError`], also when number or name are missing.
    pub fn decode(message: &Message<'_>) -> Result<Family, DecodeError> {
        GenericHeader::decode(message)?;
        let (mut id, mut name, mut groups) = (None, None, Vec::new());
        let (mut version, mut header_size, mut max_attribute) = (0, 0, 0);
        for attribute in message.attributes(GenericHeader::SIZE)? {
            let attribute = attribute?;
            match attribute.kind() {
                ATTR_ID => id = Some(attribute.u16()?),
                ATTR_NAME => name = Some(attribute.str()?.to_owned()),
                ATTR_VERSION => version = attribute.u32()?,
                ATTR_HEADER_SIZE => header_size = attribute.u32()?,
                ATTR_MAX_ATTRIBUTE => max_attribute = attribute.u32()?,
                ATTR_GROUPS => {
                    groups = attribute.nested()?.map(|group| group_from(&group?)).collect::<Result<_, _>>()?
                }
                _ => {}
            }
        }
        let missing = |attribute| DecodeError::new(message.offset(), DecodeErrorKind::Missing { attribute });
        let (id, name) = (id.ok_or_else(|| missing(ATTR_ID))?, name.ok_or_else(|| missing(ATTR_NAME))?);
        Ok(Family { id, name, version, header_size, max_attribute, groups })
    }

    /// The number of the multicast group called `name`.
    pub fn group(&self, name: &str) -> Option<u32> {
        self.groups.iter().find(|group| group.name == name).map(|group| group.id)
    }
}

fn group_from(attribute: &Attribute<'_>) -> Result<MulticastGroup, DecodeError> {
    let (mut name, mut id) = (None, None);
    let attributes: Attributes<'_> = attribute.nested()?;
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.kind() {
            GROUP_NAME => name = Some(attribute.str()?.to_owned()),
            GROUP_ID => id = Some(attribute.u32()?),
            _ => {}
        }
    }
    let missing = |attribute_kind| attribute.error(DecodeErrorKind::Missing { attribute: attribute_kind });
    Ok(MulticastGroup { name: name.ok_or_else(|| missing(GROUP_NAME))?, id: id.ok_or_else(|| missing(GROUP_ID))? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Messages;
    use proptest::prelude::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn bytes_of_a_request() {
        let mut bytes = Vec::new();
        Family::request(&mut bytes, Some("nlctrl")).unwrap();
        #[rustfmt::skip]
        let expected = [
            32, 0, 0, 0, 16, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            3, 1, 0, 0,
            11, 0, 2, 0, b'n', b'l', b'c', b't', b'r', b'l', 0, 0,
        ];
        assert_eq!(bytes, expected);
        let message = Messages::new(&bytes).next().unwrap().unwrap();
        assert_eq!(Family::requested(&message), Ok(Some("nlctrl")));
    }

    #[test]
    fn an_answer_without_a_number_is_refused() {
        let mut bytes = Vec::new();
        let content = |writer: &mut Writer<'_>| writer.raw(&[1, 2, 0, 0]).str(ATTR_NAME, "x").map(drop);
        Writer::message(&mut bytes, CONTROLLER, Flags::empty(), content).unwrap();
        let error = Family::decode(&Messages::new(&bytes).next().unwrap().unwrap()).unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::Missing { attribute: ATTR_ID });
    }

    proptest! {
        #[test]
        fn decode_inverts_encode(
            (id, version, header_size, max_attribute) in any::<(u16, u32, u32, u32)>(),
            name in "[a-z_]{1,15}",
            groups in prop::collection::vec(("[a-z]{1,15}", any::<u32>()), 0..4),
        ) {
            let groups = groups.into_iter().map(|(name, id)| MulticastGroup { name, id }).collect();
            let family = Family { id, name, version, header_size, max_attribute, groups };
            let mut bytes = Vec::new();
            family.encode(&mut bytes, Flags::empty()).unwrap();
            prop_assert_eq!(Family::decode(&Messages::new(&bytes).next().unwrap().unwrap()), Ok(family));
        }

        #[test]
        fn random_answers_never_panic(payload in prop::collection::vec(any::<u8>(), 0..96)) {
            let mut bytes = Vec::new();
            Writer::message(&mut bytes, CONTROLLER, Flags::empty(), |writer| {
                writer.raw(&payload);
                Ok(())
            }).unwrap();
            let _ = Family::decode(&Messages::new(&bytes).next().unwrap().unwrap());
        }
    }
}

//! Messages, flows, actions and matches in JSON, or whatever else `serde` writes that describes itself.
//!
//! There is no second model: the types of [`codec`](crate::codec), [`FlowMod`](crate::FlowMod), [`Action`](crate::Action)
//! and all that they consist of are `Serialize` and `Deserialize` themselves, both ways without loss. [`Document`] is a
//! message with what its header says:
//!
//! ```
//! use ovs_ofproto::FlowMod;
//! use ovs_ofproto::codec::{Message, Version};
//! use ovs_ofproto::json::Document;
//!
//! let flow: FlowMod = "table=1,priority=10,tcp,nw_dst=10.0.0.0/8,actions=set_field:5->reg0,output:2".parse()?;
//! let bytes = Message::from(flow).encode(Version::V1_3, 7)?;
//! let document = Document::of_bytes(&bytes)?;
//! let json = serde_json::to_value(&document)?;
//! assert_eq!(json["version"], "OpenFlow13");
//! assert_eq!(json["kind"], "OFPT_FLOW_MOD");
//! assert_eq!(json["type"], "flow_mod");
//! assert_eq!(json["body"]["match"]["ip_dst"]["mask"], "255.0.0.0");
//! assert_eq!(json["body"]["instructions"]["apply_actions"][1]["output"]["port"], 2);
//! assert_eq!(serde_json::from_value::<Document>(json)?.encode()?, bytes);
//!
//! let flow: FlowMod = serde_json::from_str(r#"{"match": {"in_port": 1}, "instructions": {"goto_table": 2}}"#)?;
//! assert_eq!(flow.to_string(), "in_port=1 actions=goto_table:2");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Shapes
//!
//! | what | JSON |
//! |---|---|
//! | message | `{"version": "OpenFlow13", "xid": 7, "kind": "OFPT_FLOW_MOD", "type": "flow_mod", "body": ..}`; `kind` is the name in the specification, of several that say the same; without it, the standard one. What has no body has no `body` |
//! | members | named as in the specification, without prefix, in its order where it has one; what is read may lack what has a default |
//! | match | an object of fields: `{"eth_type": "0x800", "ip_src": {"value": "10.0.0.0", "mask": "255.0.0.0"}, "tcp_dst": 80}`, as [`Match`](ovs_packet::Match) has it |
//! | actions | a list; an action without arguments is its name, as `"dec_ttl"`, another an object of one member: `{"output": {"port": 2, "max_len": 65535}}`, `{"set_field": {"reg0": "0x5"}}`, `{"clone": [..]}`, nested as they are |
//! | instructions | `{"meter": .., "apply_actions": [..], "clear_actions": false, "write_actions": [..], "write_metadata": {"value": .., "mask": ..}, "goto_table": 3}` |
//! | ports | a number, or the name of a reserved one: `"LOCAL"` |
//! | one of several | its name, as `"select"`; a number where it has none |
//! | flags | a list of names: `["kbps", "stats"]`; what has no name stands last, in hexadecimal |
//! | bits that a version numbers in its own way (features of ports, abilities of tables) | a list of the numbers of the bits |
//! | cookies, marks and what else is bits, not a number | a text in hexadecimal with `0x`; read from a number too |
//! | packets and other bytes | a text of two digits a byte |
//! | counters | a number; null for one that is not kept |
//! | durations | `{"sec": 1, "nsec": 500000000}` |
//! | replies of many parts | `{"more": false, "items": [..]}` (flows: `"flows"`) |
//! | messages within messages (bundles, forwarded requests) | a message, or its bytes |
//! | errors | a name, as `"OFPBRC_BAD_TYPE"`, or `{"experimenter": .., "type": .., "code": ..}` |
//!
//! Whether a message makes sense is not asked when it is read; [`Document::encode`] refuses what its version cannot say,
//! and [`check_flow`](crate::codec::check_flow) actions that do not fit what their flow matches.

pub(crate) mod form;
mod names;

use std::borrow::Cow;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec::{DecodeError, EncodeError, ErrorNumber, Kind, Message, OfError, Version};

/// A message with what its header says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "Read")]
#[non_exhaustive]
pub struct Document {
    /// The version in which it says it.
    #[serde(serialize_with = "write_version")]
    pub version: Version,
    /// Its transaction id.
    pub xid: u32,
    /// Which message of the version it is, where several say the same. None, or that of an experimenter whose
    /// messages are not known: whichever [`Message::encode`] chooses.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "write_kind")]
    pub kind: Option<Kind>,
    /// What it says.
    #[serde(flatten)]
    pub message: Message,
}

/// A document as it is read: kinds of several versions share names.
#[derive(Deserialize)]
struct Read {
    version: VersionName,
    #[serde(default)]
    xid: u32,
    #[serde(default)]
    kind: Option<String>,
    #[serde(flatten)]
    message: Message,
}

impl TryFrom<Read> for Document {
    type Error = String;

    fn try_from(Read { version, xid, kind, message }: Read) -> Result<Document, String> {
        let is = |name: &str| {
            let mut kinds = Kind::all().filter(|k| k.name() == name && k.is_in(version.0));
            let kind = kinds.find(|k| message.says() == Some(k.of()));
            kind.ok_or_else(|| format!("{name} is no message of this version and type"))
        };
        let kind = kind.as_deref().map(is).transpose()?;
        Ok(Document { version: version.0, xid, kind, message })
    }
}

fn write_version<S: Serializer>(version: &Version, s: S) -> Result<S::Ok, S::Error> {
    VersionName(*version).serialize(s)
}

fn write_kind<S: Serializer>(kind: &Option<Kind>, s: S) -> Result<S::Ok, S::Error> {
    kind.map(Kind::name).serialize(s)
}

impl Document {
    /// A message in a version, of the kind that [`Message::encode`] chooses.
    pub fn new(version: Version, xid: u32, message: Message) -> Document {
        Document { version, xid, kind: None, message }
    }

    /// The message that `bytes` are.
    ///
    /// # Errors
    /// Those of [`Message::decode`].
    pub fn of_bytes(bytes: &[u8]) -> Result<Document, DecodeError> {
        let (header, message) = Message::decode(bytes)?;
        let kind = Kind::of_bytes(bytes).ok().filter(|kind| message.says() == Some(kind.of()));
        Ok(Document { version: header.version, xid: header.xid, kind, message })
    }

    /// The message as bytes.
    ///
    /// # Errors
    /// Those of [`Message::encode_as`], or that the version has no message of the kind.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        match self.kind {
            None => self.message.encode(self.version, self.xid),
            Some(kind) if kind.is_in(self.version) => self.message.encode_as(kind, self.version, self.xid),
            Some(_) => Err(EncodeError::NotInVersion { version: self.version.0, what: "a message of this kind" }),
        }
    }
}

/// A version by the name that options have for it, or as `0x07` if it has none.
pub(crate) struct VersionName(Version);

impl Serialize for VersionName {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.0.minor() {
            Some(minor) => s.collect_str(&format_args!("OpenFlow1{minor}")),
            None => s.collect_str(&format_args!("{:#04x}", self.0.0)),
        }
    }
}

impl<'de> Deserialize<'de> for VersionName {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<VersionName, D::Error> {
        let text = Cow::<str>::deserialize(d)?;
        let number = || ovs_packet::text::number(&text).and_then(|n| u8::try_from(n).ok()).map(Version);
        let version = Version::by_name(&text).or_else(number);
        version
            .map(VersionName)
            .ok_or_else(|| D::Error::custom(format_args!("{text} is no version such as OpenFlow13")))
    }
}

impl Serialize for OfError {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            OfError::Other(number) => number.serialize(s),
            named => s.serialize_str(named.name().unwrap_or_default()),
        }
    }
}

impl<'de> Deserialize<'de> for OfError {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<OfError, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum NameOrNumber {
            Name(String),
            Number(ErrorNumber),
        }

        match NameOrNumber::deserialize(d)? {
            NameOrNumber::Number(number) => Ok(OfError::Other(number)),
            NameOrNumber::Name(name) => {
                OfError::by_name(&name).ok_or_else(|| D::Error::custom(format_args!("{name} is no error")))
            }
        }
    }
}

#[cfg(test)]
mod tests;

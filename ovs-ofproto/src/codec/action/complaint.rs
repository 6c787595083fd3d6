//! What a log says of a list of actions that is refused: a line that names the action, where upstream's log has one, and
//! the bytes of the list.
//!
//! It is found by looking again at the place of the error, so that whoever keeps no log pays nothing for it.

use ovs_packet::field::FieldId;

use super::decode::{Outer, decode_within, field_of};
use super::{Code, EXPERIMENTER, Encoding, NX, ONF, encoding_of};
use crate::codec::cursor::Reader;
use crate::codec::error::{DecodeError, OfError};
use crate::codec::header::Version;
use crate::codec::oxm;
use crate::dump::plain_dump;

/// The longest action that is a multiple of 8 bytes long.
const LONGEST: usize = 0xfff8;

/// A line for a log about a list of actions that is refused. [`Action::complaints`](crate::Action::complaints) makes it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Complaint {
    /// The module of upstream's that speaks: `ofp_actions` or `meta_flow`.
    pub module: &'static str,
    /// What is wrong.
    pub says: String,
    /// Whether each action by itself can be read, and it is where they stand that is wrong.
    pub misplaced: bool,
}

impl Complaint {
    /// All that is to be said of the `error` that a list met, in order.
    pub(in crate::codec) fn all(bytes: &[u8], version: Version, error: &DecodeError) -> Vec<Complaint> {
        let named = Complaint::of(bytes, version, error);
        let dump = match &named {
            Some(line) if line.misplaced => None,
            _ => Some(Complaint { module: "ofp_actions", says: dump(bytes, error), misplaced: false }),
        };
        named.into_iter().chain(dump).collect()
    }

    /// The line that names the action.
    fn of(bytes: &[u8], version: Version, error: &DecodeError) -> Option<Complaint> {
        let rest = list_at(bytes, error.at, version)?;
        let head = Head::of(rest, version)?;
        let line = |module, says, misplaced| Some(Complaint { module, says, misplaced });
        match error.error {
            OfError::BadActionBadLength => line("ofp_actions", head.wrong_length(rest.len())?, false),
            OfError::BadActionBadSetArgument | OfError::BadActionBadArgument | OfError::BadActionUnsupportedOrder => {
                let action = rest.get(..head.len)?;
                if let Some(says) = head.misplaced(action, version) {
                    return line("ofp_actions", says, true);
                }
                let (module, field) = head.target(action)?;
                if field.info().writable {
                    return None;
                }
                line(module, format!("destination field {} is not writable", field.info().name), false)
            }
            _ => None,
        }
    }
}

/// What an action begins with.
struct Head {
    len: usize,
    vendor: u32,
    encoding: Encoding,
}

impl Head {
    fn of(rest: &[u8], version: Version) -> Option<Head> {
        let mut r = Reader::new(rest);
        let (kind, len) = (r.u16().ok()?, r.u16().ok()?.into());
        let (vendor, number) = match kind {
            EXPERIMENTER => (r.u32().ok()?, r.u16().ok()?),
            kind => (0, kind),
        };
        Some(Head { len, vendor, encoding: encoding_of(vendor, number, version)? })
    }

    /// What is wrong with the length, in a list of which `left` bytes are left.
    fn wrong_length(&self, left: usize) -> Option<String> {
        let (name, len, min) = (self.name(), self.len, usize::from(self.encoding.min));
        let max = if self.encoding.more { LONGEST } else { min };
        match len {
            _ if len > left => Some(format!("OpenFlow action {name} length {len} exceeds action buffer length {left}")),
            _ if len < min || len > max => {
                Some(format!("OpenFlow action {name} length {len} not in valid range [{min},{max}]"))
            }
            _ if !len.is_multiple_of(8) => Some(format!("OpenFlow action {name} length {len} is not a multiple of 8")),
            _ => None,
        }
    }

    /// The name of the encoding in upstream's headers: the table's, without what tells versions apart.
    fn name(&self) -> String {
        let table = format!("{:?}", self.encoding.code);
        let words = table.strip_prefix("Nx").or(table.strip_prefix("Onf")).unwrap_or(&table);
        let mut name = String::from(match self.vendor {
            NX => "NXAST",
            ONF => "ONFACT",
            _ => "OFPAT",
        });
        // Nicira's second and third forms keep their numbers.
        let numbered = if self.vendor == NX { words } else { words.trim_end_matches(|c: char| c.is_ascii_digit()) };
        for c in numbered.chars() {
            if c.is_ascii_uppercase() {
                name.push('_');
            }
            name.push(c.to_ascii_uppercase());
        }
        name
    }

    /// Why the `action`, or one in a `ct`, may not stand where it does.
    fn misplaced(&self, action: &[u8], version: Version) -> Option<String> {
        let mut found = Vec::new();
        // What is within a connection's settings is the most there can be.
        if decode_within(Reader::new(action), version, 0, Outer::Ct, &mut found).is_ok() {
            return found.first()?.misplaced(false);
        }
        if self.encoding.code != Code::NxCt {
            return None;
        }
        found.clear();
        let settings = action.get(self.encoding.min.into()..)?;
        decode_within(Reader::new(settings), version, 1, Outer::Ct, &mut found).ok()?;
        found.iter().find_map(|a| a.misplaced(true))
    }

    /// The field that the `action` writes to, and the module that looks after it.
    fn target(&self, action: &[u8]) -> Option<(&'static str, FieldId)> {
        let mut r = Reader::new(action);
        r.skip(if self.vendor == 0 { 4 } else { 10 }).ok()?;
        match self.encoding.code {
            Code::NxRegLoad => {
                r.skip(2).ok()?;
                Some(("meta_flow", field_of(r.u32().ok()?)?))
            }
            Code::NxRegMove => {
                r.skip(6).ok()?;
                oxm::read_header(&mut r).ok()?;
                Some(("meta_flow", oxm::read_header(&mut r).ok()?))
            }
            Code::SetField12 | Code::SetField15 | Code::NxRegLoad2 => {
                if self.encoding.code == Code::NxRegLoad2 {
                    r.skip(6).ok()?;
                }
                Some(("ofp_actions", FieldId::by_oxm(oxm::read_id(&mut r).ok()?.0)?))
            }
            _ => None,
        }
    }
}

/// Which action is bad, and the bytes of all.
fn dump(bytes: &[u8], error: &DecodeError) -> String {
    // The action that the place is in: each says its length in its second word.
    let mut start = 0usize;
    while let Some([_, _, high, low]) = bytes.get(start..).and_then(<[u8]>::first_chunk::<4>) {
        let behind = start.saturating_add(usize::from(u16::from_be_bytes([*high, *low])).max(8));
        if error.at < behind {
            break;
        }
        start = behind;
    }
    let mut says = format!("bad action at offset {start} ({}):\n", error.error);
    // Writing to a string does not fail.
    let _ = plain_dump(&mut says, bytes);
    says.truncate(says.trim_end().len());
    says
}

/// The list that has an action around `at`, from that action on: `bytes`, or one within it.
fn list_at(bytes: &[u8], at: usize, version: Version) -> Option<&[u8]> {
    let (mut start, mut end) = (0usize, bytes.len());
    while start < at {
        let head = Head::of(bytes.get(start..end)?, version)?;
        let behind = start.checked_add(head.len).filter(|behind| head.len >= 8 && *behind <= end)?;
        // The lists of these follow what they have at least.
        let within = start.checked_add(head.encoding.min.into())?;
        let nests = matches!(head.encoding.code, Code::NxCt | Code::NxClone);
        (start, end) = match at {
            _ if at >= behind => (behind, end),
            _ if nests && at >= within => (within, behind),
            _ => break,
        };
    }
    bytes.get(start..end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::Action;
    use crate::codec::Version;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).map(|d| d as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    fn said(version: Version, hex: &str) -> Option<(&'static str, String, bool)> {
        let bytes = bytes(hex);
        let error = Action::decode_list(&bytes, version).unwrap_err();
        let lines = Action::complaints(&bytes, version, &error);
        let dumped = lines.last().is_some_and(|line| line.says.starts_with("bad action at offset "));
        assert_eq!(dumped, !lines[0].misplaced);
        let named = lines.into_iter().next().filter(|line| !line.says.starts_with("bad action at offset "));
        named.map(|c| (c.module, c.says, c.misplaced))
    }

    fn says(hex: &str) -> String {
        said(Version::V1_0, hex)
            .map_or(String::new(), |(module, says, misplaced)| format!("{module} {misplaced} {says}"))
    }

    const OUTPUT: &str = "0000 0008 0001 0000";
    const LOAD_ZONE: &str = "ffff 0018 00002320 0007 000f 0001d504 000000000000f009";
    const LOAD_MARK: &str = "ffff 0018 00002320 0007 001f 0001d604 000000000000f009";
    const LOAD_REG: &str = "ffff 0018 00002320 0007 001f 00010004 000000000000f009";

    #[test]
    fn lengths_are_named() {
        let action = "ofp_actions false OpenFlow action";
        assert_eq!(
            says("0000 0010 0001 0000"),
            format!("{action} OFPAT_OUTPUT length 16 exceeds action buffer length 8")
        );
        assert_eq!(
            says("0000 0010 fffe ffff 00000000 00000000"),
            format!("{action} OFPAT_OUTPUT length 16 not in valid range [8,8]")
        );
        let ids = "ffff 0011 00002320 0015 0001 00000000 0000000000000000";
        assert_eq!(says(ids), format!("{action} NXAST_DEC_TTL_CNT_IDS length 17 is not a multiple of 8"));
        // Behind another, and within a clone, whose list ends before the message does.
        let exceeds = format!("{action} OFPAT_OUTPUT length 16 exceeds action buffer length 8");
        assert_eq!(says(&format!("{OUTPUT} 0000 0010 0001 0000")), exceeds);
        let clone = "ffff 0018 00002320 002a 000000000000 0000 0010 0001 0000";
        assert_eq!(says(&format!("{clone} {OUTPUT}")), exceeds);
    }

    #[test]
    fn what_stands_in_the_wrong_place_is_named() {
        assert_eq!(says(LOAD_MARK), "ofp_actions true cannot set CT fields outside of ct action");
        let ct = |len: &str, within: &str| {
            format!("{OUTPUT} ffff {len} 00002320 0023 0001 00000000 0000 FF 000000 0000 {within}")
        };
        assert_eq!(says(&ct("0030", LOAD_ZONE)), "meta_flow false destination field ct_zone is not writable");
        let bare = "ffff 0018 00002320 0023 0000 00000000 0000 FF 000000 0000";
        assert_eq!(says(&ct("0030", bare)), "ofp_actions true ct action doesn't support nested action ct");
        assert_eq!(
            says(&ct("0048", &format!("{LOAD_MARK}{LOAD_REG}"))),
            "ofp_actions true ct action doesn't support nested modification of reg0"
        );
        let set_eth_type = "0019 0010 80000a02 0800 000000000000";
        let line = said(Version::V1_3, set_eth_type).unwrap();
        assert_eq!(line, ("ofp_actions", "destination field eth_type is not writable".to_string(), false));
        let move_to_zone = "ffff 0018 00002320 0006 0010 0000 0000 00000002 0001d402";
        let line = said(Version::V1_0, move_to_zone);
        assert_eq!(line.map(|l| l.1).as_deref(), Some("destination field ct_zone is not writable"));
        // Nothing to add to the error itself.
        assert_eq!(said(Version::V1_0, "0000 0008 ffff 0000"), None);
    }

    proptest! {
        #[test]
        fn of_any_bytes_something_or_nothing_is_said(bytes in prop::collection::vec(any::<u8>(), 0..64), nicira: u8) {
            let mut list = vec![0xff, 0xff, 0, 8 * (nicira % 8), 0, 0, 0x23, 0x20, 0, nicira % 52];
            list.extend(bytes);
            if let Err(e) = Action::decode_list(&list, Version::V1_0) {
                assert!(!Action::complaints(&list, Version::V1_0, &e).is_empty());
            }
        }
    }
}

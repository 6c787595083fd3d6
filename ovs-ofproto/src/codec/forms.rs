//! Matches alone, in each of the forms that messages have them in.

use ovs_packet::Match;

use super::cursor::{Reader, Writer};
use super::error::{DecodeError, EncodeError, OfError};
use super::header::Version;
use super::matching::Said;
use super::oxm::{self, Reading};
use super::{check, matching};
use crate::action::Instructions;

/// How a match is laid out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum MatchForm {
    /// The structure `ofp_match` of OpenFlow 1.0, as a flow takes it: without what it says of headers that the packets
    /// need not have.
    OpenFlow10,
    /// The same with all that it says.
    OpenFlow10Whole,
    /// The structure `ofp_match` of OpenFlow 1.1, with type and length.
    OpenFlow11,
    /// Nicira's fields, padded to 8 bytes.
    Nxm,
    /// The structure `ofp_match` of a version from OpenFlow 1.2 on, with type and length.
    Oxm(Version),
}

/// A match that was read, and the cookie among Nicira's fields, with its mask.
pub type MatchAndCookie = (Match, Option<(u64, u64)>);

/// Reads a match that stands alone, and with Nicira's fields perhaps a cookie with its mask. `loose` passes over
/// fields that are not known. Fields of Nicira's are those in front of the padding, which is not given.
///
/// ```
/// use ovs_ofproto::codec::{MatchForm, decode_match, encode_match};
///
/// let m = "tcp,tp_dst=80".parse()?;
/// let bytes = encode_match(MatchForm::Nxm, &m, None)?;
/// assert_eq!(decode_match(MatchForm::Nxm, &bytes, false)?.0, m);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// What is not understood, with its place.
pub fn decode_match(form: MatchForm, bytes: &[u8], loose: bool) -> Result<MatchAndCookie, DecodeError> {
    let mut r = Reader::new(bytes).or(&OfError::BadMatchBadLength);
    let mut m = Match::ANY;
    let how = Reading { loose, ..Reading::STRICT };
    let cookie = match form {
        MatchForm::OpenFlow10 => {
            m = matching::read_10(&mut r)?;
            None
        }
        MatchForm::OpenFlow10Whole => {
            m = matching::read_10_whole(&mut r)?;
            None
        }
        MatchForm::OpenFlow11 | MatchForm::Oxm(_) => {
            matching::read(&mut r, how, &mut m)?;
            None
        }
        MatchForm::Nxm => oxm::read_fields(r, Reading { cookie: true, ..how }, &mut m)?,
    };
    Ok((m, cookie))
}

/// Writes a match that stands alone; with Nicira's fields, a cookie with its mask too, and without the padding.
///
/// # Errors
/// If the form cannot say it.
pub fn encode_match(form: MatchForm, m: &Match, cookie: Option<(u64, u64)>) -> Result<Vec<u8>, EncodeError> {
    encode(form, m, cookie, Said::All)
}

/// As [`encode_match`], of a flow that is only told of: the structures of OpenFlow 1.0 and 1.1 leave out what they have no
/// place for, and a VLAN id or priority of which some bits are matched is given whole.
///
/// # Errors
/// If fields cannot say it.
pub fn encode_nearest_match(form: MatchForm, m: &Match) -> Result<Vec<u8>, EncodeError> {
    encode(form, m, None, Said::Nearest)
}

fn encode(form: MatchForm, m: &Match, cookie: Option<(u64, u64)>, said: Said) -> Result<Vec<u8>, EncodeError> {
    let mut w = Writer::new();
    match form {
        MatchForm::OpenFlow10 => matching::write_10(m, &mut w, said)?,
        MatchForm::OpenFlow10Whole => matching::write_10(m, &mut w, Said::Whole)?,
        MatchForm::OpenFlow11 => matching::write_11(m, &mut w, said)?,
        MatchForm::Nxm => oxm::write_fields(m, &mut w, oxm::NXM, cookie)?,
        MatchForm::Oxm(version) => oxm::write_match(m, &mut w, version.0)?,
    }
    Ok(w.into_bytes())
}

/// As [`check_flow`](super::check_flow) for a flow in a message of `version`: OpenFlow 1.0 takes actions of its own that
/// do not fit the match.
///
/// # Errors
/// Those of [`check_flow`](super::check_flow).
pub fn check_flow_in(
    version: Version,
    matching: &Match,
    table: u8,
    instructions: &Instructions,
) -> Result<(), OfError> {
    match check::check_loosely(matching, table, instructions)? {
        false if version != Version::V1_0 => Err(OfError::BadActionMatchInconsistent),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use ovs_packet::OfPort;
    use ovs_packet::field::FieldId;

    use super::*;
    use crate::action::{Action, Subfield};

    #[test]
    fn what_has_no_place_is_left_out_of_what_is_only_told() {
        let m: Match = "tcp,reg0=5,tp_dst=80".parse().unwrap();
        for form in [MatchForm::OpenFlow10, MatchForm::OpenFlow11] {
            assert!(encode_match(form, &m, None).is_err());
            let bytes = encode_nearest_match(form, &m).unwrap();
            assert_eq!(decode_match(form, &bytes, false).unwrap().0, "tcp,tp_dst=80".parse().unwrap());
        }
    }

    #[test]
    fn marks_are_set_within_ct_only() {
        let dst = Subfield::whole(FieldId::CtMark);
        let set = Action::SetFieldNicira { field: FieldId::CtMark, value: 5, mask: 0xffff_ffff };
        for action in [set, Action::Load { dst, value: 5 }] {
            for list in [vec![action.clone()], vec![Action::output(OfPort(1)), action]] {
                let bytes = Action::encode_list(&list, Version::V1_0).unwrap();
                let read = Action::decode_list(&bytes, Version::V1_0).map_err(|e| e.error);
                assert_eq!(read, Err(OfError::BadActionBadSetArgument));
            }
        }
    }
}

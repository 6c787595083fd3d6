//! The first message each way, and the version that comes of it (OpenFlow 1.3, sections 6.3.1 and 7.5.1).

use super::cursor::{Reader, Shape, Writer};
use super::error::{DecodeError, EncodeError, OfError};
use super::header::Version;
#[cfg(feature = "serde")]
use crate::json::form::*;

const ELEMENT_VERSIONBITMAP: u16 = 1;

/// A set of versions with wire numbers below 32.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Versions(pub u32);

impl Versions {
    /// All from OpenFlow 1.0 to `highest`: what a hello means that has no set.
    pub fn up_to(highest: Version) -> Versions {
        (Version::V1_0.0..=highest.0.min(31)).map(Version).collect()
    }

    /// Whether `version` is in the set.
    pub fn contains(self, version: Version) -> bool {
        1u32.checked_shl(version.0.into()).is_some_and(|bit| self.0 & bit != 0)
    }

    /// The highest in the set.
    pub fn highest(self) -> Option<Version> {
        self.0.checked_ilog2().and_then(|v| u8::try_from(v).ok()).map(Version)
    }

    /// The versions in the set, lowest first.
    pub fn iter(self) -> impl Iterator<Item = Version> {
        (0..32).map(Version).filter(move |v| self.contains(*v))
    }
}

impl FromIterator<Version> for Versions {
    fn from_iter<I: IntoIterator<Item = Version>>(versions: I) -> Versions {
        let bits = versions.into_iter().filter_map(|v| 1u32.checked_shl(v.0.into()));
        Versions(bits.fold(0, |all, bit| all | bit))
    }
}

/// The version that two sides speak: the highest that both have. Without one, the connection ends with
/// [`OfError::HelloIncompatible`].
///
/// ```
/// use ovs_ofproto::codec::{Version, Versions, negotiate};
///
/// let ours: Versions = [Version::V1_0, Version::V1_3].into_iter().collect();
/// assert_eq!(negotiate(ours, Versions::up_to(Version::V1_4)), Some(Version::V1_3));
/// assert_eq!(negotiate(ours, [Version::V1_5].into_iter().collect()), None);
/// ```
pub fn negotiate(ours: Versions, theirs: Versions) -> Option<Version> {
    Versions(ours.0 & theirs.0).highest()
}

/// OFPT_HELLO.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Hello {
    /// The versions that the sender speaks; without it, all up to the one that the message's header has.
    #[cfg_attr(feature = "serde", serde(rename = "versions", with = "As::<Option<VersionList>>"))]
    pub bitmap: Option<Versions>,
}

impl Hello {
    /// The hello of one who speaks `versions`; send it with the highest of them in the header.
    pub fn new(versions: Versions) -> Hello {
        Hello { bitmap: Some(versions) }
    }

    /// What a whole hello says, and whether all of it was understood: what is not is passed over.
    pub(crate) fn lenient(message: &[u8], header_version: Version) -> (Versions, bool) {
        let mut r = Reader::new(message);
        let (mut versions, mut understood) = (Versions::up_to(header_version), true);
        if r.skip(super::header::Header::LEN).is_err() {
            return (versions, false);
        }
        while !r.is_empty() {
            let mut head = r.clone();
            let (Ok(kind), Ok(len)) = (head.u16(), head.u16()) else { return (versions, false) };
            let padded = usize::from(len).checked_next_multiple_of(8).unwrap_or(usize::MAX);
            if len < 4 || r.skip(padded).is_err() {
                return (versions, false);
            }
            // Version 0 is none.
            let raw = head.u32().ok();
            let bitmap = raw.map(|bits| Versions(bits & !1));
            if kind == ELEMENT_VERSIONBITMAP && raw.is_some_and(|bits| bits & 1 != 0) {
                tracing::warn!(target: "ofp_util", "peer claims to support invalid OpenFlow version 0x00");
            }
            if kind == ELEMENT_VERSIONBITMAP && bitmap == Some(Versions(0)) {
                let what = "peer does not support any OpenFlow version (between 0x01 and 0x1f)";
                tracing::warn!(target: "ofp_util", "{what}");
            }
            match bitmap.filter(|bitmap| kind == ELEMENT_VERSIONBITMAP && len >= 8 && len % 4 == 0 && bitmap.0 != 0) {
                Some(bitmap) => versions = bitmap,
                None => understood = false,
            }
        }
        (versions, understood)
    }

    /// The versions that the sender speaks, of a hello with `header_version` in its header.
    pub fn versions(&self, header_version: Version) -> Versions {
        self.bitmap.unwrap_or_else(|| Versions::up_to(header_version))
    }
}

impl Hello {
    pub(super) fn encode(&self, w: &mut Writer) -> Result<(), EncodeError> {
        let Some(versions) = self.bitmap else { return Ok(()) };
        let shape = Shape { what: "a hello element", length_at: 2, align: 8, count_padding: false };
        w.prefixed(shape, |w| {
            w.u16(ELEMENT_VERSIONBITMAP);
            w.u16(0);
            w.u32(versions.0);
            Ok(())
        })
    }

    /// Elements of other types are passed over, as the specification demands; so are versions from 32 on.
    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut hello = Hello::default();
        while !r.is_empty() {
            let at = r.clone();
            let (kind, len) = (r.u16()?, usize::from(r.u16()?));
            let body = len.checked_sub(4).ok_or_else(|| at.error(OfError::BadRequestBadLength, "a longer element"))?;
            let mut body = r.sub(body)?;
            if kind == ELEMENT_VERSIONBITMAP {
                hello.bitmap = Some(Versions(body.u32()?));
            }
            let padding = len.checked_next_multiple_of(8).unwrap_or(len).saturating_sub(len);
            // The padding of a last element is missing from some senders' messages.
            r.skip(padding.min(r.len()))?;
        }
        Ok(hello)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_without_elements_means_all_versions_up_to_its_own() {
        let hello = Hello::decode(&mut Reader::new(&[])).unwrap();
        assert_eq!(hello.versions(Version::V1_1).iter().collect::<Vec<_>>(), [Version::V1_0, Version::V1_1]);
        assert_eq!(Versions(0).highest(), None);
        assert!(!Versions(u32::MAX).contains(Version(32)));
    }

    #[test]
    fn unknown_elements_are_passed_over() {
        let bytes = [0, 9, 0, 5, 1, 0, 0, 0, 0, 1, 0, 8, 0, 0, 0, 0x12];
        assert_eq!(Hello::decode(&mut Reader::new(&bytes)).unwrap().bitmap, Some(Versions(0x12)));
        assert!(Hello::decode(&mut Reader::new(&[0, 1, 0, 3])).is_err());
        assert!(Hello::decode(&mut Reader::new(&[0, 1, 0, 4])).is_err());
    }
}

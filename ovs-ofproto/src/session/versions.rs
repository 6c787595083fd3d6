//! Sets of versions in words: what `-O` takes and what a failed negotiation says.

use std::fmt;

use crate::codec::{Version, Versions};

/// A word that names no version of OpenFlow.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("unknown OpenFlow version {0:?}; the versions are OpenFlow10 to OpenFlow15")]
pub struct UnknownVersion(pub String);

/// Reads names of versions, `OpenFlow10` to `OpenFlow15` in any case, with commas or spaces between, as the option `-O` of
/// tools and the column `protocols` have them. Without any, the set is empty.
///
/// ```
/// use ovs_ofproto::codec::Version;
/// use ovs_ofproto::session::parse_versions;
///
/// let versions = parse_versions("openflow10, OpenFlow13")?;
/// assert!(versions.iter().eq([Version::V1_0, Version::V1_3]));
/// assert_eq!(parse_versions("OpenFlow16").unwrap_err().0, "OpenFlow16");
/// # Ok::<(), ovs_ofproto::session::UnknownVersion>(())
/// ```
///
/// # Errors
/// [`UnknownVersion`] with the first word that is none.
pub fn parse_versions(text: &str) -> Result<Versions, UnknownVersion> {
    let words = text.split(|c: char| c == ',' || c.is_ascii_whitespace()).filter(|word| !word.is_empty());
    words
        .map(|word| {
            let known = Version::KNOWN.into_iter().find(|version| name(*version).eq_ignore_ascii_case(word));
            known.ok_or_else(|| UnknownVersion(word.to_owned()))
        })
        .collect()
}

fn name(version: Version) -> String {
    version.minor().map_or_else(|| format!("{:#04x}", version.0), |minor| format!("OpenFlow1{minor}"))
}

/// A set of versions, printed as its names with commas between.
pub(super) struct Names(pub(super) Versions);

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == Versions::default() {
            return f.write_str("no version");
        }
        self.0.iter().enumerate().try_for_each(|(at, version)| {
            f.write_str(if at == 0 { "" } else { "," })?;
            f.write_str(&name(version))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_read_and_printed() {
        for text in
            ["OpenFlow10", "OpenFlow10,OpenFlow13", "OpenFlow10,OpenFlow11,OpenFlow12,OpenFlow13,OpenFlow14,OpenFlow15"]
        {
            assert_eq!(Names(parse_versions(text).unwrap()).to_string(), text);
        }
        assert_eq!(parse_versions("OPENFLOW13\nopenflow13").unwrap(), Versions(1 << 4));
        assert_eq!(parse_versions(" ,\t,").unwrap(), Versions::default());
        assert_eq!(Names(Versions::default()).to_string(), "no version");
        assert_eq!(Names(Versions(1 << 7)).to_string(), "0x07");
        for text in ["OpenFlow", "OpenFlow16", "1.3", "OpenFlow13;OpenFlow10", "0x04"] {
            assert!(parse_versions(text).is_err(), "{text}");
        }
    }
}

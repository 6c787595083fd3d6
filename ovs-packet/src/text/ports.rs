//! Ports and flow tables by name.

use alloc::collections::BTreeMap;
use alloc::string::String;
use core::fmt;

use crate::port::OfPort;

/// Who knows which port has which name, and which flow table. Numbers and the names of reserved ports need nobody.
pub trait PortNames {
    /// The number of the port called `name`.
    fn port(&self, name: &str) -> Option<OfPort>;

    /// The name of a port, to be written in the place of its number.
    fn name(&self, port: OfPort) -> Option<&str> {
        let _ = port;
        None
    }

    /// The number of the flow table called `name`.
    fn table(&self, name: &str) -> Option<u8> {
        let _ = name;
        None
    }

    /// The name of a flow table, to be written in the place of its number.
    fn table_name(&self, table: u8) -> Option<&str> {
        let _ = table;
        None
    }
}

/// Nobody: ports are numbers.
#[derive(Clone, Copy, Default, Debug)]
pub struct NoNames;

impl PortNames for NoNames {
    fn port(&self, _: &str) -> Option<OfPort> {
        None
    }
}

impl PortNames for BTreeMap<String, OfPort> {
    fn port(&self, name: &str) -> Option<OfPort> {
        self.get(name).copied()
    }

    fn name(&self, port: OfPort) -> Option<&str> {
        self.iter().find(|(_, p)| **p == port).map(|(name, _)| name.as_str())
    }
}

#[cfg(feature = "std")]
impl<S: core::hash::BuildHasher> PortNames for std::collections::HashMap<String, OfPort, S> {
    fn port(&self, name: &str) -> Option<OfPort> {
        self.get(name).copied()
    }

    fn name(&self, port: OfPort) -> Option<&str> {
        // The least of several, so that the answer does not depend on the map's order.
        self.iter().filter(|(_, p)| **p == port).map(|(name, _)| name.as_str()).min()
    }
}

/// The port that `text` means: a number, a reserved name, or a name that `names` knows, which may stand in quotes.
pub fn resolve_port(text: &str, names: &dyn PortNames) -> Option<OfPort> {
    match text.strip_prefix('"') {
        Some(quoted) => names.port(&unescape(quoted.strip_suffix('"')?)?),
        None => text.parse().ok().or_else(|| names.port(text)),
    }
}

/// The flow table that `text` means: a number, or a name that `names` knows, which may stand in quotes.
pub fn resolve_table(text: &str, names: &dyn PortNames) -> Option<u8> {
    match text.strip_prefix('"') {
        Some(quoted) => names.table(&unescape(quoted.strip_suffix('"')?)?),
        None => super::number(text).and_then(|n| u8::try_from(n).ok()).or_else(|| names.table(text)),
    }
}

/// A string of JSON without its quotes.
fn unescape(text: &str) -> Option<String> {
    let mut chars = text.chars();
    let mut out = String::new();
    while let Some(c) = chars.next() {
        out.push(match c {
            '"' => return None,
            '\\' => match chars.next()? {
                c @ ('"' | '\\' | '/') => c,
                'b' => '\x08',
                'f' => '\x0c',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => {
                    let digits = chars.as_str().get(..4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
                    chars = chars.as_str().get(4..)?.chars();
                    char::from_u32(u32::from_str_radix(digits, 16).ok()?)?
                }
                _ => return None,
            },
            c => c,
        });
    }
    Some(out)
}

/// A port as it is written: a reserved name, the name that `names` knows, in quotes if it is more than letters and
/// digits, or the number.
pub struct PortText<'a>(pub OfPort, pub &'a dyn PortNames);

impl fmt::Debug for PortText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PortText({self})")
    }
}

impl fmt::Display for PortText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.1.name(self.0).filter(|_| !self.0.is_reserved() && self.0 != OfPort::LOCAL);
        match name {
            Some(name) => write_name(f, name),
            None => write!(f, "{}", self.0),
        }
    }
}

/// A flow table as it is written: the name that `names` knows, in quotes if it is more than letters and digits, or the
/// number.
pub struct TableText<'a>(pub u8, pub &'a dyn PortNames);

impl fmt::Debug for TableText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TableText({self})")
    }
}

impl fmt::Display for TableText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1.table_name(self.0) {
            Some(name) => write_name(f, name),
            None => write!(f, "{}", self.0),
        }
    }
}

fn write_name(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return f.write_str(name);
    }
    f.write_str("\"")?;
    for c in name.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            '\x08' => f.write_str("\\b")?,
            '\x0c' => f.write_str("\\f")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c < ' ' => write!(f, "\\u{:04x}", c as u32)?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn names_are_quoted_where_they_could_be_misread() {
        let odd = "a b,\"c\\\u{1}";
        let names =
            BTreeMap::from([("eth0".to_string(), OfPort(1)), ("br-int".into(), OfPort(2)), (odd.into(), OfPort(3))]);
        for (port, text) in [(1, "eth0"), (2, "\"br-int\""), (3, "\"a b,\\\"c\\\\\\u0001\""), (4, "4")] {
            assert_eq!(PortText(OfPort(port), &names).to_string(), text);
            assert_eq!(resolve_port(text, &names), Some(OfPort(port)));
        }
        assert_eq!(resolve_port("br-int", &names), Some(OfPort(2)));
        for bad in ["eth1", "\"eth0", "\"eth1\"", "\"\\x\"", "\"\\u00\"", "\"\"\"", "\""] {
            assert_eq!(resolve_port(bad, &names), None, "{bad}");
        }
        assert_eq!(
            format!("{}", PortText(OfPort::LOCAL, &BTreeMap::from([("x".to_string(), OfPort::LOCAL)]))),
            "LOCAL"
        );
    }
}

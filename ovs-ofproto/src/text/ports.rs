//! Ports by name.

use std::collections::{BTreeMap, HashMap};

use ovs_packet::OfPort;

/// Who knows which port has which name. Numbers and the names of reserved ports need nobody.
pub trait PortNames {
    /// The number of the port called `name`.
    fn port(&self, name: &str) -> Option<OfPort>;
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
}

impl<S: std::hash::BuildHasher> PortNames for HashMap<String, OfPort, S> {
    fn port(&self, name: &str) -> Option<OfPort> {
        self.get(name).copied()
    }
}

/// The port that `text` means: a number, a reserved name, or a name that `names` knows, which may stand in quotes.
pub(super) fn resolve(text: &str, names: &dyn PortNames) -> Option<OfPort> {
    let quoted = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
    match quoted {
        Some(name) => names.port(name),
        None => text.parse().ok().or_else(|| names.port(text)),
    }
}

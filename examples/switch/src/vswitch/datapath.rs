//! Datapaths that bridges share, and which kinds of them there are.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;

use ovs_dpif::netdev::Netdev;
use ovs_dpif::userspace::{Datapath, Limits};
use ovs_dpif::{DpStats, Dpif, DpifError, PortInfo, PortNo, PortSpec, Upcall};
use ovs_packet::Instant;

use super::devices::Devices;
use crate::config::InterfaceConfig;

/// Numbers of ends of patches begin here.
const FIRST_PATCH: u32 = 0xf000;

/// Port numbers of names that begin with `br` begin here in a dummy datapath.
const DUMMY_BRIDGES: u32 = 100;

/// Which kinds of datapaths there are, and why others are not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatapathTypes {
    available: Vec<&'static str>,
    dummy: Vec<&'static str>,
    /// Kinds that are not there, and why.
    refused: Vec<(&'static str, String)>,
}

impl DatapathTypes {
    /// `netdev`, within the process; `system`, the kernel's, is refused for the reason given.
    pub fn userspace(why_no_system: impl Into<String>) -> DatapathTypes {
        DatapathTypes { available: vec!["netdev"], dummy: Vec::new(), refused: vec![("system", why_no_system.into())] }
    }

    /// Every kind stands for a dummy datapath, as with `--enable-dummy=override`.
    pub fn dummy() -> DatapathTypes {
        let all = vec!["dummy", "netdev", "system"];
        DatapathTypes { available: all.clone(), dummy: all, refused: Vec::new() }
    }

    /// `dummy` besides.
    pub fn with_dummy(mut self) -> DatapathTypes {
        self.available.push("dummy");
        self.dummy.push("dummy");
        self.available.sort_unstable();
        self
    }

    /// A dummy datapath for the kernel's, as with `--enable-dummy=system`.
    pub fn with_dummy_system(mut self) -> DatapathTypes {
        self.refused.retain(|(kind, _)| *kind != "system");
        self.available.push("system");
        self.dummy.push("system");
        self.with_dummy()
    }

    /// Without `system`, whatever else was said.
    pub fn without_system(mut self) -> DatapathTypes {
        self.available.retain(|kind| *kind != "system");
        self.refused = vec![("system", "the kernel's datapath is disabled".into())];
        self
    }

    /// The kinds that there are.
    pub fn available(&self) -> &[&'static str] {
        &self.available
    }

    /// The kinds that there are not, and why.
    pub fn refused(&self) -> &[(&'static str, String)] {
        &self.refused
    }

    /// Whether a kind stands for a dummy datapath.
    pub fn is_dummy(&self, kind: &str) -> bool {
        self.dummy.contains(&kind)
    }

    /// The kind that a bridge asks for. Where it asks for none, it is the kernel's if that is there, and else `netdev`.
    ///
    /// # Errors
    /// Why there is none of this kind.
    pub fn resolve(&self, wanted: &str) -> Result<&'static str, String> {
        let find = |name: &str| self.available.iter().copied().find(|kind| *kind == name);
        let known = match wanted {
            "" => find("system").or_else(|| find("netdev")),
            name => find(name),
        };
        known.ok_or_else(|| match self.refused.iter().find(|(kind, _)| *kind == wanted) {
            Some((kind, why)) => format!("datapath type {kind}: {why}"),
            None => format!("unknown datapath type {wanted}"),
        })
    }
}

/// A datapath with its name.
#[derive(Debug)]
pub(super) struct SharedDatapath {
    kind: &'static str,
    name: String,
    is_dummy: bool,
    dp: Box<dyn Dpif>,
}

/// What there is to see of a datapath.
#[derive(Debug, Clone, Copy)]
pub struct DatapathInfo<'a>(&'a SharedDatapath);

impl<'a> DatapathInfo<'a> {
    /// Its type.
    pub fn kind(&self) -> &'static str {
        self.0.kind
    }

    /// Its name.
    pub fn name(&self) -> &'a str {
        &self.0.name
    }

    /// Type and name.
    pub fn full_name(&self) -> String {
        format!("{}@{}", self.0.kind, self.0.name)
    }

    /// Its counters.
    ///
    /// # Errors
    /// If a datapath outside the process cannot be asked.
    pub fn stats(&self) -> Result<DpStats, DpifError> {
        self.0.dp.stats()
    }

    /// Its ports.
    ///
    /// # Errors
    /// If a datapath outside the process cannot be asked.
    pub fn ports(&self) -> Result<Vec<PortInfo>, DpifError> {
        self.0.dp.ports()
    }

    /// The datapath itself.
    pub fn dpif(&self) -> &'a dyn Dpif {
        self.0.dp.as_ref()
    }
}

impl SharedDatapath {
    /// A datapath with the one port that it always has: port 0, of its own name.
    pub(super) fn new(
        kind: &'static str,
        name: String,
        is_dummy: bool,
        seed: u64,
        devices: &mut dyn Devices,
    ) -> SharedDatapath {
        let dp: Box<dyn Dpif> = match devices.machine().datapath(seed) {
            Ok(dp) => Box::new(dp),
            Err(e) => {
                tracing::error!(target: "dpif", "{kind}@{name}: no threads but one: {e}");
                Box::new(Datapath::with_limits(Limits::default(), seed))
            }
        };
        let mut datapath = SharedDatapath { kind, name, is_dummy, dp };
        if is_dummy {
            let own = InterfaceConfig::new(datapath.name.clone());
            let added = devices
                .open("dummy-internal", &own)
                .and_then(|d| datapath.add(d, Some(PortNo(0))).map_err(|e| e.to_string()));
            if let Err(e) = added {
                tracing::warn!(target: "dpif", "{}: no port of its own: {e}", datapath.name);
            }
        }
        datapath
    }

    pub(super) fn kind(&self) -> &'static str {
        self.kind
    }

    pub(super) fn info(&self) -> DatapathInfo<'_> {
        DatapathInfo(self)
    }

    pub(super) fn dpif_mut(&mut self) -> &mut dyn Dpif {
        self.dp.as_mut()
    }

    pub(super) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.dp.fds()
    }

    pub(super) fn is_dummy(&self) -> bool {
        self.is_dummy
    }

    pub(super) fn port_names(&self) -> BTreeSet<String> {
        self.dp.ports().unwrap_or_default().into_iter().map(|p| p.name).collect()
    }

    /// Adds a device. In a dummy datapath its number is the first number in its name, where that is free: people who
    /// write tests know it then. Ends of patches, which are no devices to anybody else, leave the low numbers to others.
    pub(super) fn add(&mut self, device: Box<dyn Netdev>, wanted: Option<PortNo>) -> Result<PortNo, DpifError> {
        let wanted = wanted.or_else(|| match device.kind() {
            "patch" => (FIRST_PATCH..).map(PortNo).find(|n| !self.is_taken(*n)),
            _ if self.is_dummy => self.number_in(device.name()),
            _ => None,
        });
        let name = device.name().to_string();
        let number = self.dp.port_add(PortSpec::Device(device), wanted)?;
        tracing::debug!(target: "dpif", "{}@{}: added {name} as port {number}", self.kind, self.name);
        Ok(number)
    }

    fn number_in(&self, name: &str) -> Option<PortNo> {
        let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        let number: u32 = digits.get(..end)?.parse().ok()?;
        let number = PortNo(number.checked_add(if name.starts_with("br") { DUMMY_BRIDGES } else { 0 })?);
        (number.0 != 0 && number.0 != u32::MAX && !self.is_taken(number)).then_some(number)
    }

    fn is_taken(&self, number: PortNo) -> bool {
        self.dp.ports().unwrap_or_default().iter().any(|p| p.port == number)
    }

    pub(super) fn poll(&mut self, now: Instant, upcalls: &mut Vec<Upcall>) -> usize {
        self.dp.poll(now, upcalls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_resolved_or_refused_for_a_reason() {
        let types = DatapathTypes::userspace("no module").with_dummy();
        assert_eq!(types.resolve(""), Ok("netdev"));
        assert_eq!(types.resolve("dummy"), Ok("dummy"));
        assert_eq!(types.resolve("system").unwrap_err(), "datapath type system: no module");
        assert_eq!(types.resolve("odd").unwrap_err(), "unknown datapath type odd");
        assert_eq!(DatapathTypes::userspace("").with_dummy_system().resolve(""), Ok("system"));
        assert_eq!(DatapathTypes::dummy().without_system().resolve(""), Ok("netdev"));
    }
}

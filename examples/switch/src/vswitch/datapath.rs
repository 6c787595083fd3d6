//! Datapaths that bridges share, and which kinds of them there are.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;

use ovs_dpif::netdev::{Netdev, NetdevError};
use ovs_dpif::userspace::{Datapath, Limits as Bounds};
use ovs_dpif::{DpStats, Dpif, DpifError, PortChange, PortInfo, PortNo, PortSpec, Upcall};
use ovs_ofproto::pipeline::TunnelConfig;
use ovs_packet::Instant;

use super::devices::Devices;
use super::kernel::{self, Kernel};
use super::limits::Limits;
use super::timeouts::Policies;
use super::vports::{Left, Vports};
use crate::config::InterfaceConfig;

/// Port numbers of names that begin with `br` begin here in a dummy datapath.
const DUMMY_BRIDGES: u32 = 100;

/// The most bytes in the name of an interface of the machine.
const MAX_NAME: usize = 15;

/// Which kinds of datapaths there are, and why others are not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatapathTypes {
    available: Vec<&'static str>,
    dummy: Vec<&'static str>,
    /// Kinds that are not there, and why.
    refused: Vec<(&'static str, String)>,
}

impl DatapathTypes {
    /// `netdev`, within the process, and `system`, the kernel's.
    pub fn all() -> DatapathTypes {
        DatapathTypes { available: vec!["netdev", "system"], dummy: Vec::new(), refused: Vec::new() }
    }

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
        self = self.without_system();
        self.refused.clear();
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
    /// How many VLAN tags it was told to read.
    vlan_limit: Option<u8>,
    outside: Option<Outside>,
    /// Its ports that tunnels share.
    vports: Vports,
    pub(super) limits: Limits,
    pub(super) policies: Policies,
}

/// What is to be remembered of a datapath outside the process.
#[derive(Debug, Default)]
struct Outside {
    /// Its ports, as far as they are the switch's.
    ports: BTreeMap<PortNo, String>,
    /// Ports that were there before the switch was, with their kinds: each is somebody's, or goes.
    found: BTreeMap<String, (PortNo, &'static str)>,
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

    /// Whether the configuration says how many connections zones may have.
    pub fn has_limits(&self) -> bool {
        self.0.limits.are_given()
    }

    /// The datapath itself.
    pub fn dpif(&self) -> &'a dyn Dpif {
        self.0.dp.as_ref()
    }
}

impl SharedDatapath {
    /// A datapath of a kind that [there is](DatapathTypes::resolve). The kernel's is taken over if it is there; one that
    /// bridges use is the only one.
    pub(super) fn new(
        kind: &'static str,
        name: String,
        types: &DatapathTypes,
        seed: u64,
        devices: &mut dyn Devices,
        now: Instant,
    ) -> Result<SharedDatapath, String> {
        let is_dummy = types.is_dummy(kind);
        if kind == "system" && !is_dummy {
            let kernel = devices.kernel().ok_or("there is no kernel to ask for one")?;
            let alone = name == format!("ovs-{kind}");
            let dp = kernel.open(&name, alone, now)?;
            let found = dp.ports().map_err(|e| e.to_string())?.into_iter().filter(|p| p.port != PortNo::LOCAL);
            let found = found.map(|p| (p.name, (p.port, p.kind))).collect();
            kernel::tell_features(&name, &dp.features());
            let outside = Some(Outside { found, ..Outside::default() });
            return Ok(SharedDatapath {
                kind,
                name,
                is_dummy,
                dp,
                vlan_limit: None,
                outside,
                vports: Vports::default(),
                limits: Limits::default(),
                policies: Policies::default(),
            });
        }
        let full_name = format!("{kind}@{name}");
        let dp: Box<dyn Dpif> = match devices.machine().datapath(seed) {
            Ok(dp) => Box::new(dp.named(full_name)),
            Err(e) => {
                tracing::error!(target: "dpif", "{full_name}: no threads but one: {e}");
                Box::new(Datapath::with_limits(Bounds::default(), seed).named(full_name))
            }
        };
        let mut datapath = SharedDatapath {
            kind,
            name,
            is_dummy,
            dp,
            vlan_limit: None,
            outside: None,
            vports: Vports::default(),
            limits: Limits::default(),
            policies: Policies::default(),
        };
        if is_dummy {
            let own = InterfaceConfig::new(datapath.name.clone());
            let added = devices
                .open("dummy-internal", &own)
                .and_then(|d| datapath.add(d, Some(PortNo(0))).map_err(|e| e.to_string()));
            if let Err(e) = added {
                tracing::warn!(target: "dpif", "{}: no port of its own: {e}", datapath.name);
            }
        }
        Ok(datapath)
    }

    /// Ends a datapath that nobody uses any more, outside the process too.
    pub(super) fn remove(self, devices: &mut dyn Devices) {
        let Some(kernel) = devices.kernel().filter(|_| self.outside.is_some()) else { return };
        if let Err(e) = kernel.remove(&self.name) {
            tracing::warn!(target: "dpif", "{}@{}: not removed: {e}", self.kind, self.name);
        }
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

    pub(super) fn is_outside(&self) -> bool {
        self.outside.is_some()
    }

    pub(super) fn is_dummy(&self) -> bool {
        self.is_dummy
    }

    pub(super) fn port_names(&self) -> BTreeSet<String> {
        self.dp.ports().unwrap_or_default().into_iter().map(|p| p.name).collect()
    }

    /// Makes an interface a port: a device of the kind is opened, unless the datapath is outside the process. Says which
    /// kind of device it is.
    pub(super) fn add_interface(
        &mut self,
        kind: &str,
        interface: &InterfaceConfig,
        devices: &mut dyn Devices,
    ) -> Result<(PortNo, &'static str), String> {
        let name = &interface.name;
        let fail = |e: String| format!("could not open network device {name} ({e})");
        if self.outside.is_some() {
            if kind != "tap" {
                let (number, kind) = self.add_outside(kind, interface)?;
                devices.adopted(kind, interface);
                return Ok((number, kind));
            }
            // It is made here, and is an interface of the machine from then on.
            let kind = devices.open(kind, interface).map_err(fail)?.kind();
            let added = self.add_outside("system", interface).inspect_err(|_| devices.closed(name));
            return added.map(|(number, _)| (number, kind));
        }
        let device = devices.open(kind, interface).map_err(fail)?;
        let kind = device.kind();
        self.add(device, None).map(|number| (number, kind)).map_err(|e| {
            devices.closed(name);
            format!("could not add network device {name} to ofproto ({e})")
        })
    }

    fn add_outside(&mut self, kind: &str, interface: &InterfaceConfig) -> Result<(PortNo, &'static str), String> {
        let name = &interface.name;
        let fail = |e: String| format!("could not open network device {name} ({e})");
        if name.len() > MAX_NAME {
            return Err(fail("File name too long".into()));
        }
        let (spec, kind) = Kernel::port(kind, interface).map_err(fail)?;
        let Some(outside) = &mut self.outside else { return Err(fail("the datapath is within the process".into())) };
        if let Some((number, known)) = outside.found.remove(name) {
            if known == kind {
                outside.ports.insert(number, name.clone());
                return Ok((number, kind));
            }
            // It may have vanished meanwhile.
            let _ = self.dp.port_del(number);
        }
        let number = self.dp.port_add(spec, None).map_err(|e| match e {
            DpifError::Device(NetdevError::NoSuchInterface { .. }) => fail("No such device".into()),
            e => format!("could not add network device {name} to ofproto ({e})"),
        })?;
        outside.ports.insert(number, name.clone());
        tracing::debug!(target: "dpif", "{}@{}: added {name} as port {number}", self.kind, self.name);
        Ok((number, kind))
    }

    /// Whether the port for a tunnel can be that of this tunnel too.
    ///
    /// # Errors
    /// Why not, in a line.
    pub(super) fn check_vport(&self, interface: &str, config: &TunnelConfig) -> Result<(), String> {
        self.vports.check(interface, config)
    }

    /// The port for one more tunnel of an interface, which others of its kind share.
    pub(super) fn add_vport(&mut self, interface: &str, config: &TunnelConfig) -> Result<PortNo, String> {
        if self.outside.is_some() {
            Kernel::check_tunnel(interface, config)?;
            self.vports.check_framing(interface, config)?;
        }
        if let Some(number) = self.vports.join(interface, config)? {
            return Ok(number);
        }
        let (name, kind) = (config.vport(), config.vport_kind());
        if let Some(outside) = &mut self.outside
            && let Some((number, known)) = outside.found.remove(&name)
        {
            if known == kind.kind() {
                outside.ports.insert(number, name);
                self.vports.note(config, number);
                return Ok(number);
            }
            let _ = self.dp.port_del(number);
        }
        let wanted = if self.is_dummy { self.number_in(&name) } else { None };
        let added = self.dp.port_add(PortSpec::Tunnel { name: name.clone(), kind }, wanted);
        let number = added.map_err(|e| format!("could not add network device {interface} to ofproto ({e})"))?;
        tracing::debug!(target: "dpif", "{}@{}: added {name} as port {number}", self.kind, self.name);
        self.vports.note(config, number);
        if let Some(outside) = &mut self.outside {
            outside.ports.insert(number, name);
        }
        Ok(number)
    }

    /// Removes a port, of which a tunnel's stays as long as another tunnel needs it. It may have vanished from the datapath
    /// before.
    pub(super) fn remove_port(&mut self, port: PortNo) {
        if self.vports.leave(port) == Left::InUse {
            return;
        }
        if let Some(outside) = &mut self.outside {
            outside.ports.remove(&port);
        }
        let _ = self.dp.port_del(port);
    }

    /// Has so many threads take what comes up from a datapath outside the process, where it can have any number of them.
    pub(super) fn set_handlers(&mut self, wanted: Option<usize>) {
        if self.outside.is_some() {
            Kernel::set_handlers(&mut *self.dp, &self.name, wanted);
        }
    }

    /// Removes ports that were found in the datapath and are nobody's.
    pub(super) fn tidy(&mut self) {
        let Some(outside) = &mut self.outside else { return };
        for (name, (number, _)) in std::mem::take(&mut outside.found) {
            tracing::info!(target: "dpif", "{}@{}: {name} is nobody's port", self.kind, self.name);
            let _ = self.dp.port_del(number);
        }
    }

    /// Whether ports went by what others did, since the last time.
    pub(super) fn take_vanished(&mut self) -> bool {
        let Some(outside) = &mut self.outside else { return false };
        self.dp.port_changes().into_iter().fold(false, |any, change| match change {
            PortChange::Removed(port) => outside.ports.remove(&port).is_some() | any,
            PortChange::Lost => true,
            _ => any,
        })
    }

    /// Has it read at most so many VLAN tags of a packet. Whether that is news, so that what it knows of packets is no more
    /// true.
    pub(super) fn set_vlan_limit(&mut self, limit: u8) -> Result<bool, DpifError> {
        if self.vlan_limit == Some(limit) {
            return Ok(false);
        }
        self.dp.set_vlan_limit(limit)?;
        self.vlan_limit = Some(limit);
        Ok(true)
    }

    /// Adds a device. In a dummy datapath its number is the first number in its name, where that is free: people who
    /// write tests know it then.
    pub(super) fn add(&mut self, device: Box<dyn Netdev>, wanted: Option<PortNo>) -> Result<PortNo, DpifError> {
        let wanted = wanted.or_else(|| if self.is_dummy { self.number_in(device.name()) } else { None });
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
        assert_eq!(DatapathTypes::all().resolve(""), Ok("system"));
        assert_eq!(DatapathTypes::all().with_dummy_system().available(), ["dummy", "netdev", "system"]);
        assert_eq!(types.resolve("odd").unwrap_err(), "unknown datapath type odd");
        assert_eq!(DatapathTypes::userspace("").with_dummy_system().resolve(""), Ok("system"));
        assert_eq!(DatapathTypes::dummy().without_system().resolve(""), Ok("netdev"));
    }
}

//! What people do to datapaths by hand, past the configuration: they make and remove some that no bridge uses, and open
//! devices for them (`dpctl`).

use ovs_dpif::netdev::Netdev;
use ovs_dpif::{Dpif, DpifError, PortSpec};
use ovs_packet::Instant;

use super::Vswitch;
use super::datapath::SharedDatapath;
use super::kernel::Kernel;
use crate::config::InterfaceConfig;

impl Vswitch {
    /// Makes a datapath that no bridge uses, by its type and name (`dummy@dp1`), with a port of its own name.
    ///
    /// # Errors
    /// [`DpifError::DatapathExists`], also for the names of those that bridges use; a type that there is not.
    pub fn create_datapath(&mut self, name: &str, now: Instant) -> Result<(), DpifError> {
        let (kind, bare) = name.split_once('@').unwrap_or(("", name));
        let no_such = |why: String| DpifError::System { what: "datapath", source: std::io::Error::other(why) };
        let kind = self.types.resolve(kind).map_err(no_such)?;
        let full = format!("{kind}@{bare}");
        if self.spare.contains_key(&full) || bare == format!("ovs-{kind}") {
            return Err(DpifError::DatapathExists(full));
        }
        let (name, devices) = (bare.to_string(), self.devices.as_mut());
        let mut made = SharedDatapath::new(kind, name, &self.types, self.seed, devices, now).map_err(no_such)?;
        if let Some(workers) = made.dpif_mut().workers_mut() {
            workers.configure(self.threads.clone());
        }
        self.spare.insert(full, made);
        Ok(())
    }

    /// Removes a datapath that was [made](Self::create_datapath). The devices of its ports are for the caller to
    /// [close](Self::device_closed).
    ///
    /// # Errors
    /// [`DpifError::NoSuchDatapath`]; [`DpifError::Unsupported`] for one that bridges use.
    pub fn remove_datapath(&mut self, name: &str) -> Result<(), DpifError> {
        if let Some(datapath) = self.spare.remove(name) {
            datapath.remove(self.devices.as_mut());
            return Ok(());
        }
        match self.datapath(name) {
            Some(_) => Err(DpifError::Unsupported("removal of a datapath that bridges use")),
            None => Err(DpifError::NoSuchDatapath(name.to_string())),
        }
    }

    /// Opens a device for a port that is no bridge's.
    ///
    /// # Errors
    /// Why not, in a line.
    pub fn open_device(&mut self, kind: &str, interface: &InterfaceConfig) -> Result<Box<dyn Netdev>, String> {
        self.devices.open(kind, interface)
    }

    /// What a port of this kind is made of in a datapath, by the datapath's name: a device that is opened for it, or an
    /// interface of the machine.
    ///
    /// # Errors
    /// Why not, in a line.
    pub fn port_spec(&mut self, datapath: &str, kind: &str, interface: &InterfaceConfig) -> Result<PortSpec, String> {
        let all = self.shared.values().map(|s| &s.datapath).chain(self.spare.values());
        let is_outside = all.filter(|d| d.is_outside()).any(|d| d.info().full_name() == datapath);
        match is_outside {
            true => Kernel::port(kind, interface).map(|(spec, _)| spec),
            false => self.open_device(kind, interface).map(PortSpec::Device),
        }
    }

    /// A device of [`open_device`](Self::open_device), or of a datapath that was made, is nobody's port any more.
    pub fn device_closed(&mut self, name: &str) {
        self.devices.closed(name);
    }

    /// A datapath by its name, as [`datapath`](Self::datapath) takes it.
    pub fn datapath_mut(&mut self, name: &str) -> Option<&mut dyn Dpif> {
        let mut all = self.shared.values_mut().map(|s| &mut s.datapath).chain(self.spare.values_mut());
        let found = all.find(|d| d.info().full_name() == name || d.info().name() == name);
        found.map(SharedDatapath::dpif_mut)
    }

    /// Has `f` do something with a datapath, by its name.
    pub fn with_datapath<T>(&mut self, name: &str, f: impl FnOnce(&mut dyn Dpif) -> T) -> Option<T> {
        self.datapath_mut(name).map(f)
    }
}

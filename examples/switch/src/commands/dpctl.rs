//! `dpctl/*`: the commands of [`ovs_dpif::dpctl`] over the datapaths of a switch.
//!
//! Devices that a command opens are shared with bridges that have them, and are closed when no datapath has a port of them
//! any more: what ports there are is compared before and after.

use std::collections::BTreeSet;
use std::io;

use ovs_db::unixctl::{Format, Reply};
use ovs_dpif::dpctl::{self, Datapaths, DpctlError};
use ovs_dpif::{Dpif, DpifError, PortSpec};
use ovs_packet::Instant;

use super::Call;
use crate::config::InterfaceConfig;
use crate::server::Server;
use crate::vswitch::Vswitch;

/// What the names of these commands begin with.
pub(super) const PREFIX: &str = "dpctl/";

/// Names and usages.
pub(super) fn commands() -> impl Iterator<Item = (String, &'static str)> {
    dpctl::commands().filter(|(name, ..)| *name != "help").map(|(name, usage, _)| (format!("{PREFIX}{name}"), usage))
}

/// Carries out a command, given by its name without the prefix.
pub(super) fn run(server: &mut Server, command: &str, call: &Call<'_>) -> Reply {
    let words: Vec<&str> = std::iter::once(command).chain(call.arguments.iter().copied()).collect();
    let now = server.clock.now();
    let before = ports(&server.switch);
    let mut datapaths = Lent { switch: &mut server.switch, opened: Vec::new(), now };
    let done = dpctl::run(&mut datapaths, &words);
    let Lent { opened, .. } = datapaths;
    close(&mut server.switch, &before, opened);
    match (done, call.format) {
        (Ok(reply), Format::Text) => Reply::Text(reply.to_string()),
        (Ok(reply), Format::Json) => match ovs_db::json::parse(reply.json().to_string().as_bytes()) {
            Ok(json) => Reply::Json(json),
            Err(e) => Reply::Error(e.to_string()),
        },
        (Err(DpctlError::Lines(lines)), _) => {
            Reply::Error(lines.into_iter().map(|line| format!("ovs-vswitchd: {line}\n")).collect())
        }
        (Err(e), _) => Reply::Error(format!("ovs-vswitchd: {e}\n")),
    }
}

/// The datapaths of a switch, lent to a command.
struct Lent<'s> {
    switch: &'s mut Vswitch,
    /// Devices that were opened, by name.
    opened: Vec<String>,
    now: Instant,
}

impl Datapaths for Lent<'_> {
    fn kind(&self) -> &'static str {
        self.switch.types().resolve("").unwrap_or("netdev")
    }

    fn names(&mut self) -> Result<Vec<String>, DpifError> {
        Ok(self.switch.all_datapaths().map(|dp| dp.full_name()).collect())
    }

    fn open(&mut self, name: &str) -> Result<&mut dyn Dpif, DpifError> {
        self.switch.datapath_mut(name).ok_or_else(|| DpifError::NoSuchDatapath(name.to_string()))
    }

    fn create(&mut self, name: &str) -> Result<(), DpifError> {
        self.switch.create_datapath(name, self.now)
    }

    fn remove(&mut self, name: &str) -> Result<(), DpifError> {
        self.switch.remove_datapath(name)
    }

    fn port(
        &mut self,
        datapath: &str,
        name: &str,
        kind: &str,
        options: &[(&str, &str)],
    ) -> Result<PortSpec, DpifError> {
        let mut interface = InterfaceConfig::new(name);
        interface.kind = kind.to_string();
        interface.options = options.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let refused = |why: String| DpifError::System { what: "device", source: io::Error::other(why) };
        let spec = self.switch.port_spec(datapath, kind, &interface).map_err(refused)?;
        if let PortSpec::Device(_) = spec {
            self.opened.push(name.to_string());
        }
        Ok(spec)
    }

    fn limits_are_given(&self, name: &str) -> bool {
        self.switch.datapath(name).is_some_and(|dp| dp.has_limits())
    }

    fn now(&self) -> Instant {
        self.now
    }

    fn read(&mut self, file: &str) -> io::Result<String> {
        match file {
            // A daemon's is nobody's.
            "-" => Err(io::Error::other("standard input is not available")),
            file => std::fs::read_to_string(file),
        }
    }
}

/// The ports of all datapaths, by the name of the datapath and their own.
fn ports(switch: &Vswitch) -> BTreeSet<(String, String)> {
    let of = |dp: crate::vswitch::DatapathInfo<'_>| {
        let name = dp.full_name();
        dp.ports().unwrap_or_default().into_iter().map(move |p| (name.clone(), p.name)).collect::<Vec<_>>()
    };
    switch.all_datapaths().flat_map(of).collect()
}

/// Closes the devices of ports that went, and those that were opened and became none. A bridge that lost a port closes it
/// itself.
fn close(switch: &mut Vswitch, before: &BTreeSet<(String, String)>, opened: Vec<String>) {
    let after = ports(switch);
    let mut unused: Vec<String> = opened;
    for (_, port) in after.difference(before) {
        if let Some(at) = unused.iter().position(|name| name == port) {
            unused.remove(at);
        }
    }
    let is_bridges = |dp: &str, port: &str| {
        let is_shared = dp.split_once('@').is_some_and(|(kind, bare)| bare == format!("ovs-{kind}"));
        is_shared
            && switch.bridges().any(|b| dp.starts_with(&format!("{}@", b.datapath_type())) && b.port(port).is_some())
    };
    let gone = before.difference(&after).filter(|(dp, port)| !is_bridges(dp, port));
    unused.extend(gone.map(|(_, port)| port.clone()).collect::<Vec<_>>());
    unused.iter().for_each(|name| switch.device_closed(name));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vswitch::{DatapathTypes, Dummies};

    /// A command and what it closes, as [`run`] does it.
    fn says(switch: &mut Vswitch, words: &str) -> String {
        let before = ports(switch);
        let mut lent = Lent { switch, opened: Vec::new(), now: Instant::ZERO };
        let done = dpctl::run(&mut lent, &words.split(' ').collect::<Vec<_>>());
        let opened = lent.opened;
        close(switch, &before, opened);
        done.map_or_else(|e| format!("! {e}"), |reply| reply.to_string())
    }

    #[test]
    fn devices_are_closed_when_no_datapath_has_them() {
        let dummies = Dummies::default();
        let mut switch = Vswitch::new(DatapathTypes::dummy(), Box::new(dummies.clone()), 7);
        assert_eq!(says(&mut switch, "add-dp dummy@dp1"), "");
        assert_eq!(says(&mut switch, "add-dp dummy@dp1"), "! add_dp (File exists)");
        assert_eq!(says(&mut switch, "dump-dps"), "dummy@dp1\n");
        assert_eq!(says(&mut switch, "add-if dp1 p1,type=dummy"), "");
        assert_eq!(says(&mut switch, "add-if dp1 p1,type=dummy"), "! adding p1 to dp1 failed (File exists)");
        assert!(says(&mut switch, "del-if dp1 dp1").starts_with("! deleting port dp1 from dp1 failed"));
        assert!(dummies.get("p1").is_some());
        assert_eq!(says(&mut switch, "del-if dp1 p1"), "");
        assert!(dummies.get("p1").is_none() && dummies.get("dp1").is_some());
        assert_eq!(says(&mut switch, "del-dp dp1"), "");
        assert!(dummies.get("dp1").is_none());
        assert!(says(&mut switch, "del-dp dp1").starts_with("! opening datapath"));
    }
}

//! What a switch is to be: bridges, their ports, interfaces and controllers.
//!
//! A [`Config`] comes from a database ([`database`]), from a TOML file ([`Config::from_toml`]), or from Rust, and is all that
//! [`Vswitch::apply`](crate::Vswitch::apply) needs. Names and meanings are those of ovs-vswitchd.conf.db(5).
//!
//! ```
//! use ovs_switch::config::Config;
//!
//! let config = Config::from_toml(r#"
//!     [[bridge]]
//!     name = "br0"
//!     datapath_type = "netdev"
//!     fail_mode = "secure"
//!     controller = [{ target = "tcp:192.0.2.1:6653" }]
//!
//!     [[bridge.port]]
//!     name = "eth1"
//!     tag = 5
//!
//!     [[bridge.port]]
//!     name = "patch0"
//!     interface = [{ name = "patch0", type = "patch", options = { peer = "patch1" } }]
//! "#)?;
//! assert_eq!(config.bridges[0].ports[1].interfaces[0].options["peer"], "patch1");
//! # Ok::<(), ovs_switch::config::ConfigError>(())
//! ```

pub mod database;
mod file;

use std::collections::BTreeMap;
use std::path::PathBuf;

use ovs_ofproto::codec::{Version, Versions};
use ovs_ofproto::pipeline::{Collector, VlanMode, VlanSet};
use ovs_packet::EthAddr;
use serde::Deserialize;

use crate::switch::FailMode;

pub use file::ConfigError;

/// The highest VLAN that columns have room for.
pub(crate) const MAX_VLAN: u16 = 4095;

/// Keys and values as people and databases write them.
pub type Settings = BTreeMap<String, String>;

/// What a whole switch is to be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// The keys of `ssl:` and `pssl:`, if there are any.
    pub tls: Option<TlsFiles>,
    /// The bridges.
    #[serde(rename = "bridge")]
    pub bridges: Vec<BridgeConfig>,
    /// What is said of datapaths, by their types.
    #[serde(skip)]
    pub datapaths: BTreeMap<String, DatapathConfig>,
    /// `other_config` of the Open_vSwitch table.
    pub other_config: Settings,
}

/// What is said of a datapath, whichever bridges use it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DatapathConfig {
    /// The most connections by zone; without a zone, in each that has no limit of its own.
    pub ct_limits: BTreeMap<Option<u16>, u32>,
    /// How long connections live that begin in these zones: seconds, by upstream's names (`udp_first`).
    pub ct_timeouts: BTreeMap<u16, BTreeMap<String, u32>>,
}

/// The files of TLS, all PEM: options of the command line, columns of the SSL table, a table of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TlsFiles {
    /// Our private key.
    pub private_key: PathBuf,
    /// The certificate of that key, with those between it and the authority behind it.
    pub certificate: PathBuf,
    /// The certificates of the authorities that peers are known by; `none`: a peer may be anybody.
    pub ca_cert: PathBuf,
    /// Whether `ca_cert` is made of what the first peer shows, while it is not there.
    pub bootstrap_ca_cert: bool,
    /// Certificates that peers are shown behind ours, for those who bootstrap; nothing if empty.
    pub peer_ca_cert: PathBuf,
}

/// A bridge.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BridgeConfig {
    /// Its name, and that of its local port.
    pub name: String,
    /// The kind of datapath: `netdev`, `system`, `dummy`; the usual one if empty.
    pub datapath_type: String,
    /// What it does without flows and controllers.
    #[serde(deserialize_with = "file::fail_mode")]
    pub fail_mode: FailMode,
    /// The versions of OpenFlow that may be spoken; all if empty.
    #[serde(deserialize_with = "file::versions")]
    pub protocols: Versions,
    /// Its controllers.
    #[serde(rename = "controller")]
    pub controllers: Vec<ControllerConfig>,
    /// Its ports, the local one among them or not.
    #[serde(rename = "port")]
    pub ports: Vec<PortConfig>,
    /// VLANs in which nothing is learnt and everything is flooded.
    pub flood_vlans: Vec<u16>,
    /// Whether multicast is snooped.
    pub mcast_snooping_enable: bool,
    /// Whether the spanning tree protocol runs.
    pub stp_enable: bool,
    /// Whether the rapid spanning tree protocol runs.
    pub rstp_enable: bool,
    /// How its flow tables are set up, by number.
    #[serde(skip)]
    pub tables: BTreeMap<u8, FlowTableConfig>,
    /// Who gets the samples for a set of collectors, by the set's number.
    #[serde(skip)]
    pub collectors: BTreeMap<u32, Collector>,
    /// `other_config` of the Bridge table.
    pub other_config: Settings,
    /// What of the Bridge table is set and has no place here, by column: mirrors, exporters, tables.
    #[serde(skip)]
    pub others: Vec<&'static str>,
}

impl BridgeConfig {
    /// A bridge of this name with nothing more.
    pub fn new(name: impl Into<String>) -> BridgeConfig {
        BridgeConfig { name: name.into(), ..BridgeConfig::default() }
    }

    /// The bridge with another port.
    pub fn port(mut self, port: PortConfig) -> BridgeConfig {
        self.ports.push(port);
        self
    }

    /// The versions that may be spoken.
    pub fn versions(&self) -> Versions {
        if self.protocols == Versions::default() { Versions::up_to(Version::V1_5) } else { self.protocols }
    }

    /// The number of the datapath that `other_config:datapath-id` gives, in up to 16 hexadecimal digits; nothing if it gives
    /// none that is valid, or zero.
    pub fn datapath_id(&self) -> Option<u64> {
        datapath_id(self.other_config.get("datapath-id")?).filter(|id| *id != 0)
    }
}

/// The number of a datapath in up to 16 hexadecimal digits.
pub(crate) fn datapath_id(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x").or(text.strip_prefix("0X")).unwrap_or(text);
    let fits = (1..=16).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    u64::from_str_radix(digits, 16).ok().filter(|_| fits)
}

/// A port: an interface, or several as one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PortConfig {
    /// Its name.
    pub name: String,
    /// Its interfaces; one of the port's own name if empty.
    #[serde(rename = "interface")]
    pub interfaces: Vec<InterfaceConfig>,
    /// How it treats VLANs: `access`, `trunk`, `native-tagged`, `native-untagged`, `dot1q-tunnel`.
    pub vlan_mode: Option<String>,
    /// The VLAN of untagged packets.
    pub tag: Option<u16>,
    /// The VLANs of tagged packets; all if empty.
    pub trunks: Vec<u16>,
    /// The customer's VLANs that pass a `dot1q-tunnel`; all if empty.
    pub cvlans: Vec<u16>,
    /// Whether it sends nothing to other protected ports.
    pub protected: bool,
    /// Its queues.
    #[serde(rename = "queue")]
    pub queues: Vec<QueueConfig>,
    /// `other_config` of the Port table.
    pub other_config: Settings,
    /// What of the Port table is set and has no place here, by column: `qos`, `lacp`.
    #[serde(skip)]
    pub others: Vec<&'static str>,
}

impl PortConfig {
    /// A port with one interface of its name.
    pub fn new(name: impl Into<String>) -> PortConfig {
        let name = name.into();
        PortConfig { interfaces: vec![InterfaceConfig::new(name.clone())], name, ..PortConfig::default() }
    }

    /// The port with another kind of interface.
    pub fn kind(mut self, kind: impl Into<String>) -> PortConfig {
        let kind = kind.into();
        self.interfaces.iter_mut().for_each(|i| i.kind.clone_from(&kind));
        self
    }

    /// The port with an option of its interfaces.
    pub fn option(mut self, key: impl Into<String>, value: impl Into<String>) -> PortConfig {
        let (key, value) = (key.into(), value.into());
        self.interfaces.iter_mut().for_each(|i| drop(i.options.insert(key.clone(), value.clone())));
        self
    }

    /// The port as an access port of a VLAN.
    pub fn tag(mut self, vlan: u16) -> PortConfig {
        self.tag = Some(vlan);
        self
    }

    /// How the port treats VLANs, by the rules of the columns `vlan_mode`, `tag` and `trunks`.
    ///
    /// # Errors
    /// What the columns ask for that there is not, in a line.
    pub fn vlan(&self) -> Result<VlanMode, String> {
        let vlans = self.tag.iter().map(|v| ("tag", v)).chain(self.trunks.iter().map(|v| ("trunks", v)));
        let mut vlans = vlans.chain(self.cvlans.iter().map(|v| ("cvlans", v)));
        if let Some((column, vlan)) = vlans.find(|(_, vlan)| **vlan > MAX_VLAN) {
            return Err(format!("port {}: {column} {vlan}: not 0 to {MAX_VLAN}", self.name));
        }
        let trunks = if self.trunks.is_empty() { VlanSet::ALL } else { self.trunks.iter().copied().collect() };
        let tag = self.tag.unwrap_or(0);
        match self.vlan_mode.as_deref() {
            Some("access") => Ok(VlanMode::Access(tag)),
            Some("trunk") => Ok(VlanMode::Trunk(trunks)),
            Some("native-tagged") => Ok(VlanMode::NativeTagged(tag, trunks)),
            Some("native-untagged") => Ok(VlanMode::NativeUntagged(tag, trunks)),
            Some("dot1q-tunnel") => {
                let mut mode = VlanMode::tunnel(tag);
                if let VlanMode::Dot1qTunnel { customers, tpid, .. } = &mut mode {
                    if !self.cvlans.is_empty() {
                        *customers = self.cvlans.iter().copied().collect();
                    }
                    match self.other_config.get("qinq-ethtype").map(String::as_str) {
                        None | Some("802.1ad") => {}
                        Some("802.1q") => *tpid = 0x8100,
                        Some(other) => {
                            return Err(format!("port {}: qinq-ethtype {other}: not 802.1ad or 802.1q", self.name));
                        }
                    }
                }
                Ok(mode)
            }
            Some(other) => Err(format!("port {}: vlan_mode {other} is not available", self.name)),
            None if self.tag.is_some() => Ok(VlanMode::Access(tag)),
            None => Ok(VlanMode::Trunk(trunks)),
        }
    }

    /// The columns of VLANs that are set though the port's mode has no use for them, each with the mode.
    pub(crate) fn unused_vlans(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let (mode, used): (_, &[&str]) = match self.vlan() {
            Ok(VlanMode::Access(_)) => ("access", &["tag"]),
            Ok(VlanMode::Trunk(_)) => ("trunk", &["trunks"]),
            Ok(VlanMode::NativeTagged(..)) => ("native-tagged", &["tag", "trunks"]),
            Ok(VlanMode::NativeUntagged(..)) => ("native-untagged", &["tag", "trunks"]),
            Ok(VlanMode::Dot1qTunnel { .. }) => ("dot1q-tunnel", &["tag", "cvlans"]),
            // There is no such port.
            Ok(_) | Err(_) => ("", &["tag", "trunks", "cvlans"]),
        };
        let set =
            [("tag", self.tag.is_some()), ("trunks", !self.trunks.is_empty()), ("cvlans", !self.cvlans.is_empty())];
        let unused = set.into_iter().filter(|(column, is_set)| *is_set && !used.contains(column));
        unused.map(move |(column, _)| (column, mode))
    }
}

/// A queue of a port.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct QueueConfig {
    /// The number that OpenFlow's actions know it by.
    pub number: u32,
    /// The DSCP, 0 to 63, that IP packets get that leave by it; they keep theirs if not given.
    #[serde(deserialize_with = "file::dscp")]
    pub dscp: Option<u8>,
}

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct InterfaceConfig {
    /// Its name.
    pub name: String,
    /// Its kind: `system`, `internal`, `patch`, `dummy`...; `system` if empty.
    #[serde(rename = "type")]
    pub kind: String,
    /// The number in OpenFlow that it is to have.
    pub ofport_request: Option<u16>,
    /// The address that it is to have.
    #[serde(deserialize_with = "file::address")]
    pub mac: Option<EthAddr>,
    /// The MTU that it is to have.
    pub mtu_request: Option<u16>,
    /// What its kind takes.
    pub options: Settings,
    /// `other_config` of the Interface table.
    pub other_config: Settings,
    /// What of the Interface table is set and has no place here, by column: `bfd`, `ingress_policing_rate`...
    #[serde(skip)]
    pub others: Vec<&'static str>,
}

impl InterfaceConfig {
    /// An interface of the kind `system`.
    pub fn new(name: impl Into<String>) -> InterfaceConfig {
        InterfaceConfig { name: name.into(), ..InterfaceConfig::default() }
    }
}

/// How a flow table is set up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FlowTableConfig {
    /// Its name.
    pub name: Option<String>,
    /// How many flows it may have.
    pub flow_limit: Option<usize>,
    /// Whether a flow gives way to a new one where there are too many.
    pub evict: bool,
    /// The fields by which flows are told apart into groups, of which the largest gives way.
    pub groups: Vec<String>,
    /// The fields whose prefixes are tracked.
    pub prefixes: Option<Vec<String>>,
}

impl ControllerConfig {
    /// Whether the switch connects to it: such a controller is responsible for the flows.
    pub fn is_primary(&self) -> bool {
        !["ptcp:", "pssl:", "punix:", "pfd:"].iter().any(|p| self.target.starts_with(p))
    }
}

/// A controller.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ControllerConfig {
    /// Where it is: `tcp:IP:PORT`, `unix:FILE`, or where it may connect to: `ptcp:PORT`, `punix:FILE`.
    pub target: String,
    /// The longest pause between attempts, in milliseconds.
    pub max_backoff: Option<u64>,
    /// After how many silent milliseconds it is probed; 0 for never.
    pub inactivity_probe: Option<u64>,
    /// Packets a second that it gets; all if not given.
    pub rate_limit: Option<u32>,
    /// Packets that it gets at once, with a rate limit.
    pub burst_limit: Option<u32>,
    /// Packets that wait for it, with a rate limit.
    pub queue_size: Option<u32>,
    /// Whether it is reached by another way than through the bridge (`connection_mode` is `out-of-band`).
    pub is_out_of_band: bool,
    /// What of the Controller table is set and has no place here, by column: `local_ip`.
    #[serde(skip)]
    pub others: Vec<&'static str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vlan_columns_by_the_manual() {
        let vlan = |mode: Option<&str>, tag, trunks: &[u16]| {
            PortConfig { vlan_mode: mode.map(String::from), tag, trunks: trunks.to_vec(), ..PortConfig::new("p") }
                .vlan()
        };
        let some: VlanSet = [10, 20].into_iter().collect();
        assert_eq!(vlan(None, None, &[]), Ok(VlanMode::Trunk(VlanSet::ALL)));
        assert_eq!(vlan(None, Some(5), &[10]), Ok(VlanMode::Access(5)));
        assert_eq!(vlan(None, None, &[10, 20]), Ok(VlanMode::Trunk(some)));
        assert_eq!(vlan(Some("native-tagged"), Some(5), &[10, 20]), Ok(VlanMode::NativeTagged(5, some)));
        assert_eq!(vlan(Some("native-untagged"), Some(5), &[]), Ok(VlanMode::NativeUntagged(5, VlanSet::ALL)));
        assert_eq!(vlan(None, Some(4096), &[]).unwrap_err(), "port p: tag 4096: not 0 to 4095");
        assert_eq!(vlan(None, None, &[7, 5000]).unwrap_err(), "port p: trunks 5000: not 0 to 4095");
        assert_eq!(vlan(Some("odd"), None, &[]).unwrap_err(), "port p: vlan_mode odd is not available");
    }

    #[test]
    fn columns_of_vlans_that_a_mode_has_no_use_for_are_known() {
        let unused = |mode: Option<&str>, tag| {
            let mut port = PortConfig { vlan_mode: mode.map(String::from), tag, ..PortConfig::new("p") };
            assert_eq!(port.unused_vlans().find(|(column, _)| *column != "tag"), None);
            (port.trunks, port.cvlans) = (vec![10], vec![20]);
            let unused: Vec<_> = port.unused_vlans().map(|(column, mode)| format!("{column} {mode}")).collect();
            unused.join(", ")
        };
        assert_eq!(unused(None, None), "cvlans trunk");
        assert_eq!(unused(None, Some(0)), "trunks access, cvlans access");
        assert_eq!(unused(Some("access"), Some(5)), "trunks access, cvlans access");
        assert_eq!(unused(Some("trunk"), Some(5)), "tag trunk, cvlans trunk");
        assert_eq!(unused(Some("native-tagged"), Some(5)), "cvlans native-tagged");
        assert_eq!(unused(Some("native-untagged"), Some(5)), "cvlans native-untagged");
        assert_eq!(unused(Some("dot1q-tunnel"), Some(5)), "trunks dot1q-tunnel");
        assert_eq!(unused(Some("odd"), Some(5)), "", "what is wrong with it is said elsewhere");
    }

    #[test]
    fn datapath_ids_are_up_to_16_digits() {
        let id = |text: &str| {
            let mut bridge = BridgeConfig::new("br0");
            bridge.other_config.insert("datapath-id".into(), text.into());
            bridge.datapath_id()
        };
        assert_eq!(id("0123456789abcdef"), Some(0x0123_4567_89ab_cdef));
        assert_eq!(id("0x5ad515c0"), Some(0x5ad5_15c0));
        assert_eq!(["0x00", "", "0x", "+1", "12345678901234567", "xyz"].map(id), [None; 6]);
    }
}

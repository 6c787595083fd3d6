//! Configuration from a TOML file.

use ovs_ofproto::codec::Versions;
use ovs_ofproto::session::parse_versions;
use ovs_packet::EthAddr;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::{Config, PortConfig};
use crate::config::InterfaceConfig;
use crate::switch::FailMode;
use crate::vswitch::settings;

/// Why a text is no configuration. Displays as what is wrong, and where.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It is not the TOML that is expected.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// Something has no name.
    #[error("{at}: a {what} has no name")]
    Nameless {
        /// A bridge, a port, an interface.
        what: &'static str,
        /// Where: `bridge[0].port[2]`.
        at: String,
    },
    /// Two things have the same name.
    #[error("{at}: {what} {name} is there twice")]
    Twice {
        /// Two bridges, ports, interfaces.
        what: &'static str,
        /// Their name.
        name: String,
        /// Where the second is.
        at: String,
    },
    /// Something is asked for that is not available, or that nobody knows, or has a value that it cannot have.
    #[error("{at}: {why}")]
    Refused {
        /// Where: `other_config`, `bridge[0]`, `bridge[0].port[2].interface[0]`.
        at: String,
        /// What, and why.
        why: String,
    },
}

impl Config {
    /// Reads a TOML text: see the [module](super) for an example.
    ///
    /// # Errors
    /// [`ConfigError`]; what is not known is refused.
    pub fn from_toml(text: &str) -> Result<Config, ConfigError> {
        let mut config: Config = toml::from_str(text)?;
        config.bridges.iter_mut().flat_map(|bridge| &mut bridge.ports).for_each(fill);
        config.check()?;
        Ok(config)
    }

    /// Whether all of it can be, as far as that is known without a machine to try it on. A switch that
    /// [applies](crate::Vswitch::apply) what cannot be leaves it out and says so.
    ///
    /// # Errors
    /// What is the first that cannot be, and where.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut names = std::collections::BTreeSet::new();
        let mut known = |what: &'static str, name: &str, at: &str| {
            let at = at.to_string();
            if name.is_empty() {
                return Err(ConfigError::Nameless { what, at });
            }
            let is_new = names.insert((what, name.to_string()));
            if is_new { Ok(()) } else { Err(ConfigError::Twice { what, name: name.to_string(), at }) }
        };
        let refused = |at: &str, why: Option<String>| {
            why.map_or(Ok(()), |why| Err(ConfigError::Refused { at: at.to_string(), why }))
        };
        refused("other_config", settings::of_whole(&self.other_config))?;
        for (i, bridge) in self.bridges.iter().enumerate() {
            let at = format!("bridge[{i}]");
            known("bridge", &bridge.name, &at)?;
            refused(&at, settings::problems(bridge))?;
            for (i, port) in bridge.ports.iter().enumerate() {
                let at = format!("{at}.port[{i}]");
                known("port", &port.name, &at)?;
                refused(&at, port.vlan().err())?;
                for (i, interface) in port.interfaces.iter().enumerate() {
                    let at = format!("{at}.interface[{i}]");
                    known("interface", &interface.name, &at)?;
                    refused(&at, settings::left_out(port, interface))?;
                }
            }
        }
        Ok(())
    }
}

fn fill(port: &mut PortConfig) {
    if port.interfaces.is_empty() {
        port.interfaces.push(InterfaceConfig::new(port.name.clone()));
    }
}

pub(super) fn fail_mode<'de, D: Deserializer<'de>>(d: D) -> Result<FailMode, D::Error> {
    match String::deserialize(d)?.as_str() {
        "secure" => Ok(FailMode::Secure),
        "standalone" => Ok(FailMode::Standalone),
        other => Err(D::Error::custom(format!("fail_mode {other}: not standalone or secure"))),
    }
}

pub(super) fn versions<'de, D: Deserializer<'de>>(d: D) -> Result<Versions, D::Error> {
    let names = Vec::<String>::deserialize(d)?.join(",");
    parse_versions(&names).map_err(D::Error::custom)
}

pub(super) fn address<'de, D: Deserializer<'de>>(d: D) -> Result<Option<EthAddr>, D::Error> {
    String::deserialize(d)?.parse().map(Some).map_err(D::Error::custom)
}

pub(super) fn dscp<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u8>, D::Error> {
    match u8::deserialize(d)? {
        dscp @ 0..64 => Ok(Some(dscp)),
        other => Err(D::Error::custom(format!("dscp {other}: not 0 to 63"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_and_what_is_wrong_is_said() {
        let text = r#"
            other_config = { flow-limit = "1000" }
            [[bridge]]
            name = "br0"
            protocols = ["OpenFlow10", "OpenFlow13"]
            [[bridge.port]]
            name = "p1"
            vlan_mode = "trunk"
            trunks = [1, 2]
            interface = [{ name = "p1", type = "dummy", ofport_request = 7, mac = "02:00:00:00:00:01" }]
            queue = [{ number = 1, dscp = 63 }, { number = 2 }]
        "#;
        let config = Config::from_toml(text).unwrap();
        let bridge = &config.bridges[0];
        assert_eq!(bridge.versions(), parse_versions("OpenFlow10,OpenFlow13").unwrap());
        assert_eq!(bridge.ports[0].interfaces[0].ofport_request, Some(7));
        let queues: Vec<_> = bridge.ports[0].queues.iter().map(|q| (q.number, q.dscp)).collect();
        assert_eq!(queues, [(1, Some(63)), (2, None)]);
        for (text, says) in [
            (
                "[[bridge]]\nname = 'a'\n[[bridge.port]]\nname = 'p'\nqueue = [{ number = 1, dscp = 64 }]",
                "dscp 64: not 0 to 63",
            ),
            ("[[bridge]]", "a bridge has no name"),
            ("[[bridge]]\nname = 'a'\n[[bridge]]\nname = 'a'", "bridge a is there twice"),
            ("[[bridge]]\nname = 'a'\ncolour = 'red'", "unknown field `colour`"),
            ("[[bridge]]\nname = 'a'\nfail_mode = 'loud'", "fail_mode loud: not standalone or secure"),
            ("[[bridge]]\nname = 'a'\nprotocols = ['OpenFlow9']", "OpenFlow9"),
            ("bridge = 5", "invalid type"),
            ("other_config = { taste = 'sour' }", "other_config: not available: other_config:taste"),
            ("other_config = { max-idle = '3' }", "other_config: other_config:max-idle: 3 is no number from 500 up"),
            ("[[bridge]]\nname = 'a'\nstp_enable = true", "bridge[0]: not available: stp_enable"),
            ("[[bridge]]\nname = 'a'\nflood_vlans = [5000]", "bridge[0]: flood_vlans 5000: not 0 to 4095"),
            (
                "[[bridge]]\nname = 'a'\n[[bridge.port]]\nname = 'p'\ntag = 5000",
                "bridge[0].port[0]: port p: tag 5000: not 0 to 4095",
            ),
            (
                "[[bridge]]\nname = 'a'\n[[bridge.port]]\nname = 'p'\ninterface = [{ name = 'p', mtu_request = 5 }]",
                "bridge[0].port[0].interface[0]: mtu_request 5: not 68 or more",
            ),
        ] {
            let error = Config::from_toml(text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}

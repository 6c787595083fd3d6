//! Configuration from a TOML file.

use ovs_ofproto::codec::Versions;
use ovs_ofproto::session::parse_versions;
use ovs_packet::EthAddr;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::{Config, PortConfig};
use crate::config::InterfaceConfig;
use crate::switch::FailMode;

/// Why a text is no configuration. Displays as what is wrong, and where.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It is not the TOML that is expected.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// Something has no name.
    #[error("a {0} has no name")]
    Nameless(&'static str),
    /// Two things have the same name.
    #[error("{0} {1} is there twice")]
    Twice(&'static str, String),
}

impl Config {
    /// Reads a TOML text: see the [module](super) for an example.
    ///
    /// # Errors
    /// [`ConfigError`]; what is not known is refused.
    pub fn from_toml(text: &str) -> Result<Config, ConfigError> {
        let mut config: Config = toml::from_str(text)?;
        let mut names = std::collections::BTreeSet::new();
        let mut known = |what: &'static str, name: &str| {
            if name.is_empty() {
                return Err(ConfigError::Nameless(what));
            }
            let is_new = names.insert((what, name.to_string()));
            if is_new { Ok(()) } else { Err(ConfigError::Twice(what, name.to_string())) }
        };
        for bridge in &mut config.bridges {
            known("bridge", &bridge.name)?;
            for port in &mut bridge.ports {
                known("port", &port.name)?;
                fill(port);
                port.interfaces.iter().try_for_each(|i| known("interface", &i.name))?;
            }
        }
        Ok(config)
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
        ] {
            let error = Config::from_toml(text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}

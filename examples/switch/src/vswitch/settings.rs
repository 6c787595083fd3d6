//! What of a configuration is obeyed, and what is told because it is not.

use std::ops::RangeInclusive;

use ovs_ofproto::Subfield;
use ovs_ofproto::pipeline::TableConfig;
use ovs_packet::field::FieldId;

use super::keys;
use crate::config::{BridgeConfig, FlowTableConfig, InterfaceConfig, MAX_VLAN, PortConfig, Settings};

/// The numbers that a port may ask for (ovs-vswitchd.conf.db(5)).
pub(super) const OFPORTS: RangeInclusive<u16> = 1..=65_279;

/// The least MTU that an interface may ask for: what IPv4 can do with (RFC 791).
const MIN_MTU: u16 = 68;

fn not_available(what: &[String]) -> Option<String> {
    (!what.is_empty()).then(|| format!("not available: {}", what.join(", ")))
}

/// What of the configuration of the whole is not done.
pub(crate) fn of_whole(settings: &Settings) -> Option<String> {
    let unknown: Vec<String> = keys::WHOLE.unknown(settings).collect();
    joined(not_available(&unknown).into_iter().chain(keys::WHOLE.wrong(settings)))
}

fn joined(problems: impl IntoIterator<Item = String>) -> Option<String> {
    let problems: Vec<String> = problems.into_iter().collect();
    (!problems.is_empty()).then(|| problems.join("; "))
}

/// What of a port's configuration is not done though the port is there.
pub(crate) fn left_out(port: &PortConfig, interface: &InterfaceConfig) -> Option<String> {
    let columns = port.others.iter().chain(&interface.others).map(|c| c.to_string());
    let keys = keys::PORT.unknown(&port.other_config).chain(keys::INTERFACE.unknown(&interface.other_config));
    let wrong = keys::PORT.wrong(&port.other_config).chain(keys::INTERFACE.wrong(&interface.other_config));
    let absent = not_available(&columns.chain(keys).collect::<Vec<_>>());
    let unused = port.unused_vlans().map(|(column, mode)| format!("{column}: of no use in mode {mode}"));
    joined(absent.into_iter().chain(wrong).chain(unused).chain(of_numbers(interface)))
}

/// What is asked of an interface that is no such number. A database refuses them itself.
fn of_numbers(interface: &InterfaceConfig) -> impl Iterator<Item = String> {
    let number = interface.ofport_request.filter(|n| !OFPORTS.contains(n));
    let number = number.map(|n| format!("ofport_request {n}: not {} to {}", OFPORTS.start(), OFPORTS.end()));
    let mtu = interface.mtu_request.filter(|mtu| *mtu < MIN_MTU);
    number.into_iter().chain(mtu.map(|mtu| format!("mtu_request {mtu}: not {MIN_MTU} or more")))
}

/// What of a bridge's configuration is not done though the bridge is there.
pub(crate) fn problems(config: &BridgeConfig) -> Option<String> {
    let mut what: Vec<String> = config.others.iter().map(|c| c.to_string()).collect();
    for (is_wanted, name) in [(config.stp_enable, "stp_enable"), (config.rstp_enable, "rstp_enable")] {
        if is_wanted {
            what.push(name.into());
        }
    }
    what.extend(keys::BRIDGE.unknown(&config.other_config));
    for controller in &config.controllers {
        what.extend(controller.others.iter().map(|column| format!("{column} of controller {}", controller.target)));
    }
    let mut all: Vec<String> =
        not_available(&what).into_iter().chain(keys::BRIDGE.wrong(&config.other_config)).collect();
    let vlans = config.flood_vlans.iter().filter(|vlan| **vlan > MAX_VLAN);
    all.extend(vlans.map(|vlan| format!("flood_vlans {vlan}: not 0 to {MAX_VLAN}")));
    for (number, table) in &config.tables {
        let groups = table.groups.iter().filter(|text| subfield(text).is_none()).map(|text| ("groups", text));
        let prefixes = table.prefixes.iter().flatten().filter(|text| FieldId::by_name(text).is_none());
        let prefixes = prefixes.map(|text| ("prefixes", text));
        all.extend(
            groups.chain(prefixes).map(|(column, text)| format!("flow table {number}: {column}: {text} is no field")),
        );
    }
    joined(all)
}

/// What of a table's configuration the pipeline is told.
pub(super) fn of_table(config: &FlowTableConfig) -> TableConfig {
    let mut table = TableConfig::default();
    table.name = config.name.clone();
    table.limit = config.flow_limit;
    // Fields that are none are said by `problems`.
    table.evict_by = config.evict.then(|| config.groups.iter().filter_map(|g| subfield(g)).collect());
    table.prefixes = config.prefixes.as_ref().map(|names| names.iter().filter_map(|n| FieldId::by_name(n)).collect());
    table
}

/// A field or a part of one, as the column `groups` has it: `NXM_OF_IN_PORT[]`.
fn subfield(text: &str) -> Option<Subfield> {
    let ovs_packet::field::Subfield { field, offset, bits } = text.parse().ok()?;
    Some(Subfield { field, offset, bits })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ControllerConfig;

    #[test]
    fn what_is_not_done_is_told() {
        let mut bridge = BridgeConfig::new("br0");
        assert_eq!(problems(&bridge), None);
        for key in ["hwaddr", "stp-priority", "colour"] {
            bridge.other_config.insert(key.into(), "x".into());
        }
        let mut controller = ControllerConfig { target: "tcp:192.0.2.1".into(), ..ControllerConfig::default() };
        controller.others = vec!["local_ip"];
        bridge.controllers.push(controller);
        let table = FlowTableConfig {
            groups: vec!["NXM_OF_IN_PORT[]".into(), "colour[]".into()],
            prefixes: Some(vec!["ip_dst".into(), "taste".into()]),
            ..FlowTableConfig::default()
        };
        bridge.tables.insert(3, table);
        assert_eq!(
            problems(&bridge).unwrap(),
            "not available: other_config:colour, other_config:stp-priority, local_ip of controller tcp:192.0.2.1; \
             other_config:hwaddr: x is no Ethernet address; flow table 3: groups: colour[] is no field; \
             flow table 3: prefixes: taste is no field"
        );
        let mut port = PortConfig::new("p1");
        port.other_config.insert("priority-tags".into(), "always".into());
        let mut interface = InterfaceConfig::new("p1");
        assert_eq!(left_out(&port, &interface), None);
        port.others.push("qos");
        port.other_config.insert("lacp-time".into(), "fast".into());
        interface.others.push("ingress_policing_rate");
        interface.other_config.insert("emc-enable".into(), "false".into());
        assert_eq!(
            left_out(&port, &interface).unwrap(),
            "not available: qos, ingress_policing_rate, other_config:lacp-time, other_config:emc-enable"
        );
    }
}

//! What of a configuration is obeyed, and what is told because it is not.

use ovs_ofproto::Subfield;
use ovs_ofproto::pipeline::TableConfig;
use ovs_packet::field::FieldId;

use crate::config::{BridgeConfig, FlowTableConfig, InterfaceConfig, PortConfig};

/// Keys of `other_config` that are obeyed, by table. Those of protocols and of bonds are told where these are asked for.
const PORT_KEYS: &[&str] =
    &["mcast-snooping-flood", "mcast-snooping-flood-reports", "priority-tags", "qinq-ethtype", "transient"];
const INTERFACE_KEYS: [&str; 2] = ["pmd-rxq-affinity", "tx-steering"];
const BRIDGE_KEYS: &[&str] = &[
    "datapath-id",
    // No flows of its own are what a bridge has.
    "disable-in-band",
    "forward-bpdu",
    "hwaddr",
    "mac-aging-time",
    "mac-table-size",
    "mcast-snooping-aging-time",
    "mcast-snooping-disable-flood-unregistered",
    "mcast-snooping-table-size",
];

/// Keys that are not obeyed.
pub(super) fn unknown(settings: &crate::config::Settings, known: &[&str]) -> impl Iterator<Item = String> {
    settings.keys().filter(|key| !known.contains(&key.as_str())).map(|key| format!("other_config:{key}"))
}

fn not_available(what: &[String]) -> Option<String> {
    (!what.is_empty()).then(|| format!("not available: {}", what.join(", ")))
}

/// What of a port's configuration is not done though the port is there.
pub(super) fn left_out(port: &PortConfig, interface: &InterfaceConfig) -> Option<String> {
    let columns = port.others.iter().chain(&interface.others).map(|c| c.to_string());
    let keys = unknown(&port.other_config, PORT_KEYS).chain(unknown(&interface.other_config, &INTERFACE_KEYS));
    not_available(&columns.chain(keys).collect::<Vec<_>>())
}

/// What of a bridge's configuration is not done though the bridge is there.
pub(super) fn problems(config: &BridgeConfig) -> Option<String> {
    let mut what: Vec<String> = config.others.iter().map(|c| c.to_string()).collect();
    for (is_wanted, name) in [(config.stp_enable, "stp_enable"), (config.rstp_enable, "rstp_enable")] {
        if is_wanted {
            what.push(name.into());
        }
    }
    // How a protocol is to run that is not to run is nothing to be done.
    let keys = unknown(&config.other_config, BRIDGE_KEYS);
    what.extend(keys.filter(|key| !key.contains(":stp-") && !key.contains(":rstp-")));
    for controller in &config.controllers {
        what.extend(controller.others.iter().map(|column| format!("{column} of controller {}", controller.target)));
    }
    let mut all: Vec<String> = not_available(&what).into_iter().collect();
    for (number, table) in &config.tables {
        let groups = table.groups.iter().filter(|text| subfield(text).is_none()).map(|text| ("groups", text));
        let prefixes = table.prefixes.iter().flatten().filter(|text| FieldId::by_name(text).is_none());
        let prefixes = prefixes.map(|text| ("prefixes", text));
        all.extend(
            groups.chain(prefixes).map(|(column, text)| format!("flow table {number}: {column}: {text} is no field")),
        );
    }
    (!all.is_empty()).then(|| all.join("; "))
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
        for key in ["hwaddr", "stp-priority", "dp-desc"] {
            bridge.other_config.insert(key.into(), "x".into());
        }
        let mut controller = ControllerConfig { target: "tcp:192.0.2.1".into(), ..ControllerConfig::default() };
        controller.others = vec!["connection_mode:in-band"];
        bridge.controllers.push(controller);
        let table = FlowTableConfig {
            groups: vec!["NXM_OF_IN_PORT[]".into(), "colour[]".into()],
            prefixes: Some(vec!["ip_dst".into(), "taste".into()]),
            ..FlowTableConfig::default()
        };
        bridge.tables.insert(3, table);
        assert_eq!(
            problems(&bridge).unwrap(),
            "not available: other_config:dp-desc, connection_mode:in-band of controller tcp:192.0.2.1; \
             flow table 3: groups: colour[] is no field; flow table 3: prefixes: taste is no field"
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

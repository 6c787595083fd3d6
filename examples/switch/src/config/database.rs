//! Configuration from a database: what a switch watches of it, and what that says.

use std::path::PathBuf;

use ovs_db::client::{MapView, Monitor, Replica, RowView};
use ovs_db::vswitch::{
    self, Bridge, Controller, CtTimeoutPolicy, CtZone, Datapath, FlowSampleCollectorSet, FlowTable, Interface,
    OpenVSwitch, Port, QoS, Queue, Ssl,
};
use ovs_ofproto::codec::Versions;
use ovs_ofproto::pipeline::Collector;
use ovs_ofproto::session::parse_versions;
use ovs_packet::EthAddr;

use super::{
    BridgeConfig, Config, ControllerConfig, DatapathConfig, FlowTableConfig, InterfaceConfig, PortConfig, QueueConfig,
    Settings, TlsFiles,
};
use crate::switch::FailMode;

/// Tables that a switch reads.
const TABLES: &[&str] = &[
    "Open_vSwitch",
    "Bridge",
    "Port",
    "Interface",
    "Controller",
    "Flow_Table",
    "SSL",
    "Mirror",
    "QoS",
    "Queue",
    "Flow_Sample_Collector_Set",
    "Datapath",
    "CT_Zone",
    "CT_Timeout_Policy",
];

/// Columns that a switch writes: their changes are no reason to look again.
const WRITTEN: &[(&str, &[&str])] = &[
    (
        "Open_vSwitch",
        &[
            "cur_cfg",
            "ovs_version",
            "db_version",
            "datapath_types",
            "iface_types",
            "statistics",
            "dpdk_version",
            "dpdk_initialized",
            "system_type",
            "system_version",
        ],
    ),
    ("Bridge", &["datapath_id", "datapath_version", "status", "rstp_status"]),
    ("Port", &["status", "statistics", "rstp_status", "rstp_statistics", "bond_active_slave"]),
    (
        "Interface",
        &[
            "ofport",
            "error",
            "mac_in_use",
            "admin_state",
            "link_state",
            "link_speed",
            "duplex",
            "mtu",
            "ifindex",
            "link_resets",
            "statistics",
            "status",
            "cfm_fault",
            "cfm_fault_status",
            "cfm_flap_count",
            "cfm_health",
            "cfm_remote_mpids",
            "cfm_remote_opstate",
            "bfd_status",
            "lacp_current",
        ],
    ),
    ("Controller", &["is_connected", "role", "status"]),
    ("Datapath", &["capabilities", "datapath_version"]),
];

/// Columns that only people and other programs look at.
const IGNORED: &[(&str, &str)] = &[
    ("Open_vSwitch", "manager_options"),
    ("Interface", "external_ids"),
    ("Port", "external_ids"),
    ("Bridge", "external_ids"),
    ("Open_vSwitch", "external_ids"),
    ("QoS", "external_ids"),
    ("Queue", "external_ids"),
    ("Flow_Sample_Collector_Set", "external_ids"),
    ("Datapath", "external_ids"),
    ("CT_Zone", "external_ids"),
    ("CT_Timeout_Policy", "external_ids"),
];

/// What a switch watches of its database.
pub fn monitor() -> Monitor {
    let mut monitor = Monitor::new(vswitch::schema());
    let schema = vswitch::schema();
    for table in TABLES.iter().copied() {
        let Some(columns) = schema.table(table) else { continue };
        let written = WRITTEN.iter().find(|(t, _)| *t == table).map_or(&[][..], |(_, c)| c);
        for column in columns.columns.keys() {
            if written.contains(&column.as_str()) {
                monitor.watch_quietly_named(table, column);
            } else if !IGNORED.contains(&(table, column)) {
                monitor.watch_named(table, column);
            }
        }
    }
    monitor
}

/// What the database says that the switch is to be; nothing as long as it has no row of the Open_vSwitch table.
pub fn read(replica: &Replica) -> Option<Config> {
    let root = replica.single::<OpenVSwitch>()?;
    let bridges = root.get(OpenVSwitch::BRIDGES).iter().filter_map(|id| replica.row(id)).map(|b| bridge(replica, b));
    let tls = root.get(OpenVSwitch::SSL).and_then(|id| replica.row(id)).map(tls);
    let datapaths = root.get(OpenVSwitch::DATAPATHS).iter();
    let datapaths = datapaths.filter_map(|(kind, id)| Some((kind.to_string(), datapath(replica, replica.row(id)?))));
    Some(Config {
        tls,
        bridges: bridges.collect(),
        datapaths: datapaths.collect(),
        other_config: settings(root.get(OpenVSwitch::OTHER_CONFIG)),
    })
}

fn datapath(replica: &Replica, row: RowView<'_, Datapath>) -> DatapathConfig {
    let small = |value: Option<i64>| value.and_then(|v| u32::try_from(v).ok());
    let zones = || {
        let rows = row.get(Datapath::CT_ZONES).iter();
        rows.filter_map(|(zone, id)| Some((u16::try_from(zone).ok()?, replica.row::<CtZone>(id)?)))
    };
    let limits = zones().map(|(zone, of)| (Some(zone), small(of.get(CtZone::LIMIT))));
    let limits = limits.chain([(None, small(row.get(Datapath::CT_ZONE_DEFAULT_LIMIT)))]);
    let policies = zones().filter_map(|(zone, of)| Some((zone, replica.row(of.get(CtZone::TIMEOUT_POLICY)?)?)));
    let seconds = |policy: RowView<'_, CtTimeoutPolicy>| {
        let timeouts = policy.get(CtTimeoutPolicy::TIMEOUTS);
        timeouts.iter().filter_map(|(name, n)| Some((name.to_string(), u32::try_from(n).ok()?))).collect()
    };
    DatapathConfig {
        ct_limits: limits.filter_map(|(zone, limit)| Some((zone, limit?))).collect(),
        ct_timeouts: policies.map(|(zone, policy)| (zone, seconds(policy))).collect(),
    }
}

fn tls(row: RowView<'_, Ssl>) -> TlsFiles {
    TlsFiles {
        private_key: row.get(Ssl::PRIVATE_KEY).into(),
        certificate: row.get(Ssl::CERTIFICATE).into(),
        ca_cert: row.get(Ssl::CA_CERT).into(),
        bootstrap_ca_cert: row.get(Ssl::BOOTSTRAP_CA_CERT),
        peer_ca_cert: PathBuf::new(),
    }
}

/// Bytes of a value that are looked at. None that means something is nearly as long, and a database may have 100 MB in one.
const MAX_VALUE: usize = 64 << 10;

fn settings(map: MapView<'_, str, str>) -> Settings {
    let bounded = |text: &str| text[..text.floor_char_boundary(MAX_VALUE)].to_string();
    map.iter().map(|(key, value)| (key.to_string(), bounded(value))).collect()
}

/// Those of some columns that are not empty.
fn set_columns<T>(row: &RowView<'_, T>, columns: &[&'static str]) -> Vec<&'static str> {
    columns.iter().copied().filter(|c| row.cell(c).is_some_and(|d| !d.is_empty())).collect()
}

/// Columns that are set, and with them those of which that is to be said for another reason.
fn others<const N: usize>(mut set: Vec<&'static str>, more: [(&'static str, bool); N]) -> Vec<&'static str> {
    set.extend(more.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name));
    set
}

fn bridge(replica: &Replica, row: RowView<'_, Bridge>) -> BridgeConfig {
    let names: Vec<&str> = row.get(Bridge::PROTOCOLS).iter().collect();
    let ports = row.get(Bridge::PORTS).iter().filter_map(|id| replica.row(id)).map(|p| port(replica, p));
    let controllers = row.get(Bridge::CONTROLLER).iter().filter_map(|id| replica.row(id)).map(controller);
    let sets = || {
        let of_all = replica.rows::<FlowSampleCollectorSet>();
        of_all.filter(|set| set.get(FlowSampleCollectorSet::BRIDGE) == row.id())
    };
    let number = |n: i64| u32::try_from(n).ok();
    let collector = |set: RowView<'_, FlowSampleCollectorSet>| {
        // Without an exporter, which `others` says, copies would come up to nobody.
        let local_group = set.get(FlowSampleCollectorSet::LOCAL_GROUP_ID).and_then(number);
        let collector = Collector { exports: false, local_group };
        Some((number(set.get(FlowSampleCollectorSet::ID))?, collector))
    };
    let vlans = row.get(Bridge::FLOOD_VLANS).iter().filter_map(|v| u16::try_from(v).ok());
    BridgeConfig {
        name: row.get(Bridge::NAME).to_string(),
        datapath_type: row.get(Bridge::DATAPATH_TYPE).to_string(),
        fail_mode: if row.get(Bridge::FAIL_MODE) == Some("secure") { FailMode::Secure } else { FailMode::Standalone },
        // The schema allows no other names.
        protocols: if names.is_empty() {
            Versions::default()
        } else {
            parse_versions(&names.join(",")).unwrap_or_default()
        },
        controllers: controllers.collect(),
        ports: ports.collect(),
        flood_vlans: vlans.collect(),
        mcast_snooping_enable: row.get(Bridge::MCAST_SNOOPING_ENABLE),
        stp_enable: row.get(Bridge::STP_ENABLE),
        rstp_enable: row.get(Bridge::RSTP_ENABLE),
        tables: row
            .get(Bridge::FLOW_TABLES)
            .iter()
            .filter_map(|(number, id)| Some((u8::try_from(number).ok()?, flow_table(replica.row(id)?))))
            .collect(),
        other_config: settings(row.get(Bridge::OTHER_CONFIG)),
        others: others(
            set_columns(&row, &["mirrors", "netflow", "sflow", "ipfix", "auto_attach"]),
            [(
                "ipfix of a Flow_Sample_Collector_Set",
                sets().any(|set| set.get(FlowSampleCollectorSet::IPFIX).is_some()),
            )],
        ),
        collectors: sets().filter_map(collector).collect(),
    }
}

fn flow_table(row: RowView<'_, FlowTable>) -> FlowTableConfig {
    let prefixes: Vec<String> = row.get(FlowTable::PREFIXES).iter().map(String::from).collect();
    FlowTableConfig {
        name: row.get(FlowTable::NAME).map(String::from),
        flow_limit: row.get(FlowTable::FLOW_LIMIT).and_then(|n| usize::try_from(n).ok()),
        evict: row.get(FlowTable::OVERFLOW_POLICY) == Some("evict"),
        groups: row.get(FlowTable::GROUPS).iter().map(String::from).collect(),
        prefixes: (!prefixes.is_empty()).then_some(prefixes),
    }
}

fn port(replica: &Replica, row: RowView<'_, Port>) -> PortConfig {
    let interfaces = row.get(Port::INTERFACES).iter().filter_map(|id| replica.row(id)).map(interface);
    PortConfig {
        name: row.get(Port::NAME).to_string(),
        interfaces: interfaces.collect(),
        vlan_mode: row.get(Port::VLAN_MODE).map(String::from),
        tag: row.get(Port::TAG).and_then(|t| u16::try_from(t).ok()),
        trunks: row.get(Port::TRUNKS).iter().filter_map(|t| u16::try_from(t).ok()).collect(),
        cvlans: row.get(Port::CVLANS).iter().filter_map(|t| u16::try_from(t).ok()).collect(),
        protected: row.get(Port::PROTECTED),
        queues: row.get(Port::QOS).and_then(|id| replica.row(id)).map_or(Vec::new(), |qos| queues(replica, qos)),
        other_config: settings(row.get(Port::OTHER_CONFIG)),
        others: others(
            set_columns(&row, &["bond_mode", "mac"]),
            [
                ("qos but for the dscp of queues", row.get(Port::QOS).is_some()),
                ("bond_updelay", row.get(Port::BOND_UPDELAY) != 0),
                ("bond_downdelay", row.get(Port::BOND_DOWNDELAY) != 0),
                ("bond_fake_iface", row.get(Port::BOND_FAKE_IFACE)),
                ("lacp", row.get(Port::LACP).is_some_and(|mode| mode != "off")),
            ],
        ),
    }
}

fn queues(replica: &Replica, row: RowView<'_, QoS>) -> Vec<QueueConfig> {
    let small = |n: i64| u8::try_from(n).ok();
    let queue = |number: i64, row: RowView<'_, Queue>| {
        Some(QueueConfig { number: u32::try_from(number).ok()?, dscp: row.get(Queue::DSCP).and_then(small) })
    };
    row.get(QoS::QUEUES).iter().filter_map(|(number, id)| queue(number, replica.row(id)?)).collect()
}

fn interface(row: RowView<'_, Interface>) -> InterfaceConfig {
    let small = |value: Option<i64>| value.and_then(|v| u16::try_from(v).ok());
    let mac = row.get(Interface::MAC);
    InterfaceConfig {
        name: row.get(Interface::NAME).to_string(),
        kind: row.get(Interface::TYPE).to_string(),
        ofport_request: small(row.get(Interface::OFPORT_REQUEST)),
        mac: mac.and_then(|m| m.parse().ok()),
        mtu_request: small(row.get(Interface::MTU_REQUEST)),
        options: settings(row.get(Interface::OPTIONS)),
        other_config: settings(row.get(Interface::OTHER_CONFIG)),
        others: others(
            set_columns(&row, &["bfd", "cfm_mpid", "lldp"]),
            [
                ("ingress_policing_rate", row.get(Interface::INGRESS_POLICING_RATE) != 0),
                ("ingress_policing_kpkts_rate", row.get(Interface::INGRESS_POLICING_KPKTS_RATE) != 0),
                ("ingress_policing_burst", row.get(Interface::INGRESS_POLICING_BURST) != 0),
                ("ingress_policing_kpkts_burst", row.get(Interface::INGRESS_POLICING_KPKTS_BURST) != 0),
                ("mac that is no Ethernet address", mac.is_some_and(|m| m.parse::<EthAddr>().is_err())),
            ],
        ),
    }
}

fn controller(row: RowView<'_, Controller>) -> ControllerConfig {
    let positive = |value: Option<i64>| value.and_then(|v| u64::try_from(v).ok());
    let small = |value: Option<i64>| value.and_then(|v| u32::try_from(v).ok());
    let mut config = ControllerConfig {
        target: row.get(Controller::TARGET).to_string(),
        max_backoff: positive(row.get(Controller::MAX_BACKOFF)),
        inactivity_probe: positive(row.get(Controller::INACTIVITY_PROBE)),
        rate_limit: small(row.get(Controller::CONTROLLER_RATE_LIMIT)),
        burst_limit: small(row.get(Controller::CONTROLLER_BURST_LIMIT)),
        queue_size: small(row.get(Controller::CONTROLLER_QUEUE_SIZE)),
        is_out_of_band: row.get(Controller::CONNECTION_MODE) == Some("out-of-band"),
        others: Vec::new(),
    };
    // By its target it is one or the other.
    let kind = if config.is_primary() { "primary" } else { "service" };
    config.others = others(
        set_columns(&row, &["local_gateway", "local_ip", "local_netmask", "other_config"]),
        [
            ("enable_async_messages:false", row.get(Controller::ENABLE_ASYNC_MESSAGES) == Some(false)),
            ("inactivity_probe below 0", row.get(Controller::INACTIVITY_PROBE).is_some_and(|probe| probe < 0)),
            ("another type", row.get(Controller::TYPE).is_some_and(|asked| asked != kind)),
        ],
    );
    config
}

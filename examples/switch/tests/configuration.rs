//! Every column and every key of ovs-vswitchd.conf.db(5): it is obeyed, or whoever sets it is told, where an operator looks.
//!
//! The tables below name them all; the first test holds them against the schema, so that none can be forgotten. The others
//! drive a daemon over a stock database server; a machine without one skips them, and says so.

mod common;

use std::collections::BTreeMap;

use Is::{Obeyed, Theirs, Told, Written};
use common::world::World;

/// What becomes of a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Is {
    /// The switch does what it says, or tells why not.
    Obeyed,
    /// Whoever sets it is told that it is not available.
    Told,
    /// The switch writes it; of what is not there, nothing.
    Written,
    /// It is for people and other programs: the server, the tools.
    Theirs,
}

/// The columns of the tables that the switch reads.
const COLUMNS: &[(&str, Is, &str)] = &[
    ("Open_vSwitch", Obeyed, "bridges datapaths other_config ssl next_cfg"),
    (
        "Open_vSwitch",
        Written,
        "cur_cfg datapath_types db_version dpdk_initialized dpdk_version iface_types ovs_version",
    ),
    ("Open_vSwitch", Written, "statistics system_type system_version"),
    ("Open_vSwitch", Theirs, "external_ids manager_options"),
    (
        "Bridge",
        Obeyed,
        "controller datapath_type fail_mode flood_vlans flow_tables mcast_snooping_enable name other_config",
    ),
    ("Bridge", Obeyed, "ports protocols"),
    ("Bridge", Told, "auto_attach ipfix mirrors netflow rstp_enable sflow stp_enable"),
    ("Bridge", Written, "datapath_id datapath_version rstp_status status"),
    ("Bridge", Theirs, "external_ids"),
    ("Port", Obeyed, "cvlans interfaces name other_config protected tag trunks vlan_mode"),
    // Of a queue the DSCP is obeyed.
    ("Port", Told, "bond_downdelay bond_fake_iface bond_mode bond_updelay lacp mac qos"),
    ("Port", Written, "bond_active_slave rstp_statistics rstp_status statistics status"),
    ("Port", Theirs, "external_ids fake_bridge"),
    ("Interface", Obeyed, "mac mtu_request name ofport_request options other_config type"),
    ("Interface", Told, "bfd cfm_mpid ingress_policing_burst ingress_policing_kpkts_burst ingress_policing_kpkts_rate"),
    ("Interface", Told, "ingress_policing_rate lldp"),
    (
        "Interface",
        Written,
        "admin_state bfd_status cfm_fault cfm_fault_status cfm_flap_count cfm_health cfm_remote_mpids",
    ),
    ("Interface", Written, "cfm_remote_opstate duplex error ifindex lacp_current link_resets link_speed link_state"),
    ("Interface", Written, "mac_in_use mtu ofport statistics status"),
    ("Interface", Theirs, "external_ids"),
    ("Controller", Obeyed, "connection_mode controller_burst_limit controller_queue_size controller_rate_limit"),
    ("Controller", Obeyed, "inactivity_probe max_backoff target type"),
    ("Controller", Told, "enable_async_messages local_gateway local_ip local_netmask other_config"),
    ("Controller", Written, "is_connected role status"),
    ("Controller", Theirs, "external_ids"),
    ("Flow_Table", Obeyed, "flow_limit groups name overflow_policy prefixes"),
    ("Flow_Table", Theirs, "external_ids"),
    ("Queue", Obeyed, "dscp"),
    ("Queue", Told, "other_config"),
    ("Queue", Theirs, "external_ids"),
    ("Flow_Sample_Collector_Set", Obeyed, "bridge id local_group_id"),
    ("Flow_Sample_Collector_Set", Told, "ipfix"),
    ("Flow_Sample_Collector_Set", Theirs, "external_ids"),
    ("Datapath", Obeyed, "ct_zone_default_limit ct_zones"),
    ("Datapath", Written, "capabilities datapath_version"),
    ("Datapath", Theirs, "external_ids"),
    ("CT_Zone", Obeyed, "limit timeout_policy"),
    ("CT_Zone", Theirs, "external_ids"),
    ("SSL", Obeyed, "bootstrap_ca_cert ca_cert certificate private_key"),
    ("SSL", Theirs, "external_ids"),
];

/// Tables whose rows mean nothing but where a column names them that is told, or that the server reads.
const BEHIND: &[&str] = &["AutoAttach", "CT_Timeout_Policy", "IPFIX", "Manager", "Mirror", "NetFlow", "QoS", "sFlow"];

/// Keys of `other_config` that are obeyed: a value that is right, and one that is not, if any text is not.
const KEYS: &[(&str, &str, &str, &str)] = &[
    ("Open_vSwitch", "bundle-idle-timeout", "10", "0"),
    ("Open_vSwitch", "dpdk-init", "false", "true"),
    ("Open_vSwitch", "emc-insert-inv-prob", "100", "4294967296"),
    ("Open_vSwitch", "enable-statistics", "false", "true"),
    ("Open_vSwitch", "explicit-sampled-drops", "True", "1"),
    ("Open_vSwitch", "flow-limit", "200000", "-1"),
    ("Open_vSwitch", "flow-restore-wait", "false", "true"),
    ("Open_vSwitch", "hw-offload", "false", "maybe"),
    ("Open_vSwitch", "hw-offload-priority", "dummy", "tape"),
    ("Open_vSwitch", "max-idle", "10000", "499"),
    ("Open_vSwitch", "max-revalidator", "500", "99"),
    ("Open_vSwitch", "min-revalidate-pps", "5", "x"),
    ("Open_vSwitch", "n-handler-threads", "1", "0"),
    ("Open_vSwitch", "n-revalidator-threads", "1", "0"),
    ("Open_vSwitch", "offload-rebalance", "false", "true"),
    ("Open_vSwitch", "offloaded-stats-delay", "2000", "-2"),
    ("Open_vSwitch", "pmd-auto-lb", "false", "2"),
    ("Open_vSwitch", "pmd-auto-lb-improvement-threshold", "25", "101"),
    ("Open_vSwitch", "pmd-auto-lb-load-threshold", "95", "101"),
    ("Open_vSwitch", "pmd-auto-lb-rebal-interval", "1", "20001"),
    ("Open_vSwitch", "pmd-cpu-mask", "0x1", "0xg"),
    ("Open_vSwitch", "pmd-maxsleep", "0", "long"),
    ("Open_vSwitch", "pmd-perf-metrics", "false", "y"),
    ("Open_vSwitch", "pmd-rxq-assign", "cycles", "dice"),
    ("Open_vSwitch", "pmd-rxq-isolate", "true", "t"),
    ("Open_vSwitch", "pmd-sleep-max", "50", "1:x"),
    ("Open_vSwitch", "smc-enable", "false", "0"),
    ("Open_vSwitch", "stats-update-interval", "5000", "4999"),
    ("Open_vSwitch", "tx-flush-interval", "0", "1000001"),
    ("Open_vSwitch", "userspace-tso-enable", "false", "no"),
    ("Open_vSwitch", "vlan-limit", "1", "-1"),
    ("Bridge", "datapath-id", "0x00000000000000ff", "+1"),
    ("Bridge", "disable-in-band", "TRUE", "yes"),
    ("Bridge", "dp-desc", "odd", ""),
    ("Bridge", "dp-sn", "7", ""),
    ("Bridge", "forward-bpdu", "true", "yes"),
    ("Bridge", "hwaddr", "02:00:00:00:00:01", "01:00:00:00:00:01"),
    ("Bridge", "in-band-queue", "5", "many"),
    ("Bridge", "mac-aging-time", "300", "14"),
    ("Bridge", "mac-table-size", "8192", "9"),
    ("Bridge", "mcast-snooping-aging-time", "300", "3601"),
    ("Bridge", "mcast-snooping-disable-flood-unregistered", "true", "2"),
    ("Bridge", "mcast-snooping-table-size", "2048", "1000001"),
    ("Port", "mcast-snooping-flood", "true", "t"),
    ("Port", "mcast-snooping-flood-reports", "true", "t"),
    ("Port", "priority-tags", "if-nonzero", "sometimes"),
    ("Port", "qinq-ethtype", "802.1q", "802.1x"),
    ("Port", "transient", "true", "brief"),
    ("Interface", "hw-offload-priority", "none", "tape"),
    ("Interface", "pmd-rxq-affinity", "0:1", ""),
    ("Interface", "tx-steering", "hash", "left"),
];

/// Keys of `other_config` that are not available, and one of each table that nobody knows.
const ABSENT: &[(&str, &str)] = &[
    ("Open_vSwitch", "ca_cert certificate colour dpdk-alloc-mem dpdk-extra dpdk-hugepage-dir dpdk-lcore-mask"),
    ("Open_vSwitch", "dpdk-probe-at-init dpdk-socket-limit dpdk-socket-mem ipsec_skb_mark n-offload-threads"),
    ("Open_vSwitch", "per-port-memory private_key shared-mempool-config tc-policy vhost-iommu-support"),
    ("Open_vSwitch", "vhost-postcopy-support vhost-sock-dir"),
    ("Bridge", "colour controller-queue-size rstp-address rstp-ageing-time rstp-force-protocol-version"),
    ("Bridge", "rstp-forward-delay rstp-max-age rstp-priority rstp-transmit-hold-count stp-colour stp-forward-delay"),
    ("Bridge", "stp-hello-time stp-max-age stp-priority stp-system-id"),
    ("Port", "all-members-active bond-detect-mode bond-hash-basis bond-miimon-interval bond-primary"),
    ("Port", "bond-rebalance-interval colour lacp-fallback-ab lacp-system-id lacp-system-priority lacp-time"),
    ("Port", "lb-output-action rstp-enable rstp-path-cost rstp-port-admin-edge rstp-port-auto-edge rstp-port-mcheck"),
    ("Port", "rstp-port-num rstp-port-priority stp-enable stp-path-cost stp-port-num stp-port-priority"),
    ("Interface", "cfm_ccm_pcp cfm_ccm_vlan cfm_demand cfm_extended cfm_interval cfm_opstate colour emc-enable"),
    ("Interface", "lacp-aggregation-key lacp-port-id lacp-port-priority"),
];

/// Options of interfaces that are refused: those of a type, and what the error has of each.
const OPTIONS: &[(&str, &str, &str)] = &[
    ("dummy", "colour=red", "colour"),
    ("dummy", "n_rxq=x", "n_rxq"),
    ("patch", "colour=red", "colour"),
    ("patch", "peer=p1", "peer must not be self"),
    ("vxlan", "colour=red", "colour"),
    ("vxlan", "csum=perhaps", "csum"),
    ("vxlan", "df_default=perhaps", "df_default"),
    ("vxlan", "dst_port=x", "dst_port"),
    ("vxlan", "egress_pkt_mark=x", "egress_pkt_mark"),
    ("vxlan", "erspan_ver=1", "erspan_ver"),
    ("vxlan", "exts=odd", "odd"),
    ("vxlan", "in_key=x", "in_key"),
    ("vxlan", "key=x", "key"),
    ("vxlan", "local_ip=nowhere", "local_ip"),
    ("vxlan", "out_key=x", "out_key"),
    ("vxlan", "packet_type=odd", "packet_type"),
    ("vxlan", "payload_type=1", "payload_type"),
    ("vxlan", "remote_ip=nowhere", "remote_ip"),
    ("vxlan", "seq=true", "seq"),
    ("vxlan", "srv6_segs=x", "srv6_segs"),
    ("vxlan", "tos=300", "TOS"),
    ("vxlan", "ttl=300", "TTL"),
    ("gre", "seq=perhaps", "seq"),
    ("erspan", "erspan_ver=3", "erspan"),
    ("erspan", "erspan_idx=x", "erspan"),
    ("erspan", "erspan_dir=2", "erspan"),
    ("erspan", "erspan_hwid=64", "erspan"),
    ("srv6", "srv6_flowlabel=odd", "srv6_flowlabel"),
    ("srv6", "srv6_segs=x", "srv6_segs"),
];

const TABLES: [(&str, &str); 4] = [("Open_vSwitch", "."), ("Bridge", "br0"), ("Port", "p1"), ("Interface", "p1")];

/// A daemon with a bridge that has a port, and where it says what is wrong.
struct Daemon(World);

impl Daemon {
    fn new() -> Option<Daemon> {
        let world = World::new(&["--enable-dummy"])?;
        world.vsctl("add-br br0 -- set bridge br0 datapath_type=dummy");
        world.vsctl("add-port br0 p1 -- set interface p1 type=dummy");
        Some(Daemon(world))
    }

    /// Changes the database. Where a port cannot be what it is to be, the tool complains, and is right.
    fn change(&self, words: &str) {
        let words: Vec<&str> = ["-t", "10"].into_iter().chain(words.split(' ')).collect();
        let output = self.0.run("ovs-vsctl", &words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() || said.contains("Error detected while setting up"), "{words:?}: {said}");
    }

    /// What is told of a table's row.
    fn told(&self, table: &str) -> String {
        let told = match table {
            "Open_vSwitch" => self.0.vsctl("get open_vswitch . statistics"),
            "Port" | "Interface" => self.0.of_interface("p1", "error"),
            _ => self.0.vsctl("get bridge br0 status"),
        };
        told.trim().to_string()
    }

    fn assert_tells<'a>(&self, change: &str, table: &str, parts: impl IntoIterator<Item = &'a str>) {
        self.change(change);
        let told = self.told(table);
        for part in parts {
            assert!(told.contains(part), "{change}: {part} is not told: {told}");
        }
    }

    fn assert_tells_nothing(&self, change: &str, table: &str) {
        self.change(change);
        let told = self.told(table);
        assert!(["{}", "[]", "\"\""].contains(&told.as_str()), "{change}: {told}");
    }
}

#[test]
fn every_column_of_the_schema_has_its_place() {
    let mut known: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (table, _, columns) in COLUMNS {
        known.entry(table).or_default().extend(columns.split(' '));
    }
    for (name, table) in ovs_db::vswitch::schema().tables() {
        if BEHIND.contains(&name.as_str()) {
            continue;
        }
        let mut listed = known.remove(name.as_str()).unwrap_or_else(|| panic!("table {name} has no place"));
        listed.sort_unstable();
        assert_eq!(listed, table.columns.keys().map(String::as_str).collect::<Vec<_>>(), "{name}");
    }
    assert!(known.is_empty(), "{known:?}");
}

#[test]
fn keys_are_obeyed_or_told() {
    let Some(daemon) = Daemon::new() else { return };
    for (table, row) in TABLES {
        let keys = || KEYS.iter().filter(|(of, ..)| *of == table);
        let set = |pairs: Vec<String>| format!("set {table} {row} {}", pairs.join(" "));
        let pair = |key: &str, value: &str| format!("other_config:{key}=\"{value}\"");
        daemon.change(&set(keys().map(|(_, key, right, _)| pair(key, right)).collect()));
        let told = daemon.told(table);
        assert!(!told.contains("error=") && !told.contains("not available"), "{table}: {told}");
        let wrong: Vec<_> = keys().filter(|(.., wrong)| !wrong.is_empty()).collect();
        let told: Vec<String> =
            wrong.iter().map(|(_, key, _, value)| format!("other_config:{key}: {value} is ")).collect();
        let change = set(wrong.iter().map(|(_, key, _, value)| pair(key, value)).collect());
        daemon.assert_tells(&change, table, told.iter().map(String::as_str));
        daemon.change(&format!("clear {table} {row} other_config"));
        let absent: Vec<&str> =
            ABSENT.iter().filter(|(of, _)| *of == table).flat_map(|(_, keys)| keys.split(' ')).collect();
        let told: Vec<String> = absent.iter().map(|key| format!("other_config:{key}")).collect();
        let change = set(absent.iter().map(|key| pair(key, "1")).collect());
        daemon.assert_tells(&change, table, told.iter().map(String::as_str).chain(["not available: "]));
        daemon.assert_tells_nothing(&format!("clear {table} {row} other_config"), table);
    }
    // Nothing else is known to the switch than what is listed here.
    let (wrong, empty) = ("set interface p1 other_config:pmd-rxq-affinity=zero", "clear interface p1 other_config");
    daemon.assert_tells(wrong, "Interface", ["pmd-rxq-affinity: zero is no list"]);
    daemon.assert_tells_nothing(empty, "Interface");
}

#[test]
fn columns_that_are_not_available_are_told() {
    let Some(daemon) = Daemon::new() else { return };
    let bridge = |column: &str, table: &str, more: &str| {
        let made = format!("-- --id=@x create {table} {more} -- set bridge br0 {column}=@x");
        daemon.assert_tells(&made, "Bridge", [column, "not available"]);
        daemon.assert_tells_nothing(&format!("clear bridge br0 {column}"), "Bridge");
    };
    bridge("mirrors", "mirror", "name=m");
    bridge("netflow", "netflow", "targets=\"127.0.0.1:2055\"");
    bridge("sflow", "sflow", "targets=\"127.0.0.1:6343\"");
    bridge("ipfix", "ipfix", "targets=\"127.0.0.1:4739\"");
    bridge("auto_attach", "autoattach", "system_name=x");
    daemon.assert_tells("set bridge br0 stp_enable=true rstp_enable=true", "Bridge", ["stp_enable, rstp_enable"]);
    daemon.assert_tells_nothing("set bridge br0 stp_enable=false rstp_enable=false", "Bridge");
    let set = "-- --id=@b get bridge br0 -- --id=@i create ipfix targets=\"127.0.0.1:4739\" \
               -- create Flow_Sample_Collector_Set id=1 bridge=@b ipfix=@i";
    daemon.assert_tells(set, "Bridge", ["ipfix of a Flow_Sample_Collector_Set"]);
    let groups = "-- --all destroy Flow_Sample_Collector_Set \
                  -- --id=@f create Flow_Table groups=\"colour[]\" prefixes=taste overflow_policy=evict \
                  -- set bridge br0 flow_tables:3=@f";
    daemon.assert_tells(groups, "Bridge", ["groups: colour[] is no field", "prefixes: taste is no field"]);
    daemon.assert_tells_nothing("clear bridge br0 flow_tables", "Bridge");
    // Controllers are told of in the row of their bridge.
    daemon.change("set-controller br0 tcp:127.0.0.1:1");
    let wrong = "set controller br0 local_ip=127.0.0.1 local_netmask=255.0.0.0 local_gateway=127.0.0.2 \
                 other_config:dscp=1 enable_async_messages=false inactivity_probe=-1 type=service";
    let parts =
        ["local_ip", "local_netmask", "local_gateway", "other_config", "enable_async", "probe below 0", "another type"];
    daemon.assert_tells(wrong, "Bridge", parts);
    daemon.assert_tells_nothing("del-controller br0", "Bridge");
    // Ports and interfaces.
    for (change, told, undo) in [
        (
            "set port p1 bond_mode=balance-slb bond_updelay=1",
            "bond_mode, bond_updelay",
            "set port p1 bond_mode=[] bond_updelay=0",
        ),
        ("set port p1 bond_downdelay=1", "bond_downdelay", "set port p1 bond_downdelay=0"),
        ("set port p1 bond_fake_iface=true", "bond_fake_iface", "set port p1 bond_fake_iface=false"),
        ("set port p1 lacp=active mac=\"02:00:00:00:00:01\"", "mac, lacp", "set port p1 lacp=off mac=[]"),
        (
            "-- --id=@q create queue other_config:max-rate=5 dscp=3 -- --id=@r create qos type=linux-htb queues:1=@q \
             -- set port p1 qos=@r",
            "qos",
            "clear port p1 qos",
        ),
        (
            "set port p1 vlan_mode=dot1q-tunnel other_config:qinq-ethtype=x",
            "qinq",
            "clear port p1 vlan_mode other_config",
        ),
        // Of VLANs, what the port's mode has no use for; that a tag alone makes an access port is the manual's.
        ("set port p1 tag=5 trunks=7", "trunks: of no use in mode access", "clear port p1 trunks"),
        ("set port p1 cvlans=7", "cvlans: of no use in mode access", "clear port p1 cvlans"),
        ("set port p1 vlan_mode=trunk", "tag: of no use in mode trunk", "clear port p1 tag"),
        ("set port p1 cvlans=7", "cvlans: of no use in mode trunk", "clear port p1 cvlans"),
        (
            "set port p1 vlan_mode=native-tagged tag=5 trunks=7 cvlans=9",
            "cvlans: of no use in mode native-tagged",
            "set port p1 vlan_mode=native-untagged cvlans=[]",
        ),
        (
            "set port p1 vlan_mode=dot1q-tunnel cvlans=9",
            "trunks: of no use in mode dot1q-tunnel",
            "set port p1 trunks=[]",
        ),
        ("set port p1 trunks=7", "trunks: of no use", "set port p1 vlan_mode=[] tag=[] trunks=[] cvlans=[]"),
        ("set interface p1 bfd:enable=true", "bfd", "clear interface p1 bfd"),
        ("set interface p1 cfm_mpid=1 lldp:enable=true", "cfm_mpid, lldp", "clear interface p1 cfm_mpid lldp"),
        (
            "set interface p1 ingress_policing_rate=1",
            "ingress_policing_rate",
            "set interface p1 ingress_policing_rate=0",
        ),
        (
            "set interface p1 ingress_policing_kpkts_rate=1 ingress_policing_kpkts_burst=1 ingress_policing_burst=1",
            "ingress_policing_kpkts_rate, ingress_policing_burst, ingress_policing_kpkts_burst",
            "set interface p1 ingress_policing_kpkts_rate=0 ingress_policing_kpkts_burst=0 ingress_policing_burst=0",
        ),
        ("set interface p1 mac=\"gg\"", "mac that is no Ethernet address", "clear interface p1 mac"),
        ("set interface p1 mac=\"02:00:00:00:00:01\"", "not available for type dummy", "clear interface p1 mac"),
        ("set interface p1 type=tape", "unknown type tape", "set interface p1 type=dummy"),
    ] {
        daemon.assert_tells(change, "Interface", [told]);
        daemon.assert_tells_nothing(undo, "Interface");
    }
    // Several interfaces of a port would be a bond.
    let bond = "add-bond br0 bond0 b1 b2 -- set interface b1 type=dummy -- set interface b2 type=dummy";
    daemon.change(bond);
    assert!(daemon.0.of_interface("b1", "error").contains("bonds are not available"));
    // What is said of a datapath, and of one that there is not.
    let datapath = "-- --id=@p create CT_Timeout_Policy timeouts:tcp_unack=5 -- --id=@z create CT_Zone timeout_policy=@p \
                    -- --id=@d create Datapath datapath_version=0 ct_zones:7=@z -- --id=@e create Datapath datapath_version=0 \
                    -- set open_vswitch . datapaths:dummy=@d datapaths:odd=@e";
    let parts = ["the timeout policy of zone 7: not available: tcp_unack", "datapaths: unknown datapath type odd"];
    daemon.assert_tells(datapath, "Open_vSwitch", parts);
    daemon.assert_tells_nothing("clear open_vswitch . datapaths", "Open_vSwitch");
}

#[test]
fn options_of_interfaces_are_obeyed_or_told() {
    let Some(daemon) = Daemon::new() else { return };
    for (kind, option, told) in OPTIONS {
        // What it takes to be such a port at all.
        let usual = match *kind {
            "patch" => "options:peer=p2",
            "vxlan" | "gre" => "options:remote_ip=192.0.2.1",
            "erspan" => "options:remote_ip=192.0.2.1 options:erspan_ver=1 options:erspan_idx=1 options:key=1",
            "srv6" => "options:remote_ip=fd00::1",
            _ => "options={}",
        };
        let usual = format!("set interface p1 type={kind} {}", usual.replace("fd00::1", "\"fd00::1\""));
        daemon.change("clear interface p1 options");
        daemon.assert_tells_nothing(&usual, "Interface");
        daemon.assert_tells(&format!("{usual} options:{option}"), "Interface", [*told]);
    }
    let mtu = "-- set interface p1 type=vxlan mtu_request=1400 -- set interface p1 options={remote_ip=192.0.2.1}";
    daemon.assert_tells(mtu, "Interface", ["mtu_request 1400: there is no device"]);
}

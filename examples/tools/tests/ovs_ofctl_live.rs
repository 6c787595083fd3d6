//! The tool as the client of a stock switch, where one is installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Where Debian puts the schema of the switch's database.
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// A database and a switch with one bridge and two ports, in a folder of their own.
struct Stock {
    folder: PathBuf,
}

impl Stock {
    /// None if there is none to be had, which is said.
    fn start(name: &str) -> Option<Stock> {
        let installed =
            |program: &str| Command::new(program).arg("--version").output().is_ok_and(|o| o.status.success());
        let programs = ["ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl"];
        if let Some(lacks) = programs.into_iter().find(|p| !installed(p)) {
            println!("skipped: {lacks} is not installed");
            return None;
        }
        if !Path::new(SCHEMA).exists() {
            println!("skipped: there is no {SCHEMA}");
            return None;
        }
        let folder = std::env::temp_dir().join(format!("ofctl-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let stock = Stock { folder };
        let (database, socket) = (stock.path("conf.db"), stock.path("db.sock"));
        stock.run("ovsdb-tool", &["create", &database, SCHEMA]);
        stock.run(
            "ovsdb-server",
            &[&database, &format!("--remote=punix:{socket}"), "--detach", "--no-chdir", "--pidfile", "-voff"],
        );
        stock.run("ovs-vsctl", &["--no-wait", "init"]);
        stock.run(
            "ovs-vswitchd",
            &["--enable-dummy=override", "--disable-system", "--detach", "--no-chdir", "--pidfile", "-voff"],
        );
        let add = "add-br br0 -- set bridge br0 datapath-type=dummy fail-mode=secure -- add-port br0 p1 \
                   -- set interface p1 type=dummy ofport_request=1 -- add-port br0 long-name \
                   -- set interface long-name type=dummy ofport_request=2";
        stock.run("ovs-vsctl", &add.split_whitespace().collect::<Vec<_>>());
        Some(stock)
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_string()
    }

    fn run(&self, program: &str, args: &[&str]) -> Output {
        let output = Command::new(program)
            .args(args)
            .current_dir(&self.folder)
            .env("OVS_RUNDIR", &self.folder)
            .env("OVS_LOGDIR", &self.folder)
            .env("OVS_DBDIR", &self.folder)
            .output()
            .unwrap();
        assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    fn ofctl(&self, args: &[&str]) -> String {
        String::from_utf8(self.run(env!("CARGO_BIN_EXE_ovs-ofctl"), args).stdout).unwrap()
    }

    /// Each line that is printed, as JSON.
    fn json(&self, args: &[&str]) -> Vec<Value> {
        let text = self.ofctl(&[&["--format", "json"], args].concat());
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{args:?}: {e}: {line}")))
            .collect()
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        for program in ["ovs-vswitchd", "ovsdb-server"] {
            let Ok(pid) = std::fs::read_to_string(self.folder.join(format!("{program}.pid"))) else { continue };
            // One that ended on its own is as good.
            let _ = Command::new("kill").arg(pid.trim()).status();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_stock_switch_is_driven_by_name_and_told_in_json() {
    let Some(stock) = Stock::start("names") else { return };
    stock.ofctl(&["-O", "OpenFlow13", "mod-table", "br0", "1", "name:acl"]);
    stock.ofctl(&["add-flow", "br0", "priority=5,in_port=p1,ip,actions=resubmit(,1)"]);
    stock.ofctl(&["add-flow", "br0", "table=1,priority=7,actions=long-name,enqueue:p1:2,learn(table=1,in_port=2)"]);
    let named = stock.ofctl(&["--names", "--no-stats", "--sort", "dump-flows", "br0"]);
    assert_eq!(
        named,
        " priority=5,ip,in_port=p1 actions=resubmit(,acl)\n \
         table=acl, priority=7 actions=output:\"long-name\",enqueue:p1:2,learn(table=acl,in_port=\"long-name\")\n"
    );
    let plain = stock.ofctl(&["--no-names", "--no-stats", "--rsort", "dump-flows", "br0"]);
    assert_eq!(
        plain.lines().next(),
        Some(" table=1, priority=7 actions=output:2,enqueue:1:2,learn(table=1,in_port=2)")
    );
    assert!(stock.ofctl(&["--names", "dump-ports", "br0", "1"]).contains("  port  p1: rx pkts="));
    // Hello and question for the name are numbered before the hello and the request of the connection that is printed.
    assert!(stock.ofctl(&["dump-ports", "br0", "p1"]).starts_with("OFPST_PORT reply (xid=0x4): 1 ports"));
    assert!(stock.ofctl(&["--names", "--no-stats", "dump-flows", "br0", "table=acl"]).starts_with(" table=acl,"));

    let flows = stock.json(&["--no-stats", "--rsort", "dump-flows", "br0"]);
    assert_eq!((&flows[0]["table_id"], &flows[0]["priority"]), (&1.into(), &7.into()));
    assert_eq!(flows[1]["match"], serde_json::json!({"in_port": 1, "eth_type": "0x800"}));
    assert!(flows[0].get("packet_count").is_none());
    let dump = stock.json(&["dump-flows", "br0"]);
    assert_eq!(dump[0]["type"], "flow_stats_reply");
    let ports = stock.json(&["dump-ports-desc", "br0"]);
    let names: Vec<&Value> = ports[0]["body"]["items"].as_array().unwrap().iter().map(|p| &p["name"]).collect();
    assert!(names.contains(&&"long-name".into()), "{names:?}");
    for command in ["show", "dump-desc", "dump-tables", "dump-ports", "queue-stats", "dump-aggregate", "get-frags"] {
        assert!(!stock.json(&[command, "br0"]).is_empty(), "{command}");
    }
    for command in ["dump-table-features", "dump-groups", "dump-group-stats", "dump-group-features", "dump-meters"] {
        assert!(!stock.json(&["-O", "OpenFlow13", command, "br0"]).is_empty(), "{command}");
    }
}

#[test]
fn a_stock_switch_takes_all_that_the_tool_changes() {
    let Some(stock) = Stock::start("changes") else { return };
    let with = |args: &[&str]| stock.ofctl(&[&["-O", "OpenFlow15"], args].concat());
    with(&["add-group", "br0", "group_id=1,type=select,bucket=weight:5,output:p1"]);
    with(&["add-meter", "br0", "meter=1,kbps,bands=type=drop,rate=100"]);
    with(&["add-flow", "br0", "ip,actions=meter:1,group:1"]);
    assert!(with(&["--names", "dump-groups", "br0"]).contains("actions=output:p1"));
    assert!(with(&["dump-meters", "br0"]).contains("type=drop rate=100"));
    std::fs::write(stock.path("flows"), "arp,actions=2\nudp,tp_dst=53,actions=1\n").unwrap();
    with(&["--bundle", "replace-flows", "br0", &stock.path("flows")]);
    let same = with(&["diff-flows", "br0", &stock.path("flows")]);
    assert_eq!(same, "");
    let told = with(&["--format", "json", "dump-flows", "br0"]);
    std::fs::write(stock.path("told"), told).unwrap();
    let groups = with(&["--format", "json", "dump-groups", "br0"]);
    std::fs::write(stock.path("groups"), groups).unwrap();
    with(&["del-flows", "br0"]);
    with(&["add-flow", "br0", r#"{"priority": 7, "match": {"in_port": 1}, "instructions": {"goto_table": 2}}"#]);
    assert!(
        with(&["--no-stats", "--no-names", "dump-flows", "br0"]).contains("priority=7,in_port=1 actions=goto_table:2")
    );
    with(&["replace-flows", "br0", &stock.path("told")]);
    assert_eq!(with(&["diff-flows", "br0", &stock.path("flows")]), "");
    with(&["del-groups", "br0"]);
    with(&["add-groups", "br0", &stock.path("groups")]);
    assert!(with(&["--names", "dump-groups", "br0"]).contains("actions=output:p1"));
    with(&["mod-meter", "br0", r#"{"meter_id": 1, "flags": ["kbps"], "bands": [{"type": "drop", "rate": 77}]}"#]);
    assert!(with(&["dump-meters", "br0"]).contains("rate=77"));
    with(&["del-flows", "br0"]);
    assert_eq!(stock.json(&["-O", "OpenFlow15", "dump-aggregate", "br0"])[0]["body"]["flow_count"], 0);
    let refused = Command::new(env!("CARGO_BIN_EXE_ovs-ofctl"))
        .args(["--format", "json", "-O", "OpenFlow15", "mod-group", "br0", "group_id=9,type=all"])
        .env("OVS_RUNDIR", &stock.folder)
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let error: Value = serde_json::from_slice(&refused.stderr).unwrap();
    assert_eq!(error["body"]["error"], "OFPGMFC_UNKNOWN_GROUP");
}

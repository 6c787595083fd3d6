//! `ovs-testcontroller` and our daemon with real ports: two hosts that reach each other only because the controller says so.
//!
//! ```text
//!   h1 10.1.0.1 ─── p1 ─ br0 ─ p2 ─── 10.1.0.2 h2
//!                        └ tcp:127.0.0.1:6653, or punix: the controller
//! ```
//!
//! Skipped, with the reason printed, where the process may not make namespaces or the daemon was not built.

#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ovs_packet::EthAddr;
use ovs_switch::demo::links::Links;
use ovs_switch::demo::netns::Namespace;
use ovs_switch::demo::traffic;

const CONTROLLER: &str = env!("CARGO_BIN_EXE_ovs-testcontroller");

struct World {
    folder: PathBuf,
    switch: Namespace,
    hosts: [Namespace; 2],
    children: Vec<Child>,
}

impl World {
    /// Hosts, and a bridge whose controller is at `target`, which need not be there yet.
    fn new(target: &str) -> Option<World> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let namespace = || Namespace::new().inspect_err(|e| eprintln!("skipped: {e}")).ok();
        let daemon = Path::new(CONTROLLER).with_file_name("ovs-vswitchd");
        if !daemon.exists() {
            eprintln!("skipped: there is no {}", daemon.display());
            return None;
        }
        let (switch, hosts) = (namespace()?, [namespace()?, namespace()?]);
        for (n, host) in (1..).zip(&hosts) {
            let links = Links::open(host).unwrap();
            links.add_veth("eth0", &switch, &format!("p{n}")).unwrap();
            links.set_address("eth0", EthAddr([2, 0, 0, 0, 0, n])).unwrap();
            links.add_ip("eth0", [10, 1, 0, n].into(), 24).unwrap();
            links.set_up("eth0").unwrap();
        }
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("tctl-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let config = folder.join("switch.toml");
        let text = format!(
            "[[bridge]]\nname = \"br0\"\ndatapath_type = \"netdev\"\nfail_mode = \"secure\"\n\
             controller = [{{ target = \"{target}\", max_backoff = 1000 }}]\n\
             [[bridge.port]]\nname = \"p1\"\n[[bridge.port]]\nname = \"p2\"\n"
        );
        std::fs::write(&config, text).unwrap();
        let mut world = World { folder, switch, hosts, children: Vec::new() };
        world.start(daemon.to_str().unwrap(), &[&format!("--config={}", config.display()), "--disable-system"]);
        Some(world)
    }

    /// Starts a program beside the switch.
    fn start(&mut self, program: &str, options: &[&str]) {
        let mut command = Command::new(program);
        command.args(options).args(["-vconsole:off", "--log-file"]).stdin(Stdio::null()).stdout(Stdio::null());
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"] {
            command.env(variable, &self.folder);
        }
        command.env("OVS_SYSLOG_METHOD", "null");
        self.children.push(self.switch.run(|| command.spawn()).unwrap().unwrap());
    }

    /// Whether the second host answers the first.
    fn answers(&self, patience: Duration) -> bool {
        let ping = || traffic::ping([10, 1, 0, 2].into(), 1, Duration::ZERO, patience);
        self.hosts[0].run(ping).unwrap().is_ok_and(|report| report.received == 1)
    }

    fn wait_for_answer(&self) {
        let end = Instant::now() + Duration::from_secs(50);
        while !self.answers(Duration::from_secs(1)) {
            assert!(Instant::now() < end, "no answer\n{}", self.log());
        }
    }

    fn log(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        read("ovs-testcontroller.log") + &read("ovs-vswitchd.log")
    }

    /// The bridge's flows, as our own tool tells them.
    fn flows(&self) -> String {
        let bridge = format!("unix:{}", self.folder.join("br0.mgmt").display());
        let ofctl = env!("CARGO_BIN_EXE_ovs-ofctl");
        let output = Command::new(ofctl).args(["-O", "OpenFlow13", "dump-flows", &bridge]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for child in &mut self.children {
            // They may have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_learning_switch() {
    let Some(mut world) = World::new("tcp:127.0.0.1:6653") else { return };
    assert!(!world.answers(Duration::from_millis(500)));
    world.start(CONTROLLER, &["ptcp:6653:127.0.0.1", "--max-idle=30"]);
    world.wait_for_answer();
    let flows = world.flows();
    assert!(flows.contains("idle_timeout=30") && flows.contains("icmp,") && flows.contains("priority=0"), "{flows}");
}

#[test]
fn a_hub_without_flows_on_a_socket_in_the_run_folder() {
    let Some(mut world) = World::new("unix:controller") else { return };
    world.start(CONTROLLER, &["-H", "-n", "-O", "OpenFlow10", "punix:controller"]);
    world.wait_for_answer();
    assert!(!world.flows().contains("priority=1"), "{}", world.flows());
}

#[test]
fn flows_from_a_file_and_a_controller_that_connects() {
    let Some(mut world) = World::new("ptcp:6634:127.0.0.1") else { return };
    let file = world.folder.join("flows");
    std::fs::write(&file, "# forwards by hand\nin_port=1,actions=2\n\nin_port=2 actions=1\n").unwrap();
    world.start(CONTROLLER, &[&format!("--with-flows={}", file.display()), "tcp:127.0.0.1:6634"]);
    world.wait_for_answer();
    assert!(world.flows().contains("in_port=1 actions=output:2"), "{}", world.flows());
}

#[test]
fn options_are_known_or_refused() {
    let says = |options: &[&str]| {
        let output = Command::new(CONTROLLER).args(options).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).trim().to_string()
    };
    for (options, error) in [
        (&[][..], "at least one vconn argument required; use --help for usage"),
        (
            &["carrier-pigeon:7"],
            "\"carrier-pigeon:7\": no connection method known here, such as tcp:HOST[:PORT] or unix:FILE",
        ),
        (&["--max-idle=0", "ptcp:"], "--max-idle argument must be between 1 and 65535 or the word 'permanent'"),
        (&["-w0xzz", "ptcp:"], "--wildcards 0xzz: invalid digit found in string"),
        (&["-Q", "eth0", "ptcp:"], "eth0: not PORT-NAME:QUEUE-ID"),
        (&["-Q", "eth0:1", "-Q", "eth0:2", "ptcp:"], "eth0: two queues for one port"),
        (&["-p", "key", "ptcp:"], "--private-key and --certificate are of use only together"),
        (&["--with-flows=/nonexistent", "ptcp:"], "/nonexistent: No such file or directory (os error 2)"),
    ] {
        assert_eq!(says(options), format!("ovs-testcontroller: {error}"));
    }
}

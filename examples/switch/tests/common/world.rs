//! A stock database server and our `ovs-vswitchd`, in a folder of their own and perhaps in a network namespace of their own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ovs_switch::demo::netns::Namespace;

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../ovs-db/schema/vswitch.ovsschema");

/// A database server and our daemon, in a folder of their own.
pub(crate) struct World {
    pub(crate) folder: PathBuf,
    pub(crate) server: Child,
    pub(crate) daemon: Child,
    /// Where both are, and the tools that are run.
    pub(crate) namespace: Option<Namespace>,
}

pub(crate) fn tool_is_there(name: &str) -> bool {
    let found = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("skipped: there is no {name} on this machine");
    }
    found
}

/// Waits for something, for as long as no machine is slow; less than a minute.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(50);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl World {
    /// A world, unless the machine lacks the tools.
    pub(crate) fn new(options: &[&str]) -> Option<World> {
        World::within(None, options)
    }

    /// The same in a network namespace.
    pub(crate) fn within(namespace: Option<Namespace>, options: &[&str]) -> Option<World> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !["ovsdb-server", "ovsdb-tool", "ovs-vsctl", "ovs-ofctl", "ovs-appctl"].iter().all(|t| tool_is_there(t)) {
            return None;
        }
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // Names of sockets are short.
        let folder = std::env::temp_dir().join(format!("vsw-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let database = folder.join("conf.db");
        let made = Command::new("ovsdb-tool").arg("create").arg(&database).arg(SCHEMA).status().unwrap();
        assert!(made.success());
        let socket = format!("--remote=punix:{}", folder.join("db.sock").display());
        let mut command = Command::new("ovsdb-server");
        let server = spawn(namespace.as_ref(), in_folder(command.arg(&database).arg(socket), &folder));
        wait_until("the database server has a socket", || folder.join("db.sock").exists());
        // Between having a name and listening, a socket refuses.
        let mut init = Command::new("ovs-vsctl");
        in_folder(init.args(["--no-wait", "init"]), &folder);
        wait_until("the database server takes commands", || init.status().unwrap().success());
        let daemon = spawn(namespace.as_ref(), &mut daemon(&folder, options));
        let world = World { folder, server, daemon, namespace };
        world.wait_ready();
        Some(world)
    }

    fn wait_ready(&self) {
        wait_until("the daemon has a pid file", || self.folder.join("ovs-vswitchd.pid").exists());
        wait_until("the daemon answers", || self.run("ovs-appctl", &["-T", "30", "version"]).status.success());
    }

    /// Starts the daemon again after it has ended.
    pub(crate) fn start_daemon(&mut self, options: &[&str]) {
        let _ = std::fs::remove_file(self.folder.join("ovs-vswitchd.pid"));
        self.daemon = spawn(self.namespace.as_ref(), &mut daemon(&self.folder, options));
        self.wait_ready();
    }

    /// Waits for the daemon's end: whether it was content.
    pub(crate) fn ended(&mut self) -> bool {
        let mut status = None;
        wait_until("the daemon ends", || {
            status = self.daemon.try_wait().unwrap();
            status.is_some()
        });
        status.is_some_and(|status| status.success())
    }

    pub(crate) fn run(&self, tool: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(tool);
        in_folder(command.args(arguments), &self.folder).stdout(Stdio::piped());
        spawn(self.namespace.as_ref(), &mut command).wait_with_output().unwrap()
    }

    /// What a tool prints; it must not fail.
    pub(crate) fn ok(&self, tool: &str, arguments: &[&str]) -> String {
        let output = self.run(tool, arguments);
        let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{tool} {arguments:?}: {said}{complained}\n{}", self.log());
        said.into_owned()
    }

    pub(crate) fn vsctl(&self, line: &str) -> String {
        let words: Vec<&str> = ["-t", "40"].into_iter().chain(line.split_whitespace()).collect();
        self.ok("ovs-vsctl", &words)
    }

    pub(crate) fn appctl(&self, arguments: &[&str]) -> String {
        let words: Vec<&str> = ["-T", "40"].into_iter().chain(arguments.iter().copied()).collect();
        self.ok("ovs-appctl", &words)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("ovs-vswitchd.log")).unwrap_or_default()
    }

    /// What is said of a column of an interface.
    pub(crate) fn of_interface(&self, name: &str, column: &str) -> String {
        self.vsctl(&format!("get interface {name} {column}")).trim().to_string()
    }
}

/// Our daemon's command line.
fn daemon(folder: &Path, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ovs-vswitchd"));
    command.args(["--disable-system", "--pidfile", "--log-file", "-vconsole:off"]).args(options);
    in_folder(&mut command, folder);
    command
}

/// Starts a program in a network namespace, or where the test is.
pub(crate) fn spawn(namespace: Option<&Namespace>, command: &mut Command) -> Child {
    match namespace {
        Some(namespace) => namespace.run(|| command.spawn()).unwrap().unwrap(),
        None => command.spawn().unwrap(),
    }
}

pub(crate) fn in_folder<'c>(command: &'c mut Command, folder: &Path) -> &'c mut Command {
    for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"] {
        command.env(variable, folder);
    }
    command.env("OVS_SYSLOG_METHOD", "null").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped())
}

impl Drop for World {
    fn drop(&mut self) {
        for child in [&mut self.daemon, &mut self.server] {
            // They may have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

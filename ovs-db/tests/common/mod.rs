//! A stock ovsdb-server for a test: its own folder, its own socket, gone with the value.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs};

use ovs_db::client::{Client, ClientOptions, Driver, Monitor};
use ovs_db::vswitch;

/// Our own schema file, which a stock ovsdb-tool takes as it is.
pub(crate) const SCHEMA_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/vswitch.ovsschema");

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Server {
    pub(crate) folder: PathBuf,
    options: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// A server with an empty database; nothing, with the reason printed, where the programs are not installed.
    pub(crate) fn start() -> Option<Server> {
        Server::start_with(Vec::new())
    }

    /// As [`Server::start`], with more options.
    pub(crate) fn start_with(options: Vec<String>) -> Option<Server> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        for program in ["ovsdb-server", "ovsdb-tool"] {
            if Command::new(program).arg("--version").stdout(Stdio::null()).status().is_err() {
                println!("skipped: {program} is not installed");
                return None;
            }
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("ovs-db-test-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let created =
            Command::new("ovsdb-tool").arg("create").arg(folder.join("db")).arg(SCHEMA_FILE).status().unwrap();
        assert!(created.success());
        let mut server = Server { folder, options, child: None };
        server.restart();
        Some(server)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("db.sock")
    }

    pub(crate) fn control(&self) -> PathBuf {
        self.folder.join("server.ctl")
    }

    pub(crate) fn restart(&mut self) {
        self.kill();
        let _ = fs::remove_file(self.socket());
        let child = Command::new("ovsdb-server")
            .arg(format!("--remote=punix:{}", self.socket().display()))
            .arg(format!("--unixctl={}", self.control().display()))
            .arg(format!("--log-file={}", self.folder.join("server.log").display()))
            .args(["-vconsole:off", "-vsyslog:off"])
            .args(&self.options)
            .arg(self.folder.join("db"))
            .env("OVS_RUNDIR", &self.folder)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        let began = Instant::now();
        while !self.socket().exists() || !self.control().exists() {
            assert!(began.elapsed() < PATIENCE, "the server does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The number of the port that the server was left to choose.
    pub(crate) fn port(&self) -> u16 {
        let began = Instant::now();
        loop {
            let log = fs::read_to_string(self.folder.join("server.log")).unwrap_or_default();
            if let Some((_, line)) = log.rsplit_once(": listening on port ")
                && let Some((number, _)) = line.split_once('\n')
            {
                return number.parse().unwrap();
            }
            assert!(began.elapsed() < PATIENCE, "the server tells of no port: {log}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(crate) fn client(&self, monitor: Monitor, options: ClientOptions) -> Peer {
        Peer::new(&self.socket(), monitor, options)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A client and a clock.
pub(crate) struct Peer {
    pub(crate) driver: Driver,
    start: Instant,
}

impl Peer {
    pub(crate) fn new(socket: &Path, monitor: Monitor, options: ClientOptions) -> Peer {
        Peer::of(&format!("unix:{}", socket.display()), monitor, options)
    }

    pub(crate) fn of(remote: &str, monitor: Monitor, options: ClientOptions) -> Peer {
        let remote = remote.parse().unwrap();
        let client = Client::new(monitor, vec![remote], options, Duration::ZERO);
        Peer { driver: Driver::new(client), start: Instant::now() }
    }

    pub(crate) fn all(server: &Server) -> Peer {
        let mut peer = server.client(Monitor::all(vswitch::schema()), ClientOptions::default());
        peer.until("following", Client::is_following);
        peer
    }

    /// Runs the client until something is so.
    pub(crate) fn until(&mut self, what: &str, mut done: impl FnMut(&Client) -> bool) {
        let began = Instant::now();
        loop {
            self.driver.run(self.start.elapsed());
            if done(self.driver.client()) {
                return;
            }
            let client = self.driver.client_mut();
            let events: Vec<_> = std::iter::from_fn(|| client.poll_event()).collect();
            assert!(began.elapsed() < PATIENCE, "never {what}: {events:?}");
            self.driver.wait(self.start.elapsed(), Duration::from_millis(100)).unwrap();
        }
    }

    pub(crate) fn client(&mut self) -> &mut Client {
        self.driver.client_mut()
    }
}

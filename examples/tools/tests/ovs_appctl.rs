//! Runs the binary as a user would: on a server of our own in this process, and on a stock daemon where one is
//! installed. Stock `ovs-appctl` has to see the same.

use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fs, thread};

use ovs_db::json::Json;
use ovs_db::net;
use ovs_db::unixctl::{ControlSocket, Format, Reply, Server, control_path};

const OURS: &str = env!("CARGO_BIN_EXE_ovs-appctl");

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("ovs-appctl-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

struct Answer {
    out: String,
    err: String,
    code: Option<i32>,
    signal: Option<i32>,
}

fn run(program: &str, folder: &Path, args: &[&str]) -> Answer {
    let output =
        Command::new(program).args(args).env("OVS_RUNDIR", folder).env_remove("OVS_CTL_TIMEOUT").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let status = output.status;
    Answer { out: text(output.stdout), err: text(output.stderr), code: status.code(), signal: status.signal() }
}

/// A daemon `zood` in a thread.
struct Zoo {
    folder: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Zoo {
    fn open(name: &str) -> Zoo {
        let folder = folder(name);
        fs::write(folder.join("zood.pid"), "77\n").unwrap();
        let mut socket = ControlSocket::bind(&control_path(&folder, "zood", 77, None).unwrap()).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut server = Server::new("zood 1.0");
            server.register("echo", "[WORD...]", 0, 9);
            server.register("animals", "", 0, 0);
            server.register("big", "", 0, 0);
            server.register("refuse", "", 0, 0);
            server.register("later", "", 0, 0);
            server.register_hidden("never", 0, 0);
            let mut later = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                socket.run(&mut server).unwrap();
                for key in later.drain(..) {
                    server.reply(key, Reply::Text("at last".into()));
                }
                while let Some(call) = server.poll() {
                    let reply = match call.command.as_str() {
                        "echo" => Reply::Text(format!("{:?}", call.arguments)),
                        "animals" if call.format == Format::Json => {
                            Reply::Json(Json::object([("emu", Json::Integer(2))]))
                        }
                        "animals" => Reply::Text("2 emus\n".into()),
                        "big" => Reply::Text("0123456789\n".repeat(500_000)),
                        "later" => {
                            later.push(call.key);
                            continue;
                        }
                        "never" => continue,
                        _ => Reply::Error("the zoo is closed".into()),
                    };
                    server.reply(call.key, reply);
                }
                socket.run(&mut server).unwrap();
                net::wait(socket.interest(&server), Some(Duration::from_millis(5))).unwrap();
            }
        });
        Zoo { folder, stop, thread: Some(thread) }
    }

    fn ask(&self, args: &[&str]) -> Answer {
        run(OURS, &self.folder, args)
    }
}

impl Drop for Zoo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn answers_of_our_server() {
    let zoo = Zoo::open("answers");
    for (args, out) in [
        (&["-t", "zood", "version"][..], "zood 1.0\n"),
        (&["--target=zood", "echo", "a", "-x", "--format", "json"], "[\"a\", \"-x\", \"--format\", \"json\"]\n"),
        (&["-e", "-T", "50", "-t", "zood", "animals"], "2 emus\n"),
        (&["-t", "zood", "later"], "at last\n"),
        (&["-t", "zood", "-f", "json", "version"], "{\"reply\":\"zood 1.0\",\"reply-format\":\"plain\"}\n"),
        (&["-t", "zood", "--format=JSON", "animals"], "{\"emu\":2}\n"),
        (&["-t", "zood", "-f", "json", "--pretty", "animals"], "{\n  \"emu\": 2}\n"),
    ] {
        let answer = zoo.ask(args);
        assert_eq!((answer.out.as_str(), answer.err.as_str(), answer.code), (out, "", Some(0)), "{args:?}");
    }
    assert_eq!(zoo.ask(&["-t", "zood", "big"]).out.len(), 5_500_000);
    let socket = zoo.folder.join("zood.77.ctl");
    assert_eq!(zoo.ask(&["-t", socket.to_str().unwrap(), "version"]).out, "zood 1.0\n");
}

#[test]
fn what_goes_wrong_and_its_status() {
    let zoo = Zoo::open("wrong");
    let file = |name: &str| zoo.folder.join(name).display().to_string();
    fs::write(zoo.folder.join("gone.pid"), "78\n").unwrap();
    for (args, err, code) in [
        (
            &["-t", "zood", "refuse"][..],
            "the zoo is closed\novs-appctl: zood: server returned an error\n".to_string(),
            2,
        ),
        (
            &["-t", "none", "version"],
            format!("ovs-appctl: cannot read pidfile \"{}\" (No such file or directory)\n", file("none.pid")),
            1,
        ),
        (
            &["-t", "gone", "version"],
            format!("ovs-appctl: cannot connect to \"{}\" (No such file or directory)\n", file("gone.78.ctl")),
            1,
        ),
        (&["-t", "zood"], "ovs-appctl: at least one non-option argument is required (use --help for help)\n".into(), 1),
        (&["--pretty", "version"], "ovs-appctl: --pretty is supported with --format json only\n".into(), 1),
    ] {
        let answer = zoo.ask(args);
        assert_eq!((answer.out.as_str(), answer.err, answer.code), ("", err, Some(code)), "{args:?}");
    }
    for args in [&["-T", "0", "version"][..], &["-f", "xml", "version"], &["-t", "a", "-t", "b", "c"], &["--bogus"]] {
        let answer = zoo.ask(args);
        assert_eq!((answer.code, answer.err.lines().count()), (Some(1), 1), "{args:?}: {}", answer.err);
    }
    assert!(zoo.ask(&["--help"]).out.contains("ovs-appctl -t ovsdb-server ovsdb-server/list-dbs"));
    assert!(zoo.ask(&["--option"]).out.contains("--target=ARG\n-t ARG\n"));
}

#[test]
fn a_daemon_that_does_not_answer_is_not_waited_for_without_end() {
    let zoo = Zoo::open("never");
    let answer = zoo.ask(&["-t", "zood", "-T", "1", "never"]);
    assert_eq!((answer.code, answer.signal), (None, Some(14)), "as upstream's program: SIGALRM");
    assert_eq!(answer.err, "ovs-appctl: zood: no answer within 1 seconds; see --timeout\n");
}

fn stock(program: &str) -> bool {
    let there = Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok();
    if !there {
        println!("skipped: {program} is not installed");
    }
    there
}

#[test]
fn stock_ovs_appctl_on_our_server() {
    if !stock("ovs-appctl") {
        return;
    }
    let zoo = Zoo::open("stock");
    // The stock program wants a pid file that a running daemon has locked: it is given the socket.
    let socket = zoo.folder.join("zood.77.ctl");
    let both = |command: &[&str]| {
        let args = [&["-t", socket.to_str().unwrap()], command].concat();
        (run("ovs-appctl", &zoo.folder, &args), zoo.ask(&args))
    };
    for command in [&["list-commands"][..], &["echo", "a"], &["later"], &["big"]] {
        let (theirs, ours) = both(command);
        // Older versions of the program do not end the last line where the daemon did not.
        let same = theirs.out.trim_end() == ours.out.trim_end();
        assert_eq!((theirs.code, same), (Some(0), true), "{command:?}: {}", theirs.err);
    }
    for command in [&["refuse"][..], &["bogus"], &["animals", "extra"]] {
        let (theirs, ours) = both(command);
        let words = |text: String| text.replace('\n', "");
        assert_eq!((theirs.code, words(theirs.err)), (ours.code, words(ours.err)), "{command:?}");
    }
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_stock_daemon_answers_us_as_it_does_stock_ovs_appctl() {
    if !stock("ovs-appctl") || !stock("ovsdb-server") {
        return;
    }
    let folder = folder("daemon");
    let child = Command::new("ovsdb-server")
        .args(["--no-dbs", "--pidfile", "-vconsole:off", "-vsyslog:off"])
        .arg(format!("--remote=punix:{}", folder.join("db.sock").display()))
        .env("OVS_RUNDIR", &folder)
        .stderr(Stdio::null())
        .spawn();
    let daemon = Daemon(child.unwrap());
    let socket = folder.join(format!("ovsdb-server.{}.ctl", daemon.0.id()));
    let began = Instant::now();
    // Between having a name and listening, a socket refuses.
    while UnixStream::connect(&socket).is_err() || !folder.join("ovsdb-server.pid").exists() {
        if began.elapsed() > Duration::from_secs(30) {
            println!("skipped: this ovsdb-server does not start without a database");
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    for command in [
        &["list-commands"][..],
        &["version"],
        &["ovsdb-server/list-dbs"],
        &["ovsdb-server/list-remotes"],
        &["vlog/list"],
        &["vlog/set", "-foo", "--bar"],
        &["bogus"],
        &["ovsdb-server/add-db"],
    ] {
        let args = [&["-t", "ovsdb-server"], command].concat();
        let (theirs, ours) = (run("ovs-appctl", &folder, &args), run(OURS, &folder, &args));
        assert_eq!((ours.code, ours.out, ours.err), (theirs.code, theirs.out, theirs.err), "{command:?}");
    }
    drop(daemon);
    fs::remove_dir_all(folder).unwrap();
}

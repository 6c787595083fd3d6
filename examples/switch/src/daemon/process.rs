//! How a daemon leaves its terminal, keeps its pid file, and is watched (daemon(8) of upstream's manual).
//!
//! A process in Rust cannot safely fork, so a stage of the daemon starts the next by executing the program again with the
//! same command line and one word more, `--daemon-stage`:
//!
//! 1. the program as it was called, which with `--detach` starts 2 or 3, waits until the daemon says that it serves, and
//!    ends with status 0, or with the daemon's own status if that ended before;
//! 2. with `--monitor`, a process that starts 3 and starts it again when it dies by a signal that tells of an error;
//! 3. the daemon.
//!
//! The daemon says that it serves by a byte on its standard output, which is a pipe to the first. Until then its standard
//! error is that of the caller.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::process::{Gid, Uid, getgid, getuid};
use rustix::thread::{self, CapabilitySet, CapabilitySets};

use crate::vlog::Vlog;

/// The option that tells a process which stage it is; not for people.
const STAGE: &str = "--daemon-stage";

/// Signals that tell of an error in the program, after which a monitor starts it again: ABRT, ALRM, BUS, FPE, ILL, PIPE,
/// SEGV, XCPU, XFSZ, KILL excepted (somebody wanted that).
const ERROR_SIGNALS: [i32; 9] = [6, 14, 7, 8, 4, 13, 11, 24, 25];

/// What it takes to have ports.
const NETWORK: CapabilitySet =
    CapabilitySet::NET_ADMIN.union(CapabilitySet::NET_RAW).union(CapabilitySet::NET_BROADCAST);

/// A daemon that dies more often than this is not started again at once.
const MIN_LIFE: Duration = Duration::from_secs(10);

/// What a process is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stage {
    /// The program as it was called.
    #[default]
    First,
    /// What watches the daemon.
    Monitor,
    /// The daemon itself, which was started by another stage.
    Daemon,
}

impl Stage {
    /// The stage that a word names.
    ///
    /// # Errors
    /// For any other word.
    pub fn from_word(word: &str) -> Result<Stage, String> {
        match word {
            "monitor" => Ok(Stage::Monitor),
            "daemon" => Ok(Stage::Daemon),
            _ => Err(format!("{STAGE}={word}: this option is for the program itself")),
        }
    }
}

/// How a daemon is to be run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conduct {
    /// Leave the terminal.
    pub detach: bool,
    /// Watch the daemon, and start it again when it crashes.
    pub monitor: bool,
    /// Stay in the folder where it was started.
    pub no_chdir: bool,
    /// The pid file to write.
    pub pidfile: Option<PathBuf>,
    /// Take a pid file over even from a process that lives.
    pub overwrite_pidfile: bool,
    /// The daemon's log file, which a monitor writes to when the daemon has died.
    pub log_file: Option<PathBuf>,
    /// Who to run as: user and group ids.
    pub user: Option<(u32, u32)>,
    /// Whether another user than root may still change the network: open packet sockets, make devices.
    pub keeps_network: bool,
    /// What this process is.
    pub stage: Stage,
}

/// The daemon in this process, and what it owes those who started it.
#[derive(Debug)]
pub struct Daemon {
    pidfile: Option<Pidfile>,
    detached: bool,
    told: bool,
}

/// What a stage leads to.
#[derive(Debug)]
pub enum Next {
    /// Be the daemon.
    Serve(Daemon),
    /// End with this status: another process is or was the daemon.
    Exit(ExitCode),
}

impl Conduct {
    /// Does what this stage is for. Call it before anything else that a daemon keeps: files, sockets, threads.
    ///
    /// # Errors
    /// What went wrong, in a line.
    pub fn start(&self, log: &Vlog) -> Result<Next, String> {
        if self.stage != Stage::First {
            name_process();
        }
        match self.stage {
            Stage::First if self.detach => {
                let next = if self.monitor { "monitor" } else { "daemon" };
                let mut child = self.spawn(next, Stdio::piped())?;
                if was_told(&mut child) {
                    return Ok(Next::Exit(ExitCode::SUCCESS));
                }
                let status = child.wait().map_err(|e| format!("cannot wait for the daemon: {e}"))?;
                Ok(Next::Exit(exit_code(status)))
            }
            Stage::First if self.monitor => self.watch(log),
            Stage::Monitor => {
                // Fails only for a process that is a leader already.
                let _ = rustix::process::setsid();
                self.watch(log)
            }
            stage => {
                let detached = stage == Stage::Daemon && self.detach;
                if detached {
                    let _ = rustix::process::setsid();
                }
                if let Some((user, group)) = self.user {
                    become_user(user, group, self.keeps_network)
                        .map_err(|e| format!("cannot become user {user}, group {group}: {e}"))?;
                }
                let pidfile = match &self.pidfile {
                    Some(path) => Some(Pidfile::create(path, self.overwrite_pidfile)?),
                    None => None,
                };
                Ok(Next::Serve(Daemon { pidfile, detached, told: false }))
            }
        }
    }

    /// The program again, as another stage.
    fn spawn(&self, stage: &str, stdout: Stdio) -> Result<Child, String> {
        let mut arguments = std::env::args_os();
        let name = arguments.next().unwrap_or_default();
        let mut command = Command::new("/proc/self/exe");
        command.arg0(name).arg(format!("{STAGE}={stage}"));
        command.args(arguments.filter(|a| !a.to_string_lossy().starts_with(STAGE)));
        if self.detach {
            command.stdin(Stdio::null());
        }
        command.stdout(stdout);
        command.spawn().map_err(|e| format!("cannot start the daemon: {e}"))
    }

    /// Starts the daemon, and again as often as it crashes.
    fn watch(&self, log: &Vlog) -> Result<Next, String> {
        let (mut told, mut crashes, mut restarted) = (false, 0_u64, None::<Instant>);
        loop {
            let mut child = self.spawn("daemon", if self.detach { Stdio::piped() } else { Stdio::inherit() })?;
            if self.detach && was_told(&mut child) && !told {
                told = true;
                tell();
                leave_terminal(log);
            }
            let status = child.wait().map_err(|e| format!("cannot wait for the daemon: {e}"))?;
            let crashed = status.signal().is_some_and(|s| ERROR_SIGNALS.contains(&s));
            if !crashed || !self.monitor {
                return Ok(Next::Exit(exit_code(status)));
            }
            crashes += 1;
            // A file that is not there yet is the daemon's to make.
            if let Some(path) = self.log_file.as_deref().filter(|path| path.exists())
                && let Err(e) = log.open_file(path)
            {
                tracing::warn!(target: "daemon_unix", "{}: {e}", path.display());
            }
            let died = format!("{crashes} crashes: pid {} died, {status}", child.id());
            // The first time at once: only one that dies again and again is to be slowed down.
            let pause = restarted.map_or(Duration::ZERO, |at| MIN_LIFE.saturating_sub(at.elapsed()));
            if !pause.is_zero() {
                let life = MIN_LIFE.as_secs();
                tracing::warn!(target: "daemon_unix", "{died}, waiting until {life} seconds since last restart");
                std::thread::sleep(pause);
            }
            tracing::error!(target: "daemon_unix", "{died}, restarting");
            restarted = Some(Instant::now());
        }
    }
}

/// Goes on as this user and group, in no other group. There is one thread, and those to come are as it is.
fn become_user(user: u32, group: u32, keeps_network: bool) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    if (getuid(), getgid()) == (user, group) {
        return Ok(());
    }
    thread::set_thread_groups(&[])?;
    thread::set_thread_res_gid(group, group, group)?;
    let kept = if keeps_network { NETWORK & thread::capabilities(None)?.permitted } else { CapabilitySet::empty() };
    thread::set_keep_capabilities(!kept.is_empty())?;
    thread::set_thread_res_uid(user, user, user)?;
    if !user.is_root() {
        let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
        thread::set_capabilities(None, sets)?;
    }
    thread::set_keep_capabilities(false)?;
    Ok(())
}

/// Gives a later stage the name of the program: the system called it after the path that it was started by.
fn name_process() {
    let program = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&program).file_name().map(|name| CString::new(name.as_bytes()));
    if let Some(Ok(name)) = name {
        // The name is only for who looks for the process.
        let _ = thread::set_name(&name);
    }
}

/// Whether a daemon says that it serves, before it ends.
fn was_told(child: &mut Child) -> bool {
    let mut byte = [0];
    child.stdout.take().is_some_and(|mut pipe| pipe.read_exact(&mut byte).is_ok())
}

/// Says that the daemon serves.
fn tell() {
    let mut out = io::stdout();
    // Whoever waited may be gone.
    let _ = out.write_all(b"\n").and_then(|()| out.flush());
}

/// Leaves standard input, output and error to whoever else has them.
fn leave_terminal(log: &Vlog) {
    log.detach_console();
    if let Ok(null) = OpenOptions::new().read(true).write(true).open("/dev/null") {
        // If the system refuses, the terminal stays open: no harm is done.
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    // A shell tells a signal so.
    let code = status.code().or_else(|| status.signal().map(|s| 128 + s)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

impl Daemon {
    /// Says, the first time, that the daemon serves: whoever started it need not wait any more.
    pub fn serves(&mut self, conduct: &Conduct, log: &Vlog) {
        if std::mem::replace(&mut self.told, true) || !self.detached {
            return;
        }
        if !conduct.no_chdir
            && let Err(e) = std::env::set_current_dir("/")
        {
            tracing::error!(target: "daemon_unix", "cannot change to folder /: {e}");
        }
        tell();
        leave_terminal(log);
    }

    /// Whether the daemon has said that it serves.
    pub fn has_told(&self) -> bool {
        self.told
    }

    /// The daemon's pid file.
    pub fn pidfile(&self) -> Option<&Path> {
        self.pidfile.as_ref().map(|p| p.path.as_path())
    }
}

/// A pid file, locked for as long as this lives, and removed with it.
#[derive(Debug)]
struct Pidfile {
    path: PathBuf,
    /// Keeps the lock: upstream's tools take a file that nobody has locked for one of a process that is dead.
    _file: File,
}

impl Pidfile {
    fn create(path: &Path, overwrite: bool) -> Result<Pidfile, String> {
        let shown = path.display();
        if !overwrite && let Ok(old) = OpenOptions::new().read(true).write(true).open(path) {
            // The file of a process that lives is locked.
            if fcntl_lock(&old, FlockOperation::NonBlockingLockExclusive).is_err() {
                let pid = std::fs::read_to_string(path).unwrap_or_default();
                return Err(format!("{shown}: already running as pid {}, aborting", pid.trim()));
            }
        }
        let temporary = PathBuf::from(format!("{shown}.tmp{}", std::process::id()));
        let write = || -> io::Result<File> {
            let mut file = File::create(&temporary)?;
            fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive)?;
            writeln!(file, "{}", std::process::id())?;
            std::fs::rename(&temporary, path)?;
            Ok(file)
        };
        match write() {
            Ok(file) => Ok(Pidfile { path: path.to_path_buf(), _file: file }),
            Err(e) => {
                // It may not be there.
                let _ = std::fs::remove_file(&temporary);
                Err(format!("{shown}: create failed ({e})"))
            }
        }
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_has_the_pid_and_goes() {
        let path = std::env::temp_dir().join(format!("ovs-switch-{}.pid", std::process::id()));
        std::fs::write(&path, "1\n").unwrap();
        let pidfile = Pidfile::create(&path, false).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(pidfile);
        assert!(!path.exists());
        let nowhere = Path::new("/nonexistent-folder/x.pid");
        assert!(Pidfile::create(nowhere, false).unwrap_err().starts_with("/nonexistent-folder/x.pid: create failed"));
    }
}

//! The options that every daemon has, and the folders that the environment names.

use std::path::{Path, PathBuf};

use super::getopt::{Opt, Value};
use super::process::{Conduct, Stage};
use crate::vlog::Vlog;

/// The options that every daemon has.
pub const COMMON: &[Opt] = &[
    Opt::long("detach", Value::None, "", "run in the background as a daemon"),
    Opt::long("monitor", Value::None, "", "start the daemon again when it crashes"),
    Opt::long("no-chdir", Value::None, "", "do not change to the root folder"),
    Opt::long("pidfile", Value::Optional, "FILE", "write the process id to a file"),
    Opt::long("overwrite-pidfile", Value::None, "", "with --pidfile, take over a file that is there"),
    Opt::long("user", Value::Required, "USER[:GROUP]", "run as this user and group"),
    Opt::long("unixctl", Value::Required, "SOCKET", "the name of the control socket, or none"),
    Opt::long("verbose", Value::Optional, "SPEC", "set levels of log lines").letter('v'),
    Opt::long("log-file", Value::Optional, "FILE", "write log lines to a file"),
    Opt::long("syslog-method", Value::Required, "METHOD", "how to reach syslog: libc, unix:FILE, null"),
    Opt::long("daemon-stage", Value::Required, "STAGE", "for the program itself"),
    Opt::long("help", Value::None, "", "print this and exit").letter('h'),
    Opt::long("version", Value::None, "", "print the version and exit").letter('V'),
];

/// The folders of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    /// Pid files and sockets.
    pub run: PathBuf,
    /// Log files.
    pub log: PathBuf,
    /// Databases.
    pub db: PathBuf,
}

impl Folders {
    /// The folders that `OVS_RUNDIR`, `OVS_LOGDIR` and `OVS_DBDIR` name, or the usual ones.
    pub fn from_environment() -> Folders {
        let of = |name: &str, usual: &str| std::env::var_os(name).map_or_else(|| usual.into(), PathBuf::from);
        Folders {
            run: of("OVS_RUNDIR", "/var/run/openvswitch"),
            log: of("OVS_LOGDIR", "/var/log/openvswitch"),
            db: of("OVS_DBDIR", "/etc/openvswitch"),
        }
    }
}

/// What the common options say.
#[derive(Debug)]
pub struct Common {
    /// How the process is run.
    pub conduct: Conduct,
    /// The name of the control socket, if another than the usual.
    pub unixctl: Option<String>,
    /// The folders.
    pub folders: Folders,
    program: &'static str,
    /// Where it was started.
    folder: PathBuf,
}

impl Common {
    /// What there is before any option.
    pub fn new(program: &'static str) -> Common {
        Common {
            conduct: Conduct::default(),
            unixctl: None,
            folders: Folders::from_environment(),
            program,
            folder: std::env::current_dir().unwrap_or_default(),
        }
    }

    /// Takes an option; false if it is none of these.
    ///
    /// # Errors
    /// What is wrong with its value.
    pub fn take(&mut self, log: &Vlog, name: &str, value: Option<String>) -> Result<bool, String> {
        match name {
            "detach" => self.conduct.detach = true,
            "monitor" => self.conduct.monitor = true,
            "no-chdir" => self.conduct.no_chdir = true,
            "pidfile" => {
                let file = value.unwrap_or_else(|| format!("{}.pid", self.program));
                self.conduct.pidfile = Some(self.absolute(&self.folders.run.join(file)));
            }
            "overwrite-pidfile" => self.conduct.overwrite_pidfile = true,
            "user" => self.conduct.user = Some(user(&value.unwrap_or_default())?),
            "unixctl" => self.unixctl = value,
            "verbose" => {
                let spec = value.unwrap_or_else(|| "any:any:dbg".into());
                log.set(&spec).map_err(|e| format!("processing \"{spec}\": {e}"))?;
            }
            "log-file" => {
                let file = value.unwrap_or_else(|| format!("{}.log", self.program));
                self.conduct.log_file = Some(self.absolute(&self.folders.log.join(file)));
            }
            "syslog-method" => log.set_syslog_method(&value.unwrap_or_default())?,
            "daemon-stage" => self.conduct.stage = Stage::from_word(&value.unwrap_or_default())?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }

    /// The path of the control socket; nothing for `none`.
    pub fn control_path(&self) -> Option<PathBuf> {
        let pid = std::process::id();
        let path = ovs_db::unixctl::control_path(&self.folders.run, self.program, pid, self.unixctl.as_deref())?;
        Some(self.absolute(&path))
    }

    /// Opens the log file, if one is wanted.
    ///
    /// # Errors
    /// What the system says.
    pub fn open_log(&self, log: &Vlog) -> Result<(), String> {
        let Some(path) = &self.conduct.log_file else { return Ok(()) };
        log.open_file(path).map_err(|e| format!("failed to open {} for logging: {e}", path.display()))
    }
}

/// User and group of `USER[:GROUP]`, by name or number; without a group, the user's own.
fn user(text: &str) -> Result<(u32, u32), String> {
    let (user, group) = text.split_once(':').map_or((text, None), |(u, g)| (u, Some(g)));
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        (name == user || uid == user).then_some((uid.parse().ok()?, gid.parse().ok()?))
    };
    let (uid, own) = if user.is_empty() {
        (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
    } else {
        passwd.lines().find_map(entry).ok_or_else(|| format!("{user}: there is no such user"))?
    };
    let Some(group) = group else { return Ok((uid, own)) };
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
        if name == group || gid == group { gid.parse().ok() } else { None }
    };
    let gid = groups.lines().find_map(entry).ok_or_else(|| format!("{group}: there is no such group"))?;
    Ok((uid, gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_names_and_numbers() {
        assert_eq!(user("root"), Ok((0, 0)));
        assert_eq!(user("0:root"), Ok((0, 0)));
        assert_eq!(user("nobody-of-this-name").unwrap_err(), "nobody-of-this-name: there is no such user");
        assert!(user("root:no-such-group").is_err());
    }

    #[test]
    fn names_of_files_are_in_their_folders() {
        let log = Vlog::new("zood");
        let mut common = Common::new("zood");
        common.folders = Folders { run: "/run".into(), log: "/log".into(), db: "/db".into() };
        for (name, value) in [("pidfile", None), ("log-file", Some("x.log")), ("unixctl", Some("zoo.ctl"))] {
            assert_eq!(common.take(&log, name, value.map(String::from)), Ok(true));
        }
        assert_eq!(common.conduct.pidfile.as_deref(), Some(Path::new("/run/zood.pid")));
        assert_eq!(common.conduct.log_file.as_deref(), Some(Path::new("/log/x.log")));
        assert_eq!(common.control_path().as_deref(), Some(Path::new("/run/zoo.ctl")));
        assert_eq!(common.take(&log, "zebra", None), Ok(false));
        assert!(common.take(&log, "verbose", Some("zebra".into())).is_err());
    }
}

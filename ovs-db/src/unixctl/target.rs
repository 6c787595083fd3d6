//! Where a daemon's control socket is (ovs-appctl(8), option `-t`).

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The directory of pid files and sockets, unless `OVS_RUNDIR` names another.
const RUN_DIRECTORY: &str = "/var/run/openvswitch";

/// A pid file is not longer than this.
const MAX_PIDFILE: usize = 128;

/// The directory of pid files and sockets: what the environment variable `OVS_RUNDIR` has, if it is set.
pub fn run_directory(ovs_rundir: Option<OsString>) -> PathBuf {
    ovs_rundir.map_or_else(|| RUN_DIRECTORY.into(), PathBuf::from)
}

/// The socket that a daemon `program` with this process id listens on by default: `DIR/PROGRAM.PID.ctl`. Its option
/// `--unixctl` names another, absolute or in the directory; nothing for `none`.
pub fn control_path(directory: &Path, program: &str, pid: u32, unixctl: Option<&str>) -> Option<PathBuf> {
    match unixctl {
        Some("none") => None,
        Some(name) => Some(directory.join(name)),
        None => Some(directory.join(format!("{program}.{pid}.ctl"))),
    }
}

/// A daemon to talk to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The socket itself: a name that starts with a slash.
    Socket(PathBuf),
    /// A daemon by name, whose pid file tells its socket.
    Daemon(String),
}

/// Why a daemon's socket is not found.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The pid file cannot be read.
    #[error("cannot read pidfile \"{}\" ({error})", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The pid file does not have a process id.
    #[error("cannot read pidfile \"{}\" (it does not have a process id)", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
    },
}

impl From<&str> for Target {
    fn from(name: &str) -> Target {
        if name.starts_with('/') { Target::Socket(name.into()) } else { Target::Daemon(name.to_owned()) }
    }
}

impl Target {
    /// Finds the socket, with pid files and sockets in `directory`.
    ///
    /// # Errors
    /// [`TargetError`] with the pid file.
    ///
    /// ```
    /// use std::path::Path;
    /// use ovs_db::unixctl::Target;
    ///
    /// let socket = Target::from("/tmp/x.ctl").socket(Path::new("/run/openvswitch"))?;
    /// assert_eq!(socket, Path::new("/tmp/x.ctl"));
    /// # Ok::<(), ovs_db::unixctl::TargetError>(())
    /// ```
    pub fn socket(&self, directory: &Path) -> Result<PathBuf, TargetError> {
        match self {
            Target::Socket(path) => Ok(path.clone()),
            Target::Daemon(name) => {
                let file = directory.join(format!("{name}.pid"));
                let pid = match fs::read(&file) {
                    Ok(bytes) => read_pid(&bytes),
                    Err(error) => return Err(TargetError::Unreadable { file, error }),
                };
                match pid {
                    Some(pid) => Ok(directory.join(format!("{name}.{pid}.ctl"))),
                    None => Err(TargetError::Malformed { file }),
                }
            }
        }
    }
}

fn read_pid(bytes: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(bytes.get(..bytes.len().min(MAX_PIDFILE))?).ok()?;
    text.lines().next()?.trim().parse().ok().filter(|pid| *pid > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pid_files_lead_to_sockets() {
        let folder = std::env::temp_dir().join(format!("ovs-db-target-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let socket = |name: &str| Target::from(name).socket(&folder);
        fs::write(folder.join("zood.pid"), "123\n").unwrap();
        assert_eq!(socket("zood").unwrap(), folder.join("zood.123.ctl"));
        for bad in ["", "x", "-1", "0"] {
            fs::write(folder.join("zood.pid"), bad).unwrap();
            assert!(matches!(socket("zood"), Err(TargetError::Malformed { .. })), "{bad}");
        }
        let error = socket("none").unwrap_err().to_string();
        let file = folder.join("none.pid");
        assert!(error.starts_with(&format!("cannot read pidfile \"{}\" (No such file", file.display())), "{error}");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn names_of_sockets() {
        let run = run_directory(None);
        assert_eq!(run, Path::new("/var/run/openvswitch"));
        assert_eq!(run_directory(Some("/x".into())), Path::new("/x"));
        let path = |unixctl| control_path(&run, "zood", 5, unixctl);
        assert_eq!(path(None), Some(run.join("zood.5.ctl")));
        assert_eq!(path(Some("a.ctl")), Some(run.join("a.ctl")));
        assert_eq!(path(Some("/a.ctl")), Some("/a.ctl".into()));
        assert_eq!(path(Some("none")), None);
    }
}

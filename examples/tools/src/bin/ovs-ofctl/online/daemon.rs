//! Going on in the background.
//!
//! A process does not become another one here: the program runs itself again, with the same arguments, waits until that
//! one says that it is ready, and ends. The two have a socket between them, which is the standard input of the second;
//! an environment variable tells it that it is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::process::setsid;

use ovs_db::unixctl::run_directory;

use crate::context::{Context, Done, Failure};

/// Tells a process that it is the one in the background.
const VARIABLE: &str = "OVS_OFCTL_IN_BACKGROUND";

/// The file with the process id, which ends with the process.
pub(crate) struct PidFile {
    path: PathBuf,
    _file: File,
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Who starts next finds it anyhow.
        let _ = fs::remove_file(&self.path);
    }
}

/// If the program is to go on in the background, has it done so, and ends this process when the other is ready.
pub(crate) fn detach(context: &Context) -> Done {
    if !context.options.detach || std::env::var_os(VARIABLE).is_some() {
        return Ok(());
    }
    let failed = |e: io::Error| Failure::from(format!("could not go on in the background ({e})"));
    let (mut here, there) = UnixStream::pair().map_err(failed)?;
    let mut child = Command::new(std::env::current_exe().map_err(failed)?)
        .args(std::env::args_os().skip(1))
        .env(VARIABLE, "1")
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(there)))
        .spawn()
        .map_err(failed)?;
    // The other end is closed when the process ends.
    match here.read(&mut [0]).map_err(failed)? {
        0 => {
            let status = child.wait().map_err(failed)?.code().and_then(|code| u8::try_from(code).ok());
            Err(Failure::Status(status.map_or(ExitCode::FAILURE, ExitCode::from)))
        }
        _ => Err(Failure::Status(ExitCode::SUCCESS)),
    }
}

/// Says that all is ready, and leaves terminal, standard output and folder.
pub(crate) fn ready(context: &mut Context) -> Done {
    context.finish()?;
    if std::env::var_os(VARIABLE).is_none() {
        return Ok(());
    }
    let failed = |e: io::Error| Failure::from(format!("could not go on in the background ({e})"));
    let input = io::stdin();
    let mut parent = UnixStream::from(input.as_fd().try_clone_to_owned().map_err(failed)?);
    // A process that leads a group already stays what it is.
    let _ = setsid();
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").map_err(failed)?;
    rustix::stdio::dup2_stdin(&null).map_err(|e| failed(e.into()))?;
    rustix::stdio::dup2_stdout(&null).map_err(|e| failed(e.into()))?;
    if !context.options.no_chdir {
        std::env::set_current_dir("/").map_err(failed)?;
    }
    parent.write_all(&[1]).map_err(failed)
}

/// Writes the file with the process id, if one is asked for.
pub(crate) fn write_pid(context: &Context) -> Result<Option<PidFile>, Failure> {
    let Some(name) = &context.options.pidfile else { return Ok(None) };
    let path = run_directory(std::env::var_os("OVS_RUNDIR")).join(name);
    let failed = |e: io::Error| Failure::from(format!("{}: create failed ({e})", path.display()));
    if is_alive(&path) && !context.options.overwrite_pidfile {
        return Err(format!("{}: already running, aborting", path.display()).into());
    }
    let mut file = File::create(&path).map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    // Who looks for us sees by the lock that we are there.
    fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|e| failed(e.into()))?;
    Ok(Some(PidFile { path, _file: file }))
}

/// Whether the process that a file names is there.
fn is_alive(path: &Path) -> bool {
    let pid = fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u32>().ok());
    pid.is_some_and(|pid| Path::new("/proc").join(pid.to_string()).exists())
}

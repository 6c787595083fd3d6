//! The log of a daemon: lines of `tracing` to the console, to syslog and to a file, with a level for each module and
//! destination, in the form that upstream's daemons have (ovs-vswitchd(8), ovs-appctl(8)).
//!
//! A module is the last part of an event's target; the daemons name theirs as upstream does (`bridge`, `vconn`), since
//! people and scripts look for those. Fields of an event follow its message.
//!
//! # Rules
//!
//! Which call sites are heard is asked once for each, and again when a level changes: a line that nobody wants costs a
//! load. A call site that speaks more than [`BURST`] times at once, and then more than [`RATE`] times a second, is cut
//! short, and says how many lines were lost when it speaks again. Only events by the name [`UNLIMITED`] never are.

mod modules;
mod pattern;
mod state;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, io};

use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use state::State;

/// Lines that a call site may write at once.
pub const BURST: u32 = 600;

/// Lines that a call site may write in a second, in the long run.
pub const RATE: u32 = 10;

/// The name of events that are told one by one because somebody asked for each of them, however many they are.
pub const UNLIMITED: &str = "unlimited";

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing is heard.
    Off,
    /// The process cannot go on.
    Emer,
    /// Something failed.
    Err,
    /// Something may be wrong.
    Warn,
    /// What an operator may want to know.
    Info,
    /// What a developer may want to know.
    Dbg,
}

impl Level {
    /// All levels.
    pub const ALL: [Level; 6] = [Level::Off, Level::Emer, Level::Err, Level::Warn, Level::Info, Level::Dbg];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        ["OFF", "EMER", "ERR", "WARN", "INFO", "DBG"][self as usize]
    }

    /// Its severity (RFC 5424 section 6.2.1).
    fn severity(self) -> u8 {
        [1, 1, 3, 4, 6, 7][self as usize]
    }

    fn of(level: tracing::Level) -> Level {
        match level {
            tracing::Level::ERROR => Level::Err,
            tracing::Level::WARN => Level::Warn,
            tracing::Level::INFO => Level::Info,
            _ => Level::Dbg,
        }
    }
}

impl FromStr for Level {
    type Err = ();

    fn from_str(word: &str) -> Result<Level, ()> {
        Level::ALL.into_iter().find(|l| l.as_str().eq_ignore_ascii_case(word)).ok_or(())
    }
}

/// Where lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// The system's log.
    Syslog,
    /// Standard error.
    Console,
    /// A file.
    File,
}

impl Destination {
    /// All destinations, in upstream's order.
    pub const ALL: [Destination; 3] = [Destination::Syslog, Destination::Console, Destination::File];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        ["syslog", "console", "file"][self as usize]
    }
}

impl FromStr for Destination {
    type Err = ();

    fn from_str(word: &str) -> Result<Destination, ()> {
        Destination::ALL.into_iter().find(|d| d.as_str().eq_ignore_ascii_case(word)).ok_or(())
    }
}

/// The log of this process. Clones are the same log.
#[derive(Clone)]
pub struct Vlog(Arc<Mutex<State>>);

impl fmt::Debug for Vlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vlog").finish_non_exhaustive()
    }
}

impl Vlog {
    /// A log for a program of this name, which hears nothing before it is [started](Vlog::start).
    pub fn new(program: impl Into<String>) -> Vlog {
        Vlog(Arc::new(Mutex::new(State::new(program.into()))))
    }

    /// Has all lines of the process go here.
    ///
    /// # Errors
    /// If the process has a log already.
    pub fn start(&self) -> Result<(), String> {
        tracing_subscriber::registry().with(Listener(self.clone())).try_init().map_err(|e| e.to_string())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while a line was written leaves nothing half done that matters.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets levels or a pattern: `[MODULE][:DESTINATION][:LEVEL]` in any order, or `PATTERN:DESTINATION:PATTERN`, as `-v`
    /// and `vlog/set` take them.
    ///
    /// # Errors
    /// What is wrong, in upstream's words.
    pub fn set(&self, spec: &str) -> Result<(), String> {
        self.state().set(spec)?;
        tracing::callsite::rebuild_interest_cache();
        Ok(())
    }

    /// The levels of all modules, as `vlog/list` prints them.
    pub fn levels(&self) -> String {
        self.state().levels()
    }

    /// The patterns, as `vlog/list-pattern` prints them.
    pub fn patterns(&self) -> String {
        self.state().patterns()
    }

    /// Lifts or sets the limit on lines of these modules; of all for none.
    ///
    /// # Errors
    /// The name that no module has.
    pub fn set_rate_limit<S: AsRef<str>>(&self, modules: &[S], limited: bool) -> Result<(), String> {
        self.state().set_rate_limit(modules, limited)
    }

    /// Writes lines to a file from now on, at the end of what it has.
    ///
    /// # Errors
    /// What the system says.
    pub fn open_file(&self, path: &Path) -> io::Result<()> {
        self.state().open_file(path)?;
        tracing::callsite::rebuild_interest_cache();
        tracing::info!(target: "vlog", "opened log file {}", path.display());
        Ok(())
    }

    /// The file that lines are written to.
    pub fn file(&self) -> Option<PathBuf> {
        self.state().path().map(Path::to_path_buf)
    }

    /// Closes the file and opens it by its name again.
    ///
    /// # Errors
    /// If lines are not written to a file, or what the system says.
    pub fn reopen(&self) -> Result<(), String> {
        let path = self.file().ok_or("Logging to file not configured")?;
        tracing::info!(target: "vlog", "closing log file");
        self.open_file(&path).map_err(|e| e.to_string())
    }

    /// Closes the file until [`reopen`](Vlog::reopen).
    pub fn close_file(&self) {
        self.state().close_file();
        tracing::callsite::rebuild_interest_cache();
    }

    /// Writes to standard error no more: the process has left its terminal.
    pub fn detach_console(&self) {
        self.state().detach_console();
        tracing::callsite::rebuild_interest_cache();
    }

    /// How lines reach syslog: `libc` or `unix:FILE` by a datagram socket, `null` not at all.
    ///
    /// # Errors
    /// If there is no such way.
    pub fn set_syslog_method(&self, method: &str) -> Result<(), String> {
        self.state().set_syslog_method(method)
    }
}

/// The module of a target: its last part.
fn module_of(target: &str) -> &str {
    target.rsplit("::").next().unwrap_or(target)
}

/// What `tracing` talks to.
struct Listener(Vlog);

impl<S: Subscriber> Layer<S> for Listener {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        let level = Level::of(*metadata.level());
        // Beside events there are questions whether one would be heard.
        if !metadata.is_span() && self.0.state().is_heard(module_of(metadata.target()), level) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let metadata = event.metadata();
        let thread = std::thread::current();
        let thread = thread.name().filter(|n| *n != "main").unwrap_or_default().to_string();
        let site = (metadata.file().unwrap_or_default(), metadata.line().unwrap_or_default());
        let module = module_of(metadata.target());
        let site = (metadata.name() != UNLIMITED).then_some(site);
        self.0.state().write(module, Level::of(*metadata.level()), &text.0, &thread, site);
    }
}

/// A message with the fields behind it.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match (field.name(), self.0.is_empty()) {
            ("message", true) => write!(self.0, "{value:?}"),
            ("message", false) => {
                let fields = std::mem::take(&mut self.0);
                write!(self.0, "{value:?} {fields}")
            }
            (name, true) => write!(self.0, "{name}={value:?}"),
            (name, false) => write!(self.0, " {name}={value:?}"),
        };
    }
}

//! Log lines of a tool, on standard error, as `-v` asks for them.

use std::fmt;
use std::os::unix::net::UnixDatagram;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::calendar::{date, since_1970, time_of_day};

/// The number of the next line.
static LINES: AtomicU32 = AtomicU32::new(1);

/// What one `-v` asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Verbose {
    /// Lines of at least some level.
    Level(Threshold),
    /// Lines of this form.
    Pattern(Pattern),
}

/// The form of a line: `%c` stands for the module that speaks, `%p` for the level, `%m` for the message, `%A` for the
/// program, `%%` for a percent sign.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern(Vec<Part>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Text(String),
    Module,
    Level,
    Message,
    Program,
    /// Date and time of day.
    Time,
    /// Which line of the program's it is, from 1 on.
    Number,
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(form: &str) -> Result<Pattern, String> {
        let (mut parts, mut text, mut chars) = (Vec::new(), String::new(), form.chars());
        while let Some(c) = chars.next() {
            let part = match (c, if c == '%' { chars.next() } else { None }) {
                ('%', Some('c')) => Part::Module,
                ('%', Some('p')) => Part::Level,
                ('%', Some('m')) => Part::Message,
                ('%', Some('A')) => Part::Program,
                ('%', Some('%')) => {
                    text.push('%');
                    continue;
                }
                ('%', other) => {
                    return Err(format!(
                        "%{}: not one of %c, %p, %m, %A and %%",
                        other.map_or("".into(), String::from)
                    ));
                }
                (c, _) => {
                    text.push(c);
                    continue;
                }
            };
            parts.extend([Part::Text(std::mem::take(&mut text)), part]);
        }
        parts.push(Part::Text(text));
        Ok(Pattern(parts))
    }
}

/// Where a level is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Threshold {
    /// The module that speaks; any without one.
    pub module: Option<String>,
    /// Where it is written; everywhere without one.
    pub facility: Option<Facility>,
    /// Lines of at least this level.
    pub level: LevelFilter,
}

/// Where lines are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Facility {
    /// Standard error: notes and what is worse, if nothing is asked for.
    Console,
    /// The log of the system, by its socket: nothing, if nothing is asked for.
    Syslog,
}

/// The modules of stock tools, of which some have nothing to say here.
const MODULES: &[&str] = &[
    "backtrace",
    "daemon",
    "dirs",
    "fatal_signal",
    "jsonrpc",
    "meta_flow",
    "nx_match",
    "ofp_actions",
    "ofp_bundle",
    "ofp_errors",
    "ofp_flow",
    "ofp_match",
    "ofp_msgs",
    "ofp_port",
    "ofp_prop",
    "ofp_util",
    "poll_loop",
    "process",
    "rconn",
    "reconnect",
    "socket_util",
    "stream",
    "stream_fd",
    "stream_ssl",
    "stream_tcp",
    "stream_unix",
    "timeval",
    "unixctl",
    "util",
    "vconn",
    "vlog",
];

/// Reads the argument of `-v`: module, facility and level in any order, with colons between them, each of which may be
/// missing, or `PATTERN:console:FORM`.
///
/// # Errors
/// What is wrong, in a line: what is neither of them, or a form that there is none of.
pub fn verbose(spec: &str) -> Result<Verbose, String> {
    let mut parts = spec.splitn(3, ':');
    if let (Some("PATTERN" | "pattern"), Some(facility), Some(form)) = (parts.next(), parts.next(), parts.next()) {
        if !matches!(facility, "console" | "any" | "CONSOLE" | "ANY") {
            return Err(format!("{facility}: not console, which alone has a form"));
        }
        return form.parse().map(Verbose::Pattern);
    }
    let mut threshold = Threshold { module: None, facility: None, level: LevelFilter::TRACE };
    for word in spec.split([':', ' ', ',']).filter(|word| !word.is_empty()) {
        let word = word.to_ascii_lowercase();
        match word.as_str() {
            "any" => {}
            "console" => threshold.facility = Some(Facility::Console),
            "syslog" => threshold.facility = Some(Facility::Syslog),
            "file" => return Err("file: there is no log file here".to_string()),
            "off" => threshold.level = LevelFilter::OFF,
            "emer" | "err" => threshold.level = LevelFilter::ERROR,
            "warn" => threshold.level = LevelFilter::WARN,
            "info" => threshold.level = LevelFilter::INFO,
            "dbg" => threshold.level = LevelFilter::TRACE,
            module if MODULES.contains(&module) => threshold.module = Some(word),
            _ => return Err(format!("no facility, level, or module \"{word}\"")),
        }
    }
    Ok(Verbose::Level(threshold))
}

/// The module that speaks.
fn module_of(metadata: &Metadata<'_>) -> &'static str {
    let target = metadata.target().rsplit("::").next().unwrap_or_default();
    MODULES.iter().find(|m| **m == target).copied().unwrap_or_default()
}

/// The levels of a facility: of all modules, and of those that were named, the last that was asked for.
struct Levels(Vec<Threshold>);

impl Levels {
    fn of(facility: Facility, asked: &[Verbose], default: LevelFilter) -> Levels {
        let mut all = vec![Threshold { module: None, facility: None, level: default }];
        for verbose in asked {
            if let Verbose::Level(t) = verbose
                && t.facility.is_none_or(|f| f == facility)
                // A level for all facilities at once is not meant to begin a log of the system.
                && (facility == Facility::Console || t.facility.is_some() || t.level == LevelFilter::OFF)
            {
                if t.module.is_none() {
                    all.clear();
                }
                all.push(t.clone());
            }
        }
        Levels(all)
    }

    fn has(&self, metadata: &Metadata<'_>) -> bool {
        let module = module_of(metadata);
        let own = self.0.iter().rev().find(|t| t.module.as_deref().is_none_or(|m| m == module));
        own.is_some_and(|t| *metadata.level() <= t.level)
    }

    fn highest(&self) -> LevelFilter {
        self.0.iter().map(|t| t.level).max().unwrap_or(LevelFilter::OFF)
    }
}

/// Sends log lines where they were asked for: to standard error, in the last form, and to the log of the system.
pub fn start(asked: &[Verbose]) {
    let mut pattern = Pattern(vec![
        Part::Time,
        Part::Text("|".into()),
        Part::Number,
        Part::Text("|".into()),
        Part::Module,
        Part::Text("|".into()),
        Part::Level,
        Part::Text("|".into()),
        Part::Message,
    ]);
    for verbose in asked {
        if let Verbose::Pattern(last) = verbose {
            pattern = last.clone();
        }
    }
    let console = Levels::of(Facility::Console, asked, LevelFilter::INFO);
    let system = Levels::of(Facility::Syslog, asked, LevelFilter::OFF);
    let (console_highest, system_highest) = (console.highest(), system.highest());
    let console = filter_fn(move |metadata| console.has(metadata)).with_max_level_hint(console_highest);
    let system = filter_fn(move |metadata| system.has(metadata)).with_max_level_hint(system_highest);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).event_format(pattern);
    let records = (system_highest != LevelFilter::OFF).then(|| Syslog::open().ok()).flatten();
    let registry = tracing_subscriber::registry().with(lines.with_filter(console));
    registry.with(records.map(|records| records.with_filter(system))).init();
}

/// The log of the system (RFC 3164), by its socket.
struct Syslog(UnixDatagram);

impl Syslog {
    fn open() -> std::io::Result<Syslog> {
        let socket = UnixDatagram::unbound()?;
        socket.connect("/dev/log")?;
        // A log that is full is not waited for.
        socket.set_nonblocking(true)?;
        Ok(Syslog(socket))
    }
}

impl<S: Subscriber> Layer<S> for Syslog {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        struct Message(String);

        impl Visit for Message {
            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }

        let mut message = Message(String::new());
        event.record(&mut message);
        let (level, module) = (*event.metadata().level(), module_of(event.metadata()));
        // The facility of daemons is 3.
        let priority = 3 << 3
            | match level {
                Level::ERROR => 3,
                Level::WARN => 4,
                Level::INFO => 6,
                _ => 7,
            };
        // A line that is lost is lost.
        let _ = self.0.send(
            format!("<{priority}>{}[{}]: {module}|{}|{}", program(), std::process::id(), level_name(level), message.0)
                .as_bytes(),
        );
    }
}

impl<S: Subscriber + for<'l> LookupSpan<'l>, N: for<'w> FormatFields<'w> + 'static> FormatEvent<S, N> for Pattern {
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        for part in &self.0 {
            match part {
                Part::Text(text) => line.write_str(text)?,
                Part::Module => line.write_str(event.metadata().target().rsplit("::").next().unwrap_or_default())?,
                Part::Level => line.write_str(level_name(*event.metadata().level()))?,
                Part::Message => context.format_fields(line.by_ref(), event)?,
                Part::Program => line.write_str(&program())?,
                Part::Time => {
                    let now = since_1970();
                    let time = time_of_day(now);
                    // Up to the second.
                    write!(line, "{}T{}Z", date(now), time.split('.').next().unwrap_or_default())?;
                }
                Part::Number => write!(line, "{:05}", LINES.fetch_add(1, Ordering::Relaxed))?,
            }
        }
        line.write_char('\n')
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERR",
        Level::WARN => "WARN",
        Level::INFO => "INFO",
        _ => "DBG",
    }
}

/// The name that the program was started by.
fn program() -> String {
    let path = std::env::args_os().next().unwrap_or_default();
    std::path::Path::new(&path).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_names_and_forms_have_parts() {
        let level = |module: Option<&str>, facility, level| {
            Ok(Verbose::Level(Threshold { module: module.map(str::to_string), facility, level }))
        };
        assert_eq!(verbose("warn"), level(None, None, LevelFilter::WARN));
        assert_eq!(verbose("ANY:any:off"), level(None, None, LevelFilter::OFF));
        assert_eq!(verbose("any"), level(None, None, LevelFilter::TRACE));
        assert_eq!(verbose("vconn:console:dbg"), level(Some("vconn"), Some(Facility::Console), LevelFilter::TRACE));
        assert_eq!(verbose("syslog:off"), level(None, Some(Facility::Syslog), LevelFilter::OFF));
        assert_eq!(verbose("bogus:dbg").unwrap_err(), "no facility, level, or module \"bogus\"");
        assert!(verbose("file:dbg").is_err());
        assert_eq!(verbose("PATTERN:console:%c|%p|%m"), Ok(Verbose::Pattern("%c|%p|%m".parse().unwrap())));
        assert!(verbose("PATTERN:console:%").is_err());
        assert!(verbose("PATTERN:syslog:%m").is_err());
        assert!(verbose("PATTERN:console:%Q").unwrap_err().starts_with("%Q: not one of"));
    }

    #[test]
    fn a_line_has_the_form() {
        use std::sync::{Arc, Mutex};
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = written.clone();
        struct Sink(Arc<Mutex<Vec<u8>>>);
        impl std::io::Write for Sink {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().extend(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let Ok(Verbose::Pattern(pattern)) = verbose("PATTERN:console:<%p> %c: 100%%: %m") else { panic!() };
        let lines = tracing_subscriber::fmt().with_writer(move || Sink(sink.clone())).event_format(pattern).finish();
        tracing::subscriber::with_default(lines, || tracing::warn!(target: "ovs::ofp", "bad"));
        assert_eq!(String::from_utf8(written.lock().unwrap().clone()).unwrap(), "<WARN> ofp: 100%: bad\n");
    }
}

//! What a log knows: levels, patterns, where lines go, and which call sites speak too much.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use super::modules::MODULES;
use super::pattern::{Entry, Pattern};
use super::{BURST, Destination, Level, RATE};

/// Where the system's log listens.
const SYSLOG: &str = "/dev/log";

/// Call sites that are remembered: as many as the program has, and no more than this.
const MAX_SITES: usize = 4096;

#[derive(Debug, Clone, Copy)]
struct Module {
    /// By destination.
    levels: [Level; 3],
    limited: bool,
}

/// What a call site has left to say.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
    lost: u64,
}

#[derive(Debug)]
enum Syslog {
    Off,
    Socket { path: PathBuf, socket: Option<UnixDatagram> },
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct State {
    program: String,
    modules: BTreeMap<String, Module>,
    /// What a module has that was not heard of yet.
    default: Module,
    patterns: [Pattern; 3],
    console: bool,
    syslog: Syslog,
    path: Option<PathBuf>,
    file: Option<File>,
    sequence: u64,
    started: Instant,
    host: String,
    buckets: HashMap<(&'static str, u32), Bucket>,
}

impl State {
    pub(super) fn new(program: String) -> State {
        let default = Module { levels: [Level::Info; 3], limited: true };
        State {
            program,
            modules: MODULES.iter().map(|name| (name.to_string(), default)).collect(),
            default,
            patterns: Destination::ALL.map(Pattern::default_of),
            console: true,
            syslog: Syslog::Socket { path: SYSLOG.into(), socket: None },
            path: None,
            file: None,
            sequence: 0,
            started: Instant::now(),
            host: std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_string(),
            buckets: HashMap::new(),
        }
    }

    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    // Levels and patterns.

    pub(super) fn set(&mut self, spec: &str) -> Result<(), String> {
        let is_gap = |c: char| matches!(c, ' ' | ',' | ':' | '\t');
        let first = spec.split(is_gap).find(|w| !w.is_empty()).unwrap_or_default();
        if first.eq_ignore_ascii_case("PATTERN") {
            let rest = spec.trim_start_matches(is_gap).get(first.len() + 1..).unwrap_or_default();
            let (word, form) = rest.split_once(is_gap).unwrap_or((rest, ""));
            return self.set_pattern(word, form);
        }
        if first.eq_ignore_ascii_case("FACILITY") {
            return Err("the facility of syslog is \"daemon\" here and cannot be chosen".into());
        }
        let (mut module, mut level, mut destination) = (None, None, None);
        for word in spec.split(is_gap).filter(|w| !w.is_empty()) {
            let several = |what: &str| Err(format!("cannot specify multiple {what}"));
            if word.eq_ignore_ascii_case("ANY") {
            } else if let Ok(d) = word.parse::<Destination>() {
                if destination.replace(d).is_some() {
                    return several("destinations");
                }
            } else if let Ok(l) = word.parse::<Level>() {
                if level.replace(l).is_some() {
                    return several("levels");
                }
            } else if let Some(name) = self.known(word) {
                if module.replace(name).is_some() {
                    return several("modules");
                }
            } else {
                return Err(format!("no destination, level, or module \"{word}\""));
            }
        }
        let level = level.unwrap_or(Level::Dbg);
        let change = |m: &mut Module| {
            for d in Destination::ALL {
                if destination.is_none_or(|only| only == d) {
                    m.levels[d as usize] = level;
                }
            }
        };
        match module.and_then(|name| self.modules.get_mut(&name)) {
            Some(one) => change(one),
            None => {
                change(&mut self.default);
                self.modules.values_mut().for_each(change);
            }
        }
        Ok(())
    }

    fn known(&self, word: &str) -> Option<String> {
        self.modules.keys().find(|name| name.eq_ignore_ascii_case(word)).cloned()
    }

    fn set_pattern(&mut self, word: &str, form: &str) -> Result<(), String> {
        if word.is_empty() {
            return Err("missing destination".into());
        }
        let only = word.parse::<Destination>().ok();
        if only.is_none() && !word.eq_ignore_ascii_case("ANY") {
            return Err(format!("unknown destination \"{word}\""));
        }
        let pattern = Pattern::parse(form)?;
        for d in Destination::ALL {
            if only.is_none_or(|only| only == d) {
                self.patterns[d as usize] = pattern.clone();
            }
        }
        Ok(())
    }

    pub(super) fn set_rate_limit<S: AsRef<str>>(&mut self, modules: &[S], limited: bool) -> Result<(), String> {
        let names: Vec<String> = match modules {
            [] => self.modules.keys().cloned().collect(),
            some => {
                let known = |m: &S| self.known(m.as_ref()).ok_or_else(|| format!("unknown module: {}", m.as_ref()));
                some.iter().map(known).collect::<Result<_, _>>()?
            }
        };
        for name in names {
            if let Some(m) = self.modules.get_mut(&name) {
                m.limited = limited;
            }
        }
        Ok(())
    }

    pub(super) fn levels(&self) -> String {
        let mut text =
            String::from("                 console    syslog    file\n                 -------    ------    ------\n");
        for (name, m) in &self.modules {
            let level = |d: Destination| m.levels[d as usize].as_str();
            let (c, s, f) = (level(Destination::Console), level(Destination::Syslog), level(Destination::File));
            let free = if m.limited { "" } else { "    (rate limiting disabled)" };
            text += &format!("{name:<16}  {c:>4}       {s:>4}       {f:>4}{free}\n");
        }
        text
    }

    pub(super) fn patterns(&self) -> String {
        let mut text = String::from(
            "         prefix                            format\n         ------                            ------\n",
        );
        for d in Destination::ALL {
            text += &format!("{:<7}  {:<32}  {}\n", d.as_str(), "none", self.patterns[d as usize].source());
        }
        text
    }

    // Destinations.

    pub(super) fn open_file(&mut self, path: &Path) -> io::Result<()> {
        self.path = Some(path.to_path_buf());
        self.file = None;
        self.file = Some(OpenOptions::new().append(true).create(true).open(path)?);
        Ok(())
    }

    pub(super) fn close_file(&mut self) {
        self.file = None;
    }

    pub(super) fn detach_console(&mut self) {
        self.console = false;
    }

    pub(super) fn set_syslog_method(&mut self, method: &str) -> Result<(), String> {
        self.syslog = match method {
            "null" => Syslog::Off,
            "libc" => Syslog::Socket { path: SYSLOG.into(), socket: None },
            other => match other.strip_prefix("unix:") {
                Some(path) => Syslog::Socket { path: path.into(), socket: None },
                None => return Err(format!("{other}: syslog is reached by libc, unix:FILE or null")),
            },
        };
        Ok(())
    }

    // Lines.

    pub(super) fn is_heard(&self, module: &str, level: Level) -> bool {
        let m = self.modules.get(module).unwrap_or(&self.default);
        Destination::ALL.into_iter().any(|d| self.is_open(d) && m.levels[d as usize] >= level)
    }

    fn is_open(&self, destination: Destination) -> bool {
        match destination {
            Destination::Console => self.console,
            Destination::Syslog => !matches!(self.syslog, Syslog::Off),
            Destination::File => self.file.is_some(),
        }
    }

    /// Writes a line; of a call site, unless that may speak without end.
    pub(super) fn write(
        &mut self,
        module: &str,
        level: Level,
        message: &str,
        thread: &str,
        site: Option<(&'static str, u32)>,
    ) {
        let m = *self.modules.entry(module.to_string()).or_insert(self.default);
        let lost = match site {
            None => 0,
            Some(site) => match self.admit(m.limited, site) {
                Some(lost) => lost,
                None => return,
            },
        };
        if lost > 0 {
            let told = format!("Dropped {lost} log messages of this kind, more than {RATE} a second");
            self.write_line(module, &m, Level::Info, &told, thread);
        }
        self.write_line(module, &m, level, message, thread);
    }

    /// Whether a call site may speak, and how many lines of it were lost before.
    fn admit(&mut self, limited: bool, site: (&'static str, u32)) -> Option<u64> {
        if !limited || self.buckets.len() >= MAX_SITES && !self.buckets.contains_key(&site) {
            return Some(0);
        }
        let now = Instant::now();
        let burst = f64::from(BURST);
        let bucket = self.buckets.entry(site).or_insert(Bucket { tokens: burst, filled: now, lost: 0 });
        let gained = now.duration_since(bucket.filled).as_secs_f64() * f64::from(RATE);
        bucket.tokens = (bucket.tokens + gained).min(burst);
        bucket.filled = now;
        if bucket.tokens < 1.0 {
            bucket.lost += 1;
            return None;
        }
        bucket.tokens -= 1.0;
        Some(std::mem::take(&mut bucket.lost))
    }

    fn write_line(&mut self, module: &str, m: &Module, level: Level, message: &str, thread: &str) {
        self.sequence += 1;
        for d in Destination::ALL {
            if m.levels[d as usize] < level || !self.is_open(d) {
                continue;
            }
            let entry = Entry {
                program: &self.program,
                module,
                level,
                message,
                sequence: self.sequence,
                thread,
                time: SystemTime::now(),
                age: self.started.elapsed().as_millis(),
                host: &self.host,
            };
            let mut line = String::with_capacity(message.len() + 64);
            self.patterns[d as usize].write(&entry, &mut line);
            // A log that cannot be written has nobody to tell.
            let _ = match d {
                Destination::Console => writeln!(io::stderr(), "{line}"),
                Destination::File => self.file.as_mut().map_or(Ok(()), |f| writeln!(f, "{line}")),
                Destination::Syslog => self.send(level, &line),
            };
        }
    }

    fn send(&mut self, level: Level, line: &str) -> io::Result<()> {
        let Syslog::Socket { path, socket } = &mut self.syslog else { return Ok(()) };
        let text = format!("<{}>{}[{}]: {line}", 3 * 8 + level.severity(), self.program, std::process::id());
        if socket.is_none() {
            let new = UnixDatagram::unbound()?;
            new.set_nonblocking(true)?;
            new.connect(&*path)?;
            *socket = Some(new);
        }
        let sent = socket.as_ref().map_or(Ok(0), |s| s.send(text.as_bytes()));
        if sent.is_err() {
            *socket = None;
        }
        sent.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_set_by_words_in_any_order() {
        let mut state = State::new("p".into());
        state.set_syslog_method("null").unwrap();
        assert!(state.is_heard("bridge", Level::Info) && !state.is_heard("bridge", Level::Dbg));
        state.set("console:bridge,dbg").unwrap();
        assert!(state.is_heard("bridge", Level::Dbg) && !state.is_heard("vconn", Level::Dbg));
        state.set("vconn").unwrap();
        assert!(state.is_heard("vconn", Level::Dbg));
        state.set("any:any:off").unwrap();
        assert!(!state.is_heard("vconn", Level::Emer) && !state.is_heard("never_heard_of", Level::Emer));
        for (spec, says) in [
            ("nonesuch", "no destination, level, or module \"nonesuch\""),
            ("info:warn", "cannot specify multiple levels"),
            ("file:console", "cannot specify multiple destinations"),
            ("bridge:vconn", "cannot specify multiple modules"),
            ("PATTERN", "missing destination"),
            ("PATTERN:tape:%m", "unknown destination \"tape\""),
        ] {
            assert_eq!(state.set(spec).unwrap_err(), says);
        }
        state.set("PATTERN:ANY:%c|%p|%m").unwrap();
        assert!(state.patterns().contains("file     none                              %c|%p|%m\n"));
        assert!(state.levels().contains("bridge             OFF        OFF        OFF\n"));
    }

    #[test]
    fn who_speaks_too_much_is_cut_short() {
        let mut state = State::new("p".into());
        let admitted = (0..BURST + 100).filter(|_| state.admit(true, ("f", 1)).is_some()).count();
        assert!(admitted >= BURST as usize && admitted < BURST as usize + 100, "{admitted}");
        assert_eq!(state.admit(true, ("f", 2)), Some(0));
        assert_eq!(state.admit(false, ("f", 1)), Some(0));
    }
}

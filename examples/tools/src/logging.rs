//! Log lines of a tool, on standard error, as `-v` asks for them.

use std::fmt;
use std::str::FromStr;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// What one `-v` asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Verbose {
    /// Lines of at least this level.
    Level(LevelFilter),
    /// Lines of this module, of at least this level.
    Module(String, LevelFilter),
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

/// Reads the argument of `-v`: a level, `any:any:LEVEL`, `console:LEVEL`, `MODULE:LEVEL`, `MODULE:console:LEVEL` or
/// `PATTERN:console:FORM`.
///
/// # Errors
/// What is wrong, in a line: a level or a part of a form that there is none of, or another facility, which cannot be
/// chosen.
pub fn verbose(spec: &str) -> Result<Verbose, String> {
    let mut parts = spec.splitn(3, ':');
    if let (Some("PATTERN" | "pattern"), Some(facility), Some(form)) = (parts.next(), parts.next(), parts.next()) {
        if !matches!(facility, "console" | "any" | "CONSOLE" | "ANY") {
            return Err(format!("{facility}: not console; there is no other facility"));
        }
        return form.parse().map(Verbose::Pattern);
    }
    let (mut level, mut module) = (None, None);
    for word in spec.split(':') {
        match word.to_ascii_lowercase().as_str() {
            "any" | "console" => {}
            "off" => level = Some(LevelFilter::OFF),
            "emer" | "err" => level = Some(LevelFilter::ERROR),
            "warn" => level = Some(LevelFilter::WARN),
            "info" => level = Some(LevelFilter::INFO),
            "dbg" => level = Some(LevelFilter::TRACE),
            "syslog" | "file" | "" => return Err(format!("{word}: not console; there is no other facility")),
            _ if module.is_none() && level.is_none() && spec.contains(':') => module = Some(word.to_string()),
            _ => return Err(format!("{word}: not off, emer, err, warn, info or dbg")),
        }
    }
    let level = level.unwrap_or(LevelFilter::TRACE);
    Ok(module.map_or(Verbose::Level(level), |module| Verbose::Module(module, level)))
}

/// Sends log lines to standard error: of at least the last level asked for, of all modules or of the one that speaks, in
/// the last form. Without a level there are notes and what is worse.
pub fn start(asked: &[Verbose]) {
    let (mut level, mut modules) = (LevelFilter::INFO, Vec::new());
    let mut pattern = Pattern(vec![
        Part::Program,
        Part::Text("|".into()),
        Part::Module,
        Part::Text("|".into()),
        Part::Level,
        Part::Text("|".into()),
        Part::Message,
    ]);
    for verbose in asked {
        match verbose {
            Verbose::Level(last) => {
                level = *last;
                modules.clear();
            }
            Verbose::Module(module, level) => modules.push((module.clone(), *level)),
            Verbose::Pattern(last) => pattern = last.clone(),
        }
    }
    let most = modules.iter().map(|(_, level)| *level).chain([level]).max();
    let wanted = filter_fn(move |of| {
        let name = module_of(of.target());
        let own = modules.iter().rev().find(|(module, _)| module == name).map(|(_, level)| *level);
        *of.level() <= own.unwrap_or(level)
    });
    let lines = tracing_subscriber::fmt().with_max_level(most.unwrap_or(level)).with_writer(std::io::stderr);
    lines.event_format(pattern).finish().with(wanted).init();
}

impl<S: Subscriber + for<'l> LookupSpan<'l>, N: for<'w> FormatFields<'w> + 'static> FormatEvent<S, N> for Pattern {
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        for part in &self.0 {
            match part {
                Part::Text(text) => line.write_str(text)?,
                Part::Module => line.write_str(module_of(event.metadata().target()))?,
                Part::Level => line.write_str(level_name(*event.metadata().level()))?,
                Part::Message => context.format_fields(line.by_ref(), event)?,
                Part::Program => line.write_str(&program())?,
            }
        }
        line.write_char('\n')
    }
}

/// The name that a module of the program goes by.
fn module_of(target: &str) -> &str {
    target.rsplit("::").next().unwrap_or_default()
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
        assert_eq!(verbose("warn"), Ok(Verbose::Level(LevelFilter::WARN)));
        assert_eq!(verbose("ANY:any:off"), Ok(Verbose::Level(LevelFilter::OFF)));
        assert_eq!(verbose("any"), Ok(Verbose::Level(LevelFilter::TRACE)));
        assert_eq!(verbose("vconn:dbg"), Ok(Verbose::Module("vconn".into(), LevelFilter::TRACE)));
        assert_eq!(verbose("vconn:console:off"), Ok(Verbose::Module("vconn".into(), LevelFilter::OFF)));
        assert!(verbose("loud").unwrap_err().starts_with("loud: not off"));
        assert!(verbose("syslog:err").is_err());
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

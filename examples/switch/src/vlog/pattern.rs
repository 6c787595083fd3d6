//! The form of a log line: what ovs-appctl(8) says of `vlog/set PATTERN:DESTINATION:PATTERN`.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Destination, Level};

/// What a line is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) program: &'a str,
    pub(super) module: &'a str,
    pub(super) level: Level,
    pub(super) message: &'a str,
    pub(super) sequence: u64,
    pub(super) thread: &'a str,
    pub(super) time: SystemTime,
    /// Milliseconds since the program began.
    pub(super) age: u128,
    pub(super) host: &'a str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Program,
    Facility,
    Module,
    /// By a form of strftime(3), in UTC; `#` stand for fractions of a second.
    Time(String),
    Host,
    Message,
    Sequence,
    Newline,
    Level,
    Process,
    Age,
    Thread,
    /// The thread in parentheses, or nothing for the main one.
    Subprogram,
    Text(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    what: What,
    width: usize,
    zeros: bool,
    left: bool,
}

/// The form of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    source: String,
    parts: Vec<Part>,
}

impl Pattern {
    pub(super) fn default_of(destination: Destination) -> Pattern {
        let form = match destination {
            Destination::Console => "%D{%Y-%m-%dT%H:%M:%SZ}|%05N|%c%T|%p|%m",
            Destination::Syslog => "ovs|%05N|%c%T|%p|%m",
            Destination::File => "%D{%Y-%m-%dT%H:%M:%S.###Z}|%05N|%c%T|%p|%m",
        };
        Pattern::parse(form).unwrap_or_else(|_| Pattern { source: String::new(), parts: Vec::new() })
    }

    pub(super) fn parse(form: &str) -> Result<Pattern, String> {
        let mut parts = Vec::new();
        let mut chars = form.chars().peekable();
        while let Some(c) = chars.next() {
            let mut part = Part { what: What::Text(c.to_string()), width: 0, zeros: false, left: false };
            if c == '%' {
                part.left = chars.next_if_eq(&'-').is_some();
                part.zeros = chars.next_if_eq(&'0').is_some();
                while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
                    part.width = (part.width * 10 + digit as usize).min(1000);
                    chars.next();
                }
                let letter = chars.next();
                let mut argument = None;
                if chars.next_if_eq(&'{').is_some() {
                    argument = Some(chars.by_ref().take_while(|c| *c != '}').collect::<String>());
                }
                part.what = match letter {
                    Some('A') => What::Program,
                    Some('B') => What::Facility,
                    Some('c') => What::Module,
                    Some('D') => What::Time(argument.unwrap_or("%Y-%m-%d %H:%M:%S.###".into())),
                    Some('d') => return Err("%d: local time is not known here; %D is UTC".into()),
                    Some('E') => What::Host,
                    Some('m') => What::Message,
                    Some('N') => What::Sequence,
                    Some('n') => What::Newline,
                    Some('p') => What::Level,
                    Some('P') => What::Process,
                    Some('r') => What::Age,
                    Some('t') => What::Thread,
                    Some('T') => What::Subprogram,
                    Some('%') => What::Text("%".into()),
                    other => {
                        let what = other.map_or("an end".to_string(), |c| format!("'{c}'"));
                        return Err(format!("{what} after '%' is no part of a log line"));
                    }
                };
            }
            parts.push(part);
        }
        Ok(Pattern { source: form.to_string(), parts })
    }

    pub(super) fn source(&self) -> &str {
        &self.source
    }

    pub(super) fn write(&self, entry: &Entry<'_>, line: &mut String) {
        for part in &self.parts {
            let text = match &part.what {
                What::Program => entry.program.to_string(),
                // RFC 5424 section 6.2.1, of the facility "daemon".
                What::Facility => format!("<{}>", 3 * 8 + entry.level.severity()),
                What::Module => entry.module.to_string(),
                What::Time(form) => time(form, entry.time),
                What::Host => entry.host.to_string(),
                What::Message => entry.message.to_string(),
                What::Sequence => entry.sequence.to_string(),
                What::Newline => "\n".to_string(),
                What::Level => entry.level.as_str().to_string(),
                What::Process => std::process::id().to_string(),
                What::Age => entry.age.to_string(),
                What::Thread => if entry.thread.is_empty() { "main" } else { entry.thread }.to_string(),
                What::Subprogram if entry.thread.is_empty() => String::new(),
                What::Subprogram => format!("({})", entry.thread),
                What::Text(text) => text.clone(),
            };
            let pad = part.width.saturating_sub(text.chars().count());
            let fill = if part.zeros && !part.left { "0" } else { " " }.repeat(pad);
            // Writing to a string does not fail.
            let _ = if part.left { write!(line, "{text}{fill}") } else { write!(line, "{fill}{text}") };
        }
    }
}

/// A time in UTC by a form of strftime(3).
fn time(form: &str, time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(i64::try_from(days).unwrap_or(0));
    let mut text = String::new();
    let mut chars = form.chars().peekable();
    let mut fraction = format!("{:09}", since.subsec_nanos()).into_bytes().into_iter();
    while let Some(c) = chars.next() {
        let _ = match (c, if c == '%' { chars.next() } else { None }) {
            ('%', Some('Y')) => write!(text, "{year:04}"),
            ('%', Some('m')) => write!(text, "{month:02}"),
            ('%', Some('d')) => write!(text, "{day:02}"),
            ('%', Some('H')) => write!(text, "{:02}", seconds / 3600),
            ('%', Some('M')) => write!(text, "{:02}", seconds / 60 % 60),
            ('%', Some('S')) => write!(text, "{:02}", seconds % 60),
            ('%', Some('s')) => write!(text, "{}", since.as_secs()),
            ('%', other) => write!(text, "{}", other.map_or("%".into(), String::from)),
            ('#', _) => write!(text, "{}", char::from(fraction.next().unwrap_or(b'0'))),
            (c, _) => write!(text, "{c}"),
        };
    }
    text
}

/// Year, month and day of a number of days since 1970-01-01 in the Gregorian calendar: eras of 400 years begin on the
/// first of March, so that the leap day is a year's last.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn lines_have_the_form() {
        let entry = Entry {
            program: "p",
            module: "bridge",
            level: Level::Warn,
            message: "oops",
            sequence: 7,
            thread: "",
            time: UNIX_EPOCH + Duration::from_millis(1_709_210_096_789),
            age: 12,
            host: "h",
        };
        let line = |pattern: &Pattern| {
            let mut line = String::new();
            pattern.write(&entry, &mut line);
            line
        };
        assert_eq!(line(&Pattern::default_of(Destination::File)), "2024-02-29T12:34:56.789Z|00007|bridge|WARN|oops");
        assert_eq!(line(&Pattern::parse("<%-6p>%%%B%r").unwrap()), "<WARN  >%<28>12");
        assert!(Pattern::parse("%d").is_err() && Pattern::parse("%").is_err() && Pattern::parse("%x").is_err());
    }

    #[test]
    fn days_have_dates() {
        assert_eq!(
            [0, 59, 11_016, 19_782, -1].map(civil),
            [(1970, 1, 1), (1970, 3, 1), (2000, 2, 29), (2024, 2, 29), (1969, 12, 31)]
        );
    }
}

//! Command lines as GNU `getopt_long` reads them, which is how upstream's daemons take theirs.
//!
//! Options may stand anywhere, may be shortened as long as they stay unambiguous, and some take a value only when it is
//! attached (`--enable-dummy=override`, `-vwarn`): no parser of commands does all of that.

/// Whether an option takes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// It takes none.
    None,
    /// It takes one, attached (`--name=value`, `-nvalue`) or as the next word.
    Required,
    /// It takes one only if it is attached.
    Optional,
}

/// An option that a program has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opt {
    /// Its name, without dashes.
    pub name: &'static str,
    /// Its letter.
    pub letter: Option<char>,
    /// Its value.
    pub value: Value,
    /// What help says of the value.
    pub placeholder: &'static str,
    /// What help says of it.
    pub help: &'static str,
}

impl Opt {
    /// An option without a letter.
    pub const fn long(name: &'static str, value: Value, placeholder: &'static str, help: &'static str) -> Opt {
        Opt { name, letter: None, value, placeholder, help }
    }

    /// The option with a letter.
    pub const fn letter(mut self, letter: char) -> Opt {
        self.letter = Some(letter);
        self
    }
}

/// A piece of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// An option by its full name, with its value.
    Option(&'static str, Option<String>),
    /// A word that is no option.
    Word(String),
}

/// Reads a command line, without the program's name.
///
/// ```
/// use ovs_switch::daemon::getopt::{Opt, Piece, Value, parse};
///
/// const OPTIONS: [Opt; 2] = [
///     Opt::long("verbose", Value::Optional, "SPEC", "say more").letter('v'),
///     Opt::long("pidfile", Value::Optional, "FILE", "write a pid file"),
/// ];
/// let line = ["-vwarn", "db", "--pid=x"].map(String::from);
/// assert_eq!(parse(&OPTIONS, line)?, [
///     Piece::Option("verbose", Some("warn".into())),
///     Piece::Word("db".into()),
///     Piece::Option("pidfile", Some("x".into())),
/// ]);
/// assert_eq!(parse(&OPTIONS, ["--pit".to_string()]).unwrap_err(), "unrecognized option '--pit'");
/// # Ok::<(), String>(())
/// ```
///
/// # Errors
/// What is wrong, in the words of getopt.
pub fn parse(options: &[Opt], line: impl IntoIterator<Item = String>) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut words = line.into_iter();
    while let Some(word) = words.next() {
        if word == "--" {
            pieces.extend(words.map(Piece::Word));
            break;
        } else if let Some(long) = word.strip_prefix("--") {
            let (name, value) = long.split_once('=').map_or((long, None), |(n, v)| (n, Some(v.to_string())));
            let option = find(options, name)?;
            let value = match (option.value, value) {
                (Value::None, Some(_)) => return Err(format!("option '--{}' doesn't allow an argument", option.name)),
                (Value::Required, None) => {
                    let missing = || format!("option '--{}' requires an argument", option.name);
                    Some(words.next().ok_or_else(missing)?)
                }
                (_, value) => value,
            };
            pieces.push(Piece::Option(option.name, value));
        } else if word.len() > 1 && word.starts_with('-') {
            letters(options, &word, &mut words, &mut pieces)?;
        } else {
            pieces.push(Piece::Word(word));
        }
    }
    Ok(pieces)
}

/// An option by its name or an unambiguous beginning of it.
fn find<'o>(options: &'o [Opt], name: &str) -> Result<&'o Opt, String> {
    if let Some(exact) = options.iter().find(|o| o.name == name) {
        return Ok(exact);
    }
    let mut like = options.iter().filter(|o| o.name.starts_with(name));
    match (like.next(), like.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(format!("unrecognized option '--{name}'")),
        (Some(_), Some(_)) => {
            let names = options.iter().filter(|o| o.name.starts_with(name)).map(|o| format!(" '--{}'", o.name));
            Err(format!("option '--{name}' is ambiguous; possibilities:{}", names.collect::<String>()))
        }
    }
}

/// A word of letters: each an option, the first that takes a value takes the rest.
fn letters(
    options: &[Opt],
    word: &str,
    words: &mut impl Iterator<Item = String>,
    pieces: &mut Vec<Piece>,
) -> Result<(), String> {
    let mut rest = word.chars();
    rest.next();
    while let Some(letter) = rest.next() {
        let option = options.iter().find(|o| o.letter == Some(letter));
        let option = option.ok_or_else(|| format!("invalid option -- '{letter}'"))?;
        if option.value == Value::None {
            pieces.push(Piece::Option(option.name, None));
            continue;
        }
        let attached = Some(rest.as_str().to_string()).filter(|v| !v.is_empty());
        let value = match (option.value, attached) {
            (Value::Required, None) => {
                Some(words.next().ok_or_else(|| format!("option requires an argument -- '{letter}'"))?)
            }
            (_, value) => value,
        };
        pieces.push(Piece::Option(option.name, value));
        break;
    }
    Ok(())
}

/// The options in the words of a help text, one a line.
pub fn describe(options: &[Opt]) -> String {
    let line = |o: &Opt| {
        let letter = o.letter.map_or("    ".to_string(), |l| format!("-{l}, "));
        let value = match o.value {
            Value::None => String::new(),
            Value::Required => format!("={}", o.placeholder),
            Value::Optional => format!("[={}]", o.placeholder),
        };
        format!("  {:<34} {}\n", format!("{letter}--{}{value}", o.name), o.help)
    };
    options.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: [Opt; 4] = [
        Opt::long("disable-system", Value::None, "", ""),
        Opt::long("disable-system-route", Value::None, "", ""),
        Opt::long("unixctl", Value::Required, "SOCKET", ""),
        Opt::long("verbose", Value::Optional, "SPEC", "").letter('v'),
    ];

    fn read(line: &[&str]) -> Result<Vec<Piece>, String> {
        parse(&OPTIONS, line.iter().map(|w| w.to_string()))
    }

    #[test]
    fn as_getopt_does() {
        let option = |name, value: Option<&str>| Piece::Option(name, value.map(String::from));
        assert_eq!(read(&["--disable-system"]), Ok(vec![option("disable-system", None)]));
        assert_eq!(read(&["--disable-system-r"]), Ok(vec![option("disable-system-route", None)]));
        assert!(read(&["--dis"]).unwrap_err().contains("ambiguous"));
        assert_eq!(read(&["--unixctl", "-x"]), Ok(vec![option("unixctl", Some("-x"))]));
        assert_eq!(read(&["--unixctl"]).unwrap_err(), "option '--unixctl' requires an argument");
        assert_eq!(read(&["--disable-system=1"]).unwrap_err(), "option '--disable-system' doesn't allow an argument");
        assert_eq!(read(&["-v", "db"]), Ok(vec![option("verbose", None), Piece::Word("db".into())]));
        assert_eq!(read(&["--", "-v"]), Ok(vec![Piece::Word("-v".into())]));
        assert_eq!(read(&["-x"]).unwrap_err(), "invalid option -- 'x'");
    }
}

//! Log lines of a tool, on standard error, at the level that `-v` asks for.

use tracing_subscriber::filter::LevelFilter;

/// Reads the argument of `-v`: a level, `any:any:LEVEL` or `console:LEVEL`, as upstream's tools have it.
///
/// # Errors
/// What is wrong, in a line: a level that there is none of, or a module or another facility, which cannot be chosen.
pub fn level(spec: &str) -> Result<LevelFilter, String> {
    let mut level = LevelFilter::TRACE;
    for word in spec.split(':') {
        level = match word.to_ascii_lowercase().as_str() {
            "any" | "console" => level,
            "off" => LevelFilter::OFF,
            "emer" | "err" => LevelFilter::ERROR,
            "warn" => LevelFilter::WARN,
            "info" => LevelFilter::INFO,
            "dbg" => LevelFilter::TRACE,
            _ => return Err(format!("{word}: not off, emer, err, warn, info or dbg; modules cannot be chosen")),
        };
    }
    Ok(level)
}

/// Sends log lines of at least this level to standard error. Without a level there are warnings only.
pub fn start(level: Option<LevelFilter>) {
    let level = level.unwrap_or(LevelFilter::WARN);
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_ansi(false).init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_names() {
        assert_eq!(level("warn"), Ok(LevelFilter::WARN));
        assert_eq!(level("ANY:any:off"), Ok(LevelFilter::OFF));
        assert_eq!(level("any"), Ok(LevelFilter::TRACE));
        assert!(level("vconn:dbg").unwrap_err().starts_with("vconn: not off"));
        assert!(level("syslog:err").is_err());
    }
}

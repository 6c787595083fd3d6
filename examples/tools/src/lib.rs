//! The command-line tools, one small binary each.
//!
//! This library is what they share: options, log lines, hexadecimal text, and input that is a file or standard input; and
//! [`learning`], what a controller says to switches that are to learn; and [`calendar`], what the time is called.

pub mod calendar;
pub mod learning;
pub mod logging;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

/// Reads the program's options. Where there is nothing more to do, gives the exit status instead: help was printed, or
/// what is wrong in one line, as upstream's tools do it.
///
/// # Errors
/// The status to exit with.
pub fn options<T: Parser>(program: &str) -> Result<T, ExitCode> {
    options_of(program, std::env::args_os())
}

/// The same, of a command line whose first word is the program's name.
///
/// # Errors
/// The status to exit with.
pub fn options_of<T: Parser>(program: &str, words: impl IntoIterator<Item = OsString>) -> Result<T, ExitCode> {
    T::try_parse_from(words).map_err(|e| {
        if e.use_stderr() {
            let text = e.to_string();
            let first = text.lines().next().unwrap_or_default();
            eprintln!("{program}: {}; see --help", first.trim_start_matches("error: "));
            return ExitCode::FAILURE;
        }
        // Whoever reads it may have seen enough.
        let _ = e.print();
        ExitCode::SUCCESS
    })
}

/// The options of a program, one a line, for the completion of shells.
///
/// ```
/// #[derive(clap::Parser)]
/// struct Options {
///     #[arg(short, long)]
///     more: bool,
///     #[arg(long)]
///     timeout: Option<u32>,
/// }
/// let list = ovs_tools::option_list::<Options>();
/// assert!(list.lines().eq(["--timeout=ARG", "--more", "-m", "--help", "-h"]));
/// ```
pub fn option_list<T: CommandFactory>() -> String {
    let mut command = T::command();
    command.build();
    let mut text = String::new();
    for option in command.get_opts().chain(command.get_arguments().filter(|a| !a.get_action().takes_values())) {
        let value = option.get_action().takes_values();
        if let Some(long) = option.get_long() {
            text += &format!("--{long}{}\n", if value { "=ARG" } else { "" });
        }
        if let Some(short) = option.get_short() {
            text += &format!("-{short}{}\n", if value { " ARG" } else { "" });
        }
    }
    text
}

/// Reads a file, or standard input for `-`.
///
/// # Errors
/// What the system says, with the name in front.
pub fn read_input(name: &str) -> Result<Vec<u8>, String> {
    let read = match name {
        "-" => {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
        }
        name => fs::read(name),
    };
    read.map_err(|e| format!("{name}: {e}"))
}

/// Reads bytes in hexadecimal, with white space between them or without.
///
/// # Errors
/// What is no byte, and where.
///
/// ```
/// assert_eq!(ovs_tools::hex("04 14\n0008"), Ok(vec![4, 0x14, 0, 8]));
/// assert_eq!(ovs_tools::hex("04 1"), Err("an odd number of hexadecimal digits: 3".to_string()));
/// assert!(ovs_tools::hex("0x").is_err());
/// ```
pub fn hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> = text
        .char_indices()
        .filter(|(_, c)| !c.is_whitespace())
        .map(|(at, c)| c.to_digit(16).map(|d| d as u8).ok_or(format!("{c:?} at offset {at} is no hexadecimal digit")))
        .collect::<Result<_, _>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(format!("an odd number of hexadecimal digits: {}", digits.len()));
    }
    Ok(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

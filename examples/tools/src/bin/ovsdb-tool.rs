//! `ovsdb-tool`: database schemas on the command line. Sub-commands that read or write database files are refused until
//! they are built.

use std::io::{Write, stdout};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use ovs_db::{Schema, Version, json};

/// Database schemas, checked and read.
#[derive(Parser, Debug)]
#[command(name = "ovsdb-tool", version, after_help = EXAMPLES)]
struct Options {
    /// How results are written.
    #[arg(short = 'f', long, global = true, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  ovsdb-tool schema-version vswitch.ovsschema
  ovsdb-tool --format json schema-name - < vswitch.ovsschema
  ovsdb-tool compare-versions 8.3.0 '<' 8.10.0 && echo older";

/// How results are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Format {
    /// As upstream's tool writes them.
    Text,
    /// One JSON object.
    Json,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Print the name of a schema's database.
    SchemaName {
        /// The schema file, or - for standard input.
        schema: String,
    },
    /// Print a schema's version.
    SchemaVersion {
        /// The schema file, or - for standard input.
        schema: String,
    },
    /// Print a schema's checksum, as the schema states it.
    SchemaCksum {
        /// The schema file, or - for standard input.
        schema: String,
    },
    /// Succeed if two versions compare as stated; exit with status 2 if they do not.
    CompareVersions {
        /// A version, such as 8.3.0.
        a: String,
        /// One of < <= == >= > !=.
        op: String,
        /// Another version.
        b: String,
    },
    /// What is not built yet.
    #[command(external_subcommand)]
    Other(Vec<String>),
}

/// Exit status of a comparison that does not hold.
const DOES_NOT_HOLD: u8 = 2;

fn main() -> ExitCode {
    let options: Options = match ovs_tools::options("ovsdb-tool") {
        Ok(options) => options,
        Err(status) => return status,
    };
    run(&options).unwrap_or_else(|e| {
        eprintln!("ovsdb-tool: {e}");
        ExitCode::FAILURE
    })
}

fn run(options: &Options) -> Result<ExitCode, String> {
    let answer = |name: &str, value: String| {
        let text = match options.format {
            Format::Text => value,
            Format::Json => serde_json::json!({ name: value }).to_string(),
        };
        writeln!(stdout(), "{text}").map_err(|e| format!("standard output: {e}"))?;
        Ok(ExitCode::SUCCESS)
    };
    match &options.command {
        Command::SchemaName { schema } => answer("name", read(schema)?.name().to_string()),
        Command::SchemaVersion { schema } => answer("version", read(schema)?.version().to_string()),
        Command::SchemaCksum { schema } => answer("cksum", read(schema)?.cksum().unwrap_or_default().to_string()),
        Command::CompareVersions { a, op, b } => compare(a, op, b),
        Command::Other(words) => {
            let name = words.first().map_or("", String::as_str);
            let known: Vec<String> = Options::command().get_subcommands().map(|c| c.get_name().to_string()).collect();
            Err(format!("{name} is no command, or not built yet; the commands are {}", known.join(", ")))
        }
    }
}

fn read(name: &str) -> Result<Schema, String> {
    let bytes = ovs_tools::read_input(name)?;
    let value = json::parse(&bytes).map_err(|e| format!("{name}: {e}"))?;
    Schema::from_json(&value).map_err(|e| format!("{name}: {e}"))
}

fn compare(a: &str, op: &str, b: &str) -> Result<ExitCode, String> {
    let version = |text: &str| Version::parse(text).map_err(|e| format!("{text}: {e}"));
    let order = version(a)?.cmp(&version(b)?);
    let holds = match op {
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        "==" => order.is_eq(),
        ">=" => order.is_ge(),
        ">" => order.is_gt(),
        "!=" => order.is_ne(),
        other => return Err(format!("{other}: not one of < <= == >= > !=")),
    };
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::from(DOES_NOT_HOLD) })
}

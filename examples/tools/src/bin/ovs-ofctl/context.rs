//! What a command is run with, and how it fails.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;
use std::rc::Rc;

use ovs_ofproto::codec::{OfError, Version, Versions};
use ovs_ofproto::session::Xids;
use ovs_ofproto::text::{NoNames, ParseFlowError, PortNames, Problem, Protocols};

use crate::color::Palette;
use crate::options::Options;

/// Why the program ends before its end.
pub(crate) enum Failure {
    /// With these words on standard error, and status 1.
    Says(String),
    /// All is said.
    Status(ExitCode),
}

impl From<String> for Failure {
    fn from(text: String) -> Failure {
        Failure::Says(text)
    }
}

impl From<&str> for Failure {
    fn from(text: &str) -> Failure {
        Failure::Says(text.to_string())
    }
}

/// What a command does.
pub(crate) type Done = Result<(), Failure>;

/// What a command is run with.
pub(crate) struct Context {
    pub(crate) options: Options,
    /// The arguments of the command.
    pub(crate) arguments: Vec<String>,
    /// The versions that may be spoken.
    pub(crate) versions: Versions,
    /// The forms in which flows may be sent.
    pub(crate) protocols: Protocols,
    pub(crate) out: BufWriter<io::Stdout>,
    /// What flows are painted with, if they are.
    palette: Option<Palette>,
    /// What ports and tables are written as.
    pub(crate) names: Rc<dyn PortNames>,
    /// The transaction ids of all connections.
    pub(crate) xids: Xids,
}

impl Context {
    /// Checks that the options go together.
    pub(crate) fn new(options: Options) -> Result<Context, Failure> {
        let mut versions = options.protocols;
        if options.bundle {
            versions = for_bundles(versions);
        }
        let protocols = options.flow_format & Protocols::of_versions(versions);
        if protocols.is_empty() {
            return Err(format!(
                "None of the enabled OpenFlow versions ({}) supports any of the enabled flow formats ({}).  (Use -O to \
                 enable additional OpenFlow versions or -F to enable additional flow formats.)",
                VersionNames(versions),
                options.flow_format
            )
            .into());
        }
        let versions = protocols.versions();
        let palette = options.is_colored().then(|| Palette::of(std::env::var("OVS_COLORS").ok().as_deref()));
        let arguments = options.words.iter().skip(1).cloned().collect();
        Ok(Context {
            options,
            arguments,
            versions,
            protocols,
            out: BufWriter::new(io::stdout()),
            palette,
            names: Rc::new(NoNames),
            xids: Xids::default(),
        })
    }

    /// An argument, or nothing.
    pub(crate) fn argument(&self, n: usize) -> &str {
        self.arguments.get(n).map_or("", String::as_str)
    }

    /// Writes to standard output.
    pub(crate) fn print(&mut self, text: impl fmt::Display) -> Done {
        match &self.palette {
            None => write!(self.out, "{text}"),
            Some(palette) => write!(self.out, "{}", palette.paint(&text.to_string())),
        }
        .map_err(broken)
    }

    /// Writes a line of JSON.
    pub(crate) fn print_json(&mut self, value: &serde_json::Value) -> Done {
        writeln!(self.out, "{value}").map_err(broken)
    }

    /// Writes text, or what it says as a line of JSON.
    pub(crate) fn print_either(&mut self, text: impl fmt::Display, value: impl FnOnce() -> serde_json::Value) -> Done {
        match self.options.is_json() {
            true => self.print_json(&value()),
            false => self.print(text),
        }
    }

    /// Writes what is still held back.
    pub(crate) fn finish(&mut self) -> Done {
        self.out.flush().map_err(broken)
    }

    /// How much to say of messages, `more` than of those of least interest.
    pub(crate) fn verbosity(&self, more: u8) -> u8 {
        self.options.more.saturating_add(more)
    }

    /// From now on, only versions that have bundles; OpenFlow 1.4 if none was allowed.
    pub(crate) fn allow_bundles(&mut self) {
        self.versions = for_bundles(self.versions);
        self.protocols = Protocols::of_versions(self.versions);
    }
}

fn broken(error: io::Error) -> Failure {
    match error.kind() {
        // Whoever reads it has seen enough.
        io::ErrorKind::BrokenPipe => Failure::Status(ExitCode::SUCCESS),
        _ => format!("standard output: {error}").into(),
    }
}

fn for_bundles(versions: Versions) -> Versions {
    let with = Protocols::OF13_UP.versions();
    match Versions(versions.0 & with.0) {
        Versions(0) => [Version::V1_4].into_iter().collect(),
        some => some,
    }
}

/// Versions by name, with commas between them.
pub(crate) struct VersionNames(pub(crate) Versions);

impl fmt::Display for VersionNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(version_name).collect();
        f.write_str(&names.join(", "))
    }
}

/// `OpenFlow13`.
pub(crate) fn version_name(version: Version) -> String {
    version.minor().map_or_else(|| format!("{:#04x}", version.0), |minor| format!("OpenFlow1{minor}"))
}

/// What is wrong with a text. On a terminal, its place is shown below.
pub(crate) fn refuse(text: &str, error: &ParseFlowError) -> Failure {
    refuse_in("", text, error)
}

/// The same, with the place of the text in front.
pub(crate) fn refuse_in(place: &str, text: &str, error: &ParseFlowError) -> Failure {
    if let Problem::Refused { error: OfError::BadActionMatchInconsistent, why } = &error.problem
        && !why.is_empty()
    {
        // Upstream's actions look after what they set, its fields after what they are moved from and to.
        match why.starts_with("set_field") {
            true => tracing::warn!(target: "ofp_actions", "{why}"),
            false => tracing::warn!(target: "meta_flow", "{why}"),
        }
    }
    let mut says = format!("{place}{}", error.problem);
    if io::stderr().is_terminal() && !text.contains('\n') {
        let column = text.get(..error.at).map_or(0, |before| before.chars().count());
        says += &format!("\n  {text}\n  {:column$}^ offset {}", "", error.at);
    }
    says.into()
}

/// The lines of a file of flows or the like, without comments and empty ones, with their numbers.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(n, line)| (n + 1, line.split('#').next().unwrap_or_default()));
    lines.filter(|(_, line)| !line.trim().is_empty())
}

/// Reads a file of text.
pub(crate) fn read_text(name: &str) -> Result<String, Failure> {
    let bytes = ovs_tools::read_input(name)?;
    String::from_utf8(bytes)
        .map_err(|e| format!("{name}: not UTF-8 from offset {}", e.utf8_error().valid_up_to()).into())
}

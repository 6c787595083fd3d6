//! The sub-commands of `ovs-dpctl`, and of `dpctl/*` in a daemon, over any datapath.
//!
//! [`run`] takes a command line and gives a typed [`Reply`], whose text is that of upstream's tool and which can be had as
//! JSON. Which datapaths there are, and what a port is in them, is the caller's to say ([`Datapaths`]): the tool has the
//! kernel's, a daemon its own.
//!
//! ```
//! use ovs_dpif::dpctl::{self, Datapaths, DpctlError};
//! use ovs_dpif::userspace::Datapath;
//! use ovs_dpif::{Dpif, DpifError, PortSpec};
//! use ovs_packet::Instant;
//!
//! struct One(Datapath);
//!
//! impl Datapaths for One {
//!     fn kind(&self) -> &'static str {
//!         "netdev"
//!     }
//!     fn names(&mut self) -> Result<Vec<String>, DpifError> {
//!         Ok(vec!["netdev@ovs-netdev".into()])
//!     }
//!     fn open(&mut self, _: &str) -> Result<&mut dyn Dpif, DpifError> {
//!         Ok(&mut self.0)
//!     }
//!     fn now(&self) -> Instant {
//!         Instant::from_secs(5)
//!     }
//! }
//!
//! let mut all = One(Datapath::new());
//! dpctl::run(&mut all, &["add-flow", "in_port(1),eth(),eth_type(0x0806)", "2"])?;
//! let dump = dpctl::run(&mut all, &["dump-flows"])?;
//! let flow = "recirc_id(0),in_port(1),eth(),eth_type(0x0806), packets:0, bytes:0, used:never, actions:2\n";
//! assert_eq!(dump.to_string(), format!("flow-dump from the main thread:\n{flow}"));
//! assert_eq!(dump.json()[0]["actions"], "2");
//! let error = dpctl::run(&mut all, &["add-flow", "in_port(x)", "2"]).unwrap_err();
//! assert!(error.to_string().starts_with("parsing flow key"));
//! # Ok::<(), DpctlError>(())
//! ```

mod args;
mod connections;
mod flows;
mod normalize;
mod reply;
mod show;
#[cfg(test)]
mod tests;

use ovs_packet::Instant;

use args::Args;
pub use reply::{Caches, ConnectionCounts, Normalized, PortShown, Reply, Shown, ShownFlow};

use crate::dpif::{Dpif, DpifError, PortSpec};
use crate::text::TextError;

/// The datapaths that commands may be about.
pub trait Datapaths {
    /// The type that a name without one means, unless there is a datapath of that name: `system`, `netdev`.
    fn kind(&self) -> &'static str;

    /// Their names, with their types in front: `system@br0`. The other methods take them so.
    ///
    /// # Errors
    /// If they cannot be listed.
    fn names(&mut self) -> Result<Vec<String>, DpifError>;

    /// One of them.
    ///
    /// # Errors
    /// [`DpifError::NoSuchDatapath`].
    fn open(&mut self, name: &str) -> Result<&mut dyn Dpif, DpifError>;

    /// Makes one.
    ///
    /// # Errors
    /// [`DpifError::DatapathExists`]; by default they cannot be made.
    fn create(&mut self, _name: &str) -> Result<(), DpifError> {
        Err(DpifError::Unsupported("more datapaths"))
    }

    /// Removes one.
    ///
    /// # Errors
    /// [`DpifError::NoSuchDatapath`]; by default they cannot be removed.
    fn remove(&mut self, _name: &str) -> Result<(), DpifError> {
        Err(DpifError::Unsupported("removal of datapaths"))
    }

    /// What a port of this name and type (`system`, `internal`, `vxlan`, ...) with these options is in one of them.
    ///
    /// # Errors
    /// By default there is no such port.
    fn port(
        &mut self,
        _datapath: &str,
        _name: &str,
        _kind: &str,
        _options: &[(&str, &str)],
    ) -> Result<PortSpec, DpifError> {
        Err(DpifError::Unsupported("a port of this type"))
    }

    /// Whether somebody else says what the limits of its zones are, so that commands must not.
    fn limits_are_given(&self, _name: &str) -> bool {
        false
    }

    /// The time.
    fn now(&self) -> Instant;

    /// A file's text, for `add-flows` and the like; `-` is standard input.
    ///
    /// # Errors
    /// By default nothing is read.
    fn read(&mut self, _file: &str) -> std::io::Result<String> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

/// Why a command failed, in the words of upstream's tool: what, and the reason in parentheses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DpctlError {
    /// What is asked for cannot be, or is not written so.
    #[error("{0}")]
    Usage(String),
    /// A datapath says no.
    #[error("{what} ({})", reason(source))]
    Datapath {
        /// What was tried.
        what: String,
        /// Why not.
        source: DpifError,
    },
    /// A key or actions that are none.
    #[error("{what} ({source})")]
    Text {
        /// What was read.
        what: &'static str,
        /// What is wrong.
        source: TextError,
    },
    /// A file cannot be read.
    #[error("Opening file \"{file}\" failed ({})", plain(source))]
    File {
        /// Its name.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// Lines of a file that were not done; the others were.
    #[error("{}", .0.join("\n"))]
    Lines(Vec<String>),
}

/// The system's words, without the number behind them.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_string()
}

/// A reason in the words of the system, as upstream's tool has them.
fn reason(error: &DpifError) -> String {
    match error {
        DpifError::NoSuchFlow(_) => "No such file or directory".into(),
        DpifError::FlowExists(_) | DpifError::DatapathExists(_) | DpifError::PortExists(_) => "File exists".into(),
        DpifError::NoSuchDatapath(_) | DpifError::NoSuchPort(_) => "No such device".into(),
        DpifError::PortNumberTaken(_) => "Device or resource busy".into(),
        DpifError::PortNotMatched => "Invalid argument".into(),
        DpifError::Unsupported(_) => "Operation not supported".into(),
        DpifError::System { source, .. } => plain(source),
        other => other.to_string(),
    }
}

pub(super) fn failed(what: impl Into<String>) -> impl FnOnce(DpifError) -> DpctlError {
    let what = what.into();
    move |source| DpctlError::Datapath { what, source }
}

fn usage<T>(text: impl Into<String>) -> Result<T, DpctlError> {
    Err(DpctlError::Usage(text.into()))
}

/// A command: its name, its arguments, how many there may be, and whether it changes anything.
struct Command {
    name: &'static str,
    usage: &'static str,
    least: usize,
    most: usize,
    changes: bool,
}

const ANY: usize = usize::MAX;

macro_rules! commands {
    ($($name:literal $usage:literal $least:literal $most:tt $rw:ident)+) => {
        const COMMANDS: &[Command] = &[$(Command {
            name: $name,
            usage: $usage,
            least: $least,
            most: $most,
            changes: commands!($rw),
        }),+];
    };
    (rw) => { true };
    (ro) => { false };
}

commands! {
    "add-dp" "dp [iface...]" 1 ANY rw
    "del-dp" "dp" 1 1 rw
    "add-if" "dp iface..." 2 ANY rw
    "del-if" "dp iface..." 2 ANY rw
    "set-if" "dp iface..." 2 ANY rw
    "dump-dps" "" 0 0 ro
    "show" "[-s] [dp...]" 0 ANY ro
    "dump-flows" "[-m] [--names] [dp] [filter=..] [type=..] [pmd=..]" 0 6 ro
    "add-flow" "[dp] flow actions" 2 3 rw
    "mod-flow" "[dp] flow actions" 2 3 rw
    "get-flow" "[dp] ufid" 1 2 ro
    "del-flow" "[dp] flow" 1 2 rw
    "add-flows" "[dp] file" 1 2 rw
    "mod-flows" "[dp] file" 1 2 rw
    "del-flows" "[dp] [file]" 0 2 rw
    "offload-stats-show" "[dp]" 0 1 ro
    "dump-conntrack" "[-m] [-s] [dp] [zone=N]" 0 4 ro
    "dump-conntrack-exp" "[dp] [zone=N]" 0 2 ro
    "flush-conntrack" "[dp] [zone=N] [mark=X[/M]] [labels=Y[/N]] [ct-orig-tuple [ct-reply-tuple]]" 0 6 rw
    "cache-get-size" "[dp]" 0 1 ro
    "cache-set-size" "dp cache <size>" 3 3 rw
    "ct-stats-show" "[dp] [zone=N]" 0 3 ro
    "ct-bkts" "[dp] [gt=N]" 0 2 ro
    "ct-set-maxconns" "[dp] maxconns" 1 2 rw
    "ct-get-maxconns" "[dp]" 0 1 ro
    "ct-get-nconns" "[dp]" 0 1 ro
    "ct-enable-tcp-seq-chk" "[dp]" 0 1 rw
    "ct-disable-tcp-seq-chk" "[dp]" 0 1 rw
    "ct-get-tcp-seq-chk" "[dp]" 0 1 ro
    "ct-set-limits" "[dp] [default=L] [zone=N,limit=L]..." 1 ANY ro
    "ct-del-limits" "[dp] [default] [zone=N1[,N2]...]" 1 3 ro
    "ct-get-limits" "[dp] [zone=N1[,N2]...]" 0 2 ro
    "ct-get-sweep-interval" "[dp]" 0 1 ro
    "ct-set-sweep-interval" "[dp] ms" 1 2 rw
    "ipf-set-enabled" "[dp] v4|v6" 1 2 rw
    "ipf-set-disabled" "[dp] v4|v6" 1 2 rw
    "ipf-set-min-frag" "[dp] v4|v6 minfragment" 2 3 rw
    "ipf-set-max-nfrags" "[dp] maxfrags" 1 2 rw
    "ipf-get-status" "[dp]" 0 1 ro
    "help" "" 0 ANY ro
    "list-commands" "" 0 ANY ro
    "parse-actions" "actions" 1 ANY ro
    "normalize-actions" "actions" 2 ANY ro
}

/// The commands with their arguments, and whether they change anything.
pub fn commands() -> impl Iterator<Item = (&'static str, &'static str, bool)> {
    COMMANDS.iter().map(|command| (command.name, command.usage, command.changes))
}

/// Runs a command: its name, and its options and arguments in any order.
///
/// # Errors
/// [`DpctlError`].
pub fn run(datapaths: &mut dyn Datapaths, words: &[&str]) -> Result<Reply, DpctlError> {
    let (options, words) = args::options(words)?;
    let Some((name, rest)) = words.split_first() else { return usage("missing command name; use --help for help") };
    let Some(command) = COMMANDS.iter().find(|command| command.name == *name) else {
        return usage(format!("unknown command '{name}'; use --help for help"));
    };
    if rest.len() < command.least {
        return usage(format!("'{name}' command requires at least {} arguments", command.least));
    }
    if rest.len() > command.most {
        return usage(format!("'{name}' command takes at most {} arguments", command.most));
    }
    if options.read_only && command.changes {
        return usage(format!("{name}: no read/write commands with --read-only"));
    }
    let mut args = Args { datapaths, options, rest: rest.to_vec() };
    match *name {
        "add-dp" => show::add_dp(&mut args),
        "del-dp" => show::del_dp(&mut args),
        "add-if" => show::add_if(&mut args),
        "set-if" => show::set_if(&mut args),
        "del-if" => show::del_if(&mut args),
        "dump-dps" => show::dump_dps(&mut args),
        "show" => show::show(&mut args),
        "cache-get-size" => show::cache_sizes(&mut args),
        "cache-set-size" => show::set_cache_size(&mut args),
        "offload-stats-show" => show::offload_stats(&mut args),
        "dump-flows" => flows::dump(&mut args),
        "add-flow" | "mod-flow" => flows::put(&mut args, *name == "add-flow"),
        "get-flow" => flows::get(&mut args),
        "del-flow" => flows::delete(&mut args),
        "add-flows" => flows::process(&mut args, flows::Verb::Add),
        "mod-flows" => flows::process(&mut args, flows::Verb::Modify),
        "del-flows" => flows::delete_all(&mut args),
        "parse-actions" => flows::parse_actions(&args),
        "normalize-actions" => normalize::normalize(&args),
        "list-commands" => Ok(Reply::Commands(commands().map(|(name, usage, _)| (name, usage)).collect())),
        "help" => Ok(Reply::Commands(commands().map(|(name, usage, _)| (name, usage)).collect())),
        other => connections::run(&mut args, other),
    }
}

//! The command line of `ovs-vswitchd`.

use std::path::PathBuf;

use ovs_db::rpc::Remote;
use ovs_dpif::threads::Topology;

use crate::config::TlsFiles;
use crate::daemon::getopt::{self, Opt, Piece, Value};
use crate::daemon::{COMMON, Common};
use crate::vlog::Vlog;
use crate::vswitch::{DatapathTypes, DummyLevel};

/// The options that are the switch's own.
const OWN: &[Opt] = &[
    Opt::long("config", Value::Required, "FILE", "be configured by a TOML file and no database"),
    Opt::long("enable-dummy", Value::Optional, "override|system", "have dummy devices and datapaths"),
    Opt::long("disable-system", Value::None, "", "do not use the kernel's datapath"),
    Opt::long("disable-system-route", Value::None, "", "do not read the kernel's routes"),
    Opt::long("mlockall", Value::None, "", "keep all memory from being swapped"),
    Opt::long("no-self-confinement", Value::None, "", "let the database name sockets in any folder"),
    Opt::long("private-key", Value::Required, "FILE", "the private key for TLS").letter('p'),
    Opt::long("certificate", Value::Required, "FILE", "the certificate for TLS").letter('c'),
    Opt::long("ca-cert", Value::Required, "FILE", "the certificate that peers are known by").letter('C'),
    Opt::long("bootstrap-ca-cert", Value::Required, "FILE", "the same; taken from the first peer if not there"),
    Opt::long("peer-ca-cert", Value::Required, "FILE", "a certificate that peers are shown behind ours"),
    Opt::long("dummy-numa", Value::Required, "LIST", "emulate NUMA nodes: the node of each core"),
    Opt::long("hw-rawio-access", Value::None, "", "keep the capability for raw I/O"),
    Opt::long("dpdk", Value::Optional, "", "not available"),
];

/// What the command line says.
#[derive(Debug)]
pub struct Options {
    /// What every daemon has.
    pub common: Common,
    /// The database.
    pub remotes: Vec<Remote>,
    /// The file instead of a database.
    pub config: Option<PathBuf>,
    /// The datapath types that there are.
    pub types: DatapathTypes,
    /// The dummy devices that there are.
    pub dummies: DummyLevel,
    /// The cores to have instead of the machine's.
    pub numa: Option<Topology>,
    /// The keys of TLS, unless the database names others.
    pub tls: Option<TlsFiles>,
    /// Whether all memory is to be kept from being swapped.
    pub mlockall: bool,
    /// Whether the database may name sockets in the run folder only.
    pub is_confined: bool,
    /// Whether the machine's routes are those of tunnels too.
    pub system_routes: bool,
}

/// What there is to do.
#[derive(Debug)]
pub enum Wanted {
    /// Serve.
    Serve(Box<Options>),
    /// Print this and be done.
    Print(String),
}

impl Options {
    /// Reads a command line, without the program's name. Levels of the log are set at once.
    ///
    /// # Errors
    /// What is wrong, in a line.
    pub fn parse(line: impl IntoIterator<Item = String>, log: &Vlog) -> Result<Wanted, String> {
        let all: Vec<Opt> = OWN.iter().chain(COMMON).copied().collect();
        let mut common = Common::new("ovs-vswitchd");
        common.conduct.keeps_network = true;
        let (mut words, mut config, mut dummies) = (Vec::new(), None, DummyLevel::Off);
        let (mut numa, mut keys) = (None, TlsFiles::default());
        let (mut mlockall, mut is_confined, mut no_system, mut system_routes) = (false, true, false, true);
        for piece in getopt::parse(&all, line)? {
            let (name, value) = match piece {
                Piece::Word(word) => {
                    words.push(word);
                    continue;
                }
                Piece::Option(name, value) => (name, value),
            };
            match (name, value) {
                ("help", _) => return Ok(Wanted::Print(help(&all))),
                ("version", _) => return Ok(Wanted::Print(format!("{}\n", super::version_line()))),
                ("config", value) => config = value.map(PathBuf::from),
                ("enable-dummy", None) => dummies = DummyLevel::On,
                ("enable-dummy", Some(level)) => {
                    dummies = match level.as_str() {
                        "override" => DummyLevel::All,
                        "system" => DummyLevel::System,
                        // As upstream: any other word enables dummies and no more.
                        _ => DummyLevel::On,
                    }
                }
                ("disable-system", _) => no_system = true,
                ("disable-system-route", _) => system_routes = false,
                ("mlockall", _) => mlockall = true,
                ("no-self-confinement", _) => is_confined = false,
                ("dpdk", _) => return Err("DPDK is not available".into()),
                ("dummy-numa", list) => {
                    let list = list.unwrap_or_default();
                    numa = Some(list.parse().map_err(|e| format!("--dummy-numa: {e}"))?);
                }
                ("hw-rawio-access", _) => return Err("--hw-rawio-access: nothing here uses raw I/O".into()),
                ("private-key", file) => keys.private_key = file.unwrap_or_default().into(),
                ("certificate", file) => keys.certificate = file.unwrap_or_default().into(),
                ("ca-cert" | "bootstrap-ca-cert", file) => {
                    keys.ca_cert = file.unwrap_or_default().into();
                    keys.bootstrap_ca_cert = name == "bootstrap-ca-cert";
                }
                ("peer-ca-cert", file) => keys.peer_ca_cert = file.unwrap_or_default().into(),
                (name, value) => drop(common.take(log, name, value)?),
            }
        }
        if words.len() > 1 {
            return Err("at most one non-option argument accepted; use --help for usage".into());
        }
        let usual = || format!("unix:{}", common.folders.run.join("db.sock").display());
        let remote = words.pop().unwrap_or_else(usual);
        let remotes = Remote::parse_list(&remote).map_err(|e| format!("{remote}: {e}"))?;
        let types = match dummies {
            DummyLevel::Off => real_types(),
            DummyLevel::On => real_types().with_dummy(),
            DummyLevel::System => DatapathTypes::userspace("").with_dummy_system(),
            DummyLevel::All => DatapathTypes::dummy(),
        };
        let types = if no_system { types.without_system() } else { types };
        let tls = tls(keys)?;
        Ok(Wanted::Serve(Box::new(Options {
            common,
            remotes,
            config,
            types,
            dummies,
            numa,
            tls,
            mlockall,
            is_confined,
            system_routes,
        })))
    }
}

/// The files of TLS, of which there are all or none.
fn tls(files: TlsFiles) -> Result<Option<TlsFiles>, String> {
    let said = [("private-key", &files.private_key), ("certificate", &files.certificate), ("ca-cert", &files.ca_cert)];
    let missing: Vec<&str> = said.iter().filter(|(_, f)| f.as_os_str().is_empty()).map(|(name, _)| *name).collect();
    match missing.len() {
        3 => Ok(None),
        0 => files.load().map(|_| Some(files)),
        _ => Err(format!("TLS needs --{} too", missing.join(" and --"))),
    }
}

/// What there is on this machine.
fn real_types() -> DatapathTypes {
    match ovs_netlink::probe_datapath() {
        Ok(_) => DatapathTypes::all(),
        Err(e) => DatapathTypes::userspace(e.to_string()),
    }
}

fn help(all: &[Opt]) -> String {
    let shown: Vec<Opt> = all.iter().filter(|o| o.name != "daemon-stage").copied().collect();
    format!(
        "ovs-vswitchd: Open vSwitch daemon\nusage: ovs-vswitchd [OPTIONS] [DATABASE]\n       \
         ovs-vswitchd demo|run|datapaths [OPTIONS]\nwhere DATABASE is a socket on which ovsdb-server is listening \
         (default: \"unix:DIR/db.sock\", with DIR of OVS_RUNDIR).\n\nOptions:\n{}",
        getopt::describe(&shown)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Wanted, String> {
        Options::parse(line.split_whitespace().map(String::from), &Vlog::new("ovs-vswitchd"))
    }

    #[test]
    fn what_upstreams_tests_start_it_with() {
        let line = "--enable-dummy --disable-system --disable-system-route --detach --no-chdir --pidfile --log-file -vvconn \
                    -vofproto_dpif -vunixctl";
        let Ok(Wanted::Serve(options)) = parse(line) else { panic!() };
        assert!(options.common.conduct.detach && options.common.conduct.pidfile.is_some());
        assert_eq!((options.types.resolve("dummy"), options.types.resolve("")), (Ok("dummy"), Ok("netdev")));
        assert!(
            matches!(parse("--version"), Ok(Wanted::Print(text)) if text.starts_with("ovs-vswitchd (Open vSwitch) "))
        );
        assert!(parse("tcp:127.0.0.1:6640").is_ok());
        for bad in ["a b", "--dpdk", "-vnonesuch", "--nonesuch", "--private-key=x", "telephone:5"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}

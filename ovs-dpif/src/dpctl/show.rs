//! Datapaths and their ports.

use super::args::{Args, number};
use super::reply::{Caches, PortShown, Reply, Shown};
use super::{DpctlError, failed, usage};
use crate::action::PortNo;
use crate::dpif::{Dpif, DpifError, PortInfo};

pub(super) fn add_dp(args: &mut Args<'_, '_>) -> Result<Reply, DpctlError> {
    let first = args.rest.first().copied().unwrap_or_default();
    let name = args.full_new(first);
    args.datapaths.create(&name).map_err(failed("add_dp"))?;
    if args.rest.len() > 1 { add_if(args) } else { Ok(Reply::Nothing) }
}

pub(super) fn del_dp(args: &mut Args<'_, '_>) -> Result<Reply, DpctlError> {
    let first = args.rest.first().copied().unwrap_or_default();
    let name = args.full(first)?;
    args.datapaths.remove(&name).map_err(failed("opening datapath"))?;
    Ok(Reply::Nothing)
}

pub(super) fn dump_dps(args: &mut Args<'_, '_>) -> Result<Reply, DpctlError> {
    args.datapaths.names().map(Reply::Names).map_err(failed("listing datapaths"))
}

/// A port as it is named: `NAME[,OPTION=VALUE]...`.
struct Interface<'a> {
    name: &'a str,
    kind: Option<&'a str>,
    port: Option<PortNo>,
    options: Vec<(&'a str, &'a str)>,
}

fn interface(text: &str) -> Result<Interface<'_>, DpctlError> {
    let mut parts = text.split(',');
    let name = parts.next().unwrap_or_default();
    if name.is_empty() {
        return usage(format!("{name} is not a valid network device name"));
    }
    let mut found = Interface { name, kind: None, port: None, options: Vec::new() };
    for part in parts {
        let Some((key, value)) = part.split_once('=') else { return usage("Invalid option format") };
        match key {
            "type" => found.kind = Some(value),
            "port_no" => found.port = Some(PortNo(number(value, "port_no")?)),
            _ if found.options.iter().any(|(known, _)| *known == key) => {
                return usage(format!("duplicate \"{key}\" option"));
            }
            _ => found.options.push((key, value)),
        }
    }
    Ok(found)
}

pub(super) fn add_if(args: &mut Args<'_, '_>) -> Result<Reply, DpctlError> {
    let first = args.rest.remove(0);
    let dp = args.full(first)?;
    let mut errors = Vec::new();
    for text in std::mem::take(&mut args.rest) {
        let Interface { name, kind, port, options } = interface(text)?;
        let spec = args.datapaths.port(&dp, name, kind.unwrap_or("system"), &options);
        let spec = spec.map_err(failed(format!("{name}: failed to open network device")));
        let opened = args.datapaths.open(&dp).map_err(failed("opening datapath"))?;
        let added = spec
            .and_then(|spec| opened.port_add(spec, port).map_err(failed(format!("adding {name} to {first} failed"))));
        errors.extend(added.err().map(|error| error.to_string()));
    }
    all_done(errors)
}

fn all_done(errors: Vec<String>) -> Result<Reply, DpctlError> {
    if errors.is_empty() { Ok(Reply::Nothing) } else { Err(DpctlError::Lines(errors)) }
}

/// A port's type and number cannot change, and other options no port here has.
pub(super) fn set_if(args: &mut Args<'_, '_>) -> Result<Reply, DpctlError> {
    let first = args.rest.remove(0);
    let dp = args.full(first)?;
    let wanted = std::mem::take(&mut args.rest);
    let ports = args.datapaths.open(&dp).and_then(|dp| dp.ports()).map_err(failed("opening datapath"))?;
    let mut errors = Vec::new();
    for text in wanted {
        let Interface { name, kind, port, options } = interface(text)?;
        let Some(known) = ports.iter().find(|port| port.name == name) else {
            errors.push(format!("{name}: failed to query port in {first} (No such device)"));
            continue;
        };
        if let Some(kind) = kind.filter(|kind| *kind != known.kind) {
            errors.push(format!("{name}: can't change type from {} to {kind}", known.kind));
        }
        if let Some(port) = port.filter(|port| *port != known.port) {
            errors.push(format!("{name}: can't change port number from {} to {port}", known.port));
        }
        errors.extend(options.first().map(|(key, _)| format!("{name}: cannot set {key} (Operation not supported)")));
    }
    all_done(errors)
}

pub(super) fn del_if(args: &mut Args<'_, '_>) -> Result<Reply, DpctlError> {
    let first = args.rest.remove(0);
    let dp = args.full(first)?;
    let opened = args.datapaths.open(&dp).map_err(failed("opening datapath"))?;
    let ports = opened.ports().map_err(failed("opening datapath"))?;
    let mut errors = Vec::new();
    for name in &args.rest {
        let by_number = name.parse().ok().map(PortNo);
        let known = ports.iter().find(|port| Some(port.port) == by_number || port.name == *name);
        match known {
            None => errors.push(format!("no port named {name}")),
            Some(port) => {
                // Port 0 is the datapath's own.
                let gone = match port.port {
                    PortNo(0) => Err(DpifError::Unsupported("removal of the datapath's own port")),
                    number => opened.port_del(number),
                };
                let gone = gone.map_err(failed(format!("deleting port {name} from {first} failed")));
                errors.extend(gone.err().map(|error| error.to_string()));
            }
        }
    }
    all_done(errors)
}

/// The datapaths that the arguments name, or all: as they were named, and with their types.
fn some_or_all(args: &mut Args<'_, '_>) -> Result<Vec<(String, String)>, DpctlError> {
    let named = std::mem::take(&mut args.rest);
    if named.is_empty() {
        let all = args.datapaths.names().map_err(failed("listing datapaths"))?;
        return Ok(all.into_iter().map(|name| (name.clone(), name)).collect());
    }
    named.into_iter().map(|name| Ok((name.to_string(), args.full(name)?))).collect()
}

/// Whether ports of a kind are those that tunnels share, which take packets of every type: which ones are meant is for the
/// tunnels to say.
fn is_tunnel(kind: &str) -> bool {
    const KINDS: [&str; 9] = ["vxlan", "geneve", "gre", "ip6gre", "erspan", "ip6erspan", "bareudp", "gtpu", "srv6"];
    KINDS.contains(&kind)
}

pub(super) fn show(args: &mut Args<'_, '_>) -> Result<Reply, DpctlError> {
    let statistics = args.options.statistics;
    let mut shown = Vec::new();
    for (named, name) in some_or_all(args)? {
        let dp = args.datapaths.open(&name);
        let options = |dp: &dyn Dpif, port: &PortInfo| match is_tunnel(port.kind) {
            true => vec![("packet_type", "ptap".to_string())],
            false => dp.port_options(port.port),
        };
        let all = dp.and_then(|dp| {
            let ports = dp.ports()?.into_iter().map(|port| (options(dp, &port), port));
            Ok((ports.collect::<Vec<_>>(), dp.stats()?, dp.caches()?))
        });
        let (ports, stats, caches) = all.map_err(failed(format!("opening datapath {named} failed")))?;
        let ports = ports.into_iter().map(|(options, port)| PortShown {
            number: port.port,
            name: port.name,
            kind: port.kind,
            options,
            stats: statistics.then_some(port.stats),
        });
        shown.push(Shown { name, stats, caches, ports: ports.collect() });
    }
    Ok(Reply::Datapaths(shown))
}

pub(super) fn cache_sizes(args: &mut Args<'_, '_>) -> Result<Reply, DpctlError> {
    let mut all = Vec::new();
    for (named, name) in some_or_all(args)? {
        let dp = args.datapaths.open(&name).map_err(failed(format!("Opening datapath {named} failed")))?;
        let sizes = dp.caches().map_err(failed("cache sizes"))?;
        all.push(Caches { datapath: name, sizes });
    }
    Ok(Reply::Caches(all))
}

pub(super) fn offload_stats(args: &mut Args<'_, '_>) -> Result<Reply, DpctlError> {
    let datapath = args.datapath(1)?;
    let mut stats = args.datapaths.open(&datapath).map_err(failed("opening datapath"))?.offload_stats();
    stats.sort_by_key(|stats| stats.driver);
    Ok(Reply::Offload { datapath, stats })
}

pub(super) fn set_cache_size(args: &mut Args<'_, '_>) -> Result<Reply, DpctlError> {
    let &[name, cache, size] = args.rest.as_slice() else { return usage("Invalid number of arguments") };
    let size = size.parse().map_err(|_| DpctlError::Usage("size is malformed (Invalid argument)".into()))?;
    let full = args.full(name)?;
    let dp = args.datapaths.open(&full).map_err(failed(format!("Opening datapath {name} failed")))?;
    if !dp.caches().map_err(failed("cache sizes"))?.iter().any(|(known, _)| *known == cache) {
        return usage(format!("Cache name \"{cache}\" not found on dpif (Invalid argument)"));
    }
    let size = dp.set_cache(cache, size).map_err(failed("Setting cache size failed"))?;
    Ok(Reply::Note(format!("Setting cache size successful, new size {size}\n")))
}

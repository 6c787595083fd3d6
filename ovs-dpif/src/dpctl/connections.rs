//! Connections and fragments.

use ovs_conntrack::fragment::FragmentLimits;
use ovs_conntrack::{Filter, TupleFilter};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::args::{Args, number};
use super::reply::{ConnectionCounts, Reply};
use super::{DpctlError, failed, usage};
use crate::connections::{Connections, protocol_name};
use crate::dpif::{Dpif, DpifError};

/// The connections of a datapath.
fn tracker(dp: &mut dyn Dpif) -> Result<&mut dyn Connections, DpctlError> {
    dp.conntrack().ok_or_else(|| failed("connection tracking")(DpifError::Unsupported("connection tracking")))
}

/// The system's number for what one is not permitted to do.
const EPERM: i32 = 1;

/// The smallest of fragments that may be asked for, IPv4 and IPv6.
const LEAST: [usize; 2] = [400, 400];

/// The most fragments that may be asked for.
const MOST_FRAGMENTS: usize = 5000;

pub(super) fn run(args: &mut Args<'_, '_>, name: &str) -> Result<Reply, DpctlError> {
    let now = args.datapaths.now();
    let options = args.options;
    match name {
        "dump-conntrack" => {
            let zone = zone(args)?;
            let ct = tracker(args.open(1)?)?;
            let mut all = Vec::new();
            ct.dump(zone, now, &mut |connection| all.push(connection)).map_err(failed("starting conntrack dump"))?;
            Ok(Reply::Connections { all, more: options.more, statistics: options.statistics })
        }
        "dump-conntrack-exp" => {
            let zone = zone(args)?;
            let ct = tracker(args.open(1)?)?;
            let all = ct.expectations(now).map_err(failed("starting conntrack expectations dump"))?;
            Ok(Reply::Expectations(all.into_iter().filter(|e| zone.is_none_or(|zone| e.zone == zone)).collect()))
        }
        "flush-conntrack" => {
            let most = args.rest.len() + 1;
            let datapath = args.datapath(most)?;
            let filter = filter(std::mem::take(&mut args.rest))?;
            let dp = args.datapaths.open(&datapath).map_err(failed("Cannot open dpif"))?;
            tracker(dp)?.flush(&filter, now).map_err(failed("failed to flush conntrack"))?;
            Ok(Reply::Nothing)
        }
        "ct-stats-show" => {
            let verbose = args.rest.last() == Some(&"verbose") && args.rest.pop().is_some() || options.more;
            let zone = zone(args)?;
            let ct = tracker(args.open(1)?)?;
            let mut counts = ConnectionCounts { total: 0, protocols: Vec::new(), states: Vec::new() };
            let (mut protocols, mut states) = (BTreeMap::new(), BTreeMap::new());
            let mut count = |connection: crate::connections::Connection| {
                counts.total += 1;
                let name = match connection.original.proto {
                    1 | 58 => "ICMP".to_string(),
                    proto => match protocol_name(proto) {
                        name if name.starts_with(|c: char| c.is_ascii_digit()) => "Other".to_string(),
                        name => name.to_uppercase(),
                    },
                };
                *protocols.entry(name).or_insert(0) += 1;
                if let Some(state) = connection.state_name().filter(|_| connection.original.proto == 6) {
                    *states.entry(state).or_insert(0) += 1;
                }
            };
            ct.dump(zone, now, &mut count).map_err(failed("starting conntrack dump"))?;
            const ORDER: [&str; 8] = ["TCP", "UDP", "UDPLITE", "SCTP", "ICMP", "DCCP", "IGMP", "Other"];
            counts.protocols =
                ORDER.iter().filter_map(|name| Some((name.to_string(), *protocols.get(*name)?))).collect();
            if verbose {
                counts.states = states.into_iter().collect();
            }
            Ok(Reply::ConnectionCounts(counts))
        }
        "ct-bkts" => {
            let over = args.take("gt=").map(|text| number(text, "gt")).transpose()?.unwrap_or(0_usize);
            let ct = tracker(args.open(1)?)?;
            match ct.buckets() {
                Ok((count, of_each)) => Ok(Reply::Buckets { count, of_each, over }),
                Err(DpifError::Unsupported(_)) => {
                    Ok(Reply::Note("Command is available for UserSpace ConnTracker only.\n".into()))
                }
                Err(error) => Err(failed("starting conntrack dump")(error)),
            }
        }
        "ct-set-maxconns" => {
            let Some(max) = args.rest.pop().and_then(|text| text.parse().ok()) else {
                return usage("maxconns missing or malformed (Invalid argument)");
            };
            tracker(args.open(1)?)?.set_max(max).map_err(failed("ct set maxconns failed"))?;
            Ok(Reply::Note("setting maxconns successful".into()))
        }
        "ct-get-maxconns" => {
            let (_, max) = tracker(args.open(1)?)?.count().map_err(failed("maxconns could not be retrieved"))?;
            Ok(Reply::Number(max.into()))
        }
        "ct-get-nconns" => {
            let (count, _) = tracker(args.open(1)?)?.count().map_err(failed("nconns could not be retrieved"))?;
            Ok(Reply::Number(count.into()))
        }
        "ct-enable-tcp-seq-chk" | "ct-disable-tcp-seq-chk" => {
            let on = name == "ct-enable-tcp-seq-chk";
            let doing = if on { "enabling" } else { "disabling" };
            let set = tracker(args.open(1)?)?.set_checks_tcp(on);
            set.map_err(failed(format!("{doing} TCP sequence checking failed")))?;
            Ok(Reply::Note(format!("{doing} TCP sequence checking successful")))
        }
        "ct-get-tcp-seq-chk" => {
            let on = tracker(args.open(1)?)?.checks_tcp().map_err(failed("TCP sequence checking query failed"))?;
            Ok(Reply::Note(format!("TCP sequence checking: {}\n", if on { "enabled" } else { "disabled" })))
        }
        "ct-set-limits" | "ct-del-limits" | "ct-get-limits" => limits(args, name).map_err(|error| match error {
            DpctlError::Usage(text) => DpctlError::Usage(format!("{text} (Invalid argument)")),
            other => other,
        }),
        "ct-get-sweep-interval" => {
            let interval =
                tracker(args.open(1)?)?.sweep_interval().map_err(failed("failed to get the sweep interval"))?;
            Ok(Reply::Number(u64::try_from(interval.as_millis()).unwrap_or(u64::MAX)))
        }
        "ct-set-sweep-interval" => {
            let text = args.rest.pop().unwrap_or_default();
            let Some(ms) = text.parse().ok().filter(|ms: &u32| *ms > 0) else {
                return usage("invalid sweep value (Invalid argument)");
            };
            let set = tracker(args.open(1)?)?.set_sweep_interval(Duration::from_millis(ms.into()));
            set.map_err(failed("failed to set the sweep interval"))?;
            Ok(Reply::Note("setting sweep interval successful".into()))
        }
        "ipf-get-status" => {
            let ct = tracker(args.open(1)?)?;
            let (limits, stats) = ct.fragments().map_err(failed("ipf status could not be retrieved"))?;
            Ok(Reply::Fragments { limits, stats })
        }
        other => set_fragments(args, other),
    }
}

fn zone(args: &mut Args<'_, '_>) -> Result<Option<u16>, DpctlError> {
    args.take("zone=").map(|text| number(text, "zone")).transpose()
}

fn limits(args: &mut Args<'_, '_>, name: &str) -> Result<Reply, DpctlError> {
    let most = args.rest.len() + 1;
    let datapath = args.datapath(most)?;
    let words = std::mem::take(&mut args.rest);
    let zones = |text: &str| -> Result<Vec<u16>, DpctlError> {
        let Some(list) = text.strip_prefix("zone=") else { return usage(format!("invalid argument {text}")) };
        let one = |zone: &str| zone.parse().map_err(|_| DpctlError::Usage("invalid zone".into()));
        list.split(',').filter(|zone| !zone.is_empty()).map(one).collect()
    };
    // All is read before anything is changed.
    let mut asked: Vec<(Option<u16>, Option<u32>)> = Vec::new();
    let mut queried = Vec::new();
    for word in &words {
        match name {
            "ct-set-limits" => match word.strip_prefix("default=") {
                Some(limit) => {
                    let limit = limit.parse().map_err(|_| DpctlError::Usage("invalid default limit".into()))?;
                    asked.push((None, Some(limit)));
                }
                None => {
                    let (zone, limit) = zone_and_limit(word)?;
                    asked.push((Some(zone), Some(limit)));
                }
            },
            "ct-del-limits" if *word == "default" => asked.push((None, None)),
            "ct-del-limits" => asked.extend(zones(word)?.into_iter().map(|zone| (Some(zone), None))),
            _ => queried.extend(zones(word)?),
        }
    }
    if words.is_empty() && name != "ct-get-limits" {
        return usage("too few arguments");
    }
    if name != "ct-get-limits" && args.datapaths.limits_are_given(&datapath) {
        let verb = name.strip_prefix("ct-").and_then(|name| name.strip_suffix("-limits")).unwrap_or(name);
        let instead = format!("use 'ovs-vsctl {verb}-zone-limit <...>' instead.");
        let forbidden = DpifError::System { what: "limits", source: std::io::Error::from_raw_os_error(EPERM) };
        return Err(failed(format!("the zone limits are set via database, {instead}"))(forbidden));
    }
    let dp = args.datapaths.open(&datapath).map_err(failed("opening datapath"))?;
    let ct = tracker(dp)?;
    if name == "ct-get-limits" {
        return ct.limits(&queried).map(Reply::Limits).map_err(failed("failed to get conntrack limit"));
    }
    let doing = if name == "ct-set-limits" { "set" } else { "delete" };
    for (zone, limit) in asked {
        ct.set_limit(zone, limit).map_err(failed(format!("failed to {doing} conntrack limit")))?;
    }
    Ok(Reply::Nothing)
}

fn zone_and_limit(text: &str) -> Result<(u16, u32), DpctlError> {
    let (mut zone, mut limit) = (None, None);
    for part in text.split(',') {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        if value.is_empty() {
            return usage(format!("field {key} missing value"));
        }
        let wrong = || DpctlError::Usage(format!("failed to parse field {key}"));
        match key {
            "zone" => zone = Some(value.parse().map_err(|_| wrong())?),
            "limit" => limit = Some(value.parse().map_err(|_| wrong())?),
            _ => return usage(format!("invalid zone limit field: {key}")),
        }
    }
    zone.zip(limit).ok_or_else(|| DpctlError::Usage("failed to parse zone limit".into()))
}

/// Which connections are meant: zone, mark, labels, and up to two tuples.
fn filter(words: Vec<&str>) -> Result<Filter, DpctlError> {
    let mut filter = Filter::default();
    let mut tuples = Vec::new();
    for word in words {
        if let Some(zone) = word.strip_prefix("zone=") {
            filter.zone = Some(zone.parse().map_err(|_| DpctlError::Usage("failed to parse zone".into()))?);
        } else if let Some(mark) = word.strip_prefix("mark=") {
            filter.mark = Some(masked(mark, u32::MAX, "failed to parse mark")?);
        } else if let Some(label) = word.strip_prefix("labels=") {
            filter.label = Some(masked(label, u128::MAX, "failed to parse labels")?);
        } else {
            tuples.push(word);
        }
    }
    // Both tuples are of one protocol and of one family.
    let (mut proto, mut v6) = (None, None);
    match tuples.as_slice() {
        [] => {}
        [original] => filter.original = tuple(original, &mut proto, &mut v6)?,
        [original, reply] => {
            filter.original = tuple(original, &mut proto, &mut v6)?;
            filter.reply = tuple(reply, &mut proto, &mut v6)?;
        }
        _ => return usage("invalid arguments"),
    }
    Ok(filter)
}

fn masked<T: TryFrom<u128> + Copy>(text: &str, all: T, what: &str) -> Result<(T, T), DpctlError> {
    let one = |word: &str| {
        let n = ovs_packet::text::number(word).and_then(|n| T::try_from(n).ok());
        n.ok_or_else(|| DpctlError::Usage(what.to_string()))
    };
    match text.split_once('/') {
        Some((value, mask)) => Ok((one(value)?, one(mask)?)),
        None => Ok((one(text)?, all)),
    }
}

fn tuple(text: &str, proto: &mut Option<u8>, v6: &mut Option<bool>) -> Result<TupleFilter, DpctlError> {
    let mut tuple = TupleFilter::default();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        if value.is_empty() {
            return usage(format!("field {key} missing value"));
        }
        let wrong = || DpctlError::Usage(format!("failed to parse field {key}"));
        match key {
            "ct_nw_src" | "ct_nw_dst" | "ct_ipv6_src" | "ct_ipv6_dst" => {
                let address: IpAddr = value.parse().map_err(|_| wrong())?;
                let is_v6 = key.starts_with("ct_ipv6");
                if address.is_ipv6() != is_v6 {
                    return Err(wrong());
                }
                if *v6.get_or_insert(is_v6) != is_v6 {
                    return usage(format!("the L3 protocol does not match {value}"));
                }
                let place = if key.ends_with("src") { &mut tuple.src } else { &mut tuple.dst };
                if place.replace(address).is_some() {
                    return usage(format!("{key} is set multiple times"));
                }
            }
            "ct_nw_proto" => {
                let number = value.parse().map_err(|_| wrong())?;
                if proto.replace(number).is_some() {
                    return usage(format!("{key} is set multiple times"));
                }
            }
            "ct_tp_src" => tuple.src_port = Some(value.parse().map_err(|_| wrong())?),
            "ct_tp_dst" => tuple.dst_port = Some(value.parse().map_err(|_| wrong())?),
            "icmp_type" | "icmp_code" | "icmp_id" => {
                if !matches!(proto, Some(1 | 58)) {
                    return usage("invalid L4 fields");
                }
                match key {
                    "icmp_type" => tuple.icmp_type = Some(value.parse().map_err(|_| wrong())?),
                    "icmp_code" => tuple.icmp_code = Some(value.parse().map_err(|_| wrong())?),
                    _ => tuple.icmp_id = Some(value.parse().map_err(|_| wrong())?),
                }
            }
            _ => return usage(format!("invalid conntrack tuple field: {key}")),
        }
    }
    if proto.is_none() && (tuple.src_port.is_some() || tuple.dst_port.is_some()) {
        return usage("port is set without protocol");
    }
    tuple.proto = *proto;
    Ok(tuple)
}

fn set_fragments(args: &mut Args<'_, '_>, name: &str) -> Result<Reply, DpctlError> {
    let last = args.rest.pop().unwrap_or_default();
    let family = |text: &str| match text {
        "v4" => Ok(false),
        "v6" => Ok(true),
        _ => usage("parameter missing: 'v4' or 'v6' (Invalid argument)"),
    };
    type Change = Box<dyn Fn(&mut FragmentLimits)>;
    let (change, done): (Change, String) = match name {
        "ipf-set-enabled" | "ipf-set-disabled" => {
            let (v6, on) = (family(last)?, name == "ipf-set-enabled");
            let change = move |limits: &mut FragmentLimits| match v6 {
                true => limits.ipv6 = on,
                false => limits.ipv4 = on,
            };
            let doing = if on { "enabling" } else { "disabling" };
            (Box::new(change), format!("{doing} fragmentation reassembly successful"))
        }
        "ipf-set-min-frag" => {
            let v6 = family(args.rest.pop().unwrap_or_default())?;
            let size: usize = number(last, "minimum fragment size")?;
            let [least_v4, least_v6] = LEAST;
            if size < if v6 { least_v6 } else { least_v4 } {
                return usage("requested minimum fragment size too small; see documentation (Invalid argument)");
            }
            let change = move |limits: &mut FragmentLimits| match v6 {
                true => limits.min_size_v6 = size,
                false => limits.min_size_v4 = size,
            };
            (Box::new(change), "setting minimum fragment size successful".into())
        }
        _ => {
            let most: usize = number(last, "maximum fragments")?;
            if most > MOST_FRAGMENTS {
                return usage("setting maximum fragments failed (Invalid argument)");
            }
            (Box::new(move |limits| limits.fragments = most), "setting maximum fragments successful".into())
        }
    };
    let ct = tracker(args.open(1)?)?;
    let (mut limits, _) = ct.fragments().map_err(failed("ipf"))?;
    change(&mut limits);
    ct.set_fragment_limits(limits).map_err(failed("ipf"))?;
    Ok(Reply::Note(done))
}

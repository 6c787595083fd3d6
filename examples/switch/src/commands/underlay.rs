//! Commands on what native tunnels go through: routes and rules (`ovs/route/*`), neighbours and tunnel ports (`tnl/*`).

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ovs_db::json;
use ovs_db::unixctl::Format;
use ovs_dpif::text as words;
use ovs_ofproto::pipeline::native::{Prefix, Route, Rule, table};

use super::{Call, Command, Reply, command, error, text};
use crate::server::Server;

pub(super) const COMMANDS: &[Command] = &[
    command("ovs/route/add", "ip/plen dev [gw] [pkt_mark=mark] [src=src_ip] [table=id]", 2, 6, add_route),
    command("ovs/route/show", "[table=all|id]", 0, 1, show_routes),
    command("ovs/route/del", "ip/plen [pkt_mark=mark] [table=id]", 1, 3, delete_route),
    command("ovs/route/lookup", "ip_addr [pkt_mark=mark] [src=src_ip]", 1, 3, lookup),
    command("ovs/route/rule/show", "[-6]", 0, 1, show_rules),
    command("ovs/route/rule/add", RULE, 2, 5, add_rule),
    command("ovs/route/rule/del", RULE, 2, 5, delete_rule),
    command("tnl/arp/show", "", 0, 0, show_neighbours),
    command("tnl/arp/set", "BRIDGE IP MAC", 3, 3, set_neighbour),
    command("tnl/arp/flush", "", 0, 0, flush_neighbours),
    command("tnl/arp/aging", "[SECS]", 0, 1, aging),
    command("tnl/neigh/show", "", 0, 0, show_neighbours),
    command("tnl/neigh/set", "BRIDGE IP MAC", 3, 3, set_neighbour),
    command("tnl/neigh/flush", "", 0, 0, flush_neighbours),
    command("tnl/neigh/aging", "[SECS]", 0, 1, aging),
    command("tnl/neigh/retrans_time", "[MSECS]", 0, 1, retransmit),
    command("tnl/ports/show", "-v", 0, 1, show_ports),
    command("tnl/egress_port_range", "min max", 0, 2, source_ports),
];

const RULE: &str = "[-6] [not] from=all|ip/plen [prio=num] table=local|main|default|id";

// What is asked for, in words.

/// An address with the length of a prefix, or with a mask of IPv4; whole without either.
fn prefix(text: &str) -> Option<Prefix> {
    let (address, rest) = text.split_once('/').map_or((text, None), |(address, rest)| (address, Some(rest)));
    let address: IpAddr = address.parse().ok()?;
    let len = match rest {
        None => return Some(Prefix::host(address)),
        Some(mask) if mask.contains('.') && address.is_ipv4() => {
            let mask = mask.parse::<Ipv4Addr>().ok()?.to_bits();
            (mask.leading_ones() + mask.trailing_zeros() >= 32).then(|| mask.leading_ones() as u8)?
        }
        Some(len) => len.parse().ok()?,
    };
    Prefix::new(address, len)
}

/// A number that is written as `name=number`.
fn number(argument: &str, name: &str) -> Option<u32> {
    argument.strip_prefix(name)?.strip_prefix('=')?.parse().ok()
}

/// What may stand behind the destination of a route.
#[derive(Default)]
struct Details {
    mark: u32,
    gateway: Option<IpAddr>,
    source: Option<IpAddr>,
    table: Option<u32>,
}

impl Details {
    /// Reads arguments for a destination of a family; an error says which of them cannot be.
    fn read(arguments: &[&str], v4: bool, with_gateway: bool, otherwise: &str) -> Result<Details, String> {
        let mut all = Details::default();
        let address = |text: &str| text.parse::<IpAddr>().ok().filter(|ip| ip.is_ipv4() == v4);
        for argument in arguments {
            if let Some(mark) = number(argument, "pkt_mark") {
                all.mark = mark;
            } else if let Some(source) = argument.strip_prefix("src=").and_then(address) {
                all.source = Some(source);
            } else if let Some(gateway) = address(argument).filter(|_| with_gateway) {
                all.gateway = Some(gateway);
            } else if let Some(id) = number(argument, "table") {
                all.table = Some(id);
            } else if argument.starts_with("table=") {
                return Err("Invalid table format".into());
            } else {
                return Err(otherwise.into());
            }
        }
        Ok(all)
    }
}

/// A value as a program reads it, or the same as people do.
fn either(call: &Call<'_>, value: &serde_json::Value, words: String) -> Option<Reply> {
    match call.format {
        Format::Json => match json::parse(value.to_string().as_bytes()) {
            Ok(json) => Some(Reply::Json(json)),
            Err(why) => error(why.to_string()),
        },
        _ => text(words),
    }
}

// Routes.

fn add_route(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let Some(to) = prefix(call.argument(0)?) else { return error("Invalid 'ip/plen' parameter") };
    let rest = call.arguments.get(2..).unwrap_or_default();
    let details = match Details::read(rest, to.address().is_ipv4(), true, "Invalid pkt_mark, IP gateway or src_ip") {
        Ok(details) => details,
        Err(why) => return error(why),
    };
    let Details { mark, gateway, source, table } = details;
    let (table, device) = (table.unwrap_or(table::MAIN), call.argument(1)?);
    match server.switch.underlay().add_route(table, to, device, gateway, mark, source, true) {
        Ok(()) => text("OK"),
        Err(why) => error(why.to_string()),
    }
}

fn delete_route(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let Some(to) = prefix(call.argument(0)?) else { return error("Invalid parameters") };
    let (mut mark, mut table) = (0, table::MAIN);
    let underlay = server.switch.underlay();
    for argument in call.arguments.iter().skip(1) {
        match (number(argument, "pkt_mark"), number(argument, "table")) {
            (Some(number), _) => mark = number,
            (_, Some(id)) if underlay.read().routes().has_table(id) => table = id,
            (_, Some(_)) => return error(format!("Table {argument} not found")),
            _ if argument.starts_with("table=") => return error("Invalid table format"),
            _ => return error("Invalid pkt_mark or table"),
        }
    }
    match underlay.remove_route(table, to, mark, true) {
        true => text("OK"),
        false if !underlay.read().routes().has_table(table) => error("Table not found"),
        false => error("Not found"),
    }
}

/// Which tables are shown.
enum Shown {
    Standard,
    All,
    One(u32),
}

impl Shown {
    fn has(&self, id: u32) -> bool {
        match self {
            Shown::Standard => table::name(id).is_some(),
            Shown::All => true,
            Shown::One(one) => *one == id,
        }
    }
}

fn show_routes(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let shown = match call.argument(0) {
        None => Shown::Standard,
        Some("table=all") => Shown::All,
        Some(argument) => match number(argument, "table") {
            Some(0) => Shown::Standard,
            Some(id) => Shown::One(id),
            None => return error("Invalid table format"),
        },
    };
    let state = server.switch.underlay().read();
    if let (Shown::One(id), Some(argument)) = (&shown, call.argument(0))
        && !state.routes().has_table(*id)
    {
        return error(format!("Table '{argument}' not found"));
    }
    // The local table is asked first, and shown first.
    let mut routes: Vec<(u32, &Route)> = state.routes().iter().filter(|(id, _)| shown.has(*id)).collect();
    routes.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
    let header = match shown {
        Shown::Standard => "Route Table:\n".to_string(),
        Shown::One(id) if table::name(id).is_some() => "Route Table:\n".to_string(),
        Shown::One(id) => format!("Route Table #{id}:\n"),
        Shown::All => String::new(),
    };
    let named = matches!(shown, Shown::All);
    let lines = routes.iter().map(|(id, route)| route_line(*id, route, named));
    let value = routes.iter().map(|(id, route)| route_value(*id, route)).collect();
    either(call, &serde_json::Value::Array(value), header + &lines.collect::<String>())
}

fn route_line(id: u32, route: &Route, named: bool) -> String {
    let Route { to, mark, device, gateway, source, by_hand } = route;
    let mut line = format!("{}: {to}", if *by_hand { "User" } else { "Cached" });
    if *mark != 0 {
        line += &format!(" MARK {mark}");
    }
    line += &format!(" dev {device}");
    if let Some(gateway) = gateway {
        line += &format!(" GW {gateway}");
    }
    line += &format!(" SRC {source}");
    if id == table::LOCAL && !by_hand {
        line += " local";
    }
    if named && table::name(id).is_none() {
        line += &format!(" table {id}");
    }
    line + "\n"
}

fn route_value(id: u32, route: &Route) -> serde_json::Value {
    let Route { to, mark, device, gateway, source, by_hand } = route;
    let mut hop = serde_json::json!({ "dev": device });
    if let Some(gateway) = gateway {
        hop["gateway"] = gateway.to_string().into();
    }
    let mut value = serde_json::json!({
        "table": id,
        "user": by_hand,
        "local": id == table::LOCAL && !by_hand,
        "prefix": to.len(),
        "dst": to.address().to_string(),
        "prefsrc": source.to_string(),
        "nexthops": [hop],
    });
    if *mark != 0 {
        value["mark"] = (*mark).into();
    }
    value
}

fn lookup(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let Ok(to) = call.argument(0)?.parse::<IpAddr>() else { return error("Invalid 'ip/plen' parameter") };
    let rest = call.arguments.get(1..).unwrap_or_default();
    let details = match Details::read(rest, to.is_ipv4(), false, "Invalid pkt_mark or src") {
        Ok(Details { table: Some(_), .. }) => return error("Invalid pkt_mark or src"),
        Ok(details) => details,
        Err(why) => return error(why),
    };
    let found = server.switch.underlay().read().routes().lookup(to, details.mark, details.source);
    let Some(hop) = found else { return error("Not found") };
    let gateway = hop.gateway.map_or("::".to_string(), |gateway| gateway.to_string());
    let value = serde_json::json!({ "src": hop.source.to_string(), "gateway": gateway, "dev": hop.device });
    either(call, &value, format!("src {}\ngateway {gateway}\ndev {}\n", hop.source, hop.device))
}

// Rules.

fn show_rules(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let v6 = call.argument(0) == Some("-6");
    let state = server.switch.underlay().read();
    let rules: Vec<&Rule> = state.routes().rules(v6).collect();
    let value = rules.iter().map(|rule| {
        serde_json::json!({
            "priority": rule.priority,
            "user": rule.by_hand,
            "invert": rule.invert,
            "ipv4": !rule.v6,
            "src-prefix": rule.from.map_or(0, Prefix::len),
            "lookup": rule.table,
            "from": rule.from.filter(|from| from.len() > 0).map_or("all".to_string(), |from| from.address().to_string()),
        })
    });
    let words = rules.iter().map(|rule| format!("{rule}\n")).collect();
    either(call, &serde_json::Value::Array(value.collect()), words)
}

fn rule(call: &Call<'_>) -> Result<Rule, &'static str> {
    let mut rest = call.arguments.as_slice();
    let mut next_if = |is_it: &dyn Fn(&str) -> bool| match rest {
        [first, others @ ..] if is_it(first) => {
            rest = others;
            Some(*first)
        }
        _ => None,
    };
    let v6 = next_if(&|a| a == "-6").is_some();
    let invert = next_if(&|a| a == "not").is_some();
    let source = next_if(&|a| a.starts_with("from=")).ok_or("Invalid 'from' parameter")?;
    let from = match source.strip_prefix("from=").unwrap_or_default() {
        "all" => None,
        from => Some(prefix(from).ok_or("Invalid from=ip/plen")?),
    };
    let priority = next_if(&|a| number(a, "prio").is_some()).and_then(|a| number(a, "prio")).unwrap_or(0);
    let table = match rest {
        [] => return Err("Not enough arguments"),
        ["table=local"] => table::LOCAL,
        ["table=main"] => table::MAIN,
        ["table=default"] => table::DEFAULT,
        [id] => number(id, "table").ok_or("Invalid 'table' format")?,
        _ => return Err("Invalid 'table' format"),
    };
    let v6 = from.map_or(v6, |from| from.address().is_ipv6());
    let from = from.filter(|from| from.len() > 0);
    Ok(Rule { priority, invert, from, v6, table, by_hand: true })
}

fn add_rule(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    match rule(call) {
        Ok(rule) => server.switch.underlay().add_rule(rule),
        Err(why) => return error(why),
    }
    text("OK")
}

fn delete_rule(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    match rule(call) {
        Ok(rule) if server.switch.underlay().remove_rule(&rule) => text("OK"),
        Ok(_) => error("Failed to delete router rule: there is no such rule"),
        Err(why) => error(why),
    }
}

// Neighbours.

fn show_neighbours(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let now = server.clock.now();
    let state = server.switch.underlay().read();
    let mut words = format!("{:<46}{:<20}Bridge\n{}\n", "IP", "MAC", "=".repeat(74));
    let mut value = Vec::new();
    for (bridge, ip, neighbour) in state.neighbours().iter() {
        let is_stale = neighbour.expires <= now;
        let address = neighbour.address.map(|mac| mac.to_string());
        let mac = address.clone().unwrap_or_default();
        let incomplete = if address.is_none() { " INCOMPLETE" } else { "" };
        words +=
            &format!("{:<46}{mac:<20}{bridge}{incomplete}{}\n", ip.to_string(), if is_stale { " STALE" } else { "" });
        value.push(serde_json::json!({
            "ip": ip.to_string(), "mac": address, "bridge": bridge, "stale": is_stale,
        }));
    }
    either(call, &serde_json::Value::Array(value), words)
}

fn set_neighbour(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let Ok(ip) = call.argument(1)?.parse() else { return error("bad IP address") };
    let Ok(mac) = call.argument(2)?.parse() else { return error("bad MAC address") };
    server.switch.underlay().set_neighbour(call.argument(0)?, ip, mac, server.clock.now());
    text("OK")
}

fn flush_neighbours(server: &mut Server, _: &Call<'_>) -> Option<Reply> {
    server.switch.underlay().flush_neighbours(None);
    text("OK")
}

fn aging(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let underlay = server.switch.underlay();
    let Some(seconds) = call.argument(0) else {
        return text(underlay.read().neighbours().aging().as_secs().to_string());
    };
    let Ok(seconds) = seconds.parse::<u32>() else { return error("bad aging value") };
    match underlay.set_aging(Duration::from_secs(seconds.into()), server.clock.now()) {
        Ok(()) => text("OK"),
        Err(why) => error(why.to_string()),
    }
}

fn retransmit(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let underlay = server.switch.underlay();
    let Some(millis) = call.argument(0) else {
        return text(underlay.read().neighbours().retransmit().as_millis().to_string());
    };
    let Ok(millis) = millis.parse::<u32>() else { return error("bad retrans_time value") };
    match underlay.set_retransmit(Duration::from_millis(millis.into()), server.clock.now()) {
        Ok(()) => text("OK"),
        Err(why) => error(why.to_string()),
    }
}

// Tunnel ports.

fn show_ports(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let state = server.switch.underlay().read();
    let mut words = "Listening ports:\n".to_string();
    if call.argument(0).is_some_and(|argument| argument.eq_ignore_ascii_case("-v")) {
        let names: std::collections::BTreeMap<_, _> =
            state.listeners().map(|(port, l)| (port, l.name.as_str())).collect();
        for (matching, port) in state.ends() {
            let name = names.get(&port).copied().unwrap_or_default();
            words += &format!("{name} ({port}) : {}\n", words::key(&matching));
        }
        return text(words);
    }
    let mut value = Vec::new();
    for (port, listener) in state.listeners() {
        // One that takes packets of several protocols is told once for each.
        let line = format!("{} ({port}) ref_cnt={}\n", listener.name, listener.users);
        words += &line.repeat(listener.protocols.len());
        value.push(serde_json::json!({ "name": listener.name, "port": port.0, "users": listener.users }));
    }
    either(call, &serde_json::Value::Array(value), words)
}

fn source_ports(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let (Some(min), Some(max)) = (call.argument(0), call.argument(1)) else {
        let ports = server.switch.tunnel_sources();
        return text(format!("Tunnel UDP source port range: {}-{}\n", ports.start(), ports.end()));
    };
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    let (Some(min), why) = (port(min), "Invalid max.") else { return error("Invalid min.") };
    let Some(max) = port(max) else { return error(why) };
    server.switch.set_tunnel_sources(min.min(max)..=min.max(max));
    text("OK")
}

//! Commands about bridges: flows, learnt addresses, connections.

use ovs_db::json::Json;
use ovs_db::unixctl::{Format, Reply};
use ovs_ofproto::pipeline::{ListenerProtocol, MacTable, MdbEntry, Ofproto};
use ovs_packet::{EthAddr, Instant, OfPort};

use super::{ANY, Call, Command, command, error, text};
use crate::server::Server;

pub(super) const COMMANDS: &[Command] = &[
    command("bridge/dump-flows", "[--offload-stats] bridge", 1, 2, dump_flows),
    command("bridge/reconnect", "[bridge]", 0, 1, reconnect),
    command("fdb/flush", "[bridge]", 0, 1, fdb_flush),
    command("fdb/show", "[bridge...]", 0, ANY, fdb_show),
    command("fdb/add", "bridge port vlan mac", 4, 4, fdb_add),
    command("fdb/del", "bridge vlan mac", 3, 3, fdb_del),
    command("fdb/stats-clear", "[bridge]", 0, 1, fdb_stats_clear),
    command("fdb/stats-show", "bridge", 1, 1, fdb_stats),
    command("mdb/flush", "[bridge]", 0, 1, mdb_flush),
    command("mdb/show", "bridge", 1, 1, mdb_show),
    command(
        "ofproto/trace",
        "{[dp_name] odp_flow | bridge br_flow} [OPTIONS...] [-generate|packet]",
        1,
        ANY,
        super::trace::trace,
    ),
    command("ofproto/list", "", 0, 0, list),
    command("qos/show-types", "interface", 1, 1, qos_types),
    command("qos/show", "interface", 1, 1, qos_show),
];

const NO_BRIDGE: &str = "no such bridge";

fn list(server: &mut Server, _: &Call<'_>) -> Option<Reply> {
    text(server.switch.bridges().map(|b| format!("{}\n", b.name())).collect::<String>())
}

fn dump_flows(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let (options, name) = (call.arguments.len() > 1, *call.arguments.last()?);
    if options && call.argument(0) != Some("--offload-stats") {
        return error("Unknown option");
    }
    let now = server.clock.now();
    server.switch.revalidate(now);
    let Some(of) = server.switch.ofproto(name) else { return error("Unknown bridge") };
    text(of.flows().map(|f| format!("{}\n", flow_line(&f, now))).collect::<String>())
}

fn flow_line(flow: &ovs_ofproto::pipeline::Flow, now: Instant) -> String {
    let table = if flow.table == 0 { String::new() } else { format!("table_id={}, ", flow.table) };
    let matching = flow.matching.to_string();
    let separator = if matching.is_empty() { "" } else { "," };
    format!(
        "{table}duration={}s, n_packets={}, n_bytes={}, priority={}{separator}{matching},{}",
        now.since(flow.created).as_secs(),
        flow.packets,
        flow.bytes,
        flow.priority,
        flow.instructions,
    )
}

fn reconnect(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let now = server.clock.now();
    match server.openflow.reconnect(call.argument(0), now) {
        Ok(()) => text(""),
        Err(_) => error("unknown bridge"),
    }
}

fn fdb_flush(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let now = server.clock.now();
    let names: Vec<String> = match call.argument(0) {
        Some(name) => vec![name.to_string()],
        None => server.switch.bridges().map(|b| b.name().to_string()).collect(),
    };
    for name in names {
        if server.switch.with_ofproto(&name, now, |of, _| of.flush_macs()).is_none() {
            return error(NO_BRIDGE);
        }
    }
    text("table successfully flushed")
}

/// What of a learnt address is shown.
struct Station {
    is_static: bool,
    port: OfPort,
    vlan: u16,
    address: String,
    age: u64,
}

/// The stations of a table: those that were learnt, the one that was seen last at the end of them, and the static ones.
fn stations(macs: &MacTable, now: Instant) -> Vec<Station> {
    let mut all: Vec<Station> = macs
        .iter(now)
        .map(|e| Station {
            is_static: e.is_static,
            port: e.port,
            vlan: e.vlan,
            address: e.address.to_string(),
            age: e.age.as_secs(),
        })
        .collect();
    all.sort_by_key(|s| (s.is_static, std::cmp::Reverse(s.age)));
    all
}

fn port_word(port: OfPort) -> String {
    port.to_string()
}

fn fdb_show(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let now = server.clock.now();
    let names: Vec<String> = match call.arguments.as_slice() {
        [] => server.switch.bridges().map(|b| b.name().to_string()).collect(),
        some => some.iter().map(|n| n.to_string()).collect(),
    };
    server.switch.revalidate(now);
    let mut bridges: Vec<&Ofproto> = Vec::new();
    for name in &names {
        match server.switch.ofproto(name) {
            Some(bridge) => bridges.push(bridge),
            None => return error(format!("{NO_BRIDGE} {name}")),
        }
    }
    if call.format == Format::Json {
        let tables = bridges.iter().map(|b| {
            let rows = stations(b.macs(), now).into_iter().map(|s| {
                let age = match s.is_static {
                    true => ("static", Json::Bool(true)),
                    false => ("age", Json::Integer(i64::try_from(s.age).unwrap_or(i64::MAX))),
                };
                Json::object([
                    age,
                    ("port", Json::Integer(s.port.to_16().unwrap_or(u16::MAX).into())),
                    ("vlan", Json::Integer(s.vlan.into())),
                    ("mac", Json::string(s.address)),
                ])
            });
            (b.name(), Json::Array(rows.collect()))
        });
        return Some(Reply::Json(Json::object(tables)));
    }
    let width = bridges.iter().map(|b| b.name().len()).max().unwrap_or(0).max("bridge".len());
    let is_many = bridges.len() > 1;
    let mut shown = String::new();
    if is_many {
        shown += &format!(" {:<width$} ", "Bridge");
    }
    shown += " Port  VLAN  MAC                Age\n";
    for bridge in bridges {
        let rows = stations(bridge.macs(), now);
        if is_many && rows.is_empty() {
            shown += &format!(" {}\n", bridge.name());
        }
        for (at, s) in rows.iter().enumerate() {
            if is_many {
                shown += &format!(" {:<width$} ", if at == 0 { bridge.name() } else { "" });
            }
            let age = if s.is_static { "static".to_string() } else { format!("{:>3}", s.age) };
            shown += &format!("{:>5}  {:>4}  {}  {age}\n", port_word(s.port), s.vlan, s.address);
        }
    }
    text(shown)
}

fn fdb_stats(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let name = call.argument(0)?;
    let Some((bridge, of)) = server.switch.bridge(name).zip(server.switch.ofproto(name)) else {
        return error(NO_BRIDGE);
    };
    let macs = of.macs();
    let fixed = macs.iter(server.clock.now()).filter(|e| e.is_static).count();
    let limit = bridge.mac_limit();
    let seen = macs.stats();
    text(format!(
        "Statistics for bridge \"{name}\":\n  Current/maximum MAC entries in the table: {}/{limit}\n  \
         Current static MAC entries in the table : {fixed}\n  Total number of learned MAC entries     : {}\n  \
         Total number of expired MAC entries     : {}\n  Total number of evicted MAC entries     : {}\n  \
         Total number of port moved MAC entries  : {}\n",
        macs.len(),
        seen.learned,
        seen.expired,
        seen.evicted,
        seen.moved,
    ))
}

/// Those bridges that are named, or all.
fn chosen(server: &Server, name: Option<&str>) -> Vec<String> {
    match name {
        Some(name) => vec![name.to_string()],
        None => server.switch.bridges().map(|b| b.name().to_string()).collect(),
    }
}

fn fdb_stats_clear(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let now = server.clock.now();
    for name in chosen(server, call.argument(0)) {
        if server.switch.with_ofproto(&name, now, |of, _| of.macs_mut().clear_stats()).is_none() {
            return error(NO_BRIDGE);
        }
    }
    text("statistics successfully cleared")
}

/// A VLAN and an address.
fn station(vlan: &str, mac: &str) -> Result<(u16, EthAddr), String> {
    let vlan = vlan.parse().ok().filter(|v| *v < 4096).ok_or_else(|| "Invalid VLAN ID".to_string())?;
    let mac = mac.parse().map_err(|_| "Invalid MAC address".to_string())?;
    Ok((vlan, mac))
}

fn fdb_add(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let now = server.clock.now();
    let [name, port, vlan, mac] = call.arguments.as_slice() else { return error(NO_BRIDGE) };
    let Some(bridge) = server.switch.bridge(name) else { return error(NO_BRIDGE) };
    let by_number = || bridge.ports().find(|p| port.parse() == Ok(p.number));
    let Some(number) = bridge.port(port).or_else(by_number).map(|p| p.number) else { return error("no such port") };
    match station(vlan, mac) {
        Ok((vlan, mac)) => {
            let before = server.switch.with_ofproto(name, now, |of, _| {
                let before = of.macs().iter(now).find(|e| (e.vlan, e.address) == (vlan, mac));
                of.macs_mut().add_static(vlan, mac, number);
                before
            });
            let changed = before.flatten().filter(|e| !e.is_static || e.port != number);
            text(changed.map_or(String::new(), |e| {
                let kind = if e.is_static { "static" } else { "dynamic" };
                format!("Overriding already existing {kind} entry on {}\n", port_word(e.port))
            }))
        }
        Err(why) => error(why),
    }
}

fn fdb_del(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let now = server.clock.now();
    let [name, vlan, mac] = call.arguments.as_slice() else { return error(NO_BRIDGE) };
    let (vlan, mac) = match station(vlan, mac) {
        Ok(station) => station,
        Err(why) => return error(why),
    };
    match server.switch.with_ofproto(name, now, |of, _| of.macs_mut().remove(vlan, mac)) {
        None => error(NO_BRIDGE),
        Some(false) => error("MAC entry not found"),
        Some(true) => text(""),
    }
}

fn mdb_flush(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let now = server.clock.now();
    for name in chosen(server, call.argument(0)) {
        let flushed = server.switch.with_ofproto(&name, now, |of, _| of.snooping_mut().map(|s| s.flush()));
        match flushed {
            None => return error(NO_BRIDGE),
            Some(None) if call.argument(0).is_some() => return error("multicast snooping is disabled"),
            Some(_) => {}
        }
    }
    text("table successfully flushed")
}

fn protocol_word(protocol: ListenerProtocol) -> &'static str {
    match protocol {
        ListenerProtocol::IgmpV1 => "IGMPv1",
        ListenerProtocol::IgmpV2 => "IGMPv2",
        ListenerProtocol::IgmpV3 => "IGMPv3",
        ListenerProtocol::MldV1 => "MLDv1",
        ListenerProtocol::MldV2 => "MLDv2",
        _ => UNKNOWN,
    }
}

/// A protocol that no message told of: that of routers, which are learnt by their queries.
const UNKNOWN: &str = "UNKNOWN";

fn mdb_show(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let now = server.clock.now();
    let entries = server
        .switch
        .with_ofproto(call.argument(0)?, now, |of, _| of.snooping_mut().map(|s| s.iter(now).collect::<Vec<_>>()));
    let entries = match entries {
        None => return error(NO_BRIDGE),
        Some(None) => return error("multicast snooping is disabled"),
        Some(Some(entries)) => entries,
    };
    let mut shown = String::from(" port  VLAN  protocol  GROUP                Age\n");
    let (groups, routers): (Vec<&MdbEntry>, Vec<&MdbEntry>) = entries.iter().partition(|e| e.group.is_some());
    for e in groups.into_iter().chain(routers) {
        let (port, age) = (port_word(e.port), e.age.as_secs());
        let protocol = e.protocol.map_or(UNKNOWN, protocol_word);
        match e.group {
            Some(group) => {
                let group = group.to_ipv4_mapped().map_or(group.to_string(), |v4| v4.to_string());
                shown += &format!("{port:>5}  {:>4}  {protocol:<8}  {group}         {age:>3}\n", e.vlan);
            }
            None => shown += &format!("{port:>5}  {:>4}  {protocol:<8}  querier             {age:>3}\n", e.vlan),
        }
    }
    text(shown)
}

fn qos_types(_: &mut Server, _: &Call<'_>) -> Option<Reply> {
    error("QoS is not available")
}

fn qos_show(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let name = call.argument(0)?;
    if !server.switch.bridges().any(|b| b.port(name).is_some()) {
        return error("no such interface");
    }
    text(format!("QoS not configured on {name}\n"))
}

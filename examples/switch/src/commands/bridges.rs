//! Commands about bridges: flows, learnt addresses, connections.

use ovs_db::json::Json;
use ovs_db::unixctl::{Format, Reply};
use ovs_ofproto::pipeline::MacTable;
use ovs_packet::{Instant, OfPort};

use super::{ANY, Call, Command, command, error, text};
use crate::server::Server;
use crate::vswitch::Bridge;

pub(super) const COMMANDS: &[Command] = &[
    command("bridge/dump-flows", "[--offload-stats] bridge", 1, 2, dump_flows),
    command("bridge/reconnect", "[bridge]", 0, 1, reconnect),
    command("fdb/flush", "[bridge]", 0, 1, fdb_flush),
    command("fdb/show", "[bridge...]", 0, ANY, fdb_show),
    command("fdb/stats-show", "bridge", 1, 1, fdb_stats),
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
    server.switch.with_bridge(name, |b, dp| b.revalidate(dp, now));
    let Some(bridge) = server.switch.bridge(name) else { return error("Unknown bridge") };
    text(bridge.flows().map(|f| format!("{}\n", flow_line(&f, now))).collect::<String>())
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
    let names: Vec<String> = match call.argument(0) {
        Some(name) => vec![name.to_string()],
        None => server.switch.bridges().map(|b| b.name().to_string()).collect(),
    };
    for name in names {
        if server.switch.with_bridge(&name, |b, _| b.flush_macs()).is_none() {
            return error(NO_BRIDGE);
        }
    }
    text("table successfully flushed")
}

/// What of a learnt address is shown.
struct Station {
    port: OfPort,
    vlan: u16,
    address: String,
    age: u64,
}

/// The stations of a table, the one that was seen last at the end.
fn stations(macs: &MacTable, now: Instant) -> Vec<Station> {
    let mut all: Vec<Station> = macs
        .iter(now)
        .map(|e| Station {
            port: e.port,
            vlan: e.vlan,
            address: e.address.to_string(),
            age: e.age.as_secs(),
        })
        .collect();
    all.sort_by_key(|s| std::cmp::Reverse(s.age));
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
    for name in &names {
        if server.switch.with_bridge(name, |b, dp| b.revalidate(dp, now)).is_none() {
            return error(NO_BRIDGE);
        }
    }
    let bridges: Vec<&Bridge> = names.iter().filter_map(|n| server.switch.bridge(n)).collect();
    if call.format == Format::Json {
        let tables = bridges.iter().map(|b| {
            let rows = stations(b.macs(), now).into_iter().map(|s| {
                Json::object([
                    ("port", Json::string(port_word(s.port))),
                    ("vlan", Json::Integer(s.vlan.into())),
                    ("mac", Json::string(s.address)),
                    ("age", Json::Integer(i64::try_from(s.age).unwrap_or(i64::MAX))),
                ])
            });
            (b.name(), Json::Array(rows.collect()))
        });
        // One bridge that was asked for by name is its table alone.
        return Some(Reply::Json(match bridges.as_slice() {
            [_] if call.arguments.len() == 1 => {
                let mut tables = tables;
                tables.next().map_or(Json::Null, |(_, rows)| rows)
            }
            _ => Json::object(tables),
        }));
    }
    let width = bridges.iter().map(|b| b.name().len()).max().unwrap_or(0).max("bridge".len());
    let is_many = call.arguments.len() != 1;
    let mut shown = String::new();
    if is_many {
        shown += &format!(" {:<width$}", "bridge");
    }
    shown += " port  VLAN  MAC                Age\n";
    for bridge in bridges {
        let rows = stations(bridge.macs(), now);
        if is_many && rows.is_empty() {
            shown += &format!(" {}\n", bridge.name());
        }
        for (at, s) in rows.iter().enumerate() {
            if is_many {
                shown += &format!(" {:<width$}", if at == 0 { bridge.name() } else { "" });
            }
            shown += &format!("{:>5}  {:>4}  {}  {:>3}\n", port_word(s.port), s.vlan, s.address, s.age);
        }
    }
    text(shown)
}

fn fdb_stats(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let name = call.argument(0)?;
    let Some(bridge) = server.switch.bridge(name) else { return error(NO_BRIDGE) };
    let macs = bridge.macs();
    text(format!(
        "Statistics for bridge \"{name}\":\n  Current/maximum MAC entries in the table: {}/{}\n",
        macs.len(),
        ovs_ofproto::pipeline::DEFAULT_MAC_LIMIT,
    ))
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

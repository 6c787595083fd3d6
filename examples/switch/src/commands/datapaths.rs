//! Commands about datapaths: what they are, and their megaflows.

use std::collections::{BTreeMap, BTreeSet};

use ovs_db::json::Json;
use ovs_db::unixctl::{Format, Reply};
use ovs_dpif::text::{self as words, PortNames};
use ovs_dpif::{DpFlow, Dpif, Features, PortNo};
use ovs_packet::key::FlowMask;
use ovs_packet::{FlowKey, Instant};

use super::{ANY, Call, Command, command, error, hidden, text};
use crate::server::Server;

pub(super) const COMMANDS: &[Command] = &[
    command("dpif/show", "", 0, 0, show),
    command("dpif/dump-dps", "", 0, 0, dump_dps),
    command("dpif/show-dp-features", "bridge", 1, 1, |server, call| features(server, call.argument(0)?)),
    command("dpif/dump-flows", "[-m] [--names | --no-names] bridge", 1, ANY, dump_flows),
    command("revalidator/wait", "", 0, 0, revalidate),
    command("revalidator/purge", "", 0, 0, purge),
    hidden("revalidator/pause", 0, 0, |server, _| pause(server, true)),
    hidden("revalidator/resume", 0, 0, |server, _| pause(server, false)),
    command("dpif/set-dp-features", "[--force] bridge [field [value]]", 1, 4, set_features),
    command("dpif-dummy/change-port-number", "dp port new-number", 3, 3, change_port_number),
];

/// Names of the ports of a datapath.
#[derive(Default)]
pub(super) struct Names(BTreeMap<u32, String>);

impl Names {
    pub(super) fn of(dp: &dyn Dpif) -> Names {
        Names(dp.ports().unwrap_or_default().into_iter().map(|p| (p.port.0, p.name)).collect())
    }
}

impl PortNames for Names {
    fn name(&self, number: u32) -> Option<String> {
        self.0.get(&number).cloned()
    }

    fn number(&self, name: &str) -> Option<u32> {
        self.0.iter().find(|(_, n)| *n == name).map(|(number, _)| *number)
    }
}

fn show(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let (mut shown, mut json) = (String::new(), Vec::new());
    for dp in server.switch.datapaths() {
        let stats = dp.stats().unwrap_or_default();
        shown += &format!("{}: hit:{} missed:{}\n", dp.full_name(), stats.hits, stats.missed);
        let there: Vec<String> = dp.ports().unwrap_or_default().into_iter().map(|p| p.name).collect();
        let mut bridges = Vec::new();
        for bridge in server.switch.bridges().filter(|b| b.datapath_type() == dp.kind()) {
            shown += &format!("  {}:\n", bridge.name());
            let mut ports = Vec::new();
            for port in bridge.ports().filter(|p| p.datapath.is_none() || there.contains(&p.datapath_name())) {
                let number = port.datapath.map_or("none".to_string(), |n| n.to_string());
                let of_port = port.number.to_16().unwrap_or(u16::MAX);
                let options = shown_options(port, dp.dpif());
                let listed: Vec<String> = options.iter().map(|(k, v)| format!("{k}={v}")).collect();
                let listed = if listed.is_empty() { String::new() } else { format!(": {}", listed.join(", ")) };
                shown += &format!("    {} {of_port}/{number}: ({}{listed})\n", port.name, port.kind);
                let mut members = vec![
                    ("ofport", Json::string(of_port.to_string())),
                    ("port_no", Json::string(number)),
                    ("type", Json::string(port.kind)),
                ];
                if !options.is_empty() {
                    members.push(("config", Json::object(options.into_iter().map(|(k, v)| (k, Json::string(v))))));
                }
                ports.push((port.name.clone(), Json::object(members)));
            }
            bridges.push((bridge.name().to_string(), Json::object(ports)));
        }
        let counts = [("hit", stats.hits), ("missed", stats.missed)].map(|(k, n)| (k, Json::string(n.to_string())));
        json.push((
            dp.full_name(),
            Json::object([("stats", Json::object(counts)), ("bridges", Json::object(bridges))]),
        ));
    }
    if call.format == Format::Json { Some(Reply::Json(Json::object(json))) } else { text(shown) }
}

/// The options of a port that its device tells back.
fn shown_options(port: &crate::vswitch::BridgePort, dp: &dyn Dpif) -> Vec<(String, String)> {
    if let Some(tunnel) = port.tunnel() {
        let options = tunnel.config().map(|config| config.options()).unwrap_or_default();
        return options.into_iter().map(|(key, value)| (key.to_string(), value)).collect();
    }
    let of_device = port.datapath.map(|number| dp.port_options(number)).unwrap_or_default();
    if !of_device.is_empty() {
        return of_device.into_iter().map(|(key, value)| (key.to_string(), value)).collect();
    }
    let options = &port.interface().options;
    let told = |(k, _): &(&String, &String)| match port.kind {
        "patch" => *k == "peer",
        _ => *k == "ifindex",
    };
    options.iter().filter(told).map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn dump_dps(server: &mut Server, _: &Call<'_>) -> Option<Reply> {
    let lines = server.switch.bridges().map(|b| format!("{}@{}\n", b.datapath_type(), b.name()));
    text(lines.collect::<String>())
}

fn features(server: &mut Server, bridge: &str) -> Option<Reply> {
    let told = server.switch.ofproto(bridge).and_then(|of| of.assumed_features());
    let Some(f) = datapath_of(server, bridge).map(|dp| told.unwrap_or_else(|| dp.features())) else {
        return error("no such bridge");
    };
    let Features {
        vlan_headers, mpls_depth, sample_nesting, clone, trunc, check_pkt_len, ct_clear, explicit_drop, ..
    } = f;
    let yes = |b: bool| if b { "Yes" } else { "No" }.to_string();
    let rows = [
        ("Masked set action", yes(true)),
        ("Tunnel push pop", yes(f.native_tunnels)),
        ("Ufid", yes(true)),
        ("Truncate action", yes(trunc)),
        ("Clone action", yes(clone)),
        ("Sample nesting", sample_nesting.to_string()),
        ("Conntrack clear", yes(ct_clear)),
        ("Check pkt length action", yes(check_pkt_len)),
        ("Explicit Drop action", yes(explicit_drop)),
        ("Optimized Balance TCP mode", yes(f.lb_output)),
        ("MPLS Label add", yes(f.add_mpls)),
        ("psample", yes(f.psample)),
        ("Max VLAN headers", vlan_headers.to_string()),
        ("Max MPLS depth", mpls_depth.to_string()),
        ("Recirc", yes(true)),
        ("CT state", yes(f.ct)),
        ("CT zone", yes(f.ct_zones)),
        ("CT mark", yes(f.ct)),
        ("CT label", yes(f.ct_labels)),
        ("CT state NAT", yes(f.ct)),
    ];
    text(rows.map(|(name, value)| format!("{name}: {value}\n")).concat())
}

fn flow_line(flow: &DpFlow, names: &dyn PortNames, more: bool, now: Instant) -> String {
    let (key, mask) = ((&flow.key).into(), FlowMask { bits: (&flow.mask).into() });
    let shown = match more {
        true => format!("{} {}", flow.ufid, words::full_key(&key, &mask, names)),
        false => words::masked_key(&key, &mask, names).to_string(),
    };
    let (counters, actions) = (words::flow_stats(&flow.stats, now), words::named_actions(&flow.actions, names));
    format!("{shown}, {counters}, actions:{actions}\n")
}

/// Options of both commands that dump flows, and what else was said.
struct Dump<'a> {
    more: bool,
    names: bool,
    rest: Vec<&'a str>,
}

impl<'a> Dump<'a> {
    fn of(arguments: &[&'a str]) -> Dump<'a> {
        let (mut more, mut names, mut rest) = (false, None, Vec::new());
        for word in arguments {
            match *word {
                "-m" | "--more" => more = true,
                "--names" => names = Some(true),
                "--no-names" => names = Some(false),
                other => rest.push(other),
            }
        }
        Dump { more, names: names.unwrap_or(more), rest }
    }

    fn write(&self, dp: &dyn Dpif, wanted: impl Fn(&DpFlow) -> bool, now: Instant) -> Result<String, String> {
        let flows = dp.flow_dump().map_err(|e| e.to_string())?;
        let known = Names::of(dp);
        let names: &dyn PortNames = if self.names { &known } else { &() };
        Ok(flows.iter().filter(|f| wanted(f)).map(|f| flow_line(f, names, self.more, now)).collect())
    }
}

fn dump_flows(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let dump = Dump::of(&call.arguments);
    let now = server.clock.now();
    let [name] = dump.rest.as_slice() else { return error("no such bridge") };
    let Some((bridge, dp)) = server.switch.bridge(name).zip(datapath_of(server, name)) else {
        return error("no such bridge");
    };
    let own: BTreeSet<PortNo> = bridge.ports().filter_map(|p| p.datapath).collect();
    let is_own = |flow: &DpFlow| own.contains(&PortNo(FlowKey::from(&flow.key).in_port.get()));
    match dump.write(dp, is_own, now) {
        Ok(shown) => text(shown),
        Err(e) => error(format!("dpif/dump_flows failed: {e}")),
    }
}

/// The datapath that a bridge has its ports in.
fn datapath_of<'s>(server: &'s Server, bridge: &str) -> Option<&'s dyn Dpif> {
    let kind = server.switch.bridge(bridge)?.datapath_type();
    server.switch.datapaths().find(|d| d.kind() == kind).map(|d| d.dpif())
}

/// Leaves the megaflows of all switches as they are, or has them made true again.
fn pause(server: &mut Server, paused: bool) -> Option<Reply> {
    let now = server.clock.now();
    let names: Vec<String> = server.switch.bridges().map(|b| b.name().to_string()).collect();
    for name in &names {
        server.switch.with_ofproto(name, now, |of, _| of.set_paused(paused));
    }
    if !paused {
        server.switch.revalidate(now);
    }
    text("")
}

/// Takes something away that a datapath can, or gives it back; or assumes by force what it cannot.
fn set_features(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let forced = call.argument(0) == Some("--force");
    let arguments = call.arguments.get(usize::from(forced)..).unwrap_or_default();
    let [bridge, rest @ ..] = arguments else { return error("no such bridge") };
    let Some(real) = datapath_of(server, bridge).map(|dp| dp.features()) else {
        return error(format!("{bridge}: unknown bridge"));
    };
    let [field, value] = rest else { return features(server, bridge) };
    let now = server.clock.now();
    let kind = server.switch.bridge(bridge).map(|b| b.datapath_type());
    let of_datapath = server.switch.bridges().filter(|b| Some(b.datapath_type()) == kind);
    let names: Vec<String> = of_datapath.map(|b| b.name().to_string()).collect();
    let told = server.switch.ofproto(bridge).and_then(|of| of.assumed_features());
    let wanted = match with_feature(told.unwrap_or(real), real, field, value, forced) {
        Ok(wanted) => wanted,
        Err(why) => return error(why),
    };
    if forced {
        tracing::warn!(target: "ofproto_dpif", "Enabling an unsupported feature is very dangerous");
    }
    for name in &names {
        // What goes on elsewhere in the datapath than it would now comes up again.
        server.switch.with_ofproto(name, now, |of, dp| {
            of.assume_features(wanted);
            of.purge(dp, now);
        });
    }
    text("")
}

/// Features with one of them changed, to no more than there really is; where it is `forced`, a flag to whatever is asked for.
fn with_feature(
    mut features: Features,
    real: Features,
    field: &str,
    value: &str,
    forced: bool,
) -> Result<Features, String> {
    let flag = |real: bool| match value {
        "true" if real || forced => Ok(true),
        "true" => Err(format!("Can not enable features to {field}: the datapath lacks it")),
        "false" => Ok(false),
        _ => Err("Boolean value expected".to_string()),
    };
    let number = |real: u8| match value.parse::<u8>() {
        Ok(n) if n <= real || forced => Ok(n),
        Ok(_) => Err(format!("{field}: the datapath has no more than {real}")),
        Err(_) => Err("Integer number expected".to_string()),
    };
    match field {
        "max_vlan_headers" => features.vlan_headers = number(real.vlan_headers)?,
        "max_mpls_depth" => features.mpls_depth = number(real.mpls_depth)?,
        "sample_nesting" => features.sample_nesting = number(real.sample_nesting)?,
        "clone" => features.clone = flag(real.clone)?,
        "trunc" => features.trunc = flag(real.trunc)?,
        "check_pkt_len" => features.check_pkt_len = flag(real.check_pkt_len)?,
        "ct_clear" => features.ct_clear = flag(real.ct_clear)?,
        "explicit_drop_action" => features.explicit_drop = flag(real.explicit_drop)?,
        "add_mpls" => features.add_mpls = flag(real.add_mpls)?,
        "lb_output_action" => features.lb_output = flag(real.lb_output)?,
        "tnl_push_pop" => features.native_tunnels = flag(real.native_tunnels)?,
        "psample" => features.psample = flag(real.psample)?,
        "ct_state" => features.ct = flag(real.ct)?,
        "ct_zone" => features.ct_zones = flag(real.ct_zones)?,
        "ct_label" => features.ct_labels = flag(real.ct_labels)?,
        "ct_timeout" => features.ct_timeouts = flag(real.ct_timeouts)?,
        other => return Err(format!("{other} is not a feature that can be set")),
    }
    Ok(features)
}

/// Gives a port of a datapath another number there, as one gets that is taken out and put in again.
fn change_port_number(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let [datapath, port, number] = call.arguments.as_slice() else { return error("unknown datapath") };
    let Some(number) = number.parse().ok().filter(|n| *n != 0 && *n != u32::MAX) else {
        return error("bad port number");
    };
    let now = server.clock.now();
    match server.switch.renumber_port(datapath, port, PortNo(number), now) {
        Ok(()) => text(""),
        Err(why) => error(why),
    }
}

fn revalidate(server: &mut Server, _: &Call<'_>) -> Option<Reply> {
    let now = server.clock.now();
    server.switch.revalidate(now);
    text("")
}

fn purge(server: &mut Server, _: &Call<'_>) -> Option<Reply> {
    let now = server.clock.now();
    server.switch.purge(now);
    text("")
}

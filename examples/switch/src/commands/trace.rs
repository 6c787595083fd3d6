//! `ofproto/trace`: what would become of a packet; `ofproto/trace-live`: what became of those that came.

use std::collections::BTreeMap;

use ovs_db::unixctl::{Format, Reply};
use ovs_dpif::text as words;
use ovs_ofproto::Instructions;
use ovs_ofproto::codec::check_flow;
use ovs_ofproto::pipeline::TraceRequest;
use ovs_ofproto::text::Parser;
use ovs_packet::extract::NO_ETHERTYPE;
use ovs_packet::packet::CtState;
use ovs_packet::text::{match_of_terms_with, terms};
use ovs_packet::{FlowKey, Match, OfPort, Packet, compose};

use super::datapaths::Names;
use super::{ANY, Call, Command, command, error, text};
use crate::server::Server;
use crate::vswitch::{Bridge, DatapathInfo};

/// How many packets a live trace is of unless more are asked for.
const LIVE_PACKETS: usize = 10;

pub(super) const COMMANDS: &[Command] = &[
    command(
        "ofproto/trace-packet-out",
        "[-consistent] {[dp_name] odp_flow | bridge br_flow} [OPTIONS] [-generate|packet] actions",
        2,
        ANY,
        trace_packet_out,
    ),
    command("ofproto/trace-live", "bridge br_flow [packets]", 2, 3, trace_live),
    command("ofproto/trace-live-show", "bridge", 1, 1, show_live),
    command("ofproto/trace-live-stop", "bridge", 1, 1, stop_live),
];

/// What was asked.
#[derive(Debug, Default)]
struct Asked<'a> {
    words: Vec<&'a str>,
    generate: bool,
    /// Ports of the datapath by name.
    names: bool,
    ct_next: Vec<CtState>,
    /// Actions are refused that ask for what the packet does not have.
    consistent: bool,
    payload: Option<Vec<u8>>,
}

impl<'a> Asked<'a> {
    fn of(arguments: &[&'a str]) -> Result<Asked<'a>, String> {
        let mut asked = Asked::default();
        let mut rest = arguments.iter();
        while let Some(word) = rest.next() {
            let mut value =
                |name: &str| rest.next().copied().ok_or_else(|| format!("Missing argument for option {name}"));
            match *word {
                "-generate" | "--generate" => asked.generate = true,
                "-consistent" | "--consistent" => asked.consistent = true,
                "--names" => asked.names = true,
                "--no-names" => asked.names = false,
                "--ct-next" => asked.ct_next.push(ct_state(value("--ct-next")?)?),
                "--l7" => asked.payload = Some(hex(value("--l7")?).ok_or("Invalid hex digits in l7 payload")?),
                "--l7-len" => {
                    let len: usize = value("--l7-len")?.parse().map_err(|_| "Invalid number for l7-len")?;
                    asked.payload = Some((0..len.min(0xffff)).map(|i| i as u8).collect());
                }
                option if option.starts_with("--") => return Err(format!("Invalid option {option}")),
                other => asked.words.push(other),
            }
        }
        Ok(asked)
    }
}

/// States of connection tracking by name, with commas or bars between.
fn ct_state(text: &str) -> Result<CtState, String> {
    let of = |word: &str| match word {
        "new" => Ok(CtState::NEW),
        "est" => Ok(CtState::ESTABLISHED),
        "rel" => Ok(CtState::RELATED),
        "rpl" => Ok(CtState::REPLY),
        "inv" => Ok(CtState::INVALID),
        "trk" => Ok(CtState::TRACKED),
        "snat" => Ok(CtState::SRC_NAT),
        "dnat" => Ok(CtState::DST_NAT),
        other => Err(format!("unknown ct state {other}")),
    };
    let states = text.split(['|', ',']).map(str::trim).filter(|w| !w.is_empty());
    states.map(of).try_fold(CtState::TRACKED, |all, one| Ok(all | one?))
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    (rest.is_empty() && !pairs.is_empty()).then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

pub(super) fn trace(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    match Asked::of(&call.arguments).and_then(|asked| traced(server, asked, None, call.format)) {
        Ok(reply) => Some(reply),
        Err(why) => error(why),
    }
}

/// The same for a packet that a controller sends with actions, which come last.
fn trace_packet_out(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let [arguments @ .., actions] = call.arguments.as_slice() else { return error("Syntax error") };
    match Asked::of(arguments).and_then(|asked| traced(server, asked, Some(actions), call.format)) {
        Ok(reply) => Some(reply),
        Err(why) => error(why),
    }
}

/// Bytes of a packet, which are enough for an Ethernet header.
fn packet_bytes(text: &str) -> Result<Vec<u8>, String> {
    let bytes = hex(text).ok_or("Trailing garbage in packet data")?;
    if bytes.len() < 14 { Err("Packet data too short for Ethernet".into()) } else { Ok(bytes) }
}

fn no_bridge(flow: &str) -> String {
    format!("syntax error at {flow} (or the bridge name was omitted)")
}

/// Whether a packet is in the words of a datapath: `eth(src=...)`, and not `packet_type=(1,0x894f)`.
fn is_of_datapath(flow: &str) -> bool {
    let is_attribute = |at: usize| flow[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    flow.match_indices('(').any(|(at, _)| is_attribute(at)) || flow.starts_with("ufid:")
}

fn traced(server: &mut Server, asked: Asked<'_>, actions: Option<&str>, format: Format) -> Result<Reply, String> {
    let mut words = asked.words.as_slice();
    // A packet's bytes come last: after a name and a flow, or after a flow that needs no name.
    let packet = match words {
        [before @ .., last] if before.len() == 2 || matches!(before, [flow] if is_of_datapath(flow)) => {
            words = before;
            Some(packet_bytes(last)?)
        }
        _ => None,
    };
    let (bridge, key) = match words {
        [name, flow] if is_of_datapath(flow) => {
            let datapath = server.switch.datapaths().find(|d| d.full_name() == *name || d.name() == *name);
            datapath_key(server, datapath.ok_or("Cannot find the datapath")?, flow)?
        }
        [flow, _] if flow.contains('=') && server.switch.bridge(flow).is_none() => return Err(no_bridge(flow)),
        [name, flow] => {
            let bridge = server.switch.bridge(name).ok_or_else(|| format!("{name}: unknown bridge"))?;
            (bridge, openflow_key(server, bridge, flow)?)
        }
        [flow] if is_of_datapath(flow) => {
            let (only, more) = (server.switch.datapaths().next(), server.switch.datapaths().nth(1));
            let datapath = only.filter(|_| more.is_none());
            datapath_key(
                server,
                datapath.ok_or("Must specify datapath name, there is more than one type of datapath")?,
                flow,
            )?
        }
        [flow] => return Err(no_bridge(flow)),
        _ => return Err("Syntax error".to_string()),
    };
    let ports: BTreeMap<String, OfPort> = bridge.ports().map(|p| (p.name.clone(), p.number)).collect();
    let actions = actions.map(|text| Parser::new(&ports).actions(text).map_err(|e| e.to_string())).transpose()?;
    if asked.consistent {
        let actions = actions.as_ref().ok_or("Invalid option --consistent")?;
        let matching = Match::exact_non_zero(key);
        check_flow(&matching, 0, &Instructions::apply(actions.clone())).map_err(|e| format!("Bad actions: {e}"))?;
    }
    let name = bridge.name().to_string();
    let payload = asked.payload.unwrap_or_default();
    let request = match (packet, asked.generate) {
        (Some(bytes), _) => {
            let mut request = TraceRequest::packet(Packet::from_slice(&bytes), OfPort(key.in_port.get()));
            // What the packet itself does not tell.
            request.key.pkt_mark = key.pkt_mark;
            request.key.skb_priority = key.skb_priority;
            request
        }
        (None, generate) => {
            let mut request = TraceRequest::key(key);
            request.packet = (generate || !payload.is_empty()).then(|| compose::compose(&key, &payload));
            request
        }
    };
    let mut request = request.with_ct_next(asked.ct_next);
    (request.actions, request.names) = (actions, asked.names);
    let now = server.clock.now();
    // A packet in words alone teaches nothing.
    let trace = server.switch.trace(&name, &request, request.packet.is_some(), now);
    let trace = trace.ok_or("Unknown bridge")?;
    Ok(match format {
        Format::Json => match ovs_db::json::parse(trace.to_json().as_bytes()) {
            Ok(json) => Reply::Json(json),
            Err(e) => Reply::Error(e.to_string()),
        },
        Format::Text if asked.names => {
            let kind = server.switch.bridge(&name).map(Bridge::datapath_type);
            let datapath = server.switch.datapaths().find(|d| Some(d.kind()) == kind);
            let of_datapath = datapath.map(|d| Names::of(d.dpif())).unwrap_or_default();
            Reply::Text(trace.named(&ports, &of_datapath).to_string())
        }
        Format::Text => Reply::Text(trace.to_string()),
    })
}

/// A packet in the words of OpenFlow.
fn openflow_key(server: &Server, bridge: &Bridge, flow: &str) -> Result<FlowKey, String> {
    let of = server.switch.ofproto(bridge.name()).ok_or("Unknown bridge")?;
    let mut key = of.key_of(&openflow_match(bridge, flow)?).map_err(|e| e.to_string())?;
    if key.in_port == 0 {
        // What comes in by no port that is named.
        key.in_port = OfPort::ANY.0.into();
    }
    Ok(key)
}

/// Packets in the words of OpenFlow.
fn openflow_match(bridge: &Bridge, flow: &str) -> Result<Match, String> {
    let ports: BTreeMap<String, OfPort> = bridge.ports().map(|p| (p.name.clone(), p.number)).collect();
    let terms = terms(flow).map_err(|e| e.to_string())?;
    match_of_terms_with(&terms, &ports).map(|m| m.with_default_packet_type()).map_err(|e| e.to_string())
}

/// A packet in the words of a datapath, and the bridge that it comes to.
fn datapath_key<'s>(
    server: &'s Server,
    datapath: DatapathInfo<'_>,
    flow: &str,
) -> Result<(&'s Bridge, FlowKey), String> {
    // What dumps tell before a megaflow's key.
    let flow = match flow.strip_prefix("ufid:") {
        Some(rest) => {
            rest.trim_start_matches(|c: char| c.is_ascii_hexdigit() || c == '-').trim_start_matches([',', ' '])
        }
        None => flow,
    };
    let (mut key, _) = words::parse_key(flow, &Names::of(datapath.dpif())).map_err(|e| e.to_string())?;
    if key.eth_type == 0 && key.packet_type == 0 {
        key.eth_type = NO_ETHERTYPE.into();
    }
    let number = key.in_port.get();
    let of_datapath = || server.switch.bridges().filter(|b| b.datapath_type() == datapath.kind());
    let id = key.recirc_id.get();
    if id != 0 && !of_datapath().any(|b| server.switch.ofproto(b.name()).is_some_and(|of| of.is_recirculated(id))) {
        return Err(format!("no recirculation data for recirc_id {id:#x}"));
    }
    let is_tunnelled = key.tun_dst != 0 || key.tun_ipv6_dst != 0;
    let found = server.switch.ingress(datapath.kind(), &key).ok_or_else(|| match is_tunnelled {
        true => "no OpenFlow tunnel port for this packet".to_string(),
        false => format!("no OpenFlow port for datapath port {number}"),
    });
    let (bridge, port) = found?;
    key.in_port = port.0.into();
    Ok((bridge, key))
}

/// Has the next packets of a kind traced as they come.
fn trace_live(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let [name, flow, count @ ..] = call.arguments.as_slice() else { return error("Syntax error") };
    let packets = match count.first().map(|n| n.parse::<usize>()) {
        None => LIVE_PACKETS,
        Some(Ok(n)) => n,
        Some(Err(_)) => return error("Invalid number of packets"),
    };
    let Some(bridge) = server.switch.bridge(name) else { return error("Unknown bridge") };
    let matching = match openflow_match(bridge, flow) {
        Ok(m) => m,
        Err(why) => return error(why),
    };
    let now = server.clock.now();
    match server.switch.with_ofproto(name, now, |of, dp| of.trace_live(dp, &matching, packets, now)) {
        Some(Ok(())) => text(format!("waiting for {packets} packets: see ofproto/trace-live-show\n")),
        Some(Err(e)) => error(e.to_string()),
        None => error("Unknown bridge"),
    }
}

fn show_live(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let Some(switch) = call.argument(0).and_then(|name| server.switch.ofproto(name)) else {
        return error("Unknown bridge");
    };
    let Some(live) = switch.live_trace() else { return error("nothing is traced: see ofproto/trace-live") };
    match call.format {
        Format::Json => match ovs_db::json::parse(live.to_json().as_bytes()) {
            Ok(json) => Some(Reply::Json(json)),
            Err(e) => error(e.to_string()),
        },
        Format::Text => text(live.to_string()),
    }
}

fn stop_live(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let now = server.clock.now();
    match call.argument(0).and_then(|name| server.switch.with_ofproto(name, now, |of, _| of.end_live_trace())) {
        Some(()) => text(""),
        None => error("Unknown bridge"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_words_a_packet_is_in() {
        assert!(["in_port(1),eth()", "ufid:1", "recirc_id(0x1)"].into_iter().all(is_of_datapath));
        assert!(!["in_port=1,ip", "packet_type=(1,0x894f),in_port=4"].into_iter().any(is_of_datapath));
    }

    #[test]
    fn what_can_be_asked() {
        let asked = Asked::of(&["br0", "--ct-next", "est,rpl", "in_port=1", "-generate"]).unwrap();
        assert_eq!((asked.words, asked.generate), (vec!["br0", "in_port=1"], true));
        assert_eq!(asked.ct_next, [CtState::TRACKED | CtState::ESTABLISHED | CtState::REPLY]);
        for bad in [&["--ct-next"][..], &["--ct-next", "odd"], &["--l7", "xyz"], &["--odd"]] {
            assert!(Asked::of(bad).is_err());
        }
    }
}

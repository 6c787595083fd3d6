//! Commands to dummy devices (`netdev-dummy/*`).

use std::net::IpAddr;

use ovs_dpif::text as words;
use ovs_packet::extract::{ETH_TYPE_IPV4, ETH_TYPE_IPV6, IP_PROTO_ICMP, IP_PROTO_ICMPV6, IP_PROTO_TCP, IP_PROTO_UDP};
use ovs_packet::{FlowKey, Packet, compose};

use super::{ANY, Call, Command, command, error, text};
use crate::server::Server;
use crate::vswitch::Devices;
use ovs_db::unixctl::Reply;

pub(super) const COMMANDS: &[Command] = &[
    command("netdev-dummy/receive", "name [--qid queue_id] packet|flow [--len packet_len]", 2, ANY, receive),
    command("netdev-dummy/set-admin-state", "[netdev] up|down", 1, 2, set_admin_state),
    command("netdev-dummy/conn-state", "[netdev]", 0, 1, conn_state),
    command("netdev-dummy/ip4addr", "[netdev] ipaddr/mask-prefix-len", 2, 2, |s, c| add_address(s, c, true)),
    command("netdev-dummy/ip6addr", "[netdev] ip6addr", 2, 2, |s, c| add_address(s, c, false)),
];

/// Bytes of an Ethernet header, and of the shortest frame without its check sequence.
const ETH_HEADER: usize = 14;
const ETH_MIN: usize = 60;

/// Bytes of payload of a packet that is described by its flow.
const PAYLOAD: usize = 64;

/// The longest frame that is made.
const MAX_LEN: usize = 65_535;

fn receive(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let Some(port) = server.dummies.get(call.argument(0)?) else { return error("no such dummy netdev") };
    port.set_now(server.clock.now());
    let mut rest = &call.arguments[1..];
    let mut queue = 0;
    if let [option, number, others @ ..] = rest
        && *option == "--qid"
        && !others.is_empty()
    {
        match number.parse() {
            Ok(n) if n < port.queues() => queue = n,
            _ => return error("bad rx queue id."),
        }
        rest = others;
    }
    while let Some((what, others)) = rest.split_first() {
        rest = others;
        let packet = match hex(what) {
            Some(packet) => packet,
            None => {
                let mut len = 0;
                if let [option, number, others @ ..] = rest
                    && *option == "--len"
                {
                    match number.parse() {
                        Ok(n) if (ETH_MIN..=MAX_LEN).contains(&n) => len = n,
                        _ => return error("too small packet len"),
                    }
                    rest = others;
                }
                match described(what, len) {
                    Ok(packet) => packet,
                    Err(why) => return error(why),
                }
            }
        };
        port.receive(packet, queue);
    }
    text("")
}

/// A frame in hexadecimal digits; nothing if it is not one.
fn hex(text: &str) -> Option<Packet> {
    let digits: Vec<u8> =
        text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    (rest.is_empty() && bytes.len() >= ETH_HEADER).then(|| Packet::from_slice(&bytes))
}

/// Whether a packet that a flow describes gets a payload: of TCP, where it neither opens nor ends a connection, of UDP,
/// and of echoes.
fn has_payload(key: &FlowKey) -> bool {
    const OPENS_OR_ENDS: u16 = 0b111;
    let code = key.tp_dst.get();
    match (key.eth_type.get(), key.nw_proto, key.tp_src.get()) {
        (ETH_TYPE_IPV4 | ETH_TYPE_IPV6, IP_PROTO_TCP, _) => key.tcp_flags.get() & OPENS_OR_ENDS == 0,
        (ETH_TYPE_IPV4 | ETH_TYPE_IPV6, IP_PROTO_UDP, _) => true,
        (ETH_TYPE_IPV4, IP_PROTO_ICMP, 0 | 8) | (ETH_TYPE_IPV6, IP_PROTO_ICMPV6, 128 | 129) => code == 0,
        _ => false,
    }
}

/// A frame that is described by a datapath flow; with a length of 0, of the usual length.
fn described(flow: &str, len: usize) -> Result<Packet, String> {
    // A flow may go over several lines.
    let flow = flow.split_whitespace().collect::<String>();
    let (mut key, mask) = words::parse_key(&flow, &()).map_err(|e| format!("syntax error in {flow}: {e}"))?;
    if mask.bits.eth_type.get() == 0 {
        // Headers of IP say what they are.
        let has = |header: &str| flow.split(',').any(|part| part.trim_start().starts_with(header));
        let implied = if has("ipv4(") {
            0x0800
        } else if has("ipv6(") {
            0x86dd
        } else {
            0
        };
        key.eth_type = implied.into();
    }
    let payload: Vec<u8> = (0..MAX_LEN).map(|i| i as u8).collect();
    if len == 0 {
        let payload = if has_payload(&key) { &payload[..PAYLOAD] } else { &[] };
        return Ok(compose::compose(&key, payload));
    }
    let bare = compose::compose(&key, &[]).len();
    let Some(missing) = len.checked_sub(bare) else {
        return Err(format!("a packet like this has {bare} bytes at least"));
    };
    let mut packet = compose::compose(&key, &vec![0; missing]);
    // Where nothing goes behind the headers, the frame is padded.
    let padding = len.saturating_sub(packet.len());
    packet.extend(&vec![0; padding]);
    Ok(packet)
}

fn set_admin_state(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let up = match call.arguments.last()?.to_ascii_lowercase().as_str() {
        "up" => true,
        "down" => false,
        _ => return error("Invalid Admin State"),
    };
    let mut dummies = server.dummies.clone();
    let names = if call.arguments.len() > 1 {
        let name = call.argument(0)?;
        if dummies.get(name).is_none() {
            return error("Unknown Dummy Interface");
        }
        vec![name.to_string()]
    } else {
        dummies.all().into_iter().map(|(name, _)| name).collect()
    };
    for name in names {
        if let Err(why) = dummies.set_up(&name, up) {
            return error(why);
        }
    }
    server.state_changed();
    text("OK")
}

fn conn_state(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let word = |state: Option<bool>| match state {
        Some(true) => "connected",
        Some(false) => "disconnected",
        None => "unknown",
    };
    if let Some(name) = call.argument(0) {
        return text(format!("{name}: {}\n", word(server.links.is_connected(name))));
    }
    let lines = server.links.names().map(|name| format!("{name}: {}\n", word(server.links.is_connected(name))));
    text(lines.collect::<String>())
}

fn add_address(server: &mut Server, call: &Call<'_>, is_v4: bool) -> Option<Reply> {
    let Some(port) = server.dummies.get(call.argument(0)?) else { return error("Unknown Dummy Interface") };
    let written = call.argument(1)?;
    let (address, prefix) = written.split_once('/').map_or((written, None), |(a, p)| (a, Some(p)));
    let most = if is_v4 { 32 } else { 128 };
    let parsed = address.parse::<IpAddr>().ok().filter(|a| a.is_ipv4() == is_v4);
    let length = prefix.map_or(Some(most), |p| p.parse::<u8>().ok().filter(|p| *p <= most));
    match (parsed, length) {
        (Some(address), Some(length)) => {
            port.add_address(address, length);
            let mac = port.address();
            server.switch.underlay().add_address(call.argument(0)?, mac, address, length);
            text("OK")
        }
        _ => error(format!("{written}: invalid IP address")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_by_digits_and_by_flows() {
        assert_eq!(hex("ffffffffffff 505400000009 0806").unwrap().len(), 14);
        assert!(hex("ffff").is_none() && hex("fffffffffffff50540000000908").is_none() && hex("in_port(1)").is_none());
        let udp = "in_port(1),eth(src=50:54:00:00:00:09,dst=50:54:00:00:00:0a),eth_type(0x0800),\
                   ipv4(src=10.0.0.2,dst=10.0.0.1,proto=17,tos=0,ttl=64,frag=no),udp(src=1,dst=2)";
        assert_eq!(described(udp, 0).unwrap().len(), 106);
        assert_eq!(
            described(&udp.replace("eth_type(0x0800),", ""), 0).unwrap().data(),
            described(udp, 0).unwrap().data()
        );
        assert_eq!(described(udp, 200).unwrap().len(), 200);
        let arp = "in_port(1),eth(src=50:54:00:00:00:05,dst=ff:ff:ff:ff:ff:ff),eth_type(0x0806),\
                   arp(sip=10.0.0.1,tip=10.0.0.2,op=1,sha=50:54:00:00:00:05,tha=00:00:00:00:00:00)";
        assert_eq!((described(arp, 0).unwrap().len(), described(arp, 60).unwrap().len()), (42, 60));
        assert!(described("in_port(1),nonsense()", 0).is_err());
    }
}

//! A stateless firewall on ovs-classifier alone: a key of your own making, rules with priorities, and for each verdict
//! the bits of the packet that it depended on.
//!
//! The classifier knows no packet. Here a key is a five-tuple in three words, and each word is a *stage*: addresses
//! are looked at before ports. A verdict holds for every packet that agrees on the bits it depended on, so those bits
//! and the verdict could go into a cache: that is a megaflow.
//!
//! ```sh
//! cargo run -p ovs-embed --bin firewall
//! cargo run -p ovs-embed --bin firewall -- 'allow tcp any 192.0.2.0/24 443; deny any any any any' \
//!     'tcp 198.51.100.7:40000 192.0.2.80:443'
//! ```
//!
//! A rule is `VERDICT PROTOCOL SOURCE[/LENGTH] DESTINATION[/LENGTH] PORT`, with `any` for what does not matter; the
//! first rule that matches decides. What none matches is denied.

use std::net::Ipv4Addr;
use std::process::ExitCode;

use ovs_classifier::{Classifier, Layout, Pattern};

/// Source; destination; protocol, source port and destination port.
type Key = [u64; 3];
const LAYOUT: Layout<3> = Layout::new([0, 1, 2]).expect("stages are 0 to 3");

const RULES: &str = "deny any 203.0.113.0/24 any any; allow tcp any 192.0.2.0/24 443; allow udp any 192.0.2.53 53";
const PACKETS: [&str; 4] = [
    "tcp 203.0.113.9:40000 192.0.2.80:443",
    "tcp 198.51.100.7:40000 192.0.2.80:443",
    "udp 198.51.100.7:40000 192.0.2.53:53",
    "tcp 198.51.100.7:40000 192.0.2.80:22",
];

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let rules = args.next().unwrap_or_else(|| RULES.into());
    let mut packets: Vec<String> = args.collect();
    if packets.is_empty() {
        packets = PACKETS.map(String::from).into();
    }
    match run(&rules, &packets) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("firewall: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(rules: &str, packets: &[String]) -> Result<(), String> {
    let mut firewall = Classifier::new(LAYOUT);
    let texts = rules.split([';', '\n']).map(str::trim).filter(|text| !text.is_empty());
    for (priority, text) in (i32::MIN..0).rev().zip(texts) {
        let (pattern, verdict) = rule(text).ok_or_else(|| format!("no rule: {text:?}"))?;
        // A later rule never replaces an earlier one: its priority is another.
        firewall.insert(&pattern, priority, (verdict, text)).map_err(|e| e.to_string())?;
    }
    for text in packets {
        let key = packet(text).ok_or_else(|| format!("no packet: {text:?}"))?;
        let mut wildcards = [0; 3];
        let rule = firewall.lookup_tracked(&key, &mut wildcards).map(|rule| *rule.payload());
        let (verdict, why) = rule.unwrap_or(("deny", "no rule matches"));
        println!("{text}: {verdict} ({why})\n    depended on: {}", depended(key, wildcards));
    }
    Ok(())
}

/// `VERDICT PROTOCOL SOURCE DESTINATION PORT`.
fn rule(text: &str) -> Option<(Pattern<3>, &str)> {
    let words: Vec<_> = text.split_whitespace().collect();
    let &[verdict @ ("allow" | "deny"), protocol, source, destination, port] = words.as_slice() else { return None };
    let ((s, s_mask), (d, d_mask)) = (prefix(source)?, prefix(destination)?);
    let (proto, proto_mask) = if protocol == "any" { (0, 0) } else { (number(protocol)?, 0xff) };
    let (port, port_mask) = if port == "any" { (0, 0) } else { (port.parse::<u16>().ok()?.into(), 0xffff) };
    let key = [s, d, proto << 32 | port];
    Some((Pattern::new(key, [s_mask, d_mask, proto_mask << 32 | port_mask]), verdict))
}

/// `PROTOCOL SOURCE:PORT DESTINATION:PORT`.
fn packet(text: &str) -> Option<Key> {
    let words: Vec<_> = text.split_whitespace().collect();
    let &[protocol, source, destination] = words.as_slice() else { return None };
    let end = |text: &str| text.parse::<std::net::SocketAddrV4>().ok();
    let (source, destination) = (end(source)?, end(destination)?);
    let ports = u64::from(source.port()) << 16 | u64::from(destination.port());
    Some([source.ip().to_bits().into(), destination.ip().to_bits().into(), number(protocol)? << 32 | ports])
}

/// An address and its mask.
fn prefix(text: &str) -> Option<(u64, u64)> {
    if text == "any" {
        return Some((0, 0));
    }
    let (address, length) = text.split_once('/').unwrap_or((text, "32"));
    let length = length.parse::<u32>().ok().filter(|length| *length <= 32)?;
    let mask = u64::from(u32::MAX) << (32 - length) & u64::from(u32::MAX);
    Some((address.parse::<Ipv4Addr>().ok()?.to_bits().into(), mask))
}

fn number(protocol: &str) -> Option<u64> {
    match protocol {
        "icmp" => Some(1),
        "tcp" => Some(6),
        "udp" => Some(17),
        other => other.parse::<u8>().ok().map(u64::from),
    }
}

/// The bits of the key that are in the mask. All masks of addresses here are prefixes, so what is read of one is too.
fn depended(key: Key, mask: Key) -> String {
    let address = |word: usize| {
        let (address, length) = (Ipv4Addr::from_bits((key[word] & mask[word]) as u32), mask[word].count_ones());
        (length > 0).then(|| format!("{address}/{length}"))
    };
    let number = |shift: u32, bits: u64| (mask[2] >> shift & bits != 0).then(|| (key[2] >> shift & bits).to_string());
    let parts = [
        ("source", address(0)),
        ("destination", address(1)),
        ("protocol", number(32, 0xff)),
        ("source port", number(16, 0xffff)),
        ("port", number(0, 0xffff)),
    ];
    let read: Vec<_> = parts.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value?))).collect();
    if read.is_empty() { "nothing".into() } else { read.join(", ") }
}

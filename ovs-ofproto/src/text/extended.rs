//! Actions of the extensions whose arguments have a language of their own.

use std::net::IpAddr;

use ovs_packet::OfPort;
use ovs_packet::field::Value;
use ovs_packet::text::{PortNames, number, resolve_port};

use super::error::{ParseFlowError, Problem};
use super::flow::number_at;
use super::lexer::{Item, items};
use super::print::ENCAPS;
use super::subfield;
use crate::action::{
    Action, Bundle, BundleAlgorithm, EncapProperty, HashFields, Learn, LearnFlags, LearnSource, LearnSpec, LearnTarget,
    Multipath, MultipathAlgorithm, Nat, NatFlags, NatRange, Observation, Sample, SampleDirection, Subfield,
};

type Parsed<T> = Result<T, ParseFlowError>;

/// The names that [`parse`] knows.
const KNOWN: &[&str] = &[
    "bundle",
    "bundle_load",
    "conjunction",
    "debug_recirc",
    "debug_slow",
    "dec_mpls_ttl",
    "dec_nsh_ttl",
    "decap",
    "delete_field",
    "encap",
    "enqueue",
    "exit",
    "fin_timeout",
    "group",
    "learn",
    "meter",
    "move",
    "multipath",
    "note",
    "pop",
    "pop_mpls",
    "pop_queue",
    "push",
    "push_mpls",
    "sample",
    "set_queue",
    "set_tunnel",
    "set_tunnel64",
];

pub(super) fn is_known(name: &str) -> bool {
    KNOWN.contains(&name)
}

fn bad<T>(at: usize, expected: &'static str, found: &str) -> Parsed<T> {
    Err(ParseFlowError::expected(at, expected, found))
}

fn u16_at(text: &str, at: usize) -> Parsed<u16> {
    number_at(text, at, "a number from 0 to 65535", 0xffff)
}

fn u32_at(text: &str, at: usize) -> Parsed<u32> {
    number_at(text, at, "a number of 32 bits", u32::MAX.into())
}

fn u64_at(text: &str, at: usize) -> Parsed<u64> {
    number_at(text, at, "a number of 64 bits", u64::MAX.into())
}

fn port(text: &str, at: usize, ports: &dyn PortNames) -> Parsed<OfPort> {
    resolve_port(text, ports).ok_or_else(|| ParseFlowError::expected(at, "a port", text))
}

fn bits(text: &str, at: usize) -> Parsed<Subfield> {
    subfield::parse(text).map_err(|e| e.moved(at))
}

fn target(text: &str, at: usize) -> Parsed<Subfield> {
    let s = bits(text, at)?;
    if s.check_target().is_ok() { Ok(s) } else { bad(at, "bits of a field that can be set", text) }
}

/// Bytes in hexadecimal with dots between them.
pub(super) fn dotted(text: &str, at: usize) -> Parsed<Vec<u8>> {
    let digits: Vec<char> = text.chars().filter(|c| *c != '.').collect();
    let pairs = digits.chunks(2).map(|pair| {
        let text: String = pair.iter().collect();
        u8::from_str_radix(&text, 16).ok().filter(|_| pair.len() == 2)
    });
    pairs.collect::<Option<_>>().ok_or_else(|| ParseFlowError::expected(at, "pairs of hexadecimal digits", text))
}

/// Parts between commas, with their places.
fn parts(text: &str) -> Vec<(&str, usize)> {
    let mut at = 0;
    text.split(',')
        .map(|part| {
            let here = at + (part.len() - part.trim_start().len());
            at += part.len() + 1;
            (part.trim(), here)
        })
        .collect()
}

/// Reads the argument of an action; places are those in the argument.
pub(super) fn parse(item: &Item<'_>, ports: &dyn PortNames) -> Parsed<Action> {
    let arg = item.arg.unwrap_or_default();
    let ethertype = || number_at(arg, 0, "an Ethertype", 0xffff);
    match item.name {
        "group" => u32_at(arg, 0).map(Action::Group),
        "meter" => u32_at(arg, 0).map(Action::Meter),
        "set_queue" => u32_at(arg, 0).map(Action::SetQueue),
        "pop_queue" => Ok(Action::PopQueue),
        "exit" => Ok(Action::Exit),
        "dec_mpls_ttl" => Ok(Action::DecMplsTtl),
        "dec_nsh_ttl" => Ok(Action::DecNshTtl),
        "debug_recirc" => Ok(Action::DebugRecirc),
        "debug_slow" => Ok(Action::DebugSlow),
        "push_mpls" => match ethertype()? {
            t @ (0x8847 | 0x8848) => Ok(Action::PushMpls(t)),
            _ => bad(0, "0x8847 or 0x8848", arg),
        },
        "pop_mpls" => ethertype().map(Action::PopMpls),
        "set_tunnel" | "set_tunnel64" => {
            let id = u64_at(arg, 0)?;
            Ok(Action::SetTunnel { id, wide: item.name.ends_with("64") || id > u64::from(u32::MAX) })
        }
        "push" => bits(arg, 0).map(Action::Push),
        "pop" => target(arg, 0).map(Action::Pop),
        "move" => {
            let (src, dst) = arg.split_once("->").ok_or_else(|| ParseFlowError::expected(0, "SOURCE->TARGET", arg))?;
            let (src, dst) = (bits(src, 0)?, target(dst, src.len() + 2)?);
            match src.bits == dst.bits {
                true => Ok(Action::Move { src, dst, onf: false }),
                false => bad(0, "as many bits on both sides", arg),
            }
        }
        "note" => {
            let mut bytes = dotted(arg, 0)?;
            // As on the wire, where an action's length is a multiple of 8.
            while bytes.len() % 8 != 6 {
                bytes.push(0);
            }
            Ok(Action::Note(bytes))
        }
        "delete_field" => {
            let field = subfield::field(arg).filter(|f| f.tun_metadata_index().is_some());
            field.map(Action::DeleteField).ok_or_else(|| ParseFlowError::expected(0, "a tunnel option", arg))
        }
        "enqueue" => {
            let (p, queue) =
                arg.split_once([':', ',']).ok_or_else(|| ParseFlowError::expected(0, "PORT:QUEUE", arg))?;
            Ok(Action::Enqueue { port: port(p.trim(), 0, ports)?, queue: u32_at(queue.trim(), p.len() + 1)? })
        }
        "fin_timeout" => {
            let (mut idle, mut hard) = (0, 0);
            for part in items(arg)? {
                match part.name {
                    "idle_timeout" => idle = u16_at(part.arg.unwrap_or_default(), part.arg_at)?,
                    "hard_timeout" => hard = u16_at(part.arg.unwrap_or_default(), part.arg_at)?,
                    name => return bad(part.at, "idle_timeout=N or hard_timeout=N", name),
                }
            }
            Ok(Action::FinTimeout { idle, hard })
        }
        "conjunction" => {
            let expected = "ID, K/N";
            let (id, rest) = arg.split_once(',').ok_or_else(|| ParseFlowError::expected(0, expected, arg))?;
            let (k, n) = rest.split_once('/').ok_or_else(|| ParseFlowError::expected(0, expected, arg))?;
            let k: u8 = number_at(k.trim(), 0, "a clause from 1 to 64", 64)?;
            let n: u8 = number_at(n.trim(), 0, "2 to 64 clauses", 64)?;
            if n < 2 || k < 1 || k > n {
                return bad(0, "a clause of 2 to 64", arg);
            }
            Ok(Action::Conjunction { id: u32_at(id.trim(), 0)?, clause: k - 1, clauses: n })
        }
        "multipath" => multipath(arg),
        "bundle" | "bundle_load" => bundle(arg, item.name == "bundle_load", ports),
        "learn" => learn(arg),
        "sample" => sample(arg, ports),
        "encap" => encap(arg),
        "decap" => decap(arg),
        name => Err(ParseFlowError { at: 0, problem: Problem::UnknownAction(name.to_string()) }),
    }
}

/// `LENGTH)->BIT`, which the lexer cuts where it should not: the argument is the length, the rest an item of its own
/// only with white space.
pub(super) fn check_packet_larger(item: &Item<'_>) -> Parsed<Action> {
    let arg = item.arg.unwrap_or_default();
    let (length, dst) =
        arg.split_once(")->").ok_or_else(|| ParseFlowError::expected(item.arg_at, "LENGTH)->BIT", arg))?;
    let dst = target(dst, item.arg_at + length.len() + 3)?;
    if dst.bits != 1 {
        return bad(item.arg_at, "one bit", arg);
    }
    Ok(Action::CheckPacketLarger { length: u16_at(length, item.arg_at)?, dst })
}

pub(super) fn output_truncated(arg: &str, ports: &dyn PortNames) -> Parsed<Action> {
    let (mut to, mut max_len) = (None, None);
    for part in items(arg)? {
        let text = part.arg.unwrap_or_default();
        match part.name {
            "port" => to = Some(port(text, part.arg_at, ports)?),
            "max_len" => max_len = Some(u32_at(text, part.arg_at)?),
            name => return bad(part.at, "port=PORT,max_len=BYTES", name),
        }
    }
    match (to, max_len) {
        (Some(port), Some(max_len @ 14..)) => Ok(Action::OutputTruncated { port, max_len }),
        _ => bad(0, "port=PORT,max_len=BYTES with 14 bytes at least", arg),
    }
}

fn multipath(arg: &str) -> Parsed<Action> {
    let all = parts(arg);
    let [(fields, _), (basis, basis_at), (algorithm, _), (links, links_at), (number, number_at), (dst, dst_at)] =
        all[..]
    else {
        return bad(0, "FIELDS,BASIS,ALGORITHM,LINKS,ARG,TARGET", arg);
    };
    let fields = HashFields::by_word(fields).ok_or_else(|| ParseFlowError::expected(0, "known fields", fields))?;
    let algorithm = MultipathAlgorithm::by_word(algorithm);
    let algorithm = algorithm.ok_or_else(|| ParseFlowError::expected(0, "a known algorithm", arg))?;
    let links: u32 = u32_at(links, links_at)?;
    let dst_bits = target(dst, dst_at)?;
    let room = if dst_bits.bits >= 16 { 0x1_0000 } else { 1u32 << dst_bits.bits };
    let max_link = links.checked_sub(1).filter(|_| links <= room).and_then(|n| u16::try_from(n).ok());
    let Some(max_link) = max_link else { return bad(links_at, "links that the bits can count", arg) };
    Ok(Action::Multipath(Box::new(Multipath {
        fields,
        basis: u16_at(basis, basis_at)?,
        algorithm,
        max_link,
        arg: u32_at(number, number_at)?,
        dst: dst_bits,
    })))
}

fn bundle(arg: &str, load: bool, ports: &dyn PortNames) -> Parsed<Action> {
    let expected = "FIELDS,BASIS,ALGORITHM,ofport,members:PORT,...";
    let (head, members) = ["members:", "slaves:", "members=", "slaves="]
        .into_iter()
        .find_map(|word| arg.split_once(word))
        .ok_or_else(|| ParseFlowError::expected(0, expected, arg))?;
    let head_parts = parts(head.trim_end().trim_end_matches(','));
    let mut head = head_parts.iter();
    let mut next = || head.next().copied().ok_or_else(|| ParseFlowError::expected(0, expected, arg));
    let (fields, basis, algorithm, kind) = (next()?, next()?, next()?, next()?);
    let dst = if load { Some(next()?) } else { None };
    let wrong = |at, found: &str| ParseFlowError::expected(at, expected, found);
    if kind.0 != "ofport" {
        return Err(wrong(kind.1, kind.0));
    }
    let dst = match dst {
        Some((text, at)) => Some(target(text, at)?),
        None => None,
    };
    let members = members.split([',', ' ']).filter(|m| !m.is_empty()).map(|m| port(m, 0, ports));
    Ok(Action::Bundle(Box::new(Bundle {
        fields: HashFields::by_word(fields.0).ok_or_else(|| wrong(fields.1, fields.0))?,
        basis: u16_at(basis.0, basis.1)?,
        algorithm: BundleAlgorithm::by_word(algorithm.0).ok_or_else(|| wrong(algorithm.1, algorithm.0))?,
        dst,
        members: members.collect::<Parsed<_>>()?,
    })))
}

/// The low bits of a value as bytes.
fn immediate(value: u128, bits: u16) -> LearnSource {
    let skip = 16usize.saturating_sub(bits.div_ceil(8).into());
    LearnSource::Immediate(value.to_be_bytes().get(skip..).unwrap_or_default().to_vec())
}

fn learn(arg: &str) -> Parsed<Action> {
    let mut l = Learn::default();
    for part in items(arg)? {
        let (at, text) = (part.arg_at, part.arg.unwrap_or_default());
        match part.name {
            "table" => l.table = number_at(text, at, "a table from 0 to 254", 254)?,
            "priority" => l.priority = u16_at(text, at)?,
            "idle_timeout" => l.idle_timeout = u16_at(text, at)?,
            "hard_timeout" => l.hard_timeout = u16_at(text, at)?,
            "fin_idle_timeout" => l.fin_idle_timeout = u16_at(text, at)?,
            "fin_hard_timeout" => l.fin_hard_timeout = u16_at(text, at)?,
            "cookie" => l.cookie = u64_at(text, at)?,
            "send_flow_rem" => l.flags |= LearnFlags::SEND_FLOW_REM,
            "delete_learned" => l.flags |= LearnFlags::DELETE_LEARNED,
            "limit" => l.limit = u32_at(text, at)?,
            "result_dst" => {
                let result = target(text, at)?;
                if result.bits != 1 {
                    return bad(at, "one bit", text);
                }
                l.flags |= LearnFlags::WRITE_RESULT;
                l.result = Some(result);
            }
            "load" => {
                let (src, dst) =
                    text.split_once("->").ok_or_else(|| ParseFlowError::expected(at, "SOURCE->TARGET", text))?;
                let dst = target(dst, at + src.len() + 2)?;
                let source = match number(src) {
                    Some(value) if value & !dst.ones() == 0 => immediate(value, dst.bits),
                    Some(_) => return bad(at, "a number that fits the bits", src),
                    None => LearnSource::Field(bits(src, at)?),
                };
                l.specs.push(LearnSpec { bits: dst.bits, source, target: LearnTarget::Load(dst) });
            }
            "output" => {
                let src = bits(text, at)?;
                l.specs.push(LearnSpec {
                    bits: src.bits,
                    source: LearnSource::Field(src),
                    target: LearnTarget::Output,
                });
            }
            name => {
                let dst = bits(name, part.at)?;
                let source = match part.arg {
                    None => LearnSource::Field(dst),
                    Some(text) => match subfield::parse(text) {
                        Ok(src) if src.bits == dst.bits => LearnSource::Field(src),
                        Ok(_) => return bad(at, "as many bits on both sides", text),
                        Err(_) if dst.is_whole() => {
                            let value = Value::parse(dst.field, text);
                            let value = value.map_err(|e| ParseFlowError { at, problem: Problem::Value(e) })?;
                            immediate(value.value, dst.bits)
                        }
                        Err(_) => match number(text) {
                            Some(value) if value & !dst.ones() == 0 => immediate(value, dst.bits),
                            _ => return bad(at, "a field, or a number that fits the bits", text),
                        },
                    },
                };
                l.specs.push(LearnSpec { bits: dst.bits, source, target: LearnTarget::Match(dst) });
            }
        }
    }
    Ok(Action::Learn(Box::new(l)))
}

fn observation(text: &str, at: usize) -> Parsed<Observation> {
    if let Ok(id) = u32_at(text, at) {
        return Ok(Ok(id));
    }
    let field = bits(text, at)?;
    if field.bits > 32 { bad(at, "at most 32 bits", text) } else { Ok(Err(field)) }
}

fn sample(arg: &str, ports: &dyn PortNames) -> Parsed<Action> {
    let mut s = Sample::default();
    for part in items(arg)? {
        let (at, text) = (part.arg_at, part.arg.unwrap_or_default());
        match part.name {
            "probability" => s.probability = number_at(text, at, "a probability from 1 to 65535", 0xffff)?,
            "collector_set_id" => s.collector_set = u32_at(text, at)?,
            "obs_domain_id" => s.domain = observation(text, at)?,
            "obs_point_id" => s.point = observation(text, at)?,
            "sampling_port" => s.port = port(text, at, ports)?,
            "ingress" => s.direction = SampleDirection::Ingress,
            "egress" => s.direction = SampleDirection::Egress,
            name => return bad(part.at, "an argument of sample", name),
        }
    }
    match s.probability {
        0 => bad(0, "a probability above 0", arg),
        _ => Ok(Action::Sample(Box::new(s))),
    }
}

fn encap(arg: &str) -> Parsed<Action> {
    let (name, rest) = match arg.split_once('(') {
        Some((name, rest)) => {
            let rest = rest.strip_suffix(')');
            (name, rest.ok_or_else(|| ParseFlowError::expected(arg.len(), "a closing parenthesis", ""))?)
        }
        None => (arg, ""),
    };
    let packet_type = ENCAPS.iter().find(|(n, _)| *n == name.trim()).map(|(_, t)| *t);
    let packet_type = packet_type.ok_or_else(|| ParseFlowError::expected(0, "ethernet, nsh, mpls or mpls_mc", name))?;
    let mut properties = Vec::new();
    for part in items(rest).map_err(|e| e.moved(name.len() + 1))? {
        let text = part.arg.unwrap_or_default();
        properties.push(match part.name {
            "md_type" => EncapProperty::NshMdType(number_at(text, 0, "1 or 2", 2)?),
            "tlv" => {
                let all = parts(text);
                let [(class, _), (kind, _), (value, _)] = all[..] else { return bad(0, "CLASS,TYPE,VALUE", text) };
                let value = value.strip_prefix("0x").unwrap_or(value);
                let value = if value.len() % 2 == 0 { value.to_string() } else { format!("0{value}") };
                let (class, kind) = (u16_at(class, 0)?, number_at(kind, 0, "a type from 0 to 255", 255)?);
                EncapProperty::NshTlv { class, kind, value: dotted(&value, 0)? }
            }
            name => return bad(0, "md_type=N or tlv(...)", name),
        });
    }
    Ok(Action::Encap { packet_type, header_len: 0, properties })
}

fn decap(arg: &str) -> Parsed<Action> {
    let Some(inner) = arg.strip_prefix("packet_type(").and_then(|a| a.strip_suffix(')')) else {
        return if arg.is_empty() {
            Ok(Action::Decap(Action::NEXT_PROTOCOL))
        } else {
            bad(0, "packet_type(ns=N,type=N)", arg)
        };
    };
    let (mut ns, mut kind) = (0u32, 0u32);
    for part in items(inner)? {
        let text = part.arg.unwrap_or_default();
        match part.name {
            "ns" => ns = u16_at(text, 0)?.into(),
            "type" => kind = u16_at(text, 0)?.into(),
            name => return bad(0, "ns=N,type=N", name),
        }
    }
    Ok(Action::Decap(ns << 16 | kind))
}

/// `src=A-B:P-Q,persistent`.
pub(super) fn nat(arg: &str) -> Parsed<Nat> {
    let mut nat = Nat::default();
    for (part, at) in parts(arg).into_iter().filter(|(part, _)| !part.is_empty()) {
        let (name, range) = part.split_once('=').map_or((part, None), |(name, range)| (name, Some(range)));
        nat.flags |= match name {
            "src" => NatFlags::SRC,
            "dst" => NatFlags::DST,
            "persistent" => NatFlags::PERSISTENT,
            "hash" => NatFlags::HASH,
            "random" => NatFlags::RANDOM,
            name => return bad(at, "src, dst, persistent, hash or random", name),
        };
        if let Some(range) = range {
            nat.range = Some(nat_range(range).ok_or_else(|| ParseFlowError::expected(at, "A[-B][:P[-Q]]", range))?);
        }
    }
    match nat.flags.contains(NatFlags::SRC | NatFlags::DST) || nat.flags.contains(NatFlags::HASH | NatFlags::RANDOM) {
        true => bad(0, "one direction, one way to choose", arg),
        false => Ok(nat),
    }
}

fn nat_range(text: &str) -> Option<NatRange> {
    // Ports stand behind a colon: the only one of IPv4, or the one behind a bracket.
    let (addresses, ports) = match text.rsplit_once("]:") {
        Some((addresses, ports)) => (addresses, Some(ports)),
        None if text.matches(':').count() == 1 => text.split_once(':').map(|(a, p)| (a, Some(p)))?,
        None => (text, None),
    };
    let address = |s: &str| s.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    let (min, max) = match addresses.split_once('-') {
        Some((min, max)) => (address(min)?, Some(address(max)?)),
        None => (address(addresses)?, None),
    };
    let (port_min, port_max) = match ports {
        None => (0, 0),
        Some(ports) => match ports.split_once('-') {
            Some((low, high)) => (low.parse().ok()?, high.parse().ok()?),
            None => (ports.parse().ok()?, 0),
        },
    };
    let ordered = max.is_none_or(|max| max >= min && max.is_ipv4() == min.is_ipv4());
    (ordered && (port_max == 0 || port_max >= port_min)).then_some(NatRange { min, max, port_min, port_max })
}

#[cfg(test)]
mod tests {
    use crate::text::{ActionList, Parser};

    #[test]
    fn what_is_read_is_printed() {
        for text in [
            "output:NXM_NX_REG0[0..15]",
            "output(port=1,max_len=100)",
            "controller(reason=no_match,max_len=128,id=5,userdata=01.02,pause,meter_id=7)",
            "enqueue:1:2",
            "group:5",
            "bundle(eth_src,0,hrw,ofport,members:1,2,3)",
            "bundle_load(symmetric_l4,50,active_backup,ofport,NXM_NX_REG0[],members:1)",
            "load:0x5->NXM_NX_REG0[0..3]",
            "move:NXM_OF_IN_PORT[]->NXM_NX_REG1[0..15]",
            "push:NXM_NX_REG2[1..5]",
            "pop:NXM_NX_REG2[]",
            "dec_ttl(1,2,3)",
            "set_mpls_label(7),set_mpls_tc(3),set_mpls_ttl(9),dec_mpls_ttl,push_mpls:0x8847,pop_mpls:0x0800",
            "set_tunnel:0x5,set_tunnel64:0x5",
            "set_queue:5,pop_queue",
            "fin_timeout(idle_timeout=5,hard_timeout=6)",
            "resubmit:5",
            "resubmit(,6)",
            "resubmit(5,6,ct)",
            "learn(table=2,idle_timeout=10,NXM_OF_VLAN_TCI[0..11],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[])",
            "learn(table=1,eth_type=0x800,load:0x5->NXM_NX_REG0[0..7],load:NXM_OF_IN_PORT[]->NXM_NX_REG0[0..15])",
            "conjunction(5,1/2)",
            "multipath(eth_src,50,modulo_n,1,0,NXM_NX_REG0[])",
            "note:01.02.03.04.05.06",
            "exit",
            "sample(probability=1,collector_set_id=2,obs_domain_id=3,obs_point_id=NXM_NX_REG0[],sampling_port=4,ingress)",
            "ct(commit,table=1,zone=NXM_NX_REG0[0..15],nat(src=10.0.0.1-10.0.0.9:5-9,random),exec(load:0x5->NXM_NX_CT_MARK[]),alg=ftp)",
            "ct(nat)",
            "ct(commit,nat(dst=[fd00::1]:80))",
            "encap(nsh(md_type=1,tlv(0x1000,10,0x12345678)))",
            "encap(ethernet)",
            "decap()",
            "decap(packet_type(ns=1,type=0x894f))",
            "dec_nsh_ttl",
            "check_pkt_larger(100)->NXM_NX_REG0[5]",
            "delete_field:tun_metadata5",
            "strip_vlan,pop_vlan,mod_vlan_vid:5,set_vlan_pcp:3",
            "mod_dl_src:00:00:00:00:00:01,mod_nw_tos:8,mod_nw_ecn:1,mod_nw_ttl:5,mod_tp_src:5",
        ] {
            let actions = Parser::default().actions(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(ActionList(&actions).to_string(), text);
        }
    }
}

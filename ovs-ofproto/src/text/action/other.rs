//! Actions that are neither about where packets go nor about what they are.

use ovs_packet::text::{PortNames, integer};

use super::Word;
use super::fields::arrow;
use crate::action::{Action, Observation, Sample, SampleDirection};
use crate::text::error::{ParseFlowError, Parsed, invalid};
use crate::text::lexer::{Item, items, split, trim};
use crate::text::number::{first_digits, hex_bytes, port_of, u16_of, u32_of};
use crate::text::subfield;

pub(super) const WORDS: [(&str, Word); 14] = [
    ("set_queue", Word::Action(|_, i| u32_of(i.arg, i.arg_at).map(Action::SetQueue))),
    ("pop_queue", Word::Action(|_, _| Ok(Action::PopQueue))),
    ("exit", Word::Action(|_, _| Ok(Action::Exit))),
    ("ct_clear", Word::Action(|_, _| Ok(Action::CtClear))),
    ("dec_nsh_ttl", Word::Action(|_, _| Ok(Action::DecNshTtl))),
    ("debug_recirc", Word::Action(|_, _| Ok(Action::DebugRecirc))),
    ("debug_slow", Word::Action(|_, _| Ok(Action::DebugSlow))),
    (
        "unroll_xlate",
        Word::Action(|_, i| invalid(i.at, "UNROLL is an internal action that shouldn't be used via OpenFlow")),
    ),
    ("dec_ttl", Word::Action(|_, i| dec_ttl(i))),
    ("note", Word::Action(|_, i| note(i))),
    ("fin_timeout", Word::Action(|_, i| fin_timeout(i))),
    ("conjunction", Word::Action(|_, i| conjunction(i))),
    ("sample", Word::Action(|reader, i| sample(i, reader.ports))),
    ("check_pkt_larger", Word::Action(|_, i| check_packet_larger(i))),
];

fn dec_ttl(item: &Item<'_>) -> Parsed<Action> {
    if item.arg.is_empty() {
        return Ok(Action::DecTtl);
    }
    let words = item.arg.split([',', ' ']).filter(|word| !word.is_empty());
    let ids: Vec<u16> = words.map(|word| (first_digits(word) & 0xffff) as u16).collect();
    match ids.is_empty() {
        true => invalid(item.arg_at, "dec_ttl_cnt_ids: expected at least one controller id."),
        false => Ok(Action::DecTtlTo(ids)),
    }
}

fn note(item: &Item<'_>) -> Parsed<Action> {
    let bad = || ParseFlowError::invalid(item.arg_at, "bad hex digit in `note' argument");
    let mut bytes = hex_bytes(item.arg).ok_or_else(bad)?;
    // As on the wire, where an action's length is a multiple of 8.
    while bytes.len() % 8 != 6 {
        bytes.push(0);
    }
    Ok(Action::Note(bytes))
}

fn fin_timeout(item: &Item<'_>) -> Parsed<Action> {
    let (mut idle, mut hard) = (0, 0);
    for part in items(item.arg) {
        let at = item.arg_at.saturating_add(part.arg_at);
        match part.name {
            "idle_timeout" => idle = u16_of(part.arg, at, part.name)?,
            "hard_timeout" => hard = u16_of(part.arg, at, part.name)?,
            name => return invalid(at, format!("invalid key '{name}' in 'fin_timeout' argument")),
        }
    }
    Ok(Action::FinTimeout { idle, hard })
}

/// `ID, K/N`.
fn conjunction(item: &Item<'_>) -> Parsed<Action> {
    let at = item.arg_at;
    let parts = split(item.arg, b',').and_then(|(id, rest)| {
        let (k, n) = split(rest, b'/')?;
        let byte = |s: &str| trim(s).parse::<u8>().ok();
        Some((u32::try_from(integer(trim(id))?).ok()?, byte(k)?, byte(n)?))
    });
    let Some((id, k, n)) = parts else {
        return invalid(at, "\"conjunction\" syntax is \"conjunction(id,i/n)\"");
    };
    match k.checked_sub(1) {
        _ if n < 2 => invalid(at, "conjunction must have at least 2 clauses"),
        _ if n > 64 => invalid(at, "conjunction must have at most 64 clauses"),
        None => invalid(at, "clause index must be positive"),
        Some(_) if k > n => invalid(at, "clause index must be less than or equal to number of clauses"),
        Some(clause) => Ok(Action::Conjunction { id, clause, clauses: n }),
    }
}

fn observation(name: &str, text: &str, at: usize) -> Parsed<Observation> {
    if let Ok(id) = u32_of(text, at) {
        return Ok(Ok(id));
    }
    let field = subfield::parse(text, at)?;
    match field.bits {
        bits @ 33.. => invalid(at, format!("size of {name} field ({bits}) exceeds maximum (32)")),
        _ => Ok(Err(field)),
    }
}

fn sample(item: &Item<'_>, ports: &dyn PortNames) -> Parsed<Action> {
    let mut s = Sample::default();
    for part in items(item.arg) {
        let (at, text) = (item.arg_at.saturating_add(part.arg_at), part.arg);
        match part.name {
            "probability" => {
                s.probability = u16_of(text, at, "probability")?;
                if s.probability == 0 {
                    return invalid(at, format!("invalid probability value \"{text}\""));
                }
            }
            "collector_set_id" => s.collector_set = u32_of(text, at)?,
            "obs_domain_id" => s.domain = observation(part.name, text, at)?,
            "obs_point_id" => s.point = observation(part.name, text, at)?,
            "sampling_port" => s.port = port_of(text, at, ports, |t| format!("{t}: unknown port"))?,
            "ingress" => s.direction = SampleDirection::Ingress,
            "egress" => s.direction = SampleDirection::Egress,
            name => return invalid(at, format!("invalid key \"{name}\" in \"sample\" argument")),
        }
    }
    if s.probability == 0 {
        return invalid(item.at, "non-zero \"probability\" must be specified on sample");
    }
    Ok(Action::Sample(Box::new(s)))
}

/// `check_pkt_larger(LENGTH)->BIT`.
fn check_packet_larger(item: &Item<'_>) -> Parsed<Action> {
    let (length, dst, at) = arrow(item)?;
    let dst = subfield::parse(dst, at)?;
    if dst.bits != 1 {
        return invalid(at, "Only 1-bit destination field is allowed");
    }
    let length = length.strip_suffix(')').unwrap_or(length);
    Ok(Action::CheckPacketLarger { length: u16_of(length, item.arg_at, "length")?, dst })
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

//! Commands about megaflows as the pipeline keeps them: how many, how they are kept true, what one stands for.

use ovs_db::unixctl::{Format, Reply};
use ovs_dpif::Ufid;
use ovs_ofproto::pipeline::Ofproto;

use super::{Call, Command, command, error, hidden, text};
use crate::server::Server;

pub(super) const COMMANDS: &[Command] = &[
    command("upcall/show", "", 0, 0, show),
    command("upcall/disable-megaflows", "", 0, 0, |server, _| set_megaflows(server, false)),
    command("upcall/enable-megaflows", "", 0, 0, |server, _| set_megaflows(server, true)),
    command("upcall/disable-ufid", "", 0, 0, |server, _| set_terse(server, false)),
    command("upcall/enable-ufid", "", 0, 0, |server, _| set_terse(server, true)),
    command("upcall/set-flow-limit", "flow-limit-number", 1, 1, set_flow_limit),
    command("ofproto/detrace", "UFID [pmd=PMD-ID]", 1, 2, detrace),
    hidden("upcall/memory", 0, 0, memory),
];

/// Has `f` do something with every switch.
fn each(server: &mut Server, mut f: impl FnMut(&mut Ofproto, &mut dyn ovs_dpif::Dpif)) {
    let now = server.clock.now();
    let names: Vec<String> = server.switch.bridges().map(|b| b.name().to_string()).collect();
    for name in names {
        server.switch.with_ofproto(&name, now, &mut f);
    }
}

fn show(server: &mut Server, _: &Call<'_>) -> Option<Reply> {
    let mut shown = String::new();
    for dp in server.switch.datapaths() {
        let of_datapath = server.switch.bridges().filter(|b| b.datapath_type() == dp.kind());
        let switches: Vec<&Ofproto> = of_datapath.filter_map(|b| server.switch.ofproto(b.name())).collect();
        let sum = |f: fn(&Ofproto) -> usize| switches.iter().map(|of| f(of)).sum::<usize>();
        let current = dp.stats().unwrap_or_default().flows;
        let (mean, most) = (sum(|of| of.megaflows_seen().0), sum(|of| of.megaflows_seen().1));
        let limit = switches.iter().map(|of| of.megaflow_count().1.now()).max().unwrap_or_default();
        let round = switches.iter().map(|of| of.last_round().as_millis()).max().unwrap_or_default();
        let terse = switches.iter().all(|of| of.is_terse());
        shown += &format!(
            "{}:\n  flows         : (current {current}) (avg {mean}) (max {most}) (limit {limit})\n  \
             dump duration : {round}ms\n  ufid enabled : {terse}\n\n  0: (keys {})\n",
            dp.full_name(),
            sum(|of| of.megaflow_count().0),
        );
    }
    text(shown)
}

fn set_megaflows(server: &mut Server, wide: bool) -> Option<Reply> {
    let now = server.clock.now();
    each(server, |of, dp| of.set_megaflows(dp, wide, now));
    text(if wide { "megaflows enabled" } else { "megaflows disabled" })
}

fn set_terse(server: &mut Server, terse: bool) -> Option<Reply> {
    each(server, |of, _| of.set_terse(terse));
    text(match terse {
        true => "Datapath dumping tersely using UFID enabled for supported datapaths",
        false => "Datapath dumping tersely using UFID disabled",
    })
}

fn set_flow_limit(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let Some(limit) = call.argument(0).and_then(|n| n.parse::<u32>().ok()) else { return error("invalid flow limit") };
    each(server, |of, _| of.set_flow_limit_now(limit as usize));
    text(format!("set flow_limit to {limit}\n"))
}

/// What megaflows take in memory, by switch.
fn memory(server: &mut Server, _: &Call<'_>) -> Option<Reply> {
    let line = |name: &str, of: &Ofproto| {
        let m = of.megaflow_memory();
        format!(
            "{name}: megaflows:{} bytes:{} steps:{} shapes:{} unproved:{} not-installed:{}\n",
            m.megaflows,
            m.bytes,
            m.steps,
            m.shapes,
            m.unproved,
            of.not_installed()
        )
    };
    let all = server.switch.bridges().filter_map(|b| Some(line(b.name(), server.switch.ofproto(b.name())?)));
    text(all.collect::<String>())
}

/// An identity as tools write it: `ufid:` and a UUID, or without.
fn ufid(text: &str) -> Option<Ufid> {
    let digits: String = text.strip_prefix("ufid:").unwrap_or(text).chars().filter(|c| *c != '-').collect();
    let whole = digits.len() == 32 && digits.chars().all(|c| c.is_ascii_hexdigit());
    u128::from_str_radix(&digits, 16).ok().filter(|_| whole).map(Ufid)
}

fn detrace(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let Some(wanted) = call.argument(0).and_then(ufid) else { return error("failed to parse ufid") };
    // Threads share the megaflows: one answers for all.
    if call.argument(1).is_some_and(|pmd| pmd.strip_prefix("pmd=").is_none_or(|id| id.parse::<u32>().is_err())) {
        return error("Invalid pmd argument format. Expecting 'pmd=PMD-ID'");
    }
    let now = server.clock.now();
    let (mut found, mut where_not) = (None, String::new());
    let datapaths: Vec<(String, &str)> = server.switch.datapaths().map(|d| (d.full_name(), d.kind())).collect();
    for (full_name, kind) in datapaths {
        let names: Vec<String> =
            server.switch.bridges().filter(|b| b.datapath_type() == kind).map(|b| b.name().to_string()).collect();
        let one = names
            .iter()
            .find_map(|name| server.switch.with_ofproto(name, now, |of, dp| of.detrace(dp, wanted, now))?);
        match one {
            Some(one) => found = Some(one),
            None => where_not += &format!("UFID was not found for {full_name}\n"),
        }
    }
    match (found, call.format) {
        (Some(found), Format::Json) => match ovs_db::json::parse(found.to_json().as_bytes()) {
            Ok(json) => Some(Reply::Json(json)),
            Err(e) => error(e.to_string()),
        },
        (Some(found), Format::Text) => text(format!("{where_not}{found}")),
        (None, _) => text(where_not),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_in_words() {
        let it = Ufid(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(ufid(&it.to_string()), Some(it));
        assert_eq!(ufid("01234567-89ab-cdef-0123-456789abcdef"), Some(it));
        for bad in
            ["", "ufid:", "ufid:12", "ufid:0123456789abcdef0123456789abcdeg", "ufid:+123456789abcdef0123456789abcdef"]
        {
            assert_eq!(ufid(bad), None, "{bad}");
        }
    }
}

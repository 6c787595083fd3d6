//! Commands of every daemon: the log, the clock, counters, the end.

use std::time::Duration;

use ovs_db::json::Json;
use ovs_db::unixctl::{Format, Reply};

use super::{ANY, Call, Command, command, error, hidden, text};
use crate::server::Server;

pub(super) const COMMANDS: &[Command] = &[
    command("exit", "[--cleanup]", 0, 1, exit),
    command("vlog/set", "{spec | PATTERN:destination:pattern}", 1, ANY, vlog_set),
    command("vlog/list", "", 0, 0, |s, _| text(s.log.levels())),
    command("vlog/list-pattern", "", 0, 0, |s, _| text(s.log.patterns())),
    command("vlog/enable-rate-limit", "[module]...", 0, ANY, |s, c| vlog_limit(s, c, true)),
    command("vlog/disable-rate-limit", "[module]...", 0, ANY, |s, c| vlog_limit(s, c, false)),
    command("vlog/reopen", "", 0, 0, vlog_reopen),
    command("vlog/close", "", 0, 0, vlog_close),
    hidden("vlog/message", 1, 1, vlog_message),
    command("time/stop", "", 0, 0, time_stop),
    command("time/warp", "[large_msecs] msecs", 1, 2, time_warp),
    command("coverage/show", "", 0, 0, coverage_show),
    command("coverage/read-counter", "COUNTER", 1, 1, coverage_read),
    command("memory/show", "", 0, 0, memory_show),
];

fn exit(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    match call.argument(0) {
        // A datapath within the process ends with it: what may stay is the interfaces that it has made.
        option @ (None | Some("--cleanup")) => {
            server.leave(call.key, option.is_none());
            None
        }
        Some(other) => error(format!("unknown option {other}")),
    }
}

fn vlog_set(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    match call.arguments.iter().try_for_each(|spec| server.log.set(spec)) {
        Ok(()) => text(""),
        Err(why) => error(why),
    }
}

fn vlog_limit(server: &mut Server, call: &Call<'_>, limited: bool) -> Option<Reply> {
    match server.log.set_rate_limit(&call.arguments, limited) {
        Ok(()) => text(""),
        Err(why) => error(why),
    }
}

fn vlog_reopen(server: &mut Server, _: &Call<'_>) -> Option<Reply> {
    match server.log.reopen() {
        Ok(()) => text(""),
        Err(why) => error(why),
    }
}

fn vlog_close(server: &mut Server, _: &Call<'_>) -> Option<Reply> {
    server.log.close_file();
    text("")
}

fn vlog_message(_: &mut Server, call: &Call<'_>) -> Option<Reply> {
    tracing::info!(target: "vlog", "{}", call.argument(0).unwrap_or_default());
    text("")
}

fn time_stop(server: &mut Server, _: &Call<'_>) -> Option<Reply> {
    server.clock.stop();
    text("")
}

fn time_warp(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    // As atoi reads them: what is no number is zero.
    let number = |at: usize| call.argument(at).and_then(|a| a.parse::<i64>().ok()).unwrap_or(0);
    let (total, step) = if call.arguments.len() > 1 { (number(0), number(1)) } else { (0, number(0)) };
    let (Ok(total), Ok(step)) = (u64::try_from(total), u64::try_from(step)) else {
        return error("invalid MSECS");
    };
    if step == 0 {
        return error("invalid MSECS");
    }
    match server.warp(call.key, Duration::from_millis(total), Duration::from_millis(step)) {
        Ok(()) => None,
        Err(why) => error(why),
    }
}

fn coverage_show(server: &mut Server, _: &Call<'_>) -> Option<Reply> {
    server.count();
    text(server.coverage.show())
}

fn coverage_read(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    server.count();
    match server.coverage.get(call.argument(0).unwrap_or_default()) {
        Some(total) => text(format!("{total}\n")),
        None => error("No such counter"),
    }
}

fn memory_show(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let usage = server.usage();
    match call.format {
        Format::Json => Some(Reply::Json(Json::object(
            usage.into_iter().map(|(name, n)| (name, Json::Integer(i64::try_from(n).unwrap_or(i64::MAX)))),
        ))),
        Format::Text => {
            let words: Vec<String> = usage.into_iter().map(|(name, n)| format!("{name}:{n}")).collect();
            text(format!("{}\n", words.join(" ")))
        }
    }
}

//! Commands about the threads of datapaths (`dpif-netdev/*`).
//!
//! Where upstream counts cycles of the processor, these are nanoseconds: a clock of a gigahertz.

use std::fmt::{self, Write};
use std::time::{Duration, SystemTime};

use ovs_db::unixctl::Reply;
use ovs_dpif::threads::{
    HISTORY, Histogram, INTERVALS, Metrics, Performance, Sample, ThreadId, Threads, Watch, WorkerInfo, iterations_table,
};

use super::{Call, Command, command, error, hidden, text};
use crate::server::Server;

pub(super) const COMMANDS: &[Command] = &[
    command("dpif-netdev/pmd-stats-clear", "[-pmd core] [dp]", 0, 3, clear),
    command("dpif-netdev/pmd-rxq-show", "[-pmd core] [-secs secs] [dp]", 0, 5, rxqs),
    command("dpif-netdev/pmd-sleep-show", "[dp]", 0, 1, sleeps),
    command(
        "dpif-netdev/pmd-perf-show",
        "[-nh] [-it iter-history-len] [-ms ms-history-len] [-pmd core] [dp]",
        0,
        8,
        performance,
    ),
    hidden("dpif-netdev/pmd-stats-show", 0, 8, performance),
    command(
        "dpif-netdev/pmd-perf-log-set",
        "on|off [-b before] [-a after] [-e|-ne] [-us usec] [-q qlen]",
        0,
        10,
        watch,
    ),
    command("dpif-netdev/pmd-rxq-rebalance", "[dp]", 0, 1, rebalance),
    command("dpif-netdev/bond-show", "[dp]", 0, 1, bonds),
];

/// Seconds of an interval over which loads are measured.
const INTERVAL: usize = 5;

/// Nanoseconds of a second: how often the clock that work is measured by ticks.
const HERTZ: f64 = 1e9;

const NO_SUCH: &str = "please specify an existing datapath";

/// What is said to these commands.
#[derive(Default)]
struct Words<'a> {
    datapath: Option<&'a str>,
    core: Option<u32>,
    seconds: usize,
    no_histograms: bool,
    iterations: usize,
    milliseconds: usize,
}

impl<'a> Words<'a> {
    fn of(call: &Call<'a>) -> Words<'a> {
        let mut words = Words::default();
        let mut rest = call.arguments.iter().copied();
        while let Some(word) = rest.next() {
            let mut number = || rest.next().and_then(|n| n.parse::<usize>().ok());
            match word {
                // What is no core is as if no core was named.
                "-pmd" => words.core = number().and_then(|n| u32::try_from(n).ok()),
                "-secs" => words.seconds = number().unwrap_or(0),
                "-nh" => words.no_histograms = true,
                "-it" => words.iterations = number().unwrap_or(0).min(HISTORY),
                "-ms" => words.milliseconds = number().unwrap_or(0).min(HISTORY),
                name => words.datapath = Some(name),
            }
        }
        words
    }

    /// The threads of the datapath that is named, or of the only one that there is.
    fn workers<'s>(&self, server: &'s mut Server) -> Option<&'s mut dyn Threads> {
        server.switch.datapath_mut(&self.name(server)?)?.workers_mut()
    }

    /// The datapath that is named, or the only one that has threads.
    fn name(&self, server: &Server) -> Option<String> {
        let names: Vec<String> =
            server.switch.all_datapaths().filter(|d| d.dpif().workers().is_some()).map(|d| d.full_name()).collect();
        let named = self.datapath.filter(|name| server.switch.datapath(name).is_some());
        match (named, names.as_slice()) {
            (Some(name), _) => Some(name.to_string()),
            (None, [only]) => Some(only.clone()),
            _ => None,
        }
    }

    fn wants(&self, core: Option<u32>) -> bool {
        self.core.is_none() || self.core == core
    }
}

fn core_of(thread: ThreadId) -> Option<u32> {
    match thread {
        ThreadId::Main => None,
        ThreadId::Core(core) => Some(core),
    }
}

fn clear(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let words = Words::of(call);
    let Some(workers) = words.workers(server) else { return error(NO_SUCH) };
    let threads: Vec<ThreadId> = workers.threads().into_iter().filter(|thread| words.wants(core_of(*thread))).collect();
    threads.into_iter().for_each(|thread| workers.clear_perf(thread));
    text("")
}

fn rebalance(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let words = Words::of(call);
    let is_unknown = words.datapath.is_some_and(|name| server.switch.datapath(name).is_none());
    match words.workers(server).filter(|_| !is_unknown) {
        Some(workers) => {
            workers.rebalance();
            text("pmd rxq rebalance requested.\n")
        }
        None => error(NO_SUCH),
    }
}

fn bonds(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let words = Words::of(call);
    let is_unknown = words.datapath.is_some_and(|name| server.switch.datapath(name).is_none());
    let name = words.name(server).filter(|_| !is_unknown);
    let Some(dp) = name.and_then(|name| server.switch.datapath(&name)).filter(|dp| dp.dpif().workers().is_some())
    else {
        return error(NO_SUCH);
    };
    let bonds = dp.dpif().bonds();
    let mut shown = String::from(if bonds.is_empty() { "" } else { "Bonds:\n" });
    for (bond, members) in bonds {
        shown += &format!("  bond-id {bond}:\n");
        for (bucket, port) in members.iter().enumerate() {
            shown += &format!("    bucket {bucket} - member {port}\n");
        }
    }
    text(shown)
}

fn sleeps(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let Some(workers) = Words::of(call).workers(server) else { return error(NO_SUCH) };
    let mut shown = format!("Default max sleep: {:4} us\n", workers.settings().max_sleep.as_micros());
    for worker in workers.crew() {
        let (core, sleep) = (worker.core, worker.max_sleep.as_micros());
        shown += &format!("pmd thread numa_id {} core_id {}:\n  max sleep: {sleep:4} us\n", core.numa, core.core);
    }
    text(shown)
}

fn rxqs(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let words = Words::of(call);
    let Some(workers) = words.workers(server) else { return error(NO_SUCH) };
    let most = INTERVAL * INTERVALS;
    let seconds = if words.seconds == 0 { most } else { words.seconds.min(most).next_multiple_of(INTERVAL) };
    let mut shown = String::new();
    if words.core.is_none_or(|core| workers.threads().contains(&ThreadId::Core(core))) {
        shown += &format!("Displaying last {seconds} seconds pmd usage %\n");
    }
    for worker in workers.crew_over(seconds / INTERVAL).into_iter().filter(|worker| words.wants(Some(worker.core.core)))
    {
        shown += &queues_of(&worker);
    }
    text(shown)
}

/// The queues of a worker, and how busy each kept it.
fn queues_of(worker: &WorkerInfo) -> String {
    let core = worker.core;
    let usage = |nanos: u64| match worker.total {
        0 => "NOT AVAIL".to_string(),
        total => format!("{:2.0} %", nanos as f64 * 100.0 / total as f64),
    };
    let mut shown =
        format!("pmd thread numa_id {} core_id {}:\n  isolated : {}\n", core.numa, core.core, worker.isolated);
    for queue in &worker.queues {
        let (name, number, usage) = (&queue.name, queue.queue, usage(queue.nanos));
        shown += &format!("  port: {name:<16}  queue-id: {number:2} (enabled)   pmd usage: {usage}\n");
    }
    if !worker.queues.is_empty() {
        let of_queues: u64 = worker.queues.iter().map(|queue| queue.nanos).sum();
        shown += &format!("  overhead: {}\n", usage(worker.busy.saturating_sub(of_queues)));
    }
    shown
}

fn performance(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let words = Words::of(call);
    let now = server.clock.now();
    let Some(workers) = words.workers(server) else { return error(NO_SUCH) };
    let day = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (seconds, millis) = (day.as_secs() % 86_400, day.subsec_millis());
    let time = format!("{:02}:{:02}:{:02}.{millis:03}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let numas: Vec<(u32, u32)> = workers.crew().iter().map(|worker| (worker.core.core, worker.core.numa)).collect();
    // Workers by core, and the control thread last.
    let mut threads = workers.threads();
    threads.rotate_left(1);
    let mut shown = String::new();
    for thread in threads.into_iter().filter(|thread| words.wants(core_of(*thread))) {
        let Some(did) = workers.performance(thread) else { continue };
        let name = match core_of(thread).and_then(|core| numas.iter().find(|(known, _)| *known == core)) {
            Some((core, numa)) => format!("pmd thread numa_id {numa} core_id {core}"),
            None => "main thread".to_string(),
        };
        let duration = now.since(did.since).as_secs_f64();
        // Writing to a string does not fail.
        let _ = write!(shown, "\nTime: {time}\nMeasurement duration: {duration:.3} s\n\n{name}:\n\n");
        let _ = write_performance(&mut shown, &did, duration, thread != ThreadId::Main);
        if let Some(metrics) = did.perf.metrics.as_deref().filter(|_| thread != ThreadId::Main) {
            let _ = write_metrics(&mut shown, metrics, &words);
        }
    }
    text(shown)
}

/// What workers tell of suspicious rounds. As upstream's, of all datapaths.
fn watch(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let names: Vec<String> =
        server.switch.all_datapaths().filter(|d| d.dpif().workers().is_some()).map(|d| d.full_name()).collect();
    let known = names.first().and_then(|name| server.switch.datapath(name)?.dpif().workers().map(Threads::watch));
    let Some(watch) = watched(known.unwrap_or_default(), &call.arguments) else {
        return error(
            "Usage: ovs-appctl dpif-netdev/pmd-perf-log-set [on|off] [-b before] [-a after] [-e|-ne] [-us usec] [-q qlen]",
        );
    };
    let Watch { before, after, extend, queue, .. } = watch;
    let (on, limit) = (if watch.on { "on" } else { "off" }, watch.limit.as_micros());
    tracing::info!(
        target: "pmd_perf",
        "pmd-perf-log-set: {on}, before={before}, after={after}, extend={extend}, us_thr={limit}, q_thr={queue}"
    );
    for name in names {
        if let Some(workers) = server.switch.datapath_mut(&name).and_then(|dp| dp.workers_mut()) {
            workers.set_watch(watch);
        }
    }
    text("")
}

/// What is to be told, by the words that change it; nothing if these are none.
fn watched(mut watch: Watch, words: &[&str]) -> Option<Watch> {
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let mut number = || rest.next()?.parse::<u32>().ok();
        match *word {
            "on" => watch.on = true,
            "off" => watch.on = false,
            "-e" => watch.extend = true,
            "-ne" => watch.extend = false,
            "-a" => watch.after = number()? as usize,
            "-b" => watch.before = number()? as usize,
            "-q" => watch.queue = number()?,
            "-us" => watch.limit = Duration::from_micros(number()?.into()),
            _ => return None,
        }
    }
    Some(watch.bounded())
}

/// `part` in a hundred of `all`.
fn percent(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { 100.0 * part as f64 / all as f64 }
}

fn ratio(a: u64, b: u64) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}

fn write_performance(f: &mut String, did: &Performance, duration: f64, with_iterations: bool) -> fmt::Result {
    if duration == 0.0 {
        return Ok(());
    }
    let perf = &did.perf;
    let iterations = perf.busy_iterations + perf.idle_iterations;
    let used = perf.busy_nanos + perf.idle_nanos;
    if with_iterations {
        let (idle, busy, sleeps) = (perf.idle_iterations, perf.busy_iterations, perf.sleeps);
        let each = ratio(used + perf.sleep_nanos, iterations) / 1000.0;
        writeln!(f, "  Iterations:         {iterations:12}  ({each:.2} us/it)")?;
        let share = 100.0 * used as f64 / duration / HERTZ;
        writeln!(f, "  - Used TSC cycles:  {used:12}  ({share:5.1} % of total cycles)")?;
        let share = percent(perf.idle_nanos, used);
        writeln!(f, "  - idle iterations:  {idle:12}  ({share:5.1} % of used cycles)")?;
        let share = percent(perf.busy_nanos, used);
        writeln!(f, "  - busy iterations:  {busy:12}  ({share:5.1} % of used cycles)")?;
        let share = percent(sleeps, iterations);
        writeln!(f, "  - sleep iterations: {sleeps:12}  ({share:5.1} % of iterations)")?;
        let (slept, each) = (perf.sleep_nanos as f64 / 1000.0, ratio(perf.sleep_nanos, sleeps) / 1000.0);
        writeln!(f, "  Sleep time (us):    {slept:12.0}  ({each:3.0} us/iteration avg.)")?;
    }
    let Performance { received, passes, marked, cached, found, missed, lost, sent_packets, sent_batches, .. } = *did;
    let per_second = |packets: u64| packets as f64 / duration / 1000.0;
    if received > 0 {
        write!(f, "  Rx packets:         {received:12}  ({:.0} Kpps", per_second(received))?;
        if iterations > 0 {
            write!(f, ", {:.0} cycles/pkt", ratio(perf.busy_nanos, received))?;
        }
        writeln!(f, ")")?;
        let share = |n: u64| percent(n, passes);
        writeln!(f, "  Datapath passes:    {passes:12}  ({:.2} passes/pkt)", ratio(passes, received))?;
        // There is one cache in front of the megaflows, of exact matches.
        writeln!(f, "  - PHWOL hits:       {marked:12}  ({:5.1} %)", share(marked))?;
        writeln!(f, "  - Simple Match hits:{:12}  ({:5.1} %)", 0, 0.0)?;
        writeln!(f, "  - EMC hits:         {cached:12}  ({:5.1} %)", share(cached))?;
        writeln!(f, "  - SMC hits:         {:12}  ({:5.1} %)", 0, 0.0)?;
        let probes = ratio(did.probes, found);
        writeln!(f, "  - Megaflow hits:    {found:12}  ({:5.1} %, {probes:.2} subtbl lookups/hit)", share(found))?;
        write!(f, "  - Upcalls:          {missed:12}  ({:5.1} %", share(missed))?;
        if iterations > 0 {
            write!(f, ", {:.1} us/upcall", ratio(perf.upcall_nanos, missed) / 1000.0)?;
        }
        writeln!(f, ")\n  - Lost upcalls:     {lost:12}  ({:5.1} %)", share(lost))?;
    } else {
        writeln!(f, "  Rx packets:         {:12}", 0)?;
    }
    if sent_packets > 0 {
        writeln!(f, "  Tx packets:         {sent_packets:12}  ({:.0} Kpps)", per_second(sent_packets))?;
        let each = ratio(sent_packets, sent_batches);
        writeln!(f, "  Tx batches:         {sent_batches:12}  ({each:.2} pkts/batch)")
    } else {
        writeln!(f, "  Tx packets:         {:12}\n", 0)
    }
}

/// What histograms are called, and in what they are summed up.
const COLUMNS: [&str; 7] =
    ["cycles/it", "packets/it", "cycles/pkt", "pkts/batch", "max vhost qlen", "upcalls/it", "cycles/upcall"];

fn write_metrics(f: &mut String, metrics: &Metrics, words: &Words<'_>) -> fmt::Result {
    if !words.no_histograms {
        write_histograms(f, metrics)?;
    }
    if words.iterations > 0 {
        write!(f, "\n{}", iterations_table(padded(&metrics.iterations, words.iterations)))?;
    }
    if words.milliseconds > 0 {
        let names =
            ["iterations", "cycles/it", "Kpps", "cycles/pkt", "pkts/batch", "vhost qlen", "upcalls", "cycles/upcall"];
        let names = names.map(|name| format!("{name:<10}"));
        writeln!(f, "\n   {:<12}   {}", "ms", names.join("   "))?;
        for sample in padded(&metrics.milliseconds, words.milliseconds) {
            let Sample { at, iterations, nanos, busy_nanos, packets, batches, upcalls, upcall_nanos, .. } = sample;
            let each = |a: u64, b: u64| a.checked_div(b).unwrap_or(0);
            let cells = [
                iterations,
                each(nanos, iterations),
                packets,
                each(busy_nanos, packets),
                each(packets, batches),
                0,
                upcalls,
                each(upcall_nanos, upcalls),
            ];
            writeln!(f, "   {at:<12}   {}", cells.map(|n| format!("{n:<11}")).join("  "))?;
        }
    }
    Ok(())
}

/// As many of the last samples as are asked for; what there was not is all zero.
fn padded(history: &std::collections::VecDeque<Sample>, wanted: usize) -> impl Iterator<Item = Sample> {
    history.iter().copied().chain(std::iter::repeat(Sample::default())).take(wanted)
}

fn write_histograms(f: &mut String, metrics: &Metrics) -> fmt::Result {
    // No device here tells how full its queue is.
    let no_queues = Histogram::logarithmic(0, 512);
    let histograms = [
        &metrics.iteration_nanos,
        &metrics.iteration_packets,
        &metrics.packet_nanos,
        &metrics.batch_packets,
        &no_queues,
        &metrics.iteration_upcalls,
        &metrics.upcall_nanos,
    ];
    writeln!(f, "\nHistograms\n   {}", COLUMNS.map(|name| format!("{name:<21}")).join("  "))?;
    let mut rows = histograms.map(Histogram::buckets);
    while let [Some(a), Some(b), Some(c), Some(d), Some(e), Some(g), Some(h)] = rows.each_mut().map(Iterator::next) {
        let cell = |(wall, n): (Option<u32>, u64)| {
            let wall = wall.map_or_else(|| ">".to_string(), |wall| wall.to_string());
            format!("{wall:<9} {n:<11}")
        };
        writeln!(f, "   {}", [a, b, c, d, e, g, h].map(cell).join("  "))?;
    }
    writeln!(f, "{}", "-".repeat(154))?;
    let names = COLUMNS.map(|name| format!("{:<21}", name.trim_start_matches("max ")));
    writeln!(f, "   {}", names.join("  "))?;
    let total = &metrics.total;
    let each = |a: u64, b: u64| a.checked_div(b).unwrap_or(0);
    writeln!(
        f,
        "   {:<21}  {:<21.5}  {:<21}  {:<21.5}  {:<21.5}  {:<21.5}  {:<21}",
        each(total.nanos, total.iterations),
        ratio(total.packets, total.iterations),
        each(total.busy_nanos, total.packets),
        ratio(total.packets, total.batches),
        0.0,
        ratio(total.upcalls, total.iterations),
        each(total.upcall_nanos, total.upcalls),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_change_what_is_told() {
        let said = |words: &str| watched(Watch::default(), &words.split_whitespace().collect::<Vec<_>>());
        assert_eq!(said(""), Some(Watch::default()));
        let all = said("on -b 7 -a 8 -e -us 1000 -q 9").unwrap();
        assert_eq!((all.on, all.before, all.after, all.extend, all.queue), (true, 7, 8, true, 9));
        assert_eq!(all.limit, Duration::from_millis(1));
        assert_eq!(watched(all, &["off", "-ne"]).map(|w| (w.on, w.extend, w.before)), Some((false, false, 7)));
        assert_eq!(said("-b 999 -a 500").map(|w| (w.before, w.after)), Some((998, 0)));
        for wrong in ["-b", "-b x", "-us -1", "maybe", "on -a"] {
            assert_eq!(said(wrong), None, "{wrong}");
        }
    }
}

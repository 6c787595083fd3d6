//! The story that the demo tells, on whatever stage.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant as Clock};

use serde_json::json;

use super::report::{Report, Screen, snapshot};
use super::stage::{Ping, Stage, StageError};

/// How the story is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct StoryOptions {
    /// Bytes of the TCP transfer; 0 leaves it out.
    pub transfer: u64,
    /// How long the live table is shown; without a terminal it is shown once, at the end.
    pub watch: Duration,
    /// The terminal to redraw the table on in place, if there is one.
    pub screen: Option<Screen>,
}

impl Default for StoryOptions {
    fn default() -> Self {
        StoryOptions { transfer: 256 << 20, watch: Duration::from_secs(5), screen: None }
    }
}

/// How the story ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Everything went as it should.
    Good,
    /// Something did not: the report says what.
    Bad,
    /// Somebody wanted it to end.
    Interrupted,
}

/// Why the story could not be told to its end.
#[derive(Debug, thiserror::Error)]
pub enum StoryError {
    /// The stage failed.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// The report cannot be written.
    #[error("writing the report: {0}")]
    Report(#[from] io::Error),
}

/// The flow that the story puts in and takes out.
const DROP: &str = "priority=100,icmp,actions=drop";

const INTERVAL: Duration = Duration::from_millis(50);

/// Tells the story: ping and learning, a drop rule in and out, TCP, a table of what there is to see. Stops early when
/// `interrupted` is set.
///
/// # Errors
/// If the stage fails or the report cannot be written.
pub fn run<S: Stage, W: Write>(
    stage: &mut S,
    report: &mut Report<W>,
    options: StoryOptions,
    interrupted: &AtomicBool,
) -> Result<Outcome, StoryError> {
    let mut story = Story { stage, report, interrupted, good: true };
    let steps = [Story::greet, Story::learn, Story::drop_rule, Story::transfer];
    for step in steps {
        if interrupted.load(Ordering::Relaxed) {
            return Ok(Outcome::Interrupted);
        }
        step(&mut story, options)?;
    }
    let interrupted = story.watch(options)?;
    let good = story.good;
    report.set("good", good.into());
    Ok(match (interrupted, good) {
        (true, _) => Outcome::Interrupted,
        (_, true) => Outcome::Good,
        (_, false) => Outcome::Bad,
    })
}

struct Story<'a, S, W: Write> {
    stage: &'a mut S,
    report: &'a mut Report<W>,
    interrupted: &'a AtomicBool,
    good: bool,
}

impl<S: Stage, W: Write> Story<'_, S, W> {
    fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    fn greet(&mut self, _: StoryOptions) -> Result<(), StoryError> {
        let [(a, ip_a), (b, ip_b)] = self.stage.hosts();
        self.report.set("stage", self.stage.kind().into());
        self.report.line(&format!("{}: {}", self.stage.kind(), self.stage.describe()))?;
        self.report
            .line(&format!("  {a} ({ip_a}) -- br0 -- {b} ({ip_b}); br0 has one flow: priority=0 actions=NORMAL"))?;
        Ok(())
    }

    fn ping(&mut self, what: &str, count: u16, expected: bool) -> Result<(), StoryError> {
        let ping = self.stage.ping(count, INTERVAL)?;
        let as_expected = ping.sent > 0 && ping.received == if expected { ping.sent } else { 0 };
        self.good &= as_expected;
        let verdict = if as_expected { "" } else { "   (NOT AS EXPECTED)" };
        let line = format!("{what}: {} sent, {} answered{}{verdict}", ping.sent, ping.received, times(&ping));
        let value = json!({
            "step": "ping", "sent": ping.sent, "received": ping.received, "as_expected": as_expected,
            "rtt_us": ping.rtts.iter().map(|r| r.as_secs_f64() * 1e6).collect::<Vec<_>>(),
        });
        Ok(self.report.step(&line, value)?)
    }

    fn learn(&mut self, _: StoryOptions) -> Result<(), StoryError> {
        self.ping("1. a pings b (ARP first)", 5, true)?;
        let learnt = self.stage.switch(|switch, now| {
            let name = |m: &ovs_ofproto::pipeline::MacEntry| switch.port_name(m.port).unwrap_or("?").to_string();
            switch.macs().iter(now).map(|m| format!("{} behind {}", m.address, name(&m))).collect::<Vec<_>>()
        })?;
        self.good &= learnt.len() >= 2;
        let value = json!({ "step": "learnt", "macs": learnt });
        Ok(self.report.step(&format!("   learnt: {}", learnt.join(", ")), value)?)
    }

    fn drop_rule(&mut self, _: StoryOptions) -> Result<(), StoryError> {
        self.stage.switch(|switch, now| switch.add_flow(DROP, now))?.map_err(StageError::new)?;
        self.report.step(&format!("2. flow put in: {DROP}"), json!({ "step": "add-flow", "flow": DROP }))?;
        self.ping("   a pings b", 3, false)?;
        self.stage.switch(|switch, now| switch.del_flows("icmp", now))?.map_err(StageError::new)?;
        self.report.step("   flow taken out", json!({ "step": "del-flows", "match": "icmp" }))?;
        self.ping("   a pings b", 3, true)
    }

    fn transfer(&mut self, options: StoryOptions) -> Result<(), StoryError> {
        if options.transfer == 0 {
            return Ok(());
        }
        let transfer = self.stage.transfer(options.transfer, self.interrupted)?;
        let (line, value) = match transfer {
            // It is not to blame.
            Some(_) if self.interrupted() => return Ok(()),
            Some(t) => {
                self.good &= t.intact;
                let line = format!(
                    "3. TCP from a to b: {} MiB, {}, {:.2} Gbit/s (no ethtool: checksums and segments pass through)",
                    t.bytes >> 20,
                    if t.intact { "intact" } else { "DAMAGED" },
                    t.bits_per_second / 1e9,
                );
                (
                    line,
                    json!({ "step": "tcp", "bytes": t.bytes, "intact": t.intact, "bits_per_second": t.bits_per_second }),
                )
            }
            None => {
                ("3. TCP: these hosts speak ARP and ping only".to_string(), json!({ "step": "tcp", "skipped": true }))
            }
        };
        Ok(self.report.step(&line, value)?)
    }

    /// Shows the table, again and again while there is somebody to look. True if that was interrupted.
    fn watch(&mut self, options: StoryOptions) -> Result<bool, StoryError> {
        let end = Clock::now() + options.watch;
        loop {
            let screen = options.screen.filter(|_| Clock::now() < end);
            let stop = self.interrupted();
            let (text, value) = self.stage.switch(|switch, now| snapshot(switch, now))?.map_err(StageError::new)?;
            match screen {
                Some(screen) if !stop => self.report.page(&text, screen)?,
                _ => {
                    let balanced = value.pointer("/packets/balanced").and_then(serde_json::Value::as_bool);
                    self.report.set("switch", value);
                    self.report.line(&format!("\n{text}"))?;
                    self.good &= balanced == Some(true);
                    return Ok(stop);
                }
            }
            // Keeps the table moving, and takes a fifth of a second or so.
            self.stage.ping(4, INTERVAL)?;
        }
    }
}

fn times(ping: &Ping) -> String {
    let us = |d: &Duration| d.as_secs_f64() * 1e6;
    match ping.rtts.as_slice() {
        [] => String::new(),
        [only] => format!(", {:.0} us", us(only)),
        [first, rest @ ..] => {
            let mean = rest.iter().map(us).sum::<f64>() / rest.len() as f64;
            format!(", {:.0} us the first, {mean:.0} us the others", us(first))
        }
    }
}

//! How the demo tells what it sees: lines for people, one JSON value for programs.

use std::fmt::Write as _;
use std::io::{self, Write};

use ovs_dpif::text;
use ovs_packet::Instant;
use serde_json::{Value, json};

use crate::switch::Switch;

/// How a report is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// Lines as things happen.
    Text,
    /// One JSON object at the end.
    Json,
}

/// Collects what is told and writes it.
#[derive(Debug)]
pub struct Report<W> {
    out: W,
    style: Style,
    value: Value,
}

impl<W: Write> Report<W> {
    /// A report to `out`.
    pub fn new(out: W, style: Style) -> Report<W> {
        Report { out, style, value: json!({ "steps": [] }) }
    }

    /// How it is written.
    pub fn style(&self) -> Style {
        self.style
    }

    /// A line for people only.
    ///
    /// # Errors
    /// If writing fails.
    pub fn line(&mut self, line: &str) -> io::Result<()> {
        if self.style == Style::Text {
            writeln!(self.out, "{line}")?;
            self.out.flush()?;
        }
        Ok(())
    }

    /// A fact for programs only.
    pub fn set(&mut self, name: &str, value: Value) {
        if let Some(object) = self.value.as_object_mut() {
            object.insert(name.into(), value);
        }
    }

    /// Something that happened: a line, and the same for programs.
    ///
    /// # Errors
    /// If writing fails.
    pub fn step(&mut self, line: &str, value: Value) -> io::Result<()> {
        if let Some(steps) = self.value.get_mut("steps").and_then(Value::as_array_mut) {
            steps.push(value);
        }
        self.line(line)
    }

    /// The end: writes what was collected for programs.
    ///
    /// # Errors
    /// If writing fails.
    pub fn finish(mut self) -> io::Result<()> {
        if self.style == Style::Json {
            writeln!(self.out, "{:#}", self.value)?;
        }
        self.out.flush()
    }
}

/// A switch's ports, megaflows, addresses and accounts at one time, for people and for programs.
pub fn snapshot(switch: &Switch, now: Instant) -> (String, Value) {
    let mut s = String::new();
    let mut ports = Vec::new();
    let _ = writeln!(
        s,
        "ports:         {:>10} {:>14} {:>10} {:>14} {:>8}",
        "rx packets", "rx bytes", "tx packets", "tx bytes", "dropped"
    );
    for p in switch.ports() {
        let st = p.stats;
        let dropped = st.rx_dropped + st.tx_dropped;
        let _ = writeln!(
            s,
            "  {:>2} {:<9} {:>10} {:>14} {:>10} {:>14} {dropped:>8}",
            p.port, p.name, st.rx_packets, st.rx_bytes, st.tx_packets, st.tx_bytes,
        );
        ports.push(json!({
            "port": p.port.0, "name": p.name, "type": p.kind,
            "rx_packets": st.rx_packets, "rx_bytes": st.rx_bytes, "rx_dropped": st.rx_dropped,
            "tx_packets": st.tx_packets, "tx_bytes": st.tx_bytes, "tx_dropped": st.tx_dropped,
        }));
    }
    let stats = switch.datapath_stats();
    let _ = writeln!(
        s,
        "megaflows: {} ({} masks), lookups: hit {}, missed {}, lost {}",
        stats.flows, stats.masks, stats.hits, stats.missed, stats.lost
    );
    let megaflows = switch.megaflows();
    for flow in &megaflows {
        let _ = writeln!(s, "  {}", text::flow(flow, now));
    }
    let ledger = switch.ledger();
    let _ = writeln!(
        s,
        "packets: in {} = forwarded {} + consumed {} + dropped {}{}",
        ledger.received + ledger.injected,
        ledger.forwarded,
        ledger.consumed,
        ledger.dropped_total(),
        if ledger.balanced() { "" } else { "   (NOT BALANCED)" },
    );
    for (reason, n) in ledger.dropped() {
        let _ = writeln!(s, "  dropped {n}: {} ({reason})", reason.id());
    }
    let drops: serde_json::Map<_, _> = ledger.dropped().map(|(r, n)| (r.id().to_string(), n.into())).collect();
    let macs: Vec<_> = switch
        .macs()
        .iter(now)
        .map(|m| json!({ "vlan": m.vlan, "mac": m.address.to_string(), "port": m.port.to_string(), "age": m.age.as_secs_f64() }))
        .collect();
    let value = json!({
        "ports": ports,
        "megaflows": megaflows.iter().map(|f| text::flow(f, now).to_string()).collect::<Vec<_>>(),
        "masks": stats.masks,
        "lookups": { "hit": stats.hits, "missed": stats.missed, "lost": stats.lost },
        "macs": macs,
        "packets": {
            "in": ledger.received + ledger.injected, "forwarded": ledger.forwarded, "consumed": ledger.consumed,
            "dropped": ledger.dropped_total(), "balanced": ledger.balanced(),
        },
        "drops": drops,
    });
    (s, value)
}

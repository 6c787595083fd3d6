//! How the demo tells what it sees: lines for people, one JSON value for programs.

use std::fmt::Write as _;
use std::io::{self, Write};

use ovs_dpif::{DpifError, text};
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

/// The size of a terminal, in characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Screen {
    /// Characters in a row.
    pub columns: usize,
    /// Rows.
    pub rows: usize,
}

impl Screen {
    /// `lines` as rows that fit: long lines go on in the next row, and what is too much at the end is counted instead.
    fn fit<'t>(self, lines: impl Iterator<Item = &'t str>) -> Vec<String> {
        // The last column stays free: a row that filled it would lose its last character to the erasing behind it.
        let columns = self.columns.saturating_sub(1).max(20);
        let mut fitted = Vec::new();
        for line in lines {
            let mut rest: Vec<char> = line.chars().collect();
            while rest.len() > columns {
                let behind = rest.split_off(columns);
                fitted.push(rest.into_iter().collect());
                rest = CONTINUED.chars().chain(behind).collect();
            }
            fitted.push(rest.into_iter().collect());
        }
        if fitted.len() > self.rows {
            let hidden = fitted.split_off(self.rows.saturating_sub(1)).len();
            fitted.push(format!("... and {hidden} rows more"));
        }
        fitted
    }
}

/// How a row begins that goes on with the line of the row before.
const CONTINUED: &str = "      ";

/// The other screen, no line wrap, no cursor (xterm's control sequences); and back.
const PAGES_BEGIN: &str = "\x1b[?1049h\x1b[?7l\x1b[?25l";
const PAGES_END: &str = "\x1b[?25h\x1b[?7h\x1b[?1049l";

/// Collects what is told and writes it.
#[derive(Debug)]
pub struct Report<W: Write> {
    out: W,
    style: Style,
    value: Value,
    /// What was written so far, to be shown above a page.
    told: String,
    paging: bool,
}

impl<W: Write> Report<W> {
    /// A report to `out`.
    pub fn new(out: W, style: Style) -> Report<W> {
        Report { out, style, value: json!({ "steps": [] }), told: String::new(), paging: false }
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
            self.end_pages()?;
            writeln!(self.out, "{line}")?;
            self.out.flush()?;
            let _ = writeln!(self.told, "{line}");
        }
        Ok(())
    }

    /// For people at a terminal: what was told so far and `text` below it, on a screen that the next page replaces.
    /// The next line ends that, and the terminal is as it was before the first page.
    ///
    /// Lines are put in their places one by one, and what there is of an older page is cleared behind them: nothing
    /// flickers, and nothing scrolls, however small the terminal.
    ///
    /// # Errors
    /// If writing fails.
    pub fn page(&mut self, text: &str, screen: Screen) -> io::Result<()> {
        if self.style != Style::Text {
            return Ok(());
        }
        let mut page = String::new();
        if !self.paging {
            page.push_str(PAGES_BEGIN);
            self.paging = true;
        }
        let lines = self.told.lines().chain([""]).chain(text.lines());
        for (row, line) in (1..).zip(screen.fit(lines)) {
            let _ = write!(page, "\x1b[{row};1H{line}\x1b[K");
        }
        page.push_str("\x1b[J");
        self.out.write_all(page.as_bytes())?;
        self.out.flush()
    }

    fn end_pages(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.paging) {
            self.out.write_all(PAGES_END.as_bytes())?;
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
        self.end_pages()?;
        if self.style == Style::Json {
            writeln!(self.out, "{:#}", self.value)?;
        }
        self.out.flush()
    }
}

/// A report that is given up leaves the terminal as it was.
impl<W: Write> Drop for Report<W> {
    fn drop(&mut self) {
        let _ = self.end_pages();
    }
}

/// A switch's ports, accounts, megaflows and addresses at one time, for people and for programs.
pub fn snapshot(switch: &Switch, now: Instant) -> Result<(String, Value), DpifError> {
    let text = table(switch, now)?;
    let ports: Vec<_> = switch
        .ports()?
        .into_iter()
        .map(|p| {
            let st = p.stats;
            json!({
                "port": p.port.0, "name": p.name, "type": p.kind,
                "rx_packets": st.rx_packets, "rx_bytes": st.rx_bytes, "rx_dropped": st.rx_dropped,
                "tx_packets": st.tx_packets, "tx_bytes": st.tx_bytes, "tx_dropped": st.tx_dropped,
            })
        })
        .collect();
    let (stats, ledger) = (switch.datapath_stats()?, switch.ledger());
    let drops: serde_json::Map<_, _> = ledger.dropped().map(|(r, n)| (r.id().to_string(), n.into())).collect();
    let macs: Vec<_> = switch
        .macs()
        .iter(now)
        .map(|m| json!({ "vlan": m.vlan, "mac": m.address.to_string(), "port": m.port.to_string(), "age": m.age.as_secs_f64() }))
        .collect();
    let value = json!({
        "ports": ports,
        "megaflows": switch.dump_megaflows(now)?,
        "masks": stats.masks,
        "lookups": { "hit": stats.hits, "missed": stats.missed, "lost": stats.lost },
        "macs": macs,
        "packets": {
            "in": ledger.received + ledger.injected, "forwarded": ledger.forwarded, "consumed": ledger.consumed,
            "dropped": ledger.dropped_total(), "balanced": ledger.balanced(),
        },
        "drops": drops,
    });
    Ok((text, value))
}

fn table(switch: &Switch, now: Instant) -> Result<String, DpifError> {
    let mut s = String::new();
    let _ = writeln!(
        s,
        "{:<21}{:>12} {:>15} {:>12} {:>15} {:>10}",
        "ports:", "rx packets", "rx bytes", "tx packets", "tx bytes", "dropped"
    );
    for p in switch.ports()? {
        let st = p.stats;
        let dropped = st.rx_dropped + st.tx_dropped;
        let _ = writeln!(
            s,
            "  {:>2} {:<16}{:>12} {:>15} {:>12} {:>15} {dropped:>10}",
            p.port, p.name, st.rx_packets, st.rx_bytes, st.tx_packets, st.tx_bytes,
        );
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
    let stats = switch.datapath_stats()?;
    let _ = writeln!(
        s,
        "megaflows: {} ({} masks), lookups: hit {}, missed {}, lost {}",
        stats.flows, stats.masks, stats.hits, stats.missed, stats.lost
    );
    for flow in &switch.megaflows()? {
        let _ = writeln!(s, "  {}", text::flow(flow, now));
    }
    Ok(s)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCREEN: Screen = Screen { columns: 80, rows: 24 };

    #[test]
    fn lines_go_on_in_the_next_row_and_the_end_is_counted() {
        let fit = |text: &str, rows| Screen { columns: 21, rows }.fit(text.lines());
        let long = "0123456789".repeat(4);
        let rows = ["01234567890123456789", "      01234567890123", "      456789"];
        assert_eq!(fit(&long, 3), rows);
        assert_eq!(fit(&format!("{long}\nx"), 4), [&rows[..], &["x"]].concat());
        assert_eq!(fit(&format!("{long}\nx"), 3), [rows[0], rows[1], "... and 2 rows more"]);
        assert_eq!(fit("", 0), Vec::<String>::new());
        assert_eq!(fit("x", 0), ["... and 1 rows more"]);
    }

    #[test]
    fn pages_stay_within_the_terminal_and_leave_it_as_it_was() {
        let mut out = Vec::new();
        let mut report = Report::new(&mut out, Style::Text);
        report.line("the story").unwrap();
        report.page("a table\nof two lines", SCREEN).unwrap();
        report.page("a table", SCREEN).unwrap();
        report.line("the end").unwrap();
        report.page("given up", SCREEN).unwrap();
        drop(report);
        let text = String::from_utf8(out).unwrap();
        let (begin, end) = (PAGES_BEGIN, PAGES_END);
        let row = |n: usize, line: &str| format!("\x1b[{n};1H{line}\x1b[K");
        assert_eq!(
            text,
            [
                "the story\n",
                begin,
                &[row(1, "the story"), row(2, ""), row(3, "a table"), row(4, "of two lines")].concat(),
                "\x1b[J",
                &[row(1, "the story"), row(2, ""), row(3, "a table")].concat(),
                "\x1b[J",
                end,
                "the end\n",
                begin,
                &[row(1, "the story"), row(2, "the end"), row(3, ""), row(4, "given up")].concat(),
                "\x1b[J",
                end,
            ]
            .concat()
        );
    }

    #[test]
    fn programs_get_no_pages() {
        let mut out = Vec::new();
        let mut report = Report::new(&mut out, Style::Json);
        report.page("a table", SCREEN).unwrap();
        report.finish().unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), json!({ "steps": [] }));
    }
}

//! What tables can do, and their statistics, which came together once.
//!
//! A table is told apart from the one before it only: what is the same is said to be so, and tables without names that
//! are the same in all are gathered into a range.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use ovs_packet::field::{FieldId, FieldSet};

use super::Printer;
use super::switch::action_names;
use crate::codec::{
    ActionAbilities, InstructionAbilities, TableAbilities, TableFeatures, TableMiss, TableStats, Version,
};

/// Instructions by their numbers, in the order in which they are executed.
const INSTRUCTIONS: [(u32, &str); 6] = [
    (6, "meter"),
    (4, "apply_actions"),
    (5, "clear_actions"),
    (3, "write_actions"),
    (2, "write_metadata"),
    (1, "goto_table"),
];

/// A table, as far as it is told.
#[derive(Clone, Copy)]
struct Table<'a> {
    number: u8,
    features: &'a TableFeatures,
    abilities: &'a TableAbilities,
    miss: Option<TableMiss>,
    stats: Option<(u32, u64, u64)>,
}

impl Printer<'_> {
    pub(super) fn table_stats(&mut self, tables: &[TableStats]) -> fmt::Result {
        let (none, nothing) = (TableFeatures::default(), TableAbilities::default());
        let tables = tables.iter().map(|t| {
            let features = t.features.as_deref().unwrap_or(&none);
            Table {
                number: t.table,
                features,
                abilities: features.abilities.as_deref().unwrap_or(&nothing),
                miss: t.miss,
                stats: Some((t.active, t.lookups, t.matched)),
            }
        });
        self.tables(tables)
    }

    pub(super) fn table_features(&mut self, tables: &[TableFeatures]) -> fmt::Result {
        let nothing = TableAbilities::default();
        let tables = tables.iter().map(|features| Table {
            number: features.table,
            features,
            abilities: features.abilities.as_deref().unwrap_or(&nothing),
            miss: None,
            stats: None,
        });
        self.tables(tables)
    }

    fn tables<'a>(&mut self, tables: impl Iterator<Item = Table<'a>>) -> fmt::Result {
        let (mut before, mut ditto): (Option<Table<'_>>, Option<(u8, u8)>) = (None, None);
        for t in tables {
            if before.is_none() {
                let command = ["replace", "modify", "enable", "disable"].get(usize::from(t.features.command));
                if let (Some(command), true) = (command, t.features.command != 0) {
                    write!(self.out, "\n  command: {command}")?;
                }
            }
            let same = before.is_some_and(|b| t.has_features_of(&b));
            let same_stats = t.stats.is_none() || before.is_some_and(|b| b.stats == t.stats);
            if same && same_stats && t.features.name.is_empty() {
                ditto = Some((ditto.map_or(t.number, |d| d.0), t.number));
            } else {
                self.ditto(ditto.take())?;
                self.table(&t, before.as_ref(), same, same_stats)?;
            }
            before = Some(t);
        }
        self.ditto(ditto)
    }

    fn ditto(&mut self, tables: Option<(u8, u8)>) -> fmt::Result {
        match tables {
            None => Ok(()),
            Some((one, last)) if one == last => writeln!(self.out, "\n  table {one}: ditto"),
            Some((first, last)) => writeln!(self.out, "\n  tables {first}...{last}: ditto"),
        }
    }

    fn table(&mut self, t: &Table<'_>, before: Option<&Table<'_>>, same: bool, same_stats: bool) -> fmt::Result {
        let version = self.header.version;
        let out = &mut self.out;
        write!(out, "\n  table {}", t.number)?;
        if !t.features.name.is_empty() {
            write!(out, " (\"{}\")", t.features.name)?;
        }
        if same && same_stats {
            out.push_str(": ditto");
            return Ok(());
        }
        out.push_str(":\n");
        if let Some((active, lookups, matched)) = t.stats {
            writeln!(out, "    active={active}, lookup={lookups}, matched={matched}")?;
        }
        if same {
            out.push_str(if t.is_empty() { "" } else { "    (same features)\n" });
            return Ok(());
        }
        let f = t.features;
        if f.metadata_match != 0 || f.metadata_write != 0 {
            let [read, write] = [f.metadata_match, f.metadata_write]
                .map(|bits| if bits == 0 { "0".to_string() } else { format!("{bits:#x}") });
            writeln!(out, "    metadata: match={read} write={write}")?;
        }
        if let Some(miss) = t.miss {
            writeln!(out, "    config={}", miss.word())?;
        }
        for (name, has) in [("eviction", f.eviction), ("vacancy events", f.vacancy_events)] {
            if let Some(has) = has {
                writeln!(out, "    {name}: {}supported", if has { "" } else { "not " })?;
            }
        }
        if f.max_entries != 0 {
            writeln!(out, "    max_entries={}", f.max_entries)?;
        }
        let (own, others) = (t.abilities, before.map(|b| (b.number, b.abilities)));
        let alike =
            |a: &InstructionAbilities, b: &InstructionAbilities, number| same_instructions(a, t.number, b, number);
        let as_before = others.is_some_and(|(n, b)| alike(&own.flows, &b.flows, n) && alike(&own.miss, &b.miss, n));
        let earlier = others.map(|(_, b)| b);
        let none = is_empty(&own.flows);
        if as_before {
            out.push_str(if none { "" } else { "    (same instructions)\n" });
        } else if !alike(&own.flows, &own.miss, t.number) {
            out.push_str("    instructions (other than table miss):\n");
            instructions(out, &own.flows, earlier.map(|b| &b.flows), version)?;
            out.push_str("    instructions (table miss):\n");
            instructions(out, &own.miss, earlier.map(|b| &b.miss), version)?;
        } else if !none {
            out.push_str("    instructions (table miss and others):\n");
            instructions(out, &own.flows, earlier.map(|b| &b.flows), version)?;
        }
        if own.matching.is_empty() {
            return Ok(());
        }
        if earlier.is_some_and(|b| b.matching == own.matching) {
            out.push_str("    (same matching)\n");
            return Ok(());
        }
        out.push_str("    matching:\n");
        for (title, masked, wild) in [
            ("arbitrary mask", true, true),
            ("exact match or wildcard", false, true),
            ("must exact match", false, false),
        ] {
            let such = |f: &FieldId| own.masks.contains(*f) == masked && own.wildcards.contains(*f) == wild;
            let fields: FieldSet = own.matching.iter().filter(such).collect();
            if !fields.is_empty() {
                writeln!(out, "      {title}: {}", field_names(&fields))?;
            }
        }
        Ok(())
    }
}

impl Table<'_> {
    fn has_features_of(&self, other: &Table<'_>) -> bool {
        let told = |t: &Table<'_>| {
            let f = t.features;
            (f.metadata_match, f.metadata_write, t.miss, f.eviction, f.vacancy_events, f.max_entries)
        };
        let (a, b) = (self.abilities, other.abilities);
        let alike = |a, b| same_instructions(a, self.number, b, other.number);
        told(self) == told(other) && alike(&a.flows, &b.flows) && alike(&a.miss, &b.miss) && a.matching == b.matching
    }

    fn is_empty(&self) -> bool {
        let nothing = TableAbilities::default();
        let none = TableFeatures::default();
        self.has_features_of(&Table { features: &none, abilities: &nothing, miss: None, ..*self })
    }
}

/// Whether two tables can do the same. No table goes on with itself, so that of neighbours the first has one more to go
/// on with: the second.
fn same_instructions(a: &InstructionAbilities, a_table: u8, b: &InstructionAbilities, b_table: u8) -> bool {
    let later = a_table.max(b_table);
    let neighbours = a_table.abs_diff(b_table) == 1;
    let next = if neighbours {
        let (first, second) = if a_table < b_table { (a, b) } else { (b, a) };
        let shifted = first.next.contains(&later) && !second.next.contains(&later);
        let without = |s: &BTreeSet<u8>| s.iter().copied().filter(|t| !shifted || *t != later).collect::<Vec<_>>();
        without(&first.next) == without(&second.next)
    } else {
        a.next == b.next
    };
    next && a.instructions == b.instructions && a.write == b.write && a.apply == b.apply
}

fn is_empty(i: &InstructionAbilities) -> bool {
    *i == InstructionAbilities::default()
}

fn instructions(
    out: &mut String,
    i: &InstructionAbilities,
    before: Option<&InstructionAbilities>,
    version: Version,
) -> fmt::Result {
    if !i.next.is_empty() {
        writeln!(out, "      next tables: {}", ranges(&i.next))?;
    }
    if i.instructions != 0 {
        if before.is_some_and(|b| b.instructions == i.instructions) {
            out.push_str("      (same instructions)\n");
        } else {
            // Meters are OpenFlow 1.3's.
            let known = |n: u32| n != 6 || version >= Version::V1_3;
            let has = |n: u32| known(n) && i.instructions & 1u32.checked_shl(n).unwrap_or(0) != 0;
            let names: Vec<&str> = INSTRUCTIONS.iter().filter(|(n, _)| has(*n)).map(|(_, name)| *name).collect();
            writeln!(out, "      instructions: {}", names.join(" "))?;
        }
    }
    let sets = !i.write.set_fields.is_empty();
    if before.is_some_and(|b| b.write == i.write && b.apply == i.apply) && sets {
        out.push_str("      (same actions)\n");
    } else if i.write != i.apply {
        out.push_str("      Write-Actions features:\n");
        actions(out, &i.write, version)?;
        out.push_str("      Apply-Actions features:\n");
        actions(out, &i.apply, version)?;
    } else if i.write != ActionAbilities::default() {
        out.push_str("      Write-Actions and Apply-Actions features:\n");
        actions(out, &i.write, version)?;
    }
    Ok(())
}

fn actions(out: &mut String, a: &ActionAbilities, version: Version) -> fmt::Result {
    let names = action_names(a.actions, version);
    if !names.is_empty() {
        writeln!(out, "        actions: {}", names.join(" "))?;
    }
    match a.set_fields.is_empty() {
        true => Ok(()),
        false => writeln!(out, "        supported on Set-Field: {}", field_names(&a.set_fields)),
    }
}

/// Numbers and ranges of numbers with commas between them.
fn ranges(numbers: &BTreeSet<u8>) -> String {
    let mut found: Vec<(u8, u8)> = Vec::new();
    for n in numbers {
        match found.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*n) => *last = *n,
            _ => found.push((*n, *n)),
        }
    }
    let words = found.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") });
    words.collect::<Vec<_>>().join(",")
}

fn field_names(fields: &FieldSet) -> String {
    let names: Vec<&str> = fields.iter().map(|f| f.info().name).collect();
    let mut out = String::new();
    gather(&mut out, &names, 0);
    out
}

/// Names without their first `prefix` bytes, which they share. Those in a row that go on alike up to an underscore stand
/// in braces; those that are numbered in a row are a range, if they are more than two.
fn gather(out: &mut String, names: &[&str], prefix: usize) {
    let (mut left, mut first) = (names, true);
    while let Some(name) = left.first() {
        if !std::mem::take(&mut first) {
            out.push(if prefix > 0 { ',' } else { ' ' });
        }
        let (alike, more) = alike(left, prefix);
        let numbered = numbered(left);
        let run = alike.max(numbered);
        let tail = |name: &str| name.get(prefix..).unwrap_or_default().to_string();
        if numbered >= alike {
            out.push_str(&tail(name));
            if let (Some(last), true) = (left.get(run.saturating_sub(1)), run > 1) {
                out.push_str("...");
                out.push_str(&tail(last));
            }
        } else {
            out.push_str(name.get(prefix..prefix + more).unwrap_or_default());
            out.push('{');
            gather(out, left.get(..run).unwrap_or_default(), prefix + more);
            out.push('}');
        }
        left = left.get(run.max(1)..).unwrap_or_default();
    }
}

/// How long two texts are the same, up to an underscore.
fn shared(a: &str, b: &str) -> usize {
    let same = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b);
    same.enumerate().filter(|(_, (c, _))| *c == b'_').last().map_or(0, |(at, _)| at + 1)
}

/// How many of the names go on alike behind `prefix`, and for how many bytes.
fn alike(names: &[&str], prefix: usize) -> (usize, usize) {
    let [first, second, rest @ ..] = names else { return (names.len(), 0) };
    let tail = |name: &&str| name.get(prefix..).unwrap_or_default().to_string();
    let mut more = shared(&tail(first), &tail(second));
    if more == 0 {
        return (1, 0);
    }
    let mut run = 2;
    for name in rest {
        match shared(&tail(first), &tail(name)) {
            0 => break,
            len => more = more.min(len),
        }
        run += 1;
    }
    (run, more)
}

/// How many of the names differ by their numbers only, which go up by one.
fn numbered(names: &[&str]) -> usize {
    let split = |name: &str| {
        let digits = name.len() - name.bytes().rev().take_while(u8::is_ascii_digit).count();
        let (word, number) = name.split_at(digits);
        Some((word.to_string(), number.parse::<u32>().ok()?))
    };
    let follows = |pair: &[&str]| match pair {
        [a, b] => matches!((split(a), split(b)), (Some((a, m)), Some((b, n))) if a == b && m.checked_add(1) == Some(n)),
        _ => false,
    };
    match names.windows(2).take_while(|pair| follows(pair)).count() {
        1 => 1,
        n => (n + 1).min(names.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_gathered() {
        let text = |names: &[&str]| {
            let mut out = String::new();
            gather(&mut out, names, 0);
            out
        };
        assert_eq!(text(&["eth_src", "eth_dst", "reg0", "reg1", "reg2"]), "eth_{src,dst} reg0...reg2");
        assert_eq!(text(&["reg0", "reg1", "in_port", "in_port_oxm"]), "reg0 reg1 in_{port,port_oxm}");
        assert_eq!(text(&[]), "");
        assert_eq!(ranges(&[1, 2, 3, 9].into()), "1-3,9");
    }
}

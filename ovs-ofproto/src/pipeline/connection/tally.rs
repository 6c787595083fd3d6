//! How many flow-mods a controller sent, told in the log now and then (features of upstream's connection manager).
//!
//! A line is due ten seconds after the first flow-mod that it tells of, a minute after the line before at the soonest, and
//! when the connection goes.

use std::fmt;
use std::time::Duration;

use ovs_packet::Instant;

use crate::flow_mod::FlowModCommand;

/// How long after the first flow-mod a line is due.
const DELAY: Duration = Duration::from_secs(10);

/// How long after a line the next one is due at the soonest.
const PAUSE: Duration = Duration::from_secs(60);

/// Flow-mods that the log does not tell of yet.
#[derive(Default, Debug)]
pub(in crate::pipeline) struct Tally {
    adds: u64,
    deletes: u64,
    changes: u64,
    first: Instant,
    last: Instant,
    /// When a line is due.
    due: Option<Instant>,
    /// When the next may be.
    not_before: Instant,
}

impl Tally {
    /// Counts a flow-mod.
    pub(in crate::pipeline) fn note(&mut self, command: FlowModCommand, now: Instant) {
        match command {
            FlowModCommand::Add => self.adds += 1,
            FlowModCommand::Modify | FlowModCommand::ModifyStrict => self.changes += 1,
            FlowModCommand::Delete | FlowModCommand::DeleteStrict => self.deletes += 1,
        }
        self.come_due(now);
    }

    /// Counts the flow-mods that others counted.
    pub(in crate::pipeline) fn absorb(&mut self, others: &Tally, now: Instant) {
        self.adds += others.adds;
        self.changes += others.changes;
        self.deletes += others.deletes;
        if others.due.is_some() {
            self.come_due(now);
        }
    }

    fn come_due(&mut self, now: Instant) {
        if self.due.is_none() {
            let due = (now + DELAY).max(self.not_before);
            (self.first, self.due, self.not_before) = (now, Some(due), due + PAUSE);
        }
        self.last = now;
    }

    /// When a line is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What the log is told now; then counting begins anew.
    pub(in crate::pipeline) fn take(&mut self, now: Instant) -> Option<Line> {
        self.due.take()?;
        let now = now.max(self.last);
        let line = Line {
            counts: [self.adds, self.deletes, self.changes],
            ago: (now - self.first).as_secs(),
            took: (self.last - self.first).as_secs(),
        };
        (self.adds, self.deletes, self.changes) = (0, 0, 0);
        Some(line)
    }
}

/// A line of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::pipeline) struct Line {
    /// Additions, deletions, modifications.
    counts: [u64; 3],
    /// How many seconds ago they began, and how long they took.
    ago: u64,
    took: u64,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line { counts, ago, took } = self;
        write!(f, "{} flow_mods ", counts.iter().sum::<u64>())?;
        match *took {
            took if took == *ago => write!(f, "in the last {ago} s (")?,
            0 => write!(f, "{ago} s ago (")?,
            took => write!(f, "in the {took} s starting {ago} s ago (")?,
        }
        let named = counts.iter().zip(["adds", "deletes", "modifications"]).filter(|(n, _)| **n > 0);
        for (i, (n, name)) in named.enumerate() {
            write!(f, "{}{n} {name}", if i > 0 { ", " } else { "" })?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FlowModCommand::{Add, Delete, ModifyStrict};

    #[test]
    fn lines_tell_what_came_and_when() {
        let (mut tally, at) = (Tally::default(), Instant::from_secs);
        let line = |tally: &mut Tally, now| tally.take(at(now)).map(|l| l.to_string());
        assert_eq!(line(&mut tally, 5), None);
        [Add, Add, Delete].into_iter().for_each(|c| tally.note(c, at(5)));
        assert_eq!(tally.due(), Some(at(15)));
        assert_eq!(line(&mut tally, 5).unwrap(), "3 flow_mods in the last 0 s (2 adds, 1 deletes)");
        tally.note(ModifyStrict, at(20));
        assert_eq!(tally.due(), Some(at(75)), "not sooner than a minute after the last was due");
        assert_eq!(line(&mut tally, 30).unwrap(), "1 flow_mods 10 s ago (1 modifications)");
        tally.note(Add, at(40));
        tally.note(Add, at(43));
        assert_eq!(line(&mut tally, 50).unwrap(), "2 flow_mods in the 3 s starting 10 s ago (2 adds)");
    }
}

//! Rounds that took suspiciously long, told in the log together with the rounds around them (`pmd-perf-log-set`).
//!
//! While metrics are kept, each worker looks at its own rounds. When one is suspicious it waits for those behind it, and tells
//! all of them at once, in its own thread: what that costs is in the rounds that follow. So at most [`TOLD`] are told in a
//! second, and after a long list, lists are short again.

use std::collections::VecDeque;
use std::time::Duration;

use super::perf::{HISTORY, Sample, iterations_table};

/// The longest list before and behind a suspicious round together.
const MOST: usize = HISTORY - 2;

/// A list of more rounds than this is told once.
const LONG: usize = 100;

/// How many lists a worker tells in a second.
const TOLD: u32 = 10;

/// What of its rounds a worker tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Watch {
    /// Whether it looks at all.
    pub on: bool,
    /// How many rounds before the suspicious one are told.
    pub before: usize,
    /// How many behind it.
    pub after: usize,
    /// Whether another suspicious one among those makes the list longer.
    pub extend: bool,
    /// How long a round may take.
    pub limit: Duration,
    /// From how many packets in a guest's receive queue on a round is suspicious. No device tells how many there are: it is
    /// as if there were none.
    pub queue: u32,
}

impl Default for Watch {
    fn default() -> Watch {
        Watch { on: false, before: 5, after: 5, extend: false, limit: Duration::from_micros(250), queue: 128 }
    }
}

impl Watch {
    /// The same with lists no longer than a history has rounds for.
    #[must_use]
    pub fn bounded(self) -> Watch {
        let before = self.before.min(MOST);
        Watch { before, after: self.after.min(MOST - before), ..self }
    }

    /// Why a round is suspicious, if it is.
    fn reason(&self, sample: &Sample) -> Option<&'static str> {
        match sample.nanos {
            nanos if u128::from(nanos) > self.limit.as_nanos() => Some("Excessive total cycles"),
            _ if self.queue == 0 => Some("Vhost RX queue full"),
            _ => None,
        }
    }
}

/// A suspicious round that is to be told.
#[derive(Clone, Copy, Debug)]
struct Suspect {
    why: &'static str,
    number: u64,
    nanos: u64,
    /// How many rounds are still to come, and how many will be told then.
    left: usize,
    span: usize,
}

/// A worker's eye on its rounds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watcher {
    watch: Watch,
    rounds: u64,
    suspect: Option<Suspect>,
    /// The second of the stopwatch in which was told last, how often in it, and how often not since.
    second: u64,
    told: u32,
    kept: u64,
}

impl Watcher {
    pub(crate) fn set(&mut self, watch: Watch) {
        (self.watch, self.suspect) = (watch.bounded(), None);
    }

    /// Looks at the latest round of a history. What is to be told, if anything is.
    pub(crate) fn note(&mut self, history: &VecDeque<Sample>) -> Option<String> {
        let latest = history.front().filter(|_| self.watch.on)?;
        self.rounds += 1;
        let (why, Watch { before, after, extend, .. }) = (self.watch.reason(latest), self.watch);
        match (&mut self.suspect, why) {
            (None, Some(why)) => {
                let span = before + 1 + after;
                self.suspect = Some(Suspect { why, number: self.rounds, nanos: latest.nanos, left: after, span });
            }
            (Some(suspect), Some(_)) if extend && suspect.span + after - suspect.left < MOST => {
                suspect.span += after - (suspect.left - 1);
                suspect.left = after;
            }
            (Some(suspect), _) => suspect.left -= 1,
            (None, None) => {}
        }
        let suspect = self.suspect.filter(|suspect| suspect.left == 0)?;
        self.suspect = None;
        if suspect.span > LONG {
            let Watch { before, after, extend, .. } = Watch::default();
            self.watch = Watch { before, after, extend, ..self.watch };
        }
        let second = latest.at / 1_000_000_000;
        if second != self.second {
            (self.second, self.told) = (second, 0);
        }
        if self.told >= TOLD {
            self.kept += 1;
            return None;
        }
        self.told += 1;
        let kept = match std::mem::take(&mut self.kept) {
            0 => String::new(),
            n => format!(" ({n} before were not told)"),
        };
        let Suspect { why, number, nanos, span, .. } = suspect;
        let table = iterations_table(history.iter().copied().take(span));
        Some(format!(
            "Suspicious iteration ({why}): iter={number} duration={} us{kept}\nNeighborhood of suspicious iteration:\n{table}",
            nanos / 1000
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told of rounds that take so long, in microseconds, one in each of `per_second` parts of a second.
    fn told(watch: Watch, rounds: &[u64], per_second: u64) -> Vec<(usize, String)> {
        let (mut watcher, mut history) = (Watcher::default(), VecDeque::new());
        watcher.set(watch);
        let mut all = Vec::new();
        for (i, micros) in rounds.iter().enumerate() {
            let at = i as u64 * 1_000_000_000 / per_second;
            history.push_front(Sample { at, iterations: 1, nanos: micros * 1000, ..Sample::default() });
            all.extend(watcher.note(&history).map(|text| (i, text)));
        }
        all
    }

    fn rows(text: &str) -> usize {
        text.lines().filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit())).count()
    }

    #[test]
    fn a_long_round_is_told_with_those_around_it() {
        let watch = Watch { on: true, before: 2, after: 3, ..Watch::default() };
        let rounds = [10, 10, 10, 900, 10, 901, 10, 10, 10];
        let all = told(watch, &rounds, 1);
        let [(at, text)] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((*at, rows(text)), (6, 6));
        assert!(text.starts_with("Suspicious iteration (Excessive total cycles): iter=4 duration=900 us\n"), "{text}");
        // The one behind it makes the list longer.
        let all = told(Watch { extend: true, ..watch }, &rounds, 1);
        assert_eq!(all.iter().map(|(at, text)| (*at, rows(text))).collect::<Vec<_>>(), [(8, 8)]);
        assert!(told(Watch { on: false, ..watch }, &rounds, 1).is_empty());
        assert_eq!(told(Watch { after: 0, ..watch }, &rounds, 1).len(), 2);
        assert_eq!(told(Watch { queue: 0, before: 0, after: 0, ..watch }, &[1, 1], 1).len(), 2);
    }

    #[test]
    fn lists_are_bounded_and_so_is_how_often_they_are_told() {
        let watch = Watch { on: true, before: 5000, after: 5000, ..Watch::default() }.bounded();
        assert_eq!((watch.before, watch.after), (MOST, 0));
        let each = Watch { on: true, before: 0, after: 0, ..Watch::default() };
        let all = told(each, &[900; 100], 50);
        assert_eq!(all.len(), 2 * TOLD as usize);
        assert!(all[10].1.contains("(40 before were not told)"), "{}", all[10].1);
        // After a list of more than a hundred they are short again.
        let long = Watch { before: 10, after: 100, ..each };
        let all = told(long, &[900; 150], 1);
        assert_eq!(all.iter().map(|(at, text)| (*at, rows(text))).take(2).collect::<Vec<_>>(), [(100, 101), (106, 11)]);
        // However many follow, a list ends.
        let extended = told(Watch { extend: true, before: 10, after: 10, ..each }, &[900; 1200], 1);
        assert!(extended.len() == 1 + (1200 - extended[0].0 - 1) / 6 && extended[0].0 < HISTORY, "{}", extended.len());
    }
}

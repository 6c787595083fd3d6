//! Counters of events and how often they happened lately (`coverage/show` of ovs-appctl(8)).
//!
//! A counter is a name and a total. Who has totals of its own gives them with [`Coverage::set`]; rates are worked out from
//! what the totals were.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ovs_packet::Instant;

/// How often totals are noted.
const INTERVAL: Duration = Duration::from_secs(5);

/// Notes in an hour.
const HISTORY: usize = 720;

#[derive(Debug, Default, Clone)]
struct Counter {
    total: u64,
    /// Totals of the past, the oldest first.
    past: VecDeque<u64>,
}

impl Counter {
    /// Events a second over the last `notes` intervals.
    fn rate(&self, notes: usize) -> f64 {
        let then = self.past.len().checked_sub(notes).and_then(|at| self.past.get(at)).copied().unwrap_or(0);
        (self.total - then) as f64 / (notes as f64 * INTERVAL.as_secs_f64())
    }
}

/// Counters of events. See the [module](self).
#[derive(Debug, Default)]
pub struct Coverage {
    counters: BTreeMap<&'static str, Counter>,
    next: Option<Instant>,
}

impl Coverage {
    /// Adds to a counter.
    pub fn add(&mut self, name: &'static str, events: u64) {
        self.counters.entry(name).or_default().total += events;
    }

    /// Gives a counter its total.
    pub fn set(&mut self, name: &'static str, total: u64) {
        let counter = self.counters.entry(name).or_default();
        counter.total = counter.total.max(total);
    }

    /// A counter's total.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.counters.get(name).map(|c| c.total)
    }

    /// Notes the totals, when that is due.
    pub fn run(&mut self, now: Instant) {
        let mut due = *self.next.get_or_insert(now + INTERVAL);
        // After a long sleep only what an hour remembers is worth noting.
        let mut notes = 0;
        while due <= now && notes < HISTORY {
            for counter in self.counters.values_mut() {
                counter.past.push_back(counter.total);
                if counter.past.len() > HISTORY {
                    counter.past.pop_front();
                }
            }
            notes += 1;
            due += INTERVAL;
        }
        self.next = Some(due.max(now));
    }

    /// The counters that are not zero, with rates over five seconds, a minute and an hour.
    pub fn show(&self) -> String {
        let mut text = String::from("Event coverage, avg rate over last: 5 seconds, last minute, last hour:\n");
        for (name, c) in self.counters.iter().filter(|(_, c)| c.total > 0) {
            let (short, minute, hour) = (c.rate(1), c.rate(12), c.rate(HISTORY));
            text += &format!("{name:<24} {short:>5.1}/sec {minute:>9.3}/sec {hour:>13.4}/sec   total: {}\n", c.total);
        }
        let silent = self.counters.values().filter(|c| c.total == 0).count();
        text + &format!("{silent} events never hit\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_time_they_say() {
        let mut coverage = Coverage::default();
        coverage.add("idle", 0);
        coverage.run(Instant::ZERO);
        coverage.add("busy", 100);
        coverage.run(Instant::ZERO + INTERVAL);
        coverage.add("busy", 50);
        assert_eq!(coverage.get("busy"), Some(150));
        assert!(
            coverage
                .show()
                .contains("busy                      10.0/sec     2.500/sec        0.0417/sec   total: 150\n"),
            "{}",
            coverage.show()
        );
        assert!(coverage.show().ends_with("1 events never hit\n"));
    }
}

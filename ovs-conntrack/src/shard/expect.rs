//! What helpers expect, and what they keep of the connections that announced it.

use core::sync::atomic::Ordering;

use ovs_packet::Instant;

use crate::helper::{Expectation, Expected, Helped};
use crate::shard::{Common, Shard};
use crate::tuple::Tuple;

impl Shard {
    /// What is expected as this, if anything.
    pub(crate) fn expectation(&self, expected: &Expected, now: Instant) -> Option<Expectation> {
        self.expectations.get(expected).filter(|e| e.until > now).copied()
    }

    /// Expects a connection. `false` if something else is expected as the same, or there are too many.
    pub(crate) fn expect(&mut self, expectation: &Expectation, now: Instant, common: &Common) -> bool {
        let key = expectation.expected;
        let known = self.expectations.get(&key).filter(|e| e.until > now);
        if known.is_some_and(|e| (e.parent_key, e.real) != (expectation.parent_key, expectation.real)) {
            return false;
        }
        if common.expectations.load(Ordering::Relaxed) >= common.config.max_expectations {
            self.forget_expectations(now, common);
        }
        let replaces = self.expectations.contains_key(&key);
        if !replaces && common.expectations.load(Ordering::Relaxed) >= common.config.max_expectations {
            return false;
        }
        if self.expectations.insert(key, *expectation).is_none() {
            common.expectations.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    /// The expected connection has come.
    pub(crate) fn fulfil(&mut self, expected: &Expected, common: &Common) {
        if self.expectations.remove(expected).is_some() {
            common.expectations.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Forgets what was waited for too long.
    pub(crate) fn forget_expectations(&mut self, now: Instant, common: &Common) {
        self.expectations.retain(|_, e| {
            let keep = e.until > now;
            common.expectations.fetch_sub(usize::from(!keep), Ordering::Relaxed);
            keep
        });
    }

    /// All expectations that are alive.
    pub(crate) fn expectations(&self, now: Instant) -> impl Iterator<Item = &Expectation> {
        self.expectations.values().filter(move |e| e.until > now)
    }

    /// What a connection has of its helper, to be changed.
    pub(crate) fn helped_mut(&mut self, id: u32) -> Option<&mut Helped> {
        self.helped.get_mut(&id)
    }

    /// The helper of a connection.
    pub(crate) fn helped(&self, id: u32) -> Option<&Helped> {
        self.helped.get(&id)
    }

    /// The original tuple of the connection that announced this one.
    pub(crate) fn parent(&self, id: u32) -> Option<&Tuple> {
        self.parents.get(&id)
    }
}

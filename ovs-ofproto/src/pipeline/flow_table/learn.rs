//! Flows that packets make.

use ovs_packet::Instant;

use super::check::Known;
use super::log::Log;
use super::{FlowModError, FlowTables, pattern};
use crate::pipeline::translate::Learned;

impl FlowTables {
    /// Whether a flow may be learnt: it is there already, or its table has fewer with its cookie than its limit says.
    pub(in crate::pipeline) fn learns(&self, l: &Learned) -> bool {
        let fm = &l.flow;
        if l.limit == 0 || self.exact(fm.table, &pattern(&fm.matching), fm.priority.into()).is_some() {
            return true;
        }
        let limit = usize::try_from(l.limit).unwrap_or(usize::MAX);
        if fm.cookie == 0 {
            // No cookie is not kept an index of: most flows have none, of which the first few decide.
            let all = self.view(fm.table).into_iter().flat_map(|t| t.iter());
            let mine = all.filter(|r| self.rules.get(*r.payload()).is_some_and(|r| r.cookie == 0 && !r.removed));
            return mine.take(limit).count() < limit;
        }
        let of_table = |id| self.rules.get(id).is_some_and(|r| r.table == fm.table && !r.removed);
        let mine = self.cookies.range((fm.cookie, super::RuleId::FIRST)..);
        let mine = mine.take_while(|(cookie, _)| *cookie == fm.cookie).filter(|(_, id)| of_table(*id));
        mine.take(limit).count() < limit
    }

    /// Whether a flow that is to be learnt has to do with what waits far ahead: it is changed by that, or the table may be
    /// full by it.
    pub(in crate::pipeline) fn meets(&self, l: &Learned) -> bool {
        let (fm, pattern) = (&l.flow, pattern(&l.flow.matching));
        let Some(table) = self.table(fm.table) else { return false };
        let now = table.classifier.at(self.version).find_exact(&pattern, fm.priority.into()).map(|r| *r.payload());
        now != self.exact(fm.table, &pattern, fm.priority.into()) || table.flows >= table.limit()
    }

    /// Learns a flow of a packet that came at `now`. One that is there and does the same starts its hard time-out again; one
    /// that is there, does something else and is of later than that stays: counters are read late.
    pub(in crate::pipeline) fn learn(
        &mut self,
        l: &Learned,
        known: Known<'_>,
        now: Instant,
        log: &mut Log,
    ) -> Result<(), FlowModError> {
        let fm = &l.flow;
        let old = self.exact(fm.table, &pattern(&fm.matching), fm.priority.into());
        if let Some(rule) = old.and_then(|id| self.rules.get_mut(id))
            && *rule.instructions == fm.instructions
            && rule.cookie == fm.cookie
            && (rule.idle_timeout, rule.hard_timeout) == (fm.idle_timeout, fm.hard_timeout)
        {
            rule.modified = rule.modified.max(now);
            return Ok(());
        }
        let is_late = old.and_then(|id| self.rules.get(id)).is_some_and(|rule| rule.modified > now);
        if is_late || !self.learns(l) {
            return Ok(());
        }
        self.modify(fm, known, now, log)
    }
}

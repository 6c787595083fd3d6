//! What the switch does of its own accord where controllers do not: hidden rules, and taking over when controllers are
//! gone.
//!
//! A switch that stands alone forwards as a learning switch does. It takes over when no controller has been connected
//! for a while, by a rule above all that controllers can name, and gives way when one comes back.

use std::time::Duration;

use ovs_packet::{Instant, Match, OfPort};

use super::Ofproto;
use crate::action::{Action, Instructions};
use crate::pipeline::connection::ConnectionKind;
use crate::pipeline::flow_table::{FlowModError, Log, RemovedReason, RuleId};

/// The lowest priority of a hidden rule: above those that controllers can name.
pub const HIDDEN_PRIORITY: i32 = 1 << 16;

/// The priority of the rule that takes over: above what controllers can name, below what lets them be reached.
const TAKE_OVER_PRIORITY: i32 = 0xf_0000;

/// What happens when no controller is connected (the `fail_mode` column of the Bridge table).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum FailMode {
    /// Flows stay as they are.
    #[default]
    Secure,
    /// After this time without a controller, packets are forwarded as a learning switch does.
    Standalone {
        /// How long; upstream waits for three times the probe interval.
        after: Duration,
    },
}

/// Whether the switch stands alone.
#[derive(Default, Debug)]
pub(in crate::pipeline) struct StandIn {
    mode: FailMode,
    /// Since when there is no controller.
    alone_since: Option<Instant>,
    rule: Option<RuleId>,
}

impl StandIn {
    fn due(&self) -> Option<Instant> {
        match (self.mode, self.alone_since, self.rule) {
            (FailMode::Standalone { after }, Some(since), None) => Some(since + after),
            _ => None,
        }
    }
}

impl Ofproto {
    /// Says what happens when no controller is connected. Takes effect with the next [`run`](Self::run).
    pub fn set_fail_mode(&mut self, mode: FailMode) {
        self.stand_in.mode = mode;
    }

    /// Whether the switch has taken over from controllers that are gone.
    pub fn stands_alone(&self) -> bool {
        self.stand_in.rule.is_some()
    }

    /// Adds a rule of the switch's own to table 0, or replaces one of the same match and priority. Controllers neither see
    /// nor change it. Takes effect with the next [`run`](Self::run).
    ///
    /// # Errors
    /// If the priority is below [`HIDDEN_PRIORITY`], or the table is full.
    pub fn add_hidden(
        &mut self,
        matching: Match,
        priority: i32,
        actions: Vec<Action>,
        now: Instant,
    ) -> Result<RuleId, FlowModError> {
        if priority < HIDDEN_PRIORITY {
            return Err(FlowModError::BadAction("a priority that controllers can name"));
        }
        self.beside(|own| {
            let mut log = Log::default();
            let id = own.tables.add_hidden(0, matching, priority, Instructions::apply(actions), now, &mut log)?;
            own.commit(log, None, now);
            own.changed = true;
            Ok(id)
        })
    }

    /// Removes a rule of the switch's own.
    pub fn remove_hidden(&mut self, rule: RuleId, now: Instant) {
        if self.tables.get(rule).is_some_and(|r| r.is_hidden()) {
            self.beside(|own| {
                let mut log = Log::default();
                own.tables.remove(rule, RemovedReason::Delete, &mut log);
                own.commit(log, None, now);
                own.changed = true;
            });
        }
    }

    /// When the switch takes over, if nobody comes.
    pub(super) fn take_over_at(&self) -> Option<Instant> {
        self.stand_in.due()
    }

    /// Takes over or gives way.
    pub(in crate::pipeline) fn run_stand_in(&mut self, now: Instant) {
        let has_controller = self.connections.iter().any(|(_, c)| c.kind == ConnectionKind::Primary);
        self.stand_in.alone_since = if has_controller { None } else { self.stand_in.alone_since.or(Some(now)) };
        if self.stand_in.due().is_some_and(|at| at <= now) {
            let normal = vec![Action::output(OfPort::NORMAL)];
            // A table that is full stays as it is: flows of controllers are worth more.
            self.stand_in.rule = self.add_hidden(Match::ANY, TAKE_OVER_PRIORITY, normal, now).ok();
        }
        let gives_way = has_controller || self.stand_in.mode == FailMode::Secure;
        if let Some(rule) = self.stand_in.rule.take_if(|_| gives_way) {
            self.remove_hidden(rule, now);
        }
    }
}

//! One table: its rules' classifier and how it is set up (OpenFlow 1.5, sections 5.1, 6.5 and 7.3.4.1).

use ovs_classifier::{Classifier, View};
use ovs_dpif::{key_field, key_layout};
use ovs_packet::field::FieldId;
use ovs_packet::key::WORDS;

use super::eviction::Eviction;
use super::rule::Rule;
use super::slab::RuleId;
use crate::action::Subfield;

/// The fields whose prefixes tables track, unless they are told others: upstream's.
const PREFIX_FIELDS: [FieldId; 4] = [FieldId::NwDst, FieldId::NwSrc, FieldId::Ipv6Dst, FieldId::Ipv6Src];

/// How many flows a table takes unless it is told otherwise.
pub const DEFAULT_FLOW_LIMIT: usize = 1 << 24;

/// What happens to packets that match no flow of a table. OpenFlow 1.1 and 1.2 say it table by table; later versions
/// have a flow for that.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum TableMiss {
    /// They go to those controllers whose version has it so, and are dropped.
    #[default]
    Default,
    /// They go to the controllers.
    Controller,
    /// They go on in the next table.
    Continue,
    /// They are dropped.
    Drop,
}

/// How a table is set up by the switch's owner.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct TableConfig {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// How many flows it may have; `None` is [`DEFAULT_FLOW_LIMIT`].
    pub limit: Option<usize>,
    /// Whether a new flow takes another's place when it is full (`overflow_policy`), and by which fields flows are told
    /// apart into groups, of which the largest gives way.
    pub evict_by: Option<Vec<Subfield>>,
    /// The fields whose prefixes it tracks; `None` is addresses.
    pub prefixes: Option<Vec<FieldId>>,
}

/// When a controller is told how full a table is: it crosses these limits, in percent of what is free.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(in crate::pipeline) struct Vacancy {
    pub(in crate::pipeline) down: u8,
    pub(in crate::pipeline) up: u8,
    /// Which of both is told next.
    pub(in crate::pipeline) next: VacancyEvent,
}

/// What a controller is told of a table (`OFPTR_*`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(in crate::pipeline) enum VacancyEvent {
    Down = 3,
    Up = 4,
}

#[derive(Clone, Debug)]
pub(in crate::pipeline) struct Table {
    pub(super) classifier: Classifier<RuleId, WORDS>,
    /// Rules that are there once what is under way is committed.
    pub(super) flows: usize,
    /// Those of them that are the switch's own.
    pub(super) hidden: usize,
    pub(in crate::pipeline) config: TableConfig,
    pub(in crate::pipeline) miss: TableMiss,
    /// The name that a controller gave it, which counts where the owner gave none.
    pub(in crate::pipeline) said_name: Option<String>,
    /// A controller asked for eviction, whatever the owner did.
    pub(in crate::pipeline) evicts: bool,
    pub(in crate::pipeline) vacancy: Option<Vacancy>,
    /// There while flows may be evicted.
    pub(super) eviction: Option<Box<Eviction>>,
}

impl Table {
    pub(super) fn new() -> Table {
        let mut t = Table {
            classifier: Classifier::new(key_layout()),
            flows: 0,
            hidden: 0,
            config: TableConfig::default(),
            miss: TableMiss::Default,
            said_name: None,
            evicts: false,
            vacancy: None,
            eviction: None,
        };
        t.track_prefixes(&PREFIX_FIELDS);
        t
    }

    pub(super) fn track_prefixes(&mut self, fields: &[FieldId]) {
        let fields: Vec<_> = fields.iter().filter_map(|f| key_field(*f)).collect();
        if let Err(e) = self.classifier.set_prefix_fields(&fields) {
            tracing::warn!(error = %e, "prefixes are not tracked");
        }
    }

    /// The rules that are not removed.
    pub(super) fn view(&self) -> View<'_, RuleId, WORDS> {
        self.classifier.at(ovs_classifier::Version::LAST)
    }

    /// Its name.
    pub(in crate::pipeline) fn name(&self) -> Option<&str> {
        self.config.name.as_deref().or(self.said_name.as_deref())
    }

    /// How many flows it has that controllers see.
    pub(in crate::pipeline) fn len(&self) -> usize {
        self.flows - self.hidden
    }

    /// A rule came.
    pub(super) fn came(&mut self, rule: &Rule) {
        (self.flows, self.hidden) = (self.flows + 1, self.hidden + usize::from(rule.is_hidden()));
    }

    /// A rule went.
    pub(super) fn went(&mut self, rule: &Rule) {
        (self.flows, self.hidden) = (self.flows - 1, self.hidden - usize::from(rule.is_hidden()));
    }

    /// How many it may have.
    pub(in crate::pipeline) fn limit(&self) -> usize {
        self.config.limit.unwrap_or(DEFAULT_FLOW_LIMIT)
    }

    /// How much of it is free, in percent.
    pub(in crate::pipeline) fn vacant(&self) -> u8 {
        match self.limit() {
            0 => 0,
            limit => (limit.saturating_sub(self.flows) * 100 / limit).min(100) as u8,
        }
    }

    /// Has somebody be told when less, or more, of it is free than these, in percent.
    pub(super) fn watch(&mut self, limits: Option<(u8, u8)>) {
        self.vacancy = limits.map(|(down, up)| {
            let next = if self.vacant() < up { VacancyEvent::Up } else { VacancyEvent::Down };
            Vacancy { down, up, next: self.vacancy.map_or(next, |v| v.next) }
        });
    }

    /// What is to be told of how full it is, if anything; once each way.
    pub(super) fn take_vacancy_event(&mut self) -> Option<VacancyEvent> {
        let vacant = self.vacant();
        let vacancy = self.vacancy.as_mut()?;
        let event = match vacant {
            v if v < vacancy.down => VacancyEvent::Down,
            v if v > vacancy.up => VacancyEvent::Up,
            _ => return None,
        };
        if event != vacancy.next {
            return None;
        }
        vacancy.next = if event == VacancyEvent::Down { VacancyEvent::Up } else { VacancyEvent::Down };
        Some(event)
    }
}

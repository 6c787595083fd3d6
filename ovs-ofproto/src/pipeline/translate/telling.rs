//! What is told of a translation: the lines of its trace, the log, and why a packet went nowhere.

use ovs_dpif::DropReason;
use ovs_packet::key::FlowKey;

use super::Translator;
use crate::pipeline::trace::Kind;
use crate::pipeline::tracing::describe;
use crate::text::{InNames, NoNames, PortNames};

impl<'a> Translator<'a> {
    /// Gives the translation up.
    pub(super) fn fail(&mut self, reason: DropReason, text: impl FnOnce() -> String) {
        self.trace(Kind::Error, |_| text());
        self.failed = self.failed.or(Some(reason));
    }

    /// The same, for a reason that lies in the flows: who set them up is told.
    pub(super) fn give_up(&mut self, reason: DropReason, text: impl FnOnce() -> String) {
        self.complain(text);
        self.failed = self.failed.or(Some(reason));
    }

    /// Says what flows make of a packet that can hardly be meant: to who traces it, or else to the log.
    pub(super) fn complain(&mut self, text: impl FnOnce() -> String) {
        if self.tracer.is_some() {
            return self.trace(Kind::Error, |_| text());
        }
        // That nothing is to be sent yet is not of the packet.
        let (name, key) = (self.bridge.name, FlowKey { actset_output: 0.into(), ..*self.first() });
        tracing::warn!(target: "ofproto_dpif_xlate", "{} on bridge {name} while processing {}", text(), describe(&key));
    }

    /// Notes why a packet might have been sent nowhere.
    pub(super) fn because(&mut self, reason: DropReason) {
        self.reason = self.reason.or(Some(reason));
    }

    /// Writes a line of the trace.
    pub(super) fn trace(&mut self, kind: Kind, text: impl FnOnce(&Translator<'a>) -> String) {
        if let Some(mut tracer) = self.tracer.take() {
            tracer.add(kind, text(self));
            self.tracer = Some(tracer);
        }
    }

    /// Whether there is no packet that controllers could hear of.
    pub(super) fn is_quiet(&self) -> bool {
        self.tracer.as_ref().is_some_and(|t| !t.has_packet)
    }

    /// Words of a trace, with names for ports if it has them.
    pub(super) fn worded<T: ?Sized>(&self, what: &T) -> String
    where
        for<'t> InNames<'t, T>: std::fmt::Display,
    {
        let names: &dyn PortNames = if self.named { self.bridge.ports } else { &NoNames };
        InNames(what, names).to_string()
    }

    pub(super) fn detail(&mut self, text: impl FnOnce() -> String) {
        self.trace(Kind::Detail, |_| text());
    }

    pub(super) fn warn(&mut self, text: impl FnOnce() -> String) {
        self.trace(Kind::Warn, |_| text());
    }

    /// The lines that follow belong to the last one.
    pub(super) fn descend(&mut self) {
        if let Some(t) = &mut self.tracer {
            t.descend();
        }
    }

    pub(super) fn ascend(&mut self) {
        if let Some(t) = &mut self.tracer {
            t.ascend();
        }
    }
}

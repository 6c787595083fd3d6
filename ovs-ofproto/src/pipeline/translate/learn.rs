//! Making flows of packets.

use ovs_dpif::DropReason;
use ovs_packet::OfPort;
use ovs_packet::field::TunOption;
use ovs_packet::key::Match;

use super::{Effect, Translator};
use crate::action::{Action, Instructions, Learn, LearnFlags, LearnSource, LearnTarget, Subfield};
use crate::flow_mod::{FlowMod, FlowModCommand, FlowModFlags};

/// A flow to be learnt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::pipeline) struct Learned {
    /// As it is to be added. One that is there and does the same is only kept from ageing.
    pub(in crate::pipeline) flow: FlowMod,
    /// How many flows of the table may have the cookie; 0 is no limit.
    pub(in crate::pipeline) limit: u32,
}

impl Translator<'_> {
    pub(super) fn learn(&mut self, l: &Learn) {
        let mut m = Match::ANY;
        let mut actions = Vec::new();
        if l.fin_idle_timeout != 0 || l.fin_hard_timeout != 0 {
            actions.push(Action::FinTimeout { idle: l.fin_idle_timeout, hard: l.fin_hard_timeout });
        }
        for spec in &l.specs {
            let value = match &spec.source {
                LearnSource::Field(src) => self.value_of(*src),
                LearnSource::Immediate(bytes) => bytes.iter().fold(0, |v, b| v << 8 | u128::from(*b)),
            };
            match spec.target {
                LearnTarget::Match(dst) => match_bits(&mut m, dst, value),
                LearnTarget::Load(dst) => {
                    let (value, mask) = ((value & dst.ones()) << dst.offset, dst.mask());
                    actions.push(Action::SetField { field: dst.field, value, mask });
                }
                LearnTarget::Output => {
                    let port = match u32::try_from(value) {
                        Ok(n) if spec.bits <= 16 || n <= 0xffff => OfPort::from_16(n as u16),
                        Ok(n) => OfPort(n),
                        Err(_) => OfPort::ANY,
                    };
                    use OfPort as P;
                    if port.0 <= OfPort::MAX.0 || matches!(port, P::IN_PORT | P::FLOOD | P::LOCAL | P::ALL) {
                        actions.push(Action::output(port));
                    }
                }
            }
        }
        let mut flags = FlowModFlags::empty();
        flags.set(FlowModFlags::SEND_FLOW_REM, l.flags.contains(LearnFlags::SEND_FLOW_REM));
        let flow = FlowMod {
            command: FlowModCommand::Add,
            table: l.table,
            matching: m,
            priority: l.priority,
            cookie: l.cookie,
            idle_timeout: l.idle_timeout,
            hard_timeout: l.hard_timeout,
            flags,
            instructions: Instructions::apply(actions),
            ..FlowMod::default()
        };
        let learned = Learned { flow, limit: l.limit };
        let fits = self.fits(&learned);
        if let (true, Some(bit)) = (l.flags.contains(LearnFlags::WRITE_RESULT), l.result) {
            self.store(bit, fits.into());
        }
        if fits {
            let text = self.tracer.is_some().then(|| format!("table={} {}", l.table, learned.flow));
            text.into_iter().for_each(|t| self.detail(|| t));
            self.effect(Effect::Learn(Box::new(learned)));
        } else {
            self.detail(|| "learn limit reached".to_string());
            self.because(DropReason::NoOutput);
        }
    }

    /// Whether the limit lets the flow be learnt.
    fn fits(&mut self, l: &Learned) -> bool {
        if l.limit == 0 {
            return true;
        }
        // Whoever has as many flows as it may looks again when one goes.
        self.dependencies.volatile = true;
        self.bridge.tables.learns(l)
    }
}

/// Has a match ask for bits, and for what it takes to have them.
fn match_bits(m: &mut Match, dst: Subfield, value: u128) {
    let value = value & dst.ones();
    if let Some(index) = dst.field.tun_metadata_index() {
        let bytes = dst.bits.div_ceil(8);
        let all = value.to_be_bytes();
        let kept = all.len().saturating_sub(bytes.into());
        if let Some(option) = all.get(kept..).and_then(TunOption::exact) {
            // More options than fit are left out of the match, as upstream does.
            let _ = m.set_tun_option(index, &option);
        }
        return;
    }
    let (old, known) = m.get(dst.field);
    let (value, mask) = ((old & !dst.mask()) | value << dst.offset, known | dst.mask());
    m.set_masked(dst.field, value, mask);
}

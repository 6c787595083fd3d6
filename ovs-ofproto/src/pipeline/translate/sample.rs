//! Sampling packets for collectors: the owner's exporters, to whom copies come up, and the datapath's own listeners.

use ovs_dpif::{Cookie, DpAction, SampleDirection, Userspace};
use ovs_packet::OfPort;

use super::Translator;
use crate::action::{self, Sample};
use crate::pipeline::SLOW_PATH_METER;

impl Translator<'_> {
    pub(super) fn sample(&mut self, s: &Sample) {
        let collector = self.bridge.hooks.collectors().get(&s.collector_set).copied().unwrap_or_default();
        let group = collector.local_group.filter(|_| self.view.features.psample);
        if !collector.exports && group.is_none() {
            return self.detail(|| "nobody collects these samples".to_string());
        }
        // What was changed so far is sampled as it is now.
        self.commit();
        let mut observation = |o: &action::Observation| match o {
            Ok(number) => *number,
            Err(field) => self.value_of(*field) as u32,
        };
        let (domain, point) = (observation(&s.domain), observation(&s.point));
        let mut copies = Vec::with_capacity(2);
        if let Some(group) = group {
            let cookie = (u64::from(domain) << 32 | u64::from(point)).to_be_bytes();
            copies.push(DpAction::Psample { group, cookie: cookie.into_iter().collect() });
        }
        let meter = self.bridge.meters.datapath_id(SLOW_PATH_METER).filter(|_| collector.exports);
        copies.extend(meter.map(DpAction::Meter));
        if collector.exports {
            copies.push(DpAction::Userspace(Userspace::new(self.flow_sample(s, domain, point))));
        }
        // The same share of 2^32 - 1 as of 65535.
        match u32::from(s.probability) << 16 | u32::from(s.probability) {
            // What a meter drops is to be the copy alone.
            u32::MAX if meter.is_none() => self.out.extend(copies),
            probability => self.out.push(DpAction::Sample { probability, actions: copies }),
        }
    }

    fn flow_sample(&self, s: &Sample, obs_domain_id: u32, obs_point_id: u32) -> Cookie {
        let output_port = (s.port != OfPort::ANY).then(|| self.bridge.ports.get(s.port).map(|p| p.datapath)).flatten();
        Cookie::FlowSample {
            probability: s.probability,
            collector_set_id: s.collector_set,
            obs_domain_id,
            obs_point_id,
            output_port,
            direction: match s.direction {
                action::SampleDirection::Default => SampleDirection::Default,
                action::SampleDirection::Ingress => SampleDirection::Ingress,
                action::SampleDirection::Egress => SampleDirection::Egress,
            },
        }
    }
}

/// Whether an action only looks at the packet.
pub(super) fn is_observation(action: &DpAction) -> bool {
    match action {
        DpAction::Psample { .. } => true,
        DpAction::Userspace(to) => {
            matches!(to.cookie, Cookie::FlowSample { .. } | Cookie::SFlow { .. } | Cookie::Ipfix { .. })
        }
        DpAction::Sample { actions, .. } => actions.last().is_some_and(is_observation),
        _ => false,
    }
}

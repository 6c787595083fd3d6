//! Sampling packets for a collector of flows.

use ovs_dpif::{Cookie, DpAction, SampleDirection, Userspace};
use ovs_packet::OfPort;

use super::Translator;
use crate::action::{self, Sample};

impl Translator<'_> {
    pub(super) fn sample(&mut self, s: &Sample) {
        // What was changed so far is sampled as it is now.
        self.commit();
        let mut observation = |o: &action::Observation| match o {
            Ok(number) => *number,
            Err(field) => self.value_of(*field) as u32,
        };
        let (obs_domain_id, obs_point_id) = (observation(&s.domain), observation(&s.point));
        let output_port = (s.port != OfPort::ANY).then(|| self.bridge.ports.get(s.port).map(|p| p.datapath)).flatten();
        let cookie = Cookie::FlowSample {
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
        };
        let copy = DpAction::Userspace(Userspace::new(cookie));
        // The same share of 2^32 - 1 as of 65535.
        let probability = u32::from(s.probability) << 16 | u32::from(s.probability);
        self.out.push(match probability {
            u32::MAX => copy,
            probability => DpAction::Sample { probability, actions: vec![copy] },
        });
    }
}

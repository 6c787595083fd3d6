//! In-band control: what lets a switch reach its controllers through itself, whatever they have it do.
//!
//! A switch that is to reach a controller by a port of its own cannot wait for that controller to say how. So above all
//! that controllers can name there are hidden rules that forward what belongs to it as a learning switch does: DHCP and
//! ARP of the switch itself, ARP of controllers and of the next hops towards them, and TCP to and from controllers, for
//! other switches reach theirs through this one. They are as narrow as that allows, since they are above every policy.
//!
//! An answer of DHCP reaches the switch's own port, too, whatever flows say: the switch may be about to get the address
//! that it needs to be told better.
//!
//! Where controllers are, and which address the next hop has, is the owner's to know: see [`Ofproto::set_in_band`].

use std::net::Ipv4Addr;

use ovs_packet::extract::{ETH_TYPE_ARP, ETH_TYPE_IPV4, IP_PROTO_TCP, IP_PROTO_UDP};
use ovs_packet::field::FieldId;
use ovs_packet::{EthAddr, Instant, Match, OfPort};

use super::Ofproto;
use crate::action::Action;
use crate::pipeline::flow_table::RuleId;

/// Priorities of the rules, upstream's, by which whoever looks at all flows knows them.
const FROM_LOCAL_DHCP: i32 = 180_000;
const TO_LOCAL_ARP: i32 = 180_001;
const FROM_LOCAL_ARP: i32 = 180_002;
const TO_NEXT_HOP_ARP: i32 = 180_003;
const FROM_NEXT_HOP_ARP: i32 = 180_004;
const TO_REMOTE_ARP: i32 = 180_005;
const FROM_REMOTE_ARP: i32 = 180_006;
const TO_REMOTE_TCP: i32 = 180_007;
const FROM_REMOTE_TCP: i32 = 180_008;

const ARP_REQUEST: u128 = 1;
const ARP_REPLY: u128 = 2;
pub(in crate::pipeline) const DHCP_SERVER: u16 = 67;
pub(in crate::pipeline) const DHCP_CLIENT: u16 = 68;

/// A controller, or a manager of the configuration, that is reached through the switch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct InBandRemote {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its TCP port.
    pub port: u16,
    /// The address of the next hop towards it, which may be itself, if that is known.
    pub next_hop: Option<EthAddr>,
}

/// How a switch is reached through itself. Without remotes, it is not.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct InBandConfig {
    /// Whom it reaches.
    pub remotes: Vec<InBandRemote>,
    /// The address of its local port, if it has one.
    pub local: Option<EthAddr>,
    /// The queue that its packets take (`other_config:in-band-queue`).
    pub queue: Option<u32>,
}

/// The rules that are there.
#[derive(Default, Debug)]
pub(in crate::pipeline) struct InBand {
    config: InBandConfig,
    rules: Vec<((i32, Match), RuleId)>,
}

impl InBand {
    /// Whether anybody is reached through the switch.
    pub(in crate::pipeline) fn is_on(&self) -> bool {
        !self.config.remotes.is_empty()
    }
}

impl InBandConfig {
    /// What the rules are that it takes, each once.
    fn rules(&self) -> Vec<(i32, Match)> {
        let mut rules: Vec<(i32, Match)> = Vec::new();
        let mut add = |priority, fields: &[(FieldId, u128)]| {
            let mut m = Match::ANY;
            fields.iter().for_each(|(field, value)| m.set(*field, *value));
            if !rules.contains(&(priority, m.clone())) {
                rules.push((priority, m));
            }
        };
        use FieldId::{
            ArpOp, ArpSpa, ArpTpa, EthDst, EthSrc, EthType, InPort, NwDst, NwProto, NwSrc, TcpDst, TcpSrc, UdpDst,
            UdpSrc,
        };
        let (arp, ip) = ((EthType, ETH_TYPE_ARP.into()), (EthType, ETH_TYPE_IPV4.into()));
        if let Some(local) = self.local.filter(|_| !self.remotes.is_empty()).map(number) {
            let (udp, from, to) = ((NwProto, IP_PROTO_UDP.into()), DHCP_CLIENT.into(), DHCP_SERVER.into());
            let local_port = (InPort, OfPort::LOCAL.to_16().unwrap_or_default().into());
            add(FROM_LOCAL_DHCP, &[local_port, ip, (EthSrc, local), udp, (UdpSrc, from), (UdpDst, to)]);
            add(TO_LOCAL_ARP, &[arp, (EthDst, local), (ArpOp, ARP_REPLY)]);
            add(FROM_LOCAL_ARP, &[arp, (EthSrc, local), (ArpOp, ARP_REQUEST)]);
        }
        for hop in self.remotes.iter().filter_map(|r| r.next_hop).map(number) {
            add(TO_NEXT_HOP_ARP, &[arp, (EthDst, hop), (ArpOp, ARP_REPLY)]);
            add(FROM_NEXT_HOP_ARP, &[arp, (EthSrc, hop), (ArpOp, ARP_REQUEST)]);
        }
        for InBandRemote { address, port, .. } in &self.remotes {
            let (address, port) = (u128::from(u32::from(*address)), u128::from(*port));
            let tcp = (NwProto, IP_PROTO_TCP.into());
            add(TO_REMOTE_ARP, &[arp, (ArpOp, ARP_REPLY), (ArpTpa, address)]);
            add(FROM_REMOTE_ARP, &[arp, (ArpOp, ARP_REQUEST), (ArpSpa, address)]);
            add(TO_REMOTE_TCP, &[ip, tcp, (NwDst, address), (TcpDst, port)]);
            add(FROM_REMOTE_TCP, &[ip, tcp, (NwSrc, address), (TcpSrc, port)]);
        }
        rules
    }
}

fn number(address: EthAddr) -> u128 {
    address.0.iter().fold(0, |n, b| n << 8 | u128::from(*b))
}

impl Ofproto {
    /// How the switch is reached through itself.
    pub fn in_band(&self) -> &InBandConfig {
        &self.in_band.config
    }

    /// Says how the switch is reached through itself: the rules for that come and go. Takes effect with the next
    /// [`run`](Self::run). Call it again when an address is another.
    pub fn set_in_band(&mut self, config: InBandConfig, now: Instant) {
        if config == self.in_band.config {
            return;
        }
        let wanted = config.rules();
        let is_same = config.queue == self.in_band.config.queue;
        let old = std::mem::take(&mut self.in_band.rules);
        let (stay, go): (Vec<_>, Vec<_>) = old.into_iter().partition(|(rule, _)| is_same && wanted.contains(rule));
        go.into_iter().for_each(|(_, id)| self.remove_hidden(id, now));
        let mut actions: Vec<Action> = config.queue.map(Action::SetQueue).into_iter().collect();
        actions.push(Action::output(OfPort::NORMAL));
        let mut rules = stay;
        for (priority, matching) in wanted {
            if rules.iter().any(|((p, m), _)| (*p, m) == (priority, &matching)) {
                continue;
            }
            match self.add_hidden(matching.clone(), priority, actions.clone(), now) {
                Ok(id) => rules.push(((priority, matching), id)),
                Err(e) => tracing::warn!(error = %e, "a rule of in-band control is not added"),
            }
        }
        self.changed = true;
        self.in_band = InBand { config, rules };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(of: &Ofproto) -> Vec<String> {
        of.flows().map(|f| format!("{} {}", f.priority, f.matching)).collect()
    }

    #[test]
    fn rules_follow_who_is_reached() {
        let (mut of, now) = (Ofproto::new(), Instant::ZERO);
        let mut config = InBandConfig { local: Some(EthAddr([2, 0, 0, 0, 0, 9])), ..InBandConfig::default() };
        of.set_in_band(config.clone(), now);
        assert_eq!(of.flow_count(), 0, "nobody is reached");
        let remote = |port, next_hop| InBandRemote { address: Ipv4Addr::new(192, 0, 2, 1), port, next_hop };
        config.remotes = vec![remote(6653, None), remote(6654, None)];
        of.set_in_band(config.clone(), now);
        assert_eq!(
            told(&of),
            [
                "180008 tcp,nw_src=192.0.2.1,tp_src=6653",
                "180008 tcp,nw_src=192.0.2.1,tp_src=6654",
                "180007 tcp,nw_dst=192.0.2.1,tp_dst=6653",
                "180007 tcp,nw_dst=192.0.2.1,tp_dst=6654",
                "180006 arp,arp_spa=192.0.2.1,arp_op=1",
                "180005 arp,arp_tpa=192.0.2.1,arp_op=2",
                "180002 arp,dl_src=02:00:00:00:00:09,arp_op=1",
                "180001 arp,dl_dst=02:00:00:00:00:09,arp_op=2",
                "180000 udp,in_port=LOCAL,dl_src=02:00:00:00:00:09,tp_src=68,tp_dst=67",
            ]
        );
        let before: Vec<_> = of.in_band.rules.iter().map(|(_, id)| *id).collect();
        config.remotes = vec![remote(6653, Some(EthAddr([2, 0, 0, 0, 0, 7])))];
        of.set_in_band(config.clone(), now);
        assert_eq!((of.flow_count(), of.in_band.rules.iter().filter(|(_, id)| before.contains(id)).count()), (9, 7));
        config.queue = Some(5);
        of.set_in_band(config, now);
        assert!(of.flows().all(|f| f.instructions.apply == [Action::SetQueue(5), Action::output(OfPort::NORMAL)]));
        of.set_in_band(InBandConfig::default(), now);
        assert_eq!(of.flow_count(), 0);
        of.check();
    }
}

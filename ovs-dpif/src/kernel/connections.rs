//! Connections that the kernel tracks: netfilter's, and the limits of the datapath's.

use std::time::Duration;

use ovs_conntrack::{ExpectationInfo, Filter, Transport, Tuple, TupleFilter};
use ovs_netlink::nf::{self, ConnectionFilter, L4, TimeoutPolicy, TimeoutSingleAttr, TimeoutTcpAttr, TimeoutUdpAttr};
use ovs_netlink::ovs::{CtLimitCommand, CtLimits, ZoneLimit as Limit};
use ovs_netlink::{Conntrack, Flags};
use ovs_packet::Instant;
use ovs_packet::extract::{ETH_TYPE_IPV4, ETH_TYPE_IPV6};

use super::datapath::{Datapath, errno, failed};
use crate::connections::{Connection, ConnectionState, Connections, NO_SUCH_TIMEOUT, Seconds, ZoneLimit, ZoneLimits};
use crate::dpif::DpifError;
use crate::text::timeout_name;

/// More connections than this are not listed at once.
const MAX_CONNECTIONS: usize = 1 << 22;

/// The kernel's states of TCP (`TCP_CONNTRACK_*`) in the words of upstream's dumps.
const TCP_STATES: [&str; 11] = [
    "NONE",
    "SYN_SENT",
    "SYN_RECV",
    "ESTABLISHED",
    "FIN_WAIT",
    "CLOSE_WAIT",
    "LAST_ACK",
    "TIME_WAIT",
    "CLOSE",
    "SYN_SENT2",
    "MAX_STATE",
];

/// The same of SCTP (`SCTP_CONNTRACK_*`).
const SCTP_STATES: [&str; 9] = [
    "NONE",
    "CLOSED",
    "COOKIE_WAIT",
    "COOKIE_ECHOED",
    "ESTABLISHED",
    "SHUTDOWN_SENT",
    "SHUTDOWN_RECD",
    "SHUTDOWN_ACK_SENT",
    "HEARTBEAT_SENT",
];

fn tuple(of: &nf::Tuple) -> Tuple {
    let transport = match of.l4 {
        L4::Icmp { id, ty, code } => Transport::Icmp { id, kind: ty, code },
        L4::Ports { src, dst } => Transport::Ports { src, dst },
        _ => Transport::Ports { src: 0, dst: 0 },
    };
    Tuple { src: of.src, dst: of.dst, proto: of.proto, transport }
}

fn connection(of: &nf::Connection) -> Connection {
    let state = |names: &[&'static str]| {
        let name = of.state.and_then(|state| names.get(usize::from(state)));
        name.map_or(ConnectionState::None, |name| ConnectionState::One(name))
    };
    Connection {
        parent: of.master.as_ref().map(tuple),
        state: match of.orig.proto {
            6 => state(&TCP_STATES),
            132 => state(&SCTP_STATES),
            _ => ConnectionState::None,
        },
        mark: of.mark,
        label: of.labels.map_or(0, u128::from_le_bytes),
        timeout: Duration::from_secs(of.timeout.unwrap_or(0).into()),
        helper: of.helper.as_ref().map(|name| String::from_utf8_lossy(name).into_owned()),
        id: of.id.unwrap_or(0),
        status: of.status.bits(),
        counters: of.orig_counters.zip(of.reply_counters),
        ..Connection::new(of.zone, tuple(&of.orig), tuple(&of.reply))
    }
}

/// The tuple that a filter is for, if it says all of one and nothing else but the zone.
fn whole(filter: &Filter) -> Option<nf::Tuple> {
    let Filter { zone: _, mark: None, label: None, original, reply } = *filter else { return None };
    let (src, dst, proto) = (original.src?, original.dst?, original.proto?);
    let l4 = match proto {
        1 | 58 => L4::Icmp { id: original.icmp_id?, ty: original.icmp_type?, code: original.icmp_code? },
        _ => L4::Ports { src: original.src_port?, dst: original.dst_port? },
    };
    // The protocol is that of both directions.
    let says_nothing = TupleFilter { proto: None, ..reply } == TupleFilter::default();
    let whole = nf::Tuple { src, dst, proto, l4, zone: None };
    (src.is_ipv4() == dst.is_ipv4() && says_nothing && reply.proto.is_none_or(|p| p == proto)).then_some(whole)
}

impl Datapath {
    fn tracker(&mut self) -> Result<&mut Conntrack, DpifError> {
        self.tracker.as_mut().ok_or(DpifError::Unsupported("connection tracking"))
    }

    fn limit_request(&mut self, command: CtLimitCommand, zones: Vec<Limit>) -> Result<CtLimits, DpifError> {
        let family = self.families.ct_limit.as_ref().ok_or(DpifError::Unsupported("limits of zones"))?.id;
        let mut request = Vec::new();
        let asked = CtLimits { dp_ifindex: self.dp_ifindex, zones };
        let encoded = asked.encode(&mut request, family, command, Flags::REQUEST);
        encoded.map_err(|e| failed("limits")(e.into()))?;
        let mut told = CtLimits::default();
        let answer = self.socket.get_mut().transact(&mut request, |message| {
            told = CtLimits::decode(message)?;
            Ok(())
        });
        answer.map(|()| told).map_err(failed("limits"))
    }
}

impl Connections for Datapath {
    fn dump(&mut self, zone: Option<u16>, _: Instant, f: &mut dyn FnMut(Connection)) -> Result<(), DpifError> {
        let filter = ConnectionFilter { zone, ..ConnectionFilter::default() };
        let all = self.tracker()?.connections(&filter, MAX_CONNECTIONS).map_err(failed("dump of connections"))?;
        all.iter().map(connection).for_each(f);
        Ok(())
    }

    fn flush(&mut self, filter: &Filter, _: Instant) -> Result<usize, DpifError> {
        let tracker = self.tracker()?;
        if *filter == Filter::default() {
            return tracker.flush(&ConnectionFilter::default()).map_err(failed("flush of connections"));
        }
        if let Some(tuple) = whole(filter) {
            // The kernel finds it by the tuple of either direction.
            return match tracker.delete(&tuple, filter.zone.unwrap_or(0)) {
                Ok(()) => Ok(1),
                Err(error) if error.errno() == Some(errno::ENOENT) => Ok(0),
                Err(error) => Err(failed("flush of connections")(error)),
            };
        }
        let zone = ConnectionFilter { zone: filter.zone, ..ConnectionFilter::default() };
        let all = tracker.connections(&zone, MAX_CONNECTIONS).map_err(failed("flush of connections"))?;
        let mut gone = 0;
        for meant in all.iter().filter(|of| connection(of).is_meant(filter)) {
            match tracker.delete(&meant.orig, meant.zone) {
                Ok(()) => gone += 1,
                // It ended meanwhile.
                Err(error) if error.errno() == Some(errno::ENOENT) => {}
                Err(error) => return Err(failed("flush of connections")(error)),
            }
        }
        Ok(gone)
    }

    fn expectations(&mut self, _: Instant) -> Result<Vec<ExpectationInfo>, DpifError> {
        Err(DpifError::Unsupported("a dump of expectations"))
    }

    fn count(&mut self) -> Result<(u32, u32), DpifError> {
        let table = self.tracker()?.table().map_err(failed("count of connections"))?;
        Ok((table.entries, table.max_entries.unwrap_or(0)))
    }

    fn limits(&mut self, zones: &[u16]) -> Result<ZoneLimits, DpifError> {
        let one = |zone| Limit { zone, limit: 0, count: 0 };
        // Asked for nothing the kernel tells of all; else the limit of the others must be asked for too.
        let others = (!zones.is_empty()).then_some(Limit::DEFAULT);
        let asked = others.into_iter().chain(zones.iter().map(|zone| i32::from(*zone))).map(one).collect();
        let told = self.limit_request(CtLimitCommand::Get, asked)?;
        let some = |limit: u32| (limit != 0).then_some(limit);
        let mut limits = ZoneLimits::default();
        for limit in told.zones {
            match u16::try_from(limit.zone) {
                Ok(zone) => limits.zones.push(ZoneLimit { zone, limit: some(limit.limit), count: limit.count }),
                Err(_) => limits.default = some(limit.limit),
            }
        }
        limits.zones.sort_by_key(|limit| limit.zone);
        Ok(limits)
    }

    fn set_limit(&mut self, zone: Option<u16>, limit: Option<u32>) -> Result<(), DpifError> {
        let zone = zone.map_or(Limit::DEFAULT, i32::from);
        let of = |limit| vec![Limit { zone, limit, count: 0 }];
        let done = match limit {
            Some(limit) => self.limit_request(CtLimitCommand::Set, of(limit)),
            // The limit of all others is not forgotten, but set to none.
            None if zone == Limit::DEFAULT => self.limit_request(CtLimitCommand::Set, of(0)),
            None => self.limit_request(CtLimitCommand::Delete, of(0)),
        };
        done.map(drop)
    }

    fn timeouts(&self) -> &'static [&'static str] {
        TIMEOUTS
    }

    fn set_timeouts(&mut self, id: u32, policy: Option<&Seconds>) -> Result<(), DpifError> {
        if policy.is_some_and(|policy| policy.keys().any(|name| !TIMEOUTS.contains(&name.as_str()))) {
            return Err(NO_SUCH_TIMEOUT);
        }
        let tracker = self.tracker()?;
        for (eth_type, ethertype) in [(ETH_TYPE_IPV4, TimeoutPolicy::IPV4), (ETH_TYPE_IPV6, TimeoutPolicy::IPV6)] {
            let icmp = if eth_type == ETH_TYPE_IPV4 { 1 } else { 58 };
            for protocol in [6, 17, icmp] {
                let name = timeout_name(id, eth_type, protocol);
                let done = match policy {
                    Some(policy) => tracker.set_timeout_policy(&TimeoutPolicy {
                        name: name.as_bytes().to_vec(),
                        ethertype,
                        protocol,
                        seconds: seconds(policy, protocol),
                        users: None,
                    }),
                    None => tracker.delete_timeout_policy(name.as_bytes()),
                };
                match done {
                    Ok(()) => {}
                    Err(error) if policy.is_none() && error.errno() == Some(errno::ENOENT) => {}
                    Err(error) => return Err(failed("timeout policy")(error)),
                }
            }
        }
        Ok(())
    }
}

/// What the kernel's policies have. It tells no first datagram from those behind it, and no answer of ICMP.
const TIMEOUTS: &[&str] = &[
    "tcp_syn_sent",
    "tcp_syn_recv",
    "tcp_established",
    "tcp_fin_wait",
    "tcp_close_wait",
    "tcp_last_ack",
    "tcp_time_wait",
    "tcp_close",
    "tcp_syn_sent2",
    "tcp_retransmit",
    "tcp_unack",
    "udp_single",
    "udp_multiple",
    "icmp_first",
];

/// The kernel's states that a policy tells of, and how long a connection may be in each.
fn seconds(policy: &Seconds, protocol: u8) -> Vec<(u16, u32)> {
    let number = |name: &str| {
        Some(match (protocol, name) {
            (6, "tcp_syn_sent") => TimeoutTcpAttr::SYN_SENT,
            (6, "tcp_syn_recv") => TimeoutTcpAttr::SYN_RECV,
            (6, "tcp_established") => TimeoutTcpAttr::ESTABLISHED,
            (6, "tcp_fin_wait") => TimeoutTcpAttr::FIN_WAIT,
            (6, "tcp_close_wait") => TimeoutTcpAttr::CLOSE_WAIT,
            (6, "tcp_last_ack") => TimeoutTcpAttr::LAST_ACK,
            (6, "tcp_time_wait") => TimeoutTcpAttr::TIME_WAIT,
            (6, "tcp_close") => TimeoutTcpAttr::CLOSE,
            (6, "tcp_syn_sent2") => TimeoutTcpAttr::SYN_SENT2,
            (6, "tcp_retransmit") => TimeoutTcpAttr::RETRANS,
            (6, "tcp_unack") => TimeoutTcpAttr::UNACK,
            (17, "udp_single") => TimeoutUdpAttr::UNREPLIED,
            (17, "udp_multiple") => TimeoutUdpAttr::REPLIED,
            (1 | 58, "icmp_first") => TimeoutSingleAttr::TIMEOUT,
            _ => return None,
        })
    };
    policy.iter().filter_map(|(name, seconds)| Some((number(name)?, *seconds))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_timeout_is_one_protocols() {
        for name in TIMEOUTS {
            let policy = Seconds::from([(name.to_string(), 7)]);
            let protocols: Vec<u8> = [6, 17, 1].into_iter().filter(|p| seconds(&policy, *p).len() == 1).collect();
            let expected = match name.split('_').next() {
                Some("tcp") => 6,
                Some("udp") => 17,
                _ => 1,
            };
            assert_eq!(protocols, [expected], "{name}");
        }
        // What is not named is the kernel's.
        assert_eq!(seconds(&Seconds::new(), 6), []);
    }

    #[test]
    fn a_whole_tuple_is_told_from_parts_of_one() {
        let address = |last| Some(std::net::IpAddr::from([10, 1, 1, last]));
        let mut filter = Filter { zone: Some(3), ..Filter::default() };
        filter.original = TupleFilter {
            src: address(1),
            dst: address(2),
            proto: Some(17),
            src_port: Some(1),
            dst_port: Some(2),
            ..TupleFilter::default()
        };
        let tuple = whole(&filter).unwrap();
        assert_eq!((tuple.proto, tuple.l4), (17, L4::Ports { src: 1, dst: 2 }));
        assert!(whole(&Filter { mark: Some((1, 1)), ..filter }).is_none());
        assert!(whole(&Filter { reply: filter.original, ..filter }).is_none());
        filter.original.proto = Some(1);
        assert!(whole(&filter).is_none());
    }
}

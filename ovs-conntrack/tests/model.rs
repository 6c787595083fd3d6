//! The tracker against a model that is easy to believe: a map from tuples to what was seen, no hash, no timer, no
//! slab. The model keeps facts, such as "this end has finished", and derives states from them; the tracker keeps
//! states.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{Lab, icmp, packet};
use ovs_conntrack::{Config, CtRequest, InvalidReason, Outcome, ProtocolState, TcpState, Timeouts, Transport, Tuple};
use ovs_packet::{Instant, Packet};
use proptest::prelude::*;

/// A packet between two of three hosts.
#[derive(Clone, Copy, Debug)]
struct Sent {
    from: u8,
    to: u8,
    port: u16,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Udp,
    Ask,
    Answer,
    Tcp(&'static str),
}

const FLAGS: &[&str] = &["syn", "syn|ack", "ack", "fin|ack", "rst", "rst|ack", "psh|ack"];

impl Sent {
    fn packet(self) -> Packet {
        let hosts = format!("nw_src=10.0.0.{},nw_dst=10.0.0.{}", self.from, self.to);
        // The host of the lower number has the port that varies, so that both directions meet.
        let ends = match self.from < self.to {
            true => format!("{hosts},tp_src={},tp_dst=80", self.port),
            false => format!("{hosts},tp_src=80,tp_dst={}", self.port),
        };
        match self.kind {
            Kind::Udp => packet(&format!("udp,{ends}")),
            Kind::Tcp(flags) => packet(&format!("tcp,{ends},tcp_flags={flags}")),
            Kind::Ask => icmp(&format!("icmp,{hosts},icmp_type=8,icmp_code=0"), self.port),
            Kind::Answer => icmp(&format!("icmp,{hosts},icmp_type=0,icmp_code=0"), self.port),
        }
    }

    fn tuple(self) -> Tuple {
        let (src, dst) = if self.from < self.to { (self.port, 80) } else { (80, self.port) };
        let ports = Transport::Ports { src, dst };
        let (proto, transport) = match self.kind {
            Kind::Udp => (17, ports),
            Kind::Tcp(_) => (6, ports),
            Kind::Ask => (1, Transport::Icmp { id: self.port, kind: 8, code: 0 }),
            Kind::Answer => (1, Transport::Icmp { id: self.port, kind: 0, code: 0 }),
        };
        Tuple { src: [10, 0, 0, self.from].into(), dst: [10, 0, 0, self.to].into(), proto, transport }
    }

    fn has(self, flag: &str) -> bool {
        matches!(self.kind, Kind::Tcp(flags) if flags.split('|').any(|f| f == flag))
    }

    fn opens(self) -> bool {
        !(matches!(self.kind, Kind::Answer) || self.has("syn") && self.has("ack"))
    }
}

/// What one end of a TCP connection has done and been told.
#[derive(Clone, Copy, Default, Debug)]
struct End {
    spoke: bool,
    acknowledged: bool,
    finished: bool,
    finish_acknowledged: bool,
}

impl End {
    fn state(self, reset: bool) -> TcpState {
        match self {
            _ if reset => TcpState::TimeWait,
            End { finish_acknowledged: true, .. } => TcpState::FinWait2,
            End { finished: true, .. } => TcpState::Closing,
            End { acknowledged: true, .. } => TcpState::Established,
            End { spoke: true, .. } => TcpState::SynSent,
            _ => TcpState::Closed,
        }
    }
}

#[derive(Clone, Debug)]
struct Known {
    original: End,
    reply: End,
    reset: bool,
    answered: bool,
    deadline: Instant,
    mark: u32,
    label: u128,
}

/// By zone and the tuple of the original direction.
#[derive(Default)]
struct Model {
    known: BTreeMap<(u16, Tuple), Known>,
}

impl Model {
    fn track(&mut self, sent: Sent, request: &CtRequest, now: Instant, limit: usize) -> (Outcome, u32, u128) {
        self.known.retain(|_, known| known.deadline > now);
        let (there, back) = ((request.zone, sent.tuple()), (request.zone, sent.tuple().reversed()));
        let mut found = [(there, false), (back, true)].into_iter().find(|(key, _)| self.known.contains_key(key));
        if let Some((key, reply)) = found {
            let known = &self.known[&key];
            let through = |end: End| known.reset || end.finish_acknowledged;
            let reused = sent.has("syn") && !sent.has("ack") && through(known.original) && through(known.reply);
            if sent.opens() && (reused || request.force && reply) {
                self.known.remove(&key);
                found = None;
            }
        }
        let (key, outcome) = match found {
            Some((key, reply)) => (key, self.known.get_mut(&key).unwrap().follow(sent, reply, now)),
            None if !sent.opens() => return (Outcome::Invalid(InvalidReason::NotOpening), 0, 0),
            None if !request.commit => return (Outcome::Unknown, 0, 0),
            None if self.known.len() >= limit => return (Outcome::Refused, 0, 0),
            None => {
                let t = timeouts();
                let timeout = match sent.kind {
                    Kind::Udp => t.udp_first,
                    Kind::Tcp(_) => t.tcp_syn_sent,
                    _ => t.icmp_first,
                };
                let original = End { spoke: true, ..End::default() };
                let known = Known {
                    original,
                    reply: End::default(),
                    reset: false,
                    answered: false,
                    deadline: now + timeout,
                    mark: 0,
                    label: 0,
                };
                self.known.insert(there, known);
                (there, Outcome::Created)
            }
        };
        let known = self.known.get_mut(&key).unwrap();
        if request.commit {
            let bits = |old: u128, set: Option<(u128, u128)>| set.map_or(old, |(v, m)| (old & !m) | (v & m));
            known.mark = bits(known.mark.into(), request.mark.map(|(v, m)| (v.into(), m.into()))) as u32;
            known.label = bits(known.label, request.label);
        }
        (outcome, known.mark, known.label)
    }
}

impl Known {
    fn follow(&mut self, sent: Sent, reply: bool, now: Instant) -> Outcome {
        let t = timeouts();
        let timeout = match sent.kind {
            Kind::Tcp(_) => {
                let (from, to) =
                    if reply { (&mut self.reply, &mut self.original) } else { (&mut self.original, &mut self.reply) };
                let silent = !from.acknowledged && !from.finished && !self.reset;
                if sent.has("syn") && !sent.has("ack") && silent && !self.answered {
                    from.spoke = true;
                    self.deadline = now + t.tcp_syn_sent;
                    return Outcome::Unanswered;
                }
                from.spoke = true;
                from.finished |= sent.has("fin");
                if sent.has("ack") && to.spoke {
                    to.acknowledged = true;
                    to.finish_acknowledged |= to.finished;
                }
                self.reset |= sent.has("rst");
                self.answered |= reply;
                let ends = [self.original, self.reply];
                if self.reset || ends.iter().all(|e| e.finish_acknowledged) {
                    t.tcp_close
                } else if ends.iter().all(|e| e.finished) {
                    t.tcp_time_wait
                } else if !ends.iter().all(|e| e.acknowledged || e.finished) {
                    t.tcp_syn_recv
                } else if ends.iter().any(|e| e.finished) {
                    t.tcp_fin_wait
                } else {
                    t.tcp_established
                }
            }
            Kind::Udp => {
                self.answered |= reply;
                if self.answered { t.udp_multiple } else { t.udp_single }
            }
            Kind::Ask | Kind::Answer => {
                self.answered |= reply;
                if self.answered { t.icmp_reply } else { t.icmp_first }
            }
        };
        self.deadline = now + timeout;
        match (self.answered, reply) {
            (false, _) => Outcome::Unanswered,
            (true, true) => Outcome::Reply,
            (true, false) => Outcome::Established,
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Packet(Sent, CtRequest),
    Wait(u64),
    Expire(usize),
    Flush(u16),
    FlushTuple(u16, Sent),
}

fn sent() -> impl Strategy<Value = Sent> {
    let kind = prop_oneof![
        2 => Just(Kind::Udp),
        1 => Just(Kind::Ask),
        1 => Just(Kind::Answer),
        6 => prop::sample::select(FLAGS).prop_map(Kind::Tcp),
    ];
    let hosts = prop::sample::select(&[(1u8, 2u8), (2, 1), (1, 2), (2, 1), (1, 3), (3, 2)][..]);
    (hosts, 7u16..9, kind).prop_map(|((from, to), port, kind)| Sent { from, to, port, kind })
}

fn request() -> impl Strategy<Value = CtRequest> {
    (0u16..2, 0u8..8, proptest::option::of(any::<(u32, u32)>()), proptest::option::of(any::<(u128, u128)>())).prop_map(
        |(zone, how, mark, label)| {
            let mut request = match how {
                0..=2 => CtRequest::lookup(zone),
                3..=6 => CtRequest::commit(zone),
                _ => CtRequest::force_commit(zone),
            };
            (request.mark, request.label) = (mark, label);
            request
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (sent(), request()).prop_map(|(s, r)| Step::Packet(s, r)),
        3 => prop::sample::select(&[1u64, 10, 29, 30, 45, 60, 900, 86400][..]).prop_map(Step::Wait),
        2 => (0usize..6).prop_map(Step::Expire),
        1 => (0u16..2).prop_map(Step::Flush),
        1 => (0u16..2, sent()).prop_map(|(z, s)| Step::FlushTuple(z, s)),
    ]
}

/// Timeouts of which no two are the same, so that a wrong one is seen.
fn timeouts() -> Timeouts {
    let mut t = Timeouts::default();
    (t.tcp_syn_recv, t.tcp_close) = (Duration::from_secs(31), Duration::from_secs(32));
    (t.udp_single, t.udp_multiple) = (Duration::from_secs(61), Duration::from_secs(33));
    (t.icmp_first, t.icmp_reply) = (Duration::from_secs(62), Duration::from_secs(34));
    t
}

/// Runs the steps in both and compares all that can be seen.
fn agree(steps: Vec<Step>, limit: usize, verify: bool) -> Result<(), TestCaseError> {
    let config = Config::new(7)
        .with_timeouts(timeouts())
        .with_max_connections(limit)
        .with_verify_checksums(verify)
        .with_tcp_liberal(true);
    let (mut lab, mut model) = (Lab::with(config), Model::default());
    for step in steps {
        match step {
            Step::Packet(sent, request) => {
                // What a full tracker finds to give back on its own is bounded; here nothing is left to find.
                if limit < 100 {
                    lab.tracker.expire(lab.now, usize::MAX);
                    model.known.retain(|_, known| known.deadline > lab.now);
                }
                let full = lab.tracker.len() >= limit && model.known.len() < limit;
                let mut packet = sent.packet();
                let outcome = lab.track(&mut packet, &request);
                if full && outcome == Outcome::Refused {
                    // An expired connection is removed up to a tick late, and holds its place until then.
                    continue;
                }
                let seen = (outcome, packet.meta.ct.mark, packet.meta.ct.label);
                prop_assert_eq!(seen, model.track(sent, &request, lab.now, limit), "{:?}", sent);
            }
            Step::Wait(secs) => lab.wait(secs),
            Step::Expire(budget) => {
                lab.tracker.expire(lab.now, budget);
            }
            Step::Flush(zone) => {
                lab.tracker.flush(Some(zone));
                model.known.retain(|(z, _), _| *z != zone);
            }
            Step::FlushTuple(zone, sent) => {
                lab.tracker.flush_tuple(zone, &sent.tuple());
                model.known.remove(&(zone, sent.tuple()));
                model.known.remove(&(zone, sent.tuple().reversed()));
            }
        }
        model.known.retain(|_, known| known.deadline > lab.now);
        let mut dump: Vec<_> = lab.tracker.dump(None, lab.now).collect();
        dump.sort_by_key(|c| (c.zone, c.original));
        prop_assert_eq!(dump.len(), model.known.len());
        for (c, ((zone, original), known)) in dump.iter().zip(&model.known) {
            prop_assert_eq!((c.zone, c.original, c.reply), (*zone, *original, original.reversed()));
            prop_assert_eq!((c.answered, c.mark, c.label), (known.answered, known.mark, known.label));
            prop_assert_eq!(c.timeout, known.deadline - lab.now);
            if let ProtocolState::Tcp { original, reply } = c.state {
                let states = (known.original.state(known.reset), known.reply.state(known.reset));
                prop_assert_eq!((original, reply), states);
            }
        }
        let s = lab.tracker.stats();
        prop_assert_eq!(s.created, s.expired + s.replaced + s.flushed + s.connections as u64);
        prop_assert!(s.connections <= limit);
        // The timer is never later than a tick behind the first deadline.
        if let Some(first) = model.known.values().map(|k| k.deadline).min() {
            prop_assert!(lab.tracker.next_deadline().unwrap() < first + Duration::from_millis(269));
        }
    }
    // In the end all is given back.
    lab.wait(2 * 86400);
    lab.tracker.expire(lab.now, usize::MAX);
    prop_assert_eq!((lab.tracker.len(), lab.tracker.next_deadline()), (0, None));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn tracker_and_model_agree(steps in proptest::collection::vec(step(), 1..120), verify: bool) {
        agree(steps, 1000, verify)?;
    }

    #[test]
    fn they_agree_when_room_is_short(steps in proptest::collection::vec(step(), 1..120), limit in 0usize..5) {
        agree(steps, limit, true)?;
    }
}

//! Megaflows of the kernel's.

use ovs_netlink::attr::Nest;
use ovs_netlink::ovs::{Command, Flow, FlowAttr, OvsHeader, UfidFlags};
use ovs_netlink::{DecodeError, EncodeError, Flags, Message, SocketError};
use ovs_packet::Match;

use super::datapath::{Datapath, Dispatch, errno, failed, refused};
use super::key::{ConvertError, Fitness, beyond, put_key, put_mask, read_key, read_mask};
use super::put_action::{ActionContext, MAX_NESTING, Unsupported, put_actions, unsupported};
use super::read_action::read_actions;
use crate::dpif::{DpFlow, DpFlowStats, DpifError, FlowPut, Operation, Outcome, PutMode, Ufid};

/// More megaflows than this are not listed at once.
const MAX_FLOWS: usize = 1 << 22;

/// An identity as bytes: words in the byte order of the machine, so that upstream's tools show it as ours do.
pub(super) fn ufid_bytes(ufid: Ufid) -> [u8; 16] {
    let mut bytes = ufid.0.to_be_bytes();
    bytes.as_chunks_mut::<4>().0.iter_mut().for_each(|word| *word = u32::from_be_bytes(*word).to_ne_bytes());
    bytes
}

fn ufid_of(bytes: &[u8]) -> Option<Ufid> {
    let mut bytes: [u8; 16] = bytes.try_into().ok()?;
    bytes.as_chunks_mut::<4>().0.iter_mut().for_each(|word| *word = u32::from_ne_bytes(*word).to_be_bytes());
    Some(Ufid(u128::from_be_bytes(bytes)))
}

/// Writes the message that installs a megaflow, in one pass.
pub(super) fn encode_put(
    buffer: &mut Vec<u8>,
    family: u16,
    dp_ifindex: u32,
    put: &FlowPut<'_>,
    action_pid: u32,
    ufid: Ufid,
    probe: bool,
) -> Result<(), EncodeError> {
    let (command, flags) = match put.mode {
        // The kernel would change what is there, but only if the key has no bit outside the mask: it compares the whole
        // of it with one that was masked. So a second request changes what the first found there.
        PutMode::Put | PutMode::Create => (Command::New, Flags::CREATE),
        PutMode::Modify => (Command::Set, Flags::empty()),
    };
    let header = OvsHeader { dp_ifindex };
    header.message(buffer, family, command as u8, Flow::VERSION, Flags::REQUEST | flags, |w| {
        w.put(FlowAttr::Ufid(&ufid_bytes(ufid)))?;
        if probe {
            w.put(FlowAttr::Probe)?;
        }
        if put.zero_stats {
            w.put(FlowAttr::Clear)?;
        }
        w.nest(FlowAttr::KEY, |key| put_key(key, put.key))?;
        w.nest(FlowAttr::MASK, |mask| put_mask(mask, put.key, put.mask))?;
        let context = ActionContext::of(put.key, action_pid);
        w.nest(FlowAttr::ACTIONS, |list| put_actions(list, put.actions, &context)).map(drop)
    })
}

/// The request about one megaflow.
fn encode_one(
    buffer: &mut Vec<u8>,
    family: u16,
    dp_ifindex: u32,
    ufid: Ufid,
    command: Command,
) -> Result<(), EncodeError> {
    let bytes = ufid_bytes(ufid);
    let flow = Flow { dp_ifindex, ufid: Some(&bytes), ..Flow::default() };
    flow.encode(buffer, family, command, Flags::REQUEST | Flags::ECHO)
}

fn check(put: &FlowPut<'_>) -> Result<(), DpifError> {
    if let Some(what) = beyond(put.key, put.mask) {
        return Err(DpifError::Unsupported(what));
    }
    match unsupported(put.actions) {
        None => Ok(()),
        Some(Unsupported::TooDeep) => Err(DpifError::TooDeep(MAX_NESTING)),
        Some(Unsupported::Action(what)) => Err(DpifError::Unsupported(what)),
    }
}

/// What the kernel's refusal of an operation on this megaflow means.
fn meant(ufid: Ufid, what: &'static str, error: SocketError) -> DpifError {
    match error.errno() {
        Some(errno::ENOENT) => DpifError::NoSuchFlow(ufid),
        Some(errno::EEXIST) => DpifError::FlowExists(ufid),
        _ => failed(what)(error),
    }
}

impl Datapath {
    fn ufid_for(put: &FlowPut<'_>) -> Ufid {
        put.ufid.unwrap_or_else(|| Ufid::of(&Match::new(*put.key, *put.mask)))
    }

    pub(super) fn install(&mut self, put: &FlowPut<'_>) -> Result<Ufid, DpifError> {
        check(put)?;
        let (ufid, pid, mut request) = (Datapath::ufid_for(put), self.action_pid(), Vec::new());
        encode_put(&mut request, self.families.flow.id, self.dp_ifindex, put, pid, ufid, false)
            .map_err(|e| failed("flow")(e.into()))?;
        let done = self.socket.get_mut().transact(&mut request, |_| Ok(()));
        match done.map_err(|error| meant(ufid, "flow", error)) {
            Err(DpifError::FlowExists(_)) if put.mode == PutMode::Put => self.change(put, ufid),
            done => done.map(|()| ufid),
        }
    }

    /// Changes the megaflow that a put found there.
    fn change(&mut self, put: &FlowPut<'_>, ufid: Ufid) -> Result<Ufid, DpifError> {
        match self.install(&put.with_mode(PutMode::Modify)) {
            // One of another identity is for the same packets.
            Err(DpifError::NoSuchFlow(_)) => Err(DpifError::FlowExists(ufid)),
            done => done,
        }
    }

    pub(super) fn one_flow(&self, ufid: Ufid, command: Command) -> Result<DpFlow, DpifError> {
        match self.identified_flow(ufid, command) {
            // Who looks at another program's datapath may find flows that were put without an identity.
            Err(DpifError::NoSuchFlow(_)) if self.options.dispatch == Dispatch::Observe => {
                self.nameless_flow(ufid, command)
            }
            known => known,
        }
    }

    /// A flow that has no identity in the kernel, which knows it by its whole key.
    fn nameless_flow(&self, ufid: Ufid, command: Command) -> Result<DpFlow, DpifError> {
        let found = self.dump(None, |flow| {
            let known = self.read(flow)?;
            let key = flow.key.filter(|_| flow.ufid.is_none() && known.ufid == ufid);
            Ok(key.map(|key| (known, key.payload().to_vec())))
        })?;
        let found = found.into_iter().find_map(|flow| flow.ok().flatten());
        let (known, key) = found.ok_or(DpifError::NoSuchFlow(ufid))?;
        if command == Command::Delete {
            let mut request = Vec::new();
            let flow = Flow { dp_ifindex: self.dp_ifindex, key: Some(Nest::new(&key)), ..Flow::default() };
            let encoded = flow.encode(&mut request, self.families.flow.id, command, Flags::REQUEST);
            encoded.map_err(|e| failed("flow")(e.into()))?;
            let done = self.socket.borrow_mut().transact(&mut request, |_| Ok(()));
            done.map_err(|error| meant(ufid, "flow", error))?;
        }
        Ok(known)
    }

    fn identified_flow(&self, ufid: Ufid, command: Command) -> Result<DpFlow, DpifError> {
        let mut request = Vec::new();
        encode_one(&mut request, self.families.flow.id, self.dp_ifindex, ufid, command)
            .map_err(|e| failed("flow")(e.into()))?;
        if command == Command::Delete {
            // The answer to a deletion has not what the megaflow was, only its identity and counters.
            let before = self.identified_flow(ufid, Command::Get)?;
            let mut stats = before.stats;
            let read = |message: &Message<'_>| {
                stats = self.counted(&Flow::decode(message)?);
                Ok(())
            };
            let done = self.socket.borrow_mut().transact(&mut request, read);
            return done.map(|()| DpFlow { stats, ..before }).map_err(|error| meant(ufid, "flow", error));
        }
        let mut found = None;
        let read = |message: &Message<'_>| {
            found = Some(self.read(&Flow::decode(message)?));
            Ok(())
        };
        let done = self.socket.borrow_mut().transact(&mut request, read);
        done.map_err(|error| meant(ufid, "flow", error))?;
        // A flow that was asked for by its identity is told without it by old kernels.
        Ok(DpFlow { ufid, ..found.ok_or(DpifError::AnswerLost)?? })
    }

    /// Sends all operations together. A deletion tells what the megaflow was as of a moment before.
    pub(super) fn batch(&mut self, operations: &[Operation<'_>]) -> Vec<Result<Outcome, DpifError>> {
        let (family, dp, pid) = (self.families.flow.id, self.dp_ifindex, self.action_pid());
        let mut requests = Vec::new();
        // Of each operation the numbers of its requests, or why it has none.
        let mut plan: Vec<Result<(Ufid, usize), DpifError>> = Vec::new();
        let mut count = 0;
        for operation in operations {
            let encoded = match operation {
                Operation::Put(put) => check(put).and_then(|()| {
                    let ufid = Datapath::ufid_for(put);
                    let done = encode_put(&mut requests, family, dp, put, pid, ufid, false);
                    done.map(|()| (ufid, 1)).map_err(|e| failed("flow")(e.into()))
                }),
                Operation::Get(ufid) => {
                    let done = encode_one(&mut requests, family, dp, *ufid, Command::Get);
                    done.map(|()| (*ufid, 1)).map_err(|e| failed("flow")(e.into()))
                }
                Operation::Delete(ufid) => {
                    let done = encode_one(&mut requests, family, dp, *ufid, Command::Get)
                        .and_then(|()| encode_one(&mut requests, family, dp, *ufid, Command::Delete));
                    done.map(|()| (*ufid, 2)).map_err(|e| failed("flow")(e.into()))
                }
            };
            plan.push(encoded.map(|(ufid, requests)| {
                count += requests;
                (ufid, count - requests)
            }));
        }
        let mut told: Vec<Option<Result<DpFlow, ConvertError>>> = vec![None; count];
        let this = &*self;
        let read = |number: usize, message: &Message<'_>| -> Result<(), DecodeError> {
            let flow = this.read(&Flow::decode(message)?);
            if let Some(place) = told.get_mut(number) {
                *place = Some(flow);
            }
            Ok(())
        };
        let mut sent = match this.socket.borrow_mut().batch(&mut requests, read) {
            Ok(results) => results.into_iter().map(Some).collect::<Vec<_>>(),
            // What became of them nobody knows.
            Err(error) => {
                tracing::warn!(%error, "a batch of flow operations");
                Vec::new()
            }
        };
        let mut result = |number: usize, ufid: Ufid| match sent.get_mut(number).and_then(Option::take) {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(match meant(ufid, "flow", error.clone().into()) {
                DpifError::System { .. } => refused("flow", error),
                known => known,
            }),
            None => Err(DpifError::AnswerLost),
        };
        let mut flow = |number: usize, ufid: Ufid| match told.get_mut(number).and_then(Option::take) {
            Some(flow) => Ok(DpFlow { ufid, ..flow? }),
            None => Err(DpifError::AnswerLost),
        };
        let mut outcome = |(operation, planned): (&Operation<'_>, Result<(Ufid, usize), DpifError>)| {
            let (ufid, first) = planned?;
            result(first, ufid)?;
            match operation {
                Operation::Put(_) => Ok(Outcome::Put(ufid)),
                Operation::Get(_) => Ok(Outcome::Found(Box::new(flow(first, ufid)?))),
                Operation::Delete(_) => {
                    result(first + 1, ufid)?;
                    let before = flow(first, ufid)?;
                    let stats = flow(first + 1, ufid).map_or(before.stats, |last| last.stats);
                    Ok(Outcome::Deleted(Box::new(DpFlow { stats, ..before })))
                }
            }
        };
        let outcomes: Vec<_> = operations.iter().zip(plan).map(&mut outcome).collect();
        let again = |(operation, outcome): (&Operation<'_>, Result<Outcome, DpifError>)| match (operation, outcome) {
            (Operation::Put(put), Err(DpifError::FlowExists(ufid))) if put.mode == PutMode::Put => {
                self.change(put, ufid).map(Outcome::Put)
            }
            (_, outcome) => outcome,
        };
        operations.iter().zip(outcomes).map(again).collect()
    }

    pub(super) fn terse(&self, f: &mut dyn FnMut(Ufid, DpFlowStats)) -> Result<(), DpifError> {
        let all = UfidFlags::OMIT_KEY | UfidFlags::OMIT_MASK | UfidFlags::OMIT_ACTIONS;
        let flows = self.dump(Some(all), |flow| {
            let stats = self.counted(flow);
            match flow.ufid.and_then(ufid_of) {
                Some(ufid) => Ok((ufid, stats)),
                // A flow that another program put without an identity.
                None => self.read(flow).map(|flow| (flow.ufid, flow.stats)),
            }
        })?;
        flows.into_iter().flatten().for_each(|(ufid, stats)| f(ufid, stats));
        Ok(())
    }

    pub(super) fn all_flows(&self) -> Result<Vec<DpFlow>, DpifError> {
        let flows = self.dump(None, |flow| self.read(flow))?;
        let mut flows = flows.into_iter().collect::<Result<Vec<_>, _>>()?;
        flows.sort_by_key(|flow| flow.ufid);
        Ok(flows)
    }

    fn dump<T>(
        &self,
        ufid_flags: Option<UfidFlags>,
        read: impl Fn(&Flow<'_>) -> Result<T, ConvertError>,
    ) -> Result<Vec<Result<T, ConvertError>>, DpifError> {
        let mut request = Vec::new();
        let all = Flow { dp_ifindex: self.dp_ifindex, ufid_flags, ..Flow::default() };
        let encoded = all.encode(&mut request, self.families.flow.id, Command::Get, Flags::REQUEST);
        encoded.map_err(|e| failed("dump of flows")(e.into()))?;
        let one = |message: &Message<'_>| Ok(read(&Flow::decode(message)?));
        self.socket.borrow_mut().dump(&mut request, MAX_FLOWS, one).map_err(failed("dump of flows"))
    }

    pub(super) fn flush_flows(&mut self) -> Result<(), DpifError> {
        let mut request = Vec::new();
        let all = Flow { dp_ifindex: self.dp_ifindex, ..Flow::default() };
        let encoded = all.encode(&mut request, self.families.flow.id, Command::Delete, Flags::REQUEST);
        encoded.map_err(|e| failed("flush of flows")(e.into()))?;
        self.socket.get_mut().transact(&mut request, |_| Ok(())).map_err(failed("flush of flows"))
    }

    fn counted(&self, flow: &Flow<'_>) -> DpFlowStats {
        let stats = flow.stats.unwrap_or_default();
        DpFlowStats {
            packets: stats.packets,
            bytes: stats.bytes,
            used: flow.used.map(|millis| self.moment(millis)),
            tcp_flags: flow.tcp_flags.unwrap_or(0).into(),
        }
    }

    fn read(&self, flow: &Flow<'_>) -> Result<DpFlow, ConvertError> {
        // In the answer to a deletion there may be no key.
        let (key, fit) = flow.key.map_or(Ok((ovs_packet::FlowKey::ZERO, Fitness::Perfect)), read_key)?;
        let (mask, fit_mask) = match flow.mask {
            Some(mask) => read_mask(mask)?,
            // All of the key is matched.
            None => (Match::exact_non_zero(key).mask(), Fitness::Perfect),
        };
        if fit.max(fit_mask) != Fitness::Perfect {
            tracing::debug!(?fit, ?fit_mask, "a flow of the kernel's does not fit a flow key");
        }
        let actions = flow.actions.map_or(Ok(Vec::new()), read_actions)?;
        let ufid = flow.ufid.and_then(ufid_of).unwrap_or_else(|| Ufid::of(&Match::new(key, mask)));
        Ok(DpFlow { ufid, key: (&key).into(), mask: (&mask.bits).into(), actions, stats: self.counted(flow) })
    }
}

//! Requests and what comes of them, matched by transaction id.
//!
//! A controller sends requests with ids of its choice, and answers and errors repeat them. A request that has an answer
//! is done with its last part: one that is not followed by [others](Progress::Reply). Requests that have none, such as
//! changes of flows, are followed by a barrier, whose answer says that all before it is done: what was refused has been
//! told by then.
//!
//! Nothing is held but ids: answers are given out as they come, so that a dump of a million flows takes no more memory
//! than its largest message.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ovs_packet::Instant;

use super::frame::Frame;
use super::wire::{self, ErrorReply};
use crate::codec::{MessageType, Version};

/// Transaction ids, each once in 4294967295; never 0, which sessions use for themselves. Those who have clones take from
/// one sequence, so that the messages of several connections are told apart in a log.
#[derive(Debug, Clone)]
pub struct Xids {
    next: Arc<AtomicU32>,
}

impl Xids {
    /// Ids from `first` on. Two controllers that share a switch's log are told apart by where they begin.
    pub fn new(first: u32) -> Xids {
        Xids { next: Arc::new(AtomicU32::new(first)) }
    }

    /// Another id.
    pub fn allocate(&self) -> u32 {
        loop {
            let xid = self.next.fetch_add(1, Ordering::Relaxed);
            if xid != 0 {
                return xid;
            }
        }
    }
}

impl Default for Xids {
    /// From 1 on.
    fn default() -> Xids {
        Xids::new(1)
    }
}

/// A transaction under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(u32);

/// What a message means to the transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// An answer, or a part of one.
    Reply {
        /// To this transaction.
        id: TransactionId,
        /// The answer.
        frame: Frame,
        /// Whether the transaction is done.
        is_last: bool,
    },
    /// A request was refused. A transaction that waits for an answer is done with that; one that waits for a barrier goes
    /// on.
    Refused {
        /// In this transaction.
        id: TransactionId,
        /// Which of its requests, from 0 on.
        request: usize,
        /// Why.
        error: ErrorReply,
        /// Whether the transaction is done.
        is_last: bool,
    },
    /// The barrier was answered: the transaction is done.
    Done {
        /// This transaction.
        id: TransactionId,
    },
    /// No transaction is meant: something said unasked, or too late.
    Unsolicited(Frame),
}

#[derive(Debug, Clone)]
struct Transaction {
    /// The ids of its requests.
    requests: Vec<u32>,
    barrier: Option<u32>,
    deadline: Option<Instant>,
}

/// The transactions under way on a connection.
///
/// ```
/// use ovs_ofproto::codec::{Message, Version};
/// use ovs_ofproto::session::{Frame, Progress, Transactions};
///
/// let mut transactions = Transactions::default();
/// let request = Frame::new(Message::FeaturesRequest.encode(Version::V1_3, 0)?)?;
/// let (id, to_send) = transactions.ask(vec![request], None).unwrap();
/// let answer = Message::FeaturesReply(Default::default()).encode(Version::V1_3, to_send[0].xid())?;
/// let Progress::Reply { id: answered, is_last, .. } = transactions.handle(Frame::new(answer)?) else { panic!() };
/// assert_eq!((answered, is_last), (id, true));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Transactions {
    xids: Xids,
    open: BTreeMap<TransactionId, Transaction>,
    /// Which transaction an id belongs to, and which of its requests; the barrier is behind all requests.
    by_xid: BTreeMap<u32, (TransactionId, usize)>,
}

impl Transactions {
    /// Transactions with ids of `xids`.
    pub fn new(xids: Xids) -> Transactions {
        Transactions { xids, ..Transactions::default() }
    }

    /// How many are under way.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is under way.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// When [`Transactions::poll_timed_out`] will have something, if nothing comes in before.
    pub fn deadline(&self) -> Option<Instant> {
        self.open.values().filter_map(|transaction| transaction.deadline).min()
    }

    /// An id for a message that belongs to no transaction.
    pub fn allocate_xid(&mut self) -> u32 {
        loop {
            let xid = self.xids.allocate();
            if !self.by_xid.contains_key(&xid) {
                return xid;
            }
        }
    }

    /// Begins a transaction that is answered: a request, or the parts of a multipart request, which then all have the same
    /// id. Gives back what to send; nothing for no request.
    pub fn ask(&mut self, requests: Vec<Frame>, deadline: Option<Instant>) -> Option<(TransactionId, Vec<Frame>)> {
        if requests.is_empty() {
            return None;
        }
        let xid = self.allocate_xid();
        let id = TransactionId(xid);
        self.by_xid.insert(xid, (id, 0));
        self.open.insert(id, Transaction { requests: vec![xid], barrier: None, deadline });
        Some((id, requests.into_iter().map(|frame| frame.with_xid(xid)).collect()))
    }

    /// Begins a transaction of requests that are not answered, each with an id of its own, and a barrier of `version` behind
    /// them, whose id is the last. Gives back what to send, the barrier last.
    pub fn tell(
        &mut self,
        requests: Vec<Frame>,
        version: Version,
        deadline: Option<Instant>,
    ) -> (TransactionId, Vec<Frame>) {
        let xids: Vec<u32> = requests.iter().map(|_| self.allocate_xid()).collect();
        let barrier = self.allocate_xid();
        let id = TransactionId(barrier);
        self.by_xid.insert(barrier, (id, requests.len()));
        self.by_xid.extend(xids.iter().enumerate().map(|(at, xid)| (*xid, (id, at))));
        let mut frames: Vec<Frame> = requests.into_iter().zip(&xids).map(|(r, xid)| r.with_xid(*xid)).collect();
        frames.push(wire::barrier_request(version, barrier));
        self.open.insert(id, Transaction { requests: xids, barrier: Some(barrier), deadline });
        (id, frames)
    }

    /// What a message that came in means.
    pub fn handle(&mut self, frame: Frame) -> Progress {
        let xid = frame.xid();
        if frame.kind() == MessageType::ECHO_REQUEST {
            // The peer's ids are its own.
            return Progress::Unsolicited(frame);
        }
        let Some(&(id, request)) = self.by_xid.get(&xid) else { return Progress::Unsolicited(frame) };
        let Some(transaction) = self.open.get(&id) else { return Progress::Unsolicited(frame) };
        let (barrier, error) = (transaction.barrier, ErrorReply::of(&frame));
        match (barrier, error) {
            (Some(barrier), None) if barrier == xid => {
                self.forget(id);
                Progress::Done { id }
            }
            (Some(barrier), Some(error)) => {
                let is_last = barrier == xid;
                if is_last {
                    self.forget(id);
                }
                Progress::Refused { id, request, error, is_last }
            }
            (None, Some(error)) => {
                self.forget(id);
                Progress::Refused { id, request, error, is_last: true }
            }
            (Some(_), None) => Progress::Reply { id, frame, is_last: false },
            (None, None) => {
                let is_last = !wire::has_more(&frame);
                if is_last {
                    self.forget(id);
                }
                Progress::Reply { id, frame, is_last }
            }
        }
    }

    /// A transaction whose time is over; it is under way no more, and what still comes of it is unsolicited.
    pub fn poll_timed_out(&mut self, now: Instant) -> Option<TransactionId> {
        let is_over = |transaction: &Transaction| transaction.deadline.is_some_and(|deadline| now >= deadline);
        let id = self.open.iter().find(|(_, transaction)| is_over(transaction)).map(|(id, _)| *id)?;
        self.forget(id);
        Some(id)
    }

    /// Gives up a transaction; what still comes of it is unsolicited.
    pub fn forget(&mut self, id: TransactionId) {
        let Some(transaction) = self.open.remove(&id) else { return };
        for xid in transaction.requests.into_iter().chain(transaction.barrier) {
            self.by_xid.remove(&xid);
        }
    }

    /// Gives up all, as the end of their connection does: nothing more comes of them.
    pub fn forget_all(&mut self) -> Vec<TransactionId> {
        self.by_xid.clear();
        std::mem::take(&mut self.open).into_keys().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::MessageType;

    fn request(kind: u8) -> Frame {
        Frame::build(Version::V1_3, MessageType(kind), 77, &[])
    }

    fn answer(kind: MessageType, xid: u32, body: &[u8]) -> Frame {
        Frame::build(Version::V1_3, kind, xid, &[body])
    }

    fn part(xid: u32, more: bool) -> Frame {
        answer(MessageType::MULTIPART_REPLY, xid, &[0, 1, 0, more.into(), 0, 0, 0, 0])
    }

    #[test]
    fn ids_are_never_the_sessions_own() {
        let xids = Xids::new(u32::MAX);
        assert_eq!([xids.allocate(), xids.clone().allocate(), xids.allocate()], [u32::MAX, 1, 2]);
        assert_eq!(Xids::new(0).allocate(), 1);
    }

    #[test]
    fn an_id_in_use_is_passed_over() {
        let mut transactions = Transactions::new(Xids::new(u32::MAX));
        let (_, sent) = transactions.ask(vec![request(5)], None).unwrap();
        transactions.xids = Xids::new(u32::MAX);
        assert_eq!((sent[0].xid(), transactions.allocate_xid()), (u32::MAX, 1));
    }

    #[test]
    fn a_multipart_reply_is_done_with_its_last_part() {
        let mut transactions = Transactions::default();
        let (id, sent) = transactions.ask(vec![request(18), request(18)], None).unwrap();
        assert_eq!([sent[0].xid(), sent[1].xid()], [1, 1]);
        assert_eq!(transactions.handle(part(2, false)), Progress::Unsolicited(part(2, false)));
        for more in [true, true, false] {
            let reply = Progress::Reply { id, frame: part(1, more), is_last: !more };
            assert_eq!(transactions.handle(part(1, more)), reply);
        }
        assert_eq!(transactions.handle(part(1, false)), Progress::Unsolicited(part(1, false)));
        assert!(transactions.is_empty() && transactions.by_xid.is_empty());
        assert!(transactions.ask(Vec::new(), None).is_none());
    }

    #[test]
    fn an_error_ends_what_waits_for_an_answer() {
        let mut transactions = Transactions::default();
        let (id, _) = transactions.ask(vec![request(18)], None).unwrap();
        transactions.handle(part(1, true));
        let error = answer(MessageType::ERROR, 1, &[0, 1, 0, 2, 9]);
        let reply = ErrorReply { version: Version::V1_3, xid: 1, kind: 1, code: 2, data: vec![9] };
        assert_eq!(transactions.handle(error), Progress::Refused { id, request: 0, error: reply, is_last: true });
        assert!(transactions.is_empty());
    }

    #[test]
    fn a_barrier_ends_what_has_no_answer() {
        let mut transactions = Transactions::default();
        let (id, sent) = transactions.tell(vec![request(14); 3], Version::V1_3, None);
        assert_eq!(sent.iter().map(Frame::xid).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(sent[3].kind(), MessageType::BARRIER_REQUEST);
        for (xid, request) in [(1, 0), (3, 2)] {
            let error = answer(MessageType::ERROR, xid, &[0, 5, 0, 1]);
            let Progress::Refused { request: refused, is_last, .. } = transactions.handle(error) else { panic!() };
            assert_eq!((refused, is_last), (request, false));
        }
        let unusual = answer(MessageType::EXPERIMENTER, 2, &[]);
        let reply = Progress::Reply { id, frame: unusual.clone(), is_last: false };
        assert_eq!(transactions.handle(unusual), reply);
        assert_eq!(transactions.handle(answer(MessageType::BARRIER_REPLY, 4, &[])), Progress::Done { id });
        let (id, sent) = transactions.tell(Vec::new(), Version::V1_0, None);
        assert_eq!((sent.len(), sent[0].kind()), (1, MessageType(18)));
        let refused = transactions.handle(answer(MessageType::ERROR, sent[0].xid(), &[0, 1, 0, 1]));
        assert!(matches!(refused, Progress::Refused { id: of, request: 0, is_last: true, .. } if of == id));
        assert!(transactions.is_empty() && transactions.by_xid.is_empty());
    }

    #[test]
    fn time_and_the_end_of_the_connection_end_transactions() {
        let mut transactions = Transactions::default();
        let secs = Instant::from_secs;
        let (late, _) = transactions.ask(vec![request(5)], Some(secs(9))).unwrap();
        let (soon, _) = transactions.tell(vec![request(14)], Version::V1_3, Some(secs(3)));
        let (never, _) = transactions.ask(vec![request(5)], None).unwrap();
        assert_eq!((transactions.deadline(), transactions.poll_timed_out(secs(2))), (Some(secs(3)), None));
        assert_eq!((transactions.poll_timed_out(secs(3)), transactions.poll_timed_out(secs(3))), (Some(soon), None));
        assert_eq!(transactions.deadline(), Some(secs(9)));
        assert_eq!(transactions.forget_all(), [late, never]);
        assert!(transactions.by_xid.is_empty());
    }
}

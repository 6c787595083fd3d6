//! Requests and their answers over a [`Socket`].
//!
//! **What is lost is said.** When the kernel reports an overrun while answers are awaited, what it still holds is taken
//! (until then it drops all that comes, without another word), and a barrier is sent: a message that means nothing and asks
//! for an acknowledgement. The kernel answers in order, so when that arrives, whatever has not arrived of the earlier
//! answers was lost. A dump is then begun anew; any other request fails with
//! [`ReplyError::Overrun`], in a batch the ones whose acknowledgement was lost: whether they took effect only a question
//! can tell. The socket is usable again in any case.

use rustix::net::RecvFlags;

use super::socket::{Received, Socket, SocketError};
use crate::attr::{Writer, padding};
use crate::error::DecodeError;
use crate::generic::Family;
use crate::message::{Flags, Header, Message, Messages, kind};
use crate::reply::{Exchange, ReplyError, Step};

impl Socket {
    /// How often a dump that a change interrupted, or that lost parts, is begun anew.
    pub const RETRIES: usize = 8;
    /// How many requests go to the kernel in one system call, at most.
    pub const BATCH: usize = 128;
    /// How many bytes go to the kernel in one system call, at most: less than the send buffer that sockets have.
    pub const BATCH_BYTES: usize = 160 << 10;
    /// How many messages that belong to no request are skipped in one exchange.
    const MAX_FOREIGN: usize = 10_000;

    /// Asks the controller for the family called `name`.
    ///
    /// # Errors
    /// [`SocketError`]; a refusal with `ENOENT` means that no such family is registered.
    pub fn resolve_family(&mut self, name: &str) -> Result<Family, SocketError> {
        let mut request = Vec::new();
        Family::request(&mut request, Some(name))?;
        self.transact_one(&mut request, Family::decode)
    }

    /// Sends a request, the one message in `request`, and calls `part` with each message of the answer, until the
    /// acknowledgement.
    ///
    /// # Errors
    /// [`SocketError`]. When `part` fails, the rest of the answer is received and skipped, so that the socket stays
    /// usable.
    pub fn transact(
        &mut self,
        request: &mut [u8],
        part: impl FnMut(&Message<'_>) -> Result<(), DecodeError>,
    ) -> Result<(), SocketError> {
        self.exchange(request, Flags::REQUEST | Flags::ACK, part)
    }

    /// Sends a request whose answer is one message, and decodes that.
    ///
    /// # Errors
    /// As [`Socket::transact`], and [`SocketError::NotOneAnswer`].
    pub fn transact_one<T>(
        &mut self,
        request: &mut [u8],
        decode: impl Fn(&Message<'_>) -> Result<T, DecodeError>,
    ) -> Result<T, SocketError> {
        let (mut last, mut count) = (None, 0_usize);
        self.transact(request, |message| {
            last = Some(decode(message)?);
            count = count.saturating_add(1);
            Ok(())
        })?;
        last.filter(|_| count == 1).ok_or(SocketError::NotOneAnswer(count))
    }

    /// Dumps objects, at most `max` of them. A dump that a change interrupted, or that lost parts, is begun anew.
    ///
    /// # Errors
    /// [`SocketError`]; [`ReplyError::Interrupted`] or [`ReplyError::Overrun`] when [`Socket::RETRIES`] were not enough.
    pub fn dump<T>(
        &mut self,
        request: &mut [u8],
        max: usize,
        decode: impl Fn(&Message<'_>) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, SocketError> {
        let mut attempt = 0_usize;
        loop {
            let (mut objects, mut too_many) = (Vec::new(), false);
            let result = self.dump_each(request, |message| {
                too_many |= objects.len() >= max;
                if !too_many {
                    objects.push(decode(message)?);
                }
                Ok(())
            });
            attempt = attempt.saturating_add(1);
            let again = |error: &SocketError| {
                matches!(error, SocketError::Reply(ReplyError::Interrupted | ReplyError::Overrun))
            };
            match result {
                Err(error) if again(&error) && attempt <= Socket::RETRIES => {}
                Err(error) => return Err(error),
                Ok(()) if too_many => return Err(SocketError::TooManyParts(max)),
                Ok(()) => return Ok(objects),
            }
        }
    }

    /// Dumps objects and calls `part` with each message, without keeping any.
    ///
    /// # Errors
    /// [`SocketError`]; [`ReplyError::Interrupted`] at the end, when what the dump shows changed meanwhile.
    pub fn dump_each(
        &mut self,
        request: &mut [u8],
        part: impl FnMut(&Message<'_>) -> Result<(), DecodeError>,
    ) -> Result<(), SocketError> {
        self.exchange(request, Flags::REQUEST | Flags::DUMP, part)
    }

    /// Sends all the requests in `requests`, one message after the other, up to [`Socket::BATCH`] in one system call, and
    /// calls `part` with each message of an answer and the number of the request that it answers. The results are in the
    /// order of the requests; one that is refused does not stop those behind it.
    ///
    /// ```no_run
    /// use ovs_netlink::{Flags, Protocol, Socket, ovs::{Command, Flow}};
    ///
    /// let mut socket = Socket::open(Protocol::Generic)?;
    /// let family = socket.resolve_family(Flow::FAMILY)?;
    /// let mut requests = Vec::new();
    /// for ufid in [[1; 16], [2; 16]] {
    ///     let flow = Flow { dp_ifindex: 5, ufid: Some(&ufid), ..Flow::default() };
    ///     flow.encode(&mut requests, family.id, Command::Delete, Flags::REQUEST | Flags::ECHO)?;
    /// }
    /// let results = socket.batch(&mut requests, |number, message| {
    ///     println!("{number}: {:?}", Flow::decode(message)?.stats);
    ///     Ok(())
    /// })?;
    /// assert_eq!(results.len(), 2);
    /// # Ok::<(), ovs_netlink::SocketError>(())
    /// ```
    ///
    /// # Errors
    /// [`SocketError`] when the socket or `requests` is broken; then it is not known what became of the requests.
    pub fn batch(
        &mut self,
        requests: &mut [u8],
        mut part: impl FnMut(usize, &Message<'_>) -> Result<(), DecodeError>,
    ) -> Result<Vec<Result<(), ReplyError>>, SocketError> {
        let mut results = Vec::new();
        let mut rest = requests;
        while !rest.is_empty() {
            let (mut bytes, mut count) = (0_usize, 0_usize);
            let first = self.sequence;
            while count < Socket::BATCH {
                let Some(message) = rest.get_mut(bytes..).filter(|message| !message.is_empty()) else { break };
                let length = message_length(message)?;
                let end = bytes.saturating_add(length);
                if count > 0 && end > Socket::BATCH_BYTES {
                    break;
                }
                let sequence = self.next_sequence();
                prepare(message, sequence, self.port(), Flags::REQUEST | Flags::ACK)?;
                (bytes, count) = (end, count.saturating_add(1));
            }
            let Some((chunk, behind)) = std::mem::take(&mut rest).split_at_mut_checked(bytes) else {
                return Err(SocketError::NotAMessage);
            };
            rest = behind;
            let offset = results.len();
            results.resize_with(offset.saturating_add(count), || Err(ReplyError::Overrun));
            let slots = results.get_mut(offset..).unwrap_or_default();
            self.send(chunk)?;
            self.collect(first, slots, |number, message| part(offset.saturating_add(number), message))?;
        }
        Ok(results)
    }

    /// Receives the answers to the requests after the sequence number `first` into `results`.
    fn collect(
        &mut self,
        first: u32,
        results: &mut [Result<(), ReplyError>],
        mut part: impl FnMut(usize, &Message<'_>) -> Result<(), DecodeError>,
    ) -> Result<(), SocketError> {
        let mut awaited = results.len();
        let mut done = vec![false; awaited];
        let mut bad: Vec<Option<DecodeError>> = vec![None; awaited];
        let mut barrier = Barrier::Unneeded;
        let mut foreign = 0_usize;
        while awaited > 0 {
            let Some(length) = self.next(&mut barrier, &mut foreign)? else { continue };
            for message in Messages::new(self.datagram(length)) {
                let message = message?;
                if message.header.kind == kind::OVERRUN || barrier == Barrier::Sent(message.header.sequence) {
                    // Nothing that has not arrived will.
                    return Ok(());
                }
                let number = distance(first, message.header.sequence).filter(|number| *number < results.len());
                let Some(number) = number else {
                    foreign = foreign.saturating_add(1);
                    continue;
                };
                let slots = (results.get_mut(number), done.get_mut(number), bad.get_mut(number));
                let (Some(result), Some(done), Some(bad)) = slots else { continue };
                if *done {
                    continue;
                }
                *result = match Exchange::new(message.header.sequence).step(message) {
                    Ok(Step::Foreign) => continue,
                    Ok(Step::Part(message)) => {
                        if bad.is_none() {
                            *bad = part(number, &message).err();
                        }
                        continue;
                    }
                    Ok(Step::Done) => bad.map_or(Ok(()), |error| Err(error.into())),
                    Err(error) => Err(error),
                };
                *done = true;
                awaited = awaited.saturating_sub(1);
            }
        }
        Ok(())
    }

    fn exchange(
        &mut self,
        request: &mut [u8],
        flags: Flags,
        mut part: impl FnMut(&Message<'_>) -> Result<(), DecodeError>,
    ) -> Result<(), SocketError> {
        let sequence = self.next_sequence();
        if message_length(request)? < request.len() {
            return Err(SocketError::NotAMessage);
        }
        prepare(request, sequence, self.port(), flags)?;
        self.send(request)?;
        let mut exchange = Exchange::new(sequence);
        let mut barrier = Barrier::Unneeded;
        let mut foreign = 0_usize;
        let mut bad: Option<DecodeError> = None;
        loop {
            let Some(length) = self.next(&mut barrier, &mut foreign)? else { continue };
            for message in Messages::new(self.datagram(length)) {
                let message = message?;
                if barrier == Barrier::Sent(message.header.sequence) {
                    return Err(ReplyError::Overrun.into());
                }
                // Of an answer that has lost parts, the rest is worth nothing.
                if barrier != Barrier::Unneeded {
                    continue;
                }
                match exchange.step(message)? {
                    Step::Foreign => foreign = foreign.saturating_add(1),
                    Step::Part(message) if bad.is_none() => bad = part(&message).err(),
                    Step::Part(_) => {}
                    Step::Done => return bad.map_or(Ok(()), |error| Err(error.into())),
                }
            }
        }
    }

    /// The length of the next datagram of the kernel's; nothing when there is none yet, because some were lost and the
    /// barrier had to move on.
    fn next(&mut self, barrier: &mut Barrier, foreign: &mut usize) -> Result<Option<usize>, SocketError> {
        if *foreign > Socket::MAX_FOREIGN {
            return Err(SocketError::Foreign);
        }
        let flags = if *barrier == Barrier::Needed { RecvFlags::DONTWAIT } else { RecvFlags::empty() };
        match self.receive(flags)? {
            Received::Datagram(length) => return Ok(Some(length)),
            Received::TooLong(length) => return Err(SocketError::DatagramTooLong(length)),
            Received::Overrun => *barrier = Barrier::Needed,
            Received::Nothing => *barrier = Barrier::Sent(self.send_barrier()?),
            Received::Stranger => {}
        }
        *foreign = foreign.saturating_add(1);
        Ok(None)
    }

    fn next_sequence(&mut self) -> u32 {
        // 0 is what notifications carry.
        self.sequence = self.sequence.checked_add(1).unwrap_or(1);
        self.sequence
    }

    /// Sends a message that means nothing, and gives its sequence number: its acknowledgement comes after all answers to
    /// what was sent before.
    fn send_barrier(&mut self) -> Result<u32, SocketError> {
        let sequence = self.next_sequence();
        let mut barrier = Vec::with_capacity(Header::SIZE);
        Writer::message(&mut barrier, kind::NOOP, Flags::REQUEST | Flags::ACK, |_| Ok(()))?;
        Header::stamp(&mut barrier, sequence, self.port());
        self.send(&barrier)?;
        Ok(sequence)
    }
}

/// What an overrun leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Barrier {
    /// There was none.
    Unneeded,
    /// There was one: what the kernel holds is taken first.
    Needed,
    /// The barrier of this sequence number was sent.
    Sent(u32),
}

/// How many sequence numbers `sequence` is behind `first`, less one; numbers wrap around and leave 0 out.
fn distance(first: u32, sequence: u32) -> Option<usize> {
    let steps = sequence.wrapping_sub(first).wrapping_sub(u32::from(sequence < first));
    usize::try_from(steps.checked_sub(1)?).ok()
}

/// The bytes of the first message in `bytes`, with its padding.
fn message_length(bytes: &[u8]) -> Result<usize, SocketError> {
    let header = bytes.first_chunk().map(Header::decode).ok_or(SocketError::NotAMessage)?;
    let length = usize::try_from(header.length).unwrap_or(usize::MAX);
    if !(Header::SIZE..=bytes.len()).contains(&length) {
        return Err(SocketError::NotAMessage);
    }
    Ok(length.saturating_add(padding(length)).min(bytes.len()))
}

fn prepare(message: &mut [u8], sequence: u32, port: u32, flags: Flags) -> Result<(), SocketError> {
    let place = message.first_chunk_mut().ok_or(SocketError::NotAMessage)?;
    let header = Header::decode(place);
    *place = Header { flags: header.flags | flags, sequence, port, ..header }.encode();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::socket::Protocol;
    use super::*;
    use crate::generic::CONTROLLER;

    /// Opens a socket, or says that this machine has none and nothing can be tested.
    fn open() -> Option<Socket> {
        Socket::open(Protocol::Generic).inspect_err(|error| eprintln!("no netlink here, nothing tested: {error}")).ok()
    }

    fn families() -> Vec<u8> {
        let mut request = Vec::new();
        Family::request(&mut request, None).unwrap();
        request
    }

    #[test]
    fn the_controller_knows_itself() {
        let Some(mut socket) = open() else { return };
        let family = socket.resolve_family("nlctrl").unwrap();
        assert_eq!((family.id, family.name.as_str()), (CONTROLLER, "nlctrl"));
        assert!(family.group("notify").is_some());
        assert_ne!(socket.port(), 0);
    }

    #[test]
    fn a_family_that_is_not_there_is_refused_and_the_socket_stays_usable() {
        let Some(mut socket) = open() else { return };
        let error = socket.resolve_family("no_such_family").unwrap_err();
        assert_eq!(error.errno(), Some(libc::ENOENT));
        assert!(socket.resolve_family("nlctrl").is_ok());
    }

    #[test]
    fn extended_acks_arrive() {
        let Some(mut socket) = open() else { return };
        // GETFAMILY with a name that is longer than the policy allows.
        let mut request = Vec::new();
        Family::request(&mut request, Some(&"x".repeat(100))).unwrap();
        let error = socket.transact(&mut request, |_| Ok(())).unwrap_err();
        let SocketError::Reply(ReplyError::Refused(ack)) = error else { panic!("{error}") };
        assert_eq!(ack.extended.offset, Some(20), "{ack}");
    }

    #[test]
    fn dumps_are_bounded_and_a_bad_part_does_not_spoil_the_next_exchange() {
        let Some(mut socket) = open() else { return };
        let found = socket.dump(&mut families(), 1000, Family::decode).unwrap();
        assert!(found.iter().any(|family| family.name == "nlctrl"));
        if found.len() > 1 {
            assert!(matches!(socket.dump(&mut families(), 1, Family::decode), Err(SocketError::TooManyParts(1))));
        }
        let wrong = DecodeError { offset: 1, kind: crate::DecodeErrorKind::Missing { attribute: 1 } };
        let result = socket.dump_each(&mut families(), |_| Err(wrong));
        assert!(matches!(result, Err(SocketError::Reply(ReplyError::Decode(error))) if error == wrong));
        assert_eq!(socket.dump(&mut families(), 1000, Family::decode).unwrap().len(), found.len());
    }

    #[test]
    fn a_batch_is_answered_in_order_and_refusals_are_single() {
        let Some(mut socket) = open() else { return };
        // Across the end of the sequence numbers.
        socket.sequence = u32::MAX - 100;
        let mut requests = Vec::new();
        for number in 0..300 {
            let name = if number % 7 == 3 { "no_such_family" } else { "nlctrl" };
            Family::request(&mut requests, Some(name)).unwrap();
        }
        let mut answered = Vec::new();
        let results = socket.batch(&mut requests, |number, message| {
            answered.push(number);
            Family::decode(message).map(drop)
        });
        let results = results.unwrap();
        assert_eq!(results.len(), 300);
        for (number, result) in results.iter().enumerate() {
            assert_eq!(result.is_err(), number % 7 == 3, "{number}: {result:?}");
        }
        assert_eq!(answered, (0..300).filter(|number| number % 7 != 3).collect::<Vec<_>>());
    }

    #[test]
    fn after_an_overrun_the_lost_are_named_and_the_socket_is_usable() {
        let Some(mut socket) = open() else { return };
        // The least that the kernel allows: room for a few acknowledgements.
        socket.set_receive_buffer(1).unwrap();
        let mut requests = Vec::new();
        for _ in 0..128 {
            Family::request(&mut requests, Some("nlctrl")).unwrap();
        }
        let mut answers = 0;
        let results = socket.batch(&mut requests, |_, _| {
            answers += 1;
            Ok(())
        });
        let results = results.unwrap();
        let lost = results.iter().filter(|result| **result == Err(ReplyError::Overrun)).count();
        let good = results.iter().filter(|result| result.is_ok()).count();
        assert!(lost > 0 && good > 0 && lost + good == 128, "{lost} lost, {good} good");
        assert!(answers >= good);
        assert!(socket.resolve_family("nlctrl").is_ok());
    }

    #[test]
    fn what_is_not_a_message_is_not_sent() {
        let Some(mut socket) = open() else { return };
        let mut two = families();
        two.extend(families());
        let transacted = socket.transact(&mut two, |_| Ok(()));
        assert!(matches!(transacted, Err(SocketError::NotAMessage)));
        for mut bad in [vec![0; 15], vec![0; 16], vec![0xff; 16]] {
            assert!(matches!(socket.transact(&mut bad, |_| Ok(())), Err(SocketError::NotAMessage)));
            assert!(matches!(socket.batch(&mut bad, |_, _| Ok(())), Err(SocketError::NotAMessage)));
        }
        assert!(socket.batch(&mut [], |_, _| Ok(())).unwrap().is_empty());
        assert!(socket.resolve_family("nlctrl").is_ok());
    }

    #[test]
    fn sequence_numbers_wrap_around_zero() {
        assert_eq!(distance(5, 6), Some(0));
        assert_eq!(distance(5, 5), None);
        assert_eq!(distance(u32::MAX, 1), Some(0));
        assert_eq!(distance(u32::MAX - 1, 1), Some(1));
        assert_eq!(distance(0, 1), Some(0));
    }
}

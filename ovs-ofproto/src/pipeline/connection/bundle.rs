//! Bundles: messages that wait to be carried out together (OpenFlow 1.5, sections 6.8 and 7.3.9).
//!
//! A bundle keeps what its messages say: they are read once, when they come, so that what is wrong with them is said then,
//! and to carry them out is no more than that. It keeps them as they came too, one behind the other in one buffer, for the
//! error that names the one which could not be carried out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ovs_packet::Instant;

use super::limits;
use crate::action::{Action, Instructions};
use crate::codec::{GroupMod, OfError, PacketOut, PortMod};
use crate::flow_mod::FlowMod;

/// How long a bundle may be idle, unless the switch's owner says otherwise.
const IDLE: Duration = Duration::from_secs(10);

/// As much as an error repeats of the request that began a bundle.
const REPEATED: usize = 64;

/// `OFPBF_ATOMIC`.
pub(in crate::pipeline) const ATOMIC: u16 = 1;

/// How many messages of a bundle stand together: what they take is given back when they are done.
const TOGETHER: usize = 256;

/// A message of a bundle: what it says. Nearly all are flow-mods, which stand in the list itself, and what they have flows
/// do beside them, until it is taken: most share that with the one before.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the large one is the one that there are many of")]
pub(in crate::pipeline) enum Bundled {
    Flow(FlowMod, Option<Arc<Instructions>>),
    Group(Box<GroupMod>),
    Port(PortMod),
    Packet(PacketOut),
}

impl Bundled {
    /// How many bytes it takes, beside those that stand in the message too.
    fn weight(&self) -> usize {
        fn of(actions: &[Action]) -> usize {
            let inner = |a: &Action| match a {
                Action::Clone(inner) => of(inner),
                Action::Ct(ct) => of(&ct.exec),
                Action::Learn(learn) => size_of_val(&*learn.specs),
                _ => 0,
            };
            size_of_val(actions) + actions.iter().map(inner).sum::<usize>()
        }
        match self {
            Bundled::Flow(_, i) => i.as_ref().map_or(0, |i| of(&i.apply) + of(i.written())),
            Bundled::Group(gm) => {
                let buckets = &gm.desc.buckets;
                size_of::<GroupMod>() + size_of_val(&**buckets) + buckets.iter().map(|b| of(&b.actions)).sum::<usize>()
            }
            Bundled::Port(_) => 0,
            Bundled::Packet(out) => of(&out.actions),
        }
    }
}

#[derive(Debug)]
pub(in crate::pipeline) struct Bundle {
    pub(in crate::pipeline) flags: u16,
    /// The beginning of the message that it began with.
    request: Vec<u8>,
    closed: bool,
    used: Instant,
    messages: Messages,
    /// What they say.
    changes: Changes,
    /// What it counts for against the limit.
    weight: usize,
}

impl Bundle {
    fn new(flags: u16, request: &[u8], now: Instant) -> Bundle {
        let request = request.iter().copied().take(REPEATED).collect();
        Bundle {
            flags,
            request,
            closed: false,
            used: now,
            messages: Messages::default(),
            changes: Changes::default(),
            weight: 0,
        }
    }

    /// What the messages say, in order, and all of them as they came.
    pub(in crate::pipeline) fn into_messages(self) -> (Changes, Messages) {
        (self.changes, self.messages)
    }
}

/// What messages say, in order. It is read where it stands, and given back together when all that stands together was read.
#[derive(Default, Debug)]
pub(in crate::pipeline) struct Changes {
    /// Those that stand together, behind those that are being read.
    rest: VecDeque<Vec<Bundled>>,
    first: Vec<Bundled>,
    /// How many of the first were read.
    read: usize,
}

impl Changes {
    pub(in crate::pipeline) fn push(&mut self, change: Bundled) {
        match self.rest.back_mut().filter(|last| last.len() < TOGETHER) {
            Some(last) => last.push(change),
            None => {
                let mut together = Vec::with_capacity(TOGETHER);
                together.push(change);
                self.rest.push_back(together);
            }
        }
    }

    /// Reads the next.
    pub(in crate::pipeline) fn next(&mut self) -> Option<&mut Bundled> {
        if self.read == self.first.len() {
            (self.first, self.read) = (self.rest.pop_front()?, 0);
        }
        self.read += 1;
        self.first.get_mut(self.read - 1)
    }

    /// The one that was read last.
    pub(in crate::pipeline) fn last_read(&self) -> Option<&Bundled> {
        self.first.get(self.read.checked_sub(1)?)
    }
}

/// The messages of a bundle as they came.
#[derive(Default, Debug)]
pub(in crate::pipeline) struct Messages {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Messages {
    fn push(&mut self, message: &[u8]) {
        self.bytes.extend_from_slice(message);
        self.ends.push(self.bytes.len());
    }

    /// Message number `n`, counted from 0.
    pub(in crate::pipeline) fn get(&self, n: usize) -> &[u8] {
        let start = n.checked_sub(1).and_then(|n| self.ends.get(n)).copied().unwrap_or(0);
        self.ends.get(n).and_then(|end| self.bytes.get(start..*end)).unwrap_or_default()
    }
}

/// The bundles of a connection.
#[derive(Debug)]
pub(in crate::pipeline) struct Bundles {
    all: BTreeMap<u32, Bundle>,
    weight: usize,
    idle: Duration,
}

impl Default for Bundles {
    fn default() -> Bundles {
        Bundles { all: BTreeMap::new(), weight: 0, idle: IDLE }
    }
}

impl Bundles {
    /// Lets bundles be idle for so long, the default if nothing is said.
    pub(super) fn set_idle(&mut self, idle: Option<Duration>) {
        self.idle = idle.unwrap_or(IDLE);
    }

    /// Begins a bundle, as `request` wants it.
    pub(in crate::pipeline) fn open(
        &mut self,
        id: u32,
        flags: u16,
        request: &[u8],
        now: Instant,
    ) -> Result<(), OfError> {
        if self.take(id).is_some() {
            return Err(OfError::BundleBadId);
        }
        if self.all.len() >= limits::BUNDLES {
            return Err(OfError::BundleOutOfBundles);
        }
        self.all.insert(id, Bundle::new(flags, request, now));
        Ok(())
    }

    /// Nothing more can be added.
    pub(in crate::pipeline) fn close(&mut self, id: u32, flags: u16, now: Instant) -> Result<(), OfError> {
        self.usable(id, flags)?;
        if let Some(b) = self.all.get_mut(&id) {
            (b.closed, b.used) = (true, now);
        }
        Ok(())
    }

    /// Adds a message, which says `change`; one for a bundle that is not there opens it.
    pub(in crate::pipeline) fn add(
        &mut self,
        (id, flags): (u32, u16),
        message: &[u8],
        change: Bundled,
        request: &[u8],
        now: Instant,
    ) -> Result<(), OfError> {
        match self.usable(id, flags) {
            Err(OfError::BundleBadId) => self.open(id, flags, request, now)?,
            other => other?,
        }
        let weight = message.len() + size_of::<(Bundled, usize)>() + change.weight();
        if self.weight.saturating_add(weight) > limits::BUNDLE_BYTES {
            self.take(id);
            return Err(OfError::BundleMsgTooMany);
        }
        if let Some(b) = self.all.get_mut(&id) {
            self.weight += weight;
            b.weight += weight;
            b.messages.push(message);
            b.changes.push(change);
            b.used = now;
        }
        Ok(())
    }

    /// A bundle that is misused is gone.
    fn usable(&mut self, id: u32, flags: u16) -> Result<(), OfError> {
        let error = match self.all.get(&id) {
            None => return Err(OfError::BundleBadId),
            Some(b) if b.closed => OfError::BundleBundleClosed,
            Some(b) if b.flags != flags => OfError::BundleBadFlags,
            Some(_) => return Ok(()),
        };
        self.take(id);
        Err(error)
    }

    /// Takes a bundle out.
    pub(in crate::pipeline) fn take(&mut self, id: u32) -> Option<Bundle> {
        let bundle = self.all.remove(&id)?;
        self.weight -= bundle.weight;
        Some(bundle)
    }

    /// Takes a bundle out that nothing was done with for long: the beginning of the message that it began with.
    pub(in crate::pipeline) fn expire(&mut self, now: Instant) -> Option<Vec<u8>> {
        let id = self.all.iter().find(|(_, b)| b.used + self.idle <= now).map(|(id, _)| *id)?;
        self.take(id).map(|b| b.request)
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.all.values().map(|b| b.used + self.idle).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_messages_say_is_read_in_order() {
        let (mut changes, n) = (Changes::default(), 2 * TOGETHER as u64 + 1);
        for cookie in 0..n {
            changes.push(Bundled::Flow(FlowMod { cookie, ..FlowMod::default() }, None));
        }
        let cookie = |change: Option<&Bundled>| match change {
            Some(Bundled::Flow(fm, _)) => Some(fm.cookie),
            _ => None,
        };
        assert_eq!(cookie(changes.last_read()), None);
        for expected in 0..n {
            assert_eq!(cookie(changes.next().map(|c| &*c)), Some(expected));
            assert_eq!(cookie(changes.last_read()), Some(expected));
        }
        assert!(changes.next().is_none());
    }

    #[test]
    fn misuse_ends_a_bundle() {
        let (mut b, now) = (Bundles::default(), Instant::from_secs(5));
        let change = || Bundled::Flow(FlowMod::default(), None);
        b.add((1, 3), b"ab", change(), b"", now).unwrap();
        b.add((1, 3), b"cde", change(), b"", now).unwrap();
        assert_eq!(b.open(1, 3, b"begun", now), Err(OfError::BundleBadId));
        assert_eq!(b.close(1, 3, now), Err(OfError::BundleBadId));
        b.open(1, 3, b"begun", now).unwrap();
        assert_eq!(b.add((1, 1), b"ab", change(), b"", now), Err(OfError::BundleBadFlags));
        b.add((1, 3), b"ab", change(), b"", now).unwrap();
        b.add((1, 3), b"", change(), b"", now).unwrap();
        b.add((1, 3), b"cde", change(), b"", now).unwrap();
        b.close(1, 3, now).unwrap();
        assert_eq!(b.add((1, 3), b"ab", change(), b"", now), Err(OfError::BundleBundleClosed));
        b.add((2, 3), b"ab", change(), b"", now).unwrap();
        b.add((2, 3), b"cde", change(), b"", now).unwrap();
        assert_eq!((b.next_expiry(), b.expire(Instant::from_secs(14))), (Some(Instant::from_secs(15)), None));
        let (mut changes, messages) = b.take(2).unwrap().into_messages();
        assert_eq!((messages.get(0), messages.get(1)), (&b"ab"[..], &b"cde"[..]));
        let count = std::iter::from_fn(|| changes.next().map(drop)).count();
        assert_eq!((count, changes.next().is_none()), (2, true));
        b.open(3, 0, b"begun", now).unwrap();
        assert_eq!((b.expire(Instant::from_secs(15)), b.weight), (Some(b"begun".to_vec()), 0));
    }
}

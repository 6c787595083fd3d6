//! Bundles: messages that wait to be carried out together (OpenFlow 1.5, sections 6.8 and 7.3.9).
//!
//! A bundle keeps its messages as they came, one behind the other in one buffer: a million of them are a hundred
//! megabytes, not a million allocations. They were read once when they came, so that what is wrong with them is said then.

use std::collections::BTreeMap;
use std::time::Duration;

use ovs_packet::Instant;

use super::limits;
use crate::codec::OfError;

/// How long a bundle may be idle, unless the switch's owner says otherwise.
const IDLE: Duration = Duration::from_secs(10);

/// As much as an error repeats of the request that began a bundle.
const REPEATED: usize = 64;

/// `OFPBF_ATOMIC`.
pub(in crate::pipeline) const ATOMIC: u16 = 1;

#[derive(Debug)]
pub(in crate::pipeline) struct Bundle {
    pub(in crate::pipeline) flags: u16,
    /// The beginning of the message that it began with.
    request: Vec<u8>,
    closed: bool,
    used: Instant,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Bundle {
    fn new(flags: u16, request: &[u8], now: Instant) -> Bundle {
        let request = request.iter().copied().take(REPEATED).collect();
        Bundle { flags, request, closed: false, used: now, bytes: Vec::new(), ends: Vec::new() }
    }

    /// The messages, in order.
    pub(in crate::pipeline) fn messages(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(from, to)| self.bytes.get(from..*to).unwrap_or_default())
    }
}

/// The bundles of a connection.
#[derive(Debug)]
pub(in crate::pipeline) struct Bundles {
    all: BTreeMap<u32, Bundle>,
    bytes: usize,
    idle: Duration,
}

impl Default for Bundles {
    fn default() -> Bundles {
        Bundles { all: BTreeMap::new(), bytes: 0, idle: IDLE }
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

    /// Adds a message; one for a bundle that is not there opens it.
    pub(in crate::pipeline) fn add(
        &mut self,
        id: u32,
        flags: u16,
        message: &[u8],
        request: &[u8],
        now: Instant,
    ) -> Result<(), OfError> {
        match self.usable(id, flags) {
            Err(OfError::BundleBadId) => self.open(id, flags, request, now)?,
            other => other?,
        }
        if self.bytes.saturating_add(message.len()) > limits::BUNDLE_BYTES {
            self.take(id);
            return Err(OfError::BundleMsgTooMany);
        }
        if let Some(b) = self.all.get_mut(&id) {
            self.bytes += message.len();
            b.bytes.extend_from_slice(message);
            b.ends.push(b.bytes.len());
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
        self.bytes -= bundle.bytes.len();
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
    fn misuse_ends_a_bundle() {
        let (mut b, now) = (Bundles::default(), Instant::from_secs(5));
        b.add(1, 3, b"ab", b"", now).unwrap();
        b.add(1, 3, b"cde", b"", now).unwrap();
        assert_eq!(b.open(1, 3, b"begun", now), Err(OfError::BundleBadId));
        assert_eq!(b.close(1, 3, now), Err(OfError::BundleBadId));
        b.open(1, 3, b"begun", now).unwrap();
        assert_eq!(b.add(1, 1, b"ab", b"", now), Err(OfError::BundleBadFlags));
        b.add(1, 3, b"ab", b"", now).unwrap();
        b.add(1, 3, b"", b"", now).unwrap();
        b.add(1, 3, b"cde", b"", now).unwrap();
        b.close(1, 3, now).unwrap();
        assert_eq!(b.add(1, 3, b"ab", b"", now), Err(OfError::BundleBundleClosed));
        b.add(2, 3, b"ab", b"", now).unwrap();
        b.add(2, 3, b"cde", b"", now).unwrap();
        assert_eq!((b.next_expiry(), b.expire(Instant::from_secs(14))), (Some(Instant::from_secs(15)), None));
        assert_eq!(b.take(2).unwrap().messages().collect::<Vec<_>>(), [b"ab".as_slice(), b"cde"]);
        b.open(3, 0, b"begun", now).unwrap();
        assert_eq!((b.expire(Instant::from_secs(15)), b.bytes), (Some(b"begun".to_vec()), 0));
    }
}

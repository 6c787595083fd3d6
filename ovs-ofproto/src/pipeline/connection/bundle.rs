//! Bundles: messages that wait to be carried out together (OpenFlow 1.5, sections 6.8 and 7.3.9).
//!
//! What is wrong with a message is said when it comes. A bundle keeps it as it came, in one buffer with the others, to be
//! repeated if it cannot be carried out; and a flow-mod also as it was read, without the zeros of its match: reading it
//! again would be a fifth of all the work.

use std::collections::BTreeMap;
use std::time::Duration;

use ovs_packet::key::{Match, SparseMatch};
use ovs_packet::{Instant, OfPort};

use super::limits;
use crate::action::Instructions;
use crate::codec::OfError;
use crate::flow_mod::{FlowMod, FlowModCommand, FlowModFlags};

/// How long a bundle may be idle.
pub(super) const IDLE: Duration = Duration::from_secs(10);

/// `OFPBF_ATOMIC`.
pub(in crate::pipeline) const ATOMIC: u16 = 1;

#[derive(Debug)]
pub(in crate::pipeline) struct Bundle {
    pub(in crate::pipeline) flags: u16,
    closed: bool,
    used: Instant,
    bytes: Vec<u8>,
    messages: Vec<Bundled>,
}

#[derive(Debug)]
struct Bundled {
    end: usize,
    flow_mod: Option<Packed>,
}

/// A flow-mod of which the match takes no more room than it needs.
#[derive(Debug)]
struct Packed {
    matching: SparseMatch,
    /// All but the match.
    command: FlowModCommand,
    table: u8,
    flags: FlowModFlags,
    timeouts: [u16; 2],
    importance: u16,
    priority: u16,
    cookies: (u64, u64, Option<u64>),
    out: (OfPort, u32),
    buffer_id: u32,
    instructions: Instructions,
}

impl Packed {
    fn new(fm: FlowMod) -> Packed {
        Packed {
            matching: SparseMatch::from(&fm.matching),
            command: fm.command,
            table: fm.table,
            flags: fm.flags,
            timeouts: [fm.idle_timeout, fm.hard_timeout],
            importance: fm.importance,
            priority: fm.priority,
            cookies: (fm.cookie, fm.cookie_mask, fm.new_cookie),
            out: (fm.out_port, fm.out_group),
            buffer_id: fm.buffer_id,
            instructions: fm.instructions,
        }
    }

    fn unpack(self) -> FlowMod {
        let ([idle_timeout, hard_timeout], (cookie, cookie_mask, new_cookie)) = (self.timeouts, self.cookies);
        FlowMod {
            command: self.command,
            table: self.table,
            matching: Match::from(&self.matching),
            priority: self.priority,
            cookie,
            cookie_mask,
            new_cookie,
            idle_timeout,
            hard_timeout,
            importance: self.importance,
            flags: self.flags,
            out_port: self.out.0,
            out_group: self.out.1,
            buffer_id: self.buffer_id,
            instructions: self.instructions,
        }
    }
}

impl Bundle {
    fn new(flags: u16, now: Instant) -> Bundle {
        Bundle { flags, closed: false, used: now, bytes: Vec::new(), messages: Vec::new() }
    }

    /// The messages, in order, for each to be carried out; those that are flow-mods as such. Ends at the first that fails,
    /// with the error and the message.
    pub(in crate::pipeline) fn carry_out(
        self,
        mut f: impl FnMut(&[u8], Option<FlowMod>) -> Result<(), OfError>,
    ) -> Result<(), (OfError, Vec<u8>)> {
        let mut start = 0;
        for message in self.messages {
            let bytes = self.bytes.get(start..message.end).unwrap_or_default();
            start = message.end;
            f(bytes, message.flow_mod.map(Packed::unpack)).map_err(|e| (e, bytes.to_vec()))?;
        }
        Ok(())
    }
}

/// The bundles of a connection.
#[derive(Default, Debug)]
pub(in crate::pipeline) struct Bundles {
    all: BTreeMap<u32, Bundle>,
    bytes: usize,
}

impl Bundles {
    pub(in crate::pipeline) fn open(&mut self, id: u32, flags: u16, now: Instant) -> Result<(), OfError> {
        if self.take(id).is_some() {
            return Err(OfError::BundleBadId);
        }
        if self.all.len() >= limits::BUNDLES {
            return Err(OfError::BundleOutOfBundles);
        }
        self.all.insert(id, Bundle::new(flags, now));
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
        flow_mod: Option<FlowMod>,
        now: Instant,
    ) -> Result<(), OfError> {
        match self.usable(id, flags) {
            Err(OfError::BundleBadId) => self.open(id, flags, now)?,
            other => other?,
        }
        if self.bytes.saturating_add(message.len()) > limits::BUNDLE_BYTES {
            self.take(id);
            return Err(OfError::BundleMsgTooMany);
        }
        if let Some(b) = self.all.get_mut(&id) {
            self.bytes += message.len();
            b.bytes.extend_from_slice(message);
            b.messages.push(Bundled { end: b.bytes.len(), flow_mod: flow_mod.map(Packed::new) });
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

    /// Takes a bundle out that nothing was done with for long.
    pub(in crate::pipeline) fn expire(&mut self, now: Instant) -> Option<u32> {
        let id = self.all.iter().find(|(_, b)| b.used + IDLE <= now).map(|(id, _)| *id)?;
        self.take(id);
        Some(id)
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.all.values().map(|b| b.used + IDLE).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misuse_ends_a_bundle() {
        let (mut b, now) = (Bundles::default(), Instant::from_secs(5));
        b.add(1, 3, b"ab", None, now).unwrap();
        b.add(1, 3, b"cde", None, now).unwrap();
        assert_eq!(b.open(1, 3, now), Err(OfError::BundleBadId));
        assert_eq!(b.close(1, 3, now), Err(OfError::BundleBadId));
        b.open(1, 3, now).unwrap();
        assert_eq!(b.add(1, 1, b"ab", None, now), Err(OfError::BundleBadFlags));
        b.add(1, 3, b"ab", None, now).unwrap();
        b.add(1, 3, b"", None, now).unwrap();
        b.add(1, 3, b"cde", None, now).unwrap();
        b.close(1, 3, now).unwrap();
        assert_eq!(b.add(1, 3, b"ab", None, now), Err(OfError::BundleBundleClosed));
        b.add(2, 3, b"ab", None, now).unwrap();
        b.add(2, 3, b"cde", None, now).unwrap();
        assert_eq!((b.next_expiry(), b.expire(Instant::from_secs(14))), (Some(Instant::from_secs(15)), None));
        let mut seen = Vec::new();
        let done = b.take(2).unwrap().carry_out(|bytes, _| {
            seen.push(bytes.to_vec());
            if bytes.len() < 3 { Ok(()) } else { Err(OfError::BundleUnknown) }
        });
        assert_eq!(
            (seen, done),
            (vec![b"ab".to_vec(), b"cde".to_vec()], Err((OfError::BundleUnknown, b"cde".to_vec())))
        );
        b.open(3, 0, now).unwrap();
        assert_eq!((b.expire(Instant::from_secs(15)), b.bytes), (Some(3), 0));
    }

    #[test]
    fn flow_mods_come_back_as_they_went_in() {
        let text = "table=3,cookie=5/7,priority=9,idle_timeout=1,hard_timeout=2,tcp,nw_dst=10.0.0.0/9,actions=output:2";
        for command in [FlowModCommand::Modify, FlowModCommand::DeleteStrict] {
            let mut fm: FlowMod = text.replace("cookie=5/7,", "").parse().unwrap();
            (fm.command, fm.cookie, fm.cookie_mask, fm.new_cookie) = (command, 5, 7, Some(9));
            (fm.importance, fm.out_port, fm.out_group, fm.buffer_id) = (4, OfPort(8), 6, 77);
            fm.flags = FlowModFlags::CHECK_OVERLAP;
            assert_eq!(Packed::new(fm.clone()).unpack(), fm);
        }
    }
}

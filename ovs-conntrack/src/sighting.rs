//! What tracking a packet once spares it when it is tracked again.

use ovs_packet::{FlowKey, Instant, Packet};

use crate::outcome::{InvalidReason, Outcome};
use crate::read::{self, Reading};
use crate::request::CtRequest;
use crate::shard::Common;
use crate::table::NIL;

/// What a tracker has read of a packet in a zone, and where it found its connection.
///
/// A switch that tracks a packet twice in one zone, first to look and then to commit, keeps one of these with the
/// packet: it is read and looked up once. See [`Tracker::track_again`](crate::Tracker::track_again).
///
/// It serves one tracker, and holds as long as nobody but that tracker changes the packet's bytes, or what it wrote to
/// the packet's metadata without taking the state away; then it is [forgotten](Self::forget). What became of the
/// connection meanwhile does no harm.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// The zone that it was read for; none if it was not read.
    zone: Option<u16>,
    /// The connection may have this number.
    pub(crate) number: u32,
    pub(crate) reading: Reading,
    /// What was said of it last, if saying it again needs no look at the connection.
    pub(crate) told: Option<Told>,
}

/// What was said of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    pub(crate) outcome: Outcome,
    pub(crate) now: Instant,
    /// How many [changes](crate::shard::Shard::changes) the shard had seen.
    pub(crate) changes: u64,
}

impl Told {
    /// Whether the packet still has what it was told in the request's zone, and the request asks for no more. Then, if
    /// the shard has seen no other change, to track it once more would change nothing.
    #[inline(always)]
    pub(crate) fn serves(&self, packet: &Packet, request: &CtRequest, now: Instant) -> bool {
        let ct = &packet.meta.ct;
        let asks = request.force || request.nat.is_some() || request.label.is_some() || request.mark.is_some();
        !asks && self.now == now && ct.zone == request.zone && ct.state == self.outcome.state()
    }
}

impl Sighting {
    /// Of a packet that was not seen yet.
    pub const NONE: Sighting = Sighting { zone: None, number: NIL, reading: Err(InvalidReason::NotIp), told: None };

    /// The packet is another one now.
    #[inline]
    pub fn forget(&mut self) {
        self.zone = None;
    }

    /// Reads the packet, unless that was done before.
    #[inline(always)]
    pub(crate) fn read(&mut self, common: &Common, packet: &mut Packet, key: &FlowKey, zone: u16) {
        if self.zone != Some(zone) {
            (self.zone, self.number, self.told) = (Some(zone), NIL, None);
            read::read(&mut self.reading, packet, key, zone, common.config.verify_checksums, common.hash);
        }
    }
}

impl Default for Sighting {
    fn default() -> Self {
        Sighting::NONE
    }
}

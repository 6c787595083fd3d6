//! What tracking a packet once spares it when it is tracked again.

use ovs_packet::{FlowKey, Packet};

use crate::outcome::InvalidReason;
use crate::read::{self, Reading};
use crate::shard::Common;
use crate::table::NIL;

/// What a tracker has read of a packet in a zone, and where it found its connection.
///
/// A switch that tracks a packet twice in one zone, first to look and then to commit, keeps one of these with the
/// packet: it is read and looked up once. See [`Tracker::track_again`](crate::Tracker::track_again).
///
/// It holds as long as nobody changes the packet's bytes; then it is [forgotten](Self::forget). What became of the
/// connection meanwhile does no harm.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// The zone that it was read for; none if it was not read.
    zone: Option<u16>,
    /// The connection may have this number.
    pub(crate) number: u32,
    pub(crate) reading: Reading,
}

impl Sighting {
    /// Of a packet that was not seen yet.
    pub const NONE: Sighting = Sighting { zone: None, number: NIL, reading: Err(InvalidReason::NotIp) };

    /// The packet is another one now.
    #[inline]
    pub fn forget(&mut self) {
        self.zone = None;
    }

    /// Reads the packet, unless that was done before.
    #[inline(always)]
    pub(crate) fn read(&mut self, common: &Common, packet: &mut Packet, key: &FlowKey, zone: u16) {
        if self.zone != Some(zone) {
            (self.zone, self.number) = (Some(zone), NIL);
            read::read(&mut self.reading, packet, key, zone, common.config.verify_checksums, common.hash);
        }
    }
}

impl Default for Sighting {
    fn default() -> Self {
        Sighting::NONE
    }
}

//! Replies with flows, written flow by flow: a dump of a million flows is never there as a whole.

use ovs_packet::field::TlvTable;

use super::cursor::{Shape, Writer};
use super::error::EncodeError;
use super::flow::FlowStats;
use super::header::Version;
use super::kind::{Kind, MessageKind};

/// A reply with flows that is being written.
///
/// ```
/// use ovs_ofproto::codec::{FlowStats, FlowStatsReader, FlowStatsWriter, Kind, MessageKind, Version};
///
/// let kind = Kind::saying(MessageKind::FlowStatsReply, Version::V1_3).unwrap();
/// let mut reply = FlowStatsWriter::new(kind, Version::V1_3, 7)?;
/// assert!(reply.push(&FlowStats::default())?);
/// let bytes = reply.finish(false)?;
/// assert_eq!(FlowStatsReader::new(&bytes)?.count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FlowStatsWriter {
    w: Writer,
    kind: Kind,
    version: Version,
}

/// Where a reply says whether another follows.
const MORE_AT: usize = 10;

impl FlowStatsWriter {
    /// The most bytes that a reply has.
    const ROOM: usize = 0xffff;

    /// An empty reply of `kind`, which is one with flows.
    ///
    /// # Errors
    /// If it is another kind, or the version does not have it.
    pub fn new(kind: Kind, version: Version, xid: u32) -> Result<FlowStatsWriter, EncodeError> {
        if kind.of() != MessageKind::FlowStatsReply || !kind.is_in(version) {
            return Err(EncodeError::Inconsistent { what: "no kind of a reply with flows" });
        }
        let mut w = Writer::new();
        kind.write(&mut w, version, xid, false)?;
        Ok(FlowStatsWriter { w, kind, version })
    }

    /// The same for a controller of a switch whose tunnel options are those of `table`: actions that name the fields say
    /// how long they are.
    #[must_use]
    pub fn knowing(self, table: &TlvTable) -> FlowStatsWriter {
        FlowStatsWriter { w: self.w.knowing(table), ..self }
    }

    /// Adds a flow. False if there is no more room: it is not in the reply then.
    ///
    /// # Errors
    /// If the version cannot say it, or no reply has room for it; the reply is as before.
    pub fn push(&mut self, flow: &FlowStats) -> Result<bool, EncodeError> {
        let start = self.w.len();
        let done = flow.write(&mut self.w, self.version, self.kind);
        if done.is_ok() && self.w.len() <= Self::ROOM {
            return Ok(true);
        }
        let alone = self.w.len().saturating_sub(start) > Self::ROOM - 64;
        self.w.truncate(start);
        if alone || matches!(done, Err(EncodeError::TooLong { .. })) {
            let what = "Flow exceeded the maximum flow statistics reply size and was excluded from the response set";
            tracing::warn!(target: "ofp_flow", "{what}");
        }
        done?;
        if alone { Err(EncodeError::TooLong { what: "the statistics of a flow" }) } else { Ok(false) }
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.w.len()
    }

    /// Whether it has no bytes, which is never so: it has a header.
    pub fn is_empty(&self) -> bool {
        self.w.len() == 0
    }

    /// The message. `more`: another follows.
    ///
    /// # Errors
    /// None that [`push`](Self::push) would not have found.
    pub fn finish(mut self, more: bool) -> Result<Vec<u8>, EncodeError> {
        self.w.patch_u16(MORE_AT, more.into());
        self.w.finish(0, Shape { what: "a message", length_at: 2, align: 1, count_padding: false })?;
        Ok(self.w.into_bytes())
    }
}

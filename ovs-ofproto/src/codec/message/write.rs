//! Messages to bytes.

use ovs_packet::field::TlvTable;

use super::Message;
use super::pass::pass;
use crate::codec::cursor::{Shape, Writer};
use crate::codec::error::EncodeError;
use crate::codec::header::Version;
use crate::codec::io::{Fault, Io};
use crate::codec::kind::Kind;

impl Message {
    /// The message as bytes.
    ///
    /// # Errors
    /// If the version cannot say it, or it is too long.
    pub fn encode(&self, version: Version, xid: u32) -> Result<Vec<u8>, EncodeError> {
        let mut w = Writer::for_message();
        self.write(&mut w, version, xid, None)?;
        Ok(w.into_bytes())
    }

    /// As [`encode`](Message::encode), from a switch whose tunnel options are those of `table`: actions that name the fields
    /// of options say how long these are.
    ///
    /// ```
    /// use ovs_ofproto::FlowMod;
    /// use ovs_ofproto::codec::{Message, Version};
    /// use ovs_packet::field::{TlvMapping, TlvTable};
    ///
    /// let flow: FlowMod = "actions=move:tun_metadata0[0..31]->reg0".parse()?;
    /// let mut table = TlvTable::default();
    /// table.add(&[TlvMapping { class: 0xffff, kind: 0, len: 4, index: 0 }])?;
    /// let bytes = Message::from(flow).encode_knowing(&table, Version::V1_3, 1)?;
    /// assert!(bytes.windows(8).any(|headers| headers == [0, 1, 40 << 1, 4, 0, 1, 0, 4]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`encode`](Message::encode).
    pub fn encode_knowing(&self, table: &TlvTable, version: Version, xid: u32) -> Result<Vec<u8>, EncodeError> {
        let mut w = Writer::for_message().knowing(table);
        self.write(&mut w, version, xid, None)?;
        Ok(w.into_bytes())
    }

    /// Appends the message to `out`.
    ///
    /// # Errors
    /// Those of [`encode`](Message::encode); `out` is as before then.
    pub fn encode_into(&self, version: Version, xid: u32, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        let mut w = Writer::appending(core::mem::take(out));
        let done = self.write(&mut w, version, xid, None);
        *out = w.into_bytes();
        if done.is_err() {
            out.truncate(start);
        }
        done
    }

    /// The message in one of several kinds that say the same, such as [`Kind::NxPacketIn2`].
    ///
    /// # Errors
    /// Those of [`encode`](Message::encode), or that the kind says something else.
    pub fn encode_as(&self, kind: Kind, version: Version, xid: u32) -> Result<Vec<u8>, EncodeError> {
        if self.says() != Some(kind.of()) {
            return Err(EncodeError::Inconsistent { what: "the kind of another message" });
        }
        let mut w = Writer::for_message();
        self.write(&mut w, version, xid, Some(kind))?;
        Ok(w.into_bytes())
    }

    fn write(&self, w: &mut Writer, version: Version, xid: u32, kind: Option<Kind>) -> Result<(), EncodeError> {
        let shape = Shape { what: "a message", length_at: 2, align: 1, count_padding: false };
        let start = w.len();
        let Some(of) = self.says() else {
            if let Message::Experimenter(e) = self {
                w.u8(version.0);
                e.write(w, version, xid);
            }
            return w.finish(start, shape);
        };
        let own = kind.or_else(|| self.kind_in(of, version));
        let own = own.ok_or(EncodeError::NotInVersion { version: version.0, what: "this message" })?;
        own.write(w, version, xid, self.has_more())?;
        let mut written = self.write_body(w, version, own);
        if let (Err(_), None, Some(larger)) = (&written, kind, Message::larger(own)) {
            w.truncate(start);
            larger.write(w, version, xid, self.has_more())?;
            written = self.write_body(w, version, larger);
        }
        written?;
        w.finish(start, shape)
    }

    /// Whether the page of a reply is not the last.
    fn has_more(&self) -> bool {
        match self {
            Message::FlowStatsReply(r) => r.more,
            Message::TableFeaturesRequest(p) | Message::TableFeaturesReply(p) => p.more,
            Message::FlowMonitorRequest(p) => p.more,
            Message::FlowMonitorReply(p) => p.more,
            Message::IpfixFlowStatsReply(p) => p.more,
            Message::PortDescReply(p) => p.more,
            Message::PortStatsReply(p) => p.more,
            Message::TableStatsReply(p) => p.more,
            Message::TableDescReply(p) => p.more,
            Message::GroupStatsReply(p) => p.more,
            Message::GroupDescReply(p) => p.more,
            Message::MeterStatsReply(p) => p.more,
            Message::MeterConfigReply(p) => p.more,
            Message::QueueStatsReply(p) => p.more,
            Message::QueueConfigReply(p) => p.more,
            _ => false,
        }
    }

    fn write_body(&self, w: &mut Writer, version: Version, kind: Kind) -> Result<(), EncodeError> {
        match self {
            Message::Hello(hello) => hello.encode(w),
            Message::Error(e) => e.write(w, version),
            Message::EchoRequest(data) | Message::EchoReply(data) => {
                w.bytes(data);
                Ok(())
            }
            Message::PacketIn(packet) | Message::Resume(packet) => packet.write(w, version, kind),
            Message::PacketOut(packet) => packet.write(w, version, kind),
            Message::FlowMod(flow) => flow.write(w, version, kind),
            Message::FlowRemoved(flow) => flow.write(w, version, kind),
            Message::FlowStatsRequest(r) | Message::AggregateStatsRequest(r) => r.write(w, version, kind),
            Message::AggregateStatsReply(stats) => stats.write(w, kind),
            Message::FlowStatsReply(reply) => reply.flows.iter().try_for_each(|flow| flow.write(w, version, kind)),
            // A pass fills what it passes over, so that it needs its own.
            other => match pass(&mut other.clone(), &mut Io::writing(version, w), kind) {
                Ok(()) => Ok(()),
                Err(Fault::Encode(e)) => Err(e),
                Err(Fault::Decode(e)) => Err(EncodeError::Inconsistent { what: e.what }),
            },
        }
    }
}

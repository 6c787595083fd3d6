//! What the switch does with a controller's messages.

use ovs_dpif::Dpif;
use ovs_packet::{Instant, Packet};

use super::flow_table::TABLES;
use super::ofproto::Ofproto;
use crate::codec::{
    Capabilities, ErrorMessage, FeaturesReply, FlowStats, FlowStatsReply, FlowStatsRequest, Header, Hello, Message,
    NO_BUFFER, OfError, PacketOut, Version, Versions, negotiate,
};

impl Ofproto {
    /// Obeys one whole message of a controller's and gives the answers, ready to send. What is wrong with it is
    /// answered with an error; what is not a message at all, with nothing.
    ///
    /// When the answer to a barrier is given, every packet obeys what came before it.
    pub fn handle_message(&mut self, dp: &mut dyn Dpif, request: &[u8], now: Instant) -> Vec<Vec<u8>> {
        let Ok(header) = Header::decode(request) else { return Vec::new() };
        let any_version = |m: &Message| {
            matches!(m, Message::Hello(_) | Message::EchoRequest(_) | Message::EchoReply(_) | Message::Error(_))
        };
        let answers = match Message::decode(request) {
            Ok((_, message)) if header.version != Version::V1_3 && !any_version(&message) => {
                Err(OfError::BadRequestBadVersion)
            }
            Ok((_, message)) => self.obey(dp, header, message, now),
            Err(e) => Err(e.error),
        };
        let error = |e| vec![Message::Error(ErrorMessage::new(e, request))];
        let encode = |m: &Message| m.encode(Version::V1_3, header.xid);
        let encoded = answers.unwrap_or_else(error).iter().map(encode).collect::<Result<Vec<_>, _>>();
        encoded.unwrap_or_else(|e| {
            tracing::warn!(error = %e, "an answer cannot be sent");
            error(OfError::BadRequestPermission).iter().filter_map(|m| encode(m).ok()).collect()
        })
    }

    fn obey(
        &mut self,
        dp: &mut dyn Dpif,
        header: Header,
        message: Message,
        now: Instant,
    ) -> Result<Vec<Message>, OfError> {
        Ok(match message {
            Message::Hello(hello) => {
                let ours: Versions = [Version::V1_3].into_iter().collect();
                negotiate(ours, hello.versions(header.version)).ok_or(OfError::HelloIncompatible)?;
                vec![Message::Hello(Hello::new(ours))]
            }
            Message::EchoRequest(data) => vec![Message::EchoReply(data)],
            Message::FeaturesRequest => vec![Message::FeaturesReply(self.features())],
            Message::FlowMod(fm) => {
                self.flow_mod(dp, &fm, now)?;
                Vec::new()
            }
            Message::PacketOut(out) => {
                self.obey_packet_out(dp, &out, now)?;
                Vec::new()
            }
            Message::FlowStatsRequest(request) => {
                self.collect(dp, now);
                let pages = FlowStatsReply::pages(Version::V1_3, self.flow_stats(&request, now))
                    .map_err(|_| OfError::BadRequestPermission)?;
                pages.into_iter().map(Message::FlowStatsReply).collect()
            }
            // Changes take effect before they are answered: there is nothing to wait for.
            Message::BarrierRequest => vec![Message::BarrierReply],
            Message::Experimenter(_) => return Err(OfError::BadRequestBadExperimenter),
            // Answers and errors that come from a controller need none.
            Message::Error(_) | Message::EchoReply(_) => Vec::new(),
            // Answers that a controller should not send, and what this switch has not.
            _ => return Err(OfError::BadRequestBadType),
        })
    }

    fn features(&self) -> FeaturesReply {
        FeaturesReply {
            datapath_id: self.datapath_id(),
            tables: TABLES as u8,
            capabilities: Capabilities::FLOW_STATS,
            ..FeaturesReply::default()
        }
    }

    fn obey_packet_out(&mut self, dp: &mut dyn Dpif, out: &PacketOut, now: Instant) -> Result<(), OfError> {
        if out.buffer_id != NO_BUFFER {
            return Err(OfError::BadRequestBufferUnknown);
        }
        self.packet_out(dp, Packet::from_slice(&out.data), out.in_port, &out.actions, now);
        Ok(())
    }

    fn flow_stats(&self, request: &FlowStatsRequest, now: Instant) -> Vec<FlowStats> {
        self.chosen(request).map(|f| f.stats(now)).collect()
    }
}

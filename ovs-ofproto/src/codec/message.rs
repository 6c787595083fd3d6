//! Messages: the header, and one of the bodies.

use super::cursor::{Codec, Reader, Shape, Writer};
use super::error::{DecodeError, EncodeError, OfError};
use super::flow::{FlowStats, FlowStatsReply, FlowStatsRequest};
use super::header::{Header, MessageType, Version};
use super::hello::Hello;
use super::packet::{PacketIn, PacketOut};
use super::report::{ErrorMessage, FeaturesReply};
use crate::flow_mod::FlowMod;

const OFPMP_FLOW: u16 = 1;
const OFPMPF_MORE: u16 = 1;

/// What a message says, without the version and the transaction id that its header has.
///
/// ```
/// use ovs_ofproto::FlowMod;
/// use ovs_ofproto::codec::{Message, Version};
///
/// let flow: FlowMod = "priority=10,tcp,tp_dst=80 actions=output:2".parse()?;
/// let message = Message::from(flow);
/// let bytes = message.encode(Version::V1_3, 1)?;
/// let (header, read) = Message::decode(&bytes)?;
/// assert_eq!((header.version, header.xid), (Version::V1_3, 1));
/// assert_eq!(read, message);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Message {
    /// The first message each way. Any version.
    Hello(Hello),
    /// A request failed. Any version, but error numbers of OpenFlow 1.3.
    Error(ErrorMessage),
    /// Answer with the same bytes. Any version.
    EchoRequest(Vec<u8>),
    /// The bytes of the request. Any version.
    EchoReply(Vec<u8>),
    /// An extension's message, as it came.
    Experimenter(Experimenter),
    /// Who are you?
    FeaturesRequest,
    /// I am.
    FeaturesReply(FeaturesReply),
    /// A packet for the controller.
    PacketIn(Box<PacketIn>),
    /// A packet from the controller.
    PacketOut(PacketOut),
    /// A change of the flow tables.
    FlowMod(Box<FlowMod>),
    /// Which flows are there?
    FlowStatsRequest(Box<FlowStatsRequest>),
    /// These flows.
    FlowStatsReply(FlowStatsReply),
    /// Answer when all before this is done.
    BarrierRequest,
    /// It is done.
    BarrierReply,
}

/// A message that an extension defines, with the bytes that it consists of.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Experimenter {
    /// Whose extension.
    pub experimenter: u32,
    /// Its type of message.
    pub kind: u32,
    /// The rest.
    pub data: Vec<u8>,
}

impl From<FlowMod> for Message {
    fn from(flow: FlowMod) -> Message {
        Message::FlowMod(Box::new(flow))
    }
}

impl From<PacketIn> for Message {
    fn from(packet: PacketIn) -> Message {
        Message::PacketIn(Box::new(packet))
    }
}

impl From<PacketOut> for Message {
    fn from(packet: PacketOut) -> Message {
        Message::PacketOut(packet)
    }
}

impl From<FlowStatsRequest> for Message {
    fn from(request: FlowStatsRequest) -> Message {
        Message::FlowStatsRequest(Box::new(request))
    }
}

impl Message {
    /// Reads a whole message, as a [`Framer`](super::Framer) gives it.
    ///
    /// # Errors
    /// What is not understood, with the error to answer with and the place. [`ErrorMessage::new`] makes the answer,
    /// which takes version and xid from [`Header::decode`].
    pub fn decode(bytes: &[u8]) -> Result<(Header, Message), DecodeError> {
        let mut r = Reader::new(bytes).or(OfError::BadRequestBadLength);
        let header = Header::read(&mut r)?;
        if usize::from(header.length) != bytes.len() {
            return Err(DecodeError {
                error: OfError::BadRequestBadLength,
                at: 2,
                what: "the number of bytes that there are",
            });
        }
        let message = Message::decode_body(header, &mut r)?;
        if !r.is_empty() {
            return Err(r.error(OfError::BadRequestBadLength, "the end of the message"));
        }
        Ok((header, message))
    }

    fn decode_body(header: Header, r: &mut Reader<'_>) -> Result<Message, DecodeError> {
        let bad = |error, at, what| Err(DecodeError { error, at, what });
        let bytes = |r: &mut Reader<'_>| r.remaining().to_vec();
        Ok(match header.kind {
            MessageType::HELLO => Message::Hello(Hello::decode(r)?),
            MessageType::ERROR => Message::Error(ErrorMessage::decode(r)?),
            MessageType::ECHO_REQUEST => Message::EchoRequest(bytes(r)),
            MessageType::ECHO_REPLY => Message::EchoReply(bytes(r)),
            _ if header.version != Version::V1_3 => {
                return bad(OfError::BadRequestBadVersion, 0, "OpenFlow 1.3: others are not built yet");
            }
            MessageType::EXPERIMENTER => {
                Message::Experimenter(Experimenter { experimenter: r.u32()?, kind: r.u32()?, data: bytes(r) })
            }
            MessageType::FEATURES_REQUEST => Message::FeaturesRequest,
            MessageType::FEATURES_REPLY => Message::FeaturesReply(FeaturesReply::decode(r)?),
            MessageType::PACKET_IN => PacketIn::decode(r)?.into(),
            MessageType::PACKET_OUT => Message::PacketOut(PacketOut::decode(r)?),
            MessageType::FLOW_MOD => FlowMod::decode(r)?.into(),
            MessageType::MULTIPART_REQUEST | MessageType::MULTIPART_REPLY => {
                let (kind, flags) = (r.u16()?, r.u16()?);
                r.skip(4)?;
                match header.kind {
                    _ if kind != OFPMP_FLOW => {
                        return bad(
                            OfError::BadRequestBadMultipart,
                            8,
                            "statistics of flows: others are not built yet",
                        );
                    }
                    MessageType::MULTIPART_REPLY => {
                        let mut reply = FlowStatsReply { more: flags & OFPMPF_MORE != 0, flows: Vec::new() };
                        while !r.is_empty() {
                            reply.flows.push(FlowStats::decode(r)?);
                        }
                        Message::FlowStatsReply(reply)
                    }
                    _ if flags != 0 => {
                        return bad(OfError::BadRequestMultipartOverflow, 10, "a request in one message");
                    }
                    _ => FlowStatsRequest::decode(r)?.into(),
                }
            }
            MessageType::BARRIER_REQUEST => Message::BarrierRequest,
            MessageType::BARRIER_REPLY => Message::BarrierReply,
            _ => return bad(OfError::BadRequestBadType, 1, "a message that is known here"),
        })
    }

    /// The type that the header says, in the numbering of OpenFlow 1.3.
    pub fn kind(&self) -> MessageType {
        match self {
            Message::Hello(_) => MessageType::HELLO,
            Message::Error(_) => MessageType::ERROR,
            Message::EchoRequest(_) => MessageType::ECHO_REQUEST,
            Message::EchoReply(_) => MessageType::ECHO_REPLY,
            Message::Experimenter(_) => MessageType::EXPERIMENTER,
            Message::FeaturesRequest => MessageType::FEATURES_REQUEST,
            Message::FeaturesReply(_) => MessageType::FEATURES_REPLY,
            Message::PacketIn(_) => MessageType::PACKET_IN,
            Message::PacketOut(_) => MessageType::PACKET_OUT,
            Message::FlowMod(_) => MessageType::FLOW_MOD,
            Message::FlowStatsRequest(_) => MessageType::MULTIPART_REQUEST,
            Message::FlowStatsReply(_) => MessageType::MULTIPART_REPLY,
            Message::BarrierRequest => MessageType::BARRIER_REQUEST,
            Message::BarrierReply => MessageType::BARRIER_REPLY,
        }
    }

    /// Whether messages of this type are the same in every version.
    fn is_symmetric(&self) -> bool {
        self.kind() < MessageType::EXPERIMENTER
    }

    /// The message's bytes.
    ///
    /// # Errors
    /// If this version cannot say it, or not in 65,535 bytes.
    pub fn encode(&self, version: Version, xid: u32) -> Result<Vec<u8>, EncodeError> {
        if version != Version::V1_3 && !self.is_symmetric() {
            return Err(EncodeError::NotInVersion { version: version.0, what: "this message" });
        }
        let mut w = Writer::new();
        let shape = Shape { what: "a message", length_at: 2, align: 1, count_padding: true };
        w.prefixed(shape, |w| {
            w.u8(version.0);
            w.u8(self.kind().0);
            w.u16(0);
            w.u32(xid);
            self.encode_body(w)
        })?;
        Ok(w.into_bytes())
    }

    fn encode_body(&self, w: &mut Writer) -> Result<(), EncodeError> {
        let multipart = |w: &mut Writer, flags: u16| {
            w.u16(OFPMP_FLOW);
            w.u16(flags);
            w.zeros(4);
        };
        match self {
            Message::Hello(hello) => hello.encode(w),
            Message::Error(error) => error.encode(w),
            Message::EchoRequest(data) | Message::EchoReply(data) => {
                w.bytes(data);
                Ok(())
            }
            Message::Experimenter(Experimenter { experimenter, kind, data }) => {
                w.u32(*experimenter);
                w.u32(*kind);
                w.bytes(data);
                Ok(())
            }
            Message::FeaturesRequest | Message::BarrierRequest | Message::BarrierReply => Ok(()),
            Message::FeaturesReply(features) => features.encode(w),
            Message::PacketIn(packet) => packet.encode(w),
            Message::PacketOut(packet) => packet.encode(w),
            Message::FlowMod(flow) => flow.encode(w),
            Message::FlowStatsRequest(request) => {
                multipart(w, 0);
                request.encode(w)
            }
            Message::FlowStatsReply(reply) => {
                multipart(w, if reply.more { OFPMPF_MORE } else { 0 });
                reply.flows.iter().try_for_each(|flow| flow.encode(w))
            }
        }
    }
}

//! Messages from bytes.

use super::kinds::empty;
use super::pass::pass;
use super::{Experimenter, Message, Part};
use crate::codec::cursor::{Reader, Writer};
use crate::codec::error::{DecodeError, OfError};
use crate::codec::flow::{AggregateStats, FlowRemoved, FlowStats, FlowStatsReader, FlowStatsReply, FlowStatsRequest};
use crate::codec::header::{Header, MessageType, Version};
use crate::codec::hello::Hello;
use crate::codec::io::{Fault, Io};
use crate::codec::kind::{Kind, MessageKind, multipart_types};
use crate::codec::packet::{PacketInView, PacketOut};
use crate::codec::report::ErrorMessage;
use crate::codec::switch::BundleAdd;
use crate::flow_mod::FlowMod;

/// Reads a request within a message that forwards it.
pub(super) fn read_forwarded(r: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
    let start = r.clone();
    let bad = |error| start.error(error, "a change of a group or of a meter");
    let all = r.remaining();
    let header = Header::decode(all).map_err(|_| bad(OfError::BundleMsgBadLen))?;
    let len = usize::from(header.length);
    let request = all.get(..len).filter(|_| len >= Header::LEN).ok_or_else(|| bad(OfError::BundleMsgBadLen))?;
    match Kind::of_bytes(request)?.of() {
        MessageKind::GroupMod | MessageKind::MeterMod => Message::decode(request).map(|_| request.to_vec()),
        _ => Err(bad(OfError::BundleMsgUnsup)),
    }
}

/// A message within a bundle has the xid of the one that it came in.
fn check_bundled(kind: Kind, header: Header, body: &Reader<'_>) -> Result<(), DecodeError> {
    if kind.of() != MessageKind::BundleAddMessage {
        return Ok(());
    }
    let inner = body.peek().get(8..).unwrap_or_default();
    match Header::decode(inner) {
        Ok(h)
            if h.version == header.version
                && h.xid != header.xid
                && (Header::LEN..=inner.len()).contains(&usize::from(h.length)) =>
        {
            Err(body.error(OfError::BundleMsgBadXid, "the xid of the message around it"))
        }
        _ => Ok(()),
    }
}

fn at_end(r: &Reader<'_>) -> Result<(), DecodeError> {
    match r.is_empty() {
        true => Ok(()),
        false => Err(r.error(OfError::BadRequestBadLength, "the end of the message")),
    }
}

impl Experimenter {
    /// Reads what stands behind the header of a message that is an experimenter's by its type.
    fn read(r: &mut Reader<'_>, header: Header) -> Result<Experimenter, DecodeError> {
        let mut part = None;
        if header.kind != MessageType::EXPERIMENTER {
            let _experimenters = r.u16()?;
            let reply = header.kind.0 == multipart_types(header.version).1;
            part = Some(Part { reply, more: r.u16()? & 1 != 0 });
            r.skip(if header.version == Version::V1_0 { 0 } else { 4 })?;
        }
        // The types of multipart messages of OpenFlow 1.0 are the experimenter's own affair.
        let (experimenter, short) = (r.u32()?, part.is_some() && header.version == Version::V1_0);
        let kind = if short { 0 } else { r.u32()? };
        Ok(Experimenter { experimenter, kind, data: r.remaining().to_vec(), part })
    }

    /// Writes all behind the header's version.
    pub(super) fn write(&self, w: &mut Writer, version: Version, xid: u32) {
        let (request, reply) = multipart_types(version);
        let of_part = |part: Part| if part.reply { reply } else { request };
        w.u8(self.part.map_or(MessageType::EXPERIMENTER.0, of_part));
        w.u16(0);
        w.u32(xid);
        if let Some(part) = self.part {
            w.u16(0xffff);
            w.u16(part.more.into());
            w.zeros(if version == Version::V1_0 { 0 } else { 4 });
        }
        w.u32(self.experimenter);
        if self.part.is_none() || version != Version::V1_0 {
            w.u32(self.kind);
        }
        w.bytes(&self.data);
    }
}

/// Header and kind of a flow-mod, if the message that `r` begins with is one of so many bytes; its body is left. (A reader
/// that is given back is copied as a whole, which waits for its parts, for these were just written.)
#[inline(always)]
fn flow_mod_in(r: &mut Reader<'_>) -> Option<(Header, Kind)> {
    let len = r.len();
    let header = Header::read(r).ok().filter(|h| usize::from(h.length) == len)?;
    Some((header, Kind::read_flow_mod(r, header)?))
}

/// Reads a whole message, if it is a flow-mod.
#[inline(never)]
fn decode_flow_mod(message: &[u8]) -> Option<Result<(Header, Box<FlowMod>), DecodeError>> {
    let mut r = Reader::new(message);
    let (header, kind) = flow_mod_in(&mut r)?;
    let flow = kind.check_length(&r).and_then(|()| FlowMod::read(&mut r, header.version, kind));
    Some(flow.and_then(|flow| at_end(&r).map(|()| (header, flow))))
}

impl FlowMod {
    /// Reads a whole message into this flow, in whose place and memory the next one may be read: quicker than
    /// [`Message::decode`] for who keeps none of them, such as a proxy.
    ///
    /// ```
    /// use ovs_ofproto::FlowMod;
    /// use ovs_ofproto::codec::{Message, Version};
    ///
    /// let flow: FlowMod = "priority=5,tcp,actions=output:2".parse()?;
    /// let bytes = Message::from(flow.clone()).encode(Version::V1_3, 7)?;
    /// let mut place = FlowMod::NEW;
    /// assert_eq!(place.decode_into(&bytes)?.xid, 7);
    /// assert_eq!(place, flow);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Message::decode`], or that it is another message; what the flow says then is of no meaning.
    pub fn decode_into(&mut self, message: &[u8]) -> Result<Header, DecodeError> {
        let mut r = Reader::new(message);
        let Some((header, kind)) = flow_mod_in(&mut r) else {
            let other = Reader::new(message).error(OfError::BadRequestBadType, "a flow-mod");
            return Err(Message::decode_other(message).err().unwrap_or(other));
        };
        kind.check_length(&r)?;
        self.clear();
        self.read_into(&mut r, header.version, kind)?;
        at_end(&r)?;
        Ok(header)
    }
}

impl Message {
    /// Reads a whole message, as a [`Framer`](crate::codec::Framer) gives it.
    ///
    /// # Errors
    /// What is not understood, with the error to answer with and the place. [`ErrorMessage::new`] makes the answer,
    /// which takes version and xid from [`Header::decode`].
    #[inline]
    pub fn decode(bytes: &[u8]) -> Result<(Header, Message), DecodeError> {
        // What a switch is sent most comes in its box, and is not moved as any message is.
        match decode_flow_mod(bytes) {
            Some(Ok((header, flow))) => Ok((header, Message::FlowMod(flow))),
            Some(Err(e)) => Err(e),
            None => Message::decode_other(bytes),
        }
    }

    #[inline(never)]
    fn decode_other(bytes: &[u8]) -> Result<(Header, Message), DecodeError> {
        let (header, message, broken) = Message::decode_part(bytes, false)?;
        match broken {
            Some(e) => Err(e),
            None => Ok((header, message)),
        }
    }

    /// The same. With `keep`, a list that is broken gives what stands before the break, and the error.
    pub(crate) fn decode_part(bytes: &[u8], keep: bool) -> Result<(Header, Message, Option<DecodeError>), DecodeError> {
        let mut r = Reader::new(bytes).or(&OfError::BadRequestBadLength);
        let header = Header::read(&mut r)?;
        if usize::from(header.length) != bytes.len() {
            let what = "the number of bytes that there are";
            return Err(DecodeError::new(OfError::BadRequestBadLength, 2, what));
        }
        let more = r.peek().get(2..4) == Some(&[0, 1]);
        let mut body = r.clone();
        let kind = match Kind::read(&mut body, header) {
            Ok(kind) => kind,
            Err(e) => {
                let unknown =
                    matches!(e.error, OfError::BadRequestBadExperimenter | OfError::BadRequestBadExperimenterType);
                return match Experimenter::read(&mut r, header) {
                    Ok(message) if unknown && header.version.minor().is_some() => {
                        Ok((header, Message::Experimenter(message), None))
                    }
                    _ => Err(e),
                };
            }
        };
        // Only tables to set up may need several requests.
        let parts = kind.of() == MessageKind::TableFeaturesStatsRequest && more;
        if kind.is_multipart_request() && !parts && r.peek().get(2..4) != Some(&[0, 0]) {
            let what = "a request in one message";
            return Err(DecodeError::new(OfError::BadRequestMultipartOverflow, 10, what));
        }
        kind.check_length(&body)?;
        let (more, keep) = (more && kind.is_multipart(), keep && kind.is_multipart());
        check_bundled(kind, header, &body)?;
        let (message, broken) = Message::decode_body(header.version, kind, more, &mut body, keep)?;
        at_end(&body).map(|()| (header, message, broken))
    }

    fn decode_body(
        version: Version,
        kind: Kind,
        more: bool,
        r: &mut Reader<'_>,
        keep: bool,
    ) -> Result<(Message, Option<DecodeError>), DecodeError> {
        let whole = |m| Ok((m, None));
        match kind.of() {
            MessageKind::Hello => whole(Message::Hello(Hello::decode(r)?)),
            MessageKind::Error => whole(Message::Error(ErrorMessage::read(r, version)?)),
            MessageKind::EchoRequest => whole(Message::EchoRequest(r.remaining().to_vec())),
            MessageKind::EchoReply => whole(Message::EchoReply(r.remaining().to_vec())),
            MessageKind::PacketIn | MessageKind::Resume => {
                let mut view = PacketInView::default();
                view.read(r, kind)?;
                let packet = Box::new(view.to_owned());
                whole(if kind.of() == MessageKind::Resume {
                    Message::Resume(packet)
                } else {
                    Message::PacketIn(packet)
                })
            }
            MessageKind::PacketOut => whole(Message::PacketOut(PacketOut::read(r, version, kind)?)),
            MessageKind::FlowMod => whole(Message::FlowMod(FlowMod::read(r, version, kind)?)),
            MessageKind::BundleAddMessage => whole(Message::BundleAdd(BundleAdd::read(r, version)?)),
            MessageKind::FlowRemoved => whole(FlowRemoved::read(r, version, kind)?.into()),
            MessageKind::FlowStatsRequest => whole(FlowStatsRequest::read(r, kind)?.into()),
            MessageKind::AggregateStatsRequest => {
                whole(Message::AggregateStatsRequest(Box::new(FlowStatsRequest::read(r, kind)?)))
            }
            MessageKind::AggregateStatsReply => whole(Message::AggregateStatsReply(AggregateStats::read(r, kind)?)),
            MessageKind::FlowStatsReply => {
                let mut reply = FlowStatsReply { more, flows: Vec::new() };
                let mut flows = FlowStatsReader::of(r.sub(r.len())?, version, kind);
                // One more, which turns out to be none.
                reply.flows.reserve_exact(flows.count_whole().saturating_add(1));
                let found = loop {
                    // A flow is read where it stays.
                    reply.flows.push(FlowStats::default());
                    match reply.flows.last_mut().and_then(|place| flows.next_whole(place)) {
                        Some(Ok(())) => {}
                        end => {
                            reply.flows.pop();
                            break end.unwrap_or(Ok(()));
                        }
                    }
                };
                match found {
                    Err(e) if keep => Ok((Message::FlowStatsReply(reply), Some(e))),
                    Err(e) => Err(e),
                    Ok(()) => whole(Message::FlowStatsReply(reply)),
                }
            }
            of => {
                let what = "a message that is known in this version";
                let mut m = empty(of, more).ok_or_else(|| r.error(OfError::BadRequestBadType, what))?;
                let mut io = Io::reading(version, r.clone());
                if keep {
                    io = io.keeping();
                }
                match pass(&mut m, &mut io, kind) {
                    Ok(()) => {}
                    Err(Fault::Decode(e)) => return Err(e),
                    Err(Fault::Encode(_)) => return Err(r.error(OfError::BadRequestBadLength, "what can be said")),
                }
                let (left, broken) = (io.left(), io.take_broken());
                r.skip(r.len().saturating_sub(left))?;
                Ok((m, broken))
            }
        }
    }
}

//! Netlink messages and attributes.

use std::fmt::Debug;

use ovs_netlink::attr::{Nest, Typed};
use ovs_netlink::nf::{Connection, CpuStats, CtAttr, Expectation, NfHeader, TableStats, TimeoutPolicy};
use ovs_netlink::ovs::{
    Action, Command, CtLimitCommand, CtLimits, Datapath, Flow, Key, MaskedKey, Meter, MeterCommand, NshKey, OvsHeader,
    Packet, PacketCommand, TunnelKey, Vport, geneve_options,
};
use ovs_netlink::psample::Sample;
use ovs_netlink::route::Event;
use ovs_netlink::{
    Ack, Attributes, DecodeError, EncodeError, Exchange, Family, Flags, GenericHeader, Message, Messages, Writer,
};

/// The one message of a datagram that we wrote.
fn only(bytes: &[u8]) -> Message<'_> {
    let mut messages = Messages::new(bytes);
    let first = messages.next().expect("one").expect("what we wrote");
    assert!(messages.next().is_none());
    first
}

/// Values that are read are written as values that are read the same.
fn again<T: PartialEq + Debug>(
    value: &T,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    same: impl FnOnce(&Message<'_>) -> bool,
) {
    let mut bytes = Vec::new();
    if write(&mut bytes).is_ok() {
        assert!(same(&only(&bytes)), "{value:?}");
    }
}

/// Datagrams: messages and their payloads lie within them and in order; values that are read are written as values
/// that are read the same.
pub fn netlink_message(data: &[u8]) {
    let mut end = 0;
    let mut exchange = Exchange::new(1);
    for message in Messages::new(data) {
        let message = match message {
            Ok(message) => message,
            Err(e) => return assert!(e.offset <= data.len(), "{e}"),
        };
        assert!(message.offset() >= end + 16);
        end = message.offset() + message.payload().len();
        assert_eq!(message.payload(), &data[message.offset()..end]);
        let (kind, flags) = (message.header.kind, Flags::REQUEST);
        if let Ok(v) = Vport::decode(&message) {
            again(&v, |b| v.encode(b, kind, Command::New, flags), |m| Vport::decode(m).as_ref() == Ok(&v));
        }
        if let Ok(v) = Datapath::decode(&message) {
            again(&v, |b| v.encode(b, kind, Command::New, flags), |m| Datapath::decode(m).as_ref() == Ok(&v));
        }
        if let Ok(v) = Flow::decode(&message) {
            again(&v, |b| v.encode(b, kind, Command::New, flags), |m| Flow::decode(m).as_ref() == Ok(&v));
            let _ = format!("{v:?}");
        }
        if let Ok(v) = Packet::decode(&message) {
            let execute = PacketCommand::Execute;
            again(&v, |b| v.encode(b, kind, execute, flags), |m| Packet::decode(m).as_ref() == Ok(&v));
        }
        if let Ok(v) = Meter::decode(&message) {
            again(&v, |b| v.encode(b, kind, MeterCommand::Set, flags), |m| Meter::decode(m).as_ref() == Ok(&v));
        }
        if let Ok(v) = CtLimits::decode(&message) {
            again(&v, |b| v.encode(b, kind, CtLimitCommand::Set, flags), |m| CtLimits::decode(m).as_ref() == Ok(&v));
        }
        if let Ok(v) = Family::decode(&message) {
            again(&v, |b| v.encode(b, flags), |m| Family::decode(m).as_ref() == Ok(&v));
        }
        let _ = (Ack::decode(&message), GenericHeader::decode(&message), OvsHeader::decode(&message));
        let _ = (Family::requested(&message), Sample::decode(&message));
        let _ = exchange.step(message);
    }
}

/// Attributes: they lie within their bytes, and what is read is written as what is read the same, as deep as it nests.
pub fn netlink_attributes(data: &[u8]) {
    let Some(tree) = tree(Attributes::new(data, 0), data.len()) else { return };
    let mut bytes = Vec::new();
    if write(&mut Writer::new(&mut bytes), &tree).is_ok() {
        assert_eq!(self::tree(Attributes::new(&bytes, 0), bytes.len()), Some(tree));
    }
}

#[derive(PartialEq, Debug)]
enum Node {
    Leaf(u16, Vec<u8>),
    Nest(u16, Vec<Node>),
}

fn tree(attributes: Attributes<'_>, len: usize) -> Option<Vec<Node>> {
    let mut nodes = Vec::new();
    for attribute in attributes {
        let a = attribute.ok()?;
        assert!(a.offset() + a.payload().len() <= len);
        let _ = (a.u8(), a.u16(), a.u32(), a.i32(), a.u64(), a.be16(), a.be32(), a.be64(), a.u32s(), a.str());
        nodes.push(match a.nested().ok().filter(|_| a.is_marked_nested()).and_then(|inner| tree(inner, len)) {
            Some(inner) => Node::Nest(a.kind(), inner),
            None => Node::Leaf(a.kind(), a.payload().to_vec()),
        });
    }
    Some(nodes)
}

fn write(writer: &mut Writer<'_>, nodes: &[Node]) -> Result<(), EncodeError> {
    for node in nodes {
        match node {
            Node::Leaf(kind, payload) => writer.bytes(*kind, payload).map(|_| ())?,
            Node::Nest(kind, inner) => writer.nest(*kind, |writer| self::write(writer, inner)).map(|_| ())?,
        }
    }
    Ok(())
}

/// Attributes as sets whose types are known, the first byte says which: a value that is read is written as one that is
/// read the same; what is in order by the policy is read without an error, as deep as it nests.
pub fn netlink_sets(data: &[u8]) {
    let Some((which, data)) = data.split_first() else { return };
    match which % 6 {
        0 => set::<Key<'_>>(data),
        1 => set::<MaskedKey<'_>>(data),
        2 => set::<Action<'_>>(data),
        3 => set::<TunnelKey<'_>>(data),
        4 => set::<NshKey<'_>>(data),
        _ => set::<CtAttr<'_>>(data),
    }
    let read: usize = geneve_options(data).map_while(Result::ok).map(|option| option.data.len() + 4).sum();
    assert!(read <= data.len());
}

fn set<'a, T: Typed<'a> + PartialEq>(data: &'a [u8]) {
    let values: Result<Vec<T>, DecodeError> = Nest::new(data).iter().collect();
    let checked = T::policy().check(Attributes::new(data, 0));
    match &values {
        Ok(values) => {
            let text = format!("{values:?}");
            assert!(checked.is_err() || !text.contains("Err("), "{text}");
            let mut originals = Attributes::new(data, 0);
            for value in values {
                let mut bytes = Vec::new();
                Writer::new(&mut bytes).put(*value).expect("what was read can be written");
                let read = Attributes::new(&bytes, 0).next().expect("one").expect("what was written");
                assert_eq!(read.kind(), value.kind());
                let original = originals.next().expect("as many").expect("read before");
                // Padding at the end of a structure is written as zeroes.
                let same = read.payload().iter().zip(original.payload()).filter(|(new, old)| new != old && **new != 0);
                assert_eq!((read.payload().len(), same.count()), (original.payload().len(), 0), "{value:?}");
            }
        }
        Err(error) => assert!(error.offset <= data.len() && checked.is_err(), "{error}"),
    }
}

/// Messages of netfilter.
pub fn netlink_netfilter(data: &[u8]) {
    for message in Messages::new(data).map_while(Result::ok) {
        if let Ok(v) = TimeoutPolicy::decode(&message) {
            again(&v, |b| v.encode_set(b), |m| TimeoutPolicy::decode(m).as_ref() == Ok(&v));
        }
        if let Ok(connection) = Connection::decode(&message) {
            let new = |buffer: &mut Vec<u8>| connection.encode_new(buffer, Flags::REQUEST);
            again(&connection, new, |message| {
                let read = Connection::decode(message).expect("what was written");
                (read.orig, read.reply, read.zone) == (connection.orig, connection.reply, connection.zone)
            });
        }
        let _ = (Expectation::decode(&message), CpuStats::decode(&message), TableStats::decode(&message));
        let _ = NfHeader::decode(&message);
    }
}

/// Messages about links, addresses, routes, rules and neighbours.
pub fn netlink_route(data: &[u8]) {
    for message in Messages::new(data).map_while(Result::ok) {
        let _ = Event::decode(&message);
    }
}

//! Netlink messages and attributes.

use ovs_netlink::ovs::{Command, Datapath, OvsHeader, Vport};
use ovs_netlink::{Ack, Attributes, Exchange, Family, Flags, GenericHeader, Message, MessageBuilder, Messages};

/// The one message of a datagram that we wrote.
fn only(bytes: &[u8]) -> Message<'_> {
    let mut messages = Messages::new(bytes);
    let first = messages.next().expect("one").expect("what we wrote");
    assert!(messages.next().is_none());
    first
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
        if let Ok(vport) = Vport::decode(&message)
            && let Ok(builder) = vport.encode(kind, Command::New, flags)
        {
            let bytes = builder.finish(1, 0).expect("short");
            assert_eq!(Vport::decode(&only(&bytes)).as_ref(), Ok(&vport));
        }
        if let Ok(datapath) = Datapath::decode(&message)
            && let Ok(builder) = datapath.encode(kind, Command::New, flags)
        {
            let bytes = builder.finish(1, 0).expect("short");
            assert_eq!(Datapath::decode(&only(&bytes)).as_ref(), Ok(&datapath));
        }
        if let Ok(family) = Family::decode(&message)
            && let Ok(builder) = family.encode()
        {
            let bytes = builder.finish(1, 0).expect("short");
            assert_eq!(Family::decode(&only(&bytes)).as_ref(), Ok(&family));
        }
        let _ = (Ack::decode(&message), GenericHeader::decode(&message), OvsHeader::decode(&message));
        let _ = exchange.step(message);
    }
}

/// Attributes: they lie within their bytes, and what is read is written as what is read the same, as deep as it nests.
pub fn netlink_attributes(data: &[u8]) {
    let Some(tree) = tree(Attributes::new(data, 0), data.len()) else { return };
    let mut builder = MessageBuilder::new(16, Flags::REQUEST);
    if write(&mut builder, &tree).is_ok() {
        let bytes = builder.finish(1, 0).expect("short");
        let message = only(&bytes);
        assert_eq!(self::tree(message.attributes(0).expect("from its start"), bytes.len()), Some(tree));
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

fn write(builder: &mut MessageBuilder, nodes: &[Node]) -> Result<(), ovs_netlink::EncodeError> {
    for node in nodes {
        match node {
            Node::Leaf(kind, payload) => builder.bytes(*kind, payload).map(|_| ())?,
            Node::Nest(kind, inner) => builder.nest(*kind, |b| write(b, inner)).map(|_| ())?,
        }
    }
    Ok(())
}

//! What the kernel says of an interface, over rtnetlink: one question, one answer.
//!
//! Not `/sys/class/net`: that shows the network namespace of whoever mounted it, which need not be the caller's.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use ovs_packet::EthAddr;

/// An interface, as the kernel describes it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    /// Its `ARPHRD_*` number.
    pub(super) hardware: u16,
    pub(super) up: bool,
    pub(super) mtu: usize,
    pub(super) address: Option<EthAddr>,
    /// Index of the interface that it is a port of.
    pub(super) master: Option<u32>,
    /// The kind of virtual interface, as `ip link add type` has it; empty for a card.
    pub(super) kind: String,
}

/// A connection to the kernel's interfaces in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(super) struct Links {
    socket: Socket,
}

impl Links {
    pub(super) fn open() -> io::Result<Links> {
        let socket = Socket::new(NETLINK_ROUTE)?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Links { socket })
    }

    /// The interface of this name. The error is `ENODEV` if there is none.
    pub(super) fn by_name(&self, name: &str) -> io::Result<Link> {
        let mut question = LinkMessage::default();
        question.attributes.push(LinkAttribute::IfName(name.to_owned()));
        self.ask(question)
    }

    /// The interface of this index.
    pub(super) fn by_index(&self, index: u32) -> io::Result<Link> {
        let mut question = LinkMessage::default();
        question.header.index = index;
        self.ask(question)
    }

    /// Brings an interface up, as `ip link set dev up` does.
    pub(super) fn set_up(&self, index: u32) -> io::Result<()> {
        let mut order = LinkMessage::default();
        order.header.index = index;
        order.header.flags = LinkFlags::Up;
        order.header.change_mask = LinkFlags::Up;
        self.transact(RouteNetlinkMessage::SetLink(order), NLM_F_ACK).map(|_| ())
    }

    fn ask(&self, mut question: LinkMessage) -> io::Result<Link> {
        question.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        match self.transact(RouteNetlinkMessage::GetLink(question), 0)? {
            Some(RouteNetlinkMessage::NewLink(answer)) => Ok(Link::of(answer)),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is no interface")),
        }
    }

    /// Sends one message and returns the answer; `None` is an acknowledgement.
    fn transact(&self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Option<RouteNetlinkMessage>> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut answer = Vec::with_capacity(1 << 16);
        self.socket.recv(&mut answer, 0)?;
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
        match answer.payload {
            NetlinkPayload::InnerMessage(message) => Ok(Some(message)),
            NetlinkPayload::Error(e) if e.code.is_some() => Err(e.to_io()),
            _ => Ok(None),
        }
    }
}

impl Link {
    fn of(message: LinkMessage) -> Link {
        let mut link = Link {
            index: message.header.index,
            name: String::new(),
            hardware: message.header.link_layer_type.into(),
            up: message.header.flags.contains(LinkFlags::Up),
            mtu: 0,
            address: None,
            master: None,
            kind: String::new(),
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Mtu(mtu) => link.mtu = mtu as usize,
                LinkAttribute::Address(bytes) => link.address = bytes.try_into().ok().map(EthAddr),
                LinkAttribute::Controller(index) if index != 0 => link.master = Some(index),
                LinkAttribute::LinkInfo(infos) => {
                    for info in infos {
                        if let LinkInfo::Kind(kind) = info {
                            link.kind = kind.to_string();
                        }
                    }
                }
                _ => {}
            }
        }
        link
    }
}

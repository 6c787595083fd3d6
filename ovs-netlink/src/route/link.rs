//! Network devices.

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_route::link::{
    GtpRole, InfoBareUdp, InfoData, InfoGeneve, InfoGre, InfoGre6, InfoGtp, InfoKind, InfoVeth, InfoVlan, InfoVxlan,
    LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::{EthernetProtocol, RouteNetlinkMessage};

use super::Route;
use crate::edge::SocketError;
use crate::message::Flags;

/// A network device, as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Link {
    /// The number of the device, in its namespace.
    pub index: u32,
    /// The name.
    pub name: String,
    /// The kind of hardware (`ARPHRD_*`): 1 for Ethernet.
    pub hardware: u16,
    /// Whether it was brought up.
    pub up: bool,
    /// Whether it has a carrier: it is up and, of a pair, so is the other end.
    pub carrier: bool,
    /// Whether it takes all packets.
    pub promiscuous: bool,
    /// The largest payload of a frame, in bytes.
    pub mtu: u32,
    /// The largest MTU that it can have; 0 where the kernel does not say.
    pub max_mtu: u32,
    /// The hardware address, where it has one of 6 bytes.
    pub address: Option<[u8; 6]>,
    /// How many receive queues it can have.
    pub rx_queues: u32,
    /// The device that it is a port of.
    pub master: Option<u32>,
    /// The device below it, as of a VLAN.
    pub link: Option<u32>,
    /// The kind of virtual device, as `ip link add type` has it; empty for a card.
    pub kind: String,
    /// The namespace of the device below it, or of the other end, where that is another one.
    pub link_netnsid: Option<i32>,
}

impl Link {
    pub(super) fn of(message: LinkMessage) -> Link {
        let LinkMessage { header, attributes, .. } = message;
        let mut link = Link {
            index: header.index,
            hardware: header.link_layer_type.into(),
            up: header.flags.contains(LinkFlags::Up),
            carrier: header.flags.contains(LinkFlags::LowerUp),
            promiscuous: header.flags.contains(LinkFlags::Promisc),
            ..Link::default()
        };
        for attribute in attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::MaxMtu(mtu) => link.max_mtu = mtu,
                LinkAttribute::Address(bytes) => link.address = bytes.try_into().ok(),
                LinkAttribute::NumRxQueues(count) => link.rx_queues = count,
                LinkAttribute::Controller(index) if index != 0 => link.master = Some(index),
                LinkAttribute::Link(index) => link.link = Some(index),
                LinkAttribute::LinkNetNsId(id) => link.link_netnsid = Some(id),
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

/// A device to make. It is down, unless that is asked for.
#[derive(Debug, Clone)]
pub struct NewLink<'a> {
    /// The name: 1 to 15 bytes without slash or space.
    pub name: &'a str,
    /// What it is.
    pub kind: LinkKind<'a>,
    /// The MTU; chosen by the kernel when absent.
    pub mtu: Option<u32>,
    /// The hardware address; chosen by the kernel when absent.
    pub address: Option<[u8; 6]>,
    /// Whether it is to be up at once.
    pub up: bool,
}

impl<'a> NewLink<'a> {
    /// A device with what the kernel chooses.
    pub fn new(name: &'a str, kind: LinkKind<'a>) -> NewLink<'a> {
        NewLink { name, kind, mtu: None, address: None, up: false }
    }
}

/// What a device is.
///
/// The tunnels are for a datapath: they have no peer of their own, but take what the flow says (`COLLECT_METADATA`).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum LinkKind<'a> {
    /// A device that drops all that it is given.
    Dummy,
    /// A bridge of the kernel's own.
    Bridge,
    /// One end of a pair.
    Veth {
        /// The name of the other end.
        peer: &'a str,
        /// The namespace of the other end, if it is another one.
        namespace: Option<BorrowedFd<'a>>,
    },
    /// A VLAN of a device.
    Vlan {
        /// The device.
        link: u32,
        /// The VLAN's number.
        id: u16,
    },
    /// VXLAN.
    Vxlan {
        /// The UDP port.
        port: u16,
        /// With the group policy extension.
        gbp: bool,
        /// With the generic protocol extension, which excludes the other.
        gpe: bool,
    },
    /// Geneve.
    Geneve {
        /// The UDP port.
        port: u16,
    },
    /// GRE over IPv4 without Ethernet headers inside.
    Gre,
    /// GRE over IPv4.
    GreTap,
    /// GRE over IPv6 without Ethernet headers inside.
    Ip6Gre,
    /// GRE over IPv6.
    Ip6GreTap,
    /// ERSPAN over IPv4.
    Erspan,
    /// ERSPAN over IPv6.
    Ip6Erspan,
    /// IP or MPLS in UDP: it takes the metadata always.
    Bareudp {
        /// The UDP port.
        port: u16,
        /// The Ethernet type of what is inside.
        ethertype: u16,
        /// Whether its kin may be inside too: IPv6 beside IPv4, multicast beside unicast MPLS.
        multiproto: bool,
    },
    /// GTP for users' packets. The kernel keeps its tunnels itself.
    Gtp,
}

/// The first source port of tunnels over UDP.
const SOURCE_PORTS: u16 = 0xc000;

impl LinkKind<'_> {
    fn encode(&self) -> Vec<LinkInfo> {
        let (kind, data) = match *self {
            LinkKind::Dummy => (InfoKind::Dummy, None),
            LinkKind::Bridge => (InfoKind::Bridge, None),
            LinkKind::Veth { peer, namespace } => {
                let mut other = named(peer);
                other.attributes.extend(namespace.map(|fd| LinkAttribute::NetNsFd(fd.as_raw_fd())));
                (InfoKind::Veth, Some(InfoData::Veth(InfoVeth::Peer(other))))
            }
            LinkKind::Vlan { id, .. } => (InfoKind::Vlan, Some(InfoData::Vlan(vec![InfoVlan::Id(id)]))),
            LinkKind::Vxlan { port, gbp, gpe } => {
                let mut data = vec![
                    InfoVxlan::CollectMetadata(true),
                    InfoVxlan::Learning(false),
                    InfoVxlan::UDPZeroCsumRX(true),
                    InfoVxlan::Port(port),
                ];
                data.extend(gbp.then_some(InfoVxlan::Gbp));
                data.extend(gpe.then_some(InfoVxlan::Gpe));
                (InfoKind::Vxlan, Some(InfoData::Vxlan(data)))
            }
            LinkKind::Geneve { port } => {
                let data = vec![InfoGeneve::CollectMetadata, InfoGeneve::UdpZeroCsum6Rx(true), InfoGeneve::Port(port)];
                (InfoKind::Geneve, Some(InfoData::Geneve(data)))
            }
            LinkKind::Gre => (InfoKind::GreTun, Some(InfoData::GreTun(vec![InfoGre::CollectMetadata]))),
            LinkKind::GreTap => (InfoKind::GreTap, Some(InfoData::GreTap(vec![InfoGre::CollectMetadata]))),
            LinkKind::Ip6Gre => (InfoKind::GreTun6, Some(InfoData::GreTun6(vec![InfoGre6::CollectMetadata]))),
            LinkKind::Ip6GreTap => (InfoKind::GreTap6, Some(InfoData::GreTap6(vec![InfoGre6::CollectMetadata]))),
            LinkKind::Erspan => (InfoKind::ErSpan, Some(InfoData::ErSpan(vec![InfoGre::CollectMetadata]))),
            LinkKind::Ip6Erspan => (InfoKind::Ip6ErSpan, Some(InfoData::Ip6ErSpan(vec![InfoGre6::CollectMetadata]))),
            LinkKind::Bareudp { port, ethertype, multiproto } => {
                let mut data = vec![
                    InfoBareUdp::Port(port),
                    InfoBareUdp::Ethertype(EthernetProtocol::from(ethertype)),
                    InfoBareUdp::SrcPortMin(SOURCE_PORTS),
                ];
                data.extend(multiproto.then_some(InfoBareUdp::MultiprotoMode));
                (InfoKind::BareUdp, Some(InfoData::BareUdp(data)))
            }
            LinkKind::Gtp => {
                let data = vec![InfoGtp::CreateSockets(true), InfoGtp::PdpHashsize(1024), InfoGtp::Role(GtpRole::Sgsn)];
                (InfoKind::Gtp, Some(InfoData::Gtp(data)))
            }
        };
        [Some(LinkInfo::Kind(kind)), data.map(LinkInfo::Data)].into_iter().flatten().collect()
    }
}

/// What is to change of a device; what is absent stays as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct LinkChange<'a> {
    /// Whether it is up.
    pub up: Option<bool>,
    /// The MTU.
    pub mtu: Option<u32>,
    /// The hardware address.
    pub address: Option<[u8; 6]>,
    /// The device that it is a port of; 0 for none.
    pub master: Option<u32>,
    /// The name.
    pub name: Option<&'a str>,
    /// The namespace that it moves to.
    pub namespace: Option<BorrowedFd<'a>>,
}

fn named(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message
}

fn indexed(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

fn read(message: RouteNetlinkMessage) -> Option<Link> {
    match message {
        RouteNetlinkMessage::NewLink(link) => Some(Link::of(link)),
        _ => None,
    }
}

impl Route {
    /// The device of this name.
    ///
    /// # Errors
    /// [`SocketError`]; a refusal with `ENODEV` when there is none.
    pub fn link(&mut self, name: &str) -> Result<Link, SocketError> {
        let mut question = named(name);
        question.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        self.ask(RouteNetlinkMessage::GetLink(question), read)
    }

    /// The device of this number.
    ///
    /// # Errors
    /// [`SocketError`]; a refusal with `ENODEV` when there is none.
    pub fn link_by_index(&mut self, index: u32) -> Result<Link, SocketError> {
        let mut question = indexed(index);
        question.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        self.ask(RouteNetlinkMessage::GetLink(question), read)
    }

    /// All devices.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn links(&mut self) -> Result<Vec<Link>, SocketError> {
        let mut question = LinkMessage::default();
        question.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        self.list(RouteNetlinkMessage::GetLink(question), read)
    }

    /// Makes a device.
    ///
    /// # Errors
    /// [`SocketError`]; a refusal with `EEXIST` when there is one of its name, with `EOPNOTSUPP` when the kernel does not
    /// know its kind.
    pub fn add_link(&mut self, new: &NewLink<'_>) -> Result<(), SocketError> {
        let mut order = named(new.name);
        order.attributes.extend(new.mtu.map(LinkAttribute::Mtu));
        order.attributes.extend(new.address.map(|address| LinkAttribute::Address(address.to_vec())));
        if let LinkKind::Vlan { link, .. } = new.kind {
            order.attributes.push(LinkAttribute::Link(link));
        }
        order.attributes.push(LinkAttribute::LinkInfo(new.kind.encode()));
        if new.up {
            order.header.flags = LinkFlags::Up;
            order.header.change_mask = LinkFlags::Up;
        }
        self.order(RouteNetlinkMessage::NewLink(order), Flags::CREATE | Flags::EXCLUSIVE)
    }

    /// Changes a device.
    ///
    /// # Errors
    /// [`SocketError`]; a refusal with `ENODEV` when there is none, with others when it cannot be so.
    pub fn change_link(&mut self, index: u32, change: LinkChange<'_>) -> Result<(), SocketError> {
        let LinkChange { up, mtu, address, master, name, namespace } = change;
        let mut order = indexed(index);
        if let Some(up) = up {
            order.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
            order.header.change_mask = LinkFlags::Up;
        }
        let attributes = [
            mtu.map(LinkAttribute::Mtu),
            address.map(|address| LinkAttribute::Address(address.to_vec())),
            master.map(LinkAttribute::Controller),
            name.map(|name| LinkAttribute::IfName(name.to_owned())),
            namespace.map(|fd| LinkAttribute::NetNsFd(fd.as_raw_fd())),
        ];
        order.attributes.extend(attributes.into_iter().flatten());
        self.order(RouteNetlinkMessage::SetLink(order), Flags::empty())
    }

    /// Brings a device up, or takes it down.
    ///
    /// # Errors
    /// As [`Route::change_link`].
    pub fn set_up(&mut self, index: u32, up: bool) -> Result<(), SocketError> {
        self.change_link(index, LinkChange { up: Some(up), ..LinkChange::default() })
    }

    /// Removes a device; of a pair, both ends.
    ///
    /// # Errors
    /// [`SocketError`]; a refusal with `ENODEV` when there is none.
    pub fn delete_link(&mut self, index: u32) -> Result<(), SocketError> {
        self.order(RouteNetlinkMessage::DelLink(indexed(index)), Flags::empty())
    }
}

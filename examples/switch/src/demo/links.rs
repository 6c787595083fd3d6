//! Links of a private network, over rtnetlink: virtual Ethernet pairs, their addresses, their state.
//!
//! One request, one answer; no other program is called. The netlink library stays inside: no public type names it.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use ovs_packet::EthAddr;

use super::netns::{Namespace, NamespaceError};

/// Room for an answer of the kernel: it describes one link.
const ANSWER: usize = 1 << 16;

/// Why a link cannot be made, found or changed. Displays as one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// There is no link of this name in the namespace.
    #[error("there is no link {name}")]
    NotFound {
        /// The link.
        name: String,
    },
    /// There is a link, or an address of a link, like this already.
    #[error("{name}: {what}: it is there already")]
    Exists {
        /// The link.
        name: String,
        /// What was tried.
        what: &'static str,
    },
    /// The process may not change links.
    #[error("{name}: {what} needs root or the capability CAP_NET_ADMIN")]
    NotPermitted {
        /// The link.
        name: String,
        /// What was tried.
        what: &'static str,
    },
    /// The namespace cannot be entered.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The system refused something else.
    #[error("{name}: {what}: {source}")]
    System {
        /// The link.
        name: String,
        /// What was tried.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

/// A link, as it was when the kernel was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Link {
    /// The kernel's number for it, in its namespace.
    pub index: u32,
    /// Whether it was brought up.
    pub up: bool,
    /// Whether it has a carrier: it is up and, of a pair, so is the other end.
    pub carrier: bool,
    /// The largest payload of a frame, in bytes.
    pub mtu: usize,
    /// Its Ethernet address.
    pub address: Option<EthAddr>,
}

/// The links of one namespace.
///
/// ```
/// use ovs_switch::demo::links::Links;
/// use ovs_switch::demo::netns::{Namespace, NamespaceError};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (host, switch) = match (Namespace::new(), Namespace::new()) {
///     (Ok(host), Ok(switch)) => (host, switch),
///     (Err(NamespaceError::NotPermitted), _) => return Ok(()), // not root
///     (host, switch) => (host?, switch?),
/// };
/// let (of_host, of_switch) = (Links::open(&host)?, Links::open(&switch)?);
/// of_host.add_veth("eth0", &switch, "p1")?;
/// of_host.add_ip("eth0", "10.0.0.1".parse()?, 24)?;
/// of_host.set_up("eth0")?;
/// of_switch.set_up("p1")?;
/// assert!(of_host.get("eth0")?.carrier);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Links {
    socket: Socket,
}

impl Links {
    /// The links of `namespace`. They stay those, whichever thread uses the value.
    ///
    /// # Errors
    /// If the namespace cannot be entered, or there is no rtnetlink socket to be had.
    pub fn open(namespace: &Namespace) -> Result<Links, LinkError> {
        let socket = namespace.run(|| {
            let socket = Socket::new(NETLINK_ROUTE)?;
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok(socket)
        })?;
        match socket {
            Ok(socket) => Ok(Links { socket }),
            Err(e) => Err(error("rtnetlink", "opening a socket", e)),
        }
    }

    /// The link of this name.
    ///
    /// # Errors
    /// If there is none.
    pub fn get(&self, name: &str) -> Result<Link, LinkError> {
        let mut question = named(name);
        question.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        match self.transact(RouteNetlinkMessage::GetLink(question), 0) {
            Ok(Some(RouteNetlinkMessage::NewLink(answer))) => Ok(link_of(&answer)),
            Ok(_) => Err(error(name, "looking it up", io::ErrorKind::InvalidData.into())),
            Err(e) => Err(error(name, "looking it up", e)),
        }
    }

    /// Makes a pair: `name` here, and its other end `peer_name` in `peer`. Both are down, with addresses that the
    /// kernel made up.
    ///
    /// # Errors
    /// If either name is taken or no name for a link (empty, over 15 bytes, with a slash or space).
    pub fn add_veth(&self, name: &str, peer: &Namespace, peer_name: &str) -> Result<(), LinkError> {
        let mut other = named(peer_name);
        other.attributes.push(LinkAttribute::NetNsFd(peer.as_fd().as_raw_fd()));
        let data = InfoData::Veth(InfoVeth::Peer(other));
        self.add(name, vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(data)])
    }

    /// Makes a bridge of the kernel's own, to compare with.
    ///
    /// # Errors
    /// If the name is taken, or the kernel has no bridges.
    pub fn add_bridge(&self, name: &str) -> Result<(), LinkError> {
        self.add(name, vec![LinkInfo::Kind(InfoKind::Bridge)])
    }

    fn add(&self, name: &str, info: Vec<LinkInfo>) -> Result<(), LinkError> {
        let mut order = named(name);
        order.attributes.push(LinkAttribute::LinkInfo(info));
        self.order(name, "making it", RouteNetlinkMessage::NewLink(order), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Makes a link a port of `bridge`, or of nothing.
    ///
    /// # Errors
    /// If there is no such link or bridge.
    pub fn set_bridge(&self, name: &str, bridge: Option<&str>) -> Result<(), LinkError> {
        let index = match bridge {
            Some(bridge) => self.get(bridge)?.index,
            None => 0,
        };
        self.change(name, "setting its bridge", LinkAttribute::Controller(index))
    }

    /// Gives a link another Ethernet address.
    ///
    /// # Errors
    /// If there is no such link, or it cannot have this address (multicast, zero).
    pub fn set_address(&self, name: &str, address: EthAddr) -> Result<(), LinkError> {
        self.change(name, "setting its address", LinkAttribute::Address(address.0.to_vec()))
    }

    /// Gives a link another MTU.
    ///
    /// # Errors
    /// If there is no such link, or it cannot have this MTU.
    pub fn set_mtu(&self, name: &str, mtu: u32) -> Result<(), LinkError> {
        self.change(name, "setting its MTU", LinkAttribute::Mtu(mtu))
    }

    fn change(&self, name: &str, what: &'static str, attribute: LinkAttribute) -> Result<(), LinkError> {
        let mut order = self.indexed(name)?;
        order.attributes.push(attribute);
        self.order(name, what, RouteNetlinkMessage::SetLink(order), 0)
    }

    /// Brings a link up.
    ///
    /// # Errors
    /// If there is no such link.
    pub fn set_up(&self, name: &str) -> Result<(), LinkError> {
        self.set_flags(name, "bringing it up", LinkFlags::Up)
    }

    /// Takes a link down.
    ///
    /// # Errors
    /// If there is no such link.
    pub fn set_down(&self, name: &str) -> Result<(), LinkError> {
        self.set_flags(name, "taking it down", LinkFlags::empty())
    }

    fn set_flags(&self, name: &str, what: &'static str, flags: LinkFlags) -> Result<(), LinkError> {
        let mut order = self.indexed(name)?;
        order.header.flags = flags;
        order.header.change_mask = LinkFlags::Up;
        self.order(name, what, RouteNetlinkMessage::SetLink(order), 0)
    }

    /// Gives a link an IP address in a network of `prefix` bits. An IPv6 address is usable at once: nobody is asked
    /// whether it is a duplicate.
    ///
    /// # Errors
    /// If there is no such link, it has the address, or the prefix is longer than the address.
    pub fn add_ip(&self, name: &str, address: IpAddr, prefix: u8) -> Result<(), LinkError> {
        let mut order = AddressMessage::default();
        order.header.index = self.get(name)?.index;
        order.header.prefix_len = prefix;
        order.header.family = match address {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        };
        order.attributes = vec![
            AddressAttribute::Local(address),
            AddressAttribute::Address(address),
            AddressAttribute::Flags(AddressFlags::Nodad),
        ];
        self.order(name, "adding an address", RouteNetlinkMessage::NewAddress(order), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Removes a link; of a pair, both ends.
    ///
    /// # Errors
    /// If there is no such link.
    pub fn delete(&self, name: &str) -> Result<(), LinkError> {
        let order = self.indexed(name)?;
        self.order(name, "removing it", RouteNetlinkMessage::DelLink(order), 0)
    }

    fn indexed(&self, name: &str) -> Result<LinkMessage, LinkError> {
        let mut message = LinkMessage::default();
        message.header.index = self.get(name)?.index;
        Ok(message)
    }

    fn order(&self, name: &str, what: &'static str, message: RouteNetlinkMessage, flags: u16) -> Result<(), LinkError> {
        self.transact(message, NLM_F_ACK | flags).map(|_| ()).map_err(|e| error(name, what, e))
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
        let mut answer = Vec::with_capacity(ANSWER);
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

fn named(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message
}

fn link_of(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        up: message.header.flags.contains(LinkFlags::Up),
        carrier: message.header.flags.contains(LinkFlags::LowerUp),
        mtu: 0,
        address: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu as usize,
            LinkAttribute::Address(bytes) => link.address = bytes.as_slice().try_into().ok().map(EthAddr),
            _ => {}
        }
    }
    link
}

fn error(name: &str, what: &'static str, source: io::Error) -> LinkError {
    let name = name.to_owned();
    // ENODEV has no kind of its own.
    const ENODEV: i32 = rustix::io::Errno::NODEV.raw_os_error();
    match source.kind() {
        _ if source.raw_os_error() == Some(ENODEV) => LinkError::NotFound { name },
        io::ErrorKind::AlreadyExists => LinkError::Exists { name, what },
        io::ErrorKind::PermissionDenied => LinkError::NotPermitted { name, what },
        _ => LinkError::System { name, what, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_between_two_namespaces() {
        let (a, b) = match (Namespace::new(), Namespace::new()) {
            (Ok(a), Ok(b)) => (a, b),
            (Err(e), _) | (_, Err(e)) => return eprintln!("skipped: {e}"),
        };
        let (la, lb) = (Links::open(&a).unwrap(), Links::open(&b).unwrap());
        la.add_veth("eth0", &b, "p1").unwrap();
        assert!(matches!(la.add_veth("eth0", &b, "p2"), Err(LinkError::Exists { .. })));
        assert!(matches!(lb.get("p2"), Err(LinkError::NotFound { .. })));
        let mac = EthAddr([2, 0, 0, 0, 0, 7]);
        la.set_address("eth0", mac).unwrap();
        la.set_mtu("eth0", 1400).unwrap();
        la.add_ip("eth0", "10.1.0.1".parse().unwrap(), 24).unwrap();
        la.add_ip("eth0", "fd00::1".parse().unwrap(), 64).unwrap();
        assert_eq!(
            la.add_ip("eth0", "10.1.0.1".parse().unwrap(), 24).unwrap_err().to_string(),
            "eth0: adding an address: it is there already"
        );
        la.set_up("eth0").unwrap();
        let link = la.get("eth0").unwrap();
        assert_eq!((link.up, link.carrier, link.mtu, link.address), (true, false, 1400, Some(mac)));
        lb.set_up("p1").unwrap();
        assert!(la.get("eth0").unwrap().carrier);
        a.run(|| std::net::UdpSocket::bind("[fd00::1]:9")).unwrap().unwrap();
        lb.set_down("p1").unwrap();
        assert!(!lb.get("p1").unwrap().up);
        la.delete("eth0").unwrap();
        assert_eq!(lb.get("p1").unwrap_err().to_string(), "there is no link p1");
    }

    #[test]
    fn a_bad_name_is_refused() {
        let Ok(a) = Namespace::new().inspect_err(|e| eprintln!("skipped: {e}")) else { return };
        let links = Links::open(&a).unwrap();
        for name in ["", "a/b", "sixteen-bytes-ab"] {
            assert!(links.add_veth(name, &a, "p1").is_err(), "{name:?}");
        }
    }
}

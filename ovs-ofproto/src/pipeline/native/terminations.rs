//! Which packets a tunnel of the switch ends for: those to an address of a device, by a protocol, and by a port where the
//! protocol has any, that some tunnel port listens to.
//!
//! The table is a classifier, so that a packet for no tunnel is told apart by as few bits as need be.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ovs_classifier::{Classifier, Pattern, Version, View};
use ovs_dpif::{PortNo, key_layout};
use ovs_packet::extract::{ETH_TYPE_IPV4, ETH_TYPE_IPV6};
use ovs_packet::key::WORDS;
use ovs_packet::{EthAddr, Match};

/// A port of the datapath that stands for tunnels of one kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// The protocols of IP, and the UDP port, or 0 if there is none.
    pub protocols: Vec<u8>,
    /// See [`protocols`](Self::protocols).
    pub udp_port: u16,
    /// How many ports of switches share it.
    pub users: usize,
}

/// A device of which packets are received for tunnels.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Device {
    /// Its Ethernet address.
    pub address: EthAddr,
    /// Its addresses of IP, with the lengths of their prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Whether it is the machine's talk with itself, where no tunnel ends.
    pub loopback: bool,
}

/// The table. See the [module](self).
#[derive(Default)]
pub(in crate::pipeline) struct Terminations {
    listeners: BTreeMap<PortNo, Listener>,
    ends: Option<Classifier<PortNo, WORDS>>,
}

impl Terminations {
    pub(super) fn listeners(&self) -> impl Iterator<Item = (PortNo, &Listener)> {
        self.listeners.iter().map(|(port, listener)| (*port, listener))
    }

    /// Has a port stand for one user more.
    pub(super) fn listen(&mut self, port: PortNo, name: &str, protocols: &[u8], udp_port: u16) {
        let users = self.listeners.get(&port).map_or(0, |known| known.users);
        let listener = Listener { name: name.into(), protocols: protocols.to_vec(), udp_port, users: users + 1 };
        self.listeners.insert(port, listener);
    }

    /// The same for one user less.
    pub(super) fn unlisten(&mut self, port: PortNo) {
        let Some(listener) = self.listeners.get_mut(&port) else { return };
        listener.users -= 1;
        if listener.users == 0 {
            self.listeners.remove(&port);
        }
    }

    /// The table.
    pub(in crate::pipeline) fn view(&self) -> Option<View<'_, PortNo, WORDS>> {
        self.ends.as_ref().map(|ends| ends.at(Version::LAST))
    }

    /// Makes the table anew, of what is there now.
    pub(super) fn rebuild(&mut self, devices: &BTreeMap<String, Device>) {
        let mut ends = Classifier::new(key_layout());
        for (m, port) in self.matches(devices) {
            let pattern = Pattern::new(*m.key().words(), *m.mask().bits.words());
            // Two devices with one address: the first one's port is as good as the other's.
            let _ = ends.insert(&pattern, 0, port);
        }
        self.ends = Some(ends);
    }

    /// What the table has, with the ports.
    pub(super) fn matches<'a>(
        &'a self,
        devices: &'a BTreeMap<String, Device>,
    ) -> impl Iterator<Item = (Match, PortNo)> + 'a {
        let addressed = devices.values().filter(|device| !device.loopback);
        let addresses = addressed.flat_map(|device| device.addresses.iter().map(|(ip, _)| (device.address, *ip)));
        addresses.flat_map(|(mac, ip)| {
            self.listeners.iter().flat_map(move |(port, listener)| {
                listener.protocols.iter().map(move |proto| (end(mac, ip, *proto, listener.udp_port), *port))
            })
        })
    }
}

/// Packets to an address by a protocol.
fn end(mac: EthAddr, ip: IpAddr, proto: u8, udp_port: u16) -> Match {
    use ovs_packet::field::FieldId::{EthDst, EthType, IpFrag, Ipv6Dst, NwDst, NwProto, UdpDst, VlanTci};
    let mut m = Match::ANY;
    m.set(EthDst, mac.0.iter().fold(0, |bits, byte| bits << 8 | u128::from(*byte)));
    match ip {
        IpAddr::V4(v4) => {
            m.set(EthType, ETH_TYPE_IPV4.into());
            m.set(NwDst, v4.to_bits().into());
        }
        IpAddr::V6(v6) => {
            m.set(EthType, ETH_TYPE_IPV6.into());
            m.set(Ipv6Dst, v6.to_bits());
        }
    }
    m.set(NwProto, proto.into());
    m.set(IpFrag, 0);
    m.set(VlanTci, 0);
    if udp_port != 0 {
        m.set(UdpDst, udp_port.into());
    }
    m
}

impl fmt::Debug for Terminations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminations").field("listeners", &self.listeners).finish_non_exhaustive()
    }
}

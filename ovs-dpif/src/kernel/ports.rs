//! Ports of the kernel's: interfaces of the machine, internal ones, tunnels.

use std::collections::HashMap;

use ovs_netlink::ovs::{Command, Vport, VportType};
use ovs_netlink::route::{LinkKind, NewLink};
use ovs_netlink::{Flags, GenericHeader, SocketError};

use super::datapath::{Datapath, errno, failed, ifname};
use crate::action::PortNo;
use crate::dpif::{DpifError, PortChange, PortInfo, PortSpec, TunnelPort};
use crate::netdev::{NetdevError, NetdevStats};

/// Far more ports than a datapath has.
const MAX_PORTS: usize = 1 << 16;

/// Kinds of interfaces that are tunnels, by the names that users know the ports by.
const TUNNELS: [(&str, &str); 9] = [
    ("vxlan", "vxlan"),
    ("geneve", "geneve"),
    ("gretap", "gre"),
    ("gre", "gre"),
    ("ip6gretap", "ip6gre"),
    ("ip6gre", "ip6gre"),
    ("erspan", "erspan"),
    ("ip6erspan", "ip6erspan"),
    ("bareudp", "bareudp"),
];

impl TunnelPort {
    /// The kind of interface that it is in the kernel, if there is one.
    fn link(self) -> Option<LinkKind<'static>> {
        Some(match self {
            TunnelPort::Vxlan { port, gbp, gpe } => LinkKind::Vxlan { port, gbp, gpe },
            TunnelPort::Geneve { port } => LinkKind::Geneve { port },
            TunnelPort::Gre => LinkKind::GreTap,
            TunnelPort::GreL3 => LinkKind::Gre,
            TunnelPort::Ip6Gre => LinkKind::Ip6GreTap,
            TunnelPort::Erspan => LinkKind::Erspan,
            TunnelPort::Ip6Erspan => LinkKind::Ip6Erspan,
            TunnelPort::Bareudp { port, eth_type, multiproto } => {
                LinkKind::Bareudp { port, ethertype: eth_type, multiproto }
            }
            TunnelPort::Gtpu { .. } | TunnelPort::Srv6 => return None,
        })
    }
}

/// The largest MTU that a tunnel is given, so that it refuses nothing.
const TUNNEL_MTU: u32 = 65_000;

impl Datapath {
    fn vport(&self, command: Command, vport: &Vport) -> Result<Vport, SocketError> {
        let mut request = Vec::new();
        vport.encode(&mut request, self.families.vport.id, command, Flags::REQUEST | Flags::ECHO)?;
        self.socket.borrow_mut().transact_one(&mut request, Vport::decode)
    }

    pub(super) fn vports(&self) -> Result<Vec<Vport>, DpifError> {
        let mut request = Vec::new();
        let all = Vport { dp_ifindex: self.dp_ifindex, ..Vport::default() };
        let encoded = all.encode(&mut request, self.families.vport.id, Command::Get, Flags::REQUEST);
        encoded.map_err(|e| failed("ports")(e.into()))?;
        let ports = self.socket.borrow_mut().dump(&mut request, MAX_PORTS, Vport::decode).map_err(failed("ports"))?;
        Ok(ports.into_iter().filter(|port| port.dp_ifindex == self.dp_ifindex).collect())
    }

    /// Tells a port where its upcalls go.
    pub(super) fn point_port(&self, port: u32) -> Result<(), DpifError> {
        let upcall_pids = Some(self.port_pids.clone());
        let change = Vport { dp_ifindex: self.dp_ifindex, port_no: Some(port), upcall_pids, ..Vport::default() };
        self.vport(Command::Set, &change).map(drop).map_err(failed("upcall sockets"))
    }

    pub(super) fn add_port(&mut self, spec: PortSpec, wanted: Option<PortNo>) -> Result<PortNo, DpifError> {
        let (name, ty, tunnel) = match spec {
            PortSpec::Device(_) => return Err(DpifError::Unsupported("ports of this process")),
            PortSpec::Interface(name) => (name, VportType::NETDEV, None),
            PortSpec::Internal(name) => (name, VportType::INTERNAL, None),
            PortSpec::Tunnel { name, kind } => (name, VportType::NETDEV, Some(kind)),
        };
        let made = match tunnel {
            Some(kind) => self.make_interface(&name, kind)?,
            None => false,
        };
        let nobody = [0];
        let pids = if self.port_pids.is_empty() { &nobody[..] } else { &self.port_pids };
        let new = Vport {
            dp_ifindex: self.dp_ifindex,
            port_no: wanted.map(|port| port.0),
            ty: Some(ty),
            name: Some(ifname(&name)?),
            upcall_pids: Some(pids.to_vec()),
            ..Vport::default()
        };
        match self.vport(Command::New, &new) {
            Ok(port) => {
                let port = PortNo(port.port_no.unwrap_or(0));
                if made {
                    self.made.insert(port, name);
                }
                Ok(port)
            }
            Err(error) => {
                if made {
                    self.remove_interface(&name);
                }
                Err(self.why_no_port(&name, wanted, error))
            }
        }
    }

    /// The kernel has one number for several reasons: the ports tell which it is.
    fn why_no_port(&self, name: &str, wanted: Option<PortNo>, error: SocketError) -> DpifError {
        let name = name.to_string();
        match error.errno() {
            Some(errno::ENODEV) => NetdevError::NoSuchInterface { name }.into(),
            Some(errno::EBUSY | errno::EEXIST) => {
                let ports = self.list_ports().unwrap_or_default();
                if ports.iter().any(|port| port.name == name) {
                    return DpifError::PortExists(name);
                }
                match wanted.filter(|wanted| ports.iter().any(|port| port.port == *wanted)) {
                    Some(wanted) => DpifError::PortNumberTaken(wanted),
                    None => NetdevError::Busy { name, by: "another datapath, or a bridge".into() }.into(),
                }
            }
            _ => failed("port")(error),
        }
    }

    /// Makes the interface of a tunnel; false if there is one of its name and kind already.
    fn make_interface(&mut self, name: &str, kind: TunnelPort) -> Result<bool, DpifError> {
        let route = self.route.get_mut().as_mut().ok_or(DpifError::Unsupported("tunnels without rtnetlink"))?;
        let link = kind.link().ok_or(DpifError::Unsupported("tunnels of this kind"))?;
        let new = NewLink { mtu: Some(TUNNEL_MTU), up: true, ..NewLink::new(name, link) };
        let made = route.add_link(&new).or_else(|error| match error.errno() {
            // Some kinds let nobody choose so large an MTU.
            Some(errno::EINVAL) => route.add_link(&NewLink { mtu: None, ..new.clone() }),
            _ => Err(error),
        });
        match made {
            Ok(()) => Ok(true),
            Err(error) if error.errno() == Some(errno::EEXIST) => Ok(false),
            Err(error) => Err(failed("tunnel")(error)),
        }
    }

    pub(super) fn remove_interface(&mut self, name: &str) {
        let Some(route) = self.route.get_mut() else { return };
        let removed = route.link(name).and_then(|link| route.delete_link(link.index));
        if let Err(error) = removed {
            tracing::warn!(%error, name, "an interface was not removed");
        }
    }

    pub(super) fn delete_port(&mut self, port: PortNo) -> Result<(), DpifError> {
        // Interfaces of these names are made for datapaths, by whichever program.
        let is_made = |known: &PortInfo| {
            known.port == port && known.name.contains("_sys") && TUNNELS.iter().any(|(_, kind)| *kind == known.kind)
        };
        let made = self.list_ports()?.into_iter().find(is_made).map(|known| known.name);
        let asked = Vport { dp_ifindex: self.dp_ifindex, port_no: Some(port.0), ..Vport::default() };
        self.vport(Command::Delete, &asked).map_err(|error| match error.errno() {
            Some(errno::ENODEV) => DpifError::NoSuchPort(port),
            _ => failed("port")(error),
        })?;
        if let Some(name) = self.made.remove(&port).or(made) {
            self.remove_interface(&name);
        }
        Ok(())
    }

    pub(super) fn list_ports(&self) -> Result<Vec<PortInfo>, DpifError> {
        let mut ports = self.vports()?;
        ports.sort_by_key(|port| port.port_no);
        let mut route = self.route.borrow_mut();
        // Which of the interfaces are tunnels only they themselves tell.
        let links = route.as_mut().map(|route| route.links().unwrap_or_default()).unwrap_or_default();
        let kinds: HashMap<String, String> = links.into_iter().map(|link| (link.name, link.kind)).collect();
        let info = |port: Vport| {
            let name = port.name.map(|name| name.to_string()).unwrap_or_default();
            let kind = match port.ty {
                Some(VportType::INTERNAL) => "internal",
                Some(VportType::VXLAN) => "vxlan",
                Some(VportType::GENEVE) => "geneve",
                Some(VportType::GRE) => "gre",
                _ => {
                    let tunnel = TUNNELS.iter().find(|(link, _)| kinds.get(&name).is_some_and(|kind| kind == link));
                    tunnel.map_or("system", |(_, kind)| kind)
                }
            };
            let stats = port.stats.unwrap_or_default();
            let stats = NetdevStats {
                rx_packets: stats.rx_packets,
                rx_bytes: stats.rx_bytes,
                rx_dropped: stats.rx_dropped,
                tx_packets: stats.tx_packets,
                tx_bytes: stats.tx_bytes,
                tx_dropped: stats.tx_dropped,
                rx_errors: stats.rx_errors,
                tx_errors: stats.tx_errors,
            };
            PortInfo { port: PortNo(port.port_no.unwrap_or(0)), name, kind, stats, custom_stats: Vec::new() }
        };
        Ok(ports.into_iter().map(info).collect())
    }

    /// What others did with our ports. Changes of our own are told too.
    pub(super) fn changes(&mut self) -> Vec<PortChange> {
        let mut changes = Vec::new();
        let Some(events) = &mut self.events else { return changes };
        let (family, dp_ifindex) = (self.families.vport.id, self.dp_ifindex);
        let taken = events.drain(MAX_PORTS, |message| {
            let read = || Some((GenericHeader::decode(&message).ok()?, Vport::decode(&message).ok()?));
            let Some((header, vport)) = (message.header.kind == family).then(read).flatten() else { return };
            let Some(port) = vport.port_no.filter(|_| vport.dp_ifindex == dp_ifindex).map(PortNo) else { return };
            changes.push(match Command::from_number(header.command) {
                Some(Command::Delete) => PortChange::Removed(port),
                _ => PortChange::Changed(port),
            });
        });
        match taken {
            Ok(taken) if taken.overruns == 0 => {}
            Ok(_) => changes = vec![PortChange::Lost],
            Err(error) => tracing::warn!(%error, "changes of ports"),
        }
        changes
    }
}

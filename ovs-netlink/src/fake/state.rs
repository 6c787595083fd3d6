//! What the kernel in this process keeps.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::{Fault, Output, send};
use crate::generic::{Family, MulticastGroup};
use crate::ovs::{CtLimits, Datapath, Flow, FlowStats, Meter, Packet, Vport, ZoneLimit};

/// A datapath and all that is in it.
#[derive(Debug)]
pub(super) struct DatapathState {
    pub(super) datapath: Datapath,
    pub(super) ports: BTreeMap<u32, Vport>,
    pub(super) flows: Vec<FlowState>,
    pub(super) meters: BTreeMap<u32, Meter>,
}

/// A flow: its attributes as bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct FlowState {
    pub(super) key: Vec<u8>,
    pub(super) mask: Option<Vec<u8>>,
    pub(super) actions: Vec<u8>,
    pub(super) ufid: Option<Vec<u8>>,
    pub(super) stats: FlowStats,
}

#[derive(Debug)]
struct SocketState {
    fd: Arc<OwnedFd>,
    groups: Vec<u32>,
    /// A datagram was lost, and the socket does not know yet.
    lost: bool,
}

/// The families that the module registers, in the order of their numbers.
const FAMILIES: [(&str, u8); 6] = [
    (Datapath::FAMILY, Datapath::VERSION),
    (Vport::FAMILY, Vport::VERSION),
    (Flow::FAMILY, Flow::VERSION),
    (Packet::FAMILY, Packet::VERSION),
    (Meter::FAMILY, Meter::VERSION),
    (CtLimits::FAMILY, CtLimits::VERSION),
];

/// The number of the first family, the first time.
const FIRST_FAMILY: u16 = 0x20;

#[derive(Debug)]
pub(super) struct State {
    pub(super) datapaths: BTreeMap<u32, DatapathState>,
    pub(super) limits: Vec<ZoneLimit>,
    pub(super) faults: Vec<Fault>,
    pub(super) outputs: Vec<Output>,
    /// Nothing while the module is not loaded.
    pub(super) first_family: Option<u16>,
    loads: u16,
    sockets: BTreeMap<u32, SocketState>,
    next_port: u32,
    next_ifindex: u32,
    cpus: Vec<usize>,
    next_cpu: usize,
}

impl Default for State {
    fn default() -> State {
        let mut state = State {
            datapaths: BTreeMap::new(),
            limits: Vec::new(),
            faults: Vec::new(),
            outputs: Vec::new(),
            first_family: None,
            loads: 0,
            sockets: BTreeMap::new(),
            next_port: 1000,
            next_ifindex: 10,
            cpus: vec![0],
            next_cpu: 0,
        };
        state.load();
        state
    }
}

impl State {
    pub(super) fn load(&mut self) {
        self.first_family = Some(FIRST_FAMILY.saturating_add(self.loads.saturating_mul(8)));
        self.loads = self.loads.saturating_add(1);
    }

    pub(super) fn unload(&mut self) {
        self.first_family = None;
        self.datapaths.clear();
        self.limits.clear();
    }

    /// The families that are registered.
    pub(super) fn families(&self) -> impl Iterator<Item = Family> + use<> {
        let numbers = self.first_family.into_iter().flat_map(|first| first..);
        numbers.zip(FAMILIES).map(|(id, (name, version))| Family {
            id,
            name: name.to_owned(),
            version: version.into(),
            header_size: 4,
            max_attribute: 16,
            groups: vec![MulticastGroup { name: name.to_owned(), id: id.into() }],
        })
    }

    /// The name of the family of this number.
    pub(super) fn family(&self, id: u16) -> Option<&'static str> {
        let place = id.checked_sub(self.first_family?)?;
        FAMILIES.get(usize::from(place)).map(|(name, _)| *name)
    }

    /// The number of the family of this name.
    pub(super) fn family_id(&self, name: &str) -> u16 {
        self.families().find(|family| family.name == name).map_or(0, |family| family.id)
    }

    /// Whether a fault is to happen now; then it is over.
    pub(super) fn happens(&mut self, which: impl Fn(Fault) -> bool) -> bool {
        self.fault(|fault| which(fault).then_some(())).is_some()
    }

    pub(super) fn fault<T>(&mut self, which: impl Fn(Fault) -> Option<T>) -> Option<T> {
        let place = self.faults.iter().position(|fault| which(*fault).is_some())?;
        which(self.faults.remove(place))
    }

    pub(super) fn new_ifindex(&mut self) -> u32 {
        self.next_ifindex = self.next_ifindex.saturating_add(1);
        self.next_ifindex
    }

    pub(super) fn set_cpus(&mut self, cpus: &[usize]) {
        self.cpus = cpus.to_vec();
        self.next_cpu = 0;
    }

    /// The CPU of the next upcall.
    pub(super) fn cpu(&mut self) -> usize {
        let cpu = self.cpus.get(self.next_cpu).copied().unwrap_or(0);
        self.next_cpu = self.next_cpu.saturating_add(1).checked_rem(self.cpus.len()).unwrap_or(0);
        cpu
    }

    pub(super) fn add_socket(&mut self, fd: Arc<OwnedFd>) -> u32 {
        self.next_port = self.next_port.saturating_add(1);
        self.sockets.insert(self.next_port, SocketState { fd, groups: Vec::new(), lost: false });
        self.next_port
    }

    pub(super) fn remove_socket(&mut self, port: u32) {
        self.sockets.remove(&port);
    }

    pub(super) fn join(&mut self, port: u32, group: u32, member: bool) {
        if let Some(socket) = self.sockets.get_mut(&port) {
            socket.groups.retain(|joined| *joined != group);
            socket.groups.extend(member.then_some(group));
        }
    }

    /// Sends a datagram to a socket, unless it is to be lost. Says whether it was sent.
    pub(super) fn send(&mut self, port: u32, datagram: &[u8]) -> bool {
        let lose = self.fault(|fault| match fault {
            Fault::Overrun(count) => Some(count),
            _ => None,
        });
        let Some(socket) = self.sockets.get_mut(&port) else { return false };
        if let Some(count) = lose.filter(|count| *count > 0) {
            socket.lost = true;
            if let Some(left) = count.checked_sub(1).filter(|left| *left > 0) {
                self.faults.insert(0, Fault::Overrun(left));
            } else {
                // The socket learns it at once, as after the last that was lost.
                socket.lost = !send(&socket.fd, &[]);
            }
            return false;
        }
        if socket.lost {
            socket.lost = !send(&socket.fd, &[]);
        }
        let sent = !socket.lost && send(&socket.fd, datagram);
        socket.lost |= !sent;
        sent
    }

    /// Sends a datagram to all that joined a group, but for the one that caused it.
    pub(super) fn notify(&mut self, group: u32, cause: u32, datagram: &[u8]) {
        let listeners: Vec<u32> = self
            .sockets
            .iter()
            .filter(|(port, socket)| **port != cause && socket.groups.contains(&group))
            .map(|(port, _)| *port)
            .collect();
        for port in listeners {
            self.send(port, datagram);
        }
    }
}

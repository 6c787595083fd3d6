//! Against the real kernel module: see `ovs-test-kernel`.

mod datapath;
mod flows;
mod network;
mod packets;

use ovs_netlink::attr::Nest;
use ovs_netlink::ovs::{
    Command, Datapath, Flow, IfName, Key, KeyEthernet, KeyIpv4, KeyPorts, Packet, PacketCommand, UserFeatures, Vport,
    VportType,
};
use ovs_netlink::{EncodeError, Families, Flags, Protocol, Socket, SocketError, Writer};

#[test]
fn in_a_kernel() {
    ovs_test_kernel::run_ignored_tests();
}

struct Kernel {
    socket: Socket,
    families: Families,
}

impl Kernel {
    fn open() -> Kernel {
        let mut socket = Socket::open(Protocol::Generic).unwrap();
        let families = Families::resolve(&mut socket).unwrap();
        Kernel { socket, families }
    }

    fn datapath(&mut self, command: Command, datapath: &Datapath) -> Result<Datapath, SocketError> {
        let mut request = Vec::new();
        datapath.encode(&mut request, self.families.datapath.id, command, Flags::REQUEST | Flags::ECHO)?;
        self.socket.transact_one(&mut request, Datapath::decode)
    }

    fn vport(&mut self, command: Command, vport: &Vport) -> Result<Vport, SocketError> {
        let mut request = Vec::new();
        vport.encode(&mut request, self.families.vport.id, command, Flags::REQUEST | Flags::ECHO)?;
        self.socket.transact_one(&mut request, Vport::decode)
    }

    /// A datapath of this name, whose upcalls go to `pids`, one for each CPU.
    fn make(&mut self, text: &str, pids: &[u32]) -> u32 {
        let user_features = Some(UserFeatures::UNALIGNED | UserFeatures::DISPATCH_UPCALL_PER_CPU);
        let wanted = Datapath { name: name(text), upcall_pid: Some(0), user_features, ..Datapath::default() };
        let made = self.datapath(Command::New, &wanted).unwrap();
        let per_cpu_pids = Some(pids.to_vec());
        let change = Datapath { dp_ifindex: made.dp_ifindex, user_features, per_cpu_pids, ..Datapath::default() };
        self.datapath(Command::Set, &change).unwrap();
        made.dp_ifindex
    }

    fn internal(&mut self, dp_ifindex: u32, text: &str) -> u32 {
        let port = Vport {
            dp_ifindex,
            name: name(text),
            ty: Some(VportType::INTERNAL),
            upcall_pids: Some(vec![0]),
            ..Vport::default()
        };
        self.vport(Command::New, &port).unwrap().port_no.unwrap()
    }

    fn delete(&mut self, text: &str) {
        self.datapath(Command::Delete, &Datapath { name: name(text), ..Datapath::default() }).unwrap();
    }

    /// Has a datapath do something to the packet of UDP from port `src`, as if it came in by `port`.
    fn execute(&mut self, dp_ifindex: u32, port: u32, src: u16, actions: &[u8]) {
        let (key, frame) = (udp_key(port, src), udp_packet(src));
        let packet = Packet {
            dp_ifindex,
            packet: Some(&frame),
            key: Some(Nest::new(&key)),
            actions: Some(Nest::new(actions)),
            ..Packet::default()
        };
        let mut request = Vec::new();
        packet.encode(&mut request, self.families.packet.id, PacketCommand::Execute, Flags::REQUEST).unwrap();
        self.socket.transact(&mut request, |_| Ok(())).unwrap();
    }

    /// Puts one flow; gives what the kernel says.
    fn put(&mut self, flow: &Flow<'_>) -> Result<(), SocketError> {
        let mut request = Vec::new();
        flow.encode(&mut request, self.families.flow.id, Command::New, Flags::REQUEST | Flags::CREATE)?;
        self.socket.transact(&mut request, |_| Ok(()))
    }
}

fn name(text: &str) -> Option<IfName> {
    Some(text.parse().unwrap())
}

fn attributes(write: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>) -> Vec<u8> {
    let mut buffer = Vec::new();
    write(&mut Writer::new(&mut buffer)).unwrap();
    buffer
}

/// Whether this is the newer of the kernels that tests know; nothing outside.
fn is_new() -> Option<bool> {
    let kernel = ovs_test_kernel::inside();
    if kernel.is_none() {
        println!("not in a kernel for tests: skipped");
    }
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let major: u32 = release.split('.').next().unwrap().parse().unwrap();
    kernel.map(|_| major >= 7)
}

const MAC: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];

/// A packet of UDP from port `src`.
fn udp_packet(src: u16) -> Vec<u8> {
    let mut frame = [&MAC[1][..], &MAC[0], &[8, 0]].concat();
    frame.extend([0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 17, 0x26, 0xcf, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend(src.to_be_bytes());
    frame.extend([0, 9, 0, 8, 0, 0]);
    frame.resize(60, 0);
    frame
}

/// The key of that packet from port `port` of a datapath.
fn udp_key(port: u32, src: u16) -> Vec<u8> {
    attributes(|key| {
        let ipv4 = KeyIpv4 { src: [10, 0, 0, 1], dst: [10, 0, 0, 2], proto: 17, tos: 0, ttl: 64, frag: 0 };
        key.put(Key::RecircId(0))?.put(Key::DpHash(0))?.put(Key::Priority(0))?.put(Key::SkbMark(0))?;
        key.put(Key::CtState(0))?.put(Key::CtMark(0))?;
        key.put(Key::InPort(port))?.put(Key::Ethernet(KeyEthernet { src: MAC[0], dst: MAC[1] }))?;
        key.put(Key::Ethertype(0x0800))?.put(Key::Ipv4(ipv4))?;
        key.put(Key::Udp(KeyPorts { src, dst: 9 })).map(drop)
    })
}

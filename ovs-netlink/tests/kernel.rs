//! Against the real kernel module. Changes the network, so it runs only in a kernel made for tests, which says so by the
//! variable `IN_KERNEL`:
//!
//! ```text
//! run-in-kernel -- target/debug/deps/kernel-0123456789abcdef --nocapture
//! ```

use std::process::Command as Program;

use ovs_netlink::ovs::{Command, Datapath, IfName, UserFeatures, Vport, VportType};
use ovs_netlink::{Flags, GenericSocket, ReplyError, SocketError, probe_datapath};

struct Kernel {
    socket: GenericSocket,
    datapath: u16,
    vport: u16,
}

impl Kernel {
    fn datapath(&mut self, command: Command, datapath: &Datapath) -> Result<Datapath, SocketError> {
        let request = datapath.encode(self.datapath, command, Flags::REQUEST | Flags::ECHO)?;
        self.socket.transact_one(request, Datapath::decode)
    }

    fn vport(&mut self, command: Command, vport: &Vport) -> Result<Vport, SocketError> {
        let request = vport.encode(self.vport, command, Flags::REQUEST | Flags::ECHO)?;
        self.socket.transact_one(request, Vport::decode)
    }
}

fn name(text: &str) -> Option<IfName> {
    Some(text.parse().unwrap())
}

fn run(line: &str) {
    assert!(Program::new("sh").args(["-c", line]).status().unwrap().success(), "{line}");
}

#[test]
fn a_datapath_from_birth_to_death() {
    let Some(kernel) = std::env::var_os("IN_KERNEL") else {
        println!("not in a kernel for tests: skipped");
        return;
    };
    println!("in {kernel:?}");
    assert_eq!(probe_datapath().unwrap(), []);
    let mut socket = GenericSocket::open().unwrap();
    let family = socket.resolve_family(Datapath::FAMILY).unwrap();
    assert_eq!((family.version, family.header_size), (u32::from(Datapath::VERSION), 4));
    assert!(family.group("ovs_datapath").is_some());
    let vport_family = socket.resolve_family(Vport::FAMILY).unwrap();
    assert_eq!(vport_family.version, u32::from(Vport::VERSION));
    let mut kernel = Kernel { socket, datapath: family.id, vport: vport_family.id };

    // Birth. The upcalls of the local port go to our own socket.
    let pid = kernel.socket.port();
    let user_features = Some(UserFeatures::UNALIGNED | UserFeatures::VPORT_PIDS);
    let wanted = Datapath { name: name("dp0"), upcall_pid: Some(pid), user_features, ..Datapath::default() };
    let made = kernel.datapath(Command::New, &wanted).unwrap();
    assert_eq!((made.name, made.user_features), (name("dp0"), user_features));
    assert_ne!(made.dp_ifindex, 0);
    assert!(made.stats.is_some() && made.megaflow_stats.is_some());
    let again = kernel.datapath(Command::New, &wanted).unwrap_err();
    assert_eq!(again.errno(), Some(17), "EEXIST: {again}");

    // Two internal ports: one whose upcalls go nowhere, one with two sockets.
    let port = |text: &str, pids: &[u32]| Vport {
        dp_ifindex: made.dp_ifindex,
        name: name(text),
        ty: Some(VportType::INTERNAL),
        upcall_pids: Some(pids.to_vec()),
        ..Vport::default()
    };
    let one = kernel.vport(Command::New, &port("int1", &[0])).unwrap();
    let two = kernel.vport(Command::New, &Vport { port_no: Some(9), ..port("int2", &[pid, pid]) }).unwrap();
    assert_eq!((two.port_no, two.name, two.ty), (Some(9), name("int2"), Some(VportType::INTERNAL)));
    assert_eq!(two.upcall_pids, Some(vec![pid, pid]));
    assert!(one.ifindex.is_some_and(|ifindex| ifindex != 0) && one.netnsid.is_none());
    let refused = kernel.vport(Command::New, &Vport { ty: Some(VportType(99)), ..port("odd", &[0]) }).unwrap_err();
    assert!(matches!(refused, SocketError::Reply(ReplyError::Refused(_))), "{refused}");

    // All ports, in the kernel's order.
    let all = Vport { dp_ifindex: made.dp_ifindex, ..Vport::default() };
    let request = all.encode(kernel.vport, Command::Get, Flags::REQUEST).unwrap();
    let mut ports = kernel.socket.dump(request.clone(), 100, Vport::decode).unwrap();
    ports.sort_by_key(|port| port.port_no);
    let names: Vec<_> = ports.iter().map(|port| port.name).collect();
    assert_eq!(names, [name("dp0"), name("int1"), name("int2")]);
    assert!(matches!(kernel.socket.dump(request, 2, Vport::decode), Err(SocketError::TooManyParts(2))));

    // Packets that the machine sends through int1 find no flow. First there is no socket to ask, then there is one, then
    // one that nobody has. The statistics are those of the device: what the machine sends through it counts as sent.
    run("ip link set int1 up && ip addr add 10.9.9.1/24 broadcast 10.9.9.255 dev int1");
    let sender = std::net::UdpSocket::bind("10.9.9.1:0").unwrap();
    sender.set_broadcast(true).unwrap();
    let listener = GenericSocket::open().unwrap();
    let mut upcalls = Vec::new();
    for pid in [0, listener.port(), 0x7000_0000] {
        let port_no = one.port_no;
        let ask = Vport { dp_ifindex: made.dp_ifindex, port_no, upcall_pids: Some(vec![pid]), ..Vport::default() };
        assert_eq!(kernel.vport(Command::Set, &ask).unwrap().upcall_pids, ask.upcall_pids);
        for _ in 0..5 {
            sender.send_to(b"hello", "10.9.9.255:9").unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        let found = kernel.vport(Command::Get, &Vport { name: name("int1"), ..Vport::default() }).unwrap();
        println!("upcalls to {pid}: {:?} {:?}", found.stats.unwrap(), found.upcall_stats);
        assert!(found.stats.is_some_and(|stats| stats.tx_packets >= 5 && stats.tx_bytes >= 42 * stats.tx_packets));
        upcalls.extend(found.upcall_stats);
    }
    let datapath = kernel.datapath(Command::Get, &Datapath { name: name("dp0"), ..Datapath::default() }).unwrap();
    println!("{datapath:?}");
    let totals = datapath.stats.unwrap();
    assert!(totals.missed >= 15 && totals.hit == 0 && totals.flows == 0, "{totals:?}");
    assert!(totals.lost >= 10 && totals.missed >= totals.lost + 5, "{totals:?}");
    // Kernels before 6.3 do not count upcalls.
    if let [nobody, somebody, nowhere] = upcalls.as_slice() {
        assert!(somebody.success >= nobody.success + 5 && somebody.fail == nobody.fail);
        assert!(nowhere.fail >= somebody.fail + 5);
    }

    // Change, then death. A SET of a datapath answers like a NEW; features that are absent are switched off.
    let change =
        Datapath { dp_ifindex: made.dp_ifindex, user_features: Some(UserFeatures::UNALIGNED), ..Datapath::default() };
    let change = Datapath { masks_cache_size: made.masks_cache_size.map(|_| 512), ..change };
    let changed = kernel.datapath(Command::Set, &change).unwrap();
    assert_eq!(changed.user_features, Some(UserFeatures::UNALIGNED));
    assert_eq!(changed.masks_cache_size, made.masks_cache_size.map(|_| 512));
    let moved = Vport { dp_ifindex: made.dp_ifindex, port_no: Some(9), upcall_pids: Some(vec![7]), ..Vport::default() };
    assert_eq!(kernel.vport(Command::Set, &moved).unwrap().upcall_pids, Some(vec![7]));
    let gone = kernel.vport(Command::Delete, &moved).unwrap();
    assert_eq!(gone.name, name("int2"));
    let missing = kernel.vport(Command::Get, &Vport { name: name("int2"), ..Vport::default() }).unwrap_err();
    assert_eq!(missing.errno(), Some(19), "ENODEV: {missing}");
    kernel.datapath(Command::Delete, &Datapath { name: name("dp0"), ..Datapath::default() }).unwrap();
    assert_eq!(probe_datapath().unwrap(), []);
}

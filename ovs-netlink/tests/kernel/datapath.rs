//! Datapaths, ports, and what is told of them.

use ovs_netlink::attr::Nest;
use ovs_netlink::ovs::{Command, Datapath, Flow, UserFeatures, Vport, VportType};
use ovs_netlink::route::{Address, Event, Groups, Neighbour, Route};
use ovs_netlink::{Flags, Linux, Protocol, ReplyError, Socket, SocketError, probe_datapath};
use std::time::Duration;

use crate::{Kernel, MAC, is_new, name, udp_key};

#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn a_datapath_from_birth_to_death() {
    let Some(_) = is_new() else { return };
    assert_eq!(probe_datapath().unwrap(), []);
    let mut kernel = Kernel::open();
    let families = kernel.families.clone();
    let family = &families.datapath;
    assert_eq!((family.version, family.header_size), (u32::from(Datapath::VERSION), 4));
    assert!(family.group("ovs_datapath").is_some());
    assert_eq!(families.vport.version, u32::from(Vport::VERSION));

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
    // No kernel takes more sockets than it has CPUs.
    let pids = vec![pid; std::thread::available_parallelism().unwrap().get().min(2)];
    let two = kernel.vport(Command::New, &Vport { port_no: Some(9), ..port("int2", &pids) }).unwrap();
    assert_eq!((two.port_no, two.name, two.ty), (Some(9), name("int2"), Some(VportType::INTERNAL)));
    assert_eq!(two.upcall_pids, Some(pids));
    assert!(one.ifindex.is_some_and(|ifindex| ifindex != 0) && one.netnsid.is_none());
    let refused = kernel.vport(Command::New, &Vport { ty: Some(VportType(99)), ..port("odd", &[0]) }).unwrap_err();
    assert!(matches!(refused, SocketError::Reply(ReplyError::Refused(_))), "{refused}");

    // All ports, in the kernel's order.
    let all = Vport { dp_ifindex: made.dp_ifindex, ..Vport::default() };
    let mut request = Vec::new();
    all.encode(&mut request, kernel.families.vport.id, Command::Get, Flags::REQUEST).unwrap();
    let mut ports = kernel.socket.dump(&mut request, 100, Vport::decode).unwrap();
    ports.sort_by_key(|port| port.port_no);
    let names: Vec<_> = ports.iter().map(|port| port.name).collect();
    assert_eq!(names, [name("dp0"), name("int1"), name("int2")]);
    assert!(matches!(kernel.socket.dump(&mut request, 2, Vport::decode), Err(SocketError::TooManyParts(2))));

    // Packets that the machine sends through int1 find no flow. First there is no socket to ask, then there is one, then
    // one that nobody has. The statistics are those of the device: what the machine sends through it counts as sent.
    let mut route = Route::open(&Linux).unwrap();
    let device = route.link("int1").unwrap();
    assert_eq!(Some(device.index), one.ifindex);
    route.set_up(device.index, true).unwrap();
    route.add_address(Address { index: device.index, ip: "10.9.9.1".parse().unwrap(), prefix: 24 }).unwrap();
    let told = Neighbour {
        index: device.index,
        ip: "10.9.9.7".parse().unwrap(),
        address: Some(MAC[1]),
        valid: true,
        permanent: true,
    };
    route.set_neighbour(&told).unwrap();
    let sender = std::net::UdpSocket::bind("10.9.9.1:0").unwrap();
    let listener = Socket::open(Protocol::Generic).unwrap();
    let mut upcalls = Vec::new();
    for pid in [0, listener.port(), 0x7000_0000] {
        let port_no = one.port_no;
        let ask = Vport { dp_ifindex: made.dp_ifindex, port_no, upcall_pids: Some(vec![pid]), ..Vport::default() };
        assert_eq!(kernel.vport(Command::Set, &ask).unwrap().upcall_pids, ask.upcall_pids);
        for _ in 0..5 {
            sender.send_to(b"hello", "10.9.9.7:9").unwrap();
        }
        std::thread::sleep(Duration::from_millis(100));
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

#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn changes_are_told() {
    let Some(_) = is_new() else { return };
    let mut kernel = Kernel::open();
    let mut listener = Socket::open(Protocol::Generic).unwrap();
    for family in [&kernel.families.datapath, &kernel.families.vport, &kernel.families.flow] {
        listener.join(family.group(&family.name).unwrap()).unwrap();
    }
    let mut route = Route::open(&Linux).unwrap();
    route.listen(Groups::all()).unwrap();
    let dp_ifindex = kernel.make("dp6", &[0]);
    let port = kernel.internal(dp_ifindex, "ev1");
    let (key, empty) = (udp_key(port, 1), Vec::new());
    let flow = Flow { dp_ifindex, key: Some(Nest::new(&key)), actions: Some(Nest::new(&empty)), ..Flow::default() };
    kernel.put(&flow).unwrap();
    kernel.delete("dp6");
    let mut kinds = Vec::new();
    listener.drain(100, |message| kinds.push(message.header.kind)).unwrap();
    for family in [&kernel.families.datapath, &kernel.families.vport, &kernel.families.flow] {
        assert!(kinds.contains(&family.id), "{} in {kinds:?}", family.name);
    }
    let mut events = Vec::new();
    let drained = route.events(1000, |event| events.push(event)).unwrap();
    assert_eq!((drained.bad, drained.overruns), (0, 0));
    assert!(events.iter().any(|event| matches!(event, Event::Link(link) if link.name == "ev1")));
    assert!(events.iter().any(|event| matches!(event, Event::LinkGone(link) if link.name == "ev1")));
}

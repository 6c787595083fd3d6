//! Against the real kernel module: see `ovs-test-kernel`.

use std::time::Duration;

use ovs_netlink::attr::{Masked, Nest};
use ovs_netlink::nf::{ConnectionFilter, L4, TimeoutPolicy, TimeoutTcpAttr, Tuple};
use ovs_netlink::ovs::{
    Action, Band, Command, CtAttr, CtLimitCommand, CtLimits, Datapath, DecTtlAttr, Flow, IfName, Key, KeyEthernet,
    KeyIpv4, KeyPorts, MaskedKey, Meter, MeterCommand, NatAttr, Packet, PacketCommand, PsampleAttr, PushMpls, PushVlan,
    SampleAttr, TunnelKey, UfidFlags, UserFeatures, UserspaceAttr, Vport, VportType, ZoneLimit,
};
use ovs_netlink::route::{Address, Neighbour};
use ovs_netlink::route::{Event, Groups, LinkChange, LinkKind, NewLink, Qdisc, Route, RouteEntry, Rule};
use ovs_netlink::{
    Conntrack, EncodeError, Families, Flags, Linux, Protocol, ReplyError, Socket, SocketError, UpcallSocket, Writer,
    probe_datapath, psample,
};

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
fn flows_go_in_and_come_out_as_they_were() {
    let Some(new) = is_new() else { return };
    let mut kernel = Kernel::open();
    let dp_ifindex = kernel.make("dp1", &[0]);
    let port = kernel.internal(dp_ifindex, "fl1");
    let family = kernel.families.flow.id;

    // Every action that the kernel has, in one flow.
    let actions = attributes(|actions| {
        actions.put(Action::Hash(ovs_netlink::ovs::Hash { alg: 0, basis: 7 }))?;
        actions.nest(Action::SET_MASKED, |set| {
            let value = KeyIpv4 { ttl: 9, ..KeyIpv4::default() };
            let mask = KeyIpv4 { ttl: 255, ..KeyIpv4::default() };
            set.put(MaskedKey::Ipv4(Masked { value, mask })).map(drop)
        })?;
        actions.nest(Action::SET, |set| {
            set.nest(Key::TUNNEL, |tunnel| {
                tunnel.put(TunnelKey::Id(5))?.put(TunnelKey::Ipv4Dst([1, 2, 3, 4]))?.put(TunnelKey::Ttl(64))?;
                tunnel.put(TunnelKey::DontFragment).map(drop)
            })
            .map(drop)
        })?;
        actions.nest(Action::SAMPLE, |sample| {
            sample.put(SampleAttr::Probability(u32::MAX / 2))?;
            sample
                .nest(SampleAttr::ACTIONS, |inner| {
                    inner
                        .nest(Action::USERSPACE, |user| {
                            user.put(UserspaceAttr::Pid(4711))?.put(UserspaceAttr::Userdata(b"cookie"))?;
                            user.put(UserspaceAttr::Actions).map(drop)
                        })
                        .map(drop)
                })
                .map(drop)
        })?;
        actions.nest(Action::CLONE, |clone| {
            clone.put(Action::PushVlan(PushVlan { tpid: 0x8100, tci: 0x1005 }))?.put(Action::Trunc(100))?;
            clone.put(Action::Output(port))?.put(Action::PopVlan).map(drop)
        })?;
        actions.nest(Action::CT, |ct| {
            ct.put(CtAttr::Commit)?;
            if new {
                ct.put(CtAttr::Zone(7))?;
                ct.put(CtAttr::Labels(Masked { value: [1; 16], mask: [0xff; 16] }))?;
            }
            ct.put(CtAttr::Mark(Masked { value: 1, mask: 0xff }))?;
            ct.nest(CtAttr::NAT, |nat| {
                nat.put(NatAttr::Src)?.put(NatAttr::IpMin(&[10, 1, 0, 1]))?.put(NatAttr::IpMax(&[10, 1, 0, 9]))?;
                nat.put(NatAttr::ProtoMin(1000))?.put(NatAttr::ProtoMax(2000))?.put(NatAttr::ProtoRandom).map(drop)
            })
            .map(drop)
        })?;
        actions.put(Action::CtClear)?;
        actions.nest(Action::CHECK_PKT_LEN, |check| {
            use ovs_netlink::ovs::CheckPktLenAttr;
            check.put(CheckPktLenAttr::PktLen(1500))?;
            let output = |actions: &mut Writer<'_>| actions.put(Action::Output(port)).map(drop);
            check.nest(CheckPktLenAttr::ACTIONS_IF_GREATER, output)?;
            check.nest(CheckPktLenAttr::ACTIONS_IF_LESS_EQUAL, output).map(drop)
        })?;
        actions.nest(Action::DEC_TTL, |dec| {
            dec.nest(DecTtlAttr::ACTION, |inner| inner.put(Action::Output(port)).map(drop)).map(drop)
        })?;
        if new {
            actions.nest(Action::PSAMPLE, |sample| {
                sample.put(PsampleAttr::Group(3))?.put(PsampleAttr::Cookie(b"12345678")).map(drop)
            })?;
        }
        actions.put(Action::PushMpls(PushMpls { lse: 0x0010_0140, ethertype: 0x8847 }))?;
        actions.put(Action::PopMpls(0x0800))?.put(Action::Recirc(5)).map(drop)
    });
    let key = udp_key(port, 1000);
    let flow = Flow {
        dp_ifindex,
        key: Some(Nest::new(&key)),
        actions: Some(Nest::new(&actions)),
        ufid: Some(&[9; 16]),
        ..Flow::default()
    };
    kernel.put(&flow).unwrap();
    let again = kernel.socket.transact(
        &mut {
            let mut request = Vec::new();
            let flags = Flags::REQUEST | Flags::CREATE | Flags::EXCLUSIVE;
            flow.encode(&mut request, family, Command::New, flags).unwrap();
            request
        },
        |_| Ok(()),
    );
    assert_eq!(again.unwrap_err().errno(), Some(17), "EEXIST");
    if new {
        let drop = attributes(|actions| actions.put(Action::Drop(1)).map(drop));
        kernel
            .put(&Flow {
                actions: Some(Nest::new(&drop)),
                ufid: Some(&[8; 16]),
                key: Some(Nest::new(&udp_key(port, 7))),
                ..flow
            })
            .unwrap();
    }
    // What comes out says the same, attribute by attribute, but for their order and what the kernel adds.
    let mut request = Vec::new();
    Flow { dp_ifindex, ufid: Some(&[9; 16]), ..Flow::default() }
        .encode(&mut request, family, Command::Get, Flags::REQUEST)
        .unwrap();
    kernel
        .socket
        .transact(&mut request, |message| {
            let got = Flow::decode(message)?;
            assert_eq!(got.ufid, Some(&[9; 16][..]));
            let list = |nest: Nest<'_, Action<'_>>| {
                nest.iter().map(|action| format!("{:?}", action.unwrap())).collect::<Vec<_>>()
            };
            let (sent, read) = (list(Nest::new(&actions)), list(got.actions.unwrap()));
            assert_eq!(sent.len(), read.len());
            for (sent, read) in sent.iter().zip(&read) {
                // A tunnel comes out with the parts that have a value in an order of the kernel's.
                assert!(
                    sent == read || ["Set(", "Ct(", "CheckPktLen("].iter().any(|other| sent.starts_with(other)),
                    "{sent}\n{read}"
                );
            }
            for wanted in udp_keys_that_matter(port) {
                assert!(got.key.unwrap().iter().any(|key| key == Ok(wanted)), "{wanted:?} in {:?}", got.key);
            }
            assert!(got.mask.unwrap().iter().any(|key| key == Ok(Key::InPort(u32::MAX))));
            Ok(())
        })
        .unwrap();

    // A thousand flows in batches, terse dump, and away again.
    let mut requests = Vec::new();
    for number in 0..1000_u16 {
        let key = udp_key(port, 2000 + number);
        let output = attributes(|actions| actions.put(Action::Output(port)).map(drop));
        let mut ufid = [0; 16];
        ufid[..2].copy_from_slice(&number.to_be_bytes());
        let flow = Flow { key: Some(Nest::new(&key)), actions: Some(Nest::new(&output)), ufid: Some(&ufid), ..flow };
        flow.encode(&mut requests, family, Command::New, Flags::REQUEST | Flags::CREATE).unwrap();
    }
    // One of them is bad: its key has no Ethernet type.
    let bad = attributes(|key| key.put(Key::InPort(1)).map(drop));
    let one = Flow { key: Some(Nest::new(&bad)), ufid: Some(&[7; 16]), ..flow };
    one.encode(&mut requests, family, Command::New, Flags::REQUEST | Flags::CREATE).unwrap();
    let results = kernel.socket.batch(&mut requests, |_, _| Ok(())).unwrap();
    assert_eq!(results.len(), 1001);
    assert!(results[..1000].iter().all(Result::is_ok));
    assert!(matches!(&results[1000], Err(ReplyError::Refused(ack)) if ack.errno == 22), "{:?}", results[1000]);
    let terse = UfidFlags::OMIT_KEY | UfidFlags::OMIT_MASK | UfidFlags::OMIT_ACTIONS;
    let mut request = Vec::new();
    Flow { dp_ifindex, ufid_flags: Some(terse), ..Flow::default() }
        .encode(&mut request, family, Command::Get, Flags::REQUEST)
        .unwrap();
    let mut ufids = Vec::new();
    kernel
        .socket
        .dump_each(&mut request, |message| {
            let flow = Flow::decode(message)?;
            assert!(flow.key.is_none() && flow.mask.is_none() && flow.actions.is_none());
            ufids.push(flow.ufid.unwrap().to_vec());
            Ok(())
        })
        .unwrap();
    assert_eq!(ufids.len(), 1001 + usize::from(new));
    let mut requests = Vec::new();
    for ufid in &ufids {
        let gone = Flow { dp_ifindex, ufid: Some(ufid), ..Flow::default() };
        gone.encode(&mut requests, family, Command::Delete, Flags::REQUEST | Flags::ECHO).unwrap();
    }
    let mut told = 0;
    let results = kernel.socket.batch(&mut requests, |_, message| {
        told += 1;
        Flow::decode(message).map(drop)
    });
    assert!(results.unwrap().iter().all(Result::is_ok));
    assert_eq!(told, ufids.len());
    kernel.delete("dp1");
}

fn udp_keys_that_matter(port: u32) -> [Key<'static>; 3] {
    [Key::InPort(port), Key::Ethertype(0x0800), Key::Udp(KeyPorts { src: 1000, dst: 9 })]
}

#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn packets_are_executed_and_come_up() {
    let Some(new) = is_new() else { return };
    let mut kernel = Kernel::open();
    let family = kernel.families.packet.id;
    let cpus = std::thread::available_parallelism().unwrap().get();
    let mut sockets = UpcallSocket::open_many(&Linux, family, cpus).unwrap();
    let mut own = UpcallSocket::open(&Linux, family).unwrap();
    let pids: Vec<u32> = sockets.iter().map(UpcallSocket::port).collect();
    let dp_ifindex = kernel.make("dp2", &pids);
    let port = kernel.internal(dp_ifindex, "pk1");
    let key = udp_key(port, 1000);
    let frame = udp_packet(1000);

    // An action sends it up, with a cookie and the length that it had; recirculation makes it a miss.
    let actions = attributes(|actions| {
        actions.put(Action::Trunc(40))?;
        actions.nest(Action::USERSPACE, |user| {
            user.put(UserspaceAttr::Pid(pids[0]))?.put(UserspaceAttr::Userdata(b"cookie!!")).map(drop)
        })?;
        actions.put(Action::Recirc(33)).map(drop)
    });
    let packet = Packet {
        dp_ifindex,
        packet: Some(&frame),
        key: Some(Nest::new(&key)),
        actions: Some(Nest::new(&actions)),
        ..Packet::default()
    };
    let mut upcalls = Vec::new();
    for upcall_pid in [None, Some(own.port())] {
        let mut request = Vec::new();
        let packet = Packet { upcall_pid, ..packet };
        packet.encode(&mut request, family, PacketCommand::Execute, Flags::REQUEST).unwrap();
        kernel.socket.transact(&mut request, |_| Ok(())).unwrap();
        let mut found = Vec::new();
        for (number, socket) in sockets.iter_mut().chain([&mut own]).enumerate() {
            let drained = socket.drain(100, |upcall| {
                let packet = upcall.packet;
                let recirc = packet.key.unwrap().iter().find_map(|key| match key.unwrap() {
                    Key::RecircId(id) => Some(id),
                    _ => None,
                });
                let length = packet.packet.unwrap().len();
                found.push((
                    upcall.command,
                    number < cpus,
                    recirc,
                    packet.userdata.map(<[u8]>::to_vec),
                    length,
                    packet.len,
                ));
            });
            let drained = drained.unwrap();
            assert_eq!((drained.overruns, drained.bad), (0, 0));
        }
        upcalls.push(found);
    }
    let action = |shared| (PacketCommand::Action, shared, Some(0), Some(b"cookie!!".to_vec()), 40, Some(60));
    for (shared, found) in [true, !new].into_iter().zip(&upcalls) {
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.contains(&action(shared)), "{found:?}");
        assert!(
            found.iter().any(|upcall| upcall.0 == PacketCommand::Miss && upcall.1 == shared && upcall.2 == Some(33))
        );
    }

    // A packet without a key, and one without actions.
    for packet in [Packet { key: None, ..packet }, Packet { actions: None, ..packet }] {
        let mut request = Vec::new();
        packet.encode(&mut request, family, PacketCommand::Execute, Flags::REQUEST).unwrap();
        assert_eq!(kernel.socket.transact(&mut request, |_| Ok(())).unwrap_err().errno(), Some(22));
    }

    // A flood: what does not fit is counted, and the socket works again afterwards.
    let mut requests = Vec::new();
    for _ in 0..2000 {
        packet.encode(&mut requests, family, PacketCommand::Execute, Flags::REQUEST).unwrap();
    }
    let results = kernel.socket.batch(&mut requests, |_, _| Ok(())).unwrap();
    assert_eq!(results.len(), 2000);
    let (mut got, mut overruns) = (0, 0);
    for socket in &mut sockets {
        let drained = socket.drain(10_000, |_| ()).unwrap();
        (got, overruns) = (got + drained.messages, overruns + drained.overruns);
    }
    println!("{got} upcalls of 4000, {overruns} overruns");
    assert!(got == 4000 || overruns > 0);
    kernel.delete("dp2");
}

#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn samples_reach_those_who_listen() {
    let Some(true) = is_new() else { return };
    let mut kernel = Kernel::open();
    let dp_ifindex = kernel.make("dp3", &[0]);
    let port = kernel.internal(dp_ifindex, "sm1");
    let listener = kernel.socket.resolve_family(psample::FAMILY).unwrap();
    let mut socket = Socket::open(Protocol::Generic).unwrap();
    socket.join(listener.group(psample::GROUP).unwrap()).unwrap();
    let actions = attributes(|actions| {
        actions.nest(Action::PSAMPLE, |sample| {
            sample.put(PsampleAttr::Group(3))?.put(PsampleAttr::Cookie(b"abcd")).map(drop)
        })?;
        Ok(())
    });
    let (key, frame) = (udp_key(port, 1), udp_packet(1));
    let packet = Packet {
        dp_ifindex,
        packet: Some(&frame),
        key: Some(Nest::new(&key)),
        actions: Some(Nest::new(&actions)),
        ..Packet::default()
    };
    let mut request = Vec::new();
    packet.encode(&mut request, kernel.families.packet.id, PacketCommand::Execute, Flags::REQUEST).unwrap();
    kernel.socket.transact(&mut request, |_| Ok(())).unwrap();
    let mut samples = 0;
    socket
        .drain(10, |message| {
            let sample = psample::Sample::decode(&message).unwrap();
            assert_eq!((sample.group, sample.cookie, sample.data), (3, Some(&b"abcd"[..]), Some(&frame[..])));
            samples += 1;
        })
        .unwrap();
    assert_eq!(samples, 1);
    kernel.delete("dp3");
}

#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn meters_and_limits() {
    let Some(new) = is_new() else { return };
    let mut kernel = Kernel::open();
    let dp_ifindex = kernel.make("dp4", &[0]);
    let family = kernel.families.meter.clone().unwrap().id;
    let mut meter = |command, meter: Meter| {
        let mut request = Vec::new();
        let flags = Flags::REQUEST | Flags::ECHO;
        Meter { dp_ifindex, ..meter }.encode(&mut request, family, command, flags).unwrap();
        kernel.socket.transact_one(&mut request, Meter::decode)
    };
    let features = meter(MeterCommand::Features, Meter::default()).unwrap();
    assert!(features.max_meters.is_some_and(|max| max > 0) && features.max_bands.is_some_and(|max| max >= 1));
    assert_eq!(features.bands[0].ty, Band::DROP);
    let band = Band { ty: Band::DROP, rate: 1000, burst: 100, stats: None };
    let wanted = Meter { id: Some(7), kbps: true, bands: vec![band], ..Meter::default() };
    meter(MeterCommand::Set, wanted.clone()).unwrap();
    let one = Meter { id: Some(7), ..Meter::default() };
    let got = meter(MeterCommand::Get, one.clone()).unwrap();
    assert_eq!((got.id, got.stats.map(|stats| stats.packets), got.bands.len()), (Some(7), Some(0), 1));
    meter(MeterCommand::Delete, one.clone()).unwrap();
    // A meter that is not there is answered with nothing, or with its number alone.
    assert!(meter(MeterCommand::Get, one).is_err_and(|error| error.errno() == Some(2)));
    let none = Meter { bands: Vec::new(), ..wanted };
    println!("a meter without bands: {:?}", meter(MeterCommand::Set, none));

    if new {
        let family = kernel.families.ct_limit.clone().unwrap().id;
        let mut limits = |command, zones: Vec<ZoneLimit>| {
            let mut request = Vec::new();
            CtLimits { dp_ifindex, zones }.encode(&mut request, family, command, Flags::REQUEST).unwrap();
            let mut answer = CtLimits::default();
            let result = kernel.socket.transact(&mut request, |message| {
                answer = CtLimits::decode(message)?;
                Ok(())
            });
            result.map(|()| answer.zones)
        };
        let limit = |zone, limit| ZoneLimit { zone, limit, count: 0 };
        limits(CtLimitCommand::Set, vec![limit(ZoneLimit::DEFAULT, 50), limit(7, 5)]).unwrap();
        let mut got = limits(CtLimitCommand::Get, vec![]).unwrap();
        got.sort_by_key(|limit| limit.zone);
        assert_eq!(got, [limit(ZoneLimit::DEFAULT, 50), limit(7, 5)]);
        assert_eq!(limits(CtLimitCommand::Get, vec![limit(9, 0)]).unwrap(), [limit(9, 50)]);
        limits(CtLimitCommand::Delete, vec![limit(7, 0)]).unwrap();
        assert_eq!(limits(CtLimitCommand::Get, vec![limit(7, 0)]).unwrap(), [limit(7, 50)]);
        limits(CtLimitCommand::Set, vec![limit(ZoneLimit::DEFAULT, 0)]).unwrap();
    }
    kernel.delete("dp4");
}

#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn connections_are_made_listed_and_forgotten() {
    let Some(new) = is_new() else { return };
    let mut kernel = Kernel::open();
    let dp_ifindex = kernel.make("dp5", &[0]);
    let port = kernel.internal(dp_ifindex, "ct1");
    let mut tracker = Conntrack::open(&Linux).unwrap();
    tracker.flush(&ConnectionFilter::default()).unwrap();
    let mut commit = |src: u16, zone: u16, mark: u32| {
        let actions = attributes(|actions| {
            actions.nest(Action::CT, |ct| {
                ct.put(CtAttr::Commit)?;
                if new {
                    ct.put(CtAttr::Zone(zone))?;
                }
                ct.put(CtAttr::Mark(Masked { value: mark, mask: u32::MAX })).map(drop)
            })?;
            Ok(())
        });
        let (key, frame) = (udp_key(port, src), udp_packet(src));
        let packet = Packet {
            dp_ifindex,
            packet: Some(&frame),
            key: Some(Nest::new(&key)),
            actions: Some(Nest::new(&actions)),
            ..Packet::default()
        };
        let mut request = Vec::new();
        packet.encode(&mut request, kernel.families.packet.id, PacketCommand::Execute, Flags::REQUEST).unwrap();
        kernel.socket.transact(&mut request, |_| Ok(())).unwrap();
    };
    (0..10).for_each(|number| commit(1000 + number, if number < 6 { 1 } else { 2 }, number.into()));
    let all = tracker.connections(&ConnectionFilter::default(), 1000).unwrap();
    assert_eq!(all.len(), 10, "{all:?}");
    let one = all.iter().find(|connection| connection.mark == 3).unwrap();
    assert_eq!(one.orig.l4, L4::Ports { src: 1003, dst: 9 });
    assert_eq!(one.reply.l4, L4::Ports { src: 9, dst: 1003 });
    assert!(one.id.is_some() && one.timeout.is_some_and(|seconds| seconds > 0));
    assert_eq!(tracker.table().unwrap().entries, 10);
    assert!(!tracker.cpu_stats().unwrap().is_empty());
    assert_eq!(tracker.expectations().unwrap(), []);
    // By tuple, by mark, by zone, and the rest.
    let zone = if new { 1 } else { 0 };
    tracker.delete(&Tuple { zone: None, ..one.orig }, zone).unwrap();
    assert_eq!(tracker.delete(&Tuple { zone: None, ..one.orig }, zone).unwrap_err().errno(), Some(2));
    let marked = ConnectionFilter { mark: Some((4, u32::MAX)), ..ConnectionFilter::default() };
    assert_eq!(tracker.flush(&marked).unwrap(), 1);
    let left = if new {
        let zone = ConnectionFilter { zone: Some(2), ..ConnectionFilter::default() };
        assert_eq!(tracker.flush(&zone).unwrap(), 4);
        assert!(tracker.connections(&ConnectionFilter::default(), 1000).unwrap().iter().all(|left| left.zone == 1));
        4
    } else {
        8
    };
    assert_eq!(tracker.flush(&ConnectionFilter::default()).unwrap(), left);
    assert_eq!(tracker.connections(&ConnectionFilter::default(), 1000).unwrap(), []);

    let policy = TimeoutPolicy {
        name: b"ovs_tp_0_tcp4".to_vec(),
        ethertype: TimeoutPolicy::IPV4,
        protocol: 6,
        seconds: vec![(TimeoutTcpAttr::ESTABLISHED, 99), (TimeoutTcpAttr::SYN_SENT, 11)],
        users: None,
    };
    match tracker.set_timeout_policy(&policy) {
        Err(error) if !new => println!("no timeout policies here: {error}"),
        result => {
            result.unwrap();
            let got = tracker.timeout_policy(&policy.name).unwrap();
            assert_eq!((got.ethertype, got.protocol, got.users), (TimeoutPolicy::IPV4, 6, Some(1)));
            assert!(policy.seconds.iter().all(|pair| got.seconds.contains(pair)), "{got:?}");
            assert_eq!(tracker.timeout_policies().unwrap().len(), 1);
            let defaults = tracker.default_timeouts(TimeoutPolicy::IPV4, 6).unwrap();
            assert!(defaults.seconds.iter().any(|(number, _)| *number == TimeoutTcpAttr::ESTABLISHED), "{defaults:?}");
            tracker.delete_timeout_policy(&policy.name).unwrap();
            assert_eq!(tracker.timeout_policy(&policy.name).unwrap_err().errno(), Some(2));
        }
    }
    kernel.delete("dp5");
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

#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn devices_of_all_kinds_and_ways_to_them() {
    let Some(new) = is_new() else { return };
    let mut route = Route::open(&Linux).unwrap();
    let mut kernel = Kernel::open();
    let dp_ifindex = kernel.make("dp7", &[0]);
    let tunnels = [
        ("vxlan_t", LinkKind::Vxlan { port: 4789, gbp: false, gpe: false }, "vxlan", true),
        ("vxlan_g", LinkKind::Vxlan { port: 4790, gbp: true, gpe: false }, "vxlan", true),
        ("vxlan_p", LinkKind::Vxlan { port: 4791, gbp: false, gpe: true }, "vxlan", true),
        ("geneve_t", LinkKind::Geneve { port: 6081 }, "geneve", true),
        ("gre_t", LinkKind::GreTap, "gretap", true),
        ("gre_l3", LinkKind::Gre, "gre", true),
        ("gre6_t", LinkKind::Ip6GreTap, "ip6gretap", true),
        ("erspan_t", LinkKind::Erspan, "erspan", true),
        ("erspan6_t", LinkKind::Ip6Erspan, "ip6erspan", true),
        ("bareudp_t", LinkKind::Bareudp { port: 6635, ethertype: 0x8847 }, "bareudp", new),
        ("gtp_t", LinkKind::Gtp, "gtp", new),
    ];
    for (device, kind, text, needed) in tunnels {
        match route.add_link(&NewLink {
            mtu: Some(65000).filter(|_| text == "vxlan"),
            up: true,
            ..NewLink::new(device, kind)
        }) {
            Err(error) if !needed => println!("{device}: {error}"),
            result => {
                result.unwrap_or_else(|error| panic!("{device}: {error}"));
                let link = route.link(device).unwrap();
                assert_eq!((link.kind.as_str(), link.up), (text, true), "{device}");
                // A datapath takes it as a port.
                let port = Vport {
                    dp_ifindex,
                    name: name(device),
                    ty: Some(VportType::NETDEV),
                    upcall_pids: Some(vec![0]),
                    ..Vport::default()
                };
                if text != "gtp" {
                    kernel.vport(Command::New, &port).unwrap_or_else(|error| panic!("{device}: {error}"));
                }
                route.delete_link(link.index).unwrap();
            }
        }
    }
    kernel.delete("dp7");

    // A pair with addresses, routes, rules, neighbours and queues.
    let pair = NewLink { address: Some(MAC[0]), ..NewLink::new("va", LinkKind::Veth { peer: "vb", namespace: None }) };
    route.add_link(&pair).unwrap();
    assert_eq!(route.add_link(&pair).unwrap_err().errno(), Some(17));
    let (a, b) = (route.link("va").unwrap(), route.link("vb").unwrap());
    assert_eq!((a.address, a.kind.as_str(), a.up, a.link), (Some(MAC[0]), "veth", false, Some(b.index)));
    route.set_up(a.index, true).unwrap();
    route.set_up(b.index, true).unwrap();
    route
        .change_link(a.index, LinkChange { mtu: Some(1400), name: Some("va1"), ..LinkChange::default() })
        .unwrap_or_else(|error| {
            // Older kernels do not rename what is up.
            println!("{error}");
            route.change_link(a.index, LinkChange { mtu: Some(1400), ..LinkChange::default() }).unwrap();
        });
    let changed = route.link_by_index(a.index).unwrap();
    assert!(changed.carrier && changed.mtu == 1400, "{changed:?}");
    assert!(route.links().unwrap().contains(&changed));
    let address = Address { index: a.index, ip: "10.5.0.1".parse().unwrap(), prefix: 24 };
    let v6 = Address { index: a.index, ip: "fd00::1".parse().unwrap(), prefix: 64 };
    for address in [address, v6] {
        route.add_address(address).unwrap();
        assert!(route.addresses().unwrap().contains(&address));
    }
    let way = RouteEntry {
        destination: "10.6.0.0".parse().unwrap(),
        prefix: 16,
        table: 254,
        gateway: Some("10.5.0.2".parse().unwrap()),
        index: Some(a.index),
        source: Some("10.5.0.1".parse().unwrap()),
        priority: 5,
        mark: None,
        local: false,
        protocol: 4,
    };
    route.set_route(&way).unwrap();
    let routes = route.routes().unwrap();
    assert!(routes.contains(&way), "{routes:?}");
    assert!(routes.iter().any(|route| route.local && route.destination == address.ip && route.table == 255));
    route.delete_route(&way).unwrap();
    assert_eq!(route.delete_route(&way).unwrap_err().errno(), Some(3));
    let rules = route.rules().unwrap();
    assert!(rules.iter().any(|rule| rule.table == Some(254) && rule.priority == 32766 && !rule.more), "{rules:?}");
    let rule = Rule {
        v6: false,
        priority: 100,
        table: Some(1000),
        source: Some(("10.7.0.0".parse().unwrap(), 16)),
        destination: None,
        inverted: true,
        input: Some("vb".to_owned()),
        output: None,
        mark: Some((1, 0xff)),
        more: false,
    };
    match route.add_rule(&rule) {
        Err(error) if !new => println!("no rules here: {error}"),
        result => {
            result.unwrap();
            assert!(route.rules().unwrap().contains(&rule), "{:?}", route.rules());
            route.delete_rule(&rule).unwrap();
        }
    }
    let told = Neighbour {
        index: a.index,
        ip: "10.5.0.2".parse().unwrap(),
        address: Some(MAC[1]),
        valid: true,
        permanent: true,
    };
    route.set_neighbour(&told).unwrap();
    assert!(route.neighbours().unwrap().contains(&told));
    route.delete_neighbour(&told).unwrap();
    let qdisc = Qdisc { index: a.index, kind: "ingress".to_owned(), handle: 0xffff_0000, parent: Qdisc::INGRESS };
    route.add_qdisc(&qdisc).unwrap();
    assert!(route.qdiscs().unwrap().contains(&qdisc), "{:?}", route.qdiscs());
    route.delete_qdisc(&qdisc).unwrap();
    route.delete_address(v6).unwrap();
    route.delete_link(a.index).unwrap();
    assert_eq!(route.link("vb").unwrap_err().errno(), Some(19));
}

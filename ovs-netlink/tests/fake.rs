//! What a real kernel does not show on demand, by the one in this process.

use std::os::fd::AsFd;

use ovs_netlink::attr::Nest;
use ovs_netlink::fake::{FakeKernel, Fault};
use ovs_netlink::ovs::{
    Action, Command, CtLimitCommand, CtLimits, Datapath, Flow, Key, Meter, MeterCommand, Packet, PacketCommand,
    UfidFlags, UserFeatures, UserspaceAttr, Vport, VportType, ZoneLimit,
};
use ovs_netlink::{
    Connect, EncodeError, Families, Flags, Protocol, ReplyError, Socket, SocketError, UpcallSocket, Writer,
};

struct Client {
    kernel: FakeKernel,
    socket: Socket,
    families: Families,
}

fn attributes(write: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>) -> Vec<u8> {
    let mut buffer = Vec::new();
    write(&mut Writer::new(&mut buffer)).unwrap();
    buffer
}

impl Client {
    fn new() -> Client {
        let kernel = FakeKernel::new();
        let mut socket = kernel.connect(Protocol::Generic).unwrap();
        let families = Families::resolve(&mut socket).unwrap();
        Client { kernel, socket, families }
    }

    fn datapath(&mut self, command: Command, datapath: &Datapath) -> Result<Datapath, SocketError> {
        let mut request = Vec::new();
        datapath.encode(&mut request, self.families.datapath.id, command, Flags::ECHO)?;
        self.socket.transact_one(&mut request, Datapath::decode)
    }

    fn make(&mut self, pids: Vec<u32>) -> u32 {
        let wanted = Datapath {
            name: Some("dp".parse().unwrap()),
            upcall_pid: Some(0),
            user_features: Some(UserFeatures::DISPATCH_UPCALL_PER_CPU),
            per_cpu_pids: Some(pids),
            ..Datapath::default()
        };
        self.datapath(Command::New, &wanted).unwrap().dp_ifindex
    }

    fn flows(&self, dp_ifindex: u32, count: u16) -> Vec<u8> {
        let mut requests = Vec::new();
        for number in 0..count {
            let key = attributes(|key| key.put(Key::InPort(1))?.put(Key::Ethertype(number)).map(drop));
            let actions = attributes(|actions| actions.put(Action::Output(2)).map(drop));
            let ufid = [number.to_be_bytes(); 8];
            let flow = Flow {
                dp_ifindex,
                key: Some(Nest::new(&key)),
                actions: Some(Nest::new(&actions)),
                ufid: Some(ufid.as_flattened()),
                ..Flow::default()
            };
            flow.encode(&mut requests, self.families.flow.id, Command::New, Flags::CREATE).unwrap();
        }
        requests
    }

    fn dump(&mut self, dp_ifindex: u32) -> Result<Vec<u16>, SocketError> {
        let mut request = Vec::new();
        let flow = Flow { dp_ifindex, ..Flow::default() };
        flow.encode(&mut request, self.families.flow.id, Command::Get, Flags::empty())?;
        self.socket
            .dump(&mut request, 1000, |message| {
                let flow = Flow::decode(message)?;
                Ok(flow.key.unwrap().iter().find_map(|key| match key {
                    Ok(Key::Ethertype(number)) => Some(number),
                    _ => None,
                }))
            })
            .map(|numbers| numbers.into_iter().flatten().collect())
    }
}

#[test]
fn the_families_work_as_the_kernels_do() {
    let mut client = Client::new();
    let mut listener = client.kernel.connect(Protocol::Generic).unwrap();
    listener.join(client.families.vport.group(Vport::FAMILY).unwrap()).unwrap();
    // Its join is known when it has been answered.
    listener.resolve_family("nlctrl").unwrap();
    let dp_ifindex = client.make(vec![0]);
    let again = client.datapath(
        Command::New,
        &Datapath { name: Some("dp".parse().unwrap()), upcall_pid: Some(0), ..Datapath::default() },
    );
    assert_eq!(again.unwrap_err().errno(), Some(17));
    let port = Vport {
        dp_ifindex,
        name: Some("p1".parse().unwrap()),
        ty: Some(VportType::INTERNAL),
        upcall_pids: Some(vec![0]),
        ..Vport::default()
    };
    let mut request = Vec::new();
    port.encode(&mut request, client.families.vport.id, Command::New, Flags::ECHO).unwrap();
    let made = client.socket.transact_one(&mut request, Vport::decode).unwrap();
    assert_eq!((made.port_no, made.name), (Some(1), port.name));
    let mut told = Vec::new();
    listener.drain(10, |message| told.push(Vport::decode(&message).unwrap().name)).unwrap();
    assert_eq!(told, [port.name]);

    let mut requests = client.flows(dp_ifindex, 100);
    assert!(client.socket.batch(&mut requests, |_, _| Ok(())).unwrap().iter().all(Result::is_ok));
    assert_eq!(client.dump(dp_ifindex).unwrap(), (0..100).collect::<Vec<_>>());
    let key = attributes(|key| key.put(Key::InPort(1))?.put(Key::Ethertype(5)).map(drop));
    assert!(client.kernel.receive(dp_ifindex, &key, b"packet") && !client.kernel.receive(99, &key, b""));
    let outputs = client.kernel.take_outputs();
    assert_eq!((outputs[0].port, outputs[0].packet.as_slice()), (2, &b"packet"[..]));
    let mut request = Vec::new();
    let terse = UfidFlags::OMIT_KEY | UfidFlags::OMIT_MASK | UfidFlags::OMIT_ACTIONS;
    let ufid = [5_u16.to_be_bytes(); 8];
    let one = Flow { dp_ifindex, ufid: Some(ufid.as_flattened()), ufid_flags: Some(terse), ..Flow::default() };
    one.encode(&mut request, client.families.flow.id, Command::Get, Flags::empty()).unwrap();
    client
        .socket
        .transact(&mut request, |message| {
            let flow = Flow::decode(message)?;
            assert_eq!((flow.stats.unwrap().packets, flow.stats.unwrap().bytes, flow.key), (1, 6, None));
            Ok(())
        })
        .unwrap();

    // A key of the wrong size is refused, as the kernel does.
    let bad = attributes(|key| key.bytes(Key::IPV4, &[0; 11]).map(drop));
    let mut request = Vec::new();
    let flow = Flow { dp_ifindex, key: Some(Nest::new(&bad)), actions: Some(Nest::new(&[])), ..Flow::default() };
    flow.encode(&mut request, client.families.flow.id, Command::New, Flags::CREATE).unwrap();
    assert_eq!(client.socket.transact(&mut request, |_| Ok(())).unwrap_err().errno(), Some(22));

    let mut request = Vec::new();
    let meter = Meter { dp_ifindex, id: Some(3), ..Meter::default() };
    meter.encode(&mut request, client.families.meter.clone().unwrap().id, MeterCommand::Set, Flags::empty()).unwrap();
    assert_eq!(client.socket.transact_one(&mut request, Meter::decode).unwrap().id, Some(3));
    let limits = CtLimits { dp_ifindex, zones: vec![ZoneLimit { zone: 7, limit: 9, count: 0 }] };
    let family = client.families.ct_limit.clone().unwrap().id;
    let mut request = Vec::new();
    limits.encode(&mut request, family, CtLimitCommand::Set, Flags::empty()).unwrap();
    client.socket.transact(&mut request, |_| Ok(())).unwrap();
    let mut request = Vec::new();
    limits.encode(&mut request, family, CtLimitCommand::Get, Flags::empty()).unwrap();
    assert_eq!(client.socket.transact_one(&mut request, CtLimits::decode).unwrap(), limits);
}

#[test]
fn a_dump_that_fails_begins_anew_or_says_so() {
    let mut client = Client::new();
    let dp_ifindex = client.make(vec![0]);
    let mut requests = client.flows(dp_ifindex, 40);
    client.socket.batch(&mut requests, |_, _| Ok(())).unwrap();
    let all: Vec<u16> = (0..40).collect();
    for fault in [Fault::InterruptedDump, Fault::Overrun(2), Fault::UnknownAttribute] {
        client.kernel.inject(fault);
        assert_eq!(client.dump(dp_ifindex).unwrap(), all, "{fault:?}");
        assert_eq!(client.kernel.faults(), [], "{fault:?}");
    }
    // Interrupted again and again.
    (0..=Socket::RETRIES).for_each(|_| client.kernel.inject(Fault::InterruptedDump));
    let error = client.dump(dp_ifindex).unwrap_err();
    assert!(matches!(error, SocketError::Reply(ReplyError::Interrupted)), "{error}");
    // Cut off in the middle of a message: what is wrong and where, and the next is good.
    client.kernel.inject(Fault::CutDump);
    let error = client.dump(dp_ifindex).unwrap_err();
    assert!(matches!(error, SocketError::Reply(ReplyError::Decode(_))), "{error}");
    assert_eq!(client.dump(dp_ifindex).unwrap(), all);
    // Answers that belong to no request are not taken for answers.
    client.kernel.inject(Fault::WrongSequence);
    assert_eq!(client.dump(dp_ifindex).unwrap(), []);
}

#[test]
fn of_a_batch_what_is_lost_is_named() {
    let mut client = Client::new();
    let dp_ifindex = client.make(vec![0]);
    for fault in [Fault::Reorder, Fault::Duplicate] {
        client.kernel.inject(fault);
        let mut requests = client.flows(dp_ifindex, 100);
        assert!(client.socket.batch(&mut requests, |_, _| Ok(())).unwrap().iter().all(Result::is_ok));
        assert_eq!(client.kernel.faults(), []);
    }

    // Three answers are lost; all requests took effect.
    client.kernel.inject(Fault::Overrun(3));
    let mut requests = client.flows(dp_ifindex, 20);
    let results = client.socket.batch(&mut requests, |_, _| Ok(())).unwrap();
    let lost: Vec<usize> =
        results.iter().enumerate().filter(|(_, result)| **result == Err(ReplyError::Overrun)).map(|(n, _)| n).collect();
    assert_eq!(lost, [0, 1, 2]);
    assert!(results[3..].iter().all(Result::is_ok));
    assert_eq!(client.dump(dp_ifindex).unwrap().len(), 100);

    // One is refused; those behind it are not.
    client.kernel.inject(Fault::Refuse(12));
    let mut requests = client.flows(dp_ifindex, 3);
    let results = client.socket.batch(&mut requests, |_, _| Ok(())).unwrap();
    assert!(matches!(&results[0], Err(ReplyError::Refused(ack)) if ack.errno == 12));
    assert!(results[1].is_ok() && results[2].is_ok());
}

#[test]
fn a_request_whose_answer_is_lost_fails_and_the_next_does_not() {
    let mut client = Client::new();
    client.make(vec![0]);
    let one = Datapath { name: Some("dp".parse().unwrap()), ..Datapath::default() };
    client.kernel.inject(Fault::Overrun(1));
    let error = client.datapath(Command::Get, &one).unwrap_err();
    assert!(matches!(error, SocketError::Reply(ReplyError::Overrun)), "{error}");
    assert!(client.datapath(Command::Get, &one).is_ok());
    client.kernel.inject(Fault::NoAnswer);
    assert!(matches!(client.datapath(Command::Get, &one), Err(SocketError::NotOneAnswer(0))));
    client.kernel.inject(Fault::UnknownAttribute);
    assert!(client.datapath(Command::Get, &one).is_ok());
}

#[test]
fn a_family_that_vanishes_is_missed_and_found_again() {
    let mut client = Client::new();
    let dp_ifindex = client.make(vec![0]);
    client.kernel.unload();
    assert_eq!(client.dump(dp_ifindex).unwrap_err().errno(), Some(2));
    assert!(Families::resolve(&mut client.socket).is_err_and(|error| error.to_string().contains("ovs_datapath")));
    client.kernel.load();
    let families = Families::resolve(&mut client.socket).unwrap();
    assert_ne!(families.datapath.id, client.families.datapath.id);
    client.families = families;
    assert_eq!(client.dump(dp_ifindex).unwrap_err().errno(), Some(19), "the datapath is gone");
    client.make(vec![0]);
}

#[test]
fn upcalls_that_are_lost_are_counted() {
    let mut client = Client::new();
    let mut upcalls = UpcallSocket::open(&client.kernel, client.families.packet.id).unwrap();
    let dp_ifindex = client.make(vec![upcalls.port()]);
    let key = attributes(|key| key.put(Key::InPort(1)).map(drop));
    client.kernel.receive(dp_ifindex, &key, &[1]);
    client.kernel.inject(Fault::Overrun(2));
    (2..=4).for_each(|number| assert!(client.kernel.receive(dp_ifindex, &key, &[number])));
    let mut got = Vec::new();
    let drained = upcalls.drain(100, |upcall| got.push(upcall.packet.packet.unwrap()[0])).unwrap();
    assert_eq!((drained.messages, drained.overruns, drained.bad), (2, 1, 0));
    assert_eq!(got, [1, 4]);
    let one = Datapath { name: Some("dp".parse().unwrap()), ..Datapath::default() };
    let stats = client.datapath(Command::Get, &one).unwrap().stats.unwrap();
    assert_eq!((stats.missed, stats.lost), (4, 2));
    // Nobody reads: what does not fit any more is lost, and the reader learns it.
    (0..100_000).take_while(|_| client.kernel.receive(dp_ifindex, &key, &[0; 9000])).take(1000).for_each(drop);
    let drained = upcalls.drain(10_000, |_| ()).unwrap();
    client.kernel.receive(dp_ifindex, &key, &[5]);
    let after = upcalls.drain(10, |_| ()).unwrap();
    assert!(drained.messages < 1000 && after.overruns == 1, "{drained:?} {after:?}");
}

/// Ten packets of one flow miss on one CPU. Each is looked up again five times, and misses again every time; the thread
/// that says so runs on another CPU each time, and four handlers work at their own speed.
fn order(reply_to_the_same: bool) -> Vec<u8> {
    const PACKETS: u8 = 10;
    const ROUNDS: u32 = 5;
    let mut client = Client::new();
    let mut handlers = UpcallSocket::open_many(&client.kernel, client.families.packet.id, 4).unwrap();
    let pids: Vec<u32> = handlers.iter().map(UpcallSocket::port).collect();
    let dp_ifindex = client.make(pids);
    let key = attributes(|key| key.put(Key::RecircId(0))?.put(Key::InPort(1)).map(drop));
    (0..PACKETS).for_each(|number| assert!(client.kernel.receive(dp_ifindex, &key, &[number; 60])));
    client.kernel.set_cpus(&[2, 0, 3, 1]);
    loop {
        let mut idle = true;
        // The last handler is the quickest.
        for (number, most) in [(3, 5), (2, 4), (1, 3), (0, 2)] {
            let handler = &mut handlers[number];
            let upcall_pid = reply_to_the_same.then(|| handler.port());
            let mut requests = Vec::new();
            let family = client.families.packet.id;
            let drained = handler.drain(most, |upcall| {
                let round = upcall.packet.key.unwrap().iter().find_map(|key| match key.unwrap() {
                    Key::RecircId(id) => Some(id),
                    _ => None,
                });
                let round = round.unwrap();
                let next = if round == ROUNDS { Action::Output(2) } else { Action::Recirc(round + 1) };
                let actions = attributes(|actions| actions.put(next).map(drop));
                let order = Packet { actions: Some(Nest::new(&actions)), upcall_pid, ..upcall.packet };
                order.encode(&mut requests, family, PacketCommand::Execute, Flags::empty()).unwrap();
            });
            idle &= drained.unwrap().messages == 0;
            assert!(client.socket.batch(&mut requests, |_, _| Ok(())).unwrap().iter().all(Result::is_ok));
        }
        if idle {
            return client.kernel.take_outputs().iter().map(|output| output.packet[0]).collect();
        }
    }
}

#[test]
fn packets_keep_their_order_when_they_come_back_to_the_same_socket() {
    let sorted: Vec<u8> = (0..10).collect();
    assert_eq!(order(true), sorted);
    let mut mixed = order(false);
    assert_ne!(mixed, sorted, "the other handlers must show");
    mixed.sort_unstable();
    assert_eq!(mixed, sorted);
}

#[test]
fn an_upcall_carries_what_the_action_says() {
    let mut client = Client::new();
    let mut upcalls = UpcallSocket::open(&client.kernel, client.families.packet.id).unwrap();
    assert!(upcalls.as_fd().try_clone_to_owned().is_ok());
    let dp_ifindex = client.make(vec![upcalls.port()]);
    let actions = attributes(|actions| {
        actions.nest(Action::CLONE, |clone| {
            clone.nest(Action::SET, |set| set.put(Key::SkbMark(5)).map(drop))?;
            clone
                .nest(Action::USERSPACE, |user| {
                    user.put(UserspaceAttr::Pid(1))?
                        .put(UserspaceAttr::Userdata(b"abc"))?
                        .put(UserspaceAttr::Actions)
                        .map(drop)
                })
                .map(drop)
        })?;
        actions.put(Action::Recirc(9)).map(drop)
    });
    let key = attributes(|key| key.put(Key::InPort(1)).map(drop));
    let order = Packet {
        dp_ifindex,
        packet: Some(&[1; 60]),
        key: Some(Nest::new(&key)),
        actions: Some(Nest::new(&actions)),
        ..Packet::default()
    };
    let mut request = Vec::new();
    order.encode(&mut request, client.families.packet.id, PacketCommand::Execute, Flags::empty()).unwrap();
    client.socket.transact(&mut request, |_| Ok(())).unwrap();
    let mut seen = Vec::new();
    upcalls
        .drain(10, |upcall| {
            let has = |wanted| upcall.packet.key.unwrap().iter().any(|key| key == Ok(wanted));
            let userdata = upcall.packet.userdata.map(<[u8]>::to_vec);
            seen.push((
                upcall.command,
                has(Key::SkbMark(5)),
                has(Key::RecircId(9)),
                userdata,
                upcall.packet.actions.is_some(),
            ));
        })
        .unwrap();
    let expected = [
        (PacketCommand::Action, true, false, Some(b"abc".to_vec()), true),
        (PacketCommand::Miss, false, true, None, false),
    ];
    assert_eq!(seen, expected);
    // Without a packet there is nothing to do.
    let mut request = Vec::new();
    Packet { packet: None, ..order }
        .encode(&mut request, client.families.packet.id, PacketCommand::Execute, Flags::empty())
        .unwrap();
    assert_eq!(client.socket.transact(&mut request, |_| Ok(())).unwrap_err().errno(), Some(22));
}

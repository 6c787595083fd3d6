//! Packets that are executed, come up, and are sampled.

use ovs_netlink::attr::Nest;
use ovs_netlink::ovs::{Action, Key, Packet, PacketCommand, PsampleAttr, UserspaceAttr};
use ovs_netlink::{Flags, Linux, Protocol, Socket, UpcallSocket, psample};

use crate::{Kernel, attributes, is_new, udp_key, udp_packet};

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
    kernel.execute(dp_ifindex, port, 1, &actions);
    let (frame, mut samples) = (udp_packet(1), 0);
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

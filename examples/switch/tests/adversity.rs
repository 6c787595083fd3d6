//! `ovs-vswitchd` where the world around it goes wrong: its database goes away, its rows say what cannot be, its controllers
//! talk rubbish or do not listen. What goes wrong is told where its operator looks; the rest goes on forwarding.
//!
//! A machine without a stock database server and stock tools skips the tests, and says so.

mod common;

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use common::world::{World, in_folder, wait_until};

/// OpenFlow 1.3: a hello, and a request for an echo with nothing in it.
const HELLO: [u8; 8] = [4, 0, 0, 8, 0, 0, 0, 1];
const ECHO: [u8; 8] = [4, 2, 0, 8, 0, 0, 0, 7];

/// A bridge with two ports that sends from the first to the second.
fn forwarding() -> Option<World> {
    let world = World::new(&["--enable-dummy"])?;
    world.vsctl("add-br br0 -- set bridge br0 datapath_type=dummy fail_mode=secure");
    for (port, number) in [("p1", 1), ("p2", 2)] {
        world.vsctl(&format!("add-port br0 {port} -- set interface {port} type=dummy ofport_request={number}"));
    }
    world.ok("ovs-ofctl", &["add-flow", "br0", "in_port=1,actions=2"]);
    Some(world)
}

/// How many packets have left by a port, as the datapath counts them.
fn sent(world: &World, port: u8) -> u64 {
    let line = world.ok("ovs-ofctl", &["dump-ports", "br0", &port.to_string()]);
    let (_, tx) = line.split_once("tx pkts=").expect(&line);
    tx.split(',').next().unwrap().parse().unwrap()
}

fn assert_forwards(world: &World) {
    let before = sent(world, 2);
    world.appctl(&["netdev-dummy/receive", "p1", &"02".repeat(60)]);
    wait_until("a packet goes through", || sent(world, 2) == before + 1);
}

fn start_server(world: &mut World) {
    let socket = format!("--remote=punix:{}", world.folder.join("db.sock").display());
    let mut command = Command::new("ovsdb-server");
    command.arg(world.folder.join("conf.db")).arg(socket);
    world.server = in_folder(&mut command, &world.folder).spawn().unwrap();
}

#[test]
fn a_database_that_is_away_for_an_hour() {
    let Some(mut world) = forwarding() else { return };
    world.appctl(&["time/stop"]);
    world.server.kill().unwrap();
    world.server.wait().unwrap();
    std::fs::remove_file(world.folder.join("db.sock")).unwrap();
    assert_forwards(&world);
    world.appctl(&["time/warp", "3600000", "60000"]);
    assert_forwards(&world);
    world.ok("ovs-ofctl", &["add-flow", "br0", "in_port=2,actions=1"]);
    let log = world.log();
    assert!(log.contains("db.sock: "), "{log}");
    assert!(log.lines().filter(|l| l.contains("db.sock: ")).count() < 100, "an attempt is told once, not for an hour");
    // It comes back with what was asked for meanwhile; what was set up by OpenFlow stays.
    start_server(&mut world);
    wait_until("the server has a socket", || world.folder.join("db.sock").exists());
    let _ =
        world.run("ovs-vsctl", &["--no-wait", "add-port", "br0", "p3", "--", "set", "interface", "p3", "type=dummy"]);
    wait_until("the new port is there", || {
        world.appctl(&["time/warp", "1000", "100"]);
        world.appctl(&["dpif/show"]).contains("p3 ")
    });
    assert!(world.ok("ovs-ofctl", &["dump-flows", "br0"]).contains("in_port=2 actions=output:1"));
    assert_forwards(&world);
}

#[test]
fn rows_that_say_what_cannot_be() {
    let Some(world) = forwarding() else { return };
    let set = |record: &str, settings: &[&str]| {
        let mut words = vec!["-t", "10", "set"];
        words.extend(record.split(' '));
        words.extend(settings);
        // Some are refused by the schema, and some make the tool complain: neither is the daemon's end.
        let _ = world.run("ovs-vsctl", &words);
    };
    let status = |bridge: &str| world.vsctl(&format!("get bridge {bridge} status"));
    set("bridge br0", &["other_config:mac-table-size=lots", "other_config:datapath-id=xyz", "other_config:colour=red"]);
    let said = status("br0");
    for part in [
        "not available: other_config:colour",
        "other_config:mac-table-size: lots is no number",
        "other_config:datapath-id: xyz is not 1 to 16 hexadecimal digits",
    ] {
        assert!(said.contains(part), "{said}");
    }
    set(
        "port p1",
        &["other_config:priority-tags=sometimes", "other_config:wat=1", "tag=4095", "bond_mode=active-backup"],
    );
    let error = world.of_interface("p1", "error");
    assert!(error.contains("other_config:wat") && error.contains("priority-tags: sometimes is none of"), "{error}");
    set("interface p1", &["ofport_request=-7", "mtu_request=1", "mac=\"gg\"", "ingress_policing_rate=1"]);
    set("open_vswitch .", &["other_config:max-idle=never", "other_config:taste=sour"]);
    wait_until("the whole is told", || {
        let log = world.log();
        log.contains("max-idle: never is no number") && log.contains("not available: other_config:taste")
    });
    // So it is where an operator looks; what leaves no choice too.
    set("open_vswitch .", &["other_config:emc-insert-inv-prob=5"]);
    let said = world.vsctl("get open_vswitch . statistics");
    for part in ["error=", "max-idle: never is no number", "other_config:taste", "no_choice=", "emc-insert-inv-prob"] {
        assert!(said.contains(part), "{said}");
    }
    world.vsctl("clear open_vswitch . other_config");
    assert_eq!(world.vsctl("get open_vswitch . statistics").trim(), "{}");
    let _ = world.run("ovs-vsctl", &["-t", "10", "set-controller", "br0", "bogus:", "tcp:300.1.1.1:1"]);
    let said = world.vsctl("--columns=target,status list controller");
    assert!(said.contains("no connection method"), "{said}");
    world.vsctl("del-controller br0");
    world.ok("ovs-ofctl", &["add-flow", "br0", "in_port=1,actions=2"]);
    assert_forwards(&world);
    // What is mended is told no more.
    world.vsctl("clear bridge br0 other_config");
    assert_eq!(status("br0").trim(), "{}");
}

/// A connection that a bridge makes to a controller of ours.
fn connected(world: &World, listener: &TcpListener) -> TcpStream {
    let address = listener.local_addr().unwrap();
    world.vsctl(&format!("set-controller br0 tcp:{address}"));
    let stream = accepted(listener);
    // A bridge that gets a controller begins without flows.
    world.ok("ovs-ofctl", &["add-flow", "br0", "in_port=1,actions=2"]);
    stream
}

fn accepted(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let mut stream = None;
    wait_until("the bridge connects", || {
        stream = listener.accept().ok().map(|(stream, _)| stream);
        stream.is_some()
    });
    let stream = stream.unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(50))).unwrap();
    stream
}

/// Asks for an echo: what comes up to it.
fn echoed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    stream.write_all(&ECHO)?;
    let mut seen = Vec::new();
    while !seen.windows(8).any(|w| w == [4, 3, 0, 8, 0, 0, 0, 7]) {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk)?;
        seen.extend_from_slice(&chunk[..count]);
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(seen)
}

/// A connection by which both ends have said hello. A bridge waits for one for no longer than for a connection, a second at
/// first: of several attempts, the last counts.
fn greeted(listener: &TcpListener) -> TcpStream {
    let mut stream = accepted(listener);
    wait_until("both say hello", || {
        let done = stream.write_all(&HELLO).and_then(|()| echoed(&mut stream)).is_ok();
        if !done {
            stream = accepted(listener);
        }
        done
    });
    stream
}

#[test]
fn a_controller_that_talks_rubbish() {
    let Some(world) = forwarding() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut stream = connected(&world, &listener);
    // The bridge waits a second for a hello: by now it may have gone.
    let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: openflow\r\n\r\n");
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    wait_until("the reason is told", || {
        let status = world.vsctl("--columns=status list controller");
        status.contains("last_error") || status.contains("BACKOFF")
    });
    // With a hello before it: each message is refused by itself, and what has no end is the end.
    let mut stream = greeted(&listener);
    stream.write_all(&[4, 77, 0, 8, 0, 0, 0, 9]).unwrap();
    let mut seen = echoed(&mut stream).unwrap();
    assert!(seen.windows(8).any(|w| w[..2] == [4, 1] && w[4..] == [0, 0, 0, 9]), "the message is refused: {seen:?}");
    stream.write_all(&[4, 14, 0, 3, 0, 0, 0, 9]).unwrap();
    assert!(stream.read_to_end(&mut seen).is_ok() || stream.peer_addr().is_err());
    assert_forwards(&world);
}

#[test]
fn a_controller_that_reads_nothing() {
    let Some(world) = forwarding() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // It does not answer probes either: on a slow machine it were given up before the database says that it was there.
    let address = listener.local_addr().unwrap();
    world.vsctl(&format!("set-controller br0 tcp:{address} -- set controller br0 inactivity_probe=0"));
    let _deaf = greeted(&listener);
    wait_until("it is connected", || world.vsctl("--columns=is_connected list controller").contains("true"));
    // A bridge that gets a controller begins without flows.
    world.ok("ovs-ofctl", &["add-flow", "br0", "in_port=1,actions=2"]);
    world.ok("ovs-ofctl", &["add-flow", "br0", "in_port=2,actions=controller"]);
    let memory = || -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", world.daemon.id())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let flood = |n: usize| {
        let frame = "02".repeat(1400);
        let mut words = vec!["netdev-dummy/receive", "p2"];
        words.extend(std::iter::repeat_n(frame.as_str(), 30));
        (0..n).for_each(|_| drop(world.appctl(&words)));
    };
    // What a socket holds, and more.
    flood(60);
    let before = memory();
    flood(200);
    let after = memory();
    assert!(after < before + (16 << 10), "{before} KiB, and then {after}");
    // Whoever asks is answered, whoever sends is forwarded.
    world.ok("ovs-ofctl", &["dump-flows", "br0"]);
    assert_forwards(&world);
}

//! Connections of real TCP/IP stacks, followed and translated by a switch between two network namespaces.
//!
//! ```text
//!   client namespace          switch namespace            server namespace
//!   eth0 10.1.0.1 ─────────── p1   (the switch)   p2 ───────── eth0 10.1.0.2
//!        fd00::1                                                    fd00::2
//! ```
//!
//! Skipped, with the reason printed, where the process may not make namespaces or a program is not installed.

#![cfg(target_os = "linux")]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::TempDir;
use ovs_dpif::netdev::PacketSocket;
use ovs_packet::EthAddr;
use ovs_switch::demo::links::Links;
use ovs_switch::demo::netns::Namespace;
use ovs_switch::{LiveSwitch, Switch, SwitchConfig};

/// Enough for anything that is to happen.
const LONG: Duration = Duration::from_secs(20);

/// Enough to believe that something does not happen.
const SHORT: Duration = Duration::from_millis(400);

const CLIENT: u8 = 1;
const SERVER: u8 = 2;
/// The address that the client is translated to.
const OUTSIDE: u8 = 200;
/// The address under which the client knows the server.
const VIRTUAL: u8 = 222;

/// One of the two families.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Family {
    V4,
    V6,
}

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

impl Family {
    fn ip(self, host: u8) -> IpAddr {
        match self {
            Family::V4 => Ipv4Addr::new(10, 1, 0, host).into(),
            Family::V6 => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, host.into()).into(),
        }
    }

    fn at(self, host: u8, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(host), port)
    }

    /// As OpenFlow names the family.
    fn name(self) -> &'static str {
        match self {
            Family::V4 => "ip",
            Family::V6 => "ipv6",
        }
    }

    /// An address as a range of translation has it.
    fn nat(self, host: u8) -> String {
        match self {
            Family::V4 => self.ip(host).to_string(),
            Family::V6 => format!("[{}]", self.ip(host)),
        }
    }
}

struct Network {
    switch: LiveSwitch,
    client: Namespace,
    server: Namespace,
    _ports: Namespace,
}

impl Network {
    /// The network, with a switch that has these flows, and lets pass what finds addresses.
    fn new(flows: &[String]) -> Option<Network> {
        let namespace = || Namespace::new().inspect_err(|e| eprintln!("skipped: {e}")).ok();
        let (client, server, ports) = (namespace()?, namespace()?, namespace()?);
        let of_switch = Links::open(&ports).unwrap();
        for (host, port, n) in [(&client, "p1", CLIENT), (&server, "p2", SERVER)] {
            of_switch.add_veth(port, host, "eth0").unwrap();
            of_switch.set_up(port).unwrap();
            let inside = Links::open(host).unwrap();
            inside.set_address("eth0", EthAddr::local(n.into())).unwrap();
            // No time is lost on finding out whether somebody has the address already.
            host.run(|| std::fs::write("/proc/sys/net/ipv6/conf/eth0/accept_dad", "0")).unwrap().ok();
            inside.add_ip("eth0", Family::V4.ip(n), 24).unwrap();
            inside.add_ip("eth0", Family::V6.ip(n), 64).unwrap();
            inside.set_up("eth0").unwrap();
        }
        let mut switch = Switch::new(&SwitchConfig::new("br0").seed(1));
        for port in ["p1", "p2"] {
            let socket = ports.run(|| PacketSocket::open(port)).unwrap().unwrap();
            switch.add_port(Box::new(socket), Default::default()).unwrap();
        }
        let now = ovs_packet::Instant::ZERO;
        switch.del_flows("", now).unwrap();
        switch.add_flow("priority=100,arp,actions=NORMAL", now).unwrap();
        for kind in 133..=136 {
            switch.add_flow(&format!("priority=100,icmp6,icmp_type={kind},actions=NORMAL"), now).unwrap();
        }
        for flow in flows {
            switch.add_flow(flow, now).unwrap_or_else(|e| panic!("{flow}: {e}"));
        }
        let network = Network { switch: LiveSwitch::start(switch).unwrap(), client, server, _ports: ports };
        // Hosts that nobody is stand for one of the two.
        for family in FAMILIES {
            neighbour(&network.server, family.ip(OUTSIDE), CLIENT);
            neighbour(&network.client, family.ip(VIRTUAL), SERVER);
            neighbour(&network.client, family.ip(SERVER), SERVER);
            neighbour(&network.server, family.ip(CLIENT), CLIENT);
        }
        Some(network)
    }

    /// Every packet that came in was sent, consumed or dropped for a reason.
    fn is_balanced(&self) -> bool {
        self.switch.call(|switch, _| switch.ledger().balanced()).unwrap()
    }
}

/// Tells a host by what Ethernet address another is reached.
fn neighbour(of: &Namespace, ip: IpAddr, host: u8) {
    let address = EthAddr::local(host.into()).to_string();
    let mut command = Command::new("ip");
    command.args(["neigh", "replace", &ip.to_string(), "lladdr", &address, "dev", "eth0"]);
    let status = of.run(|| command.status()).unwrap().unwrap();
    assert!(status.success());
}

/// Whether a program is there; says so if it is not.
fn installed(program: &str) -> bool {
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).chain(["/usr/sbin".into()]).any(|dir| dir.join(program).exists())
    });
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}

/// Only the client may open connections; what comes of them may pass.
fn stateful(family: Family) -> Vec<String> {
    let ip = family.name();
    vec![
        format!("priority=10,{ip},ct_state=-trk,actions=ct(table=1)"),
        format!("table=1,priority=10,{ip},in_port=1,ct_state=+trk+new,actions=ct(commit),output:2"),
        format!("table=1,priority=10,{ip},ct_state=+trk+est,actions=NORMAL"),
        format!("table=1,priority=10,{ip},ct_state=+trk+rel,actions=NORMAL"),
    ]
}

/// The client is known to the server by another address.
fn source_translated(family: Family) -> Vec<String> {
    let (ip, outside) = (family.name(), family.nat(OUTSIDE));
    vec![
        format!("priority=10,{ip},in_port=1,actions=ct(commit,zone=1,nat(src={outside})),output:2"),
        format!("priority=10,{ip},in_port=2,actions=ct(zone=1,nat,table=1)"),
        format!("table=1,priority=10,{ip},ct_state=+trk+est,actions=output:1"),
        format!("table=1,priority=10,{ip},ct_state=+trk+rel,actions=output:1"),
    ]
}

/// The client knows the server by another address.
fn destination_translated(family: Family) -> Vec<String> {
    let (ip, server) = (family.name(), family.nat(SERVER));
    vec![
        format!("priority=10,{ip},in_port=1,actions=ct(commit,zone=1,nat(dst={server})),output:2"),
        format!("priority=10,{ip},in_port=2,actions=ct(zone=1,nat,table=1)"),
        format!("table=1,priority=10,{ip},ct_state=+trk+est,actions=output:1"),
    ]
}

/// What one end of a connection says to the other, long enough for the windows to move: megabytes, cut by the kernel
/// into frames of up to 64 KiB.
const SPEECH: usize = 3 << 20;

/// Sends from a client to a server and back, and says what address the server saw, or that nobody answered.
fn talk(network: &Network, from: &Namespace, at: &Namespace, listen: SocketAddr, to: SocketAddr) -> Option<IpAddr> {
    let listener = at.run(|| TcpListener::bind(listen)).unwrap().unwrap();
    listener.set_nonblocking(true).unwrap();
    let connect = || TcpStream::connect_timeout(&to, SHORT * 3);
    let mut stream = match from.run(connect).unwrap() {
        Ok(stream) => stream,
        Err(e) if e.kind() == ErrorKind::TimedOut => return None,
        Err(e) => panic!("{to}: {e}"),
    };
    // The client knows of the connection before the server does.
    let deadline = Instant::now() + LONG;
    let (mut other, seen) = loop {
        match listener.accept() {
            Err(e) if e.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => thread::yield_now(),
            accepted => break accepted.unwrap(),
        }
    };
    other.set_nonblocking(false).unwrap();
    for end in [&stream, &other] {
        end.set_read_timeout(Some(LONG)).unwrap();
    }
    let speech: Vec<u8> = (0..SPEECH).map(|n| (n * 7 / 8) as u8).collect();
    for _ in 0..2 {
        let mut heard = vec![0; SPEECH];
        thread::scope(|scope| {
            scope.spawn(|| stream.write_all(&speech).unwrap());
            other.read_exact(&mut heard).unwrap();
        });
        assert!(heard == speech);
        std::mem::swap(&mut stream, &mut other);
    }
    assert!(network.is_balanced());
    Some(seen.ip())
}

#[test]
fn only_one_side_may_open_connections() {
    for family in FAMILIES {
        let Some(network) = Network::new(&stateful(family)) else { return };
        let (client, server) = (&network.client, &network.server);
        let there = family.at(SERVER, 80);
        assert_eq!(talk(&network, client, server, there, there), Some(family.ip(CLIENT)));
        let back = family.at(CLIENT, 80);
        assert_eq!(talk(&network, server, client, back, back), None);
    }
}

#[test]
fn a_client_behind_another_address() {
    for family in FAMILIES {
        let Some(network) = Network::new(&source_translated(family)) else { return };
        let there = family.at(SERVER, 80);
        let seen = talk(&network, &network.client, &network.server, there, there);
        assert_eq!(seen, Some(family.ip(OUTSIDE)));
    }
}

#[test]
fn a_server_behind_another_address() {
    for family in FAMILIES {
        let Some(network) = Network::new(&destination_translated(family)) else { return };
        let (listen, to) = (family.at(SERVER, 80), family.at(VIRTUAL, 80));
        assert_eq!(talk(&network, &network.client, &network.server, listen, to), Some(family.ip(CLIENT)));
        // Without translation nobody has the address.
        network.switch.call(|switch, now| switch.del_flows("in_port=1", now).unwrap()).unwrap();
    }
}

/// A datagram to a port where nobody listens comes back as an ICMP error about a packet that the client never sent: its
/// inner addresses are translated back, or the client's kernel would not know the socket.
#[test]
fn an_error_reaches_the_socket_behind_the_translation() {
    for family in FAMILIES {
        let Some(network) = Network::new(&source_translated(family)) else { return };
        let socket = network.client.run(|| UdpSocket::bind(family.at(CLIENT, 5000))).unwrap().unwrap();
        socket.connect(family.at(SERVER, 9)).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        socket.send(b"hello").unwrap();
        let error = socket.recv(&mut [0; 10]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{family:?}: {error}");
        assert!(network.is_balanced());
    }
}

/// Echo requests of 8,000 bytes are put together before they are tracked, and cut again.
#[test]
fn fragments_are_followed_as_the_packet_that_they_are_of() {
    if !installed("ping") {
        return;
    }
    for family in FAMILIES {
        for flows in [stateful(family), source_translated(family)] {
            let Some(network) = Network::new(&flows) else { return };
            let mut ping = Command::new("ping");
            ping.args(["-c", "3", "-i", "0.2", "-W", "5", "-s", "8000", &family.ip(SERVER).to_string()]);
            let out = network.client.run(|| ping.output()).unwrap().unwrap();
            let text = String::from_utf8_lossy(&out.stdout);
            assert!(text.contains("3 received") && text.contains(" 0% packet loss"), "{family:?}: {text}");
            assert!(network.is_balanced());
        }
    }
}

/// A program that runs in a namespace; killed when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Control connections are watched for what they announce; data connections of either direction may pass then only.
fn with_ftp(family: Family, translated: bool) -> Vec<String> {
    let ip = family.name();
    let tcp = match family {
        Family::V4 => "tcp",
        Family::V6 => "tcp6",
    };
    let (nat, same) = match translated {
        true => (format!(",nat(src={})", family.nat(OUTSIDE)), ",nat"),
        false => (String::new(), ""),
    };
    vec![
        format!("priority=10,{ip},actions=ct(table=1,zone=1{same})"),
        format!(
            "table=1,priority=10,{tcp},in_port=1,tp_dst=21,ct_state=+trk+new,actions=ct(commit,zone=1,alg=ftp{nat}),output:2"
        ),
        format!("table=1,priority=20,{tcp},in_port=1,ct_state=+trk+new+rel,actions=ct(commit,zone=1{same}),output:2"),
        format!("table=1,priority=20,{tcp},in_port=2,ct_state=+trk+new+rel,actions=ct(commit,zone=1{same}),output:1"),
        format!("table=1,priority=10,{tcp},in_port=1,ct_state=+trk+est,actions=output:2"),
        format!("table=1,priority=10,{tcp},in_port=2,ct_state=+trk+est,actions=output:1"),
    ]
}

/// vsftpd in a namespace, with a file of its own to be fetched.
fn vsftpd(server: &Namespace, family: Family) -> (Running, TempDir) {
    let folder = TempDir::new();
    let root = folder.file("root");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("song.txt"), SONG.repeat(1000)).unwrap();
    let (v4, v6) = if family == Family::V4 { ("YES", "NO") } else { ("NO", "YES") };
    let settings = [
        format!("listen={v4}\nlisten_ipv6={v6}"),
        format!("anon_root={0}\nsecure_chroot_dir={0}", root.display()),
        "anonymous_enable=YES\nlocal_enable=NO\nwrite_enable=NO\nno_anon_password=YES".into(),
        "connect_from_port_20=YES\nrun_as_launching_user=NO\nbackground=NO\nseccomp_sandbox=NO\nisolate=NO".into(),
        "isolate_network=NO\nxferlog_enable=NO\npasv_promiscuous=NO\n".into(),
    ];
    let config = folder.file("vsftpd.conf");
    std::fs::write(&config, settings.join("\n")).unwrap();
    let mut command = Command::new("vsftpd");
    command.arg(&config).stdin(Stdio::null()).stdout(Stdio::null());
    let running = Running(server.run(|| command.spawn()).unwrap().unwrap());
    let deadline = Instant::now() + LONG;
    // Only from within: whether it is reached from outside is for the test to tell.
    while server.run(|| TcpStream::connect(family.at(SERVER, 21))).unwrap().is_err() {
        assert!(Instant::now() < deadline, "vsftpd does not listen");
        thread::sleep(Duration::from_millis(10));
    }
    (running, folder)
}

const SONG: &str = "It is of no use to anybody that a packet passed which should not have.\n";

/// Stock client and server: passive and active, in the old words and the extended ones, with and without translation.
#[test]
fn ftp_in_all_its_ways() {
    if !installed("vsftpd") || !installed("curl") {
        return;
    }
    for (family, translated) in [(Family::V4, false), (Family::V4, true), (Family::V6, false), (Family::V6, true)] {
        let Some(network) = Network::new(&with_ftp(family, translated)) else { return };
        let _server = vsftpd(&network.server, family);
        let extended: &[&[&str]] = &[&["--ftp-pasv"], &["--ftp-port", "-"]];
        let old: &[&[&str]] = &[&["--disable-epsv"], &["--disable-eprt", "--ftp-port", "-"]];
        for way in extended.iter().chain(old.iter().filter(|_| family == Family::V4)) {
            let url = format!("ftp://{}/song.txt", family.at(SERVER, 21));
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--show-error", "--max-time", "20", "--globoff"]).args(*way).arg(&url);
            let out = network.client.run(|| curl.output()).unwrap().unwrap();
            let complaint = String::from_utf8_lossy(&out.stderr);
            assert!(out.status.success(), "{family:?}, translated: {translated}, {way:?}: {complaint}");
            assert!(out.stdout == SONG.repeat(1000).as_bytes());
        }
        assert!(network.is_balanced());
    }
}

//! Conversations over real sockets: our two ends, and each of them with a stock program at the other. What is not
//! installed is passed over, and that is said.

#[cfg(feature = "tls")]
#[path = "../../ovs-stream/tests/pki/mod.rs"]
mod pki;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ovs_ofproto::codec::Version;
use ovs_ofproto::session::edge::{
    Client, ClientError, ClientOptions, Driver, Interest, Listener, Stream, StreamOptions, wait,
};
use ovs_ofproto::session::{
    Class, CloseReason, Endpoint, Frame, ListenOn, SessionEvent, SessionOptions, parse_versions,
};
use ovs_packet::Instant;

fn clock() -> impl Fn() -> Instant + Copy {
    let epoch = std::time::Instant::now();
    move || Instant::ZERO + epoch.elapsed()
}

fn frame(version: Version, kind: u8, xid: u32, body: &[u8]) -> Frame {
    let mut bytes = vec![version.0, kind];
    bytes.extend(u16::try_from(body.len() + 8).unwrap().to_be_bytes());
    bytes.extend(xid.to_be_bytes());
    bytes.extend(body);
    Frame::new(bytes).unwrap()
}

fn speaking(versions: &str) -> SessionOptions {
    SessionOptions { versions: parse_versions(versions).unwrap(), ..SessionOptions::default() }
}

fn client_speaking(versions: &str) -> ClientOptions {
    ClientOptions {
        versions: parse_versions(versions).unwrap(),
        timeout: Some(Duration::from_secs(50)),
        ..ClientOptions::default()
    }
}

/// A folder that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let folder = std::env::temp_dir().join(format!("ovs-session-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Scratch(folder)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process that goes with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

/// A switch that knows who it is and refuses everything else, for all who connect, until it is dropped.
struct Switch {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Switch {
    fn start(listener: Listener, options: SessionOptions) -> Switch {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let clock = clock();
            let mut controllers: Vec<Driver> = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                while let Some(stream) = listener.accept().unwrap() {
                    controllers.push(Driver::passive(stream, options, clock()));
                }
                for controller in &mut controllers {
                    controller.run(clock());
                    while let Some(event) = controller.poll_event(clock()) {
                        if let SessionEvent::Message(request) = event {
                            let _ = controller.send(&Switch::answer(&request), Class::Reply);
                        }
                    }
                    controller.run(clock());
                }
                controllers.retain(|controller| controller.session().is_alive());
                let now = clock();
                let until = controllers.iter().filter_map(|controller| controller.timeout(now)).min();
                let until = until.unwrap_or(Duration::MAX).min(Duration::from_millis(20));
                let accepting = (listener.as_fd(), Interest { read: true, write: false });
                wait(controllers.iter().filter_map(Driver::interest).chain([accepting]), Some(until)).unwrap();
            }
        });
        Switch { stop, thread: Some(thread) }
    }

    fn answer(request: &Frame) -> Frame {
        let (version, xid) = (request.version(), request.xid());
        match request.kind().0 {
            5 => frame(
                version,
                6,
                xid,
                &[0, 0, 0, 0, 0, 0, 0x12, 0x34, 0, 0, 1, 0, 254, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            ),
            20 => frame(version, 21, xid, &[]),
            _ => frame(version, 1, xid, &[&[0, 1, 0, 1][..], request.bytes()].concat()),
        }
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            assert!(result.is_ok() || thread::panicking());
        }
    }
}

fn listen(place: &str) -> Listener {
    Listener::bind(&place.parse::<ListenOn>().unwrap(), &StreamOptions::default()).unwrap()
}

fn tcp(listener: &Listener) -> Endpoint {
    format!("tcp:{}", listener.address().unwrap()).parse().unwrap()
}

fn converse(endpoint: &Endpoint, options: ClientOptions) {
    let mut client = Client::connect(endpoint, options, clock()).unwrap();
    let version = client.version();
    assert_eq!(version, Version::V1_3);
    let features = client.transact(frame(version, 5, 0, &[])).unwrap();
    assert_eq!((features.kind().0, features.body()[6..8].to_vec()), (6, vec![0x12, 0x34]));
    // What has no answer is refused one by one.
    let refused = client.transact_noreply(vec![frame(version, 14, 0, &[1]), frame(version, 14, 0, &[2])]).unwrap();
    assert_eq!(refused.iter().map(|(at, error)| (*at, error.code)).collect::<Vec<_>>(), [(0, 1), (1, 1)]);
    assert!(
        matches!(client.transact(frame(version, 18, 0, &[0; 8])), Err(ClientError::Refused(error)) if error.code == 1)
    );
    // A message of our own goes by the owner.
    client.send(frame(version, 2, 99, b"there?")).unwrap();
    assert_eq!(client.receive().unwrap(), frame(version, 3, 99, b"there?"));
}

#[test]
fn both_ends_over_every_kind_of_socket() {
    let scratch = Scratch::new("kinds");
    let long = scratch.file(&"x".repeat(120));
    fs::create_dir(&long).unwrap();
    for place in ["ptcp:0:127.0.0.1", "ptcp:0:[::1]"] {
        if place.contains("::1") && TcpListener::bind("[::1]:0").is_err() {
            println!("skipped: no IPv6 here");
            continue;
        }
        let listener = listen(place);
        let endpoint = tcp(&listener);
        let _switch = Switch::start(listener, speaking("OpenFlow10,OpenFlow13"));
        converse(&endpoint, client_speaking("OpenFlow10,OpenFlow13,OpenFlow14"));
    }
    for path in [scratch.file("socket"), long.join("socket")] {
        let listener = Listener::bind(&ListenOn::Unix(path.clone()), &StreamOptions::default()).unwrap();
        let switch = Switch::start(listener, speaking("OpenFlow13"));
        converse(&Endpoint::Unix(path.clone()), client_speaking("OpenFlow13"));
        drop(switch);
        assert!(!path.exists());
    }
}

#[test]
fn a_descriptor_that_was_given_to_us() {
    use std::os::fd::AsRawFd;
    let scratch = Scratch::new("pfd");
    let given = std::os::unix::net::UnixListener::bind(scratch.file("socket")).unwrap();
    let listener = match Listener::bind(&ListenOn::Fd(given.as_raw_fd()), &StreamOptions::default()) {
        Ok(listener) => listener,
        Err(error) => return println!("skipped: no copy of a descriptor is given here: {error}"),
    };
    let _switch = Switch::start(listener, SessionOptions::default());
    converse(&Endpoint::Unix(scratch.file("socket")), client_speaking("OpenFlow13"));
    for (what, other) in [("file", fs::File::open("/dev/null").unwrap().into()), ("socket", given_datagram())] {
        let number = AsRawFd::as_raw_fd(&other);
        assert!(Listener::bind(&ListenOn::Fd(number), &StreamOptions::default()).is_err(), "{what}");
    }
    assert!(Listener::bind(&ListenOn::Fd(99_999), &StreamOptions::default()).is_err());
}

fn given_datagram() -> std::os::fd::OwnedFd {
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into()
}

#[test]
fn what_is_not_there_is_said() {
    // A port that is given to nobody who asks for any.
    let refused = Client::connect(&"tcp:127.0.0.1:1".parse().unwrap(), client_speaking("OpenFlow13"), clock());
    assert!(refused.unwrap_err().to_string().contains("refused"));
    let scratch = Scratch::new("nothing");
    let missing = Client::connect(&Endpoint::Unix(scratch.file("none")), client_speaking("OpenFlow13"), clock());
    assert!(matches!(missing, Err(ClientError::Closed(CloseReason::Io(_)))));
    let device = Stream::connect(&"tcp:[fe80::1%none0]:1".parse::<Endpoint>().unwrap(), &StreamOptions::default());
    assert!(device.unwrap_err().to_string().contains("none0"));
    let options = StreamOptions::default();
    let no_keys = Stream::connect(&"ssl:127.0.0.1:1".parse::<Endpoint>().unwrap(), &options).unwrap_err();
    assert_eq!(no_keys.kind(), std::io::ErrorKind::Unsupported);
    assert!(Listener::bind(&"pssl:0:127.0.0.1".parse::<ListenOn>().unwrap(), &options).is_err());
    fs::write(scratch.file("file"), "not a socket").unwrap();
    assert!(Listener::bind(&ListenOn::Unix(scratch.file("file")), &StreamOptions::default()).is_err());
}

#[test]
fn a_client_does_not_wait_for_ever() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint: Endpoint = format!("tcp:{}", silent.local_addr().unwrap()).parse().unwrap();
    let timeout = Some(Duration::from_millis(50));
    let options = ClientOptions { timeout, ..client_speaking("OpenFlow13") };
    let error = Client::connect(&endpoint, options.clone(), clock()).unwrap_err();
    assert_eq!(error.to_string(), "no answer within 0.05 s");

    let says_hello = thread::spawn(move || {
        let _first = silent.accept().unwrap();
        let (mut second, _) = silent.accept().unwrap();
        second.write_all(&[4, 0, 0, 8, 0, 0, 0, 1]).unwrap();
        let mut rest = Vec::new();
        let _ = second.read_to_end(&mut rest);
        rest
    });
    // How soon the other end says hello is the machine's affair. Once it has, every look at the clock takes a minute.
    let patience = Duration::from_secs(60);
    let looks = Arc::new(AtomicU32::new(0));
    let (counted, live) = (Arc::clone(&looks), clock());
    let clock = move || match counted.load(Ordering::Relaxed) {
        0 => live(),
        _ => live() + patience * counted.fetch_add(1, Ordering::Relaxed),
    };
    let mut client = Client::connect(&endpoint, ClientOptions { timeout: Some(patience), ..options }, clock).unwrap();
    looks.store(1, Ordering::Relaxed);
    let request = frame(Version::V1_3, 5, 0, &[]);
    assert!(matches!(client.transact(request), Err(ClientError::TimedOut(_))));
    drop(client);
    assert_eq!(says_hello.join().unwrap().len(), 16 + 8);
}

#[test]
fn garbage_from_a_socket_ends_the_connection() {
    let listener = listen("ptcp:0:127.0.0.1");
    let address = listener.address().unwrap();
    let _switch = Switch::start(listener, SessionOptions::default());
    for garbage in [&[0xff; 70_000][..], &[4, 0, 0, 8, 0, 0, 0, 1, 4, 5, 0, 7, 0, 0, 0, 1], &[0; 8]] {
        let mut socket = std::net::TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let _ = socket.write_all(garbage);
        let mut answer = Vec::new();
        match socket.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }
}

fn ofctl(arguments: &[&str]) -> Output {
    Command::new("timeout").arg("50").arg("ovs-ofctl").args(arguments).output().unwrap()
}

#[test]
fn stock_ofctl_speaks_with_our_switch() {
    if !has("ovs-ofctl") {
        return;
    }
    let listener = listen("ptcp:0:127.0.0.1");
    let target = tcp(&listener).to_string();
    let _switch = Switch::start(listener, speaking("OpenFlow10,OpenFlow13"));
    for version in ["OpenFlow10", "OpenFlow13", "OpenFlow12,OpenFlow13", "OpenFlow10,OpenFlow14"] {
        let probed = ofctl(&["-O", version, "probe", &target]);
        assert!(probed.status.success(), "{version}: {probed:?}");
    }
    let pinged = ofctl(&["-O", "OpenFlow13", "ping", &target, "1000"]);
    assert!(pinged.status.success(), "{pinged:?}");
    let text = String::from_utf8_lossy(&pinged.stdout);
    assert_eq!(text.lines().filter(|line| line.starts_with("1000 bytes from")).count(), 10, "{text}");
    // What there is no version for is refused in words that the other side logs.
    let refused = ofctl(&["-O", "OpenFlow15", "-vvconn:dbg", "probe", &target]);
    let log = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && log.contains("version negotiation failed"), "{log}");
}

/// A stock switch with a bridge `br0` that forwards no packet.
struct StockSwitch {
    scratch: Scratch,
    _daemons: Vec<Daemon>,
}

impl StockSwitch {
    /// Nothing, with the reason printed, where it cannot be run.
    fn start(name: &str) -> Option<StockSwitch> {
        let schema = Path::new("/usr/share/openvswitch/vswitch.ovsschema");
        if !has("ovs-vswitchd") || !has("ovsdb-server") || !has("ovs-vsctl") {
            return None;
        }
        if !schema.exists() {
            println!("skipped: no {}", schema.display());
            return None;
        }
        let mut switch = StockSwitch { scratch: Scratch::new(name), _daemons: Vec::new() };
        let database = switch.scratch.file("conf.db");
        assert!(switch.command("ovsdb-tool").arg("create").args([&database, schema]).status().unwrap().success());
        let remote = format!("punix:{}", switch.scratch.file("db.sock").display());
        switch.daemon("ovsdb-server", &[database.to_str().unwrap(), &format!("--remote={remote}")]);
        switch.daemon("ovs-vswitchd", &[&switch.database(), "--disable-system", "--enable-dummy", "--log-file"]);
        let protocols = "protocols=OpenFlow10,OpenFlow13,OpenFlow15";
        switch.vsctl(&[
            "add-br",
            "br0",
            "--",
            "set",
            "bridge",
            "br0",
            "datapath_type=dummy",
            "fail_mode=secure",
            protocols,
        ]);
        Some(switch)
    }

    fn database(&self) -> String {
        format!("unix:{}", self.scratch.file("db.sock").display())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR", "OVS_DBDIR"] {
            command.env(variable, &self.scratch.0);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn daemon(&mut self, program: &str, arguments: &[&str]) {
        let daemon = Daemon(self.command(program).args(arguments).spawn().unwrap());
        self._daemons.push(daemon);
    }

    fn vsctl(&self, arguments: &[&str]) -> String {
        let mut command = self.command("ovs-vsctl");
        command.arg(format!("--db={}", self.database())).args(["--retry", "--timeout=50"]).args(arguments);
        let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The number of the port that the switch was left to choose.
    #[cfg(feature = "tls")]
    fn port(&self) -> u16 {
        let end = std::time::Instant::now() + Duration::from_secs(30);
        loop {
            let log = fs::read_to_string(self.scratch.file("ovs-vswitchd.log")).unwrap_or_default();
            if let Some((_, line)) = log.rsplit_once(": listening on port ")
                && let Some((number, _)) = line.split_once('\n')
            {
                return number.parse().unwrap();
            }
            assert!(std::time::Instant::now() < end, "the switch tells of no port: {log}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn management(&self) -> Endpoint {
        Endpoint::Unix(self.scratch.file("br0.mgmt"))
    }
}

fn flow_mod(command: u8, priority: u16) -> Frame {
    let mut body = vec![0; 48];
    body[17] = command;
    body[22..24].copy_from_slice(&priority.to_be_bytes());
    body[24..36].copy_from_slice(&[0xff; 12]);
    body[40..44].copy_from_slice(&[0, 1, 0, 4]);
    frame(Version::V1_3, 14, 0, &body)
}

fn flow_stats_request() -> Frame {
    let mut body = vec![0; 8 + 40];
    body[0..2].copy_from_slice(&[0, 1]);
    body[8] = 0xff;
    body[12..20].copy_from_slice(&[0xff; 8]);
    body[40..44].copy_from_slice(&[0, 1, 0, 4]);
    frame(Version::V1_3, 18, 0, &body)
}

#[test]
fn our_client_speaks_with_a_stock_switch() {
    let Some(stock) = StockSwitch::start("client") else { return };
    let any = "OpenFlow10,OpenFlow11,OpenFlow12,OpenFlow13,OpenFlow14,OpenFlow15";
    for (versions, spoken) in [(any, Version::V1_5), ("OpenFlow10,OpenFlow14", Version::V1_0)] {
        let client = Client::connect(&stock.management(), client_speaking(versions), clock()).unwrap();
        assert_eq!(client.version(), spoken);
    }
    let error = Client::connect(&stock.management(), client_speaking("OpenFlow14"), clock()).unwrap_err();
    assert!(error.to_string().starts_with("no version in common: OpenFlow14 here, OpenFlow10,"), "{error}");

    let mut client = Client::connect(&stock.management(), client_speaking("OpenFlow13"), clock()).unwrap();
    assert_eq!(client.transact(frame(Version::V1_3, 5, 0, &[])).unwrap().kind().0, 6);
    let mut requests: Vec<Frame> = (1..=3000).map(|priority| flow_mod(0, priority)).collect();
    requests[1500] = flow_mod(9, 1);
    let refused = client.transact_noreply(requests).unwrap();
    let refused: Vec<_> = refused.iter().map(|(at, error)| (*at, error.kind, error.code)).collect();
    assert_eq!(refused, [(1500, 5, 6)]);
    let parts = client.transact_multipart(vec![flow_stats_request()]).unwrap();
    let bytes: usize = parts.iter().map(|part| part.body().len() - 8).sum();
    assert!(parts.len() > 1, "{}", parts.len());
    // A flow without instructions has 48 bytes, and 8 of a match of everything.
    assert_eq!(bytes / 56, 2999);
    assert_eq!(client.missed(), 0);
}

/// Runs until `done`, at most 50 seconds, and gives back the events.
fn run(driver: &mut Driver, clock: impl Fn() -> Instant, mut done: impl FnMut(&Driver, &SessionEvent) -> bool) {
    let end = clock() + Duration::from_secs(50);
    loop {
        let now = clock();
        assert!(now < end, "it took too long: {:?}", driver.session());
        driver.run(now);
        while let Some(event) = driver.poll_event(now) {
            if done(driver, &event) {
                return;
            }
        }
        driver.wait(now, Some(Duration::from_secs(1))).unwrap();
    }
}

fn accept(listener: &Listener) -> Stream {
    let end = std::time::Instant::now() + Duration::from_secs(50);
    loop {
        if let Some(stream) = listener.accept().unwrap() {
            return stream;
        }
        assert!(std::time::Instant::now() < end, "nobody connects");
        wait([(listener.as_fd(), Interest { read: true, write: false })], Some(Duration::from_secs(1))).unwrap();
    }
}

#[test]
fn a_stock_switch_connects_to_our_controller_and_again_when_it_is_closed() {
    let Some(stock) = StockSwitch::start("controller") else { return };
    let listener = listen("ptcp:0:127.0.0.1");
    stock.vsctl(&["set-controller", "br0", &tcp(&listener).to_string()]);
    let clock = clock();
    for round in 0..2 {
        let mut driver = Driver::passive(accept(&listener), speaking("OpenFlow10,OpenFlow13"), clock());
        run(&mut driver, clock, |_, event| *event == SessionEvent::Connected { version: Version::V1_3 });
        driver.send(&frame(Version::V1_3, 5, 40 + round, &[]), Class::Other).unwrap();
        run(
            &mut driver,
            clock,
            |_, event| matches!(event, SessionEvent::Message(frame) if (frame.kind().0, frame.xid()) == (6, 40 + round)),
        );
        driver.session_mut().shut_down(clock(), "enough");
        run(&mut driver, clock, |_, event| matches!(event, SessionEvent::Closed(CloseReason::Request(_))));
        driver.run(clock());
        assert!(driver.stream().is_none() && !driver.session().is_alive());
    }
}

#[test]
fn our_switch_connects_again_to_a_controller_that_comes_back() {
    let clock = clock();
    // A name of our own: a port might be another's by then.
    let scratch = Scratch::new("again");
    let place = scratch.file("controller");
    let bind = || Listener::bind(&ListenOn::Unix(place.clone()), &StreamOptions::default()).unwrap();
    let listener = bind();
    let endpoint = Endpoint::Unix(place.clone());
    let mut switch = Driver::active(endpoint, SessionOptions::default(), StreamOptions::default(), clock());
    switch.run(clock());
    // The controller accepts and goes away with everything.
    drop((accept(&listener), listener));
    run(&mut switch, clock, |_, event| matches!(event, SessionEvent::Closed(_)));
    let _controller = Switch::start(bind(), speaking("OpenFlow12"));
    run(&mut switch, clock, |_, event| *event == SessionEvent::Connected { version: Version::V1_2 });
    assert_eq!(switch.session().reconnect().seqno(), 1);
}

#[cfg(feature = "tls")]
mod tls {
    use ovs_ofproto::session::edge::{TlsConfig, TlsError, TlsOptions};

    use super::*;
    use crate::pki::Pki;

    /// An authority `ca` and what it signed.
    fn keys(test: &str, names: &[&str]) -> Option<Pki> {
        let pki = Pki::new(test)?;
        pki.authority("ca");
        names.iter().for_each(|name| pki.identity(name, "ca"));
        Some(pki)
    }

    fn stream(options: &TlsOptions) -> StreamOptions {
        StreamOptions { tls: Some(TlsConfig::load(options).unwrap()), ..StreamOptions::default() }
    }

    fn ssl(listener: &Listener) -> Endpoint {
        format!("ssl:{}", listener.address().unwrap()).parse().unwrap()
    }

    #[test]
    fn both_ends_show_who_they_are() {
        let Some(pki) = keys("ends", &["switch", "controller"]) else { return };
        pki.authority("other");
        pki.identity("stranger", "other");
        let place: ListenOn = "pssl:0:127.0.0.1".parse().unwrap();
        let listener = Listener::bind(&place, &stream(&pki.options("switch", Some("ca")))).unwrap();
        let endpoint = ssl(&listener);
        let _switch = Switch::start(listener, speaking("OpenFlow13"));
        let connect = |options| {
            Client::connect(&endpoint, ClientOptions { stream: options, ..client_speaking("OpenFlow13") }, clock())
        };
        converse(
            &endpoint,
            ClientOptions { stream: stream(&pki.options("controller", Some("ca"))), ..client_speaking("OpenFlow13") },
        );
        // A client that does not care who the switch is must still show who it is itself.
        connect(stream(&pki.options("controller", None))).unwrap();
        for (name, authority) in [("stranger", Some("ca")), ("stranger", None), ("controller", Some("other"))] {
            assert!(connect(stream(&pki.options(name, authority))).is_err(), "{name} {authority:?}");
        }

        // A stock client.
        if has("ovs-ofctl") {
            let files = ["switch.key", "switch.pem", "ca.pem", "other.pem"].map(|name| pki.file(name));
            let [key, certificate, ca, other] = files.each_ref().map(|file| file.to_str().unwrap());
            let target = endpoint.to_string();
            for (ca, works) in [(ca, true), (other, false)] {
                let output =
                    ofctl(&["-O", "OpenFlow13", "-p", key, "-c", certificate, "-C", ca, "ping", &target, "30000"]);
                assert_eq!(output.status.success(), works, "{output:?}");
            }
        }
    }

    #[test]
    fn our_client_speaks_tls_with_a_stock_switch() {
        let Some(stock) = StockSwitch::start("tls-stock") else { return };
        let Some(pki) = keys("stock", &["switch", "controller"]) else { return };
        let file = |name| pki.file(name).display().to_string();
        stock.vsctl(&["set-ssl", &file("switch.key"), &file("switch.pem"), &file("ca.pem")]);
        stock.vsctl(&["set-controller", "br0", "pssl:0:127.0.0.1"]);
        let endpoint: Endpoint = format!("ssl:127.0.0.1:{}", stock.port()).parse().unwrap();
        let options =
            ClientOptions { stream: stream(&pki.options("controller", Some("ca"))), ..client_speaking("OpenFlow13") };
        let mut client = Client::connect(&endpoint, options, clock()).unwrap();
        client.transact_noreply((1..=2000).map(|priority| flow_mod(0, priority)).collect()).unwrap();
        let parts = client.transact_multipart(vec![flow_stats_request()]).unwrap();
        assert_eq!(parts.iter().map(|part| part.body().len() - 8).sum::<usize>() / 56, 2000);
    }

    #[test]
    fn files_that_are_not_what_they_should_be_are_named() {
        let Some(pki) = keys("files", &["one", "two"]) else { return };
        fs::write(pki.file("empty.pem"), "").unwrap();
        fs::write(pki.file("empty.key"), "-----BEGIN PRIVATE KEY-----\n!!\n").unwrap();
        let good = pki.options("one", Some("ca"));
        assert!(TlsConfig::load(&good).is_ok());
        let file = |name: &str| pki.file(name);
        let load = |change: &dyn Fn(&mut TlsOptions)| {
            let mut options = good.clone();
            change(&mut options);
            TlsConfig::load(&options).unwrap_err()
        };
        assert!(matches!(load(&|options| options.private_key = file("none")), TlsError::Read { .. }));
        assert!(matches!(load(&|options| options.private_key = file("empty.key")), TlsError::Pem { .. }));
        assert!(matches!(load(&|options| options.certificate = file("empty.pem")), TlsError::Pem { .. }));
        assert!(matches!(load(&|options| options.ca_certificate = Some(file("empty.pem"))), TlsError::Pem { .. }));
        assert!(matches!(load(&|options| options.private_key = file("two.key")), TlsError::Key(_)));
    }
}

//! Traffic to show that a network works: echo requests, and a TCP transfer whose every byte is checked.
//!
//! No other program is called. Everything here ends: by count, by bytes, or by a time limit.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ovs_packet::checksum;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, recv, sendto, socket_with, sockopt,
};

use super::netns::{Namespace, NamespaceError};

/// Why there was no traffic at all. Displays as one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrafficError {
    /// The process may not send echo requests.
    #[error("ping needs root or the capability CAP_NET_RAW")]
    NotPermitted,
    /// A namespace cannot be entered.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The system refused something else.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> TrafficError {
    move |source| TrafficError::System { what, source }
}

/// What came of some echo requests.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct PingReport {
    /// Requests that were sent.
    pub sent: u32,
    /// Requests that were answered in time, with the right content.
    pub received: u32,
    /// How long each answer took, in the order of the requests that were answered.
    pub rtts: Vec<Duration>,
}

const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;

/// Bytes of an echo request: the header and 56 bytes of content, as `ping` sends.
const ECHO: usize = 8 + 56;

/// Sends `count` echo requests to `dst` from the calling thread's namespace ([`Namespace::run`]), one every `interval`,
/// and waits up to `timeout` for the answer to each before the next.
///
/// An answer counts if it comes from `dst` with the identifier, the number and the content of the request that is
/// waited for. A request that cannot be sent (nobody answers ARP, no route) counts as sent and not answered.
///
/// # Errors
/// If there is no raw ICMP socket to be had.
pub fn ping(dst: Ipv4Addr, count: u16, interval: Duration, timeout: Duration) -> Result<PingReport, TrafficError> {
    let socket =
        socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::ICMP)).map_err(|e| {
            match e {
                rustix::io::Errno::PERM | rustix::io::Errno::ACCESS => TrafficError::NotPermitted,
                e => failed("opening a raw ICMP socket")(e.into()),
            }
        })?;
    let id = identifier();
    let mut report = PingReport::default();
    for seq in 0..count {
        let begin = Instant::now();
        let request = echo(ECHO_REQUEST, id, seq);
        report.sent += 1;
        let sent = sendto(&socket, &request, SendFlags::empty(), &SocketAddrV4::new(dst, 0));
        if sent.is_ok() && answered(&socket, dst, id, seq, begin + timeout)? {
            report.received += 1;
            report.rtts.push(begin.elapsed());
        }
        if seq + 1 < count {
            thread::sleep(interval.saturating_sub(begin.elapsed()));
        }
    }
    Ok(report)
}

/// Identifiers of one process differ from each other, and mostly from those of others.
fn identifier() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    (std::process::id() as u16).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x101))
}

/// An echo message (RFC 792), its content made from its number.
fn echo(kind: u8, id: u16, seq: u16) -> [u8; ECHO] {
    let mut message = [0; ECHO];
    for (n, byte) in message.iter_mut().enumerate() {
        *byte = (n as u16).wrapping_add(seq) as u8;
    }
    let ([i0, i1], [s0, s1]) = (id.to_be_bytes(), seq.to_be_bytes());
    message[..8].copy_from_slice(&[kind, 0, 0, 0, i0, i1, s0, s1]);
    let sum = checksum::checksum(&message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    message
}

/// Waits for the answer to one request. What else the socket hears is passed over.
fn answered(socket: &OwnedFd, dst: Ipv4Addr, id: u16, seq: u16, deadline: Instant) -> Result<bool, TrafficError> {
    let expected = echo(ECHO_REPLY, id, seq);
    let mut buffer = [0; 256];
    loop {
        let Some(left) = time_left(deadline) else { return Ok(false) };
        sockopt::set_socket_timeout(socket, sockopt::Timeout::Recv, Some(left))
            .map_err(|e| failed("setting a time limit")(e.into()))?;
        match recv(socket, &mut buffer[..], RecvFlags::empty()) {
            Ok((_, len)) if is_answer(buffer.get(..len).unwrap_or(&[]), dst, &expected) => return Ok(true),
            // A time limit that has passed, or an error that an earlier request met: the clock decides.
            _ => {}
        }
    }
}

/// Whether `datagram`, with its IP header, is the message `expected` from `src`.
fn is_answer(datagram: &[u8], src: Ipv4Addr, expected: &[u8]) -> bool {
    let header = usize::from(datagram.first().copied().unwrap_or(0) & 15) * 4;
    datagram.get(12..16) == Some(&src.octets()) && datagram.get(header..) == Some(expected)
}

/// The time until `deadline`, if there is any: at least a millisecond, so that it is good for a socket's limit.
fn time_left(deadline: Instant) -> Option<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    (!left.is_zero()).then(|| left.max(Duration::from_millis(1)))
}

/// What came of a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TransferReport {
    /// Bytes that arrived.
    pub bytes: u64,
    /// From the first write to the end of the stream at the receiver.
    pub duration: Duration,
    /// Whether all bytes arrived, and each was right.
    pub intact: bool,
}

impl TransferReport {
    /// Bits per second; zero if it took no time.
    pub fn bits_per_second(&self) -> f64 {
        let seconds = self.duration.as_secs_f64();
        if seconds > 0.0 { self.bytes as f64 * 8.0 / seconds } else { 0.0 }
    }
}

/// Sends `bytes` bytes over one TCP connection from `sender` to `address` in `listener`, and checks them there.
///
/// It takes `timeout` at most, and ends early when `stop` is set. A transfer that is not through by then, or that
/// breaks, is reported as far as it came.
///
/// # Errors
/// If the address cannot be listened on, there is no connection within `timeout`, or a namespace cannot be entered.
pub fn tcp_transfer(
    listener: &Namespace,
    sender: &Namespace,
    address: SocketAddr,
    bytes: u64,
    timeout: Duration,
    stop: &AtomicBool,
) -> Result<TransferReport, TrafficError> {
    let limit = Limit { deadline: Instant::now() + timeout, stop };
    let pattern = Pattern::new();
    let listening = listener.run(|| TcpListener::bind(address))?.map_err(failed("listening"))?;
    let address = listening.local_addr().map_err(failed("listening"))?;
    thread::scope(|scope| {
        // Says whether the sender still means to come.
        let (coming, gone) = mpsc::channel::<()>();
        let pattern = &pattern;
        let receiving = scope.spawn(move || receive(&listening, &gone, pattern, bytes, limit));
        let connected = sender
            .run(|| TcpStream::connect_timeout(&address, timeout.max(Duration::from_millis(1))))
            .map_err(TrafficError::from)
            .and_then(|stream| stream.map_err(failed("connecting")));
        let begin = Instant::now();
        let sent = connected.map(|stream| send(stream, pattern, bytes, limit));
        drop(coming);
        let received = receiving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        sent?;
        let (arrived, intact, end) = received?;
        let intact = intact && arrived == bytes;
        Ok(TransferReport { bytes: arrived, duration: end.saturating_duration_since(begin), intact })
    })
}

/// When a transfer ends though it is not through.
#[derive(Clone, Copy)]
struct Limit<'a> {
    deadline: Instant,
    stop: &'a AtomicBool,
}

impl Limit<'_> {
    /// How long to wait before asking again; `None` if it is over.
    fn wait(&self) -> Option<Duration> {
        let left = time_left(self.deadline).filter(|_| !self.stop.load(Ordering::Relaxed))?;
        Some(left.min(Duration::from_millis(100)))
    }
}

/// Whether a socket's time limit has passed, or a signal has come: nothing is wrong.
fn is_pause(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Writes until all is sent, the time is up, or the connection breaks: the receiver knows how far it came.
fn send(mut stream: TcpStream, pattern: &Pattern, bytes: u64, limit: Limit<'_>) {
    let mut sent = 0;
    while let (true, Some(wait)) = (sent < bytes, limit.wait()) {
        let more = pattern.at(sent, bytes - sent);
        let written = stream.set_write_timeout(Some(wait)).and_then(|()| stream.write(more));
        match written {
            Ok(n) => sent += n as u64,
            Err(e) if is_pause(&e) => {}
            Err(_) => break,
        }
    }
}

/// Accepts one connection and reads it to its end: how many bytes there were, whether all were right, and when.
fn receive(
    listening: &TcpListener,
    gone: &mpsc::Receiver<()>,
    pattern: &Pattern,
    bytes: u64,
    limit: Limit<'_>,
) -> Result<(u64, bool, Instant), TrafficError> {
    listening.set_nonblocking(true).map_err(failed("listening"))?;
    let mut stream = loop {
        // Asked first: a sender that is gone may have left its connection. Being told to stop does not end this: the
        // sender would be refused, and that is an error.
        let given_up = gone.recv_timeout(Duration::from_millis(1)) == Err(mpsc::RecvTimeoutError::Disconnected);
        match listening.accept() {
            Ok((stream, _)) => break stream,
            Err(e) if e.kind() != io::ErrorKind::WouldBlock => return Err(failed("accepting")(e)),
            Err(e) if given_up || time_left(limit.deadline).is_none() => return Err(failed("accepting")(e)),
            Err(_) => {}
        }
    };
    stream.set_nonblocking(false).map_err(failed("accepting"))?;
    let mut buffer = vec![0; 1 << 18];
    let (mut arrived, mut intact) = (0, true);
    while let Some(wait) = limit.wait() {
        match stream.set_read_timeout(Some(wait)).and_then(|()| stream.read(&mut buffer)) {
            Ok(0) => break,
            Ok(n) => {
                intact &= pattern.matches(arrived, buffer.get(..n).unwrap_or(&[]));
                arrived += n as u64;
                intact &= arrived <= bytes;
            }
            Err(e) if is_pause(&e) => {}
            Err(_) => break,
        }
    }
    Ok((arrived, intact, Instant::now()))
}

/// The bytes of a transfer: a function of their place, so that a byte lost, doubled or moved is seen.
///
/// They repeat after a prime number of bytes, which no segment's or buffer's size divides or is divided by.
struct Pattern {
    bytes: Vec<u8>,
}

impl Pattern {
    const PERIOD: usize = 65521;

    fn new() -> Pattern {
        let mut state = 0x9e37_79b9_u32;
        let next = || {
            // Marsaglia's xorshift.
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        };
        Pattern { bytes: std::iter::repeat_with(next).take(Self::PERIOD).collect() }
    }

    /// Bytes from place `from` on: at most `most`, and at least one if that is not zero.
    fn at(&self, from: u64, most: u64) -> &[u8] {
        let rest = self.bytes.get((from % Self::PERIOD as u64) as usize..).unwrap_or(&[]);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        rest.get(..most).unwrap_or(rest)
    }

    fn matches(&self, mut from: u64, mut data: &[u8]) -> bool {
        while !data.is_empty() {
            let expected = self.at(from, data.len() as u64);
            let (now, rest) = data.split_at(expected.len());
            if now != expected {
                return false;
            }
            from += now.len() as u64;
            data = rest;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::links::Links;
    use super::*;

    /// Two hosts with a link between them: 10.1.0.1 and 10.1.0.2.
    fn hosts() -> Option<(Namespace, Namespace)> {
        let (a, b) = match (Namespace::new(), Namespace::new()) {
            (Ok(a), Ok(b)) => (a, b),
            (Err(e), _) | (_, Err(e)) => {
                eprintln!("skipped: {e}");
                return None;
            }
        };
        let (la, lb) = (Links::open(&a).unwrap(), Links::open(&b).unwrap());
        la.add_veth("eth0", &b, "eth0").unwrap();
        for (links, ip) in [(&la, "10.1.0.1"), (&lb, "10.1.0.2")] {
            links.add_ip("eth0", ip.parse().unwrap(), 24).unwrap();
            links.set_up("eth0").unwrap();
        }
        Some((a, b))
    }

    const LONG: Duration = Duration::from_secs(10);
    static NEVER: AtomicBool = AtomicBool::new(false);

    #[test]
    fn ping_counts_answers() {
        let Some((a, _b)) = hosts() else { return };
        let there = a.run(|| ping(Ipv4Addr::new(10, 1, 0, 2), 3, Duration::ZERO, LONG)).unwrap().unwrap();
        assert_eq!((there.sent, there.received, there.rtts.len()), (3, 3, 3));
        let short = Duration::from_millis(20);
        let nobody = a.run(move || ping(Ipv4Addr::new(10, 1, 0, 3), 2, short, short)).unwrap().unwrap();
        assert_eq!(nobody, PingReport { sent: 2, ..PingReport::default() });
        let unreachable = a.run(move || ping(Ipv4Addr::new(10, 2, 0, 3), 2, short, short)).unwrap().unwrap();
        assert_eq!((unreachable.sent, unreachable.received), (2, 0));
    }

    #[test]
    fn an_answer_is_checked_to_the_last_byte() {
        let src = Ipv4Addr::new(10, 1, 0, 2);
        let expected = echo(ECHO_REPLY, 7, 1);
        let mut datagram = vec![0x45; 20];
        datagram[12..16].copy_from_slice(&src.octets());
        datagram.extend_from_slice(&expected);
        assert_eq!(checksum::checksum(&expected), 0);
        assert!(is_answer(&datagram, src, &expected));
        assert!(!is_answer(&datagram, Ipv4Addr::LOCALHOST, &expected));
        assert!(!is_answer(&datagram, src, &echo(ECHO_REPLY, 7, 2)));
        assert!(!is_answer(&datagram[..83], src, &expected));
        datagram[83] ^= 1;
        assert!(!is_answer(&datagram, src, &expected));
        assert!(!is_answer(&[], src, &expected));
    }

    #[test]
    fn a_transfer_arrives_whole() {
        let Some((a, b)) = hosts() else { return };
        let report = tcp_transfer(&b, &a, "10.1.0.2:80".parse().unwrap(), 10_000_000, LONG, &NEVER).unwrap();
        assert_eq!((report.bytes, report.intact), (10_000_000, true));
        let nothing = tcp_transfer(&b, &a, "10.1.0.2:81".parse().unwrap(), 0, LONG, &NEVER).unwrap();
        assert_eq!((nothing.bytes, nothing.intact), (0, true));
        // More than can be through by then.
        let broken =
            tcp_transfer(&b, &a, "10.1.0.2:82".parse().unwrap(), 1 << 50, Duration::from_millis(200), &NEVER).unwrap();
        assert!(!broken.intact && broken.bytes > 0);
    }

    #[test]
    fn a_transfer_stops_when_it_is_told() {
        let Some((a, b)) = hosts() else { return };
        let stop = AtomicBool::new(true);
        let report = tcp_transfer(&b, &a, "10.1.0.2:80".parse().unwrap(), 1 << 50, LONG * 100, &stop).unwrap();
        assert!(!report.intact && report.bytes < 1 << 50);
    }

    #[test]
    fn no_connection_is_an_error() {
        let Some((a, b)) = hosts() else { return };
        Links::open(&b).unwrap().set_down("eth0").unwrap();
        let short = Duration::from_millis(100);
        let e = tcp_transfer(&b, &a, "10.1.0.2:80".parse().unwrap(), 1, short, &NEVER).unwrap_err();
        assert!(e.to_string().starts_with("connecting: "), "{e}");
        let e = tcp_transfer(&b, &a, "10.9.0.2:80".parse().unwrap(), 1, short, &NEVER).unwrap_err();
        assert!(e.to_string().starts_with("listening: "), "{e}");
    }

    #[test]
    fn the_pattern_tells_places_apart() {
        let p = Pattern::new();
        let mut data: Vec<u8> = p.at(65000, 9999).to_vec();
        data.extend_from_slice(p.at(65521, 1479));
        assert_eq!(data.len(), 2000);
        assert!(p.matches(65000, &data));
        assert!(!p.matches(65001, &data));
        assert!(!p.matches(65000 - 1448, &data));
    }
}

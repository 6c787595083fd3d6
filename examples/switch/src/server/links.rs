//! Cables between dummy devices of several processes: the options `stream` and `pstream`.
//!
//! Frames go over a stream with two bytes of length in front, in network order. A `pstream` takes several streams and sends to
//! all of them; a `stream` is connected again and again.

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use ovs_dpif::netdev::DummyControl;
use ovs_ofproto::session::edge::{Interest, Listener, Stream, StreamOptions};
use ovs_ofproto::session::{Endpoint, ListenOn};
use ovs_packet::{Instant, Packet};

use crate::vswitch::Dummies;

/// The pause between two attempts to connect.
const RETRY: Duration = Duration::from_millis(100);

/// Frames that wait to be sent on a stream; more are lost, as on a wire.
const QUEUE: usize = 500;

/// Streams that a listening device takes.
const MAX_STREAMS: usize = 64;

/// Bytes read at once.
const CHUNK: usize = 64 << 10;

#[derive(Debug)]
struct Wire {
    stream: Stream,
    is_connected: bool,
    input: Vec<u8>,
    /// Frames, each with its length; how much of the first is sent.
    output: VecDeque<Vec<u8>>,
    sent: usize,
}

impl Wire {
    fn new(stream: Stream) -> Wire {
        Wire { stream, is_connected: false, input: Vec::new(), output: VecDeque::new(), sent: 0 }
    }

    fn push(&mut self, frame: &[u8]) {
        if let Ok(len) = u16::try_from(frame.len())
            && self.output.len() < QUEUE
        {
            self.output.push_back([&len.to_be_bytes()[..], frame].concat());
        }
    }

    /// Sends and receives what can be. Why the stream is over, if it is.
    fn run(&mut self, port: &DummyControl) -> Result<(), std::io::Error> {
        if !self.is_connected {
            self.is_connected = self.stream.finish_connecting()?;
            if !self.is_connected {
                return Ok(());
            }
        }
        while let Some(frame) = self.output.front() {
            match self.stream.write(frame.get(self.sent..).unwrap_or_default()) {
                Ok(count) => {
                    self.sent += count;
                    if self.sent >= frame.len() {
                        self.output.pop_front();
                        self.sent = 0;
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        let mut buffer = vec![0; CHUNK];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::ConnectionReset.into()),
            Ok(count) => self.input.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
        let mut rest = self.input.as_slice();
        while let Some(len) = rest.first_chunk::<2>().map(|l| usize::from(u16::from_be_bytes(*l))) {
            let Some(frame) = rest.get(2..2 + len) else { break };
            if len >= 14 {
                port.receive(Packet::from_slice(frame), 0);
            }
            rest = rest.get(2 + len..).unwrap_or_default();
        }
        let taken = self.input.len() - rest.len();
        self.input.drain(..taken);
        Ok(())
    }
}

#[derive(Debug)]
enum End {
    Active { endpoint: Endpoint, retry_at: Instant },
    Passive(Listener),
}

#[derive(Debug)]
struct Link {
    target: String,
    port: DummyControl,
    end: End,
    wires: Vec<Wire>,
}

/// The cables of all dummy devices, as their options `stream` and `pstream` ask for them.
#[derive(Debug, Default)]
pub struct Links(BTreeMap<String, Link>);

impl Links {
    /// Has the cables that the devices' options name.
    pub fn configure(&mut self, dummies: &Dummies, now: Instant) {
        let all: BTreeMap<String, _> = dummies.all().into_iter().collect();
        let target_of = |name: &str| {
            let options = all.get(name)?;
            options.get("stream").or(options.get("pstream")).cloned()
        };
        self.0.retain(|name, link| target_of(name).as_ref() == Some(&link.target));
        for (name, options) in &all {
            let (Some(target), Some(port)) = (target_of(name), dummies.get(name)) else { continue };
            if self.0.contains_key(name) {
                continue;
            }
            let failed =
                |what: String| tracing::warn!(target: "netdev_dummy", "{name}: {target}: open failed ({what})");
            let end = if options.contains_key("stream") {
                match target.parse::<Endpoint>() {
                    Ok(endpoint) => End::Active { endpoint, retry_at: now },
                    Err(e) => {
                        failed(e.to_string());
                        continue;
                    }
                }
            } else {
                let bound = target.parse::<ListenOn>().map_err(|e| e.to_string());
                let bound =
                    bound.and_then(|p| Listener::bind(&p, &StreamOptions::default()).map_err(|e| e.to_string()));
                match bound {
                    Ok(listener) => End::Passive(listener),
                    Err(e) => {
                        failed(e);
                        continue;
                    }
                }
            };
            port.set_linked(true);
            self.0.insert(name.clone(), Link { target, port, end, wires: Vec::new() });
        }
    }

    /// Whether a device's cable leads somewhere; nothing if it has none.
    pub fn is_connected(&self, name: &str) -> Option<bool> {
        self.0.get(name).map(|link| link.wires.iter().any(|w| w.is_connected))
    }

    /// The names of the devices that have cables.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Carries frames both ways.
    pub fn run(&mut self, now: Instant) {
        for (name, link) in &mut self.0 {
            match &mut link.end {
                End::Active { endpoint, retry_at } if link.wires.is_empty() && now >= *retry_at => {
                    *retry_at = now + RETRY;
                    // Whoever listens may not be there yet.
                    link.wires.extend(Stream::connect(endpoint, &StreamOptions::default()).ok().map(Wire::new));
                }
                End::Active { .. } => {}
                End::Passive(listener) => {
                    while link.wires.len() < MAX_STREAMS {
                        let Ok(Some(stream)) = listener.accept() else { break };
                        link.wires.push(Wire::new(stream));
                    }
                }
            }
            while let Some(packet) = link.port.pop() {
                link.wires.iter_mut().for_each(|w| w.push(packet.data()));
            }
            link.wires.retain_mut(|wire| match wire.run(&link.port) {
                Ok(()) => true,
                Err(e) => {
                    tracing::debug!(target: "netdev_dummy", "{name}: {}: {e}", link.target);
                    false
                }
            });
        }
    }

    /// The descriptors to wait for, and what for.
    pub fn interest(&self) -> impl Iterator<Item = (BorrowedFd<'_>, Interest)> {
        self.0.values().flat_map(|link| {
            let listening = match &link.end {
                End::Passive(listener) => Some((listener.as_fd(), Interest { read: true, write: false })),
                End::Active { .. } => None,
            };
            let of = |w: &'_ Wire| Interest { read: true, write: !w.is_connected || !w.output.is_empty() };
            listening.into_iter().chain(link.wires.iter().map(move |w| (w.stream.as_fd(), w.stream.interest(of(w)))))
        })
    }

    /// How long to wait at most, if nothing happens to a descriptor.
    pub fn timeout(&self, now: Instant) -> Option<Duration> {
        let retries = self.0.values().filter(|l| l.wires.is_empty()).filter_map(|l| match &l.end {
            End::Active { retry_at, .. } => Some(retry_at.since(now)),
            End::Passive(_) => None,
        });
        retries.min()
    }
}

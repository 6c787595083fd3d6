//! The edge of a client: its connection, on a socket that does not block.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use ovs_stream::net::reason;

use super::sync::Client;
use crate::net::{self, Interest, Stream, StreamOptions};
use crate::rpc::SessionAction;

/// Bytes read at once.
const CHUNK: usize = 64 << 10;

/// Bytes read in one call of [`Driver::run`], so that a server that sends without end does not stop everything else.
const MAX_READ: usize = 1 << 20;

/// Runs a [`Client`] over sockets: see [`client`](super) for an example.
#[derive(Debug)]
pub struct Driver {
    client: Client,
    stream: Option<Stream>,
    buffer: Vec<u8>,
    /// Whether the last call ended with input left over.
    more: bool,
    options: StreamOptions,
}

impl Driver {
    /// Runs `client`, which has no connection yet.
    pub fn new(client: Client) -> Driver {
        Driver { client, stream: None, buffer: vec![0; CHUNK], more: false, options: net::plain() }
    }

    /// Gives the credentials that connections to `ssl:` remotes are made with from now on.
    #[cfg(feature = "tls")]
    pub fn set_credentials(&mut self, credentials: net::TlsConfig) {
        self.options.tls = Some(credentials);
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The client. What is to be sent is sent by the next [`Driver::run`].
    pub fn client_mut(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Does all that can be done without waiting: connects, reads, sends, and sees to the time. `now` is what passed
    /// since an epoch of the caller's choice, the one that the client was made with.
    pub fn run(&mut self, now: Duration) {
        self.run_ready(now, true);
    }

    /// As [`Driver::run`], for an owner who knows whether the descriptor is ready: what is not is not asked for input.
    pub fn run_ready(&mut self, now: Duration, is_ready: bool) {
        // What came in is read before the time is looked at: a program that was late is not to blame the server.
        let reads = is_ready || self.more;
        if self.client.take_close() {
            self.stream = None;
        }
        self.transfer(now, reads);
        while let Some(action) = self.client.poll_action(now) {
            match action {
                SessionAction::Close => self.stream = None,
                SessionAction::Connect(remote) => match Stream::connect(&remote, &self.options) {
                    Ok(stream) => self.stream = Some(stream),
                    Err(error) => self.client.handle_closed(now, &reason(&error)),
                },
            }
            self.transfer(now, true);
        }
    }

    fn transfer(&mut self, now: Duration, reads: bool) {
        if let Err(reason) = self.try_transfer(now, reads) {
            self.stream = None;
            self.client.handle_closed(now, &reason);
        }
    }

    fn try_transfer(&mut self, now: Duration, reads: bool) -> Result<(), String> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let text = |error: io::Error| reason(&error);
        if !self.client.is_connected() {
            if !reads || !stream.finish_connecting().map_err(text)? {
                return Ok(());
            }
            self.client.handle_connected(now);
        }
        let mut read = 0_usize;
        self.more &= !reads;
        while reads && self.client.wants_input() {
            if read >= MAX_READ {
                self.more = true;
                break;
            }
            match stream.read(&mut self.buffer) {
                Ok(0) => return Err("connection closed by peer".to_owned()),
                Ok(count) => {
                    read = read.saturating_add(count);
                    self.client.handle_input(now, self.buffer.get(..count).unwrap_or_default());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(text(error)),
            }
        }
        while !self.client.transmit().is_empty() {
            match stream.write(self.client.transmit()) {
                Ok(count) => self.client.transmitted(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(text(error)),
            }
        }
        match stream.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(text(error)),
            _ => Ok(()),
        }
    }

    /// The descriptor to wait for, and what for; nothing without a connection. Both may be others after each
    /// [`Driver::run`].
    pub fn interest(&self) -> Option<(BorrowedFd<'_>, Interest)> {
        let stream = self.stream.as_ref()?;
        let wanted = Interest { read: self.client.wants_input(), write: !self.client.transmit().is_empty() };
        Some((stream.as_fd(), stream.interest(wanted)))
    }

    /// When [`Driver::run`] is to be called, if nothing happens to the descriptor before.
    pub fn timeout(&self) -> Option<Duration> {
        if self.more { Some(Duration::ZERO) } else { self.client.poll_timeout() }
    }

    /// Waits until there is something to do, but no longer than `longest`: for programs without a loop of their own.
    ///
    /// # Errors
    /// What the system says.
    pub fn wait(&self, now: Duration, longest: Duration) -> io::Result<()> {
        let until = self.timeout().map_or(longest, |deadline| deadline.saturating_sub(now));
        net::wait(self.interest(), Some(until.min(longest)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ClientOptions, Monitor};
    use super::*;
    use crate::net::Listener;
    use crate::rpc::ListenOn;

    fn read(stream: &mut Stream) -> String {
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(count) => String::from_utf8(buffer[..count].to_vec()).unwrap(),
            Err(error) => error.kind().to_string(),
        }
    }

    #[test]
    fn a_connection_that_is_given_up_is_closed_and_not_spoken_on() {
        let path = std::env::temp_dir().join(format!("ovs-db-driver-{}", std::process::id()));
        let listener = Listener::bind(&ListenOn::Unix(path.clone()), &net::plain()).unwrap();
        let remote = format!("unix:{}", path.display()).parse().unwrap();
        let monitor = Monitor::new(crate::vswitch::schema());
        let now = Duration::from_secs;
        let mut driver = Driver::new(Client::new(monitor, vec![remote], ClientOptions::default(), now(0)));
        driver.run(now(0));
        let mut first = listener.accept().unwrap().unwrap();
        assert!(read(&mut first).contains("get_schema"));
        driver.client_mut().reconnect(now(0));
        driver.run(now(0));
        assert_eq!(read(&mut first), "", "closed, and nothing more was said");
        assert!(driver.interest().is_none() && driver.timeout() == Some(now(1)));
        driver.run(now(1));
        let mut second = listener.accept().unwrap().unwrap();
        assert!(read(&mut second).contains("get_schema"));
        second.write_all(b"HTTP/1.1 400 Bad Request").unwrap();
        driver.run(now(1));
        assert_eq!((read(&mut second).as_str(), driver.client().is_connected()), ("", false));
        drop(listener);
        driver.run(driver.timeout().unwrap());
        assert_eq!(driver.client().session().last_error(), Some("No such file or directory"));
    }
}

//! The other side of unixctl: commands to a daemon.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use crate::json::Json;
use crate::net::{self, Interest, Stream};
use crate::rpc::{FrameError, FrameLimits, Framer, Message, MessageError, Remote};

/// Why there is no answer to a command.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// There is no connection.
    #[error("cannot connect ({0})")]
    Connect(#[source] io::Error),
    /// The connection failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The daemon closed the connection.
    #[error("the daemon closed the connection")]
    Closed,
    /// The time was over before the answer.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// What came is not JSON.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// What came is not JSON-RPC.
    #[error("{0}")]
    Message(#[from] MessageError),
    /// What came is no answer to what was asked.
    #[error("the daemon sent something else than an answer")]
    Unexpected,
}

/// A connection to a daemon's control socket. It waits for each answer; a program with a loop of its own has no use for it.
///
/// ```no_run
/// use std::path::Path;
/// use std::time::{Duration, Instant};
/// use ovs_db::unixctl::Client;
///
/// let socket = Path::new("/run/openvswitch/ovsdb-server.77.ctl");
/// let start = Instant::now();
/// let mut client = Client::connect(socket, Duration::from_secs(5), move || start.elapsed())?;
/// match client.call("list-commands", &[])? {
///     Ok(answer) => println!("{}", answer.as_str().unwrap_or_default()),
///     Err(reason) => eprintln!("refused: {reason}"),
/// }
/// # Ok::<(), ovs_db::unixctl::ClientError>(())
/// ```
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    framer: Framer,
    clock: Clock,
    next_id: i64,
}

/// The time that is left for everything.
struct Clock {
    limit: Duration,
    elapsed: Box<dyn Fn() -> Duration>,
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl Clock {
    fn left(&self) -> Result<Duration, ClientError> {
        let left = self.limit.saturating_sub((self.elapsed)());
        if left.is_zero() { Err(ClientError::TimedOut(self.limit)) } else { Ok(left) }
    }

    fn wait(&self, stream: &Stream, interest: Interest) -> Result<(), ClientError> {
        net::wait([(stream.as_fd(), interest)], Some(self.left()?))?;
        self.left().map(drop)
    }
}

const READ: Interest = Interest { read: true, write: false };
const WRITE: Interest = Interest { read: false, write: true };

impl Client {
    /// Connects to a control socket. `limit` is the time for everything that this client will do, `elapsed` tells how
    /// much of it is over.
    ///
    /// # Errors
    /// [`ClientError::Connect`], [`ClientError::TimedOut`].
    pub fn connect(
        socket: &Path,
        limit: Duration,
        elapsed: impl Fn() -> Duration + 'static,
    ) -> Result<Client, ClientError> {
        let clock = Clock { limit, elapsed: Box::new(elapsed) };
        let remote = Remote::Unix(socket.into());
        let stream = loop {
            match Stream::connect(&remote, &net::plain()) {
                Ok(stream) => break stream,
                // The daemon has more connections waiting than it accepts: it is to have the time to.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::sleep(clock.left()?.min(Duration::from_millis(10)));
                }
                Err(error) => return Err(ClientError::Connect(error)),
            }
        };
        let limits = FrameLimits { message: 1 << 30, ..FrameLimits::default() };
        Ok(Client { stream, framer: Framer::new(limits), clock, next_id: 0 })
    }

    /// Gives a command and waits for the answer: what the daemon returns, or in the inner error why it refuses.
    ///
    /// # Errors
    /// [`ClientError`]; after one the connection is of no more use.
    pub fn call(&mut self, command: &str, arguments: &[&str]) -> Result<Result<Json, Json>, ClientError> {
        let id = Json::Integer(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        let params = arguments.iter().map(|argument| Json::string(*argument)).collect();
        let request = Message::Request { method: command.to_owned(), params, id: id.clone() }.encode();
        let mut rest = request.as_slice();
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.clock.wait(&self.stream, WRITE)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = match self.stream.read(&mut buffer) {
                Ok(0) => return Err(ClientError::Closed),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.clock.wait(&self.stream, READ)?;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            // A daemon sends nothing unasked, so what is behind the answer is of no interest.
            let mut input = buffer.get(..count).unwrap_or_default();
            if let Some(json) = self.framer.next(&mut input)? {
                return match Message::from_json(json)? {
                    Message::Response { result, id: answered } if answered == id => Ok(Ok(result)),
                    Message::Error { error, id: answered } if answered == id => Ok(Err(error)),
                    _ => Err(ClientError::Unexpected),
                };
            }
            self.clock.left()?;
        }
    }
}

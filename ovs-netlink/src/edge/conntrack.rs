//! Connections, and when they are forgotten: what a switch asks netfilter.

use super::socket::{Connect, Protocol, Socket, SocketError};
use crate::nf::{Connection, ConnectionFilter, CpuStats, Expectation, TableStats, TimeoutPolicy, Tuple};
use crate::reply::ReplyError;

/// The kernel's connection tracker.
///
/// ```no_run
/// use ovs_netlink::{Conntrack, Linux, nf::ConnectionFilter};
///
/// let mut tracker = Conntrack::open(&Linux)?;
/// let zone = ConnectionFilter { zone: Some(7), ..ConnectionFilter::default() };
/// for connection in tracker.connections(&zone, 10_000)? {
///     println!("{:?}", connection.orig);
/// }
/// println!("{} forgotten", tracker.flush(&zone)?);
/// # Ok::<(), ovs_netlink::SocketError>(())
/// ```
#[derive(Debug)]
pub struct Conntrack {
    socket: Socket,
}

impl Conntrack {
    /// Far more than what a machine has of CPUs, expectations or policies.
    const MAX: usize = 1 << 16;

    /// Opens a socket to it.
    ///
    /// # Errors
    /// [`SocketError::System`].
    pub fn open(kernel: &impl Connect) -> Result<Conntrack, SocketError> {
        Ok(Conntrack { socket: kernel.connect(Protocol::Netfilter)? })
    }

    /// The connections that `filter` matches, at most `max` of all that there are.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn connections(&mut self, filter: &ConnectionFilter, max: usize) -> Result<Vec<Connection>, SocketError> {
        let mut request = Vec::new();
        filter.encode_dump(&mut request)?;
        let mut all = self.socket.dump(&mut request, max, Connection::decode)?;
        all.retain(|connection| filter.matches(connection));
        Ok(all)
    }

    /// Forgets the connections that `filter` matches, and says how many. The kernel forgets all at once (the number is
    /// then of those before); others are listed and forgotten one by one, as older kernels know no other way.
    ///
    /// # Errors
    /// [`SocketError`]. A connection that is gone already is no error.
    pub fn flush(&mut self, filter: &ConnectionFilter) -> Result<usize, SocketError> {
        let mut requests = Vec::new();
        if *filter == ConnectionFilter::default() {
            let before = self.table()?.entries;
            ConnectionFilter::encode_flush(&mut requests)?;
            self.socket.transact(&mut requests, |_| Ok(()))?;
            return Ok(usize::try_from(before).unwrap_or(usize::MAX));
        }
        let connections = self.connections(filter, usize::MAX)?;
        connections.iter().try_for_each(|connection| connection.encode_delete(&mut requests))?;
        let results = self.socket.batch(&mut requests, |_, _| Ok(()))?;
        let mut forgotten = 0_usize;
        for result in results {
            match result {
                Ok(()) => forgotten = forgotten.saturating_add(1),
                Err(ReplyError::Refused(ack)) if ack.errno == libc::ENOENT => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(forgotten)
    }

    /// Forgets the connection of `zone` whose first packet had this tuple.
    ///
    /// # Errors
    /// [`SocketError`]; a refusal with `ENOENT` when there is none.
    pub fn delete(&mut self, tuple: &Tuple, zone: u16) -> Result<(), SocketError> {
        let mut request = Vec::new();
        tuple.encode_delete(zone, &mut request)?;
        self.socket.transact(&mut request, |_| Ok(()))
    }

    /// What each CPU counted.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn cpu_stats(&mut self) -> Result<Vec<CpuStats>, SocketError> {
        let mut request = Vec::new();
        CpuStats::encode_dump(&mut request)?;
        self.socket.dump(&mut request, Conntrack::MAX, CpuStats::decode)
    }

    /// How full the table is.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn table(&mut self) -> Result<TableStats, SocketError> {
        let mut request = Vec::new();
        TableStats::encode_get(&mut request)?;
        self.socket.transact_one(&mut request, TableStats::decode)
    }

    /// The connections that helpers wait for.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn expectations(&mut self) -> Result<Vec<Expectation>, SocketError> {
        let mut request = Vec::new();
        Expectation::encode_dump(&mut request)?;
        self.socket.dump(&mut request, Conntrack::MAX, Expectation::decode)
    }

    /// Makes a timeout policy, or changes the one of its name and protocol.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn set_timeout_policy(&mut self, policy: &TimeoutPolicy) -> Result<(), SocketError> {
        let mut request = Vec::new();
        policy.encode_set(&mut request)?;
        self.socket.transact(&mut request, |_| Ok(()))
    }

    /// The timeout policy of this name.
    ///
    /// # Errors
    /// [`SocketError`]; a refusal with `ENOENT` when there is none.
    pub fn timeout_policy(&mut self, name: &[u8]) -> Result<TimeoutPolicy, SocketError> {
        let mut request = Vec::new();
        TimeoutPolicy::encode_get(name, &mut request)?;
        self.socket.transact_one(&mut request, TimeoutPolicy::decode)
    }

    /// All timeout policies.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn timeout_policies(&mut self) -> Result<Vec<TimeoutPolicy>, SocketError> {
        let mut request = Vec::new();
        TimeoutPolicy::encode_dump(&mut request)?;
        self.socket.dump(&mut request, Conntrack::MAX, TimeoutPolicy::decode)
    }

    /// What holds for connections of a protocol without a policy: without a name.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn default_timeouts(&mut self, ethertype: u16, protocol: u8) -> Result<TimeoutPolicy, SocketError> {
        let mut request = Vec::new();
        TimeoutPolicy::encode_get_default(ethertype, protocol, &mut request)?;
        self.socket.transact_one(&mut request, TimeoutPolicy::decode)
    }

    /// Forgets a timeout policy.
    ///
    /// # Errors
    /// [`SocketError`]; a refusal with `ENOENT` when there is none, with `EBUSY` while a flow or a connection has it.
    pub fn delete_timeout_policy(&mut self, name: &[u8]) -> Result<(), SocketError> {
        let mut request = Vec::new();
        TimeoutPolicy::encode_delete(name, &mut request)?;
        self.socket.transact(&mut request, |_| Ok(()))
    }
}

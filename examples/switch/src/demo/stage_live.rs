//! The demo's stage on Linux: namespaces, veth pairs, packet sockets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ovs_dpif::netdev::PacketSocket;
use ovs_packet::{EthAddr, Instant};

use super::links::Links;
use super::netns::{Namespace, NamespaceError};
use super::stage::{Ping, Stage, StageError, Transfer};
use super::traffic;
use crate::live::LiveSwitch;
use crate::switch::{Switch, SwitchConfig};

/// The hosts: name, its port on the switch, address. Each is a namespace with one interface, `eth0`.
const HOSTS: [(&str, &str, Ipv4Addr); 2] =
    [("a", "demo-a", Ipv4Addr::new(10, 77, 0, 1)), ("b", "demo-b", Ipv4Addr::new(10, 77, 0, 2))];

const TCP_PORT: u16 = 5201;

/// How long an answer to a ping may take.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long a transfer may take.
const TRANSFER_LIMIT: Duration = Duration::from_secs(60);

/// Two hosts in network namespaces of their own, and the switch's ports in a third: nothing of it is seen outside,
/// and the kernel removes it all when the process ends, in whatever way.
#[derive(Debug)]
pub struct LiveStage {
    // First, so that it is the first to go: the interfaces go with the hosts, and it would complain.
    switch: LiveSwitch,
    a: Namespace,
    b: Namespace,
    _ports: Namespace,
}

impl LiveStage {
    /// The stage, set up.
    ///
    /// # Errors
    /// If the process may not make namespaces ([`NamespaceError::NotPermitted`] tells the caller to do without), or
    /// the system refuses something else.
    pub fn new() -> Result<LiveStage, NotLive> {
        let (a, b, ports) = (Namespace::new()?, Namespace::new()?, Namespace::new()?);
        let links = Links::open(&ports).map_err(StageError::new)?;
        for ((_, port, ip), (host, n)) in HOSTS.iter().zip([(&a, 1), (&b, 2)]) {
            links.add_veth(port, host, "eth0").map_err(StageError::new)?;
            links.set_up(port).map_err(StageError::new)?;
            let inside = Links::open(host).map_err(StageError::new)?;
            inside.set_address("eth0", EthAddr::local(n)).map_err(StageError::new)?;
            inside.add_ip("eth0", IpAddr::V4(*ip), 24).map_err(StageError::new)?;
            inside.set_up("eth0").map_err(StageError::new)?;
        }
        let mut switch = Switch::new(&SwitchConfig::new("br0").seed(fastrand::u64(..)));
        for (_, port, _) in HOSTS {
            let socket = ports.run(|| PacketSocket::open(port))?.map_err(StageError::new)?;
            switch.add_port(Box::new(socket), Default::default()).map_err(StageError::new)?;
        }
        let switch = LiveSwitch::start(switch).map_err(StageError::new)?;
        Ok(LiveStage { switch, a, b, _ports: ports })
    }
}

/// Why there is no live stage.
#[derive(Debug, thiserror::Error)]
pub enum NotLive {
    /// Namespaces are refused, or cannot be entered.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// Something else failed.
    #[error(transparent)]
    Other(#[from] StageError),
}

impl Stage for LiveStage {
    fn kind(&self) -> &'static str {
        "live"
    }

    fn describe(&self) -> String {
        "two network namespaces, veth pairs, AF_PACKET ports, the kernel's own TCP/IP at both ends".into()
    }

    fn hosts(&self) -> [(String, String); 2] {
        HOSTS.map(|(name, _, ip)| (name.to_string(), ip.to_string()))
    }

    fn ping(&mut self, count: u16, interval: Duration) -> Result<Ping, StageError> {
        let report = self.a.run(|| traffic::ping(HOSTS[1].2, count, interval, PATIENCE)).map_err(StageError::new)?;
        let report = report.map_err(StageError::new)?;
        Ok(Ping { sent: report.sent.into(), received: report.received.into(), rtts: report.rtts })
    }

    fn transfer(&mut self, bytes: u64, stop: &AtomicBool) -> Result<Option<Transfer>, StageError> {
        let to = SocketAddr::new(IpAddr::V4(HOSTS[1].2), TCP_PORT);
        let report =
            traffic::tcp_transfer(&self.b, &self.a, to, bytes, TRANSFER_LIMIT, stop).map_err(StageError::new)?;
        Ok(Some(Transfer { bytes: report.bytes, intact: report.intact, bits_per_second: report.bits_per_second() }))
    }

    fn switch<T: Send + 'static>(
        &mut self,
        f: impl FnOnce(&mut Switch, Instant) -> T + Send + 'static,
    ) -> Result<T, StageError> {
        self.switch.call(f).map_err(StageError::new)
    }
}

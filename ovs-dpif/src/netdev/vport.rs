//! The port of a userspace datapath that stands for a kind of tunnel: nothing comes in or goes out by it.
//!
//! Packets come by it when `tnl_pop` has taken their outer headers off, and `tnl_push` sends by another port what it has put
//! headers in front of.

use ovs_packet::PacketBatch;

use super::{Netdev, NetdevError, Offloads};
use crate::dpif::TunnelPort;

/// The port of a userspace datapath that stands for a kind of tunnel. It takes no packets.
///
/// ```
/// use ovs_dpif::netdev::{Netdev, Vport};
/// use ovs_dpif::TunnelPort;
///
/// let vport = Vport::new("genev_sys_6081", TunnelPort::Geneve { port: 6081 });
/// assert_eq!((vport.kind(), vport.tunnel()), ("geneve", Some(TunnelPort::Geneve { port: 6081 })));
/// ```
#[derive(Clone, Debug)]
pub struct Vport {
    name: String,
    tunnel: TunnelPort,
}

impl Vport {
    /// A port of this name for this kind of tunnel.
    pub fn new(name: impl Into<String>, tunnel: TunnelPort) -> Vport {
        Vport { name: name.into(), tunnel }
    }
}

impl Netdev for Vport {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        self.tunnel.kind()
    }

    fn receive(&mut self, _batch: &mut PacketBatch) -> Result<usize, NetdevError> {
        Ok(0)
    }

    fn send(&mut self, _batch: &mut PacketBatch) -> Result<(), NetdevError> {
        Ok(())
    }

    fn offloads(&self) -> Offloads {
        Offloads::ALL
    }

    fn mtu(&self) -> usize {
        usize::from(u16::MAX)
    }

    fn another(&self) -> Option<Box<dyn Netdev>> {
        Some(Box::new(self.clone()))
    }

    fn tunnel(&self) -> Option<TunnelPort> {
        Some(self.tunnel)
    }
}

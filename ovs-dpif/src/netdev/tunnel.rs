//! A port that stands for the tunnels of one kind: nothing comes in by it or leaves.

use ovs_packet::{EthAddr, PacketBatch};

use super::{Netdev, NetdevError, NetdevStats, Offloads};
use crate::dpif::TunnelPort;

/// What the datapath has in the place of a tunnel port's device. Packets are put into tunnels, and taken out, by actions;
/// one that is sent out of the port itself has no outer header, and is refused.
#[derive(Clone, Debug)]
pub struct TunnelDevice {
    name: String,
    kind: TunnelPort,
}

impl TunnelDevice {
    /// A port of this name.
    pub fn new(name: impl Into<String>, kind: TunnelPort) -> TunnelDevice {
        TunnelDevice { name: name.into(), kind }
    }
}

impl Netdev for TunnelDevice {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        match self.kind {
            TunnelPort::Vxlan { .. } => "vxlan",
            TunnelPort::Geneve { .. } => "geneve",
            TunnelPort::Gre => "gre",
            TunnelPort::Ip6Gre => "ip6gre",
            TunnelPort::Erspan => "erspan",
            TunnelPort::Ip6Erspan => "ip6erspan",
            TunnelPort::Bareudp { .. } => "bareudp",
            TunnelPort::Gtpu { .. } => "gtpu",
            TunnelPort::Srv6 => "srv6",
        }
    }

    fn receive(&mut self, _: &mut PacketBatch) -> Result<usize, NetdevError> {
        Ok(0)
    }

    fn send(&mut self, _: &mut PacketBatch) -> Result<(), NetdevError> {
        Ok(())
    }

    fn offloads(&self) -> Offloads {
        Offloads::ALL
    }

    fn address(&self) -> Option<EthAddr> {
        None
    }

    fn mtu(&self) -> usize {
        usize::from(u16::MAX)
    }

    fn stats(&self) -> NetdevStats {
        NetdevStats::default()
    }

    fn another(&self) -> Option<Box<dyn Netdev>> {
        Some(Box::new(self.clone()))
    }

    fn tunnel(&self) -> Option<TunnelPort> {
        Some(self.kind)
    }
}

//! The statistics of flow export by IPFIX (NXST_IPFIX_*).

use super::io::{Done, Io};
#[cfg(feature = "serde")]
use crate::json::form::*;

/// What an exporter has seen. All ones are not counted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct IpfixStats {
    /// Flows, ended ones included.
    pub flows: u64,
    /// Flows now.
    pub current_flows: u64,
    /// Packets sampled.
    pub packets: u64,
    /// Of those, of IPv4 and IPv6.
    #[cfg_attr(feature = "serde", serde(rename = "sampled", with = "As::<Record<IpVersions>>"))]
    pub ip: [u64; 2],
    /// Packets that could not be sampled.
    pub errors: u64,
    /// Of those, of IPv4 and IPv6.
    #[cfg_attr(feature = "serde", serde(with = "As::<Record<IpVersions>>"))]
    pub ip_errors: [u64; 2],
    /// Packets sent to collectors, and those that could not be.
    #[cfg_attr(feature = "serde", serde(with = "As::<Record<IpfixSent>>"))]
    pub sent: [u64; 2],
    /// The set of collectors; 0 for that of the bridge.
    #[cfg_attr(feature = "serde", serde(rename = "collector_set_id"))]
    pub collector_set: u32,
}

impl IpfixStats {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        io.u64(&mut self.flows)?;
        io.u64(&mut self.current_flows)?;
        io.u64(&mut self.packets)?;
        self.ip.iter_mut().try_for_each(|n| io.u64(n))?;
        io.u64(&mut self.errors)?;
        self.ip_errors.iter_mut().try_for_each(|n| io.u64(n))?;
        self.sent.iter_mut().try_for_each(|n| io.u64(n))?;
        io.u32(&mut self.collector_set)?;
        io.pad(4)
    }
}

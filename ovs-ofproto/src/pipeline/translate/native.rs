//! Tunnels whose outer header the switch itself puts in front of packets, for a datapath that has no tunnels of its own.

use ovs_dpif::DropReason;
use ovs_packet::OfPort;

use super::Translator;
use super::tunnel::Departure;

impl Translator<'_> {
    /// Puts the outer header in front of the packet and sends it where the route says. The packet is as its key says when
    /// this is called: all changes are committed.
    ///
    /// # Errors
    /// Why the packet is not sent. Nothing was written then.
    pub(super) fn push_tunnel(&mut self, departure: &Departure<'_>) -> Result<(), DropReason> {
        let kind = departure.config.kind;
        self.warn(|| format!("headers of {kind} are not made here"));
        Err(DropReason::UnsupportedAction)
    }

    /// Whether what is sent out of a port is for the end of a tunnel here: then it goes there instead. No tunnel ends here.
    pub(super) fn terminates(&mut self, _port: OfPort) -> bool {
        false
    }
}

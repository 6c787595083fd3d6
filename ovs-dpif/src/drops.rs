//! Why packets are dropped, and the ledger that accounts for every one.

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])+ $name:ident = $id:literal, $text:literal;)+) => {
        /// Why a packet was dropped. Each reason has a counter in the [`Ledger`].
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[non_exhaustive]
        pub enum DropReason {
            $($(#[$doc])+ $name,)+
        }

        impl DropReason {
            /// All reasons.
            pub const ALL: &[DropReason] = &[$(DropReason::$name,)+];

            /// The counter's name: stable, in lower case with underscores.
            pub const fn id(self) -> &'static str {
                match self { $(DropReason::$name => $id,)+ }
            }

            /// The reason whose counter has this name.
            pub fn of_id(id: &str) -> Option<DropReason> {
                DropReason::ALL.iter().copied().find(|reason| reason.id() == id)
            }

            /// What happened, in a few words.
            pub const fn text(self) -> &'static str {
                match self { $(DropReason::$name => $text,)+ }
            }
        }
    };
}

reasons! {
    /// The packet is shorter than an Ethernet header.
    InvalidPacket = "invalid_packet", "it is shorter than an Ethernet header";
    /// A flow without actions matched.
    FlowDrop = "flow_drop", "a flow drops it";
    /// No flow matched, and the table drops what misses.
    TableMiss = "table_miss", "no flow matched";
    /// Actions were executed, but none of them sent the packet anywhere.
    NoOutput = "no_output", "no port to send it to";
    /// The VLAN is not one of the ingress port's.
    VlanFiltered = "vlan_filtered", "its VLAN is not one of the port's";
    /// Addressed to a group that bridges do not forward.
    ReservedAddress = "reserved_address", "bridges do not forward its destination";
    /// The ingress port takes part in no forwarding.
    UnknownIngress = "unknown_ingress", "its ingress port is unknown";
    /// Translation went round too often.
    TooManyResubmits = "too_many_resubmits", "too many resubmits";
    /// Lookups led back to earlier tables too often.
    TooDeep = "too_deep", "too deep resubmits";
    /// The pipeline's stack is full.
    StackTooDeep = "stack_too_deep", "too much was pushed onto the stack";
    /// The actions are too long.
    ActionsTooLong = "actions_too_long", "too many actions";
    /// Too many MPLS labels.
    TooManyLabels = "too_many_labels", "more MPLS labels than a key holds";
    /// There was congestion on the way through its tunnel, and its transport would not know (RFC 6040).
    NotEcnCapable = "not_ecn_capable", "there was congestion in its tunnel, and its transport knows no marks";
    /// The options of its tunnel make no sense.
    TunnelMetadata = "tunnel_metadata", "the options of its tunnel cannot be read";
    /// An action that packets of its type cannot have.
    UnsupportedPacketType = "unsupported_packet_type", "an action does not fit its type";
    /// An action that the datapath cannot execute.
    UnsupportedAction = "unsupported_action", "the datapath cannot execute an action";
    /// All recirculation ids are in use.
    NoRecirculation = "no_recirculation", "no recirculation id is free";
    /// The port does not take packets in, or give them out.
    ForwardingDisabled = "forwarding_disabled", "the port does not forward";
    /// The TTL is used up.
    TtlExpired = "ttl_expired", "its TTL is used up";
    /// The recirculation id means nothing any more.
    UnknownRecirculation = "unknown_recirculation", "its recirculation id is unknown";
    /// Recirculated more often than is allowed.
    RecirculationDepth = "recirculation_depth", "recirculated too often";
    /// The port to send to is gone.
    UnknownPort = "unknown_port", "its egress port is gone";
    /// The bond to send to is gone.
    UnknownBond = "unknown_bond", "its bond is gone";
    /// The device to send to had no room.
    TxFull = "tx_full", "the egress device had no room";
    /// The device to send to is down or broken.
    TxError = "tx_error", "the egress device failed";
    /// Too many packets wait for the slow path.
    UpcallQueueFull = "upcall_queue_full", "too many packets wait for the slow path";
    /// The port has more misses than it may have.
    UpcallRate = "upcall_rate", "its port has too many packets for the slow path";
    /// A meter's rate is exceeded.
    MeterExceeded = "meter_exceeded", "it came faster than a meter allows";
    /// Its outer header is none of the tunnel's, or is not in order.
    TunnelPop = "tunnel_pop", "its outer header is not in order";
    /// The outer header cannot be put in front of it.
    TunnelPush = "tunnel_push", "it does not fit into the tunnel";
    /// No route leads to the other end of its tunnel.
    TunnelRouting = "tunnel_routing", "no route leads to the other end of its tunnel";
    /// The next hop to the other end of its tunnel has not answered yet.
    TunnelNeighbour = "tunnel_neighbour", "the next hop of its tunnel is not known yet";
    /// No outer header can be made of what it and its tunnel say.
    TunnelHeader = "tunnel_header", "its tunnel's outer header cannot be made";
    /// A fragment that connection tracking does not put together with others.
    Fragment = "fragment", "a fragment that fits no datagram";
    /// The worker that had it panicked.
    WorkerPanic = "worker_panic", "the worker that had it failed";
    /// An action could not be applied to the packet.
    EditFailed = "edit_failed", "an action does not fit it";
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// The accounts of a datapath: every packet that enters is counted out exactly once.
///
/// [`balanced`](Ledger::balanced) is the invariant: received and injected packets are as many as those forwarded,
/// consumed, dropped, and still in flight to the slow path. A packet that was sent at least once counts as forwarded,
/// however many copies were made; one that only userspace got counts as consumed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ledger {
    /// Packets that came from ports.
    pub received: u64,
    /// Packets that the switch itself made, such as a controller's packet-out.
    pub injected: u64,
    /// Packets of which at least one copy was sent.
    pub forwarded: u64,
    /// Packets that went to userspace and nowhere else.
    pub consumed: u64,
    /// Packets that wait for the slow path.
    pub in_flight: u64,
    drops: [u64; DropReason::ALL.len()],
}

impl Default for Ledger {
    fn default() -> Self {
        Ledger { received: 0, injected: 0, forwarded: 0, consumed: 0, in_flight: 0, drops: [0; DropReason::ALL.len()] }
    }
}

impl Ledger {
    /// Packets dropped for `reason`.
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.drops.get(reason as usize).copied().unwrap_or(0)
    }

    /// The reasons for which anything was dropped, with their counts.
    pub fn dropped(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::ALL.iter().map(|r| (*r, self.drops(*r))).filter(|(_, n)| *n > 0)
    }

    /// All packets dropped.
    pub fn dropped_total(&self) -> u64 {
        self.drops.iter().sum()
    }

    /// Whether every packet is accounted for.
    pub fn balanced(&self) -> bool {
        self.received + self.injected == self.forwarded + self.consumed + self.in_flight + self.dropped_total()
    }

    pub(crate) fn drop_one(&mut self, reason: DropReason) {
        self.drop_all(reason, 1);
    }

    pub(crate) fn drop_all(&mut self, reason: DropReason, packets: u64) {
        if let Some(n) = self.drops.get_mut(reason as usize) {
            *n += packets;
        }
    }

    /// Accounts for packets that came in and were lost on their way.
    pub(crate) fn write_off(&mut self, reason: DropReason) {
        let out = self.forwarded + self.consumed + self.in_flight + self.dropped_total();
        self.drop_all(reason, (self.received + self.injected).saturating_sub(out));
    }

    /// Adds the accounts of another part of the datapath.
    pub(crate) fn merge(&mut self, other: &Ledger) {
        let Ledger { received, injected, forwarded, consumed, in_flight, drops } = other;
        self.received += received;
        self.injected += injected;
        self.forwarded += forwarded;
        self.consumed += consumed;
        self.in_flight += in_flight;
        self.drops.iter_mut().zip(drops).for_each(|(a, b)| *a += b);
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ledger { received, injected, forwarded, consumed, in_flight, drops: _ } = self;
        write!(f, "in {received}+{injected} = forwarded {forwarded} + consumed {consumed} + in flight {in_flight}")?;
        write!(f, " + dropped {}", self.dropped_total())?;
        for (i, (reason, n)) in self.dropped().enumerate() {
            write!(f, "{}{} {n}", if i == 0 { " (" } else { ", " }, reason.id())?;
        }
        f.write_str(if self.dropped_total() > 0 { ")" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_told_apart() {
        let mut ids: Vec<_> = DropReason::ALL.iter().map(|r| r.id()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), DropReason::ALL.len());
    }

    #[test]
    fn the_ledger_shows_an_imbalance() {
        let mut l = Ledger { received: 2, forwarded: 1, ..Ledger::default() };
        assert!(!l.balanced());
        l.drop_one(DropReason::TxFull);
        assert!(l.balanced());
        assert_eq!(l.to_string(), "in 2+0 = forwarded 1 + consumed 0 + in flight 0 + dropped 1 (tx_full 1)");
    }
}

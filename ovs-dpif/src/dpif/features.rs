//! What datapaths can do, each as far as it does.

#[cfg(doc)]
use super::Dpif;

/// What a datapath can do, for whoever writes actions for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Features {
    /// VLAN tags that keys tell of.
    pub vlan_headers: u8,
    /// MPLS label stack entries that keys tell of.
    pub mpls_depth: u8,
    /// How deep `sample` actions may nest.
    pub sample_nesting: u8,
    /// How many meters there can be; none where there are no meters.
    pub meters: u32,
    /// How many bands a meter has at most.
    pub meter_bands: u8,
    /// `clone` actions.
    pub clone: bool,
    /// `trunc` actions.
    pub trunc: bool,
    /// `check_pkt_len` actions.
    pub check_pkt_len: bool,
    /// `dec_ttl` actions.
    pub dec_ttl: bool,
    /// `ct_clear` actions.
    pub ct_clear: bool,
    /// `drop` actions that tell a reason.
    pub explicit_drop: bool,
    /// Setting what messages of ARP, ICMP and neighbour discovery say.
    pub set_messages: bool,
    /// `add_mpls` actions.
    pub add_mpls: bool,
    /// `push_eth` and `pop_eth` actions, and packets that begin at layer 3.
    pub packet_types: bool,
    /// `lb_output` actions.
    pub lb_output: bool,
    /// `psample` actions.
    pub psample: bool,
    /// `tnl_push` and `tnl_pop` actions, which the switch has to use: the datapath's tunnel ports make no outer headers.
    pub native_tunnels: bool,
    /// Whether megaflows [obey](Dpif#megaflows-that-obey) a pipeline that [publishes](Dpif::publish) its changes.
    pub versions: bool,
    /// `ct` actions and what keys tell of them.
    pub ct: bool,
    /// Zones of connection tracking.
    pub ct_zones: bool,
    /// Labels of connections.
    pub ct_labels: bool,
    /// Timeout policies in `ct` actions.
    pub ct_timeouts: bool,
    /// Whether the [ledger](Dpif::ledger) tells the fate of every packet, and not only of those that came up.
    pub whole_ledger: bool,
}

impl Features {
    /// Nothing beyond what every datapath has to do.
    pub const NONE: Features = Features {
        vlan_headers: 1,
        mpls_depth: 1,
        sample_nesting: 0,
        meters: 0,
        meter_bands: 0,
        clone: false,
        trunc: false,
        check_pkt_len: false,
        dec_ttl: false,
        ct_clear: false,
        explicit_drop: false,
        set_messages: false,
        add_mpls: false,
        packet_types: false,
        lb_output: false,
        psample: false,
        native_tunnels: false,
        versions: false,
        ct: false,
        ct_zones: false,
        ct_labels: false,
        ct_timeouts: false,
        whole_ledger: false,
    };
}

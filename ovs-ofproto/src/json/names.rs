//! The names of numbers and bits, as the specifications have them without their prefixes.

/// Names in their order.
pub(crate) trait Table {
    /// Numbers, or bits, with their names.
    const NAMES: &'static [(u32, &'static str)];
}

macro_rules! tables {
    ($($(#[$doc:meta])+ $table:ident { $($number:literal $name:literal)+ })+) => {
        $($(#[$doc])+
        pub(crate) struct $table;

        impl Table for $table {
            const NAMES: &'static [(u32, &'static str)] = &[$(($number, $name),)+];
        })+
    };
}

tables! {
    /// Numbers of buffers.
    BufferId { 0xffff_ffff "none" }
    /// Numbers of groups (`OFPG_*`).
    GroupId { 0xffff_fffc "all" 0xffff_ffff "any" }
    /// Numbers of buckets (`OFPG_BUCKET_*`).
    BucketId { 0xffff_fffd "first" 0xffff_fffe "last" 0xffff_ffff "all" }
    /// Types of groups (`OFPGT_*`).
    GroupType { 0 "all" 1 "select" 2 "indirect" 3 "fast_failover" }
    /// `OFPGC_*`, and Nicira's.
    GroupCommand { 0 "add" 1 "modify" 2 "delete" 3 "insert_bucket" 5 "remove_bucket" 0x8000 "add_or_modify" }
    /// `OFPGFC_*`.
    GroupCapabilities { 1 "select_weight" 2 "select_liveness" 4 "chaining" 8 "chaining_checks" }
    /// Bits of the types of groups.
    GroupTypes { 1 "all" 2 "select" 4 "indirect" 8 "fast_failover" }
    /// Numbers of meters (`OFPM_*`).
    MeterId { 0xffff_fffd "slowpath" 0xffff_fffe "controller" 0xffff_ffff "all" }
    /// `OFPMC_*`.
    MeterCommand { 0 "add" 1 "modify" 2 "delete" }
    /// `OFPMF_*`.
    MeterFlags { 1 "kbps" 2 "pktps" 4 "burst" 8 "stats" }
    /// `OFPMBT_*`.
    BandType { 1 "drop" 2 "dscp_remark" }
    /// Bits of the types of bands.
    BandTypes { 2 "drop" 4 "dscp_remark" }
    /// Numbers of queues (`OFPQ_*`).
    QueueId { 0xffff_ffff "all" }
    /// `OFPPC_*`, with those of OpenFlow 1.0 alone.
    PortConfig { 1 "port_down" 2 "no_stp" 4 "no_recv" 8 "no_recv_stp" 16 "no_flood" 32 "no_fwd" 64 "no_packet_in" }
    /// `OFPPS_*`, with the spanning tree's of OpenFlow 1.0.
    PortState { 1 "link_down" 2 "blocked" 4 "live" 0x100 "stp_learn" 0x200 "stp_forward" }
    /// What features a port has.
    PortFeatures { 0 "current" 1 "advertised" 2 "supported" 3 "peer" }
    /// How fast a port is, in kilobits per second.
    PortSpeed { 0 "current" 1 "max" }
    /// `OFPPR_*`.
    PortReason { 0 "add" 1 "delete" 2 "modify" }
    /// The counters of a port.
    PortCounters {
        0 "rx_packets" 1 "tx_packets" 2 "rx_bytes" 3 "tx_bytes" 4 "rx_dropped" 5 "tx_dropped" 6 "rx_errors"
        7 "tx_errors" 8 "rx_frame_err" 9 "rx_over_err" 10 "rx_crc_err" 11 "collisions"
    }
    /// The counters of a queue.
    QueueCounters { 0 "tx_bytes" 1 "tx_packets" 2 "tx_errors" }
    /// Counters of a group, a bucket, a meter or a band.
    PacketsAndBytes { 0 "packet_count" 1 "byte_count" }
    /// A value, and its bits that count.
    ValueAndMask { 0 "value" 1 "mask" }
    /// `OFPC_*` of a switch's configuration.
    ConfigFlags { 1 "frag_drop" 2 "frag_reasm" 4 "invalid_ttl_to_controller" }
    /// `OFPTC_*`: what becomes of packets that meet no flow, and later eviction and vacancies.
    TableConfig { 1 "table_miss_continue" 2 "table_miss_drop" 4 "eviction" 8 "vacancy_events" }
    /// `OFPTMPEF_*`.
    Eviction { 1 "other" 2 "importance" 4 "lifetime" }
    /// Of vacancies, in percent.
    Vacancy { 0 "vacancy_down" 1 "vacancy_up" 2 "vacancy" }
    /// `OFPTR_*`.
    TableReason { 3 "vacancy_down" 4 "vacancy_up" }
    /// `OFPTFC_*`.
    TableFeaturesCommand { 0 "replace" 1 "modify" 2 "enable" 3 "disable" }
    /// `OFPRR_*`.
    RemovedReason { 0 "idle_timeout" 1 "hard_timeout" 2 "delete" 3 "group_delete" 4 "meter_delete" 5 "eviction" }
    /// `OFPR_*`.
    Reason { 0 "no_match" 1 "action" 2 "invalid_ttl" 3 "action_set" 4 "group" 5 "packet_out" }
    /// `OFPCR_ROLE_*`.
    RoleName { 0 "nochange" 1 "equal" 2 "primary" 3 "secondary" }
    /// `OFPCRR_*`.
    RoleReason { 0 "primary_request" 1 "config" 2 "experimenter" }
    /// What a controller may be told unasked.
    AsyncKinds {
        0 "packet_in" 1 "port_status" 2 "flow_removed" 3 "role_status" 4 "table_status" 5 "requestforward"
    }
    /// In which role it is told.
    AsyncRoles { 0 "primary" 1 "secondary" }
    /// `OFPBCT_*`.
    BundleType {
        0 "open_request" 1 "open_reply" 2 "close_request" 3 "close_reply" 4 "commit_request" 5 "commit_reply"
        6 "discard_request" 7 "discard_reply"
    }
    /// `OFPBF_*`.
    BundleFlags { 1 "atomic" 2 "ordered" }
    /// `NXTTMC_*`.
    TlvCommand { 0 "add" 1 "delete" 2 "clear" }
    /// By protocol.
    IpVersions { 0 "ipv4" 1 "ipv6" }
    /// What an exporter sent.
    IpfixSent { 0 "packets" 1 "errors" }
    /// `NXFF_*`.
    FlowFormat { 0 "openflow10" 2 "nxm" }
    /// `NXPIF_*`.
    PacketInFormat { 0 "standard" 1 "nxt_packet_in" 2 "nxt_packet_in2" }
}

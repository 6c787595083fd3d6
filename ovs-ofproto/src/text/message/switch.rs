//! What a switch says of itself, and what controllers set up.

use std::fmt::{self, Write};

use super::Printer;
use crate::codec::{AsyncConfig, Capabilities, Version};

pub(super) const CAPABILITIES: [(u32, &str); 11] = [
    (Capabilities::FLOW_STATS.bits(), "FLOW_STATS"),
    (Capabilities::TABLE_STATS.bits(), "TABLE_STATS"),
    (Capabilities::PORT_STATS.bits(), "PORT_STATS"),
    (Capabilities::GROUP_STATS.bits(), "GROUP_STATS"),
    (Capabilities::IP_REASM.bits(), "IP_REASM"),
    (Capabilities::QUEUE_STATS.bits(), "QUEUE_STATS"),
    (Capabilities::ARP_MATCH_IP.bits(), "ARP_MATCH_IP"),
    (Capabilities::PORT_BLOCKED.bits(), "PORT_BLOCKED"),
    (Capabilities::BUNDLES.bits(), "BUNDLES"),
    (Capabilities::FLOW_MONITORING.bits(), "FLOW_MONITORING"),
    (Capabilities::STP.bits(), "STP"),
];

/// The actions of OpenFlow 1.0 by their bits, in the order in which they are listed.
pub(super) const ACTIONS_10: [(u32, &str); 12] = [
    (0, "output"),
    (11, "enqueue"),
    (1, "set_vlan_vid"),
    (2, "set_vlan_pcp"),
    (3, "strip_vlan"),
    (4, "mod_dl_src"),
    (5, "mod_dl_dst"),
    (6, "mod_nw_src"),
    (7, "mod_nw_dst"),
    (8, "mod_nw_tos"),
    (9, "mod_tp_src"),
    (10, "mod_tp_dst"),
];

/// The same of OpenFlow 1.1 and later, with the last version that has them.
const ACTIONS_11: [(u32, &str, Version); 24] = [
    (0, "output", Version::V1_5),
    (22, "group", Version::V1_5),
    (25, "set_field", Version::V1_5),
    (1, "set_vlan_vid", Version::V1_1),
    (2, "set_vlan_pcp", Version::V1_1),
    (18, "strip_vlan", Version::V1_5),
    (17, "push_vlan", Version::V1_5),
    (3, "mod_dl_src", Version::V1_1),
    (4, "mod_dl_dst", Version::V1_1),
    (5, "mod_nw_src", Version::V1_1),
    (6, "mod_nw_dst", Version::V1_1),
    (7, "mod_nw_tos", Version::V1_1),
    (8, "mod_nw_ecn", Version::V1_1),
    (23, "mod_nw_ttl", Version::V1_5),
    (9, "mod_tp_src", Version::V1_1),
    (10, "mod_tp_dst", Version::V1_1),
    (24, "dec_ttl", Version::V1_5),
    (13, "set_mpls_label", Version::V1_1),
    (14, "set_mpls_tc", Version::V1_1),
    (15, "set_mpls_ttl", Version::V1_5),
    (16, "dec_mpls_ttl", Version::V1_5),
    (19, "push_mpls", Version::V1_5),
    (20, "pop_mpls", Version::V1_5),
    (21, "set_queue", Version::V1_5),
];

/// The names of the actions whose bits are set, as a version numbers them.
pub(super) fn action_names(actions: u32, version: Version) -> Vec<&'static str> {
    let has = |bit: u32| actions & 1 << bit != 0;
    if version == Version::V1_0 {
        return ACTIONS_10.iter().filter(|(bit, _)| has(*bit)).map(|(_, name)| *name).collect();
    }
    // Set-field is OpenFlow 1.2's.
    let known = |bit: u32, last: Version| version <= last && !(bit == 25 && version == Version::V1_1);
    ACTIONS_11.iter().filter(|(bit, _, last)| has(*bit) && known(*bit, *last)).map(|(_, name, _)| *name).collect()
}

impl Printer<'_> {
    pub(super) fn async_config(&mut self, a: &AsyncConfig) -> fmt::Result {
        const REASONS: [(&str, &[&str]); 6] = [
            ("PACKET_IN", &["no_match", "action", "invalid_ttl", "action_set", "group", "packet_out"]),
            ("PORT_STATUS", &["add", "delete", "modify"]),
            ("FLOW_REMOVED", &["idle", "hard", "delete", "group_delete", "meter_delete", "eviction"]),
            ("ROLE_STATUS", &["primary_request", "configuration_changed", "experimenter_data_changed"]),
            ("TABLE_STATUS", &["", "", "", "vacancy_down", "vacancy_up"]),
            ("REQUESTFORWARD", &["group_mod_request", "meter_mod_request"]),
        ];
        let out = &mut self.out;
        for (at, who) in ["primary", "secondary"].iter().enumerate() {
            write!(out, "\n {who}:\n")?;
            for ((name, reasons), pair) in REASONS.iter().zip(&a.masks) {
                let mask = pair.get(at).copied().flatten().unwrap_or(0);
                write!(out, "{name:>16}:")?;
                let mut any = false;
                for (n, reason) in reasons.iter().enumerate().filter(|(_, r)| !r.is_empty()) {
                    if mask & 1 << n != 0 {
                        write!(out, " {reason}")?;
                        any = true;
                    }
                }
                out.push_str(if any { "\n" } else { " (off)\n" });
            }
        }
        Ok(())
    }
}

pub(super) const BUNDLE_FLAGS: [(u32, &str); 2] = [(1, "atomic"), (2, "ordered")];

pub(super) fn role(out: &mut String, role: u32, generation: Option<u64>) -> fmt::Result {
    let name = ["nochange", "equal", "primary", "secondary"].get(role as usize).unwrap_or(&"");
    write!(out, " role={name}")?;
    generation.map_or(Ok(()), |g| write!(out, " generation_id={g}"))
}

pub(super) fn queue_name(out: &mut String, queue: u32) -> fmt::Result {
    if queue == u32::MAX { out.write_str("ALL") } else { write!(out, "{queue}") }
}

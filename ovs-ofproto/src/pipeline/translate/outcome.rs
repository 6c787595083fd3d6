//! What comes of a translation: what the datapath does, what packets change in the switch, what it depended on.

use std::net::IpAddr;

use ovs_dpif::{DpAction, DropReason, SlowPath};
use ovs_packet::key::{FlowKey, FlowMask, Match};
use ovs_packet::{EthAddr, OfPort};

use super::Learned;
use crate::pipeline::flow_table::RuleId;
use crate::pipeline::group::GroupKey;
use crate::pipeline::native::Request;
use crate::pipeline::trace::Tracer;

/// What a packet changes in the switch beside being forwarded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::pipeline) enum Effect {
    /// It was looked up in this table and matched this rule.
    Rule {
        rule: RuleId,
        table: u8,
    },
    /// It was looked up in this table and matched nothing.
    Miss {
        table: u8,
    },
    /// Its source is behind this port.
    Station {
        vlan: u16,
        address: EthAddr,
        port: OfPort,
        gratuitous: bool,
    },
    /// It makes a flow.
    Learn(Box<Learned>),
    /// If it ends a TCP connection, the rule is to end soon after.
    FinTimeout {
        rule: RuleId,
        idle: u16,
        hard: u16,
    },
    /// It went through the bucket at this place of a group that sends to several.
    Bucket {
        group: GroupKey,
        bucket: usize,
    },
    /// It left by this end of a patch, or came in by it.
    Sent {
        port: OfPort,
    },
    Received {
        port: OfPort,
    },
    /// It is longer, or shorter, by so many bytes for what comes after.
    Grown {
        by: i32,
    },
    /// A neighbour of the switch's has this address.
    Neighbour {
        address: IpAddr,
        mac: EthAddr,
    },
    /// It goes by this neighbour.
    NeighbourUsed {
        address: IpAddr,
    },
    /// It went through a group, and the bucket at this place if one was chosen.
    Group {
        group: GroupKey,
        bucket: Option<usize>,
    },
}

impl Effect {
    /// Whether it is more than something counted.
    pub(in crate::pipeline) fn is_learning(&self) -> bool {
        use Effect::{FinTimeout, Learn, Neighbour, Station};
        matches!(self, Station { .. } | Learn(_) | FinTimeout { .. } | Neighbour { .. })
    }
}

/// What of the switches a translation looked at.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(in crate::pipeline) struct Dependencies {
    /// Tables, by switch.
    pub(in crate::pipeline) tables: Vec<(usize, [u64; 4])>,
    /// Groups, by switch and number.
    pub(in crate::pipeline) groups: Vec<(usize, u32)>,
    /// Addresses asked for in tables of learnt addresses, by switch and VLAN.
    pub(in crate::pipeline) stations: Vec<(usize, u16, EthAddr)>,
    /// Whether it asked who listens to group addresses, or what the limit of a `learn` left to make.
    pub(in crate::pipeline) volatile: bool,
}

impl Dependencies {
    /// Forgets all, and keeps the room.
    pub(in crate::pipeline) fn clear(&mut self) {
        self.tables.clear();
        self.groups.clear();
        self.stations.clear();
        self.volatile = false;
    }

    pub(super) fn note_table(&mut self, bridge: usize, table: u8) {
        let at = self.tables.iter().position(|(b, _)| *b == bridge).unwrap_or_else(|| {
            self.tables.push((bridge, [0; 4]));
            self.tables.len() - 1
        });
        if let Some(word) = self.tables.get_mut(at).and_then(|(_, set)| set.get_mut(usize::from(table / 64))) {
            *word |= 1 << (table % 64);
        }
    }
}

/// What of a packet a translation read.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(in crate::pipeline) struct Read {
    /// The key as the pipeline met it first.
    pub(in crate::pipeline) first: FlowKey,
    /// What all lookups together saw of that: a flow that does not overlap this was none of them's business.
    pub(in crate::pipeline) seen: FlowMask,
    /// What packets like this one have in common with it, in datapath port numbers.
    pub(in crate::pipeline) mask: FlowMask,
}

/// Room that translations write to, to be used again: whoever is done with a [`Translation`] gives it back.
#[derive(Default, Debug)]
pub(in crate::pipeline) struct Room {
    pub(in crate::pipeline) effects: Vec<(usize, Effect)>,
    pub(in crate::pipeline) actions: Vec<DpAction>,
    pub(in crate::pipeline) dependencies: Dependencies,
    pub(in crate::pipeline) read: Option<Box<Read>>,
}

/// The outcome of a translation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::pipeline) struct Translation {
    pub(in crate::pipeline) read: Box<Read>,
    /// What the datapath does with them.
    pub(in crate::pipeline) actions: Vec<DpAction>,
    /// What they change, and in which switch.
    pub(in crate::pipeline) effects: Vec<(usize, Effect)>,
    /// What it depended on beside the packet.
    pub(in crate::pipeline) dependencies: Dependencies,
    /// Whether each packet has to come up, and why.
    pub(in crate::pipeline) slow: SlowPath,
}

/// The recirculation ids in actions.
pub(in crate::pipeline) fn recirculations(actions: &[DpAction], id: &mut dyn FnMut(u32)) {
    for a in actions {
        match a {
            DpAction::Recirc(to) => id(*to),
            DpAction::Userspace(u) => {
                if let ovs_dpif::Cookie::Controller { recirc_id, .. } = u.cookie {
                    id(recirc_id);
                }
            }
            a => a.nested().for_each(|inner| recirculations(inner, id)),
        }
    }
}

/// What one packet does, beside what all packets of its megaflow do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::pipeline) enum Report {
    /// What it says of who listens to group addresses.
    Snoop { bridge: usize, vlan: u16, port: OfPort },
    /// It needs the address of a neighbour, who is to be asked; whoever is.
    Ask(Request),
    /// It came from a neighbour with this address.
    Neighbour { bridge: usize, address: IpAddr, mac: EthAddr },
}

/// What came of a translation, with what concerns the one packet.
pub(in crate::pipeline) struct Outcome {
    pub(in crate::pipeline) translation: Translation,
    pub(in crate::pipeline) reports: Vec<Report>,
    pub(in crate::pipeline) tracer: Option<Tracer>,
    /// The key as the pipeline left it, of a packet that is traced.
    pub(in crate::pipeline) last: Option<Box<FlowKey>>,
    /// What was read of the options of its tunnel, as flows have it, of a packet that is traced.
    pub(in crate::pipeline) options: Option<Box<Match>>,
    /// What was read of registers and metadata, of a packet that is traced and whose translation failed.
    pub(in crate::pipeline) registers: Option<Box<FlowMask>>,
    /// A limit that was hit.
    pub(in crate::pipeline) failed: Option<DropReason>,
    /// The packet has a tag that was asked for. That there is none follows from the Ethertype.
    pub(in crate::pipeline) tag_asked: bool,
}

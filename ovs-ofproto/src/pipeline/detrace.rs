//! From a megaflow back to its rules: `ofproto/detrace` as a value.
//!
//! A [`Detrace`] tells, in the order in which a packet of the megaflow does it, which rules it meets with what they have
//! counted, which tables know nothing of it, through which groups it goes, and what it teaches the switch.

use std::fmt;
use std::net::IpAddr;

use ovs_dpif::{DpAction, Dpif, Ufid, text};
use ovs_packet::{EthAddr, Instant, Match, OfPort};

use super::flow_table::Flow;
use super::group::Group;
use super::ofproto::Ofproto;
use super::trace::{Pass, Trace, Tracer, quoted};
use super::translate::Effect;
use super::upcall::World;
use crate::codec::GroupDesc;
use crate::text::{Prioritised, group as text_of_group};

/// One thing that packets of a megaflow do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Deed {
    /// They meet a flow.
    Met(Box<Flow>),
    /// They meet a flow that is gone or does something else now: the megaflow is about to be decided anew.
    MetGone(u8),
    /// They match nothing in a table.
    Missed(u8),
    /// They go through a group; by the bucket at this place, if one was chosen.
    Group {
        /// Its number.
        group: u32,
        /// What it is; `None` if it is gone.
        desc: Option<Box<GroupDesc>>,
        /// The place of the bucket.
        bucket: Option<usize>,
    },
    /// They leave the switch by this end of a patch.
    Sent(OfPort),
    /// They come by this end of a patch.
    Received(OfPort),
    /// They are this much longer from here on, or shorter: they have got the outer header of a tunnel, or are spoken of
    /// without it again.
    Grown(i32),
    /// A neighbour with this address is learnt, for tunnels to go by.
    Neighbour {
        /// Its address of IP.
        address: IpAddr,
        /// Its Ethernet address.
        mac: EthAddr,
    },
    /// They go by this neighbour, in a tunnel.
    NeighbourUsed(IpAddr),
    /// Their source is learnt.
    Learned {
        /// VLAN.
        vlan: u16,
        /// Address.
        address: EthAddr,
        /// Port that it is behind.
        port: OfPort,
    },
    /// They make a flow.
    Made {
        /// In this table.
        table: u8,
        /// Which packets it is for.
        matching: Box<Match>,
        /// Its priority.
        priority: u16,
    },
    /// If they end a TCP connection, the flow that they met ends soon after (`fin_timeout`).
    EndsWithConnection,
}

/// A megaflow, and what it stands for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Detrace {
    /// Its identity.
    pub ufid: Ufid,
    /// Which packets match it, with port numbers of the datapath.
    pub matching: Match,
    /// What the datapath does with them.
    pub actions: Vec<DpAction>,
    /// What they do on their way, each in the switch of that name.
    pub deeds: Vec<(String, Deed)>,
    /// Whether something changed that it may not be true to: it is decided anew with its next packet.
    pub in_doubt: bool,
    /// How a packet with the key that the megaflow was made for is decided on now: conjunctions are explained there, and
    /// what was before a recirculation.
    pub trace: Trace,
    /// When this was said, which durations count to.
    pub now: Instant,
}

impl Ofproto {
    /// What a megaflow of this switch stands for; `None` if it has none of this identity. Counters are those that were
    /// read last: [`synchronise`](Self::synchronise) first for those of now.
    pub fn detrace(&mut self, dp: &dyn Dpif, ufid: Ufid, now: Instant) -> Option<Detrace> {
        self.in_world(|mut world| world.detrace(dp, ufid, now))
    }
}

impl World<'_> {
    pub(super) fn detrace(&mut self, dp: &dyn Dpif, ufid: Ufid, now: Instant) -> Option<Detrace> {
        let own = self.own()?;
        let slot = own.megaflows.find(ufid)?;
        let (key, actions) =
            own.megaflows.get(slot).map(|m| (ovs_packet::FlowKey::from(&m.key), m.actions.to_vec()))?;
        let in_port = own.ports.of_key(&key).map_or(OfPort::ANY, |p| p.number);
        let mut outcome = self.translate(dp, &key, Some(Tracer::default()))?;
        let trace = Trace { passes: vec![Pass::of(&key, in_port, &mut outcome).0] };
        let own = self.own()?;
        let (matching, in_doubt) = (own.megaflows.matching(slot)?, own.megaflows.is_doubted(slot));
        let effects = own.megaflows.effects(slot);
        let deed = |(bridge, effect): &(usize, Effect)| {
            let b = self.bridges.get(*bridge)?;
            Some((b.name().to_string(), b.deed(effect)))
        };
        let deeds = effects.iter().filter_map(deed).collect();
        Some(Detrace { ufid, matching, actions, deeds, in_doubt, trace, now })
    }
}

impl Ofproto {
    fn deed(&self, effect: &Effect) -> Deed {
        match effect {
            Effect::Rule { rule, table } => match self.tables.flow(*rule) {
                Some(mut flow) => {
                    flow.matching = self.tlv.lift(&flow.matching);
                    Deed::Met(Box::new(flow))
                }
                None => Deed::MetGone(*table),
            },
            Effect::Miss { table } => Deed::Missed(*table),
            Effect::Station { vlan, address, port, .. } => {
                Deed::Learned { vlan: *vlan, address: *address, port: *port }
            }
            Effect::Learn(learned) => Deed::Made {
                table: learned.flow.table,
                matching: Box::new(self.tlv.lift(&learned.flow.matching)),
                priority: learned.flow.priority,
            },
            Effect::FinTimeout { .. } => Deed::EndsWithConnection,
            Effect::Group { group, bucket } => self.through(group.id, *bucket),
            Effect::Bucket { group, bucket } => self.through(group.id, Some(*bucket)),
            Effect::Sent { port } => Deed::Sent(*port),
            Effect::Received { port } => Deed::Received(*port),
            Effect::Grown { by } => Deed::Grown(*by),
            Effect::Neighbour { address, mac } => Deed::Neighbour { address: *address, mac: *mac },
            Effect::NeighbourUsed { address } => Deed::NeighbourUsed(*address),
        }
    }

    fn through(&self, group: u32, bucket: Option<usize>) -> Deed {
        Deed::Group { group, desc: self.group(group).map(|g| Box::new(g.desc())), bucket }
    }

    /// A group, as those who print a [`Deed`] need it.
    pub fn group(&self, id: u32) -> Option<&Group> {
        self.groups.get(id).map(|g| &**g)
    }
}

impl Deed {
    fn kind(&self) -> &'static str {
        match self {
            Deed::Met(_) => "rule",
            Deed::MetGone(_) => "gone",
            Deed::Missed(_) => "miss",
            Deed::Group { .. } => "group",
            Deed::Sent(_) => "sent",
            Deed::Received(_) => "received",
            Deed::Grown(_) => "grown",
            Deed::Neighbour { .. } => "neighbour",
            Deed::NeighbourUsed(_) => "neighbour-used",
            Deed::Learned { .. } => "station",
            Deed::Made { .. } => "learn",
            Deed::EndsWithConnection => "fin_timeout",
        }
    }

    fn json(&self, bridge: &str, now: Instant) -> String {
        let more = match self {
            Deed::Met(flow) => format!(
                r#","table_id":{},"priority":{},"cookie":{},"duration":{},"n_packets":{},"n_bytes":{},"match":{},"actions":{}"#,
                flow.table,
                flow.priority,
                flow.cookie,
                now.since(flow.created).as_secs(),
                flow.packets,
                flow.bytes,
                quoted(&flow.matching.to_string()),
                quoted(&flow.instructions.to_string()),
            ),
            Deed::MetGone(table) | Deed::Missed(table) => format!(r#","table_id":{table}"#),
            Deed::Group { group, bucket, .. } => {
                let bucket = bucket.map_or("null".to_string(), |b| b.to_string());
                format!(r#","group_id":{group},"bucket":{bucket}"#)
            }
            Deed::Sent(port) | Deed::Received(port) => format!(r#","port":{port}"#, port = port.0),
            Deed::Grown(by) => format!(r#","bytes":{by}"#),
            Deed::Neighbour { address, mac } => format!(r#","address":"{address}","mac":"{mac}""#),
            Deed::NeighbourUsed(address) => format!(r#","address":"{address}""#),
            Deed::Learned { vlan, address, port } => {
                format!(r#","vlan":{vlan},"address":"{address}","port":{port}"#, port = port.0)
            }
            Deed::Made { table, matching, priority } => {
                format!(r#","table_id":{table},"priority":{priority},"match":{}"#, quoted(&matching.to_string()))
            }
            Deed::EndsWithConnection => String::new(),
        };
        format!(r#"{{"bridge":{},"kind":"{}"{more}}}"#, quoted(bridge), self.kind())
    }
}

impl Detrace {
    /// This as JSON (RFC 8259): an object.
    pub fn to_json(&self) -> String {
        let deeds: Vec<_> = self.deeds.iter().map(|(bridge, deed)| deed.json(bridge, self.now)).collect();
        format!(
            r#"{{"ufid":"{}","match":{},"actions":{},"in_doubt":{},"deeds":[{}],"trace":{}}}"#,
            self.ufid,
            quoted(&text::key(&self.matching).to_string()),
            quoted(&text::actions(&self.actions).to_string()),
            self.in_doubt,
            deeds.join(","),
            self.trace.to_json()
        )
    }
}

impl fmt::Display for Detrace {
    /// Flows with their counters, as upstream writes them, below the names of their switches; and what else there is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = None;
        for (bridge, deed) in &self.deeds {
            if last != Some(bridge) {
                writeln!(f, "{bridge}")?;
                last = Some(bridge);
            }
            f.write_str("  ")?;
            match deed {
                Deed::Met(flow) => {
                    if flow.cookie != 0 {
                        write!(f, "cookie={:#x}, ", flow.cookie)?;
                    }
                    if flow.table != 0 {
                        write!(f, "table_id={}, ", flow.table)?;
                    }
                    let duration = self.now.since(flow.created).as_secs();
                    write!(f, "duration={duration}s, n_packets={}, n_bytes={}, ", flow.packets, flow.bytes)?;
                    let priority = u16::try_from(flow.priority).unwrap_or(u16::MAX);
                    let of_all = Prioritised(priority, &flow.matching).to_string();
                    let comma = if of_all.is_empty() { "" } else { "," };
                    write!(f, "{of_all}{comma}actions={}", flow.instructions)?;
                }
                Deed::MetGone(table) => write!(f, "table_id={table}, flow that is gone")?,
                Deed::Missed(table) => write!(f, "table_id={table}, no match")?,
                Deed::Group { desc: Some(desc), .. } => f.write_str(&text_of_group(desc))?,
                Deed::Group { group, desc: None, .. } => write!(f, "group_id={group}, group that is gone")?,
                Deed::Sent(port) => write!(f, "leaves by patch port {port}")?,
                Deed::Received(port) => write!(f, "comes by patch port {port}")?,
                Deed::Grown(by) => write!(f, "{by:+} bytes of outer header")?,
                Deed::Neighbour { address, mac } => write!(f, "learns neighbour {address} at {mac}")?,
                Deed::NeighbourUsed(address) => write!(f, "goes by neighbour {address}")?,
                Deed::Learned { vlan, address, port } => write!(f, "learns {address} vlan {vlan} at port {port}")?,
                Deed::Made { table, matching, priority } => {
                    write!(f, "learns table={table}, {}", Prioritised(*priority, matching))?;
                }
                Deed::EndsWithConnection => f.write_str("ends with its connection")?,
            }
            writeln!(f)?;
        }
        match self.in_doubt {
            true => writeln!(f, "  (in doubt: decided anew with its next packet)"),
            false => Ok(()),
        }
    }
}

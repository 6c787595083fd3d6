//! What commands answer: typed, as upstream's text, and as JSON.

use std::fmt::{self, Display, Formatter};

use ovs_conntrack::ExpectationInfo;
use ovs_conntrack::fragment::{FragmentDrop, FragmentLimits, FragmentStats};
use ovs_packet::Instant;
use serde_json::{Value, json};

use crate::action::PortNo;
use crate::connections::{Connection, ZoneLimits};
use crate::dpif::{DpFlowStats, DpStats, OffloadStats, Ufid};
use crate::netdev::{Level, NetdevStats, Offloaded};
use crate::text;

/// A port of a datapath that is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PortShown {
    /// Its number.
    pub number: PortNo,
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: &'static str,
    /// What its device tells of its options.
    pub options: Vec<(&'static str, String)>,
    /// Its counters, where they were asked for.
    pub stats: Option<NetdevStats>,
}

/// A datapath that is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Shown {
    /// Type and name, with `@` between them.
    pub name: String,
    /// Its counters.
    pub stats: DpStats,
    /// Its caches and their sizes.
    pub caches: Vec<(&'static str, u32)>,
    /// Its ports, by number.
    pub ports: Vec<PortShown>,
}

/// The caches of a datapath.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Caches {
    /// Type and name of the datapath.
    pub datapath: String,
    /// The caches and their sizes.
    pub sizes: Vec<(&'static str, u32)>,
}

/// A megaflow that is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ShownFlow {
    /// Its identity, where more was asked for.
    pub ufid: Option<Ufid>,
    /// Its key and mask in words.
    pub key: String,
    /// Its actions in words.
    pub actions: String,
    /// What went through it.
    pub stats: DpFlowStats,
    /// When it was looked at.
    pub now: Instant,
    /// What a card does of it.
    pub offloaded: Option<Offloaded>,
    /// The core of the worker that has it, if it is not the control thread's.
    pub core: Option<u32>,
}

/// How many connections there are of each kind.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ConnectionCounts {
    /// All of them.
    pub total: u64,
    /// By protocol.
    pub protocols: Vec<(String, u64)>,
    /// Those of TCP by state, where more was asked for.
    pub states: Vec<(String, u64)>,
}

/// Actions by the tags that packets have when they are executed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Normalized {
    /// The key in words.
    pub input: String,
    /// The actions in words, where more was asked for.
    pub actions: Option<String>,
    /// What packets have, and what is done with them then.
    pub groups: Vec<(String, String)>,
}

/// What a command answers. [`Display`] writes it as upstream's tool does.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Reply {
    /// It is done.
    Nothing,
    /// It is done, in words.
    Note(String),
    /// A number.
    Number(u64),
    /// Names, or other lines.
    Names(Vec<String>),
    /// Datapaths.
    Datapaths(Vec<Shown>),
    /// Caches.
    Caches(Vec<Caches>),
    /// What drivers of cards that match megaflows do.
    Offload {
        /// The name of the datapath, with its type in front.
        datapath: String,
        /// By driver.
        stats: Vec<OffloadStats>,
    },
    /// Megaflows.
    Flows {
        /// The megaflows, by the threads that have them.
        flows: Vec<ShownFlow>,
        /// Whether it is told which threads these are.
        threads: bool,
    },
    /// What went through a megaflow, and when that was looked at.
    Stats(DpFlowStats, Instant),
    /// Connections.
    Connections {
        /// The connections.
        all: Vec<Connection>,
        /// Whether all is shown of them.
        more: bool,
        /// Whether their counters are shown.
        statistics: bool,
    },
    /// Connections that helpers expect.
    Expectations(Vec<ExpectationInfo>),
    /// Limits of zones.
    Limits(ZoneLimits),
    /// How many connections there are.
    ConnectionCounts(ConnectionCounts),
    /// How connections lie in a hash table.
    Buckets {
        /// How many buckets there are.
        count: usize,
        /// The bucket of each connection.
        of_each: Vec<usize>,
        /// Buckets with no more than so many are not shown.
        over: usize,
    },
    /// What is held of fragments.
    Fragments {
        /// What may be.
        limits: FragmentLimits,
        /// What was and is.
        stats: FragmentStats,
    },
    /// Actions by tags.
    Normalized(Normalized),
    /// Commands and their arguments.
    Commands(Vec<(&'static str, &'static str)>),
}

impl Display for ShownFlow {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(ufid) = self.ufid {
            write!(f, "{ufid}, ")?;
        }
        write!(f, "{}, {}", self.key, text::flow_stats(&self.stats, self.now))?;
        if self.ufid.is_some() {
            match self.offloaded {
                None => f.write_str(", dp:ovs")?,
                Some(Offloaded { level: Level::Partial, .. }) => f.write_str(", offloaded:partial, dp:ovs")?,
                Some(Offloaded { level: Level::Full, by, .. }) => write!(f, ", offloaded:yes, dp:{by}")?,
            }
        }
        write!(f, ", actions:{}", self.actions)
    }
}

/// A number of bytes in a unit that suits it.
fn human(bytes: u64) -> String {
    let units = [(1_u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.iter().find(|(size, _)| bytes >= *size);
    unit.map_or(String::new(), |(size, name)| format!(" ({:.1} {name})", bytes as f64 / *size as f64))
}

impl Display for Shown {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let DpStats { hits, missed, lost, flows, masks, mask_hits, cache_hits, evicted: _, probes: _ } = self.stats;
        writeln!(f, "{}:\n  lookups: hit:{hits} missed:{missed} lost:{lost}\n  flows: {flows}", self.name)?;
        let packets = hits + missed;
        let per_packet = |n: u64| if packets == 0 { 0.0 } else { n as f64 / packets as f64 };
        if let Some(mask_hits) = mask_hits {
            writeln!(f, "  masks: hit:{mask_hits} total:{masks} hit/pkt:{:.2}", per_packet(mask_hits))?;
            if let Some(cache_hits) = cache_hits {
                writeln!(f, "  cache: hit:{cache_hits} hit-rate:{:.2}%", per_packet(cache_hits) * 100.0)?;
            }
        }
        write_caches(f, &self.caches)?;
        self.ports.iter().try_for_each(|port| {
            write!(f, "  port {}: {}", port.number, port.name)?;
            if port.kind != "system" {
                let options: Vec<String> = port.options.iter().map(|(key, value)| format!("{key}={value}")).collect();
                let options = if options.is_empty() { String::new() } else { format!(": {}", options.join(", ")) };
                write!(f, " ({}{options})", port.kind)?;
            }
            writeln!(f)?;
            let Some(s) = port.stats else { return Ok(()) };
            writeln!(
                f,
                "    RX packets:{} errors:{} dropped:{} overruns:? frame:?",
                s.rx_packets, s.rx_errors, s.rx_dropped
            )?;
            writeln!(
                f,
                "    TX packets:{} errors:{} dropped:{} aborted:? carrier:?",
                s.tx_packets, s.tx_errors, s.tx_dropped
            )?;
            writeln!(f, "    collisions:?")?;
            let (rx, tx) = (s.rx_bytes, s.tx_bytes);
            writeln!(f, "    RX bytes:{rx}{}  TX bytes:{tx}{}", human(rx), human(tx))
        })
    }
}

fn write_caches(f: &mut Formatter<'_>, sizes: &[(&'static str, u32)]) -> fmt::Result {
    if !sizes.is_empty() {
        writeln!(f, "  caches:")?;
    }
    sizes.iter().try_for_each(|(name, size)| writeln!(f, "    {name}: size:{size}"))
}

impl Display for Reply {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Nothing => Ok(()),
            Reply::Note(text) => f.write_str(text),
            Reply::Number(n) => writeln!(f, "{n}"),
            Reply::Names(names) => names.iter().try_for_each(|name| writeln!(f, "{name}")),
            Reply::Datapaths(all) => all.iter().try_for_each(|shown| write!(f, "{shown}")),
            Reply::Caches(all) => all.iter().try_for_each(|caches| {
                writeln!(f, "{}:", caches.datapath)?;
                write_caches(f, &caches.sizes)
            }),
            Reply::Offload { datapath, stats } => {
                writeln!(f, "HW Offload stats:")?;
                stats.iter().try_for_each(|stats| {
                    writeln!(f, "  {}[{datapath}]:", stats.driver)?;
                    stats.counters.iter().try_for_each(|(name, n)| writeln!(f, "    {name}: {n:6}"))
                })
            }
            Reply::Flows { flows, threads } => {
                let mut last = None;
                flows.iter().try_for_each(|flow| {
                    if *threads && last.replace(flow.core) != Some(flow.core) {
                        match flow.core {
                            None => writeln!(f, "flow-dump from the main thread:")?,
                            Some(core) => writeln!(f, "flow-dump from pmd on cpu core: {core}")?,
                        }
                    }
                    writeln!(f, "{flow}")
                })
            }
            Reply::Stats(stats, now) => writeln!(f, "{}", text::flow_stats(stats, *now)),
            Reply::Connections { all, more, statistics } => {
                all.iter().try_for_each(|connection| writeln!(f, "{}", connection.text(*more, *statistics)))
            }
            Reply::Expectations(all) => all.iter().try_for_each(|e| writeln!(f, "{}", expectation(e))),
            Reply::Limits(limits) => {
                write!(f, "default limit={}", limits.default.unwrap_or(0))?;
                limits.zones.iter().try_for_each(|z| {
                    write!(f, "\nzone={},limit={},count={}", z.zone, z.limit.unwrap_or(0), z.count)
                })?;
                writeln!(f)
            }
            Reply::ConnectionCounts(counts) => write_counts(f, counts),
            Reply::Buckets { count, of_each, over } => write_buckets(f, *count, of_each, *over),
            Reply::Fragments { limits, stats } => write_fragments(f, limits, stats),
            Reply::Normalized(Normalized { input, actions, groups }) => {
                writeln!(f, "input flow: {input}")?;
                if let Some(actions) = actions {
                    writeln!(f, "input actions: {actions}")?;
                }
                groups.iter().try_for_each(|(front, actions)| writeln!(f, "{front}{actions}"))
            }
            Reply::Commands(all) => {
                writeln!(f, "The available commands are:")?;
                all.iter().try_for_each(|(name, usage)| writeln!(f, "  {name:<23} {usage}"))
            }
        }
    }
}

fn expectation(e: &ExpectationInfo) -> String {
    let name = crate::connections::protocol_name(e.tuple.proto);
    let zone = if e.zone == 0 { String::new() } else { format!(",zone={}", e.zone) };
    format!("{name},orig=({}){zone},parent=({})", e.tuple, e.parent)
}

fn write_counts(f: &mut Formatter<'_>, counts: &ConnectionCounts) -> fmt::Result {
    writeln!(f, "Connections Stats:\n    Total: {}", counts.total)?;
    counts.protocols.iter().try_for_each(|(name, count)| {
        writeln!(f, "  {name}: {count}")?;
        if name == "TCP" && !counts.states.is_empty() {
            writeln!(f, "    Conn per TCP states:")?;
            counts.states.iter().try_for_each(|(state, count)| writeln!(f, "\t  [{state}]={count}"))?;
        }
        Ok(())
    })
}

/// Buckets in a row.
const ROW: usize = 8;

fn write_buckets(f: &mut Formatter<'_>, count: usize, of_each: &[usize], over: usize) -> fmt::Result {
    writeln!(f, "Total Buckets: {count}")?;
    writeln!(f, "Current Connections: {}\n", of_each.len())?;
    if count == 0 || of_each.is_empty() {
        return Ok(());
    }
    let mut lengths = vec![0_usize; count];
    for bucket in of_each {
        if let Some(length) = lengths.get_mut(*bucket) {
            *length += 1;
        }
    }
    let line = format!("+{:-<11}+{:-<41}", "", "");
    write!(f, "{line}\n|  Buckets  |         Connections per Buckets         |\n{line}")?;
    for (row, lengths) in lengths.chunks(ROW).enumerate() {
        write!(f, "\n {:3}..{:3}   | ", row * ROW, row * ROW + ROW - 1)?;
        for length in lengths {
            if *length > over { write!(f, "{length:5}")? } else { write!(f, "    .")? }
        }
    }
    f.write_str("\n\n")
}

/// The counters of fragments are of both families together; each family's lines show them.
fn write_fragments(f: &mut Formatter<'_>, limits: &FragmentLimits, stats: &FragmentStats) -> fmt::Result {
    let line = |f: &mut Formatter<'_>, name: &str, n: u64| writeln!(f, "        {name}: {n}");
    writeln!(f, "        Fragmentation Module Status\n        ---------------------------")?;
    line(f, "v4 enabled", limits.ipv4.into())?;
    line(f, "v6 enabled", limits.ipv6.into())?;
    line(f, "max num frags (v4/v6)", limits.fragments as u64)?;
    line(f, "num frag", stats.fragments as u64)?;
    line(f, "min v4 frag size", limits.min_size_v4 as u64)?;
    line(f, "min v6 frag size", limits.min_size_v6 as u64)?;
    line(f, "frags accepted (v4/v6)", stats.received)?;
    line(f, "frags completed (v4/v6)", stats.joined)?;
    FragmentDrop::ALL.iter().try_for_each(|reason| match stats.dropped(*reason) {
        0 => Ok(()),
        n => line(f, &format!("frags dropped (v4/v6), {reason}"), n),
    })
}

fn flow_stats_json(stats: &DpFlowStats, now: Instant) -> Value {
    json!({
        "packets": stats.packets,
        "bytes": stats.bytes,
        "used": stats.used.map(|used| (now - used).as_secs_f64()),
        "tcp_flags": stats.tcp_flags,
    })
}

fn caches_json(sizes: &[(&'static str, u32)]) -> Value {
    sizes.iter().map(|(name, size)| (name.to_string(), json!(size))).collect::<serde_json::Map<_, _>>().into()
}

impl Reply {
    /// The reply as JSON: lists of objects whose members have the names that the text has.
    pub fn json(&self) -> Value {
        match self {
            Reply::Nothing => Value::Null,
            Reply::Note(text) => json!(text.trim_end()),
            Reply::Number(n) => json!(n),
            Reply::Names(names) => json!(names),
            Reply::Datapaths(all) => all.iter().map(shown_json).collect(),
            Reply::Caches(all) => {
                let one = |c: &Caches| json!({ "name": c.datapath, "caches": caches_json(&c.sizes) });
                all.iter().map(one).collect()
            }
            Reply::Offload { datapath, stats } => {
                let counters = |stats: &OffloadStats| {
                    let counters = stats.counters.iter().map(|(name, n)| (name.to_string(), json!(n)));
                    (stats.driver.to_string(), counters.collect::<serde_json::Map<_, _>>().into())
                };
                let drivers: serde_json::Map<_, Value> = stats.iter().map(counters).collect();
                json!({ "name": datapath, "drivers": drivers })
            }
            Reply::Flows { flows, .. } => {
                let one = |flow: &ShownFlow| {
                    let mut value = flow_stats_json(&flow.stats, flow.now);
                    value["flow"] = json!(flow.key);
                    value["actions"] = json!(flow.actions);
                    if let Some(core) = flow.core {
                        value["pmd"] = json!(core);
                    }
                    if let Some(ufid) = flow.ufid {
                        value["ufid"] = json!(ufid.to_string().trim_start_matches("ufid:"));
                    }
                    value
                };
                flows.iter().map(one).collect()
            }
            Reply::Stats(stats, now) => flow_stats_json(stats, *now),
            Reply::Connections { all, .. } => all.iter().map(connection_json).collect(),
            Reply::Expectations(all) => {
                let one = |e: &ExpectationInfo| {
                    json!({
                        "zone": e.zone,
                        "protocol": e.tuple.proto,
                        "orig": e.tuple.to_string(),
                        "parent": e.parent.to_string(),
                    })
                };
                all.iter().map(one).collect()
            }
            Reply::Limits(limits) => {
                let zones = limits.zones.iter();
                let zones = zones.map(|z| json!({ "zone": z.zone, "limit": z.limit, "count": z.count }));
                json!({ "default": limits.default, "zones": zones.collect::<Vec<_>>() })
            }
            Reply::ConnectionCounts(counts) => {
                let map = |list: &[(String, u64)]| {
                    Value::from(list.iter().map(|(k, n)| (k.clone(), json!(n))).collect::<serde_json::Map<_, _>>())
                };
                json!({ "total": counts.total, "protocols": map(&counts.protocols), "states": map(&counts.states) })
            }
            Reply::Buckets { count, of_each, .. } => json!({ "buckets": count, "connections": of_each }),
            Reply::Fragments { limits, stats } => json!({
                "v4_enabled": limits.ipv4,
                "v6_enabled": limits.ipv6,
                "max_fragments": limits.fragments,
                "min_v4_size": limits.min_size_v4,
                "min_v6_size": limits.min_size_v6,
                "fragments": stats.fragments,
                "accepted": stats.received,
                "completed": stats.joined,
                "dropped": stats.dropped_total(),
            }),
            Reply::Normalized(normalized) => {
                let one = |(tags, actions): &(String, String)| json!({ "tags": tags.trim_end(), "actions": actions });
                json!({ "flow": normalized.input, "groups": normalized.groups.iter().map(one).collect::<Vec<_>>() })
            }
            Reply::Commands(all) => all.iter().map(|(name, usage)| json!({ "name": name, "usage": usage })).collect(),
        }
    }
}

fn shown_json(shown: &Shown) -> Value {
    let DpStats { hits, missed, lost, flows, masks, evicted, probes, mask_hits, cache_hits } = shown.stats;
    let port = |port: &PortShown| {
        let mut value = json!({ "port_no": port.number.0, "name": port.name, "type": port.kind });
        if !port.options.is_empty() {
            let options = port.options.iter().map(|(key, told)| (key.to_string(), json!(told)));
            value["config"] = options.collect::<serde_json::Map<_, _>>().into();
        }
        if let Some(s) = port.stats {
            value["statistics"] = json!({
                "rx_packets": s.rx_packets,
                "rx_bytes": s.rx_bytes,
                "rx_errors": s.rx_errors,
                "rx_dropped": s.rx_dropped,
                "tx_packets": s.tx_packets,
                "tx_bytes": s.tx_bytes,
                "tx_errors": s.tx_errors,
                "tx_dropped": s.tx_dropped,
            });
        }
        value
    };
    json!({
        "name": shown.name,
        "hit": hits,
        "missed": missed,
        "lost": lost,
        "flows": flows,
        "masks": masks,
        "evicted": evicted,
        "probes": probes,
        "mask_hit": mask_hits,
        "cache_hit": cache_hits,
        "caches": caches_json(&shown.caches),
        "ports": shown.ports.iter().map(port).collect::<Vec<_>>(),
    })
}

fn connection_json(c: &Connection) -> Value {
    json!({
        "protocol": crate::connections::protocol_name(c.original.proto),
        "orig": c.original.to_string(),
        "reply": c.reply.to_string(),
        "zone": c.zone,
        "mark": c.mark,
        "labels": format!("{:#x}", c.label),
        "state": c.state_name(),
        "timeout": c.timeout.as_secs(),
        "helper": c.helper,
        "id": c.id,
        "status": c.status,
        "parent": c.parent.map(|parent| parent.to_string()),
    })
}

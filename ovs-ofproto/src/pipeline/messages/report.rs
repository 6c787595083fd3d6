//! What there is, and what it has seen: multipart requests.

use std::time::Duration;

use ovs_dpif::Dpif;
use ovs_dpif::netdev::NetdevStats;
use ovs_packet::{Instant, OfPort};

use super::{Answer, Request, pages};
use crate::action::Action;
use crate::codec::{
    self, AggregateStats, CustomCounter, FlowStatsRequest, GroupDesc, Kind, Message, OfError, Page, PortRequest,
    PortStats, QueueRequest, QueueStats, QueueStatsRequest, TableDesc, TableStats, Version,
};
use crate::flow_mod::{ALL_TABLES, FlowModFlags};
use crate::pipeline::flow_table::{Criteria, Rule, TABLES, TableMiss, VISIBLE_TABLES};
use crate::pipeline::group::ALL_GROUPS;
use crate::pipeline::meter::{ALL_METERS, MeterTable};
use crate::pipeline::ofproto::Ofproto;
use crate::pipeline::port::{Port, Queue};

fn duration(d: Duration) -> (u32, u32) {
    (u32::try_from(d.as_secs()).unwrap_or(u32::MAX), d.subsec_nanos())
}

impl Ofproto {
    pub(super) fn flow_stats(
        &mut self,
        dp: &mut dyn Dpif,
        r: &FlowStatsRequest,
        now: Instant,
    ) -> Result<Answer, OfError> {
        let criteria = self.criteria(r)?;
        self.collect(dp, now);
        Ok(Answer::Flows(self.tables.chosen(&criteria)))
    }

    fn criteria(&self, r: &FlowStatsRequest) -> Result<Criteria, OfError> {
        if r.table != ALL_TABLES && usize::from(r.table) >= TABLES {
            return Err(OfError::BadRequestBadTable);
        }
        let mut matching = r.matching.clone();
        self.place_options(&mut matching)?;
        Ok(Criteria {
            table: r.table,
            matching,
            strict: None,
            cookie: r.cookie,
            cookie_mask: r.cookie_mask,
            out_port: r.out_port,
            out_group: r.out_group,
        })
    }

    pub(super) fn aggregate_stats(
        &mut self,
        dp: &mut dyn Dpif,
        request: &Request<'_>,
        r: &FlowStatsRequest,
        now: Instant,
    ) -> Result<Answer, OfError> {
        let criteria = self.criteria(r)?;
        self.collect(dp, now);
        let chosen = self.tables.chosen(&criteria);
        let rules = || chosen.iter().filter_map(|id| self.tables.get(*id));
        // What nobody counts of one flow is not known of all.
        let counted = |flag| !rules().any(|r| r.flags.contains(flag));
        let total = |f: fn(&Rule) -> u64| rules().fold(0u64, |n, r| n.saturating_add(f(r)));
        let packets = if counted(FlowModFlags::NO_PKT_COUNTS) { total(|r| r.packets) } else { u64::MAX };
        let bytes = if counted(FlowModFlags::NO_BYT_COUNTS) { total(|r| r.bytes) } else { u64::MAX };
        let flows = u32::try_from(chosen.len()).unwrap_or(u32::MAX);
        let said = Message::AggregateStatsReply(AggregateStats { packets, bytes, flows });
        // Who asks in the words of the extension is answered so.
        match request.kind {
            Kind::NxStatsAggregateRequest => Ok(Answer::As(Kind::NxStatsAggregateReply, said)),
            _ => Ok(said.into()),
        }
    }

    pub(super) fn table_stats_reply(&mut self, dp: &mut dyn Dpif, version: Version, now: Instant) -> Answer {
        self.collect(dp, now);
        let mut features = Vec::new();
        if version < Version::V1_3 {
            features = self.tables_and_features(version);
        }
        let of_table = |n: u8| {
            let (seen, mut s) = (self.table_stats(n), TableStats::default());
            let table = self.tables.table(n)?;
            s.table = n;
            s.active = u32::try_from(table.len()).unwrap_or(u32::MAX);
            (s.lookups, s.matched) = (seen.lookups, seen.matches);
            s.miss = Some(match table.miss {
                TableMiss::Default | TableMiss::Controller => codec::TableMiss::Controller,
                TableMiss::Continue => codec::TableMiss::Continue,
                TableMiss::Drop => codec::TableMiss::Drop,
            });
            s.features = features.get(usize::from(n)).cloned().map(Box::new);
            Some(s)
        };
        let tables = (0..VISIBLE_TABLES as u8).filter_map(of_table).collect();
        pages(tables, |_| 128, |items, more| Message::TableStatsReply(Page { more, items }))
    }

    /// How a table is set up.
    pub(in crate::pipeline) fn table_desc(&self, n: u8) -> Option<TableDesc> {
        /// What eviction goes by: something else, importance, lifetime.
        const EVICTED_BY: u32 = 0b111;
        let (table, mut d) = (self.tables.table(n)?, TableDesc::default());
        d.table = n;
        d.config = u32::from(table.evicts) << 2 | u32::from(table.vacancy.is_some()) << 3;
        d.eviction = Some(EVICTED_BY);
        d.vacancy = table.vacancy.map(|v| (v.down, v.up, table.vacant()));
        Some(d)
    }

    pub(super) fn table_descs(&self) -> Answer {
        let tables = (0..VISIBLE_TABLES as u8).filter_map(|n| self.table_desc(n)).collect();
        pages(tables, |_| 24, |items, more| Message::TableDescReply(Page { more, items }))
    }

    // Ports.

    fn asked(&self, port: OfPort) -> Vec<&Port> {
        self.ports.iter().filter(|p| port == OfPort::ANY || p.number == port).collect()
    }

    pub(super) fn port_descs(&self, r: PortRequest, version: Version) -> Answer {
        let ports = self.asked(r.port).into_iter().map(|p| p.desc(version)).collect();
        pages(ports, |_| 72, |items, more| Message::PortDescReply(Page { more, items }))
    }

    pub(super) fn port_stats(&mut self, dp: &mut dyn Dpif, r: PortRequest, now: Instant) -> Answer {
        if self.asked(r.port).iter().any(|p| p.is_patch()) {
            self.collect(dp, now);
        }
        let infos = dp.ports().unwrap_or_else(|e| {
            tracing::warn!(error = %e, "counters of ports not read");
            Vec::new()
        });
        let stats = |p: &Port| {
            let mut said = PortStats::default();
            (said.number, said.duration) = (p.number, Some(duration(now - p.created)));
            said.counts = match (self.patch_stats(p.number), infos.iter().find(|i| i.port == p.datapath)) {
                (Some(stats), _) => counts(Some(stats), false),
                (None, Some(i)) => {
                    said.custom = custom_counters(&i.custom_stats);
                    counts(Some(i.stats), !i.kind.starts_with("dummy"))
                }
                (None, None) => counts(None, false),
            };
            said
        };
        let ports = self.asked(r.port).into_iter().map(stats).collect();
        let len = |p: &PortStats| 144 + p.custom.iter().map(custom_len).sum::<usize>();
        pages(ports, len, |items, more| Message::PortStatsReply(Page { more, items }))
    }

    // Queues.

    /// Queues of a port, or of all; one, or with all ones all of them.
    fn queues(&self, port: OfPort, queue: u32) -> Result<Vec<(OfPort, u32, Queue)>, OfError> {
        let all_ports = port == OfPort::ANY;
        if !all_ports && self.ports.get(port).is_none() {
            return Err(OfError::QueueOpBadPort);
        }
        let of = |p: &Port| {
            let asked = p.queues.iter().filter(|(n, _)| queue == u32::MAX || **n == queue);
            asked.map(|(n, q)| (p.number, *n, *q)).collect::<Vec<_>>()
        };
        let found: Vec<_> = self.asked(port).into_iter().flat_map(of).collect();
        if found.is_empty() && queue != u32::MAX { Err(OfError::QueueOpBadQueue) } else { Ok(found) }
    }

    pub(super) fn queue_configs(&self, r: QueueRequest, version: Version) -> Result<Answer, OfError> {
        let item = |(port, queue, q): &(OfPort, u32, Queue)| {
            let mut item = codec::Queue::default();
            (item.port, item.queue, item.min_rate, item.max_rate) = (*port, *queue, q.min_rate, q.max_rate);
            item
        };
        let found: Vec<_> = self.queues(r.port, r.queue)?.iter().map(item).collect();
        if version >= Version::V1_4 {
            return Ok(pages(found, |_| 48, |items, more| Message::QueueConfigReply(Page { more, items })));
        }
        // Before OpenFlow 1.4 there is one message, with the queues of one port.
        Ok(Message::QueueConfigReply(Page { more: false, items: found }).into())
    }

    pub(super) fn queue_stats(&self, r: QueueStatsRequest, now: Instant) -> Result<Answer, OfError> {
        let stats = |(port, queue, q): &(OfPort, u32, Queue)| {
            let mut s = QueueStats::default();
            (s.port, s.queue) = (*port, *queue);
            s.sent = q.sent.map(|n| n.unwrap_or(u64::MAX));
            s.duration = Some(q.created.map_or((u32::MAX, u32::MAX), |at| duration(now - at)));
            s
        };
        let found = self.queues(r.port, r.queue)?.iter().map(stats).collect();
        Ok(pages(found, |_| 48, |items, more| Message::QueueStatsReply(Page { more, items })))
    }

    // Groups and meters.

    fn groups_asked(&self, group: u32) -> Vec<u32> {
        match group {
            ALL_GROUPS => self.groups.iter().map(|g| g.id).collect(),
            one => self.groups.get(one).map(|g| g.id).into_iter().collect(),
        }
    }

    pub(super) fn group_stats(&mut self, dp: &mut dyn Dpif, group: u32, now: Instant) -> Answer {
        self.collect(dp, now);
        let stats = |id: u32| self.groups.stats(id, self.tables.naming_group(id), now);
        let found = self.groups_asked(group).into_iter().filter_map(stats).collect();
        let len = |s: &codec::GroupStats| 40 + 16 * s.buckets.len();
        pages(found, len, |items, more| Message::GroupStatsReply(Page { more, items }))
    }

    pub(super) fn group_descs(&self, group: u32, version: Version) -> Answer {
        let found =
            self.groups_asked(group).into_iter().filter_map(|id| self.groups.get(id)).map(|g| g.desc()).collect();
        let bucket = |b: &codec::Bucket| 48 + Action::encode_list(&b.actions, version).map_or(0, |bytes| bytes.len());
        let len = |d: &GroupDesc| 64 + d.buckets.iter().map(bucket).sum::<usize>();
        pages(found, len, |items, more| Message::GroupDescReply(Page { more, items }))
    }

    fn meters_asked(&self, meter: u32) -> Result<Vec<u32>, OfError> {
        let found = self.meters.chosen(meter);
        let one_is_missing = found.is_empty() && meter != ALL_METERS;
        if one_is_missing { Err(OfError::MeterModUnknownMeter) } else { Ok(found) }
    }

    pub(super) fn meter_stats(&mut self, dp: &mut dyn Dpif, meter: u32, now: Instant) -> Result<Answer, OfError> {
        let stats = |id: u32| self.meters.stats(dp, id, self.tables.using_meter(id), now);
        let found = self.meters_asked(meter)?.into_iter().filter_map(stats).collect();
        let len = |s: &codec::MeterStats| 40 + 16 * s.bands.len();
        Ok(pages(found, len, |items, more| Message::MeterStatsReply(Page { more, items })))
    }

    pub(super) fn meter_configs(&self, meter: u32) -> Result<Answer, OfError> {
        let found = self.meters_asked(meter)?.into_iter().filter_map(|id| self.meters.config(id)).cloned().collect();
        let len = |c: &codec::MeterConfig| 8 + 16 * c.bands.len();
        Ok(pages(found, len, |items, more| Message::MeterConfigReply(Page { more, items })))
    }

    pub(super) fn meter_features(&self, dp: &dyn Dpif) -> Message {
        Message::MeterFeaturesReply(MeterTable::features(dp))
    }
}

/// What a device counts under names of its own: those that have a place in one item of an answer, whose length has 16 bits.
fn custom_counters(all: &[(String, u64)]) -> Vec<CustomCounter> {
    const ROOM: usize = 0xe000;
    let mut room = ROOM;
    let named = all.iter().filter(|(name, _)| u8::try_from(name.len()).is_ok());
    let counters = named.map(|(name, value)| CustomCounter { name: name.clone(), value: *value });
    let fits = |c: &CustomCounter| {
        let left = room.checked_sub(custom_len(c));
        room = left.unwrap_or(room);
        left.is_some()
    };
    counters.take_while(fits).collect()
}

/// The length of a counter in an answer, in bytes.
fn custom_len(c: &CustomCounter) -> usize {
    1 + c.name.len() + 8
}

/// What a port has seen, in OpenFlow's order; all ones where nobody counts. Of a patch or a dummy device, nobody counts what
/// is dropped.
fn counts(stats: Option<NetdevStats>, counts_drops: bool) -> [u64; 12] {
    const UNKNOWN: u64 = u64::MAX;
    let Some(s) = stats else { return [UNKNOWN; 12] };
    let known = [s.rx_packets, s.tx_packets, s.rx_bytes, s.tx_bytes, s.rx_dropped, s.tx_dropped];
    let known = if counts_drops { &known[..] } else { &known[..4] };
    std::array::from_fn(|n| known.get(n).copied().unwrap_or(UNKNOWN))
}

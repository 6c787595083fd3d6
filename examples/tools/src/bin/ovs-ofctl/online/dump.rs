//! The flows of a switch.

use std::cmp::Ordering;

use ovs_ofproto::codec::{FlowStats, FlowStatsRequest, Kind, Message, Version};
use ovs_ofproto::session::Frame;
use ovs_ofproto::text::{InNames, Parser, PortNames, Protocols, TableText, ofp_print};
use ovs_packet::field::{FieldId, TUN_OPTION_MAX};

use serde_json::Value;

use super::switch::{Names, Switch};
use crate::context::{Context, Done, Failure, refuse};
use crate::options::Criterion;

/// The members of a flow that are what it has seen.
const STATISTICS: [&str; 5] = ["duration", "idle_age", "hard_age", "packet_count", "byte_count"];

/// Connects for the flows that the arguments select.
fn prepare(context: &Context) -> Result<(Switch, FlowStatsRequest), Failure> {
    let (name, text) = (context.argument(0).to_string(), context.argument(1).to_string());
    let read = {
        let names = Names::of(context, &name);
        Parser::new(&names).flow_stats_request(&text).map_err(|e| refuse(&text, &e))?
    };
    let mut switch = Switch::open(context, &name)?;
    switch.agree_for_dump(context, read.protocols)?;
    Ok((switch, read.value))
}

/// The request as the switch takes it now.
fn frame(switch: &Switch, request: FlowStatsRequest, aggregate: bool) -> Result<Frame, Failure> {
    let (message, nxm) = match aggregate {
        true => (Message::AggregateStatsRequest(Box::new(request)), Kind::NxStatsAggregateRequest),
        false => (Message::FlowStatsRequest(Box::new(request)), Kind::NxStatsFlowRequest),
    };
    let by_nxm = switch.version() == Version::V1_0 && switch.protocol().is_nxm();
    if by_nxm { switch.frame_as(nxm, &message) } else { switch.frame(&message) }
}

pub(crate) fn aggregate(context: &mut Context) -> Done {
    let (mut switch, request) = prepare(context)?;
    let request = frame(&switch, request, true)?;
    switch.dump(context, request)
}

pub(crate) fn flows(context: &mut Context) -> Done {
    let criteria = context.options.criteria();
    let plain = criteria.is_empty() && context.options.shows_statistics() && !context.options.shows_names();
    let (mut switch, request) = prepare(context)?;
    if plain || context.options.is_json() && criteria.is_empty() && context.options.shows_statistics() {
        let request = frame(&switch, request, false)?;
        return switch.dump(context, request);
    }
    context.names = Names::to_show(context, context.argument(0));
    let mut found = fetch(&mut switch, context, request)?;
    if !criteria.is_empty() {
        found.sort_by(|a, b| compare(&criteria, a, b));
    }
    if context.options.is_json() {
        let shows_statistics = context.options.shows_statistics();
        return found.iter().try_for_each(|flow| context.print_json(&flow_json(flow, shows_statistics)?));
    }
    for flow in found {
        let line = match context.options.shows_statistics() {
            true => InNames(&flow, &*context.names).to_string(),
            false => without_statistics(flow, &*context.names),
        };
        context.print(format_args!("{line}\n"))?;
    }
    Ok(())
}

/// A flow as JSON, perhaps without what it has seen.
fn flow_json(flow: &FlowStats, with_statistics: bool) -> Result<Value, Failure> {
    let mut value = serde_json::to_value(flow).map_err(|e| e.to_string())?;
    if let (false, Some(object)) = (with_statistics, value.as_object_mut()) {
        object.retain(|name, _| !STATISTICS.contains(&name.as_str()));
    }
    Ok(value)
}

/// All flows of a switch that a request selects.
pub(super) fn fetch(
    switch: &mut Switch,
    context: &Context,
    request: FlowStatsRequest,
) -> Result<Vec<FlowStats>, Failure> {
    let mut found = Vec::new();
    let request = frame(switch, request, false)?;
    let verbosity = context.verbosity(2);
    switch.ask_each(request, |bytes| match Message::decode(bytes) {
        Ok((_, Message::FlowStatsReply(reply))) => {
            found.extend(reply.flows);
            Ok(())
        }
        _ => Err(format!("dump flows: {}", ofp_print(bytes, verbosity).trim_end()).into()),
    })?;
    Ok(found)
}

/// Every flow.
pub(super) fn fetch_all(switch: &mut Switch, context: &Context, usable: Protocols) -> Result<Vec<FlowStats>, Failure> {
    switch.agree_for_dump(context, usable)?;
    fetch(switch, context, FlowStatsRequest::default())
}

/// What a flow matches of a field, as bytes that are in order as the values are.
fn value(field: FieldId, flow: &FlowStats) -> Option<Vec<u8>> {
    let (info, m) = (field.info(), &flow.matching);
    if let Some(index) = field.tun_metadata_index() {
        // Options may be shorter than their field.
        let option = m.tun_option(index)?;
        let mut bytes = vec![0; TUN_OPTION_MAX.saturating_sub(option.value().len())];
        bytes.extend(option.value());
        return Some(bytes);
    }
    let matched = info.get(&m.mask().bits) != 0 && info.prereq.implied_by(m);
    matched.then(|| m.get(field).0.to_be_bytes().to_vec())
}

/// By each criterion in turn. Flows that do not match a field come last in either order.
fn compare(criteria: &[Criterion], a: &FlowStats, b: &FlowStats) -> Ordering {
    for criterion in criteria {
        let ordering = match criterion.field {
            None => a.priority.cmp(&b.priority),
            Some(field) => match (value(field, a), value(field, b)) {
                (Some(a), Some(b)) => a.cmp(&b),
                (Some(_), None) => return Ordering::Less,
                (None, Some(_)) => return Ordering::Greater,
                (None, None) => continue,
            },
        };
        let ordering = if criterion.descending { ordering.reverse() } else { ordering };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
    Ordering::Equal
}

/// A flow without what it has seen; cookie and table only if there is something to say of them.
fn without_statistics(mut flow: FlowStats, names: &dyn PortNames) -> String {
    (flow.idle_age, flow.hard_age) = (None, None);
    let (cookie, table) = (flow.cookie, flow.table);
    // Which has no name that could be taken for something else.
    flow.table = ovs_ofproto::ALL_TABLES;
    let line = InNames(&flow, names).to_string();
    // Cookie, duration, table, packets and bytes stand in front.
    let rest = line.splitn(6, ", ").nth(5).unwrap_or_default();
    let cookie = if cookie == 0 { String::new() } else { format!("cookie={cookie:#x}, ") };
    let table = if table == 0 && names.table_name(0).is_none() {
        String::new()
    } else {
        format!("table={}, ", TableText(table, names))
    };
    format!(" {cookie}{table}{rest}")
}

#[cfg(test)]
mod tests {
    use ovs_ofproto::text::NoNames;

    use super::*;

    fn flow(text: &str, priority: u16) -> FlowStats {
        let mut flow = FlowStats::default();
        (flow.matching, flow.priority) = (text.parse().unwrap(), priority);
        flow
    }

    #[test]
    fn what_is_not_matched_comes_last() {
        let by = |text: &str, descending| Criterion { field: ovs_packet::field::FieldId::by_name(text), descending };
        let (one, two, none) = (flow("in_port=1", 5), flow("in_port=2", 5), flow("ip", 9));
        for descending in [false, true] {
            let criteria = [by("in_port", descending)];
            let first = if descending { Ordering::Greater } else { Ordering::Less };
            assert_eq!(compare(&criteria, &one, &two), first);
            assert_eq!(compare(&criteria, &none, &two), Ordering::Greater);
        }
        assert_eq!(
            compare(&[by("tun_metadata0", false)], &flow("tun_metadata0=0xab", 1), &flow("tun_metadata0=0xcd", 2)),
            Ordering::Less
        );
        let criteria = [Criterion { field: None, descending: true }];
        assert_eq!(compare(&criteria, &none, &two), Ordering::Less);
    }

    #[test]
    fn statistics_are_left_out() {
        let mut seen = flow("ip", 5);
        (seen.packets, seen.table, seen.idle_timeout, seen.idle_age) = (7, 2, 3, Some(1));
        assert_eq!(without_statistics(seen, &NoNames), " table=2, idle_timeout=3, priority=5,ip actions=drop");
    }
}

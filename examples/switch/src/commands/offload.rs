//! Commands about cards that match megaflows (`dpif/offload/*`).

use std::collections::BTreeMap;

use ovs_db::unixctl::{Format, Reply};
use ovs_dpif::netdev::CardCounts;

use super::{Call, Command, command, hidden, text};
use crate::server::Server;

pub(super) const COMMANDS: &[Command] =
    &[command("dpif/offload/show", "", 0, 0, show), hidden("dpif/offload/classes", 0, 0, classes)];

/// What a card did, by upstream's names.
fn counters(counts: CardCounts) -> [(&'static str, u64); 4] {
    [
        ("rx_offload_partial", counts.partial),
        ("rx_offload_full", counts.full),
        ("rx_offload_miss", counts.missed),
        ("rx_offload_pipe_abort", counts.aborted),
    ]
}

fn show(server: &mut Server, call: &Call<'_>) -> Option<Reply> {
    let enabled = server.switch.flow_offload();
    let (mut shown, mut json) = (format!("Globally enabled: {enabled}\nDatapaths:\n"), vec![]);
    json.push(("enabled".to_string(), serde_json::json!(enabled)));
    for dp in server.switch.datapaths() {
        shown += &format!("{}:\n", dp.full_name());
        let mut kinds: BTreeMap<&str, serde_json::Map<String, serde_json::Value>> = BTreeMap::new();
        let cards = dp.dpif().workers().into_iter().flat_map(|workers| workers.cards());
        for (number, port, kind, counts) in cards {
            if !kinds.contains_key(kind) {
                shown += &format!("  {kind}\n");
            }
            shown += &format!("  - {port}: port_no: {number}\n");
            let mut card = serde_json::Map::new();
            card.insert("port_no".into(), number.0.into());
            for (name, count) in counters(counts) {
                shown += &format!("    {name:<21}: {count}\n");
                card.insert(name.into(), count.into());
            }
            kinds.entry(kind).or_default().insert(port.to_string(), card.into());
        }
        let priority: Vec<&str> = kinds.keys().copied().collect();
        let providers: serde_json::Map<_, _> =
            kinds.iter().map(|(kind, ports)| (kind.to_string(), serde_json::json!({ "ports": ports }))).collect();
        json.push((dp.full_name(), serde_json::json!({ "priority": priority, "providers": providers })));
    }
    if call.format == Format::Text {
        return text(shown);
    }
    let json: serde_json::Map<_, _> = json.into_iter().collect();
    Some(match ovs_db::json::parse(serde_json::Value::from(json).to_string().as_bytes()) {
        Ok(json) => Reply::Json(json),
        Err(e) => Reply::Error(e.to_string()),
    })
}

fn classes(_: &mut Server, _: &Call<'_>) -> Option<Reply> {
    text("dummy\n")
}

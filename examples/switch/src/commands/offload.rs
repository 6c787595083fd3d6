//! Commands about cards that match megaflows (`dpif/offload/*`).

use ovs_db::unixctl::{Format, Reply};
use ovs_dpif::Card;
use ovs_dpif::netdev::{CardCounts, OFFLOAD_DRIVERS};
use serde_json::{Map, Value, json};

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
    let mut shown = format!("Globally enabled: {enabled}\nDatapaths:\n");
    let mut datapaths = Map::from_iter([("enabled".to_string(), json!(enabled))]);
    for dp in server.switch.datapaths() {
        shown += &format!("{}:\n", dp.full_name());
        let (offload, mut providers) = (dp.dpif().offload(), Map::new());
        let drivers = offload.map(|offload| offload.offload_drivers()).unwrap_or_default();
        for driver in drivers {
            shown += &format!("  {driver}\n");
            let cards = offload.into_iter().flat_map(|offload| offload.cards());
            let mut ports = Map::new();
            for Card { port: number, name: port, counts, .. } in cards.filter(|card| card.driver == *driver) {
                shown += &format!("  - {port}: port_no: {number}\n");
                let mut card = Map::from_iter([("port_no".to_string(), number.0.into())]);
                for (name, count) in counters(counts) {
                    shown += &format!("    {name:<21}: {count}\n");
                    card.insert(name.into(), count.into());
                }
                ports.insert(port, card.into());
            }
            let provider = if ports.is_empty() { json!({}) } else { json!({ "ports": ports }) };
            providers.insert(driver.to_string(), provider);
        }
        datapaths.insert(dp.full_name(), json!({ "priority": drivers, "providers": providers }));
    }
    if call.format == Format::Text {
        return text(shown);
    }
    Some(match ovs_db::json::parse(Value::from(datapaths).to_string().as_bytes()) {
        Ok(json) => Reply::Json(json),
        Err(e) => Reply::Error(e.to_string()),
    })
}

/// The drivers that there are, and the types of datapaths that have cards for them.
fn classes(_: &mut Server, _: &Call<'_>) -> Option<Reply> {
    let head = format!("Offload Class     Supported dpif class(es)\n{:-<16}  {:-<24}\n", "", "");
    text(OFFLOAD_DRIVERS.iter().fold(head, |shown, driver| format!("{shown}{driver:<16}  dummy\n")))
}

//! Our schema of the switch's database against the one that a stock package installs.

use std::fs;

use ovs_db::{Schema, json};

const STOCK: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// Columns that allow more than those of the stock schema 8.3 (Open vSwitch 3.1).
const WIDER: [&str; 1] = ["Flow_Table.prefixes"];

/// Columns that the stock schema 8.3 does not have.
const NEWER: [&str; 6] = [
    "CT_Zone.limit",
    "Datapath.ct_zone_default_limit",
    "Flow_Sample_Collector_Set.local_group_id",
    "IPFIX.stats_interval",
    "IPFIX.template_interval",
    "Mirror.filter",
];

#[test]
fn the_contract_of_the_stock_schema_is_kept() {
    let Ok(text) = fs::read(STOCK) else {
        println!("skipped: there is no {STOCK}");
        return;
    };
    let stock = Schema::from_json(&json::parse(&text).unwrap()).unwrap();
    let ours = ovs_db::vswitch::schema();
    assert_eq!(ours.name(), stock.name());
    assert!(ours.version() >= stock.version());
    let mut other = Vec::new();
    for (name, theirs) in stock.tables() {
        let table = ours.table(name).unwrap_or_else(|| panic!("table {name} is missing"));
        assert_eq!((table.is_root, table.max_rows, &table.indexes), (theirs.is_root, theirs.max_rows, &theirs.indexes));
        for (column, theirs) in &theirs.columns {
            if table.columns.get(column) != Some(theirs) {
                other.push(format!("{name}.{column}"));
            }
        }
    }
    let columns =
        ours.tables().iter().flat_map(|(table, schema)| schema.columns.keys().map(move |column| (table, column)));
    let newer =
        columns.filter(|(table, column)| stock.table(table).is_none_or(|stock| !stock.columns.contains_key(*column)));
    let newer: Vec<String> = newer.map(|(table, column)| format!("{table}.{column}")).collect();
    println!("other than in stock {}: {other:?}", stock.version());
    println!("newer than stock {}: {newer:?}", stock.version());
    if stock.version().to_string().starts_with("8.3.") {
        assert_eq!((other, newer), (WIDER.map(str::to_owned).to_vec(), NEWER.map(str::to_owned).to_vec()));
    }
}

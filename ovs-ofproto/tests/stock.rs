//! What stock `ovs-ofctl` makes of flows, this crate makes of them too: the same words and the same bytes.
//!
//! The tables were taken from the tool itself, the bytes from the connection to a switch that it believed to talk to.

use ovs_ofproto::FlowMod;
use ovs_ofproto::codec::{Message, Version};
use ovs_ofproto::text::{Parser, Protocols, message};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn rows(table: &str) -> impl Iterator<Item = &str> {
    table.lines().filter(|l| !l.starts_with('#'))
}

#[test]
fn the_same_words_and_the_same_bytes() {
    let mut n = 0;
    for row in rows(include_str!("stock_flows.tsv")) {
        let [text, printed, body] = row.split('\t').collect::<Vec<_>>()[..] else { panic!("{row}") };
        let flow: FlowMod = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        let bytes = Message::from(flow).encode(Version::V1_3, 1).unwrap();
        assert_eq!(hex(&bytes[8..]), body, "{text}");
        let (header, read) = Message::decode(&bytes).unwrap();
        assert_eq!(message(&header, &read).to_string(), format!("OFPT_FLOW_MOD (OF1.3) (xid=0x1): {printed}\n"));
        assert_eq!(hex(&read.encode(Version::V1_3, 1).unwrap()[8..]), body, "{text}");
        n += 1;
    }
    assert!(n >= 150, "{n} rows");
}

#[test]
fn what_it_refuses_is_refused() {
    let mut taken = Vec::new();
    for row in rows(include_str!("stock_refused.txt")) {
        // Some are refused only because no form of OpenFlow 1.3 can say them.
        let read = Parser::default().flow_command(row).ok().filter(|r| r.protocols.contains(Protocols::OF13));
        let sent = read.map(|r| Protocols::OF13.encode_flow_mod(r.value, 1));
        if matches!(sent, Some(Ok(_))) {
            taken.push(row);
        }
    }
    assert!(taken.is_empty(), "{taken:#?}");
}

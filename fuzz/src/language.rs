//! OpenFlow in JSON, and what its language has beside flows: groups, meters, tables, ports, monitors, packets.

use ovs_ofproto::FlowModCommand;
use ovs_ofproto::codec::{Message, Page, Version};
use ovs_ofproto::json::Document;
use ovs_ofproto::text::{GroupCommand, MeterCommand, ParseFlowError, Parser, connections, tlv_mappings};

/// A message that is read from JSON is written as JSON that is read the same, and has bytes or an error; so has one that
/// is read from bytes.
pub fn openflow_json(data: &[u8]) {
    let document = match serde_json::from_slice::<Document>(data) {
        Ok(document) => document,
        Err(e) => match Document::of_bytes(data) {
            Ok(document) => document,
            Err(_) => return assert!(!e.to_string().is_empty()),
        },
    };
    let json = serde_json::to_string(&document).expect("a message has no keys but texts");
    let read = serde_json::from_str::<Document>(&json).unwrap_or_else(|e| panic!("{e}: {json}"));
    assert_eq!(read, document, "{json}");
    if let Err(e) = document.encode() {
        assert!(!e.to_string().is_empty());
    }
}

/// What is read of a text has bytes or an error in every version, and an error has its place in the text.
pub fn openflow_language(data: &[u8]) {
    let Some((choice, words)) = data.split_first() else { return };
    let Ok(words) = std::str::from_utf8(words) else { return };
    let parser = Parser::default().normalising();
    let read: Result<Option<Message>, ParseFlowError> = match choice % 9 {
        0 => parser.group_mod(words, GroupCommand::Add).map(|r| Some(Message::from(r.value))),
        1 => parser.group_command(words).map(|r| Some(Message::from(r.value))),
        2 => parser.meter_mod(words, MeterCommand::Add).map(|m| Some(Message::MeterMod(m))),
        3 => parser
            .flow_monitor(words)
            .map(|r| Some(Message::FlowMonitorRequest(Page { more: false, items: vec![r.value] }))),
        4 => parser.packet_out(words).map(|r| Some(Message::PacketOut(r.value))),
        5 => parser.flow(words, FlowModCommand::Add).map(|r| Some(Message::from(r.value))),
        6 => parser.table_setting("1", words).map(|_| None),
        7 => parser.bundle_line(words).map(|_| None),
        _ => tlv_mappings(words).map(|_| None),
    };
    let arguments: Vec<&str> = words.split(' ').collect();
    let _ = connections(&arguments);
    match read {
        Err(e) => assert!(e.at <= words.len() && !e.to_string().is_empty(), "{e}"),
        Ok(None) => {}
        Ok(Some(message)) => {
            for version in Version::KNOWN {
                if let Err(e) = message.encode(version, 1) {
                    assert!(!e.to_string().is_empty());
                }
            }
        }
    }
}

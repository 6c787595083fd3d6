//! Makes packets.

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use ovs_ofproto::text::packet_match;
use ovs_packet::key::FRAG_LATER;
use ovs_packet::text::{match_of_terms, terms};
use ovs_packet::{FlowKey, OfPort, compose, pcap};
use ovs_tools::hex;
use serde_json::json;

use super::packets::flow_of;
use super::print::{digits, hex_dump};
use crate::context::{Context, Done, Failure};

/// Length of the payload if none is given.
const PAYLOAD: usize = 64;

/// Whether a packet usually has data behind its headers: TCP that neither opens nor ends a connection, UDP, and echoes; but
/// for fragments other than the first.
fn carries_data(key: &FlowKey) -> bool {
    const ENDS: u16 = 1 | 2 | 4;
    let (kind, code) = (key.tp_src.get(), key.tp_dst.get());
    let is_ip = matches!(key.eth_type.get(), 0x800 | 0x86dd);
    let carries = match key.nw_proto {
        6 => key.tcp_flags.get() & ENDS == 0,
        17 => true,
        1 => matches!(kind, 0 | 8) && code == 0,
        58 => matches!(kind, 128 | 129) && code == 0,
        _ => false,
    };
    is_ip && carries && key.nw_frag & FRAG_LATER == 0
}

pub(crate) fn packet(context: &mut Context) -> Done {
    if context.options.pcap && context.options.bare {
        return Err("--bare and --pcap are mutually exclusive".into());
    }
    if context.options.pcap && io::stdout().is_terminal() {
        return Err("not writing pcap data to stdout; redirect to a file or pipe to tcpdump instead".into());
    }
    let text = context.argument(0);
    let terms = terms(text).map_err(|e| e.to_string())?;
    let mut key = match_of_terms(&terms).map_err(|e| e.to_string())?.key();
    let payload = match context.arguments.get(1) {
        Some(digits) => hex(digits).map_err(|_| format!("{digits}: trailing garbage in packet data"))?,
        None if carries_data(&key) => (0..PAYLOAD).map(|n| n as u8).collect(),
        None => Vec::new(),
    };
    let packet = match context.options.bad_csum {
        true => compose::compose_with_bad_checksum(&key, &payload),
        false => compose::compose(&key, &payload),
    };
    let data = packet.data();
    if context.options.pcap {
        let mut writer = pcap::Writer::new(&mut context.out).map_err(|e| e.to_string())?;
        writer.write(Duration::ZERO, data).and_then(|()| writer.flush()).map_err(|e| e.to_string())?;
    } else if context.options.bare {
        context.print(digits(data))?;
    } else if context.options.is_json() {
        context.print_json(&json!({"bytes": digits(data), "match": flow_of(data).1}))?;
    } else {
        context.print(hex_dump(data))?;
    }
    key.in_port = OfPort::ANY.0.into();
    let (extracted, shown) = flow_of(data);
    if key == extracted {
        return Ok(());
    }
    context.finish()?;
    eprintln!("specified and extracted flows differ:\nspecified: {}\nextracted: {shown}", packet_match(&key));
    Err(Failure::Status(ExitCode::FAILURE))
}

//! Packets as flows.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::process::ExitCode;

use ovs_ofproto::text::packet_match;
use ovs_packet::pcap::Reader;
use ovs_packet::{FlowKey, Match, OfPort, Packet, extract};
use serde_json::json;

use crate::context::{Context, Done, Failure};

/// What a packet's headers say. Nobody says by which port it came in.
pub(crate) fn flow_of(data: &[u8]) -> (FlowKey, Match) {
    let mut key = FlowKey::ZERO;
    extract::extract(&mut Packet::from_slice(data), &mut key);
    key.in_port = OfPort::ANY.0.into();
    let m = packet_match(&key);
    (key, m)
}

/// A file that cannot be read does not keep the next from being read.
pub(crate) fn capture(context: &mut Context) -> Done {
    let mut failed = false;
    for file in context.arguments.clone() {
        if let Err(e) = one_capture(context, &file)? {
            context.finish()?;
            eprintln!("ovs-ofctl: {file}: {e}");
            failed = true;
        }
    }
    if failed { Err(Failure::Status(ExitCode::FAILURE)) } else { Ok(()) }
}

fn one_capture(context: &mut Context, file: &str) -> Result<Result<(), String>, Failure> {
    let reader = match File::open(file).map_err(|e| format!("open failed ({e})")) {
        Ok(input) => match Reader::new(BufReader::new(input)) {
            Ok(reader) => reader,
            Err(e) => return Ok(Err(e.to_string())),
        },
        Err(e) => return Ok(Err(e)),
    };
    for record in reader {
        let record = match record {
            Ok(record) => record,
            Err(e) => return Ok(Err(format!("read failed ({e})"))),
        };
        let (_, m) = flow_of(&record.data);
        if context.options.is_json() {
            let seconds = record.time.as_secs_f64();
            context.print_json(&json!({"time": seconds, "len": record.wire_len, "match": m}))?;
        } else {
            context.print(format_args!("{m}\n"))?;
        }
    }
    Ok(Ok(()))
}

/// A packet in bytes on standard input.
pub(crate) fn packet(context: &mut Context) -> Done {
    let mut data = Vec::new();
    io::stdin()
        .lock()
        .take(65535)
        .read_to_end(&mut data)
        .map_err(|e| format!("failed to read packet from stdin ({e})"))?;
    let (_, m) = flow_of(&data);
    context.print_either(format_args!("{m}\n"), || json!({"match": m}))
}

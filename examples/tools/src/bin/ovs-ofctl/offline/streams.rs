//! Messages one after the other: in files, and in connections that were captured.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};

use ovs_ofproto::codec::Framer;
use ovs_packet::pcap::Reader;
use ovs_packet::{FlowKey, Packet, extract};

use super::print::{as_json, print};
use crate::context::{Context, Done, Failure};

/// The ports of OpenFlow, where none are named.
const PORTS: [u16; 2] = [6633, 6653];

/// How much of a connection waits for a segment that is missing.
const MAX_WAITING: usize = 1 << 20;

/// Messages as they stand in a stream. No more than one is in memory.
pub(crate) fn file(context: &mut Context) -> Done {
    let name = context.argument(0).to_string();
    let failed = |e: std::io::Error| Failure::from(format!("{name}: {e}"));
    let mut input: Box<dyn Read> = match name.as_str() {
        "-" => Box::new(std::io::stdin().lock()),
        name => Box::new(File::open(name).map_err(|e| format!("{name}: open ({e})"))?),
    };
    let (mut framer, mut buffer) = (Framer::new(), vec![0; 1 << 16]);
    loop {
        for frame in framer.by_ref() {
            let frame = frame.map_err(|e| format!("{name}: {e}"))?;
            let verbosity = context.verbosity(2);
            print(context, &frame, verbosity)?;
        }
        match input.read(&mut buffer).map_err(failed)? {
            0 => break,
            n => framer.push(buffer.get(..n).unwrap_or_default()),
        }
    }
    match framer.waiting() {
        0 => Ok(()),
        _ => Err(format!("{name}: unexpected end of file mid-message").into()),
    }
}

/// One direction of a connection: what is next, what waits for it, and the messages in it.
struct Direction {
    next: u32,
    waiting: HashMap<u32, Vec<u8>>,
    held: usize,
    framer: Framer,
}

impl Direction {
    /// Takes a segment, and what has waited for it.
    fn push(&mut self, sequence: u32, data: &[u8]) {
        let behind = self.next.wrapping_sub(sequence);
        if sequence != self.next && behind < 1 << 31 {
            // Sent again; perhaps with more behind it.
            if let Some(new) = data.get(behind as usize..).filter(|new| !new.is_empty()) {
                self.push(self.next, new);
            }
            return;
        }
        if sequence != self.next {
            if self.held + data.len() <= MAX_WAITING {
                self.held += data.len();
                self.waiting.insert(sequence, data.to_vec());
            }
            return;
        }
        self.framer.push(data);
        self.next = self.next.wrapping_add(data.len() as u32);
        while let Some(data) = self.waiting.remove(&self.next) {
            self.held -= data.len();
            self.framer.push(&data);
            self.next = self.next.wrapping_add(data.len() as u32);
        }
    }
}

/// Sequence number, whether it begins the connection, and the data of a TCP segment.
fn segment(packet: &Packet) -> Option<(u32, bool, Vec<u8>)> {
    let tcp = packet.l4();
    let sequence = u32::from_be_bytes(tcp.get(4..8)?.try_into().ok()?);
    let header = usize::from(tcp.get(12)? >> 4) * 4;
    let begins = tcp.get(13)? & 2 != 0;
    Some((sequence, begins, tcp.get(header..)?.to_vec()))
}

/// The messages of the TCP connections in a capture file, at the ports of OpenFlow or those that are named.
pub(crate) fn capture(context: &mut Context) -> Done {
    let name = context.argument(0).to_string();
    let ports: Vec<u16> = match context.arguments.get(1..) {
        Some(ports) if !ports.is_empty() => ports
            .iter()
            .map(|p| p.parse().map_err(|_| Failure::from(format!("{p}: not a port of TCP"))))
            .collect::<Result<_, _>>()?,
        _ => PORTS.to_vec(),
    };
    let input = File::open(&name).map_err(|e| format!("{name}: open failed ({e})"))?;
    let reader = Reader::new(BufReader::new(input)).map_err(|e| format!("{name}: {e}"))?;
    let mut directions: HashMap<([u8; 4], [u8; 4], u16, u16), Direction> = HashMap::new();
    let mut first = true;
    for record in reader {
        let record = record.map_err(|e| format!("{name}: {e}"))?;
        let mut packet = Packet::from_slice(&record.data);
        let mut key = FlowKey::ZERO;
        extract::extract(&mut packet, &mut key);
        let (source, target) = (key.tp_src.get(), key.tp_dst.get());
        let is_openflow = ports.contains(&source) || ports.contains(&target);
        if (key.eth_type.get(), key.nw_proto) != (0x0800, 6) || !is_openflow {
            continue;
        }
        let Some((sequence, begins, data)) = segment(&packet) else { continue };
        let (from, to) = (key.nw_src.get().to_be_bytes(), key.nw_dst.get().to_be_bytes());
        let start = sequence.wrapping_add(begins.into());
        let fresh = || Direction { next: start, waiting: HashMap::new(), held: 0, framer: Framer::new() };
        let direction = directions.entry((from, to, source, target)).or_insert_with(fresh);
        if begins {
            *direction = fresh();
        }
        direction.push(start, &data);
        let mut frames = Vec::new();
        // What is no OpenFlow ends the direction.
        while let Some(Ok(frame)) = direction.framer.next() {
            frames.push(frame);
        }
        for frame in frames {
            let [a, b] = [from, to].map(|a| a.map(|b| b.to_string()).join("."));
            if context.options.is_json() {
                let mut value = as_json(&frame);
                if let Some(object) = value.as_object_mut() {
                    object.insert("source".to_string(), format!("{a}:{source}").into());
                    object.insert("destination".to_string(), format!("{b}:{target}").into());
                    object.insert("time".to_string(), record.time.as_secs_f64().into());
                }
                context.print_json(&value)?;
                continue;
            }
            if !std::mem::replace(&mut first, false) {
                context.print("\n")?;
            }
            if context.options.timestamp {
                let time = ovs_tools::calendar::time_of_day(record.time);
                context.print(format_args!("{time} "))?;
            }
            context.print(format_args!("{a}.{source} > {b}.{target}:\n"))?;
            let verbosity = context.verbosity(1);
            print(context, &frame, verbosity)?;
        }
    }
    Ok(())
}

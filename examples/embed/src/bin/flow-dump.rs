//! The flows of a capture file, with ovs-packet alone: who talks to whom, how much, and from when to when.
//!
//! [`extract`](ovs_packet::extract) reads a packet into a flow key; of the key a mask keeps what makes a flow, here the
//! five-tuple; what is left prints as a match, as flow tables write it. Packets whose headers cannot be read are
//! counted by what is wrong with them.
//!
//! ```sh
//! cargo run -p ovs-embed --bin flow-dump -- trace.pcap
//! ```

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::BufReader;
use std::process::ExitCode;
use std::time::Duration;

use ovs_packet::Packet;
use ovs_packet::extract::KeyBuffer;
use ovs_packet::field::FieldId;
use ovs_packet::key::{FlowKey, FlowMask, Match};
use ovs_packet::pcap::{PcapError, Reader};

struct Flow {
    packets: u64,
    bytes: u64,
    first: Duration,
    last: Duration,
}

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let [file] = args.as_slice() else {
        eprintln!("usage: flow-dump FILE");
        return ExitCode::from(2);
    };
    match File::open(file).map_err(PcapError::from).and_then(dump) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("flow-dump: {}: {e}", file.display());
            ExitCode::FAILURE
        }
    }
}

fn dump(file: File) -> Result<(), PcapError> {
    use FieldId::{EthType, Ipv6Dst, Ipv6Src, NwDst, NwProto, NwSrc, TcpDst, TcpSrc};
    // TCP's ports stand where those of UDP and SCTP and the type and code of ICMP do.
    let tuple = FlowMask::of(&[EthType, NwSrc, NwDst, Ipv6Src, Ipv6Dst, NwProto, TcpSrc, TcpDst]);
    let (mut flows, mut malformed) = (HashMap::new(), BTreeMap::new());
    let mut keys = KeyBuffer::default();
    for record in Reader::new(BufReader::new(file))? {
        let record = record?;
        if let Some(reason) = keys.extract(&mut Packet::from_slice(&record.data)).malformed {
            *malformed.entry(reason.to_string()).or_insert(0) += 1;
            continue;
        }
        let key = keys.key().masked(&tuple);
        let new = Flow { packets: 0, bytes: 0, first: record.time, last: record.time };
        let flow = flows.entry(*key.words()).or_insert(new);
        flow.packets += 1;
        flow.bytes += u64::from(record.wire_len);
        // Captures are not always in order.
        flow.first = flow.first.min(record.time);
        flow.last = flow.last.max(record.time);
    }

    let mut flows: Vec<_> = flows.into_iter().collect();
    flows.sort_by_key(|(words, flow)| (flow.first, *words));
    for (words, Flow { packets, bytes, first, last }) in flows {
        let text = Match::exact_non_zero(FlowKey::from_words(words));
        println!("{text} packets={packets} bytes={bytes} first={} last={}", seconds(first), seconds(last));
    }
    for (reason, packets) in malformed {
        println!("malformed: {reason}: {packets}");
    }
    Ok(())
}

fn seconds(time: Duration) -> String {
    format!("{}.{:06}", time.as_secs(), time.subsec_micros())
}

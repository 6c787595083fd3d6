//! Whether a switch is there, and how fast it answers.

use std::time::Instant;

use ovs_ofproto::codec::Message;

use serde_json::json;

use super::switch::Switch;
use crate::context::{Context, Done, Failure};
use crate::offline::print::print;

/// Bytes of an echo if no number is given.
const PAYLOAD: usize = 64;
/// How many echoes `ping` sends.
const PINGS: u8 = 10;
/// The most that a message has room for.
const MAX_PAYLOAD: usize = 65535 - 8;

fn payload(text: &str) -> Result<usize, Failure> {
    let bytes = text.parse().ok().filter(|n| *n <= MAX_PAYLOAD);
    bytes.ok_or_else(|| format!("payload must be between 0 and {MAX_PAYLOAD} bytes").into())
}

pub(crate) fn probe(context: &mut Context) -> Done {
    let name = context.argument(0).to_string();
    let mut switch = Switch::open(context, &name)?;
    match switch.answer(&Message::EchoRequest(Vec::new()))? {
        Message::EchoReply(data) if data.is_empty() => Ok(()),
        _ => Err("reply does not match request".into()),
    }
}

pub(crate) fn ping(context: &mut Context) -> Done {
    let name = context.argument(0).to_string();
    let bytes = context.arguments.get(1).map_or(Ok(PAYLOAD), |text| payload(text))?;
    let mut switch = Switch::open(context, &name)?;
    for n in 0..PINGS {
        let sent: Vec<u8> = (0..bytes).map(|i| (i as u8).wrapping_mul(31).wrapping_add(n)).collect();
        let request = switch.frame(&Message::EchoRequest(sent.clone()))?;
        let start = Instant::now();
        let reply = switch.ask(request.clone())?;
        let milliseconds = start.elapsed().as_secs_f64() * 1000.0;
        if !matches!(Message::decode(reply.bytes()), Ok((_, Message::EchoReply(data))) if data == sent) {
            let verbosity = context.verbosity(2);
            if !context.options.is_json() {
                context.print("Reply does not match request.  Request:\n")?;
            }
            print(context, request.bytes(), verbosity)?;
            if !context.options.is_json() {
                context.print("Reply:\n")?;
            }
            print(context, reply.bytes(), verbosity)?;
        }
        let (len, xid) = (reply.body().len(), reply.xid());
        context.print_either(
            format_args!("{len} bytes from {name}: xid={xid:08x} time={milliseconds:.1} ms\n"),
            || json!({"target": name, "bytes": len, "xid": xid, "milliseconds": milliseconds}),
        )?;
        context.finish()?;
    }
    Ok(())
}

pub(crate) fn benchmark(context: &mut Context) -> Done {
    let name = context.argument(0).to_string();
    let bytes = payload(context.argument(1))?;
    let text = context.argument(2);
    let count: u32 = text.parse().map_err(|_| format!("{text}: not a number of packets"))?;
    let size = bytes + 8;
    let total = f64::from(count) * size as f64;
    if !context.options.is_json() {
        context.print(format_args!(
            "Sending {count} packets * {size} bytes (with header) = {} bytes total\n",
            u64::from(count) * size as u64
        ))?;
    }
    let mut switch = Switch::open(context, &name)?;
    let start = Instant::now();
    for _ in 0..count {
        let request = switch.frame(&Message::EchoRequest(vec![0; bytes]))?;
        switch.ask(request)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let (milliseconds, packets, bytes) = (seconds * 1000.0, f64::from(count) / seconds, total / seconds);
    context.print_either(
        format_args!("Finished in {milliseconds:.1} ms ({packets:.0} packets/s) ({bytes:.0} bytes/s)\n"),
        || {
            json!({
                "target": name, "packets": count, "packet_size": size, "milliseconds": milliseconds,
                "packets_per_second": packets, "bytes_per_second": bytes,
            })
        },
    )
}

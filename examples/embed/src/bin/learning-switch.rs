//! A learning switch in your own process: you push frames into ports and pop frames out of them.
//!
//! A [`Switch`] is a value. It starts no thread, opens no socket and reads no clock: its owner calls `run` with the
//! time. A [`MemPort`] is a pair of queues, one end for the switch and one for you.
//!
//! Each argument is a frame, as a match in words whose `in_port` is 1, 2 or 3; without arguments it sends some of its
//! own. It prints where each frame came out, what was learnt, and the megaflows that cache the decisions.
//!
//! ```sh
//! cargo run -p ovs-embed --bin learning-switch
//! cargo run -p ovs-embed --bin learning-switch -- in_port=2,udp,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02
//! ```

use std::error::Error;
use std::process::ExitCode;

use ovs_dpif::netdev::MemPort;
use ovs_packet::{Instant, Match, compose};
use ovs_switch::{Switch, SwitchConfig};

/// A talks, B answers, and A talks again: from the second frame on nothing is flooded.
const FRAMES: [&str; 3] = [
    "in_port=1,udp,dl_src=02:00:00:00:00:0a,dl_dst=02:00:00:00:00:0b,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_dst=53",
    "in_port=2,udp,dl_src=02:00:00:00:00:0b,dl_dst=02:00:00:00:00:0a,nw_src=10.0.0.2,nw_dst=10.0.0.1,tp_src=53",
    "in_port=1,tcp,dl_src=02:00:00:00:00:0a,dl_dst=02:00:00:00:00:0b,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_dst=80",
];

fn main() -> ExitCode {
    let mut frames: Vec<String> = std::env::args().skip(1).collect();
    if frames.is_empty() {
        frames = FRAMES.map(String::from).into();
    }
    run(&frames).map_or_else(
        |e| {
            eprintln!("learning-switch: {e}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

fn run(frames: &[String]) -> Result<(), Box<dyn Error>> {
    let mut switch = Switch::new(&SwitchConfig::new("br0"));
    let mut ends = Vec::new();
    for name in ["p1", "p2", "p3"] {
        let (port, end) = MemPort::new(name, 64);
        let number = switch.add_port(Box::new(port), Default::default())?;
        ends.push((number, end));
    }

    let mut now = Instant::ZERO;
    for text in frames {
        let frame: Match = text.parse().map_err(|e| format!("frame {text:?}: {e}"))?;
        let (_, from) = ends
            .iter()
            .find(|(number, _)| number.0 == frame.key().in_port.get())
            .ok_or_else(|| format!("frame {text:?}: in_port is not one of 1, 2, 3"))?;
        from.push(compose::compose(frame.key(), b"payload"));
        // One millisecond later; any time will do that does not go back.
        now = Instant::from_millis(now.as_millis() + 1);
        while switch.run(now) > 0 {}
        let out: Vec<_> = ends.iter().filter(|(_, end)| end.pop().is_some()).map(|(n, _)| n.to_string()).collect();
        println!("{text}\n    left by port {}", if out.is_empty() { "none".into() } else { out.join(" and ") });
    }

    println!("learnt:");
    for station in switch.macs().iter(now) {
        println!("    {} behind {}", station.address, switch.port_name(station.port).unwrap_or("a port that is gone"));
    }
    println!("megaflows:");
    switch.dump_megaflows(now)?.iter().for_each(|line| println!("    {line}"));
    Ok(())
}

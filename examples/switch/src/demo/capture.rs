//! The packets of a capture file through a switch: every station gets a port, and what leaves each port is written
//! to a file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ovs_dpif::netdev::{MemPort, MemPortPeer};
use ovs_packet::pcap::{PcapError, Reader, Writer};
use ovs_packet::{EthAddr, Instant, Packet};

use crate::switch::{Switch, SwitchConfig, SwitchError};

/// Why a capture could not be forwarded. Displays as one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The capture cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: PcapError,
    },
    /// A result cannot be written.
    #[error("{}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: PcapError,
    },
    /// A flow is refused.
    #[error("flow {flow:?}: {source}")]
    Flow {
        /// The flow.
        flow: String,
        /// Why.
        source: SwitchError,
    },
    /// The switch refuses something else.
    #[error(transparent)]
    Switch(#[from] SwitchError),
}

/// What was forwarded.
#[derive(Debug)]
#[non_exhaustive]
pub struct Forwarded {
    /// Packets of the capture.
    pub packets: u64,
    /// The files, and how many packets left by each.
    pub files: Vec<(PathBuf, u64)>,
    /// The switch, to look at.
    pub switch: Switch,
    /// The time of the last packet, on the switch's clock.
    pub end: Instant,
}

struct Out {
    peer: MemPortPeer,
    path: PathBuf,
    writer: Writer<BufWriter<File>>,
    packets: u64,
}

/// Forwards the packets of `capture`, on a virtual clock that follows their time stamps, through a switch with `ports`
/// ports and the given flows beside the one with the NORMAL action. The first station seen (source address) is on port
/// 1, the second on port 2, and so on, in turn when there are more stations than ports. What leaves port N is written
/// to `DIR/NAME.pN.pcap`, with the time stamps of the packets that it came from.
///
/// Flows may call the ports by their names, `p1` and so on.
///
/// # Errors
/// If the capture cannot be read to its end, a result cannot be written, or a flow is refused. Results written so far
/// are removed: half of them would look like all.
pub fn forward(capture: &Path, out_dir: &Path, ports: usize, flows: &[String]) -> Result<Forwarded, CaptureError> {
    let read = |source: PcapError| CaptureError::Read { path: capture.to_path_buf(), source };
    let file = File::open(capture).map_err(|e| read(e.into()))?;
    let reader = Reader::new(BufReader::new(file)).map_err(read)?;

    let mut switch = Switch::new(&SwitchConfig::new("br0"));
    let mut peers = Vec::new();
    for n in 1..=ports.max(1) {
        let (port, peer) = MemPort::new(format!("p{n}"), 1024);
        switch.add_port(Box::new(port), Default::default())?;
        peers.push(peer);
    }
    for flow in flows {
        let refused = |source| CaptureError::Flow { flow: flow.clone(), source };
        switch.add_flow(flow, Instant::ZERO).map_err(refused)?;
    }
    let mut outs = Vec::new();
    let forwarded = (|| {
        open(&mut outs, peers, capture, out_dir)?;
        let (packets, end) = play(reader, &mut switch, &mut outs, read)?;
        for out in &mut outs {
            out.writer.flush().map_err(|source| CaptureError::Write { path: out.path.clone(), source })?;
        }
        Ok((packets, end))
    })();
    match forwarded {
        Ok((packets, end)) => {
            let files = outs.into_iter().map(|o| (o.path, o.packets)).collect();
            Ok(Forwarded { packets, files, switch, end })
        }
        Err(e) => {
            for out in outs {
                // The error that is told is the one that counts.
                let _ = std::fs::remove_file(&out.path);
            }
            Err(e)
        }
    }
}

/// Makes the files.
fn open(outs: &mut Vec<Out>, peers: Vec<MemPortPeer>, capture: &Path, dir: &Path) -> Result<(), CaptureError> {
    let stem = capture.file_stem().map_or_else(|| "capture".into(), |s| s.to_string_lossy().into_owned());
    for (n, peer) in (1..).zip(peers) {
        let path = dir.join(format!("{stem}.p{n}.pcap"));
        let write = |source| CaptureError::Write { path: path.clone(), source };
        let writer =
            File::create(&path).map_err(PcapError::Io).and_then(|f| Writer::new(BufWriter::new(f))).map_err(write)?;
        outs.push(Out { peer, path, writer, packets: 0 });
    }
    Ok(())
}

/// Forwards everything, and says how many packets there were and when the last one was.
fn play(
    reader: Reader<BufReader<File>>,
    switch: &mut Switch,
    outs: &mut [Out],
    failed: impl Fn(PcapError) -> CaptureError,
) -> Result<(u64, Instant), CaptureError> {
    let mut stations: HashMap<EthAddr, usize> = HashMap::new();
    let (mut packets, mut epoch, mut now) = (0, None, Instant::ZERO);
    for record in reader {
        let record = record.map_err(&failed)?;
        let epoch = *epoch.get_or_insert(record.time);
        // Time stamps that go back do not turn the clock back.
        now = now.max(Instant::ZERO + record.time.saturating_sub(epoch));
        let source = record.data.get(6..12).and_then(|b| b.first_chunk::<6>()).map_or(EthAddr::ZERO, |b| EthAddr(*b));
        let next = stations.len() % outs.len();
        let at = *stations.entry(source).or_insert(next);
        if let Some(out) = outs.get(at) {
            out.peer.push(Packet::from_slice(&record.data));
        }
        packets += 1;
        while switch.run(now) > 0 || switch.next_deadline().is_some_and(|d| d <= now) {}
        drain(outs, record.time)?;
    }
    Ok((packets, now))
}

fn drain(outs: &mut [Out], time: Duration) -> Result<(), CaptureError> {
    for out in outs {
        while let Some(packet) = out.peer.pop() {
            let write = |source| CaptureError::Write { path: out.path.clone(), source };
            out.writer.write(time, packet.data()).map_err(write)?;
            out.packets += 1;
        }
    }
    Ok(())
}

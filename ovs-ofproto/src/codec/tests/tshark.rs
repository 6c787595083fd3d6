//! What an independent reader makes of the messages.

use std::process::Command;

use super::any::Any;
use super::kinds;
use crate::codec::{Kind, Message, Version};

/// A capture file with each message as a TCP segment to port 6653.
fn capture(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [0xa1b2_c3d4u32, 2 << 16 | 4, 0, 0, 0xffff, 101] {
        out.extend(word.to_be_bytes());
    }
    let mut sequence = 1u32;
    for message in messages {
        let total = 40 + message.len() as u16;
        let mut packet = vec![0x45, 0];
        packet.extend(total.to_be_bytes());
        packet.extend([0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        packet.extend(40000u16.to_be_bytes());
        packet.extend(6653u16.to_be_bytes());
        packet.extend(sequence.to_be_bytes());
        packet.extend([0, 0, 0, 1, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
        packet.extend(message);
        sequence += message.len() as u32;
        for word in [sequence, 0, u32::from(total), u32::from(total)] {
            out.extend(word.to_be_bytes());
        }
        out.extend(packet);
    }
    out
}

/// What tshark says of each message; none if there is no tshark.
fn tshark(version: Version, messages: &[Vec<u8>]) -> Option<Vec<String>> {
    let name = format!("ovs-rs-openflow-{}-{}.pcap", version.0, std::process::id());
    let file = std::env::temp_dir().join(name);
    std::fs::write(&file, capture(messages)).unwrap();
    let out =
        Command::new("tshark").arg("-r").arg(&file).args(["-V", "-O", "openflow,openflow_v1,openflow_v4"]).output();
    std::fs::remove_file(&file).unwrap();
    let text = String::from_utf8_lossy(&out.ok()?.stdout).into_owned();
    Some(text.split("\n\nFrame ").map(str::to_string).collect())
}

/// Experimenters' multipart replies of OpenFlow 1.3: tshark marks one malformed even if nothing follows its header.
const BEYOND_TSHARK: [Kind; 3] =
    [Kind::OnfStatsFlowMonitorReply13, Kind::NxStatsIpfixBridgeReply, Kind::NxStatsIpfixFlowReply];

#[test]
fn tshark_reads_every_message_of_1_0_and_1_3() {
    for version in [Version::V1_0, Version::V1_3] {
        let mut any = Any::new(0x5eed);
        let beyond = |kind: Kind| version == Version::V1_3 && BEYOND_TSHARK.contains(&kind);
        let kinds = kinds().filter(|(kind, v)| *v == version && !beyond(*kind));
        let kinds: Vec<Kind> = kinds.map(|(kind, _)| kind).collect();
        let kinds: Vec<Kind> = kinds.iter().copied().cycle().take(kinds.len() * 3).collect();
        let messages: Vec<(Kind, Message)> = kinds.iter().map(|kind| (*kind, any.message(*kind, version))).collect();
        let bytes: Vec<Vec<u8>> = messages.iter().map(|(kind, m)| m.encode_as(*kind, version, 7).unwrap()).collect();
        let Some(read) = tshark(version, &bytes) else {
            eprintln!("no tshark: nothing was compared");
            return;
        };
        assert_eq!(read.len(), messages.len(), "{version}");
        let bad: Vec<String> = read
            .iter()
            .zip(&messages)
            .zip(&bytes)
            .filter(|((text, _), _)| text.contains("Malformed") || !text.contains("OpenFlow"))
            .map(|((text, (kind, _)), bytes)| format!("{kind:?} {bytes:02x?}\n{text}"))
            .collect();
        assert!(bad.is_empty(), "{version}: {} of {}\n{}", bad.len(), read.len(), bad.join("\n"));
    }
}

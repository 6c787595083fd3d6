//! What stock `ovs-ofctl ofp-parse` prints of the messages, this crate prints too.

use std::process::Command;

use super::any::Any;
use super::kinds;
use crate::codec::{Kind, Message, Version};
use crate::text::ofp_print;

/// What the tool of Debian's 3.1 does not know, or knows otherwise than later ones.
fn is_newer(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::NxCtFlush
            | Kind::StatsFlowMonitorRequest14
            | Kind::StatsFlowMonitorReply14
            | Kind::OnfStatsFlowMonitorRequest13
            | Kind::OnfStatsFlowMonitorReply13
            | Kind::OnfFlowMonitorCancel13
            | Kind::OnfFlowMonitorPaused13
            | Kind::OnfFlowMonitorResumed13
            // It takes the actions to write for those to apply, too.
            | Kind::StatsTableReply11
    )
}

/// At which the tool prints a stream.
const VERBOSITY: u8 = 2;

/// What the tool prints of a stream of messages, by message; none if there is no tool.
fn stock(messages: &[Vec<u8>]) -> Option<String> {
    let file = std::env::temp_dir().join(format!("ovs-rs-openflow-{}.bin", std::process::id()));
    std::fs::write(&file, messages.concat()).unwrap();
    let out = Command::new("/usr/bin/ovs-ofctl").args(["-vconsole:off", "ofp-parse"]).arg(&file).output();
    std::fs::remove_file(&file).unwrap();
    Some(String::from_utf8_lossy(&out.ok()?.stdout).into_owned())
}

#[test]
fn stock_ovs_ofctl_prints_the_same() {
    let mut any = Any::new(0x0ff_5eed);
    let known: Vec<(Kind, Version)> = kinds().filter(|(kind, _)| !is_newer(*kind)).collect();
    let messages: Vec<(Kind, Version, Message)> = known
        .iter()
        .cycle()
        .take(known.len() * 2)
        .map(|(kind, version)| (*kind, *version, any.message(*kind, *version)))
        .collect();
    // An echo between the messages shows where each begins.
    let mark = Message::EchoRequest(vec![]).encode(Version::V1_3, 0x7ead_beef).unwrap();
    let bytes = messages.iter().flat_map(|(kind, version, m)| [mark.clone(), m.encode_as(*kind, *version, 7).unwrap()]);
    let bytes: Vec<Vec<u8>> = bytes.collect();
    let Some(text) = stock(&bytes) else {
        eprintln!("no stock ovs-ofctl: nothing was compared");
        return;
    };
    let marked = ofp_print(&mark, VERBOSITY);
    let theirs: Vec<&str> = text.split(&marked).skip(1).collect();
    assert_eq!(theirs.len(), messages.len(), "{text}");
    let mut differ = Vec::new();
    for ((theirs, (kind, version, _)), bytes) in theirs.iter().zip(&messages).zip(bytes.iter().skip(1).step_by(2)) {
        let ours = ofp_print(bytes, VERBOSITY);
        // The tool takes flags of eviction for whether there is any.
        let misread = *kind == Kind::TableMod14 && theirs.contains("***error***");
        if ours != *theirs && !misread {
            differ.push(format!("{kind:?} {version}\nstock: {theirs}ours:  {ours}"));
        }
    }
    assert!(differ.is_empty(), "{} of {}\n{}", differ.len(), messages.len(), differ.join("\n"));
}

//! Every kind of message in every version: what is written is read, what is read is written again, and tshark and scapy
//! read it too.

mod any;
mod properties;
mod scapy;
mod stock;
mod tshark;

use proptest::prelude::*;

use super::{FlowStats, FlowStatsReader, FlowStatsRequest, Kind, Message, Version};
use crate::FlowMod;
use crate::text::ofp_print;
use any::Any;

/// The kinds, with each version that has them.
fn kinds() -> impl Iterator<Item = (Kind, Version)> {
    Kind::all().flat_map(|kind| Version::KNOWN.into_iter().filter(move |v| kind.is_in(*v)).map(move |v| (kind, v)))
}

/// A message of every kind in every version.
#[cfg(feature = "serde")]
pub(crate) fn messages(seed: u64) -> impl Iterator<Item = (Kind, Version, Message)> {
    let mut any = Any::new(seed);
    kinds().map(move |(kind, version)| (kind, version, any.message(kind, version)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn every_kind_survives_its_bytes_in_every_version(seed: u64) {
        let mut any = Any::new(seed);
        let (mut flow_mod, mut flow) = (FlowMod::NEW, FlowStats::default());
        for (kind, version) in kinds() {
            let message = any.message(kind, version);
            let bytes = message.encode_as(kind, version, 7);
            let bytes = bytes.unwrap_or_else(|e| panic!("{kind:?} {version}: {e}: {message:?}"));
            prop_assert_eq!(Kind::of_bytes(&bytes), Ok(kind), "{}: {:?}", version, message);
            let read = Message::decode(&bytes);
            let (header, read) = read.unwrap_or_else(|e| panic!("{kind:?} {version}: {e}: {message:?}"));
            prop_assert_eq!((header.version, header.xid), (version, 7));
            prop_assert_eq!(&read, &message, "{:?} {}", kind, version);
            prop_assert_eq!(read.encode_as(kind, version, 7), Ok(bytes.clone()), "{:?} {}", kind, version);
            // In a place that said something else before.
            let in_place = flow_mod.decode_into(&bytes);
            match (&message, FlowStatsReader::new(&bytes)) {
                (Message::FlowMod(whole), _) => prop_assert_eq!((in_place, &flow_mod), (Ok(header), &**whole)),
                (Message::FlowStatsReply(page), Ok(mut flows)) => {
                    for whole in &page.flows {
                        prop_assert_eq!((flows.next_into(&mut flow), &flow), (Some(Ok(())), whole));
                    }
                    prop_assert_eq!(flows.next_into(&mut flow), None);
                }
                _ => prop_assert!(in_place.is_err()),
            }
            let words = ofp_print(&bytes, 3);
            prop_assert!(!words.contains("***"), "{:?} {}: {}", kind, version, words);
        }
    }

    #[test]
    fn every_kind_cut_short_or_changed_gives_an_answer(seed: u64) {
        let mut any = Any::new(seed);
        for (kind, version) in kinds() {
            let bytes = any.message(kind, version).encode_as(kind, version, 7).unwrap();
            for _ in 0..4 {
                let mut broken = bytes.clone();
                broken.truncate(any.below(bytes.len() as u32 + 1) as usize);
                if !broken.is_empty() {
                    let at = any.below(broken.len() as u32) as usize;
                    broken[at] ^= 1 << any.below(8);
                }
                if let Some(len) = broken.get_mut(2..4) {
                    let whole = if any.flag() { bytes.len() } else { 0 };
                    len.copy_from_slice(&(whole as u16).to_be_bytes());
                }
                if let (Some(_), true) = (broken.get(3), any.flag()) {
                    let len = broken.len() as u16;
                    broken[2..4].copy_from_slice(&len.to_be_bytes());
                }
                if let Err(e) = Message::decode(&broken) {
                    prop_assert!(e.at <= broken.len().max(12), "{}: {:x?}", e, broken);
                }
                prop_assert!(ofp_print(&broken, 5).ends_with('\n'));
            }
        }
    }
}

#[test]
fn nothing_that_is_said_lacks_a_value() {
    // A message of a kind says what the kind says: none is anything else, or opaque.
    let mut any = Any::new(1);
    for (kind, version) in kinds() {
        assert_eq!(any.message(kind, version).says(), Some(kind.of()));
    }
}

#[test]
fn a_match_without_a_place_in_openflow_10_goes_as_niciras() {
    let flow = |text: &str| Message::from(text.parse::<FlowMod>().unwrap());
    let kind = |m: &Message| Kind::of_bytes(&m.encode(Version::V1_0, 7).unwrap()).unwrap();
    assert_eq!(kind(&flow("tcp,nw_src=10.0.0.0/8,actions=output:1")), Kind::FlowMod10);
    // In a word that OpenFlow 1.0 has a field in, and in none.
    let (masked, register) = ("dl_src=2:0:0:0:0:0/2:0:0:0:0:0,actions=output:1", "reg0=1,actions=output:1");
    for text in [masked, register] {
        let message = flow(text);
        assert_eq!(kind(&message), Kind::NxFlowMod, "{text}");
        // What was begun in the other form is taken back.
        let (mut out, alone) = (vec![1, 2, 3], message.encode(Version::V1_0, 7).unwrap());
        message.encode_into(Version::V1_0, 7, &mut out).unwrap();
        assert_eq!(out, [&[1, 2, 3][..], &alone].concat());
        assert_eq!(Message::decode(&alone).unwrap().1, message);
        // Who asks for a form gets that or an error.
        assert!(message.encode_as(Kind::FlowMod10, Version::V1_0, 7).is_err());
    }
    let matching = "dl_src=2:0:0:0:0:0/2:0:0:0:0:0".parse().unwrap();
    let request = FlowStatsRequest { matching, ..FlowStatsRequest::default() };
    assert_eq!(kind(&request.into()), Kind::NxStatsFlowRequest);
}

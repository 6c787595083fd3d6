//! OpenFlow in words and on the wire.

use arbitrary::Unstructured;
use ovs_ofproto::FlowMod;
use ovs_ofproto::codec::{Framer, Message};
use ovs_ofproto::text::{self, ActionList, Parser};
use ovs_packet::Match;
use ovs_packet::field::FieldId;

/// A match without what its words leave out, that the packet begins with Ethernet, or say as upstream does: the TOS
/// of a tunnel.
fn as_written(mut m: Match) -> Match {
    if m.key().packet_type == 0 && !m.mask().touches(FieldId::RecircId) {
        m.set_masked(FieldId::PacketType, 0, 0);
    }
    m.set_masked(FieldId::TunTos, 0, 0);
    m
}

/// A match that is read is printed as one that is read the same.
pub fn match_text(data: &[u8]) {
    let Ok(words) = std::str::from_utf8(data) else { return };
    match words.parse::<Match>() {
        Ok(m) => {
            let m = as_written(m);
            assert_eq!(m.to_string().parse().as_ref(), Ok(&m), "{m}");
        }
        Err(e) => assert!(!e.to_string().is_empty()),
    }
}

/// A flow that is read is printed as one that is read the same.
pub fn flow_text(data: &[u8]) {
    let Ok(words) = std::str::from_utf8(data) else { return };
    match words.parse::<FlowMod>() {
        Ok(mut flow) => {
            flow.matching = as_written(flow.matching);
            assert_eq!(flow.to_string().parse().as_ref(), Ok(&flow), "{flow}");
        }
        Err(e) => assert!(e.at <= words.len(), "{e}"),
    }
}

/// Likewise lists of actions.
pub fn action_text(data: &[u8]) {
    let Ok(words) = std::str::from_utf8(data) else { return };
    match Parser::default().actions(words) {
        Ok(actions) => {
            let printed = ActionList(&actions).to_string();
            assert_eq!(Parser::default().actions(&printed), Ok(actions), "{printed}");
        }
        Err(e) => assert!(e.at <= words.len(), "{e}"),
    }
}

/// A message that is read is written as one that is written the same again: what had several encodings has one then.
pub fn openflow_message(data: &[u8]) {
    match Message::decode(data) {
        Err(e) => assert!(e.at <= data.len(), "{e:?}"),
        Ok((header, message)) => {
            assert!(!text::message(&header, &message).to_string().is_empty());
            let Ok(bytes) = message.encode(header.version, header.xid) else { return };
            let (header_again, again) = Message::decode(&bytes).expect("what we wrote");
            assert_eq!((header_again.version, header_again.xid), (header.version, header.xid));
            assert_eq!(again.encode(header.version, header.xid).as_ref(), Ok(&bytes));
        }
    }
}

/// Whatever the bytes are, they are printed, in lines, at every verbosity, and not at length out of proportion.
pub fn openflow_print(data: &[u8]) {
    for verbosity in 0..=5 {
        let words = text::ofp_print(data, verbosity);
        assert!(words.ends_with('\n'));
        // A number or an address takes more room than its bytes; a mask of a field has its name besides.
        assert!(words.len() <= 4096 + 512 * data.len(), "{} bytes of {}", words.len(), data.len());
    }
}

/// A stream gives the same messages however it is cut, and they are the stream.
pub fn openflow_stream(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let step = usize::from(u.arbitrary::<u8>().unwrap_or(0)) + 1;
    let stream = u.take_rest();
    let mut whole = Framer::new();
    whole.push(stream);
    let at_once: Vec<_> = whole.by_ref().take(stream.len() + 1).collect();
    let mut framer = Framer::new();
    let mut in_pieces = Vec::new();
    for piece in stream.chunks(step) {
        framer.push(piece);
        for frame in framer.by_ref() {
            let failed = frame.is_err();
            in_pieces.push(frame);
            if failed {
                break;
            }
        }
        if in_pieces.last().is_some_and(Result::is_err) {
            break;
        }
    }
    let at_once: Vec<_> = {
        let good = at_once.iter().take_while(|f| f.is_ok()).count();
        at_once.into_iter().take(good + 1).collect()
    };
    assert_eq!(in_pieces, at_once);
    let frames: Vec<u8> = at_once.iter().flatten().flatten().copied().collect();
    assert!(stream.starts_with(&frames));
    if at_once.iter().all(Result::is_ok) {
        assert_eq!(whole.waiting(), stream.len() - frames.len());
    }
}

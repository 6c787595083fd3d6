//! Messages that brought other implementations down: here each is an answer, an error or a value.
//!
//! The bytes are those of the reports that the names tell.

use ovs_ofproto::Action;
use ovs_ofproto::codec::{Message, OfError};
use ovs_ofproto::text::ofp_print;

fn hex(s: &str) -> Vec<u8> {
    (0..s.len() / 2).map(|i| u8::from_str_radix(&s[2 * i..2 * i + 2], 16).unwrap()).collect()
}

fn error(s: &str) -> OfError {
    Message::decode(&hex(s)).unwrap_err().error
}

#[test]
fn cve_2017_9214() {
    assert_eq!(
        error(
            "0115003800000001000100000000000000000001001000000001001800000000000000000000000000000000000000000000\
         000000000000"
        ),
        OfError::BadPropertyBadLength
    );
}

#[test]
fn cve_2017_9263() {
    let text = ofp_print(&hex("051e00180000000100000002ff0000000000000000000000"), 4);
    assert!(text.contains("reason=(unknown)"), "{text}");
}

#[test]
fn cve_2017_9265() {
    assert_eq!(error("060f0018000000010000000000000001ffff0000ffffffff"), OfError::BadRequestBadLength);
}

#[test]
fn cve_2018_17204_type() {
    assert_eq!(
        error(
            "060f004000000001000077000000000100000000ffffffffffff00280000154d000000010000000068617368000000000000\
         0000000000000000000000000000"
        ),
        OfError::GroupModBadType
    );
}

#[test]
fn cve_2018_17204_cmd() {
    assert_eq!(
        error(
            "060f004000000001123401000000000100000000ffffffffffff00280000154d000000010000000068617368000000000000\
         0000000000000000000000000000"
        ),
        OfError::GroupModBadCommand
    );
}

#[test]
fn cve_2017_14970() {
    assert_eq!(
        error(
            "060f004000000001000001000000000100200000ffffffff00200010000000000000001000000001ffff0000000000000000\
         000800010000ffff0008deadbeef"
        ),
        OfError::BadPropertyBadLength
    );
}

#[test]
fn cve_2018_17206() {
    assert_eq!(
        error(
            "010d006c00000001fffffffffffd0020ffff002000002320000c0001000000000000000200ff000000000000000000000000\
         0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\
         0000000000000000"
        ),
        OfError::BadActionBadLength
    );
}

#[test]
fn cve_2021_36980() {
    let head = "040d05c800000001fffffffffffffffd05b0000000000000ffff05b000002320002e00000001894f";
    let (_, message) = Message::decode(&hex(&[head, &"0004010800000000".repeat(180)].concat())).unwrap();
    let Message::PacketOut(out) = &message else { panic!("{message:?}") };
    assert!(matches!(&out.actions[..], [Action::Encap { properties, .. }] if properties.len() > 100));
}

/// Found by the fuzz target `openflow_message`: bytes that are no text grew with each way there and back.
#[test]
fn a_way_to_select_has_a_name_that_is_text() {
    let message = |name: &str| {
        format!(
            "060f004000000000000000000000000100000000ffffffffffff00280000154d0000000100000000{name}200079ffff000000"
        )
    };
    assert_eq!(error(&message("687a3dffffffffffffffff0000000000")), OfError::BadPropertyBadValue);
    assert!(Message::decode(&hex(&message("687a3dc3a90000000000000000000000"))).is_ok());
}

#[test]
fn ed_prop_zero_len_be5e6d682() {
    assert_eq!(
        error("040d003000000001fffffffffffffffd0018000000000000ffff001800002320002e00000001894f0004010000000000"),
        OfError::BadActionBadLength
    );
}

#[test]
fn bundle_add_short_5d6ac33c9() {
    assert_eq!(error("05220012000000010000000100000000050e"), OfError::BundleMsgBadLen);
}

#[test]
fn bundle_add_bad_inner_d0485f488() {
    let bytes =
        hex("05220048000000010000000100000000050e003800000001ffffffffffffffffffffffffffffffffffffffffffffffffffff\
         ffffffffffffffffffffffffffffffffffffffffffff");
    // The message within is read by who commits the bundle.
    let (_, message) = Message::decode(&bytes).unwrap();
    let Message::BundleAdd(add) = message else { panic!() };
    assert!(Message::decode(&add.message).is_err());
    assert!(ofp_print(&bytes, 4).contains("***decode error: "));
}

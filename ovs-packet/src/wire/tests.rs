//! The laws that every protocol is held to, for its own tests to call.

use core::fmt::{Debug, Display};
use std::string::ToString;
use std::vec;
use std::vec::Vec;

use proptest::sample::Index;

use super::{Error, Fault, Wire};

/// Holds `value` to the laws of values and returns its bytes.
pub(super) fn laws<V: Wire + PartialEq + Debug + Display>(value: &V) -> Vec<u8> {
    let bytes = value.to_vec().unwrap_or_else(|e| panic!("{value:?}: {e}"));
    assert_eq!(bytes.len(), value.len(), "{value:?}");
    assert_eq!(V::parse(&bytes).as_ref(), Ok(value));

    // It writes all of its bytes and no other.
    let mut out = vec![0xa5; bytes.len() + 3];
    assert_eq!(value.emit(&mut out), Ok(bytes.len()));
    assert_eq!((&out[..bytes.len()], &out[bytes.len()..]), (&bytes[..], &[0xa5; 3][..]));
    for short in 0..bytes.len() {
        assert_eq!(value.emit(&mut vec![0; short]).map_err(|e| e.fault), Err(Fault::Truncated), "{value:?} in {short}");
    }
    assert!(!value.to_string().is_empty());
    bytes
}

/// Holds whatever `bytes` are to the laws of bytes.
pub(super) fn any_bytes<V: Wire + PartialEq + Debug + Display>(bytes: &[u8]) {
    let parsed = V::parse(bytes);
    match parsed {
        Ok(value) => {
            laws(&value);
        }
        Err(e) => assert!(e.at as usize <= bytes.len() && !e.to_string().is_empty(), "{e}"),
    }
}

/// The bytes of a value with `more` behind them, one of them all changed.
pub(super) fn changed(value: &impl Wire, more: &[u8], at: Index, to: u8) -> Vec<u8> {
    let mut bytes = value.to_vec().expect("a value that can be emitted");
    bytes.extend_from_slice(more);
    let at = at.index(bytes.len());
    bytes[at] = to;
    bytes
}

/// Every proper prefix of `bytes` is refused, and no place is told that is not in it.
pub(super) fn no_prefix<V: Wire + Debug>(bytes: &[u8]) {
    for short in 0..bytes.len() {
        let e = V::parse(&bytes[..short]).expect_err("a prefix");
        assert!(e.at as usize <= short, "{e}");
    }
}

/// The error that parsing gives.
pub(super) fn refused<V: Wire + Debug>(bytes: &[u8]) -> Error {
    V::parse(bytes).expect_err("an error")
}

/// The bytes that hexadecimal digits, with blanks anywhere, stand for.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|d| d as u8).collect();
    digits.chunks(2).map(|d| d[0] << 4 | d[1]).collect()
}

#[test]
fn errors_read_well() {
    let e = Error::length("LLDP management address", 23, 59);
    assert_eq!(e.to_string(), "LLDP management address at byte 23: length 59 does not fit");
    assert_eq!(
        Error::value("BFD version", 0, 2u8).shifted(42).to_string(),
        "BFD version at byte 42: value 0x2 is not possible"
    );
}

#[test]
fn a_frame_is_padded_to_60_bytes_and_never_cut() {
    use super::arp;
    let message = arp::Message::request(crate::EthAddr::local(1), [10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let frame = super::frame(crate::EthAddr::BROADCAST, crate::EthAddr::local(1), arp::ETH_TYPE, &message).unwrap();
    assert_eq!(frame.len(), 60);
    assert_eq!(&frame[14..42], message.to_vec().unwrap());
    assert!(frame[42..].iter().all(|b| *b == 0));
}

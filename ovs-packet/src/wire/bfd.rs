//! BFD control packets (RFC 5880, section 4), which are the payload of UDP (RFC 5881).
//!
//! ```text
//!   0  version 1 (3 bits), diagnostic (5)     1  state (2), P, F, C, A, D, M
//!   2  detection multiplier                   3  length of all of it
//!   4  my discriminator                       8  your discriminator
//!  12  desired min TX interval               16  required min RX interval
//!  20  required min echo RX interval: all in microseconds
//!  24  if A: authentication type, its length, key id, data
//! ```
//!
//! What a receiver must check before it looks for the session (section 6.8.6), the view checks. It does not know keys
//! and does not say whether authentication is right.

use core::fmt;

use bitflags::bitflags;
use zerocopy::big_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Error, Reader, Vec, Wire, Writer, code_points, view};

/// The UDP port of control packets of single-hop sessions (RFC 5881, section 4).
pub const UDP_PORT: u16 = 3784;
/// The UDP port of multihop sessions (RFC 5883).
pub const UDP_PORT_MULTIHOP: u16 = 4784;
/// The length of a packet without authentication.
pub const LEN: usize = 24;

const NAME: &str = "BFD";
const AUTH: &str = "BFD authentication";
const VERSION: u8 = 1;

bitflags! {
    /// The flags of a packet.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Flags: u8 {
        /// P: parameters have changed, or are to be verified; the other side answers with `FINAL`.
        const POLL = 0x20;
        /// F: the answer to `POLL`.
        const FINAL = 0x10;
        /// C: the sender lives on when its control plane does not.
        const CONTROL_PLANE_INDEPENDENT = 0x08;
        /// D: the sender wishes that periodic packets cease.
        const DEMAND = 0x02;
    }
}

/// The state of the sender's session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum State {
    /// Taken down by the administrator.
    AdminDown = 0,
    /// Down, or just begun.
    #[default]
    Down = 1,
    /// The other side is heard.
    Init = 2,
    /// Both sides hear each other.
    Up = 3,
}

code_points! {
    /// Why the sender's session left the state Up.
    Diagnostic: u8 {
        /// No diagnostic.
        NONE = 0, "No Diagnostic";
        /// Control detection time expired.
        EXPIRED = 1, "Control Detection Time Expired";
        /// The echo function failed.
        ECHO_FAILED = 2, "Echo Function Failed";
        /// The neighbour signalled session down.
        NEIGHBOR_DOWN = 3, "Neighbor Signaled Session Down";
        /// The forwarding plane was reset.
        FORWARDING_RESET = 4, "Forwarding Plane Reset";
        /// The path is down.
        PATH_DOWN = 5, "Path Down";
        /// A path that this one is joined with is down.
        CONCATENATED_PATH_DOWN = 6, "Concatenated Path Down";
        /// Taken down by the administrator.
        ADMIN_DOWN = 7, "Administratively Down";
        /// A path that the reverse of this one is joined with is down.
        REVERSE_CONCATENATED_PATH_DOWN = 8, "Reverse Concatenated Path Down";
    }
}

code_points! {
    /// A kind of authentication.
    AuthKind: u8 {
        /// A password of 1 to 16 bytes, in clear.
        PASSWORD = 1, "password";
        /// MD5 keyed, with a sequence number.
        MD5 = 2, "MD5";
        /// The same, with the sequence number going up in each packet.
        METICULOUS_MD5 = 3, "meticulous MD5";
        /// SHA1 keyed, with a sequence number.
        SHA1 = 4, "SHA1";
        /// The same, with the sequence number going up in each packet.
        METICULOUS_SHA1 = 5, "meticulous SHA1";
    }
}

impl AuthKind {
    /// How many bytes follow the key id (RFC 5880, sections 4.2 to 4.4), if the kind is known.
    fn data_len(self) -> Option<core::ops::RangeInclusive<usize>> {
        match self {
            AuthKind::PASSWORD => Some(1..=16),
            AuthKind::MD5 | AuthKind::METICULOUS_MD5 => Some(21..=21),
            AuthKind::SHA1 | AuthKind::METICULOUS_SHA1 => Some(25..=25),
            _ => None,
        }
    }
}

/// A control packet in place.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct View {
    version_diagnostic: u8,
    state_flags: u8,
    detect_mult: u8,
    length: u8,
    my_discriminator: U32,
    your_discriminator: U32,
    /// How often the sender would like to send, in microseconds.
    pub desired_min_tx: U32,
    /// How often the sender is able to receive, in microseconds; 0 to receive nothing.
    pub required_min_rx: U32,
    /// How often the sender is able to receive echo packets, in microseconds; 0 for no echo.
    pub required_min_echo_rx: U32,
    rest: [u8],
}

view!(View, NAME);

impl View {
    const AUTHENTICATION: u8 = 0x04;
    const MULTIPOINT: u8 = 0x01;

    fn check(&self) -> Result<(), Error> {
        let has_auth = self.state_flags & View::AUTHENTICATION != 0;
        let length = usize::from(self.length);
        if self.version_diagnostic >> 5 != VERSION {
            Err(Error::value("BFD version", 0, self.version_diagnostic >> 5))
        } else if length < LEN + if has_auth { 2 } else { 0 } || length > LEN + self.rest.len() {
            Err(Error::length("BFD length", 3, length))
        } else if self.detect_mult == 0 {
            Err(Error::value("BFD detection multiplier", 2, 0u8))
        } else if self.state_flags & View::MULTIPOINT != 0 {
            Err(Error::value("BFD multipoint flag", 1, 1u8))
        } else if self.my_discriminator.get() == 0 {
            Err(Error::value("BFD my discriminator", 4, 0u32))
        } else if self.your_discriminator.get() == 0 && !matches!(self.state(), State::Down | State::AdminDown) {
            Err(Error::value("BFD your discriminator", 8, 0u32))
        } else if has_auth {
            self.read_auth().map(drop)
        } else {
            Ok(())
        }
    }

    fn read_auth(&self) -> Result<(AuthKind, u8, &[u8]), Error> {
        let section = self.rest.get(..usize::from(self.length).saturating_sub(LEN)).unwrap_or_default();
        let mut r = Reader::at(AUTH, section, LEN);
        let (kind, length, key_id) = (AuthKind(r.u8()?), r.u8()?, r.u8()?);
        let data = r.take(usize::from(length).saturating_sub(3))?;
        match kind.data_len() {
            None => Err(Error::value("BFD authentication type", LEN, kind.0)),
            Some(lengths) if !lengths.contains(&data.len()) => Err(Error::length(AUTH, LEN + 1, length.into())),
            Some(_) => Ok((kind, key_id, data)),
        }
    }

    /// The state of the sender's session.
    pub fn state(&self) -> State {
        match self.state_flags >> 6 {
            0 => State::AdminDown,
            1 => State::Down,
            2 => State::Init,
            _ => State::Up,
        }
    }

    /// The flags.
    pub fn flags(&self) -> Flags {
        Flags::from_bits_truncate(self.state_flags)
    }

    /// Sets the flags.
    pub fn set_flags(&mut self, flags: Flags) {
        self.state_flags = self.state_flags & !Flags::all().bits() | flags.bits() & Flags::all().bits();
    }

    /// Why the sender's session left the state Up.
    pub fn diagnostic(&self) -> Diagnostic {
        Diagnostic(self.version_diagnostic & 0x1f)
    }

    /// After how many lost packets the sender is to be taken for dead; not zero.
    pub fn detect_mult(&self) -> u8 {
        self.detect_mult
    }

    /// The sender's number of the session; not zero.
    pub fn my_discriminator(&self) -> u32 {
        self.my_discriminator.get()
    }

    /// The receiver's number of the session, or zero while the sender does not know it.
    pub fn your_discriminator(&self) -> u32 {
        self.your_discriminator.get()
    }

    /// The kind of authentication, the key's id, and what the kind has behind it.
    pub fn auth(&self) -> Option<(AuthKind, u8, &[u8])> {
        if self.state_flags & View::AUTHENTICATION == 0 { None } else { self.read_auth().ok() }
    }
}

/// The authentication section of a packet.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Auth {
    /// The kind.
    pub kind: AuthKind,
    /// Which of several keys.
    pub key_id: u8,
    /// The password; or a reserved byte, the sequence number, and the digest of 16 (MD5) or 20 bytes (SHA1).
    pub data: Vec<u8>,
}

/// A control packet.
///
/// ```
/// use ovs_packet::wire::{Wire, bfd};
///
/// let first = bfd::Control { my_discriminator: 7, ..Default::default() };
/// let bytes = first.to_vec().unwrap();
/// assert_eq!(bfd::Control::parse(&bytes), Ok(first));
///
/// // What the RFC forbids cannot be sent, and is not taken.
/// let error = bfd::Control { state: bfd::State::Up, ..Default::default() }.to_vec().unwrap_err();
/// assert_eq!(error.to_string(), "BFD your discriminator at byte 8: value 0x0 is not possible");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Control {
    /// Why the session left the state Up.
    pub diagnostic: Diagnostic,
    /// The state of the session.
    pub state: State,
    /// Flags.
    pub flags: Flags,
    /// After how many lost packets the sender is to be taken for dead; not zero.
    pub detect_mult: u8,
    /// The sender's number of the session; not zero.
    pub my_discriminator: u32,
    /// The receiver's number of the session, or zero while the sender does not know it.
    pub your_discriminator: u32,
    /// How often the sender would like to send, in microseconds.
    pub desired_min_tx: u32,
    /// How often the sender is able to receive, in microseconds.
    pub required_min_rx: u32,
    /// How often the sender is able to receive echo packets, in microseconds.
    pub required_min_echo_rx: u32,
    /// Authentication.
    pub auth: Option<Auth>,
}

impl Default for Control {
    /// A session that has just begun: down, of discriminator 1, with a multiplier of 3 and a packet a second.
    fn default() -> Control {
        Control {
            diagnostic: Diagnostic::NONE,
            state: State::Down,
            flags: Flags::empty(),
            detect_mult: 3,
            my_discriminator: 1,
            your_discriminator: 0,
            desired_min_tx: 1_000_000,
            required_min_rx: 1_000_000,
            required_min_echo_rx: 0,
            auth: None,
        }
    }
}

impl Wire for Control {
    fn parse(bytes: &[u8]) -> Result<Control, Error> {
        let view = View::new(bytes)?;
        Ok(Control {
            diagnostic: view.diagnostic(),
            state: view.state(),
            flags: view.flags(),
            detect_mult: view.detect_mult,
            my_discriminator: view.my_discriminator(),
            your_discriminator: view.your_discriminator(),
            desired_min_tx: view.desired_min_tx.get(),
            required_min_rx: view.required_min_rx.get(),
            required_min_echo_rx: view.required_min_echo_rx.get(),
            auth: view.auth().map(|(kind, key_id, data)| Auth { kind, key_id, data: data.to_vec() }),
        })
    }

    fn len(&self) -> usize {
        LEN + self.auth.as_ref().map_or(0, |auth| 3 + auth.data.len())
    }

    fn emit(&self, out: &mut [u8]) -> Result<usize, Error> {
        let mut w = Writer::new(NAME, out);
        let has_auth = if self.auth.is_some() { View::AUTHENTICATION } else { 0 };
        w.u8(VERSION << 5 | w.bits("BFD diagnostic", self.diagnostic.0, 5)?)?;
        w.u8((self.state as u8) << 6 | self.flags.intersection(Flags::all()).bits() | has_auth)?;
        w.u8(self.detect_mult)?;
        w.u8(w.fits("BFD length", self.len(), 255)?)?;
        for word in [
            self.my_discriminator,
            self.your_discriminator,
            self.desired_min_tx,
            self.required_min_rx,
            self.required_min_echo_rx,
        ] {
            w.u32(word)?;
        }
        if let Some(Auth { kind, key_id, data }) = &self.auth {
            w.put(&[kind.0, w.fits(AUTH, 3 + data.len(), 255)?, *key_id])?;
            w.put(data)?;
        }
        let bytes = w.written();
        // What may not be sent is what must not be received.
        View::new(bytes).map(|_| bytes.len())
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::AdminDown => "admin_down",
            State::Down => "down",
            State::Init => "init",
            State::Up => "up",
        })
    }
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Control { diagnostic, state, detect_mult, my_discriminator, your_discriminator, .. } = self;
        write!(f, "BFD {state} ({diagnostic}) {my_discriminator:#x} to {your_discriminator:#x} times {detect_mult}")?;
        let Control { desired_min_tx, required_min_rx, required_min_echo_rx, .. } = self;
        write!(f, " tx {desired_min_tx}us rx {required_min_rx}us echo rx {required_min_echo_rx}us flags ")?;
        bitflags::parser::to_writer(&self.flags, &mut *f)?;
        self.auth.as_ref().map_or(Ok(()), |auth| write!(f, " with {} key {}", auth.kind, auth.key_id))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::string::ToString;
    use std::vec;

    use super::*;
    use crate::wire::Fault;
    use crate::wire::tests::{any_bytes, hex, laws, no_prefix, refused};

    fn auth() -> impl Strategy<Value = Auth> {
        (1u8..=5, any::<u8>(), prop::collection::vec(any::<u8>(), 25), 1usize..=16).prop_map(
            |(kind, key_id, mut data, n)| {
                data.truncate([n, 21, 21, 25, 25][usize::from(kind) - 1]);
                Auth { kind: AuthKind(kind), key_id, data }
            },
        )
    }

    fn control() -> impl Strategy<Value = Control> {
        let words = (1u32.., 1u32.., any::<[u32; 3]>());
        (0u8..32, 0usize..4, any::<u8>(), 1u8.., words, prop::option::of(auth())).prop_map(
            |(diagnostic, state, flags, detect_mult, (mine, yours, us), auth)| Control {
                diagnostic: Diagnostic(diagnostic),
                state: [State::AdminDown, State::Down, State::Init, State::Up][state],
                flags: Flags::from_bits_truncate(flags),
                detect_mult,
                my_discriminator: mine,
                your_discriminator: yours,
                desired_min_tx: us[0],
                required_min_rx: us[1],
                required_min_echo_rx: us[2],
                auth,
            },
        )
    }

    proptest! {
        #[test]
        fn packets_come_back(control in control()) {
            no_prefix::<Control>(&laws(&control));
        }

        #[test]
        fn any_bytes_end(control in control(), at in 0usize..32, to: u8, more in prop::collection::vec(any::<u8>(), 0..8)) {
            let mut bytes = [control.to_vec().unwrap(), more].concat();
            let at = at % bytes.len();
            bytes[at] = to;
            any_bytes::<Control>(&bytes);
        }
    }

    #[test]
    fn layout_is_that_of_the_rfc() {
        let up = Control {
            state: State::Up,
            flags: Flags::POLL,
            my_discriminator: 0x01020304,
            your_discriminator: 0x05060708,
            ..Control::default()
        };
        assert_eq!(laws(&up), hex("20e00318 01020304 05060708 000f4240 000f4240 00000000"));
        assert_eq!(
            up.to_string(),
            "BFD up (No Diagnostic) 0x1020304 to 0x5060708 times 3 tx 1000000us rx 1000000us echo rx 0us flags POLL"
        );
    }

    #[test]
    fn what_a_receiver_must_discard_is_refused() {
        let good = Control { state: State::Up, your_discriminator: 7, ..Control::default() }.to_vec().unwrap();
        for (at, bytes, error) in [
            (0, &[0x40][..], Error::value("BFD version", 0, 2u8)),
            (3, &[23], Error::length("BFD length", 3, 23)),
            (3, &[25], Error::length("BFD length", 3, 25)),
            (2, &[0], Error::value("BFD detection multiplier", 2, 0u8)),
            (1, &[0xc1], Error::value("BFD multipoint flag", 1, 1u8)),
            (4, &[0; 4], Error::value("BFD my discriminator", 4, 0u8)),
            (8, &[0; 4], Error::value("BFD your discriminator", 8, 0u8)),
            // With the flag of authentication the same length is too short.
            (1, &[0xc4], Error::length("BFD length", 3, 24)),
        ] {
            let mut bad = good.clone();
            bad[at..at + bytes.len()].copy_from_slice(bytes);
            assert_eq!(refused::<Control>(&bad), error);
        }
    }

    #[test]
    fn whoever_is_down_may_not_know_the_other() {
        for state in [State::Down, State::AdminDown] {
            laws(&Control { state, ..Control::default() });
        }
        assert!(Control { state: State::Init, ..Control::default() }.to_vec().is_err());
    }

    #[test]
    fn authentication_has_the_length_of_its_kind() {
        let with = |kind: u8, length: u8, more: usize| {
            let mut bytes = Control::default().to_vec().unwrap();
            bytes[1] |= View::AUTHENTICATION;
            bytes.extend([kind, length, 1]);
            bytes.extend(vec![7; more]);
            bytes[3] = bytes.len() as u8;
            bytes
        };
        assert_eq!(Control::parse(&with(1, 7, 4)).unwrap().auth.unwrap().data, [7; 4]);
        assert_eq!(refused::<Control>(&with(1, 3, 0)), Error::length(AUTH, 25, 3));
        assert_eq!(refused::<Control>(&with(2, 23, 20)), Error::length(AUTH, 25, 23));
        assert_eq!(refused::<Control>(&with(4, 28, 24)), Error::truncated(AUTH, 27));
        assert_eq!(refused::<Control>(&with(6, 7, 4)), Error::value("BFD authentication type", 24, 6u8));
        assert_eq!(refused::<Control>(&with(1, 0, 4)).fault, Fault::Length(0));
    }

    #[test]
    fn what_cannot_be_sent_is_not_emitted() {
        for bad in [
            Control { detect_mult: 0, ..Control::default() },
            Control { my_discriminator: 0, ..Control::default() },
            Control { state: State::Up, ..Control::default() },
            Control { diagnostic: Diagnostic(32), ..Control::default() },
            Control { auth: Some(Auth { kind: AuthKind::MD5, key_id: 1, data: vec![0; 300] }), ..Control::default() },
        ] {
            assert!(bad.to_vec().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_poll_is_answered_in_place() {
        let mut bytes = Control { flags: Flags::POLL | Flags::DEMAND, ..Control::default() }.to_vec().unwrap();
        let view = View::new_mut(&mut bytes).unwrap();
        view.set_flags(view.flags().difference(Flags::POLL) | Flags::FINAL);
        view.desired_min_tx.set(50_000);
        let parsed = Control::parse(&bytes).unwrap();
        assert_eq!((parsed.flags, parsed.state), (Flags::FINAL | Flags::DEMAND, State::Down));
        assert_eq!(parsed.desired_min_tx, 50_000);
    }
}

//! LACP and the marker protocol: the slow protocols of link aggregation (IEEE 802.1AX-2014, 6.4.2 and 6.5.3).
//!
//! Two systems tell each other, link by link, who they are and what they believe the other to be. Both kinds of
//! message are 110 bytes behind the Ethernet header, lists of type, length and value of fixed order and length:
//!
//! ```text
//!  LACPDU                                       Marker PDU
//!   0  subtype 1     version 1                   0  subtype 2     version 1
//!   2  type 1        length 20   actor           2  type 1 or 2   length 16   marker
//!   4    system priority                         4    requester port
//!   6    system                                  6    requester system
//!  12    key                                    12    transaction
//!  14    port priority                          16    padding
//!  16    port                                   18  type 0        length 0    terminator
//!  18    state, 3 reserved                      20  90 reserved
//!  22  type 2        length 20   partner, alike
//!  42  type 3        length 16   collector
//!  44    maximum delay, 12 reserved
//!  58  type 0        length 0    terminator
//!  60  50 reserved
//! ```
//!
//! A receiver looks at neither version, collector nor terminator (6.4.12): newer versions add information there.

use core::fmt;

use bitflags::bitflags;
use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Error, Reader, Wire, Writer, view};
use crate::addr::EthAddr;

/// The Ethertype of slow protocols.
pub const ETH_TYPE: u16 = 0x8809;
/// Where slow protocols are sent to; bridges do not forward it.
pub const DESTINATION: EthAddr = EthAddr([0x01, 0x80, 0xc2, 0x00, 0x00, 0x02]);
/// The length of either message.
pub const LEN: usize = 110;

const LACPDU: &str = "LACPDU";
const MARKER: &str = "LACP marker";
const SUBTYPE_LACP: u8 = 1;
const SUBTYPE_MARKER: u8 = 2;

bitflags! {
    /// What one end says of a link (802.1AX, 6.4.2.3, Actor_State).
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct State: u8 {
        /// LACP_Activity: it sends without being asked.
        const ACTIVITY = 0x01;
        /// LACP_Timeout: it wants to hear every second, and not every 30.
        const TIMEOUT = 0x02;
        /// Aggregation: the link may be aggregated with others.
        const AGGREGATION = 0x04;
        /// Synchronization: the link is in the right aggregation.
        const SYNCHRONIZATION = 0x08;
        /// Collecting: it takes frames from the link.
        const COLLECTING = 0x10;
        /// Distributing: it sends frames over the link.
        const DISTRIBUTING = 0x20;
        /// Defaulted: it knows its partner by configuration only.
        const DEFAULTED = 0x40;
        /// Expired: it has not heard from its partner in time.
        const EXPIRED = 0x80;
    }
}

/// One end of a link, in place.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct InfoView {
    kind: u8,
    length: u8,
    /// Priority of the system; lower is better.
    pub system_priority: U16,
    /// The system.
    pub system: EthAddr,
    /// Links of one key may be aggregated.
    pub key: U16,
    /// Priority of the port; lower is better.
    pub port_priority: U16,
    /// The port.
    pub port: U16,
    state: u8,
    reserved: [u8; 3],
}

impl InfoView {
    /// What it says of the link.
    pub fn state(&self) -> State {
        State::from_bits_retain(self.state)
    }

    /// Says something else of the link.
    pub fn set_state(&mut self, state: State) {
        self.state = state.bits();
    }
}

/// A LACPDU in place.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct View {
    subtype: u8,
    /// The version of the sender; 1.
    pub version: u8,
    /// The end that sent it.
    pub actor: InfoView,
    /// The other end, as the sender believes it to be.
    pub partner: InfoView,
    collector: [u8; 2],
    /// How long the sender may keep a frame before it collects it, in units of ten microseconds.
    pub collector_max_delay: U16,
    reserved: [u8; 64],
}

const _: () = assert!(size_of::<View>() == LEN);

view!(sized View, LACPDU);
view!(sized MarkerView, MARKER);

impl View {
    fn check(&self) -> Result<(), Error> {
        if self.subtype != SUBTYPE_LACP {
            return Err(Error::value("slow protocol subtype", 0, self.subtype));
        }
        self.actor.check(1, "LACPDU actor", 2)?;
        self.partner.check(2, "LACPDU partner", 22)
    }
}

impl InfoView {
    fn check(&self, kind: u8, what: &'static str, at: usize) -> Result<(), Error> {
        if self.kind != kind {
            Err(Error::value(what, at, self.kind))
        } else if self.length != 20 {
            Err(Error::length(what, at + 1, self.length.into()))
        } else {
            Ok(())
        }
    }
}

/// One end of a link.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Info {
    /// Priority of the system; lower is better.
    pub system_priority: u16,
    /// The system.
    pub system: EthAddr,
    /// Links of one key may be aggregated.
    pub key: u16,
    /// Priority of the port; lower is better.
    pub port_priority: u16,
    /// The port.
    pub port: u16,
    /// What it says of the link.
    pub state: State,
}

impl From<&InfoView> for Info {
    fn from(view: &InfoView) -> Info {
        Info {
            system_priority: view.system_priority.get(),
            system: view.system,
            key: view.key.get(),
            port_priority: view.port_priority.get(),
            port: view.port.get(),
            state: view.state(),
        }
    }
}

impl Info {
    fn view(&self, kind: u8) -> InfoView {
        InfoView {
            kind,
            length: 20,
            system_priority: self.system_priority.into(),
            system: self.system,
            key: self.key.into(),
            port_priority: self.port_priority.into(),
            port: self.port.into(),
            state: self.state.bits(),
            reserved: [0; 3],
        }
    }
}

/// A LACPDU.
///
/// ```
/// use ovs_packet::EthAddr;
/// use ovs_packet::wire::{Wire, lacp};
///
/// let actor = lacp::Info { system: EthAddr::local(1), key: 1, port: 4, state: lacp::State::ACTIVITY, ..Default::default() };
/// let mut bytes = lacp::Pdu { actor, ..Default::default() }.to_vec().unwrap();
///
/// // Something changed since: the link collects.
/// let view = lacp::View::new_mut(&mut bytes).unwrap();
/// view.actor.set_state(view.actor.state() | lacp::State::COLLECTING);
/// let lacp::Message::Lacp(pdu) = lacp::Message::parse(&bytes).unwrap() else { unreachable!() };
/// assert!(pdu.actor.state.contains(lacp::State::COLLECTING));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Pdu {
    /// The end that sent it.
    pub actor: Info,
    /// The other end, as the sender believes it to be.
    pub partner: Info,
    /// How long the sender may keep a frame before it collects it, in units of ten microseconds.
    pub collector_max_delay: u16,
}

impl Wire for Pdu {
    fn parse(bytes: &[u8]) -> Result<Pdu, Error> {
        let view = View::new(bytes)?;
        Ok(Pdu {
            actor: Info::from(&view.actor),
            partner: Info::from(&view.partner),
            collector_max_delay: view.collector_max_delay.get(),
        })
    }

    fn len(&self) -> usize {
        LEN
    }

    fn emit(&self, out: &mut [u8]) -> Result<usize, Error> {
        let mut view = View::new_zeroed();
        (view.subtype, view.version) = (SUBTYPE_LACP, 1);
        view.actor = self.actor.view(1);
        view.partner = self.partner.view(2);
        view.collector = [3, 16];
        view.collector_max_delay = self.collector_max_delay.into();
        let mut w = Writer::new(LACPDU, out);
        w.put(view.as_bytes())?;
        Ok(w.position())
    }
}

/// Whether a marker asks or answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum MarkerKind {
    /// Marker Information: sent behind the frames of a conversation.
    #[default]
    Information,
    /// Marker Response: all frames before the marker have been received.
    Response,
}

/// A marker PDU in place.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct MarkerView {
    subtype: u8,
    /// The version of the sender; 1.
    pub version: u8,
    kind: u8,
    length: u8,
    /// The port that asked.
    pub port: U16,
    /// The system that asked.
    pub system: EthAddr,
    /// What the asker knows the answer by.
    pub transaction: U32,
    reserved: [u8; 94],
}

const _: () = assert!(size_of::<MarkerView>() == LEN);

impl MarkerView {
    fn check(&self) -> Result<(), Error> {
        if self.subtype != SUBTYPE_MARKER {
            Err(Error::value("slow protocol subtype", 0, self.subtype))
        } else if !matches!(self.kind, 1 | 2) {
            Err(Error::value(MARKER, 2, self.kind))
        } else if self.length != 16 {
            Err(Error::length(MARKER, 3, self.length.into()))
        } else {
            Ok(())
        }
    }

    /// Whether it asks or answers.
    pub fn kind(&self) -> MarkerKind {
        if self.kind == 2 { MarkerKind::Response } else { MarkerKind::Information }
    }

    /// Makes it ask or answer: an answer is the question sent back with this changed.
    pub fn set_kind(&mut self, kind: MarkerKind) {
        self.kind = kind.code();
    }
}

impl MarkerKind {
    fn code(self) -> u8 {
        match self {
            MarkerKind::Information => 1,
            MarkerKind::Response => 2,
        }
    }
}

/// A marker PDU.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Marker {
    /// Whether it asks or answers.
    pub kind: MarkerKind,
    /// The port that asked.
    pub port: u16,
    /// The system that asked.
    pub system: EthAddr,
    /// What the asker knows the answer by.
    pub transaction: u32,
}

impl Wire for Marker {
    fn parse(bytes: &[u8]) -> Result<Marker, Error> {
        let view = MarkerView::new(bytes)?;
        Ok(Marker {
            kind: view.kind(),
            port: view.port.get(),
            system: view.system,
            transaction: view.transaction.get(),
        })
    }

    fn len(&self) -> usize {
        LEN
    }

    fn emit(&self, out: &mut [u8]) -> Result<usize, Error> {
        let view = MarkerView {
            subtype: SUBTYPE_MARKER,
            version: 1,
            kind: self.kind.code(),
            length: 16,
            port: self.port.into(),
            system: self.system,
            transaction: self.transaction.into(),
            reserved: [0; 94],
        };
        let mut w = Writer::new(MARKER, out);
        w.put(view.as_bytes())?;
        Ok(w.position())
    }
}

/// Either message of the slow protocols.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Message {
    /// A LACPDU.
    Lacp(Pdu),
    /// A marker.
    Marker(Marker),
}

impl Wire for Message {
    fn parse(bytes: &[u8]) -> Result<Message, Error> {
        match Reader::new("slow protocol", bytes).u8()? {
            SUBTYPE_MARKER => Marker::parse(bytes).map(Message::Marker),
            _ => Pdu::parse(bytes).map(Message::Lacp),
        }
    }

    fn len(&self) -> usize {
        LEN
    }

    fn emit(&self, out: &mut [u8]) -> Result<usize, Error> {
        match self {
            Message::Lacp(pdu) => pdu.emit(out),
            Message::Marker(marker) => marker.emit(out),
        }
    }
}

impl fmt::Display for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Info { system_priority, system, key, port_priority, port, state } = self;
        write!(f, "system {system_priority},{system} key {key} port {port_priority},{port} state ")?;
        bitflags::parser::to_writer(state, f)
    }
}

impl fmt::Display for Pdu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pdu { actor, partner, collector_max_delay } = self;
        write!(f, "LACP actor {actor}; partner {partner}; collector max delay {collector_max_delay}")
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Marker { kind, port, system, transaction } = self;
        let kind = if *kind == MarkerKind::Response { "marker response" } else { "marker" };
        write!(f, "{kind} port {port} system {system} transaction {transaction:#x}")
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Lacp(pdu) => pdu.fmt(f),
            Message::Marker(marker) => marker.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::string::ToString;

    use super::*;
    use crate::wire::tests::{any_bytes, laws, no_prefix, refused};

    fn info() -> impl Strategy<Value = Info> {
        (any::<[u16; 4]>(), any::<[u8; 6]>(), any::<u8>()).prop_map(|(n, system, state)| Info {
            system_priority: n[0],
            system: EthAddr(system),
            key: n[1],
            port_priority: n[2],
            port: n[3],
            state: State::from_bits_retain(state),
        })
    }

    proptest! {
        #[test]
        fn pdus_come_back(actor in info(), partner in info(), delay: u16) {
            laws(&Message::Lacp(Pdu { actor, partner, collector_max_delay: delay }));
        }

        #[test]
        fn markers_come_back(port: u16, system: [u8; 6], transaction: u32, response: bool) {
            let kind = if response { MarkerKind::Response } else { MarkerKind::Information };
            let bytes = laws(&Message::Marker(Marker { kind, port, system: EthAddr(system), transaction }));
            no_prefix::<Message>(&bytes);
        }

        #[test]
        fn any_bytes_end(mut bytes in prop::collection::vec(any::<u8>(), 0..130), lead in 0u8..4) {
            bytes.splice(0..0, [lead, 1, lead, 20]);
            any_bytes::<Message>(&bytes);
        }
    }

    #[test]
    fn layout_is_that_of_the_standard() {
        let actor = Info {
            system_priority: 0x8000,
            system: EthAddr::local(1),
            key: 5,
            port_priority: 0x1234,
            port: 7,
            state: State::ACTIVITY | State::AGGREGATION,
        };
        let pdu = Pdu { actor, partner: Info { key: 0x0607, ..Info::default() }, collector_max_delay: 0x0102 };
        let bytes = laws(&pdu);
        assert_eq!(bytes[..22], [1, 1, 1, 20, 0x80, 0, 2, 0, 0, 0, 0, 1, 0, 5, 0x12, 0x34, 0, 7, 0x05, 0, 0, 0]);
        assert_eq!((&bytes[22..24], &bytes[32..34]), (&[2, 20][..], &[6, 7][..]));
        assert_eq!(bytes[42..46], [3, 16, 1, 2]);
        assert!(bytes[46..].iter().all(|b| *b == 0));
        no_prefix::<Pdu>(&bytes);
        assert!(pdu.to_string().contains("key 5 port 4660,7 state ACTIVITY | AGGREGATION; partner"), "{pdu}");
    }

    #[test]
    fn wrong_kinds_and_lengths_are_told_apart_by_place() {
        let good = Pdu::default().to_vec().unwrap();
        for (at, bad, error) in [
            (0, 3, Error::value("slow protocol subtype", 0, 3u8)),
            (2, 2, Error::value("LACPDU actor", 2, 2u8)),
            (3, 0, Error::length("LACPDU actor", 3, 0)),
            (22, 1, Error::value("LACPDU partner", 22, 1u8)),
            (23, 255, Error::length("LACPDU partner", 23, 255)),
        ] {
            let mut bytes = good.clone();
            bytes[at] = bad;
            assert_eq!(refused::<Message>(&bytes), error);
        }
        // Version, collector and terminator are a newer sender's business.
        for (at, other) in [(1, 2), (42, 9), (43, 9), (58, 4)] {
            let mut bytes = good.clone();
            bytes[at] = other;
            assert_eq!(Pdu::parse(&bytes), Ok(Pdu::default()), "byte {at}");
        }
    }

    #[test]
    fn a_marker_is_answered_in_place() {
        let asked = Marker { port: 3, system: EthAddr::local(9), transaction: 77, ..Marker::default() };
        let mut bytes = asked.to_vec().unwrap();
        MarkerView::new_mut(&mut bytes).unwrap().set_kind(MarkerKind::Response);
        assert_eq!(Marker::parse(&bytes), Ok(Marker { kind: MarkerKind::Response, ..asked }));
        bytes[2] = 3;
        assert_eq!(refused::<Marker>(&bytes), Error::value("LACP marker", 2, 3u8));
    }
}

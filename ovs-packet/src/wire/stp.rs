//! Spanning tree BPDUs: STP (IEEE 802.1D-1998, clause 9) and RSTP (IEEE 802.1D-2004, clause 9).
//!
//! A BPDU is sent in an 802.3 frame behind three bytes of LLC, `42 42 03`:
//!
//! ```text
//!   0  protocol 0, 0
//!   2  version      0: STP, 2: RSTP, 3: MSTP
//!   3  type         0x00: configuration, 0x80: topology change notification (ends here), 0x02: rapid
//!   4  flags        TCA, agreement, forwarding, learning, role (2 bits), proposal, TC
//!   5  root bridge  priority (16 bits), address
//!  13  cost of the path to the root
//!  17  bridge       priority (16 bits), address
//!  25  port         priority (4 or 8 bits), number
//!  27  message age, 29 maximum age, 31 hello time, 33 forward delay: in 1/256 s
//!  35  length of version 1 information, 0: in rapid ones only
//! ```
//!
//! A configuration BPDU of version 0 uses only the flags TC and TCA. Receivers take what they know of newer versions
//! (9.3.4), so the version is not checked, and what follows is not read.

use core::fmt;
use core::time::Duration;

use bitflags::bitflags;
use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Error, Vec, Wire, Writer, framed, view};
use crate::addr::EthAddr;

/// Where BPDUs are sent to; bridges do not forward it.
pub const DESTINATION: EthAddr = EthAddr([0x01, 0x80, 0xc2, 0x00, 0x00, 0x00]);
/// The LLC header in front of a BPDU: both service access points 0x42, unnumbered information.
pub const LLC: [u8; 3] = [0x42, 0x42, 0x03];

const NAME: &str = "BPDU";
const CONFIG: u8 = 0x00;
const RAPID: u8 = 0x02;
const TCN: u8 = 0x80;
const LEN_TCN: usize = 4;
const LEN_CONFIG: usize = 35;
const LEN_RAPID: usize = 36;

bitflags! {
    /// The flags of a configuration or rapid BPDU.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Flags: u8 {
        /// The topology has changed.
        const TOPOLOGY_CHANGE = 0x01;
        /// The sender wants to forward at once (rapid only).
        const PROPOSAL = 0x02;
        /// The two bits of the port's [role](Role).
        const ROLE = 0x0c;
        /// The port learns (rapid only).
        const LEARNING = 0x10;
        /// The port forwards (rapid only).
        const FORWARDING = 0x20;
        /// The sender agrees to a proposal (rapid only).
        const AGREEMENT = 0x40;
        /// A topology change notification was received (not set by RSTP).
        const TOPOLOGY_CHANGE_ACK = 0x80;
    }
}

/// The role of the sending port in a rapid BPDU (802.1D-2004, 9.2.9).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Role {
    /// Unknown: the BPDU is to be taken for a configuration BPDU.
    #[default]
    Unknown = 0,
    /// Alternate or backup port.
    Alternate = 1,
    /// Root port.
    Root = 2,
    /// Designated port.
    Designated = 3,
}

impl Flags {
    /// The role that the flags tell.
    pub const fn role(self) -> Role {
        match self.bits() >> 2 & 3 {
            0 => Role::Unknown,
            1 => Role::Alternate,
            2 => Role::Root,
            _ => Role::Designated,
        }
    }

    /// The same flags with another role.
    pub const fn with_role(self, role: Role) -> Flags {
        Flags::from_bits_retain(self.bits() & !Flags::ROLE.bits() | (role as u8) << 2)
    }
}

/// A bridge: its priority and its address, which order bridges in this order, the lowest being the best.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct BridgeId {
    priority: [u8; 2],
    /// The address of the bridge.
    pub address: EthAddr,
}

impl BridgeId {
    /// The bridge of this priority and address.
    pub const fn new(priority: u16, address: EthAddr) -> BridgeId {
        BridgeId { priority: priority.to_be_bytes(), address }
    }

    /// The priority; in RSTP its lower 12 bits are an extension, zero without multiple trees.
    pub const fn priority(self) -> u16 {
        u16::from_be_bytes(self.priority)
    }
}

/// A time in units of 1/256 s.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Ticks(pub u16);

impl Ticks {
    /// So many whole seconds, of which 255 are the most.
    pub const fn from_secs(seconds: u8) -> Ticks {
        Ticks((seconds as u16) << 8)
    }

    /// The whole seconds in it.
    pub const fn as_secs(self) -> u8 {
        (self.0 >> 8) as u8
    }
}

impl From<Ticks> for Duration {
    fn from(ticks: Ticks) -> Duration {
        Duration::from_nanos(u64::from(ticks.0) * (1_000_000_000 / 256))
    }
}

/// A BPDU in place.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct View {
    protocol: U16,
    /// The version of the sender.
    pub version: u8,
    kind: u8,
    rest: [u8],
}

/// What a configuration and a rapid BPDU say, in place.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ConfigView {
    flags: u8,
    /// The bridge that the sender believes to be the root.
    pub root: BridgeId,
    /// The cost of the sender's path to the root.
    pub root_path_cost: U32,
    /// The bridge that sent it.
    pub bridge: BridgeId,
    /// The port that sent it.
    pub port: U16,
    /// How old what it says is, in 1/256 s.
    pub message_age: U16,
    /// How old it may become.
    pub max_age: U16,
    /// How often the root sends.
    pub hello_time: U16,
    /// How long ports stay in the states on the way to forwarding.
    pub forward_delay: U16,
}

const _: () = assert!(size_of::<ConfigView>() == LEN_CONFIG - LEN_TCN);

view!(View, NAME);

impl View {
    fn check(&self) -> Result<(), Error> {
        if self.protocol.get() != 0 {
            return Err(Error::value("BPDU protocol", 0, self.protocol.get()));
        }
        let len = match self.kind {
            CONFIG => LEN_CONFIG,
            RAPID => LEN_RAPID,
            TCN => LEN_TCN,
            other => return Err(Error::value("BPDU type", 3, other)),
        };
        if LEN_TCN + self.rest.len() < len { Err(Error::truncated(NAME, LEN_TCN + self.rest.len())) } else { Ok(()) }
    }

    /// Whether it is a rapid BPDU.
    pub fn is_rapid(&self) -> bool {
        self.kind == RAPID
    }

    /// What it says, unless it is a topology change notification, which says only that.
    pub fn config(&self) -> Option<&ConfigView> {
        if self.kind == TCN { None } else { ConfigView::ref_from_prefix(&self.rest).ok().map(|(view, _)| view) }
    }

    /// Like [`config`](Self::config), to be written to.
    pub fn config_mut(&mut self) -> Option<&mut ConfigView> {
        if self.kind == TCN { None } else { ConfigView::mut_from_prefix(&mut self.rest).ok().map(|(view, _)| view) }
    }
}

impl ConfigView {
    /// The flags.
    pub fn flags(&self) -> Flags {
        Flags::from_bits_retain(self.flags)
    }

    /// Sets the flags.
    pub fn set_flags(&mut self, flags: Flags) {
        self.flags = flags.bits();
    }
}

/// What a configuration and a rapid BPDU say.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Config {
    /// Flags, with the port's role in rapid BPDUs.
    pub flags: Flags,
    /// The bridge that the sender believes to be the root.
    pub root: BridgeId,
    /// The cost of the sender's path to the root.
    pub root_path_cost: u32,
    /// The bridge that sent it.
    pub bridge: BridgeId,
    /// The port that sent it: priority in the upper bits (8 in STP, 4 in RSTP), number in the lower.
    pub port: u16,
    /// How old what it says is.
    pub message_age: Ticks,
    /// How old it may become.
    pub max_age: Ticks,
    /// How often the root sends.
    pub hello_time: Ticks,
    /// How long ports stay in the states on the way to forwarding.
    pub forward_delay: Ticks,
}

impl From<&ConfigView> for Config {
    fn from(view: &ConfigView) -> Config {
        Config {
            flags: view.flags(),
            root: view.root,
            root_path_cost: view.root_path_cost.get(),
            bridge: view.bridge,
            port: view.port.get(),
            message_age: Ticks(view.message_age.get()),
            max_age: Ticks(view.max_age.get()),
            hello_time: Ticks(view.hello_time.get()),
            forward_delay: Ticks(view.forward_delay.get()),
        }
    }
}

impl From<&Config> for ConfigView {
    fn from(config: &Config) -> ConfigView {
        ConfigView {
            flags: config.flags.bits(),
            root: config.root,
            root_path_cost: config.root_path_cost.into(),
            bridge: config.bridge,
            port: config.port.into(),
            message_age: config.message_age.0.into(),
            max_age: config.max_age.0.into(),
            hello_time: config.hello_time.0.into(),
            forward_delay: config.forward_delay.0.into(),
        }
    }
}

/// A BPDU, behind its LLC header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Bpdu {
    /// A configuration BPDU, written as of version 0.
    Config(Config),
    /// A topology change notification, written as of version 0.
    TopologyChange,
    /// A rapid BPDU, written as of version 2.
    Rapid(Config),
}

impl Bpdu {
    /// The BPDU in the payload of an 802.3 frame, that is, in what the frame's length field counts.
    pub fn parse_llc(llc: &[u8]) -> Result<Bpdu, Error> {
        let bpdu = llc.strip_prefix(&LLC).ok_or(Error::new("LLC of spanning tree", 0, super::Fault::Missing))?;
        Bpdu::parse(bpdu).map_err(|e| e.shifted(LLC.len()))
    }

    /// An 802.3 frame with the BPDU in it, padded to 60 bytes.
    pub fn frame(&self, src: EthAddr) -> Result<Vec<u8>, Error> {
        framed(DESTINATION, src, (LLC.len() + self.len()) as u16, &LLC, self)
    }
}

impl Wire for Bpdu {
    fn parse(bytes: &[u8]) -> Result<Bpdu, Error> {
        let view = View::new(bytes)?;
        Ok(match view.config() {
            Some(config) if view.is_rapid() => Bpdu::Rapid(config.into()),
            Some(config) => Bpdu::Config(config.into()),
            None => Bpdu::TopologyChange,
        })
    }

    fn len(&self) -> usize {
        match self {
            Bpdu::Config(_) => LEN_CONFIG,
            Bpdu::TopologyChange => LEN_TCN,
            Bpdu::Rapid(_) => LEN_RAPID,
        }
    }

    fn emit(&self, out: &mut [u8]) -> Result<usize, Error> {
        let mut w = Writer::new(NAME, out);
        match self {
            Bpdu::Config(config) => {
                w.put(&[0, 0, 0, CONFIG])?;
                w.put(ConfigView::from(config).as_bytes())?;
            }
            Bpdu::TopologyChange => w.put(&[0, 0, 0, TCN])?,
            Bpdu::Rapid(config) => {
                w.put(&[0, 0, 2, RAPID])?;
                w.put(ConfigView::from(config).as_bytes())?;
                w.u8(0)?;
            }
        }
        Ok(w.position())
    }
}

impl fmt::Display for BridgeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}.{}", self.priority(), self.address)
    }
}

impl fmt::Debug for BridgeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Ticks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Duration::from(*self))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Unknown => "unknown",
            Role::Alternate => "alternate",
            Role::Root => "root",
            Role::Designated => "designated",
        })
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "root {} cost {} bridge {} port {:04x}", self.root, self.root_path_cost, self.bridge, self.port)?;
        let Config { message_age, max_age, hello_time, forward_delay, .. } = self;
        write!(f, " age {message_age} of {max_age} hello {hello_time} delay {forward_delay} flags ")?;
        bitflags::parser::to_writer(&self.flags.difference(Flags::ROLE), f)
    }
}

impl fmt::Display for Bpdu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bpdu::Config(config) => write!(f, "STP {config}"),
            Bpdu::TopologyChange => f.write_str("STP topology change"),
            Bpdu::Rapid(config) => write!(f, "RSTP {} {config}", config.flags.role()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::string::ToString;

    use super::*;
    use crate::wire::Fault;
    use crate::wire::tests::{any_bytes, hex, laws, no_prefix, refused};

    fn config() -> impl Strategy<Value = Config> {
        (any::<[u16; 7]>(), any::<[[u8; 6]; 2]>(), any::<u32>(), any::<u8>()).prop_map(|(n, a, cost, flags)| Config {
            flags: Flags::from_bits_retain(flags),
            root: BridgeId::new(n[0], EthAddr(a[0])),
            root_path_cost: cost,
            bridge: BridgeId::new(n[1], EthAddr(a[1])),
            port: n[2],
            message_age: Ticks(n[3]),
            max_age: Ticks(n[4]),
            hello_time: Ticks(n[5]),
            forward_delay: Ticks(n[6]),
        })
    }

    proptest! {
        #[test]
        fn bpdus_come_back(config in config(), rapid: bool) {
            laws(&if rapid { Bpdu::Rapid(config) } else { Bpdu::Config(config) });
        }

        #[test]
        fn any_bytes_end(mut bytes in prop::collection::vec(any::<u8>(), 0..60), kind in prop::sample::select(&[0u8, 2, 0x80, 1][..])) {
            bytes.splice(0..0, [0, 0, 0, kind]);
            any_bytes::<Bpdu>(&bytes);
        }
    }

    /// A rapid BPDU as a bridge sent it, priority 32768, designated, forwarding.
    const SEEN: &str = "0000 02 02 3c 8000 020000000001 00000000 8000 020000000001 8002 0000 1400 0200 0f00 00";

    #[test]
    fn a_rapid_bpdu_reads_as_it_was_meant() {
        let bytes = hex(SEEN);
        let bpdu = Bpdu::parse(&bytes).unwrap();
        assert_eq!(laws(&bpdu), bytes);
        let Bpdu::Rapid(config) = bpdu else { panic!("{bpdu}") };
        assert_eq!((config.flags.role(), config.port), (Role::Designated, 0x8002));
        assert_eq!(config.flags.difference(Flags::ROLE), Flags::LEARNING | Flags::FORWARDING);
        assert_eq!((config.max_age.as_secs(), Duration::from(Ticks(0x0280))), (20, Duration::from_millis(2500)));
        assert_eq!(
            bpdu.to_string(),
            "RSTP designated root 8000.02:00:00:00:00:01 cost 0 bridge 8000.02:00:00:00:00:01 port 8002 \
             age 0ns of 20s hello 2s delay 15s flags LEARNING | FORWARDING"
        );
        no_prefix::<Bpdu>(&bytes);
        for role in [Role::Unknown, Role::Alternate, Role::Root, Role::Designated] {
            assert_eq!(config.flags.with_role(role).role(), role);
        }
    }

    #[test]
    fn kinds_have_their_lengths_and_versions_do_not_matter() {
        no_prefix::<Bpdu>(&laws(&Bpdu::TopologyChange));
        no_prefix::<Bpdu>(&laws(&Bpdu::Config(Config::default())));
        let mut bytes = hex(SEEN);
        bytes[2] = 3;
        assert!(matches!(Bpdu::parse(&bytes), Ok(Bpdu::Rapid(_))));
        bytes[3] = 1;
        assert_eq!(refused::<Bpdu>(&bytes), Error::value("BPDU type", 3, 1u8));
        bytes[0] = 1;
        assert_eq!(refused::<Bpdu>(&bytes), Error::value("BPDU protocol", 0, 0x100u16));
    }

    #[test]
    fn the_frame_tells_the_length_with_llc() {
        let frame = Bpdu::TopologyChange.frame(EthAddr::local(1)).unwrap();
        assert_eq!((frame.len(), &frame[12..21]), (60, &[0, 7, 0x42, 0x42, 3, 0, 0, 0, 0x80][..]));
        assert_eq!(Bpdu::parse_llc(&frame[14..21]), Ok(Bpdu::TopologyChange));
        assert_eq!(Bpdu::parse_llc(&frame[14..20]).unwrap_err(), Error::truncated(NAME, 6));
        assert_eq!(Bpdu::parse_llc(&[0x42, 0x42]).unwrap_err().fault, Fault::Missing);
    }

    #[test]
    fn an_age_is_patched_in_place() {
        let mut bytes = hex(SEEN);
        let view = View::new_mut(&mut bytes).unwrap();
        let config = view.config_mut().unwrap();
        config.message_age.set(0x0100);
        config.set_flags(config.flags() | Flags::TOPOLOGY_CHANGE);
        let Bpdu::Rapid(config) = Bpdu::parse(&bytes).unwrap() else { panic!() };
        assert_eq!((config.message_age, config.flags.bits()), (Ticks::from_secs(1), 0x3d));
    }
}

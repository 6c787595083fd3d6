//! OpenFlow port numbers and the names of the reserved ones.

use core::fmt;
use core::str::FromStr;

/// A port number of OpenFlow 1.1 and later (OpenFlow 1.5, section 7.2.1.2).
///
/// ```
/// use ovs_packet::OfPort;
///
/// assert_eq!("LOCAL".parse(), Ok(OfPort::LOCAL));
/// assert_eq!("65534".parse(), Ok(OfPort::LOCAL)); // as OpenFlow 1.0 numbers it
/// assert_eq!(OfPort(7).to_string(), "7");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OfPort(pub u32);

macro_rules! reserved {
    ($($(#[$doc:meta])+ $name:ident = $number:literal;)+) => {
        impl OfPort {
            $($(#[$doc])+ pub const $name: OfPort = OfPort($number);)+
        }

        const NAMES: &[(OfPort, &str)] = &[$((OfPort::$name, stringify!($name)),)+];
    };
}

reserved! {
    /// No port yet: what an action set without output has for one (OpenFlow 1.5, section 7.2.3.7).
    UNSET = 0xffff_fff7;
    /// Back where it came from.
    IN_PORT = 0xffff_fff8;
    /// Through the flow tables, from a packet-out only.
    TABLE = 0xffff_fff9;
    /// As a learning switch without OpenFlow would.
    NORMAL = 0xffff_fffa;
    /// Every port but the ingress port and those that must not be flooded.
    FLOOD = 0xffff_fffb;
    /// Every port but the ingress port.
    ALL = 0xffff_fffc;
    /// To the controllers.
    CONTROLLER = 0xffff_fffd;
    /// The switch's own network stack.
    LOCAL = 0xffff_fffe;
    /// No port, or every port in a request.
    ANY = 0xffff_ffff;
}

impl OfPort {
    /// The highest number of a port that is not reserved, in OpenFlow 1.1 and later.
    pub const MAX: OfPort = OfPort(0xffff_ff00);

    /// The port that OpenFlow 1.0 numbers `number`: its reserved numbers, from 0xff00 on, become the 32-bit ones.
    pub const fn from_16(number: u16) -> OfPort {
        match number as u32 {
            n @ 0xff00.. => OfPort(n | 0xffff_0000),
            n => OfPort(n),
        }
    }

    /// The number in OpenFlow 1.0, if there is one.
    pub const fn to_16(self) -> Option<u16> {
        match self.0 {
            n @ (0..=0xfeff | 0xffff_ff00..) => Some(n as u16),
            _ => None,
        }
    }

    /// Whether the number belongs to the protocol and not to a port, [`LOCAL`](Self::LOCAL) apart.
    pub const fn is_reserved(self) -> bool {
        self.0 > Self::MAX.0 && self.0 != Self::LOCAL.0
    }
}

impl fmt::Display for OfPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(port, _)| port == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

/// The text is neither a port number nor a reserved port's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParseOfPortError;

impl fmt::Display for ParseOfPortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "expected a port number, or one of UNSET, IN_PORT, TABLE, NORMAL, FLOOD, ALL, CONTROLLER, LOCAL, ANY",
        )
    }
}

impl core::error::Error for ParseOfPortError {}

impl FromStr for OfPort {
    type Err = ParseOfPortError;

    /// Reads a number, decimal or hexadecimal with `0x`, or a name in any case; the 16-bit reserved numbers of
    /// OpenFlow 1.0 (from 0xff00 on) become the 32-bit ones.
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        if s.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let named = NAMES.iter().find(|(_, name)| name.eq_ignore_ascii_case(s)).map(|(port, _)| *port);
            return named.or(s.eq_ignore_ascii_case("NONE").then_some(OfPort::ANY)).ok_or(ParseOfPortError);
        }
        match crate::text::number(s).and_then(|n| u32::try_from(n).ok()).ok_or(ParseOfPortError)? {
            n if n <= 0xffff => Ok(OfPort::from_16(n as u16)),
            n => Ok(OfPort(n)),
        }
    }
}

/// The name of a reserved port, and the number of any other.
#[cfg(feature = "serde")]
impl serde::Serialize for OfPort {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match NAMES.iter().find(|(port, _)| port == self) {
            Some((_, name)) => s.serialize_str(name),
            None => s.serialize_u32(self.0),
        }
    }
}

/// A number of 32 bits, or what [`FromStr`] reads.
#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for OfPort {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<OfPort, D::Error> {
        struct NumberOrName;

        impl serde::de::Visitor<'_> for NumberOrName {
            type Value = OfPort;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&ParseOfPortError, f)
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<OfPort, E> {
                u32::try_from(number).map(OfPort).map_err(|_| E::custom(ParseOfPortError))
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<OfPort, E> {
                name.parse().map_err(E::custom)
            }
        }

        d.deserialize_any(NumberOrName)
    }
}

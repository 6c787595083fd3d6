//! Ethernet addresses (IEEE 802-2014, clause 8).

use core::fmt;
use core::str::FromStr;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::text::hex_digit;

/// A 48-bit Ethernet address, in transmission order.
///
/// ```
/// use ovs_packet::EthAddr;
///
/// let a: EthAddr = "01:80:c2:00:00:0e".parse().unwrap();
/// assert!(a.is_multicast() && a.is_reserved());
/// assert_eq!(a.to_string(), "01:80:c2:00:00:0e");
/// ```
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct EthAddr(pub [u8; 6]);

impl EthAddr {
    /// All bits zero.
    pub const ZERO: EthAddr = EthAddr([0; 6]);
    /// All bits one: every station.
    pub const BROADCAST: EthAddr = EthAddr([0xff; 6]);

    /// A locally administered unicast address made from a number: `02:xx:xx:xx:xx:xx`.
    ///
    /// Equal numbers below 2^40 give equal addresses and different ones different addresses.
    pub const fn local(n: u64) -> EthAddr {
        let b = n.to_be_bytes();
        EthAddr([0x02, b[3], b[4], b[5], b[6], b[7]])
    }

    /// Whether the group bit is set: multicast or broadcast.
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether this is the address of every station.
    pub const fn is_broadcast(self) -> bool {
        matches!(self.0, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff])
    }

    /// Whether all bits are zero.
    pub const fn is_zero(self) -> bool {
        matches!(self.0, [0, 0, 0, 0, 0, 0])
    }

    /// Whether a bridge must not forward frames to this address: 01-80-C2-00-00-00 to -0F
    /// (IEEE 802.1Q-2014, table 8-1).
    pub const fn is_reserved(self) -> bool {
        matches!(self.0, [0x01, 0x80, 0xc2, 0x00, 0x00, last] if last & 0xf0 == 0)
    }
}

impl fmt::Display for EthAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for EthAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not six pairs of hexadecimal digits with colons between them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParseEthAddrError;

impl fmt::Display for ParseEthAddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected an Ethernet address such as 50:54:00:00:00:01")
    }
}

impl core::error::Error for ParseEthAddrError {}

impl FromStr for EthAddr {
    type Err = ParseEthAddrError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let mut octets = [0; 6];
        let mut rest = s.as_bytes();
        for (i, octet) in octets.iter_mut().enumerate() {
            let digit = |b: u8| hex_digit(b).ok_or(ParseEthAddrError);
            (*octet, rest) = match rest {
                [high, low, rest @ ..] if *low != b':' => (digit(*high)? << 4 | digit(*low)?, rest),
                [low, rest @ ..] => (digit(*low)?, rest),
                [] => return Err(ParseEthAddrError),
            };
            rest = match rest {
                [b':', rest @ ..] if i < 5 => rest,
                [] if i == 5 => rest,
                _ => return Err(ParseEthAddrError),
            };
        }
        Ok(EthAddr(octets))
    }
}

/// As it is written.
#[cfg(feature = "serde")]
impl serde::Serialize for EthAddr {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for EthAddr {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<EthAddr, D::Error> {
        let text = <alloc::borrow::Cow<'de, str>>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn rejects_what_is_no_address() {
        for bad in
            ["", "1", "00:00:00:00:00", "00:00:00:00:00:00:00", "00:00:00:00:00:+1", "g0:00:00:00:00:00", "::::::"]
        {
            assert_eq!(bad.parse::<EthAddr>(), Err(ParseEthAddrError), "{bad:?}");
        }
        for bad in
            ["0:0:0:0:0:", "0:0:0:0:0:0:", "0:0:0:0:0:000", "0:0::0:0:0", "0:0:0:0:0:0 ", "0:0:0:0:0:é", "000000000000"]
        {
            assert_eq!(bad.parse::<EthAddr>(), Err(ParseEthAddrError), "{bad:?}");
        }
        assert_eq!("0:1:Ab:c:00:f".parse(), Ok(EthAddr([0, 1, 0xab, 0xc, 0, 0xf])));
    }

    #[test]
    fn local_addresses_are_unicast_and_distinct() {
        assert_eq!(EthAddr::local(0x01_02).to_string(), "02:00:00:00:01:02");
        assert!(!EthAddr::local(u64::MAX).is_multicast());
        assert_ne!(EthAddr::local(1), EthAddr::local(2));
    }

    #[test]
    fn reserved_range_ends_at_0f() {
        assert!("01:80:c2:00:00:0f".parse::<EthAddr>().unwrap().is_reserved());
        assert!(!"01:80:c2:00:00:10".parse::<EthAddr>().unwrap().is_reserved());
    }
}

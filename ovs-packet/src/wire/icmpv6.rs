//! ICMPv6 (RFC 4443, 2.1 and 2.3): the header and the checksum that multicast listener discovery and neighbour
//! discovery have.
//!
//! ```text
//!   0  type    1  code    2  checksum    4  what the type has
//! ```
//!
//! The checksum is over a pseudo-header too, that is, over the addresses of the packet, which a message does not
//! know. So [`mld`](super::mld) and [`nd`](super::nd) neither look at the checksum nor write one; who has the
//! addresses asks [`is_right`] and calls [`fill`].

use core::net::Ipv6Addr;

use zerocopy::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Error, view};
use crate::checksum::{fold, pseudo_v6, sum};

/// The number of the protocol in the header of IPv6.
pub const PROTOCOL: u8 = 58;

/// A message in place.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct View {
    /// The type.
    pub kind: u8,
    /// The code.
    pub code: u8,
    /// The checksum.
    pub checksum: U16,
    /// What the type has.
    pub body: [u8],
}

view!(View, "ICMPv6");

impl View {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Whether the checksum of a message, which fills its bytes, is right in a packet of these addresses.
pub fn is_right(message: &[u8], src: Ipv6Addr, dst: Ipv6Addr) -> bool {
    fold(sum(message, pseudo(message, src, dst))) == 0xffff
}

/// Makes the checksum of a message, which fills its bytes, right in a packet of these addresses.
///
/// ```
/// use ovs_packet::wire::{Wire, icmpv6, nd};
///
/// let (src, dst) = ("fe80::1".parse().unwrap(), "ff02::2".parse().unwrap());
/// let mut bytes = nd::Message::RouterSolicitation { options: vec![] }.to_vec().unwrap();
/// icmpv6::fill(&mut bytes, src, dst).unwrap();
/// assert!(icmpv6::is_right(&bytes, src, dst));
/// ```
pub fn fill(message: &mut [u8], src: Ipv6Addr, dst: Ipv6Addr) -> Result<(), Error> {
    let pseudo = pseudo(message, src, dst);
    let view = View::new_mut(message)?;
    view.checksum.set(0);
    let checksum = !fold(sum(view.as_bytes(), pseudo));
    view.checksum.set(checksum);
    Ok(())
}

fn pseudo(message: &[u8], src: Ipv6Addr, dst: Ipv6Addr) -> u64 {
    pseudo_v6(src, dst, PROTOCOL, u32::try_from(message.len()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_filled_checksum_is_right_and_etherparse_agrees(
            mut message in prop::collection::vec(any::<u8>(), 8..60), src: [u8; 16], dst: [u8; 16], at: prop::sample::Index,
        ) {
            fill(&mut message, src.into(), dst.into()).unwrap();
            prop_assert!(is_right(&message, src.into(), dst.into()));
            prop_assert!(etherparse::Icmpv6Slice::from_slice(&message).unwrap().is_checksum_valid(src, dst));
            // A flipped bit is found.
            let at = at.index(message.len());
            message[at] ^= 0x10;
            prop_assert!(!is_right(&message, src.into(), dst.into()));
        }
    }

    #[test]
    fn what_has_no_checksum_is_refused() {
        assert_eq!(fill(&mut [1, 2, 3], Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST), Err(Error::truncated("ICMPv6", 3)));
    }
}

//! Bare UDP tunnels: a packet of a layer 3 protocol right behind a UDP header (RFC 7510 for MPLS).
//!
//! There is no header to read or to write. What is behind UDP is what the tunnel was configured for; a tunnel in
//! multiprotocol mode also carries the protocol that is this one's twin, which is told from it by what there is:
//!
//! | configured | carries too | told by |
//! |---|---|---|
//! | IPv4 | IPv6 | the version in the first four bits of the packet |
//! | MPLS unicast | MPLS multicast | whether the outer destination is a multicast address (RFC 7510, 3) |
//! | any other | | |

use core::net::IpAddr;

use super::{Error, Reader};

/// The UDP port of MPLS (RFC 7510); there is none for other protocols.
pub const UDP_PORT_MPLS: u16 = 6635;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const MPLS: u16 = 0x8847;
const MPLS_MULTICAST: u16 = 0x8848;

/// What a tunnel carries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Mode {
    /// The Ethertype that it was configured for.
    pub eth_type: u16,
    /// Whether it carries that one's twin too.
    pub multiprotocol: bool,
}

impl Mode {
    /// Whether packets of an Ethertype may be sent by the tunnel.
    ///
    /// ```
    /// use ovs_packet::wire::bareudp::Mode;
    ///
    /// let ip = Mode { eth_type: 0x0800, multiprotocol: true };
    /// assert!(ip.carries(0x0800) && ip.carries(0x86dd) && !ip.carries(0x8847));
    /// ```
    pub const fn carries(self, eth_type: u16) -> bool {
        eth_type == self.eth_type
            || self.multiprotocol && matches!((self.eth_type, eth_type), (IPV4, IPV6) | (MPLS, MPLS_MULTICAST))
    }

    /// The Ethertype of a packet that came by the tunnel, in a UDP datagram to the address `outer_dst`; an error, for
    /// which it is to be dropped, if the tunnel does not carry it.
    pub fn eth_type(self, payload: &[u8], outer_dst: IpAddr) -> Result<u16, Error> {
        match self.eth_type {
            IPV4 => match (Reader::new("Bareudp", payload).u8()? >> 4, self.multiprotocol) {
                (4, _) => Ok(IPV4),
                (6, true) => Ok(IPV6),
                (version, _) => Err(Error::value("Bareudp IP version", 0, version)),
            },
            MPLS => match (outer_dst.is_multicast(), self.multiprotocol) {
                (false, _) => Ok(MPLS),
                (true, true) => Ok(MPLS_MULTICAST),
                (true, false) => Err(Error::value("Bareudp multicast MPLS", 0, MPLS_MULTICAST)),
            },
            other => Ok(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNICAST: IpAddr = IpAddr::V4(core::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn ip_is_told_by_its_version() {
        let single = Mode { eth_type: IPV4, multiprotocol: false };
        let multi = Mode { multiprotocol: true, ..single };
        assert_eq!((single.eth_type(&[0x45], UNICAST), multi.eth_type(&[0x46], UNICAST)), (Ok(IPV4), Ok(IPV4)));
        assert_eq!(multi.eth_type(&[0x60], UNICAST), Ok(IPV6));
        assert_eq!(single.eth_type(&[0x60], UNICAST), Err(Error::value("Bareudp IP version", 0, 6u8)));
        assert_eq!(multi.eth_type(&[0x50], UNICAST), Err(Error::value("Bareudp IP version", 0, 5u8)));
        assert_eq!(multi.eth_type(&[], UNICAST), Err(Error::truncated("Bareudp", 0)));
        assert!(!single.carries(IPV6) && multi.carries(IPV6));
    }

    #[test]
    fn mpls_is_told_by_the_outer_destination() {
        let single = Mode { eth_type: MPLS, multiprotocol: false };
        let multi = Mode { multiprotocol: true, ..single };
        for multicast in ["224.0.0.1", "ff02::1"].map(|a| a.parse::<IpAddr>().unwrap()) {
            assert_eq!(multi.eth_type(&[], multicast), Ok(MPLS_MULTICAST));
            assert!(single.eth_type(&[], multicast).is_err());
        }
        assert_eq!(single.eth_type(&[], UNICAST), Ok(MPLS));
        assert!(!single.carries(MPLS_MULTICAST) && multi.carries(MPLS_MULTICAST) && !multi.carries(IPV4));
    }

    #[test]
    fn others_are_what_they_were_configured_for() {
        for multiprotocol in [false, true] {
            let mode = Mode { eth_type: IPV6, multiprotocol };
            assert_eq!(mode.eth_type(&[0x45], UNICAST), Ok(IPV6));
            assert!(!mode.carries(IPV4));
        }
    }
}

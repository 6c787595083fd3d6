//! The header of VXLAN, behind UDP port 4789, plain (RFC 7348), with a group policy
//! (draft-smith-vxlan-group-policy-05), or with a protocol (draft-ietf-nvo3-vxlan-gpe).
//!
//! ```text
//!          plain          group policy                    protocol
//!   0      0x08           0x88                            version (2 bits) at 0x30, 0x0c, O: 0x01
//!   1      0              D: 0x40, A: 0x08                0
//!   2      0              group policy id (2)             0, next protocol
//!   4      VNI (3), 0
//! ```
//!
//! The two extensions use the same bits. Which one is meant is told by the bit that each of them adds to the first
//! byte; a header with both is refused. So are, as Linux and Open vSwitch do it, other bits that RFC 7348 reserves.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Error, Wire, Writer, code_points, view};

/// The UDP port.
pub const UDP_PORT: u16 = 4789;
/// The UDP port of headers with a protocol.
pub const UDP_PORT_GPE: u16 = 4790;
/// The length of the header.
pub const LEN: usize = 8;

const NAME: &str = "VXLAN";

mod bits {
    /// There is a VNI; always set.
    pub(super) const VNI: u8 = 0x08;
    /// There is a group policy.
    pub(super) const POLICY: u8 = 0x80;
    /// There is a next protocol.
    pub(super) const PROTOCOL: u8 = 0x04;
    pub(super) const VERSION: u8 = 0x30;
    pub(super) const OAM: u8 = 0x01;
    /// Of the second byte, with a group policy.
    pub(super) const DONT_LEARN: u8 = 0x40;
    pub(super) const APPLIED: u8 = 0x08;
}

code_points! {
    /// What is behind a header that has a protocol.
    NextProtocol: u8 {
        /// IPv4.
        IPV4 = 1, "ipv4";
        /// IPv6.
        IPV6 = 2, "ipv6";
        /// An Ethernet frame.
        ETHERNET = 3, "ethernet";
        /// A network service header.
        NSH = 4, "nsh";
    }
}

/// The header in place.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct View {
    flags: u8,
    extension: [u8; 3],
    vni: [u8; 3],
    reserved: u8,
}

const _: () = assert!(size_of::<View>() == LEN);

view!(sized View, NAME);

impl View {
    fn check(&self) -> Result<(), Error> {
        let with_protocol = bits::VNI | bits::PROTOCOL | bits::OAM;
        let known = match (self.flags & bits::PROTOCOL, self.flags, self.extension) {
            (0, bits::VNI, [0, 0, 0]) => true,
            (0, flags, _) => flags == bits::VNI | bits::POLICY,
            (_, flags, _) if flags & bits::VERSION != 0 => {
                return Err(Error::value("VXLAN-GPE version", 0, flags >> 4 & 3));
            }
            (_, flags, [0, 0, _]) => flags & bits::VNI != 0 && flags & !with_protocol == 0,
            _ => false,
        };
        if !known {
            let [a, b, c] = self.extension;
            Err(Error::value("VXLAN flags", 0, u32::from_be_bytes([self.flags, a, b, c])))
        } else if self.reserved != 0 {
            Err(Error::value("VXLAN reserved byte", 7, self.reserved))
        } else {
            Ok(())
        }
    }

    /// The virtual network, of 24 bits.
    pub fn vni(&self) -> u32 {
        let [a, b, c] = self.vni;
        u32::from_be_bytes([0, a, b, c])
    }

    /// Sets the virtual network, of which the lower 24 bits are taken.
    pub fn set_vni(&mut self, vni: u32) {
        let [_, vni @ ..] = vni.to_be_bytes();
        self.vni = vni;
    }

    /// What the header says beyond the network.
    pub fn extension(&self) -> Extension {
        let [flags, high, low] = self.extension;
        if self.flags & bits::PROTOCOL != 0 {
            Extension::Protocol { next: NextProtocol(low), oam: self.flags & bits::OAM != 0 }
        } else if self.flags & bits::POLICY != 0 {
            Extension::Policy {
                id: u16::from_be_bytes([high, low]),
                dont_learn: flags & bits::DONT_LEARN != 0,
                applied: flags & bits::APPLIED != 0,
            }
        } else {
            Extension::None
        }
    }

    /// Sets what the header says beyond the network.
    pub fn set_extension(&mut self, extension: Extension) {
        (self.flags, self.extension) = match extension {
            Extension::None => (bits::VNI, [0; 3]),
            Extension::Policy { id, dont_learn, applied } => {
                let [high, low] = id.to_be_bytes();
                let flags = if dont_learn { bits::DONT_LEARN } else { 0 } | if applied { bits::APPLIED } else { 0 };
                (bits::VNI | bits::POLICY, [flags, high, low])
            }
            Extension::Protocol { next, oam } => {
                (bits::VNI | bits::PROTOCOL | if oam { bits::OAM } else { 0 }, [0, 0, next.0])
            }
        };
    }
}

/// What a header says beyond the network.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Extension {
    /// Nothing; an Ethernet frame is behind it.
    #[default]
    None,
    /// A group policy; an Ethernet frame is behind it.
    Policy {
        /// The group.
        id: u16,
        /// D: the receiver does not learn the inner source address.
        dont_learn: bool,
        /// A: the policy has been applied.
        applied: bool,
    },
    /// What is behind it.
    Protocol {
        /// The protocol.
        next: NextProtocol,
        /// It is for the end of the tunnel and not to be forwarded.
        oam: bool,
    },
}

/// The header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Header {
    /// The virtual network, of 24 bits.
    pub vni: u32,
    /// What it says beyond it.
    pub extension: Extension,
}

impl Wire for Header {
    fn parse(bytes: &[u8]) -> Result<Header, Error> {
        let view = View::new(bytes)?;
        Ok(Header { vni: view.vni(), extension: view.extension() })
    }

    fn len(&self) -> usize {
        LEN
    }

    fn emit(&self, out: &mut [u8]) -> Result<usize, Error> {
        let mut w = Writer::new(NAME, out);
        w.bits("VXLAN VNI", self.vni, 24)?;
        let mut view = View { flags: 0, extension: [0; 3], vni: [0; 3], reserved: 0 };
        view.set_extension(self.extension);
        view.set_vni(self.vni);
        w.put(view.as_bytes())?;
        Ok(w.position())
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VXLAN vni {:#x}", self.vni)?;
        match self.extension {
            Extension::None => Ok(()),
            Extension::Policy { id, dont_learn, applied } => {
                let learn = if dont_learn { " don't learn" } else { "" };
                write!(f, " policy {id}{learn}{}", if applied { " applied" } else { "" })
            }
            Extension::Protocol { next, oam } => write!(f, " next {next}{}", if oam { " oam" } else { "" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::string::ToString;

    use super::*;
    use crate::wire::tests::{any_bytes, hex, laws, no_prefix, refused};

    fn extension() -> impl Strategy<Value = Extension> {
        prop_oneof![
            Just(Extension::None),
            any::<(u16, bool, bool)>().prop_map(|(id, dont_learn, applied)| Extension::Policy {
                id,
                dont_learn,
                applied
            }),
            any::<(u8, bool)>().prop_map(|(next, oam)| Extension::Protocol { next: NextProtocol(next), oam }),
        ]
    }

    proptest! {
        #[test]
        fn headers_come_back(vni in 0u32..1 << 24, extension in extension()) {
            no_prefix::<Header>(&laws(&Header { vni, extension }));
        }

        #[test]
        fn any_bytes_end(mut bytes: [u8; 9], first in prop::sample::select(&[8u8, 0x88, 0x0c, 0x0d, 0x8c, 0x3c][..])) {
            bytes[0] = first;
            any_bytes::<Header>(&bytes);
            bytes[7] = 0;
            any_bytes::<Header>(&bytes);
        }
    }

    #[test]
    fn layout_is_that_of_the_drafts() {
        let header = |extension| Header { vni: 0x010203, extension };
        assert_eq!(laws(&header(Extension::None)), hex("08000000 01020300"));
        let policy = header(Extension::Policy { id: 0x0405, dont_learn: true, applied: true });
        assert_eq!(laws(&policy), hex("88480405 01020300"));
        assert_eq!(policy.to_string(), "VXLAN vni 0x10203 policy 1029 don't learn applied");
        let protocol = header(Extension::Protocol { next: NextProtocol::NSH, oam: true });
        assert_eq!(laws(&protocol), hex("0d000004 01020300"));
        assert_eq!(protocol.to_string(), "VXLAN vni 0x10203 next nsh oam");
    }

    #[test]
    fn other_bits_are_refused() {
        for flags in
            ["00000000", "09000000", "0a000000", "48000000", "08000001", "08400000", "8c000003", "04000003", "0c010003"]
        {
            let e = refused::<Header>(&hex(&[flags, "01020300"].concat()));
            assert_eq!((e.what, e.at), ("VXLAN flags", 0), "{flags}");
        }
        assert_eq!(refused::<Header>(&hex("08000000 01020304")), Error::value("VXLAN reserved byte", 7, 4u8));
        assert_eq!(refused::<Header>(&hex("1c000003 01020300")), Error::value("VXLAN-GPE version", 0, 1u8));
        assert!(Header { vni: 1 << 24, ..Header::default() }.to_vec().is_err());
    }

    #[test]
    fn a_network_is_patched_in_place() {
        let extension = Extension::Policy { id: 7, dont_learn: false, applied: false };
        let mut bytes = Header { vni: 5, extension }.to_vec().unwrap();
        View::new_mut(&mut bytes).unwrap().set_vni(0x0100_0006);
        assert_eq!(Header::parse(&bytes), Ok(Header { vni: 6, extension }));
    }
}

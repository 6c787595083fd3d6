//! The tunnel that a packet came through, or is to go through: the set `ovs_tunnel_key_attr`.

use crate::attr::structure::{I32 as FieldI32, Octets, structures};
use crate::attr::typed::{Array, Be16, Be64, Bytes, Nest, Nested, Struct, U8, U16, U32, attributes};
use crate::error::{DecodeError, DecodeErrorKind};

attributes! {
    /// A part of a tunnel's header.
    pub enum TunnelKey = "ovs_tunnel_key_attr", "OVS_TUNNEL_KEY_ATTR_" {
        /// The key of the tunnel: a VNI, a GRE key.
        ID = 0 => Id(u64 as Be64),
        /// The outer source.
        IPV4_SRC = 1 => Ipv4Src([u8; 4] as Array<4>),
        /// The outer destination.
        IPV4_DST = 2 => Ipv4Dst([u8; 4] as Array<4>),
        /// The outer type of service, or traffic class.
        TOS = 3 => Tos(u8 as U8),
        /// The outer time to live, or hop limit. The kernel wants one.
        TTL = 4 => Ttl(u8 as U8),
        /// The outer header says: do not fragment.
        DONT_FRAGMENT = 5 => DontFragment,
        /// The outer header has a checksum.
        CSUM = 6 => Csum,
        /// The packet is for those who run the network (Geneve).
        OAM = 7 => Oam,
        /// Geneve options, as they are on the wire: see [`geneve_options`].
        GENEVE_OPTS = 8 => GeneveOpts(&'a [u8] as Bytes<0, 255>),
        /// The outer source port.
        TP_SRC = 9 => TpSrc(u16 as Be16),
        /// The outer destination port.
        TP_DST = 10 => TpDst(u16 as Be16),
        /// Extensions of VXLAN.
        VXLAN_OPTS = 11 => VxlanOpts(Nest<'a, VxlanExt<'a>> as Nested<VxlanExt<'static>>),
        /// The outer source.
        IPV6_SRC = 12 => Ipv6Src([u8; 16] as Array<16>),
        /// The outer destination.
        IPV6_DST = 13 => Ipv6Dst([u8; 16] as Array<16>),
        /// Bytes that mean nothing.
        PAD = 14 => Pad(&'a [u8] as Bytes),
        /// What ERSPAN adds.
        ERSPAN_OPTS = 15 => ErspanOpts(ErspanMetadata as Struct<ErspanMetadata>),
        /// The tunnel has no peer: the packet is sent as a bridge sends it.
        IPV4_INFO_BRIDGE = 16 => Ipv4InfoBridge,
    }
}

attributes! {
    /// An extension of VXLAN.
    pub enum VxlanExt = "", "OVS_VXLAN_EXT_" {
        /// The group policy: its identifier in the lower 16 bits, flags above.
        GBP = 1 => Gbp(u32 as U32),
    }
}

attributes! {
    /// An option of a tunnel port that the module itself makes: only old kernels do.
    pub enum TunnelOption = "", "OVS_TUNNEL_ATTR_" {
        /// The UDP port.
        DST_PORT = 1 => DstPort(u16 as U16),
        /// Extensions.
        EXTENSION = 2 => Extension(Nest<'a, VxlanExtFlag<'a>> as Nested<VxlanExtFlag<'static>>),
    }
}

attributes! {
    /// An extension of VXLAN that a port is to have. The numbers are those of [`VxlanExt`].
    pub enum VxlanExtFlag = "", "OVS_VXLAN_EXT_" {
        /// The group policy.
        GBP = 1 => Gbp,
    }
}

structures! {
    /// What ERSPAN adds to a tunnel's header (`linux/erspan.h`).
    pub struct ErspanMetadata = "erspan_metadata" {
        /// 1 or 2.
        version: i32 as FieldI32 = "version",
        /// What the version has: see the functions.
        body: [u8; 8] as Octets<8, 4> = "u",
    }
}

impl ErspanMetadata {
    /// Version 1, whose header has the index of a port (20 bits).
    pub fn v1(index: u32) -> ErspanMetadata {
        let [a, b, c, d] = index.to_be_bytes();
        ErspanMetadata { version: 1, body: [a, b, c, d, 0, 0, 0, 0] }
    }

    /// Version 2, whose header has a direction (1 bit) and the number of the hardware (6 bits).
    pub fn v2(direction: u8, hardware: u8) -> ErspanMetadata {
        let upper = hardware >> 4 & 0x3;
        ErspanMetadata { version: 2, body: [0, 0, 0, 0, 0, 0, upper, hardware << 4 | (direction & 1) << 3] }
    }

    /// The index of version 1.
    pub fn index(&self) -> u32 {
        let [a, b, c, d, ..] = self.body;
        u32::from_be_bytes([a, b, c, d])
    }

    /// The direction of version 2.
    pub fn direction(&self) -> u8 {
        let [.., flags] = self.body;
        flags >> 3 & 1
    }

    /// The number of the hardware of version 2.
    pub fn hardware(&self) -> u8 {
        let [.., upper, lower] = self.body;
        (upper & 0x3) << 4 | lower >> 4
    }
}

/// An option of Geneve (RFC 8926 section 3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GeneveOption<'a> {
    /// The class.
    pub class: u16,
    /// The type; its highest bit says that the option is critical.
    pub ty: u8,
    /// The data: a multiple of 4 bytes, at most 124.
    pub data: &'a [u8],
}

/// The options in the payload of [`TunnelKey::GeneveOpts`]. Ends after the first error, which has its offset in `bytes`.
///
/// ```
/// use ovs_netlink::ovs::geneve_options;
///
/// let options: Vec<_> = geneve_options(&[0xff, 0xff, 0x80, 1, 1, 2, 3, 4]).collect::<Result<_, _>>()?;
/// assert_eq!((options[0].class, options[0].ty, options[0].data), (0xffff, 0x80, &[1, 2, 3, 4][..]));
/// assert_eq!(geneve_options(&[0, 0, 0, 2, 0]).next().unwrap().unwrap_err().offset, 0);
/// # Ok::<(), ovs_netlink::DecodeError>(())
/// ```
pub fn geneve_options(bytes: &[u8]) -> impl Iterator<Item = Result<GeneveOption<'_>, DecodeError>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let offset = bytes.len().saturating_sub(rest.len());
        let needed = rest.get(3).map_or(4, |words| usize::from(words & 0x1f).saturating_mul(4).saturating_add(4));
        let kind = DecodeErrorKind::Truncated { needed, available: rest.len() };
        match rest.split_at_checked(needed) {
            Some((&[c0, c1, ty, _, ref data @ ..], tail)) => {
                rest = tail;
                Some(Ok(GeneveOption { class: u16::from_be_bytes([c0, c1]), ty, data }))
            }
            _ => {
                rest = &[];
                Some(Err(DecodeError::new(offset, kind)))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attr::{Typed, Writer};

    #[test]
    fn erspan_bits() {
        let one = ErspanMetadata::v1(0xf_1234);
        assert_eq!((one.version, one.index(), one.body[..4].to_vec()), (1, 0xf_1234, vec![0, 0xf, 0x12, 0x34]));
        for (direction, hardware) in [(0, 0), (1, 0x3f), (1, 0x10), (0, 0x0f)] {
            let two = ErspanMetadata::v2(direction, hardware);
            assert_eq!((two.version, two.direction(), two.hardware()), (2, direction, hardware));
        }
        // As a little-endian kernel's bit fields lie: hwid_upper in the low bits of byte 6, dir in bit 3 of byte 7.
        assert_eq!(ErspanMetadata::v2(1, 0x2a).body, [0, 0, 0, 0, 0, 0, 0x2, 0xa8]);
    }

    #[test]
    fn lengths_of_tunnel_attributes_are_checked() {
        // What upstream did not check until 2026: each attribute with a byte too few or too many.
        for rule in TunnelKey::policy().rules {
            let Some(size) = rule.ty.size() else { continue };
            for wrong in [size.wrapping_sub(1), size + 1].into_iter().filter(|wrong| *wrong < 99) {
                let mut buffer = Vec::new();
                Writer::new(&mut buffer).bytes(rule.number, &vec![0; wrong]).unwrap();
                let error = Nest::<TunnelKey<'_>>::new(&buffer).iter().next().unwrap().unwrap_err();
                let kind = DecodeErrorKind::WrongSize { attribute: rule.number, expected: size, found: wrong };
                assert_eq!(error.kind, kind, "{}", rule.name);
            }
        }
        let mut buffer = Vec::new();
        Writer::new(&mut buffer).bytes(TunnelKey::GENEVE_OPTS, &[0; 256]).unwrap();
        assert!(Nest::<TunnelKey<'_>>::new(&buffer).iter().next().unwrap().is_err());
    }

    #[test]
    fn an_option_that_claims_too_much_ends_the_walk() {
        let bytes = [0, 1, 2, 1, 9, 9, 9, 9, 0, 1, 2, 31, 0];
        let mut options = geneve_options(&bytes);
        assert_eq!(options.next(), Some(Ok(GeneveOption { class: 1, ty: 2, data: &[9; 4] })));
        let kind = DecodeErrorKind::Truncated { needed: 128, available: 5 };
        assert_eq!(options.next(), Some(Err(DecodeError::new(8, kind))));
        assert_eq!(options.next(), None);
    }
}

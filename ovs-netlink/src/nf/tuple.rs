//! The tuple of a connection: addresses, protocol, ports.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::conntrack::CtAttr;
use super::header::{NfHeader, message};
use crate::attr::Writer;
use crate::attr::typed::{Array, Be16, Nest, Nested, U8, attributes};
use crate::error::{DecodeError, DecodeErrorKind, EncodeError};
use crate::message::Flags;

attributes! {
    /// A part of a tuple.
    pub enum TupleAttr = "ctattr_tuple", "CTA_TUPLE_" {
        /// Addresses.
        IP = 1 => Ip(Nest<'a, TupleIpAttr<'a>> as Nested<TupleIpAttr<'static>>),
        /// Protocol and ports.
        PROTO = 2 => Proto(Nest<'a, TupleProtoAttr<'a>> as Nested<TupleProtoAttr<'static>>),
        /// The zone, where the zone is of this direction only.
        ZONE = 3 => Zone(u16 as Be16),
    }
}

attributes! {
    /// An address of a tuple.
    pub enum TupleIpAttr = "ctattr_ip", "CTA_IP_" {
        /// The source.
        V4_SRC = 1 => V4Src([u8; 4] as Array<4>),
        /// The destination.
        V4_DST = 2 => V4Dst([u8; 4] as Array<4>),
        /// The source.
        V6_SRC = 3 => V6Src([u8; 16] as Array<16>),
        /// The destination.
        V6_DST = 4 => V6Dst([u8; 16] as Array<16>),
    }
}

attributes! {
    /// What a tuple has of the transport protocol.
    pub enum TupleProtoAttr = "ctattr_l4proto", "CTA_PROTO_" {
        /// The protocol.
        NUM = 1 => Num(u8 as U8),
        /// The source port; of GRE, a part of the key.
        SRC_PORT = 2 => SrcPort(u16 as Be16),
        /// The destination port; of GRE, a part of the key.
        DST_PORT = 3 => DstPort(u16 as Be16),
        /// The identifier of an ICMP query.
        ICMP_ID = 4 => IcmpId(u16 as Be16),
        /// The ICMP type.
        ICMP_TYPE = 5 => IcmpType(u8 as U8),
        /// The ICMP code.
        ICMP_CODE = 6 => IcmpCode(u8 as U8),
        /// The identifier of an ICMPv6 query.
        ICMPV6_ID = 7 => Icmpv6Id(u16 as Be16),
        /// The ICMPv6 type.
        ICMPV6_TYPE = 8 => Icmpv6Type(u8 as U8),
        /// The ICMPv6 code.
        ICMPV6_CODE = 9 => Icmpv6Code(u8 as U8),
    }
}

/// What a tuple has of the transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum L4 {
    /// Ports (TCP, UDP, SCTP, DCCP), or the halves of GRE's keys.
    Ports {
        /// The source.
        src: u16,
        /// The destination.
        dst: u16,
    },
    /// A query of ICMP, or of ICMPv6.
    Icmp {
        /// The identifier.
        id: u16,
        /// The type.
        ty: u8,
        /// The code.
        code: u8,
    },
    /// Nothing.
    None,
}

/// The tuple of a connection in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// The source; of the same family as the destination.
    pub src: IpAddr,
    /// The destination.
    pub dst: IpAddr,
    /// The protocol.
    pub proto: u8,
    /// What it has of that.
    pub l4: L4,
    /// The zone, where the zone is of this direction only.
    pub zone: Option<u16>,
}

/// ICMPv6.
const ICMPV6: u8 = 58;

impl Tuple {
    /// The address family, as [`NfHeader::family`] has it.
    pub fn family(&self) -> u8 {
        match self.dst {
            IpAddr::V4(_) => NfHeader::IPV4,
            IpAddr::V6(_) => NfHeader::IPV6,
        }
    }

    /// Appends the tuple as the attribute `kind`.
    ///
    /// # Errors
    /// None in practice: a tuple is short.
    pub fn encode(&self, kind: u16, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        let Tuple { src, dst, proto, l4, zone } = *self;
        writer.nest(kind, |tuple| {
            tuple.nest(TupleAttr::IP, |ip| {
                match src {
                    IpAddr::V4(src) => ip.put(TupleIpAttr::V4Src(src.octets()))?,
                    IpAddr::V6(src) => ip.put(TupleIpAttr::V6Src(src.octets()))?,
                };
                match dst {
                    IpAddr::V4(dst) => ip.put(TupleIpAttr::V4Dst(dst.octets()))?,
                    IpAddr::V6(dst) => ip.put(TupleIpAttr::V6Dst(dst.octets()))?,
                };
                Ok(())
            })?;
            tuple.nest(TupleAttr::PROTO, |inner| {
                inner.put(TupleProtoAttr::Num(proto))?;
                let attributes = match l4 {
                    L4::Ports { src, dst } => {
                        [Some(TupleProtoAttr::SrcPort(src)), Some(TupleProtoAttr::DstPort(dst)), None]
                    }
                    L4::Icmp { id, ty, code } if proto == ICMPV6 => [
                        Some(TupleProtoAttr::Icmpv6Id(id)),
                        Some(TupleProtoAttr::Icmpv6Type(ty)),
                        Some(TupleProtoAttr::Icmpv6Code(code)),
                    ],
                    L4::Icmp { id, ty, code } => [
                        Some(TupleProtoAttr::IcmpId(id)),
                        Some(TupleProtoAttr::IcmpType(ty)),
                        Some(TupleProtoAttr::IcmpCode(code)),
                    ],
                    L4::None => [None; 3],
                };
                attributes.into_iter().flatten().try_for_each(|attribute| inner.put(attribute).map(drop))
            })?;
            zone.map_or(Ok(()), |zone| tuple.put(TupleAttr::Zone(zone)).map(drop))
        })?;
        Ok(())
    }

    /// Appends the request to forget the connection of `zone` whose first packet had this tuple to `buffer`.
    ///
    /// # Errors
    /// None in practice: the message is short.
    pub fn encode_delete(&self, zone: u16, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.request_delete(zone, None, buffer)
    }

    pub(super) fn request_delete(&self, zone: u16, id: Option<u32>, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
        let header = NfHeader { family: self.family(), ..NfHeader::default() };
        header.message(buffer, message::CONNECTION_DELETE, Flags::REQUEST | Flags::ACK, |writer| {
            // A kernel without zones refuses to be told one.
            if zone != 0 {
                writer.put(CtAttr::Zone(zone))?;
            }
            self.encode(CtAttr::TUPLE_ORIG, writer)?;
            id.map_or(Ok(()), |id| writer.put(CtAttr::Id(id)).map(drop))
        })
    }

    /// Reads a tuple, which is in the attribute `kind`.
    ///
    /// # Errors
    /// [`DecodeError`]; [`DecodeErrorKind::Missing`] when an address or the protocol is not there.
    pub fn decode(kind: u16, attributes: Nest<'_, TupleAttr<'_>>) -> Result<Tuple, DecodeError> {
        let (mut src, mut dst, mut zone) = (None, None, None);
        let (mut proto, mut ports, mut icmp) = (None, (None, None), (None, 0, 0));
        for attribute in attributes {
            match attribute? {
                TupleAttr::Ip(ip) => {
                    for address in ip {
                        match address? {
                            TupleIpAttr::V4Src(bytes) => src = Some(IpAddr::V4(Ipv4Addr::from_octets(bytes))),
                            TupleIpAttr::V4Dst(bytes) => dst = Some(IpAddr::V4(Ipv4Addr::from_octets(bytes))),
                            TupleIpAttr::V6Src(bytes) => src = Some(IpAddr::V6(Ipv6Addr::from_octets(bytes))),
                            TupleIpAttr::V6Dst(bytes) => dst = Some(IpAddr::V6(Ipv6Addr::from_octets(bytes))),
                            TupleIpAttr::Other(_) => {}
                        }
                    }
                }
                TupleAttr::Proto(inner) => {
                    for attribute in inner {
                        match attribute? {
                            TupleProtoAttr::Num(number) => proto = Some(number),
                            TupleProtoAttr::SrcPort(port) => ports.0 = Some(port),
                            TupleProtoAttr::DstPort(port) => ports.1 = Some(port),
                            TupleProtoAttr::IcmpId(id) | TupleProtoAttr::Icmpv6Id(id) => icmp.0 = Some(id),
                            TupleProtoAttr::IcmpType(ty) | TupleProtoAttr::Icmpv6Type(ty) => icmp.1 = ty,
                            TupleProtoAttr::IcmpCode(code) | TupleProtoAttr::Icmpv6Code(code) => icmp.2 = code,
                            TupleProtoAttr::Other(_) => {}
                        }
                    }
                }
                TupleAttr::Zone(number) => zone = Some(number),
                TupleAttr::Other(_) => {}
            }
        }
        let missing = || DecodeError::new(attributes.offset(), DecodeErrorKind::Missing { attribute: kind });
        let l4 = match (ports, icmp) {
            ((Some(src), Some(dst)), _) => L4::Ports { src, dst },
            (_, (Some(id), ty, code)) => L4::Icmp { id, ty, code },
            _ => L4::None,
        };
        let (src, dst) = (src.ok_or_else(missing)?, dst.ok_or_else(missing)?);
        if src.is_ipv4() != dst.is_ipv4() {
            return Err(missing());
        }
        Ok(Tuple { src, dst, proto: proto.ok_or_else(missing)?, l4, zone })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(in crate::nf) fn any_tuple() -> impl Strategy<Value = Tuple> {
        let addresses = prop_oneof![
            any::<(Ipv4Addr, Ipv4Addr)>().prop_map(|(src, dst)| (IpAddr::V4(src), IpAddr::V4(dst))),
            any::<(Ipv6Addr, Ipv6Addr)>().prop_map(|(src, dst)| (IpAddr::V6(src), IpAddr::V6(dst))),
        ];
        let l4 = prop_oneof![
            any::<(u8, u16, u16)>().prop_map(|(proto, src, dst)| (proto, L4::Ports { src, dst })),
            (prop_oneof![Just(1), Just(ICMPV6)], any::<(u16, u8, u8)>())
                .prop_map(|(proto, (id, ty, code))| (proto, L4::Icmp { id, ty, code })),
            any::<u8>().prop_map(|proto| (proto, L4::None)),
        ];
        (addresses, l4, any::<Option<u16>>()).prop_map(|((src, dst), (proto, l4), zone)| Tuple {
            src,
            dst,
            proto,
            l4,
            zone,
        })
    }

    fn decode(bytes: &[u8]) -> Result<Tuple, DecodeError> {
        match Nest::new(bytes).iter().next().unwrap()? {
            CtAttr::TupleOrig(tuple) => Tuple::decode(CtAttr::TUPLE_ORIG, tuple),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn families_do_not_mix_and_nothing_is_missing() {
        let mut bytes = Vec::new();
        let write = |ip: &mut Writer<'_>| {
            ip.put(TupleIpAttr::V4Src([1; 4]))?.put(TupleIpAttr::V6Dst([2; 16]))?;
            Ok(())
        };
        let tuple = |tuple: &mut Writer<'_>| {
            tuple.nest(TupleAttr::IP, write)?;
            tuple.nest(TupleAttr::PROTO, |proto| proto.put(TupleProtoAttr::Num(6)).map(drop)).map(drop)
        };
        Writer::new(&mut bytes).nest(CtAttr::TUPLE_ORIG, tuple).unwrap();
        assert_eq!(decode(&bytes).unwrap_err().kind, DecodeErrorKind::Missing { attribute: CtAttr::TUPLE_ORIG });
        bytes.clear();
        Writer::new(&mut bytes).nest(CtAttr::TUPLE_ORIG, |_| Ok(())).unwrap();
        assert_eq!(decode(&bytes).unwrap_err().offset, 4);
    }

    proptest! {
        #[test]
        fn decode_inverts_encode(tuple in any_tuple()) {
            let mut bytes = Vec::new();
            tuple.encode(CtAttr::TUPLE_ORIG, &mut Writer::new(&mut bytes)).unwrap();
            prop_assert_eq!(decode(&bytes), Ok(tuple));
        }
    }
}

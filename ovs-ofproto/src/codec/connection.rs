//! Which connections to forget (NXT_CT_FLUSH).

use std::net::{IpAddr, Ipv6Addr};

use super::cursor::{Reader, Writer};
use super::error::{DecodeError, EncodeError, OfError};
use super::io::{Done, Io, Property};
#[cfg(feature = "serde")]
use crate::json::form::*;

/// The connections to forget: those that agree in all that is said.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct CtFlush {
    /// Their protocol; 0 is any.
    #[cfg_attr(feature = "serde", serde(rename = "ip_proto"))]
    pub protocol: u8,
    /// Addresses and ports of the first packet.
    pub original: CtTuple,
    /// Those of answers to it.
    pub reply: CtTuple,
    /// Their zone.
    pub zone: Option<u16>,
    /// Their mark, and the bits of it that count.
    #[cfg_attr(feature = "serde", serde(with = "As::<Option<Record<ValueAndMask, Hex>>>"))]
    pub mark: Option<(u32, u32)>,
    /// Their labels, and the bits of them that count.
    #[cfg_attr(feature = "serde", serde(with = "As::<Option<Record<ValueAndMask, Hex>>>"))]
    pub labels: Option<(u128, u128)>,
}

/// Addresses and ports of a connection's packets one way. Zeros are any.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct CtTuple {
    /// Where they come from.
    pub src: Option<IpAddr>,
    /// Where they go.
    pub dst: Option<IpAddr>,
    /// The port that they come from.
    pub src_port: u16,
    /// The port that they go to.
    pub dst_port: u16,
    /// Of ICMP: identifier, type and code.
    #[cfg_attr(feature = "serde", serde(with = "As::<Icmp>"))]
    pub icmp: (u16, u8, u8),
}

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

mod property {
    pub(super) const ORIGINAL: u64 = 0;
    pub(super) const REPLY: u64 = 1;
    pub(super) const ZONE: u64 = 2;
    pub(super) const MARK: u64 = 3;
    pub(super) const MARK_MASK: u64 = 4;
    pub(super) const LABELS: u64 = 5;
    pub(super) const LABELS_MASK: u64 = 6;
}

impl CtFlush {
    /// Whether the protocol has identifier, type and code where others have ports.
    pub fn is_icmp(&self) -> bool {
        matches!(self.protocol, ICMP | ICMPV6)
    }

    /// Whether an address of IPv4 is said.
    pub fn is_ipv4(&self) -> bool {
        let all = [self.original.src, self.original.dst, self.reply.src, self.reply.dst];
        all.into_iter().flatten().any(|a| a.is_ipv4())
    }

    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        io.u8(&mut self.protocol)?;
        io.zeros(7)?;
        let protocol = self.protocol;
        io.either(self, |r| Ok(CtFlush { protocol, ..CtFlush::read(r)? }), CtFlush::write)
    }

    fn read(r: &mut Reader<'_>) -> Result<CtFlush, DecodeError> {
        let mut found = CtFlush::default();
        let (mut mark, mut labels) = ((None, None), (None, None));
        while let Some(p) = Property::next(r)? {
            match p.kind {
                property::ORIGINAL => found.original = CtTuple::read(&p)?,
                property::REPLY => found.reply = CtTuple::read(&p)?,
                property::ZONE => found.zone = Some(p.u16()?),
                property::MARK => mark.0 = Some(p.u32()?),
                property::MARK_MASK => mark.1 = Some(p.u32()?),
                property::LABELS => labels.0 = Some(p.sized(16)?.uint(16)?),
                property::LABELS_MASK => labels.1 = Some(p.sized(16)?.uint(16)?),
                _ => return Err(p.unknown("NXT_CT_FLUSH")),
            }
            let families = [found.original.src, found.original.dst, found.reply.src, found.reply.dst];
            let mut families = families.into_iter().flatten().map(|a| a.is_ipv4());
            if let Some(first) = families.next()
                && families.any(|other| other != first)
            {
                return Err(p.error(OfError::BadPropertyBadValue, "addresses of one kind"));
            }
        }
        // A mask that is not there is one of all bits.
        found.mark = match mark {
            (None, None) => None,
            (value, mask) => Some((value.unwrap_or(0), mask.unwrap_or(u32::MAX))),
        };
        found.labels = match labels {
            (None, None) => None,
            (value, mask) => Some((value.unwrap_or(0), mask.unwrap_or(u128::MAX))),
        };
        Ok(found)
    }

    fn write(&self, w: &mut Writer) -> Result<(), EncodeError> {
        self.original.write(w, property::ORIGINAL, self.is_icmp())?;
        self.reply.write(w, property::REPLY, self.is_icmp())?;
        if let Some(zone) = self.zone {
            w.property_u16(property::ZONE, zone)?;
        }
        if let Some((mark, mask)) = self.mark {
            w.property_u32(property::MARK, mark)?;
            if mask != u32::MAX {
                w.property_u32(property::MARK_MASK, mask)?;
            }
        }
        if let Some((labels, mask)) = self.labels {
            w.property_bytes(property::LABELS, &labels.to_be_bytes())?;
            if mask != u128::MAX {
                w.property_bytes(property::LABELS_MASK, &mask.to_be_bytes())?;
            }
        }
        Ok(())
    }
}

impl CtTuple {
    fn read(p: &Property<'_>) -> Result<CtTuple, DecodeError> {
        let (mut r, mut t) = (p.nested()?, CtTuple::default());
        let address = |p: &Property<'_>| {
            let address = Ipv6Addr::from_bits(p.reader().uint(16)?);
            Ok::<_, DecodeError>(Some(address.to_canonical()).filter(|_| !address.is_unspecified()))
        };
        while let Some(p) = Property::next(&mut r)? {
            match p.kind {
                0 => t.src = address(&p)?,
                1 => t.dst = address(&p)?,
                2 => t.src_port = p.u16()?,
                3 => t.dst_port = p.u16()?,
                4 => t.icmp.0 = p.u16()?,
                5 => t.icmp.1 = p.u8()?,
                6 => t.icmp.2 = p.u8()?,
                _ => return Err(p.unknown("NXT_CT_TUPLE")),
            }
        }
        Ok(t)
    }

    fn write(&self, w: &mut Writer, kind: u64, icmp: bool) -> Result<(), EncodeError> {
        let mut inner = Writer::new();
        for (kind, address) in [(0, self.src), (1, self.dst)] {
            let bytes = match address {
                None => continue,
                Some(IpAddr::V4(a)) => a.to_ipv6_mapped().octets(),
                Some(IpAddr::V6(a)) => a.octets(),
            };
            inner.property_bytes(kind, &bytes)?;
        }
        if icmp {
            inner.property_u16(4, self.icmp.0)?;
            inner.property_bytes(5, &[self.icmp.1, 0, 0, 0])?;
            inner.property_bytes(6, &[self.icmp.2, 0, 0, 0])?;
        } else {
            for (kind, port) in [(2, self.src_port), (3, self.dst_port)] {
                if port != 0 {
                    inner.property_u16(kind, port)?;
                }
            }
        }
        if inner.is_empty() {
            return Ok(());
        }
        w.property(kind, |w| {
            w.zeros(4);
            w.bytes(&inner.into_bytes());
            Ok(())
        })
    }
}

//! Ports: descriptions, statistics, changes.

use ovs_packet::{EthAddr, OfPort};

use super::cursor::Shape;
use super::error::{DecodeError, EncodeError, OfError};
use super::header::Version;
use super::io::{Done, Io, Property};
use super::property::{Kept, PortModProperty, PortProperty, PortStatsProperty};
#[cfg(feature = "serde")]
use crate::json::form::*;

/// A port as a switch describes it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Port {
    /// Its number.
    #[cfg_attr(feature = "serde", serde(rename = "port_no"))]
    pub number: OfPort,
    /// Its address.
    pub hw_addr: EthAddr,
    /// Its name, of which 15 bytes are sent.
    pub name: String,
    /// `OFPPC_*`, as the version has them.
    #[cfg_attr(feature = "serde", serde(with = "As::<Flags<PortConfig>>"))]
    pub config: u32,
    /// `OFPPS_*`, as the version has them.
    #[cfg_attr(feature = "serde", serde(with = "As::<Flags<PortState>>"))]
    pub state: u32,
    /// `OFPPF_*`, as the version has them: now, offered, supported, and what the peer offers.
    #[cfg_attr(feature = "serde", serde(with = "As::<Record<PortFeatures, Bits>>"))]
    pub features: [u32; 4],
    /// Kilobits per second: now and at most. OpenFlow 1.0 does not tell.
    #[cfg_attr(feature = "serde", serde(with = "As::<Record<PortSpeed>>"))]
    pub speed: [u32; 2],
    /// What else is said of it, from OpenFlow 1.4 on.
    pub properties: Vec<PortProperty>,
}

impl Default for Port {
    fn default() -> Self {
        Port {
            number: OfPort(0),
            hw_addr: Default::default(),
            name: Default::default(),
            config: Default::default(),
            state: Default::default(),
            features: Default::default(),
            speed: Default::default(),
            properties: Vec::new(),
        }
    }
}

const PORT: Shape = Shape { what: "a port", length_at: 4, align: 8, count_padding: true };

impl Port {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        let version = io.version;
        if version >= Version::V1_4 {
            return io.framed(PORT, 40, &OfError::BadRequestBadLength, |io| self.pass_14(io));
        }
        io.port(&mut self.number)?;
        if version != Version::V1_0 {
            io.pad(4)?;
        }
        io.eth(&mut self.hw_addr)?;
        if version != Version::V1_0 {
            io.pad(2)?;
        }
        io.text(&mut self.name, 16)?;
        io.u32(&mut self.config)?;
        io.u32(&mut self.state)?;
        self.features.iter_mut().try_for_each(|f| io.u32(f))?;
        if version != Version::V1_0 {
            self.speed.iter_mut().try_for_each(|s| io.u32(s))?;
        }
        Ok(())
    }

    fn pass_14(&mut self, io: &mut Io<'_, '_>) -> Done {
        io.port32(&mut self.number)?;
        io.length()?;
        io.pad(2)?;
        io.eth(&mut self.hw_addr)?;
        io.pad(2)?;
        io.text(&mut self.name, 16)?;
        io.u32(&mut self.config)?;
        io.u32(&mut self.state)?;
        let mut ethernet = [0; 6];
        for (to, from) in ethernet.iter_mut().zip(self.features.iter().chain(&self.speed)) {
            *to = *from;
        }
        let mut said = (ethernet, core::mem::take(&mut self.properties));
        io.either(
            &mut said,
            |r| {
                let mut found = ([0; 6], Vec::new());
                while let Some(p) = Property::next(r)? {
                    if p.kind != 0 {
                        found.1.push(PortProperty::read(&p)?);
                        continue;
                    }
                    let mut body = p.reader();
                    body.skip(4)?;
                    for number in &mut found.0 {
                        *number = body.u32()?;
                    }
                }
                Ok(found)
            },
            |(numbers, more), w| {
                w.property(0, |w| {
                    w.zeros(4);
                    numbers.iter().for_each(|n| w.u32(*n));
                    Ok(())
                })?;
                Kept::write_all(more, w)
            },
        )?;
        let ethernet;
        (ethernet, self.properties) = said;
        let (features, speed) = ethernet.split_at(4);
        self.features.iter_mut().zip(features).for_each(|(to, from)| *to = *from);
        self.speed.iter_mut().zip(speed).for_each(|(to, from)| *to = *from);
        Ok(())
    }
}

/// A port came, went or changed.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct PortStatus {
    /// 0 it came, 1 it went, 2 it changed.
    #[cfg_attr(feature = "serde", serde(with = "As::<Named<PortReason>>"))]
    pub reason: u8,
    /// The port.
    pub port: Port,
}

impl PortStatus {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        io.u8(&mut self.reason)?;
        io.pad(7)?;
        self.port.pass(io)
    }
}

/// Changes a port.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct PortMod {
    /// Its number.
    #[cfg_attr(feature = "serde", serde(rename = "port_no"))]
    pub number: OfPort,
    /// Its address, which must be right.
    pub hw_addr: EthAddr,
    /// `OFPPC_*`.
    #[cfg_attr(feature = "serde", serde(with = "As::<Flags<PortConfig>>"))]
    pub config: u32,
    /// The bits of `config` to change.
    #[cfg_attr(feature = "serde", serde(with = "As::<Flags<PortConfig>>"))]
    pub mask: u32,
    /// `OFPPF_*` to offer; 0 leaves them.
    #[cfg_attr(feature = "serde", serde(with = "As::<Bits>"))]
    pub advertise: u32,
    /// What else is asked of it, from OpenFlow 1.4 on. A switch that does not do it must
    /// [refuse](super::Message::not_understood) all of the change.
    pub properties: Vec<PortModProperty>,
}

impl Default for PortMod {
    fn default() -> Self {
        PortMod {
            number: OfPort(0),
            hw_addr: Default::default(),
            config: Default::default(),
            mask: Default::default(),
            advertise: Default::default(),
            properties: Vec::new(),
        }
    }
}

impl PortMod {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        let version = io.version;
        io.port(&mut self.number)?;
        if version != Version::V1_0 {
            io.pad(4)?;
        }
        io.eth(&mut self.hw_addr)?;
        if version != Version::V1_0 {
            io.pad(2)?;
        }
        io.u32(&mut self.config)?;
        io.u32(&mut self.mask)?;
        if io.reads() {
            // What is not to be changed says nothing.
            self.config &= self.mask;
        }
        if version >= Version::V1_4 {
            let mut asked = (self.advertise, core::mem::take(&mut self.properties));
            io.either(
                &mut asked,
                |r| {
                    let mut found = (0, Vec::new());
                    while let Some(p) = Property::next(r)? {
                        match p.kind {
                            0 => found.0 = p.u32()?,
                            _ => found.1.push(PortModProperty::read(&p)?),
                        }
                    }
                    Ok(found)
                },
                |(advertise, more), w| {
                    if *advertise != 0 {
                        w.property_u32(0, *advertise)?;
                    }
                    Kept::write_all(more, w)
                },
            )?;
            (self.advertise, self.properties) = asked;
            return Ok(());
        }
        io.u32(&mut self.advertise)?;
        io.pad(4)
    }
}

/// The statistics of a port. All ones are not counted.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct PortStats {
    /// Its number.
    #[cfg_attr(feature = "serde", serde(rename = "port_no"))]
    pub number: OfPort,
    /// In OpenFlow's order: packets received and sent, bytes, dropped, errors; frame, overrun and CRC errors;
    /// collisions.
    #[cfg_attr(feature = "serde", serde(with = "As::<Record<PortCounters, Counter>>"))]
    pub counts: [u64; 12],
    /// How long it has existed, in seconds and nanoseconds; versions before 1.3 do not tell.
    #[cfg_attr(feature = "serde", serde(with = "As::<Option<Seconds>>"))]
    pub duration: Option<(u32, u32)>,
    /// RFC 2819's counters, from OpenFlow 1.4 on, as Intel's property has them: packets received of 1 to 64 bytes, to 127,
    /// 255, 511, 1023, 1522, and longer; as many of packets sent; multicasts sent, broadcasts received and sent; undersized,
    /// oversized, fragments and jabber received. None if they are not told.
    #[cfg_attr(feature = "serde", serde(with = "As::<Vec<Counter>>"))]
    pub rfc2819: Vec<u64>,
    /// Counters of the port's own, from OpenFlow 1.4 on.
    pub custom: Vec<CustomCounter>,
    /// What else is counted, from OpenFlow 1.4 on.
    pub properties: Vec<PortStatsProperty>,
}

impl Default for PortStats {
    fn default() -> Self {
        PortStats {
            number: OfPort(0),
            counts: Default::default(),
            duration: Default::default(),
            rfc2819: Vec::new(),
            custom: Vec::new(),
            properties: Vec::new(),
        }
    }
}

/// A counter that a kind of port has and others have not.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct CustomCounter {
    /// Its name, of at most 255 bytes.
    pub name: String,
    /// What was counted.
    #[cfg_attr(feature = "serde", serde(with = "As::<Counter>"))]
    pub value: u64,
}

/// Intel's properties of the statistics of a port.
const RFC_2819: u64 = super::io::experimenter(0xaa01, 1);
const CUSTOM: u64 = super::io::experimenter(0xaa01, 2);

/// How many counters of RFC 2819 there are.
const RFC_2819_COUNTS: usize = 21;

impl CustomCounter {
    /// Reads the counters of Intel's property; none if it is one that writing them would not give.
    fn read_all(p: &Property<'_>) -> Result<Option<Vec<CustomCounter>>, DecodeError> {
        let mut r = p.reader();
        r.skip(2)?;
        let count = r.u16()?;
        let (mut found, mut plain) = (Vec::new(), true);
        for _ in 0..count {
            let len = usize::from(r.u8()?);
            let name = String::from_utf8(r.bytes(len)?.to_vec());
            plain &= name.is_ok();
            found.push(CustomCounter { name: name.unwrap_or_default(), value: r.u64()? });
        }
        Ok((plain && r.is_empty() && count > 0).then_some(found))
    }

    fn write_all(counters: &[CustomCounter], w: &mut super::cursor::Writer) -> Result<(), EncodeError> {
        let too_long = |_| EncodeError::TooLong { what: "the counters of a port" };
        w.zeros(2);
        w.u16(counters.len().try_into().map_err(too_long)?);
        for c in counters {
            w.u8(c.name.len().try_into().map_err(too_long)?);
            w.bytes(c.name.as_bytes());
            w.u64(c.value);
        }
        Ok(())
    }
}

const PORT_STATS: Shape = Shape { what: "the statistics of a port", length_at: 0, align: 8, count_padding: true };
const ETHERNET_COUNTS: usize = 4;

impl PortStats {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        let version = io.version;
        if version >= Version::V1_4 {
            return io.framed(PORT_STATS, 80, &OfError::BadRequestBadLength, |io| self.pass_14(io));
        }
        io.port(&mut self.number)?;
        io.pad(if version == Version::V1_0 { 6 } else { 4 })?;
        self.counts.iter_mut().try_for_each(|c| io.u64(c))?;
        if version >= Version::V1_3 {
            let mut duration = self.duration.unwrap_or_default();
            io.u32(&mut duration.0)?;
            io.u32(&mut duration.1)?;
            self.duration = Some(duration);
        }
        Ok(())
    }

    fn pass_14(&mut self, io: &mut Io<'_, '_>) -> Done {
        io.length()?;
        io.pad(2)?;
        io.port32(&mut self.number)?;
        let mut duration = self.duration.unwrap_or_default();
        io.u32(&mut duration.0)?;
        io.u32(&mut duration.1)?;
        self.duration = Some(duration);
        let general = self.counts.len().saturating_sub(ETHERNET_COUNTS);
        self.counts.iter_mut().take(general).try_for_each(|c| io.u64(c))?;
        let ethernet: Vec<u64> = self.counts.iter().skip(general).copied().collect();
        let intel = (core::mem::take(&mut self.rfc2819), core::mem::take(&mut self.custom));
        let mut rest = (ethernet, intel, core::mem::take(&mut self.properties));
        io.either(
            &mut rest,
            |r| {
                let mut found = (vec![u64::MAX; ETHERNET_COUNTS], (Vec::new(), Vec::new()), Vec::new());
                while let Some(p) = Property::next(r)? {
                    match p.kind {
                        0 => {
                            let mut body = p.reader();
                            body.skip(4)?;
                            for count in &mut found.0 {
                                *count = body.u64()?;
                            }
                        }
                        RFC_2819 => {
                            let mut body = p.sized(RFC_2819_COUNTS.saturating_mul(8).saturating_add(4))?;
                            body.skip(4)?;
                            let counts = (0..RFC_2819_COUNTS).map(|_| body.u64());
                            found.1.0 = counts.collect::<Result<_, _>>()?;
                        }
                        CUSTOM => match CustomCounter::read_all(&p)? {
                            Some(counters) => found.1.1 = counters,
                            None => found.2.push(PortStatsProperty::read(&p)?),
                        },
                        _ => found.2.push(PortStatsProperty::read(&p)?),
                    }
                }
                Ok(found)
            },
            |(ethernet, (rfc2819, custom), properties), w| {
                let counts = |counts: &[u64]| {
                    let counts = counts.to_vec();
                    move |w: &mut super::cursor::Writer| {
                        w.zeros(4);
                        counts.iter().for_each(|c| w.u64(*c));
                        Ok::<(), EncodeError>(())
                    }
                };
                w.property(0, counts(ethernet))?;
                match rfc2819.len() {
                    0 => {}
                    RFC_2819_COUNTS => w.property(RFC_2819, counts(rfc2819))?,
                    _ => return Err(EncodeError::Inconsistent { what: "so many counters of RFC 2819" }),
                }
                if !custom.is_empty() {
                    w.property(CUSTOM, |w| CustomCounter::write_all(custom, w))?;
                }
                Kept::write_all(properties, w)
            },
        )?;
        self.counts.iter_mut().skip(general).zip(rest.0).for_each(|(to, from)| *to = from);
        ((self.rfc2819, self.custom), self.properties) = (rest.1, rest.2);
        Ok(())
    }
}

/// Asks for one port, or for all of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct PortRequest {
    /// The port; [`OfPort::ANY`] is all.
    #[cfg_attr(feature = "serde", serde(rename = "port_no"))]
    pub port: OfPort,
}

impl Default for PortRequest {
    fn default() -> Self {
        PortRequest { port: OfPort::ANY }
    }
}

impl PortRequest {
    pub(super) fn pass(&mut self, io: &mut Io<'_, '_>) -> Done {
        io.port(&mut self.port)?;
        io.pad(if io.version == Version::V1_0 { 6 } else { 4 })
    }
}

//! One description of a layout for both directions.
//!
//! A message that is not hot is laid out by one function that passes over its parts in order: [`Io`] either fills them
//! from bytes or appends them. So the two directions cannot disagree, and a layout stands in one place for all
//! versions that share it. Hot messages (flow modifications, packets, flow statistics) have a function each way.

use ovs_packet::{EthAddr, OfPort};

use super::cursor::{Place, Reader, Shape, Writer};
use super::error::{DecodeError, EncodeError, OfError};
use super::header::Version;

/// What stopped a pass over a layout.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    Decode(DecodeError),
    Encode(EncodeError),
}

impl From<DecodeError> for Fault {
    fn from(e: DecodeError) -> Fault {
        Fault::Decode(e)
    }
}

impl From<EncodeError> for Fault {
    fn from(e: EncodeError) -> Fault {
        Fault::Encode(e)
    }
}

pub(super) type Done = Result<(), Fault>;

enum Side<'a, 'w> {
    Read(Reader<'a>),
    Write(&'w mut Writer),
}

/// A pass over a layout, in one direction or the other.
pub(super) struct Io<'a, 'w> {
    pub(super) version: Version,
    side: Side<'a, 'w>,
    /// Of a list that broke off: keep what was read, and why it broke off here.
    keep: bool,
    broken: Option<DecodeError>,
}

macro_rules! numbers {
    ($($name:ident: $type:ty;)+) => {
        $(pub(super) fn $name(&mut self, v: &mut $type) -> Done {
            match &mut self.side {
                Side::Read(r) => *v = r.$name()?,
                Side::Write(w) => w.$name(*v),
            }
            Ok(())
        })+
    };
}

impl<'a, 'w> Io<'a, 'w> {
    pub(super) fn reading(version: Version, r: Reader<'a>) -> Io<'a, 'w> {
        Io { version, side: Side::Read(r), keep: false, broken: None }
    }

    pub(super) fn writing(version: Version, w: &'w mut Writer) -> Io<'a, 'w> {
        Io { version, side: Side::Write(w), keep: false, broken: None }
    }

    /// A reading pass that keeps the items of a list up to one that is wrong; [`broken`](Io::take_broken) says what.
    pub(super) fn keeping(mut self) -> Io<'a, 'w> {
        self.keep = true;
        self
    }

    pub(super) fn take_broken(&mut self) -> Option<DecodeError> {
        self.broken.take()
    }

    /// Whether it reads what somebody will look at, not act on.
    pub(super) fn keeps(&self) -> bool {
        self.keep
    }

    pub(super) fn reads(&self) -> bool {
        matches!(self.side, Side::Read(_))
    }

    /// What is left to read; nothing when writing.
    pub(super) fn left(&self) -> usize {
        match &self.side {
            Side::Read(r) => r.len(),
            Side::Write(_) => 0,
        }
    }

    /// Both directions of a part that has a function for each.
    pub(super) fn either<T>(
        &mut self,
        v: &mut T,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
        write: impl FnOnce(&T, &mut Writer) -> Result<(), EncodeError>,
    ) -> Done {
        match &mut self.side {
            Side::Read(r) => *v = read(r)?,
            Side::Write(w) => write(v, w)?,
        }
        Ok(())
    }

    /// Refuses what was read at the place where the pass is; what is to be written is not looked at.
    pub(super) fn check(&self, fine: bool, error: OfError, what: &'static str) -> Done {
        match &self.side {
            Side::Read(r) if !fine => Err(r.error(error, what).into()),
            _ => Ok(()),
        }
    }

    numbers! {
        u8: u8;
        u16: u16;
        u32: u32;
        u64: u64;
    }

    /// Zeros, or what is passed over.
    pub(super) fn pad(&mut self, n: usize) -> Done {
        match &mut self.side {
            Side::Read(r) => r.skip(n)?,
            Side::Write(w) => w.zeros(n),
        }
        Ok(())
    }

    /// Zeros, and nothing else will do.
    pub(super) fn zeros(&mut self, n: usize) -> Done {
        match &mut self.side {
            Side::Read(r) => {
                let at = r.clone();
                if r.bytes(n)?.iter().any(|b| *b != 0) {
                    return Err(at.error(OfError::BadRequestMustBeZero, "zeros").into());
                }
            }
            Side::Write(w) => w.zeros(n),
        }
        Ok(())
    }

    pub(super) fn eth(&mut self, v: &mut EthAddr) -> Done {
        self.fixed(&mut v.0)
    }

    pub(super) fn fixed<const N: usize>(&mut self, v: &mut [u8; N]) -> Done {
        match &mut self.side {
            Side::Read(r) => v.iter_mut().zip(r.bytes(N)?).for_each(|(to, from)| *to = *from),
            Side::Write(w) => w.bytes(v),
        }
        Ok(())
    }

    /// A text in `n` bytes, filled with zeros.
    pub(super) fn text(&mut self, v: &mut String, n: usize) -> Done {
        self.either(
            v,
            |r| {
                let bytes = r.bytes(n)?;
                let text = bytes.split(|b| *b == 0).next().unwrap_or(bytes);
                Ok(text.iter().map(|b| char::from(*b)).collect())
            },
            |v, w| {
                let bytes: Vec<u8> =
                    v.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).take(n.saturating_sub(1)).collect();
                w.bytes(&bytes);
                w.zeros(n.saturating_sub(bytes.len()));
                Ok(())
            },
        )
    }

    /// All bytes up to the end.
    pub(super) fn rest(&mut self, v: &mut Vec<u8>) -> Done {
        self.either(
            v,
            |r| Ok(r.remaining().to_vec()),
            |v, w| {
                w.bytes(v);
                Ok(())
            },
        )
    }

    /// A port number as the version has it: 16 bits in OpenFlow 1.0, 32 later.
    pub(super) fn port(&mut self, v: &mut OfPort) -> Done {
        if self.version == Version::V1_0 { self.port16(v) } else { self.port32(v) }
    }

    pub(super) fn port16(&mut self, v: &mut OfPort) -> Done {
        self.either(
            v,
            |r| Ok(OfPort::from_16(r.u16()?)),
            |v, w| {
                w.u16(v.to_16().ok_or(EncodeError::Port(v.0))?);
                Ok(())
            },
        )
    }

    pub(super) fn port32(&mut self, v: &mut OfPort) -> Done {
        self.either(v, read_port, |v, w| {
            w.u32(v.0);
            Ok(())
        })
    }

    /// Items up to the end.
    pub(super) fn list<T: Default>(&mut self, v: &mut Vec<T>, mut item: impl FnMut(&mut Self, &mut T) -> Done) -> Done {
        if !self.reads() {
            return v.iter_mut().try_for_each(|one| item(self, one));
        }
        while self.left() > 0 {
            let (before, mut one) = (self.left(), T::default());
            match item(self, &mut one) {
                Ok(()) if self.left() < before => v.push(one),
                Ok(()) => return self.check(false, OfError::BadRequestBadLength, "an item that is not empty"),
                Err(Fault::Decode(e)) if self.keep => {
                    self.broken = Some(e);
                    if let Side::Read(r) = &mut self.side {
                        r.remaining();
                    }
                    return Ok(());
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// A structure with its length in it, at least `min`: `body` passes over all of it, length included, which it
    /// passes over as two bytes. What is left of it when `body` is done is passed over.
    pub(super) fn framed(
        &mut self,
        shape: Shape,
        min: usize,
        short: &'static OfError,
        body: impl FnOnce(&mut Io<'a, '_>) -> Done,
    ) -> Done {
        let version = self.version;
        match &mut self.side {
            Side::Read(r) => {
                let mut head = r.clone();
                if head.len() < min {
                    return Err(head.error(*short, "a whole structure").into());
                }
                head.skip(shape.length_at)?;
                let len = usize::from(head.u16()?);
                let padded = if shape.count_padding {
                    len
                } else {
                    len.checked_next_multiple_of(shape.align.max(1)).unwrap_or(len)
                };
                if len < min || padded > r.len() || (shape.count_padding && !len.is_multiple_of(shape.align.max(1))) {
                    return Err(r.error(*short, "a length that fits").into());
                }
                let inner = r.sub(len)?.or(short);
                r.skip(padded.saturating_sub(len))?;
                let mut io = Io::reading(version, inner);
                body(&mut io)
            }
            Side::Write(w) => {
                let start = w.len();
                body(&mut Io::writing(version, w))?;
                Ok(w.finish(start, shape)?)
            }
        }
    }

    /// Two bytes that a length stands in.
    pub(super) fn length(&mut self) -> Done {
        self.pad(2)
    }

    /// Bytes that `len` said the number of.
    pub(super) fn sub(&mut self, len: usize, body: impl FnOnce(&mut Io<'a, '_>) -> Done) -> Done {
        let version = self.version;
        match &mut self.side {
            Side::Read(r) => body(&mut Io::reading(version, r.sub(len)?)),
            Side::Write(w) => body(&mut Io::writing(version, w)),
        }
    }
}

/// Reads a port number of OpenFlow 1.1 and later, which has a gap between the real and the reserved ones.
#[inline]
pub(super) fn read_port(r: &mut Reader<'_>) -> Result<OfPort, DecodeError> {
    let at = r.place();
    port_at(r.u32()?, at)
}

/// The same of the number that was read at a place.
#[inline]
pub(super) fn port_at(number: u32, at: Place) -> Result<OfPort, DecodeError> {
    match OfPort(number) {
        OfPort(0xff00..0xffff_ff00) => {
            Err(at.error(OfError::BadActionBadPort, "a port up to 65279, or a reserved one"))
        }
        port => Ok(port),
    }
}

/// A property: type, length, perhaps an experimenter and its type, and a value padded to 8 bytes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Property<'a> {
    /// The type; of an experimenter's property, the experimenter in the upper half and its type in the lower.
    pub(super) kind: u64,
    /// The type that stands in the first two bytes.
    pub(super) raw: u16,
    pub(super) header: usize,
    pub(super) value: &'a [u8],
    at: usize,
}

pub(super) const fn experimenter(vendor: u32, kind: u32) -> u64 {
    (vendor as u64) << 32 | kind as u64
}

impl<'a> Property<'a> {
    /// Reads the next property in `r`; types from `first_experimenter` on are experimenters'.
    pub(super) fn next_with(
        r: &mut Reader<'a>,
        align: usize,
        first_experimenter: u32,
    ) -> Result<Option<Property<'a>>, DecodeError> {
        if r.is_empty() {
            return Ok(None);
        }
        let start = r.clone().or(&OfError::BadPropertyBadLength);
        let mut head = start.clone();
        let (raw, len) = (head.u16()?, usize::from(head.u16()?));
        let padded = len.checked_next_multiple_of(align).unwrap_or(len);
        if len < 4 || padded > r.len() {
            return Err(start.error(OfError::BadPropertyBadLength, "a property within what there is"));
        }
        let (kind, header) = if u32::from(raw) < first_experimenter {
            (raw.into(), 4)
        } else {
            if len < 12 {
                return Err(start.error(OfError::BadPropertyBadLength, "a property with an experimenter"));
            }
            let (vendor, kind) = (head.u32()?, head.u32()?);
            if vendor == 0 {
                return Err(start.error(OfError::BadPropertyBadExperimenter, "an experimenter other than 0"));
            }
            (experimenter(vendor, kind), 12)
        };
        let value = head.bytes(len.saturating_sub(header))?;
        r.skip(padded)?;
        Ok(Some(Property { kind, raw, header, value, at: start.at() }))
    }

    pub(super) fn next(r: &mut Reader<'a>) -> Result<Option<Property<'a>>, DecodeError> {
        Property::next_with(r, 8, 0xffff)
    }

    pub(super) fn reader(&self) -> Reader<'a> {
        Reader::new_at(self.value, self.at.saturating_add(self.header)).or(&OfError::BadPropertyBadLength)
    }

    /// What is nested in the property, behind padding to 8 bytes.
    pub(super) fn nested(&self) -> Result<Reader<'a>, DecodeError> {
        let mut r = self.reader();
        r.skip(self.header.checked_next_multiple_of(8).unwrap_or(self.header).saturating_sub(self.header))?;
        Ok(r)
    }

    pub(super) fn error(&self, error: OfError, what: &'static str) -> DecodeError {
        DecodeError::new(error, self.at, what)
    }

    /// That it is none of those that `what` has.
    pub(super) fn unknown(&self, what: &str) -> DecodeError {
        match self.header {
            4 => tracing::warn!(target: "ofp_prop", "unknown {what} property type {}", self.kind),
            _ => {
                let (vendor, kind) = (self.kind >> 32, self.kind & 0xffff_ffff);
                tracing::warn!(
                    target: "ofp_prop",
                    "unknown {what} property type for exp_id {vendor:#x}, exp_type {kind}"
                );
            }
        }
        match self.header {
            4 => self.error(OfError::BadPropertyBadType, "a property that is known here"),
            _ => self.error(OfError::BadPropertyBadExperimenterType, "an experimenter's property that is known here"),
        }
    }

    pub(super) fn u8(&self) -> Result<u8, DecodeError> {
        self.reader().u8()
    }

    pub(super) fn u16(&self) -> Result<u16, DecodeError> {
        self.reader().u16()
    }

    /// The value, if it has `n` bytes.
    pub(super) fn sized(&self, n: usize) -> Result<Reader<'a>, DecodeError> {
        match self.value.len() == n {
            true => Ok(self.reader()),
            false => Err(self.error(OfError::BadPropertyBadLength, "a value of its size")),
        }
    }

    pub(super) fn u32(&self) -> Result<u32, DecodeError> {
        self.sized(4)?.u32()
    }

    pub(super) fn u64(&self) -> Result<u64, DecodeError> {
        let padding = self.header.checked_next_multiple_of(8).unwrap_or(0).saturating_sub(self.header);
        let mut r = self.sized(padding.saturating_add(8))?;
        r.skip(padding)?;
        r.u64()
    }
}

/// How a property is laid out.
const PROPERTY: Shape = Shape { what: "a property", length_at: 2, align: 8, count_padding: false };

impl Writer {
    /// Writes a property whose value `body` writes.
    pub(super) fn property(
        &mut self,
        kind: u64,
        body: impl FnOnce(&mut Writer) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let vendor = (kind >> 32) as u32;
        self.property_as(if vendor == 0 { (kind & 0xffff) as u16 } else { 0xffff }, kind, body)
    }

    pub(super) fn property_as(
        &mut self,
        raw: u16,
        kind: u64,
        body: impl FnOnce(&mut Writer) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let start = self.len();
        let vendor = (kind >> 32) as u32;
        self.u16(raw);
        self.u16(0);
        if vendor != 0 {
            self.u32(vendor);
            self.u32((kind & 0xffff_ffff) as u32);
        }
        body(self)?;
        self.finish(start, PROPERTY)
    }

    /// A property whose value are bytes.
    pub(super) fn property_bytes(&mut self, kind: u64, value: &[u8]) -> Result<(), EncodeError> {
        self.property(kind, |w| {
            w.bytes(value);
            Ok(())
        })
    }

    /// A property with a number of 64 bits, which is aligned.
    pub(super) fn property_u64(&mut self, kind: u64, value: u64) -> Result<(), EncodeError> {
        self.property(kind, |w| {
            w.zeros(4);
            w.u64(value);
            Ok(())
        })
    }

    /// A property with a number of 16 bits, whose length counts its padding.
    pub(super) fn property_u16(&mut self, kind: u64, value: u16) -> Result<(), EncodeError> {
        self.property(kind, |w| {
            w.u16(value);
            w.zeros(2);
            Ok(())
        })
    }

    pub(super) fn property_u32(&mut self, kind: u64, value: u32) -> Result<(), EncodeError> {
        self.property_bytes(kind, &value.to_be_bytes())
    }
}

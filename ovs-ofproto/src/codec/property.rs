//! Properties that say what no version before had words for: optical ports, fields that ports may have, experimenters'.
//!
//! What of a structure every switch has, is a member of the structure. The properties here are beside that, in the order
//! in which they came: optical and pipeline properties typed, those of experimenters and of types that nobody knows as
//! their bytes, so that what is read is written again. Requests have optical and experimenters' ones too; a switch that
//! does not act on them must refuse them, with the error that [`Message::not_understood`](super::Message::not_understood)
//! gives, for half a change is none.

use ovs_packet::OfPort;

use super::cursor::{Reader, Writer};
use super::error::{DecodeError, EncodeError, OfError};
use super::io::{Property, experimenter, read_port};
#[cfg(feature = "serde")]
use crate::json::form::*;

/// A property whose value nobody here looks into.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
pub struct RawProperty {
    /// The type that stands in its first two bytes: 0xffff for experimenters', and 0xfffe too where there are two kinds.
    #[cfg_attr(feature = "serde", serde(rename = "type"))]
    pub kind: u16,
    /// Of an experimenter's: whose, and its type there.
    pub experimenter: Option<(u32, u32)>,
    /// What stands behind these, without padding.
    #[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))]
    pub value: Vec<u8>,
}

impl RawProperty {
    /// One of an experimenter's.
    pub fn experimenter(experimenter: u32, kind: u32, value: Vec<u8>) -> RawProperty {
        RawProperty { kind: 0xffff, experimenter: Some((experimenter, kind)), value }
    }
}

/// A property that a structure may have several of, kept as it came.
pub(super) trait Kept: Sized {
    fn read(p: &Property<'_>) -> Result<Self, DecodeError>;
    fn write(&self, w: &mut Writer) -> Result<(), EncodeError>;

    fn write_all(kept: &[Self], w: &mut Writer) -> Result<(), EncodeError> {
        kept.iter().try_for_each(|p| p.write(w))
    }
}

impl Kept for RawProperty {
    fn read(p: &Property<'_>) -> Result<Self, DecodeError> {
        let experimenter = (p.header > 4).then_some(((p.kind >> 32) as u32, (p.kind & 0xffff_ffff) as u32));
        Ok(RawProperty { kind: p.raw, experimenter, value: p.value.to_vec() })
    }

    fn write(&self, w: &mut Writer) -> Result<(), EncodeError> {
        let kind = self.experimenter.map_or(0, |(vendor, kind)| experimenter(vendor, kind));
        w.property_as(self.kind, kind, |w| {
            w.bytes(&self.value);
            Ok(())
        })
    }
}

/// All that is left, as properties that nobody looks into.
pub(super) fn read_raw(r: &mut Reader<'_>) -> Result<Vec<RawProperty>, DecodeError> {
    let mut found = Vec::new();
    while let Some(p) = Property::next(r)? {
        found.push(RawProperty::read(&p)?);
    }
    Ok(found)
}

/// The number of a field on the wire, of one that this crate may not know (OpenFlow 1.5, section 7.2.3.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
pub struct FieldHeader {
    /// Its class.
    pub class: u16,
    /// Its number in the class, 7 bits.
    pub field: u8,
    /// Whether a mask is announced.
    pub masked: bool,
    /// How many bytes the value has, with the mask, and with the experimenter of class 0xffff.
    pub length: u8,
    /// Of class 0xffff: whose.
    pub experimenter: Option<u32>,
}

impl FieldHeader {
    const EXPERIMENTER: u16 = 0xffff;

    fn read(r: &mut Reader<'_>) -> Result<FieldHeader, DecodeError> {
        let (class, number, length) = (r.u16()?, r.u8()?, r.u8()?);
        let experimenter = if class == FieldHeader::EXPERIMENTER { Some(r.u32()?) } else { None };
        Ok(FieldHeader { class, field: number >> 1, masked: number & 1 != 0, length, experimenter })
    }

    fn write(&self, w: &mut Writer) -> Result<(), EncodeError> {
        if self.field > 0x7f || self.experimenter.is_some() != (self.class == FieldHeader::EXPERIMENTER) {
            return Err(EncodeError::Inconsistent { what: "the number of a field" });
        }
        w.u16(self.class);
        w.u8(self.field << 1 | u8::from(self.masked));
        w.u8(self.length);
        self.experimenter.into_iter().for_each(|e| w.u32(e));
        Ok(())
    }
}

macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $type:ident,)+ } padded $pad:literal) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
        pub struct $name {
            $($(#[$doc])* pub $field: $type,)+
        }

        impl $name {
            fn read(p: &Property<'_>) -> Result<$name, DecodeError> {
                let mut r = p.reader();
                r.skip($pad)?;
                let read = $name { $($field: r.$type()?,)+ };
                match r.is_empty() {
                    true => Ok(read),
                    false => Err(p.error(OfError::BadPropertyBadLength, "the end of the property")),
                }
            }

            fn write(&self, w: &mut Writer) {
                w.zeros($pad);
                $(w.$type(self.$field);)+
            }
        }
    };
}

words! {
    /// What an optical port can do (OpenFlow 1.4, section 7.2.1). Frequencies are in tenths of gigahertz or wavelengths
    /// in hundredths of nanometres, as bit 3 of `supported` says; powers in tenths of dBm.
    OpticalPort {
        /// `OFPOPF_*`: receiver and transmitter that can be tuned, power that can be set, use of frequencies.
        supported: u32,
        /// The least frequency or wavelength that it sends.
        tx_min_freq_lmda: u32,
        /// The greatest.
        tx_max_freq_lmda: u32,
        /// The steps between.
        tx_grid_freq_lmda: u32,
        /// The least frequency or wavelength that it receives.
        rx_min_freq_lmda: u32,
        /// The greatest.
        rx_max_freq_lmda: u32,
        /// The steps between.
        rx_grid_freq_lmda: u32,
        /// The least power that it sends.
        tx_pwr_min: u16,
        /// The greatest.
        tx_pwr_max: u16,
    } padded 4
}

words! {
    /// How an optical port shall be set up (OpenFlow 1.4, section 7.3.4.3).
    OpticalPortMod {
        /// `OFPOPF_*`, of which those that are set are changed.
        configure: u32,
        /// The middle of the frequency or wavelength.
        freq_lmda: u32,
        /// A signed offset of that.
        fl_offset: u32,
        /// The size of the grid.
        grid_span: u32,
        /// The power that it sends with.
        tx_pwr: u32,
    } padded 0
}

words! {
    /// What an optical port sends and receives (OpenFlow 1.4, section 7.3.5.6).
    OpticalPortStats {
        /// `OFPOSF_*`: which of the others are valid.
        flags: u32,
        /// The frequency or wavelength that it sends.
        tx_freq_lmda: u32,
        /// A signed offset of that.
        tx_offset: u32,
        /// The size of the grid.
        tx_grid_span: u32,
        /// The frequency or wavelength that it receives.
        rx_freq_lmda: u32,
        /// A signed offset of that.
        rx_offset: u32,
        /// The size of the grid.
        rx_grid_span: u32,
        /// The power that it sends with.
        tx_pwr: u16,
        /// The power that it receives.
        rx_pwr: u16,
        /// The bias current of the transmitter.
        bias_current: u16,
        /// The temperature of the laser.
        temperature: u16,
    } padded 4
}

/// What the description of a port says beside Ethernet.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum PortProperty {
    /// The port is optical.
    Optical(OpticalPort),
    /// Pipeline fields that packets which come in by the port have (OpenFlow 1.5).
    PipelineInput(Vec<FieldHeader>),
    /// Pipeline fields that must be set of packets which go out by it (OpenFlow 1.5).
    PipelineOutput(Vec<FieldHeader>),
    /// The ports that packets which go out by it come in by again (OpenFlow 1.5).
    Recirculate(Vec<OfPort>),
    /// Another's.
    Other(RawProperty),
}

const OPTICAL: u64 = 1;
const PIPELINE_INPUT: u64 = 2;
const PIPELINE_OUTPUT: u64 = 3;
const RECIRCULATE: u64 = 4;

fn read_list<T>(
    p: &Property<'_>,
    mut one: impl FnMut(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let (mut r, mut found) = (p.reader(), Vec::new());
    while !r.is_empty() {
        found.push(one(&mut r)?);
    }
    Ok(found)
}

impl Kept for PortProperty {
    fn read(p: &Property<'_>) -> Result<Self, DecodeError> {
        Ok(match p.kind {
            OPTICAL => PortProperty::Optical(OpticalPort::read(p)?),
            PIPELINE_INPUT => PortProperty::PipelineInput(read_list(p, FieldHeader::read)?),
            PIPELINE_OUTPUT => PortProperty::PipelineOutput(read_list(p, FieldHeader::read)?),
            RECIRCULATE => PortProperty::Recirculate(read_list(p, read_port)?),
            _ => PortProperty::Other(RawProperty::read(p)?),
        })
    }

    fn write(&self, w: &mut Writer) -> Result<(), EncodeError> {
        let fields = |w: &mut Writer, kind, fields: &[FieldHeader]| {
            w.property(kind, |w| fields.iter().try_for_each(|f| f.write(w)))
        };
        match self {
            PortProperty::Optical(optical) => w.property(OPTICAL, |w| {
                optical.write(w);
                Ok(())
            }),
            PortProperty::PipelineInput(list) => fields(w, PIPELINE_INPUT, list),
            PortProperty::PipelineOutput(list) => fields(w, PIPELINE_OUTPUT, list),
            PortProperty::Recirculate(ports) => w.property(RECIRCULATE, |w| {
                ports.iter().for_each(|p| w.u32(p.0));
                Ok(())
            }),
            PortProperty::Other(raw) => raw.write(w),
        }
    }
}

/// What the change of a port, or its statistics, say beside Ethernet.
macro_rules! optical_or_other {
    ($(#[$about:meta])* $name:ident, $optical:ident) => {
        $(#[$about])*
        #[derive(Clone, PartialEq, Eq, Hash, Debug)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
        #[non_exhaustive]
        pub enum $name {
            /// The port is optical.
            Optical($optical),
            /// Another's.
            Other(RawProperty),
        }

        impl Kept for $name {
            fn read(p: &Property<'_>) -> Result<Self, DecodeError> {
                Ok(match p.kind {
                    OPTICAL => $name::Optical($optical::read(p)?),
                    _ => $name::Other(RawProperty::read(p)?),
                })
            }

            fn write(&self, w: &mut Writer) -> Result<(), EncodeError> {
                match self {
                    $name::Optical(optical) => w.property(OPTICAL, |w| {
                        optical.write(w);
                        Ok(())
                    }),
                    $name::Other(raw) => raw.write(w),
                }
            }
        }
    };
}

optical_or_other! {
    /// What the change of a port asks for beside Ethernet.
    PortModProperty, OpticalPortMod
}

optical_or_other! {
    /// What the statistics of a port say beside Ethernet.
    PortStatsProperty, OpticalPortStats
}

/// The error of a request's property that is not acted on, which is logged as upstream does.
pub(super) fn refused(what: &str, kind: u64, of_experimenter: bool) -> OfError {
    match of_experimenter {
        false => {
            tracing::warn!(target: "ofp_prop", "unknown {what} property type {kind}");
            OfError::BadPropertyBadType
        }
        true => {
            let (vendor, kind) = (kind >> 32, kind & 0xffff_ffff);
            tracing::warn!(target: "ofp_prop", "unknown {what} property type for exp_id {vendor:#x}, exp_type {kind}");
            OfError::BadPropertyBadExperimenterType
        }
    }
}

impl RawProperty {
    /// The same of one that was carried.
    pub(super) fn refused(&self, what: &str) -> OfError {
        match self.experimenter {
            Some((vendor, kind)) => refused(what, experimenter(vendor, kind), true),
            None => refused(what, self.kind.into(), false),
        }
    }
}

impl PortModProperty {
    /// The same.
    pub(super) fn refused(&self) -> OfError {
        match self {
            PortModProperty::Optical(_) => refused("port_mod", OPTICAL, false),
            PortModProperty::Other(raw) => raw.refused("port_mod"),
        }
    }
}

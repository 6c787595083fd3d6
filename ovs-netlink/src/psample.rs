//! Samples of packets: the family `psample` (`linux/psample.h`), which shows what
//! [`Action::Psample`](crate::ovs::Action::Psample) sampled to all who join its group.

use crate::attr::Nest;
use crate::attr::typed::{Bytes, Nested, U16, U32, U64, attributes};
use crate::error::DecodeError;
use crate::generic::GenericHeader;
use crate::message::Message;
use crate::ovs::TunnelKey;

/// The name of the family.
pub const FAMILY: &str = "psample";
/// The multicast group that samples go to.
pub const GROUP: &str = "packets";

attributes! {
    /// An attribute of a sample.
    pub enum SampleAttr = "", "PSAMPLE_ATTR_" {
        /// The interface that the packet came in through.
        IIFINDEX = 0 => Iifindex(u16 as U16),
        /// The interface that the packet goes out through.
        OIFINDEX = 1 => Oifindex(u16 as U16),
        /// See [`Sample::original_size`].
        ORIGSIZE = 2 => Origsize(u32 as U32),
        /// See [`Sample::group`].
        SAMPLE_GROUP = 3 => SampleGroup(u32 as U32),
        /// See [`Sample::sequence`].
        GROUP_SEQ = 4 => GroupSeq(u32 as U32),
        /// See [`Sample::rate`].
        SAMPLE_RATE = 5 => SampleRate(u32 as U32),
        /// See [`Sample::data`].
        DATA = 6 => Data(&'a [u8] as Bytes),
        /// How many sample into a group.
        GROUP_REFCOUNT = 7 => GroupRefcount(u32 as U32),
        /// The tunnel that the packet goes through.
        TUNNEL = 8 => Tunnel(Nest<'a, TunnelKey<'a>> as Nested<TunnelKey<'static>>),
        /// Bytes that mean nothing.
        PAD = 9 => Pad(&'a [u8] as Bytes),
        /// The traffic class of the queue.
        OUT_TC = 10 => OutTc(u16 as U16),
        /// Bytes in the queue.
        OUT_TC_OCC = 11 => OutTcOcc(u64 as U64),
        /// Nanoseconds that the packet took.
        LATENCY = 12 => Latency(u64 as U64),
        /// When it was sampled, in nanoseconds.
        TIMESTAMP = 13 => Timestamp(u64 as U64),
        /// The Ethernet type of the data.
        PROTO = 14 => Proto(u16 as U16),
        /// See [`Sample::cookie`].
        USER_COOKIE = 15 => UserCookie(&'a [u8] as Bytes),
        /// See [`Sample::rate_is_probability`].
        SAMPLE_PROBABILITY = 16 => SampleProbability,
    }
}

/// A sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Sample<'a> {
    /// The group.
    pub group: u32,
    /// The number of the sample in its group.
    pub sequence: u32,
    /// One packet of so many; or how many packets of 2^32 - 1.
    pub rate: u32,
    /// Whether [`rate`](Sample::rate) is the latter.
    pub rate_is_probability: bool,
    /// The packet, cut off or not.
    pub data: Option<&'a [u8]>,
    /// The bytes that the packet had.
    pub original_size: Option<u32>,
    /// The bytes that the action had.
    pub cookie: Option<&'a [u8]>,
}

impl<'a> Sample<'a> {
    /// Reads a message of the family.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(message: &Message<'a>) -> Result<Sample<'a>, DecodeError> {
        let mut sample = Sample::default();
        for attribute in Nest::of(message, GenericHeader::SIZE)? {
            match attribute? {
                SampleAttr::SampleGroup(group) => sample.group = group,
                SampleAttr::GroupSeq(sequence) => sample.sequence = sequence,
                SampleAttr::SampleRate(rate) => sample.rate = rate,
                SampleAttr::SampleProbability => sample.rate_is_probability = true,
                SampleAttr::Data(data) => sample.data = Some(data),
                SampleAttr::Origsize(size) => sample.original_size = Some(size),
                SampleAttr::UserCookie(cookie) => sample.cookie = Some(cookie),
                _ => {}
            }
        }
        Ok(sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Flags, Messages, Writer};

    #[test]
    fn a_sample() {
        let mut bytes = Vec::new();
        Writer::message(&mut bytes, 40, Flags::empty(), |writer| {
            writer.raw(&GenericHeader { command: 0, version: 1 }.encode());
            writer.put(SampleAttr::SampleGroup(7))?.put(SampleAttr::GroupSeq(1))?.put(SampleAttr::SampleRate(9))?;
            writer.put(SampleAttr::SampleProbability)?.put(SampleAttr::UserCookie(b"c"))?;
            writer.put(SampleAttr::Data(&[1; 60]))?.put(SampleAttr::Origsize(1500)).map(drop)
        })
        .unwrap();
        let sample = Sample::decode(&Messages::new(&bytes).next().unwrap().unwrap()).unwrap();
        assert_eq!((sample.group, sample.sequence, sample.rate, sample.rate_is_probability), (7, 1, 9, true));
        assert_eq!(
            (sample.data, sample.original_size, sample.cookie),
            (Some(&[1; 60][..]), Some(1500), Some(&b"c"[..]))
        );
    }
}

//! A packet: bytes with room in front, where its layers begin, what is known about it.

mod meta;
mod offload;
mod places;
mod tunnel;

pub use meta::{CtMetadata, CtState, Metadata, OriginalTuple, TunnelFlags};
pub use offload::{Gso, GsoKind, IpChecksum, L4Checksum, Offload};
pub(crate) use places::{Place, Places};
pub use tunnel::{Tunnel, TunnelAddresses};

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use arrayvec::ArrayVec;

/// Packets that are handled together. Thirty-two, so that what one lookup fetches serves many.
pub type PacketBatch = ArrayVec<Packet, BATCH>;

/// How many packets a [`PacketBatch`] holds.
pub const BATCH: usize = 32;

/// Bytes kept free in front of a packet's data for headers that are pushed.
pub const HEADROOM: usize = 128;

/// Where the layers of a packet begin, as byte offsets into [`Packet::data`].
///
/// Extraction finds them. A layer that the packet does not have, or that could not be read, is `None`; so is one that
/// begins at byte 65535 or behind it, where only label stacks or extension headers beyond any use can put it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Layers {
    /// MPLS label stack, if there is one.
    pub l2_5: Option<usize>,
    /// Network layer: what the Ethertype announces.
    pub l3: Option<usize>,
    /// Transport header, where the packet has one that could be read whole: not in a later fragment.
    pub l4: Option<usize>,
    /// The protocol of `l4`, behind any IPv6 extension headers.
    pub l4_proto: u8,
    /// Bytes behind the network layer's end: padding to Ethernet's minimum, usually.
    pub l2_pad: usize,
}

/// An owned packet.
///
/// ```
/// use ovs_packet::Packet;
///
/// let mut p = Packet::from_slice(&[1, 2, 3]);
/// p.push_front(2).copy_from_slice(&[8, 9]);
/// assert_eq!(p.data(), [8, 9, 1, 2, 3]);
/// p.pull_front(4);
/// assert_eq!(p.data(), [3]);
/// ```
#[derive(Clone, Default)]
pub struct Packet {
    buffer: Vec<u8>,
    start: usize,
    places: Places,
    /// What is known about the packet beside its bytes.
    pub meta: Metadata,
    /// The outer headers that the packet was taken out of, or is to be put into. A packet without costs no more than
    /// this one word.
    pub tunnel: Option<Box<Tunnel>>,
    /// What a network card, or our own software, has still to do to it.
    pub offload: Offload,
}

impl Packet {
    /// A packet with the bytes of `data`, and [`HEADROOM`] in front.
    pub fn from_slice(data: &[u8]) -> Packet {
        let mut buffer = Vec::with_capacity(HEADROOM + data.len());
        buffer.resize(HEADROOM, 0);
        buffer.extend_from_slice(data);
        Packet { buffer, start: HEADROOM, ..Packet::default() }
    }

    /// A packet that takes over `buffer`, its data from byte `start` on: what a device read into memory of its own.
    ///
    /// Nothing is copied. The `start` bytes in front are headroom; a `start` beyond the end makes an empty packet.
    ///
    /// ```
    /// use ovs_packet::Packet;
    ///
    /// let mut p = Packet::from_buffer(vec![0, 0, 0, 0, 1, 2, 3, 0], 4);
    /// p.truncate(3);
    /// p.push_front(2).copy_from_slice(&[8, 9]);
    /// assert_eq!(p.data(), [8, 9, 1, 2, 3]);
    /// ```
    pub fn from_buffer(buffer: Vec<u8>, start: usize) -> Packet {
        let start = start.min(buffer.len());
        Packet { buffer, start, ..Packet::default() }
    }

    /// The bytes, from the first header on.
    pub fn data(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or(&[])
    }

    /// The bytes, to be changed in place.
    pub fn data_mut(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.start..).unwrap_or(&mut [])
    }

    /// How many bytes the packet has.
    pub fn len(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Whether the packet has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds `n` zero bytes in front and returns them. Layer and checksum offsets move along.
    pub fn push_front(&mut self, n: usize) -> &mut [u8] {
        if n > self.start {
            let grow = n - self.start + HEADROOM;
            self.buffer.splice(0..0, core::iter::repeat_n(0, grow));
            self.start += grow;
        }
        self.start -= n;
        self.places.shift(|at| Some(at + n));
        self.offload.shift(|at| Some(at + n));
        let front = self.buffer.get_mut(self.start..self.start + n).unwrap_or(&mut []);
        front.fill(0);
        front
    }

    /// Drops the first `n` bytes, or all there are. A layer that began in them is forgotten.
    pub fn pull_front(&mut self, n: usize) {
        let n = n.min(self.len());
        self.start += n;
        self.places.shift(|at| at.checked_sub(n));
        self.offload.shift(|at| at.checked_sub(n));
    }

    /// Keeps the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.buffer.truncate(self.start.saturating_add(len));
    }

    /// Adds bytes behind the last one.
    pub fn extend(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    /// Where the layers begin, as the last extraction found them.
    pub fn layers(&self) -> Layers {
        self.places.layers()
    }

    pub(crate) fn set_layers(&mut self, layers: Layers) {
        self.places = Places::of(layers);
    }

    /// What extraction reads, and where it notes the layers. `None` cannot be: data never begin behind the buffer's end.
    #[inline(always)]
    pub(crate) fn for_extraction(&mut self) -> Option<(&[u8], &Metadata, Option<&Tunnel>, &mut Places)> {
        let data = self.buffer.get(self.start..)?;
        Some((data, &self.meta, self.tunnel.as_deref(), &mut self.places))
    }

    /// The bytes from the network layer on, without padding.
    pub fn l3(&self) -> &[u8] {
        self.without_pad(self.places.layers().l3)
    }

    /// The bytes from the transport layer on, without padding.
    pub fn l4(&self) -> &[u8] {
        self.without_pad(self.places.layers().l4)
    }

    fn without_pad(&self, from: Option<usize>) -> &[u8] {
        let end = self.len().saturating_sub(self.places.layers().l2_pad);
        from.and_then(|from| self.data().get(from..end)).unwrap_or(&[])
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packet({} bytes:", self.len())?;
        self.data().iter().take(64).try_for_each(|b| write!(f, " {b:02x}"))?;
        f.write_str(if self.len() > 64 { " ...)" } else { ")" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headroom_grows_when_it_is_used_up() {
        let mut p = Packet::from_slice(b"abc");
        p.set_layers(Layers { l3: Some(1), ..Layers::default() });
        p.push_front(HEADROOM).fill(1);
        p.push_front(10).fill(2);
        assert_eq!(p.len(), HEADROOM + 13);
        assert_eq!(&p.data()[HEADROOM + 10..], b"abc");
        assert_eq!(p.layers().l3, Some(HEADROOM + 11));
        p.pull_front(HEADROOM + 12);
        assert_eq!((p.data(), p.layers().l3), (&b"c"[..], None));
        p.pull_front(99);
        assert!(p.is_empty());
    }

    #[test]
    fn a_buffer_is_taken_over_with_its_headroom() {
        let buffer = alloc::vec![7; 10];
        let at = buffer.as_ptr();
        let mut p = Packet::from_buffer(buffer, 4);
        p.push_front(3);
        assert_eq!((p.len(), p.data().as_ptr()), (9, at.wrapping_add(1)));
        assert!(Packet::from_buffer(alloc::vec![7; 10], 11).is_empty());
    }

    #[test]
    fn layers_end_before_the_padding() {
        let mut p = Packet::from_slice(&[0; 60]);
        p.set_layers(Layers { l3: Some(14), l4: Some(34), l2_pad: 18, ..Layers::default() });
        assert_eq!((p.l3().len(), p.l4().len()), (28, 8));
    }
}

//! What a packet is: its memory, and what is known about it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Metadata, Offload, Places, Tunnel, offset};

/// What a [`Packet`](super::Packet) points to: bytes, which its methods read and change, and what is known beside them.
///
/// The members that every step of a packet's way reads are together in front.
#[derive(Debug)]
#[repr(C)]
pub struct Body {
    /// All of it is initialized, by zeros or earlier packets.
    pub(super) buffer: Vec<u8>,
    /// The data are these bytes of the buffer: `start <= end <= buffer.len()`.
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) places: Places,
    /// What is known about the packet beside its bytes.
    pub meta: Metadata,
    /// The outer headers that the packet was taken out of, or is to be put into. A packet without costs no more than
    /// this one word.
    pub tunnel: Option<Box<Tunnel>>,
    /// What a network card, or our own software, has still to do to it.
    pub offload: Offload,
}

impl Body {
    /// Nothing at all.
    pub(super) const EMPTY: Body = Body {
        buffer: Vec::new(),
        start: 0,
        end: 0,
        places: Places::NONE,
        meta: Metadata::NONE,
        tunnel: None,
        offload: Offload::NONE,
    };

    /// Memory, and no data in it yet.
    pub(super) fn of(buffer: Vec<u8>) -> Body {
        Body { buffer, ..Body::EMPTY }
    }

    #[inline]
    pub(super) fn data(&self) -> &[u8] {
        self.buffer.get(self.start as usize..self.end as usize).unwrap_or(&[])
    }

    #[inline]
    pub(super) fn data_mut(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.start as usize..self.end as usize).unwrap_or(&mut [])
    }

    /// Puts `data` at byte `start` of the buffer, which has room for it.
    pub(super) fn place(&mut self, start: usize, data: &[u8]) {
        let end = start + data.len();
        if let Some(place) = self.buffer.get_mut(start..end) {
            place.copy_from_slice(data);
            (self.start, self.end) = (offset(start), offset(end));
        }
    }

    /// Takes over what `other` knows beside its bytes.
    pub(super) fn take_knowledge(&mut self, other: &mut Body) {
        (self.places, self.meta, self.offload) = (other.places, other.meta, other.offload);
        self.tunnel = other.tunnel.take();
    }

    /// Forgets the packet, for the next one that comes into this memory; what its bytes were stays.
    pub(super) fn forget(&mut self) {
        (self.start, self.end) = (0, 0);
        (self.places, self.meta, self.offload) = (Places::NONE, Metadata::NONE, Offload::NONE);
        self.tunnel = None;
    }
}

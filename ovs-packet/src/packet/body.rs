//! What a packet is: its memory, and what is known about it.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem::offset_of;

use super::{Metadata, Offload, Places, Tunnel, offset};

/// What a [`Packet`](super::Packet) points to: bytes, which its methods read and change, and what is known beside them.
///
/// The members that every step of a packet's way reads are together in the first line of memory, and of most packets no other
/// is read: a mark there tells whether more is known.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Body {
    /// All of it is initialized, by zeros or earlier packets.
    pub(super) buffer: Vec<u8>,
    /// The data are these bytes of the buffer: `start <= end <= buffer.len()`.
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) places: Places,
    /// Whether more may be known than in [`Body::EMPTY`]: of `meta` but port and recirculation, `tunnel` or `offload`. Set by
    /// whoever gets hold of these to change them.
    pub(super) is_marked: bool,
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
        is_marked: false,
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
        (self.tunnel, self.is_marked) = (other.tunnel.take(), other.is_marked);
    }

    /// Forgets the packet, for the next one that comes into this memory; what its bytes were stays.
    pub(super) fn forget(&mut self) {
        (self.start, self.end) = (0, 0);
        self.forget_knowledge();
    }

    /// Forgets what is known beside the bytes.
    #[inline]
    pub(super) fn forget_knowledge(&mut self) {
        self.places = Places::NONE;
        (self.meta.in_port, self.meta.recirc_id) = (0, 0);
        if self.is_marked {
            self.unmark();
        }
    }

    #[inline(never)]
    fn unmark(&mut self) {
        (self.meta, self.offload, self.tunnel, self.is_marked) = (Metadata::NONE, Offload::NONE, None, false);
    }

    /// How far into the body that reaches which is read of every packet.
    const HOT: usize = offset_of!(Body, meta) + offset_of!(Metadata, dp_hash);
}

const _: () = assert!(Body::HOT <= 64 && size_of::<Body>() <= 256);

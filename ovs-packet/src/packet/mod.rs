//! A packet: bytes with room in front, where its layers begin, what is known about it.
//!
//! The memory of packets that are received comes from a pool of the thread that receives them, and goes to the pool of
//! the thread that drops them: see [`Packet::with_room`] and [`PoolStats`].

mod body;
mod meta;
mod offload;
mod places;
mod pool;
mod tunnel;

pub use body::Body;
pub use meta::{CtMetadata, CtState, Metadata, OriginalTuple, TunnelFlags};
pub use offload::{Gso, GsoKind, Inner, IpChecksum, L4Checksum, Offload};
pub(crate) use places::{Place, Places};
pub use pool::{LARGE, MAX_FREE_LARGE, MAX_FREE_SMALL, PoolStats, SMALL};
pub use tunnel::{Tunnel, TunnelAddresses};

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::ops::{Deref, DerefMut};

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

/// An owned packet: a pointer to a [`Body`], so that to hand one on, or thirty-two, moves little.
///
/// What is known of it beside its bytes are the body's members, reached through the packet: `packet.meta`.
///
/// ```
/// use ovs_packet::Packet;
///
/// let mut p = Packet::from_slice(&[1, 2, 3]);
/// p.push_front(2).copy_from_slice(&[8, 9]);
/// assert_eq!(p.data(), [8, 9, 1, 2, 3]);
/// p.pull_front(4);
/// assert_eq!(p.data(), [3]);
/// p.meta.in_port = 7;
/// assert_eq!(std::mem::size_of_val(&p), std::mem::size_of::<usize>());
/// ```
#[derive(Default)]
pub struct Packet(
    /// `None` is an empty packet about which nothing is known.
    Option<Box<Body>>,
);

#[cold]
fn memory_for_nothing() -> Box<Body> {
    pool::small(0)
}

/// Offsets are kept in 32 bits. No buffer is larger: no device makes one, and a packet does not grow beyond it.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

impl Packet {
    /// A packet with the bytes of `data`, and [`HEADROOM`] in front.
    pub fn from_slice(data: &[u8]) -> Packet {
        let mut body = pool::small(HEADROOM + data.len());
        body.place(HEADROOM, data);
        Packet(Some(body))
    }

    /// A packet of `len` bytes, with [`HEADROOM`] in front, to be overwritten by a device that receives.
    ///
    /// The memory comes from the thread's pool and the bytes are anything, those of earlier packets too: who writes less
    /// than `len` of them [truncates](Packet::truncate) the packet to that.
    ///
    /// ```
    /// use ovs_packet::Packet;
    ///
    /// let mut p = Packet::with_room(2000);
    /// assert_eq!(p.len(), 2000);
    /// p.data_mut()[..3].copy_from_slice(&[1, 2, 3]);
    /// p.truncate(3);
    /// assert_eq!(p.data(), [1, 2, 3]);
    /// ```
    pub fn with_room(len: usize) -> Packet {
        let (start, end) = (offset(HEADROOM), offset(HEADROOM.saturating_add(len)));
        let mut body = pool::pooled(end as usize);
        (body.start, body.end) = (start, end);
        Packet(Some(body))
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
        let mut body = Body::of(buffer);
        body.end = offset(body.buffer.len());
        body.start = offset(start).min(body.end);
        Packet(Some(Box::new(body)))
    }

    /// The bytes, from the first header on.
    #[inline]
    pub fn data(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |body| body.data())
    }

    /// The bytes, to be changed in place.
    #[inline]
    pub fn data_mut(&mut self) -> &mut [u8] {
        self.0.as_mut().map_or(&mut [], |body| body.data_mut())
    }

    /// How many bytes the packet has.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |body| (body.end - body.start) as usize)
    }

    /// Whether the packet has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds `n` zero bytes in front and returns them. Layer and checksum offsets move along.
    pub fn push_front(&mut self, n: usize) -> &mut [u8] {
        if n > self.start as usize {
            self.move_to(HEADROOM.saturating_add(n), 0);
        }
        let body = self.body_mut();
        body.start -= offset(n);
        body.places.shift(|at| at.checked_add(n));
        body.offload.shift(|at| at.checked_add(n));
        let front = body.data_mut().get_mut(..n).unwrap_or(&mut []);
        front.fill(0);
        front
    }

    /// Drops the first `n` bytes, or all there are. A layer that began in them is forgotten.
    pub fn pull_front(&mut self, n: usize) {
        let n = n.min(self.len());
        let body = self.body_mut();
        body.start += offset(n);
        body.places.shift(|at| at.checked_sub(n));
        body.offload.shift(|at| at.checked_sub(n));
    }

    /// Keeps the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        if let Some(body) = &mut self.0 {
            body.end = body.end.min(body.start.saturating_add(offset(len)));
        }
    }

    /// Adds bytes behind the last one.
    pub fn extend(&mut self, data: &[u8]) {
        if data.len() > self.buffer.len() - self.end as usize {
            self.move_to(self.start as usize, data.len());
        }
        let body = self.body_mut();
        let end = body.end as usize + data.len();
        if let Some(place) = body.buffer.get_mut(body.end as usize..end) {
            place.copy_from_slice(data);
            body.end = offset(end);
        }
    }

    /// Takes another buffer, in which the data begin at byte `start` and have room for `more` bytes behind them.
    #[cold]
    fn move_to(&mut self, start: usize, more: usize) {
        let mut need = start + self.len() + more;
        if need > LARGE {
            // Beyond the pool's sizes, more than is asked for: whoever adds byte by byte copies each only a few times.
            need += need / 2;
        }
        let mut body = pool::pooled(need);
        body.place(start, self.data());
        body.take_knowledge(self.body_mut());
        *self = Packet(Some(body));
    }

    /// Where the layers begin, as the last extraction found them.
    pub fn layers(&self) -> Layers {
        self.places.layers()
    }

    pub(crate) fn set_layers(&mut self, layers: Layers) {
        self.body_mut().places = Places::of(layers);
    }

    /// The body, for changes that leave what is known beside the bytes as it is.
    #[inline]
    fn body_mut(&mut self) -> &mut Body {
        self.0.get_or_insert_with(memory_for_nothing)
    }

    /// Forgets what is known beside the bytes, as of a packet that comes in by a port.
    ///
    /// ```
    /// use ovs_packet::Packet;
    ///
    /// let mut p = Packet::from_slice(&[1, 2, 3]);
    /// (p.meta.in_port, p.meta.pkt_mark) = (7, 8);
    /// p.forget();
    /// assert_eq!((p.data(), p.meta), (&[1, 2, 3][..], Default::default()));
    /// ```
    #[inline]
    pub fn forget(&mut self) {
        if let Some(body) = &mut self.0 {
            body.forget_knowledge();
        }
    }

    /// Sets `meta.in_port`, which every packet has: unlike an assignment to the member, this does not make the packet one of
    /// which more may be known, which takes longer to handle.
    #[inline]
    pub fn set_in_port(&mut self, port: u32) {
        self.body_mut().meta.in_port = port;
    }

    /// Sets `meta.recirc_id`, likewise.
    #[inline]
    pub fn set_recirc_id(&mut self, id: u32) {
        self.body_mut().meta.recirc_id = id;
    }

    /// Whether nothing is known beside the bytes but port and recirculation. False may be wrong: what was set may have been
    /// taken back.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        self.0.as_ref().is_none_or(|body| !body.is_marked)
    }

    /// Whether a checksum is still to be computed, or the packet to be cut: [`Offload::is_pending`].
    #[inline]
    pub fn is_pending(&self) -> bool {
        !self.is_plain() && self.offload.is_pending()
    }

    /// What extraction reads, and where it notes the layers. `None` is a packet of nothing.
    #[inline(always)]
    pub(crate) fn for_extraction(&mut self) -> Option<(&[u8], &Metadata, Option<&Tunnel>, &mut Places)> {
        let body = self.0.as_deref_mut()?;
        let data = body.buffer.get(body.start as usize..body.end as usize)?;
        Some((data, &body.meta, body.tunnel.as_deref(), &mut body.places))
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

impl Deref for Packet {
    type Target = Body;

    #[inline]
    fn deref(&self) -> &Body {
        static EMPTY: Body = Body::EMPTY;
        self.0.as_deref().unwrap_or(&EMPTY)
    }
}

impl DerefMut for Packet {
    #[inline]
    fn deref_mut(&mut self) -> &mut Body {
        let body = self.body_mut();
        body.is_marked = true;
        body
    }
}

impl Drop for Packet {
    #[inline]
    fn drop(&mut self) {
        if let Some(body) = self.0.take() {
            pool::give(body);
        }
    }
}

impl Clone for Packet {
    fn clone(&self) -> Self {
        let Some(from) = &self.0 else { return Packet(None) };
        let start = from.start as usize;
        let mut body = pool::small(start + self.len());
        body.place(start, from.data());
        body.places = from.places;
        (body.meta.in_port, body.meta.recirc_id) = (from.meta.in_port, from.meta.recirc_id);
        if from.is_marked {
            (body.meta, body.offload, body.is_marked) = (from.meta, from.offload, true);
            body.tunnel.clone_from(&from.tunnel);
        }
        Packet(Some(body))
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

    /// Whatever was known of a packet, copies know it, other memory takes it over, and it can be forgotten.
    #[test]
    fn what_is_known_goes_along_and_is_forgotten() {
        use core::net::Ipv4Addr;
        type Know = fn(&mut Packet);
        const ADDRESSES: TunnelAddresses = TunnelAddresses::V4 { src: Ipv4Addr::LOCALHOST, dst: Ipv4Addr::LOCALHOST };
        let ways: [Know; 7] = [
            |p| p.set_in_port(5),
            |p| p.set_recirc_id(6),
            |p| p.meta.dp_hash = 1,
            |p| p.meta.packet_type = 2,
            |p| p.meta.ct.label = 1 << 100,
            |p| p.tunnel = Some(Box::new(Tunnel::new(ADDRESSES))),
            |p| p.offload.ip = IpChecksum::Good,
        ];
        let known = |p: &Packet| (p.meta, p.offload, p.tunnel.clone());
        let nothing = known(&Packet::from_slice(&[0; 4]));
        for (i, know) in ways.iter().enumerate() {
            let mut p = Packet::from_slice(&[0; 4]);
            know(&mut p);
            let all = known(&p);
            assert_ne!(all, nothing, "{i}");
            assert_eq!((p.is_plain(), known(&p.clone())), (i < 2, all), "{i}");
            p.push_front(HEADROOM + 1);
            p.extend(&[7; 5000]);
            let all = known(&p);
            assert_ne!(all, nothing, "{i}");
            p.forget();
            assert_eq!((known(&p), p.is_plain(), p.layers()), (nothing.clone(), true, Layers::default()), "{i}");
        }
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

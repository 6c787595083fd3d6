//! Keys and masks between [`FlowKey`] and the kernel's attributes (`OVS_KEY_ATTR_*`), both ways.
//!
//! What the headers are is read off the key, and the mask follows it: the two have the same attributes, but for those
//! of a mask without bits, which the kernel takes as absent. A key is written in one pass into the caller's buffer and
//! read in one walk; neither allocates.
//!
//! The kernel always matches the Ethertype, whether there is a VLAN tag, whether there is an Ethernet header, and all of
//! the fragment type or nothing. A mask comes out as wide as that, so that a megaflow that was put never answers for
//! more packets than it was meant for.
//!
//! A key whose Ethertype is that of a tag was read no further (`vlan-limit`). To the kernel, which reads two, that is a tag
//! of any kind with anything behind it, and so it is written; read back, it is one.

use ovs_netlink::attr::{Nest, Typed};
use ovs_netlink::ovs::{
    Key, KeyArp, KeyCtTupleIpv4, KeyCtTupleIpv6, KeyEthernet, KeyIcmp, KeyIpv4, KeyIpv6, KeyNd, KeyPorts, Keys,
    MplsEntry, NshBase, NshKey, NshMd1,
};
use ovs_netlink::{DecodeError, EncodeError, Writer};
use ovs_packet::extract::{
    ETH_TYPE_ARP, ETH_TYPE_IPV4, ETH_TYPE_IPV6, ETH_TYPE_MPLS, ETH_TYPE_MPLS_MCAST, ETH_TYPE_NSH, ETH_TYPE_RARP,
    ETH_TYPE_VLAN, ETH_TYPE_VLAN_SERVICE, IP_PROTO_ICMP, IP_PROTO_ICMPV6, IP_PROTO_SCTP, IP_PROTO_TCP, IP_PROTO_UDP,
    NO_ETHERTYPE,
};
use ovs_packet::key::{FRAG_ANY, FRAG_LATER, VLAN_PRESENT};
use ovs_packet::{EthAddr, FlowKey, FlowMask};

use super::tunnel;

/// The bottom-of-stack bit of a label stack entry.
const BOTTOM: u32 = 0x100;
/// How many tags a key tells of.
const TAGS: usize = 2;
/// Namespace 1 of packet types: Ethertypes (OpenFlow 1.5, section 7.2.3.11).
const ETHERTYPE_NAMESPACE: u32 = 1 << 16;

fn is_tag(eth_type: u16) -> bool {
    matches!(eth_type, ETH_TYPE_VLAN | ETH_TYPE_VLAN_SERVICE)
}

/// How well a key of the kernel's fits a [`FlowKey`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fitness {
    /// Both say the same.
    Perfect,
    /// The kernel tells more of the packet than a flow key has room for.
    TooMuch,
    /// The kernel does not tell of a header that the packet has.
    TooLittle,
}

/// Why attributes are no key, no mask or no actions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// They are not what they should be.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// An attribute of a newer kernel's.
    #[error("{what} attribute {attribute} is unknown")]
    Unknown {
        /// In what it is.
        what: &'static str,
        /// Its number.
        attribute: u16,
    },
    /// An attribute that lacks another beside it, or has a value that means nothing.
    #[error("{0} means nothing so")]
    Meaningless(&'static str),
}

pub(super) fn unknown(what: &'static str, attribute: u16) -> ConvertError {
    ConvertError::Unknown { what, attribute }
}

/// A value in a flow key, and the form that it has in a structure of the kernel's.
pub(super) trait Part<W> {
    fn out(&self) -> W;
    fn take(&mut self, value: W);
}

macro_rules! parts {
    ($($ours:ty => $wire:ty: |$v:ident| $out:expr, |$w:ident| $in:expr;)+) => {$(
        impl Part<$wire> for $ours {
            #[inline]
            fn out(&self) -> $wire {
                let $v = self;
                $out
            }

            #[inline]
            fn take(&mut self, $w: $wire) {
                *self = $in;
            }
        }
    )+};
}

type U16 = zerocopy::big_endian::U16;
type U32 = zerocopy::big_endian::U32;
type U128 = zerocopy::big_endian::U128;

parts! {
    u8 => u8: |v| *v, |w| w;
    U16 => u16: |v| v.get(), |w| w.into();
    // The operation of ARP, of which the kernel matches eight bits too.
    u8 => u16: |v| (*v).into(), |w| w as u8;
    // Types and codes of ICMP, which a flow key keeps where ports are.
    U16 => u8: |v| v.get() as u8, |w| u16::from(w).into();
    U32 => u32: |v| v.get(), |w| w.into();
    U32 => [u8; 4]: |v| v.to_bytes(), |w| U32::from_bytes(w);
    U128 => [u8; 16]: |v| v.to_bytes(), |w| U128::from_bytes(w);
    EthAddr => [u8; 6]: |v| v.0, |w| EthAddr(w);
}

macro_rules! structures {
    ($($name:ident $ty:ident { $($field:ident = $place:ident),+ })+) => {$(
        /// A structure of the kernel's, and where in a flow key its fields are.
        pub(super) struct $name;

        impl $name {
            #[inline]
            pub(super) fn of(key: &FlowKey) -> $ty {
                $ty { $($field: key.$place.out()),+ }
            }

            #[inline]
            pub(super) fn read(key: &mut FlowKey, value: $ty) {
                let $ty { $($field),+ } = value;
                $(key.$place.take($field);)+
            }
        }
    )+};
}

structures! {
    Ethernet KeyEthernet { src = eth_src, dst = eth_dst }
    Ipv4 KeyIpv4 { src = nw_src, dst = nw_dst, proto = nw_proto, tos = nw_tos, ttl = nw_ttl, frag = nw_frag }
    Ipv6 KeyIpv6 {
        src = ipv6_src, dst = ipv6_dst, label = ipv6_label, proto = nw_proto, tclass = nw_tos, hlimit = nw_ttl,
        frag = nw_frag
    }
    Ports KeyPorts { src = tp_src, dst = tp_dst }
    Icmp KeyIcmp { ty = tp_src, code = tp_dst }
    Arp KeyArp { sip = nw_src, tip = nw_dst, op = nw_proto, sha = arp_sha, tha = arp_tha }
    Nd KeyNd { target = nd_target, sll = arp_sha, tll = arp_tha }
    Ct4 KeyCtTupleIpv4 {
        src = ct_nw_src, dst = ct_nw_dst, src_port = ct_tp_src, dst_port = ct_tp_dst, proto = ct_nw_proto
    }
    Ct6 KeyCtTupleIpv6 {
        src = ct_ipv6_src, dst = ct_ipv6_dst, src_port = ct_tp_src, dst_port = ct_tp_dst, proto = ct_nw_proto
    }
    NshFront NshBase { flags = nsh_flags, ttl = nsh_ttl, mdtype = nsh_mdtype, np = nsh_np, path_hdr = nsh_path }
}

type Written = Result<(), EncodeError>;

/// Writes a packet's key.
///
/// # Errors
/// None in practice: a key is short.
pub fn put_key(writer: &mut Writer<'_>, key: &FlowKey) -> Written {
    KeyWriter { of: key, values: key, mask: false }.put(writer)
}

/// Writes the mask of a megaflow that was made for a packet with this key: see [`beyond`] for what it cannot say.
///
/// # Errors
/// None in practice: a mask is short.
pub fn put_mask(writer: &mut Writer<'_>, key: &FlowKey, mask: &FlowMask) -> Written {
    KeyWriter { of: key, values: &mask.bits, mask: true }.put(writer)
}

/// What of a mask the kernel cannot match.
pub fn beyond(key: &FlowKey, mask: &FlowMask) -> Option<&'static str> {
    let bits = &mask.bits;
    let icmpv6 = key.eth_type.get() == ETH_TYPE_IPV6 && key.nw_proto == IP_PROTO_ICMPV6;
    let cases = [
        (bits.igmp_group != 0, if icmpv6 { "nd_reserved" } else { "igmp" }),
        (icmpv6 && bits.tcp_flags != 0, "nd_options_type"),
        (bits.tun_gtpu_flags != 0 || bits.tun_gtpu_msgtype != 0, "tunnel(gtpu)"),
        (bits.metadata != 0, "metadata"),
        (bits.regs.iter().any(|reg| *reg != 0), "registers"),
    ];
    cases.into_iter().find_map(|(wanted, what)| wanted.then_some(what))
}

/// Writes the attributes of `values`: a key, or a mask for the key `of`.
struct KeyWriter<'k> {
    of: &'k FlowKey,
    values: &'k FlowKey,
    mask: bool,
}

impl KeyWriter<'_> {
    /// Writes an attribute; of a mask only if it has bits.
    #[inline]
    fn some<T: Default + PartialEq>(
        &self,
        writer: &mut Writer<'_>,
        value: T,
        key: impl FnOnce(T) -> Key<'static>,
    ) -> Written {
        if self.mask && value == T::default() { Ok(()) } else { writer.put(key(value)).map(drop) }
    }

    /// Writes an attribute that a key, too, has only if it has a value.
    #[inline]
    fn maybe<T: Default + PartialEq>(
        &self,
        writer: &mut Writer<'_>,
        value: T,
        key: impl FnOnce(T) -> Key<'static>,
    ) -> Written {
        if value == T::default() { Ok(()) } else { writer.put(key(value)).map(drop) }
    }

    fn put(&self, w: &mut Writer<'_>) -> Written {
        let (v, of) = (self.values, self.of);
        self.some(w, v.recirc_id.get(), Key::RecircId)?;
        self.some(w, v.dp_hash.get(), Key::DpHash)?;
        self.some(w, v.skb_priority.get(), Key::Priority)?;
        if tunnel::is_in(of) && (!self.mask || tunnel::has_bits(v)) {
            w.nest(Key::TUNNEL, |inner| tunnel::put(inner, of, v, self.mask))?;
        }
        // A packet that came in by no port has none in its key; that is matched as a port is.
        if self.mask || of.in_port != u32::MAX {
            self.some(w, v.in_port.get(), Key::InPort)?;
        }
        self.some(w, v.pkt_mark.get(), Key::SkbMark)?;
        self.some(w, u32::from(v.ct_state), Key::CtState)?;
        // Kernels without zones refuse the attributes, whatever they say.
        self.maybe(w, v.ct_zone.get(), Key::CtZone)?;
        self.some(w, v.ct_mark.get(), Key::CtMark)?;
        self.maybe(w, v.ct_label.to_bytes(), |label| Key::CtLabels(reversed(label)))?;
        if of.ct_nw_proto != 0 {
            match of.eth_type.get() {
                ETH_TYPE_IPV4 => self.maybe(w, Ct4::of(v), Key::CtOrigTupleIpv4)?,
                ETH_TYPE_IPV6 => self.maybe(w, Ct6::of(v), Key::CtOrigTupleIpv6)?,
                _ => {}
            }
        }
        if of.packet_type != 0 {
            return self.network(w);
        }
        self.some(w, Ethernet::of(v), Key::Ethernet)?;
        self.tagged(w, 0)
    }

    /// What is behind the addresses: a tag holds what is behind it.
    fn tagged(&self, w: &mut Writer<'_>, depth: usize) -> Written {
        let tag = |key: &FlowKey| match depth {
            0 => (key.vlan_tci.get(), key.vlan_tpid.get()),
            1 => (key.inner_vlan_tci.get(), key.inner_vlan_tpid.get()),
            _ => (0, 0),
        };
        let (of_tci, of_tpid) = tag(self.of);
        if of_tci & VLAN_PRESENT == 0 {
            return if depth < TAGS && is_tag(self.of.eth_type.get()) { self.unread(w) } else { self.network(w) };
        }
        let tpid = if of_tpid == 0 { ETH_TYPE_VLAN } else { of_tpid };
        w.put(Key::Ethertype(if self.mask { u16::MAX } else { tpid }))?;
        w.put(Key::Vlan(tag(self.values).0 | VLAN_PRESENT))?;
        w.nest(Key::ENCAP, |inner| self.tagged(inner, depth + 1)).map(drop)
    }

    /// A tag that is not read (`vlan-limit`) is an Ethertype; to the kernel it is a tag, whatever it says and has behind it.
    fn unread(&self, w: &mut Writer<'_>) -> Written {
        if self.mask && self.values.eth_type == 0 {
            return Ok(());
        }
        w.put(Key::Ethertype(if self.mask { u16::MAX } else { self.of.eth_type.get() }))?;
        w.put(Key::Vlan(VLAN_PRESENT))?;
        // What is empty in a mask is not there to the kernel.
        w.nest(Key::ENCAP, |inner| if self.mask { inner.put(Key::Ethertype(0)).map(drop) } else { Ok(()) }).map(drop)
    }

    fn network(&self, w: &mut Writer<'_>) -> Written {
        let (v, of) = (self.values, self.of);
        let eth_type = of.eth_type.get();
        // A frame without an Ethertype has no attribute, and its absence is matched whole.
        match self.mask {
            false if eth_type <= NO_ETHERTYPE => {}
            false => drop(w.put(Key::Ethertype(eth_type))?),
            true if v.eth_type == 0 => {}
            true => drop(w.put(Key::Ethertype(u16::MAX))?),
        }
        match eth_type {
            ETH_TYPE_IPV4 => {
                let frag = self.frag();
                self.some(w, KeyIpv4 { frag, ..Ipv4::of(v) }, Key::Ipv4)?;
            }
            ETH_TYPE_IPV6 => {
                let frag = self.frag();
                self.some(w, KeyIpv6 { frag, ..Ipv6::of(v) }, Key::Ipv6)?;
            }
            ETH_TYPE_ARP | ETH_TYPE_RARP => return self.some(w, Arp::of(v), Key::Arp),
            ETH_TYPE_MPLS | ETH_TYPE_MPLS_MCAST => return self.mpls(w),
            ETH_TYPE_NSH => return self.nsh(w),
            _ => return Ok(()),
        }
        if of.nw_frag & FRAG_LATER != 0 { Ok(()) } else { self.transport(w, eth_type) }
    }

    fn frag(&self) -> u8 {
        match (self.mask, self.values.nw_frag & (FRAG_ANY | FRAG_LATER)) {
            (true, 0) => 0,
            (true, _) => u8::MAX,
            (false, bits) if bits & FRAG_LATER != 0 => 2,
            (false, bits) => u8::from(bits != 0),
        }
    }

    fn transport(&self, w: &mut Writer<'_>, eth_type: u16) -> Written {
        let (v, of) = (self.values, self.of);
        match of.nw_proto {
            IP_PROTO_TCP => {
                self.some(w, Ports::of(v), Key::Tcp)?;
                self.some(w, v.tcp_flags.get(), Key::TcpFlags)
            }
            IP_PROTO_UDP => self.some(w, Ports::of(v), Key::Udp),
            IP_PROTO_SCTP => self.some(w, Ports::of(v), Key::Sctp),
            IP_PROTO_ICMP if eth_type == ETH_TYPE_IPV4 => self.some(w, Icmp::of(v), Key::Icmp),
            IP_PROTO_ICMPV6 if eth_type == ETH_TYPE_IPV6 => {
                self.some(w, Icmp::of(v), Key::Icmpv6)?;
                // The kernel goes by the type alone, though with another code than zero nothing is behind it.
                if matches!(of.tp_src.get(), 135 | 136) {
                    self.some(w, Nd::of(v), Key::Nd)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn mpls(&self, w: &mut Writer<'_>) -> Written {
        let bottom = self.of.mpls_lse.iter().position(|lse| lse.get() & BOTTOM != 0);
        let count = bottom.map_or(self.of.mpls_lse.len(), |i| i + 1);
        if self.mask && self.values.mpls_lse.iter().all(|lse| *lse == 0) {
            return Ok(());
        }
        let entries = self.values.mpls_lse.iter().take(count).map(|lse| MplsEntry { lse: lse.get() });
        w.structs(Key::MPLS, entries).map(drop)
    }

    fn nsh(&self, w: &mut Writer<'_>) -> Written {
        let v = self.values;
        let (base, context) = (NshFront::of(v), nsh_context(v));
        if self.mask && base == NshBase::default() && context == NshMd1::default() {
            return Ok(());
        }
        w.nest(Key::NSH, |nsh| {
            nsh.put(NshKey::Base(base))?;
            if self.of.nsh_mdtype == 1 { nsh.put(NshKey::Md1(context)).map(drop) } else { Ok(()) }
        })
        .map(drop)
    }
}

/// The context headers of metadata type 1.
pub(super) fn nsh_context(key: &FlowKey) -> NshMd1 {
    let mut context = [0; 16];
    for (to, from) in context.chunks_exact_mut(4).zip(&key.nsh_context) {
        to.copy_from_slice(&from.to_bytes());
    }
    NshMd1 { context }
}

pub(super) fn read_nsh_context(key: &mut FlowKey, md1: NshMd1) {
    let (words, _) = md1.context.as_chunks::<4>();
    key.nsh_context.iter_mut().zip(words).for_each(|(to, from)| *to = U32::from_bytes(*from));
}

/// Labels are in a flow key as one number, and in the kernel's attributes from their least significant byte on.
pub(super) fn reversed(mut label: [u8; 16]) -> [u8; 16] {
    label.reverse();
    label
}

/// Reads a packet's key.
///
/// # Errors
/// [`ConvertError`]: an attribute that is wrong, or that nobody knows.
pub fn read_key(keys: Keys<'_>) -> Result<(FlowKey, Fitness), ConvertError> {
    let mut reader = KeyReader { key: FlowKey::ZERO, mask: false, seen: 0, fitness: Fitness::Perfect };
    reader.level(keys, 0)?;
    if !reader.saw(Key::IN_PORT) {
        // From no port of the datapath.
        reader.key.in_port.set(u32::MAX);
    }
    if !reader.saw(Key::ETHERNET) {
        reader.key.packet_type.set(ETHERTYPE_NAMESPACE | u32::from(reader.key.eth_type.get()));
    }
    if reader.lacks() && reader.fitness == Fitness::Perfect {
        reader.fitness = Fitness::TooLittle;
    }
    Ok((reader.key, reader.fitness))
}

/// Reads the mask of a megaflow, and adds what the kernel matches without being told.
///
/// # Errors
/// As [`read_key`].
pub fn read_mask(keys: Keys<'_>) -> Result<(FlowMask, Fitness), ConvertError> {
    let mut reader = KeyReader { key: FlowKey::ZERO, mask: true, seen: 0, fitness: Fitness::Perfect };
    reader.level(keys, 0)?;
    let mut mask = FlowMask { bits: reader.key };
    mask.bits.packet_type.set(u32::MAX);
    mask.bits.vlan_tci.set(mask.bits.vlan_tci.get() | VLAN_PRESENT);
    Ok((mask, reader.fitness))
}

struct KeyReader {
    key: FlowKey,
    mask: bool,
    /// Bit `n` for attribute `n`.
    seen: u64,
    fitness: Fitness,
}

impl KeyReader {
    fn saw(&self, attribute: u16) -> bool {
        self.seen >> attribute & 1 != 0
    }

    fn too_much(&mut self, what: bool) {
        if what {
            self.fitness = Fitness::TooMuch;
        }
    }

    /// Reads the attributes of one level: within a tag's `ENCAP` there is another.
    fn level(&mut self, keys: Keys<'_>, depth: usize) -> Result<(), ConvertError> {
        let (mut eth_type, mut tci, mut encap) = (None, None, None);
        for attribute in keys {
            let attribute = attribute?;
            if !matches!(attribute, Key::Ethertype(_) | Key::Vlan(_) | Key::Encap(_)) {
                self.seen |= 1_u64.checked_shl(attribute.kind().into()).unwrap_or(0);
            }
            let key = &mut self.key;
            match attribute {
                Key::Encap(inner) => encap = Some(inner),
                Key::Ethertype(value) => eth_type = Some(value),
                Key::Vlan(value) => tci = Some(value),
                Key::Priority(value) => key.skb_priority.set(value),
                Key::InPort(value) => key.in_port.set(value),
                Key::Ethernet(value) => Ethernet::read(key, value),
                Key::Ipv4(value) => {
                    Ipv4::read(key, value);
                    self.frag(value.frag);
                }
                Key::Ipv6(value) => {
                    Ipv6::read(key, value);
                    self.frag(value.frag);
                }
                Key::Tcp(ports) | Key::Udp(ports) | Key::Sctp(ports) => Ports::read(key, ports),
                Key::Icmp(value) | Key::Icmpv6(value) => Icmp::read(key, value),
                Key::Arp(value) => {
                    Arp::read(key, value);
                    let more = !self.mask && value.op > 0xff;
                    self.too_much(more);
                }
                Key::Nd(value) => Nd::read(key, value),
                Key::SkbMark(value) => key.pkt_mark.set(value),
                Key::Tunnel(nest) => {
                    let all = tunnel::read(key, nest)?;
                    self.too_much(!all);
                }
                Key::TcpFlags(value) => key.tcp_flags.set(value),
                Key::DpHash(value) => key.dp_hash.set(value),
                Key::RecircId(value) => key.recirc_id.set(value),
                Key::Mpls(entries) => {
                    key.mpls_lse.iter_mut().zip(entries.iter()).for_each(|(to, entry)| to.set(entry.lse));
                    let more = entries.iter().len() > key.mpls_lse.len();
                    self.too_much(more);
                }
                Key::CtState(value) => {
                    key.ct_state = value as u8;
                    let more = !self.mask && value > 0xff;
                    self.too_much(more);
                }
                Key::CtZone(value) => key.ct_zone.set(value),
                Key::CtMark(value) => key.ct_mark.set(value),
                Key::CtLabels(value) => key.ct_label = U128::from_bytes(reversed(value)),
                Key::CtOrigTupleIpv4(value) => Ct4::read(key, value),
                Key::CtOrigTupleIpv6(value) => Ct6::read(key, value),
                Key::Nsh(nest) => self.nsh(nest)?,
                // Never the kernel's: programs use the numbers among themselves.
                Key::PacketType(_) | Key::NdExtensions(_) | Key::TunnelInfo(_) => self.too_much(true),
                Key::Ipv6Exthdrs(value) => {
                    let matched = self.mask && value.hdrs != 0;
                    self.too_much(matched);
                }
                odd => return Err(unknown("key", odd.kind())),
            }
        }
        let key = &mut self.key;
        match (tci, encap) {
            (Some(tci), Some(inner)) if depth < TAGS && (self.mask || tci & VLAN_PRESENT != 0) => {
                let (to_tci, to_tpid) = match depth {
                    0 => (&mut key.vlan_tci, &mut key.vlan_tpid),
                    _ => (&mut key.inner_vlan_tci, &mut key.inner_vlan_tpid),
                };
                to_tci.set(tci);
                // The protocol of a tag is told by the key; whether a mask has it makes no difference to a megaflow.
                to_tpid.set(if self.mask { 0 } else { eth_type.unwrap_or(ETH_TYPE_VLAN) });
                self.level(inner, depth + 1)
            }
            (Some(_), Some(_)) => {
                self.too_much(true);
                Ok(())
            }
            (None, Some(_)) => Err(ConvertError::Meaningless("what is behind a tag that is not there")),
            // A mask that says that there is no tag.
            (Some(tci), None) if self.mask => {
                key.vlan_tci.set(tci);
                key.eth_type.set(eth_type.unwrap_or(0));
                Ok(())
            }
            (Some(_), None) => Err(ConvertError::Meaningless("a tag without what is behind it")),
            (None, None) => {
                let absent = if self.mask { 0 } else { NO_ETHERTYPE };
                key.eth_type.set(eth_type.unwrap_or(absent));
                Ok(())
            }
        }
    }

    fn frag(&mut self, value: u8) {
        self.key.nw_frag = match (self.mask, value) {
            (true, 0) | (false, 0) => 0,
            (false, 1) => FRAG_ANY,
            (true, _) | (false, 2) => FRAG_ANY | FRAG_LATER,
            (false, _) => {
                self.too_much(true);
                0
            }
        };
    }

    fn nsh(&mut self, nest: Nest<'_, NshKey<'_>>) -> Result<(), ConvertError> {
        for attribute in nest {
            match attribute? {
                NshKey::Base(base) => NshFront::read(&mut self.key, base),
                NshKey::Md1(md1) => read_nsh_context(&mut self.key, md1),
                NshKey::Md2(bytes) => self.too_much(!bytes.is_empty()),
                odd => return Err(unknown("NSH", odd.kind())),
            }
        }
        Ok(())
    }

    /// Whether a header that the packet has is not told of.
    fn lacks(&self) -> bool {
        let key = &self.key;
        let ip = match key.eth_type.get() {
            ETH_TYPE_IPV4 if !self.saw(Key::IPV4) => return true,
            ETH_TYPE_IPV6 if !self.saw(Key::IPV6) => return true,
            ETH_TYPE_ARP | ETH_TYPE_RARP => return !self.saw(Key::ARP),
            ETH_TYPE_MPLS | ETH_TYPE_MPLS_MCAST => return !self.saw(Key::MPLS),
            ETH_TYPE_NSH => return !self.saw(Key::NSH),
            ETH_TYPE_IPV4 => 4,
            ETH_TYPE_IPV6 => 6,
            _ => return false,
        };
        if key.nw_frag & FRAG_LATER != 0 {
            return false;
        }
        let wanted = match (key.nw_proto, ip) {
            (IP_PROTO_TCP, _) => Key::TCP,
            (IP_PROTO_UDP, _) => Key::UDP,
            (IP_PROTO_SCTP, _) => Key::SCTP,
            (IP_PROTO_ICMP, 4) => Key::ICMP,
            (IP_PROTO_ICMPV6, 6) => Key::ICMPV6,
            _ => return false,
        };
        !self.saw(wanted)
    }
}

//! What a flow matches: the set `ovs_key_attr`.
//!
//! The same attributes say what a packet has (in an upcall), which bits of that a flow matches (as its mask), and what an
//! action writes. A key knows nothing of which attributes go together: that is for those who make keys.

use super::nsh::{MaskedNshKey, NshKey};
use super::tunnel::TunnelKey;
use crate::attr::structure::{
    Be16 as FieldBe16, Be32 as FieldBe32, Octets, U8 as FieldU8, U16 as FieldU16, structures,
};
use crate::attr::typed::{
    Array, Be16, Be32, Bytes, List, Masked, Nest, Nested, Struct, Structs, Twice, U16, U32, attributes,
};

/// The attributes of a key, or of a mask.
pub type Keys<'a> = Nest<'a, Key<'a>>;

attributes! {
    /// A part of a key, of a mask, or what an action sets.
    ///
    /// Addresses are bytes as they are on the wire; numbers that are in network byte order on the wire are in the machine's
    /// here.
    pub enum Key = "ovs_key_attr", "OVS_KEY_ATTR_" {
        /// What is behind a VLAN header.
        ENCAP = 1 => Encap(Keys<'a> as Nested<Key<'static>>),
        /// The packet's priority (`skb->priority`).
        PRIORITY = 2 => Priority(u32 as U32),
        /// The port that the packet came from.
        IN_PORT = 3 => InPort(u32 as U32),
        /// Ethernet addresses.
        ETHERNET = 4 => Ethernet(KeyEthernet as Struct<KeyEthernet>),
        /// The tag of a VLAN header (TCI), with bit 0x1000 for that there is a header.
        VLAN = 5 => Vlan(u16 as Be16),
        /// The Ethernet type.
        ETHERTYPE = 6 => Ethertype(u16 as Be16),
        /// An IPv4 header.
        IPV4 = 7 => Ipv4(KeyIpv4 as Struct<KeyIpv4>),
        /// An IPv6 header.
        IPV6 = 8 => Ipv6(KeyIpv6 as Struct<KeyIpv6>),
        /// TCP ports.
        TCP = 9 => Tcp(KeyPorts as Struct<KeyPorts>),
        /// UDP ports.
        UDP = 10 => Udp(KeyPorts as Struct<KeyPorts>),
        /// ICMP type and code.
        ICMP = 11 => Icmp(KeyIcmp as Struct<KeyIcmp>),
        /// ICMPv6 type and code.
        ICMPV6 = 12 => Icmpv6(KeyIcmp as Struct<KeyIcmp>),
        /// An ARP or RARP packet.
        ARP = 13 => Arp(KeyArp as Struct<KeyArp>),
        /// IPv6 neighbour discovery.
        ND = 14 => Nd(KeyNd as Struct<KeyNd>),
        /// The packet's mark.
        SKB_MARK = 15 => SkbMark(u32 as U32),
        /// The tunnel that the packet came through, or is to go through.
        TUNNEL = 16 => Tunnel(Nest<'a, TunnelKey<'a>> as Nested<TunnelKey<'static>>),
        /// SCTP ports.
        SCTP = 17 => Sctp(KeyPorts as Struct<KeyPorts>),
        /// TCP flags: 12 bits.
        TCP_FLAGS = 18 => TcpFlags(u16 as Be16),
        /// The hash that an action computed; 0 for none.
        DP_HASH = 19 => DpHash(u32 as U32),
        /// The recirculation identifier; 0 for a packet that came from a port.
        RECIRC_ID = 20 => RecircId(u32 as U32),
        /// MPLS label stack entries, outermost first.
        MPLS = 21 => Mpls(Structs<'a, MplsEntry> as List<MplsEntry>),
        /// What the connection tracker said: see [`CtState`].
        CT_STATE = 22 => CtState(u32 as U32),
        /// The connection's zone.
        CT_ZONE = 23 => CtZone(u16 as U16),
        /// The connection's mark.
        CT_MARK = 24 => CtMark(u32 as U32),
        /// The connection's labels: 128 bits.
        CT_LABELS = 25 => CtLabels([u8; 16] as Array<16>),
        /// The connection's tuple in its original direction.
        CT_ORIG_TUPLE_IPV4 = 26 => CtOrigTupleIpv4(KeyCtTupleIpv4 as Struct<KeyCtTupleIpv4>),
        /// The connection's tuple in its original direction.
        CT_ORIG_TUPLE_IPV6 = 27 => CtOrigTupleIpv6(KeyCtTupleIpv6 as Struct<KeyCtTupleIpv6>),
        /// A network service header.
        NSH = 28 => Nsh(Nest<'a, NshKey<'a>> as Nested<NshKey<'static>>),
        /// The packet type. Not for the kernel: programs use the number among themselves.
        PACKET_TYPE = 29 => PacketType(u32 as Be32),
        /// More of IPv6 neighbour discovery. Not for the kernel: programs use the number among themselves.
        ND_EXTENSIONS = 30 => NdExtensions(&'a [u8] as Bytes),
        /// The kernel's own form of a tunnel. Never on the wire.
        TUNNEL_INFO = 31 => TunnelInfo(&'a [u8] as Bytes),
        /// Which extension headers an IPv6 packet has.
        IPV6_EXTHDRS = 32 => Ipv6Exthdrs(KeyIpv6Exthdrs as Struct<KeyIpv6Exthdrs>),
    }
}

attributes! {
    /// What [`Action::SetMasked`](super::Action::SetMasked) writes: a value, and the mask of the bits that it writes.
    ///
    /// Numbers and names are those of [`Key`]; a tunnel cannot be written in part.
    pub enum MaskedKey = "ovs_key_attr", "OVS_KEY_ATTR_" {
        /// See [`Key::Priority`].
        PRIORITY = 2 => Priority(Masked<u32> as Twice<U32>),
        /// See [`Key::Ethernet`].
        ETHERNET = 4 => Ethernet(Masked<KeyEthernet> as Twice<Struct<KeyEthernet>>),
        /// See [`Key::Ipv4`].
        IPV4 = 7 => Ipv4(Masked<KeyIpv4> as Twice<Struct<KeyIpv4>>),
        /// See [`Key::Ipv6`].
        IPV6 = 8 => Ipv6(Masked<KeyIpv6> as Twice<Struct<KeyIpv6>>),
        /// See [`Key::Tcp`].
        TCP = 9 => Tcp(Masked<KeyPorts> as Twice<Struct<KeyPorts>>),
        /// See [`Key::Udp`].
        UDP = 10 => Udp(Masked<KeyPorts> as Twice<Struct<KeyPorts>>),
        /// See [`Key::Icmp`].
        ICMP = 11 => Icmp(Masked<KeyIcmp> as Twice<Struct<KeyIcmp>>),
        /// See [`Key::Icmpv6`].
        ICMPV6 = 12 => Icmpv6(Masked<KeyIcmp> as Twice<Struct<KeyIcmp>>),
        /// See [`Key::Arp`].
        ARP = 13 => Arp(Masked<KeyArp> as Twice<Struct<KeyArp>>),
        /// See [`Key::Nd`].
        ND = 14 => Nd(Masked<KeyNd> as Twice<Struct<KeyNd>>),
        /// See [`Key::SkbMark`].
        SKB_MARK = 15 => SkbMark(Masked<u32> as Twice<U32>),
        /// See [`Key::Sctp`].
        SCTP = 17 => Sctp(Masked<KeyPorts> as Twice<Struct<KeyPorts>>),
        /// See [`Key::Mpls`]: the outermost entry.
        MPLS = 21 => Mpls(Masked<MplsEntry> as Twice<Struct<MplsEntry>>),
        /// See [`Key::CtZone`].
        CT_ZONE = 23 => CtZone(Masked<u16> as Twice<U16>),
        /// See [`Key::CtMark`].
        CT_MARK = 24 => CtMark(Masked<u32> as Twice<U32>),
        /// See [`Key::CtLabels`].
        CT_LABELS = 25 => CtLabels(Masked<[u8; 16]> as Twice<Array<16>>),
        /// See [`Key::Nsh`]: each structure in it comes with its mask.
        NSH = 28 => Nsh(Nest<'a, MaskedNshKey<'a>> as Nested<MaskedNshKey<'static>>),
    }
}

structures! {
    /// Ethernet addresses.
    pub struct KeyEthernet = "ovs_key_ethernet" {
        /// The source.
        src: [u8; 6] as Octets<6> = "eth_src",
        /// The destination.
        dst: [u8; 6] as Octets<6> = "eth_dst",
    }

    /// An MPLS label stack entry.
    pub struct MplsEntry = "ovs_key_mpls" {
        /// Label (20 bits), traffic class (3), bottom of stack (1), time to live (8), from the top.
        lse: u32 as FieldBe32 = "mpls_lse",
    }

    /// What of an IPv4 header is matched.
    pub struct KeyIpv4 = "ovs_key_ipv4" {
        /// The source.
        src: [u8; 4] as Octets<4, 4> = "ipv4_src",
        /// The destination.
        dst: [u8; 4] as Octets<4, 4> = "ipv4_dst",
        /// The protocol.
        proto: u8 as FieldU8 = "ipv4_proto",
        /// Type of service: DSCP and ECN.
        tos: u8 as FieldU8 = "ipv4_tos",
        /// Time to live.
        ttl: u8 as FieldU8 = "ipv4_ttl",
        /// Whether it is a fragment: one of [`FRAGMENTS`].
        frag: u8 as FieldU8 = "ipv4_frag",
    }

    /// What of an IPv6 header is matched.
    pub struct KeyIpv6 = "ovs_key_ipv6" {
        /// The source.
        src: [u8; 16] as Octets<16, 4> = "ipv6_src",
        /// The destination.
        dst: [u8; 16] as Octets<16, 4> = "ipv6_dst",
        /// The flow label: the lower 20 bits.
        label: u32 as FieldBe32 = "ipv6_label",
        /// The protocol behind the extension headers.
        proto: u8 as FieldU8 = "ipv6_proto",
        /// The traffic class.
        tclass: u8 as FieldU8 = "ipv6_tclass",
        /// The hop limit.
        hlimit: u8 as FieldU8 = "ipv6_hlimit",
        /// Whether it is a fragment: one of [`FRAGMENTS`].
        frag: u8 as FieldU8 = "ipv6_frag",
    }

    /// Which extension headers an IPv6 packet has, as OpenFlow has it (`OFPIEH_*`).
    pub struct KeyIpv6Exthdrs = "ovs_key_ipv6_exthdrs" {
        /// The bits.
        hdrs: u16 as FieldU16 = "hdrs",
    }

    /// Ports of TCP, UDP (`ovs_key_udp`) or SCTP (`ovs_key_sctp`).
    pub struct KeyPorts = "ovs_key_tcp" {
        /// The source.
        src: u16 as FieldBe16 = "tcp_src",
        /// The destination.
        dst: u16 as FieldBe16 = "tcp_dst",
    }

    /// Type and code of ICMP or ICMPv6 (`ovs_key_icmpv6`).
    pub struct KeyIcmp = "ovs_key_icmp" {
        /// The type.
        ty: u8 as FieldU8 = "icmp_type",
        /// The code.
        code: u8 as FieldU8 = "icmp_code",
    }

    /// An ARP packet.
    pub struct KeyArp = "ovs_key_arp" {
        /// The sender's IP address.
        sip: [u8; 4] as Octets<4, 4> = "arp_sip",
        /// The target's IP address.
        tip: [u8; 4] as Octets<4, 4> = "arp_tip",
        /// The operation.
        op: u16 as FieldBe16 = "arp_op",
        /// The sender's Ethernet address.
        sha: [u8; 6] as Octets<6> = "arp_sha",
        /// The target's Ethernet address.
        tha: [u8; 6] as Octets<6> = "arp_tha",
    }

    /// IPv6 neighbour discovery.
    pub struct KeyNd = "ovs_key_nd" {
        /// The target.
        target: [u8; 16] as Octets<16, 4> = "nd_target",
        /// The source link-layer address.
        sll: [u8; 6] as Octets<6> = "nd_sll",
        /// The target link-layer address.
        tll: [u8; 6] as Octets<6> = "nd_tll",
    }

    /// The tuple of a connection over IPv4.
    pub struct KeyCtTupleIpv4 = "ovs_key_ct_tuple_ipv4" {
        /// The source.
        src: [u8; 4] as Octets<4, 4> = "ipv4_src",
        /// The destination.
        dst: [u8; 4] as Octets<4, 4> = "ipv4_dst",
        /// The source port, or ICMP type.
        src_port: u16 as FieldBe16 = "src_port",
        /// The destination port, or ICMP code.
        dst_port: u16 as FieldBe16 = "dst_port",
        /// The protocol.
        proto: u8 as FieldU8 = "ipv4_proto",
    }

    /// The tuple of a connection over IPv6.
    pub struct KeyCtTupleIpv6 = "ovs_key_ct_tuple_ipv6" {
        /// The source.
        src: [u8; 16] as Octets<16, 4> = "ipv6_src",
        /// The destination.
        dst: [u8; 16] as Octets<16, 4> = "ipv6_dst",
        /// The source port, or ICMP type.
        src_port: u16 as FieldBe16 = "src_port",
        /// The destination port, or ICMP code.
        dst_port: u16 as FieldBe16 = "dst_port",
        /// The protocol.
        proto: u8 as FieldU8 = "ipv6_proto",
    }
}

/// What the fragment fields hold (`enum ovs_frag_type`): not a fragment, the first, a later one.
pub const FRAGMENTS: [u8; 3] = [0, 1, 2];

bitflags::bitflags! {
    /// What the connection tracker says of a packet (`OVS_CS_F_*`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct CtState: u32 {
        /// It begins a connection.
        const NEW = 0x01;
        /// It belongs to one.
        const ESTABLISHED = 0x02;
        /// It is related to one.
        const RELATED = 0x04;
        /// It is in the reply direction.
        const REPLY_DIR = 0x08;
        /// It could not be tracked.
        const INVALID = 0x10;
        /// It went through the tracker.
        const TRACKED = 0x20;
        /// Its source was translated.
        const SRC_NAT = 0x40;
        /// Its destination was translated.
        const DST_NAT = 0x80;
        /// Other bits are kept as they are.
        const _ = !0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attr::{Attributes, Typed, Writer};
    use crate::error::DecodeErrorKind;
    use proptest::prelude::*;

    #[test]
    fn bytes_of_a_key() {
        let mut buffer = Vec::new();
        let ipv4 = KeyIpv4 { src: [10, 0, 0, 1], dst: [10, 0, 0, 2], proto: 6, tos: 0x10, ttl: 64, frag: 0 };
        let mut writer = Writer::new(&mut buffer);
        writer.put(Key::Ethertype(0x0800)).unwrap().put(Key::Ipv4(ipv4)).unwrap();
        writer.put(Key::Tcp(KeyPorts { src: 0x1234, dst: 80 })).unwrap();
        let head = |length: u16, kind: u16| [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        let expected = [
            head(6, 6),
            vec![8, 0, 0, 0],
            head(16, 7),
            vec![10, 0, 0, 1, 10, 0, 0, 2, 6, 0x10, 64, 0],
            head(8, 9),
            vec![0x12, 0x34, 0, 80],
        ];
        assert_eq!(buffer, expected.concat());
        let read: Vec<_> = Keys::new(&buffer).iter().collect::<Result<_, _>>().unwrap();
        assert_eq!(read, [Key::Ethertype(0x0800), Key::Ipv4(ipv4), Key::Tcp(KeyPorts { src: 0x1234, dst: 80 })]);
    }

    #[test]
    fn a_structure_of_the_wrong_size_is_an_error_with_its_place() {
        let mut buffer = Vec::new();
        let inner = |vlan: &mut Writer<'_>| vlan.put(Key::InPort(1))?.bytes(Key::IPV6, &[0; 39]).map(drop);
        Writer::new(&mut buffer).nest(Key::ENCAP, inner).unwrap();
        let Ok(Key::Encap(encap)) = Keys::new(&buffer).iter().next().unwrap() else { panic!() };
        let mut walk = encap.iter();
        assert_eq!(walk.next(), Some(Ok(Key::InPort(1))));
        let error = walk.next().unwrap().unwrap_err();
        assert_eq!(error.offset, 16);
        assert_eq!(error.kind, DecodeErrorKind::WrongSize { attribute: Key::IPV6, expected: 40, found: 39 });
        assert_eq!(walk.next(), None);
    }

    #[test]
    fn masked_values_have_twice_the_size() {
        let mut buffer = Vec::new();
        let ports = Masked { value: KeyPorts { src: 0, dst: 443 }, mask: KeyPorts { src: 0, dst: 0xffff } };
        let mut writer = Writer::new(&mut buffer);
        writer.put(MaskedKey::Tcp(ports)).unwrap();
        writer.put(MaskedKey::SkbMark(Masked { value: 1, mask: 0xff })).unwrap();
        assert_eq!(buffer[4..12], [0, 0, 1, 187, 0, 0, 255, 255]);
        let read: Vec<_> = Nest::new(&buffer).iter().collect::<Result<Vec<MaskedKey<'_>>, _>>().unwrap();
        assert_eq!(read, [MaskedKey::Tcp(ports), MaskedKey::SkbMark(Masked { value: 1, mask: 0xff })]);
        let plain = Attributes::new(&buffer, 0).next().unwrap().unwrap();
        assert!(Key::decode(&plain).is_err());
    }

    proptest! {
        #[test]
        fn what_was_read_is_written_the_same(bytes in prop::collection::vec((0u16..40, prop::collection::vec(any::<u8>(), 0..44)), 0..8)) {
            let mut buffer = Vec::new();
            let mut writer = Writer::new(&mut buffer);
            for (kind, payload) in &bytes {
                writer.bytes(*kind, payload).unwrap();
            }
            for attribute in Attributes::new(&buffer, 0) {
                let attribute = attribute.unwrap();
                let Ok(key) = Key::decode(&attribute) else { continue };
                let mut again = Vec::new();
                Writer::new(&mut again).put(key).unwrap();
                let read = Keys::new(&again).iter().next().unwrap().unwrap();
                prop_assert_eq!(read, key);
                prop_assert_eq!(read.kind(), attribute.kind());
            }
        }
    }
}

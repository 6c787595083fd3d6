//! The rows. To add a field: give it a place in the [`FlowKey`], and a row here.
//!
//! A row may stand for a family of fields that differ by a number: its members follow one another in the key, in the
//! wire formats' numbers and in their names.

use core::mem::offset_of;

use super::Format::{
    CtState, Ethernet, Fragment, Hexadecimal, Ipv4, Ipv6, PacketType, Port, Port16, TcpFlags, TunnelFlags,
};
use super::row::Row;
use super::{Field, KeyAttr, Prereq};
use crate::key::FlowKey;

macro_rules! fields {
    ($(#[doc = $doc:literal] $first:ident $($more:ident)* = $row:expr;)+) => {
        /// A match field. [`info`](FieldId::info) gives its row of the table.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum FieldId {
            $(#[doc = $doc] $first, $(#[doc = $doc] $more,)*)+
        }

        pub(super) const IDS: &[FieldId] = &[$(FieldId::$first, $(FieldId::$more,)*)+];

        /// The rows, for the indexes that are built when this is compiled.
        pub(super) const TABLE: [Field; IDS.len()] = [
            $($row.member(0), $($row.member(FieldId::$more as usize - FieldId::$first as usize),)*)+
        ];

        static ROWS: [Field; IDS.len()] = TABLE;

        /// The first field of every row.
        #[cfg(test)]
        pub(super) const DEFINITIONS: &[FieldId] = &[$(FieldId::$first,)+];
    };
}

impl FieldId {
    /// All fields, in the order of the table.
    pub fn all() -> impl DoubleEndedIterator<Item = FieldId> + ExactSizeIterator + Clone {
        IDS.iter().copied()
    }

    /// The field's row.
    #[expect(clippy::indexing_slicing, reason = "there are as many rows as fields")]
    pub const fn info(self) -> &'static Field {
        &ROWS[self as usize]
    }

    /// The tunnel option field number `n`, of which there are 64.
    pub fn tun_metadata(n: usize) -> Option<FieldId> {
        IDS.get(FieldId::TunMetadata0 as usize + n).copied().filter(|f| *f <= FieldId::TunMetadata63)
    }

    /// The number of a tunnel option field; none for all others.
    pub const fn tun_metadata_index(self) -> Option<usize> {
        let n = self as usize;
        let (first, last) = (FieldId::TunMetadata0 as usize, FieldId::TunMetadata63 as usize);
        if n >= first && n <= last { Some(n - first) } else { None }
    }

    /// Register number `n`, of which there are [`REGISTERS`](crate::key::REGISTERS).
    pub fn reg(n: usize) -> Option<FieldId> {
        IDS.get(FieldId::Reg0 as usize + n).copied().filter(|f| *f <= FieldId::Reg31)
    }
}

/// The place of a key's member.
macro_rules! at {
    ($member:ident, $storage:expr) => {
        Row::at(offset_of!(FlowKey, $member), $storage)
    };
}

/// Names that end in numbers.
macro_rules! numbered {
    ($prefix:literal: $($n:literal)+) => {
        &[$(concat!($prefix, $n)),+]
    };
}

const fn register(offset: usize, bytes: usize) -> Row {
    Row::at(offset_of!(FlowKey, regs) + offset, bytes).mask().rw().fmt(Hexadecimal)
}

fields! {
    /// Hash that the datapath computed.
    DpHash = at!(dp_hash, 4).name("dp_hash").mask().fmt(Hexadecimal).wire("NXOXM_ET_DP_HASH", 0).wire("NXM_NX_DP_HASH", 35).attr(KeyAttr::DpHash);
    /// Recirculation id.
    RecircId = at!(recirc_id, 4).name("recirc_id").wire("NXM_NX_RECIRC_ID", 36).attr(KeyAttr::RecircId);
    /// Type of the packet's first header.
    PacketType = at!(packet_type, 4).name("packet_type").fmt(PacketType).wire_since("OXM_OF_PACKET_TYPE", 44, 6).attr(KeyAttr::PacketType);
    /// The conjunction that the packet completed.
    ConjId = at!(conj_id, 4).name("conj_id").wire("NXM_NX_CONJ_ID", 37);

    /// Tunnel id: VNI, GRE key, TEID.
    TunId = at!(tun_id, 8).name("tun_id").alias("tunnel_id").mask().rw().fmt(Hexadecimal).wire("NXM_NX_TUN_ID", 16).wire_since("OXM_OF_TUNNEL_ID", 38, 4).attr(KeyAttr::Tunnel);
    /// IPv4 source of the tunnel's outer header.
    TunSrc = at!(tun_src, 4).name("tun_src").mask().rw().fmt(Ipv4).wire("NXM_NX_TUN_IPV4_SRC", 31).attr(KeyAttr::Tunnel);
    /// IPv4 destination of the tunnel's outer header.
    TunDst = at!(tun_dst, 4).name("tun_dst").mask().rw().fmt(Ipv4).wire("NXM_NX_TUN_IPV4_DST", 32).attr(KeyAttr::Tunnel);
    /// IPv6 source of the tunnel's outer header.
    TunIpv6Src = at!(tun_ipv6_src, 16).name("tun_ipv6_src").mask().rw().fmt(Ipv6).wire("NXM_NX_TUN_IPV6_SRC", 109).attr(KeyAttr::Tunnel);
    /// IPv6 destination of the tunnel's outer header.
    TunIpv6Dst = at!(tun_ipv6_dst, 16).name("tun_ipv6_dst").mask().rw().fmt(Ipv6).wire("NXM_NX_TUN_IPV6_DST", 110).attr(KeyAttr::Tunnel);
    /// The tunnel flags that a flow can match: OAM.
    TunFlags = at!(tun_flags, 1).name("tun_flags").part(0, 1).wire_bytes(2).mask().rw().fmt(TunnelFlags).wire("NXM_NX_TUN_FLAGS", 104).attr(KeyAttr::Tunnel);
    /// TTL or hop limit of the tunnel's outer header.
    TunTtl = at!(tun_ttl, 1).name("tun_ttl").attr(KeyAttr::Tunnel);
    /// TOS or traffic class of the tunnel's outer header.
    TunTos = at!(tun_tos, 1).name("tun_tos").attr(KeyAttr::Tunnel);
    /// VXLAN group policy id.
    TunGbpId = at!(tun_gbp_id, 2).name("tun_gbp_id").mask().rw().wire("NXM_NX_TUN_GBP_ID", 38).attr(KeyAttr::Tunnel);
    /// VXLAN group policy flags.
    TunGbpFlags = at!(tun_gbp_flags, 1).name("tun_gbp_flags").mask().rw().fmt(Hexadecimal).wire("NXM_NX_TUN_GBP_FLAGS", 39).attr(KeyAttr::Tunnel);
    /// ERSPAN index (version 1).
    TunErspanIdx = at!(tun_erspan, 4).name("tun_erspan_idx").part(0, 20).mask().rw().fmt(Hexadecimal).wire("NXOXM_ET_ERSPAN_IDX", 11).attr(KeyAttr::Tunnel);
    /// ERSPAN version.
    TunErspanVer = at!(tun_erspan, 4).name("tun_erspan_ver").part(27, 4).wire_bytes(1).mask().rw().wire("NXOXM_ET_ERSPAN_VER", 12).attr(KeyAttr::Tunnel);
    /// ERSPAN direction (version 2): 0 is ingress.
    TunErspanDir = at!(tun_erspan, 4).name("tun_erspan_dir").part(26, 1).wire_bytes(1).mask().rw().wire("NXOXM_ET_ERSPAN_DIR", 13).attr(KeyAttr::Tunnel);
    /// ERSPAN hardware id (version 2).
    TunErspanHwid = at!(tun_erspan, 4).name("tun_erspan_hwid").part(20, 6).wire_bytes(1).mask().rw().fmt(Hexadecimal).wire("NXOXM_ET_ERSPAN_HWID", 14).attr(KeyAttr::Tunnel);
    /// First byte of the GTP-U header.
    TunGtpuFlags = at!(tun_gtpu_flags, 1).name("tun_gtpu_flags").mask().fmt(Hexadecimal).wire("NXOXM_ET_GTPU_FLAGS", 15).attr(KeyAttr::Tunnel);
    /// GTP-U message type.
    TunGtpuMsgtype = at!(tun_gtpu_msgtype, 1).name("tun_gtpu_msgtype").mask().wire("NXOXM_ET_GTPU_MSGTYPE", 16).attr(KeyAttr::Tunnel);
    /// A tunnel option, at the place that a table of options gives it.
    TunMetadata0 TunMetadata1 TunMetadata2 TunMetadata3 TunMetadata4 TunMetadata5 TunMetadata6 TunMetadata7
    TunMetadata8 TunMetadata9 TunMetadata10 TunMetadata11 TunMetadata12 TunMetadata13 TunMetadata14 TunMetadata15
    TunMetadata16 TunMetadata17 TunMetadata18 TunMetadata19 TunMetadata20 TunMetadata21 TunMetadata22 TunMetadata23
    TunMetadata24 TunMetadata25 TunMetadata26 TunMetadata27 TunMetadata28 TunMetadata29 TunMetadata30 TunMetadata31
    TunMetadata32 TunMetadata33 TunMetadata34 TunMetadata35 TunMetadata36 TunMetadata37 TunMetadata38 TunMetadata39
    TunMetadata40 TunMetadata41 TunMetadata42 TunMetadata43 TunMetadata44 TunMetadata45 TunMetadata46 TunMetadata47
    TunMetadata48 TunMetadata49 TunMetadata50 TunMetadata51 TunMetadata52 TunMetadata53 TunMetadata54 TunMetadata55
    TunMetadata56 TunMetadata57 TunMetadata58 TunMetadata59 TunMetadata60 TunMetadata61 TunMetadata62 TunMetadata63
        = Row::tunnel_option().names(numbered!["tun_metadata":
            0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
            32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63
        ]).wires(numbered!["NXM_NX_TUN_METADATA":
            0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
            32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63
        ], 40).mask().rw().fmt(Hexadecimal).attr(KeyAttr::Tunnel);

    /// Pipeline metadata.
    Metadata = at!(metadata, 8).name("metadata").mask().rw().fmt(Hexadecimal).wire_since("OXM_OF_METADATA", 2, 3);
    /// Ingress port in the 16 bits of OpenFlow 1.0; another view of [`InPortOxm`](FieldId::InPortOxm).
    InPort = at!(in_port, 4).name("in_port").port16().rw().fmt(Port16).wire("NXM_OF_IN_PORT", 0).attr(KeyAttr::InPort);
    /// Ingress port.
    InPortOxm = at!(in_port, 4).name("in_port_oxm").rw().fmt(Port).wire_since("OXM_OF_IN_PORT", 0, 3).attr(KeyAttr::InPort);
    /// Port that the action set sends to.
    ActsetOutput = at!(actset_output, 4).name("actset_output").fmt(Port).wire_since("ONFOXM_ET_ACTSET_OUTPUT", 43, 4).wire_since("OXM_OF_ACTSET_OUTPUT", 43, 6);
    /// Packet priority.
    SkbPriority = at!(skb_priority, 4).name("skb_priority").fmt(Hexadecimal).attr(KeyAttr::Priority);
    /// Packet mark.
    PktMark = at!(pkt_mark, 4).name("pkt_mark").mask().rw().fmt(Hexadecimal).wire("NXM_NX_PKT_MARK", 33).attr(KeyAttr::SkbMark);

    /// Connection state.
    CtState = at!(ct_state, 1).name("ct_state").bits(32).wire_bytes(4).mask().fmt(CtState).wire("NXM_NX_CT_STATE", 105).attr(KeyAttr::CtState);
    /// Connection tracking zone.
    CtZone = at!(ct_zone, 2).name("ct_zone").fmt(Hexadecimal).wire("NXM_NX_CT_ZONE", 106).attr(KeyAttr::CtZone);
    /// Connection mark.
    CtMark = at!(ct_mark, 4).name("ct_mark").mask().rw().fmt(Hexadecimal).wire("NXM_NX_CT_MARK", 107).attr(KeyAttr::CtMark);
    /// Connection label.
    CtLabel = at!(ct_label, 16).name("ct_label").mask().rw().fmt(Hexadecimal).wire("NXM_NX_CT_LABEL", 108).attr(KeyAttr::CtLabels);
    /// IP protocol of the connection's original direction.
    CtNwProto = at!(ct_nw_proto, 1).name("ct_nw_proto").needs(Prereq::Ct).wire("NXM_NX_CT_NW_PROTO", 119).attr(KeyAttr::CtOrigTupleIpv4);
    /// IPv4 source of the original direction.
    CtNwSrc = at!(ct_nw_src, 4).name("ct_nw_src").mask().needs(Prereq::Ct).fmt(Ipv4).wire("NXM_NX_CT_NW_SRC", 120).attr(KeyAttr::CtOrigTupleIpv4);
    /// IPv4 destination of the original direction.
    CtNwDst = at!(ct_nw_dst, 4).name("ct_nw_dst").mask().needs(Prereq::Ct).fmt(Ipv4).wire("NXM_NX_CT_NW_DST", 121).attr(KeyAttr::CtOrigTupleIpv4);
    /// IPv6 source of the original direction.
    CtIpv6Src = at!(ct_ipv6_src, 16).name("ct_ipv6_src").mask().needs(Prereq::Ct).fmt(Ipv6).wire("NXM_NX_CT_IPV6_SRC", 122).attr(KeyAttr::CtOrigTupleIpv6);
    /// IPv6 destination of the original direction.
    CtIpv6Dst = at!(ct_ipv6_dst, 16).name("ct_ipv6_dst").mask().needs(Prereq::Ct).fmt(Ipv6).wire("NXM_NX_CT_IPV6_DST", 123).attr(KeyAttr::CtOrigTupleIpv6);
    /// L4 source port of the original direction.
    CtTpSrc = at!(ct_tp_src, 2).name("ct_tp_src").mask().needs(Prereq::Ct).wire("NXM_NX_CT_TP_SRC", 124).attr(KeyAttr::CtOrigTupleIpv4);
    /// L4 destination port of the original direction.
    CtTpDst = at!(ct_tp_dst, 2).name("ct_tp_dst").mask().needs(Prereq::Ct).wire("NXM_NX_CT_TP_DST", 125).attr(KeyAttr::CtOrigTupleIpv4);

    /// A 32-bit register.
    Reg0 Reg1 Reg2 Reg3 Reg4 Reg5 Reg6 Reg7 Reg8 Reg9 Reg10 Reg11 Reg12 Reg13 Reg14 Reg15
        = register(0, 4).names(numbered!["reg": 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15])
            .wires(numbered!["NXM_NX_REG": 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15], 0);
    /// A 32-bit register of the upper half.
    Reg16 Reg17 Reg18 Reg19 Reg20 Reg21 Reg22 Reg23 Reg24 Reg25 Reg26 Reg27 Reg28 Reg29 Reg30 Reg31
        = register(64, 4).names(numbered!["reg": 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31])
            .wires(numbered!["NXOXM_ET_REG": 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31], 17);
    /// Two registers as one, the lower number in the upper half.
    Xreg0 Xreg1 Xreg2 Xreg3 Xreg4 Xreg5 Xreg6 Xreg7 Xreg8 Xreg9 Xreg10 Xreg11 Xreg12 Xreg13 Xreg14 Xreg15
        = register(0, 8).names(numbered!["xreg": 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15])
            .wires_since(numbered!["OXM_OF_PKT_REG": 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15], 0, 4);
    /// Four registers as one, the lowest number in the uppermost bits.
    Xxreg0 Xxreg1 Xxreg2 Xxreg3
        = register(0, 16).names(numbered!["xxreg": 0 1 2 3]).wires(numbered!["NXM_NX_XXREG": 0 1 2 3], 111);
    /// Four registers of the upper half as one.
    Xxreg4 Xxreg5 Xxreg6 Xxreg7
        = register(64, 16).names(numbered!["xxreg": 4 5 6 7]).wires(numbered!["NXOXM_ET_XXREG": 4 5 6 7], 33);

    /// Ethernet source.
    EthSrc = at!(eth_src, 6).name("eth_src").alias("dl_src").mask().rw().needs(Prereq::Ethernet).fmt(Ethernet).wire("NXM_OF_ETH_SRC", 2).wire_since("OXM_OF_ETH_SRC", 4, 3).attr(KeyAttr::Ethernet);
    /// Ethernet destination.
    EthDst = at!(eth_dst, 6).name("eth_dst").alias("dl_dst").mask().rw().needs(Prereq::Ethernet).fmt(Ethernet).wire("NXM_OF_ETH_DST", 1).wire_since("OXM_OF_ETH_DST", 3, 3).attr(KeyAttr::Ethernet);
    /// Ethertype behind the VLAN tags.
    EthType = at!(eth_type, 2).name("eth_type").alias("dl_type").needs(Prereq::Ethernet).fmt(Hexadecimal).wire("NXM_OF_ETH_TYPE", 3).wire_since("OXM_OF_ETH_TYPE", 5, 3).attr(KeyAttr::EtherType);
    /// Outer VLAN tag with the present bit, as OpenFlow 1.0 and Nicira see it.
    VlanTci = at!(vlan_tci, 2).name("vlan_tci").mask().rw().needs(Prereq::Ethernet).fmt(Hexadecimal).wire("NXM_OF_VLAN_TCI", 4).attr(KeyAttr::Vlan);
    /// VLAN id of OpenFlow 1.0: no present bit.
    DlVlan = at!(vlan_tci, 2).name("dl_vlan").part(0, 12).rw().needs(Prereq::Ethernet).attr(KeyAttr::Vlan);
    /// VLAN id of OpenFlow 1.2 and later, 12 bits, with the present bit above them.
    VlanVid = at!(vlan_tci, 2).name("vlan_vid").within(0x1fff).bits(12).mask().rw().needs(Prereq::Ethernet).wire_since("OXM_OF_VLAN_VID", 6, 3).attr(KeyAttr::Vlan);
    /// VLAN priority of OpenFlow 1.0, which a match may name without a tag.
    DlVlanPcp = at!(vlan_tci, 2).name("dl_vlan_pcp").part(13, 3).wire_bytes(1).rw().needs(Prereq::Ethernet).attr(KeyAttr::Vlan);
    /// VLAN priority.
    VlanPcp = at!(vlan_tci, 2).name("vlan_pcp").part(13, 3).wire_bytes(1).rw().needs(Prereq::Vlan).wire_since("OXM_OF_VLAN_PCP", 7, 3).attr(KeyAttr::Vlan);
    /// MPLS label of the outermost entry.
    MplsLabel = at!(mpls_lse, 4).name("mpls_label").part(12, 20).rw().needs(Prereq::Mpls).wire_since("OXM_OF_MPLS_LABEL", 34, 3).attr(KeyAttr::Mpls);
    /// MPLS traffic class.
    MplsTc = at!(mpls_lse, 4).name("mpls_tc").part(9, 3).wire_bytes(1).rw().needs(Prereq::Mpls).wire_since("OXM_OF_MPLS_TC", 35, 3).attr(KeyAttr::Mpls);
    /// MPLS bottom of stack.
    MplsBos = at!(mpls_lse, 4).name("mpls_bos").part(8, 1).wire_bytes(1).needs(Prereq::Mpls).wire_since("OXM_OF_MPLS_BOS", 36, 4).attr(KeyAttr::Mpls);
    /// MPLS TTL.
    MplsTtl = at!(mpls_lse, 4).name("mpls_ttl").part(0, 8).wire_bytes(1).rw().needs(Prereq::Mpls).wire("NXM_NX_MPLS_TTL", 30).attr(KeyAttr::Mpls);

    /// IPv4 source.
    NwSrc = at!(nw_src, 4).name("ip_src").alias("nw_src").mask().rw().needs(Prereq::Ipv4).fmt(Ipv4).wire("NXM_OF_IP_SRC", 7).wire_since("OXM_OF_IPV4_SRC", 11, 3).attr(KeyAttr::Ipv4);
    /// IPv4 destination.
    NwDst = at!(nw_dst, 4).name("ip_dst").alias("nw_dst").mask().rw().needs(Prereq::Ipv4).fmt(Ipv4).wire("NXM_OF_IP_DST", 8).wire_since("OXM_OF_IPV4_DST", 12, 3).attr(KeyAttr::Ipv4);
    /// IPv6 source.
    Ipv6Src = at!(ipv6_src, 16).name("ipv6_src").mask().rw().needs(Prereq::Ipv6).fmt(Ipv6).wire("NXM_NX_IPV6_SRC", 19).wire_since("OXM_OF_IPV6_SRC", 26, 3).attr(KeyAttr::Ipv6);
    /// IPv6 destination.
    Ipv6Dst = at!(ipv6_dst, 16).name("ipv6_dst").mask().rw().needs(Prereq::Ipv6).fmt(Ipv6).wire("NXM_NX_IPV6_DST", 20).wire_since("OXM_OF_IPV6_DST", 27, 3).attr(KeyAttr::Ipv6);
    /// IPv6 flow label.
    Ipv6Label = at!(ipv6_label, 4).name("ipv6_label").part(0, 20).mask().rw().needs(Prereq::Ipv6).fmt(Hexadecimal).wire("NXM_NX_IPV6_LABEL", 27).wire_since("OXM_OF_IPV6_FLABEL", 28, 3).attr(KeyAttr::Ipv6);
    /// IP protocol.
    NwProto = at!(nw_proto, 1).name("nw_proto").alias("ip_proto").needs(Prereq::Ip).wire("NXM_OF_IP_PROTO", 6).wire_since("OXM_OF_IP_PROTO", 10, 3).attr(KeyAttr::Ipv4);
    /// The TOS byte without ECN.
    NwTos = at!(nw_tos, 1).name("nw_tos").within(0xfc).rw().needs(Prereq::Ip).wire("NXM_OF_IP_TOS", 5).attr(KeyAttr::Ipv4);
    /// Differentiated services code point.
    IpDscp = at!(nw_tos, 1).name("ip_dscp").part(2, 6).rw().needs(Prereq::Ip).wire_since("OXM_OF_IP_DSCP", 8, 3).attr(KeyAttr::Ipv4);
    /// Explicit congestion notification.
    NwEcn = at!(nw_tos, 1).name("nw_ecn").alias("ip_ecn").part(0, 2).rw().needs(Prereq::Ip).wire("NXM_NX_IP_ECN", 28).wire_since("OXM_OF_IP_ECN", 9, 3).attr(KeyAttr::Ipv4);
    /// TTL or hop limit.
    NwTtl = at!(nw_ttl, 1).name("nw_ttl").rw().needs(Prereq::Ip).wire("NXM_NX_IP_TTL", 29).attr(KeyAttr::Ipv4);
    /// Fragment bits.
    IpFrag = at!(nw_frag, 1).name("ip_frag").alias("nw_frag").part(0, 2).mask().needs(Prereq::Ip).fmt(Fragment).wire("NXM_NX_IP_FRAG", 26).attr(KeyAttr::Ipv4);

    /// ARP operation.
    ArpOp = at!(nw_proto, 1).name("arp_op").bits(16).wire_bytes(2).rw().needs(Prereq::Arp).wire("NXM_OF_ARP_OP", 15).wire_since("OXM_OF_ARP_OP", 21, 3).attr(KeyAttr::Arp);
    /// ARP sender protocol address.
    ArpSpa = at!(nw_src, 4).name("arp_spa").mask().rw().needs(Prereq::Arp).fmt(Ipv4).wire("NXM_OF_ARP_SPA", 16).wire_since("OXM_OF_ARP_SPA", 22, 3).attr(KeyAttr::Arp);
    /// ARP target protocol address.
    ArpTpa = at!(nw_dst, 4).name("arp_tpa").mask().rw().needs(Prereq::Arp).fmt(Ipv4).wire("NXM_OF_ARP_TPA", 17).wire_since("OXM_OF_ARP_TPA", 23, 3).attr(KeyAttr::Arp);
    /// ARP sender hardware address.
    ArpSha = at!(arp_sha, 6).name("arp_sha").mask().rw().needs(Prereq::Arp).fmt(Ethernet).wire("NXM_NX_ARP_SHA", 17).wire_since("OXM_OF_ARP_SHA", 24, 3).attr(KeyAttr::Arp);
    /// ARP target hardware address.
    ArpTha = at!(arp_tha, 6).name("arp_tha").mask().rw().needs(Prereq::Arp).fmt(Ethernet).wire("NXM_NX_ARP_THA", 18).wire_since("OXM_OF_ARP_THA", 25, 3).attr(KeyAttr::Arp);

    /// TCP source port.
    TcpSrc = at!(tp_src, 2).name("tcp_src").alias("tp_src").mask().rw().needs(Prereq::Tcp).wire("NXM_OF_TCP_SRC", 9).wire_since("OXM_OF_TCP_SRC", 13, 3).attr(KeyAttr::Tcp);
    /// TCP destination port.
    TcpDst = at!(tp_dst, 2).name("tcp_dst").alias("tp_dst").mask().rw().needs(Prereq::Tcp).wire("NXM_OF_TCP_DST", 10).wire_since("OXM_OF_TCP_DST", 14, 3).attr(KeyAttr::Tcp);
    /// TCP flags.
    TcpFlags = at!(tcp_flags, 2).name("tcp_flags").part(0, 12).mask().needs(Prereq::Tcp).fmt(TcpFlags).wire("NXM_NX_TCP_FLAGS", 34).wire_since("ONFOXM_ET_TCP_FLAGS", 42, 4).wire_since("OXM_OF_TCP_FLAGS", 42, 6).attr(KeyAttr::TcpFlags);
    /// UDP source port.
    UdpSrc = at!(tp_src, 2).name("udp_src").mask().rw().needs(Prereq::Udp).wire("NXM_OF_UDP_SRC", 11).wire_since("OXM_OF_UDP_SRC", 15, 3).attr(KeyAttr::Udp);
    /// UDP destination port.
    UdpDst = at!(tp_dst, 2).name("udp_dst").mask().rw().needs(Prereq::Udp).wire("NXM_OF_UDP_DST", 12).wire_since("OXM_OF_UDP_DST", 16, 3).attr(KeyAttr::Udp);
    /// SCTP source port.
    SctpSrc = at!(tp_src, 2).name("sctp_src").mask().rw().needs(Prereq::Sctp).wire_since("OXM_OF_SCTP_SRC", 17, 3).attr(KeyAttr::Sctp);
    /// SCTP destination port.
    SctpDst = at!(tp_dst, 2).name("sctp_dst").mask().rw().needs(Prereq::Sctp).wire_since("OXM_OF_SCTP_DST", 18, 3).attr(KeyAttr::Sctp);
    /// ICMP type.
    IcmpType = at!(tp_src, 2).name("icmp_type").part(0, 8).wire_bytes(1).rw().needs(Prereq::Icmpv4).wire("NXM_OF_ICMP_TYPE", 13).wire_since("OXM_OF_ICMPV4_TYPE", 19, 3).attr(KeyAttr::Icmp);
    /// ICMP code.
    IcmpCode = at!(tp_dst, 2).name("icmp_code").part(0, 8).wire_bytes(1).rw().needs(Prereq::Icmpv4).wire("NXM_OF_ICMP_CODE", 14).wire_since("OXM_OF_ICMPV4_CODE", 20, 3).attr(KeyAttr::Icmp);
    /// ICMPv6 type.
    Icmpv6Type = at!(tp_src, 2).name("icmpv6_type").part(0, 8).wire_bytes(1).rw().needs(Prereq::Icmpv6).wire("NXM_NX_ICMPV6_TYPE", 21).wire_since("OXM_OF_ICMPV6_TYPE", 29, 3).attr(KeyAttr::Icmpv6);
    /// ICMPv6 code.
    Icmpv6Code = at!(tp_dst, 2).name("icmpv6_code").part(0, 8).wire_bytes(1).rw().needs(Prereq::Icmpv6).wire("NXM_NX_ICMPV6_CODE", 22).wire_since("OXM_OF_ICMPV6_CODE", 30, 3).attr(KeyAttr::Icmpv6);
    /// Target of a neighbour solicitation or advertisement.
    NdTarget = at!(nd_target, 16).name("nd_target").mask().rw().needs(Prereq::Nd).fmt(Ipv6).wire("NXM_NX_ND_TARGET", 23).wire_since("OXM_OF_IPV6_ND_TARGET", 31, 3).attr(KeyAttr::Nd);
    /// Source link-layer address of a neighbour solicitation.
    NdSll = at!(arp_sha, 6).name("nd_sll").mask().rw().needs(Prereq::NdSolicit).fmt(Ethernet).wire("NXM_NX_ND_SLL", 24).wire_since("OXM_OF_IPV6_ND_SLL", 32, 3).attr(KeyAttr::Nd);
    /// Target link-layer address of a neighbour advertisement.
    NdTll = at!(arp_tha, 6).name("nd_tll").mask().rw().needs(Prereq::NdAdvert).fmt(Ethernet).wire("NXM_NX_ND_TLL", 25).wire_since("OXM_OF_IPV6_ND_TLL", 33, 3).attr(KeyAttr::Nd);
    /// The reserved word of a neighbour solicitation or advertisement, which holds the latter's flags.
    NdReserved = at!(igmp_group, 4).name("nd_reserved").rw().needs(Prereq::Nd).wire("ERICOXM_OF_ICMPV6_ND_RESERVED", 1).attr(KeyAttr::NdExtensions);
    /// Type of the first option of a neighbour solicitation or advertisement.
    NdOptionsType = at!(tcp_flags, 2).name("nd_options_type").part(0, 8).wire_bytes(1).rw().needs(Prereq::Nd).wire("ERICOXM_OF_ICMPV6_ND_OPTIONS_TYPE", 2).attr(KeyAttr::NdExtensions);

    /// NSH flags.
    NshFlags = at!(nsh_flags, 1).name("nsh_flags").mask().rw().needs(Prereq::Nsh).wire("NXOXM_NSH_FLAGS", 1).attr(KeyAttr::Nsh);
    /// NSH metadata type.
    NshMdtype = at!(nsh_mdtype, 1).name("nsh_mdtype").needs(Prereq::Nsh).wire("NXOXM_NSH_MDTYPE", 2).attr(KeyAttr::Nsh);
    /// NSH next protocol.
    NshNp = at!(nsh_np, 1).name("nsh_np").needs(Prereq::Nsh).wire("NXOXM_NSH_NP", 3).attr(KeyAttr::Nsh);
    /// NSH service path id.
    NshSpi = at!(nsh_path, 4).name("nsh_spi").alias("nsp").part(8, 24).rw().needs(Prereq::Nsh).fmt(Hexadecimal).wire("NXOXM_NSH_SPI", 4).attr(KeyAttr::Nsh);
    /// NSH service index.
    NshSi = at!(nsh_path, 4).name("nsh_si").alias("nsi").part(0, 8).wire_bytes(1).rw().needs(Prereq::Nsh).wire("NXOXM_NSH_SI", 5).attr(KeyAttr::Nsh);
    /// A context header of NSH metadata type 1.
    NshC1 NshC2 NshC3 NshC4
        = at!(nsh_context, 4).names(numbered!["nsh_c": 1 2 3 4]).aliases(numbered!["nshc": 1 2 3 4]).mask().rw()
            .needs(Prereq::Nsh).fmt(Hexadecimal).wires(numbered!["NXOXM_NSH_C": 1 2 3 4], 6).attr(KeyAttr::Nsh);
    /// NSH TTL.
    NshTtl = at!(nsh_ttl, 1).name("nsh_ttl").within(0x3f).rw().needs(Prereq::Nsh).wire("NXOXM_NSH_TTL", 10).attr(KeyAttr::Nsh);
}

//! The rows. To add a field: give it a place in the [`FlowKey`], and a row here.

use core::mem::offset_of;

use super::Format::{CtState, Ethernet, Fragment, Hexadecimal, Ipv4, Ipv6, PacketType, Port, TcpFlags};
use super::{CLASS_EXPERIMENTER, CLASS_PACKET_REGS, EXPERIMENTER_ONF, Field, KeyAttr, Prereq};
use crate::key::FlowKey;

macro_rules! fields {
    ($($(#[$doc:meta])+ $id:ident = $row:expr;)+) => {
        /// A match field. [`info`](FieldId::info) gives its row of the table.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum FieldId {
            $($(#[$doc])+ $id,)+
        }

        const IDS: &[FieldId] = &[$(FieldId::$id,)+];

        impl FieldId {
            /// All fields, in the order of the table.
            pub fn all() -> impl DoubleEndedIterator<Item = FieldId> + ExactSizeIterator {
                IDS.iter().copied()
            }

            /// The field's row.
            pub const fn info(self) -> &'static Field {
                match self {
                    $(FieldId::$id => const { &$row },)+
                }
            }
        }
    };
}

/// The place of a key's member.
macro_rules! at {
    ($member:ident, $storage:expr) => {
        Field::at(offset_of!(FlowKey, $member), $storage)
    };
}

const REGS: [&str; 16] = [
    "reg0", "reg1", "reg2", "reg3", "reg4", "reg5", "reg6", "reg7", "reg8", "reg9", "reg10", "reg11", "reg12", "reg13",
    "reg14", "reg15",
];
const XREGS: [&str; 8] = ["xreg0", "xreg1", "xreg2", "xreg3", "xreg4", "xreg5", "xreg6", "xreg7"];
const XXREGS: [&str; 4] = ["xxreg0", "xxreg1", "xxreg2", "xxreg3"];

#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
const fn reg(n: usize) -> Field {
    register(n * 4, 4).name(REGS[n]).nxm1(n as u8)
}

#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
const fn xreg(n: usize) -> Field {
    register(n * 8, 8).name(XREGS[n]).oxm_in(CLASS_PACKET_REGS, n as u8, 0, 4)
}

#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
const fn xxreg(n: usize) -> Field {
    register(n * 16, 16).name(XXREGS[n]).nxm1(111 + n as u8)
}

const fn register(offset: usize, bytes: usize) -> Field {
    Field::at(offset_of!(FlowKey, regs) + offset, bytes).mask().rw().fmt(Hexadecimal)
}

fields! {
    /// Hash that the datapath computed.
    DpHash = at!(dp_hash, 4).name("dp_hash").mask().fmt(Hexadecimal).nxm1(35).attr(KeyAttr::DpHash);
    /// Recirculation id.
    RecircId = at!(recirc_id, 4).name("recirc_id").nxm1(36).fmt(Hexadecimal).attr(KeyAttr::RecircId);
    /// Type of the packet's first header.
    PacketType = at!(packet_type, 4).name("packet_type").fmt(PacketType).oxm_since(44, 6).attr(KeyAttr::PacketType);
    /// Pipeline metadata.
    Metadata = at!(metadata, 8).name("metadata").mask().rw().fmt(Hexadecimal).oxm(2);
    /// Ingress port.
    InPort = at!(in_port, 4).name("in_port").alias("in_port_oxm").rw().fmt(Port).oxm(0).attr(KeyAttr::InPort);
    /// Packet priority.
    SkbPriority = at!(skb_priority, 4).name("skb_priority").fmt(Hexadecimal).attr(KeyAttr::Priority);
    /// Packet mark.
    PktMark = at!(pkt_mark, 4).name("pkt_mark").mask().rw().fmt(Hexadecimal).nxm1(33).attr(KeyAttr::SkbMark);

    /// Connection state.
    CtState = at!(ct_state, 1).name("ct_state").wire(4).mask().fmt(CtState).nxm1(105).attr(KeyAttr::CtState);
    /// Connection tracking zone.
    CtZone = at!(ct_zone, 2).name("ct_zone").nxm1(106).attr(KeyAttr::CtZone);
    /// Connection mark.
    CtMark = at!(ct_mark, 4).name("ct_mark").mask().rw().fmt(Hexadecimal).nxm1(107).attr(KeyAttr::CtMark);
    /// Connection label.
    CtLabel = at!(ct_label, 16).name("ct_label").mask().rw().fmt(Hexadecimal).nxm1(108).attr(KeyAttr::CtLabels);
    /// IP protocol of the connection's original direction.
    CtNwProto = at!(ct_nw_proto, 1).name("ct_nw_proto").needs(Prereq::Ct).nxm1(119).attr(KeyAttr::CtOrigTupleIpv4);
    /// IPv4 source of the original direction.
    CtNwSrc = at!(ct_nw_src, 4).name("ct_nw_src").mask().needs(Prereq::Ct).fmt(Ipv4).nxm1(120).attr(KeyAttr::CtOrigTupleIpv4);
    /// IPv4 destination of the original direction.
    CtNwDst = at!(ct_nw_dst, 4).name("ct_nw_dst").mask().needs(Prereq::Ct).fmt(Ipv4).nxm1(121).attr(KeyAttr::CtOrigTupleIpv4);
    /// IPv6 source of the original direction.
    CtIpv6Src = at!(ct_ipv6_src, 16).name("ct_ipv6_src").mask().needs(Prereq::Ct).fmt(Ipv6).nxm1(122).attr(KeyAttr::CtOrigTupleIpv6);
    /// IPv6 destination of the original direction.
    CtIpv6Dst = at!(ct_ipv6_dst, 16).name("ct_ipv6_dst").mask().needs(Prereq::Ct).fmt(Ipv6).nxm1(123).attr(KeyAttr::CtOrigTupleIpv6);
    /// L4 source port of the original direction.
    CtTpSrc = at!(ct_tp_src, 2).name("ct_tp_src").mask().needs(Prereq::Ct).nxm1(124).attr(KeyAttr::CtOrigTupleIpv4);
    /// L4 destination port of the original direction.
    CtTpDst = at!(ct_tp_dst, 2).name("ct_tp_dst").mask().needs(Prereq::Ct).nxm1(125).attr(KeyAttr::CtOrigTupleIpv4);

    /// Register 0.
    Reg0 = reg(0);
    /// Register 1.
    Reg1 = reg(1);
    /// Register 2.
    Reg2 = reg(2);
    /// Register 3.
    Reg3 = reg(3);
    /// Register 4.
    Reg4 = reg(4);
    /// Register 5.
    Reg5 = reg(5);
    /// Register 6.
    Reg6 = reg(6);
    /// Register 7.
    Reg7 = reg(7);
    /// Register 8.
    Reg8 = reg(8);
    /// Register 9.
    Reg9 = reg(9);
    /// Register 10.
    Reg10 = reg(10);
    /// Register 11.
    Reg11 = reg(11);
    /// Register 12.
    Reg12 = reg(12);
    /// Register 13.
    Reg13 = reg(13);
    /// Register 14.
    Reg14 = reg(14);
    /// Register 15.
    Reg15 = reg(15);
    /// Registers 0 and 1 as one.
    Xreg0 = xreg(0);
    /// Registers 2 and 3 as one.
    Xreg1 = xreg(1);
    /// Registers 4 and 5 as one.
    Xreg2 = xreg(2);
    /// Registers 6 and 7 as one.
    Xreg3 = xreg(3);
    /// Registers 8 and 9 as one.
    Xreg4 = xreg(4);
    /// Registers 10 and 11 as one.
    Xreg5 = xreg(5);
    /// Registers 12 and 13 as one.
    Xreg6 = xreg(6);
    /// Registers 14 and 15 as one.
    Xreg7 = xreg(7);
    /// Registers 0 to 3 as one.
    Xxreg0 = xxreg(0);
    /// Registers 4 to 7 as one.
    Xxreg1 = xxreg(1);
    /// Registers 8 to 11 as one.
    Xxreg2 = xxreg(2);
    /// Registers 12 to 15 as one.
    Xxreg3 = xxreg(3);

    /// Ethernet source.
    EthSrc = at!(eth_src, 6).name("eth_src").alias("dl_src").mask().rw().needs(Prereq::Ethernet).fmt(Ethernet).nxm0(2).oxm(4).attr(KeyAttr::Ethernet);
    /// Ethernet destination.
    EthDst = at!(eth_dst, 6).name("eth_dst").alias("dl_dst").mask().rw().needs(Prereq::Ethernet).fmt(Ethernet).nxm0(1).oxm(3).attr(KeyAttr::Ethernet);
    /// Ethertype behind the VLAN tags.
    EthType = at!(eth_type, 2).name("eth_type").alias("dl_type").needs(Prereq::Ethernet).fmt(Hexadecimal).nxm0(3).oxm(5).attr(KeyAttr::EtherType);
    /// Outer VLAN tag with the present bit, as OpenFlow 1.0 and Nicira see it.
    VlanTci = at!(vlan_tci, 2).name("vlan_tci").mask().rw().needs(Prereq::Ethernet).fmt(Hexadecimal).nxm0(4).attr(KeyAttr::Vlan);
    /// VLAN id of OpenFlow 1.0: no present bit.
    DlVlan = at!(vlan_tci, 2).name("dl_vlan").part(0, 12).rw().needs(Prereq::Ethernet).attr(KeyAttr::Vlan);
    /// VLAN id of OpenFlow 1.2 and later, with the present bit.
    VlanVid = at!(vlan_tci, 2).name("vlan_vid").part(0, 13).mask().rw().needs(Prereq::Ethernet).oxm(6).attr(KeyAttr::Vlan);
    /// VLAN priority.
    VlanPcp = at!(vlan_tci, 2).name("vlan_pcp").alias("dl_vlan_pcp").part(13, 3).wire(1).rw().needs(Prereq::Vlan).oxm(7).attr(KeyAttr::Vlan);
    /// MPLS label of the outermost entry.
    MplsLabel = at!(mpls_lse, 4).name("mpls_label").part(12, 20).rw().needs(Prereq::Mpls).oxm(34).attr(KeyAttr::Mpls);
    /// MPLS traffic class.
    MplsTc = at!(mpls_lse, 4).name("mpls_tc").part(9, 3).wire(1).rw().needs(Prereq::Mpls).oxm(35).attr(KeyAttr::Mpls);
    /// MPLS bottom of stack.
    MplsBos = at!(mpls_lse, 4).name("mpls_bos").part(8, 1).wire(1).needs(Prereq::Mpls).oxm_since(36, 4).attr(KeyAttr::Mpls);
    /// MPLS TTL.
    MplsTtl = at!(mpls_lse, 4).name("mpls_ttl").part(0, 8).wire(1).rw().needs(Prereq::Mpls).nxm1(30).attr(KeyAttr::Mpls);

    /// IPv4 source.
    NwSrc = at!(nw_src, 4).name("ip_src").alias("nw_src").mask().rw().needs(Prereq::Ipv4).fmt(Ipv4).nxm0(7).oxm(11).attr(KeyAttr::Ipv4);
    /// IPv4 destination.
    NwDst = at!(nw_dst, 4).name("ip_dst").alias("nw_dst").mask().rw().needs(Prereq::Ipv4).fmt(Ipv4).nxm0(8).oxm(12).attr(KeyAttr::Ipv4);
    /// IPv6 source.
    Ipv6Src = at!(ipv6_src, 16).name("ipv6_src").mask().rw().needs(Prereq::Ipv6).fmt(Ipv6).nxm1(19).oxm(26).attr(KeyAttr::Ipv6);
    /// IPv6 destination.
    Ipv6Dst = at!(ipv6_dst, 16).name("ipv6_dst").mask().rw().needs(Prereq::Ipv6).fmt(Ipv6).nxm1(20).oxm(27).attr(KeyAttr::Ipv6);
    /// IPv6 flow label.
    Ipv6Label = at!(ipv6_label, 4).name("ipv6_label").part(0, 20).mask().rw().needs(Prereq::Ipv6).fmt(Hexadecimal).nxm1(27).oxm(28).attr(KeyAttr::Ipv6);
    /// IP protocol.
    NwProto = at!(nw_proto, 1).name("nw_proto").alias("ip_proto").needs(Prereq::Ip).nxm0(6).oxm(10).attr(KeyAttr::Ipv4);
    /// The TOS byte without ECN.
    NwTos = at!(nw_tos, 1).name("nw_tos").within(0xfc).rw().needs(Prereq::Ip).nxm0(5).attr(KeyAttr::Ipv4);
    /// Differentiated services code point.
    IpDscp = at!(nw_tos, 1).name("ip_dscp").part(2, 6).rw().needs(Prereq::Ip).oxm(8).attr(KeyAttr::Ipv4);
    /// Explicit congestion notification.
    NwEcn = at!(nw_tos, 1).name("nw_ecn").alias("ip_ecn").part(0, 2).rw().needs(Prereq::Ip).nxm1(28).oxm(9).attr(KeyAttr::Ipv4);
    /// TTL or hop limit.
    NwTtl = at!(nw_ttl, 1).name("nw_ttl").rw().needs(Prereq::Ip).nxm1(29).attr(KeyAttr::Ipv4);
    /// Fragment bits.
    IpFrag = at!(nw_frag, 1).name("ip_frag").alias("nw_frag").part(0, 2).mask().needs(Prereq::Ip).fmt(Fragment).nxm1(26).attr(KeyAttr::Ipv4);

    /// ARP operation.
    ArpOp = at!(nw_proto, 1).name("arp_op").wire(2).rw().needs(Prereq::Arp).nxm0(15).oxm(21).attr(KeyAttr::Arp);
    /// ARP sender protocol address.
    ArpSpa = at!(nw_src, 4).name("arp_spa").mask().rw().needs(Prereq::Arp).fmt(Ipv4).nxm0(16).oxm(22).attr(KeyAttr::Arp);
    /// ARP target protocol address.
    ArpTpa = at!(nw_dst, 4).name("arp_tpa").mask().rw().needs(Prereq::Arp).fmt(Ipv4).nxm0(17).oxm(23).attr(KeyAttr::Arp);
    /// ARP sender hardware address.
    ArpSha = at!(arp_sha, 6).name("arp_sha").mask().rw().needs(Prereq::Arp).fmt(Ethernet).nxm1(17).oxm(24).attr(KeyAttr::Arp);
    /// ARP target hardware address.
    ArpTha = at!(arp_tha, 6).name("arp_tha").mask().rw().needs(Prereq::Arp).fmt(Ethernet).nxm1(18).oxm(25).attr(KeyAttr::Arp);

    /// TCP source port.
    TcpSrc = at!(tp_src, 2).name("tcp_src").mask().rw().needs(Prereq::Tcp).nxm0(9).oxm(13).attr(KeyAttr::Tcp);
    /// TCP destination port.
    TcpDst = at!(tp_dst, 2).name("tcp_dst").mask().rw().needs(Prereq::Tcp).nxm0(10).oxm(14).attr(KeyAttr::Tcp);
    /// TCP flags.
    TcpFlags = at!(tcp_flags, 2).name("tcp_flags").part(0, 12).mask().needs(Prereq::Tcp).fmt(TcpFlags).nxm1(34).oxm_in(CLASS_EXPERIMENTER, 42, EXPERIMENTER_ONF, 4).attr(KeyAttr::TcpFlags);
    /// UDP source port.
    UdpSrc = at!(tp_src, 2).name("udp_src").mask().rw().needs(Prereq::Udp).nxm0(11).oxm(15).attr(KeyAttr::Udp);
    /// UDP destination port.
    UdpDst = at!(tp_dst, 2).name("udp_dst").mask().rw().needs(Prereq::Udp).nxm0(12).oxm(16).attr(KeyAttr::Udp);
    /// SCTP source port.
    SctpSrc = at!(tp_src, 2).name("sctp_src").mask().rw().needs(Prereq::Sctp).oxm(17).attr(KeyAttr::Sctp);
    /// SCTP destination port.
    SctpDst = at!(tp_dst, 2).name("sctp_dst").mask().rw().needs(Prereq::Sctp).oxm(18).attr(KeyAttr::Sctp);
    /// ICMP type.
    IcmpType = at!(tp_src, 2).name("icmp_type").part(0, 8).wire(1).rw().needs(Prereq::Icmpv4).nxm0(13).oxm(19).attr(KeyAttr::Icmp);
    /// ICMP code.
    IcmpCode = at!(tp_dst, 2).name("icmp_code").part(0, 8).wire(1).rw().needs(Prereq::Icmpv4).nxm0(14).oxm(20).attr(KeyAttr::Icmp);
    /// ICMPv6 type.
    Icmpv6Type = at!(tp_src, 2).name("icmpv6_type").part(0, 8).wire(1).rw().needs(Prereq::Icmpv6).nxm1(21).oxm(29).attr(KeyAttr::Icmpv6);
    /// ICMPv6 code.
    Icmpv6Code = at!(tp_dst, 2).name("icmpv6_code").part(0, 8).wire(1).rw().needs(Prereq::Icmpv6).nxm1(22).oxm(30).attr(KeyAttr::Icmpv6);
    /// Target of a neighbour solicitation or advertisement.
    NdTarget = at!(nd_target, 16).name("nd_target").mask().rw().needs(Prereq::Nd).fmt(Ipv6).nxm1(23).oxm(31).attr(KeyAttr::Nd);
    /// Source link-layer address of a neighbour solicitation.
    NdSll = at!(arp_sha, 6).name("nd_sll").mask().rw().needs(Prereq::NdSolicit).fmt(Ethernet).nxm1(24).oxm(32).attr(KeyAttr::Nd);
    /// Target link-layer address of a neighbour advertisement.
    NdTll = at!(arp_tha, 6).name("nd_tll").mask().rw().needs(Prereq::NdAdvert).fmt(Ethernet).nxm1(25).oxm(33).attr(KeyAttr::Nd);
}

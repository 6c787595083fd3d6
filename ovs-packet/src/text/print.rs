//! Matches written, in the order and with the words of the reference.

use core::fmt;

use super::parse::shorthand_of;
use super::{NoNames, PortNames, PortText};
use crate::extract::{ETH_TYPE_ARP, ETH_TYPE_IPV6, ETH_TYPE_NSH, ETH_TYPE_RARP, IP_PROTO_ICMP, IP_PROTO_ICMPV6};
use crate::field::{FieldId, Prereq, Value, dl_type};
use crate::key::{Block, FlowKey, FlowMask, Match, VLAN_PCP_MASK, VLAN_PRESENT, VLAN_VID_MASK};
use crate::packet::TunnelFlags;
use crate::port::OfPort;

/// A number as C's `%#x` writes it: zero has no prefix.
struct Hex(u128);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { f.write_str("0") } else { write!(f, "{:#x}", self.0) }
    }
}

/// How a field of a match is written, which is not always how an action writes the same field.
#[derive(Clone, Copy)]
enum As {
    /// As a value of the field.
    Value,
    /// Decimal; with a mask, both hexadecimal with as many digits as said, and `0x`.
    Decimal(usize),
    /// Hexadecimal, zero without a prefix.
    Hex,
    /// Hexadecimal with as many digits as said.
    HexDigits(usize),
    /// Decimal, of a field that OpenFlow matches whole.
    Whole,
    /// Hexadecimal without a prefix.
    BareHex,
}

/// Writes terms with commas between them.
struct Terms<'a, 'b> {
    f: &'a mut fmt::Formatter<'b>,
    m: &'a Match,
    /// What it matches, expanded once: many fields are asked for.
    key: FlowKey,
    mask: FlowMask,
    first: bool,
}

impl Terms<'_, '_> {
    fn push(&mut self, term: fmt::Arguments<'_>) -> fmt::Result {
        if !core::mem::take(&mut self.first) {
            self.f.write_str(",")?;
        }
        self.f.write_fmt(term)
    }

    /// The field, if the match has any bit of it, under `name`.
    fn field(&mut self, field: FieldId, name: &str, how: As) -> fmt::Result {
        let info = field.info();
        let (value, mask) = (info.get(&self.key), info.get(&self.mask.bits));
        if mask == 0 {
            return Ok(());
        }
        let exact = mask == info.max_value();
        match how {
            As::Value => self.push(format_args!("{name}={}", Value { field, value, mask })),
            As::Whole => self.push(format_args!("{name}={value}")),
            As::BareHex => self.push(format_args!("{name}={value:x}")),
            As::Decimal(_) if exact => self.push(format_args!("{name}={value}")),
            As::Hex if exact => self.push(format_args!("{name}={}", Hex(value))),
            As::Hex => self.push(format_args!("{name}={}/{}", Hex(value), Hex(mask))),
            As::HexDigits(n) if exact => self.push(format_args!("{name}={value:#0w$x}", w = n + 2)),
            As::Decimal(n) | As::HexDigits(n) => {
                self.push(format_args!("{name}={value:#0w$x}/{mask:#0w$x}", w = n + 2))
            }
        }
    }

    fn fields(&mut self, fields: &[(FieldId, &str, As)]) -> fmt::Result {
        fields.iter().try_for_each(|(field, name, how)| self.field(*field, name, *how))
    }

    fn port(&mut self, field: FieldId, name: &str, ports: &dyn PortNames) -> fmt::Result {
        if self.mask.touches(field) {
            let port = OfPort(field.info().get(&self.key) as u32);
            self.push(format_args!("{name}={}", PortText(port, ports)))?;
        }
        Ok(())
    }

    fn tag(&mut self, suffix: &str, tci: u16, mask: u16) -> fmt::Result {
        let (vid, pcp) = (mask & VLAN_VID_MASK, mask & VLAN_PCP_MASK);
        let whole = |part, all| part == 0 || part == all;
        let splits = whole(vid, VLAN_VID_MASK) && whole(pcp, VLAN_PCP_MASK) && vid | pcp != 0;
        if mask == 0 {
            Ok(())
        } else if mask & tci & VLAN_PRESENT != 0 && splits {
            if vid != 0 {
                self.push(format_args!("dl_vlan{suffix}={}", tci & VLAN_VID_MASK))?;
            }
            if pcp != 0 {
                self.push(format_args!("dl_vlan_pcp{suffix}={}", tci >> 13))?;
            }
            Ok(())
        } else if mask == u16::MAX {
            self.push(format_args!("vlan_tci{suffix}={tci:#06x}"))
        } else {
            self.push(format_args!("vlan_tci{suffix}={tci:#06x}/{mask:#06x}"))
        }
    }

    /// The flags of a tunnel, of which flows match one, and megaflows others too.
    fn tunnel_flags(&mut self) -> fmt::Result {
        const NAMES: [(TunnelFlags, &str); 4] = [
            (TunnelFlags::OAM, "oam"),
            (TunnelFlags::DONT_FRAGMENT, "df"),
            (TunnelFlags::CHECKSUM, "csum"),
            (TunnelFlags::KEY, "key"),
        ];
        let [flags, mask] = [&self.key, &self.mask.bits].map(|k| TunnelFlags::from_bits_truncate(k.tun_flags));
        if mask.is_empty() {
            return Ok(());
        }
        self.push(format_args!("tun_flags="))?;
        let matched = NAMES.iter().filter(|(flag, _)| mask.contains(*flag));
        matched.into_iter().try_for_each(|(flag, name)| {
            let sign = if flags.contains(*flag) { '+' } else { '-' };
            write!(self.f, "{sign}{name}")
        })
    }

    fn tunnel(&mut self) -> fmt::Result {
        use FieldId::*;
        self.fields(&[
            (TunId, "tun_id", As::Hex),
            (TunSrc, "tun_src", As::Value),
            (TunDst, "tun_dst", As::Value),
            (TunIpv6Src, "tun_ipv6_src", As::Value),
            (TunIpv6Dst, "tun_ipv6_dst", As::Value),
            (TunGbpId, "tun_gbp_id", As::Decimal(0)),
            (TunGbpFlags, "tun_gbp_flags", As::Hex),
            (TunTos, "tun_tos", As::BareHex),
            (TunTtl, "tun_ttl", As::Whole),
            (TunErspanVer, "tun_erspan_ver", As::Decimal(0)),
        ])?;
        // Each version of ERSPAN has its own: that another's are zero goes without saying.
        let version = self.mask.is_exact(TunErspanVer).then(|| TunErspanVer.info().get(&self.key));
        for (of, field, name, how) in [
            (1, TunErspanIdx, "tun_erspan_idx", As::Hex),
            (2, TunErspanDir, "tun_erspan_dir", As::Decimal(0)),
            (2, TunErspanHwid, "tun_erspan_hwid", As::Hex),
        ] {
            let is_others = matches!(version, Some(1 | 2)) && version != Some(of);
            if !is_others || field.info().get(&self.key) != 0 {
                self.field(field, name, how)?;
            }
        }
        self.fields(&[(TunGtpuFlags, "gtpu_flags", As::Hex), (TunGtpuMsgtype, "gtpu_msgtype", As::Decimal(0))])?;
        self.tunnel_flags()?;
        for (index, option) in self.m.tun_options() {
            let has_value = !option.is_present() || option.is_exact() || option.mask().iter().any(|m| *m != 0);
            if has_value {
                self.push(format_args!("tun_metadata{index}={option}"))?;
            } else {
                self.push(format_args!("tun_metadata{index}"))?;
            }
        }
        Ok(())
    }
}

/// A match with names of ports, for [`Display`](fmt::Display).
///
/// It is written as upstream's tools write it, and reads back as the same match but for this: that the packet begins
/// with Ethernet is not said, since an OpenFlow match takes it for granted ([`Match::with_default_packet_type`]; the
/// match of a megaflow, known by its recirculation id, says `eth`); bits that belong to no field of the match's protocol
/// are left out; fields that OpenFlow matches whole or not at all are written without a mask; the TOS of a tunnel is
/// hexadecimal without a prefix, though it is read as decimal; inner VLAN tags and lower MPLS labels, which only
/// megaflows match, have no words that are read.
pub struct MatchText<'a> {
    matching: &'a Match,
    ports: &'a dyn PortNames,
}

impl fmt::Debug for MatchText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MatchText({self})")
    }
}

impl Match {
    /// The match in words, with the names that `ports` knows for the numbers of ports.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    ///
    /// use ovs_packet::{Match, OfPort};
    ///
    /// let ports = BTreeMap::from([("eth0".to_string(), OfPort(7))]);
    /// let m: Match = "in_port=7,arp".parse().unwrap();
    /// assert_eq!(m.with_names(&ports).to_string(), "arp,in_port=eth0");
    /// ```
    pub fn with_names<'a>(&'a self, ports: &'a dyn PortNames) -> MatchText<'a> {
        MatchText { matching: self, ports }
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_names(&NoNames).fmt(f)
    }
}

impl fmt::Display for MatchText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use FieldId::*;
        let m = self.matching;
        let (key, mask) = (m.key(), m.mask());
        let mut t = Terms { f, m, key, mask, first: true };
        t.fields(&[
            (PktMark, "pkt_mark", As::Hex),
            (RecircId, "recirc_id", As::Hex),
            (DpHash, "dp_hash", As::Hex),
            (ConjId, "conj_id", As::Whole),
            (SkbPriority, "skb_priority", As::Hex),
        ])?;
        t.port(ActsetOutput, "actset_output", self.ports)?;
        t.fields(&[
            (CtState, "ct_state", As::Value),
            (CtZone, "ct_zone", As::Decimal(0)),
            (CtMark, "ct_mark", As::Hex),
            (CtLabel, "ct_label", As::Hex),
            (CtNwSrc, "ct_nw_src", As::Value),
            (CtIpv6Src, "ct_ipv6_src", As::Value),
            (CtNwDst, "ct_nw_dst", As::Value),
            (CtIpv6Dst, "ct_ipv6_dst", As::Value),
            (CtNwProto, "ct_nw_proto", As::Whole),
            (CtTpSrc, "ct_tp_src", As::Decimal(0)),
            (CtTpDst, "ct_tp_dst", As::Decimal(0)),
        ])?;
        if mask.touches(PacketType) {
            if key.packet_type != 0 || !mask.is_exact(PacketType) {
                t.field(PacketType, "packet_type", As::Value)?;
            } else if mask.touches(RecircId) {
                t.push(format_args!("eth"))?;
            }
        }
        let eth_type = dl_type(&key);
        let shorthand = if mask.touches(EthType) { shorthand_of(m) } else { None };
        if let Some((name, _)) = shorthand {
            t.push(format_args!("{name}"))?;
        }
        // Few matches have any of these many.
        let blocks = m.map().blocks();
        let touched = |block: Block| blocks.contains(block as usize);
        if touched(Block::Registers) || touched(Block::UpperRegisters) {
            for reg in (0..crate::key::REGISTERS).filter_map(FieldId::reg) {
                t.field(reg, reg.info().name, As::Hex)?;
            }
        }
        if touched(Block::Tunnel) || touched(Block::Service) {
            t.tunnel()?;
        }
        t.field(Metadata, "metadata", As::Hex)?;
        t.port(InPortOxm, "in_port", self.ports)?;
        t.tag("", key.vlan_tci.get(), mask.bits.vlan_tci.get())?;
        t.tag("1", key.inner_vlan_tci.get(), mask.bits.inner_vlan_tci.get())?;
        t.field(EthSrc, "dl_src", As::Value)?;
        t.field(EthDst, "dl_dst", As::Value)?;
        if shorthand.is_none() && mask.touches(EthType) {
            t.push(format_args!("dl_type={eth_type:#06x}"))?;
        }
        let arp = matches!(eth_type, ETH_TYPE_ARP | ETH_TYPE_RARP);
        match eth_type {
            ETH_TYPE_IPV6 => t.fields(&[
                (Ipv6Src, "ipv6_src", As::Value),
                (Ipv6Dst, "ipv6_dst", As::Value),
                (Ipv6Label, "ipv6_label", As::HexDigits(5)),
            ])?,
            ETH_TYPE_NSH => t.fields(&[
                (NshFlags, "nsh_flags", As::Decimal(2)),
                (NshTtl, "nsh_ttl", As::Decimal(2)),
                (NshMdtype, "nsh_mdtype", As::Decimal(2)),
                (NshNp, "nsh_np", As::Decimal(2)),
                (NshSpi, "nsh_spi", As::HexDigits(0)),
                (NshSi, "nsh_si", As::Decimal(2)),
                (NshC1, "nsh_c1", As::HexDigits(0)),
                (NshC2, "nsh_c2", As::HexDigits(0)),
                (NshC3, "nsh_c3", As::HexDigits(0)),
                (NshC4, "nsh_c4", As::HexDigits(0)),
            ])?,
            _ if arp => t.fields(&[(ArpSpa, "arp_spa", As::Value), (ArpTpa, "arp_tpa", As::Value)])?,
            _ => t.fields(&[(NwSrc, "nw_src", As::Value), (NwDst, "nw_dst", As::Value)])?,
        }
        if !shorthand.is_some_and(|(_, names_protocol)| names_protocol) {
            t.field(NwProto, if arp { "arp_op" } else { "nw_proto" }, As::Whole)?;
        }
        if arp {
            t.fields(&[(ArpSha, "arp_sha", As::Value), (ArpTha, "arp_tha", As::Value)])?;
        }
        t.fields(&[
            (NwTos, "nw_tos", As::Whole),
            (NwEcn, "nw_ecn", As::Whole),
            (NwTtl, "nw_ttl", As::Whole),
            (MplsLabel, "mpls_label", As::Whole),
            (MplsTc, "mpls_tc", As::Whole),
            (MplsTtl, "mpls_ttl", As::Whole),
            (MplsBos, "mpls_bos", As::Whole),
        ])?;
        for (i, (lse, bits)) in key.mpls_lse.iter().zip(mask.bits.mpls_lse).enumerate().skip(1) {
            match bits.get() {
                0 => {}
                u32::MAX => t.push(format_args!("mpls_lse{i}={lse}"))?,
                bits => t.push(format_args!("mpls_lse{i}={:#010x}/{bits:#010x}", lse.get()))?,
            }
        }
        t.field(IpFrag, "nw_frag", As::Value)?;
        match (eth_type, key.nw_proto) {
            (crate::extract::ETH_TYPE_IPV4, IP_PROTO_ICMP) => {
                t.fields(&[(TcpSrc, "icmp_type", As::Whole), (TcpDst, "icmp_code", As::Whole)])?;
            }
            (ETH_TYPE_IPV6, IP_PROTO_ICMPV6) => t.fields(&[
                (TcpSrc, "icmp_type", As::Whole),
                (TcpDst, "icmp_code", As::Whole),
                (NdTarget, "nd_target", As::Value),
                (NdSll, "nd_sll", As::Value),
                (NdTll, "nd_tll", As::Value),
                (NdReserved, "nd_reserved", As::Decimal(8)),
                (NdOptionsType, "nd_options_type", As::Whole),
            ])?,
            _ => t.fields(&[(TcpSrc, "tp_src", As::Decimal(0)), (TcpDst, "tp_dst", As::Decimal(0))])?,
        }
        if Prereq::Tcp.holds(&key) { t.field(TcpFlags, "tcp_flags", As::Value) } else { Ok(()) }
    }
}

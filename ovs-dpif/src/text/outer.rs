//! The header of a `tnl_push` action in words, both ways.
//!
//! The text tells the header's size and kind beside its fields; both follow from the fields, and a text in which they do not
//! is refused.

use std::fmt::{Formatter, Result as Written, Write};

use arrayvec::ArrayVec;
use ovs_packet::EthAddr;

use super::ct::narrow;
use super::parse_action::Args;
use super::tree::Term;
use super::{PortNames, TextError, tunnel};
use crate::action::PortNo;
use crate::outer::{Erspan, MAX_HEADER, OuterIp, OuterTunnel, OuterUdp, TunnelPush};

/// Bits of the flags of GRE that say which words follow.
const CSUM: u16 = 0x8000;
const KEY: u16 = 0x2000;
const SEQ: u16 = 0x1000;

/// Ethertypes.
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

pub(super) fn write(f: &mut Formatter<'_>, push: &TunnelPush, ports: &dyn PortNames) -> Written {
    let port = |port: PortNo| ports.name(port.0).unwrap_or_else(|| port.to_string());
    let TunnelPush { tunnel_port, out_port, eth_dst, eth_src, ip, tunnel } = push;
    write!(f, "tnl_push(tnl_port({}),header(size={},type={},", port(*tunnel_port), push.len(), push.kind())?;
    let eth_type = if matches!(ip, OuterIp::V4 { .. }) { IPV4 } else { IPV6 };
    write!(f, "eth(dst={eth_dst},src={eth_src},dl_type={eth_type:#06x}),")?;
    match ip {
        OuterIp::V4 { src, dst, proto, tos, ttl, frag } => {
            let tos = super::value::hex((*tos).into());
            write!(f, "ipv4(src={src},dst={dst},proto={proto},tos={tos},ttl={ttl},frag={frag:#x}),")?;
        }
        OuterIp::V6 { src, dst, label, proto, tclass, hlimit } => {
            write!(f, "ipv6(src={src},dst={dst},label={label},proto={proto},tclass={tclass:#x},hlimit={hlimit}),")?;
        }
    }
    write_tunnel(f, tunnel)?;
    write!(f, "),out_port({}))", port(*out_port))
}

fn write_tunnel(f: &mut Formatter<'_>, tunnel: &OuterTunnel) -> Written {
    let udp = |f: &mut Formatter<'_>, OuterUdp { src, dst, csum }: &OuterUdp| {
        write!(f, "udp(src={src},dst={dst},csum={csum:#x}),")
    };
    match tunnel {
        OuterTunnel::Vxlan { udp: outer, flags, vni } => {
            udp(f, outer)?;
            write!(f, "vxlan(flags={flags:#x},vni={vni:#x})")
        }
        OuterTunnel::Geneve { udp: outer, oam, critical, vni, options } => {
            udp(f, outer)?;
            f.write_str("geneve(")?;
            f.write_str(if *oam { "oam," } else { "" })?;
            f.write_str(if *critical { "crit," } else { "" })?;
            write!(f, "vni={vni:#x}")?;
            if !options.is_empty() {
                let whole = vec![0xff; options.len()];
                write!(f, ",options({})", tunnel::options(options, &whole))?;
            }
            f.write_char(')')
        }
        OuterTunnel::Gre { flags, proto, csum, key, seq } => {
            let there = |some: bool, bit| if some { bit } else { 0 };
            let bits = there(csum.is_some(), CSUM) | there(key.is_some(), KEY) | there(seq.is_some(), SEQ);
            write!(f, "gre((flags={:#x},proto={proto:#x})", flags | bits)?;
            csum.map_or(Ok(()), |csum| write!(f, ",csum={csum:#x}"))?;
            key.map_or(Ok(()), |key| write!(f, ",key={key:#x}"))?;
            seq.map_or(Ok(()), |seq| write!(f, ",seq={seq:#x}"))?;
            f.write_char(')')
        }
        OuterTunnel::Erspan { session, version: Erspan::Index(index) } => {
            write!(f, "erspan(ver=1,sid={session:#x},idx={index:#x})")
        }
        OuterTunnel::Erspan { session, version: Erspan::Port { direction, hardware } } => {
            write!(f, "erspan(ver=2,sid={session:#x},dir={direction},hwid={hardware:#x})")
        }
        OuterTunnel::Gtpu { udp: outer, flags, kind, teid } => {
            udp(f, outer)?;
            write!(f, "gtpu(flags={flags:#x},msgtype={kind},teid={teid:#x})")
        }
        OuterTunnel::Srv6 { left, segments } => {
            let path: Vec<String> = segments.iter().map(ToString::to_string).collect();
            write!(f, "srv6(segments_left={left},segs({}))", path.join(","))
        }
    }
}

/// Reads `tnl_push(...)`.
pub(super) fn read(term: &Term<'_>, ports: &dyn PortNames) -> Result<TunnelPush, TextError> {
    let mut args = Args::of(term)?;
    let (tunnel_port, out_port) = (port(args.named("tnl_port")?, ports)?, port(args.named("out_port")?, ports)?);
    let header = args.named("header")?;
    args.done()?;
    let mut parts = Args::of(header)?;
    let (size, kind): (usize, u32) = (parts.number("size")?, parts.number("type")?);
    let mut eth = Args::of(parts.named("eth")?)?;
    let (eth_dst, eth_src): (EthAddr, EthAddr) = (eth.address("dst")?, eth.address("src")?);
    let eth_type: u16 = eth.number("dl_type")?;
    eth.done()?;
    let ip = match eth_type {
        IPV4 => read_ipv4(parts.named("ipv4")?)?,
        IPV6 => read_ipv6(parts.named("ipv6")?)?,
        _ => return Err(TextError::new(header.at, "dl_type of 0x0800 or 0x86dd")),
    };
    let tunnel = read_tunnel(header, &mut parts)?;
    parts.done()?;
    let push = TunnelPush { tunnel_port, out_port, eth_dst, eth_src, ip, tunnel };
    if (push.len(), push.kind()) != (size, kind) || size > MAX_HEADER {
        let what = format!("size={},type={}, as the header has it", push.len(), push.kind());
        return Err(TextError::new(header.at, what));
    }
    Ok(push)
}

/// A port, by name or number, in parentheses.
pub(super) fn port(term: &Term<'_>, ports: &dyn PortNames) -> Result<PortNo, TextError> {
    let (text, at) = term.word()?;
    ports.number(text).map_or_else(|| narrow(text, at), Ok).map(PortNo)
}

fn read_ipv4(term: &Term<'_>) -> Result<OuterIp, TextError> {
    let mut args = Args::of(term)?;
    let ip = OuterIp::V4 {
        src: args.parsed("src", "an IPv4 address")?,
        dst: args.parsed("dst", "an IPv4 address")?,
        proto: args.number("proto")?,
        tos: args.number("tos")?,
        ttl: args.number("ttl")?,
        frag: args.number("frag")?,
    };
    args.done().map(|()| ip)
}

fn read_ipv6(term: &Term<'_>) -> Result<OuterIp, TextError> {
    let mut args = Args::of(term)?;
    let label = args.number("label")?;
    if label > 0xf_ffff {
        return Err(TextError::new(term.at, "a label of 20 bits"));
    }
    let ip = OuterIp::V6 {
        src: args.parsed("src", "an IPv6 address")?,
        dst: args.parsed("dst", "an IPv6 address")?,
        label,
        proto: args.number("proto")?,
        tclass: args.number("tclass")?,
        hlimit: args.number("hlimit")?,
    };
    args.done().map(|()| ip)
}

fn read_udp(parts: &mut Args<'_, '_>) -> Result<OuterUdp, TextError> {
    let mut args = Args::of(parts.named("udp")?)?;
    let udp = OuterUdp { src: args.number("src")?, dst: args.number("dst")?, csum: args.number("csum")? };
    args.done().map(|()| udp)
}

/// A network identifier.
fn vni(args: &mut Args<'_, '_>, at: usize) -> Result<u32, TextError> {
    let vni = args.number("vni")?;
    if vni > 0xff_ffff { Err(TextError::new(at, "a vni of 24 bits")) } else { Ok(vni) }
}

fn read_tunnel(header: &Term<'_>, parts: &mut Args<'_, '_>) -> Result<OuterTunnel, TextError> {
    if let Some(term) = parts.find("vxlan") {
        let mut args = Args::of(term)?;
        let (flags, vni) = (args.number("flags")?, vni(&mut args, term.at)?);
        args.done()?;
        return Ok(OuterTunnel::Vxlan { udp: read_udp(parts)?, flags, vni });
    }
    if let Some(term) = parts.find("geneve") {
        let mut args = Args::of(term)?;
        let (oam, critical, vni) = (args.flag("oam")?, args.flag("crit")?, vni(&mut args, term.at)?);
        let options = args.find("options").map_or(Ok(Vec::new()), |of| tunnel::option_bytes(of).map(|(all, _)| all))?;
        args.done()?;
        return Ok(OuterTunnel::Geneve { udp: read_udp(parts)?, oam, critical, vni, options });
    }
    if let Some(term) = parts.find("gtpu") {
        let mut args = Args::of(term)?;
        let (flags, kind, teid) = (args.number("flags")?, args.number("msgtype")?, args.number("teid")?);
        args.done()?;
        return Ok(OuterTunnel::Gtpu { udp: read_udp(parts)?, flags, kind, teid });
    }
    if let Some(term) = parts.find("gre") {
        return read_gre(term);
    }
    if let Some(term) = parts.find("erspan") {
        let mut args = Args::of(term)?;
        let (version, session) = (args.number("ver")?, args.number("sid")?);
        let version = match version {
            1u8 => Erspan::Index(args.number("idx")?),
            2 => Erspan::Port { direction: args.number("dir")?, hardware: args.number("hwid")? },
            _ => return Err(TextError::new(term.at, "version 1 or 2")),
        };
        args.done()?;
        return Ok(OuterTunnel::Erspan { session, version });
    }
    if let Some(term) = parts.find("srv6") {
        return read_srv6(term);
    }
    Err(TextError::new(header.at, "a header of vxlan, geneve, gre, erspan, gtpu or srv6"))
}

fn read_gre(term: &Term<'_>) -> Result<OuterTunnel, TextError> {
    let mut args = Args::of(term)?;
    let mut base = Args::of(args.named("")?)?;
    let (flags, proto): (u16, u16) = (base.number("flags")?, base.number("proto")?);
    base.done()?;
    let (csum, key, seq) = (args.optional("csum")?, args.optional("key")?, args.optional("seq")?);
    args.done()?;
    let told = [csum.is_some(), key.is_some(), seq.is_some()];
    if told != [CSUM, KEY, SEQ].map(|bit| flags & bit != 0) {
        return Err(TextError::new(term.at, "csum, key and seq as the flags say"));
    }
    Ok(OuterTunnel::Gre { flags: flags & !(CSUM | KEY | SEQ), proto, csum, key, seq })
}

fn read_srv6(term: &Term<'_>) -> Result<OuterTunnel, TextError> {
    let mut args = Args::of(term)?;
    let left: u8 = args.number("segments_left")?;
    let path = args.named("segs")?;
    args.done()?;
    let mut segments = ArrayVec::new();
    for segment in path.args()? {
        segment.bare()?;
        let parsed = segment.name.parse().map_err(|_| TextError::new(segment.at, "an IPv6 address"))?;
        segments.try_push(parsed).map_err(|_| TextError::new(segment.at, "fewer segments"))?;
    }
    if segments.len() != usize::from(left) + 1 {
        return Err(TextError::new(path.at, "one segment more than are left"));
    }
    Ok(OuterTunnel::Srv6 { left, segments })
}

//! The bytes of a header.

use ovs_packet::tunnel::{Finish, FlowLabel, Header};
use ovs_packet::wire::{Error, Wire, srv6};

use super::{Erspan, OuterIp, OuterTunnel, OuterUdp, TunnelPush};

const ETH_TYPE_IPV4: u16 = 0x0800;
const ETH_TYPE_IPV6: u16 = 0x86dd;
const ETHERNET_INSIDE: u16 = 0x6558;

/// Bits of the flags of GRE that say which words follow (RFC 2784, RFC 2890).
const CSUM: u16 = 0x8000;
const KEY: u16 = 0x2000;
const SEQ: u16 = 0x1000;

impl TunnelPush {
    /// The header as it is put in front of packets.
    ///
    /// In a header of [`Srv6`](OuterTunnel::Srv6) the flow label of IPv6 says how each packet's is found: 0 copies that of
    /// the packet, 1 is zero, 2 is computed of its hash.
    ///
    /// # Errors
    /// If the parts make no header of their kind, such as a path that does not lead to the destination's segment.
    ///
    /// ```
    /// use ovs_dpif::{OuterIp, OuterTunnel, OuterUdp, PortNo, TunnelPush};
    ///
    /// let push = TunnelPush {
    ///     tunnel_port: PortNo(5),
    ///     out_port: PortNo(1),
    ///     eth_dst: "02:00:00:00:00:02".parse().unwrap(),
    ///     eth_src: "02:00:00:00:00:01".parse().unwrap(),
    ///     ip: OuterIp::V4 {
    ///         src: [192, 0, 2, 1].into(), dst: [192, 0, 2, 2].into(), proto: 17, tos: 0, ttl: 64, frag: 0x4000,
    ///     },
    ///     tunnel: OuterTunnel::Vxlan { udp: OuterUdp { src: 0, dst: 4789, csum: 0 }, flags: 0x0800_0000, vni: 7 },
    /// };
    /// let header = push.header()?;
    /// assert_eq!(header.bytes().len(), push.len());
    /// assert_eq!(header.bytes()[42..], [8, 0, 0, 0, 0, 0, 7, 0]);
    /// # Ok::<(), ovs_packet::wire::Error>(())
    /// ```
    pub fn header(&self) -> Result<Header, Error> {
        let mut out = Vec::with_capacity(self.len());
        out.extend(self.eth_dst.0);
        out.extend(self.eth_src.0);
        let how = self.write_ip(&mut out);
        let finish = self.write_tunnel(&mut out, how)?;
        Header::new(out, finish)
    }

    /// Returns what the flow label says of a path of segments.
    fn write_ip(&self, out: &mut Vec<u8>) -> FlowLabel {
        let in_path = matches!(self.tunnel, OuterTunnel::Srv6 { .. });
        match self.ip {
            OuterIp::V4 { src, dst, proto, tos, ttl, frag } => {
                out.extend(ETH_TYPE_IPV4.to_be_bytes());
                out.extend([0x45, tos, 0, 0, 0, 0]);
                out.extend(frag.to_be_bytes());
                out.extend([ttl, proto, 0, 0]);
                out.extend(src.octets());
                out.extend(dst.octets());
                FlowLabel::Zero
            }
            OuterIp::V6 { src, dst, label, proto, tclass, hlimit } => {
                out.extend(ETH_TYPE_IPV6.to_be_bytes());
                let shown = if in_path { 0 } else { label };
                out.extend((6 << 28 | u32::from(tclass) << 20 | shown & 0xf_ffff).to_be_bytes());
                out.extend([0, 0, proto, hlimit]);
                out.extend(src.octets());
                out.extend(dst.octets());
                match label {
                    0 => FlowLabel::Copy,
                    2 => FlowLabel::Compute,
                    _ => FlowLabel::Zero,
                }
            }
        }
    }

    fn write_tunnel(&self, out: &mut Vec<u8>, label: FlowLabel) -> Result<Finish, Error> {
        match &self.tunnel {
            OuterTunnel::Vxlan { udp, flags, vni } => {
                let (checksum, source) = write_udp(out, udp);
                out.extend(flags.to_be_bytes());
                out.extend((vni << 8).to_be_bytes());
                Ok(Finish::Udp { checksum, source })
            }
            OuterTunnel::Geneve { udp, oam, critical, vni, options } => {
                let (checksum, source) = write_udp(out, udp);
                let flags = if *oam { 0x80 } else { 0 } | if *critical { 0x40 } else { 0 };
                out.extend([(options.len() / 4) as u8 & 0x3f, flags]);
                out.extend(ETHERNET_INSIDE.to_be_bytes());
                out.extend((vni << 8).to_be_bytes());
                out.extend(options);
                Ok(Finish::Udp { checksum, source })
            }
            OuterTunnel::Gre { flags, proto, csum, key, seq } => {
                let there = |some: bool, bit| if some { bit } else { 0 };
                let bits = there(csum.is_some(), CSUM) | there(key.is_some(), KEY) | there(seq.is_some(), SEQ);
                out.extend((flags | bits).to_be_bytes());
                out.extend(proto.to_be_bytes());
                let words = [csum.map(|csum| u32::from(csum) << 16), *key, *seq];
                words.into_iter().flatten().for_each(|word| out.extend(word.to_be_bytes()));
                Ok(Finish::Gre)
            }
            OuterTunnel::Erspan { session, version } => {
                use ovs_packet::wire::erspan::Header;
                let header = match *version {
                    Erspan::Index(index) => Header::type_ii(*session, index),
                    Erspan::Port { direction, hardware } => Header::type_iii(*session, hardware, direction != 0),
                };
                out.extend(header.gre(0).to_vec()?);
                out.extend(header.to_vec()?);
                Ok(Finish::Erspan)
            }
            OuterTunnel::Gtpu { udp, flags, kind, teid } => {
                let (checksum, source) = write_udp(out, udp);
                out.extend([*flags, *kind, 0, 0]);
                out.extend(teid.to_be_bytes());
                if flags & super::GTPU_OPTIONAL != 0 {
                    out.extend([0; 4]);
                }
                Ok(Finish::Gtpu { checksum, source })
            }
            OuterTunnel::Srv6 { left, segments } => {
                let header = srv6::Header { segments_left: *left, ..srv6::Header::of_path(0, segments) };
                out.extend(header.to_vec()?);
                Ok(Finish::Srv6(label))
            }
        }
    }
}

fn write_udp(out: &mut Vec<u8>, udp: &OuterUdp) -> (bool, Option<u16>) {
    out.extend(udp.src.to_be_bytes());
    out.extend(udp.dst.to_be_bytes());
    out.extend([0; 4]);
    (udp.csum != 0, (udp.src != 0).then_some(udp.src))
}

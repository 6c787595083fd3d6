//! The outer header of a packet that leaves by a tunnel.

use std::net::IpAddr;

use ovs_packet::field::{FieldId, Prereq};
use ovs_packet::key::FlowKey;
use ovs_packet::packet::TunnelFlags;

use super::config::{Checksum, FromFlow, Inherited, Local, Remote, TunnelConfig, TunnelKey, TunnelKind, USUAL_TTL};
use super::ecn::{ECN, encapsulate};
use crate::pipeline::tracked::Tracked;

impl TunnelConfig {
    /// The outer header of a packet, in the tunnel members of a key but for options of Geneve. What is asked of the packet,
    /// or was said by flows, counts as read.
    pub(in crate::pipeline) fn outer(&self, packet: &mut Tracked) -> FlowKey {
        use FieldId::{NwEcn, NwTos, NwTtl, TunDst, TunGbpFlags, TunGbpId, TunId, TunIpv6Dst, TunIpv6Src, TunSrc};
        let mut outer = FlowKey::ZERO;
        let split = |address| match address {
            IpAddr::V4(address) => (address.to_bits(), 0),
            IpAddr::V6(address) => (0, address.to_bits()),
        };
        let (v4, v6) = match self.local {
            Local::Any => (0, 0),
            Local::Flow => (packet.read(TunSrc) as u32, packet.read(TunIpv6Src)),
            Local::Address(address) => split(address),
        };
        (outer.tun_src, outer.tun_ipv6_src) = (v4.into(), v6.into());
        let (v4, v6) = match self.remote {
            Remote::Flow => (packet.read(TunDst) as u32, packet.read(TunIpv6Dst)),
            Remote::Address(address) => split(address),
        };
        (outer.tun_dst, outer.tun_ipv6_dst) = (v4.into(), v6.into());
        outer.tun_tp_dst = self.dst_port.into();
        let id = match self.out_key {
            TunnelKey::None => 0,
            TunnelKey::Flow => packet.read(TunId) as u64,
            TunnelKey::Id(id) => id,
        };
        outer.tun_id = id.into();
        let is_ip = packet.holds(Prereq::Ip);
        outer.tun_ttl = match self.ttl {
            Inherited::Fixed(ttl) => ttl,
            Inherited::Inherit if is_ip => packet.read(NwTtl) as u8,
            Inherited::Inherit => USUAL_TTL,
        };
        outer.tun_tos = match self.tos {
            Inherited::Fixed(tos) => tos,
            Inherited::Inherit if is_ip => packet.read(NwTos) as u8 & !ECN,
            Inherited::Inherit => 0,
        };
        if is_ip {
            outer.tun_tos |= encapsulate(packet.read(NwEcn) as u8);
        }
        outer.tun_flags = self.flags(v4 == 0, packet).bits();
        match self.kind {
            TunnelKind::Vxlan => {
                let has_policy = self.vxlan.gbp;
                let mut policy = |field| if has_policy { packet.read(field) } else { packet.read_written(field) };
                (outer.tun_gbp_id, outer.tun_gbp_flags) = ((policy(TunGbpId) as u16).into(), policy(TunGbpFlags) as u8);
            }
            TunnelKind::Erspan | TunnelKind::Ip6Erspan => self.mirror(packet, &mut outer),
            TunnelKind::Gtpu => {
                outer.tun_gtpu_flags = packet.read(FieldId::TunGtpuFlags) as u8;
                outer.tun_gtpu_msgtype = packet.read(FieldId::TunGtpuMsgtype) as u8;
            }
            _ => {}
        }
        outer
    }

    fn flags(&self, is_v6: bool, packet: &mut Tracked) -> TunnelFlags {
        let mut flags = TunnelFlags::empty();
        flags.set(TunnelFlags::DONT_FRAGMENT, self.dont_fragment);
        flags.set(TunnelFlags::KEY, self.out_key != TunnelKey::None);
        let has_checksum = match self.checksum {
            Checksum::Enabled => true,
            Checksum::Usual => is_v6,
            Checksum::None | Checksum::Disabled => false,
        };
        flags.set(TunnelFlags::CHECKSUM, has_checksum);
        // That a packet was for the end of the tunnel that it came through says nothing of the one that it leaves by.
        flags.set(TunnelFlags::OAM, packet.read_written(FieldId::TunFlags) != 0);
        flags
    }

    /// What ERSPAN tells, of which each version has its own.
    fn mirror(&self, packet: &mut Tracked, outer: &mut FlowKey) {
        use FieldId::{TunErspanDir, TunErspanHwid, TunErspanIdx, TunErspanVer};
        let e = &self.erspan;
        let mut put = |field: FieldId, value: FromFlow<u32>| {
            let value = match value {
                FromFlow::Flow => packet.read(field),
                FromFlow::Fixed(value) => value.into(),
            };
            field.info().put(outer, value);
            value
        };
        match put(TunErspanVer, e.version.map(u32::from)) {
            1 => drop(put(TunErspanIdx, e.index)),
            2 => {
                put(TunErspanDir, e.direction.map(u32::from));
                put(TunErspanHwid, e.hardware.map(u32::from));
            }
            _ => {}
        }
    }
}

//! A tunnel port in words.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv6Addr;

use ovs_dpif::PortNo;

use super::config::{
    Checksum, FromFlow, Inherited, Local, PacketMode, Remote, TunnelConfig, TunnelKey, TunnelKind, USUAL_TTL,
};

impl PacketMode {
    /// Its name in `packet_type`.
    pub const fn name(self) -> &'static str {
        match self {
            PacketMode::LegacyL2 => "legacy_l2",
            PacketMode::LegacyL3 => "legacy_l3",
            PacketMode::Aware => "ptap",
        }
    }
}

impl TunnelConfig {
    /// The options that make it what it is, without those that say what is usual (`dpif/show`).
    pub fn options(&self) -> BTreeMap<&'static str, String> {
        let mut options = BTreeMap::new();
        let remote = match self.remote {
            Remote::Flow => "flow".to_string(),
            Remote::Address(address) => address.to_string(),
        };
        options.insert("remote_ip", remote);
        match self.local {
            Local::Any => {}
            Local::Flow => drop(options.insert("local_ip", "flow".into())),
            Local::Address(address) => drop(options.insert("local_ip", address.to_string())),
        }
        let key = |key| match key {
            TunnelKey::None => None,
            TunnelKey::Flow => Some("flow".to_string()),
            TunnelKey::Id(id) => Some(id.to_string()),
        };
        if self.in_key == self.out_key {
            options.extend(key(self.in_key).map(|k| ("key", k)));
        } else {
            options.extend(key(self.in_key).map(|k| ("in_key", k)));
            options.extend(key(self.out_key).map(|k| ("out_key", k)));
        }
        match self.ttl {
            Inherited::Inherit => drop(options.insert("ttl", "inherit".into())),
            Inherited::Fixed(USUAL_TTL) => {}
            Inherited::Fixed(ttl) => drop(options.insert("ttl", ttl.to_string())),
        }
        match self.tos {
            Inherited::Inherit => drop(options.insert("tos", "inherit".into())),
            Inherited::Fixed(0) => {}
            Inherited::Fixed(tos) => drop(options.insert("tos", format!("{tos:#x}"))),
        }
        if let Some(usual) = self.kind.usual_port()
            && self.dst_port != usual
        {
            options.insert("dst_port", self.dst_port.to_string());
        }
        match self.checksum {
            Checksum::Usual | Checksum::None => {}
            Checksum::Enabled => drop(options.insert("csum", "true".into())),
            Checksum::Disabled => drop(options.insert("csum", "false".into())),
        }
        if self.sequence {
            options.insert("seq", "true".into());
        }
        if self.mode != TunnelConfig::usual_mode(self.kind) {
            options.insert("packet_type", self.mode.name().into());
        }
        if !self.dont_fragment {
            options.insert("df_default", "false".into());
        }
        options.extend(self.egress_mark.map(|mark| ("egress_pkt_mark", mark.to_string())));
        if self.kind.is_erspan() {
            self.erspan_options(&mut options);
        }
        options
    }

    fn erspan_options(&self, options: &mut BTreeMap<&'static str, String>) {
        let hexadecimal = |n: u32| format!("{n:#x}");
        let of = |value: FromFlow<String>| match value {
            FromFlow::Flow => "flow".to_string(),
            FromFlow::Fixed(text) => text,
        };
        let e = &self.erspan;
        let index = ("erspan_idx", of(e.index.map(hexadecimal)));
        let direction = ("erspan_dir", of(e.direction.map(|n| n.to_string())));
        let hardware = ("erspan_hwid", of(e.hardware.map(|n| hexadecimal(n.into()))));
        options.insert("erspan_ver", of(e.version.map(|n| n.to_string())));
        match e.version {
            FromFlow::Flow => options.extend([index, direction, hardware]),
            FromFlow::Fixed(1) => options.extend([index]),
            FromFlow::Fixed(2) => options.extend([direction, hardware]),
            FromFlow::Fixed(_) => {}
        }
    }

    /// A line about a port of this configuration (`ofproto/list-tunnels`).
    pub fn describe(&self, name: &str, vport: PortNo) -> String {
        let mut text = format!("port {vport}: {name} ({}: {}, dp port={vport}", self.kind.name(), self.matched());
        if self.in_key != self.out_key {
            text += ", out_key=";
            text += &match self.out_key {
                TunnelKey::None => "none".to_string(),
                TunnelKey::Flow => "flow".to_string(),
                TunnelKey::Id(id) => hex(id),
            };
        }
        text += &match self.ttl {
            Inherited::Inherit => ", ttl=inherit".to_string(),
            Inherited::Fixed(ttl) => format!(", ttl={ttl}"),
        };
        text += &match self.tos {
            Inherited::Inherit => ", tos=inherit".to_string(),
            Inherited::Fixed(0) => String::new(),
            Inherited::Fixed(tos) => format!(", tos={tos:#x}"),
        };
        if !self.dont_fragment {
            text += ", df=false";
        }
        text += match self.checksum {
            Checksum::Usual | Checksum::None => "",
            Checksum::Enabled => ", csum=true",
            Checksum::Disabled => ", csum=false",
        };
        text + ")"
    }

    /// What it tells its packets by, beside the datapath's port.
    pub fn matched(&self) -> String {
        let local = match self.local {
            Local::Any | Local::Flow => Ipv6Addr::UNSPECIFIED.to_string(),
            Local::Address(address) => address.to_string(),
        };
        let ends = match (self.remote, self.local) {
            (Remote::Address(remote), _) => format!("{local}->{remote}"),
            (Remote::Flow, Local::Flow) => "flow->flow".to_string(),
            (Remote::Flow, _) => format!("{local}->flow"),
        };
        let key = match self.in_key {
            TunnelKey::None => "0".to_string(),
            TunnelKey::Flow => "flow".to_string(),
            TunnelKey::Id(id) => hex(id),
        };
        format!("{ends}, key={key}, {}", self.mode.name())
    }
}

/// A number in hexadecimal as C writes it: zero has no prefix.
fn hex(n: u64) -> String {
    if n == 0 { "0".to_string() } else { format!("{n:#x}") }
}

impl<T> FromFlow<T> {
    /// The same with what is fixed made into something else.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> FromFlow<U> {
        match self {
            FromFlow::Flow => FromFlow::Flow,
            FromFlow::Fixed(value) => FromFlow::Fixed(f(value)),
        }
    }
}

/// The options as `dpif/show` has them.
impl fmt::Display for TunnelConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (key, value)) in self.options().into_iter().enumerate() {
            write!(f, "{}{key}={value}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl fmt::Display for TunnelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: &str, options: &str) -> TunnelConfig {
        let pairs = options.split_whitespace().filter_map(|o| o.split_once('='));
        let options = pairs.map(|(k, v)| (k.to_string(), v.to_string())).collect();
        TunnelConfig::parse(TunnelKind::of_name(kind).unwrap(), "t0", &options).unwrap().0
    }

    #[test]
    fn options_are_told_as_they_were_given_and_usual_ones_not() {
        for (kind, options, told) in [
            ("gre", "remote_ip=1.1.1.1 ttl=64 tos=0 df_default=true", "remote_ip=1.1.1.1"),
            ("gre", "remote_ip=1.1.1.1 key=5 local_ip=2.2.2.2", "key=5, local_ip=2.2.2.2, remote_ip=1.1.1.1"),
            ("gre", "remote_ip=flow in_key=2 out_key=3", "in_key=2, out_key=3, remote_ip=flow"),
            ("gre", "remote_ip=::1 out_key=0x5", "out_key=5, remote_ip=::1"),
            (
                "gre",
                "remote_ip=1.1.1.1 csum=true df_default=false ttl=1",
                "csum=true, df_default=false, remote_ip=1.1.1.1, ttl=1",
            ),
            ("gre", "remote_ip=1.1.1.1 packet_type=ptap seq=true", "packet_type=ptap, remote_ip=1.1.1.1, seq=true"),
            (
                "vxlan",
                "remote_ip=1.1.1.1 dst_port=4789 tos=inherit ttl=inherit",
                "remote_ip=1.1.1.1, tos=inherit, ttl=inherit",
            ),
            ("geneve", "remote_ip=1.1.1.1 dst_port=5000 tos=8", "dst_port=5000, remote_ip=1.1.1.1, tos=0x8"),
            ("bareudp", "remote_ip=1.1.1.1 dst_port=6635 payload_type=mpls", "dst_port=6635, remote_ip=1.1.1.1"),
            ("gtpu", "remote_ip=1.1.1.1 egress_pkt_mark=7", "egress_pkt_mark=7, remote_ip=1.1.1.1"),
            (
                "erspan",
                "remote_ip=1.1.1.1 erspan_ver=1 erspan_idx=0",
                "erspan_idx=0x0, erspan_ver=1, remote_ip=1.1.1.1",
            ),
            (
                "erspan",
                "remote_ip=1.1.1.1 erspan_ver=2 erspan_dir=1 erspan_hwid=flow",
                "erspan_dir=1, erspan_hwid=flow, erspan_ver=2, remote_ip=1.1.1.1",
            ),
            (
                "erspan",
                "remote_ip=1.1.1.1 erspan_ver=flow",
                "erspan_dir=flow, erspan_hwid=flow, erspan_idx=flow, erspan_ver=flow, remote_ip=1.1.1.1",
            ),
        ] {
            assert_eq!(read(kind, options).to_string(), told, "{kind} {options}");
        }
    }

    #[test]
    fn lines_tell_what_is_matched_and_what_is_sent() {
        let line = |kind, options| read(kind, options).describe("t0", PortNo(4789));
        assert_eq!(
            line("vxlan", "remote_ip=1.1.1.1 key=flow out_key=0 tos=inherit df_default=false csum=false"),
            "port 4789: t0 (vxlan: ::->1.1.1.1, key=flow, legacy_l2, dp port=4789, out_key=0, ttl=64, tos=inherit, \
             df=false, csum=false)",
        );
        let flows = line("vxlan", "remote_ip=flow local_ip=flow in_key=1");
        assert!(flows.contains("flow->flow, key=0x1, legacy_l2, dp port=4789, out_key=none,"), "{flows}");
        assert!(line("gre", "remote_ip=flow local_ip=1.2.3.4").contains("1.2.3.4->flow, key=0,"));
    }
}

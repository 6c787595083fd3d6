//! Reading what a tunnel port is from the options of an interface (ovs-vswitchd.conf.db(5), "Tunnel Options").
//!
//! An option that cannot be leaves the tunnel as it is without the option, and is told; what there can be no tunnel with
//! or without is an error, which tells what came before too.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ovs_dpif::MAX_SEGMENTS;
use ovs_packet::extract::{ETH_TYPE_IPV4, ETH_TYPE_MPLS};

use super::config::{
    Bareudp, Checksum, FlowLabel, FromFlow, Inherited, Local, PacketMode, Remote, TunnelConfig, TunnelKey, TunnelKind,
};

/// The bits of a TOS that a configuration can set: the others are for congestion marks.
const DSCP: u8 = 0xfc;

/// Something wrong with one option.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TunnelProblem {
    /// The interface.
    pub name: String,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for TunnelProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.what)
    }
}

/// Why options make no tunnel: all that is wrong, the reason last, a line each.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct TunnelConfigError {
    /// All that is wrong.
    pub problems: Vec<TunnelProblem>,
}

impl fmt::Display for TunnelConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// The options are refused.
struct Refused;

struct Reader<'a> {
    name: &'a str,
    kind: TunnelKind,
    problems: Vec<TunnelProblem>,
    remote: Option<Remote>,
    config: TunnelConfig,
}

impl TunnelConfig {
    /// Reads the options of an interface of this name and kind. Problems that it is left with are told beside it.
    ///
    /// # Errors
    /// If there can be no tunnel with these options.
    pub fn parse(
        kind: TunnelKind,
        name: &str,
        options: &BTreeMap<String, String>,
    ) -> Result<(TunnelConfig, Vec<TunnelProblem>), TunnelConfigError> {
        let config = TunnelConfig::new(kind, Remote::Flow);
        let mut reader = Reader { name, kind, problems: Vec::new(), remote: None, config };
        let read = options.iter().try_for_each(|(key, value)| reader.option(key, value));
        match read.and_then(|()| reader.finish(options)) {
            Ok(()) => Ok((reader.config, reader.problems)),
            Err(Refused) => Err(TunnelConfigError { problems: reader.problems }),
        }
    }
}

impl Reader<'_> {
    fn tell(&mut self, what: String) {
        self.problems.push(TunnelProblem { name: self.name.to_string(), what });
    }

    fn refuse(&mut self, what: String) -> Result<(), Refused> {
        self.tell(what);
        Err(Refused)
    }

    fn option(&mut self, key: &str, value: &str) -> Result<(), Refused> {
        let kind = self.kind;
        match key {
            "remote_ip" => return self.remote_ip(value),
            "local_ip" => match (value, address(value)) {
                ("flow", _) => self.config.local = Local::Flow,
                (_, Some(address)) => self.config.local = Local::Address(address),
                _ => self.tell(format!("bad {} 'local_ip'", kind.name())),
            },
            // They depend on one another.
            "key" | "in_key" | "out_key" | "packet_type" => {}
            "tos" if value == "inherit" => self.config.tos = Inherited::Inherit,
            "tos" => match number(value).and_then(|n| u8::try_from(n).ok()).filter(|tos| tos & !DSCP == 0) {
                Some(tos) => self.config.tos = Inherited::Fixed(tos),
                None => self.tell(format!("invalid TOS {value}")),
            },
            "ttl" if value == "inherit" => self.config.ttl = Inherited::Inherit,
            "ttl" => match value.parse() {
                // Zero is what is usual.
                Ok(0) => {}
                Ok(ttl) => self.config.ttl = Inherited::Fixed(ttl),
                Err(_) => self.tell(format!("invalid TTL {value}")),
            },
            "dst_port" if kind.usual_port().is_some() => match value.parse() {
                Ok(port) => self.config.dst_port = port,
                Err(_) => self.tell(format!("invalid dst_port {value}")),
            },
            "csum" if kind.has_checksum() => match value {
                "true" => self.config.checksum = Checksum::Enabled,
                "false" => self.config.checksum = Checksum::Disabled,
                _ => self.tell(format!("csum {value}: not true or false")),
            },
            "seq" if kind.is_gre() => self.config.sequence = self.boolean("seq", value).unwrap_or(false),
            "df_default" => self.config.dont_fragment = self.boolean("df_default", value).unwrap_or(true),
            "exts" if kind == TunnelKind::Vxlan => {
                for extension in value.split(',').filter(|e| !e.is_empty()) {
                    match extension {
                        "gbp" => self.config.vxlan.gbp = true,
                        "gpe" => self.config.vxlan.gpe = true,
                        odd => self.tell(format!("unknown extension '{odd}'")),
                    }
                }
            }
            "egress_pkt_mark" => match value.parse() {
                Ok(mark) => self.config.egress_mark = Some(mark),
                Err(_) => self.tell(format!("invalid egress_pkt_mark {value}")),
            },
            "erspan_ver" | "erspan_idx" | "erspan_dir" | "erspan_hwid" if kind.is_erspan() => {
                return self.erspan(key, value);
            }
            "srv6_segs" if kind == TunnelKind::Srv6 => {
                let segments: Option<Vec<Ipv6Addr>> =
                    value.split(',').filter(|s| !s.is_empty()).map(|s| s.parse().ok()).collect();
                match segments.filter(|s| s.len() <= MAX_SEGMENTS) {
                    Some(segments) => self.config.srv6.segments = segments,
                    None => self.tell(format!("bad {value} 'srv6_segs'")),
                }
            }
            "srv6_flowlabel" if kind == TunnelKind::Srv6 => match value {
                "copy" => self.config.srv6.label = FlowLabel::Copy,
                "zero" => self.config.srv6.label = FlowLabel::Zero,
                "compute" => self.config.srv6.label = FlowLabel::Compute,
                odd => self.tell(format!("srv6_flowlabel {odd}: not copy, zero or compute")),
            },
            "payload_type" if kind == TunnelKind::Bareudp => {
                let (payload, multiproto) = match value {
                    "mpls" => (ETH_TYPE_MPLS, true),
                    "ip" => (ETH_TYPE_IPV4, true),
                    other => match number(other).and_then(|n| u16::try_from(n).ok()) {
                        Some(payload) => (payload, false),
                        None => return self.refuse(format!("bad {value} 'payload_type'")),
                    },
                };
                self.config.bareudp = Bareudp { payload, multiproto };
            }
            // What is read by those who guard tunnels with IPsec.
            "remote_cert" | "remote_name" | "psk" => {}
            key if key.starts_with("ipsec_") => {}
            key => self.tell(format!("unknown {} argument '{key}'", kind.name())),
        }
        Ok(())
    }

    fn boolean(&mut self, key: &str, value: &str) -> Option<bool> {
        match value.parse() {
            Ok(value) => Some(value),
            Err(_) => {
                self.tell(format!("{key} {value}: not true or false"));
                None
            }
        }
    }

    fn remote_ip(&mut self, value: &str) -> Result<(), Refused> {
        match (value, address(value)) {
            ("flow", _) => self.remote = Some(Remote::Flow),
            (_, Some(address)) if address.is_multicast() => {
                return self.refuse(format!("multicast remote_ip={value} not allowed"));
            }
            (_, Some(address)) => self.remote = Some(Remote::Address(address)),
            _ => self.tell(format!("bad {} 'remote_ip'", self.kind.name())),
        }
        Ok(())
    }

    fn erspan(&mut self, key: &str, value: &str) -> Result<(), Refused> {
        let erspan = &mut self.config.erspan;
        let hexadecimal = || u32::from_str_radix(value.trim_start_matches("0x"), 16).ok();
        let is_flow = value == "flow";
        match key {
            // Nothing is known of the version then.
            "erspan_ver" if is_flow => {
                (erspan.version, erspan.index) = (FromFlow::Flow, FromFlow::Flow);
                (erspan.direction, erspan.hardware) = (FromFlow::Flow, FromFlow::Flow);
            }
            "erspan_idx" if is_flow => erspan.index = FromFlow::Flow,
            "erspan_dir" if is_flow => erspan.direction = FromFlow::Flow,
            "erspan_hwid" if is_flow => erspan.hardware = FromFlow::Flow,
            "erspan_ver" => match value.parse() {
                Ok(version @ 1..=2) => erspan.version = FromFlow::Fixed(version),
                _ => return self.refuse(format!("invalid erspan version: {value}")),
            },
            "erspan_idx" => match hexadecimal().filter(|index| *index < 1 << 20) {
                Some(index) => erspan.index = FromFlow::Fixed(index),
                None => return self.refuse(format!("invalid erspan index: {value}")),
            },
            "erspan_dir" => match value.parse() {
                Ok(direction @ 0..=1) => erspan.direction = FromFlow::Fixed(direction),
                _ => return self.refuse(format!("invalid erspan direction: {value}")),
            },
            _ => match hexadecimal().and_then(|id| u8::try_from(id).ok()).filter(|id| *id < 1 << 6) {
                Some(id) => erspan.hardware = FromFlow::Fixed(id),
                None => return self.refuse(format!("invalid erspan hardware ID: {value}")),
            },
        }
        Ok(())
    }

    /// What depends on several options.
    fn finish(&mut self, options: &BTreeMap<String, String>) -> Result<(), Refused> {
        let (kind, layers) = (self.kind.name(), self.config.layers());
        let full = match (self.kind, self.config.vxlan.gpe) {
            (TunnelKind::Vxlan, true) => "VXLAN-GPE",
            (TunnelKind::Vxlan, false) => "VXLAN (without GPE)",
            _ => kind,
        };
        self.config.mode = match (options.get("packet_type").map(String::as_str), layers) {
            (None, _) => self.config.mode,
            (Some("legacy_l2"), (true, _)) => PacketMode::LegacyL2,
            (Some("legacy_l3"), (_, true)) => PacketMode::LegacyL3,
            (Some("ptap"), _) => PacketMode::Aware,
            (Some("legacy_l2"), _) => {
                return self.refuse(format!("legacy_l2 configured on {full} tunnel that cannot carry L2 traffic"));
            }
            (Some("legacy_l3"), _) => {
                return self.refuse(format!("legacy_l3 configured on {full} tunnel that cannot carry L3 traffic"));
            }
            (Some(odd), _) => return self.refuse(format!("unknown packet_type '{odd}'")),
        };
        let Some(remote) = self.remote else {
            return self.refuse(format!("{kind} type requires valid 'remote_ip' argument"));
        };
        self.config.remote = remote;
        match (remote, self.config.local) {
            (Remote::Address(_), Local::Flow) => {
                return self.refuse(format!("{kind} type requires 'remote_ip=flow' with 'local_ip=flow'"));
            }
            (Remote::Address(there), Local::Address(here)) if there.is_ipv4() != here.is_ipv4() => {
                return self.refuse("'remote_ip' and 'local_ip' has to be of the same address family".to_string());
            }
            _ => {}
        }
        self.config.in_key = self.key("in_key", options);
        self.config.out_key = self.key("out_key", options);
        Ok(())
    }

    fn key(&mut self, option: &str, options: &BTreeMap<String, String>) -> TunnelKey {
        let Some(value) = options.get(option).or_else(|| options.get("key")) else { return TunnelKey::None };
        if value == "flow" {
            return TunnelKey::Flow;
        }
        match number(value) {
            Some(key) => TunnelKey::Id(key),
            None => {
                self.tell(format!("invalid {option} {value}"));
                TunnelKey::None
            }
        }
    }
}

/// An address of either family; one of IPv4 in the clothes of IPv6 is one of IPv4.
fn address(text: &str) -> Option<IpAddr> {
    text.parse::<Ipv4Addr>()
        .map(IpAddr::V4)
        .ok()
        .or_else(|| text.parse::<Ipv6Addr>().ok().map(|a| IpAddr::V6(a).to_canonical()))
}

/// A number in any of the ways of C: decimal, `0x` hexadecimal, `0` octal.
fn number(text: &str) -> Option<u64> {
    let (digits, base) = match text {
        "0" => (text, 10),
        text => match (text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")), text.strip_prefix('0')) {
            (Some(digits), _) => (digits, 16),
            (None, Some(digits)) => (digits, 8),
            (None, None) => (text, 10),
        },
    };
    u64::from_str_radix(digits, base).ok().filter(|_| !digits.starts_with('+'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: &str, options: &[(&str, &str)]) -> Result<(TunnelConfig, Vec<TunnelProblem>), TunnelConfigError> {
        let options = options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        TunnelConfig::parse(TunnelKind::of_name(kind).unwrap(), "t0", &options)
    }

    #[test]
    fn what_cannot_be_is_refused_with_all_that_was_wrong() {
        let remote = ("remote_ip", "1.1.1.1");
        for (kind, options, says) in [
            ("gre", &[][..], "t0: gre type requires valid 'remote_ip' argument"),
            (
                "gre",
                &[("remote_ip", "1.1.1")],
                "t0: bad gre 'remote_ip'\nt0: gre type requires valid 'remote_ip' argument",
            ),
            ("vxlan", &[("remote_ip", "224.0.0.1")], "t0: multicast remote_ip=224.0.0.1 not allowed"),
            ("vxlan", &[("remote_ip", "ff02::1")], "t0: multicast remote_ip=ff02::1 not allowed"),
            ("gre", &[remote, ("local_ip", "flow")], "t0: gre type requires 'remote_ip=flow' with 'local_ip=flow'"),
            (
                "gre",
                &[remote, ("local_ip", "::1")],
                "t0: 'remote_ip' and 'local_ip' has to be of the same address family",
            ),
            ("gre", &[remote, ("packet_type", "x")], "t0: unknown packet_type 'x'"),
            (
                "vxlan",
                &[remote, ("packet_type", "legacy_l3")],
                "t0: legacy_l3 configured on VXLAN (without GPE) tunnel that cannot carry L3 traffic",
            ),
            (
                "srv6",
                &[remote, ("packet_type", "legacy_l2")],
                "t0: legacy_l2 configured on srv6 tunnel that cannot carry L2 traffic",
            ),
            ("erspan", &[remote, ("erspan_ver", "3")], "t0: invalid erspan version: 3"),
            ("erspan", &[remote, ("erspan_idx", "100000")], "t0: invalid erspan index: 100000"),
            ("erspan", &[remote, ("erspan_dir", "2")], "t0: invalid erspan direction: 2"),
            ("erspan", &[remote, ("erspan_hwid", "0x40")], "t0: invalid erspan hardware ID: 0x40"),
            ("bareudp", &[remote, ("payload_type", "65536")], "t0: bad 65536 'payload_type'"),
        ] {
            assert_eq!(parse(kind, options).unwrap_err().to_string(), says, "{kind} {options:?}");
        }
    }

    #[test]
    fn what_can_be_left_out_is_told() {
        for (kind, option, says) in [
            ("gre", ("local_ip", "x"), "t0: bad gre 'local_ip'"),
            ("gre", ("tos", "3"), "t0: invalid TOS 3"),
            ("gre", ("tos", "256"), "t0: invalid TOS 256"),
            ("gre", ("ttl", "x"), "t0: invalid TTL x"),
            ("gre", ("dst_port", "5"), "t0: unknown gre argument 'dst_port'"),
            ("vxlan", ("dst_port", "65536"), "t0: invalid dst_port 65536"),
            ("vxlan", ("exts", "gpe,xyz"), "t0: unknown extension 'xyz'"),
            ("geneve", ("exts", "gbp"), "t0: unknown geneve argument 'exts'"),
            ("geneve", ("seq", "true"), "t0: unknown geneve argument 'seq'"),
            ("gtpu", ("csum", "true"), "t0: unknown gtpu argument 'csum'"),
            ("gre", ("csum", "yes"), "t0: csum yes: not true or false"),
            ("gre", ("key", "x"), "t0: invalid in_key x"),
            ("srv6", ("srv6_segs", "1::,x"), "t0: bad 1::,x 'srv6_segs'"),
            ("srv6", ("srv6_segs", "1::,2::,3::,4::,5::,6::,7::"), "t0: bad 1::,2::,3::,4::,5::,6::,7:: 'srv6_segs'"),
            ("srv6", ("srv6_flowlabel", "x"), "t0: srv6_flowlabel x: not copy, zero or compute"),
            ("gre", ("odd", ""), "t0: unknown gre argument 'odd'"),
        ] {
            let (_, problems) = parse(kind, &[("remote_ip", "fc00::1"), option]).unwrap();
            assert_eq!(problems[0].to_string(), says, "{kind} {option:?}");
        }
        let ipsec = [("remote_ip", "flow"), ("psk", "x"), ("remote_cert", "x"), ("remote_name", "x"), ("ipsec_x", "y")];
        assert_eq!(parse("gre", &ipsec).unwrap().1, []);
    }

    #[test]
    fn numbers_are_as_in_c() {
        for (text, value) in
            [("0", Some(0)), ("010", Some(8)), ("0x1F", Some(31)), ("12", Some(12)), ("+1", None), ("", None)]
        {
            assert_eq!(number(text), value, "{text}");
        }
    }

    #[test]
    fn either_key_is_that_of_both_unless_it_has_its_own() {
        let keys = |options: &[(&str, &str)]| {
            let all: Vec<_> = options.iter().copied().chain([("remote_ip", "1.1.1.1")]).collect();
            let (config, _) = parse("gre", &all).unwrap();
            (config.in_key, config.out_key)
        };
        assert_eq!(keys(&[]), (TunnelKey::None, TunnelKey::None));
        assert_eq!(keys(&[("key", "flow")]), (TunnelKey::Flow, TunnelKey::Flow));
        assert_eq!(keys(&[("key", "1"), ("out_key", "0x2")]), (TunnelKey::Id(1), TunnelKey::Id(2)));
        assert_eq!(keys(&[("in_key", "3")]), (TunnelKey::Id(3), TunnelKey::None));
    }
}

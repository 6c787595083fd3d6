//! Ports.

use std::fmt::{self, Write};

use ovs_packet::text::PortText;

use super::{Count, Printer, bits, duration};
use crate::codec::{Port, PortStats, Version};

pub(super) const CONFIG: [(u32, &str); 7] = [
    (1, "PORT_DOWN"),
    (2, "NO_STP"),
    (4, "NO_RECV"),
    (8, "NO_RECV_STP"),
    (16, "NO_FLOOD"),
    (32, "NO_FWD"),
    (64, "NO_PACKET_IN"),
];

/// Features of a port from OpenFlow 1.1 on; 1.0 has no rates between 10 and 100 Gbit/s.
pub(super) const FEATURES: [&str; 16] = [
    "10MB-HD",
    "10MB-FD",
    "100MB-HD",
    "100MB-FD",
    "1GB-HD",
    "1GB-FD",
    "10GB-FD",
    "40GB-FD",
    "100GB-FD",
    "1TB-FD",
    "OTHER",
    "COPPER",
    "FIBER",
    "AUTO_NEG",
    "AUTO_PAUSE",
    "AUTO_PAUSE_ASYM",
];

pub(super) fn features(out: &mut String, value: u32, version: Version) -> fmt::Result {
    let value = match version {
        Version::V1_0 => value & 0x7f | (value & 0xf80) << 4,
        _ => value & 0xffff,
    };
    let names: Vec<(u32, &str)> = FEATURES.iter().enumerate().map(|(n, name)| (1u32 << n, *name)).collect();
    bits(out, value, &names)?;
    out.push('\n');
    Ok(())
}

pub(super) fn wire_features(value: u32, version: Version) -> u32 {
    if version == Version::V1_0 { value & 0xfff } else { value & 0xffff }
}

/// The counters of RFC 2819 of either way, in the order in which they are told: the place of each in
/// [`PortStats::rfc2819`].
const RFC_2819: [(&str, &[(usize, &str)]); 2] = [
    (
        "rx",
        &[
            (0, "1_to_64_packets"),
            (1, "65_to_127_packets"),
            (2, "128_to_255_packets"),
            (3, "256_to_511_packets"),
            (4, "512_to_1023_packets"),
            (5, "1024_to_1522_packets"),
            (6, "1523_to_max_packets"),
            (15, "broadcast_packets"),
            (17, "undersized_errors"),
            (18, "oversize_errors"),
            (19, "rx_fragmented_errors"),
            (20, "rx_jabber_errors"),
        ],
    ),
    (
        "tx",
        &[
            (7, "1_to_64_packets"),
            (8, "65_to_127_packets"),
            (9, "128_to_255_packets"),
            (10, "256_to_511_packets"),
            (11, "512_to_1023_packets"),
            (12, "1024_to_1522_packets"),
            (13, "1523_to_max_packets"),
            (14, "multicast_packets"),
            (16, "broadcast_packets"),
        ],
    ),
];

impl Printer<'_> {
    pub(super) fn ports(&mut self, ports: &[Port]) -> fmt::Result {
        let mut sorted: Vec<&Port> = ports.iter().collect();
        sorted.sort_by_key(|p| p.number.0);
        sorted.into_iter().try_for_each(|p| self.port(p))
    }

    pub(super) fn port(&mut self, p: &Port) -> fmt::Result {
        let version = self.header.version;
        let out = &mut self.out;
        let name: String = p.name.chars().take_while(|c| matches!(c, ' '..='~')).take(63).collect();
        write!(out, " {}({name}): addr:{}\n     config:     ", p.number, p.hw_addr)?;
        bits(out, p.config, &CONFIG)?;
        out.push_str("\n     state:      ");
        if version == Version::V1_0 {
            let stp = p.state & 0x300;
            match stp {
                0 => bits(out, p.state & 1, &[(1, "LINK_DOWN")])?,
                _ => {
                    out.push_str(match stp {
                        0x100 => "STP_LEARN",
                        0x200 => "STP_FORWARD",
                        _ => "STP_BLOCK",
                    });
                    if p.state & 1 != 0 {
                        out.push_str("LINK_DOWN");
                    }
                }
            }
        } else {
            bits(out, p.state, &[(1, "LINK_DOWN"), (2, "BLOCKED"), (4, "LIVE")])?;
        }
        out.push('\n');
        for (name, value) in ["current:    ", "advertised: ", "supported:  ", "peer:       "].iter().zip(p.features) {
            if wire_features(value, version) != 0 {
                write!(out, "     {name}")?;
                features(out, value, version)?;
            }
        }
        let [mut now, mut max] = p.speed;
        if version == Version::V1_0 {
            now = speed_of(p.features[0]);
            max = speed_of(p.features[2]);
        }
        writeln!(out, "     speed: {} Mbps now, {} Mbps max", now / 1000, max / 1000)
    }

    pub(super) fn port_stats(&mut self, p: &PortStats) -> fmt::Result {
        let out = &mut self.out;
        let [rx, tx, rx_bytes, tx_bytes, rx_drop, tx_drop, rx_errs, tx_errs, frame, over, crc, coll] =
            p.counts.map(Count);
        let pad = if p.number.to_16().is_some_and(|n| n < 10) { " " } else { "" };
        writeln!(
            out,
            "  port {pad}{}: rx pkts={rx}, bytes={rx_bytes}, drop={rx_drop}, errs={rx_errs}, frame={frame}, over={over}, \
             crc={crc}",
            PortText(p.number, self.names)
        )?;
        writeln!(out, "           tx pkts={tx}, bytes={tx_bytes}, drop={tx_drop}, errs={tx_errs}, coll={coll}")?;
        match p.duration {
            Some((secs, nanos)) if secs != u32::MAX => writeln!(out, "           duration={}", duration(secs, nanos))?,
            _ => {}
        }
        for (way, names) in RFC_2819 {
            let told = names.iter().filter_map(|(at, name)| Some((name, *p.rfc2819.get(*at)?)));
            let mut told = told.filter(|(_, count)| *count != u64::MAX).peekable();
            if told.peek().is_some() {
                write!(out, "           {way} rfc2819 ")?;
                told.try_for_each(|(name, count)| write!(out, "{name}={count}, "))?;
                out.push('\n');
            }
        }
        if p.custom.is_empty() {
            return Ok(());
        }
        out.push_str("           CUSTOM Statistics");
        for (n, counter) in p.custom.iter().enumerate().filter(|(_, counter)| !counter.name.is_empty()) {
            out.push_str(if n.is_multiple_of(3) { "\n                      " } else { " " });
            write!(out, "{}={},", counter.name, counter.value)?;
        }
        out.push('\n');
        Ok(())
    }
}

/// Kilobits per second by the features of OpenFlow 1.0.
pub(super) fn speed_of(features: u32) -> u32 {
    match features {
        f if f & 0x40 != 0 => 10_000_000,
        f if f & 0x30 != 0 => 1_000_000,
        f if f & 0x0c != 0 => 100_000,
        f if f & 0x03 != 0 => 10_000,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use crate::codec::{CustomCounter, Message, Page, PortStats, Version};
    use crate::text::ofp_print;

    #[test]
    fn counters_of_the_ports_own_are_told_three_a_line() {
        let mut stats = PortStats { rfc2819: vec![u64::MAX; 21], ..PortStats::default() };
        (stats.rfc2819[1], stats.rfc2819[15], stats.rfc2819[16]) = (5, 6, 7);
        stats.duration = Some((0, 0));
        let counter = |n: u64| CustomCounter { name: format!("c{n}"), value: n };
        stats.custom = (0..4).map(counter).collect();
        let message = Message::PortStatsReply(Page { more: false, items: vec![stats] });
        let bytes = message.encode(Version::V1_4, 1).unwrap();
        assert_eq!(Message::decode(&bytes).unwrap().1, message);
        let text = ofp_print(&bytes, 1);
        let told = "           duration=0s\n           rx rfc2819 65_to_127_packets=5, broadcast_packets=6, \n           \
                    tx rfc2819 broadcast_packets=7, \n           CUSTOM Statistics\n                      \
                    c0=0, c1=1, c2=2,\n                      c3=3,\n";
        assert!(text.ends_with(told), "{text}");
    }
}

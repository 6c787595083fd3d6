//! Which controllers of a bridge are reached through it, and by which neighbour.
//!
//! A controller is reached in band unless its `connection_mode` says otherwise, or the bridge's
//! `other_config:disable-in-band` does. The next hop towards it is what the system's tables of routes and neighbours say
//! (`/proc/net/route`, `/proc/net/arp`); they are read again after a while, and sooner while no address is known.

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use ovs_ofproto::pipeline::{InBandConfig, InBandRemote};
use ovs_ofproto::session::Endpoint;
use ovs_packet::{EthAddr, Instant};

use crate::vswitch::{Bridge, Vswitch, flag};

/// How long addresses of next hops are taken for true.
const TRUSTED: Duration = Duration::from_secs(10);

/// The same while one is not known.
const SOUGHT: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct InBand {
    remotes: Vec<(Ipv4Addr, u16)>,
    queue: Option<u32>,
    /// When to look for next hops again; nothing to look for if not set.
    refresh_at: Option<Instant>,
}

impl InBand {
    /// Takes note of controllers, by their endpoints. Names of hosts are not looked up.
    pub(super) fn configure<'a>(
        &mut self,
        bridge: &Bridge,
        endpoints: impl Iterator<Item = &'a Endpoint>,
        now: Instant,
    ) {
        let config = &bridge.config().other_config;
        let is_disabled = flag(config, "disable-in-band", false);
        let remote = |e: &Endpoint| match e {
            Endpoint::Tcp { host, port } | Endpoint::Ssl { host, port } => Some((host.parse().ok()?, *port)),
            _ => None,
        };
        let mut remotes: Vec<(Ipv4Addr, u16)> = endpoints.filter(|_| !is_disabled).filter_map(remote).collect();
        remotes.sort_unstable();
        remotes.dedup();
        self.queue = config.get("in-band-queue").and_then(|q| q.parse().ok());
        if !remotes.is_empty() || !self.remotes.is_empty() {
            self.refresh_at = Some(now);
        }
        self.remotes = remotes;
    }

    /// Tells the bridge's switch how it is reached, where that may be otherwise by now.
    pub(super) fn run(&mut self, bridge: &str, switch: &mut Vswitch, now: Instant) {
        if self.refresh_at.is_none_or(|at| now < at) {
            return;
        }
        let neighbours = if self.remotes.is_empty() { Neighbours::default() } else { Neighbours::of_system() };
        let mut config = InBandConfig::default();
        config.local = switch.bridge(bridge).map(Bridge::address);
        config.queue = self.queue;
        let remote = |(address, port): &(Ipv4Addr, u16)| {
            let next_hop = neighbours.next_hop(*address);
            InBandRemote { address: *address, port: *port, next_hop }
        };
        config.remotes = self.remotes.iter().map(remote).collect();
        let all_known = config.remotes.iter().all(|r| r.next_hop.is_some());
        let wait = if all_known { TRUSTED } else { SOUGHT };
        self.refresh_at = (!self.remotes.is_empty()).then_some(now + wait);
        switch.with_ofproto(bridge, now, |of, _| of.set_in_band(config, now));
    }

    /// How long to wait until there is something to do.
    pub(super) fn timeout(&self, now: Instant) -> Option<Duration> {
        self.refresh_at.map(|at| at.since(now))
    }
}

/// The system's routes and neighbours of IPv4.
#[derive(Debug, Default)]
struct Neighbours {
    /// Destination, mask, gateway (zero for none) and metric.
    routes: Vec<(u32, u32, u32, u32)>,
    addresses: Vec<(Ipv4Addr, EthAddr)>,
}

impl Neighbours {
    fn of_system() -> Neighbours {
        let read = |file| fs::read_to_string(file).unwrap_or_default();
        Neighbours::of(&read("/proc/net/route"), &read("/proc/net/arp"))
    }

    /// Reads both tables, in the form that Linux gives them. Lines that are something else are none.
    fn of(routes: &str, neighbours: &str) -> Neighbours {
        // Addresses are numbers as the machine has them in memory.
        let number = |text: &str| u32::from_str_radix(text, 16).ok().map(|n| u32::from_be_bytes(n.to_ne_bytes()));
        let route = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [_, destination, gateway, _, _, _, metric, mask, ..] = *words.as_slice() else { return None };
            Some((number(destination)?, number(mask)?, number(gateway)?, metric.parse().ok()?))
        };
        let neighbour = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [address, _, _, hardware, ..] = *words.as_slice() else { return None };
            let hardware: EthAddr = hardware.parse().ok()?;
            Some((address.parse().ok()?, hardware)).filter(|_| hardware != EthAddr::default())
        };
        let (routes, neighbours) = (routes.lines().skip(1), neighbours.lines().skip(1));
        Neighbours { routes: routes.filter_map(route).collect(), addresses: neighbours.filter_map(neighbour).collect() }
    }

    /// The address of the next hop towards an address, which may be its own.
    fn next_hop(&self, to: Ipv4Addr) -> Option<EthAddr> {
        let wanted = u32::from(to);
        let fitting = self.routes.iter().filter(|(destination, mask, ..)| wanted & mask == *destination);
        let (_, _, gateway, _) = fitting.max_by_key(|(_, mask, _, metric)| (*mask, std::cmp::Reverse(*metric)))?;
        let hop = if *gateway == 0 { to } else { Ipv4Addr::from(*gateway) };
        self.addresses.iter().find(|(address, _)| *address == hop).map(|(_, hardware)| *hardware)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_hop_is_the_gateway_or_the_host() {
        let hex = |a: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(a));
        let line = |to, gateway, metric, mask| {
            format!("eth0\t{}\t{}\t0003\t0\t0\t{metric}\t{}\t0\t0\t0\n", hex(to), hex(gateway), hex(mask))
        };
        let routes = [
            "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n".to_string(),
            line([0; 4], [10, 0, 0, 1], 100, [0; 4]),
            line([0; 4], [10, 0, 0, 2], 50, [0; 4]),
            line([10, 0, 0, 0], [0; 4], 100, [255, 255, 255, 0]),
        ];
        let arp = "IP address  HW type  Flags  HW address  Mask  Device\n\
                   10.0.0.2  0x1  0x2  02:00:00:00:00:02  *  eth0\n\
                   10.0.0.9  0x1  0x2  02:00:00:00:00:09  *  eth0\n\
                   10.0.0.7  0x1  0x0  00:00:00:00:00:00  *  eth0\n";
        let known = Neighbours::of(&routes.concat(), arp);
        let hop = |to: &str| known.next_hop(to.parse().unwrap()).map(|a| a.0[5]);
        assert_eq!(
            (hop("192.0.2.1"), hop("10.0.0.9"), hop("10.0.0.7"), hop("10.0.0.8")),
            (Some(2), Some(9), None, None)
        );
        assert_eq!(Neighbours::default().next_hop(Ipv4Addr::LOCALHOST), None);
    }
}

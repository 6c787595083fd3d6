//! What controllers ask of the world beside the switch: devices, tracked connections.

use std::fmt;

use ovs_dpif::DpifError;
use ovs_dpif::connections::{Filter, TupleFilter};
use ovs_ofproto::codec::{CtFlush, CtTuple};
use ovs_ofproto::pipeline::{Event, Ofproto, PortConfig as PortState};
use ovs_ofproto::text::TrackedText;

use super::bridge::{Bridge, BridgePort};
use super::devices::Devices;
use super::shared::Shared;

impl Bridge {
    /// Does what controllers asked of devices and of tracked connections.
    pub(super) fn obey_controllers(
        &mut self,
        shared: &mut Shared,
        devices: &mut dyn Devices,
        now: ovs_packet::Instant,
    ) {
        while let Some(event) = shared.switches.configure(self.place, Ofproto::poll_event).flatten() {
            match event {
                Event::PortConfig(number) => {
                    let port = shared.switches.get(self.place).and_then(|of| of.port(number));
                    let Some(port) = port else { continue };
                    let (name, up) = (port.name.clone(), !port.config.contains(PortState::DOWN));
                    let Some(port) = self.ports.get(&name).cloned() else { continue };
                    // The end of a patch is no device: it is down where the pipeline takes it for that.
                    if port.datapath.is_some()
                        && let Err(e) = devices.set_up(&name, up)
                    {
                        tracing::warn!(target: "bridge", "{name}: {e}");
                    }
                    self.publish(&port, shared, devices);
                }
                Event::FlushConnections(which) => {
                    let datapath = shared.datapath.info().full_name();
                    tracing::debug!(target: "ct_dpif", "{datapath}: ct_flush: {}", Flushed(&which));
                    let flushed = match shared.datapath.dpif_mut().conntrack() {
                        Some(connections) => connections.flush(&filter(&which), now).map(drop),
                        None => Err(DpifError::Unsupported("connection tracking")),
                    };
                    if let Err(e) = flushed {
                        tracing::warn!(target: "ofproto", "{}: connections are not flushed: {e}", self.name);
                    }
                }
                // Those who are connected were told.
                _ => {}
            }
        }
    }

    /// Has controllers know what became of devices.
    pub(super) fn meet_devices(&mut self, shared: &mut Shared, devices: &mut dyn Devices) {
        let ports: Vec<BridgePort> = self.ports.values().filter(|p| p.datapath.is_some()).cloned().collect();
        for port in ports {
            let Some(known) = devices.attributes(&port.name) else { continue };
            let told = shared.switches.get(self.place).and_then(|of| of.port(port.number));
            let is_news = told.is_some_and(|p| {
                let is_up = !p.config.contains(PortState::DOWN);
                p.link_up != known.carrier || is_up != known.up || known.address.is_some_and(|a| a != p.hw_addr)
            });
            if is_news {
                self.publish(&port, shared, devices);
            }
        }
    }
}

/// Which connections a controller wants forgotten.
fn filter(which: &CtFlush) -> Filter {
    let way = |tuple: &CtTuple| {
        let (is_icmp, (id, kind, code)) = (which.is_icmp(), tuple.icmp);
        let port = |port: u16| Some(port).filter(|port| *port != 0 && !is_icmp);
        TupleFilter {
            src: tuple.src,
            dst: tuple.dst,
            proto: Some(which.protocol).filter(|p| *p != 0),
            src_port: port(tuple.src_port),
            dst_port: port(tuple.dst_port),
            icmp_id: Some(id).filter(|id| *id != 0 && is_icmp),
            icmp_type: Some(kind).filter(|kind| *kind != 0 && is_icmp),
            icmp_code: Some(code).filter(|code| *code != 0 && is_icmp),
        }
    };
    Filter {
        zone: which.zone,
        mark: which.mark,
        label: which.labels,
        original: way(&which.original),
        reply: way(&which.reply),
    }
}

/// Which connections are forgotten, as the log has it: all, those of a zone, or those that agree in what else is said.
struct Flushed<'a>(&'a CtFlush);

impl fmt::Display for Flushed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let says_more = {
            let CtFlush { protocol, original, reply, .. } = self.0;
            let any = CtTuple::default();
            let marked = self.0.mark.is_some_and(|(_, mask)| mask != 0);
            let labeled = self.0.labels.is_some_and(|(_, mask)| mask != 0);
            *protocol != 0 || *original != any || *reply != any || marked || labeled
        };
        match (says_more, self.0.zone) {
            (true, zone) => write!(f, "zone={} {}", zone.unwrap_or(0), TrackedText(self.0)),
            (false, Some(zone)) => write!(f, "zone {zone}"),
            (false, None) => f.write_str("<all>"),
        }
    }
}

#[cfg(test)]
mod tests {
    use ovs_ofproto::text::connections;

    use super::*;

    #[test]
    fn what_is_forgotten_in_words() {
        let says = |arguments: &[&str]| Flushed(&connections(arguments).unwrap()).to_string();
        assert_eq!(says(&[]), "<all>");
        assert_eq!(says(&["zone=6", "mark=30/0", "labels=30/0"]), "zone 6");
        let both = "'ct_ipv6_src=::,ct_ipv6_dst=::,ct_tp_src=0,ct_tp_dst=0";
        assert_eq!(says(&["mark=0"]), format!("zone=0 mark=0 {both},ct_nw_proto=0' {both}'"));
        assert_eq!(
            says(&["zone=5", "", "ct_nw_src=10.1.1.3,ct_nw_proto=17,ct_tp_src=1"]),
            "zone=5 'ct_nw_src=::,ct_nw_dst=::,ct_tp_src=0,ct_tp_dst=0,ct_nw_proto=17' \
             'ct_nw_src=10.1.1.3,ct_nw_dst=::,ct_tp_src=1,ct_tp_dst=0'"
        );
    }

    #[test]
    fn what_controllers_want_forgotten() {
        let mut which = CtFlush::default();
        assert_eq!(filter(&which), Filter::default());
        (which.zone, which.protocol) = (Some(5), 1);
        which.original.icmp = (7, 8, 0);
        which.original.src_port = 9;
        let asked = filter(&which);
        assert_eq!((asked.zone, asked.original.proto, asked.original.src_port), (Some(5), Some(1), None));
        assert_eq!(
            (asked.original.icmp_id, asked.original.icmp_type, asked.original.icmp_code),
            (Some(7), Some(8), None)
        );
        (which.protocol, which.original.icmp) = (17, (0, 0, 0));
        assert_eq!(filter(&which).original.src_port, Some(9));
    }
}

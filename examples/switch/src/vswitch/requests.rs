//! What controllers ask of the world beside the switch: devices, tracked connections.

use ovs_dpif::DpifError;
use ovs_dpif::connections::{Filter, TupleFilter};
use ovs_ofproto::codec::{CtFlush, CtTuple};
use ovs_ofproto::pipeline::{Event, Ofproto, PortConfig as PortState};

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
#[cfg(test)]
mod tests {
    use super::*;

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

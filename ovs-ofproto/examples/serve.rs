//! An OpenFlow switch on a socket: `serve punix:/tmp/br0.mgmt`, then `ovs-ofctl dump-flows unix:/tmp/br0.mgmt`.
//!
//! It has three ports that lead nowhere. One thread runs the switch and all sessions, in a loop that waits a little when
//! there is nothing to do.

use std::error::Error;
use std::time::Duration;

use ovs_dpif::netdev::MemPort;
use ovs_dpif::userspace::Datapath;
use ovs_dpif::{Dpif, PortSpec};
use ovs_ofproto::codec::Version;
use ovs_ofproto::pipeline::{ConnectionConfig, ConnectionId, ConnectionKind, Ofproto, Port};
use ovs_ofproto::session::edge::{Driver, Listener, StreamOptions};
use ovs_ofproto::session::{Amount, Frame, ListenOn, SessionEvent, SessionOptions};
use ovs_packet::{EthAddr, Instant, OfPort};

/// No more than this waits in a session: what is beyond waits in the switch, which knows what to drop.
const ENOUGH: Amount = Amount { messages: 16, bytes: 256 << 10 };

struct Controller {
    driver: Driver,
    connection: Option<ConnectionId>,
}

fn serve(of: &mut Ofproto, dp: &mut Datapath, c: &mut Controller, now: Instant) -> Result<bool, Box<dyn Error>> {
    c.driver.run(now);
    let mut busy = false;
    while c.connection.is_none_or(|id| of.wants_input(id)) {
        let Some(event) = c.driver.poll_event(now) else { break };
        busy = true;
        match event {
            SessionEvent::Connected { version } => {
                let mut config = ConnectionConfig::new(version);
                config.kind = ConnectionKind::Service;
                c.connection = Some(of.connect(&config));
            }
            SessionEvent::Message(frame) => {
                if let Some(id) = c.connection {
                    of.handle_message(dp, id, frame.bytes(), now)?;
                }
            }
            SessionEvent::Closed(_) => {
                c.connection.take().map(|id| of.disconnect(id));
                return Ok(busy);
            }
        }
    }
    if let Some(id) = c.connection {
        while !c.driver.session().queued().reaches(ENOUGH) {
            let Some(output) = of.poll_output(dp, id, now) else { break };
            busy = true;
            c.driver.send(&Frame::new(output.message)?, output.class)?;
        }
    }
    c.driver.run(now);
    Ok(busy)
}

fn main() -> Result<(), Box<dyn Error>> {
    let place: ListenOn = std::env::args().nth(1).ok_or("usage: serve punix:FILE")?.parse()?;
    let listener = Listener::bind(&place, &StreamOptions::default())?;
    let epoch = std::time::Instant::now();
    let clock = || Instant::ZERO + epoch.elapsed();
    let (mut dp, mut of) = (Datapath::new(), Ofproto::new());
    of.set_datapath_id(0xfedc_ba98_7654_3210);
    for (n, name) in [(1, "p1"), (2, "p2"), (OfPort::LOCAL.0, "br0")] {
        let (device, _) = MemPort::new(name, 16);
        let number = dp.port_add(PortSpec::Device(Box::new(device)), None)?;
        let mut port = Port::new(OfPort(n), number, name);
        port.hw_addr = EthAddr([0xaa, 0x55, 0xaa, 0x55, 0, n as u8]);
        of.port_add(port);
    }
    let versions = Version::KNOWN.into_iter().collect();
    let mut controllers: Vec<Controller> = Vec::new();
    loop {
        let now = clock();
        let mut busy = false;
        while let Ok(Some(stream)) = listener.accept() {
            let options = SessionOptions { versions, ..SessionOptions::default() };
            controllers.push(Controller { driver: Driver::passive(stream, options, now), connection: None });
        }
        for c in &mut controllers {
            busy |= serve(&mut of, &mut dp, c, now)?;
        }
        controllers.retain(|c| c.driver.stream().is_some());
        let mut upcalls = Vec::new();
        busy |= dp.poll(now, &mut upcalls) > 0;
        upcalls.into_iter().for_each(|u| of.handle_upcall(&mut dp, u, now));
        of.run(&mut dp, now);
        if !busy {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

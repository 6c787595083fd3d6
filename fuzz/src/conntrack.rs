//! Connection tracking.

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use ovs_conntrack::{Config, CtRequest, Outcome, Tracker};
use ovs_packet::{Instant, Packet};

use crate::traffic;

/// Packets of few hosts and requests of few zones: the metadata say what the outcome does, connections are counted in
/// and out, the limit holds, and what a dump shows is found.
pub fn conntrack(data: &[u8]) {
    let _ = follow(&mut Unstructured::new(data), false);
}

/// The same of frames as they come, two bytes of length before each.
pub fn conntrack_frames(data: &[u8]) {
    let _ = follow(&mut Unstructured::new(data), true);
}

fn follow(u: &mut Unstructured, raw: bool) -> Result<()> {
    const LIMIT: usize = 6;
    let config = Config::new(u.arbitrary::<u8>()?.into()).with_max_connections(LIMIT);
    let mut tracker = Tracker::new(config.with_verify_checksums(!raw));
    let mut now = Instant::from_secs(1000);
    let mut tracked = 0;
    for _ in 0..256 {
        if u.is_empty() {
            break;
        }
        match u.int_in_range(0..=9)? {
            0 => now += Duration::from_secs(u.int_in_range(0..=4000)?),
            1 => {
                tracker.expire(now, u.int_in_range(0..=8)?);
            }
            2 => {
                tracker.flush(if u.arbitrary()? { Some(0) } else { None });
            }
            _ => {
                let from = u.int_in_range(1..=3)?;
                let mut packet = if raw {
                    let len = usize::from(u.arbitrary::<u16>()?).min(u.len());
                    Packet::from_slice(u.bytes(len)?)
                } else {
                    traffic::packet(u, from)?
                };
                let zone = u.int_in_range(0..=1)?;
                let request = match u.int_in_range(0..=3)? {
                    0 => CtRequest::lookup(zone),
                    1 => CtRequest::commit(zone),
                    2 => CtRequest::force_commit(zone),
                    _ => CtRequest::commit(zone).with_mark(u.arbitrary()?, 0xff).with_label(5, 7),
                };
                let bytes = packet.data().to_vec();
                let key = traffic::key_of(&mut packet);
                let outcome = tracker.track(&mut packet, &key, &request, now);
                assert_eq!((packet.meta.ct.state, packet.meta.ct.zone), (outcome.state(), zone));
                assert_eq!(packet.data(), bytes);
                let nothing = matches!(outcome, Outcome::Invalid(_));
                assert_eq!(packet.meta.ct.original.is_none(), nothing);
                assert!(request.commit || request.force || outcome != Outcome::Created);
                tracked += u64::from(nothing);
            }
        }
        let stats = tracker.stats();
        assert!(tracker.len() <= LIMIT);
        assert_eq!(stats.created, tracker.len() as u64 + stats.expired + stats.replaced + stats.flushed, "{stats:?}");
        assert_eq!(stats.invalid_total(), tracked);
        for connection in tracker.dump(None, now) {
            let found = tracker.get(connection.zone, &connection.original, now).expect("it was in the dump");
            assert_eq!(found.to_string(), connection.to_string());
            assert!(tracker.get(connection.zone, &connection.reply, now).is_some());
        }
    }
    Ok(())
}

//! Many switches on one virtual clock, in one thread, without privileges: for tests, yours and ours.
//!
//! A [`Lab`] has switches and hosts, and links between them that delay and lose frames. Nothing in it reads a real
//! clock or draws from real randomness: the same seed and the same calls give the same frames at the same times.
//!
//! ```
//! use std::time::Duration;
//! use ovs_switch::SwitchConfig;
//! use ovs_switch::lab::{Lab, Link};
//!
//! let mut lab = Lab::new(1);
//! let alice = lab.host("alice", "10.0.0.1".parse().unwrap());
//! let bob = lab.host("bob", "10.0.0.2".parse().unwrap());
//! let s1 = lab.switch(SwitchConfig::new("s1"));
//! let link = lab.link(alice, s1, Link::new(Duration::from_millis(1)));
//! lab.link(s1, bob, Link::new(Duration::from_millis(2)));
//!
//! lab.ping(alice, "10.0.0.2".parse().unwrap(), 3, Duration::from_secs(1));
//! lab.run_for(Duration::from_secs(5));
//! let report = lab.pings(alice);
//! assert_eq!((report.sent, report.received()), (3, 3));
//! assert_eq!(report.round_trips[1], Some(Duration::from_millis(6)));
//! assert_eq!(lab.captured(link).len(), 8); // an ARP exchange and three pings, there and back
//!
//! lab.switch_mut(s1).add_flow("priority=10,icmp,actions=drop", ovs_packet::Instant::from_secs(5)).unwrap();
//! lab.ping(alice, "10.0.0.2".parse().unwrap(), 1, Duration::from_secs(1));
//! lab.run_for(Duration::from_secs(2));
//! assert_eq!(lab.pings(alice).received(), 3);
//! lab.assert_balanced();
//! ```

mod host;
mod link;
mod world;

pub use host::{Host, PingReport};
pub use link::{Captured, Link};
pub use world::{Lab, LinkId, LinkStats, NodeId};

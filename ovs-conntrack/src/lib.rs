//! Connection tracking: parsed packet in, connection state out.
//!
//! # What it does
//!
//! A stateless rule can say "packets to port 80 may pass". It cannot say "and the answers to them may come back": that
//! takes a memory of who spoke to whom. This crate is that memory. [`Tracker::track`] is given a packet and its flow
//! key, finds the connection that the packet is of, and writes to the packet's metadata what rules match on:
//! `ct_state`, `ct_zone`, `ct_mark`, `ct_label`, and the tuple of the connection's first packet. What passes or is
//! dropped is for the rules to decide. A connection is stored only when a rule says so, by committing it.
//!
//! The crate does no input and output, reads no clock, and draws no random number: packets, instants and a secret are
//! passed in. It can be used alone, in a firewall or a test; the switch of this repository is one user.
//!
//! # States
//!
//! | bits | the packet |
//! |---|---|
//! | `+trk+new` | opens a connection that is not stored (yet), or is of one that was not answered |
//! | `+trk+est` | is of an answered connection |
//! | `+trk+est+rpl` | likewise, or the first answer, against the direction of the first packet |
//! | `+trk+rel`, `+trk+rel+rpl` | is an ICMP error about a packet of a stored connection |
//! | `+trk+inv` | is none of these; [`InvalidReason`] says why |
//!
//! - **TCP** is followed by its flags, and by sequence numbers and windows: a packet that cannot be of the connection is
//!   `+inv` ([`Config::tcp_liberal`] switches that off); the states are named as in upstream's dumps ([`TcpState`]).
//!   Connections may be picked up in their midst. When both ends are through, a SYN over the same ports opens another
//!   connection in the place of the old.
//! - **UDP, SCTP** and protocols without ports are told by who has spoken; the latter by addresses alone.
//! - **ICMP queries** (echo; for IPv4 also timestamp and information) are connections, told by their identifier.
//! - **ICMP errors** are parsed for the packet they are about, and concern its connection.
//!
//! In one point this is stricter than upstream's userspace tracker, and like the kernel's: a connection is `+est` only
//! when the other end has answered, also one of TCP of which only one direction is seen.
//!
//! # Beyond states
//!
//! - **Translation** ([`Nat`]): of source or destination, to ranges of addresses and ports; chosen once, for as long as
//!   the connection lives. Original and reply tuples are unique among all of a zone. Identifiers of queries are
//!   translated like ports, and packets inside ICMP errors with those outside. A range that is exhausted is a counted
//!   refusal after a bounded number of tries.
//! - **Helpers** ([`Helper`]): FTP and TFTP announce connections of their own, which are expected, `+rel`, and have the
//!   mark and label of the one that announced them. Where addresses are translated, FTP's texts are rewritten, whatever
//!   their length, and sequence numbers behind them shifted.
//! - **Fragments** ([`fragment`]): put together before tracking, cut again after. It is a module of its own; a fragment
//!   that reaches the tracker is `+inv`.
//! - **Limits** of all connections and by zone; **timeout policies** by zone or request; flushing by zone, tuple, or any
//!   part of what a connection has ([`Filter`]); dumps in bounded pages.
//!
//! # How
//!
//! One entry per connection. Its key is the tuple with its ends in sorted order, so that both directions find it, and
//! one bit says who began. The hash of keys is SipHash-1-3 under a secret, because whoever sends packets chooses the
//! keys. An entry is one cache line; sequence numbers, labels and translations, which not every packet needs, stand
//! apart. A connection takes some 100 bytes, one of TCP 125, an IPv6 one no more; a translated one a second key for its
//! replies. The index is of buckets of a cache line, in parts that grow on their own, so that no packet waits for a large
//! table to be moved.
//!
//! Who tracks a packet twice in a zone, to look and then to commit, keeps a [`Sighting`] of it: it is read and looked up
//! once.
//!
//! A packet that prolongs its connection stores an instant, and no more. A hierarchical timer wheel has each
//! connection filed by some earlier deadline, and when that comes, looks up the present one and files it again. So
//! expiry costs a few operations a timeout, not one a packet, and no walk through the table ever.
//! [`Tracker::expire`] works within a budget, and [`Tracker::next_deadline`] tells an event loop when to call it.
//! Flushing a zone starts another generation of it, and takes the same time however many connections it has.
//!
//! # Invariants
//!
//! - No packet, of whatever bytes, makes the tracker panic, and none makes it hold more than
//!   [`Config::max_connections`], or expect more than [`Config::max_expectations`]. A full tracker refuses what is new,
//!   counts it, and serves what it has.
//! - A connection whose timeout has passed is found by no packet and no query, removed or not.
//! - An invalid packet changes no connection, and learns nothing of any.
//! - Zones are apart: nothing done in one is seen in another. Only the limit and the counters are common.
//! - Everything follows from the sequence of calls: two runs with the same arguments agree, in dumps too. The secret
//!   moves memory about, and chooses ports.
//! - Every connection that was created is held, or was counted out once: expired, replaced or flushed ([`Stats`]).
//! - No two connections of a zone have a tuple in common.
//!
//! # Threads
//!
//! A [`Tracker`] has one owner: tracking takes `&mut self`. There is no lock in its way.
//!
//! A [`SharedTracker`] is for several threads. Its connections are spread over shards by the hash of their keys, each
//! shard behind a lock of its own; a packet of an established connection takes that one lock, and no other. Nothing
//! that threads share is written to for it, nor for a new connection. [`SharedTracker::worker_of`] spreads packets so
//! that each thread has shards of its own.
//!
//! # What it does not do
//!
//! SCTP's chunks are not looked at, and packets of it are told by who has spoken, as upstream's userspace tracker does.
//! Helpers are FTP and TFTP. FTP announcements that are cut in two by TCP's segments are not seen. The sizes of a
//! datagram's fragments are kept, but not congestion marks that only some of them have (RFC 3168, section 5.3).
//! Changing addresses of IPv6 by a routing header is not followed.
//!
//! # Example
//!
//! A client opens a TCP connection through a firewall, on a clock that the program turns by hand:
//!
//! ```
//! use std::time::Duration;
//!
//! use ovs_conntrack::{Config, CtRequest, InvalidReason, Outcome, Tracker};
//! use ovs_packet::packet::CtState;
//! use ovs_packet::{FlowKey, Instant, Match, Packet, compose, extract};
//!
//! /// What the firewall does with a packet: extract, then track.
//! fn pass(tracker: &mut Tracker, text: &str, request: CtRequest, now: Instant) -> (Outcome, Packet) {
//!     let mut packet = compose::compose(text.parse::<Match>().unwrap().key(), b"");
//!     let mut key = FlowKey::ZERO;
//!     extract::extract(&mut packet, &mut key);
//!     (tracker.track(&mut packet, &key, &request, now), packet)
//! }
//!
//! let there = "tcp,nw_src=10.1.1.1,nw_dst=10.1.1.2,tp_src=2,tp_dst=3";
//! let back = "tcp,nw_src=10.1.1.2,nw_dst=10.1.1.1,tp_src=3,tp_dst=2";
//! let mut tracker = Tracker::new(Config::new(0x5ec7e7));
//! let mut now = Instant::ZERO;
//!
//! // Nobody asked for this answer.
//! let (outcome, packet) = pass(&mut tracker, &format!("{back},tcp_flags=syn|ack"), CtRequest::lookup(0), now);
//! assert_eq!(outcome, Outcome::Invalid(InvalidReason::NotOpening));
//! assert_eq!(packet.meta.ct.state, CtState::INVALID | CtState::TRACKED);
//!
//! // The client may open connections: its SYN is committed.
//! let (outcome, packet) = pass(&mut tracker, &format!("{there},tcp_flags=syn"), CtRequest::commit(0), now);
//! assert_eq!(outcome, Outcome::Created);
//! assert_eq!(packet.meta.ct.state, CtState::NEW | CtState::TRACKED);
//!
//! // Now the same answer belongs to something.
//! now += Duration::from_millis(20);
//! let (outcome, packet) = pass(&mut tracker, &format!("{back},tcp_flags=syn|ack"), CtRequest::lookup(0), now);
//! assert_eq!(outcome, Outcome::Reply);
//! assert_eq!(packet.meta.ct.state, CtState::ESTABLISHED | CtState::REPLY | CtState::TRACKED);
//!
//! now += Duration::from_millis(20);
//! let (outcome, _) = pass(&mut tracker, &format!("{there},tcp_flags=ack"), CtRequest::lookup(0), now);
//! assert_eq!(outcome, Outcome::Established);
//!
//! let dump: Vec<String> = tracker.dump(None, now).map(|connection| connection.to_string()).collect();
//! assert_eq!(dump, [
//!     "tcp,orig=(src=10.1.1.1,dst=10.1.1.2,sport=2,dport=3),reply=(src=10.1.1.2,dst=10.1.1.1,sport=3,dport=2),\
//!      protoinfo=(state=ESTABLISHED)",
//! ]);
//!
//! // A day of silence ends it.
//! now += Duration::from_secs(86400);
//! assert_eq!(tracker.dump(None, now).count(), 0);
//! now += Duration::from_secs(1);
//! assert_eq!(tracker.expire(now, usize::MAX), 1);
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

extern crate alloc;

mod assist;
mod chunks;
mod config;
mod connection;
mod engine;
mod filter;
pub mod fragment;
mod helper;
mod icmp;
mod index;
mod info;
mod key;
mod limits;
mod manage;
mod nat;
mod outcome;
mod read;
mod request;
mod shard;
mod shared;
mod sighting;
mod siphash;
mod stats;
mod table;
mod tcp;
mod tracker;
mod tuple;
mod wheel;
mod zone;

pub use config::{Config, Timeouts};
pub use filter::{Filter, TupleFilter};
pub use helper::Helper;
pub use info::{ConnectionInfo, ExpectationInfo, ProtocolState};
pub use manage::{Cursor, PolicyError};
pub use nat::{Nat, NatRange};
pub use outcome::{InvalidReason, Outcome};
pub use request::CtRequest;
pub use shared::SharedTracker;
pub use sighting::Sighting;
pub use stats::Stats;
pub use tcp::TcpState;
pub use tracker::Tracker;
pub use tuple::{Transport, Tuple};

//! Tuple-space search over keys of `u64` words: which of many patterns matches this key, and which bits said so.
//!
//! # What it does
//!
//! A *key* is an array of `W` words, say the header fields of a packet; the crate knows no packet and gives the
//! words no meaning. A [`Pattern`] matches the keys that have given values in given bits. Two tables find the
//! patterns that match a key:
//!
//! - [`Classifier`] holds rules with priorities, as an OpenFlow table does. It finds the rule of highest priority,
//!   and can say which bits of the key the answer depended on. That is what a switch caches: the answer, for every
//!   key that agrees on those bits.
//! - [`MegaflowTable`] is such a cache. Its patterns have no priorities, it looks up keys by the batch, and it
//!   probes the busiest masks first.
//!
//! Rules may be parts of [conjunctive matches](Clause), and be visible to some [versions](Version) only. With the `std`
//! feature, a [`Writer`] publishes a classifier to [`Reader`]s in other threads.
//!
//! # How
//!
//! Rules of a switch are many, their masks few. Rules with the same mask form a *subtable*, a hash table over the
//! masked words, in which a lookup is one probe. A lookup in the whole is a probe per subtable, and these keep it from
//! being one for each:
//!
//! - **Guards.** For the fields that a [`Layout`] names, bitmaps tell which masks may have a rule for a value. The AND
//!   of a few rows is what is left to probe, mostly one or two, whatever the number of masks.
//! - **Order.** Subtables are probed by the highest priority of their rules. A match ends the search where no
//!   subtable left has a higher one. (A megaflow table ends at the first match, and probes few masks by hits.)
//! - **Sparseness.** A mask is stored as the few words it is not zero in, a rule as its values in those.
//! - **Lines.** Six patterns share a cache line with bits of their hashes, so that a probe that finds nothing reads one
//!   line; a rule with a small payload is another.
//!
//! And these keep the wildcards of a tracked lookup wide, so that what is cached under them is cached for many:
//!
//! - **Stages.** A layout deals the words into four stages. Where no rule of a subtable begins like the key, the words
//!   up to that stage prove it.
//! - **Prefix tries.** Of up to four [prefix fields](Classifier::set_prefix_fields), as few leading bits are reported
//!   as show that no rule has the key's prefix; of each subtable's ports, likewise. The tries also tell which masks have a
//!   rule with the key's prefixes: where masks are up to 128, instead of guards; where they are more, before them.
//! - **Few rules.** Where there are more than a few masks, with prefixes of two fields or of none, and a mask has up to
//!   32 rules, what tells each rule from the key is reported: of an address and of ports the leading bits up to the
//!   first that differs, of others the field. Access lists are cached in a quarter to a half of the entries of a switch
//!   that reports most of each mask (`tests/wildcard_quality.rs`, on random lists and packets).
//! - **What is proven once** is not proven again: bits reported for one mask rule out others.
//!
//! # Invariants
//!
//! - A pattern's key is zero wherever its mask is: equal sets of keys are equal patterns.
//! - A tracked lookup is *sound*: any key that agrees with the one looked up on the bits it reported gets the same
//!   answer, while the rules stay the same.
//! - Answers and orders follow from the sequence of updates. No clock, address or random number enters; the seed
//!   of the hash moves memory about, and bits where values collide, nothing else.
//! - A [`Handle`] whose rule or megaflow is gone finds nothing, ever.
//! - No input panics. Indexes into a key come from masks of the same width. What is refused is refused by a typed
//!   error: a full table, a priority out of range, a duplicate, a mask longer than the key.
//!
//! # Threads
//!
//! One owner. Lookups in a [`Classifier`] take `&self` and write nothing, so any number of threads may look up while
//! none updates; updates take `&mut self`. To look up while another thread updates, there are [`Writer`] and
//! [`Reader`]. A [`MegaflowTable`] counts its hits and takes `&mut self` to look up: each worker has its own. All are
//! `Send` and `Sync` when the payload is.
//!
//! # Example
//!
//! A firewall over five fields in three words:
//!
//! ```
//! use ovs_classifier::{Classifier, Layout, Pattern};
//!
//! /// The port of entry; the addresses; the protocol and the ports.
//! const W: usize = 3;
//! const LAYOUT: Layout<W> = Layout::new([0, 2, 3]).expect("stages are 0 to 3");
//!
//! fn key(in_port: u64, source: [u8; 4], destination: [u8; 4], protocol: u8, ports: [u16; 2]) -> [u64; W] {
//!     let [source, destination] = [source, destination].map(|address| u64::from(u32::from_be_bytes(address)));
//!     let [from, to] = ports.map(u64::from);
//!     [in_port, source << 32 | destination, u64::from(protocol) << 32 | from << 16 | to]
//! }
//!
//! #[derive(Clone, Copy, Debug, PartialEq)]
//! enum Verdict {
//!     Allow,
//!     Deny,
//! }
//!
//! let mut firewall = Classifier::new(LAYOUT);
//! firewall.insert(&Pattern::any(), 0, Verdict::Deny)?;
//!
//! // TCP to port 443 of 192.0.2.0/24.
//! let mask = key(0, [0; 4], [255, 255, 255, 0], 0xff, [0, 0xffff]);
//! let https = Pattern::new(key(0, [0; 4], [192, 0, 2, 0], 6, [0, 443]), mask);
//! firewall.insert(&https, 100, Verdict::Allow)?;
//!
//! // Nothing from 203.0.113.0/24 on port 1.
//! let mask = key(u64::MAX, [255, 255, 255, 0], [0; 4], 0, [0, 0]);
//! let bad_neighbours = Pattern::new(key(1, [203, 0, 113, 0], [0; 4], 0, [0, 0]), mask);
//! firewall.insert(&bad_neighbours, 200, Verdict::Deny)?;
//!
//! let packet = key(2, [203, 0, 113, 9], [192, 0, 2, 80], 6, [40000, 443]);
//! let mut wildcards = [0; W];
//! let rule = firewall.lookup_tracked(&packet, &mut wildcards).expect("a rule matches everything");
//! assert_eq!((*rule.payload(), rule.priority()), (Verdict::Allow, 100));
//!
//! // The neighbours were ruled out by the port, stage 0; so the source address never mattered, nor did its port.
//! assert_eq!(wildcards, key(u64::MAX, [0; 4], [255, 255, 255, 0], 0xff, [0, 0xffff]));
//!
//! // Hence this may be cached, and answers for every client.
//! let megaflow = Pattern::new(packet, wildcards);
//! assert!(megaflow.matches(&key(2, [198, 51, 100, 7], [192, 0, 2, 81], 6, [50000, 443])));
//! # Ok::<(), ovs_classifier::InsertError>(())
//! ```
//!
//! # Limits
//!
//! A key has at most [`MAX_WORDS`] words, a layout [`STAGES`] stages and [`MAX_FIELDS`] fields, a table
//! [`MAX_PREFIX_FIELDS`] prefix fields; rules, masks and megaflows are numbered by 32 bits. Guards know leading bits of
//! fields: a mask that fixes other bits of them only is probed by each lookup that its priority does not exclude. They
//! are made anew in the background, a little with each update; new masks of a table that grows by many at once may be
//! probed without guards until that is done. What a table of rules keeps by rule, and the nodes of prefix tries, are in
//! segments that stay where they are, and hash tables, heads of tries and guards move to twice the room by and by: no
//! insertion waits for the size of the table, but for the memory of a hash table that has moved, all of which is given
//! back at once, or of a guard, at most 8 MiB (`benches/updates.rs` prints the longest insertion). A removal that
//! leaves a mask without rules gives back what the mask had. The hash tables of a [`MegaflowTable`] are copied to twice
//! the size in one update. A [`Classifier`] does not merge masks that are nearly equal, as a [`MegaflowTable`] does.
//!
//! # Features
//!
//! `std` (default): [`Writer`] and [`Reader`], and code for the vector instructions that the processor has. Without it
//! the crate needs an allocator and no more.
//!
//! # Miri
//!
//! All `unsafe` is in one module of vector kernels, each with a safe twin. Segments, arenas and the protocol of
//! publication run under Miri in a minute:
//! `cargo +nightly miri test -p ovs-classifier --lib -- segments entries arena threads_see`, with
//! `MIRIFLAGS=-Zmiri-disable-isolation`. The exhaustive twin of the protocol is too long for it.

#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

mod arena;
mod classifier;
mod entries;
mod error;
mod field;
mod guards;
mod hash;
mod layout;
mod megaflow;
mod pattern;
#[cfg(feature = "std")]
mod publish;
mod rows;
mod rule;
mod segments;
mod simd;
mod sparse;
mod stages;
mod subtables;
mod trie;

pub use arena::Handle;
pub use classifier::{Classifier, ClassifierStats, Iter, MAX_PREFIX_FIELDS, Probes, View};
pub use error::{InsertError, PatternError, PrefixFieldsError, TableFull};
pub use field::{BitOrder, Field};
pub use layout::{Layout, MAX_FIELDS, MAX_WORDS, STAGES};
pub use megaflow::{Megaflow, MegaflowStats, MegaflowTable};
pub use pattern::Pattern;
#[cfg(feature = "std")]
pub use publish::{Edit, Reader, Snapshot, Writer};
pub use rule::{Clause, NewRule, Rule, Version};

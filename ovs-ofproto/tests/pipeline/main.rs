//! The switch as a value: flows in words go in, packets go through, and what comes of it is asserted, megaflows included.
//!
//! One program, so that all of it has one world.

mod world;

mod bridges;
mod in_band;
mod layers;
mod matching;
mod messages;
mod narrowed;
mod native_tunnels;
mod normal;
mod packets;
mod refused;
mod revalidation;
mod security;
mod slices;
mod stock_trace;
mod traces;
mod translation;
mod tunnels;

//! A switch to embed, a lab of switches on a virtual clock, and ovs-vswitchd.

pub mod demo;

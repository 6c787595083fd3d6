//! The datapath trait, a datapath in userspace, network devices and datapath text.

#![deny(unsafe_code)]

pub mod netdev;

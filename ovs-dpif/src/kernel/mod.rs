//! The datapath of the Linux kernel.
mod cookie;
mod key;
mod put_action;
mod read_action;
mod tunnel;

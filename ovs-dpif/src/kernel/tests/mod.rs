//! The codec alone, the backend over a kernel in this process, and over the real one (see `ovs-test-kernel`).

mod convert;
mod faults;
mod handlers;
mod masks;
mod order;
mod real;

//! Netfilter over netlink (`linux/netfilter/nfnetlink.h`): connections, expected connections and timeout policies.
//!
//! The kernel's datapath tracks connections by netfilter; what a switch wants of it is here:
//!
//! - [`NfHeader`]: what follows the header of a message; the type of a message is a subsystem and a number in it.
//! - [`Connection`], [`ConnectionFilter`]: connections, and requests to list and delete them; [`CpuStats`],
//!   [`TableStats`]: what the tracker counts.
//! - [`Expectation`]: connections that a helper waits for.
//! - [`TimeoutPolicy`]: when connections are forgotten.
//!
//! All numbers are in network byte order on the wire.

mod conntrack;
mod expect;
mod header;
mod timeout;
mod tuple;

pub use conntrack::{
    Connection, ConnectionFilter, CountersAttr, CpuStats, CtAttr, FilterAttr, HelpAttr, NatAttr, NatProtoAttr,
    ProtoInfoAttr, SctpAttr, SecctxAttr, SeqAdjAttr, StatsAttr, Status, SynproxyAttr, TableAttr, TableStats, TcpAttr,
    TcpFlags, TimestampAttr,
};
pub use expect::{ExpectAttr, ExpectNatAttr, Expectation};
pub use header::{NfHeader, message, message_type, subsystem};
pub use timeout::{
    TimeoutAttr, TimeoutGreAttr, TimeoutPolicy, TimeoutSctpAttr, TimeoutSingleAttr, TimeoutTcpAttr, TimeoutUdpAttr,
};
pub use tuple::{L4, Tuple, TupleAttr, TupleIpAttr, TupleProtoAttr};

//! Why a datapath refuses what it is asked.

use super::Ufid;
use crate::action::PortNo;
use crate::meter;
use crate::netdev::NetdevError;

/// Why a datapath refuses an operation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DpifError {
    /// The device failed.
    #[error(transparent)]
    Device(#[from] NetdevError),
    /// A port of this name is there already.
    #[error("port {0} is in the datapath already")]
    PortExists(String),
    /// There is no bond of this number.
    #[error("there is no bond {0}")]
    NoSuchBond(u32),
    /// A port of this number is there already.
    #[error("port number {0} is taken")]
    PortNumberTaken(PortNo),
    /// There is no such port.
    #[error("the datapath has no port {0}")]
    NoSuchPort(PortNo),
    /// There is no such megaflow.
    #[error("the datapath has no flow {0}")]
    NoSuchFlow(Ufid),
    /// There is such a megaflow already.
    #[error("the datapath has flow {0} already")]
    FlowExists(Ufid),
    /// There is no such datapath.
    #[error("there is no datapath {0}")]
    NoSuchDatapath(String),
    /// There is such a datapath already.
    #[error("there is a datapath {0} already")]
    DatapathExists(String),
    /// The system refused.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The kernel's answer was lost: whether the operation took effect, only asking can tell.
    #[error("the answer was lost")]
    AnswerLost,
    /// A key, mask or actions of the kernel's cannot be read.
    #[cfg(all(feature = "kernel", target_os = "linux"))]
    #[error(transparent)]
    Convert(#[from] crate::kernel::ConvertError),
    /// A megaflow that does not match its port wholly, where each must.
    #[error("flow: in_port is not an exact match")]
    PortNotMatched,
    /// The table of megaflows is full.
    #[error("the datapath is full: {0} flows")]
    FlowTableFull(usize),
    /// The actions nest deeper than the datapath executes.
    #[error("actions nest deeper than {0}")]
    TooDeep(usize),
    /// A field that packets cannot be given.
    #[error("{0:?} cannot be set")]
    NotSettable(ovs_packet::field::KeyAttr),
    /// There is no such meter, or cannot be.
    #[error(transparent)]
    Meter(#[from] meter::MeterError),
    /// A worker failed while it was asked for something.
    #[error("worker {0} failed")]
    WorkerFailed(usize),
    /// An action that this datapath cannot execute.
    #[error("this kind of datapath cannot execute '{0}'")]
    Unsupported(&'static str),
}

//! What is asked of the threads of a datapath that can have several: how they are to work, what they poll, what they did.
//!
//! [`Threads`] is the management side of them, apart from [`Dpif`](crate::Dpif) since not every datapath has threads of its
//! own. The *control thread* is the one that owns the datapath; *workers* are threads on cores, as [`Settings`] say.

mod perf;
mod settings;
mod topology;
mod watch;

use std::fmt;
use std::time::Duration;

use crate::action::PortNo;
use crate::dpif::{DpFlow, DpifError};

pub use perf::{HISTORY, Histogram, Metrics, Perf, Performance, Sample, iterations_table};
pub use settings::{Assignment, Balance, MAX_SLEEP, Settings};
pub use topology::{Core, Topology, TopologyError};
pub use watch::Watch;
pub(crate) use watch::Watcher;

/// How many intervals, of five seconds, over which loads are measured are remembered.
pub const INTERVALS: usize = 12;

/// A thread of a datapath.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ThreadId {
    /// The control thread.
    Main,
    /// The worker on this core.
    Core(u32),
}

/// A receive queue of a worker, and how busy it kept it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct WorkerQueue {
    /// The port.
    pub port: PortNo,
    /// The port's name.
    pub name: String,
    /// Which of the port's queues.
    pub queue: usize,
    /// For how many nanoseconds of the intervals that were asked for it kept the worker busy.
    pub nanos: u64,
}

/// A worker, its queues, and how busy it was.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// Where it runs.
    pub core: Core,
    /// Whether it polls queues that are pinned to it and no others.
    pub isolated: bool,
    /// How long it sleeps at most.
    pub max_sleep: Duration,
    /// Its queues, by name and number.
    pub queues: Vec<WorkerQueue>,
    /// For how many nanoseconds of the intervals that were asked for it was busy.
    pub busy: u64,
    /// How many nanoseconds these intervals are; zero as long as none is over.
    pub total: u64,
}

/// The threads of a datapath. See the [module](self).
///
/// ```
/// use ovs_dpif::netdev::{DummyPort, Netdev};
/// use ovs_dpif::threads::{Settings, Topology};
/// use ovs_dpif::userspace::Limits;
/// use ovs_dpif::userspace::workers::{Hooks, Workers};
/// use ovs_dpif::{Dpif, PortSpec};
/// use ovs_packet::{EthAddr, Instant};
///
/// let hooks = Hooks::new(|| Instant::ZERO);
/// let mut dp: Box<dyn Dpif> = Box::new(Workers::new(Limits::default(), 1, Topology::uniform(2), hooks)?);
/// let (port, control) = DummyPort::new("p1", "dummy-pmd", EthAddr::local(1));
/// control.set_queues(3);
/// dp.port_add(PortSpec::Device(Box::new(port)), None)?;
/// let mut settings = Settings::default();
/// settings.cores = Some(vec![0, 1]);
/// // A datapath in one thread, or the kernel's, has none to set up.
/// if let Some(threads) = dp.workers_mut() {
///     threads.configure(settings);
///     let queues: Vec<usize> = threads.crew().into_iter().map(|worker| worker.queues.len()).collect();
///     assert_eq!(queues, [1, 2]);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Threads: fmt::Debug {
    /// Has workers work so, and starts, ends and moves what is necessary for it. Devices that have other queues now are
    /// met too. What is as it was is left alone.
    fn configure(&mut self, settings: Settings);

    /// How workers are to work.
    fn settings(&self) -> &Settings;

    /// Pins queues of a port to cores (`pmd-rxq-affinity`), and no others.
    ///
    /// # Errors
    /// If there is no such port.
    fn pin(&mut self, port: PortNo, pins: Vec<(usize, u32)>) -> Result<(), DpifError>;

    /// Deals all queues out anew, by what their loads were in the last minute. Returns how many moved.
    fn rebalance(&mut self) -> usize;

    /// The threads: the control thread first.
    fn threads(&self) -> Vec<ThreadId>;

    /// The workers by core, and how busy they were in the last intervals, so many of at most [`INTERVALS`].
    fn crew_over(&self, intervals: usize) -> Vec<WorkerInfo>;

    /// The workers by core, and how busy they were in all intervals that are remembered.
    fn crew(&self) -> Vec<WorkerInfo> {
        self.crew_over(INTERVALS)
    }

    /// The megaflows of one thread; nothing if there is no such thread.
    fn flows_of(&self, thread: ThreadId) -> Vec<DpFlow>;

    /// What a thread did since it was [cleared](Threads::clear_perf); `None` if there is no such thread.
    fn performance(&self, thread: ThreadId) -> Option<Performance>;

    /// Counts a thread's work anew.
    fn clear_perf(&mut self, thread: ThreadId);

    /// What of their rounds workers tell in the log.
    fn watch(&self) -> Watch;

    /// Has workers tell, while [metrics](Settings::metrics) are kept, what of their rounds is suspicious.
    fn set_watch(&mut self, watch: Watch);
}

//! What `ovs-vswitchd demo` shows, and what it is made of.
//!
//! The [story](run) is the same on every [`Stage`]: [`LiveStage`] has real namespaces and packet sockets,
//! [`MemoryStage`] a [lab](crate::lab). [`capture`] forwards the packets of a capture file. [`netns`], [`links`] and
//! [`traffic`] are a private network on this machine, for tests of live ports too.

pub mod capture;
#[cfg(target_os = "linux")]
pub mod links;
#[cfg(target_os = "linux")]
pub mod netns;
mod report;
mod stage;
#[cfg(target_os = "linux")]
mod stage_live;
mod stage_memory;
mod story;
#[cfg(target_os = "linux")]
pub mod traffic;

pub use report::{Report, Screen, Style, snapshot};
pub use stage::{Ping, Stage, StageError, Transfer};
#[cfg(target_os = "linux")]
pub use stage_live::{LiveStage, NotLive};
pub use stage_memory::MemoryStage;
pub use story::{Outcome, StoryError, StoryOptions, run};

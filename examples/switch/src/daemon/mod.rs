//! What daemons have in common: options, folders, the clock, and how they run in the background.

pub mod getopt;

mod clock;
mod cores;
mod options;
mod process;

pub use clock::{Clock, WARP_PAUSE};
pub use cores::{bind, discover};
pub use options::{COMMON, Common, Folders};
pub use process::{Conduct, Daemon, Next, Stage};

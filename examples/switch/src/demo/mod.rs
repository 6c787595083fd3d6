//! A private network on this machine, for demos and tests of live ports: namespaces, links, traffic.

#[cfg(target_os = "linux")]
pub mod links;
#[cfg(target_os = "linux")]
pub mod netns;
#[cfg(target_os = "linux")]
pub mod traffic;

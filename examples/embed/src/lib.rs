//! Short programs that embed the crates, one idea each:
//!
//! - `learning-switch`: a switch in your own process, driven by your own loop (ovs-switch);
//! - `firewall`: rules over a key of your own making, and which bits decided (ovs-classifier alone);
//! - `flow-dump`: what flows are in a capture file (ovs-packet alone);
//! - `controller`: an OpenFlow controller in a loop of its own (ovs-ofproto without its pipeline).
//!
//! The programs are in `src/bin`, each to be read from its first line to its last. This library is empty.

//! The datapath trait, a datapath in userspace, network devices and datapath text.

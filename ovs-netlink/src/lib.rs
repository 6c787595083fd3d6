//! Netlink and generic netlink messages, and the families of the openvswitch kernel module.

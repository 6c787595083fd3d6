//! The Open vSwitch database protocol (RFC 7047): data, schemas, transactions, messages.

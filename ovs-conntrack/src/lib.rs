//! Connection tracking: parsed packet in, connection state out.

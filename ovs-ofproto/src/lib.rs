//! OpenFlow on the wire and in words, and an OpenFlow switch as a value.

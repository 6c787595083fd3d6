//! Packets, flow keys, the table of match fields, parsing, editing and composing.

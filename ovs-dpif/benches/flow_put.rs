//! Encoding and decoding of a message that puts a megaflow: 12 attributes of a key, as many of a mask, and 4 actions.
fn main() {}

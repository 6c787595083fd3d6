//! The command-line tools, one small binary each.

//! Short programs that embed the crates, one idea each.

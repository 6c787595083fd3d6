//! Tuple-space search over keys of u64 words, with wildcard tracking.

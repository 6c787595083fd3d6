//! The stages of a key: which words a staged lookup reads first.

use core::fmt;

/// The most words a key can have.
///
/// A larger `W` does not compile: every table starts from a [`Layout`], and that is where the bound is checked.
pub const MAX_WORDS: usize = 256;

/// The number of stages: by convention metadata, L2, L3 and L4.
pub const STAGES: usize = 4;

/// Says to which stage (0 to 3) each of a key's `W` words belongs.
///
/// A tracked lookup reads a subtable's words stage by stage and stops at the first stage that rules the subtable
/// out; only the words read until then are un-wildcarded. So the words on which rules differ most, and which vary
/// least between packets, belong in the early stages: ports and metadata in 0, Ethernet in 1, IP addresses in 2,
/// transport ports in 3. The words of a stage need not be adjacent.
///
/// The layout changes which bits a tracked lookup reports, never which rule it finds.
///
/// ```
/// use ovs_classifier::Layout;
///
/// const LAYOUT: Layout<3> = Layout::new([0, 2, 3]).expect("stages are 0 to 3");
/// assert_eq!(LAYOUT.stage(1), Some(2));
/// assert_eq!(LAYOUT.stage(3), None);
/// assert!(Layout::new([4]).is_none());
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Layout<const W: usize> {
    stages: [u8; W],
}

impl<const W: usize> Layout<W> {
    /// A layout from the stage of each word; `None` when a stage is above 3.
    ///
    /// In a `const` the failure is a compile error. So is a `W` above [`MAX_WORDS`].
    #[must_use]
    pub const fn new(stages: [u8; W]) -> Option<Self> {
        const { assert!(W <= MAX_WORDS, "a key has at most 256 words") };
        let mut rest = stages.as_slice();
        while let [stage, tail @ ..] = rest {
            if *stage as usize >= STAGES {
                return None;
            }
            rest = tail;
        }
        Some(Self { stages })
    }

    /// The layout without stages: every word is read at once.
    #[must_use]
    pub const fn flat() -> Self {
        const { assert!(W <= MAX_WORDS, "a key has at most 256 words") };
        Self { stages: [0; W] }
    }

    /// The stage of a word, or `None` when the key has no such word.
    #[must_use]
    pub fn stage(&self, word: usize) -> Option<u8> {
        self.stages.get(word).copied()
    }

    pub(crate) const fn stages(&self) -> &[u8; W] {
        &self.stages
    }
}

impl<const W: usize> fmt::Debug for Layout<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Layout").field(&self.stages.as_slice()).finish()
    }
}

//! What a table knows of its keys: stages, and the fields that are worth an index.

use crate::field::{BitOrder, Field};
use core::fmt;

/// The most words a key can have.
///
/// A larger `W` does not compile: every table starts from a [`Layout`], and that is where the bound is checked.
pub const MAX_WORDS: usize = 256;

/// The number of stages: by convention metadata, L2, L3 and L4.
pub const STAGES: usize = 4;

/// The most fields that a layout can name.
pub const MAX_FIELDS: usize = 96;

/// Says to which stage (0 to 3) each of a key's `W` words belongs, and which fields there are.
///
/// **Stages.** A tracked lookup reads a subtable's words stage by stage and stops at the first stage that rules the
/// subtable out; only the words read until then are un-wildcarded. So the words on which rules differ most, and which
/// vary least between packets, belong in the early stages: ports and metadata in 0, Ethernet in 1, IP addresses in 2,
/// transport ports in 3. The words of a stage need not be adjacent.
///
/// **Fields.** A table with many masks keeps, for each field, which masks have a rule for a value, and probes only
/// masks that have one in every field. A layout that names no field has one for each half of each word.
///
/// **Ports** is the field, often two neighbours, whose leading bits alone are un-wildcarded where they rule a subtable
/// out. **The conjunction's id** is the 32-bit field that conjunctive matches set.
///
/// The layout changes what a lookup costs and which bits a tracked one reports, never which rule it finds.
///
/// ```
/// use ovs_classifier::{Field, Layout};
///
/// const LAYOUT: Layout<3> = Layout::new([0, 2, 3]).expect("stages are 0 to 3");
/// assert_eq!(LAYOUT.stage(1), Some(2));
/// assert_eq!(LAYOUT.stage(3), None);
/// assert!(Layout::new([4]).is_none());
///
/// let fields = [Field::new(64, 32), Field::new(96, 32), Field::new(176, 16)].map(|f| f.expect("a run of bits"));
/// let layout = LAYOUT.with_fields(&fields).expect("fields lie in the key");
/// assert!(layout.fields().eq(fields));
/// assert!(LAYOUT.with_ports(Field::new(192, 8).expect("a run of bits")).is_none(), "the key ends at bit 192");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Layout<const W: usize> {
    stages: [u8; W],
    order: BitOrder,
    fields: [Option<Field>; MAX_FIELDS],
    ports: Option<Field>,
    conjunction: Option<Field>,
}

impl<const W: usize> Layout<W> {
    /// A layout from the stage of each word; `None` when a stage is above 3.
    ///
    /// In a `const` the failure is a compile error. So is a `W` above [`MAX_WORDS`].
    #[must_use]
    pub const fn new(stages: [u8; W]) -> Option<Self> {
        let layout = Self::flat();
        let mut rest = stages.as_slice();
        while let [stage, tail @ ..] = rest {
            if *stage as usize >= STAGES {
                return None;
            }
            rest = tail;
        }
        Some(Self { stages, ..layout })
    }

    /// The layout without stages: every word is read at once.
    #[must_use]
    pub const fn flat() -> Self {
        const { assert!(W <= MAX_WORDS, "a key has at most 256 words") };
        Self { stages: [0; W], order: BitOrder::Number, fields: [None; MAX_FIELDS], ports: None, conjunction: None }
    }

    /// With words in another [`BitOrder`].
    #[must_use]
    pub const fn with_order(self, order: BitOrder) -> Self {
        Self { order, ..self }
    }

    /// With these fields; `None` when one is not within the key, or when they are more than [`MAX_FIELDS`].
    #[must_use]
    pub const fn with_fields(mut self, fields: &[Field]) -> Option<Self> {
        if fields.len() > MAX_FIELDS {
            return None;
        }
        self.fields = [None; MAX_FIELDS];
        let mut rest = fields;
        let mut places = self.fields.as_mut_slice();
        while let ([field, others @ ..], [place, free @ ..]) = (rest, places) {
            if !Self::contains(*field) {
                return None;
            }
            *place = Some(*field);
            (rest, places) = (others, free);
        }
        Some(self)
    }

    /// With a field of ports; `None` when it is not within the key.
    #[must_use]
    pub const fn with_ports(self, field: Field) -> Option<Self> {
        if Self::contains(field) { Some(Self { ports: Some(field), ..self }) } else { None }
    }

    /// With a field for the id of conjunctive matches; `None` when it is not 32 bits within the key.
    #[must_use]
    pub const fn with_conjunction(self, field: Field) -> Option<Self> {
        if Self::contains(field) && field.bits() == 32 { Some(Self { conjunction: Some(field), ..self }) } else { None }
    }

    /// Whether the key has all bits of a field.
    pub(crate) const fn contains(field: Field) -> bool {
        field.offset() as usize + field.bits() as usize <= W * 64
    }

    /// The stage of a word, or `None` when the key has no such word.
    #[must_use]
    pub fn stage(&self, word: usize) -> Option<u8> {
        self.stages.get(word).copied()
    }

    /// Which bit of a word comes first.
    #[must_use]
    pub const fn order(&self) -> BitOrder {
        self.order
    }

    /// The fields that were named.
    pub fn fields(&self) -> impl Iterator<Item = Field> + '_ {
        self.fields.iter().copied().flatten()
    }

    /// The field of ports.
    #[must_use]
    pub const fn ports(&self) -> Option<Field> {
        self.ports
    }

    /// The field of the conjunction's id.
    #[must_use]
    pub const fn conjunction(&self) -> Option<Field> {
        self.conjunction
    }

    pub(crate) const fn stages(&self) -> &[u8; W] {
        &self.stages
    }
}

impl<const W: usize> fmt::Debug for Layout<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layout")
            .field("stages", &self.stages.as_slice())
            .field("order", &self.order)
            .field("fields", &self.fields.iter().flatten().count())
            .field("ports", &self.ports)
            .field("conjunction", &self.conjunction)
            .finish()
    }
}

//! The bits of a key that matter.

use core::fmt;

use super::FlowKey;
use crate::field::FieldId;

/// Which bits of a [`FlowKey`] matter. A mask of a packet's flow says what the decision on it depended on.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct FlowMask {
    /// One bits are those that matter.
    pub bits: FlowKey,
}

impl FlowMask {
    /// No bit matters.
    pub const EMPTY: FlowMask = FlowMask { bits: FlowKey::ZERO };

    /// The mask of all bits of the given fields.
    ///
    /// ```
    /// use ovs_packet::field::FieldId;
    /// use ovs_packet::key::FlowMask;
    ///
    /// let m = FlowMask::of(&[FieldId::EthDst, FieldId::IpDscp]);
    /// assert_eq!(m.bits.nw_tos, 0xfc);
    /// ```
    pub fn of(fields: &[FieldId]) -> FlowMask {
        let mut mask = FlowMask::EMPTY;
        for f in fields {
            mask.add(*f);
        }
        mask
    }

    /// Adds all bits of `field`.
    pub fn add(&mut self, field: FieldId) {
        field.info().put(&mut self.bits, u128::MAX);
    }

    /// Whether no bit matters.
    pub fn is_empty(&self) -> bool {
        self.bits.words().iter().all(|w| *w == 0)
    }

    /// Whether every bit of `other` is in this mask too.
    pub fn covers(&self, other: &FlowMask) -> bool {
        self.bits.words().iter().zip(other.bits.words()).all(|(a, b)| b & !a == 0)
    }

    /// Whether any bit of `field` is in this mask.
    pub fn touches(&self, field: FieldId) -> bool {
        field.info().get(&self.bits) != 0
    }

    /// Whether all bits of `field` are in this mask.
    pub fn is_exact(&self, field: FieldId) -> bool {
        let info = field.info();
        info.get(&self.bits) == info.max_value()
    }
}

impl core::ops::BitOrAssign<&FlowMask> for FlowMask {
    fn bitor_assign(&mut self, other: &FlowMask) {
        for (a, b) in self.bits.words_mut().iter_mut().zip(other.bits.words()) {
            *a |= b;
        }
    }
}

impl fmt::Debug for FlowMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let touched = FieldId::all().filter(|id| self.touches(*id));
        let entries = touched.map(|id| (id.info().name, id.info().get(&self.bits)));
        f.debug_map().entries(entries.map(|(n, m)| (n, alloc::format!("{m:#x}")))).finish()
    }
}

//! Where a packet's layers begin, in ten bytes: every extraction writes them.

use super::Layers;

/// [`Layers`] in the form in which a packet keeps them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Places {
    pub(crate) l2_5: Place,
    pub(crate) l3: Place,
    pub(crate) l4: Place,
    pub(crate) l2_pad: u16,
    pub(crate) l4_proto: u8,
}

/// A byte offset, or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place(u16);

impl Place {
    pub(crate) const NONE: Place = Place(u16::MAX);

    /// The packet's first byte.
    pub(crate) const START: Place = Place(0);

    /// The offset `at`; none if it is too large.
    pub(crate) fn at(at: usize) -> Place {
        u16::try_from(at).map_or(Place::NONE, Place)
    }

    /// The offset `n` bytes further on; none if it is too large, or if this is none.
    #[inline(always)]
    pub(crate) const fn plus(self, n: u16) -> Place {
        Place(self.0.saturating_add(n))
    }

    pub(crate) fn get(self) -> Option<usize> {
        (self != Place::NONE).then_some(self.0.into())
    }
}

impl Places {
    pub(crate) const NONE: Places =
        Places { l2_5: Place::NONE, l3: Place::NONE, l4: Place::NONE, l2_pad: 0, l4_proto: 0 };

    pub(crate) fn of(layers: Layers) -> Places {
        let at = |layer: Option<usize>| layer.map_or(Place::NONE, Place::at);
        Places {
            l2_5: at(layers.l2_5),
            l3: at(layers.l3),
            l4: at(layers.l4),
            l2_pad: u16::try_from(layers.l2_pad).unwrap_or(u16::MAX),
            l4_proto: layers.l4_proto,
        }
    }

    pub(crate) fn layers(self) -> Layers {
        Layers {
            l2_5: self.l2_5.get(),
            l3: self.l3.get(),
            l4: self.l4.get(),
            l4_proto: self.l4_proto,
            l2_pad: self.l2_pad.into(),
        }
    }

    pub(super) fn shift(&mut self, by: impl Fn(usize) -> Option<usize>) {
        for layer in [&mut self.l2_5, &mut self.l3, &mut self.l4] {
            *layer = layer.get().and_then(&by).map_or(Place::NONE, Place::at);
        }
    }
}

impl Default for Places {
    fn default() -> Self {
        Places::NONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_was_given() {
        for l in [None, Some(0), Some(14), Some(65534)] {
            let layers = Layers { l2_5: l, l3: l, l4: l, l4_proto: 6, l2_pad: 65535 };
            assert_eq!(Places::of(layers).layers(), layers);
        }
        assert_eq!(Place::START.plus(65534).get(), Some(65534));
        assert_eq!(Place::START.plus(65534).plus(1).plus(1), Place::NONE);
        assert_eq!(Places::of(Layers { l3: Some(65535), ..Layers::default() }), Places::NONE);
    }
}

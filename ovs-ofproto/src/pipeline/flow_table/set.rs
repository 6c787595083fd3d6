//! Sets of tables.

/// Some of the tables that a switch may have.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct TableSet([u64; 4]);

impl TableSet {
    /// Has a table be in it, or not.
    pub(super) fn set(&mut self, table: u8, is_in: bool) {
        let bit = 1 << (table % 64);
        if let Some(word) = self.0.get_mut(usize::from(table / 64)) {
            *word = if is_in { *word | bit } else { *word & !bit };
        }
    }

    /// Those that are in it, in order.
    pub(super) fn iter(self) -> impl Iterator<Item = u8> {
        [0u8, 64, 128, 192].into_iter().zip(self.0).flat_map(|(first, mut word)| {
            std::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros() as u8)?;
                word &= word - 1;
                Some(first + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_it_comes_out_in_order() {
        let mut set = TableSet::default();
        [200, 0, 63, 255, 64, 7].into_iter().for_each(|table| set.set(table, true));
        set.set(7, false);
        set.set(8, false);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, 200, 255]);
    }
}

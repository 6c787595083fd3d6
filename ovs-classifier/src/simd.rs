//! Kernels over rows of bits and of ranks.

/// The kernels of this processor.
pub(crate) struct Kernels;

impl Kernels {
    /// Keeps of `open` the bits that one of the rows has; words that the rows do not have are kept whole.
    #[inline]
    pub(crate) fn and_either(open: &mut [u64], row: &[u64], any: &[u64]) {
        open.iter_mut().zip(row.iter().zip(any)).for_each(|(open, (row, any))| *open &= row | any);
    }

    /// Which of at most 64 ranks are above a floor.
    #[inline]
    pub(crate) fn above(ranks: &[u64], floor: u64) -> u64 {
        ranks.iter().take(64).enumerate().fold(0, |bits, (i, rank)| bits | u64::from(*rank > floor) << i)
    }
}

//! Paths: left-aligned prefixes of a field's values.

use super::bucket::Bucket;
use super::count::Count;
use crate::simd::{Alike, Kernels};
use core::fmt::Debug;

/// A left-aligned prefix; or which lengths of prefix there are, as the bits of one: that of length `n` is the one that
/// counts `2^(n - 1)`.
pub(crate) trait Path: Copy + Debug + Default + PartialEq {
    /// The first bits of a value of 128.
    fn of(value: u128) -> Self;

    /// How many leading bits are the same, at most all.
    fn common(self, other: Self) -> u8;

    /// The bit after the first `at`; any, if these are all.
    fn bit(self, at: u8) -> usize;

    /// With another bit after the first `at`.
    fn with(self, at: u8, bit: usize) -> Self;

    /// Zero behind the first `len` bits.
    fn head(self, len: u8) -> Self;

    /// The first `bits` bits, of at most 32, as a number.
    fn top(self, bits: u32) -> usize;

    /// The path that begins with this number of `bits` bits.
    fn from_top(top: usize, bits: u32) -> Self;

    /// These lengths, and one of at least 1 if there is one.
    fn with_len(self, len: u8, is_one: bool) -> Self;

    /// These lengths and those.
    fn and_lens(self, lens: Self) -> Self;

    /// Which prefixes of a bucket are this value's, as bits; their lengths; and how many leading bits decide that.
    fn alike<C>(self, bucket: &Bucket<Self, C>, kernels: impl Kernels) -> (u32, Self, u8);

    /// The lengths as those of an answer.
    fn lens(self) -> u128;
}

macro_rules! path {
    ($type:ty, $bits:literal, $alike:path) => {
        impl Path for $type {
            #[inline(always)]
            fn of(value: u128) -> Self {
                (value >> (128 - $bits)) as $type
            }

            #[inline(always)]
            fn common(self, other: Self) -> u8 {
                (self ^ other).leading_zeros() as u8
            }

            #[inline(always)]
            fn bit(self, at: u8) -> usize {
                (self.wrapping_shl(at.into()) >> ($bits - 1)) as usize
            }

            fn with(self, at: u8, bit: usize) -> Self {
                let place = $bits - 1 - u32::from(at.min($bits - 1));
                self & !(1 << place) | (bit as $type & 1) << place
            }

            fn head(self, len: u8) -> Self {
                self & !<$type>::MAX.unbounded_shr(len.into())
            }

            #[inline(always)]
            fn top(self, bits: u32) -> usize {
                self.unbounded_shr($bits - bits) as usize
            }

            fn from_top(top: usize, bits: u32) -> Self {
                (top as $type).unbounded_shl($bits - bits)
            }

            #[inline(always)]
            fn with_len(self, len: u8, is_one: bool) -> Self {
                self | <$type>::from(is_one).wrapping_shl(u32::from(len).wrapping_sub(1))
            }

            #[inline(always)]
            fn and_lens(self, lens: Self) -> Self {
                self | lens
            }

            #[inline(always)]
            fn alike<C>(self, bucket: &Bucket<Self, C>, kernels: impl Kernels) -> (u32, Self, u8) {
                $alike(self, bucket, kernels)
            }

            #[inline(always)]
            fn lens(self) -> u128 {
                self.into()
            }
        }
    };
}

path!(u32, 32, alike_short);
path!(u128, 128, alike_long);

#[inline(always)]
fn alike_short<C>(value: u32, bucket: &Bucket<u32, C>, kernels: impl Kernels) -> (u32, u32, u8) {
    let Alike { which, lens, bits } = kernels.alike(value, &bucket.paths, &bucket.counts);
    (which, lens, bits)
}

/// One by one: more than a few are compared as fast with instructions that all processors have.
#[inline(always)]
fn alike_long<C>(value: u128, bucket: &Bucket<u128, C>, _: impl Kernels) -> (u32, u128, u8) {
    let prefixes = bucket.paths.iter().zip(&bucket.counts).take_while(|(_, count)| **count != 0);
    (0..).zip(prefixes).fold((0, 0, 0), |(which, lens, bits), (i, (path, count))| {
        let (len, common) = (Count::from_number(*count).len(), path.common(value));
        let is_one = common >= len;
        (which | u32::from(is_one) << i, lens.with_len(len, is_one), bits.max(len.min(common.saturating_add(1))))
    })
}

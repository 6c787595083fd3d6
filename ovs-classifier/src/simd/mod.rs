//! The widest instructions that the processor has, chosen when the program runs, and the kernels that a compiler does
//! not find by itself.
//!
//! A [`Job`] is ordinary safe code, and [`Level::run`] compiles it three times: for any processor, for those with AVX2
//! and for those with AVX-512, each with the bit counting instructions that come with it. Loops over rows of bits become
//! vector operations, counts and scans of bits one instruction each. The code of a job is compiled for a level only as
//! far as it is inlined into [`Job::run`], so what is worth it is marked `#[inline(always)]`.
//!
//! What is done to a block of eight words, or to the hashes in a line, is written by hand for each level: these are the
//! [`Kernels`] that a job is given. What [`Portable`] gives is the twin by which the others are tested. Two more need no
//! level, since every x86-64 has their instructions: [`lanes_equal`], with a safe twin, and [`prefetch`], which has no
//! result. There are no gathers: on the processors at hand they cost more than the loads they replace. A compiler makes
//! them of a loop over keys that reads the same words of each; the kernels keep it from that, too.

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
mod sse2;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod wide;

/// Work to be done at a level.
pub(crate) trait Job {
    type Output;

    /// The work; implementations are `#[inline(always)]`.
    fn run<K: Kernels>(self, kernels: K) -> Self::Output;
}

/// Which of eight prefixes are a value's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Alike {
    /// These, as bits: a prefix of no bits is.
    pub(crate) which: u32,
    /// Their lengths: bit `n - 1` is set when one has `n` bits.
    pub(crate) lens: u32,
    /// So many leading bits of the value decide that: all of the longest, and of each other up to where it differs.
    pub(crate) bits: u8,
}

/// What is done by hand. Who has a value of a type that implements it may execute the instructions of its level.
pub(crate) trait Kernels: Copy {
    /// NH of the words under a mask: to each half of a word, that half of a secret number is added modulo 2^32, and both
    /// halves are multiplied; the sum of these products modulo 2^64.
    fn sum(self, words: &[u64; 8], mask: &[u64; 8], secrets: &[u64; 8]) -> u64;

    /// The same for eight times eight words.
    #[inline(always)]
    fn sums(self, words: [&[u64; 8]; 8], mask: &[u64; 8], secrets: &[u64; 8]) -> [u64; 8] {
        words.map(|words| self.sum(words, mask, secrets))
    }

    /// Whether words under a mask are these values.
    fn has(self, words: &[u64; 8], mask: &[u64; 8], values: &[u64; 8]) -> bool;

    /// Which of eight numbers are equal to one, as bits.
    fn equal(self, numbers: &[u32; 8], number: u32) -> u32;

    /// Which of eight numbers are above a floor, as bits.
    fn above(self, numbers: &[u64; 8], floor: u64) -> u64;

    /// Which of eight prefixes are a value's. Their lengths, of at most 32, are the low bytes of `lens`.
    fn alike(self, value: u32, prefixes: &[u32; 8], lens: &[u32; 8]) -> Alike;

    /// All bits of those of eight words that are told by bits.
    fn union(self, words: &[u64; 8], which: u32) -> u64;
}

/// The kernels without instructions that some processor lacks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable;

impl Kernels for Portable {
    #[inline(always)]
    fn sum(self, words: &[u64; 8], mask: &[u64; 8], secrets: &[u64; 8]) -> u64 {
        let product = |i: usize| {
            let (word, secret) = (words[i] & mask[i], secrets[i]);
            let half = |shift: u32| u64::from(((word >> shift) as u32).wrapping_add((secret >> shift) as u32));
            half(0) * half(32)
        };
        (0..8).fold(0, |sum, i| sum.wrapping_add(product(i)))
    }

    #[inline(always)]
    fn has(self, words: &[u64; 8], mask: &[u64; 8], values: &[u64; 8]) -> bool {
        (0..8).fold(0, |differ, i| differ | (words[i] & mask[i]) ^ values[i]) == 0
    }

    #[inline(always)]
    fn equal(self, numbers: &[u32; 8], number: u32) -> u32 {
        #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
        return sse2::equal(numbers, number);
        #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
        return equal_portable(numbers, number);
    }

    #[inline(always)]
    fn above(self, numbers: &[u64; 8], floor: u64) -> u64 {
        (0..).zip(numbers).fold(0, |set, (i, number)| set | u64::from(*number > floor) << i)
    }

    #[inline(always)]
    fn alike(self, value: u32, prefixes: &[u32; 8], lens: &[u32; 8]) -> Alike {
        (0..).zip(prefixes.iter().zip(lens)).fold(Alike::default(), |all, (i, (prefix, len))| {
            let len = len & 0xff;
            let differs = (prefix ^ value) & u32::MAX.unbounded_shl(32 - len);
            let is_one = differs == 0;
            Alike {
                which: all.which | u32::from(is_one) << i,
                lens: all.lens | u32::from(is_one).unbounded_shl(len.wrapping_sub(1)),
                bits: all.bits.max((differs.leading_zeros() + 1).min(len) as u8),
            }
        })
    }

    #[inline(always)]
    fn union(self, words: &[u64; 8], which: u32) -> u64 {
        (0..).zip(words).fold(0, |all, (i, word)| all | word & 0u64.wrapping_sub(u64::from(which >> i & 1)))
    }
}

/// A function of its own, as those of the other levels are: what it keeps is no burden to who calls another.
#[inline(never)]
fn portable<J: Job>(job: J) -> J::Output {
    job.run(Portable)
}

/// Which instructions there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Level(Instructions);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Instructions {
    Portable,
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    Avx2,
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    Avx512,
}

impl Level {
    /// What every processor has.
    #[cfg(any(test, not(all(feature = "std", target_arch = "x86_64"))))]
    pub(crate) const PORTABLE: Self = Self(Instructions::Portable);

    /// The best that this processor has.
    #[cfg(not(all(feature = "std", target_arch = "x86_64")))]
    pub(crate) fn best() -> Self {
        Self::PORTABLE
    }

    /// The best that this processor has.
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    pub(crate) fn best() -> Self {
        use std::arch::is_x86_feature_detected as has;
        let v3 = has!("avx2") && has!("bmi1") && has!("bmi2") && has!("lzcnt") && has!("popcnt");
        let v4 = v3 && has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
        let v4 = v4 && has!("avx512cd") && has!("avx512vpopcntdq");
        Self(match (v3, v4) {
            (_, true) => Instructions::Avx512,
            (true, _) => Instructions::Avx2,
            _ => Instructions::Portable,
        })
    }

    /// All levels that this processor has.
    #[cfg(test)]
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let best = Self::best();
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        let levels = [Self(Instructions::Portable), Self(Instructions::Avx2), Self(Instructions::Avx512)];
        #[cfg(not(all(feature = "std", target_arch = "x86_64")))]
        let levels = [Self::PORTABLE];
        levels.into_iter().filter(move |level| *level <= best)
    }

    /// Does a job with the instructions of this level.
    #[inline(always)]
    pub(crate) fn run<J: Job>(self, job: J) -> J::Output {
        match self.0 {
            Instructions::Portable => portable(job),
            // The only way to these levels is `best`, which has found their features, and `all`, which gives no level
            // above it: that is what the two functions ask for.
            #[cfg(all(feature = "std", target_arch = "x86_64"))]
            Instructions::Avx2 => wide::avx2(job),
            #[cfg(all(feature = "std", target_arch = "x86_64"))]
            Instructions::Avx512 => wide::avx512(job),
        }
    }
}

/// Which of eight lanes are `wanted`: bit `i` is that of lane `i`.
#[inline(always)]
pub(crate) fn lanes_equal(lanes: &[u16; 8], wanted: u16) -> u32 {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
    return sse2::lanes_equal(lanes, wanted);
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
    return lanes_equal_portable(lanes, wanted);
}

/// The twin of [`lanes_equal`].
#[cfg(any(test, not(all(target_arch = "x86_64", target_feature = "sse2"))))]
fn lanes_equal_portable(lanes: &[u16; 8], wanted: u16) -> u32 {
    (0..).zip(lanes).fold(0, |set, (i, lane)| set | u32::from(*lane == wanted) << i)
}

/// The twin of [`Kernels::equal`].
#[cfg(any(test, not(all(target_arch = "x86_64", target_feature = "sse2"))))]
fn equal_portable(numbers: &[u32; 8], number: u32) -> u32 {
    (0..).zip(numbers).fold(0, |set, (i, n)| set | u32::from(*n == number) << i)
}

/// Has the processor fetch the line in which a value begins; it will be read soon. No more than a hint.
#[inline(always)]
pub(crate) fn prefetch<T>(value: &T) {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
    sse2::prefetch(value);
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
    let _ = value;
}

#[cfg(test)]
mod tests {
    use super::{Alike, Job, Kernels, Level, equal_portable, lanes_equal, lanes_equal_portable};
    use alloc::vec::Vec;
    use proptest::prelude::*;

    struct Count<'a>(&'a [u64], &'a [u64]);

    impl Job for Count<'_> {
        type Output = (u32, Option<usize>);

        #[inline(always)]
        fn run<K: Kernels>(self, _: K) -> Self::Output {
            let both = || self.0.iter().zip(self.1).map(|(a, b)| a & b);
            (both().map(u64::count_ones).sum(), both().position(|word| word != 0))
        }
    }

    /// Words, a mask and other words.
    struct Blocks<'a>(&'a [u64; 8], &'a [u64; 8], &'a [u64; 8]);

    impl Job for Blocks<'_> {
        type Output = (u64, bool);

        #[inline(always)]
        fn run<K: Kernels>(self, kernels: K) -> Self::Output {
            (kernels.sum(self.0, self.1, self.2), kernels.has(self.0, self.1, self.2))
        }
    }

    struct Sums<'a>([&'a [u64; 8]; 8], &'a [u64; 8], &'a [u64; 8]);

    impl Job for Sums<'_> {
        type Output = [u64; 8];

        #[inline(always)]
        fn run<K: Kernels>(self, kernels: K) -> [u64; 8] {
            kernels.sums(self.0, self.1, self.2)
        }
    }

    struct Equal<'a>(&'a [u32; 8], u32);

    impl Job for Equal<'_> {
        type Output = u32;

        #[inline(always)]
        fn run<K: Kernels>(self, kernels: K) -> u32 {
            kernels.equal(self.0, self.1)
        }
    }

    struct Prefixes<'a>(u32, &'a [u32; 8], &'a [u32; 8], &'a [u64; 8]);

    impl Job for Prefixes<'_> {
        type Output = (Alike, u64);

        #[inline(always)]
        fn run<K: Kernels>(self, kernels: K) -> Self::Output {
            let alike = kernels.alike(self.0, self.1, self.2);
            (alike, kernels.union(self.3, alike.which))
        }
    }

    struct Above<'a>(&'a [u64; 8], u64);

    impl Job for Above<'_> {
        type Output = u64;

        #[inline(always)]
        fn run<K: Kernels>(self, kernels: K) -> u64 {
            kernels.above(self.0, self.1)
        }
    }

    proptest! {
        #[test]
        fn numbers_above_a_floor_are_found(seeds: [u64; 16], floor: u64, at in 0..8usize) {
            // Both halves of the range, the ends, and the floor itself and its neighbours.
            let numbers = core::array::from_fn(|i| match i % 4 {
                0 => seeds[i / 4],
                1 => floor.wrapping_add(seeds[i / 4] % 3).wrapping_sub(1),
                2 => [0, 1, u64::MAX, 1 << 63, (1 << 63) - 1][i / 4 % 5],
                _ => seeds[i / 4] >> 32,
            });
            for floor in [floor, numbers[at], 0, u64::MAX, 1 << 63] {
                let expected = (0..8).filter(|i| numbers[*i] > floor).fold(0u64, |set, i| set | 1 << i);
                for level in Level::all() {
                    prop_assert_eq!(level.run(Above(&numbers, floor)), expected);
                }
            }
        }

        #[test]
        fn prefixes_of_a_value_are_found(
            value: u32,
            of: [(u8, u8, u32, u32); 8],
            words: [u64; 8],
        ) {
            // Each is the value's in some bits, and differs or not after them; lengths of all kinds, other bits above them.
            let lens = of.map(|(_, len, _, above)| (u32::from(len) % 33) | (above << 8));
            let prefixes = core::array::from_fn(|i| {
                let (same, _, other, _) = of[i];
                (value ^ other & u32::MAX.unbounded_shr((same % 40).into())) & u32::MAX.unbounded_shl(32 - (lens[i] & 0xff))
            });
            let (alike, union) = Level::PORTABLE.run(Prefixes(value, &prefixes, &lens, &words));
            let len = |i: usize| lens[i] & 0xff;
            let common = |i: usize| (prefixes[i] ^ value).leading_zeros();
            let ones: Vec<usize> = (0..8).filter(|i| common(*i) >= len(*i)).collect();
            prop_assert_eq!(alike.which, ones.iter().fold(0, |set, i| set | 1 << i));
            prop_assert_eq!(alike.lens, ones.iter().filter(|i| len(**i) > 0).fold(0, |set, i| set | 1 << (len(*i) - 1)));
            prop_assert_eq!(u32::from(alike.bits), (0..8).map(|i| len(i).min(common(i) + 1)).max().unwrap_or(0));
            prop_assert_eq!(union, ones.iter().fold(0, |all, i| all | words[*i]));
            for level in Level::all() {
                prop_assert_eq!(level.run(Prefixes(value, &prefixes, &lens, &words)), (alike, union));
            }
        }

        #[test]
        fn lanes_are_compared_as_the_twin_compares_them(
            lanes: [u16; 8],
            few in proptest::array::uniform8(0..3u16),
            wanted in 0..3u16,
        ) {
            prop_assert_eq!(lanes_equal(&few, wanted), lanes_equal_portable(&few, wanted));
            prop_assert_eq!(lanes_equal(&lanes, lanes[5]), lanes_equal_portable(&lanes, lanes[5]));
        }

        #[test]
        fn equal_numbers_are_found_where_they_are(numbers: [u32; 8], few in prop::array::uniform8(0..3u32), at in 0..8usize) {
            for level in Level::all() {
                for number in [numbers[at], !numbers[at], 0] {
                    prop_assert_eq!(level.run(Equal(&numbers, number)), equal_portable(&numbers, number));
                }
                prop_assert_eq!(level.run(Equal(&few, few[at])), equal_portable(&few, few[at]));
            }
        }

        #[test]
        fn a_job_gives_the_same_at_all_levels(a: [u64; 24], b: [u64; 24]) {
            let expected = Level::PORTABLE.run(Count(&a, &b));
            for level in Level::all() {
                prop_assert_eq!(level.run(Count(&a, &b)), expected);
            }
        }

        #[test]
        fn eight_blocks_are_hashed_as_each_is_alone(words: [[u64; 8]; 8], mask: [u64; 8], secrets: [u64; 8]) {
            let expected = words.map(|words| Level::PORTABLE.run(Blocks(&words, &mask, &secrets)).0);
            for level in Level::all() {
                prop_assert_eq!(level.run(Sums(words.each_ref(), &mask, &secrets)), expected);
            }
        }

        #[test]
        fn blocks_are_hashed_and_compared_as_the_twin_does_it(words: [u64; 8], mask: [u64; 8], bit in 0..512usize, other: [u64; 8]) {
            let values: [u64; 8] = core::array::from_fn(|i| words[i] & mask[i]);
            let mut near = values;
            near[bit / 64] ^= 1 << (bit % 64);
            for level in Level::all() {
                prop_assert!(level.run(Blocks(&words, &mask, &values)).1);
                prop_assert!(!level.run(Blocks(&words, &mask, &near)).1, "one bit tells");
                for third in [&other, &near, &[u64::MAX; 8]] {
                    let expected = Level::PORTABLE.run(Blocks(&words, &mask, third));
                    prop_assert_eq!(level.run(Blocks(&words, &mask, third)), expected);
                }
            }
        }
    }
}

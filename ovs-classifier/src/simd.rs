//! The widest instructions that the processor has, chosen when the program runs, and the kernels that a compiler does
//! not find by itself.
//!
//! A [`Job`] is ordinary safe code, and [`Level::run`] compiles it three times: for any processor, for those with AVX2
//! and for those with AVX-512, each with the bit counting instructions that come with it. Loops over rows of bits become
//! vector operations, counts and scans of bits one instruction each. What [`Level::PORTABLE`] gives is the twin by which
//! the others are tested. The code of a job is compiled for a level only as far as it is inlined into [`Job::run`], so
//! what is worth it is marked `#[inline(always)]`.
//!
//! Two kernels are written by hand: [`lanes_equal`], with a safe twin, and [`prefetch`], which has no result. Every
//! x86-64 has their instructions. There are no gathers: on the processors at hand they cost more than the loads they
//! replace.

/// Work to be done at a level.
pub(crate) trait Job {
    type Output;

    /// The work; implementations are `#[inline(always)]`.
    fn run(self) -> Self::Output;
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
        let v4 = v4 && has!("avx512vpopcntdq");
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
            Instructions::Portable => job.run(),
            #[cfg(all(feature = "std", target_arch = "x86_64"))]
            Instructions::Avx2 => sys::avx2(job),
            #[cfg(all(feature = "std", target_arch = "x86_64"))]
            Instructions::Avx512 => sys::avx512(job),
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

/// Which of eight numbers are equal to one, as bits.
#[inline(always)]
pub(crate) fn equal(numbers: &[u32; 8], number: u32) -> u32 {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
    return sse2::equal(numbers, number);
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
    return equal_portable(numbers, number);
}

/// The twin of [`equal`].
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

/// What every x86-64 has, and the compiler does not find by itself.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[allow(unsafe_code, reason = "unaligned loads of arrays, and a hint about a reference")]
mod sse2 {
    use core::arch::x86_64::{
        __m128i, _MM_HINT_T0, _mm_cmpeq_epi16, _mm_cmpeq_epi32, _mm_loadu_si128, _mm_movemask_epi8, _mm_packs_epi16,
        _mm_packs_epi32, _mm_prefetch, _mm_set1_epi16, _mm_set1_epi32, _mm_setzero_si128,
    };

    #[inline(always)]
    pub(super) fn lanes_equal(lanes: &[u16; 8], wanted: u16) -> u32 {
        // SAFETY: the array is 16 bytes, which is what is read, and the load asks for no alignment. SSE2 is there: this
        // module is compiled for targets that have it.
        unsafe {
            let lanes = _mm_loadu_si128(lanes.as_ptr().cast::<__m128i>());
            let equal = _mm_cmpeq_epi16(lanes, _mm_set1_epi16(wanted.cast_signed()));
            _mm_movemask_epi8(_mm_packs_epi16(equal, _mm_setzero_si128())).cast_unsigned()
        }
    }

    #[inline(always)]
    pub(super) fn equal(numbers: &[u32; 8], number: u32) -> u32 {
        let (low, high) = numbers.split_at(4);
        // SAFETY: as above; both halves are four numbers, 16 readable bytes.
        unsafe {
            let wanted = _mm_set1_epi32(number.cast_signed());
            let (low, high) = (low.as_ptr().cast::<__m128i>(), high.as_ptr().cast::<__m128i>());
            let low = _mm_cmpeq_epi32(_mm_loadu_si128(low), wanted);
            let high = _mm_cmpeq_epi32(_mm_loadu_si128(high), wanted);
            let halves = _mm_packs_epi32(low, high);
            _mm_movemask_epi8(_mm_packs_epi16(halves, _mm_setzero_si128())).cast_unsigned()
        }
    }

    #[inline(always)]
    pub(super) fn prefetch<T>(value: &T) {
        // SAFETY: a prefetch reads nothing that a program can see and faults at no address; this one is a reference's.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(value).cast::<i8>()) }
    }
}

#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[allow(unsafe_code, reason = "the processor has the instructions that a level names: that is checked once")]
mod sys {
    use super::Job;

    #[inline]
    pub(super) fn avx2<J: Job>(job: J) -> J::Output {
        #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
        fn run<J: Job>(job: J) -> J::Output {
            job.run()
        }
        // SAFETY: the only way to the level that calls this is `Level::best`, which has found these features, and
        // `Level::all`, which gives no level above it.
        unsafe { run(job) }
    }

    #[inline]
    pub(super) fn avx512<J: Job>(job: J) -> J::Output {
        #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq")]
        fn run<J: Job>(job: J) -> J::Output {
            job.run()
        }
        // SAFETY: as above.
        unsafe { run(job) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Job, Level, equal, equal_portable, lanes_equal, lanes_equal_portable};
    use proptest::prelude::*;

    struct Count<'a>(&'a [u64], &'a [u64]);

    impl Job for Count<'_> {
        type Output = (u32, Option<usize>);

        #[inline(always)]
        fn run(self) -> Self::Output {
            let both = || self.0.iter().zip(self.1).map(|(a, b)| a & b);
            (both().map(u64::count_ones).sum(), both().position(|word| word != 0))
        }
    }

    proptest! {
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
            for number in [numbers[at], !numbers[at], 0] {
                prop_assert_eq!(equal(&numbers, number), equal_portable(&numbers, number));
                prop_assert_eq!(equal(&few, few[at]), equal_portable(&few, few[at]));
            }
        }

        #[test]
        fn a_job_gives_the_same_at_all_levels(a: [u64; 24], b: [u64; 24]) {
            let expected = Level::PORTABLE.run(Count(&a, &b));
            for level in Level::all() {
                prop_assert_eq!(level.run(Count(&a, &b)), expected);
            }
        }
    }
}

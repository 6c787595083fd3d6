//! The kernels for AVX2 and AVX-512.
//!
//! A [`Avx2`] or [`Avx512`] is made in one place only, within a function that may be called only where the processor has
//! the instructions; so who has one may use them, and the kernels are safe functions.
#![allow(unsafe_code, reason = "instructions that the processor has by proof of a token, and loads of whole arrays")]

use super::{Alike, Job, Kernels};
use core::arch::x86_64::*;

/// Shows that the processor has AVX2, BMI1 and 2, LZCNT and POPCNT.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

/// Shows that it has AVX-512 F, BW, CD, DQ, VL and VPOPCNTDQ, too.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

#[inline]
pub(super) fn avx2<J: Job>(job: J) -> J::Output {
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn run<J: Job>(job: J) -> J::Output {
        job.run(Avx2(()))
    }
    // SAFETY: the only way to the level that calls this is `Level::best`, which has found these features, and
    // `Level::all`, which gives no level above it.
    unsafe { run(job) }
}

#[inline]
pub(super) fn avx512<J: Job>(job: J) -> J::Output {
    #[target_feature(
        enable = "avx2,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vpopcntdq"
    )]
    fn run<J: Job>(job: J) -> J::Output {
        job.run(Avx512(()))
    }
    // SAFETY: as above.
    unsafe { run(job) }
}

/// The halves of eight words.
#[inline]
#[target_feature(enable = "avx2")]
fn load_halves(words: &[u64; 8]) -> [__m256i; 2] {
    let (low, high) = words.split_at(4);
    // SAFETY: each half is four words, 32 readable bytes, and the loads ask for no alignment.
    unsafe { [_mm256_loadu_si256(low.as_ptr().cast()), _mm256_loadu_si256(high.as_ptr().cast())] }
}

#[inline]
#[target_feature(enable = "avx2")]
fn sum_avx2(words: &[u64; 8], mask: &[u64; 8], secrets: &[u64; 8]) -> u64 {
    let (words, mask, secrets) = (load_halves(words), load_halves(mask), load_halves(secrets));
    let product = |i: usize| {
        let halves = _mm256_add_epi32(_mm256_and_si256(words[i], mask[i]), secrets[i]);
        _mm256_mul_epu32(halves, _mm256_srli_epi64::<32>(halves))
    };
    let four = _mm256_add_epi64(product(0), product(1));
    let two = _mm_add_epi64(_mm256_castsi256_si128(four), _mm256_extracti128_si256::<1>(four));
    let one = _mm_add_epi64(two, _mm_unpackhi_epi64(two, two));
    _mm_cvtsi128_si64(one).cast_unsigned()
}

#[inline]
#[target_feature(enable = "avx2")]
fn has_avx2(words: &[u64; 8], mask: &[u64; 8], values: &[u64; 8]) -> bool {
    let (words, mask, values) = (load_halves(words), load_halves(mask), load_halves(values));
    let differ = |i: usize| _mm256_xor_si256(_mm256_and_si256(words[i], mask[i]), values[i]);
    let differ = _mm256_or_si256(differ(0), differ(1));
    _mm256_testz_si256(differ, differ) != 0
}

#[inline]
#[target_feature(enable = "avx2")]
fn equal_avx2(numbers: &[u32; 8], number: u32) -> u32 {
    // SAFETY: eight numbers are 32 readable bytes, and the load asks for no alignment.
    let numbers = unsafe { _mm256_loadu_si256(numbers.as_ptr().cast()) };
    let equal = _mm256_cmpeq_epi32(numbers, _mm256_set1_epi32(number.cast_signed()));
    _mm256_movemask_ps(_mm256_castsi256_ps(equal)).cast_unsigned()
}

#[inline]
#[target_feature(enable = "avx2")]
fn above_avx2(numbers: &[u64; 8], floor: u64) -> u64 {
    // Without unsigned comparisons: both sides are moved by half the range.
    let half = _mm256_set1_epi64x(i64::MIN);
    let floor = _mm256_xor_si256(_mm256_set1_epi64x(floor.cast_signed()), half);
    let [low, high] = load_halves(numbers).map(|four| {
        let above = _mm256_cmpgt_epi64(_mm256_xor_si256(four, half), floor);
        u64::from(_mm256_movemask_pd(_mm256_castsi256_pd(above)).cast_unsigned())
    });
    low | high << 4
}

/// Which bits of eight values differ from those of prefixes, and the lengths of these.
#[inline]
#[target_feature(enable = "avx2")]
fn differ_and_lens(value: u32, prefixes: &[u32; 8], lens: &[u32; 8]) -> [__m256i; 2] {
    // SAFETY: eight numbers are 32 readable bytes, and the loads ask for no alignment.
    let (prefixes, lens) =
        unsafe { (_mm256_loadu_si256(prefixes.as_ptr().cast()), _mm256_loadu_si256(lens.as_ptr().cast())) };
    let lens = _mm256_and_si256(lens, _mm256_set1_epi32(0xff));
    // A shift of 32 or more leaves nothing.
    let masks = _mm256_sllv_epi32(_mm256_set1_epi32(-1), _mm256_sub_epi32(_mm256_set1_epi32(32), lens));
    let differ = _mm256_xor_si256(prefixes, _mm256_set1_epi32(value.cast_signed()));
    [_mm256_and_si256(differ, masks), lens]
}

/// The bit of each length; none for that of 0.
#[inline]
#[target_feature(enable = "avx2")]
fn length_bits(lens: __m256i) -> __m256i {
    _mm256_sllv_epi32(_mm256_set1_epi32(1), _mm256_sub_epi32(lens, _mm256_set1_epi32(1)))
}

/// What is in one of eight numbers.
#[inline]
#[target_feature(enable = "avx2")]
fn any_of_eight(numbers: __m256i) -> u32 {
    let four = _mm_or_si128(_mm256_castsi256_si128(numbers), _mm256_extracti128_si256::<1>(numbers));
    let two = _mm_or_si128(four, _mm_unpackhi_epi64(four, four));
    _mm_cvtsi128_si32(_mm_or_si128(two, _mm_shuffle_epi32::<1>(two))).cast_unsigned()
}

#[inline]
#[target_feature(enable = "avx2,lzcnt")]
fn alike_avx2(value: u32, prefixes: &[u32; 8], lens: &[u32; 8]) -> Alike {
    let [differ, lens] = differ_and_lens(value, prefixes, lens);
    let ones = _mm256_cmpeq_epi32(differ, _mm256_setzero_si256());
    let which = _mm256_movemask_ps(_mm256_castsi256_ps(ones)).cast_unsigned();
    let lens = any_of_eight(_mm256_and_si256(ones, length_bits(lens)));
    // The one that differs latest differs in the least number; all bits of one that does not are as the longest's.
    let others = _mm256_or_si256(differ, ones);
    let four = _mm_min_epu32(_mm256_castsi256_si128(others), _mm256_extracti128_si256::<1>(others));
    let two = _mm_min_epu32(four, _mm_unpackhi_epi64(four, four));
    let nearest = _mm_cvtsi128_si32(_mm_min_epu32(two, _mm_shuffle_epi32::<1>(two))).cast_unsigned();
    let parting = if which == 0xff { 0 } else { nearest.leading_zeros() + 1 };
    Alike { which, lens, bits: parting.max(32 - lens.leading_zeros()) as u8 }
}

#[inline]
#[target_feature(enable = "avx2")]
fn union_avx2(words: &[u64; 8], which: u32) -> u64 {
    let which = _mm256_set1_epi64x(which.into());
    let [low, high] = load_halves(words);
    let chosen = |words, bits| _mm256_and_si256(words, _mm256_cmpeq_epi64(_mm256_and_si256(which, bits), bits));
    let low = chosen(low, _mm256_setr_epi64x(1, 2, 4, 8));
    let four = _mm256_or_si256(low, chosen(high, _mm256_setr_epi64x(16, 32, 64, 128)));
    let two = _mm_or_si128(_mm256_castsi256_si128(four), _mm256_extracti128_si256::<1>(four));
    _mm_cvtsi128_si64(_mm_or_si128(two, _mm_unpackhi_epi64(two, two))).cast_unsigned()
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(words: &[u64; 8]) -> __m512i {
    // SAFETY: eight words are 64 readable bytes, and the load asks for no alignment.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn products(words: &[u64; 8], mask: &[u64; 8], secrets: &[u64; 8]) -> __m512i {
    let halves = _mm512_add_epi32(_mm512_and_si512(load(words), load(mask)), load(secrets));
    _mm512_mul_epu32(halves, _mm512_srli_epi64::<32>(halves))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn sum_avx512(words: &[u64; 8], mask: &[u64; 8], secrets: &[u64; 8]) -> u64 {
    _mm512_reduce_add_epi64(products(words, mask, secrets)).cast_unsigned()
}

/// Adds up the words of each of eight by the way of a transposition: a third of the instructions that eight sums take.
#[inline]
#[target_feature(enable = "avx512f")]
fn sums_avx512(words: [&[u64; 8]; 8], mask: &[u64; 8], secrets: &[u64; 8]) -> [u64; 8] {
    let product = |i: usize| products(words[i], mask, secrets);
    let twos = |i: usize| {
        let (a, b) = (product(i), product(i + 1));
        _mm512_add_epi64(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b))
    };
    let add_quarters = |a, b| _mm512_add_epi64(_mm512_shuffle_i64x2::<0x88>(a, b), _mm512_shuffle_i64x2::<0xdd>(a, b));
    let sums = add_quarters(add_quarters(twos(0), twos(2)), add_quarters(twos(4), twos(6)));
    let mut all = [0; 8];
    // SAFETY: eight words are 64 bytes that may be written, and the store asks for no alignment.
    unsafe { _mm512_storeu_si512(all.as_mut_ptr().cast(), sums) }
    all
}

#[inline]
#[target_feature(enable = "avx512f")]
fn has_avx512(words: &[u64; 8], mask: &[u64; 8], values: &[u64; 8]) -> bool {
    _mm512_cmpneq_epi64_mask(_mm512_and_si512(load(words), load(mask)), load(values)) == 0
}

#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
fn equal_avx512(numbers: &[u32; 8], number: u32) -> u32 {
    // SAFETY: eight numbers are 32 readable bytes, and the load asks for no alignment.
    let numbers = unsafe { _mm256_loadu_si256(numbers.as_ptr().cast()) };
    _mm256_cmpeq_epi32_mask(numbers, _mm256_set1_epi32(number.cast_signed())).into()
}

#[inline]
#[target_feature(enable = "avx512f")]
fn above_avx512(numbers: &[u64; 8], floor: u64) -> u64 {
    _mm512_cmpgt_epu64_mask(load(numbers), _mm512_set1_epi64(floor.cast_signed())).into()
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512cd,avx512vl")]
fn alike_avx512(value: u32, prefixes: &[u32; 8], lens: &[u32; 8]) -> Alike {
    let [differ, lens] = differ_and_lens(value, prefixes, lens);
    let ones = _mm256_testn_epi32_mask(differ, differ);
    let past = _mm256_add_epi32(_mm256_lzcnt_epi32(differ), _mm256_set1_epi32(1));
    let bits = _mm256_min_epu32(past, lens);
    let four = _mm_max_epu32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256::<1>(bits));
    let two = _mm_max_epu32(four, _mm_unpackhi_epi64(four, four));
    let bits = _mm_cvtsi128_si32(_mm_max_epu32(two, _mm_shuffle_epi32::<1>(two)));
    let lens = any_of_eight(_mm256_maskz_mov_epi32(ones, length_bits(lens)));
    Alike { which: ones.into(), lens, bits: bits as u8 }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn union_avx512(words: &[u64; 8], which: u32) -> u64 {
    _mm512_mask_reduce_or_epi64(which as u8, load(words)).cast_unsigned()
}

impl Kernels for Avx2 {
    #[inline(always)]
    fn sum(self, words: &[u64; 8], mask: &[u64; 8], secrets: &[u64; 8]) -> u64 {
        // SAFETY: the token shows that the processor has these instructions.
        unsafe { sum_avx2(words, mask, secrets) }
    }

    #[inline(always)]
    fn has(self, words: &[u64; 8], mask: &[u64; 8], values: &[u64; 8]) -> bool {
        // SAFETY: as above.
        unsafe { has_avx2(words, mask, values) }
    }

    #[inline(always)]
    fn equal(self, numbers: &[u32; 8], number: u32) -> u32 {
        // SAFETY: as above.
        unsafe { equal_avx2(numbers, number) }
    }

    #[inline(always)]
    fn above(self, numbers: &[u64; 8], floor: u64) -> u64 {
        // SAFETY: as above.
        unsafe { above_avx2(numbers, floor) }
    }

    #[inline(always)]
    fn alike(self, value: u32, prefixes: &[u32; 8], lens: &[u32; 8]) -> Alike {
        // SAFETY: as above.
        unsafe { alike_avx2(value, prefixes, lens) }
    }

    #[inline(always)]
    fn union(self, words: &[u64; 8], which: u32) -> u64 {
        // SAFETY: as above.
        unsafe { union_avx2(words, which) }
    }
}

impl Kernels for Avx512 {
    #[inline(always)]
    fn sum(self, words: &[u64; 8], mask: &[u64; 8], secrets: &[u64; 8]) -> u64 {
        // SAFETY: as above.
        unsafe { sum_avx512(words, mask, secrets) }
    }

    #[inline(always)]
    fn sums(self, words: [&[u64; 8]; 8], mask: &[u64; 8], secrets: &[u64; 8]) -> [u64; 8] {
        // SAFETY: as above.
        unsafe { sums_avx512(words, mask, secrets) }
    }

    #[inline(always)]
    fn has(self, words: &[u64; 8], mask: &[u64; 8], values: &[u64; 8]) -> bool {
        // SAFETY: as above.
        unsafe { has_avx512(words, mask, values) }
    }

    #[inline(always)]
    fn equal(self, numbers: &[u32; 8], number: u32) -> u32 {
        // SAFETY: as above.
        unsafe { equal_avx512(numbers, number) }
    }

    #[inline(always)]
    fn above(self, numbers: &[u64; 8], floor: u64) -> u64 {
        // SAFETY: as above.
        unsafe { above_avx512(numbers, floor) }
    }

    #[inline(always)]
    fn alike(self, value: u32, prefixes: &[u32; 8], lens: &[u32; 8]) -> Alike {
        // SAFETY: as above.
        unsafe { alike_avx512(value, prefixes, lens) }
    }

    #[inline(always)]
    fn union(self, words: &[u64; 8], which: u32) -> u64 {
        // SAFETY: as above.
        unsafe { union_avx512(words, which) }
    }
}

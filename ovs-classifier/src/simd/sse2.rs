//! What every x86-64 has, and the compiler does not find by itself.
#![allow(unsafe_code, reason = "unaligned loads of arrays, and a hint about a reference")]

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

//! Vectors of floats, and of pairs of bfloat16, on the instruction sets of [`super::isa`].

#[cfg(any(test, target_arch = "x86_64"))]
use std::marker::PhantomData;

use super::pairs;

/// A loop that is compiled once for every instruction set.
pub trait Work {
    /// Does the work; implementations are `#[inline(always)]` so that they take on the caller's
    /// instruction set.
    ///
    /// # Safety
    /// The processor has the instruction set of `S`.
    unsafe fn run<S: Simd>(self);
}

/// A register of floats.
///
/// # Safety
/// Every method needs a processor with the instruction set, `load` and `store` as many valid
/// floats as there are lanes.
#[allow(missing_docs, clippy::missing_safety_doc)] // one section for all methods, above
pub trait Simd {
    /// Floats in a register.
    const LANES: usize;
    /// Whether 24 accumulators and their operands fit the registers; else some 12 do.
    const MANY_REGISTERS: bool;
    type Vector: Copy;
    unsafe fn splat(value: f32) -> Self::Vector;
    unsafe fn load(from: *const f32) -> Self::Vector;
    unsafe fn store(to: *mut f32, vector: Self::Vector);
    /// a · b + c.
    unsafe fn fma(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    unsafe fn max(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Stores neighbouring floats as pairs of bfloat16 (`kernels/pairs.rs`): half as many words as there are lanes.
    #[inline(always)]
    unsafe fn store_pairs(to: *mut f32, vector: Self::Vector) {
        const MOST: usize = 16;
        let mut values = [0.0; MOST];
        unsafe {
            Self::store(values.as_mut_ptr(), vector);
            for (word, two) in values[..Self::LANES].chunks_exact(2).enumerate() {
                to.add(word).write(pairs::pair(two[0], two[1]));
            }
        }
    }
}

/// Arrays of eight floats, on any processor.
pub(crate) struct Portable;

impl Simd for Portable {
    const LANES: usize = 8;
    const MANY_REGISTERS: bool = false;
    type Vector = [f32; 8];

    #[inline(always)]
    unsafe fn splat(value: f32) -> [f32; 8] {
        [value; 8]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> [f32; 8] {
        unsafe { from.cast::<[f32; 8]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, vector: [f32; 8]) {
        unsafe { to.cast::<[f32; 8]>().write_unaligned(vector) }
    }

    #[inline(always)]
    unsafe fn fma(a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        // Not `mul_add`: without the instruction that is a slow call into the C library.
        std::array::from_fn(|lane| a[lane] * b[lane] + c[lane])
    }

    #[inline(always)]
    unsafe fn max(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|lane| a[lane].max(b[lane]))
    }
}

/// Registers whose words are also multiplied as pairs of bfloat16.
///
/// # Safety
/// As of [`Simd`], and a processor that multiplies pairs.
#[cfg(any(test, target_arch = "x86_64"))]
pub(crate) trait PairProduct: Simd {
    /// As [`Simd::MANY_REGISTERS`]; a reference goes the ways of the processors that it stands for.
    const MANY: bool = Self::MANY_REGISTERS;
    /// The products of both halves of a and b, and c, which is floats.
    unsafe fn add_products(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
}

/// The registers of `S` with pairs of bfloat16 for factors and floats for sums: only what is multiplied differs.
#[cfg(any(test, target_arch = "x86_64"))]
pub(crate) struct Pairs<S>(PhantomData<S>);

#[cfg(any(test, target_arch = "x86_64"))]
impl<S: PairProduct> Simd for Pairs<S> {
    const LANES: usize = S::LANES;
    const MANY_REGISTERS: bool = S::MANY;
    type Vector = S::Vector;

    #[inline(always)]
    unsafe fn splat(value: f32) -> S::Vector {
        unsafe { S::splat(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> S::Vector {
        unsafe { S::load(from) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, vector: S::Vector) {
        unsafe { S::store(to, vector) }
    }

    #[inline(always)]
    unsafe fn fma(a: S::Vector, b: S::Vector, c: S::Vector) -> S::Vector {
        unsafe { S::add_products(a, b, c) }
    }

    #[inline(always)]
    unsafe fn max(a: S::Vector, b: S::Vector) -> S::Vector {
        unsafe { S::max(a, b) }
    }

    #[inline(always)]
    unsafe fn store_pairs(to: *mut f32, vector: S::Vector) {
        unsafe { S::store_pairs(to, vector) }
    }
}

/// What `vdpbf16ps` computes, up to how it rounds, on any processor.
#[cfg(test)]
impl PairProduct for Portable {
    const MANY: bool = true;

    #[inline(always)]
    unsafe fn add_products(a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|lane| {
            let ([a0, a1], [b0, b1]) = (pairs::halves(a[lane]), pairs::halves(b[lane]));
            c[lane] + a0 * b0 + a1 * b1
        })
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    use std::arch::x86_64::*;

    use super::{PairProduct, Pairs, Simd, Work};

    #[target_feature(enable = "avx512f")]
    pub(crate) unsafe fn avx512<W: Work>(work: W) {
        unsafe { work.run::<Avx512>() }
    }

    #[target_feature(enable = "avx2,fma")]
    pub(crate) unsafe fn avx2<W: Work>(work: W) {
        unsafe { work.run::<Avx2>() }
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(crate) unsafe fn avx512_bf16<W: Work>(work: W) {
        unsafe { work.run::<Pairs<Avx512>>() }
    }

    impl PairProduct for Avx512 {
        #[inline(always)]
        unsafe fn add_products(a: __m512, b: __m512, c: __m512) -> __m512 {
            // SAFETY: the same bits, read as pairs.
            let pairs = |floats| unsafe { std::mem::transmute::<__m512, __m512bh>(floats) };
            unsafe { _mm512_dpbf16_ps(c, pairs(a), pairs(b)) }
        }
    }

    pub(crate) struct Avx512;

    impl Simd for Avx512 {
        const LANES: usize = 16;
        const MANY_REGISTERS: bool = true;
        type Vector = __m512;

        #[inline(always)]
        unsafe fn splat(value: f32) -> __m512 {
            unsafe { _mm512_set1_ps(value) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m512 {
            unsafe { _mm512_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn store(to: *mut f32, vector: __m512) {
            unsafe { _mm512_storeu_ps(to, vector) }
        }

        #[inline(always)]
        unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        unsafe fn max(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_max_ps(a, b) }
        }

        /// As [`rounded`](super::super::pairs::rounded) of each: `vcvtneps2bf16` would make zeros of the smallest numbers.
        #[inline(always)]
        unsafe fn store_pairs(to: *mut f32, vector: __m512) {
            unsafe {
                let bits = _mm512_castps_si512(vector);
                let odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
                let half = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
                let upper = _mm512_srli_epi32(_mm512_add_epi32(bits, half), 16);
                _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(upper));
            }
        }
    }

    pub(crate) struct Avx2;

    impl Simd for Avx2 {
        const LANES: usize = 8;
        const MANY_REGISTERS: bool = false;
        type Vector = __m256;

        #[inline(always)]
        unsafe fn splat(value: f32) -> __m256 {
            unsafe { _mm256_set1_ps(value) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m256 {
            unsafe { _mm256_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn store(to: *mut f32, vector: __m256) {
            unsafe { _mm256_storeu_ps(to, vector) }
        }

        #[inline(always)]
        unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        unsafe fn max(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_max_ps(a, b) }
        }
    }
}

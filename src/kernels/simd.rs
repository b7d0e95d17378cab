//! Vectors of floats on three instruction sets, chosen at run time.

use std::fmt;
use std::marker::PhantomData;
use std::sync::OnceLock;

/// Environment variable that forces a lower instruction set than the machine has.
pub(crate) const OVERRIDE: &str = "VERTEBRAE_SIMD";

/// An instruction set the kernels are compiled for and this machine has: only detection makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(Set);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    /// 16 floats a register, 32 registers.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 8 floats a register, 16 registers, fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Whatever the compiler makes of arrays of 8 floats.
    Portable,
    /// 16 pairs of bfloat16 a register, whose products are added up in 16 floats.
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
    /// The same, and tiles of bfloat16 for what fits them (`kernels/amx.rs`).
    #[cfg(target_arch = "x86_64")]
    Amx,
    /// The same of 8 pairs, in arithmetic of the compiler's: a slow reference for tests.
    #[cfg(test)]
    PortableBf16,
    /// The same with tiles.
    #[cfg(test)]
    PortableTiles,
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            Set::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Bf16 => "avx512_bf16",
            #[cfg(test)]
            Set::PortableBf16 => "portable bf16",
            #[cfg(target_arch = "x86_64")]
            Set::Amx => "amx",
            #[cfg(test)]
            Set::PortableTiles => "portable tiles",
        })
    }
}

impl Isa {
    /// The best instruction set of this machine, or the lower one that `VERTEBRAE_SIMD` names.
    pub fn detect() -> Isa {
        static DETECTED: OnceLock<Isa> = OnceLock::new();
        *DETECTED.get_or_init(|| {
            let available = Isa::available();
            Isa::wanted().ok().flatten().unwrap_or(available[0])
        })
    }

    /// The instruction set that `VERTEBRAE_SIMD` names, if it names any; the error says which there are.
    pub fn wanted() -> Result<Option<Isa>, String> {
        let Some(wanted) = std::env::var_os(OVERRIDE).filter(|wanted| !wanted.is_empty()) else {
            return Ok(None);
        };
        let available = Isa::available();
        let found = available.iter().find(|isa| wanted.to_str() == Some(isa.to_string().as_str()));
        found.copied().map(Some).ok_or_else(|| {
            let names: Vec<String> = available.iter().map(Isa::to_string).collect();
            format!("{OVERRIDE} is '{}'; this machine has {}", wanted.to_string_lossy(), names.join(", "))
        })
    }

    /// All instruction sets this machine can run, the best first.
    pub fn available() -> Vec<Isa> {
        let mut available = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if avx2 && is_x86_feature_detected!("avx512f") {
                available.push(Isa(Set::Avx512));
            }
            if avx2 {
                available.push(Isa(Set::Avx2));
            }
        }
        available.push(Isa(Set::Portable));
        available
    }

    /// The instructions of this machine that multiply bfloat16, if it has any: tiles (AMX, Sapphire Rapids and later) or pairs
    /// (AVX512_BF16, Zen 4, Cooper Lake and later). `VERTEBRAE_SIMD` with a lower instruction set forbids them.
    pub fn bf16() -> Option<Isa> {
        #[cfg(target_arch = "x86_64")]
        if Isa::detect() == Isa(Set::Avx512) && is_x86_feature_detected!("avx512bf16") {
            // To be permitted makes every thread's state larger, so it is asked for only where bfloat16 is wanted.
            static TILES: OnceLock<bool> = OnceLock::new();
            let tiles = *TILES.get_or_init(super::amx::permitted);
            return Some(Isa(if tiles { Set::Amx } else { Set::Avx512Bf16 }));
        }
        None
    }

    /// All that multiply bfloat16, the slow references last.
    #[cfg(test)]
    pub(crate) fn all_bf16() -> Vec<Isa> {
        let mut all: Vec<Isa> = Isa::bf16().into_iter().collect();
        #[cfg(target_arch = "x86_64")]
        if all == [Isa(Set::Amx)] {
            all.push(Isa(Set::Avx512Bf16));
        }
        all.extend([Isa(Set::PortableBf16), Isa(Set::PortableTiles)]);
        all
    }

    /// Whether the processor has tiles.
    pub(super) fn has_tiles(self) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Amx => true,
            _ => false,
        }
    }

    /// Whether bfloat16 is multiplied in tiles where channels fit them.
    pub(super) fn multiplies_tiles(self) -> bool {
        match self.0 {
            #[cfg(test)]
            Set::PortableTiles => true,
            _ => self.has_tiles(),
        }
    }

    /// Whether a register holds pairs of bfloat16 where others hold a float, see [`super::pairs`].
    pub(crate) fn is_bf16(self) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Bf16 | Set::Amx => true,
            #[cfg(test)]
            Set::PortableBf16 | Set::PortableTiles => true,
            _ => false,
        }
    }

    /// The one that computes in floats where this one multiplies pairs of bfloat16, else itself.
    pub(crate) fn single(self) -> Isa {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Bf16 | Set::Amx => Isa(Set::Avx512),
            #[cfg(test)]
            Set::PortableBf16 | Set::PortableTiles => Isa(Set::Portable),
            _ => self,
        }
    }

    /// What `channels` are read with: one alone would be half of every pair, so it stays a float.
    pub(crate) fn reading(self, channels: usize) -> Isa {
        if channels == 1 { self.single() } else { self }
    }

    /// One of half the width, or itself: for layers that would leave half of a register empty.
    pub(crate) fn narrower(self) -> Isa {
        match self.0 {
            // Every machine that has the one, as far as `available` goes, has the other.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => Isa(Set::Avx2),
            _ => self,
        }
    }

    /// Floats in a register.
    pub(crate) fn lanes(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 | Set::Avx512Bf16 | Set::Amx => 16,
            _ => 8,
        }
    }

    /// Runs `work` compiled for this instruction set.
    pub fn run<W: Work>(self, work: W) {
        match self.0 {
            // SAFETY: only `available` makes these, where the processor has them.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => unsafe { x86::avx512(work) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { x86::avx2(work) },
            // SAFETY: arrays need no instruction set.
            Set::Portable => unsafe { work.run::<Portable>() },
            // SAFETY: only `bf16` makes it, where the processor has it.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Bf16 | Set::Amx => unsafe { x86::avx512_bf16(work) },
            // SAFETY: as of arrays of floats.
            #[cfg(test)]
            Set::PortableBf16 | Set::PortableTiles => unsafe { work.run::<Pairs<Portable>>() },
        }
    }
}

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
                to.add(word).write(super::pairs::pair(two[0], two[1]));
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
pub(crate) trait PairProduct: Simd {
    /// As [`Simd::MANY_REGISTERS`]; a reference goes the ways of the processors that it stands for.
    const MANY: bool = Self::MANY_REGISTERS;
    /// The products of both halves of a and b, and c, which is floats.
    unsafe fn add_products(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
}

/// The registers of `S` with pairs of bfloat16 for factors and floats for sums: only what is multiplied differs.
pub(crate) struct Pairs<S>(PhantomData<S>);

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
        // The upper half of a float is a bfloat16.
        let halves = |pair: f32| [pair.to_bits() << 16, pair.to_bits() & 0xffff_0000].map(f32::from_bits);
        std::array::from_fn(|lane| {
            let ([a0, a1], [b0, b1]) = (halves(a[lane]), halves(b[lane]));
            c[lane] + a0 * b0 + a1 * b1
        })
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
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

#[cfg(test)]
mod tests {
    use super::*;

    struct Axpy<'a>(f32, &'a [f32], &'a mut [f32]);

    impl Work for Axpy<'_> {
        #[inline(always)]
        unsafe fn run<S: Simd>(self) {
            for (x, y) in self.1.chunks_exact(S::LANES).zip(self.2.chunks_exact_mut(S::LANES)) {
                unsafe {
                    let sum = S::fma(S::splat(self.0), S::load(x.as_ptr()), S::load(y.as_ptr()));
                    S::store(y.as_mut_ptr(), S::max(sum, S::splat(0.0)));
                }
            }
        }
    }

    #[test]
    fn every_instruction_set_of_this_machine_computes_the_same() {
        for isa in Isa::available() {
            let x: Vec<f32> = (0..32).map(|i| i as f32 - 10.0).collect();
            let mut y = vec![1.0; 32];
            isa.run(Axpy(2.0, &x, &mut y));
            let expected: Vec<f32> = x.iter().map(|x| (2.0 * x + 1.0).max(0.0)).collect();
            assert_eq!(y, expected, "{isa}");
        }
    }
}

//! Which instructions this machine computes with, found out at run time.

use std::fmt;
use std::sync::OnceLock;

#[cfg(test)]
use super::simd::Pairs;
#[cfg(target_arch = "x86_64")]
use super::simd::x86;
use super::simd::{Portable, Work};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::simd::Simd;

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

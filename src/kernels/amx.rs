//! Tiles of AMX: 16 rows of 64 bytes are a register, and one instruction adds the product of two of them to a third.
//!
//! Instructions are inline assembly, as the compiler's own names for them are not stable yet. Linux lets a process use the tiles after
//! it has asked once, as they make its threads' states 8 KiB larger.

#[cfg(target_arch = "x86_64")]
use std::arch::asm;

use super::isa::Isa;
#[cfg(any(test, not(target_arch = "x86_64")))]
use super::pairs::halves;

/// Rows of a tile, and words of a row.
pub(super) const SIDE: usize = 16;

/// Channel pairs of a tile: as many as fit, all tiles alike; none if the pairs cannot be divided so.
pub(super) fn depth(words: usize) -> Option<usize> {
    let blocks = words.div_ceil(SIDE).max(1);
    words.is_multiple_of(blocks).then(|| words / blocks).filter(|&depth| depth > 0)
}

/// Whether this processor multiplies tiles of bfloat16 and this process may.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(super) fn permitted() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    /// Bits of register EDX of leaf 7.
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    const ARCH_PRCTL: usize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    /// The state component that holds the tiles.
    const XTILEDATA: usize = 18;
    // SAFETY: every processor of this kind has the instruction; leaf 0 says which others there are.
    #[allow(unused_unsafe)] // From Rust 1.94 on these are safe.
    let features = unsafe { if __cpuid(0).eax < 7 { 0 } else { __cpuid_count(7, 0).edx } };
    if features & (AMX_BF16 | AMX_TILE) != AMX_BF16 | AMX_TILE {
        return false;
    }
    let refused: usize;
    // SAFETY: the call changes nothing but what this process may do. A kernel that does not know it says so.
    unsafe {
        asm!("syscall", inlateout("rax") ARCH_PRCTL => refused, in("rdi") ARCH_REQ_XCOMP_PERM, in("rsi") XTILEDATA,
             lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    refused == 0
}

/// Whether this processor multiplies tiles of bfloat16 and this process may.
#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
pub(super) fn permitted() -> bool {
    false
}

/// Sums of up to two tiles of outputs times up to two of voxels.
pub(super) struct Product<'a> {
    /// The kernel of the first 16 outputs: for every place a tile `[output, pair]`.
    pub weights: *const f32,
    /// Words from there to that of the next 16.
    pub apart: usize,
    /// Channel pairs of a tile.
    pub depth: usize,
    /// The first voxel of the first pair.
    pub input: *const f32,
    /// Words from a channel pair to the next.
    pub stride: usize,
    /// Where the tiles of inputs begin, in bytes from `input`.
    pub places: &'a [usize],
    /// The sums `[output, voxel]`.
    pub sums: *mut f32,
    /// Floats from a row of sums to the next.
    pub line: usize,
    /// Tiles of outputs and of voxels, 1 or 2.
    pub tiles: [usize; 2],
}

/// The tiles of this thread, or what stands in for them in tests.
pub(super) enum Unit {
    /// The processor's, let go when dropped.
    #[cfg(target_arch = "x86_64")]
    Amx(Configured),
    /// The definition, for tests and for processors of other kinds, on which nothing asks for tiles.
    #[cfg(any(test, not(target_arch = "x86_64")))]
    Reference,
}

impl Unit {
    /// Tiles of 16 outputs by 16 voxels for sums, and of `depth` channel pairs for factors.
    pub fn configured(isa: Isa, depth: usize) -> Unit {
        assert!(isa.multiplies_tiles() && depth <= SIDE, "tiles on a processor without");
        #[cfg(target_arch = "x86_64")]
        if isa.has_tiles() {
            // SAFETY: the processor has tiles and this process may use them.
            return Unit::Amx(unsafe { Configured::new(depth) });
        }
        #[cfg(any(test, not(target_arch = "x86_64")))]
        return Unit::Reference;
        #[cfg(all(not(test), target_arch = "x86_64"))]
        unreachable!("only tests multiply tiles without the instructions")
    }

    /// Computes the sums.
    ///
    /// # Safety
    /// All tiles of weights, inputs and sums lie in memory that is theirs.
    pub unsafe fn multiply(&self, product: Product) {
        match self {
            // SAFETY: as above; the tiles are configured.
            #[cfg(target_arch = "x86_64")]
            Unit::Amx(_) => unsafe { multiply(product) },
            // SAFETY: as above.
            #[cfg(any(test, not(target_arch = "x86_64")))]
            Unit::Reference => unsafe { reference(product) },
        }
    }
}

/// Says that this thread's tiles have their shapes.
#[cfg(target_arch = "x86_64")]
pub(super) struct Configured(());

#[cfg(target_arch = "x86_64")]
impl Configured {
    /// # Safety
    /// The processor has tiles, and this process may use them.
    unsafe fn new(depth: usize) -> Configured {
        /// What `ldtilecfg` reads.
        #[repr(C, align(64))]
        struct Shapes {
            palette: u8,
            start: u8,
            reserved: [u8; 14],
            bytes: [u16; 16],
            rows: [u8; 16],
        }
        let mut shapes = Shapes { palette: 1, start: 0, reserved: [0; 14], bytes: [0; 16], rows: [0; 16] };
        let (row, side) = (4 * depth as u16, SIDE as u8);
        // Sums 0 to 3, weights 4 and 5, inputs 6 and 7.
        for tile in 0..8 {
            (shapes.bytes[tile], shapes.rows[tile]) = match tile {
                0..4 => (64, side),
                4..6 => (row, side),
                _ => (64, depth as u8),
            };
        }
        // SAFETY: 64 bytes that say what the processor knows.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &shapes, options(nostack, readonly)) };
        Configured(())
    }
}

#[cfg(target_arch = "x86_64")]
impl Drop for Configured {
    fn drop(&mut self) {
        // SAFETY: it was configured, so the processor has it.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// The loop over all places: `$body` loads and multiplies, its inputs at `at`, its weights at `weights` and `next`.
#[cfg(target_arch = "x86_64")]
macro_rules! over_places {
    ($product:expr, [$($zero:literal),+], [$($body:literal),+], [$($store:literal),+]) => {{
        let Product { weights, apart, depth, input, stride, places, sums, line, .. } = $product;
        asm!(
            $($zero,)+
            "2:",
            "mov {at}, qword ptr [{places}]",
            "add {at}, {input}",
            "lea {next}, [{weights} + {apart}]",
            $($body,)+
            "add {places}, 8",
            "add {weights}, {tile}",
            "dec {steps}",
            "jnz 2b",
            "mov {next}, {line}",
            "shl {next}, 4",
            "add {next}, {sums}",
            $($store,)+
            weights = inout(reg) weights => _,
            places = inout(reg) places.as_ptr() => _,
            steps = inout(reg) places.len() => _,
            at = out(reg) _,
            next = out(reg) _,
            apart = in(reg) 4 * apart,
            tile = in(reg) 4 * SIDE * depth,
            row = in(reg) 4 * depth,
            input = in(reg) input,
            stride = in(reg) 4 * stride,
            sums = in(reg) sums,
            line = in(reg) 4 * line,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }};
}

/// # Safety
/// As of [`Unit::multiply`], and the tiles are configured.
#[cfg(target_arch = "x86_64")]
unsafe fn multiply(product: Product) {
    assert!(!product.places.is_empty(), "a convolution of nothing");
    unsafe {
        match product.tiles {
            [2, 2] => over_places!(
                product,
                ["tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3"],
                [
                    "tileloadd tmm4, [{weights} + {row}]",
                    "tileloadd tmm6, [{at} + {stride}]",
                    "tileloadd tmm7, [{at} + {stride} + 64]",
                    "tileloadd tmm5, [{next} + {row}]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tdpbf16ps tmm3, tmm5, tmm7"
                ],
                [
                    "tilestored [{sums} + {line}], tmm0",
                    "tilestored [{sums} + {line} + 64], tmm1",
                    "tilestored [{next} + {line}], tmm2",
                    "tilestored [{next} + {line} + 64], tmm3"
                ]
            ),
            [2, _] => over_places!(
                product,
                ["tilezero tmm0", "tilezero tmm2"],
                [
                    "tileloadd tmm4, [{weights} + {row}]",
                    "tileloadd tmm6, [{at} + {stride}]",
                    "tileloadd tmm5, [{next} + {row}]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tdpbf16ps tmm2, tmm5, tmm6"
                ],
                ["tilestored [{sums} + {line}], tmm0", "tilestored [{next} + {line}], tmm2"]
            ),
            [_, 2] => over_places!(
                product,
                ["tilezero tmm0", "tilezero tmm1"],
                [
                    "tileloadd tmm4, [{weights} + {row}]",
                    "tileloadd tmm6, [{at} + {stride}]",
                    "tileloadd tmm7, [{at} + {stride} + 64]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tdpbf16ps tmm1, tmm4, tmm7"
                ],
                ["tilestored [{sums} + {line}], tmm0", "tilestored [{sums} + {line} + 64], tmm1"]
            ),
            _ => over_places!(
                product,
                ["tilezero tmm0"],
                [
                    "tileloadd tmm4, [{weights} + {row}]",
                    "tileloadd tmm6, [{at} + {stride}]",
                    "tdpbf16ps tmm0, tmm4, tmm6"
                ],
                ["tilestored [{sums} + {line}], tmm0"]
            ),
        }
    }
}

/// What the instructions compute, up to how they round.
#[cfg(any(test, not(target_arch = "x86_64")))]
unsafe fn reference(product: Product) {
    let Product { weights, apart, depth, input, stride, places, sums, line, tiles } = product;
    for output in 0..tiles[0] * SIDE {
        for voxel in 0..tiles[1] * SIDE {
            let mut sum = 0.0;
            for (place, &at) in places.iter().enumerate() {
                for pair in 0..depth {
                    let row = (place * SIDE + output % SIDE) * depth + pair;
                    // SAFETY: inside the tiles that the caller vouches for.
                    let (w, x) = unsafe {
                        let w = *weights.add(output / SIDE * apart + row);
                        (halves(w), halves(*input.byte_add(at).add(pair * stride + voxel)))
                    };
                    sum += w[0] * x[0] + w[1] * x[1];
                }
            }
            // SAFETY: as above.
            unsafe { *sums.add(output * line + voxel) = sum };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_divided_into_tiles_of_one_depth_or_not_at_all() {
        let depths = [1, 4, 16, 17, 24, 32, 48, 256].map(depth);
        assert_eq!(depths, [Some(1), Some(4), Some(16), None, Some(12), Some(16), Some(16), Some(16)]);
        assert_eq!(depth(0), None);
    }
}

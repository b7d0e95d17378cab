//! What the processor can do at best: the floor under every layer's time.

use std::time::Instant;

use rayon::prelude::*;

use crate::kernels::isa::Isa;
use crate::kernels::simd::{Simd, Work};

/// Sums that run side by side: enough to hide the latency of every multiply-add, few enough for the
/// registers of any instruction set.
const CHAINS: usize = 10;
/// Multiply-adds of each chain, some milliseconds' worth.
const ROUNDS: usize = 4_000_000;
/// Floats read to find the bandwidth of the memory: much more than any cache holds.
const STREAM: usize = 64 << 20;

/// The best rates that were seen.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Peak {
    /// Billions of additions and multiplications a second, all threads together.
    pub gflops: f64,
    /// Billions of bytes read from memory a second, all threads together.
    pub gigabytes: f64,
}

impl Peak {
    /// Measures both, each the best of `repeat`.
    pub fn measure(isa: Isa, repeat: usize) -> Peak {
        let threads = rayon::current_num_threads();
        let operations = (threads * CHAINS * ROUNDS * isa.lanes() * 2) as f64;
        let multiply = || {
            (0..threads).into_par_iter().for_each(|_| {
                let mut sums = [0.0f32; CHAINS];
                isa.run(Chains { sums: &mut sums });
                std::hint::black_box(sums);
            });
        };
        let values = vec![1.0f32; STREAM];
        let read = || {
            let part = |values: &[f32]| {
                let mut sums = [0.0f32; 64];
                isa.run(Stream { values, sums: &mut sums });
                sums.iter().sum::<f32>()
            };
            let sum: f32 = values.par_chunks(STREAM / (8 * threads)).map(part).sum();
            std::hint::black_box(sum);
        };
        Peak {
            gflops: operations / best(repeat, multiply) / 1e9,
            gigabytes: (4 * STREAM) as f64 / best(repeat, read) / 1e9,
        }
    }

    /// Seconds that so many operations on so many bytes take at least.
    pub fn floor(&self, operations: f64, bytes: f64) -> f64 {
        (operations / self.gflops).max(bytes / self.gigabytes) / 1e9
    }
}

fn best(repeat: usize, run: impl Fn()) -> f64 {
    let time = |_| {
        let begin = Instant::now();
        run();
        begin.elapsed().as_secs_f64()
    };
    (0..=repeat).map(time).fold(f64::INFINITY, f64::min)
}

struct Chains<'a> {
    sums: &'a mut [f32; CHAINS],
}

impl Work for Chains<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the processor has the instruction set; `lanes` holds one vector.
        unsafe {
            let factor = S::splat(std::hint::black_box(0.999));
            let mut acc = [S::splat(std::hint::black_box(1.0)); CHAINS];
            for _ in 0..ROUNDS {
                for acc in &mut acc {
                    *acc = S::fma(*acc, factor, factor);
                }
            }
            for (sum, acc) in self.sums.iter_mut().zip(acc) {
                let mut lanes = [0.0f32; 16];
                S::store(lanes.as_mut_ptr(), acc);
                *sum = lanes[0];
            }
        }
    }
}

struct Stream<'a> {
    values: &'a [f32],
    sums: &'a mut [f32; 64],
}

impl Work for Stream<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: whole groups of four vectors lie inside the values, and in the sums.
        unsafe {
            let one = S::splat(1.0);
            let mut acc = [S::splat(0.0); 4];
            for group in self.values.chunks_exact(4 * S::LANES) {
                for (vector, acc) in acc.iter_mut().enumerate() {
                    *acc = S::fma(S::load(group.as_ptr().add(vector * S::LANES)), one, *acc);
                }
            }
            for (vector, acc) in acc.into_iter().enumerate() {
                S::store(self.sums.as_mut_ptr().add(vector * S::LANES), acc);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_is_the_slower_of_computing_and_reading() {
        let peak = Peak { gflops: 100.0, gigabytes: 10.0 };
        assert_eq!(peak.floor(1e11, 1e9), 1.0);
        assert_eq!(peak.floor(1e9, 1e10), 1.0);
    }

    #[test]
    fn a_stream_reads_every_value() {
        for isa in Isa::available() {
            let values = vec![1.0f32; 256];
            let mut sums = [0.0f32; 64];
            isa.run(Stream { values: &values, sums: &mut sums });
            assert_eq!(sums.iter().sum::<f32>(), 256.0, "{isa}");
        }
    }
}
